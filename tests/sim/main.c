/* pstorage-sim: runs simulated clusters from seeds and scenarios. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/sim/apart.h"

static const char help[] =
    "Usage: pstorage-sim [OPTION...]\n"
    "Runs a whole cluster (nodes, mediator, hosts, devices, network) on virtual time and checks what hosts "
    "saw\n"
    "and what members hold. What breaks is drawn from a seed, or told by a scenario.\n"
    "\n"
    "  --seed N        first seed (default: 1)\n"
    "  --runs N        how many seeds from there on, or from the scenario's (default: 1)\n"
    "  --nodes N       1 to 5 members (default: 2 or 3, by the seed)\n"
    "  --seconds N     virtual time with faults (default: 10 to 30, by the seed)\n"
    "  --scenario FILE run this scenario\n"
    "  --print         print the scenario instead of running it\n"
    "  --twice         run each twice and compare what happened\n"
    "  --trace         print what happens\n"
    "  --minimise      when one fails, search for the shortest scenario that still does, print it with the\n"
    "                  end of its trace, and stop\n"
    "  --break RULE    break a rule on purpose, to see it noticed; \"list\" names them\n"
    "  --expect-break  stop with success at the first one that fails, and fail if none does\n"
    "  --help\n"
    "\n"
    "Exit status: 0 all runs were right, 1 one was not, 2 wrong usage.\n"
    "\n"
    "A scenario is text, a line a setting or a step; \"#\" begins a comment. Nodes are a to e. WHO is one of "
    "them,\n"
    "primary, backup (the first other one that is up), or all. Times: 2s, 1.5s, 300ms, 20us.\n"
    "\n"
    "Settings, before the first step:\n"
    "  seed N, nodes N, disk SIZE [of WHO], drift NODE PPM, async NODE, preferred NODE, noise on|off,\n"
    "  array DATA+PARITY [of WHO] (its pod lies on several devices),\n"
    "  eager on|off (to move to the preferred, and to miss the mediator), break RULE\n"
    "Steps, one after the other:\n"
    "  at TIME ACTION                        TIME after the load began\n"
    "  after TIME ACTION                     TIME after the step before\n"
    "  when CONDITION [within TIME]: ACTION  waits, 60s if nothing else is said, and fails then\n"
    "  expect CONDITION [within TIME]        fails if it is not so in time\n"
    "  ACTION                                at once\n"
    "Actions:\n"
    "  crash WHO [lose|keep|tear|reorder] [for TIME]   what was not flushed is lost, kept, torn, reordered\n"
    "  restart WHO, pause WHO [for TIME], resume WHO\n"
    "  stall WHO [for TIME]                            its reactor; heartbeats go on\n"
    "  cut X -> Y [for TIME], cut X <-> Y [for TIME]   ends are nodes and the mediator\n"
    "  isolate WHO [for TIME], part WHO [for TIME]     from all; from the other members\n"
    "  heal [WHO]                                      links\n"
    "  stop mediator [for TIME], start mediator [empty]  empty: where the members can do without its "
    "records\n"
    "  slow WHO [for TIME]                             its disk\n"
    "  fail-disk WHO [full] [for TIME]                 writes fail; for want of space\n"
    "  rot WHO N, corrupt WHO N                        bits flip at rest; next writes are stored wrongly\n"
    "  rot-metadata WHO                                one copy of each record of its maps and of its anchor, while it is up\n"
    "  fail-device WHO, rot-device WHO                 one of its array: for good; noise (parity 2)\n"
    "  replace-devices WHO                             those, by blank ones, rebuilt under load\n"
    "  replace WHO                                     its disk by an empty one, as soon as nothing is lost\n"
    "  clog [for TIME]                                 the network: a third of all messages is late\n"
    "  switch-over WHO\n"
    "  lose-answer [crash] for TIME                    who asks the mediator next is cut off\n"
    "  fill SIZE                                       a second volume, with what does not compress\n"
    "  load on|off                                     the hosts\n"
    "  promote WHO [off]                               if it is bound to one that is gone and lacks nothing\n"
    "  nothing\n"
    "Conditions:\n"
    "  leads WHO, serving, unserved for TIME, in-sync WHO, out-of-sync WHO, caught-up WHO, copying WHO,\n"
    "  full-copy WHO, joining WHO, alone WHO, bound WHO, tail WHO, up WHO, failed WHO, damaged WHO, full,\n"
    "  repaired\n"
    "After the last step all is mended, and the cluster must come to rest in sync.\n";

enum {
    FILE_BYTES_MAX = 1 << 20,
    TRACE_TAIL_LINES = 50,
    TRACE_LINE_BYTES = 600,
    MINIMISE_RUNS = 2000,
};

struct arguments {
    uint64_t seed, runs, nodes, seconds;
    const char *file;
    struct scenario scenario; /* of the file */
    enum replica_mutation mutation;
    bool twice, trace, print, minimise, expect, done;
};

static int usage(const char *what)
{
    (void)fprintf(stderr, "pstorage-sim: %s; see --help\n", what);
    return 2;
}

static bool number(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    char *end;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && *out >= least && *out <= most;
}

static int list_rules(struct arguments *a)
{
    for (int i = 1; i < REPLICA_MUTATIONS; i++)
        (void)printf("%s\n", scenario_mutation_name((enum replica_mutation)i));
    a->done = true;
    return 0;
}

static int read_option(int c, struct arguments *a)
{
    switch (c) {
    case 's':
        return number(optarg, 0, UINT64_MAX, &a->seed) ? 0 : usage("--seed takes a number");
    case 'r':
        return number(optarg, 1, UINT64_MAX, &a->runs) ? 0 : usage("--runs takes a number from 1 on");
    case 'n':
        return number(optarg, 1, SIM_NODES_MAX, &a->nodes) ? 0 : usage("--nodes takes 1 to 5");
    case 't':
        return number(optarg, 1, 3600, &a->seconds) ? 0 : usage("--seconds takes 1 to 3600");
    case 'f':
        a->file = optarg;
        return 0;
    case '2':
        a->twice = true;
        return 0;
    case 'v':
        a->trace = true;
        return 0;
    case 'p':
        a->print = true;
        return 0;
    case 'm':
        a->minimise = true;
        return 0;
    case 'b':
        if (strcmp(optarg, "list") == 0)
            return list_rules(a);
        return scenario_mutation_parse(optarg, &a->mutation)
                   ? 0
                   : usage("--break takes a rule; \"--break list\" names them");
    case 'x':
        a->expect = true;
        return 0;
    case 'h':
        (void)fputs(help, stdout);
        a->done = true;
        return 0;
    default:
        return 2;
    }
}

static int read_arguments(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"runs", required_argument, NULL, 'r'},
                                            {"nodes", required_argument, NULL, 'n'},
                                            {"seconds", required_argument, NULL, 't'},
                                            {"scenario", required_argument, NULL, 'f'},
                                            {"print", no_argument, NULL, 'p'},
                                            {"twice", no_argument, NULL, '2'},
                                            {"trace", no_argument, NULL, 'v'},
                                            {"minimise", no_argument, NULL, 'm'},
                                            {"break", required_argument, NULL, 'b'},
                                            {"expect-break", no_argument, NULL, 'x'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    *a = (struct arguments){.seed = 1, .runs = 1};
    for (int c; !a->done && (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        const int rc = read_option(c, a);
        if (rc)
            return rc;
    }
    if (optind < argc && !a->done)
        return usage("no arguments besides options");
    if (a->file && (a->nodes || a->seconds))
        return usage("--nodes and --seconds are for seeds; a scenario says that itself");
    return 0;
}

static int read_scenario(const char *file, struct scenario *out)
{
    struct ps_error err = {0};
    FILE *f = fopen(file, "r");
    if (!f) {
        (void)fprintf(stderr, "pstorage-sim: %s: %s\n", file, strerror(errno));
        return 2;
    }
    char *text = malloc(FILE_BYTES_MAX);
    const size_t length = text ? fread(text, 1, FILE_BYTES_MAX, f) : 0;
    (void)fclose(f);
    const int rc = scenario_parse(out, text, length, &err);
    free(text);
    if (rc == 0)
        return 0;
    /* "line 3: what": as compilers say it. */
    unsigned line = 0;
    int behind = 0;
    if (sscanf(err.detail, "line %u: %n", &line, &behind) == 1 && behind)
        (void)fprintf(stderr, "%s:%u: %s\n", file, line, err.detail + behind);
    else
        (void)fprintf(stderr, "%s: %s\n", file, err.detail);
    scenario_free(out);
    return 2;
}

static void add(struct sim_result *total, const struct sim_result *r)
{
    total->virtual_ns += r->virtual_ns;
    total->events += r->events;
    total->writes += r->writes;
    total->reads += r->reads;
    total->unanswered += r->unanswered;
    total->leads += r->leads;
    total->copies += r->copies;
    total->crashes += r->crashes;
    total->cuts += r->cuts;
    total->pauses += r->pauses;
    total->stalls += r->stalls;
    total->mediator_outages += r->mediator_outages;
    total->elections += r->elections;
    total->alone += r->alone;
    total->promotions += r->promotions;
    total->yields += r->yields;
    total->moves += r->moves;
    total->mediators += r->mediators;
    total->replaced += r->replaced;
    total->disk_failures += r->disk_failures;
    total->rotten += r->rotten;
    total->devices_failed += r->devices_failed;
    total->devices_replaced += r->devices_replaced;
    total->full += r->full;
    total->repaired += r->repaired;
    total->too_small += r->too_small;
    total->lost_to_damage += r->lost_to_damage;
    total->collected += r->collected;
    total->moved_bytes += r->moved_bytes;
}

static double cpu_seconds(void)
{
    double s = 0;
    const int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
    for (int i = 0; i < 2; i++) {
        struct rusage u;
        if (getrusage(whose[i], &u) == 0)
            s += (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                 (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    }
    return s;
}

static void print_total(uint64_t runs, uint64_t failed, const struct sim_result *t)
{
    (void)printf(
        "%" PRIu64 " runs, %.0f cluster-seconds, %" PRIu64 " events in %.1f s of CPU: %" PRIu64
        " writes, %" PRIu64 " reads, %" PRIu64 " unanswered; %" PRIu64 " primaries, %" PRIu64
        " crashes, %" PRIu64 " cuts, %" PRIu64 " pauses, %" PRIu64 " stalls, %" PRIu64
        " mediator outages, %" PRIu64 " pre-elections, %" PRIu64 " changes without mediator; %" PRIu64
        " full copies, %" PRIu64 " promotions, %" PRIu64 " primaries that yielded, %" PRIu64
        " moves to the preferred, %" PRIu64 " mediators replaced, %" PRIu64 " disks replaced, %" PRIu64
        " disk failures, %" PRIu64 " devices of arrays failed, %" PRIu64 " replaced, %" PRIu64
        " bits rotten (%" PRIu64 " records read elsewhere, %" PRIu64 " runs lost data to it), %" PRIu64
        " times full (%" PRIu64 " runs left a member too small for a copy); %" PRIu64
        " segments collected, %" PRIu64 " KiB moved; %" PRIu64 " failed\n",
        runs, (double)t->virtual_ns / 1e9, t->events, cpu_seconds(), t->writes, t->reads, t->unanswered,
        t->leads, t->crashes, t->cuts, t->pauses, t->stalls, t->mediator_outages, t->elections, t->alone,
        t->copies, t->promotions, t->yields, t->moves, t->mediators, t->replaced, t->disk_failures,
        t->devices_failed, t->devices_replaced, t->rotten, t->repaired, t->lost_to_damage, t->full,
        t->too_small, t->collected, t->moved_bytes >> 10, failed);
}

/* The end of what it does, without what hosts did in vain or without trouble. */
static void print_tail(const struct scenario *s)
{
    static char tail[TRACE_TAIL_LINES][TRACE_LINE_BYTES];
    struct sim_result r;
    size_t count = 0;
    FILE *f = tmpfile();
    if (!f)
        return;
    sim_run_apart(&(struct sim_options){.scenario = s, .trace = f}, &r);
    rewind(f);
    while (fgets(tail[count % TRACE_TAIL_LINES], TRACE_LINE_BYTES, f))
        if (!strstr(tail[count % TRACE_TAIL_LINES], " host "))
            count++;
    (void)fclose(f);
    (void)printf("# How it ends (all of it: --trace):\n");
    for (size_t i = count > TRACE_TAIL_LINES ? count - TRACE_TAIL_LINES : 0; i < count; i++)
        (void)printf("#%s", tail[i % TRACE_TAIL_LINES]);
}

static void minimise(struct scenario *s, const struct sim_result *r)
{
    struct sim_result least;
    const size_t before = s->step_count;
    const unsigned runs = sim_minimise(s, r->failed, MINIMISE_RUNS, stderr);
    sim_run_apart(&(struct sim_options){.scenario = s}, &least);
    (void)printf("# %zu of %zu steps are left after %u runs. It fails (%s): %s\n", s->step_count, before,
                 runs, sim_check_name(least.failed), least.why);
    scenario_print(s, stdout);
    print_tail(s);
}

/* ---- */

/* The index-th scenario that the command asks for. */
static void make_scenario(const struct arguments *a, uint64_t index, struct scenario *s)
{
    if (a->file) {
        scenario_copy(s, &a->scenario);
        s->seed += index;
    } else {
        scenario_draw(s, a->seed + index, (unsigned)a->nodes, a->seconds);
    }
    if (a->mutation)
        s->mutation = a->mutation;
}

static void run(void *user, uint64_t index, struct sim_result *r)
{
    const struct arguments *a = user;
    struct scenario s;
    struct sim_result again;
    make_scenario(a, index, &s);
    const struct sim_options options = {.scenario = &s, .trace = a->trace ? stdout : NULL};
    sim_run(&options, r);
    if (a->twice && !r->failed) {
        sim_run(&options, &again);
        if (again.trace_hash != r->trace_hash || again.events != r->events) {
            r->failed = SIM_AGAIN;
            (void)snprintf(r->why, sizeof r->why, "the second run was another one");
        }
    }
    scenario_free(&s);
}

static void tell_failure(const struct arguments *a, uint64_t index, const struct sim_result *r)
{
    if (a->file)
        (void)printf("%s: %s: %s\n", a->file, sim_check_name(r->failed), r->why);
    else
        (void)printf("seed %" PRIu64 ": %s: %s\n", a->seed + index, sim_check_name(r->failed), r->why);
    (void)fflush(stdout);
    if (!a->minimise || r->failed == SIM_AGAIN)
        return;
    struct scenario s;
    make_scenario(a, index, &s);
    minimise(&s, r);
    scenario_free(&s);
}

static int run_all(struct arguments *a)
{
    struct apart apart = {.run = run, .user = a, .count = a->runs};
    struct sim_result total = {0}, r;
    uint64_t failed = 0, runs = 0;
    while (runs < a->runs && !(failed && (a->expect || a->minimise))) {
        apart_next(&apart, runs, &r);
        add(&total, &r);
        if (r.failed) {
            failed++;
            tell_failure(a, runs, &r);
        }
        runs++;
    }
    apart_stop(&apart);
    print_total(runs, failed, &total);
    return a->expect ? failed == 0 : failed != 0;
}

static void print_all(const struct arguments *a)
{
    for (uint64_t i = 0; i < a->runs; i++) {
        struct scenario s;
        make_scenario(a, i, &s);
        scenario_print(&s, stdout);
        scenario_free(&s);
    }
}

int main(int argc, char **argv)
{
    struct arguments a;
    int rc = read_arguments(argc, argv, &a);
    if (rc || a.done)
        return rc;
    /* Nodes that start take what others had: the kernel's pages cost more than all the rest. */
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 30);
    (void)mallopt(M_TRIM_THRESHOLD, INT_MAX);
    if (a.file && read_scenario(a.file, &a.scenario))
        return 2;
    if (a.print)
        print_all(&a);
    else
        rc = run_all(&a);
    if (a.file)
        scenario_free(&a.scenario);
    return rc;
}
