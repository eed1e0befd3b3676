/* pstorage events */
#include "client/cli/show.h"

#include <errno.h>
#include <string.h>

#include "client/cli/text.h"

enum {
    EVENTS_DEFAULT = 100,
    EVENTS_PAGE = 1000,
    KIND_COLUMNS = 20
};

static cJSON *event_json(const struct pstorage_event *e)
{
    cJSON *o = cJSON_CreateObject();
    show_json_number(o, "cursor", e->cursor);
    show_json_time(o, "time", e->time_unix_ns);
    (void)cJSON_AddStringToObject(o, "kind", e->kind);
    (void)cJSON_AddStringToObject(o, "pod", e->pod);
    if (e->image_id)
        show_json_number(o, "image_id", e->image_id);
    (void)cJSON_AddStringToObject(o, "text", e->text);
    return o;
}

/* Lines and not a table: they come one by one, and then look the same. */
static void print_line(struct cli *cli, const struct pstorage_event *e)
{
    char when[SHOW_TEXT_MAX];
    (void)fprintf(cli->out, "%s  ", show_time(e->time_unix_ns, when));
    text_put_left(cli->out, e->kind, KIND_COLUMNS);
    (void)fputs("  ", cli->out);
    text_put(cli->out, e->text);
    (void)fputc('\n', cli->out);
}

struct following {
    struct pstorage_follow follow;
    struct cli *cli;
};

static bool on_event(struct pstorage_follow *f, const struct pstorage_event *e)
{
    struct cli *cli = ((struct following *)(void *)f)->cli;
    if (cli->in->json) {
        cJSON *json = event_json(e);
        char *line = cJSON_PrintUnformatted(json);
        (void)fprintf(cli->out, "%s\n", line);
        cJSON_free(line);
        cJSON_Delete(json);
    } else {
        print_line(cli, e);
    }
    return fflush(cli->out) == 0; /* whoever read us is gone: that is enough */
}

/* Prints what there is, from `after` on; `after` becomes the last cursor seen. */
static int print_kept(struct cli *cli, uint64_t *after, cJSON *array)
{
    for (;;) {
        struct pstorage_events page = {.after_cursor = *after, .limit = EVENTS_PAGE};
        const int rc = pstorage_events_run(cli->client, &page);
        for (size_t i = 0; rc == PSTORAGE_OK && i < page.count; i++) {
            *after = page.items[i].cursor;
            if (array)
                (void)cJSON_AddItemToArray(array, event_json(&page.items[i]));
            else
                print_line(cli, &page.items[i]);
        }
        const bool end = rc || page.count == 0 || *after >= page.last_cursor;
        pstorage_events_clear(&page);
        if (end)
            return rc ? cli_fail_request(cli, &page.request, rc) : PSTORAGE_OK;
    }
}

int cmd_events(struct cli *cli)
{
    struct pstorage_events last = {.after_cursor = INT64_MAX, .limit = 1};
    int rc = pstorage_events_run(cli->client, &last);
    pstorage_events_clear(&last);
    if (rc)
        return cli_fail_request(cli, &last.request, rc);
    const uint64_t limit = cli_number(cli->in, "limit", EVENTS_DEFAULT);
    uint64_t after = last.last_cursor > limit ? last.last_cursor - limit : 0;
    if (!cli_flag(cli->in, "follow")) {
        cJSON *json = cli->in->json ? cJSON_CreateObject() : NULL;
        rc = print_kept(cli, &after, json ? cJSON_AddArrayToObject(json, "events") : NULL);
        if (rc == PSTORAGE_OK && json)
            return cli_print_json(cli, json);
        cJSON_Delete(json);
        return rc;
    }
    struct following f = {.follow = {.after_cursor = after, .on_event = on_event}, .cli = cli};
    rc = pstorage_follow_run(cli->client, &f.follow);
    if (rc == PSTORAGE_OK)
        return cli_fail(cli, PSTORAGE_EIO, "cannot write: %s", strerror(errno));
    return cli_fail_request(cli, &f.follow.request, rc);
}
