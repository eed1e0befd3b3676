#include "node/host/nbd_transmit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/host/nbd_reply.h"
#include "node/host/nbd_wire.h"

enum {
    EXTENTS_MAX = 1024,     /* descriptors in one BLOCK_STATUS reply */
    DIRECT_MIN = 32 * 1024, /* payload from which a system call of its own costs less than copying it */
};
_Static_assert((int)NBD_BUFFER_MAX == (int)POD_MAX_IO_BYTES, "a buffer for every READ and WRITE");
_Static_assert(NBD_REQUESTS_MAX *NBD_SMALL_REPLY_MAX <= NBD_OUTPUT_RING, "room for every request's reply");

struct nbd_transmit *nbd_transmit_create(const struct nbd_handshake *hs, struct nbd_buffers *buffers,
                                         struct nbd_output *out, struct nbd_transmit_stats *stats,
                                         void (*completed)(void *user), void *user)
{
    assert(hs->state == NBD_HS_DONE);
    struct nbd_transmit *tx = malloc(sizeof *tx);
    if (!tx)
        return NULL;
    memset(tx, 0, offsetof(struct nbd_transmit, requests)); /* idle slots stay untouched, hence unbacked */
    tx->image = hs->image;
    tx->buffers = buffers;
    tx->out = out;
    tx->stats = stats;
    tx->completed = completed;
    tx->user = user;
    tx->structured = hs->structured;
    tx->allocation = hs->allocation;
    tx->payload_max = buffers->limit / 2 < NBD_BYTES_MAX ? buffers->limit / 2 : NBD_BYTES_MAX;
    list_init(&tx->waiter);
    list_init(&tx->free);
    return tx;
}

void nbd_transmit_destroy(struct nbd_transmit *tx)
{
    assert(tx->busy == 0 && tx->in_flight == 0 && tx->payload_bytes == 0);
    list_remove(&tx->waiter);
    host_image_close(tx->image);
    free(tx);
}

uint32_t nbd_error_of(int status, uint16_t command)
{
    if (status == PS_ERANGE && (command == NBD_CMD_WRITE || command == NBD_CMD_WRITE_ZEROES))
        return NBD_ENOSPC; /* the protocol wants this for writes beyond the end */
    if (status == PS_ENOTFOUND)
        return NBD_ESHUTDOWN; /* the image was deleted: the client shall disconnect */
    const int error = ps_status_errno(status);
    switch (error) {
    case 0:
    case NBD_EPERM:
    case NBD_ENOMEM:
    case NBD_EINVAL:
    case NBD_ENOSPC:
    case NBD_EOVERFLOW:
    case NBD_ENOTSUP:
    case NBD_ESHUTDOWN:
        return (uint32_t)error;
    default:
        return NBD_EIO;
    }
}

/* ---- slots */

static struct nbd_request *slot_take(struct nbd_transmit *tx)
{
    struct nbd_request *request;
    struct list_node *node = list_pop_front(&tx->free);
    if (node) {
        request = container_of(node, struct nbd_request, parcel.link);
    } else {
        /* None was given back: the busy ones are the first, and the next was never used. */
        request = &tx->requests[tx->busy];
    }
    tx->busy++;
    request->owner = tx;
    request->buffer = NULL;
    list_init(&request->parcel.link);
    return request;
}

static void slot_give(struct nbd_request *request)
{
    struct nbd_transmit *tx = request->owner;
    if (request->buffer) {
        tx->payload_bytes -= 1u << (request->buffer->size_class + NBD_BUFFER_MIN_SHIFT);
        nbd_buffers_give(tx->buffers, request->buffer);
    }
    tx->busy--;
    list_push_front(&tx->free, &request->parcel.link);
}

void nbd_transmit_release(struct list_node *finished)
{
    for (struct list_node *node; (node = list_pop_front(finished));)
        slot_give(container_of(node, struct nbd_request, parcel.link));
}

/* ---- replies */

static void reply_small(struct nbd_transmit *tx, uint64_t cookie, uint32_t error, const char *message)
{
    uint8_t reply[NBD_SMALL_REPLY_MAX];
    const uint32_t bytes = nbd_reply_small(reply, tx->structured, cookie, error, message);
    tx->stats->errors += error != 0;
    nbd_output_copy(tx->out, reply, bytes);
}

/* Of a pod in a cluster: nobody leads it, or whether the request took effect is not known. The host shall
 * connect again, and must not take this for an error of the medium. */
static bool ends_connection(struct nbd_transmit *tx, int status)
{
    if ((status != PS_EUNAVAILABLE && status != PS_ENOTPRIMARY) || !tx->image->images)
        return false;
    if (tx->state != NBD_TX_VIOLATED)
        (void)ps_error_set(&tx->error, status, "%s",
                           status == PS_ENOTPRIMARY ? "no primary of the pod was found in time"
                                                    : "the pod's primary was lost before it answered");
    tx->state = NBD_TX_VIOLATED;
    host_image_leave(tx->image);
    return true;
}

static void reply_status(struct nbd_request *request, int status)
{
    if (ends_connection(request->owner, status)) {
        slot_give(request);
        return;
    }
    reply_small(request->owner, request->cookie, nbd_error_of(status, request->command),
                ps_status_text(status));
    slot_give(request);
}

static void on_io(struct pod_io *io, int status)
{
    struct nbd_request *request = container_of(io, struct nbd_request, io);
    struct nbd_transmit *tx = request->owner;
    if (status && !tx->muted && host_image_again(tx->image, io, status)) {
        tx->completed(
            tx->user); /* whoever rests until something has ended goes on, and sees a client that leaves */
        return;
    }
    tx->in_flight--;
    tx->writes -= request->command == NBD_CMD_WRITE;
    if (tx->muted) {
        slot_give(request);
    } else if (status == 0 && request->command == NBD_CMD_READ) {
        tx->stats->read_bytes += io->length;
        nbd_reply_read(request, tx->structured);
        nbd_output_parcel(tx->out, &request->parcel);
    } else if (status == 0 && request->command == NBD_CMD_BLOCK_STATUS) {
        nbd_reply_block_status(request);
        nbd_output_parcel(tx->out, &request->parcel);
    } else {
        if (request->command == NBD_CMD_WRITE && status == 0)
            tx->stats->written_bytes += io->length;
        reply_status(request, status);
    }
    tx->completed(tx->user);
}

/* ---- requests */

struct command_rule {
    enum pod_io_op op;
    uint16_t flags; /* those the protocol documents for it; FUA is valid everywhere */
    bool payload;
};

static const struct command_rule rules[] = {
    [NBD_CMD_READ] = {POD_READ, NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF, true},
    [NBD_CMD_WRITE] = {POD_WRITE, NBD_CMD_FLAG_FUA, true},
    [NBD_CMD_FLUSH] = {POD_FLUSH, NBD_CMD_FLAG_FUA, false},
    [NBD_CMD_TRIM] = {POD_TRIM, NBD_CMD_FLAG_FUA, false},
    [NBD_CMD_CACHE] = {POD_PREFETCH, NBD_CMD_FLAG_FUA, false},
    [NBD_CMD_WRITE_ZEROES] = {POD_WRITE_ZERO,
                              NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO, false},
    [NBD_CMD_BLOCK_STATUS] = {POD_EXTENTS, NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE, false},
};

/* What makes a request invalid before the pod is asked, which checks range and
 * read-only; NULL if nothing. */
static const char *refusal(const struct nbd_transmit *tx, const struct nbd_request_header *h)
{
    if (h->command > NBD_CMD_BLOCK_STATUS || h->command == NBD_CMD_DISC)
        return "unknown command";
    const struct command_rule *rule = &rules[h->command];
    if (h->flags & ~(unsigned)rule->flags)
        return "a flag that this command does not have";
    if ((h->flags & NBD_CMD_FLAG_DF) && !tx->structured)
        return "DF without structured replies";
    if (h->command == NBD_CMD_FLUSH)
        return h->offset || h->length ? "FLUSH has neither offset nor length" : NULL;
    if (h->command == NBD_CMD_BLOCK_STATUS && !tx->allocation)
        return "base:allocation was not negotiated";
    if (h->length == 0)
        return "the length is 0";
    if (h->offset % POD_SECTOR_BYTES || h->length % POD_SECTOR_BYTES)
        return "offset and length must be multiples of 512 bytes";
    if (rule->payload && h->length > POD_MAX_IO_BYTES)
        return "longer than the maximum of 32 MiB";
    return NULL;
}

static void submit(struct nbd_request *request)
{
    struct nbd_transmit *tx = request->owner;
    const int status = host_image_submit(tx->image, &request->io, on_io);
    if (status) {
        reply_status(request, status);
        tx->completed(tx->user);
    } else {
        tx->in_flight++;
        tx->writes += request->command == NBD_CMD_WRITE;
    }
}

static uint32_t buffer_bytes(const struct nbd_request_header *h)
{
    if (h->command == NBD_CMD_BLOCK_STATUS)
        return EXTENTS_MAX * sizeof(struct pod_extent);
    return rules[h->command].payload ? h->length : 0;
}

static void begin(struct nbd_transmit *tx, const struct nbd_request_header *h, struct nbd_buffer *buffer)
{
    struct nbd_request *request = slot_take(tx);
    if (buffer)
        tx->payload_bytes += 1u << (buffer->size_class + NBD_BUFFER_MIN_SHIFT);
    request->buffer = buffer;
    request->cookie = h->cookie;
    request->command = h->command;
    request->flags = h->flags;
    struct pod_io *io = &request->io;
    io->op = rules[h->command].op;
    io->flags = (h->flags & NBD_CMD_FLAG_FUA ? POD_IO_FUA : 0u) |
                (h->flags & NBD_CMD_FLAG_NO_HOLE ? POD_IO_NO_HOLE : 0u);
    /* FAST_ZERO needs nothing: zeroes are map entries, never slower than a write. */
    io->offset = h->offset;
    io->length = h->length;
    io->buf = buffer ? buffer->data : NULL;
    io->extents = NULL;
    io->max_extents = io->nextents = 0;
    if (h->command == NBD_CMD_BLOCK_STATUS) {
        io->extents = (struct pod_extent *)(void *)buffer->data;
        io->max_extents = h->flags & NBD_CMD_FLAG_REQ_ONE ? 1 : EXTENTS_MAX;
    }
    tx->stats->requests++;
    if (h->command == NBD_CMD_WRITE) {
        tx->receiving = request;
        tx->received = 0;
    } else {
        submit(request);
    }
}

/* Whether another request may begin, its buffer aside. */
static bool has_place(const struct nbd_transmit *tx, uint32_t bytes)
{
    const uint32_t replies = tx->in_flight + 1;
    return tx->busy < NBD_REQUESTS_MAX && nbd_output_room(tx->out) >= replies * NBD_SMALL_REPLY_MAX &&
           (bytes == 0 || tx->payload_bytes == 0 ||
            tx->payload_bytes + nbd_buffers_cost(bytes) <= tx->payload_max);
}

static void reply_refused(struct nbd_transmit *tx)
{
    reply_small(tx, tx->refused_cookie, NBD_EINVAL, tx->refused_message);
    tx->completed(tx->user);
}

static struct nbd_buffer *take_buffer(struct nbd_transmit *tx, uint32_t bytes)
{
    if (tx->payload_bytes + nbd_buffers_cost(bytes) <= NBD_BYTES_GUARANTEED) {
        struct nbd_buffer *buffer = nbd_buffers_take_guaranteed(tx->buffers, bytes);
        if (buffer) {
            list_remove(&tx->waiter); /* where a larger share was waited for */
            return buffer;
        }
    }
    return nbd_buffers_take(tx->buffers, bytes, &tx->waiter);
}

static size_t feed_header(struct nbd_transmit *tx, const uint8_t *in, size_t bytes)
{
    if (bytes < NBD_REQUEST_BYTES)
        return 0;
    struct nbd_request_header h;
    if (!nbd_get_request(in, &h)) {
        tx->state = NBD_TX_VIOLATED;
        (void)ps_error_set(&tx->error, PS_EPROTOCOL, "a request begins with a wrong magic number");
        return 0;
    }
    if (h.command == NBD_CMD_DISC) {
        tx->state = NBD_TX_ENDED;
        host_image_leave(tx->image);
        return NBD_REQUEST_BYTES;
    }
    const char *message = refusal(tx, &h);
    const uint32_t need = message ? 0 : buffer_bytes(&h);
    if (!has_place(tx, need)) {
        list_remove(&tx->waiter); /* what is missing is this client's own doing: others go first */
        tx->state = NBD_TX_STALLED;
        return 0;
    }
    if (message) {
        tx->stats->requests++;
        tx->skip = h.command == NBD_CMD_WRITE ? h.length : 0;
        tx->refused_cookie = h.cookie;
        tx->refused_message = message;
        if (tx->skip == 0)
            reply_refused(tx);
        return NBD_REQUEST_BYTES;
    }
    struct nbd_buffer *buffer = NULL;
    if (need > 0) {
        buffer = take_buffer(tx, need);
        if (!buffer) {
            tx->state = NBD_TX_STALLED;
            return 0;
        }
    }
    begin(tx, &h, buffer);
    return NBD_REQUEST_BYTES;
}

static void payload_received(struct nbd_transmit *tx, uint32_t bytes)
{
    struct nbd_request *request = tx->receiving;
    tx->received += bytes;
    assert(tx->received <= request->io.length);
    if (tx->received < request->io.length)
        return;
    tx->receiving = NULL;
    submit(request);
}

size_t nbd_transmit_feed(struct nbd_transmit *tx, const uint8_t *in, size_t bytes)
{
    if (tx->state == NBD_TX_STALLED)
        tx->state = NBD_TX_RUNNING;
    size_t taken = 0;
    while (tx->state == NBD_TX_RUNNING && taken < bytes) {
        const size_t left = bytes - taken;
        if (tx->skip > 0) {
            const uint32_t step = left < tx->skip ? (uint32_t)left : tx->skip;
            tx->skip -= step;
            taken += step;
            if (tx->skip == 0)
                reply_refused(tx);
        } else if (tx->receiving) {
            const uint32_t missing = (uint32_t)tx->receiving->io.length - tx->received;
            const uint32_t step = left < missing ? (uint32_t)left : missing;
            memcpy(tx->receiving->buffer->data + tx->received, in + taken, step);
            payload_received(tx, step);
            taken += step;
        } else {
            const size_t step = feed_header(tx, in + taken, left);
            if (step == 0)
                break;
            taken += step;
        }
    }
    return taken;
}

size_t nbd_transmit_direct(const struct nbd_transmit *tx, void **buf)
{
    if (!tx->receiving || tx->receiving->io.length < DIRECT_MIN)
        return 0;
    *buf = tx->receiving->buffer->data + tx->received;
    return tx->receiving->io.length - tx->received;
}

void nbd_transmit_direct_received(struct nbd_transmit *tx, size_t bytes)
{
    payload_received(tx, (uint32_t)bytes);
}

bool nbd_transmit_gathers(const struct nbd_transmit *tx)
{
    /* While requests wait for a primary, a client that leaves is to be noticed: they die with it. */
    return tx->image->local && tx->writes >= NBD_GATHER_WRITES && tx->writes == tx->in_flight &&
           !tx->receiving && tx->payload_bytes < NBD_GATHER_BYTES;
}

void nbd_transmit_end(struct nbd_transmit *tx)
{
    if (tx->state == NBD_TX_RUNNING || tx->state == NBD_TX_STALLED)
        tx->state = NBD_TX_ENDED;
    host_image_leave(tx->image);
    list_remove(&tx->waiter);
    if (tx->receiving) {
        slot_give(tx->receiving);
        tx->receiving = NULL;
    }
}

void nbd_transmit_mute(struct nbd_transmit *tx)
{
    nbd_transmit_end(tx);
    tx->muted = true;
    host_image_cancel_all(tx->image);
    struct list_node finished;
    list_init(&finished);
    nbd_output_drop(tx->out, &finished);
    nbd_transmit_release(&finished);
}
