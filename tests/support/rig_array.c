#include "tests/support/rig_array.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first */
#include <cmocka.h>
#include <stdlib.h>

#include "node/flash/array.h"

enum {
    DEVICES = 6,
    PARITY = 2,
};

struct rig_array {
    struct blkdev *mem[DEVICES];
    struct array *array;
    uint32_t segment_bytes;
    uint32_t gone;
    unsigned lost, opens;
    int status;
};

struct rig_array *rig_array_create(uint64_t device_bytes, uint32_t segment_bytes)
{
    struct rig_array *r = calloc(1, sizeof *r);
    const uint32_t row = (DEVICES - PARITY) * ARRAY_UNIT_MAX;
    const uint64_t part = (uint64_t)(segment_bytes + row - 1) / row * ARRAY_UNIT_MAX;
    const struct blkdev_mem_options options = {.size_bytes =
                                                   ARRAY_HEADER_BYTES + device_bytes / segment_bytes * part};
    assert_non_null(r);
    r->segment_bytes = segment_bytes;
    for (unsigned i = 0; i < DEVICES; i++) {
        r->mem[i] = blkdev_mem_create(&options);
        assert_non_null(r->mem[i]);
    }
    return r;
}

void rig_array_destroy(struct rig_array *r)
{
    rig_array_drop(r);
    for (unsigned i = 0; i < DEVICES; i++)
        blkdev_destroy(r->mem[i]);
    free(r);
}

size_t rig_array_pending(const struct rig_array *r)
{
    size_t pending = 0;
    for (unsigned i = 0; i < DEVICES; i++)
        pending += blkdev_mem_pending(r->mem[i]);
    return pending;
}

void rig_array_step(struct rig_array *r, struct prng *prng, bool random)
{
    const unsigned first = random ? (unsigned)prng_below(prng, DEVICES) : 0;
    for (unsigned i = 0; i < DEVICES; i++) {
        struct blkdev *mem = r->mem[(first + i) % DEVICES];
        if (random ? blkdev_mem_step_random(mem, prng) : blkdev_mem_step(mem))
            return;
    }
}

static void on_open(void *user, int status)
{
    ((struct rig_array *)user)->status = status;
}

struct blkdev *rig_array_open(struct rig_array *r, struct prng *prng)
{
    struct array_device devices[DEVICES];
    static const char *const names[DEVICES] = {"a", "b", "c", "d", "e", "f"};
    if (r->opens++ && r->lost < PARITY && prng_chance(prng, 1, 8)) {
        const unsigned i = (unsigned)prng_below(prng, DEVICES);
        r->lost += !(r->gone >> i & 1);
        r->gone |= 1u << i;
    }
    for (unsigned i = 0; i < DEVICES; i++)
        devices[i] = (struct array_device){r->gone >> i & 1 ? NULL : r->mem[i], names[i]};
    const struct array_config config = {.seed = {7, 8}, .parity = PARITY, .segment_bytes = r->segment_bytes};
    struct ps_error err = {0};
    r->status = 1;
    int rc = array_open(devices, DEVICES, &config, on_open, r, &err, &r->array);
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
    for (unsigned i = 0; i < DEVICES; i++)
        blkdev_mem_power_cut(r->mem[i], prng, mode);
}

void rig_array_drop(struct rig_array *r)
{
    if (r->array)
        array_destroy(r->array);
    r->array = NULL;
}
