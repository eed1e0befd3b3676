/* XXH3 at the speed of the machine it runs on: on x86-64 the library's
 * dispatching entry points (AVX2, AVX-512), which cost half of the plain ones
 * (measured in node/reduction/README.md). The results are the same everywhere.
 *
 * The library sets up its dispatch table at the first call; threads that race
 * there store the same pointers. */
#ifndef PS_COMMON_XXH3_H
#define PS_COMMON_XXH3_H

#include <xxhash.h>
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h> /* replaces XXH3_… by XXH3_…_dispatch */
#endif

#endif
