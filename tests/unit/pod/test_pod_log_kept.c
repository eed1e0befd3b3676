/* The log that is kept for members that lag: what of it is known, and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/log_keep.h"
#include "tests/support/log_rig.h"

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    BLOCK = 4096,
    DEVICE = 96 * MIB
};

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct group));
    return 0;
}

static int teardown(void **state)
{
    group_destroy(*state);
    free(*state);
    return 0;
}

static void on_log_read(struct pod_log_read *read, int status)
{
    *(int *)read->user = status;
}

static void on_ended(void *user)
{
    *(bool *)user = true;
}

static int read_batch(struct member *m, uint64_t seq)
{
    uint8_t *buf = aligned_alloc(BLKDEV_ALIGN, BATCH_MAX_BYTES);
    int status = 1;
    struct pod_log_read read = {.seq = seq, .buf = buf, .cb = on_log_read, .user = &status};
    assert_int_equal(pod_log_read(m->rig.pod, &read), 0);
    while (status == 1)
        (void)rig_step(&m->rig);
    assert_true(status != 0 || log_id_equal(&read.id, &m->group->log.at[seq].id));
    free(buf);
    return status;
}

/* It was ended; nobody leads. Until it has looked through its flash. */
static void start_again(struct member *m)
{
    m->group->leader = NULL;
    m->rig.beside = NULL;
    assert_int_equal(member_open(m), 0);
    rig_settle(&m->rig);
    for (int n = 0; index_load_busy(m->rig.pod); n++) {
        assert_true(n < 100000);
        (void)rig_step(&m->rig);
    }
}

static void ignored(struct pod_io *io, int status)
{
    (void)io;
    (void)status;
}

static void write_blocks(struct member *m, uint64_t count, uint64_t seed)
{
    for (uint64_t i = 0; i < count; i++)
        member_write_noise(m, "v", (seed + i) % 64 * BLOCK, BLOCK, seed + i);
}

static void assert_known_from(struct member *m, uint64_t first)
{
    struct log_id id;
    assert_int_equal(pod_log_first(m->rig.pod), first);
    for (uint64_t seq = first; seq <= m->durable.seq; seq++) {
        assert_int_equal(member_id_at(m, seq, &id), 0);
        assert_true(log_id_equal(&id, &m->group->log.at[seq].id));
    }
}

static void log_is_kept_for_a_member_that_lags_while_there_is_space(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7), *b = &g->members[1];
    b->away = true;
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    pod_log_retain(a->rig.pod, 1);
    /* Overwriting the same MiB: all but the last of it is dead at once. */
    for (uint64_t i = 0; i < 64; i++)
        member_write_noise(a, "v", i % 8 * 128 * KIB, 128 * KIB, i);
    checkpoint_want(a->rig.pod);
    rig_settle(&a->rig);
    assert_int_equal(pod_log_first(a->rig.pod), 1);
    b->away = true;
    member_catch_up(b, true);
    b->away = false;
    group_check(g);
    /* More than half of the space: the oldest goes. */
    b->away = true;
    for (uint64_t i = 0; i < 1000; i++)
        member_write_noise(a, "v", i % 8 * 128 * KIB, 128 * KIB, 1000 + i);
    rig_settle(&a->rig);
    const uint64_t first = pod_log_first(a->rig.pod);
    assert_true(first > 1 && first < a->rig.pod->applied_seq);
    struct pod_stats stats;
    pod_stats(a->rig.pod, &stats);
    assert_true(stats.free_bytes > stats.reserve_bytes);
    int status = 1;
    struct log_id id;
    struct pod_log_read read = {.seq = first - 1, .cb = on_log_read, .user = &status};
    assert_int_equal(pod_log_read(a->rig.pod, &read), 0);
    assert_int_equal(status, 1); /* never from within the call */
    (void)rig_step(&a->rig);
    assert_int_equal(status, PS_ENOTFOUND);
    assert_int_equal(pod_log_id_at(a->rig.pod, first - 1, &id), PS_ENOTFOUND);
    assert_int_equal(pod_log_id_at(a->rig.pod, 0, &id), 0);
    /* All that is left can be read. */
    for (uint64_t seq = first; seq <= a->durable.seq; seq++)
        assert_int_equal(member_id_at(a, seq, &id), 0);
    const uint64_t before = stats.free_bytes;
    pod_log_retain(a->rig.pod, 0);
    member_write_noise(a, "v", 0, BLOCK, 1);
    checkpoint_want(a->rig.pod);
    rig_settle(&a->rig);
    pod_stats(a->rig.pod, &stats);
    assert_true(stats.free_bytes > before);
    b->away = false;
    g->leader = NULL; /* b lags too far: there is nothing to compare */
}

static void a_restarted_leader_knows_the_log_that_lies_in_its_flash(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7), *b = &g->members[1];
    b->away = true;
    assert_int_equal(rig_create_volume(&a->rig, "v", 8 * MIB), 0);
    for (uint64_t i = 0; i < 40; i++)
        member_write_noise(a, "v", i * 128 * KIB, 128 * KIB, i);
    for (int again = 0; again < 3; again++) {
        rig_close(&a->rig); /* there is nothing to replay */
        start_again(a);
        assert_int_equal(pod_log_first(a->rig.pod), 1);
        group_lead(g, a);
        member_write_noise(a, "v", 6 * MIB + (uint64_t)again * MIB / 2, 64 * KIB, 100 + (uint64_t)again);
    }
    member_catch_up(b, true);
    b->away = false;
    group_check(g);
    /* What is freed later is forgotten, found by a start or not. */
    pod_log_retain(a->rig.pod, 0);
    for (uint64_t i = 0; i < 40; i++)
        assert_int_equal(rig_range(&a->rig, POD_TRIM, "v", i * 128 * KIB, 128 * KIB), 0);
    checkpoint_want(a->rig.pod);
    rig_settle(&a->rig);
    const uint64_t first = pod_log_first(a->rig.pod);
    assert_true(first > 30);
    for (uint64_t seq = first; seq <= a->durable.seq; seq++)
        assert_int_equal(read_batch(a, seq), 0);
    group_check(g);
}

/* The rig's pods remember 64 batches. */
static void batches_that_memory_does_not_hold_are_found_in_flash(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7), *b = &g->members[1];
    struct log_id id;
    b->away = true;
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    write_blocks(a, 1500, 0);
    assert_null(log_index_get(a->rig.pod->log_index, 700));
    /* It is looked for, not waited for; who asks for one on the way of a read gets it when it is found. */
    assert_int_equal(pod_log_id_at(a->rig.pod, 700, &id), PS_EUNAVAILABLE);
    assert_int_equal(read_batch(a, 30), 0);
    assert_known_from(a, 1);
    member_catch_up(b, true);
    b->away = false;
    group_check(g);
}

/* The segment that the log is written to holds some of them; the device wants no read of what is being
 * written. */
static void the_open_segment_is_looked_through_while_it_is_written_to(void **state)
{
    struct group *g = *state;
    struct member *a = &g->members[0];
    static uint8_t buf[BLOCK];
    static struct pod_io io;
    struct log_id id;
    group_create(g, 1, DEVICE, 7);
    a->rig.config.log_index_batches = 16; /* so few that a read of what is before them could reach the end */
    assert_int_equal(member_open(a), 0);
    group_lead(g, a);
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    write_blocks(a, 90, 0);
    const struct log_span *span = log_spans_find(a->rig.pod->log_spans, 20);
    assert_int_equal(span->segment, a->rig.pod->tail.segment);
    member_noise(buf, BLOCK, 77);
    io = (struct pod_io){.op = POD_WRITE, .length = BLOCK, .buf = buf};
    assert_int_equal(pod_image_open(a->rig.pod, "v", &io.image, NULL), 0);
    assert_int_equal(pod_submit(a->rig.pod, &io, ignored), 0);
    (void)pod_turn(a->rig.pod, a->rig.now_ns);
    assert_int_equal(a->rig.pod->in_flight_count, 1);
    assert_int_equal(blkdev_mem_pending(a->rig.mem), 1);
    while (pod_log_id_at(a->rig.pod, 20, &id)) { /* what is read ends first */
        assert_int_equal(blkdev_mem_pending(a->rig.mem), 2);
        blkdev_mem_step_at(a->rig.mem, 1);
    }
    rig_settle(&a->rig);
    pod_image_close(io.image);
    assert_known_from(a, 1);
}

static void log_that_was_cut_off_and_written_anew_is_known_after_starts(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7), *b = &g->members[1];
    b->away = true;
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    for (uint64_t again = 0; again < 5; again++) {
        write_blocks(a, 150, 1000 * again);
        if (again % 2 == 0)
            checkpoint_want(a->rig.pod);
        if (again == 2) { /* dropped where nobody else has it; other batches come in its place */
            const uint64_t end = a->rig.pod->applied_seq;
            static uint8_t buf[BLOCK];
            static struct pod_io io;
            g->hold_commit = true;
            member_noise(buf, BLOCK, 77);
            io = (struct pod_io){.op = POD_WRITE, .length = BLOCK, .buf = buf};
            assert_int_equal(pod_image_open(a->rig.pod, "v", &io.image, NULL), 0);
            assert_int_equal(pod_submit(a->rig.pod, &io, ignored), 0);
            while (a->durable.seq <= end)
                (void)rig_step(&a->rig);
            g->hold_commit = false;
            member_crash(a, BLKDEV_MEM_LOSE);
            start_again(a);
            assert_int_equal(member_truncate(a, end), 0);
            history_cut(&g->log, end);
            a->durable = g->log.at[end].id;
            group_lead(g, a);
            continue;
        }
        member_crash(a, BLKDEV_MEM_LOSE);
        start_again(a);
        group_lead(g, a);
    }
    write_blocks(a, 10, 9000);
    assert_known_from(a, 1);
    member_catch_up(b, true);
    b->away = false;
    group_check(g);
}

static void a_segment_that_does_not_hold_its_part_of_the_log_ends_what_is_known(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 1, DEVICE, 7);
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    write_blocks(a, 1500, 0);
    const struct log_span *span = log_spans_find(a->rig.pod->log_spans, 600);
    const uint64_t last = span->last, at = segment_addr(a->rig.pod, span->segment) + 64 * KIB;
    assert_true(last < 1400);
    uint8_t block[BLOCK];
    blkdev_mem_peek(a->rig.mem, at, block, BLOCK, true);
    block[9] ^= 1;
    blkdev_mem_poke(a->rig.mem, at, block, BLOCK);
    assert_int_equal(pod_log_first(a->rig.pod), 1);
    assert_int_equal(read_batch(a, 600), PS_ENOTFOUND);
    assert_int_equal(read_batch(a, last), PS_ENOTFOUND);
    assert_known_from(a, last + 1);
    assert_int_equal(read_batch(a, last + 1), 0);
    /* Sound batches, but not what the log goes on from. */
    const struct log_span *other = log_spans_find(a->rig.pod->log_spans, last + 1);
    const struct log_span *after = log_spans_after(a->rig.pod->log_spans, other);
    const uint64_t end = other->last;
    log_unfold_drop(a->rig.pod->log_unfold, 0, UINT64_MAX);
    ((struct log_span *)(uintptr_t)after)->previous ^= 1;
    assert_int_equal(read_batch(a, last + 1), PS_ENOTFOUND);
    assert_int_equal(pod_log_first(a->rig.pod), end + 1);
    write_blocks(a, 10, 5000);
    group_check(g);
}

static void who_waits_for_old_log_is_told_when_the_pod_ends(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 1, DEVICE, 7);
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    write_blocks(a, 200, 0);
    uint8_t *buf = aligned_alloc(BLKDEV_ALIGN, BATCH_MAX_BYTES);
    int status = 1;
    struct pod_log_read read = {.seq = 20, .buf = buf, .cb = on_log_read, .user = &status};
    assert_int_equal(pod_log_read(a->rig.pod, &read), 0);
    member_abandon(a);
    assert_int_equal(status, PS_EUNAVAILABLE);
    free(buf);
}

/* Somebody reads on while batches get too old for memory: what was looked through once is known as far as the
 * log went then. */
static void who_comes_near_the_oldest_batch_in_memory_gets_past_it(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 1, DEVICE, 7);
    struct log_id id;
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    write_blocks(a, 200, 0);
    const uint64_t edge = log_index_first(a->rig.pod->log_index);
    const struct log_span *span = log_spans_find(a->rig.pod->log_spans, edge);
    assert_true(span && span->first < edge && span->last > edge + 8);
    assert_int_equal(read_batch(a, edge - 1), 0);
    write_blocks(a, 30, 500);
    assert_null(log_index_get(a->rig.pod->log_index, edge + 8));
    for (uint64_t seq = edge - 8; seq < edge + 8; seq++) {
        assert_int_equal(pod_log_id_at(a->rig.pod, seq, &id), 0);
        assert_true(log_id_equal(&id, &g->log.at[seq].id));
        assert_int_equal(read_batch(a, seq), 0);
    }
    /* Looked through again and again, it takes the place of no other segment. */
    write_blocks(a, 1200, 1000);
    assert_int_equal(read_batch(a, 20), 0);
    for (int again = 0; again < 20; again++) {
        write_blocks(a, 65, 5000);
        assert_int_equal(read_batch(a, log_index_first(a->rig.pod->log_index) - 1), 0);
    }
    write_blocks(a, 1, 9000);
    assert_int_equal(pod_log_id_at(a->rig.pod, 20, &id), 0);
    group_check(g);
}

/* However many batches a segment holds: a slice of them is remembered, and where others begin. */
static void old_log_takes_little_memory(void **state)
{
    enum {
        SLICE = 16,
        WINDOW = 256 * KIB,
    };
    struct group *g = *state;
    struct member *a = &g->members[0];
    struct blkdev_health before, after;
    struct log_id id;
    group_create(g, 1, DEVICE, 7);
    a->rig.config.log_slice_batches = SLICE;
    assert_int_equal(member_open(a), 0);
    group_lead(g, a);
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    write_blocks(a, 1500, 0);
    struct log_unfold *u = a->rig.pod->log_unfold;
    const struct log_span *span = log_spans_find(a->rig.pod->log_spans, 700);
    const uint64_t first = span->first, last = span->last;
    assert_true(last - first > 6 * SLICE);
    const uint64_t most = 9 * SLICE * sizeof(struct log_entry) + WINDOW + 8 * KIB;
    /* Forwards, backwards, and here and there. */
    for (uint64_t seq = first; seq <= last; seq++) {
        assert_int_equal(read_batch(a, seq), 0);
        assert_true(log_unfold_memory(u) <= most);
    }
    for (uint64_t seq = last; seq >= first; seq--)
        assert_int_equal(member_id_at(a, seq, &id), 0);
    for (unsigned n = 0; n < 200; n++)
        assert_int_equal(read_batch(a, 1 + n * 7919 % 1300), 0);
    assert_true(log_unfold_memory(u) <= most);
    /* Where a slice begins is known: no other one is read for it. */
    assert_true(first > 10 * SLICE);
    for (uint64_t seq = 1; seq < 10 * SLICE; seq += SLICE)
        assert_int_equal(read_batch(a, seq), 0);
    blkdev_health(a->rig.mem, &before);
    assert_int_equal(pod_log_id_at(a->rig.pod, last - SLICE, &id), PS_EUNAVAILABLE);
    rig_settle(&a->rig);
    blkdev_health(a->rig.mem, &after);
    assert_int_equal(pod_log_id_at(a->rig.pod, last - SLICE, &id), 0);
    assert_true(log_id_equal(&id, &g->log.at[last - SLICE].id));
    assert_int_equal(after.read_ops - before.read_ops, 1);
    assert_known_from(a, 1);
    group_check(g);
}

/* The end of a segment counts for what stands at its beginning, too. */
static void a_slice_counts_only_if_all_of_its_segment_is_the_log(void **state)
{
    struct group *g = *state;
    struct member *a = &g->members[0];
    group_create(g, 1, DEVICE, 7);
    a->rig.config.log_slice_batches = 16;
    assert_int_equal(member_open(a), 0);
    group_lead(g, a);
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    write_blocks(a, 1500, 0);
    const struct log_span *span = log_spans_find(a->rig.pod->log_spans, 600);
    const struct log_span *after = log_spans_after(a->rig.pod->log_spans, span);
    const uint64_t first = span->first, last = span->last;
    ((struct log_span *)(uintptr_t)after)->previous ^= 1;
    assert_int_equal(read_batch(a, first), PS_ENOTFOUND);
    assert_int_equal(pod_log_first(a->rig.pod), last + 1);
    write_blocks(a, 10, 5000);
    group_check(g);
}

/* Steps until a read is pending, which fails. */
static void fail_a_read(struct member *m)
{
    for (int n = 0;; n++) {
        assert_true(n < 100000);
        (void)pod_turn(m->rig.pod, m->rig.now_ns += 1000);
        for (size_t i = 0; i < blkdev_mem_pending(m->rig.mem); i++)
            if (blkdev_mem_pending_at(m->rig.mem, i)->op == BLKDEV_READ) {
                assert_true(blkdev_mem_fail_at(m->rig.mem, i, PS_EIO));
                return;
            }
        (void)rig_step(&m->rig);
    }
}

static void a_read_that_fails_once_costs_nobody_the_log(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 1, DEVICE, 7);
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    write_blocks(a, 1500, 0);
    uint8_t *buf = aligned_alloc(BLKDEV_ALIGN, BATCH_MAX_BYTES);
    int status = 1;
    struct pod_log_read read = {.seq = 600, .buf = buf, .cb = on_log_read, .user = &status};
    assert_int_equal(pod_log_read(a->rig.pod, &read), 0);
    fail_a_read(a);
    while (status == 1)
        (void)rig_step(&a->rig);
    assert_int_equal(status, 0);
    assert_int_equal(pod_log_first(a->rig.pod), 1);
    /* One that fails always ends it. */
    status = 1;
    read = (struct pod_log_read){.seq = 20, .buf = buf, .cb = on_log_read, .user = &status};
    const uint64_t last = log_spans_find(a->rig.pod->log_spans, 20)->last;
    assert_int_equal(pod_log_read(a->rig.pod, &read), 0);
    while (pod_log_first(a->rig.pod) == 1)
        fail_a_read(a);
    while (status == 1)
        (void)rig_step(&a->rig);
    assert_int_equal(status, PS_ENOTFOUND);
    assert_int_equal(pod_log_first(a->rig.pod), last + 1);
    free(buf);
    group_check(g);
}

static void a_read_that_fails_once_at_a_start_costs_nobody_the_log(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 1, DEVICE, 7);
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    write_blocks(a, 1500, 0);
    rig_close(&a->rig);
    g->leader = NULL;
    a->rig.beside = NULL;
    assert_int_equal(member_open(a), 0);
    for (int i = 0; i < 40 && index_load_busy(a->rig.pod); i += 2) {
        (void)rig_step(&a->rig);
        fail_a_read(a);
    }
    for (int n = 0; index_load_busy(a->rig.pod); n++) {
        assert_true(n < 100000);
        (void)rig_step(&a->rig);
    }
    assert_false(pod_log_searching(a->rig.pod));
    assert_int_equal(pod_log_first(a->rig.pod), 1);
    /* Nothing was replayed and nothing came: what a member lacks is known all the same. */
    assert_null(log_index_get(a->rig.pod->log_index, a->durable.seq));
    assert_true(pod_log_bytes_after(a->rig.pod, 1400) >= 100 * BLOCK);
    assert_true(pod_log_bytes_after(a->rig.pod, 10) >= 1490 * BLOCK);
    assert_int_equal(pod_log_bytes_after(a->rig.pod, a->durable.seq), 0);
    assert_known_from(a, 1);
    group_lead(g, a);
    group_check(g);
}

static void a_pod_that_ends_does_not_look_through_old_log_first(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 1, DEVICE, 7);
    bool closed = false;
    struct blkdev_health before, after;
    struct log_id id;
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    write_blocks(a, 1500, 0);
    assert_int_equal(pod_log_id_at(a->rig.pod, 20, &id), PS_EUNAVAILABLE);
    (void)rig_step(&a->rig);
    blkdev_health(a->rig.mem, &before);
    g->leader = NULL;
    a->rig.beside = NULL;
    pod_abandon(a->rig.pod, on_ended, &closed);
    while (!closed)
        (void)rig_step(&a->rig);
    blkdev_health(a->rig.mem, &after);
    assert_true(after.read_ops <= before.read_ops + 1);
    /* Nobody waits for the device any more. */
    assert_int_equal(pod_log_id_at(a->rig.pod, 20, &id), PS_EUNAVAILABLE);
    assert_int_equal(rig_pending(&a->rig), 0);
    pod_destroy(a->rig.pod);
    a->rig.pod = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(log_is_kept_for_a_member_that_lags_while_there_is_space, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_restarted_leader_knows_the_log_that_lies_in_its_flash, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(batches_that_memory_does_not_hold_are_found_in_flash, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_open_segment_is_looked_through_while_it_is_written_to, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(log_that_was_cut_off_and_written_anew_is_known_after_starts, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_segment_that_does_not_hold_its_part_of_the_log_ends_what_is_known,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(who_waits_for_old_log_is_told_when_the_pod_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(who_comes_near_the_oldest_batch_in_memory_gets_past_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(old_log_takes_little_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slice_counts_only_if_all_of_its_segment_is_the_log, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_read_that_fails_once_costs_nobody_the_log, setup, teardown),
        cmocka_unit_test_setup_teardown(a_read_that_fails_once_at_a_start_costs_nobody_the_log, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_pod_that_ends_does_not_look_through_old_log_first, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
