#include "client/cli/text.h"

#include <locale.h>
#include <stdbool.h>
#include <string.h>
#include <wchar.h>

/* Decodes one character of at most `max` bytes: its bytes, 0 at the end. An
 * invalid byte is one character, '?'. Overlong forms and surrogates are invalid. */
static size_t next_char(const char *s, size_t max, wchar_t *out)
{
    const unsigned char *p = (const unsigned char *)s;
    if (max == 0 || !*p)
        return 0;
    *out = L'?';
    if (*p < 0x80) {
        if (*p >= 0x20 && *p != 0x7f)
            *out = (wchar_t)*p;
        return 1;
    }
    const size_t length = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
    static const unsigned lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (*p < 0xc2 || *p > 0xf4 || length > max)
        return 1;
    unsigned c = *p & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 1;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (c < lowest[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 1;
    if (c >= 0xa0) /* 0x80 to 0x9f are control characters */
        *out = (wchar_t)c;
    return length;
}

static locale_t utf8_locale(void)
{
    static locale_t locale;
    if (!locale)
        locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    return locale;
}

/* Columns of a character; negative: not printable (direction marks and the
 * like, which could make a name look like another). */
static int columns(wchar_t c)
{
    if (c < 0x80)
        return 1;
    if ((c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069))
        return -1;
    const locale_t utf8 = utf8_locale();
    if (!utf8)
        return 1;
    const locale_t before = uselocale(utf8);
    const int width = wcwidth(c);
    (void)uselocale(before);
    return width;
}

static size_t width_of(const char *s, size_t bytes)
{
    size_t width = 0, n;
    wchar_t c;
    for (; (n = next_char(s, bytes, &c)); s += n, bytes -= n) {
        const int w = columns(c);
        width += w < 0 ? 1 : (size_t)w;
    }
    return width;
}

static void put(FILE *out, const char *s, size_t bytes)
{
    size_t n;
    wchar_t c;
    for (; (n = next_char(s, bytes, &c)); s += n, bytes -= n) {
        if ((c == L'?' && *s != '?') || columns(c) < 0)
            (void)fputc('?', out);
        else
            (void)fwrite(s, 1, n, out);
    }
}

size_t text_width(const char *utf8)
{
    return width_of(utf8, strlen(utf8));
}

void text_put(FILE *out, const char *utf8)
{
    put(out, utf8, strlen(utf8));
}

static void blanks(FILE *out, size_t count)
{
    (void)fprintf(out, "%*s", (int)count, "");
}

void text_put_left(FILE *out, const char *utf8, size_t width)
{
    const size_t own = text_width(utf8);
    text_put(out, utf8);
    blanks(out, own < width ? width - own : 0);
}

void text_wrap(FILE *out, const char *utf8, size_t indent, size_t width)
{
    size_t column = indent;
    bool line_start = true;
    while (*utf8) {
        if (*utf8 == '\n') {
            (void)fputs("\n\n", out);
            utf8 += strspn(utf8, "\n");
            blanks(out, indent);
            column = indent;
            line_start = true;
            continue;
        }
        const size_t bytes = strcspn(utf8, " \n"), w = width_of(utf8, bytes);
        if (!line_start && column + 1 + w > width) {
            (void)fputc('\n', out);
            blanks(out, indent);
            column = indent;
            line_start = true;
        }
        if (!line_start) {
            (void)fputc(' ', out);
            column++;
        }
        put(out, utf8, bytes);
        column += w;
        line_start = false;
        utf8 += bytes;
        utf8 += strspn(utf8, " ");
    }
    (void)fputc('\n', out);
}
