/* The service Devices over RPC: what is asked for arrives, and what came of it is answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "node/host/devices_service.h"
#include "pstorage/v1/devices.pb-c.h"
#include "tests/unit/host/services_world.h"

/* Devices as they are asked to change. */
static struct {
    char attached[64], detached[64];
    int refuse; /* at once */
    int status; /* of it in the end */
} devices;
static struct devices_service *service;

static int change(char *where, const char *what, device_change_cb cb, void *user, enum device_outcome outcome,
                  struct ps_error *err)
{
    (void)snprintf(where, sizeof devices.attached, "%s", what);
    if (devices.refuse)
        return ps_error_set(err, devices.refuse, "refused %s", what);
    cb(user, devices.status, outcome);
    return 0;
}

static int attach(void *user, const char *spec, device_change_cb cb, void *cb_user, struct ps_error *err)
{
    (void)user;
    return change(devices.attached, spec, cb, cb_user, DEVICE_ADDED, err);
}

static int detach(void *user, const char *name, device_change_cb cb, void *cb_user, struct ps_error *err)
{
    (void)user;
    return change(devices.detached, name, cb, cb_user, DEVICE_LEAVING, err);
}

static int add_service(struct rpc_server *server)
{
    const struct devices_service_config config = {.attach = attach, .detach = detach, .node_name = "n1"};
    return devices_service_create(server, &config, &service);
}

static int setup(void **state)
{
    memset(&devices, 0, sizeof devices);
    return world_setup_with(state, add_service);
}

static int teardown(void **state)
{
    const int rc = world_teardown(state);
    devices_service_destroy(service);
    return rc;
}

static Pstorage__V1__DeviceOutcome outcome;

static int ask(struct services_world *w, const char *method, const ProtobufCMessage *m)
{
    struct answer a = {0};
    const Pstorage__V1__DeviceChangeResponse *response =
        (const void *)call(w, &a, &pstorage__v1__devices__descriptor, method, m);
    outcome = response ? response->outcome : 0;
    const int status = a.status;
    answer_free(&a);
    return status;
}

static int ask_to_attach(struct services_world *w, char *spec)
{
    Pstorage__V1__AttachDeviceRequest m = PSTORAGE__V1__ATTACH_DEVICE_REQUEST__INIT;
    m.spec = spec;
    return ask(w, "Attach", &m.base);
}

static int ask_to_detach(struct services_world *w, char *name)
{
    Pstorage__V1__DetachDeviceRequest m = PSTORAGE__V1__DETACH_DEVICE_REQUEST__INIT;
    m.name = name;
    return ask(w, "Detach", &m.base);
}

static void a_device_comes_and_goes_by_its_name(void **state)
{
    char spec[] = "file:/a,size=1G", name[] = "/a";
    assert_int_equal(ask_to_attach(*state, spec), 0);
    assert_string_equal(devices.attached, spec);
    assert_int_equal(outcome, PSTORAGE__V1__DEVICE_OUTCOME__DEVICE_OUTCOME_ADDED);
    assert_int_equal(ask_to_detach(*state, name), 0);
    assert_string_equal(devices.detached, name);
    assert_int_equal(outcome, PSTORAGE__V1__DEVICE_OUTCOME__DEVICE_OUTCOME_LEAVING);
}

static void another_nodes_device_of_the_same_name_is_left_alone(void **state)
{
    char name[] = "/a", self[] = "n1", other[] = "n2";
    Pstorage__V1__AttachDeviceRequest a = PSTORAGE__V1__ATTACH_DEVICE_REQUEST__INIT;
    Pstorage__V1__DetachDeviceRequest d = PSTORAGE__V1__DETACH_DEVICE_REQUEST__INIT;
    a.spec = d.name = name;
    a.node = d.node = other;
    assert_int_equal(ask(*state, "Attach", &a.base), PS_ENOTFOUND);
    assert_int_equal(ask(*state, "Detach", &d.base), PS_ENOTFOUND);
    assert_string_equal(devices.attached, "");
    assert_string_equal(devices.detached, "");
    a.node = d.node = self;
    assert_int_equal(ask(*state, "Attach", &a.base), 0);
    assert_int_equal(ask(*state, "Detach", &d.base), 0);
}

static void what_goes_wrong_at_once_or_later_is_answered(void **state)
{
    char name[] = "/a";
    devices.refuse = PS_EPRECONDITION;
    assert_int_equal(ask_to_attach(*state, name), PS_EPRECONDITION);
    devices.refuse = 0;
    devices.status = PS_EIO;
    assert_int_equal(ask_to_detach(*state, name), PS_EIO);
    devices.status = 0;
    assert_int_equal(ask_to_attach(*state, name), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_device_comes_and_goes_by_its_name),
        TEST(another_nodes_device_of_the_same_name_is_left_alone),
        TEST(what_goes_wrong_at_once_or_later_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
