#include "tests/unit/volume/volume_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* cmocka wants those above first */
#include <cmocka.h>

#include "node/meta/run.h"

static struct rig_batch *batch_of(struct rig *rig, uint64_t seq)
{
    return rig->batches[seq % RIG_BATCHES];
}

struct rig *rig_create(void)
{
    struct rig *rig = calloc(1, sizeof *rig);
    memory_flash_init(&rig->flash);
    const struct meta_config config = {
        .cache_bytes = 1 << 20, .place_ref = memory_flash_ref, .user = &rig->flash};
    rig->meta = meta_create(&config);
    rig->view = view_create(rig->meta, 8192);
    rig->images = images_create();
    rig->next_page = rig->next_group = rig->next_image = 1;
    for (int i = 0; i < RIG_BATCHES; i++)
        rig->batches[i] = calloc(1, sizeof *rig->batches[i]);
    return rig;
}

void rig_destroy(struct rig *rig)
{
    for (int i = 0; i < RIG_BATCHES; i++)
        free(rig->batches[i]);
    view_destroy(rig->view);
    images_destroy(rig->images);
    meta_destroy(rig->meta);
    memory_flash_free(&rig->flash);
    free(rig);
}

struct plan *rig_plan(struct rig *rig)
{
    if (rig->seq - rig->applied == RIG_BATCHES)
        rig_apply_one(rig);
    struct rig_batch *b = batch_of(rig, ++rig->seq);
    changes_begin(&b->changes, b->buf, sizeof b->buf);
    b->plan = (struct plan){rig->view, &b->changes, rig->seq, &rig->next_page, 0};
    b->birth_count = 0;
    return &b->plan;
}

/* ---- applying */

static void apply_set(void *user, uint64_t page, unsigned slot, uint64_t entry)
{
    meta_set(((struct rig *)user)->meta, meta_key(META_MAP, page, slot), entry);
}

static void apply_copy(void *user, uint64_t to, uint64_t from)
{
    meta_copy(((struct rig *)user)->meta, meta_key(META_MAP, to, 0), meta_key(META_MAP, from, 0));
}

static void apply_drop(void *user, uint64_t page)
{
    struct rig *rig = user;
    assert_true(meta_exists(rig->meta, meta_key(META_MAP, page, 0)));
    meta_drop(rig->meta, meta_key(META_MAP, page, 0));
}

static void apply_free(void *user, uint64_t block, uint64_t count)
{
    struct rig *rig = user;
    for (uint64_t end = block + count; block < end; block++) {
        uint64_t value = 0;
        assert_true(meta_get(rig->meta, l2p_key(block_group(block)), &value)); /* planning pinned it */
        assert_true(l2p_is_live(value, block_slot(block)));
        value &= ~(1ull << block_slot(block));
        meta_set(rig->meta, l2p_key(block_group(block)), l2p_live(value) ? value : 0);
        rig->freed++;
    }
}

static void apply_ref(void *user, uint64_t block, uint64_t extra)
{
    meta_set(((struct rig *)user)->meta, meta_key_flat(META_REF, block), extra);
}

static int apply_image(void *user, uint64_t id, bool with_space, const uint8_t *record, size_t bytes,
                       struct ps_error *err)
{
    struct rig *rig = user;
    return images_apply(rig->images, rig->applied, id, with_space, record, bytes, err);
}

static void apply_root(void *user, uint64_t id, uint64_t entry)
{
    struct rig *rig = user;
    images_set_root(rig->images, rig->applied, id, entry);
}

static void apply_gone(void *user, uint64_t id)
{
    images_remove(((struct rig *)user)->images, id);
}

static void apply_space(void *user, uint64_t id, const struct space *delta)
{
    space_add(&images_get(((struct rig *)user)->images, id)->space, delta);
}

void rig_apply_one(struct rig *rig)
{
    static const struct changes_visitor visitor = {
        .set = apply_set,
        .copy = apply_copy,
        .drop = apply_drop,
        .free = apply_free,
        .ref = apply_ref,
        .image = apply_image,
        .root = apply_root,
        .gone = apply_gone,
        .space = apply_space,
    };
    assert_true(rig->applied < rig->seq);
    const struct rig_batch *b = batch_of(rig, ++rig->applied);
    for (size_t i = 0; i < b->birth_count; i++) {
        const unsigned n = (unsigned)(b->births[i] & 15);
        meta_set(rig->meta, l2p_key(b->births[i] >> 4), l2p_make(place_make(64, 4096), n, (1u << n) - 1));
    }
    assert_int_equal(changes_visit(b->buf, b->changes.used, &visitor, rig, NULL), 0);
    view_applied(rig->view, rig->applied);
}

void rig_apply_all(struct rig *rig)
{
    while (rig->applied < rig->seq)
        rig_apply_one(rig);
}

/* ---- planning */

void rig_new_blocks(struct rig *rig, unsigned n, bool duplicate, uint64_t *entries)
{
    struct rig_batch *b = batch_of(rig, rig->seq);
    const uint64_t group = rig->next_group++;
    assert_true(n >= 1 && n <= GROUP_BLOCKS && b->birth_count < RIG_BIRTHS);
    b->births[b->birth_count++] = group << 4 | n;
    (void)memory_flash_slots(&rig->flash, rig->meta, meta_page_of(l2p_key(group)));
    for (unsigned i = 0; i < n; i++) {
        block_born(&b->plan, group << 3 | i);
        entries[i] = entry_data(group << 3 | i, 1 + (unsigned)(group % 64), duplicate);
    }
}

static void load_missing(struct rig *rig)
{
    const struct meta_key *missing;
    const size_t n = view_missing(rig->view, &missing);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++)
        (void)memory_flash_slots(&rig->flash, rig->meta, missing[i]);
    view_missing_clear(rig->view);
}

static void look(struct rig *rig, const struct image *image, uint64_t lba, unsigned count)
{
    view_missing_clear(rig->view);
    while (!map_can_put(rig->view, image, lba, count))
        load_missing(rig);
}

void rig_put(struct rig *rig, struct image *image, uint64_t lba, unsigned count, const uint64_t *entries)
{
    struct rig_batch *b = batch_of(rig, rig->seq);
    struct space delta = {{0}};
    const size_t used = b->changes.used, shadows = view_room(rig->view);
    look(rig, image, lba, count);
    map_put(&b->plan, image, lba, count, entries, &delta);
    assert_true(b->changes.used - used <= map_put_room(image->depth, count));
    assert_true(shadows - view_room(rig->view) <= map_put_shadows(image->depth, count));
    changes_space(&b->changes, image->id, &delta);
}

void rig_punch(struct rig *rig, struct image *image, uint64_t lba, unsigned count)
{
    struct rig_batch *b = batch_of(rig, rig->seq);
    struct space delta = {{0}};
    const size_t used = b->changes.used, shadows = view_room(rig->view);
    look(rig, image, lba, count);
    map_punch(&b->plan, image, lba, count, &delta);
    assert_true(b->changes.used - used <= map_put_room(image->depth, count));
    assert_true(shadows - view_room(rig->view) <= map_put_shadows(image->depth, count));
    changes_space(&b->changes, image->id, &delta);
}

uint64_t rig_share(struct rig *rig, uint64_t block)
{
    struct rig_batch *b = batch_of(rig, rig->seq);
    bool missing = false;
    view_missing_clear(rig->view);
    bool live = block_is_live(rig->view, block, &missing);
    while (missing || !block_can_share(rig->view, block)) {
        load_missing(rig);
        missing = false;
        live = block_is_live(rig->view, block, &missing);
    }
    if (!live)
        return 0;
    block_share(&b->plan, block);
    return entry_data(block, 1, true);
}

bool rig_release_piece(struct rig *rig)
{
    struct image *image = images_releasable(rig->images);
    if (!image)
        return false;
    struct plan *plan = &batch_of(rig, rig->seq)->plan;
    bool done = false;
    for (int steps = 0; steps < 3 && !done && changes_room(plan->changes) >= RELEASE_ROOM; steps++) {
        const size_t used = plan->changes->used, shadows = view_room(rig->view);
        view_missing_clear(rig->view);
        while (!release_can_step(rig->view, rig->images, image))
            load_missing(rig);
        release_step(plan, rig->images, image, &done);
        assert_true(plan->changes->used - used <= RELEASE_ROOM);
        assert_true(shadows - view_room(rig->view) <= RELEASE_SHADOWS);
    }
    return true;
}

void rig_release_all(struct rig *rig)
{
    rig_apply_all(rig);
    while (images_releasable(rig->images)) {
        (void)rig_plan(rig);
        assert_true(rig_release_piece(rig));
        rig_apply_all(rig);
    }
}

/* ---- management */

static void log_image(struct plan *plan, const struct image *image, bool with_space)
{
    uint8_t record[IMAGE_RECORD_MAX];
    changes_image(plan->changes, image->id, with_space, record,
                  image_encode(image, image->planned_root, record));
}

static struct image make(struct rig *rig, enum image_kind kind, const char *name, unsigned depth)
{
    struct image image = {.id = rig->next_image++, .kind = kind, .depth = (uint8_t)depth};
    image.size_bytes = image_span(depth) * IMAGE_BLOCK_BYTES;
    (void)snprintf(image.name, sizeof image.name, "%s", name);
    return image;
}

static struct plan *manage(struct rig *rig)
{
    rig_apply_all(rig);
    return rig_plan(rig);
}

struct image *rig_volume(struct rig *rig, const char *name, unsigned depth)
{
    struct plan *plan = manage(rig);
    const struct image image = make(rig, IMAGE_VOLUME, name, depth);
    log_image(plan, &image, true);
    rig_apply_all(rig);
    return images_get(rig->images, image.id);
}

struct image *rig_snapshot(struct rig *rig, struct image *volume, const char *name)
{
    struct plan *plan = manage(rig);
    struct image taken = make(rig, IMAGE_SNAPSHOT, name, volume->depth), next = *volume;
    taken.planned_root = volume->planned_root;
    taken.volume_id = volume->id;
    taken.parent_id = volume->parent_id;
    taken.space = volume->space;
    log_image(plan, &taken, true);
    next.planned_root &= ~ENTRY_OWN;
    next.parent_id = taken.id;
    log_image(plan, &next, false);
    rig_apply_all(rig);
    return images_get(rig->images, taken.id);
}

struct image *rig_clone(struct rig *rig, struct image *snapshot, const char *name)
{
    struct plan *plan = manage(rig);
    struct image clone = make(rig, IMAGE_VOLUME, name, snapshot->depth);
    clone.planned_root = snapshot->root & ~ENTRY_OWN;
    clone.parent_id = clone.origin_id = snapshot->id;
    clone.space = snapshot->space;
    log_image(plan, &clone, true);
    rig_apply_all(rig);
    return images_get(rig->images, clone.id);
}

void rig_restore(struct rig *rig, struct image *volume, struct image *snapshot)
{
    struct plan *plan = manage(rig);
    if (entry_type(volume->planned_root) == ENTRY_PAGE && entry_owns(volume->planned_root)) {
        struct image trash = make(rig, IMAGE_TRASH, "", volume->depth);
        trash.planned_root = volume->planned_root;
        log_image(plan, &trash, true);
    }
    struct image next = *volume;
    next.planned_root = snapshot->root & ~ENTRY_OWN;
    next.depth = snapshot->depth;
    next.size_bytes = snapshot->size_bytes;
    next.parent_id = snapshot->id;
    next.space = snapshot->space;
    log_image(plan, &next, true);
    rig_apply_all(rig);
}

void rig_deepen(struct rig *rig, struct image *volume, unsigned depth)
{
    struct plan *plan = manage(rig);
    struct image next = *volume;
    map_deepen(plan, &next, depth);
    next.size_bytes = image_span(depth) * IMAGE_BLOCK_BYTES;
    log_image(plan, &next, false);
    rig_apply_all(rig);
}

void rig_delete(struct rig *rig, struct image *image)
{
    struct plan *plan = manage(rig);
    struct image next = *image;
    next.deleted = true;
    next.cursor = 0;
    log_image(plan, &next, false);
    rig_apply_all(rig);
}

/* ---- memory */

struct key_list {
    struct meta_key keys[4096];
    size_t count;
};

static void list_key(void *user, struct meta_key page)
{
    struct key_list *list = user;
    assert_true(list->count < 4096);
    list->keys[list->count++] = page;
}

void rig_forget(struct rig *rig)
{
    static struct run_writer run;
    static struct key_list list;
    rig_apply_all(rig);
    list.count = 0;
    meta_each_page(rig->meta, META_MAP, list_key, &list);
    meta_each_page(rig->meta, META_L2P, list_key, &list);
    meta_each_page(rig->meta, META_REF, list_key, &list);
    for (size_t i = 0; i < list.count; i++)
        (void)memory_flash_slots(&rig->flash, rig->meta, list.keys[i]);
    run_begin(&run, &rig->flash.sink, ++rig->cuts);
    meta_cut(rig->meta, &run, &rig->flash.sink, list.keys, list.count, true, rig->applied);
    run_end(&run);
    memory_flash_flush(&rig->flash);
    meta_cut_done(rig->meta);
    for (unsigned i = 0; i < 300; i++) { /* more than the cache holds push the others out */
        const struct meta_key filler = meta_key(META_SEG, ++rig->fillers, 0);
        meta_set(rig->meta, filler, 1);
    }
    meta_shrink(rig->meta);
    for (unsigned i = 0; i < 300; i++)
        meta_drop(rig->meta, meta_key(META_SEG, rig->fillers - i, 0));
}

/* ---- looking */

uint64_t rig_entry(struct rig *rig, const struct image *image, uint64_t lba, bool planned)
{
    const uint64_t *slots;
    uint64_t hole_end;
    view_missing_clear(rig->view);
    while (!map_leaf(rig->view, planned ? image->planned_root : image->root, image->depth, lba, planned,
                     &slots, &hole_end))
        load_missing(rig);
    if (slots)
        return slots[lba % META_SLOTS];
    assert_true(hole_end > lba && hole_end % META_SLOTS == 0);
    return 0;
}

static uint64_t value_of(struct rig *rig, struct meta_key key)
{
    return memory_flash_slots(&rig->flash, rig->meta, meta_page_of(key))[meta_slot_of(key)];
}

uint64_t rig_extra(struct rig *rig, uint64_t block)
{
    return value_of(rig, meta_key_flat(META_REF, block));
}

bool rig_is_live(struct rig *rig, uint64_t block)
{
    return l2p_is_live(value_of(rig, l2p_key(block_group(block))), block_slot(block));
}

/* ---- the deep check */

struct owners {
    uint16_t *pages, *blocks; /* how many own each */
};

static void walk(struct rig *rig, uint64_t entry, unsigned level, bool owned, struct owners *owners,
                 struct space *space)
{
    uint64_t slots[META_SLOTS];
    if (entry_type(entry) != ENTRY_PAGE) {
        assert_int_equal(entry, 0);
        return;
    }
    owned &= entry_owns(entry);
    if (owned)
        owners->pages[entry_id(entry)]++;
    assert_true(meta_exists(rig->meta, entry_page_key(entry)));
    memcpy(slots, memory_flash_slots(&rig->flash, rig->meta, entry_page_key(entry)), sizeof slots);
    for (unsigned i = 0; i < META_SLOTS; i++) {
        if (level > 1) {
            walk(rig, slots[i], level - 1, owned, owners, space);
            continue;
        }
        space_count(space, slots[i], +1);
        if (entry_type(slots[i]) == ENTRY_DATA) {
            assert_true(rig_is_live(rig, entry_id(slots[i])));
            if (owned && entry_owns(slots[i]))
                owners->blocks[entry_id(slots[i])]++;
        }
    }
}

/* What is left of an image that is half taken apart: only what lies behind its cursor. Nobody reads it, so
 * what it does not own may be gone. */
static void walk_rest(struct rig *rig, const struct image *image, uint64_t entry, unsigned level,
                      uint64_t first, struct owners *owners)
{
    uint64_t slots[META_SLOTS];
    if (entry_type(entry) != ENTRY_PAGE || !entry_owns(entry) || first + image_span(level) <= image->cursor)
        return;
    owners->pages[entry_id(entry)]++;
    memcpy(slots, memory_flash_slots(&rig->flash, rig->meta, entry_page_key(entry)), sizeof slots);
    for (unsigned i = 0; i < META_SLOTS; i++)
        if (level > 1)
            walk_rest(rig, image, slots[i], level - 1, first + i * image_span(level - 1), owners);
        else if (entry_type(slots[i]) == ENTRY_DATA && entry_owns(slots[i]))
            owners->blocks[entry_id(slots[i])]++;
}

struct check {
    struct rig *rig;
    struct owners owners;
};

static void check_image(void *user, struct image *image)
{
    struct check *check = user;
    struct space space = {{0}};
    assert_int_equal(image->root, image->planned_root);
    if (image->cursor || image->kind == IMAGE_TRASH) {
        walk_rest(check->rig, image, image->root, image->depth, 0, &check->owners);
        return;
    }
    walk(check->rig, image->root, image->depth, true, &check->owners, &space);
    if (!image->deleted && image->kind != IMAGE_TRASH)
        assert_memory_equal(&image->space, &space, sizeof space);
}

static void check_page(void *user, struct meta_key page)
{
    struct check *check = user;
    if (check->owners.pages[meta_page_number(page)] != 1)
        fail_msg("page %llu is owned %u times", (unsigned long long)meta_page_number(page),
                 check->owners.pages[meta_page_number(page)]);
}

uint64_t rig_check(struct rig *rig)
{
    uint64_t live = 0;
    rig_apply_all(rig);
    struct check check = {rig, {calloc(rig->next_page, 2), calloc(rig->next_group * 8, 2)}};
    images_each(rig->images, check_image, &check);
    meta_each_page(rig->meta, META_MAP, check_page, &check);
    for (uint64_t p = 1; p < rig->next_page; p++)
        assert_int_equal(check.owners.pages[p], meta_exists(rig->meta, meta_key(META_MAP, p, 0)));
    for (uint64_t b = 8; b < rig->next_group * 8; b++) {
        const unsigned n = check.owners.blocks[b];
        assert_int_equal(rig_is_live(rig, b), n > 0);
        assert_int_equal(rig_extra(rig, b), n ? n - 1 : 0);
        live += n > 0;
    }
    free(check.owners.pages);
    free(check.owners.blocks);
    return live;
}
