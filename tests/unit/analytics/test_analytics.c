/* The history on disk, and what analytics makes of it. Times are made up; files are real. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "node/analytics/analytics.h"

#define T0    1700000000ll
#define DAY_S 86400ll
#define GIB   (1ull << 30)

struct fixture {
    char dir[40], path[64];
    uint64_t max_bytes;
    struct analytics *analytics;
    struct analytics_sample *sample;
};

static void start(struct fixture *f)
{
    struct ps_error err;
    const struct analytics_config config = {.path = f->path,
                                            .max_bytes = f->max_bytes,
                                            .scale = temperature_scale_default,
                                            .costs = tier_costs_default,
                                            .rated_cycles = 3000};
    if (analytics_open(&config, &f->analytics, &err))
        fail_msg("%s", err.detail);
}

static void stop(struct fixture *f)
{
    if (f->analytics)
        analytics_close(f->analytics);
    f->analytics = NULL;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/pstorage-test-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    (void)snprintf(f->path, sizeof f->path, "%s/history.db", f->dir);
    f->max_bytes = HISTORY_BYTES_DEFAULT;
    f->sample = calloc(1, sizeof *f->sample + ANALYTICS_VOLUMES_MAX * sizeof f->sample->volumes[0]);
    f->sample->run = 1;
    f->sample->pod[ANALYTICS_POD_capacity] = 100 * GIB;
    start(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    stop(f);
    static const char *const names[] = {"", "-wal", "-shm", ".old", ".old-wal", ".old-shm"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[80];
        (void)snprintf(path, sizeof path, "%s%s", f->path, names[i]);
        (void)unlink(path);
    }
    const int rc = rmdir(f->dir);
    free(f->sample);
    free(f);
    return rc;
}

static void add_at(struct fixture *f, int64_t time_s)
{
    f->sample->time_s = time_s;
    assert_int_equal(analytics_add(f->analytics, f->sample), 0);
}

/* ---- reading back */

struct seen {
    unsigned metric;
    uint64_t points, samples, sum, max;
    int64_t first_s, last_s;
};

static bool see(void *user, int64_t time_s, const struct rollup_point *p)
{
    struct seen *s = user;
    s->first_s = s->points ? s->first_s : time_s;
    s->last_s = time_s;
    s->points++;
    s->samples += p->samples;
    s->sum += p->metrics[s->metric].sum;
    s->max = p->metrics[s->metric].max > s->max ? p->metrics[s->metric].max : s->max;
    return true;
}

static struct seen look(struct fixture *f, struct history_subject subject, enum rollup_tier tier,
                        unsigned metric)
{
    struct seen s = {.metric = metric};
    assert_int_equal(analytics_read(f->analytics, subject, tier, 0, T0 + 10000 * DAY_S, see, &s), 0);
    return s;
}

static const struct history_subject pod = {HISTORY_POD, 0};

static void written_is(struct fixture *f, uint64_t sum)
{
    for (enum rollup_tier tier = 0; tier < ROLLUP_TIERS; tier++)
        assert_int_equal(look(f, pod, tier, ANALYTICS_POD_host_written).sum, sum);
}

/* ---- tests */

static void sums_and_extremes_are_the_same_in_all_tiers(void **state)
{
    struct fixture *f = *state;
    uint64_t used = 0;
    for (int i = 0; i < 300; i++) {
        f->sample->pod[ANALYTICS_POD_host_written] += 1000u + (unsigned)i;
        f->sample->pod[ANALYTICS_POD_used] = (unsigned)i * 7919u % 1000;
        used += i ? f->sample->pod[ANALYTICS_POD_used] : f->sample->pod[ANALYTICS_POD_used];
        add_at(f, T0 + 20 * i);
    }
    written_is(f, f->sample->pod[ANALYTICS_POD_host_written] - 1000);
    for (enum rollup_tier tier = 0; tier < ROLLUP_TIERS; tier++) {
        const struct seen s = look(f, pod, tier, ANALYTICS_POD_used);
        assert_int_equal(s.samples, 300);
        assert_int_equal(s.sum, used);
        assert_int_equal(s.max, look(f, pod, ROLLUP_MINUTE, ANALYTICS_POD_used).max);
    }
    assert_int_equal(look(f, pod, ROLLUP_MINUTE, 0).points, 101);
}

static void gaps_stay_gaps(void **state)
{
    struct fixture *f = *state;
    add_at(f, T0);
    add_at(f, T0 + 5 * 3600);
    const struct seen minutes = look(f, pod, ROLLUP_MINUTE, 0), hours = look(f, pod, ROLLUP_HOUR, 0);
    assert_int_equal(minutes.points, 2);
    assert_int_equal(hours.points, 2);
    assert_int_equal(hours.last_s - hours.first_s, 5 * 3600);
}

static void a_clock_that_jumps_loses_nothing(void **state)
{
    struct fixture *f = *state;
    static const int64_t jumps[] = {0, -3600, 4000 * DAY_S, -4000 * DAY_S, 7200, -59, 1};
    int64_t now = T0;
    uint64_t samples = 0;
    for (size_t jump = 0; jump < sizeof jumps / sizeof jumps[0]; jump++) {
        now += jumps[jump];
        for (int i = 0; i < 100; i++) {
            f->sample->pod[ANALYTICS_POD_host_written] += 10;
            add_at(f, now += 60);
            samples++;
        }
    }
    written_is(f, 10 * samples - 10);
    for (enum rollup_tier tier = 0; tier < ROLLUP_TIERS; tier++)
        assert_int_equal(look(f, pod, tier, 0).samples, samples);
}

static void restarts_lose_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t *figures = f->sample->pod;
    figures[ANALYTICS_POD_host_written] = 500;
    figures[ANALYTICS_POD_reads] = 7;
    add_at(f, T0); /* what was written before the history began is not of it */
    figures[ANALYTICS_POD_host_written] = 600;
    figures[ANALYTICS_POD_reads] = 10;
    add_at(f, T0 + 60);
    /* 50 more that no sample saw, then a new process, which has read 4 so far. */
    stop(f);
    start(f);
    f->sample->run = 2;
    figures[ANALYTICS_POD_host_written] = 650;
    figures[ANALYTICS_POD_reads] = 4;
    add_at(f, T0 + 600);
    figures[ANALYTICS_POD_reads] = 5;
    add_at(f, T0 + 660);
    written_is(f, 150);
    assert_int_equal(look(f, pod, ROLLUP_DAY, ANALYTICS_POD_reads).sum, 7 + 3 + 4 + 1);
}

static void minutes_are_kept_for_two_days_and_hours_for_longer(void **state)
{
    struct fixture *f = *state;
    const int64_t total = 2 * 1440 + 300;
    for (int64_t i = 0; i < total; i++) {
        f->sample->pod[ANALYTICS_POD_host_written] += 1;
        add_at(f, T0 + 60 * i);
    }
    const struct seen minutes = look(f, pod, ROLLUP_MINUTE, ANALYTICS_POD_host_written);
    assert_in_range(minutes.points, 2880, 2880 + 60);
    assert_int_equal(minutes.last_s, (T0 + 60 * (total - 1)) / 60 * 60);
    assert_int_equal(look(f, pod, ROLLUP_HOUR, ANALYTICS_POD_host_written).sum, total - 1);
    assert_int_equal(look(f, pod, ROLLUP_DAY, ANALYTICS_POD_host_written).sum, total - 1);
}

static void use_volumes(struct fixture *f, size_t count)
{
    f->sample->nvolumes = count;
    for (size_t i = 0; i < count; i++) {
        struct analytics_volume_sample *v = &f->sample->volumes[i];
        v->id = 100 + i;
        (void)snprintf(v->name, sizeof v->name, "v%03zu", i);
        v->figures[ANALYTICS_VOLUME_size] = 10 * GIB;
        v->figures[ANALYTICS_VOLUME_logical] = 2 * GIB;
        v->figures[ANALYTICS_VOLUME_stored] = GIB;
        v->figures[ANALYTICS_VOLUME_reads] = 12345;
        v->figures[ANALYTICS_VOLUME_read_bytes] = 12345 * 4096;
        for (unsigned k = 0; k < ANALYTICS_LATENCIES; k++)
            v->figures[ANALYTICS_VOLUME_READ_LATENCIES + k] = 500 + k,
                                                         v->figures[ANALYTICS_VOLUME_TRIM_LATENCIES + k] =
                                                             900 + k;
        v->used = true;
        v->shift = temperature_shift(10 * GIB);
        v->region_reads[1] = 12345;
    }
}

static void the_file_stays_below_its_bound(void **state)
{
    struct fixture *f = *state;
    stop(f);
    f->max_bytes = HISTORY_BYTES_MIN;
    start(f);
    use_volumes(f, 50);
    for (int i = 0; i < 200; i++)
        add_at(f, T0 + 60 * i);
    stop(f);
    struct history *h;
    struct history_size size;
    struct ps_error err;
    assert_int_equal(history_open(f->path, f->max_bytes, &h, &err), 0);
    assert_int_equal(history_size(h, &size), 0);
    history_close(h);
    assert_true(size.bytes <= HISTORY_BYTES_MIN);
    start(f);
    /* The pod's own are there still. */
    assert_int_equal(look(f, pod, ROLLUP_MINUTE, 0).points, 200);
    assert_int_equal(look(f, pod, ROLLUP_DAY, 0).samples, 200);
    assert_true(look(f, (struct history_subject){HISTORY_VOLUME, 100}, ROLLUP_DAY, 0).samples == 200);
}

static void a_sample_is_kept_whole_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    stop(f);
    struct history *h;
    struct ps_error err;
    struct rollup_point point = {0};
    rollup_sample(&point, (const uint64_t[]){1}, 1);
    assert_int_equal(history_open(f->path, f->max_bytes, &h, &err), 0);
    assert_int_equal(history_begin(h), 0);
    assert_int_equal(history_add(h, pod, T0, &point), 0);
    history_close(h); /* as a crash would */
    assert_int_equal(history_open(f->path, f->max_bytes, &h, &err), 0);
    assert_int_equal(history_begin(h), 0);
    assert_int_equal(history_add(h, pod, T0, &point), 0);
    assert_int_equal(history_end(h, PS_EIO), PS_EIO);
    history_close(h);
    start(f);
    assert_int_equal(look(f, pod, ROLLUP_MINUTE, 0).points, 0);
}

/* Requests are counted once; the pod's own counters tell the next time what they grew by. */
static void what_a_sample_that_failed_counted_is_in_the_next(void **state)
{
    struct fixture *f = *state;
    struct history *h;
    struct ps_error err;
    use_volumes(f, 1);
    add_at(f, T0);
    assert_int_equal(history_open(f->path, f->max_bytes, &h, &err), 0);
    assert_int_equal(history_begin(h), 0); /* somebody else writes */
    f->sample->time_s = T0 + 60;
    assert_int_equal(analytics_add(f->analytics, f->sample), PS_EPRECONDITION);
    assert_int_equal(history_end(h, PS_EIO), PS_EIO);
    history_close(h);
    add_at(f, T0 + 120);
    const struct history_subject v = {HISTORY_VOLUME, 100};
    assert_int_equal(look(f, v, ROLLUP_DAY, ANALYTICS_VOLUME_reads).sum, 3 * 12345);
}

static void what_is_no_history_is_set_aside(void **state)
{
    struct fixture *f = *state;
    add_at(f, T0);
    stop(f);
    FILE *file = fopen(f->path, "r+");
    assert_non_null(file);
    assert_true(fputs("this is not a database", file) >= 0);
    assert_int_equal(fclose(file), 0);
    char old[80];
    (void)snprintf(old, sizeof old, "%s.old", f->path);
    start(f);
    assert_int_equal(access(old, F_OK), 0);
    assert_int_equal(look(f, pod, ROLLUP_DAY, 0).points, 0);
    add_at(f, T0);
}

static void idle_volumes_take_little_room(void **state)
{
    struct fixture *f = *state;
    const struct history_subject v = {HISTORY_VOLUME, 100};
    use_volumes(f, 1);
    add_at(f, T0);
    f->sample->volumes[0].used = false;
    memset(&f->sample->volumes[0].figures[ANALYTICS_VOLUME_reads], 0,
           (ANALYTICS_VOLUME_METRICS - ANALYTICS_VOLUME_reads) * sizeof(uint64_t));
    for (int i = 1; i <= 120; i++)
        add_at(f, T0 + 60 * i);
    assert_int_equal(look(f, v, ROLLUP_MINUTE, ANALYTICS_VOLUME_reads).points, 3);
    assert_int_equal(look(f, v, ROLLUP_DAY, ANALYTICS_VOLUME_reads).sum, 12345);
    assert_int_equal(look(f, v, ROLLUP_DAY, ANALYTICS_VOLUME_READ_LATENCIES + 3).sum, 503);
    assert_int_equal(look(f, v, ROLLUP_HOUR, ANALYTICS_VOLUME_TRIM_LATENCIES + 23).sum, 923);
}

static void heat_survives_a_restart_and_fades_meanwhile(void **state)
{
    struct fixture *f = *state;
    struct analytics_volume v;
    use_volumes(f, 2);
    add_at(f, T0);
    assert_int_equal(analytics_volume(f->analytics, "v001", 0, T0, &v), 0);
    const double before = v.temperature.reads_per_hour;
    assert_true(before > 300);
    stop(f);
    start(f);
    assert_int_equal(analytics_volume(f->analytics, "v001", 0, T0, &v), PS_EUNAVAILABLE);
    f->sample->volumes[1].used = false;
    add_at(f, T0 + DAY_S);
    assert_int_equal(analytics_volume(f->analytics, NULL, 101, T0 + DAY_S, &v), 0);
    assert_string_equal(v.name, "v001");
    assert_true(v.temperature.reads_per_hour > before * 0.49 && v.temperature.reads_per_hour < before * 0.51);
    assert_int_equal(analytics_volume(f->analytics, "v009", 0, T0, &v), PS_ENOTFOUND);
    /* One that is gone, and another that comes: its heat is its own. */
    f->sample->nvolumes = 1;
    add_at(f, T0 + DAY_S + 60);
    use_volumes(f, 2);
    f->sample->volumes[1].used = false;
    add_at(f, T0 + DAY_S + 120);
    assert_int_equal(analytics_volume(f->analytics, NULL, 101, T0 + DAY_S + 120, &v), 0);
    assert_true(v.temperature.reads_per_hour == 0);
}

/* What a crash would leave: the file as it is while it is open. */
static double heat_that_was_kept(struct fixture *f, uint64_t id)
{
    char name[40];
    struct history *h;
    struct ps_error err;
    struct {
        int64_t time_s;
        struct temperature_heat heat;
    } kept;
    double reads = 0;
    (void)snprintf(name, sizeof name, "heat.1.%u", (unsigned)id);
    assert_int_equal(history_open(f->path, f->max_bytes, &h, &err), 0);
    if (history_get_state(h, name, &kept, sizeof kept) == 0)
        for (size_t i = 0; i < TEMPERATURE_REGIONS; i++)
            reads += (double)kept.heat.reads[i];
    else
        reads = -1;
    history_close(h);
    return reads;
}

static void a_crash_costs_ten_minutes_of_heat_at_most(void **state)
{
    struct fixture *f = *state;
    use_volumes(f, 2);
    add_at(f, T0);
    const double first = heat_that_was_kept(f, 101);
    assert_true(first > 12344);
    f->sample->volumes[1].used = false;
    for (int i = 1; i < 10; i++) {
        add_at(f, T0 + 60 * i);
        assert_true(heat_that_was_kept(f, 100) == first);
    }
    add_at(f, T0 + 600);
    assert_true(heat_that_was_kept(f, 100) > 10.9 * first);
    assert_true(heat_that_was_kept(f, 101) == first);
    /* A clock that is set back: at once, and every ten minutes from there. */
    add_at(f, T0 - 5 * DAY_S);
    const double back = heat_that_was_kept(f, 100);
    assert_true(back > 11.9 * first);
    add_at(f, T0 - 5 * DAY_S + 540);
    assert_true(heat_that_was_kept(f, 100) == back);
    add_at(f, T0 - 5 * DAY_S + 600);
    assert_true(heat_that_was_kept(f, 100) > back);
}

/* Deleted while another node, or nobody, took samples. */
static void heat_of_volumes_that_went_meanwhile_goes(void **state)
{
    struct fixture *f = *state;
    use_volumes(f, 3);
    add_at(f, T0);
    stop(f);
    start(f);
    f->sample->nvolumes = 2;
    add_at(f, T0 + 60);
    assert_true(heat_that_was_kept(f, 101) > 0);
    assert_true(heat_that_was_kept(f, 102) < 0);
}

static void tiers_are_advised_volume_by_volume(void **state)
{
    struct fixture *f = *state;
    struct analytics_advice advice[4];
    use_volumes(f, 3);
    memset(f->sample->volumes[2].region_reads, 0, sizeof f->sample->volumes[2].region_reads);
    f->sample->volumes[2].figures[ANALYTICS_VOLUME_read_bytes] = 0;
    for (unsigned i = 0; i < TEMPERATURE_REGIONS; i++)
        f->sample->volumes[0].region_reads[i] = 1000000;
    add_at(f, T0);
    assert_int_equal(analytics_tiering(f->analytics, "", T0, advice, 4), 3);
    assert_int_equal(advice[0].advice.tier, TIER_NVME);
    assert_int_equal(advice[0].temperature, TEMPERATURE_HOT);
    assert_int_equal(advice[1].advice.tier, TIER_SSD);
    assert_int_equal(advice[2].advice.tier, TIER_ARCHIVE);
    assert_int_equal(analytics_tiering(f->analytics, "v001", T0, advice, 1), 1);
    assert_string_equal(advice[0].name, "v002");
}

static void drives_are_judged_by_their_history(void **state)
{
    struct fixture *f = *state;
    struct analytics_health health;
    struct analytics_device_sample *d = &f->sample->devices[0];
    assert_int_equal(analytics_health(f->analytics, T0, &health), PS_EUNAVAILABLE);
    f->sample->ndevices = 1;
    (void)snprintf(d->name, sizeof d->name, "flash0");
    d->figures[ANALYTICS_DEVICE_blocks] = 1000;
    for (int hour = 0; hour <= 240; hour++) { /* ten days, 5 cycles a day */
        d->figures[ANALYTICS_DEVICE_wear_mean_milli] = 2000000 + (uint64_t)hour * 5000 / 24;
        d->figures[ANALYTICS_DEVICE_write_bytes] += GIB;
        d->figures[ANALYTICS_DEVICE_errors] += hour == 20;
        add_at(f, T0 + hour * 3600);
    }
    assert_int_equal(analytics_health(f->analytics, T0 + 240 * 3600, &health), 0);
    assert_int_equal(health.count, 1);
    const struct analytics_device *out = &health.devices[0];
    assert_string_equal(out->name, "flash0");
    assert_true(out->health.days_known);
    assert_in_range((uint64_t)out->health.days_left, 185, 195);
    assert_int_equal(out->errors_30_days, 1);
    assert_int_equal(out->written_30_days, 241 * GIB);
    assert_in_range(out->health.score, 73, 76);
}

static void a_drive_that_counts_its_own_life_is_judged_by_that(void **state)
{
    struct fixture *f = *state;
    struct analytics_health health;
    struct analytics_device_sample *d = &f->sample->devices[0];
    const struct analytics_device *out = &health.devices[0];
    f->sample->ndevices = 1;
    (void)snprintf(d->name, sizeof d->name, "/dev/nvme0n1");
    for (int hour = 0; hour <= 240; hour++) { /* ten days, 1 % a day; every third sample lacks it */
        const bool told = hour % 3 == 0;
        d->figures[ANALYTICS_DEVICE_smart] = told;
        d->figures[ANALYTICS_DEVICE_used_percent] = told ? 60 + (uint64_t)hour / 24 : 0;
        d->figures[ANALYTICS_DEVICE_kelvin] = told ? 310 : 0;
        add_at(f, T0 + hour * 3600);
    }
    assert_int_equal(analytics_health(f->analytics, T0 + 240 * 3600, &health), 0);
    assert_true(out->smart_known && !out->wear_known);
    assert_true(out->used_percent == 70 && out->kelvin == 310);
    assert_true(out->health.days_known);
    assert_in_range((uint64_t)out->health.days_left, 28, 31);
    assert_int_equal(out->health.score, 100 - 24);
    assert_string_equal(out->health.reasons[0], "70 % of its life are used, as it counts");

    d->figures[ANALYTICS_DEVICE_media_errors] = 7; /* 6 points */
    d->figures[ANALYTICS_DEVICE_warnings] = 1 | 2; /* 40, with or without its temperature */
    add_at(f, T0 + 241 * 3600);
    assert_int_equal(analytics_health(f->analytics, T0 + 241 * 3600, &health), 0);
    assert_int_equal(out->health.score, 100 - 24 - 6 - 40);
    assert_string_equal(out->health.reasons[1], "it counts 7 media errors");
    assert_string_equal(out->health.reasons[2], "it warns: its spare is low");
    d->figures[ANALYTICS_DEVICE_warnings] = 2;
    add_at(f, T0 + 242 * 3600);
    assert_int_equal(analytics_health(f->analytics, T0 + 242 * 3600, &health), 0);
    assert_int_equal(out->health.score, 100 - 24 - 6 - 10);
}

static void a_drive_is_not_blamed_for_the_one_before_it(void **state)
{
    struct fixture *f = *state;
    struct analytics_health health;
    struct analytics_device_sample *d = f->sample->devices;
    f->sample->ndevices = 2;
    for (int i = 0; i < 2; i++)
        (void)snprintf(d[i].name, sizeof d[i].name, "disk%d", i);
    for (int hour = 0; hour <= 48; hour++) {
        d[0].figures[ANALYTICS_DEVICE_errors] += 2;
        d[1].figures[ANALYTICS_DEVICE_errors] += 1;
        add_at(f, T0 + hour * 3600);
    }
    d[0].out = true;
    add_at(f, T0 + 49 * 3600);
    assert_int_equal(analytics_health(f->analytics, T0 + 49 * 3600, &health), 0);
    assert_int_equal(health.devices[0].errors_30_days, 98);
    assert_int_equal(health.devices[0].health.score, 0);
    assert_string_equal(health.devices[0].health.reasons[2], "it is out of its array, which does without it");
    assert_int_equal(health.devices[1].errors_30_days, 49);

    memset(d[0].figures, 0, sizeof d[0].figures);
    d[0].out = false;
    (void)snprintf(d[0].name, sizeof d[0].name, "disk2");
    for (int hour = 50; hour <= 52; hour++) {
        d[0].figures[ANALYTICS_DEVICE_write_bytes] += GIB;
        d[0].figures[ANALYTICS_DEVICE_errors] = hour == 52;
        add_at(f, T0 + hour * 3600);
    }
    assert_int_equal(analytics_health(f->analytics, T0 + 52 * 3600, &health), 0);
    assert_string_equal(health.devices[0].name, "disk2");
    assert_int_equal(health.devices[0].errors_30_days, 1);
    assert_int_equal(health.devices[0].written_30_days, 2 * GIB); /* of whole hours */
    assert_int_equal(health.devices[1].errors_30_days, 49);
}

static void the_forecast_is_made_of_the_history(void **state)
{
    struct fixture *f = *state;
    struct analytics_forecast out;
    const int64_t days = 120;
    for (int64_t hour = 0; hour <= days * 24; hour += 4) {
        f->sample->pod[ANALYTICS_POD_used] = 40 * GIB + (uint64_t)hour * GIB / 96; /* 256 MiB a day */
        add_at(f, T0 + hour * 3600);
    }
    const struct analytics_forecast_ask ask = {
        .now_s = T0 + days * DAY_S, .horizons_days = {7, 30, 90}, .horizons = 3};
    assert_int_equal(analytics_forecast(f->analytics, &ask, &out), 0);
    assert_int_equal(out.used, 70 * GIB);
    const struct forecast *made = &out.forecast;
    assert_true(made->current == (double)(70 * GIB));
    assert_true(made->predictions[1].known);
    assert_true(made->predictions[1].value > 77.3 * (double)GIB &&
                made->predictions[1].value < 77.7 * (double)GIB);
    assert_true(made->at_80.known);
    assert_true(made->at_80.days > 39 && made->at_80.days < 41);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(sums_and_extremes_are_the_same_in_all_tiers),
        TEST(gaps_stay_gaps),
        TEST(a_clock_that_jumps_loses_nothing),
        TEST(restarts_lose_nothing),
        TEST(minutes_are_kept_for_two_days_and_hours_for_longer),
        TEST(the_file_stays_below_its_bound),
        TEST(a_sample_is_kept_whole_or_not_at_all),
        TEST(what_a_sample_that_failed_counted_is_in_the_next),
        TEST(what_is_no_history_is_set_aside),
        TEST(idle_volumes_take_little_room),
        TEST(heat_survives_a_restart_and_fades_meanwhile),
        TEST(a_crash_costs_ten_minutes_of_heat_at_most),
        TEST(heat_of_volumes_that_went_meanwhile_goes),
        TEST(tiers_are_advised_volume_by_volume),
        TEST(drives_are_judged_by_their_history),
        TEST(a_drive_that_counts_its_own_life_is_judged_by_that),
        TEST(a_drive_is_not_blamed_for_the_one_before_it),
        TEST(the_forecast_is_made_of_the_history),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
