#include "client/cli/transfer.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/container.h"

struct transfer {
    struct pstorage_client *client;
    struct pstorage_image *image;
    size_t slot_bytes;
    unsigned next; /* number of the slot that transfer_next looks at; the oldest one */
    /* Shared with the client's thread. */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct pstorage_error error; /* status 0: none so far */
    struct transfer_slot slots[TRANSFER_SLOTS];
};

struct transfer *transfer_create(struct pstorage_client *client, struct pstorage_image *image)
{
    struct pstorage_limits limits;
    pstorage_image_describe(image, NULL, &limits);
    struct transfer *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    t->client = client;
    t->image = image;
    /* Whole blocks, so that no block is written in two pieces. */
    t->slot_bytes = limits.max_io_bytes < TRANSFER_BYTES ? limits.max_io_bytes : TRANSFER_BYTES;
    if (t->slot_bytes > 4096)
        t->slot_bytes -= t->slot_bytes % 4096;
    (void)pthread_mutex_init(&t->lock, NULL);
    (void)pthread_cond_init(&t->cond, NULL);
    for (unsigned i = 0; i < TRANSFER_SLOTS; i++) {
        t->slots[i].transfer = t;
        if (posix_memalign((void **)(void *)&t->slots[i].buffer, 4096, TRANSFER_BYTES) != 0)
            abort();
    }
    return t;
}

size_t transfer_slot_bytes(const struct transfer *t)
{
    return t->slot_bytes;
}

static int wait_for(struct transfer *t, struct transfer_slot *slot)
{
    (void)pthread_mutex_lock(&t->lock);
    while (slot->pending > 0)
        (void)pthread_cond_wait(&t->cond, &t->lock);
    const int status = t->error.status;
    (void)pthread_mutex_unlock(&t->lock);
    return status;
}

void transfer_destroy(struct transfer *t)
{
    for (unsigned i = 0; i < TRANSFER_SLOTS; i++)
        for (unsigned k = 0; k < t->slots[i].nios; k++)
            pstorage_cancel(t->client, &t->slots[i].ios[k].request);
    for (unsigned i = 0; i < TRANSFER_SLOTS; i++) {
        (void)wait_for(t, &t->slots[i]);
        free(t->slots[i].buffer);
    }
    (void)pthread_mutex_destroy(&t->lock);
    (void)pthread_cond_destroy(&t->cond);
    free(t);
}

struct transfer_slot *transfer_next(struct transfer *t)
{
    struct transfer_slot *slot = &t->slots[t->next];
    if (wait_for(t, slot))
        return NULL;
    t->next = (t->next + 1) % TRANSFER_SLOTS;
    slot->nios = 0;
    return slot;
}

struct transfer_slot *transfer_oldest(struct transfer *t)
{
    for (unsigned i = 0; i < TRANSFER_SLOTS; i++) {
        struct transfer_slot *slot = &t->slots[t->next];
        const bool loaded = slot->loaded;
        if (!transfer_next(t))
            return NULL;
        slot->loaded = false;
        if (loaded)
            return slot;
    }
    return NULL;
}

void transfer_add(struct transfer_slot *slot, enum pstorage_io_op op, uint64_t offset, uint64_t length,
                  char *data)
{
    assert(slot->nios < TRANSFER_REQUESTS);
    slot->ios[slot->nios++] =
        (struct pstorage_io){.op = op, .offset = offset, .length = length, .buffer = data};
}

static void done(struct transfer_slot *slot, const struct pstorage_error *error)
{
    struct transfer *t = slot->transfer;
    (void)pthread_mutex_lock(&t->lock);
    if (error->status && !t->error.status)
        t->error = *error;
    if (--slot->pending == 0)
        (void)pthread_cond_signal(&t->cond);
    (void)pthread_mutex_unlock(&t->lock);
}

static void on_done(struct pstorage_request *r, int status)
{
    const struct pstorage_io *io = container_of(r, struct pstorage_io, request);
    struct pstorage_error error = r->error;
    if (status == PSTORAGE_EDATALOSS)
        (void)snprintf(error.detail, sizeof error.detail,
                       "of the %" PRIu64 " bytes at %" PRIu64
                       " some are lost: 'pstorage scrub --status' and events tell which",
                       io->length, io->offset);
    done(r->user, &error);
}

void transfer_submit(struct transfer *t, struct transfer_slot *slot)
{
    slot->loaded = true;
    (void)pthread_mutex_lock(&t->lock);
    slot->pending = slot->nios;
    (void)pthread_mutex_unlock(&t->lock);
    for (unsigned i = 0; i < slot->nios; i++) {
        slot->ios[i].request.user = slot;
        if (pstorage_io_submit(t->image, &slot->ios[i], on_done))
            done(slot, &slot->ios[i].request.error);
    }
}

int transfer_error(const struct transfer *t, struct pstorage_error *err)
{
    if (t->error.status)
        *err = t->error;
    return t->error.status;
}
