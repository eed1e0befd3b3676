#include "node/host/rest/rest_problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct row {
    const char *name;
    int http;
    const char *title;
};

static const struct row rows[] = {{"", 500, ""},
#define X(name, http, title) {#name, http, title},
                                  REST_PROBLEMS(X)
#undef X
};

int rest_fail(struct rest_problem *p, int status, const char *argument, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    *p = (struct rest_problem){.status = status, .argument = argument};
    (void)vsnprintf(p->detail, sizeof p->detail, format, args);
    va_end(args);
    return -1;
}

int rest_fail_http(struct rest_problem *p, enum rest_problem_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    *p = (struct rest_problem){.code = code};
    (void)vsnprintf(p->detail, sizeof p->detail, format, args);
    va_end(args);
    return -1;
}

int rest_problem_http(const struct rest_problem *p)
{
    return p->code ? rows[p->code].http : ps_status_http(p->status);
}

const char *rest_problem_name(const struct rest_problem *p)
{
    return p->code ? rows[p->code].name : ps_status_name(p->status);
}

void rest_problem_encode(struct json_out *out, const struct rest_problem *p, const char *target,
                         const char *request_id, const char *const *done)
{
    char type[64];
    const char *name = rest_problem_name(p);
    const char *title = p->code ? rows[p->code].title : ps_status_text(p->status);
    (void)snprintf(type, sizeof type, "urn:pstorage:problem:%s", name);
    json_object(out, NULL);
    json_string(out, "type", type);
    json_string(out, "title", title);
    json_u64(out, "status", (uint64_t)rest_problem_http(p));
    json_string(out, "detail", p->detail[0] ? p->detail : title);
    json_string(out, "instance", target);
    json_string(out, "code", name);
    if (p->argument)
        json_string(out, "argument", p->argument);
    if (done) {
        json_array(out, "done");
        for (; *done; done++)
            json_string(out, NULL, *done);
        json_array_end(out);
    }
    json_string(out, "request_id", request_id);
    json_object_end(out);
}
