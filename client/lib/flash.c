/* Flash devices of a node: requests as messages, and answers as results. As in calls.c, nothing that a node
 * sends is believed before it fits. */
#include <stdlib.h>
#include <string.h>

#include "client/lib/answers.h"
#include "pstorage/v1/flash.pb-c.h"

enum {
    DEVICES_MAX = 1024,
    IO_MAX = 1 << 20,
};

static int call_flash(struct call *call, const char *method, const ProtobufCMessage *message)
{
    return call_send(call, &pstorage__v1__flash__descriptor, method, message);
}

static void take_zones(const Pstorage__V1__ZoneLayout *m, struct pstorage_zones *out)
{
    if (m)
        *out = (struct pstorage_zones){.zone_bytes = m->zone_bytes,
                                       .count = m->count,
                                       .max_open = m->max_open,
                                       .max_active = m->max_active};
}

/* ---- list */

static struct pstorage_flash_list *list_of(struct call *call)
{
    return (struct pstorage_flash_list *)(void *)call->request;
}

static int send_list(struct call *call)
{
    Pstorage__V1__ListFlashRequest m = PSTORAGE__V1__LIST_FLASH_REQUEST__INIT;
    m.node = text(list_of(call)->node);
    return call_flash(call, "List", &m.base);
}

static bool take_device(const Pstorage__V1__FlashDevice *m, struct pstorage_flash_device *d)
{
    if (m->kind < PSTORAGE__V1__FLASH_KIND__FLASH_KIND_NVME ||
        m->kind > PSTORAGE__V1__FLASH_KIND__FLASH_KIND_BLOCK)
        return false;
    d->kind = (enum pstorage_flash_kind)m->kind;
    d->zoned = m->zoned != 0;
    d->in_pool = m->in_pool != 0;
    d->raw_allowed = m->raw_allowed != 0;
    d->size_bytes = m->size_bytes;
    d->block_bytes = m->block_bytes;
    d->health_known = m->health_known != 0;
    d->used_percent = m->used_percent;
    d->spare_percent = m->spare_percent;
    d->critical_warning = m->critical_warning;
    d->media_errors = m->media_errors;
    take_zones(m->zones, &d->zones);
    return COPY(d->name, m->name) && COPY(d->used_by, m->used_by) && COPY(d->model, m->model) &&
           COPY(d->serial, m->serial) && COPY(d->firmware, m->firmware) &&
           COPY(d->health_unknown, m->health_unknown);
}
_Static_assert((int)PSTORAGE_FLASH_BLOCK == (int)PSTORAGE__V1__FLASH_KIND__FLASH_KIND_BLOCK,
               "kinds have the same numbers here and in messages");

static int take_list(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__ListFlashResponse *m = (const void *)reply->message;
    struct pstorage_flash_list *list = list_of(call);
    if (m->n_devices > DEVICES_MAX)
        return nonsense(call, "too many devices");
    list->items = calloc(m->n_devices + 1, sizeof *list->items);
    if (!list->items)
        return no_memory(call);
    for (; list->count < m->n_devices; list->count++)
        if (!take_device(m->devices[list->count], &list->items[list->count]))
            return nonsense(call, "a device of an unknown kind, or a text that is too long");
    return PS_OK;
}

const struct request_kind kind_flash_list = {send_list, take_list, NULL, true};

int pstorage_flash_list_submit(struct pstorage_client *client, struct pstorage_flash_list *list,
                               pstorage_cb cb)
{
    list->items = NULL;
    list->count = 0;
    return client_submit(client, NULL, &list->request, &kind_flash_list, cb);
}

void pstorage_flash_list_clear(struct pstorage_flash_list *list)
{
    free(list->items);
    list->items = NULL;
    list->count = 0;
}

/* ---- identify, SMART */

static int check_device(struct pstorage_request *request, const char *device)
{
    struct ps_error *err = (struct ps_error *)(void *)&request->error;
    if (!device || !*device)
        return ps_error_set(err, PS_EINVAL, "no device is named");
    if (strlen(device) >= sizeof((struct pstorage_flash_device *)0)->name)
        return ps_error_set(err, PS_EINVAL, "the device's name is longer than 127 bytes");
    return PS_OK;
}

static struct pstorage_flash_identify *identify_of(struct call *call)
{
    return (struct pstorage_flash_identify *)(void *)call->request;
}

static int send_identify(struct call *call)
{
    Pstorage__V1__FlashDeviceRequest m = PSTORAGE__V1__FLASH_DEVICE_REQUEST__INIT;
    m.device = text(identify_of(call)->device);
    m.node = text(identify_of(call)->node);
    return call_flash(call, "Identify", &m.base);
}

static bool take_namespace(const Pstorage__V1__FlashNamespace *m, struct pstorage_flash_identify *out)
{
    out->size_blocks = m->size_blocks;
    out->capacity_blocks = m->capacity_blocks;
    out->used_blocks = m->used_blocks;
    out->block_bytes = m->block_bytes;
    out->format = m->format;
    out->thin = m->thin != 0;
    out->reads_zeroes = m->reads_zeroes != 0;
    out->protection = m->protection != 0;
    if (m->n_formats > sizeof out->formats / sizeof out->formats[0] || m->format >= m->n_formats)
        return false;
    for (out->nformats = 0; out->nformats < m->n_formats; out->nformats++)
        out->formats[out->nformats] = (struct pstorage_flash_format){
            .block_bytes = m->formats[out->nformats]->block_bytes,
            .metadata_bytes = m->formats[out->nformats]->metadata_bytes,
            .performance = m->formats[out->nformats]->performance,
        };
    return COPY(out->nguid, m->nguid) && COPY(out->eui64, m->eui64);
}

static bool take_controller(const Pstorage__V1__FlashController *m, struct pstorage_flash_identify *out)
{
    out->vendor = m->vendor;
    out->subsystem_vendor = m->subsystem_vendor;
    out->controller_id = m->id;
    out->version = m->version;
    out->max_transfer_pages = m->max_transfer_pages;
    out->namespaces = m->namespaces;
    out->error_log_entries = m->error_log_entries;
    out->warning_kelvin = m->warning_kelvin;
    out->critical_kelvin = m->critical_kelvin;
    out->capacity_bytes = m->capacity_bytes;
    out->unallocated_bytes = m->unallocated_bytes;
    out->can_format = m->can_format != 0;
    out->can_deallocate = m->can_deallocate != 0;
    out->can_write_zeroes = m->can_write_zeroes != 0;
    out->volatile_write_cache = m->volatile_write_cache != 0;
    out->format_all = m->format_all != 0;
    out->erase_all = m->erase_all != 0;
    out->crypto_erase = m->crypto_erase != 0;
    return COPY(out->model, m->model) && COPY(out->serial, m->serial) && COPY(out->firmware, m->firmware) &&
           COPY(out->nqn, m->nqn);
}

static int take_identify(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__IdentifyFlashResponse *m = (const void *)reply->message;
    struct pstorage_flash_identify *out = identify_of(call);
    if (!m->controller || !m->ns || !take_controller(m->controller, out) || !take_namespace(m->ns, out))
        return nonsense(call, "no controller or namespace, or one that does not fit");
    out->zones = (struct pstorage_zones){0};
    take_zones(m->zones, &out->zones);
    return PS_OK;
}

const struct request_kind kind_flash_identify = {send_identify, take_identify, NULL, true};

int pstorage_flash_identify_submit(struct pstorage_client *client, struct pstorage_flash_identify *identify,
                                   pstorage_cb cb)
{
    const int rc = check_device(&identify->request, identify->device);
    return rc ? rc : client_submit(client, NULL, &identify->request, &kind_flash_identify, cb);
}

static struct pstorage_flash_smart *smart_of(struct call *call)
{
    return (struct pstorage_flash_smart *)(void *)call->request;
}

static int send_smart(struct call *call)
{
    Pstorage__V1__FlashDeviceRequest m = PSTORAGE__V1__FLASH_DEVICE_REQUEST__INIT;
    m.device = text(smart_of(call)->device);
    m.node = text(smart_of(call)->node);
    m.max_errors = smart_of(call)->max_errors;
    return call_flash(call, "Smart", &m.base);
}

static int take_smart(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__SmartFlashResponse *m = (const void *)reply->message;
    struct pstorage_flash_smart *s = smart_of(call);
#define SAME(name) s->name = m->name
    SAME(critical_warning), SAME(kelvin), SAME(spare_percent), SAME(spare_threshold_percent),
        SAME(used_percent);
    SAME(read_units), SAME(written_units), SAME(read_commands), SAME(write_commands), SAME(busy_minutes);
    SAME(power_cycles), SAME(power_on_hours), SAME(unsafe_shutdowns), SAME(media_errors),
        SAME(error_log_entries);
    SAME(warning_minutes), SAME(critical_minutes);
#undef SAME
    if (m->n_sensors_kelvin > sizeof s->sensors_kelvin / sizeof s->sensors_kelvin[0] ||
        m->n_errors > sizeof s->errors / sizeof s->errors[0])
        return nonsense(call, "too many sensors or errors");
    for (s->nsensors = 0; s->nsensors < m->n_sensors_kelvin; s->nsensors++)
        s->sensors_kelvin[s->nsensors] = m->sensors_kelvin[s->nsensors];
    for (s->nerrors = 0; s->nerrors < m->n_errors; s->nerrors++) {
        const Pstorage__V1__FlashError *e = m->errors[s->nerrors];
        struct pstorage_flash_error *out = &s->errors[s->nerrors];
        *out = (struct pstorage_flash_error){.number = e->number,
                                             .queue = e->queue,
                                             .command = e->command,
                                             .status = e->status,
                                             .lba = e->lba,
                                             .namespace_id = e->namespace_id};
        if (!COPY(out->text, e->text))
            return nonsense(call, "an error's text is too long");
    }
    return PS_OK;
}

const struct request_kind kind_flash_smart = {send_smart, take_smart, NULL, true};

int pstorage_flash_smart_submit(struct pstorage_client *client, struct pstorage_flash_smart *smart,
                                pstorage_cb cb)
{
    const int rc = check_device(&smart->request, smart->device);
    return rc ? rc : client_submit(client, NULL, &smart->request, &kind_flash_smart, cb);
}

/* ---- raw I/O */

static struct pstorage_flash_io *io_of(struct call *call)
{
    return (struct pstorage_flash_io *)(void *)call->request;
}

static int send_read(struct call *call)
{
    const struct pstorage_flash_io *io = io_of(call);
    Pstorage__V1__ReadFlashRequest m = PSTORAGE__V1__READ_FLASH_REQUEST__INIT;
    m.device = text(io->device);
    m.node = text(io->node);
    m.offset = io->offset;
    m.length = (uint32_t)io->length;
    return call_flash(call, "Read", &m.base);
}

static int take_read(struct call *call, const struct rpc_reply *reply)
{
    const struct pstorage_flash_io *io = io_of(call);
    if (reply->payload_bytes != io->length)
        return nonsense(call, "less or more data than was asked for");
    memcpy(io->buffer, reply->payload, io->length);
    return PS_OK;
}

static int send_write(struct call *call)
{
    const struct pstorage_flash_io *io = io_of(call);
    Pstorage__V1__WriteFlashRequest m = PSTORAGE__V1__WRITE_FLASH_REQUEST__INIT;
    m.device = text(io->device);
    m.node = text(io->node);
    m.offset = io->offset;
    m.fua = io->fua;
    call->rpc.payload = io->buffer;
    call->rpc.payload_bytes = io->length;
    return call_flash(call, "Write", &m.base);
}

static int send_flush(struct call *call)
{
    Pstorage__V1__FlashDeviceRequest m = PSTORAGE__V1__FLASH_DEVICE_REQUEST__INIT;
    m.device = text(io_of(call)->device);
    m.node = text(io_of(call)->node);
    return call_flash(call, "Flush", &m.base);
}

static int send_deallocate(struct call *call)
{
    const struct pstorage_flash_io *io = io_of(call);
    Pstorage__V1__DeallocateFlashRequest m = PSTORAGE__V1__DEALLOCATE_FLASH_REQUEST__INIT;
    m.device = text(io->device);
    m.node = text(io->node);
    m.offset = io->offset;
    m.length = io->length;
    return call_flash(call, "Deallocate", &m.base);
}

static int send_format(struct call *call)
{
    const struct pstorage_flash_io *io = io_of(call);
    Pstorage__V1__FormatFlashRequest m = PSTORAGE__V1__FORMAT_FLASH_REQUEST__INIT;
    m.device = text(io->device);
    m.node = text(io->node);
    m.serial = text(io->serial);
    m.block_bytes = io->block_bytes;
    m.erase = (Pstorage__V1__FlashErase)io->erase;
    return call_flash(call, "Format", &m.base);
}
_Static_assert((int)PSTORAGE_FLASH_ERASE_CRYPTO == (int)PSTORAGE__V1__FLASH_ERASE__FLASH_ERASE_CRYPTO,
               "erases have the same numbers here and in messages");

static int take_nothing(struct call *call, const struct rpc_reply *reply)
{
    (void)call;
    (void)reply;
    return PS_OK;
}

int pstorage_flash_io_submit(struct pstorage_client *client, struct pstorage_flash_io *io, pstorage_cb cb)
{
    static const struct request_kind kinds[] = {
        [PSTORAGE_FLASH_READ] = {send_read, take_read, NULL, true},
        [PSTORAGE_FLASH_WRITE] = {send_write, take_nothing, NULL, false},
        [PSTORAGE_FLASH_FLUSH] = {send_flush, take_nothing, NULL, false},
        [PSTORAGE_FLASH_DEALLOCATE] = {send_deallocate, take_nothing, NULL, false},
        [PSTORAGE_FLASH_FORMAT] = {send_format, take_nothing, NULL, false},
    };
    const size_t i = (size_t)io->op;
    struct ps_error *err = (struct ps_error *)(void *)&io->request.error;
    const bool moves_data = io->op == PSTORAGE_FLASH_READ || io->op == PSTORAGE_FLASH_WRITE;
    const int rc = check_device(&io->request, io->device);
    if (rc)
        return rc;
    if (i >= sizeof kinds / sizeof kinds[0] || !kinds[i].send)
        return ps_error_set(err, PS_EINVAL, "no operation has number %d", (int)io->op);
    if (moves_data && (io->length == 0 || io->length > IO_MAX || !io->buffer))
        return ps_error_set(err, PS_EINVAL, "a single read or write is of 1 byte to 1 MiB, and has a buffer");
    if (io->op == PSTORAGE_FLASH_FORMAT && (!io->serial || !*io->serial))
        return ps_error_set(err, PS_EINVAL, "a format names the serial number of the device that is meant");
    if ((unsigned)io->erase > PSTORAGE_FLASH_ERASE_CRYPTO)
        return ps_error_set(err, PS_EINVAL, "no erase has number %d", (int)io->erase);
    return client_submit(client, NULL, &io->request, &kinds[i], cb);
}
