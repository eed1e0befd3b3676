/* Random operations against a model that keeps every image as plain bytes.
 *
 * Operations are issued several at a time; what overlaps takes effect in the
 * order of submission. The power fails at a random device operation now and
 * then; afterwards each sector must hold what the last acknowledged write to it
 * left, or something that was written there later and not acknowledged.
 *
 *   test_pod_model [FIRST_SEED [SEEDS [ROUNDS]]] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/collect.h"
#include "node/pod/pod_impl.h"
#include "tests/support/rig_resize.h"

enum {
    SECTOR = 512,
    BLOCK = 4096,
    MIB = 1 << 20,
    IMAGES = 12,
    VOLUME_MAX = 6 * MIB,
    AT_ONCE = 6,
    IO_MAX = 400 * 1024,
};

struct shadow {
    bool exists, snapshot;
    char name[POD_FULL_NAME_MAX + 1];
    uint64_t size;
    uint8_t *data; /* VOLUME_MAX */
};

struct op {
    struct pod_io io;
    struct shadow *target;
    struct pod_image *image;
    uint8_t *buf, *effect; /* what a read gets; what a write leaves */
    bool submitted, done;
};

struct model {
    struct rig rig;
    struct rig_resize resize;
    struct shadow images[IMAGES];
    struct op ops[AT_ONCE];
    unsigned names;
    unsigned rotten_copy; /* as of rig_rot */
    uint64_t crashes, writes, managed, moved, logged;
};

static uint64_t seed_first = 1, seed_count = 6, seed_rounds = 60;

static uint64_t pick(struct model *m, uint64_t n)
{
    return prng_below(&m->rig.prng, n);
}

/* Contents of all kinds: fresh noise, repeats from a small set, compressible, patterns, zeroes. */
static void make_content(struct model *m, uint8_t *buf, uint64_t bytes)
{
    for (uint64_t at = 0; at < bytes; at += BLOCK) {
        const uint64_t n = bytes - at < BLOCK ? bytes - at : BLOCK;
        struct prng p;
        switch (pick(m, 6)) {
        case 0:
            memset(buf + at, 0, n);
            break;
        case 1:
            memset(buf + at, (int)pick(m, 256), n);
            break;
        case 2:
        case 3:
            prng_seed(&p, pick(m, 30));
            prng_fill(&p, buf + at, n);
            break;
        case 4:
            for (uint64_t i = 0; i < n; i++)
                buf[at + i] = (uint8_t)(pick(m, 16) == 0 ? pick(m, 256) : 'a');
            break;
        default:
            prng_fill(&m->rig.prng, buf + at, n);
        }
    }
}

static struct shadow *any_image(struct model *m, bool snapshot)
{
    const uint64_t from = pick(m, IMAGES);
    for (uint64_t i = 0; i < IMAGES; i++) {
        struct shadow *s = &m->images[(from + i) % IMAGES];
        if (s->exists && s->snapshot == snapshot)
            return s;
    }
    return NULL;
}

static struct shadow *free_image(struct model *m)
{
    for (int i = 0; i < IMAGES; i++)
        if (!m->images[i].exists)
            return &m->images[i];
    return NULL;
}

/* ---- comparing */

static void compare_image(struct model *m, struct shadow *s)
{
    static uint8_t back[VOLUME_MAX];
    for (uint64_t at = 0; at < s->size; at += MIB) {
        const uint64_t n = s->size - at < MIB ? s->size - at : MIB;
        assert_int_equal(rig_read(&m->rig, s->name, at, back + at, n), 0);
    }
    for (uint64_t at = 0; at < s->size; at += SECTOR)
        if (memcmp(back + at, s->data + at, SECTOR) != 0)
            fail_msg("%s differs at byte %llu", s->name, (unsigned long long)at);
}

static void compare_all(struct model *m)
{
    struct pod_image_info info = {0};
    unsigned there = 0, expected = 0;
    for (int i = 0; i < IMAGES; i++)
        if (m->images[i].exists) {
            compare_image(m, &m->images[i]);
            expected++;
        }
    while (pod_image_after(m->rig.pod, info.name, &info) == 0)
        there++;
    assert_int_equal(there, expected);
}

/* ---- I/O */

static void on_op(struct pod_io *io, int status)
{
    struct op *op = io->user;
    (void)status;
    op->done = true;
}

static void choose_op(struct model *m, struct op *op)
{
    static const enum pod_io_op kinds[] = {POD_WRITE, POD_WRITE,      POD_WRITE,
                                           POD_TRIM,  POD_WRITE_ZERO, POD_READ};
    struct shadow *s = any_image(m, false);
    const uint64_t unit = pick(m, 3) ? BLOCK : SECTOR;
    const enum pod_io_op kind = kinds[pick(m, 6)];
    uint64_t length = (1 + pick(m, pick(m, 4) ? 32 : IO_MAX / unit)) * unit;
    if ((kind == POD_TRIM || kind == POD_WRITE_ZERO) && pick(m, 3) == 0)
        length = (1 + pick(m, s->size / unit)) * unit; /* whole leaves */
    if (length > s->size)
        length = s->size;
    const uint64_t offset = pick(m, (s->size - length) / unit + 1) * unit;
    op->target = s;
    op->done = op->submitted = false;
    op->io = (struct pod_io){.op = kind, .offset = offset, .length = length, .buf = op->buf, .user = op};
    if (op->io.op == POD_WRITE_ZERO && pick(m, 2))
        op->io.flags = POD_IO_NO_HOLE;
    if (op->io.op == POD_WRITE)
        make_content(m, op->buf, length);
    assert_int_equal(pod_image_open(m->rig.pod, s->name, &op->image, NULL), 0);
    op->io.image = op->image;
    assert_int_equal(pod_submit(m->rig.pod, &op->io, on_op), 0);
    op->submitted = true;
}

/* What the operation leaves at a byte offset of its image: NULL if it leaves that alone. */
static const uint8_t *effect_at(const struct op *op, uint64_t at)
{
    static const uint8_t zeroes[SECTOR];
    const uint64_t end = op->io.offset + op->io.length;
    if (at < op->io.offset || at >= end || op->io.op == POD_READ)
        return NULL;
    if (op->io.op == POD_WRITE)
        return op->buf + (at - op->io.offset);
    if (op->io.op == POD_TRIM) {
        const uint64_t block = at / BLOCK * BLOCK;
        if (block < op->io.offset || block + BLOCK > end)
            return NULL;
    }
    return zeroes;
}

static void apply_op(struct op *op)
{
    for (uint64_t at = op->io.offset; at < op->io.offset + op->io.length; at += SECTOR) {
        const uint8_t *effect = effect_at(op, at);
        if (effect)
            memcpy(op->target->data + at, effect, SECTOR);
    }
}

/* After a crash each sector holds an effect no older than the last acknowledged one; the model adopts it. */
static void adopt(struct model *m, struct shadow *s, unsigned nops)
{
    static uint8_t back[VOLUME_MAX];
    for (uint64_t at = 0; at < s->size; at += MIB) {
        const uint64_t n = s->size - at < MIB ? s->size - at : MIB;
        assert_int_equal(rig_read(&m->rig, s->name, at, back + at, n), 0);
    }
    for (uint64_t at = 0; at < s->size; at += SECTOR) {
        bool fits = true;
        const uint8_t *now = s->data + at;
        fits = memcmp(back + at, now, SECTOR) == 0;
        for (unsigned i = 0; i < nops; i++) {
            const struct op *op = &m->ops[i];
            const uint8_t *effect = op->submitted && op->target == s ? effect_at(op, at) : NULL;
            if (!effect)
                continue;
            const bool equal = memcmp(back + at, effect, SECTOR) == 0;
            fits = op->done && op->io.status == 0 ? equal : fits || equal;
        }
        if (!fits)
            fail_msg("%s: sector at %llu holds neither what was acknowledged nor anything later", s->name,
                     (unsigned long long)at);
        memcpy(s->data + at, back + at, SECTOR);
    }
}

static void reopen(struct model *m)
{
    m->rig.cut_after = 0;
    const int rc = rig_open(&m->rig);
    if (rc)
        fail_msg("opening after a crash: %s: %s", ps_status_name(rc), m->rig.error.detail);
}

static void adopt_all(struct model *m, unsigned nops)
{
    for (int i = 0; i < IMAGES; i++)
        if (m->images[i].exists)
            adopt(m, &m->images[i], nops);
}

struct places {
    struct place p[4096];
    uint64_t count;
};

static void add_place(struct model *m, struct places *all, struct place place)
{
    if (!place_is_none(place) && all->count < sizeof all->p / sizeof all->p[0] &&
        segments_twin(m->rig.pod->segments, place_segment(m->rig.pod, place)))
        all->p[all->count++] = place;
}

struct rotting {
    struct model *m;
    struct places all;
};

static void add_page(void *user, struct meta_key page)
{
    struct rotting *r = user;
    add_place(r->m, &r->all, meta_base(r->m->rig.pod->meta, page));
}

/* One copy of some metadata, always the same one: nothing is lost by that. */
static void rot(struct model *m)
{
    static struct rotting r;
    const struct pod *pod = m->rig.pod;
    if (m->rig.area || m->rig.several || !pod->segments)
        return;
    r.m = m;
    r.all.count = 0;
    for (enum meta_kind kind = META_MAP; kind <= META_REF; kind++)
        meta_each_page(pod->meta, kind, add_page, &r);
    for (size_t i = 0; i < pod->run_count; i++)
        for (size_t c = 0; c < pod->runs[i].count; c++)
            add_place(m, &r.all, pod->runs[i].chunks[c]);
    for (uint64_t n = pick(m, 3); n > 0 && r.all.count; n--)
        rig_rot(&m->rig, r.all.p[pick(m, r.all.count)], m->rotten_copy);
}

static void crash(struct model *m)
{
    rot(m);
    rig_resize_forget(&m->resize);
    rig_crash(&m->rig, (enum blkdev_mem_cut)pick(m, BLKDEV_MEM_CUTS));
    m->crashes++;
    /* The power may fail again while the pool is being opened. */
    while (pick(m, 3) == 0) {
        m->rig.cut_after = m->rig.steps + 1 + pick(m, 40);
        if (rig_open(&m->rig) != PS_EUNAVAILABLE) {
            rig_crash(&m->rig, BLKDEV_MEM_LOSE);
            continue;
        }
        rig_crash(&m->rig, (enum blkdev_mem_cut)pick(m, BLKDEV_MEM_CUTS));
    }
    reopen(m);
}

static bool all_done(const struct model *m, unsigned nops)
{
    for (unsigned i = 0; i < nops; i++)
        if (!m->ops[i].done)
            return false;
    return true;
}

static void io_round(struct model *m)
{
    const unsigned nops = 1 + (unsigned)pick(m, AT_ONCE);
    if (!any_image(m, false))
        return;
    if (pick(m, 4) == 0)
        m->rig.cut_after = m->rig.steps + 1 + pick(m, 12);
    for (unsigned i = 0; i < nops; i++)
        choose_op(m, &m->ops[i]);
    while (!all_done(m, nops))
        if (!rig_step(&m->rig)) {
            crash(m);
            for (unsigned i = 0; i < nops; i++)
                free(m->ops[i].image);
            adopt_all(m, nops);
            return;
        }
    m->rig.cut_after = 0;
    for (unsigned i = 0; i < nops; i++) {
        struct op *op = &m->ops[i];
        assert_int_equal(op->io.status, 0);
        pod_image_close(op->image);
        apply_op(op);
        m->writes++;
    }
}

/* ---- management */

struct change {
    enum pod_manage_op op;
    struct shadow *from, *to;
    char name[POD_FULL_NAME_MAX + 1], new_name[POD_NAME_MAX + 1];
    uint64_t size;
};

static unsigned images(const struct model *m)
{
    unsigned n = 0;
    for (int i = 0; i < IMAGES; i++)
        n += m->images[i].exists;
    return n;
}

static unsigned volumes(const struct model *m)
{
    unsigned n = 0;
    for (int i = 0; i < IMAGES; i++)
        n += m->images[i].exists && !m->images[i].snapshot;
    return n;
}

/* False: not possible now. */
static bool choose_change(struct model *m, struct change *c)
{
    struct shadow *volume = any_image(m, false), *snapshot = any_image(m, true), *to = free_image(m);
    *c = (struct change){.op = (enum pod_manage_op)pick(m, POD_CLONE_CREATE + 1), .to = to};
    (void)snprintf(c->new_name, sizeof c->new_name, "n%u", m->names++);
    c->size = (1 + pick(m, VOLUME_MAX / BLOCK)) * BLOCK;
    switch (c->op) {
    case POD_VOLUME_CREATE:
        (void)snprintf(c->name, sizeof c->name, "%s", c->new_name);
        return to != NULL;
    case POD_SNAPSHOT_CREATE:
        c->from = volume;
        if (volume)
            (void)snprintf(c->name, sizeof c->name, "%.60s@%s", volume->name, c->new_name);
        return volume && to;
    case POD_SNAPSHOT_ALL:
        c->from = volume;
        (void)snprintf(c->name, sizeof c->name, "%s", c->new_name);
        return volume && volumes(m) <= IMAGES - images(m);
    case POD_CLONE_CREATE:
    case POD_SNAPSHOT_RESTORE:
    case POD_SNAPSHOT_DELETE:
        c->from = snapshot;
        if (snapshot)
            memcpy(c->name, snapshot->name, sizeof c->name);
        return snapshot && (c->op != POD_CLONE_CREATE || to);
    default:
        c->from = volume;
        if (volume)
            memcpy(c->name, volume->name, sizeof c->name);
        return volume != NULL;
    }
}

static size_t snapshots_of(struct model *m, const struct shadow *volume, struct shadow *out[IMAGES])
{
    char prefix[POD_FULL_NAME_MAX + 2];
    size_t n = 0;
    (void)snprintf(prefix, sizeof prefix, "%s@", volume->name);
    for (int i = 0; i < IMAGES; i++)
        if (m->images[i].exists && strncmp(m->images[i].name, prefix, strlen(prefix)) == 0)
            out[n++] = &m->images[i];
    return n;
}

static struct shadow *volume_of(struct model *m, const struct shadow *snapshot)
{
    for (int i = 0; i < IMAGES; i++) {
        struct shadow *s = &m->images[i];
        const size_t n = strlen(s->name);
        if (s->exists && !s->snapshot && strncmp(s->name, snapshot->name, n) == 0 && snapshot->name[n] == '@')
            return s;
    }
    return NULL;
}

static void copy_image(struct shadow *to, const struct shadow *from, const char *name, bool snapshot)
{
    uint8_t *data = to->data;
    *to = *from;
    to->data = data;
    to->snapshot = snapshot;
    memcpy(to->data, from->data, VOLUME_MAX);
    (void)snprintf(to->name, sizeof to->name, "%s", name);
}

static void snapshot_all(struct model *m, const char *name)
{
    char full[POD_FULL_NAME_MAX + 1];
    for (int i = 0; i < IMAGES; i++) {
        const struct shadow *s = &m->images[i];
        if (!s->exists || s->snapshot)
            continue;
        (void)snprintf(full, sizeof full, "%.60s@%.60s", s->name, name);
        copy_image(free_image(m), s, full, true);
    }
}

static void apply_change(struct model *m, const struct change *c)
{
    struct shadow *snapshots[IMAGES];
    switch (c->op) {
    case POD_VOLUME_CREATE:
        c->to->exists = true;
        c->to->snapshot = false;
        c->to->size = c->size;
        memset(c->to->data, 0, VOLUME_MAX);
        (void)snprintf(c->to->name, sizeof c->to->name, "%s", c->name);
        break;
    case POD_VOLUME_RESIZE:
        if (c->size < c->from->size)
            memset(c->from->data + c->size, 0, VOLUME_MAX - c->size);
        c->from->size = c->size;
        break;
    case POD_VOLUME_RENAME:
        for (size_t i = 0, n = snapshots_of(m, c->from, snapshots); i < n; i++) {
            char name[POD_FULL_NAME_MAX + 1];
            (void)snprintf(name, sizeof name, "%.60s%s", c->new_name, strchr(snapshots[i]->name, '@'));
            memcpy(snapshots[i]->name, name, sizeof name);
        }
        (void)snprintf(c->from->name, sizeof c->from->name, "%s", c->new_name);
        break;
    case POD_VOLUME_DELETE:
        for (size_t i = 0, n = snapshots_of(m, c->from, snapshots); i < n; i++)
            snapshots[i]->exists = false;
        c->from->exists = false;
        break;
    case POD_SNAPSHOT_CREATE:
        copy_image(c->to, c->from, c->name, true);
        break;
    case POD_SNAPSHOT_ALL:
        snapshot_all(m, c->name);
        break;
    case POD_SNAPSHOT_DELETE:
        c->from->exists = false;
        break;
    case POD_SNAPSHOT_RESTORE: {
        struct shadow *volume = volume_of(m, c->from);
        char name[POD_FULL_NAME_MAX + 1];
        memcpy(name, volume->name, sizeof name);
        copy_image(volume, c->from, name, false);
        break;
    }
    case POD_CLONE_CREATE:
        copy_image(c->to, c->from, c->new_name, false);
        break;
    default:
        break;
    }
}

/* Whether the interrupted change took effect, told from what exists now. */
static bool took_effect(struct model *m, const struct change *c)
{
    struct pod_image_info info;
    char full[POD_FULL_NAME_MAX + 1];
    const int there = pod_image_by_name(m->rig.pod, c->name, &info);
    switch (c->op) {
    case POD_VOLUME_CREATE:
    case POD_SNAPSHOT_CREATE:
        return there == 0;
    case POD_CLONE_CREATE:
        return pod_image_by_name(m->rig.pod, c->new_name, &info) == 0;
    case POD_SNAPSHOT_ALL:
        (void)snprintf(full, sizeof full, "%.60s@%.60s", c->from->name, c->name);
        return pod_image_by_name(m->rig.pod, full, &info) == 0;
    case POD_VOLUME_DELETE:
    case POD_SNAPSHOT_DELETE:
    case POD_VOLUME_RENAME:
        return there != 0;
    case POD_VOLUME_RESIZE:
        return info.size_bytes == c->size;
    default:
        return false;
    }
}

static void manage_round(struct model *m)
{
    struct change c;
    if (!choose_change(m, &c))
        return;
    struct pod_manage req = {.op = c.op, .size_bytes = c.size, .allow_shrink = true, .with_snapshots = true};
    memcpy(req.name, c.name, sizeof req.name);
    memcpy(req.new_name, c.new_name, sizeof req.new_name);
    /* Restoring and shrinking are told apart from what they were by contents only: no crash in them here. */
    const bool may_crash = c.op != POD_SNAPSHOT_RESTORE && c.op != POD_VOLUME_RESIZE;
    if (may_crash && pick(m, 3) == 0)
        m->rig.cut_after = m->rig.steps + 1 + pick(m, 3);
    const int rc = rig_manage(&m->rig, &req);
    if (m->rig.dead) {
        crash(m);
        if (took_effect(m, &c))
            apply_change(m, &c);
        adopt_all(m, 0);
        return;
    }
    m->rig.cut_after = 0;
    if (rc)
        fail_msg("operation %d on \"%s\": %s", (int)c.op, c.name, req.error.detail);
    apply_change(m, &c);
    m->managed++;
}

/* ---- */

static void run_seed(uint64_t seed)
{
    struct model *m = calloc(1, sizeof *m);
    rig_create(&m->rig, 768ull * MIB, seed);
    m->rig.audited = true;
    rig_resize_init(&m->resize, &m->rig, seed);
    m->rotten_copy = 1 + seed % 2;
    m->rig.random = seed % 4 != 0;
    m->rig.config.dedupe = seed % 5 != 1;
    m->rig.config.compression = seed % 7 != 2;
    m->rig.config.zstd = seed % 3 == 1;
    m->rig.config.sha256 = seed % 6 == 3;
    m->rig.config.metadata_cache_bytes = seed % 2 ? 1 << 20 : 0;
    m->rig.config.gc_threshold = seed % 8 ? 1 : 0;
    m->rig.config.checkpoint_log_bytes = seed % 8 ? 4 * MIB : 0;
    for (int i = 0; i < IMAGES; i++)
        m->images[i].data = calloc(1, VOLUME_MAX);
    for (int i = 0; i < AT_ONCE; i++)
        m->ops[i].buf = malloc(IO_MAX + BLOCK);
    assert_int_equal(rig_open(&m->rig), 0);
    for (int i = 0; i < 2; i++) {
        struct change c = {.op = POD_VOLUME_CREATE, .to = &m->images[i], .size = (1 + (uint64_t)i * 4) * MIB};
        (void)snprintf(c.name, sizeof c.name, "v%d", i);
        assert_int_equal(rig_create_volume(&m->rig, c.name, c.size), 0);
        apply_change(m, &c);
    }
    for (uint64_t round = 0; round < seed_rounds; round++) {
        if (seed % 8) { /* so little is written that hardly anything would be earned */
            m->rig.leave_segments = 13 + (uint32_t)pick(m, 7);
            m->rig.pod->collect->credit = MIB;
        }
        if (pick(m, 4) == 0)
            manage_round(m);
        else
            io_round(m);
        rig_resize_round(&m->resize);
        if (pick(m, 12) == 0) {
            rig_close(&m->rig);
            rig_resize_forget(&m->resize);
            reopen(m);
        }
        if (pick(m, 10) == 0)
            rig_check(&m->rig);
        if (pick(m, 10) == 0)
            compare_all(m);
    }
    compare_all(m);
    rig_check(&m->rig);
    rig_close(&m->rig);
    rig_resize_forget(&m->resize);
    reopen(m);
    compare_all(m);
    rig_check(&m->rig);
    struct pod_stats stats;
    pod_stats(m->rig.pod, &stats);
    m->moved = stats.flash_written_moved;
    m->logged = stats.flash_written_data;
    rig_close(&m->rig);
    (void)printf(
        "seed %llu: %llu operations, %llu changes, %llu crashes, %llu KiB moved of %llu; %u growths, "
        "%u parts left, %u not\n",
        (unsigned long long)seed, (unsigned long long)m->writes, (unsigned long long)m->managed,
        (unsigned long long)m->crashes, (unsigned long long)m->moved / 1024,
        (unsigned long long)m->logged / 1024, m->resize.grown, m->resize.emptied, m->resize.ended);
    rig_destroy(&m->rig);
    for (int i = 0; i < IMAGES; i++)
        free(m->images[i].data);
    for (int i = 0; i < AT_ONCE; i++)
        free(m->ops[i].buf);
    free(m);
}

static void random_operations_match_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = seed_first; seed < seed_first + seed_count; seed++) {
        (void)printf("seed %llu\n", (unsigned long long)seed);
        (void)fflush(stdout);
        run_seed(seed);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seed_first = strtoull(argv[1], NULL, 0);
    if (argc > 2)
        seed_count = strtoull(argv[2], NULL, 0);
    if (argc > 3)
        seed_rounds = strtoull(argv[3], NULL, 0);
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_operations_match_the_model)};
    return cmocka_run_group_tests_name("pod_model", tests, NULL, NULL);
}
