#include "common/nand/nand_errors.h"

enum {
    SALT_LIFE = 0x6c69,
    SALT_FACTORY = 0x6661,
    MEAN_MAX = 600, /* beyond it the mean itself is as good as a draw, and far above any limit */
};

uint64_t nand_errors_hash(const struct nand_config *c, uint64_t a, uint64_t b, uint64_t salt)
{
    return prng_mix(prng_mix(prng_mix(c->seed ^ salt) ^ a) ^ b);
}

/* In [0, 1). */
static double uniform(uint64_t hash)
{
    return (double)(hash >> 11) / 9007199254740992.0;
}

static double worn(const struct nand_config *c, uint32_t pe_cycles)
{
    return (double)pe_cycles / c->endurance;
}

double nand_errors_expected(const struct nand_config *c, uint32_t pe_cycles, double days, uint64_t reads)
{
    const struct nand_error_rates *r = &c->rates;
    const double w = worn(c, pe_cycles);
    const double rate =
        r->fixed + r->wear * w * w + r->retention * w * days + r->disturb * (1 + w) * (double)reads / 1000;
    return rate * 1e-9 * 8 * NAND_SECTOR_BYTES;
}

/* e^-x for 0 <= x <= MEAN_MAX, by plain arithmetic: the same on every machine. */
static double exp_minus(double x)
{
    double part = x / 1024, term = 1, sum = 1;
    for (int i = 1; i < 12; i++) {
        term *= -part / i;
        sum += term;
    }
    for (int i = 0; i < 10; i++)
        sum *= sum;
    return sum;
}

uint32_t nand_errors_drawn(double expected, uint64_t hash)
{
    if (expected > MEAN_MAX)
        return expected < 1e9 ? (uint32_t)expected : 1000000000u;
    const double u = uniform(hash);
    double p = exp_minus(expected), sum = p;
    uint32_t n = 0;
    while (sum <= u && n < 4 * MEAN_MAX) {
        n++;
        p *= expected / n;
        sum += p;
    }
    return n;
}

uint32_t nand_errors_life(const struct nand_config *c, uint32_t block)
{
    const double life = c->endurance * (0.9 + 0.4 * uniform(nand_errors_hash(c, block, 0, SALT_LIFE)));
    return life < 4e9 ? (uint32_t)life : 4000000000u;
}

bool nand_errors_program_fails(const struct nand_config *c, uint32_t pe_cycles, uint64_t hash)
{
    const double w = worn(c, pe_cycles);
    return uniform(hash) < c->program_fail_ppb * 1e-9 * w * w;
}

bool nand_errors_factory_bad(const struct nand_config *c, uint32_t block)
{
    return nand_errors_hash(c, block, 0, SALT_FACTORY) % 1000000 < c->factory_bad_ppm;
}
