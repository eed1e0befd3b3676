#include "node/host/rest/rest_openapi.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/host/rest/rest_problem.h"
#include "node/host/rest/rest_routes.h"

#define NAME_PATTERN "^[A-Za-z0-9][A-Za-z0-9._-]*$"
#define ID_PATTERN   "^[A-Za-z0-9][A-Za-z0-9._@-]*$"
#define ETAG_PATTERN "^\"[0-9a-f]{16}\"$"

static void reference(struct json_out *out, const char *key, const char *kind, const char *name)
{
    char path[120];
    (void)snprintf(path, sizeof path, "#/components/%s/%s", kind, name);
    json_object(out, key);
    json_string(out, "$ref", path);
    json_object_end(out);
}

/* ---- values that come in */

static void string_schema(struct json_out *out, const struct rest_arg_info *info, const char *pattern)
{
    if (info->kind == REST_ARG_NAME_OR_NULL) {
        json_array(out, "type");
        json_string(out, NULL, "string");
        json_string(out, NULL, "null");
        json_array_end(out);
    } else {
        json_string(out, "type", "string");
    }
    if (info->kind != REST_ARG_NAME_OR_NULL)
        json_u64(out, "minLength", info->min);
    json_u64(out, "maxLength", info->max);
    if (pattern)
        json_string(out, "pattern", pattern);
}

static void argument_schema(struct json_out *out, const char *key, const struct rest_arg_info *info)
{
    json_object(out, key);
    switch (info->kind) {
    case REST_ARG_NAME:
        string_schema(out, info, NAME_PATTERN);
        break;
    case REST_ARG_NAME_OR_NULL:
        string_schema(out, info, "^([A-Za-z0-9][A-Za-z0-9._-]*)?$");
        break;
    case REST_ARG_ID:
        string_schema(out, info, ID_PATTERN);
        break;
    case REST_ARG_TEXT:
        string_schema(out, info,
                      info == &rest_args[REST_sort]
                          ? "^-?(name|size_bytes|created|logical_bytes|stored_bytes)$"
                      : info == &rest_args[REST_step] ? "^(minute|hour|day)$"
                                                      : "^[ -~]*$");
        break;
    case REST_ARG_UINT:
        json_string(out, "type", "integer");
        json_u64(out, "minimum", info->min);
        json_u64(out, "maximum", info->max);
        if (info == &rest_args[REST_size_bytes])
            json_u64(out, "multipleOf", 4096);
        break;
    case REST_ARG_FLAG:
        json_string(out, "type", "boolean");
        if (info == &rest_args[REST_accept_data_loss])
            json_bool(out, "const", true);
        break;
    case REST_ARG_DATA:
        json_string(out, "type", "string");
        json_string(out, "contentEncoding", "base64");
        json_u64(out, "minLength", (info->min + 2) / 3 * 4);
        json_u64(out, "maxLength", (info->max + 2) / 3 * 4);
        break;
    }
    json_string(out, "description", info->doc);
    json_object_end(out);
}

static void parameter(struct json_out *out, const struct rest_arg_info *info, const char *in)
{
    json_object(out, NULL);
    json_string(out, "name", info->name);
    json_string(out, "in", in);
    json_bool(out, "required", strcmp(in, "path") == 0);
    json_string(out, "description", info->doc);
    argument_schema(out, "schema", info);
    json_object_end(out);
}

static bool in_path(const struct rest_route *route, const char *name)
{
    char segment[80];
    (void)snprintf(segment, sizeof segment, "{%s}", name);
    return strstr(route->path, segment) != NULL;
}

static void parameters(struct json_out *out, const struct rest_route *route)
{
    json_array(out, "parameters");
    for (enum rest_arg arg = 0; arg < REST_ARG_COUNT; arg++) {
        if (in_path(route, rest_args[arg].name))
            parameter(out, &rest_args[arg], "path");
        else if (route->query & 1ull << arg)
            parameter(out, &rest_args[arg], "query");
    }
    if (route->flags & REST_TAKES_IF_MATCH)
        reference(out, NULL, "parameters", "IfMatch");
    if (route->flags & REST_TAKES_KEY)
        reference(out, NULL, "parameters", "IdempotencyKey");
    if (route->flags & REST_MAY_STREAM)
        reference(out, NULL, "parameters", "LastEventId");
    json_array_end(out);
}

static void one_of_required(struct json_out *out, const char *keyword, const char *const *names)
{
    json_array(out, keyword);
    for (; *names; names++) {
        json_object(out, NULL);
        json_array(out, "required");
        json_string(out, NULL, *names);
        json_array_end(out);
        json_object_end(out);
    }
    json_array_end(out);
}

/* What members must be there together, beyond those that always must. */
static void together(struct json_out *out, const struct rest_route *route)
{
    static const char *const sizes[] = {"size_bytes", "size_gb", NULL};
    static const char *const changes[] = {"name", "size_bytes", "size_gb", "write_cache", NULL};
    if (route->op == REST_CREATE_VOLUME)
        one_of_required(out, "oneOf", sizes);
    if (route->op != REST_CHANGE_VOLUME)
        return;
    one_of_required(out, "anyOf", changes);
    json_object(out, "not");
    json_array(out, "required");
    json_string(out, NULL, sizes[0]);
    json_string(out, NULL, sizes[1]);
    json_array_end(out);
    json_object_end(out);
}

static void body(struct json_out *out, const struct rest_route *route)
{
    if (!route->body)
        return;
    json_object(out, "requestBody");
    json_bool(out, "required", !(route->flags & REST_BODY_MAY_LACK));
    json_object(out, "content");
    json_object(out, "application/json");
    json_object(out, "schema");
    json_string(out, "type", "object");
    json_bool(out, "additionalProperties", false);
    json_object(out, "properties");
    for (enum rest_arg arg = 0; arg < REST_ARG_COUNT; arg++)
        if (route->body & 1ull << arg)
            argument_schema(out, rest_args[arg].name, &rest_args[arg]);
    json_object_end(out);
    if (route->required) {
        json_array(out, "required");
        for (enum rest_arg arg = 0; arg < REST_ARG_COUNT; arg++)
            if (route->required & 1ull << arg)
                json_string(out, NULL, rest_args[arg].name);
        json_array_end(out);
    }
    together(out, route);
    json_object_end(out);
    json_object_end(out);
    json_object_end(out);
    json_object_end(out);
}

/* ---- answers */

static void type_or_null(struct json_out *out, const char *type, bool may_be_null)
{
    if (!may_be_null) {
        json_string(out, "type", type);
        return;
    }
    json_array(out, "type");
    json_string(out, NULL, type);
    json_string(out, NULL, "null");
    json_array_end(out);
}

static void field_schema(struct json_out *out, const struct rest_field *f)
{
    json_object(out, f->name);
    switch (f->type) {
    case REST_U64:
    case REST_U32:
    case REST_U64_OR_NULL:
    case REST_U64_IF:
        type_or_null(out, "integer", f->type == REST_U64_OR_NULL || f->type == REST_U64_IF);
        json_u64(out, "minimum", 0);
        break;
    case REST_NUMBER:
    case REST_GIB:
        json_string(out, "type", "number");
        break;
    case REST_BOOL:
        json_string(out, "type", "boolean");
        break;
    case REST_TEXT:
    case REST_TEXT_OR_NULL:
        type_or_null(out, "string", f->type == REST_TEXT_OR_NULL);
        break;
    case REST_TIME:
        type_or_null(out, "string", true);
        json_string(out, "format", "date-time");
        break;
    case REST_TAG:
        json_string(out, "type", "string");
        json_string(out, "pattern", ETAG_PATTERN);
        break;
    case REST_WORD:
        json_string(out, "type", "string");
        json_array(out, "enum");
        for (uint32_t i = f->words_from; i <= f->words_to; i++)
            json_string(out, NULL, f->words[i]);
        json_array_end(out);
        break;
    case REST_DATA:
        json_string(out, "type", "string");
        json_string(out, "contentEncoding", "base64");
        break;
    case REST_NUMBER_IF:
        type_or_null(out, "number", true);
        break;
    case REST_OBJECT_IF:
        json_array(out, "anyOf");
        reference(out, NULL, "schemas", f->of->name);
        json_object(out, NULL);
        json_string(out, "type", "null");
        json_object_end(out);
        json_array_end(out);
        break;
    case REST_LINES:
    case REST_FLOATS:
        json_string(out, "type", "array");
        json_object(out, "items");
        json_string(out, "type", f->type == REST_LINES ? "string" : "number");
        json_object_end(out);
        break;
    case REST_OBJECT:
        json_array(out, "allOf");
        reference(out, NULL, "schemas", f->of->name);
        json_array_end(out);
        break;
    case REST_LIST:
    case REST_INLINE:
        json_string(out, "type", "array");
        reference(out, "items", "schemas", f->of->name);
        break;
    }
    json_string(out, "description", f->doc);
    json_object_end(out);
}

static void schema(struct json_out *out, const struct rest_schema *s)
{
    json_object(out, s->name);
    json_string(out, "type", "object");
    json_string(out, "description", s->doc);
    json_object(out, "properties");
    for (size_t i = 0; i < s->count; i++)
        field_schema(out, &s->fields[i]);
    json_object_end(out);
    json_array(out, "required");
    for (size_t i = 0; i < s->count; i++)
        json_string(out, NULL, s->fields[i].name);
    json_array_end(out);
    json_object_end(out);
}

static void problem_property(struct json_out *out, const char *name, const char *type, const char *doc)
{
    json_object(out, name);
    json_string(out, "type", type);
    json_string(out, "description", doc);
    json_object_end(out);
}

static void problem_schema(struct json_out *out)
{
    json_object(out, "Problem");
    json_string(out, "type", "object");
    json_string(out, "description", "RFC 9457 problem details.");
    json_object(out, "properties");
    problem_property(out, "type", "string", "urn:pstorage:problem:CODE");
    problem_property(out, "title", "string", "What the code means");
    problem_property(out, "status", "integer", "The HTTP status");
    problem_property(out, "detail", "string", "What is wrong here, for people");
    problem_property(out, "instance", "string", "Path and query of the request");
    problem_property(out, "argument", "string", "The parameter or member that is meant");
    problem_property(out, "request_id", "string", "As in the header X-Request-Id and in the node's log");
    json_object(out, "done");
    json_string(out, "type", "array");
    json_string(out, "description",
                "Of a change in several steps: those that were carried out before it failed");
    json_object(out, "items");
    json_string(out, "type", "string");
    json_object_end(out);
    json_object_end(out);
    json_object(out, "code");
    json_string(out, "type", "string");
    json_string(out, "description", "Stable, for programs");
    json_array(out, "enum");
#define X(name, value, rpc, err, exit_code, http, text)                                                      \
    if ((value) != 0)                                                                                        \
        json_string(out, NULL, #name);
    PS_STATUS_MAP(X)
#undef X
#define X(name, http, title) json_string(out, NULL, #name);
    REST_PROBLEMS(X)
#undef X
    json_array_end(out);
    json_object_end(out);
    json_object_end(out);
    json_array(out, "required");
    static const char *const required[] = {"type",     "title", "status",    "detail",
                                           "instance", "code",  "request_id"};
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++)
        json_string(out, NULL, required[i]);
    json_array_end(out);
    json_object_end(out);
}

static void header(struct json_out *out, const char *name, const char *doc)
{
    json_object(out, name);
    json_string(out, "description", doc);
    json_object(out, "schema");
    json_string(out, "type", "string");
    json_object_end(out);
    json_object_end(out);
}

static void content(struct json_out *out, const struct rest_route *route)
{
    if (!route->answer && !(route->flags & (REST_PLAIN | REST_RAW_JSON | REST_FILE)))
        return;
    json_object(out, "content");
    if (route->flags & REST_FILE) {
        json_object(out, strchr(route->path, '{') ? "*/*" : "text/html");
        json_object(out, "schema");
        json_string(out, "type", "string");
        json_object_end(out);
        json_object_end(out);
        json_object_end(out);
        return;
    }
    json_object(out, route->flags & REST_PLAIN ? "text/plain" : "application/json");
    if (route->answer) {
        reference(out, "schema", "schemas", route->answer->name);
    } else {
        json_object(out, "schema");
        json_string(out, "type", route->flags & REST_PLAIN ? "string" : "object");
        json_object_end(out);
    }
    json_object_end(out);
    if (route->flags & REST_MAY_STREAM) {
        json_object(out, "text/event-stream");
        json_object(out, "schema");
        json_string(out, "type", "string");
        json_object_end(out);
        json_object_end(out);
    }
    json_object_end(out);
}

static void responses(struct json_out *out, const struct rest_route *route)
{
    char status[8];
    (void)snprintf(status, sizeof status, "%d", route->success);
    json_object(out, "responses");
    json_object(out, status);
    json_string(out, "description",
                route->success == 204   ? "Done"
                : route->success == 201 ? "Made"
                                        : "The answer");
    json_object(out, "headers");
    header(out, "X-Request-Id", "Names the request in the node's log");
    if (route->flags & REST_GIVES_ETAG)
        header(out, "ETag", "For If-Match: another one after each change");
    if (route->flags & REST_FILE)
        header(out, "ETag", "For If-None-Match");
    if (route->flags & REST_GIVES_LOCATION)
        header(out, "Location", "Path of what was made");
    json_object_end(out);
    content(out, route);
    json_object_end(out);
    if (route->flags & REST_FILE) {
        json_object(out, "304");
        json_string(out, "description", "If-None-Match names what is there");
        json_object_end(out);
    }
    if (route->op == REST_READY) {
        json_object(out, "503");
        json_string(out, "description", "It does not serve; the reason");
        content(out, route);
        json_object_end(out);
    }
    json_object(out, "default");
    json_string(out, "description", "An error");
    json_object(out, "content");
    json_object(out, "application/problem+json");
    reference(out, "schema", "schemas", "Problem");
    json_object_end(out);
    json_object_end(out);
    json_object_end(out);
    json_object_end(out);
}

/* ---- operations */

static void lower_case(const char *from, char *to, size_t room)
{
    size_t i = 0;
    for (; from[i] && i + 1 < room; i++)
        to[i] = (char)(from[i] >= 'A' && from[i] <= 'Z' ? from[i] | 0x20 : from[i]);
    to[i] = '\0';
}

static void operation(struct json_out *out, const struct rest_route *route)
{
    char method[16];
    lower_case(route->method, method, sizeof method);
    json_object(out, method);
    json_string(out, "operationId", route->name);
    json_string(out, "summary", route->summary);
    json_array(out, "tags");
    json_string(out, NULL, route->tag);
    json_array_end(out);
    if (route->role != REST_ROLE_NONE)
        json_string(out, "x-role", rest_role_name(route->role));
    json_array(out, "security");
    json_object(out, NULL);
    json_object_end(out);
    if (route->role != REST_ROLE_NONE) {
        json_object(out, NULL);
        json_array(out, "token");
        json_array_end(out);
        json_object_end(out);
    }
    json_array_end(out);
    parameters(out, route);
    body(out, route);
    responses(out, route);
    json_object_end(out);
}

static bool is_first_of_path(size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (strcmp(rest_routes[i].path, rest_routes[index].path) == 0)
            return false;
    return true;
}

static void paths(struct json_out *out)
{
    json_object(out, "paths");
    for (size_t i = 0; i < rest_route_count; i++) {
        if (!is_first_of_path(i))
            continue;
        json_object(out, rest_routes[i].path);
        for (size_t k = i; k < rest_route_count; k++)
            if (strcmp(rest_routes[k].path, rest_routes[i].path) == 0)
                operation(out, &rest_routes[k]);
        json_object_end(out);
    }
    json_object_end(out);
}

static void header_parameter(struct json_out *out, const char *key, const char *name, const char *doc)
{
    json_object(out, key);
    json_string(out, "name", name);
    json_string(out, "in", "header");
    json_string(out, "description", doc);
    json_object(out, "schema");
    json_string(out, "type", "string");
    json_object_end(out);
    json_object_end(out);
}

static void components(struct json_out *out)
{
    json_object(out, "components");
    json_object(out, "schemas");
    for (size_t i = 0; rest_schemas[i]; i++)
        schema(out, rest_schemas[i]);
    problem_schema(out);
    json_object_end(out);
    json_object(out, "parameters");
    header_parameter(out, "IfMatch", "If-Match",
                     "ETag of what is to be changed: if it was changed meanwhile, nothing is done (412)");
    header_parameter(out, "IdempotencyKey", "Idempotency-Key",
                     "A repetition of the same request with the same key gives the first result again");
    header_parameter(out, "LastEventId", "Last-Event-ID", "Cursor of the last event seen");
    json_object_end(out);
    json_object(out, "securitySchemes");
    json_object(out, "token");
    json_string(out, "type", "http");
    json_string(out, "scheme", "bearer");
    json_string(out, "description",
                "Made by `pstorage token create`. Without a token, the node's own machine may do everything, "
                "others may read.");
    json_object_end(out);
    json_object_end(out);
    json_object_end(out);
}

void rest_openapi(struct json_out *out)
{
    json_object(out, NULL);
    json_string(out, "openapi", "3.1.0");
    json_object(out, "info");
    json_string(out, "title", "PStorage");
    json_string(out, "version", PS_VERSION);
    json_string(
        out, "description",
        "Volumes, snapshots, pods, nodes and figures of a PStorage array. Any node answers for the cluster.");
    json_object(out, "license");
    json_string(out, "name", "MIT");
    json_string(out, "identifier", "MIT");
    json_object_end(out);
    json_object_end(out);
    json_array(out, "servers");
    json_object(out, NULL);
    json_string(out, "url", "/");
    json_object_end(out);
    json_array_end(out);
    paths(out);
    components(out);
    json_object_end(out);
}
