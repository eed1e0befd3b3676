#include "client/lib/endpoints.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define MS            1000000ull
#define PAUSE_FIRST   (100 * MS)
#define PAUSE_LONGEST (1000 * MS)

static const char blanks[] = " \t\r\n";

static int check_url(const char *url, size_t length, struct ps_error *err)
{
    const int shown = length < 80 ? (int)length : 80;
    if (length > ENDPOINT_URL_MAX)
        return ps_error_set(err, PS_EINVAL, "endpoint \"%.*s...\" is too long", shown, url);
    if (length > 6 && strncmp(url, "ipc://", 6) == 0)
        return 0;
    if (length < 6 || strncmp(url, "tcp://", 6) != 0)
        return ps_error_set(err, PS_EINVAL, "\"%.*s\" is no endpoint: write tcp://HOST:PORT or ipc://PATH",
                            shown, url);
    size_t digits = 0;
    unsigned port = 0;
    while (digits < length && url[length - digits - 1] >= '0' && url[length - digits - 1] <= '9')
        digits++;
    for (size_t i = length - digits; i < length && port <= 65535; i++)
        port = port * 10 + (unsigned)(url[i] - '0');
    if (digits == 0 || port == 0 || port > 65535 || length < 6 + 1 + 1 + digits ||
        url[length - digits - 1] != ':')
        return ps_error_set(err, PS_EINVAL,
                            "endpoint \"%.*s\" needs a host and a port, like tcp://127.0.0.1:9500", shown,
                            url);
    return 0;
}

int endpoints_parse(struct endpoints *e, const char *text, uint64_t patience_ns, struct ps_error *err)
{
    *e = (struct endpoints){.patience_ns = patience_ns};
    for (;;) {
        text += strspn(text, blanks);
        const size_t length = strcspn(text, blanks);
        if (length == 0)
            break;
        if (e->count == ENDPOINTS_MAX)
            return ps_error_set(err, PS_EINVAL, "more than %d endpoints", ENDPOINTS_MAX);
        const int rc = check_url(text, length, err);
        if (rc)
            return rc;
        memcpy(e->urls[e->count], text, length);
        e->urls[e->count++][length] = '\0';
        text += length;
    }
    return e->count ? 0 : ps_error_set(err, PS_EINVAL, "no endpoint is given");
}

uint64_t endpoints_wanted(struct endpoints *e, uint64_t now_ns)
{
    if (!e->searching) {
        e->searching = true;
        e->failed = e->refused = 0;
        e->since_ns = now_ns;
        e->pause_ns = PAUSE_FIRST;
    }
    return e->not_before_ns;
}

const char *endpoints_url(const struct endpoints *e)
{
    return e->urls[e->current];
}

void endpoints_up(struct endpoints *e)
{
    e->searching = false;
    e->not_before_ns = 0;
}

bool endpoints_failed(struct endpoints *e, uint64_t now_ns, bool refused)
{
    if (!e->searching)
        return false; /* it was up: the search begins with it */
    e->current = (e->current + 1) % e->count;
    e->refused += refused;
    if (++e->failed < e->count)
        return false;
    const bool hopeless = e->refused == e->count;
    e->failed = e->refused = 0;
    if (hopeless || now_ns - e->since_ns >= e->patience_ns) {
        e->searching = false;
        return true;
    }
    e->not_before_ns = now_ns + e->pause_ns;
    e->pause_ns = 2 * e->pause_ns < PAUSE_LONGEST ? 2 * e->pause_ns : PAUSE_LONGEST;
    return false;
}

bool endpoints_elsewhere(struct endpoints *e, uint64_t now_ns)
{
    if (e->count == 1)
        return true;
    if (e->others == 0 && e->others_pause_ns == 0) {
        e->others_since_ns = now_ns;
        e->others_pause_ns = PAUSE_FIRST;
    }
    e->current = (e->current + 1) % e->count;
    e->searching = false;
    if (++e->others < e->count)
        return false;
    e->others = 0;
    if (now_ns - e->others_since_ns >= e->patience_ns) {
        e->others_pause_ns = 0;
        return true;
    }
    e->not_before_ns = now_ns + e->others_pause_ns;
    e->others_pause_ns = 2 * e->others_pause_ns < PAUSE_LONGEST ? 2 * e->others_pause_ns : PAUSE_LONGEST;
    return false;
}

void endpoints_primary(struct endpoints *e)
{
    e->others = 0;
    e->others_pause_ns = 0;
}
