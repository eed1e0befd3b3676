/* Snapshots: see proto/pstorage/v1/snapshots.proto. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "node/host/services_impl.h"
#include "pstorage/v1/snapshots.pb-c.h"

static void reply(struct rpc_call *call, Pstorage__V1__Image *image)
{
    Pstorage__V1__SnapshotResponse response = PSTORAGE__V1__SNAPSHOT_RESPONSE__INIT;
    response.image = image;
    rpc_call_reply(call, &response.base);
}

static void create(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__CreateSnapshotRequest *request = (const void *)message;
    if (is_forwarded(user, call, &pstorage__v1__snapshots__descriptor, "Create", message))
        return;
    struct change *change = change_new(user, call, POD_SNAPSHOT_CREATE, reply);
    if (change && change_snapshot(change, request->name))
        change_submit(change);
}

static void reply_all(struct rpc_call *call, Pstorage__V1__Image *last, uint32_t count)
{
    Pstorage__V1__SnapshotResponse response = PSTORAGE__V1__SNAPSHOT_RESPONSE__INIT;
    response.image = last;
    response.count = count;
    rpc_call_reply(call, &response.base);
}

static void create_all(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__CreateAllSnapshotsRequest *request = (const void *)message;
    if (!check_pod(user, call, request->pod) ||
        is_forwarded(user, call, &pstorage__v1__snapshots__descriptor, "CreateAll", message))
        return;
    struct change *change = change_new(user, call, POD_SNAPSHOT_ALL, NULL);
    if (!change)
        return;
    change->reply_all = reply_all;
    if (change_snapshot_of_all(change, request->name))
        change_submit(change);
}

/* "volume@", before all its snapshots; "" for all volumes. False: the call has ended. */
static bool prefix_of(const struct services *s, struct rpc_call *call, const char *volume,
                      char out[POD_FULL_NAME_MAX + 1])
{
    struct pod_image_info info;
    struct ps_error err;
    out[0] = '\0';
    if (volume[0] == '\0')
        return true;
    if (strchr(volume, '@') || pod_image_by_name(s->config.pod, volume, &info) != PS_OK) {
        (void)ps_error_set(&err, PS_ENOTFOUND, "no volume is named '%s'", volume);
        rpc_call_fail(call, err.status, err.detail);
        return false;
    }
    const size_t length = strlen(info.name);
    assert(length <= POD_NAME_MAX);
    memcpy(out, info.name, length);
    memcpy(out + length, "@", 2);
    return true;
}

static void list(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct services *s = user;
    const Pstorage__V1__ListSnapshotsRequest *request = (const void *)message;
    struct image_page page;
    if (is_for_primary(s, call, &pstorage__v1__snapshots__descriptor, "List", message))
        return;
    char prefix[POD_FULL_NAME_MAX + 1], cursor[POD_FULL_NAME_MAX + 1];
    if (!prefix_of(s, call, request->volume, prefix) ||
        !image_page_open(&page, call, request->page_size, request->page_token))
        return;
    struct pod_image_info info;
    (void)snprintf(cursor, sizeof cursor, "%s", request->page_token[0] ? request->page_token : prefix);
    while (pod_image_after(s->config.pod, cursor, &info) == PS_OK) {
        if (prefix[0] && strncmp(info.name, prefix, strlen(prefix)) != 0)
            break;
        if (info.kind == POD_SNAPSHOT && !image_page_add(&page, s, &info))
            break;
        memcpy(cursor, info.name, sizeof cursor);
    }
    Pstorage__V1__ListSnapshotsResponse response = PSTORAGE__V1__LIST_SNAPSHOTS_RESPONSE__INIT;
    response.snapshots = page.images;
    response.n_snapshots = page.count;
    response.next_page_token = page.next;
    rpc_call_reply(call, &response.base);
    image_page_free(&page);
}

static void delete_snapshot(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__DeleteSnapshotRequest *request = (const void *)message;
    if (is_forwarded(user, call, &pstorage__v1__snapshots__descriptor, "Delete", message))
        return;
    struct change *change = change_new(user, call, POD_SNAPSHOT_DELETE, reply);
    if (!change || !change_snapshot(change, request->name))
        return;
    change->req.force = request->force;
    change_expect(change, request->expect);
    change_submit(change);
}

static void restore(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__RestoreSnapshotRequest *request = (const void *)message;
    if (is_forwarded(user, call, &pstorage__v1__snapshots__descriptor, "Restore", message))
        return;
    struct change *change = change_new(user, call, POD_SNAPSHOT_RESTORE, reply);
    if (!change || !change_snapshot(change, request->name))
        return;
    change_expect(change, request->expect);
    change_submit(change);
}

static const struct rpc_method methods[] = {
    {.name = "Create", .handler = create},   {.name = "CreateAll", .handler = create_all},
    {.name = "List", .handler = list},       {.name = "Delete", .handler = delete_snapshot},
    {.name = "Restore", .handler = restore},
};

const struct rpc_service services_snapshots = {
    .descriptor = &pstorage__v1__snapshots__descriptor,
    .methods = methods,
    .nmethods = sizeof methods / sizeof methods[0],
};
