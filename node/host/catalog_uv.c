#include "node/host/catalog_uv.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/container.h"
#include "common/log.h"
#include "common/loop_uv.h"
#include "node/host/image_event.h"
#include "node/pod/pod_log.h"

enum {
    NEWS_MAX = 4096,    /* messages waiting for the management thread */
    QUESTIONS_MAX = 16, /* at a time; more wait */
    PIECE_IMAGES = 128,
    ANSWERS_MAX = QUESTIONS_MAX + 8,
    RETRY_MS = 10000,
};

/* One piece of the comparison: all images with names in (after, last]. One is under way at a time. */
struct piece {
    struct mailbox_msg msg;
    char after[POD_FULL_NAME_MAX + 1];
    bool last; /* no upper end */
    struct pod_image_info infos[PIECE_IMAGES];
    size_t count;
    uint64_t log_seq;
    uint8_t pod_id[16];
    int status;
};

/* A question on its way; others wait in the service's queue. */
struct question {
    struct mailbox_msg msg;
    struct catalog_service *service;
    struct event_query *query; /* NULL: free */
    int status;
};

struct catalog_service {
    struct catalog *catalog; /* the management thread's while it runs */
    struct loop_thread *management;
    struct mailbox *answers;
    char pod_name[POD_NAME_MAX + 1];

    /* The reactor's. */
    struct pod *pod;
    bool comparing, compare_again;
    void (*compared)(void *user, int status);
    void *compared_user;
    struct piece piece;
    uv_timer_t retry;
    struct event_source source;
    struct question questions[QUESTIONS_MAX];
    struct event_query *waiting, *waiting_last; /* linked through priv[0] */
    uint64_t events_lost;
    struct token_question {
        struct mailbox_msg msg;
        struct token_change *change; /* NULL: none is under way */
        int status;
    } token;
    void (*stopped)(void *user);
    void *stopped_user;
    bool stopping;

    /* The management thread's. */
    bool complete; /* the comparison ended well: changes move the stamp on */
    bool knows_pod, forgot_pod;
    uint8_t pod_id[16]; /* as written last */

    /* Between the two: set by the management thread, taken by the reactor. */
    struct mailbox_msg notice;
    atomic_bool noticed, written, write_failed;
};

/* ---- on the management thread */

static void notify(struct catalog_service *s)
{
    if (!atomic_exchange(&s->noticed, true)) {
        const int rc = mailbox_post(s->answers, &s->notice);
        assert(rc == 0); /* there is room for every answer that can be due */
        (void)rc;
    }
}

static void answer(struct catalog_service *s, struct mailbox_msg *msg, void (*run)(struct mailbox_msg *msg))
{
    msg->run = run;
    const int rc = mailbox_post(s->answers, msg);
    assert(rc == 0);
    (void)rc;
}

struct event_news {
    struct mailbox_msg msg;
    struct catalog_service *service;
    struct event event;
};

static void write_event(struct mailbox_msg *msg)
{
    struct event_news *n = container_of(msg, struct event_news, msg);
    struct catalog_service *s = n->service;
    if (catalog_add_event(s->catalog, &n->event) == 0)
        atomic_store(&s->written, true);
    free(n);
    notify(s);
}

struct image_news {
    struct mailbox_msg msg;
    struct catalog_service *service;
    uint64_t log_seq, id, time_unix_ns;
    bool gone;
    bool knows_pod;
    uint8_t pod_id[16];
    struct pod_image_info info;
};

/* The pod's truth is in its log; what people are told about it is made of the difference. */
static void tell_change(struct catalog_service *s, const struct pod_image_info *before,
                        const struct image_news *n)
{
    struct event event = {.time_unix_ns = n->time_unix_ns};
    struct pod_image_info origin;
    const struct pod_image_info *after = n->gone ? NULL : &n->info;
    const bool cloned = after && after->origin_id &&
                        catalog_image_by_id(s->catalog, s->pod_name, after->origin_id, &origin) == 0;
    if (!before && !after)
        return;
    if (!image_event_describe(before, after, cloned ? origin.name : NULL, &event))
        return;
    (void)snprintf(event.pod, sizeof event.pod, "%s", s->pod_name);
    if (catalog_add_event(s->catalog, &event) == 0) {
        atomic_store(&s->written, true);
        notify(s);
    }
}

/* Images are never kept beside another pod's id, for by both a start judges whether the flash is the right
 * one: a member's pod may have got another id since the last comparison. While a pod opens its id is not
 * known here; the comparison that follows says it. */
static int keep_pod_id(struct catalog_service *s, const struct image_news *n)
{
    int rc = 0;
    if (!n->knows_pod) {
        if (!s->knows_pod && !s->forgot_pod)
            rc = catalog_forget_pod_id(s->catalog, s->pod_name);
        s->forgot_pod = rc == 0;
        return rc;
    }
    if (s->knows_pod && memcmp(s->pod_id, n->pod_id, sizeof s->pod_id) == 0)
        return 0;
    rc = catalog_set_pod_id(s->catalog, s->pod_name, n->pod_id);
    s->knows_pod = rc == 0;
    memcpy(s->pod_id, n->pod_id, sizeof s->pod_id);
    return rc;
}

static void write_image(struct mailbox_msg *msg)
{
    struct image_news *n = container_of(msg, struct image_news, msg);
    struct catalog_service *s = n->service;
    struct pod_image_info before;
    const bool known = catalog_image_by_id(s->catalog, s->pod_name, n->id, &before) == 0;
    int rc = keep_pod_id(s, n);
    if (rc == 0)
        rc = catalog_put_image(s->catalog, s->pod_name, s->complete ? n->log_seq : 0, n->id,
                               n->gone ? NULL : &n->info);
    if (rc) {
        s->complete = false;
        atomic_store(&s->write_failed, true);
        notify(s);
    } else {
        tell_change(s, known ? &before : NULL, n);
    }
    free(n);
}

static void piece_done(struct mailbox_msg *msg);

static void write_piece(struct mailbox_msg *msg)
{
    struct catalog_service *s = container_of(msg, struct catalog_service, piece.msg);
    struct piece *p = &s->piece;
    s->complete = false;
    p->status = catalog_match_images(s->catalog, s->pod_name, p->after,
                                     p->last ? NULL : p->infos[p->count - 1].name, p->infos, p->count);
    if (p->status == 0 && p->last) {
        p->status = catalog_set_stamp(s->catalog, s->pod_name, p->log_seq);
        if (p->status == 0)
            p->status = catalog_set_pod_id(s->catalog, s->pod_name, p->pod_id);
        s->complete = s->knows_pod = p->status == 0;
        memcpy(s->pod_id, p->pod_id, sizeof s->pod_id);
    }
    answer(s, msg, piece_done);
}

static void question_done(struct mailbox_msg *msg);

static void ask_catalog(struct mailbox_msg *msg)
{
    struct question *q = container_of(msg, struct question, msg);
    q->status = catalog_list_events(q->service->catalog, q->query->after_cursor, q->query->events,
                                    q->query->max, &q->query->count, &q->query->last_cursor);
    answer(q->service, msg, question_done);
}

static void token_done(struct mailbox_msg *msg);

static void write_token(struct mailbox_msg *msg)
{
    struct catalog_service *s = container_of(msg, struct catalog_service, token.msg);
    const struct token_change *change = s->token.change;
    s->token.status = change->gone ? catalog_drop_token(s->catalog, change->token.name)
                                   : catalog_put_token(s->catalog, &change->token);
    answer(s, msg, token_done);
}

/* ---- on the reactor's thread */

static void compare_retry(uv_timer_t *timer);

static void retry_later(struct catalog_service *s)
{
    if (!s->stopping && !uv_is_active((uv_handle_t *)&s->retry)) {
        (void)uv_timer_start(&s->retry, compare_retry, RETRY_MS, 0);
    }
}

/* Sends the oldest question that waits, if it may go. */
static void ask_next(struct catalog_service *s)
{
    struct question *q = s->questions;
    while (q < s->questions + QUESTIONS_MAX && q->query)
        q++;
    if (q == s->questions + QUESTIONS_MAX || !s->waiting)
        return;
    q->query = s->waiting;
    q->service = s;
    q->msg.run = ask_catalog;
    if (loop_thread_post(s->management, &q->msg)) {
        /* Behind with news: the next answer, or the next question, tries again. */
        q->query = NULL;
        retry_later(s);
        return;
    }
    s->waiting = q->query->priv[0];
}

static void question_done(struct mailbox_msg *msg)
{
    struct question *q = container_of(msg, struct question, msg);
    struct event_query *query = q->query;
    const int status = q->status;
    q->query = NULL;
    /* May send the next question in this place: from then on it is the management thread's. */
    if (!q->service->stopping)
        ask_next(q->service);
    query->cb(query, status);
}

static int list_events(struct event_source *source, struct event_query *query)
{
    struct catalog_service *s = container_of(source, struct catalog_service, source);
    if (s->stopping)
        return PS_EUNAVAILABLE;
    query->priv[0] = NULL;
    if (s->waiting)
        s->waiting_last->priv[0] = query;
    else
        s->waiting = query;
    s->waiting_last = query;
    ask_next(s);
    return 0;
}

static void take_notice(struct mailbox_msg *msg)
{
    struct catalog_service *s = container_of(msg, struct catalog_service, notice);
    atomic_store(&s->noticed, false);
    if (atomic_exchange(&s->write_failed, false))
        retry_later(s);
    if (atomic_exchange(&s->written, false))
        event_source_changed(&s->source);
}

static void lost_event(struct catalog_service *s)
{
    s->events_lost++;
    log_warn("catalog", "events are lost: the catalog is behind", LOG_U("lost", s->events_lost));
}

static void send_event(struct catalog_service *s, const char *pod, const char *kind, uint64_t image_id,
                       const char *text)
{
    struct event_news *n = malloc(sizeof *n);
    if (!n) {
        lost_event(s);
        return;
    }
    *n = (struct event_news){.msg.run = write_event,
                             .service = s,
                             .event = {.time_unix_ns = clock_unix_ns(), .image_id = image_id}};
    (void)snprintf(n->event.pod, sizeof n->event.pod, "%s", pod);
    (void)snprintf(n->event.kind, sizeof n->event.kind, "%s", kind);
    (void)snprintf(n->event.text, sizeof n->event.text, "%s", text);
    if (loop_thread_post(s->management, &n->msg)) {
        free(n);
        lost_event(s);
    }
}

void catalog_service_pod_event(void *user, const char *kind, uint64_t image_id, const char *text)
{
    struct catalog_service *s = user;
    log_info("pod", text, LOG_S("kind", kind), LOG_S("pod", s->pod_name), LOG_U("image_id", image_id));
    send_event(s, s->pod_name, kind, image_id, text);
}

void catalog_service_node_event(struct catalog_service *s, const char *kind, const char *text)
{
    send_event(s, "", kind, 0, text);
}

void catalog_service_image_changed(void *user, uint64_t log_seq, uint64_t image_id,
                                   const struct pod_image_info *info)
{
    struct catalog_service *s = user;
    struct image_news *n = malloc(sizeof *n);
    if (n) {
        *n = (struct image_news){.msg.run = write_image,
                                 .service = s,
                                 .log_seq = log_seq,
                                 .id = image_id,
                                 .time_unix_ns = clock_unix_ns(),
                                 .gone = !info || info->name[0] == '\0'};
        if (!n->gone)
            n->info = *info;
        if (s->pod) {
            struct pod_log_identity id;
            pod_log_identity(s->pod, &id);
            memcpy(n->pod_id, id.pod, sizeof n->pod_id);
            n->knows_pod = true;
        }
        if (loop_thread_post(s->management, &n->msg) == 0)
            return;
        free(n);
    }
    retry_later(s);
}

/* ---- tokens */

static void token_done(struct mailbox_msg *msg)
{
    struct catalog_service *s = container_of(msg, struct catalog_service, token.msg);
    struct token_change *change = s->token.change;
    s->token.change = NULL;
    change->done(change, s->token.status);
}

int catalog_service_token(struct catalog_service *s, struct token_change *change)
{
    if (s->stopping)
        return PS_EUNAVAILABLE;
    if (s->token.change)
        return PS_ELIMIT;
    s->token.change = change;
    s->token.msg.run = write_token;
    const int rc = loop_thread_post(s->management, &s->token.msg);
    if (rc)
        s->token.change = NULL;
    return rc;
}

/* ---- comparison */

static void compare_end(struct catalog_service *s, int status)
{
    s->comparing = false;
    if (status) {
        log_warn("catalog", "catalog is not up to date, trying again later",
                 LOG_S("status", ps_status_name(status)));
        retry_later(s);
    } else if (s->compare_again && s->pod) {
        s->compare_again = false;
        retry_later(s);
    }
    void (*compared)(void *, int) = s->compared;
    s->compared = NULL;
    if (compared)
        compared(s->compared_user, status);
}

static void compare_next(struct catalog_service *s)
{
    struct piece *p = &s->piece;
    const char *after = p->after;
    for (p->count = 0; p->count < PIECE_IMAGES; p->count++) {
        if (pod_image_after(s->pod, after, &p->infos[p->count]))
            break;
        after = p->infos[p->count].name;
    }
    p->last = p->count < PIECE_IMAGES;
    if (p->last) {
        struct pod_stats stats;
        struct pod_log_identity id;
        pod_stats(s->pod, &stats);
        pod_log_identity(s->pod, &id);
        p->log_seq = stats.log_seq;
        memcpy(p->pod_id, id.pod, sizeof p->pod_id);
    }
    p->msg.run = write_piece;
    const int rc = loop_thread_post(s->management, &p->msg);
    if (rc)
        compare_end(s, rc);
}

static void piece_done(struct mailbox_msg *msg)
{
    struct catalog_service *s = container_of(msg, struct catalog_service, piece.msg);
    struct piece *p = &s->piece;
    if (p->status || p->last || !s->pod) {
        compare_end(s, p->status ? p->status : p->last ? 0 : PS_ECANCELLED);
        return;
    }
    memcpy(p->after, p->infos[p->count - 1].name, sizeof p->after);
    compare_next(s);
}

static void compare_start(struct catalog_service *s)
{
    if (s->comparing) {
        s->compare_again = true;
        return;
    }
    s->comparing = true;
    s->piece.after[0] = '\0';
    compare_next(s);
}

static void compare_retry(uv_timer_t *timer)
{
    struct catalog_service *s = timer->data;
    ask_next(s);
    if (s->pod && !s->stopping)
        compare_start(s);
}

void catalog_service_attach(struct catalog_service *s, struct pod *pod, void (*done)(void *user, int status),
                            void *user)
{
    assert(!s->pod && !s->comparing);
    s->pod = pod;
    s->compared = done;
    s->compared_user = user;
    compare_start(s);
}

void catalog_service_detach(struct catalog_service *s)
{
    s->pod = NULL;
    (void)uv_timer_stop(&s->retry);
}

/* ---- questions, life */

struct event_source *catalog_service_events(struct catalog_service *s)
{
    return &s->source;
}

struct loop_thread *catalog_service_management(struct catalog_service *s)
{
    return s->management;
}

static void free_mailbox(void *user)
{
    mailbox_free(user);
}

int catalog_service_start(uv_loop_t *loop, struct catalog *catalog, const char *pod_name,
                          struct catalog_service **out)
{
    struct catalog_service *s = calloc(1, sizeof *s);
    int rc = s ? mailbox_create(loop, ANSWERS_MAX, &s->answers) : PS_ENOMEM;
    if (rc == 0) {
        rc = loop_thread_start("management", NEWS_MAX, &s->management);
        if (rc)
            mailbox_close(s->answers, free_mailbox, s->answers);
    }
    if (rc) {
        catalog_close(catalog);
        free(s);
        return rc;
    }
    s->catalog = catalog;
    (void)snprintf(s->pod_name, sizeof s->pod_name, "%s", pod_name);
    s->notice.run = take_notice;
    event_source_init(&s->source, list_events);
    (void)uv_timer_init(loop, &s->retry);
    uv_unref((uv_handle_t *)&s->retry);
    s->retry.data = s;
    *out = s;
    return 0;
}

static void all_closed(uv_handle_t *handle)
{
    struct catalog_service *s = handle->data;
    void (*stopped)(void *) = s->stopped;
    void *user = s->stopped_user;
    mailbox_free(s->answers);
    catalog_close(s->catalog);
    free(s);
    if (stopped)
        stopped(user);
}

static void answers_closed(void *user)
{
    struct catalog_service *s = user;
    for (struct event_query *query; (query = s->waiting);) {
        s->waiting = query->priv[0];
        query->cb(query, PS_EUNAVAILABLE);
    }
    uv_close((uv_handle_t *)&s->retry, all_closed);
}

void catalog_service_stop(struct catalog_service *s, void (*stopped)(void *user), void *user)
{
    assert(!s->pod && !s->stopping);
    s->stopping = true;
    s->stopped = stopped;
    s->stopped_user = user;
    (void)uv_timer_stop(&s->retry);
    /* Waits for what was told before, a few commits; answers stay in their mailbox and are run by its
     * closing. */
    loop_thread_stop(s->management);
    mailbox_close(s->answers, answers_closed, s);
}
