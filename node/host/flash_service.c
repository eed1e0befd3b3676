#include "node/host/flash_service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container.h"
#include "common/rpc/message.h"
#include "pstorage/v1/flash.pb-c.h"

_Static_assert((int)DRIVE_IO_MAX == (int)RPC_PAYLOAD_MAX && (int)DRIVE_ALIGN <= (int)RPC_PAYLOAD_ALIGN,
               "payloads are a job's buffers");

struct flash_service {
    struct drives *drives;
    const char *node_name;
    unsigned under_way;
    void (*destroyed)(void *user);
    void *user;
};

/* One call on its way. */
struct flash_call {
    struct drive_job job;
    struct flash_service *service;
    struct rpc_call *call; /* NULL: the caller has given up */
    char device[DRIVE_NAME_MAX + 1], serial[21];
};

static void destroy_if_done(struct flash_service *s)
{
    if (!s->destroyed || s->under_way)
        return;
    void (*done)(void *) = s->destroyed;
    void *user = s->user;
    free(s);
    done(user);
}

/* ---- answers */

static void reply_io(struct rpc_call *call)
{
    const Pstorage__V1__FlashIoResponse response = PSTORAGE__V1__FLASH_IO_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

static void fill_zones(const struct drive *d, Pstorage__V1__ZoneLayout *out)
{
    pstorage__v1__zone_layout__init(out);
    out->zone_bytes = d->zone_bytes;
    out->count = d->zones;
    out->max_open = d->max_open;
    out->max_active = d->max_active;
}

struct device_row {
    Pstorage__V1__FlashDevice device;
    Pstorage__V1__ZoneLayout zones;
};

static void fill_device(struct drive *d, struct device_row *row)
{
    static const Pstorage__V1__FlashKind kinds[] = {
        [BLKDEV_KIND_FILE] = PSTORAGE__V1__FLASH_KIND__FLASH_KIND_FILE,
        [BLKDEV_KIND_BLOCK] = PSTORAGE__V1__FLASH_KIND__FLASH_KIND_BLOCK,
        [BLKDEV_KIND_NVME] = PSTORAGE__V1__FLASH_KIND__FLASH_KIND_NVME,
        [BLKDEV_KIND_SIM] = PSTORAGE__V1__FLASH_KIND__FLASH_KIND_SIM,
    };
    Pstorage__V1__FlashDevice *m = &row->device;
    rpc_utf8_repair(d->what.name);
    rpc_utf8_repair(d->used_by);
    rpc_utf8_repair(d->smart_unknown);
    pstorage__v1__flash_device__init(m);
    m->name = d->what.name;
    m->kind = kinds[d->what.kind];
    m->zoned = d->what.zoned;
    m->in_pool = d->in_pool;
    m->raw_allowed = d->raw_allowed;
    m->used_by = d->used_by;
    m->model = d->model;
    m->serial = d->serial;
    m->firmware = d->firmware;
    m->size_bytes = d->what.size_bytes;
    m->block_bytes = d->what.block_bytes;
    m->health_known = d->smart_known;
    m->health_unknown = d->smart_unknown;
    if (d->smart_known) {
        m->used_percent = d->smart.used_percent;
        m->spare_percent = d->smart.spare_percent;
        m->critical_warning = d->smart.critical_warning;
        m->media_errors = d->smart.media_errors;
    }
    if (d->zone_bytes) {
        fill_zones(d, &row->zones);
        m->zones = &row->zones;
    }
}

static void reply_list(struct rpc_call *call, struct drive_job *job)
{
    Pstorage__V1__ListFlashResponse response = PSTORAGE__V1__LIST_FLASH_RESPONSE__INIT;
    struct device_row *rows = calloc(job->count + 1, sizeof *rows);
    Pstorage__V1__FlashDevice **pointers = calloc(job->count + 1, sizeof *pointers);
    for (size_t i = 0; rows && pointers && i < job->count; i++) {
        fill_device(&job->drives[i], &rows[i]);
        pointers[i] = &rows[i].device;
    }
    response.n_devices = job->count;
    response.devices = pointers;
    if (rows && pointers)
        rpc_call_reply(call, &response.base);
    else
        rpc_call_fail(call, PS_ENOMEM, NULL);
    free(rows);
    free(pointers);
}

/* "": all zero. */
static void to_hex(const uint8_t *bytes, size_t n, char *out)
{
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
        any |= bytes[i] != 0;
    }
    if (!any)
        out[0] = '\0';
}

static void fill_controller(struct nvme_controller *c, Pstorage__V1__FlashController *m)
{
    pstorage__v1__flash_controller__init(m);
    m->model = c->model;
    m->serial = c->serial;
    m->firmware = c->firmware;
    m->nqn = c->nqn;
    m->vendor = c->vendor;
    m->subsystem_vendor = c->subsystem_vendor;
    m->id = c->id;
    m->version = c->version;
    m->max_transfer_pages = c->max_transfer_pages;
    m->namespaces = c->namespaces;
    m->error_log_entries = c->error_log_entries;
    m->warning_kelvin = c->warning_kelvin;
    m->critical_kelvin = c->critical_kelvin;
    m->capacity_bytes = c->capacity_bytes;
    m->unallocated_bytes = c->unallocated_bytes;
    m->can_format = c->can_format;
    m->can_deallocate = c->can_deallocate;
    m->can_write_zeroes = c->can_write_zeroes;
    m->volatile_write_cache = c->volatile_write_cache;
    m->format_all = c->format_all;
    m->erase_all = c->erase_all;
    m->crypto_erase = c->crypto_erase;
}

static void reply_identify(struct rpc_call *call, struct drive_job *job)
{
    Pstorage__V1__IdentifyFlashResponse response = PSTORAGE__V1__IDENTIFY_FLASH_RESPONSE__INIT;
    Pstorage__V1__FlashController controller;
    Pstorage__V1__FlashNamespace ns = PSTORAGE__V1__FLASH_NAMESPACE__INIT;
    Pstorage__V1__ZoneLayout zones;
    Pstorage__V1__FlashFormat formats[NVME_FORMATS_MAX], *pointers[NVME_FORMATS_MAX];
    char nguid[33], eui64[17];
    fill_controller(&job->controller, &controller);
    ns.size_blocks = job->ns.size_blocks;
    ns.capacity_blocks = job->ns.capacity_blocks;
    ns.used_blocks = job->ns.used_blocks;
    ns.block_bytes = job->ns.block_bytes;
    ns.format = job->ns.format;
    ns.thin = job->ns.thin;
    ns.reads_zeroes = job->ns.reads_zeroes;
    ns.protection = job->ns.protection;
    to_hex(job->ns.nguid, sizeof job->ns.nguid, nguid);
    to_hex(job->ns.eui64, sizeof job->ns.eui64, eui64);
    ns.nguid = nguid;
    ns.eui64 = eui64;
    for (uint32_t i = 0; i < job->ns.nformats; i++) {
        pstorage__v1__flash_format__init(&formats[i]);
        formats[i].block_bytes = job->ns.formats[i].block_bytes;
        formats[i].metadata_bytes = job->ns.formats[i].metadata_bytes;
        formats[i].performance = job->ns.formats[i].performance;
        pointers[i] = &formats[i];
    }
    ns.formats = pointers;
    ns.n_formats = job->ns.nformats;
    response.controller = &controller;
    response.ns = &ns;
    if (job->zoned) {
        fill_zones(&job->layout, &zones);
        response.zones = &zones;
    }
    rpc_call_reply(call, &response.base);
}

static void reply_smart(struct rpc_call *call, struct drive_job *job)
{
    Pstorage__V1__SmartFlashResponse response = PSTORAGE__V1__SMART_FLASH_RESPONSE__INIT;
    Pstorage__V1__FlashError errors[DRIVE_ERRORS_MAX], *pointers[DRIVE_ERRORS_MAX];
    char texts[DRIVE_ERRORS_MAX][NVME_STATUS_TEXT_MAX];
    uint32_t sensors[NVME_SENSORS];
    const struct nvme_smart *s = &job->smart;
#define SAME(name) response.name = s->name
    SAME(critical_warning), SAME(kelvin), SAME(spare_percent), SAME(spare_threshold_percent),
        SAME(used_percent);
    SAME(read_units), SAME(written_units), SAME(read_commands), SAME(write_commands), SAME(busy_minutes);
    SAME(power_cycles), SAME(power_on_hours), SAME(unsafe_shutdowns), SAME(media_errors),
        SAME(error_log_entries);
    SAME(warning_minutes), SAME(critical_minutes);
#undef SAME
    for (size_t i = 0; i < NVME_SENSORS; i++)
        if (s->sensor_kelvin[i])
            sensors[response.n_sensors_kelvin++] = s->sensor_kelvin[i];
    response.sensors_kelvin = sensors;
    for (uint32_t i = 0; i < job->nerrors; i++) {
        const struct nvme_error *e = &job->errors[i];
        pstorage__v1__flash_error__init(&errors[i]);
        errors[i].number = e->number;
        errors[i].queue = e->queue;
        errors[i].command = e->command;
        errors[i].status = e->status;
        errors[i].lba = e->lba;
        errors[i].namespace_id = e->namespace_id;
        errors[i].text = (char *)(uintptr_t)nvme_status_text(e->status, texts[i]);
        pointers[i] = &errors[i];
    }
    response.errors = pointers;
    response.n_errors = job->nerrors;
    rpc_call_reply(call, &response.base);
}

static void done(struct drive_job *job, int status)
{
    struct flash_call *c = container_of(job, struct flash_call, job);
    struct flash_service *s = c->service;
    if (!c->call)
        ; /* nobody waits any more */
    else if (status)
        rpc_call_fail(c->call, status, job->error.detail[0] ? job->error.detail : NULL);
    else if (job->op == DRIVE_LIST)
        reply_list(c->call, job);
    else if (job->op == DRIVE_IDENTIFY)
        reply_identify(c->call, job);
    else if (job->op == DRIVE_SMART)
        reply_smart(c->call, job);
    else
        reply_io(c->call);
    free(job->drives);
    free(c);
    s->under_way--;
    destroy_if_done(s);
}

/* ---- calls */

/* A format takes as long as the device likes; whoever has given up is not kept. Other jobs end soon, and use
 * the call's buffers. */
static void cancelled(struct rpc_call *call)
{
    struct flash_call *c = rpc_call_user(call);
    if (c->job.op != DRIVE_FORMAT)
        return;
    c->call = NULL;
    rpc_call_fail(call, PS_ECANCELLED, "the device goes on formatting");
}

/* NULL: the call has ended. */
static struct flash_call *new_call(struct flash_service *s, struct rpc_call *call, enum drive_op op,
                                   const char *node, const char *device)
{
    struct ps_error err;
    if (node[0] && strcmp(node, s->node_name) != 0) {
        (void)ps_error_set(&err, PS_ENOTFOUND, "this is node %.63s, not %.63s", s->node_name, node);
        rpc_call_fail(call, err.status, err.detail);
        return NULL;
    }
    if (strlen(device) > DRIVE_NAME_MAX || (op != DRIVE_LIST && !device[0])) {
        rpc_call_fail(call, PS_EINVAL,
                      device[0] ? "the device's name is longer than 127 bytes" : "no device is named");
        return NULL;
    }
    struct flash_call *c = calloc(1, sizeof *c);
    if (!c) {
        rpc_call_fail(call, PS_ENOMEM, NULL);
        return NULL;
    }
    c->service = s;
    c->call = call;
    memcpy(c->device, device, strlen(device) + 1);
    c->job = (struct drive_job){.op = op, .device = c->device, .done = done};
    return c;
}

static void start(struct flash_call *c)
{
    struct rpc_call *call = c->call;
    rpc_call_set_user(call, c);
    rpc_call_watch(call, cancelled, NULL);
    c->service->under_way++;
    const int rc = c->service->drives->submit(c->service->drives, &c->job);
    if (rc == 0)
        return;
    c->service->under_way--;
    rpc_call_set_user(call, NULL);
    rpc_call_fail(call, rc,
                  rc == PS_ELIMIT ? "another format, or too much else, is under way on this node's devices"
                                  : NULL);
    free(c);
}

static void list(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct flash_call *c = new_call(
        user, call, DRIVE_LIST, ((const Pstorage__V1__ListFlashRequest *)(const void *)message)->node, "");
    if (c)
        start(c);
}

static void ask(void *user, struct rpc_call *call, const ProtobufCMessage *message, enum drive_op op)
{
    const Pstorage__V1__FlashDeviceRequest *request = (const void *)message;
    struct flash_call *c = new_call(user, call, op, request->node, request->device);
    if (!c)
        return;
    c->job.max_errors = request->max_errors < DRIVE_ERRORS_MAX ? request->max_errors : DRIVE_ERRORS_MAX;
    start(c);
}

static void identify(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    ask(user, call, message, DRIVE_IDENTIFY);
}

static void smart(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    ask(user, call, message, DRIVE_SMART);
}

static void flush(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    ask(user, call, message, DRIVE_FLUSH);
}

static void read_device(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__ReadFlashRequest *request = (const void *)message;
    if (request->length == 0 || request->length > DRIVE_IO_MAX) {
        rpc_call_fail(call, PS_EINVAL, "a read is of at most 1 MiB, and not of nothing");
        return;
    }
    struct flash_call *c = new_call(user, call, DRIVE_READ, request->node, request->device);
    if (!c)
        return;
    c->job.offset = request->offset;
    c->job.length = request->length;
    c->job.buf = rpc_call_reply_buffer(call, request->length);
    if (c->job.buf) {
        start(c);
        return;
    }
    free(c);
    rpc_call_fail(call, PS_ENOMEM, NULL);
}

static void write_device(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__WriteFlashRequest *request = (const void *)message;
    size_t length;
    void *data = rpc_call_payload(call, &length);
    if (!data || length == 0) {
        rpc_call_fail(call, PS_EINVAL, "no data came with the write");
        return;
    }
    struct flash_call *c = new_call(user, call, DRIVE_WRITE, request->node, request->device);
    if (!c)
        return;
    c->job.offset = request->offset;
    c->job.length = length;
    c->job.buf = data;
    c->job.fua = request->fua;
    start(c);
}

static void deallocate(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__DeallocateFlashRequest *request = (const void *)message;
    struct flash_call *c = new_call(user, call, DRIVE_DEALLOCATE, request->node, request->device);
    if (!c)
        return;
    c->job.offset = request->offset;
    c->job.length = request->length;
    start(c);
}

static void format(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    static const enum nvme_erase erases[] = {
        [PSTORAGE__V1__FLASH_ERASE__FLASH_ERASE_UNSPECIFIED] = NVME_ERASE_NONE,
        [PSTORAGE__V1__FLASH_ERASE__FLASH_ERASE_USER_DATA] = NVME_ERASE_USER_DATA,
        [PSTORAGE__V1__FLASH_ERASE__FLASH_ERASE_CRYPTO] = NVME_ERASE_CRYPTO,
    };
    const Pstorage__V1__FormatFlashRequest *request = (const void *)message;
    if (!request->serial[0] || strlen(request->serial) > 20) {
        rpc_call_fail(call, PS_EINVAL,
                      "a format names the serial number of the device that is meant, 1 to 20 characters");
        return;
    }
    struct flash_call *c = new_call(user, call, DRIVE_FORMAT, request->node, request->device);
    if (!c)
        return;
    memcpy(c->serial, request->serial, strlen(request->serial) + 1);
    c->job.serial = c->serial;
    c->job.block_bytes = request->block_bytes;
    c->job.erase = erases[request->erase];
    start(c);
}

static const struct rpc_method methods[] = {
    {.name = "List", .handler = list},
    {.name = "Identify", .handler = identify},
    {.name = "Smart", .handler = smart},
    {.name = "Read", .handler = read_device},
    {.name = "Write", .handler = write_device, .takes_payload = true},
    {.name = "Flush", .handler = flush},
    {.name = "Deallocate", .handler = deallocate},
    {.name = "Format", .handler = format},
};

static const struct rpc_service flash = {
    .descriptor = &pstorage__v1__flash__descriptor,
    .methods = methods,
    .nmethods = sizeof methods / sizeof methods[0],
};

int flash_service_create(struct rpc_server *server, struct drives *drives, const char *node_name,
                         struct flash_service **out)
{
    struct flash_service *s = calloc(1, sizeof *s);
    if (!s)
        return PS_ENOMEM;
    s->drives = drives;
    s->node_name = node_name;
    rpc_server_register(server, &flash, s);
    *out = s;
    return 0;
}

void flash_service_destroy(struct flash_service *s, void (*destroyed)(void *user), void *user)
{
    s->destroyed = destroyed;
    s->user = user;
    destroy_if_done(s);
}
