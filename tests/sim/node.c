/* Nodes: they start and die, their clocks run apart, their devices take time, fail and forget. */
#include "node/flash/array.h"
#include "tests/sim/world.h"

uint64_t clock_of(const struct node *n)
{
    const uint64_t now = n->w->now;
    return n->clock_base + now + (uint64_t)((int64_t)(now / 1000) * n->drift_ppm / 1000);
}

struct node *node_of(struct world *w, const struct uuid *store)
{
    for (unsigned i = 0; i < w->node_count; i++)
        if (w->nodes[i].known && uuid_equal(&w->nodes[i].store, store))
            return &w->nodes[i];
    return NULL;
}

static void turn_at(struct node *n, uint64_t when)
{
    if (when >= n->turn_at)
        return;
    n->turn_at = when;
    at(n->w, when, EVENT_TURN, n->index, n->life, NULL);
}

void wake(struct node *n)
{
    turn_at(n, n->w->now);
}

/* ---- the device */

static uint64_t disk_latency(struct node *n, const struct blkdev_req *req)
{
    struct prng *p = &n->w->disks;
    uint64_t ns = 100000 + prng_below(p, 400000) + req->length / 2;
    if (req->op == BLKDEV_FLUSH || (req->flags & BLKDEV_FUA))
        ns += 500000 + prng_below(p, 2500000);
    if (n->w->now < n->disk_slow_until)
        ns *= 20;
    return ns;
}

/* Requests that are new get the time at which they end. */
static void schedule_drive(struct node *n, struct drive *d)
{
    const size_t pending = blkdev_mem_pending(d->mem);
    /* The oldest come first; those known are a prefix but for what has ended. */
    for (size_t i = d->scheduled_count; i < pending; i++) {
        struct blkdev_req *req = blkdev_mem_pending_at(d->mem, i);
        assert(d->scheduled_count < sizeof d->scheduled / sizeof d->scheduled[0]);
        d->scheduled[d->scheduled_count++] = req;
        at(n->w, n->w->now + disk_latency(n, req), EVENT_DISK, n->index, n->life, req);
    }
}

static void schedule_disk(struct node *n)
{
    for (unsigned i = 0; i < n->drive_count; i++)
        schedule_drive(n, &n->drives[i]);
}

static void flip_stored(struct node *n, uint64_t bit)
{
    uint8_t byte;
    blkdev_mem_peek(n->disk, bit / 8, &byte, 1, false);
    byte ^= (uint8_t)(1u << bit % 8);
    blkdev_mem_poke(n->disk, bit / 8, &byte, 1);
    n->damaged = n->ever_damaged = true;
    n->w->result->rotten++;
}

static bool is_batch(const struct blkdev_req *req)
{
    struct batch_header h;
    return req->op == BLKDEV_WRITE && batch_peek(req->buf, req->length, &h) == 0;
}

static struct drive *drive_of(struct node *n, const struct blkdev_req *req, size_t *at)
{
    for (unsigned d = 0; d < n->drive_count; d++)
        for (size_t i = 0; i < n->drives[d].scheduled_count; i++)
            if (n->drives[d].scheduled[i] == req) {
                *at = i;
                return &n->drives[d];
            }
    assert(false && "every scheduled request is pending");
    return NULL;
}

void disk_done(struct node *n, struct blkdev_req *req)
{
    struct world *w = n->w;
    size_t i;
    struct drive *d = drive_of(n, req, &i);
    memmove(d->scheduled + i, d->scheduled + i + 1, (d->scheduled_count - i - 1) * sizeof d->scheduled[0]);
    d->scheduled_count--;
    if (w->now < n->disk_fails_until && req->op != BLKDEV_READ) {
        (void)blkdev_mem_fail_at(d->mem, i, n->disk_full && req->op == BLKDEV_WRITE ? PS_EFULL : PS_EIO);
        return;
    }
    if (req->op == BLKDEV_WRITE)
        n->recent[n->recent_count++ % RECENT_WRITES] = req->offset;
    /* What is told is what was asked for; what is stored is another thing. */
    const uint64_t corrupt = n->corrupt_writes && is_batch(req) ? req->offset * 8 + req->length * 4 : 0;
    (void)blkdev_mem_step_at(d->mem, i);
    if (corrupt) {
        n->corrupt_writes--;
        trace(w, "%s: a write is stored wrongly", n->name);
        flip_stored(n, corrupt);
    }
}

static bool is_recent(const struct node *n, uint64_t offset)
{
    for (unsigned i = 0; i < RECENT_WRITES; i++)
        if (i < n->recent_count && offset >= n->recent[i] / SEGMENT_BYTES * SEGMENT_BYTES &&
            offset < n->recent[i] + (1 << 20))
            return true;
    return false;
}

/* Not in what was written last: a log that ends earlier than it did looks like one that was torn, and nothing
 * but other members can know. */
void node_rot(struct node *n, uint64_t bits)
{
    const uint64_t first = 4ull * SEGMENT_BYTES, size = n->disk->geometry.size_bytes;
    uint64_t done = 0;
    for (unsigned tries = 0; tries < 20000 && done < bits; tries++) {
        const uint64_t bit =
            (first + prng_below(&n->w->disks, size - first)) * 8 + prng_below(&n->w->disks, 8);
        uint64_t word = 0;
        blkdev_mem_peek(n->disk, bit / 64 * 8, &word, sizeof word, true);
        if (!word || is_recent(n, bit / 8))
            continue;
        flip_stored(n, bit);
        done++;
    }
    trace(n->w, "%s: %llu bits on its disk flip", n->name, (unsigned long long)done);
}

void node_new_disk(struct node *n)
{
    drives_new(n);
    n->known = n->damaged = n->copies_damage = n->lost = false;
    n->disk_fails_until = n->corrupt_writes = n->recent_count = 0;
    n->stores++;
}

/* ---- turns */

static void open_member(struct node *n);

/* Its array opens, or did. */
static void array_turns(struct node *n)
{
    if (n->array_status == 0) {
        n->disk = array_device(n->array);
        open_member(n);
    } else if (n->array_status != DRIVES_OPENING && !n->w->result->failed) {
        fail(n->w, SIM_STORE, "%s: its array does not open: %s, %s", n->name, ps_status_name(n->array_status),
             n->error.detail);
    }
    schedule_disk(n);
}

void node_turn(struct node *n)
{
    const uint64_t clock = clock_of(n);
    n->turn_at = UINT64_MAX;
    if (!n->member) {
        array_turns(n);
        return;
    }
    uint64_t next = member_turn(n->member, clock);
    const uint64_t of_array = drives_turn(n, clock);
    next = of_array < next ? of_array : next;
    schedule_disk(n);
    if (n->opened)
        check_applied(n->w, n);
    if (next != UINT64_MAX) {
        /* Its own clock says when; a little late is always possible. */
        const uint64_t left = next > clock ? next - clock : 0;
        turn_at(n, n->w->now + left + left / 20 + 1000);
    }
}

/* ---- life */

static void opened(void *user, int status, struct member_pod *member)
{
    struct node *n = user;
    if (status && n->w->now < n->disk_fails_until) {
        trace(n->w, "%s: does not open: its disk fails", n->name);
        return;
    }
    if (status && (n->damaged || n->copies_damage)) {
        n->lost = true;
        trace(n->w, "%s: does not open: %s, %s", n->name, ps_status_name(status), n->error.detail);
        return;
    }
    if (status) {
        fail(n->w, SIM_STORE, "%s does not open: %s, %s", n->name, ps_status_name(status), n->error.detail);
        return;
    }
    struct pod_log_identity id;
    pod_log_identity(member_pod(member), &id);
    memcpy(n->store.bytes, id.store, 16);
    n->known = n->opened = true;
    trace(n->w, "%s: open, run %llu", n->name, (unsigned long long)id.run);
}

static void pod_event(void *user, const char *kind, uint64_t image_id, const char *text)
{
    struct node *n = user;
    (void)image_id;
    trace(n->w, "%s: pod: %s: %s", n->name, kind, text);
    n->w->result->repaired += strcmp(kind, "pod.repaired") == 0;
    n->lost_page |= strcmp(kind, "pod.data_loss") == 0 && strstr(text, "metadata page");
}

static void open_member(struct node *n)
{
    struct world *w = n->w;
    struct member_config config = {
        .dev = n->disk,
        .pod = {.name = "default",
                .memory_budget = POD_MEMORY_MIN,
                .metadata_cache_bytes = 1 << 20,
                .log_index_batches = w->scenario->seed % 2 ? 64 : 0,
                .dedupe = true,
                .compression = true,
                /* Members differ in how what they moved is compressed. */
                .cold_compress_rate = n->index % 2 ? 1ull << 30 : 0,
                .segment_bytes = SEGMENT_BYTES,
                /* Collection goes on all the time, but for some. */
                .gc_threshold = w->scenario->seed % 4 ? 1 : 0,
                .checkpoint_log_bytes = w->scenario->seed % 3 ? SEGMENT_BYTES : 0,
                .seed = {n->index + 1 + SIM_NODES_MAX * n->stores, w->scenario->seed},
                .pod_id = {1, 2, 3},
                .event = pod_event,
                .user = n},
        .format = POD_FORMAT_BLANK,
        .node = n->name,
        .seed = prng_next(&w->ids),
        .options = replica_defaults,
        .links = &sim_links,
        .user = n,
    };
    if (w->scenario->eager) {
        config.options.stable_heartbeats = 4;
        config.options.move_again_ns = 3 * SECOND;
        config.options.mediator_lost_ns = 1500 * MS;
    }
    heartbeat_init(&n->heartbeat, &config.options);
    at(w, w->now, EVENT_BEAT, n->index, n->life, NULL);
    if (member_open(&config, clock_of(n), opened, n, &n->error, &n->member))
        fail(w, SIM_STORE, "%s does not start: %s", n->name, n->error.detail);
    else
        wake(n);
}

void node_start(struct node *n)
{
    n->life++;
    n->up = true;
    n->opened = false;
    n->turn_at = UINT64_MAX;
    n->error = (struct ps_error){0};
    if (drives_open(n, &n->error))
        fail(n->w, SIM_STORE, "%s: its array does not start: %s", n->name, n->error.detail);
    else if (n->array)
        wake(n);
    else
        open_member(n);
}

/* Since the pod was opened last. */
static void count_collected(struct node *n)
{
    struct pod_stats s;
    if (!n->opened)
        return;
    pod_stats(member_pod(n->member), &s);
    n->w->result->collected += s.collected;
    n->w->result->moved_bytes += s.collect_moved;
}

void node_destroy(struct node *n)
{
    for (unsigned i = 0; i < HOSTS; i++)
        host_node_dies(&n->w->hosts[i], n->index);
    filler_node_dies(n->w, n->index);
    count_collected(n);
    if (n->member)
        member_destroy(n->member);
    n->member = NULL;
    drives_close(n);
    n->up = n->opened = false;
}

void node_crash(struct node *n, enum blkdev_mem_cut cut)
{
    struct world *w = n->w;
    if (!n->up)
        return;
    struct replica_info info;
    if (look(n, &info))
        n->last_epoch = info.configuration.epoch;
    trace(w, "%s: crashes", n->name);
    w->result->crashes++;
    n->paused_until = n->stalled_until = 0;
    drives_cut(n, cut);
    node_destroy(n);
}

void node_create(struct world *w, unsigned index)
{
    struct node *n = &w->nodes[index];
    *n = (struct node){.w = w, .index = index, .name = {(char)('a' + index)}};
    n->drift_ppm = w->scenario->drift_ppm[index];
    n->clock_base = prng_below(&w->ids, 1000) * SECOND;
    node_new_disk(n);
    node_start(n);
}
