#include "node/replication/heartbeat.h"

#include <assert.h>
#include <string.h>

#include "node/replication/mutation.h"

void heartbeat_init(struct heartbeat *h, const struct replica_options *options)
{
    *h = (struct heartbeat){.options = *options};
}

/* ---- the replica's side */

static struct replica_heard_peer *find(struct replica_heard *heard, const struct uuid *store)
{
    for (uint32_t i = 0; i < heard->count; i++)
        if (uuid_equal(&heard->peers[i].store, store))
            return &heard->peers[i];
    return NULL;
}

/* Peers come and go with the configuration; what was heard of those that stay is kept. */
static void keep_peers(struct heartbeat *h, const struct replica_view *view)
{
    struct replica_heard old = h->heard;
    assert(view->peer_count <= REPLICA_PEERS_MAX);
    h->heard.count = view->peer_count;
    for (uint32_t i = 0; i < view->peer_count; i++) {
        const struct replica_heard_peer *known = find(&old, &view->peers[i]);
        h->heard.peers[i] = known ? *known : (struct replica_heard_peer){.store = view->peers[i]};
    }
}

void heartbeat_exchange(struct heartbeat *h, uint64_t now_ns, const struct replica_view *view,
                        struct replica_heard *heard)
{
    h->view = *view;
    h->published = true;
    h->alive_ns = now_ns;
    keep_peers(h, view);
    *heard = h->heard;
    h->heard.promise = (struct replica_promise){0};
}

/* ---- the heartbeats' side */

static bool is_past(uint64_t now_ns, uint64_t since_ns, uint64_t limit_ns)
{
    return now_ns > since_ns && now_ns - since_ns >= limit_ns;
}

/* Nobody may rely on a node that can't do anything, though a thread of it is well. */
static bool may_speak(const struct heartbeat *h, uint64_t now_ns)
{
    const struct replica_view *v = &h->view;
    return h->published && !v->mute && !is_past(now_ns, h->alive_ns, h->options.stuck_ns) &&
           !(v->flush_ns && is_past(now_ns, v->flush_ns, h->options.stuck_ns));
}

static struct heartbeat_msg describe(const struct heartbeat *h)
{
    const struct replica_view *v = &h->view;
    return (struct heartbeat_msg){
        .pod = v->pod, .store = v->store, .run = v->run, .epoch = v->epoch, .ready = v->ready};
}

bool heartbeat_next(const struct heartbeat *h, uint64_t now_ns, struct heartbeat_msg *out)
{
    if (!may_speak(h, now_ns))
        return false;
    *out = describe(h);
    out->stamp = out->ready ? now_ns : 0;
    return true;
}

/* NULL: of a peer that is none, or said before it started anew. */
static struct replica_heard_peer *hear(struct heartbeat *h, uint64_t now_ns, const struct heartbeat_msg *in)
{
    struct replica_heard_peer *p = find(&h->heard, &in->store);
    if (!p || !uuid_equal(&in->pod, &h->view.pod) || in->run < p->run)
        return NULL;
    if (in->run > p->run)
        *p = (struct replica_heard_peer){.store = in->store, .run = in->run};
    p->heard_ns = now_ns;
    if (in->ready)
        p->ready_ns = now_ns;
    return p;
}

bool heartbeat_asked(struct heartbeat *h, uint64_t now_ns, const struct heartbeat_msg *in,
                     struct heartbeat_msg *answer)
{
    const struct replica_view *v = &h->view;
    if (!may_speak(h, now_ns))
        return false;
    *answer = describe(h);
    /* A lease is granted to the primary of our own durable configuration alone. */
    if (hear(h, now_ns, in) && in->ready && in->stamp && in->epoch == v->epoch &&
        uuid_equal(&in->store, &v->grants_to)) {
        const uint64_t margin = BROKEN(REPLICA_NO_MARGIN) ? 0 : h->options.margin_ns;
        h->heard.promise = (struct replica_promise){.store = in->store,
                                                    .epoch = in->epoch,
                                                    .run = in->run,
                                                    .until_ns = now_ns + h->options.lease_ns + margin};
        answer->stamp = in->stamp;
    }
    return true;
}

void heartbeat_answered(struct heartbeat *h, uint64_t now_ns, const struct heartbeat_msg *in)
{
    struct replica_heard_peer *p = h->published ? hear(h, now_ns, in) : NULL;
    if (p && in->stamp > p->stamp && in->stamp <= now_ns) {
        p->stamp = in->stamp;
        p->stamp_epoch = in->epoch;
    }
}
