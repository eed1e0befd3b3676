/* A pod's life and its turn. */
#include "node/pod/pod.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"

enum {
    TURN_ROUNDS = 16
};

void pod_place_ref(void *user, struct place place, int delta)
{
    struct pod *pod = user;
    const uint32_t segment = place_segment(pod, place);
    if (pod->state == POD_OPENING)
        (void)segments_adopt(pod->segments, segment, SEGMENT_META);
    segments_add_live(pod->segments, segment, delta * (int64_t)place_len(place));
}

void pod_event(struct pod *pod, const char *kind, uint64_t image, const char *format, ...)
{
    char text[256];
    if (!pod->config.event)
        return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pod->config.event(pod->config.user, kind, image, text);
}

/* ---- making and ending */

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(BLKDEV_ALIGN, bytes);
    assert(p && "out of memory at start");
    return p;
}

static void make_batches(struct pod *pod)
{
    list_init(&pod->free_batches);
    list_init(&pod->in_flight);
    for (int i = 0; i < BATCHES; i++) {
        struct batch *b = &pod->batches[i];
        b->pod = pod;
        b->buf = aligned(BATCH_MAX_BYTES);
        b->fingerprints = aligned((size_t)BATCH_BLOCKS_MAX * FINGERPRINT_MAX_BYTES);
        b->lines = aligned((size_t)BATCH_RECORDS_MAX * BATCH_LINE_BYTES);
        b->scatter_buf =
            aligned((record_bound(RECORD_MAX_BLOCKS) + BLKDEV_ALIGN - 1) / BLKDEV_ALIGN * BLKDEV_ALIGN);
        b->scatter_fingerprints = aligned(BLKDEV_ALIGN);
        list_init(&b->pieces);
        list_push_back(&pod->free_batches, &b->link);
    }
}

static void make_queues(struct pod *pod)
{
    struct list_node *const lists[] = {
        &pod->submitted,    &pod->draining,       &pod->waiting,    &pod->reads,        &pod->flushes,
        &pod->done,         &pod->managing,       &pod->managed,    &pod->free_pieces,  &pod->free_waiters,
        &pod->free_fetches, &pod->active_fetches, &pod->free_loads, &pod->active_loads, &pod->parked,
        &pod->record_reads, &pod->records_read,
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        list_init(lists[i]);
    pod->pieces = calloc(PIECES, sizeof pod->pieces[0]);
    pod->waiters = calloc(WAITERS, sizeof pod->waiters[0]);
    pod->operations = calloc(OPERATIONS, sizeof pod->operations[0]);
    assert(pod->pieces && pod->waiters && pod->operations);
    for (int i = 0; i < PIECES; i++)
        list_push_back(&pod->free_pieces, &pod->pieces[i].link);
    for (int i = 0; i < WAITERS; i++)
        list_push_back(&pod->free_waiters, &pod->waiters[i].link);
    for (int i = 0; i < BOUNCES; i++)
        pod->bounces[pod->bounce_count++] = aligned((size_t)PIECE_BLOCKS * POD_BLOCK_BYTES);
    for (int i = 0; i < FETCHES; i++) {
        struct fetch *f = &pod->fetches[i];
        f->pod = pod;
        list_init(&f->waiters);
        f->buf = aligned((RECORD_MAX_BYTES + 3 * (size_t)BLKDEV_ALIGN - 1) / BLKDEV_ALIGN * BLKDEV_ALIGN);
        list_push_back(&pod->free_fetches, &f->link);
    }
    for (int i = 0; i < LOADS; i++) {
        struct load *l = &pod->loads[i];
        l->pod = pod;
        l->buf = aligned(4 * (size_t)BLKDEV_ALIGN);
        list_push_back(&pod->free_loads, &l->link);
    }
}

/* Half of the budget is for metadata pages, a quarter each for blocks and the dedup
 * index; what is fixed (batches, buffers, queues) comes off the first. */
static void make_caches(struct pod *pod)
{
    const uint64_t budget = pod->config.memory_budget;
    const uint64_t own = pod->config.metadata_cache_bytes;
    const struct meta_config meta = {
        .cache_bytes = own ? own : budget / 2 - (48ull << 20), .place_ref = pod_place_ref, .user = pod};
    const struct block_cache_config cache = {
        .budget_bytes = budget / 4,
        .max_pinned = BATCHES * BATCH_BLOCKS_MAX + RECORD_MAX_BLOCKS,
        .memory = pod->config.memory,
    };
    pod->meta = meta_create(&meta);
    pod->meta_pages = meta.cache_bytes / (META_SLOTS * sizeof(uint64_t));
    pod->view = view_create(pod->meta, SHADOWS);
    pod->images = images_create();
    pod->cache = block_cache_create(&cache);
    pod->dedup = dedup_index_create(budget / 4, pod->config.memory);
    pod->codec = record_codec_create();
    assert(pod->cache && pod->dedup && pod->codec && "out of memory at start");
}

/* All that an opening needs; config and dev are set. */
static void make_parts(struct pod *pod)
{
    pod->state = POD_OPENING;
    pod->events = 1;
    (void)snprintf(pod->name, sizeof pod->name, "%s", pod->config.name ? pod->config.name : "default");
    pod->tail = pod->applied = (struct position){SEGMENT_NONE, 0, SEGMENT_NONE};
    pod->algorithm = !pod->config.compression ? RECORD_PLAIN : pod->config.zstd ? RECORD_ZSTD : RECORD_LZ4;
    pod->fingerprint = pod->config.sha256 ? FINGERPRINT_SHA256 : FINGERPRINT_XXH3_128;
    make_batches(pod);
    make_queues(pod);
    make_caches(pod);
    checkpoint_init(pod);
    collect_init(pod);
    deep_init(pod);
    anchor_writer_init(pod);
    follow_init(pod);
    log_read_init(pod);
    zones_init(pod);
    pod->role = pod_is_replicated(pod) ? POD_STANDBY : POD_ALONE;
    pod->commit_seq = pod_is_replicated(pod) ? 0 : UINT64_MAX;
    pod->limit_free = UINT64_MAX;
}

int pod_open(struct blkdev *dev, const struct pod_config *config, enum pod_format format, pod_open_cb cb,
             void *user, struct ps_error *err, struct pod **opening)
{
    if (config->memory_budget < POD_MEMORY_MIN)
        return ps_error_set(err, PS_EINVAL, "a memory budget of %llu bytes; a pod needs at least %llu",
                            (unsigned long long)config->memory_budget, POD_MEMORY_MIN);
    const uint64_t zone = dev->geometry.zoned ? dev->geometry.erase_bytes : 0;
    const uint64_t least = zone > SEGMENT_BYTES_DEFAULT ? zone : SEGMENT_BYTES_DEFAULT;
    const uint64_t segment = config->segment_bytes ? config->segment_bytes : least;
    if (segment < 2 * BATCH_MAX_BYTES || segment > 1u << 30 || (segment & (segment - 1)))
        return ps_error_set(err, PS_EINVAL,
                            "segments of %llu bytes; a power of two from 2 MiB to 1 GiB is possible",
                            (unsigned long long)segment);
    assert((!config->check_only || format == POD_OPEN_ONLY) && "what is checked is not made");
    struct pod *pod = calloc(1, sizeof *pod);
    assert(pod);
    pod->config = *config;
    pod->config.segment_bytes = segment;
    pod->dev = dev;
    make_parts(pod);
    open_begin(pod, format, cb, user, err);
    *opening = pod;
    return 0;
}

void pod_close(struct pod *pod, void (*cb)(void *user), void *user)
{
    if (pod->state == POD_FILLING) { /* there is nothing to make a checkpoint of */
        pod_abandon(pod, cb, user);
        return;
    }
    pod->state = POD_CLOSING;
    pod->closed = cb;
    pod->closed_user = user;
    pod->again = true;
}

static void free_parts(struct pod *pod)
{
    index_load_drop(pod);
    scrub_free(pod);
    deep_free(pod); /* before what it looks at */
    copy_out_free(pod);
    copy_in_free(pod);
    open_free(pod);
    checkpoint_free(pod);
    collect_free(pod);
    anchor_writer_free(pod);
    follow_free(pod);
    log_read_free(pod);
    free(pod->restart.buf);
    for (int i = 0; i < BATCHES; i++) {
        struct batch *b = &pod->batches[i];
        for (uint32_t p = 0; p < b->pinned_count; p++)
            block_cache_unpin(pod->cache, b->pinned[p]);
        free(b->buf);
        free(b->fingerprints);
        free(b->lines);
        free(b->scatter_buf);
        free(b->scatter_fingerprints);
    }
    for (int i = 0; i < PIECES; i++)
        free(pod->pieces[i].bounce);
    for (uint32_t i = 0; i < pod->bounce_count; i++)
        free(pod->bounces[i]);
    for (int i = 0; i < FETCHES; i++)
        free(pod->fetches[i].buf);
    for (int i = 0; i < LOADS; i++)
        free(pod->loads[i].buf);
    free(pod->pieces);
    free(pod->waiters);
    free(pod->operations);
    view_destroy(pod->view);
    meta_destroy(pod->meta);
    images_destroy(pod->images);
    block_cache_destroy(pod->cache);
    dedup_index_destroy(pod->dedup);
    record_codec_destroy(pod->codec);
    if (pod->segments)
        segments_destroy(pod->segments);
}

void pod_destroy(struct pod *pod)
{
    free_parts(pod);
    free(pod);
}

/* ---- opening anew */

/* The pod ends for good. */
static void end_sizing(struct pod *pod)
{
    grow_stop(pod, PS_EUNAVAILABLE);
    vacate_end(pod, PS_EUNAVAILABLE);
    resize_deliver(pod);
}

static void on_reopened(void *user, int status, struct pod *opened)
{
    struct pod *pod = user;
    (void)opened;
    pod->failed |= status != 0;
    if (status)
        end_sizing(pod);
    pod->reopened(pod->reopened_user, status);
}

/* What was asked for of its size goes on after it. */
static void keep_sizing(struct pod *pod, const struct pod *was)
{
    pod->growth = was->growth;
    pod->vacate = was->vacate;
    pod->vacate.logging = false;
    pod->grow_end = was->grow_end;
    pod->vacate_end = was->vacate_end;
}

void pod_reopen_now(struct pod *pod)
{
    const struct pod_config config = pod->config;
    struct blkdev *const dev = pod->dev;
    const uint64_t now_ns = pod->now_ns, openings = pod->openings;
    void (*const reopened)(void *, int) = pod->reopened;
    void *const reopened_user = pod->reopened_user;
    const struct pod was = *pod;
    free_parts(pod);
    memset(pod, 0, sizeof *pod);
    pod->config = config;
    pod->dev = dev;
    pod->now_ns = now_ns;
    pod->openings = openings + 1;
    pod->reopened = reopened;
    pod->reopened_user = reopened_user;
    keep_sizing(pod, &was);
    make_parts(pod);
    pod->again = true;
    open_begin(pod, POD_OPEN_ONLY, on_reopened, pod, NULL);
}

static void reopen_now(void *user)
{
    pod_reopen_now(user);
}

void pod_reopen(struct pod *pod, void (*cb)(void *user, int status), void *user)
{
    pod->reopened = cb;
    pod->reopened_user = user;
    pod_abandon(pod, reopen_now, pod);
}

void pod_move(struct pod *pod, struct blkdev *dev)
{
    assert(!dev->geometry.zoned && !pod->dev->geometry.zoned &&
           dev->geometry.size_bytes >= pod->label.device_bytes);
    pod->dev = dev;
}

/* ---- being filled */

static void fill_now(void *user)
{
    struct pod *pod = user;
    const struct pod was = *pod;
    pod->copy_in = NULL;
    free_parts(pod);
    memset(pod, 0, sizeof *pod);
    pod->config = was.config;
    pod->dev = was.dev;
    pod->now_ns = was.now_ns;
    pod->openings = was.openings + 1;
    keep_sizing(pod, &was);
    make_parts(pod);
    pod->state = POD_FILLING;
    pod->label = was.label;
    pod->label_at = was.label_at;
    pod->anchor = was.anchor;
    pod->run = was.run;
    pod->generation = was.generation;
    pod->epoch = was.epoch;
    pod->segment_bytes = was.segment_bytes;
    pod->segment_count = was.segment_count;
    pod->reserve_segments = was.reserve_segments;
    memcpy(pod->name, was.name, sizeof pod->name);
    pod->segments = segments_create(was.segment_count, was.segment_bytes, SYSTEM_SEGMENTS);
    zones_look(pod, 0);
    log_read_segments(pod);
    pod->copy_in = was.copy_in;
    pod->again = true;
    copy_in_start(pod);
}

void pod_fill(struct pod *pod)
{
    pod_abandon(pod, fill_now, pod);
}

static void fill_turn(struct pod *pod)
{
    anchor_writer_turn(pod);
    copy_in_turn(pod);
}

/* ---- images */

static bool is_stale(const struct pod_image *handle)
{
    return handle->opening != handle->pod->openings;
}

struct image *pod_image_target(const struct pod_image *handle)
{
    if (is_stale(handle))
        return NULL;
    struct image *image = images_get(handle->pod->images, handle->id);
    return image && !image->deleted ? image : NULL;
}

int pod_image_open(struct pod *pod, const char *name, struct pod_image **out, struct ps_error *err)
{
    if (pod->role == POD_STANDBY || pod->state != POD_SERVING)
        return ps_error_set(err, PS_EUNAVAILABLE, "\"%.130s\": this node is on standby", name);
    struct image *image = images_find(pod->images, name);
    if (!image)
        return ps_error_set(err, PS_ENOTFOUND, "\"%.130s\" not found", name);
    struct pod_image *handle = malloc(sizeof *handle);
    assert(handle);
    *handle = (struct pod_image){pod, image->id, pod->openings, NULL};
    if (pod->config.uses && image->kind == IMAGE_VOLUME)
        handle->use = image_uses_open(pod->config.uses, image->id, image->size_bytes);
    image->opened++;
    *out = handle;
    return 0;
}

void pod_image_close(struct pod_image *handle)
{
    struct image *image = is_stale(handle) ? NULL : images_get(handle->pod->images, handle->id);
    if (image)
        image->opened--;
    if (handle->use)
        image_use_close(handle->use);
    free(handle);
}

int pod_image_info(const struct pod_image *handle, struct pod_image_info *out)
{
    const struct image *image = pod_image_target(handle);
    if (!image)
        return PS_ENOTFOUND;
    image_info(handle->pod, image, out);
    return 0;
}

/* ---- submission */

static bool is_write(enum pod_io_op op)
{
    return op == POD_WRITE || op == POD_TRIM || op == POD_WRITE_ZERO;
}

static int check_io(const struct pod *pod, const struct pod_io *io)
{
    const struct image *image = pod_image_target(io->image);
    if (pod->state != POD_SERVING || pod->role == POD_STANDBY || is_stale(io->image))
        return PS_EUNAVAILABLE;
    if (!image)
        return PS_ENOTFOUND;
    if (io->op == POD_FLUSH)
        return 0;
    if (io->offset % POD_SECTOR_BYTES || io->length % POD_SECTOR_BYTES || io->length == 0)
        return PS_EINVAL;
    if ((io->op == POD_READ || io->op == POD_WRITE) && io->length > POD_MAX_IO_BYTES)
        return PS_EINVAL;
    if (io->offset > image->limit_bytes || io->length > image->limit_bytes - io->offset)
        return PS_ERANGE;
    if (is_write(io->op) && image->kind == IMAGE_SNAPSHOT)
        return PS_EREADONLY;
    return is_write(io->op) && pod->failed ? PS_EIO : 0;
}

static void flush_accept(struct pod *pod, struct pod_io *io)
{
    /* What was answered and then lost with the pod stays lost. */
    io->seq = pod->failed                               ? UINT64_MAX
              : pod->open && !batch_is_empty(pod->open) ? pod->open->header.seq
                                                        : pod->sealed_seq;
    list_push_back(&pod->flushes, &io->link);
}

static void read_or_park(struct pod *pod, struct pod_io *io)
{
    if (role_may_read(pod))
        read_accept(pod, io);
    else
        role_park(pod, io);
}

static void count_use(struct pod_io *io)
{
    static const enum image_use_op ops[] = {
        [POD_READ] = IMAGE_USE_READ,       [POD_WRITE] = IMAGE_USE_WRITE, [POD_TRIM] = IMAGE_USE_TRIM,
        [POD_WRITE_ZERO] = IMAGE_USE_TRIM, [POD_FLUSH] = IMAGE_USE_FLUSH, [POD_EXTENTS] = IMAGE_USE_OPS,
        [POD_PREFETCH] = IMAGE_USE_OPS};
    io->use.use = NULL;
    if (io->image->use && ops[io->op] != IMAGE_USE_OPS)
        image_use_begin(io->image->use, &io->use, ops[io->op], io->offset, io->length);
}

int pod_submit(struct pod *pod, struct pod_io *io, pod_io_cb cb)
{
    const int rc = check_io(pod, io);
    if (rc)
        return rc;
    io->cb = cb;
    io->status = 0;
    io->ticket = 0;
    pod->again = true;
    struct image *image = pod_image_target(io->image);
    count_use(io);
    switch (io->op) {
    case POD_WRITE:
        pod->stats.writes++;
        image->writes++;
        image->written_bytes += io->length;
        write_accept(pod, io);
        break;
    case POD_TRIM:
    case POD_WRITE_ZERO:
        pod->stats.trims++;
        image->trims++;
        write_accept(pod, io);
        break;
    case POD_FLUSH:
        pod->stats.flushes++;
        image->flushes++;
        flush_accept(pod, io);
        break;
    case POD_READ:
        pod->stats.reads++;
        image->reads++;
        image->read_bytes += io->length;
        pod->host_read += io->length;
        read_or_park(pod, io);
        break;
    case POD_EXTENTS:
        read_or_park(pod, io);
        break;
    case POD_PREFETCH:
        read_accept(pod, io);
        break;
    }
    return 0;
}

/* ---- the turn */

static void deliver(struct pod *pod)
{
    if (pod->config.uses && !list_empty(&pod->done))
        image_uses_ending(pod->config.uses);
    for (struct list_node *n; (n = list_pop_front(&pod->done));) {
        struct pod_io *io = container_of(n, struct pod_io, link);
        image_use_end(&io->use, io->status == 0);
        io->cb(io, io->status);
    }
    for (struct list_node *n; (n = list_pop_front(&pod->managed));) {
        struct pod_manage *req = container_of(n, struct pod_manage, link);
        req->cb(req, req->error.status);
    }
    log_read_deliver(pod);
    repair_deliver(pod);
    resize_deliver(pod);
}

static bool is_drained(const struct pod *pod)
{
    return list_empty(&pod->submitted) && list_empty(&pod->waiting) && list_empty(&pod->draining) &&
           list_empty(&pod->reads) && list_empty(&pod->flushes) && list_empty(&pod->managing) && !pod->open &&
           pod->in_flight_count == 0 && list_empty(&pod->active_fetches) && list_empty(&pod->active_loads) &&
           list_empty(&pod->parked) && follow_is_quiet(pod) && !restart_holds_log(pod) &&
           anchor_writer_is_idle(pod) && pod->log_reading == 0 && list_empty(&pod->log_reads) &&
           list_empty(&pod->record_reads) && list_empty(&pod->records_read) && copy_out_is_quiet(pod) &&
           copy_in_is_quiet(pod) && zones_are_quiet(pod) && collect_is_quiet(pod) && deep_is_quiet(pod) &&
           scrub_is_quiet(pod);
}

static void abandon_turn(struct pod *pod)
{
    index_load_stop(pod);
    if (!is_drained(pod) || index_load_busy(pod) || pod->checkpoint.state != CHECKPOINT_IDLE ||
        !list_empty(&pod->done) || !list_empty(&pod->managed))
        return;
    if (pod->closed != reopen_now && pod->closed != fill_now)
        end_sizing(pod);
    pod->state = POD_CLOSED;
    pod->closed(pod->closed_user);
}

static void close_turn(struct pod *pod)
{
    index_load_stop(pod);
    if (!is_drained(pod) || index_load_busy(pod))
        return;
    if (!pod->failed && pod->checkpoint.state == CHECKPOINT_IDLE && !pod->closed_cut) {
        pod->checkpoint.wanted = true;
        checkpoint_turn(pod);
    }
    if (pod->checkpoint.state != CHECKPOINT_IDLE || (!pod->failed && !pod->closed_cut))
        return;
    end_sizing(pod);
    pod->state = POD_CLOSED;
    pod->closed(pod->closed_user);
}

static void serve_turn(struct pod *pod)
{
    restart_turn(pod);
    follow_turn(pod);
    commit_turn(pod);
    manage_turn(pod);
    write_turn(pod);
    background_turn(pod);
    if (pod->open && batch_is_empty(pod->open))
        batch_cancel(pod);
    if (batch_may_ship(pod) && !pod->failed)
        batch_ship(pod);
    role_turn(pod);
    repair_turn(pod);
    read_turn(pod);
    grow_turn(pod);
    vacate_turn(pod);
    collect_turn(pod);
    checkpoint_turn(pod);
    copy_out_turn(pod);
    anchor_writer_turn(pod);
    index_load_turn(pod);
    zones_turn(pod);
}

uint64_t pod_turn(struct pod *pod, uint64_t now_ns)
{
    pod->now_ns = now_ns;
    int rounds = 0;
    if (pod->config.uses)
        image_uses_turn(pod->config.uses, now_ns);
    do {
        pod->again = false;
        zones_deliver(pod);
        if (pod->state == POD_OPENING)
            open_turn(pod);
        else if (pod->state == POD_FILLING)
            fill_turn(pod);
        else if (pod->state != POD_CLOSED && pod->state != POD_CHECKED)
            serve_turn(pod);
        deliver(pod);
        if (pod->state == POD_CLOSING)
            close_turn(pod);
        else if (pod->state == POD_ABANDONING)
            abandon_turn(pod);
    } while (pod->again && pod->state != POD_CLOSED && ++rounds < TURN_ROUNDS);
    /* Once: what they may do in a turn they may do in each round. */
    deep_turn(pod);
    checkpoint_pick_turn(pod);
    if (pod->config.uses)
        image_uses_turned(pod->config.uses);
    if (pod->again && pod->state != POD_CLOSED)
        return now_ns;
    /* Nothing tells when reads may be answered again. */
    uint64_t ask = list_empty(&pod->parked) ? UINT64_MAX : now_ns + MAY_READ_RETRY_NS;
    const uint64_t slow = list_empty(&pod->waiting) ? 0 : role_slow_until(pod);
    if (slow && slow < ask)
        ask = slow;
    const uint64_t collect = collect_next_ns(pod);
    if (collect < ask)
        ask = collect;
    const uint64_t vacate = vacate_next_ns(pod);
    if (vacate < ask)
        ask = vacate;
    const uint64_t scrub = scrub_next_ns(pod);
    if (scrub < ask)
        ask = scrub;
    const uint64_t deep = deep_next_ns(pod);
    if (deep < ask)
        ask = deep;
    if (pod->state != POD_SERVING || pod->failed || !checkpoint_has_work(pod))
        return ask;
    /* The idle checkpoint; one that is due but held up is looked at again, not waited for in a loop. */
    const uint64_t due = pod->checkpoint.last_ns + CHECKPOINT_IDLE_NS;
    const uint64_t checkpoint = due > now_ns ? due : now_ns + CHECKPOINT_RETRY_NS;
    return ask < checkpoint ? ask : checkpoint;
}

/* ---- statistics */

/* What is left of a segment that is being filled; whole ones that are taken are counted apart. */
static uint64_t left_of(const struct pod *pod, uint32_t segment, uint32_t offset)
{
    return segment == SEGMENT_NONE || offset == 0 ? 0 : pod->segment_bytes - offset;
}

unsigned checkpoint_copies(const struct pod *pod)
{
    return pod->meta_segment != SEGMENT_NONE && segments_twin(pod->segments, pod->meta_segment) ? 2 : 1;
}

static uint64_t open_meta_bytes(const struct pod *pod)
{
    return left_of(pod, pod->meta_segment, pod->meta_offset) * checkpoint_copies(pod);
}

static uint64_t open_bytes(const struct pod *pod, const struct segments_stats *s)
{
    return (uint64_t)s->taken * pod->segment_bytes + left_of(pod, pod->tail.segment, pod->tail.offset) +
           open_meta_bytes(pod) + collect_open_bytes(pod);
}

/* Records that pages share count for each of them, so that a segment that is being filled may seem full. */
static uint64_t live_meta_bytes(const struct pod *pod, const struct segments_stats *s)
{
    const uint64_t written = s->used_meta - open_meta_bytes(pod);
    return s->live_meta < written ? s->live_meta : written;
}

void pod_stats(struct pod *pod, struct pod_stats *out)
{
    *out = pod->stats;
    struct images_counts images;
    images_count(pod->images, &images);
    out->opening = pod->state == POD_OPENING || pod->state == POD_FILLING;
    out->volumes = images.volumes;
    out->snapshots = images.snapshots;
    out->releasing = images.releasing;
    out->logical = (uint64_t)images.space.n[SPACE_LOGICAL] * POD_BLOCK_BYTES;
    out->mapped = out->logical - (uint64_t)images.space.n[SPACE_PATTERN] * POD_BLOCK_BYTES;
    if (pod->segments) {
        struct segments_stats s;
        segments_stats(pod->segments, &s);
        out->capacity = (uint64_t)(s.count - s.system - s.retired) * pod->segment_bytes;
        out->free_bytes = (uint64_t)s.free * pod->segment_bytes;
        out->reserve_bytes = (uint64_t)pod->reserve_segments * pod->segment_bytes;
        out->stored_bytes = s.live_log + s.live_moved;
        out->metadata_bytes = live_meta_bytes(pod, &s);
        out->metadata_single_bytes = s.single_meta;
        out->open_bytes = open_bytes(pod, &s);
        out->garbage_bytes =
            (s.used_log + s.used_moved + s.used_meta + (uint64_t)(s.taken + s.limbo) * pod->segment_bytes) -
            out->stored_bytes - out->metadata_bytes - out->open_bytes;
    }
    out->unique_blocks = pod->unique_blocks;
    out->host_read = pod->host_read;
    out->host_written = pod->counters[COUNTER_HOST_WRITTEN];
    out->pattern_removed = pod->counters[COUNTER_PATTERN_REMOVED];
    out->dedup_removed = pod->counters[COUNTER_DEDUP_REMOVED];
    out->compress_in = pod->counters[COUNTER_COMPRESS_IN];
    out->compress_out = pod->counters[COUNTER_COMPRESS_OUT];
    out->flash_written_data = pod->counters[COUNTER_DATA_PROGRAMMED];
    out->flash_written_metadata = pod->metadata_programmed;
    out->flash_written_moved = pod->moved_programmed;
    struct block_cache_stats cache;
    block_cache_stats(pod->cache, &cache);
    out->cache_hits = cache.hits;
    out->cache_misses = cache.misses;
    struct dedup_index_stats dedup;
    dedup_index_stats(pod->dedup, &dedup);
    out->dedup_index_entries = dedup.entries;
    out->dedup_index_capacity = dedup.capacity;
    out->dedup_index_loading = index_load_busy(pod);
    out->collecting = collect_is_asked(pod);
    struct meta_stats meta;
    meta_stats(pod->meta, &meta);
    out->memory_bytes = meta.memory_bytes + cache.memory_bytes + dedup.memory_bytes + deep_memory(pod);
    out->memory_budget = pod->config.memory_budget;
    out->log_seq = pod->applied_seq;
    out->role = pod->role;
    out->failed = pod->failed;
    memcpy(out->failure, pod->failure, sizeof out->failure);
}

bool pod_uses_flash(const struct pod *pod, uint64_t offset, uint64_t length)
{
    if (!pod->segments || pod->state == POD_OPENING || pod->state == POD_FILLING)
        return true;
    const uint64_t end = offset + length;
    for (uint64_t i = offset / pod->segment_bytes; i * pod->segment_bytes < end && i < pod->segment_count;
         i++) {
        const enum segment_state state = segments_state(pod->segments, (uint32_t)i);
        if (state != SEGMENT_FREE && state != SEGMENT_RETIRED)
            return true;
    }
    return false;
}
