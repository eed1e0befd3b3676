/* analytics_bench DIRECTORY: how long a forecast from five years of history takes, what a sample costs the
 * management thread, and what counting costs a request, in CPU time. Prints one line each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node/analytics/analytics.h"
#include "node/pod/image_use.h"

#define NOW   1800000000ll
#define DAY_S 86400ll

enum {
    RUNS = 20,
    VOLUMES = 100,
    REQUESTS = 20000000
};

static void die(const char *what)
{
    (void)fprintf(stderr, "analytics_bench: %s\n", what);
    exit(1);
}

/* Of this thread's own: others that use the machine are not measured. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double ms_since(uint64_t begun_ns)
{
    return (double)(cpu_ns() - begun_ns) / 1e6;
}

static uint64_t used_at(int64_t time_s)
{
    /* Growth, a week, and noise that is the same in each run. */
    const uint64_t hour = (uint64_t)(time_s / 3600);
    return (uint64_t)(1ull << 38) + hour * 3000000 + hour / 24 % 7 * 500000000 +
           hour * 2654435761u % 400000000;
}

/* All that is kept: 1,830 days, 2,160 hours, 2,880 minutes of the pod. */
static void fill(const char *path)
{
    struct history *h;
    struct ps_error err;
    if (history_open(path, HISTORY_BYTES_DEFAULT, &h, &err))
        die(err.detail);
    if (history_begin(h))
        die("no transaction");
    for (int64_t t = NOW - 1829 * DAY_S; t <= NOW;) {
        uint64_t values[ANALYTICS_POD_METRICS];
        struct rollup_point point = {0};
        for (size_t i = 0; i < ANALYTICS_POD_METRICS; i++)
            values[i] = used_at(t) / (i + 1);
        values[ANALYTICS_POD_used] = used_at(t);
        rollup_sample(&point, values, ANALYTICS_POD_METRICS);
        if (history_add(h, (struct history_subject){HISTORY_POD, 0}, t, &point))
            die("a point can't be added");
        t += t < NOW - 90 * DAY_S ? DAY_S : t < NOW - 2 * DAY_S ? 3600 : 60;
    }
    if (history_end(h, 0))
        die("the history can't be kept");
    history_close(h);
}

static void sample(struct analytics *a, size_t volumes)
{
    struct analytics_sample *s = calloc(1, sizeof *s + volumes * sizeof s->volumes[0]);
    if (!s)
        die("out of memory");
    s->pod[ANALYTICS_POD_capacity] = 1ull << 40;
    s->nvolumes = volumes;
    for (size_t i = 0; i < volumes; i++) {
        s->volumes[i].id = i + 1;
        (void)snprintf(s->volumes[i].name, sizeof s->volumes[i].name, "v%04zu", i);
        s->volumes[i].used = true;
        s->volumes[i].shift = TEMPERATURE_SHIFT_MIN;
        for (size_t k = 0; k < ANALYTICS_VOLUME_METRICS; k++)
            s->volumes[i].figures[k] = 1000 + k;
    }
    s->time_s = NOW;
    s->pod[ANALYTICS_POD_used] = used_at(NOW);
    const uint64_t begun = cpu_ns();
    for (int run = 0; run < RUNS; run++) {
        s->time_s = NOW + 60 * run;
        if (analytics_add(a, s))
            die("a sample can't be kept");
    }
    printf("sample of %zu busy volumes: %.2f ms of the management thread\n", volumes, ms_since(begun) / RUNS);
    free(s);
}

static void forecast(struct analytics *a)
{
    static struct analytics_forecast out;
    double worst = 0, total = 0;
    for (int run = 0; run < RUNS; run++) {
        const struct analytics_forecast_ask ask = {
            .now_s = NOW + 1200, .horizons_days = {7, 30, 90}, .horizons = 3};
        const uint64_t begun = cpu_ns();
        if (analytics_forecast(a, &ask, &out))
            die("no forecast");
        const double ms = ms_since(begun);
        total += ms;
        worst = ms > worst ? ms : worst;
    }
    printf("forecast from %.0f days (%zu steps, %s%s): %.2f ms, at most %.2f ms\n", out.forecast.span_days,
           out.forecast.samples, forecast_method_name(out.forecast.method),
           out.forecast.seasonal ? "+season" : "", total / RUNS, worst);
}

static void count(void)
{
    struct image_uses *uses = image_uses_create(cpu_ns);
    struct image_use *use = uses ? image_uses_open(uses, 1, 1ull << 38) : NULL;
    struct image_use_stamp stamps[32];
    if (!use)
        die("out of memory");
    const uint64_t begun = cpu_ns();
    for (uint64_t i = 0; i < REQUESTS; i += 32) {
        for (uint64_t k = 0; k < 32; k++)
            image_use_begin(use, &stamps[k], IMAGE_USE_WRITE,
                            (i + k) * 2654435761u % (1ull << 38) / 4096 * 4096, 4096);
        image_uses_turn(uses, begun);
        image_uses_ending(uses);
        for (size_t k = 0; k < 32; k++)
            image_use_end(&stamps[k], true);
        image_uses_turned(uses);
    }
    printf("counting: %.1f ns a request\n", ms_since(begun) * 1e6 / REQUESTS);
    image_use_close(use);
    image_uses_destroy(uses);
}

int main(int argc, char **argv)
{
    char path[512];
    struct analytics *a;
    struct ps_error err;
    if (argc != 2)
        die("usage: analytics_bench DIRECTORY");
    (void)snprintf(path, sizeof path, "%s/history.db", argv[1]);
    fill(path);
    const struct analytics_config config = {.path = path,
                                            .max_bytes = HISTORY_BYTES_DEFAULT,
                                            .scale = temperature_scale_default,
                                            .costs = tier_costs_default};
    if (analytics_open(&config, &a, &err))
        die(err.detail);
    sample(a, 0);
    forecast(a);
    sample(a, VOLUMES);
    analytics_close(a);
    count();
    return 0;
}
