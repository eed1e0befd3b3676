/* The mediator on its file: refused files, I/O errors, and a SIGKILL at any moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mediator/mediator_store_sqlite.h"
#include "mediator_rig.h"

enum {
    POD = 0xa0
};

struct fixture {
    char dir[40], path[64];
    struct rig rig;
};

static void open_all(struct fixture *f)
{
    struct ps_error err = {0};
    if (mediator_store_sqlite_open(f->path, &f->rig.store, &err))
        fail_msg("%s", err.detail);
    rig_start(&f->rig);
}

static void close_all(struct fixture *f)
{
    rig_stop(&f->rig);
    mediator_store_sqlite_close(f->rig.store);
    f->rig.store = NULL;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/pstorage-test-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    (void)snprintf(f->path, sizeof f->path, "%s/mediator.db", f->dir);
    open_all(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[80];
    if (f->rig.store)
        close_all(f);
    (void)snprintf(command, sizeof command, "rm -r '%s'", f->dir);
    const int rc = system(command);
    free(f);
    return rc;
}

static void sql(const struct fixture *f, const char *text)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    (void)sqlite3_close(db);
}

/* Opening must fail; in the core if the file itself is right. */
static void refused(struct fixture *f, int status, const char *why)
{
    struct mediator_store *store = NULL;
    struct mediator_core *core;
    struct ps_error err = {0};
    int rc = mediator_store_sqlite_open(f->path, &store, &err);
    if (rc == 0) {
        rc = mediator_core_create(store, &core, &err);
        if (rc == 0)
            mediator_core_destroy(core);
        mediator_store_sqlite_close(store);
    }
    assert_int_equal(rc, status);
    if (!strstr(err.detail, why))
        fail_msg("\"%s\" does not say \"%s\"", err.detail, why);
}

static void the_store_id_is_made_once_and_is_no_others(void **state)
{
    struct fixture *f = *state;
    const struct uuid id = f->rig.store->id;
    assert_int_equal(id.bytes[6] & 0xf0, 0x40);
    close_all(f);
    open_all(f);
    assert_memory_equal(f->rig.store->id.bytes, id.bytes, 16);
    close_all(f);
    assert_int_equal(unlink(f->path), 0);
    open_all(f);
    assert_memory_not_equal(f->rig.store->id.bytes, id.bytes, 16);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_newer_files_version_is_refused(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    sql(f, "PRAGMA user_version=2");
    refused(f, PS_EVERSION, "newer version (2, this one knows 1)");
}

static void a_file_of_another_program_is_refused(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    sql(f, "PRAGMA application_id=7");
    refused(f, PS_EDAMAGED, "are a database of another program");
    const int fd = open(f->path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, "this is no database, and never was one", 38), 38);
    (void)close(fd);
    refused(f, PS_EDAMAGED, "are damaged; with the file set aside a new mediator starts");
}

static void a_damaged_file_is_refused(void **state)
{
    struct fixture *f = *state;
    rig_register(&f->rig, POD);
    close_all(f);
    const int fd = open(f->path, O_RDWR);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    uint8_t noise[512];
    memset(noise, 0x5a, sizeof noise);
    for (off_t at = 4096; at < st.st_size; at += 4096)
        assert_int_equal(pwrite(fd, noise, sizeof noise, at), sizeof noise);
    (void)close(fd);
    refused(f, PS_EDAMAGED, "are damaged");
}

static void a_damaged_record_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const damages[] = {
        "UPDATE pods SET configuration = x'0102'",
        "UPDATE pods SET configuration = zeroblob(140)",
        "UPDATE pods SET epoch = 2",
        "UPDATE pods SET name = 'other'",
        "UPDATE pods SET request_id = x'00'",
        "UPDATE pods SET pod = zeroblob(16)",
        "DELETE FROM store",
        "UPDATE store SET id = x'01'",
        "DROP TABLE decisions",
    };
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        rig_register(&f->rig, POD);
        close_all(f);
        sql(f, damages[i]);
        refused(f, PS_EDAMAGED, "mediator's records");
        assert_int_equal(unlink(f->path), 0);
        open_all(f);
    }
    close_all(f);
    sql(f, "DROP TABLE store; CREATE TABLE store(id)");
    refused(f, PS_EDAMAGED, "are damaged");
}

static void a_file_that_can_not_be_made_is_refused(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    (void)snprintf(f->path, sizeof f->path, "%s/none/mediator.db", f->dir);
    refused(f, PS_EPERM, "can't be opened");
}

static void a_file_that_somebody_else_locked_delays_and_loses_nothing(void **state)
{
    struct fixture *f = *state;
    struct rig *r = &f->rig;
    rig_register(r, POD);
    sqlite3 *other;
    assert_int_equal(sqlite3_open(f->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    const struct configuration next = rig_configuration(POD, 2, 2, "2");
    assert_int_equal(rig_change(r, 2, 0x20, 1, &next), PS_EIO);
    assert_int_equal(rig_epoch(r, POD), 1);
    assert_false(mediator_store_sqlite_failed(r->store));
    (void)sqlite3_close(other);
    assert_int_equal(rig_change(r, 2, 0x20, 1, &next), MEDIATOR_GRANTED);
}

static void an_io_error_ends_the_store_until_it_is_opened_again(void **state)
{
    struct fixture *f = *state;
    struct rig *r = &f->rig;
    rig_register(r, POD);
    /* A limit of the file size stands for a disk that refuses writes. */
    struct rlimit unlimited, none = {0, 0};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    none.rlim_max = unlimited.rlim_max;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    const struct configuration next = rig_configuration(POD, 2, 2, "2");
    const int verdict = rig_change(r, 2, 0x20, 1, &next);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
    assert_int_equal(verdict, PS_EIO);
    assert_int_equal(rig_epoch(r, POD), 1);
    assert_true(mediator_store_sqlite_failed(r->store));
    assert_int_equal(rig_change(r, 2, 0x20, 1, &next), PS_EIO);
    close_all(f);
    open_all(f);
    assert_int_equal(rig_epoch(r, POD), 1);
    assert_int_equal(rig_change(r, 2, 0x20, 1, &next), MEDIATOR_GRANTED);
}

/* ---- SIGKILL in a stream of changes */

struct answer {
    uint64_t epoch, request;
};

static struct uuid request_id(uint64_t n)
{
    struct uuid id = rig_id(0x77);
    memcpy(id.bytes, &n, sizeof n);
    return id;
}

/* The child: primary and backup hand the pod to and fro; each grant is told only when it was answered. */
static void change_for_ever(struct fixture *f, int out)
{
    struct rig *r = &f->rig;
    open_all(f);
    for (uint64_t epoch = rig_epoch(r, POD);; epoch++) {
        const unsigned who = 1 + (unsigned)(epoch % 2);
        const struct configuration next = rig_configuration(POD, epoch + 1, who, "12");
        const struct mediator_change_pod ask = {epoch, next};
        const struct mediator_change change = {.cluster = "c",
                                               .mediator = r->store->id,
                                               .request_id = request_id(epoch + 1),
                                               .requester = rig_id(who),
                                               .count = 1,
                                               .pods = &ask};
        if (mediator_change(r->core, &change, epoch, &r->reply, &r->err) || !r->reply.granted)
            _exit(1);
        const struct answer answer = {epoch + 1, epoch + 1};
        if (write(out, &answer, sizeof answer) != sizeof answer)
            _exit(2);
    }
}

static void check_what_is_there(struct fixture *f, uint64_t answered)
{
    struct rig *r = &f->rig;
    const struct uuid pod = rig_id(POD);
    const uint64_t epoch = rig_epoch(r, POD);
    /* All that was answered, and at most the one change that was under way. */
    assert_true(epoch == answered || epoch == answered + 1);
    const struct mediator_pod *p = mediator_get(r->core, "c", &pod, NULL);
    const struct uuid last = request_id(epoch);
    assert_memory_equal(p->request_id.bytes, last.bytes, 16);
    assert_int_equal(p->configuration.primary.bytes[0], 1 + (epoch - 1) % 2);
    /* Its history is as complete: a decision an epoch, none missing, none twice. */
    static struct mediator_decision d[MEDIATOR_HISTORY_MAX];
    size_t n = 0;
    assert_int_equal(mediator_history(r->core, "c", &pod, 0, d, MEDIATOR_HISTORY_MAX, &n, &r->err), 0);
    assert_int_equal(d[n - 1].epoch, epoch);
    for (size_t i = 1; i < n; i++)
        assert_int_equal(d[i].epoch, d[i - 1].epoch + 1);
    /* Who asked last and got no answer asks again, and is granted what it had. */
    const unsigned who = p->configuration.primary.bytes[0];
    const struct mediator_change_pod ask = {epoch - 1, p->configuration};
    const struct mediator_change change = {.cluster = "c",
                                           .mediator = r->store->id,
                                           .request_id = last,
                                           .requester = rig_id(who),
                                           .count = 1,
                                           .pods = &ask};
    assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), 0);
    assert_int_equal(r->reply.pods[0].verdict, MEDIATOR_REPEATED);
}

static void a_kill_at_any_moment_loses_no_verdict(void **state)
{
    struct fixture *f = *state;
    struct rig *r = &f->rig;
    const struct configuration first = rig_configuration(POD, 1, 1, "12");
    const struct mediator_change_pod ask = {0, first};
    const struct mediator_change change = {
        .cluster = "c", .request_id = request_id(1), .requester = rig_id(1), .count = 1, .pods = &ask};
    assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), 0);
    uint64_t answered = 1, total = 0;
    uint32_t x = 4711;
    print_message("seed %u\n", x);
    for (unsigned round = 0; round < 12; round++) {
        int ends[2];
        close_all(f);
        assert_int_equal(pipe(ends), 0);
        const pid_t child = fork();
        if (child == 0) {
            (void)close(ends[0]);
            change_for_ever(f, ends[1]);
        }
        (void)close(ends[1]);
        x = x * 1664525 + 1013904223;
        const unsigned wanted = 1 + (x >> 16) % 40;
        struct answer answer = {0};
        for (unsigned i = 0; read(ends[0], &answer, sizeof answer) == sizeof answer;) {
            assert_true(answer.epoch > answered);
            answered = answer.epoch;
            total++;
            if (++i == wanted) {
                /* Anywhere in the next change, not only at its start. */
                (void)nanosleep(&(struct timespec){.tv_nsec = (x >> 8) % 1000000}, NULL);
                (void)kill(child, SIGKILL);
            }
        }
        (void)close(ends[0]);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        open_all(f);
        check_what_is_there(f, answered);
        answered = rig_epoch(r, POD);
    }
    print_message("%u changes answered\n", (unsigned)total);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_store_id_is_made_once_and_is_no_others),
        T(a_newer_files_version_is_refused),
        T(a_file_of_another_program_is_refused),
        T(a_damaged_file_is_refused),
        T(a_damaged_record_is_refused),
        T(a_file_that_can_not_be_made_is_refused),
        T(a_file_that_somebody_else_locked_delays_and_loses_nothing),
        T(an_io_error_ends_the_store_until_it_is_opened_again),
        T(a_kill_at_any_moment_loses_no_verdict),
    };
    return cmocka_run_group_tests_name("mediator_sqlite", tests, NULL, NULL);
}
