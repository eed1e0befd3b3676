/* How the simulated flash errs: pure functions of its configuration and of a hash, so that the same sector
 * reads the same each time, and with more wrong bits the older, the more worn and the more often read it is.
 */
#ifndef PS_COMMON_NAND_NAND_ERRORS_H
#define PS_COMMON_NAND_NAND_ERRORS_H

#include "common/nand/nand.h"

/* Expected raw bit errors of a sector. */
double nand_errors_expected(const struct nand_config *c, uint32_t pe_cycles, double days, uint64_t reads);
/* How many there are: the quantile, at a uniform hash, of the Poisson distribution around what is expected.
 * It never falls when that rises. */
uint32_t nand_errors_drawn(double expected, uint64_t hash);
/* P/E cycles after which the block's erase fails. */
uint32_t nand_errors_life(const struct nand_config *c, uint32_t block);
bool nand_errors_program_fails(const struct nand_config *c, uint32_t pe_cycles, uint64_t hash);
bool nand_errors_factory_bad(const struct nand_config *c, uint32_t block);
/* A hash of the seed and three numbers. */
uint64_t nand_errors_hash(const struct nand_config *c, uint64_t a, uint64_t b, uint64_t salt);

#endif
