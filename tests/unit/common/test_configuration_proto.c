#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/configuration_proto.h"

static struct uuid id(unsigned n)
{
    struct uuid u;
    memset(u.bytes, (int)n, sizeof u.bytes);
    return u;
}

static struct configuration some_configuration(void)
{
    return (struct configuration){
        .pod = id(0xaa),
        .pod_name = "default",
        .epoch = 7,
        .primary = id(2),
        .preferred = id(1),
        .count = 3,
        .members = {{.store = id(1), .node = "a", .mode = MEMBER_SYNC},
                    {.store = id(2), .node = "b", .mode = MEMBER_SYNC, .in_sync = true},
                    {.store = id(3), .node = "c", .mode = MEMBER_ASYNC}},
    };
}

static void a_configuration_goes_into_bytes_and_comes_back(void **state)
{
    (void)state;
    struct configuration c = some_configuration(), back;
    for (int preferred = 0; preferred < 2; preferred++) {
        struct configuration_message m;
        uint8_t bytes[1024];
        c.preferred = id((unsigned)preferred);
        configuration_to_message(&c, &m);
        const size_t length = pstorage__v1__configuration__get_packed_size(&m.message);
        assert_true(length <= sizeof bytes);
        (void)pstorage__v1__configuration__pack(&m.message, bytes);
        Pstorage__V1__Configuration *unpacked = pstorage__v1__configuration__unpack(NULL, length, bytes);
        assert_non_null(unpacked);
        assert_int_equal(configuration_from_message(unpacked, &back, NULL), 0);
        assert_true(configuration_equal(&c, &back));
        pstorage__v1__configuration__free_unpacked(unpacked, NULL);
    }
}

static void refused(const Pstorage__V1__Configuration *message, const char *why)
{
    struct configuration out = {.epoch = 99};
    struct ps_error err = {0};
    assert_int_equal(configuration_from_message(message, &out, &err), PS_EINVAL);
    if (!strstr(err.detail, why))
        fail_msg("\"%s\" does not say \"%s\"", err.detail, why);
    assert_int_equal(out.epoch, 99);
}

static void whatever_a_peer_may_send_is_checked(void **state)
{
    (void)state;
    const struct configuration c = some_configuration();
    struct configuration_message m;
    char name[65];
    memset(name, 'x', 64);
    name[64] = '\0';
    refused(NULL, "missing");
#define EXPECT(why, ...)                                                                                     \
    do {                                                                                                     \
        configuration_to_message(&c, &m);                                                                    \
        __VA_ARGS__;                                                                                         \
        refused(&m.message, why);                                                                            \
    } while (0)
    EXPECT("the pod has 15 bytes", m.message.pod.len = 15);
    EXPECT("the pod is missing", m.message.pod.len = 0);
    EXPECT("the primary is missing", m.message.primary.len = 0);
    EXPECT("the preferred store has 1 bytes", m.message.preferred.len = 1);
    EXPECT("a member's store is missing", m.members[1].store.len = 0);
    EXPECT("a member's store has 17 bytes", m.members[1].store.len = 17);
    EXPECT("a pod's name is longer", m.message.pod_name = name);
    EXPECT("a node's name is longer", m.members[2].node = name);
    EXPECT("pod's name is empty", m.message.pod_name = NULL);
    EXPECT("node's name is empty", m.members[0].node = (char *)"");
    EXPECT("not printable ASCII", m.members[0].node = (char *)"caf\xc3\xa9");
    EXPECT("not printable ASCII", m.members[0].node = (char *)"\xff");
    EXPECT("unknown mode 0", m.members[0].mode = PSTORAGE__V1__MEMBER_MODE__MEMBER_MODE_UNSPECIFIED);
    EXPECT("unknown mode 7", m.members[0].mode = (Pstorage__V1__MemberMode)7);
    EXPECT("c is asynchronous", m.members[2].in_sync = true);
    EXPECT("has 0 members", m.message.n_members = 0);
    EXPECT("has 6 members", m.message.n_members = 6);
    EXPECT("not a member in sync", m.message.primary = m.members[0].store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_configuration_goes_into_bytes_and_comes_back),
        cmocka_unit_test(whatever_a_peer_may_send_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
