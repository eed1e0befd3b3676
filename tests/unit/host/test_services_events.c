#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "pstorage/v1/events.pb-c.h"
#include "services_world.h"

#define EVENTS &pstorage__v1__events__descriptor

static struct answer a;

static int setup(void **state)
{
    a = (struct answer){0};
    return world_setup(state);
}

static int teardown(void **state)
{
    const int failed = world_teardown(state);
    answer_free(&a);
    return failed;
}

static void many_events(struct services_world *w, size_t count)
{
    for (size_t i = 0; i < count; i++)
        world_event(w, "a line of some length that says what happened, as events do");
}

static void follow(struct services_world *w, uint64_t after, bool from_now)
{
    Pstorage__V1__FollowEventsRequest request = PSTORAGE__V1__FOLLOW_EVENTS_REQUEST__INIT;
    request.after_cursor = after;
    request.from_now = from_now;
    start(w, &a, EVENTS, "Follow", &request.base);
}

static void stop(struct services_world *w)
{
    rpc_client_cancel(w->client, &a.request);
    world_run(w, 5);
    assert_int_equal(a.status, PS_ECANCELLED);
}

static void assert_cursors(uint64_t first, size_t count)
{
    assert_int_equal(a.ncursors, count);
    for (size_t i = 0; i < count; i++)
        assert_true(a.cursors[i] == first + i);
}

static void events_are_listed_after_a_cursor(void **state)
{
    struct services_world *w = *state;
    Pstorage__V1__ListEventsRequest request = PSTORAGE__V1__LIST_EVENTS_REQUEST__INIT;
    many_events(w, 150);
    const Pstorage__V1__ListEventsResponse *response = call(w, &a, EVENTS, "List", &request.base);
    assert_int_equal(response->n_events, SERVICES_PAGE_DEFAULT);
    assert_true(response->events[0]->cursor == 10 && response->last_cursor == 159);
    assert_string_equal(response->events[0]->kind, "test.happened");
    answer_free(&a);
    request.after_cursor = 157;
    response = call(w, &a, EVENTS, "List", &request.base);
    assert_int_equal(response->n_events, 2);
    answer_free(&a);
    request.after_cursor = UINT64_MAX;
    response = call(w, &a, EVENTS, "List", &request.base);
    assert_int_equal(response->n_events, 0);
}

static void a_text_that_was_cut_is_sent_all_the_same(void **state)
{
    struct services_world *w = *state;
    const Pstorage__V1__ListEventsRequest request = PSTORAGE__V1__LIST_EVENTS_REQUEST__INIT;
    world_event(w, "volume gr\xc3");
    const Pstorage__V1__ListEventsResponse *response = call(w, &a, EVENTS, "List", &request.base);
    assert_string_equal(response->events[0]->text, "volume gr?");
}

static void a_source_that_refuses_is_an_error(void **state)
{
    struct services_world *w = *state;
    const Pstorage__V1__ListEventsRequest request = PSTORAGE__V1__LIST_EVENTS_REQUEST__INIT;
    w->refuse_events = PS_ELIMIT;
    (void)call(w, &a, EVENTS, "List", &request.base);
    assert_int_equal(a.status, PS_ELIMIT);
    answer_free(&a);
    follow(w, 0, false);
    world_run(w, 5);
    assert_int_equal(a.status, PS_ELIMIT);
}

static void a_follower_gets_what_was_and_then_what_happens(void **state)
{
    struct services_world *w = *state;
    many_events(w, 3);
    follow(w, 10, false);
    world_run(w, 5);
    assert_cursors(11, 2);
    many_events(w, 1);
    world_run(w, 5);
    assert_cursors(11, 3);
    many_events(w, 2);
    world_run(w, 5);
    assert_cursors(11, 5);
    assert_int_equal(a.count, 0);
    const unsigned questions = w->questions;
    world_run(w, 100);
    assert_int_equal(w->questions, questions); /* nothing polls */
    stop(w);
}

static void a_follower_from_now_gets_only_what_is_new(void **state)
{
    struct services_world *w = *state;
    many_events(w, 50);
    follow(w, 0, true);
    world_run(w, 5);
    assert_int_equal(a.ncursors, 0);
    many_events(w, 2);
    world_run(w, 5);
    assert_cursors(60, 2);
    stop(w);
}

/* The event comes while the question about the end is out: it belongs to now or to the past, but is never
 * doubled. */
static void an_event_during_a_question_is_not_lost(void **state)
{
    struct services_world *w = *state;
    follow(w, 0, false);
    w->hold_events = true;
    world_run(w, 5);
    assert_int_equal(w->nasked, 1);
    /* Answered as of before, told of afterwards. */
    struct event_query *query = w->asked[--w->nasked];
    query->count = 0;
    query->last_cursor = 0;
    many_events(w, 1);
    query->cb(query, PS_OK);
    w->hold_events = false;
    world_run(w, 5);
    assert_cursors(10, 1);
    stop(w);
}

static void a_long_history_is_streamed_without_gaps(void **state)
{
    struct services_world *w = *state;
    many_events(w, 4000);
    follow(w, 0, false);
    world_run(w, 300);
    assert_cursors(10, 4000);
    stop(w);
}

/* While the reader stops, the service stops asking: nothing is queued for it. */
static void a_slow_follower_costs_nothing(void **state)
{
    struct services_world *w = *state;
    follow(w, 0, false);
    world_run(w, 5);
    rpc_mem_cut(w->net, "node", "host", true);
    many_events(w, 4500);
    world_run(w, 200);
    const unsigned questions = w->questions;
    struct rpc_server_stats stats;
    rpc_server_stats(w->server, &stats);
    assert_true(stats.bytes_held < 2 * RPC_STREAM_UNSENT_MAX);
    many_events(w, 100);
    world_run(w, 200);
    assert_int_equal(w->questions, questions);
    rpc_mem_cut(w->net, "node", "host", false);
    world_run(w, 500);
    assert_cursors(10, 4600);
    stop(w);
}

static void a_follower_that_leaves_during_a_question_is_forgotten(void **state)
{
    struct services_world *w = *state;
    w->hold_events = true;
    follow(w, 0, false);
    world_run(w, 5);
    assert_int_equal(w->nasked, 1);
    stop(w);
    assert_true(list_empty(&w->events.watches));
    many_events(w, 1);
    w->hold_events = false;
    world_run(w, 5); /* the answer comes to nobody */
    assert_int_equal(a.ncursors, 0);
}

static void followers_end_with_their_connection(void **state)
{
    struct services_world *w = *state;
    follow(w, 0, false);
    world_run(w, 5);
    assert_false(list_empty(&w->events.watches));
    world_reconnect(w);
    assert_true(list_empty(&w->events.watches));
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(events_are_listed_after_a_cursor),
        IN_WORLD(a_text_that_was_cut_is_sent_all_the_same),
        IN_WORLD(a_source_that_refuses_is_an_error),
        IN_WORLD(a_follower_gets_what_was_and_then_what_happens),
        IN_WORLD(a_follower_from_now_gets_only_what_is_new),
        IN_WORLD(an_event_during_a_question_is_not_lost),
        IN_WORLD(a_long_history_is_streamed_without_gaps),
        IN_WORLD(a_slow_follower_costs_nothing),
        IN_WORLD(a_follower_that_leaves_during_a_question_is_forgotten),
        IN_WORLD(followers_end_with_their_connection),
    };
    return cmocka_run_group_tests_name("services: events", tests, NULL, NULL);
}
