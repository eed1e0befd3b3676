#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/pod_rig.h"

enum {
    MIB = 1 << 20
};

static void fill(void *buf, size_t bytes, uint64_t seed)
{
    struct prng prng;
    prng_seed(&prng, seed);
    prng_fill(&prng, buf, bytes);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig_create(rig, 64 * MIB, 7);
    assert_int_equal(rig_open(rig), 0);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    if (rig->pod)
        rig_close(rig);
    rig_destroy(rig);
    free(rig);
    return 0;
}

static void what_is_written_is_read(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[256 * 1024], back[256 * 1024];
    fill(data, sizeof data, 1);
    assert_int_equal(rig_create_volume(rig, "v", 16 * MIB), 0);
    assert_int_equal(rig_write(rig, "v", 8192, data, sizeof data), 0);
    assert_int_equal(rig_read(rig, "v", 8192, back, sizeof back), 0);
    assert_memory_equal(data, back, sizeof data);
    assert_int_equal(rig_read(rig, "v", 0, back, 8192), 0);
    for (int i = 0; i < 8192; i++)
        assert_int_equal(back[i], 0);
    rig_check(rig);
}

static void what_was_acknowledged_survives_a_power_cut(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[MIB], back[MIB];
    fill(data, sizeof data, 2);
    assert_int_equal(rig_create_volume(rig, "v", 16 * MIB), 0);
    assert_int_equal(rig_write(rig, "v", 4096, data, sizeof data), 0);
    rig_crash(rig, BLKDEV_MEM_LOSE);
    assert_int_equal(rig_open(rig), 0);
    assert_int_equal(rig_read(rig, "v", 4096, back, sizeof back), 0);
    assert_memory_equal(data, back, sizeof data);
    rig_check(rig);
}

static void unaligned_writes_keep_their_surroundings(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[64 * 1024], back[64 * 1024];
    fill(data, sizeof data, 3);
    assert_int_equal(rig_create_volume(rig, "v", MIB), 0);
    assert_int_equal(rig_write(rig, "v", 0, data, sizeof data), 0);
    fill(data + 512 * 3, 512 * 20, 4);
    assert_int_equal(rig_write(rig, "v", 512 * 3, data + 512 * 3, 512 * 20), 0);
    fill(data + 512 * 41, 512, 5);
    assert_int_equal(rig_write(rig, "v", 512 * 41, data + 512 * 41, 512), 0);
    assert_int_equal(rig_read(rig, "v", 0, back, sizeof back), 0);
    assert_memory_equal(data, back, sizeof data);
    rig_check(rig);
}

static void equal_blocks_are_stored_once(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[128 * 1024];
    struct pod_stats stats;
    fill(data, sizeof data, 6);
    assert_int_equal(rig_create_volume(rig, "a", MIB), 0);
    assert_int_equal(rig_create_volume(rig, "b", MIB), 0);
    assert_int_equal(rig_write(rig, "a", 0, data, sizeof data), 0);
    assert_int_equal(rig_write(rig, "b", 4096, data, sizeof data), 0);
    pod_stats(rig->pod, &stats);
    assert_int_equal(stats.unique_blocks, 32);
    assert_int_equal(stats.dedup_removed, sizeof data);
    rig_check(rig);
    assert_int_equal(rig_range(rig, POD_TRIM, "a", 0, MIB), 0);
    pod_stats(rig->pod, &stats);
    assert_int_equal(stats.unique_blocks, 32);
    assert_int_equal(rig_range(rig, POD_TRIM, "b", 0, MIB), 0);
    pod_stats(rig->pod, &stats);
    assert_int_equal(stats.unique_blocks, 0);
    rig_check(rig);
}

static uint32_t units_of(const struct pod_measured *m, size_t count, enum pod_measured_kind kind, size_t *n)
{
    uint32_t units = 0;
    *n = 0;
    for (size_t i = 0; i < count; i++) {
        *n += m[i].kind == kind;
        units += m[i].kind == kind ? m[i].units : 0;
    }
    return units;
}

/* The index goes on to name what was deleted; that must not hide what came after it. */
static void what_was_deleted_and_comes_again_is_stored_once(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[128 * 1024];
    struct pod_stats stats;
    fill(data, sizeof data, 6);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(rig_create_volume(rig, "a", MIB), 0);
        assert_int_equal(rig_write(rig, "a", 0, data, sizeof data), 0);
        assert_int_equal(rig_write(rig, "a", 512 * 1024, data, sizeof data), 0);
        pod_stats(rig->pod, &stats);
        assert_int_equal(stats.unique_blocks, 32);
        assert_int_equal(rig_named(rig, POD_VOLUME_DELETE, "a", NULL, 0), 0);
        rig_check(rig);
    }
}

/* What pod_measure says is what a write of the same then does; and it changes nothing. */
static void measuring_tells_what_writing_will_take(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[128 * 1024], stored[32 * 1024];
    struct pod_measured m[32], again[32];
    struct pod_stats before, after;
    struct pod_image_info info;
    size_t n;
    fill(data, sizeof data, 6);
    fill(stored, sizeof stored, 7);
    memset(data, 0, 3 * 4096);                            /* patterns */
    memset(data + 5 * 4096, 0x5a, 2048);                  /* half of it compresses */
    memcpy(data + 20 * 4096, data + 10 * 4096, 2 * 4096); /* twins */
    memcpy(data + 24 * 4096, stored + 4096, 4 * 4096);    /* stored already */
    memcpy(data + 30 * 4096, stored + 4096, 4096);        /* and again */
    assert_int_equal(rig_create_volume(rig, "a", MIB), 0);
    assert_int_equal(rig_create_volume(rig, "b", MIB), 0);
    assert_int_equal(rig_write(rig, "a", 0, stored, sizeof stored), 0);
    pod_stats(rig->pod, &before);
    assert_int_equal(pod_measure(rig->pod, data, 32, m), 0);
    pod_stats(rig->pod, &after);
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(pod_measure(rig->pod, data, 32, again), 0);
    assert_memory_equal(m, again, sizeof m);
    (void)units_of(m, 32, POD_MEASURED_PATTERN, &n);
    assert_int_equal(n, 3);
    (void)units_of(m, 32, POD_MEASURED_TWIN, &n);
    assert_int_equal(n, 2);
    (void)units_of(m, 32, POD_MEASURED_STORED, &n);
    assert_int_equal(n, 5);
    const uint32_t units = units_of(m, 32, POD_MEASURED_NEW, &n);
    assert_int_equal(n, 22);
    assert_true(m[10].key == m[20].key && m[10].key != m[11].key);
    assert_int_equal(rig_write(rig, "b", 0, data, sizeof data), 0);
    assert_int_equal(pod_image_by_name(rig->pod, "b", &info), 0);
    assert_int_equal(info.space.stored, units * POD_MEASURED_UNIT);
    assert_int_equal(info.space.unique, n * 4096);
    assert_int_equal(info.space.duplicate, 7 * 4096);
    /* Now all of it is there. */
    assert_int_equal(pod_measure(rig->pod, data, 32, m), 0);
    (void)units_of(m, 32, POD_MEASURED_STORED, &n);
    assert_int_equal(n, 29);
    rig_check(rig);
}

/* After a start nothing is cached: candidates are found through the index that was read back, and fetched. */
static void duplicates_of_cold_data_are_found_after_a_restart(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[4 * MIB];
    struct pod_stats before, after;
    fill(data, sizeof data, 12);
    assert_int_equal(rig_create_volume(rig, "a", 8 * MIB), 0);
    assert_int_equal(rig_write(rig, "a", 0, data, sizeof data), 0);
    rig_close(rig);
    assert_int_equal(rig_open(rig), 0);
    do {
        (void)rig_step(rig);
        pod_stats(rig->pod, &before);
    } while (before.dedup_index_loading);
    assert_int_equal(rig_create_volume(rig, "b", 8 * MIB), 0);
    assert_int_equal(rig_write(rig, "b", 2 * MIB, data, sizeof data), 0);
    pod_stats(rig->pod, &after);
    assert_int_equal(after.dedup_removed - before.dedup_removed, sizeof data);
    assert_int_equal(after.unique_blocks, before.unique_blocks);
    rig_check(rig);
}

static void a_snapshot_keeps_its_content(void **state)
{
    struct rig *rig = *state;
    static uint8_t old[64 * 1024], new[64 * 1024], back[64 * 1024];
    fill(old, sizeof old, 8);
    fill(new, sizeof new, 9);
    assert_int_equal(rig_create_volume(rig, "v", 4 * MIB), 0);
    assert_int_equal(rig_write(rig, "v", 0, old, sizeof old), 0);
    assert_int_equal(rig_named(rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
    assert_int_equal(rig_write(rig, "v", 0, new, sizeof new), 0);
    assert_int_equal(rig_named(rig, POD_CLONE_CREATE, "v@s", "c", 0), 0);
    assert_int_equal(rig_read(rig, "v@s", 0, back, sizeof back), 0);
    assert_memory_equal(old, back, sizeof old);
    assert_int_equal(rig_read(rig, "c", 0, back, sizeof back), 0);
    assert_memory_equal(old, back, sizeof old);
    assert_int_equal(rig_read(rig, "v", 0, back, sizeof back), 0);
    assert_memory_equal(new, back, sizeof new);
    rig_check(rig);
    /* Two children: the deleted snapshot stays, hidden. */
    assert_int_equal(rig_named(rig, POD_SNAPSHOT_DELETE, "v@s", NULL, 0), 0);
    rig_check(rig);
    assert_int_equal(rig_read(rig, "c", 0, back, sizeof back), 0);
    assert_memory_equal(old, back, sizeof old);
    assert_int_equal(rig_named(rig, POD_VOLUME_DELETE, "c", NULL, 0), 0);
    rig_check(rig);
    assert_int_equal(rig_read(rig, "v", 0, back, sizeof back), 0);
    assert_memory_equal(new, back, sizeof new);
    assert_int_equal(rig_named(rig, POD_VOLUME_DELETE, "v", NULL, 0), 0);
    rig_check(rig);
    struct pod_stats stats;
    pod_stats(rig->pod, &stats);
    assert_int_equal(stats.unique_blocks, 0);
    assert_int_equal(stats.releasing, 0);
}

static void an_orderly_restart_replays_nothing(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[64 * 1024], back[64 * 1024];
    fill(data, sizeof data, 10);
    assert_int_equal(rig_create_volume(rig, "v", 4 * MIB), 0);
    assert_int_equal(rig_write(rig, "v", 4096, data, sizeof data), 0);
    for (int i = 0; i < 3; i++) {
        rig_close(rig);
        assert_int_equal(rig_open(rig), 0);
        assert_int_equal(rig_read(rig, "v", 4096, back, sizeof back), 0);
        assert_memory_equal(data, back, sizeof data);
    }
    rig_check(rig);
}

/* The snapshot's pages own their leaves; the volume, which shares the root, does not. */
static void trimming_a_whole_leaf_leaves_the_snapshot_alone(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[64 * 1024], back[64 * 1024];
    fill(data, sizeof data, 11);
    assert_int_equal(rig_create_volume(rig, "v", 8 * MIB), 0);
    assert_int_equal(rig_write(rig, "v", 3 * MIB, data, sizeof data), 0);
    assert_int_equal(rig_named(rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
    assert_int_equal(rig_range(rig, POD_TRIM, "v", 2 * MIB, 2 * MIB), 0);
    assert_int_equal(rig_read(rig, "v@s", 3 * MIB, back, sizeof back), 0);
    assert_memory_equal(data, back, sizeof data);
    rig_check(rig);
}

static void on_done(struct pod_io *io, int status)
{
    (void)status;
    *(bool *)io->user = true;
}

static void a_large_trim_does_not_hold_up_others(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[4096];
    fill(data, sizeof data, 13);
    assert_int_equal(rig_create_volume(rig, "large", 1024ull * MIB), 0);
    assert_int_equal(rig_create_volume(rig, "small", MIB), 0);
    for (uint64_t at = 0; at < 1024; at += 2)
        assert_int_equal(rig_write(rig, "large", at * MIB, data, sizeof data), 0);
    bool trimmed = false, written = false;
    struct pod_io trim = {.op = POD_TRIM, .length = 1024ull * MIB, .user = &trimmed};
    struct pod_io write = {.op = POD_WRITE, .length = sizeof data, .buf = data, .user = &written};
    assert_int_equal(pod_image_open(rig->pod, "large", &trim.image, NULL), 0);
    assert_int_equal(pod_image_open(rig->pod, "small", &write.image, NULL), 0);
    assert_int_equal(pod_submit(rig->pod, &trim, on_done), 0);
    assert_int_equal(pod_submit(rig->pod, &write, on_done), 0);
    while (!written)
        (void)rig_step(rig);
    assert_false(trimmed);
    while (!trimmed)
        (void)rig_step(rig);
    assert_int_equal(trim.status, 0);
    pod_image_close(trim.image);
    pod_image_close(write.image);
    struct pod_image_info info;
    assert_int_equal(pod_image_by_name(rig->pod, "large", &info), 0);
    assert_int_equal(info.space.logical, 0);
    rig_check(rig);
}

static int change(struct rig *rig, enum pod_manage_op op, uint64_t size, uint64_t id, uint64_t tag)
{
    struct pod_manage req = {
        .op = op, .name = "v", .size_bytes = size, .expect_id = id, .expect_tag = tag, .allow_shrink = true};
    return rig_manage(rig, &req);
}

static uint64_t tag_of(struct rig *rig, const char *name)
{
    struct pod_image_info info;
    assert_int_equal(pod_image_by_name(rig->pod, name, &info), 0);
    return pod_image_tag(&info);
}

static void a_change_can_depend_on_what_its_sender_saw(void **state)
{
    struct rig *rig = *state;
    struct pod_image_info seen;
    assert_int_equal(rig_create_volume(rig, "v", 16 * MIB), 0);
    assert_int_equal(pod_image_by_name(rig->pod, "v", &seen), 0);
    const uint64_t tag = pod_image_tag(&seen);
    assert_int_equal(change(rig, POD_VOLUME_RESIZE, 20 * MIB, seen.id, tag), 0);
    assert_int_not_equal(tag_of(rig, "v"), tag);
    assert_int_equal(change(rig, POD_VOLUME_RESIZE, 8 * MIB, 0, tag), PS_ECHANGED);
    assert_int_equal(change(rig, POD_VOLUME_DELETE, 0, seen.id + 1, 0), PS_ECHANGED);
    assert_int_equal(pod_image_by_name(rig->pod, "v", &seen), 0);
    assert_int_equal(seen.size_bytes, 20 * MIB);

    const uint64_t before = tag_of(rig, "v");
    assert_int_equal(rig_named(rig, POD_SNAPSHOT_CREATE, "v@s", "", 0), 0);
    assert_int_equal(change(rig, POD_VOLUME_DELETE, 0, 0, before), PS_ECHANGED);
    /* What is written doesn't count. */
    static const uint8_t data[4096] = {1};
    const uint64_t now = tag_of(rig, "v");
    assert_int_equal(rig_write(rig, "v", 0, data, sizeof data), 0);
    assert_int_equal(tag_of(rig, "v"), now);
    assert_int_equal(pod_image_by_name(rig->pod, "v", &seen), 0);
    assert_int_equal(seen.activity.writes, 1);
    assert_int_equal(seen.activity.written_bytes, sizeof data);
    assert_int_equal(seen.activity.reads, 0);
    assert_int_equal(rig_named(rig, POD_SNAPSHOT_DELETE, "v@s", "", 0), 0);
    assert_int_equal(change(rig, POD_VOLUME_DELETE, 0, seen.id, tag_of(rig, "v")), 0);
}

struct memory_use {
    const struct rig *rig;
    uint64_t most;
};

struct writer {
    struct pod_io io;
    bool busy;
};

static void on_written(struct pod_io *io, int status)
{
    assert_int_equal(status, 0);
    *(bool *)io->user = false;
}

static void write_sparsely(struct rig *rig, struct writer *w, struct pod_image *image, uint64_t offset,
                           void *data)
{
    w->io = (struct pod_io){
        .op = POD_WRITE, .image = image, .offset = offset, .length = 4096, .buf = data, .user = &w->busy};
    w->busy = true;
    assert_int_equal(pod_submit(rig->pod, &w->io, on_written), 0);
}

static void note_memory(void *user)
{
    struct memory_use *use = user;
    struct pod_stats now;
    if (!use->rig->pod)
        return;
    pod_stats(use->rig->pod, &now);
    if (now.memory_bytes > use->most)
        use->most = now.memory_bytes;
}

/* There is always a batch on its way to the device; each write changes a page of the map. */
static void metadata_keeps_within_its_part_however_full_the_queue_is(void **state)
{
    enum {
        WRITERS = 16,
        PAGES = 2500
    };
    struct rig *rig = *state;
    static uint8_t data[4096];
    static struct writer writers[WRITERS];
    struct pod_image *image;
    struct pod_stats before;
    static struct memory_use use; /* the rig's end looks at it, too */
    use = (struct memory_use){.rig = rig};
    rig_close(rig);
    rig->config.metadata_cache_bytes = MIB;
    assert_int_equal(rig_open(rig), 0);
    assert_int_equal(rig_create_volume(rig, "v", (PAGES + WRITERS) * 2ull * MIB), 0);
    assert_int_equal(pod_image_open(rig->pod, "v", &image, NULL), 0);
    pod_stats(rig->pod, &before);
    fill(data, sizeof data, 1);
    rig->beside = note_memory;
    rig->beside_user = &use;
    const uint64_t most = 2 * MIB; /* beside whole pages, what was changed in all of them */
    for (uint64_t page = 0; page < PAGES;) {
        int written = 0;
        (void)pod_turn(rig->pod, rig->now_ns);
        for (int i = 0; i < WRITERS && written < WRITERS / 2; i++)
            if (!writers[i].busy) {
                write_sparsely(rig, &writers[i], image, page++ * 2 * MIB, data);
                written++;
            }
        (void)pod_turn(rig->pod, rig->now_ns);
        if (page > WRITERS / 2) /* two are under way before the device ends one */
            (void)rig_step(rig);
    }
    while (rig_pending(rig))
        (void)rig_step(rig);
    assert_true(use.most - before.memory_bytes < most);
    pod_image_close(image);
    rig_crash(rig, BLKDEV_MEM_LOSE); /* and all of it is replayed */
    assert_int_equal(rig_open(rig), 0);
    assert_true(use.most - before.memory_bytes < most);
    rig_check(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_acknowledged_survives_a_power_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(unaligned_writes_keep_their_surroundings, setup, teardown),
        cmocka_unit_test_setup_teardown(equal_blocks_are_stored_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_deleted_and_comes_again_is_stored_once, setup, teardown),
        cmocka_unit_test_setup_teardown(measuring_tells_what_writing_will_take, setup, teardown),
        cmocka_unit_test_setup_teardown(duplicates_of_cold_data_are_found_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_keeps_its_content, setup, teardown),
        cmocka_unit_test_setup_teardown(trimming_a_whole_leaf_leaves_the_snapshot_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_trim_does_not_hold_up_others, setup, teardown),
        cmocka_unit_test_setup_teardown(an_orderly_restart_replays_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_change_can_depend_on_what_its_sender_saw, setup, teardown),
        cmocka_unit_test_setup_teardown(metadata_keeps_within_its_part_however_full_the_queue_is, setup,
                                        teardown),
    };
    return cmocka_run_group_tests_name("pod", tests, NULL, NULL);
}
