/* When collection runs, how fast, and on which segment. */
#include <stdlib.h>

#include "node/pod/collect.h"

enum {
    STEPS = 1024,            /* in a turn: records looked at */
    STEP_BYTES = 256 * 1024, /* and bytes read and moved */
    WEAR_DEFAULT = 1000,
    COUNT_SLACK = 1024,    /* one in so many segments may change before they are counted again */
    LEVEL_RATE = 8 * 1024, /* bytes a millisecond, read and moved, so that wear evens out when nothing else is
                              to be done */
    ASKED_RATE = 128 * 1024, /* and what a person asked for */
};
#define LIMITED_AGAIN_NS (60ull * 1000000000ull)

void collect_init(struct pod *pod)
{
    struct collect *c = calloc(1, sizeof *c);
    assert(c && "out of memory at start");
    c->pod = pod;
    walk_init(&c->walk, pod, c);
    for (int i = 0; i < STREAMS; i++)
        c->streams[i].segment = c->streams[i].full = SEGMENT_NONE;
    c->work = aligned_alloc(BLKDEV_ALIGN, RECORD_MAX_BLOCKS * RECORD_BLOCK_BYTES);
    c->dense = malloc(RECORD_MAX_BYTES);
    assert(c->work && c->dense && "out of memory at start");
    for (int i = 0; i < COLLECT_CHUNKS; i++) {
        c->chunks[i].c = c;
        c->chunks[i].buf = aligned_alloc(BLKDEV_ALIGN, MOVED_CHUNK_BYTES);
        assert(c->chunks[i].buf && "out of memory at start");
    }
    pod->collect = c;
}

void collect_free(struct pod *pod)
{
    struct collect *c = pod->collect;
    free(c->walk.ring);
    for (int i = 0; i < COLLECT_CHUNKS; i++)
        free(c->chunks[i].buf);
    free(c->work);
    free(c->dense);
    for (int i = 0; i < PATCHES_MAX; i++)
        free(c->patches[i].buf);
    free(c);
    pod->collect = NULL;
}

void collect_start(struct pod *pod)
{
    struct collect *c = pod->collect;
    collect_resize(pod);
    c->last_ns = pod->scrub.opened_ns = pod->now_ns;
}

void collect_resize(struct pod *pod)
{
    struct collect *c = pod->collect;
    const uint32_t threshold = pod->config.gc_threshold ? pod->config.gc_threshold : COLLECT_THRESHOLD;
    const uint32_t usable = pod->segment_count - SYSTEM_SEGMENTS - segments_gone(pod->segments);
    c->levels = collect_levels_for(usable, pod->reserve_segments, threshold);
    c->recount = true;
}

bool collect_is_quiet(const struct pod *pod)
{
    const struct collect *c = pod->collect;
    for (int i = 0; i < COLLECT_CHUNKS; i++)
        if (c->chunks[i].state == CHUNK_WRITING)
            return false;
    return !c->walk.reading;
}

/* ---- room */

static bool is_little(const struct collect *c)
{
    return c->room <= c->levels.low;
}

/* Would there be room for hosts if all that is worth it were collected? A segment more than that: the last
 * ones are never filled to the end. */
static bool would_help(const struct collect *c, uint32_t room)
{
    const struct pod *pod = c->pod;
    if (room > c->levels.reserve)
        return true;
    if (c->blocked) /* what has its place already still comes free */
        return c->leaving_count > 0;
    const uint64_t gain =
        segments_gain(pod->segments, pod->applied_seq, pod->segment_bytes / COLLECT_LEAST_GAIN);
    return gain >= (uint64_t)(c->levels.reserve - room + 2) * pod->segment_bytes;
}

bool collect_helps(const struct pod *pod)
{
    const struct collect *c = pod->collect;
    return pod->state == POD_SERVING && !pod->failed &&
           would_help(c, segments_room(pod->segments, pod->applied_seq));
}

bool collect_may_help(const struct pod *pod)
{
    return pod->collect->helps;
}

bool collect_is_pressed(const struct pod *pod)
{
    return pod->state == POD_SERVING && is_little(pod->collect);
}

bool collect_is_asked(const struct pod *pod)
{
    return pod->collect->asked;
}

/* What is left of a segment that is being filled, in segments, beyond the half that is left on average. */
static double left_of(const struct pod *pod, uint32_t segment, uint32_t used)
{
    return segment == SEGMENT_NONE ? 0 : 0.5 - (double)used / pod->segment_bytes;
}

double collect_room(const struct pod *pod)
{
    const struct collect *c = pod->collect;
    double room = c->room + c->ended;
    if (c->seen_checkpoints == pod->stats.checkpoints) /* what came free then had been counted as dead */
        room += (double)segments_free(pod->segments) - c->seen_free;
    room += left_of(pod, pod->tail.segment, pod->tail.offset);
    room += left_of(pod, pod->meta_segment, pod->meta_offset) * checkpoint_copies(pod);
    for (int i = 0; i < STREAMS; i++)
        room += left_of(pod, c->streams[i].segment, c->streams[i].next);
    const struct walk *w = &c->walk;
    if (w->victim != SEGMENT_NONE && segments_live(pod->segments, w->victim))
        room += (double)w->offset / pod->segment_bytes;
    for (unsigned i = 0; i < c->leaving_count; i++)
        room += segments_live(pod->segments, c->leaving[i].segment) > 0;
    return room;
}

/* Dead segments come free by a checkpoint: before hosts have to wait for one. */
static void want_checkpoint(struct collect *c)
{
    struct pod *pod = c->pod;
    const uint32_t span = (c->levels.low - c->levels.reserve) / 4;
    const bool is_short = c->blocked || segments_free(pod->segments) <= c->levels.reserve;
    if (segments_free(pod->segments) <= c->levels.low && !checkpoint_busy(pod) &&
        segments_dead(pod->segments, pod->applied_seq) >= (span && !is_short ? span : 1))
        checkpoint_want(pod);
}

static uint32_t wear_threshold(const struct pod *pod)
{
    return pod->config.wear_threshold ? pod->config.wear_threshold : WEAR_DEFAULT;
}

uint32_t collect_wear_floor(const struct pod *pod)
{
    return pod->collect->wear_floor;
}

static void count(struct collect *c)
{
    struct pod *pod = c->pod;
    c->recount = false;
    c->logged = 0;
    c->ended = 0;
    c->seen_checkpoints = pod->stats.checkpoints;
    c->seen_free = segments_free(pod->segments);
    log_retain_trim(pod);
    c->room = segments_room(pod->segments, pod->applied_seq);
    c->helps = would_help(c, c->room);
    c->nothing = c->nothing_there = c->even = false;
    c->wear_floor = segments_wear_floor(pod->segments, wear_threshold(pod));
    c->limited &= is_little(c);
    if (c->blocked && c->seen_free > collect_floor(pod)) {
        c->blocked = false;
        pod->events++;
    }
    want_checkpoint(c);
}

/* Counting looks at each segment: not for each batch, and the more there are the less often, but for the last
 * free ones. */
static bool is_outdated(const struct collect *c)
{
    const struct pod *pod = c->pod;
    const uint32_t free = segments_free(pod->segments);
    const uint32_t slack = c->blocked || free <= c->levels.reserve ? 0 : pod->segment_count / COUNT_SLACK;
    const uint32_t moved = free > c->seen_free ? free - c->seen_free : c->seen_free - free;
    return c->recount || c->logged >= pod->segment_bytes / 4 + (uint64_t)slack * pod->segment_bytes ||
           c->seen_checkpoints != pod->stats.checkpoints || moved > slack || c->ended > slack;
}

/* The log stops one before: then collection goes on, and makes room for it. */
uint32_t collect_floor(const struct pod *pod)
{
    return CHECKPOINT_SEGMENTS + (pod_is_replicated(pod) ? RESTART_SEGMENTS : 0) - 1;
}

/* ---- pace */

static bool is_at_work(const struct collect *c)
{
    return (c->walk.victim != SEGMENT_NONE || c->leaving_count || c->again_count) && !c->blocked;
}

void collect_logged(struct pod *pod, uint32_t bytes)
{
    struct collect *c = pod->collect;
    c->logged += bytes;
    c->credit += (int64_t)((uint64_t)bytes * collect_ratio(&c->levels, collect_room(c->pod)) / 1000);
    /* What was written before the hosts were held back counts, too; but nothing is owed by one that has
     * nothing to do. */
    const int64_t most = is_at_work(c) && is_little(c) ? COLLECT_OWED_MOST : COLLECT_DEBT_BYTES;
    if (c->credit > most)
        c->credit = most;
}

/* Bytes a millisecond that may be read and moved whatever is written. */
static uint32_t rate_of(const struct collect *c)
{
    const uint32_t rate = collect_rate(&c->levels, collect_room(c->pod));
    const bool asked = c->asked || segments_barred(c->pod->segments);
    /* What was begun is ended, though there may be room again: hosts may wait for what victims gave up. */
    const bool begun = c->walk.victim != SEGMENT_NONE || c->again_count;
    const uint32_t least = c->levelling ? LEVEL_RATE : asked ? ASKED_RATE : begun ? LEVEL_RATE : 0;
    return rate < least ? least : rate;
}

static void pass_time(struct collect *c)
{
    const uint64_t us = (c->pod->now_ns - c->last_ns) / 1000;
    if (us == 0)
        return;
    c->last_ns += us * 1000;
    if (c->credit >= COLLECT_READ_BYTES)
        return;
    const uint64_t rate = rate_of(c);
    const uint64_t most = (uint64_t)(COLLECT_READ_BYTES - c->credit);
    c->credit += (int64_t)(us < 60000000 && rate * us / 1000 < most ? rate * us / 1000 : most);
}

/* What is moved while there is no credit stays as it is: nobody waits for a compressor. */
static void earn_cold(struct collect *c)
{
    const struct pod *pod = c->pod;
    const uint64_t us = (pod->now_ns - c->cold_last_ns) / 1000, rate = pod->config.cold_compress_rate;
    c->cold_last_ns += us * 1000;
    if (us >= 1000000 || us * rate / 1000000 > COLD_BURST)
        c->cold_credit = COLD_BURST;
    else
        c->cold_credit += (int64_t)(us * rate / 1000000);
    if (c->cold_credit > COLD_BURST)
        c->cold_credit = COLD_BURST;
}

static bool may_move(const struct collect *c)
{
    return c->credit > 0 || c->room <= c->levels.reserve;
}

static void tell_limit(struct collect *c, const char *what)
{
    struct pod *pod = c->pod;
    if (c->limited || (c->limited_ns && pod->now_ns - c->limited_ns < LIMITED_AGAIN_NS))
        return;
    c->limited = true;
    c->limited_ns = pod->now_ns;
    pod_event(pod, "gc.limit", 0, "%s: %u of %u segments are free", what, segments_free(pod->segments),
              pod->segment_count - SYSTEM_SEGMENTS);
}

bool collect_holds_hosts(struct pod *pod)
{
    struct collect *c = pod->collect;
    const bool holds = is_little(c) && is_at_work(c) && c->credit >= COLLECT_DEBT_BYTES;
    if (holds && !c->holding) {
        pod->stats.collect_waits++;
        tell_limit(c, "writes wait for garbage collection");
    }
    c->holding = holds;
    return holds;
}

/* ---- the turn */

static double score(void *user, uint32_t segment_bytes, uint32_t live, uint32_t age)
{
    const struct collect *c = user;
    const bool old = c->asked && age >= segments_clock_since(c->pod->segments, c->asked_clock);
    return collect_score(is_little(c) || old, segment_bytes, live, age);
}

/* Nothing is left that is worth it, and all copies are named: a checkpoint frees what was emptied. */
static void end_asked(struct collect *c)
{
    struct pod *pod = c->pod;
    if (!c->asked || !c->nothing || c->asked_later || c->walk.victim != SEGMENT_NONE || c->leaving_count ||
        c->again_count || !chunks_are_empty(c))
        return;
    c->asked = false;
    checkpoint_want(pod);
    pod_event(pod, "gc.done", 0,
              "garbage collection is through: %llu segments taken apart, %llu MiB moved since the start",
              (unsigned long long)pod->stats.collected, (unsigned long long)pod->stats.collect_moved >> 20);
}

void pod_collect(struct pod *pod)
{
    struct collect *c = pod->collect;
    if (pod->state != POD_SERVING || pod->failed)
        return;
    c->asked = true;
    c->nothing = false;
    c->asked_clock = segments_clock(pod->segments);
    pod->again = true;
}

/* Room at or below which nothing is moved for that alone: it is hosts'. */
static uint32_t last_room(const struct collect *c)
{
    return c->levels.reserve + (c->levels.low - c->levels.reserve) / 4;
}

/* What is to be taken away. */
static bool choose_there(struct collect *c)
{
    struct pod *pod = c->pod;
    if (!segments_barred(pod->segments) || c->nothing_there || c->room <= last_room(c))
        return false;
    const uint32_t segment = segments_barred_victim(pod->segments, pod->anchor.seq);
    c->nothing_there = segment == SEGMENT_NONE;
    if (c->nothing_there)
        return false;
    victim_begin(&c->walk, segment);
    return true;
}

bool collect_is_at_an_end(struct pod *pod)
{
    struct collect *c = pod->collect;
    return c->room <= last_room(c) && c->walk.victim == SEGMENT_NONE && !c->leaving_count &&
           !c->again_count && c->nothing && !checkpoint_busy(pod) &&
           segments_room(pod->segments, pod->applied_seq) <= last_room(c) &&
           segments_dead(pod->segments, pod->applied_seq) == 0;
}

void collect_leave(struct pod *pod)
{
    struct collect *c = pod->collect;
    for (int i = 0; i < STREAMS; i++) {
        struct collect_stream *s = &c->streams[i];
        if (s->segment == SEGMENT_NONE || !segments_is_barred(pod->segments, s->segment))
            continue;
        if (c->chunks[c->filled].state == CHUNK_FILLING && c->chunks[c->filled].stream == s)
            chunk_flush(c);
        if (s->next == 0) {
            segments_untake(pod->segments, s->segment);
            s->segment = SEGMENT_NONE;
        } else {
            (void)stream_leave(c, s);
        }
    }
}

static bool choose(struct collect *c)
{
    struct pod *pod = c->pod;
    if (c->again_count)
        return again_begin(c);
    if (pod->state != POD_SERVING)
        return false;
    if ((c->room > c->levels.start && !c->asked) || c->nothing)
        return choose_there(c);
    /* Log beyond the checkpoint is left alone. */
    const uint32_t segment = segments_best(pod->segments, pod->anchor.seq, score, c);
    c->nothing = segment == SEGMENT_NONE;
    if (c->nothing) {
        const bool later = (is_little(c) || c->asked) &&
                           segments_best(pod->segments, pod->applied_seq, score, c) != SEGMENT_NONE;
        c->asked_later = later;
        if (later)
            checkpoint_want(pod);
        pod->events++; /* whoever waited for it */
        return choose_there(c);
    }
    victim_begin(&c->walk, segment);
    return true;
}

/* Cold data that keeps its segment from wearing goes to where most was worn: the segment that it leaves is
 * the next one to be written. */
static void level(struct collect *c)
{
    struct pod *pod = c->pod;
    if (c->even || c->walk.victim != SEGMENT_NONE || c->again_count || !chunks_are_empty(c) || is_little(c) ||
        c->blocked)
        return;
    const uint32_t segment = segments_wear_victim(pod->segments, pod->anchor.seq, wear_threshold(pod));
    c->even = segment == SEGMENT_NONE;
    if (c->even)
        return;
    victim_begin(&c->walk, segment);
    c->levelling = true;
    pod->stats.levelled++;
}

static bool step(struct collect *c)
{
    if (c->walk.victim == SEGMENT_NONE)
        return choose(c);
    if (victim_step(&c->walk))
        return true;
    return c->walk.victim == SEGMENT_NONE; /* done: the next one */
}

void collect_turn(struct pod *pod)
{
    struct collect *c = pod->collect;
    if (pod->failed || pod->state != POD_SERVING) {
        if (collect_is_quiet(pod))
            collect_drop(c);
        if (scrub_is_quiet(pod))
            scrub_drop(pod);
        return;
    }
    if (is_outdated(c))
        count(c);
    pass_time(c);
    earn_cold(c);
    chunks_turn(c);
    while (patch_step(c))
        ;
    level(c);
    scrub_turn(pod);
    const int64_t before = c->credit;
    int steps = 0;
    while (may_move(c) && before - c->credit < STEP_BYTES && step(c))
        if (++steps == STEPS)
            break;
    if (c->walk.victim == SEGMENT_NONE)
        chunk_flush(c);
    end_asked(c);
    pod->again |= steps == STEPS || before - c->credit >= STEP_BYTES;
    if (c->holding && !collect_holds_hosts(pod)) {
        pod->events++;
        pod->again = true;
    }
}

uint64_t collect_next_ns(const struct pod *pod)
{
    const struct collect *c = pod->collect;
    if (pod->failed || pod->state != POD_SERVING)
        return UINT64_MAX;
    const bool there = segments_barred(pod->segments) && !c->nothing_there;
    const bool wants = c->walk.victim != SEGMENT_NONE || c->again_count || there ||
                       ((c->room <= c->levels.start || c->asked) && !c->nothing);
    if (!wants || c->blocked || may_move(c) || !collect_is_quiet(pod))
        return UINT64_MAX;
    const uint32_t rate = rate_of(c);
    return rate ? pod->now_ns + ((uint64_t)-c->credit / rate + 1) * 1000000 : UINT64_MAX;
}

uint64_t collect_open_bytes(const struct pod *pod)
{
    uint64_t bytes = 0;
    for (int i = 0; i < STREAMS; i++) {
        const struct collect_stream *s = &pod->collect->streams[i];
        if (s->segment != SEGMENT_NONE && s->next > 0)
            bytes += pod->segment_bytes - s->next;
    }
    return bytes;
}

uint32_t collect_written(const struct pod *pod, uint32_t segment)
{
    for (int i = 0; i < STREAMS; i++)
        if (pod->collect->streams[i].segment == segment)
            return pod->collect->streams[i].written;
        else if (pod->collect->streams[i].full == segment)
            return pod->collect->streams[i].full_written;
    return pod->segment_bytes;
}
