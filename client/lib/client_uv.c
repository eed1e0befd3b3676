/* The client's thread: a libuv loop with the inbox, the queue, the deadlines of
 * what waits, and the connection to one endpoint at a time. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/client.h"
#include "common/cluster_key.h"

#define MS 1000000ull

static uint64_t client_now(void)
{
    return uv_hrtime();
}

void client_wake(struct pstorage_client *c)
{
    /* Fails only for a handle that is being closed, and then the thread is awake. */
    (void)uv_async_send(&c->wake);
}

bool client_on_its_thread(const struct pstorage_client *c)
{
    return pthread_equal(pthread_self(), c->thread) != 0;
}

/* ---- requests: from the inbox to the callback */

static void queue_put(struct pstorage_client *c, struct request_state *s)
{
    s->where = WHERE_QUEUED;
    list_push_back(&c->queue, &s->link);
    if (s->deadline_ns < c->queue_deadline_ns)
        c->queue_deadline_ns = s->deadline_ns;
}

void client_requeue(struct pstorage_client *c, struct list_node *requests)
{
    list_for_each(node, requests)
    {
        const struct request_state *s = container_of(node, struct request_state, link);
        if (s->deadline_ns < c->queue_deadline_ns)
            c->queue_deadline_ns = s->deadline_ns;
    }
    list_splice_back(requests, &c->queue);
    list_splice_back(&c->queue, requests);
}

static void call_release(struct request_state *s)
{
    struct call *call = s->call;
    if (!call)
        return;
    struct pstorage_client *c = s->client;
    s->call = NULL;
    if (!s->kind->on_message)
        c->in_flight--;
    call->next = c->pool;
    c->pool = call;
}

void client_finish(struct request_state *s, int status, const char *detail)
{
    struct pstorage_client *c = s->client;
    struct pstorage_request *r = request_of(s);
    list_remove(&s->link);
    call_release(s);
    free(s->scratch);
    s->scratch = NULL;
    s->where = WHERE_NOWHERE;
    if (status && detail)
        (void)snprintf(r->error.detail, sizeof r->error.detail, "%s",
                       *detail ? detail : pstorage_status_text(status));
    r->error.status = status;
    (void)pthread_mutex_lock(&c->lock);
    list_remove(&s->cancel_link);
    s->live = false;
    (void)pthread_mutex_unlock(&c->lock);
    s->cb(r, status);
}

/* The call ended because the connection did, or is about to: a node that
 * cancels what nobody asked it to cancel is shutting down. */
static bool connection_lost(struct pstorage_client *c, const struct request_state *s,
                            const struct rpc_reply *reply)
{
    if (reply->status == PS_ECANCELLED && !s->cancelled) {
        if (c->link == LINK_UP && !c->link_lost) {
            c->link_lost = true; /* nothing more is sent there */
            (void)ps_error_set(&c->link_error, PS_EUNAVAILABLE, "%s: the node shuts down",
                               endpoints_url(&c->endpoints));
            client_wake(c);
        }
        return true;
    }
    return reply->status == PS_EUNAVAILABLE &&
           (c->link != LINK_UP || c->link_lost || !rpc_client_peer(c->rpc));
}

bool client_go_elsewhere(struct pstorage_client *c, const struct rpc_reply *reply)
{
    if (c->link != LINK_UP || c->link_lost)
        return true; /* another request learnt it a moment ago */
    if (endpoints_elsewhere(&c->endpoints, client_now()))
        return false;
    c->link_lost = true; /* nothing more is sent there */
    (void)ps_error_set(&c->link_error, PS_ENOTPRIMARY, "%s", reply->detail);
    client_wake(c);
    return true;
}

static void dispatch(struct pstorage_client *c);

static void on_reply(struct rpc_request *rpc, const struct rpc_reply *reply)
{
    struct call *call = container_of(rpc, struct call, rpc);
    struct request_state *s = state_of(call->request);
    struct pstorage_client *c = call->client;
    int status = reply->status;
    const char *detail = reply->detail;

    if (s->ended) {
        client_finish(s, PS_OK, NULL);
    } else if (status && c->stopping) {
        client_finish(s, PS_ECANCELLED, "the client is being closed");
    } else if (status == PS_ENOTPRIMARY && client_go_elsewhere(c, reply)) {
        call_release(s);
        queue_put(c, s);
        client_wake(c);
        return;
    } else if (status == PS_ENOTPRIMARY && s->image && s->repeats == 0 && c->link == LINK_UP) {
        /* The only node there is. It may lead by now, or know who does, for an image that is opened now. */
        s->repeats++;
        image_renew(s->image, call->handle);
        call_release(s);
        queue_put(c, s);
    } else if (connection_lost(c, s, reply)) {
        call_release(s);
        if (s->kind->repeatable && s->repeats < CLIENT_REPEATS_MAX) {
            s->repeats++;
            queue_put(c, s);
            client_wake(c);
            return;
        }
        client_finish(
            s, PS_EUNAVAILABLE,
            s->kind->repeatable
                ? "the connection was lost again and again"
                : "the connection was lost before the answer; whether the request took effect is unknown");
    } else if (status == PS_EUNAVAILABLE && s->kind->repeatable && s->repeats < CLIENT_REPEATS_MAX &&
               c->endpoints.count > 1 && client_go_elsewhere(c, reply)) {
        /* The pod is in other hands by now, or on its way there: ask whoever has it. */
        s->repeats++;
        call_release(s);
        queue_put(c, s);
        client_wake(c);
        return;
    } else {
        if (status == PS_OK) {
            endpoints_primary(&c->endpoints);
            status = s->kind->take(call, reply);
            detail = NULL; /* take wrote it */
        }
        if (status == AGAIN) {
            call_release(s);
            queue_put(c, s);
        } else {
            client_finish(s, status, detail);
        }
    }
    dispatch(c);
}

static struct call *call_take(struct pstorage_client *c)
{
    struct call *call = c->pool;
    if (call) {
        c->pool = call->next;
        memset(call, 0, sizeof *call);
        return call;
    }
    return calloc(1, sizeof *call); /* the pool grows to max_in_flight and no further */
}

/* The request is in no list. */
void client_send(struct request_state *s)
{
    struct pstorage_client *c = s->client;
    const uint64_t now = client_now();
    if (s->deadline_ns <= now) {
        client_finish(s, PS_EDEADLINE, "the time was over before the request could be sent");
        return;
    }
    struct call *call = call_take(c);
    if (!call) {
        client_finish(s, PS_ENOMEM, "");
        return;
    }
    call->client = c;
    call->request = request_of(s);
    call->rpc.timeout_ns = s->deadline_ns == UINT64_MAX ? RPC_TIMEOUT_NONE : s->deadline_ns - now;
    call->rpc.on_message = s->kind->on_message;
    call->handle = s->image ? s->image->handle : 0;
    s->call = call;
    if (!s->kind->on_message)
        c->in_flight++;
    const int rc = s->kind->send(call);
    if (rc)
        client_finish(s, rc, "");
    else
        s->where = WHERE_SENT;
}

int call_send(struct call *call, const ProtobufCServiceDescriptor *service, const char *method,
              const ProtobufCMessage *message)
{
    call->rpc.service = service;
    call->rpc.method = method;
    static const struct rpc_metadata ask_primary = {"ask-primary", "1", 1};
    call->rpc.message = message;
    call->rpc.metadata = &ask_primary;
    call->rpc.nmetadata = call->client->from_primary;
    return rpc_client_call(call->client->rpc, &call->rpc, on_reply);
}

static void dispatch(struct pstorage_client *c)
{
    while (c->link == LINK_UP && !c->link_lost && !c->stopping && c->in_flight < c->max_in_flight) {
        struct list_node *node = list_pop_front(&c->queue);
        if (!node)
            return;
        struct request_state *s = container_of(node, struct request_state, link);
        if (s->image)
            image_send(s->image, s);
        else
            client_send(s);
    }
}

static void fail_all(struct list_node *list, int status, const char *detail)
{
    /* Only those that are here now: a callback may submit anew. */
    struct list_node failing;
    list_init(&failing);
    list_splice_back(&failing, list);
    for (struct list_node *node; (node = list_pop_front(&failing));)
        client_finish(container_of(node, struct request_state, link), status, detail);
}

static uint64_t expire(struct pstorage_client *c, struct list_node *list, uint64_t now)
{
    struct list_node late;
    uint64_t next = UINT64_MAX;
    list_init(&late);
    list_for_each_safe(node, tmp, list)
    {
        struct request_state *s = container_of(node, struct request_state, link);
        if (s->deadline_ns > now) {
            next = s->deadline_ns < next ? s->deadline_ns : next;
            continue;
        }
        list_remove(node);
        list_push_back(&late, node);
    }
    char detail[200 + ENDPOINT_URL_MAX];
    if (c->link == LINK_UP)
        (void)snprintf(detail, sizeof detail, "%s is too busy to take the request in time",
                       endpoints_url(&c->endpoints));
    else
        (void)snprintf(detail, sizeof detail, "no connection to %s in time", endpoints_url(&c->endpoints));
    fail_all(&late, PS_EDEADLINE, detail);
    return next;
}

static void expire_queued(struct pstorage_client *c)
{
    const uint64_t now = client_now();
    if (now < c->queue_deadline_ns)
        return;
    c->queue_deadline_ns = UINT64_MAX; /* callbacks may lower it again */
    uint64_t next = expire(c, &c->queue, now);
    /* A callback cannot remove an image from the list: closing goes through the inbox. */
    list_for_each(node, &c->images)
    {
        const uint64_t t = expire(c, &container_of(node, struct pstorage_image, link)->waiting, now);
        next = t < next ? t : next;
    }
    if (next < c->queue_deadline_ns)
        c->queue_deadline_ns = next;
}

/* ---- the connection */

static void on_link_closed(void *user)
{
    struct pstorage_client *c = user;
    c->link_closing = false;
    c->rpc = NULL;
    client_wake(c);
}

static void on_state(void *user, int status, const char *detail)
{
    struct pstorage_client *c = user;
    if (c->link_closing)
        return;
    if (status == PS_OK) {
        c->link = LINK_UP;
        c->connection++;
        endpoints_up(&c->endpoints);
        c->refusal.status = PS_OK;
    } else {
        /* Not handled here: the RPC client is in the middle of its own work. */
        c->link_lost = true;
        (void)ps_error_set(&c->link_error, status, "%s", detail ? detail : "");
    }
    client_wake(c);
}

/* It is there, and this client is not what it wants: asking again would change nothing. */
static bool is_refusal(int status)
{
    return status == PS_EUNAUTHENTICATED || status == PS_EPERM || status == PS_EVERSION ||
           status == PS_EEXISTS;
}

static void fail_waiting(struct pstorage_client *c)
{
    char detail[sizeof c->link_error.detail + 64];
    /* The RPC client's reason begins with the endpoint. */
    if (c->refusal.status) {
        const struct ps_error refusal = c->refusal;
        c->refusal.status = PS_OK;
        if (c->endpoints.count > 1)
            (void)snprintf(detail, sizeof detail, "no node at any of %zu endpoints; %s", c->endpoints.count,
                           refusal.detail);
        fail_all(&c->queue, refusal.status, c->endpoints.count > 1 ? detail : refusal.detail);
        return;
    }
    if (c->endpoints.count > 1)
        (void)snprintf(detail, sizeof detail, "no node at any of %zu endpoints; the last one: %s",
                       c->endpoints.count, c->link_error.detail);
    else
        (void)snprintf(detail, sizeof detail, "no node at %s", c->link_error.detail);
    fail_all(&c->queue, PS_EUNAVAILABLE, detail);
}

static void link_down(struct pstorage_client *c)
{
    c->link_lost = false;
    c->link = LINK_DOWN;
    list_for_each(node, &c->images) image_connection_lost(container_of(node, struct pstorage_image, link));
    if (c->rpc) {
        c->link_closing = true;
        rpc_client_close(c->rpc, on_link_closed, c);
    }
    const bool refused = is_refusal(c->link_error.status);
    if (refused)
        c->refusal = c->link_error;
    if (endpoints_failed(&c->endpoints, client_now(), refused))
        fail_waiting(c);
}

static void link_start(struct pstorage_client *c)
{
    const struct rpc_client_config config = {
        .endpoint = endpoints_url(&c->endpoints),
        .identity = {.name = c->name,
                     .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_CLIENT,
                     .cluster_id = c->cluster},
        .keys = &c->keys,
        .on_state = on_state,
        .user = c,
    };
    c->link = LINK_CONNECTING;
    const int rc = rpc_client_connect(c->transport, &config, &c->rpc, &c->link_error);
    if (rc) {
        c->link_lost = true;
        client_wake(c);
    }
}

/* ---- the loop */

static void take_inbox(struct pstorage_client *c)
{
    struct list_node arrived;
    list_init(&arrived);
    (void)pthread_mutex_lock(&c->lock);
    list_splice_back(&arrived, &c->inbox);
    (void)pthread_mutex_unlock(&c->lock);
    for (struct list_node *node; (node = list_pop_front(&arrived));)
        queue_put(c, container_of(node, struct request_state, link));
}

static struct list_node *pop_locked(struct pstorage_client *c, struct list_node *list)
{
    (void)pthread_mutex_lock(&c->lock);
    struct list_node *node = list_pop_front(list);
    (void)pthread_mutex_unlock(&c->lock);
    return node;
}

static void take_cancels(struct pstorage_client *c)
{
    for (struct list_node *node; (node = pop_locked(c, &c->cancels));) {
        struct request_state *s = container_of(node, struct request_state, cancel_link);
        s->cancelled = true;
        if (s->where == WHERE_INBOX)
            take_inbox(c); /* it came in after we looked */
        if (s->where == WHERE_SENT)
            rpc_client_cancel(c->rpc, &s->call->rpc);
        else
            client_finish(s, PS_ECANCELLED, "cancelled by the caller");
    }
}

static void take_closes(struct pstorage_client *c)
{
    for (struct list_node *node; (node = pop_locked(c, &c->closes));)
        image_close(container_of(node, struct pstorage_image, close_link));
}

static void turn(struct pstorage_client *c);

static void on_timer(uv_timer_t *timer)
{
    turn(timer->data);
}

static void on_wake(uv_async_t *wake)
{
    turn(wake->data);
}

static void arm_timer(struct pstorage_client *c)
{
    uint64_t at = c->queue_deadline_ns;
    if (list_empty(&c->queue)) {
        bool waiting = false;
        list_for_each(node, &c->images) waiting |=
            !list_empty(&container_of(node, struct pstorage_image, link)->waiting);
        if (!waiting)
            at = c->queue_deadline_ns = UINT64_MAX;
    } else if (c->link == LINK_DOWN && !c->link_closing && c->endpoints.not_before_ns < at) {
        at = c->endpoints.not_before_ns;
    }
    if (at == UINT64_MAX) {
        (void)uv_timer_stop(&c->timer);
        return;
    }
    const uint64_t now = client_now();
    (void)uv_timer_start(&c->timer, on_timer, at > now ? (at - now + MS - 1) / MS : 0, 0);
}

static void close_handles(void *user)
{
    struct pstorage_client *c = user;
    uv_close((uv_handle_t *)&c->timer, NULL);
    uv_close((uv_handle_t *)&c->wake, NULL);
}

/* Ends what waits, then, step by step, the connection with what was sent, the
 * images, the transport. Called again when a step is done. */
static void stop_turn(struct pstorage_client *c)
{
    if (!c->stopping) {
        c->stopping = true;
        fail_all(&c->queue, PS_ECANCELLED, "the client is being closed");
        list_for_each(node, &c->images) fail_all(&container_of(node, struct pstorage_image, link)->waiting,
                                                 PS_ECANCELLED, "the client is being closed");
        if (c->rpc && !c->link_closing) {
            c->link = LINK_DOWN;
            c->link_closing = true;
            rpc_client_close(c->rpc, on_link_closed, c);
        }
    }
    if (c->rpc || !c->transport)
        return;
    list_for_each_safe(node, tmp, &c->images) image_free(container_of(node, struct pstorage_image, link));
    struct rpc_transport *transport = c->transport;
    c->transport = NULL;
    rpc_transport_nng_close(transport, close_handles, c);
}

static void turn(struct pstorage_client *c)
{
    take_inbox(c);
    take_cancels(c);
    take_closes(c);
    (void)pthread_mutex_lock(&c->lock);
    const bool stop = c->stop;
    (void)pthread_mutex_unlock(&c->lock);
    if (stop) {
        stop_turn(c);
        return;
    }
    if (c->link_lost)
        link_down(c);
    expire_queued(c);
    if (c->link == LINK_DOWN && !c->link_closing && !list_empty(&c->queue)) {
        const uint64_t now = client_now();
        if (endpoints_wanted(&c->endpoints, now) <= now)
            link_start(c);
    }
    dispatch(c);
    arm_timer(c);
}

static void *thread_main(void *user)
{
    struct pstorage_client *c = user;
    /* Signals are the program's; also NNG's threads inherit this. */
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL);

    int rc = uv_loop_init(&c->loop);
    c->start_status = rc ? PS_ENOMEM : PS_OK;
    if (rc == 0) {
        c->wake.data = c->timer.data = c;
        rc = uv_async_init(&c->loop, &c->wake, on_wake);
        if (rc == 0) {
            (void)uv_timer_init(&c->loop, &c->timer);
            c->start_status = rpc_transport_nng_create(&c->loop, &c->transport);
            if (c->start_status)
                close_handles(c);
        } else {
            c->start_status = PS_EIO; /* no file descriptor left */
        }
    }
    uv_sem_post(&c->started);
    if (rc == 0) {
        (void)uv_run(&c->loop, UV_RUN_DEFAULT);
        rc = uv_loop_close(&c->loop);
        assert(rc == 0);
    }
    return NULL;
}

/* ---- what other threads call */

static void client_free(struct pstorage_client *c)
{
    for (struct call *call; (call = c->pool);) {
        c->pool = call->next;
        free(call);
    }
    (void)pthread_mutex_destroy(&c->lock);
    uv_sem_destroy(&c->started);
    rpc_keys_clear(&c->keys);
    free(c);
}

/* What the program says goes before what the environment says. */
static int take_key(struct pstorage_client *c, const struct pstorage_options *o, struct ps_error *err)
{
    const bool given = o->cluster_key || o->cluster_key_file;
    const char *key = given ? o->cluster_key : getenv("PSTORAGE_CLUSTER_KEY");
    const char *file = given ? o->cluster_key_file : getenv("PSTORAGE_CLUSTER_KEY_FILE");
    const char *cluster = o->cluster_name ? o->cluster_name : getenv("PSTORAGE_CLUSTER_NAME");
    if (cluster && strlen(cluster) > RPC_NAME_MAX)
        return ps_error_set(err, PS_EINVAL, "the cluster's name is longer than %d bytes", RPC_NAME_MAX);
    (void)snprintf(c->cluster, sizeof c->cluster, "%s", cluster ? cluster : "");
    return cluster_key_load(key, file, c->cluster, &c->keys, err);
}

int pstorage_client_create(const struct pstorage_options *options, struct pstorage_client **out,
                           struct pstorage_error *err)
{
    static const struct pstorage_options defaults;
    const struct pstorage_options *o = options ? options : &defaults;
    struct ps_error *detail = (struct ps_error *)(void *)err;
    const char *endpoints = o->endpoints ? o->endpoints : getenv("PSTORAGE_ENDPOINT");
    struct pstorage_client *c = calloc(1, sizeof *c);
    if (!c)
        return ps_error_set(detail, PS_ENOMEM, "out of memory");
    int rc = endpoints_parse(&c->endpoints, endpoints && *endpoints ? endpoints : PSTORAGE_DEFAULT_ENDPOINT,
                             o->patience_ms * MS, detail);
    if (rc == 0)
        rc = take_key(c, o, detail);
    if (rc) {
        free(c);
        return rc;
    }
    c->timeout_ms = o->timeout_ms ? o->timeout_ms : 30000;
    c->from_primary = o->from_primary;
    c->max_in_flight = o->max_in_flight ? o->max_in_flight : CLIENT_IN_FLIGHT_DEFAULT;
    (void)snprintf(c->name, sizeof c->name, "%s", o->name ? o->name : program_invocation_short_name);
    c->queue_deadline_ns = UINT64_MAX;
    struct list_node *lists[] = {&c->inbox, &c->cancels, &c->closes, &c->queue, &c->images};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        list_init(lists[i]);
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)uv_sem_init(&c->started, 0);
    if (pthread_create(&c->thread, NULL, thread_main, c) != 0) {
        client_free(c);
        return ps_error_set(detail, PS_ELIMIT, "cannot start a thread: %s", strerror(errno));
    }
    uv_sem_wait(&c->started);
    if (c->start_status) {
        rc = c->start_status;
        (void)pthread_join(c->thread, NULL);
        client_free(c);
        return ps_error_set(detail, rc, "cannot start the event loop: %s", ps_status_text(rc));
    }
    *out = c;
    return PS_OK;
}

void pstorage_client_destroy(struct pstorage_client *c)
{
    assert(!client_on_its_thread(c) && "pstorage_client_destroy is not for callbacks");
    (void)pthread_mutex_lock(&c->lock);
    c->stop = true;
    (void)pthread_mutex_unlock(&c->lock);
    client_wake(c);
    (void)pthread_join(c->thread, NULL);
    client_free(c);
}

int client_submit(struct pstorage_client *c, struct pstorage_image *image, struct pstorage_request *r,
                  const struct request_kind *kind, pstorage_cb cb)
{
    struct request_state *s = state_of(r);
    memset(r->priv, 0, sizeof r->priv);
    r->error.status = PS_OK;
    r->error.detail[0] = '\0';
    list_init(&s->link);
    list_init(&s->cancel_link);
    s->client = c;
    s->image = image;
    s->kind = kind;
    s->cb = cb;
    s->where = WHERE_INBOX;
    const uint64_t timeout_ms = r->timeout_ms ? r->timeout_ms : kind->on_message ? 0 : c->timeout_ms;
    s->deadline_ns = timeout_ms ? client_now() + timeout_ms * MS : UINT64_MAX;

    (void)pthread_mutex_lock(&c->lock);
    const bool stop = c->stop, first = list_empty(&c->inbox);
    if (!stop) {
        s->live = true;
        list_push_back(&c->inbox, &s->link);
    }
    (void)pthread_mutex_unlock(&c->lock);
    if (stop)
        return ps_error_set((struct ps_error *)(void *)&r->error, PS_ECANCELLED,
                            "the client is being closed");
    if (first)
        client_wake(c);
    return PS_OK;
}

void pstorage_cancel(struct pstorage_client *c, struct pstorage_request *r)
{
    struct request_state *s = state_of(r);
    (void)pthread_mutex_lock(&c->lock);
    const bool cancel = s->live && list_empty(&s->cancel_link);
    if (cancel)
        list_push_back(&c->cancels, &s->cancel_link);
    (void)pthread_mutex_unlock(&c->lock);
    if (cancel)
        client_wake(c);
}

void pstorage_image_close(struct pstorage_image *image)
{
    struct pstorage_client *c = image->client;
    (void)pthread_mutex_lock(&c->lock);
    list_push_back(&c->closes, &image->close_link);
    (void)pthread_mutex_unlock(&c->lock);
    client_wake(c);
}
