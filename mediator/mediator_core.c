/* See mediator_core.h. Records lie in two sorted arrays of pointers: by pod id, and by cluster and name. */
#include "mediator/mediator_core.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct mediator_pod record;
    /* The newest decision that was written, so that a requester who repeats itself does not fill the history.
     */
    struct uuid last_request;
    enum mediator_verdict last_verdict;
};

typedef int (*compare_fn)(const struct mediator_pod *a, const struct mediator_pod *b);

struct order {
    struct entry *entries[MEDIATOR_PODS_MAX];
    compare_fn compare;
};

/* What a change will write. */
struct staging {
    struct mediator_pod records[MEDIATOR_CHANGE_PODS_MAX];
    struct mediator_decision decisions[MEDIATOR_CHANGE_PODS_MAX];
    struct mediator_update updates[MEDIATOR_CHANGE_PODS_MAX];
    struct entry *entries[MEDIATOR_CHANGE_PODS_MAX]; /* that the records are for */
    bool fresh[MEDIATOR_CHANGE_PODS_MAX];            /* the entry is not yet in the orders */
    size_t count;
};

struct mediator_core {
    struct mediator_store *store;
    size_t count;
    struct order by_id, by_name;
    struct staging staging;
};

/* ---- verdicts */

bool mediator_verdict_grants(enum mediator_verdict verdict)
{
    return verdict == MEDIATOR_GRANTED || verdict == MEDIATOR_REPEATED;
}

const char *mediator_verdict_name(enum mediator_verdict verdict)
{
    static const char *const names[] = {
        [MEDIATOR_GRANTED] = "granted",
        [MEDIATOR_REPEATED] = "repeated",
        [MEDIATOR_OTHER_STORE] = "other-store",
        [MEDIATOR_NO_POD] = "no-pod",
        [MEDIATOR_EXISTS] = "exists",
        [MEDIATOR_EPOCH_MOVED] = "epoch-moved",
        [MEDIATOR_HIGHER_EPOCH] = "higher-epoch",
        [MEDIATOR_FORBIDDEN] = "forbidden",
        [MEDIATOR_HELD_BACK] = "held-back",
    };
    assert(verdict >= MEDIATOR_GRANTED && verdict <= MEDIATOR_HELD_BACK);
    return names[verdict];
}

/* ---- orders */

static int compare_id(const struct mediator_pod *a, const struct mediator_pod *b)
{
    return memcmp(a->configuration.pod.bytes, b->configuration.pod.bytes, sizeof a->configuration.pod.bytes);
}

static int compare_name(const struct mediator_pod *a, const struct mediator_pod *b)
{
    const int c = strcmp(a->cluster, b->cluster);
    return c ? c : strcmp(a->configuration.pod_name, b->configuration.pod_name);
}

/* Place of the first entry that does not sort before `key`. */
static size_t order_place(const struct order *o, size_t count, const struct mediator_pod *key)
{
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (o->compare(&o->entries[middle]->record, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct entry *order_find(const struct order *o, size_t count, const struct mediator_pod *key)
{
    const size_t at = order_place(o, count, key);
    return at < count && o->compare(&o->entries[at]->record, key) == 0 ? o->entries[at] : NULL;
}

static void order_insert(struct order *o, size_t count, struct entry *entry)
{
    const size_t at = order_place(o, count, &entry->record);
    memmove(&o->entries[at + 1], &o->entries[at], (count - at) * sizeof o->entries[0]);
    o->entries[at] = entry;
}

static void order_remove(struct order *o, size_t count, const struct entry *entry)
{
    const size_t at = order_place(o, count, &entry->record);
    assert(at < count && o->entries[at] == entry);
    memmove(&o->entries[at], &o->entries[at + 1], (count - at - 1) * sizeof o->entries[0]);
}

static void insert(struct mediator_core *core, struct entry *entry)
{
    assert(core->count < MEDIATOR_PODS_MAX);
    order_insert(&core->by_id, core->count, entry);
    order_insert(&core->by_name, core->count, entry);
    core->count++;
}

static void drop(struct mediator_core *core, struct entry *entry)
{
    order_remove(&core->by_id, core->count, entry);
    order_remove(&core->by_name, core->count, entry);
    core->count--;
    free(entry);
}

/* Any cluster's. */
static struct entry *find_id(const struct mediator_core *core, const struct uuid *pod)
{
    const struct mediator_pod key = {.configuration.pod = *pod};
    return order_find(&core->by_id, core->count, &key);
}

/* False: too long to be the name of anything here. */
static bool name_key(struct mediator_pod *key, const char *cluster, const char *pod_name)
{
    const size_t c = strlen(cluster), n = strlen(pod_name);
    if (c > MEDIATOR_CLUSTER_MAX || n > CONFIGURATION_NAME_MAX)
        return false;
    memcpy(key->cluster, cluster, c + 1);
    memcpy(key->configuration.pod_name, pod_name, n + 1);
    return true;
}

static struct entry *find_name(const struct mediator_core *core, const char *cluster, const char *pod_name)
{
    struct mediator_pod key;
    return name_key(&key, cluster, pod_name) ? order_find(&core->by_name, core->count, &key) : NULL;
}

/* Of this cluster. */
static struct entry *find_pod(const struct mediator_core *core, const char *cluster, const struct uuid *pod)
{
    struct entry *entry = find_id(core, pod);
    return entry && strcmp(entry->record.cluster, cluster) == 0 ? entry : NULL;
}

/* ---- life */

static int load_pod(void *user, const struct mediator_pod *pod)
{
    struct mediator_core *core = user;
    if (core->count == MEDIATOR_PODS_MAX)
        return PS_ELIMIT;
    if (find_id(core, &pod->configuration.pod) || find_name(core, pod->cluster, pod->configuration.pod_name))
        return PS_EDAMAGED;
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return PS_ENOMEM;
    entry->record = *pod;
    insert(core, entry);
    return 0;
}

int mediator_core_create(struct mediator_store *store, struct mediator_core **out, struct ps_error *err)
{
    struct mediator_core *core = calloc(1, sizeof *core);
    if (!core)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    core->store = store;
    core->by_id.compare = compare_id;
    core->by_name.compare = compare_name;
    struct ps_error reason = {0};
    const int rc = store->ops->load(store, load_pod, core, &reason);
    if (rc) {
        mediator_core_destroy(core);
        return ps_error_set(err, rc, "%s", reason.detail[0] ? reason.detail : ps_status_text(rc));
    }
    *out = core;
    return 0;
}

void mediator_core_destroy(struct mediator_core *core)
{
    for (size_t i = 0; i < core->count; i++)
        free(core->by_id.entries[i]);
    free(core);
}

/* ---- questions */

void mediator_describe(const struct mediator_core *core, struct mediator_description *out)
{
    *out =
        (struct mediator_description){.store = core->store->id, .software = PS_VERSION, .pods = core->count};
    for (size_t i = 0; i < core->count; i++)
        out->clusters += i == 0 || strcmp(core->by_name.entries[i]->record.cluster,
                                          core->by_name.entries[i - 1]->record.cluster) != 0;
}

const struct mediator_pod *mediator_get(const struct mediator_core *core, const char *cluster,
                                        const struct uuid *pod, const char *pod_name)
{
    const struct entry *entry = NULL;
    if (pod && !uuid_is_none(pod))
        entry = find_pod(core, cluster, pod);
    else if (pod_name)
        entry = find_name(core, cluster, pod_name);
    return entry ? &entry->record : NULL;
}

const char *mediator_cluster_after(const struct mediator_core *core, const char *after)
{
    struct mediator_pod key;
    /* '\x7f' sorts behind every character of a name. */
    if (!name_key(&key, after, "\x7f"))
        return NULL;
    const size_t at = order_place(&core->by_name, core->count, &key);
    return at < core->count ? core->by_name.entries[at]->record.cluster : NULL;
}

const struct mediator_pod *mediator_pod_after(const struct mediator_core *core, const char *cluster,
                                              const char *after)
{
    struct mediator_pod key;
    if (!name_key(&key, cluster, after))
        return NULL;
    size_t at = order_place(&core->by_name, core->count, &key);
    if (at < core->count && compare_name(&core->by_name.entries[at]->record, &key) == 0)
        at++;
    return at < core->count && strcmp(core->by_name.entries[at]->record.cluster, cluster) == 0
               ? &core->by_name.entries[at]->record
               : NULL;
}

static int not_found(struct ps_error *err, const char *cluster)
{
    return ps_error_set(err, PS_ENOTFOUND, "no such pod of cluster %.63s is registered here", cluster);
}

int mediator_history(struct mediator_core *core, const char *cluster, const struct uuid *pod, uint64_t after,
                     struct mediator_decision *out, size_t max, size_t *count, struct ps_error *err)
{
    struct ps_error reason = {0};
    if (!find_pod(core, cluster, pod))
        return not_found(err, cluster);
    return core->store->ops->history(core->store, pod, after, out, max, count, &reason)
               ? ps_error_set(err, PS_EIO, "the mediator's store failed: %s", reason.detail)
               : 0;
}

/* ---- writing */

/* One status for whatever the store had: callers can do nothing but ask again. */
static int apply(struct mediator_core *core, const struct mediator_update *updates, size_t count,
                 struct ps_error *err)
{
    struct ps_error reason = {0};
    const int rc = core->store->ops->apply(core->store, updates, count, &reason);
    if (rc == 0)
        return 0;
    return ps_error_set(err, PS_EIO, "the mediator's store failed: %s",
                        reason.detail[0] ? reason.detail : ps_status_text(rc));
}

static int check_reports(const struct mediator_report *reports, size_t count, struct ps_error *err)
{
    if (count == 0 || count > MEDIATOR_CHANGE_PODS_MAX)
        return ps_error_set(err, PS_EINVAL, "a report has 1 to %d pods, not %zu", MEDIATOR_CHANGE_PODS_MAX,
                            count);
    for (size_t i = 0; i < count; i++) {
        if (reports[i].epoch > MEDIATOR_EPOCH_MAX)
            return ps_error_set(err, PS_EINVAL, "epoch %llu is no epoch",
                                (unsigned long long)reports[i].epoch);
        for (size_t j = 0; j < i; j++)
            if (uuid_equal(&reports[i].pod, &reports[j].pod))
                return ps_error_set(err, PS_EINVAL, "a pod is in the report twice");
    }
    return 0;
}

int mediator_report(struct mediator_core *core, const char *cluster, const struct mediator_report *reports,
                    size_t count, uint64_t *epochs, struct ps_error *err)
{
    struct staging *s = &core->staging;
    int rc = check_reports(reports, count, err);
    if (rc)
        return rc;
    s->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct entry *entry = find_pod(core, cluster, &reports[i].pod);
        if (!entry || reports[i].epoch <= entry->record.configuration.epoch ||
            reports[i].epoch <= entry->record.reported_epoch)
            continue;
        s->records[s->count] = entry->record;
        s->records[s->count].reported_epoch = reports[i].epoch;
        s->updates[s->count] = (struct mediator_update){.pod = &s->records[s->count]};
        s->entries[s->count++] = entry;
    }
    if (s->count > 0)
        rc = apply(core, s->updates, s->count, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < s->count; i++)
        s->entries[i]->record = s->records[i];
    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = find_pod(core, cluster, &reports[i].pod);
        epochs[i] = entry ? entry->record.configuration.epoch : 0;
    }
    return 0;
}

int mediator_forget(struct mediator_core *core, const char *cluster, const struct uuid *pod,
                    struct ps_error *err)
{
    struct entry *entry = find_pod(core, cluster, pod);
    if (!entry)
        return not_found(err, cluster);
    const int rc = apply(core, &(struct mediator_update){.pod = &entry->record, .forget = true}, 1, err);
    if (rc == 0)
        drop(core, entry);
    return rc;
}

/* ---- compare-and-swap: judging */

__attribute__((format(printf, 3, 4))) static void say(struct mediator_verdict_pod *v,
                                                      enum mediator_verdict verdict, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    v->verdict = verdict;
    (void)vsnprintf(v->text, sizeof v->text, format, args);
    va_end(args);
}

static const char *node_of(const struct configuration *c, const struct uuid *store)
{
    const int i = configuration_find(c, store);
    return i < 0 ? "?" : c->members[i].node;
}

/* "epoch 4 to 5: primary b (was a), in sync: b c" */
static void tell_grant(struct mediator_verdict_pod *v, const struct configuration *now,
                       const struct configuration *next)
{
    v->verdict = MEDIATOR_GRANTED;
    int n = now ? snprintf(v->text, sizeof v->text, "epoch %llu to %llu: primary %s",
                           (unsigned long long)now->epoch, (unsigned long long)next->epoch,
                           node_of(next, &next->primary))
                : snprintf(v->text, sizeof v->text, "registered with epoch %llu: primary %s",
                           (unsigned long long)next->epoch, node_of(next, &next->primary));
    if (now && !uuid_equal(&now->primary, &next->primary))
        n += snprintf(v->text + n, sizeof v->text - (size_t)n, " (was %s)", node_of(now, &now->primary));
    const char *before = ", in sync:";
    for (uint32_t i = 0; i < next->count && n < MEDIATOR_TEXT_MAX; i++)
        if (next->members[i].in_sync) {
            n += snprintf(v->text + n, sizeof v->text - (size_t)n, "%s %s", before, next->members[i].node);
            before = "";
        }
    if (now && epoch_lineage(next->epoch) > epoch_lineage(now->epoch) && n < MEDIATOR_TEXT_MAX)
        (void)snprintf(v->text + n, sizeof v->text - (size_t)n,
                       "; a person gave up what the others alone may have held");
}

/* A higher epoch than the one here is in force somewhere. Its holder is the primary that is on
 * record here (only it can have become the elected one), and only with what it holds may it come; or a person
 * gives it up. */
static bool registers(const struct mediator_pod *pod, const struct configuration *next,
                      const struct uuid *requester)
{
    return (uuid_equal(&pod->configuration.primary, requester) && next->epoch >= pod->reported_epoch) ||
           epoch_lineage(next->epoch) > epoch_lineage(pod->reported_epoch);
}

static void judge(const struct mediator_core *core, const struct mediator_change *request, size_t index,
                  const struct mediator_pod *pod, struct mediator_verdict_pod *v)
{
    const struct mediator_change_pod *ask = &request->pods[index];
    const struct entry *named = find_name(core, request->cluster, ask->next.pod_name);
    struct ps_error err;
    if (!uuid_equal(&request->mediator, &core->store->id) &&
        !(uuid_is_none(&request->mediator) && ask->expected_epoch == 0))
        say(v, MEDIATOR_OTHER_STORE,
            "the requester knows another mediator; this one's records are not its own");
    else if (pod && uuid_equal(&pod->request_id, &request->request_id) &&
             configuration_equal(&pod->configuration, &ask->next))
        say(v, MEDIATOR_REPEATED, "granted before: this is the change in force");
    else if (ask->expected_epoch == 0 && find_id(core, &ask->next.pod))
        say(v, MEDIATOR_EXISTS, "pod %s is registered already", ask->next.pod_name);
    else if (ask->expected_epoch != 0 && !pod)
        say(v, MEDIATOR_NO_POD, "pod %s is not registered here", ask->next.pod_name);
    else if (pod && pod->configuration.epoch != ask->expected_epoch)
        say(v, MEDIATOR_EPOCH_MOVED, "epoch %llu was expected, %llu is in force",
            (unsigned long long)ask->expected_epoch, (unsigned long long)pod->configuration.epoch);
    else if (pod && pod->reported_epoch > pod->configuration.epoch &&
             !registers(pod, &ask->next, &request->requester))
        say(v, MEDIATOR_HIGHER_EPOCH,
            "nodes told of epoch %llu, %llu is on record: nothing is granted until %s registers what it "
            "holds",
            (unsigned long long)pod->reported_epoch, (unsigned long long)pod->configuration.epoch,
            node_of(&pod->configuration, &pod->configuration.primary));
    else if (configuration_may_follow(pod ? &pod->configuration : NULL, &ask->next, &request->requester,
                                      &err))
        say(v, MEDIATOR_FORBIDDEN, "%.*s", MEDIATOR_TEXT_MAX, err.detail);
    else if (named && (!pod || &named->record != pod))
        say(v, MEDIATOR_EXISTS, "another pod of the cluster is named %s", ask->next.pod_name);
    else
        tell_grant(v, pod ? &pod->configuration : NULL, &ask->next);
}

static int check_cluster(const char *cluster, struct ps_error *err)
{
    const size_t length = strlen(cluster);
    if (length == 0 || length > MEDIATOR_CLUSTER_MAX)
        return ps_error_set(err, PS_EINVAL, "a cluster's id has 1 to %d characters", MEDIATOR_CLUSTER_MAX);
    for (const char *p = cluster; *p; p++)
        if (*p <= ' ' || *p > '~')
            return ps_error_set(err, PS_EINVAL,
                                "the cluster's id has a character that is not printable ASCII");
    return 0;
}

static int check_request(const struct mediator_change *request, struct ps_error *err)
{
    int rc = check_cluster(request->cluster, err);
    if (rc)
        return rc;
    if (request->count == 0 || request->count > MEDIATOR_CHANGE_PODS_MAX)
        return ps_error_set(err, PS_EINVAL, "a request has 1 to %d pods, not %zu", MEDIATOR_CHANGE_PODS_MAX,
                            request->count);
    if (uuid_is_none(&request->request_id) || uuid_is_none(&request->requester))
        return ps_error_set(err, PS_EINVAL, "a request has an id and a requester");
    for (size_t i = 0; i < request->count; i++) {
        const struct configuration *next = &request->pods[i].next;
        rc = configuration_check(next, err);
        if (rc)
            return rc;
        if (next->epoch > MEDIATOR_EPOCH_MAX)
            return ps_error_set(err, PS_EINVAL, "epoch %llu is no epoch", (unsigned long long)next->epoch);
        for (size_t j = 0; j < i; j++)
            if (uuid_equal(&request->pods[j].next.pod, &next->pod) ||
                strcmp(request->pods[j].next.pod_name, next->pod_name) == 0)
                return ps_error_set(err, PS_EINVAL, "pod %s is in the request twice", next->pod_name);
    }
    return 0;
}

/* ---- compare-and-swap: writing */

/* What is written for one pod of a decided request; nothing for an unknown pod that is refused, and for
 * repetitions. */
static int stage(struct mediator_core *core, const struct mediator_change *request, size_t index,
                 struct mediator_verdict_pod *v, uint64_t now_unix_ns)
{
    struct staging *s = &core->staging;
    const struct mediator_change_pod *ask = &request->pods[index];
    struct entry *entry = find_pod(core, request->cluster, &ask->next.pod);
    const bool grant = v->verdict == MEDIATOR_GRANTED;
    v->news = v->verdict != MEDIATOR_REPEATED && !(entry && !grant && entry->last_verdict == v->verdict &&
                                                   uuid_equal(&entry->last_request, &request->request_id));
    if (!v->news || (!entry && !grant))
        return 0;
    const bool fresh = !entry;
    if (fresh) {
        entry = calloc(1, sizeof *entry);
        if (!entry)
            return PS_ENOMEM;
        (void)name_key(&entry->record, request->cluster, ask->next.pod_name);
    }
    struct mediator_pod *record = &s->records[s->count];
    struct mediator_decision *decision = &s->decisions[s->count];
    *record = entry->record;
    record->decisions++;
    if (grant) {
        record->configuration = ask->next;
        record->request_id = request->request_id;
    }
    *decision = (struct mediator_decision){.number = record->decisions,
                                           .time_unix_ns = now_unix_ns,
                                           .expected_epoch = ask->expected_epoch,
                                           .epoch = ask->next.epoch,
                                           .requester = request->requester,
                                           .request_id = request->request_id,
                                           .verdict = v->verdict};
    memcpy(decision->text, v->text, sizeof decision->text);
    s->updates[s->count] = (struct mediator_update){.pod = record, .decision = decision};
    s->entries[s->count] = entry;
    s->fresh[s->count] = fresh;
    s->count++;
    return 0;
}

/* Memory follows the store. */
static void adopt(struct mediator_core *core)
{
    struct staging *s = &core->staging;
    for (size_t i = 0; i < s->count; i++) {
        struct entry *entry = s->entries[i];
        if (!s->fresh[i])
            order_remove(&core->by_name, core->count, entry);
        entry->record = s->records[i];
        entry->last_request = s->decisions[i].request_id;
        entry->last_verdict = s->decisions[i].verdict;
        if (s->fresh[i]) {
            insert(core, entry);
        } else {
            /* The name may be another now. */
            order_insert(&core->by_name, core->count - 1, entry);
        }
    }
}

static int write_all(struct mediator_core *core, const struct mediator_change *request, uint64_t now_unix_ns,
                     struct mediator_change_reply *reply, struct ps_error *err)
{
    struct staging *s = &core->staging;
    size_t fresh = 0;
    int rc = 0;
    s->count = 0;
    for (size_t i = 0; rc == 0 && i < request->count; i++)
        rc = stage(core, request, i, &reply->pods[i], now_unix_ns);
    for (size_t i = 0; i < s->count; i++)
        fresh += s->fresh[i];
    if (rc)
        (void)ps_error_set(err, rc, "out of memory");
    else if (core->count + fresh > MEDIATOR_PODS_MAX)
        rc = ps_error_set(err, PS_ELIMIT, "the mediator holds %d pods and no more", MEDIATOR_PODS_MAX);
    else if (s->count > 0)
        rc = apply(core, s->updates, s->count, err);
    if (rc == 0) {
        adopt(core);
        return 0;
    }
    for (size_t i = 0; i < s->count; i++)
        if (s->fresh[i])
            free(s->entries[i]);
    return rc;
}

/* What the requester is shown: the pod, or, where it has none of that id, the one of that name. */
static void show(const struct mediator_core *core, const struct mediator_change *request, size_t index,
                 struct mediator_verdict_pod *v)
{
    const struct configuration *next = &request->pods[index].next;
    const struct mediator_pod *pod = mediator_get(core, request->cluster, &next->pod, NULL);
    if (!pod)
        pod = mediator_get(core, request->cluster, NULL, next->pod_name);
    v->known = pod != NULL;
    if (pod) {
        v->now = pod->configuration;
        v->request_id = pod->request_id;
        v->reported_epoch = pod->reported_epoch;
    }
}

int mediator_change(struct mediator_core *core, const struct mediator_change *request, uint64_t now_unix_ns,
                    struct mediator_change_reply *reply, struct ps_error *err)
{
    int rc = check_request(request, err);
    if (rc)
        return rc;
    memset(reply->pods, 0, request->count * sizeof reply->pods[0]);
    reply->granted = true;
    for (size_t i = 0; i < request->count; i++) {
        const struct entry *entry = find_pod(core, request->cluster, &request->pods[i].next.pod);
        judge(core, request, i, entry ? &entry->record : NULL, &reply->pods[i]);
        reply->granted = reply->granted && mediator_verdict_grants(reply->pods[i].verdict);
    }
    for (size_t i = 0; !reply->granted && i < request->count; i++)
        if (reply->pods[i].verdict == MEDIATOR_GRANTED)
            say(&reply->pods[i], MEDIATOR_HELD_BACK,
                "nothing speaks against it, but another pod of the request is refused");
    rc = write_all(core, request, now_unix_ns, reply, err);
    for (size_t i = 0; rc == 0 && i < request->count; i++)
        show(core, request, i, &reply->pods[i]);
    return rc;
}
