/* Flash devices that come and go.
 *
 * Attach: the device is opened beside the loop, then it is the array's; where the pool lies on one device
 * that becomes the first member of one, and the pool moves there. A pool without parity grows at once.
 *
 * Detach of a pool without parity: the pool empties what lies there, which takes its time; then it is the
 * array's to let it go. A pool that stops before keeps it. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/blkdev_uring.h"
#include "common/container.h"
#include "common/log.h"
#include "node/host/flash_devices_impl.h"

unsigned flash_devices_vacated_percent(const struct flash_devices *f)
{
    const uint64_t left = f->leaving.name[0] ? f->config.vacate_left(f->config.user) : 0;
    return left >= f->leaving.bytes ? 0 : (unsigned)((f->leaving.bytes - left) * 100 / f->leaving.bytes);
}

static int is_possible(const struct flash_devices *f, struct ps_error *err)
{
    if (flash_devices_busy(f))
        return ps_error_set(err, PS_EUNAVAILABLE, "another device is being attached or taken out");
    if (f->leaving.name[0])
        return ps_error_set(err, PS_EUNAVAILABLE, "%s is being emptied, to be taken out", f->leaving.name);
    return 0;
}

static void begin(struct flash_devices *f, device_change_cb cb, void *user, struct ps_error *err)
{
    f->changed = cb;
    f->user = user;
    f->err = err;
}

static void end_change(struct flash_devices *f, int status, enum device_outcome outcome)
{
    const device_change_cb cb = f->changed;
    f->changed = NULL;
    cb(f->user, status, outcome);
}

/* ---- attach */

static void grown(void *user, int status)
{
    struct flash_devices *f = user;
    if (status)
        (void)ps_error_set(f->err, status,
                           "it is attached and needed from now on, but the pool does not grow before the "
                           "next start: %s",
                           ps_status_text(status));
    end_change(f, status, DEVICE_ADDED);
}

static void close_later(uv_timer_t *timer)
{
    struct flash_devices *f = timer->data;
    flash_devices_close(f, f->closed, f->closed_user);
}

/* A file that was made for an attach that came to nothing. What the array names it needs, whatever failed. */
static void remove_made(struct flash_devices *f, struct blkdev *dev)
{
    const struct array *array = f->array ? f->array : f->forming;
    const char *path = f->opening.device->spec.path;
    if (!blkdev_uring_made_file(dev) || (array && array_holds(array, dev)))
        return;
    if (unlink(path))
        log_warn("flash", "a file made for a device that was not attached cannot be removed",
                 LOG_S("path", path), LOG_S("error", strerror(errno)));
}

static void attached(void *user, int status)
{
    struct flash_devices *f = user;
    struct array_info info;
    const bool forming = f->forming;
    if (status)
        remove_made(f, f->opening.device->dev);
    if (forming && status == 0) {
        f->array = f->forming;
        f->forming = NULL;
        f->whole = array_device(f->array);
        f->config.move(f->config.user, f->whole);
    }
    /* The one that it replaces, or itself if it was not taken. */
    if (f->array)
        flash_devices_close_unused(f);
    else
        flash_device_close(f->opening.device);
    flash_devices_tick(f);
    if (status == 0)
        array_look(f->array, &info);
    if (status || info.parity) {
        end_change(f, status, DEVICE_REBUILDING);
    } else {
        struct ps_error reason = {0};
        const int rc = f->config.grow(f->config.user, grown, f, &reason);
        if (rc)
            grown(f, rc);
    }
    /* Not here: the array is in the middle of its callback. */
    if (forming && f->closing)
        (void)uv_timer_start(&f->timer, close_later, 0, 0);
}

static void prepare(uv_work_t *work)
{
    struct flash_devices *f = container_of(work, struct flash_devices, opening.work);
    f->opening.status = blkdev_uring_prepare(&f->opening.device->spec, NULL, &f->opening.prepared, f->err);
}

static int attach_to(struct flash_devices *f, struct array *array)
{
    const struct device *d = f->opening.device;
    const struct array_device device = {d->dev, d->spec.path};
    return array_attach(array, &device, attached, f, f->err);
}

/* The pool's one device is an array in memory: it takes the other one. */
static void formed(void *user, int status)
{
    struct flash_devices *f = user;
    if (status == 0)
        status = attach_to(f, f->forming);
    if (status)
        attached(f, status);
}

static int form(struct flash_devices *f)
{
    const struct array_device lone = {f->device[0].dev, f->device[0].spec.path};
    struct array_config config = flash_devices_array_config(f, 1);
    config.adopt = true;
    /* Each begins at the same label: what was attached in vain before has an identity of its own. */
    config.seed[1] += ++f->formings;
    if (f->forming)
        array_destroy(f->forming);
    f->forming = NULL;
    return array_open(&lone, 1, &config, formed, f, f->err, &f->forming);
}

static void opened(uv_work_t *work, int cancelled)
{
    struct flash_devices *f = container_of(work, struct flash_devices, opening.work);
    struct device *d = f->opening.device;
    int rc = cancelled ? PS_ECANCELLED : f->opening.status;
    f->opening.under_way = false;
    if (rc == 0 && f->closing) {
        remove_made(f, f->opening.prepared);
        blkdev_uring_discard(f->opening.prepared);
        rc = PS_ECANCELLED;
    } else if (rc == 0) {
        rc = flash_device_open(f, d, f->opening.prepared, f->err);
        if (rc == 0)
            rc = f->array ? attach_to(f, f->array) : form(f);
    }
    if (rc) {
        if (d->dev)
            remove_made(f, d->dev);
        flash_device_close(d);
        end_change(f, rc, DEVICE_REBUILDING);
    }
    if (f->closing)
        flash_devices_close(f, f->closed, f->closed_user);
}

int flash_devices_attach(struct flash_devices *f, const char *spec, device_change_cb cb, void *user,
                         struct ps_error *err)
{
    struct blkdev_spec parsed;
    int rc = is_possible(f, err);
    if (rc == 0)
        rc = blkdev_spec_parse(spec, strlen(spec), &parsed, err);
    if (rc == 0 && parsed.kind == BLKDEV_KIND_SIM)
        rc = ps_error_set(err, PS_EINVAL,
                          "simulated flash is zoned: it can be a pool alone, not one of several devices");
    if (rc == 0 && !f->array && f->whole->geometry.zoned)
        rc = ps_error_set(err, PS_EPRECONDITION,
                          "the pool lies on %s, which is zoned: such a device can be a pool alone, not one "
                          "of several",
                          f->device[0].spec.path);
    if (rc)
        return rc;
    /* One that was lost, and is open still, may be the one that comes back. */
    if (f->array)
        flash_devices_close_unused(f);
    struct device *d = flash_devices_entry(f);
    if (!d)
        return ps_error_set(err, PS_ELIMIT, "too many devices are open");
    d->spec = parsed;
    begin(f, cb, user, err);
    f->opening.device = d;
    f->opening.under_way = true;
    rc = uv_queue_work(f->config.loop, &f->opening.work, prepare, opened);
    assert(rc == 0);
    return 0;
}

/* ---- detach */

static void detached(void *user, int status)
{
    struct flash_devices *f = user;
    flash_devices_close_unused(f);
    end_change(f, status, DEVICE_TAKEN_OUT);
}

static bool leaves(void *user, uint64_t offset, uint64_t length)
{
    const struct flash_devices *f = user;
    return array_leaves(f->array, offset, length);
}

static void stays(struct flash_devices *f, int status, const char *why)
{
    char text[256];
    (void)snprintf(text, sizeof text, "%.96s stays in the pool: %.140s", f->leaving.name,
                   why[0] ? why : ps_status_text(status));
    array_stay(f->array);
    f->leaving.name[0] = '\0';
    flash_devices_event(f, "device.stays", text);
}

static void left(void *user, int status)
{
    struct flash_devices *f = user;
    f->config.vacate_stop(f->config.user);
    if (status) {
        stays(f, status, f->leaving.err.detail);
        return;
    }
    f->leaving.name[0] = '\0';
    flash_devices_close_unused(f);
}

static void vacated(void *user, int status)
{
    struct flash_devices *f = user;
    if (status) {
        stays(f, status,
              status == PS_EFULL          ? "the others have no room for what was written meanwhile"
              : status == PS_EDATALOSS    ? "some of what lies on it cannot be read"
              : status == PS_EUNAVAILABLE ? "the node was stopped; ask for it again"
                                          : "");
        return;
    }
    status = array_detach(f->array, f->leaving.name, left, f, &f->leaving.err);
    if (status)
        left(f, status);
}

static int leave(struct flash_devices *f, const char *name, struct ps_error *err)
{
    int rc = array_leave(f->array, name, err);
    if (rc)
        return rc;
    (void)snprintf(f->leaving.name, sizeof f->leaving.name, "%s",
                   strlen(name) < ARRAY_NAME_BYTES ? name : name + strlen(name) - (ARRAY_NAME_BYTES - 1));
    f->leaving.err = (struct ps_error){0};
    rc = f->config.vacate(f->config.user, leaves, vacated, f, err);
    if (rc) {
        array_stay(f->array);
        f->leaving.name[0] = '\0';
        return rc;
    }
    f->leaving.bytes = f->config.vacate_left(f->config.user);
    return 0;
}

int flash_devices_detach(struct flash_devices *f, const char *name, device_change_cb cb, void *user,
                         struct ps_error *err)
{
    struct array_info info;
    int rc = is_possible(f, err);
    if (rc == 0 && !f->array)
        rc = ps_error_set(err, PS_EPRECONDITION, "the pool lies on one device: it cannot be taken out");
    if (rc)
        return rc;
    array_look(f->array, &info);
    if (info.parity) {
        begin(f, cb, user, err);
        rc = array_detach(f->array, name, detached, f, err);
        if (rc)
            f->changed = NULL;
        return rc;
    }
    rc = leave(f, name, err);
    if (rc == 0)
        cb(user, 0, DEVICE_LEAVING);
    return rc;
}
