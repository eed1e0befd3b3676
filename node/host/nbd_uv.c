#include "node/host/nbd_uv.h"

#include <assert.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "node/host/nbd_listen_uv.h"
#include "node/host/nbd_session.h"

/* Lifetimes.
 * 1. A connection begins in on_connection and is in `connections` until its
 *    handles are closed and its session is idle, whichever is later.
 * 2. Its socket is closed by connection_close alone. From then on nothing is
 *    sent; the session is abandoned when libuv has let go of the output (in
 *    the close callback), and requests at the pod end by themselves.
 * 3. The server is freed in the close callback of its last own handle, which
 *    are closed when it stops and the last connection is gone. */

enum {
    SPANS = 128, /* one writev */
    BACKLOG = 128,
    LISTENERS_MAX = 8,
    KEEPALIVE_S = 60,
};
_Static_assert(sizeof(uv_buf_t) == sizeof(struct iovec) &&
                   offsetof(uv_buf_t, base) == offsetof(struct iovec, iov_base) &&
                   offsetof(uv_buf_t, len) == offsetof(struct iovec, iov_len),
               "on Unix uv_buf_t is a struct iovec");

struct listener {
    union nbd_socket socket;
    struct nbd_address address;
    struct nbd_server *server;
};

struct connection {
    struct list_node link;  /* in the server's connections */
    struct list_node dirty; /* in its dirty list, or alone */
    struct nbd_server *server;
    struct nbd_session *session;
    union nbd_socket socket;
    uv_timer_t timer; /* handshake, then rest, then linger */
    uv_write_t write;
    size_t write_bytes;
    unsigned open_handles;
    uint32_t options;     /* answered when the timer was last wound */
    uint64_t progress_ms; /* when bytes last moved */
    bool writing, reading, transmitting, lingering, closing;
    bool resting, rested; /* reading rests; it has for as long as it may, and nothing was answered since */
    char peer[64];
};

struct nbd_server {
    uv_loop_t *loop;
    struct nbd_server_config config;
    struct listener listeners[LISTENERS_MAX];
    unsigned nlisteners, open_handles, nconnections;
    uv_idle_t again; /* active: the loop shall come round at once */
    uv_timer_t tick; /* active while somebody waits for buffers */
    uint64_t tick_ms;
    struct nbd_buffers buffers;
    struct nbd_transmit_stats stats;
    uint64_t accepted, refused;
    struct list_node connections, dirty;
    bool stopping, over_limit;
    void (*stop_cb)(void *user);
    void *stop_user;
};

__attribute__((format(printf, 3, 4))) static void say(const struct nbd_server *server,
                                                      enum nbd_log_level level, const char *format, ...)
{
    if (!server->config.log)
        return;
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    server->config.log(server->config.user, level, text);
}

static void on_again(uv_idle_t *idle)
{
    (void)uv_idle_stop(idle); /* that the loop came round was all */
}

static void come_round(struct nbd_server *server)
{
    (void)uv_idle_start(&server->again, on_again);
}

/* ---- end of a server */

static void on_own_handle_closed(uv_handle_t *handle)
{
    struct nbd_server *server = handle->data;
    if (--server->open_handles > 0)
        return;
    void (*cb)(void *user) = server->stop_cb;
    void *user = server->stop_user;
    nbd_buffers_fini(&server->buffers);
    free(server);
    if (cb)
        cb(user);
}

static void finish_stop(struct nbd_server *server)
{
    if (!server->stopping || !list_empty(&server->connections) ||
        uv_is_closing((uv_handle_t *)&server->again))
        return;
    uv_close((uv_handle_t *)&server->again, on_own_handle_closed);
    uv_close((uv_handle_t *)&server->tick, on_own_handle_closed);
}

/* ---- end of a connection */

static void connection_free_when_done(struct connection *conn)
{
    if (conn->open_handles > 0 || !nbd_session_idle(conn->session))
        return;
    struct nbd_server *server = conn->server;
    nbd_session_destroy(conn->session);
    list_remove(&conn->link);
    list_remove(&conn->dirty);
    free(conn);
    server->nconnections--;
    if (server->nconnections < server->config.max_connections)
        server->over_limit = false;
    finish_stop(server);
}

static void on_connection_handle_closed(uv_handle_t *handle)
{
    struct connection *conn = handle->data;
    if (--conn->open_handles > 0)
        return;
    nbd_session_abandon(conn->session);
    if (!list_empty(&conn->server->buffers.waiters))
        come_round(conn->server); /* for what was given back */
    connection_free_when_done(conn);
}

static void connection_close(struct connection *conn)
{
    if (conn->closing)
        return;
    conn->closing = true;
    const struct ps_error *error = nbd_session_error(conn->session);
    const char *export = nbd_session_export(conn->session);
    if (error->status)
        say(conn->server, NBD_LOG_WARNING, "nbd: disconnected %s: %s", conn->peer, error->detail);
    else if (export[0])
        say(conn->server, NBD_LOG_INFO, "nbd: %s left '%s'", conn->peer, export);
    uv_close(&conn->socket.handle, on_connection_handle_closed);
    uv_close((uv_handle_t *)&conn->timer, on_connection_handle_closed);
}

static void on_linger_timeout(uv_timer_t *timer)
{
    struct connection *conn = timer->data;
    if (!nbd_session_idle(conn->session))
        say(conn->server, NBD_LOG_WARNING, "nbd: %s does not take its last replies", conn->peer);
    connection_close(conn);
}

/* No more requests from this one: what is in flight is answered; the time to take the answers is limited. */
static void connection_end(struct connection *conn)
{
    if (conn->closing || conn->lingering)
        return;
    conn->lingering = true;
    conn->resting = false; /* the timer has another use now */
    nbd_session_end(conn->session);
    (void)uv_timer_start(&conn->timer, on_linger_timeout, conn->server->config.linger_ms, 0);
}

/* ---- receiving */

static void connection_pump(struct connection *conn);

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct connection *conn = handle->data;
    void *base = NULL;
    buf->len = nbd_session_room(conn->session, &base);
    buf->base = base;
}

/* What the kernel knows of a client whose requests there is no place for. */
static short peer_left(struct connection *conn)
{
    struct pollfd at = {.events = POLLRDHUP};
    if (uv_fileno(&conn->socket.handle, &at.fd) != 0 || poll(&at, 1, 0) != 1)
        return 0;
    return at.revents;
}

/* The pod stalls, or there is none: see what the client says, or that it has left. */
static void on_rest_timeout(uv_timer_t *timer)
{
    struct connection *conn = timer->data;
    const short left = nbd_session_passes_on(conn->session) ? peer_left(conn) : 0;
    conn->rested = true;
    if (left & ~POLLRDHUP)
        connection_close(conn);
    else if (left)
        connection_end(conn);
    connection_pump(conn);
}

/* Until the next pump, which comes with an answer, or with the timer. libuv stops reading lazily: the kernel
 * would go on waking the loop once for what it was told to leave, hence the descriptor is taken out here;
 * uv_read_start puts it back. */
static void rest_reading(struct connection *conn)
{
    (void)uv_read_stop(&conn->socket.stream);
    conn->reading = false;
    conn->resting = true;
    (void)uv_timer_start(&conn->timer, on_rest_timeout, conn->server->config.rest_ms, 0);
    uv_os_fd_t fd;
    if (!conn->writing && uv_fileno(&conn->socket.handle, &fd) == 0)
        (void)epoll_ctl(uv_backend_fd(conn->server->loop), EPOLL_CTL_DEL, fd, NULL);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    (void)buf;
    struct connection *conn = stream->data;
    if (nread == 0)
        return;
    if (nread < 0) {
        (void)uv_read_stop(stream);
        conn->reading = false;
        if (nread == UV_EOF) /* replies may still be wanted */
            connection_end(conn);
        else
            connection_close(conn);
        return;
    }
    conn->progress_ms = uv_now(stream->loop);
    nbd_session_received(conn->session, (size_t)nread);
    if (!nbd_session_wants_input(conn->session)) {
        (void)uv_read_stop(stream);
        conn->reading = false;
        connection_pump(conn); /* it may have to wait, or be over */
    } else if (!conn->rested && nbd_session_gathers(conn->session)) {
        rest_reading(conn);
    }
}

static void adjust_reading(struct connection *conn)
{
    if (conn->resting)
        (void)uv_timer_stop(&conn->timer);
    conn->resting = false;
    const bool wanted = nbd_session_wants_input(conn->session);
    if (wanted == conn->reading)
        return;
    conn->reading = wanted;
    if (!wanted)
        (void)uv_read_stop(&conn->socket.stream);
    else if (uv_read_start(&conn->socket.stream, on_alloc, on_read) != 0)
        connection_close(conn);
}

/* What waits for a primary dies with its client, also when there is no place for what the client says. */
static void watch_peer(struct connection *conn)
{
    if (conn->reading || conn->lingering || conn->closing || !nbd_session_passes_on(conn->session))
        return;
    conn->resting = true;
    (void)uv_timer_start(&conn->timer, on_rest_timeout, conn->server->config.rest_ms, 0);
}

/* ---- sending */

static void on_written(uv_write_t *write, int status)
{
    struct connection *conn = write->data;
    conn->writing = false;
    if (conn->closing)
        return;
    if (status != 0) {
        connection_close(conn);
        return;
    }
    conn->progress_ms = uv_now(conn->server->loop);
    nbd_session_sent(conn->session, conn->write_bytes);
    connection_pump(conn);
}

/* Sends what there is: directly as far as the socket takes it, the rest when it takes more. */
static void connection_send(struct connection *conn)
{
    while (!conn->writing && !conn->closing) {
        struct iovec spans[SPANS];
        const unsigned n = nbd_session_gather(conn->session, spans, SPANS);
        if (n == 0)
            return;
        const uv_buf_t *bufs = (const uv_buf_t *)(const void *)spans;
        const int sent = uv_try_write(&conn->socket.stream, bufs, n);
        if (sent >= 0) {
            conn->progress_ms = uv_now(conn->server->loop);
            nbd_session_sent(conn->session, (size_t)sent);
            continue;
        }
        if (sent != UV_EAGAIN) {
            connection_close(conn);
            return;
        }
        conn->write_bytes = 0;
        for (unsigned i = 0; i < n; i++)
            conn->write_bytes += spans[i].iov_len;
        conn->write.data = conn;
        conn->writing = true;
        if (uv_write(&conn->write, &conn->socket.stream, bufs, n, on_written) != 0) {
            conn->writing = false;
            connection_close(conn);
        }
    }
}

static void on_handshake_timeout(uv_timer_t *timer)
{
    struct connection *conn = timer->data;
    say(conn->server, NBD_LOG_WARNING, "nbd: disconnected %s: the handshake takes too long", conn->peer);
    connection_close(conn);
}

static void watch_handshake(struct connection *conn)
{
    if (conn->transmitting || conn->lingering)
        return;
    if (nbd_session_transmitting(conn->session)) {
        conn->transmitting = true;
        (void)uv_timer_stop(&conn->timer);
        say(conn->server, NBD_LOG_INFO, "nbd: %s uses '%s'", conn->peer, nbd_session_export(conn->session));
    } else if (conn->options != nbd_session_options(conn->session)) {
        conn->options = nbd_session_options(conn->session);
        (void)uv_timer_start(&conn->timer, on_handshake_timeout, conn->server->config.handshake_timeout_ms,
                             0);
    }
}

static void on_tick(uv_timer_t *timer);

/* Moves a connection on as far as it goes. */
static void connection_pump(struct connection *conn)
{
    if (conn->closing) {
        connection_free_when_done(conn);
        return;
    }
    struct nbd_server *server = conn->server;
    connection_send(conn);
    while (!conn->closing && nbd_session_resume(conn->session)) {
        come_round(server); /* the pod had its turn already */
        connection_send(conn);
    }
    if (conn->closing)
        return;
    connection_send(conn);
    watch_handshake(conn);
    if (nbd_session_over(conn->session)) {
        connection_close(conn);
        return;
    }
    if (nbd_session_ending(conn->session))
        connection_end(conn);
    adjust_reading(conn);
    watch_peer(conn);
    if (nbd_session_waits(conn->session) && !uv_is_active((uv_handle_t *)&server->tick))
        (void)uv_timer_start(&server->tick, on_tick, server->tick_ms, server->tick_ms);
}

static void on_ready(void *user)
{
    struct connection *conn = user;
    conn->rested = false;
    if (list_empty(&conn->dirty))
        list_push_back(&conn->server->dirty, &conn->dirty);
}

/* Those who wait for buffers, in order, until one still has to. */
static void serve_waiters(struct nbd_server *server)
{
    while (!list_empty(&server->buffers.waiters)) {
        struct list_node *first = server->buffers.waiters.next;
        connection_pump(nbd_session_user(nbd_session_of_waiter(first)));
        if (server->buffers.waiters.next == first)
            return;
    }
}

void nbd_server_turn(struct nbd_server *server)
{
    struct list_node dirty;
    list_init(&dirty);
    list_splice_back(&dirty, &server->dirty);
    for (struct list_node *node; (node = list_pop_front(&dirty));)
        connection_pump(container_of(node, struct connection, dirty));
    serve_waiters(server);
    if (!list_empty(&server->dirty))
        come_round(server);
}

/* While somebody waits for buffers: whoever holds some and doesn't move must go. */
static void on_tick(uv_timer_t *timer)
{
    struct nbd_server *server = timer->data;
    if (list_empty(&server->buffers.waiters)) {
        (void)uv_timer_stop(timer);
        return;
    }
    const uint64_t now = uv_now(server->loop);
    list_for_each_safe(node, next, &server->connections)
    {
        struct connection *conn = container_of(node, struct connection, link);
        if (conn->closing || nbd_session_payload_bytes(conn->session) <= NBD_BYTES_GUARANTEED ||
            nbd_session_at_pod(conn->session) || now - conn->progress_ms < server->config.stuck_timeout_ms)
            continue;
        say(server, NBD_LOG_WARNING,
            "nbd: disconnected %s: it holds %" PRIu64 " bytes that others wait for, and does not move",
            conn->peer, nbd_session_payload_bytes(conn->session));
        connection_close(conn);
    }
    come_round(server);
}

/* ---- accepting */

static void on_refused_closed(uv_handle_t *handle)
{
    free(handle);
}

/* Accepts and closes at once: the peer knows where it stands. */
static void refuse(struct listener *listener)
{
    struct nbd_server *server = listener->server;
    server->refused++;
    if (!server->over_limit)
        say(server, NBD_LOG_WARNING, "nbd: connections are refused: there are %u, the limit",
            server->nconnections);
    server->over_limit = true;
    union nbd_socket *socket = malloc(sizeof *socket);
    if (!socket)
        return;
    nbd_socket_init(server->loop, &listener->address, socket);
    (void)uv_accept(&listener->socket.stream, &socket->stream);
    uv_close(&socket->handle, on_refused_closed);
}

static struct connection *connection_create(struct listener *listener)
{
    struct nbd_server *server = listener->server;
    struct connection *conn = calloc(1, sizeof *conn);
    if (!conn)
        return NULL;
    const struct nbd_session_config config = {
        .pod = server->config.pod,
        .buffers = &server->buffers,
        .stats = &server->stats,
        .ready = on_ready,
        .user = conn,
        .images = server->config.images,
    };
    conn->session = nbd_session_create(&config);
    if (!conn->session) {
        free(conn);
        return NULL;
    }
    conn->server = server;
    list_init(&conn->dirty);
    list_push_back(&server->connections, &conn->link);
    server->nconnections++;
    server->accepted++;
    nbd_socket_init(server->loop, &listener->address, &conn->socket);
    (void)uv_timer_init(server->loop, &conn->timer);
    conn->socket.handle.data = conn;
    conn->timer.data = conn;
    conn->open_handles = 2;
    return conn;
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *listener = container_of((union nbd_socket *)(void *)stream, struct listener, socket);
    struct nbd_server *server = listener->server;
    if (status != 0) {
        say(server, NBD_LOG_WARNING, "nbd: cannot accept a connection: %s", uv_strerror(status));
        return;
    }
    struct connection *conn =
        server->nconnections < server->config.max_connections ? connection_create(listener) : NULL;
    if (!conn) {
        refuse(listener);
        return;
    }
    if (uv_accept(stream, &conn->socket.stream) != 0) {
        connection_close(conn);
        return;
    }
    if (conn->socket.handle.type == UV_TCP) {
        (void)uv_tcp_nodelay(&conn->socket.tcp, 1);
        (void)uv_tcp_keepalive(&conn->socket.tcp, 1, KEEPALIVE_S); /* hosts that vanish without a word */
    }
    nbd_peer_name(&conn->socket, conn->peer, sizeof conn->peer);
    conn->progress_ms = uv_now(server->loop);
    (void)uv_timer_start(&conn->timer, on_handshake_timeout, server->config.handshake_timeout_ms, 0);
    connection_pump(conn); /* the greeting */
}

/* ---- the server */

static void close_listeners(struct nbd_server *server)
{
    for (unsigned i = 0; i < server->nlisteners; i++)
        uv_close(&server->listeners[i].socket.handle, on_own_handle_closed);
}

static int listen_all(struct nbd_server *server, struct ps_error *err)
{
    const char *spec = server->config.listen;
    struct nbd_address addresses[LISTENERS_MAX];
    unsigned n = 0;
    for (spec += strspn(spec, " "); *spec; n++) {
        if (n == LISTENERS_MAX)
            return ps_error_set(err, PS_EINVAL, "more than %d NBD addresses", LISTENERS_MAX);
        spec = nbd_address_parse(spec, &addresses[n], err);
        if (!spec)
            return PS_EINVAL;
    }
    if (n == 0)
        return ps_error_set(err, PS_EINVAL, "no NBD address to listen on");
    for (unsigned i = 0; i < n; i++) {
        struct listener *listener = &server->listeners[server->nlisteners++];
        listener->server = server;
        listener->address = addresses[i];
        server->open_handles++;
        const int status =
            nbd_listen(server->loop, &listener->address, &listener->socket, BACKLOG, on_connection, err);
        listener->socket.handle.data = server;
        if (status)
            return status;
    }
    return 0;
}

int nbd_server_start(uv_loop_t *loop, const struct nbd_server_config *config, struct nbd_server **out,
                     struct ps_error *err)
{
    const uint64_t memory = config->memory_bytes ? config->memory_bytes : 64 << 20;
    if (memory < NBD_BUFFER_MAX)
        return ps_error_set(err, PS_EINVAL,
                            "%" PRIu64 " bytes for NBD requests: the largest request alone needs 32 MiB",
                            memory);
    struct nbd_server *server = calloc(1, sizeof *server);
    if (!server)
        return ps_error_set(err, PS_ENOMEM, "no memory for the NBD server");
    server->loop = loop;
    server->config = *config;
    if (!server->config.max_connections)
        server->config.max_connections = 256;
    if (!server->config.handshake_timeout_ms)
        server->config.handshake_timeout_ms = 10000;
    if (!server->config.stuck_timeout_ms)
        server->config.stuck_timeout_ms = 10000;
    if (!server->config.rest_ms)
        server->config.rest_ms = 100;
    if (!server->config.linger_ms)
        server->config.linger_ms = 5000;
    server->tick_ms = (server->config.stuck_timeout_ms + 9) / 10;
    nbd_buffers_init(&server->buffers, memory);
    list_init(&server->connections);
    list_init(&server->dirty);
    (void)uv_idle_init(loop, &server->again);
    (void)uv_timer_init(loop, &server->tick);
    server->again.data = server->tick.data = server;
    server->open_handles = 2;
    const int status = listen_all(server, err);
    server->config.listen = NULL; /* borrowed for this call only */
    if (status) {
        server->stopping = true;
        close_listeners(server);
        finish_stop(server);
        return status;
    }
    *out = server;
    return 0;
}

void nbd_server_stop(struct nbd_server *server, void (*cb)(void *user), void *user)
{
    assert(!server->stopping);
    server->stopping = true;
    server->stop_cb = cb;
    server->stop_user = user;
    close_listeners(server);
    list_for_each(node, &server->connections)
    {
        struct connection *conn = container_of(node, struct connection, link);
        if (nbd_session_transmitting(conn->session))
            connection_end(conn);
        else
            connection_close(conn);
    }
    come_round(server);
    finish_stop(server);
}

void nbd_server_drop(struct nbd_server *server)
{
    list_for_each_safe(node, next, &server->connections)
    {
        struct connection *conn = container_of(node, struct connection, link);
        if (nbd_session_transmitting(conn->session))
            connection_close(conn);
    }
}

bool nbd_server_address(const struct nbd_server *server, unsigned index, char *out, size_t size)
{
    if (index >= server->nlisteners)
        return false;
    nbd_socket_name(&server->listeners[index].socket, &server->listeners[index].address, out, size);
    return true;
}

void nbd_server_stats(const struct nbd_server *server, struct nbd_server_stats *out)
{
    *out = (struct nbd_server_stats){
        .connections = server->nconnections,
        .accepted = server->accepted,
        .refused = server->refused,
        .requests = server->stats.requests,
        .errors = server->stats.errors,
        .read_bytes = server->stats.read_bytes,
        .written_bytes = server->stats.written_bytes,
        .memory_bytes = server->buffers.held,
        .memory_limit = server->buffers.limit,
    };
}
