/* Health of all drives of the cluster: what this node says, and what the others say when they are asked. A
 * node that doesn't answer is named, so that nobody takes its drives for well. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/configuration.h"
#include "common/container.h"
#include "node/host/services_impl.h"
#include "pstorage/v1/analytics.pb-c.h"

enum {
    OTHERS_MAX = CONFIGURATION_MEMBERS_MAX - 1,
    DRIVES_MAX = (OTHERS_MAX + 1) * ANALYTICS_DEVICES_MAX,
};
#define ANSWER_NS (2ull * 1000 * 1000 * 1000) /* then a node is told as unreachable */

struct other {
    struct rpc_request rpc;
    struct gathering *gathering;
    struct rpc_client *client; /* NULL: it is not asked, or has answered */
    char name[RPC_NAME_MAX + 1];
    Pstorage__V1__HealthResponse *said; /* NULL: nothing */
};

struct gathering {
    struct services *services;
    struct rpc_call *call;
    Pstorage__V1__HealthResponse *own;
    struct other others[OTHERS_MAX];
    unsigned count, waiting;
};

/* Messages live as long as the call or the callback they came with: what is kept is a copy. */
static Pstorage__V1__HealthResponse *copy_of(const Pstorage__V1__HealthResponse *m)
{
    const size_t bytes = pstorage__v1__health_response__get_packed_size(m);
    uint8_t *packed = malloc(bytes + 1);
    Pstorage__V1__HealthResponse *copy = NULL;
    if (packed) {
        (void)pstorage__v1__health_response__pack(m, packed);
        copy = pstorage__v1__health_response__unpack(NULL, bytes, packed);
    }
    free(packed);
    return copy;
}

static void free_copy(Pstorage__V1__HealthResponse *m)
{
    if (m)
        pstorage__v1__health_response__free_unpacked(m, NULL);
}

struct rows {
    Pstorage__V1__DriveHealth rows[DRIVES_MAX], *pointers[DRIVES_MAX];
    char *unreachable[OTHERS_MAX];
    size_t count, nunreachable;
};

static void add_drives(struct rows *r, const Pstorage__V1__HealthResponse *m, const char *node)
{
    for (size_t i = 0; i < m->n_drives && i < ANALYTICS_DEVICES_MAX; i++) {
        r->rows[r->count] = *m->drives[i];
        r->rows[r->count].node = (char *)(uintptr_t)node;
        r->pointers[r->count] = &r->rows[r->count];
        r->count++;
    }
}

static void end(struct gathering *g)
{
    struct rows *r = calloc(1, sizeof *r);
    Pstorage__V1__HealthResponse m = PSTORAGE__V1__HEALTH_RESPONSE__INIT;
    if (r) {
        add_drives(r, g->own, g->services->config.node_name);
        for (unsigned i = 0; i < g->count; i++)
            if (g->others[i].said)
                add_drives(r, g->others[i].said, g->others[i].name);
            else
                r->unreachable[r->nunreachable++] = g->others[i].name;
        m.drives = r->pointers;
        m.n_drives = r->count;
        m.unreachable = r->unreachable;
        m.n_unreachable = r->nunreachable;
        rpc_call_reply(g->call, &m.base);
    } else {
        rpc_call_fail(g->call, PS_ENOMEM, NULL);
    }
    for (unsigned i = 0; i < g->count; i++)
        free_copy(g->others[i].said);
    free_copy(g->own);
    g->services->queries--;
    free(r);
    free(g);
}

static void on_answer(struct rpc_request *request, const struct rpc_reply *reply)
{
    struct other *o = container_of(request, struct other, rpc);
    struct gathering *g = o->gathering;
    o->client = NULL;
    if (reply->status == 0)
        o->said = copy_of((const void *)reply->message);
    if (--g->waiting == 0)
        end(g);
}

static void cancelled(struct rpc_call *call)
{
    struct gathering *g = rpc_call_user(call);
    for (unsigned i = 0; i < g->count; i++)
        if (g->others[i].client)
            rpc_client_cancel(g->others[i].client, &g->others[i].rpc);
}

static void ask(struct gathering *g, struct other *o, struct rpc_client *client)
{
    const Pstorage__V1__HealthRequest m = PSTORAGE__V1__HEALTH_REQUEST__INIT;
    o->gathering = g;
    o->rpc = (struct rpc_request){.service = &pstorage__v1__analytics__descriptor,
                                  .method = "Health",
                                  .message = &m.base,
                                  .timeout_ns = ANSWER_NS};
    if (!client || rpc_client_call(client, &o->rpc, on_answer))
        return;
    o->client = client;
    g->waiting++;
}

void health_of_all(struct services *s, struct rpc_call *call, const Pstorage__V1__HealthResponse *own)
{
    struct gathering *g = calloc(1, sizeof *g);
    Pstorage__V1__HealthResponse *copy = g ? copy_of(own) : NULL;
    const char *name;
    struct rpc_client *client;
    if (!copy) {
        free(g);
        rpc_call_fail(call, PS_ENOMEM, NULL);
        return;
    }
    g->services = s;
    g->call = call;
    g->own = copy;
    s->queries++;
    for (; g->count < OTHERS_MAX && s->config.other &&
           s->config.other(s->config.user, g->count, &name, &client);
         g->count++) {
        struct other *o = &g->others[g->count];
        (void)snprintf(o->name, sizeof o->name, "%s", name);
        ask(g, o, client);
    }
    if (g->waiting == 0) {
        end(g);
        return;
    }
    rpc_call_set_user(call, g);
    rpc_call_watch(call, cancelled, NULL);
}
