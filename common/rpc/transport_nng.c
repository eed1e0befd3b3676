/* NNG carries out one operation at a time for each aio and reports it on a
 * thread of its own. All that happens there is: the operation is put into a
 * locked queue and the loop is woken. Everything else, also the next receive,
 * runs on the loop's thread; the lock guards the queue and nothing more.
 *
 * What NNG could do at once needs none of its threads: a send when the socket has room, a receive
 * when the loop saw that something came. See `at_once`.
 *
 * Life: 1. an aio is freed on the loop's thread, after its callback was taken
 * from the queue, and nng_aio_free waits until that callback has returned, so none
 * touches what is freed next. 2. A stream is closed, then its aios come back (aborted), and the loop lets go
 * of its socket, then they are freed, then the stream. 3. The uv handles close after the last link, dial and
 * listener is gone. */
#include "common/rpc/transport_nng.h"

#include <arpa/inet.h>
#include <assert.h>
#include <nng/nng.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/rpc/socket_nng.h"
#include "common/rpc/transport.h"

enum {
    ACCEPT_PAUSE_MS = 100 /* after a failed accept, such as for want of file descriptors */
};
#define NS_PER_MS 1000000ull

struct nng_transport {
    struct rpc_transport base;
    uv_loop_t *loop;
    uv_async_t async;
    uv_prepare_t prepare;
    uv_idle_t idle;
    uv_timer_t timer;
    uint64_t timer_ns; /* what the timer is set for; RPC_NEVER */
    pthread_mutex_t lock;
    struct list_node done; /* under `lock`: operations that NNG has finished */
    struct list_node soon; /* operations that ended at once, to be told of in this turn */
    size_t users;          /* links, dials and listeners */
    unsigned handles;
    void (*closed)(void *user);
    void *closed_user;
};

/* One aio and what to do on the loop's thread when it is done. */
struct op {
    struct list_node link; /* in transport->done, under its lock */
    struct nng_transport *transport;
    nng_aio *aio;
    bool busy; /* submitted, not yet back on the loop's thread */
    void (*finished)(struct op *op, int result);
};

struct nng_link {
    struct rpc_link base;
    struct nng_transport *transport;
    nng_stream *stream;
    struct op recv, send;
    nng_aio *send_now; /* without callback: see at_once */
    nng_aio *recv_now; /* the same; what is to be received is set in it while `recv` is busy */
    int socket;        /* watched by `poll`; -1: not known, NNG's threads tell what came */
    uv_poll_t poll;
    bool sought;           /* it was looked for */
    bool polling, watched; /* the handle is active; is not closed yet */
    struct op last;        /* no aio: brings the end of a link that was idle to a later turn */
    size_t sent_bytes;     /* by a send that ended at once */
    bool closing;
};

struct dialling {
    struct nng_transport *transport;
    nng_stream_dialer *dialer;
    bool ipc;
    struct op op;
    struct rpc_dial *dial;
};

struct accepting {
    struct nng_transport *transport;
    nng_stream_listener *listener;
    struct op op;
    struct rpc_listener *user;
    bool pausing, closing, ipc;
};

/* ---- operations */

static void post(struct op *op)
{
    struct nng_transport *t = op->transport;
    pthread_mutex_lock(&t->lock);
    const bool first = list_empty(&t->done);
    list_push_back(&t->done, &op->link);
    pthread_mutex_unlock(&t->lock);
    if (first)
        (void)uv_async_send(&t->async);
}

/* On one of NNG's threads. */
static void aio_done(void *arg)
{
    post(arg);
}

static int op_init(struct op *op, struct nng_transport *t, void (*finished)(struct op *op, int result))
{
    *op = (struct op){.transport = t, .finished = finished};
    return nng_aio_alloc(&op->aio, aio_done, op) == 0 ? PS_OK : PS_ENOMEM;
}

static void op_free(struct op *op)
{
    assert(!op->busy);
    if (op->aio)
        nng_aio_free(op->aio);
    op->aio = NULL;
}

static void on_async(uv_async_t *async)
{
    struct nng_transport *t = async->data;
    struct list_node batch;
    list_init(&batch);
    pthread_mutex_lock(&t->lock);
    list_splice_back(&batch, &t->done);
    pthread_mutex_unlock(&t->lock);
    for (struct list_node *node; (node = list_pop_front(&batch));) {
        struct op *op = container_of(node, struct op, link);
        op->busy = false;
        op->finished(op, op->aio ? nng_aio_result(op->aio) : 0);
    }
}

/* ---- links */

static void free_operations(struct nng_link *l)
{
    op_free(&l->recv);
    op_free(&l->send);
    nng_aio_free(l->send_now);
    nng_aio_free(l->recv_now);
}

static void end_link(struct nng_link *l)
{
    if (!l->closing || l->recv.busy || l->send.busy || l->last.busy || l->watched)
        return;
    free_operations(l);
    nng_stream_free(l->stream);
    l->transport->users--;
    l->base.events->closed(&l->base);
    free(l);
}

static void link_last(struct op *op, int result)
{
    (void)result;
    end_link(container_of(op, struct nng_link, last));
}

static void link_received(struct op *op, int result)
{
    struct nng_link *l = container_of(op, struct nng_link, recv);
    if (l->closing)
        end_link(l);
    else
        l->base.events->received(&l->base, result == 0 ? PS_OK : PS_EUNAVAILABLE,
                                 result == 0 ? nng_aio_count(op->aio) : 0);
}

static void link_sent(struct op *op, int result)
{
    struct nng_link *l = container_of(op, struct nng_link, send);
    if (l->closing)
        end_link(l);
    else
        l->base.events->sent(&l->base, result == 0 ? PS_OK : PS_EUNAVAILABLE,
                             result == 0 ? nng_aio_count(op->aio) : 0);
}

static void set_iov(nng_aio *aio, const struct rpc_iov *iov, unsigned count)
{
    nng_iov pieces[RPC_IOV_MAX];
    assert(count > 0 && count <= RPC_IOV_MAX);
    for (unsigned i = 0; i < count; i++)
        pieces[i] = (nng_iov){iov[i].base, iov[i].length};
    const int refused = nng_aio_set_iov(aio, count, pieces);
    assert(refused == 0); /* only for more pieces than NNG takes */
    (void)refused;
}

/* An aio without callback that is cancelled right after it was submitted tells without two changes of thread
 * what came of it: either it was done inside the call, or nothing was. The socket nearly always has room for
 * a send, and something to receive when the loop says so. 0, NNG_ECANCELED, or an error. */
static int at_once(nng_stream *stream, void (*submit)(nng_stream *, nng_aio *), nng_aio *aio)
{
    submit(stream, aio);
    nng_aio_cancel(aio);
    nng_aio_wait(aio);
    return nng_aio_result(aio);
}

static bool send_at_once(struct nng_link *l, const struct rpc_iov *iov, unsigned count)
{
    set_iov(l->send_now, iov, count);
    if (at_once(l->stream, nng_stream_send, l->send_now) != 0)
        return false; /* no room; or an error, which the usual way will meet again */
    l->sent_bytes = nng_aio_count(l->send_now);
    list_push_back(&l->transport->soon, &l->send.link);
    return true;
}

static void watch(struct nng_link *l, bool on);

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct nng_link *l = poll->data;
    (void)events;
    if (status < 0)
        l->polling = false; /* libuv stopped it: the socket has an error, which NNG tells */
    if (l->recv.busy) {
        const int result = at_once(l->stream, nng_stream_recv, l->recv_now);
        if (result == NNG_ECANCELED && status == 0)
            return; /* nothing came after all */
        l->recv.busy = false;
        l->base.events->received(&l->base, result == 0 ? PS_OK : PS_EUNAVAILABLE,
                                 result == 0 ? nng_aio_count(l->recv_now) : 0);
    }
    /* Its owner wants no more for now, or has closed it: the link lives until the handle is closed. */
    if (!l->closing && !l->recv.busy)
        watch(l, false);
}

static void watch(struct nng_link *l, bool on)
{
    if (on == l->polling)
        return;
    l->polling = on;
    if (on)
        (void)uv_poll_start(&l->poll, UV_READABLE, on_readable);
    else
        (void)uv_poll_stop(&l->poll);
}

static void on_unwatched(uv_handle_t *handle)
{
    struct nng_link *l = handle->data;
    (void)close(l->socket);
    l->watched = false;
    end_link(l);
}

/* At the first receive: a connection that is refused at once is not worth the search. */
static void watch_socket(struct nng_link *l)
{
    l->sought = true;
    l->socket = nng_stream_socket(l->stream);
    if (l->socket < 0)
        return;
    l->watched = uv_poll_init(l->transport->loop, &l->poll, l->socket) == 0;
    l->poll.data = l;
    if (!l->watched)
        (void)close(l->socket);
}

static void link_recv(struct rpc_link *link, const struct rpc_iov *iov, unsigned count)
{
    struct nng_link *l = container_of(link, struct nng_link, base);
    assert(!l->recv.busy);
    l->recv.busy = true;
    if (!l->sought)
        watch_socket(l);
    if (l->watched) {
        set_iov(l->recv_now, iov, count);
        watch(l, true);
    } else {
        set_iov(l->recv.aio, iov, count);
        nng_stream_recv(l->stream, l->recv.aio);
    }
}

static void link_send(struct rpc_link *link, const struct rpc_iov *iov, unsigned count)
{
    struct nng_link *l = container_of(link, struct nng_link, base);
    assert(!l->send.busy);
    l->send.busy = true;
    if (send_at_once(l, iov, count))
        return;
    set_iov(l->send.aio, iov, count);
    nng_stream_send(l->stream, l->send.aio);
}

static void link_close(struct rpc_link *link)
{
    struct nng_link *l = container_of(link, struct nng_link, base);
    assert(!l->closing);
    l->closing = true;
    l->last.busy = true;
    if (l->watched) {
        l->recv.busy = false;
        uv_close((uv_handle_t *)&l->poll, on_unwatched);
    }
    nng_stream_close(l->stream); /* aborts what is in flight */
    post(&l->last);
}

static bool is_loopback(const nng_sockaddr *address)
{
    static const uint8_t v6[16] = {[15] = 1}, mapped[13] = {[10] = 0xff, 0xff, 127};
    if (address->s_family == NNG_AF_INET)
        return ntohl(address->s_in.sa_addr) >> 24 == 127;
    if (address->s_family == NNG_AF_INET6)
        return memcmp(address->s_in6.sa_addr, v6, sizeof v6) == 0 ||
               memcmp(address->s_in6.sa_addr, mapped, sizeof mapped) == 0;
    return false;
}

/* `ipc`: the endpoint was one; its peers need no address to be on this machine. */
static void describe_peer(nng_stream *stream, bool ipc, struct rpc_link *link)
{
    char *out = link->address;
    const size_t room = sizeof link->address;
    link->local = ipc;
    nng_sockaddr address;
    char text[INET6_ADDRSTRLEN] = "";
    (void)snprintf(out, room, ipc ? "local" : "unknown address");
    if (ipc || nng_stream_get_addr(stream, NNG_OPT_REMADDR, &address) != 0)
        return;
    link->local = is_loopback(&address);
    if (address.s_family == NNG_AF_INET) {
        (void)inet_ntop(AF_INET, &address.s_in.sa_addr, text, sizeof text);
        (void)snprintf(out, room, "%s:%u", text, ntohs(address.s_in.sa_port));
    } else if (address.s_family == NNG_AF_INET6) {
        (void)inet_ntop(AF_INET6, address.s_in6.sa_addr, text, sizeof text);
        (void)snprintf(out, room, "[%s]:%u", text, ntohs(address.s_in6.sa_port));
    }
}

/* Takes the stream; NULL: out of memory, the stream is freed. */
static struct rpc_link *new_link(struct nng_transport *t, nng_stream *stream, bool ipc)
{
    static const struct rpc_link_ops ops = {link_recv, link_send, link_close};
    struct nng_link *l = calloc(1, sizeof *l);
    if (!l) {
        nng_stream_free(stream);
        return NULL;
    }
    l->base.ops = &ops;
    l->transport = t;
    l->stream = stream;
    l->last = (struct op){.transport = t, .finished = link_last};
    if (op_init(&l->recv, t, link_received) != PS_OK || op_init(&l->send, t, link_sent) != PS_OK ||
        nng_aio_alloc(&l->send_now, NULL, NULL) != 0 || nng_aio_alloc(&l->recv_now, NULL, NULL) != 0) {
        free_operations(l);
        nng_stream_free(stream);
        free(l);
        return NULL;
    }
    describe_peer(stream, ipc, &l->base);
    t->users++;
    return &l->base;
}

/* ---- endpoints */

static bool is_ipc(const char *endpoint)
{
    return strncmp(endpoint, "ipc:///", 7) == 0;
}

static int check_endpoint(const char *endpoint, struct ps_error *err)
{
    if (is_ipc(endpoint) && endpoint[7] != '\0')
        return PS_OK;
    if (strncmp(endpoint, "tcp://", 6) == 0) {
        const char *port = strrchr(endpoint + 6, ':');
        if (port && port > endpoint + 6 && port[1] != '\0')
            return PS_OK;
    }
    return ps_error_set(err, PS_EINVAL, "\"%s\" is not an endpoint: tcp://HOST:PORT or ipc:///PATH",
                        endpoint);
}

static int nng_error(int result, const char *endpoint, struct ps_error *err)
{
    int status = PS_EUNAVAILABLE;
    if (result == NNG_EADDRINUSE)
        status = PS_EEXISTS;
    else if (result == NNG_EADDRINVAL || result == NNG_EINVAL || result == NNG_ENOTSUP)
        status = PS_EINVAL;
    else if (result == NNG_ENOMEM)
        status = PS_ENOMEM;
    else if (result == NNG_EPERM)
        status = PS_EPERM;
    return ps_error_set(err, status, "%s: %s", endpoint, nng_strerror(result));
}

/* ---- dialling */

static void dialled(struct op *op, int result)
{
    struct dialling *d = container_of(op, struct dialling, op);
    struct nng_transport *t = d->transport;
    struct rpc_dial *dial = d->dial;
    nng_stream *stream = result == 0 ? nng_aio_get_output(op->aio, 0) : NULL;
    op_free(op);
    nng_stream_dialer_free(d->dialer);
    const bool ipc = d->ipc;
    free(d);
    t->users--;
    struct rpc_link *link = stream ? new_link(t, stream, ipc) : NULL;
    dial->refused = result == NNG_ECONNREFUSED;
    if (link)
        dial->done(dial, PS_OK, link, "");
    else if (stream)
        dial->done(dial, PS_ENOMEM, NULL, "out of memory");
    else
        dial->done(dial, result == NNG_ECANCELED ? PS_ECANCELLED : PS_EUNAVAILABLE, NULL,
                   result == NNG_ECANCELED ? "no answer" : nng_strerror(result));
}

static int dial_endpoint(struct rpc_transport *transport, const char *endpoint, struct rpc_dial *dial,
                         struct ps_error *err)
{
    struct nng_transport *t = container_of(transport, struct nng_transport, base);
    int status = check_endpoint(endpoint, err);
    if (status)
        return status;
    struct dialling *d = calloc(1, sizeof *d);
    if (!d)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    d->transport = t;
    d->dial = dial;
    d->ipc = is_ipc(endpoint);
    if (op_init(&d->op, t, dialled) != PS_OK) {
        free(d);
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    }
    const int result = nng_stream_dialer_alloc(&d->dialer, endpoint);
    if (result != 0) {
        op_free(&d->op);
        free(d);
        return nng_error(result, endpoint, err);
    }
    (void)nng_stream_dialer_set_bool(d->dialer, NNG_OPT_TCP_NODELAY, true); /* refused for ipc */
    dial->priv = d;
    t->users++;
    d->op.busy = true;
    nng_stream_dialer_dial(d->dialer, d->op.aio);
    return PS_OK;
}

static void cancel_dial(struct rpc_transport *transport, struct rpc_dial *dial)
{
    struct dialling *d = dial->priv;
    (void)transport;
    nng_aio_cancel(d->op.aio);
}

/* ---- listening */

static void accept_next(struct accepting *a)
{
    a->op.busy = true;
    nng_stream_listener_accept(a->listener, a->op.aio);
}

static void end_accept(struct accepting *a)
{
    struct rpc_listener *user = a->user;
    op_free(&a->op);
    nng_stream_listener_free(a->listener);
    a->transport->users--;
    free(a);
    user->closed(user);
}

static void accepted(struct op *op, int result)
{
    struct accepting *a = container_of(op, struct accepting, op);
    nng_stream *stream = result == 0 && !a->pausing ? nng_aio_get_output(op->aio, 0) : NULL;
    a->pausing = false;
    if (a->closing) {
        if (stream)
            nng_stream_free(stream);
        end_accept(a);
        return;
    }
    if (stream) {
        struct rpc_link *link = new_link(a->transport, stream, a->ipc);
        if (link)
            a->user->accepted(a->user, link);
    } else if (result != 0) {
        a->pausing = true;
        op->busy = true;
        nng_sleep_aio(ACCEPT_PAUSE_MS, op->aio);
        return;
    }
    accept_next(a);
}

static void describe_listener(nng_stream_listener *listener, const char *endpoint, char *out, size_t room)
{
    int port;
    const char *colon = strrchr(endpoint, ':');
    if (strncmp(endpoint, "tcp://", 6) == 0 &&
        nng_stream_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port) == 0)
        (void)snprintf(out, room, "%.*s:%d", (int)(colon - endpoint), endpoint, port);
    else
        (void)snprintf(out, room, "%s", endpoint);
}

static int listen_endpoint(struct rpc_transport *transport, const char *endpoint,
                           struct rpc_listener *listener, struct ps_error *err)
{
    struct nng_transport *t = container_of(transport, struct nng_transport, base);
    int status = check_endpoint(endpoint, err);
    if (status)
        return status;
    struct accepting *a = calloc(1, sizeof *a);
    if (!a)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    a->transport = t;
    a->user = listener;
    a->ipc = is_ipc(endpoint);
    int result = nng_stream_listener_alloc(&a->listener, endpoint);
    if (result != 0) {
        free(a);
        return nng_error(result, endpoint, err);
    }
    (void)nng_stream_listener_set_bool(a->listener, NNG_OPT_TCP_NODELAY, true);
    result = nng_stream_listener_listen(a->listener);
    if (result == 0 && op_init(&a->op, t, accepted) != PS_OK)
        result = NNG_ENOMEM;
    if (result != 0) {
        nng_stream_listener_free(a->listener);
        free(a);
        return nng_error(result, endpoint, err);
    }
    describe_listener(a->listener, endpoint, listener->address, sizeof listener->address);
    listener->priv = a;
    t->users++;
    accept_next(a);
    return PS_OK;
}

static void unlisten(struct rpc_transport *transport, struct rpc_listener *listener)
{
    struct accepting *a = listener->priv;
    (void)transport;
    a->closing = true;
    nng_stream_listener_close(a->listener);
    nng_aio_cancel(a->op.aio); /* ends a pause too */
}

/* ---- the loop */

static uint64_t now_ns_of(struct rpc_transport *transport)
{
    (void)transport;
    return uv_hrtime();
}

static bool random_bytes(struct rpc_transport *transport, void *out, size_t length)
{
    (void)transport;
    assert(length <= 256); /* so much comes whole, whatever signals arrive */
    return getrandom(out, length, 0) == (ssize_t)length;
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* exists so that the loop doesn't sleep */
}

static void on_timer(uv_timer_t *timer)
{
    struct nng_transport *t = timer->data;
    t->timer_ns = RPC_NEVER; /* on_prepare runs before the loop sleeps again */
}

static void poke(struct rpc_schedule *schedule)
{
    struct rpc_transport *transport = container_of(schedule, struct rpc_transport, schedule);
    (void)uv_idle_start(&container_of(transport, struct nng_transport, base)->idle, on_idle);
}

static void tell_sent(struct nng_transport *t)
{
    struct list_node batch;
    list_init(&batch);
    list_splice_back(&batch, &t->soon);
    for (struct list_node *node; (node = list_pop_front(&batch));) {
        struct nng_link *l = container_of(node, struct nng_link, send.link);
        l->send.busy = false;
        if (l->closing)
            end_link(l);
        else
            l->base.events->sent(&l->base, PS_OK, l->sent_bytes);
    }
}

/* Once a turn, before the loop sleeps: frames of the whole turn leave together. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct nng_transport *t = prepare->data;
    const uint64_t now_ns = uv_hrtime();
    (void)uv_idle_stop(&t->idle);
    uint64_t next_ns = rpc_schedule_run(&t->base.schedule, now_ns);
    tell_sent(t);
    if (!list_empty(&t->base.schedule.due))
        next_ns = now_ns; /* it wants to send more */
    if (next_ns <= now_ns) {
        (void)uv_idle_start(&t->idle, on_idle);
    } else if (next_ns != t->timer_ns) {
        t->timer_ns = next_ns;
        uv_update_time(t->loop);
        if (next_ns == RPC_NEVER)
            (void)uv_timer_stop(&t->timer);
        else
            (void)uv_timer_start(&t->timer, on_timer, (next_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS, 0);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct nng_transport *t = handle->data;
    if (--t->handles > 0)
        return;
    void (*closed)(void *user) = t->closed;
    void *user = t->closed_user;
    pthread_mutex_destroy(&t->lock);
    free(t);
    closed(user);
}

int rpc_transport_nng_create(uv_loop_t *loop, struct rpc_transport **out)
{
    static const struct rpc_transport_ops ops = {now_ns_of,       dial_endpoint, cancel_dial,
                                                 listen_endpoint, unlisten,      random_bytes};
    struct nng_transport *t = calloc(1, sizeof *t);
    if (!t)
        return PS_ENOMEM;
    if (uv_async_init(loop, &t->async, on_async) != 0) {
        free(t);
        return PS_EINTERNAL;
    }
    (void)pthread_mutex_init(&t->lock, NULL);
    t->base.ops = &ops;
    t->loop = loop;
    t->timer_ns = RPC_NEVER;
    t->handles = 4;
    list_init(&t->done);
    list_init(&t->soon);
    rpc_schedule_init(&t->base.schedule, poke);
    /* These three cannot fail. */
    (void)uv_prepare_init(loop, &t->prepare);
    (void)uv_idle_init(loop, &t->idle);
    (void)uv_timer_init(loop, &t->timer);
    t->async.data = t->prepare.data = t->idle.data = t->timer.data = t;
    (void)uv_prepare_start(&t->prepare, on_prepare);
    *out = &t->base;
    return PS_OK;
}

void rpc_transport_nng_close(struct rpc_transport *transport, void (*closed)(void *user), void *user)
{
    struct nng_transport *t = container_of(transport, struct nng_transport, base);
    assert(t->users == 0 && list_empty(&t->base.schedule.tasks));
    t->closed = closed;
    t->closed_user = user;
    uv_close((uv_handle_t *)&t->async, on_closed);
    uv_close((uv_handle_t *)&t->prepare, on_closed);
    uv_close((uv_handle_t *)&t->idle, on_closed);
    uv_close((uv_handle_t *)&t->timer, on_closed);
}

void rpc_transport_nng_finish(void)
{
    nng_fini();
}
