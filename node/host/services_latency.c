/* Status.GetLatency: see proto/pstorage/v1/status.proto. */
#include <stdlib.h>
#include <string.h>

#include "common/rpc/message.h"
#include "node/host/services_impl.h"
#include "node/pod/image_use.h"
#include "pstorage/v1/status.pb-c.h"

/* A volume's latencies with everything they point to but the name: it points into itself. */
struct row {
    Pstorage__V1__VolumeLatency volume;
    Pstorage__V1__OperationLatency operations[IMAGE_USE_OPS], *pointers[IMAGE_USE_OPS];
    struct image_use_latencies latencies;
};

static const Pstorage__V1__Operation operation_numbers[IMAGE_USE_OPS] = {
    [IMAGE_USE_READ] = PSTORAGE__V1__OPERATION__OPERATION_READ,
    [IMAGE_USE_WRITE] = PSTORAGE__V1__OPERATION__OPERATION_WRITE,
    [IMAGE_USE_FLUSH] = PSTORAGE__V1__OPERATION__OPERATION_FLUSH,
    [IMAGE_USE_TRIM] = PSTORAGE__V1__OPERATION__OPERATION_TRIM,
};

/* False: the volume is not counted here. */
static bool fill(struct row *row, const struct services *s, uint64_t id, char *name)
{
    if (!s->config.uses || !image_uses_latencies(s->config.uses, id, &row->latencies))
        return false;
    pstorage__v1__volume_latency__init(&row->volume);
    row->volume.id = id;
    row->volume.name = name;
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
    response.n_volumes = fill(&row, s, info.id, info.name);
    rpc_call_reply(call, &response.base);
}

struct counted {
    uint64_t id;
    char name[POD_FULL_NAME_MAX + 1];
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct counted *)a)->name, ((const struct counted *)b)->name);
}

/* Of all volumes only those that are counted are looked at: there may be many more. */
static size_t find_counted(const struct services *s, const char *after, struct counted out[IMAGE_USES_MAX])
{
    struct pod_image_info info;
    size_t count = 0;
    for (uint64_t id = 0; s->config.uses && image_uses_next(s->config.uses, id, &id);) {
        if (pod_image_by_id(s->config.pod, id, &info) != PS_OK || strcmp(info.name, after) <= 0)
            continue;
        out[count].id = id;
        memcpy(out[count++].name, info.name, sizeof info.name);
    }
    qsort(out, count, sizeof *out, by_name);
    return count;
}

static void get_page(const struct services *s, struct rpc_call *call, const char *token, size_t page)
{
    struct counted *counted = calloc(IMAGE_USES_MAX, sizeof *counted);
    struct row *rows = calloc(page, sizeof *rows);
    Pstorage__V1__VolumeLatency **volumes = calloc(page, sizeof *volumes);
    Pstorage__V1__GetLatencyResponse response = PSTORAGE__V1__GET_LATENCY_RESPONSE__INIT;
    if (counted && rows && volumes) {
        const size_t count = find_counted(s, token, counted);
        response.volumes = volumes;
        response.n_volumes = count < page ? count : page;
        for (size_t i = 0; i < response.n_volumes; i++) {
            volumes[i] = &rows[i].volume;
            (void)fill(&rows[i], s, counted[i].id, counted[i].name);
        }
        if (count > page)
            response.next_page_token = counted[page - 1].name;
        rpc_call_reply(call, &response.base);
    } else {
        rpc_call_fail(call, PS_ENOMEM, NULL);
    }
    free(counted);
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
