#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/host/rest/rest_request.h"

static struct rest_request r;
static struct rest_problem p;
static char *body;

static int teardown(void **state)
{
    (void)state;
    free(body);
    body = NULL;
    return 0;
}

static int ask_with(const char *method, const char *target, const char *text,
                    const struct rest_headers *headers)
{
    free(body);
    body = strdup(text ? text : "");
    p = (struct rest_problem){0};
    const int rc = rest_request_begin(&r, method, target, headers, &p);
    return rc ? rc : rest_request_body(&r, body, strlen(body), &p);
}

static int ask(const char *method, const char *target, const char *text)
{
    const struct rest_headers none = {0};
    return ask_with(method, target, text, &none);
}

/* Refused with this HTTP status, and a detail that says this. */
static void refused(int http, const char *detail, const char *method, const char *target, const char *text)
{
    if (ask(method, target, text) == 0)
        fail_msg("taken: %s %s %s", method, target, text ? text : "");
    if (rest_problem_http(&p) != http || !strstr(p.detail, detail))
        fail_msg("%s %s %s: %d %s", method, target, text ? text : "", rest_problem_http(&p), p.detail);
}

static void each_operation_is_found_by_its_method_and_path(void **state)
{
    (void)state;
    for (size_t i = 0; i < rest_route_count; i++) {
        const struct rest_route *route = &rest_routes[i];
        char target[256] = "";
        for (const char *t = route->path; *t; t++) {
            if (*t == '{') {
                (void)strcat(target, "x1");
                t = strchr(t, '}');
            } else {
                strncat(target, t, 1);
            }
        }
        const struct rest_headers none = {0};
        assert_int_equal(rest_request_begin(&r, route->method, target, &none, &p), 0);
        assert_ptr_equal(r.route, route);
        assert_true(strncmp(route->path, REST_PREFIX, 7) == 0 || route->path[1] != 'a');
    }
}

static void a_path_gives_its_names_decoded(void **state)
{
    (void)state;
    assert_int_equal(ask("GET", "/api/v1/volumes/my%2Dvolume/snapshots/vm%40s.1?", NULL), 0);
    assert_string_equal(r.is.id, "my-volume");
    assert_string_equal(r.is.sid, "vm@s.1");
    assert_int_equal(ask("DELETE", "/api/v1/pods/default/members/n2", NULL), 0);
    assert_string_equal(r.is.id, "default");
    assert_string_equal(r.is.node, "n2");
    assert_int_equal(ask("HEAD", "/api/v1/volumes", NULL), 0);
    assert_true(r.head);
}

static void what_is_not_there_is_told_from_what_is_not_allowed(void **state)
{
    (void)state;
    refused(404, "nothing at this path", "GET", "/api/v1/volume", NULL);
    refused(404, "nothing at this path", "GET", "/api/v1/volumes/", NULL);
    refused(404, "nothing at this path", "GET", "/api/v1/volumes/a/b", NULL);
    refused(404, "nothing at this path", "GET", "//api/v1/volumes", NULL);
    refused(404, "nothing at this path", "GET", "/api/v1/analytics/capacity", NULL);
    refused(404, "nothing at this path", "GET", "", NULL);
    refused(404, "nothing at this path", "OPTIONS", "*", NULL);
    refused(405, "GET, HEAD, POST", "PUT", "/api/v1/volumes", NULL);
    assert_string_equal(r.allow, "GET, HEAD, POST");
    refused(405, "GET, HEAD, PATCH, DELETE", "POST", "/api/v1/volumes/a", NULL);
    refused(404, "nothing is named", "GET", "/api/v1/volumes/a%20b", NULL);
    refused(404, "nothing is named", "GET", "/api/v1/volumes/..", NULL);
    refused(404, "nothing is named", "GET", "/api/v1/volumes/a%2Fb", NULL);
    refused(400, "NUL", "GET", "/api/v1/volumes/a%00b", NULL);
    refused(400, "two hexadecimal digits", "GET", "/api/v1/volumes/a%2", NULL);
    refused(400, "two hexadecimal digits", "GET", "/api/v1/volumes/%zz", NULL);
}

static void a_query_is_checked(void **state)
{
    (void)state;
    assert_int_equal(
        ask("GET", "/api/v1/volumes?limit=1000&sort=-size_bytes&prefix=v&min_size_bytes=0", NULL), 0);
    assert_int_equal(r.is.limit, 1000);
    assert_string_equal(r.is.sort, "-size_bytes");
    assert_int_equal(ask("DELETE", "/api/v1/volumes/v?force&with_snapshots=false&&", NULL), 0);
    assert_true(r.is.force && !r.is.with_snapshots && rest_given(&r, REST_BIT(with_snapshots)));
    refused(400, "no parameter \"x\"", "GET", "/api/v1/volumes?x=1", NULL);
    refused(400, "given twice", "GET", "/api/v1/volumes?limit=1&limit=1", NULL);
    refused(400, "1 to 1000", "GET", "/api/v1/volumes?limit=0", NULL);
    refused(400, "1 to 1000", "GET", "/api/v1/volumes?limit=1001", NULL);
    refused(400, "no whole number", "GET", "/api/v1/volumes?limit=-1", NULL);
    refused(400, "no whole number", "GET", "/api/v1/volumes?limit=1e3", NULL);
    refused(400, "no whole number", "GET", "/api/v1/volumes?limit=", NULL);
    refused(400, "no whole number", "GET", "/api/v1/volumes?limit=18446744073709551616", NULL);
    refused(400, "nothing is sorted by", "GET", "/api/v1/volumes?sort=colour", NULL);
    refused(400, "true or false", "GET", "/api/v1/events?follow=maybe", NULL);
    refused(400, "no cursor of an event", "GET", "/api/v1/events?cursor=abc", NULL);
    refused(400, "printable ASCII", "GET", "/api/v1/events?kind=%0a", NULL);
    refused(400, "no parameter", "DELETE", "/api/v1/snapshots/s?with_snapshots=true", NULL);
}

static void a_body_gives_its_members(void **state)
{
    (void)state;
    assert_int_equal(ask("POST", "/api/v1/volumes", "{\"name\":\"my-volume\",\"size_gb\":10}"), 0);
    assert_string_equal(r.is.name, "my-volume");
    assert_int_equal(rest_size(&r), 10ull << 30);
    assert_int_equal(ask("POST", "/api/v1/volumes/v/write", "{\"offset\":0,\"data\":\"SGVsbG8gV29ybGQh\"}"),
                     0);
    assert_int_equal(r.is.data.length, 12);
    assert_memory_equal(r.is.data.bytes, "Hello World!", 12);
    assert_int_equal(ask("PATCH", "/api/v1/pods/default", "{\"preferred\":null}"), 0);
    assert_string_equal(r.is.preferred, "");
    assert_int_equal(ask("POST", "/api/v1/pods/default/switchover", ""), 0);
    assert_null(r.is.node);
    assert_int_equal(ask("POST", "/api/v1/snapshots/v@s/restore", "{}"), 0);
}

static void a_wrong_body_is_refused_with_what_would_be_right(void **state)
{
    (void)state;
    const char *volumes = "/api/v1/volumes", *write = "/api/v1/volumes/v/write",
               *read = "/api/v1/volumes/v/read";
    refused(400, "empty", "POST", volumes, "");
    refused(400, "not JSON", "POST", volumes, "{\"name\":");
    refused(400, "a JSON object is expected", "POST", volumes, "[]");
    refused(400, "name is missing", "POST", volumes, "{\"size_gb\":1}");
    refused(400, "no size is given", "POST", volumes, "{\"name\":\"v\"}");
    refused(400, "both given", "POST", volumes, "{\"name\":\"v\",\"size_gb\":1,\"size_bytes\":4096}");
    refused(400, "may not have a member \"colour\"", "POST", volumes,
            "{\"name\":\"v\",\"size_gb\":1,\"colour\":1}");
    refused(400, "name is a number", "POST", volumes, "{\"name\":1,\"size_gb\":1}");
    refused(400, "name is null", "POST", volumes, "{\"name\":null,\"size_gb\":1}");
    refused(400, "size_gb is a string", "POST", volumes, "{\"name\":\"v\",\"size_gb\":\"1\"}");
    refused(400, "whole number", "POST", volumes, "{\"name\":\"v\",\"size_gb\":-1}");
    refused(400, "whole number", "POST", volumes, "{\"name\":\"v\",\"size_gb\":1.5}");
    refused(400, "whole number", "POST", volumes, "{\"name\":\"v\",\"size_gb\":1e99}");
    refused(400, "whole number", "POST", volumes, "{\"name\":\"v\",\"size_bytes\":99999999999999999999}");
    refused(400, "1 to 262144", "POST", volumes, "{\"name\":\"v\",\"size_gb\":0}");
    refused(400, "1 to 262144", "POST", volumes, "{\"name\":\"v\",\"size_gb\":262145}");
    refused(400, "are allowed", "POST", volumes, "{\"name\":\"v\",\"size_bytes\":18446744073709551615}");
    refused(400, "write_cache is a number", "POST", volumes,
            "{\"name\":\"v\",\"size_gb\":1,\"write_cache\":1}");
    refused(400, "letters, digits", "POST", volumes, "{\"name\":\"a b\",\"size_gb\":1}");
    refused(400, "letters, digits", "POST", volumes, "{\"name\":\"-a\",\"size_gb\":1}");
    refused(400, "0 characters", "POST", volumes, "{\"name\":\"\",\"size_gb\":1}");
    refused(400, "NUL", "POST", volumes, "{\"name\":\"a\\u0000b\",\"size_gb\":1}");
    refused(400, "no base64", "POST", write, "{\"offset\":0,\"data\":\"###\"}");
    refused(400, "0 bytes", "POST", write, "{\"offset\":0,\"data\":\"\"}");
    refused(400, "data is an array", "POST", write, "{\"offset\":0,\"data\":[1]}");
    refused(400, "1 to 1048576", "POST", read, "{\"offset\":0,\"length\":0}");
    refused(400, "1 to 1048576", "POST", read, "{\"offset\":0,\"length\":1048577}");
    refused(400, "nothing to change", "PATCH", "/api/v1/volumes/v", "{}");
    refused(400, "nothing to change", "PATCH", "/api/v1/volumes/v", "{\"allow_shrink\":true}");
    refused(400, "must be true", "POST", "/api/v1/pods/default/promote", "{\"accept_data_loss\":false}");
    refused(400, "takes no body", "DELETE", "/api/v1/volumes/v", "{\"force\":true}");
    refused(400, "takes no body", "GET", "/api/v1/volumes", "x");
}

static void the_name_of_a_bad_argument_is_told(void **state)
{
    (void)state;
    refused(400, "", "POST", "/api/v1/volumes", "{\"name\":\"v\",\"size_gb\":-1}");
    assert_string_equal(p.argument, "size_gb");
    assert_string_equal(rest_problem_name(&p), "EINVAL");
}

static void a_media_type_is_json_or_what_curl_says_by_itself(void **state)
{
    (void)state;
    static const char *const good[] = {"application/json", "Application/JSON; charset=utf-8",
                                       "application/x-www-form-urlencoded", "application/merge-patch+json"};
    static const char *const bad[] = {"text/plain", "multipart/form-data; boundary=x", "application/jsonp",
                                      ""};
    struct rest_headers h = {0};
    const char *text = "{\"name\":\"v\",\"size_gb\":1}";
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        h.content_type = good[i];
        assert_int_equal(ask_with("POST", "/api/v1/volumes", text, &h), 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        h.content_type = bad[i];
        assert_int_equal(ask_with("POST", "/api/v1/volumes", text, &h), -1);
        assert_int_equal(rest_problem_http(&p), 415);
    }
}

static void if_match_takes_entity_tags(void **state)
{
    (void)state;
    const char *target = "/api/v1/volumes/v", *text = "{\"size_gb\":1}";
    struct rest_headers h = {.if_match = "\"00000000000000ff\""};
    assert_int_equal(ask_with("PATCH", target, text, &h), 0);
    assert_true(r.conditional && !r.matches_any && r.ntags == 1 && r.tags[0] == 255);
    h.if_match = "W/\"00000000000000ff\" , \"x\",\"0123456789abcdef\"";
    assert_int_equal(ask_with("PATCH", target, text, &h), 0);
    assert_true(r.ntags == 1 && r.tags[0] == 0x0123456789abcdef);
    h.if_match = "*";
    assert_int_equal(ask_with("PATCH", target, text, &h), 0);
    assert_true(r.matches_any);
    static const char *const bad[] = {"", "abc", "\"abc", "\"a\" \"b\"", "\"a\",", "* , \"a\""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        h.if_match = bad[i];
        assert_int_equal(ask_with("PATCH", target, text, &h), -1);
        assert_int_equal(rest_problem_http(&p), 400);
    }
    h.if_match = "*";
    assert_int_equal(ask_with("POST", "/api/v1/volumes", "{\"name\":\"v\",\"size_gb\":1}", &h), -1);
}

static void an_idempotency_key_is_short_and_printable(void **state)
{
    (void)state;
    char longest[REST_KEY_MAX + 2];
    const char *text = "{\"name\":\"v\",\"size_gb\":1}";
    struct rest_headers h = {.idempotency_key = "8e03978e-40d5-43dd-bc93-6894a57f9324"};
    assert_int_equal(ask_with("POST", "/api/v1/volumes", text, &h), 0);
    assert_string_equal(r.key, h.idempotency_key);
    memset(longest, 'k', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const char *const bad[] = {"", longest, "a\tb", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        h.idempotency_key = bad[i];
        assert_int_equal(ask_with("POST", "/api/v1/volumes", text, &h), -1);
    }
    h.idempotency_key = "k";
    assert_int_equal(ask_with("POST", "/api/v1/volumes/v/read", "{\"offset\":0,\"length\":1}", &h), -1);
    assert_non_null(strstr(p.detail, "not offered"));
}

static void a_target_has_an_end(void **state)
{
    (void)state;
    char target[REST_TARGET_MAX + 8];
    memset(target, 'a', sizeof target);
    memcpy(target, "/api/v1/volumes/", 16);
    target[REST_TARGET_MAX] = '\0';
    assert_int_equal(ask("GET", target, NULL), -1);
    assert_int_equal(rest_problem_http(&p), 400);
    target[REST_TARGET_MAX] = 'a';
    target[REST_TARGET_MAX + 1] = '\0';
    refused(400, "longer than", "GET", target, NULL);
}

static void every_status_has_its_problem(void **state)
{
    (void)state;
    static const struct {
        int status, http;
        const char *name;
    } rows[] = {{PS_EINVAL, 400, "EINVAL"},
                {PS_ENOTFOUND, 404, "ENOTFOUND"},
                {PS_EEXISTS, 409, "EEXISTS"},
                {PS_EFULL, 507, "EFULL"},
                {PS_EPRECONDITION, 409, "EPRECONDITION"},
                {PS_ECHANGED, 412, "ECHANGED"},
                {PS_ENOTPRIMARY, 503, "ENOTPRIMARY"},
                {PS_EDEADLINE, 504, "EDEADLINE"},
                {PS_EDATALOSS, 500, "EDATALOSS"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)rest_fail(&p, rows[i].status, NULL, "d");
        assert_int_equal(rest_problem_http(&p), rows[i].http);
        assert_string_equal(rest_problem_name(&p), rows[i].name);
    }
#define X(name, value, rpc, err, exit_code, http, text)                                                      \
    assert_true((value) == 0 || ((http) >= 400 && (http) < 600));
    PS_STATUS_MAP(X)
#undef X
    struct json_out out = {0};
    static const char *const done[] = {"size", NULL};
    (void)rest_fail(&p, PS_EEXISTS, "name", "\"v\" exists");
    rest_problem_encode(&out, &p, "/x?y", "id-1", done);
    static const char want[] =
        "{\"type\":\"urn:pstorage:problem:EEXISTS\",\"title\":\"already "
        "exists\",\"status\":409,\"detail\":\"\\\"v\\\" exists\","
        "\"instance\":\"/"
        "x?y\",\"code\":\"EEXISTS\",\"argument\":\"name\",\"done\":[\"size\"],\"request_id\":\"id-1\"}";
    assert_int_equal(out.length, sizeof want - 1);
    assert_memory_equal(out.text, want, sizeof want - 1);
    json_out_free(&out);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, teardown)
    const struct CMUnitTest tests[] = {
        TEST(each_operation_is_found_by_its_method_and_path),
        TEST(a_path_gives_its_names_decoded),
        TEST(what_is_not_there_is_told_from_what_is_not_allowed),
        TEST(a_query_is_checked),
        TEST(a_body_gives_its_members),
        TEST(a_wrong_body_is_refused_with_what_would_be_right),
        TEST(the_name_of_a_bad_argument_is_told),
        TEST(a_media_type_is_json_or_what_curl_says_by_itself),
        TEST(if_match_takes_entity_tags),
        TEST(an_idempotency_key_is_short_and_printable),
        TEST(a_target_has_an_end),
        TEST(every_status_has_its_problem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
