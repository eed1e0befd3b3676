/* pstorage-sim: runs simulated clusters from seeds. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/sim.h"

static const char help[] =
    "Usage: pstorage-sim [OPTION...]\n"
    "Runs a whole cluster (nodes, mediator, hosts, devices, network) on virtual time, with faults drawn from "
    "a seed,\n"
    "and checks what hosts saw.\n"
    "\n"
    "  --seed N       first seed (default: 1)\n"
    "  --runs N       how many seeds from there on (default: 1)\n"
    "  --nodes N      2 to 5 members (default: 2 or 3, by the seed)\n"
    "  --seconds N    virtual time with faults (default: 10 to 30, by the seed)\n"
    "  --twice        run each seed twice and compare what happened\n"
    "  --trace        print what happens\n"
    "  --break RULE   break a rule on purpose, to see it noticed; \"list\" names them\n"
    "  --expect-break stop with success at the first seed that fails, and fail if none does\n"
    "  --help\n"
    "\n"
    "Exit status: 0 all runs were right, 1 one was not, 2 wrong usage.\n";

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

static bool mutation(const char *text, enum replica_mutation *out)
{
    for (int i = 0; i < REPLICA_MUTATIONS; i++)
        if (strcmp(text, sim_mutation_name(i)) == 0) {
            *out = i;
            return true;
        }
    return false;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},  {"runs", required_argument, NULL, 'r'},
        {"nodes", required_argument, NULL, 'n'}, {"seconds", required_argument, NULL, 't'},
        {"twice", no_argument, NULL, '2'},       {"trace", no_argument, NULL, 'v'},
        {"break", required_argument, NULL, 'b'}, {"expect-break", no_argument, NULL, 'x'},
        {"help", no_argument, NULL, 'h'},        {0}};
    struct sim_options sim = {0};
    uint64_t seed = 1, runs = 1, n;
    bool twice = false, expect = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 's':
            if (!number(optarg, 0, UINT64_MAX, &seed))
                return usage("--seed takes a number");
            break;
        case 'r':
            if (!number(optarg, 1, UINT64_MAX, &runs))
                return usage("--runs takes a number from 1 on");
            break;
        case 'n':
            if (!number(optarg, 2, SIM_NODES_MAX, &n))
                return usage("--nodes takes 2 to 5");
            sim.nodes = (unsigned)n;
            break;
        case 't':
            if (!number(optarg, 1, 86400, &sim.fault_seconds))
                return usage("--seconds takes 1 to 86400");
            break;
        case '2':
            twice = true;
            break;
        case 'v':
            sim.trace = stdout;
            break;
        case 'b':
            if (strcmp(optarg, "list") == 0) {
                for (int i = 1; i < REPLICA_MUTATIONS; i++)
                    (void)printf("%s\n", sim_mutation_name(i));
                return 0;
            }
            if (!mutation(optarg, &sim.mutation))
                return usage("--break takes a rule; \"--break list\" names them");
            break;
        case 'x':
            expect = true;
            break;
        case 'h':
            (void)fputs(help, stdout);
            return 0;
        default:
            return 2;
        }
    }
    if (optind < argc)
        return usage("no arguments besides options");

    struct sim_result total = {0};
    uint64_t failed = 0;
    const clock_t begin = clock();
    for (uint64_t i = 0; i < runs; i++) {
        struct sim_result r, again;
        sim.seed = seed + i;
        sim_run(&sim, &r);
        if (twice) {
            sim_run(&sim, &again);
            if (!r.failed && (again.trace_hash != r.trace_hash || again.events != r.events)) {
                r.failed = true;
                (void)snprintf(r.why, sizeof r.why, "the second run of the seed was another one");
            }
        }
        total.virtual_ns += r.virtual_ns;
        total.events += r.events;
        total.writes += r.writes;
        total.reads += r.reads;
        total.unanswered += r.unanswered;
        total.leads += r.leads;
        total.copies += r.copies;
        total.promotions += r.promotions;
        total.yields += r.yields;
        total.moves += r.moves;
        total.mediators += r.mediators;
        total.crashes += r.crashes;
        total.cuts += r.cuts;
        total.pauses += r.pauses;
        total.stalls += r.stalls;
        total.mediator_outages += r.mediator_outages;
        total.elections += r.elections;
        total.alone += r.alone;
        if (r.failed) {
            failed++;
            (void)printf("seed %" PRIu64 ": %s\n", sim.seed, r.why);
            if (expect)
                break;
        }
    }
    const double cpu = (double)(clock() - begin) / CLOCKS_PER_SEC;
    (void)printf("%" PRIu64 " seeds, %.0f cluster-seconds, %" PRIu64 " events in %.1f s of CPU: %" PRIu64
                 " writes, %" PRIu64 " reads, %" PRIu64 " unanswered; %" PRIu64 " primaries, %" PRIu64
                 " crashes, %" PRIu64 " cuts, %" PRIu64 " pauses, %" PRIu64 " stalls, %" PRIu64
                 " mediator outages, %" PRIu64 " pre-elections, %" PRIu64
                 " changes without mediator; %" PRIu64 " full copies; %" PRIu64 " promotions, %" PRIu64
                 " primaries that yielded, %" PRIu64 " moves to the preferred, %" PRIu64
                 " mediators replaced; %" PRIu64 " failed\n",
                 runs, (double)total.virtual_ns / 1e9, total.events, cpu, total.writes, total.reads,
                 total.unanswered, total.leads, total.crashes, total.cuts, total.pauses, total.stalls,
                 total.mediator_outages, total.elections, total.alone, total.copies, total.promotions,
                 total.yields, total.moves, total.mediators, failed);
    return expect ? failed == 0 : failed != 0;
}
