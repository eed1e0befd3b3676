#include "tests/support/pod_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"

void rig_create(struct rig *rig, uint64_t device_bytes, uint64_t seed)
{
    *rig = (struct rig){0};
    const struct blkdev_mem_options options = {.size_bytes = device_bytes, .max_io_bytes = 1 << 20};
    rig->mem = rig->dev = blkdev_mem_create(&options);
    assert_non_null(rig->mem);
    prng_seed(&rig->prng, seed);
    rig->config = (struct pod_config){
        .name = "default",
        .memory_budget = POD_MEMORY_MIN,
        .dedupe = true,
        .compression = true,
        .segment_bytes = 2 << 20,
        .seed = {seed + 1, 2},
    };
}

void rig_destroy(struct rig *rig)
{
    if (rig->pod)
        pod_destroy(rig->pod);
    if (rig->dev != rig->mem)
        blkdev_destroy(rig->dev);
    blkdev_destroy(rig->mem);
}

bool rig_step(struct rig *rig)
{
    if (rig->dead)
        return false;
    if (rig->beside)
        rig->beside(rig->beside_user);
    rig->now_ns += 1000;
    (void)pod_turn(rig->pod, rig->now_ns);
    if (blkdev_mem_pending(rig->mem) == 0)
        return true;
    if (rig->cut_after && rig->steps + 1 >= rig->cut_after) {
        rig->dead = true;
        return false;
    }
    rig->steps++;
    if (rig->random)
        (void)blkdev_mem_step_random(rig->mem, &rig->prng);
    else
        (void)blkdev_mem_step(rig->mem);
    return true;
}

static bool wait_for(struct rig *rig, const bool *flag)
{
    for (uint64_t n = 0; !*flag; n++) {
        if (!rig_step(rig))
            return false;
        assert_true(n < 3000000); /* a hang is a failure */
    }
    return true;
}

static void on_open(void *user, int status, struct pod *pod)
{
    struct rig *rig = user;
    (void)pod;
    rig->open_status = status;
    rig->opened = true;
}

int rig_open(struct rig *rig)
{
    rig->opened = rig->dead = false;
    rig->error = (struct ps_error){0};
    const int rc = pod_open(rig->dev, &rig->config, POD_FORMAT_BLANK, on_open, rig, &rig->error, &rig->pod);
    if (rc)
        return rc;
    if (!wait_for(rig, &rig->opened))
        return PS_EUNAVAILABLE;
    return rig->open_status;
}

void rig_crash(struct rig *rig, enum blkdev_mem_cut mode)
{
    blkdev_mem_power_cut(rig->mem, &rig->prng, mode);
    if (rig->pod)
        pod_destroy(rig->pod);
    rig->pod = NULL;
    rig->dead = false;
}

static void on_flag(void *user)
{
    *(bool *)user = true;
}

void rig_close(struct rig *rig)
{
    bool closed = false;
    pod_close(rig->pod, on_flag, &closed);
    assert_true(wait_for(rig, &closed));
    pod_destroy(rig->pod);
    rig->pod = NULL;
}

static void on_manage(struct pod_manage *req, int status)
{
    (void)status;
    *(bool *)req->user = true;
}

int rig_manage(struct rig *rig, struct pod_manage *req)
{
    bool done = false;
    req->user = &done;
    const int rc = pod_manage(rig->pod, req, on_manage);
    if (rc)
        return rc;
    return wait_for(rig, &done) ? req->error.status : PS_EUNAVAILABLE;
}

static void on_io(struct pod_io *io, int status)
{
    (void)status;
    *(bool *)io->user = true;
}

int rig_io(struct rig *rig, struct pod_io *io)
{
    bool done = false;
    io->user = &done;
    const int rc = pod_submit(rig->pod, io, on_io);
    if (rc)
        return rc;
    return wait_for(rig, &done) ? io->status : PS_EUNAVAILABLE;
}

int rig_named(struct rig *rig, enum pod_manage_op op, const char *name, const char *new_name, uint64_t size)
{
    struct pod_manage req = {.op = op, .size_bytes = size, .now_unix_ns = rig->now_ns, .allow_shrink = true};
    (void)snprintf(req.name, sizeof req.name, "%s", name);
    (void)snprintf(req.new_name, sizeof req.new_name, "%s", new_name ? new_name : "");
    return rig_manage(rig, &req);
}

int rig_create_volume(struct rig *rig, const char *name, uint64_t size)
{
    return rig_named(rig, POD_VOLUME_CREATE, name, NULL, size);
}

static int with_image(struct rig *rig, const char *name, struct pod_io *io)
{
    const int rc = pod_image_open(rig->pod, name, &io->image, NULL);
    if (rc)
        return rc;
    const int status = rig_io(rig, io);
    if (!rig->dead)
        pod_image_close(io->image);
    else
        free(io->image);
    return status;
}

int rig_write(struct rig *rig, const char *name, uint64_t offset, const void *data, uint64_t length)
{
    struct pod_io io = {.op = POD_WRITE, .offset = offset, .length = length, .buf = (void *)(uintptr_t)data};
    return with_image(rig, name, &io);
}

int rig_read(struct rig *rig, const char *name, uint64_t offset, void *data, uint64_t length)
{
    struct pod_io io = {.op = POD_READ, .offset = offset, .length = length, .buf = data};
    return with_image(rig, name, &io);
}

int rig_range(struct rig *rig, enum pod_io_op op, const char *name, uint64_t offset, uint64_t length)
{
    struct pod_io io = {.op = op, .offset = offset, .length = length};
    return with_image(rig, name, &io);
}

void rig_settle(struct rig *rig)
{
    struct pod *pod = rig->pod;
    for (uint64_t n = 0;; n++) {
        if (!rig_step(rig))
            return;
        assert_true(n < 3000000);
        if (blkdev_mem_pending(rig->mem) || (pod->role != POD_STANDBY && images_releasable(pod->images)) ||
            pod->release_in_flight || checkpoint_busy(pod) || pod->in_flight_count || pod->open || pod->again)
            continue;
        return;
    }
}

/* ---- deep check */

struct counted {
    uint64_t *keys, *values;
    size_t capacity, used;
};

static uint64_t *count_of(struct counted *c, uint64_t key)
{
    if (c->used * 2 >= c->capacity) {
        struct counted old = *c;
        c->capacity = old.capacity ? old.capacity * 2 : 1024;
        c->keys = calloc(c->capacity, sizeof *c->keys);
        c->values = calloc(c->capacity, sizeof *c->values);
        c->used = 0;
        for (size_t i = 0; i < old.capacity; i++)
            if (old.keys[i])
                *count_of(c, old.keys[i]) = old.values[i];
        free(old.keys);
        free(old.values);
    }
    size_t at = (key * 0x9e3779b97f4a7c15ull >> 20) & (c->capacity - 1);
    while (c->keys[at] && c->keys[at] != key)
        at = (at + 1) & (c->capacity - 1);
    if (!c->keys[at]) {
        c->keys[at] = key;
        c->used++;
    }
    return &c->values[at];
}

struct checking {
    struct rig *rig;
    struct counted blocks, pages; /* owned references */
    struct counted seen;          /* pages walked already as owned ones */
    struct space space;
    uint64_t segment_live[4096];
    uint64_t live_blocks;
};

static void load_now(struct rig *rig, struct meta_key page, uint64_t *slots)
{
    for (int n = 0; n < 100000; n++) {
        view_missing_clear(rig->pod->view);
        const uint64_t *p = view_slots(rig->pod->view, page, false);
        if (p) {
            memcpy(slots, p, META_SLOTS * sizeof *slots);
            return;
        }
        assert_false(load_missing(rig->pod));
        (void)rig_step(rig);
    }
    fail_msg("page %#llx does not load", (unsigned long long)page.v);
}

static uint64_t l2p_now(struct rig *rig, uint64_t group)
{
    uint64_t slots[META_SLOTS];
    const struct meta_key key = l2p_key(group);
    load_now(rig, meta_page_of(key), slots);
    return slots[meta_slot_of(key)];
}

/* `counting`: this image's part still belongs to it (a releasing image's done part does not). */
static void walk(struct checking *c, uint64_t entry, unsigned level, uint64_t lba, uint64_t from,
                 bool counting)
{
    if (entry_type(entry) == ENTRY_HOLE)
        return;
    if (level == 0) {
        space_count(&c->space, entry, +1);
        if (entry_type(entry) == ENTRY_DATA && lba >= from) {
            const uint64_t v = l2p_now(c->rig, block_group(entry_id(entry)));
            if (!l2p_is_live(v, block_slot(entry_id(entry))))
                fail_msg("block %llu is mapped at %llu and dead", (unsigned long long)entry_id(entry),
                         (unsigned long long)lba);
            if (entry_owns(entry) && counting)
                ++*count_of(&c->blocks, entry_id(entry));
        }
        return;
    }
    assert_int_equal(entry_type(entry), ENTRY_PAGE);
    if (lba + image_span(level) <= from)
        return;
    const bool owned = counting && entry_owns(entry);
    if (owned && ++*count_of(&c->pages, entry_id(entry)) > 1)
        fail_msg("page %llu has two owners", (unsigned long long)entry_id(entry));
    uint64_t slots[META_SLOTS];
    load_now(c->rig, entry_page_key(entry), slots);
    for (unsigned i = 0; i < META_SLOTS; i++)
        walk(c, slots[i], level - 1, lba + i * image_span(level - 1), from, owned);
}

static void walk_image(void *user, struct image *image)
{
    struct checking *c = user;
    const bool releasing = image->deleted || image->kind == IMAGE_TRASH;
    c->space = (struct space){0};
    walk(c, image->root, image->depth, 0, releasing ? image->cursor : 0, true);
    if (releasing)
        return;
    for (int i = 0; i < SPACE_COUNTS; i++)
        if (image->space.n[i] != c->space.n[i])
            fail_msg("%s: space count %d is %lld, its map holds %lld", image->full_name, i,
                     (long long)image->space.n[i], (long long)c->space.n[i]);
}

struct key_array {
    struct meta_key keys[65536];
    size_t n;
};

static void collect_page(void *user, struct meta_key page)
{
    struct key_array *a = user;
    assert_true(a->n < 65536);
    a->keys[a->n++] = page;
}

static void check_l2p(struct checking *c)
{
    struct key_array *pages = calloc(1, sizeof *pages);
    meta_each_page(c->rig->pod->meta, META_L2P, collect_page, pages);
    for (size_t p = 0; p < pages->n; p++) {
        uint64_t slots[META_SLOTS];
        load_now(c->rig, pages->keys[p], slots);
        for (unsigned i = 0; i < META_SLOTS; i++) {
            const uint64_t group = meta_page_number(pages->keys[p]) * META_SLOTS + i, v = slots[i];
            if (!v)
                continue;
            const struct place place = l2p_place(v);
            c->segment_live[place_addr(place) / c->rig->config.segment_bytes] += l2p_live_bytes(v);
            for (unsigned s = 0; s < l2p_blocks(v); s++) {
                const uint64_t block = group << 3 | s, owned = *count_of(&c->blocks, block);
                if (!l2p_is_live(v, s)) {
                    assert_int_equal(owned, 0);
                    continue;
                }
                c->live_blocks++;
                uint64_t refs[META_SLOTS];
                const struct meta_key key = meta_key_flat(META_REF, block);
                load_now(c->rig, meta_page_of(key), refs);
                if (owned != 1 + refs[meta_slot_of(key)])
                    fail_msg("block %llu has %llu owned references and a count of %llu",
                             (unsigned long long)block, (unsigned long long)owned,
                             (unsigned long long)refs[meta_slot_of(key)] + 1);
            }
        }
    }
    free(pages);
}

static void free_counted(struct counted *c)
{
    free(c->keys);
    free(c->values);
}

void rig_check(struct rig *rig)
{
    struct pod *pod = rig->pod;
    rig_settle(rig);
    if (rig->dead)
        return;
    struct checking *c = calloc(1, sizeof *c);
    c->rig = rig;
    images_each(pod->images, walk_image, c);
    check_l2p(c);
    assert_int_equal(c->live_blocks, pod->unique_blocks);
    for (uint32_t i = 0; i < pod->segment_count; i++)
        if (segments_state(pod->segments, i) == SEGMENT_LOG)
            assert_int_equal(segments_live(pod->segments, i), c->segment_live[i]);
    free_counted(&c->blocks);
    free_counted(&c->pages);
    free_counted(&c->seen);
    free(c);
}
