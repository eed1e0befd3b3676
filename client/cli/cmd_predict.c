/* pstorage analytics predict-reduction: pieces of a file are sent to a node, which measures them;
 * prediction.h makes an estimate of it. */
#include "client/cli/show.h"

#include <stdlib.h>
#include <string.h>

#include "client/cli/file_source.h"
#include "client/cli/meter.h"
#include "client/cli/prediction.h"
#include "common/prng.h"
#include "common/sizes.h"

enum {
    BLOCK = PSTORAGE_MEASURE_BLOCK_BYTES,
    BATCH_BYTES = PSTORAGE_MEASURE_BLOCKS * BLOCK,
    /* Of a sample: as much as is compressed together, so that runs of duplicates are seen as often as can be.
     */
    EXTENT_BYTES = 32 * 1024,
    RANGES_MAX = 1 << 20,
};
#define SAMPLE_DEFAULT (1ull << 30)
#define SAMPLE_MIN     (1ull << 20)
#define SAMPLE_MAX     (64ull << 30)
#define WITHIN_DEFAULT 5 /* points */

struct range {
    uint64_t start, end; /* bytes */
};

struct survey {
    struct cli *cli;
    struct file_source source;
    struct range *ranges; /* that hold data, ascending */
    size_t nranges;
    struct meter meter;
    struct prediction *prediction;
    uint64_t extent_bytes; /* EXTENT_BYTES, or BATCH_BYTES when all is looked at */
    uint64_t extents, wanted, sent_bytes;
    struct prng prng;
    /* What the node gets next. */
    struct pstorage_measure measure;
    uint8_t *buffer; /* BATCH_BYTES */
    uint32_t blocks;
};

static int no_memory(struct cli *cli)
{
    return cli_fail(cli, PSTORAGE_ENOMEM, "out of memory");
}

/* ---- the node */

static int send(struct survey *s)
{
    const uint32_t each = (uint32_t)(s->extent_bytes / BLOCK);
    if (s->blocks == 0)
        return PSTORAGE_OK;
    if (meter_interrupted())
        return cli_fail(s->cli, PSTORAGE_ECANCELLED, "interrupted");
    s->measure.data = s->buffer;
    s->measure.blocks = s->blocks;
    s->measure.extent_blocks = each;
    const int rc = pstorage_measure_run(s->cli->client, &s->measure);
    if (rc)
        return cli_fail_request(s->cli, &s->measure.request, rc);
    for (uint32_t at = 0, n; at < s->blocks; at += n) {
        n = each < s->blocks - at ? each : s->blocks - at;
        if (!prediction_add(s->prediction, s->measure.results + at, n))
            return no_memory(s->cli);
    }
    s->blocks = 0;
    return PSTORAGE_OK;
}

/* Only the file's last extent is short, and that one is the last to be added: each begins where the one
 * before ends. */
static int add(struct survey *s, uint64_t at)
{
    const uint64_t left = s->source.size - at, length = left < s->extent_bytes ? left : s->extent_bytes;
    uint8_t *to = s->buffer + (size_t)s->blocks * BLOCK;
    int rc = file_source_read_at(&s->source, at, to, (size_t)length, &s->cli->error);
    if (rc)
        return rc;
    const uint64_t blocks = (length + BLOCK - 1) / BLOCK;
    memset(to + length, 0, (size_t)(blocks * BLOCK - length));
    s->blocks += (uint32_t)blocks;
    s->sent_bytes += blocks * BLOCK;
    if ((uint64_t)s->blocks * BLOCK + s->extent_bytes > BATCH_BYTES)
        rc = send(s);
    meter_update(&s->meter, s->sent_bytes);
    return rc;
}

/* ---- the file: extents on an even grid that hold data */

/* Where there is data, once and for all: a file system may tell otherwise a moment later. */
static int gather(struct survey *s)
{
    uint64_t at = 0;
    size_t room = 0;
    while (at < s->source.size) {
        struct range r;
        file_source_find_data(&s->source, at, &r.start, &r.end);
        if (r.start >= s->source.size)
            break;
        if (s->nranges + 1 == RANGES_MAX)
            r.end = s->source.size; /* the rest is taken for data */
        if (s->nranges == room) {
            room = 2 * room + 16;
            struct range *ranges = realloc(s->ranges, room * sizeof *ranges);
            if (!ranges)
                return no_memory(s->cli);
            s->ranges = ranges;
        }
        s->ranges[s->nranges++] = r;
        at = r.end;
    }
    return PSTORAGE_OK;
}

/* Runs `step` for each, until it is not 0; how many there are. */
static int each_extent(struct survey *s, int (*step)(struct survey *s, uint64_t at), uint64_t *count)
{
    uint64_t at = 0;
    int rc = PSTORAGE_OK;
    *count = 0;
    for (size_t i = 0; i < s->nranges; i++) {
        const uint64_t first = s->ranges[i].start / s->extent_bytes * s->extent_bytes;
        for (at = first > at ? first : at; rc == PSTORAGE_OK && at < s->ranges[i].end;
             at += s->extent_bytes) {
            ++*count;
            rc = step ? step(s, at) : PSTORAGE_OK;
        }
    }
    return rc;
}

/* Selection sampling (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S). */
static int choose(struct survey *s, uint64_t at)
{
    const bool chosen = prng_chance(&s->prng, s->wanted, s->extents);
    s->extents--;
    s->wanted -= chosen;
    return chosen ? add(s, at) : PSTORAGE_OK;
}

static int survey(struct survey *s, uint64_t sample, uint64_t *extents)
{
    uint64_t seen;
    s->extent_bytes = BATCH_BYTES;
    (void)each_extent(s, NULL, extents);
    if (*extents * s->extent_bytes > sample) {
        s->extent_bytes = EXTENT_BYTES;
        (void)each_extent(s, NULL, extents);
    }
    s->extents = *extents;
    s->wanted = sample / s->extent_bytes < *extents ? sample / s->extent_bytes : *extents;
    /* The same file, and the same sample: a result can be had again. */
    prng_seed(&s->prng, s->source.size);
    if (s->prediction)
        prediction_destroy(s->prediction);
    s->prediction = prediction_create(*extents, s->source.size + 1);
    if (!s->prediction)
        return no_memory(s->cli);
    s->sent_bytes = 0;
    meter_start(&s->meter, s->wanted * s->extent_bytes, !s->cli->in->json);
    int rc = each_extent(s, choose, &seen);
    if (rc == PSTORAGE_OK)
        rc = send(s);
    meter_stop(&s->meter);
    return rc;
}

/* A sample twice as large each time, until the interval is narrow enough, or all is looked at. `within`:
 * points; 0: this sample alone. */
static int survey_until(struct survey *s, uint64_t sample, uint64_t within, uint64_t *extents,
                        struct prediction_result *r)
{
    const double each_way = (double)within / 100;
    int rc = gather(s);
    if (rc)
        return rc;
    s->buffer = aligned_alloc(BLOCK, BATCH_BYTES);
    if (!s->buffer)
        return no_memory(s->cli);
    for (;; sample = 2 * sample < SAMPLE_MAX ? 2 * sample : SAMPLE_MAX) {
        rc = survey(s, sample, extents);
        /* Nothing but holes: nothing would be stored. */
        if (rc || *extents == 0)
            return rc;
        if (!prediction_make(s->prediction, r))
            return no_memory(s->cli);
        if (within == 0 || sample == SAMPLE_MAX ||
            (r->high - r->occupied <= each_way && r->occupied - r->low <= each_way))
            return PSTORAGE_OK;
    }
}

/* ---- the result */

/* In whole blocks. */
struct shown {
    uint64_t data, sampled, occupied, low, high;
};

static uint64_t part(double share, uint64_t bytes)
{
    return (uint64_t)(share * (double)bytes + 0.5);
}

static int print_json(struct cli *cli, const struct survey *s, const struct prediction_result *r,
                      const struct shown *v)
{
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "file", s->source.path);
    show_json_number(json, "size_bytes", s->source.size);
    show_json_number(json, "data_bytes", v->data);
    show_json_number(json, "sampled_bytes", v->sampled);
    (void)cJSON_AddBoolToObject(json, "exact", v->sampled >= v->data);
    show_json_number(json, "pattern_bytes", part(r->pattern, v->data));
    show_json_number(json, "stored_already_bytes", part(r->stored_already, v->data));
    show_json_number(json, "duplicate_bytes", part(r->duplicate, v->data));
    show_json_number(json, "unique_bytes", part(r->unique, v->data));
    show_json_number(json, "occupied_bytes", v->occupied);
    show_json_number(json, "occupied_low_bytes", v->low);
    show_json_number(json, "occupied_high_bytes", v->high);
    if (v->occupied)
        (void)cJSON_AddNumberToObject(json, "reduction", (double)v->data / (double)v->occupied);
    else
        (void)cJSON_AddNullToObject(json, "reduction");
    return cli_print_json(cli, json);
}

static int print(struct cli *cli, const struct survey *s, const struct prediction_result *r,
                 const struct shown *v)
{
    char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], c[SIZE_TEXT_MAX], text[SHOW_TEXT_MAX];
    (void)fprintf(cli->out, "%s: %s, %s of it data, ", s->source.path, size_format_human(s->source.size, a),
                  size_format_human(v->data, b));
    if (v->sampled >= v->data)
        (void)fputs("all looked at\n\n", cli->out);
    else
        (void)fprintf(cli->out, "%s looked at\n\n", size_format_human(v->sampled, c));
    const struct {
        const char *label, *note;
        double share;
    } rows[] = {{"Patterns", "zeroes and the like: nothing stored", r->pattern},
                {"Here already", "duplicates of what is stored", r->stored_already},
                {"Duplicates", "within the file", r->duplicate},
                {"Unique", "stored, compressed", r->unique}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        (void)fprintf(cli->out, "%-14s %10s  %5.1f %%  %s\n", rows[i].label,
                      size_format_human(part(rows[i].share, v->data), a), 100 * rows[i].share, rows[i].note);
    (void)fprintf(cli->out, "%-14s %10s  %5.1f %%  %s", "Would occupy", size_format_human(v->occupied, a),
                  100 * r->occupied, show_ratio(v->data, v->occupied, text));
    if (v->sampled < v->data)
        (void)fprintf(cli->out, "; between %s and %s in 95 of 100 cases", size_format_human(v->low, b),
                      size_format_human(v->high, c));
    (void)fputc('\n', cli->out);
    if (r->high - r->low > 0.1)
        (void)fputs("The sample says little about duplicates within the file: a larger --sample says more\n",
                    cli->out);
    return PSTORAGE_OK;
}

static int conclude(struct cli *cli, const struct survey *s, uint64_t extents,
                    const struct prediction_result *r)
{
    const uint64_t whole = (s->source.size + BLOCK - 1) / BLOCK * BLOCK;
    struct shown v = {.data = extents * s->extent_bytes, .sampled = s->sent_bytes};
    v.data = v.data < whole ? v.data : whole;
    v.occupied = part(r->occupied, v.data);
    v.low = part(r->low, v.data);
    v.high = part(r->high, v.data);
    return cli->in->json ? print_json(cli, s, r, &v) : print(cli, s, r, &v);
}

int cmd_analytics_predict_reduction(struct cli *cli)
{
    struct survey s = {.cli = cli};
    struct prediction_result result = {0};
    const uint64_t asked = cli_number(cli->in, "sample", 0);
    const uint64_t sample = asked ? asked : SAMPLE_DEFAULT;
    const uint64_t within = cli_number(cli->in, "within", asked ? 0 : WITHIN_DEFAULT);
    uint64_t extents = 0;
    if (sample < SAMPLE_MIN || sample > SAMPLE_MAX)
        return cli_fail(cli, PSTORAGE_EINVAL, "--sample takes 1M to 64G");
    if (within > 100)
        return cli_fail(cli, PSTORAGE_EINVAL,
                        "--within takes 1 to 100 points, or 0 for the first sample alone");
    int rc = file_source_open(&s.source, cli->in->operands[0], &cli->error);
    if (rc)
        return rc;
    if (s.source.stream)
        rc = cli_fail(cli, PSTORAGE_EINVAL, "%s can't be sampled: give a file or a block device",
                      s.source.path);
    else if (s.source.size == 0)
        rc = cli_fail(cli, PSTORAGE_EINVAL, "%s is empty", s.source.path);
    else
        rc = survey_until(&s, sample, within, &extents, &result);
    if (rc == PSTORAGE_OK)
        rc = conclude(cli, &s, extents, &result);
    if (s.prediction)
        prediction_destroy(s.prediction);
    free(s.buffer);
    free(s.ranges);
    file_source_close(&s.source);
    return rc;
}
