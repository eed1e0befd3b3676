/* Scrubbing: all that lives in flash is read and verified, one segment after the other, so that what a device
 * has lost is known, and repaired from another member, while that one still has it.
 *
 * A pass begins when a person wants one, or by itself when the last one was long ago. While hosts are served
 * it reads at the rate that was set; when none has come for a moment, without a pause. Segments that
 * are being written wait for the next pass. Metadata comes last (scrub_meta.c, scrub_label.c). */
#include <stdlib.h>

#include "node/pod/collect.h"

enum {
    RATE_DEFAULT = 16 << 20, /* bytes a second */
    AHEAD_BYTES = 2 << 20,   /* may be read at once */
};
#define QUIET_NS      20000000ull
#define FIRST_PASS_NS (3600ull * 1000000000ull)
#define INTERVAL_NS   (7 * 24 * 3600ull * 1000000000ull)

void pod_scrub(struct pod *pod)
{
    pod->scrub.wanted = true;
    pod->again = true;
}

void pod_scrub_look(const struct pod *pod, struct pod_scrub_info *out)
{
    const struct scrub *s = &pod->scrub;
    const bool begins = s->wanted && !s->running;
    *out = (struct pod_scrub_info){
        .running = s->running || begins,
        .passes = s->passes,
        .segments = pod->segment_count,
        .segments_done = s->running ? s->next : 0,
        .read_bytes = begins ? 0 : s->read_bytes,
        .damaged = begins ? 0 : s->damaged,
        .ended_ns_ago = s->passes ? pod->now_ns - s->ended_ns : 0,
    };
}

static uint64_t interval_of(const struct pod *pod)
{
    return pod->config.scrub_interval_ns ? pod->config.scrub_interval_ns : INTERVAL_NS;
}

static uint64_t due_ns(const struct pod *pod)
{
    const struct scrub *s = &pod->scrub;
    const uint64_t after = interval_of(pod);
    if (pod->config.scrub_interval_ns == UINT64_MAX)
        return UINT64_MAX;
    return s->passes ? s->ended_ns + after : s->opened_ns + (after < FIRST_PASS_NS ? after : FIRST_PASS_NS);
}

void scrub_read(struct pod *pod, uint64_t bytes)
{
    pod->scrub.credit -= (int64_t)bytes;
    pod->scrub.read_bytes += bytes;
}

void scrub_segment_done(struct walk *w)
{
    struct pod *pod = w->pod;
    const uint32_t lives = segments_live(pod->segments, w->victim);
    pod->scrub.next = w->victim + 1;
    if (w->seen < lives)
        pod_event(pod, "scrub.damage", 0,
                  "segment %u: what names its records is damaged: some of %u bytes were not verified",
                  w->victim, lives);
}

bool scrub_is_quiet(const struct pod *pod)
{
    return (!pod->scrub.walk || pod->scrub.walk->reading == 0) && scrub_meta_is_quiet(pod) &&
           scrub_labels_are_quiet(pod);
}

void scrub_drop(struct pod *pod)
{
    if (!pod->scrub.walk)
        return;
    victim_drop(pod->scrub.walk);
    (void)ahead_leave(pod->scrub.walk, SEGMENT_NONE);
}

static void free_walk(struct pod *pod)
{
    if (pod->scrub.walk)
        free(pod->scrub.walk->ring);
    free(pod->scrub.walk);
    pod->scrub.walk = NULL;
}

void scrub_free(struct pod *pod)
{
    scrub_meta_free(pod);
    scrub_labels_free(pod);
    free_walk(pod);
}

static void begin_pass(struct pod *pod)
{
    struct scrub *s = &pod->scrub;
    s->walk = calloc(1, sizeof *s->walk);
    assert(s->walk && "out of memory");
    walk_init(s->walk, pod, NULL);
    s->wanted = false;
    s->running = true;
    s->next = SYSTEM_SEGMENTS;
    s->read_bytes = 0;
    s->damaged = 0;
    s->credit = 0;
    s->last_ns = pod->now_ns;
    deep_forget_losses(pod);
}

static void end_pass(struct pod *pod)
{
    struct scrub *s = &pod->scrub;
    free_walk(pod);
    s->running = false;
    s->passes++;
    s->ended_ns = pod->now_ns;
    pod_event(pod, "scrub.ended", 0, "%llu MiB read, %llu records damaged",
              (unsigned long long)(s->read_bytes >> 20), (unsigned long long)s->damaged);
}

static uint64_t requests_of(const struct pod *pod)
{
    return pod->stats.reads + pod->stats.writes + pod->stats.trims + pod->stats.batches;
}

static uint64_t rate_of(const struct pod *pod)
{
    return pod->config.scrub_rate ? pod->config.scrub_rate : RATE_DEFAULT;
}

static void pass_time(struct pod *pod)
{
    struct scrub *s = &pod->scrub;
    if (requests_of(pod) != s->requests) {
        s->requests = requests_of(pod);
        s->busy_ns = pod->now_ns;
    }
    const uint64_t us = (pod->now_ns - s->last_ns) / 1000;
    s->last_ns += us * 1000;
    s->quiet = pod->now_ns - s->busy_ns >= QUIET_NS;
    s->credit += (int64_t)(us < 1000000 ? us * rate_of(pod) / 1000000 : AHEAD_BYTES);
    if (s->quiet || s->credit > AHEAD_BYTES)
        s->credit = AHEAD_BYTES;
}

static bool choose(struct pod *pod)
{
    struct scrub *s = &pod->scrub;
    if (s->walk->victim != SEGMENT_NONE)
        return true;
    const uint32_t segment = segments_with_data(pod->segments, s->next, pod->applied_seq);
    if (!ahead_leave(s->walk, segment))
        return false;
    if (segment == SEGMENT_NONE) {
        scrub_meta_begin(pod);
        return false;
    }
    victim_begin(s->walk, segment);
    return true;
}

static void metadata(struct pod *pod)
{
    struct scrub *s = &pod->scrub;
    if (s->credit <= 0 || scrub_meta_step(pod)) {
        pod->again |= s->credit > 0 && scrub_meta_is_quiet(pod);
        return;
    }
    scrub_meta_free(pod);
    scrub_labels_begin(pod);
}

void scrub_turn(struct pod *pod)
{
    struct scrub *s = &pod->scrub;
    if (!s->running && (s->wanted || pod->now_ns >= due_ns(pod)))
        begin_pass(pod);
    if (!s->running)
        return;
    pass_time(pod);
    if (s->meta) {
        metadata(pod);
        return;
    }
    if (s->labels) {
        if (!scrub_labels_are_quiet(pod))
            return;
        scrub_labels_free(pod);
        end_pass(pod);
        return;
    }
    const int64_t before = s->credit;
    while (s->credit > 0 && before - s->credit < AHEAD_BYTES && choose(pod))
        if (!victim_step(s->walk) && s->walk->victim != SEGMENT_NONE)
            return;
    pod->again |= s->meta != NULL || (s->credit > 0 && !s->walk->reading);
}

uint64_t scrub_next_ns(const struct pod *pod)
{
    const struct scrub *s = &pod->scrub;
    if (pod->failed || pod->state != POD_SERVING)
        return UINT64_MAX;
    if (!s->running)
        return due_ns(pod);
    if (s->credit > 0)
        return UINT64_MAX; /* it waits for the device, or for room */
    return pod->now_ns + (uint64_t)(1 - s->credit) * 1000000 / rate_of(pod) * 1000 + 1000;
}
