#include "node/host/rest/json_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/host/rest/utf8.h"

void json_out_free(struct json_out *out)
{
    free(out->text);
    *out = (struct json_out){0};
}

/* Room for `more` bytes at the end; NULL: failed. */
static char *grow(struct json_out *out, size_t more)
{
    if (out->failed)
        return NULL;
    if (out->room - out->length < more) {
        size_t room = out->room ? out->room : 512;
        while (room - out->length < more)
            room *= 2;
        char *text = realloc(out->text, room);
        if (!text) {
            out->failed = true;
            return NULL;
        }
        out->text = text;
        out->room = room;
    }
    return out->text + out->length;
}

static void put(struct json_out *out, const char *text, size_t length)
{
    char *to = grow(out, length);
    if (!to)
        return;
    memcpy(to, text, length);
    out->length += length;
}

static void put_char(struct json_out *out, char c)
{
    put(out, &c, 1);
}

void text_put(struct json_out *out, const char *text)
{
    put(out, text, strlen(text));
}

void text_put_n(struct json_out *out, const char *text, size_t length)
{
    put(out, text, length);
}

void text_u64(struct json_out *out, uint64_t value)
{
    /* Lists are numbers for the most part: printf would take half of their time. */
    char text[20], *first = text + sizeof text;
    do {
        *--first = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    put(out, first, (size_t)(text + sizeof text - first));
}

void text_printf(struct json_out *out, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *to = n < 0 ? NULL : grow(out, (size_t)n + 1);
    if (to) {
        (void)vsnprintf(to, (size_t)n + 1, format, again);
        out->length += (size_t)n;
    }
    va_end(again);
}

static bool is_plain(char c)
{
    return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

static void put_escaped(struct json_out *out, const char *s, size_t length)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < length;) {
        size_t run = 0; /* almost always all there is */
        while (i + run < length && is_plain(s[i + run]))
            run++;
        put(out, s + i, run);
        i += run;
        if (i == length)
            return;
        const size_t n = utf8_sequence(s + i, length - i);
        const unsigned char c = (unsigned char)s[i];
        if (n == 0) {
            text_put(out, "\xef\xbf\xbd");
            i++;
            continue;
        }
        if (c == '"' || c == '\\') {
            put_char(out, '\\');
            put_char(out, (char)c);
        } else if (c < 0x20 || c == 0x7f) {
            const char escaped[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            put(out, escaped, sizeof escaped);
        } else {
            put(out, s + i, n);
        }
        i += n;
    }
}

static void begin(struct json_out *out, const char *key)
{
    if (out->comma)
        put_char(out, ',');
    out->comma = true;
    if (!key)
        return;
    const size_t length = strlen(key);
    char *to = grow(out, length + 3);
    if (!to)
        return;
    *to = '"';
    memcpy(to + 1, key, length);
    memcpy(to + 1 + length, "\":", 2);
    out->length += length + 3;
}

void json_object(struct json_out *out, const char *key)
{
    begin(out, key);
    put_char(out, '{');
    out->comma = false;
}

void json_object_end(struct json_out *out)
{
    put_char(out, '}');
    out->comma = true;
}

void json_array(struct json_out *out, const char *key)
{
    begin(out, key);
    put_char(out, '[');
    out->comma = false;
}

void json_array_end(struct json_out *out)
{
    put_char(out, ']');
    out->comma = true;
}

void json_string_n(struct json_out *out, const char *key, const char *value, size_t length)
{
    begin(out, key);
    put_char(out, '"');
    put_escaped(out, value, length);
    put_char(out, '"');
}

void json_string(struct json_out *out, const char *key, const char *value)
{
    json_string_n(out, key, value, strlen(value));
}

void json_u64(struct json_out *out, const char *key, uint64_t value)
{
    begin(out, key);
    text_u64(out, value);
}

void json_double(struct json_out *out, const char *key, double value)
{
    char text[400];
    if (!isfinite(value)) {
        json_null(out, key);
        return;
    }
    if (value >= 0 && value < 1e15 && value == (double)(uint64_t)value && !signbit(value)) {
        json_u64(out, key, (uint64_t)value);
        put(out, ".0", 2);
        return;
    }
    int n = snprintf(text, sizeof text, "%.6f", value);
    while (n > 2 && text[n - 1] == '0' && text[n - 2] != '.')
        n--;
    begin(out, key);
    put(out, text, (size_t)n);
}

void json_bool(struct json_out *out, const char *key, bool value)
{
    begin(out, key);
    text_put(out, value ? "true" : "false");
}

void json_null(struct json_out *out, const char *key)
{
    begin(out, key);
    put(out, "null", 4);
}

/* Days since 1970 to a date: Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
 */
static void civil(uint64_t days, unsigned *year, unsigned *month, unsigned *day)
{
    const uint64_t z = days + 719468, era = z / 146097;
    const unsigned doe = (unsigned)(z - era * 146097);
    const unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    *day = doy - (153 * mp + 2) / 5 + 1;
    *month = mp < 10 ? mp + 3 : mp - 9;
    *year = (unsigned)(yoe + era * 400) + (*month <= 2);
}

/* So many digits, and what follows them; behind it. */
static char *digits(char *to, unsigned value, unsigned count, char then)
{
    for (unsigned i = count; i-- > 0; value /= 10)
        to[i] = (char)('0' + value % 10);
    to[count] = then;
    return to + count + 1;
}

/* The year has four digits: 64 bits of ns end in 2554. */
const char *time_rfc3339(uint64_t unix_ns, char *out)
{
    const uint64_t s = unix_ns / 1000000000;
    unsigned year, month, day;
    civil(s / 86400, &year, &month, &day);
    char *to = digits(out, year, 4, '-');
    to = digits(to, month, 2, '-');
    to = digits(to, day, 2, 'T');
    to = digits(to, (unsigned)(s / 3600 % 24), 2, ':');
    to = digits(to, (unsigned)(s / 60 % 60), 2, ':');
    to = digits(to, (unsigned)(s % 60), 2, '.');
    *digits(to, (unsigned)(unix_ns % 1000000000), 9, 'Z') = '\0';
    return out;
}

void json_time(struct json_out *out, const char *key, uint64_t unix_ns)
{
    char text[TIME_TEXT_MAX];
    if (unix_ns)
        json_string(out, key, time_rfc3339(unix_ns, text));
    else
        json_null(out, key);
}

void json_base64(struct json_out *out, const char *key, const uint8_t *data, size_t length)
{
    static const char sextets[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t encoded = (length + 2) / 3 * 4;
    begin(out, key);
    char *to = grow(out, encoded + 2);
    if (!to)
        return;
    *to++ = '"';
    for (size_t i = 0; i < length; i += 3) {
        const uint32_t b = i + 1 < length ? data[i + 1] : 0, c = i + 2 < length ? data[i + 2] : 0;
        const uint32_t v = (uint32_t)data[i] << 16 | b << 8 | c;
        *to++ = sextets[v >> 18];
        *to++ = sextets[v >> 12 & 63];
        *to++ = i + 1 < length ? sextets[v >> 6 & 63] : '=';
        *to++ = i + 2 < length ? sextets[v & 63] : '=';
    }
    *to = '"';
    out->length += encoded + 2;
}
