/* Fills the pod: writes what neither compresses nor is a duplicate to a volume of its own, at whoever serves;
 * each write over a quarter of the one before, so that there is something to collect. When all is well the
 * volume is deleted: a full pod must recover by that. */
#include "tests/sim/world.h"

enum {
    FILL_BYTES = 128 * 1024,
    FILL_VOLUME_BYTES = 1 << 30,
};

static void again(struct world *w, uint64_t after)
{
    at(w, w->now + after, EVENT_FILL, 0, 0, NULL);
}

void filler_more(struct world *w, uint64_t bytes)
{
    struct filler *f = &w->filler;
    const bool idle = f->done >= f->wanted;
    f->w = w;
    f->wanted += bytes;
    if (f->wanted > FILL_VOLUME_BYTES)
        f->wanted = FILL_VOLUME_BYTES;
    if (!f->buf) {
        f->buf = aligned_alloc(BLKDEV_ALIGN, FILL_BYTES);
        assert(f->buf);
    }
    if (idle && !f->busy && !f->making)
        again(w, 0);
}

static void made(struct pod_manage *req, int status)
{
    struct filler *f = req->user;
    f->making = false;
    f->made = status == 0 || status == PS_EEXISTS;
    again(f->w, MS);
}

static void deleted(struct pod_manage *req, int status)
{
    struct filler *f = req->user;
    f->making = false;
    if (status == 0 || status == PS_ENOTFOUND)
        f->wanted = f->done = 0;
    else
        again(f->w, 50 * MS);
}

static void manage(struct filler *f, struct node *n, enum pod_manage_op op, pod_manage_cb cb)
{
    f->make = (struct pod_manage){
        .op = op, .name = "fill", .size_bytes = FILL_VOLUME_BYTES, .force = true, .user = f};
    f->node = n->index;
    f->making = pod_manage(member_pod(n->member), &f->make, cb) == 0;
    if (!f->making)
        again(f->w, 10 * MS);
    wake(n);
}

static void io_done(struct pod_io *io, int status)
{
    struct filler *f = io->user;
    f->busy = false;
    if (status == 0)
        f->done += FILL_BYTES;
    if (status == PS_EFULL)
        f->w->last_full_ns = f->w->now;
    again(f->w, status ? 100 * MS : 2 * MS);
}

static void close_image(struct filler *f)
{
    if (f->image)
        pod_image_close(f->image);
    f->image = NULL;
}

static bool open_image(struct filler *f, struct node *n)
{
    struct ps_error err;
    if (f->image && f->node == n->index)
        return true;
    close_image(f);
    f->node = n->index;
    if (pod_image_open(member_pod(n->member), "fill", &f->image, &err))
        f->image = NULL;
    if (!f->image && err.status == PS_ENOTFOUND)
        f->made = false;
    return f->image;
}

void filler_turn(struct world *w)
{
    struct filler *f = &w->filler;
    if (f->busy || f->making || !f->wanted || (w->faults && f->done >= f->wanted))
        return;
    struct node *n = serving_node(w);
    if (!n) {
        again(w, 10 * MS);
        return;
    }
    if (!w->faults || !f->made) {
        close_image(f);
        if (w->faults)
            manage(f, n, POD_VOLUME_CREATE, made);
        else
            manage(f, n, POD_VOLUME_DELETE, deleted);
        return;
    }
    if (!open_image(f, n)) {
        again(w, 10 * MS);
        return;
    }
    struct prng noise;
    prng_seed(&noise, f->done ^ w->scenario->seed << 32);
    prng_fill(&noise, f->buf, FILL_BYTES);
    f->io = (struct pod_io){.op = POD_WRITE,
                            .image = f->image,
                            .offset = f->done / 4 * 3 % FILL_VOLUME_BYTES,
                            .length = FILL_BYTES,
                            .buf = f->buf,
                            .user = f};
    f->busy = pod_submit(member_pod(n->member), &f->io, io_done) == 0;
    if (!f->busy) {
        close_image(f);
        again(w, 20 * MS);
    }
    wake(n);
}

void filler_node_dies(struct world *w, unsigned node)
{
    struct filler *f = &w->filler;
    if (f->node != node)
        return;
    close_image(f);
    if (f->busy || f->making)
        again(w, 20 * MS);
    f->busy = f->making = false;
}

void filler_empty(struct world *w)
{
    if (w->filler.wanted)
        again(w, 0);
}

bool filler_is_gone(const struct world *w)
{
    return w->filler.wanted == 0;
}

void filler_free(struct world *w)
{
    free(w->filler.buf);
}
