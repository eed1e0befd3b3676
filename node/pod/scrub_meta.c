/* The scrub's way through metadata: pages, then runs; of each record both copies are read and verified, so
 * that one that has rotted is written anew while the other is still good. What is in the pod's memory is
 * written anew though neither is. Checkpoints go on meanwhile; what they write in the course of it needs no
 * verifying. */
#include <stdio.h>
#include <stdlib.h>

#include "node/pod/pod_impl.h"

enum {
    READS = 8,
    BUF_BYTES = RUN_CHUNK_BYTES + 2 * BLKDEV_ALIGN,
    BUCKETS = 64, /* of the page table, looked up at once */
};

struct record_read {
    struct scrub_meta *scrub;
    bool busy;
    struct meta_key page; /* 0: chunk `index` of the run */
    uint64_t run;
    uint32_t index;
    struct place place;
    uint32_t segments[2]; /* that have it; second 0: it lies once */
    uint8_t side, bad;    /* copy that is being read; a bit for each that was not good */
    char trouble[100];
    uint32_t skip;
    uint8_t *buf;
    struct blkdev_req req;
};

struct scrub_meta {
    struct pod *pod;
    struct meta_key *pages;
    size_t page_count, page_capacity, page_next;
    size_t bucket; /* of meta_some_pages */
    bool walked;
    uint64_t run; /* the next chunk's, by number; beyond all: through */
    uint32_t chunk;
    unsigned reading;
    struct record_read reads[READS];
};

void scrub_meta_begin(struct pod *pod)
{
    struct scrub_meta *s = calloc(1, sizeof *s);
    assert(s && !pod->scrub.meta);
    s->pod = pod;
    for (int i = 0; i < READS; i++) {
        s->reads[i].scrub = s;
        s->reads[i].buf = aligned_alloc(BLKDEV_ALIGN, BUF_BYTES);
        assert(s->reads[i].buf);
    }
    pod->scrub.meta = s;
}

void scrub_meta_free(struct pod *pod)
{
    struct scrub_meta *s = pod->scrub.meta;
    for (int i = 0; s && i < READS; i++)
        free(s->reads[i].buf);
    if (s)
        free(s->pages);
    free(s);
    pod->scrub.meta = NULL;
}

bool scrub_meta_is_quiet(const struct pod *pod)
{
    return !pod->scrub.meta || pod->scrub.meta->reading == 0;
}

/* ---- what comes next */

static void take_page(void *user, struct meta_key page)
{
    struct scrub_meta *s = user;
    if (s->page_count == s->page_capacity) {
        s->page_capacity = s->page_capacity ? 2 * s->page_capacity : BUCKETS;
        s->pages = realloc(s->pages, s->page_capacity * sizeof s->pages[0]);
        assert(s->pages);
    }
    s->pages[s->page_count++] = page;
}

static bool next_page(struct scrub_meta *s, struct record_read *r)
{
    for (;;) {
        if (s->page_next == s->page_count && s->walked)
            return false;
        if (s->page_next == s->page_count) {
            s->page_next = s->page_count = 0;
            s->walked = !meta_some_pages(s->pod->meta, &s->bucket, BUCKETS, take_page, s);
            continue;
        }
        r->page = s->pages[s->page_next++];
        r->place = meta_base(s->pod->meta, r->page);
        if (!place_is_none(r->place) && !meta_is_being_written(s->pod->meta, r->page))
            return true;
    }
}

/* The runs that there are: by number, for checkpoints bring new ones and take old ones away. */
static bool next_chunk(struct scrub_meta *s, struct record_read *r)
{
    const struct pod *pod = s->pod;
    const bool cut = pod->checkpoint.state > CHECKPOINT_LOADING; /* the last one is on its way to flash */
    for (size_t i = 0; i + cut < pod->run_count; i++) {
        const struct run_places *run = &pod->runs[i];
        if (run->seq < s->run)
            continue;
        if (run->seq > s->run)
            s->chunk = 0;
        s->run = run->seq;
        if (s->chunk == run->count)
            continue;
        r->page = (struct meta_key){0};
        r->run = run->seq;
        r->index = s->chunk;
        r->place = run->chunks[s->chunk++];
        return true;
    }
    return false;
}

/* ---- what came */

static bool is_current(const struct pod *pod, const struct record_read *r)
{
    if (r->page.v)
        return meta_base(pod->meta, r->page).v == r->place.v;
    for (size_t i = 0; i < pod->run_count; i++)
        if (pod->runs[i].seq == r->run)
            return true;
    return false;
}

static void judge(struct pod *pod, const struct record_read *r)
{
    char what[64];
    const unsigned all = r->segments[1] ? 3 : 1;
    if (!r->bad || !is_current(pod, r))
        return;
    pod->scrub.damaged++;
    pod->stats.checksum_errors++;
    twin_name(what, sizeof what, r->page, r->run, r->index);
    if (r->bad == all && r->page.v && !meta_is_in_memory(pod->meta, r->page)) {
        pod_event(pod, "pod.data_loss", 0, "%s at %llu: %s", what, (unsigned long long)place_addr(r->place),
                  r->trouble);
        return;
    }
    if (r->page.v)
        meta_set_rotten(pod->meta, r->page, r->place, true);
    else
        pod->rotten_run = true;
    const uint64_t in = place_addr(r->place) % pod->segment_bytes;
    const unsigned first = r->bad & 1 ? 0 : 1; /* bad one */
    twin_tell(pod, what, segment_addr(pod, r->segments[first]) + in,
              r->bad == all ? 0 : segment_addr(pod, r->segments[!first]) + in, r->trouble);
}

static void read_done(struct blkdev_req *req, int status);

static int submit(struct pod *pod, struct record_read *r)
{
    const uint32_t unit = pod->dev->geometry.read_unit;
    const uint64_t addr = segment_addr(pod, r->segments[r->side]) + place_addr(r->place) % pod->segment_bytes;
    const uint64_t end = addr + place_len(r->place), from = addr / unit * unit;
    r->skip = (uint32_t)(addr - from);
    r->req = (struct blkdev_req){.op = BLKDEV_READ,
                                 .offset = from,
                                 .length = (uint32_t)((end + unit - 1) / unit * unit - from),
                                 .buf = r->buf};
    pod->scrub.credit -= r->req.length;
    pod->scrub.read_bytes += r->req.length;
    return blkdev_submit(pod->dev, &r->req, read_done);
}

static void end_read(struct pod *pod, struct record_read *r)
{
    r->busy = false;
    r->scrub->reading--;
    segments_unpin(pod->segments, r->segments[0]);
    pod->again = true;
}

static void read_done(struct blkdev_req *req, int status)
{
    struct record_read *r = container_of(req, struct record_read, req);
    struct pod *pod = r->scrub->pod;
    struct ps_error err = {0};
    struct run_cursor cursor;
    struct place next;
    const uint8_t *record = r->buf + r->skip;
    const uint32_t bytes = place_len(r->place);
    if (status)
        (void)ps_error_set(&err, status, "reading it failed: %s", ps_status_text(status));
    else if (r->page.v)
        status = page_verify(meta_kind_of(r->page), record, bytes, &err);
    else
        status = run_check(record, bytes, r->run, r->index, &cursor, &next, &err);
    if (status) {
        if (!r->bad)
            (void)snprintf(r->trouble, sizeof r->trouble, "%.*s", (int)sizeof r->trouble - 1, err.detail);
        r->bad = (uint8_t)(r->bad | 1u << r->side);
    }
    if (r->side == 0 && r->segments[1] && pod->state == POD_SERVING) {
        r->side = 1;
        if (submit(pod, r) == 0)
            return;
    }
    if (pod->state == POD_SERVING && (r->side == 1 || !r->segments[1]))
        judge(pod, r);
    end_read(pod, r);
}

bool scrub_meta_step(struct pod *pod)
{
    struct scrub_meta *s = pod->scrub.meta;
    for (int i = 0; i < READS && pod->scrub.credit > 0; i++) {
        struct record_read *r = &s->reads[i];
        if (r->busy)
            continue;
        if (!next_page(s, r) && !next_chunk(s, r))
            return s->reading > 0;
        r->segments[0] = place_segment(pod, r->place);
        r->segments[1] = segments_twin(pod->segments, r->segments[0]);
        r->side = r->bad = 0;
        segments_pin(pod->segments, r->segments[0]);
        r->busy = true;
        s->reading++;
        if (submit(pod, r))
            end_read(pod, r);
    }
    return true;
}
