/* Against a list of all batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "common/prng.h"
#include "node/pod/log_spans.h"

enum {
    CAPACITY = 8,
    SEQS = 512
};

struct model {
    uint64_t first, end; /* known are [first, end) */
    uint32_t segment[SEQS];
};

static struct log_entry entry_of(uint64_t seq, uint32_t segment)
{
    return (struct log_entry){.hash = seq * 7, .previous = (seq - 1) * 7, .segment = segment, .bytes = 4096};
}

static void put(struct log_spans *spans, struct model *m, uint64_t seq, uint32_t segment)
{
    const struct log_entry e = entry_of(seq, segment);
    log_spans_put(spans, seq, &e);
    if (seq < m->first || seq > m->end)
        m->first = seq;
    m->end = seq + 1;
    m->segment[seq] = segment;
}

/* The oldest span goes when there are too many. */
static void forget_oldest(struct model *m)
{
    unsigned spans = 0;
    for (uint64_t seq = m->end; seq-- > m->first;) {
        spans += seq + 1 == m->end || m->segment[seq] != m->segment[seq + 1];
        if (spans > CAPACITY) {
            m->first = seq + 1;
            return;
        }
    }
}

static void check(const struct log_spans *spans, const struct model *m)
{
    assert_int_equal(log_spans_first(spans), m->first < m->end ? m->first : 0);
    for (uint64_t seq = 0; seq < SEQS; seq++) {
        const struct log_span *span = log_spans_find(spans, seq);
        if (seq < m->first || seq >= m->end) {
            assert_null(span);
            continue;
        }
        assert_true(span && span->first <= seq && span->last >= seq && span->last < m->end);
        assert_int_equal(span->segment, m->segment[seq]);
        assert_int_equal(span->previous, (span->first - 1) * 7);
        const struct log_span *after = log_spans_after(spans, span);
        assert_true(after ? after->first == span->last + 1 : span->last + 1 == m->end);
        assert_true(log_spans_bytes(spans, seq) >= (m->end - seq) * 4096);
    }
    assert_int_equal(log_spans_bytes(spans, m->end), 0);
}

static void it_knows_what_a_list_of_all_batches_knows(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct log_spans *spans = log_spans_create(CAPACITY);
        struct model m = {1, 1, {0}};
        struct prng p;
        prng_seed(&p, seed);
        uint32_t segment = 1;
        for (int i = 0; i < 200; i++) {
            const uint64_t known = m.end - m.first, what = prng_below(&p, 20);
            if (what == 0 && known) {
                const uint64_t at = m.first + prng_below(&p, known);
                log_spans_drop_after(spans, at);
                m.end = at + 1;
                segment++;
            } else if (what == 1 && known) {
                const uint64_t at = m.first + prng_below(&p, known);
                log_spans_drop_through(spans, at);
                m.first = at + 1;
                segment++;                   /* that one was freed */
            } else if (what == 2 && known) { /* cut off and gone on elsewhere, in one */
                put(spans, &m, m.first + prng_below(&p, known), ++segment);
            } else if (what == 3 && m.end + 10 < SEQS) {
                put(spans, &m, m.end + 5, ++segment);
            } else if (m.end + 1 < SEQS) {
                segment += prng_below(&p, 8) == 0;
                put(spans, &m, m.end, segment);
            }
            forget_oldest(&m);
            check(spans, &m);
        }
        log_spans_destroy(spans);
    }
}

static void older_ones_are_put_before_the_oldest_while_there_is_room(void **state)
{
    (void)state;
    struct log_spans *spans = log_spans_create(CAPACITY);
    struct model m = {.first = 400, .end = 400};
    put(spans, &m, 400, 90);
    put(spans, &m, 401, 90);
    for (uint32_t i = 1; i < CAPACITY; i++) {
        const struct log_span span = {m.first - 10, m.first - 1, (m.first - 11) * 7, 40960, 90 - i, 0};
        assert_true(log_spans_put_before(spans, &span));
        m.first -= 10;
        for (uint64_t seq = m.first; seq < m.first + 10; seq++)
            m.segment[seq] = 90 - i;
        check(spans, &m);
    }
    const struct log_span more = {m.first - 10, m.first - 1, 0, 4096, 1, 0};
    assert_false(log_spans_put_before(spans, &more));
    /* What was dropped leaves the oldest span known in part: nothing goes before it. */
    log_spans_drop_through(spans, m.first + 12);
    m.first += 13;
    check(spans, &m);
    assert_false(log_spans_put_before(spans, &more));
    log_spans_destroy(spans);
}

static void into_an_empty_one_goes_anything(void **state)
{
    (void)state;
    struct log_spans *spans = log_spans_create(CAPACITY);
    assert_int_equal(log_spans_first(spans), 0);
    assert_null(log_spans_find(spans, 1));
    log_spans_drop_after(spans, 5);
    log_spans_drop_through(spans, 9);
    const struct log_span span = {20, 29, 19 * 7, 40960, 3, 0};
    assert_true(log_spans_put_before(spans, &span));
    assert_int_equal(log_spans_first(spans), 20);
    assert_ptr_equal(log_spans_find(spans, 25), log_spans_find(spans, 29));
    log_spans_destroy(spans);
}

static void a_longer_list_keeps_what_was_known(void **state)
{
    struct log_spans *spans = log_spans_create(CAPACITY);
    (void)state;
    uint64_t seq = 1;
    for (; seq <= CAPACITY + 3; seq++) { /* it has begun anew at its start */
        const struct log_entry e = entry_of(seq, (uint32_t)seq);
        log_spans_put(spans, seq, &e);
    }
    log_spans_grow(spans, 2 * CAPACITY);
    assert_int_equal(log_spans_first(spans), 4);
    for (; seq <= 2 * CAPACITY + 3; seq++) {
        const struct log_entry e = entry_of(seq, (uint32_t)seq);
        log_spans_put(spans, seq, &e);
    }
    assert_int_equal(log_spans_first(spans), 4);
    for (seq = 4; seq <= 2 * CAPACITY + 3; seq++)
        assert_int_equal(log_spans_find(spans, seq)->segment, seq);
    log_spans_destroy(spans);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_knows_what_a_list_of_all_batches_knows),
        cmocka_unit_test(older_ones_are_put_before_the_oldest_while_there_is_room),
        cmocka_unit_test(into_an_empty_one_goes_anything),
        cmocka_unit_test(a_longer_list_keeps_what_was_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
