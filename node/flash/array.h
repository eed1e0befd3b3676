/* Several devices as one: a blkdev whose segments lie on member devices.
 *
 * Spread (no parity): segment after segment in turn over the members; nothing is redundant. In place of a
 * zoned device if all members are.
 *
 * Erasure coded: each segment is cut into rows of k data units and m parity units, one on each member; any m
 * members may be lost. It is a zoned device (blkdev.h), a segment a zone, whatever the members are: segments
 * are appended to and never written in place, so parity of a full row is written once, with its last data.
 * Parity of a row that is not full goes elsewhere, to a slot that nothing else needs, before the data counts
 * as durable. README.md says what follows from that when power and a device fail at once.
 *
 * A member that fails a write or a flush is lost: all others are told durably before anything is answered
 * that it has no part in. Pure; one owner thread; driven by completions of the members and, for what goes on
 * in the background, by array_turn. */
#ifndef PS_NODE_FLASH_ARRAY_H
#define PS_NODE_FLASH_ARRAY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/blkdev.h"
#include "common/status.h"
#include "node/flash/array_label.h"

struct array;

struct array_config {
    /* When a new array is made. */
    uint64_t seed[2];       /* randomness for identities */
    unsigned parity;        /* 0: spread; 1, 2 */
    bool parity_asked;      /* one that exists must have as much */
    uint32_t segment_bytes; /* power of two; 0: 8 MiB */
    uint32_t unit_bytes;    /* power of two; 0: 16 KiB */
    /* One line for the event list: "device.lost", "device.rebuilt", … */
    void (*event)(void *user, const char *kind, const char *text);
    /* May be NULL: all are. What is not in use need not be rebuilt. */
    bool (*in_use)(void *user, uint64_t offset, uint64_t length);
    void *user;
    uint64_t rebuild_rate; /* bytes of a member a second; 0: 64 MiB */
    /* May be NULL. With parity the last member has been replaced by a larger one: the device has more
     * segments from now on. */
    void (*grown)(void *user);
    /* The one device named is a pool by itself: the array is in memory, and nothing is written, until a
     * second one is attached. */
    bool adopt;
    /* To be looked at, on devices that forget what is written (blkdev_scratch.h): none is made, or rebuilt.
     */
    bool look_only;
};

/* A device that a person named for the array. */
struct array_device {
    struct blkdev *dev; /* NULL: it could not be opened */
    const char *name;   /* for messages */
};

typedef void (*array_cb)(void *user, int status);

/* Whether the first MiB of a device is one of a member's, be its label damaged. */
bool array_is_member(const uint8_t *head);

/* Finds the members among the devices, in any order, by their labels, and makes right what a power cut may
 * have left; if all devices are blank (their first MiB zeroes) a new array is made. The callback runs from a
 * completion. Errors, with a detail that names the device, and nothing written: PS_EPRECONDITION (devices of
 * several arrays, of another one, too many missing, one missing that no device was named for), PS_EINVAL (too
 * small, zoned and not zoned, too many), PS_ENOTFOUND (something else is on it), PS_EVERSION, PS_EDAMAGED,
 * PS_EIO. Devices that are not members are not touched; array_holds tells. Devices stay the caller's and are
 * destroyed after the array. `*out` receives the array at once; it is destroyed whatever came out, but not
 * from within the callback. */
int array_open(const struct array_device *devices, unsigned count, const struct array_config *config,
               array_cb cb, void *user, struct ps_error *err, struct array **out);
/* The device, once it is open; destroying it destroys the array. */
struct blkdev *array_device(struct array *a);
/* Also when it is not open. */
void array_destroy(struct array *a);
/* Settles all rows, so that the next opening finds nothing to do. Nothing of the caller's may be in flight. A
 * crash does without. */
void array_close(struct array *a, array_cb cb, void *user);

/* Whatever is due; returns when it wants to run again without completions (UINT64_MAX: never). */
uint64_t array_turn(struct array *a, uint64_t now_ns);

/* Whether the device is a member that is in use. */
bool array_holds(const struct array *a, const struct blkdev *dev);

/* A device that is not held any more is going to be destroyed. */
void array_forget(struct array *a, const struct blkdev *dev);

/* A blank device, or a former member. Spread: the array is larger by it, which is durable when the callback
 * runs. With parity it takes the place of one that is out, and is rebuilt in the background; the callback
 * tells that it is taken (durably), not that it is rebuilt. Errors, nothing written, as of array_open;
 * PS_EPRECONDITION: with parity, no member is out; PS_ELIMIT: there is no place for so large a device. */
int array_attach(struct array *a, const struct array_device *device, array_cb cb, void *user,
                 struct ps_error *err);
/* Takes a member out; afterwards its device may be destroyed. PS_EPRECONDITION if data would be lost,
 * PS_ENOTFOUND: no member's name is that. Of a spread array: the one that array_leave has named, when nothing
 * is in its segments any more; they are absent from then on, and the device is made blank. */
int array_detach(struct array *a, const char *name, array_cb cb, void *user, struct ps_error *err);

/* Spread: the member of this name is going to be detached, and whoever uses the device empties what
 * array_leaves names. PS_ENOTFOUND; PS_EPRECONDITION: it holds the first segments, where a pool begins;
 * PS_EUNAVAILABLE. */
int array_leave(struct array *a, const char *name, struct ps_error *err);
/* It stays after all. */
void array_stay(struct array *a);
/* Some of this part of the device lies on the member that is leaving. */
bool array_leaves(const struct array *a, uint64_t offset, uint64_t length);

struct array_member_info {
    char name[ARRAY_NAME_BYTES];
    enum array_member_state state;
    const struct blkdev *dev; /* NULL: it is not there */
    uint64_t size_bytes;      /* 0 when it is not */
    bool leaving;             /* what lies on it is being moved away */
    uint64_t errors;
    uint32_t rebuilt_percent;
};
struct array_info {
    uint8_t array[16];
    unsigned members, data, parity; /* data: of each row; parity 0: spread */
    unsigned lost;                  /* members not IN */
    bool failed;                    /* more than parity makes up for */
    uint64_t restored_reads;        /* made from parity, since the opening */
    unsigned unsettled;             /* segments that the opening found so */
    uint64_t resynced_rows;         /* whose parity it wrote anew */
    struct array_member_info member[ARRAY_MEMBERS_MAX];
};
void array_look(const struct array *a, struct array_info *out);

#endif
