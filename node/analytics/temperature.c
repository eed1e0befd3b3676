#include "node/analytics/temperature.h"

#include <string.h>

#include "node/analytics/statistics.h"

#define LN2     0.69314718055994530942
#define HOUR_S  3600.0
#define GIB     1073741824.0
#define NO_HEAT 1e-6 /* of one access: nothing, and no ever smaller numbers */

const struct temperature_scale temperature_scale_default = {
    .cold = 1.0 / 24, .warm = 60, .hot = 3600, .half_life_s = 86400};

const char *temperature_name(enum temperature t)
{
    static const char *const names[] = {"frozen", "cold", "warm", "hot"};
    return names[t];
}

unsigned temperature_shift(uint64_t size_bytes)
{
    unsigned shift = TEMPERATURE_SHIFT_MIN;
    while (shift < 62 && size_bytes > (uint64_t)TEMPERATURE_REGIONS << shift)
        shift++;
    return shift;
}

static void halve(float *v)
{
    for (size_t i = 0; i < TEMPERATURE_REGIONS / 2; i++)
        v[i] = v[2 * i] + v[2 * i + 1];
    memset(v + TEMPERATURE_REGIONS / 2, 0, TEMPERATURE_REGIONS / 2 * sizeof *v);
}

static void spread(float *v)
{
    for (size_t i = TEMPERATURE_REGIONS; i-- > 0;)
        v[i] = v[i / 2] / 2;
}

void temperature_resize(struct temperature_heat *heat, unsigned shift)
{
    for (; heat->shift < shift; heat->shift++) {
        halve(heat->reads);
        halve(heat->writes);
    }
    for (; heat->shift > shift; heat->shift--) {
        spread(heat->reads);
        spread(heat->writes);
    }
}

void temperature_fade(struct temperature_heat *heat, const struct temperature_scale *scale, double seconds)
{
    const float kept = (float)stat_exp2(-seconds / scale->half_life_s);
    for (size_t i = 0; i < TEMPERATURE_REGIONS; i++) {
        heat->reads[i] *= kept;
        heat->writes[i] *= kept;
        if (heat->reads[i] < (float)NO_HEAT)
            heat->reads[i] = 0;
        if (heat->writes[i] < (float)NO_HEAT)
            heat->writes[i] = 0;
    }
}

void temperature_add(struct temperature_heat *heat, const uint32_t *reads, const uint32_t *writes)
{
    for (size_t i = 0; i < TEMPERATURE_REGIONS; i++) {
        heat->reads[i] += (float)reads[i];
        heat->writes[i] += (float)writes[i];
    }
}

static enum temperature classify(const struct temperature_scale *scale, double density)
{
    if (density >= scale->hot)
        return TEMPERATURE_HOT;
    if (density >= scale->warm)
        return TEMPERATURE_WARM;
    return density >= scale->cold ? TEMPERATURE_COLD : TEMPERATURE_FROZEN;
}

void temperature_report(const struct temperature_heat *heat, const struct temperature_scale *scale,
                        uint64_t size_bytes, uint64_t used_bytes, struct temperature_report *out)
{
    const double per_hour = LN2 / scale->half_life_s * HOUR_S;
    const uint64_t region = 1ull << heat->shift;
    double reads = 0, writes = 0;
    *out = (struct temperature_report){.region_shift = heat->shift};
    for (uint64_t from = 0; from < size_bytes && out->regions < TEMPERATURE_REGIONS; from += region) {
        const unsigned i = out->regions++;
        const uint64_t bytes = size_bytes - from < region ? size_bytes - from : region;
        const double accesses = ((double)heat->reads[i] + (double)heat->writes[i]) * per_hour;
        const double density = accesses / ((double)bytes / GIB);
        out->region[i] = (uint8_t)classify(scale, density);
        out->region_density[i] = (float)density;
        out->bytes[out->region[i]] += bytes;
        reads += (double)heat->reads[i];
        writes += (double)heat->writes[i];
    }
    out->reads_per_hour = reads * per_hour;
    out->writes_per_hour = writes * per_hour;
    if (used_bytes > 0)
        out->density = (out->reads_per_hour + out->writes_per_hour) / ((double)used_bytes / GIB);
    out->temperature = classify(scale, out->density);
}
