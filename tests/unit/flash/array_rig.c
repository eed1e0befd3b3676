#include "tests/unit/flash/array_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/blkdev_scratch.h"
#include "common/container.h"
#include "node/flash/anchor.h"
#include "node/meta/checksum.h"

enum {
    UNIT = 4096,
    HEAD = 1 << 20,
};

static void on_event(void *user, const char *kind, const char *text)
{
    struct array_rig *rig = user;
    rig->events++;
    (void)snprintf(rig->last_event, sizeof rig->last_event, "%s", kind);
    if (getenv("RIG_TALKS"))
        print_message("%s: %s\n", kind, text);
}

static void on_grown(void *user)
{
    ((struct array_rig *)user)->grown++;
}

void rig_blank(struct array_rig *rig, unsigned device)
{
    static uint8_t zeroes[HEAD];
    if (rig->dev[device])
        blkdev_destroy(rig->dev[device]);
    if (rig->mem[device])
        blkdev_destroy(rig->mem[device]);
    (void)snprintf(rig->name[device], sizeof rig->name[device], "disk%u", device);
    /* As they come: with something on them, or with zeroes, which agree with their parity. */
    const uint64_t noise = prng_next(&rig->prng);
    const struct blkdev_mem_options o = {
        .size_bytes = rig->device_bytes, .noise_seed = noise & 2 ? 0 : noise | 1, .name = rig->name[device]};
    rig->mem[device] = blkdev_mem_create(&o);
    rig->dev[device] = blkdev_fault_create(rig->mem[device]);
    assert_non_null(rig->dev[device]);
    blkdev_mem_poke(rig->mem[device], 0, zeroes, sizeof zeroes);
}

static uint64_t part_bytes(const struct array_rig *rig)
{
    const uint32_t row = (rig->members - rig->parity) * UNIT;
    return rig->parity ? (uint64_t)(RIG_SEGMENT + row - 1) / row * UNIT : RIG_SEGMENT;
}

void rig_resize(struct array_rig *rig, unsigned device, unsigned segments)
{
    const uint64_t usual = rig->device_bytes;
    rig->device_bytes = ARRAY_HEADER_BYTES + segments * part_bytes(rig);
    rig_blank(rig, device);
    rig->device_bytes = usual;
}

void rig_pool(struct array_rig *rig, unsigned device, uint8_t id)
{
    uint8_t block[ANCHOR_BYTES] = {0};
    struct pool_label label = {.number = 1,
                               .device_bytes = rig->mem[device]->geometry.size_bytes,
                               .segment_bytes = RIG_SEGMENT,
                               .pod_count = 1,
                               .pods = {{.name = "main", .anchor_segments = {2, 3}}}};
    label.segment_count = (uint32_t)(label.device_bytes / RIG_SEGMENT);
    memset(label.pool, id, sizeof label.pool);
    label_encode(&label, block);
    blkdev_mem_poke(rig->mem[device], 0, block, sizeof block);
}

void rig_create(struct array_rig *rig, uint64_t seed, unsigned members, unsigned parity)
{
    rig_create_large(rig, seed, members, parity, RIG_SEGMENTS);
}

void rig_create_large(struct array_rig *rig, uint64_t seed, unsigned members, unsigned parity,
                      unsigned segments)
{
    memset(rig, 0, sizeof *rig);
    prng_seed(&rig->prng, seed);
    rig->members = members;
    rig->parity = parity;
    rig->device_bytes = ARRAY_HEADER_BYTES + segments * part_bytes(rig);
    for (unsigned i = 0; i < RIG_DEVICES; i++)
        rig_blank(rig, i);
    for (unsigned i = 0; i < RIG_JOBS; i++) {
        rig->job[i].rig = rig;
        rig->job[i].buf = aligned_alloc(BLKDEV_ALIGN, RIG_SEGMENT);
        assert_non_null(rig->job[i].buf);
    }
}

static void forget_array(struct array_rig *rig)
{
    if (rig->array)
        array_destroy(rig->array);
    rig->array = NULL;
    rig->whole = NULL;
    for (unsigned i = 0; i < RIG_DEVICES; i++) {
        if (rig->scratch[i])
            blkdev_destroy(rig->scratch[i]);
        rig->scratch[i] = NULL;
    }
}

void rig_destroy(struct array_rig *rig)
{
    forget_array(rig);
    for (unsigned i = 0; i < RIG_DEVICES; i++) {
        blkdev_destroy(rig->dev[i]);
        blkdev_destroy(rig->mem[i]);
    }
    for (unsigned i = 0; i < RIG_JOBS; i++)
        free(rig->job[i].buf);
}

/* ---- life */

bool rig_step(struct array_rig *rig)
{
    unsigned order = (unsigned)prng_below(&rig->prng, RIG_DEVICES);
    for (unsigned i = 0; i < RIG_DEVICES; i++) {
        struct blkdev *mem = rig->mem[(order + i) % RIG_DEVICES];
        if (blkdev_mem_step_random(mem, &rig->prng))
            return true;
    }
    return false;
}

void rig_drain(struct array_rig *rig)
{
    while (rig_step(rig))
        ;
}

static void on_opened(void *user, int status)
{
    ((struct array_rig *)user)->opened = status;
}

int rig_open(struct array_rig *rig, uint32_t devices, uint32_t gone)
{
    struct array_device list[RIG_DEVICES];
    unsigned n = 0;
    for (unsigned i = 0; i < RIG_DEVICES; i++) {
        if (rig->look_only)
            rig->scratch[i] = blkdev_scratch_create(rig->dev[i], 64 << 20);
        struct blkdev *dev = rig->look_only ? rig->scratch[i] : rig->dev[i];
        if ((devices | gone) >> i & 1)
            list[n++] = (struct array_device){devices >> i & 1 ? dev : NULL, rig->name[i]};
    }
    for (unsigned i = n; i > 1; i--) {
        const unsigned j = (unsigned)prng_below(&rig->prng, i);
        const struct array_device swap = list[j];
        list[j] = list[i - 1];
        list[i - 1] = swap;
    }
    const struct array_config config = {.seed = {prng_next(&rig->prng), prng_next(&rig->prng)},
                                        .parity = rig->parity,
                                        .segment_bytes = RIG_SEGMENT,
                                        .unit_bytes = UNIT,
                                        .event = on_event,
                                        .user = rig,
                                        .look_only = rig->look_only,
                                        .adopt = rig->adopt,
                                        .grown = on_grown,
                                        .rebuild_rate = rig->rebuild_rate ? rig->rebuild_rate : 1ull << 50};
    rig->opened = 1;
    int rc = array_open(list, n, &config, on_opened, rig, &rig->error, &rig->array);
    if (rc) {
        forget_array(rig);
        return rc;
    }
    rig_drain(rig);
    rc = rig->opened;
    assert_int_not_equal(rc, 1);
    if (rc)
        forget_array(rig);
    else
        rig->whole = array_device(rig->array);
    return rc;
}

static void on_answer(void *user, int status)
{
    ((struct array_rig *)user)->answer = status;
}

void rig_close(struct array_rig *rig)
{
    while (!rig_idle(rig))
        assert_true(rig_step(rig));
    rig->answer = 1;
    array_close(rig->array, on_answer, rig);
    rig_drain(rig);
    assert_int_not_equal(rig->answer, 1);
    forget_array(rig);
    for (unsigned s = 0; s < RIG_SEGMENTS_MAX; s++) {
        /* What a clean end leaves is all there. */
        if (rig->answer == 0)
            memcpy(rig->segment[s].durable, rig->segment[s].completed, RIG_BLOCKS);
        rig->segment[s].open = false;
    }
}

void rig_cut(struct array_rig *rig, int mode)
{
    for (unsigned i = 0; i < RIG_DEVICES; i++) {
        const enum blkdev_mem_cut how = mode < 0
                                            ? (enum blkdev_mem_cut)prng_below(&rig->prng, BLKDEV_MEM_CUTS)
                                            : (enum blkdev_mem_cut)mode;
        blkdev_mem_power_cut(rig->mem[i], &rig->prng, how);
        blkdev_fault_drop(rig->dev[i]);
    }
    forget_array(rig);
    for (unsigned i = 0; i < RIG_JOBS; i++)
        rig->job[i].busy = false;
    for (unsigned s = 0; s < RIG_SEGMENTS_MAX; s++) {
        rig->segment[s].open = false;
        rig->segment[s].busy = 0;
        memcpy(rig->segment[s].completed, rig->segment[s].durable, RIG_BLOCKS);
    }
}

bool rig_idle(const struct array_rig *rig)
{
    for (unsigned i = 0; i < RIG_JOBS; i++)
        if (rig->job[i].busy)
            return false;
    return true;
}

/* ---- requests */

void rig_fill(const struct array_rig *rig, uint32_t segment, uint64_t life, uint32_t block, uint8_t *out)
{
    (void)rig;
    struct prng p;
    prng_seed(&p, life * 1000003 + segment * 4099 + block);
    prng_fill(&p, out, RIG_BLOCK);
}

static struct rig_job *take(struct array_rig *rig)
{
    for (unsigned i = 0; i < RIG_JOBS; i++)
        if (!rig->job[i].busy) {
            rig->job[i].busy = true;
            rig->job[i].done = false;
            return &rig->job[i];
        }
    return NULL;
}

static void on_done(struct blkdev_req *req, int status)
{
    struct rig_job *j = container_of(req, struct rig_job, req);
    struct array_rig *rig = j->rig;
    struct rig_segment *s = &rig->segment[j->segment];
    assert_true(j->busy && !j->done);
    j->done = true;
    j->status = status;
    if (req->op == BLKDEV_READ)
        return; /* the reader looks */
    j->busy = false;
    if (req->op == BLKDEV_FLUSH) {
        for (unsigned i = 0; i < RIG_SEGMENTS_MAX && status == 0; i++)
            for (unsigned b = 0; b < RIG_BLOCKS; b++)
                rig->segment[i].durable[b] |= j->covers[i][b] && rig->segment[i].completed[b];
        return;
    }
    s->busy--;
    if (status)
        return;
    if (req->op == BLKDEV_ERASE) {
        s->open = true;
        return;
    }
    for (uint32_t b = j->from; b < j->to; b++) {
        s->completed[b] = 1;
        s->durable[b] |= (req->flags & BLKDEV_FUA) != 0;
    }
}

static bool submit(struct rig_job *j)
{
    const int rc = blkdev_submit(j->rig->whole, &j->req, on_done);
    if (rc == 0)
        return true;
    j->busy = false;
    return false;
}

bool rig_erase(struct array_rig *rig, uint32_t segment)
{
    struct rig_segment *s = &rig->segment[segment];
    /* A flush that is on its way and covers the old life would confuse the model. */
    if (s->busy)
        return false;
    for (unsigned i = 0; i < RIG_JOBS; i++)
        if (rig->job[i].busy && rig->job[i].req.op == BLKDEV_FLUSH)
            return false;
    struct rig_job *j = take(rig);
    if (!j)
        return false;
    *s = (struct rig_segment){.life = ++rig->lives, .busy = 1};
    j->segment = segment;
    j->req = (struct blkdev_req){
        .op = BLKDEV_ERASE, .offset = (uint64_t)segment * RIG_SEGMENT, .length = RIG_SEGMENT};
    if (submit(j))
        return true;
    s->busy = 0;
    return false;
}

bool rig_append(struct array_rig *rig, uint32_t segment, uint32_t blocks, bool fua)
{
    struct rig_segment *s = &rig->segment[segment];
    if (!s->open || s->fill == RIG_BLOCKS)
        return false;
    struct rig_job *j = take(rig);
    if (!j)
        return false;
    if (blocks > RIG_BLOCKS - s->fill)
        blocks = RIG_BLOCKS - s->fill;
    j->segment = segment;
    j->from = s->fill;
    j->to = s->fill + blocks;
    for (uint32_t b = 0; b < blocks; b++)
        rig_fill(rig, segment, s->life, j->from + b, j->buf + (size_t)b * RIG_BLOCK);
    j->req = (struct blkdev_req){.op = BLKDEV_WRITE,
                                 .flags = fua ? BLKDEV_FUA : 0,
                                 .offset = (uint64_t)segment * RIG_SEGMENT + (uint64_t)j->from * RIG_BLOCK,
                                 .length = blocks * RIG_BLOCK,
                                 .buf = j->buf};
    s->fill = j->to;
    s->busy++;
    if (submit(j))
        return true;
    s->busy--;
    s->open = false;
    return false;
}

bool rig_flush(struct array_rig *rig)
{
    struct rig_job *j = take(rig);
    if (!j)
        return false;
    for (unsigned i = 0; i < RIG_SEGMENTS_MAX; i++)
        memcpy(j->covers[i], rig->segment[i].completed, RIG_BLOCKS);
    j->segment = 0;
    j->req = (struct blkdev_req){.op = BLKDEV_FLUSH};
    return submit(j);
}

static int read_blocks(struct array_rig *rig, uint32_t segment, uint32_t from, uint32_t to, uint32_t flags,
                       uint8_t *out)
{
    struct rig_job *j = take(rig);
    if (!j)
        return PS_ELIMIT;
    j->segment = segment;
    j->req = (struct blkdev_req){.op = BLKDEV_READ,
                                 .flags = flags,
                                 .offset = (uint64_t)segment * RIG_SEGMENT + (uint64_t)from * RIG_BLOCK,
                                 .length = (to - from) * RIG_BLOCK,
                                 .buf = j->buf};
    if (!submit(j))
        return PS_EIO;
    assert_false(j->done);
    while (!j->done)
        assert_true(rig_step(rig));
    j->busy = false;
    if (j->status == 0)
        memcpy(out, j->buf, (size_t)(to - from) * RIG_BLOCK);
    return j->status;
}

int rig_read(struct array_rig *rig, uint32_t segment, uint32_t from, uint32_t to, uint8_t *out)
{
    return read_blocks(rig, segment, from, to, 0, out);
}

int rig_read_way(struct array_rig *rig, uint32_t segment, uint32_t block, uint32_t way, uint8_t *out)
{
    return read_blocks(rig, segment, block, block + 1, blkdev_way(way), out);
}

void rig_verify(struct array_rig *rig)
{
    static uint8_t got[RIG_SEGMENT], want[RIG_BLOCK];
    for (uint32_t s = 0; s < RIG_SEGMENTS_MAX; s++) {
        const struct rig_segment *seg = &rig->segment[s];
        for (uint32_t from = 0, to; from < RIG_BLOCKS; from = to) {
            to = from;
            if (!seg->completed[from]) {
                to = from + 1;
                continue;
            }
            const uint32_t most =
                1 + (uint32_t)prng_below(&rig->prng, prng_chance(&rig->prng, 1, 2) ? 4 : 200);
            while (to < RIG_BLOCKS && to - from < most && seg->completed[to])
                to++;
            assert_int_equal(rig_read(rig, s, from, to, got), 0);
            for (uint32_t b = from; b < to; b++) {
                rig_fill(rig, s, seg->life, b, want);
                if (memcmp(want, got + (size_t)(b - from) * RIG_BLOCK, RIG_BLOCK))
                    fail_msg("segment %u, block %u is not what was written (fill %u, durable %u)", s, b,
                             seg->fill, seg->durable[b]);
            }
        }
    }
}

uint64_t rig_digest(struct array_rig *rig)
{
    static uint8_t got[RIG_SEGMENT];
    uint64_t digest = 0;
    for (uint32_t s = 0; s < RIG_SEGMENTS_MAX; s++) {
        const uint32_t fill = rig->segment[s].fill;
        if (!fill)
            continue;
        assert_int_equal(rig_read(rig, s, 0, fill, got), 0);
        digest = prng_mix(digest ^ checksum_bytes(got, (size_t)fill * RIG_BLOCK));
    }
    return digest;
}

/* ---- devices */

int rig_begin_attach(struct array_rig *rig, unsigned device)
{
    const struct array_device d = {rig->dev[device], rig->name[device]};
    rig->answer = 1;
    return array_attach(rig->array, &d, on_answer, rig, &rig->error);
}

int rig_attach(struct array_rig *rig, unsigned device)
{
    const int rc = rig_begin_attach(rig, device);
    while (rc == 0 && rig->answer == 1)
        assert_true(rig_step(rig));
    return rc ? rc : rig->answer;
}

static void on_end(void *user, int status)
{
    struct array_rig *rig = user;
    (void)status;
    array_destroy(rig->array);
    rig->array = NULL;
    rig->whole = NULL;
}

bool rig_close_in_attach(struct array_rig *rig, unsigned device, unsigned steps)
{
    assert_int_equal(rig_begin_attach(rig, device), 0);
    for (unsigned i = 0; i < steps && rig->answer == 1; i++)
        assert_true(rig_step(rig));
    const bool ended = rig->answer != 1;
    array_close(rig->array, on_end, rig);
    rig_drain(rig);
    assert_null(rig->array);
    return ended;
}

int rig_begin_detach(struct array_rig *rig, unsigned device)
{
    rig->answer = 1;
    return array_detach(rig->array, rig->name[device], on_answer, rig, &rig->error);
}

int rig_detach(struct array_rig *rig, unsigned device)
{
    const int rc = rig_begin_detach(rig, device);
    while (rc == 0 && rig->answer == 1)
        assert_true(rig_step(rig));
    return rc ? rc : rig->answer;
}

void rig_rebuild(struct array_rig *rig)
{
    for (unsigned quiet = 0; quiet < 3;) {
        rig->now_ns += 1000000000;
        (void)array_turn(rig->array, rig->now_ns);
        quiet = rig_step(rig) ? 0 : quiet + 1;
    }
}

unsigned rig_lost(const struct array_rig *rig)
{
    struct array_info info;
    array_look(rig->array, &info);
    return info.lost;
}

void rig_break(struct array_rig *rig, unsigned device)
{
    const struct blkdev_fault_rule rule = {.ops = BLKDEV_FAULT_ANY, .action = BLKDEV_FAULT_FAIL};
    (void)blkdev_fault_add(rig->dev[device], &rule);
}
