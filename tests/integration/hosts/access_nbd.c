#include "tests/integration/hosts/access.h"

#include <assert.h>
#include <errno.h>
#include <libnbd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/container.h"
#include "tests/integration/hosts/content.h"

struct access_nbd {
    struct access access;
    struct nbd_handle *nbd;
    unsigned limit_ms;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* One turn of the connection's state machine. False: the connection or the time is at its end. */
static bool turn(struct access_nbd *a, uint64_t until)
{
    const uint64_t now = now_ms();
    return now < until && !nbd_aio_is_dead(a->nbd) && !nbd_aio_is_closed(a->nbd) &&
           nbd_poll(a->nbd, (int)(until - now)) >= 0;
}

static bool connected(struct access_nbd *a, const char *url)
{
    if (nbd_aio_connect_uri(a->nbd, url))
        return false;
    const uint64_t until = now_ms() + a->limit_ms;
    while (nbd_aio_is_connecting(a->nbd))
        if (!turn(a, until))
            return false;
    return nbd_aio_is_ready(a->nbd);
}

static void close_nbd(struct access *access)
{
    struct access_nbd *a = container_of(access, struct access_nbd, access);
    nbd_close(a->nbd);
    free(a);
}

static enum access_status failed(struct access_nbd *a)
{
    const int code = nbd_get_errno();
    const char *text = nbd_get_error();
    (void)snprintf(a->access.why, sizeof a->access.why, "%s", text ? text : "");
    /* A server that ends says ESHUTDOWN of what it has not done, or may have. */
    if (nbd_aio_is_dead(a->nbd) || nbd_aio_is_closed(a->nbd) || code == ESHUTDOWN || code == ENOTCONN)
        return ACCESS_LOST;
    return ACCESS_WRONG;
}

static enum access_status transfer_nbd(struct access *access, bool write, void *bytes, uint64_t offset)
{
    struct access_nbd *a = container_of(access, struct access_nbd, access);
    const uint64_t until = now_ms() + a->limit_ms;
    const int64_t cookie = write
                               ? nbd_aio_pwrite(a->nbd, bytes, CONTENT_BYTES, offset, NBD_NULL_COMPLETION, 0)
                               : nbd_aio_pread(a->nbd, bytes, CONTENT_BYTES, offset, NBD_NULL_COMPLETION, 0);
    if (cookie < 0)
        return failed(a);
    for (;;) {
        const int done = nbd_aio_command_completed(a->nbd, (uint64_t)cookie);
        if (done > 0)
            return ACCESS_OK;
        if (done < 0)
            return failed(a);
        if (!turn(a, until) && nbd_aio_command_completed(a->nbd, (uint64_t)cookie) <= 0)
            return ACCESS_LOST;
    }
}

struct access *access_open_nbd(const char *url, unsigned limit_ms)
{
    static const struct access_kind kind = {close_nbd, transfer_nbd};
    struct access_nbd *a = calloc(1, sizeof *a);
    assert(a);
    a->access.kind = &kind;
    a->limit_ms = limit_ms;
    a->nbd = nbd_create();
    assert(a->nbd);
    if (!connected(a, url)) {
        close_nbd(&a->access);
        return NULL;
    }
    return &a->access;
}
