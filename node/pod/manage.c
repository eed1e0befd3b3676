/* Management: each operation is one batch of its own, planned when everything
 * before it is applied, so that it happens at one position of the log. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/pod/pod_impl.h"

_Static_assert((int)POD_NAME_MAX == (int)IMAGE_NAME_MAX, "one limit of names");

/* ---- names */

static int check_name(const char *what, const char *name, struct ps_error *err)
{
    const size_t n = strlen(name);
    if (n == 0 || n > POD_NAME_MAX)
        return ps_error_set(err, PS_EINVAL, "%s name \"%.80s\" has %zu characters; 1 to %d are allowed", what,
                            name, n, POD_NAME_MAX);
    for (size_t i = 0; i < n; i++) {
        const char c = name[i];
        const bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alphanumeric && (i == 0 || (c != '.' && c != '_' && c != '-')))
            return ps_error_set(
                err, PS_EINVAL,
                "%s name \"%s\" may have letters, digits, '.', '_' and '-', and begins with a "
                "letter or digit",
                what, name);
    }
    return 0;
}

int pod_check_volume_name(const char *name, struct ps_error *err)
{
    return check_name("volume", name, err);
}

int pod_check_snapshot_name(const char *full, char *volume, char *snapshot, struct ps_error *err)
{
    const char *at = strchr(full, '@');
    if (!at)
        return ps_error_set(err, PS_EINVAL, "snapshot name \"%.100s\" has no '@'; it is VOLUME@SNAPSHOT",
                            full);
    char first[POD_FULL_NAME_MAX + 1];
    if ((size_t)(at - full) >= sizeof first)
        return ps_error_set(err, PS_EINVAL, "volume name in \"%.100s\" is longer than %d characters", full,
                            POD_NAME_MAX);
    memcpy(first, full, (size_t)(at - full));
    first[at - full] = 0;
    int rc = check_name("volume", first, err);
    if (!rc)
        rc = check_name("snapshot", at + 1, err);
    if (rc)
        return rc;
    memcpy(volume, first, strlen(first) + 1);
    memcpy(snapshot, at + 1, strlen(at + 1) + 1);
    return 0;
}

/* ---- what others see of an image */

void image_info(const struct pod *pod, const struct image *image, struct pod_image_info *out)
{
    const struct space *s = &image->space;
    *out = (struct pod_image_info){
        .id = image->id,
        .kind = image->kind == IMAGE_SNAPSHOT ? POD_SNAPSHOT : POD_VOLUME,
        .size_bytes = image->size_bytes,
        .created_unix_ns = image->created_unix_ns,
        .volume_id = image->kind == IMAGE_SNAPSHOT ? image->volume_id : 0,
        .origin_id = image->origin_id,
        .write_cache = image->write_cache,
        .open_count = image->opened,
        .snapshots = image->snapshots,
        .activity = {.reads = image->reads,
                     .read_bytes = image->read_bytes,
                     .writes = image->writes,
                     .written_bytes = image->written_bytes,
                     .trims = image->trims,
                     .flushes = image->flushes},
        .space =
            {
                .logical = (uint64_t)s->n[SPACE_LOGICAL] * POD_BLOCK_BYTES,
                .pattern = (uint64_t)s->n[SPACE_PATTERN] * POD_BLOCK_BYTES,
                .duplicate = (uint64_t)s->n[SPACE_DUPLICATE] * POD_BLOCK_BYTES,
                .unique = (uint64_t)(s->n[SPACE_LOGICAL] - s->n[SPACE_PATTERN] - s->n[SPACE_DUPLICATE]) *
                          POD_BLOCK_BYTES,
                .stored = (uint64_t)s->n[SPACE_STORED_UNITS] * PLACE_UNIT,
            },
    };
    memcpy(out->name, image->full_name, sizeof out->name);
    deep_image_held(pod, image->id, &out->held);
}

int pod_image_by_name(struct pod *pod, const char *name, struct pod_image_info *out)
{
    const struct image *image = images_find(pod->images, name);
    if (!image)
        return PS_ENOTFOUND;
    image_info(pod, image, out);
    return 0;
}

int pod_image_by_id(struct pod *pod, uint64_t id, struct pod_image_info *out)
{
    const struct image *image = images_get(pod->images, id);
    if (!image || !image->full_name[0])
        return PS_ENOTFOUND;
    image_info(pod, image, out);
    return 0;
}

int pod_image_after(struct pod *pod, const char *name, struct pod_image_info *out)
{
    const struct image *image = images_after(pod->images, name);
    if (!image)
        return PS_ENOTFOUND;
    image_info(pod, image, out);
    return 0;
}

/* ---- results for retries */

void operation_note(struct pod *pod, const uint8_t id[16], int status, uint64_t image, uint64_t unix_ns)
{
    struct operation *o = &pod->operations[pod->operation_count++ % OPERATIONS];
    memcpy(o->id, id, 16);
    o->status = status;
    o->image = image;
    o->unix_ns = unix_ns;
}

static bool has_operation_id(const struct pod_manage *req)
{
    static const uint8_t none[16];
    return memcmp(req->operation_id, none, sizeof none) != 0;
}

static const struct operation *find_operation(const struct pod *pod, const struct pod_manage *req)
{
    const uint64_t n = pod->operation_count < OPERATIONS ? pod->operation_count : OPERATIONS;
    for (uint64_t i = 0; i < n && has_operation_id(req); i++)
        if (memcmp(pod->operations[i].id, req->operation_id, 16) == 0)
            return &pod->operations[i];
    return NULL;
}

/* ---- planning: each returns 0 (planned), an error with detail, or 1 (more to do before) */

static struct image *must_find(struct pod *pod, struct pod_manage *req, const char *name,
                               enum image_kind kind, int *rc)
{
    struct image *image = images_find(pod->images, name);
    if (image && image->kind == kind)
        return image;
    *rc = ps_error_set(&req->error, PS_ENOTFOUND, "%s \"%s\" not found",
                       kind == IMAGE_VOLUME ? "volume" : "snapshot", name);
    return NULL;
}

static int check_size(struct pod_manage *req)
{
    if (req->size_bytes == 0 || req->size_bytes > POD_MAX_VOLUME_BYTES)
        return ps_error_set(&req->error, PS_EINVAL,
                            "size %" PRIu64 " is not between 4096 and %llu bytes (256 TiB)", req->size_bytes,
                            (unsigned long long)POD_MAX_VOLUME_BYTES);
    if (req->size_bytes % POD_BLOCK_BYTES)
        return ps_error_set(
            &req->error, PS_EINVAL, "size %" PRIu64 " is not a multiple of 4096 bytes; %" PRIu64 " would be",
            req->size_bytes, (req->size_bytes + POD_BLOCK_BYTES - 1) / POD_BLOCK_BYTES * POD_BLOCK_BYTES);
    return 0;
}

static int check_unused(struct pod *pod, struct pod_manage *req, const char *name)
{
    if (images_find(pod->images, name))
        return ps_error_set(&req->error, PS_EEXISTS, "\"%s\" exists already", name);
    return 0;
}

static void log_image(struct pod *pod, const struct image *image, bool with_space)
{
    uint8_t record[IMAGE_RECORD_MAX];
    const size_t bytes = image_encode(image, image->planned_root, record);
    changes_image(pod->open->plan.changes, image->id, with_space, record, bytes);
}

static struct image make(struct pod *pod, const struct pod_manage *req, enum image_kind kind,
                         const char *name)
{
    struct image image = {
        .id = pod->next_image++, .kind = kind, .depth = 1, .created_unix_ns = req->now_unix_ns};
    (void)snprintf(image.name, sizeof image.name, "%s", name);
    return image;
}

static int plan_create(struct pod *pod, struct pod_manage *req)
{
    int rc = pod_check_volume_name(req->name, &req->error);
    if (!rc)
        rc = check_size(req);
    if (!rc)
        rc = check_unused(pod, req, req->name);
    if (rc)
        return rc;
    struct image image = make(pod, req, IMAGE_VOLUME, req->name);
    image.size_bytes = req->size_bytes;
    image.depth = image_depth_for(req->size_bytes);
    image.write_cache = req->write_cache;
    log_image(pod, &image, true);
    req->image.id = image.id;
    return 0;
}

/* Shrinking first empties what lies beyond, while host I/O goes on before it. */
static int shrink_first(struct pod *pod, struct pod_manage *req, struct image *image)
{
    if (!req->allow_shrink)
        return ps_error_set(&req->error, PS_EPRECONDITION,
                            "\"%s\" has %" PRIu64
                            " bytes; making it smaller discards what lies beyond and must be "
                            "allowed explicitly",
                            req->name, image->size_bytes);
    const uint64_t end = image->size_bytes / POD_BLOCK_BYTES;
    if (!pod->shrinking) {
        image->limit_bytes = req->size_bytes;
        pod->shrinking = true;
        pod->shrink_cursor = req->size_bytes / POD_BLOCK_BYTES;
    }
    for (int steps = 0; steps < 64 && pod->shrink_cursor < end; steps++) {
        const int rc = punch_step(pod, image, &pod->shrink_cursor, end);
        if (rc == PS_EABORTED)
            return 1;
        if (rc)
            return ps_error_set(&req->error, rc, "\"%s\": a damaged metadata page lies beyond the new end",
                                req->name);
    }
    pod->again |= pod->shrink_cursor < end;
    return pod->shrink_cursor < end;
}

static int plan_resize(struct pod *pod, struct pod_manage *req)
{
    int rc = check_size(req);
    struct image *image = rc ? NULL : must_find(pod, req, req->name, IMAGE_VOLUME, &rc);
    if (!image)
        return rc;
    struct image next = *image;
    next.size_bytes = req->size_bytes;
    const uint8_t depth = image_depth_for(req->size_bytes);
    if (depth > next.depth)
        map_deepen(&pod->open->plan, &next, depth);
    log_image(pod, &next, false);
    req->image.id = image->id;
    return 0;
}

static int plan_rename(struct pod *pod, struct pod_manage *req)
{
    int rc = pod_check_volume_name(req->new_name, &req->error);
    struct image *image = rc ? NULL : must_find(pod, req, req->name, IMAGE_VOLUME, &rc);
    if (!image)
        return rc;
    if ((rc = check_unused(pod, req, req->new_name)))
        return rc;
    struct image next = *image;
    (void)snprintf(next.name, sizeof next.name, "%s", req->new_name);
    log_image(pod, &next, false);
    req->image.id = image->id;
    return 0;
}

static int plan_set(struct pod *pod, struct pod_manage *req)
{
    int rc = 0;
    struct image *image = must_find(pod, req, req->name, IMAGE_VOLUME, &rc);
    if (!image)
        return rc;
    struct image next = *image;
    next.write_cache = req->write_cache;
    log_image(pod, &next, false);
    req->image.id = image->id;
    return 0;
}

static int check_unopened(struct pod_manage *req, const struct image *image)
{
    if (image->opened && !req->force)
        return ps_error_set(&req->error, PS_EPRECONDITION, "\"%s\" is in use by %u client%s",
                            image->full_name, image->opened, image->opened == 1 ? "" : "s");
    return 0;
}

static void log_deleted(struct pod *pod, const struct image *image)
{
    struct image next = *image;
    next.deleted = true;
    next.cursor = 0;
    log_image(pod, &next, false);
}

static int plan_delete(struct pod *pod, struct pod_manage *req)
{
    enum {
        AT_ONCE = 128
    };
    int rc = 0;
    struct image *image = must_find(pod, req, req->name, IMAGE_VOLUME, &rc);
    if (!image || (rc = check_unopened(req, image)))
        return rc;
    if (image->snapshots && !req->with_snapshots)
        return ps_error_set(&req->error, PS_EPRECONDITION,
                            "\"%s\" has %u snapshot%s; delete them first, or with it", req->name,
                            image->snapshots, image->snapshots == 1 ? "" : "s");
    char after[POD_FULL_NAME_MAX + 2];
    (void)snprintf(after, sizeof after, "%s@", image->full_name);
    const size_t prefix = strlen(after);
    struct image *snapshots[AT_ONCE];
    unsigned n = 0;
    for (struct image *s = images_after(pod->images, after); s && strncmp(s->full_name, after, prefix) == 0;
         s = images_after(pod->images, s->full_name)) {
        if ((rc = check_unopened(req, s)))
            return rc;
        if (n < AT_ONCE)
            snapshots[n++] = s;
    }
    for (unsigned i = 0; i < n; i++)
        log_deleted(pod, snapshots[i]);
    pod->manage_partial = n < image->snapshots;
    image_info(pod, image, &req->image);
    if (!pod->manage_partial)
        log_deleted(pod, image);
    return 0;
}

/* The snapshot takes over what the volume owns and becomes its parent. */
static void take_snapshot(struct pod *pod, struct pod_manage *req, const struct image *image,
                          const char *name)
{
    struct image taken = make(pod, req, IMAGE_SNAPSHOT, name);
    taken.depth = image->depth;
    taken.size_bytes = image->size_bytes;
    taken.planned_root = image->planned_root;
    taken.volume_id = image->id;
    taken.parent_id = image->parent_id;
    taken.space = image->space;
    log_image(pod, &taken, true);
    struct image next = *image;
    next.planned_root &= ~ENTRY_OWN;
    next.parent_id = taken.id;
    log_image(pod, &next, false);
    req->image.id = taken.id;
}

static int plan_snapshot(struct pod *pod, struct pod_manage *req)
{
    char volume[POD_NAME_MAX + 1], snapshot[POD_NAME_MAX + 1];
    int rc = pod_check_snapshot_name(req->name, volume, snapshot, &req->error);
    const struct image *image = rc ? NULL : must_find(pod, req, volume, IMAGE_VOLUME, &rc);
    if (!image || (rc = check_unused(pod, req, req->name)))
        return rc;
    take_snapshot(pod, req, image, snapshot);
    return 0;
}

static const struct image *volume_after(const struct pod *pod, const char *after)
{
    const struct image *image = images_after(pod->images, after);
    while (image && image->kind != IMAGE_VOLUME)
        image = images_after(pod->images, image->full_name);
    return image;
}

/* One batch holds all of them or none is taken: what a batch can't hold is refused. */
static int plan_snapshot_all(struct pod *pod, struct pod_manage *req)
{
    enum {
        CHANGE_MAX = IMAGE_RECORD_MAX + 64, /* of an image, with its counts */
        SPARE = 4096                        /* what a batch ends with */
    };
    const size_t most = (changes_room(pod->open->plan.changes) - SPARE) / (2 * CHANGE_MAX);
    size_t volumes = 0;
    char full[POD_FULL_NAME_MAX + 1];
    for (const struct image *v = volume_after(pod, ""); v; v = volume_after(pod, v->full_name)) {
        const int n = snprintf(full, sizeof full, "%s@%s", v->full_name, req->name);
        assert(n > 0 && (size_t)n < sizeof full && "both names were checked");
        const int rc = check_unused(pod, req, full);
        if (rc)
            return rc;
        volumes++;
    }
    if (volumes == 0)
        return ps_error_set(&req->error, PS_ENOTFOUND, "the pod has no volume");
    if (volumes > most)
        return ps_error_set(&req->error, PS_ELIMIT,
                            "the pod has %zu volumes; a snapshot of all at once takes at most %zu", volumes,
                            most);
    for (const struct image *v = volume_after(pod, ""); v; v = volume_after(pod, v->full_name))
        take_snapshot(pod, req, v, req->name);
    req->count = (uint32_t)volumes;
    return 0;
}

static int plan_snapshot_delete(struct pod *pod, struct pod_manage *req)
{
    int rc = 0;
    struct image *image = must_find(pod, req, req->name, IMAGE_SNAPSHOT, &rc);
    if (!image || (rc = check_unopened(req, image)))
        return rc;
    image_info(pod, image, &req->image);
    log_deleted(pod, image);
    return 0;
}

static int plan_restore(struct pod *pod, struct pod_manage *req)
{
    int rc = 0;
    const struct image *snapshot = must_find(pod, req, req->name, IMAGE_SNAPSHOT, &rc);
    if (!snapshot)
        return rc;
    struct image *image = images_get(pod->images, snapshot->volume_id);
    assert(image && "a snapshot's volume outlives it");
    if (entry_type(image->planned_root) == ENTRY_PAGE && entry_owns(image->planned_root)) {
        struct image trash = make(pod, req, IMAGE_TRASH, "");
        trash.depth = image->depth;
        trash.size_bytes = image->size_bytes;
        trash.planned_root = image->planned_root;
        log_image(pod, &trash, true);
    }
    struct image next = *image;
    next.planned_root = snapshot->root & ~ENTRY_OWN;
    next.depth = snapshot->depth;
    next.size_bytes = snapshot->size_bytes;
    next.parent_id = snapshot->id;
    next.space = snapshot->space;
    log_image(pod, &next, true);
    req->image.id = image->id;
    return 0;
}

static int plan_clone(struct pod *pod, struct pod_manage *req)
{
    int rc = pod_check_volume_name(req->new_name, &req->error);
    const struct image *snapshot = rc ? NULL : must_find(pod, req, req->name, IMAGE_SNAPSHOT, &rc);
    if (!snapshot || (rc = check_unused(pod, req, req->new_name)))
        return rc;
    struct image clone = make(pod, req, IMAGE_VOLUME, req->new_name);
    clone.depth = snapshot->depth;
    clone.size_bytes = snapshot->size_bytes;
    clone.planned_root = snapshot->root & ~ENTRY_OWN;
    clone.parent_id = clone.origin_id = snapshot->id;
    clone.write_cache = req->write_cache;
    clone.space = snapshot->space;
    log_image(pod, &clone, true);
    req->image.id = clone.id;
    return 0;
}

static int plan_operation(struct pod *pod, struct pod_manage *req)
{
    static int (*const plans[])(struct pod *, struct pod_manage *) = {
        [POD_VOLUME_CREATE] = plan_create,
        [POD_VOLUME_RESIZE] = plan_resize,
        [POD_VOLUME_RENAME] = plan_rename,
        [POD_VOLUME_DELETE] = plan_delete,
        [POD_VOLUME_SET] = plan_set,
        [POD_SNAPSHOT_CREATE] = plan_snapshot,
        [POD_SNAPSHOT_ALL] = plan_snapshot_all,
        [POD_SNAPSHOT_DELETE] = plan_snapshot_delete,
        [POD_SNAPSHOT_RESTORE] = plan_restore,
        [POD_CLONE_CREATE] = plan_clone,
    };
    if ((size_t)req->op >= sizeof plans / sizeof plans[0])
        return ps_error_set(&req->error, PS_EINVAL, "unknown operation %d", (int)req->op);
    pod->manage_partial = false;
    const int rc = plans[req->op](pod, req);
    if (!rc && !pod->manage_partial && has_operation_id(req))
        changes_done(pod->open->plan.changes, req->operation_id, 0, req->image.id, req->now_unix_ns);
    return rc;
}

/* ---- the queue */

static void deliver(struct pod *pod, struct pod_manage *req, int status)
{
    list_remove(&req->link);
    pod->prepared = false;
    if (status && !req->error.detail[0])
        (void)ps_error_set(&req->error, status, "%s", ps_status_text(status));
    req->error.status = status;
    list_push_back(&pod->managed, &req->link);
    pod->again = true;
}

/* The operation's batch was committed (or lost). */
void manage_finish(struct pod *pod, struct pod_manage *req, int status)
{
    if (!status && pod->manage_partial)
        return; /* it is still the first in the queue */
    const struct image *image = images_get(pod->images, req->image.id);
    if (!status && image && image->full_name[0])
        image_info(pod, image, &req->image);
    /* The one change of an image that cannot be told from what it was and is. */
    if (!status && req->op == POD_SNAPSHOT_RESTORE)
        pod_event(pod, "volume.restored", req->image.id, "volume %s restored from %s", req->image.name,
                  req->name);
    deliver(pod, req, status);
}

static struct pod_manage *first(const struct pod *pod)
{
    return list_empty(&pod->managing) ? NULL : container_of(pod->managing.next, struct pod_manage, link);
}

/* True while an operation is about to be planned or under way: nothing else is planned meanwhile. */
bool manage_blocks_writes(const struct pod *pod)
{
    return first(pod) && !pod->shrinking;
}

static bool is_quiet(const struct pod *pod)
{
    return !pod->open && pod->in_flight_count == 0;
}

/* Unaligned writes that wait read their surroundings anew after the operation. False: reads are under way. */
static bool fills_are_void(struct pod *pod)
{
    list_for_each(node, &pod->waiting)
    {
        struct piece *piece = container_of(node, struct piece, link);
        if (piece->fills)
            return false;
        if (piece->state == PIECE_FILLING)
            piece->state = PIECE_UNALIGNED;
    }
    return true;
}

/* Phase before the batch: 0 go on, 1 wait, or an error. */
static int prepare(struct pod *pod, struct pod_manage *req)
{
    if (req->op != POD_VOLUME_RESIZE)
        return 0;
    struct image *image = images_find(pod->images, req->name);
    if (!image || image->kind != IMAGE_VOLUME || check_size(req) || req->size_bytes >= image->size_bytes)
        return 0;
    const int rc = shrink_first(pod, req, image);
    if (rc < 0)
        image->limit_bytes = image->size_bytes;
    return rc;
}

void manage_turn(struct pod *pod)
{
    for (struct pod_manage *req; (req = first(pod));) {
        if (pod->failed) {
            deliver(pod, req, pod_end_status(pod));
            continue;
        }
        if (pod->manage_busy || pod->held)
            return;
        const struct operation *before = find_operation(pod, req);
        if (before) {
            req->image.id = before->image;
            manage_finish(pod, req, before->status);
            continue;
        }
        int rc = pod->prepared ? 0 : pod_check_expected(pod, req);
        if (!pod->prepared && !rc)
            rc = prepare(pod, req);
        if (rc == 1)
            return;
        pod->shrinking = false;
        pod->prepared = true;
        if (rc < 0) {
            deliver(pod, req, rc);
            continue;
        }
        if (pod->open && batch_is_empty(pod->open))
            batch_cancel(pod);
        if (!is_quiet(pod) || !fills_are_void(pod))
            return;
        if (!batch_open(pod)) {
            if (!log_is_full(pod))
                return;
            deliver(pod, req, PS_EFULL);
            continue;
        }
        rc = plan_operation(pod, req);
        if (rc) {
            /* Nothing was planned into it: ids that were taken stay unused. */
            batch_cancel(pod);
            deliver(pod, req, rc);
            continue;
        }
        pod->open->manage = req;
        pod->manage_busy = true;
        batch_ship(pod);
        return;
    }
}

int pod_manage(struct pod *pod, struct pod_manage *req, pod_manage_cb cb)
{
    if (pod->state != POD_SERVING || pod->role == POD_STANDBY)
        return PS_EUNAVAILABLE;
    req->cb = cb;
    req->error = (struct ps_error){0};
    req->image = (struct pod_image_info){0};
    req->name[sizeof req->name - 1] = req->new_name[sizeof req->new_name - 1] = 0;
    list_push_back(&pod->managing, &req->link);
    pod->again = true;
    return 0;
}
