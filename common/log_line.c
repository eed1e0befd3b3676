#include "common/log_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const level_names[] = {"error", "warn", "info", "debug"};

struct line {
    char *out;
    size_t used;
    bool cut;
};

/* Room is kept for the mark of a cut line and the newline. */
enum {
    TAIL = 4
};

static void put(struct line *l, const char *text, size_t length)
{
    if (l->cut || length > LOG_LINE_MAX - TAIL - l->used) {
        l->cut = true;
        return;
    }
    memcpy(l->out + l->used, text, length);
    l->used += length;
}

static void put_text(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

/* Length of the valid UTF-8 sequence at `s`, 0 if it is none (RFC 3629). */
static size_t utf8_length(const unsigned char *s)
{
    const unsigned char c = s[0];
    size_t n = c < 0x80                ? 1
               : c >= 0xc2 && c < 0xe0 ? 2
               : c >= 0xe0 && c < 0xf0 ? 3
               : c >= 0xf0 && c < 0xf5 ? 4
                                       : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    const bool overlong = (c == 0xe0 && s[1] < 0xa0) || (c == 0xf0 && s[1] < 0x90);
    const bool beyond = (c == 0xed && s[1] >= 0xa0) || (c == 0xf4 && s[1] >= 0x90);
    return overlong || beyond ? 0 : n;
}

static void put_escaped(struct line *l, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s && !l->cut;) {
        char hex[5];
        const size_t n = utf8_length(s);
        if (*s == '"' || *s == '\\') {
            put(l, (const char[]){'\\', (char)*s}, 2);
            s++;
        } else if (*s == '\n') {
            put(l, "\\n", 2);
            s++;
        } else if (n == 0 || *s < 0x20 || *s == 0x7f || (*s == 0xc2 && s[1] < 0xa0)) {
            /* C0, DEL, and the C1 controls that terminals obey too. */
            (void)snprintf(hex, sizeof hex, "\\x%02x", *s);
            put(l, hex, 4);
            s++;
            if (n == 2) {
                (void)snprintf(hex, sizeof hex, "\\x%02x", *s);
                put(l, hex, 4);
                s++;
            }
        } else {
            put(l, (const char *)s, n);
            s += n;
        }
    }
}

static void put_value(struct line *l, const struct log_field *f)
{
    char number[24];
    switch (f->type) {
    case LOG_FIELD_STRING: {
        if (!f->s) {
            put_text(l, "-");
            return;
        }
        bool plain = f->s[0] != '\0';
        for (const char *c = f->s; *c && plain; c++)
            plain = *c > ' ' && *c < 0x7f && *c != '"' && *c != '=' && *c != '\\';
        if (!plain)
            put_text(l, "\"");
        put_escaped(l, f->s);
        if (!plain)
            put_text(l, "\"");
        return;
    }
    case LOG_FIELD_UNSIGNED:
        (void)snprintf(number, sizeof number, "%" PRIu64, f->u);
        break;
    case LOG_FIELD_SIGNED:
        (void)snprintf(number, sizeof number, "%" PRId64, f->i);
        break;
    case LOG_FIELD_HEX:
        (void)snprintf(number, sizeof number, "0x%" PRIx64, f->u);
        break;
    case LOG_FIELD_BOOL:
        (void)snprintf(number, sizeof number, "%s", f->u ? "true" : "false");
        break;
    }
    put_text(l, number);
}

size_t log_line_format(char out[LOG_LINE_MAX], uint64_t unix_ns, enum log_level level, const char *module,
                       const char *message, const struct log_field *fields, size_t count)
{
    struct line l = {out, 0, false};
    char head[64];
    struct tm tm;
    const time_t seconds = (time_t)(unix_ns / 1000000000u);
    (void)gmtime_r(&seconds, &tm);
    size_t n = strftime(head, sizeof head, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(head + n, sizeof head - n, ".%03uZ %s ", (unsigned)(unix_ns / 1000000u % 1000u),
                          level_names[level]);
    put(&l, head, n);
    put_escaped(&l, module);
    put_text(&l, " ");
    put_escaped(&l, message);
    for (size_t i = 0; i < count; i++) {
        put_text(&l, " ");
        put_text(&l, fields[i].key);
        put_text(&l, "=");
        put_value(&l, &fields[i]);
    }
    if (l.cut) {
        memcpy(out + l.used, "…", 3);
        l.used += 3;
    }
    out[l.used++] = '\n';
    return l.used;
}

static uint64_t hash(uint64_t h, const char *text)
{
    /* FNV-1a */
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3ull;
    return (h ^ 0xff) * 0x100000001b3ull;
}

bool log_limit_pass(struct log_limit *limit, uint64_t now_ns, enum log_level level, const char *module,
                    const char *message, uint32_t *held)
{
    const uint64_t window_ns = 10ull * 1000000000u;
    const uint64_t key = hash(hash(0xcbf29ce484222325ull + (uint64_t)level, module), message);
    struct log_limit_slot *slot = &limit->slots[key % LOG_LIMIT_SLOTS];
    *held = 0;
    if (slot->key != key || now_ns - slot->window_start_ns >= window_ns) {
        if (slot->key == key)
            *held = slot->held;
        *slot = (struct log_limit_slot){.key = key, .window_start_ns = now_ns, .passed = 1};
        return true;
    }
    if (slot->passed < LOG_BURST) {
        slot->passed++;
        return true;
    }
    slot->held++;
    return false;
}
