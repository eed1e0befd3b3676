/* An array that becomes larger: where a further device's segments are, and how many there are when all
 * devices have been replaced by larger ones. */
#include <string.h>

#include "node/flash/array_impl.h"

/* ---- spread
 *
 * Segments keep their numbers for ever, as whatever lies in them is found by these. So a device that comes
 * gets those of one that went, if they are enough, else new ones behind all others. As there are at most
 * ARRAY_MEMBERS_MAX places, devices that come and go do not make numbers grow without end. */

/* The smallest free place that has room for all parts; else the one at the end, which can be extended. */
static int free_place(const struct array_label *l, uint32_t parts, uint32_t end)
{
    int best = -1;
    for (unsigned i = 0; i < l->members; i++) {
        const struct array_member_label *m = &l->member[i];
        if (m->state == ARRAY_FREE && m->segments >= parts &&
            (best < 0 || m->segments < l->member[best].segments))
            best = (int)i;
    }
    for (unsigned i = 0; i < l->members && best < 0; i++) {
        const struct array_member_label *m = &l->member[i];
        if (m->state == ARRAY_FREE && m->behind && m->first + m->segments == end)
            best = (int)i;
    }
    return best;
}

int spread_label_with(const struct array_label *from, uint32_t parts, struct array_label *out,
                      unsigned *member, struct ps_error *err)
{
    const uint32_t end = array_label_segments(from);
    const int at = free_place(from, parts, end);
    *out = *from;
    if (at < 0 && from->members == ARRAY_MEMBERS_MAX)
        return ps_error_set(err, PS_ELIMIT,
                            "the pool has had %u devices, and no place that one left has room for %u "
                            "segments of %u MiB: a smaller device is needed",
                            from->members, parts, from->segment_bytes >> 20);
    *member = at < 0 ? out->members++ : (unsigned)at;
    struct array_member_label *m = &out->member[*member];
    if (at < 0)
        *m = (struct array_member_label){.behind = true, .first = end};
    if (m->segments < parts)
        m->segments = parts;
    m->held = parts;
    m->state = ARRAY_IN;
    if (array_label_segments(out) == 0)
        return ps_error_set(err, PS_ELIMIT, "the array has too many segments with it");
    return 0;
}

/* ---- with parity */

bool coded_grow(struct array *a)
{
    const uint32_t before = a->segments;
    uint32_t segments = UINT32_MAX;
    for (unsigned i = 0; i < a->n; i++)
        if (a->label.member[i].segments < segments)
            segments = a->label.member[i].segments;
    if (segments <= before)
        return false;
    a->segments = segments;
    rebuild_enlarge(a, before);
    array_set_geometry(a);
    array_event(a, "array.grown", "all devices are larger now: the pool's device grows by %llu MiB",
                (unsigned long long)(segments - before) * (a->segment_bytes >> 20));
    return true;
}
