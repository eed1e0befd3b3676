/* How the tables of rest_schema.h are written; for the files that hold them. THIS is the struct described. */
#ifndef PS_NODE_HOST_REST_REST_SCHEMA_IMPL_H
#define PS_NODE_HOST_REST_REST_SCHEMA_IMPL_H

#include "node/host/rest/rest_schema.h"

#define AT(member) offsetof(THIS, member)
#define U64(m, d)                                                                                            \
    {                                                                                                        \
        .name = #m, .type = REST_U64, .offset = AT(m), .doc = d                                              \
    }
#define U64_AS(n, m, d)                                                                                      \
    {                                                                                                        \
        .name = n, .type = REST_U64, .offset = AT(m), .doc = d                                               \
    }
#define U32(m, d)                                                                                            \
    {                                                                                                        \
        .name = #m, .type = REST_U32, .offset = AT(m), .doc = d                                              \
    }
#define BOOL(m, d)                                                                                           \
    {                                                                                                        \
        .name = #m, .type = REST_BOOL, .offset = AT(m), .doc = d                                             \
    }
#define NUMBER(m, d)                                                                                         \
    {                                                                                                        \
        .name = #m, .type = REST_NUMBER, .offset = AT(m), .doc = d                                           \
    }
#define TEXT(m, d)                                                                                           \
    {                                                                                                        \
        .name = #m, .type = REST_TEXT, .offset = AT(m), .doc = d                                             \
    }
#define TEXT_OR_NULL(m, d)                                                                                   \
    {                                                                                                        \
        .name = #m, .type = REST_TEXT_OR_NULL, .offset = AT(m), .doc = d                                     \
    }
#define U64_OR_NULL(m, d)                                                                                    \
    {                                                                                                        \
        .name = #m, .type = REST_U64_OR_NULL, .offset = AT(m), .doc = d                                      \
    }
#define U64_IF(m, known, d)                                                                                  \
    {                                                                                                        \
        .name = #m, .type = REST_U64_IF, .offset = AT(m), .beside = AT(known), .doc = d                      \
    }
#define KNOWN(m, d)                                                                                          \
    {                                                                                                        \
        .name = #m, .type = REST_U64_IF, .offset = AT(m), .beside = AT(known), .doc = d                      \
    }
#define TIME(n, m, d)                                                                                        \
    {                                                                                                        \
        .name = n, .type = REST_TIME, .offset = AT(m), .doc = d                                              \
    }
#define NUMBER_IF(m, known, d)                                                                               \
    {                                                                                                        \
        .name = #m, .type = REST_NUMBER_IF, .offset = AT(m), .beside = AT(known), .doc = d                   \
    }
#define OBJECT(n, m, s, d)                                                                                   \
    {                                                                                                        \
        .name = n, .type = REST_OBJECT, .offset = AT(m), .of = &(s), .doc = d                                \
    }
#define OBJECT_IF(n, m, known, s, d)                                                                         \
    {                                                                                                        \
        .name = n, .type = REST_OBJECT_IF, .offset = AT(m), .beside = AT(known), .of = &(s), .doc = d        \
    }
#define LINES(m, c, d)                                                                                       \
    {                                                                                                        \
        .name = #m, .type = REST_LINES, .offset = AT(m), .beside = AT(c),                                    \
        .width = sizeof(((THIS *)0)->m[0]), .doc = d                                                         \
    }
#define FLOATS(m, c, d)                                                                                      \
    {                                                                                                        \
        .name = #m, .type = REST_FLOATS, .offset = AT(m), .beside = AT(c), .doc = d                          \
    }
#define GROUP(n, s, d)                                                                                       \
    {                                                                                                        \
        .name = n, .type = REST_OBJECT, .of = &(s), .doc = d                                                 \
    }
#define LIST(n, m, c, s, d)                                                                                  \
    {                                                                                                        \
        .name = n, .type = REST_LIST, .offset = AT(m), .beside = AT(c), .of = &(s), .doc = d                 \
    }
#define INLINE(n, m, c, s, d)                                                                                \
    {                                                                                                        \
        .name = n, .type = REST_INLINE, .offset = AT(m), .beside = AT(c), .of = &(s), .doc = d               \
    }
#define WORD(m, w, from, to, d)                                                                              \
    {                                                                                                        \
        .name = #m, .type = REST_WORD, .offset = AT(m), .words = (w), .words_from = (from),                  \
        .words_to = (to), .doc = d                                                                           \
    }
#define SCHEMA(variable, name_, doc_, ...)                                                                   \
    static const struct rest_field variable##_fields[] = {__VA_ARGS__};                                      \
    const struct rest_schema variable = {name_, doc_, sizeof(THIS), variable##_fields,                       \
                                         sizeof variable##_fields / sizeof variable##_fields[0]}
#define INNER(variable, name_, doc_, ...)                                                                    \
    static const struct rest_field variable##_fields[] = {__VA_ARGS__};                                      \
    static const struct rest_schema variable = {name_, doc_, sizeof(THIS), variable##_fields,                \
                                                sizeof variable##_fields / sizeof variable##_fields[0]}

extern const struct rest_schema rest_forecast_now, rest_forecast_prediction, rest_forecast_predictions,
    rest_forecast_thresholds, rest_overview_capacity, rest_overview_drives, rest_overview_volumes,
    rest_advice, rest_latency, rest_volume_point, rest_growth, rest_history, rest_temperature_now;
#define REST_ANALYTICS_SCHEMAS                                                                               \
    &rest_analytics, &rest_overview_capacity, &rest_overview_drives, &rest_overview_volumes, &rest_forecast, \
        &rest_forecast_now, &rest_forecast_prediction, &rest_forecast_predictions,                           \
        &rest_forecast_thresholds, &rest_health, &rest_drive, &rest_advice, &rest_advice_page,               \
        &rest_temperature, &rest_account, &rest_latency, &rest_volume_point, &rest_growth, &rest_history,    \
        &rest_temperature_now

#endif
