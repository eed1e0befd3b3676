/* Where a volume would be kept at the least cost that its accesses allow. Pure.
 *
 * Of the media that take `headroom` times a volume's accesses per hour and GiB, the one whose cost a month,
 * space * price + bytes accessed * price of access, is least. What hosts wait for decides before cost: an
 * access rate is the sustained one of a full device of that medium (README). */
#ifndef PS_NODE_ANALYTICS_TIERING_H
#define PS_NODE_ANALYTICS_TIERING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"

enum tier {
    TIER_NVME,
    TIER_SSD,
    TIER_HDD,
    TIER_ARCHIVE,
    TIERS
};
const char *tier_name(enum tier tier);

struct tier_costs {
    double per_gib_month[TIERS];         /* in any currency */
    double per_gib_accessed[TIERS];      /* read or written */
    double accesses_per_hour_gib[TIERS]; /* that a full device of the medium takes */
    double headroom;
};
/* Placeholders: prices in the right order of size, which nobody quoted, rates by rule of thumb (README). */
extern const struct tier_costs tier_costs_default;

/* Prices from a text such as "nvme=0.08 ssd=0.05 hdd=0.015 archive=0.002"; what is not named keeps its value.
 * PS_EINVAL with a detail. */
int tier_costs_parse(struct tier_costs *costs, const char *text, struct ps_error *err);

struct tiering_ask {
    uint64_t stored_bytes; /* what it occupies, reduced */
    double density;        /* accesses per hour and GiB of stored_bytes */
    double accessed_bytes_month;
    enum tier now;
};

struct tiering_advice {
    enum tier tier;
    double cost_now, cost_there; /* a month */
    char reason[192];
};

void tiering_advise(const struct tier_costs *costs, const struct tiering_ask *ask,
                    struct tiering_advice *out);

#endif
