/* What a value of each type looks like: checks and numbers. Pure. */
#ifndef PS_COMMON_SETTINGS_VALUE_H
#define PS_COMMON_SETTINGS_VALUE_H

#include "common/settings.h"

/* 0 and, for types that have one, the number; or PS_EINVAL with a detail that
 * says what would be right, without the value ("a number from 1 to 65535"). */
int setting_value_parse(const struct setting *setting, const char *text, uint64_t *number,
                        struct ps_error *needs);

/* What a value may be, for help and messages: "true or false", "xxh3 or sha256". Returns `out`. */
const char *setting_value_hint(const struct setting *setting, char *out, size_t room);

#endif
