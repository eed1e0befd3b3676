/* Host writes. A request is cut into pieces of at most POD_ATOMIC_BYTES within which it is atomic; a piece
 * is hashed when it arrives and bound to the open batch when everything that its
 * plan needs is in memory, in the order of submission wherever pieces overlap. */
#include <string.h>

#include "node/pod/pod_impl.h"
#include "node/reduction/pattern.h"

enum {
    HELD_LEAST_BYTES = 256 * 1024
};

enum bound {
    BOUND,
    BOUND_LATER,
    BOUND_NO_ROOM
};

/* ---- pieces */

static struct piece *piece_take(struct pod *pod)
{
    struct list_node *node = list_pop_front(&pod->free_pieces);
    return node ? container_of(node, struct piece, link) : NULL;
}

void piece_release(struct pod *pod, struct piece *piece)
{
    pod->range_pieces -= piece->kind != PIECE_WRITE;
    if (piece->bounce)
        pod->bounces[pod->bounce_count++] = piece->bounce;
    piece->bounce = NULL;
    list_push_back(&pod->free_pieces, &piece->link);
}

/* Answers the host's part of the piece, once. */
void piece_answer(struct pod *pod, struct piece *piece, int status)
{
    struct pod_io *io = piece->io;
    piece->io = NULL;
    if (io)
        io_part_done(pod, io, status);
}

static bool overlap(const struct piece *a, uint64_t image, uint64_t lba, uint64_t count)
{
    return a->image_id == image && a->lba < lba + count && lba < a->lba + a->count;
}

static bool overlaps_any(const struct list_node *pieces, uint64_t image, uint64_t lba, uint64_t count)
{
    list_for_each(node,
                  pieces) if (overlap(container_of(node, struct piece, link), image, lba, count)) return true;
    return false;
}

bool write_overlaps_bound(struct pod *pod, uint64_t image, uint64_t lba, uint64_t count)
{
    if (pod->open && overlaps_any(&pod->open->pieces, image, lba, count))
        return true;
    list_for_each(node, &pod->in_flight)
    {
        if (overlaps_any(&container_of(node, struct batch, link)->pieces, image, lba, count))
            return true;
    }
    return false;
}

/* ---- cutting */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Patterns and fingerprints. */
static void look_at(struct pod *pod, struct piece *piece)
{
    for (uint32_t i = 0; i < piece->count; i++) {
        struct piece_block *pb = &piece->blocks[i];
        const uint8_t *data = piece->data + (size_t)i * POD_BLOCK_BYTES;
        *pb = (struct piece_block){.twin = (uint8_t)i};
        pb->is_pattern = pattern_detect(data, &pb->pattern);
        if (pb->is_pattern)
            continue;
        fingerprint_block(pod->fingerprint, data, &pb->fp);
        if (!pod->config.dedupe)
            continue;
        const uint64_t key = fingerprint_key(&pb->fp);
        dedup_index_prefetch(pod->dedup, key);
        for (uint32_t j = 0; j < i; j++)
            if (fingerprint_key(&piece->blocks[j].fp) == key && !piece->blocks[j].is_pattern &&
                memcmp(piece->data + (size_t)j * POD_BLOCK_BYTES, data, POD_BLOCK_BYTES) == 0) {
                pb->twin = piece->blocks[j].twin;
                break;
            }
    }
    piece->state = PIECE_READY;
}

/* The next piece of a write or of the partial edge of a write-zeroes. False: no room now. */
static bool cut_write(struct pod *pod, struct pod_io *io, uint64_t end)
{
    const uint64_t from = io->cursor, first = from / POD_BLOCK_BYTES, last = (end - 1) / POD_BLOCK_BYTES;
    const bool aligned = from % POD_BLOCK_BYTES == 0 && end % POD_BLOCK_BYTES == 0;
    const bool bounce = !aligned || io->op == POD_WRITE_ZERO;
    if (bounce && pod->bounce_count == 0)
        return false;
    struct piece *piece = piece_take(pod);
    if (!piece)
        return false;
    piece->kind = PIECE_WRITE;
    piece->lba = first;
    piece->count = (uint32_t)(last - first + 1);
    assert(piece->count <= PIECE_BLOCKS);
    piece->offset = from;
    piece->length = end - from;
    if (bounce) {
        piece->bounce = pod->bounces[--pod->bounce_count];
        piece->data = piece->bounce;
        piece->state = PIECE_UNALIGNED;
    } else {
        piece->data = (const uint8_t *)io->buf + (from - io->offset);
        look_at(pod, piece);
    }
    piece->io = io;
    list_push_back(&pod->waiting, &piece->link);
    io->cursor = end;
    return true;
}

/* True if blocks from `lba` on are a hole, up to *end, and durably so: what only a planned batch says may yet
 * be lost. */
static bool is_hole(struct pod *pod, uint64_t image_id, uint64_t lba, uint64_t *end)
{
    const struct image *image = images_get(pod->images, image_id);
    const uint64_t *slots;
    uint64_t planned_end, applied_end;
    if (!image || *end * POD_BLOCK_BYTES > image->limit_bytes ||
        !map_leaf(pod->view, image->planned_root, image->depth, lba, true, &slots, &planned_end) || slots ||
        !map_leaf(pod->view, image->root, image->depth, lba, false, &slots, &applied_end) || slots)
        return false;
    const uint64_t hole_end = least(least(planned_end, applied_end), *end);
    if (write_overlaps_bound(pod, image_id, lba, hole_end - lba))
        return false;
    *end = hole_end;
    return true;
}

/* The next piece, within one leaf, of a range of whole blocks that become holes or zeroes. */
static bool cut_range(struct pod *pod, struct pod_io *io, uint64_t end, enum piece_kind kind)
{
    const uint64_t lba = io->cursor / POD_BLOCK_BYTES, end_lba = end / POD_BLOCK_BYTES;
    uint64_t hole_end = end_lba;
    /* Nothing to do in holes, however large, unless something is still to be written there. */
    if (kind == PIECE_PUNCH && list_empty(&pod->waiting) && is_hole(pod, io->image->id, lba, &hole_end)) {
        io->cursor = hole_end * POD_BLOCK_BYTES;
        return true;
    }
    struct piece *piece = pod->range_pieces < RANGE_PIECES ? piece_take(pod) : NULL;
    if (!piece)
        return false;
    pod->range_pieces++;
    piece->kind = kind;
    piece->lba = lba;
    piece->count = (uint32_t)least(META_SLOTS - lba % META_SLOTS, end_lba - lba);
    piece->offset = io->cursor;
    piece->length = (uint64_t)piece->count * POD_BLOCK_BYTES;
    piece->state = PIECE_READY;
    piece->io = io;
    list_push_back(&pod->waiting, &piece->link);
    io->cursor += piece->length;
    return true;
}

static uint64_t round_up_block(uint64_t v)
{
    return (v + POD_BLOCK_BYTES - 1) / POD_BLOCK_BYTES * POD_BLOCK_BYTES;
}

static uint64_t round_down_block(uint64_t v)
{
    return v / POD_BLOCK_BYTES * POD_BLOCK_BYTES;
}

static bool cut_next(struct pod *pod, struct pod_io *io)
{
    const uint64_t end = io->offset + io->length;
    if (io->op == POD_WRITE) {
        if (io->length <= POD_ATOMIC_BYTES)
            return cut_write(pod, io, end);
        return cut_write(pod, io, least(end, (io->cursor / POD_ATOMIC_BYTES + 1) * POD_ATOMIC_BYTES));
    }
    const uint64_t whole = round_up_block(io->offset), whole_end = round_down_block(end);
    if (io->op == POD_TRIM) {
        if (whole >= whole_end || io->cursor >= whole_end) {
            io->cursor = end;
            return true;
        }
        if (io->cursor < whole)
            io->cursor = whole;
        return cut_range(pod, io, whole_end, PIECE_PUNCH);
    }
    if (whole >= whole_end) /* less than a block, or two partial ones */
        return cut_write(pod, io, end);
    if (io->cursor < whole)
        return cut_write(pod, io, whole);
    if (io->cursor < whole_end)
        return cut_range(pod, io, whole_end, io->flags & POD_IO_NO_HOLE ? PIECE_ZERO : PIECE_PUNCH);
    return cut_write(pod, io, end);
}

/* Cuts as much of the request as there is room for. True: all of it. */
static bool cut_io(struct pod *pod, struct pod_io *io)
{
    const uint64_t end = io->offset + io->length;
    while (io->cursor < end) {
        const struct list_node *last = pod->waiting.prev;
        if (!cut_next(pod, io))
            return false;
        if (pod->waiting.prev == last)
            continue; /* a hole was skipped */
        struct piece *piece = container_of(pod->waiting.prev, struct piece, link);
        piece->image = NULL;
        piece->image_id = io->image->id;
        piece->fills = 0;
        piece->status = 0;
        piece->seen_events = 0;
        io->pending++;
    }
    return true;
}

static bool overlaps_uncut(struct pod *pod, const struct pod_io *io)
{
    list_for_each(node, &pod->submitted)
    {
        const struct pod_io *before = container_of(node, struct pod_io, link);
        if (before == io)
            return false;
        if (before->image->id == io->image->id && before->cursor < io->offset + io->length &&
            io->offset < before->offset + before->length)
            return true;
    }
    return false;
}

/* A request that has no room now, such as a large trim, is passed over by those that don't touch what is left
 * of it. */
static void cut_all(struct pod *pod)
{
    unsigned passed_over = 0;
    list_for_each_safe(node, after, &pod->submitted)
    {
        struct pod_io *io = container_of(node, struct pod_io, link);
        if (list_empty(&pod->free_pieces) || passed_over > PASS_OVER_MAX)
            return;
        if ((passed_over && overlaps_uncut(pod, io)) || !cut_io(pod, io)) {
            passed_over++;
            continue;
        }
        list_remove(&io->link);
        io_part_done(pod, io, 0); /* the share that cutting held */
    }
}

void write_accept(struct pod *pod, struct pod_io *io)
{
    io->cursor = io->offset;
    io->pending = 1;
    io->seq = 0; /* no batch has anything of it */
    list_push_back(&pod->submitted, &io->link);
}

/* ---- unaligned writes: what surrounds the host's bytes comes from the volume */

struct edge {
    uint64_t lba;
    uint32_t from, bytes; /* in the block */
};

static unsigned edges_of(const struct piece *piece, struct edge edges[2])
{
    unsigned n = 0;
    const uint64_t start = piece->lba * POD_BLOCK_BYTES,
                   end = start + (uint64_t)piece->count * POD_BLOCK_BYTES;
    if (piece->offset > start)
        edges[n++] = (struct edge){piece->lba, 0, (uint32_t)(piece->offset - start)};
    const uint64_t host_end = piece->offset + piece->length;
    if (host_end < end)
        edges[n++] =
            (struct edge){piece->lba + piece->count - 1, (uint32_t)(POD_BLOCK_BYTES - (end - host_end)),
                          (uint32_t)(end - host_end)};
    return n;
}

static bool fill_edge(struct pod *pod, struct piece *piece, const struct edge *e, uint64_t entry)
{
    uint8_t *dst = piece->bounce + (e->lba - piece->lba) * POD_BLOCK_BYTES + e->from;
    bool stall = false;
    switch (entry_type(entry)) {
    case ENTRY_DATA:
        (void)fetch_block(pod, NULL, piece, entry_id(entry), dst, e->from, e->bytes, &stall);
        return !stall;
    case ENTRY_PATTERN:
        pattern_fill(dst, e->bytes, e->from, (uint32_t)entry_id(entry));
        return true;
    default:
        memset(dst, 0, e->bytes);
        return true;
    }
}

/* The host's bytes go over what was read. */
static void overlay(struct pod *pod, struct piece *piece)
{
    uint8_t *dst = piece->bounce + (piece->offset - piece->lba * POD_BLOCK_BYTES);
    if (piece->io->op == POD_WRITE_ZERO)
        memset(dst, 0, piece->length);
    else
        memcpy(dst, (const uint8_t *)piece->io->buf + (piece->offset - piece->io->offset), piece->length);
    look_at(pod, piece);
}

static bool fill(struct pod *pod, struct piece *piece, const struct image *image)
{
    struct edge edges[2];
    uint64_t entries[2];
    const unsigned n = edges_of(piece, edges);
    bool all =
        !write_overlaps_bound(pod, piece->image_id, piece->lba, piece->count) && fetch_can_start(pod, n);
    view_missing_clear(pod->view);
    for (unsigned i = 0; i < n && all; i++) {
        const uint64_t *slots;
        uint64_t hole_end;
        all = map_leaf(pod->view, image->root, image->depth, edges[i].lba, false, &slots, &hole_end);
        entries[i] = all && slots ? slots[edges[i].lba % META_SLOTS] : 0;
        /* Its place, too, must be known for the fetch to start at once. */
        if (all && entry_type(entries[i]) == ENTRY_DATA)
            all = view_slots(pod->view, meta_page_of(l2p_key(block_group(entry_id(entries[i])))), false) !=
                  NULL;
    }
    if (!all) {
        if (load_missing(pod))
            piece->status = PS_EDATALOSS;
        return false;
    }
    piece->state = PIECE_FILLING;
    for (unsigned i = 0; i < n; i++) {
        const bool started = fill_edge(pod, piece, &edges[i], entries[i]);
        assert(started && "it was checked before");
    }
    return true;
}

/* ---- binding */

/* Has the candidate read for the comparison, once. False: it can't be had. */
static bool bring_candidate(struct pod *pod, struct piece_block *pb)
{
    if (!fetch_under_way(pod, pb->candidate) && !fetch_can_start(pod, 1))
        return true; /* reads are under way: ask again when one has come */
    pb->fetched = fetch_to_cache(pod, pb->candidate);
    return pb->fetched;
}

/* A damaged page must not keep anybody from writing what others have stored. */
static bool candidate_is_readable(const struct pod *pod, uint64_t block)
{
    return !page_is_bad(pod, meta_page_of(l2p_key(block_group(block)))) &&
           !page_is_bad(pod, meta_page_of(meta_key_flat(META_REF, block)));
}

/* What may hold the contents, 0: nothing. Ids that are gone are forgotten: they would stand before those that
 * live, and what was deleted once would never be found again. */
static uint64_t find_candidate(struct pod *pod, uint64_t key)
{
    uint64_t ids[DEDUP_INDEX_CANDIDATES];
    const unsigned n = dedup_index_lookup(pod->dedup, key, ids);
    for (unsigned i = 0; i < n; i++) {
        bool missing = false;
        if (!candidate_is_readable(pod, ids[i]))
            continue;
        if (block_is_live(pod->view, ids[i], &missing) || missing)
            return ids[i];
        (void)dedup_index_remove(pod->dedup, key, ids[i]);
    }
    return 0;
}

/* Finds out which blocks of the piece are stored already. False: ask again when something arrived. */
static bool find_duplicates(struct pod *pod, struct piece *piece)
{
    bool all = true;
    for (uint32_t i = 0; i < piece->count; i++) {
        struct piece_block *pb = &piece->blocks[i];
        if (pb->is_pattern || pb->twin != i || pb->unequal)
            continue;
        if (!pb->same)
            pb->candidate = find_candidate(pod, fingerprint_key(&pb->fp));
        bool missing = false;
        if (pb->candidate && !candidate_is_readable(pod, pb->candidate)) /* by now */
            pb->candidate = 0, pb->same = false;
        if (!pb->candidate)
            continue;
        if (!block_is_live(pod->view, pb->candidate, &missing) ||
            !block_can_share(pod->view, pb->candidate)) {
            const struct meta_key *keys;
            all &= !missing && view_missing(pod->view, &keys) == 0;
            if (!missing)
                pb->candidate = 0, pb->same = false;
            continue;
        }
        if (pb->same)
            continue;
        const void *stored = block_cache_peek(pod->cache, pb->candidate);
        if (stored) {
            pod->stats.dedup_compares++;
            pb->same = memcmp(stored, piece->data + (size_t)i * POD_BLOCK_BYTES, POD_BLOCK_BYTES) == 0;
            pb->unequal = !pb->same;
        } else if (pb->fetched ? fetch_under_way(pod, pb->candidate) : bring_candidate(pod, pb)) {
            all = false;
            continue;
        } else {
            pb->unequal = true;
        }
        if (pb->unequal)
            pb->candidate = 0;
    }
    return all;
}

static void store_blocks(struct pod *pod, const struct piece *piece, uint64_t *entries)
{
    struct batch *b = pod->open;
    for (uint32_t i = 0; i < piece->count; i++)
        if (piece->blocks[i].candidate)
            block_share(&b->plan, piece->blocks[i].candidate);
    for (uint32_t i = 0; i < piece->count;) {
        const struct piece_block *pb = &piece->blocks[i];
        if (pb->is_pattern) {
            entries[i++] = entry_pattern(pb->pattern);
            b->counters[COUNTER_PATTERN_REMOVED] += POD_BLOCK_BYTES;
            continue;
        }
        if (pb->twin != i) {
            const uint64_t block = entry_id(entries[pb->twin]);
            block_share(&b->plan, block);
            entries[i++] = entry_data(block, 1, true);
            b->counters[COUNTER_DEDUP_REMOVED] += POD_BLOCK_BYTES;
            continue;
        }
        if (pb->candidate) {
            entries[i++] = entry_data(pb->candidate, 1, true);
            b->counters[COUNTER_DEDUP_REMOVED] += POD_BLOCK_BYTES;
            continue;
        }
        uint32_t n = 1;
        while (n < GROUP_BLOCKS && i + n < piece->count && !piece->blocks[i + n].is_pattern &&
               !piece->blocks[i + n].candidate && piece->blocks[i + n].twin == i + n)
            n++;
        if (n > 1)
            batch_store_joint(pod, piece, i, n, &entries[i]);
        else
            batch_store_scattered(pod, piece, i, &entries[i]);
        i += n;
    }
}

/* Calls map_can_put or map_put for the parts of the piece in each leaf. */
static bool can_put(struct pod *pod, const struct piece *piece, const struct image *image)
{
    bool all = true;
    for (uint32_t i = 0; i < piece->count;) {
        const uint64_t lba = piece->lba + i;
        const uint32_t n = (uint32_t)least(META_SLOTS - lba % META_SLOTS, piece->count - i);
        all &= map_can_put(pod->view, image, lba, n);
        i += n;
    }
    return all;
}

/* The tables' pages that the piece's new groups go into: at most one page ends among them. */
static bool can_store(struct pod *pod, const struct piece *piece)
{
    const struct batch *b = pod->open;
    bool all = group_can_be_born(pod->view, pod->next_group);
    all &= group_can_be_born(pod->view, pod->next_group + piece->count);
    if (b->scatter.blocks)
        all &= group_can_be_born(pod->view, b->scatter_group);
    return all;
}

static void put(struct pod *pod, const struct piece *piece, struct image *image, const uint64_t *entries)
{
    struct batch *b = pod->open;
    struct space *space = batch_space(b, image->id);
    for (uint32_t i = 0; i < piece->count;) {
        const uint64_t lba = piece->lba + i;
        const uint32_t n = (uint32_t)least(META_SLOTS - lba % META_SLOTS, piece->count - i);
        map_put(&b->plan, image, lba, n, entries + i, space);
        i += n;
    }
}

static void plan_piece(struct pod *pod, struct piece *piece, struct image *image)
{
    struct batch *b = pod->open;
    if (piece->kind == PIECE_PUNCH) {
        map_punch(&b->plan, image, piece->lba, piece->count, batch_space(b, image->id));
    } else if (piece->kind == PIECE_ZERO) {
        uint64_t entries[META_SLOTS];
        for (uint32_t i = 0; i < piece->count; i++)
            entries[i] = entry_pattern(0);
        put(pod, piece, image, entries);
    } else {
        uint64_t entries[PIECE_BLOCKS];
        store_blocks(pod, piece, entries);
        put(pod, piece, image, entries);
        b->counters[COUNTER_HOST_WRITTEN] += piece->length;
    }
}

/* By a checkpoint, or collection. Counting looks at each segment: that it may is true for all that wait,
 * until something happens. */
static bool room_may_come(struct pod *pod)
{
    if (pod->hoped && pod->hoped_events == pod->events)
        return true;
    log_retain_trim(pod);
    pod->hoped = segments_dead(pod->segments, pod->applied_seq) > 0 || collect_helps(pod);
    pod->hoped_events = pod->events;
    return pod->hoped;
}

/* Free space for new data: the reserve is for deleting and trimming. */
static int check_space(struct pod *pod)
{
    const bool releasing = images_releasable(pod->images) || pod->release_in_flight;
    if (pod->limit_free == 0)
        return releasing ? PS_EABORTED : PS_EFULL;
    /* What victims have given up so far comes free with the next checkpoint: nobody waits for that. */
    const uint32_t free = segments_free(pod->segments), reserve = pod->reserve_segments;
    if (free > reserve || (free > reserve / 2 && collect_room(pod) > reserve))
        return 0;
    const bool more_to_come =
        checkpoint_busy(pod) || releasing || room_may_come(pod) || vacate_gives_way(pod);
    checkpoint_want(pod);
    return more_to_come ? PS_EABORTED : PS_EFULL;
}

static enum bound refuse(struct pod *pod, struct piece *piece, int status)
{
    list_remove(&piece->link);
    piece_answer(pod, piece, status);
    piece_release(pod, piece);
    return BOUND;
}

/* `held`: collection lags so far behind that new data waits for it. */
static enum bound bind(struct pod *pod, struct piece *piece, bool held)
{
    struct image *image = images_get(pod->images, piece->image_id);
    if (piece->fills) /* its reads still write into its buffer */
        return BOUND_LATER;
    if (!image || image->deleted)
        return refuse(pod, piece, PS_ENOTFOUND);
    if ((piece->lba + piece->count) * POD_BLOCK_BYTES > image->limit_bytes)
        return refuse(pod, piece, PS_ERANGE);
    if (piece->status)
        return refuse(pod, piece, piece->status);
    if (piece->state == PIECE_UNALIGNED && !fill(pod, piece, image))
        return piece->status ? refuse(pod, piece, piece->status) : BOUND_LATER;
    if (piece->state == PIECE_FILLING) {
        if (piece->fills)
            return BOUND_LATER;
        if (piece->status)
            return refuse(pod, piece, piece->status);
        overlay(pod, piece);
    }
    if (piece->kind != PIECE_PUNCH) {
        const int rc = check_space(pod);
        if (rc == PS_EFULL)
            return refuse(pod, piece, rc);
        if (rc || held)
            return BOUND_LATER;
    }
    if (!batch_open(pod))
        return log_is_full(pod) ? refuse(pod, piece, PS_EFULL) : BOUND_NO_ROOM;
    if (!batch_has_room(pod, image->depth, piece->count, piece->kind == PIECE_WRITE ? piece->count : 0))
        return BOUND_NO_ROOM;
    view_missing_clear(pod->view);
    bool all = can_put(pod, piece, image);
    if (piece->kind == PIECE_WRITE)
        all &= can_store(pod, piece);
    if (piece->kind == PIECE_WRITE && pod->config.dedupe)
        all &= find_duplicates(pod, piece);
    if (!all) {
        if (load_missing(pod))
            return refuse(pod, piece, PS_EDATALOSS);
        return BOUND_LATER;
    }
    plan_piece(pod, piece, image);
    if (piece->io)
        piece->io->seq = pod->open->header.seq;
    list_remove(&piece->link);
    list_push_back(&pod->open->pieces, &piece->link);
    piece->state = PIECE_BOUND;
    /* In a replicated pod "in memory here" is not enough: answered when it is committed. */
    if (piece->io && image->write_cache && !pod_is_replicated(pod) && !(piece->io->flags & POD_IO_FUA))
        piece_answer(pod, piece, 0);
    return BOUND;
}

static bool overlaps_stuck(const struct piece *piece, struct piece *const stuck[], unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (overlap(stuck[i], piece->image_id, piece->lba, piece->count))
            return true;
    return false;
}

/* At most: the map's pages, and two of the tables for each block. */
static uint64_t pages_wanted(const struct piece *piece)
{
    return 8 + 2 * (uint64_t)piece->count;
}

static void bind_all(struct pod *pod)
{
    struct piece *stuck[PIECES];
    unsigned nstuck = 0;
    uint64_t pages = 0;
    bool held = !list_empty(&pod->waiting) && collect_holds_hosts(pod);
    list_for_each_safe(node, after, &pod->waiting)
    {
        struct piece *piece = container_of(node, struct piece, link);
        enum bound bound = BOUND_LATER;
        if (piece->seen_events != pod->events && !overlaps_stuck(piece, stuck, nstuck))
            bound = bind(pod, piece, held);
        if (bound == BOUND_NO_ROOM && batch_may_ship(pod)) {
            /* What a segment's end left of a batch is not what the others would have to wait for. */
            const bool whole = pod->open->payload_used >= HELD_LEAST_BYTES;
            batch_ship(pod);
            held |= whole && collect_holds_hosts(pod);
            bound = bind(pod, piece, held);
        }
        if (bound == BOUND_NO_ROOM)
            return;
        if (bound == BOUND_LATER) {
            piece->seen_events = pod->events;
            stuck[nstuck++] = piece;
            pages += pages_wanted(piece);
        }
        /* Those that wait must not push each other's pages out of memory. */
        if (pages > pod->meta_pages / 2)
            return;
    }
}

void write_give_up(struct pod *pod, int status)
{
    for (struct list_node *n; (n = list_pop_front(&pod->waiting));) {
        struct piece *piece = container_of(n, struct piece, link);
        list_init(&piece->link);
        if (piece->state == PIECE_FILLING && piece->fills) {
            piece->status = status; /* its reads still write into it */
            list_push_back(&pod->draining, &piece->link);
            continue;
        }
        piece_answer(pod, piece, status);
        piece_release(pod, piece);
    }
    for (struct list_node *n; (n = list_pop_front(&pod->submitted));)
        io_part_done(pod, container_of(n, struct pod_io, link), status);
}

static void finish_drained(struct pod *pod)
{
    list_for_each_safe(node, after, &pod->draining)
    {
        struct piece *piece = container_of(node, struct piece, link);
        if (piece->fills)
            continue;
        list_remove(&piece->link);
        piece_answer(pod, piece, piece->status);
        piece_release(pod, piece);
    }
}

static void finish_flushes(struct pod *pod)
{
    list_for_each_safe(node, after, &pod->flushes)
    {
        struct pod_io *io = container_of(node, struct pod_io, link);
        if (pod->applied_seq < io->seq && !pod->failed)
            break;
        list_remove(&io->link);
        io_finish(pod, io, pod->applied_seq >= io->seq ? 0 : pod_end_status(pod));
    }
}

void write_turn(struct pod *pod)
{
    if (pod->failed) {
        write_give_up(pod, pod_end_status(pod));
    } else {
        cut_all(pod);
        if (!manage_blocks_writes(pod) && !pod->held && !role_slow_until(pod))
            bind_all(pod);
    }
    finish_drained(pod);
    finish_flushes(pod);
}

int punch_step(struct pod *pod, struct image *image, uint64_t *cursor, uint64_t end)
{
    const uint64_t *slots;
    uint64_t hole_end;
    const uint32_t n = (uint32_t)least(META_SLOTS - *cursor % META_SLOTS, end - *cursor);
    view_missing_clear(pod->view);
    if (!map_leaf(pod->view, image->planned_root, image->depth, *cursor, true, &slots, &hole_end) ||
        !map_can_put(pod->view, image, *cursor, n))
        return load_missing(pod) ? PS_EDATALOSS : PS_EABORTED;
    if (!slots) {
        *cursor = least(hole_end, end);
        return 0;
    }
    if (!batch_open(pod))
        return PS_EABORTED;
    if (!batch_has_room(pod, image->depth, n, 0)) {
        if (!batch_may_ship(pod))
            return PS_EABORTED;
        batch_ship(pod);
        return 0;
    }
    map_punch(&pod->open->plan, image, *cursor, n, batch_space(pod->open, image->id));
    *cursor += n;
    return 0;
}
