#include "node/host/rest/rest_request.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "node/host/rest/json_read.h"

/* ---- single values */

static const size_t offsets[REST_ARG_COUNT] = {
#define X(name, kind, min, max, doc) offsetof(struct rest_values, name),
    REST_ARGS(X)
#undef X
};

static void *field(struct rest_request *r, enum rest_arg arg)
{
    return (char *)&r->is + offsets[arg];
}

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_name(const char *text, bool with_at)
{
    for (const char *c = text; *c; c++)
        if (!is_alphanumeric(*c) && (c == text || !strchr(with_at ? "._-@" : "._-", *c)))
            return false;
    return true;
}

static bool is_printable(const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c < ' ' || *c > '~')
            return false;
    return true;
}

/* `text` is ended by a NUL and lives as long as the request. */
static int set_text(struct rest_request *r, enum rest_arg arg, const char *text, size_t length,
                    struct rest_problem *p)
{
    const struct rest_arg_info *info = &rest_args[arg];
    const bool named = info->kind == REST_ARG_NAME || info->kind == REST_ARG_NAME_OR_NULL;
    if (strlen(text) != length)
        return rest_fail(p, PS_EINVAL, info->name, "%s holds a NUL", info->name);
    if (length < info->min || length > info->max)
        return rest_fail(p, PS_EINVAL, info->name,
                         "%s has %zu characters; %" PRIu64 " to %" PRIu64 " are allowed", info->name, length,
                         info->min, info->max);
    if (named && !is_name(text, false))
        return rest_fail(
            p, PS_EINVAL, info->name,
            "%s \"%s\" may have letters, digits, '.', '_' and '-', and begins with a letter or digit",
            info->name, text);
    if (info->kind == REST_ARG_ID && !is_name(text, true))
        return rest_fail(p, PS_ENOTFOUND, info->name, "nothing is named \"%s\"", text);
    if (info->kind == REST_ARG_TEXT && !is_printable(text))
        return rest_fail(p, PS_EINVAL, info->name, "%s holds something else than printable ASCII",
                         info->name);
    *(const char **)field(r, arg) = text;
    r->is.given |= 1ull << arg;
    return 0;
}

static int set_number(struct rest_request *r, enum rest_arg arg, uint64_t number, struct rest_problem *p)
{
    const struct rest_arg_info *info = &rest_args[arg];
    if (number < info->min || number > info->max)
        return rest_fail(p, PS_EINVAL, info->name,
                         "%s is %" PRIu64 "; %" PRIu64 " to %" PRIu64 " are allowed", info->name, number,
                         info->min, info->max);
    *(uint64_t *)field(r, arg) = number;
    r->is.given |= 1ull << arg;
    return 0;
}

static int set_flag(struct rest_request *r, enum rest_arg arg, bool on)
{
    *(bool *)field(r, arg) = on;
    r->is.given |= 1ull << arg;
    return 0;
}

/* ---- path and query */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes percent signs in place and ends the text with a NUL; false: malformed, or a NUL is in it. */
static bool percent_decode(char *text, size_t length, bool plus_is_space, size_t *decoded)
{
    size_t to = 0;
    for (size_t i = 0; i < length; i++, to++) {
        text[to] = plus_is_space && text[i] == '+' ? ' ' : text[i];
        if (text[i] != '%')
            continue;
        if (i + 2 >= length || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0)
            return false;
        text[to] = (char)(hex(text[i + 1]) << 4 | hex(text[i + 2]));
        i += 2;
        if (text[to] == '\0')
            return false;
    }
    text[to] = '\0';
    *decoded = to;
    return true;
}

static int malformed(struct rest_problem *p, const char *what)
{
    return rest_fail(p, PS_EINVAL, NULL,
                     "the %s holds a '%%' that two hexadecimal digits don't follow, or a NUL", what);
}

static int set_query(struct rest_request *r, enum rest_arg arg, char *text, size_t length,
                     struct rest_problem *p)
{
    const struct rest_arg_info *info = &rest_args[arg];
    uint64_t number = 0;
    switch (info->kind) {
    case REST_ARG_UINT:
        for (size_t i = 0; i < length; i++)
            if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(number, 10, &number) ||
                __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
                length = 0; /* and the loop ends */
        return length
                   ? set_number(r, arg, number, p)
                   : rest_fail(p, PS_EINVAL, info->name, "%s is no whole number within 64 bits", info->name);
    case REST_ARG_FLAG:
        if (length == 0 || strcmp(text, "true") == 0 || strcmp(text, "1") == 0)
            return set_flag(r, arg, true);
        if (strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
            return set_flag(r, arg, false);
        return rest_fail(p, PS_EINVAL, info->name, "%s is true or false", info->name);
    default:
        return set_text(r, arg, text, length, p);
    }
}

/* The argument of that name in the set; REST_ARG_COUNT: there is none. */
static enum rest_arg find(uint64_t set, const char *name, size_t length)
{
    enum rest_arg arg = 0;
    for (; arg < REST_ARG_COUNT; arg++)
        if ((set & 1ull << arg) && strlen(rest_args[arg].name) == length &&
            memcmp(rest_args[arg].name, name, length) == 0)
            break;
    return arg;
}

static int read_query(struct rest_request *r, char *query, struct rest_problem *p)
{
    for (char *next; query; query = next) {
        next = strchr(query, '&');
        if (next)
            *next++ = '\0';
        if (*query == '\0')
            continue;
        char *equals = strchr(query, '='), *value = equals ? equals + 1 : query + strlen(query);
        size_t name_length = equals ? (size_t)(equals - query) : strlen(query), length = strlen(value);
        if (equals)
            *equals = '\0';
        if (!percent_decode(query, name_length, true, &name_length) ||
            !percent_decode(value, length, true, &length))
            return malformed(p, "query");
        const enum rest_arg arg = find(r->route->query, query, name_length);
        if (arg == REST_ARG_COUNT)
            return rest_fail(p, PS_EINVAL, NULL, "there is no parameter \"%.60s\" here", query);
        if (rest_given(r, 1ull << arg))
            return rest_fail(p, PS_EINVAL, rest_args[arg].name, "%s is given twice", rest_args[arg].name);
        if (set_query(r, arg, value, length, p))
            return -1;
    }
    return 0;
}

static void add_method(struct rest_request *r, const char *method)
{
    const size_t used = strlen(r->allow);
    (void)snprintf(r->allow + used, sizeof r->allow - used, "%s%s%s", used ? ", " : "", method,
                   strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

static int find_route(struct rest_request *r, const char *method, size_t path_length,
                      struct rest_capture captures[REST_CAPTURES_MAX], size_t *count, struct rest_problem *p)
{
    const char *wanted = r->head ? "GET" : method;
    for (size_t i = 0; i < rest_route_count; i++) {
        if (!rest_path_matches(rest_routes[i].path, r->target, path_length, captures, count))
            continue;
        if (strcmp(rest_routes[i].method, wanted) == 0) {
            r->route = &rest_routes[i];
            return 0;
        }
        add_method(r, rest_routes[i].method);
    }
    if (r->allow[0])
        return rest_fail_http(p, REST_PROBLEM_EMETHOD, "this resource takes %s", r->allow);
    return rest_fail_http(p, REST_PROBLEM_ENOROUTE,
                          "there is nothing at this path; /openapi.json lists what is");
}

/* ---- headers */

static const char *skip_blanks(const char *s)
{
    while (*s == ' ' || *s == '\t')
        s++;
    return s;
}

/* One entity tag; what is not of our form matches nothing, as does a weak one (RFC 9110, 13.1.1). */
static const char *read_tag(struct rest_request *r, const char *s)
{
    const bool weak = s[0] == 'W' && s[1] == '/';
    s += weak ? 2 : 0;
    if (*s != '"')
        return NULL;
    const char *start = ++s;
    while (*s && *s != '"')
        s++;
    if (*s != '"')
        return NULL;
    uint64_t tag = 0;
    bool ours = !weak && s - start == 16;
    for (const char *c = start; ours && c < s; c++) {
        ours = hex(*c) >= 0;
        tag = tag << 4 | (uint64_t)(hex(*c) & 15);
    }
    if (ours && r->ntags < REST_TAGS_MAX)
        r->tags[r->ntags++] = tag;
    return s + 1;
}

static int read_if_match(struct rest_request *r, const char *header, struct rest_problem *p)
{
    if (!(r->route->flags & REST_TAKES_IF_MATCH))
        return rest_fail(p, PS_EINVAL, NULL, "If-Match is not offered for this operation");
    r->conditional = true;
    const char *s = skip_blanks(header);
    if (strcmp(s, "*") == 0) {
        r->matches_any = true;
        return 0;
    }
    for (;;) {
        s = read_tag(r, s);
        s = s ? skip_blanks(s) : NULL;
        if (!s || (*s && *s != ','))
            return rest_fail(p, PS_EINVAL, NULL, "If-Match is * or entity tags as an ETag gave them");
        if (!*s)
            return 0;
        s = skip_blanks(s + 1);
    }
}

static int read_key(struct rest_request *r, const char *header, struct rest_problem *p)
{
    const size_t length = strlen(header);
    if (!(r->route->flags & REST_TAKES_KEY))
        return rest_fail(p, PS_EINVAL, NULL, "Idempotency-Key is not offered for this operation");
    if (length == 0 || length > REST_KEY_MAX)
        return rest_fail(p, PS_EINVAL, NULL, "the Idempotency-Key has %zu characters; 1 to %d are allowed",
                         length, REST_KEY_MAX);
    for (size_t i = 0; i < length; i++)
        if (header[i] < 0x20 || header[i] > 0x7e)
            return rest_fail(p, PS_EINVAL, NULL, "the Idempotency-Key holds other than printable ASCII");
    memcpy(r->key, header, length + 1);
    return 0;
}

/* What curl says by itself counts as JSON too: nothing else is ever taken here. */
static bool is_json(const char *type)
{
    static const char *const good[] = {"application/json", "application/merge-patch+json",
                                       "application/x-www-form-urlencoded"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        const size_t n = strlen(good[i]);
        if (strncasecmp(type, good[i], n) == 0 && (type[n] == '\0' || type[n] == ';' || type[n] == ' '))
            return true;
    }
    return false;
}

static int read_headers(struct rest_request *r, const struct rest_headers *h, struct rest_problem *p)
{
    const bool changes = strcmp(r->route->method, "GET") != 0;
    if (r->route->body && h->content_type && !is_json(h->content_type))
        return rest_fail_http(p, REST_PROBLEM_EMEDIATYPE, "the body must be application/json");
    if (h->if_match && changes && read_if_match(r, h->if_match, p))
        return -1;
    if (h->idempotency_key && changes && read_key(r, h->idempotency_key, p))
        return -1;
    if (h->last_event_id && (r->route->flags & REST_MAY_STREAM) && h->last_event_id[0]) {
        const size_t length = strlen(h->last_event_id);
        if (length > 20 || strspn(h->last_event_id, "0123456789") != length)
            return rest_fail(p, PS_EINVAL, NULL, "Last-Event-ID is no cursor of an event");
    }
    return 0;
}

int rest_request_begin(struct rest_request *r, const char *method, const char *target,
                       const struct rest_headers *headers, struct rest_problem *p)
{
    struct rest_capture captures[REST_CAPTURES_MAX];
    size_t count = 0, length = strlen(target);
    *r = (struct rest_request){.head = strcmp(method, "HEAD") == 0};
    if (length > REST_TARGET_MAX)
        return rest_fail(p, PS_EINVAL, NULL, "path and query are longer than %d bytes", REST_TARGET_MAX);
    memcpy(r->target, target, length + 1);
    char *query = strchr(r->target, '?');
    const size_t path_length = query ? (size_t)(query - r->target) : length;
    if (find_route(r, method, path_length, captures, &count, p))
        return -1;
    if (query && read_query(r, query + 1, p))
        return -1;
    for (size_t i = 0; i < count; i++) {
        char *text = r->target + (captures[i].text - r->target);
        size_t decoded;
        if (!percent_decode(text, captures[i].length, false, &decoded))
            return malformed(p, "path");
        if (set_text(r, captures[i].arg, text, decoded, p))
            return -1;
    }
    return read_headers(r, headers, p);
}

/* ---- the body */

static int wrong_type(struct rest_problem *p, const struct rest_arg_info *info, const char *wanted,
                      enum json_type got)
{
    return rest_fail(p, PS_EINVAL, info->name, "%s is %s; %s is expected", info->name, json_type_name(got),
                     wanted);
}

static int set_member_number(struct rest_request *r, enum rest_arg arg, const struct json_value *v,
                             struct rest_problem *p)
{
    const struct rest_arg_info *info = &rest_args[arg];
    if (v->type != JSON_NUMBER)
        return wrong_type(p, info, "a whole number", v->type);
    if (!v->integer || (v->negative && v->number))
        return rest_fail(p, PS_EINVAL, info->name,
                         "%s must be a whole number, %" PRIu64 " to %" PRIu64
                         ", without fraction or exponent",
                         info->name, info->min, info->max);
    return set_number(r, arg, v->number, p);
}

static int set_member_data(struct rest_request *r, enum rest_arg arg, const struct json_value *v,
                           struct rest_problem *p)
{
    const struct rest_arg_info *info = &rest_args[arg];
    if (v->type != JSON_STRING)
        return wrong_type(p, info, "a string of base64", v->type);
    struct rest_data data = {.bytes = (uint8_t *)v->text, .length = base64_decode(v->text, v->length)};
    if (data.length == SIZE_MAX)
        return rest_fail(p, PS_EINVAL, info->name,
                         "%s is no base64 (RFC 4648, with padding, without line breaks)", info->name);
    if (data.length < info->min || data.length > info->max)
        return rest_fail(p, PS_EINVAL, info->name, "%s has %zu bytes; %" PRIu64 " to %" PRIu64 " are allowed",
                         info->name, data.length, info->min, info->max);
    *(struct rest_data *)field(r, arg) = data;
    r->is.given |= 1ull << arg;
    return 0;
}

static int set_member(struct rest_request *r, enum rest_arg arg, const struct json_value *v,
                      struct rest_problem *p)
{
    const struct rest_arg_info *info = &rest_args[arg];
    switch (info->kind) {
    case REST_ARG_UINT:
        return set_member_number(r, arg, v, p);
    case REST_ARG_FLAG:
        if (v->type != JSON_BOOL)
            return wrong_type(p, info, "true or false", v->type);
        return set_flag(r, arg, v->boolean);
    case REST_ARG_DATA:
        return set_member_data(r, arg, v, p);
    case REST_ARG_NAME_OR_NULL:
        if (v->type == JSON_NULL)
            return set_text(r, arg, "", 0, p);
        break;
    default:
        break;
    }
    if (v->type != JSON_STRING)
        return wrong_type(p, info, "a string", v->type);
    return set_text(r, arg, v->text, v->length, p);
}

static int check_sizes(const struct rest_request *r, bool needed, struct rest_problem *p)
{
    const uint64_t both = REST_BIT(size_bytes) | REST_BIT(size_gb), is = r->is.given & both;
    if (is == both)
        return rest_fail(p, PS_EINVAL, "size_gb",
                         "size_bytes and size_gb are both given; one of them is enough");
    if (!is && needed)
        return rest_fail(p, PS_EINVAL, "size_bytes", "no size is given: size_bytes or size_gb");
    return 0;
}

static int check_sort(const struct rest_request *r, struct rest_problem *p)
{
    static const char *const keys[] = {"name", "size_bytes", "created", "logical_bytes", "stored_bytes"};
    if (!rest_given(r, REST_BIT(sort)))
        return 0;
    const char *key = r->is.sort[0] == '-' ? r->is.sort + 1 : r->is.sort;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(key, keys[i]) == 0)
            return 0;
    return rest_fail(
        p, PS_EINVAL, "sort",
        "nothing is sorted by \"%s\"; name, size_bytes, created, logical_bytes and stored_bytes are possible",
        key);
}

static bool is_number(const char *text, size_t digits)
{
    return strlen(text) <= digits && strspn(text, "0123456789") == strlen(text);
}

/* What no single value shows. */
static int check_together(const struct rest_request *r, struct rest_problem *p)
{
    const bool of_pod =
        strncmp(r->route->path, REST_PREFIX "/pods/{id}", strlen(REST_PREFIX "/pods/{id}")) == 0;
    if (of_pod && strlen(r->is.id) > REST_NAME_MAX)
        return rest_fail(p, PS_ENOTFOUND, "id", "no pod has a name longer than %d characters", REST_NAME_MAX);
    switch (r->route->op) {
    case REST_CREATE_VOLUME:
        return check_sizes(r, true, p);
    case REST_CHANGE_VOLUME:
        if (!rest_given(r, REST_BIT(name) | REST_BIT(size_bytes) | REST_BIT(size_gb) | REST_BIT(write_cache)))
            return rest_fail(p, PS_EINVAL, NULL,
                             "nothing to change: name, size_bytes, size_gb or write_cache");
        return check_sizes(r, false, p);
    case REST_PROMOTE:
        if (!r->is.accept_data_loss)
            return rest_fail(p, PS_EINVAL, "accept_data_loss",
                             "what other members hold beyond this node's log is lost by that: "
                             "accept_data_loss must be true");
        return 0;
    case REST_LIST_VOLUMES:
    case REST_LIST_SNAPSHOTS:
        return check_sort(r, p);
    case REST_LIST_EVENTS:
        if (r->is.cursor && !is_number(r->is.cursor, 19))
            return rest_fail(p, PS_EINVAL, "cursor", "this is no cursor of an event");
        return 0;
    case REST_GET_ACCOUNT:
        if (r->is.step && strcmp(r->is.step, "minute") != 0 && strcmp(r->is.step, "hour") != 0 &&
            strcmp(r->is.step, "day") != 0)
            return rest_fail(p, PS_EINVAL, "step",
                             "there is no step \"%s\"; minute, hour and day are possible", r->is.step);
        if (r->is.cursor && !is_number(r->is.cursor, 10))
            return rest_fail(p, PS_EINVAL, "cursor", "this is no cursor of a history");
        return 0;
    default:
        return 0;
    }
}

static int read_body(struct rest_request *r, char *body, size_t length, struct rest_problem *p)
{
    struct json_member members[JSON_MEMBERS_MAX];
    struct ps_error err = {0};
    size_t count = 0;
    if (length == 0 && (r->route->flags & REST_BODY_MAY_LACK))
        return 0;
    if (json_read_object(body, length, members, &count, &err))
        return rest_fail(p, err.status, NULL, "%s", err.detail);
    for (size_t i = 0; i < count; i++) {
        const struct json_member *m = &members[i];
        const enum rest_arg arg = find(r->route->body, m->name, m->name_length);
        if (arg == REST_ARG_COUNT)
            return rest_fail(p, PS_EINVAL, NULL, "the body may not have a member \"%.*s\"",
                             (int)(m->name_length < 60 ? m->name_length : 60), m->name);
        if (set_member(r, arg, &m->value, p))
            return -1;
    }
    return 0;
}

int rest_request_body(struct rest_request *r, char *body, size_t length, struct rest_problem *p)
{
    if (!r->route->body && length > 0) {
        /* Clients send "{}" where they have nothing to say. */
        struct json_member members[JSON_MEMBERS_MAX];
        struct ps_error err = {0};
        size_t count = 0;
        if (json_read_object(body, length, members, &count, &err) || count > 0)
            return rest_fail(p, PS_EINVAL, NULL, "this operation takes no body");
    }
    if (r->route->body && read_body(r, body, length, p))
        return -1;
    const uint64_t missing = r->route->required & ~r->is.given;
    if (missing) {
        const struct rest_arg_info *info = &rest_args[__builtin_ctzll(missing)];
        return rest_fail(p, PS_EINVAL, info->name, "%s is missing", info->name);
    }
    return check_together(r, p);
}

uint64_t rest_size(const struct rest_request *r)
{
    return rest_given(r, REST_BIT(size_gb)) ? r->is.size_gb << 30 : r->is.size_bytes;
}
