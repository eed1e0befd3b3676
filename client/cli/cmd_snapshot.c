/* pstorage snapshot create, list, delete, restore; pstorage clone create */
#include "client/cli/show.h"

#include "client/cli/table.h"
#include "common/sizes.h"

int cmd_snapshot_list(struct cli *cli)
{
    struct pstorage_list list = {.kind = PSTORAGE_SNAPSHOT, .of = cli->in->operands[0]};
    const int status = pstorage_list_run(cli->client, &list);
    if (status) {
        pstorage_list_clear(&list);
        return cli_fail_request(cli, &list.request, status);
    }
    if (cli->in->json) {
        cJSON *json = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(json, "snapshots");
        for (size_t i = 0; i < list.count; i++)
            (void)cJSON_AddItemToArray(array, show_json_image(&list.items[i]));
        pstorage_list_clear(&list);
        return cli_print_json(cli, json);
    }
    static const struct table_column columns[] = {
        {"NAME", false},     {"SIZE", true},        {"USED", true}, {"STORED", true},
        {"EXCLUSIVE", true}, {"RECLAIMABLE", true}, {"OPEN", true}, {"CREATED", false}};
    const bool quiet = cli_flag(cli->in, "quiet");
    struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < list.count; i++) {
        const struct pstorage_info *s = &list.items[i];
        char size[SIZE_TEXT_MAX], text[SHOW_TEXT_MAX];
        if (quiet) {
            (void)fprintf(cli->out, "%s\n", s->name);
            continue;
        }
        table_add(t, "%s", s->name);
        table_add(t, "%s", size_format_human(s->size_bytes, size));
        table_add(t, "%s", size_format_human(s->space.logical_bytes, size));
        table_add(t, "%s", size_format_human(s->space.stored_bytes, size));
        table_add(t, "%s", s->held.known ? size_format_human(s->held.exclusive_bytes, size) : "?");
        table_add(t, "%s", s->held.known ? size_format_human(s->held.reclaimable_bytes, size) : "?");
        table_add(t, "%u", s->open_count);
        table_add(t, "%s", show_time(s->created_unix_ns, text));
    }
    if (!quiet && list.count)
        table_print(t, cli->out, cli->bold);
    else if (!quiet)
        (void)fputs("No snapshots. Take one: pstorage snapshot create VOLUME@SNAP\n", cli->out);
    table_destroy(t);
    pstorage_list_clear(&list);
    return PSTORAGE_OK;
}

int cmd_snapshot_create(struct cli *cli)
{
    struct pstorage_manage m = {.op = PSTORAGE_SNAPSHOT_CREATE, .name = cli->in->operands[0]};
    return show_change(cli, &m, "created");
}

int cmd_snapshot_delete(struct cli *cli)
{
    struct pstorage_manage m = {
        .op = PSTORAGE_SNAPSHOT_DELETE, .name = cli->in->operands[0], .force = cli_flag(cli->in, "force")};
    return show_change(cli, &m, "deleted");
}

int cmd_snapshot_restore(struct cli *cli)
{
    struct pstorage_manage m = {.op = PSTORAGE_SNAPSHOT_RESTORE, .name = cli->in->operands[0]};
    char done[PSTORAGE_FULL_NAME_MAX + 24];
    (void)snprintf(done, sizeof done, "restored from %.*s", PSTORAGE_FULL_NAME_MAX, m.name);
    return show_change(cli, &m, done);
}

int cmd_clone_create(struct cli *cli)
{
    struct pstorage_manage m = {
        .op = PSTORAGE_CLONE_CREATE, .name = cli->in->operands[0], .new_name = cli->in->operands[1]};
    char done[PSTORAGE_FULL_NAME_MAX + 24];
    (void)snprintf(done, sizeof done, "cloned from %.*s", PSTORAGE_FULL_NAME_MAX, m.name);
    return show_change(cli, &m, done);
}
