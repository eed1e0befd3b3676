#include "common/settings_table.h"

#include <string.h>

#define X(NAME, field, TYPE, flags, text, min, max, choices, help)                                           \
    {#NAME, SETTING_##TYPE, flags, text, min, max, choices, help},
static const struct setting pstoraged_table[] = {PSTORAGED_SETTINGS(X)};
static const struct setting mediator_table[] = {MEDIATOR_SETTINGS(X)};
#undef X

_Static_assert((int)PSTORAGED_COUNT <= SETTINGS_MAX && (int)MEDIATOR_COUNT <= SETTINGS_MAX,
               "raise SETTINGS_MAX");

static int pstoraged_check(const struct settings *s, struct ps_error *err)
{
    if (!s->values[PSTORAGED_CLUSTER_ENABLED].number)
        return 0;
    if (s->values[PSTORAGED_PEERS].text[0] == '\0')
        return ps_error_set(
            err, PS_EINVAL,
            "PSTORAGE_CLUSTER_ENABLED=true needs PSTORAGE_PEERS, as in node2=tcp://host:9500");
    if (s->values[PSTORAGED_MEDIATOR].text[0] == '\0')
        return ps_error_set(err, PS_EINVAL,
                            "PSTORAGE_CLUSTER_ENABLED=true needs PSTORAGE_MEDIATOR, as in tcp://host:9510");
    return 0;
}

const struct settings_program pstoraged_program = {
    .name = "pstoraged",
    .summary = "One node of a PStorage array: serves thin, deduplicated, compressed volumes from flash.",
    .table = pstoraged_table,
    .count = PSTORAGED_COUNT,
    .check = pstoraged_check,
};

const struct settings_program mediator_program = {
    .name = "pstorage-mediator",
    .summary = "The witness of a PStorage cluster: prevents split brain, never on the data path.",
    .table = mediator_table,
    .count = MEDIATOR_COUNT,
};

#define SETTING_GET_STRING(v)  (v).text
#define SETTING_GET_NAME(v)    (v).text
#define SETTING_GET_PATH(v)    (v).text
#define SETTING_GET_HOST(v)    (v).text
#define SETTING_GET_LISTEN(v)  (v).text
#define SETTING_GET_ADDRESS(v) (v).text
#define SETTING_GET_URL(v)     (v).text
#define SETTING_GET_PEERS(v)   (v).text
#define SETTING_GET_DEVICES(v) (v).text
#define SETTING_GET_BOOL(v)    ((v).number != 0)
#define SETTING_GET_UINT(v)    (v).number
#define SETTING_GET_SIZE(v)    (v).number
#define SETTING_GET_ENUM(v)    ((unsigned)(v).number)

void pstoraged_settings_get(const struct settings *settings, struct pstoraged_settings *out)
{
#define X(NAME, field, TYPE, flags, text, min, max, choices, help)                                           \
    out->field = SETTING_GET_##TYPE(settings->values[PSTORAGED_##NAME]);
    PSTORAGED_SETTINGS(X)
#undef X
}

void mediator_settings_get(const struct settings *settings, struct mediator_settings *out)
{
#define X(NAME, field, TYPE, flags, text, min, max, choices, help)                                           \
    out->field = SETTING_GET_##TYPE(settings->values[MEDIATOR_##NAME]);
    MEDIATOR_SETTINGS(X)
#undef X
}

bool settings_known_anywhere(const char *name, size_t length)
{
    static const char *const names[] = {
#define X(NAME, ...) #NAME,
        PSTORAGED_SETTINGS(X) MEDIATOR_SETTINGS(X) OTHER_VARIABLES(X)
#undef X
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
            return true;
    return false;
}
