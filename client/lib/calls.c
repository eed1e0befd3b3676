/* Requests as messages, and answers as results.
 *
 * Nothing that a node sends is believed before it fits: text that is too long
 * for its field, a missing part or a count beyond what was asked for ends the
 * request with PS_EPROTOCOL. Encoding and UTF-8 were checked below. */
#include <stdlib.h>
#include <string.h>

#include "client/lib/answers.h"
#include "pstorage/v1/block_io.pb-c.h"
#include "pstorage/v1/clones.pb-c.h"
#include "pstorage/v1/events.pb-c.h"
#include "pstorage/v1/snapshots.pb-c.h"
#include "pstorage/v1/status.pb-c.h"
#include "pstorage/v1/volumes.pb-c.h"

/* ---- images */

static bool take_image(const Pstorage__V1__Image *m, struct pstorage_info *out)
{
    struct pstorage_info info = {0};
    if (!m || m->id == 0 || !copy(info.name, sizeof info.name, m->name) ||
        !copy(info.pod, sizeof info.pod, m->pod))
        return false;
    if (m->kind != PSTORAGE__V1__IMAGE_KIND__IMAGE_KIND_VOLUME &&
        m->kind != PSTORAGE__V1__IMAGE_KIND__IMAGE_KIND_SNAPSHOT)
        return false;
    info.kind = m->kind == PSTORAGE__V1__IMAGE_KIND__IMAGE_KIND_VOLUME ? PSTORAGE_VOLUME : PSTORAGE_SNAPSHOT;
    info.id = m->id;
    info.size_bytes = m->size_bytes;
    info.created_unix_ns = m->created_unix_ns;
    info.volume_id = m->volume_id;
    info.origin_id = m->origin_id;
    info.write_cache = m->write_cache;
    info.open_count = m->open_count;
    info.snapshot_count = m->snapshot_count;
    info.tag = m->tag;
    if (m->space) {
        info.space = (struct pstorage_space){
            .logical_bytes = m->space->logical_bytes,
            .pattern_bytes = m->space->pattern_bytes,
            .duplicate_bytes = m->space->duplicate_bytes,
            .unique_bytes = m->space->unique_bytes,
            .stored_bytes = m->space->stored_bytes,
        };
    }
    if (m->activity) {
        info.activity = (struct pstorage_activity){
            .reads = m->activity->reads,
            .read_bytes = m->activity->read_bytes,
            .writes = m->activity->writes,
            .written_bytes = m->activity->written_bytes,
            .trims = m->activity->trims,
            .flushes = m->activity->flushes,
        };
    }
    if (m->held) {
        info.held = (struct pstorage_held){
            .known = true,
            .computed_unix_ns = m->held->computed_unix_ns,
            .referenced_blocks = m->held->referenced_blocks,
            .referenced_bytes = m->held->referenced_bytes,
            .exclusive_blocks = m->held->exclusive_blocks,
            .exclusive_bytes = m->held->exclusive_bytes,
            .reclaimable_blocks = m->held->reclaimable_blocks,
            .reclaimable_bytes = m->held->reclaimable_bytes,
        };
    }
    *out = info;
    return true;
}

/* ---- manage */

static struct pstorage_manage *manage_of(struct call *call)
{
    return (struct pstorage_manage *)(void *)call->request;
}

static int send_change(struct call *call, const ProtobufCServiceDescriptor *service, const char *method,
                       const ProtobufCMessage *message)
{
    memcpy(call->rpc.operation_id, manage_of(call)->operation_id, sizeof call->rpc.operation_id);
    return call_send(call, service, method, message);
}

/* All of a manage request's strings are checked to be there when it is submitted. */
/* `room` lives as long as the message. */
static Pstorage__V1__Expectation *expect(const struct call *call, Pstorage__V1__Expectation *room)
{
    const struct pstorage_manage *g = (const struct pstorage_manage *)(const void *)call->request;
    pstorage__v1__expectation__init(room);
    room->id = g->expect_id;
    room->tag = g->expect_tag;
    return g->expect_id || g->expect_tag ? room : NULL;
}

static int send_get(struct call *call)
{
    Pstorage__V1__GetVolumeRequest m = PSTORAGE__V1__GET_VOLUME_REQUEST__INIT;
    m.name = text(manage_of(call)->name);
    m.id = manage_of(call)->name ? 0 : manage_of(call)->expect_id;
    return call_send(call, &pstorage__v1__volumes__descriptor, "Get", &m.base);
}

static int send_create(struct call *call)
{
    const struct pstorage_manage *g = manage_of(call);
    Pstorage__V1__CreateVolumeRequest m = PSTORAGE__V1__CREATE_VOLUME_REQUEST__INIT;
    m.name = text(g->name);
    m.size_bytes = g->size_bytes;
    m.write_cache = g->write_cache;
    m.pod = text(g->pod);
    return send_change(call, &pstorage__v1__volumes__descriptor, "Create", &m.base);
}

static int send_resize(struct call *call)
{
    const struct pstorage_manage *g = manage_of(call);
    Pstorage__V1__Expectation expected;
    Pstorage__V1__ResizeVolumeRequest m = PSTORAGE__V1__RESIZE_VOLUME_REQUEST__INIT;
    m.name = text(g->name);
    m.size_bytes = g->size_bytes;
    m.allow_shrink = g->allow_shrink;
    m.expect = expect(call, &expected);
    return send_change(call, &pstorage__v1__volumes__descriptor, "Resize", &m.base);
}

static int send_rename(struct call *call)
{
    const struct pstorage_manage *g = manage_of(call);
    Pstorage__V1__Expectation expected;
    Pstorage__V1__RenameVolumeRequest m = PSTORAGE__V1__RENAME_VOLUME_REQUEST__INIT;
    m.name = text(g->name);
    m.new_name = text(g->new_name);
    m.expect = expect(call, &expected);
    return send_change(call, &pstorage__v1__volumes__descriptor, "Rename", &m.base);
}

static int send_delete(struct call *call)
{
    const struct pstorage_manage *g = manage_of(call);
    Pstorage__V1__Expectation expected;
    Pstorage__V1__DeleteVolumeRequest m = PSTORAGE__V1__DELETE_VOLUME_REQUEST__INIT;
    m.name = text(g->name);
    m.with_snapshots = g->with_snapshots;
    m.force = g->force;
    m.expect = expect(call, &expected);
    return send_change(call, &pstorage__v1__volumes__descriptor, "Delete", &m.base);
}

static int send_set(struct call *call)
{
    const struct pstorage_manage *g = manage_of(call);
    Pstorage__V1__Expectation expected;
    Pstorage__V1__SetVolumeRequest m = PSTORAGE__V1__SET_VOLUME_REQUEST__INIT;
    m.name = text(g->name);
    m.write_cache = g->write_cache ? PSTORAGE__V1__SWITCH__SWITCH_ON : PSTORAGE__V1__SWITCH__SWITCH_OFF;
    m.expect = expect(call, &expected);
    return send_change(call, &pstorage__v1__volumes__descriptor, "Set", &m.base);
}

static int send_snapshot_create(struct call *call)
{
    Pstorage__V1__CreateSnapshotRequest m = PSTORAGE__V1__CREATE_SNAPSHOT_REQUEST__INIT;
    m.name = text(manage_of(call)->name);
    return send_change(call, &pstorage__v1__snapshots__descriptor, "Create", &m.base);
}

static int send_snapshot_delete(struct call *call)
{
    Pstorage__V1__Expectation expected;
    Pstorage__V1__DeleteSnapshotRequest m = PSTORAGE__V1__DELETE_SNAPSHOT_REQUEST__INIT;
    m.name = text(manage_of(call)->name);
    m.force = manage_of(call)->force;
    m.expect = expect(call, &expected);
    return send_change(call, &pstorage__v1__snapshots__descriptor, "Delete", &m.base);
}

static int send_snapshot_restore(struct call *call)
{
    Pstorage__V1__Expectation expected;
    Pstorage__V1__RestoreSnapshotRequest m = PSTORAGE__V1__RESTORE_SNAPSHOT_REQUEST__INIT;
    m.name = text(manage_of(call)->name);
    m.expect = expect(call, &expected);
    return send_change(call, &pstorage__v1__snapshots__descriptor, "Restore", &m.base);
}

static int send_clone(struct call *call)
{
    const struct pstorage_manage *g = manage_of(call);
    Pstorage__V1__Expectation expected;
    Pstorage__V1__CreateCloneRequest m = PSTORAGE__V1__CREATE_CLONE_REQUEST__INIT;
    m.snapshot = text(g->name);
    m.new_name = text(g->new_name);
    m.expect = expect(call, &expected);
    return send_change(call, &pstorage__v1__clones__descriptor, "Create", &m.base);
}

static int take_info(struct call *call, const Pstorage__V1__Image *image)
{
    return take_image(image, &manage_of(call)->info) ? PS_OK : nonsense(call, "no image in it");
}

static int take_volume(struct call *call, const struct rpc_reply *reply)
{
    return take_info(call, ((const Pstorage__V1__VolumeResponse *)(const void *)reply->message)->volume);
}

static int take_snapshot(struct call *call, const struct rpc_reply *reply)
{
    return take_info(call, ((const Pstorage__V1__SnapshotResponse *)(const void *)reply->message)->image);
}

static int send_snapshot_all(struct call *call)
{
    Pstorage__V1__CreateAllSnapshotsRequest m = PSTORAGE__V1__CREATE_ALL_SNAPSHOTS_REQUEST__INIT;
    m.pod = text(manage_of(call)->pod);
    m.name = text(manage_of(call)->name);
    return send_change(call, &pstorage__v1__snapshots__descriptor, "CreateAll", &m.base);
}

static int take_snapshot_all(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__SnapshotResponse *m = (const void *)reply->message;
    manage_of(call)->count = m->count;
    return take_info(call, m->image);
}

static int take_clone(struct call *call, const struct rpc_reply *reply)
{
    return take_info(call, ((const Pstorage__V1__CreateCloneResponse *)(const void *)reply->message)->volume);
}

const struct request_kind *kind_of_manage(enum pstorage_manage_op op)
{
    static const struct request_kind kinds[] = {
        [PSTORAGE_IMAGE_GET] = {send_get, take_volume, NULL, true},
        [PSTORAGE_VOLUME_CREATE] = {send_create, take_volume, NULL, true},
        [PSTORAGE_VOLUME_RESIZE] = {send_resize, take_volume, NULL, true},
        [PSTORAGE_VOLUME_RENAME] = {send_rename, take_volume, NULL, true},
        [PSTORAGE_VOLUME_DELETE] = {send_delete, take_volume, NULL, true},
        [PSTORAGE_VOLUME_SET] = {send_set, take_volume, NULL, true},
        [PSTORAGE_SNAPSHOT_CREATE] = {send_snapshot_create, take_snapshot, NULL, true},
        [PSTORAGE_SNAPSHOT_DELETE] = {send_snapshot_delete, take_snapshot, NULL, true},
        [PSTORAGE_SNAPSHOT_RESTORE] = {send_snapshot_restore, take_snapshot, NULL, true},
        [PSTORAGE_CLONE_CREATE] = {send_clone, take_clone, NULL, true},
        [PSTORAGE_SNAPSHOT_ALL] = {send_snapshot_all, take_snapshot_all, NULL, true},
    };
    const size_t i = (size_t)op;
    return i < sizeof kinds / sizeof kinds[0] && kinds[i].send ? &kinds[i] : NULL;
}

/* ---- lists: page after page; the token of the next one is the request's scratch */

static int send_list(struct call *call)
{
    const struct pstorage_list *l = (const struct pstorage_list *)(const void *)call->request;
    char *token = text(state_of(call->request)->scratch);
    if (l->kind == PSTORAGE_VOLUME) {
        Pstorage__V1__ListVolumesRequest m = PSTORAGE__V1__LIST_VOLUMES_REQUEST__INIT;
        m.page_size = CLIENT_PAGE;
        m.page_token = token;
        m.pod = text(l->of);
        return call_send(call, &pstorage__v1__volumes__descriptor, "List", &m.base);
    }
    Pstorage__V1__ListSnapshotsRequest m = PSTORAGE__V1__LIST_SNAPSHOTS_REQUEST__INIT;
    m.page_size = CLIENT_PAGE;
    m.page_token = token;
    m.volume = text(l->of);
    return call_send(call, &pstorage__v1__snapshots__descriptor, "List", &m.base);
}

static int take_page(struct call *call, Pstorage__V1__Image *const *images, size_t count, const char *next)
{
    struct pstorage_list *l = (struct pstorage_list *)(void *)call->request;
    struct request_state *s = state_of(call->request);
    if (count > CLIENT_PAGE || (count == 0 && *next))
        return nonsense(call, "a page of a wrong size");
    if (l->count + count > CLIENT_LIST_MAX)
        return ps_error_set(error_of(call), PS_ELIMIT, "more than %d images", CLIENT_LIST_MAX);
    if (count) {
        struct pstorage_info *grown = realloc(l->items, (l->count + count) * sizeof *grown);
        if (!grown)
            return no_memory(call);
        l->items = grown;
    }
    for (size_t i = 0; i < count; i++)
        if (!take_image(images[i], &l->items[l->count++]))
            return nonsense(call, "an image without a name or kind");
    free(s->scratch);
    s->scratch = NULL;
    if (!*next)
        return PS_OK;
    s->scratch = strdup(next);
    return s->scratch ? AGAIN : no_memory(call);
}

static int take_list(struct call *call, const struct rpc_reply *reply)
{
    if (((const struct pstorage_list *)(const void *)call->request)->kind == PSTORAGE_VOLUME) {
        const Pstorage__V1__ListVolumesResponse *m = (const void *)reply->message;
        return take_page(call, m->volumes, m->n_volumes, m->next_page_token);
    }
    const Pstorage__V1__ListSnapshotsResponse *m = (const void *)reply->message;
    return take_page(call, m->snapshots, m->n_snapshots, m->next_page_token);
}

const struct request_kind kind_list = {send_list, take_list, NULL, true};

/* ---- open */

int image_take_open(struct pstorage_image *image, const ProtobufCMessage *message)
{
    const Pstorage__V1__OpenResponse *m = (const void *)message;
    if (m->handle == 0 || m->max_io_bytes < 512 || m->max_io_bytes > RPC_PAYLOAD_MAX ||
        m->max_io_bytes % 512 != 0 || !take_image(m->image, &image->info))
        return PS_EPROTOCOL;
    image->handle = m->handle;
    image->connection = image->client->connection;
    image->limits = (struct pstorage_limits){
        .max_io_bytes = m->max_io_bytes,
        .block_bytes = m->block_bytes,
        .atomic_bytes = m->atomic_bytes,
        .read_only = m->read_only,
    };
    return PS_OK;
}

static int send_open(struct call *call)
{
    const struct pstorage_open *o = (const struct pstorage_open *)(const void *)call->request;
    Pstorage__V1__OpenRequest m = PSTORAGE__V1__OPEN_REQUEST__INIT;
    m.name = text(o->name);
    m.read_only = o->read_only;
    return call_send(call, &pstorage__v1__block_io__descriptor, "Open", &m.base);
}

static int take_open(struct call *call, const struct rpc_reply *reply)
{
    struct pstorage_open *o = (struct pstorage_open *)(void *)call->request;
    struct pstorage_image *image = image_create(call->client, o->name);
    if (!image)
        return no_memory(call);
    if (image_take_open(image, reply->message)) {
        image_free(image);
        return nonsense(call, "an image that cannot be opened");
    }
    image->opened_info = image->info;
    image->opened_limits = image->limits;
    o->image = image;
    return PS_OK;
}

const struct request_kind kind_open = {send_open, take_open, NULL, true};

/* ---- block I/O */

static struct pstorage_io *io_of(struct call *call)
{
    return (struct pstorage_io *)(void *)call->request;
}

static uint64_t handle_of(struct call *call)
{
    return state_of(call->request)->image->handle;
}

static int send_read(struct call *call)
{
    Pstorage__V1__ReadRequest m = PSTORAGE__V1__READ_REQUEST__INIT;
    m.handle = handle_of(call);
    m.offset = io_of(call)->offset;
    m.length = (uint32_t)io_of(call)->length;
    return call_send(call, &pstorage__v1__block_io__descriptor, "Read", &m.base);
}

static int take_read(struct call *call, const struct rpc_reply *reply)
{
    struct pstorage_io *io = io_of(call);
    if (reply->payload_bytes != io->length)
        return nonsense(call, "less or more data than was asked for");
    memcpy(io->buffer, reply->payload, io->length);
    return PS_OK;
}

static int send_write(struct call *call)
{
    const struct pstorage_io *io = io_of(call);
    Pstorage__V1__WriteRequest m = PSTORAGE__V1__WRITE_REQUEST__INIT;
    m.handle = handle_of(call);
    m.offset = io->offset;
    m.fua = (io->flags & PSTORAGE_FUA) != 0;
    call->rpc.payload = io->buffer;
    call->rpc.payload_bytes = io->length;
    return call_send(call, &pstorage__v1__block_io__descriptor, "Write", &m.base);
}

static int send_trim(struct call *call)
{
    const struct pstorage_io *io = io_of(call);
    Pstorage__V1__TrimRequest m = PSTORAGE__V1__TRIM_REQUEST__INIT;
    m.handle = handle_of(call);
    m.offset = io->offset;
    m.length = io->length;
    m.fua = (io->flags & PSTORAGE_FUA) != 0;
    return call_send(call, &pstorage__v1__block_io__descriptor, "Trim", &m.base);
}

static int send_write_zero(struct call *call)
{
    const struct pstorage_io *io = io_of(call);
    Pstorage__V1__WriteZeroesRequest m = PSTORAGE__V1__WRITE_ZEROES_REQUEST__INIT;
    m.handle = handle_of(call);
    m.offset = io->offset;
    m.length = io->length;
    m.no_hole = (io->flags & PSTORAGE_NO_HOLE) != 0;
    m.fua = (io->flags & PSTORAGE_FUA) != 0;
    return call_send(call, &pstorage__v1__block_io__descriptor, "WriteZeroes", &m.base);
}

static int take_change(struct call *call, const struct rpc_reply *reply)
{
    (void)reply;
    if (!(io_of(call)->flags & PSTORAGE_FUA))
        state_of(call->request)->image->writes++;
    return PS_OK;
}

static int send_flush(struct call *call)
{
    Pstorage__V1__FlushRequest m = PSTORAGE__V1__FLUSH_REQUEST__INIT;
    m.handle = handle_of(call);
    call->writes_before = state_of(call->request)->image->writes;
    return call_send(call, &pstorage__v1__block_io__descriptor, "Flush", &m.base);
}

static int take_flush(struct call *call, const struct rpc_reply *reply)
{
    (void)reply;
    struct pstorage_image *image = state_of(call->request)->image;
    if (call->writes_before > image->flushed)
        image->flushed = call->writes_before;
    return PS_OK;
}

static int send_extents(struct call *call)
{
    const struct pstorage_io *io = io_of(call);
    Pstorage__V1__ExtentsRequest m = PSTORAGE__V1__EXTENTS_REQUEST__INIT;
    m.handle = handle_of(call);
    m.offset = io->offset;
    m.length = io->length;
    m.max_extents = io->max_extents < CLIENT_EXTENTS_MAX ? io->max_extents : CLIENT_EXTENTS_MAX;
    return call_send(call, &pstorage__v1__block_io__descriptor, "Extents", &m.base);
}

static int take_extents(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__ExtentsResponse *m = (const void *)reply->message;
    struct pstorage_io *io = io_of(call);
    uint64_t left = io->length;
    if (m->n_extents == 0 || m->n_extents > io->max_extents)
        return nonsense(call, "a wrong number of extents");
    for (size_t i = 0; i < m->n_extents; i++) {
        const Pstorage__V1__Extent *e = m->extents[i];
        if (e->length_bytes == 0 || e->length_bytes > left || e->length_bytes % 512 != 0)
            return nonsense(call, "extents that do not fit the range");
        if (e->kind < PSTORAGE__V1__EXTENT_KIND__EXTENT_KIND_DATA ||
            e->kind > PSTORAGE__V1__EXTENT_KIND__EXTENT_KIND_HOLE)
            return nonsense(call, "an extent of an unknown kind");
        io->extents[i] = (struct pstorage_extent){e->length_bytes, (enum pstorage_extent_kind)e->kind};
        left -= e->length_bytes;
    }
    io->nextents = (uint32_t)m->n_extents;
    return PS_OK;
}

const struct request_kind *kind_of_io(enum pstorage_io_op op)
{
    static const struct request_kind kinds[] = {
        [PSTORAGE_READ] = {send_read, take_read, NULL, true},
        [PSTORAGE_WRITE] = {send_write, take_change, NULL, false},
        [PSTORAGE_TRIM] = {send_trim, take_change, NULL, false},
        [PSTORAGE_WRITE_ZERO] = {send_write_zero, take_change, NULL, false},
        [PSTORAGE_FLUSH] = {send_flush, take_flush, NULL, true},
        [PSTORAGE_EXTENTS] = {send_extents, take_extents, NULL, true},
    };
    const size_t i = (size_t)op;
    return i < sizeof kinds / sizeof kinds[0] && kinds[i].send ? &kinds[i] : NULL;
}

/* ---- status */

static int send_report(struct call *call)
{
    Pstorage__V1__GetNodeRequest m = PSTORAGE__V1__GET_NODE_REQUEST__INIT;
    const struct pstorage_report *r = (const struct pstorage_report *)(void *)call->request;
    const char *method = r->deep_check ? "DeepCheck"
                         : r->scrub    ? "Scrub"
                         : r->collect  ? "Collect"
                                       : "GetNode";
    return call_send(call, &pstorage__v1__status__descriptor, method, &m.base);
}

/* False: no memory. */
static bool take_findings(Pstorage__V1__PodFinding *const *from, size_t count, struct pstorage_finding **out,
                          size_t *out_count)
{
    struct pstorage_finding *to = calloc(count + 1, sizeof *to);
    if (!to)
        return false;
    for (size_t i = 0; i < count; i++) {
        to[i] = (struct pstorage_finding){.subject = from[i]->subject,
                                          .image_id = from[i]->image_id,
                                          .lba = from[i]->lba,
                                          .blocks = from[i]->blocks};
        (void)snprintf(to[i].text, sizeof to[i].text, "%s", from[i]->text);
    }
    *out = to;
    *out_count = count;
    return true;
}

static bool take_deep_check(const Pstorage__V1__PodDeepCheck *m, struct pstorage_deep_check *d)
{
    d->running = m->running != 0;
    d->permille = m->permille;
    d->runs = m->runs;
    d->failed = m->failed != 0;
    (void)snprintf(d->why, sizeof d->why, "%s", m->why);
    d->damage = m->damage;
    d->images = m->images;
    d->pages = m->pages;
    d->blocks = m->blocks;
    d->passes = m->passes;
    d->ended_ms_ago = m->ended_ms_ago;
    d->took_ms = m->took_ms;
    return take_findings(m->findings, m->n_findings, &d->findings, &d->nfindings);
}

static bool take_pod(const Pstorage__V1__PodStatus *m, struct pstorage_pod *p)
{
    if (!copy(p->name, sizeof p->name, m->name) || !copy(p->failure, sizeof p->failure, m->failure))
        return false;
    if (m->state != PSTORAGE__V1__POD_STATE__POD_STATE_ONLINE &&
        m->state != PSTORAGE__V1__POD_STATE__POD_STATE_READ_ONLY)
        return false;
    p->state =
        m->state == PSTORAGE__V1__POD_STATE__POD_STATE_ONLINE ? PSTORAGE_POD_ONLINE : PSTORAGE_POD_READ_ONLY;
#define SAME(part, name) p->name = m->part->name
    if (m->space) {
        SAME(space, capacity_bytes), SAME(space, free_bytes), SAME(space, reserve_bytes),
            SAME(space, logical_bytes);
        SAME(space, unique_blocks), SAME(space, stored_bytes), SAME(space, metadata_bytes),
            SAME(space, garbage_bytes), SAME(space, open_bytes), SAME(space, mapped_bytes);
        SAME(space, metadata_single_bytes);
        SAME(space, volumes), SAME(space, snapshots), SAME(space, releasing);
    }
    if (m->reduction) {
        SAME(reduction, host_read_bytes), SAME(reduction, host_written_bytes);
        SAME(reduction, pattern_removed_bytes), SAME(reduction, dedup_removed_bytes);
        SAME(reduction, compress_in_bytes), SAME(reduction, compress_out_bytes);
        SAME(reduction, flash_written_data_bytes), SAME(reduction, flash_written_metadata_bytes),
            SAME(reduction, flash_written_moved_bytes);
    }
    if (m->activity) {
        SAME(activity, reads), SAME(activity, writes), SAME(activity, flushes), SAME(activity, trims);
        SAME(activity, cache_hits), SAME(activity, cache_misses), SAME(activity, batches),
            SAME(activity, checkpoints);
        SAME(activity, dedup_compares), SAME(activity, checksum_errors), SAME(activity, dedup_index_entries);
        SAME(activity, dedup_index_capacity), SAME(activity, memory_bytes),
            SAME(activity, memory_budget_bytes);
        SAME(activity, log_seq), SAME(activity, repaired_reads), SAME(activity, repaired_metadata);
        SAME(activity, collected_segments), SAME(activity, collect_moved_bytes);
        SAME(activity, collect_read_bytes), SAME(activity, collect_waits);
        SAME(activity, cold_in_bytes), SAME(activity, cold_out_bytes);
        SAME(activity, scrub_permille), SAME(activity, scrub_passes), SAME(activity, scrub_read_bytes);
        SAME(activity, scrub_damaged), SAME(activity, scrub_ended_ms_ago);
        p->scrub_running = m->activity->scrub_running != 0;
        p->collecting = m->activity->collecting != 0;
        p->dedup_index_loading = m->activity->dedup_index_loading != 0;
    }
#undef SAME
    if (m->deep_check && !take_deep_check(m->deep_check, &p->deep_check))
        return false;
    return take_findings(m->losses, m->n_losses, &p->losses, &p->nlosses);
}

static bool take_device(const Pstorage__V1__DeviceStatus *m, struct pstorage_device *d)
{
    d->size_bytes = m->size_bytes;
    d->read_ops = m->read_ops;
    d->read_bytes = m->read_bytes;
    d->write_ops = m->write_ops;
    d->write_bytes = m->write_bytes;
    d->flush_ops = m->flush_ops;
    d->erase_ops = m->erase_ops;
    d->errors = m->errors;
    d->failed = m->failed != 0;
    if (m->state > PSTORAGE__V1__DEVICE_STATE__DEVICE_STATE_LEAVING || m->rebuilt_percent > 100 ||
        m->vacated_percent > 100)
        return false;
    d->state = (enum pstorage_device_state)m->state;
    d->rebuilt_percent = m->rebuilt_percent;
    d->vacated_percent = m->vacated_percent;
    return copy(d->name, sizeof d->name, m->name);
}

static int take_report(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__GetNodeResponse *m = (const void *)reply->message;
    struct pstorage_report *r = (struct pstorage_report *)(void *)call->request;
    struct pstorage_node *n = &r->node;
    if (!m->node || !copy(n->name, sizeof n->name, m->node->name) ||
        !copy(n->software, sizeof n->software, m->node->software))
        return nonsense(call, "no node in it");
    n->started_unix_ns = m->node->started_unix_ns;
    n->now_unix_ns = m->node->now_unix_ns;
    n->rpc_connections = m->node->rpc_connections;
    n->rpc_calls = m->node->rpc_calls;
    n->rpc_refused = m->node->rpc_refused;
    (void)snprintf(n->endpoint, sizeof n->endpoint, "%.127s", endpoints_url(&call->client->endpoints));

    r->pods = calloc(m->n_pods + 1, sizeof *r->pods);
    r->devices = calloc(m->n_devices + 1, sizeof *r->devices);
    if (!r->pods || !r->devices)
        return no_memory(call);
    /* One that is taken in part is cleared, too. */
    while (r->npods < m->n_pods) {
        const size_t i = r->npods++;
        if (!take_pod(m->pods[i], &r->pods[i]))
            return nonsense(call, "a pod without a state");
    }
    for (; r->ndevices < m->n_devices; r->ndevices++)
        if (!take_device(m->devices[r->ndevices], &r->devices[r->ndevices]))
            return nonsense(call, "a device's name is too long");
    return PS_OK;
}

const struct request_kind kind_report = {send_report, take_report, NULL, true};

/* ---- events */

/* Text that is too long is cut: a stream must not end for it. */
static void take_event(const Pstorage__V1__Event *m, struct pstorage_event *e)
{
    *e = (struct pstorage_event){
        .cursor = m->cursor, .time_unix_ns = m->time_unix_ns, .image_id = m->image_id};
    (void)snprintf(e->kind, sizeof e->kind, "%s", m->kind);
    (void)snprintf(e->pod, sizeof e->pod, "%s", m->pod);
    (void)snprintf(e->text, sizeof e->text, "%s", m->text);
}

static int send_events(struct call *call)
{
    const struct pstorage_events *e = (const struct pstorage_events *)(const void *)call->request;
    Pstorage__V1__ListEventsRequest m = PSTORAGE__V1__LIST_EVENTS_REQUEST__INIT;
    m.after_cursor = e->after_cursor;
    m.limit = e->limit;
    return call_send(call, &pstorage__v1__events__descriptor, "List", &m.base);
}

static int take_events(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__ListEventsResponse *m = (const void *)reply->message;
    struct pstorage_events *e = (struct pstorage_events *)(void *)call->request;
    if (m->n_events > CLIENT_PAGE)
        return nonsense(call, "too many events");
    e->items = calloc(m->n_events + 1, sizeof *e->items);
    if (!e->items)
        return no_memory(call);
    for (; e->count < m->n_events; e->count++)
        take_event(m->events[e->count], &e->items[e->count]);
    e->last_cursor = m->last_cursor;
    return PS_OK;
}

const struct request_kind kind_events = {send_events, take_events, NULL, true};

/* "From now on" is first asked for as a cursor, so that a connection lost
 * before the first event costs none. */
static int send_follow(struct call *call)
{
    const struct pstorage_follow *f = (const struct pstorage_follow *)(const void *)call->request;
    if (f->from_now) {
        Pstorage__V1__ListEventsRequest m = PSTORAGE__V1__LIST_EVENTS_REQUEST__INIT;
        m.after_cursor = INT64_MAX;
        m.limit = 1;
        call->rpc.on_message = NULL;
        return call_send(call, &pstorage__v1__events__descriptor, "List", &m.base);
    }
    Pstorage__V1__FollowEventsRequest m = PSTORAGE__V1__FOLLOW_EVENTS_REQUEST__INIT;
    m.after_cursor = f->after_cursor;
    return call_send(call, &pstorage__v1__events__descriptor, "Follow", &m.base);
}

static void on_event(struct rpc_request *rpc, const ProtobufCMessage *message)
{
    struct call *call = container_of(rpc, struct call, rpc);
    struct request_state *s = state_of(call->request);
    struct pstorage_follow *f = (struct pstorage_follow *)(void *)call->request;
    if (s->ended || s->cancelled)
        return;
    struct pstorage_event event;
    take_event((const void *)message, &event);
    f->after_cursor = event.cursor;
    s->repeats = 0; /* it works: the next lost connection is the first again */
    if (!f->on_event(f, &event)) {
        s->ended = true;
        rpc_client_cancel(call->client->rpc, rpc);
    }
}

static int take_follow(struct call *call, const struct rpc_reply *reply)
{
    struct pstorage_follow *f = (struct pstorage_follow *)(void *)call->request;
    if (!f->from_now)
        return ps_error_set(error_of(call), PS_EUNAVAILABLE, "the node ended the stream of events");
    f->after_cursor = ((const Pstorage__V1__ListEventsResponse *)(const void *)reply->message)->last_cursor;
    f->from_now = false;
    return AGAIN;
}

const struct request_kind kind_follow = {send_follow, take_follow, on_event, true};
