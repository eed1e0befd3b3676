#include "common/sizes.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char units[] = "KMGT";

/* The power of 1024 that a suffix stands for, or -1. */
static int suffix_shift(const char *s)
{
    if (s[0] == '\0' || strcasecmp(s, "B") == 0)
        return 0;
    for (int i = 0; units[i]; i++) {
        if ((s[0] | 0x20) != (units[i] | 0x20))
            continue;
        const bool known = s[1] == '\0' || strcasecmp(s + 1, "B") == 0 || strcasecmp(s + 1, "iB") == 0;
        return known ? 10 * (i + 1) : -1;
    }
    return -1;
}

int size_parse(const char *text, uint64_t *out, struct ps_error *err)
{
    const char *p = text;
    uint64_t value = 0;
    bool too_large = false;
    for (; *p >= '0' && *p <= '9'; p++)
        too_large |= __builtin_mul_overflow(value, 10, &value) ||
                     __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value);
    if (p == text)
        return ps_error_set(err, PS_EINVAL,
                            "\"%.60s\" is no size: write a number with K, M, G or T, like 10G", text);
    if (*p == '.' || *p == ',')
        return ps_error_set(err, PS_EINVAL, "\"%.60s\": sizes are whole numbers; write 1536M instead of 1.5G",
                            text);
    const int shift = suffix_shift(p);
    if (shift < 0)
        return ps_error_set(err, PS_EINVAL, "\"%.60s\" ends in \"%.20s\", which is none of K, M, G and T",
                            text, p);
    if (too_large || value > UINT64_MAX >> shift)
        return ps_error_set(err, PS_ERANGE, "\"%.60s\" is too large", text);
    *out = value << shift;
    return 0;
}

const char *size_format(uint64_t bytes, char *out)
{
    int unit = 0;
    while (bytes && bytes % 1024 == 0 && unit < 4) {
        bytes /= 1024;
        unit++;
    }
    (void)snprintf(out, SIZE_TEXT_MAX, "%" PRIu64 "%.*s", bytes, unit > 0, unit ? &units[unit - 1] : "");
    return out;
}

const char *size_format_human(uint64_t bytes, char *out)
{
    if (bytes < 1024) {
        (void)snprintf(out, SIZE_TEXT_MAX, "%" PRIu64 " B", bytes);
        return out;
    }
    double v = (double)bytes / 1024;
    int unit = 0;
    /* 1023.95 would be shown as 1024.0 of the smaller unit. */
    for (; v >= 1023.95 && unit < 3; unit++)
        v /= 1024;
    (void)snprintf(out, SIZE_TEXT_MAX, "%.1f %ciB", v, units[unit]);
    return out;
}
