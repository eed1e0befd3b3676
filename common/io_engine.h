/* What carries a device's requests to the kernel: io_uring, or libuv's thread
 * pool where io_uring is refused. Internal to blkdev_uring. */
#ifndef PS_COMMON_IO_ENGINE_H
#define PS_COMMON_IO_ENGINE_H

#include <uv.h>

#include "common/blkdev.h"

enum io_kind {
    IO_READ,
    IO_WRITE,
    IO_WRITE_DSYNC,
    IO_FDATASYNC,
    IO_PUNCH,
    IO_NOTHING
};

struct io_engine;

/* `result` is the number of bytes, 0 for what has none, or a negative errno. */
typedef void (*io_engine_done)(void *user, struct blkdev_req *req, int result);
typedef void (*io_engine_closed)(void *user);

struct io_engine {
    const char *name;
    unsigned depth; /* starts without completion */
    /* Starts `kind` on the request's range without its first `skip` bytes. Completes
     * exactly once, never before the return, on the loop's thread. The engine uses req->next. */
    void (*start)(struct io_engine *engine, struct blkdev_req *req, enum io_kind kind, uint32_t skip);
    /* Nothing may be in flight. Frees the engine; then `closed` runs, from the loop. */
    void (*close)(struct io_engine *engine, io_engine_closed closed);
    io_engine_done done;
    void *user;
};

/* 0, or a negative errno: -ENOSYS, -EPERM and -ENOMEM are io_uring refused. */
int io_engine_uring_create(uv_loop_t *loop, int fd, struct io_engine **out);
int io_engine_threads_create(uv_loop_t *loop, int fd, struct io_engine **out);

#endif
