/* Gives a pod its turns on a libuv loop: once after each round of events, and
 * at the time the pod asked for. When nothing happens the loop waits; nothing polls.
 *
 * Created after everything on the loop that sends in a prepare callback (the
 * device, RPC): libuv runs the youngest prepare handle first, so what a turn
 * produces goes out in the same round. */
#ifndef PS_NODE_HOST_REACTOR_UV_H
#define PS_NODE_HOST_REACTOR_UV_H

#include <uv.h>

struct pod;
struct reactor;

enum {
    REACTOR_FOLLOWERS = 4
};

/* PS_ENOMEM. The loop's thread owns the reactor and the pod. */
int reactor_create(uv_loop_t *loop, struct reactor **out);

/* From now on `pod` has turns (also while it opens); NULL: none has. */
void reactor_set_pod(struct reactor *reactor, struct pod *pod);

/* Runs after each turn of the pod, in the same prepare callback; at most REACTOR_FOLLOWERS. */
void reactor_follow(struct reactor *reactor, void (*turn)(void *user), void *user);
void reactor_unfollow(struct reactor *reactor, void (*turn)(void *user), void *user);

/* No pod is set. Closes the handles and frees; `closed` (may be NULL) runs from the loop. */
void reactor_close(struct reactor *reactor, void (*closed)(void *user), void *user);

#endif
