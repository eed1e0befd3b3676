#include "common/blkdev_uring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/blkdev_ahead.h"
#include "common/blkdev_file_open.h"
#include "common/blkdev_queue.h"
#include "common/blkdev_zones.h"
#include "common/blkdev_zones_uv.h"
#include "common/container.h"
#include "common/io_engine.h"
#include "common/log.h"

/* req->priv: how much is done, and the status of a request that is only to be
 * answered (the engine carries it as IO_NOTHING, since no callback may run
 * before submit returned). */
enum {
    PRIV_DONE,
    PRIV_STATUS
};

struct file_dev {
    struct blkdev base;
    struct blkdev_file file;
    struct io_engine *engine;
    unsigned started;            /* in the engine */
    unsigned outstanding;        /* submitted by the owner, not yet answered */
    struct blkdev_queue waiting; /* for room in the engine */
    struct blkdev_queue behind;  /* for the piece that is being filled */
    bool punch, closing, threads;
    struct blkdev_health health;

    /* Initialising ahead of use: reads a piece, and if it is all zeroes writes it. */
    struct ahead ahead;
    bool fill, filling;
    struct blkdev_req fill_req;
    void *fill_buf;
    uint64_t filled_bytes;
};

static struct file_dev *file_of(const struct blkdev *dev)
{
    return container_of((struct blkdev *)dev, struct file_dev, base);
}

static enum io_kind kind_of(const struct file_dev *d, const struct blkdev_req *req)
{
    if (req->priv[PRIV_STATUS])
        return IO_NOTHING;
    switch (req->op) {
    case BLKDEV_READ:
        return IO_READ;
    case BLKDEV_WRITE:
        return req->flags & BLKDEV_FUA ? IO_WRITE_DSYNC : IO_WRITE;
    case BLKDEV_FLUSH:
        return IO_FDATASYNC;
    case BLKDEV_ERASE:
        return d->punch ? IO_PUNCH : IO_NOTHING;
    }
    assert(false);
    return IO_NOTHING;
}

static void start(struct file_dev *d, struct blkdev_req *req)
{
    if (d->started == d->engine->depth) {
        blkdev_queue_push(&d->waiting, req);
        return;
    }
    d->started++;
    d->engine->start(d->engine, req, kind_of(d, req), (uint32_t)req->priv[PRIV_DONE]);
}

static void fill_next(struct file_dev *d)
{
    uint64_t offset, length;
    if (!d->fill || d->filling || d->closing || d->health.failed || !ahead_next(&d->ahead, &offset, &length))
        return;
    d->filling = true;
    d->fill_req = (struct blkdev_req){
        .op = BLKDEV_READ, .offset = offset, .length = (uint32_t)length, .buf = d->fill_buf, .dev = &d->base};
    start(d, &d->fill_req);
}

static bool all_zero(const uint8_t *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static void device_closed(void *user)
{
    struct file_dev *d = user;
    (void)close(d->file.fd); /* gives the lock back */
    ahead_free(&d->ahead);
    free(d->fill_buf);
    free(d);
}

/* A piece is read before it is written: if the file system was wrong about
 * what is blank, data is left alone instead of lost. */
static void fill_step(struct file_dev *d, int status)
{
    struct blkdev_req *req = &d->fill_req;
    const bool blank = req->op == BLKDEV_WRITE || (status == 0 && all_zero(req->buf, req->length));
    if (status == 0 && req->op == BLKDEV_READ && blank && !d->closing) {
        req->op = BLKDEV_WRITE;
        req->priv[PRIV_DONE] = 0;
        start(d, req);
        return;
    }
    d->filling = false;
    if (d->closing) {
        d->engine->close(d->engine, device_closed);
        return;
    }
    const bool filled = status == 0 && blank;
    d->filled_bytes += filled ? req->length : 0;
    ahead_piece_done(&d->ahead, filled);
    for (struct blkdev_req *held; (held = blkdev_queue_pop(&d->behind));)
        start(d, held);
    fill_next(d);
}

static void count(struct file_dev *d, const struct blkdev_req *req)
{
    struct blkdev_health *h = &d->health;
    switch (req->op) {
    case BLKDEV_READ:
        h->read_ops++;
        h->read_bytes += req->length;
        break;
    case BLKDEV_WRITE:
        h->write_ops++;
        h->write_bytes += req->length;
        break;
    case BLKDEV_FLUSH:
        h->flush_ops++;
        break;
    case BLKDEV_ERASE:
        h->erase_ops++;
        break;
    }
}

static bool makes_durable(const struct blkdev_req *req)
{
    return req->op == BLKDEV_FLUSH || (req->op == BLKDEV_WRITE && (req->flags & BLKDEV_FUA));
}

static void finish(struct file_dev *d, struct blkdev_req *req, int status)
{
    if (req == &d->fill_req) {
        fill_step(d, status);
        return;
    }
    d->outstanding--;
    if (status == 0) {
        count(d, req);
    } else {
        d->health.errors++;
        if (makes_durable(req) && !d->health.failed) {
            d->health.failed = true;
            log_error("blkdev", "device failed: what was written last may be lost, no more writes are taken",
                      LOG_S("device", d->base.name), LOG_S("status", ps_status_name(status)));
        }
    }
    req->cb(req, status);
}

static void engine_done(void *user, struct blkdev_req *req, int result)
{
    struct file_dev *d = user;
    d->started--;
    int status = (int)(int64_t)req->priv[PRIV_STATUS];
    bool again = false;
    if (status == 0 && (result == -EINTR || result == -EAGAIN)) {
        again = true;
    } else if (status == 0 && result < 0) {
        if (req->op == BLKDEV_ERASE && (result == -EOPNOTSUPP || result == -ENODEV)) {
            /* Erasing is a hint to a device that has no use for it. */
            d->punch = false;
        } else {
            /* A block device that vanished has no room: that is no full file system. */
            const bool full = !d->file.is_block && (result == -ENOSPC || result == -EDQUOT);
            status = full ? PS_EFULL : PS_EIO;
            log_error("blkdev", "request failed", LOG_S("device", d->base.name), LOG_I("op", req->op),
                      LOG_U("offset", req->offset), LOG_U("length", req->length),
                      LOG_S("error", strerror(-result)));
        }
    } else if (status == 0 && (req->op == BLKDEV_READ || req->op == BLKDEV_WRITE)) {
        req->priv[PRIV_DONE] += (uint64_t)result;
        assert(req->priv[PRIV_DONE] <= req->length);
        again = req->priv[PRIV_DONE] < req->length && result > 0;
        if (!again && req->priv[PRIV_DONE] < req->length) {
            log_error("blkdev", "the device ends early", LOG_S("device", d->base.name),
                      LOG_U("offset", req->offset + req->priv[PRIV_DONE]));
            status = PS_EIO;
        }
    }
    /* Room in the engine goes to those that wait, in their order, before the callback adds more. */
    if (again)
        start(d, req);
    while (d->waiting.head && d->started < d->engine->depth)
        start(d, blkdev_queue_pop(&d->waiting));
    if (!again)
        finish(d, req, status);
}

static int file_submit(struct blkdev *dev, struct blkdev_req *req)
{
    struct file_dev *d = file_of(dev);
    assert(!d->closing);
    req->priv[PRIV_DONE] = 0;
    req->priv[PRIV_STATUS] = 0;
    if (d->health.failed && req->op != BLKDEV_READ)
        req->priv[PRIV_STATUS] = (uint64_t)(int64_t)PS_EIO;
    d->outstanding++;
    const bool changes = req->op == BLKDEV_WRITE || (req->op == BLKDEV_ERASE && d->punch);
    if (d->fill && changes) {
        if (ahead_touch(&d->ahead, req->offset, req->length))
            blkdev_queue_push(&d->behind, req);
        else
            start(d, req);
        fill_next(d);
    } else {
        start(d, req);
    }
    return 0;
}

static void file_health(const struct blkdev *dev, struct blkdev_health *out)
{
    *out = file_of(dev)->health;
}

static void file_destroy(struct blkdev *dev)
{
    struct file_dev *d = file_of(dev);
    assert(d->outstanding == 0 && !d->closing);
    d->closing = true;
    /* A piece being filled is waited for: fill_step goes on here. */
    if (!d->filling)
        d->engine->close(d->engine, device_closed);
}

static const struct blkdev_ops file_ops = {
    .submit = file_submit, .health = file_health, .destroy = file_destroy};

static int create_engine(uv_loop_t *loop, int fd, bool threads, struct io_engine **out)
{
    if (!threads) {
        const int rc = io_engine_uring_create(loop, fd, out);
        if (rc == 0)
            return 0;
        log_warn("blkdev", "io_uring is refused: falling back to threads, slower and with more CPU",
                 LOG_S("error", strerror(-rc)));
    }
    return io_engine_threads_create(loop, fd, out);
}

int blkdev_uring_prepare(const struct blkdev_spec *spec, const struct blkdev_uring_options *options,
                         struct blkdev **out, struct ps_error *err)
{
    static const struct blkdev_uring_options none = {0};
    options = options ? options : &none;
    struct file_dev *d = calloc(1, sizeof *d);
    if (!d)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    const int rc = blkdev_file_open(spec, options->may_grow, &d->file, err);
    if (rc) {
        free(d);
        return rc;
    }
    d->base.ops = &file_ops;
    d->base.geometry = d->file.geometry;
    /* Of too long a path the end tells more. */
    const size_t length = strlen(spec->path), room = sizeof d->base.name - 1;
    strcpy(d->base.name, spec->path + (length > room ? length - room : 0));
    d->punch = d->file.is_block || spec->punch;
    d->threads = options->threads;
    blkdev_queue_init(&d->waiting);
    blkdev_queue_init(&d->behind);
    d->fill = !d->file.is_block && !options->fill_nothing && !spec->read_only;
    if (d->fill) {
        d->fill_buf = aligned_alloc(BLKDEV_ALIGN, AHEAD_PIECE_BYTES);
        if (!d->fill_buf || !ahead_init(&d->ahead, d->file.geometry.size_bytes)) {
            device_closed(d);
            return ps_error_set(err, PS_ENOMEM, "%s: out of memory", spec->path);
        }
        blkdev_file_find_blank(&d->file, &d->ahead);
    }
    *out = &d->base;
    return 0;
}

int blkdev_uring_start(uv_loop_t *loop, struct blkdev *prepared, struct blkdev **out, struct ps_error *err)
{
    struct file_dev *d = file_of(prepared);
    if (create_engine(loop, d->file.fd, d->threads, &d->engine)) {
        (void)ps_error_set(err, PS_ENOMEM, "%.120s: out of memory", prepared->name);
        device_closed(d);
        return PS_ENOMEM;
    }
    d->engine->done = engine_done;
    d->engine->user = d;
    if (!d->file.is_block || !blkdev_is_zoned(d->file.fd)) {
        *out = prepared;
        return 0;
    }
    const int rc = blkdev_zones_open(loop, d->file.fd, prepared, out, err);
    if (rc)
        file_destroy(prepared);
    return rc;
}

void blkdev_uring_discard(struct blkdev *prepared)
{
    device_closed(file_of(prepared));
}

int blkdev_uring_open(uv_loop_t *loop, const struct blkdev_spec *spec,
                      const struct blkdev_uring_options *options, struct blkdev **out, struct ps_error *err)
{
    struct blkdev *prepared;
    const int rc = blkdev_uring_prepare(spec, options, &prepared, err);
    return rc ? rc : blkdev_uring_start(loop, prepared, out, err);
}

void blkdev_uring_set_smart(struct blkdev *dev, const struct blkdev_smart *smart)
{
    file_of(blkdev_zones_raw(dev))->health.smart = *smart;
}

bool blkdev_uring_made_file(const struct blkdev *dev)
{
    return file_of(blkdev_zones_raw((struct blkdev *)(uintptr_t)dev))->file.made;
}

const char *blkdev_uring_engine(const struct blkdev *dev)
{
    return file_of(blkdev_zones_raw((struct blkdev *)(uintptr_t)dev))->engine->name;
}

uint64_t blkdev_uring_filled_bytes(const struct blkdev *dev)
{
    return file_of(blkdev_zones_raw((struct blkdev *)(uintptr_t)dev))->filled_bytes;
}
