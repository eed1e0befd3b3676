/* pstorage flash list, identify, smart, read, write, deallocate, format: the devices of one node, past its
 * pool. */
#include "client/cli/show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/meter.h"
#include "client/cli/table.h"
#include "client/cli/target.h"
#include "common/sizes.h"

enum {
    PIECE_BYTES = 1 << 20,
    KELVIN_OF_0_C = 273,
    ERRORS_MAX = 64, /* that a node tells of */
    FORMAT_TIMEOUT_MS = 60 * 60 * 1000,
};
#define DEALLOCATE_PIECE_BYTES (16ull << 30) /* so that no single request runs into its timeout */

/* ---- list */

static const char *kind_name(const struct pstorage_flash_device *d)
{
    static const char *const names[] = {"", "nvme", "file", "sim", "block"};
    return d->kind == PSTORAGE_FLASH_NVME && d->zoned ? "zoned" : names[d->kind];
}

static void json_zones(cJSON *o, const struct pstorage_zones *z)
{
    cJSON *zones = cJSON_AddObjectToObject(o, "zones");
    show_json_number(zones, "zone_bytes", z->zone_bytes);
    show_json_number(zones, "count", z->count);
    show_json_number(zones, "max_open", z->max_open);
    show_json_number(zones, "max_active", z->max_active);
}

static cJSON *device_json(const struct pstorage_flash_device *d)
{
    cJSON *o = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(o, "name", d->name);
    (void)cJSON_AddStringToObject(o, "kind", kind_name(d));
    (void)cJSON_AddBoolToObject(o, "in_pool", d->in_pool);
    (void)cJSON_AddBoolToObject(o, "raw_allowed", d->raw_allowed);
    (void)cJSON_AddStringToObject(o, "used_by", d->used_by);
    (void)cJSON_AddStringToObject(o, "model", d->model);
    (void)cJSON_AddStringToObject(o, "serial", d->serial);
    (void)cJSON_AddStringToObject(o, "firmware", d->firmware);
    show_json_number(o, "size_bytes", d->size_bytes);
    show_json_number(o, "block_bytes", d->block_bytes);
    if (d->zones.zone_bytes)
        json_zones(o, &d->zones);
    if (d->health_known) {
        show_json_number(o, "used_percent", d->used_percent);
        show_json_number(o, "spare_percent", d->spare_percent);
        show_json_number(o, "critical_warning", d->critical_warning);
        show_json_number(o, "media_errors", d->media_errors);
    } else {
        (void)cJSON_AddStringToObject(o, "health_unknown", d->health_unknown);
    }
    return o;
}

static void add_health(struct table *t, const struct pstorage_flash_device *d)
{
    if (!d->health_known) {
        table_add(t, "-");
        table_add(t, "-");
        return;
    }
    table_add(t, "%u %%", d->used_percent);
    if (d->critical_warning)
        table_add(t, "warning 0x%02x", d->critical_warning);
    else if (d->media_errors)
        table_add(t, "%" PRIu64 " media errors", d->media_errors);
    else
        table_add(t, "good");
}

static void print_devices(struct cli *cli, const struct pstorage_flash_list *list)
{
    static const struct table_column columns[] = {{"DEVICE", false}, {"KIND", false},   {"SIZE", true},
                                                  {"MODEL", false},  {"SERIAL", false}, {"WORN", true},
                                                  {"HEALTH", false}, {"USE", false},    {"RAW", false}};
    struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < list->count; i++) {
        const struct pstorage_flash_device *d = &list->items[i];
        char size[SIZE_TEXT_MAX];
        table_add(t, "%s", d->name);
        table_add(t, "%s", kind_name(d));
        table_add(t, "%s", size_format_human(d->size_bytes, size));
        table_add(t, "%s", d->model[0] ? d->model : "-");
        table_add(t, "%s", d->serial[0] ? d->serial : "-");
        add_health(t, d);
        table_add(t, "%s", d->in_pool ? "in the pool" : d->used_by[0] ? d->used_by : "free");
        table_add(t, "%s", d->raw_allowed ? "allowed" : "no");
    }
    table_print(t, cli->out, cli->bold);
    table_destroy(t);
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].health_unknown[0])
            (void)fprintf(cli->out, "%s: health not known: %s\n", list->items[i].name,
                          list->items[i].health_unknown);
}

int cmd_flash_list(struct cli *cli)
{
    struct target target;
    int rc = target_find(cli, &target);
    if (rc)
        return rc;
    struct pstorage_flash_list list = {.node = target.node};
    rc = pstorage_flash_list_run(target.client, &list);
    if (rc) {
        rc = cli_fail_request(cli, &list.request, rc);
    } else if (cli->in->json) {
        cJSON *json = cJSON_CreateObject();
        (void)cJSON_AddStringToObject(json, "node", target.node);
        cJSON *array = cJSON_AddArrayToObject(json, "devices");
        for (size_t i = 0; i < list.count; i++)
            (void)cJSON_AddItemToArray(array, device_json(&list.items[i]));
        rc = cli_print_json(cli, json);
    } else {
        print_devices(cli, &list);
    }
    pstorage_flash_list_clear(&list);
    target_let_go(&target);
    return rc;
}

/* ---- identify */

static cJSON *identify_json(const struct pstorage_flash_identify *i)
{
    cJSON *o = cJSON_CreateObject(), *c = cJSON_AddObjectToObject(o, "controller");
    (void)cJSON_AddStringToObject(c, "model", i->model);
    (void)cJSON_AddStringToObject(c, "serial", i->serial);
    (void)cJSON_AddStringToObject(c, "firmware", i->firmware);
    (void)cJSON_AddStringToObject(c, "nqn", i->nqn);
    show_json_number(c, "vendor", i->vendor);
    show_json_number(c, "subsystem_vendor", i->subsystem_vendor);
    show_json_number(c, "id", i->controller_id);
    show_json_number(c, "version", i->version);
    show_json_number(c, "max_transfer_pages", i->max_transfer_pages);
    show_json_number(c, "namespaces", i->namespaces);
    show_json_number(c, "error_log_entries", i->error_log_entries);
    show_json_number(c, "warning_kelvin", i->warning_kelvin);
    show_json_number(c, "critical_kelvin", i->critical_kelvin);
    show_json_number(c, "capacity_bytes", i->capacity_bytes);
    show_json_number(c, "unallocated_bytes", i->unallocated_bytes);
    (void)cJSON_AddBoolToObject(c, "can_format", i->can_format);
    (void)cJSON_AddBoolToObject(c, "can_deallocate", i->can_deallocate);
    (void)cJSON_AddBoolToObject(c, "can_write_zeroes", i->can_write_zeroes);
    (void)cJSON_AddBoolToObject(c, "volatile_write_cache", i->volatile_write_cache);
    (void)cJSON_AddBoolToObject(c, "format_all", i->format_all);
    (void)cJSON_AddBoolToObject(c, "erase_all", i->erase_all);
    (void)cJSON_AddBoolToObject(c, "crypto_erase", i->crypto_erase);
    cJSON *n = cJSON_AddObjectToObject(o, "namespace");
    show_json_number(n, "size_blocks", i->size_blocks);
    show_json_number(n, "capacity_blocks", i->capacity_blocks);
    show_json_number(n, "used_blocks", i->used_blocks);
    show_json_number(n, "block_bytes", i->block_bytes);
    show_json_number(n, "format", i->format);
    (void)cJSON_AddBoolToObject(n, "thin", i->thin);
    (void)cJSON_AddBoolToObject(n, "reads_zeroes", i->reads_zeroes);
    (void)cJSON_AddBoolToObject(n, "protection", i->protection);
    (void)cJSON_AddStringToObject(n, "nguid", i->nguid);
    (void)cJSON_AddStringToObject(n, "eui64", i->eui64);
    cJSON *formats = cJSON_AddArrayToObject(n, "formats");
    for (size_t k = 0; k < i->nformats; k++) {
        cJSON *f = cJSON_CreateObject();
        show_json_number(f, "block_bytes", i->formats[k].block_bytes);
        show_json_number(f, "metadata_bytes", i->formats[k].metadata_bytes);
        show_json_number(f, "performance", i->formats[k].performance);
        (void)cJSON_AddItemToArray(formats, f);
    }
    if (i->zones.zone_bytes)
        json_zones(o, &i->zones);
    return o;
}

static void print_identify(FILE *out, const struct pstorage_flash_identify *i)
{
    char size[SIZE_TEXT_MAX], used[SIZE_TEXT_MAX];
    (void)fprintf(out, "Model         %s\nSerial        %s\nFirmware      %s\n", i->model, i->serial,
                  i->firmware);
    (void)fprintf(out, "NVMe version  %u.%u.%u\nNQN           %s\n", i->version >> 16, i->version >> 8 & 0xff,
                  i->version & 0xff, i->nqn[0] ? i->nqn : "-");
    (void)fprintf(out, "Namespace     %s, of which %s in use, blocks of %u bytes\n",
                  size_format_human(i->size_blocks * i->block_bytes, size),
                  size_format_human(i->used_blocks * i->block_bytes, used), i->block_bytes);
    if (i->zones.zone_bytes)
        (void)fprintf(out, "Zones         %" PRIu64 " of %s, at most %u open and %u active (0: no limit)\n",
                      i->zones.count, size_format_human(i->zones.zone_bytes, size), i->zones.max_open,
                      i->zones.max_active);
    (void)fprintf(out, "Write cache   %s\n", i->volatile_write_cache ? "volatile" : "none that loses data");
    (void)fprintf(out, "Can           %s%s%s%s\n", i->can_format ? "format " : "",
                  i->can_deallocate ? "deallocate " : "", i->can_write_zeroes ? "write-zeroes " : "",
                  i->crypto_erase ? "crypto-erase" : "");
    (void)fputs("Formats      ", out);
    for (size_t k = 0; k < i->nformats; k++)
        (void)fprintf(out, " %u+%u%s", i->formats[k].block_bytes, i->formats[k].metadata_bytes,
                      k == i->format ? "*" : "");
    (void)fputs("  (bytes a block + metadata; * in use)\n", out);
}

int cmd_flash_identify(struct cli *cli)
{
    struct target target;
    int rc = target_find(cli, &target);
    if (rc)
        return rc;
    struct pstorage_flash_identify identify = {.node = target.node, .device = cli->in->operands[0]};
    rc = pstorage_flash_identify_run(target.client, &identify);
    if (rc)
        rc = cli_fail_request(cli, &identify.request, rc);
    else if (cli->in->json)
        rc = cli_print_json(cli, identify_json(&identify));
    else
        print_identify(cli->out, &identify);
    target_let_go(&target);
    return rc;
}

/* ---- SMART */

static cJSON *smart_json(const struct pstorage_flash_smart *s)
{
    cJSON *o = cJSON_CreateObject();
#define SAME(name) show_json_number(o, #name, s->name)
    SAME(critical_warning), SAME(kelvin), SAME(spare_percent), SAME(spare_threshold_percent),
        SAME(used_percent);
    SAME(read_units), SAME(written_units), SAME(read_commands), SAME(write_commands), SAME(busy_minutes);
    SAME(power_cycles), SAME(power_on_hours), SAME(unsafe_shutdowns), SAME(media_errors),
        SAME(error_log_entries);
    SAME(warning_minutes), SAME(critical_minutes);
#undef SAME
    cJSON *sensors = cJSON_AddArrayToObject(o, "sensors_kelvin");
    for (size_t i = 0; i < s->nsensors; i++)
        (void)cJSON_AddItemToArray(sensors, cJSON_CreateNumber(s->sensors_kelvin[i]));
    cJSON *errors = cJSON_AddArrayToObject(o, "errors");
    for (size_t i = 0; i < s->nerrors; i++) {
        const struct pstorage_flash_error *e = &s->errors[i];
        cJSON *row = cJSON_CreateObject();
        show_json_number(row, "number", e->number);
        show_json_number(row, "queue", e->queue);
        show_json_number(row, "command", e->command);
        show_json_number(row, "status", e->status);
        (void)cJSON_AddStringToObject(row, "text", e->text);
        show_json_number(row, "lba", e->lba);
        show_json_number(row, "namespace_id", e->namespace_id);
        (void)cJSON_AddItemToArray(errors, row);
    }
    return o;
}

static void print_smart(FILE *out, const struct pstorage_flash_smart *s)
{
    static const char *const warnings[] = {"spare low", "temperature", "reliability degraded", "read-only",
                                           "volatile memory failed"};
    char size[SIZE_TEXT_MAX];
    (void)fputs("Warnings        ", out);
    for (size_t i = 0; i < sizeof warnings / sizeof warnings[0]; i++)
        if (s->critical_warning & 1u << i)
            (void)fprintf(out, "%s; ", warnings[i]);
    (void)fprintf(out, "%s\n", s->critical_warning ? "" : "none");
    (void)fprintf(out, "Worn            %u %% of the life its maker estimates\n", s->used_percent);
    (void)fprintf(out, "Spare           %u %%, low at %u %%\n", s->spare_percent, s->spare_threshold_percent);
    if (s->kelvin)
        (void)fprintf(out, "Temperature     %d °C\n", (int)s->kelvin - KELVIN_OF_0_C);
    (void)fprintf(
        out, "Read            %s, %" PRIu64 " commands\n",
        size_format_human(s->read_units > UINT64_MAX / 512000 ? UINT64_MAX : s->read_units * 512000, size),
        s->read_commands);
    (void)fprintf(out, "Written         %s, %" PRIu64 " commands\n",
                  size_format_human(
                      s->written_units > UINT64_MAX / 512000 ? UINT64_MAX : s->written_units * 512000, size),
                  s->write_commands);
    (void)fprintf(out,
                  "Power           on for %" PRIu64 " h, %" PRIu64 " cycles, %" PRIu64
                  " of them without a shutdown\n",
                  s->power_on_hours, s->power_cycles, s->unsafe_shutdowns);
    (void)fprintf(out, "Media errors    %" PRIu64 "\nError log       %" PRIu64 " entries\n", s->media_errors,
                  s->error_log_entries);
    for (size_t i = 0; i < s->nerrors; i++)
        (void)fprintf(out, "  %" PRIu64 ": status 0x%03x, %s, LBA %" PRIu64 "\n", s->errors[i].number,
                      s->errors[i].status, s->errors[i].text, s->errors[i].lba);
}

int cmd_flash_smart(struct cli *cli)
{
    const uint64_t errors = cli_number(cli->in, "errors", 8);
    struct target target;
    if (errors > ERRORS_MAX)
        return cli_fail(cli, PSTORAGE_EINVAL, "--errors is %d at most", ERRORS_MAX);
    int rc = target_find(cli, &target);
    if (rc)
        return rc;
    struct pstorage_flash_smart smart = {
        .node = target.node, .device = cli->in->operands[0], .max_errors = (uint32_t)errors};
    rc = pstorage_flash_smart_run(target.client, &smart);
    if (rc)
        rc = cli_fail_request(cli, &smart.request, rc);
    else if (cli->in->json)
        rc = cli_print_json(cli, smart_json(&smart));
    else
        print_smart(cli->out, &smart);
    target_let_go(&target);
    return rc;
}

/* ---- raw I/O */

static int check_length(struct cli *cli)
{
    return cli_number(cli->in, "length", 0)
               ? PSTORAGE_OK
               : cli_fail(cli, PSTORAGE_EINVAL, "--length 0 is nothing: a block of the device at least");
}

static int run_io(struct cli *cli, const struct target *t, struct pstorage_flash_io *io)
{
    io->node = t->node;
    io->device = cli->in->operands[0];
    const int rc = pstorage_flash_io_run(t->client, io);
    return rc ? cli_fail_request(cli, &io->request, rc) : PSTORAGE_OK;
}

static int read_all(struct cli *cli, const struct target *t, char *buffer)
{
    const uint64_t offset = cli_number(cli->in, "offset", 0), length = cli_number(cli->in, "length", 0);
    for (uint64_t at = 0; at < length;) {
        struct pstorage_flash_io io = {
            .op = PSTORAGE_FLASH_READ,
            .offset = offset + at,
            .length = length - at < PIECE_BYTES ? length - at : PIECE_BYTES,
            .buffer = buffer,
        };
        const int rc = run_io(cli, t, &io);
        if (rc)
            return rc;
        if (fwrite(buffer, 1, io.length, cli->out) != io.length)
            return cli_fail(cli, PSTORAGE_EIO, "cannot write to standard output: %s", strerror(errno));
        at += io.length;
    }
    return PSTORAGE_OK;
}

/* Up to a piece, or less where the input ends. */
static int read_input(struct cli *cli, char *buffer, size_t *length)
{
    size_t have = 0;
    while (have < PIECE_BYTES) {
        const ssize_t n = read(STDIN_FILENO, buffer + have, PIECE_BYTES - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cli_fail(cli, PSTORAGE_EIO, "cannot read standard input: %s", strerror(errno));
        if (n == 0)
            break;
        have += (size_t)n;
    }
    *length = have;
    return PSTORAGE_OK;
}

/* One after the other: a zone takes writes in order. */
static int write_all(struct cli *cli, const struct target *t, char *buffer, uint64_t *written)
{
    const uint64_t offset = cli_number(cli->in, "offset", 0);
    size_t length = PIECE_BYTES;
    int rc = PSTORAGE_OK;
    for (*written = 0; rc == PSTORAGE_OK && length == PIECE_BYTES; *written += length) {
        rc = read_input(cli, buffer, &length);
        if (rc || length == 0)
            break;
        struct pstorage_flash_io io = {
            .op = PSTORAGE_FLASH_WRITE, .offset = offset + *written, .length = length, .buffer = buffer};
        rc = run_io(cli, t, &io);
        if (rc)
            break;
    }
    if (rc == PSTORAGE_OK && *written == 0)
        return cli_fail(cli, PSTORAGE_EINVAL, "standard input is empty: nothing was written");
    struct pstorage_flash_io flush = {.op = PSTORAGE_FLASH_FLUSH};
    return rc || *written == 0 ? rc : run_io(cli, t, &flush);
}

int cmd_flash_read(struct cli *cli)
{
    struct target target;
    int rc = check_length(cli);
    if (rc == PSTORAGE_OK)
        rc = target_find(cli, &target);
    if (rc)
        return rc;
    char *buffer = malloc(PIECE_BYTES);
    rc = buffer ? read_all(cli, &target, buffer) : cli_fail(cli, PSTORAGE_ENOMEM, "out of memory");
    free(buffer);
    target_let_go(&target);
    return rc;
}

/* What came of a change: a line, or JSON. */
static int tell(struct cli *cli, const char *done, uint64_t offset, uint64_t length)
{
    if (!cli->in->json) {
        (void)fprintf(cli->out, "%s: %" PRIu64 " bytes %s at %" PRIu64 "\n", cli->in->operands[0], length,
                      done, offset);
        return PSTORAGE_OK;
    }
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "device", cli->in->operands[0]);
    show_json_number(json, "offset", offset);
    show_json_number(json, "bytes", length);
    return cli_print_json(cli, json);
}

int cmd_flash_write(struct cli *cli)
{
    struct target target;
    uint64_t written = 0;
    int rc = target_find(cli, &target);
    if (rc)
        return rc;
    char *buffer = malloc(PIECE_BYTES);
    rc = buffer ? write_all(cli, &target, buffer, &written) : cli_fail(cli, PSTORAGE_ENOMEM, "out of memory");
    free(buffer);
    if (rc == PSTORAGE_OK)
        rc = tell(cli, "written", cli_number(cli->in, "offset", 0), written);
    target_let_go(&target);
    return rc;
}

int cmd_flash_deallocate(struct cli *cli)
{
    const uint64_t offset = cli_number(cli->in, "offset", 0), length = cli_number(cli->in, "length", 0);
    struct target target;
    int rc = check_length(cli);
    if (rc == PSTORAGE_OK)
        rc = target_find(cli, &target);
    if (rc)
        return rc;
    for (uint64_t at = 0; rc == PSTORAGE_OK && at < length; at += DEALLOCATE_PIECE_BYTES) {
        struct pstorage_flash_io io = {
            .op = PSTORAGE_FLASH_DEALLOCATE,
            .offset = offset + at,
            .length = length - at < DEALLOCATE_PIECE_BYTES ? length - at : DEALLOCATE_PIECE_BYTES,
        };
        rc = run_io(cli, &target, &io);
    }
    if (rc == PSTORAGE_OK)
        rc = tell(cli, "deallocated", offset, length);
    target_let_go(&target);
    return rc;
}

static int take_erase(struct cli *cli, enum pstorage_flash_erase *erase)
{
    const char *text = cli_option_value(cli->in, "erase")->text;
    *erase = PSTORAGE_FLASH_ERASE_NONE;
    if (!text)
        return PSTORAGE_OK;
    if (strcmp(text, "user-data") == 0)
        *erase = PSTORAGE_FLASH_ERASE_USER_DATA;
    else if (strcmp(text, "crypto") == 0)
        *erase = PSTORAGE_FLASH_ERASE_CRYPTO;
    else
        return cli_fail(cli, PSTORAGE_EINVAL, "--erase is user-data or crypto, not \"%s\"", text);
    return PSTORAGE_OK;
}

int cmd_flash_format(struct cli *cli)
{
    const uint64_t block_bytes = cli_number(cli->in, "block-bytes", 0);
    struct target target;
    struct pstorage_flash_io io = {
        .op = PSTORAGE_FLASH_FORMAT,
        .serial = cli_option_value(cli->in, "serial")->text,
    };
    io.request.timeout_ms = cli->in->timeout_ms ? (uint32_t)cli->in->timeout_ms : FORMAT_TIMEOUT_MS;
    int rc = take_erase(cli, &io.erase);
    if (rc == PSTORAGE_OK && block_bytes > UINT32_MAX)
        rc = cli_fail(cli, PSTORAGE_EINVAL, "--block-bytes is 512 or 4096 with most devices");
    io.block_bytes = (uint32_t)block_bytes;
    if (rc == PSTORAGE_OK)
        rc = target_find(cli, &target);
    if (rc)
        return rc;
    rc = run_io(cli, &target, &io);
    target_let_go(&target);
    if (rc)
        return rc;
    if (!cli->in->json) {
        (void)fprintf(cli->out, "%s formatted\n", cli->in->operands[0]);
        return PSTORAGE_OK;
    }
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "device", cli->in->operands[0]);
    return cli_print_json(cli, json);
}
