/* Flash devices over RPC, on a machine that answers when the test says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/container.h"
#include "node/host/flash_service.h"
#include "pstorage/v1/flash.pb-c.h"
#include "services_world.h"

static struct {
    struct drives base;
    struct drive_job *job; /* what it was asked last and has not answered */
    unsigned asked;
    int refuse;
} machine;
static struct flash_service *service;
static bool destroyed;

static int submit(struct drives *drives, struct drive_job *job)
{
    (void)drives;
    if (machine.refuse)
        return machine.refuse;
    assert_null(machine.job);
    machine.job = job;
    machine.asked++;
    return 0;
}

static int add_service(struct rpc_server *server)
{
    machine.base.submit = submit;
    return flash_service_create(server, &machine.base, "n1", &service);
}

static int setup(void **state)
{
    memset(&machine, 0, sizeof machine);
    destroyed = false;
    return world_setup_with(state, add_service);
}

static void on_destroyed(void *user)
{
    (void)user;
    destroyed = true;
}

static int teardown(void **state)
{
    const int rc = world_teardown(state);
    flash_service_destroy(service, on_destroyed, NULL);
    return rc;
}

#define BEGIN(w, a, method, m)                                                                               \
    start(w, a, &pstorage__v1__flash__descriptor, method, &(m)->base), world_run(w, 10)

static void finish(struct services_world *w, int status)
{
    struct drive_job *job = machine.job;
    assert_non_null(job);
    machine.job = NULL;
    job->done(job, status);
    world_run(w, 10);
}

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void a_list_tells_of_each_device_what_is_known(void **state)
{
    struct services_world *w = *state;
    struct answer a = {0};
    Pstorage__V1__ListFlashRequest m = PSTORAGE__V1__LIST_FLASH_REQUEST__INIT;
    BEGIN(w, &a, "List", &m);
    assert_int_equal(machine.job->op, DRIVE_LIST);
    machine.job->drives = calloc(2, sizeof *machine.job->drives);
    machine.job->count = 2;
    struct drive *d = machine.job->drives;
    d[0] = (struct drive){.what = {.name = "/dev/nvme0n1",
                                   .kind = BLKDEV_KIND_NVME,
                                   .zoned = true,
                                   .size_bytes = 1 << 30,
                                   .block_bytes = 4096},
                          .in_pool = true,
                          .model = "M",
                          .serial = "S",
                          .zone_bytes = 1 << 24,
                          .zones = 64,
                          .max_active = 14,
                          .smart_known = true,
                          .smart = {.used_percent = 3, .media_errors = 2}};
    d[1] = (struct drive){.what = {.name = "/dev/nvme1n1", .kind = BLKDEV_KIND_NVME},
                          .used_by = "mounted at /\xff",
                          .smart_unknown = "why"};
    finish(w, 0);
    assert_int_equal(a.status, 0);
    const Pstorage__V1__ListFlashResponse *r = (const void *)a.message;
    assert_int_equal(r->n_devices, 2);
    assert_string_equal(r->devices[0]->name, "/dev/nvme0n1");
    assert_true(r->devices[0]->in_pool && r->devices[0]->zoned && r->devices[0]->health_known);
    assert_int_equal(r->devices[0]->zones->count, 64);
    assert_int_equal(r->devices[0]->used_percent, 3);
    assert_int_equal(r->devices[0]->media_errors, 2);
    assert_null(r->devices[1]->zones);
    assert_memory_equal(r->devices[1]->used_by, "mounted at /", 12);
    assert_string_equal(r->devices[1]->health_unknown, "why");
    answer_free(&a);
}

static void identify_and_smart_pass_on_what_the_device_says(void **state)
{
    struct services_world *w = *state;
    struct answer a = {0}, b = {0};
    Pstorage__V1__FlashDeviceRequest m = PSTORAGE__V1__FLASH_DEVICE_REQUEST__INIT;
    m.device = text("/dev/nvme0n1");
    m.node = text("n1");
    BEGIN(w, &a, "Identify", &m);
    assert_string_equal(machine.job->device, "/dev/nvme0n1");
    machine.job->controller = (struct nvme_controller){.serial = "S", .can_format = true, .namespaces = 1};
    machine.job->ns = (struct nvme_namespace){.size_blocks = 100,
                                              .block_bytes = 512,
                                              .nformats = 2,
                                              .format = 1,
                                              .formats = {{4096, 8, 1}, {512, 0, 0}},
                                              .nguid = {0xab}};
    finish(w, 0);
    const Pstorage__V1__IdentifyFlashResponse *i = (const void *)a.message;
    assert_string_equal(i->controller->serial, "S");
    assert_true(i->controller->can_format);
    assert_int_equal(i->ns->n_formats, 2);
    assert_int_equal(i->ns->formats[0]->metadata_bytes, 8);
    assert_string_equal(i->ns->nguid, "ab000000000000000000000000000000");
    assert_string_equal(i->ns->eui64, "");
    assert_null(i->zones);
    m.max_errors = 1000;
    BEGIN(w, &b, "Smart", &m);
    assert_int_equal(machine.job->max_errors, DRIVE_ERRORS_MAX);
    machine.job->smart = (struct nvme_smart){.kelvin = 311, .sensor_kelvin = {0, 300}};
    machine.job->nerrors = 1;
    machine.job->errors[0] = (struct nvme_error){.number = 9, .status = 0x281};
    finish(w, 0);
    const Pstorage__V1__SmartFlashResponse *s = (const void *)b.message;
    assert_int_equal(s->kelvin, 311);
    assert_int_equal(s->n_sensors_kelvin, 1);
    assert_int_equal(s->errors[0]->number, 9);
    assert_string_equal(s->errors[0]->text, "unrecovered read error");
    answer_free(&a);
    answer_free(&b);
}

static void data_goes_beside_the_message(void **state)
{
    struct services_world *w = *state;
    struct answer a = {0}, b = {0};
    static uint8_t data[8192];
    Pstorage__V1__WriteFlashRequest write = PSTORAGE__V1__WRITE_FLASH_REQUEST__INIT;
    write.device = text("/dev/nvme1n1");
    write.offset = 4096;
    write.fua = true;
    memset(data, 0x5a, sizeof data);
    a.request.payload = data;
    a.request.payload_bytes = sizeof data;
    BEGIN(w, &a, "Write", &write);
    assert_int_equal(machine.job->offset, 4096);
    assert_int_equal(machine.job->length, sizeof data);
    assert_true(machine.job->fua);
    assert_int_equal((uintptr_t)machine.job->buf % DRIVE_ALIGN, 0);
    assert_memory_equal(machine.job->buf, data, sizeof data);
    finish(w, 0);
    assert_int_equal(a.status, 0);
    Pstorage__V1__ReadFlashRequest read = PSTORAGE__V1__READ_FLASH_REQUEST__INIT;
    read.device = text("/dev/nvme1n1");
    read.length = 4096;
    BEGIN(w, &b, "Read", &read);
    memset(machine.job->buf, 0x77, 4096);
    finish(w, 0);
    assert_int_equal(b.payload_bytes, 4096);
    assert_int_equal(b.payload[4095], 0x77);
    answer_free(&a);
    answer_free(&b);
}

static void what_makes_no_sense_reaches_no_device(void **state)
{
    struct services_world *w = *state;
    struct answer a = {0};
    char name[200];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    Pstorage__V1__ReadFlashRequest read = PSTORAGE__V1__READ_FLASH_REQUEST__INIT;
    Pstorage__V1__WriteFlashRequest write = PSTORAGE__V1__WRITE_FLASH_REQUEST__INIT;
    Pstorage__V1__FormatFlashRequest format = PSTORAGE__V1__FORMAT_FLASH_REQUEST__INIT;
    Pstorage__V1__FlashDeviceRequest ask = PSTORAGE__V1__FLASH_DEVICE_REQUEST__INIT;
    read.device = write.device = format.device = text("/dev/nvme1n1");
    const struct {
        const char *method;
        const ProtobufCMessage *message;
        int status;
    } wrong[] = {
        {"Read", &read.base, PS_EINVAL},     /* of nothing */
        {"Write", &write.base, PS_EINVAL},   /* without data */
        {"Format", &format.base, PS_EINVAL}, /* without a serial number */
        {"Identify", &ask.base, PS_EINVAL},  /* of no device */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        (void)call(w, &a, &pstorage__v1__flash__descriptor, wrong[i].method, wrong[i].message);
        assert_int_equal(a.status, wrong[i].status);
        answer_free(&a);
        a = (struct answer){0};
    }
    read.length = DRIVE_IO_MAX + 1;
    (void)call(w, &a, &pstorage__v1__flash__descriptor, "Read", &read.base);
    assert_int_equal(a.status, PS_EINVAL);
    answer_free(&a);
    a = (struct answer){0};
    ask.device = name;
    (void)call(w, &a, &pstorage__v1__flash__descriptor, "Smart", &ask.base);
    assert_int_equal(a.status, PS_EINVAL);
    answer_free(&a);
    assert_int_equal(machine.asked, 0);
}

static void a_request_for_another_node_touches_nothing(void **state)
{
    struct services_world *w = *state;
    struct answer a = {0};
    Pstorage__V1__DeallocateFlashRequest m = PSTORAGE__V1__DEALLOCATE_FLASH_REQUEST__INIT;
    m.device = text("/dev/nvme1n1");
    m.length = 4096;
    m.node = text("n2");
    (void)call(w, &a, &pstorage__v1__flash__descriptor, "Deallocate", &m.base);
    assert_int_equal(a.status, PS_ENOTFOUND);
    assert_string_equal(a.detail, "this is node n1, not n2");
    assert_int_equal(machine.asked, 0);
    answer_free(&a);
}

static void the_devices_reason_is_told(void **state)
{
    struct services_world *w = *state;
    struct answer a = {0}, b = {0};
    Pstorage__V1__FlashDeviceRequest m = PSTORAGE__V1__FLASH_DEVICE_REQUEST__INIT;
    m.device = text("/dev/nvme1n1");
    BEGIN(w, &a, "Flush", &m);
    (void)ps_error_set(&machine.job->error, PS_EPRECONDITION, "it is in the pool");
    finish(w, PS_EPRECONDITION);
    assert_int_equal(a.status, PS_EPRECONDITION);
    assert_string_equal(a.detail, "it is in the pool");
    answer_free(&a);
    machine.refuse = PS_ELIMIT;
    (void)call(w, &b, &pstorage__v1__flash__descriptor, "Flush", &m.base);
    assert_int_equal(b.status, PS_ELIMIT);
    answer_free(&b);
}

static void who_gives_up_a_format_is_let_go_and_the_end_waits_for_the_device(void **state)
{
    struct services_world *w = *state;
    struct answer a = {0};
    Pstorage__V1__FormatFlashRequest m = PSTORAGE__V1__FORMAT_FLASH_REQUEST__INIT;
    m.device = text("/dev/nvme1n1");
    m.serial = text("S");
    m.block_bytes = 4096;
    m.erase = PSTORAGE__V1__FLASH_ERASE__FLASH_ERASE_CRYPTO;
    a.request.timeout_ns = 1000000000;
    BEGIN(w, &a, "Format", &m);
    struct drive_job *job = machine.job;
    assert_string_equal(job->serial, "S");
    assert_int_equal(job->block_bytes, 4096);
    assert_int_equal(job->erase, NVME_ERASE_CRYPTO);
    world_run(w, 3000);
    assert_int_equal(a.status, PS_EDEADLINE);
    answer_free(&a);
    assert_int_equal(world_teardown(state), 0);
    flash_service_destroy(service, on_destroyed, NULL);
    assert_false(destroyed);
    job->done(job, 0);
    assert_true(destroyed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_list_tells_of_each_device_what_is_known, setup, teardown),
        cmocka_unit_test_setup_teardown(identify_and_smart_pass_on_what_the_device_says, setup, teardown),
        cmocka_unit_test_setup_teardown(data_goes_beside_the_message, setup, teardown),
        cmocka_unit_test_setup_teardown(what_makes_no_sense_reaches_no_device, setup, teardown),
        cmocka_unit_test_setup_teardown(a_request_for_another_node_touches_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(the_devices_reason_is_told, setup, teardown),
        cmocka_unit_test_setup(who_gives_up_a_format_is_let_go_and_the_end_waits_for_the_device, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
