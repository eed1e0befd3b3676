/* Open images over lost connections.
 *
 * A handle is good on one connection. On the next one the image is opened
 * again before anything is sent to it, and requests wait until it is. It must
 * then be the same image (id), or data would go to another one of that name. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/client.h"
#include "pstorage/v1/block_io.pb-c.h"

struct pstorage_image *image_create(struct pstorage_client *c, const char *name)
{
    struct pstorage_image *image = calloc(1, sizeof *image);
    if (!image)
        return NULL;
    image->client = c;
    (void)snprintf(image->name, sizeof image->name, "%s", name);
    list_init(&image->close_link);
    list_init(&image->waiting);
    list_push_back(&c->images, &image->link);
    return image;
}

void image_free(struct pstorage_image *image)
{
    assert(list_empty(&image->waiting));
    list_remove(&image->link);
    free(image);
}

static bool is_open(const struct pstorage_image *image)
{
    return image->connection != 0 && image->connection == image->client->connection;
}

void image_connection_lost(struct pstorage_image *image)
{
    if (is_open(image) && image->info.write_cache && image->writes > image->flushed)
        image->lost = true;
    image->flushed = image->writes;
    image->connection = 0;
}

static void on_forgotten(struct rpc_request *rpc, const struct rpc_reply *reply)
{
    (void)reply;
    free(rpc);
}

void image_renew(struct pstorage_image *image, uint64_t handle)
{
    struct rpc_request *rpc;
    if (!is_open(image) || image->handle != handle)
        return;
    image->connection = 0;
    rpc = calloc(1, sizeof *rpc);
    if (!rpc)
        return; /* it ends with the connection */
    Pstorage__V1__CloseRequest message = PSTORAGE__V1__CLOSE_REQUEST__INIT;
    message.handle = handle; /* the node closes it when what is in flight on it has ended */
    rpc->service = &pstorage__v1__block_io__descriptor;
    rpc->method = "Close";
    rpc->message = &message.base;
    if (rpc_client_call(image->client->rpc, rpc, on_forgotten))
        free(rpc);
}

static void fail_waiting(struct pstorage_image *image, int status, const char *detail)
{
    struct list_node failing;
    list_init(&failing);
    list_splice_back(&failing, &image->waiting);
    for (struct list_node *node; (node = list_pop_front(&failing));)
        client_finish(container_of(node, struct request_state, link), status, detail);
}

static void on_reopened(struct rpc_request *rpc, const struct rpc_reply *reply)
{
    struct pstorage_image *image = container_of(rpc, struct pstorage_image, rpc);
    struct pstorage_client *c = image->client;
    const uint64_t id = image->info.id;
    image->reopening = false;
    if (reply->status == PS_OK) {
        const int rc = image_take_open(image, reply->message);
        if (rc)
            fail_waiting(image, rc, "the node's answer to Open makes no sense");
        else if (image->info.id != id)
            fail_waiting(image, PS_ENOTFOUND, "the volume was deleted, and another one has its name now");
        if (rc || image->info.id != id) {
            image->info.id = id;
            image->connection = 0; /* its handle goes with the connection */
        }
    } else if (reply->status == PS_ENOTPRIMARY && client_go_elsewhere(c, reply)) {
        /* On the next connection, then. */
    } else if (c->link == LINK_UP && !c->link_lost && reply->status != PS_ECANCELLED) {
        fail_waiting(image, reply->status, reply->detail);
    }
    if (image->closing)
        image_close(image);
    else
        client_requeue(c, &image->waiting); /* the connection was lost meanwhile, or all is well */
    client_wake(c);
}

static void reopen(struct pstorage_image *image)
{
    struct pstorage_client *c = image->client;
    Pstorage__V1__OpenRequest message = PSTORAGE__V1__OPEN_REQUEST__INIT;
    message.name = image->name;
    message.read_only = image->limits.read_only;
    image->rpc = (struct rpc_request){
        .service = &pstorage__v1__block_io__descriptor,
        .method = "Open",
        .message = &message.base,
    };
    const int rc = rpc_client_call(c->rpc, &image->rpc, on_reopened);
    if (rc)
        fail_waiting(image, rc, "");
    else
        image->reopening = true;
}

void image_send(struct pstorage_image *image, struct request_state *s)
{
    if (is_open(image)) {
        if (image->lost && s->kind == kind_of_io(PSTORAGE_FLUSH)) {
            image->lost = false;
            client_finish(s, PS_EDATALOSS,
                          "the connection was lost with writes answered but not flushed; they may be gone");
            return;
        }
        client_send(s);
        return;
    }
    list_push_back(&image->waiting, &s->link);
    if (!image->reopening)
        reopen(image);
}

static void on_closed(struct rpc_request *rpc, const struct rpc_reply *reply)
{
    (void)reply; /* whatever it says, there is nothing left to do */
    image_free(container_of(rpc, struct pstorage_image, rpc));
}

void image_close(struct pstorage_image *image)
{
    struct pstorage_client *c = image->client;
    image->closing = true;
    if (image->reopening)
        return; /* on_reopened comes back here */
    if (is_open(image) && c->link == LINK_UP && !c->link_lost) {
        Pstorage__V1__CloseRequest message = PSTORAGE__V1__CLOSE_REQUEST__INIT;
        message.handle = image->handle;
        image->connection = 0;
        image->rpc = (struct rpc_request){
            .service = &pstorage__v1__block_io__descriptor,
            .method = "Close",
            .message = &message.base,
        };
        if (rpc_client_call(c->rpc, &image->rpc, on_closed) == PS_OK)
            return;
    }
    image_free(image);
}
