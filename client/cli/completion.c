/* Bash completion. The table's words are written into the script; names of
 * volumes and snapshots are asked of the array when they are wanted, with a
 * short timeout, so that a dead endpoint costs a second and no more. */
#include <stdint.h>
#include <string.h>

#include "client/cli/help.h"

static const char *filler(enum cli_kind kind)
{
    switch (kind) {
    case CLI_VOLUME:
        return "_pstorage_volumes";
    case CLI_SNAPSHOT:
        return "_pstorage_snapshots";
    case CLI_IMAGE:
        return "_pstorage_images";
    case CLI_FILE:
        return "_pstorage_files";
    case CLI_SWITCH:
        return "_pstorage_words 'on off'";
    case CLI_STEP:
        return "_pstorage_words 'minute hour day'";
    case CLI_SHELL:
        return "_pstorage_words bash";
    case CLI_WORD:
        return "_pstorage_help_words";
    default:
        return ":";
    }
}

static void words(FILE *out, const struct cli_option *options, size_t max)
{
    for (size_t i = 0; i < max && options[i].name; i++) {
        (void)fprintf(out, " --%s", options[i].name);
        if (options[i].letter)
            (void)fprintf(out, " -%c", options[i].letter);
    }
}

/* Patterns of the options that take a value, parted by '|'. */
static bool value_options(FILE *out, const struct cli_option *options, size_t max, bool first)
{
    for (size_t i = 0; i < max && options[i].name; i++) {
        if (options[i].kind == CLI_FLAG)
            continue;
        (void)fprintf(out, "%s--%s", first ? "" : "|", options[i].name);
        if (options[i].letter)
            (void)fprintf(out, "|-%c", options[i].letter);
        first = false;
    }
    return first;
}

static void command_case(FILE *out, const struct cli_command *c)
{
    (void)fprintf(out, "    '%s%s%s')\n", c->noun, c->verb ? " " : "", c->verb ? c->verb : "");
    (void)fputs("        options=\"$options", out);
    words(out, c->options, CLI_OPTIONS_MAX);
    (void)fputs("\"\n        case $previous in\n", out);
    for (size_t i = 0; i < CLI_OPTIONS_MAX && c->options[i].name; i++) {
        if (c->options[i].kind == CLI_FLAG)
            continue;
        (void)fprintf(out, "        --%s", c->options[i].name);
        if (c->options[i].letter)
            (void)fprintf(out, "|-%c", c->options[i].letter);
        (void)fprintf(out, ") %s; return ;;\n", filler(c->options[i].kind));
    }
    (void)fputs("        esac\n        case $operands in\n", out);
    for (size_t i = 0; i < CLI_OPERANDS_MAX && c->operands[i].metavar; i++)
        (void)fprintf(out, "        %zu) filler=\"%s\" ;;\n", i, filler(c->operands[i].kind));
    (void)fputs("        esac ;;\n", out);
}

static void verb_list(FILE *out, const char *noun)
{
    bool first = true;
    for (size_t i = 0; i < CLI_COMMAND_COUNT; i++) {
        if (strcmp(cli_commands[i].noun, noun) != 0 || !cli_commands[i].verb)
            continue;
        (void)fprintf(out, "%s%s", first ? "" : " ", cli_commands[i].verb);
        first = false;
    }
}

static void noun_list(FILE *out)
{
    for (const struct cli_noun *n = cli_nouns; n->name; n++)
        (void)fprintf(out, "%s%s", n == cli_nouns ? "" : " ", n->name);
}

void completion_write_bash(FILE *out)
{
    (void)fputs("# bash completion for pstorage; made from its command table\n\n"
                "_pstorage_words() {\n"
                "    COMPREPLY+=($(compgen -W \"$1\" -- \"$current\"))\n"
                "}\n\n"
                "_pstorage_files() {\n"
                "    compopt -o filenames 2>/dev/null\n"
                "    local IFS=$'\\n'\n"
                "    COMPREPLY+=($(compgen -f -- \"$current\"))\n"
                "}\n\n"
                "# Asks the array, at the endpoints named so far on this line.\n"
                "_pstorage_ask() {\n"
                "    \"${words[0]}\" \"$@\" \"${endpoints[@]}\" --quiet --timeout 1 2>/dev/null\n"
                "}\n\n"
                "_pstorage_volumes() { _pstorage_words \"$(_pstorage_ask volume list)\"; }\n"
                "_pstorage_snapshots() { _pstorage_words \"$(_pstorage_ask snapshot list)\"; }\n"
                "_pstorage_images() {\n"
                "    _pstorage_volumes\n"
                "    [[ $current == *@* ]] && _pstorage_snapshots\n"
                "}\n\n",
                out);
    (void)fputs("_pstorage_verbs() {\n    case $1 in\n", out);
    for (const struct cli_noun *n = cli_nouns; n->name; n++) {
        if (cli_command_find(n->name, NULL))
            continue;
        (void)fprintf(out, "    %s) _pstorage_words '", n->name);
        verb_list(out, n->name);
        (void)fputs("' ;;\n", out);
    }
    (void)fputs("    esac\n}\n\n_pstorage_nouns() { _pstorage_words '", out);
    noun_list(out);
    (void)fputs("'; }\n\n"
                "_pstorage_help_words() {\n"
                "    if [[ $operands -eq 0 ]]; then _pstorage_nouns; else _pstorage_verbs \"$last\"; fi\n"
                "}\n\n"
                "_pstorage() {\n"
                "    local current previous words=() endpoints=() noun= verb= last= filler=: operands=0 "
                "options i word\n"
                "    COMPREPLY=()\n"
                "    # Names hold '@', URLs ':', which bash would take for the ends of words.\n"
                "    if declare -F _get_comp_words_by_ref >/dev/null; then\n"
                "        local cword\n"
                "        _get_comp_words_by_ref -n '=:@' -c current -p previous -w words -i cword\n"
                "    else\n"
                "        words=(\"${COMP_WORDS[@]}\") cword=$COMP_CWORD\n"
                "        current=${words[cword]} previous=${words[cword - 1]}\n"
                "    fi\n"
                "    options='",
                out);
    words(out, cli_global_options, SIZE_MAX);
    (void)fputs(
        "'\n"
        "    for ((i = 1; i < cword; i++)); do\n"
        "        word=${words[i]}\n"
        "        case $word in\n"
        "        --endpoint|-e|--cluster-key-file) endpoints+=(\"$word\" \"${words[i + 1]}\"); ((i++)) ;;\n"
        "        --endpoint=*|--cluster-key-file=*) endpoints+=(\"$word\") ;;\n"
        "        ",
        out);
    bool first = true;
    for (size_t i = 0; i < CLI_COMMAND_COUNT; i++)
        for (size_t k = 0; k < CLI_OPTIONS_MAX && cli_commands[i].options[k].name; k++)
            first = value_options(out, &cli_commands[i].options[k], 1, first);
    (void)value_options(out, cli_global_options, SIZE_MAX, first);
    (void)fputs(") ((i++)) ;;\n"
                "        -?*) ;;\n"
                "        *)\n"
                "            if [[ -z $noun ]]; then\n"
                "                noun=$word\n"
                "                case $noun in\n                ",
                out);
    first = true;
    for (const struct cli_noun *n = cli_nouns; n->name; n++) {
        if (!cli_command_find(n->name, NULL))
            continue;
        (void)fprintf(out, "%s%s", first ? "" : "|", n->name);
        first = false;
    }
    (void)fputs(
        ") verb=- ;;\n"
        "                esac\n"
        "            elif [[ -z $verb ]]; then\n"
        "                verb=$word\n"
        "            else\n"
        "                ((operands++))\n"
        "                last=$word\n"
        "            fi ;;\n"
        "        esac\n"
        "    done\n"
        "    if [[ -z $noun ]]; then\n"
        "        if [[ $current == -* ]]; then _pstorage_words \"$options\"; else _pstorage_nouns; fi\n"
        "        return\n"
        "    fi\n"
        "    if [[ -z $verb ]]; then\n"
        "        if [[ $current == -* ]]; then _pstorage_words \"$options\"; else _pstorage_verbs \"$noun\"; "
        "fi\n"
        "        return\n"
        "    fi\n"
        "    word=$noun\n"
        "    [[ $verb == - ]] || word=\"$noun $verb\"\n"
        "    case $word in\n",
        out);
    for (size_t i = 0; i < CLI_COMMAND_COUNT; i++)
        command_case(out, &cli_commands[i]);
    (void)fputs("    esac\n"
                "    case $previous in\n    ",
                out);
    (void)value_options(out, cli_global_options, SIZE_MAX, true);
    (void)fputs(") return ;;\n"
                "    esac\n"
                "    if [[ $current == -?* ]]; then _pstorage_words \"$options\"; else $filler; fi\n"
                "    # Where bash ends words at '@', the word to replace begins behind it.\n"
                "    if [[ $current == *@* && $COMP_WORDBREAKS == *@* ]]; then\n"
                "        for i in \"${!COMPREPLY[@]}\"; do COMPREPLY[i]=${COMPREPLY[i]#*@}; done\n"
                "    fi\n"
                "}\n\n"
                "complete -F _pstorage pstorage\n",
                out);
}
