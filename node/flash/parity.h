/* Reed-Solomon over GF(2^8) for the rows of an array: k data units and p parity units, any k of which give
 * the rest back.
 *
 * ISA-L does the arithmetic; the code is its Vandermonde one, whose first parity row is the plain XOR and
 * whose second one has the weights 1, 2, 4, … (that of RAID 6: H. P. Anvin, The Mathematics of RAID-6), so
 * any two losses can be solved. Units are numbered: data from 0, parity from k on. Pure. */
#ifndef PS_NODE_FLASH_PARITY_H
#define PS_NODE_FLASH_PARITY_H

#include <stddef.h>
#include <stdint.h>

enum {
    PARITY_UNITS_MAX = 16, /* data and parity */
    PARITY_MAX = 2,
};

struct parity {
    uint8_t data, parity;
    uint8_t matrix[PARITY_UNITS_MAX * PARITY_UNITS_MAX];
    uint8_t tables[32 * PARITY_UNITS_MAX * PARITY_MAX];
};

/* `data` + `parity` at most PARITY_UNITS_MAX, `parity` 1 or 2. */
void parity_init(struct parity *p, unsigned data, unsigned parity);

/* Parity units of `bytes` bytes from data units of as many. */
void parity_encode(const struct parity *p, size_t bytes, uint8_t *const data[], uint8_t *const parity[]);

/* Makes the `count` units whose numbers are in `wanted` from k others: `from` has their numbers, ascending,
 * `source` their bytes. */
void parity_restore(const struct parity *p, size_t bytes, const uint8_t from[], uint8_t *const source[],
                    unsigned count, const uint8_t wanted[], uint8_t *const out[]);

#endif
