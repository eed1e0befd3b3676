/* pstoraged --check: the pool on this node's flash, looked through by itself and without a write.
 *
 * What is found goes to standard output, a line each, then a summary. It works on a pool whose process was
 * killed: its log is replayed in memory. While a node serves the pool its locks keep this out. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/large_memory_mmap.h"
#include "common/log.h"
#include "common/sizes.h"
#include "node/daemon.h"
#include "node/flash/array.h"
#include "node/host/flash_devices_uv.h"
#include "node/host/reactor_uv.h"
#include "node/pod/check.h"

static uint64_t turn(void *user, uint64_t now_ns)
{
    return pod_turn(user, now_ns);
}

static void opened(void *user, int status, struct pod *pod)
{
    (void)pod;
    node_arrived(user, status);
}

static void found(void *user, const struct survey_finding *f)
{
    (void)user;
    (void)printf("%s%s\n", f->kind == SURVEY_AT ? "  " : "", f->text);
}

static void done(void *user, struct pod_check_request *request)
{
    node_arrived(user, request->status);
}

/* Of what was read: second copies are read where the first is bad. */
static bool tell_of_opening(struct pod *pod)
{
    struct pod_stats stats;
    pod_stats(pod, &stats);
    if (stats.repaired_metadata)
        (void)printf("%" PRIu64
                     " records of metadata are bad in one of their two copies: a node that serves the "
                     "pool writes them anew\n",
                     stats.repaired_metadata);
    if (stats.damaged_batches)
        (void)printf(
            "%" PRIu64
            " batches of the log hold damaged data: --check-records tells whose, as does the scrub that a "
            "node begins with\n",
            stats.damaged_batches);
    return stats.repaired_metadata > 0 || stats.damaged_batches > 0;
}

static void summarize(const struct pod_check_request *r)
{
    const struct survey_totals *t = &r->totals;
    char stored[SIZE_TEXT_MAX], read[SIZE_TEXT_MAX];
    (void)printf("compared %" PRIu64 " images, %" PRIu64 " metadata pages and %" PRIu64 " blocks (%s stored)",
                 t->images, t->pages, t->blocks, size_format_human(t->stored.stored_bytes, stored));
    if (r->records)
        (void)printf(", verified %" PRIu64 " records (%s)", r->records_read,
                     size_format_human(r->record_bytes, read));
    if (t->damage)
        (void)printf(": %" PRIu64 " wrong\n", t->damage);
    else
        (void)printf(": nothing is wrong\n");
}

/* Ends early only for a signal: then nothing is known. */
static int wait_for(struct awaited *awaited, struct ps_error *err)
{
    while (!awaited->done && !awaited->node->stopping)
        (void)uv_run(&awaited->node->loop, UV_RUN_ONCE);
    return awaited->done ? awaited->status : ps_error_set(err, PS_ECANCELLED, "interrupted");
}

static int check(struct node *node, struct pod *pod, struct ps_error *err)
{
    struct awaited end = {.node = node};
    struct pod_check_request request = {
        .records = node->as.check_records, .found = found, .done = done, .user = &end};
    pod_check(pod, &request);
    reactor_wake(node->reactor);
    const int rc = wait_for(&end, err);
    if (rc)
        return end.done ? ps_error_set(err, rc, "%s", request.why) : rc;
    summarize(&request);
    node->damaged = tell_of_opening(pod) || request.totals.damage > 0;
    return 0;
}

/* Reads that are under way end before the pod does. */
static void wait_for_reads(struct node *node, struct pod *pod)
{
    while (!pod_check_stop(pod))
        (void)uv_run(&node->loop, UV_RUN_ONCE);
}

/* Of the devices, below the pool. That one is missing is no damage: what it held is made from the others. */
static void say_array(const struct node *node)
{
    static const char *const states[] = {"in use", "lost, or taken out", "being rebuilt"};
    const struct array *array = flash_devices_array(node->devices);
    struct array_info info;
    if (!array)
        return;
    array_look(array, &info);
    (void)printf("array of %u device%s, %u of parity, %u lost", info.members, info.members == 1 ? "" : "s",
                 info.parity, info.lost);
    if (info.unsettled)
        (void)printf("; it was not closed: %u segments are not settled, %" PRIu64
                     " of their rows lack the right parity, and the next start writes that anew",
                     info.unsettled, info.resynced_rows);
    (void)printf("\n");
    for (unsigned i = 0; i < info.members; i++)
        if (info.member[i].state != ARRAY_IN)
            (void)printf("  %s: %s\n", info.member[i].name, states[info.member[i].state]);
}

int check_pool(struct node *node, struct ps_error *err)
{
    say_array(node);
    const struct pod_config config = {
        .name = node_pod_name,
        .memory_budget = node->as.memory_budget,
        .memory = &large_memory_mmap,
        .check_only = true,
    };
    struct awaited open = {.node = node};
    struct pod *pod = NULL;
    struct ps_error reason = {0};
    int rc = pod_open(node->flash, &config, POD_OPEN_ONLY, opened, &open, &reason, &pod);
    if (rc)
        return ps_error_set(err, rc, "%s", reason.detail);
    reactor_set_turn(node->reactor, turn, pod);
    node_wait(&open);
    rc = open.status ? ps_error_set(err, open.status, "%s", reason.detail) : check(node, pod, err);
    wait_for_reads(node, pod);
    reactor_set_turn(node->reactor, NULL, NULL);
    pod_destroy(pod);
    return rc;
}
