/* Garbage collection: a pool that is overwritten again and again while most of it lives.
 *
 *   test_pod_collect [SEED [TIMES [DEVICE_MIB]]]   1 2 256; the soak overwrites the pool's size so many
 * times; long: 1 20 512. Less than 256 MiB are full with the reserve. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/blkdev_fault.h"
#include "node/pod/collect.h"
#include "tests/support/pod_rig.h"

enum {
    MIB = 1 << 20,
    BLOCK = 4096,
    DEPTH = 16,
    WRITE_MAX = 8, /* blocks */
    SNAPSHOTS = 3,
};

static uint64_t seed = 1, times = 2, device_mib = 256;

struct write {
    struct pod_io io;
    uint8_t buf[WRITE_MAX * BLOCK];
    uint64_t lba, count;
    bool active;
};

/* What each block of an image holds, by a number that its content is made from; 0: a hole. */
struct soak {
    struct rig rig;
    struct prng prng;
    uint64_t blocks;
    uint32_t *tags, next_tag;
    struct {
        char name[16];
        uint32_t *tags;
    } snapshots[SNAPSHOTS];
    unsigned names;
    struct pod_image *image;
    struct write writes[DEPTH];
    unsigned in_flight;
    uint64_t written, crashes, taken, deleted, denser;
};

static void fill(uint8_t *block, uint32_t tag)
{
    struct prng p;
    prng_seed(&p, tag);
    memset(block, 0, BLOCK);
    if (tag)
        prng_fill(&p, block, tag % 4 ? BLOCK : BLOCK / 2); /* a quarter of them compresses */
    for (unsigned i = 0; tag % 8 == 1 && i < BLOCK; i++)
        block[i] = (uint8_t)('a' + block[i] % 16); /* and an eighth with zstd alone */
}

/* ---- writing */

static void on_write(struct pod_io *io, int status)
{
    struct write *w = container_of(io, struct write, io);
    struct soak *s = io->user;
    if (status)
        fail_msg("a write of %llu blocks at %llu: %s", (unsigned long long)w->count,
                 (unsigned long long)w->lba, ps_status_name(status));
    w->active = false;
    s->in_flight--;
    s->written += w->count;
}

static bool is_busy(const struct soak *s, uint64_t lba, uint64_t count)
{
    for (int i = 0; i < DEPTH; i++)
        if (s->writes[i].active && s->writes[i].lba < lba + count &&
            lba < s->writes[i].lba + s->writes[i].count)
            return true;
    return false;
}

static void start_write(struct soak *s, struct write *w, uint64_t lba, uint64_t count)
{
    w->lba = lba;
    w->count = count;
    for (uint64_t i = 0; i < count; i++) {
        /* Now and then what is stored already. */
        const uint32_t tag = prng_chance(&s->prng, 1, 16) ? s->tags[prng_below(&s->prng, s->blocks)] : 0;
        s->tags[lba + i] = tag ? tag : ++s->next_tag;
        fill(w->buf + i * BLOCK, s->tags[lba + i]);
    }
    w->io = (struct pod_io){.op = POD_WRITE,
                            .image = s->image,
                            .offset = lba * BLOCK,
                            .length = count * BLOCK,
                            .buf = w->buf,
                            .user = s};
    w->active = true;
    s->in_flight++;
    assert_int_equal(pod_submit(s->rig.pod, &w->io, on_write), 0);
}

static void step(struct soak *s)
{
    assert_true(rig_step(&s->rig));
}

static void drain(struct soak *s)
{
    for (uint64_t n = 0; s->in_flight; n++) {
        step(s);
        assert_true(n < 5000000);
    }
}

static struct write *idle_write(struct soak *s)
{
    for (uint64_t n = 0;; n++) {
        for (int i = 0; i < DEPTH; i++)
            if (!s->writes[i].active)
                return &s->writes[i];
        step(s);
        assert_true(n < 5000000);
    }
}

static void fill_volume(struct soak *s)
{
    for (uint64_t lba = 0; lba < s->blocks; lba += WRITE_MAX)
        start_write(s, idle_write(s), lba, WRITE_MAX);
    drain(s);
}

static void overwrite(struct soak *s)
{
    const uint64_t count = prng_chance(&s->prng, 1, 8) ? WRITE_MAX : 1;
    const uint64_t lba = prng_below(&s->prng, s->blocks - count);
    struct write *w = idle_write(s);
    if (!is_busy(s, lba, count))
        start_write(s, w, lba, count);
}

static void trim_some(struct soak *s)
{
    const uint64_t count = 1 + prng_below(&s->prng, 64), lba = prng_below(&s->prng, s->blocks - count);
    drain(s);
    assert_int_equal(rig_range(&s->rig, POD_TRIM, "v", lba * BLOCK, count * BLOCK), 0);
    memset(s->tags + lba, 0, count * sizeof s->tags[0]);
}

/* ---- snapshots */

static void take_snapshot(struct soak *s, unsigned i)
{
    drain(s);
    (void)snprintf(s->snapshots[i].name, sizeof s->snapshots[i].name, "v@%u", s->names++);
    assert_int_equal(rig_named(&s->rig, POD_SNAPSHOT_CREATE, s->snapshots[i].name, NULL, 0), 0);
    s->snapshots[i].tags = malloc(s->blocks * sizeof s->tags[0]);
    memcpy(s->snapshots[i].tags, s->tags, s->blocks * sizeof s->tags[0]);
    s->taken++;
}

static void delete_snapshot(struct soak *s, unsigned i)
{
    drain(s);
    assert_int_equal(rig_named(&s->rig, POD_SNAPSHOT_DELETE, s->snapshots[i].name, NULL, 0), 0);
    free(s->snapshots[i].tags);
    s->snapshots[i].tags = NULL;
    s->deleted++;
}

/* They come, and go when more than four fifths of the pool live. */
static void turn_snapshots(struct soak *s)
{
    struct pod_stats stats;
    pod_stats(s->rig.pod, &stats);
    const bool much = stats.stored_bytes > stats.capacity / 100 * 80;
    const unsigned i = (unsigned)prng_below(&s->prng, SNAPSHOTS);
    if (much)
        for (unsigned k = 0; k < SNAPSHOTS; k++)
            if (s->snapshots[k].tags)
                delete_snapshot(s, k);
    if (!much && !s->snapshots[i].tags && stats.stored_bytes < stats.capacity / 100 * 76)
        take_snapshot(s, i);
}

/* ---- verifying */

static void compare(struct soak *s, const char *name, const uint32_t *tags)
{
    enum {
        AT_ONCE = 64
    };
    static uint8_t back[AT_ONCE * BLOCK], block[BLOCK];
    for (uint64_t lba = 0; lba < s->blocks; lba += AT_ONCE) {
        assert_int_equal(rig_read(&s->rig, name, lba * BLOCK, back, sizeof back), 0);
        for (unsigned i = 0; i < AT_ONCE; i++) {
            fill(block, tags[lba + i]);
            if (memcmp(back + i * BLOCK, block, BLOCK) != 0)
                fail_msg("block %llu of %s is not %u", (unsigned long long)(lba + i), name, tags[lba + i]);
        }
    }
}

static void verify(struct soak *s)
{
    drain(s);
    compare(s, "v", s->tags);
    for (unsigned i = 0; i < SNAPSHOTS; i++)
        if (s->snapshots[i].tags)
            compare(s, s->snapshots[i].name, s->snapshots[i].tags);
    rig_check(&s->rig);
}

static void reopen(struct soak *s)
{
    struct pod_stats stats;
    drain(s);
    pod_stats(s->rig.pod, &stats);
    s->denser += stats.cold_in - stats.cold_out;
    if (prng_chance(&s->prng, 1, 2)) {
        pod_image_close(s->image);
        rig_close(&s->rig);
    } else {
        rig_crash(&s->rig, (enum blkdev_mem_cut)prng_below(&s->prng, BLKDEV_MEM_CUTS));
        free(s->image);
        s->crashes++;
    }
    if (rig_open(&s->rig))
        fail_msg("the pool does not open: %s", s->rig.error.detail);
    assert_int_equal(pod_image_open(s->rig.pod, "v", &s->image, NULL), 0);
}

/* ---- */

static struct soak *soak_create(uint64_t mib, uint64_t percent)
{
    struct soak *s = calloc(1, sizeof *s);
    rig_create(&s->rig, mib * MIB, seed);
    s->rig.audited = true;
    prng_seed(&s->prng, seed);
    s->rig.random = true;
    assert_int_equal(rig_open(&s->rig), 0);
    struct pod_stats stats;
    pod_stats(s->rig.pod, &stats);
    s->blocks = stats.capacity / 100 * percent / BLOCK / 64 * 64;
    s->tags = calloc(s->blocks, sizeof s->tags[0]);
    assert_int_equal(rig_create_volume(&s->rig, "v", s->blocks * BLOCK), 0);
    assert_int_equal(pod_image_open(s->rig.pod, "v", &s->image, NULL), 0);
    return s;
}

static void soak_destroy(struct soak *s)
{
    pod_image_close(s->image);
    rig_close(&s->rig);
    rig_destroy(&s->rig);
    for (unsigned i = 0; i < SNAPSHOTS; i++)
        free(s->snapshots[i].tags);
    free(s->tags);
    free(s);
}

static void a_pool_is_overwritten_for_ever(void **state)
{
    struct soak *s = soak_create(device_mib, 72);
    (void)state;
    fill_volume(s);
    const uint64_t all = times * device_mib * MIB / BLOCK, before = s->written;
    uint64_t verified = before, turned = before;
    while (s->written - before < all) {
        overwrite(s);
        if (prng_chance(&s->prng, 1, 400))
            trim_some(s);
        if (s->written - turned > s->blocks / 64) {
            turn_snapshots(s);
            turned = s->written;
        }
        if (s->written - verified > all / 4) {
            reopen(s);
            verify(s);
            verified = s->written;
        }
    }
    verify(s);
    reopen(s);
    verify(s);
    struct pod_stats stats;
    pod_stats(s->rig.pod, &stats);
    (void)printf("%llu MiB overwritten, %llu snapshots, %llu crashes; zstd saved %llu KiB; log %llu MiB, "
                 "moved %llu, metadata %llu; free "
                 "%llu, stored %llu, metadata %llu, garbage %llu of %llu\n",
                 (unsigned long long)((s->written - before) * BLOCK / MIB), (unsigned long long)s->taken,
                 (unsigned long long)s->crashes, (unsigned long long)s->denser / 1024,
                 (unsigned long long)(stats.flash_written_data / MIB),
                 (unsigned long long)(stats.flash_written_moved / MIB),
                 (unsigned long long)(stats.flash_written_metadata / MIB),
                 (unsigned long long)(stats.free_bytes / MIB), (unsigned long long)(stats.stored_bytes / MIB),
                 (unsigned long long)(stats.metadata_bytes / MIB),
                 (unsigned long long)(stats.garbage_bytes / MIB), (unsigned long long)(stats.capacity / MIB));
    assert_true(stats.flash_written_moved > 0 && s->denser > 0);
    soak_destroy(s);
}

/* ---- stories: a pod of which a few segments are mostly dead */

enum {
    STORY_BLOCKS = 1024,
    GROUP = 8,
};

struct story {
    struct rig rig;
    uint32_t tags[STORY_BLOCKS], next_tag;
    unsigned stuck, losses, directories;
};

static void on_event(void *user, const char *kind, uint64_t image, const char *text)
{
    struct story *s = user;
    (void)image;
    (void)text;
    s->stuck += strcmp(kind, "gc.stuck") == 0;
    s->losses += strcmp(kind, "pod.data_loss") == 0;
    s->directories += strcmp(kind, "scrub.damage") == 0;
}

static void write_tags(struct story *s, uint64_t lba, uint64_t count)
{
    uint8_t *buf = malloc(count * BLOCK);
    for (uint64_t i = 0; i < count; i++) {
        s->tags[lba + i] = ++s->next_tag;
        fill(buf + i * BLOCK, s->next_tag);
    }
    assert_int_equal(rig_write(&s->rig, "v", lba * BLOCK, buf, count * BLOCK), 0);
    free(buf);
}

static void compare_tags(struct story *s)
{
    static uint8_t back[STORY_BLOCKS * BLOCK], block[BLOCK];
    assert_int_equal(rig_read(&s->rig, "v", 0, back, sizeof back), 0);
    for (uint64_t i = 0; i < STORY_BLOCKS; i++) {
        fill(block, s->tags[i]);
        if (memcmp(back + i * BLOCK, block, BLOCK) != 0)
            fail_msg("block %llu is not %u", (unsigned long long)i, s->tags[i]);
    }
}

/* Of each group the last `live` blocks live; the rest was written again, elsewhere. */
static int story_setup_with(void **state, unsigned live, bool faults)
{
    struct story *s = calloc(1, sizeof *s);
    rig_create(&s->rig, 128 * MIB, seed);
    if (faults)
        s->rig.dev = blkdev_fault_create(s->rig.mem);
    s->rig.config.gc_threshold = 100; /* not yet */
    s->rig.config.event = on_event;
    s->rig.config.user = s;
    assert_int_equal(rig_open(&s->rig), 0);
    assert_int_equal(rig_create_volume(&s->rig, "v", STORY_BLOCKS * BLOCK), 0);
    for (uint64_t lba = 0; lba < STORY_BLOCKS; lba += 32)
        write_tags(s, lba, 32);
    for (uint64_t lba = 0; lba < STORY_BLOCKS; lba += GROUP)
        write_tags(s, lba, GROUP - live);
    checkpoint_want(s->rig.pod);
    rig_settle(&s->rig);
    *state = s;
    return 0;
}

static int story_setup(void **state)
{
    return story_setup_with(state, 3, false);
}

static int setup_with_faults(void **state)
{
    return story_setup_with(state, 3, true);
}

static int story_teardown(void **state)
{
    struct story *s = *state;
    if (s->rig.pod)
        rig_close(&s->rig);
    rig_destroy(&s->rig);
    free(s);
    return 0;
}

/* From now on it collects. */
static struct collect *begin_collecting(struct story *s)
{
    struct collect *c = s->rig.pod->collect;
    s->rig.pod->config.gc_threshold = 1;
    collect_start(s->rig.pod);
    return c;
}

/* The oldest request but `not`; turns until there is one. */
static void step_without(struct story *s, const struct blkdev_req * not )
{
    s->rig.now_ns += 1000000;
    (void)pod_turn(s->rig.pod, s->rig.now_ns);
    for (size_t i = 0; i < blkdev_mem_pending(s->rig.mem); i++)
        if (blkdev_mem_pending_at(s->rig.mem, i) != not ) {
            (void)blkdev_mem_step_at(s->rig.mem, i);
            return;
        }
}

static void run_for(struct story *s, unsigned steps)
{
    while (steps--)
        step_without(s, NULL);
}

/* A copy is on its way to flash; returns it. */
static struct collect_chunk *until_a_chunk_is_written(struct story *s)
{
    struct collect *c = begin_collecting(s);
    for (unsigned n = 0; n < 10000; n++) {
        s->rig.now_ns += 1000000;
        (void)pod_turn(s->rig.pod, s->rig.now_ns);
        for (int i = 0; i < COLLECT_CHUNKS; i++)
            if (c->chunks[i].state == CHUNK_WRITING)
                return &c->chunks[i];
        step_without(s, NULL);
        for (int i = 0; i < COLLECT_CHUNKS; i++)
            if (c->chunks[i].state == CHUNK_WRITING)
                return &c->chunks[i];
    }
    fail_msg("nothing is collected");
    return NULL;
}

static uint64_t lba_of_group(struct story *s, uint64_t group)
{
    const struct image *image = images_find(s->rig.pod->images, "v");
    for (uint64_t lba = 0; lba < STORY_BLOCKS; lba++) {
        const uint64_t *slots;
        uint64_t hole_end;
        assert_true(map_leaf(s->rig.pod->view, image->root, image->depth, lba, false, &slots, &hole_end));
        if (slots && block_group(entry_id(slots[lba % META_SLOTS])) == group)
            return lba;
    }
    fail_msg("no block is in group %llu", (unsigned long long)group);
    return 0;
}

static void on_flag_io(struct pod_io *io, int status)
{
    assert_int_equal(status, 0);
    *(bool *)io->user = true;
}

/* One block of a copied group dies while the copy is on its way, all of another one. */
static void a_host_that_writes_meanwhile_wins(void **state)
{
    struct story *s = *state;
    struct collect_chunk *k = until_a_chunk_is_written(s);
    const struct move one = k->moves[0], all = k->moves[1];
    struct pod_image *image;
    static uint8_t buf[4 * BLOCK];
    bool done[4] = {false};
    struct pod_io ios[4];
    uint64_t value;
    assert_int_equal(pod_image_open(s->rig.pod, "v", &image, NULL), 0);
    const uint64_t first = lba_of_group(s, one.group), second = lba_of_group(s, all.group);
    const uint64_t lbas[4] = {first, second, second + 1, second + 2};
    for (unsigned i = 0; i < 4; i++) {
        s->tags[lbas[i]] = ++s->next_tag;
        fill(buf + i * BLOCK, s->next_tag);
        ios[i] = (struct pod_io){.op = POD_WRITE,
                                 .image = image,
                                 .offset = lbas[i] * BLOCK,
                                 .length = BLOCK,
                                 .buf = buf + i * BLOCK,
                                 .user = &done[i]};
        assert_int_equal(pod_submit(s->rig.pod, &ios[i], on_flag_io), 0);
    }
    for (unsigned n = 0; !(done[0] && done[1] && done[2] && done[3]); n++) {
        step_without(s, &k->req);
        assert_true(n < 10000);
    }
    pod_image_close(image);
    assert_int_equal(k->state, CHUNK_WRITING);
    assert_true(meta_get(s->rig.pod->meta, l2p_key(one.group), &value) && l2p_place(value).v == one.from.v);
    assert_true(meta_get(s->rig.pod->meta, l2p_key(all.group), &value) && value == 0);
    run_for(s, 200);
    assert_true(meta_get(s->rig.pod->meta, l2p_key(one.group), &value) && l2p_place(value).v != one.from.v);
    assert_int_equal(__builtin_popcount(l2p_live(value)), 2);
    assert_int_equal(l2p_blocks(value), 3); /* as it was copied */
    assert_true(meta_get(s->rig.pod->meta, l2p_key(all.group), &value) && value == 0);
    compare_tags(s);
    rig_check(&s->rig);
    rig_crash(&s->rig, BLKDEV_MEM_LOSE);
    assert_int_equal(rig_open(&s->rig), 0);
    compare_tags(s);
    rig_check(&s->rig);
}

/* A victim that was walked is not taken again, nor freed, before its copies are named; the next one is begun.
 */
static void the_next_victim_is_begun_while_copies_are_on_their_way(void **state)
{
    struct story *s = *state;
    struct collect_chunk *k = until_a_chunk_is_written(s);
    struct collect *c = s->rig.pod->collect;
    for (unsigned n = 0; c->leaving_count == 0 || c->walk.victim == SEGMENT_NONE; n++) {
        c->credit = MIB;
        step_without(s, &k->req);
        assert_true(n < 10000);
    }
    const uint32_t left = c->leaving[0].segment;
    assert_int_equal(k->state, CHUNK_WRITING);
    assert_int_not_equal(c->walk.victim, left);
    assert_true(segments_live(s->rig.pod->segments, left) > 0);
    assert_int_equal(s->rig.pod->stats.collected, 0);
    for (unsigned n = 0; n < 200; n++) {
        c->credit = MIB;
        step_without(s, &k->req);
        assert_int_not_equal(c->walk.victim, left);
    }
    compare_tags(s);
    rig_check(&s->rig);
    run_for(s, 200);
    assert_true(s->rig.pod->stats.collected > 0);
    assert_int_equal(segments_live(s->rig.pod->segments, left), 0);
    assert_int_equal(s->stuck, 0);
    compare_tags(s);
    rig_check(&s->rig);
}

/* Who wants a part of the device emptied gives up when collection can do no more. */
static void it_is_not_at_an_end_while_a_segment_is_to_be_read_otherwise(void **state)
{
    struct story *s = *state;
    struct pod *pod = s->rig.pod;
    struct collect *c = pod->collect;
    uint32_t taken[128], n = 0;
    while (segments_free(pod->segments) > c->levels.reserve)
        taken[n++] = segments_take(pod->segments, SEGMENT_COLD);
    c->room = segments_room(pod->segments, pod->applied_seq);
    c->nothing = true;
    assert_true(collect_is_at_an_end(pod));
    c->again_count = 1;
    const bool at_an_end = collect_is_at_an_end(pod);
    c->again_count = 0;
    assert_false(at_an_end);
    while (n > 0)
        segments_untake(pod->segments, taken[--n]);
}

/* A segment is left while a chunk of another stream is begun, for a record that proves to be damaged. */
static void a_full_segment_does_not_wait_for_a_chunk_that_was_given_up(void **state)
{
    struct story *s = *state;
    struct collect_stream *stream = until_a_chunk_is_written(s)->stream;
    struct collect *c = s->rig.pod->collect;
    s->rig.pod->config.gc_threshold = 100;
    collect_resize(s->rig.pod);
    while (c->walk.victim != SEGMENT_NONE || c->leaving_count || !chunks_are_empty(c))
        step_without(s, NULL);
    const uint32_t segment = stream->segment;
    struct collect_chunk *k = &c->chunks[c->filled];
    moved_begin(&k->writer, k->buf, MOVED_CHUNK_BYTES, FINGERPRINT_MAX_BYTES);
    k->state = CHUNK_FILLING;
    k->stream = &c->streams[STREAMS - 1];
    c->begun++;
    assert_true(stream_leave(c, stream));
    assert_true(segments_open(s->rig.pod->segments, segment));
    run_for(s, 10);
    assert_int_equal(k->state, CHUNK_EMPTY);
    assert_false(segments_open(s->rig.pod->segments, segment));
    assert_int_equal(stream->full, SEGMENT_NONE);
    compare_tags(s);
    rig_check(&s->rig);
}

/* No segment is left to collect into, but copies that are on their way will free one. */
static void hosts_wait_for_what_was_copied_though_no_segment_is_left(void **state)
{
    struct story *s = *state;
    struct collect_chunk *k = until_a_chunk_is_written(s);
    struct collect *c = s->rig.pod->collect;
    struct segments *segments = s->rig.pod->segments;
    static uint8_t buf[BLOCK];
    uint32_t taken[128], n = 0;
    bool done = false;
    struct pod_image *image;
    for (unsigned i = 0; c->leaving_count == 0 || checkpoint_busy(s->rig.pod); i++) {
        c->credit = MIB;
        step_without(s, &k->req);
        assert_true(i < 10000);
    }
    assert_int_equal(segments_dead(segments, s->rig.pod->applied_seq), 0);
    while (segments_free(segments) > collect_floor(s->rig.pod))
        taken[n++] = segments_take(segments, SEGMENT_COLD);
    c->blocked = true;
    assert_int_equal(pod_image_open(s->rig.pod, "v", &image, NULL), 0);
    fill(buf, s->tags[0] = ++s->next_tag);
    struct pod_io io = {
        .op = POD_WRITE, .image = image, .offset = 0, .length = BLOCK, .buf = buf, .user = &done};
    assert_int_equal(pod_submit(s->rig.pod, &io, on_flag_io), 0);
    for (unsigned i = 0; i < 100; i++)
        step_without(s, &k->req);
    assert_false(done);
    while (n > 0)
        segments_untake(segments, taken[--n]);
    run_for(s, 200);
    assert_true(done);
    pod_image_close(image);
    compare_tags(s);
    rig_check(&s->rig);
}

/* The power fails when one was left and none of its copies is named. */
static void a_crash_between_two_victims_loses_nothing(void **state)
{
    struct story *s = *state;
    struct collect_chunk *k = until_a_chunk_is_written(s);
    struct collect *c = s->rig.pod->collect;
    for (unsigned n = 0; c->leaving_count == 0; n++) {
        c->credit = MIB;
        step_without(s, &k->req);
        assert_true(n < 10000);
    }
    rig_crash(&s->rig, BLKDEV_MEM_LOSE);
    assert_int_equal(rig_open(&s->rig), 0);
    compare_tags(s);
    rig_check(&s->rig);
}

static void the_old_place_counts_until_a_checkpoint_names_the_new_one(void **state)
{
    struct story *s = *state;
    const struct move m = until_a_chunk_is_written(s)->moves[0];
    const uint32_t from = place_segment(s->rig.pod, m.from);
    const uint64_t checkpoints = s->rig.pod->stats.checkpoints;
    uint64_t value;
    for (unsigned n = 0; segments_live(s->rig.pod->segments, from); n++) {
        step_without(s, NULL);
        assert_true(n < 10000);
    }
    run_for(s, 20);
    assert_int_equal(s->rig.pod->stats.checkpoints, checkpoints);
    assert_true(meta_get(s->rig.pod->meta, l2p_key(m.group), &value) && l2p_place(value).v == m.to.v);
    assert_int_equal(segments_state(s->rig.pod->segments, from), SEGMENT_LOG); /* not free */
    compare_tags(s);
    rig_crash(&s->rig, BLKDEV_MEM_LOSE);
    s->rig.config.gc_threshold = 100;
    assert_int_equal(rig_open(&s->rig), 0);
    assert_true(!meta_get(s->rig.pod->meta, l2p_key(m.group), &value) || l2p_place(value).v == m.from.v);
    compare_tags(s);
    rig_check(&s->rig);
    /* And once more, to the end. */
    (void)begin_collecting(s);
    run_for(s, 1000);
    checkpoint_want(s->rig.pod);
    rig_settle(&s->rig);
    assert_int_equal(segments_state(s->rig.pod->segments, from), SEGMENT_FREE);
    rig_crash(&s->rig, BLKDEV_MEM_LOSE);
    assert_int_equal(rig_open(&s->rig), 0);
    compare_tags(s);
    rig_check(&s->rig);
}

/* The segment that is read is emptied, freed and written anew in between, but for the read. */
static void a_read_that_takes_long_reads_what_was_there(void **state)
{
    struct story *s = *state;
    static uint8_t back[BLOCK], block[BLOCK];
    struct pod_image *image;
    bool done = false;
    const uint64_t lba = GROUP - 1;
    uint64_t value;
    rig_close(&s->rig); /* nothing is cached */
    assert_int_equal(rig_open(&s->rig), 0);
    assert_int_equal(pod_image_open(s->rig.pod, "v", &image, NULL), 0);
    struct pod_io io = {
        .op = POD_READ, .image = image, .offset = lba * BLOCK, .length = BLOCK, .buf = back, .user = &done};
    rig_settle(&s->rig);
    assert_int_equal(pod_submit(s->rig.pod, &io, on_flag_io), 0);
    for (unsigned n = 0; list_empty(&s->rig.pod->active_fetches); n++) {
        step_without(s, NULL);
        assert_true(n < 100);
    }
    const struct fetch *f = container_of(s->rig.pod->active_fetches.next, struct fetch, link);
    const uint64_t group = f->group;
    const uint32_t from = place_segment(s->rig.pod, f->place);
    (void)begin_collecting(s);
    for (unsigned n = 0; n < 2000; n++) {
        if (n == 1000)
            checkpoint_want(s->rig.pod);
        step_without(s, &f->req);
    }
    assert_false(done);
    assert_true(meta_get(s->rig.pod->meta, l2p_key(group), &value) &&
                place_segment(s->rig.pod, l2p_place(value)) != from);
    assert_int_equal(segments_state(s->rig.pod->segments, from), SEGMENT_FREE);
    for (uint32_t taken; (taken = segments_take(s->rig.pod->segments, SEGMENT_META)) != SEGMENT_NONE;)
        assert_int_not_equal(taken, from);
    run_for(s, 5);
    assert_true(done);
    fill(block, s->tags[lba]);
    assert_memory_equal(back, block, BLOCK);
    assert_int_equal(segments_take(s->rig.pod->segments, SEGMENT_META), from);
    pod_image_close(image);
    rig_crash(&s->rig, BLKDEV_MEM_LOSE); /* segments were taken for good */
    assert_int_equal(rig_open(&s->rig), 0);
}

static void a_damaged_record_stays_where_it_is(void **state)
{
    struct story *s = *state;
    static uint8_t byte, back[BLOCK];
    uint64_t value;
    const struct image *image = images_find(s->rig.pod->images, "v");
    const uint64_t *slots;
    uint64_t hole_end;
    assert_true(map_leaf(s->rig.pod->view, image->root, image->depth, 7, false, &slots, &hole_end));
    const uint64_t group = block_group(entry_id(slots[7]));
    assert_true(meta_get(s->rig.pod->meta, l2p_key(group), &value));
    const struct place place = l2p_place(value);
    blkdev_mem_peek(s->rig.mem, place_addr(place) + 100, &byte, 1, false);
    byte ^= 4;
    blkdev_mem_poke(s->rig.mem, place_addr(place) + 100, &byte, 1);
    s->rig.rotted = true;
    struct collect *c = begin_collecting(s);
    run_for(s, 1000);
    assert_int_equal(s->stuck, 1); /* once: it is not chosen again */
    assert_int_equal(s->losses, 1);
    assert_int_equal(c->walk.victim, SEGMENT_NONE);
    assert_true(meta_get(s->rig.pod->meta, l2p_key(group), &value) && l2p_place(value).v == place.v);
    assert_int_equal(segments_live(s->rig.pod->segments, place_segment(s->rig.pod, place)),
                     l2p_live_bytes(value));
    rig_close(&s->rig);
    assert_int_equal(rig_open(&s->rig), 0);
    for (uint64_t lba = 8; lba < STORY_BLOCKS; lba++)
        assert_int_equal(rig_read(&s->rig, "v", lba * BLOCK, back, BLOCK), 0);
    assert_int_equal(rig_read(&s->rig, "v", 7ull * BLOCK, back, BLOCK), PS_EDATALOSS);
}

/* What else lives in its segment is moved out of it. */
static void a_record_that_the_device_does_not_read_stays_alone(void **state)
{
    struct story *s = *state;
    uint64_t value;
    const struct image *image = images_find(s->rig.pod->images, "v");
    const uint64_t *slots;
    uint64_t hole_end;
    assert_true(map_leaf(s->rig.pod->view, image->root, image->depth, 511, false, &slots, &hole_end));
    assert_true(meta_get(s->rig.pod->meta, l2p_key(block_group(entry_id(slots[511 % META_SLOTS]))), &value));
    const struct place place = l2p_place(value);
    const uint64_t sector = (place_addr(place) + place_len(place) / 2) / BLKDEV_ALIGN * BLKDEV_ALIGN;
    assert_true(sector >= place_addr(place) && sector + BLKDEV_ALIGN <= place_addr(place) + place_len(place));
    const struct blkdev_fault_rule rule = {
        .ops = blkdev_fault_op(BLKDEV_READ), .offset = sector, .length = BLKDEV_ALIGN};
    (void)blkdev_fault_add(s->rig.dev, &rule);
    (void)begin_collecting(s);
    run_for(s, 1000);
    assert_int_equal(s->stuck, 1);
    assert_int_equal(s->losses, 1);
    assert_int_equal(segments_live(s->rig.pod->segments, place_segment(s->rig.pod, place)),
                     l2p_live_bytes(value));
    blkdev_fault_clear(s->rig.dev);
    compare_tags(s);
    rig_check(&s->rig);
}

/* The directory of what was moved lies behind it, and is read with it. */
static void a_moved_record_that_the_device_does_not_read_is_found_alone(void **state)
{
    struct story *s = *state;
    uint64_t value;
    const struct image *image = images_find(s->rig.pod->images, "v");
    const uint64_t *slots;
    uint64_t hole_end;
    struct pod_scrub_info info;
    (void)begin_collecting(s);
    run_for(s, 1000);
    assert_true(map_leaf(s->rig.pod->view, image->root, image->depth, 7, false, &slots, &hole_end));
    assert_true(meta_get(s->rig.pod->meta, l2p_key(block_group(entry_id(slots[7]))), &value));
    const struct place place = l2p_place(value);
    const uint32_t segment = place_segment(s->rig.pod, place);
    assert_int_equal(segments_state(s->rig.pod->segments, segment), SEGMENT_WARM);
    segments_seal(s->rig.pod->segments, segment, 0);
    s->rig.pod->collect->streams[0].segment = SEGMENT_NONE;
    const uint64_t sector = (place_addr(place) + place_len(place) / 2) / BLKDEV_ALIGN * BLKDEV_ALIGN;
    assert_true(sector >= place_addr(place) && sector + BLKDEV_ALIGN <= place_addr(place) + place_len(place));
    const struct blkdev_fault_rule rule = {
        .ops = blkdev_fault_op(BLKDEV_READ), .offset = sector, .length = BLKDEV_ALIGN};
    (void)blkdev_fault_add(s->rig.dev, &rule);
    pod_scrub(s->rig.pod);
    run_for(s, 2000);
    pod_scrub_look(s->rig.pod, &info);
    assert_int_equal(info.passes, 1);
    assert_int_equal(info.damaged, 1);
    assert_int_equal(s->losses, 1);
    assert_int_equal(s->directories, 0);
}

/* Nothing else lives in its segment: there is nothing to write. */
static void a_damaged_record_alone_in_its_segment_stays(void **state)
{
    struct story *s = *state;
    static uint8_t byte;
    const struct image *image = images_find(s->rig.pod->images, "v");
    const uint64_t *slots;
    uint64_t hole_end, value;
    for (uint64_t lba = GROUP; lba < STORY_BLOCKS; lba += GROUP)
        write_tags(s, lba, GROUP);
    checkpoint_want(s->rig.pod);
    rig_settle(&s->rig);
    assert_true(map_leaf(s->rig.pod->view, image->root, image->depth, 7, false, &slots, &hole_end));
    assert_true(meta_get(s->rig.pod->meta, l2p_key(block_group(entry_id(slots[7]))), &value));
    const struct place place = l2p_place(value);
    const uint32_t segment = place_segment(s->rig.pod, place);
    assert_int_equal(segments_live(s->rig.pod->segments, segment), l2p_live_bytes(value));
    blkdev_mem_peek(s->rig.mem, place_addr(place) + 100, &byte, 1, false);
    byte ^= 4;
    blkdev_mem_poke(s->rig.mem, place_addr(place) + 100, &byte, 1);
    s->rig.rotted = true;
    (void)begin_collecting(s);
    run_for(s, 1000);
    assert_int_equal(s->stuck, 1);
    assert_int_equal(segments_live(s->rig.pod->segments, segment), l2p_live_bytes(value));
    rig_check(&s->rig);
}

static void what_was_moved_is_found_again_by_its_contents_after_a_restart(void **state)
{
    struct story *s = *state;
    static uint8_t buf[3 * BLOCK];
    struct pod_stats before, after;
    (void)begin_collecting(s);
    run_for(s, 1000);
    checkpoint_want(s->rig.pod);
    rig_settle(&s->rig);
    rig_close(&s->rig);
    s->rig.config.gc_threshold = 100;
    assert_int_equal(rig_open(&s->rig), 0);
    while (index_load_busy(s->rig.pod))
        assert_true(rig_step(&s->rig));
    pod_stats(s->rig.pod, &before);
    assert_true(before.flash_written_moved > 0);
    for (unsigned i = 0; i < 3; i++)
        fill(buf + i * BLOCK, s->tags[5 + i]);
    assert_int_equal(rig_write(&s->rig, "v", 500ull * BLOCK, buf, sizeof buf), 0);
    pod_stats(s->rig.pod, &after);
    assert_int_equal(after.dedup_removed - before.dedup_removed, sizeof buf);
}

/* Nobody writes: it goes on in time, to the end, and then asks for no more turns. */
static void an_idle_pool_is_tidied_and_comes_to_rest(void **state)
{
    struct story *s = *state;
    struct pod *pod = s->rig.pod;
    struct pod_stats stats;
    (void)begin_collecting(s);
    uint64_t at = pod_turn(pod, s->rig.now_ns);
    for (unsigned n = 0; at != UINT64_MAX || blkdev_mem_pending(s->rig.mem); n++) {
        while (blkdev_mem_step(s->rig.mem))
            ;
        s->rig.now_ns = at == UINT64_MAX || at < s->rig.now_ns ? s->rig.now_ns : at;
        at = pod_turn(pod, s->rig.now_ns);
        assert_true(n < 3000);
    }
    pod_stats(pod, &stats);
    assert_true(stats.collected > 0 && stats.collect_moved > STORY_BLOCKS * BLOCK / 4);
    assert_int_equal(pod->collect->walk.victim, SEGMENT_NONE);
    compare_tags(s);
    rig_check(&s->rig);
}

static int setup_mostly_live(void **state)
{
    return story_setup_with(state, 7, false);
}

static void what_is_more_than_half_live_is_left_alone_while_there_is_room(void **state)
{
    struct story *s = *state;
    struct pod_stats stats;
    (void)begin_collecting(s);
    run_for(s, 500);
    pod_stats(s->rig.pod, &stats);
    const uint64_t before = stats.collect_moved;
    s->rig.leave_segments = 10;
    for (int i = 0; i < 2000; i++)
        (void)rig_step(&s->rig);
    run_for(s, 500);
    pod_stats(s->rig.pod, &stats);
    assert_true(stats.collect_moved > before + STORY_BLOCKS * BLOCK / 2);
    compare_tags(s);
    rig_check(&s->rig);
}

/* Letters without repetition: zstd halves them, LZ4 does not find anything. */
static void write_letters(struct story *s)
{
    for (uint64_t lba = 0; lba < STORY_BLOCKS; lba += 32) {
        s->next_tag = (s->next_tag / 8 + 1) * 8;
        uint8_t *buf = malloc(32 * BLOCK);
        for (uint64_t i = 0; i < 32; i++) {
            s->tags[lba + i] = s->next_tag += i ? 8 : 1;
            fill(buf + i * BLOCK, s->tags[lba + i]);
        }
        assert_int_equal(rig_write(&s->rig, "v", lba * BLOCK, buf, 32 * BLOCK), 0);
        free(buf);
    }
}

/* All of one kind are taken apart, once. */
static void collect_all(struct story *s, enum segment_state state)
{
    struct pod *pod = s->rig.pod;
    struct collect *c = pod->collect;
    for (uint32_t i = SYSTEM_SEGMENTS; i < pod->segment_count; i++) {
        if (segments_state(pod->segments, i) != state || segments_live(pod->segments, i) == 0)
            continue;
        if (segments_open(pod->segments, i)) /* it is as full as it gets */
            for (int k = 0; k < STREAMS; k++)
                if (c->streams[k].segment == i) {
                    segments_seal(pod->segments, i, 0);
                    c->streams[k].segment = SEGMENT_NONE;
                }
        if (segments_open(pod->segments, i) || segments_last_seq(pod->segments, i) > pod->anchor.seq)
            continue;
        victim_begin(&c->walk, i);
        for (unsigned n = 0; c->walk.victim != SEGMENT_NONE || c->leaving_count; n++) {
            c->credit = MIB;
            step_without(s, NULL);
            assert_true(n < 10000);
        }
        assert_int_equal(segments_live(pod->segments, i), 0);
    }
}

static struct pod_stats stats_of(struct story *s)
{
    struct pod_stats stats;
    pod_stats(s->rig.pod, &stats);
    return stats;
}

static void verify_and_crash(struct story *s)
{
    compare_tags(s);
    rig_check(&s->rig);
    checkpoint_want(s->rig.pod);
    rig_settle(&s->rig);
    rig_crash(&s->rig, BLKDEV_MEM_LOSE);
    assert_int_equal(rig_open(&s->rig), 0);
    compare_tags(s);
    rig_check(&s->rig);
}

static void what_is_moved_again_is_compressed_anew(void **state)
{
    struct story *s = *state;
    write_letters(s);
    checkpoint_want(s->rig.pod);
    rig_settle(&s->rig);
    const uint64_t first = stats_of(s).stored_bytes;
    collect_all(s, SEGMENT_LOG);
    assert_int_equal(stats_of(s).cold_in, 0); /* it may soon be written again */
    assert_true(stats_of(s).collect_moved > 0);
    collect_all(s, SEGMENT_WARM);
    const struct pod_stats cold = stats_of(s);
    assert_true(cold.cold_in >= 8ull * COLD_BURST); /* a turn's worth in each */
    assert_true(cold.cold_out < cold.cold_in * 2 / 3);
    assert_int_equal(first - cold.stored_bytes, cold.cold_in - cold.cold_out);
    verify_and_crash(s);
    /* Some of each group die; the rest stays as dense. */
    for (uint64_t lba = 0; lba < STORY_BLOCKS; lba += GROUP)
        write_tags(s, lba, 3);
    collect_all(s, SEGMENT_COLD);
    assert_true(stats_of(s).collect_moved > 0);
    verify_and_crash(s);
}

static void without_a_rate_it_stays_as_it_is(void **state)
{
    struct story *s = *state;
    s->rig.pod->config.cold_compress_rate = 0;
    write_letters(s);
    checkpoint_want(s->rig.pod);
    rig_settle(&s->rig);
    collect_all(s, SEGMENT_LOG);
    collect_all(s, SEGMENT_WARM);
    assert_int_equal(stats_of(s).cold_in, 0);
    verify_and_crash(s);
}

/* Time earns what may be compressed: what is moved beyond that is moved all the same. */
static void no_more_is_compressed_than_time_allows(void **state)
{
    struct story *s = *state;
    s->rig.pod->config.cold_compress_rate = MIB;
    write_letters(s);
    checkpoint_want(s->rig.pod);
    rig_settle(&s->rig);
    collect_all(s, SEGMENT_LOG);
    const uint64_t began = s->rig.now_ns;
    collect_all(s, SEGMENT_WARM);
    const uint64_t ms = (s->rig.now_ns - began) / 1000000, moved = stats_of(s).cold_in;
    assert_true(moved > 0 && moved <= (ms + 1) * MIB / 1000 + 2 * COLD_BURST);
    verify_and_crash(s);
}

static void all_garbage_is_collected_when_somebody_asks_for_it(void **state)
{
    struct story *s = *state;
    struct pod *pod = s->rig.pod;
    struct pod_stats stats;
    run_for(s, 200);
    pod_stats(pod, &stats);
    const uint64_t before = stats.garbage_bytes;
    assert_true(!stats.collecting && stats.collected == 0 && before > stats.stored_bytes / 10);
    pod_collect(pod);
    pod_stats(pod, &stats);
    assert_true(stats.collecting);
    for (unsigned n = 0; stats.collecting; n++) {
        assert_true(n < 20000);
        step_without(s, NULL);
        pod_stats(pod, &stats);
    }
    rig_settle(&s->rig);
    pod_stats(pod, &stats);
    assert_true(stats.collected > 0 && stats.garbage_bytes < before);
    /* That was it: what it wrote is not collected again, though directories and padding are a tenth of it. */
    const uint64_t moved = stats.collect_moved;
    run_for(s, 2000);
    pod_stats(pod, &stats);
    assert_int_equal(stats.collect_moved, moved);
    compare_tags(s);
    rig_check(&s->rig);
}

/* Pages that were copied share their record, which counts as alive for each of them: more than a segment
 * holds. */
static void records_that_many_pages_share_do_not_keep_a_pool_from_opening(void **state)
{
    enum {
        LEAVES = 20,
        GENERATIONS = 60
    };
    const uint64_t leaf = (uint64_t)META_SLOTS * BLOCK;
    struct rig *rig = calloc(1, sizeof *rig);
    uint32_t *buf = malloc(leaf);
    char name[16];
    (void)state;
    rig_create(rig, 128 * MIB, seed);
    assert_int_equal(rig_open(rig), 0);
    assert_int_equal(rig_create_volume(rig, "v", LEAVES * leaf), 0);
    for (uint64_t i = 0; i < LEAVES; i++) {
        for (uint64_t b = 0; b < META_SLOTS; b++) {
            const uint32_t pattern = (uint32_t)prng_next(&rig->prng);
            for (unsigned w = 0; w < BLOCK / 4; w++)
                buf[b * BLOCK / 4 + w] = pattern;
        }
        assert_int_equal(rig_write(rig, "v", i * leaf, buf, leaf), 0);
    }
    checkpoint_want(rig->pod);
    rig_settle(rig);
    for (unsigned g = 0; g < GENERATIONS; g++) {
        (void)snprintf(name, sizeof name, "v@%u", g);
        assert_int_equal(rig_named(rig, POD_SNAPSHOT_CREATE, name, NULL, 0), 0);
        for (uint64_t i = 0; i < LEAVES; i++)
            assert_int_equal(rig_write(rig, "v", i * leaf + g * BLOCK, buf, BLOCK), 0);
        struct pod_stats now;
        pod_stats(rig->pod, &now);
        assert_true(now.garbage_bytes <= now.capacity);
    }
    uint32_t most = 0;
    for (uint32_t i = SYSTEM_SEGMENTS; i < rig->pod->segment_count; i++)
        most = segments_live(rig->pod->segments, i) > most ? segments_live(rig->pod->segments, i) : most;
    assert_true(most > rig->pod->segment_bytes);
    rig_check(rig);
    rig_close(rig);
    if (rig_open(rig))
        fail_msg("%s", rig->error.detail);
    rig_check(rig);
    rig_close(rig);
    rig_destroy(rig);
    free(rig);
    free(buf);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, story_setup, story_teardown)

int main(int argc, char **argv)
{
    uint64_t *const numbers[] = {&seed, &times, &device_mib};
    for (int i = 1; i < argc && i <= 3; i++)
        *numbers[i - 1] = strtoull(argv[i], NULL, 0);
    const struct CMUnitTest tests[] = {
        STORY(a_host_that_writes_meanwhile_wins),
        STORY(what_is_moved_again_is_compressed_anew),
        STORY(without_a_rate_it_stays_as_it_is),
        STORY(no_more_is_compressed_than_time_allows),
        STORY(the_next_victim_is_begun_while_copies_are_on_their_way),
        STORY(it_is_not_at_an_end_while_a_segment_is_to_be_read_otherwise),
        STORY(a_full_segment_does_not_wait_for_a_chunk_that_was_given_up),
        STORY(hosts_wait_for_what_was_copied_though_no_segment_is_left),
        STORY(a_crash_between_two_victims_loses_nothing),
        STORY(the_old_place_counts_until_a_checkpoint_names_the_new_one),
        STORY(a_read_that_takes_long_reads_what_was_there),
        STORY(a_damaged_record_stays_where_it_is),
        cmocka_unit_test_setup_teardown(a_moved_record_that_the_device_does_not_read_is_found_alone,
                                        setup_with_faults, story_teardown),
        cmocka_unit_test_setup_teardown(a_record_that_the_device_does_not_read_stays_alone, setup_with_faults,
                                        story_teardown),
        STORY(a_damaged_record_alone_in_its_segment_stays),
        STORY(what_was_moved_is_found_again_by_its_contents_after_a_restart),
        STORY(an_idle_pool_is_tidied_and_comes_to_rest),
        cmocka_unit_test_setup_teardown(all_garbage_is_collected_when_somebody_asks_for_it, setup_mostly_live,
                                        story_teardown),
        cmocka_unit_test_setup_teardown(what_is_more_than_half_live_is_left_alone_while_there_is_room,
                                        setup_mostly_live, story_teardown),
        cmocka_unit_test(records_that_many_pages_share_do_not_keep_a_pool_from_opening),
        cmocka_unit_test(a_pool_is_overwritten_for_ever),
    };
    if (getenv("PS_TEST_FILTER"))
        cmocka_set_test_filter(getenv("PS_TEST_FILTER"));
    return cmocka_run_group_tests_name("pod_collect", tests, NULL, NULL);
}
