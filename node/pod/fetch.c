/* Records of data and pages of metadata on their way from flash. A segment that is read from is pinned. */
#include <stdio.h>
#include <string.h>

#include "node/pod/pod_impl.h"

enum {
    OTHERWISE_TOLD_NS = 1000000000,
};

/* The device's units around a place. */
static void span_of(const struct pod *pod, struct place place, uint64_t *offset, uint32_t *length,
                    uint32_t *skip)
{
    const uint32_t unit = pod->dev->geometry.read_unit;
    const uint64_t addr = place_addr(place), end = addr + place_len(place);
    *offset = addr / unit * unit;
    *skip = (uint32_t)(addr - *offset);
    *length = (uint32_t)((end + unit - 1) / unit * unit - *offset);
}

/* ---- data */

struct fetch *fetch_find(const struct pod *pod, uint64_t group)
{
    list_for_each(node, &pod->active_fetches)
    {
        struct fetch *f = container_of(node, struct fetch, link);
        if (f->group == group)
            return f;
    }
    return NULL;
}

bool fetch_under_way(const struct pod *pod, uint64_t block)
{
    return fetch_find(pod, block_group(block)) != NULL;
}

bool fetch_can_start(const struct pod *pod, unsigned blocks)
{
    unsigned n = 0;
    list_for_each(node, &pod->free_fetches) if (++n >= blocks) break;
    unsigned w = 0;
    list_for_each(node, &pod->free_waiters) if (++w >= blocks) break;
    return n >= blocks && w >= blocks;
}

static void serve_block(struct pod *pod, struct fetch *f, struct waiter *w, int status)
{
    struct ps_error err;
    uint8_t plain[POD_BLOCK_BYTES];
    const uint8_t *block = status ? NULL : block_cache_peek(pod->cache, record_block_id(f->group, w->slot));
    if (!status && !block) { /* a small cache has lost it again */
        status = record_decode_block(pod->codec, f->buf + f->skip, f->bytes, w->slot, plain, &err);
        block = plain;
    }
    if (!status)
        memcpy(w->dst, block + w->from, w->bytes);
    if (w->io) {
        io_part_done(pod, w->io, status);
    } else {
        w->piece->fills--;
        if (status)
            w->piece->status = status;
    }
}

void fetch_serve(struct pod *pod, struct fetch *f, struct waiter *w, int status)
{
    if (w->record)
        repair_record_read(pod, w->record, f->buf + f->skip, f->bytes, status);
    else
        serve_block(pod, f, w, status);
    list_push_back(&pod->free_waiters, &w->link);
}

void fetch_end(struct pod *pod, struct fetch *f, int status)
{
    list_remove(&f->link);
    for (struct list_node *n; (n = list_pop_front(&f->waiters));)
        fetch_serve(pod, f, container_of(n, struct waiter, link), status);
    list_push_back(&pod->free_fetches, &f->link);
    pod->events++;
    pod->again = true;
}

int fetch_decode(struct pod *pod, struct fetch *f, struct ps_error *err)
{
    const uint8_t *record = f->buf + f->skip;
    int rc = record_verify(record, f->bytes, f->group, err);
    if (rc)
        return rc;
    void *out[RECORD_MAX_BLOCKS] = {0};
    const void *pinned[RECORD_MAX_BLOCKS] = {0};
    for (unsigned slot = 0; slot < RECORD_MAX_BLOCKS; slot++) {
        const uint64_t block = record_block_id(f->group, slot);
        if (!(f->wanted >> slot & 1) || block_cache_peek(pod->cache, block))
            continue;
        out[slot] = block_cache_put(pod->cache, block, NULL);
        const bool held = block_cache_pin(pod->cache, out[slot]);
        assert(held && "pins are bounded");
        pinned[slot] = out[slot];
    }
    rc = record_decode_all(pod->codec, record, f->bytes, out, err);
    for (unsigned slot = 0; slot < RECORD_MAX_BLOCKS; slot++) {
        if (rc && out[slot])
            block_cache_drop(pod->cache, record_block_id(f->group, slot));
        if (pinned[slot])
            block_cache_unpin(pod->cache, pinned[slot]);
    }
    return rc;
}

static void found_otherwise(struct pod *pod, const struct fetch *f)
{
    collect_patch(pod, f->group, f->place, f->buf + f->skip, f->bytes);
    pod->stats.repaired_reads++;
    /* A device that was overwritten makes thousands of these. */
    pod->otherwise.count++;
    if (pod->now_ns - pod->otherwise.told_ns < OTHERWISE_TOLD_NS && pod->otherwise.told_ns)
        return;
    pod->otherwise.told_ns = pod->now_ns;
    pod_event(pod, "pod.repaired", 0,
              "group %llu at %llu: %s; made from what the other devices hold, and written anew, as %llu "
              "others since "
              "the start",
              (unsigned long long)f->group, (unsigned long long)place_addr(f->place), f->trouble,
              (unsigned long long)pod->otherwise.count - 1);
}

static void fetch_done(struct blkdev_req *req, int status)
{
    struct fetch *f = container_of(req, struct fetch, req);
    struct pod *pod = f->pod;
    struct ps_error err = {0};
    if (status)
        (void)ps_error_set(&err, status, "reading it failed: %s", ps_status_text(status));
    const int rc = status ? status : fetch_decode(pod, f, &err);
    if (rc && !blkdev_way_of(req->flags)) {
        f->status = status ? status : PS_EDATALOSS;
        (void)snprintf(f->trouble, sizeof f->trouble, "%.*s", (int)sizeof f->trouble - 1, err.detail);
        pod->stats.checksum_errors += !status;
    }
    if (rc && blkdev_read_otherwise(pod->dev, req, fetch_done))
        return;
    segments_unpin(pod->segments, place_segment(pod, f->place));
    if (!rc) {
        if (blkdev_way_of(req->flags))
            found_otherwise(pod, f);
        fetch_end(pod, f, 0);
        return;
    }
    char trouble[sizeof f->trouble];
    memcpy(trouble, f->trouble, sizeof trouble);
    repair_begin(pod, f, f->status, trouble);
}

/* The fetch of the block's record, started if need be. NULL: not now; pages may be missing. */
static struct fetch *fetch_for(struct pod *pod, uint64_t block)
{
    struct fetch *f = fetch_find(pod, block_group(block));
    if (f)
        return f;
    const struct meta_key key = l2p_key(block_group(block));
    const uint64_t *slots = view_slots(pod->view, meta_page_of(key), false);
    const uint64_t value = slots ? slots[meta_slot_of(key)] : 0;
    struct list_node *node = pod->free_fetches.next;
    assert((!slots || !place_is_none(l2p_place(value))) && "what is mapped and applied has a place");
    if (!slots || node == &pod->free_fetches)
        return NULL;
    list_remove(node);
    f = container_of(node, struct fetch, link);
    f->group = block_group(block);
    f->place = l2p_place(value);
    f->bytes = place_len(f->place);
    f->state = FETCH_READS;
    f->repair = false;
    f->wanted = 0;
    f->all = (uint8_t)l2p_live(value);
    f->req = (struct blkdev_req){.op = BLKDEV_READ, .buf = f->buf};
    span_of(pod, f->place, &f->req.offset, &f->req.length, &f->skip);
    list_push_back(&pod->active_fetches, &f->link);
    segments_pin(pod->segments, place_segment(pod, f->place));
    const int rc = blkdev_submit(pod->dev, &f->req, fetch_done);
    if (rc) {
        list_remove(&f->link);
        segments_unpin(pod->segments, place_segment(pod, f->place));
        list_push_back(&pod->free_fetches, &f->link);
        return NULL;
    }
    return f;
}

bool fetch_block(struct pod *pod, struct pod_io *io, struct piece *piece, uint64_t block, uint8_t *dst,
                 uint32_t from, uint32_t bytes, bool *stall)
{
    *stall = false;
    const uint8_t *cached = block_cache_get(pod->cache, block);
    if (cached) {
        memcpy(dst, cached + from, bytes);
        return true;
    }
    struct list_node *node = pod->free_waiters.next;
    struct fetch *f = node == &pod->free_waiters ? NULL : fetch_for(pod, block);
    if (!f) {
        *stall = true;
        return false;
    }
    list_remove(node);
    struct waiter *w = container_of(node, struct waiter, link);
    w->io = io;
    w->piece = piece;
    w->record = NULL;
    w->dst = dst;
    w->slot = (uint16_t)block_slot(block);
    w->from = (uint16_t)from;
    w->bytes = (uint16_t)bytes;
    f->wanted = (uint8_t)(f->wanted | 1u << block_slot(block));
    if (io && io->ticket) /* the neighbours are wanted next */
        f->wanted = f->all;
    list_push_back(&f->waiters, &w->link);
    if (io)
        io->pending++;
    else
        piece->fills++;
    return false;
}

bool fetch_to_cache(struct pod *pod, uint64_t block)
{
    struct fetch *f = fetch_for(pod, block);
    if (f)
        f->wanted = (uint8_t)(f->wanted | 1u << block_slot(block));
    return f != NULL;
}

bool fetch_to_repair(struct pod *pod, uint64_t group)
{
    struct fetch *f = fetch_for(pod, record_block_id(group, 0));
    if (f)
        f->repair = true;
    return f != NULL;
}

bool fetch_record(struct pod *pod, struct pod_record_read *read)
{
    struct list_node *node = pod->free_waiters.next;
    struct fetch *f = node == &pod->free_waiters ? NULL : fetch_for(pod, record_block_id(read->group, 0));
    if (!f)
        return false;
    list_remove(node);
    struct waiter *w = container_of(node, struct waiter, link);
    *w = (struct waiter){.record = read};
    list_push_back(&f->waiters, &w->link);
    return true;
}

/* ---- metadata */

static void load_done(struct blkdev_req *req, int status)
{
    struct load *l = container_of(req, struct load, req);
    struct pod *pod = l->pod;
    struct ps_error err = {0};
    int rc = status;
    if (rc)
        (void)ps_error_set(&err, rc, "reading it failed: %s", ps_status_text(rc));
    else
        rc = meta_load(pod->meta, l->page, l->place, l->buf + l->skip, place_len(l->place), &err);
    const uint32_t segment = place_segment(pod, l->place);
    if (rc && !l->way)
        (void)snprintf(l->trouble, sizeof l->trouble, "%.*s", (int)sizeof l->trouble - 1, err.detail);
    if (rc && twin_try(pod, req, segment, segments_twin(pod->segments, segment), &l->way, load_done))
        return;
    list_remove(&l->link);
    segments_unpin(pod->segments, segment);
    if (!rc && l->way) {
        pod->stats.checksum_errors++;
        twin_helped_page(pod, l->page, l->place, req, l->trouble);
    }
    if (rc) {
        pod->stats.checksum_errors++;
        pod->bad_pages[pod->bad_page_count++ % BAD_PAGES] = l->page;
        pod_event(pod, "pod.data_loss", 0, "metadata page %#llx at %llu: %s", (unsigned long long)l->page.v,
                  (unsigned long long)place_addr(l->place), l->trouble);
    }
    list_push_back(&pod->free_loads, &l->link);
    pod->events++;
    pod->again = true;
}

bool page_is_bad(const struct pod *pod, struct meta_key page)
{
    for (uint32_t i = 0; i < pod->bad_page_count && i < BAD_PAGES; i++)
        if (pod->bad_pages[i].v == page.v)
            return true;
    return false;
}

bool load_page(struct pod *pod, struct meta_key page)
{
    list_for_each(node, &pod->active_loads) if (container_of(node, struct load, link)->page.v ==
                                                page.v) return true;
    const struct place place = meta_load_place(pod->meta, page);
    struct list_node *node = pod->free_loads.next;
    if (place_is_none(place) || node == &pod->free_loads)
        return true;
    list_remove(node);
    struct load *l = container_of(node, struct load, link);
    l->page = page;
    l->place = place;
    l->way = 0;
    l->req = (struct blkdev_req){.op = BLKDEV_READ, .buf = l->buf};
    span_of(pod, place, &l->req.offset, &l->req.length, &l->skip);
    list_push_back(&pod->active_loads, &l->link);
    segments_pin(pod->segments, place_segment(pod, place));
    const int rc = blkdev_submit(pod->dev, &l->req, load_done);
    if (!rc)
        return true;
    list_remove(&l->link);
    segments_unpin(pod->segments, place_segment(pod, place));
    list_push_back(&pod->free_loads, &l->link);
    return false;
}

bool load_missing(struct pod *pod)
{
    const struct meta_key *pages;
    const size_t n = view_missing(pod->view, &pages);
    bool bad = false;
    for (size_t i = 0; i < n; i++)
        if (page_is_bad(pod, pages[i]))
            bad = true;
        else
            bad |= !load_page(pod, pages[i]);
    return bad;
}
