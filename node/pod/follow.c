/* Following: batches made by another member are appended to the log as they come and
 * applied, in order, when they are durable here and known to be committed.
 *
 * What came while flash was busy is written at once, so that a member that catches up needs fewer flushes
 * than its primary did. Such a write may be torn anywhere: each batch says up to where the log was durable
 * here when it was written (its floor), so recovery knows a torn end from a damaged log. */
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "node/pod/pod_impl.h"
#include "node/replication/mutation.h"

void follow_init(struct pod *pod)
{
    struct follow *f = &pod->follow;
    list_init(&f->free);
    list_init(&f->appended);
    if (!pod_is_replicated(pod))
        return;
    f->tail_buf = aligned_alloc(BLKDEV_ALIGN, BATCH_MAX_BYTES);
    assert(f->tail_buf && "out of memory at start");
    for (int i = 0; i < POD_LOG_APPENDS_MAX; i++) {
        struct appended *a = &f->slots[i];
        a->pod = pod;
        a->buf = aligned_alloc(BLKDEV_ALIGN, BATCH_MAX_BYTES);
        assert(a->buf && "out of memory at start");
        list_push_back(&f->free, &a->link);
    }
    for (int i = 0; i < IN_FLIGHT_MAX; i++) {
        f->writes[i].pod = pod;
        f->writes[i].buf = aligned_alloc(BLKDEV_ALIGN, BATCH_MAX_BYTES);
        assert(f->writes[i].buf && "out of memory at start");
    }
}

void follow_free(struct pod *pod)
{
    for (int i = 0; i < POD_LOG_APPENDS_MAX; i++)
        free(pod->follow.slots[i].buf);
    for (int i = 0; i < IN_FLIGHT_MAX; i++)
        free(pod->follow.writes[i].buf);
    free(pod->follow.tail_buf);
}

struct appended *follow_find(const struct pod *pod, uint64_t seq)
{
    list_for_each(node, &pod->follow.appended)
    {
        struct appended *a = container_of(node, struct appended, link);
        if (a->header.seq == seq)
            return a;
    }
    return NULL;
}

void follow_drop(struct pod *pod, uint64_t seq)
{
    struct follow *f = &pod->follow;
    list_for_each_safe(node, after, &f->appended)
    {
        struct appended *a = container_of(node, struct appended, link);
        if (a->header.seq <= seq)
            continue;
        assert(!a->submitted || a->done);
        list_remove(&a->link);
        list_push_back(&f->free, &a->link);
    }
    if (f->tail_seq > seq)
        f->tail_seq = 0;
}

bool follow_is_quiet(const struct pod *pod)
{
    for (int i = 0; i < IN_FLIGHT_MAX; i++)
        if (pod->follow.writes[i].last)
            return false;
    return !pod->follow.tail_busy;
}

/* ---- to flash */

void tell_durable(struct pod *pod, const struct batch_header *h)
{
    pod->durable = (struct log_id){h->epoch, h->run, h->seq, h->checksum};
    if (pod_is_replicated(pod) && !pod->abandoned && pod->config.log->durable)
        pod->config.log->durable(pod->config.log->user, &pod->durable);
}

static void append_done(struct blkdev_req *req, int status);

static struct append_write *idle_write(struct pod *pod)
{
    for (int i = 0; i < IN_FLIGHT_MAX; i++)
        if (!pod->follow.writes[i].last)
            return &pod->follow.writes[i];
    return NULL;
}

static bool lies_behind(const struct appended *a, const struct appended *before)
{
    return a->at.segment == before->at.segment &&
           a->at.offset == before->at.offset + before->header.total_bytes;
}

/* The first one that waits and those that follow it in flash, as far as one write may go. */
static void gather(struct pod *pod, struct append_write *w)
{
    const struct appended *last = NULL;
    list_for_each(node, &pod->follow.appended)
    {
        struct appended *a = container_of(node, struct appended, link);
        if (a->submitted)
            continue;
        if (last && (!lies_behind(a, last) || w->req.length + a->header.total_bytes > BATCH_MAX_BYTES))
            return;
        batch_restamp(a->buf, pod->generation, a->header.next_segment, pod->durable.seq);
        if (!last)
            w->req = (struct blkdev_req){.op = BLKDEV_WRITE,
                                         .flags = BLKDEV_FUA,
                                         .offset = segment_addr(pod, a->at.segment) + a->at.offset,
                                         .buf = a->buf};
        else if (w->req.buf != w->buf) {
            memcpy(w->buf, w->req.buf, w->req.length);
            w->req.buf = w->buf;
        }
        if (last)
            memcpy(w->buf + w->req.length, a->buf, a->header.total_bytes);
        w->req.length += a->header.total_bytes;
        w->last = a->header.seq;
        a->submitted = true;
        last = a;
    }
}

static void submit_appended(struct pod *pod)
{
    for (struct append_write *w; !pod->failed && (w = idle_write(pod));) {
        gather(pod, w);
        if (!w->last)
            return;
        const int rc = zones_write(pod, &w->req, append_done);
        if (rc) {
            w->last = 0;
            pod_fail(pod, "the device refused a log write: %s", ps_status_text(rc));
        }
    }
}

static void append_done(struct blkdev_req *req, int status)
{
    struct append_write *w = container_of(req, struct append_write, req);
    struct pod *pod = w->pod;
    const uint64_t first_address = req->offset, end_address = req->offset + req->length;
    w->last = 0;
    pod->again = true;
    if (status) {
        pod_fail(pod, "writing the log failed: %s", ps_status_text(status));
        return;
    }
    list_for_each(node, &pod->follow.appended)
    {
        struct appended *a = container_of(node, struct appended, link);
        const uint64_t address = segment_addr(pod, a->at.segment) + a->at.offset;
        a->done |= a->submitted && address >= first_address && address < end_address;
    }
    /* Whoever is told may append. */
    for (struct appended *next; (next = follow_find(pod, pod->durable.seq + 1)) && next->done;)
        tell_durable(pod, &next->header);
    submit_appended(pod);
}

/* ---- appending */

/* Room for the batch such that the one after it will have a named segment, too, or this one's rest: a member
 * that follows can't name a segment in a batch of its own. 0, PS_ELIMIT, PS_EFULL. */
static int check_room(struct pod *pod, uint32_t total, struct ps_error *err)
{
    const struct position *tail = &pod->tail;
    const bool here = tail->offset + total <= pod->segment_bytes;
    if (log_has_room(pod)) {
        if (here &&
            (tail->next != SEGMENT_NONE || tail->offset + total + BATCH_MAX_BYTES <= pod->segment_bytes))
            return 0;
        assert((here || pod->next_named) && "the batch before left room or named a segment");
        if (!here)
            return 0;
    }
    log_retain_trim(pod);
    checkpoint_want(pod);
    if (checkpoint_busy(pod) || segments_dead(pod->segments, pod->applied_seq) ||
        pod->applied_seq < pod->sealed_seq || collect_helps(pod) || vacate_gives_way(pod))
        return ps_error_set(err, PS_ELIMIT, "no segment is free for the log right now");
    return ps_error_set(err, PS_EFULL, "%s: no segment is left for the log", pod->dev->name);
}

/* What apply_batch takes for granted. */
static int check_content(const struct batch_header *h, const void *batch, struct ps_error *err)
{
    static const struct changes_visitor nothing = {0};
    struct batch_record record = {0};
    for (unsigned i = 0; i < h->records; i++)
        if (!batch_next_record(h, batch, i, &record))
            return ps_error_set(err, PS_EDAMAGED, "batch %llu: inconsistent directory",
                                (unsigned long long)h->seq);
    return changes_visit(batch_changes(batch), h->changes_bytes, &nothing, NULL, err);
}

static int check_appended(struct pod *pod, const void *batch, uint32_t bytes, struct batch_header *h,
                          struct ps_error *err)
{
    if (pod->state != POD_SERVING)
        return ps_error_set(err, PS_EUNAVAILABLE, "the pod is not open");
    if (pod->failed)
        return ps_error_set(err, PS_EUNAVAILABLE, "the pod failed: %s", pod->failure);
    if (pod->role != POD_STANDBY)
        return ps_error_set(err, PS_EPRECONDITION, "the pod is not on standby");
    const int rc = batch_parse(batch, bytes, h);
    if (rc == PS_EVERSION)
        return ps_error_set(err, rc, "a batch of another format version");
    if (rc || h->total_bytes != bytes)
        return ps_error_set(err, PS_EDAMAGED, "%u bytes that are no sound batch", bytes);
    if (h->pod != get_le64(pod->anchor.pod))
        return ps_error_set(err, PS_EPRECONDITION, "batch %llu is another pod's", (unsigned long long)h->seq);
    if (h->seq != pod->sealed_seq + 1 || h->previous != pod->sealed_hash)
        return ps_error_set(err, PS_EPRECONDITION,
                            "batch %llu after %016llx does not follow the log's end, %llu (%016llx)",
                            (unsigned long long)h->seq, (unsigned long long)h->previous,
                            (unsigned long long)pod->sealed_seq, (unsigned long long)pod->sealed_hash);
    return check_content(h, batch, err);
}

int pod_log_append(struct pod *pod, const void *batch, uint32_t bytes, struct ps_error *err)
{
    struct follow *f = &pod->follow;
    struct batch_header h;
    int rc = check_appended(pod, batch, bytes, &h, err);
    if (rc)
        return rc;
    struct list_node *node = f->free.next;
    if (restart_holds_log(pod) || node == &f->free)
        return ps_error_set(err, PS_ELIMIT, "%d batches are not yet durable, committed and applied",
                            POD_LOG_APPENDS_MAX);
    if ((rc = check_room(pod, bytes, err)))
        return rc;
    list_remove(node);
    struct appended *a = container_of(node, struct appended, link);
    memcpy(a->buf, batch, bytes);
    a->at = log_place(pod, bytes);
    a->after = pod->tail;
    h.generation = pod->generation;
    h.next_segment = pod->tail.next;
    a->header = h;
    a->submitted = a->done = false;
    pod->next_named = pod->tail.next != SEGMENT_NONE;
    pod->sealed_seq = h.seq;
    pod->sealed_hash = h.checksum;
    pod->sealed_epoch = h.epoch;
    log_note(pod, &h, a->at.segment, a->at.offset);
    list_push_back(&f->appended, &a->link);
    submit_appended(pod);
    pod->again = true;
    return 0;
}

/* ---- applying */

static void tail_read_done(struct blkdev_req *req, int status)
{
    struct follow *f = container_of(req, struct follow, tail_req);
    struct pod *pod = container_of(f, struct pod, follow);
    struct batch_header h;
    const struct log_entry *e = log_index_get(pod->log_index, pod->applied_seq + 1);
    const bool wrong = !e || batch_parse(f->tail_buf, req->length, &h) || h.checksum != e->hash;
    if (wrong && !status && blkdev_read_otherwise(pod->dev, req, tail_read_done))
        return;
    f->tail_busy = false;
    segments_unpin(pod->segments, f->tail_segment);
    pod->again = true;
    pod->events++;
    if (status)
        pod_fail(pod, "reading the log failed: %s", ps_status_text(status));
    else if (wrong)
        pod_fail(pod, "batch %llu of the log is damaged", (unsigned long long)pod->applied_seq + 1);
    else
        f->tail_seq = h.seq;
}

/* The batch in memory, with its place and the one behind it; NULL: it is being read. */
static const uint8_t *next_batch(struct pod *pod, uint64_t seq, struct batch_header *h, struct position *at,
                                 struct position *after)
{
    struct follow *f = &pod->follow;
    const struct appended *a = follow_find(pod, seq);
    if (a) {
        *h = a->header;
        *at = a->at;
        *after = a->after;
        return a->buf;
    }
    const struct log_entry *e = log_index_get(pod->log_index, seq);
    assert(e && "the index reaches back to what is not applied");
    if (f->tail_seq == seq) {
        (void)batch_peek(f->tail_buf, BATCH_MAX_BYTES, h);
        *at = (struct position){e->segment, e->offset, SEGMENT_NONE};
        *after = (struct position){e->segment, e->offset + e->bytes, h->next_segment};
        return f->tail_buf;
    }
    if (f->tail_busy)
        return NULL;
    f->tail_seq = 0;
    f->tail_busy = true;
    f->tail_segment = e->segment;
    f->tail_req = (struct blkdev_req){.op = BLKDEV_READ,
                                      .offset = segment_addr(pod, e->segment) + e->offset,
                                      .length = e->bytes,
                                      .buf = f->tail_buf};
    segments_pin(pod->segments, e->segment);
    const int rc = blkdev_submit(pod->dev, &f->tail_req, tail_read_done);
    if (rc) {
        f->tail_busy = false;
        segments_unpin(pod->segments, e->segment);
        pod_fail(pod, "the device refused a read of the log: %s", ps_status_text(rc));
    }
    return NULL;
}

/* False: not now. */
static bool apply_next(struct pod *pod)
{
    struct follow *f = &pod->follow;
    const uint64_t seq = pod->applied_seq + 1;
    struct batch_header h;
    struct position at, after;
    const uint8_t *batch = next_batch(pod, seq, &h, &at, &after);
    if (!batch)
        return false;
    if (!apply_ready(pod, &h, batch)) {
        f->waits = true;
        f->seen_events = pod->events;
        if (load_missing(pod))
            pod_fail(pod, "a metadata page that batch %llu changes is damaged", (unsigned long long)seq);
        return false;
    }
    f->waits = false;
    struct ps_error err = {0};
    if (apply_batch(pod, &h, batch, segment_addr(pod, at.segment) + at.offset, &err)) {
        pod_fail(pod, "%s", err.detail);
        return false;
    }
    index_batch(pod, &h, batch);
    pod->applied = after;
    pod->stats.batches++;
    pod->events++;
    pod->again = true;
    struct appended *a = follow_find(pod, seq);
    if (a) {
        list_remove(&a->link);
        list_push_back(&f->free, &a->link);
    }
    f->tail_seq = 0;
    return true;
}

void follow_turn(struct pod *pod)
{
    struct follow *f = &pod->follow;
    while (!pod->failed && pod->role == POD_STANDBY && !restart_holds_log(pod) &&
           pod->applied_seq < pod->durable.seq &&
           (pod->applied_seq < pod->commit_seq || BROKEN(REPLICA_CHECKPOINT_UNCOMMITTED)) &&
           !(f->waits && f->seen_events == pod->events) && apply_next(pod))
        ;
    /* The primary admits by what is free here. */
    if (pod->role == POD_STANDBY && !pod->failed && !checkpoint_busy(pod) &&
        segments_free(pod->segments) <= pod->reserve_segments) {
        log_retain_trim(pod);
        if (segments_dead(pod->segments, pod->applied_seq))
            checkpoint_want(pod);
    }
}

void pod_log_commit(struct pod *pod, uint64_t seq)
{
    assert(pod_is_replicated(pod));
    if (seq <= pod->commit_seq)
        return;
    pod->commit_seq = seq;
    pod->again = true;
}

int pod_log_truncate(struct pod *pod, uint64_t seq, void (*cb)(void *user, int status), void *user)
{
    if (pod->failed || pod->state != POD_SERVING)
        return PS_EUNAVAILABLE;
    if (pod->role != POD_STANDBY || seq < pod->applied_seq)
        return PS_EPRECONDITION;
    if (restart_truncates_later(pod, seq, cb, user))
        return 0;
    if (restart_holds_log(pod))
        return PS_ELIMIT;
    restart_begin(pod, seq < pod->sealed_seq ? seq : pod->sealed_seq, cb, user);
    return 0;
}
