#include "client/cli/show.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli/table.h"
#include "common/sizes.h"

enum {
    NS = 1000000000
};

void show_json_number(cJSON *object, const char *name, uint64_t value)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRIu64, value);
    (void)cJSON_AddRawToObject(object, name, digits);
}

void show_json_time(cJSON *object, const char *name, uint64_t unix_ns)
{
    const time_t seconds = (time_t)(unix_ns / NS);
    struct tm tm;
    char date[32], whole[64];
    if (unix_ns == 0 || !gmtime_r(&seconds, &tm)) {
        (void)cJSON_AddNullToObject(object, name);
        return;
    }
    (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(whole, sizeof whole, "%s.%09" PRIu64 "Z", date, unix_ns % NS);
    (void)cJSON_AddStringToObject(object, name, whole);
}

cJSON *show_json_image(const struct pstorage_info *i)
{
    const bool volume = i->kind == PSTORAGE_VOLUME;
    cJSON *o = cJSON_CreateObject();
    show_json_number(o, "id", i->id);
    (void)cJSON_AddStringToObject(o, "kind", volume ? "volume" : "snapshot");
    (void)cJSON_AddStringToObject(o, "name", i->name);
    (void)cJSON_AddStringToObject(o, "pod", i->pod);
    show_json_number(o, "size_bytes", i->size_bytes);
    show_json_time(o, "created", i->created_unix_ns);
    show_json_number(o, "created_unix_ns", i->created_unix_ns);
    if (!volume)
        show_json_number(o, "volume_id", i->volume_id);
    if (i->origin_id)
        show_json_number(o, "origin_id", i->origin_id);
    if (volume) {
        (void)cJSON_AddBoolToObject(o, "write_cache", i->write_cache);
        show_json_number(o, "snapshot_count", i->snapshot_count);
    }
    show_json_number(o, "open_count", i->open_count);
    cJSON *space = cJSON_AddObjectToObject(o, "space");
    show_json_number(space, "logical_bytes", i->space.logical_bytes);
    show_json_number(space, "pattern_bytes", i->space.pattern_bytes);
    show_json_number(space, "duplicate_bytes", i->space.duplicate_bytes);
    show_json_number(space, "unique_bytes", i->space.unique_bytes);
    show_json_number(space, "stored_bytes", i->space.stored_bytes);
    if (!i->held.known) {
        (void)cJSON_AddNullToObject(o, "held"); /* not known yet */
        return o;
    }
    cJSON *held = cJSON_AddObjectToObject(o, "held");
    show_json_time(held, "computed", i->held.computed_unix_ns);
    show_json_number(held, "referenced_blocks", i->held.referenced_blocks);
    show_json_number(held, "referenced_bytes", i->held.referenced_bytes);
    show_json_number(held, "exclusive_blocks", i->held.exclusive_blocks);
    show_json_number(held, "exclusive_bytes", i->held.exclusive_bytes);
    if (!volume) {
        show_json_number(held, "reclaimable_blocks", i->held.reclaimable_blocks);
        show_json_number(held, "reclaimable_bytes", i->held.reclaimable_bytes);
    }
    return o;
}

const char *show_time(uint64_t unix_ns, char *text)
{
    const time_t seconds = (time_t)(unix_ns / NS);
    struct tm tm;
    if (unix_ns == 0 || !localtime_r(&seconds, &tm) ||
        strftime(text, SHOW_TEXT_MAX, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        (void)snprintf(text, SHOW_TEXT_MAX, "-");
    return text;
}

const char *show_duration(uint64_t ns, char *text)
{
    const uint64_t s = ns / NS;
    if (s >= 86400)
        (void)snprintf(text, SHOW_TEXT_MAX, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        (void)snprintf(text, SHOW_TEXT_MAX, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
    else if (s >= 60)
        (void)snprintf(text, SHOW_TEXT_MAX, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    else
        (void)snprintf(text, SHOW_TEXT_MAX, "%" PRIu64 " s", s);
    return text;
}

const char *show_ratio(uint64_t before, uint64_t after, char *text)
{
    if (before == 0 || after == 0)
        (void)snprintf(text, SHOW_TEXT_MAX, "-");
    else
        (void)snprintf(text, SHOW_TEXT_MAX, "%.1f : 1", (double)before / (double)after);
    return text;
}

const char *show_percent(uint64_t part, uint64_t whole, char *text)
{
    if (whole == 0)
        (void)snprintf(text, SHOW_TEXT_MAX, "-");
    else
        (void)snprintf(text, SHOW_TEXT_MAX, "%.1f %%", (double)part * 100 / (double)whole);
    return text;
}

int show_image(struct cli *cli, const struct pstorage_info *i, const struct pstorage_volume_latency *latency)
{
    if (cli->in->json) {
        cJSON *json = show_json_image(i);
        if (latency)
            show_json_latency(json, latency);
        return cli_print_json(cli, json);
    }

    static const struct table_column columns[] = {{NULL, false}, {NULL, true}, {NULL, false}};
    struct table *t = table_create(columns, 3);
    char size[SIZE_TEXT_MAX], text[SHOW_TEXT_MAX], as_of[SHOW_TEXT_MAX + 8];
#define FIELD(label, note, ...)   table_add(t, label), table_add(t, __VA_ARGS__), table_add(t, "%s", note)
#define BYTES(label, bytes, note) FIELD(label, note, "%s", size_format_human(bytes, size))
    BYTES("Size", i->size_bytes, "");
    BYTES("Used", i->space.logical_bytes, "in blocks that hold data");
    BYTES("  patterns", i->space.pattern_bytes, "zeroes and the like; nothing stored");
    BYTES("  duplicates", i->space.duplicate_bytes, "found stored already");
    BYTES("  unique", i->space.unique_bytes, "stored for this one");
    BYTES("Stored", i->space.stored_bytes, "after compression");
    FIELD("Reduction", "", "%s", show_ratio(i->space.logical_bytes, i->space.stored_bytes, text));
    if (i->held.known) {
        (void)snprintf(as_of, sizeof as_of, "as of %s", show_time(i->held.computed_unix_ns, text));
        BYTES("Referenced", i->held.referenced_bytes, as_of);
        BYTES("  exclusive", i->held.exclusive_bytes, "stored for no other image");
        if (i->kind == PSTORAGE_SNAPSHOT)
            BYTES("  reclaimable", i->held.reclaimable_bytes, "what deleting it gives back");
    } else {
        FIELD("Referenced", "", "%s", "not known yet");
    }
    if (i->kind == PSTORAGE_VOLUME)
        FIELD("Snapshots", "", "%u", i->snapshot_count);
    FIELD("Open", i->open_count == 1 ? "time" : "times", "%u", i->open_count);
#undef BYTES
#undef FIELD
    static const struct table_column words[] = {{NULL, false}, {NULL, false}};
    struct table *w = table_create(words, 2);
#define FIELD(label, ...) table_add(w, label), table_add(w, __VA_ARGS__)
    FIELD("Name", "%s", i->name);
    FIELD("Kind", "%s",
          i->kind == PSTORAGE_SNAPSHOT ? "snapshot"
          : i->origin_id               ? "volume, cloned"
                                       : "volume");
    FIELD("Pod", "%s", i->pod);
    FIELD("Created", "%s", show_time(i->created_unix_ns, text));
    if (i->kind == PSTORAGE_VOLUME)
        FIELD("Write cache", "%s", i->write_cache ? "on" : "off");
#undef FIELD
    table_print(w, cli->out, false);
    (void)fputc('\n', cli->out);
    table_print(t, cli->out, false);
    table_destroy(w);
    table_destroy(t);
    if (latency)
        show_latency_table(cli, latency, 1, false);
    return PSTORAGE_OK;
}

int show_change(struct cli *cli, struct pstorage_manage *m, const char *done)
{
    const int status = pstorage_manage_run(cli->client, m);
    if (status)
        return cli_fail_request(cli, &m->request, status);
    if (cli->in->json)
        return cli_print_json(cli, show_json_image(&m->info));
    (void)fprintf(cli->out, "%s %s\n", m->info.name, done);
    return PSTORAGE_OK;
}
