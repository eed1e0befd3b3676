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
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/data_dir.h"
#include "common/notify_socket.h"

struct fixture {
    char base[40], dir[64];
};

static int setup(void **state)
{
    static struct fixture f;
    (void)snprintf(f.base, sizeof f.base, "/tmp/pstorage-test-XXXXXX");
    *state = &f;
    if (!mkdtemp(f.base))
        return -1;
    (void)snprintf(f.dir, sizeof f.dir, "%s/a/data", f.base);
    return 0;
}

static int teardown(void **state)
{
    const struct fixture *f = *state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r '%s'", f->base);
    return system(command);
}

static void put(const struct fixture *f, const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", f->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fputs(text, file);
    (void)fclose(file);
}

static void refused(const char *path, int status, const char *reason)
{
    struct data_dir d;
    struct ps_error err = {0};
    assert_int_equal(data_dir_open(path, &data_dir_of_node, &d, &err), status);
    assert_non_null(strstr(err.detail, path));
    if (!strstr(err.detail, reason))
        fail_msg("\"%s\" does not say \"%s\"", err.detail, reason);
}

static void it_is_made_with_its_parents_and_opens_again(void **state)
{
    const struct fixture *f = *state;
    struct data_dir d;
    assert_int_equal(data_dir_open(f->dir, &data_dir_of_node, &d, NULL), 0);
    data_dir_close(&d);
    assert_int_equal(data_dir_open(f->dir, &data_dir_of_node, &d, NULL), 0);
    data_dir_close(&d);
}

static void a_second_process_is_kept_out_and_told_who_is_in(void **state)
{
    const struct fixture *f = *state;
    struct data_dir d;
    char who[64];
    assert_int_equal(data_dir_open(f->dir, &data_dir_of_node, &d, NULL), 0);
    (void)snprintf(who, sizeof who, "is in use by process %ld", (long)getpid());
    refused(f->dir, PS_EPRECONDITION, who);
    data_dir_close(&d);
}

static void a_newer_version_is_refused(void **state)
{
    const struct fixture *f = *state;
    struct data_dir d;
    assert_int_equal(data_dir_open(f->dir, &data_dir_of_node, &d, NULL), 0);
    data_dir_close(&d);
    put(f, "format", "pstorage-data 2\n");
    refused(f->dir, PS_EVERSION, "newer version (format 2, this one knows 1)");
    /* The refusal left no lock behind. */
    put(f, "format", "pstorage-data 1\n");
    assert_int_equal(data_dir_open(f->dir, &data_dir_of_node, &d, NULL), 0);
    data_dir_close(&d);
}

static void a_damaged_format_is_refused(void **state)
{
    const struct fixture *f = *state;
    struct data_dir d;
    assert_int_equal(data_dir_open(f->dir, &data_dir_of_node, &d, NULL), 0);
    data_dir_close(&d);
    static const char *const damaged[] = {"",
                                          "\n",
                                          "pstorage-data",
                                          "pstorage-data \n",
                                          "pstorage-data 0\n",
                                          "pstorage-data 1",
                                          "pstorage-data 1x\n",
                                          "something else\n"};
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        put(f, "format", damaged[i]);
        refused(f->dir, PS_EDAMAGED, "should read \"pstorage-data 1\"");
    }
}

static void a_directory_of_another_program_is_refused(void **state)
{
    const struct fixture *f = *state;
    struct data_dir d;
    assert_int_equal(data_dir_open(f->dir, &data_dir_of_mediator, &d, NULL), 0);
    data_dir_close(&d);
    refused(f->dir, PS_EPRECONDITION, "another program (pstorage-mediator 1)");
    put(f, "format", "pstorage-data 2\n");
    assert_int_equal(data_dir_open(f->dir, &data_dir_of_mediator, &d, NULL), PS_EPRECONDITION);
}

static void a_place_that_can_not_be_written_is_refused(void **state)
{
    (void)state;
    refused("/sys/pstorage-data", PS_EPERM, "can't make it");
    refused("/sys", PS_EPERM, "can't write to it");
    refused("/dev/null", PS_EINVAL, "Not a directory");
    refused("/dev/null/x", PS_EINVAL, "Not a directory");
}

static void the_service_manager_hears_the_state(void **state)
{
    const struct fixture *f = *state;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    (void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s/notify", f->base);
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    notify_socket_send(addr.sun_path, "READY=1");
    char got[32] = "";
    assert_int_equal(recv(fd, got, sizeof got - 1, 0), 7);
    assert_string_equal(got, "READY=1");
    /* Nobody there, and nonsense: nothing happens. */
    notify_socket_send(NULL, "READY=1");
    notify_socket_send("", "READY=1");
    notify_socket_send("relative", "READY=1");
    notify_socket_send("/tmp/no-such-socket", "READY=1");
    assert_int_equal(recv(fd, got, sizeof got, 0), -1);
    (void)close(fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(it_is_made_with_its_parents_and_opens_again),
        T(a_second_process_is_kept_out_and_told_who_is_in),
        T(a_newer_version_is_refused),
        T(a_damaged_format_is_refused),
        T(a_directory_of_another_program_is_refused),
        T(a_place_that_can_not_be_written_is_refused),
        T(the_service_manager_hears_the_state),
    };
    return cmocka_run_group_tests_name("data_dir", tests, NULL, NULL);
}
