/* What a replicated pod is: on standby, leading, abandoned. */
#include <string.h>

#include "common/configuration.h"
#include "node/pod/pod_impl.h"

/* Long beside the timers' milliseconds, short beside what hosts wait for. */
#define SLOW_PERIOD_NS 40000000ull

void pod_log_identity(const struct pod *pod, struct pod_log_identity *out)
{
    memcpy(out->store, pod->label.store, sizeof out->store);
    memcpy(out->pod, pod->label.pods[0].id, sizeof out->pod);
    out->run = pod->run;
}

void pod_log_ends(const struct pod *pod, struct log_id *applied, struct log_id *durable)
{
    if (applied)
        *applied = (struct log_id){pod->applied_epoch, pod->applied_run, pod->applied_seq, pod->applied_hash};
    if (durable)
        *durable = pod->durable;
}

uint64_t pod_log_free_bytes(const struct pod *pod)
{
    const uint32_t free = segments_free(pod->segments);
    if (free > pod->reserve_segments)
        return (uint64_t)(free - pod->reserve_segments) * pod->segment_bytes;
    /* Not none, while there is room to come: batches wait for it here. */
    return collect_may_help(pod) ? BATCH_MAX_BYTES : 0;
}

bool pod_log_failed(const struct pod *pod)
{
    return pod->failed && !pod->abandoned;
}

/* ---- leading */

/* The first id of this primary's own range: beyond `next`, the first one that the log up to here left, by
 * steps for its epoch after that of the log's last batch and for its run.
 *
 * Another primary, or this one before it was started again, may have given ids to batches that were lost, and
 * whoever has them remembers them. There were BATCHES at most, of 1,024 groups and less than 10,000 pages
 * each: fewer ids than a step, counted from where its range began or from the last id in its committed
 * batches. If one of those was committed, the log here has it and `next` lies behind: a primary's first batch
 * tells where its range begins. If none was, its epoch is later than the last batch's, and not later than
 * this one; it counted from the same `next`, because whoever leads has all that was committed before; so its
 * range is lower by its epoch, or in the same epoch, which has one primary, by its run. Whoever holds batches
 * of a lineage that was given up is filled anew before it takes part again: its ids matter no more. (Runs
 * count modulo LEAD_RUNS: one lost range in so many starts may lie above, and be reached. What that can spoil
 * are hints of the dedup index, which are compared.) */
static uint64_t lead_from(const struct pod *pod, uint64_t next, uint64_t epoch)
{
    const uint64_t now = epoch_in_lineage(epoch), last = epoch_in_lineage(pod->applied_epoch);
    const uint64_t epochs = now > last ? now - last : 0;
    const uint64_t steps = epochs * LEAD_RUNS + pod->run % LEAD_RUNS + 1;
    return (next + LEAD_STEP - 1) / LEAD_STEP * LEAD_STEP + steps * LEAD_STEP;
}

void plan_from(struct pod *pod, const struct log_ids *next)
{
    pod->next_group = next->group;
    pod->next_page = next->page;
    pod->next_image = next->image;
}

void pod_lead(struct pod *pod, uint64_t epoch)
{
    assert(pod->state == POD_SERVING && pod->role == POD_STANDBY);
    assert(list_empty(&pod->follow.appended) && (!restart_holds_log(pod) || pod->restart.whole));
    assert(pod->applied_seq == pod->sealed_seq && pod->durable.seq == pod->sealed_seq);
    pod->next_group = lead_from(pod, pod->next_group, epoch);
    pod->next_page = lead_from(pod, pod->next_page, epoch);
    pod->next_image = lead_from(pod, pod->next_image, epoch);
    assert(pod->next_group < 1ull << 48 && pod->next_page < 1ull << 51 && "ids are not used up");
    pod->epoch = epoch;
    pod->commit_seq = pod->applied_seq; /* what was said ahead of the log was not about own batches */
    pod->role = POD_LEADING;
    pod->slow_permille = 0;
    pod->events++;
    pod->again = true;
}

void pod_lead_epoch(struct pod *pod, uint64_t epoch)
{
    assert(pod->role == POD_LEADING && epoch >= pod->epoch);
    pod->epoch = epoch;
}

void pod_log_limit_free(struct pod *pod, uint64_t bytes)
{
    pod->limit_free = bytes;
    pod->events++; /* writes that waited for room look again */
    pod->again = true;
}

/* ---- reads that may not be answered now */

bool role_may_read(const struct pod *pod)
{
    return !pod_is_replicated(pod) || !pod->config.log->may_read ||
           pod->config.log->may_read(pod->config.log->user);
}

void role_park(struct pod *pod, struct pod_io *io)
{
    list_push_back(&pod->parked, &io->link);
}

void role_turn(struct pod *pod)
{
    const bool ended = pod->abandoned || pod->role == POD_STANDBY;
    if (list_empty(&pod->parked) || (!ended && !role_may_read(pod)))
        return;
    for (struct list_node *n; (n = list_pop_front(&pod->parked));) {
        struct pod_io *io = container_of(n, struct pod_io, link);
        if (ended)
            io_finish(pod, io, PS_EUNAVAILABLE);
        else
            read_accept(pod, io);
    }
}

uint64_t role_slow_until(const struct pod *pod)
{
    const uint64_t held = SLOW_PERIOD_NS / 1000 * pod->slow_permille, at = pod->now_ns % SLOW_PERIOD_NS;
    return pod->role == POD_LEADING && at < held ? pod->now_ns - at + held : 0;
}

void pod_slow(struct pod *pod, uint32_t permille)
{
    assert(permille < 1000);
    pod->slow_permille = permille;
    pod->events++;
    pod->again = true;
}

void pod_log_forget_commit(struct pod *pod)
{
    pod->commit_seq = pod->applied_seq;
}

void pod_hold(struct pod *pod, bool hold)
{
    pod->held = hold;
    pod->events++;
    pod->again = true;
}

/* ---- the end */

/* A follower has no batches of its own: a segment is named already, or there is room for any batch. */
static bool log_can_be_followed(const struct pod *pod)
{
    return pod->next_named || pod->tail.offset + BATCH_MAX_BYTES <= pod->segment_bytes;
}

/* Held, and nothing is planned that is not applied. */
static bool is_at_rest(const struct pod *pod)
{
    return pod->state == POD_SERVING && !pod->failed && pod->role == POD_LEADING && pod->held && !pod->open &&
           pod->in_flight_count == 0 && list_empty(&pod->managing) && !pod->manage_busy &&
           !pod->release_in_flight && !restart_holds_log(pod) && pod->applied_seq == pod->sealed_seq &&
           pod->durable.seq == pod->sealed_seq && log_can_be_followed(pod);
}

static void forget_openings(void *user, struct image *image)
{
    (void)user;
    image->opened = 0;
}

bool pod_yield(struct pod *pod)
{
    if (!is_at_rest(pod))
        return false;
    pod->role = POD_STANDBY;
    plan_from(pod, &pod->log_next); /* the range that it leaves is not one to count from */
    pod->held = false;
    pod->slow_permille = 0;
    pod->limit_free = UINT64_MAX;
    pod->openings++; /* images that are open belong to the end of this role */
    images_each(pod->images, forget_openings, NULL);
    write_give_up(pod, PS_EUNAVAILABLE);
    role_turn(pod);
    pod->events++;
    pod->again = true;
    return true;
}

void pod_abandon(struct pod *pod, void (*cb)(void *user), void *user)
{
    assert(pod->state == POD_SERVING || pod->state == POD_CLOSING || pod->state == POD_FILLING);
    pod->state = POD_ABANDONING;
    pod->abandoned = true;
    pod->failed = true; /* nothing new begins; what waits is answered with pod_end_status */
    pod->closed = cb;
    pod->closed_user = user;
    pod->again = true;
}
