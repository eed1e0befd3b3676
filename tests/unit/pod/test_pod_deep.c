/* The deep check of a pod that hosts use, and of a pool that nobody has open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/check.h"
#include "node/pod/collect.h"
#include "node/pod/deep.h"
#include "node/pod/pod_impl.h"
#include "tests/support/pod_check.h"
#include "tests/support/pod_rig.h"

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    BLOCK = 4 * KIB,
    MS = 1000000,
    LEAVES = 400,
};

static struct rig rig;
static char events[64][320];
static unsigned event_count;

static void on_event(void *user, const char *kind, uint64_t image_id, const char *text)
{
    (void)user;
    (void)image_id;
    if (event_count < sizeof events / sizeof events[0])
        (void)snprintf(events[event_count++], sizeof events[0], "%s %s", kind, text);
}

static bool is_told(const char *a, const char *b)
{
    for (unsigned i = 0; i < event_count; i++)
        if (strstr(events[i], a) && strstr(events[i], b))
            return true;
    return false;
}

static int setup(void **state)
{
    (void)state;
    event_count = 0;
    rig_create(&rig, 192 * MIB, 11);
    rig.config.event = on_event;
    rig.config.survey_interval_ns = UINT64_MAX;
    rig.config.checkpoint_log_bytes = 2 * MIB;
    rig.config.metadata_cache_bytes = MIB;
    rig.config.gc_threshold = 10;
    rig.config.segment_bytes = 2 * MIB;
    assert_int_equal(rig_open(&rig), 0);
    assert_int_equal(rig_create_volume(&rig, "v", 64 * MIB), 0);
    for (unsigned i = 0; i < 64; i++)
        rig_write_noise(&rig, "v", 32ull * i, 32, i % 40);
    assert_int_equal(rig_named(&rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
    for (unsigned i = 0; i < 20; i++)
        rig_write_noise(&rig, "v", 64ull * i, 32, 100 + i);
    rig_settle(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_crash(&rig, BLKDEV_MEM_KEEP);
    rig_destroy(&rig);
    return 0;
}

static struct pod_deep_info look(void)
{
    struct pod_deep_info info;
    pod_deep_look(rig.pod, &info);
    return info;
}

static struct pod_deep_info deep(void)
{
    const uint64_t runs = look().runs;
    pod_deep(rig.pod);
    assert_true(look().running);
    for (int i = 0; look().runs == runs; i++) {
        rig.now_ns += MS;
        assert_true(rig_step(&rig));
        assert_true(i < 1000000);
    }
    return look();
}

/* Nothing of it is under way or due. */
static void until_idle(void)
{
    for (int i = 0; !deep_is_quiet(rig.pod) || deep_next_ns(rig.pod) <= rig.now_ns; i++) {
        rig.now_ns += MS;
        assert_true(rig_step(&rig));
        assert_true(i < 1000000);
    }
}

static uint64_t block_at(const char *name, uint64_t lba)
{
    const struct image *image = images_find(rig.pod->images, name);
    const uint64_t *slots;
    uint64_t end;
    assert_true(map_leaf(rig.pod->view, image->root, image->depth, lba, false, &slots, &end));
    assert_non_null(slots);
    return entry_id(slots[lba % META_SLOTS]);
}

static uint64_t value_of(struct meta_key key)
{
    uint64_t value = 0;
    assert_true(meta_get(rig.pod->meta, key, &value));
    return value;
}

static void flip(uint64_t addr)
{
    uint8_t byte;
    blkdev_mem_peek(rig.mem, addr, &byte, 1, false);
    byte ^= 8;
    blkdev_mem_poke(rig.mem, addr, &byte, 1);
}

/* ---- online */

static void a_sound_pod_is_found_sound(void **state)
{
    (void)state;
    const struct pod_deep_info info = deep();
    assert_false(info.failed);
    assert_int_equal(info.damage, 0);
    assert_int_equal(info.blocks, rig.pod->unique_blocks);
    assert_int_equal(info.images, 2);
    assert_true(is_told("deep.ended", "0 found wrong"));
    assert_int_equal(deep_memory(rig.pod), 0);
}

static void damage_is_told_and_kept(void **state)
{
    (void)state;
    struct pod_finding f;
    const uint64_t block = block_at("v", 5);
    meta_set(rig.pod->meta, meta_key_flat(META_REF, block), 3);
    rig_write_noise(&rig, "v", 3000, 1, 999); /* something for a checkpoint */
    const struct pod_deep_info info = deep();
    assert_int_equal(info.damage, 1);
    assert_int_equal(pod_deep_finding(rig.pod, 0, &f), 0);
    assert_int_equal(f.subject, block);
    assert_true(is_told("deep.damage", "owned references less"));
    assert_int_equal(pod_deep_finding(rig.pod, 1, &f), 0);
    assert_true(f.lba == 5 && f.image == images_find(rig.pod->images, "v")->id);
    assert_int_equal(pod_deep_finding(rig.pod, info.findings, &f), PS_ENOTFOUND);
}

/* A small cache of metadata forgets what is not among the last pages that were read. */
static void read_far_and_wide(void)
{
    uint8_t block[BLOCK];
    for (uint64_t i = 0; i < LEAVES; i++)
        assert_int_equal(rig_read(&rig, "w", i * 2 * MIB, block, sizeof block), 0);
}

static void a_rotten_page_is_found_though_it_is_in_memory(void **state)
{
    (void)state;
    uint8_t block[BLOCK];
    assert_int_equal(rig_create_volume(&rig, "w", (uint64_t)LEAVES * 2 * MIB), 0);
    for (uint64_t i = 0; i < LEAVES; i++)
        rig_write_noise(&rig, "w", i * META_SLOTS, 1, 1);
    checkpoint_want(rig.pod);
    rig_settle(&rig);
    const struct image *image = images_find(rig.pod->images, "v");
    const uint64_t leaf = view_slots(rig.pod->view, entry_page_key(image->root), false)[0];
    read_far_and_wide();
    const struct place place = meta_load_place(rig.pod->meta, entry_page_key(leaf));
    assert_false(place_is_none(place));
    assert_int_equal(rig_read(&rig, "v", 0, block, sizeof block), 0);
    rig_rot(&rig, place, 3);
    assert_int_equal(rig_read(&rig, "v", 0, block, sizeof block), 0);
    assert_true(deep().damage > 0);
    assert_true(is_told("deep.damage", "v: LBA 0 to 511 can't be found"));
}

static unsigned beside_count;
static struct prng beside_prng;

/* One of many hosts' requests at a time. */
static void on_beside(struct pod_io *io, int status)
{
    assert_int_equal(status, 0);
    io->user = NULL;
}

static struct pod_io beside_io;
static uint8_t beside_data[32 * BLOCK];
static struct pod_image *beside_image;
static struct pod_manage beside_manage;
static bool managing;

static void on_managed(struct pod_manage *req, int status)
{
    (void)req;
    (void)status;
    managing = false;
}

static void write_beside(void *user)
{
    (void)user;
    if (!managing && prng_below(&beside_prng, 200) == 0) {
        static const enum pod_manage_op ops[] = {POD_SNAPSHOT_CREATE, POD_SNAPSHOT_DELETE,
                                                 POD_SNAPSHOT_CREATE};
        beside_manage = (struct pod_manage){.op = ops[prng_below(&beside_prng, 3)]};
        (void)snprintf(beside_manage.name, sizeof beside_manage.name, "v@t%u",
                       (unsigned)prng_below(&beside_prng, 6));
        managing = pod_manage(rig.pod, &beside_manage, on_managed) == 0;
    }
    if (beside_io.user)
        return;
    /* Some are written again and again. */
    struct prng p;
    prng_seed(&p, prng_below(&beside_prng, 3) ? prng_next(&beside_prng) : prng_below(&beside_prng, 20));
    prng_fill(&p, beside_data, sizeof beside_data);
    beside_io = (struct pod_io){.op = prng_below(&beside_prng, 8) ? POD_WRITE : POD_TRIM,
                                .image = beside_image,
                                .offset = prng_below(&beside_prng, 2000) * BLOCK,
                                .length = (1 + prng_below(&beside_prng, 32)) * BLOCK,
                                .buf = beside_data,
                                .user = &beside_io};
    assert_int_equal(pod_submit(rig.pod, &beside_io, on_beside), 0);
    beside_count++;
}

static void what_hosts_do_meanwhile_is_not_taken_for_damage(void **state)
{
    (void)state;
    prng_seed(&beside_prng, 5);
    /* So slow that what the cut refers to would be written over, many times, if it were not held. */
    rig.pod->config.scrub_rate = MIB / 2;
    rig.leave_segments = 20;
    assert_int_equal(pod_image_open(rig.pod, "v", &beside_image, NULL), 0);
    rig.beside = write_beside;
    uint64_t collected = 0;
    unsigned made = 0;
    for (unsigned i = 0; i < 12; i++) {
        const struct pod_deep_info info = deep();
        if (info.failed) {
            assert_non_null(strstr(info.why, "little room"));
            for (unsigned n = 0; n < 3000; n++)
                (void)rig_step(&rig);
            continue;
        }
        if (info.damage) {
            struct pod_finding f;
            assert_int_equal(pod_deep_finding(rig.pod, 0, &f), 0);
            fail_msg("%s", f.text);
        }
        made++;
    }
    struct pod_stats s;
    pod_stats(rig.pod, &s);
    collected = s.collected;
    rig.beside = NULL;
    while (beside_io.user || managing)
        (void)rig_step(&rig);
    pod_image_close(beside_image);
    rig_check(&rig);
    print_message("%u checks beside %u requests, %u segments collected, %u checkpoints\n", made, beside_count,
                  (unsigned)collected, (unsigned)s.checkpoints);
    assert_true(made >= 10 && beside_count > 500 && collected > 0);
}

static void an_end_does_not_wait_for_it(void **state)
{
    (void)state;
    pod_deep(rig.pod);
    for (int i = 0; i < 20; i++)
        (void)rig_step(&rig);
    rig_close(&rig);
    assert_int_equal(rig_open(&rig), 0);
    pod_deep(rig.pod);
    for (int i = 0; i < 5; i++)
        (void)rig_step(&rig);
}

static void space_is_known_after_a_check(void **state)
{
    (void)state;
    struct pod_image_info info;
    struct pod_stats s;
    assert_int_equal(pod_image_by_name(rig.pod, "v", &info), 0);
    assert_false(info.held.known);
    (void)deep();
    assert_int_equal(pod_image_by_name(rig.pod, "v", &info), 0);
    assert_true(info.held.known);
    assert_int_equal(info.held.referenced_blocks * BLOCK, info.space.logical);
    assert_true(info.held.exclusive_blocks >= 20 * 32 && info.held.exclusive_bytes > 0);
    assert_int_equal(pod_image_by_name(rig.pod, "v@s", &info), 0);
    pod_stats(rig.pod, &s);
    assert_int_equal(rig_named(&rig, POD_SNAPSHOT_DELETE, "v@s", NULL, 0), 0);
    rig_settle(&rig);
    const uint64_t before = s.stored_bytes;
    pod_stats(rig.pod, &s);
    assert_true(info.held.reclaimable_bytes > 0);
    assert_int_equal(before - s.stored_bytes, info.held.reclaimable_bytes);
    assert_int_equal(rig_create_volume(&rig, "new", MIB), 0);
    assert_int_equal(pod_image_by_name(rig.pod, "new", &info), 0);
    assert_false(info.held.known);
}

static void it_comes_by_itself_when_something_has_changed(void **state)
{
    (void)state;
    rig.pod->config.survey_interval_ns = 1000ull * MS;
    for (int i = 0; !look().runs; i++) {
        rig.now_ns += 10 * MS;
        (void)rig_step(&rig);
        assert_true(i < 10000);
    }
    rig_settle(&rig);
    const uint64_t runs = look().runs;
    assert_false(is_told("deep.ended", ""));
    for (int i = 0; i < 1000; i++) {
        rig.now_ns += 10 * MS;
        (void)rig_step(&rig);
    }
    assert_int_equal(look().runs, runs);
    rig_write_noise(&rig, "v", 0, 1, 77);
    for (int i = 0; i < 1000; i++) {
        rig.now_ns += 10 * MS;
        (void)rig_step(&rig);
    }
    assert_true(look().runs > runs);
}

static void a_lost_record_is_said_to_be_whose_it_is(void **state)
{
    (void)state;
    struct pod_finding f;
    uint8_t data[BLOCK];
    const uint64_t block = block_at("v@s", 3);
    rig_close(&rig); /* nothing is in the cache */
    assert_int_equal(rig_open(&rig), 0);
    flip(place_addr(l2p_place(value_of(l2p_key(block_group(block))))) + 100);
    assert_int_equal(rig_read(&rig, "v@s", 3 * BLOCK, data, sizeof data), PS_EDATALOSS);
    until_idle();
    assert_int_equal(pod_loss(rig.pod, 0, &f), 0);
    assert_int_equal(f.subject, block_group(block));
    assert_true(f.lba <= 3 && f.lba + f.blocks > 3);
    assert_true(is_told("volume.data_loss", "of v@s: lost"));
    /* Blocks 40 times 32 on were written once more, as duplicates. */
    assert_true(is_told("volume.data_loss", "LBA 1280 to 1287 of v@s: lost"));
    assert_false(look().runs); /* it was not a whole check */
    /* Once is enough. */
    const uint32_t losses = look().losses;
    assert_int_equal(rig_read(&rig, "v@s", 3 * BLOCK, data, sizeof data), PS_EDATALOSS);
    for (int i = 0; i < 2000; i++) {
        rig.now_ns += MS;
        (void)rig_step(&rig);
    }
    assert_int_equal(look().losses, losses);
    /* A scrub finds it anew. */
    pod_scrub(rig.pod);
    for (int i = 0; i < 2000; i++) {
        rig.now_ns += MS;
        (void)rig_step(&rig);
    }
    assert_int_equal(look().losses, losses);
}

/* A host that always comes, so that a check is as slow as its rate. */
static void read_beside(void *user)
{
    (void)user;
    if (beside_io.user)
        return;
    beside_io = (struct pod_io){
        .op = POD_READ, .image = beside_image, .length = BLOCK, .buf = beside_data, .user = &beside_io};
    assert_int_equal(pod_submit(rig.pod, &beside_io, on_beside), 0);
}

static void begin_reads(void)
{
    assert_int_equal(pod_image_open(rig.pod, "v", &beside_image, NULL), 0);
    rig.beside = read_beside;
    rig.pod->config.scrub_rate = 64 * KIB;
}

static void end_reads(void)
{
    rig.beside = NULL;
    while (beside_io.user)
        (void)rig_step(&rig);
    pod_image_close(beside_image);
}

static unsigned times_told(const char *text)
{
    unsigned n = 0;
    for (unsigned i = 0; i < event_count; i++)
        n += strstr(events[i], text) != NULL;
    return n;
}

/* So little that checks give way. */
static void room(bool none)
{
    rig.leave_segments = none ? 2 : 60;
    for (int i = 0; i < 20; i++)
        (void)rig_step(&rig);
    assert_int_equal(collect_is_pressed(rig.pod), none);
}

static void whose_a_lost_record_is_is_looked_for_until_it_is_known(void **state)
{
    (void)state;
    struct pod_finding f;
    uint8_t data[BLOCK];
    const uint64_t block = block_at("v@s", 3);
    rig_close(&rig);
    assert_int_equal(rig_open(&rig), 0);
    flip(place_addr(l2p_place(value_of(l2p_key(block_group(block))))) + 100);
    room(false);
    begin_reads();
    assert_int_equal(rig_read(&rig, "v@s", 3 * BLOCK, data, sizeof data), PS_EDATALOSS);
    for (int i = 0; look().losses == 0; i++) { /* it knows some, not all */
        rig.now_ns += MS;
        (void)rig_step(&rig);
        assert_true(i < 100000);
    }
    assert_false(deep_is_quiet(rig.pod));
    assert_false(is_told("volume.data_loss", " of v:"));
    room(true);
    room(false);
    for (int i = 0; i < 10000; i++) {
        rig.now_ns += MS;
        (void)rig_step(&rig);
    }
    assert_true(deep_is_quiet(rig.pod)); /* not at once */
    rig.now_ns += 60000ull * MS;
    (void)rig_step(&rig);
    assert_false(deep_is_quiet(rig.pod));
    end_reads();
    until_idle();
    assert_true(is_told("volume.data_loss", "LBA 1280 to 1287 of v: lost"));
    assert_int_equal(pod_loss(rig.pod, 0, &f), 0); /* that it knew at first */
    assert_int_equal(times_told(f.text), 1);
    assert_false(look().runs);
}

static void a_check_that_gave_way_comes_again_by_itself(void **state)
{
    (void)state;
    room(false);
    begin_reads();
    rig.pod->config.survey_interval_ns = 1000ull * MS;
    pod_deep(rig.pod);
    for (int i = 0; rig.pod->deep->state < DEEP_RUNS; i++) {
        rig.now_ns += MS;
        (void)rig_step(&rig);
        assert_true(i < 10000);
    }
    room(true);
    end_reads();
    until_idle();
    assert_true(look().failed && look().runs == 1);
    assert_true(is_told("deep.failed", "little room"));
    room(false); /* nothing is written meanwhile */
    for (int i = 0; look().runs == 1; i++) {
        rig.now_ns += 10 * MS;
        (void)rig_step(&rig);
        assert_true(i < 10000);
    }
    assert_false(look().failed);
    assert_int_equal(look().blocks, rig.pod->unique_blocks);
}

/* ---- offline */

struct check {
    struct pod_check_request request;
    char first[256];
    unsigned found;
    bool done;
};

static void on_found(void *user, const struct survey_finding *f)
{
    struct check *c = user;
    if (c->found++ == 0)
        memcpy(c->first, f->text, sizeof c->first);
}

static void on_done(void *user, struct pod_check_request *request)
{
    struct check *c = user;
    (void)request;
    c->done = true;
}

static void on_open(void *user, int status, struct pod *pod)
{
    (void)user;
    (void)pod;
    rig.open_status = status;
    rig.opened = true;
}

/* Of the rig's device, which no pod has open. */
static struct check check(bool records)
{
    static struct check c;
    struct blkdev_health before, after;
    c = (struct check){.request = {.records = records, .found = on_found, .done = on_done, .user = &c}};
    blkdev_health(rig.mem, &before);
    struct pod_config config = rig.config;
    config.check_only = true;
    rig.opened = false;
    assert_int_equal(pod_open(rig.dev, &config, POD_OPEN_ONLY, on_open, NULL, &rig.error, &rig.pod), 0);
    while (!rig.opened)
        (void)rig_step(&rig);
    assert_int_equal(rig.open_status, 0);
    pod_check(rig.pod, &c.request);
    for (int i = 0; !c.done; i++) {
        (void)rig_step(&rig);
        assert_true(i < 100000);
    }
    pod_destroy(rig.pod);
    rig.pod = NULL;
    blkdev_health(rig.mem, &after);
    assert_int_equal(before.write_ops, after.write_ops);
    assert_int_equal(before.flush_ops, after.flush_ops);
    assert_int_equal(before.erase_ops, after.erase_ops);
    assert_int_equal(c.request.status, 0);
    return c;
}

static void a_crashed_pool_is_checked_with_its_log(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 10; i++)
        rig_write_noise(&rig, "v", 32 * i, 20, 500 + i);
    assert_true(rig.pod->log_bytes > 0);
    const uint64_t blocks = rig.pod->unique_blocks;
    rig_crash(&rig, BLKDEV_MEM_KEEP);
    const struct check c = check(true);
    assert_int_equal(c.found, 0);
    assert_int_equal(c.request.totals.damage, 0);
    assert_int_equal(c.request.totals.blocks, blocks);
    assert_true(c.request.records_read > blocks / 8);
    /* It is as it was. */
    assert_int_equal(rig_open(&rig), 0);
    assert_int_equal(rig.pod->unique_blocks, blocks);
    rig_check(&rig);
}

static void damage_is_found_offline(void **state)
{
    (void)state;
    const uint64_t block = block_at("v", 5);
    meta_set(rig.pod->meta, meta_key_flat(META_REF, block), 3);
    rig_write_noise(&rig, "v", 3000, 1, 999);
    rig_close(&rig);
    struct check c = check(false);
    assert_int_equal(c.request.totals.damage, 1);
    assert_non_null(strstr(c.first, "owned references less"));
    assert_int_equal(c.request.totals.findings[SURVEY_AT], 1);
    assert_int_equal(rig_open(&rig), 0);
}

static void a_rotten_record_is_found_only_by_reading_all(void **state)
{
    (void)state;
    const uint64_t block = block_at("v@s", 3);
    flip(place_addr(l2p_place(value_of(l2p_key(block_group(block))))) + 100);
    rig_crash(&rig, BLKDEV_MEM_KEEP);
    assert_int_equal(check(false).request.totals.damage, 0);
    const struct check c = check(true);
    assert_int_equal(c.request.totals.damage, 1);
    assert_int_equal(c.request.totals.findings[SURVEY_RECORD], 1);
    assert_true(c.request.totals.findings[SURVEY_AT] >= 2);
    assert_int_equal(rig_open(&rig), 0);
}

static void what_the_log_frees_twice_is_damage_and_no_end(void **state)
{
    (void)state;
    const uint64_t block = block_at("v", 5);
    const struct meta_key key = l2p_key(block_group(block));
    const uint64_t v = value_of(key);
    meta_set(rig.pod->meta, key, v & ~(1ull << block_slot(block)));
    checkpoint_want(rig.pod);
    rig_write_noise(&rig, "v", 3000, 1, 999);
    rig_settle(&rig);
    meta_set(rig.pod->meta, key, v);
    rig_write_noise(&rig, "v", 0, 32, 4711); /* frees the block, in the log alone */
    rig_crash(&rig, BLKDEV_MEM_KEEP);
    assert_true(check(false).request.totals.damage > 0);
}

static void what_the_log_frees_outside_of_the_pool_is_damage_and_no_end(void **state)
{
    (void)state;
    const struct meta_key key = l2p_key(block_group(block_at("v", 5)));
    const uint64_t v = value_of(key);
    const struct place far = place_make(1ull << 40, place_len(l2p_place(v)));
    meta_set(rig.pod->meta, key, l2p_make(far, l2p_blocks(v), l2p_live(v)));
    checkpoint_want(rig.pod);
    rig_write_noise(&rig, "v", 3000, 1, 999);
    rig_settle(&rig);
    meta_set(rig.pod->meta, key, v);
    rig_write_noise(&rig, "v", 0, 32, 4711);
    rig_crash(&rig, BLKDEV_MEM_KEEP);
    assert_true(check(false).request.totals.damage > 0);
}

static void what_the_log_frees_in_an_empty_segment_is_damage_and_no_end(void **state)
{
    (void)state;
    const uint64_t v = value_of(l2p_key(block_group(block_at("v", 5))));
    const uint32_t segment = place_segment(rig.pod, l2p_place(v));
    const int64_t live = (int64_t)segments_live(rig.pod->segments, segment);
    segments_add_live(rig.pod->segments, segment, 1 - live);
    checkpoint_want(rig.pod);
    rig_write_noise(&rig, "v", 3000, 1, 999);
    rig_settle(&rig);
    segments_add_live(rig.pod->segments, segment, live - 1);
    rig_write_noise(&rig, "v", 0, 32, 4711);
    rig_crash(&rig, BLKDEV_MEM_KEEP);
    assert_true(check(false).request.totals.findings[SURVEY_SEGMENT] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sound_pod_is_found_sound, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_told_and_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_rotten_page_is_found_though_it_is_in_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(what_hosts_do_meanwhile_is_not_taken_for_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(an_end_does_not_wait_for_it, setup, teardown),
        cmocka_unit_test_setup_teardown(space_is_known_after_a_check, setup, teardown),
        cmocka_unit_test_setup_teardown(it_comes_by_itself_when_something_has_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_record_is_said_to_be_whose_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(whose_a_lost_record_is_is_looked_for_until_it_is_known, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_check_that_gave_way_comes_again_by_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(a_crashed_pool_is_checked_with_its_log, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_found_offline, setup, teardown),
        cmocka_unit_test_setup_teardown(a_rotten_record_is_found_only_by_reading_all, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_log_frees_twice_is_damage_and_no_end, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_log_frees_outside_of_the_pool_is_damage_and_no_end, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_the_log_frees_in_an_empty_segment_is_damage_and_no_end, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
