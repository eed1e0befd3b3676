/* Events: see proto/pstorage/v1/events.proto.
 *
 * A stream pulls: it asks the source for the events after its cursor, sends
 * them as far as the connection takes them, and asks again when all were sent or when
 * the source says that there are more. Nothing is queued for a reader who is slow. */
#include <assert.h>
#include <stdlib.h>

#include "common/rpc/message.h"
#include "node/host/services_impl.h"
#include "pstorage/v1/events.pb-c.h"

enum {
    FOLLOW_AT_ONCE = 32
};

static uint64_t cursor_from(uint64_t asked)
{
    return asked < INT64_MAX ? asked : INT64_MAX;
}

/* `event` stays as long as the message is used. */
static void fill(Pstorage__V1__Event *out, struct event *event)
{
    pstorage__v1__event__init(out);
    rpc_utf8_repair(event->kind);
    rpc_utf8_repair(event->pod);
    rpc_utf8_repair(event->text);
    out->cursor = event->cursor;
    out->time_unix_ns = event->time_unix_ns;
    out->image_id = event->image_id;
    out->kind = event->kind;
    out->pod = event->pod;
    out->text = event->text;
}

/* ---- List */

struct listing {
    struct event_query query;
    struct services *services;
    struct rpc_call *call;
    struct event *events;
    Pstorage__V1__Event *rows, **pointers;
};

static void free_listing(struct listing *l)
{
    free(l->events);
    free(l->rows);
    free(l->pointers);
    free(l);
}

static void listed(struct event_query *query, int status)
{
    struct listing *l = container_of(query, struct listing, query);
    l->services->queries--;
    if (status) {
        rpc_call_fail(l->call, status, NULL);
    } else {
        assert(query->count <= query->max);
        for (size_t i = 0; i < query->count; i++) {
            fill(&l->rows[i], &l->events[i]);
            l->pointers[i] = &l->rows[i];
        }
        Pstorage__V1__ListEventsResponse response = PSTORAGE__V1__LIST_EVENTS_RESPONSE__INIT;
        response.events = l->pointers;
        response.n_events = query->count;
        response.last_cursor = query->last_cursor;
        rpc_call_reply(l->call, &response.base);
    }
    free_listing(l);
}

static void list(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct services *s = user;
    const Pstorage__V1__ListEventsRequest *request = (const void *)message;
    size_t max = request->limit ? request->limit : SERVICES_PAGE_DEFAULT;
    max = max < SERVICES_PAGE_MAX ? max : SERVICES_PAGE_MAX;
    struct listing *l = calloc(1, sizeof *l);
    if (l) {
        l->events = calloc(max, sizeof *l->events);
        l->rows = calloc(max, sizeof *l->rows);
        l->pointers = calloc(max, sizeof *l->pointers);
    }
    if (!l || !l->events || !l->rows || !l->pointers) {
        if (l)
            free_listing(l);
        rpc_call_fail(call, PS_ENOMEM, NULL);
        return;
    }
    l->services = s;
    l->call = call;
    l->query = (struct event_query){
        .after_cursor = cursor_from(request->after_cursor), .events = l->events, .max = max, .cb = listed};
    const int status = s->config.events->list(s->config.events, &l->query);
    if (status) {
        rpc_call_fail(call, status, "events cannot be listed now");
        free_listing(l);
        return;
    }
    s->queries++;
}

/* ---- Follow */

struct follower {
    struct event_watch watch;
    struct event_query query;
    struct services *services;
    struct rpc_call *call; /* NULL: ended; freed when the answer that is due has come */
    bool asking, more, from_now;
    uint64_t cursor;
    size_t next; /* in events */
    struct event events[FOLLOW_AT_ONCE];
};

static void end(struct follower *f, int status)
{
    list_remove(&f->watch.link);
    if (status)
        rpc_call_fail(f->call, status, NULL);
    else
        rpc_call_stream_end(f->call);
    f->call = NULL;
    if (!f->asking)
        free(f);
}

static void answered(struct event_query *query, int status);

/* False: the stream has ended. */
static bool ask(struct follower *f)
{
    f->more = false;
    f->next = 0;
    f->query = (struct event_query){
        .after_cursor = f->cursor, .events = f->events, .max = FOLLOW_AT_ONCE, .cb = answered};
    const int status = f->services->config.events->list(f->services->config.events, &f->query);
    if (status) {
        end(f, status);
        return false;
    }
    f->asking = true;
    f->services->queries++;
    return true;
}

static void advance(struct follower *f)
{
    while (!f->asking) {
        while (f->next < f->query.count) {
            Pstorage__V1__Event event;
            fill(&event, &f->events[f->next]);
            if (rpc_call_stream_send(f->call, &event.base) != PS_OK)
                return; /* `ready` or `cancelled` follows */
            f->cursor = f->events[f->next++].cursor;
        }
        /* A full answer may not have been all. */
        if (!f->more && f->query.count < FOLLOW_AT_ONCE)
            return;
        if (!ask(f))
            return;
    }
}

static void answered(struct event_query *query, int status)
{
    struct follower *f = container_of(query, struct follower, query);
    f->asking = false;
    f->services->queries--;
    if (!f->call) {
        free(f);
        return;
    }
    if (status) {
        end(f, status);
        return;
    }
    if (f->from_now) { /* the first question only found out where the end is */
        f->from_now = false;
        f->cursor = query->last_cursor;
        query->count = 0;
    }
    advance(f);
}

static void changed(struct event_watch *watch)
{
    struct follower *f = container_of(watch, struct follower, watch);
    f->more = true;
    if (!f->asking && f->next == f->query.count)
        advance(f);
}

static void ready(struct rpc_call *call)
{
    advance(rpc_call_user(call));
}

static void cancelled(struct rpc_call *call)
{
    end(rpc_call_user(call), PS_OK);
}

static void follow(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct services *s = user;
    const Pstorage__V1__FollowEventsRequest *request = (const void *)message;
    struct follower *f = calloc(1, sizeof *f);
    if (!f) {
        rpc_call_fail(call, PS_ENOMEM, NULL);
        return;
    }
    f->services = s;
    f->call = call;
    f->from_now = request->from_now;
    f->cursor = request->from_now ? INT64_MAX : cursor_from(request->after_cursor);
    f->watch.changed = changed;
    list_push_back(&s->config.events->watches, &f->watch.link);
    rpc_call_set_user(call, f);
    rpc_call_watch(call, cancelled, ready);
    (void)ask(f);
}

static const struct rpc_method methods[] = {
    {.name = "List", .handler = list},
    {.name = "Follow", .handler = follow, .streaming = true},
};

const struct rpc_service services_events = {
    .descriptor = &pstorage__v1__events__descriptor,
    .methods = methods,
    .nmethods = sizeof methods / sizeof methods[0],
};
