/* Commit in order, and what a committed batch does to the applied state.
 *
 * Applying decides nothing and does no I/O: members that apply the same batches are equal. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/pod/pod_impl.h"

/* ---- applying */

struct applying {
    struct pod *pod;
    uint64_t seq;
};

static void apply_set(void *user, uint64_t page, unsigned slot, uint64_t entry)
{
    struct applying *a = user;
    meta_set(a->pod->meta, meta_key(META_MAP, page, slot), entry);
}

static void apply_copy(void *user, uint64_t to, uint64_t from)
{
    struct applying *a = user;
    const struct meta_key key = meta_key(META_MAP, to, 0);
    if (a->pod->config.check_only && meta_exists(a->pod->meta, key))
        return; /* damage: no page is made twice */
    meta_copy(a->pod->meta, key, meta_key(META_MAP, from, 0));
}

static void apply_drop(void *user, uint64_t page)
{
    struct applying *a = user;
    meta_drop(a->pod->meta, meta_key(META_MAP, page, 0));
}

static void apply_free(void *user, uint64_t block, uint64_t count)
{
    struct pod *pod = ((struct applying *)user)->pod;
    for (uint64_t end = block + count; block < end; block++) {
        const struct meta_key key = l2p_key(block_group(block));
        uint64_t value;
        const bool there = meta_get(pod->meta, key, &value);
        if (pod->config.check_only && !(there && l2p_is_live(value, block_slot(block)) &&
                                        restore_place_is_sound(pod, l2p_place(value))))
            continue; /* damage, which the check will tell of */
        assert(there && "planning pinned the page");
        assert(l2p_is_live(value, block_slot(block)) && "a block dies once");
        const uint64_t after = value & ~(1ull << block_slot(block));
        const uint32_t segment = place_segment(pod, l2p_place(value));
        uint64_t died = l2p_live_bytes(value) - l2p_live_bytes(after);
        if (pod->config.check_only && died > segments_live(pod->segments, segment))
            died = segments_live(pod->segments, segment); /* no less than nothing: damage, too */
        segments_add_live(pod->segments, segment, -(int64_t)died);
        meta_set(pod->meta, key, l2p_live(after) ? after : 0);
        pod->unique_blocks--;
        block_cache_drop(pod->cache, block);
    }
}

static void apply_ref(void *user, uint64_t block, uint64_t extra)
{
    struct applying *a = user;
    meta_set(a->pod->meta, meta_key_flat(META_REF, block), extra);
}

static int apply_image(void *user, uint64_t id, bool with_space, const uint8_t *record, size_t bytes,
                       struct ps_error *err)
{
    struct applying *a = user;
    const int rc = images_apply(a->pod->images, a->seq, id, with_space, record, bytes, err);
    const struct image *image = images_get(a->pod->images, id);
    if (!rc && a->pod->config.image_changed && a->pod->state != POD_OPENING) {
        struct pod_image_info info = {0};
        if (image->full_name[0])
            image_info(a->pod, image, &info);
        a->pod->config.image_changed(a->pod->config.user, a->seq, id, &info);
    }
    return rc;
}

static void apply_root(void *user, uint64_t id, uint64_t entry)
{
    struct applying *a = user;
    images_set_root(a->pod->images, a->seq, id, entry);
}

static void apply_gone(void *user, uint64_t id)
{
    struct applying *a = user;
    images_remove(a->pod->images, id);
}

static void apply_space(void *user, uint64_t id, const struct space *delta)
{
    struct image *image = images_get(((struct applying *)user)->pod->images, id);
    if (!image)
        return;
    space_add(&image->space, delta);
    image->changed = true;
}

static void apply_counters(void *user, const uint64_t amounts[COUNTERS])
{
    struct applying *a = user;
    for (int i = 0; i < COUNTERS; i++)
        a->pod->counters[i] += amounts[i];
}

static void advance(uint64_t *next, uint64_t to)
{
    if (*next < to)
        *next = to;
}

static void apply_next(void *user, uint64_t page, uint64_t image)
{
    struct pod *pod = ((struct applying *)user)->pod;
    advance(&pod->log_next.page, page);
    advance(&pod->log_next.image, image);
}

static void apply_operation(void *user, const uint8_t operation[16], int status, uint64_t image,
                            uint64_t unix_ns)
{
    struct applying *a = user;
    operation_note(a->pod, operation, status, image, unix_ns);
}

static const struct changes_visitor apply_visitor = {
    .set = apply_set,
    .copy = apply_copy,
    .drop = apply_drop,
    .free = apply_free,
    .ref = apply_ref,
    .image = apply_image,
    .root = apply_root,
    .gone = apply_gone,
    .space = apply_space,
    .counters = apply_counters,
    .next = apply_next,
    .done = apply_operation,
};

/* New groups first: a block may be born and die in the same batch. */
static int apply_records(struct pod *pod, const struct batch_header *h, const void *batch, uint64_t addr,
                         struct ps_error *err)
{
    struct batch_record record = {0};
    for (unsigned i = 0; i < h->records; i++) {
        if (!batch_next_record(h, batch, i, &record))
            return ps_error_set(err, PS_EDAMAGED, "batch %llu: inconsistent directory",
                                (unsigned long long)h->seq);
        const struct place place = place_make(addr + record.offset, record.bytes);
        const uint64_t value = l2p_make(place, record.blocks, (1u << record.blocks) - 1);
        meta_set(pod->meta, l2p_key(record.group), value);
        segments_add_live(pod->segments, place_segment(pod, place), l2p_live_bytes(value));
        pod->unique_blocks += record.blocks;
        advance(&pod->log_next.group, record.group + 1);
    }
    /* The first batch of a primary tells where its range begins, records or not. */
    advance(&pod->log_next.group, h->first_group);
    return 0;
}

int apply_batch(struct pod *pod, const struct batch_header *h, const void *batch, uint64_t addr,
                struct ps_error *err)
{
    int rc = apply_records(pod, h, batch, addr, err);
    struct applying a = {pod, h->seq};
    if (!rc)
        rc = changes_visit(batch_changes(batch), h->changes_bytes, &apply_visitor, &a, err);
    if (rc)
        return rc;
    advance(&pod->next_group, pod->log_next.group);
    advance(&pod->next_page, pod->log_next.page);
    advance(&pod->next_image, pod->log_next.image);
    pod->applied_seq = h->seq;
    pod->applied_hash = h->checksum;
    pod->applied_epoch = h->epoch;
    pod->applied_run = h->run;
    pod->log_bytes += h->total_bytes;
    pod->counters[COUNTER_DATA_PROGRAMMED] += h->total_bytes;
    /* Here, for one that follows or replays need not come to an end of what waits. */
    meta_shrink(pod->meta);
    return 0;
}

static void want_free(void *user, uint64_t block, uint64_t count)
{
    struct pod *pod = user;
    const uint64_t last = block_group(block + count - 1);
    for (uint64_t group = block_group(block); group <= last; group++)
        (void)view_slots(pod->view, meta_page_of(l2p_key(group)), false);
}

bool apply_ready(struct pod *pod, const struct batch_header *h, const void *batch)
{
    static const struct changes_visitor visitor = {.free = want_free};
    const struct meta_key *missing;
    view_missing_clear(pod->view);
    (void)changes_visit(batch_changes(batch), h->changes_bytes, &visitor, pod, NULL);
    return view_missing(pod->view, &missing) == 0;
}

/* ---- committing */

static void release_batch(struct pod *pod, struct batch *b, int status)
{
    for (uint32_t i = 0; i < b->pinned_count; i++)
        block_cache_unpin(pod->cache, b->pinned[i]);
    b->pinned_count = 0;
    for (struct list_node *n; (n = list_pop_front(&b->pieces));) {
        struct piece *piece = container_of(n, struct piece, link);
        piece_answer(pod, piece, status);
        piece_release(pod, piece);
    }
    if (b->manage) {
        b->manage->seq = b->header.seq;
        pod->manage_busy = false;
        manage_finish(pod, b->manage, status);
        b->manage = NULL;
    }
    if (b->releasing)
        pod->release_in_flight = false;
    list_push_back(&pod->free_batches, &b->link);
}

static void note_durable(struct pod *pod)
{
    list_for_each(node, &pod->in_flight)
    {
        const struct batch *b = container_of(node, struct batch, link);
        if (!b->done || b->status)
            return;
        if (b->header.seq == pod->durable.seq + 1)
            tell_durable(pod, &b->header);
    }
}

/* Batches take effect in the order of their numbers, whatever order the device had, and when they are
 * committed. */
void commit_turn(struct pod *pod)
{
    if (pod->failed && pod->open) {
        struct batch *b = pod->open;
        pod->open = NULL;
        release_batch(pod, b, pod_end_status(pod));
    }
    note_durable(pod);
    while (!list_empty(&pod->in_flight)) {
        struct batch *b = container_of(pod->in_flight.next, struct batch, link);
        if (!b->done || (!pod->failed && b->header.seq > pod->commit_seq))
            break;
        list_remove(&b->link);
        pod->in_flight_count--;
        if (pod->failed) {
            release_batch(pod, b, pod_end_status(pod));
            continue;
        }
        struct ps_error err = {0};
        const uint64_t addr = segment_addr(pod, b->at.segment) + b->at.offset;
        const int rc = apply_batch(pod, &b->header, b->start, addr, &err);
        assert(rc == 0 && "a batch of our own is sound");
        pod->applied = b->after;
        pod->stats.batches++;
        pod->events++;
        view_applied(pod->view, b->header.seq);
        release_batch(pod, b, 0);
    }
    if (!pod->follow.waits)
        meta_shrink(pod->meta);
}

void commit_done(struct blkdev_req *req, int status)
{
    struct batch *b = container_of(req, struct batch, req);
    struct pod *pod = b->pod;
    b->done = true;
    b->status = status;
    if (status)
        pod_fail(pod, "writing the log failed: %s", ps_status_text(status));
    commit_turn(pod);
    pod->again = true;
}

/* ---- failure */

void pod_fail(struct pod *pod, const char *format, ...)
{
    if (pod->failed)
        return;
    pod->failed = true;
    pod->again = true;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(pod->failure, sizeof pod->failure, format, args);
    va_end(args);
    if (pod->abandoned)
        return;
    pod_event(pod, "pod.failed", 0, "%s; the pod serves reads only until it is restarted", pod->failure);
}
