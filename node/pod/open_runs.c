/* A pod's newest anchor, and the runs of its checkpoint. */
#include <inttypes.h>
#include <string.h>

#include "common/endian_codec.h"
#include "node/pod/open_impl.h"

/* ---- anchors */

static bool log_place_is_sound(const struct pod *pod, uint32_t segment, uint32_t offset)
{
    return segment == SEGMENT_NONE || (segment >= SYSTEM_SEGMENTS && segment < pod->segment_count &&
                                       offset <= pod->segment_bytes && offset % BATCH_ALIGN == 0);
}

static void next_chunk(struct open_state *o, struct place place, uint32_t copy_segment)
{
    o->next_chunk = place;
    o->copy_segment = copy_segment;
    o->way = 0;
}

static void begin_run(struct pod *pod, uint32_t run)
{
    struct open_state *o = pod->opening;
    const struct pod_anchor *a = &pod->anchor;
    o->run = run;
    o->chunk = 0;
    if (run < a->run_count)
        next_chunk(o, a->runs[run].first,
                   restore_copy_segment(pod, a->runs[run].first, a->runs[run].copy_segment));
}

void open_step_anchor(struct pod *pod)
{
    struct open_state *o = pod->opening;
    const bool second = o->step == OPEN_ANCHOR_SECOND;
    if (!second && o->read_at == UINT64_MAX)
        pod->anchor = (struct pod_anchor){0};
    if (!open_want(o, segment_addr(pod, pod->label.pods[0].anchor_segments[second]), ANCHOR_RING_BYTES))
        return;
    bool any = false;
    for (uint32_t at = 0; at < ANCHOR_RING_BYTES; at += ANCHOR_BYTES) {
        struct pod_anchor anchor;
        const int rc = anchor_decode(o->window + at, &anchor, &o->local);
        if (rc == PS_EVERSION) {
            open_finish(pod, rc);
            return;
        }
        if (rc || memcmp(anchor.pod, pod->label.pods[0].id, 16))
            continue;
        any = true;
        if (anchor.number > pod->anchor.number)
            pod->anchor = anchor;
    }
    o->local = (struct ps_error){0};
    if (!any && open_otherwise(o))
        return;
    pod->again = true;
    o->step = second ? OPEN_ANCHOR_NEWER : OPEN_ANCHOR_SECOND;
    o->run = 0;
}

static void use_anchor(struct pod *pod)
{
    struct open_state *o = pod->opening;
    if (pod->anchor.number == 0) {
        (void)ps_error_set(&o->local, PS_EDAMAGED, "%s: no sound anchor of its pod is left", pod->dev->name);
        open_finish(pod, PS_EDAMAGED);
        return;
    }
    /* Go on in the other half: a power cut may have spoilt the next place in this one. */
    pod->anchor.number = anchor_last_of_half(pod->anchor.number);
    const struct pod_anchor *a = &pod->anchor;
    if (a->protocol_bytes && !pod->config.log && !pod->config.check_only) {
        /* What is durable here need not be committed: alone, it would be applied all the same. */
        (void)ps_error_set(&o->local, PS_EPRECONDITION,
                           "%s holds a member of a replicated pod: it can't be opened alone "
                           "(PSTORAGE_CLUSTER_ENABLED)",
                           pod->dev->name);
        open_finish(pod, PS_EPRECONDITION);
        return;
    }
    /* A member has an id of its own until it takes its group's, no state of replication and nothing in it. */
    if (o->foreign && (a->seq || a->protocol_bytes)) {
        open_refuse_foreign(pod);
        return;
    }
    if (!log_place_is_sound(pod, a->log_segment, a->log_offset) || !log_place_is_sound(pod, a->log_next, 0)) {
        (void)ps_error_set(&o->local, PS_EDAMAGED,
                           "%s: its anchor names a place of the log outside of the pool", pod->dev->name);
        open_finish(pod, PS_EDAMAGED);
        return;
    }
    pod->epoch = a->epoch;
    pod->run = a->run + 1;
    pod->generation = a->generation;
    pod->applied_seq = a->seq;
    pod->applied_hash = a->hash;
    pod->applied_epoch = a->log_epoch;
    pod->applied_run = a->log_run;
    pod->log_next = (struct log_ids){a->next_group, a->next_page, a->next_image};
    plan_from(pod, &pod->log_next);
    begin_run(pod, 0);
    o->step = OPEN_RUN;
}

/* The highest one counts, so one that is read wrongly would not be missed. Where the next one went is known:
 * behind it, or at the start of the other half. */
void open_step_anchor_newer(struct pod *pod)
{
    struct open_state *o = pod->opening;
    const uint64_t last = pod->anchor.number;
    for (; pod->dev->geometry.ways && last && o->run < 2; o->run++) {
        const uint64_t number = (o->run ? anchor_last_of_half(last) : last) + 1;
        const uint32_t segment = pod->label.pods[0].anchor_segments[anchor_half(number)];
        struct pod_anchor anchor;
        if (!open_want(o, segment_addr(pod, segment) + anchor_offset(number), ANCHOR_BYTES))
            return;
        if (anchor_decode(o->window + o->skip, &anchor, NULL) == 0 && anchor.number == number &&
            memcmp(anchor.pod, pod->label.pods[0].id, 16) == 0) {
            pod->anchor = anchor;
            o->run = 0;
            pod->again = true;
            return;
        }
        if (open_otherwise(o))
            return;
    }
    pod->again = true;
    use_anchor(pod);
}

/* ---- runs */

/* What a run says beside pages, slots and images. */
static int restore_blob(void *user, uint8_t type, uint64_t id, const uint8_t *data, size_t bytes,
                        struct ps_error *err)
{
    struct pod *pod = user;
    switch (type) {
    case BLOB_COUNTERS:
        if (bytes % 8 || bytes < 24)
            return ps_error_set(err, PS_EDAMAGED, "counters of %zu bytes", bytes);
        for (size_t i = 0; i < COUNTERS && (i + 4) * 8 <= bytes; i++)
            pod->counters[i] = get_le64(data + 8 * i);
        pod->metadata_programmed = get_le64(data + bytes - 24);
        pod->host_read = get_le64(data + bytes - 16);
        pod->moved_programmed = get_le64(data + bytes - 8);
        pod->unique_blocks = id;
        return 0;
    case BLOB_OPERATION:
        if (bytes != 40)
            return ps_error_set(err, PS_EDAMAGED, "an operation of %zu bytes", bytes);
        operation_note(pod, data, -(int)(get_le64(data + 16) & 0xff), get_le64(data + 24),
                       get_le64(data + 32));
        return 0;
    default:
        return ps_error_set(err, PS_EVERSION, "a record of type %u, which this program does not know", type);
    }
}

static void runs_are_in(struct pod *pod)
{
    segments_restore_meta(pod->segments);
    zones_look(pod, 0);
    pod_size_reserve(pod); /* without what is absent */
    for (size_t i = 0; i < pod->run_count; i++)
        for (size_t c = 0; c < pod->runs[i].count; c++)
            pod_place_ref(pod, pod->runs[i].chunks[c], +1);
    meta_restore_done(pod->meta);
    images_gone_clear(pod->images);
    pod->operations_cut = pod->operation_count;
    /* The generation changes with the first checkpoint. */
    pod->log_bytes = 0;
    open_log_begin(pod);
}

void open_step_run(struct pod *pod)
{
    struct open_state *o = pod->opening;
    const struct pod_anchor *a = &pod->anchor;
    if (o->run == a->run_count) {
        runs_are_in(pod);
        return;
    }
    if (!restore_place_is_sound(pod, o->next_chunk)) {
        (void)ps_error_set(&o->local, PS_EDAMAGED, "%s: a checkpoint run lies outside of the pool",
                           pod->dev->name);
        open_finish(pod, PS_EDAMAGED);
        return;
    }
    if (!open_want(o, place_addr(o->next_chunk), place_len(o->next_chunk)))
        return;
    struct restore to = {.pod = pod,
                         .meta = pod->meta,
                         .images = pod->images,
                         .segments = pod->segments,
                         .blob = restore_blob,
                         .user = pod};
    const struct place place = o->next_chunk;
    const uint64_t seq = a->runs[o->run].seq;
    struct place next = PLACE_NONE;
    const int rc = restore_chunk(&to, o->window + o->skip, place_len(place), seq, o->chunk, &next, &o->local);
    if (rc == PS_EDAMAGED && !to.impossible && open_run_otherwise(o, o->local.detail))
        return;
    if (rc) {
        if (o->way > 1) /* what is wrong with the record itself, not with the last other way to read it */
            (void)ps_error_set(&o->local, rc, "%s", o->trouble);
        open_finish(pod, rc);
        return;
    }
    o->local = (struct ps_error){0};
    if (o->way)
        twin_helped_chunk(pod, seq, o->chunk, place, &o->req, o->trouble);
    if (o->chunk == 0)
        pod->runs[pod->run_count++] = (struct run_places){.seq = seq, .bytes = a->runs[o->run].bytes};
    run_places_add(&pod->runs[pod->run_count - 1], place);
    /* What the last cut's own metadata went into may be missing in what it says of segments. */
    if (o->run + 1 == a->run_count && o->copy_segment)
        (void)segments_adopt_twins(pod->segments, place_segment(pod, place), o->copy_segment);
    if (place_is_none(next)) {
        begin_run(pod, o->run + 1);
    } else {
        next_chunk(o, next, restore_next_copy(pod, o->window + o->skip, next));
        o->chunk++;
    }
    pod->again = true;
}
