/* How hot a volume is, region by region: accesses that fade with time. Pure.
 *
 * A region's heat is the number of its accesses, each of which loses half of its weight every half-life:
 * heat(t) = sum of 2^(-age / half-life). At a steady rate r it settles at r * half-life / ln 2, so
 * density = heat * ln 2 / half-life / size tells accesses per second and byte; answers tell it per hour and
 * GiB. */
#ifndef PS_NODE_ANALYTICS_TEMPERATURE_H
#define PS_NODE_ANALYTICS_TEMPERATURE_H

#include <stdint.h>

enum {
    TEMPERATURE_REGIONS = 256,
    TEMPERATURE_SHIFT_MIN = 20, /* a region has 1 MiB at least */
};

enum temperature {
    TEMPERATURE_FROZEN,
    TEMPERATURE_COLD,
    TEMPERATURE_WARM,
    TEMPERATURE_HOT,
    TEMPERATURES
};
const char *temperature_name(enum temperature t);

/* Accesses per hour and GiB from which on a region is cold, warm, hot: each GiB once a day, once a minute,
 * once a second. */
struct temperature_scale {
    double cold, warm, hot;
    double half_life_s;
};
extern const struct temperature_scale temperature_scale_default; /* half-life: a day */

struct temperature_heat {
    unsigned shift; /* a region has 1 << shift bytes */
    float reads[TEMPERATURE_REGIONS], writes[TEMPERATURE_REGIONS];
};

/* The least shift with which a volume of this size has at most TEMPERATURE_REGIONS regions. */
unsigned temperature_shift(uint64_t size_bytes);
/* Regions become as large as `shift` says: neighbours are added up. A smaller shift than now: each region's
 * heat is spread evenly over its parts. */
void temperature_resize(struct temperature_heat *heat, unsigned shift);
void temperature_fade(struct temperature_heat *heat, const struct temperature_scale *scale, double seconds);
/* Accesses counted in regions of the heat's size. */
void temperature_add(struct temperature_heat *heat, const uint32_t *reads, const uint32_t *writes);

struct temperature_report {
    enum temperature temperature; /* by density over all that holds data */
    double density;               /* accesses per hour and GiB that holds data */
    double reads_per_hour, writes_per_hour;
    uint64_t bytes[TEMPERATURES]; /* of the volume's size, by its regions' temperature */
    unsigned regions, region_shift;
    uint8_t region[TEMPERATURE_REGIONS];       /* each one's temperature */
    float region_density[TEMPERATURE_REGIONS]; /* accesses per hour and GiB */
};

/* Of a volume of size_bytes of which used_bytes hold data. */
void temperature_report(const struct temperature_heat *heat, const struct temperature_scale *scale,
                        uint64_t size_bytes, uint64_t used_bytes, struct temperature_report *out);

#endif
