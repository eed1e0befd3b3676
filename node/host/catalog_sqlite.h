/* The catalog: what people ask about (images, node, devices, settings, events), in
 * SQLite. A view of the pods, never their truth: its loss costs history, no data.
 *
 * Blocking; one thread at a time, in the daemon the management thread. Opened in
 * WAL mode, synchronous NORMAL: a power cut may lose its last moments, which the
 * next start makes up from the pod (images) or not (events). Bounded: the
 * newest CATALOG_EVENTS_KEPT events are kept. Tables: README of this folder. */
#ifndef PS_NODE_HOST_CATALOG_SQLITE_H
#define PS_NODE_HOST_CATALOG_SQLITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"
#include "node/host/event_source.h"
#include "node/host/tokens_shared.h"

enum {
    CATALOG_VERSION = 3,
    CATALOG_EVENTS_KEPT = 100000,
};

struct catalog;

/* PS_EDAMAGED (damaged, or no catalog), PS_EVERSION (newer), PS_EPERM, PS_EFULL, PS_EIO; the
 * detail names the file and, where it helps, --rebuild-catalog. */
int catalog_open(const char *path, struct catalog **out, struct ps_error *err);
/* Moves the catalog (with its journal files) to PATH.old, replacing an earlier one: 0 also if there is none.
 */
int catalog_set_aside(const char *path, struct ps_error *err);
void catalog_close(struct catalog *catalog);

/* ---- images */

/* `info` NULL: the image is gone. `log_seq`: the catalog is complete up to there
 * afterwards; 0: nothing is said about that. */
int catalog_put_image(struct catalog *catalog, const char *pod, uint64_t log_seq, uint64_t id,
                      const struct pod_image_info *info);

/* The pod's images with names in (after, last_name], all of them, are exactly
 * `infos`, in the order of names; `last_name` NULL: no upper end. Adds, changes and removes. */
int catalog_match_images(struct catalog *catalog, const char *pod, const char *after, const char *last_name,
                         const struct pod_image_info *infos, size_t count);
int catalog_set_stamp(struct catalog *catalog, const char *pod, uint64_t log_seq);
/* 0 if there is none. */
uint64_t catalog_stamp(struct catalog *catalog, const char *pod);
/* Which pod of that name it is. */
int catalog_set_pod_id(struct catalog *catalog, const char *pod, const uint8_t id[16]);
int catalog_forget_pod_id(struct catalog *catalog, const char *pod);
bool catalog_pod_id(struct catalog *catalog, const char *pod, uint8_t id[16]); /* false: not known */
/* 0 or PS_ENOTFOUND. Space and counts are not kept. */
int catalog_image_by_id(struct catalog *catalog, const char *pod, uint64_t id, struct pod_image_info *out);
/* In the order of names: the first after `after`; 0 or PS_ENOTFOUND. */
int catalog_image_after(struct catalog *catalog, const char *pod, const char *after,
                        struct pod_image_info *out);

/* ---- events */

/* event->cursor is given out here. */
int catalog_add_event(struct catalog *catalog, struct event *event);
/* Up to `max` events after the cursor, oldest first; *last_cursor is the newest there is. */
int catalog_list_events(struct catalog *catalog, uint64_t after_cursor, struct event *out, size_t max,
                        size_t *count, uint64_t *last_cursor);

/* ---- the node */

int catalog_put_node(struct catalog *catalog, const char *name, const char *version,
                     uint64_t started_unix_ns);
int catalog_put_device(struct catalog *catalog, const char *node, const char *name, const char *kind,
                       uint64_t size_bytes);
/* Replaces what was known about the node's settings. Three texts each: name, value, source. */
int catalog_put_settings(struct catalog *catalog, const char *node, const char *(*rows)[3], size_t count);

/* ---- tokens of the REST API: names, roles, hashes */

int catalog_put_token(struct catalog *catalog, const struct token *token);
/* Also PS_ENOTFOUND. */
int catalog_drop_token(struct catalog *catalog, const char *name);
int catalog_load_tokens(struct catalog *catalog, struct tokens *out);

#endif
