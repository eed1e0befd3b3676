/* Hosts' requests when the primary that they were passed on to changes, is lost, falls silent or denies them,
 * or the machine slept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/hosts_rig.h"

static void requests_wait_two_and_a_half_seconds_for_a_primary_and_no_longer(void **state)
{
    (void)state;
    struct host_image *image = hosts_open_at(1, "v");
    uint8_t data[4096] = {1};
    struct hosts_ask a[3];
    hosts_lead(NOBODY);
    hosts_run(10);
    const uint64_t began = hosts_now_ms();
    assert_int_equal(hosts_submit(image, &a[0], POD_WRITE, 0, 4096, data), 0);
    assert_int_equal(hosts_submit(image, &a[1], POD_READ, 0, 4096, data), 0);
    hosts_run(1000);
    assert_int_equal(hosts_submit(image, &a[2], POD_FLUSH, 0, 0, NULL), 0);
    hosts_run(1490);
    assert_false(a[0].done || a[1].done);
    hosts_run(20);
    assert_true(a[0].done && a[1].done && !a[2].done);
    assert_int_equal(a[0].status, PS_ENOTPRIMARY);
    assert_int_equal(a[1].status, PS_ENOTPRIMARY);
    assert_in_range(a[0].ended_ms - began, 2500, 2510);
    hosts_lead(0); /* in time for the third */
    hosts_run(100);
    assert_true(a[2].done && a[2].status == 0);
    assert_int_equal(hosts_count(0, POD_WRITE), 0);
    hosts_close_image(image);
}

static void what_waits_goes_to_this_node_when_it_leads_in_order(void **state)
{
    (void)state;
    struct host_image *image = hosts_open_at(1, "v");
    uint8_t data[4096] = {1}, back[4096];
    struct hosts_ask a[4];
    hosts_lead(NOBODY);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(hosts_submit(image, &a[i], POD_WRITE, i * 4096, 4096, data), 0);
        hosts_run(100);
    }
    hosts_lead(1);
    hosts_run(20);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(a[i].done && a[i].status == 0);
        assert_int_equal(hosts_order[i], i);
    }
    assert_int_equal(hosts_count(1, POD_WRITE), 4);
    assert_int_equal(hosts_ask(image, POD_READ, 0, 4096, back), 0);
    assert_memory_equal(back, data, 4096);
    assert_int_equal(hosts_count(1, POD_READ), 1);
    hosts_close_image(image);
}

static void when_the_pod_is_handed_over_requests_follow_it_there_and_back(void **state)
{
    (void)state;
    struct host_image *image = hosts_open_at(0, "v");
    uint8_t data[4096] = {1}, back[4096];
    struct hosts_ask a[3];
    assert_int_equal(hosts_ask(image, POD_WRITE, 0, 4096, data), 0);
    for (int round = 0; round < 3; round++) {
        const int to = round % 2 == 0, from = !to;
        const uint64_t before = hosts_count(to, POD_WRITE);
        /* The former primary's pod has them, and has begun none. */
        pod_fake_hold(hosts->nodes[from].pod, true);
        assert_int_equal(hosts_submit(image, &a[0], POD_WRITE, 4096, 4096, data), 0);
        assert_int_equal(hosts_submit(image, &a[1], POD_READ, 4096, 4096, back), 0);
        assert_int_equal(hosts_submit(image, &a[2], POD_FLUSH, 0, 0, NULL), 0);
        hosts_run(5);
        hosts_lead(to);
        pod_fake_hold(hosts->nodes[from].pod, false);
        hosts_run(200);
        for (int i = 0; i < 3; i++)
            assert_true(a[i].done && a[i].status == 0);
        assert_int_equal(hosts_count(to, POD_WRITE), before + 1);
        assert_int_equal(back[0], 1);
    }
    hosts_close_image(image);
}

static void a_write_that_the_former_primary_may_have_done_is_not_sent_again(void **state)
{
    (void)state;
    struct host_image *far = hosts_open_at(1, "v"), *near = hosts_open_at(0, "v");
    uint8_t data[4096] = {1};
    pod_fake_fail_next(hosts->nodes[0].pod, PS_EUNAVAILABLE);
    assert_int_equal(hosts_ask(far, POD_WRITE, 0, 4096, data), PS_EUNAVAILABLE);
    pod_fake_fail_next(hosts->nodes[0].pod, PS_EUNAVAILABLE);
    assert_int_equal(hosts_ask(near, POD_WRITE, 0, 4096, data), PS_EUNAVAILABLE);
    assert_int_equal(hosts_count(0, POD_WRITE), 0);
    hosts_close_image(far);
    hosts_close_image(near);
}

static void
after_a_lost_connection_reads_are_asked_again_and_writes_end_when_they_can_do_no_harm(void **state)
{
    (void)state;
    struct host_image *image = hosts_open_at(1, "v");
    uint8_t data[4096] = {1}, back[4096];
    struct hosts_ask w, r, later;
    hosts_run(500);
    pod_fake_hold(hosts->nodes[0].pod, true);
    assert_int_equal(hosts_submit(image, &w, POD_WRITE, 0, 4096, data), 0);
    assert_int_equal(hosts_submit(image, &r, POD_READ, 4096, 4096, back), 0);
    hosts_run(5);
    const uint64_t broke = hosts_now_ms();
    rpc_mem_break(hosts->net, "n1", "n2");
    pod_fake_hold(hosts->nodes[0].pod, false);
    hosts_run(20);
    /* Behind what may still arrive by the old connection nothing is sent by the new one. */
    assert_int_equal(hosts_submit(image, &later, POD_WRITE, 0, 4096, data), 0);
    hosts_run(1500);
    assert_false(w.done || r.done || later.done);
    hosts_run(1000);
    assert_true(w.done && w.status == PS_EUNAVAILABLE);
    assert_in_range(w.ended_ms - broke, 1800, 2150);
    assert_true(r.done && r.status == 0);
    assert_true(later.done && later.status == 0);
    assert_int_equal(hosts_count(0, POD_READ), 2);
    hosts_close_image(image);
}

static void a_lost_write_ends_at_once_when_its_primary_is_dead_or_another_leads(void **state)
{
    (void)state;
    struct host_image *image = hosts_open_at(1, "v");
    uint8_t data[4096] = {1};
    struct hosts_ask w;
    for (int dead = 0; dead < 2; dead++) {
        pod_fake_hold(hosts->nodes[0].pod, true);
        assert_int_equal(hosts_submit(image, &w, POD_WRITE, 0, 4096, data), 0);
        hosts_run(5);
        if (dead) {
            /* Its host refuses, as after a kill. */
            rpc_mem_break(hosts->net, "n1", "n2");
            pod_fake_hold(hosts->nodes[0].pod, false);
            hosts_stop_serving(&hosts->nodes[0]);
        } else {
            rpc_mem_break(hosts->net, "n1", "n2");
            hosts_lead(1);
            pod_fake_hold(hosts->nodes[0].pod, false);
        }
        hosts_run(100);
        assert_true(w.done && w.status == PS_EUNAVAILABLE);
        if (!dead) {
            assert_int_equal(hosts_ask(image, POD_WRITE, 0, 4096, data), 0);
            assert_int_equal(hosts_count(1, POD_WRITE), 1);
            hosts_lead(0);
            hosts_run(50);
            assert_int_equal(hosts_ask(image, POD_WRITE, 0, 4096, data), 0);
        }
    }
    hosts_close_image(image);
}

static void where_a_refusal_proves_nothing_a_lost_write_ends_when_it_can_do_no_harm(void **state)
{
    (void)state;
    struct host_image *image = hosts_open_at(1, "v");
    uint8_t data[4096] = {1};
    struct hosts_ask w;
    hosts_run(500);
    pod_fake_hold(hosts->nodes[0].pod, true);
    assert_int_equal(hosts_submit(image, &w, POD_WRITE, 0, 4096, data), 0);
    hosts_run(5);
    const uint64_t broke = hosts_now_ms();
    rpc_mem_break(hosts->net, "n1", "n2");
    pod_fake_hold(hosts->nodes[0].pod, false);
    hosts_stop_serving(&hosts->nodes[0]);
    hosts_run(2500);
    assert_true(w.done && w.status == PS_EUNAVAILABLE);
    assert_in_range(w.ended_ms - broke, 1800, 2150);
    hosts_close_image(image);
}

static void a_primary_that_falls_silent_is_given_up(void **state)
{
    (void)state;
    struct host_image *image = hosts_open_at(1, "v");
    uint8_t data[4096] = {1}, back[4096];
    struct hosts_ask w, r;
    hosts_run(300);
    rpc_mem_cut(hosts->net, "n1", "n2", true);
    assert_int_equal(hosts_submit(image, &w, POD_WRITE, 0, 4096, data), 0);
    assert_int_equal(hosts_submit(image, &r, POD_READ, 0, 4096, back), 0);
    hosts_run(2700);
    assert_true(w.done && w.status == PS_EUNAVAILABLE);
    /* The host repeats it elsewhere, and writes something else then. */
    data[0] = 2;
    struct host_image *near = hosts_open_at(0, "v");
    assert_int_equal(hosts_ask(near, POD_WRITE, 0, 4096, data), 0);
    /* What was on its way arrives now, or never. */
    rpc_mem_cut(hosts->net, "n1", "n2", false);
    hosts_run(3000);
    assert_true(r.done);
    assert_int_equal(hosts_ask(near, POD_READ, 0, 4096, back), 0);
    assert_int_equal(back[0], 2);
    assert_int_equal(hosts_ask(image, POD_READ, 0, 4096, back), 0);
    assert_int_equal(back[0], 2);
    hosts_close_image(near);
    hosts_close_image(image);
}

static void a_broken_image_takes_nothing_until_it_is_opened_anew(void **state)
{
    (void)state;
    struct host_image *image = hosts_open_at(1, "v");
    uint8_t data[4096] = {1};
    struct hosts_ask w;
    hosts_lead(NOBODY);
    assert_int_equal(hosts_submit(image, &w, POD_WRITE, 0, 4096, data), 0);
    hosts_run(10);
    host_images_break(hosts->nodes[1].images);
    assert_int_equal(hosts->nodes[1].broken, 1);
    hosts_lead(0);
    hosts_run(50);
    assert_true(w.done && w.status == PS_ENOTPRIMARY);
    assert_int_equal(hosts_ask(image, POD_READ, 0, 4096, data), PS_ENOTPRIMARY);
    assert_int_equal(hosts_count(0, POD_WRITE), 0);
    hosts_close_image(image);
    image = hosts_open_at(1, "v");
    assert_int_equal(hosts_ask(image, POD_READ, 0, 4096, data), 0);
    hosts_close_image(image);
}

/* Whoever waited for it has given up, and has perhaps written elsewhere. */
static void what_waited_while_the_machine_slept_is_not_sent_any_more(void **state)
{
    (void)state;
    uint8_t data[4096] = {1};
    struct hosts_ask w, late;
    for (int linked = 0; linked < 2; linked++) {
        struct hosts_node *n = &hosts->nodes[1];
        struct host_image *image = hosts_open_at(1, "v");
        n->broken = 0;
        if (!linked) { /* no connection either */
            hosts_lead(1);
            hosts_run(50);
        }
        hosts_lead(NOBODY);
        hosts_run(50);
        assert_int_equal(hosts_submit(image, &w, POD_WRITE, 0, 4096, data), 0);
        hosts_run(300);
        n->slept_ns += 1900 * MS;
        hosts_run(300);
        assert_false(w.done);
        assert_int_equal(n->broken, 0);
        n->slept_ns += 2100 * MS;
        hosts_lead(0);
        hosts_run(50);
        assert_int_equal(n->broken, 1);
        assert_true(w.done && w.status == PS_ENOTPRIMARY);
        assert_int_equal(hosts_submit(image, &late, POD_WRITE, 0, 4096, data), PS_ENOTPRIMARY);
        assert_int_equal(hosts_count(0, POD_WRITE), 0);
        hosts_close_image(image);
        hosts_run(50);
    }
    /* When nothing waits, and nobody has an image open elsewhere, sleep does no harm. */
    hosts->nodes[1].slept_ns += 5000 * MS;
    struct host_image *image = hosts_open_at(1, "v");
    assert_int_equal(hosts_ask(image, POD_WRITE, 0, 4096, data), 0);
    hosts_close_image(image);
}

static void requests_that_are_given_up_end_soon_and_the_rest_goes_on(void **state)
{
    (void)state;
    struct host_image *image = hosts_open_at(1, "v");
    uint8_t data[4096] = {1};
    struct hosts_ask a[4];
    pod_fake_hold(hosts->nodes[0].pod, true);
    assert_int_equal(hosts_submit(image, &a[0], POD_WRITE, 0, 4096, data), 0);
    assert_int_equal(hosts_submit(image, &a[1], POD_WRITE, 4096, 4096, data), 0);
    hosts_run(5);
    host_image_cancel(image, &a[0].io);
    hosts_run(5);
    assert_true(a[0].done && a[0].status == PS_ECANCELLED && !a[1].done);
    pod_fake_hold(hosts->nodes[0].pod, false);
    hosts_run(20);
    assert_true(a[1].done && a[1].status == 0);
    hosts_lead(NOBODY);
    assert_int_equal(hosts_submit(image, &a[2], POD_WRITE, 0, 4096, data), 0);
    assert_int_equal(hosts_submit(image, &a[3], POD_WRITE, 4096, 4096, data), 0);
    host_image_cancel(image, &a[2].io);
    assert_false(a[2].done);
    hosts_run(5);
    assert_true(a[2].done && a[2].status == PS_ECANCELLED && !a[3].done);
    host_image_cancel_all(image);
    hosts_run(5);
    assert_true(a[3].done && a[3].status == PS_ECANCELLED);
    hosts_close_image(image);
}

#define T(name) cmocka_unit_test_setup_teardown(name, hosts_setup, hosts_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(requests_wait_two_and_a_half_seconds_for_a_primary_and_no_longer),
        T(what_waits_goes_to_this_node_when_it_leads_in_order),
        T(when_the_pod_is_handed_over_requests_follow_it_there_and_back),
        T(a_write_that_the_former_primary_may_have_done_is_not_sent_again),
        T(after_a_lost_connection_reads_are_asked_again_and_writes_end_when_they_can_do_no_harm),
        T(a_lost_write_ends_at_once_when_its_primary_is_dead_or_another_leads),
        cmocka_unit_test_setup_teardown(
            where_a_refusal_proves_nothing_a_lost_write_ends_when_it_can_do_no_harm, hosts_setup_doubt,
            hosts_teardown),
        T(a_primary_that_falls_silent_is_given_up),
        T(a_broken_image_takes_nothing_until_it_is_opened_anew),
        T(what_waited_while_the_machine_slept_is_not_sent_any_more),
        T(requests_that_are_given_up_end_soon_and_the_rest_goes_on),
    };
    return cmocka_run_group_tests_name("host_image_lost", tests, NULL, NULL);
}
