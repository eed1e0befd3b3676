/* How long requests of hosts took: the call, and its answer, of which nothing is believed before it fits. */
#include <stdlib.h>
#include <string.h>

#include "client/lib/answers.h"
#include "common/latency.h"
#include "pstorage/v1/status.pb-c.h"

_Static_assert((int)PSTORAGE_LATENCY_BUCKETS == (int)LATENCY_BUCKETS, "the library's users see the same");

static int send_latency(struct call *call)
{
    const struct pstorage_latency *l = (const void *)call->request;
    Pstorage__V1__GetLatencyRequest m = PSTORAGE__V1__GET_LATENCY_REQUEST__INIT;
    if (l->volume)
        m.volume = (char *)(uintptr_t)l->volume;
    m.of_primary = l->of_primary;
    m.page_size = CLIENT_PAGE;
    if (l->count)
        m.page_token = l->items[l->count - 1].name;
    return call_send(call, &pstorage__v1__status__descriptor, "GetLatency", &m.base);
}

static bool take_volume(const Pstorage__V1__VolumeLatency *m, struct pstorage_volume_latency *out)
{
    const size_t name = strlen(m->name), pod = strlen(m->pod);
    if (name == 0 || name >= sizeof out->name || pod >= sizeof out->pod)
        return false;
    *out = (struct pstorage_volume_latency){.id = m->id};
    memcpy(out->name, m->name, name);
    memcpy(out->pod, m->pod, pod);
    for (size_t i = 0; i < m->n_operations; i++) {
        const Pstorage__V1__OperationLatency *o = m->operations[i];
        if (o->operation < PSTORAGE__V1__OPERATION__OPERATION_READ ||
            o->operation > PSTORAGE__V1__OPERATION__OPERATION_TRIM || o->n_counts > PSTORAGE_LATENCY_BUCKETS)
            return false;
        struct pstorage_operation_latency *to =
            &out->operations[o->operation - PSTORAGE__V1__OPERATION__OPERATION_READ];
        to->sum_ns = o->sum_ns;
        memset(to->counts, 0, sizeof to->counts);
        if (o->n_counts)
            memcpy(to->counts, o->counts, o->n_counts * sizeof to->counts[0]);
    }
    return true;
}

static int take_latency(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__GetLatencyResponse *m = (const void *)reply->message;
    struct pstorage_latency *l = (void *)call->request;
    const bool more = m->next_page_token[0] != '\0';
    if (m->n_volumes > CLIENT_PAGE || (more && m->n_volumes == 0) ||
        l->count + m->n_volumes > CLIENT_LIST_MAX || (l->volume && (more || m->n_volumes > 1)))
        return nonsense(call, "too many volumes, or none");
    struct pstorage_volume_latency *items = realloc(l->items, (l->count + m->n_volumes + 1) * sizeof *items);
    if (!items)
        return no_memory(call);
    l->items = items;
    for (size_t i = 0; i < m->n_volumes; i++, l->count++)
        if (!take_volume(m->volumes[i], &items[l->count]) ||
            (l->count > 0 && strcmp(items[l->count - 1].name, items[l->count].name) >= 0))
            return nonsense(call, "a text or a histogram is too long, or the order is wrong");
    return more ? AGAIN : PS_OK;
}

const struct request_kind kind_latency = {send_latency, take_latency, NULL, true};

int pstorage_latency_submit(struct pstorage_client *client, struct pstorage_latency *l, pstorage_cb cb)
{
    l->items = NULL;
    l->count = 0;
    return client_submit(client, NULL, &l->request, &kind_latency, cb);
}

void pstorage_latency_clear(struct pstorage_latency *l)
{
    free(l->items);
    l->items = NULL;
    l->count = 0;
}
