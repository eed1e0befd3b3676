/* Two nodes' heartbeats in one process: real threads and connections, and reactors that are held up. Each
 * reactor is a thread that has turns until it is told to stand still, and then waits on a condition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/rpc/transport_nng.h"
#include "node/host/heartbeat_uv.h"
#include <cmocka.h>

#define MS     1000000ull
#define SECOND 1000000000ull

enum {
    PATIENCE_S = 60
};

static const struct uuid pod = {{9}};

struct reactor_thread {
    struct heartbeat_uv *heartbeat;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock. */
    struct replica_view view;
    struct replica_heard heard;
    uint64_t turn_ns, promise_ns; /* last turn; until when it has promised, as it was told */
    bool held_up, stands_still, ends;
};

static struct uuid store(int n)
{
    return (struct uuid){{(uint8_t)n, 77}};
}

static struct replica_view view_of(int who, bool primary)
{
    struct replica_view v = {
        .pod = pod, .store = store(who), .run = 1, .epoch = 3, .ready = primary, .peer_count = 1};
    v.peers[0] = store(3 - who);
    if (!primary)
        v.grants_to = store(3 - who);
    return v;
}

/* Until when what a test waits for has to have come. */
static uint64_t patience(void)
{
    return clock_monotonic_ns() + PATIENCE_S * SECOND;
}

/* With the lock held. Waits for the reactor's next turn. Each turn signals, so it is the limit that ends a
 * wait in vain: it is taken once for what is waited for, and fails the test. */
static void wait_for_change(struct reactor_thread *r, uint64_t limit_ns)
{
    const struct timespec until = {.tv_sec = (time_t)(limit_ns / SECOND),
                                   .tv_nsec = (long)(limit_ns % SECOND)};
    if (clock_monotonic_ns() < limit_ns && pthread_cond_timedwait(&r->changed, &r->lock, &until) == 0)
        return;
    (void)pthread_mutex_unlock(&r->lock); /* the reactor's thread goes on until it is stopped */
    fail_msg("what has to come did not in %d s", PATIENCE_S);
}

static void *run(void *arg)
{
    struct reactor_thread *r = arg;
    (void)pthread_mutex_lock(&r->lock);
    while (!r->ends) {
        while (r->held_up && !r->ends) {
            r->stands_still = true;
            (void)pthread_cond_broadcast(&r->changed);
            (void)pthread_cond_wait(&r->changed, &r->lock);
        }
        r->stands_still = false;
        r->turn_ns = clock_monotonic_ns();
        heartbeat_uv_exchange(r->heartbeat, r->turn_ns, &r->view, &r->heard);
        if (r->heard.promise.until_ns > r->promise_ns)
            r->promise_ns = r->heard.promise.until_ns;
        (void)pthread_cond_broadcast(&r->changed);
        (void)pthread_mutex_unlock(&r->lock);
        (void)sched_yield();
        (void)pthread_mutex_lock(&r->lock);
    }
    (void)pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void start(struct reactor_thread *r, int who, uint64_t stuck_ns)
{
    static const char *const names[] = {"", "n1", "n2"};
    struct ps_error err = {0};
    struct heartbeat_uv_config config = {
        .node_name = names[who],
        .cluster_name = "test",
        .peers = {names[3 - who]},
        .peer_count = 1,
        .listen = "tcp://127.0.0.1:0",
        .options = replica_defaults,
        .now_ns = clock_monotonic_ns,
    };
    config.options.heartbeat_ns = 5 * MS;
    config.options.stuck_ns = stuck_ns;
    *r = (struct reactor_thread){.view = view_of(who, who == 1)};
    assert_int_equal(heartbeat_uv_start(&config, &r->heartbeat, &err), 0);
    (void)pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&r->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    assert_int_equal(pthread_create(&r->thread, NULL, run, r), 0);
    assert_true(heartbeat_uv_port(r->heartbeat) > 0);
}

static void stop(struct reactor_thread *r)
{
    if (!r->heartbeat)
        return;
    (void)pthread_mutex_lock(&r->lock);
    r->ends = true;
    (void)pthread_cond_broadcast(&r->changed);
    (void)pthread_mutex_unlock(&r->lock);
    (void)pthread_join(r->thread, NULL);
    heartbeat_uv_stop(r->heartbeat);
    r->heartbeat = NULL;
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->lock);
}

static void introduce(struct reactor_thread *to, uint16_t port)
{
    char endpoint[64];
    (void)snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", port);
    (void)heartbeat_uv_peer(to->heartbeat, 0, endpoint);
}

struct pair {
    struct reactor_thread a, b;
};

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct pair));
    return 0;
}

/* No assertion is made with a lock held: threads of a test that failed can be stopped, too. */
static int teardown(void **state)
{
    struct pair *p = *state;
    stop(&p->a);
    stop(&p->b);
    free(p);
    return 0;
}

static void start_both(struct reactor_thread *a, struct reactor_thread *b, uint64_t stuck_ns)
{
    start(a, 1, stuck_ns);
    start(b, 2, stuck_ns);
    introduce(a, heartbeat_uv_port(b->heartbeat));
    introduce(b, heartbeat_uv_port(a->heartbeat));
}

static void hold_up(struct reactor_thread *r, bool held_up)
{
    (void)pthread_mutex_lock(&r->lock);
    r->held_up = held_up;
    (void)pthread_cond_broadcast(&r->changed);
    const uint64_t limit_ns = patience();
    while (r->stands_still != held_up)
        wait_for_change(r, limit_ns);
    (void)pthread_mutex_unlock(&r->lock);
}

/* Until the primary was granted `more` further leases; returns the last one's stamp. */
static uint64_t await_leases(struct reactor_thread *a, unsigned more)
{
    (void)pthread_mutex_lock(&a->lock);
    uint64_t stamp = a->heard.peers[0].stamp;
    const uint64_t limit_ns = patience();
    while (more > 0) {
        wait_for_change(a, limit_ns);
        if (a->heard.peers[0].stamp > stamp) {
            stamp = a->heard.peers[0].stamp;
            more--;
        }
    }
    (void)pthread_mutex_unlock(&a->lock);
    return stamp;
}

static uint64_t last_turn(struct reactor_thread *r)
{
    (void)pthread_mutex_lock(&r->lock);
    const uint64_t turn_ns = r->turn_ns;
    (void)pthread_mutex_unlock(&r->lock);
    return turn_ns;
}

static uint64_t last_stamp(struct reactor_thread *a)
{
    (void)pthread_mutex_lock(&a->lock);
    const uint64_t stamp = a->heard.peers[0].stamp;
    (void)pthread_mutex_unlock(&a->lock);
    return stamp;
}

static void leases_go_on_while_the_member_s_reactor_is_held_up_and_it_learns_what_it_promised(void **state)
{
    struct pair *p = *state;
    struct reactor_thread *a = &p->a, *b = &p->b;
    start_both(a, b, 60 * SECOND);
    (void)await_leases(a, 1);
    hold_up(b, true);
    const uint64_t turn_ns = last_turn(b), stamp = await_leases(a, 20);
    assert_true(stamp > turn_ns && last_turn(b) == turn_ns);
    hold_up(b, false);
    (void)pthread_mutex_lock(&b->lock);
    const uint64_t limit_ns = patience();
    while (b->turn_ns == turn_ns)
        wait_for_change(b, limit_ns);
    const uint64_t promise_ns = b->promise_ns, ready_ns = b->heard.peers[0].ready_ns;
    (void)pthread_mutex_unlock(&b->lock);
    /* What A relies on ends before what B knows it has promised. */
    assert_true(promise_ns >= stamp + 1100 * MS);
    assert_true(ready_ns > turn_ns);
}

static void the_primary_asks_for_leases_and_is_heard_while_its_reactor_is_held_up(void **state)
{
    struct pair *p = *state;
    struct reactor_thread *a = &p->a, *b = &p->b;
    start_both(a, b, 60 * SECOND);
    (void)await_leases(a, 1);
    hold_up(a, true);
    const uint64_t turn_ns = last_turn(a);
    (void)pthread_mutex_lock(&b->lock);
    uint64_t limit_ns = patience();
    while (b->promise_ns < turn_ns + 1200 * MS)
        wait_for_change(b, limit_ns);
    (void)pthread_mutex_unlock(&b->lock);
    hold_up(a, false);
    (void)pthread_mutex_lock(&a->lock);
    limit_ns = patience();
    while (a->turn_ns == turn_ns || a->heard.peers[0].stamp < turn_ns + 95 * MS)
        wait_for_change(a, limit_ns);
    (void)pthread_mutex_unlock(&a->lock);
}

static void no_lease_is_granted_once_the_member_has_published_that_it_grants_none(void **state)
{
    struct pair *p = *state;
    struct reactor_thread *a = &p->a, *b = &p->b;
    start_both(a, b, 60 * SECOND);
    (void)await_leases(a, 3);
    (void)pthread_mutex_lock(&b->lock);
    b->view.grants_to = (struct uuid){{0}};
    const uint64_t before = b->turn_ns;
    uint64_t limit_ns = patience();
    while (b->turn_ns == before)
        wait_for_change(b, limit_ns);
    const uint64_t promise_ns = b->promise_ns;
    limit_ns = patience();
    for (int turns = 0; turns < 50; turns++)
        wait_for_change(b, limit_ns);
    const uint64_t after_turns_ns = b->promise_ns, heard_ns = b->heard.peers[0].heard_ns;
    limit_ns = patience();
    while (b->heard.peers[0].heard_ns < heard_ns + 50 * MS)
        wait_for_change(b, limit_ns);
    const uint64_t after_beats_ns = b->promise_ns;
    (void)pthread_mutex_unlock(&b->lock);
    assert_int_equal(after_turns_ns, promise_ns);
    assert_int_equal(after_beats_ns, promise_ns);
    assert_true(last_stamp(a) + 1100 * MS <= promise_ns);
}

static void a_reactor_that_is_held_up_for_too_long_falls_silent(void **state)
{
    struct pair *p = *state;
    struct reactor_thread *a = &p->a, *b = &p->b;
    const uint64_t stuck_ns = 100 * MS;
    start_both(a, b, stuck_ns);
    (void)await_leases(a, 1);
    hold_up(b, true);
    const uint64_t turn_ns = last_turn(b);
    (void)pthread_mutex_lock(&a->lock);
    const uint64_t limit_ns = patience();
    while (a->turn_ns < turn_ns + 3 * stuck_ns)
        wait_for_change(a, limit_ns);
    (void)pthread_mutex_unlock(&a->lock);
    /* The stamp is older than the moment at which B looked whether it may answer. */
    assert_true(last_stamp(a) < turn_ns + stuck_ns);
    hold_up(b, false);
    assert_true(await_leases(a, 1) > turn_ns + stuck_ns);
}

static void a_peer_that_starts_anew_is_found_at_its_new_port(void **state)
{
    struct pair *p = *state;
    struct reactor_thread *a = &p->a, *b = &p->b;
    start_both(a, b, 60 * SECOND);
    (void)await_leases(a, 1);
    stop(b);
    start(b, 2, 60 * SECOND);
    introduce(a, heartbeat_uv_port(b->heartbeat));
    (void)await_leases(a, 2);
}

/* As behind a cut: what is sent arrives nowhere. */
static void a_connection_without_answers_is_replaced(void **state)
{
    struct reactor_thread *a = &((struct pair *)*state)->a;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    const struct timeval limit = {.tv_sec = PATIENCE_S};
    const int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(silent, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0); /* accept's */
    assert_int_equal(bind(silent, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(silent, 8), 0);
    assert_int_equal(getsockname(silent, (struct sockaddr *)&address, &length), 0);
    start(a, 1, 60 * SECOND);
    introduce(a, ntohs(address.sin_port));
    int connections[4];
    for (int i = 0; i < 4; i++) {
        connections[i] = accept(silent, NULL, NULL);
        assert_true(connections[i] >= 0);
    }
    stop(a);
    for (int i = 0; i < 4; i++)
        (void)close(connections[i]);
    (void)close(silent);
}

static void a_port_that_is_taken_is_an_error(void **state)
{
    struct reactor_thread *a = &((struct pair *)*state)->a;
    struct heartbeat_uv *second = NULL;
    struct ps_error err = {0};
    char listen_at[64];
    start(a, 1, 60 * SECOND);
    (void)snprintf(listen_at, sizeof listen_at, "tcp://127.0.0.1:%u", heartbeat_uv_port(a->heartbeat));
    const struct heartbeat_uv_config config = {.node_name = "n9",
                                               .cluster_name = "test",
                                               .listen = listen_at,
                                               .options = replica_defaults,
                                               .now_ns = clock_monotonic_ns};
    assert_int_equal(heartbeat_uv_start(&config, &second, &err), PS_EEXISTS);
    assert_true(err.detail[0] != '\0');
}

static int finish(void **state)
{
    (void)state;
    rpc_transport_nng_finish();
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(leases_go_on_while_the_member_s_reactor_is_held_up_and_it_learns_what_it_promised),
        T(the_primary_asks_for_leases_and_is_heard_while_its_reactor_is_held_up),
        T(no_lease_is_granted_once_the_member_has_published_that_it_grants_none),
        T(a_reactor_that_is_held_up_for_too_long_falls_silent),
        T(a_peer_that_starts_anew_is_found_at_its_new_port),
        T(a_connection_without_answers_is_replaced),
        T(a_port_that_is_taken_is_an_error),
    };
    return cmocka_run_group_tests_name("heartbeats' thread", tests, NULL, finish);
}
