/* Aligned columns for people. Cells are added row by row, left to right, and
 * copied; numbers are aligned to the right, and no line ends in blanks. */
#ifndef PS_CLI_TABLE_H
#define PS_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum {
    TABLE_COLUMNS_MAX = 12
};

struct table_column {
    const char *title; /* borrowed; NULL in all columns: no heading */
    bool right;
};

struct table;

struct table *table_create(const struct table_column *columns, size_t ncolumns);
void table_destroy(struct table *t);

__attribute__((format(printf, 2, 3))) void table_add(struct table *t, const char *format, ...);

/* The last row is complete. `bold` marks the heading for a terminal. */
void table_print(const struct table *t, FILE *out, bool bold);

#endif
