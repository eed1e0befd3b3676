/* One segment taken apart: what lives in it is copied elsewhere, then L2P says so. */
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "node/pod/collect.h"

enum {
    LOADS_AHEAD = 16,              /* pages of the table read at once */
    CHUNK_LEAST_BYTES = 64 * 1024, /* what is left of a segment and less than that stays empty */
};

/* ---- directories */

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void note_found(struct walk *w, uint64_t group, uint64_t addr, uint32_t bytes, uint8_t slots,
                       const uint8_t *fingerprints, uint8_t fingerprint_bytes)
{
    struct found *f = &w->found[w->found_count];
    const uint32_t blocks = (uint32_t)__builtin_popcount(slots);
    f->fingerprints = w->found_count
                          ? f[-1].fingerprints + (uint32_t)__builtin_popcount(f[-1].slots) * fingerprint_bytes
                          : 0;
    assert(f->fingerprints + blocks * fingerprint_bytes <= sizeof w->fingerprints);
    f->group = group;
    f->place = place_make(addr, bytes);
    f->slots = slots;
    memcpy(w->fingerprints + f->fingerprints, fingerprints, (size_t)blocks * fingerprint_bytes);
    w->fingerprint_bytes = fingerprint_bytes;
    w->found_count++;
}

/* Bytes of the batch that begins at `addr`; 0: none does, the segment ends here. */
static uint32_t find_in_batch(struct walk *w, uint64_t addr, const uint8_t *p, uint32_t available)
{
    struct batch_header h;
    struct batch_record r = {0};
    if (batch_parse_directory(p, available, &h) || (w->seq && h.seq != w->seq + 1) ||
        h.total_bytes > w->pod->segment_bytes - w->offset)
        return 0;
    for (unsigned i = 0; i < h.records && batch_next_record(&h, p, i, &r); i++)
        note_found(w, r.group, addr + r.offset, r.bytes, (uint8_t)((1u << r.blocks) - 1), r.fingerprints,
                   h.fingerprint_bytes);
    w->seq = h.seq;
    return h.total_bytes;
}

static uint32_t find_in_chunk(struct walk *w, uint64_t addr, const uint8_t *p, uint32_t available)
{
    struct moved_chunk chunk;
    struct moved_record r = {0};
    if (moved_parse(p, available, &chunk) || chunk.pod != get_le64(w->pod->anchor.pod))
        return 0;
    for (unsigned i = 0; i < chunk.records && moved_next_record(&chunk, p, i, &r); i++)
        note_found(w, r.group, addr + r.offset, r.bytes, r.slots, r.fingerprints, chunk.fingerprint_bytes);
    return chunk.total_bytes;
}

/* The next directory. False: it is being read. */
static bool find_more(struct walk *w, bool *end)
{
    const struct pod *pod = w->pod;
    const bool log = segments_state(pod->segments, w->victim) == SEGMENT_LOG;
    const uint32_t left = pod->segment_bytes - w->offset;
    const uint64_t addr = segment_addr(pod, w->victim) + w->offset;
    *end = left < BLKDEV_ALIGN || segments_live(pod->segments, w->victim) == 0;
    if (*end)
        return true;
    const uint32_t bytes = least(left, log ? (uint32_t)BATCH_PAYLOAD_AT : (uint32_t)MOVED_CHUNK_BYTES);
    const uint8_t *p = w->by_sectors ? want_sectors(w, addr, bytes) : want(w, addr, bytes);
    if (!p)
        return false;
    w->found_count = w->found_next = 0;
    const uint32_t total = log ? find_in_batch(w, addr, p, bytes) : find_in_chunk(w, addr, p, bytes);
    w->offset += total;
    *end = total == 0;
    w->damaged |= w->by_sectors && *end;
    w->by_sectors = false;
    return true;
}

/* ---- the table */

static struct meta_key table_page(uint64_t group)
{
    return meta_page_of(l2p_key(group));
}

/* What L2P says of a group. False: its page is being read; or it cannot be, then the victim stays. */
static bool look_up(struct walk *w, uint64_t group, uint64_t *value)
{
    struct pod *pod = w->pod;
    *value = 0;
    if (meta_get(pod->meta, l2p_key(group), value))
        return true;
    if (page_is_bad(pod, table_page(group))) {
        w->damaged = true;
        return true;
    }
    (void)load_page(pod, table_page(group));
    return false;
}

static void look_ahead(struct walk *w)
{
    uint64_t value;
    for (uint32_t i = w->found_next; i < w->found_count && i < w->found_next + LOADS_AHEAD; i++)
        if (!meta_get(w->pod->meta, l2p_key(w->found[i].group), &value) &&
            !page_is_bad(w->pod, table_page(w->found[i].group)))
            (void)load_page(w->pod, table_page(w->found[i].group));
}

/* ---- the chunk */

static void write_done(struct blkdev_req *req, int status)
{
    struct collect_chunk *k = container_of(req, struct collect_chunk, req);
    struct pod *pod = k->c->pod;
    pod->again = true;
    k->state = status ? CHUNK_EMPTY : CHUNK_MOVING;
    k->move_next = 0;
    if (status)
        pod_fail(pod, "writing for garbage collection failed: %s", ps_status_text(status));
}

static void wait_for_fewer(uint64_t *chunks, uint64_t begun)
{
    if (*chunks > begun)
        *chunks = begun;
}

/* Nothing was put into the chunk, because what it was begun for is damaged: nobody waits for it. */
static void give_up_chunk(struct collect *c)
{
    c->chunks[c->filled].state = CHUNK_EMPTY;
    c->begun--;
    for (unsigned i = 0; i < c->leaving_count; i++)
        wait_for_fewer(&c->leaving[i].chunks, c->begun);
    for (int i = 0; i < STREAMS; i++)
        wait_for_fewer(&c->streams[i].full_chunks, c->begun);
}

static void write_chunk(struct collect *c)
{
    struct pod *pod = c->pod;
    struct collect_chunk *k = &c->chunks[c->filled];
    if (k->writer.records == 0) {
        give_up_chunk(c);
        return;
    }
    const uint32_t bytes = moved_seal(&k->writer, get_le64(pod->anchor.pod));
    if (k->at == 0)
        segments_use(pod->segments, k->segment);
    pod->moved_programmed += bytes;
    k->stream->next += bytes;
    k->req = (struct blkdev_req){
        .op = BLKDEV_WRITE, .offset = segment_addr(pod, k->segment) + k->at, .length = bytes, .buf = k->buf};
    k->state = CHUNK_WRITING;
    c->filled = (c->filled + 1) % COLLECT_CHUNKS;
    const int rc = zones_write(pod, &k->req, write_done);
    if (rc) {
        k->state = CHUNK_EMPTY;
        pod_fail(pod, "the device refused a write: %s", ps_status_text(rc));
    }
}

static void leave_victims(struct collect *c);

/* Where copies of what lies in the segment go. */
static struct collect_stream *stream_for(struct collect *c, uint32_t segment)
{
    if (c->levelling)
        return &c->streams[STREAMS - 1];
    return &c->streams[segments_state(c->pod->segments, segment) != SEGMENT_LOG];
}

/* What is moved for its wear goes to the most worn. That one may not survive another erase: so it is erased
 * before it is taken. False: it is being. */
static bool take_segment(struct collect *c, struct collect_stream *s)
{
    struct segments *segments = c->pod->segments;
    if (s != &c->streams[STREAMS - 1]) {
        s->segment = segments_take(segments, s == c->streams ? SEGMENT_WARM : SEGMENT_COLD);
        return true;
    }
    const uint32_t worn = segments_most_worn(segments);
    if (!zones_erase(c->pod, worn))
        return false;
    segments_take_this(segments, worn, SEGMENT_COLD);
    s->segment = worn;
    return true;
}

/* Sealed earlier, it would be dead while nothing in it is named. */
static void seal_full(struct collect *c, struct collect_stream *s)
{
    if (s->full == SEGMENT_NONE || s->full_chunks > c->named)
        return;
    zones_seal(c->pod, s->full, s->full_end, 0);
    s->full = SEGMENT_NONE;
}

bool stream_leave(struct collect *c, struct collect_stream *s)
{
    if (s->full != SEGMENT_NONE)
        return false;
    s->full = s->segment;
    s->full_written = s->written;
    s->full_end = s->next;
    s->full_chunks = c->begun;
    s->segment = SEGMENT_NONE;
    seal_full(c, s);
    return true;
}

/* Its open segment, with room. False: not now. */
static bool open_stream(struct collect *c, struct collect_stream *s)
{
    struct pod *pod = c->pod;
    if (s->segment != SEGMENT_NONE && s->next + CHUNK_LEAST_BYTES > pod->segment_bytes && !stream_leave(c, s))
        return false;
    if (s->segment != SEGMENT_NONE)
        return true;
    if (segments_free(pod->segments) <= collect_floor(pod)) {
        c->recount |= !c->blocked;
        c->blocked = true;
        return false;
    }
    c->blocked = false;
    if (!take_segment(c, s))
        return false;
    s->next = s->written = 0;
    return true;
}

/* An empty chunk at the end of the stream. False: not now. */
static bool begin_chunk(struct collect *c, struct collect_stream *stream, uint8_t fingerprint_bytes)
{
    struct collect_chunk *k = &c->chunks[c->filled];
    if (!open_stream(c, stream))
        return false;
    k->stream = stream;
    k->segment = stream->segment;
    k->at = stream->next;
    moved_begin(&k->writer, k->buf, least(c->pod->segment_bytes - k->at, MOVED_CHUNK_BYTES),
                fingerprint_bytes);
    k->state = CHUNK_FILLING;
    c->begun++;
    return true;
}

/* The start that looks for fingerprints may not have come to the victim, and has passed the copy. */
static void index_chunk(struct pod *pod, const struct collect_chunk *k)
{
    struct moved_chunk chunk;
    struct moved_record r = {0};
    const int rc = moved_parse(k->buf, MOVED_CHUNK_BYTES, &chunk);
    assert(rc == 0 && "it was just sealed");
    for (unsigned i = 0; i < chunk.records && moved_next_record(&chunk, k->buf, i, &r); i++)
        index_blocks(pod, r.group, r.slots, r.fingerprints, chunk.fingerprint_bytes);
}

/* The group's blocks that live now are at the new place: unless all have died since they were copied. */
static void move_group(struct collect *c, const struct move *m, uint64_t value)
{
    struct pod *pod = c->pod;
    if (!value || l2p_place(value).v != m->from.v)
        return;
    const uint64_t after = l2p_make(m->to, m->blocks, l2p_live(value));
    segments_add_live(pod->segments, place_segment(pod, m->from), -(int64_t)l2p_live_bytes(value));
    segments_add_live(pod->segments, place_segment(pod, m->to), l2p_live_bytes(after));
    meta_set(pod->meta, l2p_key(m->group), after);
    pod->stats.collect_moved += place_len(m->to);
}

/* True: all of it is moved. */
static bool move_all(struct collect *c, struct collect_chunk *k)
{
    uint64_t value;
    for (; k->move_next < k->writer.records; k->move_next++) {
        const struct move *m = &k->moves[k->move_next];
        if (!look_up(&c->walk, m->group, &value)) {
            for (uint32_t i = 1; i < LOADS_AHEAD && k->move_next + i < k->writer.records; i++)
                (void)look_up(&c->walk, m[i].group, &value);
            return false;
        }
        move_group(c, m, value);
    }
    return true;
}

void chunks_turn(struct collect *c)
{
    for (struct collect_chunk *k; (k = &c->chunks[c->drained])->state == CHUNK_MOVING;) {
        struct collect_stream *s = k->stream;
        *(k->segment == s->segment ? &s->written : &s->full_written) = k->at + k->req.length;
        if (!move_all(c, k))
            return;
        if (index_load_busy(c->pod))
            index_chunk(c->pod, k);
        k->state = CHUNK_EMPTY;
        c->drained = (c->drained + 1) % COLLECT_CHUNKS;
        c->named++;
        c->pod->again = true;
    }
    for (int i = 0; i < STREAMS; i++)
        seal_full(c, &c->streams[i]);
    leave_victims(c);
}

/* ---- copying */

/* The fingerprints of `slots`, of those that the record had. */
static const uint8_t *fingerprints_of(const struct walk *w, const struct found *f, unsigned slots,
                                      uint8_t out[RECORD_MAX_BLOCKS * FINGERPRINT_MAX_BYTES])
{
    const uint8_t *from = w->fingerprints + f->fingerprints;
    uint8_t *to = out;
    for (unsigned slot = 0; slot < RECORD_MAX_BLOCKS; slot++) {
        if (!(f->slots >> slot & 1))
            continue;
        if (slots >> slot & 1) {
            memcpy(to, from, w->fingerprint_bytes);
            to += w->fingerprint_bytes;
        }
        from += w->fingerprint_bytes;
    }
    return out;
}

static void add_copy(struct collect *c, struct place from, const struct record_info *info,
                     const uint8_t *fingerprints)
{
    struct collect_chunk *k = &c->chunks[c->filled];
    struct moved_record r = {
        .group = info->group, .bytes = info->length, .slots = info->slots, .fingerprints = fingerprints};
    struct move *m = &k->moves[k->writer.records];
    moved_add(&k->writer, &r);
    *m = (struct move){
        .group = info->group,
        .from = from,
        .to = place_make(segment_addr(c->pod, k->segment) + k->at + r.offset, r.bytes),
        .blocks = info->blocks,
    };
    c->credit -= info->length;
}

/* Each repair under way will need a place to wait until it is written. */
static bool can_repair(const struct pod *pod)
{
    unsigned n = pod->collect->patch_count;
    list_for_each(node, &pod->active_fetches) n += container_of(node, struct fetch, link)->repair;
    return n < PATCHES_MAX;
}

/* Another member, or other devices, may have it: then it is written anew, and nothing lives here any more.
 * What they cannot be asked for now stays, and is no loss; a scrub waits for it. False: not now. */
static bool leave(struct walk *w, const struct found *f, const struct ps_error *err)
{
    struct pod *pod = w->pod;
    const bool elsewhere = pod_is_replicated(pod) || pod->dev->geometry.ways;
    if (elsewhere && !page_is_bad(pod, table_page(f->group))) {
        const bool asked = can_repair(pod) && fetch_to_repair(pod, f->group);
        if (!asked)
            (void)load_page(pod, table_page(f->group));
        w->damaged = true;
        return asked || w->collect;
    }
    w->damaged = true;
    pod->stats.checksum_errors++;
    pod_event(pod, "pod.data_loss", 0, "group %llu at %llu: %s", (unsigned long long)f->group,
              (unsigned long long)place_addr(f->place), err->detail);
    deep_lost(pod, f->group);
    return true;
}

/* One that lives is as it was written. False: not now. */
static bool verify(struct walk *w, const struct found *f, uint64_t value)
{
    struct ps_error err = {0};
    const uint32_t bytes = place_len(f->place);
    const uint8_t *record = want(w, place_addr(f->place), bytes);
    if (!record)
        return false;
    if (record_verify(record, bytes, f->group, &err)) {
        if (!leave(w, f, &err))
            return false;
        w->pod->scrub.damaged++;
    }
    w->seen += l2p_live_bytes(value);
    return true;
}

/* What has stayed for long is worth zstd's time, as far as that is granted. */
static bool is_cold(const struct collect *c, const struct collect_chunk *k, unsigned blocks)
{
    const struct pod *pod = c->pod;
    return k->stream != &c->streams[0] && pod->algorithm == RECORD_LZ4 && pod->config.cold_compress_rate &&
           c->cold_credit >= (int64_t)blocks * RECORD_BLOCK_BYTES;
}

/* The copy at `at` takes less now, if it is worth it. */
static void make_denser(struct collect *c, struct record_info *info, uint8_t *at)
{
    struct pod *pod = c->pod;
    struct ps_error err;
    c->cold_credit -= (int64_t)info->blocks * RECORD_BLOCK_BYTES;
    const size_t length = record_denser(pod->codec, at, info->length, c->work, c->dense);
    if (length == 0)
        return;
    pod->stats.cold_in += info->length;
    pod->stats.cold_out += length;
    memcpy(at, c->dense, length);
    const int rc = record_peek(at, info, &err);
    assert(rc == 0 && info->length == length && "it was just made");
}

/* Without what is dead in it: for that a stream of several blocks is compressed anew, as it was. */
static int copy_survivors(struct collect *c, const uint8_t *record, unsigned live, struct record_info *info,
                          struct ps_error *err)
{
    struct pod *pod = c->pod;
    struct collect_chunk *k = &c->chunks[c->filled];
    const bool cold = is_cold(c, k, RECORD_MAX_BLOCKS);
    const bool zstd = cold && info->algorithm == RECORD_ZSTD;
    const bool anew = zstd && info->mode == RECORD_JOINT && live != info->slots;
    uint8_t *at = moved_next(&k->writer);
    const int rc = record_survivors(pod->codec, zstd ? RECORD_ZSTD : pod->algorithm, record, info->length,
                                    live, c->work, at, info, err);
    if (anew)
        c->cold_credit -= COLD_BURST;
    else if (rc == 0 && cold && info->algorithm != RECORD_ZSTD)
        make_denser(c, info, at);
    return rc;
}

/* One that lives. False: not now. */
static bool copy(struct collect *c, const struct found *f, unsigned live)
{
    struct pod *pod = c->pod;
    struct collect_chunk *k = &c->chunks[c->filled];
    struct record_info info;
    struct ps_error err = {0};
    const uint32_t bytes = place_len(f->place);
    /* Read on while the chunks before are being written. */
    const uint8_t *record = want(&c->walk, place_addr(f->place), bytes);
    if (!record || (k->state != CHUNK_EMPTY && k->state != CHUNK_FILLING))
        return false;
    if (k->state == CHUNK_EMPTY && !begin_chunk(c, stream_for(c, c->walk.victim), c->walk.fingerprint_bytes))
        return false;
    const uint32_t most = (uint32_t)record_bound((unsigned)__builtin_popcount(live));
    const bool other = k->writer.fingerprint_bytes != c->walk.fingerprint_bytes ||
                       k->stream != stream_for(c, c->walk.victim);
    if (other || !moved_has_room(&k->writer, most > bytes ? most : bytes)) {
        assert((other || k->writer.records) && "an empty one has room for a record");
        write_chunk(c);
        return !pod->failed && copy(c, f, live);
    }
    uint8_t fingerprints[RECORD_MAX_BLOCKS * FINGERPRINT_MAX_BYTES];
    int rc = record_verify(record, bytes, f->group, &err);
    if (!rc)
        rc = record_peek(record, &info, &err);
    if (!rc && (live & ~(unsigned)info.slots || info.slots != f->slots))
        rc = ps_error_set(&err, PS_EDAMAGED, "it has slots %#x, not %#x", info.slots, f->slots | live);
    if (!rc)
        rc = copy_survivors(c, record, live, &info, &err);
    if (rc)
        (void)leave(&c->walk, f, &err);
    else
        add_copy(c, f->place, &info, fingerprints_of(&c->walk, f, info.slots, fingerprints));
    return true;
}

/* One that lives, and that the device does not read. False: not now. */
static bool leave_unread(struct walk *w, const struct found *f, uint64_t value)
{
    struct ps_error err = {0};
    (void)ps_error_set(&err, PS_EIO, "reading it failed");
    if (!leave(w, f, &err))
        return false;
    w->pod->scrub.damaged += !w->collect;
    w->seen += l2p_live_bytes(value);
    return true;
}

/* One that lives. False: not now. */
static bool take(struct walk *w, const struct found *f, uint64_t value)
{
    if (w->unread)
        return leave_unread(w, f, value);
    return w->collect ? copy(w->collect, f, l2p_live(value)) : verify(w, f, value);
}

static bool copy_next(struct walk *w)
{
    const struct found *f = &w->found[w->found_next];
    uint64_t value;
    if (!look_up(w, f->group, &value)) {
        look_ahead(w);
        return false;
    }
    const bool lives = value && l2p_place(value).v == f->place.v;
    if (lives && !take(w, f, value))
        return false;
    w->narrow = w->unread = false;
    w->found_next++;
    return true;
}

/* ---- records written anew */

void collect_patch(struct pod *pod, uint64_t group, struct place from, const void *record, uint32_t bytes)
{
    struct collect *c = pod->collect;
    struct patch *p = &c->patches[c->patch_count];
    if (pod->failed || pod->state != POD_SERVING || c->patch_count == PATCHES_MAX)
        return; /* whoever reads it next asks again */
    if (!p->buf)
        p->buf = malloc(RECORD_MAX_BYTES);
    if (!p->buf)
        return;
    p->group = group;
    p->from = from;
    p->bytes = bytes;
    memcpy(p->buf, record, bytes);
    c->patch_count++;
    pod->again = true;
}

static void patch_done(struct collect *c)
{
    const struct patch first = c->patches[0];
    c->patch_count--;
    memmove(&c->patches[0], &c->patches[1], c->patch_count * sizeof c->patches[0]);
    c->patches[c->patch_count] = first; /* its buffer */
}

/* As the record has no directory that names them. */
static int fingerprint_slots(struct pod *pod, const void *record, uint32_t bytes, unsigned slots,
                             uint8_t *work, uint8_t out[RECORD_MAX_BLOCKS * FINGERPRINT_MAX_BYTES],
                             struct ps_error *err)
{
    const size_t size = fingerprint_size(pod->fingerprint);
    for (unsigned slot = 0; slot < RECORD_MAX_BLOCKS; slot++) {
        struct fingerprint fp;
        if (!(slots >> slot & 1))
            continue;
        const int rc = record_decode_block(pod->codec, record, bytes, slot, work, err);
        if (rc)
            return rc;
        fingerprint_block(pod->fingerprint, work, &fp);
        memcpy(out, fp.bytes, size);
        out += size;
    }
    return 0;
}

/* Into the chunk, which has room. It was verified when it came; one that lacks what lives here is of no use.
 */
static void add_patch(struct collect *c, const struct patch *p, unsigned live)
{
    struct pod *pod = c->pod;
    struct collect_chunk *k = &c->chunks[c->filled];
    uint8_t fingerprints[RECORD_MAX_BLOCKS * FINGERPRINT_MAX_BYTES];
    struct record_info info;
    struct ps_error err;
    if (record_peek(p->buf, &info, &err) || live & ~(unsigned)info.slots ||
        record_survivors(pod->codec, pod->algorithm, p->buf, p->bytes, live, c->work, moved_next(&k->writer),
                         &info, &err) ||
        fingerprint_slots(pod, moved_next(&k->writer), info.length, info.slots, c->work, fingerprints, &err))
        return;
    add_copy(c, p->from, &info, fingerprints);
}

bool patch_step(struct collect *c)
{
    struct pod *pod = c->pod;
    struct collect_chunk *k = &c->chunks[c->filled];
    const struct patch *p = &c->patches[0];
    const uint8_t fingerprint_bytes = (uint8_t)fingerprint_size(pod->fingerprint);
    uint64_t value;
    if (c->patch_count == 0 || pod->failed || (k->state != CHUNK_EMPTY && k->state != CHUNK_FILLING) ||
        !look_up(&c->walk, p->group, &value))
        return false;
    if (!value || !l2p_live(value) || l2p_place(value).v != p->from.v) { /* it has died, or was moved */
        patch_done(c);
        return true;
    }
    if (k->state == CHUNK_EMPTY && !begin_chunk(c, &c->streams[0], fingerprint_bytes))
        return false;
    if (k->writer.fingerprint_bytes != fingerprint_bytes || !moved_has_room(&k->writer, RECORD_MAX_BYTES)) {
        write_chunk(c);
        return !pod->failed;
    }
    add_patch(c, p, l2p_live(value));
    patch_done(c);
    return true;
}

/* ---- the victim */

void walk_init(struct walk *w, struct pod *pod, struct collect *collect)
{
    w->pod = pod;
    w->collect = collect;
    w->victim = w->ahead = SEGMENT_NONE;
    w->ring = aligned_alloc(BLKDEV_ALIGN, RING_BYTES + RING_SPARE_BYTES);
    assert(w->ring && "out of memory at start");
}

void victim_begin(struct walk *w, uint32_t segment)
{
    assert(w->victim == SEGMENT_NONE && (w->ahead == segment || (w->ahead == SEGMENT_NONE && !w->reading)));
    w->victim = segment;
    if (w->collect)
        w->collect->attempt = (struct attempt){0};
    w->offset = w->found_count = w->found_next = 0;
    w->seq = 0;
    w->damaged = w->narrow = w->unread = w->by_sectors = false;
    w->seen = 0;
    if (w->ahead == segment) {
        w->ahead = SEGMENT_NONE; /* its pin is the victim's */
        return;
    }
    reads_reset(w);
    segments_pin(w->pod->segments, segment);
}

void victim_drop(struct walk *w)
{
    if (w->victim != SEGMENT_NONE)
        segments_unpin(w->pod->segments, w->victim);
    w->victim = SEGMENT_NONE;
}

/* All of it was looked at: it is gone when the chunks that hold something of it are named. */
static void victim_end(struct collect *c)
{
    c->leaving[c->leaving_count++] = (struct leaving){
        .segment = c->walk.victim, .attempt = c->attempt, .damaged = c->walk.damaged, .chunks = c->begun};
    segments_set_leaving(c->pod->segments, c->walk.victim, true);
    c->walk.victim = SEGMENT_NONE;
    c->levelling = false;
    leave_victims(c);
}

static void leave_victim(struct collect *c, const struct leaving *l)
{
    struct pod *pod = c->pod;
    const uint32_t left = segments_live(pod->segments, l->segment);
    pod->again = true;
    pod->events++; /* a checkpoint may make room now, or nothing does */
    if (left && again_put(c, l))
        return;
    segments_set_leaving(pod->segments, l->segment, false);
    if (!left)
        again_helped(c, l);
    if (left) {
        segments_stuck(pod->segments, l->segment);
        pod_event(pod, "gc.stuck", 0, "%u bytes that live in segment %u cannot be moved: %s", left,
                  l->segment,
                  l->damaged ? "they, or what names them, are damaged" : "its directory is damaged");
    }
    segments_unpin(pod->segments, l->segment);
    c->ended++;
    pod->stats.collected++;
}

static void leave_victims(struct collect *c)
{
    while (c->leaving_count && c->leaving[0].chunks <= c->named) {
        const struct leaving l = c->leaving[0];
        c->leaving_count--;
        memmove(&c->leaving[0], &c->leaving[1], c->leaving_count * sizeof c->leaving[0]);
        leave_victim(c, &l);
    }
}

void chunk_flush(struct collect *c)
{
    if (c->chunks[c->filled].state == CHUNK_FILLING)
        write_chunk(c);
    leave_victims(c); /* nothing was put into it */
}

bool victim_step(struct walk *w)
{
    struct collect *c = w->collect;
    bool end = false;
    if (w->pod->failed)
        return false;
    if (w->found_next < w->found_count)
        return copy_next(w);
    if (!find_more(w, &end))
        return false;
    if (!end)
        return true;
    if (w->reading &&
        (w->ahead == SEGMENT_NONE || w->reads[w->read_first].req.offset < segment_addr(w->pod, w->ahead)))
        return false;
    if (!c) {
        scrub_segment_done(w);
        victim_drop(w);
        w->pod->again = true;
        return false;
    }
    if (c->leaving_count == LEAVING) {
        chunk_flush(c);
        if (c->leaving_count == LEAVING)
            return false;
    }
    victim_end(c);
    return false;
}

void collect_drop(struct collect *c)
{
    for (int i = 0; i < COLLECT_CHUNKS; i++)
        c->chunks[i].state = CHUNK_EMPTY;
    c->filled = c->drained = 0;
    c->named = c->begun;
    c->patch_count = 0;
    for (unsigned i = 0; i < c->leaving_count; i++) {
        segments_set_leaving(c->pod->segments, c->leaving[i].segment, false);
        segments_unpin(c->pod->segments, c->leaving[i].segment);
    }
    c->leaving_count = 0;
    again_drop(c);
    c->levelling = false;
    victim_drop(&c->walk);
}
