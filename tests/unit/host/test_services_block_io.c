#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "pstorage/v1/block_io.pb-c.h"
#include "services_world.h"

#define MIB      (1ull << 20)
#define BLOCK_IO &pstorage__v1__block_io__descriptor

static struct answer a;
static uint8_t data[RPC_PAYLOAD_MAX + 64 * 1024];

static int setup(void **state)
{
    a = (struct answer){0};
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 31 + i / 4096 + 1);
    const int failed = world_setup(state);
    pod_fake_volume(((struct services_world *)*state)->pod, "v", 16 * MIB);
    return failed;
}

static int teardown(void **state)
{
    answer_free(&a);
    return world_teardown(state);
}

static const Pstorage__V1__OpenResponse *try_open(struct services_world *w, const char *name, bool read_only)
{
    Pstorage__V1__OpenRequest request = PSTORAGE__V1__OPEN_REQUEST__INIT;
    char copy[128];
    strcpy(copy, name);
    request.name = copy;
    request.read_only = read_only;
    answer_free(&a);
    return call(w, &a, BLOCK_IO, "Open", &request.base);
}

static uint64_t open_image(struct services_world *w, const char *name)
{
    const Pstorage__V1__OpenResponse *response = try_open(w, name, false);
    assert_non_null(response);
    return response->handle;
}

static int write_at(struct services_world *w, uint64_t handle, uint64_t offset, const void *from,
                    size_t length)
{
    Pstorage__V1__WriteRequest request = PSTORAGE__V1__WRITE_REQUEST__INIT;
    request.handle = handle;
    request.offset = offset;
    answer_free(&a);
    a.request.payload = from;
    a.request.payload_bytes = length;
    (void)call(w, &a, BLOCK_IO, "Write", &request.base);
    return a.status;
}

static int read_at(struct services_world *w, uint64_t handle, uint64_t offset, uint32_t length)
{
    Pstorage__V1__ReadRequest request = PSTORAGE__V1__READ_REQUEST__INIT;
    request.handle = handle;
    request.offset = offset;
    request.length = length;
    answer_free(&a);
    (void)call(w, &a, BLOCK_IO, "Read", &request.base);
    return a.status;
}

static int close_image(struct services_world *w, uint64_t handle)
{
    Pstorage__V1__CloseRequest request = PSTORAGE__V1__CLOSE_REQUEST__INIT;
    request.handle = handle;
    answer_free(&a);
    (void)call(w, &a, BLOCK_IO, "Close", &request.base);
    return a.status;
}

static void an_open_image_says_what_it_is(void **state)
{
    struct services_world *w = *state;
    pod_fake_snapshot(w->pod, "v@s");
    const Pstorage__V1__OpenResponse *response = try_open(w, "v@s", false);
    assert_true(response->handle != 0);
    assert_true(response->read_only);
    assert_true(response->image->size_bytes == 16 * MIB);
    assert_int_equal(response->max_io_bytes, RPC_PAYLOAD_MAX);
    assert_int_equal(response->block_bytes, 4096);
    assert_int_equal(response->atomic_bytes, POD_ATOMIC_BYTES);
    assert_null(try_open(w, "missing", false));
    assert_int_equal(a.status, PS_ENOTFOUND);
    assert_non_null(strstr(a.detail, "missing"));
}

static void what_is_written_is_read(void **state)
{
    struct services_world *w = *state;
    const uint64_t handle = open_image(w, "v");
    static const size_t lengths[] = {512, 4096, 12 * 1024, 128 * 1024, RPC_PAYLOAD_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        assert_int_equal(write_at(w, handle, 512 + i * MIB, data + i, lengths[i]), PS_OK);
        assert_int_equal(read_at(w, handle, 512 + i * MIB, (uint32_t)lengths[i]), PS_OK);
        assert_int_equal(a.payload_bytes, lengths[i]);
        assert_memory_equal(a.payload, data + i, lengths[i]);
    }
}

static void ranges_that_are_wrong_are_refused_with_the_numbers(void **state)
{
    struct services_world *w = *state;
    const uint64_t handle = open_image(w, "v");
    assert_int_equal(read_at(w, handle, 100, 512), PS_EINVAL);
    assert_string_equal(a.detail, "offset 100 and length 512 must be multiples of 512, the length not 0");
    assert_int_equal(read_at(w, handle, 0, 0), PS_EINVAL);
    assert_int_equal(write_at(w, handle, 0, NULL, 0), PS_EINVAL);
    assert_int_equal(write_at(w, handle, 0, data, 700), PS_EINVAL);
    assert_int_equal(read_at(w, handle, 0, RPC_PAYLOAD_MAX + 512), PS_EINVAL);
    assert_string_equal(a.detail, "a read is at most 1 MiB");
    assert_int_equal(read_at(w, handle, 16 * MIB - 512, 1024), PS_ERANGE);
    assert_string_equal(a.detail, "offset 16776704 and length 1024 end beyond the image's 16777216 bytes");
    assert_int_equal(read_at(w, handle, UINT64_MAX - 511, 512), PS_ERANGE);
    assert_int_equal(read_at(w, handle, UINT64_MAX - 511, 1024), PS_ERANGE);
    assert_int_equal(pod_fake_count(w->pod, POD_WRITE), 0);
}

static void trimmed_and_zeroed_ranges_read_as_zeroes_and_show_in_the_extents(void **state)
{
    struct services_world *w = *state;
    const uint64_t handle = open_image(w, "v");
    static const uint8_t zeroes[64 * 1024];
    assert_int_equal(write_at(w, handle, 0, data, 64 * 1024), PS_OK);

    Pstorage__V1__TrimRequest trim = PSTORAGE__V1__TRIM_REQUEST__INIT;
    trim.handle = handle;
    trim.offset = 16 * 1024;
    trim.length = 16 * 1024;
    answer_free(&a);
    (void)call(w, &a, BLOCK_IO, "Trim", &trim.base);
    assert_int_equal(a.status, PS_OK);
    Pstorage__V1__WriteZeroesRequest zero = PSTORAGE__V1__WRITE_ZEROES_REQUEST__INIT;
    zero.handle = handle;
    zero.offset = 32 * 1024;
    zero.length = 16 * 1024;
    zero.no_hole = true;
    answer_free(&a);
    (void)call(w, &a, BLOCK_IO, "WriteZeroes", &zero.base);
    assert_int_equal(a.status, PS_OK);
    assert_int_equal(read_at(w, handle, 0, 64 * 1024), PS_OK);
    assert_memory_equal(a.payload, data, 16 * 1024);
    assert_memory_equal(a.payload + 16 * 1024, zeroes, 32 * 1024);
    assert_memory_equal(a.payload + 48 * 1024, data + 48 * 1024, 16 * 1024);

    Pstorage__V1__ExtentsRequest ask = PSTORAGE__V1__EXTENTS_REQUEST__INIT;
    ask.handle = handle;
    ask.length = 16 * MIB;
    answer_free(&a);
    const Pstorage__V1__ExtentsResponse *map = call(w, &a, BLOCK_IO, "Extents", &ask.base);
    static const struct {
        uint64_t kib;
        Pstorage__V1__ExtentKind kind;
    } expected[] = {
        {16, PSTORAGE__V1__EXTENT_KIND__EXTENT_KIND_DATA},
        {16, PSTORAGE__V1__EXTENT_KIND__EXTENT_KIND_HOLE},
        {16, PSTORAGE__V1__EXTENT_KIND__EXTENT_KIND_ZERO},
        {16, PSTORAGE__V1__EXTENT_KIND__EXTENT_KIND_DATA},
        {16 * 1024 - 64, PSTORAGE__V1__EXTENT_KIND__EXTENT_KIND_HOLE},
    };
    assert_int_equal(map->n_extents, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_true(map->extents[i]->length_bytes == expected[i].kib * 1024);
        assert_int_equal(map->extents[i]->kind, expected[i].kind);
    }
    ask.max_extents = 2;
    answer_free(&a);
    map = call(w, &a, BLOCK_IO, "Extents", &ask.base);
    assert_int_equal(map->n_extents, 2);
}

static void a_flush_reaches_the_pod(void **state)
{
    struct services_world *w = *state;
    Pstorage__V1__FlushRequest request = PSTORAGE__V1__FLUSH_REQUEST__INIT;
    request.handle = open_image(w, "v");
    answer_free(&a);
    (void)call(w, &a, BLOCK_IO, "Flush", &request.base);
    assert_int_equal(a.status, PS_OK);
    assert_int_equal(pod_fake_count(w->pod, POD_FLUSH), 1);
}

static void read_only_is_read_only(void **state)
{
    struct services_world *w = *state;
    pod_fake_snapshot(w->pod, "v@s");
    const uint64_t snapshot = open_image(w, "v@s");
    assert_int_equal(write_at(w, snapshot, 0, data, 4096), PS_EREADONLY);
    const Pstorage__V1__OpenResponse *response = try_open(w, "v", true);
    const uint64_t careful = response->handle;
    assert_int_equal(write_at(w, careful, 0, data, 4096), PS_EREADONLY);
    assert_int_equal(read_at(w, careful, 0, 4096), PS_OK);
    assert_int_equal(pod_fake_count(w->pod, POD_WRITE), 0);
}

static void an_error_of_the_pod_reaches_the_caller(void **state)
{
    struct services_world *w = *state;
    const uint64_t handle = open_image(w, "v");
    pod_fake_fail_next(w->pod, PS_EDATALOSS);
    assert_int_equal(read_at(w, handle, 0, 4096), PS_EDATALOSS);
    assert_int_equal(a.payload_bytes, 0);
    pod_fake_fail_next(w->pod, PS_EFULL);
    assert_int_equal(write_at(w, handle, 0, data, 4096), PS_EFULL);
}

static void a_handle_is_good_until_it_is_closed(void **state)
{
    struct services_world *w = *state;
    const uint64_t handle = open_image(w, "v");
    struct pod_image_info info;
    assert_int_equal(pod_image_by_name(w->pod, "v", &info), PS_OK);
    assert_int_equal(info.open_count, 1);
    assert_int_equal(close_image(w, handle), PS_OK);
    assert_int_equal(read_at(w, handle, 0, 4096), PS_ENOTFOUND);
    assert_int_equal(close_image(w, handle), PS_ENOTFOUND);
    assert_true(open_image(w, "v") != handle); /* the slot is the same, the number not */
    assert_int_equal(read_at(w, handle, 0, 4096), PS_ENOTFOUND);
    assert_int_equal(read_at(w, 0, 0, 4096), PS_ENOTFOUND);
    assert_int_equal(read_at(w, UINT64_MAX, 0, 4096), PS_ENOTFOUND);
}

static void handles_end_with_their_connection(void **state)
{
    struct services_world *w = *state;
    struct pod_image_info info;
    const uint64_t handle = open_image(w, "v");
    world_reconnect(w);
    assert_int_equal(pod_image_by_name(w->pod, "v", &info), PS_OK);
    assert_int_equal(info.open_count, 0);
    assert_int_equal(read_at(w, handle, 0, 4096), PS_ENOTFOUND);
}

static void a_connection_opens_so_many_images_and_no_more(void **state)
{
    struct services_world *w = *state;
    uint64_t last = 0;
    for (int i = 0; i < SERVICES_HANDLES_MAX; i++)
        last = open_image(w, "v");
    assert_null(try_open(w, "v", false));
    assert_int_equal(a.status, PS_ELIMIT);
    assert_int_equal(close_image(w, last), PS_OK);
    (void)open_image(w, "v");
}

static void an_image_is_closed_when_its_last_request_has_ended(void **state)
{
    struct services_world *w = *state;
    static struct answer slow[2], closing;
    struct pod_image_info info;
    Pstorage__V1__ReadRequest request = PSTORAGE__V1__READ_REQUEST__INIT;
    Pstorage__V1__CloseRequest close = PSTORAGE__V1__CLOSE_REQUEST__INIT;
    request.handle = close.handle = open_image(w, "v");
    request.length = 4096;
    closing = slow[0] = slow[1] = (struct answer){0};
    pod_fake_hold(w->pod, true);
    for (int i = 0; i < 2; i++)
        start(w, &slow[i], BLOCK_IO, "Read", &request.base);
    world_run(w, 5);
    start(w, &closing, BLOCK_IO, "Close", &close.base);
    world_run(w, 5);
    assert_int_equal(closing.count, 0);
    assert_int_equal(read_at(w, request.handle, 0, 4096), PS_ENOTFOUND);
    assert_int_equal(close_image(w, request.handle), PS_ENOTFOUND);
    assert_int_equal(pod_image_by_name(w->pod, "v", &info), PS_OK);
    assert_int_equal(info.open_count, 1);
    pod_fake_hold(w->pod, false);
    world_run(w, 5);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(slow[i].count, 1);
        assert_int_equal(slow[i].status, PS_OK);
        answer_free(&slow[i]);
    }
    assert_int_equal(closing.count, 1);
    assert_int_equal(closing.status, PS_OK);
    answer_free(&closing);
    assert_int_equal(pod_image_by_name(w->pod, "v", &info), PS_OK);
    assert_int_equal(info.open_count, 0);
}

static void a_client_that_vanishes_while_it_closes_leaves_nothing_open(void **state)
{
    struct services_world *w = *state;
    static struct answer slow, closing;
    struct pod_image_info info;
    Pstorage__V1__ReadRequest request = PSTORAGE__V1__READ_REQUEST__INIT;
    Pstorage__V1__CloseRequest close = PSTORAGE__V1__CLOSE_REQUEST__INIT;
    request.handle = close.handle = open_image(w, "v");
    request.length = 4096;
    closing = slow = (struct answer){0};
    pod_fake_hold(w->pod, true);
    start(w, &slow, BLOCK_IO, "Read", &request.base);
    start(w, &closing, BLOCK_IO, "Close", &close.base);
    world_run(w, 5);
    rpc_mem_break(w->net, "node", "host");
    world_run(w, 5);
    assert_int_equal(closing.status, PS_EUNAVAILABLE);
    pod_fake_hold(w->pod, false);
    world_run(w, 100);
    assert_int_equal(pod_image_by_name(w->pod, "v", &info), PS_OK);
    assert_int_equal(info.open_count, 0);
}

/* The pod still reads the payload when the connection is gone: it has to stay. */
static void a_client_that_vanishes_leaves_no_request_on_freed_memory(void **state)
{
    struct services_world *w = *state;
    static struct answer lost[40];
    Pstorage__V1__WriteRequest request = PSTORAGE__V1__WRITE_REQUEST__INIT;
    request.handle = open_image(w, "v");
    memset(lost, 0, sizeof lost);
    pod_fake_hold(w->pod, true);
    for (size_t i = 0; i < 40; i++) {
        request.offset = i * 64 * 1024;
        lost[i].request.payload = data + i * 512;
        lost[i].request.payload_bytes = 64 * 1024;
        start(w, &lost[i], BLOCK_IO, "Write", &request.base);
    }
    world_run(w, 100);
    assert_int_equal(pod_fake_in_flight(w->pod), 40);
    rpc_mem_break(w->net, "node", "host");
    world_run(w, 100);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(lost[i].status, PS_EUNAVAILABLE);
    struct pod_image_info info;
    assert_int_equal(pod_image_by_name(w->pod, "v", &info), PS_OK);
    assert_int_equal(info.open_count, 1); /* as long as requests are under way */
    pod_fake_hold(w->pod, false);
    world_run(w, 10);
    assert_int_equal(pod_image_by_name(w->pod, "v", &info), PS_OK);
    assert_int_equal(info.open_count, 0);
    const uint64_t handle = open_image(w, "v");
    for (size_t i = 0; i < 40; i++) {
        assert_int_equal(read_at(w, handle, i * 64 * 1024, 64 * 1024), PS_OK);
        assert_memory_equal(a.payload, data + i * 512, 64 * 1024);
    }
}

static void completions_in_any_order_find_their_calls(void **state)
{
    struct services_world *w = *state;
    static struct answer many[64];
    Pstorage__V1__ReadRequest request = PSTORAGE__V1__READ_REQUEST__INIT;
    request.handle = open_image(w, "v");
    for (uint64_t i = 0; i < 64; i++)
        assert_int_equal(write_at(w, request.handle, i * 4096, data + i * 4096, 4096), PS_OK);
    memset(many, 0, sizeof many);
    pod_fake_shuffle(w->pod, 42);
    for (uint64_t i = 0; i < 64; i++) {
        request.offset = i * 4096;
        request.length = 4096;
        start(w, &many[i], BLOCK_IO, "Read", &request.base);
    }
    world_run(w, 200);
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(many[i].count, 1);
        assert_memory_equal(many[i].payload, data + i * 4096, 4096);
        answer_free(&many[i]);
    }
    pod_fake_shuffle(w->pod, 0);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* ---- what another node passes on */

static uint64_t ask_stamp(struct services_world *w)
{
    Pstorage__V1__StampRequest request = PSTORAGE__V1__STAMP_REQUEST__INIT;
    answer_free(&a);
    const Pstorage__V1__StampResponse *response = call(w, &a, BLOCK_IO, "Stamp", &request.base);
    return response ? response->stamp : 0;
}

static uint64_t open_forwarded(struct services_world *w, const char *name)
{
    const struct rpc_metadata by = {"forwarded-by", "n2", 2};
    Pstorage__V1__OpenRequest request = PSTORAGE__V1__OPEN_REQUEST__INIT;
    char copy[128];
    strcpy(copy, name);
    request.name = copy;
    answer_free(&a);
    a.request.metadata = &by;
    a.request.nmetadata = 1;
    const Pstorage__V1__OpenResponse *response = call(w, &a, BLOCK_IO, "Open", &request.base);
    return response ? response->handle : 0;
}

static int write_stamped(struct services_world *w, uint64_t handle, uint64_t stamp)
{
    Pstorage__V1__WriteRequest request = PSTORAGE__V1__WRITE_REQUEST__INIT;
    request.handle = handle;
    request.stamp = stamp;
    answer_free(&a);
    a.request.payload = data;
    a.request.payload_bytes = 4096;
    (void)call(w, &a, BLOCK_IO, "Write", &request.base);
    return a.status;
}

static void a_request_that_was_too_long_on_its_way_is_refused_and_all_that_follow_it(void **state)
{
    struct services_world *w = *state;
    const uint64_t handle = open_forwarded(w, "v"), old = ask_stamp(w);
    assert_true(handle && old);
    world_run(w, 1900);
    assert_int_equal(write_stamped(w, handle, old), PS_OK);
    world_run(w, 200);
    assert_int_equal(write_stamped(w, handle, old), PS_EABORTED);
    assert_int_equal(write_stamped(w, handle, ask_stamp(w)), PS_EABORTED);
    assert_int_equal(pod_fake_count(w->pod, POD_WRITE), 1);
    const uint64_t anew = open_forwarded(w, "v"), fresh = ask_stamp(w);
    assert_int_equal(write_stamped(w, anew, fresh), PS_OK);
    assert_int_equal(write_stamped(w, anew, fresh + 1000000000), PS_EABORTED); /* of another's clock */
    assert_int_equal(write_stamped(w, open_forwarded(w, "v"), 0), PS_EABORTED);
    assert_int_equal(pod_fake_count(w->pod, POD_WRITE), 2);
}

static void what_was_passed_on_goes_no_further_and_not_into_another_term(void **state)
{
    struct services_world *w = *state;
    const uint64_t handle = open_forwarded(w, "v"), stamp = ask_stamp(w);
    w->elsewhere = true;
    assert_int_equal(write_stamped(w, handle, stamp), PS_ENOTPRIMARY);
    assert_string_equal(a.detail, "not primary: n2 at tcp://b:1");
    assert_int_equal(ask_stamp(w), 0);
    assert_int_equal(a.status, PS_ENOTPRIMARY);
    w->elsewhere = false; /* it leads again, and the stamp is good still */
    assert_int_equal(write_stamped(w, handle, stamp), PS_EABORTED);
    assert_int_equal(pod_fake_count(w->pod, POD_WRITE), 0);
    /* On standby the pod opens nothing, for nobody. */
    w->elsewhere = true;
    pod_fake_lead(w->pod, false);
    assert_int_equal(open_forwarded(w, "v"), 0);
    assert_int_equal(a.status, PS_ENOTPRIMARY);
    pod_fake_lead(w->pod, true);
    w->elsewhere = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(an_open_image_says_what_it_is),
        IN_WORLD(what_is_written_is_read),
        IN_WORLD(ranges_that_are_wrong_are_refused_with_the_numbers),
        IN_WORLD(trimmed_and_zeroed_ranges_read_as_zeroes_and_show_in_the_extents),
        IN_WORLD(a_flush_reaches_the_pod),
        IN_WORLD(read_only_is_read_only),
        IN_WORLD(an_error_of_the_pod_reaches_the_caller),
        IN_WORLD(a_handle_is_good_until_it_is_closed),
        IN_WORLD(handles_end_with_their_connection),
        IN_WORLD(a_connection_opens_so_many_images_and_no_more),
        IN_WORLD(an_image_is_closed_when_its_last_request_has_ended),
        IN_WORLD(a_client_that_vanishes_while_it_closes_leaves_nothing_open),
        IN_WORLD(a_client_that_vanishes_leaves_no_request_on_freed_memory),
        IN_WORLD(completions_in_any_order_find_their_calls),
        IN_WORLD(a_request_that_was_too_long_on_its_way_is_refused_and_all_that_follow_it),
        IN_WORLD(what_was_passed_on_goes_no_further_and_not_into_another_term),
    };
    return cmocka_run_group_tests_name("services: block I/O", tests, NULL, NULL);
}
