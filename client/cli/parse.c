#include "client/cli/parse.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/suggest.h"
#include "common/sizes.h"

struct parser {
    int argc, at;
    char *const *argv;
    struct cli_invocation *out;
    struct ps_error *err;
    size_t noperands;
    bool options_ended; /* "--" was seen */
};

static int unknown(struct parser *p, const char *what, const char *word, const struct suggestion *s,
                   const char *prefix)
{
    if (s->nearest)
        return ps_error_set(p->err, PS_EINVAL, "unknown %s \"%s%s\"; did you mean \"%s%s\"?", what, prefix,
                            word, prefix, s->nearest);
    return ps_error_set(p->err, PS_EINVAL, "unknown %s \"%s%s\"; see \"pstorage --help\"", what, prefix,
                        word);
}

/* ---- values */

static int parse_seconds(const char *text, uint64_t *ms)
{
    char *end;
    /* strtod takes more than we do (hex, nan, blanks): look at the characters first. */
    if (!*text || strspn(text, "0123456789.") != strlen(text))
        return PS_EINVAL;
    const double seconds = strtod(text, &end);
    if (*end || seconds < 0.001 || seconds > 86400)
        return PS_EINVAL;
    *ms = (uint64_t)(seconds * 1000 + 0.5);
    return 0;
}

static int parse_number(const char *text, uint64_t *number)
{
    uint64_t n = 0;
    if (!*text)
        return PS_EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || n > (INT64_MAX - 9) / 10)
            return PS_EINVAL;
        n = n * 10 + (uint64_t)(*text - '0');
    }
    *number = n;
    return 0;
}

static int parse_value(struct parser *p, const struct cli_option *o, const char *text,
                       struct cli_value *value)
{
    int rc = 0;
    const char *wanted = "";
    switch (o->kind) {
    case CLI_SIZE: {
        struct ps_error detail = {0};
        rc = size_parse(text, &value->number, &detail);
        if (rc)
            return ps_error_set(p->err, PS_EINVAL, "--%s: %s", o->name, detail.detail);
        break;
    }
    case CLI_NUMBER:
        rc = parse_number(text, &value->number);
        wanted = "a whole number";
        break;
    case CLI_SECONDS:
        rc = parse_seconds(text, &value->number);
        wanted = "seconds, from 0.001 to 86400";
        break;
    case CLI_SWITCH:
        value->number = strcmp(text, "on") == 0;
        rc = value->number || strcmp(text, "off") == 0 ? 0 : PS_EINVAL;
        wanted = "on or off";
        break;
    case CLI_STEP:
        value->number = strcmp(text, "minute") == 0 ? 0 : strcmp(text, "hour") == 0 ? 1 : 2;
        rc = value->number < 2 || strcmp(text, "day") == 0 ? 0 : PS_EINVAL;
        wanted = "minute, hour or day";
        break;
    default:
        rc = *text ? 0 : PS_EINVAL;
        wanted = "a value";
        break;
    }
    if (rc)
        return ps_error_set(p->err, PS_EINVAL, "--%s needs %s, not \"%s\"", o->name, wanted, text);
    value->given = true;
    value->text = text;
    return 0;
}

/* ---- options */

static bool names(const struct cli_option *o, const char *name, size_t length)
{
    return strlen(o->name) == length && strncmp(o->name, name, length) == 0;
}

static const struct cli_option *find_option(const struct cli_option *list, size_t max, const char *name,
                                            size_t length, char letter)
{
    for (size_t i = 0; i < max && list[i].name; i++)
        if (name ? names(&list[i], name, length) : list[i].letter == letter)
            return &list[i];
    return NULL;
}

static int set_global(struct parser *p, const struct cli_option *o, const char *text)
{
    struct cli_value value = {0};
    struct cli_invocation *out = p->out;
    if (o->kind != CLI_FLAG) {
        const int rc = parse_value(p, o, text, &value);
        if (rc)
            return rc;
    }
    if (strcmp(o->name, "json") == 0) {
        out->json = true;
    } else if (strcmp(o->name, "help") == 0) {
        out->help = true;
    } else if (strcmp(o->name, "version") == 0) {
        out->version = true;
    } else if (strcmp(o->name, "timeout") == 0) {
        out->timeout_ms = value.number;
    } else if (strcmp(o->name, "cluster-key-file") == 0) {
        out->cluster_key_file = text;
    } else {
        assert(strcmp(o->name, "endpoint") == 0);
        if (out->nendpoints == CLI_ENDPOINTS_MAX)
            return ps_error_set(p->err, PS_EINVAL, "more than %d endpoints", CLI_ENDPOINTS_MAX);
        out->endpoints[out->nendpoints++] = text;
    }
    return 0;
}

static int unknown_option(struct parser *p, const char *name, size_t length)
{
    char word[64];
    (void)snprintf(word, sizeof word, "%.*s", (int)(length < 63 ? length : 63), name);
    struct suggestion s = {.word = word};
    if (p->out->command)
        for (size_t i = 0; i < CLI_OPTIONS_MAX && p->out->command->options[i].name; i++)
            suggest_offer(&s, p->out->command->options[i].name);
    for (const struct cli_option *o = cli_global_options; o->name; o++)
        suggest_offer(&s, o->name);
    return unknown(p, "option", word, &s, "--");
}

/* Takes the option at argv[at] and its value, which may be part of the same
 * word ("--size=1G", "-s1G") or the next one. */
static int take_option(struct parser *p)
{
    const char *word = p->argv[p->at++];
    const bool is_long = word[1] == '-';
    const char *name = is_long ? word + 2 : NULL;
    const char *attached = is_long ? strchr(name, '=') : word[2] ? word + 2 : NULL;
    const size_t length = !is_long ? 0 : attached ? (size_t)(attached - name) : strlen(name);
    if (is_long && attached)
        attached++;

    const struct cli_command *c = p->out->command;
    const struct cli_option *own = c ? find_option(c->options, CLI_OPTIONS_MAX, name, length, word[1]) : NULL;
    const struct cli_option *o = own ? own : find_option(cli_global_options, SIZE_MAX, name, length, word[1]);
    if (!o)
        return is_long ? unknown_option(p, name, length)
                       : ps_error_set(p->err, PS_EINVAL, "unknown option \"-%c\"; see \"pstorage --help\"",
                                      word[1]);
    if (o->kind == CLI_FLAG && attached)
        return ps_error_set(p->err, PS_EINVAL, "--%s takes no value%s", o->name,
                            is_long ? "" : "; write letters apart");
    const char *text = attached;
    if (o->kind != CLI_FLAG && !text) {
        if (p->at == p->argc)
            return ps_error_set(p->err, PS_EINVAL, "--%s needs a value: --%s %s", o->name, o->name,
                                o->metavar);
        text = p->argv[p->at++];
    }
    if (!own)
        return set_global(p, o, text);

    struct cli_value *value = &p->out->options[own - c->options];
    if (value->given && !own->repeatable)
        return ps_error_set(p->err, PS_EINVAL, "--%s is given twice", own->name);
    if (own->kind == CLI_FLAG) {
        value->given = true;
        return 0;
    }
    return parse_value(p, own, text, value);
}

/* ---- operands */

static int check_operand(struct parser *p, const struct cli_operand *o, const char *text)
{
    const char *at = strchr(text, '@');
    if (!*text)
        return ps_error_set(p->err, PS_EINVAL, "%s is empty", o->metavar);
    if (o->kind == CLI_SNAPSHOT && (!at || at == text || !at[1]))
        return ps_error_set(p->err, PS_EINVAL, "\"%s\" does not name a snapshot: write VOLUME@SNAP", text);
    if ((o->kind == CLI_VOLUME || o->kind == CLI_NEW) && at)
        return ps_error_set(p->err, PS_EINVAL, "\"%s\" names a snapshot; a volume is wanted here", text);
    if (o->kind == CLI_SHELL && strcmp(text, "bash") != 0)
        return ps_error_set(p->err, PS_EINVAL, "no completion for \"%s\"; there is bash", text);
    return 0;
}

static int take_operand(struct parser *p, const char *text)
{
    const struct cli_command *c = p->out->command;
    if (p->noperands == CLI_OPERANDS_MAX || !c->operands[p->noperands].metavar)
        return ps_error_set(p->err, PS_EINVAL,
                            "\"%s\" is one argument too many; see \"pstorage %s%s%s --help\"", text, c->noun,
                            c->verb ? " " : "", c->verb ? c->verb : "");
    const int rc = check_operand(p, &c->operands[p->noperands], text);
    if (rc)
        return rc;
    p->out->operands[p->noperands++] = text;
    return 0;
}

static int check_complete(struct parser *p)
{
    const struct cli_command *c = p->out->command;
    for (size_t i = p->noperands; i < CLI_OPERANDS_MAX && c->operands[i].metavar; i++)
        if (!c->operands[i].optional)
            return ps_error_set(p->err, PS_EINVAL, "%s is missing; see \"pstorage %s%s%s --help\"",
                                c->operands[i].metavar, c->noun, c->verb ? " " : "", c->verb ? c->verb : "");
    for (size_t i = 0; i < CLI_OPTIONS_MAX && c->options[i].name; i++)
        if (c->options[i].required && !p->out->options[i].given)
            return ps_error_set(p->err, PS_EINVAL, "--%s %s is missing", c->options[i].name,
                                c->options[i].metavar);
    return 0;
}

/* ---- the command words */

static int unknown_noun(struct parser *p, const char *word)
{
    struct suggestion s = {.word = word};
    for (const struct cli_noun *n = cli_nouns; n->name; n++)
        suggest_offer(&s, n->name);
    if (!s.nearest) {
        /* "pstorage create volume" or "pstorage list": the verb alone. */
        for (size_t i = 0; i < CLI_COMMAND_COUNT; i++)
            if (cli_commands[i].verb && strcmp(cli_commands[i].verb, word) == 0)
                return ps_error_set(p->err, PS_EINVAL, "unknown command \"%s\"; did you mean \"%s %s\"?",
                                    word, cli_commands[i].noun, word);
    }
    return unknown(p, "command", word, &s, "");
}

static int unknown_verb(struct parser *p, const char *noun, const char *word)
{
    struct suggestion s = {.word = word};
    char list[160] = "";
    for (size_t i = 0; i < CLI_COMMAND_COUNT; i++) {
        if (strcmp(cli_commands[i].noun, noun) != 0)
            continue;
        suggest_offer(&s, cli_commands[i].verb);
        const size_t used = strlen(list);
        (void)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", cli_commands[i].verb);
    }
    if (s.nearest)
        return ps_error_set(p->err, PS_EINVAL, "unknown command \"%s %s\"; did you mean \"%s %s\"?", noun,
                            word, noun, s.nearest);
    return ps_error_set(p->err, PS_EINVAL, "unknown command \"%s %s\"; %s has %s", noun, word, noun, list);
}

static int take_word(struct parser *p, const char *word)
{
    struct cli_invocation *out = p->out;
    if (out->command)
        return take_operand(p, word);
    if (!out->noun) {
        if (!cli_noun_find(word))
            return unknown_noun(p, word);
        out->noun = word;
        out->command = cli_command_find(word, NULL);
        return 0;
    }
    out->command = cli_command_find(out->noun, word);
    if (!out->command && strcmp(word, "help") == 0) {
        out->help = true;
        return 0;
    }
    return out->command ? 0 : unknown_verb(p, out->noun, word);
}

/* `pstorage help volume create` is `pstorage volume create --help`. */
static int resolve_help(struct parser *p)
{
    struct cli_invocation *out = p->out;
    const char *noun = out->operands[0], *verb = out->operands[1];
    out->help = true;
    out->command = NULL;
    out->noun = NULL;
    p->noperands = 0;
    memset(out->operands, 0, sizeof out->operands);
    int rc = noun ? take_word(p, noun) : 0;
    if (!rc && verb)
        rc = out->command ? ps_error_set(p->err, PS_EINVAL, "\"%s\" has no \"%s\"", noun, verb)
                          : take_word(p, verb);
    return rc;
}

static int parse_words(struct parser *p)
{
    while (p->at < p->argc) {
        const char *word = p->argv[p->at];
        int rc;
        if (!p->options_ended && strcmp(word, "--") == 0) {
            p->options_ended = true;
            p->at++;
            continue;
        }
        /* "-" alone is standard input. */
        if (!p->options_ended && word[0] == '-' && word[1])
            rc = take_option(p);
        else
            rc = take_word(p, p->argv[p->at++]);
        if (rc)
            return rc;
    }
    return 0;
}

int cli_parse(int argc, char *const argv[], struct cli_invocation *out, struct ps_error *err)
{
    *out = (struct cli_invocation){0};
    struct parser p = {.argc = argc, .at = 1, .argv = argv, .out = out, .err = err};
    const int rc = parse_words(&p);
    if (rc) {
        for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
            if (strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "-j") == 0)
                out->json = true;
        return rc;
    }
    if (out->help || out->version)
        return 0;
    if (!out->command) {
        if (out->noun)
            return ps_error_set(err, PS_EINVAL, "\"%s\" needs a verb; see \"pstorage %s --help\"", out->noun,
                                out->noun);
        out->help = true;
        return 0;
    }
    if (out->command->id == CLI_HELP)
        return resolve_help(&p);
    return check_complete(&p);
}

const struct cli_value *cli_option_value(const struct cli_invocation *in, const char *name)
{
    for (size_t i = 0; i < CLI_OPTIONS_MAX && in->command->options[i].name; i++)
        if (strcmp(in->command->options[i].name, name) == 0)
            return &in->options[i];
    abort(); /* a bug of ours: the command table has no such option */
}

bool cli_flag(const struct cli_invocation *in, const char *name)
{
    return cli_option_value(in, name)->given;
}

uint64_t cli_number(const struct cli_invocation *in, const char *name, uint64_t absent)
{
    const struct cli_value *v = cli_option_value(in, name);
    return v->given ? v->number : absent;
}
