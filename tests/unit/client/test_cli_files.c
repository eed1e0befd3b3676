/* Files in and out: holes, zeroes, names that appear only when all is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli/file_sink.h"
#include "client/cli/file_source.h"
#include "client/cli/zeroes.h"

enum {
    MIB = 1 << 20
};

struct folder {
    char path[64], file[96], other[96];
};

static int setup(void **state)
{
    struct folder *f = calloc(1, sizeof *f);
    (void)snprintf(f->path, sizeof f->path, "/tmp/pstorage-files-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    (void)snprintf(f->file, sizeof f->file, "%s/a", f->path);
    (void)snprintf(f->other, sizeof f->other, "%s/a.partial", f->path);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct folder *f = *state;
    (void)unlink(f->file);
    (void)unlink(f->other);
    assert_int_equal(rmdir(f->path), 0);
    free(f);
    return 0;
}

static void put(const char *path, off_t offset, const char *data, size_t length)
{
    const int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, length, offset), length);
    (void)close(fd);
}

static void runs_of_zero_blocks_are_found(void **state)
{
    (void)state;
    static char data[4 * ZEROES_BLOCK + 100];
    bool zero;
    data[ZEROES_BLOCK + 4095] = 1;
    assert_int_equal(zeroes_run(data, sizeof data, &zero), ZEROES_BLOCK);
    assert_true(zero);
    assert_int_equal(zeroes_run(data + ZEROES_BLOCK, sizeof data - ZEROES_BLOCK, &zero), ZEROES_BLOCK);
    assert_false(zero);
    assert_int_equal(zeroes_run(data + 2 * ZEROES_BLOCK, sizeof data - 2 * ZEROES_BLOCK, &zero),
                     2 * ZEROES_BLOCK + 100);
    assert_true(zero);
    assert_int_equal(zeroes_run("x", 1, &zero), 1);
    assert_false(zero);
}

static void a_sparse_file_is_read_as_data_and_holes(void **state)
{
    struct folder *f = *state;
    put(f->file, 0, "begin", 5);
    put(f->file, 8 * MIB + 12288, "middle", 6);
    assert_int_equal(truncate(f->file, 16 * MIB + 100), 0);

    struct file_source s;
    struct pstorage_error err;
    assert_int_equal(file_source_open(&s, f->file, &err), 0);
    assert_int_equal(s.size, 16 * MIB + 100);
    assert_true(file_source_data_bytes(&s) <= 2 * 65536); /* whatever the file system's block is */
    char *buffer = malloc(MIB);
    uint64_t at = 0, holes = 0, hole;
    size_t length;
    bool middle = false;
    for (;;) {
        assert_int_equal(file_source_next(&s, buffer, MIB, &length, &hole, &err), 0);
        if (!length && !hole)
            break;
        assert_int_equal(s.at, at + length + hole);
        assert_true(hole == 0 || length == 0);
        assert_true(at / MIB ==
                    (at + length - (length > 0)) / MIB); /* never across a multiple of the buffer */
        if (length && at <= 8 * MIB + 12288 && at + length > 8 * MIB + 12288)
            middle = memcmp(buffer + (8 * MIB + 12288 - at), "middle", 6) == 0;
        holes += hole;
        at = s.at;
    }
    assert_int_equal(at, 16 * MIB + 100);
    assert_true(middle);
    assert_true(holes > 15 * MIB);
    free(buffer);
    file_source_close(&s);
}

static void what_cannot_be_read_is_named(void **state)
{
    struct folder *f = *state;
    struct file_source s;
    struct pstorage_error err;
    assert_int_equal(file_source_open(&s, "/nonexistent/file", &err), PSTORAGE_ENOTFOUND);
    assert_string_equal(err.detail, "cannot open \"/nonexistent/file\": No such file or directory");
    assert_int_equal(file_source_open(&s, f->path, &err), PSTORAGE_EIO);
    assert_non_null(strstr(err.detail, "Is a directory"));
}

static void a_file_that_shrinks_is_noticed(void **state)
{
    struct folder *f = *state;
    struct file_source s;
    struct pstorage_error err;
    char buffer[4096] = "x";
    size_t length;
    uint64_t hole;
    put(f->file, 0, buffer, sizeof buffer);
    assert_int_equal(file_source_open(&s, f->file, &err), 0);
    s.holes = false;
    assert_int_equal(truncate(f->file, 10), 0);
    assert_int_equal(file_source_next(&s, buffer, sizeof buffer, &length, &hole, &err), PSTORAGE_EIO);
    assert_non_null(strstr(err.detail, "became shorter"));
    file_source_close(&s);
}

static void an_export_appears_only_when_it_is_complete(void **state)
{
    struct folder *f = *state;
    struct file_sink s;
    struct pstorage_error err;
    struct stat st;
    assert_int_equal(file_sink_open(&s, f->file, 8 * MIB, false, &err), 0);
    assert_int_equal(file_sink_write(&s, 4096, "data", 4, &err), 0);
    assert_int_equal(file_sink_zero(&s, 8192, 4 * MIB, &err), 0);
    assert_int_equal(stat(f->file, &st), -1);
    assert_int_equal(file_sink_commit(&s, &err), 0);
    file_sink_close(&s);
    assert_int_equal(stat(f->file, &st), 0);
    assert_int_equal(st.st_size, 8 * MIB);
    assert_true(st.st_blocks * 512 < MIB); /* the rest is holes */
    assert_int_equal(stat(f->other, &st), -1);
}

static void an_export_that_fails_leaves_nothing_behind_and_the_old_file_alone(void **state)
{
    struct folder *f = *state;
    struct file_sink s;
    struct pstorage_error err;
    struct stat st;
    put(f->file, 0, "old", 3);
    assert_int_equal(file_sink_open(&s, f->file, MIB, false, &err), PSTORAGE_EEXISTS);
    assert_non_null(strstr(err.detail, "--overwrite"));
    file_sink_close(&s);
    assert_int_equal(file_sink_open(&s, f->file, MIB, true, &err), 0);
    assert_int_equal(file_sink_write(&s, 0, "new", 3, &err), 0);
    file_sink_close(&s); /* without a commit */
    assert_int_equal(stat(f->file, &st), 0);
    assert_int_equal(st.st_size, 3);
    assert_int_equal(stat(f->other, &st), -1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_of_zero_blocks_are_found),
        T(a_sparse_file_is_read_as_data_and_holes),
        T(what_cannot_be_read_is_named),
        T(a_file_that_shrinks_is_noticed),
        T(an_export_appears_only_when_it_is_complete),
        T(an_export_that_fails_leaves_nothing_behind_and_the_old_file_alone),
    };
    return cmocka_run_group_tests_name("cli files", tests, NULL, NULL);
}
