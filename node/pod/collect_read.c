/* What a segment's walk reads, ahead of it: a ring of what follows in the segment, read in order by a few
 * requests at once. Bytes are asked for in ascending order; those before the last ones asked for are given
 * up.
 *
 * A read that fails ends what is read ahead. What was asked for and lies there is then read alone (`narrow`),
 * a directory sector by sector, so that nothing is given up but what the device does not read. */
#include <string.h>

#include "node/pod/collect.h"

static uint8_t *ring_at(struct walk *w, uint64_t addr)
{
    return w->ring + (addr - w->ring_from) % RING_BYTES;
}

static void read_done(struct blkdev_req *req, int status)
{
    struct collect_read *r = container_of(req, struct collect_read, req);
    struct walk *w = r->walk;
    r->done = true;
    r->status = status;
    w->pod->again = true;
    for (struct collect_read *first; w->reading && (first = &w->reads[w->read_first])->done; w->reading--) {
        w->ring_broken |= first->status != 0;
        if (!w->ring_broken)
            w->ring_end = first->req.offset + first->req.length;
        w->read_first = (w->read_first + 1) % COLLECT_READS;
    }
}

static void submit(struct walk *w, uint64_t addr, uint32_t length, uint8_t *buf, blkdev_cb cb)
{
    struct pod *pod = w->pod;
    struct collect_read *r = &w->reads[(w->read_first + w->reading) % COLLECT_READS];
    w->reading++;
    if (!w->collect) {
        scrub_read(w->pod, length);
    } else {
        w->collect->credit -= length;
        pod->stats.collect_read += length;
    }
    const uint16_t way = w->collect ? again_way(w->collect) : 0;
    *r = (struct collect_read){
        .walk = w,
        .req = {.op = BLKDEV_READ, .flags = blkdev_way(way), .offset = addr, .length = length, .buf = buf}};
    const int rc = blkdev_submit(pod->dev, &r->req, cb);
    if (rc && way) { /* one that is not to be had now */
        cb(&r->req, rc);
    } else if (rc) {
        w->reading--;
        pod_fail(pod, "the device refused a read: %s", ps_status_text(rc));
    }
}

void reads_reset(struct walk *w)
{
    assert(w->reading == 0);
    w->read_first = 0;
    w->ring_from = w->ring_low = w->ring_end = w->ring_asked = 0;
    w->ring_broken = false;
}

/* A scrub beside hosts reads what it needs and no more. */
static uint32_t reads_at_once(const struct walk *w)
{
    return w->narrow || (!w->collect && !w->pod->scrub.quiet) ? 1 : COLLECT_READS;
}

/* Reads on, up to `end`, as far as the ring has room. */
static void read_ahead(struct walk *w, uint64_t end)
{
    const struct pod *pod = w->pod;
    uint64_t most = !w->collect && pod->scrub.quiet ? SCRUB_READ_BYTES : COLLECT_READ_BYTES;
    if (most > pod->dev->geometry.max_io_bytes)
        most = pod->dev->geometry.max_io_bytes;
    while (!w->ring_broken && !pod->failed && w->reading < reads_at_once(w) && w->ring_asked < end) {
        const uint64_t at = w->ring_asked, wrap = RING_BYTES - (at - w->ring_from) % RING_BYTES;
        uint64_t length = end - at < most ? end - at : most;
        length = length < wrap ? length : wrap;
        if (at + length > w->ring_low + RING_BYTES)
            return;
        w->ring_asked += length;
        submit(w, at, (uint32_t)length, ring_at(w, at), read_done);
    }
}

/* In one piece: what lies at the ring's beginning is copied behind its end. */
static const uint8_t *in_one_piece(struct walk *w, uint64_t addr, uint32_t bytes)
{
    uint8_t *p = ring_at(w, addr);
    const size_t left = (size_t)(w->ring + RING_BYTES - p);
    if (bytes > left)
        memcpy(w->ring + RING_BYTES, w->ring, bytes - left);
    return p;
}

/* What was asked for cannot be read in one go with what follows, or not at all. */
static void broke(struct walk *w)
{
    reads_reset(w);
    w->pod->again = true;
    if (w->found_next < w->found_count) { /* a record */
        w->unread = w->narrow;
        w->narrow = true;
        return;
    }
    w->by_sectors = true;
    w->sectors_bytes = 0;
}

/* Up to where reading ahead may go. A scrub that has the device to itself reads on into the next segment:
 * else the device would have nothing to do at the end of each. */
static uint64_t ahead_end(struct walk *w)
{
    const struct pod *pod = w->pod;
    const uint64_t end = segment_addr(pod, w->victim) + pod->segment_bytes;
    if (w->collect || !pod->scrub.quiet)
        return end;
    if (w->ahead == SEGMENT_NONE && w->ring_asked == end &&
        segments_with_data(pod->segments, w->victim + 1, pod->applied_seq) == w->victim + 1) {
        w->ahead = w->victim + 1;
        segments_pin(pod->segments, w->ahead);
    }
    return w->ahead == SEGMENT_NONE ? end : end + pod->segment_bytes;
}

bool ahead_leave(struct walk *w, uint32_t next)
{
    if (w->ahead == SEGMENT_NONE || w->ahead == next)
        return true;
    if (w->reading)
        return false;
    segments_unpin(w->pod->segments, w->ahead);
    w->ahead = SEGMENT_NONE;
    reads_reset(w);
    return true;
}

const uint8_t *want(struct walk *w, uint64_t addr, uint32_t bytes)
{
    const uint64_t alone = (addr + bytes + BLKDEV_ALIGN - 1) / BLKDEV_ALIGN * BLKDEV_ALIGN;
    assert(bytes <= RING_SPARE_BYTES);
    if (w->unread)
        return NULL;
    const uint64_t from = addr / BLKDEV_ALIGN * BLKDEV_ALIGN;
    if (from < w->ring_low || from > w->ring_asked || w->ring_asked == 0) {
        if (w->reading)
            return NULL;
        reads_reset(w);
        w->ring_from = w->ring_end = w->ring_asked = from;
    }
    w->ring_low = from;
    read_ahead(w, w->narrow ? alone : ahead_end(w));
    if (addr + bytes <= w->ring_end)
        return in_one_piece(w, addr, bytes);
    if (w->ring_broken && w->reading == 0)
        broke(w);
    return NULL;
}

static void sector_done(struct blkdev_req *req, int status)
{
    struct collect_read *r = container_of(req, struct collect_read, req);
    struct walk *w = r->walk;
    w->reading--;
    w->pod->again = true;
    if (status)
        memset(req->buf, 0, req->length);
    w->sectors_bytes += req->length;
}

const uint8_t *want_sectors(struct walk *w, uint64_t addr, uint32_t bytes)
{
    assert(addr % BLKDEV_ALIGN == 0 && bytes % BLKDEV_ALIGN == 0 && bytes <= RING_SPARE_BYTES);
    if (w->reading)
        return NULL;
    if (w->sectors_bytes == bytes) {
        reads_reset(w);
        return w->ring;
    }
    submit(w, addr + w->sectors_bytes, BLKDEV_ALIGN, w->ring + w->sectors_bytes, sector_done);
    return NULL;
}
