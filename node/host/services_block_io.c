/* Block I/O: see proto/pstorage/v1/block_io.proto.
 *
 * A handle is a number that grows << 8 | slot in the connection's table, so a
 * stale one is noticed. An image stays open as long as its handle; the handle as
 * long as its connection, which outlives all calls made on it.
 *
 * A client's image goes with the pod, wherever that is led (host_image.h). What another node passes on is
 * for the pod here alone: on a handle of that kind a request is refused when its stamp is too old or this
 * node does not lead, and from then on so is every other one. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "node/host/primary_link.h"
#include "node/host/services_impl.h"
#include "pstorage/v1/block_io.pb-c.h"

enum {
    SPARE_MAX = 1024
};
_Static_assert(SERVICES_HANDLES_MAX == 256, "a slot is a handle's low byte");

struct handle {
    uint64_t number; /* 0: free */
    struct host_image *image;
    struct rpc_call *opening; /* while the primary is asked */
    struct rpc_call *closer;  /* answered when the last request has ended */
    struct services *services;
    uint32_t in_flight;
    bool read_only, closing;
    /* Another node's, for a host of its own. */
    bool forwarded, refusing;
};

struct bio_connection {
    struct bio_connection *next; /* in its bucket */
    uint64_t id, opened;
    struct handle handles[SERVICES_HANDLES_MAX];
};

/* A request on its way through the pod. */
struct bio {
    struct pod_io io;
    struct list_node link; /* in services->spare */
    struct services *services;
    struct rpc_call *call;
    struct handle *handle;
};

static struct bio_connection **bucket_of(struct services *s, uint64_t connection)
{
    struct bio_connection **at = &s->connections[connection % SERVICES_BUCKETS];
    while (*at && (*at)->id != connection)
        at = &(*at)->next;
    return at;
}

/* ---- opening and closing */

static void close_handle(struct handle *handle)
{
    assert(handle->in_flight == 0);
    host_image_close(handle->image);
    *handle = (struct handle){0};
}

static void reply_open(const struct services *s, struct rpc_call *call, struct handle *handle)
{
    struct pod_image_info info;
    const int found = host_image_info(handle->image, &info);
    assert(found == PS_OK); /* it was opened a moment ago */
    (void)found;
    handle->read_only |= info.kind == POD_SNAPSHOT;

    struct image_row row;
    image_row_fill(&row, s, &info);
    Pstorage__V1__OpenResponse response = PSTORAGE__V1__OPEN_RESPONSE__INIT;
    response.handle = handle->number;
    response.image = &row.image;
    response.read_only = handle->read_only;
    response.max_io_bytes = RPC_PAYLOAD_MAX;
    response.block_bytes = POD_BLOCK_BYTES;
    response.atomic_bytes = POD_ATOMIC_BYTES;
    rpc_call_reply(call, &response.base);
}

/* The primary has answered. */
static void on_opened(void *user, int status, const char *detail)
{
    struct handle *handle = user;
    struct rpc_call *call = handle->opening;
    struct services *s = handle->services;
    handle->opening = NULL;
    if (status == 0) {
        reply_open(s, call, handle);
        return;
    }
    close_handle(handle);
    rpc_call_fail(call, status, detail);
}

/* A free place in the connection's table; NULL: the call has ended. */
static struct handle *new_handle(struct services *s, struct rpc_call *call)
{
    struct bio_connection **at = bucket_of(s, rpc_call_connection(call));
    if (!*at) {
        *at = calloc(1, sizeof **at);
        if (!*at) {
            rpc_call_fail(call, PS_ENOMEM, NULL);
            return NULL;
        }
        (*at)->id = rpc_call_connection(call);
    }
    struct bio_connection *conn = *at;
    unsigned slot = 0;
    while (slot < SERVICES_HANDLES_MAX && conn->handles[slot].number)
        slot++;
    if (slot == SERVICES_HANDLES_MAX) {
        rpc_call_fail(call, PS_ELIMIT, "256 images are open on this connection");
        return NULL;
    }
    conn->handles[slot] = (struct handle){.number = ++conn->opened << 8 | slot, .services = s};
    return &conn->handles[slot];
}

static void open_image(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct services *s = user;
    const Pstorage__V1__OpenRequest *request = (const void *)message;
    struct handle *handle = new_handle(s, call);
    size_t length;
    if (!handle)
        return;
    struct ps_error err = {0};
    handle->read_only = request->read_only;
    handle->forwarded = rpc_call_metadata(call, PRIMARY_KEY_FORWARDED_BY, &length) != NULL;
    handle->opening = call;
    const int status =
        host_image_open(handle->forwarded ? NULL : s->config.images, s->config.pod, request->name,
                        request->read_only, &handle->image, on_opened, handle, &err);
    if (status == HOST_IMAGE_WAITS)
        return;
    handle->opening = NULL;
    if (status) {
        *handle = (struct handle){0};
        fail_refused(s, call, status, err.detail[0] ? err.detail : NULL);
        return;
    }
    reply_open(s, call, handle);
}

/* NULL: the call has ended. */
static struct handle *find(struct services *s, struct rpc_call *call, uint64_t number)
{
    struct bio_connection *conn = *bucket_of(s, rpc_call_connection(call));
    struct handle *handle = conn ? &conn->handles[number % SERVICES_HANDLES_MAX] : NULL;
    if (handle && number != 0 && handle->number == number && !handle->opening && !handle->closing)
        return handle;
    rpc_call_fail(call, PS_ENOTFOUND, "no image is open under this handle on this connection");
    return NULL;
}

static void reply_empty(struct rpc_call *call)
{
    const Pstorage__V1__IoResponse response = PSTORAGE__V1__IO_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

static void answer_closer(struct handle *handle)
{
    struct rpc_call *call = handle->closer;
    handle->closer = NULL;
    if (call)
        reply_empty(call);
}

static void close_if_idle(struct handle *handle)
{
    if (!handle->closing || handle->in_flight > 0)
        return;
    struct handle was = *handle;
    close_handle(handle);
    answer_closer(&was);
}

static void close_image(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__CloseRequest *request = (const void *)message;
    struct handle *handle = find(user, call, request->handle);
    if (!handle)
        return;
    handle->closing = true;
    handle->closer = call;
    /* Another node does not wait for what its host has given up. */
    if (handle->forwarded)
        answer_closer(handle);
    close_if_idle(handle);
}

static void free_connection(struct bio_connection *conn)
{
    for (size_t i = 0; i < SERVICES_HANDLES_MAX; i++)
        if (conn->handles[i].number)
            close_handle(&conn->handles[i]);
    free(conn);
}

static void disconnected(void *user, uint64_t connection)
{
    struct bio_connection **at = bucket_of(user, connection), *conn = *at;
    if (!conn)
        return;
    *at = conn->next;
    free_connection(conn);
}

void services_block_io_destroy(struct services *s)
{
    for (size_t i = 0; i < SERVICES_BUCKETS; i++)
        assert(!s->connections[i]);
    for (struct list_node *node; (node = list_pop_front(&s->spare));)
        free(container_of(node, struct bio, link));
}

/* ---- requests */

/* Says what is wrong with a range; `status` as the pod gave it. */
static void fail_range(const struct services *s, struct rpc_call *call, const struct pod_io *io, int status)
{
    struct ps_error err = {0};
    struct pod_image_info info;
    if (status == PS_ERANGE && io->image && pod_image_info(io->image, &info) == PS_OK)
        (void)ps_error_set(&err, status,
                           "offset %" PRIu64 " and length %" PRIu64 " end beyond the image's %" PRIu64
                           " bytes",
                           io->offset, io->length, info.size_bytes);
    else if (status == PS_EINVAL)
        (void)ps_error_set(&err, status,
                           "offset %" PRIu64 " and length %" PRIu64
                           " must be multiples of %d, the length not 0",
                           io->offset, io->length, POD_SECTOR_BYTES);
    fail_refused(s, call, status, err.detail[0] ? err.detail : NULL);
}

static void recycle(struct bio *bio)
{
    struct services *s = bio->services;
    bio->handle->in_flight--;
    close_if_idle(bio->handle);
    free(bio->io.extents);
    if (s->nspare < SPARE_MAX) {
        list_push_front(&s->spare, &bio->link);
        s->nspare++;
    } else {
        free(bio);
    }
}

/* Of a request that another node has passed on: 0, or why it is not taken. All that follows on the handle is
 * refused, too, or it would overtake. */
static int check_forwarded(const struct services *s, struct handle *handle, uint64_t stamp,
                           struct ps_error *err)
{
    const struct primary_gate *gate = s->config.gate;
    const uint64_t now = s->config.now_ns(s->config.user);
    if (!handle->refusing && primary_gate_is_open(gate) && stamp <= now &&
        now - stamp <= PRIMARY_STAMP_VALID_NS)
        return 0;
    handle->refusing = true;
    if (!primary_gate_is_open(gate))
        return gate->refusal(gate->user, err);
    return ps_error_set(err, PS_EABORTED, "the request was too long on its way");
}

/* Waits elsewhere than in the pod, which is never told to give up a request. */
static void cancelled(struct rpc_call *call)
{
    struct bio *bio = rpc_call_user(call);
    host_image_cancel(bio->handle->image, &bio->io);
}

static struct bio *prepare(struct services *s, struct rpc_call *call, uint64_t number, uint64_t stamp)
{
    struct handle *handle = find(s, call, number);
    struct ps_error err = {0};
    if (!handle)
        return NULL;
    if (handle->forwarded && check_forwarded(s, handle, stamp, &err)) {
        rpc_call_fail(call, err.status, err.detail);
        return NULL;
    }
    struct list_node *node = list_pop_front(&s->spare);
    struct bio *bio = node ? container_of(node, struct bio, link) : malloc(sizeof *bio);
    if (!bio) {
        rpc_call_fail(call, PS_ENOMEM, NULL);
        return NULL;
    }
    s->nspare -= node != NULL;
    *bio = (struct bio){.services = s, .call = call, .handle = handle};
    handle->in_flight++;
    rpc_call_set_user(call, bio);
    rpc_call_watch(call, cancelled, NULL);
    return bio;
}

static void submit(struct bio *bio, enum pod_io_op op, uint64_t offset, uint64_t length, uint32_t flags,
                   pod_io_cb cb)
{
    struct pod_io *io = &bio->io;
    io->op = op;
    io->offset = offset;
    io->length = length;
    io->flags = flags;
    int status = PS_OK;
    if (bio->handle->read_only && (op == POD_WRITE || op == POD_TRIM || op == POD_WRITE_ZERO))
        status = PS_EREADONLY;
    else if (op != POD_FLUSH && (length == 0 || offset % POD_SECTOR_BYTES || length % POD_SECTOR_BYTES))
        status = PS_EINVAL;
    else if (offset > UINT64_MAX - length)
        status = PS_ERANGE;
    else
        status = host_image_submit(bio->handle->image, io, cb);
    if (status) {
        bio->handle->refusing |= status == PS_EUNAVAILABLE;
        fail_range(bio->services, bio->call, io, status);
        recycle(bio);
    }
}

static void fail(struct bio *bio, int status)
{
    if (status == PS_ENOTPRIMARY) {
        fail_refused(bio->services, bio->call, status, NULL);
        return;
    }
    rpc_call_fail(bio->call, status,
                  status == PS_EUNAVAILABLE ? "the pod's primary was lost before it answered; whether the "
                                              "request took effect is unknown"
                                            : NULL);
}

static void io_done(struct pod_io *io, int status)
{
    struct bio *bio = container_of(io, struct bio, io);
    if (status && host_image_again(bio->handle->image, io, status))
        return;
    if (status)
        fail(bio, status);
    else
        reply_empty(bio->call); /* of a read: with the reply buffer */
    recycle(bio);
}

static void read_image(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__ReadRequest *request = (const void *)message;
    struct bio *bio = prepare(user, call, request->handle, request->stamp);
    if (!bio)
        return;
    if (request->length > RPC_PAYLOAD_MAX) {
        rpc_call_fail(call, PS_EINVAL, "a read is at most 1 MiB");
        recycle(bio);
        return;
    }
    /* A length of 0 is refused with the range. */
    bio->io.buf = request->length ? rpc_call_reply_buffer(call, request->length) : NULL;
    if (request->length && !bio->io.buf) {
        rpc_call_fail(call, PS_ENOMEM, NULL);
        recycle(bio);
        return;
    }
    submit(bio, POD_READ, request->offset, request->length, 0, io_done);
}

static void write_image(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__WriteRequest *request = (const void *)message;
    struct bio *bio = prepare(user, call, request->handle, request->stamp);
    size_t length;
    if (!bio)
        return;
    bio->io.buf = rpc_call_payload(call, &length);
    submit(bio, POD_WRITE, request->offset, length, request->fua ? POD_IO_FUA : 0, io_done);
}

static void trim(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__TrimRequest *request = (const void *)message;
    struct bio *bio = prepare(user, call, request->handle, request->stamp);
    if (bio)
        submit(bio, POD_TRIM, request->offset, request->length, request->fua ? POD_IO_FUA : 0, io_done);
}

static void write_zeroes(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__WriteZeroesRequest *request = (const void *)message;
    const uint32_t flags =
        (request->fua ? (uint32_t)POD_IO_FUA : 0) | (request->no_hole ? (uint32_t)POD_IO_NO_HOLE : 0);
    struct bio *bio = prepare(user, call, request->handle, request->stamp);
    if (bio)
        submit(bio, POD_WRITE_ZERO, request->offset, request->length, flags, io_done);
}

static void flush(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__FlushRequest *request = (const void *)message;
    struct bio *bio = prepare(user, call, request->handle, request->stamp);
    if (bio)
        submit(bio, POD_FLUSH, 0, 0, 0, io_done);
}

/* ---- extents */

static Pstorage__V1__ExtentKind kind_of(enum pod_extent_kind kind)
{
    switch (kind) {
    case POD_EXTENT_ZERO:
        return PSTORAGE__V1__EXTENT_KIND__EXTENT_KIND_ZERO;
    case POD_EXTENT_HOLE:
        return PSTORAGE__V1__EXTENT_KIND__EXTENT_KIND_HOLE;
    case POD_EXTENT_DATA:
        break;
    }
    return PSTORAGE__V1__EXTENT_KIND__EXTENT_KIND_DATA;
}

static void reply_extents(struct rpc_call *call, const struct pod_io *io)
{
    Pstorage__V1__Extent rows[SERVICES_EXTENTS_MAX], *extents[SERVICES_EXTENTS_MAX];
    for (uint32_t i = 0; i < io->nextents; i++) {
        pstorage__v1__extent__init(&rows[i]);
        rows[i].length_bytes = io->extents[i].length_bytes;
        rows[i].kind = kind_of(io->extents[i].kind);
        extents[i] = &rows[i];
    }
    Pstorage__V1__ExtentsResponse response = PSTORAGE__V1__EXTENTS_RESPONSE__INIT;
    response.extents = extents;
    response.n_extents = io->nextents;
    rpc_call_reply(call, &response.base);
}

static void extents_done(struct pod_io *io, int status)
{
    struct bio *bio = container_of(io, struct bio, io);
    if (status && host_image_again(bio->handle->image, io, status))
        return;
    if (status)
        fail(bio, status);
    else
        reply_extents(bio->call, io);
    recycle(bio);
}

static void extents(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__ExtentsRequest *request = (const void *)message;
    struct bio *bio = prepare(user, call, request->handle, request->stamp);
    if (!bio)
        return;
    uint32_t max = request->max_extents;
    if (max == 0 || max > SERVICES_EXTENTS_MAX)
        max = SERVICES_EXTENTS_MAX;
    bio->io.max_extents = max;
    bio->io.extents = calloc(max, sizeof *bio->io.extents);
    if (!bio->io.extents) {
        rpc_call_fail(call, PS_ENOMEM, NULL);
        recycle(bio);
        return;
    }
    submit(bio, POD_EXTENTS, request->offset, request->length, 0, extents_done);
}

/* ---- stamps */

static void stamp(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct services *s = user;
    const struct primary_gate *gate = s->config.gate;
    struct ps_error err = {0};
    (void)message;
    if (!primary_gate_is_open(gate)) {
        (void)gate->refusal(gate->user, &err);
        rpc_call_fail(call, err.status, err.detail);
        return;
    }
    Pstorage__V1__StampResponse response = PSTORAGE__V1__STAMP_RESPONSE__INIT;
    response.stamp = s->config.now_ns(s->config.user);
    rpc_call_reply(call, &response.base);
}

static const struct rpc_method methods[] = {
    {.name = "Open", .handler = open_image}, {.name = "Close", .handler = close_image},
    {.name = "Read", .handler = read_image}, {.name = "Write", .handler = write_image, .takes_payload = true},
    {.name = "Trim", .handler = trim},       {.name = "WriteZeroes", .handler = write_zeroes},
    {.name = "Flush", .handler = flush},     {.name = "Extents", .handler = extents},
    {.name = "Stamp", .handler = stamp},
};

const struct rpc_service services_block_io = {
    .descriptor = &pstorage__v1__block_io__descriptor,
    .methods = methods,
    .nmethods = sizeof methods / sizeof methods[0],
    .disconnected = disconnected,
};
