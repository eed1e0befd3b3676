/* Volumes: see proto/pstorage/v1/volumes.proto. */
#include <inttypes.h>
#include <string.h>

#include "node/host/services_impl.h"
#include "pstorage/v1/volumes.pb-c.h"

static void reply(struct rpc_call *call, Pstorage__V1__Image *image)
{
    Pstorage__V1__VolumeResponse response = PSTORAGE__V1__VOLUME_RESPONSE__INIT;
    response.volume = image;
    rpc_call_reply(call, &response.base);
}

static void create(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__CreateVolumeRequest *request = (const void *)message;
    if (is_forwarded(user, call, &pstorage__v1__volumes__descriptor, "Create", message))
        return;
    if (!check_pod(user, call, request->pod))
        return;
    struct change *change = change_new(user, call, POD_VOLUME_CREATE, reply);
    if (!change || !change_volume(change, request->name))
        return;
    change->req.size_bytes = request->size_bytes;
    change->req.write_cache = request->write_cache;
    change_submit(change);
}

/* Sorts behind all snapshots of `snapshot`'s volume and before the next volume: '@' is followed by
 * characters of names only, all of them smaller than DEL. */
static void skip_snapshots(char *cursor, const char *snapshot)
{
    const size_t volume = (size_t)(strchr(snapshot, '@') - snapshot);
    memcpy(cursor, snapshot, volume);
    memcpy(cursor + volume, "@\x7f", 3);
}

bool next_volume(const struct services *s, char cursor[POD_FULL_NAME_MAX + 1], struct pod_image_info *out)
{
    while (pod_image_after(s->config.pod, cursor, out) == PS_OK) {
        if (out->kind == POD_VOLUME) {
            memcpy(cursor, out->name, sizeof out->name);
            return true;
        }
        skip_snapshots(cursor, out->name);
    }
    return false;
}

static void list(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct services *s = user;
    const Pstorage__V1__ListVolumesRequest *request = (const void *)message;
    struct image_page page;
    if (is_for_primary(s, call, &pstorage__v1__volumes__descriptor, "List", message))
        return;
    if (!check_pod(s, call, request->pod) ||
        !image_page_open(&page, call, request->page_size, request->page_token))
        return;
    char cursor[POD_FULL_NAME_MAX + 1];
    struct pod_image_info info;
    memcpy(cursor, request->page_token, strlen(request->page_token) + 1);
    while (next_volume(s, cursor, &info) && image_page_add(&page, s, &info))
        continue;
    Pstorage__V1__ListVolumesResponse response = PSTORAGE__V1__LIST_VOLUMES_RESPONSE__INIT;
    response.volumes = page.images;
    response.n_volumes = page.count;
    response.next_page_token = page.next;
    rpc_call_reply(call, &response.base);
    image_page_free(&page);
}

static void get(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct services *s = user;
    const Pstorage__V1__GetVolumeRequest *request = (const void *)message;
    struct pod_image_info info;
    if (is_for_primary(s, call, &pstorage__v1__volumes__descriptor, "Get", message))
        return;
    const bool named = request->name[0] != '\0' || request->id == 0;
    if (named ? pod_image_by_name(s->config.pod, request->name, &info)
              : pod_image_by_id(s->config.pod, request->id, &info)) {
        struct ps_error err;
        if (named)
            (void)ps_error_set(&err, PS_ENOTFOUND, "no volume or snapshot is named '%s'", request->name);
        else
            (void)ps_error_set(&err, PS_ENOTFOUND, "no volume or snapshot has id %" PRIu64, request->id);
        rpc_call_fail(call, err.status, err.detail);
        return;
    }
    struct image_row row;
    image_row_fill(&row, s, &info);
    reply(call, &row.image);
}

static void resize(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__ResizeVolumeRequest *request = (const void *)message;
    if (is_forwarded(user, call, &pstorage__v1__volumes__descriptor, "Resize", message))
        return;
    struct change *change = change_new(user, call, POD_VOLUME_RESIZE, reply);
    if (!change || !change_volume(change, request->name))
        return;
    change->req.size_bytes = request->size_bytes;
    change->req.allow_shrink = request->allow_shrink;
    change_expect(change, request->expect);
    change_submit(change);
}

static void rename_volume(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__RenameVolumeRequest *request = (const void *)message;
    if (is_forwarded(user, call, &pstorage__v1__volumes__descriptor, "Rename", message))
        return;
    struct change *change = change_new(user, call, POD_VOLUME_RENAME, reply);
    if (!change || !change_volume(change, request->name) || !change_new_volume(change, request->new_name))
        return;
    change_expect(change, request->expect);
    change_submit(change);
}

static void delete_volume(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__DeleteVolumeRequest *request = (const void *)message;
    if (is_forwarded(user, call, &pstorage__v1__volumes__descriptor, "Delete", message))
        return;
    struct change *change = change_new(user, call, POD_VOLUME_DELETE, reply);
    if (!change || !change_volume(change, request->name))
        return;
    change->req.with_snapshots = request->with_snapshots;
    change->req.force = request->force;
    change_expect(change, request->expect);
    change_submit(change);
}

static void set(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__SetVolumeRequest *request = (const void *)message;
    if (is_forwarded(user, call, &pstorage__v1__volumes__descriptor, "Set", message))
        return;
    if (request->write_cache == PSTORAGE__V1__SWITCH__SWITCH_UNCHANGED) {
        rpc_call_fail(call, PS_EINVAL, "nothing to set: write_cache is on or off");
        return;
    }
    struct change *change = change_new(user, call, POD_VOLUME_SET, reply);
    if (!change || !change_volume(change, request->name))
        return;
    change->req.write_cache = request->write_cache == PSTORAGE__V1__SWITCH__SWITCH_ON;
    change_expect(change, request->expect);
    change_submit(change);
}

static const struct rpc_method methods[] = {
    {.name = "Create", .handler = create},
    {.name = "List", .handler = list},
    {.name = "Get", .handler = get},
    {.name = "Resize", .handler = resize},
    {.name = "Rename", .handler = rename_volume},
    {.name = "Delete", .handler = delete_volume},
    {.name = "Set", .handler = set},
};

const struct rpc_service services_volumes = {
    .descriptor = &pstorage__v1__volumes__descriptor,
    .methods = methods,
    .nmethods = sizeof methods / sizeof methods[0],
};
