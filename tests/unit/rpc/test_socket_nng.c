/* Which of the process's sockets an NNG stream has: several streams at once, so that one can be taken for
 * another. */
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
#include <unistd.h>

#include "common/rpc/socket_nng.h"

enum {
    PAIRS = 3
};

struct pairs {
    nng_stream_listener *listener;
    nng_stream_dialer *dialer;
    nng_aio *dialled, *accepted, *moved;
    nng_stream *ends[PAIRS][2];
};

static void open_pairs(struct pairs *p, const char *address)
{
    char at[64];
    int port;
    assert_int_equal(nng_stream_listener_alloc(&p->listener, address), 0);
    assert_int_equal(nng_stream_listener_listen(p->listener), 0);
    (void)snprintf(at, sizeof at, "%s", address);
    if (nng_stream_listener_get_int(p->listener, NNG_OPT_TCP_BOUND_PORT, &port) == 0)
        (void)snprintf(at, sizeof at, "%.*s%d", (int)strlen(address) - 1, address, port);
    assert_int_equal(nng_stream_dialer_alloc(&p->dialer, at), 0);
    assert_int_equal(nng_aio_alloc(&p->dialled, NULL, NULL), 0);
    assert_int_equal(nng_aio_alloc(&p->accepted, NULL, NULL), 0);
    assert_int_equal(nng_aio_alloc(&p->moved, NULL, NULL), 0);
    for (int i = 0; i < PAIRS; i++) {
        nng_stream_listener_accept(p->listener, p->accepted);
        nng_stream_dialer_dial(p->dialer, p->dialled);
        nng_aio_wait(p->dialled);
        nng_aio_wait(p->accepted);
        assert_int_equal(nng_aio_result(p->dialled), 0);
        assert_int_equal(nng_aio_result(p->accepted), 0);
        p->ends[i][0] = nng_aio_get_output(p->dialled, 0);
        p->ends[i][1] = nng_aio_get_output(p->accepted, 0);
    }
}

static void close_pairs(struct pairs *p)
{
    for (int i = 0; i < PAIRS; i++)
        for (int side = 0; side < 2; side++) {
            nng_stream_close(p->ends[i][side]);
            nng_stream_free(p->ends[i][side]);
        }
    nng_aio_free(p->dialled);
    nng_aio_free(p->accepted);
    nng_aio_free(p->moved);
    nng_stream_dialer_free(p->dialer);
    nng_stream_listener_close(p->listener);
    nng_stream_listener_free(p->listener);
}

/* What is sent at the other end arrives at the socket that was found, and it is closed on exec. */
static void check_found(struct pairs *p, nng_stream *from, nng_stream *to, char mark)
{
    const int socket = nng_stream_socket(to);
    assert_true(socket >= 0);
    assert_true(fcntl(socket, F_GETFD) & FD_CLOEXEC);
    nng_iov iov = {&mark, 1};
    assert_int_equal(nng_aio_set_iov(p->moved, 1, &iov), 0);
    nng_stream_send(from, p->moved);
    nng_aio_wait(p->moved);
    assert_int_equal(nng_aio_result(p->moved), 0);
    (void)fcntl(socket, F_SETFL, 0); /* so that read waits */
    char got = 0;
    assert_int_equal(read(socket, &got, 1), 1);
    assert_int_equal(got, mark);
    assert_int_equal(close(socket), 0);
}

static void each_stream_has_its_own(const char *address)
{
    struct pairs p;
    open_pairs(&p, address);
    for (int i = 0; i < PAIRS; i++)
        for (int side = 0; side < 2; side++)
            check_found(&p, p.ends[i][!side], p.ends[i][side], (char)('a' + 2 * i + side));
    close_pairs(&p);
}

static void the_socket_of_a_tcp_stream_is_found(void **state)
{
    (void)state;
    each_stream_has_its_own("tcp://127.0.0.1:0");
    each_stream_has_its_own("tcp://[::1]:0");
}

static void sockets_of_the_file_system_are_not_looked_for(void **state)
{
    (void)state;
    char dir[] = "/tmp/pstorage-socket-XXXXXX", address[64];
    struct pairs p;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(address, sizeof address, "ipc://%s/rpc", dir);
    open_pairs(&p, address);
    assert_int_equal(nng_stream_socket(p.ends[0][0]), -1);
    close_pairs(&p);
    (void)unlink(address + 6);
    assert_int_equal(rmdir(dir), 0);
}

static int finish(void **state)
{
    (void)state;
    nng_fini();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_socket_of_a_tcp_stream_is_found),
        cmocka_unit_test(sockets_of_the_file_system_are_not_looked_for),
    };
    return cmocka_run_group_tests(tests, NULL, finish);
}
