#include "node/flash/segment_impl.h"

#include <stdlib.h>
#include <string.h>

/* A persistent value: state 4 bits, stamp 28 (of metadata: its twin), live 32. */
enum {
    STATE_SHIFT = 60,
    STAMP_SHIFT = 32,
    STAMP_MASK = (1 << 28) - 1,
};
enum {
    TWIN_AWAY = 61, /* segments; not a multiple of the members of any array */
};

struct segments *segments_create(uint32_t count, uint32_t segment_bytes, uint32_t system_count)
{
    assert(system_count <= count);
    struct segments *s = calloc(1, sizeof *s);
    assert(s && "out of memory for the segment table");
    s->s = calloc(count, sizeof s->s[0]);
    assert(s->s && "out of memory for the segment table");
    s->count = count;
    s->bytes = segment_bytes;
    s->free = count - system_count;
    s->cursor = system_count;
    s->keep_log = UINT64_MAX;
    for (uint32_t i = 0; i < system_count; i++)
        s->s[i].state = SEGMENT_SYSTEM;
    return s;
}

void segments_destroy(struct segments *s)
{
    free(s->s);
    free(s);
}

void segments_grow(struct segments *s, uint32_t count)
{
    assert(count >= s->count);
    s->s = realloc(s->s, count * sizeof s->s[0]);
    assert(s->s && "out of memory for the segment table");
    memset(s->s + s->count, 0, (count - s->count) * sizeof s->s[0]);
    s->free += count - s->count;
    s->count = count;
}

uint32_t segments_count(const struct segments *s)
{
    return s->count;
}

/* NULL: it has none. Twins are taken, filled, sealed, read and freed as one: all but their wear is alike. */
static struct segment *twin_of(struct segments *s, struct segment *seg)
{
    return seg->twin ? &s->s[seg->twin] : NULL;
}

static void part(struct segments *s, struct segment *seg)
{
    struct segment *twin = twin_of(s, seg);
    if (twin)
        twin->twin = 0;
    seg->twin = 0;
}

void segment_come_free(struct segments *s, struct segment *seg)
{
    assert(!seg->taken && !seg->limbo);
    if (!is_gone(seg)) {
        seg->state = SEGMENT_FREE;
        s->free++;
        s->erased += seg->erased;
        return;
    }
    seg->state = SEGMENT_RETIRED;
    s->barred -= seg->barred;
}

uint32_t segment_take(struct segments *s, uint32_t i, enum segment_state state)
{
    if (i == SEGMENT_NONE)
        return SEGMENT_NONE;
    s->s[i].taken = s->s[i].open = true;
    s->s[i].state = (uint8_t)state;
    s->s[i].live = 0;
    s->s[i].stuck = false;
    s->s[i].stamp = s->clock = (s->clock + 1) & STAMP_MASK;
    s->free--;
    s->erased -= s->s[i].erased;
    s->cursor = i + 1;
    return i;
}

/* Of two free ones: an erased one can be written at once; else by wear. */
static bool is_better(const struct segment *a, const struct segment *b, bool worn)
{
    if (worn)
        return a->wear > b->wear;
    return a->erased != b->erased ? a->erased : a->wear < b->wear;
}

/* The best one from `from` on. */
uint32_t segment_choose(const struct segments *s, uint32_t from, bool worn)
{
    uint32_t best = SEGMENT_NONE;
    for (uint32_t n = 0; n < s->count && s->free; n++) {
        const uint32_t i = (from + n) % s->count;
        if (available(&s->s[i]) && (best == SEGMENT_NONE || is_better(&s->s[i], &s->s[best], worn)))
            best = i;
        if (best != SEGMENT_NONE && !s->told)
            break;
    }
    return best;
}

/* Dynamic wear levelling. From the cursor on: equal ones take turns, and writes are sequential. */
uint32_t segments_take(struct segments *s, enum segment_state state)
{
    return segment_take(s, segment_choose(s, s->cursor, false), state);
}

uint32_t segments_take_twin(struct segments *s, uint32_t index)
{
    const uint32_t part = s->count / 4 | 1, away = part < TWIN_AWAY ? part : TWIN_AWAY;
    const uint32_t cursor = s->cursor;
    struct segment *seg = &s->s[index];
    assert(seg->state == SEGMENT_META && seg->open && seg->live == 0 && !seg->twin);
    const uint32_t i = segment_take(s, segment_choose(s, index + away, false), SEGMENT_META);
    s->cursor = cursor; /* the others go on in turn */
    if (i == SEGMENT_NONE)
        return SEGMENT_NONE;
    assert(s->s[i].pins == 0 && seg->pins == 0);
    s->s[i].twin = index;
    s->s[i].taken = seg->taken;
    seg->twin = i;
    return i;
}

uint32_t segments_twin(const struct segments *s, uint32_t index)
{
    return s->s[index].twin;
}

void segments_use(struct segments *s, uint32_t index)
{
    struct segment *seg = &s->s[index], *twin = twin_of(s, seg);
    assert(seg->open);
    seg->taken = false;
    if (twin)
        twin->taken = false;
}

static void seal(struct segments *s, struct segment *seg, uint64_t last_seq)
{
    seg->open = false;
    seg->stamp = s->clock;
    seg->last_seq = last_seq;
}

void segments_seal(struct segments *s, uint32_t index, uint64_t last_seq)
{
    struct segment *seg = &s->s[index], *twin = twin_of(s, seg);
    seal(s, seg, last_seq);
    if (twin)
        seal(s, twin, last_seq);
}

void segments_untake(struct segments *s, uint32_t index)
{
    struct segment *seg = &s->s[index];
    assert(seg->taken && seg->live == 0);
    seg->taken = seg->open = false;
    segment_come_free(s, seg);
}

void segments_add_live(struct segments *s, uint32_t index, int64_t bytes)
{
    struct segment *seg = &s->s[index];
    struct segment *twin = twin_of(s, seg);
    assert((int64_t)seg->live + bytes >= 0);
    seg->live = (uint32_t)((int64_t)seg->live + bytes);
    if (twin)
        twin->live = seg->live;
}

void segments_pin(struct segments *s, uint32_t index)
{
    struct segment *seg = &s->s[index], *twin = twin_of(s, seg);
    seg->pins++;
    if (twin)
        twin->pins++;
}

static void unpin(struct segments *s, struct segment *seg)
{
    assert(seg->pins);
    if (--seg->pins == 0 && seg->limbo) {
        seg->limbo = false;
        part(s, seg);
        segment_come_free(s, seg);
    }
}

void segments_unpin(struct segments *s, uint32_t index)
{
    struct segment *seg = &s->s[index], *twin = twin_of(s, seg);
    unpin(s, seg);
    if (twin)
        unpin(s, twin);
}

void segments_hold(struct segments *s, uint32_t index)
{
    assert(!s->s[index].held);
    s->s[index].held = true;
    segments_pin(s, index);
}

void segments_unhold(struct segments *s, uint32_t index)
{
    assert(s->s[index].held);
    s->s[index].held = false;
    segments_unpin(s, index);
}

void segments_set_leaving(struct segments *s, uint32_t index, bool leaving)
{
    assert(s->s[index].leaving != leaving && s->s[index].pins);
    s->s[index].leaving = leaving;
}

static bool kept(const struct segments *s, const struct segment *seg)
{
    return seg->state == SEGMENT_LOG && seg->last_seq >= s->keep_log;
}

static bool dead(const struct segments *s, const struct segment *seg, uint64_t seq)
{
    return lifeless(seg, seq) && !kept(s, seg);
}

void segments_keep_log(struct segments *s, uint64_t seq)
{
    s->keep_log = seq;
}

uint32_t segments_clock(const struct segments *s)
{
    return s->clock;
}

uint32_t segments_clock_since(const struct segments *s, uint32_t clock)
{
    return (s->clock - clock) & STAMP_MASK;
}

void segments_log_holds(struct segments *s, uint32_t index, uint64_t seq)
{
    assert(s->s[index].state == SEGMENT_LOG && !s->s[index].open);
    if (s->s[index].last_seq < seq)
        s->s[index].last_seq = seq;
}

uint32_t segments_kept(const struct segments *s, uint64_t seq, uint64_t *lowest)
{
    uint32_t n = 0;
    *lowest = UINT64_MAX;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct segment *seg = &s->s[i];
        if (!lifeless(seg, seq) || !kept(s, seg))
            continue;
        n++;
        if (seg->last_seq < *lowest)
            *lowest = seg->last_seq;
    }
    return n;
}

void segments_log_cut(struct segments *s, uint64_t seq, uint32_t last)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->s[i].state == SEGMENT_LOG && s->s[i].last_seq > seq)
            s->s[i].last_seq = i == last ? seq : 0;
}

static uint64_t value_of(const struct segment *seg)
{
    if (seg->taken || seg->freeing || seg->state == SEGMENT_FREE || seg->state == SEGMENT_RETIRED)
        return 0;
    /* Metadata's age matters to nobody. */
    const uint64_t stamp = seg->state == SEGMENT_META ? seg->twin : seg->stamp;
    return (uint64_t)seg->state << STATE_SHIFT | stamp << STAMP_SHIFT | seg->live;
}

uint64_t segments_cut(struct segments *s, uint64_t seq, bool full, void (*put)(void *, uint32_t, uint64_t),
                      void *user)
{
    uint64_t gone = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        struct segment *seg = &s->s[i];
        if (dead(s, seg, seq)) {
            seg->freeing = true;
            if (seg->state == SEGMENT_LOG && seg->last_seq > gone)
                gone = seg->last_seq;
        }
        const uint64_t value = value_of(seg);
        if ((full ? value != 0 : value != seg->persisted) && seg->state != SEGMENT_SYSTEM)
            put(user, i, value);
        seg->persisted = value;
    }
    return gone;
}

void segments_cut_done(struct segments *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        struct segment *seg = &s->s[i];
        if (!seg->freeing)
            continue;
        seg->freeing = false;
        seg->state = SEGMENT_FREE;
        seg->last_seq = 0;
        seg->limbo = seg->pins > 0;
        if (seg->limbo)
            continue;
        part(s, seg);
        segment_come_free(s, seg);
    }
}

uint32_t segments_dead(const struct segments *s, uint64_t seq)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->count; i++)
        n += dead(s, &s->s[i], seq) || s->s[i].freeing;
    return n;
}

uint32_t segments_with_data(const struct segments *s, uint32_t from, uint64_t seq)
{
    for (uint32_t i = from; i < s->count; i++)
        if (is_data(&s->s[i]) && !s->s[i].open && !s->s[i].freeing && s->s[i].live > 0 &&
            s->s[i].last_seq <= seq)
            return i;
    return SEGMENT_NONE;
}

uint32_t segments_best(const struct segments *s, uint64_t seq,
                       double (*score)(void *, uint32_t, uint32_t, uint32_t), void *user)
{
    uint32_t best = SEGMENT_NONE;
    double highest = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct segment *seg = &s->s[i];
        if (!collectable(seg, seq) || seg->leaving || seg->barred)
            continue;
        const double is = score(user, s->bytes, seg->live, (s->clock - seg->stamp) & STAMP_MASK);
        if (is > highest) {
            highest = is;
            best = i;
        }
    }
    return best;
}

uint32_t segments_room(const struct segments *s, uint64_t seq)
{
    uint32_t n = s->free;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct segment *seg = &s->s[i];
        n += !seg->held && !is_gone(seg) && (seg->limbo || seg->freeing || lifeless(seg, seq));
    }
    return n;
}

uint64_t segments_gain(const struct segments *s, uint64_t seq, uint32_t least)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < s->count; i++)
        if (collectable(&s->s[i], seq) && !s->s[i].barred && s->bytes - s->s[i].live >= least)
            bytes += s->bytes - s->s[i].live;
    return bytes;
}

void segments_stuck(struct segments *s, uint32_t index)
{
    s->s[index].stuck = true;
}

void segments_restore(struct segments *s, uint32_t index, uint64_t value)
{
    struct segment *seg = &s->s[index];
    assert(seg->state != SEGMENT_SYSTEM);
    s->free += (seg->state != SEGMENT_FREE) && value == 0;
    s->free -= (seg->state == SEGMENT_FREE) && value != 0;
    seg->persisted = value;
    seg->state = (uint8_t)(value >> STATE_SHIFT);
    seg->live = (uint32_t)value;
    const uint32_t stamp = (uint32_t)(value >> STAMP_SHIFT) & STAMP_MASK;
    const bool meta = seg->state == SEGMENT_META;
    seg->twin = meta ? stamp : 0;
    seg->stamp = meta ? 0 : stamp;
    /* The clock goes on from the youngest; one of metadata may have been younger. */
    if (!meta && ((stamp - s->clock) & STAMP_MASK) <= STAMP_MASK / 2)
        s->clock = seg->stamp;
}

bool segments_adopt(struct segments *s, uint32_t index, enum segment_state state)
{
    struct segment *seg = &s->s[index];
    if (seg->state == SEGMENT_FREE) {
        s->free--;
        seg->state = (uint8_t)state;
    }
    return seg->state == (uint8_t)state;
}

bool segments_adopt_twins(struct segments *s, uint32_t index, uint32_t twin)
{
    struct segment *a = &s->s[index], *b = &s->s[twin];
    if (index == twin || a->state != SEGMENT_FREE || b->state != SEGMENT_FREE)
        return false;
    (void)segments_adopt(s, index, SEGMENT_META);
    (void)segments_adopt(s, twin, SEGMENT_META);
    a->twin = twin;
    b->twin = index;
    return true;
}

void segments_restore_meta(struct segments *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        struct segment *seg = &s->s[i];
        if (seg->state != SEGMENT_META)
            continue;
        seg->live = 0;
        if (seg->twin >= s->count || seg->twin == i || s->s[seg->twin].state != SEGMENT_META ||
            s->s[seg->twin].twin != i)
            seg->twin = 0;
    }
}

bool segments_anchored(const struct segments *s, uint32_t index, bool *lives)
{
    const struct segment *seg = &s->s[index];
    /* One that the cut's own metadata went into may be missing in what it put. */
    const bool meta = seg->state == SEGMENT_META && !seg->taken;
    assert(!seg->freeing && seg->state != SEGMENT_SYSTEM);
    *lives = (uint32_t)seg->persisted > 0 || (meta && seg->live > 0);
    return seg->persisted != 0 || meta;
}

uint32_t segments_free(const struct segments *s)
{
    return s->free;
}

enum segment_state segments_state(const struct segments *s, uint32_t index)
{
    return (enum segment_state)s->s[index].state;
}

uint32_t segments_live(const struct segments *s, uint32_t index)
{
    return s->s[index].live;
}

bool segments_open(const struct segments *s, uint32_t index)
{
    return s->s[index].open;
}

uint64_t segments_last_seq(const struct segments *s, uint32_t index)
{
    return s->s[index].last_seq;
}

void segments_stats(const struct segments *s, struct segments_stats *out)
{
    *out = (struct segments_stats){.count = s->count, .free = s->free};
    segment_find_wear(s, &out->wear_lowest, &out->wear_highest);
    for (uint32_t i = 0; i < s->count; i++) {
        const struct segment *seg = &s->s[i];
        out->taken += seg->taken;
        out->limbo += seg->limbo;
        if (seg->taken)
            continue;
        out->system += seg->state == SEGMENT_SYSTEM;
        out->retired += seg->state == SEGMENT_RETIRED;
        if (seg->state == SEGMENT_LOG) {
            out->log++;
            out->live_log += seg->live;
            out->used_log += s->bytes;
        } else if (seg->state == SEGMENT_META) {
            out->meta++;
            /* A record that pages share counts for each of them. */
            out->live_meta += seg->live < s->bytes ? seg->live : s->bytes;
            out->used_meta += s->bytes;
            if (!seg->twin)
                out->single_meta += seg->live < s->bytes ? seg->live : s->bytes;
        } else if (is_data(seg)) {
            out->moved++;
            out->live_moved += seg->live;
            out->used_moved += s->bytes;
        }
    }
}
