/* What an image holds, counted as entries come and go. Blocks, and units of 64 bytes. */
#ifndef PS_NODE_VOLUME_SPACE_H
#define PS_NODE_VOLUME_SPACE_H

#include "node/volume/entry.h"

enum space_count {
    SPACE_LOGICAL,
    SPACE_PATTERN,
    SPACE_DUPLICATE,
    SPACE_STORED_UNITS,
    SPACE_COUNTS
};

struct space {
    int64_t n[SPACE_COUNTS];
};

static inline void space_count(struct space *s, uint64_t entry, int64_t sign)
{
    switch (entry_type(entry)) {
    case ENTRY_DATA:
        s->n[SPACE_LOGICAL] += sign;
        if (entry & ENTRY_DUPLICATE)
            s->n[SPACE_DUPLICATE] += sign;
        else
            s->n[SPACE_STORED_UNITS] += sign * (int64_t)entry_share(entry);
        break;
    case ENTRY_PATTERN:
        s->n[SPACE_LOGICAL] += sign;
        s->n[SPACE_PATTERN] += sign;
        break;
    default:
        break;
    }
}

/* Wraps: counts come from flash, too. */
static inline void space_add(struct space *s, const struct space *d)
{
    for (int i = 0; i < SPACE_COUNTS; i++)
        s->n[i] = (int64_t)((uint64_t)s->n[i] + (uint64_t)d->n[i]);
}

#endif
