/* Command lines, one word a line, and endpoints: accepted or refused in words,
 * never anything else. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/parse.h"
#include "client/lib/endpoints.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    WORDS = 32
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    assert(text);
    memcpy(text, data, size);
    text[size] = '\0';

    struct endpoints endpoints;
    struct ps_error err = {0};
    if (endpoints_parse(&endpoints, text, 0, &err))
        assert(err.detail[0]);
    else
        assert(endpoints.count > 0 && endpoints.count <= ENDPOINTS_MAX);

    char program[] = "pstorage", *argv[WORDS + 1] = {program};
    int argc = 1;
    for (char *word = strtok(text, "\n"); word && argc < WORDS; word = strtok(NULL, "\n"))
        argv[argc++] = word;
    struct cli_invocation in;
    err.detail[0] = '\0';
    if (cli_parse(argc, argv, &in, &err))
        assert(err.detail[0]);
    else
        assert(in.help || in.version || in.command);
    free(text);
    return 0;
}
