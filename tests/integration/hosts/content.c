#include "tests/integration/hosts/content.h"

#include <string.h>

#define MAGIC UINT64_C(0x5354534f484b4c42)

enum {
    WORDS = CONTENT_BYTES / 8,
    SECTOR_WORDS = 512 / 8
};

/* splitmix64: Steele, Lea, Flood, Fast Splittable Pseudorandom Number Generators (OOPSLA 2014). */
static uint64_t mixed(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Each sector begins with the four words that name the write; half of it is noise made from them. */
void content_make(uint8_t *bytes, uint64_t run, uint32_t block, uint64_t value)
{
    uint64_t words[WORDS], state = run ^ ((uint64_t)block << 40) ^ value;
    for (unsigned i = 0; i < WORDS; i += SECTOR_WORDS) {
        words[i] = MAGIC;
        words[i + 1] = run;
        words[i + 2] = block;
        words[i + 3] = value;
        for (unsigned k = 4; k < SECTOR_WORDS; k++)
            words[i + k] = k < SECTOR_WORDS / 2 ? mixed(&state) : value;
    }
    memcpy(bytes, words, CONTENT_BYTES);
}

const char *content_read(const uint8_t *bytes, uint64_t run, uint32_t block, uint64_t *value)
{
    static const uint8_t zeroes[CONTENT_BYTES];
    uint8_t expected[CONTENT_BYTES];
    uint64_t head[4];
    if (!memcmp(bytes, zeroes, CONTENT_BYTES)) {
        *value = 0;
        return NULL;
    }
    memcpy(head, bytes, sizeof head);
    if (head[0] != MAGIC)
        return "what nobody wrote";
    if (head[1] != run)
        return "what another run wrote";
    if (head[2] != block)
        return "another block's content";
    content_make(expected, run, block, head[3]);
    if (memcmp(bytes, expected, CONTENT_BYTES) != 0)
        return "parts of several writes";
    *value = head[3];
    return NULL;
}
