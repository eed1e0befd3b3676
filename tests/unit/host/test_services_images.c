#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "pstorage/v1/clones.pb-c.h"
#include "pstorage/v1/snapshots.pb-c.h"
#include "pstorage/v1/status.pb-c.h"
#include "pstorage/v1/volumes.pb-c.h"
#include "services_world.h"

#define GIB       (1ull << 30)
#define VOLUMES   &pstorage__v1__volumes__descriptor
#define SNAPSHOTS &pstorage__v1__snapshots__descriptor
#define CLONES    &pstorage__v1__clones__descriptor

static struct answer a;

static int setup(void **state)
{
    a = (struct answer){0};
    return world_setup(state);
}

static int teardown(void **state)
{
    answer_free(&a);
    return world_teardown(state);
}

static Pstorage__V1__Image *create(struct services_world *w, char *name, uint64_t size)
{
    Pstorage__V1__CreateVolumeRequest request = PSTORAGE__V1__CREATE_VOLUME_REQUEST__INIT;
    request.name = name;
    request.size_bytes = size;
    request.write_cache = true;
    const uint8_t operation = a.request.operation_id[0];
    answer_free(&a);
    a.request.operation_id[0] = operation;
    Pstorage__V1__VolumeResponse *response = call(w, &a, VOLUMES, "Create", &request.base);
    return response ? response->volume : NULL;
}

static void a_volume_is_made_as_asked(void **state)
{
    struct services_world *w = *state;
    char name[] = "db";
    const Pstorage__V1__Image *image = create(w, name, GIB);
    assert_int_equal(a.status, PS_OK);
    assert_string_equal(image->name, "db");
    assert_string_equal(image->pod, "default");
    assert_true(image->size_bytes == GIB && image->write_cache && image->id != 0);
    assert_int_equal(image->kind, PSTORAGE__V1__IMAGE_KIND__IMAGE_KIND_VOLUME);
    assert_true(image->created_unix_ns > 1700000000000000000ull);
    struct pod_image_info info;
    assert_int_equal(pod_image_by_name(w->pod, "db", &info), PS_OK);
    assert_true(info.size_bytes == GIB && info.write_cache);
}

static void a_bad_name_or_size_is_refused_with_what_is_wrong(void **state)
{
    struct services_world *w = *state;
    char slash[] = "a/b", long_name[200], good[] = "good";
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    (void)create(w, slash, GIB);
    assert_int_equal(a.status, PS_EINVAL);
    assert_non_null(strstr(a.detail, "a/b"));
    (void)create(w, long_name, GIB);
    assert_int_equal(a.status, PS_EINVAL);
    (void)create(w, good, 0);
    assert_int_equal(a.status, PS_EINVAL);
    assert_true(a.detail[0] != '\0');
    (void)create(w, good, GIB);
    assert_int_equal(a.status, PS_OK);
    (void)create(w, good, GIB);
    assert_int_equal(a.status, PS_EEXISTS);
}

static void a_change_that_is_sent_again_gives_the_first_result(void **state)
{
    struct services_world *w = *state;
    char name[] = "once";
    a.request.operation_id[0] = 9;
    const uint64_t id = create(w, name, GIB)->id;
    a.request.operation_id[0] = 9;
    const Pstorage__V1__Image *again = create(w, name, GIB);
    assert_int_equal(a.status, PS_OK);
    assert_true(again->id == id);
}

static void a_pod_that_is_not_here_is_not_found(void **state)
{
    struct services_world *w = *state;
    Pstorage__V1__CreateVolumeRequest request = PSTORAGE__V1__CREATE_VOLUME_REQUEST__INIT;
    char name[] = "v", pod[] = "elsewhere", here[] = "default";
    request.name = name;
    request.size_bytes = GIB;
    request.pod = pod;
    (void)call(w, &a, VOLUMES, "Create", &request.base);
    assert_int_equal(a.status, PS_ENOTFOUND);
    assert_string_equal(a.detail, "this node has no pod named 'elsewhere'");
    answer_free(&a);
    request.pod = here;
    (void)call(w, &a, VOLUMES, "Create", &request.base);
    assert_int_equal(a.status, PS_OK);
}

/* Reads all pages; `out` gets the names, separated by blanks. */
static unsigned list_volumes(struct services_world *w, uint32_t page_size, char *out)
{
    Pstorage__V1__ListVolumesRequest request = PSTORAGE__V1__LIST_VOLUMES_REQUEST__INIT;
    char token[256] = "";
    unsigned pages = 0;
    out[0] = '\0';
    do {
        request.page_size = page_size;
        request.page_token = token;
        answer_free(&a);
        const Pstorage__V1__ListVolumesResponse *response = call(w, &a, VOLUMES, "List", &request.base);
        assert_non_null(response);
        assert_true(response->n_volumes <= page_size);
        for (size_t i = 0; i < response->n_volumes; i++) {
            strcat(out, response->volumes[i]->name);
            strcat(out, " ");
        }
        (void)snprintf(token, sizeof token, "%s", response->next_page_token);
        pages++;
    } while (token[0]);
    return pages;
}

/* '-' and '.' sort before '@', digits and letters after it or not: every neighbour there is. */
static void volumes_are_listed_in_pages_without_their_snapshots(void **state)
{
    struct services_world *w = *state;
    static const char *const names[] = {"a", "a-1", "a.1", "a1", "aA", "a_b", "b", "b0"};
    char seen[256];
    for (size_t i = 0; i < 8; i++) {
        char snapshot[64];
        pod_fake_volume(w->pod, names[i], GIB);
        (void)snprintf(snapshot, sizeof snapshot, "%s@zz", names[i]);
        pod_fake_snapshot(w->pod, snapshot);
        snapshot[strlen(snapshot) - 2] = '1';
        pod_fake_snapshot(w->pod, snapshot);
    }
    assert_int_equal(list_volumes(w, 100, seen), 1);
    assert_string_equal(seen, "a a-1 a.1 a1 aA a_b b b0 ");
    assert_int_equal(list_volumes(w, 3, seen), 3);
    assert_string_equal(seen, "a a-1 a.1 a1 aA a_b b b0 ");
    assert_int_equal(list_volumes(w, 4, seen), 2); /* a last page that is full is known to be the last */
    assert_int_equal(list_volumes(w, 1, seen), 8);
}

static void an_empty_list_is_an_answer(void **state)
{
    struct services_world *w = *state;
    char seen[256];
    assert_int_equal(list_volumes(w, 10, seen), 1);
    assert_string_equal(seen, "");
}

static void a_page_token_that_is_none_is_refused(void **state)
{
    struct services_world *w = *state;
    Pstorage__V1__ListVolumesRequest request = PSTORAGE__V1__LIST_VOLUMES_REQUEST__INIT;
    char token[300];
    memset(token, 'x', sizeof token - 1);
    token[sizeof token - 1] = '\0';
    request.page_token = token;
    (void)call(w, &a, VOLUMES, "List", &request.base);
    assert_int_equal(a.status, PS_EINVAL);
}

static void an_image_is_found_by_its_full_name(void **state)
{
    struct services_world *w = *state;
    Pstorage__V1__GetVolumeRequest request = PSTORAGE__V1__GET_VOLUME_REQUEST__INIT;
    char snapshot[] = "v@s", missing[] = "v@t";
    pod_fake_volume(w->pod, "v", GIB);
    pod_fake_snapshot(w->pod, "v@s");
    request.name = snapshot;
    const Pstorage__V1__VolumeResponse *response = call(w, &a, VOLUMES, "Get", &request.base);
    assert_int_equal(response->volume->kind, PSTORAGE__V1__IMAGE_KIND__IMAGE_KIND_SNAPSHOT);
    assert_true(response->volume->volume_id != 0);
    answer_free(&a);
    request.name = missing;
    (void)call(w, &a, VOLUMES, "Get", &request.base);
    assert_int_equal(a.status, PS_ENOTFOUND);
    assert_string_equal(a.detail, "no volume or snapshot is named 'v@t'");
}

static void a_volume_is_resized_renamed_set_and_deleted(void **state)
{
    struct services_world *w = *state;
    char v[] = "v", n[] = "n";
    struct pod_image_info info;
    pod_fake_volume(w->pod, "v", GIB);

    Pstorage__V1__ResizeVolumeRequest resize = PSTORAGE__V1__RESIZE_VOLUME_REQUEST__INIT;
    resize.name = v;
    resize.size_bytes = GIB / 2;
    (void)call(w, &a, VOLUMES, "Resize", &resize.base);
    assert_int_not_equal(a.status, PS_OK); /* not without allow_shrink */
    answer_free(&a);
    resize.allow_shrink = true;
    (void)call(w, &a, VOLUMES, "Resize", &resize.base);
    assert_int_equal(a.status, PS_OK);
    answer_free(&a);

    Pstorage__V1__RenameVolumeRequest rename_request = PSTORAGE__V1__RENAME_VOLUME_REQUEST__INIT;
    rename_request.name = v;
    rename_request.new_name = n;
    (void)call(w, &a, VOLUMES, "Rename", &rename_request.base);
    assert_int_equal(a.status, PS_OK);
    answer_free(&a);
    assert_int_equal(pod_image_by_name(w->pod, "v", &info), PS_ENOTFOUND);

    Pstorage__V1__SetVolumeRequest set_request = PSTORAGE__V1__SET_VOLUME_REQUEST__INIT;
    set_request.name = n;
    (void)call(w, &a, VOLUMES, "Set", &set_request.base);
    assert_int_equal(a.status, PS_EINVAL);
    answer_free(&a);
    set_request.write_cache = PSTORAGE__V1__SWITCH__SWITCH_ON;
    (void)call(w, &a, VOLUMES, "Set", &set_request.base);
    assert_int_equal(a.status, PS_OK);
    answer_free(&a);
    assert_int_equal(pod_image_by_name(w->pod, "n", &info), PS_OK);
    assert_true(info.write_cache && info.size_bytes == GIB / 2);

    pod_fake_snapshot(w->pod, "n@s");
    Pstorage__V1__DeleteVolumeRequest delete_request = PSTORAGE__V1__DELETE_VOLUME_REQUEST__INIT;
    delete_request.name = n;
    (void)call(w, &a, VOLUMES, "Delete", &delete_request.base);
    assert_int_equal(a.status, PS_EPRECONDITION);
    answer_free(&a);
    delete_request.with_snapshots = true;
    const Pstorage__V1__VolumeResponse *last = call(w, &a, VOLUMES, "Delete", &delete_request.base);
    assert_int_equal(a.status, PS_OK);
    assert_string_equal(last->volume->name, "n");
    assert_int_equal(pod_image_by_name(w->pod, "n", &info), PS_ENOTFOUND);
}

static void snapshots_are_made_listed_restored_and_deleted(void **state)
{
    struct services_world *w = *state;
    char full[] = "v@two", volume[] = "v", bad[] = "v", other[] = "nothing";
    pod_fake_volume(w->pod, "v", GIB);
    pod_fake_volume(w->pod, "v1", GIB);
    pod_fake_snapshot(w->pod, "v@one");
    pod_fake_snapshot(w->pod, "v1@other");

    Pstorage__V1__CreateSnapshotRequest create_request = PSTORAGE__V1__CREATE_SNAPSHOT_REQUEST__INIT;
    create_request.name = bad;
    (void)call(w, &a, SNAPSHOTS, "Create", &create_request.base);
    assert_int_equal(a.status, PS_EINVAL);
    answer_free(&a);
    create_request.name = full;
    (void)call(w, &a, SNAPSHOTS, "Create", &create_request.base);
    assert_int_equal(a.status, PS_OK);
    answer_free(&a);

    Pstorage__V1__ListSnapshotsRequest list = PSTORAGE__V1__LIST_SNAPSHOTS_REQUEST__INIT;
    list.volume = volume;
    list.page_size = 1;
    const Pstorage__V1__ListSnapshotsResponse *page = call(w, &a, SNAPSHOTS, "List", &list.base);
    assert_int_equal(page->n_snapshots, 1);
    assert_string_equal(page->snapshots[0]->name, "v@one");
    char token[64];
    (void)snprintf(token, sizeof token, "%s", page->next_page_token);
    answer_free(&a);
    list.page_token = token;
    page = call(w, &a, SNAPSHOTS, "List", &list.base);
    assert_string_equal(page->snapshots[0]->name, "v@two");
    assert_string_equal(page->next_page_token, "");
    answer_free(&a);
    list = (Pstorage__V1__ListSnapshotsRequest)PSTORAGE__V1__LIST_SNAPSHOTS_REQUEST__INIT;
    page = call(w, &a, SNAPSHOTS, "List", &list.base);
    assert_int_equal(page->n_snapshots, 3);
    answer_free(&a);
    list.volume = other;
    (void)call(w, &a, SNAPSHOTS, "List", &list.base);
    assert_int_equal(a.status, PS_ENOTFOUND);
    answer_free(&a);

    Pstorage__V1__RestoreSnapshotRequest restore = PSTORAGE__V1__RESTORE_SNAPSHOT_REQUEST__INIT;
    restore.name = full;
    const Pstorage__V1__SnapshotResponse *restored = call(w, &a, SNAPSHOTS, "Restore", &restore.base);
    assert_int_equal(a.status, PS_OK);
    assert_string_equal(restored->image->name, "v");
    answer_free(&a);

    Pstorage__V1__DeleteSnapshotRequest delete_request = PSTORAGE__V1__DELETE_SNAPSHOT_REQUEST__INIT;
    delete_request.name = full;
    (void)call(w, &a, SNAPSHOTS, "Delete", &delete_request.base);
    assert_int_equal(a.status, PS_OK);
    answer_free(&a);
    (void)call(w, &a, SNAPSHOTS, "Delete", &delete_request.base);
    assert_int_equal(a.status, PS_ENOTFOUND);
}

static void a_clone_knows_where_it_came_from(void **state)
{
    struct services_world *w = *state;
    char snapshot[] = "v@s", name[] = "c";
    pod_fake_volume(w->pod, "v", GIB);
    pod_fake_snapshot(w->pod, "v@s");
    Pstorage__V1__CreateCloneRequest request = PSTORAGE__V1__CREATE_CLONE_REQUEST__INIT;
    request.snapshot = snapshot;
    request.new_name = name;
    const Pstorage__V1__CreateCloneResponse *response = call(w, &a, CLONES, "Create", &request.base);
    assert_int_equal(a.status, PS_OK);
    assert_string_equal(response->volume->name, "c");
    struct pod_image_info info;
    assert_int_equal(pod_image_by_name(w->pod, "v@s", &info), PS_OK);
    assert_true(response->volume->origin_id == info.id);
}

static void the_status_shows_node_pod_and_devices(void **state)
{
    struct services_world *w = *state;
    pod_fake_volume(w->pod, "v", GIB);
    const Pstorage__V1__GetNodeRequest request = PSTORAGE__V1__GET_NODE_REQUEST__INIT;
    const Pstorage__V1__GetNodeResponse *response =
        call(w, &a, &pstorage__v1__status__descriptor, "GetNode", &request.base);
    assert_int_equal(a.status, PS_OK);
    assert_string_equal(response->node->name, "node-a");
    assert_string_equal(response->node->software, PS_VERSION);
    assert_int_equal(response->node->rpc_connections, 1);
    assert_true(response->node->now_unix_ns > response->node->started_unix_ns);
    assert_int_equal(response->n_pods, 1);
    assert_string_equal(response->pods[0]->name, "default");
    assert_int_equal(response->pods[0]->state, PSTORAGE__V1__POD_STATE__POD_STATE_ONLINE);
    assert_int_equal(response->pods[0]->space->volumes, 1);
    assert_int_equal(response->n_devices, 1);
    assert_string_equal(response->devices[0]->name, "file:/tmp/flash?"); /* a path need not be UTF-8 */
    assert_int_equal(response->devices[0]->write_ops, 7);
    assert_true(response->devices[0]->failed);
}

static void the_status_of_a_pod_is_asked_by_name(void **state)
{
    struct services_world *w = *state;
    Pstorage__V1__GetPodRequest request = PSTORAGE__V1__GET_POD_REQUEST__INIT;
    const Pstorage__V1__GetPodResponse *response =
        call(w, &a, &pstorage__v1__status__descriptor, "GetPod", &request.base);
    assert_string_equal(response->pod->name, "default");
    assert_non_null(response->pod->space);
    assert_non_null(response->pod->reduction);
    assert_non_null(response->pod->activity);
    answer_free(&a);
    char other[] = "other";
    request.pod = other;
    (void)call(w, &a, &pstorage__v1__status__descriptor, "GetPod", &request.base);
    assert_int_equal(a.status, PS_ENOTFOUND);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* ---- a node that is not the primary */

static void expect_forwarded(struct services_world *w, const ProtobufCServiceDescriptor *service,
                             const char *method, const ProtobufCMessage *message, const char *to)
{
    answer_free(&a);
    assert_null(call(w, &a, service, method, message));
    assert_int_equal(a.status, PS_ECANCELLED);
    assert_string_equal(a.detail, to);
}

static void every_change_is_sent_on_to_the_primary_and_every_look_is_answered_here(void **state)
{
    struct services_world *w = *state;
    char name[] = "db", missing[] = "no";
    (void)create(w, name, GIB);
    assert_int_equal(a.status, PS_OK);
    w->elsewhere = true;
#define FORWARDED(service, Type, TYPE, method, to)                                                           \
    do {                                                                                                     \
        Pstorage__V1__##Type request = PSTORAGE__V1__##TYPE##__INIT;                                         \
        expect_forwarded(w, service, method, &request.base, to);                                             \
    } while (0)
    FORWARDED(VOLUMES, CreateVolumeRequest, CREATE_VOLUME_REQUEST, "Create", "Volumes/Create");
    FORWARDED(VOLUMES, ResizeVolumeRequest, RESIZE_VOLUME_REQUEST, "Resize", "Volumes/Resize");
    FORWARDED(VOLUMES, RenameVolumeRequest, RENAME_VOLUME_REQUEST, "Rename", "Volumes/Rename");
    FORWARDED(VOLUMES, DeleteVolumeRequest, DELETE_VOLUME_REQUEST, "Delete", "Volumes/Delete");
    FORWARDED(VOLUMES, SetVolumeRequest, SET_VOLUME_REQUEST, "Set", "Volumes/Set");
    FORWARDED(SNAPSHOTS, CreateSnapshotRequest, CREATE_SNAPSHOT_REQUEST, "Create", "Snapshots/Create");
    FORWARDED(SNAPSHOTS, DeleteSnapshotRequest, DELETE_SNAPSHOT_REQUEST, "Delete", "Snapshots/Delete");
    FORWARDED(SNAPSHOTS, RestoreSnapshotRequest, RESTORE_SNAPSHOT_REQUEST, "Restore", "Snapshots/Restore");
    FORWARDED(CLONES, CreateCloneRequest, CREATE_CLONE_REQUEST, "Create", "Clones/Create");
#undef FORWARDED
    Pstorage__V1__GetVolumeRequest get = PSTORAGE__V1__GET_VOLUME_REQUEST__INIT;
    get.name = name;
    answer_free(&a);
    assert_non_null(call(w, &a, VOLUMES, "Get", &get.base));
    get.name = missing;
    answer_free(&a);
    assert_null(call(w, &a, VOLUMES, "Get", &get.base));
    assert_int_equal(a.status, PS_ENOTFOUND);
}

static void an_image_is_found_by_its_id(void **state)
{
    struct services_world *w = *state;
    char name[] = "db";
    const uint64_t id = create(w, name, GIB)->id;
    Pstorage__V1__GetVolumeRequest get = PSTORAGE__V1__GET_VOLUME_REQUEST__INIT;
    get.id = id;
    answer_free(&a);
    const Pstorage__V1__VolumeResponse *r = call(w, &a, VOLUMES, "Get", &get.base);
    assert_string_equal(r->volume->name, "db");
    get.id = id + 1;
    answer_free(&a);
    assert_null(call(w, &a, VOLUMES, "Get", &get.base));
    assert_int_equal(a.status, PS_ENOTFOUND);
    assert_non_null(strstr(a.detail, "has id"));
}

static void a_change_that_expects_something_else_is_not_carried_out(void **state)
{
    struct services_world *w = *state;
    char name[] = "db";
    const Pstorage__V1__Image *image = create(w, name, GIB);
    const uint64_t id = image->id, tag = image->tag;
    assert_true(tag != 0);
    Pstorage__V1__Expectation expect = PSTORAGE__V1__EXPECTATION__INIT;
    Pstorage__V1__ResizeVolumeRequest resize = PSTORAGE__V1__RESIZE_VOLUME_REQUEST__INIT;
    resize.name = name;
    resize.size_bytes = 2 * GIB;
    resize.expect = &expect;
    expect.id = id;
    expect.tag = tag + 1;
    answer_free(&a);
    assert_null(call(w, &a, VOLUMES, "Resize", &resize.base));
    assert_int_equal(a.status, PS_ECHANGED);
    expect.tag = tag;
    answer_free(&a);
    assert_non_null(call(w, &a, VOLUMES, "Resize", &resize.base));
    Pstorage__V1__DeleteVolumeRequest delete = PSTORAGE__V1__DELETE_VOLUME_REQUEST__INIT;
    delete.name = name;
    delete.expect = &expect;
    answer_free(&a);
    assert_null(call(w, &a, VOLUMES, "Delete", &delete.base));
    assert_int_equal(a.status, PS_ECHANGED);
}

static void who_asks_for_the_primary_gets_its_answer(void **state)
{
    struct services_world *w = *state;
    char name[] = "db";
    (void)create(w, name, GIB);
    const struct rpc_metadata ask = {"ask-primary", "1", 1};
    Pstorage__V1__GetVolumeRequest get = PSTORAGE__V1__GET_VOLUME_REQUEST__INIT;
    get.name = name;
    answer_free(&a);
    a.request.metadata = &ask;
    a.request.nmetadata = 1;
    assert_non_null(call(w, &a, VOLUMES, "Get", &get.base));
    w->elsewhere = true;
    answer_free(&a);
    a.request.metadata = &ask;
    a.request.nmetadata = 1;
    assert_null(call(w, &a, VOLUMES, "Get", &get.base));
    assert_string_equal(a.detail, "Volumes/Get");
}

static void a_snapshot_of_the_pod_is_made_of_each_volume_and_told_by_their_number(void **state)
{
    struct services_world *w = *state;
    char v[] = "v", u[] = "u", name[] = "now", wrong[] = "v@now", pod[] = "elsewhere", empty[] = "";
    Pstorage__V1__CreateAllSnapshotsRequest request = PSTORAGE__V1__CREATE_ALL_SNAPSHOTS_REQUEST__INIT;
    (void)create(w, v, GIB);
    (void)create(w, u, GIB);
    answer_free(&a);
    request.name = wrong;
    (void)call(w, &a, SNAPSHOTS, "CreateAll", &request.base);
    assert_int_equal(a.status, PS_EINVAL);
    answer_free(&a);
    request.name = name;
    request.pod = pod;
    (void)call(w, &a, SNAPSHOTS, "CreateAll", &request.base);
    assert_int_equal(a.status, PS_ENOTFOUND);
    answer_free(&a);
    request.pod = empty;
    const Pstorage__V1__SnapshotResponse *made = call(w, &a, SNAPSHOTS, "CreateAll", &request.base);
    assert_int_equal(a.status, PS_OK);
    assert_int_equal(made->count, 2);
    struct pod_image_info info;
    assert_int_equal(pod_image_by_name(w->pod, "v@now", &info), PS_OK);
    assert_int_equal(pod_image_by_name(w->pod, "u@now", &info), PS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_volume_is_made_as_asked),
        IN_WORLD(a_snapshot_of_the_pod_is_made_of_each_volume_and_told_by_their_number),
        IN_WORLD(a_bad_name_or_size_is_refused_with_what_is_wrong),
        IN_WORLD(a_change_that_is_sent_again_gives_the_first_result),
        IN_WORLD(a_pod_that_is_not_here_is_not_found),
        IN_WORLD(volumes_are_listed_in_pages_without_their_snapshots),
        IN_WORLD(an_empty_list_is_an_answer),
        IN_WORLD(a_page_token_that_is_none_is_refused),
        IN_WORLD(an_image_is_found_by_its_full_name),
        IN_WORLD(a_volume_is_resized_renamed_set_and_deleted),
        IN_WORLD(snapshots_are_made_listed_restored_and_deleted),
        IN_WORLD(a_clone_knows_where_it_came_from),
        IN_WORLD(the_status_shows_node_pod_and_devices),
        IN_WORLD(the_status_of_a_pod_is_asked_by_name),
        IN_WORLD(an_image_is_found_by_its_id),
        IN_WORLD(a_change_that_expects_something_else_is_not_carried_out),
        IN_WORLD(who_asks_for_the_primary_gets_its_answer),
        IN_WORLD(every_change_is_sent_on_to_the_primary_and_every_look_is_answered_here),
    };
    return cmocka_run_group_tests_name("services: images", tests, NULL, NULL);
}
