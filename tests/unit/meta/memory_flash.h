/* Flash in memory for what a checkpoint writes: a sink that keeps every record
 * and counts the references to it. A record that is not durable yet must not be
 * read: a checkpoint under way is readable only from the cache. */
#ifndef PS_TESTS_META_MEMORY_FLASH_H
#define PS_TESTS_META_MEMORY_FLASH_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/container.h"
#include "node/meta/meta.h"

enum {
    MEMORY_FLASH_BYTES = 64 << 20
};

struct memory_flash {
    struct meta_sink sink;
    uint8_t *bytes;
    uint32_t used, durable;
    int32_t *refs; /* by address in units */
};

static void *memory_flash_alloc(struct meta_sink *sink, uint32_t bytes, struct place *place)
{
    struct memory_flash *flash = container_of(sink, struct memory_flash, sink);
    assert(bytes % PLACE_UNIT == 0 && bytes > 0 && flash->used + bytes <= MEMORY_FLASH_BYTES);
    *place = place_make(flash->used, bytes);
    flash->used += bytes;
    return flash->bytes + place_addr(*place);
}

static inline void memory_flash_init(struct memory_flash *flash)
{
    *flash = (struct memory_flash){.sink = {memory_flash_alloc}, .used = PLACE_UNIT, .durable = PLACE_UNIT};
    flash->bytes = calloc(1, MEMORY_FLASH_BYTES);
    flash->refs = calloc(MEMORY_FLASH_BYTES / PLACE_UNIT, sizeof flash->refs[0]);
    assert(flash->bytes && flash->refs);
}

static inline void memory_flash_free(struct memory_flash *flash)
{
    free(flash->bytes);
    free(flash->refs);
}

static inline void memory_flash_flush(struct memory_flash *flash)
{
    flash->durable = flash->used;
}

static inline void memory_flash_ref(void *user, struct place place, int delta)
{
    struct memory_flash *flash = user;
    int32_t *n = &flash->refs[place_addr(place) / PLACE_UNIT];
    *n += delta;
    assert(*n >= 0 && "a record lost more references than it had");
}

static inline const uint8_t *memory_flash_read(const struct memory_flash *flash, struct place place)
{
    assert(!place_is_none(place) && place_addr(place) + place_len(place) <= flash->durable &&
           "only durable records are read");
    return flash->bytes + place_addr(place);
}

/* The slots of a page, loaded if necessary. */
static inline const uint64_t *memory_flash_slots(const struct memory_flash *flash, struct meta *meta,
                                                 struct meta_key page)
{
    const uint64_t *slots = meta_slots(meta, page);
    if (slots)
        return slots;
    const struct place place = meta_load_place(meta, page);
    const int rc = meta_load(meta, page, place, memory_flash_read(flash, place), place_len(place), NULL);
    assert(rc == 0);
    slots = meta_slots(meta, page);
    assert(slots);
    return slots;
}

#endif
