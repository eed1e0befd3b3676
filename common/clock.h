/* The two clocks. An edge: cores get times as numbers.
 *
 * Monotonic time counts while the machine sleeps (CLOCK_BOOTTIME), so that a
 * lease does not outlive a suspended owner. */
#ifndef PS_COMMON_CLOCK_H
#define PS_COMMON_CLOCK_H

#include <stdint.h>

#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

uint64_t clock_monotonic_ns(void);
uint64_t clock_unix_ns(void);

#endif
