ps_test(test_block_cache ${CMAKE_CURRENT_LIST_DIR}/test_block_cache.c DEPS ps_block_cache)
