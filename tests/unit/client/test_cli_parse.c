/* From the command line to the command, and what is said when that fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "client/cli/parse.h"
#include "client/cli/suggest.h"

enum {
    WORDS_MAX = 24
};

/* Splits at single blanks: good enough for these lines. */
static int parse(const char *line, struct cli_invocation *in, struct ps_error *err)
{
    static char copy[512];
    static char *argv[WORDS_MAX + 1];
    int argc = 0;
    assert_true(strlen(line) < sizeof copy);
    strcpy(copy, line);
    argv[argc++] = copy;
    for (char *p = copy; *p; p++) {
        if (*p != ' ')
            continue;
        *p = '\0';
        assert_true(argc < WORDS_MAX);
        argv[argc++] = p + 1;
    }
    argv[argc] = NULL;
    *err = (struct ps_error){0};
    return cli_parse(argc, argv, in, err);
}

static struct cli_invocation good(const char *line)
{
    struct cli_invocation in;
    struct ps_error err;
    if (parse(line, &in, &err))
        fail_msg("%s: %s", line, err.detail);
    return in;
}

static void bad(const char *line, const char *message)
{
    struct cli_invocation in;
    struct ps_error err;
    assert_int_equal(parse(line, &in, &err), PS_EINVAL);
    assert_string_equal(err.detail, message);
}

static void a_command_is_found_with_its_operands_and_options(void **state)
{
    (void)state;
    struct cli_invocation in = good("pstorage volume create vm1 --size 10G --write-cache --pod fast");
    assert_int_equal(in.command->id, CLI_VOLUME_CREATE);
    assert_string_equal(in.operands[0], "vm1");
    assert_int_equal(cli_number(&in, "size", 0), 10ull << 30);
    assert_true(cli_flag(&in, "write-cache"));
    assert_string_equal(cli_option_value(&in, "pod")->text, "fast");
    assert_false(in.json);

    in = good("pstorage status");
    assert_int_equal(in.command->id, CLI_STATUS);
    in = good("pstorage clone create a@b c");
    assert_string_equal(in.operands[0], "a@b");
    assert_string_equal(in.operands[1], "c");
}

static void options_stand_anywhere_and_in_any_spelling(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "pstorage volume create vm1 --size 1M --json", "pstorage --json volume create --size=1M vm1",
        "pstorage volume --json create -s 1M vm1", "pstorage -j volume create -s1M vm1",
        "pstorage volume create --json --size 1M -- vm1"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const struct cli_invocation in = good(lines[i]);
        assert_string_equal(in.operands[0], "vm1");
        assert_int_equal(cli_number(&in, "size", 0), 1 << 20);
        assert_true(in.json);
    }
}

static void endpoints_add_up_in_their_order(void **state)
{
    (void)state;
    const struct cli_invocation in = good("pstorage -e tcp://a:1 volume list --endpoint tcp://b:2");
    assert_int_equal(in.nendpoints, 2);
    assert_string_equal(in.endpoints[0], "tcp://a:1");
    assert_string_equal(in.endpoints[1], "tcp://b:2");
}

static void what_is_optional_may_be_missing(void **state)
{
    (void)state;
    const struct cli_invocation in = good("pstorage snapshot list");
    assert_null(in.operands[0]);
    assert_int_equal(
        cli_number(&(struct cli_invocation){.command = cli_command_find("volume", "read")}, "offset", 7), 7);
    assert_string_equal(good("pstorage snapshot list vm1").operands[0], "vm1");
}

static void a_dash_alone_is_standard_input_and_two_end_the_options(void **state)
{
    (void)state;
    assert_string_equal(good("pstorage volume import - vm1 --size 1G").operands[0], "-");
    assert_string_equal(good("pstorage volume import -- --odd-name vm1").operands[0], "--odd-name");
}

static void values_are_checked(void **state)
{
    (void)state;
    assert_int_equal(good("pstorage events -n 5").options[1].number, 5);
    assert_int_equal(good("pstorage status --timeout 1.5").timeout_ms, 1500);
    assert_int_equal(cli_number(&(struct cli_invocation[]){good("pstorage volume set v --write-cache on")}[0],
                                "write-cache", 9),
                     1);
    assert_int_equal(
        cli_number(&(struct cli_invocation[]){good("pstorage volume set v --write-cache off")}[0],
                   "write-cache", 9),
        0);
    bad("pstorage events -n -5", "--limit needs a whole number, not \"-5\"");
    bad("pstorage events -n 99999999999999999999",
        "--limit needs a whole number, not \"99999999999999999999\"");
    bad("pstorage status --timeout nan", "--timeout needs seconds, from 0.001 to 86400, not \"nan\"");
    bad("pstorage status --timeout 0", "--timeout needs seconds, from 0.001 to 86400, not \"0\"");
    bad("pstorage volume set v --write-cache yes", "--write-cache needs on or off, not \"yes\"");
}

static void a_wrong_word_is_answered_with_the_one_that_was_meant(void **state)
{
    (void)state;
    bad("pstorage volum list", "unknown command \"volum\"; did you mean \"volume\"?");
    bad("pstorage snap list", "unknown command \"snap\"; did you mean \"snapshot\"?");
    bad("pstorage volume craete x", "unknown command \"volume craete\"; did you mean \"volume create\"?");
    bad("pstorage create volume", "unknown command \"create\"; did you mean \"volume create\"?");
    bad("pstorage volume create x --sise 1G", "unknown option \"--sise\"; did you mean \"--size\"?");
    bad("pstorage volume list --jason", "unknown option \"--jason\"; did you mean \"--json\"?");
    bad("pstorage frobnicate", "unknown command \"frobnicate\"; see \"pstorage --help\"");
    bad("pstorage clone xyzzyx a", "unknown command \"clone xyzzyx\"; clone has create");
    bad("pstorage volume list --zzzzzzzz", "unknown option \"--zzzzzzzz\"; see \"pstorage --help\"");
    bad("pstorage volume list -z", "unknown option \"-z\"; see \"pstorage --help\"");
}

static void what_is_missing_or_too_much_is_named(void **state)
{
    (void)state;
    bad("pstorage volume", "\"volume\" needs a verb; see \"pstorage volume --help\"");
    bad("pstorage volume create --size 1G", "NAME is missing; see \"pstorage volume create --help\"");
    bad("pstorage volume create x", "--size SIZE is missing");
    bad("pstorage volume create x --size", "--size needs a value: --size SIZE");
    bad("pstorage volume create x --size 1G --size 2G", "--size is given twice");
    bad("pstorage volume show a b", "\"b\" is one argument too many; see \"pstorage volume show --help\"");
    bad("pstorage volume list --quiet=yes", "--quiet takes no value");
}

static void names_of_snapshots_and_volumes_are_told_apart(void **state)
{
    (void)state;
    bad("pstorage snapshot create vm1", "\"vm1\" does not name a snapshot: write VOLUME@SNAP");
    bad("pstorage snapshot delete vm1@", "\"vm1@\" does not name a snapshot: write VOLUME@SNAP");
    bad("pstorage snapshot delete @x", "\"@x\" does not name a snapshot: write VOLUME@SNAP");
    bad("pstorage volume delete vm1@x", "\"vm1@x\" names a snapshot; a volume is wanted here");
    assert_string_equal(good("pstorage volume show vm1@x").operands[0], "vm1@x");
}

static void help_is_found_for_the_program_a_noun_and_a_command(void **state)
{
    (void)state;
    struct cli_invocation in = good("pstorage");
    assert_true(in.help && !in.command && !in.noun);
    in = good("pstorage help");
    assert_true(in.help && !in.command && !in.noun);
    in = good("pstorage volume --help");
    assert_true(in.help && !in.command);
    assert_string_equal(in.noun, "volume");
    in = good("pstorage volume help");
    assert_true(in.help && !in.command);
    in = good("pstorage volume create -h"); /* without what it needs otherwise */
    assert_true(in.help);
    assert_int_equal(in.command->id, CLI_VOLUME_CREATE);
    in = good("pstorage help volume create");
    assert_true(in.help);
    assert_int_equal(in.command->id, CLI_VOLUME_CREATE);
    in = good("pstorage help status");
    assert_int_equal(in.command->id, CLI_STATUS);
    assert_true(good("pstorage --version").version);
    bad("pstorage help volume crate", "unknown command \"volume crate\"; did you mean \"volume create\"?");
}

static void json_is_known_even_when_the_rest_is_wrong(void **state)
{
    (void)state;
    struct cli_invocation in;
    struct ps_error err;
    assert_int_equal(parse("pstorage volum list --json", &in, &err), PS_EINVAL);
    assert_true(in.json);
    assert_int_equal(parse("pstorage volum list -- --json", &in, &err), PS_EINVAL);
    assert_false(in.json);
}

static void the_table_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLI_COMMAND_COUNT; i++) {
        const struct cli_command *c = &cli_commands[i];
        assert_int_equal(c->id, i); /* main.c finds the code by it */
        assert_non_null(cli_noun_find(c->noun));
        assert_ptr_equal(cli_command_find(c->noun, c->verb), c);
        assert_true(c->summary && c->summary[strlen(c->summary) - 1] != '.');
        for (size_t k = 0; k < CLI_OPTIONS_MAX && c->options[k].name; k++) {
            const struct cli_option *o = &c->options[k];
            assert_true((o->kind == CLI_FLAG) == (o->metavar == NULL));
            /* No option of a command hides one that all have. */
            for (const struct cli_option *g = cli_global_options; g->name; g++) {
                assert_string_not_equal(g->name, o->name);
                assert_true(!o->letter || g->letter != o->letter);
            }
        }
    }
}

static void the_distance_counts_slips_of_the_finger(void **state)
{
    (void)state;
    assert_int_equal(suggest_distance("", ""), 0);
    assert_int_equal(suggest_distance("abc", "abc"), 0);
    assert_int_equal(suggest_distance("abc", ""), 3);
    assert_int_equal(suggest_distance("abc", "abd"), 1);
    assert_int_equal(suggest_distance("abc", "acb"), 1);
    assert_int_equal(suggest_distance("kitten", "sitting"), 3);
    char tall[100];
    memset(tall, 'a', sizeof tall - 1);
    tall[sizeof tall - 1] = '\0';
    assert_true(suggest_distance(tall, "a") == SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_is_found_with_its_operands_and_options),
        cmocka_unit_test(options_stand_anywhere_and_in_any_spelling),
        cmocka_unit_test(endpoints_add_up_in_their_order),
        cmocka_unit_test(what_is_optional_may_be_missing),
        cmocka_unit_test(a_dash_alone_is_standard_input_and_two_end_the_options),
        cmocka_unit_test(values_are_checked),
        cmocka_unit_test(a_wrong_word_is_answered_with_the_one_that_was_meant),
        cmocka_unit_test(what_is_missing_or_too_much_is_named),
        cmocka_unit_test(names_of_snapshots_and_volumes_are_told_apart),
        cmocka_unit_test(help_is_found_for_the_program_a_noun_and_a_command),
        cmocka_unit_test(json_is_known_even_when_the_rest_is_wrong),
        cmocka_unit_test(the_table_is_sound),
        cmocka_unit_test(the_distance_counts_slips_of_the_finger),
    };
    return cmocka_run_group_tests_name("cli parse", tests, NULL, NULL);
}
