/* The blocks of a pass: what L2P and the counts say, what the maps refer to, and whose the space is. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/survey_impl.h"

/* An image is one of this pair. */
static bool is_of(const struct survey *s, uint32_t tag, uint32_t pair)
{
    const uint32_t *pairs = tag <= s->image_count ? s->images[tag - 1].pairs : NULL;
    return pairs && pair > s->image_count && (pairs[0] == pair || pairs[1] == pair);
}

static const struct survey_pair *pair_of(const struct survey *s, uint32_t tag)
{
    return tag > s->image_count && tag != TAG_MANY ? &s->pairs[tag - s->image_count - 1] : NULL;
}

uint32_t tags_join(const struct survey *s, uint32_t a, uint32_t b)
{
    const uint32_t seen = (a | b) & TAG_SEEN;
    a &= ~TAG_SEEN;
    b &= ~TAG_SEEN;
    if (a == b || b == TAG_NOBODY)
        return a | seen;
    if (a == TAG_NOBODY)
        return b | seen;
    if (is_of(s, b, a))
        return a | seen;
    for (unsigned i = 0; a <= s->image_count && i < 2; i++)
        if (s->images[a - 1].pairs[i] && is_of(s, b, s->images[a - 1].pairs[i]))
            return s->images[a - 1].pairs[i] | seen;
    return TAG_MANY | seen;
}

/* Bytes of a group's record that count for the block in `slot`, the rest for the others: their sum is
 * l2p_live_bytes. */
static uint32_t piece_of(uint64_t v, unsigned slot)
{
    const unsigned rank = (unsigned)__builtin_popcount(l2p_live(v) & ((1u << slot) - 1));
    const uint32_t bytes = place_len(l2p_place(v));
    return bytes * (rank + 1) / l2p_blocks(v) - bytes * rank / l2p_blocks(v);
}

/* What is left of the live bytes when these blocks die, too. */
static uint32_t comes_back(uint64_t v, unsigned slots)
{
    return l2p_live_bytes(v) - l2p_live_bytes(v & ~(uint64_t)slots);
}

/* ---- they come in */

static void check_place(struct survey *s, uint64_t group, uint64_t v)
{
    const struct place place = l2p_place(v);
    uint32_t segment;
    if (!survey_lies_in(s, place, &segment)) {
        survey_found(s, SURVEY_MISPLACED, group, NULL, 0, 0,
                     "group %" PRIu64 " is said to lie at %" PRIu64 ", in no segment", group,
                     place_addr(place));
        return;
    }
    s->segment_live[segment] += l2p_live_bytes(v);
    if (survey_is_data(segments_state(s->config.segments, segment)))
        return;
    locate_want(&s->groups, group, l2p_live(v));
    survey_found(s, SURVEY_MISPLACED, group, NULL, 0, 0, "group %" PRIu64 " lies in segment %u, which is %s",
                 group, segment, survey_segment_state(s, segment));
}

static void take_l2p(struct survey *s, struct slab *slab, const uint64_t *slots)
{
    memcpy(slab->l2p, slots, sizeof slab->l2p);
    for (unsigned g = 0; g < META_SLOTS; g++) {
        const uint64_t v = slots[g];
        if (!l2p_live(v))
            continue;
        check_place(s, slab->number * META_SLOTS + g, v);
        s->live_blocks += (unsigned)__builtin_popcount(l2p_live(v));
        for (unsigned i = 0; i < GROUP_BLOCKS; i++)
            slab->owed[g * GROUP_BLOCKS + i] = l2p_is_live(v, i);
    }
}

static void take_counts(struct survey *s, struct slab *slab, unsigned page, const uint64_t *slots)
{
    const uint64_t first = slab->number * SLAB_BLOCKS + page * META_SLOTS;
    for (unsigned i = 0; i < META_SLOTS; i++) {
        const unsigned at = page * META_SLOTS + i;
        if (!slots[i] || slab->lost)
            continue;
        if (slab->owed[at] == 0)
            survey_found(s, SURVEY_REFERENCES, first + i, NULL, 0, 0,
                         "block %" PRIu64 " is dead, and %" PRIu64 " more references to it are counted",
                         first + i, slots[i]);
        else
            slab->owed[at] += (uint32_t)slots[i];
    }
}

/* Each one is an allocation of its own: one of all of them would take milliseconds to give back. */
static struct slab *slab_loading(struct survey *s)
{
    struct slab **slab = &s->slabs[s->loading - s->first];
    if (!*slab) {
        *slab = malloc(sizeof **slab);
        assert(*slab && "out of memory for a survey");
        s->slab_count++;
    }
    return *slab;
}

static struct meta_key wants(const struct survey *s, const struct slab *slab)
{
    if (s->ref_loading == 0)
        return meta_key(META_L2P, slab->number, 0);
    return meta_key(META_REF, slab->number * SLAB_REF_PAGES + s->ref_loading - 1, 0);
}

static void came(struct survey *s)
{
    if (s->ref_loading++ < SLAB_REF_PAGES)
        return;
    s->ref_loading = 0;
    s->loading++;
}

bool slabs_step(struct survey *s, enum survey_state *state)
{
    *state = SURVEY_MORE;
    if (s->loading == s->end)
        return false;
    struct slab *slab = slab_loading(s);
    if (s->ref_loading == 0) {
        memset(slab, 0, sizeof *slab);
        slab->number = s->numbers[s->loading];
    }
    s->wants = wants(s, slab);
    const uint64_t *slots = meta_slots(s->config.meta, s->wants);
    if (!slots) {
        *state = SURVEY_MISSING;
        return true;
    }
    if (s->ref_loading == 0)
        take_l2p(s, slab, slots);
    else
        take_counts(s, slab, s->ref_loading - 1, slots);
    came(s);
    return true;
}

void slabs_give_up(struct survey *s, const char *why)
{
    struct slab *slab = slab_loading(s);
    if (s->ref_loading == 0) {
        slab->lost = s->l2p_lost = true;
        survey_found(s, SURVEY_PAGE, s->wants.v, NULL, 0, 0,
                     "page %#" PRIx64 " of L2P, which says where groups %" PRIu64 " to %" PRIu64 " lie: %s",
                     s->wants.v, slab->number * META_SLOTS, (slab->number + 1) * META_SLOTS - 1, why);
    } else {
        const uint64_t first = slab->number * SLAB_BLOCKS + (s->ref_loading - 1) * META_SLOTS;
        slab->ref_lost |= (uint8_t)(1u << (s->ref_loading - 1));
        survey_found(s, SURVEY_PAGE, s->wants.v, NULL, 0, 0,
                     "page %#" PRIx64 ", which counts the references to blocks %" PRIu64 " to %" PRIu64
                     ": %s",
                     s->wants.v, first, first + META_SLOTS - 1, why);
    }
    came(s);
}

/* ---- what refers to them */

/* 0: not of this pass. */
static int find_slab(struct survey *s, uint64_t number, struct slab **out)
{
    const bool below = s->first && number < s->numbers[s->first];
    const bool above = s->end < s->number_count && number >= s->numbers[s->end];
    *out = NULL;
    if (below || above)
        return 0;
    const uint64_t *numbers = &s->numbers[s->first];
    const size_t count = s->end - s->first;
    size_t low = 0, high = count;
    if (s->slab_last < high && numbers[s->slab_last] == number)
        low = s->slab_last;
    else
        while (low < high) {
            const size_t mid = (low + high) / 2;
            if (numbers[mid] < number)
                low = mid + 1;
            else
                high = mid;
        }
    if (low < count && numbers[low] == number) {
        *out = s->slabs[low];
        s->slab_last = low;
    }
    return 1;
}

/* Neighbours with the same trouble are told as one. */
struct trouble {
    struct survey *s;
    const struct map_walk_page *page;
    enum survey_kind kind;
    unsigned first, count;
    uint64_t block;
};

static void tell(struct trouble *t)
{
    const struct image *image = t->s->images[t->s->image_next].image;
    char name[IMAGE_FULL_NAME_MAX + 24];
    const uint64_t lba = t->page->lba + t->first;
    if (t->count == 0)
        return;
    if (t->kind == SURVEY_DEAD)
        survey_found(t->s, SURVEY_DEAD, t->block, image, lba, t->count,
                     "%s: LBA %" PRIu64 " to %" PRIu64 " refer to blocks that are stored nowhere (%" PRIu64
                     " is the first)",
                     survey_image_name(image, name, sizeof name), lba, lba + t->count - 1, t->block);
    else if (t->kind == SURVEY_PAGE)
        survey_found(t->s, SURVEY_PAGE, l2p_key(block_group(t->block)).v, image, lba, t->count,
                     "%s: LBA %" PRIu64 " to %" PRIu64
                     " can't be found without a page of L2P that is damaged",
                     survey_image_name(image, name, sizeof name), lba, lba + t->count - 1);
    t->count = 0;
}

static void note(struct trouble *t, enum survey_kind kind, unsigned slot, uint64_t block)
{
    if (t->count && t->kind == kind && t->first + t->count == slot) {
        t->count++;
        return;
    }
    tell(t);
    t->kind = kind;
    t->first = slot;
    t->count = 1;
    t->block = block;
}

static void refer(struct survey *s, struct trouble *t, unsigned slot, uint64_t entry, bool counting,
                  struct sums *sums)
{
    const uint64_t block = entry_id(entry);
    struct slab *slab;
    if (!find_slab(s, block / SLAB_BLOCKS, &slab))
        return;
    const unsigned at = (unsigned)(block % SLAB_BLOCKS);
    const uint64_t v = slab ? slab->l2p[at / GROUP_BLOCKS] : 0;
    if (slab && slab->lost) {
        note(t, SURVEY_PAGE, slot, block);
        return;
    }
    if (!l2p_is_live(v, block_slot(block))) {
        locate_want(&s->groups, block_group(block), 1u << block_slot(block));
        note(t, SURVEY_DEAD, slot, block);
        return;
    }
    sums->bytes += piece_of(v, block_slot(block));
    slab->tags[at] =
        tags_join(s, slab->tags[at], TAG_SEEN | (s->images[s->image_next].holds ? survey_tag(s) : 0));
    if (counting && entry_owns(entry))
        slab->owed[at]--;
}

void slabs_leaf(struct survey *s, const struct map_walk_page *page, const uint64_t *slots, bool counting,
                struct sums *sums)
{
    const struct image *image = s->images[s->image_next].image;
    struct trouble trouble = {.s = s, .page = page};
    for (unsigned i = 0; i < META_SLOTS; i++) {
        const uint64_t e = slots[i];
        char name[IMAGE_FULL_NAME_MAX + 24];
        switch (entry_type(e)) {
        case ENTRY_HOLE:
            break;
        case ENTRY_DATA:
            if (image->kind == IMAGE_TRASH && !entry_owns(e))
                break; /* it may be gone */
            space_count(&sums->space, e, +1);
            refer(s, &trouble, i, e, counting, sums);
            break;
        case ENTRY_PATTERN:
            space_count(&sums->space, e, +1);
            break;
        case ENTRY_PAGE:
        default:
            if (survey_is_first(s))
                survey_found(s, SURVEY_ENTRY, page->page, image, page->lba + i, 1,
                             "%s: LBA %" PRIu64 " holds the impossible entry %#" PRIx64,
                             survey_image_name(image, name, sizeof name), page->lba + i, e);
            break;
        }
    }
    tell(&trouble);
}

/* ---- all maps were gone through */

enum {
    SUM_GROUPS = 32 /* in a step */
};

static void compare_counts(struct survey *s, const struct slab *slab, unsigned at)
{
    const uint64_t block = slab->number * SLAB_BLOCKS + at;
    const int32_t owed = (int32_t)slab->owed[at];
    if (owed == 0 || slab->ref_lost >> (at / META_SLOTS) & 1 || (owed > 0 && s->blind))
        return;
    if (!(slab->tags[at] & TAG_SEEN)) {
        survey_found(s, SURVEY_LEAK, block, NULL, 0, 0, "block %" PRIu64 " lives, and nothing refers to it",
                     block);
        return;
    }
    locate_want(&s->groups, block_group(block), 1u << block_slot(block));
    survey_found(s, SURVEY_REFERENCES, block, NULL, 0, 0,
                 "block %" PRIu64 " has %d owned reference%s %s than are counted", block, abs(owed),
                 abs(owed) == 1 ? "" : "s", owed < 0 ? "more" : "less");
}

static void share(struct survey_share *to, uint64_t blocks, uint64_t bytes)
{
    to->blocks += blocks;
    to->stored_bytes += bytes;
}

static void share_out(struct survey *s, uint32_t tag, uint32_t bytes)
{
    struct survey_totals *t = &s->totals;
    const uint32_t holder = tag & ~TAG_SEEN;
    share(&t->stored, 1, bytes);
    if (holder == TAG_NOBODY) {
        share(tag ? &t->releasing : &t->leaked, 1, bytes);
    } else if (holder > s->image_count) {
        share(&t->shared, 1, bytes);
    } else {
        struct survey_space *space = &s->images[holder - 1].space;
        share(&space->exclusive, 1, bytes);
        if (space->hidden)
            share(&t->hidden, 1, bytes);
    }
}

/* What comes back when the image `tag` is deleted: what it holds alone, and what it shares with a hidden
 * image that goes then. */
static unsigned slots_of(const struct survey *s, const uint32_t *tags, uint64_t v, uint32_t tag)
{
    unsigned slots = 0;
    const uint32_t with = s->images[tag - 1].pairs[0];
    const struct survey_pair *pair = with ? pair_of(s, with) : NULL;
    for (unsigned i = 0; i < GROUP_BLOCKS; i++) {
        const uint32_t holder = tags[i] & ~TAG_SEEN;
        const bool theirs = pair && pair->partner == tag && (holder == pair->hidden || holder == with);
        if ((holder == tag || theirs) && l2p_is_live(v, i))
            slots |= 1u << i;
    }
    return slots;
}

static void add_reclaimable(struct survey *s, uint64_t v, const uint32_t *tags, uint32_t tag, uint32_t *done,
                            unsigned *done_count)
{
    for (unsigned i = 0; i < *done_count; i++)
        if (done[i] == tag)
            return;
    done[(*done_count)++] = tag;
    const unsigned slots = slots_of(s, tags, v, tag);
    share(&s->images[tag - 1].space.reclaimable, (unsigned)__builtin_popcount(slots), comes_back(v, slots));
}

static void sum_group(struct survey *s, uint64_t v, const uint32_t *tags)
{
    uint32_t done[3 * GROUP_BLOCKS];
    unsigned done_count = 0;
    for (unsigned i = 0; i < GROUP_BLOCKS; i++) {
        if (!l2p_is_live(v, i))
            continue;
        const uint32_t holder = tags[i] & ~TAG_SEEN;
        share_out(s, tags[i], piece_of(v, i));
        if (holder == TAG_NOBODY)
            continue;
        if (holder > s->image_count) {
            if (pair_of(s, holder))
                add_reclaimable(s, v, tags, pair_of(s, holder)->partner, done, &done_count);
            continue;
        }
        add_reclaimable(s, v, tags, holder, done, &done_count);
        for (unsigned p = 0; p < 2 && s->images[holder - 1].pairs[p]; p++)
            add_reclaimable(s, v, tags, pair_of(s, s->images[holder - 1].pairs[p])->partner, done,
                            &done_count);
    }
}

bool slabs_sum(struct survey *s)
{
    if (s->summed == s->end - s->first)
        return false;
    const struct slab *slab = s->slabs[s->summed];
    const unsigned end = s->sum_next + SUM_GROUPS;
    for (unsigned g = s->sum_next; g < end && !slab->lost; g++) {
        for (unsigned i = 0; i < GROUP_BLOCKS; i++)
            compare_counts(s, slab, g * GROUP_BLOCKS + i);
        if (l2p_live(slab->l2p[g]))
            sum_group(s, slab->l2p[g], &slab->tags[g * GROUP_BLOCKS]);
    }
    s->sum_next = end % META_SLOTS;
    s->summed += s->sum_next == 0;
    return true;
}
