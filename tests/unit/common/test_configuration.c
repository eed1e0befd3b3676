#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/configuration.h"
#include "common/endian_codec.h"
#include "golden_configuration.h"

static struct uuid store(unsigned n)
{
    struct uuid id;
    memset(id.bytes, (int)n, sizeof id.bytes);
    return id;
}

static void add(struct configuration *c, unsigned n, enum member_mode mode, bool in_sync)
{
    struct member *m = &c->members[c->count++];
    m->store = store(n);
    m->mode = mode;
    m->in_sync = in_sync;
    (void)snprintf(m->node, sizeof m->node, "node%u", n);
}

/* Epoch 7: 1 is primary, 2 in sync, 3 a sync member that is behind, 4 asynchronous, 2 preferred. */
static struct configuration some_configuration(void)
{
    struct configuration c = {
        .pod = store(0xaa), .pod_name = "default", .epoch = 7, .primary = store(1), .preferred = store(2)};
    add(&c, 1, MEMBER_SYNC, true);
    add(&c, 2, MEMBER_SYNC, true);
    add(&c, 3, MEMBER_SYNC, false);
    add(&c, 4, MEMBER_ASYNC, false);
    return c;
}

static struct configuration largest_configuration(void)
{
    struct configuration c = {.pod = store(0xaa), .epoch = UINT64_MAX, .primary = store(5)};
    memset(c.pod_name, '~', CONFIGURATION_NAME_MAX);
    for (unsigned n = 1; n <= CONFIGURATION_MEMBERS_MAX; n++) {
        add(&c, n, MEMBER_SYNC, true);
        memset(c.members[n - 1].node, '0' + (int)n, CONFIGURATION_NAME_MAX);
    }
    return c;
}

/* ---- what is right */

static void expect_wrong(const struct configuration *c, const char *why)
{
    struct ps_error err = {0};
    assert_int_equal(configuration_check(c, &err), PS_EINVAL);
    if (!strstr(err.detail, why))
        fail_msg("\"%s\" does not say \"%s\"", err.detail, why);
}

static void a_right_configuration_passes(void **state)
{
    (void)state;
    struct configuration c = some_configuration();
    assert_int_equal(configuration_check(&c, NULL), 0);
    c = largest_configuration();
    assert_int_equal(configuration_check(&c, NULL), 0);
}

static void each_way_of_being_wrong_is_refused_and_named(void **state)
{
    (void)state;
    const struct configuration right = some_configuration();
    struct configuration c = right;
    c.count = 0;
    expect_wrong(&c, "0 members");
    c.count = 6;
    expect_wrong(&c, "6 members");
    c = right;
    c.pod = store(0);
    expect_wrong(&c, "has no id");
    c = right;
    c.pod_name[0] = '\0';
    expect_wrong(&c, "pod's name is empty");
    c = right;
    memset(c.pod_name, 'x', sizeof c.pod_name); /* not even terminated */
    expect_wrong(&c, "pod's name is longer");
    c = right;
    c.members[1].node[2] = '\n';
    expect_wrong(&c, "node's name has a character");
    c = right;
    c.members[1].node[2] = (char)0xc3;
    expect_wrong(&c, "node's name has a character");
    c = right;
    c.members[2].store = store(0);
    expect_wrong(&c, "node3 has no store");
    c = right;
    c.members[2].store = store(2);
    expect_wrong(&c, "node2 and node3 name the same store");
    c = right;
    strcpy(c.members[3].node, "node1");
    expect_wrong(&c, "node1 is a member twice");
    c = right;
    c.members[2].mode = (enum member_mode)3;
    expect_wrong(&c, "unknown mode 3");
    c = right;
    c.members[3].in_sync = true;
    expect_wrong(&c, "node4 is asynchronous");
    c = right;
    c.primary = store(9);
    expect_wrong(&c, "primary of pod default is not a member in sync");
    c.primary = store(3);
    expect_wrong(&c, "primary of pod default is not a member in sync");
    c = right;
    c.preferred = store(9);
    expect_wrong(&c, "preferred");
    c.preferred = store(0);
    assert_int_equal(configuration_check(&c, NULL), 0);
}

static void members_are_found_by_their_store(void **state)
{
    (void)state;
    const struct configuration c = some_configuration();
    const struct uuid second = store(2), third = store(3), stranger = store(9);
    assert_int_equal(configuration_find(&c, &third), 2);
    assert_int_equal(configuration_find(&c, &stranger), -1);
    assert_true(configuration_has(&c, &third));
    assert_false(configuration_has(&c, &stranger));
    assert_true(configuration_in_sync(&c, &second));
    assert_false(configuration_in_sync(&c, &third));
    assert_false(configuration_in_sync(&c, &stranger));
    assert_int_equal(configuration_sync_count(&c), 2);
}

static void equality_ignores_the_order_of_members_and_nothing_else(void **state)
{
    (void)state;
    const struct configuration a = some_configuration();
    struct configuration b = a;
    b.members[0] = a.members[3];
    b.members[3] = a.members[0];
    assert_true(configuration_equal(&a, &b));
    assert_true(configuration_equal(&b, &a));
    b = a;
    b.count--;
    assert_false(configuration_equal(&a, &b));
    assert_false(configuration_equal(&b, &a));
    b = a;
    b.epoch++;
    assert_false(configuration_equal(&a, &b));
    b = a;
    b.members[1].in_sync = false;
    assert_false(configuration_equal(&a, &b));
    b = a;
    b.members[2].mode = MEMBER_ASYNC;
    assert_false(configuration_equal(&a, &b));
    b = a;
    b.members[2].node[0] = 'N';
    assert_false(configuration_equal(&a, &b));
    b = a;
    b.pod_name[0] = 'D';
    assert_false(configuration_equal(&a, &b));
    b = a;
    b.primary = store(2);
    assert_false(configuration_equal(&a, &b));
    b = a;
    b.preferred = store(0);
    assert_false(configuration_equal(&a, &b));
    b = a;
    b.pod = store(0xab);
    assert_false(configuration_equal(&a, &b));
}

static void an_id_is_written_as_people_know_it(void **state)
{
    (void)state;
    struct uuid id;
    char text[UUID_TEXT_BYTES];
    for (unsigned i = 0; i < 16; i++)
        id.bytes[i] = (uint8_t)(0xf0 - i * 15);
    uuid_format(&id, text);
    assert_string_equal(text, "f0e1d2c3-b4a5-9687-7869-5a4b3c2d1e0f");
    assert_false(uuid_is_none(&id));
    id = store(0);
    assert_true(uuid_is_none(&id));
}

/* ---- who may put what in the place of what */

static void expect_refusal(const struct configuration *now, const struct configuration *next, unsigned who,
                           int status, const char *why)
{
    const struct uuid requester = store(who);
    struct ps_error err = {0};
    assert_int_equal(configuration_may_follow(now, next, &requester, &err), status);
    if (!strstr(err.detail, why))
        fail_msg("\"%s\" does not say \"%s\"", err.detail, why);
}

static void expect_granted(const struct configuration *now, const struct configuration *next, unsigned who)
{
    const struct uuid requester = store(who);
    struct ps_error err = {0};
    if (configuration_may_follow(now, next, &requester, &err))
        fail_msg("%s", err.detail);
}

/* 2 takes over alone, at the next epoch. */
static struct configuration take_over(const struct configuration *now)
{
    struct configuration next = *now;
    next.epoch++;
    next.primary = store(2);
    next.members[0].in_sync = false;
    return next;
}

static void the_epoch_must_grow(void **state)
{
    (void)state;
    const struct configuration now = some_configuration();
    struct configuration next = now;
    expect_refusal(&now, &next, 1, PS_EINVAL, "epoch 7 is not higher than the present 7");
    next.epoch = 6;
    expect_refusal(&now, &next, 1, PS_EINVAL, "not higher");
    next.epoch = 1000;
    expect_granted(&now, &next, 1);
}

static void a_configuration_that_is_wrong_in_itself_follows_nothing(void **state)
{
    (void)state;
    const struct configuration now = some_configuration();
    struct configuration next = now;
    next.epoch++;
    next.members[0].in_sync = false; /* the primary's */
    expect_refusal(&now, &next, 1, PS_EINVAL, "not a member in sync");
}

static void a_configuration_of_another_pod_does_not_follow(void **state)
{
    (void)state;
    const struct configuration now = some_configuration();
    struct configuration next = now;
    next.epoch++;
    next.pod = store(0xab);
    expect_refusal(&now, &next, 1, PS_EINVAL, "another pod");
}

static void the_primary_may_remove_add_rename_and_prefer(void **state)
{
    (void)state;
    const struct configuration now = some_configuration();
    struct configuration next = now;
    next.epoch++;
    next.members[1].in_sync = false;
    expect_granted(&now, &next, 1);
    next.members[2].in_sync = true; /* joined */
    expect_granted(&now, &next, 1);
    add(&next, 5, MEMBER_ASYNC, false);
    next.preferred = store(5);
    strcpy(next.pod_name, "renamed");
    expect_granted(&now, &next, 1);
}

static void the_primary_may_hand_over_to_a_member_in_sync_only(void **state)
{
    (void)state;
    const struct configuration now = some_configuration();
    struct configuration next = now;
    next.epoch++;
    next.primary = store(2);
    expect_granted(&now, &next, 1);
    /* 3 is declared in sync and primary in one step: it does not hold all that was committed. */
    next.members[2].in_sync = true;
    next.primary = store(3);
    expect_refusal(&now, &next, 1, PS_EPERM, "node3 was not in sync");
}

static void a_member_in_sync_may_take_over_with_a_smaller_sync_set(void **state)
{
    (void)state;
    const struct configuration now = some_configuration();
    struct configuration next = take_over(&now);
    expect_granted(&now, &next, 2);
    next.members[0].in_sync = true; /* both remain: a subset as well */
    expect_granted(&now, &next, 2);
}

static void a_member_that_is_not_in_sync_may_not_take_over(void **state)
{
    (void)state;
    const struct configuration now = some_configuration();
    struct configuration next = now;
    next.epoch++;
    next.members[2].in_sync = true;
    next.primary = store(3);
    expect_refusal(&now, &next, 3, PS_EPERM, "node3 is not in sync");
    expect_refusal(&now, &next, 4, PS_EPERM, "node4 is not in sync");
}

static void a_stranger_may_change_nothing(void **state)
{
    (void)state;
    const struct configuration now = some_configuration();
    const struct configuration next = take_over(&now);
    expect_refusal(&now, &next, 9, PS_EPERM, "not a member");
}

static void who_takes_over_proposes_itself(void **state)
{
    (void)state;
    const struct configuration now = some_configuration();
    struct configuration next = now;
    next.epoch++; /* 1 stays primary */
    expect_refusal(&now, &next, 2, PS_EPERM, "nobody but itself");
}

static void who_takes_over_adds_nobody_to_the_sync_set(void **state)
{
    (void)state;
    const struct configuration now = some_configuration();
    struct configuration next = take_over(&now);
    next.members[2].in_sync = true;
    expect_refusal(&now, &next, 2, PS_EPERM, "can't declare node3 in sync");
}

static void who_takes_over_changes_nothing_else(void **state)
{
    (void)state;
    const struct configuration now = some_configuration();
    static const char why[] = "nothing but the primary and the sync set";
    struct configuration next = take_over(&now);
    add(&next, 5, MEMBER_SYNC, false);
    expect_refusal(&now, &next, 2, PS_EPERM, why);
    next = take_over(&now);
    next.count--;
    expect_refusal(&now, &next, 2, PS_EPERM, why);
    next = take_over(&now);
    next.members[2].mode = MEMBER_ASYNC;
    expect_refusal(&now, &next, 2, PS_EPERM, why);
    next = take_over(&now);
    next.preferred = store(1);
    expect_refusal(&now, &next, 2, PS_EPERM, why);
    next = take_over(&now);
    strcpy(next.pod_name, "mine");
    expect_refusal(&now, &next, 2, PS_EPERM, why);
}

static void the_first_configuration_comes_from_its_primary(void **state)
{
    (void)state;
    struct configuration next = some_configuration();
    expect_granted(NULL, &next, 1);
    expect_refusal(NULL, &next, 2, PS_EPERM, "by its primary only");
    next.epoch = 0;
    expect_refusal(NULL, &next, 1, PS_EINVAL, "epoch 0 is not higher");
}

/* ---- form on disk */

static void the_form_is_the_one_of_version_1(void **state)
{
    (void)state;
    const struct configuration c = some_configuration();
    uint8_t form[CONFIGURATION_BYTES_MAX];
    struct configuration back;
    assert_int_equal(configuration_encode(&c, form), sizeof golden_configuration);
    assert_memory_equal(form, golden_configuration, sizeof golden_configuration);
    assert_int_equal(configuration_decode(golden_configuration, sizeof golden_configuration, &back, NULL), 0);
    assert_true(configuration_equal(&c, &back));
    assert_memory_equal(&back.members[3].store, &c.members[3].store, 16); /* in their order */
}

static void the_largest_configuration_fits_and_comes_back(void **state)
{
    (void)state;
    const struct configuration c = largest_configuration();
    uint8_t form[CONFIGURATION_BYTES_MAX] = {0};
    struct configuration back;
    const size_t bytes = configuration_encode(&c, form);
    assert_true(bytes <= sizeof form);
    assert_int_equal(configuration_decode(form, bytes, &back, NULL), 0);
    assert_true(configuration_equal(&c, &back));
    /* A slot of fixed size: zeroes behind are no harm, anything else is. */
    assert_int_equal(configuration_decode(form, sizeof form, &back, NULL), 0);
    form[sizeof form - 1] = 1;
    assert_int_equal(configuration_decode(form, sizeof form, &back, NULL), PS_EDAMAGED);
}

static void any_changed_byte_is_noticed(void **state)
{
    (void)state;
    uint8_t form[sizeof golden_configuration];
    for (size_t i = 0; i < sizeof form; i++)
        for (unsigned flip = 1; flip < 256; flip++) {
            struct configuration c;
            memcpy(form, golden_configuration, sizeof form);
            form[i] ^= (uint8_t)flip;
            if (configuration_decode(form, sizeof form, &c, NULL) != PS_EDAMAGED)
                fail_msg("byte %zu changed by %#x was taken", i, flip);
        }
}

static void a_form_cut_anywhere_is_noticed(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof golden_configuration; n++) {
        struct configuration c;
        uint8_t *cut = malloc(n ? n : 1); /* exact, for ASan */
        memcpy(cut, golden_configuration, n);
        assert_int_equal(configuration_decode(cut, n, &c, NULL), PS_EDAMAGED);
        free(cut);
    }
}

static void seal(uint8_t *form)
{
    put_le64(form + sizeof golden_configuration - 8, XXH3_64bits(form, sizeof golden_configuration - 8));
}

static void a_newer_form_is_told_from_a_damaged_one(void **state)
{
    (void)state;
    struct configuration c;
    struct ps_error err;
    uint8_t form[sizeof golden_configuration];
    memcpy(form, golden_configuration, sizeof form);
    form[0] = 2;
    seal(form);
    assert_int_equal(configuration_decode(form, sizeof form, &c, &err), PS_EVERSION);
    assert_non_null(strstr(err.detail, "newer version (form 2, this one knows 1)"));
}

static void wrong_contents_under_a_right_sum_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
    } changes[] = {{0, 0},   {4, 0},  {4, 6},  {4, 3},  {4, 5},   {5, 4},  {5, 2},   {6, 4}, {7, 1},
                   {32, 64}, {32, 0}, {32, 6}, {33, 0}, {56, 13}, {56, 0}, {57, 64}, {34, 0}};
    uint8_t form[sizeof golden_configuration];
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct configuration c = {.epoch = 99};
        memcpy(form, golden_configuration, sizeof form);
        form[changes[i].at] = changes[i].value;
        seal(form);
        if (configuration_decode(form, sizeof form, &c, NULL) != PS_EDAMAGED)
            fail_msg("byte %zu as %u was taken", changes[i].at, changes[i].value);
        assert_int_equal(c.epoch, 99); /* out is written only on success */
    }
}

static void a_member_begins_the_next_lineage_alone_and_changes_nothing_else(void **state)
{
    (void)state;
    const struct configuration now = some_configuration();
    for (uint32_t who = 1; who < now.count; who++) { /* in sync, behind, asynchronous */
        struct configuration next = now;
        next.epoch += 1 + (1ull << 32);
        next.primary = now.members[who].store;
        for (uint32_t i = 0; i < next.count; i++)
            next.members[i].in_sync = i == who;
        next.members[who].mode = MEMBER_SYNC;
        expect_granted(&now, &next, who + 1);
        expect_refusal(&now, &next, 1, PS_EPERM, "becomes its primary");
        struct configuration other = next;
        other.epoch += 1ull << 32;
        expect_refusal(&now, &other, who + 1, PS_EINVAL, "lineage 2 does not follow 0");
        other = next;
        other.members[0].in_sync = true;
        expect_refusal(&now, &other, who + 1, PS_EPERM, "changes nothing else");
        other = next;
        other.preferred = store(1);
        expect_refusal(&now, &other, who + 1, PS_EPERM, "changes nothing else");
    }
    /* The primary does not leave its lineage by the way. */
    struct configuration jump = now;
    jump.epoch += 1ull << 32;
    expect_refusal(&now, &jump, 1, PS_EPERM, "changes nothing else");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_configuration_passes),
        cmocka_unit_test(each_way_of_being_wrong_is_refused_and_named),
        cmocka_unit_test(members_are_found_by_their_store),
        cmocka_unit_test(equality_ignores_the_order_of_members_and_nothing_else),
        cmocka_unit_test(an_id_is_written_as_people_know_it),
        cmocka_unit_test(the_epoch_must_grow),
        cmocka_unit_test(a_configuration_that_is_wrong_in_itself_follows_nothing),
        cmocka_unit_test(a_configuration_of_another_pod_does_not_follow),
        cmocka_unit_test(a_member_begins_the_next_lineage_alone_and_changes_nothing_else),
        cmocka_unit_test(the_primary_may_remove_add_rename_and_prefer),
        cmocka_unit_test(the_primary_may_hand_over_to_a_member_in_sync_only),
        cmocka_unit_test(a_member_in_sync_may_take_over_with_a_smaller_sync_set),
        cmocka_unit_test(a_member_that_is_not_in_sync_may_not_take_over),
        cmocka_unit_test(a_stranger_may_change_nothing),
        cmocka_unit_test(who_takes_over_proposes_itself),
        cmocka_unit_test(who_takes_over_adds_nobody_to_the_sync_set),
        cmocka_unit_test(who_takes_over_changes_nothing_else),
        cmocka_unit_test(the_first_configuration_comes_from_its_primary),
        cmocka_unit_test(the_form_is_the_one_of_version_1),
        cmocka_unit_test(the_largest_configuration_fits_and_comes_back),
        cmocka_unit_test(any_changed_byte_is_noticed),
        cmocka_unit_test(a_form_cut_anywhere_is_noticed),
        cmocka_unit_test(a_newer_form_is_told_from_a_damaged_one),
        cmocka_unit_test(wrong_contents_under_a_right_sum_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
