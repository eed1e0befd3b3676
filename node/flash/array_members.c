/* Devices that come and go while the array is in use.
 *
 * Attach. With parity a device takes the place of one that is out, and is rebuilt (array_rebuild.c). Without,
 * it gets a place of its own (array_grow.c): its own label first says so durably, then those of the others.
 * In between it is a member for an opening that sees it, which then tells the others, and unknown to one that
 * does not. Nothing is in its segments before both are done.
 *
 * Detach. With parity at once. Without, when whoever is above has emptied its segments: the others' labels
 * say durably that it is gone, then its head is made blank. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/prng.h"
#include "node/flash/array_impl.h"

enum {
    PARTS_MIN = 4, /* of a device */
};

struct array_change {
    struct array *a;
    bool busy;
    struct array_device device;
    uint8_t *head;
    struct blkdev_req req;
    unsigned target;
    struct array_label next; /* spread: with the device in it, */
    struct place_of *places; /* and where segments are then */
    array_cb cb;
    void *user;
    struct ps_error *err;
};

static struct array_change *change_of(struct array *a)
{
    if (a->change)
        return a->change;
    struct array_change *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    a->change = c;
    c->a = a;
    c->head = aligned_alloc(BLKDEV_ALIGN, ARRAY_HEAD_BYTES);
    assert(c->head && "out of memory");
    return c;
}

void change_free(struct array *a)
{
    struct array_change *c = a->change;
    if (!c)
        return;
    free(c->places);
    free(c->head);
    free(c);
    a->change = NULL;
}

bool change_rests(const struct array *a)
{
    return !a->change || !a->change->busy;
}

static bool begin(struct array_change *c, array_cb cb, void *user, struct ps_error *err)
{
    if (c->busy || c->a->label_busy || c->a->label_done)
        return false;
    c->busy = true;
    c->cb = cb;
    c->user = user;
    c->err = err;
    return true;
}

static void end(struct array_change *c, int status)
{
    const array_cb cb = c->cb;
    free(c->places);
    c->places = NULL;
    c->busy = false;
    cb(c->user, status);
}

/* Outside of array.c's turn behind labels, which does the same. A close that waits for it may end here, and
 * the array with it. */
static void end_alone(struct array_change *c, int status)
{
    struct array *a = c->a;
    end(c, status);
    if (a->closing && a->m)
        close_turn(a);
    else if (a->closing)
        spread_close(a);
    else if (a->m)
        rebuild_kick(a);
}

/* ---- what is on the device */

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

/* A blank device, or a former member. */
static int look(struct array_change *c, bool *blank, struct array_label *label)
{
    const struct array *a = c->a;
    struct ps_error error = {0};
    const int rc = array_head_look(c->head, blank, label, &error);
    if (*blank)
        return 0;
    if (rc == PS_ENOTFOUND)
        return ps_error_set(
            c->err, rc,
            "%s holds something; it is left alone (to use the device, overwrite its first MiB with zeroes)",
            c->device.name);
    if (rc)
        return ps_error_set(c->err, rc, "%s: %s", c->device.name, error.detail);
    if (memcmp(label->array, a->label.array, 16))
        return ps_error_set(c->err, PS_EPRECONDITION, "%s belongs to another array", c->device.name);
    for (unsigned i = 0; i < a->n; i++)
        if (a->label.member[i].state != ARRAY_OUT && a->label.member[i].state != ARRAY_FREE &&
            memcmp(a->label.member[i].id, label->member[label->self].id, 16) == 0)
            return ps_error_set(c->err, PS_EPRECONDITION, "%s is a copy of %s, which is in use",
                                c->device.name, a->label.member[i].name);
    return 0;
}

static void set_identity(const struct array *a, struct array_change *c, struct array_member_label *l)
{
    struct prng p;
    prng_seed(&p, a->config.seed[0] ^ prng_mix(a->config.seed[1] ^ a->label.number));
    prng_fill(&p, l->id, sizeof l->id);
    (void)snprintf(l->name, sizeof l->name, "%s", array_name(c->device.name));
}

/* ---- attach, with parity */

static void coded_attached(struct array *a, int status)
{
    struct array_change *c = a->change;
    const bool taken = a->label.member[c->target].state == ARRAY_REBUILDING;
    if (status == 0 && !taken)
        status = ps_error_set(c->err, PS_EIO, "%s cannot be written", c->device.name);
    if (status == 0) {
        array_event(a, "device.attached", "%.80s takes the place of device %u, and is being rebuilt",
                    c->device.name, c->target + 1);
        a->list_wanted = true;
        list_write(a);
    }
    end(c, status);
}

static int coded_take(struct array_change *c, const struct array_label *former)
{
    struct array *a = c->a;
    const int at = place_for(a, former);
    if (at < 0)
        return ps_error_set(c->err, PS_EPRECONDITION,
                            "no device of the array is lost or taken out: with parity it keeps its %u "
                            "devices, and becomes larger when each has been replaced by a larger one",
                            a->n);
    struct array_member_label *l = &a->label.member[at];
    const uint32_t parts = array_parts_of(c->device.dev, a->part_bytes);
    c->target = (unsigned)at;
    a->member[at] = (struct member){.dev = c->device.dev};
    set_identity(a, c, l);
    rebuild_begin(a, c->target);
    l->state = ARRAY_REBUILDING;
    /* It counts for more only when it is in. */
    l->segments = parts < l->segments ? parts : l->segments;
    a->label_done = coded_attached;
    array_write_labels(a);
    return 0;
}

/* ---- attach, spread */

static void spread_attached(struct array *a, int status)
{
    struct array_change *c = a->change;
    const struct array_member_label *l = &a->label.member[c->target];
    if (status == 0) {
        array_set_geometry(a);
        array_event(a, "device.attached", "%.80s: the pool's device is larger by %llu MiB", c->device.name,
                    (unsigned long long)l->held * (a->segment_bytes >> 20));
    } else {
        (void)ps_error_set(
            c->err, status,
            "a device's label cannot be written; some may know %s already: name it, too, if the "
            "next start says that it is missing",
            c->device.name);
    }
    end(c, status);
}

static void own_label_written(struct blkdev_req *req, int status)
{
    struct array_change *c = container_of(req, struct array_change, req);
    struct array *a = c->a;
    if (status == 0 && (a->failed || a->label_busy))
        status = ps_error_set(c->err, PS_EIO, "the array has failed meanwhile");
    else if (status)
        (void)ps_error_set(c->err, status, "%s cannot be written", c->device.name);
    if (status) {
        if (!a->label_busy)
            a->label.number = c->next.number; /* it may be there: the others' next one is newer */
        end_alone(c, status);
        return;
    }
    a->label = c->next;
    a->n = a->label.members;
    a->k = a->n;
    a->member[c->target] = (struct member){.dev = c->device.dev};
    free(a->places);
    a->places = c->places;
    c->places = NULL;
    a->segments = array_label_segments(&a->label);
    a->label_done = spread_attached;
    array_write_labels(a);
}

static int spread_take(struct array_change *c, const struct array_label *former)
{
    struct array *a = c->a;
    struct array_label *l = &c->next;
    const int rc =
        spread_label_with(&a->label, array_parts_of(c->device.dev, a->segment_bytes), l, &c->target, c->err);
    if (rc)
        return rc;
    set_identity(a, c, &l->member[c->target]);
    l->self = (uint8_t)c->target;
    /* Higher than what it had; and the others' next one goes to the place of their older one. */
    l->number += 2;
    if (former && former->number >= l->number)
        l->number += (former->number - l->number) / 2 * 2 + 2;
    c->places = spread_places(l);
    if (!c->places)
        return ps_error_set(c->err, PS_ENOMEM, "out of memory");
    array_label_encode(l, c->head);
    c->req = (struct blkdev_req){.op = BLKDEV_WRITE,
                                 .flags = BLKDEV_FUA,
                                 .offset = ARRAY_LABEL_AT + l->number % 2 * ARRAY_BLOCK_BYTES,
                                 .length = ARRAY_BLOCK_BYTES,
                                 .buf = c->head};
    if (blkdev_submit(c->device.dev, &c->req, own_label_written))
        return ps_error_set(c->err, PS_EIO, "%s cannot be written", c->device.name);
    return 0;
}

/* ---- attach */

static void looked(struct blkdev_req *req, int status)
{
    struct array_change *c = container_of(req, struct array_change, req);
    struct array *a = c->a;
    struct array_label former;
    bool blank = false;
    if (status)
        status = ps_error_set(c->err, status, "%s cannot be read", c->device.name);
    else
        status = look(c, &blank, &former);
    if (status == 0 && (a->failed || a->label_busy || a->label_done))
        status = ps_error_set(c->err, PS_EUNAVAILABLE, "the array is busy with a lost device; try again");
    if (status == 0)
        status = a->m ? coded_take(c, blank ? NULL : &former) : spread_take(c, blank ? NULL : &former);
    if (status)
        end_alone(c, status);
}

int array_attach(struct array *a, const struct array_device *device, array_cb cb, void *user,
                 struct ps_error *err)
{
    struct array_change *c = change_of(a);
    if (!c)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    const int rc = array_fits(a, device, a->m ? a->segments : PARTS_MIN, err);
    if (rc)
        return rc;
    if (a->leaving != ARRAY_NOBODY || !begin(c, cb, user, err))
        return ps_error_set(err, PS_EUNAVAILABLE, "another device is being attached or taken out");
    c->device = *device;
    c->req = (struct blkdev_req){.op = BLKDEV_READ, .length = ARRAY_HEAD_BYTES, .buf = c->head};
    const int sent = blkdev_submit(device->dev, &c->req, looked);
    if (sent) {
        c->busy = false;
        return ps_error_set(err, sent, "%s cannot be read", device->name);
    }
    return 0;
}

/* ---- detach */

/* By the name that labels have. */
static unsigned find(const struct array *a, const char *name)
{
    unsigned i = 0;
    while (i < a->n && (a->label.member[i].state == ARRAY_OUT || a->label.member[i].state == ARRAY_FREE ||
                        strcmp(a->label.member[i].name, array_name(name)) != 0))
        i++;
    return i;
}

static int not_found(const char *name, struct ps_error *err)
{
    return ps_error_set(err, PS_ENOTFOUND, "no device of the array that is in use is named %s", name);
}

static void coded_detached(struct array *a, int status)
{
    end(a->change, status);
}

static int coded_detach(struct array_change *c, const char *name, unsigned i, struct ps_error *err)
{
    struct array *a = c->a;
    if (a->label.member[i].state == ARRAY_IN && array_lost(a) >= a->m)
        return ps_error_set(
            err, PS_EPRECONDITION,
            "%u devices are lost or being rebuilt, and parity makes up for no more: attach another "
            "one first",
            array_lost(a));
    a->label.member[i].state = ARRAY_OUT;
    rebuild_end(a, i);
    array_event(a, "device.detached", "%.80s was taken out; parity makes up for %u more", name,
                a->m - array_lost(a));
    a->label_done = coded_detached;
    array_write_labels(a);
    return 0;
}

/* A device that cannot be made blank keeps a label that the others' newer ones do not know. */
static void told(struct array_change *c, int status)
{
    c->a->leaving = ARRAY_NOBODY;
    array_event(c->a, "device.detached", "%.80s was taken out%s", c->device.name,
                status ? ", and cannot be made blank" : "");
}

static void blanked(struct blkdev_req *req, int status)
{
    struct array_change *c = container_of(req, struct array_change, req);
    told(c, status);
    end_alone(c, 0);
}

static void spread_detached(struct array *a, int status)
{
    struct array_change *c = a->change;
    struct blkdev *dev = a->member[c->target].dev;
    if (status) {
        a->leaving = ARRAY_NOBODY;
        end(c, status);
        return;
    }
    array_set_geometry(a);
    memset(c->head, 0, ARRAY_HEAD_BYTES);
    c->req = (struct blkdev_req){
        .op = BLKDEV_WRITE, .flags = BLKDEV_FUA, .length = ARRAY_HEAD_BYTES, .buf = c->head};
    if (blkdev_submit(dev, &c->req, blanked)) {
        told(c, PS_EIO);
        end(c, 0);
    }
}

static int spread_detach(struct array_change *c, unsigned i, struct ps_error *err)
{
    struct array *a = c->a;
    assert(a->leaving == i && "it has been emptied");
    c->next = a->label;
    c->next.member[i].state = ARRAY_FREE;
    c->next.member[i].held = 0;
    struct place_of *places = spread_places(&c->next);
    if (!places)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    c->target = i;
    c->device = (struct array_device){a->member[i].dev, a->label.member[i].name};
    free(a->places);
    a->places = places;
    a->label = c->next;
    a->label_done = spread_detached;
    array_write_labels(a);
    return 0;
}

int array_detach(struct array *a, const char *name, array_cb cb, void *user, struct ps_error *err)
{
    struct array_change *c = change_of(a);
    const unsigned i = find(a, name);
    if (!c)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    if (i == a->n)
        return not_found(name, err);
    if (!begin(c, cb, user, err))
        return ps_error_set(err, PS_EUNAVAILABLE, "another device is being attached or taken out");
    const int rc = a->m ? coded_detach(c, name, i, err) : spread_detach(c, i, err);
    c->busy = rc == 0;
    return rc;
}

int array_leave(struct array *a, const char *name, struct ps_error *err)
{
    assert(a->m == 0);
    const unsigned i = find(a, name);
    if (i == a->n)
        return not_found(name, err);
    if (a->failed)
        return ps_error_set(err, PS_EIO, "the array has failed: nothing can be moved");
    if (a->leaving != ARRAY_NOBODY || !change_rests(a))
        return ps_error_set(err, PS_EUNAVAILABLE, "another device is being attached or taken out");
    if (array_used(&a->label) == 1)
        return ps_error_set(err, PS_EPRECONDITION, "%s is the only device of the pool", name);
    for (uint32_t s = 0; s < ARRAY_SYSTEM_SEGMENTS; s++)
        if (a->places[s].member == i)
            return ps_error_set(err, PS_EPRECONDITION,
                                "%s holds the pool's label or anchors, which stay where they are: it cannot "
                                "be taken out",
                                name);
    a->leaving = i;
    return 0;
}

void array_stay(struct array *a)
{
    a->leaving = ARRAY_NOBODY;
}

bool array_leaves(const struct array *a, uint64_t offset, uint64_t length)
{
    for (uint64_t s = offset / a->segment_bytes; s <= (offset + length - 1) / a->segment_bytes; s++)
        if (a->leaving != ARRAY_NOBODY && a->places[s].member == a->leaving)
            return true;
    return false;
}
