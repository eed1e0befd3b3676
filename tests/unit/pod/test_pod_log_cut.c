/* A follower's life, cut at its first, second, third … device completion, in each way a power cut can leave
 * the device: it follows one leader, drops that one's uncommitted end, follows the next. After each cut it
 * opens, in spite of further ones; nothing beyond what was known to be committed is applied, every batch that
 * was told to be durable is there, nothing that was truncated comes back, and it follows on to the same end.
 *
 *   test_pod_log_cut [FIRST [LAST [STRIDE [MODE]]]]   "0 0 1" for every cut there is */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"
#include "tests/support/log_rig.h"

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    DEVICE = 64 * MIB,
    TOLD_LATE = 4, /* batches between an append and the word that it is committed */
};

static uint64_t first_cut = 1, last_cut, stride = 3, only_mode = BLKDEV_MEM_CUTS;

/* What two leaders made: the first one's log up to its uncommitted end, and the second one's. */
static struct history first, second;
static uint64_t common;                 /* the last batch that both have */
static uint64_t digest_at[HISTORY_MAX]; /* of a member that applied so much of `second` */

static void write_some(struct member *m, const char *name, uint64_t offset, uint64_t bytes, uint64_t seed)
{
    uint8_t *buf = malloc(bytes);
    struct prng p;
    prng_seed(&p, seed);
    prng_fill(&p, buf, bytes);
    assert_int_equal(rig_write(&m->rig, name, offset, buf, bytes), 0);
    free(buf);
}

static void keep(struct history *to, const struct history *from)
{
    for (uint64_t seq = 1; seq <= from->end; seq++)
        history_put(to, &from->at[seq].id, from->at[seq].data, from->at[seq].bytes);
}

static void on_io(struct pod_io *io, int status)
{
    (void)io;
    (void)status;
}

/* Two writes that the first leader never gets committed. */
static void leave_an_uncommitted_end(struct group *g, struct member *a)
{
    static struct pod_io io[2];
    static uint8_t buf[128 * KIB];
    struct pod_image *image;
    struct prng p;
    prng_seed(&p, 99);
    prng_fill(&p, buf, sizeof buf);
    g->hold_commit = g->hold_ship = true;
    assert_int_equal(pod_image_open(a->rig.pod, "v", &image, NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        io[i] = (struct pod_io){
            .op = POD_WRITE, .image = image, .offset = i * MIB, .length = sizeof buf, .buf = buf};
        assert_int_equal(pod_submit(a->rig.pod, &io[i], on_io), 0);
        for (int n = 0; n < 50; n++)
            (void)rig_step(&a->rig);
    }
    assert_int_equal(a->durable.seq, g->commit + 2);
    keep(&first, &g->log);
    common = g->commit;
    member_abandon(a);
    free(image);
    g->hold_commit = g->hold_ship = false;
}

static void make_histories(void)
{
    struct group *g = calloc(1, sizeof *g);
    group_create(g, 2, DEVICE, 1);
    struct member *a = &g->members[0], *b = &g->members[1];
    assert_int_equal(member_open(a), 0);
    assert_int_equal(member_open(b), 0);
    group_lead(g, a);
    assert_int_equal(rig_create_volume(&a->rig, "v", 2 * MIB), 0);
    for (uint64_t i = 0; i < 5; i++)
        write_some(a, "v", i * 100 * KIB + 512 * (i % 2), 120 * KIB, i);
    assert_int_equal(rig_named(&a->rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
    write_some(a, "v", 64 * KIB, 128 * KIB, 2);
    assert_int_equal(rig_range(&a->rig, POD_TRIM, "v", 0, 300 * KIB), 0);
    write_some(a, "v", MIB, 700 * KIB, 8);
    group_settle(g);
    leave_an_uncommitted_end(g, a);
    group_lead(g, b);
    write_some(b, "v", 0, 500 * KIB, 20);
    assert_int_equal(rig_named(&b->rig, POD_CLONE_CREATE, "v@s", "c", 0), 0);
    write_some(b, "c", 10 * KIB, 90 * KIB, 21);
    write_some(b, "v", 0, 500 * KIB, 22);
    assert_int_equal(rig_named(&b->rig, POD_VOLUME_DELETE, "c", NULL, 0), 0);
    assert_int_equal(rig_named(&b->rig, POD_SNAPSHOT_DELETE, "v@s", NULL, 0), 0);
    write_some(b, "v", 600 * KIB, 128 * KIB, 23);
    group_settle(g);
    keep(&second, &g->log);
    group_destroy(g);
    free(g);
}

static struct member *follower_create(struct group *g, uint64_t seed)
{
    group_create(g, 1, DEVICE, seed);
    return &g->members[0];
}

static void make_digests(void)
{
    struct group *g = calloc(1, sizeof *g);
    struct member *m = follower_create(g, 2);
    assert_int_equal(member_open(m), 0);
    digest_at[0] = member_digest(m);
    for (uint64_t seq = 1; seq <= second.end; seq++) {
        assert_int_equal(member_append(m, second.at[seq].data, second.at[seq].bytes), 0);
        pod_log_commit(m->rig.pod, seq);
        member_wait_applied(m, seq);
        digest_at[seq] = member_digest(m);
    }
    rig_check(&m->rig);
    group_destroy(g);
    free(g);
}

/* ---- the life */

struct life {
    struct member *m;
    uint64_t known;    /* the highest batch that the follower may know to be committed */
    bool cutting, cut; /* the truncation was asked for; was done */
};

static bool alive(const struct life *l)
{
    return !l->m->rig.dead;
}

static void tell(struct life *l, uint64_t seq)
{
    if (seq > l->known)
        l->known = seq;
    pod_log_commit(l->m->rig.pod, seq);
}

static bool append(struct life *l, const struct history *h, uint64_t seq)
{
    struct batch_header header;
    assert_int_equal(batch_peek(h->at[seq].data, h->at[seq].bytes, &header), 0);
    if (header.watermark > l->known)
        l->known = header.watermark;
    const int rc = member_append(l->m, h->at[seq].data, h->at[seq].bytes);
    if (!alive(l))
        return false;
    assert_int_equal(rc, 0);
    for (uint64_t n = 0; n < seq % 4; n++)
        if (!rig_step(&l->m->rig))
            return false;
    return true;
}

/* False when the power failed. */
static bool follow(struct life *l, const struct history *h, uint64_t from, uint64_t to, uint64_t committed)
{
    for (uint64_t seq = from; seq <= to; seq++) {
        if (!append(l, h, seq))
            return false;
        if (seq > TOLD_LATE)
            tell(l, seq - TOLD_LATE < committed ? seq - TOLD_LATE : committed);
        if (seq % 6 == 0)
            checkpoint_want(l->m->rig.pod);
    }
    while (l->m->durable.seq < to)
        if (!rig_step(&l->m->rig))
            return false;
    return true;
}

static bool live(struct life *l)
{
    if (member_open(l->m) != 0)
        return false;
    if (!follow(l, &first, 1, first.end, common - 2))
        return false;
    l->cutting = true;
    const int rc = member_truncate(l->m, common);
    if (!alive(l))
        return false;
    assert_int_equal(rc, 0);
    l->cut = true;
    if (!follow(l, &second, common + 1, second.end, second.end))
        return false;
    tell(l, second.end);
    member_wait_applied(l->m, second.end);
    return alive(l);
}

/* ---- after the cut */

static bool is_of(struct member *m, const struct history *h, uint64_t from)
{
    struct log_id id;
    for (uint64_t seq = from; seq <= m->durable.seq; seq++)
        if (seq > h->end || pod_log_id_at(m->rig.pod, seq, &id) || !log_id_equal(&id, &h->at[seq].id))
            return false;
    return true;
}

/* The power fails in the opening, too, at later and later points, until it gets through. */
static int open_with_cuts(struct member *m, enum blkdev_mem_cut mode)
{
    for (uint64_t after = 1;; after += 2) {
        m->rig.cut_after = m->rig.steps + after;
        const int rc = member_open(m);
        if (!m->rig.dead) {
            m->rig.cut_after = 0;
            return rc;
        }
        member_crash(m, mode);
    }
}

static void check(struct life *l, const struct log_id *told, enum blkdev_mem_cut mode)
{
    struct member *m = l->m;
    struct log_id applied, end;
    const int rc = open_with_cuts(m, mode);
    if (rc)
        fail_msg("it does not open: %s: %s", ps_status_name(rc), m->rig.error.detail);
    pod_log_ends(m->rig.pod, &applied, &end);
    if (applied.seq > l->known)
        fail_msg("%llu is applied, %llu is known to be committed", (unsigned long long)applied.seq,
                 (unsigned long long)l->known);
    const uint64_t least = l->cutting && told->seq > common && !l->cut ? common : told->seq;
    if (end.seq < least)
        fail_msg("%llu was durable, the log ends at %llu", (unsigned long long)least,
                 (unsigned long long)end.seq);
    assert_true(is_of(m, l->cut ? &second : &first, applied.seq + 1));
    /* Half of a truncation is none, or all of it. */
    if (l->cutting && !l->cut)
        assert_true(end.seq == common || end.seq == first.end);
    assert_int_equal(member_digest(m), digest_at[applied.seq]);
    rig_check(&m->rig);
    /* What an opening leaves is as good. */
    const struct log_id before = m->durable;
    member_crash(m, mode);
    assert_int_equal(member_open(m), 0);
    assert_true(log_id_equal(&before, &m->durable));

    if (m->durable.seq > common && !l->cut)
        assert_int_equal(member_truncate(m, common), 0);
    pod_log_commit(m->rig.pod, second.end);
    for (uint64_t seq = m->durable.seq + 1; seq <= second.end; seq++)
        assert_int_equal(member_append(m, second.at[seq].data, second.at[seq].bytes), 0);
    member_wait_applied(m, second.end);
    assert_int_equal(member_digest(m), digest_at[second.end]);
    rig_check(&m->rig);
}

/* False: the life ended before the cut. */
static bool play(uint64_t cut, enum blkdev_mem_cut mode, bool random)
{
    struct group *g = calloc(1, sizeof *g);
    struct life l = {.m = follower_create(g, cut)};
    l.m->rig.random = random;
    l.m->rig.cut_after = cut;
    const bool whole = live(&l);
    const struct log_id told = l.m->durable;
    l.m->rig.cut_after = 0;
    if (!whole) {
        member_crash(l.m, mode);
        check(&l, &told, mode);
    } else {
        assert_int_equal(member_digest(l.m), digest_at[second.end]);
    }
    group_destroy(g);
    free(g);
    return !whole;
}

static void every_cut_leaves_a_follower_that_goes_on(void **state)
{
    (void)state;
    uint64_t cut = first_cut, cuts = 0;
    make_histories();
    make_digests();
    for (bool more = true; more && (!last_cut || cut <= last_cut); cut += stride)
        for (int mode = 0; more && mode < BLKDEV_MEM_CUTS; mode++) {
            if (only_mode < BLKDEV_MEM_CUTS && (uint64_t)mode != only_mode)
                continue;
            (void)fflush(stdout);
            more = play(cut, (enum blkdev_mem_cut)mode, (cut + (uint64_t)mode) % 2);
            cuts += more;
        }
    (void)printf("%llu cuts, up to completion %llu\n", (unsigned long long)cuts, (unsigned long long)cut);
}

/* ---- anchors of replication */

static void on_status(void *user, int status)
{
    *(int *)user = status;
}

static bool wait_status(struct member *m, const int *status)
{
    while (*status == 1)
        if (!rig_step(&m->rig))
            return false;
    assert_int_equal(*status, 0);
    return true;
}

struct anchors {
    unsigned written, tried; /* states of replication */
    bool adopting, adopted;
};

/* Adoption, and states written while checkpoints go on. False when the power failed. */
static bool write_anchors(struct member *m, struct anchors *a, const uint8_t pod[16])
{
    if (member_open(m) != 0)
        return false;
    int status = 1;
    a->adopting = true;
    assert_int_equal(pod_log_adopt(m->rig.pod, pod, on_status, &status), 0);
    if (!wait_status(m, &status))
        return false;
    a->adopted = true;
    for (unsigned i = 1; i <= 6; i++) {
        uint8_t data[POD_LOG_PROTOCOL_MAX];
        memset(data, (int)i, sizeof data);
        if (!append(&(struct life){.m = m}, &first, i))
            return false;
        pod_log_commit(m->rig.pod, i);
        member_wait_applied(m, i);
        checkpoint_want(m->rig.pod);
        for (unsigned n = 0; n < i; n++)
            if (!rig_step(&m->rig))
                return false;
        a->tried = i;
        status = 1;
        assert_int_equal(pod_log_protocol_write(m->rig.pod, data, i * 200, on_status, &status), 0);
        if (!wait_status(m, &status))
            return false;
        a->written = i;
    }
    return true;
}

static void check_anchors(struct member *m, const struct anchors *a, const uint8_t pod[16])
{
    const int rc = member_open(m);
    if (rc)
        fail_msg("it does not open: %s: %s", ps_status_name(rc), m->rig.error.detail);
    struct pod_log_identity id;
    pod_log_identity(m->rig.pod, &id);
    const bool adopted = memcmp(id.pod, pod, 16) == 0;
    assert_true(adopted ? a->adopting : !a->adopted);
    const void *data;
    const size_t bytes = pod_log_protocol(m->rig.pod, &data);
    assert_true(bytes == a->written * 200 || bytes == a->tried * 200);
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(((const uint8_t *)data)[i], bytes / 200);
    if (adopted) /* its log goes on under that name */
        assert_int_equal(
            member_append(m, first.at[m->durable.seq + 1].data, first.at[m->durable.seq + 1].bytes), 0);
}

static void every_cut_leaves_an_old_or_a_new_anchor(void **state)
{
    (void)state;
    uint8_t pod[16];
    memset(pod, 0x5a, sizeof pod);
    bool more = true;
    if (first.end == 0)
        make_histories();
    for (uint64_t cut = 1; more; cut++)
        for (int mode = 0; more && mode < BLKDEV_MEM_CUTS; mode++) {
            struct group *g = calloc(1, sizeof *g);
            struct anchors a = {0};
            struct member *m = follower_create(g, cut);
            memset(m->rig.config.pod_id, 0x11, 16);
            /* A device that tears anchors. */
            const struct blkdev_mem_options options = {
                .size_bytes = DEVICE, .max_io_bytes = MIB, .write_unit = 512};
            blkdev_destroy(m->rig.mem);
            m->rig.mem = m->rig.dev = blkdev_mem_create(&options);
            assert_int_equal(member_open(m), 0); /* what a cut leaves of a format is not the matter here */
            member_abandon(m);
            m->rig.cut_after = m->rig.steps + cut;
            more = !write_anchors(m, &a, pod);
            m->rig.cut_after = 0;
            member_crash(m, (enum blkdev_mem_cut)mode);
            check_anchors(m, &a, pod);
            group_destroy(g);
            free(g);
        }
    history_cut(&first, 0);
    history_cut(&second, 0);
}

int main(int argc, char **argv)
{
    uint64_t *const numbers[] = {&first_cut, &last_cut, &stride, &only_mode};
    for (int i = 1; i < argc && i <= 4; i++)
        *numbers[i - 1] = strtoull(argv[i], NULL, 0);
    if (stride == 0)
        stride = 1;
    if (first_cut == 0)
        first_cut = 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_cut_leaves_a_follower_that_goes_on),
                                       cmocka_unit_test(every_cut_leaves_an_old_or_a_new_anchor)};
    return cmocka_run_group_tests_name("pod_log_cut", tests, NULL, NULL);
}
