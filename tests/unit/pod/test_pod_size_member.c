/* Members of a replicated pod that grow, and leave a part of their devices, each for itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>

#include "node/pod/pod_impl.h"
#include "tests/support/log_rig.h"

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    SEGMENT = 2 * MIB,
    SMALL = 40, /* segments */
    LARGE = 64,
    PENDING = 1,
};

struct part {
    uint32_t from, to; /* segments */
    int status;
};

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct group));
    return 0;
}

static int teardown(void **state)
{
    group_destroy(*state);
    free(*state);
    return 0;
}

static bool leaves(void *user, uint64_t offset, uint64_t length)
{
    const struct part *p = user;
    return offset < (uint64_t)p->to * SEGMENT && offset + length > (uint64_t)p->from * SEGMENT;
}

static void on_part(void *user, int status)
{
    ((struct part *)user)->status = status;
}

static void on_status(void *user, int status)
{
    *(int *)user = status;
}

static void wait_status(struct member *m, const int *status)
{
    for (uint64_t n = 0; *status == PENDING; n++) {
        assert_true(rig_step(&m->rig));
        assert_true(n < 2000000);
    }
}

static void begin(struct member *m, struct part *p, uint32_t from, uint32_t to)
{
    *p = (struct part){from, to, PENDING};
    assert_int_equal(pod_vacate(m->rig.pod, leaves, on_part, p, &m->rig.error), 0);
}

/* Where the log's end is. */
static void begin_at_log(struct member *m, struct part *p)
{
    const uint32_t segment = m->rig.pod->tail.segment;
    begin(m, p, segment, segment + 3 < LARGE ? segment + 3 : LARGE);
}

static void write_some(struct member *m, unsigned count, uint64_t seed)
{
    for (unsigned i = 0; i < count; i++)
        member_write_noise(m, "v", (seed * 7 + i) % 60 * 128 * KIB, 128 * KIB, seed * 1000 + i);
}

static struct member *start(struct group *g)
{
    struct member *a = group_start(g, 2, (uint64_t)LARGE * SEGMENT, 3);
    assert_int_equal(rig_create_volume(&a->rig, "v", 16 * MIB), 0);
    write_some(a, 60, 1);
    group_settle(g);
    return a;
}

static void both_leave_parts_while_hosts_write(void **state)
{
    struct group *g = *state;
    struct member *a = start(g), *b = &g->members[1];
    struct part pa, pb;
    pod_log_retain(a->rig.pod, 1);
    begin(a, &pa, 4, 34);
    begin(b, &pb, 20, 50);
    for (uint64_t round = 2; pa.status == PENDING || pb.status == PENDING; round++) {
        write_some(a, 4, round);
        for (int i = 0; i < 100; i++)
            assert_true(rig_step(&b->rig) && rig_step(&a->rig));
        assert_true(round < 3000);
    }
    assert_int_equal(pa.status, 0);
    assert_int_equal(pb.status, 0);
    write_some(a, 30, 5000);
    group_check(g);
    assert_int_equal(pod_vacate_left(a->rig.pod) + pod_vacate_left(b->rig.pod), 0);
    for (uint32_t i = 4; i < 34; i++)
        assert_int_equal(segments_state(a->rig.pod->segments, i), SEGMENT_RETIRED);
}

/* No batch comes to lead the log out. */
static void an_idle_follower_leads_its_log_out(void **state)
{
    struct group *g = *state;
    struct member *a = start(g), *b = &g->members[1];
    struct part p;
    begin_at_log(b, &p);
    wait_status(b, &p.status);
    assert_int_equal(p.status, 0);
    write_some(a, 20, 2);
    group_check(g);
    member_crash(b, BLKDEV_MEM_LOSE);
    assert_int_equal(member_open(b), 0);
    member_catch_up(b, false);
    group_check(g);
}

static void an_idle_leader_leads_its_log_out(void **state)
{
    struct group *g = *state;
    struct member *a = start(g);
    struct part p;
    begin_at_log(a, &p);
    wait_status(a, &p.status);
    assert_int_equal(p.status, 0);
    write_some(a, 20, 2);
    group_check(g);
}

/* Until the log is being led out, as far as `steps` more. */
static void begin_leading_out(struct member *m, struct part *p, unsigned steps)
{
    begin_at_log(m, p);
    while (!restart_holds_log(m->rig.pod))
        assert_true(rig_step(&m->rig));
    for (unsigned i = 0; i < steps && restart_holds_log(m->rig.pod); i++)
        assert_true(rig_step(&m->rig));
}

static void a_follower_may_lead_while_its_log_is_led_out(void **state)
{
    struct group *g = *state;
    struct member *a = start(g), *b = &g->members[1];
    for (unsigned steps = 0; steps < 12; steps++) {
        struct part p;
        write_some(a, 3, 2 + steps);
        group_settle(g);
        begin_leading_out(b, &p, steps);
        member_abandon(a);
        group_lead(g, b);
        write_some(b, 5, 100 + steps);
        wait_status(b, &p.status);
        assert_int_equal(p.status, 0);
        pod_vacate_stop(b->rig.pod);
        assert_int_equal(member_open(a), 0);
        member_catch_up(a, false);
        group_check(g);
        struct member *const other = a;
        a = b;
        b = other;
    }
}

static void a_log_may_be_truncated_while_it_is_led_out(void **state)
{
    struct group *g = *state;
    struct member *a = start(g), *b = &g->members[1];
    for (unsigned steps = 0; steps < 12; steps++) {
        struct part p;
        int status = PENDING;
        write_some(a, 3, 2 + steps);
        group_settle(g);
        begin_leading_out(b, &p, steps);
        assert_int_equal(pod_log_truncate(b->rig.pod, UINT64_MAX, on_status, &status), 0);
        wait_status(b, &status);
        assert_int_equal(status, 0);
        wait_status(b, &p.status);
        assert_int_equal(p.status, 0);
        pod_vacate_stop(b->rig.pod);
        write_some(a, 3, 200 + steps);
        group_check(g);
    }
}

static void what_is_asked_for_outlives_a_reopening(void **state)
{
    struct group *g = *state;
    struct member *a = start(g), *b = &g->members[1];
    struct part p;
    int status = PENDING;
    begin(b, &p, 4, 34);
    pod_reopen(b->rig.pod, on_status, &status);
    wait_status(b, &status);
    assert_int_equal(status, 0);
    pod_log_ends(b->rig.pod, NULL, &b->durable);
    wait_status(b, &p.status);
    assert_int_equal(p.status, 0);
    status = PENDING; /* and so does what is done */
    pod_reopen(b->rig.pod, on_status, &status);
    wait_status(b, &status);
    pod_log_ends(b->rig.pod, NULL, &b->durable);
    member_catch_up(b, false);
    write_some(a, 60, 9);
    group_check(g);
    for (uint32_t i = 4; i < 34; i++)
        assert_int_equal(segments_state(b->rig.pod->segments, i), SEGMENT_RETIRED);
}

static void members_grow_each_for_itself(void **state)
{
    struct group *g = *state;
    int status = PENDING;
    group_create(g, 2, (uint64_t)LARGE * SEGMENT, 5);
    struct member *a = &g->members[0], *b = &g->members[1];
    a->rig.dev->geometry.size_bytes = b->rig.dev->geometry.size_bytes = (uint64_t)SMALL * SEGMENT;
    assert_int_equal(member_open(a), 0);
    assert_int_equal(member_open(b), 0);
    group_lead(g, a);
    assert_int_equal(rig_create_volume(&a->rig, "v", 16 * MIB), 0);
    write_some(a, 60, 1);
    a->rig.dev->geometry.size_bytes = (uint64_t)LARGE * SEGMENT;
    assert_int_equal(pod_grow(a->rig.pod, on_status, &status, NULL), 0);
    write_some(a, 60, 2);
    wait_status(a, &status);
    assert_int_equal(status, 0);
    assert_int_equal(a->rig.pod->segment_count, LARGE);
    write_some(a, 200, 3);
    b->rig.dev->geometry.size_bytes = (uint64_t)LARGE * SEGMENT;
    member_crash(b, BLKDEV_MEM_REORDER);
    assert_int_equal(member_open(b), 0);
    assert_int_equal(b->rig.pod->segment_count, LARGE);
    member_catch_up(b, true);
    write_some(a, 60, 4);
    group_check(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_leave_parts_while_hosts_write, setup, teardown),
        cmocka_unit_test_setup_teardown(an_idle_follower_leads_its_log_out, setup, teardown),
        cmocka_unit_test_setup_teardown(an_idle_leader_leads_its_log_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_follower_may_lead_while_its_log_is_led_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_may_be_truncated_while_it_is_led_out, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_asked_for_outlives_a_reopening, setup, teardown),
        cmocka_unit_test_setup_teardown(members_grow_each_for_itself, setup, teardown),
    };
    cmocka_set_test_filter(getenv("PS_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
