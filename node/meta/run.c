/* Chunk: header, then entries. Header, 48 bytes: 0 magic u32, 4 version u8, 5
 * zero u8[3], 8 bytes of entries u32, 12 index in the run u32, 16 sequence of the cut u64,
 * 24 place of the next chunk u64 (0: last), 32 place of its second copy u64 (0: none), 40 XXH3-64 of the
 * chunk with this field 0; the rest up to a multiple of 64 is zero.
 *
 * An entry is a type byte, then numbers (LEB128): BASE page place clear_own,
 * SLOT page slot value, MORE slot value (of the page named last in this chunk),
 * DROP page, BLOB type id bytes data. */
#include "node/meta/run.h"

#include "common/endian_codec.h"
#include "node/meta/checksum.h"
#include "node/meta/varint.h"

enum {
    MAGIC = 0x4e525350 /* "PSRN" */,
    VERSION = 1,
    HEADER = 48
};
enum {
    BASE = 1,
    SLOT = 2,
    MORE = 3,
    DROP = 4,
    BLOB = 5
};
_Static_assert((int)RUN_CHUNK_BYTES <= (int)PLACE_MAX_BYTES, "a chunk has a place");

void run_begin(struct run_writer *run, struct meta_sink *sink, uint64_t seq)
{
    run->sink = sink;
    run->seq = seq;
    run->first = PLACE_NONE;
    run->bytes = 0;
    run->previous = NULL;
    run->index = 0;
    run->used = HEADER;
    run->last_page = 0;
}

/* The chunk before is complete once its successor has a place. */
static void finish_previous(struct run_writer *run, struct place next)
{
    if (!run->previous)
        return;
    const uint32_t entries = get_le32(run->previous + 8);
    const size_t padded = (HEADER + entries + PLACE_UNIT - 1) / PLACE_UNIT * PLACE_UNIT;
    put_le64(run->previous + 24, next.v);
    if (run->sink->copy && !place_is_none(next))
        put_le64(run->previous + 32, run->sink->copy(run->sink, next).v);
    put_le64(run->previous + 40, checksum_record(run->previous, padded, 40));
}

static void flush(struct run_writer *run)
{
    const uint32_t padded = (uint32_t)((run->used + PLACE_UNIT - 1) / PLACE_UNIT * PLACE_UNIT);
    struct place place;
    uint8_t *out = run->sink->alloc(run->sink, padded, &place);
    memset(run->chunk, 0, HEADER);
    put_le32(run->chunk, MAGIC);
    run->chunk[4] = VERSION;
    put_le32(run->chunk + 8, (uint32_t)(run->used - HEADER));
    put_le32(run->chunk + 12, run->index);
    put_le64(run->chunk + 16, run->seq);
    memcpy(out, run->chunk, run->used);
    memset(out + run->used, 0, padded - run->used);
    finish_previous(run, place);
    if (run->index == 0)
        run->first = place;
    if (run->chunk_placed)
        run->chunk_placed(run->user, place);
    run->previous = out;
    run->index++;
    run->bytes += padded;
    run->used = HEADER;
    run->last_page = 0;
}

static uint8_t *room(struct run_writer *run, size_t bytes)
{
    if (run->used + bytes > sizeof run->chunk)
        flush(run);
    return run->chunk + run->used;
}

static void advance(struct run_writer *run, const uint8_t *p)
{
    run->used = (size_t)(p - run->chunk);
}

void run_put_base(struct run_writer *run, struct meta_key page, struct place base, bool clear_own)
{
    uint8_t *p = room(run, 2 + 2 * VARINT_MAX);
    *p++ = BASE;
    p = varint_put(p, page.v);
    p = varint_put(p, base.v);
    *p++ = clear_own;
    advance(run, p);
}

void run_put_slot(struct run_writer *run, struct meta_key key, uint64_t value)
{
    uint8_t *p = room(run, 1 + 3 * VARINT_MAX);
    const struct meta_key page = meta_page_of(key);
    if (page.v == run->last_page) {
        *p++ = MORE;
    } else {
        *p++ = SLOT;
        p = varint_put(p, page.v);
        run->last_page = page.v;
    }
    p = varint_put(p, meta_slot_of(key));
    p = varint_put(p, value);
    advance(run, p);
}

void run_put_drop(struct run_writer *run, struct meta_key page)
{
    uint8_t *p = room(run, 1 + VARINT_MAX);
    *p++ = DROP;
    advance(run, varint_put(p, page.v));
}

void run_put_blob(struct run_writer *run, uint8_t type, uint64_t id, const void *data, size_t bytes)
{
    assert(bytes <= RUN_BLOB_MAX);
    uint8_t *p = room(run, 2 + 2 * VARINT_MAX + bytes);
    *p++ = BLOB;
    *p++ = type;
    p = varint_put(p, id);
    p = varint_put(p, bytes);
    if (bytes)
        memcpy(p, data, bytes);
    advance(run, p + bytes);
}

void run_end(struct run_writer *run)
{
    if (run->used > HEADER || run->index == 0)
        flush(run);
    finish_previous(run, PLACE_NONE);
    run->previous = NULL;
}

/* The key of a page: its slot is 0. */
static struct meta_key read_page(struct reader *r)
{
    const struct meta_key key = {read_varint(r)};
    if (key.v == 0 || meta_slot_of(key) != 0)
        r->bad = true;
    return key;
}

static int visit_entry(struct reader *r, uint64_t *page, const struct run_visitor *v, struct ps_error *err)
{
    const uint8_t *type = read_bytes(r, 1);
    if (!type)
        return 0;
    switch (*type) {
    case BASE: {
        const struct meta_key key = read_page(r);
        const struct place base = {read_varint(r)};
        const uint8_t *clear = read_bytes(r, 1);
        if (!r->bad)
            v->base(v->user, key, base, *clear != 0);
        return 0;
    }
    case SLOT:
        *page = read_page(r).v;
        /* fall through */
    case MORE: {
        const uint64_t slot = read_varint(r), value = read_varint(r);
        if (slot >= META_SLOTS || *page == 0)
            r->bad = true;
        if (!r->bad)
            v->slot(v->user, (struct meta_key){*page | slot}, value);
        return 0;
    }
    case DROP: {
        const struct meta_key key = read_page(r);
        if (!r->bad)
            v->drop(v->user, key);
        return 0;
    }
    case BLOB: {
        const uint8_t *kind = read_bytes(r, 1);
        const uint64_t id = read_varint(r), bytes = read_varint(r);
        const uint8_t *data = bytes <= RUN_BLOB_MAX ? read_bytes(r, (size_t)bytes) : NULL;
        if (!kind || !data) {
            r->bad = true;
            return 0;
        }
        return v->blob(v->user, *kind, id, data, (size_t)bytes, err);
    }
    default:
        r->bad = true;
        return 0;
    }
}

int run_check(const void *buf, size_t bytes, uint64_t seq, uint32_t index, struct run_cursor *cursor,
              struct place *next, struct ps_error *err)
{
    const uint8_t *chunk = buf;
    if (bytes < HEADER || get_le32(chunk) != MAGIC)
        return ps_error_set(err, PS_EDAMAGED, "checkpoint run %llu: chunk %u is not one",
                            (unsigned long long)seq, index);
    if (chunk[4] != VERSION)
        return ps_error_set(err, PS_EVERSION, "checkpoint run: version %u, this program knows %u", chunk[4],
                            VERSION);
    const uint32_t entries = get_le32(chunk + 8);
    if (entries > bytes - HEADER || get_le32(chunk + 12) != index || get_le64(chunk + 16) != seq ||
        get_le64(chunk + 40) != checksum_record(chunk, bytes, 40))
        return ps_error_set(err, PS_EDAMAGED, "checkpoint run %llu: chunk %u has a wrong checksum or number",
                            (unsigned long long)seq, index);
    *cursor = (struct run_cursor){chunk + HEADER, chunk + HEADER + entries, 0, seq, index};
    next->v = get_le64(chunk + 24);
    return 0;
}

int run_visit_some(struct run_cursor *cursor, size_t entries, const struct run_visitor *visitor,
                   struct ps_error *err)
{
    struct reader r = {cursor->pos, cursor->end, false};
    for (; entries > 0 && !r.bad && r.pos < r.end; entries--) {
        const int rc = visit_entry(&r, &cursor->page, visitor, err);
        if (rc)
            return rc;
    }
    if (r.bad)
        return ps_error_set(err, PS_EDAMAGED, "checkpoint run %llu: chunk %u has a malformed entry",
                            (unsigned long long)cursor->seq, cursor->index);
    cursor->pos = r.pos;
    return 0;
}

struct place run_next_copy(const void *chunk)
{
    return (struct place){get_le64((const uint8_t *)chunk + 32)};
}

int run_visit(const void *buf, size_t bytes, uint64_t seq, uint32_t index, const struct run_visitor *visitor,
              struct place *next, struct ps_error *err)
{
    struct run_cursor cursor;
    struct place after;
    int rc = run_check(buf, bytes, seq, index, &cursor, &after, err);
    if (rc == 0)
        rc = run_visit_some(&cursor, SIZE_MAX, visitor, err);
    if (rc == 0)
        *next = after;
    return rc;
}
