/* Configurations: what is right, what may follow, and the form on disk.
 *
 * Form, version 1, little-endian; 61 to 509 bytes:
 *
 *     0  u16  version
 *     2  u16  bytes in all
 *     4  u8   members
 *     5  u8   index of the primary
 *     6  u8   index of the preferred member, 255: none
 *     7  u8   0
 *     8  16   pod
 *    24  u64  epoch
 *    32  u8 + n             pod's name: length, characters
 *        16 + u8 + u8 + n   a member: store; mode, +4 if in sync; node's name: length, characters
 *        u64  XXH3-64 of all before
 *
 * The first four bytes and the sum at the end stay as they are in every version, so that a newer form is told
 * from a damaged one. The same configuration with its members in another order is another form. */
#include "common/configuration.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "common/endian_codec.h"

enum {
    VERSION = 1,
    HEADER_BYTES = 32,
    SUM_BYTES = 8,
    MEMBER_BYTES = 18, /* without the name */
    NO_INDEX = 255,
    MODE_MASK = 3,
    IN_SYNC = 4,
};

_Static_assert(HEADER_BYTES + 1 + CONFIGURATION_NAME_MAX +
                       CONFIGURATION_MEMBERS_MAX * (MEMBER_BYTES + CONFIGURATION_NAME_MAX) + SUM_BYTES <=
                   CONFIGURATION_BYTES_MAX,
               "the largest configuration fits");

/* ---- ids */

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool uuid_is_none(const struct uuid *id)
{
    static const struct uuid none;
    return uuid_equal(id, &none);
}

void uuid_format(const struct uuid *id, char out[UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    char *p = out;
    for (size_t i = 0; i < sizeof id->bytes; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = digits[id->bytes[i] >> 4];
        *p++ = digits[id->bytes[i] & 15];
    }
    *p = '\0';
}

/* ---- questions */

int configuration_find(const struct configuration *c, const struct uuid *store)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (uuid_equal(&c->members[i].store, store))
            return (int)i;
    return -1;
}

bool configuration_in_sync(const struct configuration *c, const struct uuid *store)
{
    const int i = configuration_find(c, store);
    return i >= 0 && c->members[i].in_sync;
}

unsigned configuration_sync_count(const struct configuration *c)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < c->count; i++)
        n += c->members[i].in_sync;
    return n;
}

/* The same stores under the same names and in the same modes; who is in sync may differ. */
static bool same_members(const struct configuration *a, const struct configuration *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const int j = configuration_find(b, &a->members[i].store);
        if (j < 0 || a->members[i].mode != b->members[j].mode ||
            strcmp(a->members[i].node, b->members[j].node) != 0)
            return false;
    }
    return true;
}

bool configuration_equal(const struct configuration *a, const struct configuration *b)
{
    if (!uuid_equal(&a->pod, &b->pod) || strcmp(a->pod_name, b->pod_name) != 0 || a->epoch != b->epoch ||
        !uuid_equal(&a->primary, &b->primary) || !uuid_equal(&a->preferred, &b->preferred) ||
        !same_members(a, b))
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (a->members[i].in_sync != configuration_in_sync(b, &a->members[i].store))
            return false;
    return true;
}

/* ---- rules */

static int check_name(const char *name, const char *whose, struct ps_error *err)
{
    const size_t length = strnlen(name, CONFIGURATION_NAME_MAX + 1);
    if (length == 0)
        return ps_error_set(err, PS_EINVAL, "a %s's name is empty", whose);
    if (length > CONFIGURATION_NAME_MAX)
        return ps_error_set(err, PS_EINVAL, "a %s's name is longer than %d characters", whose,
                            CONFIGURATION_NAME_MAX);
    for (const char *p = name; *p; p++)
        if (*p <= ' ' || *p > '~')
            return ps_error_set(err, PS_EINVAL, "a %s's name has a character that is not printable ASCII",
                                whose);
    return 0;
}

static int check_member(const struct configuration *c, uint32_t index, struct ps_error *err)
{
    const struct member *m = &c->members[index];
    const int rc = check_name(m->node, "node", err);
    if (rc)
        return rc;
    if (uuid_is_none(&m->store))
        return ps_error_set(err, PS_EINVAL, "member %s has no store", m->node);
    if (m->mode != MEMBER_SYNC && m->mode != MEMBER_ASYNC)
        return ps_error_set(err, PS_EINVAL, "member %s has the unknown mode %d", m->node, (int)m->mode);
    if (m->mode == MEMBER_ASYNC && m->in_sync)
        return ps_error_set(err, PS_EINVAL, "member %s is asynchronous and can't be in sync", m->node);
    for (uint32_t i = 0; i < index; i++) {
        if (uuid_equal(&c->members[i].store, &m->store))
            return ps_error_set(err, PS_EINVAL, "nodes %s and %s name the same store", c->members[i].node,
                                m->node);
        if (strcmp(c->members[i].node, m->node) == 0)
            return ps_error_set(err, PS_EINVAL, "node %s is a member twice", m->node);
    }
    return 0;
}

int configuration_check(const struct configuration *c, struct ps_error *err)
{
    int rc = check_name(c->pod_name, "pod", err);
    if (rc)
        return rc;
    if (uuid_is_none(&c->pod))
        return ps_error_set(err, PS_EINVAL, "pod %s has no id", c->pod_name);
    if (c->count == 0 || c->count > CONFIGURATION_MEMBERS_MAX)
        return ps_error_set(err, PS_EINVAL, "pod %s has %u members; 1 to %d are possible", c->pod_name,
                            c->count, CONFIGURATION_MEMBERS_MAX);
    for (uint32_t i = 0; i < c->count; i++) {
        rc = check_member(c, i, err);
        if (rc)
            return rc;
    }
    if (!configuration_in_sync(c, &c->primary))
        return ps_error_set(err, PS_EINVAL, "the primary of pod %s is not a member in sync", c->pod_name);
    if (!uuid_is_none(&c->preferred) && !configuration_has(c, &c->preferred))
        return ps_error_set(err, PS_EINVAL, "the preferred store of pod %s is not a member", c->pod_name);
    return 0;
}

/* A member in sync takes over: nothing changes but the primary and, by leaving, the sync set. */
static int may_take_over(const struct configuration *now, const struct configuration *next,
                         const struct uuid *requester, struct ps_error *err)
{
    const int i = configuration_find(now, requester);
    if (i < 0)
        return ps_error_set(err, PS_EPERM, "the requester is not a member of pod %s", now->pod_name);
    const char *node = now->members[i].node;
    if (!now->members[i].in_sync)
        return ps_error_set(err, PS_EPERM, "%s is not in sync and can't take over", node);
    if (!uuid_equal(&next->primary, requester))
        return ps_error_set(err, PS_EPERM, "%s is not the primary and may propose nobody but itself", node);
    if (strcmp(now->pod_name, next->pod_name) != 0 || !uuid_equal(&now->preferred, &next->preferred) ||
        !same_members(now, next))
        return ps_error_set(err, PS_EPERM,
                            "%s is not the primary and may change nothing but the primary and the sync set",
                            node);
    for (uint32_t m = 0; m < next->count; m++)
        if (next->members[m].in_sync && !configuration_in_sync(now, &next->members[m].store))
            return ps_error_set(err, PS_EPERM, "%s is not the primary and can't declare %s in sync", node,
                                next->members[m].node);
    return 0;
}

static int may_begin_lineage(const struct configuration *now, const struct configuration *next,
                             const struct uuid *requester, struct ps_error *err)
{
    if (epoch_lineage(next->epoch) != epoch_lineage(now->epoch) + 1)
        return ps_error_set(err, PS_EINVAL, "lineage %llu does not follow %llu",
                            (unsigned long long)epoch_lineage(next->epoch),
                            (unsigned long long)epoch_lineage(now->epoch));
    if (!uuid_equal(&next->primary, requester) || !configuration_has(now, requester))
        return ps_error_set(err, PS_EPERM, "a lineage is begun by a member that becomes its primary");
    struct configuration same = *now;
    for (uint32_t i = 0; i < same.count; i++) {
        same.members[i].in_sync = uuid_equal(&same.members[i].store, requester);
        if (same.members[i].in_sync)
            same.members[i].mode = MEMBER_SYNC;
    }
    same.primary = *requester;
    same.epoch = next->epoch;
    return configuration_equal(&same, next)
               ? 0
               : ps_error_set(err, PS_EPERM,
                              "whoever begins a lineage is the only one in sync, and changes nothing else");
}

int configuration_may_follow(const struct configuration *now, const struct configuration *next,
                             const struct uuid *requester, struct ps_error *err)
{
    const int rc = configuration_check(next, err);
    if (rc)
        return rc;
    const uint64_t epoch = now ? now->epoch : 0;
    if (now && !uuid_equal(&now->pod, &next->pod))
        return ps_error_set(err, PS_EINVAL, "the new configuration is of another pod");
    if (next->epoch <= epoch)
        return ps_error_set(err, PS_EINVAL, "epoch %llu is not higher than the present %llu",
                            (unsigned long long)next->epoch, (unsigned long long)epoch);
    if (now && epoch_lineage(next->epoch) != epoch_lineage(epoch))
        return may_begin_lineage(now, next, requester, err);
    if (!now)
        return uuid_equal(&next->primary, requester)
                   ? 0
                   : ps_error_set(err, PS_EPERM, "a pod is registered by its primary only");
    if (!uuid_equal(&now->primary, requester))
        return may_take_over(now, next, requester, err);
    /* The new primary must hold all that was committed: in sync before; configuration_check saw to the rest.
     */
    if (!configuration_in_sync(now, &next->primary))
        return ps_error_set(err, PS_EPERM, "%s was not in sync and can't become the primary",
                            next->members[configuration_find(next, &next->primary)].node);
    return 0;
}

/* ---- form on disk */

static uint8_t *put_name(uint8_t *p, const char *name)
{
    const size_t length = strlen(name);
    *p++ = (uint8_t)length;
    memcpy(p, name, length);
    return p + length;
}

size_t configuration_encode(const struct configuration *c, void *out)
{
    assert(configuration_check(c, NULL) == 0);
    uint8_t *const start = out, *p = start + HEADER_BYTES;
    put_le16(start, VERSION);
    start[4] = (uint8_t)c->count;
    start[5] = (uint8_t)configuration_find(c, &c->primary);
    start[6] = uuid_is_none(&c->preferred) ? NO_INDEX : (uint8_t)configuration_find(c, &c->preferred);
    start[7] = 0;
    memcpy(start + 8, c->pod.bytes, sizeof c->pod.bytes);
    put_le64(start + 24, c->epoch);
    p = put_name(p, c->pod_name);
    for (uint32_t i = 0; i < c->count; i++) {
        const struct member *m = &c->members[i];
        memcpy(p, m->store.bytes, sizeof m->store.bytes);
        p[16] = (uint8_t)((unsigned)m->mode | (m->in_sync ? IN_SYNC : 0));
        p = put_name(p + 17, m->node);
    }
    const size_t bytes = (size_t)(p - start) + SUM_BYTES;
    put_le16(start + 2, (uint16_t)bytes);
    put_le64(p, XXH3_64bits(start, bytes - SUM_BYTES));
    return bytes;
}

static int damaged(struct ps_error *err)
{
    return ps_error_set(err, PS_EDAMAGED, "the configuration is damaged");
}

/* The name at `p`, and where it ends; NULL: it does not end before `end`, or is none. */
static const uint8_t *get_name(const uint8_t *p, const uint8_t *end, char out[CONFIGURATION_NAME_MAX + 1])
{
    if (p == end || p[0] > CONFIGURATION_NAME_MAX || (size_t)(end - p) < 1u + p[0])
        return NULL;
    memcpy(out, p + 1, p[0]);
    out[p[0]] = '\0';
    return strlen(out) == p[0] ? p + 1 + p[0] : NULL;
}

static const uint8_t *get_member(const uint8_t *p, const uint8_t *end, struct member *out)
{
    if (end - p < MEMBER_BYTES)
        return NULL;
    memcpy(out->store.bytes, p, sizeof out->store.bytes);
    if (p[16] & ~(MODE_MASK | IN_SYNC))
        return NULL;
    out->mode = (enum member_mode)(p[16] & MODE_MASK);
    out->in_sync = (p[16] & IN_SYNC) != 0;
    return get_name(p + 17, end, out->node);
}

int configuration_decode(const void *data, size_t bytes, struct configuration *out, struct ps_error *err)
{
    const uint8_t *const start = data;
    struct configuration c = {0};
    const size_t length = bytes >= 4 ? get_le16(start + 2) : 0;
    if (length < HEADER_BYTES + SUM_BYTES || length > bytes)
        return damaged(err);
    for (size_t i = length; i < bytes; i++)
        if (start[i])
            return damaged(err);
    const uint8_t *const end = start + length - SUM_BYTES;
    if (get_le64(end) != XXH3_64bits(start, length - SUM_BYTES))
        return damaged(err);
    if (get_le16(start) > VERSION)
        return ps_error_set(err, PS_EVERSION,
                            "the configuration was written by a newer version (form %u, this one knows %d)",
                            get_le16(start), VERSION);
    c.count = start[4];
    if (get_le16(start) != VERSION || c.count == 0 || c.count > CONFIGURATION_MEMBERS_MAX ||
        start[5] >= c.count || (start[6] != NO_INDEX && start[6] >= c.count) || start[7])
        return damaged(err);
    memcpy(c.pod.bytes, start + 8, sizeof c.pod.bytes);
    c.epoch = get_le64(start + 24);
    const uint8_t *p = get_name(start + HEADER_BYTES, end, c.pod_name);
    for (uint32_t i = 0; p && i < c.count; i++)
        p = get_member(p, end, &c.members[i]);
    if (p != end)
        return damaged(err);
    c.primary = c.members[start[5]].store;
    if (start[6] != NO_INDEX)
        c.preferred = c.members[start[6]].store;
    /* A sum that is right over contents that are wrong: not ours. */
    if (configuration_check(&c, NULL))
        return damaged(err);
    *out = c;
    return 0;
}
