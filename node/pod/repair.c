/* What this member's flash has lost, another one has: a block id names the same bytes on all of them, for
 * good, so a record is asked for by its group. The other side of it: records for them.
 *
 * Hosts' reads wait meanwhile. What comes is verified as what comes from flash is. */
#include <stdio.h>
#include <string.h>

#include "node/pod/pod_impl.h"

/* ---- own records */

static void give_up(struct pod *pod, struct fetch *f, const char *why)
{
    if (f->status == PS_EDATALOSS)
        pod_event(pod, "pod.data_loss", 0, "group %llu at %llu: %s%s%s", (unsigned long long)f->group,
                  (unsigned long long)place_addr(f->place), f->trouble, why[0] ? "; " : "", why);
    if (f->status == PS_EDATALOSS)
        deep_lost(pod, f->group);
    fetch_end(pod, f, f->status);
}

static bool may_ask(const struct pod *pod)
{
    return pod_is_replicated(pod) && pod->config.log->repair && pod->state == POD_SERVING;
}

void repair_begin(struct pod *pod, struct fetch *f, int status, const char *trouble)
{
    f->status = status;
    (void)snprintf(f->trouble, sizeof f->trouble, "%s", trouble);
    /* Others are not asked on behalf of others: they would wait for each other. */
    list_for_each_safe(node, after, &f->waiters)
    {
        struct waiter *w = container_of(node, struct waiter, link);
        if (!w->record)
            continue;
        list_remove(&w->link);
        fetch_serve(pod, f, w, PS_EDATALOSS);
    }
    if (!may_ask(pod)) {
        give_up(pod, f, "");
        return;
    }
    if (list_empty(&f->waiters) &&
        !f->repair) { /* read ahead, or to compare: it is asked for when somebody wants it */
        fetch_end(pod, f, status);
        return;
    }
    f->state = FETCH_FAILED;
    pod->again = true;
}

static void ask(struct pod *pod)
{
    list_for_each_safe(node, after, &pod->active_fetches)
    {
        struct fetch *f = container_of(node, struct fetch, link);
        if (f->state == FETCH_READS)
            continue;
        if (!may_ask(pod)) {
            pod->repairing -= f->state == FETCH_ASKS;
            give_up(pod, f, "");
        } else if (f->state == FETCH_FAILED && pod->repairing < POD_REPAIRS_MAX) {
            f->state = FETCH_ASKS;
            pod->repairing++;
            pod->config.log->repair(pod->config.log->user, f->group);
        }
    }
}

/* As good as what was read. */
static int take(struct pod *pod, struct fetch *f, const void *record, uint32_t bytes, struct ps_error *err)
{
    if (bytes > RECORD_MAX_BYTES)
        return ps_error_set(err, PS_EDAMAGED, "a record of %u bytes", bytes);
    memcpy(f->buf, record, bytes);
    f->skip = 0;
    f->bytes = bytes;
    return fetch_decode(pod, f, err);
}

int pod_record_repair(struct pod *pod, uint64_t group, const void *record, uint32_t bytes, int status)
{
    struct ps_error err = {0};
    struct fetch *f = fetch_find(pod, group);
    if (!f || f->state != FETCH_ASKS)
        return 0; /* it was given up */
    if (status) {
        pod->repairing--;
        give_up(pod, f, status == PS_EDATALOSS ? "no other member has it" : "no other member could be asked");
        return 0;
    }
    if (take(pod, f, record, bytes, &err))
        return PS_EDAMAGED;
    pod->repairing--;
    collect_patch(pod, group, f->place, record, bytes);
    pod->stats.repaired_reads++;
    pod_event(pod, "pod.repaired", 0, "group %llu at %llu: %s; another member's record takes its place",
              (unsigned long long)group, (unsigned long long)place_addr(f->place), f->trouble);
    fetch_end(pod, f, 0);
    return 0;
}

/* ---- records for others */

void repair_record_read(struct pod *pod, struct pod_record_read *read, const uint8_t *record, uint32_t bytes,
                        int status)
{
    read->status = status;
    read->bytes = status ? 0 : bytes;
    if (!status)
        memcpy(read->buf, record, bytes);
    list_push_back(&pod->records_read, &read->link);
    pod->again = true;
}

int pod_record_read(struct pod *pod, struct pod_record_read *read)
{
    if (pod->state != POD_SERVING)
        return PS_EUNAVAILABLE;
    list_push_back(&pod->record_reads, &read->link);
    pod->again = true;
    return 0;
}

enum {
    NOT_NOW = 1
};

/* 0: it is on its way. */
static int start(struct pod *pod, struct pod_record_read *read)
{
    if (pod->state != POD_SERVING)
        return PS_EUNAVAILABLE;
    const struct meta_key key = l2p_key(read->group);
    view_missing_clear(pod->view);
    const uint64_t *slots = view_slots(pod->view, meta_page_of(key), false);
    if (!slots)
        return load_missing(pod) ? PS_EDATALOSS : NOT_NOW;
    if (place_is_none(l2p_place(slots[meta_slot_of(key)])))
        return PS_ENOTFOUND;
    const struct fetch *f = fetch_find(pod, read->group);
    if (f && f->state != FETCH_READS)
        return PS_EDATALOSS;
    return fetch_record(pod, read) ? 0 : NOT_NOW;
}

static void start_reads(struct pod *pod)
{
    list_for_each_safe(node, after, &pod->record_reads)
    {
        struct pod_record_read *read = container_of(node, struct pod_record_read, link);
        list_remove(&read->link);
        const int rc = start(pod, read);
        if (rc == NOT_NOW) {
            list_push_back(&pod->record_reads, &read->link);
            return; /* as the others of this turn */
        }
        if (rc)
            repair_record_read(pod, read, NULL, 0, rc);
    }
}

void repair_deliver(struct pod *pod)
{
    for (struct list_node *n; (n = list_pop_front(&pod->records_read));) {
        struct pod_record_read *read = container_of(n, struct pod_record_read, link);
        read->cb(read, read->status);
    }
}

void repair_turn(struct pod *pod)
{
    ask(pod);
    start_reads(pod);
}
