/* What a node's pod lies on: one disk, or an array of several. Devices of an array fail for good, give noise,
 * and are replaced by blank ones, never more of them at once than parity makes up for. */
#include "common/blkdev_fault.h"
#include "node/flash/array.h"
#include "tests/sim/world.h"

enum {
    UNIT_BYTES = 16 << 10,
    REBUILD_RATE = 16 << 20, /* so slow that something happens meanwhile */
    LOOK_MS = 50,            /* the most that counts between two looks */
    SETTLED_MS = 1000,       /* a device that is in is so by its label, too */
};

static const char *const names[SIM_DRIVES_MAX] = {"0", "1", "2", "3", "4", "5"};

bool on_array(const struct node *n)
{
    return n->w->scenario->array[n->index].parity > 0;
}

static void blank(struct node *n, unsigned i)
{
    struct drive *d = &n->drives[i];
    const struct scenario *s = n->w->scenario;
    struct blkdev_mem_options options = {.size_bytes = s->disk_bytes[n->index], .max_io_bytes = 1 << 20};
    if (on_array(n)) {
        const uint64_t row = (uint64_t)s->array[n->index].data * UNIT_BYTES;
        options.max_io_bytes = 0;
        options.size_bytes = ARRAY_HEADER_BYTES + s->disk_bytes[n->index] / SEGMENT_BYTES *
                                                      ((SEGMENT_BYTES + row - 1) / row * UNIT_BYTES);
    }
    if (d->fault)
        blkdev_destroy(d->fault);
    if (d->mem)
        blkdev_destroy(d->mem);
    *d = (struct drive){.mem = blkdev_mem_create(&options)};
    assert(d->mem);
    if (on_array(n)) {
        d->fault = blkdev_fault_create(d->mem);
        assert(d->fault);
    }
}

void drives_free(struct node *n)
{
    drives_close(n);
    for (unsigned i = 0; i < n->drive_count; i++) {
        if (n->drives[i].fault)
            blkdev_destroy(n->drives[i].fault);
        blkdev_destroy(n->drives[i].mem);
        n->drives[i] = (struct drive){0};
    }
    n->drive_count = 0;
}

void drives_new(struct node *n)
{
    const struct scenario *s = n->w->scenario;
    drives_free(n);
    n->drive_count = on_array(n) ? s->array[n->index].data + s->array[n->index].parity : 1;
    for (unsigned i = 0; i < n->drive_count; i++)
        blank(n, i);
    n->mend = false;
}

/* ---- power, and what is under way */

void drives_cut(struct node *n, enum blkdev_mem_cut mode)
{
    for (unsigned i = 0; i < n->drive_count; i++) {
        blkdev_mem_power_cut(n->drives[i].mem, &n->w->disks, mode);
        if (n->drives[i].fault)
            blkdev_fault_drop(n->drives[i].fault);
        n->drives[i].scheduled_count = 0;
    }
}

size_t drives_pending(const struct node *n)
{
    size_t pending = 0;
    for (unsigned i = 0; i < n->drive_count; i++)
        pending += blkdev_mem_pending(n->drives[i].mem);
    return pending;
}

bool drives_step(struct node *n)
{
    bool any = false;
    for (unsigned i = 0; i < n->drive_count; i++)
        any |= blkdev_mem_step(n->drives[i].mem);
    return any;
}

/* ---- the array */

static void opened(void *user, int status)
{
    ((struct node *)user)->array_status = status;
}

static void event(void *user, const char *kind, const char *text)
{
    struct node *n = user;
    trace(n->w, "%s: %s: %s", n->name, kind, text);
}

int drives_open(struct node *n, struct ps_error *err)
{
    if (!on_array(n)) {
        n->disk = n->drives[0].mem;
        n->array_status = 0;
        return 0;
    }
    struct array_device devices[SIM_DRIVES_MAX];
    for (unsigned i = 0; i < n->drive_count; i++)
        devices[i] = (struct array_device){n->drives[i].gone ? NULL : n->drives[i].fault, names[i]};
    const struct array_config config = {
        .seed = {n->index + 1 + SIM_NODES_MAX * n->stores, n->w->scenario->seed},
        .parity = n->w->scenario->array[n->index].parity,
        .segment_bytes = SEGMENT_BYTES,
        .unit_bytes = UNIT_BYTES,
        .rebuild_rate = REBUILD_RATE,
        .event = event,
        .user = n};
    n->array_status = DRIVES_OPENING;
    n->mending = false;
    n->disk = NULL;
    return array_open(devices, n->drive_count, &config, opened, n, err, &n->array);
}

void drives_close(struct node *n)
{
    if (n->array)
        array_destroy(n->array);
    n->array = NULL;
    n->disk = NULL;
    n->array_status = 0;
}

/* What the array is without. Of one that is in again it may not be durable yet. */
static void look_at_members(struct node *n)
{
    struct array_info info;
    array_look(n->array, &info);
    const uint64_t since = n->w->now - n->looked, ns = since < LOOK_MS * MS ? since : LOOK_MS * MS;
    n->looked = n->w->now;
    for (unsigned m = 0; m < info.members; m++)
        for (unsigned i = 0; i < n->drive_count; i++) {
            struct drive *d = &n->drives[i];
            if (strcmp(info.member[m].name, names[i]) != 0)
                continue;
            d->in_ns = info.member[m].state == ARRAY_IN ? d->in_ns + ns : 0;
            d->out = d->out ? d->in_ns < SETTLED_MS * MS : !d->in_ns && info.member[m].state != ARRAY_IN;
        }
}

static unsigned missing(const struct node *n)
{
    unsigned count = 0;
    for (unsigned i = 0; i < n->drive_count; i++)
        count += n->drives[i].gone || n->drives[i].out || n->drives[i].rotten;
    return count;
}

bool drives_whole(const struct node *n)
{
    return missing(n) == 0;
}

static void mended(void *user, int status)
{
    struct node *n = user;
    n->mending = false;
    if (status)
        trace(n->w, "%s: a device is not taken in or out: %s", n->name, n->array_error.detail);
}

/* As a person would: what is bad is taken out, a blank one comes in its place. */
static void mend(struct node *n)
{
    unsigned i = 0;
    if (!n->mend || n->mending)
        return;
    while (i < n->drive_count && !n->drives[i].gone && !n->drives[i].rotten &&
           array_holds(n->array, n->drives[i].fault))
        i++;
    n->mend = i < n->drive_count;
    if (!n->mend)
        return;
    struct drive *d = &n->drives[i];
    n->mending = true;
    if (array_holds(n->array, d->fault)) {
        if (array_detach(n->array, names[i], mended, n, &n->array_error))
            n->mending = false; /* it is tried again */
        return;
    }
    n->mending = false;
    if (blkdev_mem_pending(d->mem))
        return;
    trace(n->w, "%s: device %u is replaced by a blank one", n->name, i);
    array_forget(n->array, d->fault);
    blank(n, i);
    d->out = true;
    const struct array_device fresh = {d->fault, names[i]};
    n->mending = array_attach(n->array, &fresh, mended, n, &n->array_error) == 0;
    n->w->result->devices_replaced++;
}

uint64_t drives_turn(struct node *n, uint64_t clock)
{
    if (!n->array || n->array_status)
        return UINT64_MAX;
    const uint64_t next = array_turn(n->array, clock);
    look_at_members(n);
    mend(n);
    /* It is looked at again, so that what became whole is seen. */
    return missing(n) && next > clock + LOOK_MS * MS ? clock + LOOK_MS * MS : next;
}

/* ---- faults */

static bool one_may_go(const struct node *n)
{
    for (unsigned i = 0; i < n->drive_count; i++)
        if (n->drives[i].rotten)
            return false; /* after a power cut without another one nobody could tell who is wrong */
    return on_array(n) && missing(n) < n->w->scenario->array[n->index].parity;
}

void drive_fails(struct node *n)
{
    static const struct blkdev_fault_rule rule = {.ops = BLKDEV_FAULT_ANY, .action = BLKDEV_FAULT_FAIL};
    if (!one_may_go(n) || n->array_status == DRIVES_OPENING)
        return;
    unsigned i = (unsigned)prng_below(&n->w->disks, n->drive_count);
    while (n->drives[i].gone || n->drives[i].out)
        i = (i + 1) % n->drive_count;
    struct drive *d = &n->drives[i];
    trace(n->w, "%s: device %u fails for good", n->name, i);
    (void)blkdev_fault_add(d->fault, &rule);
    d->gone = true;
    n->w->result->devices_failed++;
}

void drives_go_missing(struct node *n)
{
    for (unsigned left = n->w->scenario->array[n->index].parity; left;) {
        struct drive *d = &n->drives[prng_below(&n->w->disks, n->drive_count)];
        left -= !d->gone;
        d->gone = true;
    }
}

void drive_rots(struct node *n)
{
    static uint8_t noise[1 << 16];
    if (!one_may_go(n) || n->w->scenario->array[n->index].parity < 2 || missing(n) ||
        n->array_status == DRIVES_OPENING)
        return;
    const unsigned i = (unsigned)prng_below(&n->w->disks, n->drive_count);
    struct blkdev *mem = n->drives[i].mem;
    for (uint64_t at = ARRAY_HEADER_BYTES; at < mem->geometry.size_bytes; at += sizeof noise) {
        const uint64_t left = mem->geometry.size_bytes - at;
        prng_fill(&n->w->disks, noise, sizeof noise);
        blkdev_mem_poke(mem, at, noise, left < sizeof noise ? (size_t)left : sizeof noise);
    }
    trace(n->w, "%s: device %u holds noise", n->name, i);
    n->drives[i].rotten = true;
    n->w->result->devices_failed++;
}
