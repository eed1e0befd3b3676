/* Opening: which of the devices named are the array's, whichever way they are ordered; a new array when all
 * are blank; and what a power cut left is made right before anybody reads it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/prng.h"
#include "node/flash/anchor.h"
#include "node/flash/array_impl.h"

enum {
    HEAD_BYTES = ARRAY_HEAD_BYTES,
    SEGMENT_BYTES_DEFAULT = 8 << 20,
    NUMBERS_APART =
        1 << 10, /* of two openings' labels, at least; even, so that the older ones are replaced */
};

enum found {
    FOUND_NOTHING, /* could not be opened or read */
    FOUND_BLANK,
    FOUND_OTHER,
    FOUND_POOL, /* by itself */
    FOUND_LABEL,
    FOUND_DAMAGED,
};

struct candidate {
    struct array_device as;
    enum found found;
    struct array_label label;
    struct pool_label pool;
    struct ps_error error;
    uint8_t *head;
};

struct array_opening {
    struct candidate candidate[ARRAY_MEMBERS_MAX];
    unsigned count;
    struct array_io io;
    array_cb cb;
    void *user;
    struct ps_error *err, local;
    struct array_unsettled list;
    bool resync;
};

void array_opening_free(struct array *a)
{
    struct array_opening *o = a->opening;
    if (!o)
        return;
    for (unsigned i = 0; i < o->count; i++)
        free(o->candidate[i].head);
    io_free(&o->io);
    free(o);
    a->opening = NULL;
}

static void finish(struct array *a, int status)
{
    struct array_opening *o = a->opening;
    const array_cb cb = o->cb;
    void *user = o->user;
    if (status) {
        if (!o->local.detail[0])
            (void)ps_error_set(&o->local, status, "%s", ps_status_text(status));
        *o->err = o->local;
    }
    a->open = status == 0;
    array_opening_free(a);
    cb(user, status);
}

/* ---- looking */

static void find_list(const struct array *a, const uint8_t *head, struct array_unsettled *list)
{
    for (unsigned i = 0; i < 2; i++) {
        struct array_unsettled l;
        if (array_unsettled_decode(head + ARRAY_UNSETTLED_AT + i * ARRAY_BLOCK_BYTES, &l, NULL) == 0 &&
            memcmp(l.array, a->label.array, 16) == 0 && l.number >= list->number)
            *list = l;
    }
}

/* ---- a new array */

static void make_label(struct array *a)
{
    struct array_opening *o = a->opening;
    struct array_label *l = &a->label;
    struct prng p;
    prng_seed(&p, a->config.seed[0] ^ prng_mix(a->config.seed[1]));
    *l = (struct array_label){
        .segment_bytes = a->config.segment_bytes ? a->config.segment_bytes : SEGMENT_BYTES_DEFAULT,
        .unit_bytes = a->config.unit_bytes ? a->config.unit_bytes : ARRAY_UNIT_MAX,
        .members = (uint8_t)o->count,
        .parity = (uint8_t)a->config.parity,
    };
    prng_fill(&p, l->array, sizeof l->array);
    for (unsigned i = 0; i < o->count; i++)
        prng_fill(&p, l->member[i].id, sizeof l->member[i].id);
}

static void set_name(struct array *a, unsigned member, const char *name)
{
    (void)snprintf(a->label.member[member].name, ARRAY_NAME_BYTES, "%s", array_name(name));
}

static void labelled(struct array *a, int status);

/* Labels of number 1 are those of an array that is being made: whoever finds no higher one makes it anew. */
static void made(struct array *a, int status)
{
    if (status) {
        finish(a, status);
        return;
    }
    a->label_done = labelled;
    array_write_labels(a);
}

static void blanked(struct array_io *io)
{
    struct array *a = io->a;
    if (io->failed) {
        (void)ps_error_set(&a->opening->local, PS_EIO, "a device cannot be written");
        finish(a, PS_EIO);
        return;
    }
    a->label_done = made;
    array_write_labels(a);
}

/* The first MiB of the first segments reads as zeroes: whoever opens the array finds it blank. The labels
 * come last: until then a device is not a member. */
static void make_blank(struct array *a)
{
    struct array_opening *o = a->opening;
    uint8_t *zeroes = o->candidate[0].head;
    memset(zeroes, 0, HEAD_BYTES);
    io_begin(&o->io);
    for (uint32_t s = 0; s < ARRAY_SYSTEM_SEGMENTS; s++)
        for (unsigned i = 0; i < a->n; i++) {
            uint64_t bytes = HEAD_BYTES, at = part_at(a, s);
            if (a->m)
                bytes = (uint64_t)(HEAD_BYTES / a->row_bytes + 1) * a->unit;
            else if (a->places[s].member != i)
                continue;
            else
                at = ARRAY_HEADER_BYTES + (uint64_t)a->places[s].part * a->segment_bytes;
            if (bytes > a->part_bytes)
                bytes = a->part_bytes;
            for (uint64_t done = 0; done < bytes; done += HEAD_BYTES)
                io_send(&o->io, i, BLKDEV_WRITE, BLKDEV_FUA, at + done,
                        (uint32_t)(bytes - done < HEAD_BYTES ? bytes - done : HEAD_BYTES), zeroes);
        }
    (void)io_end(&o->io);
}

static int make_array(struct array *a)
{
    struct array_opening *o = a->opening;
    make_label(a);
    for (unsigned i = 0; i < o->count; i++) {
        const struct candidate *c = &o->candidate[i];
        const int rc = array_fits(a, &c->as, ARRAY_SYSTEM_SEGMENTS, &o->local);
        if (rc)
            return rc;
        struct array_member_label *l = &a->label.member[i];
        l->segments = array_parts_of(c->as.dev, array_part_bytes(&a->label));
        l->held = a->label.parity ? 0 : l->segments;
        a->member[i].dev = c->as.dev;
        set_name(a, i, c->as.name);
    }
    const int rc = array_make_room(a);
    if (rc)
        return ps_error_set(&o->local, rc, "out of memory");
    o->io.done = blanked;
    make_blank(a);
    return 0;
}

/* ---- one that exists */

static void listed(struct array *a)
{
    finish(a, a->failed ? PS_EIO : 0);
}

static void settle_list(struct array *a)
{
    a->list_number = a->opening->list.number;
    a->list_wanted = true;
    a->list_settled = listed;
    list_write(a);
}

static void resynced(struct array *a, int status)
{
    if (status) {
        (void)ps_error_set(&a->opening->local, status, "rows that a power cut left cannot be made right");
        finish(a, status);
        return;
    }
    if (a->resynced_rows && !a->config.look_only)
        array_event(a, "array.resynced",
                    "after a power cut the parity of %llu rows was written anew, and %llu units of data",
                    (unsigned long long)a->resynced_rows, (unsigned long long)a->righted_units);
    settle_list(a);
}

static void labelled(struct array *a, int status)
{
    struct array_opening *o = a->opening;
    if (status) {
        finish(a, status);
        return;
    }
    if (!a->m) {
        finish(a, 0);
        return;
    }
    a->unsettled_found = o->list.count;
    if (o->list.count == 0) {
        settle_list(a);
        return;
    }
    status = resync_start(a, &o->list, resynced);
    if (status)
        resynced(a, status);
}

static int member_by_id(const struct array_label *l, const uint8_t id[16])
{
    for (unsigned i = 0; i < l->members; i++)
        if (memcmp(l->member[i].id, id, 16) == 0)
            return (int)i;
    return -1;
}

/* The member that is a pool by itself as yet: power went when the first device was attached to it. */
static int member_of_pool(const struct array_label *l, const struct candidate *c)
{
    const int at = c->found == FOUND_POOL ? member_by_id(l, c->pool.pool) : -1;
    return at >= 0 && l->member[at].bare ? at : -1;
}

static int place_member(struct array *a, const struct candidate *c, unsigned at)
{
    struct array_opening *o = a->opening;
    struct array_member_label *l = &a->label.member[at];
    if (a->member[at].dev)
        return ps_error_set(&o->local, PS_EPRECONDITION, "%s and %s are copies of one device of the array",
                            l->name, c->as.name);
    if (c->found == FOUND_POOL && c->pool.segment_count > l->segments)
        return ps_error_set(&o->local, PS_EPRECONDITION,
                            "the pool on %s has become larger by itself since another device began to be "
                            "attached to it: name it alone, and attach that one again",
                            c->as.name);
    const int rc = l->bare ? array_fits_bare(a, &c->as, l->held, &o->local)
                           : array_fits(a, &c->as, a->label.parity ? l->segments : l->held, &o->local);
    if (rc)
        return rc;
    a->member[at].dev = c->as.dev;
    set_name(a, at, c->as.name);
    if (a->label.parity && l->state == ARRAY_IN)
        l->segments = array_parts_of(c->as.dev, array_part_bytes(&a->label));
    return 0;
}

/* Puts devices in their places. */
static int place_members(struct array *a)
{
    struct array_opening *o = a->opening;
    const struct array_label *l = &a->label;
    int rc = 0;
    for (unsigned i = 0; i < o->count && rc == 0; i++) {
        const struct candidate *c = &o->candidate[i];
        if (c->found == FOUND_BLANK)
            array_event(a, "device.unused", "%.100s is blank: attach it to have it in the array", c->as.name);
        if (c->found != FOUND_LABEL && c->found != FOUND_POOL)
            continue;
        const int at = c->found == FOUND_POOL ? member_of_pool(l, c)
                                              : member_by_id(l, c->label.member[c->label.self].id);
        if (at < 0 || l->member[at].state == ARRAY_OUT || l->member[at].state == ARRAY_FREE)
            array_event(a, "device.unused",
                        "%.100s was taken out of the array, or lost: attach it to use it again", c->as.name);
        else
            rc = place_member(a, c, (unsigned)at);
    }
    return rc;
}

/* Without parity all are needed: which, as far as there is room to say. */
static int all_are_needed(struct array *a, unsigned missing)
{
    char names[200] = "";
    size_t length = 0;
    for (unsigned i = 0; i < a->label.members; i++)
        if (a->label.member[i].state == ARRAY_IN && !a->member[i].dev) {
            const char *name = a->label.member[i].name;
            const bool fits = length + strlen(name) + 6 < sizeof names;
            length += (size_t)snprintf(names + length, sizeof names - length, "%s%s", length ? " " : "",
                                       fits ? name : "...");
            if (!fits)
                break;
        }
    return ps_error_set(&a->opening->local, PS_EPRECONDITION,
                        "%u of the pool's %u devices %s missing, name them all: %s", missing,
                        array_used(&a->label), missing == 1 ? "is" : "are", names);
}

/* Who is not there is out, if that was to be expected and parity makes up for it. */
static int count_missing(struct array *a)
{
    struct array_opening *o = a->opening;
    unsigned missing = 0, explained = 0, lost = 0, first = 0;
    for (unsigned i = 0; i < o->count; i++)
        explained += o->candidate[i].found == FOUND_NOTHING || o->candidate[i].found == FOUND_BLANK;
    for (unsigned i = 0; i < a->label.members; i++) {
        const uint8_t state = a->label.member[i].state;
        const bool absent = state == ARRAY_IN && !a->member[i].dev;
        if (absent && !missing++)
            first = i;
        lost += (state != ARRAY_IN && state != ARRAY_FREE) || absent;
    }
    if (missing && !a->label.parity)
        return all_are_needed(a, missing);
    if (missing > explained)
        return ps_error_set(&o->local, PS_EPRECONDITION,
                            "%u of the array's %u devices are missing, name them all: the first was %s",
                            missing, a->label.members, a->label.member[first].name);
    if (lost > a->label.parity)
        return ps_error_set(&o->local, PS_EPRECONDITION,
                            "%u of the array's %u devices are lost (%s is missing): parity makes up for %u",
                            lost, a->label.members, a->label.member[first].name, a->label.parity);
    return 0;
}

static int open_labelled(struct array *a, const struct candidate *newest)
{
    struct array_opening *o = a->opening;
    a->label = newest->label;
    if (a->config.parity_asked && a->config.parity != a->label.parity)
        return ps_error_set(
            &o->local, PS_EINVAL,
            "the array was made with %u parity devices, the settings ask for %u: it cannot change",
            a->label.parity, a->config.parity);
    int rc = place_members(a);
    if (rc == 0)
        rc = count_missing(a);
    if (rc)
        return rc;
    rc = array_make_room(a);
    if (rc)
        return ps_error_set(&o->local, rc, "out of memory");
    for (unsigned i = 0; i < o->count; i++)
        if (o->candidate[i].found == FOUND_LABEL && array_holds(a, o->candidate[i].as.dev))
            find_list(a, o->candidate[i].head, &o->list);
    for (unsigned i = 0; i < a->n; i++)
        if (!a->member[i].dev && a->label.member[i].state != ARRAY_OUT &&
            a->label.member[i].state != ARRAY_FREE) {
            a->label.member[i].state = ARRAY_OUT;
            a->label.member[i].rebuilt = 0;
            array_event(a, "device.lost", "%.80s is missing; parity makes up for it, and for %u more",
                        a->label.member[i].name, a->m - array_lost(a));
        }
    rc = rebuild_restore(a);
    if (rc)
        return ps_error_set(&o->local, rc, "out of memory");
    /* Newer than what power cuts left on devices that are not here: changes that the others never heard of.
     */
    a->label.number += NUMBERS_APART;
    a->label_done = labelled;
    array_write_labels(a);
    return 0;
}

/* ---- a pool by itself that becomes one */

static int adopt(struct array *a)
{
    struct array_opening *o = a->opening;
    const struct candidate *c = &o->candidate[0];
    if (c->found != FOUND_POOL)
        return ps_error_set(&o->local, PS_EPRECONDITION, "%s: the pool's label cannot be read there",
                            c->as.name);
    const uint64_t segments = c->as.dev->geometry.size_bytes / c->pool.segment_bytes;
    /* Number 1 would be an array that is being made. */
    a->label = (struct array_label){
        .number = 1, .segment_bytes = c->pool.segment_bytes, .unit_bytes = ARRAY_UNIT_MAX, .members = 1};
    struct array_member_label *l = &a->label.member[0];
    *l = (struct array_member_label){.behind = true, .bare = true};
    l->segments = l->held = segments < UINT32_MAX / 2 ? (uint32_t)segments : UINT32_MAX / 2;
    memcpy(a->label.array, c->pool.pool, sizeof a->label.array);
    memcpy(l->id, c->pool.pool, sizeof l->id);
    int rc = array_fits_bare(a, &c->as, c->pool.segment_count, &o->local);
    if (rc)
        return rc;
    a->member[0].dev = c->as.dev;
    set_name(a, 0, c->as.name);
    rc = array_make_room(a);
    if (rc)
        return ps_error_set(&o->local, rc, "out of memory");
    finish(a, 0);
    return 0;
}

/* ---- which of these */

static int decide(struct array *a)
{
    struct array_opening *o = a->opening;
    const struct candidate *newest = NULL, *absent = NULL;
    if (a->config.adopt)
        return adopt(a);
    for (unsigned i = 0; i < o->count; i++) {
        struct candidate *c = &o->candidate[i];
        if (c->found == FOUND_LABEL && (!newest || c->label.number > newest->label.number))
            newest = c;
        if (c->found == FOUND_NOTHING)
            absent = c;
    }
    for (unsigned i = 0; i < o->count; i++) {
        const struct candidate *c = &o->candidate[i];
        if (c->found == FOUND_DAMAGED)
            return ps_error_set(&o->local, c->error.status ? c->error.status : PS_EDAMAGED, "%.80s: %.160s",
                                c->as.name, c->error.detail);
        if (c->found == FOUND_POOL && (!newest || member_of_pool(&newest->label, c) < 0))
            return ps_error_set(&o->local, PS_EPRECONDITION,
                                "%s holds a pool that is no part of %s: name it alone, and attach the others "
                                "when the node serves",
                                c->as.name, newest ? "this array" : "an array");
        if (c->found == FOUND_OTHER)
            return ps_error_set(
                &o->local, PS_ENOTFOUND,
                "%s holds something that is no part of %s; it is left alone (to use the device, "
                "overwrite its first MiB with zeroes)",
                c->as.name, newest ? "this array" : "an array");
        if (c->found == FOUND_LABEL && newest->label.number > 1 &&
            memcmp(c->label.array, newest->label.array, 16))
            return ps_error_set(&o->local, PS_EPRECONDITION, "%s and %s belong to different arrays",
                                newest->as.name, c->as.name);
    }
    if (newest && newest->label.number > 1)
        return open_labelled(a, newest);
    if (a->config.look_only)
        return ps_error_set(&o->local, PS_ENOTFOUND, "these devices are no array: none has its label");
    if (absent)
        return ps_error_set(
            &o->local, PS_EPRECONDITION,
            "%s cannot be read, and the others are blank: a new array is made of all devices or "
            "not at all",
            absent->as.name);
    if (o->count < 2)
        return ps_error_set(&o->local, PS_EINVAL,
                            "an array of several devices was being made when %s was written last: name them "
                            "all, and it is made anew",
                            o->candidate[0].as.name);
    if (o->count <= a->config.parity)
        return ps_error_set(&o->local, PS_EINVAL, "%u of parity need %u devices or more, and %u are named",
                            a->config.parity, a->config.parity + 1, o->count);
    return make_array(a);
}

static void looked(struct array_io *io)
{
    struct array *a = io->a;
    struct array_opening *o = a->opening;
    for (unsigned i = 0; i < o->count; i++) {
        struct candidate *c = &o->candidate[i];
        bool blank;
        c->found = FOUND_NOTHING;
        if (c->as.dev && !(io->failed >> i & 1)) {
            const int rc = array_head_look(c->head, &blank, &c->label, &c->error);
            c->found = blank                                ? FOUND_BLANK
                       : rc == 0                            ? FOUND_LABEL
                       : rc != PS_ENOTFOUND                 ? FOUND_DAMAGED
                       : array_pool_look(c->head, &c->pool) ? FOUND_POOL
                                                            : FOUND_OTHER;
        }
        a->member[i] = (struct member){0};
    }
    const int rc = decide(a);
    if (rc)
        finish(a, rc);
}

int array_open(const struct array_device *devices, unsigned count, const struct array_config *config,
               array_cb cb, void *user, struct ps_error *err, struct array **out)
{
    bool any = false;
    for (unsigned i = 0; i < count && i < ARRAY_MEMBERS_MAX; i++)
        any |= devices[i].dev != NULL;
    if (!any)
        return ps_error_set(err, PS_ENOTFOUND, "none of the devices is there");
    if (count == 0 || count > ARRAY_MEMBERS_MAX)
        return ps_error_set(err, PS_EINVAL, "%u devices: an array has 2 to %d", count, ARRAY_MEMBERS_MAX);
    for (unsigned i = 0; i < count; i++)
        if (devices[i].dev && devices[i].dev->geometry.size_bytes < HEAD_BYTES)
            return ps_error_set(err, PS_EINVAL, "%s is too small for anything", devices[i].name);
    struct array *a = calloc(1, sizeof *a);
    struct array_opening *o = calloc(1, sizeof *o);
    if (!a || !o) {
        free(a);
        free(o);
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    }
    a->config = *config;
    a->opening = o;
    array_init(a);
    *o = (struct array_opening){.count = count, .cb = cb, .user = user, .err = err};
    io_init(a, &o->io, 4 * ARRAY_MEMBERS_MAX * (ARRAY_SYSTEM_SEGMENTS + 1), looked);
    a->n = count;
    *out = a;
    io_begin(&o->io);
    for (unsigned i = 0; i < count; i++) {
        struct candidate *c = &o->candidate[i];
        c->as = devices[i];
        c->head = aligned_alloc(BLKDEV_ALIGN, HEAD_BYTES);
        assert(c->head && "out of memory at start");
        a->member[i].dev = devices[i].dev;
        if (devices[i].dev)
            io_send(&o->io, i, BLKDEV_READ, 0, 0, HEAD_BYTES, c->head);
    }
    (void)io_end(&o->io);
    return 0;
}
