/* Devices in memory with parity, as what a pod's rig lies on. With each power cut one may be gone for good,
 * until as many are as parity makes up for. */
#ifndef PS_TESTS_RIG_ARRAY_H
#define PS_TESTS_RIG_ARRAY_H

#include "common/blkdev_mem.h"

struct rig_array;

/* Of those that are made from now on; at first six with two of parity. */
void rig_array_shape(unsigned devices, unsigned parity);
struct rig_array *rig_array_create(uint64_t device_bytes, uint32_t segment_bytes);
void rig_array_destroy(struct rig_array *r);
/* Finds the array again, after a cut another one: what a pod sees. */
struct blkdev *rig_array_open(struct rig_array *r, struct prng *prng);
/* Whoever used the device is destroyed between the two. */
void rig_array_cut(struct rig_array *r, struct prng *prng, enum blkdev_mem_cut mode);
void rig_array_drop(struct rig_array *r);
/* No more devices are lost. */
void rig_array_keep_all(struct rig_array *r);
/* What lies in one device's segments becomes noise, without a word of it: now, or before the array is found
 * again. */
void rig_array_rot(struct rig_array *r, unsigned device, bool at_open);
size_t rig_array_pending(const struct rig_array *r);
void rig_array_step(struct rig_array *r, struct prng *prng, bool random);

/* Without an error of the test's: parity makes up for it. */
unsigned rig_array_lost(const struct rig_array *r); /* or being rebuilt */
unsigned rig_array_parity(const struct rig_array *r);
bool rig_array_uses(const struct rig_array *r, unsigned device);
/* Fails whatever it is asked from now on, and is not there at later openings. */
void rig_array_fail(struct rig_array *r, unsigned device);
/* Its requests take a dozen times as long; -1: none's. */
void rig_array_slow(struct rig_array *r, int device);
/* A blank one in its place, taken out first if it is in use; rebuilt while the rig goes on. */
void rig_array_replace(struct rig_array *r, unsigned device, struct prng *prng);

#endif
