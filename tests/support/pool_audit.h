/* Counts a pool's references a second time, from the bytes on its device alone.
 *
 * Written against the formats that the READMEs of node/flash, node/meta, node/volume, node/reduction and
 * node/pod document, and sharing no code with those folders: what they get wrong alike when they write and
 * when they check themselves (node/pod/survey.c) is seen here. It looks at the newest checkpoint; the log
 * behind that is not replayed, so nothing is said of it but when the pool was closed. Slow and simple: all is
 * in arrays, and they are sorted.
 *
 * What it compares:
 *   - owned references of each block with its count, and live blocks in L2P with both;
 *   - records: where L2P says, whole, with a right checksum, of that group, holding the live slots;
 *   - nothing lies where something else does; live bytes of segments are sums of what lives there;
 *   - pages of maps have one owner, at one level; images' counts are those of their maps; their relations;
 *   - both copies of pages and runs are right and alike. */
#ifndef PS_TESTS_SUPPORT_POOL_AUDIT_H
#define PS_TESTS_SUPPORT_POOL_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool_audit_io {
    /* Bytes of the device, in multiples of 64. Way 0 is how it reads at first; where that is wrong further
     * ones are tried. False: there is no such way. */
    bool (*read)(void *user, unsigned way, uint64_t offset, void *buf, uint32_t bytes);
    void *user;
};

struct pool_audit_result {
    uint64_t anchor, seq; /* the checkpoint, and the last batch in it */
    bool clean;           /* nothing came after it */
    uint64_t images, pages, groups, blocks, references;
    uint64_t bad_copies;             /* of metadata, whose other copy is right */
    uint64_t bad_records, bad_group; /* that are not what they should be; the first one's group */
};

/* True: all is right, but for what bad_copies and bad_records say. False: `why` is the first thing that is
 * not. `out` is written in both cases, as far as it came. */
bool pool_audit(const struct pool_audit_io *io, struct pool_audit_result *out, char *why, size_t size);

#endif
