/* One request on its way from HTTP through the node's services and back.
 *
 * The actions are steps of requests to the node's own RPC services by libpstorage, so that REST means what
 * RPC means: which node leads, repetition, names and limits are decided there and nowhere else. An exchange
 * belongs to one thread at a time: the HTTP server's until rest_act, libpstorage's until `finished`, then the
 * HTTP server's again. */
#ifndef PS_NODE_HOST_REST_REST_EXCHANGE_H
#define PS_NODE_HOST_REST_REST_EXCHANGE_H

#include "client/lib/pstorage.h"
#include "node/host/rest/rest_prometheus.h"
#include "node/host/rest/rest_request.h"

#define REST_NS_PER_S ((uint64_t)1000000000)

enum {
    REST_REQUEST_ID_MAX = 64,
    REST_LOCATION_MAX = 320,
};

struct rest_exchange;
typedef void (*rest_step)(struct rest_exchange *x);

/* Writes that read what surrounds them first: one at a time, so that two of them never lose each other's
 * bytes. Used on libpstorage's thread alone. */
struct rest_narrow_writes {
    struct rest_exchange *first, *last; /* those that wait behind the one under way */
    bool busy;
};

struct rest_exchange {
    struct pstorage_client *client;
    struct rest_narrow_writes *narrow;
    struct rest_request request;
    uint8_t operation_id[16]; /* made of the Idempotency-Key; all zero: none */
    struct rest_counts counts;
    /* The HTTP server's: the answer below is complete. Runs once. */
    void (*finished)(struct rest_exchange *x);

    /* The answer. */
    int http;
    struct rest_problem problem; /* when `http` is that of a problem */
    const char *done[4];         /* what was carried out before; ends at NULL */
    struct json_out body;
    bool is_problem, retry_later;
    char etag[REST_ETAG_MAX], location[REST_LOCATION_MAX];

    /* The actions' own. */
    union {
        struct pstorage_manage manage;
        struct pstorage_list list;
        struct pstorage_report report;
        struct pstorage_why why;
        struct pstorage_events events;
        struct pstorage_open open;
        struct pstorage_io io;
    } q;
    struct pstorage_pod_order order; /* beside: figures need it and a report */
    struct pstorage_report report;
    struct pstorage_latency latency; /* and these */
    struct rest_analysis *analysis;  /* rest_analytics.c's */
    struct pstorage_info info;       /* what the path names */
    char name[PSTORAGE_FULL_NAME_MAX + 1];
    rest_step then, after;
    unsigned step;
    bool by_name; /* found under its name: is something else's id written like that? */
    uint64_t of_volume;
    /* Reading and writing. */
    struct pstorage_image *image;
    struct pstorage_limits limits;
    uint8_t *buffer;
    uint64_t from, to, at;      /* bytes, whole sectors */
    bool reading;               /* what surrounds a narrow write */
    struct rest_exchange *next; /* in rest_narrow_writes */
};

/* ---- rest_actions.c */

/* Starts the action of a request that is decoded and allowed. Not for those that the server answers itself
 * (rest_is_local, streams). */
void rest_act(struct rest_exchange *x);

/* Frees what the actions and the answer hold; nothing is under way. */
void rest_exchange_clear(struct rest_exchange *x);

/* ---- for the files of actions */

/* Ends the exchange with the object, in the form that the route has. */
void rest_answer(struct rest_exchange *x, const void *object);
/* Ends it with x->body as it is. */
void rest_answer_body(struct rest_exchange *x);
void rest_answer_body_as(struct rest_exchange *x, int http);
/* Ends it with x->problem, which was written. */
void rest_refuse(struct rest_exchange *x);
/* Ends it with what the request to the node says. */
void rest_refuse_request(struct rest_exchange *x, const struct pstorage_request *q, int status);

/* What the path names goes to x->info; `then` goes on, or the exchange ends. */
void rest_find_volume(struct rest_exchange *x, bool or_snapshot, rest_step then);
void rest_find_snapshot(struct rest_exchange *x, rest_step then);
/* If-Match against x->info: true, and the change may be made with its tag; else the exchange has ended. */
bool rest_check_match(struct rest_exchange *x);

void rest_list_images(struct rest_exchange *x);
void rest_create_volume(struct rest_exchange *x);
void rest_change_volume(struct rest_exchange *x);
void rest_delete_volume(struct rest_exchange *x);
void rest_create_snapshot(struct rest_exchange *x);
void rest_delete_snapshot(struct rest_exchange *x);
void rest_restore_snapshot(struct rest_exchange *x);
void rest_clone_snapshot(struct rest_exchange *x);
void rest_snapshot_pod(struct rest_exchange *x);
void rest_write_volume(struct rest_exchange *x);
void rest_read_volume(struct rest_exchange *x);
void rest_show_pod(struct rest_exchange *x);
void rest_order_pod(struct rest_exchange *x);
void rest_why_of_pod(struct rest_exchange *x);
void rest_show_nodes(struct rest_exchange *x);
void rest_show_figures(struct rest_exchange *x);
void rest_show_prometheus(struct rest_exchange *x);
void rest_show_ready(struct rest_exchange *x);
void rest_list_events(struct rest_exchange *x);
void rest_show_analytics(struct rest_exchange *x);
void rest_show_forecast(struct rest_exchange *x);
void rest_show_drives(struct rest_exchange *x);
void rest_list_advice(struct rest_exchange *x);
void rest_show_temperature(struct rest_exchange *x);
void rest_show_account(struct rest_exchange *x);
/* x->report is there. */
void rest_show_flash(struct rest_exchange *x);
/* The last two steps of rest_show_prometheus: how the node's drives are, then the answer; NULL: not known. */
void rest_ask_own_drives(struct rest_exchange *x);
void rest_answer_prometheus(struct rest_exchange *x, const struct pstorage_health *health);

#endif
