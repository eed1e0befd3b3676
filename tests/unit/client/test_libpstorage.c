/* libpstorage against the real RPC over ipc://, and a node that misbehaves as told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/pstorage.h"
#include "common/rpc/transport_nng.h"
#include "tests/unit/client/fake_node.h"

struct world {
    struct fake_node *node;
    char folder[64], endpoint[128], other[128];
    struct pstorage_client *client;
};

static struct pstorage_client *client_of(const char *endpoints, uint32_t patience_ms, uint32_t max_in_flight)
{
    const struct pstorage_options options = {.endpoints = endpoints,
                                             .name = "test",
                                             .timeout_ms = 20000,
                                             .patience_ms = patience_ms,
                                             .max_in_flight = max_in_flight};
    struct pstorage_client *client;
    struct pstorage_error err;
    assert_int_equal(pstorage_client_create(&options, &client, &err), 0);
    return client;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    (void)snprintf(w->folder, sizeof w->folder, "/tmp/pstorage-test-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    (void)snprintf(w->endpoint, sizeof w->endpoint, "ipc://%s/node", w->folder);
    (void)snprintf(w->other, sizeof w->other, "ipc://%s/other", w->folder);
    w->node = fake_node_create();
    fake_node_start(w->node, w->endpoint);
    w->client = client_of(w->endpoint, 10000, 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char path[96];
    if (w->client)
        pstorage_client_destroy(w->client);
    fake_node_stop(w->node);
    fake_node_destroy(w->node);
    (void)snprintf(path, sizeof path, "%s/node", w->folder);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/other", w->folder);
    (void)unlink(path);
    assert_int_equal(rmdir(w->folder), 0);
    free(w);
    return 0;
}

/* The node's process dies and comes back, with what it held. */
static void restart(struct world *w)
{
    fake_node_stop(w->node);
    fake_node_start(w->node, w->endpoint);
}

static struct pstorage_image *open_volume(struct world *w)
{
    struct pstorage_image *image;
    struct pstorage_error err;
    assert_int_equal(pstorage_image_open(w->client, "vol", false, &image, &err), 0);
    return image;
}

/* ---- asynchronous requests, waited for by the tests */

struct event {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned done;
    int last_status;
};
#define EVENT_INIT                                                                                           \
    {                                                                                                        \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 1                                            \
    }

static void on_done(struct pstorage_request *r, int status)
{
    struct event *e = r->user;
    (void)pthread_mutex_lock(&e->lock);
    e->done++;
    e->last_status = status;
    (void)pthread_cond_broadcast(&e->cond);
    (void)pthread_mutex_unlock(&e->lock);
}

static int await(struct event *e, unsigned done)
{
    (void)pthread_mutex_lock(&e->lock);
    while (e->done < done)
        (void)pthread_cond_wait(&e->cond, &e->lock);
    const int status = e->last_status;
    (void)pthread_mutex_unlock(&e->lock);
    return status;
}

/* ---- the ordinary */

static void what_is_written_is_read_back(void **state)
{
    struct world *w = *state;
    struct pstorage_image *image = open_volume(w);
    /* More than a piece, so that both functions cut it up. */
    enum {
        LENGTH = 3 * FAKE_IO_BYTES + 512
    };
    unsigned char *data = malloc(LENGTH), *back = malloc(LENGTH);
    for (size_t i = 0; i < LENGTH; i++)
        data[i] = (unsigned char)(i * 7 + i / 4096);
    assert_int_equal(pstorage_write(image, data, LENGTH, 1024, NULL), 0);
    assert_int_equal(pstorage_flush(image, NULL), 0);
    assert_int_equal(pstorage_read(image, back, LENGTH, 1024, NULL), 0);
    assert_memory_equal(back, data, LENGTH);
    assert_memory_equal(fake_node_data(w->node) + 1024, data, LENGTH);
    assert_int_equal(pstorage_write_zeroes(image, 1024, 512, NULL), 0);
    assert_int_equal(pstorage_read(image, back, 1024, 1024, NULL), 0);
    assert_int_equal(back[0] | back[511], 0);
    assert_int_equal(back[512], data[512]);
    pstorage_image_close(image);
    free(data);
    free(back);
}

static void an_open_image_tells_its_limits(void **state)
{
    struct world *w = *state;
    struct pstorage_image *image = open_volume(w);
    struct pstorage_info info;
    struct pstorage_limits limits;
    pstorage_image_describe(image, &info, &limits);
    assert_string_equal(info.name, "vol");
    assert_int_equal(info.size_bytes, FAKE_VOLUME_BYTES);
    assert_int_equal(limits.max_io_bytes, FAKE_IO_BYTES);
    assert_false(limits.read_only);
    pstorage_image_close(image);
    fake_node_await(w->node, "Close", 1);
}

static void extents_are_reported(void **state)
{
    struct world *w = *state;
    struct pstorage_image *image = open_volume(w);
    struct pstorage_extent extents[8];
    struct pstorage_io io = {
        .op = PSTORAGE_EXTENTS, .offset = 0, .length = 1 << 20, .extents = extents, .max_extents = 8};
    assert_int_equal(pstorage_io_run(image, &io), 0);
    assert_int_equal(io.nextents, 2);
    assert_int_equal(extents[0].kind, PSTORAGE_EXTENT_DATA);
    assert_int_equal(extents[1].kind, PSTORAGE_EXTENT_HOLE);
    assert_int_equal(extents[1].length_bytes, 1 << 19);
    pstorage_image_close(image);
}

static void an_error_comes_with_the_words_of_the_node(void **state)
{
    struct world *w = *state;
    struct pstorage_error err;
    struct pstorage_info info;
    assert_int_equal(pstorage_image_get(w->client, "nothing", &info, &err), PSTORAGE_ENOTFOUND);
    assert_int_equal(err.status, PSTORAGE_ENOTFOUND);
    assert_string_equal(err.detail, "no such volume");
    fake_node_next(w->node, "Get", FAKE_FAIL, PSTORAGE_EFULL);
    assert_int_equal(pstorage_image_get(w->client, "vol", &info, &err), PSTORAGE_EFULL);
    assert_string_equal(err.detail, "as told");
}

static void an_answer_that_does_not_fit_is_not_believed(void **state)
{
    struct world *w = *state;
    struct pstorage_image *image = open_volume(w);
    struct pstorage_extent extents[8];
    struct pstorage_error err;
    char buffer[1024];
    fake_node_next(w->node, "Read", FAKE_SHORT, 0);
    assert_int_equal(pstorage_read(image, buffer, sizeof buffer, 0, &err), PSTORAGE_EPROTOCOL);
    assert_non_null(strstr(err.detail, "makes no sense"));
    struct pstorage_io io = {.op = PSTORAGE_EXTENTS, .length = 1 << 20, .extents = extents, .max_extents = 8};
    fake_node_next(w->node, "Extents", FAKE_SHORT, 0);
    assert_int_equal(pstorage_io_run(image, &io), PSTORAGE_EPROTOCOL);
    pstorage_image_close(image);
}

static void wrong_arguments_never_reach_the_node(void **state)
{
    struct world *w = *state;
    struct pstorage_image *image = open_volume(w);
    struct pstorage_error err;
    char buffer[1024];
    assert_int_equal(pstorage_read(image, buffer, 511, 0, &err), PSTORAGE_EINVAL);
    assert_int_equal(pstorage_write(image, buffer, 512, 3, &err), PSTORAGE_EINVAL);
    assert_non_null(strstr(err.detail, "multiples of 512"));
    struct pstorage_io io = {.op = PSTORAGE_READ, .length = FAKE_IO_BYTES + 512, .buffer = buffer};
    assert_int_equal(pstorage_io_run(image, &io), PSTORAGE_EINVAL);
    io = (struct pstorage_io){.op = (enum pstorage_io_op)99};
    assert_int_equal(pstorage_io_run(image, &io), PSTORAGE_EINVAL);
    assert_int_equal(pstorage_volume_create(w->client, "", 1, NULL, &err), PSTORAGE_EINVAL);
    assert_int_equal(pstorage_clone_create(w->client, "a@b", NULL, NULL, &err), PSTORAGE_EINVAL);
    assert_int_equal(fake_node_calls(w->node, "Read") + fake_node_calls(w->node, "Write"), 0);
    pstorage_image_close(image);
}

static void a_list_is_put_together_from_its_pages(void **state)
{
    struct world *w = *state;
    fake_node_set_listed(w->node, 11, 3);
    struct pstorage_list list = {.kind = PSTORAGE_VOLUME};
    assert_int_equal(pstorage_list_run(w->client, &list), 0);
    assert_int_equal(list.count, 11);
    assert_string_equal(list.items[0].name, "v000");
    assert_string_equal(list.items[10].name, "v010");
    assert_int_equal(fake_node_calls(w->node, "List"), 4);
    pstorage_list_clear(&list);
    fake_node_set_listed(w->node, 0, 3);
    assert_int_equal(pstorage_list_run(w->client, &list), 0);
    assert_int_equal(list.count, 0);
    pstorage_list_clear(&list);
}

static void the_report_shows_node_and_pods(void **state)
{
    struct world *w = *state;
    struct pstorage_report report = {0};
    assert_int_equal(pstorage_report_run(w->client, &report), 0);
    assert_string_equal(report.node.name, "fake");
    assert_string_equal(report.node.endpoint, w->endpoint);
    assert_int_equal(report.npods, 1);
    assert_int_equal(report.pods[0].state, PSTORAGE_POD_ONLINE);
    assert_int_equal(report.pods[0].capacity_bytes, 1000);
    assert_int_equal(report.ndevices, 0);
    pstorage_report_clear(&report);
}

/* ---- many at once */

static void requests_in_flight_at_once_all_complete_and_none_twice(void **state)
{
    struct world *w = *state;
    enum {
        COUNT = 500
    };
    pstorage_client_destroy(w->client);
    w->client = client_of(w->endpoint, 0, 7); /* most wait their turn */
    struct pstorage_image *image = open_volume(w);
    struct event event = EVENT_INIT;
    struct pstorage_io *ios = calloc(COUNT, sizeof *ios);
    char *data = malloc(COUNT * 512);
    for (unsigned i = 0; i < COUNT; i++) {
        memset(data + i * 512, (int)i, 512);
        ios[i] = (struct pstorage_io){
            .op = PSTORAGE_WRITE, .offset = i * 512, .length = 512, .buffer = data + i * 512};
        ios[i].request.user = &event;
        assert_int_equal(pstorage_io_submit(image, &ios[i], on_done), 0);
    }
    assert_int_equal(await(&event, COUNT), 0);
    assert_int_equal(fake_node_calls(w->node, "Write"), COUNT);
    assert_memory_equal(fake_node_data(w->node), data, COUNT * 512);
    assert_int_equal(event.done, COUNT);
    pstorage_image_close(image);
    free(data);
    free(ios);
}

static void *hammer(void *user)
{
    struct pstorage_image *image = user;
    static _Atomic unsigned number;
    const unsigned mine = number++;
    char data[4096], back[4096];
    for (unsigned i = 0; i < 50; i++) {
        memset(data, (int)(mine * 50 + i), sizeof data);
        if (pstorage_write(image, data, sizeof data, mine * 4096, NULL) ||
            pstorage_read(image, back, sizeof back, mine * 4096, NULL) ||
            memcmp(data, back, sizeof data) != 0)
            return image;
    }
    return NULL;
}

static void several_threads_share_a_client(void **state)
{
    struct world *w = *state;
    struct pstorage_image *image = open_volume(w);
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, image), 0);
    for (unsigned i = 0; i < 4; i++) {
        void *failed;
        (void)pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    pstorage_image_close(image);
}

static void call_blocking(struct pstorage_request *r, int status)
{
    struct world *w = r->user;
    struct event *e = (struct event *)(void *)((struct pstorage_manage *)(void *)r)->pod; /* smuggled in */
    struct pstorage_info info;
    (void)status;
    const int inner = pstorage_image_get(w->client, "vol", &info, NULL);
    r->user = e;
    on_done(r, inner);
}

static void a_blocking_function_in_a_callback_is_refused_instead_of_hanging(void **state)
{
    struct world *w = *state;
    struct event event = EVENT_INIT;
    struct pstorage_manage m = {.op = PSTORAGE_IMAGE_GET, .name = "vol", .request.user = w};
    m.pod = (const char *)&event;
    assert_int_equal(pstorage_manage_submit(w->client, &m, call_blocking), 0);
    assert_int_equal(await(&event, 1), PSTORAGE_EPRECONDITION);
}

/* ---- time and cancellation */

static void a_request_without_an_answer_ends_at_its_deadline(void **state)
{
    struct world *w = *state;
    struct pstorage_manage m = {.op = PSTORAGE_IMAGE_GET, .name = "vol", .request.timeout_ms = 50};
    fake_node_next(w->node, "Get", FAKE_HOLD, 0);
    assert_int_equal(pstorage_manage_run(w->client, &m), PSTORAGE_EDEADLINE);
    /* And the client goes on. */
    assert_int_equal(pstorage_image_get(w->client, "vol", NULL, NULL), 0);
}

static void a_request_that_waits_for_a_connection_ends_at_its_deadline(void **state)
{
    struct world *w = *state;
    pstorage_client_destroy(w->client);
    w->client = client_of(w->other, 60000, 0);
    struct pstorage_manage m = {.op = PSTORAGE_IMAGE_GET, .name = "vol", .request.timeout_ms = 50};
    assert_int_equal(pstorage_manage_run(w->client, &m), PSTORAGE_EDEADLINE);
    assert_non_null(strstr(m.request.error.detail, "no connection to ipc://"));
}

static void a_cancelled_request_ends_at_once(void **state)
{
    struct world *w = *state;
    struct pstorage_image *image = open_volume(w);
    struct event event = EVENT_INIT;
    char data[512] = "x";
    struct pstorage_io io = {.op = PSTORAGE_WRITE, .length = 512, .buffer = data, .request.user = &event};
    fake_node_next(w->node, "Write", FAKE_HOLD, 0);
    assert_int_equal(pstorage_io_submit(image, &io, on_done), 0);
    fake_node_await(w->node, "Write", 1);
    pstorage_cancel(w->client, &io.request);
    pstorage_cancel(w->client, &io.request); /* harmless */
    assert_int_equal(await(&event, 1), PSTORAGE_ECANCELLED);
    pstorage_cancel(w->client, &io.request); /* still harmless */
    assert_int_equal(pstorage_flush(image, NULL), 0);
    assert_int_equal(event.done, 1);
    pstorage_image_close(image);
}

static void a_request_that_waits_its_turn_can_be_cancelled(void **state)
{
    struct world *w = *state;
    pstorage_client_destroy(w->client);
    w->client = client_of(w->endpoint, 0, 1);
    struct event first = EVENT_INIT, second = EVENT_INIT;
    struct pstorage_manage a = {.op = PSTORAGE_IMAGE_GET, .name = "vol", .request.user = &first};
    struct pstorage_manage b = {.op = PSTORAGE_IMAGE_GET, .name = "vol", .request.user = &second};
    fake_node_next(w->node, "Get", FAKE_HOLD, 0);
    assert_int_equal(pstorage_manage_submit(w->client, &a, on_done), 0);
    assert_int_equal(pstorage_manage_submit(w->client, &b, on_done), 0);
    fake_node_await(w->node, "Get", 1);
    pstorage_cancel(w->client, &b.request);
    assert_int_equal(await(&second, 1), PSTORAGE_ECANCELLED);
    pstorage_cancel(w->client, &a.request);
    assert_int_equal(await(&first, 1), PSTORAGE_ECANCELLED);
    assert_int_equal(fake_node_calls(w->node, "Get"), 1);
}

static void destroying_the_client_ends_what_is_in_flight(void **state)
{
    struct world *w = *state;
    struct event event = EVENT_INIT;
    struct pstorage_manage m = {.op = PSTORAGE_IMAGE_GET, .name = "vol", .request.user = &event};
    (void)open_volume(w); /* and left open */
    fake_node_next(w->node, "Get", FAKE_HOLD, 0);
    assert_int_equal(pstorage_manage_submit(w->client, &m, on_done), 0);
    fake_node_await(w->node, "Get", 1);
    pstorage_client_destroy(w->client);
    w->client = NULL;
    assert_int_equal(event.done, 1);
    assert_int_equal(event.last_status, PSTORAGE_ECANCELLED);
}

/* ---- lost connections */

static void a_read_is_asked_again_after_the_connection_was_lost(void **state)
{
    struct world *w = *state;
    struct pstorage_image *image = open_volume(w);
    struct event event = EVENT_INIT;
    char back[512];
    fake_node_data(w->node)[0] = 'r';
    struct pstorage_io io = {.op = PSTORAGE_READ, .length = 512, .buffer = back, .request.user = &event};
    fake_node_next(w->node, "Read", FAKE_HOLD, 0);
    assert_int_equal(pstorage_io_submit(image, &io, on_done), 0);
    fake_node_await(w->node, "Read", 1);
    restart(w);
    assert_int_equal(await(&event, 1), 0);
    assert_int_equal(back[0], 'r');
    assert_int_equal(fake_node_calls(w->node, "Read"), 2);
    assert_int_equal(fake_node_calls(w->node, "Open"), 2); /* the image was opened again */
    pstorage_image_close(image);
}

static void a_write_is_never_repeated_after_the_connection_was_lost(void **state)
{
    struct world *w = *state;
    struct pstorage_image *image = open_volume(w);
    struct event event = EVENT_INIT;
    char data[512] = "once";
    struct pstorage_io io = {.op = PSTORAGE_WRITE, .length = 512, .buffer = data, .request.user = &event};
    fake_node_next(w->node, "Write", FAKE_HOLD, 0);
    assert_int_equal(pstorage_io_submit(image, &io, on_done), 0);
    fake_node_await(w->node, "Write", 1);
    restart(w);
    assert_int_equal(await(&event, 1), PSTORAGE_EUNAVAILABLE);
    assert_non_null(strstr(io.request.error.detail, "unknown"));
    /* The image goes on, and the next write is the second that the node sees. */
    struct pstorage_error err;
    if (pstorage_write(image, data, 512, 512, &err))
        fail_msg("%s", err.detail);
    assert_int_equal(fake_node_calls(w->node, "Write"), 2);
    pstorage_image_close(image);
}

static void a_change_is_repeated_under_its_operation_id(void **state)
{
    struct world *w = *state;
    struct event event = EVENT_INIT;
    struct pstorage_manage m = {
        .op = PSTORAGE_VOLUME_CREATE, .name = "new", .size_bytes = 4096, .request.user = &event};
    fake_node_next(w->node, "Create", FAKE_HOLD, 0);
    assert_int_equal(pstorage_manage_submit(w->client, &m, on_done), 0);
    fake_node_await(w->node, "Create", 1);
    restart(w);
    assert_int_equal(await(&event, 1), 0);
    assert_int_equal(fake_node_calls(w->node, "Create"), 2);
    assert_int_equal(fake_node_created(w->node), 1);
    /* Another create is another operation. */
    assert_int_equal(pstorage_volume_create(w->client, "new2", 4096, NULL, NULL), 0);
    assert_int_equal(fake_node_created(w->node), 2);
}

static void unflushed_writes_to_a_write_cache_fail_the_flush_after_a_lost_connection_once(void **state)
{
    struct world *w = *state;
    fake_node_set_volume(w->node, 7, true);
    struct pstorage_image *image = open_volume(w);
    struct pstorage_error err;
    char data[512] = "maybe";
    assert_int_equal(pstorage_write(image, data, 512, 0, NULL), 0);
    restart(w);
    /* Reading notices the loss; the flush must tell of it. */
    assert_int_equal(pstorage_read(image, data, 512, 0, NULL), 0);
    assert_int_equal(pstorage_flush(image, &err), PSTORAGE_EDATALOSS);
    assert_int_equal(fake_node_calls(w->node, "Flush"), 0);
    restart(w); /* nothing more was written: nothing more is lost */
    assert_int_equal(pstorage_flush(image, NULL), 0);
    /* What was flushed before is not lost. */
    assert_int_equal(pstorage_write(image, data, 512, 0, NULL), 0);
    assert_int_equal(pstorage_flush(image, NULL), 0);
    restart(w);
    assert_int_equal(pstorage_flush(image, NULL), 0);
    pstorage_image_close(image);
}

static void without_a_write_cache_a_flush_survives_a_lost_connection(void **state)
{
    struct world *w = *state;
    struct pstorage_image *image = open_volume(w);
    char data[512] = "durable";
    assert_int_equal(pstorage_write(image, data, 512, 0, NULL), 0);
    restart(w);
    assert_int_equal(pstorage_flush(image, NULL), 0);
    pstorage_image_close(image);
}

static void an_image_does_not_become_another_one_of_its_name(void **state)
{
    struct world *w = *state;
    struct pstorage_image *image = open_volume(w);
    struct pstorage_error err;
    char data[512] = "not for you";
    fake_node_stop(w->node);
    fake_node_set_volume(w->node, 8, false); /* deleted and made anew meanwhile */
    fake_node_start(w->node, w->endpoint);
    /* The read notices that the connection is gone. */
    assert_int_equal(pstorage_read(image, data, 512, 0, &err), PSTORAGE_ENOTFOUND);
    assert_non_null(strstr(err.detail, "another one"));
    assert_int_equal(pstorage_write(image, data, 512, 0, &err), PSTORAGE_ENOTFOUND);
    assert_int_equal(fake_node_calls(w->node, "Write"), 0);
    pstorage_image_close(image);
}

static void the_next_endpoint_is_tried_when_one_is_unavailable(void **state)
{
    struct world *w = *state;
    char both[300];
    (void)snprintf(both, sizeof both, "%s %s", w->other, w->endpoint);
    pstorage_client_destroy(w->client);
    w->client = client_of(both, 0, 0);
    assert_int_equal(pstorage_image_get(w->client, "vol", NULL, NULL), 0);
    /* It moves to the other one, and the client follows. */
    fake_node_stop(w->node);
    fake_node_start(w->node, w->other);
    assert_int_equal(pstorage_image_get(w->client, "vol", NULL, NULL), 0);
}

static void a_node_that_is_not_the_primary_is_left_and_nothing_is_done_twice(void **state)
{
    struct world *w = *state;
    char both[300];
    struct fake_node *primary = fake_node_create();
    struct pstorage_image *image;
    struct pstorage_error err;
    uint8_t data[4096] = {42};
    fake_node_start(primary, w->other);
    (void)snprintf(both, sizeof both, "%s %s", w->endpoint, w->other);
    struct pstorage_client *client = client_of(both, 10000, 0);
    fake_node_next(w->node, "Create", FAKE_FAIL, PSTORAGE_ENOTPRIMARY);
    assert_int_equal(pstorage_volume_create(client, "new", 1 << 20, NULL, &err), 0);
    assert_int_equal(fake_node_created(primary), 1);
    assert_int_equal(fake_node_calls(w->node, "Create"), 1);
    assert_int_equal(fake_node_calls(primary, "Create"), 1);
    /* An image that is open is opened again where the pod is led, and a write that was refused goes there. */
    assert_int_equal(pstorage_image_open(client, "vol", false, &image, &err), 0);
    fake_node_next(primary, "Write", FAKE_FAIL, PSTORAGE_ENOTPRIMARY);
    assert_int_equal(pstorage_write(image, data, sizeof data, 0, &err), 0);
    assert_int_equal(fake_node_data(w->node)[0], 42);
    assert_int_equal(fake_node_calls(primary, "Write"), 1);
    assert_int_equal(fake_node_calls(w->node, "Write"), 1);
    pstorage_image_close(image);
    pstorage_client_destroy(client);
    fake_node_stop(primary);
    fake_node_destroy(primary);
}

static void what_was_in_flight_at_a_node_that_died_is_asked_of_the_next_one(void **state)
{
    struct world *w = *state;
    char both[300], back[512] = "";
    struct fake_node *second = fake_node_create();
    struct pstorage_image *image;
    struct event event = EVENT_INIT;
    fake_node_start(second, w->other);
    fake_node_data(second)[0] = 's';
    (void)snprintf(both, sizeof both, "%s %s", w->endpoint, w->other);
    struct pstorage_client *client = client_of(both, 10000, 0);
    assert_int_equal(pstorage_image_open(client, "vol", false, &image, NULL), 0);
    struct pstorage_io read = {.op = PSTORAGE_READ, .length = 512, .buffer = back, .request.user = &event};
    struct pstorage_io flush = {.op = PSTORAGE_FLUSH, .request.user = &event};
    struct pstorage_list list = {.kind = PSTORAGE_VOLUME, .request.user = &event};
    struct pstorage_manage create = {
        .op = PSTORAGE_VOLUME_CREATE, .name = "new", .size_bytes = 4096, .request.user = &event};
    struct pstorage_report report = {.request.user = &event};
    const char *const methods[] = {"Read", "Flush", "List", "Create", "GetNode"};
    for (size_t i = 0; i < 5; i++)
        fake_node_next(w->node, methods[i], FAKE_HOLD, 0);
    assert_int_equal(pstorage_io_submit(image, &read, on_done), 0);
    assert_int_equal(pstorage_io_submit(image, &flush, on_done), 0);
    assert_int_equal(pstorage_list_submit(client, &list, on_done), 0);
    assert_int_equal(pstorage_manage_submit(client, &create, on_done), 0);
    assert_int_equal(pstorage_report_submit(client, &report, on_done), 0);
    for (size_t i = 0; i < 5; i++)
        fake_node_await(w->node, methods[i], 1);
    fake_node_stop(w->node);
    assert_int_equal(await(&event, 5), 0);
    assert_int_equal(read.request.error.status, 0);
    assert_int_equal(flush.request.error.status, 0);
    assert_int_equal(create.request.error.status, 0);
    assert_int_equal(report.request.error.status, 0);
    assert_int_equal(list.request.error.status, 0);
    assert_int_equal(back[0], 's');
    assert_int_equal(fake_node_created(second), 1);
    pstorage_list_clear(&list);
    pstorage_report_clear(&report);
    pstorage_image_close(image);
    pstorage_client_destroy(client);
    fake_node_stop(second);
    fake_node_destroy(second);
    fake_node_start(w->node, w->endpoint);
}

static void an_image_that_the_only_node_takes_nothing_for_is_opened_anew_once(void **state)
{
    struct world *w = *state;
    struct pstorage_image *image = open_volume(w);
    struct pstorage_error err;
    uint8_t data[4096] = {42};
    fake_node_next(w->node, "Write", FAKE_FAIL, PSTORAGE_ENOTPRIMARY);
    assert_int_equal(pstorage_write(image, data, sizeof data, 0, &err), 0);
    assert_int_equal(fake_node_data(w->node)[0], 42);
    assert_int_equal(fake_node_calls(w->node, "Open"), 2);
    assert_int_equal(fake_node_calls(w->node, "Write"), 2);
    pstorage_image_close(image);
}

static void alone_it_says_who_is_the_primary(void **state)
{
    struct world *w = *state;
    struct pstorage_error err;
    fake_node_next(w->node, "Create", FAKE_FAIL, PSTORAGE_ENOTPRIMARY);
    assert_int_equal(pstorage_volume_create(w->client, "new", 1 << 20, NULL, &err), PSTORAGE_ENOTPRIMARY);
    assert_string_equal(err.detail, "as told");
}

static void without_patience_requests_fail_when_no_endpoint_answers(void **state)
{
    struct world *w = *state;
    struct pstorage_error err;
    char both[300];
    (void)snprintf(both, sizeof both, "%s %s", w->other, "tcp://127.0.0.1:1");
    pstorage_client_destroy(w->client);
    w->client = client_of(both, 0, 0);
    assert_int_equal(pstorage_image_get(w->client, "vol", NULL, &err), PSTORAGE_EUNAVAILABLE);
    assert_non_null(strstr(err.detail, "2 endpoints"));
    assert_int_equal(pstorage_image_get(w->client, "vol", NULL, &err), PSTORAGE_EUNAVAILABLE);
}

#define KEY "a key that the fakes share"

/* A client with this key, or none, and patience that would outlast the test. */
static int ask_with_key(struct world *w, const char *key, const char *cluster, struct pstorage_error *err)
{
    const struct pstorage_options options = {.endpoints = w->endpoint,
                                             .timeout_ms = 120000,
                                             .patience_ms = 120000,
                                             .cluster_key = key,
                                             .cluster_name = cluster};
    pstorage_client_destroy(w->client);
    w->client = NULL;
    assert_int_equal(pstorage_client_create(&options, &w->client, err), 0);
    return pstorage_image_get(w->client, "vol", NULL, err);
}

static void the_cluster_key_opens_and_nothing_else_does(void **state)
{
    struct world *w = *state;
    struct pstorage_error err;
    fake_node_stop(w->node);
    fake_node_set_key(w->node, KEY);
    fake_node_start(w->node, w->endpoint);
    assert_int_equal(ask_with_key(w, KEY, NULL, &err), 0);
    assert_int_equal(ask_with_key(w, KEY, "fakes", &err), 0);
    /* Refusals don't wait for the patience to be over. */
    assert_int_equal(ask_with_key(w, NULL, NULL, &err), PSTORAGE_EUNAUTHENTICATED);
    assert_non_null(strstr(err.detail, "this cluster needs a key: set PSTORAGE_CLUSTER_KEY_FILE"));
    assert_int_equal(ask_with_key(w, "another key of some length", NULL, &err), PSTORAGE_EUNAUTHENTICATED);
    assert_non_null(strstr(err.detail, "the client's cluster key is not the server's"));
    assert_int_equal(ask_with_key(w, KEY, "others", &err), PSTORAGE_EPERM);
    assert_non_null(strstr(err.detail, "the server is of cluster fakes, the client of cluster others"));
}

static void a_refusal_goes_before_an_endpoint_that_is_silent(void **state)
{
    struct world *w = *state;
    struct pstorage_error err;
    char both[300];
    fake_node_stop(w->node);
    fake_node_set_key(w->node, KEY);
    fake_node_start(w->node, w->endpoint);
    (void)snprintf(both, sizeof both, "%s %s", w->endpoint, "tcp://127.0.0.1:1");
    pstorage_client_destroy(w->client);
    w->client = client_of(both, 0, 0);
    assert_int_equal(pstorage_image_get(w->client, "vol", NULL, &err), PSTORAGE_EUNAUTHENTICATED);
    assert_non_null(strstr(err.detail, "2 endpoints"));
    assert_non_null(strstr(err.detail, "this cluster needs a key"));
}

static void the_environment_gives_the_key_when_the_program_does_not(void **state)
{
    struct world *w = *state;
    struct pstorage_error err;
    fake_node_stop(w->node);
    fake_node_set_key(w->node, KEY);
    fake_node_start(w->node, w->endpoint);
    assert_int_equal(setenv("PSTORAGE_CLUSTER_KEY", KEY, 1), 0);
    assert_int_equal(ask_with_key(w, NULL, NULL, &err), 0);
    assert_int_equal(setenv("PSTORAGE_CLUSTER_KEY", "another key of some length", 1), 0);
    assert_int_equal(ask_with_key(w, NULL, NULL, &err), PSTORAGE_EUNAUTHENTICATED);
    assert_int_equal(ask_with_key(w, KEY, NULL, &err), 0);
    assert_int_equal(setenv("PSTORAGE_CLUSTER_KEY_FILE", "/x", 1), 0);
    struct pstorage_client *none = NULL;
    const int rc = pstorage_client_create(NULL, &none, &err);
    assert_int_equal(unsetenv("PSTORAGE_CLUSTER_KEY"), 0);
    assert_int_equal(unsetenv("PSTORAGE_CLUSTER_KEY_FILE"), 0);
    assert_int_equal(rc, PSTORAGE_EINVAL);
    assert_string_equal(err.detail,
                        "PSTORAGE_CLUSTER_KEY and PSTORAGE_CLUSTER_KEY_FILE are both given: give one");
}

static void endpoints_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "   ",
                                        "foo",
                                        "tcp://",
                                        "tcp://host",
                                        "tcp://:1",
                                        "tcp://host:0",
                                        "tcp://host:70000",
                                        "ipc://",
                                        "http://host:80",
                                        "tcp://host:1 bar"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const struct pstorage_options options = {.endpoints = wrong[i]};
        struct pstorage_client *client;
        struct pstorage_error err = {0};
        if (!*wrong[i])
            continue; /* empty means the default */
        assert_int_equal(pstorage_client_create(&options, &client, &err), PSTORAGE_EINVAL);
        assert_true(strlen(err.detail) > 0);
    }
}

/* ---- events */

struct collected {
    struct pstorage_follow follow;
    struct event event; /* counts the end */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    char kinds[8][64];
    unsigned count, enough;
};

static bool collect(struct pstorage_follow *f, const struct pstorage_event *e)
{
    struct collected *c = (struct collected *)(void *)f;
    (void)pthread_mutex_lock(&c->lock);
    assert_true(c->count < 8);
    (void)snprintf(c->kinds[c->count++], sizeof c->kinds[0], "%s", e->kind);
    const bool more = c->count != c->enough;
    (void)pthread_cond_broadcast(&c->cond);
    (void)pthread_mutex_unlock(&c->lock);
    return more;
}

static void await_events(struct collected *c, unsigned count)
{
    (void)pthread_mutex_lock(&c->lock);
    while (c->count < count)
        (void)pthread_cond_wait(&c->cond, &c->lock);
    (void)pthread_mutex_unlock(&c->lock);
}

#define COLLECTED                                                                                            \
    {                                                                                                        \
        .event = EVENT_INIT, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER,            \
        .follow.on_event = collect                                                                           \
    }

static void events_follow_over_a_lost_connection_without_gap_or_repetition(void **state)
{
    struct world *w = *state;
    struct collected c = COLLECTED;
    c.follow.request.user = &c.event;
    fake_node_add_event(w->node, "one");
    assert_int_equal(pstorage_follow_submit(w->client, &c.follow, on_done), 0);
    await_events(&c, 1);
    fake_node_add_event(w->node, "two");
    await_events(&c, 2);
    fake_node_stop(w->node);
    fake_node_add_event(w->node, "three");
    fake_node_start(w->node, w->endpoint);
    await_events(&c, 3);
    assert_string_equal(c.kinds[0], "one");
    assert_string_equal(c.kinds[1], "two");
    assert_string_equal(c.kinds[2], "three");
    pstorage_cancel(w->client, &c.follow.request);
    assert_int_equal(await(&c.event, 1), PSTORAGE_ECANCELLED);
}

static void events_from_now_on_leave_out_what_was_before(void **state)
{
    struct world *w = *state;
    struct collected c = COLLECTED;
    c.follow.request.user = &c.event;
    c.follow.from_now = true;
    c.enough = 2;
    fake_node_add_event(w->node, "before");
    assert_int_equal(pstorage_follow_submit(w->client, &c.follow, on_done), 0);
    fake_node_await(w->node, "Follow", 1);
    fake_node_add_event(w->node, "a");
    fake_node_add_event(w->node, "b");
    /* Two were enough: it ends by itself, and well. */
    assert_int_equal(await(&c.event, 1), 0);
    assert_int_equal(c.count, 2);
    assert_string_equal(c.kinds[0], "a");
}

static void kept_events_are_listed(void **state)
{
    struct world *w = *state;
    fake_node_add_event(w->node, "one");
    fake_node_add_event(w->node, "two");
    struct pstorage_events events = {.after_cursor = 1, .limit = 10};
    assert_int_equal(pstorage_events_run(w->client, &events), 0);
    assert_int_equal(events.count, 1);
    assert_string_equal(events.items[0].kind, "two");
    assert_int_equal(events.last_cursor, 2);
    pstorage_events_clear(&events);
}

static int finish_nng(void **state)
{
    (void)state;
    rpc_transport_nng_finish();
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_written_is_read_back),
        T(an_open_image_tells_its_limits),
        T(extents_are_reported),
        T(an_error_comes_with_the_words_of_the_node),
        T(an_answer_that_does_not_fit_is_not_believed),
        T(wrong_arguments_never_reach_the_node),
        T(a_list_is_put_together_from_its_pages),
        T(the_report_shows_node_and_pods),
        T(requests_in_flight_at_once_all_complete_and_none_twice),
        T(several_threads_share_a_client),
        T(a_blocking_function_in_a_callback_is_refused_instead_of_hanging),
        T(a_request_without_an_answer_ends_at_its_deadline),
        T(a_request_that_waits_for_a_connection_ends_at_its_deadline),
        T(a_cancelled_request_ends_at_once),
        T(a_request_that_waits_its_turn_can_be_cancelled),
        T(destroying_the_client_ends_what_is_in_flight),
        T(a_read_is_asked_again_after_the_connection_was_lost),
        T(a_write_is_never_repeated_after_the_connection_was_lost),
        T(a_change_is_repeated_under_its_operation_id),
        T(unflushed_writes_to_a_write_cache_fail_the_flush_after_a_lost_connection_once),
        T(without_a_write_cache_a_flush_survives_a_lost_connection),
        T(an_image_does_not_become_another_one_of_its_name),
        T(the_next_endpoint_is_tried_when_one_is_unavailable),
        T(a_node_that_is_not_the_primary_is_left_and_nothing_is_done_twice),
        T(what_was_in_flight_at_a_node_that_died_is_asked_of_the_next_one),
        T(an_image_that_the_only_node_takes_nothing_for_is_opened_anew_once),
        T(alone_it_says_who_is_the_primary),
        T(without_patience_requests_fail_when_no_endpoint_answers),
        T(the_cluster_key_opens_and_nothing_else_does),
        T(a_refusal_goes_before_an_endpoint_that_is_silent),
        T(the_environment_gives_the_key_when_the_program_does_not),
        cmocka_unit_test(endpoints_that_make_no_sense_are_refused),
        T(events_follow_over_a_lost_connection_without_gap_or_repetition),
        T(events_from_now_on_leave_out_what_was_before),
        T(kept_events_are_listed),
    };
    return cmocka_run_group_tests_name("libpstorage", tests, NULL, finish_nng);
}
