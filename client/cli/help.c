#include "client/cli/help.h"

#include <string.h>

#include "client/cli/text.h"

enum {
    WIDTH = 80,
    HELP_COLUMN = 26
};

/* "pstorage volume create NAME --size SIZE [--pod POD] [--write-cache]" */
static void synopsis(FILE *out, const struct cli_command *c)
{
    (void)fprintf(out, "pstorage %s", c->noun);
    if (c->verb)
        (void)fprintf(out, " %s", c->verb);
    for (const struct cli_operand *o = c->operands; o < c->operands + CLI_OPERANDS_MAX && o->metavar; o++)
        (void)fprintf(out, o->optional ? " [%s]" : " %s", o->metavar);
    for (const struct cli_option *o = c->options; o < c->options + CLI_OPTIONS_MAX && o->name; o++)
        (void)fprintf(out, o->required ? " --%s%s%s" : " [--%s%s%s]", o->name, o->metavar ? " " : "",
                      o->metavar ? o->metavar : "");
}

/* "  left        right, wrapped under itself" */
static void row(FILE *out, const char *left, const char *right)
{
    const size_t width = text_width(left);
    (void)fputs("  ", out);
    text_put(out, left);
    if (width + 4 > HELP_COLUMN)
        (void)fprintf(out, "\n%*s", HELP_COLUMN, "");
    else
        (void)fprintf(out, "%*s", (int)(HELP_COLUMN - 2 - width), "");
    text_wrap(out, right, HELP_COLUMN, WIDTH);
}

static void option_row(FILE *out, const struct cli_option *o)
{
    char left[96], letter[8] = "    ";
    if (o->letter)
        (void)snprintf(letter, sizeof letter, "-%c, ", o->letter);
    (void)snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->metavar ? " " : "",
                   o->metavar ? o->metavar : "");
    row(out, left, o->help);
}

static void global_options(FILE *out)
{
    for (const struct cli_option *o = cli_global_options; o->name; o++)
        option_row(out, o);
}

void help_command(FILE *out, const struct cli_command *c)
{
    (void)fputs("Usage: ", out);
    synopsis(out, c);
    (void)fprintf(out, "\n\n%s.\n", c->summary);
    if (c->details) {
        (void)fputc('\n', out);
        text_wrap(out, c->details, 0, WIDTH);
    }
    (void)fputc('\n', out);
    for (const struct cli_operand *o = c->operands; o < c->operands + CLI_OPERANDS_MAX && o->metavar; o++)
        row(out, o->metavar, o->help);
    if (c->operands[0].metavar)
        (void)fputc('\n', out);
    if (c->options[0].name) {
        (void)fputs("Options:\n", out);
        for (const struct cli_option *o = c->options; o < c->options + CLI_OPTIONS_MAX && o->name; o++)
            option_row(out, o);
        (void)fputc('\n', out);
    }
    (void)fputs("Options of every command:\n", out);
    global_options(out);
    if (c->example) {
        (void)fputs("\nExamples:\n", out);
        for (const char *line = c->example; *line;) {
            const size_t n = strcspn(line, "\n");
            (void)fprintf(out, "  %.*s\n", (int)n, line);
            line += n + (line[n] == '\n');
        }
    }
}

void help_noun(FILE *out, const char *noun)
{
    const struct cli_noun *n = cli_noun_find(noun);
    (void)fprintf(out, "%s\n\n", n->summary);
    for (size_t i = 0; i < CLI_COMMAND_COUNT; i++) {
        const struct cli_command *c = &cli_commands[i];
        char left[64];
        if (strcmp(c->noun, noun) != 0)
            continue;
        (void)snprintf(left, sizeof left, "%s%s%s", noun, c->verb ? " " : "", c->verb ? c->verb : "");
        row(out, left, c->summary);
    }
    (void)fprintf(out, "\nMore about one: pstorage %s VERB --help\n", noun);
}

void help_program(FILE *out)
{
    (void)fputs("Usage: pstorage NOUN [VERB] [ARGUMENTS] [OPTIONS]\n\n"
                "Volumes, snapshots and clones of a PStorage array.\n",
                out);
    for (const struct cli_noun *n = cli_nouns; n->name; n++) {
        bool verbs = false;
        for (size_t i = 0; i < CLI_COMMAND_COUNT; i++) {
            const struct cli_command *c = &cli_commands[i];
            char left[64];
            if (strcmp(c->noun, n->name) != 0 || !c->verb)
                continue;
            if (!verbs)
                (void)fprintf(out, "\n%s\n", n->summary);
            verbs = true;
            (void)snprintf(left, sizeof left, "%s %s", n->name, c->verb);
            row(out, left, c->summary);
        }
    }
    (void)fputs("\nThe array\n", out);
    for (const struct cli_noun *n = cli_nouns; n->name; n++) {
        const struct cli_command *c = cli_command_find(n->name, NULL);
        if (c)
            row(out, n->name, c->summary);
    }
    (void)fputs("\nOptions of every command:\n", out);
    global_options(out);
    (void)fputs("\nSizes take K, M, G and T (powers of 1024). More about a command:\n"
                "pstorage NOUN VERB --help, or man pstorage.\n",
                out);
}
