/* io_uring on the libuv loop.
 *
 * Requests started during a turn are submitted together, with one system call,
 * when the loop prepares to wait. The ring's own descriptor is polled: it is
 * readable while completions are there, which saves the eventfd's write and
 * read on each wake-up. While something is queued an idle handle keeps the
 * loop from waiting, so that a start from a prepare callback that runs after
 * ours is submitted one turn later instead of never. */
#include <errno.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <stdlib.h>

#include "common/container.h"
#include "common/io_engine.h"

enum {
    DEPTH = 256,
    REAP = 64
};

struct uring {
    struct io_engine base;
    struct io_uring ring;
    int fd;
    uv_poll_t poll;
    uv_prepare_t prepare;
    uv_idle_t idle;
    unsigned queued, in_flight;
    unsigned handles; /* still to close */
    io_engine_closed closed;
};

static void submit_queued(uv_prepare_t *handle)
{
    struct uring *u = handle->data;
    while (u->queued > 0) {
        const int n = io_uring_submit(&u->ring);
        if (n == -EINTR)
            continue;
        if (n < 0) {
            /* EAGAIN, EBUSY: the kernel is short of memory or completions must be
             * reaped first; the idle handle brings us back. Anything else is a ring we misused. */
            assert(n == -EAGAIN || n == -EBUSY || n == -ENOMEM);
            return;
        }
        assert((unsigned)n <= u->queued);
        u->queued -= (unsigned)n;
    }
    (void)uv_idle_stop(&u->idle);
}

static void nothing(uv_idle_t *handle)
{
    (void)handle;
}

static void reap(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    struct uring *u = handle->data;
    struct io_uring_cqe *cqes[REAP];
    struct {
        struct blkdev_req *req;
        int result;
    } done[REAP];
    const unsigned n = io_uring_peek_batch_cqe(&u->ring, cqes, REAP);
    for (unsigned i = 0; i < n; i++) {
        done[i].req = io_uring_cqe_get_data(cqes[i]);
        done[i].result = cqes[i]->res;
    }
    io_uring_cq_advance(&u->ring, n);
    assert(n <= u->in_flight);
    u->in_flight -= n;
    if (u->in_flight == 0)
        uv_unref((uv_handle_t *)&u->poll);
    /* The engine may be closed by the last of these callbacks: nothing is touched after it. */
    for (unsigned i = 0; i < n; i++)
        u->base.done(u->base.user, done[i].req, done[i].result);
}

static void uring_start(struct io_engine *engine, struct blkdev_req *req, enum io_kind kind, uint32_t skip)
{
    struct uring *u = container_of(engine, struct uring, base);
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    assert(sqe && "more starts than the engine's depth");
    char *buf = skip ? (char *)req->buf + skip : req->buf;
    const uint32_t length = req->length - skip;
    const uint64_t offset = req->offset + skip;
    switch (kind) {
    case IO_READ:
        io_uring_prep_read(sqe, u->fd, buf, length, offset);
        break;
    case IO_WRITE:
    case IO_WRITE_DSYNC:
        io_uring_prep_write(sqe, u->fd, buf, length, offset);
        sqe->rw_flags = kind == IO_WRITE_DSYNC ? RWF_DSYNC : 0;
        break;
    case IO_FDATASYNC:
        io_uring_prep_fsync(sqe, u->fd, IORING_FSYNC_DATASYNC);
        break;
    case IO_PUNCH:
        io_uring_prep_fallocate(sqe, u->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                                (off_t)length);
        break;
    case IO_NOTHING:
        io_uring_prep_nop(sqe);
        break;
    }
    io_uring_sqe_set_data(sqe, req);
    if (u->in_flight++ == 0)
        uv_ref((uv_handle_t *)&u->poll);
    if (u->queued++ == 0)
        (void)uv_idle_start(&u->idle, nothing);
}

static void handle_closed(uv_handle_t *handle)
{
    struct uring *u = handle->data;
    if (--u->handles > 0)
        return;
    io_uring_queue_exit(&u->ring);
    const io_engine_closed closed = u->closed;
    void *user = u->base.user;
    free(u);
    closed(user);
}

static void uring_close(struct io_engine *engine, io_engine_closed closed)
{
    struct uring *u = container_of(engine, struct uring, base);
    assert(u->in_flight == 0 && u->queued == 0);
    u->closed = closed;
    u->handles = 3;
    uv_close((uv_handle_t *)&u->poll, handle_closed);
    uv_close((uv_handle_t *)&u->prepare, handle_closed);
    uv_close((uv_handle_t *)&u->idle, handle_closed);
}

/* Is everything that we start known to this kernel? */
static bool supported(struct io_uring *ring)
{
    static const int ops[] = {IORING_OP_READ, IORING_OP_WRITE, IORING_OP_FSYNC, IORING_OP_FALLOCATE,
                              IORING_OP_NOP};
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    bool all = probe != NULL;
    for (size_t i = 0; all && i < sizeof ops / sizeof ops[0]; i++)
        all = io_uring_opcode_supported(probe, ops[i]);
    io_uring_free_probe(probe);
    return all;
}

int io_engine_uring_create(uv_loop_t *loop, int fd, struct io_engine **out)
{
    struct uring *u = calloc(1, sizeof *u);
    if (!u)
        return -ENOMEM;
    /* Without COOP_TASKRUN each completion interrupts this thread. */
    struct io_uring_params params = {.flags = IORING_SETUP_COOP_TASKRUN};
    int rc = io_uring_queue_init_params(DEPTH, &u->ring, &params);
    if (rc == -EINVAL) {
        params = (struct io_uring_params){0};
        rc = io_uring_queue_init_params(DEPTH, &u->ring, &params);
    }
    if (rc < 0) {
        free(u);
        return rc;
    }
    if (!supported(&u->ring)) {
        io_uring_queue_exit(&u->ring);
        free(u);
        return -ENOSYS;
    }
    u->base =
        (struct io_engine){.name = "io_uring", .depth = DEPTH, .start = uring_start, .close = uring_close};
    u->fd = fd;
    u->poll.data = u->prepare.data = u->idle.data = u;
    rc = uv_poll_init(loop, &u->poll, u->ring.ring_fd);
    if (rc < 0) {
        io_uring_queue_exit(&u->ring);
        free(u);
        return rc;
    }
    (void)uv_poll_start(&u->poll, UV_READABLE, reap);
    (void)uv_prepare_init(loop, &u->prepare);
    (void)uv_prepare_start(&u->prepare, submit_queued);
    (void)uv_idle_init(loop, &u->idle);
    /* Only requests in flight keep the loop alive. */
    uv_unref((uv_handle_t *)&u->poll);
    uv_unref((uv_handle_t *)&u->prepare);
    uv_unref((uv_handle_t *)&u->idle);
    *out = &u->base;
    return 0;
}
