#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "node/pod/image_use.h"
#include "pstorage/v1/status.pb-c.h"
#include "services_world.h"

#define MIB    (1ull << 20)
#define STATUS &pstorage__v1__status__descriptor

static struct answer a;

static int setup(void **state)
{
    a = (struct answer){0};
    return world_setup(state);
}

static int teardown(void **state)
{
    answer_free(&a);
    return world_teardown(state);
}

/* A request that takes so long. */
static void use(struct services_world *w, const char *name, enum image_use_op op, uint64_t us)
{
    struct pod_image_info info;
    struct image_use_stamp stamp;
    assert_int_equal(pod_image_by_name(w->pod, name, &info), 0);
    struct image_use *counted = image_uses_open(w->uses, info.id, info.size_bytes);
    image_use_begin(counted, &stamp, op, 0, op == IMAGE_USE_FLUSH ? 0 : 4096);
    image_uses_turn(w->uses, 1000);
    image_uses_turned(w->uses);
    image_uses_turn(w->uses, 1000 + us * 1000);
    image_use_end(&stamp, true);
    image_uses_turned(w->uses);
    image_use_close(counted);
}

static const Pstorage__V1__GetLatencyResponse *ask(struct services_world *w, const char *volume,
                                                   const char *token, uint32_t page)
{
    Pstorage__V1__GetLatencyRequest request = PSTORAGE__V1__GET_LATENCY_REQUEST__INIT;
    request.volume = (char *)(uintptr_t)volume;
    request.page_token = (char *)(uintptr_t)token;
    request.page_size = page;
    answer_free(&a);
    return call(w, &a, STATUS, "GetLatency", &request.base);
}

static void a_volume_tells_what_occurred(void **state)
{
    struct services_world *w = *state;
    pod_fake_volume(w->pod, "a", MIB);
    use(w, "a", IMAGE_USE_WRITE, 3);
    use(w, "a", IMAGE_USE_WRITE, 100);
    use(w, "a", IMAGE_USE_FLUSH, 5000);
    const Pstorage__V1__GetLatencyResponse *r = ask(w, "a", "", 0);
    assert_int_equal(a.status, 0);
    assert_int_equal(r->n_volumes, 1);
    assert_string_equal(r->volumes[0]->name, "a");
    assert_string_equal(r->volumes[0]->pod, "default");
    assert_int_equal(r->volumes[0]->n_operations, 2);
    const Pstorage__V1__OperationLatency *o = r->volumes[0]->operations[0];
    assert_int_equal(o->operation, PSTORAGE__V1__OPERATION__OPERATION_WRITE);
    assert_int_equal(o->sum_ns, 103000);
    assert_int_equal(o->n_counts, 8); /* up to 64 to 128 us */
    assert_int_equal(o->counts[2], 1);
    assert_int_equal(o->counts[7], 1);
    o = r->volumes[0]->operations[1];
    assert_int_equal(o->operation, PSTORAGE__V1__OPERATION__OPERATION_FLUSH);
    assert_int_equal(o->sum_ns, 5000000);
}

static void only_volumes_that_are_counted_are_listed_page_by_page(void **state)
{
    struct services_world *w = *state;
    char name[8], token[POD_FULL_NAME_MAX + 1] = "";
    unsigned seen = 0;
    for (int i = 8; i >= 0; i--) { /* by name, whatever the ids */
        (void)snprintf(name, sizeof name, "v%d", i);
        pod_fake_volume(w->pod, name, MIB);
        if (i % 2)
            use(w, name, IMAGE_USE_READ, 10);
    }
    pod_fake_snapshot(w->pod, "v1@s");
    for (int pages = 0; pages < 5; pages++) {
        const Pstorage__V1__GetLatencyResponse *r = ask(w, "", token, 2);
        assert_int_equal(a.status, 0);
        for (size_t i = 0; i < r->n_volumes; i++) {
            (void)snprintf(name, sizeof name, "v%u", 2 * seen++ + 1);
            assert_string_equal(r->volumes[i]->name, name);
        }
        (void)snprintf(token, sizeof token, "%s", r->next_page_token);
        if (!token[0])
            break;
    }
    assert_int_equal(seen, 4);
    assert_string_equal(token, "");
}

static void what_is_wrong_is_said(void **state)
{
    struct services_world *w = *state;
    char token[200];
    pod_fake_volume(w->pod, "idle", MIB);
    (void)ask(w, "absent", "", 0);
    assert_int_equal(a.status, PS_ENOTFOUND);
    assert_non_null(strstr(a.detail, "absent"));
    (void)ask(w, "no/name", "", 0);
    assert_int_equal(a.status, PS_EINVAL);
    memset(token, 'x', sizeof token - 1);
    token[sizeof token - 1] = '\0';
    (void)ask(w, "", token, 0);
    assert_int_equal(a.status, PS_EINVAL);
    /* Nothing counted is no error. */
    assert_int_equal(ask(w, "idle", "", 0)->n_volumes, 0);
    assert_int_equal(a.status, 0);
}

static void the_primary_is_asked_where_it_is_wanted(void **state)
{
    struct services_world *w = *state;
    Pstorage__V1__GetLatencyRequest request = PSTORAGE__V1__GET_LATENCY_REQUEST__INIT;
    pod_fake_volume(w->pod, "a", MIB);
    use(w, "a", IMAGE_USE_READ, 10);
    w->elsewhere = true;
    assert_int_equal(ask(w, "a", "", 0)->n_volumes, 1);
    request.volume = (char *)(uintptr_t) "a";
    request.of_primary = true;
    answer_free(&a);
    (void)call(w, &a, STATUS, "GetLatency", &request.base);
    assert_int_equal(a.status, PS_ECANCELLED); /* this is how this world sends on */
    assert_string_equal(a.detail, "Status/GetLatency");
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_volume_tells_what_occurred),
        IN_WORLD(only_volumes_that_are_counted_are_listed_page_by_page),
        IN_WORLD(what_is_wrong_is_said),
        IN_WORLD(the_primary_is_asked_where_it_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
