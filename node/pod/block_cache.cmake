ps_core(ps_block_cache ${CMAKE_CURRENT_LIST_DIR}/block_cache.c DEPS ps_common)
