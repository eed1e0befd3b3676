/* A pod in plain memory, for tests of what sits above node/pod/pod.h: the
 * whole interface, no log, no flash, no reduction. Link ps_pod_fake in place
 * of the real pod.
 *
 * Requests take effect in the order of their submission, inside pod_turn, and
 * their callbacks run from pod_turn only: a host that recycles a buffer too
 * early sees wrong bytes. Blocks that were never written or were trimmed are
 * holes; blocks of zeroes count as patterns (POD_EXTENT_ZERO); the rest is
 * unique. Snapshots and clones are full copies.
 *
 * Closing an image with requests in flight is an assertion. Destroying a pod
 * that wasn't closed counts as a crash and drops what is in flight. pod_open
 * ignores the device, which may be NULL, and always finds an empty pool. */
#ifndef PS_TESTS_SUPPORT_POD_FAKE_H
#define PS_TESTS_SUPPORT_POD_FAKE_H

#include "node/pod/pod.h"

/* pod_open and the first pod_turn in one: an open, empty pod. */
struct pod *pod_fake_create(void);

/* A volume, made at once. Asserts that this is possible. */
void pod_fake_volume(struct pod *pod, const char *name, uint64_t size_bytes);
/* A snapshot "volume@snapshot", made at once. */
void pod_fake_snapshot(struct pod *pod, const char *name);

/* Makes `req` happen at once, without its callback: 0 or the status. */
int pod_fake_manage(struct pod *pod, struct pod_manage *req);

/* While held, nothing that was submitted takes effect or completes. */
void pod_fake_hold(struct pod *pod, bool hold);
/* The next I/O to take effect doesn't, and completes with `status` instead. */
void pod_fake_fail_next(struct pod *pod, int status);
/* Completions come in an order, and spread over turns, that `seed` decides. 0: in order again. */
void pod_fake_shuffle(struct pod *pod, uint64_t seed);
/* New data fails with PS_EFULL once the pod holds this many bytes. UINT64_MAX: never (the default). */
void pod_fake_set_capacity(struct pod *pod, uint64_t bytes);
/* As pod_stats() tells it. */
void pod_fake_set_opening(struct pod *pod, bool opening);
/* The pod is one of a cluster, and from now on led here, or not: then nothing is opened or taken, images that
 * are open stay so in name, and what was submitted ends with the next turn: as the real pod says, changes
 * with PS_ENOTPRIMARY (none has taken effect), the rest with PS_EUNAVAILABLE. */
void pod_fake_lead(struct pod *pod, bool lead);
/* I/O submitted and not completed, over all images. */
uint32_t pod_fake_in_flight(const struct pod *pod);
/* Requests that took effect since the pod was made, one kind. */
uint64_t pod_fake_count(const struct pod *pod, enum pod_io_op op);

#endif
