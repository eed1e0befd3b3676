/* Prints what is made from the tables of settings: docs/settings.md, or with a program's name its man page.
 * Run by the build, not installed. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/settings_table.h"
#include "common/settings_value.h"

static const struct settings_program *const programs[] = {&pstoraged_program, &mediator_program};
enum {
    PROGRAMS = sizeof programs / sizeof programs[0]
};

static void to_stdout(void *user, const char *text)
{
    (void)user;
    (void)fputs(text, stdout);
}

static void print_settings(void)
{
    (void)puts(
        "# Settings\n\n"
        "Made by the build target `docs-settings` from `common/settings_table.h`; don't edit.\n\n"
        "Each setting is an environment variable, a line of the file named by `--config`\n"
        "(`PSTORAGE_NAME=value`, `#` starts a comment), and a flag (`--name value` or `--name=value`).\n"
        "Flags go before environment, environment before file, file before default. An empty value\n"
        "counts as not given, except where empty means off. Sizes take K, M, G, T: powers of 1024.\n"
        "`${DATA_DIR}` and `${HOST_NAME}` stand for their values where the defaults show them.\n");
    for (size_t i = 0; i < PROGRAMS; i++) {
        if (i > 0)
            (void)puts("");
        settings_print_doc(programs[i], to_stdout, NULL);
    }
}

/* ---- man pages */

/* Dashes, backslashes and leading dots are meant literally. */
static void literal(const char *text)
{
    if (*text == '.' || *text == '\'')
        (void)fputs("\\&", stdout);
    for (; *text; text++) {
        if (*text == '-' || *text == '\\')
            (void)fputs(*text == '-' ? "\\-" : "\\e", stdout);
        else if ((unsigned char)*text < 0x80)
            (void)putchar(*text);
        else if (strncmp(text, "\u2026", 3) == 0)
            (void)fputs("...", stdout), text += 2;
    }
}

static void flag(const char *name)
{
    (void)fputs("\\-\\-", stdout);
    for (; *name; name++)
        (void)(*name == '_' ? fputs("\\-", stdout) : putchar(tolower((unsigned char)*name)));
}

static void man_setting(const struct setting *s)
{
    char hint[128];
    const char *type = s->type == SETTING_BOOL ? "" : " \\fIVALUE\\fR";
    (void)fputs(".TP\n\\fB", stdout);
    if (!(s->flags & SETTING_SECRET))
        flag(s->name);
    if (!(s->flags & (SETTING_SECRET | SETTING_FLAG_ONLY)))
        (void)printf("\\fR%s, \\fB", type);
    if (!(s->flags & SETTING_FLAG_ONLY))
        (void)printf("PSTORAGE_%s", s->name);
    (void)fputs("\\fR\n", stdout);
    literal(s->help);
    (void)fputs(".\n.br\n", stdout);
    literal(setting_value_hint(s, hint, sizeof hint));
    (void)fputs("; default: ", stdout);
    literal(s->default_text[0] ? s->default_text : "none");
    (void)fputs("\n", stdout);
}

static void print_man(const struct settings_program *p)
{
    (void)printf(".TH %s 8 \"\" \"PStorage " PS_VERSION "\" PStorage\n.SH NAME\n", p->name);
    literal(p->name);
    (void)fputs(" \\- ", stdout);
    literal(p->summary);
    (void)fputs("\n.SH SYNOPSIS\n\\fB", stdout);
    literal(p->name);
    (void)puts("\\fR [\\fB\\-\\-\\fINAME\\fR \\fIVALUE\\fR]...\n"
               ".SH DESCRIPTION\n"
               "Every setting is a flag, an environment variable, or a line PSTORAGE_NAME=VALUE of the file\n"
               "named by \\fB\\-\\-config\\fR. Flags go before environment, environment before file, file "
               "before default.\n"
               "An empty value counts as not given, except where empty means off. Sizes take K, M, G and T,\n"
               "powers of 1024. A wrong value stops the start and says what would be right.\n"
               ".SH SETTINGS");
    for (size_t i = 0; i < p->count; i++)
        man_setting(&p->table[i]);
    (void)puts(
        ".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nPrint the settings.\n"
        ".TP\n\\fB\\-V\\fR, \\fB\\-\\-version\\fR\nPrint the version.\n"
        ".SH SIGNALS\nSIGTERM, SIGINT and SIGHUP stop it cleanly; a second one at once, which loses nothing "
        "that was\nanswered as durable.\n"
        ".SH SEE ALSO\n\\fBpstorage\\fR(1)");
}

int main(int argc, char **argv)
{
    const struct settings_program *wanted = NULL;
    for (size_t i = 0; argc > 1 && i < PROGRAMS; i++)
        if (strcmp(programs[i]->name, argv[1]) == 0)
            wanted = programs[i];
    if (argc > 2 || (argc == 2 && !wanted)) {
        (void)fprintf(stderr, "usage: %s [PROGRAM]\n", argv[0]);
        return 2;
    }
    if (wanted)
        print_man(wanted);
    else
        print_settings();
    return fflush(stdout) ? 1 : 0;
}
