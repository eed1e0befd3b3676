/* A seed that fails because a rule is broken is made short, and still fails by the same check. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "tests/sim/sim.h"

enum {
    SEEDS = 60
};

/* The first seed with many steps that notices. */
static enum sim_check first_failure(struct scenario *s)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim_result r;
        scenario_draw(s, seed, 2, 6);
        if (s->array[0].parity || s->array[1].parity) { /* hundreds of runs would take three times as long */
            scenario_free(s);
            continue;
        }
        s->mutation = REPLICA_KEEP_TAIL;
        sim_run_apart(&(struct sim_options){.scenario = s}, &r);
        if (r.failed && s->step_count >= 10)
            return r.failed;
        scenario_free(s);
    }
    fail_msg("no seed notices");
    return SIM_GOOD;
}

static void a_failing_scenario_gets_short_and_still_fails_by_the_same_check(void **state)
{
    (void)state;
    struct scenario s;
    struct sim_result r;
    const enum sim_check check = first_failure(&s);
    const size_t before = s.step_count;
    (void)sim_minimise(&s, check, 400, NULL);
    assert_true(s.step_count <= 6 && s.step_count * 2 <= before);
    sim_run_apart(&(struct sim_options){.scenario = &s}, &r);
    assert_int_equal(r.failed, check);
    /* With the rule kept nothing is wrong with it. */
    s.mutation = REPLICA_HONEST;
    sim_run_apart(&(struct sim_options){.scenario = &s}, &r);
    assert_int_equal(r.failed, SIM_GOOD);
    scenario_free(&s);
}

static void what_cannot_fail_any_more_stays_as_it_was(void **state)
{
    (void)state;
    struct scenario s;
    scenario_draw(&s, 2, 2, 2);
    const size_t before = s.step_count;
    (void)sim_minimise(&s, SIM_HISTORY, 20, NULL);
    assert_int_equal(s.step_count, before);
    scenario_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failing_scenario_gets_short_and_still_fails_by_the_same_check),
        cmocka_unit_test(what_cannot_fail_any_more_stays_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
