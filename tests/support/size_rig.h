/* A pool that grows or leaves a part of its device while hosts write random blocks of one volume; the test
 * knows what is in it. */
#ifndef PS_TESTS_SUPPORT_SIZE_RIG_H
#define PS_TESTS_SUPPORT_SIZE_RIG_H

#include "tests/support/pod_rig.h"

enum {
    SIZE_BLOCK = 4096,
    SIZE_SEGMENT = 2 << 20,
    SIZE_SMALL = 40, /* segments */
    SIZE_LARGE = 64,
    SIZE_BLOCKS = 4096, /* of the volume */
    SIZE_BURST = 8,
};

struct size_rig {
    struct rig rig;
    uint32_t seeds[SIZE_BLOCKS]; /* of what was acknowledged; 0: zeroes */
    uint32_t next_seed, used;    /* blocks that hosts write to */
    struct host {
        struct size_rig *f;
        struct pod_io io;
        bool busy;
        uint32_t lba, seed;
        uint8_t data[SIZE_BLOCK];
    } hosts[SIZE_BURST];
    bool writing; /* hosts go on */
    int refused;  /* of the last write that was */
    struct pod_image *image;
    uint32_t from, to; /* segments that leave */
    bool ended;
    int status;
    char events[4096];
};

void size_begin_hosts(struct size_rig *f);
void size_end_hosts(struct size_rig *f);
/* So many steps. */
void size_run(struct size_rig *f, unsigned steps);
/* The power fails, and it opens again; what was not acknowledged may be there. */
void size_crash(struct size_rig *f, enum blkdev_mem_cut mode);
/* All that was acknowledged is read. */
void size_verify(struct size_rig *f);
/* Space does, to the byte; `segments`: is the pool's capacity, with the system's. 0: any. */
void size_adds_up(struct size_rig *f, uint64_t segments);
void size_on_end(void *user, int status);
/* Until what was begun has ended: with what. */
int size_ended(struct size_rig *f);
/* So much of the device is there. */
void size_show(struct size_rig *f, uint32_t segments);
/* Waits for it. */
int size_grow(struct size_rig *f);
bool size_leaves(void *user, uint64_t offset, uint64_t length);
int size_vacate_begin(struct size_rig *f, uint32_t from, uint32_t to);
/* Waits for it. */
int size_vacate(struct size_rig *f, uint32_t from, uint32_t to);
/* A device of SIZE_LARGE segments, of which so many are shown, with a volume. */
int size_setup_of(void **state, uint32_t segments);
int size_teardown(void **state);
void size_on_open(void *user, int status, struct pod *pod);
/* What has left: all of its bytes are another's now, and using it ends the test. */
void size_take_away(struct size_rig *f);

#endif
