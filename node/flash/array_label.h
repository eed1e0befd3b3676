/* What the devices of an array carry at their start: a label, the list of segments that are not settled, and
 * the parity of rows that are not full yet. Codecs only; the README has the layout. Pure. */
#ifndef PS_NODE_FLASH_ARRAY_LABEL_H
#define PS_NODE_FLASH_ARRAY_LABEL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"

enum {
    ARRAY_BLOCK_BYTES = 4096,
    ARRAY_MEMBERS_MAX = 16,
    ARRAY_NAME_BYTES = 96,
    ARRAY_UNSETTLED_MAX = 200,
    ARRAY_UNIT_MIN = 4096,
    ARRAY_UNIT_MAX = 16384,
    /* Places on a device. */
    ARRAY_LABEL_AT = 0,              /* two, by turns */
    ARRAY_BARE_LABEL_AT = 768 << 10, /* the same of a bare member: in the pool's first segment, of which the
                                        pool uses the first 512 KiB */
    ARRAY_UNSETTLED_AT = 8192,       /* two, by turns */
    ARRAY_STAGE_AT = 64 << 10,
    ARRAY_STAGE_SLOTS = 128, /* of a block and a unit each */
    ARRAY_HEADER_BYTES = 4 << 20,
};
_Static_assert(ARRAY_STAGE_AT + ARRAY_STAGE_SLOTS * (ARRAY_BLOCK_BYTES + ARRAY_UNIT_MAX) <=
                   ARRAY_HEADER_BYTES,
               "all slots fit");

enum array_member_state {
    ARRAY_IN,         /* holds its part of everything */
    ARRAY_OUT,        /* lost, or taken out */
    ARRAY_REBUILDING, /* holds its part of the segments below `rebuilt`, and is written to */
    ARRAY_FREE,       /* spread: nobody's; its segments are absent until a device takes the place */
};

struct array_member_label {
    uint8_t id[16];
    uint8_t state;
    uint32_t segments; /* that its space is good for */
    uint32_t rebuilt;
    /* Spread. Segments of the array: in turn with those of other members, from the first one on; or one
     * behind the other from `first` on. */
    bool behind;
    bool bare;                   /* it was a pool by itself: no header, its id is the pool's */
    uint32_t first;              /* behind */
    uint32_t held;               /* how many of them its device has; the rest is absent */
    char name[ARRAY_NAME_BYTES]; /* where it was seen last, for people */
};

struct array_label {
    uint64_t number; /* the highest one counts */
    uint8_t array[16];
    uint32_t segment_bytes, unit_bytes;
    uint8_t members, parity; /* parity 0: segments are spread, nothing is redundant */
    uint8_t self;            /* the member whose label this is */
    struct array_member_label member[ARRAY_MEMBERS_MAX];
};

/* How many segments there are, absent ones too; 0: the members' places do not follow each other. */
uint32_t array_label_segments(const struct array_label *label);

/* `out` has ARRAY_BLOCK_BYTES. Decoding: PS_ENOTFOUND (no such thing), PS_EVERSION, PS_EDAMAGED. */
void array_label_encode(const struct array_label *label, void *out);
int array_label_decode(const void *block, struct array_label *out, struct ps_error *err);

/* Segments whose rows may not agree with their parity after a power cut. */
struct array_unsettled {
    uint64_t number; /* the highest one counts */
    uint8_t array[16];
    uint32_t count;
    struct {
        uint32_t segment;
        uint64_t life; /* given when it was erased, never again */
    } entry[ARRAY_UNSETTLED_MAX];
};

void array_unsettled_encode(const struct array_unsettled *list, void *out);
int array_unsettled_decode(const void *block, struct array_unsettled *out, struct ps_error *err);

/* One parity unit of the first `fill` bytes of a row, as it stood when they became durable. */
struct array_stage {
    uint64_t number; /* of two for one row, that of the higher number has more in it */
    uint8_t array[16];
    uint64_t life;
    uint32_t segment, row, fill;
    uint32_t bytes; /* of parity, behind this block */
    uint8_t data, parity, which;
    uint64_t hash[ARRAY_MEMBERS_MAX]; /* XXH3-64 of what is filled of each data unit; of nothing: 0 */
};

/* `out` has ARRAY_BLOCK_BYTES, and the parity's `bytes` behind them already. */
void array_stage_encode(const struct array_stage *stage, void *out);
int array_stage_decode(const void *block, struct array_stage *out, struct ps_error *err);

#endif
