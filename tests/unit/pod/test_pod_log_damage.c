/* What rots in the log between a crash and the next opening. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/check.h"
#include "node/pod/pod_impl.h"
#include "tests/support/log_rig.h"

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    BLOCK = 4096,
    DEVICE = 128 * MIB,
    WRITE_BYTES = 64 * KIB,
    WRITES = 6, /* written one after the other: a batch each */
    BAD = 2,    /* of which this one's batch is damaged */
};

struct world {
    struct rig rig;
    uint64_t batch[WRITES]; /* where it begins */
    uint32_t bytes[WRITES];
    unsigned damage, lost, repaired;
};

static void on_event(void *user, const char *kind, uint64_t image, const char *text)
{
    struct world *w = user;
    (void)image;
    (void)text;
    w->damage += strcmp(kind, "log.damage") == 0;
    w->lost += strcmp(kind, "pod.data_loss") == 0;
    w->repaired += strcmp(kind, "pod.repaired") == 0;
}

static void flip(struct rig *rig, uint64_t at)
{
    uint8_t block[BLOCK];
    blkdev_mem_peek(rig->mem, at / BLOCK * BLOCK, block, BLOCK, true);
    block[at % BLOCK] ^= 0x10;
    rig->rotted = true;
    blkdev_mem_poke(rig->mem, at / BLOCK * BLOCK, block, BLOCK);
}

/* The batches lie one behind the other in the log's open segment. */
static void crash(struct world *w)
{
    rig_create(&w->rig, DEVICE, 7);
    w->rig.config.event = on_event;
    w->rig.config.user = w;
    assert_int_equal(rig_open(&w->rig), 0);
    assert_int_equal(rig_create_volume(&w->rig, "v", 4 * MIB), 0);
    rig_settle(&w->rig);
    for (unsigned i = 0; i < WRITES; i++) {
        uint8_t data[WRITE_BYTES];
        const struct position tail = w->rig.pod->tail;
        member_noise(data, WRITE_BYTES, i);
        assert_int_equal(rig_write(&w->rig, "v", i * WRITE_BYTES, data, WRITE_BYTES), 0);
        w->batch[i] = segment_addr(w->rig.pod, tail.segment) + tail.offset;
        w->bytes[i] = w->rig.pod->tail.offset - tail.offset;
        assert_int_equal(w->rig.pod->tail.segment, tail.segment);
    }
    rig_crash(&w->rig, BLKDEV_MEM_KEEP);
}

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct world));
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    if (w->rig.pod)
        rig_close(&w->rig);
    rig_destroy(&w->rig);
    free(w);
    return 0;
}

/* All pieces are as they were written; of the bad one 32 KiB are not read. */
static void read_back(struct world *w)
{
    uint8_t data[WRITE_BYTES], back[WRITE_BYTES];
    for (unsigned i = 0; i < WRITES; i++) {
        member_noise(data, WRITE_BYTES, i);
        for (unsigned half = 0; half < 2; half++) {
            const uint64_t at = half * (WRITE_BYTES / 2);
            const int rc = rig_read(&w->rig, "v", i * WRITE_BYTES + at, back, WRITE_BYTES / 2);
            assert_int_equal(rc, i == BAD && half == 1 ? PS_EDATALOSS : 0);
            if (!rc)
                assert_memory_equal(back, data + at, WRITE_BYTES / 2);
        }
    }
}

static void data_that_rots_in_the_log_costs_no_more_than_itself(void **state)
{
    struct world *w = *state;
    struct pod_scrub_info scrub;
    crash(w);
    flip(&w->rig, w->batch[BAD] + w->bytes[BAD] - BLOCK - 100);
    assert_int_equal(rig_open(&w->rig), 0);
    assert_int_equal(w->damage, 1);
    read_back(w);
    /* A scrub begins by itself, and finds whose it is. */
    do {
        assert_true(rig_step(&w->rig));
        pod_scrub_look(w->rig.pod, &scrub);
    } while (scrub.running);
    assert_int_equal(scrub.passes, 1);
    assert_int_equal(scrub.damaged, 1);
    assert_true(w->lost >= 1);
    rig_settle(&w->rig);
    rig_check(&w->rig);
    rig_close(&w->rig);
    assert_int_equal(rig_open(&w->rig), 0);
    assert_int_equal(w->damage, 1);
    read_back(w);
}

static void several_batches_may_have_rotted(void **state)
{
    struct world *w = *state;
    crash(w);
    for (unsigned i = 1; i < 4; i++)
        flip(&w->rig, w->batch[i] + w->bytes[i] - BLOCK - 100);
    assert_int_equal(rig_open(&w->rig), 0);
    assert_int_equal(w->damage, 3);
    rig_settle(&w->rig);
    rig_check(&w->rig);
}

static void changes_that_rotted_are_not_passed_over(void **state)
{
    struct world *w = *state;
    crash(w);
    flip(&w->rig, w->batch[BAD] + BATCH_HEADER_BYTES + 5);
    assert_int_equal(rig_open(&w->rig), PS_EDATALOSS);
    assert_non_null(strstr(w->rig.error.detail, "of the log is damaged"));
    assert_int_equal(w->damage, 0);
}

/* It was being written when the power failed, for all that anybody knows. */
static void the_last_batch_is_dropped_whatever_of_it_is_damaged(void **state)
{
    struct world *w = *state;
    uint8_t back[BLOCK];
    crash(w);
    flip(&w->rig, w->batch[WRITES - 1] + w->bytes[WRITES - 1] - BLOCK - 100);
    assert_int_equal(rig_open(&w->rig), 0);
    assert_int_equal(w->damage, 0);
    assert_int_equal(rig_read(&w->rig, "v", (WRITES - 1) * WRITE_BYTES, back, BLOCK), 0);
    assert_true(back[0] == 0 && memcmp(back, back + 1, BLOCK - 1) == 0);
}

static void on_open(void *user, int status, struct pod *pod)
{
    struct world *w = user;
    (void)pod;
    w->rig.open_status = status;
    w->rig.opened = true;
}

static void on_found(void *user, const struct survey_finding *finding)
{
    (void)user;
    (void)finding;
}

static void on_done(void *user, struct pod_check_request *request)
{
    (void)request;
    *(bool *)user = true;
}

static void a_check_goes_on_and_tells(void **state)
{
    struct world *w = *state;
    struct pod_stats stats;
    bool done = false;
    struct pod_check_request request = {.records = true, .found = on_found, .done = on_done, .user = &done};
    crash(w);
    flip(&w->rig, w->batch[BAD] + w->bytes[BAD] - BLOCK - 100);
    struct pod_config config = w->rig.config;
    config.check_only = true;
    w->rig.opened = false;
    assert_int_equal(pod_open(w->rig.dev, &config, POD_OPEN_ONLY, on_open, w, &w->rig.error, &w->rig.pod), 0);
    while (!w->rig.opened)
        (void)rig_step(&w->rig);
    assert_int_equal(w->rig.open_status, 0);
    pod_stats(w->rig.pod, &stats);
    assert_int_equal(stats.damaged_batches, 1);
    pod_check(w->rig.pod, &request);
    while (!done)
        (void)rig_step(&w->rig);
    assert_int_equal(request.status, 0);
    assert_int_equal(request.totals.damage, 1);
    pod_destroy(w->rig.pod);
    w->rig.pod = NULL;
}

/* ---- a member */

static int setup_group(void **state)
{
    *state = calloc(1, sizeof(struct group));
    return 0;
}

static int teardown_group(void **state)
{
    group_destroy(*state);
    free(*state);
    return 0;
}

struct pending {
    struct pod_io io;
    struct pod_image *image;
    uint8_t buf[BLOCK];
};

static void on_pending(struct pod_io *io, int status)
{
    (void)io;
    (void)status;
}

/* b has taken all batches of the leader, one when the one before was durable, and crashed; the data of batch
 * `bad` has rotted. */
static struct member *crash_member(struct group *g, uint64_t last, uint64_t bad)
{
    struct member *b = &g->members[1];
    for (uint64_t seq = 1; seq <= last; seq++) {
        assert_int_equal(member_append(b, g->log.at[seq].data, g->log.at[seq].bytes), 0);
        for (int i = 0; i < 60; i++)
            (void)rig_step(&b->rig);
    }
    assert_int_equal(b->durable.seq, last);
    const struct log_entry *e = log_index_get(b->rig.pod->log_index, bad);
    const uint64_t at = segment_addr(b->rig.pod, e->segment) + e->offset + e->bytes - 1;
    member_crash(b, BLKDEV_MEM_LOSE);
    flip(&b->rig, at);
    return b;
}

static void a_member_goes_on_with_a_committed_batch_whose_data_rotted(void **state)
{
    struct group *g = *state;
    struct pod_stats stats;
    struct member *a = group_start(g, 2, DEVICE, 7);
    g->members[1].away = true;
    assert_int_equal(rig_create_volume(&a->rig, "v", 2 * MIB), 0);
    for (uint64_t i = 0; i < 5; i++)
        member_write_noise(a, "v", i * 128 * KIB, 128 * KIB, i);
    struct member *b = crash_member(g, 5, 3);
    assert_int_equal(member_open(b), 0);
    assert_int_equal(b->durable.seq, 5);
    pod_stats(b->rig.pod, &stats);
    assert_int_equal(stats.damaged_batches, 1);
}

/* An opening copies what is not committed, and others may want it. */
static void a_member_does_not_go_on_with_one_that_may_not_be_committed(void **state)
{
    struct group *g = *state;
    static struct pending p[2];
    struct member *a = group_start(g, 2, DEVICE, 7);
    g->members[1].away = true;
    assert_int_equal(rig_create_volume(&a->rig, "v", 2 * MIB), 0);
    member_write_noise(a, "v", 0, BLOCK, 1);
    g->hold_commit = true;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pod_image_open(a->rig.pod, "v", &p[i].image, NULL), 0);
        member_noise(p[i].buf, BLOCK, i + 2);
        p[i].io = (struct pod_io){.op = POD_WRITE,
                                  .image = p[i].image,
                                  .offset = MIB + i * BLOCK,
                                  .length = BLOCK,
                                  .buf = p[i].buf};
        assert_int_equal(pod_submit(a->rig.pod, &p[i].io, on_pending), 0);
        for (int k = 0; k < 100; k++)
            (void)rig_step(&a->rig);
    }
    struct log_id end;
    pod_log_ends(a->rig.pod, NULL, &end);
    struct member *b = crash_member(g, end.seq, end.seq - 1);
    assert_int_equal(member_open(b), PS_EDATALOSS);
    assert_non_null(strstr(b->rig.error.detail, "may not be committed"));
    g->hold_commit = false;
    for (int i = 0; i < 100; i++)
        (void)rig_step(&a->rig);
    for (unsigned i = 0; i < 2; i++)
        pod_image_close(p[i].image);
}

#define TEST(name)   cmocka_unit_test_setup_teardown(name, setup, teardown)
#define MEMBER(name) cmocka_unit_test_setup_teardown(name, setup_group, teardown_group)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(data_that_rots_in_the_log_costs_no_more_than_itself),
        TEST(several_batches_may_have_rotted),
        TEST(changes_that_rotted_are_not_passed_over),
        TEST(the_last_batch_is_dropped_whatever_of_it_is_damaged),
        TEST(a_check_goes_on_and_tells),
        MEMBER(a_member_goes_on_with_a_committed_batch_whose_data_rotted),
        MEMBER(a_member_does_not_go_on_with_one_that_may_not_be_committed),
    };
    return cmocka_run_group_tests_name("pod_log_damage", tests, NULL, NULL);
}
