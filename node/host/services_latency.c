/* Status.GetLatency: see proto/pstorage/v1/status.proto. */
#include <stdlib.h>
#include <string.h>

#include "common/rpc/message.h"
#include "node/host/services_impl.h"
#include "node/pod/image_use.h"
#include "pstorage/v1/status.pb-c.h"

/* A volume's latencies with everything they point to: it points into itself. */
struct row {
    Pstorage__V1__VolumeLatency volume;
    Pstorage__V1__OperationLatency operations[IMAGE_USE_OPS], *pointers[IMAGE_USE_OPS];
    struct image_use_latencies latencies;
    char name[POD_FULL_NAME_MAX + 1];
};

static const Pstorage__V1__Operation operation_numbers[IMAGE_USE_OPS] = {
    [IMAGE_USE_READ] = PSTORAGE__V1__OPERATION__OPERATION_READ,
    [IMAGE_USE_WRITE] = PSTORAGE__V1__OPERATION__OPERATION_WRITE,
    [IMAGE_USE_FLUSH] = PSTORAGE__V1__OPERATION__OPERATION_FLUSH,
    [IMAGE_USE_TRIM] = PSTORAGE__V1__OPERATION__OPERATION_TRIM,
};

/* False: the volume is not counted here. */
static bool fill(struct row *row, const struct services *s, const struct pod_image_info *info)
{
    if (!s->config.uses || !image_uses_latencies(s->config.uses, info->id, &row->latencies))
        return false;
    pstorage__v1__volume_latency__init(&row->volume);
    memcpy(row->name, info->name, sizeof row->name);
    row->volume.id = info->id;
    row->volume.name = row->name;
    row->volume.pod = (char *)(uintptr_t)s->config.pod_name;
    row->volume.operations = row->pointers;
    for (unsigned op = 0; op < IMAGE_USE_OPS; op++) {
        Pstorage__V1__OperationLatency *o = &row->operations[row->volume.n_operations];
        unsigned n = LATENCY_BUCKETS;
        while (n > 0 && row->latencies.counts[op][n - 1] == 0)
            n--;
        if (n == 0)
            continue;
        pstorage__v1__operation_latency__init(o);
        o->operation = operation_numbers[op];
        o->sum_ns = row->latencies.sum_ns[op];
        o->counts = row->latencies.counts[op];
        o->n_counts = n;
        row->pointers[row->volume.n_operations++] = o;
    }
    return true;
}

static void get_one(const struct services *s, struct rpc_call *call, const char *name)
{
    struct pod_image_info info;
    struct row row;
    Pstorage__V1__VolumeLatency *volumes[] = {&row.volume};
    Pstorage__V1__GetLatencyResponse response = PSTORAGE__V1__GET_LATENCY_RESPONSE__INIT;
    struct ps_error err;
    if (pod_check_volume_name(name, &err)) {
        rpc_call_fail(call, err.status, err.detail);
        return;
    }
    if (pod_image_by_name(s->config.pod, name, &info)) {
        (void)ps_error_set(&err, PS_ENOTFOUND, "no volume is named '%s'", name);
        rpc_call_fail(call, err.status, err.detail);
        return;
    }
    response.volumes = volumes;
    response.n_volumes = fill(&row, s, &info);
    rpc_call_reply(call, &response.base);
}

static void get_page(const struct services *s, struct rpc_call *call, const char *token, size_t page)
{
    struct row *rows = calloc(page, sizeof *rows);
    Pstorage__V1__VolumeLatency **volumes = calloc(page, sizeof *volumes);
    Pstorage__V1__GetLatencyResponse response = PSTORAGE__V1__GET_LATENCY_RESPONSE__INIT;
    struct pod_image_info info;
    char cursor[POD_FULL_NAME_MAX + 1];
    if (rows && volumes) {
        memcpy(cursor, token, strlen(token) + 1);
        response.volumes = volumes;
        while (response.n_volumes < page && next_volume(s, cursor, &info)) {
            volumes[response.n_volumes] = &rows[response.n_volumes].volume;
            response.n_volumes += fill(&rows[response.n_volumes], s, &info);
        }
        if (response.n_volumes == page)
            response.next_page_token = rows[page - 1].name;
        rpc_call_reply(call, &response.base);
    } else {
        rpc_call_fail(call, PS_ENOMEM, NULL);
    }
    free(rows);
    free(volumes);
}

void services_get_latency(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct services *s = user;
    const Pstorage__V1__GetLatencyRequest *request = (const void *)message;
    if (request->of_primary &&
        is_forwarded(s, call, &pstorage__v1__status__descriptor, "GetLatency", message))
        return;
    if (strlen(request->page_token) > POD_NAME_MAX) {
        rpc_call_fail(call, PS_EINVAL, "that is no page token of this list");
        return;
    }
    if (request->volume[0])
        get_one(s, call, request->volume);
    else
        get_page(s, call, request->page_token,
                 request->page_size == 0                  ? SERVICES_PAGE_DEFAULT
                 : request->page_size < SERVICES_PAGE_MAX ? request->page_size
                                                          : SERVICES_PAGE_MAX);
}
