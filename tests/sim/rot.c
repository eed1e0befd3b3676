/* Metadata rots: one copy of each record, so that nothing is lost and all checks hold as they do without. */
#include <stdlib.h>

#include "node/pod/pod_impl.h"
#include "tests/sim/world.h"

static void flip(struct node *n, uint64_t at)
{
    uint8_t byte;
    blkdev_mem_peek(n->disk, at, &byte, 1, false);
    byte ^= 0x10;
    blkdev_mem_poke(n->disk, at, &byte, 1);
}

static void flip_first_copy(struct node *n, const struct pod *pod, struct place place)
{
    if (segments_twin(pod->segments, place_segment(pod, place)))
        flip(n, place_addr(place) + place_len(place) / 2);
}

static void flip_anchor(struct node *n, const struct pod *pod)
{
    const uint64_t number = pod->anchor.number;
    const uint32_t segment = pod->label.pods[0].anchor_segments[anchor_half(number)];
    flip(n, segment_addr(pod, segment) + anchor_offset(number) + ANCHOR_BYTES / 2);
}

struct rotting {
    struct node *node;
    const struct pod *pod;
    struct place *places; /* pages share some */
    size_t count, capacity;
};

static void rot_place(struct rotting *r, struct place place)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->places[i].v == place.v)
            return;
    if (r->count == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 64;
        r->places = realloc(r->places, r->capacity * sizeof r->places[0]);
        assert(r->places);
    }
    r->places[r->count++] = place;
    flip_first_copy(r->node, r->pod, place);
}

static void rot_page(void *user, struct meta_key page)
{
    struct rotting *r = user;
    const struct place base = meta_base(r->pod->meta, page);
    if (!place_is_none(base) && !meta_is_being_written(r->pod->meta, page))
        rot_place(r, base);
}

/* One copy of all that its last checkpoint refers to, and of its anchor: nothing is lost by it. */
void node_rot_metadata(struct node *n)
{
    const struct pod *pod = n->member ? member_pod(n->member) : NULL;
    if (!pod || !pod->segments || pod->state != POD_SERVING || pod->checkpoint.state > CHECKPOINT_LOADING)
        return;
    struct rotting r = {.node = n, .pod = pod};
    for (enum meta_kind kind = META_MAP; kind <= META_REF; kind++)
        meta_each_page(pod->meta, kind, rot_page, &r);
    for (size_t i = 0; i < pod->run_count; i++)
        for (size_t c = 0; c < pod->runs[i].count; c++)
            rot_place(&r, pod->runs[i].chunks[c]);
    flip_anchor(n, pod);
    trace(n->w, "%s: one copy of %zu records of its metadata rots", n->name, r.count);
    free(r.places);
}
