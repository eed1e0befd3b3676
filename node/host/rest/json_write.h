/* JSON and other text, written into one buffer that grows.
 *
 * Pure. The writer puts the commas; the caller says what begins and ends. Keys are ours and plain; strings
 * may be anything: what is not UTF-8 becomes U+FFFD. Integers are exact. When memory is short `failed` is set
 * and all that follows is dropped, so it is looked at once, at the end. */
#ifndef PS_NODE_HOST_REST_JSON_WRITE_H
#define PS_NODE_HOST_REST_JSON_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_out {
    char *text; /* not ended by a NUL */
    size_t length, room;
    bool failed;
    bool comma; /* the next value follows another one */
};

/* Zeroed is empty. Frees and empties. */
void json_out_free(struct json_out *out);

/* `key` NULL: an element of an array, or the whole document. */
void json_object(struct json_out *out, const char *key);
void json_object_end(struct json_out *out);
void json_array(struct json_out *out, const char *key);
void json_array_end(struct json_out *out);
void json_string(struct json_out *out, const char *key, const char *value);
void json_string_n(struct json_out *out, const char *key, const char *value, size_t length);
void json_u64(struct json_out *out, const char *key, uint64_t value);
/* Up to 6 digits behind the point; infinities and NaN are null. */
void json_double(struct json_out *out, const char *key, double value);
void json_bool(struct json_out *out, const char *key, bool value);
void json_null(struct json_out *out, const char *key);
/* RFC 3339, UTC, to the nanosecond; 0 is null. */
void json_time(struct json_out *out, const char *key, uint64_t unix_ns);
/* RFC 4648, padded. */
void json_base64(struct json_out *out, const char *key, const uint8_t *data, size_t length);

/* Text as it is: for what is no JSON. */
void text_put(struct json_out *out, const char *text);
void text_put_n(struct json_out *out, const char *text, size_t length);
void text_u64(struct json_out *out, uint64_t value);
__attribute__((format(printf, 2, 3))) void text_printf(struct json_out *out, const char *format, ...);

enum {
    TIME_TEXT_MAX = 56
};
/* "2026-11-26T05:12:01.123456789Z" into `out` (TIME_TEXT_MAX bytes); returns it. */
const char *time_rfc3339(uint64_t unix_ns, char *out);

#endif
