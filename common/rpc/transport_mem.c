#include "common/rpc/transport_mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/prng.h"
#include "common/rpc/transport.h"

enum {
    NAME_MAX_BYTES = 64,
    CUTS_MAX = 64
};

struct event {
    struct list_node link; /* in net->events, by time, then in the order they were made */
    uint64_t at_ns;
    void (*run)(struct event *event);
};

struct rpc_mem_net {
    struct rpc_mem_config config;
    uint64_t now_ns;
    struct prng prng;
    struct list_node events, hosts, links, listeners, dials;
    struct {
        char host[NAME_MAX_BYTES], other[NAME_MAX_BYTES];
    } cuts[CUTS_MAX];
    size_t ncuts;
};

struct host {
    struct rpc_transport base;
    struct list_node link;
    struct rpc_mem_net *net;
    char name[NAME_MAX_BYTES];
    uint64_t next_ns; /* when its schedule wants to run */
};

/* Bytes on their way to a link, or there. */
struct piece {
    struct list_node link;
    uint64_t at_ns;
    size_t length, taken;
    uint8_t data[];
};

struct mem_link {
    struct rpc_link base;
    struct list_node link;
    struct host *host, *far;
    struct mem_link *peer; /* NULL: freed */
    struct list_node inbox;
    size_t inbox_bytes;
    uint64_t fin_ns; /* the peer closed, seen here then; RPC_NEVER */
    bool broken, closed;
    bool receiving, sending, received, sent; /* asked for; done, its event is under way */
    struct rpc_iov in[RPC_IOV_MAX], out[RPC_IOV_MAX];
    unsigned nin, nout;
    int in_status, out_status;
    size_t in_bytes, out_bytes;
    struct event in_event, out_event, closed_event, wake_event;
};

struct mem_listener {
    struct list_node link;
    struct host *host;
    struct rpc_listener *listener;
    struct event closed_event;
};

struct mem_dial {
    struct list_node link;
    struct host *host;
    struct rpc_dial *dial;
    char endpoint[128];
    bool cancelled;
    struct event event;
};

static void post(struct rpc_mem_net *net, struct event *event, uint64_t at_ns)
{
    list_remove(&event->link);
    event->at_ns = at_ns;
    struct list_node *before = net->events.prev;
    while (before != &net->events && container_of(before, struct event, link)->at_ns > at_ns)
        before = before->prev;
    list_push_front(before, &event->link);
}

static void init_event(struct event *event, void (*run)(struct event *event))
{
    list_init(&event->link);
    event->run = run;
}

static bool matches(const char *pattern, const char *name)
{
    return pattern[0] == '\0' || strcmp(pattern, name) == 0;
}

static bool is_cut(const struct rpc_mem_net *net, const struct host *a, const struct host *b)
{
    for (size_t i = 0; i < net->ncuts; i++) {
        const char *x = net->cuts[i].host, *y = net->cuts[i].other;
        if ((matches(x, a->name) && matches(y, b->name)) || (matches(x, b->name) && matches(y, a->name)))
            return true;
    }
    return false;
}

static size_t piece_limit(const struct rpc_mem_net *net)
{
    return net->config.piece_bytes ? net->config.piece_bytes : SIZE_MAX;
}

/* ---- links */

static void progress(struct mem_link *l);

static void end_receive(struct mem_link *l, int status, size_t bytes)
{
    l->received = true;
    l->in_status = status;
    l->in_bytes = bytes;
    post(l->host->net, &l->in_event, l->host->net->now_ns);
}

static void end_send(struct mem_link *l, int status, size_t bytes)
{
    l->sent = true;
    l->out_status = status;
    l->out_bytes = bytes;
    post(l->host->net, &l->out_event, l->host->net->now_ns);
}

static void try_receive(struct mem_link *l)
{
    struct rpc_mem_net *net = l->host->net;
    if (!l->receiving || l->received)
        return;
    size_t bytes = 0, left = piece_limit(net);
    uint64_t next_ns = l->fin_ns;
    unsigned i = 0;
    size_t at = 0; /* in in[i] */
    list_for_each_safe(node, next, &l->inbox)
    {
        struct piece *p = container_of(node, struct piece, link);
        if (p->at_ns > net->now_ns) {
            next_ns = p->at_ns;
            break;
        }
        while (p->taken < p->length && i < l->nin && left > 0) {
            size_t part = l->in[i].length - at;
            part = part < p->length - p->taken ? part : p->length - p->taken;
            part = part < left ? part : left;
            memcpy((uint8_t *)l->in[i].base + at, p->data + p->taken, part);
            p->taken += part;
            bytes += part;
            left -= part;
            at += part;
            if (at == l->in[i].length) {
                i++;
                at = 0;
            }
        }
        if (p->taken < p->length)
            break;
        list_remove(&p->link);
        free(p);
    }
    if (bytes > 0) {
        l->inbox_bytes -= bytes;
        end_receive(l, PS_OK, bytes);
        if (l->peer)
            progress(l->peer); /* there is room again */
    } else if (l->fin_ns <= net->now_ns && list_empty(&l->inbox)) {
        end_receive(l, PS_EUNAVAILABLE, 0);
    } else if (next_ns != RPC_NEVER) {
        post(net, &l->wake_event, next_ns);
    }
}

static void try_send(struct mem_link *l)
{
    struct rpc_mem_net *net = l->host->net;
    if (!l->sending || l->sent)
        return;
    struct mem_link *peer = l->peer;
    if (!peer || peer->closed) {
        end_send(l, PS_EUNAVAILABLE, 0);
        return;
    }
    const size_t room = net->config.capacity_bytes - peer->inbox_bytes;
    size_t size = 0;
    for (unsigned i = 0; i < l->nout; i++)
        size += l->out[i].length;
    size = size < room ? size : room;
    size = size < piece_limit(net) ? size : piece_limit(net);
    if (size == 0)
        return;
    struct piece *p = malloc(sizeof *p + size);
    assert(p);
    p->at_ns = net->now_ns + net->config.latency_ns;
    p->length = size;
    p->taken = 0;
    size_t done = 0;
    for (unsigned i = 0; done < size; i++) {
        const size_t part = l->out[i].length < size - done ? l->out[i].length : size - done;
        memcpy(p->data + done, l->out[i].base, part);
        done += part;
    }
    list_push_back(&peer->inbox, &p->link);
    peer->inbox_bytes += size;
    end_send(l, PS_OK, size);
    try_receive(peer);
}

static void progress(struct mem_link *l)
{
    if (l->closed)
        return;
    if (l->broken) {
        if (l->receiving && !l->received)
            end_receive(l, PS_EUNAVAILABLE, 0);
        if (l->sending && !l->sent)
            end_send(l, PS_EUNAVAILABLE, 0);
        return;
    }
    if (is_cut(l->host->net, l->host, l->far))
        return;
    try_send(l);
    try_receive(l);
}

static void run_wake(struct event *event)
{
    progress(container_of(event, struct mem_link, wake_event));
}

static void run_received(struct event *event)
{
    struct mem_link *l = container_of(event, struct mem_link, in_event);
    l->receiving = l->received = false;
    l->base.events->received(&l->base, l->in_status, l->in_bytes);
}

static void run_sent(struct event *event)
{
    struct mem_link *l = container_of(event, struct mem_link, out_event);
    l->sending = l->sent = false;
    l->base.events->sent(&l->base, l->out_status, l->out_bytes);
}

static void run_closed(struct event *event)
{
    struct mem_link *l = container_of(event, struct mem_link, closed_event);
    l->base.events->closed(&l->base);
    if (l->peer)
        l->peer->peer = NULL;
    for (struct list_node *node; (node = list_pop_front(&l->inbox));)
        free(container_of(node, struct piece, link));
    list_remove(&l->wake_event.link);
    list_remove(&l->link);
    free(l);
}

static void mem_recv(struct rpc_link *link, const struct rpc_iov *iov, unsigned count)
{
    struct mem_link *l = container_of(link, struct mem_link, base);
    assert(!l->receiving && !l->closed && count > 0 && count <= RPC_IOV_MAX);
    memcpy(l->in, iov, count * sizeof *iov);
    l->nin = count;
    l->receiving = true;
    progress(l);
}

static void mem_send(struct rpc_link *link, const struct rpc_iov *iov, unsigned count)
{
    struct mem_link *l = container_of(link, struct mem_link, base);
    assert(!l->sending && !l->closed && count > 0 && count <= RPC_IOV_MAX);
    memcpy(l->out, iov, count * sizeof *iov);
    l->nout = count;
    l->sending = true;
    progress(l);
}

static void mem_close(struct rpc_link *link)
{
    struct mem_link *l = container_of(link, struct mem_link, base);
    struct rpc_mem_net *net = l->host->net;
    assert(!l->closed);
    l->closed = true;
    list_remove(&l->in_event.link);
    list_remove(&l->out_event.link);
    post(net, &l->closed_event, net->now_ns);
    if (l->peer) {
        l->peer->fin_ns = net->now_ns + net->config.latency_ns;
        progress(l->peer);
    }
}

static struct mem_link *new_link(struct host *host, struct host *far)
{
    static const struct rpc_link_ops ops = {mem_recv, mem_send, mem_close};
    struct mem_link *l = calloc(1, sizeof *l);
    assert(l);
    l->base.ops = &ops;
    l->host = host;
    l->far = far;
    l->fin_ns = RPC_NEVER;
    (void)snprintf(l->base.address, sizeof l->base.address, "%s", far->name);
    l->base.local = host == far || !host->net->config.remote;
    list_init(&l->inbox);
    init_event(&l->in_event, run_received);
    init_event(&l->out_event, run_sent);
    init_event(&l->closed_event, run_closed);
    init_event(&l->wake_event, run_wake);
    list_push_back(&host->net->links, &l->link);
    return l;
}

/* ---- dialling, listening */

static struct mem_listener *find_listener(struct rpc_mem_net *net, const char *endpoint)
{
    list_for_each(node, &net->listeners)
    {
        struct mem_listener *l = container_of(node, struct mem_listener, link);
        if (strcmp(l->listener->address, endpoint) == 0)
            return l;
    }
    return NULL;
}

static void run_dial(struct event *event)
{
    struct mem_dial *d = container_of(event, struct mem_dial, event);
    struct rpc_mem_net *net = d->host->net;
    struct mem_listener *l = find_listener(net, d->endpoint);
    if (!d->cancelled && l && is_cut(net, d->host, l->host))
        return; /* waits for rpc_mem_cut or dial_cancel */
    struct rpc_dial *dial = d->dial;
    struct host *host = d->host;
    const bool cancelled = d->cancelled;
    list_remove(&d->link);
    free(d);
    if (cancelled) {
        dial->done(dial, PS_ECANCELLED, NULL, "no answer");
    } else if (!l) {
        dial->refused = true;
        dial->done(dial, PS_EUNAVAILABLE, NULL, "connection refused");
    } else {
        struct mem_link *near = new_link(host, l->host), *far = new_link(l->host, host);
        near->peer = far;
        far->peer = near;
        l->listener->accepted(l->listener, &far->base);
        dial->done(dial, PS_OK, &near->base, "");
    }
}

static int mem_dial(struct rpc_transport *transport, const char *endpoint, struct rpc_dial *dial,
                    struct ps_error *err)
{
    struct host *host = container_of(transport, struct host, base);
    if (endpoint[0] == '\0')
        return ps_error_set(err, PS_EINVAL, "an endpoint has a name");
    struct mem_dial *d = calloc(1, sizeof *d);
    if (!d)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    d->host = host;
    d->dial = dial;
    dial->priv = d;
    (void)snprintf(d->endpoint, sizeof d->endpoint, "%s", endpoint);
    init_event(&d->event, run_dial);
    list_push_back(&host->net->dials, &d->link);
    post(host->net, &d->event, host->net->now_ns + host->net->config.latency_ns);
    return PS_OK;
}

static void mem_dial_cancel(struct rpc_transport *transport, struct rpc_dial *dial)
{
    struct host *host = container_of(transport, struct host, base);
    struct mem_dial *d = dial->priv;
    d->cancelled = true;
    post(host->net, &d->event, host->net->now_ns);
}

static void run_unlistened(struct event *event)
{
    struct mem_listener *l = container_of(event, struct mem_listener, closed_event);
    struct rpc_listener *listener = l->listener;
    free(l);
    listener->closed(listener);
}

static int mem_listen(struct rpc_transport *transport, const char *endpoint, struct rpc_listener *listener,
                      struct ps_error *err)
{
    struct host *host = container_of(transport, struct host, base);
    if (endpoint[0] == '\0')
        return ps_error_set(err, PS_EINVAL, "an endpoint has a name");
    if (find_listener(host->net, endpoint))
        return ps_error_set(err, PS_EEXISTS, "%s is in use", endpoint);
    struct mem_listener *l = calloc(1, sizeof *l);
    if (!l)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    l->host = host;
    l->listener = listener;
    listener->priv = l;
    (void)snprintf(listener->address, sizeof listener->address, "%s", endpoint);
    init_event(&l->closed_event, run_unlistened);
    list_push_back(&host->net->listeners, &l->link);
    return PS_OK;
}

static void mem_unlisten(struct rpc_transport *transport, struct rpc_listener *listener)
{
    struct host *host = container_of(transport, struct host, base);
    struct mem_listener *l = listener->priv;
    list_remove(&l->link);
    post(host->net, &l->closed_event, host->net->now_ns);
}

/* ---- the net */

static uint64_t mem_now(struct rpc_transport *transport)
{
    return container_of(transport, struct host, base)->net->now_ns;
}

static bool mem_random(struct rpc_transport *transport, void *out, size_t length)
{
    struct prng *prng = &container_of(transport, struct host, base)->net->prng;
    for (size_t i = 0; i < length; i++)
        ((uint8_t *)out)[i] = (uint8_t)prng_next(prng);
    return true;
}

static void poke(struct rpc_schedule *schedule)
{
    struct rpc_transport *transport = container_of(schedule, struct rpc_transport, schedule);
    container_of(transport, struct host, base)->next_ns = 0;
}

struct rpc_mem_net *rpc_mem_net_create(const struct rpc_mem_config *config)
{
    struct rpc_mem_net *net = calloc(1, sizeof *net);
    assert(net);
    net->config = *config;
    prng_seed(&net->prng, 1);
    if (net->config.capacity_bytes == 0)
        net->config.capacity_bytes = 64 * 1024;
    list_init(&net->events);
    list_init(&net->hosts);
    list_init(&net->links);
    list_init(&net->listeners);
    list_init(&net->dials);
    return net;
}

void rpc_mem_net_destroy(struct rpc_mem_net *net)
{
    assert(list_empty(&net->hosts) && list_empty(&net->links) && list_empty(&net->listeners) &&
           list_empty(&net->dials) && list_empty(&net->events));
    free(net);
}

struct rpc_transport *rpc_mem_transport_create(struct rpc_mem_net *net, const char *name)
{
    static const struct rpc_transport_ops ops = {mem_now,    mem_dial,     mem_dial_cancel,
                                                 mem_listen, mem_unlisten, mem_random};
    struct host *host = calloc(1, sizeof *host);
    assert(host);
    host->base.ops = &ops;
    host->net = net;
    (void)snprintf(host->name, sizeof host->name, "%s", name);
    rpc_schedule_init(&host->base.schedule, poke);
    host->next_ns = RPC_NEVER;
    list_push_back(&net->hosts, &host->link);
    return &host->base;
}

void rpc_mem_transport_destroy(struct rpc_transport *transport)
{
    struct host *host = container_of(transport, struct host, base);
    assert(list_empty(&host->base.schedule.tasks));
    list_remove(&host->link);
    free(host);
}

uint64_t rpc_mem_now(const struct rpc_mem_net *net)
{
    return net->now_ns;
}

/* Runs the hosts that are due; returns when the next wants to. */
static uint64_t run_hosts(struct rpc_mem_net *net)
{
    uint64_t next = RPC_NEVER;
    list_for_each(node, &net->hosts)
    {
        struct host *host = container_of(node, struct host, link);
        if (host->next_ns <= net->now_ns) {
            host->next_ns = RPC_NEVER; /* a poke during the run must not be overwritten */
            const uint64_t wanted = rpc_schedule_run(&host->base.schedule, net->now_ns);
            host->next_ns = wanted < host->next_ns ? wanted : host->next_ns;
        }
        next = host->next_ns < next ? host->next_ns : next;
    }
    return next;
}

void rpc_mem_run(struct rpc_mem_net *net, uint64_t until_ns)
{
    for (;;) {
        uint64_t next = run_hosts(net);
        struct event *event =
            list_empty(&net->events) ? NULL : container_of(net->events.next, struct event, link);
        if (event && event->at_ns <= net->now_ns) {
            list_remove(&event->link);
            event->run(event);
            continue;
        }
        if (event && event->at_ns < next)
            next = event->at_ns;
        if (next > until_ns)
            break;
        if (next > net->now_ns)
            net->now_ns = next;
    }
    if (net->now_ns < until_ns)
        net->now_ns = until_ns;
}

static void resume_all(struct rpc_mem_net *net)
{
    list_for_each(node, &net->links) progress(container_of(node, struct mem_link, link));
    list_for_each(node, &net->dials)
    {
        struct mem_dial *d = container_of(node, struct mem_dial, link);
        if (list_empty(&d->event.link))
            post(net, &d->event, net->now_ns);
    }
}

void rpc_mem_cut(struct rpc_mem_net *net, const char *host, const char *other, bool cut)
{
    if (cut) {
        assert(net->ncuts < CUTS_MAX);
        (void)snprintf(net->cuts[net->ncuts].host, NAME_MAX_BYTES, "%s", host ? host : "");
        (void)snprintf(net->cuts[net->ncuts].other, NAME_MAX_BYTES, "%s", other ? other : "");
        net->ncuts++;
        return;
    }
    for (size_t i = 0; i < net->ncuts; i++)
        if (strcmp(net->cuts[i].host, host ? host : "") == 0 &&
            strcmp(net->cuts[i].other, other ? other : "") == 0) {
            net->cuts[i] = net->cuts[--net->ncuts];
            break;
        }
    resume_all(net);
}

void rpc_mem_break(struct rpc_mem_net *net, const char *host, const char *other)
{
    list_for_each(node, &net->links)
    {
        struct mem_link *l = container_of(node, struct mem_link, link);
        const bool hit = (strcmp(l->host->name, host) == 0 && strcmp(l->far->name, other) == 0) ||
                         (strcmp(l->host->name, other) == 0 && strcmp(l->far->name, host) == 0);
        if (hit && !l->closed) {
            l->broken = true;
            progress(l);
        }
    }
}
