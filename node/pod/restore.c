/* What a checkpoint's runs say, put in place: by an opening, and by whoever looks at a checkpoint while the
 * pod goes on (deep.c). */
#include "node/pod/pod_impl.h"

bool restore_place_is_sound(const struct pod *pod, struct place place)
{
    const uint64_t end = place_addr(place) + place_len(place);
    return place_len(place) > 0 && place_addr(place) >= (uint64_t)SYSTEM_SEGMENTS * pod->segment_bytes &&
           end <= (uint64_t)pod->segment_count * pod->segment_bytes;
}

uint32_t restore_copy_segment(const struct pod *pod, struct place place, uint32_t segment)
{
    return segment >= SYSTEM_SEGMENTS && segment < pod->segment_count && segment != place_segment(pod, place)
               ? segment
               : 0;
}

uint32_t restore_next_copy(const struct pod *pod, const void *chunk, struct place next)
{
    const struct place copy = run_next_copy(chunk);
    return place_len(copy) == place_len(next) &&
                   place_addr(copy) % pod->segment_bytes == place_addr(next) % pod->segment_bytes
               ? restore_copy_segment(pod, next, place_segment(pod, copy))
               : 0;
}

static void base(void *user, struct meta_key page, struct place place, bool clear_own)
{
    struct restore *to = user;
    if (meta_kind_of(page) < META_MAP || meta_kind_of(page) > META_REF ||
        (!place_is_none(place) && !restore_place_is_sound(to->pod, place)))
        to->impossible = "an impossible page";
    else
        meta_restore_base(to->meta, page, place, clear_own);
}

static void slot(void *user, struct meta_key key, uint64_t value)
{
    struct restore *to = user;
    const uint64_t index = key.v & ~(0xfull << 60);
    if (meta_kind_of(key) == META_SEG) {
        /* Metadata's live bytes are counted anew: records that pages share count for each of these. */
        const bool meta = value >> 60 == SEGMENT_META;
        if (index < SYSTEM_SEGMENTS || index >= segments_count(to->segments) ||
            value >> 60 >= SEGMENT_STATES || value >> 60 == SEGMENT_SYSTEM ||
            (!meta && (uint32_t)value > to->pod->segment_bytes))
            to->impossible = "an impossible segment";
        else
            segments_restore(to->segments, (uint32_t)index, value);
        return;
    }
    if (meta_kind_of(key) < META_MAP || meta_kind_of(key) > META_REF)
        to->impossible = "an impossible slot";
    else
        meta_restore_slot(to->meta, key, value);
}

static void drop(void *user, struct meta_key page)
{
    meta_restore_drop(((struct restore *)user)->meta, page);
}

static int blob(void *user, uint8_t type, uint64_t id, const uint8_t *data, size_t bytes,
                struct ps_error *err)
{
    struct restore *to = user;
    switch (type) {
    case BLOB_IMAGE:
        return images_apply(to->images, 0, id, true, data, bytes, err);
    case BLOB_IMAGE_GONE:
        images_remove(to->images, id);
        return 0;
    default:
        return to->blob(to->user, type, id, data, bytes, err);
    }
}

int restore_chunk_begin(struct restore *to, const void *chunk, size_t bytes, uint64_t run, uint32_t index,
                        struct place *next, struct ps_error *err)
{
    return run_check(chunk, bytes, run, index, &to->chunk, next, err);
}

int restore_chunk_some(struct restore *to, size_t entries, bool *more, struct ps_error *err)
{
    const struct run_visitor visitor = {base, slot, drop, blob, to};
    const int rc = run_visit_some(&to->chunk, entries, &visitor, err);
    if (rc == 0 && to->impossible)
        return ps_error_set(err, PS_EDAMAGED, "%s: the checkpoint has %s", to->pod->dev->name,
                            to->impossible);
    *more = rc == 0 && to->chunk.pos < to->chunk.end;
    return rc;
}

int restore_chunk(struct restore *to, const void *chunk, size_t bytes, uint64_t run, uint32_t index,
                  struct place *next, struct ps_error *err)
{
    bool more;
    const int rc = restore_chunk_begin(to, chunk, bytes, run, index, next, err);
    return rc ? rc : restore_chunk_some(to, SIZE_MAX, &more, err);
}
