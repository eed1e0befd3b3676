/* Requests as calls of the primary, and its answers as results. Nothing that it answers is believed before it
 * fits. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/transport.h"
#include "node/host/host_image_impl.h"
#include "pstorage/v1/block_io.pb-c.h"

enum {
    SPARE_MAX = 2 * PRIMARY_LINK_CALLS_MAX
};
#define OPEN_AGAIN_NS   10000000ull  /* nobody leads there yet */
#define OPEN_REFUSED_NS 250000000ull /* it may have place, or memory, some time later */

/* ---- calls */

static struct remote_call *call_new(struct host_images *images, struct remote_image *image,
                                    enum remote_kind kind)
{
    struct list_node *node = list_pop_front(&images->spare);
    struct remote_call *call = node ? container_of(node, struct remote_call, link) : malloc(sizeof *call);
    if (!call)
        return NULL;
    images->spares -= node != NULL;
    *call = (struct remote_call){.images = images,
                                 .image = image,
                                 .kind = kind,
                                 .target = images->target,
                                 .link_number = images->link_number};
    list_init(&call->link);
    return call;
}

static void call_free(struct remote_call *call)
{
    struct host_images *images = call->images;
    if (images->spares == SPARE_MAX) {
        free(call);
        return;
    }
    list_push_front(&images->spare, &call->link);
    images->spares++;
}

bool remote_is_open(const struct remote_image *image)
{
    const struct host_images *images = image->base.images;
    return image->handle && images->link && image->link_number == images->link_number &&
           image->connection == primary_link_connection(images->link) &&
           primary_link_is_connected(images->link);
}

/* ---- opening and closing */

static void on_close_reply(struct primary_call *base, const struct rpc_reply *reply)
{
    (void)reply; /* whatever it says, there is nothing left to do */
    call_free(container_of(base, struct remote_call, base));
}

static void close_there(struct host_images *images, uint64_t handle)
{
    struct remote_call *call = call_new(images, NULL, REMOTE_CLOSE);
    Pstorage__V1__CloseRequest message = PSTORAGE__V1__CLOSE_REQUEST__INIT;
    if (!call)
        return;
    message.handle = handle;
    call->base.rpc.message = &message.base;
    if (primary_link_call(images->link, &call->base, "Close", on_close_reply))
        call_free(call);
}

void remote_close_handle(struct remote_image *image)
{
    if (remote_is_open(image))
        close_there(image->base.images, image->handle);
    image->handle = 0;
}

static int take_image(const Pstorage__V1__OpenResponse *m, struct pod_image_info *out)
{
    const Pstorage__V1__Image *i = m->image;
    if (m->handle == 0 || !i || i->id == 0 || strlen(i->name) > POD_FULL_NAME_MAX ||
        m->max_io_bytes < RPC_PAYLOAD_MAX || i->size_bytes > POD_MAX_VOLUME_BYTES)
        return PS_EPROTOCOL;
    if (i->kind != PSTORAGE__V1__IMAGE_KIND__IMAGE_KIND_VOLUME &&
        i->kind != PSTORAGE__V1__IMAGE_KIND__IMAGE_KIND_SNAPSHOT)
        return PS_EPROTOCOL;
    *out = (struct pod_image_info){
        .id = i->id,
        .kind = i->kind == PSTORAGE__V1__IMAGE_KIND__IMAGE_KIND_SNAPSHOT ? POD_SNAPSHOT : POD_VOLUME,
        .size_bytes = i->size_bytes,
        .created_unix_ns = i->created_unix_ns,
        .volume_id = i->volume_id,
        .origin_id = i->origin_id,
        .write_cache = i->write_cache,
        .open_count = i->open_count,
        .snapshots = i->snapshot_count,
    };
    memcpy(out->name, i->name, strlen(i->name) + 1);
    if (i->space)
        out->space = (struct pod_image_space){i->space->logical_bytes, i->space->pattern_bytes,
                                              i->space->duplicate_bytes, i->space->unique_bytes,
                                              i->space->stored_bytes};
    return 0;
}

/* The primary does not open it: no word of the medium, nor of what waits, which may have better luck later,
 * or ends in its time. */
static void open_refused(struct remote_image *image, int status, const char *detail)
{
    struct host_images *images = image->base.images;
    const struct host_images_config *c = &images->config;
    char line[256];
    if (image->opened) {
        remote_opened(image, status, detail);
        return;
    }
    image->retry_ns = rpc_now(c->transport) + OPEN_REFUSED_NS;
    remote_make_ready(image);
    if (images->refused == status && images->refused_by == images->target)
        return;
    images->refused = status;
    images->refused_by = images->target;
    (void)snprintf(line, sizeof line, "the primary does not open '%.64s' for a host of this node: %s: %.100s",
                   image->info.name, ps_status_text(status), detail);
    if (c->log)
        c->log(c->user, line);
}

/* The image that is open there now is the one that was open before, or the first. */
static void take_open(struct remote_image *image, const struct remote_call *call,
                      const Pstorage__V1__OpenResponse *m)
{
    struct pod_image_info info;
    const bool first = image->opened != NULL;
    if (take_image(m, &info)) {
        if (m->handle)
            close_there(image->base.images, m->handle);
        open_refused(image, PS_EPROTOCOL, "the answer makes no sense");
        return;
    }
    if (!first && info.id != image->info.id) { /* another one has its name */
        close_there(image->base.images, m->handle);
        image->gone = PS_ENOTFOUND;
        remote_end_waiting(image, PS_ENOTFOUND);
        return;
    }
    image->info = info;
    image->handle = m->handle;
    image->link_number = call->link_number;
    image->connection = primary_link_connection(image->base.images->link);
    image->spoiled = false;
    remote_make_ready(image);
    if (first)
        remote_opened(image, 0, "");
}

static void on_open_reply(struct primary_call *base, const struct rpc_reply *reply)
{
    struct remote_call *call = container_of(base, struct remote_call, base);
    struct host_images *images = call->images;
    struct remote_image *image = call->image;
    const Pstorage__V1__OpenResponse *m = (const void *)reply->message;
    const bool not_there = reply->status == PS_ENOTPRIMARY || reply->status == PS_EUNAVAILABLE ||
                           reply->status == PS_ECANCELLED || reply->status == PS_EDEADLINE;
    if (!image) {
        if (reply->status == 0 && base->was_connected && m->handle)
            close_there(images, m->handle);
        call_free(call);
        return;
    }
    image->opening = NULL;
    if (reply->status == 0 && base->was_connected) {
        take_open(image, call, m);
    } else if (reply->status == 0 || not_there) {
        image->retry_ns = rpc_now(images->config.transport) + OPEN_AGAIN_NS;
        remote_make_ready(image);
    } else if (reply->status == PS_ENOTFOUND && !image->opened) {
        image->gone = PS_ENOTFOUND;
        remote_end_waiting(image, PS_ENOTFOUND);
    } else {
        open_refused(image, reply->status, reply->detail);
    }
    call_free(call);
    rpc_task_wake(&images->task);
    host_images_deliver(images);
}

static void open_there(struct remote_image *image)
{
    struct host_images *images = image->base.images;
    struct remote_call *call = call_new(images, image, REMOTE_OPEN);
    struct pod_image_info renamed;
    Pstorage__V1__OpenRequest message = PSTORAGE__V1__OPEN_REQUEST__INIT;
    if (!call)
        return;
    remote_close_handle(image);
    /* By its present name, as far as it is known here. */
    message.name = image->info.name;
    if (!image->opened && pod_image_by_id(image->base.pod, image->info.id, &renamed) == 0)
        message.name = renamed.name;
    message.read_only = image->read_only;
    const struct rpc_metadata by = {PRIMARY_KEY_FORWARDED_BY, images->config.node_name,
                                    strlen(images->config.node_name)};
    call->base.rpc.message = &message.base;
    call->base.rpc.metadata = &by;
    call->base.rpc.nmetadata = 1;
    if (primary_link_call(images->link, &call->base, "Open", on_open_reply))
        call_free(call);
    else
        image->opening = call;
}

/* ---- what requests become */

static uint32_t piece_of(const struct pod_io *io)
{
    const uint64_t left = io->length - io->cursor;
    if (io->op != POD_READ && io->op != POD_WRITE)
        return 0;
    return left < RPC_PAYLOAD_MAX ? (uint32_t)left : RPC_PAYLOAD_MAX;
}

static void on_io_reply(struct primary_call *base, const struct rpc_reply *reply);

/* One message a request, so that the caller's stack holds whichever it is. */
static int call_io(struct remote_call *call)
{
    const struct pod_io *io = call->io;
    struct primary_link *link = call->images->link;
    struct primary_call *base = &call->base;
    const uint64_t handle = call->image->handle, stamp = primary_link_stamp(link),
                   offset = io->offset + io->cursor;
    const bool fua = (io->flags & POD_IO_FUA) != 0;
    Pstorage__V1__ReadRequest read = PSTORAGE__V1__READ_REQUEST__INIT;
    Pstorage__V1__WriteRequest write = PSTORAGE__V1__WRITE_REQUEST__INIT;
    Pstorage__V1__TrimRequest trim = PSTORAGE__V1__TRIM_REQUEST__INIT;
    Pstorage__V1__WriteZeroesRequest zero = PSTORAGE__V1__WRITE_ZEROES_REQUEST__INIT;
    Pstorage__V1__FlushRequest flush = PSTORAGE__V1__FLUSH_REQUEST__INIT;
    Pstorage__V1__ExtentsRequest extents = PSTORAGE__V1__EXTENTS_REQUEST__INIT;
    switch (io->op) {
    case POD_READ:
        read.handle = handle, read.stamp = stamp, read.offset = offset, read.length = call->length;
        base->rpc.message = &read.base;
        return primary_link_call(link, base, "Read", on_io_reply);
    case POD_WRITE:
        write.handle = handle, write.stamp = stamp, write.offset = offset, write.fua = fua;
        base->rpc.message = &write.base;
        base->rpc.payload = (const uint8_t *)io->buf + io->cursor;
        base->rpc.payload_bytes = call->length;
        return primary_link_call(link, base, "Write", on_io_reply);
    case POD_TRIM:
        trim.handle = handle, trim.stamp = stamp, trim.offset = offset, trim.length = io->length;
        trim.fua = fua;
        base->rpc.message = &trim.base;
        return primary_link_call(link, base, "Trim", on_io_reply);
    case POD_WRITE_ZERO:
        zero.handle = handle, zero.stamp = stamp, zero.offset = offset, zero.length = io->length;
        zero.fua = fua, zero.no_hole = (io->flags & POD_IO_NO_HOLE) != 0;
        base->rpc.message = &zero.base;
        return primary_link_call(link, base, "WriteZeroes", on_io_reply);
    case POD_FLUSH:
        flush.handle = handle, flush.stamp = stamp;
        base->rpc.message = &flush.base;
        return primary_link_call(link, base, "Flush", on_io_reply);
    case POD_EXTENTS:
        extents.handle = handle, extents.stamp = stamp, extents.offset = offset, extents.length = io->length;
        extents.max_extents = io->max_extents;
        base->rpc.message = &extents.base;
        return primary_link_call(link, base, "Extents", on_io_reply);
    case POD_PREFETCH:
        break;
    }
    return PS_EUNIMPLEMENTED;
}

static int take_extents(struct pod_io *io, const Pstorage__V1__ExtentsResponse *m)
{
    uint64_t left = io->length;
    if (m->n_extents == 0 || m->n_extents > io->max_extents)
        return PS_EPROTOCOL;
    for (size_t i = 0; i < m->n_extents; i++) {
        const Pstorage__V1__Extent *e = m->extents[i];
        if (e->length_bytes == 0 || e->length_bytes > left)
            return PS_EPROTOCOL;
        switch (e->kind) {
        case PSTORAGE__V1__EXTENT_KIND__EXTENT_KIND_DATA:
            io->extents[i].kind = POD_EXTENT_DATA;
            break;
        case PSTORAGE__V1__EXTENT_KIND__EXTENT_KIND_ZERO:
            io->extents[i].kind = POD_EXTENT_ZERO;
            break;
        case PSTORAGE__V1__EXTENT_KIND__EXTENT_KIND_HOLE:
            io->extents[i].kind = POD_EXTENT_HOLE;
            break;
        default:
            return PS_EPROTOCOL;
        }
        io->extents[i].length_bytes = e->length_bytes;
        left -= e->length_bytes;
    }
    io->nextents = (uint32_t)m->n_extents;
    return 0;
}

static int take(struct remote_call *call, const struct rpc_reply *reply)
{
    struct pod_io *io = call->io;
    if (io->op == POD_EXTENTS)
        return take_extents(io, (const void *)reply->message);
    if (io->op == POD_READ) {
        if (reply->payload_bytes != call->length)
            return PS_EPROTOCOL;
        memcpy((uint8_t *)io->buf + io->cursor, reply->payload, call->length);
    }
    io->cursor += call->length;
    return 0;
}

/* ---- answers */

/* A piece is done: the next one goes first, or the request has ended. */
static void go_on(struct remote_image *image, struct pod_io *io, int status)
{
    struct host_images *images = image->base.images;
    if (status || piece_of(io) == 0) {
        host_images_end(images, io, status);
        return;
    }
    io->pending = 0;
    io->ticket = rpc_now(images->config.transport) + HOST_HOLD_NS;
    remote_requeue(image, io);
}

static bool is_final(int status)
{
    return status != PS_EUNAVAILABLE && status != PS_ECANCELLED && status != PS_EDEADLINE;
}

/* What becomes of a request that was not carried out well. True: the call stays, as a lost one. */
static bool take_failure(struct remote_call *call, int status)
{
    struct remote_image *image = call->image;
    struct host_images *images = call->images;
    struct pod_io *io = call->io;
    const bool own_word = call->base.was_connected;
    const bool without_effect = !call->base.was_sent || (own_word && is_final(status));
    if (own_word && is_final(status) && status != PS_ENOTPRIMARY && status != PS_EABORTED) {
        host_images_end(images, io, status);
        return false;
    }
    image->spoiled = true;
    if (!is_change(io) || without_effect) { /* it was refused, or only asks */
        remote_requeue(image, io);
        return false;
    }
    if (own_word) { /* the pod there has given up what it had of it */
        host_images_end(images, io, PS_EUNAVAILABLE);
        return false;
    }
    list_push_back(&images->lost, &call->link);
    image->lost++;
    return true;
}

static void on_io_reply(struct primary_call *base, const struct rpc_reply *reply)
{
    struct remote_call *call = container_of(base, struct remote_call, base);
    struct host_images *images = call->images;
    bool stays = false;
    list_remove(&call->link);
    call->image->calls--;
    if (call->cancelled)
        host_images_end(images, call->io, PS_ECANCELLED);
    else if (reply->status == 0)
        go_on(call->image, call->io, take(call, reply));
    else
        stays = take_failure(call, reply->status);
    if (stays || call->image->spoiled)
        rpc_task_wake(&images->task);
    if (!stays)
        call_free(call);
    remote_pump(images, rpc_now(images->config.transport));
    host_images_deliver(images);
}

uint64_t remote_settle_lost(struct host_images *images, uint64_t now_ns)
{
    uint64_t next = RPC_NEVER;
    list_for_each_safe(node, after, &images->lost)
    {
        struct remote_call *call = container_of(node, struct remote_call, link);
        /* Another one leads, who has or has not what the former one had; or the process there has ended, and
         * what it had not read yet with it; or it is too late for that. */
        const bool over =
            call->target != images->target || now_ns >= call->base.safe_ns ||
            (images->config.refusal_is_end && images->link && images->link_number == call->link_number &&
             primary_link_process_ended(images->link));
        if (!over && !call->cancelled) {
            next = call->base.safe_ns < next ? call->base.safe_ns : next;
            continue;
        }
        list_remove(node);
        call->image->lost--;
        host_images_end(images, call->io, call->cancelled ? PS_ECANCELLED : PS_EUNAVAILABLE);
        call_free(call);
    }
    return next;
}

/* ---- sending */

/* Sends the first of what waits. False: it ended at once. */
static void send_first(struct remote_image *image)
{
    struct host_images *images = image->base.images;
    struct pod_io *io = container_of(list_pop_front(&image->waiting), struct pod_io, link);
    list_init(&io->link);
    if (io->op == POD_PREFETCH) { /* best effort, and the cache is not here */
        host_images_end(images, io, 0);
        return;
    }
    struct remote_call *call = call_new(images, image, REMOTE_IO);
    if (!call) {
        host_images_end(images, io, PS_ENOMEM);
        return;
    }
    call->io = io;
    call->length = piece_of(io);
    call->base.bytes = call->length;
    const int rc = call_io(call);
    if (rc) {
        call_free(call);
        host_images_end(images, io, rc);
        return;
    }
    list_push_back(&images->calls, &call->link);
    image->calls++;
}

void remote_pump(struct host_images *images, uint64_t now_ns)
{
    struct list_node later;
    list_init(&later);
    while (!list_empty(&images->ready) && images->link && !images->retiring && !images->leads &&
           primary_link_is_good(images->link, now_ns)) {
        struct remote_image *image = container_of(images->ready.next, struct remote_image, ready);
        const struct pod_io *first =
            list_empty(&image->waiting) ? NULL : container_of(image->waiting.next, struct pod_io, link);
        if (!primary_link_has_room(images->link, first ? piece_of(first) : 0))
            break;
        list_remove(&image->ready);
        const bool good = remote_is_open(image) && !image->spoiled;
        if (image->opening || image->gone || image->broken || (good && !first))
            continue;
        /* What this node's own pod still holds of it goes first; so does what is under way on a spoiled
         * handle, and what may still arrive there by a lost connection. */
        if (!list_empty(&image->again) || (image->spoiled && image->calls > 0) || image->lost > 0 ||
            now_ns < image->retry_ns) {
            list_push_back(&later, &image->ready);
        } else if (!good) {
            open_there(image);
        } else {
            send_first(image);
            remote_make_ready(image);
        }
    }
    list_splice_back(&images->ready, &later);
}
