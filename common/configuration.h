/* Who holds a pod: the record that the mediator keeps and every member has a copy of.
 *
 * Its epoch grows by at least one at each change, and only a compare-and-swap at the mediator (or, after a
 * pre-election, the elected member) makes the next one. Members are stores: a node that comes back with an
 * emptied disk is another member.
 *
 * Pure; a value without pointers. Configurations that came from elsewhere are checked by
 * configuration_check before anybody uses them. */
#ifndef PS_COMMON_CONFIGURATION_H
#define PS_COMMON_CONFIGURATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum {
    CONFIGURATION_MEMBERS_MAX = 5,
    CONFIGURATION_NAME_MAX = 63,
    CONFIGURATION_BYTES_MAX = 512, /* encoded */
    UUID_TEXT_BYTES = 37,          /* 8-4-4-4-12 hexadecimal digits and a terminating 0 */
};

/* The upper half of an epoch is its lineage: how often a person gave up what other members may have held
 * (`pod promote --accept-data-loss`). A configuration of a later lineage outranks all of the earlier ones,
 * also those that nobody told of. */
static inline uint64_t epoch_lineage(uint64_t epoch)
{
    return epoch >> 32;
}
static inline uint64_t epoch_in_lineage(uint64_t epoch)
{
    return epoch & 0xffffffff;
}

struct uuid {
    uint8_t bytes[16];
};

bool uuid_equal(const struct uuid *a, const struct uuid *b);
/* All zero: none. */
bool uuid_is_none(const struct uuid *id);
void uuid_format(const struct uuid *id, char out[UUID_TEXT_BYTES]);

enum member_mode {
    MEMBER_SYNC = 1,
    MEMBER_ASYNC = 2,
};

struct member {
    struct uuid store;
    char node[CONFIGURATION_NAME_MAX + 1];
    enum member_mode mode;
    bool in_sync; /* holds all that is committed: part of the sync set. Sync members only. */
};

struct configuration {
    struct uuid pod;
    char pod_name[CONFIGURATION_NAME_MAX + 1];
    uint64_t epoch; /* 0: none yet */
    uint32_t count;
    struct member members[CONFIGURATION_MEMBERS_MAX]; /* in no order; stores and nodes differ */
    struct uuid primary;                              /* the store of a member that is in sync */
    struct uuid preferred; /* of a member that shall be primary where there is a choice; or none */
};

/* Index of the member with this store; -1 if there is none. */
int configuration_find(const struct configuration *c, const struct uuid *store);
static inline bool configuration_has(const struct configuration *c, const struct uuid *store)
{
    return configuration_find(c, store) >= 0;
}
bool configuration_in_sync(const struct configuration *c, const struct uuid *store);
unsigned configuration_sync_count(const struct configuration *c);
/* Members compare as sets: their order doesn't matter. */
bool configuration_equal(const struct configuration *a, const struct configuration *b);

/* 0, or PS_EINVAL with a detail: no members or too many, a pod or a member without an id, names empty or with
 * characters other than printable ASCII without the space, a store or node twice, a mode that is none, an
 * async member in sync, a primary that is not a member in sync, a preferred one that is no member. */
int configuration_check(const struct configuration *c, struct ps_error *err);

/* Fixed little-endian form (node's anchor, mediator's store; configuration.c has the format). Encode takes
 * what passes configuration_check and returns the length, at most CONFIGURATION_BYTES_MAX. Decode checks all
 * of it, configuration_check included: PS_EDAMAGED, PS_EVERSION with a detail. After the form, zeroes may
 * follow. */
size_t configuration_encode(const struct configuration *c, void *out);
int configuration_decode(const void *data, size_t bytes, struct configuration *out, struct ps_error *err);

/* May `requester` put `next` in the place of `now` (NULL: there is none)? 0, or PS_EPERM or PS_EINVAL with a
 * detail that says which rule forbids it (EINVAL: nobody may; EPERM: the requester may not). The rules: next
 * is right in itself; its epoch is higher; the pod is the same; the primary may change anything (to name
 * another primary, that one must be in sync before and after); any other requester must be in sync now, names
 * itself primary, and only takes members out of the sync set: they stay members, and names, modes and the
 * preferred member stay what they are. The first configuration comes from its primary. The next lineage may
 * be begun by any member, in sync or not, as the only one in sync; only its own mode may change by that. */
int configuration_may_follow(const struct configuration *now, const struct configuration *next,
                             const struct uuid *requester, struct ps_error *err);

#endif
