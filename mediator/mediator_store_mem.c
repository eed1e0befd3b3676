#include "mediator/mediator_store_mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/container.h"

struct kept {
    struct list_node link;
    struct mediator_pod pod;
    struct mediator_decision *decisions; /* a ring: number n lies at n % MEDIATOR_HISTORY_MAX */
};

struct mem {
    struct mediator_store store;
    struct list_node pods;
    unsigned applies, fail_in;
    int fail_status;
    bool fail_applied;
};

static struct mem *mem_of(struct mediator_store *store)
{
    return container_of(store, struct mem, store);
}

static struct kept *find(struct mem *m, const struct uuid *pod)
{
    for (struct list_node *n = m->pods.next; n != &m->pods; n = n->next) {
        struct kept *k = container_of(n, struct kept, link);
        if (uuid_equal(&k->pod.configuration.pod, pod))
            return k;
    }
    return NULL;
}

static int load(struct mediator_store *store, int (*pod)(void *user, const struct mediator_pod *pod),
                void *user, struct ps_error *err)
{
    struct mem *m = mem_of(store);
    (void)err;
    for (struct list_node *n = m->pods.next; n != &m->pods; n = n->next) {
        const int rc = pod(user, &container_of(n, struct kept, link)->pod);
        if (rc)
            return rc;
    }
    return 0;
}

static void forget(struct kept *k)
{
    list_remove(&k->link);
    free(k->decisions);
    free(k);
}

/* Room for a pod; the first write after that can't fail. */
static struct kept *make(struct mem *m, const struct mediator_pod *pod)
{
    struct kept *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->decisions = calloc(MEDIATOR_HISTORY_MAX, sizeof *k->decisions);
    if (!k->decisions) {
        free(k);
        return NULL;
    }
    k->pod = *pod;
    list_push_back(&m->pods, &k->link);
    return k;
}

static int apply(struct mediator_store *store, const struct mediator_update *updates, size_t count,
                 struct ps_error *err)
{
    struct mem *m = mem_of(store);
    const bool fails = m->fail_in > 0 && --m->fail_in == 0;
    m->applies++;
    if (fails && !m->fail_applied)
        return ps_error_set(err, m->fail_status, "told to fail");
    for (size_t i = 0; i < count; i++) {
        const struct mediator_update *u = &updates[i];
        struct kept *k = find(m, &u->pod->configuration.pod);
        if (u->forget) {
            assert(k);
            forget(k);
            continue;
        }
        if (!k)
            k = make(m, u->pod);
        if (!k)
            abort(); /* tests and simulator: no half of a transaction */
        k->pod = *u->pod;
        if (u->decision) {
            assert(u->decision->number == u->pod->decisions);
            k->decisions[u->decision->number % MEDIATOR_HISTORY_MAX] = *u->decision;
        }
    }
    return fails ? ps_error_set(err, m->fail_status, "told to fail after the fact") : 0;
}

static int history(struct mediator_store *store, const struct uuid *pod, uint64_t after,
                   struct mediator_decision *out, size_t max, size_t *count, struct ps_error *err)
{
    const struct kept *k = find(mem_of(store), pod);
    (void)err;
    *count = 0;
    if (!k)
        return 0;
    const uint64_t newest = k->pod.decisions;
    if (newest > MEDIATOR_HISTORY_MAX && after < newest - MEDIATOR_HISTORY_MAX)
        after = newest - MEDIATOR_HISTORY_MAX;
    while (*count < max && after < newest)
        out[(*count)++] = k->decisions[++after % MEDIATOR_HISTORY_MAX];
    return 0;
}

struct mediator_store *mediator_store_mem_create(const struct uuid *id)
{
    static const struct mediator_store_ops ops = {.load = load, .apply = apply, .history = history};
    struct mem *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->store = (struct mediator_store){.ops = &ops, .id = *id};
    list_init(&m->pods);
    return &m->store;
}

void mediator_store_mem_destroy(struct mediator_store *store)
{
    struct mem *m = mem_of(store);
    while (m->pods.next != &m->pods)
        forget(container_of(m->pods.next, struct kept, link));
    free(m);
}

void mediator_store_mem_fail(struct mediator_store *store, unsigned nth, int status, bool applied)
{
    struct mem *m = mem_of(store);
    m->fail_in = nth;
    m->fail_status = status;
    m->fail_applied = applied;
}

unsigned mediator_store_mem_applies(const struct mediator_store *store)
{
    return container_of(store, const struct mem, store)->applies;
}
