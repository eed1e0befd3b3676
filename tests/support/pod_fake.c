#include "tests/support/pod_fake.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/pod_fake_image.h"

struct pod_image {
    struct pod *pod;
    struct image *image;
    uint32_t in_flight;
    unsigned opening;
};

enum {
    REMEMBERED = 64
};
struct remembered {
    uint8_t operation_id[16];
    int status;
    struct ps_error error;
    struct pod_image_info image;
};

struct pod {
    struct pod_config config;
    struct image **images; /* sorted by name */
    size_t nimages, room;
    struct list_node queue;  /* struct pod_io: not yet in effect */
    struct list_node done;   /* struct pod_io: in effect, callback due */
    struct list_node manage; /* struct pod_manage: due */
    uint32_t in_flight, manage_in_flight;
    uint64_t next_id, log_seq, random, capacity;
    uint64_t counts[POD_PREFETCH + 1], read_bytes, written_bytes, scrubs, deeps;
    bool collecting;
    struct remembered remembered[REMEMBERED];
    unsigned next_remembered;
    int fail_next;
    enum pod_role role;
    unsigned openings;
    bool hold, opening, stopping, told_opening;
    pod_open_cb open_cb;
    void *open_user;
    void (*close_cb)(void *user);
    void *close_user;
};

/* ---- the table of images */

/* Index of the first image whose name is not below `name`. */
static size_t lower_bound(const struct pod *pod, const char *name)
{
    size_t i = 0;
    while (i < pod->nimages && strcmp(pod->images[i]->info.name, name) < 0)
        i++;
    return i;
}

static struct image *find(const struct pod *pod, const char *name)
{
    const size_t i = lower_bound(pod, name);
    return i < pod->nimages && strcmp(pod->images[i]->info.name, name) == 0 ? pod->images[i] : NULL;
}

static struct image *find_id(const struct pod *pod, uint64_t id)
{
    for (size_t i = 0; i < pod->nimages; i++)
        if (pod->images[i]->info.id == id)
            return pod->images[i];
    return NULL;
}

static void insert(struct pod *pod, struct image *image)
{
    if (pod->nimages == pod->room) {
        pod->room = pod->room ? 2 * pod->room : 16;
        pod->images = reallocarray(pod->images, pod->room, sizeof *pod->images);
        assert(pod->images);
    }
    const size_t i = lower_bound(pod, image->info.name);
    memmove(pod->images + i + 1, pod->images + i, (pod->nimages - i) * sizeof *pod->images);
    pod->images[i] = image;
    pod->nimages++;
}

static void take_out(struct pod *pod, struct image *image)
{
    const size_t i = lower_bound(pod, image->info.name);
    assert(i < pod->nimages && pod->images[i] == image);
    pod->nimages--;
    memmove(pod->images + i, pod->images + i + 1, (pod->nimages - i) * sizeof *pod->images);
}

static void info_of(const struct pod *pod, const struct image *image, struct pod_image_info *out)
{
    *out = image->info;
    out->open_count = image->handles;
    out->snapshots = 0;
    for (size_t i = 0; i < pod->nimages; i++)
        out->snapshots += image->info.kind == POD_VOLUME && pod->images[i]->info.volume_id == image->info.id;
}

int pod_image_by_name(struct pod *pod, const char *name, struct pod_image_info *out)
{
    const struct image *image = find(pod, name);
    if (!image)
        return PS_ENOTFOUND;
    info_of(pod, image, out);
    return 0;
}

int pod_image_by_id(struct pod *pod, uint64_t id, struct pod_image_info *out)
{
    const struct image *image = find_id(pod, id);
    if (!image)
        return PS_ENOTFOUND;
    info_of(pod, image, out);
    return 0;
}

int pod_image_after(struct pod *pod, const char *name, struct pod_image_info *out)
{
    size_t i = lower_bound(pod, name);
    if (i < pod->nimages && strcmp(pod->images[i]->info.name, name) == 0)
        i++;
    if (i == pod->nimages)
        return PS_ENOTFOUND;
    info_of(pod, pod->images[i], out);
    return 0;
}

int pod_image_open(struct pod *pod, const char *name, struct pod_image **out, struct ps_error *err)
{
    struct image *image = find(pod, name);
    if (pod->role == POD_STANDBY)
        return ps_error_set(err, PS_EUNAVAILABLE, "\"%s\": this node is on standby", name);
    if (!image)
        return ps_error_set(err, PS_ENOTFOUND, "no volume or snapshot is named '%s'", name);
    struct pod_image *handle = calloc(1, sizeof *handle);
    assert(handle);
    *handle = (struct pod_image){.pod = pod, .image = image, .opening = pod->openings};
    image->handles++;
    *out = handle;
    return 0;
}

void pod_image_close(struct pod_image *handle)
{
    assert(handle->in_flight == 0);
    struct image *image = handle->image;
    if (--image->handles == 0 && image->deleted)
        fake_image_free(image);
    free(handle);
}

int pod_image_info(const struct pod_image *handle, struct pod_image_info *out)
{
    if (handle->image->deleted)
        return PS_ENOTFOUND;
    info_of(handle->pod, handle->image, out);
    return 0;
}

/* ---- block I/O */

static bool changes(enum pod_io_op op)
{
    return op == POD_WRITE || op == POD_TRIM || op == POD_WRITE_ZERO;
}

/* What may be wrong with a request now; asked again when it takes effect, since the image may have changed.
 */
static int refusal(const struct pod_io *io)
{
    const struct image *image = io->image->image;
    if (image->deleted)
        return PS_ENOTFOUND;
    if (changes(io->op) && image->info.kind == POD_SNAPSHOT)
        return PS_EREADONLY;
    if (io->op == POD_FLUSH)
        return 0;
    if (io->offset % POD_SECTOR_BYTES || io->length % POD_SECTOR_BYTES)
        return PS_EINVAL;
    if ((io->op == POD_READ || io->op == POD_WRITE) && io->length > POD_MAX_IO_BYTES)
        return PS_EINVAL;
    if (io->offset > image->info.size_bytes || io->length > image->info.size_bytes - io->offset)
        return PS_ERANGE;
    return 0;
}

int pod_submit(struct pod *pod, struct pod_io *io, pod_io_cb cb)
{
    assert(io->image->pod == pod);
    if (pod->opening || pod->stopping || pod->role == POD_STANDBY || io->image->opening != pod->openings)
        return PS_EUNAVAILABLE;
    const int status = refusal(io);
    if (status)
        return status;
    io->cb = cb;
    pod->in_flight++;
    io->image->in_flight++;
    list_push_back(&pod->queue, &io->link);
    return 0;
}

static uint64_t held_bytes(const struct pod *pod)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < pod->nimages; i++)
        sum += pod->images[i]->info.space.stored;
    return sum;
}

static void take_effect(struct pod *pod, struct pod_io *io)
{
    struct image *image = io->image->image;
    io->status = pod->fail_next ? pod->fail_next : refusal(io);
    pod->fail_next = 0;
    if (!io->status && io->op == POD_WRITE && pod->capacity != UINT64_MAX &&
        held_bytes(pod) + io->length > pod->capacity)
        io->status = PS_EFULL;
    if (io->status)
        return;
    pod->counts[io->op]++;
    switch (io->op) {
    case POD_READ:
        pod->read_bytes += io->length;
        fake_image_read(image, io->offset, io->length, io->buf);
        break;
    case POD_WRITE:
        pod->written_bytes += io->length;
        fake_image_write(image, io->offset, io->length, io->buf);
        break;
    case POD_TRIM:
        fake_image_discard(image, io->offset, io->length, false);
        break;
    case POD_WRITE_ZERO:
        if (io->flags & POD_IO_NO_HOLE)
            fake_image_write(image, io->offset, io->length, NULL);
        else
            fake_image_discard(image, io->offset, io->length, true);
        break;
    case POD_EXTENTS:
        assert(io->extents && io->max_extents > 0);
        fake_image_extents(image, io);
        break;
    case POD_FLUSH:
    case POD_PREFETCH:
        break;
    }
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t draw(struct pod *pod)
{
    uint64_t z = pod->random += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static void complete(struct pod *pod, struct pod_io *io)
{
    list_remove(&io->link);
    pod->in_flight--;
    io->image->in_flight--;
    io->cb(io, io->status);
}

static void deliver(struct pod *pod)
{
    struct list_node due;
    list_init(&due);
    list_splice_back(&due, &pod->done);
    if (!pod->random) {
        while (!list_empty(&due))
            complete(pod, container_of(due.next, struct pod_io, link));
        return;
    }
    uint64_t count = 0;
    list_for_each(node, &due) count++;
    for (; count > 0; count--) {
        struct list_node *node = due.next;
        for (uint64_t skip = draw(pod) % count; skip > 0; skip--)
            node = node->next;
        if (draw(pod) % 4 == 0) { /* not in this turn */
            list_remove(node);
            list_push_back(&pod->done, node);
        } else {
            complete(pod, container_of(node, struct pod_io, link));
        }
    }
}

/* ---- management */

static bool name_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

static int check_name(const char *what, const char *name, struct ps_error *err)
{
    const size_t length = strlen(name);
    bool good = length >= 1 && length <= POD_NAME_MAX && strchr("._-", name[0]) == NULL;
    for (size_t i = 0; i < length; i++)
        good = good && name_char(name[i]);
    if (good)
        return 0;
    return ps_error_set(
        err, PS_EINVAL,
        "'%.80s' is not a %s name: 1 to %d of A-Z a-z 0-9 . _ -, beginning with a letter or digit", name,
        what, POD_NAME_MAX);
}

int pod_check_volume_name(const char *name, struct ps_error *err)
{
    return check_name("volume", name, err);
}

int pod_check_snapshot_name(const char *full, char *volume, char *snapshot, struct ps_error *err)
{
    const char *at = strchr(full, '@');
    if (!at)
        return ps_error_set(err, PS_EINVAL, "'%.80s' is not a snapshot name: it is written volume@snapshot",
                            full);
    char left[POD_NAME_MAX + 2];
    const size_t length = (size_t)(at - full) < sizeof left - 1 ? (size_t)(at - full) : sizeof left - 1;
    memcpy(left, full, length);
    left[length] = 0;
    int status = check_name("volume", left, err);
    if (!status)
        status = check_name("snapshot", at + 1, err);
    if (status)
        return status;
    strcpy(volume, left);
    strcpy(snapshot, at + 1);
    return 0;
}

static int check_size(uint64_t size_bytes, struct ps_error *err)
{
    if (size_bytes == 0 || size_bytes % POD_SECTOR_BYTES || size_bytes > POD_MAX_VOLUME_BYTES)
        return ps_error_set(err, PS_EINVAL, "size %llu: must be a multiple of %d bytes, at most %llu",
                            (unsigned long long)size_bytes, POD_SECTOR_BYTES, POD_MAX_VOLUME_BYTES);
    return 0;
}

static int find_volume(struct pod *pod, const char *name, struct image **out, struct ps_error *err)
{
    int status = pod_check_volume_name(name, err);
    if (status)
        return status;
    *out = find(pod, name);
    return *out ? 0 : ps_error_set(err, PS_ENOTFOUND, "no volume is named '%s'", name);
}

static int find_snapshot(struct pod *pod, const char *name, struct image **out, struct ps_error *err)
{
    char volume[POD_NAME_MAX + 1], snapshot[POD_NAME_MAX + 1];
    int status = pod_check_snapshot_name(name, volume, snapshot, err);
    if (status)
        return status;
    *out = find(pod, name);
    return *out ? 0 : ps_error_set(err, PS_ENOTFOUND, "no snapshot is named '%s'", name);
}

static int check_free(struct pod *pod, const char *name, struct ps_error *err)
{
    return find(pod, name) ? ps_error_set(err, PS_EEXISTS, "'%s' exists already", name) : 0;
}

static struct image *image_make(struct pod *pod, enum pod_image_kind kind, const char *name, uint64_t now)
{
    struct image *image = calloc(1, sizeof *image);
    assert(image);
    image->info.id = pod->next_id++;
    image->info.kind = kind;
    image->info.created_unix_ns = now;
    strcpy(image->info.name, name);
    insert(pod, image);
    return image;
}

static void changed(struct pod *pod, const struct image *image, const char *kind)
{
    struct pod_image_info info;
    info_of(pod, image, &info);
    char text[256];
    (void)snprintf(text, sizeof text, "%s", info.name);
    if (image->deleted)
        info.name[0] = 0;
    pod->log_seq++;
    if (pod->config.image_changed)
        pod->config.image_changed(pod->config.user, pod->log_seq, info.id, &info);
    if (pod->config.event)
        pod->config.event(pod->config.user, kind, info.id, text);
}

static void image_delete(struct pod *pod, struct image *image, const char *kind)
{
    take_out(pod, image);
    image->deleted = true;
    changed(pod, image, kind);
    if (image->handles == 0)
        fake_image_free(image);
}

static int volume_create(struct pod *pod, struct pod_manage *req, struct image **out)
{
    int status = pod_check_volume_name(req->name, &req->error);
    if (!status)
        status = check_size(req->size_bytes, &req->error);
    if (!status)
        status = check_free(pod, req->name, &req->error);
    if (status)
        return status;
    *out = image_make(pod, POD_VOLUME, req->name, req->now_unix_ns);
    (*out)->info.write_cache = req->write_cache;
    fake_image_resize(*out, req->size_bytes);
    changed(pod, *out, "volume-created");
    return 0;
}

static int volume_resize(struct pod *pod, struct pod_manage *req, struct image **out)
{
    struct image *image;
    int status = find_volume(pod, req->name, &image, &req->error);
    if (!status)
        status = check_size(req->size_bytes, &req->error);
    if (status)
        return status;
    if (req->size_bytes < image->info.size_bytes && !req->allow_shrink)
        return ps_error_set(
            &req->error, PS_EPRECONDITION,
            "'%s' would shrink and lose what lies beyond: shrinking must be allowed explicitly", req->name);
    fake_image_resize(image, req->size_bytes);
    *out = image;
    changed(pod, image, "volume-resized");
    return 0;
}

static void rename_image(struct pod *pod, struct image *image, const char *name)
{
    take_out(pod, image);
    strcpy(image->info.name, name);
    insert(pod, image);
}

static int volume_rename(struct pod *pod, struct pod_manage *req, struct image **out)
{
    int status = find_volume(pod, req->name, out, &req->error);
    if (!status)
        status = pod_check_volume_name(req->new_name, &req->error);
    if (!status)
        status = check_free(pod, req->new_name, &req->error);
    if (status)
        return status;
    rename_image(pod, *out, req->new_name);
    for (bool again = true; again;) { /* renaming reorders the table */
        again = false;
        for (size_t i = 0; i < pod->nimages && !again; i++) {
            struct image *snapshot = pod->images[i];
            const char *own = strchr(snapshot->info.name, '@');
            if (snapshot->info.volume_id != (*out)->info.id || !own ||
                (strncmp(snapshot->info.name, req->new_name, strlen(req->new_name)) == 0 &&
                 own == snapshot->info.name + strlen(req->new_name)))
                continue;
            char full[POD_FULL_NAME_MAX + 1];
            (void)snprintf(full, sizeof full, "%s%s", req->new_name, own);
            rename_image(pod, snapshot, full);
            changed(pod, snapshot, "snapshot-renamed");
            again = true;
        }
    }
    changed(pod, *out, "volume-renamed");
    return 0;
}

static int check_closed(const struct image *image, const struct pod_manage *req, struct ps_error *err)
{
    if (image->handles == 0 || req->force)
        return 0;
    return ps_error_set(err, PS_EPRECONDITION, "'%s' is in use by %u connections", image->info.name,
                        image->handles);
}

static int volume_delete(struct pod *pod, struct pod_manage *req)
{
    struct image *volume;
    int status = find_volume(pod, req->name, &volume, &req->error);
    if (!status)
        status = check_closed(volume, req, &req->error);
    if (status)
        return status;
    struct pod_image_info info;
    info_of(pod, volume, &info);
    if (info.snapshots > 0 && !req->with_snapshots)
        return ps_error_set(&req->error, PS_EPRECONDITION,
                            "'%s' has %u snapshots: delete them first, or with it", req->name,
                            info.snapshots);
    for (size_t i = 0; i < pod->nimages; i++)
        if (pod->images[i]->info.volume_id == info.id) {
            status = check_closed(pod->images[i], req, &req->error);
            if (status)
                return status;
        }
    for (size_t i = 0; i < pod->nimages;)
        if (pod->images[i]->info.volume_id == info.id)
            image_delete(pod, pod->images[i], "snapshot-deleted");
        else
            i++;
    req->image = info;
    image_delete(pod, volume, "volume-deleted");
    return 0;
}

static int snapshot_create(struct pod *pod, struct pod_manage *req, struct image **out)
{
    char volume_name[POD_NAME_MAX + 1], own[POD_NAME_MAX + 1];
    struct image *volume;
    int status = pod_check_snapshot_name(req->name, volume_name, own, &req->error);
    if (!status)
        status = find_volume(pod, volume_name, &volume, &req->error);
    if (!status)
        status = check_free(pod, req->name, &req->error);
    if (status)
        return status;
    *out = image_make(pod, POD_SNAPSHOT, req->name, req->now_unix_ns);
    (*out)->info.volume_id = volume->info.id;
    fake_image_copy(*out, volume);
    changed(pod, *out, "snapshot-created");
    return 0;
}

/* Snapshots are found behind their volumes, and skipped then. */
static int snapshot_all(struct pod *pod, struct pod_manage *req, struct image **out)
{
    struct pod_manage one = *req;
    char volume[POD_NAME_MAX + 1];
    for (size_t i = 0; i < pod->nimages; i++) {
        if (pod->images[i]->info.kind != POD_VOLUME)
            continue;
        (void)snprintf(volume, sizeof volume, "%.*s", POD_NAME_MAX, pod->images[i]->info.name);
        (void)snprintf(one.name, sizeof one.name, "%s@%.*s", volume, POD_NAME_MAX, req->name);
        const int status = snapshot_create(pod, &one, out);
        if (status) {
            req->error = one.error;
            return status;
        }
        req->count++;
    }
    return req->count ? 0 : PS_ENOTFOUND;
}

static int snapshot_delete(struct pod *pod, struct pod_manage *req)
{
    struct image *snapshot;
    int status = find_snapshot(pod, req->name, &snapshot, &req->error);
    if (!status)
        status = check_closed(snapshot, req, &req->error);
    if (status)
        return status;
    info_of(pod, snapshot, &req->image);
    image_delete(pod, snapshot, "snapshot-deleted");
    return 0;
}

static int snapshot_restore(struct pod *pod, struct pod_manage *req, struct image **out)
{
    struct image *snapshot;
    int status = find_snapshot(pod, req->name, &snapshot, &req->error);
    if (status)
        return status;
    *out = find_id(pod, snapshot->info.volume_id);
    assert(*out);
    fake_image_copy(*out, snapshot);
    changed(pod, *out, "volume-restored");
    return 0;
}

static int clone_create(struct pod *pod, struct pod_manage *req, struct image **out)
{
    struct image *snapshot;
    int status = find_snapshot(pod, req->name, &snapshot, &req->error);
    if (!status)
        status = pod_check_volume_name(req->new_name, &req->error);
    if (!status)
        status = check_free(pod, req->new_name, &req->error);
    if (status)
        return status;
    *out = image_make(pod, POD_VOLUME, req->new_name, req->now_unix_ns);
    (*out)->info.origin_id = snapshot->info.id;
    (*out)->info.write_cache = req->write_cache;
    fake_image_copy(*out, snapshot);
    changed(pod, *out, "clone-created");
    return 0;
}

static int manage_now(struct pod *pod, struct pod_manage *req)
{
    struct image *image = NULL;
    int status = pod_check_expected(pod, req);
    if (status)
        return status;
    status = PS_EINVAL;
    switch (req->op) {
    case POD_VOLUME_CREATE:
        status = volume_create(pod, req, &image);
        break;
    case POD_VOLUME_RESIZE:
        status = volume_resize(pod, req, &image);
        break;
    case POD_VOLUME_RENAME:
        status = volume_rename(pod, req, &image);
        break;
    case POD_VOLUME_DELETE:
        status = volume_delete(pod, req);
        break;
    case POD_VOLUME_SET:
        status = find_volume(pod, req->name, &image, &req->error);
        if (!status) {
            image->info.write_cache = req->write_cache;
            changed(pod, image, "volume-changed");
        }
        break;
    case POD_SNAPSHOT_CREATE:
        status = snapshot_create(pod, req, &image);
        break;
    case POD_SNAPSHOT_ALL:
        status = snapshot_all(pod, req, &image);
        break;
    case POD_SNAPSHOT_DELETE:
        status = snapshot_delete(pod, req);
        break;
    case POD_SNAPSHOT_RESTORE:
        status = snapshot_restore(pod, req, &image);
        break;
    case POD_CLONE_CREATE:
        status = clone_create(pod, req, &image);
        break;
    }
    if (!status && image)
        info_of(pod, image, &req->image);
    return status;
}

int pod_fake_manage(struct pod *pod, struct pod_manage *req)
{
    static const uint8_t none[16];
    const bool named = memcmp(req->operation_id, none, sizeof none) != 0;
    for (unsigned i = 0; named && i < REMEMBERED; i++) {
        const struct remembered *seen = &pod->remembered[i];
        if (memcmp(seen->operation_id, req->operation_id, sizeof none) == 0) {
            req->error = seen->error;
            req->image = seen->image;
            return seen->status;
        }
    }
    req->error = (struct ps_error){0};
    const int status = manage_now(pod, req);
    if (named) {
        struct remembered *slot_ = &pod->remembered[pod->next_remembered++ % REMEMBERED];
        memcpy(slot_->operation_id, req->operation_id, sizeof none);
        slot_->status = status;
        slot_->error = req->error;
        slot_->image = req->image;
    }
    return status;
}

int pod_manage(struct pod *pod, struct pod_manage *req, pod_manage_cb cb)
{
    if (pod->opening || pod->stopping)
        return PS_EUNAVAILABLE;
    req->cb = cb;
    pod->manage_in_flight++;
    list_push_back(&pod->manage, &req->link);
    return 0;
}

/* ---- statistics and life */

/* Bytes that are all the same are a pattern, all else is new and does not shrink. */
int pod_measure(struct pod *pod, const void *data, uint32_t blocks, struct pod_measured *out)
{
    const uint8_t *at = data;
    if (pod->stopping || pod->told_opening)
        return PS_EUNAVAILABLE;
    for (uint32_t i = 0; i < blocks; i++, at += POD_BLOCK_BYTES) {
        const bool same = memcmp(at, at + 1, POD_BLOCK_BYTES - 1) == 0;
        out[i] = (struct pod_measured){same ? POD_MEASURED_PATTERN : POD_MEASURED_NEW, same ? 0 : 64, 0};
        if (!same)
            memcpy(&out[i].key, at, sizeof out[i].key);
    }
    return 0;
}

void pod_scrub(struct pod *pod)
{
    pod->scrubs++;
}

void pod_collect(struct pod *pod)
{
    pod->collecting = true;
}

void pod_scrub_look(const struct pod *pod, struct pod_scrub_info *out)
{
    *out = (struct pod_scrub_info){.passes = pod->scrubs};
}

void pod_deep(struct pod *pod)
{
    pod->deeps++;
}

/* Each check finds one thing, and one record is lost. */
void pod_deep_look(const struct pod *pod, struct pod_deep_info *out)
{
    *out = (struct pod_deep_info){.runs = pod->deeps,
                                  .damage = pod->deeps ? 1 : 0,
                                  .images = 2,
                                  .pages = 3,
                                  .blocks = 4,
                                  .passes = 1,
                                  .took_ns = 5000000,
                                  .findings = pod->deeps ? 1 : 0,
                                  .losses = pod->deeps ? 1 : 0};
}

int pod_deep_finding(const struct pod *pod, uint32_t index, struct pod_finding *out)
{
    if (!pod->deeps || index)
        return PS_ENOTFOUND;
    *out = (struct pod_finding){.subject = 77, .text = "block 77 lives, and nothing refers to it"};
    return 0;
}

int pod_loss(const struct pod *pod, uint32_t index, struct pod_finding *out)
{
    if (!pod->deeps || index)
        return PS_ENOTFOUND;
    *out = (struct pod_finding){
        .subject = 9, .image = 1, .lba = 16, .blocks = 8, .text = "group 9 is at LBA 16 to 23 of v"};
    return 0;
}

void pod_stats(struct pod *pod, struct pod_stats *out)
{
    *out = (struct pod_stats){
        .collecting = pod->collecting,
        .capacity = pod->capacity == UINT64_MAX ? 1ull << 40 : pod->capacity,
        .host_read = pod->read_bytes,
        .host_written = pod->written_bytes,
        .reads = pod->counts[POD_READ],
        .writes = pod->counts[POD_WRITE],
        .flushes = pod->counts[POD_FLUSH],
        .trims = pod->counts[POD_TRIM],
        .memory_budget = pod->config.memory_budget,
        .log_seq = pod->log_seq,
        .role = pod->role,
        .opening = pod->opening || pod->told_opening,
    };
    for (size_t i = 0; i < pod->nimages; i++) {
        const struct pod_image_info *info = &pod->images[i]->info;
        out->logical += info->space.logical;
        out->unique_blocks += info->space.unique / POD_BLOCK_BYTES;
        out->stored_bytes += info->space.stored;
        out->volumes += info->kind == POD_VOLUME;
        out->snapshots += info->kind == POD_SNAPSHOT;
    }
    out->free_bytes = out->stored_bytes < out->capacity ? out->capacity - out->stored_bytes : 0;
}

int pod_open(struct blkdev *dev, const struct pod_config *config, enum pod_format format, pod_open_cb cb,
             void *user, struct ps_error *err, struct pod **opening)
{
    (void)dev;
    (void)format;
    (void)err;
    struct pod *pod = calloc(1, sizeof *pod);
    assert(pod);
    pod->config = *config;
    pod->next_id = 1;
    pod->capacity = UINT64_MAX;
    pod->opening = true;
    pod->open_cb = cb;
    pod->open_user = user;
    list_init(&pod->queue);
    list_init(&pod->done);
    list_init(&pod->manage);
    *opening = pod;
    return 0;
}

uint64_t pod_turn(struct pod *pod, uint64_t now_ns)
{
    if (pod->opening) {
        pod->opening = false;
        pod->open_cb(pod->open_user, 0, pod);
    }
    if (pod->hold)
        return UINT64_MAX;
    struct list_node managed;
    list_init(&managed);
    list_splice_back(&managed, &pod->manage);
    while (!list_empty(&pod->queue)) {
        struct list_node *node = list_pop_front(&pod->queue);
        struct pod_io *io = container_of(node, struct pod_io, link);
        if (io->image->opening == pod->openings)
            take_effect(pod, io);
        else
            io->status = changes(io->op) ? PS_ENOTPRIMARY : PS_EUNAVAILABLE;
        list_push_back(&pod->done, node);
    }
    deliver(pod);
    while (!list_empty(&managed)) {
        struct pod_manage *req = container_of(list_pop_front(&managed), struct pod_manage, link);
        const int status = pod_fake_manage(pod, req);
        pod->manage_in_flight--;
        req->cb(req, status);
    }
    if (pod->close_cb && pod->in_flight == 0 && pod->manage_in_flight == 0) {
        void (*cb)(void *user) = pod->close_cb;
        pod->close_cb = NULL;
        cb(pod->close_user);
        return UINT64_MAX; /* the callback may have destroyed the pod */
    }
    return list_empty(&pod->queue) && list_empty(&pod->done) && list_empty(&pod->manage) ? UINT64_MAX
                                                                                         : now_ns;
}

void pod_close(struct pod *pod, void (*cb)(void *user), void *user)
{
    assert(!pod->stopping);
    pod->stopping = true;
    pod->close_cb = cb;
    pod->close_user = user;
}

void pod_destroy(struct pod *pod)
{
    for (size_t i = 0; i < pod->nimages; i++) {
        assert(pod->images[i]->handles == 0 || !pod->stopping);
        fake_image_free(pod->images[i]);
    }
    free(pod->images);
    free(pod);
}

/* ---- knobs */

static void opened(void *user, int status, struct pod *pod)
{
    (void)user;
    (void)pod;
    assert(status == 0);
}

struct pod *pod_fake_create(void)
{
    static const struct pod_config config = {.name = "default", .dedupe = true, .compression = true};
    struct pod *pod;
    const int status = pod_open(NULL, &config, POD_FORMAT_BLANK, opened, NULL, NULL, &pod);
    assert(status == 0);
    (void)pod_turn(pod, 0);
    return pod;
}

void pod_fake_volume(struct pod *pod, const char *name, uint64_t size_bytes)
{
    struct pod_manage req = {.op = POD_VOLUME_CREATE, .size_bytes = size_bytes};
    (void)snprintf(req.name, sizeof req.name, "%s", name);
    const int status = pod_fake_manage(pod, &req);
    assert(status == 0);
}

void pod_fake_snapshot(struct pod *pod, const char *name)
{
    struct pod_manage req = {.op = POD_SNAPSHOT_CREATE};
    (void)snprintf(req.name, sizeof req.name, "%s", name);
    const int status = pod_fake_manage(pod, &req);
    assert(status == 0);
}

void pod_fake_hold(struct pod *pod, bool hold)
{
    pod->hold = hold;
}

void pod_fake_fail_next(struct pod *pod, int status)
{
    pod->fail_next = status;
}

void pod_fake_shuffle(struct pod *pod, uint64_t seed)
{
    pod->random = seed;
}

void pod_fake_set_capacity(struct pod *pod, uint64_t bytes)
{
    pod->capacity = bytes;
}

void pod_fake_set_opening(struct pod *pod, bool opening)
{
    pod->told_opening = opening;
}

void pod_fake_lead(struct pod *pod, bool lead)
{
    pod->openings += pod->role == POD_LEADING && !lead;
    pod->role = lead ? POD_LEADING : POD_STANDBY;
}

uint32_t pod_fake_in_flight(const struct pod *pod)
{
    return pod->in_flight;
}

uint64_t pod_fake_count(const struct pod *pod, enum pod_io_op op)
{
    return pod->counts[op];
}
