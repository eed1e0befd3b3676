#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/large_memory_mmap.h"

enum {
    BYTES = 8 << 20,
    PAGE = 4096
};

static size_t resident(void *memory)
{
    unsigned char pages[BYTES / PAGE];
    size_t n = 0;
    assert_int_equal(mincore(memory, BYTES, pages), 0);
    for (size_t i = 0; i < BYTES / PAGE; i++)
        n += pages[i] & 1;
    return n;
}

static void memory_is_zero_aligned_and_not_there_before_it_is_used(void **state)
{
    (void)state;
    uint8_t *memory = large_memory_mmap.alloc(BYTES);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % LARGE_MEMORY_ALIGN, 0);
    assert_int_equal(resident(memory), 0);
    assert_int_equal(memory[BYTES - 1], 0);
    memory[5] = 1;
    large_memory_mmap.release(memory, BYTES);
}

static void filled_memory_comes_by_itself(void **state)
{
    (void)state;
    uint8_t *memory = large_memory_filled.alloc(BYTES);
    assert_non_null(memory);
    memory[3] = 7;                          /* used while it is filled */
    while (resident(memory) < BYTES / PAGE) /* the test's time limit ends a wait in vain */
        (void)sched_yield();
    assert_int_equal(memory[3], 7);
    assert_int_equal(memory[4], 0);
    large_memory_filled.release(memory, BYTES);
}

static void memory_may_be_given_back_while_it_is_filled(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        void *a = large_memory_filled.alloc(BYTES), *b = large_memory_filled.alloc(BYTES);
        assert_non_null(a);
        assert_non_null(b);
        large_memory_filled.release(a, BYTES);
        large_memory_filled.release(b, BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zero_aligned_and_not_there_before_it_is_used),
        cmocka_unit_test(filled_memory_comes_by_itself),
        cmocka_unit_test(memory_may_be_given_back_while_it_is_filled),
    };
    return cmocka_run_group_tests_name("large memory", tests, NULL, NULL);
}
