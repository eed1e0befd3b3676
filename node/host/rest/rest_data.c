/* Reading and writing bytes of a volume: opened, done in pieces of whole sectors, closed. A write whose ends
 * are not those of sectors first reads the sectors there. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/host/rest/rest_exchange.h"

enum {
    SECTOR = 512
};

/* ---- narrow writes, one at a time */

static bool is_narrow(const struct rest_exchange *x)
{
    const struct rest_values *is = &x->request.is;
    return is->offset % SECTOR != 0 || is->data.length % SECTOR != 0;
}

static void open_image(struct rest_exchange *x);

/* The place of the one under way is free: whoever waits first takes it. */
static void leave(struct rest_narrow_writes *n)
{
    struct rest_exchange *x = n->first;
    n->busy = x != NULL;
    if (!x)
        return;
    n->first = x->next;
    open_image(x);
}

static void enter(struct rest_exchange *x)
{
    struct rest_narrow_writes *n = x->narrow;
    if (!n->busy) {
        n->busy = true;
        open_image(x);
        return;
    }
    x->next = NULL;
    if (n->first)
        n->last->next = x;
    else
        n->first = x;
    n->last = x;
}

/* ---- ends: `status` with the request's detail, or 0 */

static void end(struct rest_exchange *x, const struct pstorage_request *q, int status)
{
    const bool writes = x->request.route->op == REST_WRITE_VOLUME, narrow = writes && is_narrow(x);
    struct rest_narrow_writes *n = x->narrow;
    const struct rest_values *is = &x->request.is;
    struct rest_io result = {.offset = is->offset};
    if (x->image)
        pstorage_image_close(x->image);
    x->image = NULL;
    if (status) {
        rest_refuse_request(x, q, status);
    } else {
        result.length = writes ? is->data.length : is->length;
        result.data = writes ? NULL : x->buffer + (is->offset - x->from);
        result.data_bytes = writes ? 0 : is->length;
        rest_answer(x, &result);
    }
    /* The exchange is not ours any more. */
    if (narrow)
        leave(n);
}

/* ---- pieces */

static void next_piece(struct rest_exchange *x);

static void on_piece(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (status) {
        end(x, q, status);
        return;
    }
    x->at += x->q.io.length;
    next_piece(x);
}

/* Both sectors at the ends are there: what is to be written goes between. */
static void write_all(struct rest_exchange *x)
{
    const struct rest_values *is = &x->request.is;
    memcpy(x->buffer + (is->offset - x->from), is->data.bytes, is->data.length);
    x->reading = false;
    x->at = x->from;
    next_piece(x);
}

static void submit(struct rest_exchange *x, enum pstorage_io_op op, uint64_t length)
{
    x->q.io = (struct pstorage_io){.op = op,
                                   .offset = x->at,
                                   .length = length,
                                   .buffer = x->buffer + (x->at - x->from),
                                   .flags = op == PSTORAGE_WRITE && x->request.is.fua ? PSTORAGE_FUA : 0,
                                   .request.user = x};
    const int rc = pstorage_io_submit(x->image, &x->q.io, on_piece);
    if (rc)
        end(x, &x->q.io.request, rc);
}

/* Before a narrow write: the first sector, then the last one. */
static void read_ends(struct rest_exchange *x)
{
    const struct rest_values *is = &x->request.is;
    const uint64_t behind = is->offset + is->data.length;
    if (x->at == x->from && is->offset % SECTOR != 0) {
        submit(x, PSTORAGE_READ, SECTOR);
    } else if (behind % SECTOR != 0 && x->at <= x->to - SECTOR) {
        x->at = x->to - SECTOR;
        submit(x, PSTORAGE_READ, SECTOR);
    } else {
        write_all(x);
    }
}

static void next_piece(struct rest_exchange *x)
{
    const uint64_t left = x->to - x->at, most = x->limits.max_io_bytes;
    if (x->reading) {
        read_ends(x);
        return;
    }
    if (left == 0) {
        const struct pstorage_request *none = NULL;
        end(x, none, PSTORAGE_OK);
        return;
    }
    submit(x, x->request.route->op == REST_WRITE_VOLUME ? PSTORAGE_WRITE : PSTORAGE_READ,
           left < most ? left : most);
}

/* ---- opening */

static void on_open(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    const struct rest_values *is = &x->request.is;
    struct pstorage_info info;
    if (status) {
        end(x, q, status);
        return;
    }
    x->image = x->q.open.image;
    pstorage_image_describe(x->image, &info, &x->limits);
    const uint64_t length = x->request.route->op == REST_WRITE_VOLUME ? is->data.length : is->length;
    const struct pstorage_request *request = &x->q.open.request;
    if (info.id != x->info.id) {
        end(x, request, PSTORAGE_ECHANGED);
    } else if (is->offset > info.size_bytes || length > info.size_bytes - is->offset) {
        (void)rest_fail(&x->problem, PS_ERANGE, "offset",
                        "offset and length end beyond the %llu bytes of \"%s\"",
                        (unsigned long long)info.size_bytes, info.name);
        memcpy(x->q.open.request.error.detail, x->problem.detail, sizeof x->q.open.request.error.detail - 1);
        x->q.open.request.error.detail[sizeof x->q.open.request.error.detail - 1] = '\0';
        end(x, request, PSTORAGE_ERANGE);
    } else {
        x->from = is->offset / SECTOR * SECTOR;
        x->to = (is->offset + length + SECTOR - 1) / SECTOR * SECTOR;
        x->at = x->from;
        x->reading = x->request.route->op == REST_WRITE_VOLUME && is_narrow(x);
        x->buffer = malloc(x->to - x->from);
        if (!x->buffer)
            end(x, request, PSTORAGE_ENOMEM);
        else if (x->reading || x->request.route->op == REST_READ_VOLUME)
            next_piece(x);
        else
            write_all(x);
    }
}

static void open_image(struct rest_exchange *x)
{
    x->q.open = (struct pstorage_open){
        .name = x->name, .read_only = x->request.route->op == REST_READ_VOLUME, .request.user = x};
    const int rc = pstorage_open_submit(x->client, &x->q.open, on_open);
    if (rc)
        end(x, &x->q.open.request, rc);
}

static void found(struct rest_exchange *x)
{
    memcpy(x->name, x->info.name, sizeof x->name);
    if (x->request.route->op == REST_WRITE_VOLUME && is_narrow(x))
        enter(x);
    else
        open_image(x);
}

void rest_write_volume(struct rest_exchange *x)
{
    rest_find_volume(x, false, found);
}

void rest_read_volume(struct rest_exchange *x)
{
    rest_find_volume(x, true, found);
}
