#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/host/services_impl.h"

static void fail(struct change *change, int status, const char *detail)
{
    rpc_call_fail(change->call, status, detail);
    free(change);
}

struct change *change_new(struct services *s, struct rpc_call *call, enum pod_manage_op op,
                          void (*reply)(struct rpc_call *call, Pstorage__V1__Image *image))
{
    struct change *change = calloc(1, sizeof *change);
    if (!change) {
        rpc_call_fail(call, PS_ENOMEM, NULL);
        return NULL;
    }
    change->services = s;
    change->call = call;
    change->reply = reply;
    change->req.op = op;
    change->req.now_unix_ns = s->config.now_unix_ns(s->config.user);
    const uint8_t *id = rpc_call_operation_id(call);
    _Static_assert(sizeof change->req.operation_id == RPC_OPERATION_ID_BYTES, "one length");
    if (id)
        memcpy(change->req.operation_id, id, sizeof change->req.operation_id);
    return change;
}

bool change_volume(struct change *change, const char *name)
{
    struct ps_error err;
    if (pod_check_volume_name(name, &err)) {
        fail(change, err.status, err.detail);
        return false;
    }
    (void)snprintf(change->req.name, sizeof change->req.name, "%s", name);
    return true;
}

bool change_new_volume(struct change *change, const char *name)
{
    struct ps_error err;
    if (pod_check_volume_name(name, &err)) {
        fail(change, err.status, err.detail);
        return false;
    }
    (void)snprintf(change->req.new_name, sizeof change->req.new_name, "%s", name);
    return true;
}

bool change_snapshot(struct change *change, const char *name)
{
    struct ps_error err;
    char volume[POD_NAME_MAX + 1], snapshot[POD_NAME_MAX + 1];
    if (pod_check_snapshot_name(name, volume, snapshot, &err)) {
        fail(change, err.status, err.detail);
        return false;
    }
    (void)snprintf(change->req.name, sizeof change->req.name, "%s", name);
    return true;
}

bool change_snapshot_of_all(struct change *change, const char *name)
{
    struct ps_error err;
    char full[POD_FULL_NAME_MAX + 2], volume[POD_NAME_MAX + 1], snapshot[POD_NAME_MAX + 1];
    (void)snprintf(full, sizeof full, "v@%.*s", POD_NAME_MAX + 1, name);
    if (pod_check_snapshot_name(full, volume, snapshot, &err)) {
        fail(change, err.status, err.detail);
        return false;
    }
    (void)snprintf(change->req.name, sizeof change->req.name, "%s", name);
    return true;
}

static void done(struct pod_manage *req, int status)
{
    struct change *change = container_of(req, struct change, req);
    if (status) {
        fail(change, status, req->error.detail[0] ? req->error.detail : NULL);
        return;
    }
    struct image_row row;
    image_row_fill(&row, change->services, &req->image);
    if (change->reply_all)
        change->reply_all(change->call, &row.image, req->count);
    else
        change->reply(change->call, &row.image);
    free(change);
}

void change_expect(struct change *change, const Pstorage__V1__Expectation *expect)
{
    if (!expect)
        return;
    change->req.expect_id = expect->id;
    change->req.expect_tag = expect->tag;
}

void change_submit(struct change *change)
{
    const int status = pod_manage(change->services->config.pod, &change->req, done);
    if (status) {
        fail_refused(change->services, change->call, status, "the pod takes no changes now");
        free(change);
    }
}
