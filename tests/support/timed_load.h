/* Writes to a volume of a pod on a device in memory whose time is virtual: each request takes 80 us, and 2
 * GB/s are shared by all. The same run has the same latencies on any machine.
 *
 * What cannot be ends the program: it is for benchmarks and tests alone. */
#ifndef PS_TESTS_SUPPORT_TIMED_LOAD_H
#define PS_TESTS_SUPPORT_TIMED_LOAD_H

#include "common/prng.h"
#include "node/pod/pod.h"

enum {
    TIMED_DEPTH = 64,
    TIMED_BLOCK = 4096,
    TIMED_PENDING_MAX = 512,
    TIMED_LATENCIES = 1 << 16, /* buckets of a microsecond */
    TIMED_BYTES_NS = 2,        /* GB/s */
};

struct timed_slot {
    struct pod_io io;
    uint64_t began_ns;
    bool busy;
    uint8_t buf[TIMED_BLOCK];
};

struct timed_load {
    struct blkdev *dev;
    struct pod *pod;
    struct pod_image *image;
    struct prng prng;
    uint64_t now_ns, pipe_free_ns, wake_ns, idle;
    struct {
        struct blkdev_req *req;
        uint64_t at_ns;
    } pending[TIMED_PENDING_MAX];
    size_t pending_count;
    bool flag;
    struct timed_slot slots[TIMED_DEPTH];
    unsigned busy;
    uint64_t blocks, done;
    uint64_t interval_ns, next_ns; /* writes come one by one; 0: as soon as one is through */
    bool hot, filling, running;    /* hot: nine of ten writes go to a tenth of the volume */
    uint64_t next;
    uint8_t *noise;
    uint32_t latency[TIMED_LATENCIES];
    void (*turned)(struct timed_load *t); /* called after each turn; NULL: nothing is */
};

/* Makes a pool and in it a volume of unique blocks that do not compress, not written yet, which take
 * `percent` of what hosts may fill (capacity less the reserve). */
void timed_start(struct timed_load *t, uint64_t pool_bytes, uint64_t segment_bytes, unsigned percent,
                 uint64_t seed);
void timed_end(struct timed_load *t);
/* Writes each block of the volume once, in order, with the queue always full. */
void timed_fill(struct timed_load *t);
/* Writes so many blocks at random. The queue stays as full as it is to be: nobody waits for the last of them
 * before the next ones come. */
void timed_write(struct timed_load *t, uint64_t count);
/* The same, and counts latencies anew. Writes come one by one, at equal intervals, if `mib_s` is not 0. */
void timed_measure(struct timed_load *t, double mib_s, uint64_t count);
/* Of the writes since they were counted anew, that of this share of them at most. */
double timed_latency_us(const struct timed_load *t, double share);

#endif
