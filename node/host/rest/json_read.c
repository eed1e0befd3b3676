#include "node/host/rest/json_read.h"

#include <string.h>

#include "node/host/rest/utf8.h"

struct reader {
    char *text;
    size_t length, at;
    struct ps_error *err;
};

static int bad(struct reader *r, const char *what)
{
    return ps_error_set(r->err, PS_EINVAL, "the body is not JSON: %s at byte %zu", what, r->at);
}

/* -1 at the end. */
static int look(const struct reader *r)
{
    return r->at < r->length ? (unsigned char)r->text[r->at] : -1;
}

static void skip_space(struct reader *r)
{
    for (int c = look(r); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = look(r))
        r->at++;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

/* ---- strings */

static int hex4(struct reader *r, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        const int c = look(r);
        const int lower = c | 0x20;
        if (is_digit(c))
            v = v << 4 | (uint32_t)(c - '0');
        else if (lower >= 'a' && lower <= 'f')
            v = v << 4 | (uint32_t)(lower - 'a' + 10);
        else
            return bad(r, "\\u without four hexadecimal digits");
    }
    *out = v;
    return 0;
}

static size_t encode_utf8(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* Behind the backslash. What comes out is never longer than what was read. */
static int read_escape(struct reader *r, size_t *to)
{
    static const char plain[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    const int c = look(r);
    const char *found = c > 0 ? strchr(plain, c) : NULL;
    uint32_t code, low;
    if (found) {
        r->text[(*to)++] = means[found - plain];
        r->at++;
        return 0;
    }
    if (c != 'u')
        return bad(r, "an unknown escape");
    r->at++;
    if (hex4(r, &code))
        return PS_EINVAL;
    if (code >= 0xdc00 && code <= 0xdfff)
        return bad(r, "half of a surrogate pair");
    if (code >= 0xd800 && code <= 0xdbff) {
        if (look(r) != '\\' || r->at + 1 >= r->length || r->text[r->at + 1] != 'u')
            return bad(r, "half of a surrogate pair");
        r->at += 2;
        if (hex4(r, &low))
            return PS_EINVAL;
        if (low < 0xdc00 || low > 0xdfff)
            return bad(r, "half of a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *to += encode_utf8(code, r->text + *to);
    return 0;
}

static int read_string(struct reader *r, char **out, size_t *length)
{
    const size_t start = ++r->at; /* behind the quotation mark */
    size_t to = start;
    for (;;) {
        const int c = look(r);
        if (c < 0)
            return bad(r, "a string without end");
        if (c == '"')
            break;
        if (c < 0x20)
            return bad(r, "a control character in a string");
        if (c == '\\') {
            r->at++;
            if (read_escape(r, &to))
                return PS_EINVAL;
            continue;
        }
        const size_t n = utf8_sequence(r->text + r->at, r->length - r->at);
        if (n == 0)
            return bad(r, "no UTF-8");
        if (to != r->at)
            memmove(r->text + to, r->text + r->at, n);
        to += n;
        r->at += n;
    }
    r->at++;
    r->text[to] = '\0'; /* the quotation mark's place, or before it */
    *out = r->text + start;
    *length = to - start;
    return 0;
}

/* ---- other values */

static int read_number(struct reader *r, struct json_value *out)
{
    out->type = JSON_NUMBER;
    out->integer = true;
    if (look(r) == '-') {
        out->negative = true;
        r->at++;
    }
    if (!is_digit(look(r)))
        return bad(r, "a number without digits");
    if (look(r) == '0' && r->at + 1 < r->length && is_digit((unsigned char)r->text[r->at + 1]))
        return bad(r, "a number with a leading zero");
    for (int c = look(r); is_digit(c); c = look(r)) {
        if (__builtin_mul_overflow(out->number, 10, &out->number) ||
            __builtin_add_overflow(out->number, (uint64_t)(c - '0'), &out->number))
            out->integer = false;
        r->at++;
    }
    if (look(r) == '.') {
        out->integer = false;
        r->at++;
        if (!is_digit(look(r)))
            return bad(r, "a number without digits behind its point");
        while (is_digit(look(r)))
            r->at++;
    }
    if (look(r) == 'e' || look(r) == 'E') {
        out->integer = false;
        r->at++;
        if (look(r) == '+' || look(r) == '-')
            r->at++;
        if (!is_digit(look(r)))
            return bad(r, "a number without digits in its exponent");
        while (is_digit(look(r)))
            r->at++;
    }
    return 0;
}

static bool word(struct reader *r, const char *w)
{
    const size_t n = strlen(w);
    if (r->length - r->at < n || memcmp(r->text + r->at, w, n) != 0)
        return false;
    r->at += n;
    return true;
}

static int read_value(struct reader *r, unsigned depth, struct json_value *out);

/* Behind the opening bracket: checked and skipped. */
static int skip_array(struct reader *r, unsigned depth)
{
    struct json_value ignored;
    skip_space(r);
    if (look(r) == ']') {
        r->at++;
        return 0;
    }
    for (;;) {
        if (read_value(r, depth, &ignored))
            return PS_EINVAL;
        skip_space(r);
        const int c = look(r);
        if (c != ',' && c != ']')
            return bad(r, "neither ',' nor ']' after an element");
        r->at++;
        if (c == ']')
            return 0;
    }
}

static int read_key(struct reader *r, char **name, size_t *length)
{
    skip_space(r);
    if (look(r) != '"')
        return bad(r, "no name of a member");
    if (read_string(r, name, length))
        return PS_EINVAL;
    skip_space(r);
    if (look(r) != ':')
        return bad(r, "no ':' after a name");
    r->at++;
    return 0;
}

static int skip_object(struct reader *r, unsigned depth)
{
    struct json_value ignored;
    char *name;
    size_t length;
    skip_space(r);
    if (look(r) == '}') {
        r->at++;
        return 0;
    }
    for (;;) {
        if (read_key(r, &name, &length) || read_value(r, depth, &ignored))
            return PS_EINVAL;
        skip_space(r);
        const int c = look(r);
        if (c != ',' && c != '}')
            return bad(r, "neither ',' nor '}' after a member");
        r->at++;
        if (c == '}')
            return 0;
    }
}

static int read_value(struct reader *r, unsigned depth, struct json_value *out)
{
    *out = (struct json_value){0};
    skip_space(r);
    const int c = look(r);
    if (c == '"') {
        out->type = JSON_STRING;
        return read_string(r, &out->text, &out->length);
    }
    if (c == '-' || is_digit(c))
        return read_number(r, out);
    if (c == '{' || c == '[') {
        if (depth == JSON_DEPTH_MAX)
            return bad(r, "nested too deep");
        r->at++;
        out->type = c == '{' ? JSON_OBJECT : JSON_ARRAY;
        return c == '{' ? skip_object(r, depth + 1) : skip_array(r, depth + 1);
    }
    if (word(r, "null"))
        return 0;
    out->type = JSON_BOOL;
    out->boolean = c == 't';
    if (word(r, "true") || word(r, "false"))
        return 0;
    return bad(r, c < 0 ? "it ends early" : "no value");
}

static bool is_double(const struct json_member *members, size_t count, const struct json_member *m)
{
    for (size_t i = 0; i < count; i++)
        if (members[i].name_length == m->name_length && memcmp(members[i].name, m->name, m->name_length) == 0)
            return true;
    return false;
}

static int read_members(struct reader *r, struct json_member *members, size_t *count)
{
    skip_space(r);
    if (look(r) == '}') {
        r->at++;
        return 0;
    }
    for (;;) {
        struct json_member m;
        char *name;
        if (read_key(r, &name, &m.name_length) || read_value(r, 1, &m.value))
            return PS_EINVAL;
        m.name = name;
        if (is_double(members, *count, &m))
            return ps_error_set(r->err, PS_EINVAL, "the body has two members \"%.*s\"",
                                (int)(m.name_length < 60 ? m.name_length : 60), m.name);
        if (*count == JSON_MEMBERS_MAX)
            return ps_error_set(r->err, PS_EINVAL, "the body has more than %d members", JSON_MEMBERS_MAX);
        members[(*count)++] = m;
        skip_space(r);
        const int c = look(r);
        if (c != ',' && c != '}')
            return bad(r, "neither ',' nor '}' after a member");
        r->at++;
        if (c == '}')
            return 0;
    }
}

int json_read_object(char *text, size_t length, struct json_member members[JSON_MEMBERS_MAX], size_t *count,
                     struct ps_error *err)
{
    struct reader r = {.text = text, .length = length, .err = err};
    *count = 0;
    skip_space(&r);
    if (look(&r) < 0)
        return ps_error_set(err, PS_EINVAL, "the body is empty; a JSON object is expected");
    if (look(&r) != '{') {
        struct json_value other;
        if (read_value(&r, 0, &other))
            return PS_EINVAL;
        return ps_error_set(err, PS_EINVAL, "the body is %s; a JSON object is expected",
                            json_type_name(other.type));
    }
    r.at++;
    if (read_members(&r, members, count))
        return PS_EINVAL;
    skip_space(&r);
    return look(&r) < 0 ? 0 : bad(&r, "something follows the object");
}

const char *json_type_name(enum json_type type)
{
    static const char *const names[] = {"null",     "a truth value", "a number",
                                        "a string", "an object",     "an array"};
    return names[type];
}

/* ---- base64 */

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

size_t base64_decode(char *text, size_t length)
{
    uint8_t *out = (uint8_t *)text;
    if (length % 4 != 0)
        return SIZE_MAX;
    for (size_t i = 0; i < length; i += 4) {
        const bool last = i + 4 == length;
        const size_t pad = !last || text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            const int d = k < 4 - pad ? digit(text[i + k]) : 0;
            if (d < 0)
                return SIZE_MAX;
            v = v << 6 | (uint32_t)d;
        }
        if ((pad == 1 && (v & 0xff)) || (pad == 2 && (v & 0xffff)))
            return SIZE_MAX;
        *out++ = (uint8_t)(v >> 16);
        if (pad < 2)
            *out++ = (uint8_t)(v >> 8);
        if (pad < 1)
            *out++ = (uint8_t)v;
    }
    return (size_t)(out - (uint8_t *)text);
}
