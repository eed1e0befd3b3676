/* One end of a TCP connection is a link of the real transport, the other a plain socket, which does what no
 * client of ours would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/rpc/transport.h"
#include "common/rpc/transport_nng.h"

struct end {
    uv_loop_t loop;
    uv_timer_t timer;
    struct rpc_transport *transport;
    struct rpc_listener listener;
    struct rpc_link *link;
    uint8_t buf[64 * 1024];
    size_t got; /* by the last receive */
    int status, peer;
    bool received, link_closed, listener_closed, transport_closed, fired;
};

static void on_guard(uv_timer_t *timer)
{
    (void)timer;
    (void)fputs("nothing happened for 20 s\n", stderr);
    abort();
}

#define RUN_UNTIL(e, condition)                                                                              \
    do {                                                                                                     \
        (void)uv_timer_start(&(e)->timer, on_guard, 20000, 0);                                               \
        while (!(condition))                                                                                 \
            (void)uv_run(&(e)->loop, UV_RUN_ONCE);                                                           \
        (void)uv_timer_stop(&(e)->timer);                                                                    \
    } while (0)

static void on_received(struct rpc_link *link, int status, size_t bytes)
{
    struct end *e = link->user;
    assert_false(e->received);
    e->received = true;
    e->status = status;
    e->got = bytes;
}

static void on_closed(struct rpc_link *link)
{
    ((struct end *)link->user)->link_closed = true;
}

static void on_accepted(struct rpc_listener *listener, struct rpc_link *link)
{
    static const struct rpc_link_events events = {.received = on_received, .closed = on_closed};
    struct end *e = container_of(listener, struct end, listener);
    e->link = link;
    link->events = &events;
    link->user = e;
}

static void on_unlistened(struct rpc_listener *listener)
{
    container_of(listener, struct end, listener)->listener_closed = true;
}

static void set(void *user)
{
    *(bool *)user = true;
}

static int setup(void **state)
{
    struct end *e = *state = calloc(1, sizeof *e);
    e->listener = (struct rpc_listener){.accepted = on_accepted, .closed = on_unlistened};
    (void)uv_loop_init(&e->loop);
    (void)uv_timer_init(&e->loop, &e->timer);
    if (rpc_transport_nng_create(&e->loop, &e->transport) != PS_OK ||
        e->transport->ops->listen(e->transport, "tcp://127.0.0.1:0", &e->listener, NULL) != PS_OK)
        return -1;
    const struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)atoi(strrchr(e->listener.address, ':') + 1)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    e->peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(e->peer, (const struct sockaddr *)&to, sizeof to) != 0)
        return -1;
    RUN_UNTIL(e, e->link);
    return 0;
}

static int teardown(void **state)
{
    struct end *e = *state;
    if (!e->link_closed)
        e->link->ops->close(e->link);
    RUN_UNTIL(e, e->link_closed);
    e->transport->ops->unlisten(e->transport, &e->listener);
    RUN_UNTIL(e, e->listener_closed);
    rpc_transport_nng_close(e->transport, set, &e->transport_closed);
    RUN_UNTIL(e, e->transport_closed);
    uv_close((uv_handle_t *)&e->timer, NULL);
    (void)uv_run(&e->loop, UV_RUN_DEFAULT);
    const int left = uv_loop_close(&e->loop);
    if (e->peer >= 0)
        (void)close(e->peer);
    free(e);
    return left;
}

/* Returns the bytes; what came instead is in `status`. */
static size_t receive(struct end *e)
{
    const struct rpc_iov iov = {e->buf, sizeof e->buf};
    e->received = false;
    e->link->ops->recv(e->link, &iov, 1);
    assert_false(e->received); /* never inside the call */
    RUN_UNTIL(e, e->received);
    return e->got;
}

static void hang_up(struct end *e, bool reset)
{
    const struct linger now = {.l_onoff = 1};
    if (reset)
        assert_int_equal(setsockopt(e->peer, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    assert_int_equal(close(e->peer), 0);
    e->peer = -1;
}

static void say(struct end *e, size_t bytes)
{
    static uint8_t data[64 * 1024];
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(i * 7);
    assert_int_equal(send(e->peer, data, bytes, MSG_NOSIGNAL), bytes);
}

static void what_came_before_the_end_is_received(struct end *e, bool reset)
{
    say(e, 20000);
    hang_up(e, reset);
    size_t had = 0;
    for (size_t got; had < 20000; had += got) {
        got = receive(e);
        assert_int_equal(e->status, PS_OK);
        assert_true(got > 0);
        for (size_t i = 0; i < got; i++)
            assert_int_equal(e->buf[i], (uint8_t)((had + i) * 7));
    }
    (void)receive(e);
    assert_int_equal(e->status, PS_EUNAVAILABLE);
}

static void what_came_before_the_peer_closed_is_received(void **state)
{
    what_came_before_the_end_is_received(*state, false);
}

static void what_came_before_a_reset_is_received(void **state)
{
    what_came_before_the_end_is_received(*state, true);
}

static void on_fired(uv_timer_t *timer)
{
    container_of(timer, struct end, timer)->fired = true;
}

/* Rounds of the loop in 30 ms. */
static unsigned rounds_while_idle(struct end *e)
{
    unsigned rounds = 0;
    e->fired = false;
    (void)uv_timer_start(&e->timer, on_fired, 30, 0);
    for (; !e->fired; rounds++)
        (void)uv_run(&e->loop, UV_RUN_ONCE);
    return rounds;
}

static void what_nobody_wants_keeps_the_loop_asleep(void **state)
{
    struct end *e = *state;
    say(e, 1);
    assert_int_equal(receive(e), 1);
    say(e, 5000);
    assert_true(rounds_while_idle(e) < 10);
    assert_int_equal(receive(e), 5000);
    hang_up(e, true);
    assert_true(rounds_while_idle(e) < 10);
    (void)receive(e);
    assert_int_equal(e->status, PS_EUNAVAILABLE);
    assert_true(rounds_while_idle(e) < 10);
}

static void who_waits_for_data_hears_of_a_reset(void **state)
{
    struct end *e = *state;
    const struct rpc_iov iov = {e->buf, sizeof e->buf};
    e->link->ops->recv(e->link, &iov, 1);
    assert_true(rounds_while_idle(e) < 10);
    assert_false(e->received);
    hang_up(e, true);
    RUN_UNTIL(e, e->received);
    assert_int_equal(e->status, PS_EUNAVAILABLE);
}

static void a_half_closed_peer_is_still_answered(void **state)
{
    struct end *e = *state;
    uint8_t byte = 0;
    say(e, 3);
    assert_int_equal(shutdown(e->peer, SHUT_WR), 0);
    assert_int_equal(receive(e), 3);
    (void)receive(e);
    assert_int_equal(e->status, PS_EUNAVAILABLE);
    e->link->ops->close(e->link);
    RUN_UNTIL(e, e->link_closed);
    assert_int_equal(read(e->peer, &byte, 1), 0); /* its other half ends, too */
}

static unsigned descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n;
}

static void a_link_that_is_closed_while_it_waits_leaves_nothing_open(void **state)
{
    struct end *e = *state;
    const struct rpc_iov iov = {e->buf, sizeof e->buf};
    const unsigned before = descriptors();
    say(e, 100); /* it may be about to be received */
    e->link->ops->recv(e->link, &iov, 1);
    e->link->ops->close(e->link);
    RUN_UNTIL(e, e->link_closed);
    assert_false(e->received);
    for (int n = 0; descriptors() >= before; n++) { /* a thread of NNG closes its own */
        assert_true(n < 100000);
        (void)sched_yield();
    }
    uint8_t byte;
    assert_true(read(e->peer, &byte, 1) <= 0);
}

static int finish(void **state)
{
    (void)state;
    rpc_transport_nng_finish();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_came_before_the_peer_closed_is_received, setup, teardown),
        cmocka_unit_test_setup_teardown(what_came_before_a_reset_is_received, setup, teardown),
        cmocka_unit_test_setup_teardown(what_nobody_wants_keeps_the_loop_asleep, setup, teardown),
        cmocka_unit_test_setup_teardown(who_waits_for_data_hears_of_a_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(a_half_closed_peer_is_still_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(a_link_that_is_closed_while_it_waits_leaves_nothing_open, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, finish);
}
