/* A pool that grows with its device, and one that leaves a part of it, while hosts write. */
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
#include "node/pod/pod_impl.h"
#include "tests/support/pod_rig.h"

enum {
    BLOCK = 4096,
    SEGMENT = 2 << 20,
    SMALL = 40, /* segments */
    LARGE = 64,
    BLOCKS = 4096, /* of the volume */
    BURST = 8,
};

/* Hosts write random blocks of one volume all the time, and the test knows what is in it. */
struct fixture {
    struct rig rig;
    uint32_t seeds[BLOCKS];   /* of what was acknowledged; 0: zeroes */
    uint32_t next_seed, used; /* blocks that hosts write to */
    struct host {
        struct fixture *f;
        struct pod_io io;
        bool busy;
        uint32_t lba, seed;
        uint8_t data[BLOCK];
    } hosts[BURST];
    bool writing; /* hosts go on */
    int refused;  /* of the last write that was */
    struct pod_image *image;
    uint32_t from, to; /* segments that leave */
    bool ended;
    int status;
    char events[4096];
};

static void on_event(void *user, const char *kind, uint64_t image, const char *text)
{
    struct fixture *f = user;
    const size_t used = strlen(f->events);
    (void)image;
    (void)snprintf(f->events + used, sizeof f->events - used, "%s: %s\n", kind, text);
}

static void fill(uint8_t *data, uint32_t seed)
{
    struct prng p;
    prng_seed(&p, seed);
    prng_fill(&p, data, BLOCK);
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

static bool is_written(const struct fixture *f, uint32_t lba)
{
    for (int i = 0; i < BURST; i++)
        if (f->hosts[i].busy && f->hosts[i].lba == lba)
            return true;
    return false;
}

static void beside(void *user)
{
    struct fixture *f = user;
    for (int i = 0; i < BURST && f->writing && f->image; i++) {
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
                                .offset = (uint64_t)h->lba * BLOCK,
                                .length = BLOCK,
                                .buf = h->data,
                                .user = h};
        h->busy = pod_submit(f->rig.pod, &h->io, host_done) == 0;
    }
}

static void begin_hosts(struct fixture *f)
{
    assert_int_equal(pod_image_open(f->rig.pod, "v", &f->image, NULL), 0);
    f->writing = true;
}

static void end_hosts(struct fixture *f)
{
    f->writing = false;
    for (int i = 0; i < BURST; i++)
        while (f->hosts[i].busy)
            assert_true(rig_step(&f->rig));
    if (f->image)
        pod_image_close(f->image);
    f->image = NULL;
}

static void run(struct fixture *f, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++)
        assert_true(rig_step(&f->rig));
}

/* The power fails; what was not acknowledged may be there. */
static void crash(struct fixture *f, enum blkdev_mem_cut mode)
{
    rig_crash(&f->rig, mode);
    for (int i = 0; i < BURST; i++)
        if (f->hosts[i].busy) {
            f->seeds[f->hosts[i].lba] = UINT32_MAX;
            f->hosts[i].busy = false;
        }
    free(f->image);
    f->image = NULL;
    f->writing = false;
    assert_int_equal(rig_open(&f->rig), 0);
}

static void verify(struct fixture *f)
{
    uint8_t expected[BLOCK], data[BLOCK];
    for (uint32_t lba = 0; lba < BLOCKS; lba++) {
        if (f->seeds[lba] == UINT32_MAX)
            continue;
        memset(expected, 0, sizeof expected);
        if (f->seeds[lba])
            fill(expected, f->seeds[lba]);
        assert_int_equal(rig_read(&f->rig, "v", (uint64_t)lba * BLOCK, data, BLOCK), 0);
        assert_memory_equal(data, expected, BLOCK);
    }
}

/* To the byte. */
static void adds_up(struct fixture *f, uint64_t segments)
{
    struct pod_stats s;
    pod_stats(f->rig.pod, &s);
    assert_int_equal(s.capacity,
                     s.free_bytes + s.stored_bytes + s.metadata_bytes + s.garbage_bytes + s.open_bytes);
    if (segments)
        assert_int_equal(s.capacity, (segments - SYSTEM_SEGMENTS) * SEGMENT);
}

static void on_end(void *user, int status)
{
    struct fixture *f = user;
    assert_false(f->ended);
    f->ended = true;
    f->status = status;
}

static int ended(struct fixture *f)
{
    for (uint64_t n = 0; !f->ended; n++) {
        assert_true(n < 3000000);
        assert_true(rig_step(&f->rig));
        if (n % 64 == 0)
            adds_up(f, 0);
    }
    return f->status;
}

static void show(struct fixture *f, uint32_t segments)
{
    f->rig.dev->geometry.size_bytes = (uint64_t)segments * SEGMENT;
}

static int grow(struct fixture *f)
{
    struct ps_error err = {0};
    f->ended = false;
    const int rc = pod_grow(f->rig.pod, on_end, f, &err);
    assert_false(f->ended);
    return rc ? rc : ended(f);
}

static bool leaves(void *user, uint64_t offset, uint64_t length)
{
    const struct fixture *f = user;
    return offset < (uint64_t)f->to * SEGMENT && offset + length > (uint64_t)f->from * SEGMENT;
}

static int vacate_begin(struct fixture *f, uint32_t from, uint32_t to)
{
    f->rig.error = (struct ps_error){0};
    f->from = from;
    f->to = to;
    f->ended = false;
    return pod_vacate(f->rig.pod, leaves, on_end, f, &f->rig.error);
}

static int vacate(struct fixture *f, uint32_t from, uint32_t to)
{
    const int rc = vacate_begin(f, from, to);
    assert_false(f->ended);
    return rc ? rc : ended(f);
}

/* A device of LARGE segments, of which `segments` are shown, with a volume. */
static int setup_of(void **state, uint32_t segments)
{
    struct fixture *f = calloc(1, sizeof *f);
    *state = f;
    rig_create(&f->rig, (uint64_t)LARGE * SEGMENT, 1);
    f->rig.random = true;
    f->rig.config.event = on_event;
    f->rig.config.user = f;
    f->rig.beside = beside;
    f->rig.beside_user = f;
    f->used = 1024;
    show(f, segments);
    return rig_open(&f->rig) || rig_create_volume(&f->rig, "v", (uint64_t)BLOCKS * BLOCK);
}

static int setup_small(void **state)
{
    return setup_of(state, SMALL);
}

static int setup_large(void **state)
{
    return setup_of(state, LARGE);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    rig_destroy(&f->rig);
    free(f);
    return 0;
}

/* ---- growing */

static void a_pool_grows_while_hosts_write(void **state)
{
    struct fixture *f = *state;
    begin_hosts(f);
    run(f, 3000);
    adds_up(f, SMALL);
    show(f, LARGE);
    assert_int_equal(grow(f), 0);
    adds_up(f, LARGE);
    assert_non_null(strstr(f->events, "pool.grown"));
    assert_non_null(strstr(f->events, "had 80M and has 128M"));
    run(f, 30000);
    adds_up(f, LARGE);
    end_hosts(f);
    assert_true(f->rig.pod->counters[COUNTER_DATA_PROGRAMMED] > 0);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    verify(f);
    crash(f, BLKDEV_MEM_LOSE);
    adds_up(f, LARGE);
    verify(f);
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

static void new_segments_take_what_did_not_fit(void **state)
{
    struct fixture *f = *state;
    uint32_t lba = 0;
    const uint32_t size = 32 * 512;
    assert_int_equal(rig_named(&f->rig, POD_VOLUME_RESIZE, "v", NULL, (uint64_t)2 * size * BLOCK), 0);
    uint8_t data[32 * BLOCK];
    int rc = 0;
    for (; rc == 0 && lba < size; lba += 32) {
        prng_fill(&f->rig.prng, data, sizeof data);
        rc = rig_write(&f->rig, "v", (uint64_t)lba * BLOCK, data, sizeof data);
    }
    assert_int_equal(rc, PS_EFULL);
    show(f, LARGE);
    assert_int_equal(grow(f), 0);
    for (uint32_t i = 0; i < 128; i++, lba += 32) {
        prng_fill(&f->rig.prng, data, sizeof data);
        assert_int_equal(rig_write(&f->rig, "v", (uint64_t)lba * BLOCK, data, sizeof data), 0);
    }
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

static void growing_without_need_changes_nothing(void **state)
{
    struct fixture *f = *state;
    const uint64_t number = f->rig.pod->label.number;
    assert_int_equal(grow(f), 0);
    f->rig.dev->geometry.size_bytes += SEGMENT / 2; /* no segment more */
    assert_int_equal(grow(f), 0);
    assert_int_equal(f->rig.pod->label.number, number);
    assert_null(strstr(f->events, "pool.grown"));
    adds_up(f, SMALL);
    show(f, LARGE);
    assert_int_equal(grow(f), 0);
    assert_int_equal(grow(f), 0);
    assert_int_equal(f->rig.pod->label.number, number + 1);
    show(f, SMALL);
    assert_int_equal(pod_grow(f->rig.pod, on_end, f, &f->rig.error), PS_EINVAL);
    assert_non_null(strstr(f->rig.error.detail, "has 80M, its pool was made with 128M"));
    show(f, LARGE);
}

static void one_growth_is_under_way_at_a_time(void **state)
{
    struct fixture *f = *state;
    show(f, LARGE);
    f->ended = false;
    assert_int_equal(pod_grow(f->rig.pod, on_end, f, NULL), 0);
    assert_int_equal(pod_grow(f->rig.pod, on_end, f, NULL), PS_EPRECONDITION);
    assert_int_equal(ended(f), 0);
}

static void a_growth_that_a_stop_overtakes_is_told(void **state)
{
    struct fixture *f = *state;
    show(f, LARGE);
    f->ended = false;
    assert_int_equal(pod_grow(f->rig.pod, on_end, f, NULL), 0);
    rig_close(&f->rig);
    assert_true(f->ended);
    assert_int_equal(rig_open(&f->rig), 0);
    adds_up(f, LARGE);
}

static void an_opening_finds_that_the_device_has_grown(void **state)
{
    struct fixture *f = *state;
    begin_hosts(f);
    run(f, 3000);
    end_hosts(f);
    show(f, LARGE);
    crash(f, BLKDEV_MEM_REORDER);
    assert_non_null(strstr(f->events, "pool.grown"));
    adds_up(f, LARGE);
    verify(f);
    rig_check(&f->rig);
    f->events[0] = 0;
    rig_close(&f->rig);
    assert_int_equal(rig_open(&f->rig), 0);
    assert_null(strstr(f->events, "pool.grown"));
    rig_close(&f->rig);
    show(f, LARGE - 1);
    assert_int_equal(rig_open(&f->rig), PS_EINVAL);
    assert_non_null(strstr(f->rig.error.detail, "has 126M, its pool was made with 128M"));
    pod_destroy(f->rig.pod);
    f->rig.pod = NULL;
    show(f, LARGE);
}

static void on_open(void *user, int status, struct pod *pod)
{
    struct fixture *f = user;
    (void)pod;
    f->ended = true;
    f->status = status;
}

static void count_finding(void *user, const struct survey_finding *finding)
{
    fail_msg("%s", finding->text);
    (void)user;
}

static void check_ended(void *user, struct pod_check_request *request)
{
    on_end(user, request->status);
}

static void a_check_of_a_larger_device_leaves_it_alone(void **state)
{
    struct fixture *f = *state;
    struct pod_config config = f->rig.config;
    struct blkdev_health before, after;
    begin_hosts(f);
    run(f, 2000);
    end_hosts(f);
    rig_crash(&f->rig, BLKDEV_MEM_KEEP);
    show(f, LARGE);
    blkdev_health(f->rig.mem, &before);
    config.check_only = true;
    f->ended = false;
    assert_int_equal(pod_open(f->rig.dev, &config, POD_OPEN_ONLY, on_open, f, NULL, &f->rig.pod), 0);
    while (!f->ended)
        assert_true(rig_step(&f->rig));
    assert_int_equal(f->status, 0);
    assert_int_equal(f->rig.pod->segment_count, SMALL);
    f->ended = false;
    struct pod_check_request request = {
        .records = true, .found = count_finding, .done = check_ended, .user = f};
    pod_check(f->rig.pod, &request);
    while (!f->ended)
        assert_true(rig_step(&f->rig));
    assert_int_equal(f->status, 0);
    blkdev_health(f->rig.mem, &after);
    assert_int_equal(after.write_ops, before.write_ops);
    pod_destroy(f->rig.pod);
    f->rig.pod = NULL;
}

/* Its tables are of the pool as it was. */
static void a_deep_check_and_a_scrub_under_way_go_on(void **state)
{
    struct fixture *f = *state;
    struct pod_deep_info deep;
    struct pod_scrub_info scrub;
    begin_hosts(f);
    run(f, 20000);
    end_hosts(f);
    rig_settle(&f->rig);
    for (unsigned steps = 0; steps < 24; steps++) {
        pod_deep(f->rig.pod);
        pod_scrub(f->rig.pod);
        do {
            assert_true(rig_step(&f->rig));
            pod_deep_look(f->rig.pod, &deep);
        } while (!deep.running);
        run(f, steps);
        show(f, SMALL + 1 + steps);
        assert_int_equal(grow(f), 0);
        do {
            f->rig.now_ns += 1000000;
            assert_true(rig_step(&f->rig));
            pod_deep_look(f->rig.pod, &deep);
            pod_scrub_look(f->rig.pod, &scrub);
        } while (deep.running || scrub.running);
        assert_false(deep.failed);
        assert_int_equal(deep.damage + scrub.damaged, 0);
    }
    assert_int_equal(scrub.passes, 24);
}

/* ---- leaving */

/* Nothing of it is left: all of its bytes are another's now, and using it ends the test. */
static void take_away(struct fixture *f)
{
    static uint8_t noise[SEGMENT];
    for (uint32_t i = f->from; i < f->to; i++) {
        prng_fill(&f->rig.prng, noise, sizeof noise);
        blkdev_mem_poke(f->rig.mem, (uint64_t)i * SEGMENT, noise, sizeof noise);
    }
    blkdev_mem_take_away(f->rig.mem, leaves, f);
}

static void a_part_of_the_device_is_left_while_hosts_write(void **state)
{
    struct fixture *f = *state;
    if (f->rig.area) /* of which nothing can be taken away */
        skip();
    begin_hosts(f);
    run(f, 20000);
    assert_int_equal(vacate(f, 8, 40), 0);
    assert_int_equal(pod_vacate_left(f->rig.pod), 0);
    adds_up(f, LARGE - 32);
    assert_non_null(strstr(f->events, "pool.vacated"));
    assert_false(pod_uses_flash(f->rig.pod, 8ull * SEGMENT, 32ull * SEGMENT));
    take_away(f);
    run(f, 10000);
    pod_vacate_stop(f->rig.pod);
    run(f, 10000);
    end_hosts(f);
    adds_up(f, LARGE - 32);
    verify(f);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    crash(f, BLKDEV_MEM_LOSE);
    adds_up(f, LARGE - 32);
    verify(f);
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

static void what_is_absent_comes_back(void **state)
{
    struct fixture *f = *state;
    if (f->rig.area) /* of which nothing can be taken away */
        skip();
    begin_hosts(f);
    run(f, 10000);
    assert_int_equal(vacate(f, 40, LARGE), 0);
    take_away(f);
    pod_vacate_stop(f->rig.pod);
    run(f, 1000);
    assert_int_equal(grow(f), 0);
    adds_up(f, 40);
    blkdev_mem_take_away(f->rig.mem, NULL, NULL);
    const uint64_t number = f->rig.pod->label.number;
    assert_int_equal(grow(f), 0);
    assert_int_equal(f->rig.pod->label.number, number);
    adds_up(f, LARGE);
    run(f, 20000);
    end_hosts(f);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    verify(f);
}

static void what_does_not_leave_after_all_is_used_again(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(vacate(f, 40, LARGE), 0);
    adds_up(f, 40);
    pod_vacate_stop(f->rig.pod);
    adds_up(f, LARGE);
    assert_int_equal(vacate(f, 5, 30), 0);
    pod_vacate_stop(f->rig.pod);
    adds_up(f, LARGE);
    pod_vacate_stop(f->rig.pod); /* there is none */
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

static void leaving_can_be_stopped(void **state)
{
    struct fixture *f = *state;
    begin_hosts(f);
    run(f, 20000);
    assert_int_equal(vacate_begin(f, 8, 40), 0);
    assert_int_equal(pod_vacate(f->rig.pod, leaves, on_end, f, NULL), PS_EPRECONDITION);
    run(f, 300);
    assert_false(f->ended);
    assert_true(pod_vacate_left(f->rig.pod) > 0);
    pod_vacate_stop(f->rig.pod);
    assert_false(f->ended);
    assert_int_equal(ended(f), PS_ECANCELLED);
    assert_int_equal(pod_vacate_left(f->rig.pod), 0);
    adds_up(f, LARGE);
    run(f, 20000);
    end_hosts(f);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    verify(f);
}

static void a_crash_forgets_that_something_leaves(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 8; i++) {
        begin_hosts(f);
        run(f, 3000);
        assert_int_equal(vacate_begin(f, 4, 34), 0);
        run(f, 300u << i);
        crash(f, (enum blkdev_mem_cut)(i % BLKDEV_MEM_CUTS));
        adds_up(f, LARGE);
        verify(f);
        rig_settle(&f->rig);
        rig_check(&f->rig);
    }
}

static void a_stop_ends_it(void **state)
{
    struct fixture *f = *state;
    begin_hosts(f);
    run(f, 20000);
    end_hosts(f);
    assert_int_equal(vacate_begin(f, 8, 40), 0);
    run(f, 100);
    rig_close(&f->rig);
    assert_true(f->ended);
    assert_int_equal(f->status, PS_EUNAVAILABLE);
    assert_int_equal(rig_open(&f->rig), 0);
    adds_up(f, LARGE);
    verify(f);
}

static void what_has_no_room_elsewhere_does_not_leave(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(vacate_begin(f, 2, 10), PS_EINVAL);
    assert_non_null(strstr(f->rig.error.detail, "label and anchors"));
    assert_int_equal(vacate_begin(f, 10, LARGE), PS_EFULL);
    assert_non_null(strstr(f->rig.error.detail, "would be left"));
    f->used = BLOCKS;
    begin_hosts(f);
    run(f, 60000);
    end_hosts(f);
    rig_settle(&f->rig);
    assert_int_equal(vacate_begin(f, 28, LARGE), PS_EFULL);
    adds_up(f, LARGE);
}

static struct place place_of(struct fixture *f, uint32_t *segment)
{
    for (uint64_t group = 1; group < 10000; group++) {
        uint64_t value;
        if (meta_get(f->rig.pod->meta, l2p_key(group), &value) && l2p_live(value)) {
            *segment = place_segment(f->rig.pod, l2p_place(value));
            return l2p_place(value);
        }
    }
    fail_msg("nothing is stored");
    return PLACE_NONE;
}

static void what_cannot_be_read_stays(void **state)
{
    struct fixture *f = *state;
    uint32_t segment = 0;
    if (f->rig.area) /* whose bits cannot be flipped */
        skip();
    begin_hosts(f);
    run(f, 20000);
    end_hosts(f);
    checkpoint_want(f->rig.pod);
    rig_settle(&f->rig);
    const struct place place = place_of(f, &segment);
    rig_rot(&f->rig, place, 1);
    assert_int_equal(vacate(f, segment, segment + 1), PS_EDATALOSS);
    assert_non_null(strstr(f->events, "data in what was to be taken away cannot be read"));
    adds_up(f, LARGE);
}

static void leaving_gives_way_to_hosts(void **state)
{
    struct fixture *f = *state;
    uint8_t data[32 * BLOCK];
    const uint32_t size = 32 * 1024;
    assert_int_equal(rig_named(&f->rig, POD_VOLUME_RESIZE, "v", NULL, (uint64_t)size * BLOCK), 0);
    uint32_t lba = 0;
    for (bool begun = false; !begun || !f->ended; lba += 32) {
        prng_fill(&f->rig.prng, data, sizeof data);
        assert_int_equal(rig_write(&f->rig, "v", (uint64_t)lba * BLOCK, data, sizeof data), 0);
        assert_true(lba < size);
        if (!begun && lba >= 32 * 128) { /* as much as can be there */
            assert_int_equal(vacate_begin(f, 4, 36), 0);
            begun = true;
        }
    }
    assert_int_equal(f->status, PS_EFULL);
    assert_non_null(strstr(f->events, "pool.vacate_ended"));
    adds_up(f, LARGE);
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

/* All that is free is what leaves; the rest holds garbage that no checkpoint has freed yet. */
static void garbage_in_the_rest_is_freed_first(void **state)
{
    struct fixture *f = *state;
    struct pod_stats s;
    static uint8_t data[32 * BLOCK];
    const uint32_t blocks = 29 * SEGMENT / BLOCK;
    assert_int_equal(rig_create_volume(&f->rig, "w", (uint64_t)blocks * BLOCK), 0);
    for (uint32_t lba = 0; lba < blocks; lba += 32) {
        prng_fill(&f->rig.prng, data, sizeof data);
        assert_int_equal(rig_write(&f->rig, "w", (uint64_t)lba * BLOCK, data, sizeof data), 0);
    }
    assert_int_equal(rig_named(&f->rig, POD_VOLUME_DELETE, "w", NULL, 0), 0);
    for (pod_stats(f->rig.pod, &s); s.stored_bytes > SEGMENT; pod_stats(f->rig.pod, &s))
        assert_true(rig_step(&f->rig));
    uint32_t rest = 0;
    for (uint32_t i = SYSTEM_SEGMENTS; i < 36; i++)
        rest += segments_state(f->rig.pod->segments, i) == SEGMENT_FREE;
    assert_in_range(rest, 0, 1);
    begin_hosts(f);
    assert_int_equal(vacate(f, 36, LARGE), 0);
    end_hosts(f);
    pod_stats(f->rig.pod, &s);
    assert_false(s.failed);
    adds_up(f, 36);
    verify(f);
}

/* A checkpoint finds nothing free but what leaves: that ends it, and not the pod. */
static void a_checkpoint_comes_before_what_leaves(void **state)
{
    struct fixture *f = *state;
    struct pod_stats s;
    begin_hosts(f);
    run(f, 2000);
    assert_int_equal(vacate_begin(f, 4, 28), 0);
    /* As if all of the rest had been taken at once. */
    uint32_t taken[LARGE], n = 0;
    while (segments_free(f->rig.pod->segments) > 0)
        taken[n++] = segments_take(f->rig.pod->segments, SEGMENT_LOG);
    checkpoint_want(f->rig.pod);
    for (unsigned i = 0; i < 100000 && !f->ended; i++)
        assert_true(rig_step(&f->rig));
    assert_true(f->ended);
    assert_int_equal(f->status, PS_EFULL);
    while (n > 0)
        segments_untake(f->rig.pod->segments, taken[--n]);
    end_hosts(f);
    pod_stats(f->rig.pod, &s);
    assert_false(s.failed);
    verify(f);
}

/* Segments that collection is filling. */
static void what_collection_fills_is_left(void **state)
{
    struct fixture *f = *state;
    uint32_t found = 0;
    f->used = BLOCKS;
    begin_hosts(f);
    run(f, 20000);
    pod_collect(f->rig.pod);
    for (unsigned i = 0; i < 60000 && !found; i++) {
        run(f, 1);
        for (uint32_t s = SYSTEM_SEGMENTS; s < LARGE && !found; s++)
            if (segments_state(f->rig.pod->segments, s) == SEGMENT_WARM &&
                segments_open(f->rig.pod->segments, s) && collect_written(f->rig.pod, s) > 0)
                found = s;
    }
    assert_true(found > 0);
    end_hosts(f);
    assert_int_equal(vacate(f, found, found + 1), 0);
    adds_up(f, LARGE - 1);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    verify(f);
}

/* The segment where the log goes on next. */
static void nothing_leads_an_opening_there(void **state)
{
    struct fixture *f = *state;
    if (f->rig.area)
        skip();
    begin_hosts(f);
    for (int i = 0; i < 20; i++) {
        run(f, 2000);
        const struct pod *pod = f->rig.pod;
        const uint32_t segment = pod->tail.next != SEGMENT_NONE ? pod->tail.next : pod->tail.segment;
        assert_int_equal(vacate(f, segment, segment + 1), 0);
        const struct pod_anchor *a = &pod->anchor;
        assert_true(a->log_segment != segment && a->log_next != segment && pod->tail.segment != segment &&
                    pod->tail.next != segment);
        for (uint32_t r = 0; r < a->run_count; r++)
            assert_int_not_equal(place_segment(pod, a->runs[r].first), segment);
        take_away(f);
        crash(f, (enum blkdev_mem_cut)(i % BLKDEV_MEM_CUTS));
        adds_up(f, LARGE - 1);
        verify(f);
        blkdev_mem_take_away(f->rig.mem, NULL, NULL);
        assert_int_equal(grow(f), 0);
        adds_up(f, LARGE);
        begin_hosts(f);
    }
    end_hosts(f);
}

/* ---- power cuts */

/* The log's end is in what leaves; hosts go on. */
static void a_crash_while_the_log_is_led_out_loses_nothing(void **state)
{
    struct fixture *f = *state;
    for (unsigned steps = 0; steps < 40; steps++) {
        begin_hosts(f);
        run(f, 1000);
        const uint32_t segment = f->rig.pod->tail.segment;
        assert_int_equal(vacate_begin(f, segment, segment + 1), 0);
        while (!restart_holds_log(f->rig.pod))
            run(f, 1);
        run(f, steps);
        crash(f, steps % 2 ? BLKDEV_MEM_LOSE : BLKDEV_MEM_REORDER);
        verify(f);
    }
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

static struct pool_label label_at(struct fixture *f, uint32_t segment)
{
    static uint8_t block[ANCHOR_BYTES];
    struct pool_label label;
    blkdev_mem_peek(f->rig.mem, (uint64_t)segment * SEGMENT, block, sizeof block, true);
    assert_int_equal(label_decode(block, &label, NULL), 0);
    return label;
}

static void segments_are_used_when_both_labels_are_durable(void **state)
{
    struct fixture *f = *state;
    if (f->rig.area)
        skip();
    begin_hosts(f);
    run(f, 1000);
    show(f, LARGE);
    f->ended = false;
    assert_int_equal(pod_grow(f->rig.pod, on_end, f, NULL), 0);
    while (f->rig.pod->segment_count == SMALL)
        run(f, 1);
    assert_int_equal(label_at(f, 0).segment_count, LARGE);
    assert_int_equal(label_at(f, 1).segment_count, LARGE);
    assert_int_equal(label_at(f, 0).device_bytes, (uint64_t)LARGE * SEGMENT);
    assert_int_equal(label_at(f, 0).number, f->rig.pod->label.number);
    end_hosts(f);
}

/* Until the power fails, after so many completions. False: it ended before. */
static bool until_cut(struct fixture *f, uint64_t cut)
{
    f->rig.cut_after = f->rig.steps + cut;
    while (!f->ended && rig_step(&f->rig))
        ;
    f->rig.cut_after = 0;
    return f->rig.dead;
}

static void after_cut(struct fixture *f, enum blkdev_mem_cut mode)
{
    crash(f, mode);
    adds_up(f, LARGE);
    verify(f);
    rig_check(&f->rig);
    crash(f, mode); /* what an opening leaves is as good */
    adds_up(f, LARGE);
    verify(f);
    begin_hosts(f);
    run(f, 500);
    end_hosts(f);
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

/* Hosts write meanwhile. */
static bool grows_until(uint64_t cut, enum blkdev_mem_cut mode)
{
    struct fixture *f;
    assert_int_equal(setup_of((void **)&f, SMALL), 0);
    f->used = 64;
    begin_hosts(f);
    run(f, 500);
    show(f, LARGE);
    assert_int_equal(pod_grow(f->rig.pod, on_end, f, NULL), 0);
    const bool was_cut = until_cut(f, cut);
    if (was_cut)
        after_cut(f, mode);
    else {
        end_hosts(f);
        rig_close(&f->rig);
    }
    (void)teardown((void **)&f);
    return was_cut;
}

/* By itself, in an opening that is cut. */
static bool opens_until(uint64_t cut, enum blkdev_mem_cut mode)
{
    struct fixture *f;
    assert_int_equal(setup_of((void **)&f, SMALL), 0);
    f->used = 64;
    begin_hosts(f);
    run(f, 500);
    end_hosts(f);
    rig_crash(&f->rig, BLKDEV_MEM_KEEP);
    show(f, LARGE);
    f->ended = false;
    assert_int_equal(
        pod_open(f->rig.dev, &f->rig.config, POD_OPEN_ONLY, on_open, f, &f->rig.error, &f->rig.pod), 0);
    const bool was_cut = until_cut(f, cut);
    if (was_cut)
        after_cut(f, mode);
    else
        rig_close(&f->rig);
    (void)teardown((void **)&f);
    return was_cut;
}

static bool leaves_until(uint64_t cut, enum blkdev_mem_cut mode)
{
    struct fixture *f;
    assert_int_equal(setup_of((void **)&f, LARGE), 0);
    f->used = 256;
    begin_hosts(f);
    run(f, 2000);
    assert_int_equal(vacate_begin(f, 4, 30), 0);
    const bool was_cut = until_cut(f, cut);
    if (was_cut)
        after_cut(f, mode);
    else {
        end_hosts(f);
        rig_close(&f->rig);
    }
    (void)teardown((void **)&f);
    return was_cut;
}

static void at_every_cut(bool (*play)(uint64_t cut, enum blkdev_mem_cut mode), uint64_t stride)
{
    uint64_t cut = 1;
    bool more = true;
    for (; more; cut += stride)
        for (int mode = 0; mode < BLKDEV_MEM_CUTS && more; mode++)
            more = play(cut, (enum blkdev_mem_cut)mode);
    print_message("up to completion %llu\n", (unsigned long long)cut);
}

static void every_cut_of_a_growth_leaves_a_sound_pool(void **state)
{
    (void)state;
    at_every_cut(grows_until, 1);
}

static void every_cut_of_an_opening_that_grows_leaves_a_sound_pool(void **state)
{
    (void)state;
    at_every_cut(opens_until, 1);
}

static void open_until(struct fixture *f, uint32_t segments, uint64_t cut)
{
    show(f, segments);
    f->ended = false;
    assert_int_equal(
        pod_open(f->rig.dev, &f->rig.config, POD_OPEN_ONLY, on_open, f, &f->rig.error, &f->rig.pod), 0);
    (void)until_cut(f, cut);
    if (f->rig.pod->label_at == 0 && f->ended && f->status)
        fail_msg("%s", f->rig.error.detail);
}

/* One opening that grows is cut, and then the next one, which grows once more. False: the first label is
 * whole after the first cut. */
static bool opens_twice_until(uint64_t first, uint64_t second, bool *was_cut)
{
    struct fixture *f;
    assert_int_equal(setup_of((void **)&f, SMALL), 0);
    rig_crash(&f->rig, BLKDEV_MEM_KEEP);
    open_until(f, SMALL + 8, first);
    *was_cut = f->rig.dead;
    rig_crash(&f->rig, BLKDEV_MEM_LOSE);
    open_until(f, LARGE, second);
    const bool torn = f->rig.pod->label_at == 1;
    rig_crash(&f->rig, BLKDEV_MEM_LOSE);
    if (torn) {
        assert_int_equal(rig_open(&f->rig), 0);
        adds_up(f, LARGE);
        rig_close(&f->rig);
    }
    (void)teardown((void **)&f);
    return torn;
}

static void a_torn_label_is_written_before_the_one_that_is_whole(void **state)
{
    enum {
        LABELS_ARE_READ = 6, /* by so many completions */
        GROWN = 30,
    };
    const char *device = getenv("PS_RIG_DEVICE");
    unsigned torn = 0;
    (void)state;
    if (!device || strcmp(device, "flash") != 0) /* others tear no block */
        skip();
    bool was_cut = true;
    for (uint64_t first = 1; was_cut; first++)
        for (uint64_t second = LABELS_ARE_READ; second < GROWN && opens_twice_until(first, second, &was_cut);
             second++)
            torn++;
    assert_true(torn > 0);
}

static void cuts_of_leaving_leave_a_sound_pool(void **state)
{
    (void)state;
    at_every_cut(leaves_until, 197);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pool_grows_while_hosts_write, setup_small, teardown),
        cmocka_unit_test_setup_teardown(new_segments_take_what_did_not_fit, setup_small, teardown),
        cmocka_unit_test_setup_teardown(growing_without_need_changes_nothing, setup_small, teardown),
        cmocka_unit_test_setup_teardown(one_growth_is_under_way_at_a_time, setup_small, teardown),
        cmocka_unit_test_setup_teardown(a_growth_that_a_stop_overtakes_is_told, setup_small, teardown),
        cmocka_unit_test_setup_teardown(an_opening_finds_that_the_device_has_grown, setup_small, teardown),
        cmocka_unit_test_setup_teardown(a_check_of_a_larger_device_leaves_it_alone, setup_small, teardown),
        cmocka_unit_test_setup_teardown(a_deep_check_and_a_scrub_under_way_go_on, setup_small, teardown),
        cmocka_unit_test_setup_teardown(a_part_of_the_device_is_left_while_hosts_write, setup_large,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_absent_comes_back, setup_large, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_leave_after_all_is_used_again, setup_large, teardown),
        cmocka_unit_test_setup_teardown(leaving_can_be_stopped, setup_large, teardown),
        cmocka_unit_test_setup_teardown(a_crash_forgets_that_something_leaves, setup_large, teardown),
        cmocka_unit_test_setup_teardown(a_stop_ends_it, setup_large, teardown),
        cmocka_unit_test_setup_teardown(what_has_no_room_elsewhere_does_not_leave, setup_large, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_stays, setup_large, teardown),
        cmocka_unit_test_setup_teardown(leaving_gives_way_to_hosts, setup_large, teardown),
        cmocka_unit_test_setup_teardown(garbage_in_the_rest_is_freed_first, setup_large, teardown),
        cmocka_unit_test_setup_teardown(a_checkpoint_comes_before_what_leaves, setup_large, teardown),
        cmocka_unit_test_setup_teardown(what_collection_fills_is_left, setup_large, teardown),
        cmocka_unit_test_setup_teardown(nothing_leads_an_opening_there, setup_large, teardown),
        cmocka_unit_test_setup_teardown(a_crash_while_the_log_is_led_out_loses_nothing, setup_large,
                                        teardown),
        cmocka_unit_test_setup_teardown(segments_are_used_when_both_labels_are_durable, setup_small,
                                        teardown),
        cmocka_unit_test(every_cut_of_a_growth_leaves_a_sound_pool),
        cmocka_unit_test(every_cut_of_an_opening_that_grows_leaves_a_sound_pool),
        cmocka_unit_test(a_torn_label_is_written_before_the_one_that_is_whole),
        cmocka_unit_test(cuts_of_leaving_leave_a_sound_pool),
    };
    cmocka_set_test_filter(getenv("PS_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
