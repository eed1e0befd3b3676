/* A fixed script of operations, cut at its first, second, third … device completion, in each way a power cut
 * can leave the device. After each cut the pool opens, everything acknowledged is there, a write of up to
 * POD_ATOMIC_BYTES and a change of images took effect wholly or not at all, and the pool is consistent.
 *
 *   test_pod_power_cut [FIRST [LAST [STRIDE [MODE]]]]   all modes in turn without MODE; "0 0 1" for every cut
 * there is */
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
    KIB = 1 << 10,
    MIB = 1 << 20,
    BLOCK = 4096,
    SECTOR = 512,
    LEAF = 512 * BLOCK,
    IMAGES = 5,
    VOLUME_MAX = 5 * MIB,
    BURST = 6
};

static uint64_t first_cut = 1, last_cut, stride = 9, only_mode = BLKDEV_MEM_CUTS;

/* ---- what the pool holds, by the script */

struct content {
    char name[POD_FULL_NAME_MAX + 1]; /* "": none */
    uint64_t size;
    uint8_t *data;
};

struct world {
    struct content images[IMAGES];
};

static void world_create(struct world *w)
{
    *w = (struct world){0};
    for (int i = 0; i < IMAGES; i++)
        w->images[i].data = calloc(1, VOLUME_MAX);
}

static void world_destroy(struct world *w)
{
    for (int i = 0; i < IMAGES; i++)
        free(w->images[i].data);
}

static void copy_content(struct content *to, const struct content *from, const char *name)
{
    if (!from->name[0]) {
        to->name[0] = 0;
        return;
    }
    to->size = from->size;
    memcpy(to->data, from->data, VOLUME_MAX);
    char copy[sizeof to->name];
    (void)snprintf(copy, sizeof copy, "%s", name);
    memcpy(to->name, copy, sizeof copy);
}

static void world_copy(struct world *to, const struct world *from)
{
    for (int i = 0; i < IMAGES; i++)
        copy_content(&to->images[i], &from->images[i], from->images[i].name);
}

static struct content *content_of(struct world *w, const char *name)
{
    for (int i = 0; i < IMAGES; i++)
        if (strcmp(w->images[i].name, name) == 0)
            return &w->images[i];
    fail_msg("the script has no \"%s\"", name);
    return NULL;
}

/* ---- the script */

enum kind {
    IO,
    MANAGE,
    AGAIN /* closes and opens */,
    CHECKPOINT
};

struct step {
    enum kind kind;
    int op;
    const char *name, *other;
    uint64_t offset, length; /* length: the new size of a volume, too */
    unsigned flags;
    unsigned burst; /* so many of it at once, each a third of its length further on */
};

#define K(n) ((uint64_t)(n)*KIB)
static const struct step script[] = {
    {MANAGE, POD_VOLUME_CREATE, "v", NULL, 0, K(3072), 0, 0},
    {IO, POD_WRITE, "v", NULL, 0, K(128), 0, 1},
    {IO, POD_WRITE, "v", NULL, K(100) + 512, K(7), 0, 1},
    {IO, POD_WRITE, "v", NULL, K(200), K(24), 0, BURST},
    {IO, POD_WRITE, "v", NULL, K(2040) + 1024, K(16), 0, 1}, /* over the end of a leaf */
    {AGAIN, 0, NULL, NULL, 0, 0, 0, 0}, /* what was written so far is in a segment that is collected */
    {IO, POD_WRITE, "v", NULL, K(208), K(8), 0, BURST},
    {MANAGE, POD_SNAPSHOT_CREATE, "v@a", NULL, 0, 0, 0, 0},
    {IO, POD_WRITE, "v", NULL, K(64), K(128), 0, 1},
    {CHECKPOINT, 0, NULL, NULL, 0, 0, 0, 0},
    {IO, POD_WRITE, "v", NULL, K(2040), K(16), 0, 1},
    {IO, POD_TRIM, "v", NULL, K(2) + 512, K(60), 0, 1},
    {IO, POD_WRITE_ZERO, "v", NULL, K(90) + 512, K(33), 0, 1},
    {MANAGE, POD_CLONE_CREATE, "v@a", "c", 0, 0, 0, 0},
    {AGAIN, 0, NULL, NULL, 0, 0, 0, 0},
    {IO, POD_WRITE_ZERO, "c", NULL, K(16), K(16), POD_IO_NO_HOLE, 1},
    {IO, POD_WRITE, "c", NULL, K(2046), K(64), 0, BURST},
    {MANAGE, POD_VOLUME_RESIZE, "v", NULL, 0, K(4608), 0, 0},
    {IO, POD_WRITE, "v", NULL, K(4400), K(128), 0, 1},
    {IO, POD_TRIM, "v", NULL, 0, LEAF, 0, 1},
    {AGAIN, 0, NULL, NULL, 0, 0, 0, 0},
    {IO, POD_WRITE, "v", NULL, K(1), K(130), 0, BURST},
    {MANAGE, POD_SNAPSHOT_CREATE, "v@b", NULL, 0, 0, 0, 0},
    {MANAGE, POD_VOLUME_RENAME, "v", "w", 0, 0, 0, 0},
    {IO, POD_WRITE, "w", NULL, K(12), K(40), 0, 1},
    {MANAGE, POD_SNAPSHOT_RESTORE, "w@a", NULL, 0, 0, 0, 0},
    {AGAIN, 0, NULL, NULL, 0, 0, 0, 0},
    {IO, POD_WRITE, "w", NULL, K(16), K(40), 0, 1},
    {CHECKPOINT, 0, NULL, NULL, 0, 0, 0, 0},
    {MANAGE, POD_SNAPSHOT_DELETE, "w@a", NULL, 0, 0, 0, 0},
    {IO, POD_WRITE, "w", NULL, K(20), K(40), 0, BURST},
    {MANAGE, POD_VOLUME_RESIZE, "w", NULL, 0, K(512), 0, 0},
    {MANAGE, POD_VOLUME_DELETE, "c", NULL, 0, 0, 0, 0},
    {IO, POD_WRITE, "w", NULL, K(300), K(100), 0, 1},
    {MANAGE, POD_SNAPSHOT_DELETE, "w@b", NULL, 0, 0, 0, 0},
    {CHECKPOINT, 0, NULL, NULL, 0, 0, 0, 0},
    {IO, POD_WRITE, "w", NULL, K(1), K(50), 0, 1},
    {MANAGE, POD_VOLUME_DELETE, "w", NULL, 0, 0, 0, 0},
    {MANAGE, POD_VOLUME_CREATE, "x", NULL, 0, K(1024), 0, 0},
    {IO, POD_WRITE, "x", NULL, K(3), K(111), 0, BURST},
};
enum {
    STEPS = sizeof script / sizeof script[0]
};

struct request {
    struct pod_io io;
    uint8_t *buf;
    bool done;
};

struct play {
    struct rig rig;
    struct world before, after; /* the step under way */
    struct request requests[BURST];
    unsigned nrequests;
};

static void on_request(struct pod_io *io, int status)
{
    ((struct request *)io->user)->done = true;
    assert_int_equal(status, 0);
}

/* Repeats within and between writes, and noise. */
static void make_content(uint8_t *buf, uint64_t length, uint64_t seed)
{
    struct prng p;
    for (uint64_t at = 0; at < length; at += BLOCK) {
        const uint64_t n = length - at < BLOCK ? length - at : BLOCK;
        prng_seed(&p, (at / BLOCK) % 5 == 4 ? 1 : seed * 1000 + at);
        prng_fill(&p, buf + at, n);
        for (uint64_t i = 0; (at / BLOCK) % 3 && i < n; i++) /* letters, which zstd alone compresses */
            buf[at + i] = (uint8_t)('a' + buf[at + i] % 16);
        if ((at / BLOCK) % 7 == 3)
            memset(buf + at, (int)seed, n);
    }
}

/* What a request leaves at a sector: NULL if it leaves it alone. */
static const uint8_t *effect_at(const struct pod_io *io, uint64_t at)
{
    static const uint8_t zeroes[SECTOR];
    const uint64_t end = io->offset + io->length, block = at / BLOCK * BLOCK;
    if (at < io->offset || at >= end)
        return NULL;
    if (io->op == POD_WRITE)
        return (const uint8_t *)io->buf + (at - io->offset);
    if (io->op == POD_TRIM && (block < io->offset || block + BLOCK > end))
        return NULL;
    return zeroes;
}

/* The script of changes, on the model. */
static void apply_change(struct world *w, const struct step *s)
{
    struct content *c =
        s->op == POD_VOLUME_CREATE || s->op == POD_SNAPSHOT_CREATE ? NULL : content_of(w, s->name);
    switch (s->op) {
    case POD_VOLUME_CREATE:
        c = content_of(w, "");
        memset(c->data, 0, VOLUME_MAX);
        c->size = s->length;
        (void)snprintf(c->name, sizeof c->name, "%s", s->name);
        break;
    case POD_VOLUME_RESIZE:
        if (s->length < c->size)
            memset(c->data + s->length, 0, VOLUME_MAX - s->length);
        c->size = s->length;
        break;
    case POD_VOLUME_RENAME:
        for (int i = 0; i < IMAGES; i++) {
            char *name = w->images[i].name;
            const size_t n = strlen(s->name);
            if (strncmp(name, s->name, n) == 0 && (name[n] == '@' || name[n] == 0))
                memcpy(name, s->other, n); /* of the same length */
        }
        break;
    case POD_SNAPSHOT_CREATE: {
        char volume[8] = {s->name[0]};
        copy_content(content_of(w, ""), content_of(w, volume), s->name);
        break;
    }
    case POD_SNAPSHOT_RESTORE: {
        char volume[8] = {s->name[0]};
        copy_content(content_of(w, volume), c, volume);
        break;
    }
    case POD_CLONE_CREATE:
        copy_content(content_of(w, ""), c, s->other);
        break;
    default:
        c->name[0] = 0;
    }
}

/* One step: false when the power failed in it. */
static bool play_io(struct play *p, const struct step *s, uint64_t number)
{
    struct pod_image *image;
    struct content *c = content_of(&p->after, s->name);
    assert_int_equal(pod_image_open(p->rig.pod, s->name, &image, NULL), 0);
    for (unsigned i = 0; i < s->burst; i++) {
        struct request *r = &p->requests[i];
        if (s->op == POD_WRITE)
            make_content(r->buf, s->length, number * 10 + i);
        r->done = false;
        r->io = (struct pod_io){.op = (enum pod_io_op)s->op,
                                .image = image,
                                .offset = s->offset + i * (s->length / 3 / SECTOR * SECTOR),
                                .length = s->length,
                                .buf = r->buf,
                                .flags = s->flags,
                                .user = r};
        assert_int_equal(pod_submit(p->rig.pod, &r->io, on_request), 0);
        p->nrequests++;
        for (uint64_t at = r->io.offset; at < r->io.offset + r->io.length; at += SECTOR) {
            const uint8_t *effect = effect_at(&r->io, at);
            if (effect)
                memcpy(c->data + at, effect, SECTOR);
        }
    }
    bool all = false;
    while (!all) {
        if (!rig_step(&p->rig)) {
            free(image);
            return false;
        }
        all = true;
        for (unsigned i = 0; i < p->nrequests; i++)
            all &= p->requests[i].done;
    }
    pod_image_close(image);
    return true;
}

static void on_closed(void *user)
{
    *(bool *)user = true;
}

static bool play_again(struct play *p)
{
    bool closed = false;
    pod_close(p->rig.pod, on_closed, &closed);
    while (!closed)
        if (!rig_step(&p->rig))
            return false;
    pod_destroy(p->rig.pod);
    p->rig.pod = NULL;
    return rig_open(&p->rig) == 0;
}

static bool play_step(struct play *p, const struct step *s, uint64_t number)
{
    p->nrequests = 0;
    world_copy(&p->after, &p->before);
    switch (s->kind) {
    case IO:
        return play_io(p, s, number);
    case MANAGE:
        apply_change(&p->after, s);
        return rig_named(&p->rig, (enum pod_manage_op)s->op, s->name, s->other, s->length) == 0;
    case CHECKPOINT:
        checkpoint_want(p->rig.pod);
        rig_settle(&p->rig);
        return !p->rig.dead;
    default:
        return play_again(p);
    }
}

/* ---- after the cut */

static bool holds(struct play *p, const struct content *c)
{
    static uint8_t back[VOLUME_MAX];
    struct pod_image_info info;
    if (pod_image_by_name(p->rig.pod, c->name, &info) || info.size_bytes != c->size)
        return false;
    for (uint64_t at = 0; at < c->size; at += MIB)
        assert_int_equal(rig_read(&p->rig, c->name, at, back + at, c->size - at < MIB ? c->size - at : MIB),
                         0);
    return memcmp(back, c->data, c->size) == 0;
}

static bool is_world(struct play *p, const struct world *w)
{
    struct pod_image_info info = {0};
    unsigned there = 0, expected = 0;
    for (int i = 0; i < IMAGES; i++)
        if (w->images[i].name[0]) {
            expected++;
            if (!holds(p, &w->images[i]))
                return false;
        }
    while (pod_image_after(p->rig.pod, info.name, &info) == 0)
        there++;
    return there == expected;
}

/* Requests at once: each sector holds an effect no older than the last acknowledged one. */
static void check_burst(struct play *p, const struct step *s)
{
    static uint8_t back[VOLUME_MAX];
    struct content *c = content_of(&p->before, s->name);
    for (uint64_t at = 0; at < c->size; at += MIB)
        assert_int_equal(rig_read(&p->rig, c->name, at, back + at, c->size - at < MIB ? c->size - at : MIB),
                         0);
    for (uint64_t at = 0; at < c->size; at += SECTOR) {
        bool fits = memcmp(back + at, c->data + at, SECTOR) == 0;
        for (unsigned i = 0; i < p->nrequests; i++) {
            const struct request *r = &p->requests[i];
            const uint8_t *effect = effect_at(&r->io, at);
            if (!effect)
                continue;
            const bool equal = memcmp(back + at, effect, SECTOR) == 0;
            fits = r->done ? equal : fits || equal;
        }
        if (!fits)
            fail_msg("%s: the sector at %llu holds nothing it could", c->name, (unsigned long long)at);
    }
    memcpy(c->data, back, c->size);
    if (!is_world(p, &p->before))
        fail_msg("another image changed");
}

/* A volume that was being made smaller may have lost what lies beyond already. */
static void allow_shrunk(struct play *p, const struct step *s)
{
    static uint8_t back[VOLUME_MAX];
    struct content *c = content_of(&p->before, s->name);
    struct pod_image_info info;
    static const uint8_t zeroes[BLOCK];
    assert_int_equal(pod_image_by_name(p->rig.pod, s->name, &info), 0);
    if (info.size_bytes != c->size)
        return;
    for (uint64_t at = 0; at < c->size; at += BLOCK) {
        assert_int_equal(rig_read(&p->rig, c->name, at, back, BLOCK), 0);
        if (at >= s->length && memcmp(back, zeroes, BLOCK) == 0)
            memset(c->data + at, 0, BLOCK);
    }
}

static void check_after_cut(struct play *p, const struct step *s)
{
    const int rc = rig_open(&p->rig);
    if (rc)
        fail_msg("the pool does not open: %s: %s", ps_status_name(rc), p->rig.error.detail);
    if (s->kind == IO && s->burst > 1) {
        check_burst(p, s);
    } else {
        if (s->kind == MANAGE && s->op == POD_VOLUME_RESIZE)
            allow_shrunk(p, s);
        if (!is_world(p, &p->before) && !is_world(p, &p->after))
            fail_msg("neither what was before nor what is after step %d", (int)(s - script));
    }
    rig_check(&p->rig);
}

/* Plays until the cut; false: the script ended before. */
static bool play(struct play *p, uint64_t cut, enum blkdev_mem_cut mode, bool random)
{
    rig_create(&p->rig, 64 * MIB, cut);
    p->rig.audited = true;
    p->rig.random = random;
    p->rig.leave_segments = 8;
    p->rig.config.checkpoint_log_bytes = 256 * KIB;
    p->rig.cut_after = cut;
    for (int i = 0; i < IMAGES; i++)
        p->before.images[i].name[0] = 0;
    bool on = rig_open(&p->rig) == 0;
    const struct step *at = &script[STEPS - 1];
    static const struct step opening = {CHECKPOINT, 0, NULL, NULL, 0, 0, 0, 0};
    if (!on) {
        at = &opening;
        p->nrequests = 0;
        world_copy(&p->after, &p->before);
    }
    for (uint64_t i = 0; on && i < STEPS; i++) {
        at = &script[i];
        on = play_step(p, at, i + 1);
        if (on)
            world_copy(&p->before, &p->after);
    }
    p->rig.cut_after = 0;
    if (on) {
        struct pod_stats s;
        pod_stats(p->rig.pod, &s);
        (void)printf("log %llu KiB, moved %llu KiB (%llu KiB became %llu), metadata %llu KiB\n",
                     (unsigned long long)s.flash_written_data / KIB,
                     (unsigned long long)s.flash_written_moved / KIB, (unsigned long long)s.cold_in / KIB,
                     (unsigned long long)s.cold_out / KIB,
                     (unsigned long long)s.flash_written_metadata / KIB);
        assert_true(s.cold_out < s.cold_in); /* with zstd */
        assert_true(is_world(p, &p->after));
        rig_check(&p->rig);
        rig_close(&p->rig);
    } else {
        rig_crash(&p->rig, mode);
        check_after_cut(p, at);
        /* And once more, at once: what an opening leaves is as good. */
        world_copy(&p->before, is_world(p, &p->before) ? &p->before : &p->after);
        rig_crash(&p->rig, mode);
        assert_int_equal(rig_open(&p->rig), 0);
        assert_true(is_world(p, &p->before));
        rig_close(&p->rig);
    }
    rig_destroy(&p->rig);
    return !on;
}

static void every_cut_leaves_what_was_acknowledged(void **state)
{
    (void)state;
    struct play *p = calloc(1, sizeof *p);
    world_create(&p->before);
    world_create(&p->after);
    for (int i = 0; i < BURST; i++)
        p->requests[i].buf = malloc(256 * KIB);
    uint64_t cut = first_cut, cuts = 0;
    for (bool more = true; more && (!last_cut || cut <= last_cut); cut += stride) {
        for (int mode = 0; more && mode < BLKDEV_MEM_CUTS; mode++) {
            if (only_mode < BLKDEV_MEM_CUTS && (uint64_t)mode != only_mode)
                continue;
            more = play(p, cut, (enum blkdev_mem_cut)mode, (cut + (uint64_t)mode) % 2);
            cuts += more;
        }
    }
    (void)printf("%llu cuts, up to completion %llu\n", (unsigned long long)cuts, (unsigned long long)cut);
    world_destroy(&p->before);
    world_destroy(&p->after);
    for (int i = 0; i < BURST; i++)
        free(p->requests[i].buf);
    free(p);
}

int main(int argc, char **argv)
{
    uint64_t *const numbers[] = {&first_cut, &last_cut, &stride, &only_mode};
    for (int i = 1; i < argc && i <= 4; i++)
        *numbers[i - 1] = strtoull(argv[i], NULL, 0);
    if (stride == 0)
        stride = 1;
    if (first_cut == 0)
        first_cut = 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_cut_leaves_what_was_acknowledged)};
    return cmocka_run_group_tests_name("pod_power_cut", tests, NULL, NULL);
}
