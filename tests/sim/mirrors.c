/* After all: each member's flash, opened by itself, is sound and holds the same volume. */
#include "node/flash/array.h"
#include "tests/sim/world.h"
#include "tests/support/pod_check.h"

enum {
    STEPS_MAX = 1000000
};

struct alone {
    struct world *w;
    struct node *n;
    struct pod *pod;
    int status;
    bool opened, done;
};

static void alone_opened(void *user, int status, struct pod *pod)
{
    struct alone *a = user;
    (void)pod;
    a->opened = true;
    a->status = status;
}

static void alone_read(struct pod_io *io, int status)
{
    struct alone *a = io->user;
    a->done = true;
    a->status = status;
}

static bool alone_step(void *user)
{
    struct alone *a = user;
    a->w->now += 1000;
    if (a->n->array)
        (void)array_turn(a->n->array, a->w->now);
    if (a->pod)
        (void)pod_turn(a->pod, a->w->now);
    (void)drives_step(a->n);
    return true;
}

static void alone_until(struct alone *a, const bool *flag)
{
    for (int i = 0; i < STEPS_MAX && !*flag; i++)
        (void)alone_step(a);
}

static void alone_sealed(void *user, const struct log_id *id, const void *batch, uint32_t bytes)
{
    (void)user;
    (void)id;
    (void)batch;
    (void)bytes;
}

/* Opens what a member has in flash as a primary that nobody follows. */
static int open_alone(struct alone *a, struct ps_error *err)
{
    static const struct pod_log_events events = {.sealed = alone_sealed};
    const struct pod_config config = {.name = "default",
                                      .memory_budget = POD_MEMORY_MIN,
                                      .dedupe = true,
                                      .compression = true,
                                      .log = &events};
    struct log_id applied, end;
    int rc = drives_open(a->n, err);
    for (int i = 0; i < STEPS_MAX && rc == 0 && a->n->array_status == DRIVES_OPENING; i++)
        (void)drives_step(a->n);
    if (rc || a->n->array_status)
        return rc ? rc : a->n->array_status == DRIVES_OPENING ? PS_EDEADLINE : a->n->array_status;
    if (a->n->array)
        a->n->disk = array_device(a->n->array);
    rc = pod_open(a->n->disk, &config, POD_OPEN_ONLY, alone_opened, a, err, &a->pod);
    if (rc)
        return rc;
    alone_until(a, &a->opened);
    if (!a->opened || a->status)
        return a->opened ? a->status : PS_EDEADLINE;
    pod_log_ends(a->pod, &applied, &end);
    pod_log_commit(a->pod, end.seq);
    for (int i = 0; i < STEPS_MAX && applied.seq != end.seq; i++) {
        (void)alone_step(a);
        pod_log_ends(a->pod, &applied, NULL);
    }
    if (applied.seq != end.seq)
        return PS_EDEADLINE;
    pod_lead(a->pod, 1u << 20);
    return 0;
}

static int read_volume(struct alone *a, uint8_t *buf, struct ps_error *err)
{
    struct pod_io io = {.op = POD_READ, .length = BLOCKS * POD_BLOCK_BYTES, .buf = buf, .user = a};
    int rc = pod_image_open(a->pod, "v", &io.image, err);
    if (rc)
        return rc;
    rc = pod_submit(a->pod, &io, alone_read);
    if (rc == 0) {
        alone_until(a, &a->done);
        rc = a->done ? a->status : PS_EDEADLINE;
    }
    pod_image_close(io.image);
    return rc;
}

static void count(struct alone *a)
{
    char why[200];
    for (int i = 0; i < STEPS_MAX && (drives_pending(a->n) || !pod_check_is_quiet(a->pod)); i++)
        (void)alone_step(a);
    if (pod_check_counts(a->pod, alone_step, a, why, sizeof why))
        return;
    if (may_be_damaged(a->n)) /* of metadata, perhaps in a copy: nobody read it before */
        a->w->result->lost_to_damage = 1;
    else
        fail(a->w, SIM_COUNTS, "%s: %s", a->n->name, why);
}

/* False: it can't be read, for damage. */
static bool read_alone(struct world *w, struct node *n, uint8_t *buf)
{
    struct alone a = {.w = w, .n = n};
    struct ps_error err = {0};
    for (int i = 0; i < STEPS_MAX && drives_pending(n); i++)
        (void)drives_step(n);
    drives_cut(n, BLKDEV_MEM_LOSE);
    node_destroy(n);
    drives_go_missing(n);
    int rc = open_alone(&a, &err);
    if (rc == 0)
        rc = read_volume(&a, buf, &err);
    if (rc && may_be_damaged(n))
        w->result->lost_to_damage = 1;
    else if (rc)
        fail(w, SIM_MIRRORS, "%s can't be read by itself: %s, %s", n->name, ps_status_name(rc), err.detail);
    else
        count(&a);
    drives_cut(n, BLKDEV_MEM_LOSE);
    if (a.pod)
        pod_destroy(a.pod);
    return rc == 0;
}

void compare_mirrors(struct world *w)
{
    uint8_t *first = aligned_alloc(BLKDEV_ALIGN, BLOCKS * POD_BLOCK_BYTES);
    uint8_t *other = aligned_alloc(BLKDEV_ALIGN, BLOCKS * POD_BLOCK_BYTES);
    assert(first && other);
    const struct node *with = NULL;
    for (unsigned i = 0; i < w->node_count && !w->result->failed; i++) {
        struct node *n = &w->nodes[i];
        if (!read_alone(w, n, with ? other : first))
            continue;
        for (unsigned b = 0; with && b < BLOCKS; b++)
            if (memcmp(first + b * POD_BLOCK_BYTES, other + b * POD_BLOCK_BYTES, POD_BLOCK_BYTES) != 0) {
                fail(w, SIM_MIRRORS, "block %u differs between %s and %s", b, with->name, n->name);
                break;
            }
        if (!with)
            with = n;
    }
    free(first);
    free(other);
}
