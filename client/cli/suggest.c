#include "client/cli/suggest.h"

#include <stdint.h>
#include <string.h>

enum {
    WORD_MAX = 63
};

static size_t min3(size_t a, size_t b, size_t c)
{
    const size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

size_t suggest_distance(const char *a, const char *b)
{
    const size_t la = strlen(a), lb = strlen(b);
    if (la > WORD_MAX || lb > WORD_MAX)
        return SIZE_MAX;
    size_t d[WORD_MAX + 1][WORD_MAX + 1];
    for (size_t i = 0; i <= la; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= lb; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        for (size_t j = 1; j <= lb; j++) {
            const size_t replace = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, replace);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < d[i][j])
                d[i][j] = d[i - 2][j - 2] + 1;
        }
    }
    return d[la][lb];
}

void suggest_offer(struct suggestion *s, const char *known)
{
    const size_t length = strlen(s->word), distance = suggest_distance(s->word, known);
    /* A short word one slip away, a longer one two or three; or what was typed begins the known word. */
    const size_t allowed = length < 3 ? 1 : length < 6 ? 2 : 3;
    const int begins = length >= 2 && strncmp(known, s->word, length) == 0;
    if (distance > allowed && !begins)
        return;
    if (!s->nearest || distance < s->distance) {
        s->nearest = known;
        s->distance = distance;
    }
}
