/* Prints docs/settings.md: the settings of all programs. Run by the build, not installed. */
#include <stdio.h>

#include "common/settings_table.h"

static void to_stdout(void *user, const char *text)
{
    (void)user;
    (void)fputs(text, stdout);
}

int main(void)
{
    const struct settings_program *const programs[] = {&pstoraged_program, &mediator_program};
    (void)puts(
        "# Settings\n\n"
        "Made by the build target `docs-settings` from `common/settings_table.h`; don't edit.\n\n"
        "Each setting is an environment variable, a line of the file named by `--config`\n"
        "(`PSTORAGE_NAME=value`, `#` starts a comment), and a flag (`--name value` or `--name=value`).\n"
        "Flags go before environment, environment before file, file before default. An empty value\n"
        "counts as not given, except where empty means off. Sizes take K, M, G, T: powers of 1024.\n"
        "`${DATA_DIR}` and `${HOST_NAME}` stand for their values where the defaults show them.\n");
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        if (i > 0)
            (void)puts("");
        settings_print_doc(programs[i], to_stdout, NULL);
    }
    return fflush(stdout) ? 1 : 0;
}
