/* How images and values look: as JSON, and to people. */
#ifndef PS_CLI_SHOW_H
#define PS_CLI_SHOW_H

#include "client/cli/cli.h"

/* Whole numbers beyond 2^53 stay exact. */
void show_json_number(cJSON *object, const char *name, uint64_t value);
/* "2026-11-22T10:45:01.123456789Z" */
void show_json_time(cJSON *object, const char *name, uint64_t unix_ns);
cJSON *show_json_image(const struct pstorage_info *info);

enum {
    SHOW_TEXT_MAX = 48
};
/* "2026-11-22 10:45:01" in local time; "-" for 0. Returns `text` (SHOW_TEXT_MAX bytes). */
const char *show_time(uint64_t unix_ns, char *text);
/* "3 d 4 h", "12 min 3 s" */
const char *show_duration(uint64_t ns, char *text);
/* "3.2 : 1"; "-" when nothing is stored */
const char *show_ratio(uint64_t before, uint64_t after, char *text);
/* "42.0 %"; "-" of nothing */
const char *show_percent(uint64_t part, uint64_t whole, char *text);

/* "12 us", "3.4 ms", "1.5 s" */
const char *show_latency(uint64_t ns, char *text);
/* Adds "latency": by operation, requests that took their time. */
void show_json_latency(cJSON *object, const struct pstorage_volume_latency *volume);
/* A line for each operation that occurred, and an empty one before them; `names`: with the volume's. */
void show_latency_table(struct cli *cli, const struct pstorage_volume_latency *volumes, size_t count,
                        bool names);

cJSON *show_json_pod(const struct pstorage_pod_view *view);
/* Who leads it, where, and what it waits for: one to three lines. */
void show_pod_lines(struct cli *cli, const struct pstorage_pod_view *view);

/* An image as a list of fields, or as JSON; `latency` may be NULL: not known. */
int show_image(struct cli *cli, const struct pstorage_info *info,
               const struct pstorage_volume_latency *latency);

/* Runs a change and tells what came of it: a line "NAME done", or the image as JSON. */
int show_change(struct cli *cli, struct pstorage_manage *manage, const char *done);

#endif
