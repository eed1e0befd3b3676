#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "node/host/catalog_sqlite.h"

struct fixture {
    char dir[40], path[64];
    struct catalog *catalog;
};

static void reopen(struct fixture *f)
{
    struct ps_error err;
    if (f->catalog)
        catalog_close(f->catalog);
    f->catalog = NULL;
    if (catalog_open(f->path, &f->catalog, &err))
        fail_msg("%s", err.detail);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/pstorage-test-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    (void)snprintf(f->path, sizeof f->path, "%s/catalog.db", f->dir);
    reopen(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->catalog)
        catalog_close(f->catalog);
    static const char *const names[] = {"", "-wal", "-shm", ".old", ".old-wal", ".old-shm"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[80];
        (void)snprintf(path, sizeof path, "%s%s", f->path, names[i]);
        (void)unlink(path);
    }
    const int rc = rmdir(f->dir);
    free(f);
    return rc;
}

static struct pod_image_info image(uint64_t id, const char *name, uint64_t size)
{
    struct pod_image_info i = {.id = id, .size_bytes = size, .created_unix_ns = 1000 + id};
    (void)snprintf(i.name, sizeof i.name, "%s", name);
    i.kind = strchr(name, '@') ? POD_SNAPSHOT : POD_VOLUME;
    return i;
}

/* The names in the catalog, in order, joined by spaces. */
static const char *names(struct fixture *f)
{
    static char out[512];
    struct pod_image_info i = {.name = ""};
    out[0] = '\0';
    while (catalog_image_after(f->catalog, "default", i.name, &i) == 0)
        (void)snprintf(out + strlen(out), sizeof out - strlen(out), "%s%s", out[0] ? " " : "", i.name);
    return out;
}

static void put(struct fixture *f, uint64_t seq, uint64_t id, const char *name)
{
    const struct pod_image_info i = image(id, name, 1 << 20);
    assert_int_equal(catalog_put_image(f->catalog, "default", seq, id, &i), 0);
}

static void images_come_change_and_go_and_survive_reopening(void **state)
{
    struct fixture *f = *state;
    put(f, 5, 1, "b");
    put(f, 6, 2, "a");
    put(f, 7, 3, "a@s1");
    assert_string_equal(names(f), "a a@s1 b");
    struct pod_image_info i = image(1, "c", 7 << 20);
    i.write_cache = true;
    i.origin_id = 3;
    assert_int_equal(catalog_put_image(f->catalog, "default", 8, 1, &i), 0);
    assert_int_equal(catalog_put_image(f->catalog, "default", 9, 2, NULL), 0);
    reopen(f);
    assert_string_equal(names(f), "a@s1 c");
    assert_int_equal(catalog_stamp(f->catalog, "default"), 9);
    assert_int_equal(catalog_stamp(f->catalog, "other"), 0);
    assert_int_equal(catalog_image_after(f->catalog, "default", "b", &i), 0);
    assert_int_equal(i.id, 1);
    assert_int_equal(i.size_bytes, 7 << 20);
    assert_int_equal(i.origin_id, 3);
    assert_true(i.write_cache);
    assert_int_equal(i.kind, POD_VOLUME);
}

static void a_comparison_makes_the_range_what_the_pod_says(void **state)
{
    struct fixture *f = *state;
    static const char *const before[] = {"a", "b", "c", "d", "e"};
    for (uint64_t i = 0; i < 5; i++)
        put(f, 1, i + 1, before[i]);
    /* In (a, d]: b is gone, c has grown, d was renamed from x, and cc is new. */
    const struct pod_image_info now[] = {image(3, "c", 9 << 20), image(9, "cc", 1), image(7, "d", 1)};
    assert_int_equal(catalog_match_images(f->catalog, "default", "a", "d", now, 3), 0);
    assert_string_equal(names(f), "a c cc d e");
    struct pod_image_info i;
    assert_int_equal(catalog_image_after(f->catalog, "default", "cc", &i), 0);
    assert_int_equal(i.id, 7);
    /* Beyond d there is nothing; and of another pod nothing is touched. */
    const struct pod_image_info other = image(1, "z", 1);
    assert_int_equal(catalog_put_image(f->catalog, "other", 1, 1, &other), 0);
    assert_int_equal(catalog_match_images(f->catalog, "default", "d", NULL, NULL, 0), 0);
    assert_string_equal(names(f), "a c cc d");
    assert_int_equal(catalog_image_after(f->catalog, "other", "", &i), 0);
}

static void a_comparison_removes_any_number_of_images(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 1000; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "v%04u", (unsigned)i);
        put(f, i + 1, i + 1, name);
    }
    const struct pod_image_info keep = image(500, "v0499", 1);
    assert_int_equal(catalog_match_images(f->catalog, "default", "", NULL, &keep, 1), 0);
    assert_string_equal(names(f), "v0499");
}

static void add_event(struct fixture *f, const char *kind, const char *text)
{
    struct event e = {.time_unix_ns = 77, .image_id = 3};
    (void)snprintf(e.pod, sizeof e.pod, "default");
    (void)snprintf(e.kind, sizeof e.kind, "%s", kind);
    (void)snprintf(e.text, sizeof e.text, "%s", text);
    const uint64_t before = e.cursor;
    assert_int_equal(catalog_add_event(f->catalog, &e), 0);
    assert_true(e.cursor > before);
}

static void events_are_read_from_a_cursor_without_gap_or_repetition(void **state)
{
    struct fixture *f = *state;
    struct event out[2];
    size_t n;
    uint64_t last;
    assert_int_equal(catalog_list_events(f->catalog, 0, out, 2, &n, &last), 0);
    assert_int_equal(n, 0);
    assert_int_equal(last, 0);
    add_event(f, "volume.created", "volume a");
    add_event(f, "volume.deleted", "it's \"gone\"");
    add_event(f, "x", "third");
    assert_int_equal(catalog_list_events(f->catalog, 0, out, 2, &n, &last), 0);
    assert_int_equal(n, 2);
    assert_string_equal(out[0].kind, "volume.created");
    assert_string_equal(out[1].text, "it's \"gone\"");
    assert_string_equal(out[1].pod, "default");
    assert_int_equal(out[1].image_id, 3);
    assert_int_equal(out[1].time_unix_ns, 77);
    reopen(f);
    assert_int_equal(catalog_list_events(f->catalog, out[1].cursor, out, 2, &n, &last), 0);
    assert_int_equal(n, 1);
    assert_string_equal(out[0].text, "third");
    assert_int_equal(out[0].cursor, last);
    assert_int_equal(catalog_list_events(f->catalog, UINT64_MAX, out, 2, &n, &last), 0);
    assert_int_equal(n, 0);
}

static void only_the_newest_events_are_kept(void **state)
{
    struct fixture *f = *state;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    char sql[128];
    (void)snprintf(sql, sizeof sql, "UPDATE sqlite_sequence SET seq = %d", CATALOG_EVENTS_KEPT + 995);
    add_event(f, "old", "old");
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(db);
    for (int i = 0; i < 10; i++)
        add_event(f, "new", "new");
    struct event out[16];
    size_t n;
    uint64_t last;
    assert_int_equal(catalog_list_events(f->catalog, 0, out, 16, &n, &last), 0);
    assert_int_equal(n, 10);
    assert_string_equal(out[0].kind, "new");
    assert_int_equal(last, CATALOG_EVENTS_KEPT + 1005);
}

static void the_node_its_devices_and_settings_are_recorded(void **state)
{
    struct fixture *f = *state;
    const char *rows[][3] = {{"API_PORT", "8000", "default"}, {"DEBUG", "true", "flag"}};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(catalog_put_node(f->catalog, "n1", "1.0", 5), 0);
        assert_int_equal(catalog_put_device(f->catalog, "n1", "/x/flash0", "file", 1 << 30), 0);
        assert_int_equal(catalog_put_settings(f->catalog, "n1", rows, i == 0 ? 2 : 1), 0);
    }
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db,
                           "SELECT (SELECT count(*) FROM settings), (SELECT count(*) FROM nodes),"
                           " (SELECT size_bytes FROM devices)",
                           -1, &s, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(s, 0), 1);
    assert_int_equal(sqlite3_column_int(s, 1), 1);
    assert_int_equal(sqlite3_column_int(s, 2), 1 << 30);
    (void)sqlite3_finalize(s);
    (void)sqlite3_close(db);
}

static void refused(struct fixture *f, int status, const char *reason)
{
    struct ps_error err = {0};
    struct catalog *c;
    assert_int_equal(catalog_open(f->path, &c, &err), status);
    assert_non_null(strstr(err.detail, f->path));
    if (!strstr(err.detail, reason))
        fail_msg("\"%s\" does not say \"%s\"", err.detail, reason);
}

static void sql(struct fixture *f, const char *text)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(db);
}

static void a_catalog_that_can_not_be_used_says_what_helps(void **state)
{
    struct fixture *f = *state;
    put(f, 1, 1, "a");
    catalog_close(f->catalog);
    f->catalog = NULL;

    sql(f, "PRAGMA user_version = 99");
    refused(f, PS_EVERSION, "newer version; pstoraged --rebuild-catalog");
    sql(f, "PRAGMA user_version = 1; PRAGMA application_id = 5");
    refused(f, PS_EDAMAGED, "another program; pstoraged --rebuild-catalog");
    sql(f, "PRAGMA application_id = 0x50536374; DROP TABLE events");
    refused(f, PS_EDAMAGED, "--rebuild-catalog");

    const int fd = open(f->path, O_WRONLY | O_CLOEXEC);
    static const char garbage[200] = "no database at all";
    assert_int_equal(pwrite(fd, garbage, sizeof garbage, 0), sizeof garbage);
    (void)close(fd);
    refused(f, PS_EDAMAGED, "is damaged; pstoraged --rebuild-catalog");

    /* Setting it aside is what --rebuild-catalog does; the old one stays beside. */
    struct ps_error err;
    assert_int_equal(catalog_set_aside(f->path, &err), 0);
    reopen(f);
    assert_string_equal(names(f), "");
    char old[80];
    (void)snprintf(old, sizeof old, "%s.old", f->path);
    assert_int_equal(access(old, F_OK), 0);
}

static void which_pod_it_was_is_kept(void **state)
{
    static const uint8_t first[16] = {1, 2, 3}, second[16] = {0xff, [15] = 9};
    struct fixture *f = *state;
    uint8_t id[16];
    assert_false(catalog_pod_id(f->catalog, "default", id));
    assert_int_equal(catalog_set_pod_id(f->catalog, "default", first), 0);
    assert_int_equal(catalog_set_pod_id(f->catalog, "default", second), 0);
    reopen(f);
    assert_true(catalog_pod_id(f->catalog, "default", id));
    assert_memory_equal(id, second, sizeof id);
    assert_false(catalog_pod_id(f->catalog, "other", id));
    assert_int_equal(catalog_forget_pod_id(f->catalog, "default"), 0);
    assert_false(catalog_pod_id(f->catalog, "default", id));
}

/* As earlier versions made it (no tokens; no pods' ids), and as one in between did. */
static void a_catalog_of_an_earlier_version_is_brought_up_to_date(void **state)
{
    static const char *const earlier[] = {"PRAGMA user_version = 1; DROP TABLE tokens; DROP TABLE pod_ids",
                                          "PRAGMA user_version = 1; DROP TABLE pod_ids",
                                          "PRAGMA user_version = 2; DROP TABLE pod_ids"};
    uint8_t id[16] = {0};
    struct fixture *f = *state;
    const struct token token = {.name = "t", .role = 1};
    put(f, 1, 1, "a");
    for (size_t i = 0; i < sizeof earlier / sizeof earlier[0]; i++) {
        catalog_close(f->catalog);
        f->catalog = NULL;
        sql(f, earlier[i]);
        reopen(f);
        assert_string_equal(names(f), "a");
        /* The second time it is the one put before. */
        assert_int_equal(catalog_drop_token(f->catalog, "t"), i == 0 ? PS_ENOTFOUND : 0);
        assert_int_equal(catalog_put_token(f->catalog, &token), 0);
        assert_false(catalog_pod_id(f->catalog, "default", id));
        assert_int_equal(catalog_set_pod_id(f->catalog, "default", id), 0);
    }
    catalog_close(f->catalog);
    f->catalog = NULL;
    sql(f, "PRAGMA user_version = 0");
    refused(f, PS_EDAMAGED, "--rebuild-catalog");
}

static void damage_inside_is_found_when_it_is_opened(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 200; i++)
        add_event(f, "kind", "some text to fill pages with");
    catalog_close(f->catalog);
    f->catalog = NULL;
    const int fd = open(f->path, O_WRONLY | O_CLOEXEC);
    char garbage[4096];
    memset(garbage, 0xa5, sizeof garbage);
    const off_t size = lseek(fd, 0, SEEK_END);
    for (off_t at = 4096; at < size; at += 4096)
        assert_int_equal(pwrite(fd, garbage, sizeof garbage, at), sizeof garbage);
    (void)close(fd);
    refused(f, PS_EDAMAGED, "is damaged; pstoraged --rebuild-catalog");
}

static void a_catalog_in_a_folder_that_is_not_there_is_refused(void **state)
{
    struct fixture *f = *state;
    struct catalog *c;
    struct ps_error err;
    assert_int_equal(catalog_open("/tmp/no-such-folder/catalog.db", &c, &err), PS_EPERM);
    assert_non_null(strstr(err.detail, "can't be opened"));
    (void)f;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(images_come_change_and_go_and_survive_reopening),
        T(a_comparison_makes_the_range_what_the_pod_says),
        T(a_comparison_removes_any_number_of_images),
        T(events_are_read_from_a_cursor_without_gap_or_repetition),
        T(only_the_newest_events_are_kept),
        T(the_node_its_devices_and_settings_are_recorded),
        T(a_catalog_that_can_not_be_used_says_what_helps),
        T(which_pod_it_was_is_kept),
        T(a_catalog_of_an_earlier_version_is_brought_up_to_date),
        T(damage_inside_is_found_when_it_is_opened),
        T(a_catalog_in_a_folder_that_is_not_there_is_refused),
    };
    return cmocka_run_group_tests_name("catalog_sqlite", tests, NULL, NULL);
}
