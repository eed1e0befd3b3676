#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "node/host/nbd_buffers.h"

enum {
    MIB = 1 << 20
};

static void sizes_are_rounded_up_to_powers_of_two(void **state)
{
    (void)state;
    assert_int_equal(nbd_buffers_cost(1), 4096);
    assert_int_equal(nbd_buffers_cost(4096), 4096);
    assert_int_equal(nbd_buffers_cost(4097), 8192);
    assert_int_equal(nbd_buffers_cost(NBD_BUFFER_MAX - 1), NBD_BUFFER_MAX);
    assert_int_equal(nbd_buffers_cost(NBD_BUFFER_MAX), NBD_BUFFER_MAX);
}

static void what_was_given_back_is_taken_again(void **state)
{
    (void)state;
    struct nbd_buffers pool;
    struct list_node waiter;
    list_init(&waiter);
    nbd_buffers_init(&pool, 32 * MIB);
    struct nbd_buffer *a = nbd_buffers_take(&pool, 5000, &waiter);
    assert_int_equal((uintptr_t)a->data % 64, 0);
    nbd_buffers_give(&pool, a);
    assert_ptr_equal(nbd_buffers_take(&pool, 8192, &waiter), a);
    assert_int_equal(pool.held, 8192);
    nbd_buffers_give(&pool, a);
    nbd_buffers_fini(&pool);
}

static void kept_buffers_make_room_for_other_sizes(void **state)
{
    (void)state;
    struct nbd_buffers pool;
    struct list_node waiter;
    list_init(&waiter);
    nbd_buffers_init(&pool, 32 * MIB);
    struct nbd_buffer *small[100];
    for (int i = 0; i < 100; i++)
        small[i] = nbd_buffers_take(&pool, 65536, &waiter);
    for (int i = 0; i < 100; i++)
        nbd_buffers_give(&pool, small[i]);
    assert_true(pool.kept > 0);
    struct nbd_buffer *large = nbd_buffers_take(&pool, NBD_BUFFER_MAX, &waiter);
    assert_non_null(large);
    assert_int_equal(pool.held, NBD_BUFFER_MAX);
    nbd_buffers_give(&pool, large);
    assert_int_equal(pool.held, 0); /* too large to be kept */
    nbd_buffers_fini(&pool);
}

static void who_waits_for_much_is_not_overtaken(void **state)
{
    (void)state;
    struct nbd_buffers pool;
    struct list_node large_waiter, small_waiter;
    list_init(&large_waiter);
    list_init(&small_waiter);
    nbd_buffers_init(&pool, 32 * MIB);
    struct nbd_buffer *held = nbd_buffers_take(&pool, 4096, &small_waiter);
    assert_null(nbd_buffers_take(&pool, NBD_BUFFER_MAX, &large_waiter));
    assert_null(nbd_buffers_take(&pool, 4096, &small_waiter));
    assert_ptr_equal(pool.waiters.next, &large_waiter);
    assert_ptr_equal(pool.waiters.prev, &small_waiter);
    nbd_buffers_give(&pool, held);
    assert_null(nbd_buffers_take(&pool, 4096, &small_waiter)); /* still not its turn */
    struct nbd_buffer *large = nbd_buffers_take(&pool, NBD_BUFFER_MAX, &large_waiter);
    assert_non_null(large);
    assert_true(list_empty(&large_waiter));
    nbd_buffers_give(&pool, large);
    held = nbd_buffers_take(&pool, 4096, &small_waiter);
    assert_non_null(held);
    nbd_buffers_give(&pool, held);
    nbd_buffers_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_rounded_up_to_powers_of_two),
        cmocka_unit_test(what_was_given_back_is_taken_again),
        cmocka_unit_test(kept_buffers_make_room_for_other_sizes),
        cmocka_unit_test(who_waits_for_much_is_not_overtaken),
    };
    return cmocka_run_group_tests_name("nbd_buffers", tests, NULL, NULL);
}
