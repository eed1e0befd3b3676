#include "node/analytics/tiering.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIB 1073741824.0

const struct tier_costs tier_costs_default = {
    .per_gib_month = {0.08, 0.05, 0.015, 0.002},
    .per_gib_accessed = {0, 0, 0, 0.02},
    .accesses_per_hour_gib = {500000, 45000, 43, 0.04},
    .headroom = 10,
};

const char *tier_name(enum tier tier)
{
    static const char *const names[] = {"nvme", "ssd", "hdd", "archive"};
    return names[tier];
}

int tier_costs_parse(struct tier_costs *costs, const char *text, struct ps_error *err)
{
    struct tier_costs made = *costs;
    for (const char *at = text + strspn(text, " "); *at; at += strspn(at, " ")) {
        const size_t word = strcspn(at, " "), name = strcspn(at, "=");
        unsigned tier = 0;
        while (tier < TIERS && (strlen(tier_name((enum tier)tier)) != name ||
                                memcmp(tier_name((enum tier)tier), at, name) != 0))
            tier++;
        char *end = NULL;
        const double price = name < word ? strtod(at + name + 1, &end) : -1;
        if (tier == TIERS || end != at + word || end == at + name + 1 || !(price >= 0 && price <= 1e9))
            return ps_error_set(err, PS_EINVAL,
                                "\"%.*s\" is no price: nvme, ssd, hdd or archive, and what a GiB costs there "
                                "a month, as in hdd=0.015",
                                (int)(word < 60 ? word : 60), at);
        made.per_gib_month[tier] = price;
        at += word;
    }
    *costs = made;
    return 0;
}

static double cost(const struct tier_costs *costs, const struct tiering_ask *ask, enum tier tier)
{
    return (double)ask->stored_bytes / GIB * costs->per_gib_month[tier] +
           ask->accessed_bytes_month / GIB * costs->per_gib_accessed[tier];
}

void tiering_advise(const struct tier_costs *costs, const struct tiering_ask *ask, struct tiering_advice *out)
{
    const double wanted = ask->density * costs->headroom;
    enum tier best = TIER_NVME;
    for (enum tier t = TIER_SSD; t < TIERS; t++)
        if (wanted <= costs->accesses_per_hour_gib[t] && cost(costs, ask, t) < cost(costs, ask, best))
            best = t;
    *out = (struct tiering_advice){
        .tier = best, .cost_now = cost(costs, ask, ask->now), .cost_there = cost(costs, ask, best)};
    if (ask->stored_bytes == 0) {
        out->tier = ask->now;
        out->cost_there = out->cost_now;
        (void)snprintf(out->reason, sizeof out->reason, "it occupies nothing");
    } else if (best == ask->now) {
        (void)snprintf(out->reason, sizeof out->reason,
                       "%.3g accesses an hour and GiB: nothing cheaper takes %.3g times that", ask->density,
                       costs->headroom);
    } else {
        (void)snprintf(out->reason, sizeof out->reason,
                       "%.3g accesses an hour and GiB: %s takes %.3g and costs less", ask->density,
                       tier_name(best), costs->accesses_per_hour_gib[best]);
    }
}
