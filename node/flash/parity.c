#include "node/flash/parity.h"

#include <assert.h>
#include <isa-l.h>
#include <string.h>

void parity_init(struct parity *p, unsigned data, unsigned parity)
{
    assert(data >= 1 && parity >= 1 && parity <= PARITY_MAX && data + parity <= PARITY_UNITS_MAX);
    p->data = (uint8_t)data;
    p->parity = (uint8_t)parity;
    gf_gen_rs_matrix(p->matrix, (int)(data + parity), (int)data);
    ec_init_tables((int)data, (int)parity, p->matrix + data * data, p->tables);
}

void parity_encode(const struct parity *p, size_t bytes, uint8_t *const data[], uint8_t *const parity[])
{
    /* ISA-L reads tables and data, though its types don't say so. */
    ec_encode_data((int)bytes, p->data, p->parity, (unsigned char *)(uintptr_t)p->tables,
                   (unsigned char **)(uintptr_t)data, (unsigned char **)(uintptr_t)parity);
}

void parity_restore(const struct parity *p, size_t bytes, const uint8_t from[], uint8_t *const source[],
                    unsigned count, const uint8_t wanted[], uint8_t *const out[])
{
    const unsigned k = p->data;
    uint8_t have[PARITY_UNITS_MAX * PARITY_UNITS_MAX], inverse[PARITY_UNITS_MAX * PARITY_UNITS_MAX];
    uint8_t rows[PARITY_UNITS_MAX * PARITY_UNITS_MAX], tables[32 * PARITY_UNITS_MAX * PARITY_UNITS_MAX];
    for (unsigned i = 0; i < k; i++)
        memcpy(have + i * k, p->matrix + from[i] * k, k);
    const int rc = gf_invert_matrix(have, inverse, (int)k);
    assert(rc == 0 && "any k units are enough");
    (void)rc;
    for (unsigned w = 0; w < count; w++)
        for (unsigned c = 0; c < k; c++) {
            uint8_t sum = 0;
            for (unsigned i = 0; i < k; i++)
                sum ^= gf_mul(p->matrix[wanted[w] * k + i], inverse[i * k + c]);
            rows[w * k + c] = sum;
        }
    ec_init_tables((int)k, (int)count, rows, tables);
    ec_encode_data((int)bytes, (int)k, (int)count, tables, (unsigned char **)(uintptr_t)source,
                   (unsigned char **)(uintptr_t)out);
}
