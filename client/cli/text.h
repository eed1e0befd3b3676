/* UTF-8 text for terminals: its width in columns, cut and wrapped by columns
 * and not by bytes, and printed so that what a server sends cannot steer the
 * terminal: control characters and invalid bytes come out as '?'. */
#ifndef PS_CLI_TEXT_H
#define PS_CLI_TEXT_H

#include <stddef.h>
#include <stdio.h>

/* Columns that text_put's output takes. */
size_t text_width(const char *utf8);

/* Writes the text; line breaks count as control characters. */
void text_put(FILE *out, const char *utf8);

/* The text, then blanks up to `width` columns. */
void text_put_left(FILE *out, const char *utf8, size_t width);

/* Writes paragraphs (parted by empty lines) broken at blanks to lines of at
 * most `width` columns, each after `indent` blanks. The first line's indent is
 * taken as written already. Ends with a line break. */
void text_wrap(FILE *out, const char *utf8, size_t indent, size_t width);

#endif
