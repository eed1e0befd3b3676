/* When an operation ends: its transfer on the channel, its work on the die.
 *
 * A channel is given out in the order of submission. A program is transferred, then its die works; a read the
 * other way round. A die does one thing after the other, except that operations of one kind on the same page
 * of different planes, queued before it begins with them, are one (a multi-plane command). */
#include <assert.h>

#include "common/nand/nand_impl.h"

void nand_time_init(struct nand *n)
{
    for (unsigned i = 0; i < NAND_DIES_MAX; i++) {
        n->dies[i] = (struct die){.free_ns = n->now_ns};
        list_init(&n->dies[i].ops);
    }
    for (unsigned i = 0; i < NAND_CHANNELS_MAX; i++)
        n->channel_free_ns[i] = n->now_ns;
}

static uint32_t plane_of(const struct nand *n, uint32_t block)
{
    return block / n->config.geometry.blocks;
}

static uint32_t die_of(const struct nand *n, uint32_t block)
{
    return plane_of(n, block) / n->config.geometry.planes;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t transfer_ns(const struct nand *n, const struct nand_op *op)
{
    const uint64_t rate = n->config.timing.channel_mb_s;
    return rate ? (uint64_t)op->sectors * NAND_SECTOR_BYTES * 1000 / rate : 0;
}

/* The end of a transfer that may begin at `from`. */
static uint64_t transfer(struct nand *n, const struct nand_op *op, uint64_t from)
{
    uint64_t *free_ns = &n->channel_free_ns[die_of(n, op->block) / n->config.geometry.dies];
    *free_ns = later(*free_ns, from) + transfer_ns(n, op);
    return *free_ns;
}

static uint64_t work_ns(const struct nand *n, enum nand_kind kind)
{
    const struct nand_timing *t = &n->config.timing;
    return kind == NAND_READ ? t->read_ns : kind == NAND_PROGRAM ? t->program_ns : t->erase_ns;
}

static bool joins(const struct nand *n, const struct die *d, const struct nand_op *op, uint32_t page,
                  uint32_t plane)
{
    return !list_empty(&d->ops) && d->last.kind == op->kind && d->last.page == page &&
           !(d->last.planes & 1u << plane) && d->last.start_ns >= n->now_ns;
}

/* The group begins, and ends, later: programs wait for the last of their transfers. */
static void move_group(struct die *d, uint64_t start_ns, uint64_t end_ns)
{
    d->last.start_ns = start_ns;
    d->last.end_ns = end_ns;
    for (struct list_node *node = d->ops.prev; node != &d->ops; node = node->prev) {
        struct nand_op *op = container_of(node, struct nand_op, link);
        if (op->group != d->last.id)
            return;
        op->start_ns = start_ns;
        op->end_ns = end_ns;
    }
}

void nand_time_plan(struct nand *n, struct nand_op *op)
{
    struct die *d = &n->dies[die_of(n, op->block)];
    const uint32_t plane = plane_of(n, op->block) % n->config.geometry.planes;
    const uint32_t page = op->kind == NAND_ERASE ? 0 : op->sector / n->page_sectors;
    const uint64_t ready = op->kind == NAND_PROGRAM ? transfer(n, op, n->now_ns) : n->now_ns;
    if (!joins(n, d, op, page, plane)) {
        d->last.kind = op->kind;
        d->last.page = page;
        d->last.planes = 0;
        d->last.id = ++n->groups;
        d->last.start_ns = later(ready, d->free_ns);
        n->control.stats.busy_ns += work_ns(n, op->kind);
    }
    d->last.planes |= 1u << plane;
    op->group = d->last.id;
    op->start_ns = d->last.start_ns;
    list_push_back(&d->ops, &op->link);
    if (op->kind == NAND_READ) {
        d->last.end_ns = op->end_ns = transfer(n, op, d->last.start_ns + work_ns(n, op->kind));
    } else {
        const uint64_t start = later(ready, d->last.start_ns);
        move_group(d, start, start + work_ns(n, op->kind));
    }
    d->free_ns = later(d->free_ns, d->last.end_ns);
}

static struct nand_op *head_of(const struct die *d)
{
    return list_empty(&d->ops) ? NULL : container_of(d->ops.next, struct nand_op, link);
}

static struct nand_op *next_op(const struct nand *n)
{
    struct nand_op *next = NULL;
    const uint32_t dies = n->config.geometry.channels * n->config.geometry.dies;
    for (uint32_t i = 0; i < dies; i++) {
        struct nand_op *op = head_of(&n->dies[i]);
        if (op && (!next || op->end_ns < next->end_ns))
            next = op;
    }
    return next;
}

uint64_t nand_next(const struct nand *n)
{
    const struct nand_op *op = next_op(n);
    return op ? op->end_ns : UINT64_MAX;
}

uint64_t nand_last(const struct nand *n)
{
    uint64_t last = n->now_ns;
    for (uint32_t i = 0; i < n->config.geometry.channels * n->config.geometry.dies; i++)
        list_for_each(node, &n->dies[i].ops) last =
            later(last, container_of(node, struct nand_op, link)->end_ns);
    return last;
}

struct nand_op *nand_time_take(struct nand *n, uint64_t now_ns)
{
    struct nand_op *op = next_op(n);
    if (!op || op->end_ns > now_ns)
        return NULL;
    list_remove(&op->link);
    if (now_ns != UINT64_MAX)
        n->now_ns = later(n->now_ns, op->end_ns);
    return op;
}

void nand_time_delay(struct nand *n, uint32_t block, uint64_t ns)
{
    struct die *d = &n->dies[die_of(n, block)];
    list_for_each(node, &d->ops)
    {
        struct nand_op *op = container_of(node, struct nand_op, link);
        op->start_ns += ns;
        op->end_ns += ns;
    }
    d->last.start_ns += ns;
    d->last.end_ns += ns;
    d->free_ns = later(d->free_ns, n->now_ns) + ns;
    n->control.stats.busy_ns += ns;
}

void nand_time_redirect(struct nand *n, uint32_t from, uint32_t to)
{
    list_for_each(node, &n->dies[die_of(n, from)].ops)
    {
        struct nand_op *op = container_of(node, struct nand_op, link);
        if (op->block == from && op->kind == NAND_PROGRAM)
            op->block = to;
    }
}

void nand_set_timing(struct nand *n, const struct nand_timing *timing)
{
    assert(nand_next(n) == UINT64_MAX && "nothing is under way");
    n->config.timing = *timing;
}

void nand_set_time(struct nand *n, uint64_t now_ns)
{
    assert(now_ns >= n->now_ns && "time does not go back");
    n->now_ns = now_ns;
}

uint64_t nand_time(const struct nand *n)
{
    return n->now_ns;
}
