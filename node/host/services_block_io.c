/* Block I/O: see proto/pstorage/v1/block_io.proto.
 *
 * A handle is a number that grows << 8 | slot in the connection's table, so a
 * stale one is noticed. An image stays open as long as its handle; the handle as
 * long as its connection, which outlives all calls made on it. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "node/host/services_impl.h"
#include "pstorage/v1/block_io.pb-c.h"

enum {
    SPARE_MAX = 1024
};
_Static_assert(SERVICES_HANDLES_MAX == 256, "a slot is a handle's low byte");

struct handle {
    uint64_t number; /* 0: free */
    struct pod_image *image;
    uint32_t in_flight;
    bool read_only;
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

static void open_image(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct services *s = user;
    const Pstorage__V1__OpenRequest *request = (const void *)message;
    struct bio_connection **at = bucket_of(s, rpc_call_connection(call));
    if (!*at) {
        *at = calloc(1, sizeof **at);
        if (!*at) {
            rpc_call_fail(call, PS_ENOMEM, NULL);
            return;
        }
        (*at)->id = rpc_call_connection(call);
    }
    struct bio_connection *conn = *at;
    unsigned slot = 0;
    while (slot < SERVICES_HANDLES_MAX && conn->handles[slot].number)
        slot++;
    if (slot == SERVICES_HANDLES_MAX) {
        rpc_call_fail(call, PS_ELIMIT, "256 images are open on this connection");
        return;
    }
    struct ps_error err = {0};
    struct handle *handle = &conn->handles[slot];
    struct pod_image *image;
    const int status = pod_image_open(s->config.pod, request->name, &image, &err);
    if (status) {
        fail_refused(s, call, status, err.detail[0] ? err.detail : NULL);
        return;
    }
    struct pod_image_info info;
    const int found = pod_image_info(image, &info);
    assert(found == PS_OK); /* it was opened a moment ago */
    (void)found;
    *handle = (struct handle){.number = ++conn->opened << 8 | slot, .image = image};
    handle->read_only = request->read_only || info.kind == POD_SNAPSHOT;

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

/* NULL: the call has ended. */
static struct handle *find(struct services *s, struct rpc_call *call, uint64_t number)
{
    struct bio_connection *conn = *bucket_of(s, rpc_call_connection(call));
    struct handle *handle = conn ? &conn->handles[number % SERVICES_HANDLES_MAX] : NULL;
    if (handle && number != 0 && handle->number == number)
        return handle;
    rpc_call_fail(call, PS_ENOTFOUND, "no image is open under this handle on this connection");
    return NULL;
}

static void close_handle(struct handle *handle)
{
    assert(handle->in_flight == 0);
    pod_image_close(handle->image);
    *handle = (struct handle){0};
}

static void reply_empty(struct rpc_call *call)
{
    const Pstorage__V1__IoResponse response = PSTORAGE__V1__IO_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

static void close_image(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__CloseRequest *request = (const void *)message;
    struct handle *handle = find(user, call, request->handle);
    if (!handle)
        return;
    if (handle->in_flight > 0) {
        rpc_call_fail(call, PS_EPRECONDITION, "requests on this handle are in flight");
        return;
    }
    close_handle(handle);
    reply_empty(call);
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
    if (status == PS_ERANGE && pod_image_info(io->image, &info) == PS_OK)
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
    free(bio->io.extents);
    if (s->nspare < SPARE_MAX) {
        list_push_front(&s->spare, &bio->link);
        s->nspare++;
    } else {
        free(bio);
    }
}

static struct bio *prepare(struct services *s, struct rpc_call *call, uint64_t number)
{
    struct handle *handle = find(s, call, number);
    if (!handle)
        return NULL;
    struct list_node *node = list_pop_front(&s->spare);
    struct bio *bio = node ? container_of(node, struct bio, link) : malloc(sizeof *bio);
    if (!bio) {
        rpc_call_fail(call, PS_ENOMEM, NULL);
        return NULL;
    }
    s->nspare -= node != NULL;
    *bio = (struct bio){.services = s, .call = call, .handle = handle, .io = {.image = handle->image}};
    handle->in_flight++;
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
        status = pod_submit(bio->services->config.pod, io, cb);
    if (status) {
        fail_range(bio->services, bio->call, io, status);
        recycle(bio);
    }
}

static void io_done(struct pod_io *io, int status)
{
    struct bio *bio = container_of(io, struct bio, io);
    if (status)
        rpc_call_fail(bio->call, status, NULL);
    else
        reply_empty(bio->call); /* of a read: with the reply buffer */
    recycle(bio);
}

static void read_image(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__ReadRequest *request = (const void *)message;
    struct bio *bio = prepare(user, call, request->handle);
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
    struct bio *bio = prepare(user, call, request->handle);
    size_t length;
    if (!bio)
        return;
    bio->io.buf = rpc_call_payload(call, &length);
    submit(bio, POD_WRITE, request->offset, length, request->fua ? POD_IO_FUA : 0, io_done);
}

static void trim(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__TrimRequest *request = (const void *)message;
    struct bio *bio = prepare(user, call, request->handle);
    if (bio)
        submit(bio, POD_TRIM, request->offset, request->length, request->fua ? POD_IO_FUA : 0, io_done);
}

static void write_zeroes(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__WriteZeroesRequest *request = (const void *)message;
    const uint32_t flags =
        (request->fua ? (uint32_t)POD_IO_FUA : 0) | (request->no_hole ? (uint32_t)POD_IO_NO_HOLE : 0);
    struct bio *bio = prepare(user, call, request->handle);
    if (bio)
        submit(bio, POD_WRITE_ZERO, request->offset, request->length, flags, io_done);
}

static void flush(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__FlushRequest *request = (const void *)message;
    struct bio *bio = prepare(user, call, request->handle);
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
    if (status)
        rpc_call_fail(bio->call, status, NULL);
    else
        reply_extents(bio->call, io);
    recycle(bio);
}

static void extents(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__ExtentsRequest *request = (const void *)message;
    struct bio *bio = prepare(user, call, request->handle);
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

static const struct rpc_method methods[] = {
    {.name = "Open", .handler = open_image}, {.name = "Close", .handler = close_image},
    {.name = "Read", .handler = read_image}, {.name = "Write", .handler = write_image, .takes_payload = true},
    {.name = "Trim", .handler = trim},       {.name = "WriteZeroes", .handler = write_zeroes},
    {.name = "Flush", .handler = flush},     {.name = "Extents", .handler = extents},
};

const struct rpc_service services_block_io = {
    .descriptor = &pstorage__v1__block_io__descriptor,
    .methods = methods,
    .nmethods = sizeof methods / sizeof methods[0],
    .disconnected = disconnected,
};
