/* What lay on a device that was lost is made anew on the one in its place, while the array is in use.
 *
 * From the moment that a device is attached all writes go to it too. A segment that is erased after that has
 * its part on it from the start; the others are rebuilt one after the other, each while nothing is appended
 * to it. A device counts as one of the array's only when all of that is flushed and the labels say so; they
 * also tell from time to time how far it has come, and a restart goes on from there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/prng.h"
#include "node/flash/array_impl.h"

enum {
    STEP_ROWS = 16,
    NOTE_SEGMENTS = 128, /* how often progress is noted */
};
#define RATE_DEFAULT (64ull << 20)
#define BURST_NS     100000000ull /* what turns that come late may make up for */

enum rebuild_phase {
    REBUILD_IDLE,
    REBUILD_COPYING,  /* a segment is held, if it is open, and rows are on their way */
    REBUILD_FLUSHING, /* before the labels say how far it is */
    REBUILD_NOTING,
};

struct array_rebuild {
    struct array *a;
    enum rebuild_phase phase;
    unsigned member;
    uint8_t id[16]; /* of the device there: another one may take its place, and begins at the start */
    uint32_t segment, row, rows;
    uint64_t end_row; /* rows to copy of this segment */
    uint64_t fine;    /* below this row one at a time: some of them can't be read */
    struct segment *held;
    uint32_t bad, sent; /* members, units */
    uint32_t noted;
    bool writing, stepping;
    uint64_t flush; /* which one is waited for */
    uint64_t due_ns, now_ns, damaged;
    struct array_io io;
    uint8_t *units[ARRAY_MEMBERS_MAX];
    uint8_t *made;
};

static uint32_t *make_bits(const struct array *a)
{
    return calloc(a->segments / 32 + 1, sizeof(uint32_t));
}

static void set_bit(struct array *a, unsigned member, uint32_t segment)
{
    if (a->member[member].synced)
        a->member[member].synced[segment / 32] |= 1u << segment % 32;
}

static bool has_bit(const struct array *a, unsigned member, uint32_t segment)
{
    return a->member[member].synced[segment / 32] >> segment % 32 & 1;
}

static struct array_rebuild *rebuild_of(struct array *a)
{
    if (a->rebuild)
        return a->rebuild;
    struct array_rebuild *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    a->rebuild = r;
    r->a = a;
    r->member = ARRAY_MEMBERS_MAX;
    for (unsigned i = 0; i < a->n; i++) {
        r->units[i] = aligned_alloc(BLKDEV_ALIGN, (size_t)STEP_ROWS * a->unit);
        assert(r->units[i] && "out of memory");
    }
    r->made = aligned_alloc(BLKDEV_ALIGN, (size_t)STEP_ROWS * a->unit);
    assert(r->made && "out of memory");
    io_init(a, &r->io, ARRAY_MEMBERS_MAX + 1, NULL);
    return r;
}

void rebuild_free(struct array *a)
{
    struct array_rebuild *r = a->rebuild;
    if (!r)
        return;
    for (unsigned i = 0; i < a->n; i++)
        free(r->units[i]);
    free(r->made);
    io_free(&r->io);
    free(r);
    a->rebuild = NULL;
}

int rebuild_restore(struct array *a)
{
    for (unsigned i = 0; i < a->n; i++) {
        if (a->label.member[i].state != ARRAY_REBUILDING)
            continue;
        a->member[i].synced = make_bits(a);
        if (!a->member[i].synced || !rebuild_of(a))
            return PS_ENOMEM;
        for (uint32_t s = 0; s < a->label.member[i].rebuilt; s++)
            set_bit(a, i, s);
    }
    return 0;
}

void rebuild_begin(struct array *a, unsigned member)
{
    a->member[member].synced = make_bits(a);
    assert(a->member[member].synced && rebuild_of(a) && "out of memory");
    a->label.member[member].rebuilt = 0;
}

void rebuild_end(struct array *a, unsigned member)
{
    free(a->member[member].synced);
    a->member[member].synced = NULL;
    a->label.member[member].rebuilt = 0;
}

void rebuild_enlarge(struct array *a, uint32_t before)
{
    for (unsigned i = 0; i < a->n; i++) {
        uint32_t *const bits = a->member[i].synced;
        if (!bits)
            continue;
        a->member[i].synced = make_bits(a);
        assert(a->member[i].synced && "out of memory");
        memcpy(a->member[i].synced, bits, (before / 32 + 1) * sizeof *bits);
        free(bits);
    }
}

void rebuild_erased(struct array *a, uint32_t segment)
{
    for (unsigned i = 0; i < a->n; i++)
        if (a->label.member[i].state == ARRAY_REBUILDING)
            set_bit(a, i, segment);
}

bool rebuild_holds(const struct array *a, uint32_t segment)
{
    return a->rebuild && a->rebuild->phase == REBUILD_COPYING && a->rebuild->segment == segment;
}

/* ---- the walk */

static void rebuild_step(struct array_rebuild *r);

static bool is_still_there(const struct array_rebuild *r)
{
    const struct array_member_label *l = &r->a->label.member[r->member];
    return l->state == ARRAY_REBUILDING && memcmp(l->id, r->id, sizeof r->id) == 0;
}

static void let_go(struct array_rebuild *r)
{
    struct array *a = r->a;
    struct segment *held = r->held;
    r->held = NULL;
    r->phase = REBUILD_IDLE;
    if (held) {
        held->held &= (uint8_t)~HOLD_REBUILD;
        /* What its open row has so far is to have all of its parity too. */
        held->restage = held->used && held->fill % a->row_bytes;
    }
    array_wake(a);
}

static void segment_copied(struct array_rebuild *r)
{
    set_bit(r->a, r->member, r->segment++);
    let_go(r);
}

/* The device is gone, or another one is in its place: nothing waits for it any more. */
static void give_up(struct array_rebuild *r)
{
    r->member = ARRAY_MEMBERS_MAX;
    for (unsigned i = 0; i < ARRAY_OPEN_SEGMENTS; i++)
        r->a->segment[i].wanted = false;
    let_go(r);
}

static uint64_t rate_of(const struct array *a)
{
    return a->config.rebuild_rate ? a->config.rebuild_rate : RATE_DEFAULT;
}

static void rows_written(struct array_io *io)
{
    struct array_rebuild *r = io->a->rebuild;
    struct array *a = r->a;
    const uint64_t bytes = (uint64_t)r->rows * a->unit;
    const uint64_t floor = r->now_ns > BURST_NS ? r->now_ns - BURST_NS : 0;
    r->due_ns = (r->due_ns > floor ? r->due_ns : floor) + bytes * 1000000000ull / rate_of(a);
    array_lose_list(a, io, "a write failed while it was rebuilt");
    r->row += r->rows;
    if (!is_still_there(r) || a->failed)
        let_go(r);
    else if (r->row >= r->end_row)
        segment_copied(r);
    r->writing = false;
    rebuild_step(r);
    close_turn(a);
}

/* The unit of the segment that is the member's. */
static unsigned unit_of(const struct array *a, uint32_t segment, unsigned member)
{
    return (member + a->n - segment % a->n) % a->n;
}

static void rows_read(struct array_io *io)
{
    struct array_rebuild *r = io->a->rebuild;
    struct array *a = r->a;
    uint8_t from[ARRAY_MEMBERS_MAX], *source[ARRAY_MEMBERS_MAX];
    const uint8_t wanted = (uint8_t)unit_of(a, r->segment, r->member);
    unsigned n = 0;
    r->io.done = rows_written;
    for (unsigned u = 0; u < a->n && n < a->k; u++)
        if (r->sent >> u & 1 && !(io->failed >> unit_member(a, r->segment, u) & 1)) {
            source[n] = r->units[u];
            from[n++] = (uint8_t)u;
        }
    if (io->failed && n < a->k) {
        /* Another attempt without who failed, if enough are left. */
        r->bad |= io->failed;
        r->writing = false;
        rebuild_step(r);
        close_turn(a);
        return;
    }
    parity_restore(&a->parity, (size_t)r->rows * a->unit, from, source, 1, &wanted, &r->made);
    io_begin(&r->io);
    if (is_still_there(r))
        io_send(&r->io, r->member, BLKDEV_WRITE, 0, part_at(a, r->segment) + (uint64_t)r->row * a->unit,
                r->rows * a->unit, r->made);
    else
        (void)array_tick(a, &r->io);
    (void)io_end(&r->io);
}

/* The member's part of the row that is being filled: of parity nothing, it goes to a slot when it is due. */
static void write_open_row(struct array_rebuild *r)
{
    struct array *a = r->a;
    const unsigned unit = unit_of(a, r->segment, r->member);
    const uint64_t fill = r->held->fill % a->row_bytes;
    const uint32_t in = unit < a->k ? column_fill(a, fill, unit) : 0;
    r->rows = 1;
    r->io.done = rows_written;
    io_begin(&r->io);
    if (in)
        io_send(&r->io, r->member, BLKDEV_WRITE, 0, part_at(a, r->segment) + (uint64_t)r->row * a->unit, in,
                r->held->row + (size_t)unit * a->unit);
    else
        (void)array_tick(a, &r->io);
    (void)io_end(&r->io);
}

/* The units to make the rows from; false: too few are left. */
static bool choose_sources(struct array_rebuild *r)
{
    const struct array *a = r->a;
    unsigned n = 0;
    r->sent = 0;
    for (unsigned u = 0; u < a->n && n < a->k; u++) {
        const unsigned member = unit_member(a, r->segment, u);
        if (member == r->member || !member_has(a, member, r->segment) || (r->bad >> member & 1))
            continue;
        r->sent |= 1u << u;
        n++;
    }
    return n == a->k;
}

static void copy_rows(struct array_rebuild *r)
{
    struct array *a = r->a;
    r->writing = true;
    const uint64_t full = r->held ? r->held->fill / a->row_bytes : a->rows;
    if (r->row >= full) {
        write_open_row(r);
        return;
    }
    r->rows = full - r->row < STEP_ROWS ? (uint32_t)(full - r->row) : STEP_ROWS;
    if (r->row < r->fine)
        r->rows = 1;
    bool enough = choose_sources(r);
    if (!enough && r->bad && r->rows > 1) {
        r->fine = r->row + r->rows;
        r->rows = 1;
        r->bad = 0;
        enough = choose_sources(r);
    }
    r->io.done = enough ? rows_read : rows_written;
    io_begin(&r->io);
    if (!enough) {
        /* What these rows hold of the member's part is lost; what they hold of others' is not. */
        r->damaged += r->rows;
        r->bad = 0;
    }
    for (unsigned u = 0; u < a->n && enough; u++)
        if (r->sent >> u & 1)
            io_send(&r->io, unit_member(a, r->segment, u), BLKDEV_READ, 0,
                    part_at(a, r->segment) + (uint64_t)r->row * a->unit, r->rows * a->unit, r->units[u]);
    (void)io_end(&r->io);
}

/* False: not now. True: it is being copied, or need not be. */
static bool begin_segment(struct array_rebuild *r)
{
    struct array *a = r->a;
    struct segment *s = segment_find(a, r->segment);
    const struct unsettled *u = unsettled_find(a, r->segment);
    const bool erased = u && u->open && !s;
    const uint64_t at = (uint64_t)r->segment * a->segment_bytes;
    if (has_bit(a, r->member, r->segment) || erased ||
        (!s && a->config.in_use && !a->config.in_use(a->config.user, at, a->segment_bytes))) {
        set_bit(a, r->member, r->segment++);
        return true;
    }
    if (s && (s->held || !list_empty(&s->appends))) {
        /* Nothing more is appended until what is on its way is through. */
        if (!s->held)
            s->wanted = true;
        return false;
    }
    if (s) {
        s->wanted = false;
        s->held = HOLD_REBUILD;
    }
    r->held = s;
    r->row = 0;
    r->fine = 0;
    r->bad = 0;
    r->end_row = s ? (s->fill + a->row_bytes - 1) / a->row_bytes : a->rows;
    r->phase = REBUILD_COPYING;
    if (r->end_row == 0)
        segment_copied(r);
    return true;
}

static void noted(struct array *a, int status)
{
    struct array_rebuild *r = a->rebuild;
    if (r->phase != REBUILD_NOTING)
        return;
    r->phase = REBUILD_IDLE;
    struct array_member_label *l = &a->label.member[r->member];
    if (status == 0 && l->state == ARRAY_IN) {
        array_event(a, "device.rebuilt", "%.80s holds its part of everything again%s", l->name,
                    r->damaged ? ", but what other devices could not read" : "");
        rebuild_end(a, r->member);
        if (coded_grow(a) && a->config.grown)
            a->config.grown(a->config.user);
    }
}

static void note(struct array_rebuild *r)
{
    struct array *a = r->a;
    struct array_member_label *l = &a->label.member[r->member];
    const bool in = r->segment == a->segments;
    /* One that is in stands for the others, the list of unsettled segments included. */
    if (a->label_busy || a->label_done || (in && (a->list_busy || a->list_wanted)))
        return; /* rebuild_kick comes again */
    r->phase = REBUILD_NOTING;
    l->rebuilt = r->segment;
    if (in) {
        l->state = ARRAY_IN;
        l->segments = array_parts_of(a->member[r->member].dev, a->part_bytes);
    }
    a->label_done = noted;
    array_write_labels(a);
}

static void choose(struct array_rebuild *r)
{
    struct array *a = r->a;
    if (r->member < a->n)
        return;
    for (unsigned i = 0; i < a->n; i++)
        if (a->label.member[i].state == ARRAY_REBUILDING && a->member[i].synced) {
            r->member = i;
            memcpy(r->id, a->label.member[i].id, sizeof r->id);
            r->segment = a->label.member[i].rebuilt;
            r->damaged = 0;
            r->noted = r->segment;
            return;
        }
}

static void want_flush(struct array_rebuild *r)
{
    r->phase = REBUILD_FLUSHING;
    r->flush = r->a->flushes_begun + 1;
    r->a->flush_wanted = true;
    flush_turn(r->a);
}

static void rebuild_step(struct array_rebuild *r)
{
    struct array *a = r->a;
    if (r->stepping || a->config.look_only)
        return;
    r->stepping = true;
    while (!a->failed && !a->closing && !r->writing && r->phase != REBUILD_NOTING) {
        if (r->member < a->n && !is_still_there(r))
            give_up(r);
        const enum rebuild_phase phase = r->phase;
        if (phase == REBUILD_FLUSHING) {
            if (a->flushes_ended < r->flush)
                break;
            note(r);
            if (r->phase == REBUILD_FLUSHING)
                break;
            continue;
        }
        if (r->due_ns > r->now_ns)
            break;
        if (phase == REBUILD_COPYING) {
            copy_rows(r);
            continue;
        }
        choose(r);
        if (r->member == ARRAY_MEMBERS_MAX)
            break;
        if (r->segment == a->segments || r->segment - r->noted >= NOTE_SEGMENTS) {
            r->noted = r->segment;
            want_flush(r);
            continue;
        }
        if (!begin_segment(r))
            break;
    }
    r->stepping = false;
}

void rebuild_kick(struct array *a)
{
    if (a->rebuild && a->open)
        rebuild_step(a->rebuild);
}

bool rebuild_rests(struct array *a)
{
    struct array_rebuild *r = a->rebuild;
    if (!r)
        return true;
    if (r->phase == REBUILD_COPYING && !r->writing && (a->closing || a->failed)) {
        r->phase = REBUILD_IDLE;
        if (r->held)
            r->held->held &= (uint8_t)~HOLD_REBUILD;
        r->held = NULL;
    }
    return !r->writing && r->phase != REBUILD_NOTING;
}

uint64_t rebuild_turn(struct array *a, uint64_t now_ns)
{
    struct array_rebuild *r = a->rebuild;
    if (!r)
        return UINT64_MAX;
    r->now_ns = now_ns;
    rebuild_step(r);
    return r->member < a->n && r->due_ns > now_ns && !a->failed ? r->due_ns : UINT64_MAX;
}
