/* Any bytes as the changes of a batch. What is visited can exist, and written again and
 * visited again it is the same. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/volume/changes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    LIMIT = 16 << 10
};

struct copy {
    struct changes changes;
    uint64_t visited;
};

static void set(void *user, uint64_t page, unsigned slot, uint64_t entry)
{
    struct copy *c = user;
    assert(page >> 51 == 0 && slot < META_SLOTS);
    c->visited++;
    changes_set(&c->changes, page, slot, entry);
}
static void copy(void *user, uint64_t to, uint64_t from)
{
    struct copy *c = user;
    assert(to >> 51 == 0 && from >> 51 == 0);
    c->visited++;
    changes_copy(&c->changes, to, from);
}
static void drop(void *user, uint64_t page)
{
    struct copy *c = user;
    assert(page >> 51 == 0);
    c->visited++;
    changes_drop(&c->changes, page);
}
static void free_blocks(void *user, uint64_t block, uint64_t count)
{
    struct copy *c = user;
    assert(count > 0 && block + count <= 1ull << 52 && block < 1ull << 52);
    c->visited++;
    changes_free(&c->changes, block, count);
}
static void ref(void *user, uint64_t block, uint64_t extra)
{
    struct copy *c = user;
    assert(block >> 52 == 0);
    c->visited++;
    changes_ref(&c->changes, block, extra);
}
static int image(void *user, uint64_t id, bool with_space, const uint8_t *record, size_t bytes,
                 struct ps_error *err)
{
    struct copy *c = user;
    (void)err;
    assert(bytes <= CHANGES_IMAGE_MAX);
    c->visited++;
    changes_image(&c->changes, id, with_space, record, bytes);
    return 0;
}
static void root(void *user, uint64_t id, uint64_t entry)
{
    struct copy *c = user;
    c->visited++;
    changes_root(&c->changes, id, entry);
}
static void gone(void *user, uint64_t id)
{
    struct copy *c = user;
    c->visited++;
    changes_gone(&c->changes, id);
}
static void space(void *user, uint64_t id, const struct space *delta)
{
    struct copy *c = user;
    c->visited++;
    changes_space(&c->changes, id, delta);
}
static void counters(void *user, const uint64_t amounts[COUNTERS])
{
    struct copy *c = user;
    c->visited++;
    changes_counters(&c->changes, amounts);
}
static void next(void *user, uint64_t page, uint64_t image_id)
{
    struct copy *c = user;
    c->visited++;
    changes_next(&c->changes, page, image_id);
}
static void done(void *user, const uint8_t operation[16], int status, uint64_t image_id, uint64_t unix_ns)
{
    struct copy *c = user;
    assert(status <= 0 && status >= -255);
    c->visited++;
    changes_done(&c->changes, operation, status, image_id, unix_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct changes_visitor visitor = {
        .set = set,
        .copy = copy,
        .drop = drop,
        .free = free_blocks,
        .ref = ref,
        .image = image,
        .root = root,
        .gone = gone,
        .space = space,
        .counters = counters,
        .next = next,
        .done = done,
    };
    static uint8_t first[40 * LIMIT], second[40 * LIMIT];
    struct copy a = {.visited = 0}, b = {.visited = 0};
    if (size > LIMIT)
        return 0;
    changes_begin(&a.changes, first, sizeof first);
    const int rc = changes_visit(data, size, &visitor, &a, NULL);
    assert(rc == 0 || rc == PS_EDAMAGED);
    assert(changes_visit(data, size, &(struct changes_visitor){0}, NULL, NULL) == rc);
    changes_begin(&b.changes, second, sizeof second);
    assert(changes_visit(first, a.changes.used, &visitor, &b, NULL) == 0);
    assert(a.visited == b.visited && a.changes.used == b.changes.used);
    assert(memcmp(first, second, a.changes.used) == 0);
    return 0;
}
