#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/pod_fake.h"

enum {
    VOLUME = 1 << 20
};

struct io {
    struct pod_io io;
    int status, calls;
    unsigned order;
};
static unsigned completions;

static void on_io(struct pod_io *io, int status)
{
    struct io *self = container_of(io, struct io, io);
    self->status = status;
    self->calls++;
    self->order = completions++;
}

static struct io submit(struct pod *pod, struct pod_image *image, struct pod_io io)
{
    struct io self = {.io = io};
    self.io.image = image;
    assert_int_equal(pod_submit(pod, &self.io, on_io), 0);
    assert_int_equal(self.calls, 0);
    (void)pod_turn(pod, 0);
    assert_int_equal(self.calls, 1);
    return self;
}

struct fixture {
    struct pod *pod;
    struct pod_image *image;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->pod = pod_fake_create();
    pod_fake_volume(f->pod, "v", VOLUME);
    assert_int_equal(pod_image_open(f->pod, "v", &f->image, NULL), 0);
    *state = f;
    return 0;
}

static void on_closed(void *user)
{
    *(bool *)user = true;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->image)
        pod_image_close(f->image);
    bool closed = false;
    pod_close(f->pod, on_closed, &closed);
    (void)pod_turn(f->pod, 0);
    assert_true(closed);
    pod_destroy(f->pod);
    free(f);
    return 0;
}

static void a_partial_write_keeps_the_rest_of_its_block(void **state)
{
    struct fixture *f = *state;
    uint8_t whole[8192], part[512], seen[8192];
    memset(whole, 0xaa, sizeof whole);
    memset(part, 0x55, sizeof part);
    (void)submit(f->pod, f->image, (struct pod_io){.op = POD_WRITE, .length = sizeof whole, .buf = whole});
    (void)submit(f->pod, f->image,
                 (struct pod_io){.op = POD_WRITE, .offset = 4096 - 512, .length = sizeof part, .buf = part});
    memcpy(whole + 4096 - 512, part, sizeof part);
    (void)submit(f->pod, f->image, (struct pod_io){.op = POD_READ, .length = sizeof seen, .buf = seen});
    assert_memory_equal(seen, whole, sizeof seen);
}

static void trim_leaves_partial_edges_and_write_zero_clears_them(void **state)
{
    struct fixture *f = *state;
    uint8_t data[12288], seen[12288], zero[12288] = {0};
    memset(data, 0xaa, sizeof data);
    (void)submit(f->pod, f->image, (struct pod_io){.op = POD_WRITE, .length = sizeof data, .buf = data});
    (void)submit(f->pod, f->image, (struct pod_io){.op = POD_TRIM, .offset = 512, .length = 8192 - 512});
    (void)submit(f->pod, f->image, (struct pod_io){.op = POD_READ, .length = sizeof seen, .buf = seen});
    assert_memory_equal(seen, data, 4096);
    assert_memory_equal(seen + 4096, zero, 4096);
    assert_memory_equal(seen + 8192, data, 4096);
    (void)submit(f->pod, f->image, (struct pod_io){.op = POD_WRITE_ZERO, .offset = 512, .length = 512});
    (void)submit(f->pod, f->image, (struct pod_io){.op = POD_READ, .length = 1024, .buf = seen});
    assert_memory_equal(seen, data, 512);
    assert_memory_equal(seen + 512, zero, 512);
}

static void extents_tell_data_zeroes_and_holes_apart(void **state)
{
    struct fixture *f = *state;
    uint8_t data[4096];
    memset(data, 1, sizeof data);
    (void)submit(f->pod, f->image, (struct pod_io){.op = POD_WRITE, .length = 4096, .buf = data});
    (void)submit(
        f->pod, f->image,
        (struct pod_io){.op = POD_WRITE_ZERO, .flags = POD_IO_NO_HOLE, .offset = 4096, .length = 8192});
    struct pod_extent extents[4];
    struct io io =
        submit(f->pod, f->image,
               (struct pod_io){.op = POD_EXTENTS, .length = VOLUME, .extents = extents, .max_extents = 4});
    assert_int_equal(io.io.nextents, 3);
    assert_int_equal(extents[0].kind, POD_EXTENT_DATA);
    assert_int_equal(extents[0].length_bytes, 4096);
    assert_int_equal(extents[1].kind, POD_EXTENT_ZERO);
    assert_int_equal(extents[1].length_bytes, 8192);
    assert_int_equal(extents[2].kind, POD_EXTENT_HOLE);
    assert_int_equal(extents[2].length_bytes, VOLUME - 12288);
    io = submit(f->pod, f->image,
                (struct pod_io){.op = POD_EXTENTS, .length = VOLUME, .extents = extents, .max_extents = 1});
    assert_int_equal(io.io.nextents, 1);
}

static void a_snapshot_keeps_what_was_there_and_refuses_writes(void **state)
{
    struct fixture *f = *state;
    uint8_t old[4096], new[4096], seen[4096];
    memset(old, 1, sizeof old);
    memset(new, 2, sizeof new);
    (void)submit(f->pod, f->image, (struct pod_io){.op = POD_WRITE, .length = 4096, .buf = old});
    pod_fake_snapshot(f->pod, "v@s");
    (void)submit(f->pod, f->image, (struct pod_io){.op = POD_WRITE, .length = 4096, .buf = new});
    struct pod_image *snapshot;
    assert_int_equal(pod_image_open(f->pod, "v@s", &snapshot, NULL), 0);
    (void)submit(f->pod, snapshot, (struct pod_io){.op = POD_READ, .length = 4096, .buf = seen});
    assert_memory_equal(seen, old, 4096);
    struct pod_io write = {.op = POD_WRITE, .image = snapshot, .length = 4096, .buf = new};
    assert_int_equal(pod_submit(f->pod, &write, on_io), PS_EREADONLY);
    pod_image_close(snapshot);
    struct pod_manage restore = {.op = POD_SNAPSHOT_RESTORE, .name = "v@s"};
    assert_int_equal(pod_fake_manage(f->pod, &restore), 0);
    (void)submit(f->pod, f->image, (struct pod_io){.op = POD_READ, .length = 4096, .buf = seen});
    assert_memory_equal(seen, old, 4096);
}

static void wrong_requests_are_refused_at_once(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[4096];
    struct pod_io io = {.op = POD_READ, .image = f->image, .offset = VOLUME, .length = 512, .buf = buf};
    assert_int_equal(pod_submit(f->pod, &io, on_io), PS_ERANGE);
    io.offset = UINT64_MAX - 511;
    assert_int_equal(pod_submit(f->pod, &io, on_io), PS_ERANGE);
    io.offset = 100;
    assert_int_equal(pod_submit(f->pod, &io, on_io), PS_EINVAL);
}

static void a_held_pod_completes_nothing_and_a_failure_hits_one_request(void **state)
{
    struct fixture *f = *state;
    uint8_t data[4096] = {1};
    struct io a = {.io = {.op = POD_WRITE, .image = f->image, .length = 4096, .buf = data}};
    pod_fake_hold(f->pod, true);
    assert_int_equal(pod_submit(f->pod, &a.io, on_io), 0);
    (void)pod_turn(f->pod, 0);
    assert_int_equal(a.calls, 0);
    assert_int_equal(pod_fake_in_flight(f->pod), 1);
    pod_fake_hold(f->pod, false);
    pod_fake_fail_next(f->pod, PS_EIO);
    (void)pod_turn(f->pod, 0);
    assert_int_equal(a.status, PS_EIO);
    assert_int_equal(submit(f->pod, f->image, (struct pod_io){.op = POD_FLUSH}).status, 0);
}

static void shuffled_completions_all_arrive_in_another_order(void **state)
{
    struct fixture *f = *state;
    enum {
        N = 32
    };
    struct io ios[N] = {0};
    uint8_t buf[512];
    pod_fake_shuffle(f->pod, 7);
    completions = 0;
    for (int i = 0; i < N; i++) {
        ios[i].io = (struct pod_io){.op = POD_READ, .image = f->image, .length = 512, .buf = buf};
        assert_int_equal(pod_submit(f->pod, &ios[i].io, on_io), 0);
    }
    while (pod_turn(f->pod, 5) == 5)
        ;
    bool moved = false;
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(ios[i].calls, 1);
        moved = moved || ios[i].order != i;
    }
    assert_true(moved);
}

static void renaming_a_volume_takes_its_snapshots_along(void **state)
{
    struct fixture *f = *state;
    pod_fake_snapshot(f->pod, "v@a");
    pod_fake_snapshot(f->pod, "v@b");
    struct pod_manage req = {.op = POD_VOLUME_RENAME, .name = "v", .new_name = "vv"};
    assert_int_equal(pod_fake_manage(f->pod, &req), 0);
    struct pod_image_info info = {.name = ""};
    const char *expected[] = {"vv", "vv@a", "vv@b"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pod_image_after(f->pod, info.name, &info), 0);
        assert_string_equal(info.name, expected[i]);
    }
    assert_int_equal(pod_image_after(f->pod, info.name, &info), PS_ENOTFOUND);
}

static void deleting_needs_closed_images_or_force(void **state)
{
    struct fixture *f = *state;
    struct pod_manage req = {.op = POD_VOLUME_DELETE, .name = "v"};
    assert_int_equal(pod_fake_manage(f->pod, &req), PS_EPRECONDITION);
    assert_non_null(strstr(req.error.detail, "in use"));
    req.force = true;
    assert_int_equal(pod_fake_manage(f->pod, &req), 0);
    struct pod_io io = {.op = POD_FLUSH, .image = f->image};
    assert_int_equal(pod_submit(f->pod, &io, on_io), PS_ENOTFOUND);
    struct pod_image_info info;
    assert_int_equal(pod_image_info(f->image, &info), PS_ENOTFOUND);
}

static void what_a_shrink_cut_off_reads_as_zeroes_after_growing(void **state)
{
    struct fixture *f = *state;
    uint8_t data[8192], seen[8192], expected[8192] = {0};
    memset(data, 3, sizeof data);
    memset(expected, 3, 512);
    (void)submit(f->pod, f->image, (struct pod_io){.op = POD_WRITE, .length = 8192, .buf = data});
    struct pod_manage req = {.op = POD_VOLUME_RESIZE, .name = "v", .size_bytes = 512};
    assert_int_equal(pod_fake_manage(f->pod, &req), PS_EPRECONDITION);
    req.allow_shrink = true;
    assert_int_equal(pod_fake_manage(f->pod, &req), 0);
    req.size_bytes = 8192;
    assert_int_equal(pod_fake_manage(f->pod, &req), 0);
    (void)submit(f->pod, f->image, (struct pod_io){.op = POD_READ, .length = 8192, .buf = seen});
    assert_memory_equal(seen, expected, sizeof seen);
}

static void a_repeated_operation_gives_the_first_result(void **state)
{
    struct fixture *f = *state;
    struct pod_manage req = {.op = POD_SNAPSHOT_CREATE, .name = "v@s", .operation_id = {1}};
    assert_int_equal(pod_fake_manage(f->pod, &req), 0);
    const uint64_t id = req.image.id;
    assert_int_equal(pod_fake_manage(f->pod, &req), 0);
    assert_int_equal(req.image.id, id);
    req.operation_id[0] = 2;
    assert_int_equal(pod_fake_manage(f->pod, &req), PS_EEXISTS);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_partial_write_keeps_the_rest_of_its_block),
        T(trim_leaves_partial_edges_and_write_zero_clears_them),
        T(extents_tell_data_zeroes_and_holes_apart),
        T(a_snapshot_keeps_what_was_there_and_refuses_writes),
        T(wrong_requests_are_refused_at_once),
        T(a_held_pod_completes_nothing_and_a_failure_hits_one_request),
        T(shuffled_completions_all_arrive_in_another_order),
        T(renaming_a_volume_takes_its_snapshots_along),
        T(deleting_needs_closed_images_or_force),
        T(what_a_shrink_cut_off_reads_as_zeroes_after_growing),
        T(a_repeated_operation_gives_the_first_result),
    };
    return cmocka_run_group_tests_name("pod_fake", tests, NULL, NULL);
}
