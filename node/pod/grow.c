/* A pool that grows with its device. */
#include "node/pod/pod_impl.h"

int pod_grow(struct pod *pod, void (*cb)(void *user, int status), void *user, struct ps_error *err)
{
    (void)cb;
    (void)user;
    return ps_error_set(err, PS_EUNIMPLEMENTED, "%s: this program cannot enlarge a pool", pod->dev->name);
}
