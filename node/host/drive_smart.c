#include "node/host/drive_smart.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/container.h"

struct watched {
    char name[DRIVE_NAME_MAX + 1]; /* "": free */
    bool wanted, known;
    struct nvme_smart smart;
};

struct drive_smart {
    struct drives *drives;
    struct watched watched[DRIVE_SMART_MAX];
    struct drive_job job;
    struct watched *asked; /* NULL: no round is under way */
    bool stopping;
    void (*ended)(void *user);
    void *user;
};

struct drive_smart *drive_smart_create(struct drives *drives)
{
    struct drive_smart *s = calloc(1, sizeof *s);
    if (s)
        s->drives = drives;
    return s;
}

void drive_smart_destroy(struct drive_smart *s)
{
    assert(!s->asked);
    free(s);
}

const struct nvme_smart *drive_smart_look(struct drive_smart *s, const char *name)
{
    struct watched *unused = NULL;
    for (size_t i = 0; i < DRIVE_SMART_MAX; i++) {
        struct watched *w = &s->watched[i];
        if (w->name[0] && strcmp(w->name, name) == 0) {
            w->wanted = true;
            return w->known ? &w->smart : NULL;
        }
        /* One that nobody looked at since the last round is gone; the one that is asked must stay. */
        if (!w->wanted && w != s->asked && !unused)
            unused = w;
    }
    const size_t length = strlen(name);
    if (unused && length && length <= DRIVE_NAME_MAX) {
        *unused = (struct watched){.wanted = true};
        memcpy(unused->name, name, length + 1);
    }
    return NULL;
}

static void ask_next(struct drive_smart *s);

static void done(struct drive_job *job, int status)
{
    struct drive_smart *s = container_of(job, struct drive_smart, job);
    s->asked->known = status == 0;
    s->asked->smart = job->smart;
    ask_next(s);
}

static void ask_next(struct drive_smart *s)
{
    const size_t from = s->asked ? (size_t)(s->asked - s->watched) + 1 : 0;
    s->asked = NULL;
    for (size_t i = from; i < DRIVE_SMART_MAX && !s->stopping; i++) {
        struct watched *w = &s->watched[i];
        if (!w->wanted)
            continue;
        w->wanted = false;
        s->job = (struct drive_job){.op = DRIVE_SMART, .device = w->name, .done = done};
        s->asked = w;
        if (s->drives->submit(s->drives, &s->job) == 0)
            return;
        s->asked = NULL; /* too much is asked for just now */
    }
    if (s->stopping)
        s->ended(s->user);
}

void drive_smart_ask(struct drive_smart *s)
{
    if (!s->asked && !s->stopping)
        ask_next(s);
}

void drive_smart_stop(struct drive_smart *s, void (*ended)(void *user), void *user)
{
    s->stopping = true;
    s->ended = ended;
    s->user = user;
    if (!s->asked)
        ended(user);
}
