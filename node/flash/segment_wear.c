/* What a device tells of segments: wear, and which are erased; and those that it wants no more. */
#include "node/flash/segment_impl.h"

void segments_set_wear(struct segments *s, uint32_t index, uint32_t pe_cycles)
{
    s->s[index].wear = pe_cycles;
    s->told = true;
}

uint32_t segments_wear(const struct segments *s, uint32_t index)
{
    return s->s[index].wear;
}

void segments_set_erased(struct segments *s, uint32_t index, bool erased)
{
    struct segment *seg = &s->s[index];
    if (available(seg))
        s->erased += (uint32_t)erased - seg->erased;
    seg->erased = erased;
    s->told = true;
}

bool segments_is_erased(const struct segments *s, uint32_t index)
{
    return s->s[index].erased;
}

uint32_t segments_to_erase(const struct segments *s, uint32_t ahead)
{
    uint32_t best = SEGMENT_NONE;
    if (s->erased >= ahead || s->erased == s->free)
        return SEGMENT_NONE;
    for (uint32_t n = 0; n < s->count; n++) {
        const uint32_t i = (s->cursor + n) % s->count;
        const struct segment *seg = &s->s[i];
        if (available(seg) && !seg->erased && (best == SEGMENT_NONE || seg->wear < s->s[best].wear))
            best = i;
    }
    assert(best != SEGMENT_NONE);
    return best;
}

void segments_retire(struct segments *s, uint32_t index)
{
    assert(available(&s->s[index]));
    s->s[index].state = SEGMENT_RETIRED;
    s->free--;
    s->erased -= s->s[index].erased;
}

static bool wears(const struct segment *seg)
{
    return seg->state != SEGMENT_SYSTEM && seg->state != SEGMENT_RETIRED;
}

void segment_find_wear(const struct segments *s, uint32_t *lowest, uint32_t *highest)
{
    *lowest = UINT32_MAX;
    *highest = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        if (!wears(&s->s[i]))
            continue;
        *lowest = s->s[i].wear < *lowest ? s->s[i].wear : *lowest;
        *highest = s->s[i].wear > *highest ? s->s[i].wear : *highest;
    }
    if (*lowest > *highest)
        *lowest = 0;
}

uint32_t segments_wear_victim(const struct segments *s, uint64_t seq, uint32_t threshold)
{
    uint32_t lowest, highest, victim = SEGMENT_NONE;
    segment_find_wear(s, &lowest, &highest);
    if (highest - lowest <= threshold)
        return SEGMENT_NONE;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct segment *seg = &s->s[i], *best = victim == SEGMENT_NONE ? NULL : &s->s[victim];
        if (!collectable(seg, seq) || seg->leaving || seg->barred || highest - seg->wear <= threshold)
            continue;
        if (!best || seg->wear < best->wear || (seg->wear == best->wear && seg->last_seq < best->last_seq))
            victim = i;
    }
    return victim;
}

uint32_t segments_wear_floor(const struct segments *s, uint32_t threshold)
{
    uint32_t lowest, highest;
    segment_find_wear(s, &lowest, &highest);
    return highest > threshold ? highest - threshold : 0;
}

uint32_t segments_most_worn(const struct segments *s)
{
    return segment_choose(s, s->cursor, true);
}

void segments_take_this(struct segments *s, uint32_t index, enum segment_state state)
{
    assert(available(&s->s[index]));
    (void)segment_take(s, index, state);
}
