#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/prng.h"
#include "node/volume/changes.h"

enum op {
    SET,
    COPY,
    DROP,
    FREE,
    REF,
    IMAGE,
    ROOT,
    GONE,
    SPACE,
    NUMBERS,
    NEXT,
    DONE,
    OPS
};
enum {
    MANY = 2000,
    CAPACITY = 512 * 1024
};

struct change {
    enum op op;
    uint64_t a, b, c;
    uint64_t numbers[COUNTERS];
    uint8_t bytes[CHANGES_IMAGE_MAX];
};

struct script {
    struct change *all;
    size_t count, seen;
    uint8_t *buf;
    struct changes changes;
};

static int setup(void **state)
{
    struct script *s = calloc(1, sizeof *s);
    s->all = calloc(MANY, sizeof s->all[0]);
    s->buf = malloc(CAPACITY);
    changes_begin(&s->changes, s->buf, CAPACITY);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct script *s = *state;
    free(s->all);
    free(s->buf);
    free(s);
    return 0;
}

/* ---- seeing again what was written */

static const struct change *expect(void *user, enum op op, uint64_t a, uint64_t b)
{
    struct script *s = user;
    assert_true(s->seen < s->count);
    const struct change *c = &s->all[s->seen++];
    if (c->op != op || c->a != a || c->b != b)
        fail_msg("change %zu: op %d (%#llx, %#llx) instead of %d (%#llx, %#llx)", s->seen - 1, op,
                 (unsigned long long)a, (unsigned long long)b, c->op, (unsigned long long)c->a,
                 (unsigned long long)c->b);
    return c;
}

static void see_set(void *user, uint64_t page, unsigned slot, uint64_t entry)
{
    assert_int_equal(expect(user, SET, page, slot)->c, entry);
}
static void see_copy(void *user, uint64_t to, uint64_t from)
{
    (void)expect(user, COPY, to, from);
}
static void see_drop(void *user, uint64_t page)
{
    (void)expect(user, DROP, page, 0);
}
static void see_free(void *user, uint64_t block, uint64_t count)
{
    (void)expect(user, FREE, block, count);
}
static void see_ref(void *user, uint64_t block, uint64_t extra)
{
    (void)expect(user, REF, block, extra);
}
static int see_image(void *user, uint64_t id, bool with_space, const uint8_t *record, size_t bytes,
                     struct ps_error *err)
{
    (void)err;
    const struct change *c = expect(user, IMAGE, id, with_space);
    assert_int_equal(c->c, bytes);
    assert_memory_equal(record, c->bytes, bytes);
    return 0;
}
static void see_root(void *user, uint64_t id, uint64_t entry)
{
    (void)expect(user, ROOT, id, entry);
}
static void see_gone(void *user, uint64_t id)
{
    (void)expect(user, GONE, id, 0);
}
static void see_space(void *user, uint64_t id, const struct space *delta)
{
    assert_memory_equal(delta->n, expect(user, SPACE, id, 0)->numbers, sizeof delta->n);
}
static void see_counters(void *user, const uint64_t amounts[COUNTERS])
{
    assert_memory_equal(amounts, expect(user, NUMBERS, 0, 0)->numbers, COUNTERS * sizeof amounts[0]);
}
static void see_next(void *user, uint64_t page, uint64_t image)
{
    (void)expect(user, NEXT, page, image);
}
static void see_done(void *user, const uint8_t operation[16], int status, uint64_t image, uint64_t unix_ns)
{
    const struct change *c = expect(user, DONE, image, unix_ns);
    assert_memory_equal(operation, c->bytes, 16);
    assert_int_equal(status, -(int)c->c);
}

static const struct changes_visitor visitor = {
    see_set,  see_copy, see_drop,  see_free,     see_ref,  see_image,
    see_root, see_gone, see_space, see_counters, see_next, see_done,
};

static void write_change(struct changes *c, const struct change *x)
{
    const size_t before = c->used;
    struct space space;
    switch (x->op) {
    case SET:
        changes_set(c, x->a, (unsigned)x->b, x->c);
        assert_true(c->used - before <= CHANGES_SET_BYTES);
        break;
    case COPY:
        changes_copy(c, x->a, x->b);
        break;
    case DROP:
        changes_drop(c, x->a);
        break;
    case FREE:
        changes_free(c, x->a, x->b);
        assert_true(c->used - before <= CHANGES_REF_BYTES);
        break;
    case REF:
        changes_ref(c, x->a, x->b);
        assert_true(c->used - before <= CHANGES_REF_BYTES);
        break;
    case IMAGE:
        changes_image(c, x->a, x->b != 0, x->bytes, x->c);
        break;
    case ROOT:
        changes_root(c, x->a, x->b);
        break;
    case GONE:
        changes_gone(c, x->a);
        break;
    case SPACE:
        memcpy(space.n, x->numbers, sizeof space.n);
        changes_space(c, x->a, &space);
        break;
    case NUMBERS:
        changes_counters(c, x->numbers);
        break;
    case NEXT:
        changes_next(c, x->a, x->b);
        break;
    case DONE:
        changes_done(c, x->bytes, -(int)x->c, x->a, x->b);
        break;
    case OPS:
        break;
    }
}

/* Numbers of every length. */
static uint64_t number(struct prng *prng, unsigned bits)
{
    return prng_next(prng) >> (64 - bits) >> prng_below(prng, bits);
}

static void random_change(struct prng *prng, const struct change *before, struct change *x)
{
    *x = (struct change){.op = (enum op)prng_below(prng, OPS)};
    if (before &&
        prng_chance(prng, 1, 6)) { /* the page and about the slots of the change before, whatever that was */
        *x = (struct change){
            .op = SET, .a = before->a % (1ull << 51), .b = (before->b + prng_below(prng, 3)) % 512};
        x->c = prng_next(prng);
        return;
    }
    if (before && before->op == SET && before->b < 511 && prng_chance(prng, 5, 6)) {
        /* A run of slots, its ids near each other or not. */
        *x = (struct change){.op = SET, .a = before->a, .b = before->b + 1};
        x->c = prng_chance(prng, 1, 2) ? before->c + 1 : prng_next(prng);
        return;
    }
    switch (x->op) {
    case SET:
        x->a = number(prng, 51);
        x->b = prng_below(prng, 512);
        x->c = prng_next(prng);
        break;
    case COPY:
        x->b = number(prng, 51);
        /* fall through */
    case DROP:
        x->a = number(prng, 51);
        break;
    case FREE:
        x->a = number(prng, 51);
        x->b = 1 + prng_below(prng, 600);
        break;
    case REF:
        x->a = number(prng, 52);
        x->b = number(prng, 64);
        break;
    case IMAGE:
        x->a = number(prng, 64);
        x->b = prng_below(prng, 2);
        x->c = prng_below(prng, CHANGES_IMAGE_MAX + 1);
        prng_fill(prng, x->bytes, x->c);
        break;
    case DONE:
        prng_fill(prng, x->bytes, 16);
        x->c = prng_below(prng, 30);
        x->a = number(prng, 64);
        x->b = number(prng, 64);
        break;
    case SPACE:
        for (int i = 0; i < SPACE_COUNTS; i++)
            x->numbers[i] = prng_chance(prng, 1, 2) ? number(prng, 64) : 0 - number(prng, 64);
        x->a = number(prng, 64);
        break;
    case NUMBERS:
        for (int i = 0; i < COUNTERS; i++)
            x->numbers[i] = number(prng, 64);
        break;
    case ROOT:
    case NEXT:
        x->b = prng_next(prng);
        /* fall through */
    default:
        x->a = number(prng, 64);
        break;
    }
}

static void every_change_comes_back_in_order(void **state)
{
    struct script *s = *state;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct prng prng;
        prng_seed(&prng, seed);
        if (seed == 1 || seed == 150)
            (void)printf("changes: seed %llu\n", (unsigned long long)seed);
        changes_begin(&s->changes, s->buf, CAPACITY);
        s->count = 1 + prng_below(&prng, MANY);
        s->seen = 0;
        for (size_t i = 0; i < s->count; i++) {
            random_change(&prng, i ? &s->all[i - 1] : NULL, &s->all[i]);
            write_change(&s->changes, &s->all[i]);
        }
        if (changes_visit(s->buf, s->changes.used, &visitor, s, NULL) || s->seen != s->count)
            fail_msg("seed %llu does not come back", (unsigned long long)seed);
        assert_int_equal(changes_visit(s->buf, s->changes.used, &(struct changes_visitor){0}, NULL, NULL), 0);
    }
}

static void count_set(void *user, uint64_t page, unsigned slot, uint64_t entry)
{
    (void)page, (void)slot, (void)entry;
    ++*(unsigned *)user;
}

static void changes_cut_short_are_whole_up_to_the_cut_or_malformed(void **state)
{
    struct script *s = *state;
    struct prng prng;
    prng_seed(&prng, 11);
    size_t ends[200];
    s->count = 200;
    for (size_t i = 0; i < s->count; i++) {
        random_change(&prng, NULL, &s->all[i]);
        write_change(&s->changes, &s->all[i]);
        ends[i] = s->changes.used;
    }
    size_t whole = 0;
    for (size_t n = 0; n <= s->changes.used; n++) {
        while (whole < s->count && ends[whole] <= n)
            whole++;
        const bool at_end = n == 0 || (whole > 0 && ends[whole - 1] == n);
        struct ps_error err = {0};
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, s->buf, n);
        s->seen = 0;
        const int rc = changes_visit(exact, n, &visitor, s, &err);
        free(exact);
        assert_int_equal(rc, at_end ? 0 : PS_EDAMAGED);
        assert_int_equal(s->seen, whole);
        assert_true(at_end || err.detail[0]);
    }
}

static void neighbouring_slots_take_a_few_bytes_each(void **state)
{
    struct script *s = *state;
    for (unsigned i = 0; i < 512; i++)
        changes_set(&s->changes, 77, i, 1ull << 60 | 1ull << 59 | 9ull << 52 | (0x123456789 + i));
    assert_true(s->changes.used < 512 * 2 + 32);
    unsigned n = 0;
    assert_int_equal(
        changes_visit(s->buf, s->changes.used, &(struct changes_visitor){.set = count_set}, &n, NULL), 0);
    assert_int_equal(n, 512);
}

/* Only slots that follow each other, with nothing between, are one run. */
static void a_run_of_slots_ends_at_a_gap_and_at_another_change(void **state)
{
    struct script *s = *state;
    const struct change all[] = {
        {.op = SET, .a = 5, .b = 10, .c = 1}, {.op = SET, .a = 5, .b = 12, .c = 2},
        {.op = SET, .a = 5, .b = 11, .c = 3}, {.op = COPY, .a = 6, .b = 5},
        {.op = SET, .a = 5, .b = 12, .c = 4}, {.op = SET, .a = 6, .b = 13, .c = 5},
        {.op = SET, .a = 6, .b = 14, .c = 6}, {.op = DROP, .a = 6},
    };
    s->count = sizeof all / sizeof all[0];
    memcpy(s->all, all, sizeof all);
    for (size_t i = 0; i < s->count; i++)
        write_change(&s->changes, &all[i]);
    assert_int_equal(changes_visit(s->buf, s->changes.used, &visitor, s, NULL), 0);
    assert_int_equal(s->seen, s->count);
}

static void malformed_changes_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[28];
        size_t n;
        int rc;
    } cases[] = {
        {{0}, 1, PS_EDAMAGED}, /* unknown */
        {{13}, 1, PS_EDAMAGED},
        {{0xff}, 1, PS_EDAMAGED},
        {{1, 5, 0, 1, 0}, 5, 0},
        {{1, 5, 0, 0}, 4, PS_EDAMAGED},             /* a run of none */
        {{1, 5, 0x80, 4, 1, 0}, 6, PS_EDAMAGED},    /* slot 512 */
        {{1, 5, 0xff, 3, 2, 0, 0}, 7, PS_EDAMAGED}, /* slots 511 and 512 */
        {{1, 5, 0xff, 3, 1, 0}, 6, 0},
        {{1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 4, 0, 1, 0}, 12, PS_EDAMAGED}, /* page 2^51 */
        {{2, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 4, 1}, 10, PS_EDAMAGED},
        {{2, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 4}, 10, PS_EDAMAGED},
        {{2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 3, 1}, 10, 0},
        {{3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 4}, 9, PS_EDAMAGED},
        {{4, 8, 1}, 3, 0},
        {{4, 8, 0}, 3, PS_EDAMAGED}, /* no block */
        {{4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 7, 1}, 10, 0},
        {{4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 7, 2}, 10, PS_EDAMAGED}, /* beyond 52 bits */
        {{4, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 12, PS_EDAMAGED},
        {{5, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 8, 1}, 10, PS_EDAMAGED},
        {{6, 1, 0, 0x81, 4}, 5, PS_EDAMAGED}, /* a record of 513 bytes */
        {{6, 1, 0, 3, 1, 2}, 6, PS_EDAMAGED},
        {{6, 1, 0, 2, 1, 2}, 6, 0},
        {{8, 1, 2, 3, 4}, 5, PS_EDAMAGED}, /* three of four counts */
        {{8, 1, 2, 3, 4, 5}, 6, 0},
        {{9, 1, 7}, 3, 0},                       /* fewer counters: an older program's */
        {{9, 8, 1, 1, 1, 1, 1, 1, 1, 1}, 10, 0}, /* more: a newer one's */
        {{9, 3, 1, 1}, 4, PS_EDAMAGED},
        {{9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0}, 12, PS_EDAMAGED},
        {{11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
         16,
         PS_EDAMAGED}, /* an operation's id cut short */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (changes_visit(cases[i].bytes, cases[i].n, &(struct changes_visitor){0}, NULL, NULL) !=
            cases[i].rc)
            fail_msg("case %zu: not %d", i, cases[i].rc);
}

static int refuse_image(void *user, uint64_t id, bool with_space, const uint8_t *record, size_t bytes,
                        struct ps_error *err)
{
    (void)user, (void)id, (void)with_space, (void)record, (void)bytes, (void)err;
    return PS_ELIMIT;
}

static void a_refused_image_ends_the_visit(void **state)
{
    struct script *s = *state;
    unsigned n = 0;
    changes_image(&s->changes, 1, true, "x", 1);
    changes_set(&s->changes, 1, 1, 1);
    const struct changes_visitor v = {.image = refuse_image, .set = count_set};
    assert_int_equal(changes_visit(s->buf, s->changes.used, &v, &n, NULL), PS_ELIMIT);
    assert_int_equal(n, 0);
}

/* As first written: must not change unseen. */
static void changes_are_written_as_first_written(void **state)
{
    static const uint8_t golden[] = {
#include "golden_changes.h"
    };
    struct script *s = *state;
    struct changes *c = &s->changes;
    const uint64_t counters[COUNTERS] = {1, 2, 3, 4, 5, 600};
    changes_set(c, 300, 7, 0x1c20000000000005);
    changes_set(c, 300, 8, 0x1c20000000000006);
    changes_set(c, 300, 9, 0);
    changes_copy(c, 301, 300);
    changes_drop(c, 300);
    changes_free(c, 0x12345, 3);
    changes_ref(c, 0x54321, 2);
    changes_image(c, 9, true, "record", 6);
    changes_root(c, 9, 0x380000000000012d);
    changes_gone(c, 8);
    changes_space(c, 9, &(struct space){{1, -2, 3, -400}});
    changes_counters(c, counters);
    changes_next(c, 302, 10);
    changes_done(c, (const uint8_t *)"0123456789abcdef", PS_EEXISTS, 9, 1ull << 60);
    assert_int_equal(c->used, sizeof golden);
    assert_memory_equal(s->buf, golden, sizeof golden);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_change_comes_back_in_order),
        TEST(changes_cut_short_are_whole_up_to_the_cut_or_malformed),
        TEST(neighbouring_slots_take_a_few_bytes_each),
        TEST(a_run_of_slots_ends_at_a_gap_and_at_another_change),
        cmocka_unit_test(malformed_changes_are_refused),
        TEST(a_refused_image_ends_the_visit),
        TEST(changes_are_written_as_first_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
