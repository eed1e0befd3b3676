/* XXH3-64 of a record that carries its own checksum: the 8 bytes at `field` count as zero. */
#ifndef PS_NODE_META_CHECKSUM_H
#define PS_NODE_META_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t checksum_record(const void *record, size_t bytes, size_t field);

/* XXH3-64 of plain bytes. */
uint64_t checksum_bytes(const void *data, size_t bytes);

#endif
