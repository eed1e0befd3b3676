#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "node/host/image_event.h"

static const struct pod_image_info volume = {
    .id = 7, .kind = POD_VOLUME, .name = "vol", .size_bytes = 1 << 30};

static void told(const struct pod_image_info *before, const struct pod_image_info *after, const char *origin,
                 const char *kind, const char *text)
{
    struct event e = {0};
    assert_true(image_event_describe(before, after, origin, &e));
    assert_string_equal(e.kind, kind);
    assert_string_equal(e.text, text);
    assert_int_equal(e.image_id, (after ? after : before)->id);
}

static void a_volume_s_life_is_told(void **state)
{
    (void)state;
    struct pod_image_info now = volume;
    told(NULL, &volume, NULL, "volume.created", "volume vol created, 1.0 GiB");
    told(&volume, NULL, NULL, "volume.deleted", "volume vol deleted");
    now.name[0] = 'w';
    told(&volume, &now, NULL, "volume.renamed", "volume vol renamed to wol");
    now = volume;
    now.size_bytes *= 2;
    told(&volume, &now, NULL, "volume.resized", "volume vol resized from 1.0 GiB to 2.0 GiB");
    now = volume;
    now.write_cache = true;
    told(&volume, &now, NULL, "volume.changed", "write cache of volume vol switched on");
    now.origin_id = 3;
    told(NULL, &now, "a@b", "clone.created", "volume vol created as a clone of a@b");
}

static void snapshots_are_made_and_deleted_their_renaming_is_the_volume_s(void **state)
{
    (void)state;
    struct pod_image_info before = {.id = 8, .kind = POD_SNAPSHOT, .name = "vol@s"}, now = before;
    told(NULL, &now, NULL, "snapshot.created", "snapshot vol@s created");
    told(&before, NULL, NULL, "snapshot.deleted", "snapshot vol@s deleted");
    now.name[0] = 'w';
    struct event e;
    assert_false(image_event_describe(&before, &now, NULL, &e));
}

static void what_did_not_change_is_not_told(void **state)
{
    (void)state;
    struct pod_image_info now = volume;
    struct event e;
    now.snapshots = 5;
    now.open_count = 1;
    assert_false(image_event_describe(&volume, &now, NULL, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_volume_s_life_is_told),
        cmocka_unit_test(snapshots_are_made_and_deleted_their_renaming_is_the_volume_s),
        cmocka_unit_test(what_did_not_change_is_not_told),
    };
    return cmocka_run_group_tests_name("image_event", tests, NULL, NULL);
}
