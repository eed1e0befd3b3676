/* Hosts: each has one request at a time, at whichever node serves. What they see goes into the history. */
#include "tests/sim/world.h"

static void fill_block(uint8_t *block, uint64_t value)
{
    /* Compressible, not a pattern. */
    for (unsigned i = 0; i < POD_BLOCK_BYTES; i += 8) {
        const uint64_t word = i % 64 ? value : prng_mix(value + i);
        memcpy(block + i, &word, 8);
    }
    memcpy(block, &value, 8);
}

static bool block_value(const uint8_t *block, uint64_t *value)
{
    uint8_t expected[POD_BLOCK_BYTES] = {0};
    memcpy(value, block, 8);
    if (*value)
        fill_block(expected, *value);
    return memcmp(block, expected, sizeof expected) == 0;
}

static void again(struct host *h, uint64_t after)
{
    at(h->w, h->w->now + after, EVENT_HOST, h->index, 0, NULL);
}

static void note_read(struct host *h)
{
    for (uint32_t i = 0; i < h->count; i++) {
        uint64_t value;
        if (!block_value(h->buf + (size_t)i * POD_BLOCK_BYTES, &value)) {
            fail(h->w, "block %u: a read returned what nobody ever wrote as a block", h->block + i);
            return;
        }
        history_read(h->w->history, h->block + i, value, h->begin, h->w->now);
    }
    h->w->result->reads++;
}

static void io_done(struct pod_io *io, int status)
{
    struct host *h = io->user;
    struct world *w = h->w;
    h->busy = false;
    trace(w, "host %u: %s of %u+%u at %s: %s", h->index, h->is_write ? "write" : "read", h->block, h->count,
          w->nodes[h->node].name, ps_status_name(status));
    if (status == 0 && h->is_write) {
        for (uint32_t i = 0; i < h->count; i++)
            history_write_end(w->history, h->block + i, h->values[i], w->now);
        w->result->writes++;
        if (w->faults && w->last_write_ns && w->now - w->last_write_ns > w->result->longest_outage_ns)
            w->result->longest_outage_ns = w->now - w->last_write_ns;
        w->last_write_ns = w->now;
    } else if (status == 0) {
        note_read(h);
    } else {
        w->result->unanswered++;
        if (status != PS_EUNAVAILABLE && status != PS_EFULL && status != PS_ENOTFOUND)
            fail(w, "host %u: %s failed with %s", h->index, h->is_write ? "a write" : "a read",
                 ps_status_name(status));
    }
    again(h, status ? 20 * MS + below(w, 50 * MS) : below(w, 6 * MS));
}

void host_node_died(struct host *h, unsigned node)
{
    if (h->image && h->node == node)
        h->image = NULL; /* gone with its pod */
    if (h->busy && h->node == node) {
        h->busy = false;
        h->w->result->unanswered++;
        again(h, 20 * MS + below(h->w, 50 * MS));
    }
}

static struct node *serving_node(struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[(i + w->now / 1000) % w->node_count];
        struct replica_info info;
        if (!n->up || !n->opened || n->paused_until > w->now)
            continue;
        replica_look(member_replica(n->member), clock_of(n), &info);
        if (info.role == REPLICA_LEADING)
            return n;
    }
    return NULL;
}

static void made(struct pod_manage *req, int status)
{
    struct world *w = req->user;
    w->making = false;
    if (status == 0 || status == PS_EEXISTS)
        w->volume_made = true;
}

static void make_volume(struct world *w, struct node *n)
{
    if (w->making && w->nodes[w->make_node].life == w->make_life && w->nodes[w->make_node].up)
        return;
    w->make = (struct pod_manage){
        .op = POD_VOLUME_CREATE, .name = "v", .size_bytes = BLOCKS * POD_BLOCK_BYTES, .user = w};
    w->make_life = n->life;
    w->make_node = n->index;
    w->making = pod_manage(member_pod(n->member), &w->make, made) == 0;
    wake(n);
}

static bool open_at(struct host *h, struct node *n)
{
    struct ps_error err;
    if (h->image && h->node == n->index && h->image_life == n->life)
        return true;
    if (h->image && h->w->nodes[h->node].up && h->image_life == h->w->nodes[h->node].life)
        pod_image_close(h->image);
    h->image = NULL;
    if (pod_image_open(member_pod(n->member), "v", &h->image, &err)) {
        h->image = NULL;
        return false;
    }
    h->node = n->index;
    h->image_life = n->life;
    return true;
}

static void submit(struct host *h, struct node *n, bool is_write, uint32_t block, uint32_t count)
{
    struct world *w = h->w;
    h->is_write = is_write;
    h->block = block;
    h->count = count;
    h->begin = w->now;
    h->op_life = n->life;
    h->io = (struct pod_io){.op = is_write ? POD_WRITE : POD_READ,
                            .image = h->image,
                            .offset = (uint64_t)block * POD_BLOCK_BYTES,
                            .length = (uint64_t)count * POD_BLOCK_BYTES,
                            .buf = h->buf,
                            .user = h};
    for (uint32_t i = 0; is_write && i < count; i++) {
        h->values[i] = ++w->next_value;
        fill_block(h->buf + (size_t)i * POD_BLOCK_BYTES, h->values[i]);
        history_write_begin(w->history, block + i, h->values[i], w->now);
    }
    h->busy = true;
    if (pod_submit(member_pod(n->member), &h->io, io_done)) {
        h->busy = false;
        /* A stale handle after the pod was opened anew. */
        pod_image_close(h->image);
        h->image = NULL;
        again(h, 5 * MS + below(w, 20 * MS));
        return;
    }
    wake(n);
}

void host_turn(struct host *h)
{
    struct world *w = h->w;
    if (h->busy || w->stopping)
        return;
    struct node *n = serving_node(w);
    if (!n) {
        again(h, 5 * MS + below(w, 20 * MS));
        return;
    }
    if (!w->volume_made) {
        make_volume(w, n);
        again(h, 2 * MS);
        return;
    }
    if (!open_at(h, n)) {
        again(h, 5 * MS + below(w, 20 * MS));
        return;
    }
    const uint32_t count = 1 + (uint32_t)below(w, IO_BLOCKS_MAX);
    submit(h, n, chance(w, 3, 5), (uint32_t)below(w, BLOCKS - count + 1), count);
}

bool hosts_idle(const struct world *w)
{
    for (unsigned i = 0; i < HOSTS; i++)
        if (w->hosts[i].busy)
            return false;
    return true;
}

bool final_reads(struct world *w)
{
    struct node *n = serving_node(w);
    if (!n || !w->volume_made)
        return false;
    for (unsigned i = 0; i < HOSTS; i++)
        if (!open_at(&w->hosts[i], n))
            return false;
    for (unsigned i = 0; i < HOSTS; i++) {
        struct host *h = &w->hosts[i];
        submit(h, n, false, i * (BLOCKS / HOSTS), BLOCKS / HOSTS);
    }
    return true;
}

void hosts_init(struct world *w)
{
    for (unsigned i = 0; i < HOSTS; i++) {
        w->hosts[i] = (struct host){.w = w, .index = i};
        w->hosts[i].buf = aligned_alloc(BLKDEV_ALIGN, (size_t)BLOCKS * POD_BLOCK_BYTES);
        assert(w->hosts[i].buf);
        again(&w->hosts[i], below(w, 10 * MS));
    }
}

void hosts_free(struct world *w)
{
    for (unsigned i = 0; i < HOSTS; i++)
        free(w->hosts[i].buf);
}
