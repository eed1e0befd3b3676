/* Settings from untrusted text. Input: fields that end with NUL; the first byte
 * of a field says what it is: 'f' a flag, 'e' a variable, anything else starts
 * the configuration file, which is all that follows. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/settings_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum {
        FIELDS = 16
    };
    static struct settings settings;
    const char *argv[FIELDS + 1] = {"program"}, *envp[FIELDS + 1] = {NULL};
    int argc = 1, nenv = 0;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    size_t at = 0;
    while (at < size && (text[at] == 'f' || text[at] == 'e') && argc < FIELDS && nenv < FIELDS) {
        if (text[at] == 'f')
            argv[argc++] = text + at + 1;
        else
            envp[nenv++] = text + at + 1;
        at += strlen(text + at) + 1;
    }
    at = at > size ? size : at;
    struct settings_input in = {.argc = argc,
                                .argv = argv,
                                .envp = envp,
                                .host_name = "host",
                                .file_name = "file",
                                .file_text = text + at,
                                .file_length = size - at};
    const struct settings_program *const programs[] = {&pstoraged_program, &mediator_program};
    for (size_t p = 0; p < 2; p++) {
        struct ps_error err = {0};
        enum settings_action action;
        const char *name;
        (void)settings_find_file(programs[p], &in, &action, &name, &err);
        const int rc = settings_load(&settings, programs[p], &in, &err);
        /* Whatever was wrong is said; whatever was right is complete. */
        if (rc != 0 && err.detail[0] == '\0')
            abort();
        for (size_t i = 0; rc == 0 && settings.action == SETTINGS_RUN && i < programs[p]->count; i++) {
            char line[128];
            if (!settings.values[i].text)
                abort();
            (void)settings_describe(&settings, i, line, sizeof line);
        }
    }
    free(text);
    return 0;
}
