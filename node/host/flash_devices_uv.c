#include "node/host/flash_devices_uv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/blkdev_scratch.h"
#include "common/blkdev_uring.h"
#include "common/container.h"
#include "common/log.h"
#include "common/nand/nand_file_uv.h"
#include "node/flash/anchor.h"
#include "node/host/flash_devices_impl.h"

enum {
    TICK_MS = 5, /* while a device is rebuilt, and only then */
    HEAD_BYTES = 1 << 20,
    SCRATCH_BYTES = 256 << 20, /* of a device: what an opening that is not to write makes right in memory */
};

/* ---- devices */

static void log_simulated(const struct blkdev *flash)
{
    struct nand_health health;
    nand_drive_health(nand_file_drive(flash), &health);
    log_warn("flash", "simulated flash is for tests: it does not outlive a crash of the host",
             LOG_S("device", flash->name), LOG_U("used_percent", health.used_percent),
             LOG_U("spare_percent", health.spare_percent), LOG_U("retired_zones", health.retired_zones),
             LOG_U("media_errors", health.media_errors));
}

/* One of several is as large as it was when it came; a cut one looks the same. */
static int no_member_grows(const void *head, uint64_t has_bytes, struct ps_error *err)
{
    (void)head;
    (void)has_bytes;
    return ps_error_set(err, PS_EINVAL, "it was cut, or size= was raised, which is for a pool on one device");
}

/* `prepared`: opened already (blkdev_uring_prepare), or NULL. */
int flash_device_open(struct flash_devices *f, struct device *d, struct blkdev *prepared,
                      struct ps_error *err)
{
    /* A file whose pool is to be larger: one with a pool by itself. */
    const struct blkdev_uring_options options = {.may_grow = f->several ? no_member_grows : label_may_grow};
    const bool simulated = d->spec.kind == BLKDEV_KIND_SIM;
    const int rc = prepared    ? blkdev_uring_start(f->config.loop, prepared, &d->dev, err)
                   : simulated ? nand_file_open(f->config.loop, &d->spec, &d->dev, err)
                               : blkdev_uring_open(f->config.loop, &d->spec, &options, &d->dev, err);
    if (rc) {
        d->dev = NULL;
        return rc;
    }
    log_info("flash", "device open", LOG_S("device", d->dev->name),
             LOG_U("size_bytes", d->dev->geometry.size_bytes),
             LOG_S("engine", simulated ? "simulated" : blkdev_uring_engine(d->dev)));
    if (simulated)
        log_simulated(d->dev);
    return 0;
}

void flash_device_close(struct device *d)
{
    if (d->dev)
        blkdev_destroy(d->dev);
    if (d->below)
        blkdev_destroy(d->below);
    *d = (struct device){0};
}

/* What opening an array makes right, after a power cut or with a device missing, is made right in memory. */
static bool forget_writes(struct device *d)
{
    struct blkdev *scratch = d->dev ? blkdev_scratch_create(d->dev, SCRATCH_BYTES) : NULL;
    if (!d->dev)
        return true;
    if (!scratch)
        return false;
    d->below = d->dev;
    d->dev = scratch;
    return true;
}

struct device *flash_devices_entry(struct flash_devices *f)
{
    for (size_t i = 0; i < sizeof f->device / sizeof f->device[0]; i++)
        if (!f->device[i].used) {
            f->device[i].used = true;
            return &f->device[i];
        }
    return NULL;
}

/* Those that the array does not use are for others, or to be attached. */
void flash_devices_close_unused(struct flash_devices *f)
{
    for (size_t i = 0; i < sizeof f->device / sizeof f->device[0]; i++) {
        struct device *d = &f->device[i];
        if (!d->used || (d->dev && array_holds(f->array, d->dev)))
            continue;
        if (d->dev)
            array_forget(f->array, d->dev);
        flash_device_close(d);
    }
}

/* ---- turns */

bool flash_devices_busy(const struct flash_devices *f)
{
    return f->cb || f->changed;
}

static void grow_alone(struct flash_devices *f);

static void on_tick(uv_timer_t *timer)
{
    struct flash_devices *f = timer->data;
    struct array_info info;
    (void)array_turn(f->array, uv_now(timer->loop) * 1000000);
    if (!flash_devices_busy(f))
        flash_devices_close_unused(f);
    if (f->grow_wanted)
        grow_alone(f);
    array_look(f->array, &info);
    for (unsigned i = 0; i < info.members; i++)
        if ((info.member[i].state == ARRAY_REBUILDING && !info.failed && !f->config.read_only) ||
            (info.member[i].dev && !array_holds(f->array, info.member[i].dev)))
            return;
    if (f->grow_wanted)
        return;
    (void)uv_timer_stop(timer);
    f->ticking = false;
}

void flash_devices_tick(struct flash_devices *f)
{
    if (f->ticking || !f->whole || !f->array)
        return;
    f->ticking = true;
    (void)uv_timer_start(&f->timer, on_tick, TICK_MS, TICK_MS);
}

/* A device that is lost is closed as soon as nothing of it is on its way: it may come back. */
void flash_devices_event(void *user, const char *kind, const char *text)
{
    struct flash_devices *f = user;
    flash_devices_tick(f);
    if (f->config.event)
        f->config.event(f->config.user, kind, text);
}

/* The last device of those with parity has been replaced by a larger one. */
static void on_grown(void *user)
{
    struct flash_devices *f = user;
    f->grow_wanted = true;
    flash_devices_tick(f);
}

static void grown_alone(void *user, int status)
{
    (void)user;
    if (status)
        log_warn("flash", "the pool does not grow now; the next start sees to it",
                 LOG_S("status", ps_status_name(status)));
}

static void grow_alone(struct flash_devices *f)
{
    struct ps_error err = {0};
    const int rc = f->config.grow(f->config.user, grown_alone, f, &err);
    /* The pool is not open yet, or grows already. */
    f->grow_wanted = rc == PS_EUNAVAILABLE || rc == PS_EPRECONDITION;
    if (rc && !f->grow_wanted)
        grown_alone(f, rc);
}

static bool is_in_use(void *user, uint64_t offset, uint64_t length)
{
    const struct flash_devices *f = user;
    return !f->config.in_use || f->config.in_use(f->config.user, offset, length);
}

/* ---- opening */

/* "Missing" is no answer to whoever named it. */
static void add_why_absent(struct flash_devices *f)
{
    const struct ps_error said = *f->err;
    if (f->absent.detail[0])
        (void)ps_error_set(f->err, said.status, "%s; %s", said.detail, f->absent.detail);
}

static void end(struct flash_devices *f, int status)
{
    const flash_devices_cb cb = f->cb;
    f->cb = NULL;
    if (status)
        add_why_absent(f);
    cb(f->user, status);
}

static void array_opened(void *user, int status)
{
    struct flash_devices *f = user;
    if (status == 0) {
        struct array_info info;
        array_look(f->array, &info);
        f->whole = array_device(f->array);
        flash_devices_close_unused(f);
        log_info("flash", "array open", LOG_U("devices", info.members), LOG_U("parity", info.parity),
                 LOG_U("lost", info.lost), LOG_U("size_bytes", f->whole->geometry.size_bytes));
        flash_devices_tick(f);
    }
    end(f, status);
}

static unsigned parity_of(const struct flash_devices *f, unsigned count)
{
    if (f->config.parity != FLASH_PARITY_AUTO)
        return (unsigned)f->config.parity;
    return count < 3 ? 0 : count < 6 ? 1 : 2;
}

struct array_config flash_devices_array_config(struct flash_devices *f, unsigned count)
{
    return (struct array_config){
        .seed = {f->config.seed[0], f->config.seed[1]},
        .parity = parity_of(f, count),
        .parity_asked = f->config.parity != FLASH_PARITY_AUTO,
        .rebuild_rate = f->config.rebuild_rate,
        .look_only = f->config.read_only,
        .event = flash_devices_event,
        .in_use = is_in_use,
        .grown = on_grown,
        .user = f,
    };
}

static int open_array(struct flash_devices *f, unsigned count)
{
    for (unsigned i = 0; i < count && f->config.read_only; i++)
        if (!forget_writes(&f->device[i]))
            return ps_error_set(f->err, PS_ENOMEM, "out of memory");
    struct array_device list[ARRAY_MEMBERS_MAX];
    for (unsigned i = 0; i < count; i++)
        list[i] = (struct array_device){f->device[i].dev, f->device[i].spec.path};
    const struct array_config config = flash_devices_array_config(f, count);
    return array_open(list, count, &config, array_opened, f, f->err, &f->array);
}

/* One device: a member of an array whose others are lost, or a pool by itself. */
static void looked(struct blkdev_req *req, int status)
{
    struct flash_devices *f = container_of(req, struct flash_devices, look);
    const bool member = status == 0 && array_is_member(f->head);
    free(f->head);
    f->head = NULL;
    if (!member) {
        f->whole = f->device[0].dev;
        end(f, 0);
        return;
    }
    const int rc = open_array(f, 1);
    if (rc)
        end(f, rc);
}

static int open_alone(struct flash_devices *f)
{
    const uint64_t size = f->device[0].dev->geometry.size_bytes;
    f->head = aligned_alloc(BLKDEV_ALIGN, HEAD_BYTES);
    if (!f->head)
        return ps_error_set(f->err, PS_ENOMEM, "out of memory");
    memset(f->head, 0, HEAD_BYTES);
    f->look = (struct blkdev_req){
        .op = BLKDEV_READ, .length = size < HEAD_BYTES ? (uint32_t)size : HEAD_BYTES, .buf = f->head};
    return blkdev_submit(f->device[0].dev, &f->look, looked);
}

/* What a lost device looks like; anything else is a mistake of somebody's. */
static bool may_be_lost(int status)
{
    return status == PS_ENOTFOUND || status == PS_EIO || status == PS_EINVAL;
}

int flash_devices_open(const struct flash_devices_config *config, const char *specs, flash_devices_cb cb,
                       void *user, struct ps_error *err, struct flash_devices **out)
{
    struct blkdev_spec list[ARRAY_MEMBERS_MAX];
    size_t count = 0, open = 0;
    int rc = blkdev_spec_list_parse(specs, list, ARRAY_MEMBERS_MAX, &count, err);
    if (rc)
        return rc;
    if (config->parity > 0 && (size_t)config->parity >= count)
        return ps_error_set(err, PS_EINVAL,
                            "PSTORAGE_ERASURE_CODING=%d needs %d devices or more, and PSTORAGE_FLASH_DEVICES "
                            "names %zu; a pool without parity has PSTORAGE_ERASURE_CODING=off",
                            config->parity, config->parity + 1, count);
    struct flash_devices *f = calloc(1, sizeof *f);
    if (!f)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    f->config = *config;
    f->cb = cb;
    f->user = user;
    f->err = err;
    f->several = count > 1;
    (void)uv_timer_init(config->loop, &f->timer);
    f->timer.data = f;
    for (size_t i = 0; i < count && rc == 0; i++) {
        struct device *d = flash_devices_entry(f);
        struct ps_error reason;
        d->spec = list[i];
        d->spec.read_only = config->read_only;
        rc = flash_device_open(f, d, NULL, &reason);
        open += rc == 0;
        if (rc && count > 1 && may_be_lost(rc)) {
            log_warn("flash", "a device cannot be opened", LOG_S("device", list[i].path),
                     LOG_S("reason", reason.detail));
            if (!f->absent.detail[0])
                f->absent = reason;
            rc = 0;
        } else if (rc) {
            (void)ps_error_set(err, rc, "%s", reason.detail);
        }
    }
    if (rc == 0 && open == 0)
        rc = ps_error_set(err, PS_ENOTFOUND, "none of the %zu devices can be opened", count);
    if (rc == 0)
        rc = count == 1 ? open_alone(f) : open_array(f, (unsigned)count);
    if (rc) {
        flash_devices_close(f, NULL, NULL);
        return rc;
    }
    *out = f;
    return 0;
}

/* ---- closing */

static void timer_closed(uv_handle_t *handle)
{
    struct flash_devices *f = handle->data;
    void (*closed)(void *user) = f->closed;
    void *user = f->closed_user;
    free(f);
    if (closed)
        closed(user);
}

static void take_apart(struct flash_devices *f)
{
    if (f->array)
        array_destroy(f->array);
    if (f->forming)
        array_destroy(f->forming);
    for (size_t i = 0; i < sizeof f->device / sizeof f->device[0]; i++)
        flash_device_close(&f->device[i]);
    free(f->head);
    uv_close((uv_handle_t *)&f->timer, timer_closed);
}

static void array_closed(void *user, int status)
{
    if (status)
        log_warn("flash", "the array cannot be closed; the next start does what is left",
                 LOG_S("status", ps_status_name(status)));
    take_apart(user);
}

void flash_devices_close(struct flash_devices *f, void (*cb)(void *user), void *user)
{
    f->closed = cb;
    f->closed_user = user;
    f->closing = true;
    if (f->opening.under_way)
        return; /* opened goes on here */
    if (f->forming && flash_devices_busy(f))
        return; /* attached goes on here */
    if (f->array && f->whole)
        array_close(f->array, array_closed, f);
    else
        take_apart(f);
}

/* ---- looking */

struct blkdev *flash_devices_whole(const struct flash_devices *f)
{
    return f->whole;
}

struct array *flash_devices_array(const struct flash_devices *f)
{
    return f->array;
}

void flash_devices_each(const struct flash_devices *f,
                        void (*each)(void *user, const struct blkdev *dev, enum blkdev_kind kind), void *user)
{
    for (size_t i = 0; i < sizeof f->device / sizeof f->device[0]; i++)
        if (f->device[i].dev)
            each(user, f->device[i].dev, f->device[i].spec.kind);
}

void flash_devices_set_smart(struct flash_devices *f, const char *name, const struct blkdev_smart *smart)
{
    for (size_t i = 0; i < sizeof f->device / sizeof f->device[0]; i++) {
        struct device *d = &f->device[i];
        if (d->dev && d->spec.kind != BLKDEV_KIND_SIM && strcmp(d->dev->name, name) == 0)
            blkdev_uring_set_smart(d->dev, smart);
    }
}
