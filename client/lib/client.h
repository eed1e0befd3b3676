/* The inside of libpstorage: a client, its requests and its open images.
 *
 * All of it belongs to the client's thread, except the inbox, which other
 * threads fill under `lock`. From submit to callback a request is in exactly
 * one place (`where`):
 *
 *   INBOX -> QUEUED (in client->queue; or in image->waiting while the image is
 *   being reopened) -> SENT (a call of the RPC client) -> callback, or QUEUED
 *   again when the connection was lost and the request may be repeated.
 *
 * `where` is the thread's own; `live` says the same to others: it is true from
 * submit to callback and changes under the lock only. No callback and no RPC
 * function runs under the lock. */
#ifndef PS_CLIENT_CLIENT_H
#define PS_CLIENT_CLIENT_H

#include <pthread.h>
#include <uv.h>

#include "client/lib/endpoints.h"
#include "client/lib/pstorage.h"
#include "common/container.h"
#include "common/rpc/client.h"
#include "common/rpc/keys.h"
#include "common/rpc/transport_nng.h"

enum {
    CLIENT_IN_FLIGHT_DEFAULT = 128,
    CLIENT_REPEATS_MAX = 8,    /* lost connections that one request lives through */
    CLIENT_LIST_MAX = 1000000, /* images in one list */
    CLIENT_PAGE = 1000,
    CLIENT_EXTENTS_MAX = 1024,
};

enum where {
    WHERE_NOWHERE,
    WHERE_INBOX,
    WHERE_QUEUED,
    WHERE_SENT
};

struct call;

/* What becomes of a request of one kind. */
struct request_kind {
    /* Hands the call to the RPC client: 0, or a status that ends the request. */
    int (*send)(struct call *call);
    /* Takes a good answer into the request's results: 0, or a status with its
     * detail in request->error; AGAIN sends the request once more (next page). */
    int (*take)(struct call *call, const struct rpc_reply *reply);
    rpc_message_cb on_message; /* of a stream; it doesn't count against max_in_flight */
    bool repeatable;           /* after a lost connection */
};
enum {
    AGAIN = 1
};

/* Lives in pstorage_request.priv. */
struct request_state {
    struct list_node link;        /* inbox, queue or waiting */
    struct list_node cancel_link; /* client->cancels, or linked to itself */
    struct pstorage_client *client;
    struct pstorage_image *image;
    const struct request_kind *kind;
    pstorage_cb cb;
    struct call *call; /* while SENT */
    uint64_t deadline_ns;
    void *scratch; /* of the kind: page token of a list; freed with the request */
    uint8_t where, repeats;
    bool live, cancelled;
    bool ended; /* FOLLOW: on_event has had enough */
};
_Static_assert(sizeof(struct request_state) <= sizeof((struct pstorage_request *)0)->priv, "priv has room");

static inline struct request_state *state_of(struct pstorage_request *r)
{
    return (struct request_state *)(void *)r->priv;
}
static inline struct pstorage_request *request_of(struct request_state *s)
{
    return container_of((void **)(void *)s, struct pstorage_request, priv[0]);
}

/* One call of the RPC client; pooled. */
struct call {
    struct rpc_request rpc;
    struct pstorage_client *client;
    struct pstorage_request *request;
    uint64_t writes_before; /* FLUSH: image->writes when it was sent */
    uint64_t handle;        /* of the request's image, when it was sent */
    struct call *next;      /* in the pool */
};

struct pstorage_image {
    struct list_node link; /* client->images */
    struct list_node close_link;
    struct pstorage_client *client;
    char name[PSTORAGE_FULL_NAME_MAX + 1];
    struct pstorage_info info; /* as of the last opening */
    struct pstorage_limits limits;
    struct pstorage_info opened_info; /* as of the first one: never changes, any thread may read it */
    struct pstorage_limits opened_limits;
    uint64_t connection; /* the one on which `handle` is good; others: it must be reopened */
    uint64_t handle;
    struct list_node waiting; /* requests that wait for the reopening */
    struct rpc_request rpc;   /* of the reopening, then of the closing */
    bool reopening, closing;
    /* Writes answered, and how many of them a flush has covered: for the loss
     * of the connection with writes in the node's memory only. */
    uint64_t writes, flushed;
    bool lost;
};

struct pstorage_client {
    /* Fixed when it is created. */
    uint32_t timeout_ms, max_in_flight;
    bool from_primary;
    char name[RPC_NAME_MAX + 1], cluster[RPC_NAME_MAX + 1];
    struct rpc_keys keys;
    pthread_t thread;
    /* Shared. */
    pthread_mutex_t lock;
    struct list_node inbox, cancels, closes;
    bool stop;
    uv_async_t wake;
    /* The thread's own. */
    uv_loop_t loop;
    uv_timer_t timer;
    struct rpc_transport *transport;
    struct endpoints endpoints;
    struct rpc_client *rpc;
    enum {
        LINK_DOWN,
        LINK_CONNECTING,
        LINK_UP
    } link;
    bool link_closing; /* rpc_client_close is under way */
    bool link_lost;    /* on_state said so; the turn handles it */
    struct ps_error link_error;
    struct ps_error refusal; /* status not 0: what a node said that refused us, in this search */
    uint64_t connection;     /* number of the present or last one */
    struct list_node queue, images;
    uint64_t queue_deadline_ns; /* no deadline of a queued request is earlier */
    uint32_t in_flight;
    struct call *pool;
    bool stopping;
    int start_status; /* of the thread */
    uv_sem_t started;
};

/* ---- client_uv.c */

bool client_on_its_thread(const struct pstorage_client *client);

/* Hands a filled-in request to the client's thread: 0, or PSTORAGE_ECANCELLED when the client is being
 * destroyed. */
int client_submit(struct pstorage_client *client, struct pstorage_image *image,
                  struct pstorage_request *request, const struct request_kind *kind, pstorage_cb cb);

/* What follows is for the thread itself. */
void client_send(struct request_state *s);
void client_finish(struct request_state *s, int status, const char *detail);
/* Puts requests back in front of the queue, in their order. */
void client_requeue(struct pstorage_client *client, struct list_node *requests);
void client_wake(struct pstorage_client *client);
/* The node is not the primary and did nothing. True: the connection is given up for the next endpoint, and
 * the request is to be sent again. False: nobody else is left to ask. */
bool client_go_elsewhere(struct pstorage_client *client, const struct rpc_reply *reply);
/* Sends `call` to this method; what else it carries is set in call->rpc. */
int call_send(struct call *call, const ProtobufCServiceDescriptor *service, const char *method,
              const ProtobufCMessage *message);

/* ---- image.c: open images over lost connections */

struct pstorage_image *image_create(struct pstorage_client *client, const char *name);
void image_free(struct pstorage_image *image);
/* Sends the request, at once or after the image was reopened on this connection. */
void image_send(struct pstorage_image *image, struct request_state *s);
void image_connection_lost(struct pstorage_image *image);
/* The node takes nothing more on this handle: before the next request the image is opened anew. */
void image_renew(struct pstorage_image *image, uint64_t handle);
/* Closes on the node if it is open there, and frees. */
void image_close(struct pstorage_image *image);

/* ---- calls.c: requests to messages and back */

extern const struct request_kind kind_open, kind_list, kind_report, kind_events, kind_follow, kind_latency,
    kind_measure;
extern const struct request_kind kind_flash_list, kind_flash_identify, kind_flash_smart; /* flash.c */
const struct request_kind *kind_of_manage(enum pstorage_manage_op op); /* NULL: no such operation */
const struct request_kind *kind_of_io(enum pstorage_io_op op);

/* analytics.c */
extern const struct request_kind kind_forecast, kind_health, kind_tiering, kind_temperature, kind_account;

/* What an answer to Open says, into the image: 0 or PS_EPROTOCOL. */
int image_take_open(struct pstorage_image *image, const ProtobufCMessage *message);

#endif
