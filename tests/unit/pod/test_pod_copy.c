/* A full copy of a pod to another member's device: empty, or with something else on it; while the pod goes
 * on; with the power cut under the receiver at each of its device completions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"
#include "tests/support/log_rig.h"

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    DEVICE = 96 * MIB,
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

static void write_noise(struct member *m, const char *name, uint64_t offset, uint64_t bytes, uint64_t seed)
{
    uint8_t *buf = malloc(bytes);
    struct prng p;
    prng_seed(&p, seed);
    prng_fill(&p, buf, bytes);
    assert_int_equal(rig_write(&m->rig, name, offset, buf, bytes), 0);
    free(buf);
}

/* Volumes, snapshots, a clone, blocks that are there several times, one image on its way out. */
static void make_content(struct member *m)
{
    assert_int_equal(rig_create_volume(&m->rig, "v", 16 * MIB), 0);
    for (unsigned i = 0; i < 40; i++)
        write_noise(m, "v", i * 256 * KIB, 128 * KIB, i % 30);
    assert_int_equal(rig_named(&m->rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
    for (unsigned i = 0; i < 10; i++)
        write_noise(m, "v", i * 64 * KIB, 24 * KIB, 100 + i);
    assert_int_equal(rig_named(&m->rig, POD_CLONE_CREATE, "v@s", "c", 0), 0);
    write_noise(m, "c", 3 * MIB, 200 * KIB, 200);
    assert_int_equal(rig_create_volume(&m->rig, "w", 4 * MIB), 0);
    write_noise(m, "w", 0, MIB, 3);
    assert_int_equal(rig_named(&m->rig, POD_VOLUME_DELETE, "w", NULL, 0), 0);
}

/* Two members, of which the first one leads and the second one is away from its first batch on. */
static struct member *start(struct group *g)
{
    group_create(g, 2, DEVICE, 7);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(member_open(&g->members[i]), 0);
    g->members[1].away = true;
    g->members[1].counts = false;
    group_lead(g, &g->members[0]);
    return &g->members[0];
}

static void on_status(void *user, int status)
{
    *(int *)user = status;
}

static void on_read(struct pod_copy_read *read, int status)
{
    *(int *)read->user = status;
}

static bool wait_status(struct member *m, const int *status)
{
    for (uint64_t n = 0; *status == 1; n++) {
        if (!rig_step(&m->rig))
            return false;
        assert_true(n < 1000000);
    }
    return true;
}

static void copy_out(struct member *from, struct pod_copy_info *info)
{
    int status = 1;
    assert_int_equal(pod_copy_out_begin(from->rig.pod, on_status, &status), 0);
    assert_true(wait_status(from, &status));
    assert_int_equal(status, 0);
    pod_copy_out_describe(from->rig.pod, info);
    assert_true(info->pieces > 0);
}

static void read_piece(struct member *from, uint64_t number, struct pod_copy_read *read)
{
    int status = 1;
    read->number = number;
    read->cb = on_read;
    read->user = &status;
    assert_int_equal(pod_copy_read(from->rig.pod, read), 0);
    assert_true(wait_status(from, &status));
    assert_int_equal(status, 0);
}

/* The receiver's part; writes of hosts go on at the other end. False: the power failed. */
static bool copy_in(struct member *from, struct member *to, const struct pod_copy_info *info, bool writes)
{
    struct pod_copy_read read = {.buf = aligned_alloc(BLKDEV_ALIGN, POD_COPY_READ_BYTES)};
    int status = 1;
    assert_int_equal(pod_copy_in_begin(to->rig.pod, info->description, sizeof info->description, on_status,
                                       &status, &to->rig.error),
                     0);
    bool alive = wait_status(to, &status);
    assert_true(!alive || status == 0);
    if (alive) {
        struct pod_stats stats;
        pod_stats(to->rig.pod, &stats);
        assert_true(stats.opening && stats.capacity > 0 && stats.volumes == 0);
    }
    for (uint64_t n = 0; alive && n < info->pieces; n++) {
        read_piece(from, n, &read);
        if (writes)
            write_noise(from, "v", n % 32 * 256 * KIB, 96 * KIB, 1000 + n);
        assert_int_equal(pod_copy_in_piece(to->rig.pod, read.message, read.bytes, &to->rig.error), 0);
        while (alive && pod_copy_in_written(to->rig.pod) <= n)
            alive = rig_step(&to->rig);
    }
    status = 1;
    if (alive) {
        assert_int_equal(pod_copy_in_end(to->rig.pod, on_status, &status), 0);
        alive = wait_status(to, &status);
        assert_true(!alive || status == 0);
    }
    free(read.buf);
    return alive;
}

static void come_back(struct member *to)
{
    pod_log_ends(to->rig.pod, NULL, &to->durable);
    to->away = false;
    to->counts = true;
}

static void an_empty_device_gets_all_of_a_pod_that_goes_on(void **state)
{
    struct group *g = *state;
    struct member *a = start(g), *b = &g->members[1];
    struct pod_copy_info info;
    struct pod_log_identity before, after;
    struct log_id id;
    make_content(a);
    pod_log_identity(b->rig.pod, &before);
    copy_out(a, &info);
    assert_true(copy_in(a, b, &info, true));
    pod_log_ends(b->rig.pod, &id, NULL);
    assert_true(log_id_equal(&id, &info.base));
    pod_log_identity(b->rig.pod, &after);
    assert_memory_equal(before.store, after.store, sizeof before.store);
    assert_int_equal(after.run, before.run + 1);
    /* The sender knows the batch that the receiver stands at. */
    assert_int_equal(pod_log_id_at(a->rig.pod, info.base.seq, &id), 0);
    assert_true(log_id_equal(&id, &info.base));
    pod_copy_out_end(a->rig.pod);
    come_back(b);
    group_check(g);
    /* And it is a member like others: after a restart, and as leader. */
    member_crash(b, BLKDEV_MEM_LOSE);
    assert_int_equal(member_open(b), 0);
    write_noise(a, "v", 5 * MIB, 100 * KIB, 5);
    group_check(g);
    member_abandon(a);
    group_lead(g, b);
    write_noise(b, "c", 0, 300 * KIB, 6);
    assert_int_equal(rig_named(&b->rig, POD_VOLUME_DELETE, "c", NULL, 0), 0);
    assert_int_equal(member_open(a), 0);
    member_catch_up(a, false);
    group_check(g);
}

static void what_the_receiver_held_is_gone(void **state)
{
    struct group *g = *state;
    group_create(g, 2, DEVICE, 9);
    assert_int_equal(member_open(&g->members[1]), 0);
    struct member *a = &g->members[0], *b = &g->members[1];
    const uint8_t protocol[5] = {1, 2, 3, 4, 5};
    const void *kept;
    int status = 1;
    group_lead(g, b);
    assert_int_equal(rig_create_volume(&b->rig, "other", 16 * MIB), 0);
    for (unsigned i = 0; i < 100; i++)
        write_noise(b, "other", i * 128 * KIB, 128 * KIB, 500 + i);
    member_abandon(b);
    history_cut(&g->log, 0);
    assert_int_equal(member_open(b), 0);
    assert_int_equal(pod_log_protocol_write(b->rig.pod, protocol, sizeof protocol, on_status, &status), 0);
    assert_true(wait_status(b, &status));
    b->away = true;
    b->counts = false;
    assert_int_equal(member_open(a), 0);
    group_lead(g, a);
    make_content(a);
    struct pod_copy_info info;
    copy_out(a, &info);
    assert_true(copy_in(a, b, &info, false));
    pod_copy_out_end(a->rig.pod);
    assert_int_equal(pod_log_protocol(b->rig.pod, &kept), sizeof protocol);
    assert_memory_equal(kept, protocol, sizeof protocol);
    come_back(b);
    group_check(g);
}

/* Segments of the copy die at the sender meanwhile: they are not used again before it ends. */
static void the_sender_may_overwrite_all_of_it_meanwhile(void **state)
{
    struct group *g = *state;
    struct member *a = start(g), *b = &g->members[1];
    struct pod_copy_info info;
    assert_int_equal(rig_create_volume(&a->rig, "v", 16 * MIB), 0);
    for (unsigned i = 0; i < 16; i++)
        write_noise(a, "v", i * MIB, MIB, i);
    pod_log_retain(a->rig.pod, 0);
    copy_out(a, &info);
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 16; i++)
            write_noise(a, "v", i * MIB, MIB, 100 * round + i);
    checkpoint_want(a->rig.pod);
    while (checkpoint_busy(a->rig.pod))
        assert_true(rig_step(&a->rig));
    assert_true(copy_in(a, b, &info, false));
    const uint32_t free_before = segments_free(a->rig.pod->segments);
    pod_copy_out_end(a->rig.pod);
    assert_true(segments_free(a->rig.pod->segments) > free_before);
    come_back(b);
    group_check(g);
}

static void another_shape_of_device_is_refused(void **state)
{
    struct group *g = *state;
    struct member *a = start(g), *b = &g->members[1];
    struct pod_copy_info info;
    struct ps_error err = {0};
    make_content(a);
    copy_out(a, &info);
    struct copy_description d;
    assert_int_equal(copy_description_decode(info.description, sizeof info.description, &d, &err), 0);
    struct copy_description other = d;
    uint8_t message[COPY_DESCRIPTION_BYTES];
    other.segment_bytes *= 4;
    copy_description_encode(&other, message);
    assert_int_equal(pod_copy_in_check(b->rig.pod, message, sizeof message, &err), PS_EPRECONDITION);
    assert_string_equal(err.detail, "its flash was formatted with segments of 2048 KiB, a copy of this pod "
                                    "needs 8192 KiB");
    other = d;
    other.segment_count = 1000;
    other.highest = 900;
    copy_description_encode(&other, message);
    assert_int_equal(pod_copy_in_check(b->rig.pod, message, sizeof message, &err), PS_EPRECONDITION);
    assert_string_equal(err.detail, "its flash has 96 MiB, a copy of this pod needs up to 2000 MiB");
    other.highest = d.highest; /* it would fit, with nothing left */
    other.used = b->rig.pod->segment_count - SYSTEM_SEGMENTS;
    copy_description_encode(&other, message);
    assert_int_equal(pod_copy_in_check(b->rig.pod, message, sizeof message, &err), PS_EPRECONDITION);
    message[20] ^= 1;
    assert_int_equal(pod_copy_in_check(b->rig.pod, message, sizeof message, &err), PS_EDAMAGED);
    assert_int_equal(pod_copy_in_check(b->rig.pod, message, 10, &err), PS_EINVAL);
    other = d;
    other.anchor.pod[3] ^= 1;
    copy_description_encode(&other, message);
    assert_int_equal(pod_copy_in_check(b->rig.pod, message, sizeof message, &err), PS_EPRECONDITION);
    pod_copy_out_end(a->rig.pod);
}

static void show(struct member *m, uint64_t bytes)
{
    m->rig.dev->geometry.size_bytes = bytes;
}

/* The sender's pool grows while it is copied, to a member whose does not. */
static void a_pool_that_grows_meanwhile_fits_one_that_does_not(void **state)
{
    struct group *g = *state;
    struct pod_copy_info info;
    int status = 1, grown = 1;
    group_create(g, 2, DEVICE, 7);
    struct member *a = &g->members[0], *b = &g->members[1];
    show(a, DEVICE / 2);
    show(b, DEVICE / 2);
    assert_int_equal(member_open(a), 0);
    assert_int_equal(member_open(b), 0);
    b->away = true;
    b->counts = false;
    group_lead(g, a);
    make_content(a);
    /* It is asked for before the pool is larger, and begins after that. */
    assert_int_equal(pod_copy_out_begin(a->rig.pod, on_status, &status), 0);
    show(a, DEVICE);
    assert_int_equal(pod_grow(a->rig.pod, on_status, &grown, NULL), 0);
    assert_true(wait_status(a, &grown) && wait_status(a, &status));
    assert_int_equal(grown, 0);
    assert_int_equal(status, 0);
    assert_int_equal(a->rig.pod->segment_count, DEVICE / (2 * MIB));
    pod_copy_out_describe(a->rig.pod, &info);
    assert_true(copy_in(a, b, &info, true));
    pod_copy_out_end(a->rig.pod);
    come_back(b);
    group_check(g);
    /* A receiver that has grown meanwhile, or is told while it is filled, has all of it afterwards. */
    member_crash(b, BLKDEV_MEM_LOSE);
    assert_int_equal(member_open(b), 0);
    b->away = true;
    b->counts = false;
    copy_out(a, &info);
    status = grown = 1;
    show(b, DEVICE);
    assert_int_equal(pod_copy_in_begin(b->rig.pod, info.description, sizeof info.description, on_status,
                                       &status, &b->rig.error),
                     0);
    assert_true(wait_status(b, &status));
    assert_int_equal(pod_grow(b->rig.pod, on_status, &grown, NULL), 0);
    assert_true(copy_in(a, b, &info, false));
    pod_copy_out_end(a->rig.pod);
    assert_true(wait_status(b, &grown));
    assert_int_equal(grown, 0);
    assert_int_equal(b->rig.pod->segment_count, DEVICE / (2 * MIB));
    come_back(b);
    group_check(g);
}

static bool first_part(void *user, uint64_t offset, uint64_t length)
{
    (void)user;
    (void)length;
    return offset >= 8 * MIB && offset < 16 * MIB;
}

static void a_copy_needs_every_place(void **state)
{
    struct group *g = *state;
    struct member *a = start(g), *b = &g->members[1];
    struct pod_copy_info info;
    int status = 1;
    make_content(a);
    copy_out(a, &info);
    assert_int_equal(pod_vacate(b->rig.pod, first_part, on_status, &status, NULL), 0);
    assert_true(wait_status(b, &status));
    assert_int_equal(status, 0);
    assert_int_equal(pod_copy_in_check(b->rig.pod, info.description, sizeof info.description, &b->rig.error),
                     PS_EPRECONDITION);
    assert_non_null(strstr(b->rig.error.detail, "at 8 MiB, is not there or is being taken away"));
    pod_vacate_stop(b->rig.pod);
    assert_true(copy_in(a, b, &info, false));
    pod_copy_out_end(a->rig.pod);
    come_back(b);
    group_check(g);
}

static void pieces_are_taken_in_order_whole_and_in_their_place(void **state)
{
    struct group *g = *state;
    struct member *a = start(g), *b = &g->members[1];
    struct pod_copy_info info;
    struct ps_error *err = &b->rig.error;
    int status = 1;
    make_content(a);
    copy_out(a, &info);
    assert_true(info.pieces > 3);
    struct pod_copy_read read = {.buf = aligned_alloc(BLKDEV_ALIGN, POD_COPY_READ_BYTES)};
    read_piece(a, 0, &read);
    assert_int_equal(pod_copy_in_piece(b->rig.pod, read.message, read.bytes, err), PS_EABORTED);
    assert_int_equal(
        pod_copy_in_begin(b->rig.pod, info.description, sizeof info.description, on_status, &status, err), 0);
    assert_true(wait_status(b, &status));
    assert_int_equal(pod_copy_in_end(b->rig.pod, on_status, &status), PS_EABORTED);
    read.message[COPY_HEADER_BYTES + 1000] ^= 4;
    assert_int_equal(pod_copy_in_piece(b->rig.pod, read.message, read.bytes, err), PS_EDAMAGED);
    read.message[COPY_HEADER_BYTES + 1000] ^= 4;
    assert_int_equal(pod_copy_in_piece(b->rig.pod, read.message, read.bytes - 1, err), PS_EINVAL);
    struct copy_piece misplaced = {0, 1, 0, read.bytes - COPY_HEADER_BYTES};
    uint8_t header[COPY_HEADER_BYTES];
    memcpy(header, read.message, sizeof header);
    copy_piece_seal(&misplaced, read.message); /* over a label */
    assert_int_equal(pod_copy_in_piece(b->rig.pod, read.message, read.bytes, err), PS_EINVAL);
    memcpy(read.message, header, sizeof header);
    assert_int_equal(pod_copy_in_piece(b->rig.pod, read.message, read.bytes, err), 0);
    assert_int_equal(pod_copy_in_piece(b->rig.pod, read.message, read.bytes, err), 0); /* sent twice */
    read_piece(a, 2, &read);
    assert_int_equal(pod_copy_in_piece(b->rig.pod, read.message, read.bytes, err), PS_EABORTED);
    while (pod_copy_in_written(b->rig.pod) == 0)
        assert_true(rig_step(&b->rig));
    free(read.buf);
    /* Another sender's copy begins: all anew. Replication's state is written beside it. */
    uint8_t data[3] = {7, 8, 9};
    status = 1;
    assert_int_equal(pod_log_protocol_write(b->rig.pod, data, sizeof data, on_status, &status), 0);
    assert_true(wait_status(b, &status));
    assert_int_equal(status, 0);
    assert_true(copy_in(a, b, &info, false));
    const void *kept;
    assert_int_equal(pod_log_protocol(b->rig.pod, &kept), sizeof data);
    pod_copy_out_end(a->rig.pod);
    come_back(b);
    group_check(g);
}

/* Until the mark is durable it is what it was, then an empty pod, then the copy; nothing else, ever. */
static void a_power_cut_never_leaves_a_pod_that_is_half_filled(void **state)
{
    static const enum blkdev_mem_cut modes[] = {BLKDEV_MEM_LOSE, BLKDEV_MEM_KEEP, BLKDEV_MEM_TEAR,
                                                BLKDEV_MEM_REORDER};
    (void)state;
    unsigned seen[3] = {0};
    bool through = false;
    for (unsigned n = 4; !through; n++) {
        const unsigned cut = n / 4;
        struct group g;
        struct member *a, *b;
        struct pod_copy_info info;
        struct log_id id, was;
        group_create(&g, 2, 48 * MIB, 7);
        a = &g.members[0], b = &g.members[1];
        assert_int_equal(member_open(b), 0);
        group_lead(&g, b);
        assert_int_equal(rig_create_volume(&b->rig, "former", 4 * MIB), 0);
        for (unsigned i = 0; i < 12; i++)
            write_noise(b, "former", i * 320 * KIB, 300 * KIB, 50 + i);
        const uint64_t digest = member_digest(b);
        pod_log_ends(b->rig.pod, NULL, &was);
        member_abandon(b);
        history_cut(&g.log, 0);
        assert_int_equal(member_open(b), 0);
        b->away = true;
        b->counts = false;
        assert_int_equal(member_open(a), 0);
        group_lead(&g, a);
        assert_int_equal(rig_create_volume(&a->rig, "v", 4 * MIB), 0);
        for (unsigned i = 0; i < 6; i++)
            write_noise(a, "v", i * 512 * KIB, 500 * KIB, 2 + i);
        copy_out(a, &info);
        b->rig.random = n / 4 % 2;
        b->rig.cut_after = b->rig.steps + cut;
        through = copy_in(a, b, &info, false);
        pod_copy_out_end(a->rig.pod);
        b->rig.cut_after = 0;
        if (!through) {
            member_crash(b, modes[n % 4]);
            assert_int_equal(member_open(b), 0);
        }
        pod_log_ends(b->rig.pod, NULL, &id);
        if (log_id_equal(&id, &was)) {
            pod_log_commit(b->rig.pod, was.seq);
            member_wait_applied(b, was.seq);
            assert_true(member_digest(b) == digest);
            seen[0]++;
        } else if (id.seq == 0) {
            struct pod_image_info image = {0};
            assert_int_equal(pod_image_after(b->rig.pod, "", &image), PS_ENOTFOUND);
            seen[1]++;
        } else {
            assert_true(log_id_equal(&id, &info.base));
            seen[2]++;
        }
        rig_check(&b->rig);
        if (id.seq != info.base.seq || log_id_equal(&id, &was)) { /* again, without interruption */
            copy_out(a, &info);
            assert_true(copy_in(a, b, &info, false));
            pod_copy_out_end(a->rig.pod);
        }
        come_back(b);
        group_check(&g);
        group_destroy(&g);
    }
    print_message("as before: %u, empty: %u, the copy: %u\n", seen[0], seen[1], seen[2]);
    assert_true(seen[0] && seen[1] > 3 && seen[2]);
}

/* The receiver's own log begins anew where the sender's batches lie already. Whatever generations both have:
 * none of them is taken for a part of it. */
static void what_an_interrupted_copy_left_is_no_part_of_the_next_log(void **state)
{
    struct group *g = *state;
    struct pod_copy_read read = {.buf = aligned_alloc(BLKDEV_ALIGN, POD_COPY_READ_BYTES)};
    struct pod_copy_info info;
    for (uint64_t ahead = 0; ahead < 4; ahead++) {
        struct member *a = start(g), *b = &g->members[1];
        struct log_id end;
        int status = 1;
        a->rig.pod->generation += 10; /* as if it had been opened more often */
        b->rig.pod->generation = a->rig.pod->generation - ahead;
        make_content(a);
        copy_out(a, &info);
        assert_int_equal(pod_copy_in_begin(b->rig.pod, info.description, sizeof info.description, on_status,
                                           &status, &b->rig.error),
                         0);
        assert_true(wait_status(b, &status) && status == 0);
        for (uint64_t n = 0; n < info.pieces; n++) {
            read_piece(a, n, &read);
            assert_int_equal(pod_copy_in_piece(b->rig.pod, read.message, read.bytes, &b->rig.error), 0);
            while (pod_copy_in_written(b->rig.pod) <= n)
                assert_true(rig_step(&b->rig));
        }
        for (int i = 0; i < 6; i++) {
            member_crash(b, BLKDEV_MEM_KEEP);
            assert_int_equal(member_open(b), 0);
            pod_log_ends(b->rig.pod, NULL, &end);
            assert_int_equal(end.seq, 0);
        }
        group_destroy(g);
    }
    free(read.buf);
    group_create(g, 2, DEVICE, 7);
}

static void fill_without_end(struct member *from, struct member *to)
{
    struct pod_copy_read read = {.buf = aligned_alloc(BLKDEV_ALIGN, POD_COPY_READ_BYTES)};
    struct pod_copy_info info;
    int status = 1;
    const bool again = to->rig.pod->state == POD_FILLING;
    int written = again ? 1 : 0;
    copy_out(from, &info);
    assert_int_equal(pod_copy_in_begin(to->rig.pod, info.description, sizeof info.description, on_status,
                                       &status, &to->rig.error),
                     0);
    if (again) /* replication goes on meanwhile */
        assert_int_equal(pod_log_protocol_write(to->rig.pod, "it", 2, on_status, &written), 0);
    assert_true(wait_status(to, &status) && status == 0);
    assert_true(wait_status(to, &written) && written == 0);
    for (uint64_t n = 0; n < info.pieces; n++) {
        read_piece(from, n, &read);
        assert_int_equal(pod_copy_in_piece(to->rig.pod, read.message, read.bytes, &to->rig.error), 0);
        while (pod_copy_in_written(to->rig.pod) <= n)
            assert_true(rig_step(&to->rig));
    }
    pod_copy_out_end(from->rig.pod);
    free(read.buf);
}

/* Another copy comes instead of one that stopped in the middle, without a start of the receiver, and from a
 * sender with a higher generation. */
static void what_a_later_copy_left_is_no_part_of_the_next_log_either(void **state)
{
    struct group *g = *state;
    for (uint64_t ahead = 1; ahead < 5; ahead++) {
        struct member *a = start(g), *b = &g->members[1];
        struct log_id end;
        const void *kept;
        assert_int_equal(rig_create_volume(&a->rig, "first", MIB), 0);
        fill_without_end(a, b);
        a->rig.pod->generation += ahead; /* as if it had been opened anew */
        make_content(a);
        fill_without_end(a, b);
        for (int i = 0; i < 6; i++) {
            member_crash(b, BLKDEV_MEM_KEEP);
            assert_int_equal(member_open(b), 0);
            pod_log_ends(b->rig.pod, NULL, &end);
            assert_int_equal(end.seq, 0);
            assert_int_equal(pod_log_protocol(b->rig.pod, &kept), 2);
            assert_memory_equal(kept, "it", 2);
        }
        group_destroy(g);
    }
    group_create(g, 2, DEVICE, 7);
}

static void either_end_may_stop_in_the_middle(void **state)
{
    struct group *g = *state;
    struct member *a = start(g), *b = &g->members[1];
    struct pod_copy_info info;
    int status = 1;
    make_content(a);
    /* The sender's end comes before its checkpoint is there. */
    assert_int_equal(pod_copy_out_begin(a->rig.pod, on_status, &status), 0);
    assert_int_equal(pod_copy_out_begin(a->rig.pod, on_status, &status), PS_EPRECONDITION);
    pod_copy_out_end(a->rig.pod);
    assert_true(wait_status(a, &status));
    copy_out(a, &info);
    status = 1;
    assert_int_equal(pod_copy_in_begin(b->rig.pod, info.description, sizeof info.description, on_status,
                                       &status, &b->rig.error),
                     0);
    assert_true(wait_status(b, &status));
    rig_close(&b->rig); /* an orderly stop writes no checkpoint of it */
    assert_int_equal(member_open(b), 0);
    struct log_id id;
    pod_log_ends(b->rig.pod, &id, NULL);
    assert_int_equal(id.seq, 0);
    /* The sender stops being one with a read under way. */
    struct pod_copy_read read = {
        .buf = aligned_alloc(BLKDEV_ALIGN, POD_COPY_READ_BYTES), .cb = on_read, .user = &status};
    status = 1;
    assert_int_equal(pod_copy_read(a->rig.pod, &read), 0);
    member_abandon(a);
    assert_true(status != 1);
    free(read.buf);
    assert_int_equal(member_open(a), 0);
    group_lead(g, a);
    copy_out(a, &info);
    assert_true(copy_in(a, b, &info, true));
    pod_copy_out_end(a->rig.pod);
    come_back(b);
    group_check(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_device_gets_all_of_a_pod_that_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_receiver_held_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(the_sender_may_overwrite_all_of_it_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pool_that_grows_meanwhile_fits_one_that_does_not, setup, teardown),
        cmocka_unit_test_setup_teardown(a_copy_needs_every_place, setup, teardown),
        cmocka_unit_test_setup_teardown(another_shape_of_device_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(pieces_are_taken_in_order_whole_and_in_their_place, setup, teardown),
        cmocka_unit_test(a_power_cut_never_leaves_a_pod_that_is_half_filled),
        cmocka_unit_test_setup_teardown(what_an_interrupted_copy_left_is_no_part_of_the_next_log, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_a_later_copy_left_is_no_part_of_the_next_log_either, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(either_end_may_stop_in_the_middle, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
