#include "client/cli/table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

#include "client/cli/text.h"

enum {
    GAP = 2
};

struct table {
    struct table_column columns[TABLE_COLUMNS_MAX];
    size_t ncolumns;
    char **cells;
    size_t ncells, room;
    size_t widths[TABLE_COLUMNS_MAX];
};

struct table *table_create(const struct table_column *columns, size_t ncolumns)
{
    assert(ncolumns > 0 && ncolumns <= TABLE_COLUMNS_MAX);
    struct table *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    t->ncolumns = ncolumns;
    for (size_t i = 0; i < ncolumns; i++) {
        t->columns[i] = columns[i];
        t->widths[i] = columns[i].title ? text_width(columns[i].title) : 0;
    }
    return t;
}

void table_destroy(struct table *t)
{
    for (size_t i = 0; i < t->ncells; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t);
}

void table_add(struct table *t, const char *format, ...)
{
    if (t->ncells == t->room) {
        t->room = t->room ? 2 * t->room : 8 * t->ncolumns;
        t->cells = realloc(t->cells, t->room * sizeof *t->cells);
        if (!t->cells)
            abort();
    }
    va_list args;
    va_start(args, format);
    char *cell;
    if (vasprintf(&cell, format, args) < 0)
        abort();
    va_end(args);
    const size_t width = text_width(cell), column = t->ncells % t->ncolumns;
    if (width > t->widths[column])
        t->widths[column] = width;
    t->cells[t->ncells++] = cell;
}

/* Blanks are owed until something follows them, so that no line ends in any. */
static void put_cell(const struct table *t, FILE *out, size_t column, const char *text, size_t *owed)
{
    const size_t width = text_width(text), rest = t->widths[column] - width;
    *owed += column ? GAP : 0;
    if (width == 0 || t->columns[column].right)
        *owed += rest;
    if (width == 0)
        return;
    (void)fprintf(out, "%*s", (int)*owed, "");
    text_put(out, text);
    *owed = t->columns[column].right ? 0 : rest;
}

void table_print(const struct table *t, FILE *out, bool bold)
{
    assert(t->ncells % t->ncolumns == 0);
    size_t owed = 0;
    if (t->columns[0].title) {
        if (bold)
            (void)fputs("\033[1m", out);
        for (size_t i = 0; i < t->ncolumns; i++)
            put_cell(t, out, i, t->columns[i].title, &owed);
        (void)fputs(bold ? "\033[0m\n" : "\n", out);
    }
    for (size_t i = 0; i < t->ncells; i++) {
        if (i % t->ncolumns == 0)
            owed = 0;
        put_cell(t, out, i % t->ncolumns, t->cells[i], &owed);
        if ((i + 1) % t->ncolumns == 0)
            (void)fputc('\n', out);
    }
}
