/* A line of a program's output that tests/bench/run takes into its table. */
#ifndef PS_TESTS_BENCH_ROW_H
#define PS_TESTS_BENCH_ROW_H

#include <stdio.h>

enum row_target {
    ROW_AT_LEAST,
    ROW_AT_MOST
};

static inline void bench_row(const char *what, double value, const char *unit, enum row_target target,
                             double limit)
{
    (void)printf("= %s;%g;%s;%s;%g\n", what, value, unit, target == ROW_AT_LEAST ? "at_least" : "at_most",
                 limit);
    (void)fflush(stdout);
}

#endif
