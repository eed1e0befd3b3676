#include "tests/support/size_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"

static void on_event(void *user, const char *kind, uint64_t image, const char *text)
{
    struct size_rig *f = user;
    const size_t used = strlen(f->events);
    (void)image;
    (void)snprintf(f->events + used, sizeof f->events - used, "%s: %s\n", kind, text);
}

static void fill(uint8_t *data, uint32_t seed)
{
    struct prng p;
    prng_seed(&p, seed);
    prng_fill(&p, data, SIZE_BLOCK);
}

static void host_done(struct pod_io *io, int status)
{
    struct host *h = io->user;
    h->busy = false;
    if (status)
        h->f->refused = status;
    else
        h->f->seeds[h->lba] = h->seed;
}

static bool is_written(const struct size_rig *f, uint32_t lba)
{
    for (int i = 0; i < SIZE_BURST; i++)
        if (f->hosts[i].busy && f->hosts[i].lba == lba)
            return true;
    return false;
}

static void beside(void *user)
{
    struct size_rig *f = user;
    for (int i = 0; i < SIZE_BURST && f->writing && f->image; i++) {
        struct host *h = &f->hosts[i];
        if (h->busy)
            continue;
        do
            h->lba = (uint32_t)prng_below(&f->rig.prng, f->used);
        while (is_written(f, h->lba));
        h->f = f;
        h->seed = ++f->next_seed;
        fill(h->data, h->seed);
        h->io = (struct pod_io){.op = POD_WRITE,
                                .image = f->image,
                                .offset = (uint64_t)h->lba * SIZE_BLOCK,
                                .length = SIZE_BLOCK,
                                .buf = h->data,
                                .user = h};
        h->busy = pod_submit(f->rig.pod, &h->io, host_done) == 0;
    }
}

void size_begin_hosts(struct size_rig *f)
{
    assert_int_equal(pod_image_open(f->rig.pod, "v", &f->image, NULL), 0);
    f->writing = true;
}

void size_end_hosts(struct size_rig *f)
{
    f->writing = false;
    for (int i = 0; i < SIZE_BURST; i++)
        while (f->hosts[i].busy)
            assert_true(rig_step(&f->rig));
    if (f->image)
        pod_image_close(f->image);
    f->image = NULL;
}

void size_run(struct size_rig *f, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++)
        assert_true(rig_step(&f->rig));
}

void size_crash(struct size_rig *f, enum blkdev_mem_cut mode)
{
    rig_crash(&f->rig, mode);
    for (int i = 0; i < SIZE_BURST; i++)
        if (f->hosts[i].busy) {
            f->seeds[f->hosts[i].lba] = UINT32_MAX;
            f->hosts[i].busy = false;
        }
    free(f->image);
    f->image = NULL;
    f->writing = false;
    assert_int_equal(rig_open(&f->rig), 0);
}

void size_verify(struct size_rig *f)
{
    enum {
        AT_ONCE = 32
    };
    static uint8_t data[AT_ONCE * SIZE_BLOCK];
    uint8_t expected[SIZE_BLOCK];
    for (uint32_t lba = 0; lba < SIZE_BLOCKS; lba++) {
        uint8_t *const is = data + (size_t)(lba % AT_ONCE) * SIZE_BLOCK;
        if (lba % AT_ONCE == 0)
            assert_int_equal(rig_read(&f->rig, "v", (uint64_t)lba * SIZE_BLOCK, data, sizeof data), 0);
        memset(expected, 0, sizeof expected);
        if (f->seeds[lba] == UINT32_MAX)
            continue;
        if (f->seeds[lba])
            fill(expected, f->seeds[lba]);
        assert_memory_equal(is, expected, SIZE_BLOCK);
    }
}

void size_adds_up(struct size_rig *f, uint64_t segments)
{
    struct pod_stats s;
    pod_stats(f->rig.pod, &s);
    assert_int_equal(s.capacity,
                     s.free_bytes + s.stored_bytes + s.metadata_bytes + s.garbage_bytes + s.open_bytes);
    if (segments)
        assert_int_equal(s.capacity, (segments - SYSTEM_SEGMENTS) * SIZE_SEGMENT);
}

void size_on_end(void *user, int status)
{
    struct size_rig *f = user;
    assert_false(f->ended);
    f->ended = true;
    f->status = status;
}

int size_ended(struct size_rig *f)
{
    for (uint64_t n = 0; !f->ended; n++) {
        assert_true(n < 3000000);
        assert_true(rig_step(&f->rig));
        if (n % 64 == 0)
            size_adds_up(f, 0);
    }
    return f->status;
}

void size_show(struct size_rig *f, uint32_t segments)
{
    f->rig.dev->geometry.size_bytes = (uint64_t)segments * SIZE_SEGMENT;
}

int size_grow(struct size_rig *f)
{
    struct ps_error err = {0};
    f->ended = false;
    const int rc = pod_grow(f->rig.pod, size_on_end, f, &err);
    assert_false(f->ended);
    return rc ? rc : size_ended(f);
}

bool size_leaves(void *user, uint64_t offset, uint64_t length)
{
    const struct size_rig *f = user;
    return offset < (uint64_t)f->to * SIZE_SEGMENT && offset + length > (uint64_t)f->from * SIZE_SEGMENT;
}

int size_vacate_begin(struct size_rig *f, uint32_t from, uint32_t to)
{
    f->rig.error = (struct ps_error){0};
    f->from = from;
    f->to = to;
    f->ended = false;
    return pod_vacate(f->rig.pod, size_leaves, size_on_end, f, &f->rig.error);
}

int size_vacate(struct size_rig *f, uint32_t from, uint32_t to)
{
    const int rc = size_vacate_begin(f, from, to);
    assert_false(f->ended);
    return rc ? rc : size_ended(f);
}

int size_setup_of(void **state, uint32_t segments)
{
    struct size_rig *f = calloc(1, sizeof *f);
    *state = f;
    rig_create(&f->rig, (uint64_t)SIZE_LARGE * SIZE_SEGMENT, 1);
    f->rig.random = true;
    f->rig.config.event = on_event;
    f->rig.config.user = f;
    f->rig.beside = beside;
    f->rig.beside_user = f;
    f->used = 1024;
    size_show(f, segments);
    return rig_open(&f->rig) || rig_create_volume(&f->rig, "v", (uint64_t)SIZE_BLOCKS * SIZE_BLOCK);
}

int size_teardown(void **state)
{
    struct size_rig *f = *state;
    rig_destroy(&f->rig);
    free(f);
    return 0;
}

void size_on_open(void *user, int status, struct pod *pod)
{
    struct size_rig *f = user;
    (void)pod;
    f->ended = true;
    f->status = status;
}

void size_take_away(struct size_rig *f)
{
    static uint8_t noise[SIZE_SEGMENT];
    for (uint32_t i = f->from; i < f->to; i++) {
        prng_fill(&f->rig.prng, noise, sizeof noise);
        blkdev_mem_poke(f->rig.mem, (uint64_t)i * SIZE_SEGMENT, noise, sizeof noise);
    }
    blkdev_mem_take_away(f->rig.mem, size_leaves, f);
}
