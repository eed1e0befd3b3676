/* The fallback where io_uring is refused (seccomp, sysctl, old kernel): the
 * same requests as blocking calls in libuv's thread pool, about ten times the
 * CPU an operation. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/container.h"
#include "common/io_engine.h"

enum {
    DEPTH = 64
};

struct job {
    uv_work_t work;
    struct threads *owner;
    struct blkdev_req *req;
    enum io_kind kind;
    uint32_t skip;
    int result;
    struct job *next_free;
};

struct threads {
    struct io_engine base;
    uv_loop_t *loop;
    int fd;
    unsigned in_flight;
    struct job jobs[DEPTH];
    struct job *free;
    uv_timer_t closer; /* only to answer close from the loop */
    io_engine_closed closed;
};

/* On a pool thread. */
static void job_run(uv_work_t *work)
{
    struct job *j = container_of(work, struct job, work);
    const int fd = j->owner->fd;
    struct iovec v = {j->skip ? (char *)j->req->buf + j->skip : j->req->buf, j->req->length - j->skip};
    const off_t offset = (off_t)(j->req->offset + j->skip);
    ssize_t n = 0;
    do {
        switch (j->kind) {
        case IO_READ:
            n = preadv2(fd, &v, 1, offset, 0);
            break;
        case IO_WRITE:
            n = pwritev2(fd, &v, 1, offset, 0);
            break;
        case IO_WRITE_DSYNC:
            n = pwritev2(fd, &v, 1, offset, RWF_DSYNC);
            break;
        case IO_FDATASYNC:
            n = fdatasync(fd);
            break;
        case IO_PUNCH:
            n = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, (off_t)v.iov_len);
            break;
        case IO_NOTHING:
            break;
        }
    } while (n < 0 && errno == EINTR);
    j->result = n < 0 ? -errno : (int)n;
}

static void job_done(uv_work_t *work, int status)
{
    struct job *j = container_of(work, struct job, work);
    struct threads *t = j->owner;
    struct blkdev_req *req = j->req;
    const int result = status < 0 ? status : j->result;
    j->next_free = t->free;
    t->free = j;
    t->in_flight--;
    t->base.done(t->base.user, req, result);
}

static void threads_start(struct io_engine *engine, struct blkdev_req *req, enum io_kind kind, uint32_t skip)
{
    struct threads *t = container_of(engine, struct threads, base);
    struct job *j = t->free;
    assert(j && "more starts than the engine's depth");
    t->free = j->next_free;
    j->req = req;
    j->kind = kind;
    j->skip = skip;
    t->in_flight++;
    const int rc = uv_queue_work(t->loop, &j->work, job_run, job_done);
    assert(rc == 0);
    (void)rc;
}

static void closer_closed(uv_handle_t *handle)
{
    struct threads *t = container_of((uv_timer_t *)handle, struct threads, closer);
    const io_engine_closed closed = t->closed;
    void *user = t->base.user;
    free(t);
    closed(user);
}

static void threads_close(struct io_engine *engine, io_engine_closed closed)
{
    struct threads *t = container_of(engine, struct threads, base);
    assert(t->in_flight == 0);
    t->closed = closed;
    uv_close((uv_handle_t *)&t->closer, closer_closed);
}

int io_engine_threads_create(uv_loop_t *loop, int fd, struct io_engine **out)
{
    struct threads *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->base =
        (struct io_engine){.name = "threads", .depth = DEPTH, .start = threads_start, .close = threads_close};
    t->loop = loop;
    t->fd = fd;
    for (unsigned i = 0; i < DEPTH; i++) {
        t->jobs[i].owner = t;
        t->jobs[i].next_free = t->free;
        t->free = &t->jobs[i];
    }
    (void)uv_timer_init(loop, &t->closer);
    *out = &t->base;
    return 0;
}
