/* The blocking functions: submit, then wait for the callback. */
#include <stdlib.h>
#include <string.h>

#include "client/lib/client.h"

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    void *user; /* the caller's, while ours is in the request */
    int status;
    bool done;
};

static void on_done(struct pstorage_request *r, int status)
{
    struct waiter *w = r->user;
    (void)pthread_mutex_lock(&w->lock);
    r->user = w->user;
    w->status = status;
    w->done = true;
    /* Under the lock: the waiter is gone as soon as it can be taken. */
    (void)pthread_cond_signal(&w->cond);
    (void)pthread_mutex_unlock(&w->lock);
}

static int wait_begin(struct waiter *w, struct pstorage_client *client, struct pstorage_request *r)
{
    if (client_on_its_thread(client))
        return ps_error_set((struct ps_error *)(void *)&r->error, PS_EPRECONDITION,
                            "a blocking function was called from a callback");
    *w = (struct waiter){.user = r->user};
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->cond, NULL);
    r->user = w;
    return PS_OK;
}

/* `submitted` is what the submit function returned. */
static int wait_end(struct waiter *w, struct pstorage_request *r, int submitted)
{
    if (submitted) {
        w->status = submitted;
        r->user = w->user;
    } else {
        (void)pthread_mutex_lock(&w->lock);
        while (!w->done)
            (void)pthread_cond_wait(&w->cond, &w->lock);
        (void)pthread_mutex_unlock(&w->lock);
    }
    (void)pthread_mutex_destroy(&w->lock);
    (void)pthread_cond_destroy(&w->cond);
    return w->status;
}

#define RUN(client, what, submit)                                                                            \
    do {                                                                                                     \
        struct waiter w;                                                                                     \
        const int rc_ = wait_begin(&w, client, &(what)->request);                                            \
        return rc_ ? rc_ : wait_end(&w, &(what)->request, submit);                                           \
    } while (0)

int pstorage_manage_run(struct pstorage_client *client, struct pstorage_manage *m)
{
    RUN(client, m, pstorage_manage_submit(client, m, on_done));
}

int pstorage_flash_list_run(struct pstorage_client *client, struct pstorage_flash_list *f)
{
    RUN(client, f, pstorage_flash_list_submit(client, f, on_done));
}

int pstorage_flash_identify_run(struct pstorage_client *client, struct pstorage_flash_identify *f)
{
    RUN(client, f, pstorage_flash_identify_submit(client, f, on_done));
}

int pstorage_flash_smart_run(struct pstorage_client *client, struct pstorage_flash_smart *f)
{
    RUN(client, f, pstorage_flash_smart_submit(client, f, on_done));
}

int pstorage_flash_io_run(struct pstorage_client *client, struct pstorage_flash_io *f)
{
    RUN(client, f, pstorage_flash_io_submit(client, f, on_done));
}

int pstorage_tokens_run(struct pstorage_client *client, struct pstorage_tokens *t)
{
    RUN(client, t, pstorage_tokens_submit(client, t, on_done));
}

int pstorage_list_run(struct pstorage_client *client, struct pstorage_list *l)
{
    RUN(client, l, pstorage_list_submit(client, l, on_done));
}

int pstorage_open_run(struct pstorage_client *client, struct pstorage_open *o)
{
    RUN(client, o, pstorage_open_submit(client, o, on_done));
}

int pstorage_io_run(struct pstorage_image *image, struct pstorage_io *io)
{
    RUN(image->client, io, pstorage_io_submit(image, io, on_done));
}

int pstorage_report_run(struct pstorage_client *client, struct pstorage_report *r)
{
    RUN(client, r, pstorage_report_submit(client, r, on_done));
}

int pstorage_events_run(struct pstorage_client *client, struct pstorage_events *e)
{
    RUN(client, e, pstorage_events_submit(client, e, on_done));
}

int pstorage_follow_run(struct pstorage_client *client, struct pstorage_follow *f)
{
    RUN(client, f, pstorage_follow_submit(client, f, on_done));
}

int pstorage_pod_order_run(struct pstorage_client *client, struct pstorage_pod_order *o)
{
    RUN(client, o, pstorage_pod_order_submit(client, o, on_done));
}

int pstorage_why_run(struct pstorage_client *client, struct pstorage_why *why)
{
    RUN(client, why, pstorage_why_submit(client, why, on_done));
}

int pstorage_nodes_run(struct pstorage_client *client, struct pstorage_nodes *nodes)
{
    RUN(client, nodes, pstorage_nodes_submit(client, nodes, on_done));
}

int pstorage_latency_run(struct pstorage_client *client, struct pstorage_latency *latency)
{
    RUN(client, latency, pstorage_latency_submit(client, latency, on_done));
}

int pstorage_measure_run(struct pstorage_client *client, struct pstorage_measure *measure)
{
    RUN(client, measure, pstorage_measure_submit(client, measure, on_done));
}

int pstorage_forecast_run(struct pstorage_client *client, struct pstorage_forecast *forecast)
{
    RUN(client, forecast, pstorage_forecast_submit(client, forecast, on_done));
}

int pstorage_health_run(struct pstorage_client *client, struct pstorage_health *health)
{
    RUN(client, health, pstorage_health_submit(client, health, on_done));
}

int pstorage_tiering_run(struct pstorage_client *client, struct pstorage_tiering *tiering)
{
    RUN(client, tiering, pstorage_tiering_submit(client, tiering, on_done));
}

int pstorage_temperature_run(struct pstorage_client *client, struct pstorage_temperature *temperature)
{
    RUN(client, temperature, pstorage_temperature_submit(client, temperature, on_done));
}

int pstorage_account_run(struct pstorage_client *client, struct pstorage_account *account)
{
    RUN(client, account, pstorage_account_submit(client, account, on_done));
}

/* ---- shorter spellings */

static int finish(const struct pstorage_request *r, int status, struct pstorage_error *err)
{
    if (status && err)
        *err = r->error;
    return status;
}

static int manage(struct pstorage_client *client, struct pstorage_manage *m, struct pstorage_info *info,
                  struct pstorage_error *err)
{
    const int status = pstorage_manage_run(client, m);
    if (status == PSTORAGE_OK && info)
        *info = m->info;
    return finish(&m->request, status, err);
}

int pstorage_image_get(struct pstorage_client *client, const char *name, struct pstorage_info *info,
                       struct pstorage_error *err)
{
    struct pstorage_manage m = {.op = PSTORAGE_IMAGE_GET, .name = name};
    return manage(client, &m, info, err);
}

int pstorage_volume_create(struct pstorage_client *client, const char *name, uint64_t size_bytes,
                           struct pstorage_info *info, struct pstorage_error *err)
{
    struct pstorage_manage m = {.op = PSTORAGE_VOLUME_CREATE, .name = name, .size_bytes = size_bytes};
    return manage(client, &m, info, err);
}

int pstorage_volume_resize(struct pstorage_client *client, const char *name, uint64_t size_bytes,
                           bool allow_shrink, struct pstorage_info *info, struct pstorage_error *err)
{
    struct pstorage_manage m = {
        .op = PSTORAGE_VOLUME_RESIZE, .name = name, .size_bytes = size_bytes, .allow_shrink = allow_shrink};
    return manage(client, &m, info, err);
}

int pstorage_volume_rename(struct pstorage_client *client, const char *name, const char *new_name,
                           struct pstorage_info *info, struct pstorage_error *err)
{
    struct pstorage_manage m = {.op = PSTORAGE_VOLUME_RENAME, .name = name, .new_name = new_name};
    return manage(client, &m, info, err);
}

int pstorage_volume_delete(struct pstorage_client *client, const char *name, struct pstorage_error *err)
{
    struct pstorage_manage m = {.op = PSTORAGE_VOLUME_DELETE, .name = name};
    return manage(client, &m, NULL, err);
}

int pstorage_snapshot_create(struct pstorage_client *client, const char *name, struct pstorage_info *info,
                             struct pstorage_error *err)
{
    struct pstorage_manage m = {.op = PSTORAGE_SNAPSHOT_CREATE, .name = name};
    return manage(client, &m, info, err);
}

int pstorage_snapshot_delete(struct pstorage_client *client, const char *name, struct pstorage_error *err)
{
    struct pstorage_manage m = {.op = PSTORAGE_SNAPSHOT_DELETE, .name = name};
    return manage(client, &m, NULL, err);
}

int pstorage_snapshot_restore(struct pstorage_client *client, const char *name, struct pstorage_info *info,
                              struct pstorage_error *err)
{
    struct pstorage_manage m = {.op = PSTORAGE_SNAPSHOT_RESTORE, .name = name};
    return manage(client, &m, info, err);
}

int pstorage_clone_create(struct pstorage_client *client, const char *snapshot, const char *new_name,
                          struct pstorage_info *info, struct pstorage_error *err)
{
    struct pstorage_manage m = {.op = PSTORAGE_CLONE_CREATE, .name = snapshot, .new_name = new_name};
    return manage(client, &m, info, err);
}

int pstorage_image_open(struct pstorage_client *client, const char *name, bool read_only,
                        struct pstorage_image **out, struct pstorage_error *err)
{
    struct pstorage_open o = {.name = name, .read_only = read_only};
    const int status = pstorage_open_run(client, &o);
    if (status == PSTORAGE_OK)
        *out = o.image;
    return finish(&o.request, status, err);
}

static int run_io(struct pstorage_image *image, enum pstorage_io_op op, uint64_t offset, uint64_t length,
                  struct pstorage_error *err)
{
    struct pstorage_io io = {.op = op, .offset = offset, .length = length};
    return finish(&io.request, pstorage_io_run(image, &io), err);
}

int pstorage_trim(struct pstorage_image *image, uint64_t offset, uint64_t length, struct pstorage_error *err)
{
    return run_io(image, PSTORAGE_TRIM, offset, length, err);
}

int pstorage_write_zeroes(struct pstorage_image *image, uint64_t offset, uint64_t length,
                          struct pstorage_error *err)
{
    return run_io(image, PSTORAGE_WRITE_ZERO, offset, length, err);
}

int pstorage_flush(struct pstorage_image *image, struct pstorage_error *err)
{
    return run_io(image, PSTORAGE_FLUSH, 0, 0, err);
}

/* ---- long reads and writes, in pieces */

enum {
    PIECES = 4
};

/* Runs a ring of pieces: the oldest is waited for before its place is used
 * again. After an error nothing new starts, and what runs is waited for. */
static int run_pieces(struct pstorage_image *image, enum pstorage_io_op op, char *buffer, size_t length,
                      uint64_t offset, struct pstorage_error *err)
{
    struct pstorage_io ios[PIECES];
    struct waiter waiters[PIECES];
    bool running[PIECES] = {false};
    const size_t piece_bytes = image->opened_limits.max_io_bytes;
    size_t started = 0;
    int status = PSTORAGE_OK;
    for (unsigned i = 0;; i = (i + 1) % PIECES) {
        struct pstorage_io *io = &ios[i];
        if (running[i]) {
            const int rc = wait_end(&waiters[i], &io->request, PSTORAGE_OK);
            running[i] = false;
            if (rc && !status)
                status = finish(&io->request, rc, err);
        }
        if (status == PSTORAGE_OK && started < length) {
            const size_t n = length - started < piece_bytes ? length - started : piece_bytes;
            *io = (struct pstorage_io){
                .op = op, .buffer = buffer + started, .offset = offset + started, .length = n};
            int rc = wait_begin(&waiters[i], image->client, &io->request);
            if (!rc) {
                rc = pstorage_io_submit(image, io, on_done);
                if (rc)
                    (void)wait_end(&waiters[i], &io->request, rc);
            }
            if (rc)
                status = finish(&io->request, rc, err);
            running[i] = rc == 0;
            started += n;
            continue;
        }
        bool any = false;
        for (unsigned k = 0; k < PIECES; k++)
            any |= running[k];
        if (!any)
            return status;
    }
}

int pstorage_read(struct pstorage_image *image, void *buffer, size_t length, uint64_t offset,
                  struct pstorage_error *err)
{
    return length ? run_pieces(image, PSTORAGE_READ, buffer, length, offset, err) : PSTORAGE_OK;
}

int pstorage_write(struct pstorage_image *image, const void *data, size_t length, uint64_t offset,
                   struct pstorage_error *err)
{
    return length ? run_pieces(image, PSTORAGE_WRITE, (char *)(uintptr_t)data, length, offset, err)
                  : PSTORAGE_OK;
}
