/* What a device holds, as the array sees it, and whether it fits. */
#include <string.h>

#include "node/flash/anchor.h"
#include "node/flash/array_impl.h"

/* ---- what is on it */

static bool all_zero(const uint8_t *p, size_t n)
{
    return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* `found`: what decoding of others came to; a newer label, or the first error, takes its place. */
static int look_at_label(const uint8_t *block, bool bare, int found, struct array_label *label,
                         struct ps_error *err)
{
    struct array_label l;
    struct ps_error error;
    int rc = array_label_decode(block, &l, &error);
    if (rc == 0 && l.member[l.self].bare != bare)
        rc = PS_ENOTFOUND;
    /* One that is damaged is none where the pool's own label is what counts. */
    if (bare && rc == PS_EDAMAGED)
        rc = PS_ENOTFOUND;
    if (rc == 0 && (found || l.number > label->number)) {
        *label = l;
        return 0;
    }
    if (rc && rc != PS_ENOTFOUND && found == PS_ENOTFOUND) {
        *err = error;
        return rc;
    }
    return found;
}

int array_head_look(const uint8_t *head, bool *blank, struct array_label *label, struct ps_error *err)
{
    int rc = PS_ENOTFOUND;
    *blank = all_zero(head, ARRAY_HEAD_BYTES);
    for (unsigned i = 0; i < 2; i++)
        rc = look_at_label(head + ARRAY_LABEL_AT + i * ARRAY_BLOCK_BYTES, false, rc, label, err);
    const bool headed = rc != PS_ENOTFOUND;
    for (unsigned i = 0; i < 2 && !headed; i++)
        rc = look_at_label(head + ARRAY_BARE_LABEL_AT + i * ARRAY_BLOCK_BYTES, true, rc, label, err);
    return rc;
}

bool array_is_member(const uint8_t *head)
{
    struct array_label label;
    bool blank;
    return array_head_look(head, &blank, &label, &(struct ps_error){0}) != PS_ENOTFOUND;
}

bool array_pool_look(const uint8_t *head, struct pool_label *out)
{
    bool found = false;
    for (uint32_t at = 0; at < ANCHOR_RING_BYTES; at += ANCHOR_BYTES) {
        struct pool_label l;
        if (label_decode(head + at, &l, NULL) || (found && l.number < out->number))
            continue;
        *out = l;
        found = true;
    }
    return found;
}

/* ---- whether it fits */

uint32_t array_parts_of(const struct blkdev *dev, uint64_t part_bytes)
{
    const uint64_t size = dev->geometry.size_bytes;
    const uint64_t parts = size > ARRAY_HEADER_BYTES ? (size - ARRAY_HEADER_BYTES) / part_bytes : 0;
    return parts < UINT32_MAX / 2 ? (uint32_t)parts : UINT32_MAX / 2;
}

uint64_t array_part_bytes(const struct array_label *l)
{
    if (!l->parity)
        return l->segment_bytes;
    const uint32_t row = (uint32_t)(l->members - l->parity) * l->unit_bytes;
    return (uint64_t)((l->segment_bytes + row - 1) / row) * l->unit_bytes;
}

static int units_fit(const struct array_device *device, struct ps_error *err)
{
    const struct blkdev_geometry *g = &device->dev->geometry;
    if (g->zoned)
        return ps_error_set(err, PS_EINVAL, "%s is zoned: it can be a pool alone, not one of several devices",
                            device->name);
    if (g->read_unit > ARRAY_BLOCK_BYTES || g->write_unit > ARRAY_BLOCK_BYTES ||
        g->max_io_bytes < ARRAY_IO_BYTES + 2 * ARRAY_UNIT_MAX)
        return ps_error_set(err, PS_EINVAL, "%s reads or writes in units that an array does not know",
                            device->name);
    return 0;
}

static int too_small(const struct array_device *device, uint64_t needed, struct ps_error *err)
{
    return ps_error_set(err, PS_EINVAL, "%s has %llu bytes, and its part of the array needs at least %llu",
                        device->name, (unsigned long long)device->dev->geometry.size_bytes,
                        (unsigned long long)needed);
}

int array_fits(const struct array *a, const struct array_device *device, uint32_t segments,
               struct ps_error *err)
{
    const uint64_t part = array_part_bytes(&a->label);
    const int rc = units_fit(device, err);
    if (rc == 0 && array_parts_of(device->dev, part) < segments)
        return too_small(device, ARRAY_HEADER_BYTES + segments * part, err);
    return rc;
}

int array_fits_bare(const struct array *a, const struct array_device *device, uint32_t segments,
                    struct ps_error *err)
{
    const uint64_t needed = (uint64_t)segments * a->label.segment_bytes;
    const int rc = units_fit(device, err);
    return rc == 0 && device->dev->geometry.size_bytes < needed ? too_small(device, needed, err) : rc;
}

/* Of too long a path the end tells more. */
const char *array_name(const char *path)
{
    const size_t length = strlen(path);
    return length < ARRAY_NAME_BYTES ? path : path + length - (ARRAY_NAME_BYTES - 1);
}
