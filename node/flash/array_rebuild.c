/* Devices that come and go while the array is in use: attach, rebuild, detach.
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
    HEAD_BYTES = 1 << 20,
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

    /* A device being attached or taken out. */
    bool busy;
    struct array_device device;
    uint8_t *head;
    struct blkdev_req look;
    unsigned target;
    array_cb cb;
    void *user;
    struct ps_error *err;
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
    r->head = aligned_alloc(BLKDEV_ALIGN, HEAD_BYTES);
    assert(r->made && r->head && "out of memory");
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
    free(r->head);
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
        free(a->member[r->member].synced);
        a->member[r->member].synced = NULL;
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
    if (in)
        l->state = ARRAY_IN;
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
    return !r->writing && !r->busy && r->phase != REBUILD_NOTING;
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

/* ---- attach */

static void attach_end(struct array_rebuild *r, int status)
{
    const array_cb cb = r->cb;
    void *user = r->user;
    r->busy = false;
    cb(user, status);
    rebuild_kick(r->a);
    close_turn(r->a);
}

static void attached(struct array *a, int status)
{
    struct array_rebuild *r = a->rebuild;
    const bool taken = a->label.member[r->target].state == ARRAY_REBUILDING;
    if (status == 0 && !taken)
        status = ps_error_set(r->err, PS_EIO, "%s cannot be written", r->device.name);
    if (status == 0) {
        array_event(a, "device.attached", "%.80s takes the place of device %u, and is being rebuilt",
                    r->device.name, r->target + 1);
        a->list_wanted = true;
        list_write(a);
    }
    attach_end(r, status);
}

/* The member whose place it takes; -1: none does. */
static int place_for(struct array *a, const struct array_label *former)
{
    int any = -1;
    for (unsigned i = 0; i < a->n; i++) {
        if (a->label.member[i].state != ARRAY_OUT || a->member[i].inflight)
            continue;
        if (former && memcmp(a->label.member[i].id, former->member[former->self].id, 16) == 0)
            return (int)i;
        if (any < 0)
            any = (int)i;
    }
    return any;
}

static int attach_check(struct array_rebuild *r)
{
    struct array *a = r->a;
    struct array_label label;
    struct ps_error error = {0};
    bool blank;
    const int rc = array_head_look(r->head, &blank, &label, &error);
    if (rc && !blank)
        return rc == PS_ENOTFOUND
                   ? ps_error_set(
                         r->err, rc,
                         "%s holds something; it is left alone (to use the device, overwrite its first MiB "
                         "with zeroes)",
                         r->device.name)
                   : ps_error_set(r->err, rc, "%s: %s", r->device.name, error.detail);
    if (!blank && memcmp(label.array, a->label.array, 16))
        return ps_error_set(r->err, PS_EPRECONDITION, "%s belongs to another array", r->device.name);
    if (!blank)
        for (unsigned i = 0; i < a->n; i++)
            if (a->label.member[i].state != ARRAY_OUT &&
                memcmp(a->label.member[i].id, label.member[label.self].id, 16) == 0)
                return ps_error_set(r->err, PS_EPRECONDITION, "%s is a copy of %s, which is in use",
                                    r->device.name, a->label.member[i].name);
    const int at = place_for(a, blank ? NULL : &label);
    if (at < 0)
        return ps_error_set(r->err, PS_EPRECONDITION, "no device of the array is lost or taken out");
    r->target = (unsigned)at;
    return 0;
}

static void take_in(struct array_rebuild *r)
{
    struct array *a = r->a;
    struct array_member_label *l = &a->label.member[r->target];
    struct member *m = &a->member[r->target];
    struct prng p;
    prng_seed(&p, a->config.seed[0] ^ prng_mix(a->config.seed[1] ^ a->label.number));
    *m = (struct member){.dev = r->device.dev, .synced = make_bits(a)};
    assert(m->synced && "out of memory");
    prng_fill(&p, l->id, sizeof l->id);
    l->state = ARRAY_REBUILDING;
    l->rebuilt = 0;
    (void)snprintf(l->name, sizeof l->name, "%s", array_name(r->device.name));
    a->label_done = attached;
    array_write_labels(a);
}

static void attach_looked(struct blkdev_req *req, int status)
{
    struct array_rebuild *r = container_of(req, struct array_rebuild, look);
    struct array *a = r->a;
    if (status)
        status = ps_error_set(r->err, status, "%s cannot be read", r->device.name);
    else
        status = attach_check(r);
    if (status == 0 && (a->failed || a->label_busy || a->label_done))
        status = ps_error_set(r->err, PS_EUNAVAILABLE, "the array is busy with a lost device; try again");
    if (status)
        attach_end(r, status);
    else
        take_in(r);
}

int array_attach(struct array *a, const struct array_device *device, array_cb cb, void *user,
                 struct ps_error *err)
{
    if (!a->m)
        return ps_error_set(
            err, PS_EUNIMPLEMENTED,
            "segments are spread here without parity: no device can be replaced, and the pool "
            "does not grow by another one; make a new pool of all devices");
    struct array_rebuild *r = rebuild_of(a);
    if (!r)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    if (r->busy)
        return ps_error_set(err, PS_EUNAVAILABLE, "another device is being attached or taken out");
    const int rc = array_fits(a, device, a->segments, err);
    if (rc)
        return rc;
    r->busy = true;
    r->device = *device;
    r->cb = cb;
    r->user = user;
    r->err = err;
    r->look = (struct blkdev_req){.op = BLKDEV_READ, .length = HEAD_BYTES, .buf = r->head};
    const int sent = blkdev_submit(device->dev, &r->look, attach_looked);
    if (sent) {
        r->busy = false;
        return ps_error_set(err, sent, "%s cannot be read", device->name);
    }
    return 0;
}

/* ---- detach */

static void detached(struct array *a, int status)
{
    attach_end(a->rebuild, status);
}

int array_detach(struct array *a, const char *name, array_cb cb, void *user, struct ps_error *err)
{
    if (!a->m)
        return ps_error_set(err, PS_EPRECONDITION,
                            "segments are spread here without parity: no device can be spared");
    struct array_rebuild *r = rebuild_of(a);
    if (!r)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    if (r->busy || a->label_busy || a->label_done)
        return ps_error_set(err, PS_EUNAVAILABLE, "another device is being attached or taken out");
    unsigned i = 0;
    while (i < a->n &&
           (a->label.member[i].state == ARRAY_OUT || strcmp(a->label.member[i].name, array_name(name)) != 0))
        i++;
    if (i == a->n)
        return ps_error_set(err, PS_ENOTFOUND, "no device of the array that is in use is named %s", name);
    if (a->label.member[i].state == ARRAY_IN && array_lost(a) >= a->m)
        return ps_error_set(
            err, PS_EPRECONDITION,
            "%u devices are lost or being rebuilt, and parity makes up for no more: attach another "
            "one first",
            array_lost(a));
    r->busy = true;
    r->cb = cb;
    r->user = user;
    r->err = err;
    a->label.member[i].state = ARRAY_OUT;
    a->label.member[i].rebuilt = 0;
    free(a->member[i].synced);
    a->member[i].synced = NULL;
    array_event(a, "device.detached", "%.80s was taken out; parity makes up for %u more", name,
                a->m - array_lost(a));
    a->label_done = detached;
    array_write_labels(a);
    return 0;
}
