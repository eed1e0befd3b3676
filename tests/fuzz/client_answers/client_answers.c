/* Whatever a node answers to each request of libpstorage. The first byte
 * chooses the request; the rest is the body. What is accepted must fit. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/client.h"
#include "common/rpc/message.h"
#include "pstorage/v1/analytics.pb-c.h"
#include "pstorage/v1/block_io.pb-c.h"
#include "pstorage/v1/clones.pb-c.h"
#include "pstorage/v1/events.pb-c.h"
#include "pstorage/v1/snapshots.pb-c.h"
#include "pstorage/v1/status.pb-c.h"
#include "pstorage/v1/volumes.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool ended(const char *text, size_t size)
{
    return memchr(text, 0, size) != NULL;
}

struct answered {
    struct pstorage_client client;
    struct call call;
    struct rpc_arena arena;
    const uint8_t *body;
    size_t body_bytes;
};

/* Gives the body to `kind` as the answer to `request`: its verdict, or a
 * negative status if the RPC layer had refused it already. */
static int take(struct answered *a, struct pstorage_request *request, const struct request_kind *kind,
                struct pstorage_image *image, const ProtobufCMessageDescriptor *type)
{
    struct request_state *s = state_of(request);
    const ProtobufCMessage *message = rpc_message_unpack(&a->arena, type, a->body, a->body_bytes, NULL);
    if (!message)
        return PS_EPROTOCOL;
    s->client = &a->client;
    s->image = image;
    s->kind = kind;
    a->call.client = &a->client;
    a->call.request = request;
    const struct rpc_reply reply = {.detail = "", .message = message};
    const int rc = kind->take(&a->call, &reply);
    assert(rc == PS_OK || rc == AGAIN || request->error.detail[0]);
    free(s->scratch);
    s->scratch = NULL;
    return rc;
}

static void take_manage(struct answered *a, enum pstorage_manage_op op,
                        const ProtobufCMessageDescriptor *type)
{
    struct pstorage_manage m = {.op = op};
    if (take(a, &m.request, kind_of_manage(op), NULL, type) == PS_OK)
        assert(m.info.id && ended(m.info.name, sizeof m.info.name) && ended(m.info.pod, sizeof m.info.pod));
}

static void take_list(struct answered *a, enum pstorage_kind kind, const ProtobufCMessageDescriptor *type)
{
    struct pstorage_list list = {.kind = kind};
    (void)take(a, &list.request, &kind_list, NULL, type);
    assert(list.count <= CLIENT_PAGE);
    pstorage_list_clear(&list);
}

static void take_open(struct answered *a)
{
    struct pstorage_open o = {.name = "v"};
    if (take(a, &o.request, &kind_open, NULL, &pstorage__v1__open_response__descriptor) == PS_OK) {
        assert(o.image && o.image->handle && o.image->limits.max_io_bytes >= 512);
        image_free(o.image);
    }
    assert(list_empty(&a->client.images));
}

static void take_extents(struct answered *a)
{
    struct pstorage_extent extents[16];
    struct pstorage_io io = {
        .op = PSTORAGE_EXTENTS, .length = 1 << 20, .extents = extents, .max_extents = 16};
    if (take(a, &io.request, kind_of_io(io.op), NULL, &pstorage__v1__extents_response__descriptor))
        return;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < io.nextents; i++)
        sum += extents[i].length_bytes;
    assert(io.nextents > 0 && io.nextents <= 16 && sum <= io.length);
}

static void take_latency(struct answered *a)
{
    struct pstorage_latency l = {0};
    if (take(a, &l.request, &kind_latency, NULL, &pstorage__v1__get_latency_response__descriptor) == PS_OK)
        for (size_t i = 0; i < l.count; i++)
            assert(l.items[i].name[0] && ended(l.items[i].name, sizeof l.items[i].name) &&
                   ended(l.items[i].pod, sizeof l.items[i].pod));
    pstorage_latency_clear(&l);
}

static void take_measure(struct answered *a, uint32_t blocks)
{
    struct pstorage_measure m = {.blocks = blocks};
    if (take(a, &m.request, &kind_measure, NULL, &pstorage__v1__measure_response__descriptor) == PS_OK)
        for (uint32_t i = 0; i < blocks; i++)
            assert(m.results[i].kind >= PSTORAGE_MEASURED_PATTERN &&
                   m.results[i].kind <= PSTORAGE_MEASURED_NEW &&
                   m.results[i].stored_bytes <= PSTORAGE_MEASURE_BLOCK_BYTES);
}

static void take_analysis(struct answered *a, unsigned which)
{
    struct pstorage_forecast forecast = {0};
    struct pstorage_health *health = calloc(1, sizeof *health);
    struct pstorage_tiering tiering = {0};
    struct pstorage_temperature temperature = {.volume = "v"};
    struct pstorage_account account = {.volume = "v"};
    assert(health);
    switch (which) {
    case 0:
        if (take(a, &forecast.request, &kind_forecast, NULL, &pstorage__v1__forecast_response__descriptor) ==
            PS_OK)
            assert(ended(forecast.method, sizeof forecast.method) && forecast.npredictions <= 8);
        break;
    case 1:
        if (take(a, &health->request, &kind_health, NULL, &pstorage__v1__health_response__descriptor) ==
            PS_OK)
            for (size_t i = 0; i < health->count; i++)
                assert(health->items[i].score <= 100 &&
                       ended(health->items[i].node, sizeof health->items[i].node));
        break;
    case 2:
        (void)take(a, &tiering.request, &kind_tiering, NULL, &pstorage__v1__tiering_response__descriptor);
        pstorage_tiering_clear(&tiering);
        break;
    case 3:
        if (take(a, &temperature.request, &kind_temperature, NULL,
                 &pstorage__v1__temperature_response__descriptor) == PS_OK)
            assert(temperature.nregions <= 256);
        break;
    default:
        if (take(a, &account.request, &kind_account, NULL,
                 &pstorage__v1__volume_account_response__descriptor) == PS_OK)
            assert(account.npoints <= CLIENT_PAGE && account.now.nregions == 0);
        pstorage_account_clear(&account);
        break;
    }
    free(health);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size - 1 > RPC_BODY_MAX)
        return 0;
    struct answered *a = calloc(1, sizeof *a);
    assert(a);
    rpc_arena_init(&a->arena);
    list_init(&a->client.images);
    a->body = data + 1;
    a->body_bytes = size - 1;
    struct pstorage_report report = {0};
    struct pstorage_events events = {0};
    switch (data[0] % 8) {
    case 0:
        take_manage(a, PSTORAGE_IMAGE_GET, &pstorage__v1__volume_response__descriptor);
        break;
    case 1:
        take_manage(a, PSTORAGE_SNAPSHOT_CREATE, &pstorage__v1__snapshot_response__descriptor);
        break;
    case 2:
        take_manage(a, PSTORAGE_CLONE_CREATE, &pstorage__v1__create_clone_response__descriptor);
        break;
    case 3:
        take_list(a, data[0] & 8 ? PSTORAGE_VOLUME : PSTORAGE_SNAPSHOT,
                  data[0] & 8 ? &pstorage__v1__list_volumes_response__descriptor
                              : &pstorage__v1__list_snapshots_response__descriptor);
        break;
    case 4:
        take_open(a);
        break;
    case 5:
        if (data[0] & 8) {
            take_analysis(a, data[0] >> 4);
            break;
        }
        take_extents(a);
        break;
    case 6:
        if (data[0] & 8) {
            take_latency(a);
            break;
        }
        (void)take(a, &report.request, &kind_report, NULL, &pstorage__v1__get_node_response__descriptor);
        pstorage_report_clear(&report);
        break;
    default:
        if (data[0] & 8) {
            take_measure(a, 1 + (data[0] >> 4));
            break;
        }
        (void)take(a, &events.request, &kind_events, NULL, &pstorage__v1__list_events_response__descriptor);
        pstorage_events_clear(&events);
        break;
    }
    rpc_arena_free(&a->arena);
    free(a);
    return 0;
}
