#include "node/host/reactor_uv.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/status.h"

struct reactor {
    uv_prepare_t prepare;
    uv_timer_t timer;                              /* the pod's deadline */
    uv_idle_t again;                               /* the pod wants another turn at once */
    uint64_t (*turn)(void *user, uint64_t now_ns); /* NULL: none */
    void *turn_user;
    uint64_t deadline_ns; /* what the timer is set to; UINT64_MAX: stopped */
    struct {
        void (*turn)(void *user);
        void *user;
    } followers[REACTOR_FOLLOWERS];
    unsigned nfollowers;
    unsigned handles; /* still to close */
    void (*closed)(void *user);
    void *user;
};

static void wake(uv_timer_t *timer)
{
    /* The prepare callback does the work; the loop only had to come round. */
    ((struct reactor *)timer->data)->deadline_ns = UINT64_MAX;
}

static void nothing(uv_idle_t *idle)
{
    (void)idle;
}

/* Timers count milliseconds; rounding up keeps an early wake-up from finding nothing due. */
static void set_deadline(struct reactor *r, uint64_t deadline_ns, uint64_t now_ns)
{
    if (deadline_ns <= now_ns)
        (void)uv_idle_start(&r->again, nothing);
    else
        (void)uv_idle_stop(&r->again);
    if (deadline_ns == UINT64_MAX || deadline_ns <= now_ns) {
        if (r->deadline_ns != UINT64_MAX)
            (void)uv_timer_stop(&r->timer);
        r->deadline_ns = UINT64_MAX;
    } else if (deadline_ns != r->deadline_ns) {
        const uint64_t ms = (deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
        uv_update_time(r->timer.loop);
        (void)uv_timer_start(&r->timer, wake, ms, 0);
        r->deadline_ns = deadline_ns;
    }
}

static void turn(uv_prepare_t *prepare)
{
    struct reactor *r = prepare->data;
    if (r->turn) {
        const uint64_t deadline_ns = r->turn(r->turn_user, clock_monotonic_ns());
        /* A turn may have ended in a callback that took it away. */
        if (r->turn)
            set_deadline(r, deadline_ns, clock_monotonic_ns());
    }
    for (unsigned i = 0; i < r->nfollowers; i++)
        r->followers[i].turn(r->followers[i].user);
}

int reactor_create(uv_loop_t *loop, struct reactor **out)
{
    struct reactor *r = calloc(1, sizeof *r);
    if (!r)
        return PS_ENOMEM;
    r->deadline_ns = UINT64_MAX;
    r->prepare.data = r->timer.data = r->again.data = r;
    (void)uv_prepare_init(loop, &r->prepare);
    (void)uv_timer_init(loop, &r->timer);
    (void)uv_idle_init(loop, &r->again);
    (void)uv_prepare_start(&r->prepare, turn);
    *out = r;
    return 0;
}

void reactor_set_turn(struct reactor *r, uint64_t (*turn_fn)(void *user, uint64_t now_ns), void *user)
{
    r->turn = turn_fn;
    r->turn_user = user;
    if (turn_fn) {
        (void)uv_idle_start(&r->again, nothing);
    } else {
        (void)uv_idle_stop(&r->again);
        (void)uv_timer_stop(&r->timer);
        r->deadline_ns = UINT64_MAX;
    }
}

void reactor_wake(struct reactor *r)
{
    if (r->turn)
        (void)uv_idle_start(&r->again, nothing);
}

void reactor_follow(struct reactor *r, void (*fn)(void *user), void *user)
{
    assert(r->nfollowers < REACTOR_FOLLOWERS);
    r->followers[r->nfollowers].turn = fn;
    r->followers[r->nfollowers++].user = user;
}

void reactor_unfollow(struct reactor *r, void (*fn)(void *user), void *user)
{
    for (unsigned i = 0; i < r->nfollowers; i++) {
        if (r->followers[i].turn != fn || r->followers[i].user != user)
            continue;
        for (r->nfollowers--; i < r->nfollowers; i++)
            r->followers[i] = r->followers[i + 1];
        return;
    }
    assert(false && "not a follower");
}

static void handle_closed(uv_handle_t *handle)
{
    struct reactor *r = handle->data;
    if (--r->handles > 0)
        return;
    void (*closed)(void *) = r->closed;
    void *user = r->user;
    free(r);
    if (closed)
        closed(user);
}

void reactor_close(struct reactor *r, void (*closed)(void *user), void *user)
{
    assert(!r->turn);
    r->closed = closed;
    r->user = user;
    r->handles = 3;
    uv_close((uv_handle_t *)&r->prepare, handle_closed);
    uv_close((uv_handle_t *)&r->timer, handle_closed);
    uv_close((uv_handle_t *)&r->again, handle_closed);
}
