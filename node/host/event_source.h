/* Where events come from, as the Events service sees it: a list that grows at
 * its end, asked by cursor. All on the reactor's thread; the answers come later,
 * so that the list may live on another one. */
#ifndef PS_NODE_HOST_EVENT_SOURCE_H
#define PS_NODE_HOST_EVENT_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "common/container.h"
#include "node/pod/pod.h"

enum {
    EVENT_KIND_MAX = 31,
    EVENT_TEXT_MAX = 255,
};

struct event {
    uint64_t cursor; /* 1 to INT64_MAX; grows, never reused */
    uint64_t time_unix_ns;
    uint64_t image_id;          /* 0: none */
    char pod[POD_NAME_MAX + 1]; /* "": the node itself */
    char kind[EVENT_KIND_MAX + 1];
    char text[EVENT_TEXT_MAX + 1];
};

/* Embedded by who asks; `events` has room for `max`. */
struct event_query {
    uint64_t after_cursor; /* at most INT64_MAX */
    struct event *events;
    size_t max;
    /* The answer: those after the cursor, oldest first, and the newest cursor there is. */
    size_t count;
    uint64_t last_cursor;
    void (*cb)(struct event_query *query, int status);
    void *user;
    void *priv[2]; /* the source's own */
};

struct event_watch {
    struct list_node link;
    void (*changed)(
        struct event_watch *watch); /* there are events that no earlier answer had; maybe several */
};

struct event_source {
    /* 0: `cb` runs once, never inside the call. Non-zero: it never does. */
    int (*list)(struct event_source *source, struct event_query *query);
    struct list_node watches; /* of struct event_watch; the source calls them */
};

static inline void event_source_init(struct event_source *source,
                                     int (*list)(struct event_source *source, struct event_query *query))
{
    source->list = list;
    list_init(&source->watches);
}

/* For the source: tells all who watch. A watch may be removed inside `changed`, its own only. */
static inline void event_source_changed(struct event_source *source)
{
    list_for_each_safe(node, next, &source->watches)
    {
        struct event_watch *watch = container_of(node, struct event_watch, link);
        watch->changed(watch);
    }
}

#endif
