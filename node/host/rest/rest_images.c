/* Lists and changes of volumes and snapshots. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/host/rest/rest_exchange.h"
#include "node/host/rest/rest_page.h"

/* ---- lists */

static void on_list(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    struct rest_page page;
    const int rc =
        status ? status : rest_page_images(&x->request, x->q.list.items, x->q.list.count, &page, &x->problem);
    if (rc == 0)
        rest_encode(&x->body, NULL, x->request.route->answer, &page);
    pstorage_list_clear(&x->q.list);
    if (status)
        rest_refuse_request(x, q, status);
    else if (rc)
        rest_refuse(x);
    else
        rest_answer_body(x);
}

static void list(struct rest_exchange *x, enum pstorage_kind kind, const char *of)
{
    x->q.list = (struct pstorage_list){.kind = kind, .of = of, .request.user = x};
    const int rc = pstorage_list_submit(x->client, &x->q.list, on_list);
    if (rc)
        rest_refuse_request(x, &x->q.list.request, rc);
}

static void list_of_found(struct rest_exchange *x)
{
    list(x, PSTORAGE_SNAPSHOT, x->info.name);
}

void rest_list_images(struct rest_exchange *x)
{
    if (x->request.route->op == REST_LIST_VOLUMES)
        list(x, PSTORAGE_VOLUME, x->request.is.pod);
    else if (rest_given(&x->request, REST_BIT(id)))
        rest_find_volume(x, false, list_of_found);
    else
        list(x, PSTORAGE_SNAPSHOT, x->request.is.volume);
}

/* ---- changes */

static void set_location(struct rest_exchange *x)
{
    const struct pstorage_info *info = &x->info;
    if (!(x->request.route->flags & REST_GIVES_LOCATION))
        return;
    if (info->kind == PSTORAGE_SNAPSHOT)
        (void)snprintf(x->location, sizeof x->location, REST_PREFIX "/volumes/%" PRIu64 "/snapshots/%" PRIu64,
                       info->volume_id, info->id);
    else
        (void)snprintf(x->location, sizeof x->location, REST_PREFIX "/volumes/%" PRIu64, info->id);
}

static void on_changed(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (status) {
        rest_refuse_request(x, q, status);
        return;
    }
    x->info = x->q.manage.info;
    /* A repetition, by its key: of what was made then, the pod knows the id alone. */
    if (x->request.route->success == 201 && !x->info.name[0]) {
        (void)rest_fail(&x->problem, PS_ENOTFOUND, NULL,
                        "this request was carried out before; what it made, id %" PRIu64
                        ", is deleted by now",
                        x->info.id);
        rest_refuse(x);
        return;
    }
    if (x->request.route->flags & REST_GIVES_ETAG)
        (void)rest_etag(x->info.tag, x->etag);
    set_location(x);
    rest_answer(x, &x->info);
}

/* Sends `m`, whose operation and arguments are set. */
static void change(struct rest_exchange *x, const struct pstorage_manage *m, pstorage_cb cb)
{
    x->q.manage = *m;
    x->q.manage.request.user = x;
    const int rc = pstorage_manage_submit(x->client, &x->q.manage, cb);
    if (rc)
        rest_refuse_request(x, &x->q.manage.request, rc);
}

static void use_operation_id(const struct rest_exchange *x, struct pstorage_manage *m)
{
    memcpy(m->operation_id, x->operation_id, sizeof m->operation_id);
}

/* The change is of what was found: of that image, and, with If-Match, as it was. */
static void expect_found(const struct rest_exchange *x, struct pstorage_manage *m)
{
    m->expect_id = x->info.id;
    m->expect_tag = x->request.conditional && !x->request.matches_any ? x->info.tag : 0;
}

void rest_create_volume(struct rest_exchange *x)
{
    const struct rest_values *is = &x->request.is;
    struct pstorage_manage m = {.op = PSTORAGE_VOLUME_CREATE,
                                .name = is->name,
                                .size_bytes = rest_size(&x->request),
                                .write_cache = is->write_cache,
                                .pod = is->pod};
    use_operation_id(x, &m);
    change(x, &m, on_changed);
}

/* The steps of a PATCH, in their order; x->step counts. */
static void next_step(struct rest_exchange *x);

static void on_step(struct pstorage_request *q, int status)
{
    static const char *const words[] = {"size", "write_cache", "name"};
    struct rest_exchange *x = q->user;
    if (status) {
        rest_refuse_request(x, q, status);
        return;
    }
    size_t i = 0;
    while (x->done[i])
        i++;
    x->done[i] = words[x->step - 1];
    x->info = x->q.manage.info;
    next_step(x);
}

static void next_step(struct rest_exchange *x)
{
    const struct rest_values *is = &x->request.is;
    struct pstorage_manage m = {.name = x->name};
    while (!m.op && x->step < 3) {
        switch (x->step++) {
        case 0:
            if (rest_given(&x->request, REST_BIT(size_bytes) | REST_BIT(size_gb)))
                m.op = PSTORAGE_VOLUME_RESIZE;
            m.size_bytes = rest_size(&x->request);
            m.allow_shrink = is->allow_shrink;
            break;
        case 1:
            if (rest_given(&x->request, REST_BIT(write_cache)))
                m.op = PSTORAGE_VOLUME_SET;
            m.write_cache = is->write_cache;
            break;
        default:
            if (rest_given(&x->request, REST_BIT(name)) && strcmp(is->name, x->info.name) != 0)
                m.op = PSTORAGE_VOLUME_RENAME;
            m.new_name = is->name;
            break;
        }
    }
    if (!m.op) {
        (void)rest_etag(x->info.tag, x->etag);
        rest_answer(x, &x->info);
        return;
    }
    memcpy(x->name, x->info.name, sizeof x->name);
    expect_found(x, &m); /* behind the first step: as that one left it */
    change(x, &m, on_step);
}

static void change_found(struct rest_exchange *x)
{
    x->step = 0;
    if (rest_check_match(x))
        next_step(x);
}

void rest_change_volume(struct rest_exchange *x)
{
    rest_find_volume(x, false, change_found);
}

/* One change of what was found. */
static void change_one(struct rest_exchange *x)
{
    static const enum pstorage_manage_op ops[] = {
        [REST_DELETE_VOLUME] = PSTORAGE_VOLUME_DELETE,
        [REST_DELETE_SNAPSHOT] = PSTORAGE_SNAPSHOT_DELETE,
        [REST_RESTORE_SNAPSHOT] = PSTORAGE_SNAPSHOT_RESTORE,
        [REST_CLONE_SNAPSHOT] = PSTORAGE_CLONE_CREATE,
    };
    const struct rest_values *is = &x->request.is;
    if (!rest_check_match(x))
        return;
    memcpy(x->name, x->info.name, sizeof x->name);
    struct pstorage_manage m = {.op = ops[x->request.route->op],
                                .name = x->name,
                                .new_name = is->name,
                                .with_snapshots = is->with_snapshots,
                                .force = is->force};
    use_operation_id(x, &m);
    expect_found(x, &m);
    change(x, &m, on_changed);
}

void rest_delete_volume(struct rest_exchange *x)
{
    rest_find_volume(x, false, change_one);
}

void rest_delete_snapshot(struct rest_exchange *x)
{
    rest_find_snapshot(x, change_one);
}

void rest_restore_snapshot(struct rest_exchange *x)
{
    rest_find_snapshot(x, change_one);
}

void rest_clone_snapshot(struct rest_exchange *x)
{
    rest_find_snapshot(x, change_one);
}

static void snapshot_found(struct rest_exchange *x)
{
    char name[2 * PSTORAGE_FULL_NAME_MAX + 2];
    (void)snprintf(name, sizeof name, "%s@%s", x->info.name, x->request.is.name);
    memcpy(x->name, name, strlen(name) + 1); /* a volume's name and another one fit */
    struct pstorage_manage m = {.op = PSTORAGE_SNAPSHOT_CREATE, .name = x->name};
    use_operation_id(x, &m);
    change(x, &m, on_changed);
}

void rest_create_snapshot(struct rest_exchange *x)
{
    rest_find_volume(x, false, snapshot_found);
}

static void on_pod_snapshot(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (status)
        rest_refuse_request(x, q, status);
    else
        rest_answer(x, &x->q.manage);
}

void rest_snapshot_pod(struct rest_exchange *x)
{
    struct pstorage_manage m = {
        .op = PSTORAGE_SNAPSHOT_ALL, .pod = x->request.is.id, .name = x->request.is.name};
    use_operation_id(x, &m);
    change(x, &m, on_pod_snapshot);
}
