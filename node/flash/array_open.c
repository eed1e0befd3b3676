/* Opening: which of the devices named are the array's, whichever way they are ordered; a new array when all
 * are blank; and what a power cut left is made right before anybody reads it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/prng.h"
#include "node/flash/array_impl.h"

enum {
    HEAD_BYTES = 1 << 20, /* of each device is looked at */
    SEGMENT_BYTES_DEFAULT = 8 << 20,
};

enum found {
    FOUND_NOTHING, /* could not be opened or read */
    FOUND_BLANK,
    FOUND_OTHER,
    FOUND_LABEL,
    FOUND_DAMAGED,
};

struct candidate {
    struct array_device as;
    enum found found;
    struct array_label label;
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

static bool all_zero(const uint8_t *p, size_t n)
{
    return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

int array_head_look(const uint8_t *head, bool *blank, struct array_label *label, struct ps_error *err)
{
    int rc = PS_ENOTFOUND;
    *blank = all_zero(head, HEAD_BYTES);
    for (unsigned i = 0; i < 2; i++) {
        struct array_label l;
        struct ps_error error;
        const int decoded = array_label_decode(head + ARRAY_LABEL_AT + i * ARRAY_BLOCK_BYTES, &l, &error);
        if (decoded == 0 && (rc || l.number > label->number)) {
            *label = l;
            rc = 0;
        } else if (decoded != PS_ENOTFOUND && rc == PS_ENOTFOUND) {
            *err = error;
            rc = decoded;
        }
    }
    return rc;
}

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

static uint64_t parts_of(const struct blkdev *dev, uint64_t part_bytes)
{
    const uint64_t size = dev->geometry.size_bytes;
    const uint64_t parts = size > ARRAY_HEADER_BYTES ? (size - ARRAY_HEADER_BYTES) / part_bytes : 0;
    return parts < UINT32_MAX / 2 ? parts : UINT32_MAX / 2;
}

static uint64_t part_bytes_of(const struct array_label *l)
{
    if (!l->parity)
        return l->segment_bytes;
    const uint32_t row = (uint32_t)(l->members - l->parity) * l->unit_bytes;
    return (uint64_t)((l->segment_bytes + row - 1) / row) * l->unit_bytes;
}

int array_fits(const struct array *a, const struct array_device *device, uint32_t segments,
               struct ps_error *err)
{
    const struct blkdev_geometry *g = &device->dev->geometry;
    const uint64_t part = part_bytes_of(&a->label);
    if (g->zoned)
        return ps_error_set(err, PS_EINVAL, "%s is zoned: it can be a pool alone, not one of several devices",
                            device->name);
    if (g->read_unit > ARRAY_BLOCK_BYTES || g->write_unit > ARRAY_BLOCK_BYTES ||
        g->max_io_bytes < ARRAY_IO_BYTES + 2 * ARRAY_UNIT_MAX)
        return ps_error_set(err, PS_EINVAL, "%s reads or writes in units that an array does not know",
                            device->name);
    if (parts_of(device->dev, part) < segments)
        return ps_error_set(
            err, PS_EINVAL, "%s has %llu bytes, and its part of the array needs at least %llu", device->name,
            (unsigned long long)g->size_bytes, (unsigned long long)(ARRAY_HEADER_BYTES + segments * part));
    return 0;
}

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

/* Of too long a path the end tells more. */
const char *array_name(const char *path)
{
    const size_t length = strlen(path);
    return length < ARRAY_NAME_BYTES ? path : path + length - (ARRAY_NAME_BYTES - 1);
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
        a->label.member[i].segments = (uint32_t)parts_of(c->as.dev, part_bytes_of(&a->label));
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

/* Puts devices in their places. */
static int place_members(struct array *a)
{
    struct array_opening *o = a->opening;
    const struct array_label *l = &a->label;
    for (unsigned i = 0; i < o->count; i++) {
        const struct candidate *c = &o->candidate[i];
        if (c->found == FOUND_BLANK)
            array_event(a, "device.unused", "%.100s is blank: attach it to have it in the array", c->as.name);
        if (c->found != FOUND_LABEL)
            continue;
        const int at = member_by_id(l, c->label.member[c->label.self].id);
        if (at < 0 || l->member[at].state == ARRAY_OUT) {
            array_event(a, "device.unused",
                        "%.100s was taken out of the array, or lost: attach it to use it again", c->as.name);
            continue;
        }
        if (a->member[at].dev)
            return ps_error_set(&o->local, PS_EPRECONDITION,
                                "%s and %s are copies of one device of the array", l->member[at].name,
                                c->as.name);
        const int rc = array_fits(a, &c->as, l->member[at].segments, &o->local);
        if (rc)
            return rc;
        a->member[at].dev = c->as.dev;
        set_name(a, (unsigned)at, c->as.name);
    }
    return 0;
}

/* Who is not there is out, if that was to be expected and parity makes up for it. */
static int count_missing(struct array *a)
{
    struct array_opening *o = a->opening;
    unsigned missing = 0, explained = 0, lost = 0, first = 0;
    for (unsigned i = 0; i < o->count; i++)
        explained += o->candidate[i].found == FOUND_NOTHING || o->candidate[i].found == FOUND_BLANK;
    for (unsigned i = 0; i < a->label.members; i++) {
        const bool absent = a->label.member[i].state == ARRAY_IN && !a->member[i].dev;
        if (absent && !missing++)
            first = i;
        lost += a->label.member[i].state != ARRAY_IN || absent;
    }
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
        if (!a->member[i].dev && a->label.member[i].state != ARRAY_OUT) {
            a->label.member[i].state = ARRAY_OUT;
            a->label.member[i].rebuilt = 0;
            array_event(a, "device.lost", "%.80s is missing; parity makes up for it, and for %u more",
                        a->label.member[i].name, a->m - array_lost(a));
        }
    rc = rebuild_restore(a);
    if (rc)
        return ps_error_set(&o->local, rc, "out of memory");
    a->label_done = labelled;
    array_write_labels(a);
    return 0;
}

static int decide(struct array *a)
{
    struct array_opening *o = a->opening;
    const struct candidate *newest = NULL, *absent = NULL;
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
    if (o->count < 2 || o->count <= a->config.parity)
        return ps_error_set(&o->local, PS_EINVAL, "%u devices are too few for an array with %u of parity",
                            o->count, a->config.parity);
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
            c->found = blank                ? FOUND_BLANK
                       : rc == 0            ? FOUND_LABEL
                       : rc == PS_ENOTFOUND ? FOUND_OTHER
                                            : FOUND_DAMAGED;
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
