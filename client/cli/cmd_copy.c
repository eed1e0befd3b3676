/* pstorage volume write, read, import, export: bytes in and out. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/file_sink.h"
#include "client/cli/file_source.h"
#include "client/cli/meter.h"
#include "client/cli/show.h"
#include "client/cli/transfer.h"
#include "client/cli/zeroes.h"
#include "common/sizes.h"

enum {
    SECTOR = 512,
    SIZE_UNIT = 4096, /* of a volume made by an import */
};
#define ZERO_PIECE_BYTES (1ull << 30)  /* so that no single request runs into its timeout */
#define BRIDGE_BYTES     (32ull << 10) /* shorter holes are read through: cheaper than a request more */

static uint64_t round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static int interrupted(struct cli *cli)
{
    return cli_fail(cli, PSTORAGE_ECANCELLED, "interrupted");
}

/* ---- into a volume */

struct copy_in {
    struct cli *cli;
    struct file_source *source;
    struct pstorage_image *image;
    uint64_t base;     /* where the source's first byte goes */
    uint64_t end;      /* of the image */
    bool find_zeroes;  /* zero blocks become holes */
    bool leave_zeroes; /* they are holes already */
    bool pad;          /* fill the last sector up */
    bool keep;         /* what was written when the rest fails */
    struct meter *meter;
    uint64_t data_bytes; /* written */
};

static void plan_zeroes(struct copy_in *c, struct transfer_slot *slot, uint64_t offset, uint64_t length)
{
    if (!c->leave_zeroes)
        transfer_add(slot, PSTORAGE_WRITE_ZERO, offset, length, NULL);
}

/* Of what is not to be written all before it is. */
static int plan_data(struct copy_in *c, struct transfer_slot *slot, uint64_t offset, size_t length)
{
    int rc = PSTORAGE_OK;
    const size_t tail = length % SECTOR;
    if (length > c->end - offset) {
        rc = cli_fail(c->cli, PSTORAGE_ERANGE,
                      "the input goes on where the volume ends, at %" PRIu64 " bytes%s", c->end,
                      c->keep ? "; what fits was written" : "");
        length = (size_t)(c->end - offset);
    } else if (tail && !c->pad) {
        rc = cli_fail(c->cli, PSTORAGE_EINVAL,
                      "the input ends %zu bytes into a sector of 512, which were not written; --pad fills "
                      "it with zeroes",
                      tail);
        length -= tail;
    } else if (tail) {
        memset(slot->buffer + length, 0, SECTOR - tail);
        length += SECTOR - tail;
    }
    for (size_t at = 0, run; at < length; at += run) {
        bool zero = false;
        run = c->find_zeroes ? zeroes_run(slot->buffer + at, length - at, &zero) : length;
        if (zero) {
            plan_zeroes(c, slot, offset + at, run);
        } else {
            transfer_add(slot, PSTORAGE_WRITE, offset + at, run, slot->buffer + at);
            c->data_bytes += run;
        }
    }
    return rc;
}

/* A hole may be as long as the file; it takes as many turns as it needs. */
static uint64_t plan_hole(struct copy_in *c, struct transfer_slot *slot, uint64_t offset, uint64_t length)
{
    if (c->leave_zeroes)
        return length;
    const uint64_t n = length < ZERO_PIECE_BYTES ? length : ZERO_PIECE_BYTES;
    transfer_add(slot, PSTORAGE_WRITE_ZERO, offset, round_up(n, SECTOR), NULL);
    return n;
}

static int copy_in(struct copy_in *c)
{
    struct pstorage_info info;
    struct transfer *t = transfer_create(c->cli->client, c->image);
    struct transfer_slot *slot;
    uint64_t hole = 0, moved = 0;
    int rc = PSTORAGE_OK;
    pstorage_image_describe(c->image, &info, NULL);
    c->end = info.size_bytes;
    while (rc == PSTORAGE_OK && (slot = transfer_next(t))) {
        size_t length = 0;
        if (meter_interrupted()) {
            rc = interrupted(c->cli);
            break;
        }
        if (hole == 0)
            rc = file_source_next(c->source, slot->buffer, transfer_slot_bytes(t), &length, &hole,
                                  &c->cli->error);
        if (rc || (length == 0 && hole == 0))
            break;
        const uint64_t offset = c->base + c->source->at - hole - length;
        if (hole)
            hole -= plan_hole(c, slot, offset, hole);
        else
            rc = plan_data(c, slot, offset, length);
        transfer_submit(t, slot);
        moved += length;
        meter_update(c->meter, moved);
    }
    /* Also when no more is to come: what came before is not given up, and its failure is told first. */
    while (rc != PSTORAGE_ECANCELLED && transfer_oldest(t))
        ;
    const int failed = transfer_error(t, &c->cli->error);
    rc = failed ? failed : rc;
    transfer_destroy(t);
    /* What was answered is made durable even if a later part failed. */
    struct pstorage_error flush_error;
    const int flushed = pstorage_flush(c->image, &flush_error);
    if (rc == PSTORAGE_OK && flushed) {
        c->cli->error = flush_error;
        rc = flushed;
    }
    return rc;
}

static void report(struct cli *cli, const char *name, const char *verb, uint64_t bytes, uint64_t data_bytes,
                   const struct meter *m)
{
    char all[SIZE_TEXT_MAX], data[SIZE_TEXT_MAX], rate[SIZE_TEXT_MAX];
    const double seconds = meter_seconds(m);
    (void)fprintf(cli->out, "%s %s: %s, %s of it data, in %.1f s (%s/s)\n", name, verb,
                  size_format_human(bytes, all), size_format_human(data_bytes, data), seconds,
                  size_format_human(seconds > 0 ? (uint64_t)((double)data_bytes / seconds) : 0, rate));
}

static void json_copy(cJSON *json, uint64_t bytes, uint64_t data_bytes, const struct meter *m)
{
    show_json_number(json, "bytes", bytes);
    show_json_number(json, "data_bytes", data_bytes);
    (void)cJSON_AddNumberToObject(json, "seconds", meter_seconds(m));
}

int cmd_volume_write(struct cli *cli)
{
    struct pstorage_image *image;
    struct file_source source;
    struct meter meter;
    int rc = file_source_open(&source, "-", &cli->error);
    if (rc)
        return rc;
    rc = pstorage_image_open(cli->client, cli->in->operands[0], false, &image, &cli->error);
    if (rc)
        return rc;
    meter_start(&meter, source.size, !cli->in->json);
    struct copy_in c = {
        .cli = cli,
        .source = &source,
        .image = image,
        .base = cli_number(cli->in, "offset", 0),
        .pad = cli_flag(cli->in, "pad"),
        .keep = true,
        .meter = &meter,
    };
    struct pstorage_info info;
    char have[SIZE_TEXT_MAX], want[SIZE_TEXT_MAX];
    pstorage_image_describe(image, &info, NULL);
    const uint64_t room = c.base < info.size_bytes ? info.size_bytes - c.base : 0;
    /* A hole in standard input is zeroes to be written: what is there must be overwritten. */
    if (c.base % SECTOR)
        rc = cli_fail(cli, PSTORAGE_EINVAL, "--offset %" PRIu64 " is not a multiple of 512", c.base);
    else if (c.base > info.size_bytes)
        rc = cli_fail(cli, PSTORAGE_ERANGE, "\"%s\" ends at %" PRIu64 " bytes", info.name, info.size_bytes);
    else if (source.size > room)
        rc = cli_fail(cli, PSTORAGE_ERANGE,
                      "%s has %s, volume \"%s\" only %s from --offset on: nothing was written", source.path,
                      size_format_human(source.size, want), info.name, size_format_human(room, have));
    else
        rc = copy_in(&c);
    meter_stop(&meter);
    pstorage_image_close(image);
    if (rc)
        return rc;
    if (cli->in->json) {
        cJSON *json = cJSON_CreateObject();
        (void)cJSON_AddStringToObject(json, "name", cli->in->operands[0]);
        show_json_number(json, "offset", c.base);
        show_json_number(json, "bytes", source.at);
        return cli_print_json(cli, json);
    }
    (void)fprintf(cli->out, "%s: %" PRIu64 " bytes written at %" PRIu64 "\n", cli->in->operands[0], source.at,
                  c.base);
    return PSTORAGE_OK;
}

/* Finds or makes the volume that an import goes to. */
static int import_target(struct cli *cli, const struct file_source *source, struct pstorage_info *info,
                         bool *created)
{
    const char *name = cli->in->operands[1];
    const struct cli_value *size = cli_option_value(cli->in, "size");
    const uint64_t needed = round_up(source->size, SIZE_UNIT);
    char have[SIZE_TEXT_MAX], want[SIZE_TEXT_MAX];
    *created = false;
    int rc = pstorage_image_get(cli->client, name, info, &cli->error);
    if (rc == PSTORAGE_OK) {
        if (info->space.logical_bytes && !cli_flag(cli->in, "overwrite"))
            return cli_fail(cli, PSTORAGE_EEXISTS,
                            "volume \"%s\" holds data already; --overwrite writes over it", name);
        if (size->given && size->number != info->size_bytes)
            return cli_fail(cli, PSTORAGE_EEXISTS,
                            "volume \"%s\" exists and has %s; pstorage volume resize changes that", name,
                            size_format_human(info->size_bytes, have));
        if (info->size_bytes < needed)
            return cli_fail(cli, PSTORAGE_ERANGE,
                            "%s has %s, volume \"%s\" only %s; pstorage volume resize makes it larger",
                            source->path, size_format_human(needed, want), name,
                            size_format_human(info->size_bytes, have));
        return PSTORAGE_OK;
    }
    if (rc != PSTORAGE_ENOTFOUND)
        return rc;
    if (source->stream && !size->given)
        return cli_fail(
            cli, PSTORAGE_EINVAL,
            "there is no volume \"%s\", and a pipe does not say how large to make it: give --size", name);
    if (size->given && size->number < needed)
        return cli_fail(cli, PSTORAGE_EINVAL, "%s has %s: --size is too small", source->path,
                        size_format_human(needed, want));
    if (!size->given && needed == 0)
        return cli_fail(cli, PSTORAGE_EINVAL, "%s is empty: give --size", source->path);
    struct pstorage_manage m = {
        .op = PSTORAGE_VOLUME_CREATE,
        .name = name,
        .size_bytes = size->given ? size->number : needed,
        .pod = cli_option_value(cli->in, "pod")->text,
        .write_cache = cli_flag(cli->in, "write-cache"),
    };
    rc = pstorage_manage_run(cli->client, &m);
    if (rc)
        return cli_fail_request(cli, &m.request, rc);
    *created = true;
    *info = m.info;
    return PSTORAGE_OK;
}

int cmd_volume_import(struct cli *cli)
{
    struct file_source source;
    struct pstorage_image *image;
    struct pstorage_info info;
    struct meter meter;
    const char *name = cli->in->operands[1];
    bool created = false;
    int rc = file_source_open(&source, cli->in->operands[0], &cli->error);
    if (rc)
        return rc;
    rc = import_target(cli, &source, &info, &created);
    if (rc)
        goto close_source;
    meter_start(&meter, file_source_data_bytes(&source), !cli->in->json);
    struct copy_in c = {
        .cli = cli,
        .source = &source,
        .find_zeroes = true,
        .leave_zeroes = info.space.logical_bytes == 0,
        .pad = true,
        .keep = !created,
        .meter = &meter,
    };
    rc = pstorage_image_open(cli->client, name, false, &image, &cli->error);
    if (rc == PSTORAGE_OK) {
        c.image = image;
        rc = copy_in(&c);
        pstorage_image_close(image);
    }
    meter_stop(&meter);
    if (rc && created) {
        /* Half a copy looks like a whole one. */
        struct pstorage_manage m = {.op = PSTORAGE_VOLUME_DELETE, .name = name, .force = true};
        const int deleted = pstorage_manage_run(cli->client, &m);
        struct pstorage_error why = cli->error;
        rc = cli_fail(cli, rc,
                      deleted ? "%.180s; volume \"%.60s\" holds only a part"
                              : "%.180s; volume \"%.60s\" was not created",
                      why.detail, name);
    }
    if (rc)
        goto close_source;
    if (!cli->in->json) {
        report(cli, name, created ? "created and imported" : "imported", source.at, c.data_bytes, &meter);
    } else {
        cJSON *json = cJSON_CreateObject();
        rc = pstorage_image_get(cli->client, name, &info, &cli->error);
        (void)cJSON_AddItemToObject(json, "volume", show_json_image(&info));
        (void)cJSON_AddBoolToObject(json, "created", created);
        json_copy(json, source.at, c.data_bytes, &meter);
        if (rc)
            cJSON_Delete(json);
        else
            rc = cli_print_json(cli, json);
    }
close_source:
    file_source_close(&source);
    return rc;
}

/* ---- out of an image */

struct copy_out {
    struct cli *cli;
    struct pstorage_image *image;
    struct file_sink *sink;
    uint64_t from, to; /* bytes wanted; requests are widened to sectors */
    bool find_holes;   /* ask for extents and look for zeroes */
    struct meter *meter;
    uint64_t data_bytes; /* written as data */
    /* What is known of the image from `at` on: [at, range_end) is a hole or is not. */
    uint64_t at, end, range_end;
    bool range_hole;
    struct pstorage_extent extents[1024];
    uint32_t nextents, extent;
};

static int ask_extents(struct copy_out *c)
{
    struct pstorage_io io = {
        .op = PSTORAGE_EXTENTS,
        .offset = c->at,
        .length = c->end - c->at < ZERO_PIECE_BYTES * 64 ? c->end - c->at : ZERO_PIECE_BYTES * 64,
        .extents = c->extents,
        .max_extents = sizeof c->extents / sizeof c->extents[0],
    };
    const int rc = pstorage_io_run(c->image, &io);
    if (rc)
        return cli_fail_request(c->cli, &io.request, rc);
    c->nextents = io.nextents;
    c->extent = 0;
    return PSTORAGE_OK;
}

/* Finds how far what begins at `at` goes. */
static int find_range(struct copy_out *c)
{
    if (!c->find_holes) {
        c->range_end = c->end;
        return PSTORAGE_OK;
    }
    if (c->extent == c->nextents) {
        const int rc = ask_extents(c);
        if (rc)
            return rc;
    }
    const struct pstorage_extent *e = &c->extents[c->extent++];
    c->range_hole = e->kind != PSTORAGE_EXTENT_DATA;
    c->range_end = c->at + e->length_bytes;
    /* Data goes on over short holes, which are found again as zeroes. */
    while (!c->range_hole && c->extent < c->nextents &&
           (c->extents[c->extent].kind == PSTORAGE_EXTENT_DATA ||
            c->extents[c->extent].length_bytes < BRIDGE_BYTES))
        c->range_end += c->extents[c->extent++].length_bytes;
    return PSTORAGE_OK;
}

/* Plans the next piece into the slot; false at the end. */
static bool plan_out(struct copy_out *c, struct transfer *t, struct transfer_slot *slot, int *rc)
{
    *rc = c->at == c->range_end && c->at < c->end ? find_range(c) : PSTORAGE_OK;
    if (*rc || c->at == c->end)
        return false;
    const uint64_t left = c->range_end - c->at,
                   most = transfer_slot_bytes(t) - c->at % transfer_slot_bytes(t);
    slot->offset = c->at;
    slot->hole = c->range_hole;
    slot->length = slot->hole || left < most ? left : most;
    if (!slot->hole)
        transfer_add(slot, PSTORAGE_READ, slot->offset, slot->length, slot->buffer);
    c->at += slot->length;
    return true;
}

/* Writes what a slot brought. */
static int put_slot(struct copy_out *c, const struct transfer_slot *slot)
{
    uint64_t start = slot->offset, end = slot->offset + slot->length;
    start = start > c->from ? start : c->from;
    end = end < c->to ? end : c->to;
    if (slot->hole)
        return file_sink_zero(c->sink, start, end - start, &c->cli->error);
    int rc = PSTORAGE_OK;
    for (uint64_t run; rc == PSTORAGE_OK && start < end; start += run) {
        const char *data = slot->buffer + (start - slot->offset);
        bool zero = false;
        run = c->find_holes ? zeroes_run(data, (size_t)(end - start), &zero) : end - start;
        if (zero) {
            rc = file_sink_zero(c->sink, start, run, &c->cli->error);
        } else {
            rc = file_sink_write(c->sink, start, data, (size_t)run, &c->cli->error);
            c->data_bytes += run;
        }
    }
    return rc;
}

static int copy_out(struct copy_out *c)
{
    struct transfer *t = transfer_create(c->cli->client, c->image);
    struct transfer_slot *slot;
    uint64_t moved = 0;
    int rc = PSTORAGE_OK;
    c->at = c->range_end = c->from / SECTOR * SECTOR;
    c->end = round_up(c->to, SECTOR);
    while ((slot = transfer_next(t))) {
        if (slot->loaded) {
            rc = put_slot(c, slot);
            moved += slot->hole ? 0 : slot->length;
            slot->loaded = false;
        }
        if (rc == PSTORAGE_OK && meter_interrupted())
            rc = interrupted(c->cli);
        if (rc || !plan_out(c, t, slot, &rc))
            break;
        transfer_submit(t, slot);
        meter_update(c->meter, moved);
    }
    while (rc == PSTORAGE_OK && (slot = transfer_oldest(t)))
        rc = put_slot(c, slot);
    if (rc == PSTORAGE_OK)
        rc = transfer_error(t, &c->cli->error);
    transfer_destroy(t);
    return rc;
}

int cmd_volume_read(struct cli *cli)
{
    struct pstorage_image *image;
    struct pstorage_info info;
    struct meter meter;
    int rc = pstorage_image_open(cli->client, cli->in->operands[0], true, &image, &cli->error);
    if (rc)
        return rc;
    pstorage_image_describe(image, &info, NULL);
    struct file_sink sink = {.fd = STDOUT_FILENO, .kind = SINK_STREAM, .path = "standard output"};
    struct copy_out c = {.cli = cli, .image = image, .sink = &sink, .meter = &meter};
    c.from = cli_number(cli->in, "offset", 0);
    const uint64_t rest = c.from < info.size_bytes ? info.size_bytes - c.from : 0;
    const uint64_t length = cli_number(cli->in, "length", rest);
    c.to = c.from + length;
    meter_start(&meter, length, !isatty(STDOUT_FILENO));
    if (c.from > info.size_bytes || length > rest)
        rc = cli_fail(cli, PSTORAGE_ERANGE, "\"%s\" ends at %" PRIu64 " bytes", cli->in->operands[0],
                      info.size_bytes);
    else
        rc = copy_out(&c);
    meter_stop(&meter);
    pstorage_image_close(image);
    return rc;
}

int cmd_volume_export(struct cli *cli)
{
    struct pstorage_image *image;
    struct pstorage_info info;
    struct file_sink sink;
    struct meter meter;
    int rc = pstorage_image_open(cli->client, cli->in->operands[0], true, &image, &cli->error);
    if (rc)
        return rc;
    pstorage_image_describe(image, &info, NULL);
    struct copy_out *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    *c = (struct copy_out){.cli = cli,
                           .image = image,
                           .sink = &sink,
                           .to = info.size_bytes,
                           .find_holes = true,
                           .meter = &meter};
    meter_start(&meter, info.space.logical_bytes, !cli->in->json);
    rc = file_sink_open(&sink, cli->in->operands[1], info.size_bytes, cli_flag(cli->in, "overwrite"),
                        &cli->error);
    if (rc == PSTORAGE_OK)
        rc = copy_out(c);
    if (rc == PSTORAGE_OK)
        rc = file_sink_commit(&sink, &cli->error);
    meter_stop(&meter);
    const bool to_stdout = sink.fd == STDOUT_FILENO;
    file_sink_close(&sink);
    pstorage_image_close(image);
    if (rc == PSTORAGE_OK && to_stdout) {
        ; /* standard output holds the data */
    } else if (rc == PSTORAGE_OK && cli->in->json) {
        cJSON *json = cJSON_CreateObject();
        (void)cJSON_AddItemToObject(json, "image", show_json_image(&info));
        (void)cJSON_AddStringToObject(json, "file", cli->in->operands[1]);
        json_copy(json, info.size_bytes, c->data_bytes, &meter);
        rc = cli_print_json(cli, json);
    } else if (rc == PSTORAGE_OK) {
        report(cli, info.name, "exported", info.size_bytes, c->data_bytes, &meter);
    }
    free(c);
    return rc;
}
