/* History on disk: points of pods, devices and volumes, as minutes, hours and days.
 *
 * Blocking; one thread at a time. A file of its own beside the catalog, so that neither's loss is the
 * other's. A sample goes into its minute, its hour and its day at once, in one transaction: there is no later
 * step that a crash, a restart or a clock could make go wrong. A clock that goes back adds to points that are
 * there; one that leaps ahead leaves a gap. What is kept is counted in points of the pod, not in time, so a
 * leap removes nothing. Bounded: when the file is as large as it may be, the oldest minutes go first, of
 * volumes before others. Tables: README of this folder. */
#ifndef PS_NODE_ANALYTICS_HISTORY_SQLITE_H
#define PS_NODE_ANALYTICS_HISTORY_SQLITE_H

#include "common/status.h"
#include "node/analytics/rollup.h"

enum {
    HISTORY_VERSION = 1,
    HISTORY_STATE_MAX = 16384, /* bytes of a kept state */
};
#define HISTORY_BYTES_DEFAULT (128ull << 20)
#define HISTORY_BYTES_MIN     (1ull << 20)

enum history_kind {
    HISTORY_POD, /* the first in each sample: retention goes by its points */
    HISTORY_DEVICE,
    HISTORY_VOLUME,
    HISTORY_KINDS
};

struct history_subject {
    enum history_kind kind;
    uint64_t id;
};

struct history;

/* A damaged file, or one of a newer version, is moved to PATH.old, with a line in the log. PS_EPERM,
 * PS_EFULL, PS_EIO, PS_ENOMEM. */
int history_open(const char *path, uint64_t max_bytes, struct history **out, struct ps_error *err);
void history_close(struct history *h);

/* What belongs together: all of it is kept or, after an error or a crash, nothing. */
int history_begin(struct history *h);
int history_add(struct history *h, struct history_subject subject, int64_t time_s,
                const struct rollup_point *point);
/* What a sample is compared with, by name. NULL data removes it. */
int history_put_state(struct history *h, const char *name, const void *data, size_t bytes);
/* Ends what was begun; with a `status` other than 0 it is undone. Returns that, or an error of its own.
 * Prunes now and then. */
int history_end(struct history *h, int status);

/* The first name after `after` that begins with `prefix`, at most `bytes` - 1 long. PS_ENOTFOUND. */
int history_next_state(struct history *h, const char *prefix, const char *after, char *out, size_t bytes);

/* PS_ENOTFOUND; PS_EDAMAGED when it does not have `bytes`. */
int history_get_state(struct history *h, const char *name, void *data, size_t bytes);

/* The subject's points with times in [from_s, to_s), oldest first; time_s is the begin of a point's stretch.
 * Ends early when the callback says false. */
typedef bool (*history_row)(void *user, int64_t time_s, const struct rollup_point *point);
int history_read(struct history *h, struct history_subject subject, enum rollup_tier tier, int64_t from_s,
                 int64_t to_s, history_row row, void *user);

struct history_size {
    uint64_t bytes; /* of the file that are in use */
    uint64_t points[ROLLUP_TIERS];
};
int history_size(struct history *h, struct history_size *out);

#endif
