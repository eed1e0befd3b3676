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
    assert_string_equal(q->name, "data");
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
    char name[] = "data", wrong[] = "a@b";
    request.volume = name;
    w->analytics_status = PS_ENOTFOUND;
    (void)ask(w, "Temperature", &request.base);
    assert_int_equal(a.status, PS_ENOTFOUND);
    assert_non_null(strstr(a.detail, "after the next sample"));
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
