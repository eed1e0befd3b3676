/* Runs in a child: an assertion that fails, or what a sanitizer finds, ends that one alone. A child does one
 * run after the other, since memory that a process has had before costs it less. */
#include "tests/sim/apart.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(bool good)
{
    if (good)
        return;
    perror("pstorage-sim");
    exit(1);
}

static void work(const struct apart *a, int out, uint64_t index)
{
    struct sim_result r;
    for (; index < a->count; index++) {
        a->run(a->user, index, &r);
        (void)fflush(NULL);
        if (write(out, &r, sizeof r) != (ssize_t)sizeof r)
            exit(1);
    }
    exit(0); /* by way of what looks for leaks */
}

static void start(struct apart *a, uint64_t index)
{
    int ends[2];
    must(fflush(NULL) == 0 && pipe(ends) == 0);
    a->child = fork();
    must(a->child >= 0);
    if (a->child == 0) {
        (void)close(ends[0]);
        work(a, ends[1], index);
    }
    (void)close(ends[1]);
    a->in = ends[0];
}

/* Waits for its end; false: it was not a good one, and `why` says how it ended. */
static bool finish(struct apart *a, char *why, size_t size)
{
    int status = 0;
    (void)close(a->in);
    (void)waitpid(a->child, &status, 0);
    a->child = 0;
    if (WIFSIGNALED(status))
        (void)snprintf(why, size, "the process ended by signal %d", WTERMSIG(status));
    else
        (void)snprintf(why, size, "the process ended with status %d", WEXITSTATUS(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void apart_next(struct apart *a, uint64_t index, struct sim_result *result)
{
    char why[100];
    if (!a->child)
        start(a, index);
    size_t got = 0;
    for (ssize_t n = 1; n > 0 && got<sizeof *result; got += n> 0 ? (size_t)n : 0)
        n = read(a->in, (char *)result + got, sizeof *result - got);
    const bool heard = got == sizeof *result;
    if (heard && index + 1 < a->count)
        return;
    if (finish(a, why, sizeof why) && heard)
        return;
    if (!heard)
        *result = (struct sim_result){0};
    result->failed = SIM_ASSERTION;
    (void)snprintf(result->why, sizeof result->why, "%s", why);
}

void apart_stop(struct apart *a)
{
    char why[100];
    if (a->child)
        (void)finish(a, why, sizeof why);
}

static void run_one(void *user, uint64_t index, struct sim_result *result)
{
    (void)index;
    sim_run(user, result);
}

void sim_run_apart(const struct sim_options *options, struct sim_result *result)
{
    struct sim_options copy = *options;
    struct apart a = {.run = run_one, .user = &copy, .count = 1};
    apart_next(&a, 0, result);
}
