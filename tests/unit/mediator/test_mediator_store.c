/* What the core relies on, of every store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/mediator_store_mem.h"
#include "mediator/mediator_store_sqlite.h"
#include "mediator_rig.h"

struct fixture {
    bool in_file;
    char dir[40], path[64];
    struct mediator_store *store;
    struct mediator_pod loaded[8];
    size_t count;
};

static void open_store(struct fixture *f)
{
    struct ps_error err = {0};
    if (mediator_store_sqlite_open(f->path, &f->store, &err))
        fail_msg("%s", err.detail);
}

static int setup_mem(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const struct uuid id = rig_id(0xee);
    f->store = mediator_store_mem_create(&id);
    *state = f;
    return 0;
}

static int setup_file(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->in_file = true;
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/pstorage-test-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    (void)snprintf(f->path, sizeof f->path, "%s/mediator.db", f->dir);
    open_store(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int rc = 0;
    if (f->in_file) {
        char command[80];
        mediator_store_sqlite_close(f->store);
        (void)snprintf(command, sizeof command, "rm -r '%s'", f->dir);
        rc = system(command);
    } else {
        mediator_store_mem_destroy(f->store);
    }
    free(f);
    return rc;
}

static void reopen(struct fixture *f)
{
    if (!f->in_file)
        return;
    mediator_store_sqlite_close(f->store);
    open_store(f);
}

static int on_pod(void *user, const struct mediator_pod *pod)
{
    struct fixture *f = user;
    assert_true(f->count < 8);
    f->loaded[f->count++] = *pod;
    return 0;
}

static void load(struct fixture *f)
{
    struct ps_error err = {0};
    f->count = 0;
    if (f->store->ops->load(f->store, on_pod, f, &err))
        fail_msg("%s", err.detail);
}

static struct mediator_pod record(unsigned pod, uint64_t epoch)
{
    struct mediator_pod p = {.cluster = "c",
                             .configuration = rig_configuration(pod, epoch, 1, "12"),
                             .request_id = rig_id(0x10),
                             .reported_epoch = epoch + 3,
                             .decisions = epoch};
    return p;
}

static struct mediator_decision decision(uint64_t number)
{
    struct mediator_decision d = {.number = number,
                                  .time_unix_ns = 1700000000000000000ull + number,
                                  .expected_epoch = number - 1,
                                  .epoch = number,
                                  .requester = rig_id(1),
                                  .request_id = rig_id(2),
                                  .verdict = number % 2 ? MEDIATOR_GRANTED : MEDIATOR_HELD_BACK};
    (void)snprintf(d.text, sizeof d.text, "it's \"%u\"", (unsigned)number);
    return d;
}

static int put(struct fixture *f, const struct mediator_pod *pod, const struct mediator_decision *d)
{
    return f->store->ops->apply(f->store, &(struct mediator_update){.pod = pod, .decision = d}, 1, NULL);
}

static void records_come_back_as_they_were(void **state)
{
    struct fixture *f = *state;
    const struct uuid id = f->store->id;
    struct mediator_pod a = record(0xa0, 1), b = record(0xa1, 5);
    assert_false(uuid_is_none(&id));
    load(f);
    assert_int_equal(f->count, 0);
    assert_int_equal(put(f, &a, NULL), 0);
    assert_int_equal(put(f, &b, NULL), 0);
    a.configuration.epoch = 2;
    a.request_id = rig_id(0x11);
    a.decisions = 2;
    strcpy(a.configuration.pod_name, "renamed");
    assert_int_equal(put(f, &a, NULL), 0);
    reopen(f);
    assert_memory_equal(f->store->id.bytes, id.bytes, 16);
    load(f);
    assert_int_equal(f->count, 2);
    const bool swapped = !uuid_equal(&f->loaded[0].configuration.pod, &a.configuration.pod);
    const struct mediator_pod *pa = &f->loaded[swapped], *pb = &f->loaded[!swapped];
    assert_true(configuration_equal(&pa->configuration, &a.configuration));
    assert_true(configuration_equal(&pb->configuration, &b.configuration));
    assert_string_equal(pa->cluster, "c");
    assert_memory_equal(pa->request_id.bytes, a.request_id.bytes, 16);
    assert_int_equal(pb->reported_epoch, 8);
    assert_int_equal(pa->decisions, 2);
}

static void an_update_of_several_pods_is_one(void **state)
{
    struct fixture *f = *state;
    const struct mediator_pod pods[3] = {record(0xa0, 1), record(0xa1, 1), record(0xa2, 1)};
    const struct mediator_update updates[3] = {{.pod = &pods[0]}, {.pod = &pods[1]}, {.pod = &pods[2]}};
    assert_int_equal(f->store->ops->apply(f->store, updates, 3, NULL), 0);
    reopen(f);
    load(f);
    assert_int_equal(f->count, 3);
}

static void decisions_are_read_from_a_number_on_oldest_first(void **state)
{
    struct fixture *f = *state;
    const struct uuid id = rig_id(0xa0);
    struct mediator_decision out[3];
    size_t n = 99;
    for (uint64_t i = 1; i <= 5; i++) {
        const struct mediator_pod p = record(0xa0, i), other = record(0xa1, i);
        const struct mediator_decision d = decision(i);
        assert_int_equal(put(f, &p, &d), 0);
        assert_int_equal(put(f, &other, &d), 0);
    }
    reopen(f);
    assert_int_equal(f->store->ops->history(f->store, &id, 1, out, 3, &n, NULL), 0);
    assert_int_equal(n, 3);
    const struct mediator_decision second = decision(2);
    assert_int_equal(out[0].number, 2);
    assert_int_equal(out[0].time_unix_ns, second.time_unix_ns);
    assert_int_equal(out[0].expected_epoch, 1);
    assert_int_equal(out[0].epoch, 2);
    assert_memory_equal(out[0].requester.bytes, second.requester.bytes, 16);
    assert_memory_equal(out[0].request_id.bytes, second.request_id.bytes, 16);
    assert_int_equal(out[0].verdict, MEDIATOR_HELD_BACK);
    assert_string_equal(out[0].text, second.text);
    assert_int_equal(f->store->ops->history(f->store, &id, 4, out, 3, &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_int_equal(f->store->ops->history(f->store, &id, UINT64_MAX, out, 3, &n, NULL), 0);
    assert_int_equal(n, 0);
}

static void only_the_newest_decisions_are_kept(void **state)
{
    struct fixture *f = *state;
    const struct uuid id = rig_id(0xa0);
    static struct mediator_decision out[MEDIATOR_HISTORY_MAX + 10];
    size_t n = 0;
    for (uint64_t i = 1; i <= MEDIATOR_HISTORY_MAX + 5; i++) {
        const struct mediator_pod p = record(0xa0, i);
        const struct mediator_decision d = decision(i);
        assert_int_equal(put(f, &p, &d), 0);
    }
    assert_int_equal(f->store->ops->history(f->store, &id, 0, out, sizeof out / sizeof out[0], &n, NULL), 0);
    assert_int_equal(n, MEDIATOR_HISTORY_MAX);
    assert_int_equal(out[0].number, 6);
    assert_int_equal(out[n - 1].number, MEDIATOR_HISTORY_MAX + 5);
}

static void forgetting_takes_the_record_and_its_history_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    const struct mediator_pod a = record(0xa0, 1), b = record(0xa1, 1);
    const struct mediator_decision d = decision(1);
    struct mediator_decision out[2];
    size_t n = 99;
    assert_int_equal(put(f, &a, &d), 0);
    assert_int_equal(put(f, &b, &d), 0);
    assert_int_equal(
        f->store->ops->apply(f->store, &(struct mediator_update){.pod = &a, .forget = true}, 1, NULL), 0);
    reopen(f);
    load(f);
    assert_int_equal(f->count, 1);
    assert_int_equal(f->store->ops->history(f->store, &a.configuration.pod, 0, out, 2, &n, NULL), 0);
    assert_int_equal(n, 0);
    assert_int_equal(f->store->ops->history(f->store, &b.configuration.pod, 0, out, 2, &n, NULL), 0);
    assert_int_equal(n, 1);
}

static int stop_loading(void *user, const struct mediator_pod *pod)
{
    (void)pod;
    ++*(int *)user;
    return PS_ELIMIT;
}

static void loading_ends_when_it_is_told_to(void **state)
{
    struct fixture *f = *state;
    const struct mediator_pod a = record(0xa0, 1), b = record(0xa1, 1);
    int calls = 0;
    assert_int_equal(put(f, &a, NULL), 0);
    assert_int_equal(put(f, &b, NULL), 0);
    assert_int_equal(f->store->ops->load(f->store, stop_loading, &calls, NULL), PS_ELIMIT);
    assert_int_equal(calls, 1);
}

int main(void)
{
#define T(name)                                                                                              \
    {"in memory: " #name, name, setup_mem, teardown, NULL},                                                  \
    {                                                                                                        \
        "in a file: " #name, name, setup_file, teardown, NULL                                                \
    }
    const struct CMUnitTest tests[] = {
        T(records_come_back_as_they_were),
        T(an_update_of_several_pods_is_one),
        T(decisions_are_read_from_a_number_on_oldest_first),
        T(only_the_newest_decisions_are_kept),
        T(forgetting_takes_the_record_and_its_history_and_nothing_else),
        T(loading_ends_when_it_is_told_to),
    };
    return cmocka_run_group_tests_name("mediator_store", tests, NULL, NULL);
}
