#include "common/settings_value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/blkdev_spec.h"
#include "common/sizes.h"

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool parse_bool(const char *text, uint64_t *number)
{
    static const char *const words[2][4] = {{"false", "no", "off", "0"}, {"true", "yes", "on", "1"}};
    for (uint64_t v = 0; v < 2; v++) {
        for (int i = 0; i < 4; i++) {
            if (strcasecmp(text, words[v][i]) == 0) {
                *number = v;
                return true;
            }
        }
    }
    return false;
}

static bool parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *number)
{
    uint64_t v = 0;
    if (*text == '\0')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
            return false;
    }
    if (v < min || v > max)
        return false;
    *number = v;
    return true;
}

static bool parse_enum(const char *choices, const char *text, uint64_t *number)
{
    const size_t length = strlen(text);
    uint64_t index = 0;
    for (const char *c = choices; *c; index++) {
        const size_t n = strcspn(c, "|");
        if (n == length && strncasecmp(c, text, n) == 0) {
            *number = index;
            return true;
        }
        c += n + (c[n] == '|');
    }
    return false;
}

static bool is_name(const char *text, size_t length)
{
    if (length == 0 || length > 63 || !is_alnum(text[0]))
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_alnum(text[i]) && text[i] != '.' && text[i] != '_' && text[i] != '-')
            return false;
    return true;
}

/* A name, an IPv4 address, or (bare or in brackets) an IPv6 address: what it
 * stands for is found out by whoever connects. */
static bool is_host(const char *text, size_t length)
{
    if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
        text++;
        length -= 2;
    }
    if (length == 0 || length > 253)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_alnum(text[i]) && !strchr(".-_:%", text[i]))
            return false;
    return true;
}

static bool is_address(const char *text, size_t length)
{
    size_t colon = length;
    while (colon > 0 && text[colon - 1] != ':')
        colon--;
    if (colon == 0 || !is_host(text, colon - 1))
        return false;
    /* Without brackets only the last of an IPv6 address's colons would be a port's. */
    if (text[0] != '[' && memchr(text, ':', colon - 1))
        return false;
    char port[6];
    const size_t n = length - colon;
    uint64_t number;
    if (n == 0 || n >= sizeof port)
        return false;
    memcpy(port, text + colon, n);
    port[n] = '\0';
    return parse_uint(port, 1, 65535, &number);
}

/* A socket's path fits into sun_path. */
static bool is_socket_path_length(size_t length)
{
    return length > 0 && length <= 107;
}

static bool is_listen_list(const char *text)
{
    text += strspn(text, " ");
    if (*text == '\0')
        return false;
    for (; *text; text += strspn(text, " ")) {
        const size_t length = strcspn(text, " ");
        const bool ok =
            strncmp(text, "unix:", 5) == 0 ? is_socket_path_length(length - 5) : is_address(text, length);
        if (!ok)
            return false;
        text += length;
    }
    return true;
}

static bool is_url(const char *text, size_t length)
{
    if (length > 6 && memcmp(text, "tcp://", 6) == 0)
        return is_address(text + 6, length - 6);
    return length > 6 && memcmp(text, "ipc://", 6) == 0 && is_socket_path_length(length - 6);
}

static bool is_peer_list(const char *text)
{
    unsigned n = 0;
    for (text += strspn(text, " \t"); *text; text += strspn(text, " \t"), n++) {
        const size_t length = strcspn(text, " \t");
        const char *equals = memchr(text, '=', length);
        if (!equals || n == 64 || !is_name(text, (size_t)(equals - text)) ||
            !is_url(equals + 1, length - (size_t)(equals + 1 - text)))
            return false;
        text += length;
    }
    return true;
}

static bool value_ok(const struct setting *s, const char *text, uint64_t *number)
{
    const size_t length = strlen(text);
    switch (s->type) {
    case SETTING_STRING:
        return true;
    case SETTING_BOOL:
        return parse_bool(text, number);
    case SETTING_UINT:
        return parse_uint(text, s->min, s->max, number);
    case SETTING_SIZE:
        return size_parse(text, number, NULL) == 0 && *number >= s->min && *number <= s->max;
    case SETTING_ENUM:
        return parse_enum(s->choices, text, number);
    case SETTING_NAME:
        return is_name(text, length);
    case SETTING_PATH:
        return length > 0 && length < 1000;
    case SETTING_HOST:
        return is_host(text, length);
    case SETTING_LISTEN:
        return is_listen_list(text);
    case SETTING_ADDRESS:
        return is_address(text, length);
    case SETTING_URL:
        return is_url(text, length);
    case SETTING_PEERS:
        return is_peer_list(text);
    case SETTING_DEVICES:
        break; /* has messages of its own */
    }
    return false;
}

int setting_value_parse(const struct setting *s, const char *text, uint64_t *number, struct ps_error *needs)
{
    uint64_t v = 0;
    if (text[0] == '\0' && (s->flags & SETTING_MAY_BE_EMPTY)) {
        *number = 0;
        return 0;
    }
    if (s->type == SETTING_DEVICES) {
        size_t count;
        const int rc = blkdev_spec_list_parse(text, NULL, BLKDEV_SPECS_MAX, &count, needs);
        if (rc)
            return rc;
    } else if (!value_ok(s, text, &v)) {
        char hint[128];
        return ps_error_set(needs, PS_EINVAL, "needs %s", setting_value_hint(s, hint, sizeof hint));
    }
    *number = v;
    return 0;
}

const char *setting_value_hint(const struct setting *s, char *out, size_t room)
{
    static const char *const hints[] = {
        [SETTING_STRING] = "any text",
        [SETTING_BOOL] = "true or false",
        [SETTING_NAME] = "1 to 63 letters, digits, '.', '_' or '-', the first a letter or digit",
        [SETTING_PATH] = "a path",
        [SETTING_HOST] = "a host name or address without port",
        [SETTING_LISTEN] =
            "host:port, [IPv6]:port or unix:PATH (at most 107 characters), separated by spaces",
        [SETTING_ADDRESS] = "host:port or [IPv6]:port",
        [SETTING_URL] = "tcp://host:port or ipc://PATH",
        [SETTING_PEERS] = "name=tcp://host:port, separated by spaces",
        [SETTING_DEVICES] =
            "file:PATH,size=16G, nvme:/dev/nvme0n1, /dev/sdb or sim:PATH,size=4G, separated by spaces",
    };
    char lo[SIZE_TEXT_MAX], hi[SIZE_TEXT_MAX];
    switch (s->type) {
    case SETTING_UINT:
        (void)snprintf(out, room, "a whole number from %" PRIu64 " to %" PRIu64, s->min, s->max);
        break;
    case SETTING_SIZE:
        (void)snprintf(out, room, "a size from %s to %s, like 10G", size_format(s->min, lo),
                       size_format(s->max, hi));
        break;
    case SETTING_ENUM: {
        size_t used = 0;
        out[0] = '\0';
        for (const char *c = s->choices; *c && used < room;) {
            const size_t n = strcspn(c, "|");
            used += (size_t)snprintf(out + used, room - used, "%s%.*s", used ? " or " : "", (int)n, c);
            c += n + (c[n] == '|');
        }
        break;
    }
    default:
        (void)snprintf(out, room, "%s", hints[s->type]);
        break;
    }
    return out;
}
