#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "pstorage/v1/analytics.pb-c.h"
#include "services_world.h"

#define ANALYTICS &pstorage__v1__analytics__descriptor

static struct answer a;

static int setup(void **state)
{
    a = (struct answer){0};
    return world_setup(state);
}

static int teardown(void **state)
{
    const int failed = world_teardown(state);
    answer_free(&a);
    return failed;
}

static const void *ask(struct services_world *w, const char *method, const ProtobufCMessage *message)
{
    start(w, &a, ANALYTICS, method, message);
    world_run(w, 20);
    assert_int_equal(a.count, 1);
    return a.message;
}

static void foresee(struct analytics_query *q)
{
    assert_int_equal(q->question, ANALYTICS_FORECAST);
    assert_int_equal(q->forecast_ask.horizons, 3);
    assert_int_equal(q->forecast_ask.horizons_days[1], 30);
    assert_true(q->forecast_ask.plan_at_once == 5 && q->forecast_ask.plan_per_day == 6);
    struct forecast *f = &q->answer.forecast.forecast;
    q->answer.forecast.capacity = 1000;
    q->answer.forecast.used = 250;
    *f = (struct forecast){
        .method = FORECAST_TREND, .step_s = 86400, .samples = 40, .npredictions = 3, .confidence = 0.85};
    f->predictions[0] =
        (struct forecast_prediction){.days = 7, .known = true, .low = -3, .value = 300.7, .high = 1e30};
    f->predictions[1].days = 30;
    f->at_80 = (struct forecast_crossing){.known = true, .days = 45, .earliest = 40, .latest = -1};
    f->at_90 = (struct forecast_crossing){.days = -1, .earliest = -1, .latest = -1};
}

static void a_forecast_is_told_with_what_is_not_known(void **state)
{
    struct services_world *w = *state;
    Pstorage__V1__ForecastRequest request = PSTORAGE__V1__FORECAST_REQUEST__INIT;
    request.plan_bytes = 5;
    request.plan_bytes_per_day = 6;
    w->inquire = foresee;
    const Pstorage__V1__ForecastResponse *m = ask(w, "Forecast", &request.base);
    assert_int_equal(a.status, 0);
    assert_string_equal(m->method, "trend");
    assert_int_equal(m->used_bytes, 250);
    assert_int_equal(m->n_predictions, 3);
    assert_true(m->predictions[0]->known && m->predictions[0]->used_bytes == 300);
    assert_true(m->predictions[0]->low_bytes == 0 && m->predictions[0]->high_bytes == UINT64_MAX);
    assert_false(m->predictions[1]->known);
    assert_true(m->at_80_percent->known && m->at_80_percent->days == 45);
    assert_true(m->at_80_percent->earliest_known && !m->at_80_percent->latest_known);
    assert_false(m->at_90_percent->known || m->at_90_percent->reached);
    assert_true(m->confidence == 0.85);
}

static void horizons_out_of_range_are_refused(void **state)
{
    struct services_world *w = *state;
    static uint32_t far[] = {7, 1827}, none[] = {0}, many[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const struct {
        uint32_t *days;
        size_t count;
    } wrong[] = {{far, 2}, {none, 1}, {many, 9}};
    for (size_t i = 0; i < 3; i++) {
        Pstorage__V1__ForecastRequest request = PSTORAGE__V1__FORECAST_REQUEST__INIT;
        request.horizons_days = wrong[i].days;
        request.n_horizons_days = wrong[i].count;
        (void)ask(w, "Forecast", &request.base);
        assert_int_equal(a.status, PS_EINVAL);
        answer_free(&a);
        a = (struct answer){0};
    }
}

static void judge(struct analytics_query *q)
{
    q->answer.health.count = 1;
    struct analytics_device *d = &q->answer.health.devices[0];
    *d = (struct analytics_device){
        .wear_known = true, .wear_mean = 12.5, .health = {.score = 91, .nreasons = 1}};
    (void)snprintf(d->name, sizeof d->name, "flash\xff");
    (void)snprintf(d->health.reasons[0], sizeof d->health.reasons[0], "it hums");
}

static void drives_are_told_with_reasons(void **state)
{
    Pstorage__V1__HealthRequest request = PSTORAGE__V1__HEALTH_REQUEST__INIT;
    ((struct services_world *)*state)->inquire = judge;
    const Pstorage__V1__HealthResponse *m = ask(*state, "Health", &request.base);
    assert_int_equal(a.status, 0);
    assert_int_equal(m->n_drives, 1);
    assert_string_equal(m->drives[0]->name, "flash?");
    assert_int_equal(m->drives[0]->score, 91);
    assert_string_equal(m->drives[0]->reasons[0], "it hums");
    assert_false(m->drives[0]->days_left_known);
}

/* Three volumes, "a" to "c". */
static void advise(struct analytics_query *q)
{
    q->answer.count = 0;
    for (char name[2] = "a"; name[0] <= 'c' && q->answer.count < q->max_advice; name[0]++) {
        struct analytics_advice *out = &q->advice[q->answer.count];
        if (strcmp(name, q->name) <= 0)
            continue;
        *out = (struct analytics_advice){.id = (uint64_t)name[0], .advice = {.tier = TIER_HDD}};
        (void)snprintf(out->name, sizeof out->name, "%s", name);
        q->answer.count++;
    }
}

static void advice_comes_page_by_page(void **state)
{
    struct services_world *w = *state;
    Pstorage__V1__TieringRequest request = PSTORAGE__V1__TIERING_REQUEST__INIT;
    char token[8];
    w->inquire = advise;
    request.page_size = 2;
    const Pstorage__V1__TieringResponse *m = ask(w, "Tiering", &request.base);
    assert_int_equal(m->n_volumes, 2);
    assert_string_equal(m->volumes[1]->tier, "hdd");
    assert_string_equal(m->volumes[1]->current_tier, "nvme");
    assert_string_equal(m->next_page_token, "b");
    (void)snprintf(token, sizeof token, "%s", m->next_page_token);
    answer_free(&a);
    a = (struct answer){0};
    request.page_token = token;
    m = ask(w, "Tiering", &request.base);
    assert_int_equal(m->n_volumes, 1);
    assert_string_equal(m->volumes[0]->name, "c");
    assert_string_equal(m->next_page_token, "");
}

static void warm(struct analytics_query *q)
{
    struct analytics_volume *v = &q->answer.volume;
    assert_int_equal(q->question, ANALYTICS_TEMPERATURE);
    assert_true(q->id != 0 && !q->name[0]);
    *v = (struct analytics_volume){.id = 7, .size = 3 << 20};
    v->temperature = (struct temperature_report){
        .temperature = TEMPERATURE_WARM, .regions = 3, .region_shift = 20, .region_density = {1, 2, 3}};
    v->temperature.bytes[TEMPERATURE_HOT] = 1 << 20;
}

static void a_temperature_has_its_regions(void **state)
{
    Pstorage__V1__TemperatureRequest request = PSTORAGE__V1__TEMPERATURE_REQUEST__INIT;
    char name[] = "data";
    request.volume = name;
    pod_fake_volume(((struct services_world *)*state)->pod, name, 4 << 20);
    ((struct services_world *)*state)->inquire = warm;
    const Pstorage__V1__TemperatureResponse *m = ask(*state, "Temperature", &request.base);
    assert_int_equal(a.status, 0);
    assert_string_equal(m->temperature, "warm");
    assert_int_equal(m->hot_bytes, 1 << 20);
    assert_int_equal(m->region_bytes, 1 << 20);
    assert_int_equal(m->n_regions, 3);
    assert_true(m->regions[2] == 3);
}

static void what_is_not_known_yet_is_said(void **state)
{
    struct services_world *w = *state;
    Pstorage__V1__TemperatureRequest request = PSTORAGE__V1__TEMPERATURE_REQUEST__INIT;
    char name[] = "data", wrong[] = "a@b", strange[] = "strange";
    request.volume = name;
    pod_fake_volume(w->pod, name, 4 << 20);
    w->analytics_status = PS_ENOTFOUND;
    (void)ask(w, "Temperature", &request.base);
    assert_int_equal(a.status, PS_ENOTFOUND);
    assert_non_null(strstr(a.detail, "was not sampled"));
    answer_free(&a);
    a = (struct answer){0};
    w->analytics_status = PS_EUNAVAILABLE;
    (void)ask(w, "Temperature", &request.base);
    assert_int_equal(a.status, PS_EUNAVAILABLE);
    answer_free(&a);
    a = (struct answer){0};
    w->refuse_analytics = PS_ELIMIT;
    (void)ask(w, "Temperature", &request.base);
    assert_int_equal(a.status, PS_ELIMIT);
    answer_free(&a);
    a = (struct answer){0};
    request.volume = wrong;
    (void)ask(w, "Temperature", &request.base);
    assert_int_equal(a.status, PS_EINVAL);
    answer_free(&a);
    a = (struct answer){0};
    request.volume = strange;
    (void)ask(w, "Temperature", &request.base);
    assert_int_equal(a.status, PS_ENOTFOUND);
    assert_non_null(strstr(a.detail, "no volume is named 'strange'"));
}

static void tell(struct analytics_query *q)
{
    assert_int_equal(q->question, ANALYTICS_ACCOUNT);
    assert_int_equal(q->account_ask.tier, ROLLUP_DAY);
    assert_int_equal(q->account_ask.before_s, 86400 * 9);
    assert_int_equal(q->max_stretches, 2);
    q->answer.account = (struct account){.volume = {.id = q->id, .stored = 5},
                                         .growth_known = true,
                                         .logical_per_day = -2.5,
                                         .read_latency = {.requests = 3, .p99_us = 64},
                                         .points = 2,
                                         .earlier = true};
    q->stretches[0] = (struct account_point){.time_s = 86400 * 7, .samples = 1, .writes = 4};
    q->stretches[1] = (struct account_point){.time_s = 86400 * 8, .samples = 2, .size = 4096};
}

static void an_account_has_its_points(void **state)
{
    struct services_world *w = *state;
    Pstorage__V1__VolumeAccountRequest request = PSTORAGE__V1__VOLUME_ACCOUNT_REQUEST__INIT;
    char name[] = "data";
    pod_fake_volume(w->pod, name, 4 << 20);
    request.volume = name;
    request.step = PSTORAGE__V1__HISTORY_STEP__HISTORY_STEP_DAY;
    request.before_unix_s = 86400 * 9;
    request.max_points = 2;
    w->inquire = tell;
    const Pstorage__V1__VolumeAccountResponse *m = ask(w, "Volume", &request.base);
    assert_int_equal(a.status, 0);
    assert_true(m->growth_known && m->logical_bytes_per_day == -2.5 && m->earlier);
    assert_int_equal(m->stored_bytes, 5);
    assert_int_equal(m->temperature->n_regions, 0);
    assert_true(m->read_latency->requests == 3 && m->read_latency->p99_us == 64);
    assert_int_equal(m->write_latency->requests, 0);
    assert_int_equal(m->n_points, 2);
    assert_int_equal(m->points[0]->begin_unix_s, 86400 * 7);
    assert_int_equal(m->points[0]->writes, 4);
    assert_int_equal(m->points[1]->size_bytes, 4096);
    answer_free(&a);
    a = (struct answer){0};
    request.before_unix_s = -1;
    (void)ask(w, "Volume", &request.base);
    assert_int_equal(a.status, PS_EINVAL);
    answer_free(&a);
    a = (struct answer){0};
    request.before_unix_s = 0;
    request.step = (Pstorage__V1__HistoryStep)3;
    (void)ask(w, "Volume", &request.base);
    assert_int_equal(a.status, PS_EINVAL);
}

/* One other node answers (it is this one, under another name), one has no connection. */
static void drives_of_all_nodes_are_told_and_who_is_silent(void **state)
{
    struct services_world *w = *state;
    Pstorage__V1__HealthRequest request = PSTORAGE__V1__HEALTH_REQUEST__INIT;
    request.all_nodes = true;
    w->others = 2;
    w->inquire = judge;
    const Pstorage__V1__HealthResponse *m = ask(w, "Health", &request.base);
    assert_int_equal(a.status, 0);
    assert_int_equal(m->n_drives, 2);
    assert_string_equal(m->drives[0]->node, "node-a");
    assert_string_equal(m->drives[1]->node, "node-b");
    assert_int_equal(m->drives[1]->score, 91);
    assert_string_equal(m->drives[1]->reasons[0], "it hums");
    assert_int_equal(m->n_unreachable, 1);
    assert_string_equal(m->unreachable[0], "node-c");
}

static void who_wants_the_primary_s_answer_gets_it(void **state)
{
    struct services_world *w = *state;
    Pstorage__V1__ForecastRequest forecast = PSTORAGE__V1__FORECAST_REQUEST__INIT;
    Pstorage__V1__TieringRequest tiering = PSTORAGE__V1__TIERING_REQUEST__INIT;
    Pstorage__V1__TemperatureRequest temperature = PSTORAGE__V1__TEMPERATURE_REQUEST__INIT;
    Pstorage__V1__VolumeAccountRequest account = PSTORAGE__V1__VOLUME_ACCOUNT_REQUEST__INIT;
    static const struct rpc_metadata wish = {"ask-primary", "1", 1};
    const struct {
        const char *method;
        const ProtobufCMessage *message;
    } asked[] = {{"Forecast", &forecast.base},
                 {"Tiering", &tiering.base},
                 {"Temperature", &temperature.base},
                 {"Volume", &account.base}};
    w->elsewhere = true;
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        char sent_on[64];
        a.request.metadata = &wish;
        a.request.nmetadata = 1;
        (void)ask(w, asked[i].method, asked[i].message);
        (void)snprintf(sent_on, sizeof sent_on, "Analytics/%s", asked[i].method);
        assert_int_equal(a.status, PS_ECANCELLED);
        assert_string_equal(a.detail, sent_on);
        answer_free(&a);
        a = (struct answer){0};
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_forecast_is_told_with_what_is_not_known),
        TEST(horizons_out_of_range_are_refused),
        TEST(drives_are_told_with_reasons),
        TEST(advice_comes_page_by_page),
        TEST(a_temperature_has_its_regions),
        TEST(what_is_not_known_yet_is_said),
        TEST(an_account_has_its_points),
        TEST(drives_of_all_nodes_are_told_and_who_is_silent),
        TEST(who_wants_the_primary_s_answer_gets_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
