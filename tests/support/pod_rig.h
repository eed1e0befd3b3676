/* A pod on a device in memory, or on simulated flash in memory, driven step by step: for tests of node/pod.
 *
 * Nothing happens by itself. rig_wait runs turns and completes device requests,
 * oldest first or at random by the rig's seed, until its condition holds. */
#ifndef PS_TESTS_SUPPORT_POD_RIG_H
#define PS_TESTS_SUPPORT_POD_RIG_H

#include "common/blkdev_mem.h"
#include "common/nand/nand_drive.h"
#include "common/prng.h"
#include "node/meta/place.h"
#include "node/pod/pod.h"

struct rig {
    struct blkdev *mem; /* the device; outlives the pod */
    void *area;         /* of simulated flash; NULL: mem is a blkdev_mem */
    size_t area_bytes;
    struct rig_array *several; /* devices that make mem; NULL: it is one */
    struct blkdev *dev;        /* what the pod sees: mem, or a layer on it */
    struct pod_config config;
    struct pod *pod;
    struct prng prng;
    bool random; /* complete device requests in random order */
    uint64_t now_ns;
    int open_status;
    bool opened;
    struct ps_error error;
    uint64_t cut_after;      /* device completions until the power fails; 0: never */
    bool dead;               /* it has failed: nothing completes any more */
    uint64_t steps;          /* device completions so far */
    uint32_t leave_segments; /* so many are kept free, so that the pod collects; 0: as it is */
    uint32_t squeezed[512];  /* the others */
    uint32_t squeezed_count;
    void (*beside)(void *user); /* what else goes on at each step; NULL: nothing */
    void *beside_user;
    bool
        surveyed; /* deep checks, one after the other, must find nothing (PS_RIG_SURVEY in the environment) */
    bool surveying, settling;
    unsigned surveys; /* so many were made */
    bool rotted;      /* the test damaged records, or copies of metadata */
    bool audited;     /* rig_audit after each rig_close */
};

/* On a device in memory; on simulated flash if the environment has PS_RIG_DEVICE=flash, on six devices
 * with parity if it has PS_RIG_DEVICE=array: CTest runs some tests on all. */
void rig_create(struct rig *rig, uint64_t device_bytes, uint64_t seed);
/* The same on a drive of simulated flash, whose segments are its zones; `flash` NULL: without failures. A
 * crash then tears what is under way, whatever the mode, and requests complete in the flash's order. */
void rig_create_on_flash(struct rig *rig, uint64_t device_bytes, uint64_t seed,
                         const struct nand_config *flash);
/* A geometry for it, two channels of two planes, no bad blocks and no failures. */
void rig_flash_config(struct nand_config *out);
/* Requests that the device has not completed. */
size_t rig_pending(const struct rig *rig);
void rig_destroy(struct rig *rig);
/* Opens (or formats) the pool; returns the status. */
int rig_open(struct rig *rig);
/* Crash: the pod is gone, the device keeps what `mode` says. */
void rig_crash(struct rig *rig, enum blkdev_mem_cut mode);
void rig_close(struct rig *rig);
/* One turn and at most one device completion. False when the power failed. */
bool rig_step(struct rig *rig);

/* One operation, waited for. When the power fails meanwhile: PS_EUNAVAILABLE. */
int rig_manage(struct rig *rig, struct pod_manage *req);
int rig_io(struct rig *rig, struct pod_io *io);
int rig_create_volume(struct rig *rig, const char *name, uint64_t size);
int rig_named(struct rig *rig, enum pod_manage_op op, const char *name, const char *new_name, uint64_t size);
int rig_write(struct rig *rig, const char *name, uint64_t offset, const void *data, uint64_t length);
/* So many blocks of noise, at most 32, at the LBA. */
void rig_write_noise(struct rig *rig, const char *name, uint64_t lba, unsigned count, uint64_t seed);
int rig_read(struct rig *rig, const char *name, uint64_t offset, void *data, uint64_t length);
int rig_range(struct rig *rig, enum pod_io_op op, const char *name, uint64_t offset, uint64_t length);
/* Flips a bit of the record, on a device in memory: of its first copy (1), its second (2), or both (3). */
void rig_rot(struct rig *rig, struct place place, unsigned copies);
/* Until nothing is left to do: deleted images released, checkpoint written. */
void rig_settle(struct rig *rig);

/* Deep check of the quiet pod: every block's owned references equal its count, every page has one
 * owner, L2P knows exactly the referenced blocks, space and segments add up. Fails the test otherwise. */
void rig_check(struct rig *rig);
/* What lies on the device is right (pool_audit.h), whether there is a pod or not; part of rig_check. Fails
 * the test otherwise. */
void rig_audit(struct rig *rig);

#endif
