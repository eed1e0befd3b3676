#include "common/mailbox_uv.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/status.h"

struct mailbox {
    uv_async_t async;
    size_t capacity;
    void (*closed)(void *user);
    void *user;
    bool closing, done; /* the loop's own */

    uv_mutex_t lock; /* guards what follows; no other lock is taken under it */
    struct mailbox_msg *head, **tail;
    size_t count;
    bool shut;
};

static void run_all(struct mailbox *m)
{
    uv_mutex_lock(&m->lock);
    struct mailbox_msg *msg = m->head;
    m->head = NULL;
    m->tail = &m->head;
    m->count = 0;
    uv_mutex_unlock(&m->lock);
    while (msg) {
        struct mailbox_msg *next = msg->next;
        msg->run(msg);
        msg = next;
    }
}

static void handle_closed(uv_handle_t *handle)
{
    struct mailbox *m = handle->data;
    m->done = true;
    if (m->closed)
        m->closed(m->user);
}

static void wake(uv_async_t *async)
{
    struct mailbox *m = async->data;
    run_all(m);
    if (!m->closing || uv_is_closing((uv_handle_t *)async))
        return;
    /* What the messages themselves posted before they closed it. */
    run_all(m);
    uv_close((uv_handle_t *)async, handle_closed);
}

int mailbox_create(uv_loop_t *loop, size_t capacity, struct mailbox **out)
{
    struct mailbox *m = calloc(1, sizeof *m);
    if (!m)
        return PS_ENOMEM;
    m->capacity = capacity;
    m->tail = &m->head;
    m->async.data = m;
    if (uv_mutex_init(&m->lock)) {
        free(m);
        return PS_ENOMEM;
    }
    if (uv_async_init(loop, &m->async, wake)) {
        uv_mutex_destroy(&m->lock);
        free(m);
        return PS_ENOMEM;
    }
    *out = m;
    return 0;
}

int mailbox_post(struct mailbox *m, struct mailbox_msg *msg)
{
    int rc = 0;
    msg->next = NULL;
    uv_mutex_lock(&m->lock);
    if (m->shut) {
        rc = PS_EUNAVAILABLE;
    } else if (m->count == m->capacity) {
        rc = PS_ELIMIT;
    } else {
        *m->tail = msg;
        m->tail = &msg->next;
        /* Who finds it empty wakes the loop; under the lock, so that the handle can't be closed in between.
         */
        if (m->count++ == 0)
            (void)uv_async_send(&m->async);
    }
    uv_mutex_unlock(&m->lock);
    return rc;
}

void mailbox_close(struct mailbox *m, void (*closed)(void *user), void *user)
{
    assert(!m->closing);
    m->closing = true;
    m->closed = closed;
    m->user = user;
    uv_mutex_lock(&m->lock);
    m->shut = true;
    uv_mutex_unlock(&m->lock);
    /* From the loop, not from here: a message may be what closes its mailbox. */
    (void)uv_async_send(&m->async);
}

void mailbox_free(struct mailbox *m)
{
    assert(m->done && !m->head);
    uv_mutex_destroy(&m->lock);
    free(m);
}
