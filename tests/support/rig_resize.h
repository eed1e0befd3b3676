/* Growth of a rig's pool and parts that it leaves, at random, for tests that do other things meanwhile.
 *
 * The device is larger than it is shown at first. What was begun goes on while the test goes on. */
#ifndef PS_TESTS_SUPPORT_RIG_RESIZE_H
#define PS_TESTS_SUPPORT_RIG_RESIZE_H

#include "tests/support/pod_rig.h"

struct rig_resize {
    struct rig *rig;
    struct prng prng;
    uint64_t size_bytes; /* that the device has */
    bool growing, leaving, left;
    uint32_t from, to; /* segments that leave, or have left */
    unsigned grown, emptied, ended;
};

/* Before the first opening. */
void rig_resize_init(struct rig_resize *r, struct rig *rig, uint64_t seed);
/* Begins or ends something, or lets it be. */
void rig_resize_round(struct rig_resize *r);
/* The pod is gone, or is to be closed. */
void rig_resize_forget(struct rig_resize *r);

#endif
