#include "tests/support/rig_array.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/blkdev_fault.h"
#include "node/flash/array.h"

enum {
    DEVICES = 6, /* at most */
    SLOW = 12,   /* one in so many steps */
};
static unsigned shape_devices = 6, shape_parity = 2;
static char names[DEVICES][2] = {"a", "b", "c", "d", "e", "f"};

struct rig_array {
    unsigned devices, parity;
    struct blkdev *mem[DEVICES], *dev[DEVICES]; /* dev: what may be told to fail */
    struct array *array;
    uint64_t device_bytes, now_ns;
    int slow; /* -1: none */
    uint32_t segment_bytes;
    uint32_t gone;
    unsigned lost, opens;
    uint32_t to_rot; /* before the next opening */
    bool keeps;
    int status;
};

void rig_array_shape(unsigned devices, unsigned parity)
{
    assert_true(devices <= DEVICES);
    shape_devices = devices;
    shape_parity = parity;
}

static void blank(struct rig_array *r, unsigned device)
{
    const struct blkdev_mem_options options = {.size_bytes = r->device_bytes};
    if (r->dev[device])
        blkdev_destroy(r->dev[device]);
    if (r->mem[device])
        blkdev_destroy(r->mem[device]);
    r->mem[device] = blkdev_mem_create(&options);
    r->dev[device] = blkdev_fault_create(r->mem[device]);
    assert_non_null(r->dev[device]);
}

struct rig_array *rig_array_create(uint64_t device_bytes, uint32_t segment_bytes)
{
    struct rig_array *r = calloc(1, sizeof *r);
    const uint32_t row = (shape_devices - shape_parity) * ARRAY_UNIT_MAX;
    const uint64_t part = (uint64_t)(segment_bytes + row - 1) / row * ARRAY_UNIT_MAX;
    assert_non_null(r);
    r->devices = shape_devices;
    r->parity = shape_parity;
    r->segment_bytes = segment_bytes;
    r->device_bytes = ARRAY_HEADER_BYTES + device_bytes / segment_bytes * part;
    r->slow = -1;
    for (unsigned i = 0; i < r->devices; i++)
        blank(r, i);
    return r;
}

void rig_array_destroy(struct rig_array *r)
{
    rig_array_drop(r);
    for (unsigned i = 0; i < r->devices; i++) {
        blkdev_destroy(r->dev[i]);
        blkdev_destroy(r->mem[i]);
    }
    free(r);
}

size_t rig_array_pending(const struct rig_array *r)
{
    size_t pending = 0;
    for (unsigned i = 0; i < r->devices; i++)
        pending += blkdev_mem_pending(r->mem[i]);
    return pending;
}

void rig_array_step(struct rig_array *r, struct prng *prng, bool random)
{
    const unsigned first = random ? (unsigned)prng_below(prng, r->devices) : 0;
    if (r->array && r->status == 0) {
        r->now_ns += 1000000;
        (void)array_turn(r->array, r->now_ns);
    }
    const bool only_fast = r->slow >= 0 && prng_below(prng, SLOW);
    for (unsigned i = 0; i < 2 * r->devices; i++) {
        const unsigned at = (first + i) % r->devices;
        if (only_fast && (int)at == r->slow && i < r->devices)
            continue;
        if (random ? blkdev_mem_step_random(r->mem[at], prng) : blkdev_mem_step(r->mem[at]))
            return;
    }
}

static void on_open(void *user, int status)
{
    ((struct rig_array *)user)->status = status;
}

void rig_array_keep_all(struct rig_array *r)
{
    r->keeps = true;
}

void rig_array_rot(struct rig_array *r, unsigned device, bool at_open)
{
    static uint8_t noise[1 << 16];
    struct blkdev *mem = r->mem[device];
    struct prng prng;
    if (at_open) {
        r->to_rot |= 1u << device;
        return;
    }
    prng_seed(&prng, device + 1);
    for (uint64_t at = ARRAY_HEADER_BYTES; at < mem->geometry.size_bytes; at += sizeof noise) {
        const uint64_t left = mem->geometry.size_bytes - at;
        prng_fill(&prng, noise, sizeof noise);
        blkdev_mem_poke(mem, at, noise, left < sizeof noise ? (size_t)left : sizeof noise);
    }
}

static void on_event(void *user, const char *kind, const char *text)
{
    (void)user;
    if (getenv("RIG_TALKS"))
        print_message("%s: %s\n", kind, text);
}

struct blkdev *rig_array_open(struct rig_array *r, struct prng *prng)
{
    struct array_device devices[DEVICES];
    for (unsigned i = 0; i < r->devices; i++)
        if (r->to_rot >> i & 1)
            rig_array_rot(r, i, false);
    r->to_rot = 0;
    if (r->opens++ && r->lost < r->parity && !r->keeps && prng_chance(prng, 1, 8)) {
        const unsigned i = (unsigned)prng_below(prng, r->devices);
        r->lost += !(r->gone >> i & 1);
        r->gone |= 1u << i;
    }
    for (unsigned i = 0; i < r->devices; i++)
        devices[i] = (struct array_device){r->gone >> i & 1 ? NULL : r->dev[i], names[i]};
    const struct array_config config = {.seed = {7, prng_next(prng)},
                                        .parity = r->parity,
                                        .segment_bytes = r->segment_bytes,
                                        .event = on_event};
    struct ps_error err = {0};
    r->status = 1;
    int rc = array_open(devices, r->devices, &config, on_open, r, &err, &r->array);
    while (rc == 0 && r->status == 1) {
        assert_true(rig_array_pending(r));
        rig_array_step(r, prng, false);
    }
    if (rc || r->status)
        fail_msg("the array does not open: %s", err.detail);
    return array_device(r->array);
}

void rig_array_cut(struct rig_array *r, struct prng *prng, enum blkdev_mem_cut mode)
{
    for (unsigned i = 0; i < r->devices; i++) {
        blkdev_mem_power_cut(r->mem[i], prng, mode);
        blkdev_fault_drop(r->dev[i]);
    }
}

void rig_array_drop(struct rig_array *r)
{
    if (r->array)
        array_destroy(r->array);
    r->array = NULL;
}

unsigned rig_array_lost(const struct rig_array *r)
{
    struct array_info info;
    array_look(r->array, &info);
    return info.lost;
}

unsigned rig_array_parity(const struct rig_array *r)
{
    return r->parity;
}

bool rig_array_uses(const struct rig_array *r, unsigned device)
{
    return array_holds(r->array, r->dev[device]);
}

void rig_array_slow(struct rig_array *r, int device)
{
    r->slow = device;
}

void rig_array_fail(struct rig_array *r, unsigned device)
{
    const struct blkdev_fault_rule rule = {.ops = BLKDEV_FAULT_ANY, .action = BLKDEV_FAULT_FAIL};
    (void)blkdev_fault_add(r->dev[device], &rule);
    r->gone |= 1u << device;
}

static void wait_for(struct rig_array *r, struct prng *prng)
{
    while (r->status == 1)
        rig_array_step(r, prng, true);
}

void rig_array_replace(struct rig_array *r, unsigned device, struct prng *prng)
{
    struct ps_error err = {0};
    if (rig_array_uses(r, device)) {
        r->status = 1;
        assert_int_equal(array_detach(r->array, names[device], on_open, r, &err), 0);
        wait_for(r, prng);
        assert_int_equal(r->status, 0);
    }
    while (rig_array_uses(r, device))
        rig_array_step(r, prng, true);
    array_forget(r->array, r->dev[device]);
    blank(r, device);
    const struct array_device fresh = {r->dev[device], names[device]};
    r->status = 1;
    const int rc = array_attach(r->array, &fresh, on_open, r, &err);
    if (rc)
        r->status = rc;
    wait_for(r, prng);
    if (r->status)
        fail_msg("a device is not attached: %s", err.detail);
    r->gone &= ~(1u << device);
}
