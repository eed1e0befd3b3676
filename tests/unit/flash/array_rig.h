/* An array on devices in memory whose completions the test orders, with a model of what it must hold. */
#ifndef PS_TESTS_ARRAY_RIG_H
#define PS_TESTS_ARRAY_RIG_H

#include "common/blkdev_fault.h"
#include "common/blkdev_mem.h"
#include "common/prng.h"
#include "node/flash/array.h"

enum {
    RIG_DEVICES = 10, /* there are, in use or in the drawer */
    RIG_SEGMENTS = 8,
    RIG_SEGMENTS_MAX = 40,
    RIG_SEGMENT = 1 << 20,
    RIG_BLOCK = 4096,
    RIG_BLOCKS = RIG_SEGMENT / RIG_BLOCK,
    RIG_JOBS = 24,
};

struct rig_job {
    struct blkdev_req req;
    struct array_rig *rig;
    bool busy, done;
    int status;
    uint32_t segment, from, to; /* blocks */
    uint64_t life;
    uint8_t *buf;
    uint8_t covers[RIG_SEGMENTS_MAX][RIG_BLOCKS]; /* a flush: what had completed */
};

struct rig_segment {
    uint64_t life; /* 0: never erased */
    bool open;     /* since the last start; may be appended to */
    unsigned busy; /* on its way */
    uint32_t fill; /* blocks, submitted */
    uint8_t completed[RIG_BLOCKS], durable[RIG_BLOCKS];
};

struct array_rig {
    struct prng prng;
    struct blkdev *mem[RIG_DEVICES], *dev[RIG_DEVICES];
    char name[RIG_DEVICES][16];
    unsigned members, parity;
    uint64_t device_bytes, rebuild_rate; /* 0: as fast as it goes */
    bool look_only;                      /* devices forget what the array writes */
    bool adopt;                          /* the one device is a pool by itself */
    unsigned grown;                      /* how often that was told */
    struct blkdev *scratch[RIG_DEVICES];
    struct array *array;
    struct blkdev *whole;
    struct rig_segment segment[RIG_SEGMENTS_MAX];
    struct rig_job job[RIG_JOBS];
    uint64_t lives, now_ns;
    int opened;
    struct ps_error error;
    unsigned events;
    char last_event[32];
    int answer; /* of attach, detach, close; 1: none yet */
};

void rig_create(struct array_rig *rig, uint64_t seed, unsigned members, unsigned parity);
/* With up to RIG_SEGMENTS_MAX segments. */
void rig_create_large(struct array_rig *rig, uint64_t seed, unsigned members, unsigned parity,
                      unsigned segments);
void rig_destroy(struct array_rig *rig);
/* A device as it comes out of the box. */
void rig_blank(struct array_rig *rig, unsigned device);
/* The same of another size: so many segments behind the header. */
void rig_resize(struct array_rig *rig, unsigned device, unsigned segments);
/* It carries the label of a pool of this id that has all of it. */
void rig_pool(struct array_rig *rig, unsigned device, uint8_t id);

/* Opens with the devices in the mask, in some order; those in `gone` are named and cannot be opened. */
int rig_open(struct array_rig *rig, uint32_t devices, uint32_t gone);
/* One completion somewhere; false: nothing is on its way. */
bool rig_step(struct array_rig *rig);
void rig_drain(struct array_rig *rig);
void rig_close(struct array_rig *rig);
/* Attaches the device and closes after so many completions; the array is destroyed where its end is told, as
 * the contract allows. True: the attach had ended by then. */
bool rig_close_in_attach(struct array_rig *rig, unsigned device, unsigned steps);
/* Power goes; the array is gone with it. */
void rig_cut(struct array_rig *rig, int mode);
bool rig_idle(const struct array_rig *rig);

bool rig_erase(struct array_rig *rig, uint32_t segment);
bool rig_append(struct array_rig *rig, uint32_t segment, uint32_t blocks, bool fua);
bool rig_flush(struct array_rig *rig);
/* Everything that must be there, is. */
void rig_verify(struct array_rig *rig);
/* A digest of all that was written to segments since they were erased, answered or not. */
uint64_t rig_digest(struct array_rig *rig);
/* 0 when all was read right. */
int rig_read(struct array_rig *rig, uint32_t segment, uint32_t from, uint32_t to, uint8_t *out);
int rig_read_way(struct array_rig *rig, uint32_t segment, uint32_t block, uint32_t way, uint8_t *out);
void rig_fill(const struct array_rig *rig, uint32_t segment, uint64_t life, uint32_t block, uint8_t *out);

int rig_attach(struct array_rig *rig, unsigned device);
/* Begins it; rig->answer tells the end. */
int rig_begin_attach(struct array_rig *rig, unsigned device);
int rig_begin_detach(struct array_rig *rig, unsigned device);
int rig_detach(struct array_rig *rig, unsigned device);
/* Until it is rebuilt, or nothing happens any more. */
void rig_rebuild(struct array_rig *rig);
unsigned rig_lost(const struct array_rig *rig);
/* Lets the device fail whatever it is asked from now on. */
void rig_break(struct array_rig *rig, unsigned device);

#endif
