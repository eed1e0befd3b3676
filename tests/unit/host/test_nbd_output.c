#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "node/host/nbd_output.h"

static struct nbd_output out;

static struct nbd_parcel parcel_of(char *a, char *b)
{
    struct nbd_parcel parcel = {.nruns = b ? 2 : 1};
    parcel.runs[0] = (struct iovec){.iov_base = a, .iov_len = strlen(a)};
    if (b)
        parcel.runs[1] = (struct iovec){.iov_base = b, .iov_len = strlen(b)};
    return parcel;
}

/* All there is to send, as text. */
static const char *pending(void)
{
    static char text[NBD_OUTPUT_RING + 1000];
    struct iovec spans[64];
    const unsigned n = nbd_output_gather(&out, spans, 64);
    size_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        memcpy(text + at, spans[i].iov_base, spans[i].iov_len);
        at += spans[i].iov_len;
    }
    text[at] = 0;
    return text;
}

static void pieces_and_parcels_keep_their_order(void **state)
{
    (void)state;
    nbd_output_init(&out);
    char one[] = "ONE", two[] = "TWO", three[] = "THREE";
    struct nbd_parcel a = parcel_of(one, two), b = parcel_of(three, NULL);
    nbd_output_copy(&out, "a", 1);
    nbd_output_copy(&out, "b", 1);
    nbd_output_parcel(&out, &a);
    nbd_output_copy(&out, "c", 1);
    nbd_output_parcel(&out, &b);
    nbd_output_copy(&out, "d", 1);
    assert_string_equal(pending(), "abONETWOcTHREEd");
    struct iovec spans[8];
    assert_int_equal(nbd_output_gather(&out, spans, 8), 6); /* neighbours are one span */
}

static void sending_may_stop_anywhere(void **state)
{
    (void)state;
    static const char all[] = "abONETWOcTHREEd";
    for (size_t first = 0; first < sizeof all; first++) {
        nbd_output_init(&out);
        char one[] = "ONE", two[] = "TWO", three[] = "THREE";
        struct nbd_parcel a = parcel_of(one, two), b = parcel_of(three, NULL);
        nbd_output_copy(&out, "ab", 2);
        nbd_output_parcel(&out, &a);
        nbd_output_copy(&out, "c", 1);
        nbd_output_parcel(&out, &b);
        nbd_output_copy(&out, "d", 1);
        struct list_node finished;
        list_init(&finished);
        nbd_output_sent(&out, first, &finished);
        assert_string_equal(pending(), all + first);
        assert_int_equal(!list_empty(&finished), first >= 8);
        nbd_output_sent(&out, sizeof all - 1 - first, &finished);
        assert_true(nbd_output_empty(&out));
        assert_ptr_equal(finished.next, &a.link);
        assert_ptr_equal(finished.prev, &b.link);
    }
}

static void the_ring_goes_around(void **state)
{
    (void)state;
    nbd_output_init(&out);
    struct list_node finished;
    list_init(&finished);
    static char block[NBD_OUTPUT_RING];
    memset(block, 'x', sizeof block);
    nbd_output_copy(&out, block, NBD_OUTPUT_RING - 2);
    nbd_output_sent(&out, NBD_OUTPUT_RING - 4, &finished);
    nbd_output_copy(&out, "abcd", 4);
    assert_string_equal(pending(), "xxabcd");
    assert_int_equal(nbd_output_room(&out), NBD_OUTPUT_RING - 6);
    nbd_output_sent(&out, 5, &finished);
    assert_string_equal(pending(), "d");
}

static void dropping_hands_back_every_parcel(void **state)
{
    (void)state;
    nbd_output_init(&out);
    char one[] = "ONE", two[] = "TWO";
    struct nbd_parcel a = parcel_of(one, NULL), b = parcel_of(two, NULL);
    nbd_output_copy(&out, "a", 1);
    nbd_output_parcel(&out, &a);
    nbd_output_parcel(&out, &b);
    struct list_node finished;
    list_init(&finished);
    nbd_output_sent(&out, 2, &finished);
    nbd_output_drop(&out, &finished);
    assert_true(nbd_output_empty(&out));
    assert_ptr_equal(finished.next, &a.link);
    assert_ptr_equal(finished.prev, &b.link);
    nbd_output_copy(&out, "z", 1);
    assert_string_equal(pending(), "z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_and_parcels_keep_their_order),
        cmocka_unit_test(sending_may_stop_anywhere),
        cmocka_unit_test(the_ring_goes_around),
        cmocka_unit_test(dropping_hands_back_every_parcel),
    };
    return cmocka_run_group_tests_name("nbd_output", tests, NULL, NULL);
}
