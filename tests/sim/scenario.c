/* The text of scenarios: one table of settings, actions and conditions serves both directions. */
#include "tests/sim/scenario.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/blkdev_mem.h"
#include "common/sizes.h"

enum {
    WORDS_MAX = 16,
    LINE_MAX_BYTES = 400,
};

static const uint64_t default_disk = 320ull << 20;
static const uint64_t least_disk = 52ull << 20, most_disk = 4ull << 30;

/* What follows the word of an action. */
enum form {
    FORM_NOTHING,
    FORM_WHO,      /* WHO [for TIME] */
    FORM_WHO_ONLY, /* WHO */
    FORM_CRASH,    /* WHO [lose|keep|tear|reorder] [for TIME] */
    FORM_CUT,      /* X -> Y | X <-> Y [for TIME] */
    FORM_HEAL,     /* [WHO] */
    FORM_MEDIATOR, /* mediator [for TIME] */
    FORM_FOR,      /* [for TIME] */
    FORM_ANSWER,   /* [crash] for TIME */
    FORM_DISK,     /* WHO [full] [for TIME] */
    FORM_BITS,     /* WHO N */
    FORM_SIZE,     /* SIZE */
    FORM_SWITCH,   /* on | off */
};

static const struct {
    const char *word;
    enum form form;
    const char *usage;
} actions[ACTIONS] = {
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
    [ACTION_START] = {"start", FORM_MEDIATOR, "start mediator"},
    [ACTION_SLOW] = {"slow", FORM_WHO, "slow WHO [for TIME]"},
    [ACTION_CLOG] = {"clog", FORM_FOR, "clog [for TIME]"},
    [ACTION_SWITCH_OVER] = {"switch-over", FORM_WHO_ONLY, "switch-over WHO"},
    [ACTION_LOSE_ANSWER] = {"lose-answer", FORM_ANSWER, "lose-answer [crash] for TIME"},
    [ACTION_REPLACE] = {"replace", FORM_WHO_ONLY, "replace WHO"},
    [ACTION_FAIL_DISK] = {"fail-disk", FORM_DISK, "fail-disk WHO [full] [for TIME]"},
    [ACTION_ROT] = {"rot", FORM_BITS, "rot WHO N"},
    [ACTION_CORRUPT] = {"corrupt", FORM_BITS, "corrupt WHO N"},
    [ACTION_FILL] = {"fill", FORM_SIZE, "fill SIZE"},
    [ACTION_LOAD] = {"load", FORM_SWITCH, "load on|off"},
};

static const struct {
    const char *word;
    bool who;
} conditions[CONDITIONS] = {
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
    [CONDITION_UP] = {"up", true},
    [CONDITION_DAMAGED] = {"damaged", true},
    [CONDITION_FAILED] = {"failed", true},
};

static const char *const cuts[BLKDEV_MEM_CUTS] = {"lose", "keep", "tear", "reorder"};
static const char *const roles[] = {"mediator", "primary", "backup", "all"};

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
        if (strcmp(text, scenario_mutation_name(i)) == 0) {
            *out = i;
            return true;
        }
    return false;
}

void scenario_init(struct scenario *s)
{
    *s = (struct scenario){.seed = 1, .nodes = 2, .preferred = SIM_NODES_MAX};
    for (int i = 0; i < SIM_NODES_MAX; i++)
        s->disk_bytes[i] = default_disk;
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

/* ---- reading */

struct line {
    char text[LINE_MAX_BYTES];
    char *words[WORDS_MAX];
    unsigned count, next, number;
    const struct scenario *of;
    struct ps_error *err;
};

static int wrong(struct line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int wrong(struct line *l, const char *format, ...)
{
    char what[200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return ps_error_set(l->err, PS_EINVAL, "line %u: %s", l->number, what);
}

/* Of words that came from outside: a part of it, for texts. */
#define WORD "\"%.30s\""

static const char *peek(const struct line *l)
{
    return l->next < l->count ? l->words[l->next] : "";
}

static const char *take(struct line *l)
{
    return l->next < l->count ? l->words[l->next++] : "";
}

static bool take_word(struct line *l, const char *word)
{
    if (strcmp(peek(l), word) != 0 || l->next == l->count)
        return false;
    l->next++;
    return true;
}

static int split(struct line *l, const char *text, size_t bytes)
{
    if (bytes >= sizeof l->text)
        return wrong(l, "it has %zu characters; at most %d are read", bytes, LINE_MAX_BYTES - 1);
    if (memchr(text, '\0', bytes))
        return wrong(l, "it has a zero byte; scenarios are text");
    memcpy(l->text, text, bytes);
    l->text[bytes] = '\0';
    char *comment = strchr(l->text, '#');
    if (comment)
        *comment = '\0';
    char *state = NULL;
    for (char *w = strtok_r(l->text, " \t\r", &state); w; w = strtok_r(NULL, " \t\r", &state)) {
        if (l->count == WORDS_MAX)
            return wrong(l, "it has more than %d words", WORDS_MAX);
        l->words[l->count++] = w;
    }
    return 0;
}

static int take_number(struct line *l, uint64_t least, uint64_t most, const char *what, uint64_t *out)
{
    const char *w = take(l);
    char *end;
    const uint64_t n = strtoull(w, &end, 10);
    if (*w < '0' || *w > '9' || *end || n < least || n > most || strlen(w) > 20)
        return wrong(l, WORD " is no %s: a number from %" PRIu64 " to %" PRIu64, w, what, least, most);
    *out = n;
    return 0;
}

/* "2s", "1.5s", "300ms", "20us", at most a day. */
static int take_time(struct line *l, uint64_t *out)
{
    static const struct {
        const char *unit;
        uint64_t ns;
    } units[] = {{"s", SECOND}, {"ms", MS}, {"us", 1000}};
    const char *w = take(l), *at = w;
    uint64_t whole = 0, part = 0, scale = 1;
    unsigned digits = 0;
    for (; *at >= '0' && *at <= '9' && digits < 9; at++, digits++)
        whole = whole * 10 + (uint64_t)(*at - '0');
    if (digits && *at == '.')
        for (at++; *at >= '0' && *at <= '9' && scale < SECOND; at++) {
            part = part * 10 + (uint64_t)(*at - '0');
            scale *= 10;
        }
    for (size_t i = 0; digits && i < sizeof units / sizeof units[0]; i++)
        if (strcmp(at, units[i].unit) == 0 && whole <= 86400 * (SECOND / units[i].ns)) {
            *out = whole * units[i].ns + part * units[i].ns / scale;
            return 0;
        }
    return wrong(l, WORD " is no time: 2s, 1.5s, 300ms and 20us are; at most 86400s", w);
}

static int take_who(struct line *l, bool may_be_all, uint8_t *out)
{
    const char *w = take(l);
    if (w[0] >= 'a' && w[0] < 'a' + SIM_NODES_MAX && !w[1]) {
        if ((unsigned)(w[0] - 'a') >= l->of->nodes)
            return wrong(l, "there is no node %s: \"nodes %u\" makes a to %c", w, l->of->nodes,
                         (char)('a' + l->of->nodes - 1));
        *out = (uint8_t)(w[0] - 'a');
        return 0;
    }
    for (uint8_t i = 1; i < 3 + may_be_all; i++)
        if (strcmp(w, roles[i]) == 0) {
            *out = (uint8_t)(WHO_MEDIATOR + i);
            return 0;
        }
    return wrong(l, WORD " is nobody: a to %c are, primary and backup%s", w, (char)('a' + l->of->nodes - 1),
                 may_be_all ? ", and all" : "");
}

static int take_end(struct line *l, uint8_t *out)
{
    if (take_word(l, "mediator")) {
        *out = WHO_MEDIATOR;
        return 0;
    }
    return take_who(l, false, out);
}

static int take_for(struct line *l, uint64_t *out)
{
    return take_word(l, "for") ? take_time(l, out) : 0;
}

static int take_cut(struct line *l, struct step *s)
{
    int rc = take_end(l, &s->who);
    if (rc)
        return rc;
    s->both = strcmp(peek(l), "<->") == 0;
    if (!take_word(l, "<->") && !take_word(l, "->"))
        return wrong(l, WORD " is no direction: -> or <->", peek(l));
    rc = take_end(l, &s->peer);
    if (rc == 0 && s->who == s->peer)
        rc = wrong(l, "a link has two ends");
    return rc ? rc : take_for(l, &s->for_ns);
}

static int take_crash(struct line *l, struct step *s)
{
    const int rc = take_who(l, true, &s->who);
    for (uint8_t i = 0; rc == 0 && i < BLKDEV_MEM_CUTS; i++)
        if (take_word(l, cuts[i])) {
            s->cut = i;
            break;
        }
    return rc ? rc : take_for(l, &s->for_ns);
}

static int take_form(struct line *l, enum form form, struct step *s)
{
    int rc = 0;
    switch (form) {
    case FORM_NOTHING:
        break;
    case FORM_WHO:
    case FORM_WHO_ONLY:
        rc = take_who(l, s->action != ACTION_SWITCH_OVER && s->action != ACTION_REPLACE, &s->who);
        return rc || form == FORM_WHO_ONLY ? rc : take_for(l, &s->for_ns);
    case FORM_CRASH:
        return take_crash(l, s);
    case FORM_CUT:
        return take_cut(l, s);
    case FORM_HEAL:
        s->who = WHO_ALL;
        return l->next < l->count ? take_who(l, true, &s->who) : 0;
    case FORM_MEDIATOR:
        if (!take_word(l, "mediator"))
            return wrong(l, "only the mediator is stopped and started; nodes crash and restart");
        return s->action == ACTION_STOP ? take_for(l, &s->for_ns) : 0;
    case FORM_FOR:
        return take_for(l, &s->for_ns);
    case FORM_ANSWER:
        s->both = take_word(l, "crash");
        return take_word(l, "for") ? take_time(l, &s->for_ns)
                                   : wrong(l, "it takes a time: %s", actions[s->action].usage);
    case FORM_DISK:
        rc = take_who(l, true, &s->who);
        s->both = rc == 0 && take_word(l, "full");
        return rc ? rc : take_for(l, &s->for_ns);
    case FORM_BITS:
        rc = take_who(l, false, &s->who);
        return rc ? rc : take_number(l, 1, 100000, "count", &s->amount);
    case FORM_SIZE: {
        struct ps_error err;
        const char *w = take(l);
        if (size_parse(w, &s->amount, &err) || s->amount < 4096 || s->amount > most_disk)
            return wrong(l, WORD " is no size to fill: 16M is; from 4K to 4G", w);
        break;
    }
    case FORM_SWITCH:
        s->both = strcmp(peek(l), "on") == 0;
        if (!take_word(l, "on") && !take_word(l, "off"))
            return wrong(l, WORD " is neither on nor off", peek(l));
    }
    return rc;
}

static int take_action(struct line *l, struct step *s)
{
    const char *w = take(l);
    for (int i = 0; i < ACTIONS; i++)
        if (strcmp(w, actions[i].word) == 0) {
            s->action = (enum action)i;
            const int rc = take_form(l, actions[i].form, s);
            if (rc == 0 && l->next < l->count)
                return wrong(l, WORD " is too much: %s", peek(l), actions[i].usage);
            return rc;
        }
    return wrong(l, WORD " is no action; crash, restart, cut, heal, stop mediator… are: see --help", w);
}

/* `colon`: the condition ends with one. */
static int take_condition(struct line *l, struct step *s, uint64_t otherwise_ns, bool colon)
{
    char *last = l->words[l->count - 1];
    unsigned end = l->count;
    for (unsigned i = l->next; colon && i < l->count; i++) {
        last = l->words[i];
        const size_t n = strlen(last);
        if (last[n - 1] == ':') {
            last[n - 1] = '\0';
            end = i + 1;
            break;
        }
        if (i + 1 == l->count)
            return wrong(l, "a colon is missing: when CONDITION [within TIME]: ACTION");
    }
    const char *w = take(l);
    int kind = 0;
    while (kind < CONDITIONS && strcmp(w, conditions[kind].word) != 0)
        kind++;
    if (kind == CONDITIONS)
        return wrong(l, WORD " is no condition; leads, serving, in-sync, full-copy… are: see --help", w);
    s->condition = (enum condition_kind)kind;
    s->condition_who = WHO_ALL;
    s->time_ns = otherwise_ns;
    int rc = conditions[kind].who ? take_who(l, true, &s->condition_who) : 0;
    const char *word = kind == CONDITION_UNSERVED ? "for" : "within";
    if (rc == 0 && take_word(l, word))
        rc = take_time(l, &s->time_ns);
    else if (rc == 0 && kind == CONDITION_UNSERVED)
        rc = wrong(l, "it takes a time: unserved for 2s");
    else if (rc == 0 && kind == CONDITION_SERVING && s->kind == STEP_EXPECT)
        rc = wrong(l, "it takes a time: serving within 2s");
    if (rc == 0 && l->next < end)
        rc = *peek(l) ? wrong(l, WORD " is too much behind the condition: only \"%s TIME\" may follow",
                              peek(l), word)
                      : 0;
    l->next = end;
    return rc;
}

static int read_step(struct line *l, struct step *s)
{
    int rc;
    if (take_word(l, "at") || take_word(l, "after")) {
        s->kind = l->words[0][1] == 't' ? STEP_AT : STEP_AFTER;
        rc = take_time(l, &s->time_ns);
        return rc ? rc : take_action(l, s);
    }
    if (strcmp(peek(l), "when") == 0 || strcmp(peek(l), "expect") == 0) {
        s->kind = *take(l) == 'w' ? STEP_WHEN : STEP_EXPECT;
        if (l->next == l->count)
            return wrong(l, "a condition is missing behind \"%s\"", l->words[0]);
        rc = take_condition(l, s, s->kind == STEP_WHEN ? 60 * SECOND : 0, s->kind == STEP_WHEN);
        if (rc == 0 && s->kind == STEP_WHEN)
            rc = take_action(l, s);
        return rc;
    }
    return take_action(l, s);
}

static int read_drift(struct line *l, struct scenario *s)
{
    uint8_t who = 0;
    uint64_t ppm = 0;
    int rc = take_who(l, true, &who);
    if (rc == 0 && who > WHO_MEDIATOR)
        return wrong(l, "drift takes a node: drift a -30000");
    char *w = l->next < l->count ? l->words[l->next] : NULL;
    const bool back = w && *w == '-';
    if (w && (*w == '-' || *w == '+'))
        l->words[l->next]++;
    rc = rc ? rc : take_number(l, 0, 30000, "drift in parts of a million", &ppm);
    if (rc == 0)
        s->drift_ppm[who] = back ? -(int32_t)ppm : (int32_t)ppm;
    return rc;
}

static int read_disk(struct line *l, struct scenario *s)
{
    struct ps_error err;
    uint64_t bytes = 0;
    uint8_t who = WHO_ALL;
    const char *w = take(l);
    if (size_parse(w, &bytes, &err) || bytes < least_disk || bytes > most_disk || bytes % (1 << 20))
        return wrong(l, WORD " is no size of a disk: 80M is; whole MiB from 52M to 4G", w);
    if (take_word(l, "of")) {
        const int rc = take_who(l, true, &who);
        if (rc || (who > WHO_MEDIATOR && who != WHO_ALL))
            return rc ? rc : wrong(l, "a disk belongs to a node: disk 80M of b");
    }
    for (uint8_t i = 0; i < SIM_NODES_MAX; i++)
        if (who == WHO_ALL || who == i)
            s->disk_bytes[i] = bytes;
    return 0;
}

/* 1: no setting. */
static int read_setting(struct line *l, struct scenario *s)
{
    uint64_t n = 0;
    uint8_t who = 0;
    int rc;
    if (take_word(l, "seed"))
        return take_number(l, 0, UINT64_MAX, "seed", &s->seed);
    if (take_word(l, "nodes")) {
        rc = take_number(l, 1, SIM_NODES_MAX, "number of nodes", &n);
        s->nodes = rc ? s->nodes : (unsigned)n;
        return rc;
    }
    if (take_word(l, "disk"))
        return read_disk(l, s);
    if (take_word(l, "drift"))
        return read_drift(l, s);
    if (take_word(l, "async") || take_word(l, "preferred")) {
        const bool async = l->words[0][0] == 'a';
        rc = take_who(l, false, &who);
        if (rc == 0 && who > WHO_MEDIATOR)
            return wrong(l, "a node must be named: %s b", async ? "async" : "preferred");
        if (rc == 0 && async && who == 0)
            return wrong(l, "a is the first primary, which is not asynchronous");
        if (rc == 0 && async)
            s->async |= 1u << who;
        else if (rc == 0)
            s->preferred = who;
        return rc;
    }
    if (take_word(l, "noise")) {
        s->noise = strcmp(peek(l), "on") == 0;
        return take_word(l, "on") || take_word(l, "off") ? 0
                                                         : wrong(l, WORD " is neither on nor off", peek(l));
    }
    if (take_word(l, "break")) {
        const char *w = take(l);
        return scenario_mutation_parse(w, &s->mutation)
                   ? 0
                   : wrong(l, WORD " is no rule to break: --break list names them", w);
    }
    return 1;
}

static int read_line(struct line *l, struct scenario *s)
{
    struct step step = {.line = l->number};
    int rc = read_setting(l, s);
    if (rc <= 0) {
        if (rc == 0 && s->step_count)
            return wrong(l, "settings come before the first step");
        if (rc == 0 && l->next < l->count)
            return wrong(l, WORD " is too much", peek(l));
        return rc;
    }
    rc = read_step(l, &step);
    if (rc == 0 && !scenario_add(s, &step))
        return wrong(l, "there are more than %d steps", SCENARIO_STEPS_MAX);
    return rc;
}

static int check(const struct scenario *s, struct ps_error *err)
{
    if (s->async >> s->nodes || (s->preferred < SIM_NODES_MAX && s->preferred >= s->nodes))
        return ps_error_set(err, PS_EINVAL, "there are %u nodes, and settings name more: put \"nodes\" first",
                            s->nodes);
    if (s->preferred < SIM_NODES_MAX && s->async >> s->preferred & 1)
        return ps_error_set(err, PS_EINVAL, "the preferred node is asynchronous: it can't be primary");
    uint64_t last = 0;
    for (size_t i = 0; i < s->step_count; i++) {
        const struct step *step = &s->steps[i];
        if (step->kind != STEP_AT)
            continue;
        if (step->time_ns < last)
            return ps_error_set(err, PS_EINVAL,
                                "line %u: it is before the time of a line above: steps are in order",
                                step->line);
        last = step->time_ns;
    }
    return 0;
}

int scenario_parse(struct scenario *out, const char *text, size_t length, struct ps_error *err)
{
    scenario_init(out);
    unsigned number = 0;
    for (size_t at = 0; at < length;) {
        const char *end = memchr(text + at, '\n', length - at);
        const size_t bytes = end ? (size_t)(end - (text + at)) : length - at;
        struct line l = {.number = ++number, .of = out, .err = err};
        int rc = split(&l, text + at, bytes);
        if (rc == 0 && l.count)
            rc = read_line(&l, out);
        if (rc)
            return rc;
        at += bytes + 1;
    }
    return check(out, err);
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
    return who < SIM_NODES_MAX ? nodes[who] : roles[who - WHO_MEDIATOR];
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
    put(t, "%s", actions[s->action].word);
    switch (actions[s->action].form) {
    case FORM_WHO:
    case FORM_WHO_ONLY:
        put(t, " %s", who_text(s->who));
        break;
    case FORM_CRASH:
        put(t, " %s%s%s", who_text(s->who), s->cut ? " " : "", s->cut ? cuts[s->cut] : "");
        break;
    case FORM_CUT:
        put(t, " %s %s %s", who_text(s->who), s->both ? "<->" : "->", who_text(s->peer));
        break;
    case FORM_HEAL:
        put(t, "%s%s", s->who == WHO_ALL ? "" : " ", s->who == WHO_ALL ? "" : who_text(s->who));
        break;
    case FORM_MEDIATOR:
        put(t, " mediator");
        break;
    case FORM_ANSWER:
        put(t, "%s", s->both ? " crash" : "");
        break;
    case FORM_DISK:
        put(t, " %s%s", who_text(s->who), s->both ? " full" : "");
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
    put(t, " %s", conditions[s->condition].word);
    if (conditions[s->condition].who)
        put(t, " %s", who_text(s->condition_who));
    if (s->time_ns)
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
        if (s->disk_bytes[i] != default_disk)
            (void)fprintf(out, "disk %s of %s\n", size_format(s->disk_bytes[i], size), who_text(i));
        if (s->drift_ppm[i])
            (void)fprintf(out, "drift %s %+d\n", who_text(i), s->drift_ppm[i]);
        if (s->async >> i & 1)
            (void)fprintf(out, "async %s\n", who_text(i));
    }
    if (s->preferred < s->nodes)
        (void)fprintf(out, "preferred %s\n", who_text(s->preferred));
    if (s->noise)
        (void)fprintf(out, "noise on\n");
    if (s->mutation)
        (void)fprintf(out, "break %s\n", scenario_mutation_name(s->mutation));
    for (size_t i = 0; i < s->step_count; i++) {
        scenario_print_step(&s->steps[i], text, sizeof text);
        (void)fprintf(out, "%s\n", text);
    }
}
