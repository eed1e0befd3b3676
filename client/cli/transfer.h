/* Bulk data between this program and an open image: a ring of slots, each a
 * buffer and the requests on it, so that many are under way while the caller
 * reads or writes a file. The ring turns in order: what is taken out is the
 * oldest, which keeps a pipe's bytes in theirs.
 *
 *   while (more && (slot = transfer_next(t))) {   waits for the oldest slot
 *       (its last read has arrived: use it)
 *       fill the buffer, transfer_add(...), transfer_submit(t, slot)
 *   }
 *   while ((slot = transfer_oldest(t)))  the rest, in order
 *
 * One thread. After the first error, transfer_next and transfer_oldest return NULL. */
#ifndef PS_CLI_TRANSFER_H
#define PS_CLI_TRANSFER_H

#include "client/lib/pstorage.h"

enum {
    TRANSFER_SLOTS = 16,
    TRANSFER_BYTES = 1024 * 1024,
    TRANSFER_REQUESTS = 256
};

struct transfer_slot {
    char *buffer; /* TRANSFER_BYTES, or less if the image's limit is less; aligned to 4 KiB */
    bool loaded;  /* submitted, and not handed out since */
    /* The caller's own, for instance where its data belongs. */
    uint64_t offset, length;
    bool hole;
    /* The ring's own. */
    struct transfer *transfer;
    unsigned nios, pending;
    struct pstorage_io ios[TRANSFER_REQUESTS];
};

struct transfer;

struct transfer *transfer_create(struct pstorage_client *client, struct pstorage_image *image);
/* Cancels what is under way and waits for it. */
void transfer_destroy(struct transfer *t);

size_t transfer_slot_bytes(const struct transfer *t);

/* The next slot, all its requests done. If it is `loaded`, it holds what was
 * submitted one turn ago; else it is empty. NULL after an error. */
struct transfer_slot *transfer_next(struct transfer *t);

/* The oldest slot that is still loaded, waited for; NULL when there is none or after an error. */
struct transfer_slot *transfer_oldest(struct transfer *t);

/* At most TRANSFER_REQUESTS a slot. */
void transfer_add(struct transfer_slot *slot, enum pstorage_io_op op, uint64_t offset, uint64_t length,
                  char *data);

/* The slot may have no requests; it then is done at once. */
void transfer_submit(struct transfer *t, struct transfer_slot *slot);

/* The first error, or 0. */
int transfer_error(const struct transfer *t, struct pstorage_error *err);

#endif
