/* Parts of the device that are taken away, and come back. */
#include "node/flash/segment_impl.h"

static void come_back(struct segments *s, struct segment *seg)
{
    if (seg->state == SEGMENT_RETIRED && !is_gone(seg))
        segment_come_free(s, seg);
}

/* Free, it is retired at once. */
static void leave(struct segments *s, struct segment *seg)
{
    if (!available(seg))
        return;
    seg->state = SEGMENT_RETIRED;
    s->free--;
    s->erased -= seg->erased;
}

void segments_bar(struct segments *s, uint32_t index)
{
    struct segment *seg = &s->s[index];
    assert(seg->state != SEGMENT_SYSTEM && !seg->barred);
    if (seg->state == SEGMENT_RETIRED)
        return;
    s->gone += !is_gone(seg);
    seg->barred = true;
    leave(s, seg);
    s->barred += seg->state != SEGMENT_RETIRED;
}

bool segments_is_barred(const struct segments *s, uint32_t index)
{
    return s->s[index].barred;
}

void segments_unbar(struct segments *s, uint32_t index)
{
    struct segment *seg = &s->s[index];
    if (!seg->barred)
        return;
    s->barred -= seg->state != SEGMENT_RETIRED;
    seg->barred = false;
    s->gone -= !is_gone(seg);
    come_back(s, seg);
}

void segments_set_absent(struct segments *s, uint32_t index, bool absent)
{
    struct segment *seg = &s->s[index];
    if (seg->absent == absent)
        return;
    s->gone += absent && !seg->barred;
    s->gone -= !absent && !seg->barred;
    seg->absent = absent;
    if (absent)
        leave(s, seg);
    else
        come_back(s, seg);
}

bool segments_is_absent(const struct segments *s, uint32_t index)
{
    return s->s[index].absent;
}

uint32_t segments_barred(const struct segments *s)
{
    return s->barred;
}

uint32_t segments_gone(const struct segments *s)
{
    return s->gone;
}

uint32_t segments_barred_victim(const struct segments *s, uint64_t seq)
{
    for (uint32_t i = 0; i < s->count && s->barred; i++)
        if (s->s[i].barred && !s->s[i].leaving && collectable(&s->s[i], seq))
            return i;
    return SEGMENT_NONE;
}

void segments_look_barred(const struct segments *s, uint64_t seq, struct segments_barred_look *out)
{
    *out = (struct segments_barred_look){0};
    for (uint32_t i = 0; i < s->count && s->gone; i++) {
        const struct segment *seg = &s->s[i];
        const struct segment *twin = seg->twin ? &s->s[seg->twin] : seg;
        out->pinned += seg->barred && seg->pins;
        if (!seg->barred && !twin->barred)
            continue;
        if (seg->state == SEGMENT_META)
            out->live_meta += seg->live;
        if (!seg->barred)
            continue;
        out->stuck += seg->stuck && is_data(seg) && seg->live > 0 && !seg->freeing;
        out->movable += collectable(seg, seq) || seg->leaving;
        out->behind += is_data(seg) && !seg->open && !seg->freeing && seg->last_seq > seq;
        out->dead += lifeless(seg, seq) || seg->freeing;
        if (seg->state == SEGMENT_LOG && !seg->open && seg->live == 0 && seg->last_seq > out->last_log)
            out->last_log = seg->last_seq;
    }
}
