/* Garbage collection: a pool that is overwritten again and again while most of it lives.
 *
 *   test_pod_collect [SEED [TIMES [DEVICE_MIB]]]   the soak overwrites the pool's size so many times; long: 1
 * 20 512 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"
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
    uint64_t written, crashes, taken, deleted;
};

static void fill(uint8_t *block, uint32_t tag)
{
    struct prng p;
    prng_seed(&p, tag);
    memset(block, 0, BLOCK);
    if (tag)
        prng_fill(&p, block, tag % 4 ? BLOCK : BLOCK / 2); /* a quarter of them compresses */
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
    drain(s);
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
    (void)printf(
        "%llu MiB overwritten, %llu snapshots, %llu crashes; log %llu MiB, moved %llu, metadata %llu; free "
        "%llu, stored %llu, metadata %llu, garbage %llu of %llu\n",
        (unsigned long long)((s->written - before) * BLOCK / MIB), (unsigned long long)s->taken,
        (unsigned long long)s->crashes, (unsigned long long)(stats.flash_written_data / MIB),
        (unsigned long long)(stats.flash_written_moved / MIB),
        (unsigned long long)(stats.flash_written_metadata / MIB),
        (unsigned long long)(stats.free_bytes / MIB), (unsigned long long)(stats.stored_bytes / MIB),
        (unsigned long long)(stats.metadata_bytes / MIB), (unsigned long long)(stats.garbage_bytes / MIB),
        (unsigned long long)(stats.capacity / MIB));
    assert_true(stats.flash_written_moved > 0);
    soak_destroy(s);
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

int main(int argc, char **argv)
{
    uint64_t *const numbers[] = {&seed, &times, &device_mib};
    for (int i = 1; i < argc && i <= 3; i++)
        *numbers[i - 1] = strtoull(argv[i], NULL, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_that_many_pages_share_do_not_keep_a_pool_from_opening),
        cmocka_unit_test(a_pool_is_overwritten_for_ever),
    };
    if (getenv("PS_TEST_FILTER"))
        cmocka_set_test_filter(getenv("PS_TEST_FILTER"));
    return cmocka_run_group_tests_name("pod_collect", tests, NULL, NULL);
}
