/* What answers look like: each object once, as a table of its members over the struct that holds it. The
 * encoder and the OpenAPI document walk the same tables, so an answer can't differ from what is documented.
 * Pure. */
#ifndef PS_NODE_HOST_REST_REST_SCHEMA_H
#define PS_NODE_HOST_REST_REST_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/lib/pstorage.h"
#include "node/host/rest/json_write.h"

enum rest_type {
    REST_U64,
    REST_U32,
    REST_NUMBER,       /* double */
    REST_BOOL,         /* bool */
    REST_TEXT,         /* char[] */
    REST_TEXT_OR_NULL, /* null when empty */
    REST_U64_OR_NULL,  /* null when 0 */
    REST_U64_IF,       /* null unless the bool at `beside` is set */
    REST_TIME,         /* ns since 1970; null when 0 */
    REST_GIB,          /* bytes in a uint64_t, shown in GiB */
    REST_TAG,          /* of an image, shown as its ETag */
    REST_WORD,         /* enum: one of `words` */
    REST_DATA,         /* uint8_t *, its length (size_t) at `beside`; base64 */
    REST_OBJECT,       /* inside the struct */
    REST_LIST,         /* pointer to the first, how many (size_t) at `beside` */
    REST_INLINE,       /* array inside the struct, how many (uint32_t) at `beside` */
    REST_NUMBER_IF,    /* null unless the bool at `beside` is set */
    REST_OBJECT_IF,    /* the same */
    REST_LINES,        /* array of char[width] inside the struct, how many (size_t) at `beside` */
    REST_FLOATS,       /* array of float inside the struct, how many (size_t) at `beside` */
};

struct rest_schema;
struct rest_field {
    const char *name;
    enum rest_type type;
    size_t offset, beside, width;
    const struct rest_schema *of; /* of an object, or of each element */
    const char *const *words;     /* by value, from words_from to words_to */
    uint32_t words_from, words_to;
    const char *doc;
};

struct rest_schema {
    const char *name;
    const char *doc;
    size_t size; /* of the struct */
    const struct rest_field *fields;
    size_t count;
};

/* ---- what is shown beside libpstorage's own structs */

enum {
    REST_CURSOR_MAX = 512
};

struct rest_page {
    const void *items;
    size_t count;
    uint64_t total;
    char next_cursor[REST_CURSOR_MAX]; /* "": the last page */
};

struct rest_io {
    uint64_t offset, length;
    const uint8_t *data;
    size_t data_bytes;
};

struct rest_reduction {
    char pod[64];
    uint64_t host_written_bytes, pattern_removed_bytes, dedup_removed_bytes, compress_in_bytes,
        compress_out_bytes;
    uint64_t logical_bytes, stored_bytes;
    double total_ratio, dedup_ratio, compression_ratio;
};

struct rest_flash {
    char pod[64];
    uint64_t capacity_bytes, free_bytes, garbage_bytes, open_bytes, written_data_bytes,
        written_metadata_bytes, written_moved_bytes;
    double write_amplification;
    bool scrubbed;
    struct pstorage_pod of;
};

struct rest_flash_device {
    struct pstorage_device of;
    bool wear_known;
    double wear_mean_cycles, wear_max_cycles, wear_spread_cycles;
    uint64_t wear_blocks, retired_blocks;
};

struct rest_flash_report {
    const struct rest_flash_device *devices;
    size_t ndevices;
    const struct rest_flash *pods;
    size_t npods;
};

/* ---- analytics */

enum {
    REST_PREDICTIONS = 3 /* 7, 30 and 90 days */
};

struct rest_prediction {
    bool known;
    uint64_t used_bytes, low_bytes, high_bytes;
    double utilization_percent;
};

struct rest_threshold {
    bool known, earliest_known, latest_known;
    double days, earliest, latest;
};

struct rest_forecast {
    struct pstorage_forecast of;
    double utilization_percent;
    struct rest_prediction predictions[REST_PREDICTIONS];
    struct rest_threshold at_80, at_90;
};

struct rest_health {
    const struct pstorage_drive *drives;
    size_t ndrives;
    char unreachable[16][64];
    size_t nunreachable;
};

struct rest_advice {
    struct pstorage_tier_advice of;
    double saving;
};

struct rest_volume_temperature {
    char name[PSTORAGE_FULL_NAME_MAX + 1];
    struct pstorage_temperature of;
};

struct rest_account {
    char name[PSTORAGE_FULL_NAME_MAX + 1], step[16], next_cursor[32];
    struct pstorage_account of;
    double reduction_ratio;
};

struct rest_overview {
    struct rest_forecast capacity;
    /* Drives. */
    uint64_t drives;
    bool scored;
    uint64_t lowest_score;
    char unreachable[16][64];
    size_t nunreachable;
    /* Volumes. */
    uint64_t volumes, hot, warm, cold, frozen, better_elsewhere;
    double saving;
};

struct rest_ready {
    char status[16], node[64], reason[256];
};

extern const struct rest_schema rest_volume, rest_volume_page, rest_snapshot, rest_snapshot_page,
    rest_write_result, rest_read_result, rest_pod, rest_pod_page, rest_why, rest_node, rest_node_page,
    rest_replication_page, rest_metrics, rest_reduction_page, rest_flash_metrics, rest_event, rest_event_page,
    rest_snapshot_all, rest_ready_schema;

/* rest_schema_analytics.c */
extern const struct rest_schema rest_analytics, rest_forecast, rest_drive, rest_health, rest_advice_page,
    rest_temperature, rest_account;

/* Every schema that stands for itself in the document, those inside others included; ends at NULL. */
extern const struct rest_schema *const rest_schemas[];

/* Writes the object; `key` as in json_write.h. */
void rest_encode(struct json_out *out, const char *key, const struct rest_schema *schema, const void *object);

/* "\"0123456789abcdef\"" into `out`. */
enum {
    REST_ETAG_MAX = 20
};
const char *rest_etag(uint64_t tag, char out[REST_ETAG_MAX]);

#endif
