/* Who leads, and the connection to it; the turns of all images of a node. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/transport.h"
#include "node/host/host_image_impl.h"

#define MS 1000000ull

/* How often is looked while something waits: for the pod here to be through with an opening, for a primary.
 */
#define LOOK_NS (5 * MS)
/* Answers of a primary that has handed over are waited for so long; not of one that has been silent for so
 * long. */
#define RETIRE_NS (500 * MS)
/* A turn is due four times a second while there is a link; and a pause that is too long. */
#define TURN_NS  (250 * MS)
#define STILL_NS (2000 * MS)

/* ---- who leads */

/* Its former opening is over: all that was in flight on it has been given back. */
static bool pod_is_through(const struct host_images *images)
{
    struct pod_stats stats;
    pod_stats(images->config.pod, &stats);
    return stats.role != POD_LEADING;
}

static void look(struct host_images *images)
{
    const struct primary_gate *gate = images->config.gate;
    images->leads = gate->is_open(gate->user);
    images->known = !images->leads && gate->primary(gate->user, &images->place);
    if (!images->leads && !images->known)
        return;
    const char *node = images->leads ? "" : images->place.node;
    if (strcmp(images->target_node, node) == 0)
        return;
    (void)snprintf(images->target_node, sizeof images->target_node, "%s", node);
    images->target++;
}

static void leave_all(struct host_images *images)
{
    list_for_each(node, &images->all) remote_leave_pod(container_of(node, struct remote_image, link));
}

static void finish_close(struct host_images *images)
{
    if (!images->closing || images->link || images->links_closing > 0)
        return;
    void (*closed)(void *) = images->closed;
    void *user = images->closed_user;
    for (struct list_node *node; (node = list_pop_front(&images->spare));)
        free(container_of(node, struct remote_call, link));
    rpc_task_stop(&images->task);
    free(images);
    closed(user);
}

static void on_link_closed(void *user)
{
    struct host_images *images = user;
    images->links_closing--;
    finish_close(images);
}

static void close_link(struct host_images *images)
{
    struct primary_link *link = images->link;
    images->link = NULL;
    images->retiring = false;
    images->links_closing++;
    primary_link_close(link, on_link_closed, images);
}

static void on_link_changed(void *user)
{
    rpc_task_wake(&((struct host_images *)user)->task);
}

static void open_link(struct host_images *images)
{
    const struct host_images_config *c = &images->config;
    const struct primary_link_config config = {
        .transport = c->transport,
        .keys = c->keys,
        .node_name = c->node_name,
        .cluster_name = c->cluster_name,
        .primary = images->place.node,
        .address = images->place.address,
        .changed = on_link_changed,
        .log = c->log,
        .user = images,
    };
    if (primary_link_create(&config, &images->link, NULL) == 0)
        images->link_number++;
    else
        images->link = NULL;
}

/* Some image is not at the pod here. */
static bool wants_link(const struct host_images *images)
{
    list_for_each(node, &images->all)
    {
        const struct remote_image *image = container_of(node, struct remote_image, link);
        if (!image->base.local && !image->broken && !image->gone)
            return true;
    }
    return false;
}

static void link_turn(struct host_images *images, uint64_t now_ns)
{
    const bool wanted = wants_link(images);
    if (images->link) {
        const unsigned calls = primary_link_calls(images->link);
        const bool moved = images->leads || (images->known && strcmp(primary_link_node(images->link),
                                                                     images->place.node) != 0);
        if (moved && !images->retiring)
            images->retire_by_ns = now_ns + RETIRE_NS;
        images->retiring = moved;
        if (primary_link_is_silent(images->link, now_ns, moved ? RETIRE_NS : PRIMARY_SILENCE_NS) ||
            (!wanted && calls == 0) || (moved && (calls == 0 || now_ns >= images->retire_by_ns)))
            close_link(images);
    }
    if (!images->link && wanted && images->known)
        open_link(images);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What waits, or is read of a host now, may be older than the host thinks. */
static void notice_pause(struct host_images *images, uint64_t now_ns)
{
    if (images->turn_ns && now_ns - images->turn_ns > STILL_NS)
        host_images_break(images);
}

static void turn(struct rpc_task *task, uint64_t now_ns)
{
    struct host_images *images = container_of(task, struct host_images, task);
    const uint64_t awake_ns = images->config.now_ns(images->config.user);
    bool waits = false;
    notice_pause(images, awake_ns);
    look(images);
    const bool through = pod_is_through(images);
    if (through && !images->leads)
        leave_all(images);
    link_turn(images, now_ns);
    uint64_t next = remote_settle_lost(images, now_ns);
    list_for_each_safe(node, after, &images->all) waits |=
        remote_turn(container_of(node, struct remote_image, link), now_ns, through);
    if (images->link) {
        next = least(next, primary_link_turn(images->link, now_ns));
        next = least(next, now_ns + TURN_NS);
    }
    images->turn_ns = images->link || waits ? awake_ns : 0;
    remote_pump(images, now_ns);
    host_images_deliver(images);
    if (waits || images->retiring || !list_empty(&images->lost))
        next = least(next, now_ns + LOOK_NS);
    if (!images->closing)
        rpc_task_at(&images->task, next > now_ns ? next : now_ns + 1);
}

/* ---- life */

int host_images_create(const struct host_images_config *config, struct host_images **out)
{
    struct host_images *images = calloc(1, sizeof *images);
    if (!images)
        return PS_ENOMEM;
    images->config = *config;
    struct list_node *const lists[] = {&images->all,  &images->ready, &images->calls,
                                       &images->lost, &images->done,  &images->spare};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        list_init(lists[i]);
    rpc_task_init(&config->transport->schedule, &images->task, turn);
    *out = images;
    return 0;
}

void host_images_close(struct host_images *images, void (*closed)(void *user), void *user)
{
    assert(list_empty(&images->all) && list_empty(&images->calls) && list_empty(&images->lost));
    images->closing = true;
    images->closed = closed;
    images->closed_user = user;
    if (images->link)
        close_link(images);
    finish_close(images);
}

void host_images_news(struct host_images *images)
{
    rpc_task_wake(&images->task);
}

void host_images_break(struct host_images *images)
{
    leave_all(images);
    list_for_each(node, &images->all) container_of(node, struct remote_image, link)->broken = true;
    rpc_task_wake(&images->task);
    images->config.broken(images->config.user);
}
