#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include "common/clock.h"
#include "node/host/reactor_uv.h"
#include <cmocka.h>

/* A pod that counts its turns and asks for the next as the test says. */
struct pod {
    unsigned turns;
    uint64_t next_in_ns; /* UINT64_MAX: never; 0: at once */
    uint64_t last_ns;
};

static uint64_t pod_turn(void *user, uint64_t now_ns)
{
    struct pod *pod = user;
    assert_true(now_ns >= pod->last_ns);
    pod->last_ns = now_ns;
    pod->turns++;
    return pod->next_in_ns == UINT64_MAX ? UINT64_MAX : now_ns + pod->next_in_ns;
}

struct fixture {
    uv_loop_t loop;
    struct reactor *reactor;
    struct pod pod;
    uv_timer_t guard; /* wakes the loop when nothing else does */
    bool guard_fired;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.pod.next_in_ns = UINT64_MAX};
    uv_loop_init(&f.loop);
    uv_timer_init(&f.loop, &f.guard);
    *state = &f;
    return reactor_create(&f.loop, &f.reactor);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    reactor_set_turn(f->reactor, NULL, NULL);
    reactor_close(f->reactor, NULL, NULL);
    uv_close((uv_handle_t *)&f->guard, NULL);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    return uv_loop_close(&f->loop);
}

static void guard_fire(uv_timer_t *timer)
{
    ((struct fixture *)timer->data)->guard_fired = true;
}

static void set_guard(struct fixture *f, uint64_t ms)
{
    f->guard.data = f;
    f->guard_fired = false;
    (void)uv_timer_start(&f->guard, guard_fire, ms, 0);
}

static void a_new_pod_has_a_turn_at_once_and_then_the_loop_rests(void **state)
{
    struct fixture *f = *state;
    reactor_set_turn(f->reactor, pod_turn, &f->pod);
    set_guard(f, 50);
    while (!f->guard_fired)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    /* The first turns (one that sets the pod, one that stops asking again) and those around the guard: no
     * polling. */
    assert_in_range(f->pod.turns, 1, 5);
}

static void a_pod_that_asks_for_a_turn_at_once_has_it(void **state)
{
    struct fixture *f = *state;
    f->pod.next_in_ns = 0;
    reactor_set_turn(f->reactor, pod_turn, &f->pod);
    set_guard(f, 10000);
    for (int i = 0; i < 100; i++)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    assert_false(f->guard_fired);
    assert_in_range(f->pod.turns, 99, 101);
}

static void who_wakes_it_has_a_turn_though_none_was_asked_for(void **state)
{
    struct fixture *f = *state;
    reactor_set_turn(f->reactor, pod_turn, &f->pod);
    for (int i = 0; i < 3; i++)
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    const unsigned turns = f->pod.turns;
    set_guard(f, 10000);
    reactor_wake(f->reactor);
    (void)uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(f->pod.turns, turns + 1);
    assert_false(f->guard_fired);
}

static void a_deadline_is_kept_and_never_early(void **state)
{
    struct fixture *f = *state;
    f->pod.next_in_ns = 5 * NS_PER_MS;
    reactor_set_turn(f->reactor, pod_turn, &f->pod);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    const unsigned turns = f->pod.turns;
    const uint64_t due_ns = f->pod.last_ns + f->pod.next_in_ns;
    set_guard(f, 10000);
    while (f->pod.turns < turns + 2)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    assert_false(f->guard_fired);
    assert_true(f->pod.last_ns >= due_ns);
}

static void follow(void *user)
{
    ++*(unsigned *)user;
}

static void followers_run_after_each_turn_until_they_leave(void **state)
{
    struct fixture *f = *state;
    unsigned a = 0, b = 0;
    f->pod.next_in_ns = 0;
    reactor_follow(f->reactor, follow, &a);
    reactor_follow(f->reactor, follow, &b);
    reactor_set_turn(f->reactor, pod_turn, &f->pod);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(a, f->pod.turns);
    assert_int_equal(b, f->pod.turns);
    reactor_unfollow(f->reactor, follow, &a);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(b, f->pod.turns);
    assert_true(a < b);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_new_pod_has_a_turn_at_once_and_then_the_loop_rests), T(a_pod_that_asks_for_a_turn_at_once_has_it),
        T(who_wakes_it_has_a_turn_though_none_was_asked_for),    T(a_deadline_is_kept_and_never_early),
        T(followers_run_after_each_turn_until_they_leave),
    };
    return cmocka_run_group_tests_name("reactor", tests, NULL, NULL);
}
