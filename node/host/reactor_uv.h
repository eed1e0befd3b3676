/* Gives a pod, or the member of a cluster that has one, its turns on a libuv loop: once after each round of
 * events, and at the time the pod asked for. When nothing happens the loop waits; nothing polls.
 *
 * Created after everything on the loop that sends in a prepare callback (the
 * device, RPC): libuv runs the youngest prepare handle first, so what a turn
 * produces goes out in the same round. */
#ifndef PS_NODE_HOST_REACTOR_UV_H
#define PS_NODE_HOST_REACTOR_UV_H

#include <stdint.h>
#include <uv.h>

struct reactor;

enum {
    REACTOR_FOLLOWERS = 4
};

/* PS_ENOMEM. The loop's thread owns the reactor and the pod. */
int reactor_create(uv_loop_t *loop, struct reactor **out);

/* From now on `turn` runs once a round (also while the pod opens): it gets the time (CLOCK_BOOTTIME, ns) and
 * returns when it wants to run again, as pod_turn does. NULL: nobody has turns. */
void reactor_set_turn(struct reactor *reactor, uint64_t (*turn)(void *user, uint64_t now_ns), void *user);
/* The turn is due: the loop comes round at once. */
void reactor_wake(struct reactor *reactor);

/* Runs after each turn of the pod, in the same prepare callback; at most REACTOR_FOLLOWERS. */
void reactor_follow(struct reactor *reactor, void (*turn)(void *user), void *user);
void reactor_unfollow(struct reactor *reactor, void (*turn)(void *user), void *user);

/* No turn is set. Closes the handles and frees; `closed` (may be NULL) runs from the loop. */
void reactor_close(struct reactor *reactor, void (*closed)(void *user), void *user);

#endif
