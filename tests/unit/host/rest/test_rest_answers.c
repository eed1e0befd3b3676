/* Pages, figures, access, and the OpenAPI document against the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/host/rest/rest_access.h"
#include "node/host/rest/rest_openapi.h"
#include "node/host/rest/rest_page.h"
#include "node/host/rest/rest_prometheus.h"

/* ---- pages */

enum {
    IMAGES = 7
};

static struct rest_request request(const char *target)
{
    static const struct rest_headers none;
    static struct rest_request r;
    struct rest_problem p;
    assert_int_equal(rest_request_begin(&r, "GET", target, &none, &p), 0);
    return r;
}

/* v0 to v6 by name; sizes 3, 1, 3, 2, 3, 1, 9. */
static void fill(struct pstorage_info images[IMAGES])
{
    static const uint64_t sizes[] = {3, 1, 3, 2, 3, 1, 9};
    memset(images, 0, IMAGES * sizeof images[0]);
    for (int i = 0; i < IMAGES; i++) {
        images[i].size_bytes = sizes[i];
        (void)snprintf(images[i].name, sizeof images[i].name, "v%d", i);
    }
}

/* Names on all pages, one after the other, with the parameters given. */
static void walk(const char *parameters, const char *want)
{
    char got[64] = "", cursor[REST_CURSOR_MAX] = "";
    struct pstorage_info images[IMAGES];
    struct rest_problem p;
    do {
        char target[1024];
        struct rest_page page;
        (void)snprintf(target, sizeof target, "/api/v1/volumes?%s%s%s", parameters,
                       cursor[0] ? "&cursor=" : "", cursor);
        static struct rest_request r;
        static const struct rest_headers none;
        assert_int_equal(rest_request_begin(&r, "GET", target, &none, &p), 0);
        fill(images);
        assert_int_equal(rest_page_images(&r, images, IMAGES, &page, &p), 0);
        for (size_t i = 0; i < page.count; i++)
            (void)strcat(got, ((const struct pstorage_info *)page.items)[i].name + 1);
        memcpy(cursor, page.next_cursor, sizeof cursor);
    } while (cursor[0]);
    assert_string_equal(got, want);
}

static void pages_show_each_image_once_in_the_order_asked_for(void **state)
{
    (void)state;
    walk("limit=100", "0123456");
    walk("limit=1", "0123456");
    walk("limit=3", "0123456");
    walk("limit=2&sort=-name", "6543210");
    walk("limit=2&sort=size_bytes", "1530246");
    walk("limit=3&sort=-size_bytes", "6420351");
    walk("limit=2&min_size_bytes=2&max_size_bytes=3", "0234");
    walk("limit=2&prefix=v6", "6");
    walk("limit=2&prefix=x", "");
}

static void a_cursor_outlives_its_image_and_is_bound_to_its_order(void **state)
{
    (void)state;
    struct pstorage_info images[IMAGES];
    struct rest_page page;
    struct rest_problem p;
    fill(images);
    static struct rest_request r;
    r = request("/api/v1/volumes?limit=2&cursor=name:0:v2x");
    assert_int_equal(rest_page_images(&r, images, IMAGES, &page, &p), 0);
    assert_string_equal(((const struct pstorage_info *)page.items)[0].name, "v3");
    assert_int_equal(page.total, IMAGES);
    static const char *const bad[] = {"size_bytes:1:v1", "name", "name:", "name:x:v", "name:1", "abc"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char target[128];
        (void)snprintf(target, sizeof target, "/api/v1/volumes?cursor=%s", bad[i]);
        static const struct rest_headers none;
        assert_int_equal(rest_request_begin(&r, "GET", target, &none, &p), 0);
        assert_int_equal(rest_page_images(&r, images, IMAGES, &page, &p), -1);
        assert_string_equal(p.argument, "cursor");
    }
    r = request("/api/v1/volumes");
    assert_int_equal(rest_page_images(&r, NULL, 0, &page, &p), 0);
    assert_int_equal(page.count, 0);
}

/* ---- access */

static const struct rest_route *route_of(const char *name)
{
    size_t i = 0;
    while (strcmp(rest_routes[i].name, name) != 0)
        i++;
    return &rest_routes[i];
}

static int may(const struct rest_caller *caller, const char *name)
{
    struct rest_problem p = {0};
    return rest_may(caller, route_of(name), &p) ? rest_problem_http(&p) : 200;
}

static void without_a_token_only_this_machine_changes_anything(void **state)
{
    (void)state;
    struct rest_caller c = {.listen = "127.0.0.1", .host = "127.0.0.1:8000", .local = true};
    assert_int_equal(may(&c, "createVolume"), 200);
    assert_int_equal(may(&c, "promote"), 200);
    c.local = false;
    assert_int_equal(may(&c, "listVolumes"), 200);
    assert_int_equal(may(&c, "createVolume"), 401);
    assert_int_equal(may(&c, "readVolume"), 401);
}

/* Also of operations that are added: who may only look, or has no token, gets nowhere else. */
static void nothing_but_get_is_open_to_readers(void **state)
{
    (void)state;
    struct token reader = {.name = "r", .role = REST_ROLE_READ_ONLY};
    const struct rest_caller stranger = {.listen = "", .host = "localhost"};
    const struct rest_caller with = {
        .listen = "", .host = "localhost", .local = true, .authorization = "Bearer x", .token = &reader};
    for (size_t i = 0; i < rest_route_count; i++) {
        const struct rest_route *route = &rest_routes[i];
        const bool gets = strcmp(route->method, "GET") == 0;
        assert_int_equal(may(&stranger, route->name), gets ? 200 : 401);
        assert_int_equal(may(&with, route->name), gets ? 200 : 403);
        assert_true(gets || !(route->flags & REST_OPEN));
    }
}

static void a_page_from_elsewhere_changes_nothing(void **state)
{
    (void)state;
    struct rest_caller c = {
        .listen = "10.0.0.1", .host = "localhost:8000", .local = true, .origin = "http://evil.example"};
    assert_int_equal(may(&c, "createVolume"), 403);
    assert_int_equal(may(&c, "listVolumes"), 200);
    c.origin = "null";
    assert_int_equal(may(&c, "createVolume"), 403);
    c.origin = "http://localhost:8000";
    assert_int_equal(may(&c, "createVolume"), 200);
    c.origin = NULL;
    static const char *const own[] = {"127.0.0.1", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST",
                                      "10.0.0.1:8000"};
    static const char *const others[] = {"evil.example", "127.evil.example", "localhost.evil.example:8000",
                                         "[::2]", ""};
    for (size_t i = 0; i < 5; i++) {
        c.host = own[i];
        assert_int_equal(may(&c, "createVolume"), 200);
        c.host = others[i];
        assert_int_equal(may(&c, "createVolume"), 403);
    }
}

static void a_token_gives_its_role_and_a_wrong_one_nothing(void **state)
{
    (void)state;
    struct token token = {.name = "t"};
    struct rest_caller c = {.local = true, .authorization = "Bearer x", .host = "evil.example", .listen = ""};
    assert_int_equal(may(&c, "listVolumes"), 401);
    c.token = &token;
    static const int want[][3] = {{200, 403, 403}, {200, 200, 403}, {200, 200, 200}};
    for (uint32_t role = 1; role <= 3; role++) {
        token.role = role;
        assert_int_equal(may(&c, "listVolumes"), want[role - 1][0]);
        assert_int_equal(may(&c, "createVolume"), want[role - 1][1]);
        assert_int_equal(may(&c, "promote"), want[role - 1][2]);
    }
    uint8_t a[TOKEN_HASH_BYTES], b[TOKEN_HASH_BYTES];
    assert_true(rest_bearer_hash("bearer  abc", a) && rest_bearer_hash("Bearer abc", b));
    assert_memory_equal(a, b, sizeof a);
    assert_int_equal(a[0], 0xba); /* SHA-256("abc") */
    assert_false(rest_bearer_hash("Basic abc", a));
    assert_false(rest_bearer_hash("Bearer ", a));
}

static void this_machine_is_told_by_its_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool local;
    } rows[] = {{"127.0.0.1", true},        {"127.9.9.9", true},        {"10.0.0.1", false}, {"::1", true},
                {"::ffff:127.0.0.1", true}, {"::ffff:10.0.0.1", false}, {"fe80::1", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sockaddr_in in = {.sin_family = AF_INET};
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
        if (inet_pton(AF_INET, rows[i].address, &in.sin_addr) == 1)
            assert_int_equal(rest_is_local((const struct sockaddr *)&in), rows[i].local);
        else if (inet_pton(AF_INET6, rows[i].address, &in6.sin6_addr) == 1)
            assert_int_equal(rest_is_local((const struct sockaddr *)&in6), rows[i].local);
    }
}

static void an_operation_id_is_of_caller_key_method_and_path(void **state)
{
    (void)state;
    uint8_t id[5][16];
    rest_operation_id("local", "POST", "/v", "k", id[0]);
    rest_operation_id("token:a", "POST", "/v", "k", id[1]);
    rest_operation_id("local", "POST", "/v", "k2", id[2]);
    rest_operation_id("local", "POST", "/vk", "", id[3]);
    rest_operation_id("local", "POST", "/v", "k", id[4]);
    assert_memory_equal(id[0], id[4], 16);
    for (int i = 1; i < 4; i++)
        assert_memory_not_equal(id[0], id[i], 16);
}

/* ---- documents */

static char *text_of(struct json_out *out)
{
    char *text = calloc(1, out->length + 1);
    assert_false(out->failed);
    memcpy(text, out->text, out->length);
    json_out_free(out);
    return text;
}

static void follow_references(const cJSON *doc, const cJSON *node)
{
    for (const cJSON *child = node ? node->child : NULL; child; child = child->next) {
        if (child->string && strcmp(child->string, "$ref") == 0) {
            char path[200];
            (void)snprintf(path, sizeof path, "%s", child->valuestring);
            const cJSON *at = doc;
            for (char *part = strtok(path + 2, "/"); part; part = strtok(NULL, "/"))
                at = cJSON_GetObjectItemCaseSensitive(at, part);
            if (!at)
                fail_msg("nothing at %s", child->valuestring);
        }
        follow_references(doc, child);
    }
}

static void the_document_has_every_operation_and_nothing_else(void **state)
{
    (void)state;
    struct json_out out = {0};
    rest_openapi(&out);
    char *text = text_of(&out);
    cJSON *doc = cJSON_Parse(text);
    assert_non_null(doc);
    const cJSON *paths = cJSON_GetObjectItem(doc, "paths");
    size_t operations = 0;
    for (const cJSON *path = paths->child; path; path = path->next)
        operations += (size_t)cJSON_GetArraySize(path);
    assert_int_equal(operations, rest_route_count);
    for (size_t i = 0; i < rest_route_count; i++) {
        const struct rest_route *route = &rest_routes[i];
        char method[16] = "";
        for (size_t k = 0; route->method[k]; k++)
            method[k] = (char)(route->method[k] | 0x20);
        const cJSON *operation =
            cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(paths, route->path), method);
        assert_non_null(operation);
        assert_string_equal(cJSON_GetObjectItem(operation, "operationId")->valuestring, route->name);
        assert_int_equal(cJSON_GetObjectItem(operation, "requestBody") != NULL, route->body != 0);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(rest_routes[k].name, route->name);
        /* Every brace of the path is a parameter. */
        size_t braces = 0, in_path = 0;
        for (const char *c = route->path; *c; c++)
            braces += *c == '{';
        const cJSON *parameter;
        cJSON_ArrayForEach(parameter, cJSON_GetObjectItem(operation, "parameters"))
        {
            const cJSON *in = cJSON_GetObjectItem(parameter, "in");
            in_path += in && strcmp(in->valuestring, "path") == 0;
        }
        assert_int_equal(braces, in_path);
    }
    follow_references(doc, doc);
    cJSON_Delete(doc);
    free(text);
}

static void every_answer_has_the_members_of_its_schema(void **state)
{
    (void)state;
    static const uint8_t zeroes[64 * 1024];
    for (size_t i = 0; rest_schemas[i]; i++) {
        const struct rest_schema *s = rest_schemas[i];
        bool words = false;
        for (size_t k = 0; k < s->count; k++)
            words |= s->fields[k].type == REST_WORD ||
                     (s->fields[k].type == REST_OBJECT && s->fields[k].offset == 0 &&
                      s->fields[k].of->fields[0].type == REST_WORD);
        assert_true(s->size <= sizeof zeroes);
        if (words)
            continue; /* 0 is none of them */
        struct json_out out = {0};
        rest_encode(&out, NULL, s, zeroes);
        char *text = text_of(&out);
        cJSON *object = cJSON_Parse(text);
        assert_non_null(object);
        assert_int_equal(cJSON_GetArraySize(object), s->count);
        for (size_t k = 0; k < s->count; k++)
            assert_non_null(cJSON_GetObjectItemCaseSensitive(object, s->fields[k].name));
        cJSON_Delete(object);
        free(text);
    }
}

static void prometheus_text_keeps_its_form(void **state)
{
    (void)state;
    static struct pstorage_pod pod = {
        .name = "a\"b\\c\nd", .state = PSTORAGE_POD_ONLINE, .free_bytes = UINT64_MAX};
    static struct pstorage_device device = {.name = "flash0"};
    static struct pstorage_info volume = {
        .name = "v", .pod = "p", .size_bytes = 4096, .activity = {.writes = 3}};
    static struct pstorage_pod_view view = {
        .name = "p",
        .nmembers = 2,
        .slowed_permille = 50,
        .members = {
            {.node = "n1", .role = PSTORAGE_ROLE_PRIMARY, .known = true},
            {.node = "n2", .role = PSTORAGE_ROLE_BEHIND, .known = true, .lag_ms = 1500, .lag_bytes = 7}}};
    const struct pstorage_report report = {
        .pods = &pod, .npods = 1, .devices = &device, .ndevices = 1, .node = {.name = "n1"}};
    const struct rest_counts counts = {.requests = {1, 0, 2, 3, 4, 5}};
    /* 3 below 16 us, 5 of up to 64, 1 of more than 4.2 s; a whole second and a bit altogether. */
    static struct pstorage_volume_latency latency = {
        .name = "v",
        .pod = "p",
        .operations[PSTORAGE_OPERATION_FLUSH] = {.sum_ns = 1000000070,
                                                 .counts = {[2] = 3, [5] = 4, [6] = 1, [23] = 1}}};
    static struct pstorage_health health = {.count = 3,
                                            .items = {{.name = "flash0", .score = 100},
                                                      {.name = "nvme0",
                                                       .score = 60,
                                                       .smart_known = true,
                                                       .used_percent = 81,
                                                       .celsius_known = true,
                                                       .celsius = 36.85,
                                                       .media_errors = 7},
                                                      {.name = "sim0", .score = 90, .smart_known = true}}};
    const struct rest_figures figures = {.report = &report,
                                         .view = &view,
                                         .volumes = &volume,
                                         .nvolumes = 1,
                                         .latencies = &latency,
                                         .health = &health,
                                         .nlatencies = 1,
                                         .counts = &counts};
    struct json_out out = {0};
    rest_prometheus(&out, &figures);
    char *text = text_of(&out);
    assert_non_null(strstr(text, "pstorage_pod_free_bytes{pod=\"a\\\"b\\\\c\\nd\"} 18446744073709551615\n"));
    assert_non_null(strstr(text, "pstorage_replication_lag_seconds{pod=\"p\",node=\"n2\"} 1.500\n"));
    assert_non_null(strstr(text, "pstorage_replication_lag_bytes{pod=\"p\",node=\"n2\"} 7\n"));
    assert_non_null(strstr(text, "pstorage_replication_member_in_sync{pod=\"p\",node=\"n2\"} 0\n"));
    assert_non_null(strstr(text, "pstorage_pod_slowed_ratio{pod=\"p\"} 0.050\n"));
    assert_non_null(strstr(text, "pstorage_volume_size_bytes{pod=\"p\",volume=\"v\"} 4096\n"));
    assert_non_null(strstr(text, "pstorage_http_requests_total{status=\"4xx\"} 4\n"));
    assert_non_null(strstr(text, "pstorage_device_health_score{device=\"flash0\"} 100\n"));
    assert_non_null(strstr(text, "pstorage_device_life_used_ratio{device=\"nvme0\"} 0.81\n"));
    assert_non_null(strstr(text, "pstorage_device_temperature_celsius{device=\"nvme0\"} 36.85\n"));
    assert_non_null(strstr(text, "pstorage_device_media_errors_total{device=\"nvme0\"} 7\n"));
    assert_null(strstr(text, "pstorage_device_temperature_celsius{device=\"flash0\"}"));
    assert_non_null(strstr(text, "pstorage_device_life_used_ratio{device=\"sim0\"} 0\n"));
    assert_null(strstr(text, "pstorage_device_temperature_celsius{device=\"sim0\"}")); /* no thermometer */
#define FLUSH(part, more)                                                                                    \
    "pstorage_volume_operation_duration_seconds_" part "{pod=\"p\",volume=\"v\",operation=\"flush\"" more
    assert_non_null(strstr(text, FLUSH("bucket", ",le=\"0.000016\"} 3\n")));
    assert_non_null(strstr(text, FLUSH("bucket", ",le=\"0.000064\"} 8\n")));
    assert_non_null(strstr(text, FLUSH("bucket", ",le=\"4.194304\"} 8\n")));
    assert_non_null(strstr(text, FLUSH("bucket", ",le=\"+Inf\"} 9\n")));
    assert_non_null(strstr(text, FLUSH("sum", "} 1.000000070\n")));
    assert_non_null(strstr(text, FLUSH("count", "} 9\n")));
    assert_null(strstr(text, "operation=\"read\""));
    /* One HELP and TYPE before the samples of a name; counters end in _total, other names don't. */
    char family[128] = "", seen[32768] = "";
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char name[128], type[32];
        if (sscanf(line, "# TYPE %127s %31s", name, type) == 2) {
            assert_string_equal(name, family);
            const size_t n = strlen(name);
            assert_int_equal(n > 6 && strcmp(name + n - 6, "_total") == 0, strcmp(type, "counter") == 0);
        } else if (sscanf(line, "# HELP %127s", name) == 1) {
            char mark[140];
            (void)snprintf(mark, sizeof mark, " %s ", name);
            assert_null(strstr(seen, mark));
            (void)strcat(seen, mark);
            memcpy(family, name, sizeof family);
            assert_int_equal(line[strlen(line) - 1], '.');
        } else {
            assert_int_equal(strncmp(line, family, strlen(family)), 0);
        }
    }
    /* Without a primary, and without anything: still a text. */
    const struct pstorage_report empty = {.npods = 0};
    const struct rest_figures none = {.report = &empty, .counts = &counts};
    rest_prometheus(&out, &none);
    free(text_of(&out));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_show_each_image_once_in_the_order_asked_for),
        cmocka_unit_test(a_cursor_outlives_its_image_and_is_bound_to_its_order),
        cmocka_unit_test(without_a_token_only_this_machine_changes_anything),
        cmocka_unit_test(nothing_but_get_is_open_to_readers),
        cmocka_unit_test(a_page_from_elsewhere_changes_nothing),
        cmocka_unit_test(a_token_gives_its_role_and_a_wrong_one_nothing),
        cmocka_unit_test(this_machine_is_told_by_its_addresses),
        cmocka_unit_test(an_operation_id_is_of_caller_key_method_and_path),
        cmocka_unit_test(the_document_has_every_operation_and_nothing_else),
        cmocka_unit_test(every_answer_has_the_members_of_its_schema),
        cmocka_unit_test(prometheus_text_keeps_its_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
