/* pstorage(1), in the man macros that every troff knows. */
#include <string.h>

#include "client/cli/help.h"

/* Text whose dashes, backslashes and leading dots are meant literally. */
static void put(FILE *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (i == 0 && (text[i] == '.' || text[i] == '\''))
            (void)fputs("\\&", out);
        if (text[i] == '\\')
            (void)fputs("\\e", out);
        else if (text[i] == '-')
            (void)fputs("\\-", out);
        else
            (void)fputc(text[i], out);
    }
}

static void line(FILE *out, const char *text)
{
    put(out, text, strlen(text));
    (void)fputc('\n', out);
}

/* Paragraphs are parted by empty lines. */
static void paragraphs(FILE *out, const char *text)
{
    while (*text) {
        const size_t n = strcspn(text, "\n");
        put(out, text, n);
        (void)fputc('\n', out);
        text += n + strspn(text + n, "\n");
        if (*text)
            (void)fputs(".PP\n", out);
    }
}

static void italic(FILE *out, const char *word)
{
    (void)fputs("\\fI", out);
    put(out, word, strlen(word));
    (void)fputs("\\fR", out);
}

static void bold(FILE *out, const char *dashes, const char *word)
{
    (void)fputs("\\fB", out);
    put(out, dashes, strlen(dashes));
    put(out, word, strlen(word));
    (void)fputs("\\fR", out);
}

static void option(FILE *out, const struct cli_option *o)
{
    (void)fputs(".TP\n", out);
    if (o->letter) {
        const char letter[2] = {o->letter, 0};
        bold(out, "-", letter);
        (void)fputs(", ", out);
    }
    bold(out, "--", o->name);
    if (o->metavar) {
        (void)fputc(' ', out);
        italic(out, o->metavar);
    }
    (void)fputc('\n', out);
    (void)fprintf(out, "%s", "");
    put(out, o->help, strlen(o->help));
    (void)fputs(o->required ? ". Required.\n" : ".\n", out);
}

static void command(FILE *out, const struct cli_command *c)
{
    (void)fputs(".SS \"", out);
    put(out, c->noun, strlen(c->noun));
    if (c->verb) {
        (void)fputc(' ', out);
        put(out, c->verb, strlen(c->verb));
    }
    (void)fputs("\"\n", out);
    bold(out, "pstorage ", c->noun);
    if (c->verb) {
        (void)fputc(' ', out);
        bold(out, "", c->verb);
    }
    for (const struct cli_operand *o = c->operands; o < c->operands + CLI_OPERANDS_MAX && o->metavar; o++) {
        (void)fputs(o->optional ? " [" : " ", out);
        italic(out, o->metavar);
        (void)fputs(o->optional ? "]" : "", out);
    }
    for (const struct cli_option *o = c->options; o < c->options + CLI_OPTIONS_MAX && o->name; o++) {
        (void)fputs(o->required ? " " : " [", out);
        bold(out, "--", o->name);
        if (o->metavar) {
            (void)fputc(' ', out);
            italic(out, o->metavar);
        }
        (void)fputs(o->required ? "" : "]", out);
    }
    (void)fputs("\n.PP\n", out);
    put(out, c->summary, strlen(c->summary));
    (void)fputs(".\n", out);
    if (c->details) {
        (void)fputs(".PP\n", out);
        paragraphs(out, c->details);
    }
    for (const struct cli_operand *o = c->operands; o < c->operands + CLI_OPERANDS_MAX && o->metavar; o++) {
        (void)fputs(".TP\n", out);
        italic(out, o->metavar);
        (void)fputc('\n', out);
        put(out, o->help, strlen(o->help));
        (void)fputs(".\n", out);
    }
    for (const struct cli_option *o = c->options; o < c->options + CLI_OPTIONS_MAX && o->name; o++)
        option(out, o);
    if (c->example) {
        (void)fputs(".PP\n.nf\n.RS\n", out);
        for (const char *at = c->example; *at;) {
            const size_t n = strcspn(at, "\n");
            put(out, at, n);
            (void)fputc('\n', out);
            at += n + (at[n] == '\n');
        }
        (void)fputs(".RE\n.fi\n", out);
    }
}

void man_write(FILE *out, const char *version)
{
    (void)fprintf(out, ".TH PSTORAGE 1 \"\" \"PStorage %s\" \"PStorage\"\n", version);
    (void)fputs(
        ".SH NAME\npstorage \\- volumes, snapshots and clones of a PStorage array\n"
        ".SH SYNOPSIS\n.B pstorage\n\\fINOUN\\fR [\\fIVERB\\fR] [\\fIARGUMENTS\\fR] [\\fIOPTIONS\\fR]\n"
        ".SH DESCRIPTION\n",
        out);
    line(out, "pstorage talks to a node of a PStorage array: it creates and changes volumes, takes "
              "snapshots, makes "
              "clones, copies data in and out, and shows how the array is doing. It prints tables for "
              "people, and JSON "
              "for scripts with --json.");
    (void)fputs(".PP\n", out);
    line(out,
         "Sizes, offsets and lengths are whole numbers of bytes, or end in K, M, G or T (powers of 1024).");
    (void)fputs(".PP\n", out);
    line(out, "An error is one line on standard error. With --json it is an object there, "
              "{\"error\": {\"status\": ..., \"message\": ..., \"exit_code\": ...}}.");
    (void)fputs(".SH OPTIONS\n", out);
    for (const struct cli_option *o = cli_global_options; o->name; o++)
        option(out, o);
    (void)fputs(".SH COMMANDS\n", out);
    for (size_t i = 0; i < CLI_COMMAND_COUNT; i++)
        command(out, &cli_commands[i]);
    (void)fputs(".SH EXIT STATUS\n", out);
    for (const struct cli_exit_code *e = cli_exit_codes; e->meaning; e++) {
        (void)fprintf(out, ".TP\n.B %d\n", e->code);
        line(out, e->meaning);
    }
    (void)fputs(".SH ENVIRONMENT\n.TP\n.B " CLI_ENDPOINT_VARIABLE "\n", out);
    line(out, "Endpoints, separated by blanks, when --endpoint is not given.");
    (void)fputs(".TP\n.B PSTORAGE_CLUSTER_KEY_FILE\n", out);
    line(out, "File that holds the cluster's key, when --cluster-key-file is not given.");
    (void)fputs(".TP\n.B PSTORAGE_CLUSTER_KEY\n", out);
    line(out, "The key itself. One of the two.");
    (void)fputs(".TP\n.B PSTORAGE_CLUSTER_NAME\n", out);
    line(out, "If set, nodes of any other cluster are refused.");
    (void)fputs(".TP\n.B NO_COLOR\n", out);
    line(out, "If set, headings are not bold on a terminal.");
    (void)fputs(".SH SEE ALSO\n.BR pstoraged (8)\n", out);
}
