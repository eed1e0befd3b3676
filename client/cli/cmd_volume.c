/* pstorage volume create, list, show, resize, rename, delete, set */
#include "client/cli/show.h"

#include "client/cli/table.h"
#include "common/sizes.h"

int cmd_volume_create(struct cli *cli)
{
    struct pstorage_manage m = {
        .op = PSTORAGE_VOLUME_CREATE,
        .name = cli->in->operands[0],
        .size_bytes = cli_number(cli->in, "size", 0),
        .pod = cli_option_value(cli->in, "pod")->text,
        .write_cache = cli_flag(cli->in, "write-cache"),
    };
    return show_change(cli, &m, "created");
}

int cmd_volume_list(struct cli *cli)
{
    struct pstorage_list list = {.kind = PSTORAGE_VOLUME};
    const int status = pstorage_list_run(cli->client, &list);
    if (status) {
        pstorage_list_clear(&list);
        return cli_fail_request(cli, &list.request, status);
    }
    if (cli->in->json) {
        cJSON *json = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(json, "volumes");
        for (size_t i = 0; i < list.count; i++)
            (void)cJSON_AddItemToArray(array, show_json_image(&list.items[i]));
        pstorage_list_clear(&list);
        return cli_print_json(cli, json);
    }
    static const struct table_column columns[] = {{"NAME", false},  {"SIZE", true},      {"USED", true},
                                                  {"STORED", true}, {"REDUCTION", true}, {"SNAPSHOTS", true},
                                                  {"CACHE", false}, {"CREATED", false}};
    const bool quiet = cli_flag(cli->in, "quiet");
    struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < list.count; i++) {
        const struct pstorage_info *v = &list.items[i];
        char size[SIZE_TEXT_MAX], text[SHOW_TEXT_MAX];
        if (quiet) {
            (void)fprintf(cli->out, "%s\n", v->name);
            continue;
        }
        table_add(t, "%s", v->name);
        table_add(t, "%s", size_format_human(v->size_bytes, size));
        table_add(t, "%s", size_format_human(v->space.logical_bytes, size));
        table_add(t, "%s", size_format_human(v->space.stored_bytes, size));
        table_add(t, "%s", show_ratio(v->space.logical_bytes, v->space.stored_bytes, text));
        table_add(t, "%u", v->snapshot_count);
        table_add(t, "%s", v->write_cache ? "on" : "off");
        table_add(t, "%s", show_time(v->created_unix_ns, text));
    }
    if (!quiet && list.count)
        table_print(t, cli->out, cli->bold);
    else if (!quiet)
        (void)fputs("No volumes. Create one: pstorage volume create NAME --size SIZE\n", cli->out);
    table_destroy(t);
    pstorage_list_clear(&list);
    return PSTORAGE_OK;
}

int cmd_volume_show(struct cli *cli)
{
    struct pstorage_info info;
    int status = pstorage_image_get(cli->client, cli->in->operands[0], &info, &cli->error);
    if (status)
        return status;
    /* It is shown all the same while there is no primary to tell, or by a node that does not know how. */
    struct pstorage_latency latency = {.volume = info.name, .of_primary = true};
    const bool known = info.kind == PSTORAGE_VOLUME &&
                       pstorage_latency_run(cli->client, &latency) == PSTORAGE_OK && latency.count == 1;
    status = show_image(cli, &info, known ? latency.items : NULL);
    pstorage_latency_clear(&latency);
    return status;
}

/* The volume as it is, to say which option would have helped; the error stays if that fails too. */
static bool present(struct cli *cli, struct pstorage_info *info)
{
    return pstorage_image_get(cli->client, cli->in->operands[0], info, NULL) == PSTORAGE_OK;
}

int cmd_volume_resize(struct cli *cli)
{
    struct pstorage_manage m = {
        .op = PSTORAGE_VOLUME_RESIZE,
        .name = cli->in->operands[0],
        .size_bytes = cli_number(cli->in, "size", 0),
        .allow_shrink = cli_flag(cli->in, "allow-shrink"),
    };
    char done[SIZE_TEXT_MAX + 24], size[SIZE_TEXT_MAX];
    (void)snprintf(done, sizeof done, "resized to %s", size_format_human(m.size_bytes, size));
    const int status = show_change(cli, &m, done);
    struct pstorage_info info;
    if (status == PSTORAGE_EPRECONDITION && !m.allow_shrink && present(cli, &info) &&
        m.size_bytes < info.size_bytes)
        return cli_fail(cli, status,
                        "volume \"%s\" has %s; --allow-shrink makes it smaller and discards what lies beyond",
                        info.name, size_format_human(info.size_bytes, size));
    return status;
}

int cmd_volume_rename(struct cli *cli)
{
    struct pstorage_manage m = {
        .op = PSTORAGE_VOLUME_RENAME, .name = cli->in->operands[0], .new_name = cli->in->operands[1]};
    char done[PSTORAGE_FULL_NAME_MAX + 24];
    (void)snprintf(done, sizeof done, "is the new name of %.*s", PSTORAGE_FULL_NAME_MAX, m.name);
    return show_change(cli, &m, done);
}

int cmd_volume_delete(struct cli *cli)
{
    struct pstorage_manage m = {
        .op = PSTORAGE_VOLUME_DELETE,
        .name = cli->in->operands[0],
        .with_snapshots = cli_flag(cli->in, "with-snapshots"),
        .force = cli_flag(cli->in, "force"),
    };
    const int status = show_change(cli, &m, "deleted");
    struct pstorage_info info;
    if (status != PSTORAGE_EPRECONDITION || !present(cli, &info))
        return status;
    if (info.snapshot_count && !m.with_snapshots)
        return cli_fail(cli, status, "volume \"%s\" has %u snapshot%s; --with-snapshots deletes %s too",
                        info.name, info.snapshot_count, info.snapshot_count == 1 ? "" : "s",
                        info.snapshot_count == 1 ? "it" : "them");
    if (info.open_count && !m.force)
        return cli_fail(cli, status, "volume \"%s\" is in use; --force deletes it all the same", info.name);
    return status;
}

int cmd_volume_set(struct cli *cli)
{
    struct pstorage_manage m = {
        .op = PSTORAGE_VOLUME_SET,
        .name = cli->in->operands[0],
        .write_cache = cli_number(cli->in, "write-cache", 0) != 0,
    };
    return show_change(cli, &m, m.write_cache ? "has its write cache on" : "has its write cache off");
}
