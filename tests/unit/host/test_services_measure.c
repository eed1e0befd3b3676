#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "pstorage/v1/analytics.pb-c.h"
#include "services_world.h"

#define ANALYTICS &pstorage__v1__analytics__descriptor

enum {
    BLOCK = 4096
};

static struct answer a;
static _Alignas(4096) uint8_t data[33 * BLOCK];

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

static const Pstorage__V1__MeasureResponse *ask(struct services_world *w, size_t bytes, uint32_t extent)
{
    Pstorage__V1__MeasureRequest request = PSTORAGE__V1__MEASURE_REQUEST__INIT;
    request.extent_blocks = extent;
    answer_free(&a);
    a.request.payload = bytes ? data : NULL;
    a.request.payload_bytes = bytes;
    return call(w, &a, ANALYTICS, "Measure", &request.base);
}

static void each_block_is_told_what_it_takes(void **state)
{
    struct services_world *w = *state;
    memset(data, 0, sizeof data);
    data[BLOCK] = 7; /* the second is no pattern */
    const uint32_t extents[] = {0, 1, 2, 3, 100};
    for (size_t i = 0; i < sizeof extents / sizeof extents[0]; i++) {
        const Pstorage__V1__MeasureResponse *r = ask(w, 3 * BLOCK, extents[i]);
        assert_int_equal(a.status, 0);
        assert_true(r->n_kinds == 3 && r->n_stored_bytes == 3 && r->n_keys == 3);
        assert_int_equal(r->kinds[0], PSTORAGE__V1__MEASURED_KIND__MEASURED_KIND_PATTERN);
        assert_int_equal(r->kinds[1], PSTORAGE__V1__MEASURED_KIND__MEASURED_KIND_NEW);
        assert_int_equal(r->kinds[2], PSTORAGE__V1__MEASURED_KIND__MEASURED_KIND_PATTERN);
        assert_true(r->stored_bytes[0] == 0 && r->stored_bytes[1] == 4096);
        assert_true(r->keys[0] == 0 && r->keys[1] == 7);
    }
    assert_int_equal(ask(w, 32 * BLOCK, 8)->n_kinds, 32);
}

static void what_is_no_whole_number_of_blocks_or_too_much_is_refused(void **state)
{
    struct services_world *w = *state;
    const size_t bytes[] = {0, 512, BLOCK + 1, 33 * BLOCK};
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        (void)ask(w, bytes[i], 8);
        assert_int_equal(a.status, PS_EINVAL);
        assert_non_null(strstr(a.detail, "1 to 32 blocks"));
    }
}

static void a_pod_that_is_being_opened_measures_nothing(void **state)
{
    struct services_world *w = *state;
    pod_fake_set_opening(w->pod, true);
    (void)ask(w, BLOCK, 0);
    assert_int_equal(a.status, PS_EUNAVAILABLE);
    pod_fake_set_opening(w->pod, false);
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_WORLD(each_block_is_told_what_it_takes),
        IN_WORLD(what_is_no_whole_number_of_blocks_or_too_much_is_refused),
        IN_WORLD(a_pod_that_is_being_opened_measures_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
