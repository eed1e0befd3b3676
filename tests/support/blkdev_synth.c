#include "tests/support/blkdev_synth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/container.h"

enum {
    PENDING_MAX = 1024
};

struct synth {
    struct blkdev dev;
    struct blkdev_health health;
    blkdev_synth_fill fill;
    void *user;
    int fd;
    uint64_t *written; /* a bit a unit */
    struct blkdev_req *pending[PENDING_MAX];
    size_t count;
};

static struct synth *synth_of(const struct blkdev *dev)
{
    return container_of(dev, struct synth, dev);
}

static int submit(struct blkdev *dev, struct blkdev_req *req)
{
    struct synth *s = synth_of(dev);
    assert(s->count < PENDING_MAX);
    s->pending[s->count++] = req;
    return 0;
}

static bool is_written(const struct synth *s, uint64_t unit)
{
    return s->written[unit / 64] >> unit % 64 & 1;
}

static void io(const struct synth *s, bool write, uint64_t offset, uint8_t *buf, size_t bytes)
{
    while (bytes) {
        const ssize_t n =
            write ? pwrite(s->fd, buf, bytes, (off_t)offset) : pread(s->fd, buf, bytes, (off_t)offset);
        if (n <= 0) {
            perror("blkdev_synth: its file");
            abort();
        }
        offset += (uint64_t)n;
        buf += n;
        bytes -= (size_t)n;
    }
}

static void run(struct synth *s, const struct blkdev_req *req)
{
    const uint64_t unit = BLKDEV_SYNTH_UNIT;
    uint8_t *buf = req->buf;
    switch (req->op) {
    case BLKDEV_WRITE:
        s->health.write_ops++;
        s->health.write_bytes += req->length;
        io(s, true, req->offset, buf, req->length);
        for (uint64_t u = req->offset / unit; u < (req->offset + req->length) / unit; u++)
            s->written[u / 64] |= 1ull << u % 64;
        break;
    case BLKDEV_READ:
        s->health.read_ops++;
        s->health.read_bytes += req->length;
        for (uint64_t at = 0; at < req->length; at += unit)
            if (is_written(s, (req->offset + at) / unit))
                io(s, false, req->offset + at, buf + at, unit);
            else
                s->fill(s->user, req->offset + at, buf + at);
        break;
    case BLKDEV_FLUSH:
        s->health.flush_ops++;
        break;
    default:
        break;
    }
}

static void health(const struct blkdev *dev, struct blkdev_health *out)
{
    *out = synth_of(dev)->health;
}

static void destroy(struct blkdev *dev)
{
    struct synth *s = synth_of(dev);
    (void)close(s->fd);
    free(s->written);
    free(s);
}

struct blkdev *blkdev_synth_create(uint64_t size_bytes, blkdev_synth_fill fill, void *user,
                                   struct ps_error *err)
{
    static const struct blkdev_ops ops = {.submit = submit, .health = health, .destroy = destroy};
    const char *dir = getenv("TMPDIR");
    char path[4096];
    struct synth *s = calloc(1, sizeof *s);
    uint64_t *written = calloc(size_bytes / BLKDEV_SYNTH_UNIT / 64 + 1, sizeof *written);
    (void)snprintf(path, sizeof path, "%s/synth.XXXXXX", dir && *dir ? dir : "/var/tmp");
    const int fd = s && written ? mkstemp(path) : -1;
    if (fd < 0 || ftruncate(fd, (off_t)size_bytes)) {
        (void)ps_error_set(err, PS_EIO, "%s: %s", path, strerror(errno));
        if (fd >= 0) {
            (void)unlink(path);
            (void)close(fd);
        }
        free(written);
        free(s);
        return NULL;
    }
    (void)unlink(path);
    *s = (struct synth){.fill = fill, .user = user, .fd = fd, .written = written};
    s->dev = (struct blkdev){.ops = &ops,
                             .geometry = {.size_bytes = size_bytes,
                                          .read_unit = BLKDEV_SYNTH_UNIT,
                                          .write_unit = BLKDEV_SYNTH_UNIT,
                                          .max_io_bytes = 1 << 20},
                             .name = "synth"};
    return &s->dev;
}

size_t blkdev_synth_pending(const struct blkdev *dev)
{
    return synth_of(dev)->count;
}

struct blkdev_req *blkdev_synth_pending_at(const struct blkdev *dev, size_t index)
{
    return synth_of(dev)->pending[index];
}

bool blkdev_synth_step_at(struct blkdev *dev, size_t index)
{
    struct synth *s = synth_of(dev);
    if (index >= s->count)
        return false;
    struct blkdev_req *req = s->pending[index];
    s->count--;
    memmove(s->pending + index, s->pending + index + 1, (s->count - index) * sizeof s->pending[0]);
    run(s, req);
    req->cb(req, 0);
    return true;
}

void blkdev_synth_drop(struct blkdev *dev)
{
    synth_of(dev)->count = 0;
}
