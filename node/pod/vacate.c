/* A part of the device is emptied, so that it can be taken away. */
#include "node/pod/pod_impl.h"

int pod_vacate(struct pod *pod, bool (*leaves)(void *user, uint64_t offset, uint64_t length),
               void (*cb)(void *user, int status), void *user, struct ps_error *err)
{
    (void)leaves;
    (void)cb;
    (void)user;
    return ps_error_set(err, PS_EUNIMPLEMENTED, "%s: this program cannot make a pool smaller",
                        pod->dev->name);
}

void pod_vacate_stop(struct pod *pod)
{
    (void)pod;
}

uint64_t pod_vacate_left(const struct pod *pod)
{
    (void)pod;
    return 0;
}
