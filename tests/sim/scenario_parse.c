/* Scenarios read from text. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/sizes.h"
#include "tests/sim/scenario_words.h"

enum {
    WORDS_MAX = 16,
    LINE_MAX_BYTES = 400,
};

static const uint64_t least_disk = 52ull << 20, most_disk = 4ull << 30;

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
        if (strcmp(w, scenario_roles[i]) == 0) {
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
    if (!take_word(l, "for"))
        return 0;
    const int rc = take_time(l, out);
    return rc == 0 && *out == 0 ? wrong(l, "no time at all is nothing: for 1ms and more") : rc;
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
        if (take_word(l, scenario_cuts[i])) {
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
        if (s->action == ACTION_STOP)
            return take_for(l, &s->for_ns);
        s->both = take_word(l, "empty");
        return 0;
    case FORM_FOR:
        return take_for(l, &s->for_ns);
    case FORM_ANSWER:
        s->both = take_word(l, "crash");
        rc = take_for(l, &s->for_ns);
        return rc || s->for_ns ? rc : wrong(l, "it takes a time: %s", scenario_actions[s->action].usage);
    case FORM_DISK:
        rc = take_who(l, true, &s->who);
        s->both = rc == 0 && take_word(l, "full");
        return rc ? rc : take_for(l, &s->for_ns);
    case FORM_PROMOTE:
        rc = take_who(l, true, &s->who);
        s->both = rc == 0 && take_word(l, "off");
        return rc;
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
        if (strcmp(w, scenario_actions[i].word) == 0) {
            s->action = (enum action)i;
            const int rc = take_form(l, scenario_actions[i].form, s);
            if (rc == 0 && l->next < l->count)
                return wrong(l, WORD " is too much: %s", peek(l), scenario_actions[i].usage);
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
    while (kind < CONDITIONS && strcmp(w, scenario_conditions[kind].word) != 0)
        kind++;
    if (kind == CONDITIONS)
        return wrong(l, WORD " is no condition; leads, serving, in-sync, full-copy… are: see --help", w);
    s->condition = (enum condition_kind)kind;
    s->condition_who = WHO_ALL;
    s->time_ns = otherwise_ns;
    int rc = scenario_conditions[kind].who ? take_who(l, true, &s->condition_who) : 0;
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

static int read_array(struct line *l, struct scenario *s)
{
    uint8_t who = WHO_ALL;
    const char *w = take(l);
    const unsigned data = (unsigned)(w[0] - '0'), parity = strlen(w) == 3 ? (unsigned)(w[2] - '0') : 0;
    if (strlen(w) != 3 || w[1] != '+' || data - 1 >= SIM_DRIVES_MAX || parity - 1 >= 2 ||
        data + parity > SIM_DRIVES_MAX || data + parity < 2)
        return wrong(l, WORD " is no array: 3+1 is; one or two of parity, at most %d devices", w,
                     SIM_DRIVES_MAX);
    if (take_word(l, "of")) {
        const int rc = take_who(l, true, &who);
        if (rc || (who > WHO_MEDIATOR && who != WHO_ALL))
            return rc ? rc : wrong(l, "an array belongs to a node: array 3+1 of b");
    }
    for (uint8_t i = 0; i < SIM_NODES_MAX; i++)
        if (who == WHO_ALL || who == i) {
            s->array[i].data = (uint8_t)data;
            s->array[i].parity = (uint8_t)parity;
        }
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
    if (take_word(l, "array"))
        return read_array(l, s);
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
    if (take_word(l, "noise") || take_word(l, "eager")) {
        *(l->words[0][0] == 'n' ? &s->noise : &s->eager) = strcmp(peek(l), "on") == 0;
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
