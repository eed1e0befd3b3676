/* The REST API as one table: operations with their paths, parameters, bodies, answers and roles. Routing,
 * validation and the OpenAPI document are made from it, and from nothing else. Pure, and constant. */
#ifndef PS_NODE_HOST_REST_REST_ROUTES_H
#define PS_NODE_HOST_REST_REST_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/host/rest/rest_schema.h"

#define REST_PREFIX "/api/v1"

enum {
    REST_NAME_MAX = 63,
    REST_ID_MAX = 127,           /* of what a path names: also VOLUME@SNAPSHOT */
    REST_IO_MAX = 1024 * 1024,   /* bytes of one read or write */
    REST_BODY_MAX = 1536 * 1024, /* REST_IO_MAX in base64, and the rest of the object */
    REST_TARGET_MAX = 4096,      /* path and query */
    REST_LIMIT_MAX = 1000,       /* of a page */
    REST_LIMIT_DEFAULT = 100,
    REST_KEY_MAX = 255, /* characters of an Idempotency-Key */
};

enum rest_role {
    REST_ROLE_NONE, /* no token, not on this machine; also what needs no role */
    REST_ROLE_READ_ONLY,
    REST_ROLE_OPERATOR,
    REST_ROLE_ADMIN,
};

/* Kinds of values of parameters and members of bodies. */
enum rest_kind {
    REST_ARG_NAME,         /* of a volume, snapshot, pod or node: A-Z a-z 0-9 . _ -, the first alphanumeric */
    REST_ARG_NAME_OR_NULL, /* null is "" */
    REST_ARG_ID,           /* a name, VOLUME@SNAPSHOT, or a number */
    REST_ARG_TEXT,         /* printable */
    REST_ARG_UINT,
    REST_ARG_FLAG,
    REST_ARG_DATA, /* base64 */
};

/* Every parameter and member once: field, kind, smallest, largest (characters, value, or bytes),
 * documentation. */
/* clang-format off */
#define REST_ARGS(X)                                                                                                          \
    X(id, ID, 1, REST_ID_MAX, "Name or id of a volume; name of a pod or node")                                                \
    X(sid, ID, 1, REST_ID_MAX, "Name or id of a snapshot; its name is VOLUME@SNAPSHOT, or SNAPSHOT alone under its volume")   \
    X(node, NAME, 1, REST_NAME_MAX, "Name of a node")                                                                         \
    X(name, NAME, 1, REST_NAME_MAX, "Name: letters, digits, '.', '_' and '-', the first a letter or digit")                   \
    X(pod, NAME, 1, REST_NAME_MAX, "Name of a pod; the default one if there is none")                                         \
    X(preferred, NAME_OR_NULL, 0, REST_NAME_MAX, "Node that shall lead whenever it is in sync; null: nobody is preferred")    \
    X(size_bytes, UINT, 4096, 1ull << 48, "Size in bytes, a multiple of 4096")                                                \
    X(size_gb, UINT, 1, 262144, "Size in GiB (2^30 bytes), in place of size_bytes")                                           \
    X(write_cache, FLAG, 0, 0, "Answer writes from memory; they are durable at a flush")                                      \
    X(allow_shrink, FLAG, 0, 0, "A smaller size is meant: what lies beyond the new end is discarded")                         \
    X(with_snapshots, FLAG, 0, 0, "Delete the snapshots too")                                                                 \
    X(force, FLAG, 0, 0, "Although it is open; requests of those who have it open then fail")                                 \
    X(offset, UINT, 0, 1ull << 48, "Where to begin, in bytes; any")                                                           \
    X(length, UINT, 1, REST_IO_MAX, "Bytes")                                                                                  \
    X(data, DATA, 1, REST_IO_MAX, "The bytes to write")                                                                       \
    X(fua, FLAG, 0, 0, "Durable when answered, also with a write cache")                                                      \
    X(async, FLAG, 0, 0, "The new member follows asynchronously: nobody waits for it, and it never takes over by itself")     \
    X(accept_data_loss, FLAG, 0, 0, "Must be true: what others hold beyond this node's log is given up")                      \
    X(old_primary_is_off, FLAG, 0, 0, "The former primary is known not to run: it is not waited for")                         \
    X(limit, UINT, 1, REST_LIMIT_MAX, "Entries a page; 100 if there is none")                                                 \
    X(cursor, TEXT, 1, REST_CURSOR_MAX - 1, "next_cursor of the page before; of events: a cursor to begin after")             \
    X(sort, TEXT, 1, 32, "name, size_bytes, created, logical_bytes or stored_bytes; with '-' in front, descending")           \
    X(prefix, TEXT, 1, REST_ID_MAX, "Only names that begin so")                                                               \
    X(volume, NAME, 1, REST_NAME_MAX, "Only snapshots of this volume")                                                        \
    X(min_size_bytes, UINT, 0, 1ull << 48, "Only of this size or larger")                                                     \
    X(max_size_bytes, UINT, 0, 1ull << 48, "Only of this size or smaller")                                                    \
    X(kind, TEXT, 1, 63, "Only events of this kind; with '.' at the end, of all that begin so")                               \
    X(after, UINT, 0, UINT64_MAX, "Only decisions with higher numbers")                                                       \
    X(follow, FLAG, 0, 0, "Go on with what happens, as Server-Sent Events; the header Last-Event-ID works as the cursor does")   \
    X(plan_bytes, UINT, 0, 1ull << 60, "What if so many bytes came at once")                                                  \
    X(plan_bytes_per_day, UINT, 0, 1ull << 60, "What if so many bytes came each day, on top of what history tells")           \
    X(step, TEXT, 1, 6, "Of history: minute (two days are kept), hour (90 days; if there is none) or day (five years)")                  \
    X(file, ID, 1, REST_ID_MAX, "Name of a file")
/* clang-format on */

enum rest_arg {
#define X(name, kind, min, max, doc) REST_##name,
    REST_ARGS(X)
#undef X
    REST_ARG_COUNT
};

struct rest_arg_info {
    const char *name;
    enum rest_kind kind;
    uint64_t min, max;
    const char *doc;
};
extern const struct rest_arg_info rest_args[REST_ARG_COUNT];

#define REST_BIT(arg) (1ull << REST_##arg)
_Static_assert((int)REST_ARG_COUNT <= 64, "a set of arguments is 64 bits");

enum rest_op {
    REST_LIST_VOLUMES,
    REST_CREATE_VOLUME,
    REST_GET_VOLUME,
    REST_CHANGE_VOLUME,
    REST_DELETE_VOLUME,
    REST_WRITE_VOLUME,
    REST_READ_VOLUME,
    REST_LIST_SNAPSHOTS,
    REST_CREATE_SNAPSHOT,
    REST_GET_SNAPSHOT,
    REST_DELETE_SNAPSHOT,
    REST_RESTORE_SNAPSHOT,
    REST_CLONE_SNAPSHOT,
    REST_LIST_PODS,
    REST_GET_POD,
    REST_CHANGE_POD,
    REST_SNAPSHOT_POD,
    REST_WHY_POD,
    REST_SWITCH_OVER,
    REST_PROMOTE,
    REST_ADD_MEMBER,
    REST_REMOVE_MEMBER,
    REST_LIST_NODES,
    REST_GET_NODE,
    REST_GET_REPLICATION,
    REST_GET_METRICS,
    REST_GET_REDUCTION,
    REST_GET_FLASH,
    REST_LIST_EVENTS,
    REST_GET_ANALYTICS,
    REST_GET_FORECAST,
    REST_GET_DRIVES,
    REST_LIST_ADVICE,
    REST_GET_TEMPERATURE,
    REST_GET_ACCOUNT,
    REST_HEALTH,
    REST_READY,
    REST_PROMETHEUS,
    REST_OPENAPI,
    REST_DOCS,
};

enum {
    REST_TAKES_IF_MATCH = 1u << 0,
    REST_TAKES_KEY = 1u << 1, /* Idempotency-Key */
    REST_GIVES_ETAG = 1u << 2,
    REST_GIVES_LOCATION = 1u << 3,
    REST_MAY_STREAM = 1u << 4,    /* text/event-stream, when `follow` is set */
    REST_PLAIN = 1u << 5,         /* text/plain */
    REST_OPEN = 1u << 6,          /* asks for no token */
    REST_RAW_JSON = 1u << 7,      /* JSON without a schema of ours */
    REST_BODY_MAY_LACK = 1u << 8, /* no body is an empty object */
    REST_FILE = 1u << 9,          /* of rest_pages.h */
};

struct rest_route {
    enum rest_op op;
    const char *method;
    const char *path; /* with {id}, {sid}, {node} */
    const char *name; /* operationId */
    const char *tag, *summary;
    enum rest_role role;              /* at least */
    uint64_t query;                   /* arguments that the query may hold */
    uint64_t body;                    /* members that the body may hold; 0: there is no body */
    uint64_t required;                /* of these */
    int success;                      /* HTTP status */
    const struct rest_schema *answer; /* NULL: none, or plain */
    unsigned flags;
};

extern const struct rest_route rest_routes[];
extern const size_t rest_route_count;

/* Do the template's segments stand in the path? Those in braces take any that is not empty; `values` and
 * `lengths` get them in their order. `path` ends where the query begins. */
enum {
    REST_CAPTURES_MAX = 2
};
struct rest_capture {
    enum rest_arg arg;
    const char *text;
    size_t length;
};
bool rest_path_matches(const char *template, const char *path, size_t length,
                       struct rest_capture captures[REST_CAPTURES_MAX], size_t *count);

const char *rest_role_name(enum rest_role role); /* "read-only" */
/* False: no such role. */
bool rest_role_parse(const char *name, enum rest_role *out);

#endif
