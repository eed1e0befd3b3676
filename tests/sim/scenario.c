/* Scenarios as values, and written as text. */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/sizes.h"
#include "tests/sim/scenario_words.h"

enum {
    LINE_MAX_BYTES = 400
};

const struct scenario_action scenario_actions[ACTIONS] = {
    [ACTION_NONE] = {"nothing", FORM_NOTHING, "nothing"},
    [ACTION_CRASH] = {"crash", FORM_CRASH, "crash WHO [lose|keep|tear|reorder] [for TIME]"},
    [ACTION_RESTART] = {"restart", FORM_WHO_ONLY, "restart WHO"},
    [ACTION_PAUSE] = {"pause", FORM_WHO, "pause WHO [for TIME]"},
    [ACTION_STALL] = {"stall", FORM_WHO, "stall WHO [for TIME]"},
    [ACTION_RESUME] = {"resume", FORM_WHO_ONLY, "resume WHO"},
    [ACTION_CUT] = {"cut", FORM_CUT, "cut X -> Y [for TIME], cut X <-> Y [for TIME]"},
    [ACTION_ISOLATE] = {"isolate", FORM_WHO, "isolate WHO [for TIME]"},
    [ACTION_PART] = {"part", FORM_WHO, "part WHO [for TIME]"},
    [ACTION_HEAL] = {"heal", FORM_HEAL, "heal [WHO]"},
    [ACTION_STOP] = {"stop", FORM_MEDIATOR, "stop mediator [for TIME]"},
    [ACTION_START] = {"start", FORM_MEDIATOR, "start mediator [empty]"},
    [ACTION_SLOW] = {"slow", FORM_WHO, "slow WHO [for TIME]"},
    [ACTION_CLOG] = {"clog", FORM_FOR, "clog [for TIME]"},
    [ACTION_SWITCH_OVER] = {"switch-over", FORM_WHO_ONLY, "switch-over WHO"},
    [ACTION_LOSE_ANSWER] = {"lose-answer", FORM_ANSWER, "lose-answer [crash] for TIME"},
    [ACTION_REPLACE] = {"replace", FORM_WHO_ONLY, "replace WHO"},
    [ACTION_FAIL_DISK] = {"fail-disk", FORM_DISK, "fail-disk WHO [full] [for TIME]"},
    [ACTION_ROT] = {"rot", FORM_BITS, "rot WHO N"},
    [ACTION_ROT_METADATA] = {"rot-metadata", FORM_WHO_ONLY, "rot-metadata WHO"},
    [ACTION_CORRUPT] = {"corrupt", FORM_BITS, "corrupt WHO N"},
    [ACTION_FAIL_DEVICE] = {"fail-device", FORM_WHO_ONLY, "fail-device WHO"},
    [ACTION_ROT_DEVICE] = {"rot-device", FORM_WHO_ONLY, "rot-device WHO"},
    [ACTION_MEND] = {"replace-devices", FORM_WHO_ONLY, "replace-devices WHO"},
    [ACTION_FILL] = {"fill", FORM_SIZE, "fill SIZE"},
    [ACTION_LOAD] = {"load", FORM_SWITCH, "load on|off"},
    [ACTION_PROMOTE] = {"promote", FORM_PROMOTE, "promote WHO [off]"},
};

const struct scenario_condition scenario_conditions[CONDITIONS] = {
    [CONDITION_LEADS] = {"leads", true},
    [CONDITION_SERVING] = {"serving", false},
    [CONDITION_UNSERVED] = {"unserved", false},
    [CONDITION_IN_SYNC] = {"in-sync", true},
    [CONDITION_OUT_OF_SYNC] = {"out-of-sync", true},
    [CONDITION_CAUGHT_UP] = {"caught-up", true},
    [CONDITION_FULL_COPY] = {"full-copy", true},
    [CONDITION_COPYING] = {"copying", true},
    [CONDITION_JOINING] = {"joining", true},
    [CONDITION_ALONE] = {"alone", true},
    [CONDITION_BOUND] = {"bound", true},
    [CONDITION_TAIL] = {"tail", true},
    [CONDITION_FULL] = {"full", false},
    [CONDITION_REPAIRED] = {"repaired", false},
    [CONDITION_UP] = {"up", true},
    [CONDITION_DAMAGED] = {"damaged", true},
    [CONDITION_FAILED] = {"failed", true},
};

const char *const scenario_cuts[BLKDEV_MEM_CUTS] = {"lose", "keep", "tear", "reorder"};
const char *const scenario_roles[SCENARIO_ROLES] = {"mediator", "primary", "backup", "all"};

/* ---- a scenario as a value */

const char *scenario_mutation_name(enum replica_mutation mutation)
{
    static const char *const names[REPLICA_MUTATIONS] = {
        "honest",
        "ack-any",
        "commit-alone",
        "skip-lease",
        "read-unleased",
        "forget-promise",
        "accept-gap",
        "keep-tail",
        "checkpoint-uncommitted",
        "ignore-epoch",
        "silence-grants",
        "forget-verdict",
        "ack-unflushed",
        "forget-ask",
        "join-early",
        "abandon-join",
        "lease-from-receipt",
        "no-margin",
        "without-swap",
        "ignore-votes",
        "bound-obeys",
        "bind-while-asking",
        "deaf",
    };
    return names[mutation];
}

bool scenario_mutation_parse(const char *text, enum replica_mutation *out)
{
    for (int i = 0; i < REPLICA_MUTATIONS; i++)
        if (strcmp(text, scenario_mutation_name((enum replica_mutation)i)) == 0) {
            *out = (enum replica_mutation)i;
            return true;
        }
    return false;
}

void scenario_init(struct scenario *s)
{
    *s = (struct scenario){.seed = 1, .nodes = 2, .preferred = SIM_NODES_MAX};
    for (int i = 0; i < SIM_NODES_MAX; i++)
        s->disk_bytes[i] = SCENARIO_DISK_BYTES;
    s->steps = calloc(SCENARIO_STEPS_MAX, sizeof s->steps[0]);
    assert(s->steps);
}

void scenario_free(struct scenario *s)
{
    free(s->steps);
    s->steps = NULL;
}

void scenario_copy(struct scenario *to, const struct scenario *from)
{
    struct step *steps = calloc(SCENARIO_STEPS_MAX, sizeof *steps);
    assert(steps);
    memcpy(steps, from->steps, from->step_count * sizeof *steps);
    *to = *from;
    to->steps = steps;
}

bool scenario_add(struct scenario *s, const struct step *step)
{
    if (s->step_count == SCENARIO_STEPS_MAX)
        return false;
    s->steps[s->step_count++] = *step;
    return true;
}

/* ---- writing */

static const char *time_text(uint64_t ns, char out[32])
{
    if (ns % SECOND == 0)
        (void)snprintf(out, 32, "%llus", ns / SECOND);
    else if (ns % MS == 0)
        (void)snprintf(out, 32, "%llums", ns / MS);
    else if (ns % 1000 == 0 && ns < SECOND)
        (void)snprintf(out, 32, "%" PRIu64 "us", ns / 1000);
    else
        (void)snprintf(out, 32, "%llu.%09llus", ns / SECOND, ns % SECOND);
    return out;
}

static const char *who_text(unsigned who)
{
    static const char nodes[SIM_NODES_MAX][2] = {"a", "b", "c", "d", "e"};
    return who < SIM_NODES_MAX ? nodes[who] : scenario_roles[who - WHO_MEDIATOR];
}

struct text {
    char *out;
    size_t size, used;
};

static void put(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(t->out + t->used, t->size - t->used, format, args);
    va_end(args);
    t->used += (size_t)n < t->size - t->used ? (size_t)n : t->size - t->used - 1;
}

static void put_action(struct text *t, const struct step *s)
{
    char time[32], size[SIZE_TEXT_MAX];
    put(t, "%s", scenario_actions[s->action].word);
    switch (scenario_actions[s->action].form) {
    case FORM_WHO:
    case FORM_WHO_ONLY:
        put(t, " %s", who_text(s->who));
        break;
    case FORM_CRASH:
        put(t, " %s%s%s", who_text(s->who), s->cut ? " " : "", s->cut ? scenario_cuts[s->cut] : "");
        break;
    case FORM_CUT:
        put(t, " %s %s %s", who_text(s->who), s->both ? "<->" : "->", who_text(s->peer));
        break;
    case FORM_HEAL:
        put(t, "%s%s", s->who == WHO_ALL ? "" : " ", s->who == WHO_ALL ? "" : who_text(s->who));
        break;
    case FORM_MEDIATOR:
        put(t, " mediator%s", s->both ? " empty" : "");
        break;
    case FORM_ANSWER:
        put(t, "%s", s->both ? " crash" : "");
        break;
    case FORM_DISK:
        put(t, " %s%s", who_text(s->who), s->both ? " full" : "");
        break;
    case FORM_PROMOTE:
        put(t, " %s%s", who_text(s->who), s->both ? " off" : "");
        break;
    case FORM_BITS:
        put(t, " %s %" PRIu64, who_text(s->who), s->amount);
        break;
    case FORM_SIZE:
        put(t, " %s", size_format(s->amount, size));
        break;
    case FORM_SWITCH:
        put(t, " %s", s->both ? "on" : "off");
        break;
    case FORM_NOTHING:
    case FORM_FOR:
        break;
    }
    if (s->for_ns)
        put(t, " for %s", time_text(s->for_ns, time));
}

static void put_condition(struct text *t, const struct step *s)
{
    char time[32];
    put(t, " %s", scenario_conditions[s->condition].word);
    if (scenario_conditions[s->condition].who)
        put(t, " %s", who_text(s->condition_who));
    /* Without a time one is meant, or none may be left out. */
    if (s->time_ns || s->kind == STEP_WHEN || s->condition == CONDITION_SERVING ||
        s->condition == CONDITION_UNSERVED)
        put(t, " %s %s", s->condition == CONDITION_UNSERVED ? "for" : "within", time_text(s->time_ns, time));
}

void scenario_print_step(const struct step *s, char *out, size_t size)
{
    struct text t = {out, size, 0};
    char time[32];
    out[0] = '\0';
    switch (s->kind) {
    case STEP_AT:
    case STEP_AFTER:
        put(&t, "%s %s ", s->kind == STEP_AT ? "at" : "after", time_text(s->time_ns, time));
        break;
    case STEP_WHEN:
        put(&t, "when");
        put_condition(&t, s);
        put(&t, ": ");
        break;
    case STEP_EXPECT:
        put(&t, "expect");
        put_condition(&t, s);
        return;
    case STEP_NOW:
        break;
    }
    put_action(&t, s);
}

void scenario_print(const struct scenario *s, FILE *out)
{
    char text[LINE_MAX_BYTES], size[SIZE_TEXT_MAX];
    (void)fprintf(out, "seed %" PRIu64 "\nnodes %u\n", s->seed, s->nodes);
    for (unsigned i = 0; i < s->nodes; i++) {
        if (s->disk_bytes[i] != SCENARIO_DISK_BYTES)
            (void)fprintf(out, "disk %s of %s\n", size_format(s->disk_bytes[i], size), who_text(i));
        if (s->array[i].parity)
            (void)fprintf(out, "array %u+%u of %s\n", s->array[i].data, s->array[i].parity, who_text(i));
        if (s->drift_ppm[i])
            (void)fprintf(out, "drift %s %+d\n", who_text(i), s->drift_ppm[i]);
        if (s->async >> i & 1)
            (void)fprintf(out, "async %s\n", who_text(i));
    }
    if (s->preferred < s->nodes)
        (void)fprintf(out, "preferred %s\n", who_text(s->preferred));
    if (s->eager)
        (void)fprintf(out, "eager on\n");
    if (s->noise)
        (void)fprintf(out, "noise on\n");
    if (s->mutation)
        (void)fprintf(out, "break %s\n", scenario_mutation_name(s->mutation));
    for (size_t i = 0; i < s->step_count; i++) {
        scenario_print_step(&s->steps[i], text, sizeof text);
        (void)fprintf(out, "%s\n", text);
    }
}
