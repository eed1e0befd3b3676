#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "node/host/catalog_uv.h"
#include "node/pod/pod_log.h"

/* A pod that only knows the names of its images: all that the catalog asks it. */
struct pod {
    unsigned count; /* images "v0000", "v0001" … with ids from 1 */
    uint64_t log_seq;
};

int pod_image_after(struct pod *pod, const char *name, struct pod_image_info *out)
{
    const unsigned next = name[0] ? (unsigned)atoi(name + 1) + 1 : 0;
    if (next >= pod->count)
        return PS_ENOTFOUND;
    *out = (struct pod_image_info){.id = next + 1, .size_bytes = 4096};
    (void)snprintf(out->name, sizeof out->name, "v%04u", next);
    return 0;
}

void pod_stats(struct pod *pod, struct pod_stats *out)
{
    *out = (struct pod_stats){.log_seq = pod->log_seq};
}

void pod_log_identity(const struct pod *pod, struct pod_log_identity *out)
{
    (void)pod;
    *out = (struct pod_log_identity){.pod = {7, [15] = 9}};
}

struct fixture {
    char dir[40], path[64];
    uv_loop_t loop;
    struct catalog_service *service;
    struct pod pod;
    int compared, compare_status, answered, stopped;
};

static struct catalog *open_catalog(struct fixture *f)
{
    struct catalog *c;
    struct ps_error err;
    if (catalog_open(f->path, &c, &err))
        fail_msg("%s", err.detail);
    return c;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/pstorage-test-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    (void)snprintf(f->path, sizeof f->path, "%s/catalog.db", f->dir);
    uv_loop_init(&f->loop);
    assert_int_equal(catalog_service_start(&f->loop, open_catalog(f), "default", &f->service), 0);
    *state = f;
    return 0;
}

static void count(void *user)
{
    ++*(int *)user;
}

/* Ends the service; what it was told is then in the file. */
static void stop(struct fixture *f)
{
    catalog_service_detach(f->service);
    catalog_service_stop(f->service, count, &f->stopped);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->stopped, 1);
    f->service = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->service)
        stop(f);
    const int rc = uv_loop_close(&f->loop);
    static const char *const parts[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[80];
        (void)snprintf(path, sizeof path, "%s%s", f->path, parts[i]);
        (void)unlink(path);
    }
    (void)rmdir(f->dir);
    free(f);
    return rc;
}

static void compared(void *user, int status)
{
    struct fixture *f = user;
    f->compared++;
    f->compare_status = status;
}

static void attach(struct fixture *f)
{
    f->compared = 0;
    catalog_service_attach(f->service, &f->pod, compared, f);
    while (!f->compared)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(f->compare_status, 0);
}

static unsigned images(struct catalog *c)
{
    struct pod_image_info i = {.name = ""};
    unsigned n = 0;
    while (catalog_image_after(c, "default", i.name, &i) == 0)
        n++;
    return n;
}

static void at_the_start_the_catalog_becomes_what_the_pod_holds(void **state)
{
    struct fixture *f = *state;
    f->pod = (struct pod){.count = 300, .log_seq = 42}; /* three pieces */
    attach(f);
    stop(f);
    struct catalog *c = open_catalog(f);
    assert_int_equal(images(c), 300);
    assert_int_equal(catalog_stamp(c, "default"), 42);
    uint8_t id[16];
    assert_true(catalog_pod_id(c, "default", id));
    assert_true(id[0] == 7 && id[15] == 9);
    /* The next start finds fewer. */
    assert_int_equal(catalog_service_start(&f->loop, c, "default", &f->service), 0);
    f->pod = (struct pod){.count = 128, .log_seq = 50}; /* exactly one piece, then an empty one */
    f->stopped = 0;
    attach(f);
    stop(f);
    c = open_catalog(f);
    assert_int_equal(images(c), 128);
    assert_int_equal(catalog_stamp(c, "default"), 50);
    catalog_close(c);
}

static void changes_are_followed_and_move_the_stamp(void **state)
{
    struct fixture *f = *state;
    attach(f);
    struct pod_image_info i = {.id = 9, .name = "new", .size_bytes = 1};
    catalog_service_image_changed(f->service, 100, 9, &i);
    i.id = 10;
    (void)snprintf(i.name, sizeof i.name, "other");
    catalog_service_image_changed(f->service, 101, 10, &i);
    i.name[0] = '\0';
    catalog_service_image_changed(f->service, 102, 9, &i);
    stop(f);
    struct catalog *c = open_catalog(f);
    struct event events[4];
    size_t told;
    uint64_t last;
    assert_int_equal(catalog_list_events(c, 0, events, 4, &told, &last), 0);
    assert_int_equal(told, 3);
    assert_string_equal(events[0].text, "volume new created, 1 B");
    assert_string_equal(events[2].text, "volume new deleted");
    assert_int_equal(catalog_image_after(c, "default", "", &i), 0);
    assert_string_equal(i.name, "other");
    assert_int_equal(images(c), 1);
    assert_int_equal(catalog_stamp(c, "default"), 102);
    catalog_close(c);
}

static void a_change_before_the_comparison_does_not_claim_completeness(void **state)
{
    struct fixture *f = *state;
    const struct pod_image_info i = {.id = 9, .name = "new", .size_bytes = 1};
    catalog_service_image_changed(f->service, 100, 9, &i);
    stop(f);
    struct catalog *c = open_catalog(f);
    assert_int_equal(images(c), 1);
    assert_int_equal(catalog_stamp(c, "default"), 0);
    catalog_close(c);
}

static void answered(struct event_query *q, int status)
{
    assert_true(status == 0 || status == PS_EUNAVAILABLE);
    count(q->user);
}

struct watcher {
    struct event_watch watch;
    int changes;
};

static void noticed(struct event_watch *watch)
{
    container_of(watch, struct watcher, watch)->changes++;
}

static void events_are_written_told_and_read_back(void **state)
{
    struct fixture *f = *state;
    struct event_source *source = catalog_service_events(f->service);
    struct watcher w = {.watch.changed = noticed};
    list_push_back(&source->watches, &w.watch.link);
    catalog_service_pod_event(f->service, "volume.created", 7, "volume a was created");
    catalog_service_node_event(f->service, "node.started", "node n1 started");
    while (!w.changes)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    struct event events[4];
    struct event_query q = {.events = events, .max = 4, .cb = answered, .user = &f->answered};
    assert_int_equal(source->list(source, &q), 0);
    assert_int_equal(f->answered, 0); /* never inside the call */
    while (!f->answered)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(q.count, 2);
    assert_string_equal(events[0].kind, "volume.created");
    assert_string_equal(events[0].pod, "default");
    assert_int_equal(events[0].image_id, 7);
    assert_string_equal(events[1].pod, "");
    assert_int_equal(q.last_cursor, events[1].cursor);
    assert_true(events[0].time_unix_ns > 1700000000ull * 1000000000);
    list_remove(&w.watch.link);
}

struct asked {
    struct event_query query;
    int number, *next;
};

static void answered_in_order(struct event_query *q, int status)
{
    struct asked *a = container_of(q, struct asked, query);
    assert_int_equal(status, 0);
    assert_int_equal(a->number, *a->next);
    ++*a->next;
}

static void any_number_of_questions_is_answered_in_their_order(void **state)
{
    struct fixture *f = *state;
    enum {
        MANY = 500
    };
    struct event_source *source = catalog_service_events(f->service);
    struct asked *a = calloc(MANY, sizeof *a);
    int next = 0;
    for (int i = 0; i < MANY; i++) {
        a[i] = (struct asked){.query.cb = answered_in_order, .number = i, .next = &next};
        assert_int_equal(source->list(source, &a[i].query), 0);
    }
    while (next < MANY)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    free(a);
}

static void the_end_answers_every_question(void **state)
{
    struct fixture *f = *state;
    enum {
        MANY = 100
    };
    struct event_source *source = catalog_service_events(f->service);
    struct event_query *q = calloc(MANY, sizeof *q);
    for (int i = 0; i < MANY; i++) {
        q[i] = (struct event_query){.cb = answered, .user = &f->answered};
        assert_int_equal(source->list(source, &q[i]), 0);
    }
    stop(f);
    assert_int_equal(f->answered, MANY);
    free(q);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(at_the_start_the_catalog_becomes_what_the_pod_holds),
        T(changes_are_followed_and_move_the_stamp),
        T(a_change_before_the_comparison_does_not_claim_completeness),
        T(events_are_written_told_and_read_back),
        T(any_number_of_questions_is_answered_in_their_order),
        T(the_end_answers_every_question),
    };
    log_set_level(LOG_WARN);
    return cmocka_run_group_tests_name("catalog", tests, NULL, NULL);
}
