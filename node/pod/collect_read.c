/* What a segment's walk reads, ahead of it: a ring of what follows in the segment, read in order by a few
 * requests at once. Bytes are asked for in ascending order; those before the last ones asked for are given
 * up.
 *
 * A read that fails ends what is read ahead. What was asked for and lies there is then read alone (`narrow`),
 * a directory sector by sector, so that nothing is given up but what the device does not read. */
#include <string.h>

#include "node/pod/collect.h"

static uint8_t *ring_at(struct collect *c, uint64_t addr)
{
    return c->ring + (addr - c->ring_from) % RING_BYTES;
}

static void read_done(struct blkdev_req *req, int status)
{
    struct collect_read *r = container_of(req, struct collect_read, req);
    struct collect *c = r->c;
    r->done = true;
    r->status = status;
    c->pod->again = true;
    for (struct collect_read *first; c->reading && (first = &c->reads[c->read_first])->done; c->reading--) {
        c->ring_broken |= first->status != 0;
        if (!c->ring_broken)
            c->ring_end = first->req.offset + first->req.length;
        c->read_first = (c->read_first + 1) % COLLECT_READS;
    }
}

static void submit(struct collect *c, uint64_t addr, uint32_t length, uint8_t *buf, blkdev_cb cb)
{
    struct pod *pod = c->pod;
    struct collect_read *r = &c->reads[(c->read_first + c->reading) % COLLECT_READS];
    c->reading++;
    if (c->scrubbing) {
        scrub_read(c, length);
    } else {
        c->credit -= (int64_t)length / COLLECT_READ_SHARE;
        pod->stats.collect_read += length;
    }
    const uint16_t way = again_way(c);
    *r = (struct collect_read){
        .c = c,
        .req = {.op = BLKDEV_READ, .flags = blkdev_way(way), .offset = addr, .length = length, .buf = buf}};
    const int rc = blkdev_submit(pod->dev, &r->req, cb);
    if (rc && way) { /* one that is not to be had now */
        cb(&r->req, rc);
    } else if (rc) {
        c->reading--;
        pod_fail(pod, "the device refused a read: %s", ps_status_text(rc));
    }
}

void reads_reset(struct collect *c)
{
    assert(c->reading == 0);
    c->read_first = 0;
    c->ring_from = c->ring_low = c->ring_end = c->ring_asked = 0;
    c->ring_broken = false;
}

/* A scrub beside hosts reads what it needs and no more. */
static uint32_t reads_at_once(const struct collect *c)
{
    return c->narrow || (c->scrubbing && !c->pod->scrub.quiet) ? 1 : COLLECT_READS;
}

/* Reads on, up to `end`, as far as the ring has room. */
static void read_ahead(struct collect *c, uint64_t end)
{
    const struct pod *pod = c->pod;
    uint64_t most = c->scrubbing && pod->scrub.quiet ? SCRUB_READ_BYTES : COLLECT_READ_BYTES;
    if (most > pod->dev->geometry.max_io_bytes)
        most = pod->dev->geometry.max_io_bytes;
    while (!c->ring_broken && !pod->failed && c->reading < reads_at_once(c) && c->ring_asked < end) {
        const uint64_t at = c->ring_asked, wrap = RING_BYTES - (at - c->ring_from) % RING_BYTES;
        uint64_t length = end - at < most ? end - at : most;
        length = length < wrap ? length : wrap;
        if (at + length > c->ring_low + RING_BYTES)
            return;
        c->ring_asked += length;
        submit(c, at, (uint32_t)length, ring_at(c, at), read_done);
    }
}

/* In one piece: what lies at the ring's beginning is copied behind its end. */
static const uint8_t *in_one_piece(struct collect *c, uint64_t addr, uint32_t bytes)
{
    uint8_t *p = ring_at(c, addr);
    const size_t left = (size_t)(c->ring + RING_BYTES - p);
    if (bytes > left)
        memcpy(c->ring + RING_BYTES, c->ring, bytes - left);
    return p;
}

/* What was asked for cannot be read in one go with what follows, or not at all. */
static void broke(struct collect *c)
{
    reads_reset(c);
    c->pod->again = true;
    if (c->found_next < c->found_count) { /* a record */
        c->unread = c->narrow;
        c->narrow = true;
        return;
    }
    c->by_sectors = true;
    c->sectors_bytes = 0;
}

/* Up to where reading ahead may go. A scrub that has the device to itself reads on into the next segment:
 * else the device would have nothing to do at the end of each. */
static uint64_t ahead_end(struct collect *c)
{
    const struct pod *pod = c->pod;
    const uint64_t end = segment_addr(pod, c->victim) + pod->segment_bytes;
    if (!c->scrubbing || !pod->scrub.quiet)
        return end;
    if (c->ahead == SEGMENT_NONE && c->ring_asked == end &&
        segments_with_data(pod->segments, c->victim + 1, pod->applied_seq) == c->victim + 1) {
        c->ahead = c->victim + 1;
        segments_pin(pod->segments, c->ahead);
    }
    return c->ahead == SEGMENT_NONE ? end : end + pod->segment_bytes;
}

bool ahead_leave(struct collect *c, uint32_t next)
{
    if (c->ahead == SEGMENT_NONE || c->ahead == next)
        return true;
    if (c->reading)
        return false;
    segments_unpin(c->pod->segments, c->ahead);
    c->ahead = SEGMENT_NONE;
    reads_reset(c);
    return true;
}

const uint8_t *want(struct collect *c, uint64_t addr, uint32_t bytes)
{
    const uint64_t alone = (addr + bytes + BLKDEV_ALIGN - 1) / BLKDEV_ALIGN * BLKDEV_ALIGN;
    assert(bytes <= RING_SPARE_BYTES);
    if (c->unread)
        return NULL;
    const uint64_t from = addr / BLKDEV_ALIGN * BLKDEV_ALIGN;
    if (from < c->ring_low || from > c->ring_asked || c->ring_asked == 0) {
        if (c->reading)
            return NULL;
        reads_reset(c);
        c->ring_from = c->ring_end = c->ring_asked = from;
    }
    c->ring_low = from;
    read_ahead(c, c->narrow ? alone : ahead_end(c));
    if (addr + bytes <= c->ring_end)
        return in_one_piece(c, addr, bytes);
    if (c->ring_broken && c->reading == 0)
        broke(c);
    return NULL;
}

static void sector_done(struct blkdev_req *req, int status)
{
    struct collect_read *r = container_of(req, struct collect_read, req);
    struct collect *c = r->c;
    c->reading--;
    c->pod->again = true;
    if (status)
        memset(req->buf, 0, req->length);
    c->sectors_bytes += req->length;
}

const uint8_t *want_sectors(struct collect *c, uint64_t addr, uint32_t bytes)
{
    assert(addr % BLKDEV_ALIGN == 0 && bytes % BLKDEV_ALIGN == 0 && bytes <= RING_SPARE_BYTES);
    if (c->reading)
        return NULL;
    if (c->sectors_bytes == bytes) {
        reads_reset(c);
        return c->ring;
    }
    submit(c, addr + c->sectors_bytes, BLKDEV_ALIGN, c->ring + c->sectors_bytes, sector_done);
    return NULL;
}
