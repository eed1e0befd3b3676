#include "client/cli/table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

#include "client/cli/text.h"

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

static void put_cell(const struct table *t, FILE *out, size_t column, const char *text)
{
    if (column)
        (void)fputs("  ", out);
    if (t->columns[column].right)
        text_put_right(out, text, t->widths[column]);
    else if (column + 1 < t->ncolumns)
        text_put_left(out, text, t->widths[column]);
    else
        text_put(out, text);
}

void table_print(const struct table *t, FILE *out, bool bold)
{
    assert(t->ncells % t->ncolumns == 0);
    if (t->columns[0].title) {
        if (bold)
            (void)fputs("\033[1m", out);
        for (size_t i = 0; i < t->ncolumns; i++)
            put_cell(t, out, i, t->columns[i].title);
        (void)fputs(bold ? "\033[0m\n" : "\n", out);
    }
    for (size_t i = 0; i < t->ncells; i++) {
        put_cell(t, out, i % t->ncolumns, t->cells[i]);
        if ((i + 1) % t->ncolumns == 0)
            (void)fputc('\n', out);
    }
}
