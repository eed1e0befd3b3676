/* One host's way to a block of the volume: a connection to a node, by one protocol or another.
 *
 * One thread owns an access. All calls block, for as long as the limit given at its making and little longer.
 */
#ifndef PS_TESTS_HOSTS_ACCESS_H
#define PS_TESTS_HOSTS_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

enum access_status {
    ACCESS_OK,
    ACCESS_REFUSED, /* surely not done; the access stays usable */
    ACCESS_LOST,    /* no answer: close it */
    ACCESS_WRONG,   /* an answer that no host should ever get: `why` */
};

struct access {
    const struct access_kind *kind;
    char why[256]; /* of what was not ACCESS_OK */
};

struct access_kind {
    void (*close)(struct access *access);
    enum access_status (*transfer)(struct access *access, bool write, void *bytes, uint64_t offset);
};

/* NULL: nobody takes it in, for now; nothing was done. `url`: nbd://HOST:PORT/EXPORT. */
struct access *access_open_nbd(const char *url, unsigned limit_ms);
/* `endpoints`: as of pstorage_options. */
struct access *access_open_rpc(const char *endpoints, const char *volume, unsigned limit_ms);

/* Reads or writes CONTENT_BYTES at `offset`. */
static inline enum access_status access_transfer(struct access *access, bool write, void *bytes,
                                                 uint64_t offset)
{
    return access->kind->transfer(access, write, bytes, offset);
}

/* Whatever is under way stays without an answer. */
static inline void access_close(struct access *access)
{
    access->kind->close(access);
}

#endif
