#include "node/host/host_image.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/transport.h"
#include "node/host/host_image_impl.h"

enum {
    SENDS_MAX = 8 /* of one request, because it was refused or its connection lost */
};
static uint64_t now_of(const struct host_images *images)
{
    return rpc_now(images->config.transport);
}

static struct remote_image *remote_of(struct host_image *image)
{
    return container_of(image, struct remote_image, base);
}

/* ---- the end of requests */

void host_images_end(struct host_images *images, struct pod_io *io, int status)
{
    io->status = status;
    io->image = NULL;
    list_push_back(&images->done, &io->link);
    rpc_task_wake(&images->task); /* unless somebody delivers before */
}

void host_images_deliver(struct host_images *images)
{
    if (list_empty(&images->done))
        return;
    for (struct list_node *node; (node = list_pop_front(&images->done));) {
        struct pod_io *io = container_of(node, struct pod_io, link);
        io->cb(io, io->status);
    }
    images->config.wake(images->config.user);
}

/* It is not carried out any further. What is done in part was not done, as far as anybody can rely on it. */
static void end_unsent(struct host_images *images, struct pod_io *io, int status)
{
    if (status == PS_ENOTPRIMARY && is_change(io) && io->cursor > 0)
        status = PS_EUNAVAILABLE;
    host_images_end(images, io, status);
}

static void end_list(struct host_images *images, struct list_node *list, int status)
{
    for (struct list_node *node; (node = list_pop_front(list));)
        end_unsent(images, container_of(node, struct pod_io, link), status);
}

void remote_end_waiting(struct remote_image *image, int status)
{
    end_list(image->base.images, &image->again, status);
    end_list(image->base.images, &image->waiting, status);
}

void remote_opened(struct remote_image *image, int status, const char *detail)
{
    const struct host_images_config *c = &image->base.images->config;
    const host_image_opened opened = image->opened;
    image->opened = NULL;
    opened(image->user, status, detail); /* may close it */
    c->wake(c->user);
}

/* ---- waiting */

void remote_make_ready(struct remote_image *image)
{
    struct host_images *images = image->base.images;
    const bool opens = !image->opening && !remote_is_open(image);
    if (list_empty(&image->ready) && !image->base.local && (opens || !list_empty(&image->waiting)))
        list_push_back(&images->ready, &image->ready);
}

/* In the order of their numbers; mostly at one of the ends. */
static void insert(struct remote_image *image, struct pod_io *io)
{
    struct list_node *at = image->waiting.next;
    while (at != &image->waiting && container_of(at, struct pod_io, link)->seq < io->seq)
        at = at->next;
    list_push_back(at, &io->link); /* before `at` */
    remote_make_ready(image);
}

/* A change has its time since it came, what only asks has it anew. */
void remote_requeue(struct remote_image *image, struct pod_io *io)
{
    struct host_images *images = image->base.images;
    if (++io->pending > SENDS_MAX) {
        end_unsent(images, io, PS_ENOTPRIMARY);
        return;
    }
    if (!is_change(io))
        io->ticket = now_of(images) + HOST_HOLD_NS;
    insert(image, io);
}

void remote_leave_pod(struct remote_image *image)
{
    if (!image->base.local)
        return;
    assert(!image->stale);
    image->stale = image->base.local;
    image->base.local = NULL;
}

static void begin_wait(struct remote_image *image, struct pod_io *io)
{
    io->image = NULL;
    io->cursor = 0;
    io->pending = 0;
    io->ticket = now_of(image->base.images) + HOST_HOLD_NS;
}

int host_image_wait(struct host_image *base, struct pod_io *io, pod_io_cb cb)
{
    struct remote_image *image = remote_of(base);
    struct host_images *images = base->images;
    if (!images)
        return PS_EUNAVAILABLE;
    remote_leave_pod(image);
    if (image->gone)
        return image->gone;
    if (image->broken)
        return PS_ENOTPRIMARY;
    io->cb = cb;
    begin_wait(image, io);
    io->seq = ++image->next_seq;
    list_push_back(&image->waiting, &io->link);
    remote_make_ready(image);
    remote_pump(images, now_of(images));
    if (!list_empty(&image->waiting))
        rpc_task_wake(&images->task);
    return 0;
}

bool host_image_wait_again(struct host_image *base, struct pod_io *io, int status)
{
    struct remote_image *image = remote_of(base);
    struct host_images *images = base->images;
    if (image->broken || (status == PS_EUNAVAILABLE && is_change(io)))
        return false; /* it may have had an effect */
    remote_leave_pod(image);
    begin_wait(image, io);
    list_push_back(&image->again, &io->link);
    rpc_task_wake(&images->task);
    return true;
}

void host_image_leave(struct host_image *base)
{
    if (!base->images)
        return;
    remote_of(base)->broken = true;
    rpc_task_wake(&base->images->task);
}

static bool take_out(struct list_node *list, const struct pod_io *io)
{
    list_for_each(node, list)
    {
        if (node != &io->link)
            continue;
        list_remove(node);
        return true;
    }
    return false;
}

void host_image_cancel(struct host_image *base, struct pod_io *io)
{
    struct remote_image *image = remote_of(base);
    struct host_images *images = base->images;
    if (!images || io->image)
        return;
    if (take_out(&image->waiting, io) || take_out(&image->again, io)) {
        host_images_end(images, io, PS_ECANCELLED);
        return;
    }
    struct list_node *const lists[] = {&images->calls, &images->lost};
    for (size_t i = 0; i < 2; i++)
        list_for_each(node, lists[i])
        {
            struct remote_call *call = container_of(node, struct remote_call, link);
            if (call->io != io || call->cancelled)
                continue;
            call->cancelled = true;
            if (i == 0)
                primary_link_cancel(&call->base);
            rpc_task_wake(&images->task);
            return;
        }
}

void host_image_cancel_all(struct host_image *base)
{
    struct remote_image *image = remote_of(base);
    struct host_images *images = base->images;
    if (!images)
        return;
    end_list(images, &image->again, PS_ECANCELLED);
    end_list(images, &image->waiting, PS_ECANCELLED);
    struct list_node *const lists[] = {&images->calls, &images->lost};
    for (size_t i = 0; i < 2; i++)
        list_for_each(node, lists[i])
        {
            struct remote_call *call = container_of(node, struct remote_call, link);
            if (call->image != image || call->cancelled)
                continue;
            call->cancelled = true;
            if (i == 0)
                primary_link_cancel(&call->base);
        }
    rpc_task_wake(&images->task);
}

/* ---- opening */

static struct remote_image *image_new(struct host_images *images, struct pod *pod, const char *name)
{
    struct remote_image *image = calloc(1, sizeof *image);
    if (!image)
        return NULL;
    image->base = (struct host_image){.pod = pod, .images = images};
    (void)snprintf(image->info.name, sizeof image->info.name, "%s", name);
    list_init(&image->link);
    list_init(&image->ready);
    list_init(&image->waiting);
    list_init(&image->again);
    return image;
}

int host_image_open(struct host_images *images, struct pod *pod, const char *name, bool read_only,
                    struct host_image **out, host_image_opened opened, void *user, struct ps_error *err)
{
    if (strlen(name) > POD_FULL_NAME_MAX)
        return ps_error_set(err, PS_ENOTFOUND, "no image has a name of more than %d characters",
                            POD_FULL_NAME_MAX);
    struct remote_image *image = image_new(images, pod, name);
    if (!image)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    image->read_only = read_only;
    const int rc = pod_image_open(pod, name, &image->base.local, err);
    if (rc && (rc != PS_EUNAVAILABLE || !images)) {
        free(image);
        return rc;
    }
    if (images)
        list_push_back(&images->all, &image->link);
    *out = &image->base;
    if (rc == 0) {
        (void)pod_image_info(image->base.local, &image->info);
        return 0;
    }
    image->opened = opened;
    image->user = user;
    image->open_until_ns = now_of(images) + HOST_HOLD_NS;
    remote_make_ready(image);
    rpc_task_wake(&images->task);
    return HOST_IMAGE_WAITS;
}

void host_image_close(struct host_image *base)
{
    struct remote_image *image = remote_of(base);
    struct host_images *images = base->images;
    assert(list_empty(&image->waiting) && list_empty(&image->again) && image->calls == 0 && image->lost == 0);
    if (base->local)
        pod_image_close(base->local);
    if (image->stale)
        pod_image_close(image->stale);
    if (images) {
        if (image->opening)
            image->opening->image = NULL;
        remote_close_handle(image);
        list_remove(&image->ready);
        list_remove(&image->link);
        rpc_task_wake(&images->task);
    }
    free(image);
}

int host_image_info(const struct host_image *base, struct pod_image_info *out)
{
    if (base->local)
        return pod_image_info(base->local, out);
    const struct remote_image *image = container_of(base, struct remote_image, base);
    *out = image->info;
    return image->gone;
}

/* ---- this node leads */

/* What is left of a write of which a part was done elsewhere. */
struct rest {
    struct pod_io io;
    struct pod_io *whole;
    struct host_images *images;
};

static void on_rest(struct pod_io *io, int status)
{
    struct rest *rest = container_of(io, struct rest, io);
    struct host_images *images = rest->images;
    host_images_end(images, rest->whole, status == PS_ENOTPRIMARY ? PS_EUNAVAILABLE : status);
    free(rest);
}

static int submit_rest(struct remote_image *image, struct pod_io *io, struct pod_image *opened)
{
    struct rest *rest = malloc(sizeof *rest);
    if (!rest)
        return PS_ENOMEM;
    *rest = (struct rest){.whole = io, .images = image->base.images};
    rest->io = (struct pod_io){.op = io->op,
                               .flags = io->flags,
                               .image = opened,
                               .offset = io->offset + io->cursor,
                               .length = io->length - io->cursor,
                               .buf = (uint8_t *)io->buf + io->cursor};
    const int rc = pod_submit(image->base.pod, &rest->io, on_rest);
    if (rc)
        free(rest);
    return rc;
}

/* The image was opened at the pod a moment ago, so the pod takes requests. */
static void submit_waiting(struct remote_image *image, struct pod_image *opened)
{
    struct host_images *images = image->base.images;
    for (struct list_node *node; (node = list_pop_front(&image->waiting));) {
        struct pod_io *io = container_of(node, struct pod_io, link);
        int rc;
        if (is_change(io) && io->cursor > 0) {
            rc = submit_rest(image, io, opened);
        } else {
            io->image = opened;
            rc = pod_submit(image->base.pod, io, io->cb);
        }
        if (rc)
            host_images_end(images, io, rc);
    }
}

/* Its present name: it may have been renamed since it was opened. */
static void name_of(const struct remote_image *image, char name[POD_FULL_NAME_MAX + 1])
{
    struct pod_image_info info;
    const bool known = !image->opened && pod_image_by_id(image->base.pod, image->info.id, &info) == 0;
    memcpy(name, known ? info.name : image->info.name, POD_FULL_NAME_MAX + 1);
}

static int open_local(const struct remote_image *image, struct pod_image **out, struct pod_image_info *info,
                      struct ps_error *err)
{
    char name[POD_FULL_NAME_MAX + 1];
    name_of(image, name);
    const int rc = pod_image_open(image->base.pod, name, out, err);
    if (rc)
        return rc;
    (void)pod_image_info(*out, info);
    if (image->opened || info->id == image->info.id)
        return 0;
    pod_image_close(*out); /* another one has its name */
    return ps_error_set(err, PS_ENOTFOUND, "the image was deleted");
}

/* From the primary's side of the image to the pod's. */
static void go_local(struct remote_image *image)
{
    struct host_images *images = image->base.images;
    struct pod_image *opened;
    struct pod_image_info info;
    const int rc = open_local(image, &opened, &info, NULL);
    if (rc == PS_EUNAVAILABLE)
        return; /* soon */
    if (rc) {
        image->gone = rc;
        remote_end_waiting(image, rc);
        return;
    }
    image->info = info;
    submit_waiting(image, opened);
    if (image->stale)
        pod_image_close(image->stale);
    image->stale = NULL;
    image->handle = 0;
    image->base.local = opened;
    images->config.wake(images->config.user);
}

/* ---- turns */

/* What the pod here gave back goes before what came since; nothing of it is elsewhere. */
static void renumber(struct remote_image *image)
{
    list_splice_back(&image->again, &image->waiting);
    list_splice_back(&image->waiting, &image->again);
    list_for_each(node, &image->waiting) container_of(node, struct pod_io, link)->seq = ++image->next_seq;
    remote_make_ready(image);
}

static void expire(struct remote_image *image, struct list_node *list, uint64_t now_ns)
{
    list_for_each_safe(node, after, list)
    {
        struct pod_io *io = container_of(node, struct pod_io, link);
        if (io->ticket > now_ns)
            continue;
        list_remove(node);
        end_unsent(image->base.images, io, PS_ENOTPRIMARY);
    }
}

static void tell_refusal(struct remote_image *image)
{
    const struct host_images *images = image->base.images;
    const struct primary_gate *gate = images->config.gate;
    struct ps_error err = {0};
    char detail[sizeof err.detail];
    const int status = gate->refusal(gate->user, &err);
    const char *trouble = images->link ? primary_link_trouble(images->link) : "";
    (void)snprintf(detail, sizeof detail, "%.120s%s%.120s", err.detail, trouble[0] ? "; " : "", trouble);
    remote_opened(image, status, detail);
}

/* The first opening. It may have ended, and the image with it, when this returns. */
static void opening_turn(struct remote_image *image, uint64_t now_ns)
{
    struct ps_error err = {0};
    if (image->broken || now_ns >= image->open_until_ns) {
        tell_refusal(image);
    } else if (!image->base.images->leads || image->opening) {
        remote_make_ready(image);
    } else {
        struct pod_image *opened;
        struct pod_image_info info;
        const int rc = open_local(image, &opened, &info, &err);
        if (rc == PS_EUNAVAILABLE)
            return; /* soon */
        if (rc == 0) {
            image->info = info;
            image->base.local = opened;
        }
        remote_opened(image, rc, err.detail);
    }
}

/* True: something of it waits. */
static bool image_turn(struct remote_image *image, uint64_t now_ns, bool through)
{
    struct host_images *images = image->base.images;
    if (image->base.local)
        return false;
    if (!list_empty(&image->again) && (through || images->leads) && image->calls == 0)
        renumber(image);
    if (image->broken || image->gone)
        remote_end_waiting(image, image->gone ? image->gone : PS_ENOTPRIMARY);
    else if (images->leads && image->calls == 0 && image->lost == 0 && !image->opening)
        go_local(image);
    else
        remote_make_ready(image);
    expire(image, &image->again, now_ns);
    expire(image, &image->waiting, now_ns);
    return !list_empty(&image->again) || !list_empty(&image->waiting);
}

bool remote_turn(struct remote_image *image, uint64_t now_ns, bool through)
{
    if (!image->opened)
        return image_turn(image, now_ns, through);
    opening_turn(image, now_ns);
    return true;
}
