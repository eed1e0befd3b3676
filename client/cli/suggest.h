/* "Did you mean": the known word nearest to a mistyped one. */
#ifndef PS_CLI_SUGGEST_H
#define PS_CLI_SUGGEST_H

#include <stddef.h>

/* Number of insertions, deletions, replacements and swaps of neighbours that
 * turn `a` into `b` (optimal string alignment distance). Words longer than 63
 * characters are infinitely far from everything. */
size_t suggest_distance(const char *a, const char *b);

/* Offer each known word in turn; the nearest stays. Start with {word}. */
struct suggestion {
    const char *word;    /* as typed */
    const char *nearest; /* borrowed from the caller; NULL if nothing is near enough to be meant */
    size_t distance;
};
void suggest_offer(struct suggestion *s, const char *known);

#endif
