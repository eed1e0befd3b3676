/* Six devices in memory with two of parity, as what a pod's rig lies on. With each power cut one may be gone
 * for good, until two are. */
#ifndef PS_TESTS_RIG_ARRAY_H
#define PS_TESTS_RIG_ARRAY_H

#include "common/blkdev_mem.h"

struct rig_array;

struct rig_array *rig_array_create(uint64_t device_bytes, uint32_t segment_bytes);
void rig_array_destroy(struct rig_array *r);
/* Finds the array again, after a cut another one: what a pod sees. */
struct blkdev *rig_array_open(struct rig_array *r, struct prng *prng);
/* Whoever used the device is destroyed between the two. */
void rig_array_cut(struct rig_array *r, struct prng *prng, enum blkdev_mem_cut mode);
void rig_array_drop(struct rig_array *r);
size_t rig_array_pending(const struct rig_array *r);
void rig_array_step(struct rig_array *r, struct prng *prng, bool random);

#endif
