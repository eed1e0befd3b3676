/* JSON (RFC 8259) as requests bring it: one object, whose members are looked at in place.
 *
 * Pure, and strict: the whole text must be well-formed UTF-8 and JSON, no member comes twice, nothing is
 * nested deeper than JSON_DEPTH_MAX. Integers are exact up to 2^64 - 1. Strings are decoded where they stand,
 * so they live as long as the text; they may hold NUL. Values of members that are objects or arrays are
 * checked and skipped: no request has any. */
#ifndef PS_NODE_HOST_REST_JSON_READ_H
#define PS_NODE_HOST_REST_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum {
    JSON_DEPTH_MAX = 16,
    JSON_MEMBERS_MAX = 32, /* of the object */
};

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_OBJECT,
    JSON_ARRAY
};

struct json_value {
    enum json_type type;
    bool boolean;
    /* A number: `integer` when it is written without fraction and exponent and its amount fits 64 bits. */
    bool integer, negative;
    uint64_t number;
    char *text; /* a string; ended by a NUL behind its `length` bytes, which may hold others */
    size_t length;
};

struct json_member {
    const char *name;
    size_t name_length;
    struct json_value value;
};

/* 0, or PS_EINVAL with what is wrong and where. `text` is changed in either case. */
int json_read_object(char *text, size_t length, struct json_member members[JSON_MEMBERS_MAX], size_t *count,
                     struct ps_error *err);

/* "an object", "a string"… for messages. */
const char *json_type_name(enum json_type type);

/* RFC 4648, padded, no white space, unused bits zero. Decodes in place: the length of the data, or
 * SIZE_MAX if it is no base64. */
size_t base64_decode(char *text, size_t length);

#endif
