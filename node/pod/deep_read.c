/* What a deep check reads: runs, metadata pages, records. With buffers and requests of its own, so that hosts
 * never wait for it to have them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/deep.h"

enum {
    ENTRIES_STEP = 16, /* of a run */
    BUF_BYTES = (RECORD_MAX_BYTES + 3 * BLKDEV_ALIGN - 1) / BLKDEV_ALIGN * BLKDEV_ALIGN
};
_Static_assert((int)BUF_BYTES >= (int)PAGE_RECORD_MAX + 2 * (int)BLKDEV_ALIGN, "a page fits, too");

void deep_reads_init(struct deep *d)
{
    for (size_t i = 0; i < DEEP_READS; i++) {
        d->reads[i] = (struct deep_read){.deep = d, .buf = aligned_alloc(BLKDEV_ALIGN, BUF_BYTES)};
        assert(d->reads[i].buf);
    }
    d->chunk_buf = aligned_alloc(BLKDEV_ALIGN, DEEP_CHUNK_BYTES);
    assert(d->chunk_buf);
}

void deep_reads_free(struct deep *d)
{
    for (size_t i = 0; i < DEEP_READS; i++) {
        free(d->reads[i].buf);
        d->reads[i].buf = NULL;
    }
    free(d->chunk_buf);
    d->chunk_buf = NULL;
}

static struct deep_read *free_read(struct deep *d)
{
    for (size_t i = 0; i < DEEP_READS; i++)
        if (!d->reads[i].busy)
            return &d->reads[i];
    return NULL;
}

/* The device's units around the read's place. */
static int submit(struct deep_read *r, uint8_t *buf, blkdev_cb cb)
{
    struct deep *d = r->deep;
    const uint32_t unit = d->pod->dev->geometry.read_unit;
    const uint64_t addr = place_addr(r->place), end = addr + place_len(r->place);
    const uint64_t from = addr / unit * unit;
    r->skip = (uint32_t)(addr - from);
    r->req = (struct blkdev_req){.op = BLKDEV_READ,
                                 .offset = from,
                                 .length = (uint32_t)((end + unit - 1) / unit * unit - from),
                                 .buf = buf};
    r->way = 0;
    r->busy = true;
    d->reading++;
    const int rc = blkdev_submit(d->pod->dev, &r->req, cb);
    if (rc) {
        r->busy = false;
        d->reading--;
    }
    return rc;
}

static void arrived(struct deep_read *r)
{
    r->busy = false;
    r->deep->reading--;
    r->deep->pod->again = true;
}

/* What was read of metadata is bad: reads it in another way, if there is one left. */
static bool otherwise(struct deep_read *r, uint32_t twin, const char *trouble, blkdev_cb cb)
{
    struct pod *pod = r->deep->pod;
    if (!r->way)
        (void)snprintf(r->trouble, sizeof r->trouble, "%.*s", (int)sizeof r->trouble - 1, trouble);
    if (!twin_try(pod, &r->req, place_segment(pod, r->place), twin, &r->way, cb))
        return false;
    r->busy = true;
    r->deep->reading++;
    return true;
}

/* ---- pages */

static const struct deep_bad *find_bad(const struct deep *d, struct meta_key page)
{
    for (uint32_t i = 0; i < d->bad_count && i < DEEP_BAD; i++)
        if (d->bad[i].page.v == page.v)
            return &d->bad[i];
    return NULL;
}

static void add_bad(struct deep *d, struct meta_key page, const char *why)
{
    struct deep_bad *bad = &d->bad[d->bad_count++ % DEEP_BAD];
    bad->page = page;
    (void)ps_error_set(&bad->why, PS_EDAMAGED, "%s", why);
}

static void page_done(struct blkdev_req *req, int status)
{
    struct deep_read *r = container_of(req, struct deep_read, req);
    struct deep *d = r->deep;
    struct ps_error err = {0};
    arrived(r);
    if (d->state == DEEP_ENDING)
        return;
    if (status)
        (void)ps_error_set(&err, status, "reading it failed: %s", ps_status_text(status));
    else
        status = meta_load(d->meta, r->page, r->place, r->buf + r->skip, place_len(r->place), &err);
    const uint32_t twin = segments_twin(d->pod->segments, place_segment(d->pod, r->place));
    if (status && otherwise(r, twin, err.detail, page_done))
        return;
    if (status)
        add_bad(d, r->page, r->trouble);
    else if (r->way)
        twin_helped_page(d->pod, r->page, r->place, &r->req, r->trouble);
}

static bool is_under_way(const struct deep *d, struct meta_key page)
{
    for (size_t i = 0; i < DEEP_READS; i++)
        if (d->reads[i].busy && d->reads[i].group == 0 && d->reads[i].page.v == page.v)
            return true;
    return false;
}

static void load(struct deep *d, struct meta_key page)
{
    struct deep_read *r = free_read(d);
    const struct place place = meta_load_place(d->meta, page);
    if (!r || place_is_none(place) || find_bad(d, page) || is_under_way(d, page))
        return;
    if (!restore_place_is_sound(d->pod, place)) {
        add_bad(d, page, "it is said to lie outside of the pool");
        return;
    }
    r->page = page;
    r->group = 0;
    r->place = place;
    const int rc = submit(r, r->buf, page_done);
    if (rc)
        add_bad(d, page, ps_status_text(rc));
}

int deep_load(struct deep *d, const struct meta_key *keys, size_t count, const char **why)
{
    for (size_t i = 0; i < count; i++)
        load(d, keys[i]);
    const struct deep_bad *bad = find_bad(d, keys[0]);
    *why = bad ? bad->why.detail : NULL;
    return bad ? PS_EDAMAGED : 0;
}

/* ---- runs */

static void chunk_done(struct blkdev_req *req, int status)
{
    struct deep_read *r = container_of(req, struct deep_read, req);
    arrived(r);
    if (r->deep->state == DEEP_ENDING)
        return;
    r->deep->chunk_status = status;
    r->deep->chunk_read = true;
}

/* Another run, or another chunk of this one. */
static void next_chunk(struct deep *d)
{
    d->chunk_read = d->chunk_begun = false;
    d->chunk++;
    d->next_chunk = d->after_chunk;
    d->copy_segment = restore_next_copy(d->pod, d->chunk_buf + d->reads[0].skip, d->next_chunk);
    if (place_is_none(d->next_chunk) && ++d->run < d->run_count) {
        d->chunk = 0;
        d->next_chunk = d->runs[d->run].first;
        d->copy_segment = d->runs[d->run].copy_segment;
    }
}

static bool read_chunk(struct deep *d)
{
    struct deep_read *r = &d->reads[0];
    if (r->busy)
        return false;
    r->place = d->next_chunk;
    if (!restore_place_is_sound(d->pod, r->place) || place_len(r->place) > RUN_CHUNK_BYTES) {
        deep_fail(d, "run %" PRIu64 " goes on outside of the pool", d->runs[d->run].seq);
        return false;
    }
    const int rc = submit(r, d->chunk_buf, chunk_done);
    if (rc)
        deep_fail(d, "reading a run failed: %s", ps_status_text(rc));
    return false;
}

bool deep_runs_step(struct deep *d)
{
    struct deep_read *r = &d->reads[0];
    struct ps_error err = {0};
    bool more = true;
    int rc;
    if (!d->chunk_read)
        return read_chunk(d);
    if (!d->chunk_begun) {
        /* As an opening does: what the cut's own metadata went into may be missing in what it says of
         * segments. */
        (void)segments_adopt(d->segments, place_segment(d->pod, d->next_chunk), SEGMENT_META);
        rc = d->chunk_status
                 ? ps_error_set(&err, d->chunk_status, "reading a run failed: %s",
                                ps_status_text(d->chunk_status))
                 : restore_chunk_begin(&d->restore, d->chunk_buf + r->skip, place_len(d->next_chunk),
                                       d->runs[d->run].seq, d->chunk, &d->after_chunk, &err);
        if (rc && otherwise(r, d->copy_segment, err.detail, chunk_done)) {
            d->chunk_read = false;
            return false;
        }
        if (!rc && r->way)
            twin_helped_chunk(d->pod, d->runs[d->run].seq, d->chunk, r->place, &r->req, r->trouble);
        d->chunk_begun = true;
    } else {
        rc = restore_chunk_some(&d->restore, ENTRIES_STEP, &more, &err);
    }
    if (rc)
        deep_fail(d, "%s", err.detail);
    else if (!more)
        next_chunk(d);
    return rc == 0;
}

/* ---- records */

static void record_is_bad(struct deep *d, uint64_t group, struct place place, const char *why)
{
    struct survey_finding f = {.kind = SURVEY_RECORD, .subject = group};
    (void)snprintf(f.text, sizeof f.text, "the record of group %" PRIu64 " at %" PRIu64 ": %s", group,
                   place_addr(place), why);
    d->damaged_records++;
    deep_found(d, &f);
    if (d->lost_count < SURVEY_WANTED_MAX)
        d->lost[d->lost_count++] = (struct survey_lost){group, 0xff};
}

static void record_done(struct blkdev_req *req, int status)
{
    struct deep_read *r = container_of(req, struct deep_read, req);
    struct deep *d = r->deep;
    struct ps_error err = {0};
    arrived(r);
    if (d->state == DEEP_ENDING)
        return;
    if (status)
        (void)ps_error_set(&err, status, "reading it failed: %s", ps_status_text(status));
    else
        status = record_verify(r->buf + r->skip, place_len(r->place), r->group, &err);
    if (status && otherwise(r, 0, err.detail, record_done))
        return;
    if (status)
        record_is_bad(d, r->group, r->place, err.detail);
}

/* False: no read is free. */
static bool verify(struct deep *d, uint64_t group, uint64_t value)
{
    struct deep_read *r = free_read(d);
    if (!r)
        return false;
    const struct place place = l2p_place(value);
    /* What lies nowhere the survey tells of. */
    if (!restore_place_is_sound(d->pod, place) || place_len(place) > RECORD_MAX_BYTES)
        return true;
    r->group = group;
    r->place = place;
    const int rc = submit(r, r->buf, record_done);
    if (rc)
        record_is_bad(d, group, place, ps_status_text(rc));
    d->request->records_read++;
    d->request->record_bytes += place_len(place);
    return true;
}

enum survey_state deep_records_step(struct deep *d)
{
    const char *why;
    if (d->number_next == d->number_count)
        return d->reading ? SURVEY_MISSING : SURVEY_DONE;
    const struct meta_key page = meta_key(META_L2P, d->numbers[d->number_next], 0);
    const uint64_t *slots = meta_slots(d->meta, page);
    if (!slots) {
        if (!deep_load(d, &page, 1, &why))
            return SURVEY_MISSING;
        d->number_next++; /* the survey tells of it */
        return SURVEY_MORE;
    }
    for (; d->group_next < META_SLOTS; d->group_next++) {
        const uint64_t v = slots[d->group_next];
        if (l2p_live(v) && !verify(d, d->numbers[d->number_next] * META_SLOTS + d->group_next, v))
            return SURVEY_MISSING;
    }
    d->group_next = 0;
    d->number_next++;
    return SURVEY_MORE;
}
