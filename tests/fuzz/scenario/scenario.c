/* Scenarios of the simulator. What is wrong is said; what is right is printed, and read again as the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/scenario.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *printed(const struct scenario *s, size_t *length)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, length);
    if (!f)
        abort();
    scenario_print(s, f);
    if (fclose(f))
        abort();
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scenario s, same;
    struct ps_error err = {0};
    const int rc = scenario_parse(&s, (const char *)data, size, &err);
    if (rc && !err.detail[0])
        abort();
    if (rc == 0) {
        size_t length, again_length;
        char *text = printed(&s, &length);
        if (scenario_parse(&same, text, length, &err))
            abort();
        char *again = printed(&same, &again_length);
        if (length != again_length || memcmp(text, again, length) != 0)
            abort();
        free(text);
        free(again);
        scenario_free(&same);
    }
    scenario_free(&s);
    return 0;
}
