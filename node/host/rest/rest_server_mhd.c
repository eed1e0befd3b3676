#include "node/host/rest/rest_server_mhd.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/container.h"
#include "common/log.h"
#include "node/host/rest/rest_access.h"
#include "node/host/rest/rest_exchange.h"
#include "node/host/rest/rest_listen.h"
#include "node/host/rest/rest_openapi.h"
#include "node/host/rest/rest_pages.h"
#include "node/host/rest/rest_stream_mhd.h"

enum {
    IDLE_S = 30,             /* without a byte in either direction */
    DISCARD_MAX = 64 * 1024, /* of a body that was refused: read, so that its sender gets to the answer */
    KEYS_MAX = 4096,         /* Idempotency-Keys remembered with their bodies */
    CALLS_MAX = 128,         /* requests to the node at once; more wait */
    CALLER_MAX = 96,
    GROW = 4096,
};
#define NEVER UINT64_MAX

struct connection {
    struct list_node link;
    struct rest_server *server;
    int fd;
    uint64_t deadline_ms; /* then it is shut down; NEVER: the node has the request, or it is a stream */
    struct rest_stream *stream;
    uint64_t beat_ms; /* of the stream */
};

/* A request and what belongs to HTTP. */
struct http {
    struct rest_exchange x; /* the first member */
    struct rest_server *server;
    struct MHD_Connection *connection;
    struct connection *conn;
    char *target;
    bool begun, acting, refused, answered, changes;
    char *body;
    size_t length, room, reserved, discarded;
    char id[REST_REQUEST_ID_MAX + 1], caller[CALLER_MAX], method[16];
    uint64_t begun_ns;
};

struct rest_server {
    struct MHD_Daemon *daemon;
    struct pstorage_client *client;
    struct rest_narrow_writes narrow;
    struct tokens *tokens;
    char listen[256];
    char *certificate, *key;
    pthread_t thread;
    int wake_fd;
    atomic_bool woken; /* wake_fd is written to, or about to be, and the thread has not looked yet */
    atomic_bool stop;
    char why[160]; /* libmicrohttpd's last word while it starts */
    bool started;
    /* The thread's own. */
    struct list_node connections;
    struct rest_counts counts;
    size_t memory;
    unsigned streams;
    struct json_out openapi;
    uint32_t id_prefix, id_count;
    struct {
        uint8_t operation[16];
        uint64_t mark;
    } keys[KEYS_MAX];
    size_t nkeys;
};

static uint64_t now_ms(void)
{
    return clock_monotonic_ns() / NS_PER_MS;
}

/* ---- answers */

static void add_header(struct MHD_Response *r, const char *name, const char *value)
{
    if (value && value[0])
        (void)MHD_add_response_header(r, name, value);
}

static void log_request(const struct http *h, int status)
{
    const uint64_t us = (clock_monotonic_ns() - h->begun_ns) / 1000;
    const enum log_level level = status >= 500 ? LOG_WARN : h->changes ? LOG_INFO : LOG_DEBUG;
    LOG_AT(level, "rest", "request", LOG_S("id", h->id), LOG_S("method", h->method),
           LOG_S("target", h->target), LOG_I("status", status), LOG_S("by", h->caller), LOG_U("us", us),
           LOG_S("problem", h->x.is_problem ? h->x.problem.detail : ""));
}

static const char *content_type(const struct http *h)
{
    const struct rest_route *route = h->x.request.route;
    if (h->x.is_problem)
        return "application/problem+json";
    if (route->op == REST_PROMETHEUS)
        return "text/plain; version=0.0.4; charset=utf-8";
    return route->flags & REST_PLAIN ? "text/plain; charset=utf-8" : "application/json";
}

static enum MHD_Result queue(struct http *h, int status, struct MHD_Response *r)
{
    if (!r)
        return MHD_NO;
    const struct rest_route *route = h->x.request.route;
    add_header(r, "X-Request-Id", h->id);
    add_header(r, "Cache-Control",
               !h->x.is_problem && route && route->flags & REST_FILE ? "no-cache" : "no-store");
    add_header(r, "X-Content-Type-Options", "nosniff");
    const enum MHD_Result result = MHD_queue_response(h->connection, (unsigned)status, r);
    MHD_destroy_response(r);
    if (result == MHD_YES) {
        h->answered = true;
        h->server->counts.requests[status / 100]++;
        log_request(h, status);
    }
    return result;
}

/* What the exchange holds. */
static enum MHD_Result respond(struct http *h)
{
    struct rest_exchange *x = &h->x;
    if (x->is_problem) {
        json_out_free(&x->body);
        rest_problem_encode(&x->body, &x->problem, h->target, h->id, x->done[0] ? x->done : NULL);
    }
    if (x->body.failed)
        return MHD_NO;
    struct MHD_Response *r = MHD_create_response_from_buffer(
        x->body.length, x->body.text, x->body.text ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!r)
        return MHD_NO;
    x->body = (struct json_out){0};
    if (x->http != 204)
        add_header(r, "Content-Type", content_type(h));
    add_header(r, "ETag", x->etag);
    add_header(r, "Location", x->location);
    if (x->retry_later)
        add_header(r, "Retry-After", "1");
    if (x->http == 405)
        add_header(r, "Allow", x->request.allow);
    if (x->http == 401)
        add_header(r, "WWW-Authenticate", "Bearer realm=\"pstorage\"");
    h->conn->deadline_ms = now_ms() + REST_ANSWER_MS;
    return queue(h, x->http, r);
}

static enum MHD_Result respond_problem(struct http *h)
{
    h->x.is_problem = true;
    h->x.http = rest_problem_http(&h->x.problem);
    h->x.retry_later = h->x.http == 503 || h->x.http == 429;
    return respond(h);
}

/* ---- the beginning of a request */

static const char *header(const struct http *h, const char *name)
{
    return MHD_lookup_connection_value(h->connection, MHD_HEADER_KIND, name);
}

/* The sender's own id, if it has a form that can stand in a log. */
static void name_request(struct http *h)
{
    const char *given = header(h, "X-Request-Id");
    const size_t length = given ? strlen(given) : 0;
    if (length > 0 && length <= REST_REQUEST_ID_MAX &&
        strspn(given, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") == length)
        memcpy(h->id, given, length + 1);
    else
        (void)snprintf(h->id, sizeof h->id, "%08x-%08x", (unsigned)h->server->id_prefix,
                       (unsigned)h->server->id_count++);
}

static int check_access(struct http *h, struct rest_problem *p)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(h->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct token token;
    uint8_t hash[TOKEN_HASH_BYTES];
    struct rest_caller caller = {
        .local = info && rest_is_local(info->client_addr),
        .authorization = header(h, "Authorization"),
        .origin = header(h, "Origin"),
        .host = header(h, "Host"),
        .listen = h->server->listen,
    };
    if (caller.authorization && rest_bearer_hash(caller.authorization, hash) &&
        tokens_find(h->server->tokens, hash, &token))
        caller.token = &token;
    (void)snprintf(h->caller, sizeof h->caller, "%s%s",
                   caller.token   ? "token:"
                   : caller.local ? "local"
                                  : "remote",
                   caller.token ? token.name : "");
    return h->x.request.route->flags & REST_OPEN ? 0 : rest_may(&caller, h->x.request.route, p);
}

static int begin_checked(struct http *h, const char *method)
{
    struct rest_exchange *x = &h->x;
    const struct rest_headers headers = {
        .content_type = header(h, "Content-Type"),
        .if_match = header(h, "If-Match"),
        .idempotency_key = header(h, "Idempotency-Key"),
        .last_event_id = header(h, "Last-Event-ID"),
    };
    const char *length = header(h, "Content-Length");
    if (rest_request_begin(&x->request, method, h->target, &headers, &x->problem))
        return -1;
    if (check_access(h, &x->problem))
        return -1;
    if (length && strtoull(length, NULL, 10) > REST_BODY_MAX)
        return rest_fail_http(&x->problem, REST_PROBLEM_ETOOLARGE, "the body has %s bytes; %d are allowed",
                              length, REST_BODY_MAX);
    return 0;
}

static enum MHD_Result begin(struct http *h, const char *method)
{
    const char *length = header(h, "Content-Length");
    h->begun = true;
    h->begun_ns = clock_monotonic_ns();
    h->changes = strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0;
    (void)snprintf(h->method, sizeof h->method, "%s", method);
    (void)snprintf(h->caller, sizeof h->caller, "unknown");
    h->conn->deadline_ms = now_ms() + REST_REQUEST_MS;
    name_request(h);
    h->refused = begin_checked(h, method) != 0;
    /* Data is for the debug log, as with any other way in. */
    h->changes &= !h->x.request.route || strcmp(h->x.request.route->tag, "data") != 0;
    /* Nobody sends a body that was refused on the strength of its headers, if he asked before. */
    if (h->refused && ((length && strtoull(length, NULL, 10) > DISCARD_MAX) || header(h, "Expect")))
        return respond_problem(h);
    return MHD_YES;
}

/* ---- the body */

static int refuse_body(struct http *h, enum rest_problem_code code, const char *detail)
{
    h->refused = true;
    h->server->memory -= h->reserved;
    h->reserved = 0;
    free(h->body);
    h->body = NULL;
    h->length = h->room = 0;
    return rest_fail_http(&h->x.problem, code, "%s", detail);
}

/* Counted against REST_MEMORY_MAX until the request ends. */
static bool reserve(struct http *h, size_t bytes)
{
    if (bytes > REST_MEMORY_MAX - h->server->memory)
        return false;
    h->server->memory += bytes;
    h->reserved += bytes;
    return true;
}

static int make_room(struct http *h, size_t wanted)
{
    const char *length = header(h, "Content-Length");
    size_t room = h->room ? 2 * h->room : length ? (size_t)strtoull(length, NULL, 10) : GROW;
    room = room < wanted ? wanted : room;
    if (!reserve(h, room - h->room))
        return refuse_body(h, REST_PROBLEM_EBUSY, "too much data is on its way at once");
    char *body = realloc(h->body, room);
    if (!body)
        return refuse_body(h, REST_PROBLEM_EBUSY, "out of memory");
    h->body = body;
    h->room = room;
    return 0;
}

static enum MHD_Result take_body(struct http *h, const char *data, size_t *size)
{
    if (!h->refused && h->length + *size > REST_BODY_MAX)
        (void)refuse_body(h, REST_PROBLEM_ETOOLARGE, "the body is longer than 1572864 bytes");
    if (!h->refused && h->length + *size > h->room)
        (void)make_room(h, h->length + *size);
    if (h->refused) {
        h->discarded += *size;
        *size = 0;
        return h->discarded > REST_BODY_MAX ? MHD_NO : MHD_YES;
    }
    memcpy(h->body + h->length, data, *size);
    h->length += *size;
    *size = 0;
    return MHD_YES;
}
_Static_assert(REST_BODY_MAX == 1572864, "as the message says");

/* ---- the action */

/* The same key with another body is a mistake; the node itself, which has the result, knows no bodies. */
static int use_key(struct http *h)
{
    struct rest_server *s = h->server;
    struct rest_exchange *x = &h->x;
    const uint64_t mark = rest_body_mark(h->body ? h->body : "", h->length);
    rest_operation_id(h->caller, h->method, h->target, x->request.key, x->operation_id);
    const size_t n = s->nkeys < KEYS_MAX ? s->nkeys : KEYS_MAX;
    for (size_t i = 0; i < n; i++)
        if (memcmp(s->keys[i].operation, x->operation_id, sizeof x->operation_id) == 0)
            return s->keys[i].mark == mark
                       ? 0
                       : rest_fail_http(&x->problem, REST_PROBLEM_EKEYREUSED,
                                        "this Idempotency-Key came with another body before");
    const size_t i = s->nkeys++ % KEYS_MAX;
    memcpy(s->keys[i].operation, x->operation_id, sizeof x->operation_id);
    s->keys[i].mark = mark;
    return 0;
}

/* Any thread: libmicrohttpd, driven from outside, does not wake up by itself for a connection that goes on.
 */
static void wake(void *user)
{
    struct rest_server *s = user;
    const uint64_t one = 1;
    if (!atomic_exchange(&s->woken, true))
        (void)!write(s->wake_fd, &one, sizeof one);
}

static void finished(struct rest_exchange *x)
{
    struct http *h = (struct http *)x;
    struct rest_server *s = h->server;
    MHD_resume_connection(h->connection);
    wake(s); /* `h` may be gone */
}

static void stream_closed(void *user)
{
    struct connection *conn = user;
    conn->stream = NULL;
    conn->server->streams--;
    conn->deadline_ms = now_ms() + REST_REQUEST_MS;
}

static enum MHD_Result start_stream(struct http *h)
{
    const struct rest_values *is = &h->x.request.is;
    const char *last = header(h, "Last-Event-ID"), *from = last && last[0] ? last : is->cursor;
    const struct rest_stream_config config = {
        .client = h->server->client,
        .connection = h->connection,
        .after_cursor = from ? strtoull(from, NULL, 10) : 0,
        .from_now = !from,
        .kind = is->kind,
        .closed = stream_closed,
        .user = h->conn,
        .wake = wake,
        .wake_user = h->server,
    };
    struct MHD_Response *response = NULL;
    if (h->server->streams == REST_STREAMS_MAX || rest_stream_start(&config, &h->conn->stream, &response)) {
        (void)rest_fail_http(&h->x.problem, REST_PROBLEM_EBUSY, "%d follow events already", REST_STREAMS_MAX);
        return respond_problem(h);
    }
    h->server->streams++;
    h->conn->deadline_ms = NEVER;
    h->conn->beat_ms = now_ms() + REST_HEARTBEAT_MS;
    add_header(response, "Content-Type", "text/event-stream");
    return queue(h, 200, response);
}

/* A file that is built in: asked for again each time, and sent when it is another one. */
static enum MHD_Result answer_file(struct http *h)
{
    const struct rest_page_file *f = rest_page_find(h->target, strcspn(h->target, "?"));
    if (!f) {
        (void)rest_fail(&h->x.problem, PS_ENOTFOUND, "file", "there is no such file");
        return respond_problem(h);
    }
    if (f->packed && !rest_page_takes_gzip(header(h, "Accept-Encoding"))) {
        (void)rest_fail_http(&h->x.problem, REST_PROBLEM_ENOTACCEPTABLE,
                             "this file is here packed alone: Accept-Encoding must allow gzip");
        return respond_problem(h);
    }
    const bool known = rest_page_is_known(f->etag, header(h, "If-None-Match"));
    struct MHD_Response *r = MHD_create_response_from_buffer(
        known ? 0 : (size_t)(f->end - f->begin), (void *)(uintptr_t)f->begin, MHD_RESPMEM_PERSISTENT);
    if (!r)
        return MHD_NO;
    char type[64];
    (void)snprintf(type, sizeof type, "%s; charset=utf-8", f->type);
    add_header(r, "ETag", f->etag);
    add_header(r, "Vary", "Accept-Encoding");
    if (!known) {
        add_header(r, "Content-Type", type);
        add_header(r, "Content-Encoding", f->packed ? "gzip" : "");
    }
    add_header(r, "Content-Security-Policy", rest_page_policy);
    add_header(r, "X-Frame-Options", "DENY");
    add_header(r, "Referrer-Policy", "no-referrer");
    h->conn->deadline_ms = now_ms() + REST_ANSWER_MS;
    return queue(h, known ? 304 : 200, r);
}

static enum MHD_Result answer_here(struct http *h)
{
    struct rest_exchange *x = &h->x;
    const struct json_out *doc = &h->server->openapi;
    x->http = 200;
    if (x->request.route->op == REST_OPENAPI)
        text_printf(&x->body, "%.*s", (int)doc->length, doc->text);
    else
        text_put(&x->body, "ok\n");
    return respond(h);
}

/* Beside the body, for the data: to be read, the data itself and the same in base64; to be written, a copy in
 * whole sectors. */
static size_t data_memory(const struct rest_request *r)
{
    return r->route->op == REST_READ_VOLUME    ? (size_t)r->is.length * 3
           : r->route->op == REST_WRITE_VOLUME ? r->is.data.length + 1024
                                               : 0;
}

static enum MHD_Result act(struct http *h)
{
    struct rest_exchange *x = &h->x;
    h->conn->deadline_ms = NEVER;
    if (h->refused || rest_request_body(&x->request, h->body, h->length, &x->problem))
        return respond_problem(h);
    const struct rest_route *route = x->request.route;
    if (!h->server->client) {
        (void)rest_fail(&x->problem, PS_EUNAVAILABLE, NULL, "the node is stopping");
        return respond_problem(h);
    }
    if (x->request.key[0] && use_key(h))
        return respond_problem(h);
    if (route->op == REST_DOCS)
        return answer_file(h);
    if (route->op == REST_HEALTH || route->op == REST_OPENAPI)
        return answer_here(h);
    if (x->request.is.follow && !x->request.head)
        return start_stream(h);
    if (!reserve(h, data_memory(&x->request))) {
        (void)rest_fail_http(&x->problem, REST_PROBLEM_EBUSY, "too much data is on its way at once");
        return respond_problem(h);
    }
    x->client = h->server->client;
    x->narrow = &h->server->narrow;
    x->counts = h->server->counts;
    x->finished = finished;
    h->acting = true;
    MHD_suspend_connection(h->connection);
    rest_act(x);
    return MHD_YES;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data, size_t *size,
                                  void **context)
{
    struct http *h = *context;
    (void)user;
    (void)url;
    (void)version;
    (void)connection;
    if (!h || h->answered)
        return MHD_NO;
    if (!h->begun)
        return begin(h, method);
    if (*size)
        return take_body(h, data, size);
    return h->acting ? respond(h) : act(h);
}

/* ---- what libmicrohttpd tells */

static struct connection *connection_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* The request line is there. */
static void *on_target(void *user, const char *target, struct MHD_Connection *connection)
{
    struct connection *conn = connection_of(connection);
    struct http *h = conn ? calloc(1, sizeof *h) : NULL;
    if (!h)
        return NULL;
    h->server = user;
    h->connection = connection;
    h->conn = conn;
    h->target = strdup(target);
    if (!h->target) {
        free(h);
        return NULL;
    }
    return h;
}

static void on_completed(void *user, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct rest_server *s = user;
    struct http *h = *context;
    (void)connection;
    (void)code;
    if (!h)
        return;
    if (!h->answered)
        s->counts.requests[0]++;
    if (!h->conn->stream)
        h->conn->deadline_ms = now_ms() + REST_REQUEST_MS;
    s->memory -= h->reserved;
    rest_exchange_clear(&h->x);
    free(h->body);
    free(h->target);
    free(h);
    *context = NULL;
}

static void on_connection(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct rest_server *s = user;
    struct connection *conn = *context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (!conn)
            return;
        list_remove(&conn->link);
        s->counts.open_connections--;
        free(conn);
        *context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    conn = calloc(1, sizeof *conn);
    *context = conn;
    if (!conn)
        return; /* its requests are refused */
    *conn =
        (struct connection){.server = s, .fd = info->connect_fd, .deadline_ms = now_ms() + REST_REQUEST_MS};
    list_push_back(&s->connections, &conn->link);
    s->counts.open_connections++;
}

static size_t leave_escaped(void *user, struct MHD_Connection *connection, char *text)
{
    (void)user;
    (void)connection;
    return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void on_log(void *user, const char *format, va_list args)
{
    struct rest_server *s = user;
    char line[sizeof s->why];
    (void)vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\n")] = '\0';
    if (s->started)
        log_debug("rest", "libmicrohttpd", LOG_S("says", line));
    else
        memcpy(s->why, line, sizeof line);
}

/* ---- the thread */

/* Shuts down who is too late, has streams show whether somebody is there; returns when to look again. */
static uint64_t sweep(struct rest_server *s, uint64_t now)
{
    uint64_t next = NEVER;
    list_for_each(node, &s->connections)
    {
        struct connection *conn = container_of(node, struct connection, link);
        if (conn->deadline_ms <= now) {
            (void)shutdown(conn->fd, SHUT_RDWR);
            conn->deadline_ms = NEVER;
        }
        if (conn->stream && conn->beat_ms <= now) {
            conn->beat_ms = now + REST_HEARTBEAT_MS;
            rest_stream_beat(conn->stream);
        }
        next = conn->deadline_ms < next ? conn->deadline_ms : next;
        next = conn->stream && conn->beat_ms < next ? conn->beat_ms : next;
    }
    return next;
}

static int wait_ms(struct rest_server *s, uint64_t next)
{
    MHD_UNSIGNED_LONG_LONG wanted = 0;
    const uint64_t now = now_ms();
    uint64_t ms = next == NEVER ? NEVER : next > now ? next - now : 0;
    if (MHD_get_timeout(s->daemon, &wanted) == MHD_YES && wanted < ms)
        ms = wanted;
    return ms == NEVER ? -1 : ms > 60000 ? 60000 : (int)ms;
}

static void *thread_main(void *user)
{
    struct rest_server *s = user;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct pollfd fds[] = {{.fd = info->epoll_fd, .events = POLLIN}, {.fd = s->wake_fd, .events = POLLIN}};
    for (uint64_t next = NEVER; !atomic_load(&s->stop);) {
        uint64_t ignored;
        (void)poll(fds, 2, wait_ms(s, next));
        (void)!read(s->wake_fd, &ignored, sizeof ignored);
        atomic_store(&s->woken, false); /* before it looks: who comes later writes again */
        (void)MHD_run(s->daemon);
        next = sweep(s, now_ms());
    }
    return NULL;
}

/* ---- life */

static void free_server(struct rest_server *s)
{
    if (s->client)
        pstorage_client_destroy(s->client);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    if (s->wake_fd >= 0)
        (void)close(s->wake_fd);
    if (s->key)
        explicit_bzero(s->key, strlen(s->key));
    free(s->key);
    free(s->certificate);
    json_out_free(&s->openapi);
    free(s);
}

static int start_client(struct rest_server *s, const struct rest_server_config *config, struct ps_error *err)
{
    const struct pstorage_options options = {
        .endpoints = config->endpoint,
        .name = "rest",
        .max_in_flight = CALLS_MAX,
        .cluster_key = config->cluster_key,
        .cluster_key_file = config->cluster_key_file,
        .cluster_name = config->cluster_name,
        .from_primary = true,
    };
    struct pstorage_error why;
    const int rc = pstorage_client_create(&options, &s->client, &why);
    return rc ? ps_error_set(err, rc, "no client of the node itself: %s", why.detail) : 0;
}

static int read_tls(struct rest_server *s, const struct rest_server_config *config, struct ps_error *err)
{
    const bool certificate = config->tls_certificate_file[0] != '\0', key = config->tls_key_file[0] != '\0';
    if (!certificate && !key)
        return 0;
    if (certificate != key)
        return ps_error_set(err, PS_EINVAL, "TLS needs both a certificate and its key");
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        return ps_error_set(err, PS_EUNIMPLEMENTED, "libmicrohttpd was built without TLS here");
    const int rc = rest_read_pem(config->tls_certificate_file, false, &s->certificate, err);
    return rc ? rc : rest_read_pem(config->tls_key_file, true, &s->key, err);
}

static int start_daemon(struct rest_server *s, int fd, struct ps_error *err)
{
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, s->certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, s->key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t) "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
        {MHD_OPTION_END, 0, NULL},
    };
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    const unsigned flags =
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (s->certificate ? MHD_USE_TLS : 0u);
    s->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, s, MHD_OPTION_LISTEN_SOCKET,
        fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)REST_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REST_HEADERS_MAX,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, s, MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL,
        MHD_OPTION_ARRAY, s->certificate ? tls : none, MHD_OPTION_END);
    s->started = s->daemon != NULL;
    return s->daemon ? 0 : ps_error_set(err, PS_EINVAL, "the HTTP server does not start: %s", s->why);
}

static int start_thread(struct rest_server *s, struct ps_error *err)
{
    sigset_t all, before;
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0)
        return ps_error_set(err, PS_ELIMIT, "no file descriptor is left");
    /* Signals are the main thread's. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    const int rc = pthread_create(&s->thread, NULL, thread_main, s);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc ? ps_error_set(err, PS_ELIMIT, "no thread for HTTP: %s", strerror(rc)) : 0;
}

static int start(struct rest_server *s, const struct rest_server_config *config, struct ps_error *err)
{
    bool local = false;
    int fd = -1;
    int rc = read_tls(s, config, err);
    if (rc == 0)
        rc = rest_listen(config->listen, config->port, &fd, &local, err);
    if (rc == 0) {
        rc = start_daemon(s, fd, err);
        if (rc)
            (void)close(fd);
    }
    if (rc == 0)
        rc = start_client(s, config, err);
    if (rc == 0)
        rc = start_thread(s, err);
    if (rc == 0 && !local && !s->certificate)
        log_warn(
            "rest",
            "other machines can reach the REST API, and nothing is encrypted: tokens can be read on the way",
            LOG_S("listen", config->listen));
    return rc;
}

int rest_server_start(const struct rest_server_config *config, struct rest_server **out, struct ps_error *err)
{
    struct rest_server *s = calloc(1, sizeof *s);
    if (!s)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    s->wake_fd = -1;
    s->tokens = config->tokens;
    list_init(&s->connections);
    (void)snprintf(s->listen, sizeof s->listen, "%s", config->listen);
    rest_openapi(&s->openapi);
    int rc = s->openapi.failed ? ps_error_set(err, PS_ENOMEM, "out of memory") : 0;
    if (rc == 0 && getrandom(&s->id_prefix, sizeof s->id_prefix, 0) != sizeof s->id_prefix)
        rc = ps_error_set(err, PS_EIO, "the system gives no random numbers");
    if (rc == 0)
        rc = start(s, config, err);
    if (rc) {
        free_server(s);
        return rc;
    }
    *out = s;
    return 0;
}

void rest_server_stop(struct rest_server *s)
{
    atomic_store(&s->stop, true);
    wake(s);
    (void)pthread_join(s->thread, NULL);
    /* From here on libmicrohttpd runs on this thread, and starts nothing. */
    const MHD_socket listener = MHD_quiesce_daemon(s->daemon);
    if (listener != MHD_INVALID_SOCKET)
        (void)close(listener);
    list_for_each(node, &s->connections)
    {
        struct connection *conn = container_of(node, struct connection, link);
        if (conn->stream)
            rest_stream_finish(conn->stream);
    }
    pstorage_client_destroy(s->client);
    s->client = NULL;
    /* Answers that are ready still leave, as far as their connections take them at once. */
    for (int i = 0; i < 4; i++)
        (void)MHD_run(s->daemon);
    free_server(s);
}
