/* What drives said of themselves last: their SMART pages, asked for one after another beside the loop, for
 * whoever can't wait. Everything on the loop's thread. */
#ifndef PS_NODE_HOST_DRIVE_SMART_H
#define PS_NODE_HOST_DRIVE_SMART_H

#include "node/host/drives.h"

enum {
    DRIVE_SMART_MAX = 16 /* drives; others are not asked */
};

struct drive_smart;

/* NULL: no memory. `drives` outlives it. */
struct drive_smart *drive_smart_create(struct drives *drives);
/* Nothing is under way. */
void drive_smart_destroy(struct drive_smart *s);

/* The answer of this drive to the last question; NULL: there was none, or it does not tell (no NVMe device,
 * not allowed). It is asked again by the next round. */
const struct nvme_smart *drive_smart_look(struct drive_smart *s, const char *name);
/* Asks all that were looked at since the last round; none while a round is under way. */
void drive_smart_ask(struct drive_smart *s);
/* Asks no more; `ended` when nothing is under way, perhaps at once. */
void drive_smart_stop(struct drive_smart *s, void (*ended)(void *user), void *user);

#endif
