/* Host reads: map, then cache or flash. Reads see what was answered: the
 * applied state, or with write_cache on (in a pod that stands alone) the planned one. */
#include <string.h>

#include "node/pod/pod_impl.h"
#include "node/reduction/pattern.h"

/* A standby takes no requests: this one is from when the pod led. Whoever took over may have answered others
 * since. */
static bool outlived_its_role(const struct pod *pod)
{
    return pod->abandoned || pod->role == POD_STANDBY;
}

static int outlived_status(const struct pod_io *io)
{
    const bool is_change = io->op == POD_WRITE || io->op == POD_TRIM || io->op == POD_WRITE_ZERO;
    return is_change && io->seq == 0 ? PS_ENOTPRIMARY : PS_EUNAVAILABLE;
}

void io_finish(struct pod *pod, struct pod_io *io, int status)
{
    io->status = outlived_its_role(pod) ? outlived_status(io) : status;
    list_push_back(&pod->done, &io->link);
    pod->again = true;
}

void io_part_done(struct pod *pod, struct pod_io *io, int status)
{
    assert(io->pending > 0);
    if (status && !io->status)
        io->status = status;
    if (--io->pending == 0)
        io_finish(pod, io, io->status);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What was planned when the pod failed is lost, its blocks are nowhere. */
static bool sees_planned(const struct pod *pod, const struct image *image)
{
    return image->write_cache && !pod->failed && !pod_is_replicated(pod);
}

static uint64_t root_for(const struct pod *pod, const struct image *image)
{
    return sees_planned(pod, image) ? image->planned_root : image->root;
}

/* ---- READ and PREFETCH */

/* One block's part. False: not now. */
static bool read_block(struct pod *pod, struct pod_io *io, uint64_t entry, uint32_t from, uint32_t bytes)
{
    uint8_t *dst = io->op == POD_READ ? (uint8_t *)io->buf + (io->cursor - io->offset) : NULL;
    if (!dst) {
        const uint64_t block = entry_id(entry);
        if (entry_type(entry) == ENTRY_DATA && !block_cache_peek(pod->cache, block))
            (void)fetch_to_cache(pod, block);
        return true;
    }
    bool stall = false;
    switch (entry_type(entry)) {
    case ENTRY_DATA:
        (void)fetch_block(pod, io, NULL, entry_id(entry), dst, from, bytes, &stall);
        return !stall;
    case ENTRY_PATTERN:
        pattern_fill(dst, bytes, from, (uint32_t)entry_id(entry));
        return true;
    default:
        memset(dst, 0, bytes);
        return true;
    }
}

/* Goes on from the cursor to the end (true) or to something that must come first. */
static bool read_on(struct pod *pod, struct pod_io *io, const struct image *image)
{
    const uint64_t end = io->offset + io->length;
    const uint64_t *slots = NULL;
    uint64_t leaf = UINT64_MAX, hole_end = 0;
    while (io->cursor < end) {
        const uint64_t lba = io->cursor / POD_BLOCK_BYTES;
        const uint32_t from = (uint32_t)(io->cursor % POD_BLOCK_BYTES);
        if (lba / META_SLOTS != leaf) {
            if (!map_leaf(pod->view, root_for(pod, image), image->depth, lba, sees_planned(pod, image),
                          &slots, &hole_end))
                return false;
            leaf = lba / META_SLOTS;
        }
        uint64_t bytes = least(POD_BLOCK_BYTES - from, end - io->cursor);
        if (!slots) {
            bytes = least(hole_end * POD_BLOCK_BYTES, end) - io->cursor;
            if (io->op == POD_READ)
                memset((uint8_t *)io->buf + (io->cursor - io->offset), 0, bytes);
            leaf = UINT64_MAX;
        } else if (!read_block(pod, io, slots[lba % META_SLOTS], from, (uint32_t)bytes)) {
            return false;
        }
        io->cursor += bytes;
    }
    return true;
}

/* ---- EXTENTS */

static bool extents_on(struct pod *pod, struct pod_io *io, const struct image *image)
{
    const uint64_t end = io->offset + io->length;
    while (io->cursor < end) {
        const uint64_t lba = io->cursor / POD_BLOCK_BYTES;
        const uint64_t *slots;
        uint64_t hole_end, next = (lba + 1) * POD_BLOCK_BYTES;
        if (!map_leaf(pod->view, root_for(pod, image), image->depth, lba, sees_planned(pod, image), &slots,
                      &hole_end))
            return false;
        enum pod_extent_kind kind = POD_EXTENT_HOLE;
        if (!slots) {
            next = hole_end * POD_BLOCK_BYTES;
        } else {
            const uint64_t entry = slots[lba % META_SLOTS];
            if (entry_type(entry) == ENTRY_DATA)
                kind = POD_EXTENT_DATA;
            else if (entry_type(entry) == ENTRY_PATTERN)
                kind = entry_id(entry) ? POD_EXTENT_DATA : POD_EXTENT_ZERO;
        }
        const uint64_t bytes = least(next, end) - io->cursor;
        struct pod_extent *last = io->nextents ? &io->extents[io->nextents - 1] : NULL;
        if (last && last->kind == kind)
            last->length_bytes += bytes;
        else if (io->nextents == io->max_extents)
            return true;
        else
            io->extents[io->nextents++] = (struct pod_extent){bytes, kind};
        io->cursor += bytes;
    }
    return true;
}

/* ---- */

/* True when nothing is left to start. */
static bool go_on(struct pod *pod, struct pod_io *io)
{
    const struct image *image = pod_image_target(io->image);
    if (!image) {
        io->status = PS_ENOTFOUND;
        return true;
    }
    /* The volume may have become smaller since, its map flatter. */
    if (io->offset + io->length > image->limit_bytes) {
        io->status = PS_ERANGE;
        return true;
    }
    view_missing_clear(pod->view);
    if (io->op == POD_EXTENTS ? extents_on(pod, io, image) : read_on(pod, io, image))
        return true;
    if (load_missing(pod)) {
        io->status = PS_EDATALOSS;
        return true;
    }
    io->seq = pod->events;
    return false;
}

/* Who reads on finds what comes next in the cache, or on its way. Best effort: stops at a page that is not in
 * memory, and leaves most of the fetches to those that are waited for. */
static void read_ahead(struct pod *pod, const struct pod_io *io, struct image *image)
{
    uint64_t from = io->offset + io->length;
    const uint64_t until = least(from + READ_AHEAD_BYTES, image->limit_bytes);
    const uint64_t *slots = NULL;
    uint64_t leaf = UINT64_MAX, hole_end = 0;
    if (from < image->ahead_end && image->ahead_end <= until)
        from = image->ahead_end;
    if (until - least(from, until) < READ_AHEAD_BYTES / 2 || !fetch_can_start(pod, FETCHES / 2))
        return;
    view_missing_clear(pod->view);
    for (uint64_t lba = from / POD_BLOCK_BYTES; lba < until / POD_BLOCK_BYTES; lba++) {
        if (lba / META_SLOTS != leaf && !map_leaf(pod->view, root_for(pod, image), image->depth, lba,
                                                  sees_planned(pod, image), &slots, &hole_end))
            return;
        leaf = lba / META_SLOTS;
        const uint64_t entry = slots ? slots[lba % META_SLOTS] : 0;
        if (entry_type(entry) == ENTRY_DATA && !block_cache_peek(pod->cache, entry_id(entry)) &&
            !fetch_to_cache(pod, entry_id(entry)))
            return;
        image->ahead_end = (lba + 1) * POD_BLOCK_BYTES;
    }
}

void read_accept(struct pod *pod, struct pod_io *io)
{
    io->cursor = io->offset;
    io->pending = 1; /* held until everything is started */
    io->nextents = 0;
    struct image *image = pod_image_target(io->image);
    io->ticket = image && io->offset == image->read_end;
    if (image)
        image->read_end = io->offset + io->length;
    if (go_on(pod, io))
        io_part_done(pod, io, 0);
    else
        list_push_back(&pod->reads, &io->link);
    if (image && io->op == POD_READ && io->ticket && io->length >= READ_AHEAD_LEAST)
        read_ahead(pod, io, image);
}

void read_turn(struct pod *pod)
{
    list_for_each_safe(node, after, &pod->reads)
    {
        struct pod_io *io = container_of(node, struct pod_io, link);
        if (!pod->abandoned && (io->seq == pod->events || !go_on(pod, io)))
            continue;
        list_remove(&io->link);
        io_part_done(pod, io, 0);
    }
}
