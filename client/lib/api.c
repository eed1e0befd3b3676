/* The public functions: arguments are checked here and nowhere behind. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "client/lib/client.h"

#define X(name, value, rpc, err, exit_code, http, text)                                                      \
    _Static_assert((int)PSTORAGE_##name == (int)PS_##name, "pstorage.h lists every status");
PS_STATUS_MAP(X)
#undef X
_Static_assert(sizeof(struct pstorage_error) == sizeof(struct ps_error), "one layout");
_Static_assert(offsetof(struct pstorage_error, detail) == offsetof(struct ps_error, detail), "one layout");
_Static_assert(sizeof((struct pstorage_manage *)0)->operation_id == RPC_OPERATION_ID_BYTES, "one length");

const char *pstorage_status_name(int status)
{
    return ps_status_name(status);
}

const char *pstorage_status_text(int status)
{
    return ps_status_text(status);
}

int pstorage_status_errno(int status)
{
    return ps_status_errno(status);
}

const char *pstorage_version(void)
{
    return PS_VERSION;
}

__attribute__((format(printf, 3, 4))) static int refuse(struct pstorage_request *r, int status,
                                                        const char *format, ...)
{
    va_list args;
    va_start(args, format);
    r->error.status = status;
    (void)vsnprintf(r->error.detail, sizeof r->error.detail, format, args);
    va_end(args);
    return status;
}

static int check_name(struct pstorage_request *r, const char *what, const char *name)
{
    if (!name || !*name)
        return refuse(r, PS_EINVAL, "no %s is given", what);
    if (strlen(name) > PSTORAGE_FULL_NAME_MAX)
        return refuse(r, PS_EINVAL, "the %s is longer than %d characters", what, PSTORAGE_FULL_NAME_MAX);
    return PS_OK;
}

/* ---- submit */

int pstorage_manage_submit(struct pstorage_client *client, struct pstorage_manage *m, pstorage_cb cb)
{
    const struct request_kind *kind = kind_of_manage(m->op);
    if (!kind)
        return refuse(&m->request, PS_EINVAL, "no operation has number %d", (int)m->op);
    const bool by_id = m->op == PSTORAGE_IMAGE_GET && !m->name && m->expect_id;
    int rc = by_id ? PS_OK : check_name(&m->request, "name", m->name);
    if (!rc && (m->op == PSTORAGE_VOLUME_RENAME || m->op == PSTORAGE_CLONE_CREATE))
        rc = check_name(&m->request, "new name", m->new_name);
    if (!rc && m->pod && strlen(m->pod) > PSTORAGE_NAME_MAX)
        rc = refuse(&m->request, PS_EINVAL, "the pod's name is longer than %d characters", PSTORAGE_NAME_MAX);
    if (rc)
        return rc;
    static const uint8_t none[sizeof m->operation_id];
    if (memcmp(m->operation_id, none, sizeof none) == 0 &&
        getrandom(m->operation_id, sizeof m->operation_id, 0) != (ssize_t)sizeof m->operation_id)
        return refuse(&m->request, PS_EINTERNAL, "the system gives no random numbers");
    return client_submit(client, NULL, &m->request, kind, cb);
}

int pstorage_list_submit(struct pstorage_client *client, struct pstorage_list *l, pstorage_cb cb)
{
    if (l->kind != PSTORAGE_VOLUME && l->kind != PSTORAGE_SNAPSHOT)
        return refuse(&l->request, PS_EINVAL, "no kind of image has number %d", (int)l->kind);
    if (l->of && strlen(l->of) > PSTORAGE_NAME_MAX)
        return refuse(&l->request, PS_EINVAL, "the name is longer than %d characters", PSTORAGE_NAME_MAX);
    l->items = NULL;
    l->count = 0;
    return client_submit(client, NULL, &l->request, &kind_list, cb);
}

void pstorage_list_clear(struct pstorage_list *l)
{
    free(l->items);
    l->items = NULL;
    l->count = 0;
}

int pstorage_open_submit(struct pstorage_client *client, struct pstorage_open *o, pstorage_cb cb)
{
    const int rc = check_name(&o->request, "name", o->name);
    if (rc)
        return rc;
    o->image = NULL;
    return client_submit(client, NULL, &o->request, &kind_open, cb);
}

static int check_io(const struct pstorage_image *image, struct pstorage_io *io)
{
    struct pstorage_request *r = &io->request;
    if (io->op == PSTORAGE_FLUSH)
        return io->offset || io->length ? refuse(r, PS_EINVAL, "a flush has no range") : PS_OK;
    if (io->length == 0 || io->offset % 512 != 0 || io->length % 512 != 0)
        return refuse(r, PS_EINVAL,
                      "offset %llu and length %llu are not multiples of 512, or there is no length",
                      (unsigned long long)io->offset, (unsigned long long)io->length);
    if (io->length > UINT64_MAX - io->offset)
        return refuse(r, PS_ERANGE, "offset and length go beyond any volume");
    const bool moves_data = io->op == PSTORAGE_READ || io->op == PSTORAGE_WRITE;
    if (moves_data && io->length > image->opened_limits.max_io_bytes)
        return refuse(r, PS_EINVAL, "a single read or write is at most %u bytes",
                      image->opened_limits.max_io_bytes);
    if (moves_data && !io->buffer)
        return refuse(r, PS_EINVAL, "no buffer is given");
    if (io->op == PSTORAGE_EXTENTS && (!io->extents || !io->max_extents))
        return refuse(r, PS_EINVAL, "no room for extents is given");
    return PS_OK;
}

int pstorage_io_submit(struct pstorage_image *image, struct pstorage_io *io, pstorage_cb cb)
{
    const struct request_kind *kind = kind_of_io(io->op);
    if (!kind)
        return refuse(&io->request, PS_EINVAL, "no operation has number %d", (int)io->op);
    const int rc = check_io(image, io);
    if (rc)
        return rc;
    io->nextents = 0;
    return client_submit(image->client, image, &io->request, kind, cb);
}

int pstorage_report_submit(struct pstorage_client *client, struct pstorage_report *r, pstorage_cb cb)
{
    r->pods = NULL;
    r->devices = NULL;
    r->npods = r->ndevices = 0;
    return client_submit(client, NULL, &r->request, &kind_report, cb);
}

void pstorage_report_clear(struct pstorage_report *r)
{
    for (size_t i = 0; i < r->npods; i++) {
        free(r->pods[i].deep_check.findings);
        free(r->pods[i].losses);
    }
    free(r->pods);
    free(r->devices);
    r->pods = NULL;
    r->devices = NULL;
    r->npods = r->ndevices = 0;
}

int pstorage_events_submit(struct pstorage_client *client, struct pstorage_events *e, pstorage_cb cb)
{
    if (e->limit > CLIENT_PAGE)
        return refuse(&e->request, PS_EINVAL, "at most %d events at once", CLIENT_PAGE);
    e->items = NULL;
    e->count = 0;
    return client_submit(client, NULL, &e->request, &kind_events, cb);
}

void pstorage_events_clear(struct pstorage_events *e)
{
    free(e->items);
    e->items = NULL;
    e->count = 0;
}

int pstorage_follow_submit(struct pstorage_client *client, struct pstorage_follow *f, pstorage_cb cb)
{
    if (!f->on_event)
        return refuse(&f->request, PS_EINVAL, "no function for events is given");
    return client_submit(client, NULL, &f->request, &kind_follow, cb);
}

void pstorage_image_describe(struct pstorage_image *image, struct pstorage_info *info,
                             struct pstorage_limits *limits)
{
    if (info)
        *info = image->opened_info;
    if (limits)
        *limits = image->opened_limits;
}
