#include "node/host/drives_watch_uv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container.h"
#include "common/log.h"

/* What was last heard of a device. */
struct watched {
    char name[DRIVE_NAME_MAX + 1];
    bool known;
    uint8_t warnings;
};

struct drives_watch {
    struct drives_watch_config config;
    uv_timer_t timer;
    struct drive_job job;
    bool asking;
    /* The round. */
    struct drive_pooled pooled[BLKDEV_SPECS_MAX];
    size_t npooled, at;
    struct watched watched[BLKDEV_SPECS_MAX]; /* of this round's devices; those that are gone are forgotten */
    size_t nwatched;
    void (*stopped)(void *user);
    void *stopped_user;
};

static void ask_next(struct drives_watch *w);

static void timer_closed(uv_handle_t *handle)
{
    struct drives_watch *w = handle->data;
    void (*stopped)(void *) = w->stopped;
    void *user = w->stopped_user;
    free(w);
    stopped(user);
}

static struct watched *find(struct drives_watch *w, const char *name)
{
    for (size_t i = 0; i < w->nwatched; i++)
        if (strcmp(w->watched[i].name, name) == 0)
            return &w->watched[i];
    return NULL;
}

static void tell_warnings(struct drives_watch *w, const char *name, uint8_t warnings)
{
    static const char *const texts[] = {
        "its spare blocks are nearly used up",
        "its temperature is out of bounds",
        "it is not reliable any more",
        "it takes no writes any more",
        "its backup of volatile memory fails",
        "its persistent memory is read-only or unreliable",
        "a warning that this version has no word for",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char text[256];
        const unsigned bits = i < 6 ? 1u << i : 0xc0;
        if (!(warnings & bits))
            continue;
        (void)snprintf(text, sizeof text, "%.120s warns: %s", name, texts[i]);
        w->config.event(w->config.user, "device.warning", text);
    }
}

static void heard(struct drives_watch *w, const char *name, const struct nvme_smart *s)
{
    const struct blkdev_smart smart = {
        .known = true,
        .critical_warning = s->critical_warning,
        .used_percent = s->used_percent,
        .spare_percent = s->spare_percent,
        .kelvin = s->kelvin,
        .media_errors = s->media_errors,
    };
    struct watched *last = find(w, name);
    if (!last->known)
        log_info("flash", "health", LOG_S("device", name), LOG_U("used_percent", s->used_percent),
                 LOG_U("spare_percent", s->spare_percent), LOG_U("kelvin", s->kelvin),
                 LOG_U("media_errors", s->media_errors), LOG_U("critical_warning", s->critical_warning));
    last->known = true;
    w->config.told(w->config.user, name, &smart);
    tell_warnings(w, name, s->critical_warning & (uint8_t)~last->warnings);
    last->warnings = s->critical_warning;
}

static void answered(struct drive_job *job, int status)
{
    static const struct blkdev_smart unknown;
    struct drives_watch *w = container_of(job, struct drives_watch, job);
    w->asking = false;
    if (w->stopped) {
        uv_close((uv_handle_t *)&w->timer, timer_closed);
        return;
    }
    const char *name = w->pooled[w->at++].name;
    if (status)
        w->config.told(w->config.user, name, &unknown);
    else
        heard(w, name, &job->smart);
    ask_next(w);
}

static void ask_next(struct drives_watch *w)
{
    for (; w->at < w->npooled; w->at++) {
        const struct drive_pooled *p = &w->pooled[w->at];
        if (!p->smart_known && p->kind != BLKDEV_KIND_NVME && p->kind != BLKDEV_KIND_BLOCK)
            continue;
        w->job = (struct drive_job){.op = DRIVE_SMART, .device = w->pooled[w->at].name, .done = answered};
        w->asking = w->config.drives->submit(w->config.drives, &w->job) == 0;
        /* Where too much is under way the next round asks. */
        if (w->asking)
            return;
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct drives_watch *w = timer->data;
    struct watched kept[BLKDEV_SPECS_MAX];
    if (w->asking)
        return;
    w->npooled = w->config.pooled(w->config.user, w->pooled, BLKDEV_SPECS_MAX);
    w->at = 0;
    for (size_t i = 0; i < w->npooled; i++) {
        const struct watched *last = find(w, w->pooled[i].name);
        kept[i] = last ? *last : (struct watched){0};
        memcpy(kept[i].name, w->pooled[i].name, sizeof kept[i].name);
    }
    memcpy(w->watched, kept, w->npooled * sizeof kept[0]);
    w->nwatched = w->npooled;
    ask_next(w);
}

int drives_watch_start(const struct drives_watch_config *config, struct drives_watch **out)
{
    struct drives_watch *w = calloc(1, sizeof *w);
    if (!w)
        return PS_ENOMEM;
    w->config = *config;
    (void)uv_timer_init(config->loop, &w->timer);
    w->timer.data = w;
    (void)uv_timer_start(&w->timer, on_timer, 0, config->interval_ms);
    *out = w;
    return 0;
}

void drives_watch_stop(struct drives_watch *w, void (*stopped)(void *user), void *user)
{
    w->stopped = stopped;
    w->stopped_user = user;
    (void)uv_timer_stop(&w->timer);
    if (!w->asking)
        uv_close((uv_handle_t *)&w->timer, timer_closed);
}
