#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "common/prng.h"
#include "node/pod/log_index.h"

enum {
    CAPACITY = 16
};

static struct log_entry entry_of(uint64_t seq)
{
    return (struct log_entry){.hash = seq * 7, .segment = (uint32_t)seq};
}

static void put(struct log_index *index, uint64_t seq)
{
    const struct log_entry e = entry_of(seq);
    log_index_put(index, seq, &e);
}

static void assert_range(const struct log_index *index, uint64_t first, uint64_t end)
{
    assert_int_equal(log_index_first(index), first < end ? first : 0);
    for (uint64_t seq = first > 3 ? first - 3 : 0; seq < end + 3; seq++) {
        const struct log_entry *e = log_index_get(index, seq);
        if (seq >= first && seq < end)
            assert_true(e && e->hash == seq * 7);
        else
            assert_null(e);
    }
}

static void an_empty_index_knows_nothing(void **state)
{
    (void)state;
    struct log_index *index = log_index_create(CAPACITY);
    assert_range(index, 0, 0);
    log_index_drop_after(index, 5);
    log_index_drop_through(index, 9);
    assert_range(index, 0, 0);
    log_index_destroy(index);
}

static void the_oldest_are_forgotten(void **state)
{
    (void)state;
    struct log_index *index = log_index_create(CAPACITY);
    for (uint64_t seq = 1; seq <= 100; seq++) {
        put(index, seq);
        assert_range(index, seq > CAPACITY ? seq - CAPACITY + 1 : 1, seq + 1);
    }
    log_index_destroy(index);
}

static void it_starts_afresh_behind_a_gap(void **state)
{
    (void)state;
    struct log_index *index = log_index_create(CAPACITY);
    put(index, 5);
    put(index, 6);
    put(index, 9);
    assert_range(index, 9, 10);
    put(index, 3);
    assert_range(index, 3, 4);
    log_index_destroy(index);
}

static void it_grows_backwards_while_there_is_room(void **state)
{
    (void)state;
    struct log_index *index = log_index_create(CAPACITY);
    struct log_entry e = entry_of(40);
    assert_true(log_index_put_before(index, 40, &e)); /* into an empty one */
    put(index, 41);
    for (uint64_t seq = 39; seq > 41 - CAPACITY; seq--) {
        e = entry_of(seq);
        assert_true(log_index_put_before(index, seq, &e));
        assert_range(index, seq, 42);
    }
    e = entry_of(41 - CAPACITY);
    assert_false(log_index_put_before(index, 41 - CAPACITY, &e));
    assert_range(index, 42 - CAPACITY, 42);
    log_index_destroy(index);
}

/* Against the two bounds that a model keeps. */
static void it_agrees_with_a_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct prng p;
        struct log_index *index = log_index_create(CAPACITY);
        uint64_t first = 1, end = 1;
        prng_seed(&p, seed);
        for (int i = 0; i < 400; i++) {
            const uint64_t at = first + prng_below(&p, 24);
            switch (prng_below(&p, 6)) {
            case 0:
                log_index_drop_after(index, at);
                end = end > at + 1 ? at + 1 : end;
                break;
            case 1:
                if (at > end)
                    break;
                log_index_drop_through(index, at);
                first = at + 1;
                end = end < first ? first : end;
                break;
            case 2:
                if (first < end)
                    log_index_move(index, end - 1, 77, 88);
                if (first < end)
                    assert_true(log_index_get(index, end - 1)->segment == 77);
                break;
            default:
                put(index, end);
                end++;
                first = end - first > CAPACITY ? end - CAPACITY : first;
            }
            assert_range(index, first, end);
        }
        log_index_destroy(index);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_index_knows_nothing),
        cmocka_unit_test(the_oldest_are_forgotten),
        cmocka_unit_test(it_starts_afresh_behind_a_gap),
        cmocka_unit_test(it_grows_backwards_while_there_is_room),
        cmocka_unit_test(it_agrees_with_a_model),
    };
    return cmocka_run_group_tests_name("log_index", tests, NULL, NULL);
}
