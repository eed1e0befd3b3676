/* Hosts: each waits for one request at a time, at whichever node says that it serves, and not for ever. What
 * they see goes into the history. */
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

static void note_read(const struct host_op *op)
{
    struct world *w = op->host->w;
    for (uint32_t i = 0; i < op->count; i++) {
        uint64_t value;
        if (!block_value(op->buf + (size_t)i * POD_BLOCK_BYTES, &value)) {
            fail(w, SIM_HISTORY, "block %u: a read returned what nobody ever wrote as a block",
                 op->block + i);
            return;
        }
        history_read(w->history, op->block + i, value, op->begin, w->now);
    }
    w->result->reads++;
}

static void note_write(const struct host_op *op)
{
    struct world *w = op->host->w;
    if (op->begin > w->last_write_begin_ns)
        w->last_write_begin_ns = op->begin;
    for (uint32_t i = 0; i < op->count; i++)
        history_write_end(w->history, op->block + i, op->values[i], w->now);
    w->result->writes++;
    if (w->faults && w->last_write_ns && w->now - w->last_write_ns > w->result->longest_outage_ns)
        w->result->longest_outage_ns = w->now - w->last_write_ns;
    w->last_write_ns = w->now;
}

/* Some member is small, has a device that was full, or much was written. */
static bool may_fill(const struct world *w)
{
    bool may = w->filler.wanted > 0;
    for (unsigned i = 0; i < w->node_count; i++)
        may |= w->nodes[i].ever_failed || w->scenario->disk_bytes[i] < SCENARIO_DISK_BYTES;
    return may;
}

/* Hosts ask again, elsewhere. */
static bool is_explained(struct world *w, const struct node *n, int status)
{
    switch (status) {
    case PS_EFULL:
        w->result->full++;
        w->last_full_ns = w->now;
        return may_fill(w);
    case PS_EUNAVAILABLE:
    case PS_ENOTPRIMARY:
    case PS_ENOTFOUND:
        return true;
    case PS_EIO:
        return n->ever_failed;
    case PS_EDATALOSS:
        return may_be_damaged(n) && (n->lost_page || !w->last_reads || !has_a_sound_copy(w));
    default:
        return false;
    }
}

static void io_done(struct pod_io *io, int status)
{
    struct host_op *op = io->user;
    struct host *h = op->host;
    struct world *w = h->w;
    const bool waits = h->current == op;
    trace(w, "host %u: %s of %u+%u at %s: %s%s", h->index, op->is_write ? "write" : "read", op->block,
          op->count, w->nodes[op->node].name, ps_status_name(status), waits ? "" : ", too late");
    /* What comes too late was not seen; it was done all the same, maybe. */
    if (status == 0 && waits)
        op->is_write ? note_write(op) : note_read(op);
    else if (status && !is_explained(w, &w->nodes[op->node], status))
        fail(w, SIM_ANSWER, "host %u: %s failed with %s", h->index, op->is_write ? "a write" : "a read",
             ps_status_name(status));
    op->host = NULL;
    if (op->is_write)
        h->doubtful &= ~(1u << op->node);
    if (!waits)
        return;
    h->current = NULL;
    w->result->unanswered += status != 0;
    again(h, status ? 20 * MS + prng_below(&w->loads, 50 * MS) : prng_below(&w->loads, 6 * MS));
}

void host_node_dies(struct host *h, unsigned node)
{
    if (h->images[node])
        pod_image_close(h->images[node]);
    h->images[node] = NULL;
    h->doubtful &= ~(1u << node);
    for (int i = 0; i < HOST_OPS; i++) {
        struct host_op *op = &h->ops[i];
        if (!op->host || op->node != node)
            continue;
        op->host = NULL;
        if (h->current != op)
            continue;
        h->current = NULL;
        h->w->result->unanswered++;
        again(h, 20 * MS + prng_below(&h->w->loads, 50 * MS));
    }
}

static bool serves(const struct node *n)
{
    struct replica_info info;
    if (!n->up || !n->opened || stands_still(n))
        return false;
    (void)look(n, &info);
    return info.role == REPLICA_LEADING;
}

/* One that says that it serves; NULL: none. */
struct node *serving_node(struct world *w)
{
    const unsigned from = (unsigned)prng_below(&w->loads, w->node_count);
    for (unsigned i = 0; i < w->node_count; i++)
        if (serves(&w->nodes[(from + i) % w->node_count]))
            return &w->nodes[(from + i) % w->node_count];
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
    struct pod_image **image = &h->images[n->index];
    if (!*image && pod_image_open(member_pod(n->member), "v", image, &err))
        *image = NULL;
    return *image;
}

/* A handle of before the pod was opened anew. */
static void close_at(struct host *h, unsigned node)
{
    for (int i = 0; i < HOST_OPS; i++)
        if (h->ops[i].host && h->ops[i].node == node)
            return;
    pod_image_close(h->images[node]);
    h->images[node] = NULL;
}

static struct host_op *free_op(struct host *h)
{
    for (int i = 0; i < HOST_OPS; i++)
        if (!h->ops[i].host)
            return &h->ops[i];
    return NULL;
}

static void submit(struct host *h, struct node *n, bool is_write, uint32_t block, uint32_t count)
{
    struct world *w = h->w;
    struct host_op *op = free_op(h);
    if (!op) {
        again(h, 5 * MS + prng_below(&w->loads, 20 * MS));
        return;
    }
    op->is_write = is_write;
    op->node = n->index;
    op->block = block;
    op->count = count;
    op->begin = w->now;
    op->serial = ++h->serial;
    op->io = (struct pod_io){.op = is_write ? POD_WRITE : POD_READ,
                             .image = h->images[n->index],
                             .offset = (uint64_t)block * POD_BLOCK_BYTES,
                             .length = (uint64_t)count * POD_BLOCK_BYTES,
                             .buf = op->buf,
                             .user = op};
    for (uint32_t i = 0; is_write && i < count; i++) {
        op->values[i] = ++w->next_value;
        fill_block(op->buf + (size_t)i * POD_BLOCK_BYTES, op->values[i]);
        history_write_begin(w->history, block + i, op->values[i], w->now);
    }
    if (pod_submit(member_pod(n->member), &op->io, io_done)) {
        close_at(h, n->index);
        again(h, 5 * MS + prng_below(&w->loads, 20 * MS));
        return;
    }
    op->host = h;
    h->current = op;
    /* Some are patient. */
    at(w, w->now + 10 * MS + prng_below(&w->loads, prng_chance(&w->loads, 3, 4) ? 100 * MS : 3 * SECOND),
       EVENT_HOST, h->index, op->serial, NULL);
    wake(n);
}

void host_turn(struct host *h, uint64_t serial)
{
    struct world *w = h->w;
    if (serial) {
        if (w->stopping || !h->current || h->current->serial != serial)
            return;
        if (h->current->is_write)
            h->doubtful |= 1u << h->current->node;
        h->current = NULL;
        w->result->unanswered++;
    }
    if (h->current || w->stopping)
        return;
    if (w->load_off) {
        again(h, 20 * MS);
        return;
    }
    struct node *n = serving_node(w);
    if (!n) {
        again(h, 5 * MS + prng_below(&w->loads, 20 * MS));
        return;
    }
    if (!w->volume_made) {
        make_volume(w, n);
        again(h, 2 * MS);
        return;
    }
    if (!open_at(h, n)) {
        again(h, 5 * MS + prng_below(&w->loads, 20 * MS));
        return;
    }
    const uint32_t count = 1 + (uint32_t)prng_below(&w->loads, IO_BLOCKS_MAX);
    /* Where a write stays without an answer it does not send more of them. */
    submit(h, n, !(h->doubtful & 1u << n->index) && prng_chance(&w->loads, 3, 5),
           (uint32_t)prng_below(&w->loads, BLOCKS - count + 1), count);
}

bool hosts_idle(const struct world *w)
{
    for (unsigned i = 0; i < HOSTS; i++)
        if (w->hosts[i].current)
            return false;
    return true;
}

bool final_reads(struct world *w)
{
    struct node *n = serving_node(w);
    if (!n || !w->volume_made)
        return false;
    w->last_reads = true;
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
        for (int k = 0; k < HOST_OPS; k++) {
            uint8_t *buf = aligned_alloc(BLKDEV_ALIGN, (size_t)BLOCKS / HOSTS * POD_BLOCK_BYTES);
            assert(buf);
            w->hosts[i].ops[k].buf = buf;
        }
        again(&w->hosts[i], prng_below(&w->loads, 10 * MS));
    }
}

void hosts_free(struct world *w)
{
    for (unsigned i = 0; i < HOSTS; i++)
        for (int k = 0; k < HOST_OPS; k++)
            free(w->hosts[i].ops[k].buf);
}
