/* The text of scenarios: what is read, what is printed, and what is said of what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/scenario.h"

static char *printed(const struct scenario *s)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    assert_non_null(f);
    scenario_print(s, f);
    assert_int_equal(fclose(f), 0);
    return text;
}

static void a_scenario_is_read_as_it_is_written(void **state)
{
    (void)state;
    static const char text[] = "seed 9\n"
                               "nodes 3\n"
                               "drift a -30000\n"
                               "disk 80M of b\n"
                               "array 4+2 of b\n"
                               "async c\n"
                               "preferred b\n"
                               "noise on\n"
                               "break skip-lease\n"
                               "at 1500ms crash primary tear for 20us\n"
                               "at 2s cut a -> mediator for 1.000000250s\n"
                               "after 1s cut a <-> b\n"
                               "when leads b within 60s: stop mediator for 3s\n"
                               "expect serving within 3s\n"
                               "expect unserved for 2s\n"
                               "expect in-sync all\n"
                               "fail-disk b full for 1s\n"
                               "lose-answer crash for 5ms\n"
                               "fill 16M\n"
                               "rot a 7\n"
                               "rot-metadata b\n"
                               "fail-device b\n"
                               "rot-device primary\n"
                               "replace-devices all\n"
                               "load off\n"
                               "heal b\n"
                               "heal\n";
    struct scenario s;
    struct ps_error err = {0};
    assert_int_equal(scenario_parse(&s, text, strlen(text), &err), 0);
    assert_int_equal(s.step_count, 18);
    assert_int_equal(s.steps[0].who, WHO_PRIMARY);
    assert_int_equal(s.steps[0].for_ns, 20000);
    assert_int_equal(s.steps[0].line, 10);
    assert_int_equal(s.steps[1].for_ns, SECOND + 250);
    char *again = printed(&s);
    assert_string_equal(again, text);
    free(again);
    scenario_free(&s);
}

static void what_is_drawn_can_be_written_and_read_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct scenario drawn, read;
        struct ps_error err = {0};
        scenario_draw(&drawn, seed, 0, 0);
        char *text = printed(&drawn);
        if (scenario_parse(&read, text, strlen(text), &err))
            fail_msg("seed %llu: %s", (unsigned long long)seed, err.detail);
        char *again = printed(&read);
        assert_string_equal(text, again);
        free(text);
        free(again);
        scenario_free(&drawn);
        scenario_free(&read);
    }
}

static void what_is_wrong_is_said_with_its_line_and_what_would_be_right(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"\n# nothing\nat 2s crsh a\n",
         "line 3: \"crsh\" is no action; crash, restart, cut, heal, stop mediator… are: see --help"},
        {"at 2 crash a\n", "line 1: \"2\" is no time: 2s, 1.5s, 300ms and 20us are; at most 86400s"},
        {"crash\n", "line 1: \"\" is nobody: a to b are, primary and backup, and all"},
        {"nodes 2\ncrash c\n", "line 2: there is no node c: \"nodes 2\" makes a to b"},
        {"nodes 6\n", "line 1: \"6\" is no number of nodes: a number from 1 to 5"},
        {"cut a b\n", "line 1: \"b\" is no direction: -> or <->"},
        {"cut a -> a\n", "line 1: a link has two ends"},
        {"crash a now\n", "line 1: \"now\" is too much: crash WHO [lose|keep|tear|reorder] [for TIME]"},
        {"when leads b stop mediator\n", "line 1: a colon is missing: when CONDITION [within TIME]: ACTION"},
        {"when\n", "line 1: a condition is missing behind \"when\""},
        {"expect bliss\n",
         "line 1: \"bliss\" is no condition; leads, serving, in-sync, full-copy… are: see --help"},
        {"expect unserved\n", "line 1: it takes a time: unserved for 2s"},
        {"crash a for 0s\n", "line 1: no time at all is nothing: for 1ms and more"},
        {"lose-answer crash\n", "line 1: it takes a time: lose-answer [crash] for TIME"},
        {"expect serving\n", "line 1: it takes a time: serving within 2s"},
        {"expect leads a in 3s\n",
         "line 1: \"in\" is too much behind the condition: only \"within TIME\" may follow"},
        {"heal\nseed 3\n", "line 2: settings come before the first step"},
        {"disk 1G of mediator\n", "line 1: \"mediator\" is nobody: a to b are, primary and backup, and all"},
        {"array 3-1\n", "line 1: \"3-1\" is no array: 3+1 is; one or two of parity, at most 6 devices"},
        {"array 5+2\n", "line 1: \"5+2\" is no array: 3+1 is; one or two of parity, at most 6 devices"},
        {"array 2+1 of primary\n", "line 1: an array belongs to a node: array 3+1 of b"},
        {"disk 3M\n", "line 1: \"3M\" is no size of a disk: 80M is; whole MiB from 52M to 4G"},
        {"async a\n", "line 1: a is the first primary, which is not asynchronous"},
        {"async b\npreferred b\n", "the preferred node is asynchronous: it can't be primary"},
        {"at 2s heal\nat 1s heal\n", "line 2: it is before the time of a line above: steps are in order"},
        {"break a-leg\n", "line 1: \"a-leg\" is no rule to break: --break list names them"},
        {"load loud\n", "line 1: \"loud\" is neither on nor off"},
        {"stop a\n", "line 1: only the mediator is stopped and started; nodes crash and restart"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scenario s;
        struct ps_error err = {0};
        assert_int_equal(scenario_parse(&s, cases[i].text, strlen(cases[i].text), &err), PS_EINVAL);
        assert_string_equal(err.detail, cases[i].says);
        scenario_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scenario_is_read_as_it_is_written),
        cmocka_unit_test(what_is_drawn_can_be_written_and_read_again),
        cmocka_unit_test(what_is_wrong_is_said_with_its_line_and_what_would_be_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
