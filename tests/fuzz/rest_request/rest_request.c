/* Requests of the REST API: method, target, then headers, one a line, an empty line, and the body. Taken
 * within the bounds of the table, or refused with a problem that is told as one; never anything else. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "node/host/rest/json_read.h"
#include "node/host/rest/rest_access.h"
#include "node/host/rest/rest_page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The line at *at, ended by a NUL; *at goes behind it. */
static char *line(char **at, char *end)
{
    char *start = *at, *stop = memchr(start, '\n', (size_t)(end - start));
    if (!stop)
        stop = end;
    *at = stop < end ? stop + 1 : end;
    *stop = '\0';
    return start;
}

static void check_values(const struct rest_request *r)
{
    for (enum rest_arg arg = 0; arg < REST_ARG_COUNT; arg++)
        assert(!(r->is.given & 1ull << arg) || ((r->route->query | r->route->body) & 1ull << arg) ||
               strchr(r->route->path, '{'));
    if (rest_given(r, REST_BIT(name)))
        assert(strlen(r->is.name) >= 1 && strlen(r->is.name) <= REST_NAME_MAX);
    if (rest_given(r, REST_BIT(id)))
        assert(strlen(r->is.id) >= 1 && strlen(r->is.id) <= REST_ID_MAX);
    if (rest_given(r, REST_BIT(length)))
        assert(r->is.length >= 1 && r->is.length <= REST_IO_MAX);
    if (rest_given(r, REST_BIT(data)))
        assert(r->is.data.length >= 1 && r->is.data.length <= REST_IO_MAX);
    if (rest_given(r, REST_BIT(offset)))
        assert(r->is.offset <= 1ull << 48);
    assert((r->route->required & ~r->is.given) == 0);
}

static void check_page(const struct rest_request *r, struct rest_problem *p)
{
    struct pstorage_info images[3] = {
        {.name = "a", .size_bytes = 3}, {.name = "b", .size_bytes = 1}, {.name = "b@c"}};
    struct rest_page page;
    if (rest_page_images(r, images, 3, &page, p) == 0)
        assert(page.count <= 3 && page.total <= 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *at = text, *end = text + size;
    static struct rest_request r;
    struct rest_problem p = {0};
    struct rest_headers headers = {0};
    struct rest_caller caller = {.listen = "127.0.0.1", .local = size % 2};
    uint8_t hash[TOKEN_HASH_BYTES];
    assert(text);
    memcpy(text, data, size);
    text[size] = '\0';
    const char *method = line(&at, end), *target = line(&at, end);
    for (char *header; *(header = line(&at, end));) {
        char *colon = strchr(header, ':');
        if (!colon)
            continue;
        *colon = '\0';
        const char *value = colon + 1;
        if (strcasecmp(header, "content-type") == 0)
            headers.content_type = value;
        else if (strcasecmp(header, "if-match") == 0)
            headers.if_match = value;
        else if (strcasecmp(header, "idempotency-key") == 0)
            headers.idempotency_key = value;
        else if (strcasecmp(header, "last-event-id") == 0)
            headers.last_event_id = value;
        else if (strcasecmp(header, "origin") == 0)
            caller.origin = value;
        else if (strcasecmp(header, "host") == 0)
            caller.host = value;
        else if (strcasecmp(header, "authorization") == 0)
            (void)rest_bearer_hash(value, hash);
    }
    /* Of its own length, so that a byte too far is noticed. */
    const size_t length = (size_t)(end - at);
    char *body = malloc(length ? length : 1);
    assert(body);
    memcpy(body, at, length);

    int rc = rest_request_begin(&r, method, target, &headers, &p);
    if (rc == 0)
        (void)rest_may(&caller, r.route, &p);
    if (rc == 0)
        rc = rest_request_body(&r, body, length, &p);
    if (rc == 0) {
        check_values(&r);
        check_page(&r, &p);
    } else {
        struct json_out out = {0};
        struct json_member members[JSON_MEMBERS_MAX];
        struct ps_error err;
        size_t count;
        assert(p.detail[0]);
        assert(rest_problem_http(&p) >= 400 && rest_problem_http(&p) < 500);
        rest_problem_encode(&out, &p, target, "id", NULL);
        assert(!out.failed);
        assert(json_read_object(out.text, out.length, members, &count, &err) == 0);
        json_out_free(&out);
    }
    free(body);
    free(text);
    return 0;
}
