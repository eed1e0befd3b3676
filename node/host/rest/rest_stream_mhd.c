#include "node/host/rest/rest_stream_mhd.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container.h"
#include "common/status.h"
#include "node/host/rest/rest_schema.h"

enum {
    ROOM = 64 * 1024,
    BLOCK = 4096
};

struct rest_stream {
    pthread_mutex_t lock;
    struct rest_stream_config config;
    char kind[64];
    struct pstorage_follow follow;
    uint64_t cursor; /* of the last event that was put in */
    bool following;  /* its callback has not run */
    bool full;       /* following ended for want of room */
    bool over;       /* nothing more will come */
    bool gone;       /* the connection is */
    bool suspended;  /* the connection waits for something to send */
    size_t length;
    char text[ROOM]; /* to be sent */
};

static void free_stream(struct rest_stream *s)
{
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Under the lock. */
static void wake(struct rest_stream *s)
{
    if (!s->suspended)
        return;
    s->suspended = false;
    MHD_resume_connection(s->config.connection);
    s->config.wake(s->config.wake_user);
}

/* ---- on libpstorage's thread */

static bool is_wanted(const struct rest_stream *s, const struct pstorage_event *e)
{
    const size_t n = strlen(s->kind);
    if (n == 0)
        return true;
    return s->kind[n - 1] == '.' ? strncmp(e->kind, s->kind, n) == 0 : strcmp(e->kind, s->kind) == 0;
}

static void write_event(struct json_out *out, const struct pstorage_event *e)
{
    text_printf(out, "id: %llu\nevent: %s\ndata: ", (unsigned long long)e->cursor, e->kind);
    rest_encode(out, NULL, &rest_event, e);
    text_put(out, "\n\n");
}

static bool on_event(struct pstorage_follow *follow, const struct pstorage_event *e)
{
    struct rest_stream *s = container_of(follow, struct rest_stream, follow);
    struct json_out text = {0};
    const bool wanted = is_wanted(s, e);
    if (wanted)
        write_event(&text, e);
    (void)pthread_mutex_lock(&s->lock);
    const bool fits = !text.failed && text.length <= ROOM - s->length;
    if (fits && wanted) {
        memcpy(s->text + s->length, text.text, text.length);
        s->length += text.length;
        wake(s);
    }
    if (fits)
        s->cursor = e->cursor;
    const bool goes_on = fits && !s->gone;
    (void)pthread_mutex_unlock(&s->lock);
    json_out_free(&text);
    return goes_on;
}

static void on_end(struct pstorage_request *q, int status)
{
    struct rest_stream *s = q->user;
    (void)pthread_mutex_lock(&s->lock);
    s->following = false;
    s->full = status == PSTORAGE_OK;
    s->over |= status != PSTORAGE_OK;
    wake(s); /* to end, or to go on */
    const bool gone = s->gone;
    (void)pthread_mutex_unlock(&s->lock);
    if (gone)
        free_stream(s);
}

/* ---- on the HTTP server's thread */

/* Under the lock. */
static int follow(struct rest_stream *s, bool from_now)
{
    s->follow = (struct pstorage_follow){
        .after_cursor = s->cursor, .from_now = from_now, .on_event = on_event, .request.user = s};
    s->full = false;
    s->following = true;
    const int rc = pstorage_follow_submit(s->config.client, &s->follow, on_end);
    if (rc) {
        s->following = false;
        s->over = true;
    }
    return rc;
}

static ssize_t take(void *user, uint64_t position, char *to, size_t room)
{
    struct rest_stream *s = user;
    ssize_t n = 0;
    (void)position;
    (void)pthread_mutex_lock(&s->lock);
    if (s->length) {
        n = (ssize_t)(s->length < room ? s->length : room);
        memcpy(to, s->text, (size_t)n);
        s->length -= (size_t)n;
        memmove(s->text, s->text + n, s->length);
    }
    if (s->full && !s->over && s->length < ROOM / 2)
        (void)follow(s, false);
    if (n == 0 && s->over) {
        n = MHD_CONTENT_READER_END_OF_STREAM;
    } else if (n == 0) {
        s->suspended = true;
        MHD_suspend_connection(s->config.connection);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return n;
}

static void response_done(void *user)
{
    struct rest_stream *s = user;
    s->config.closed(s->config.user);
    (void)pthread_mutex_lock(&s->lock);
    s->gone = true;
    s->suspended = false;
    const bool following = s->following;
    if (following)
        pstorage_cancel(s->config.client, &s->follow.request);
    (void)pthread_mutex_unlock(&s->lock);
    if (!following)
        free_stream(s);
}

void rest_stream_beat(struct rest_stream *s)
{
    static const char nothing[] = ":\n\n";
    (void)pthread_mutex_lock(&s->lock);
    if (s->length == 0 && !s->over) {
        memcpy(s->text, nothing, sizeof nothing - 1);
        s->length = sizeof nothing - 1;
    }
    wake(s);
    (void)pthread_mutex_unlock(&s->lock);
}

void rest_stream_finish(struct rest_stream *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->over = true;
    wake(s);
    (void)pthread_mutex_unlock(&s->lock);
}

int rest_stream_start(const struct rest_stream_config *config, struct rest_stream **out,
                      struct MHD_Response **response)
{
    struct rest_stream *s = calloc(1, sizeof *s);
    if (!s)
        return PS_ENOMEM;
    (void)pthread_mutex_init(&s->lock, NULL);
    s->config = *config;
    s->cursor = config->after_cursor;
    if (config->kind)
        (void)snprintf(s->kind, sizeof s->kind, "%s", config->kind);
    s->config.kind = NULL;
    /* Headers leave with the first bytes: at once, not with the first event. */
    static const char first[] = "retry: 1000\n\n";
    memcpy(s->text, first, sizeof first - 1);
    s->length = sizeof first - 1;
    struct MHD_Response *r =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, take, s, response_done);
    if (!r) {
        free_stream(s);
        return PS_ENOMEM;
    }
    (void)pthread_mutex_lock(&s->lock);
    (void)follow(s, config->from_now); /* refused: it ends at once, and its reader comes back */
    (void)pthread_mutex_unlock(&s->lock);
    *out = s;
    *response = r;
    return 0;
}
