#include "node/pod/deep.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/collect.h"

enum {
    STEPS_QUIET = 16, /* pages a turn, while no host comes */
    STEPS_BUSY = 8,
    PAGE_BYTES = 4096, /* what one counts for against the rate of scrubbing */
    RATE_DEFAULT = 16 << 20,
    DUTY = 20, /* of the time, it works at most one part */
    EVENTS_MAX = 16,
    TAKE_PART = 8,       /* of the metadata cache, for counting blocks */
    PAGES_STEP = 16,     /* buckets of the page table */
    LEND_STEP = 1 << 20, /* in a turn: the pod's cache gives up pages for it */
};
#define QUIET_NS    20000000ull
#define FIRST_NS    60000000000ull
#define RETRY_NS    60000000000ull
#define INTERVAL_NS (10 * 60 * 1000000000ull)

/* ---- what others see */

void pod_deep(struct pod *pod)
{
    pod->deep->wanted = true;
    pod->again = true;
}

void pod_deep_look(const struct pod *pod, struct pod_deep_info *out)
{
    const struct deep *d = pod->deep;
    *out = d->info;
    out->running = d->wanted || (d->state != DEEP_IDLE && !d->locating);
    out->permille = d->survey && !d->locating ? survey_permille(d->survey) : 0;
    out->ended_ns_ago = d->info.runs ? pod->now_ns - d->ended_ns : 0;
    out->findings = (uint32_t)d->finding_count;
    out->losses = (uint32_t)d->loss_count;
}

int pod_deep_finding(const struct pod *pod, uint32_t index, struct pod_finding *out)
{
    if (index >= pod->deep->finding_count)
        return PS_ENOTFOUND;
    *out = pod->deep->findings[index];
    return 0;
}

int pod_loss(const struct pod *pod, uint32_t index, struct pod_finding *out)
{
    if (index >= pod->deep->loss_count)
        return PS_ENOTFOUND;
    *out = pod->deep->losses[index];
    return 0;
}

static int compare_spaces(const void *a, const void *b)
{
    const uint64_t x = ((const struct survey_space *)a)->image, y = ((const struct survey_space *)b)->image;
    return x < y ? -1 : x > y;
}

void deep_image_held(const struct pod *pod, uint64_t image, struct pod_image_held *out)
{
    const struct deep *d = pod->deep;
    const struct survey_space key = {.image = image};
    const struct survey_space *s =
        d->space_count ? bsearch(&key, d->spaces, d->space_count, sizeof key, compare_spaces) : NULL;
    *out = (struct pod_image_held){0};
    if (!s)
        return;
    *out = (struct pod_image_held){
        .known = true,
        .ns_ago = pod->now_ns - d->spaces_ns,
        .referenced_blocks = s->referenced.blocks,
        .referenced_bytes = s->referenced.stored_bytes,
        .exclusive_blocks = s->exclusive.blocks,
        .exclusive_bytes = s->exclusive.stored_bytes,
        .reclaimable_blocks = s->reclaimable.blocks,
        .reclaimable_bytes = s->reclaimable.stored_bytes,
    };
}

uint64_t deep_memory(const struct pod *pod)
{
    return pod->deep->memory_bytes;
}

void deep_forget_losses(struct pod *pod)
{
    pod->deep->loss_count = pod->deep->located_count = 0;
}

void deep_lost(struct pod *pod, uint64_t group)
{
    struct deep *d = pod->deep;
    for (size_t i = 0; i < d->located_count; i++)
        if (d->located[i] == group)
            return;
    for (size_t i = 0; i < d->waiting_count; i++)
        if (d->waiting[i] == group)
            return;
    /* Those that are not kept would be looked for again and again. */
    if (d->waiting_count == DEEP_LOST || d->located_count + d->waiting_count >= POD_LOSSES_MAX)
        return;
    d->waiting[d->waiting_count++] = group;
    pod->again = true;
}

/* ---- making and ending */

void deep_init(struct pod *pod)
{
    struct deep *d = calloc(1, sizeof *d);
    assert(d);
    d->pod = pod;
    pod->deep = d;
}

static void unpin(struct deep *d)
{
    for (uint32_t i = 0; i < d->pinned_count; i++)
        segments_unpin(d->pod->segments, d->pinned[i]);
    free(d->pinned);
    d->pinned = NULL;
    d->pinned_count = 0;
}

/* A large pod's pages are many: false if some are left when so many went. */
static bool let_go(struct deep *d, size_t some)
{
    if (d->survey && !survey_destroy_step(d->survey, some))
        return false;
    d->survey = NULL;
    if (d->own && !meta_destroy_step(d->meta, some))
        return false;
    if (d->own) {
        images_destroy(d->images);
        segments_destroy(d->segments);
    }
    d->meta = NULL;
    d->images = NULL;
    d->segments = NULL;
    d->own = false;
    free(d->numbers);
    d->numbers = NULL;
    free(d->spaces_new);
    d->spaces_new = NULL;
    deep_reads_free(d);
    return true;
}

void deep_free(struct pod *pod)
{
    struct deep *d = pod->deep;
    if (!d)
        return;
    if (d->pinned_count)
        unpin(d);
    (void)let_go(d, SIZE_MAX);
    free(d->spaces);
    free(d);
    pod->deep = NULL;
}

bool deep_is_quiet(const struct pod *pod)
{
    return pod->deep->state == DEEP_IDLE;
}

static void tell_end(struct deep *d)
{
    struct pod *pod = d->pod;
    d->info.runs++;
    d->ended_ns = pod->now_ns;
    d->info.took_ns = pod->now_ns - d->begun_ns;
    if (d->info.failed && d->told)
        pod_event(pod, "deep.failed", 0, "the deep check was not made: %s", d->info.why);
    else if (!d->info.failed && (d->told || d->info.damage))
        pod_event(pod, "deep.ended", 0,
                  "%" PRIu64 " images, %" PRIu64 " metadata pages, %" PRIu64 " blocks compared: %" PRIu64
                  " found wrong",
                  d->info.images, d->info.pages, d->info.blocks, d->info.damage);
}

/* Nothing is being read any more. False: there is more to take apart. */
static bool finish(struct deep *d)
{
    struct pod *pod = d->pod;
    if (d->pinned_count)
        pod->events++; /* segments may come free */
    unpin(d);
    pod->again = true;
    if (!let_go(d, PAGES_STEP))
        return false;
    d->memory_bytes = d->lent_bytes = 0;
    meta_lend(pod->meta, 0);
    d->state = DEEP_IDLE;
    if (d->request) {
        struct pod_check_request *request = d->request;
        d->request = NULL;
        request->done(request->user, request);
    } else if (!d->locating)
        tell_end(d);
    return true;
}

/* Those that were to be located still are. */
static void wait_again(struct deep *d)
{
    for (size_t i = 0; i < d->lost_count; i++) {
        size_t at = 0;
        while (at < d->located_count && d->located[at] != d->lost[i].group)
            at++;
        if (at == d->located_count)
            continue;
        d->located[at] = d->located[--d->located_count];
        if (d->waiting_count < DEEP_LOST)
            d->waiting[d->waiting_count++] = d->lost[i].group;
    }
    d->lost_count = 0;
}

void deep_fail(struct deep *d, const char *format, ...)
{
    char why[sizeof d->info.why];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, sizeof why, format, args);
    va_end(args);
    if (d->request) {
        d->request->status = PS_EIO;
        (void)snprintf(d->request->why, sizeof d->request->why, "%s", why);
    } else {
        wait_again(d);
        d->retry_ns = d->pod->now_ns + RETRY_NS;
    }
    if (!d->request && !d->locating) {
        d->info.failed = true;
        (void)snprintf(d->info.why, sizeof d->info.why, "%s", why);
    }
    d->state = DEEP_ENDING;
    d->pod->again = true;
}

/* ---- the cut */

/* As an opening does: where the cut's own metadata went may be missing in what it says of segments. */
static void adopt(void *user, struct meta_key page)
{
    struct deep *d = user;
    const struct place place = meta_load_place(d->meta, page);
    if (restore_place_is_sound(d->pod, place))
        (void)segments_adopt(d->segments, place_segment(d->pod, place), SEGMENT_META);
}

static int take_blob(void *user, uint8_t type, uint64_t id, const uint8_t *data, size_t bytes,
                     struct ps_error *err)
{
    struct deep *d = user;
    (void)data;
    (void)bytes;
    (void)err;
    if (type == BLOB_COUNTERS)
        d->unique_blocks = id;
    return 0;
}

static void pin_metadata(struct deep *d)
{
    const struct pod *pod = d->pod;
    d->pinned = calloc(pod->segment_count, sizeof *d->pinned);
    assert(d->pinned);
    for (uint32_t i = SYSTEM_SEGMENTS; i < pod->segment_count; i++)
        if (segments_state(pod->segments, i) == SEGMENT_META) {
            segments_pin(pod->segments, i);
            d->pinned[d->pinned_count++] = i;
        }
}

static void take_cut(struct deep *d)
{
    struct pod *pod = d->pod;
    struct meta_stats stats;
    meta_stats(pod->meta, &stats);
    const struct meta_config config = {.cache_bytes = 1 << 20, .pages = stats.pages};
    pin_metadata(d);
    d->own = true;
    d->meta = meta_create(&config);
    d->images = images_create();
    d->segments = segments_create(pod->segment_count, pod->segment_bytes, SYSTEM_SEGMENTS);
    d->restore = (struct restore){.pod = pod,
                                  .meta = d->meta,
                                  .images = d->images,
                                  .segments = d->segments,
                                  .blob = take_blob,
                                  .user = d};
    d->run_count = pod->anchor.run_count;
    for (uint32_t i = 0; i < d->run_count; i++)
        d->runs[i] = (struct anchor_run){pod->anchor.runs[i].seq, pod->anchor.runs[i].first,
                                         pod->anchor.runs[i].copy_segment};
    d->run = d->chunk = 0;
    d->next_chunk = d->run_count ? d->runs[0].first : PLACE_NONE;
    d->copy_segment = d->run_count ? d->runs[0].copy_segment : 0;
    d->chunk_read = d->chunk_begun = false;
    d->page_at = 0;
    d->cut_seq = pod->anchor.seq;
    d->cut_ns = pod->now_ns;
    d->state = DEEP_RUNS;
}

/* ---- findings */

static void tell_loss(struct deep *d, const struct survey_finding *f)
{
    struct pod *pod = d->pod;
    for (size_t i = 0; i < d->loss_count; i++)
        if (d->losses[i].subject == f->subject && d->losses[i].image == f->image &&
            d->losses[i].lba == f->lba)
            return; /* told before this check had to begin anew */
    pod_event(pod, "volume.data_loss", f->image, "%s: lost", f->text);
    if (d->loss_count == POD_LOSSES_MAX)
        return;
    struct pod_finding *loss = &d->losses[d->loss_count++];
    *loss = (struct pod_finding){.subject = f->subject, .image = f->image, .lba = f->lba, .blocks = f->count};
    (void)snprintf(loss->text, sizeof loss->text, "%s", f->text);
}

static bool is_lost(const struct deep *d, uint64_t group)
{
    for (size_t i = 0; i < d->lost_count; i++)
        if (d->lost[i].group == group)
            return true;
    return false;
}

void deep_found(void *user, const struct survey_finding *f)
{
    struct deep *d = user;
    if (d->request) {
        d->request->found(d->request->user, f);
        return;
    }
    if (f->kind == SURVEY_AT && is_lost(d, f->subject)) {
        tell_loss(d, f);
        if (d->locating)
            return;
    }
    if (d->finding_count < EVENTS_MAX)
        pod_event(d->pod, "deep.damage", f->image, "%s", f->text);
    if (d->finding_count == POD_FINDINGS_MAX)
        return;
    struct pod_finding *kept = &d->findings[d->finding_count++];
    *kept = (struct pod_finding){.subject = f->subject, .image = f->image, .lba = f->lba, .blocks = f->count};
    (void)snprintf(kept->text, sizeof kept->text, "%s", f->text);
}

static void take_space(void *user, const struct survey_space *space)
{
    struct deep *d = user;
    if (d->space_new_count == d->space_capacity) {
        d->space_capacity = d->space_capacity ? 2 * d->space_capacity : 64;
        d->spaces_new = realloc(d->spaces_new, d->space_capacity * sizeof *d->spaces_new);
        assert(d->spaces_new);
    }
    d->spaces_new[d->space_new_count++] = *space;
}

static void take_spaces(struct deep *d)
{
    d->space_new_count = d->space_capacity = 0;
    survey_each_space(d->survey, take_space, d);
    if (d->space_new_count)
        qsort(d->spaces_new, d->space_new_count, sizeof *d->spaces_new, compare_spaces);
    free(d->spaces);
    d->spaces = d->spaces_new;
    d->space_count = d->space_new_count;
    d->spaces_new = NULL;
    d->spaces_ns = d->cut_ns;
}

/* ---- the steps */

static void take_number(void *user, struct meta_key page)
{
    struct deep *d = user;
    if (d->number_count == d->number_capacity) {
        d->number_capacity = d->number_capacity ? 2 * d->number_capacity : 1024;
        d->numbers = realloc(d->numbers, d->number_capacity * sizeof *d->numbers);
        assert(d->numbers);
    }
    d->numbers[d->number_count++] = meta_page_number(page);
}

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void begin_records(struct deep *d)
{
    d->number_count = d->number_capacity = d->number_next = 0;
    d->group_next = 0;
    meta_each_page(d->meta, META_L2P, take_number, d);
    if (d->number_count)
        qsort(d->numbers, d->number_count, sizeof *d->numbers, compare_numbers);
    d->state = DEEP_RECORDS;
}

static void count_memory(struct deep *d)
{
    struct meta_stats meta = {0};
    if (d->own)
        meta_stats(d->meta, &meta);
    d->memory_bytes = meta.memory_bytes + (d->survey ? survey_memory(d->survey) : 0) + DEEP_CHUNK_BYTES +
                      DEEP_READS * (uint64_t)(RECORD_MAX_BYTES + 2 * BLKDEV_ALIGN);
    d->lent_bytes += LEND_STEP;
    if (d->lent_bytes > d->memory_bytes)
        d->lent_bytes = d->memory_bytes;
    meta_lend(d->pod->meta, d->lent_bytes);
}

static void begin_survey(struct deep *d)
{
    const struct pod *pod = d->pod;
    const uint64_t part = pod->meta_pages * META_SLOTS * sizeof(uint64_t) / TAKE_PART;
    for (size_t i = 0; i < d->waiting_count && d->lost_count < SURVEY_WANTED_MAX; i++) {
        d->lost[d->lost_count++] = (struct survey_lost){d->waiting[i], 0xff};
        if (d->located_count < POD_LOSSES_MAX)
            d->located[d->located_count++] = d->waiting[i];
    }
    d->waiting_count = 0;
    const struct survey_config config = {
        .meta = d->meta,
        .images = d->images,
        .segments = d->segments,
        .segment_bytes = pod->segment_bytes,
        .segment_count = segments_count(d->segments), /* as it was then */
        .system_segments = SYSTEM_SEGMENTS,
        .unique_blocks = d->unique_blocks,
        .memory_bytes = part > SURVEY_MEMORY_MIN ? part : SURVEY_MEMORY_MIN,
        .locate_only = d->locating,
        .lost = d->lost,
        .lost_count = d->lost_count,
        .found = deep_found,
        .user = d,
    };
    d->survey = survey_create(&config);
    d->state = DEEP_SURVEY;
}

static void survey_ended(struct deep *d)
{
    struct survey_totals t;
    survey_totals(d->survey, &t);
    if (d->request) {
        t.findings[SURVEY_RECORD] += d->damaged_records;
        t.damage += d->damaged_records;
        d->request->totals = t;
    } else if (!d->locating) {
        d->seq = d->cut_seq;
        d->info.damage = t.damage;
        d->info.images = t.images;
        d->info.pages = t.pages;
        d->info.blocks = t.blocks;
        d->info.passes = t.passes;
        take_spaces(d);
    }
    d->state = DEEP_ENDING;
}

/* False: it waits for a page, or has ended. */
static bool survey_on(struct deep *d)
{
    struct meta_key keys[MAP_WALK_AHEAD];
    const char *why;
    switch (survey_step(d->survey)) {
    case SURVEY_MORE:
        return true;
    case SURVEY_DONE:
        survey_ended(d);
        return false;
    case SURVEY_MISSING:
        break;
    }
    if (!deep_load(d, keys, survey_missing(d->survey, keys), &why))
        return false;
    survey_give_up(d->survey, why);
    return true;
}

/* One page's worth. False: not now. */
static bool step(struct deep *d)
{
    const struct pod *pod = d->pod;
    switch (d->state) {
    case DEEP_CHECKPOINT:
        if (checkpoint_busy(pod))
            return false;
        take_cut(d);
        return true;
    case DEEP_RUNS:
        if (d->run < d->run_count)
            return deep_runs_step(d);
        d->state = DEEP_PAGES;
        return true;
    case DEEP_PAGES:
        if (!meta_some_pages(d->meta, &d->page_at, PAGES_STEP, adopt, d))
            begin_survey(d);
        return true;
    case DEEP_RECORDS:
        switch (deep_records_step(d)) {
        case SURVEY_MISSING:
            return false;
        case SURVEY_DONE:
            begin_survey(d);
            break;
        case SURVEY_MORE:
            break;
        }
        return true;
    case DEEP_SURVEY:
        return survey_on(d);
    case DEEP_ENDING:
        return d->reading == 0 && !finish(d);
    case DEEP_IDLE:
        break;
    }
    return false;
}

/* ---- when */

static uint64_t interval_of(const struct pod *pod)
{
    return pod->config.survey_interval_ns ? pod->config.survey_interval_ns : INTERVAL_NS;
}

static uint64_t due_ns(const struct deep *d)
{
    const struct pod *pod = d->pod;
    const uint64_t interval = interval_of(pod);
    if (interval == UINT64_MAX || pod->applied_seq == d->seq)
        return UINT64_MAX;
    if (!d->info.runs)
        return d->opened_ns + (interval < FIRST_NS ? interval : FIRST_NS);
    const uint64_t pause = d->info.took_ns * DUTY;
    return d->ended_ns + (pause > interval ? pause : interval);
}

static void begin(struct deep *d, bool locating)
{
    struct pod *pod = d->pod;
    d->locating = locating;
    d->lost_count = 0;
    d->bad_count = 0;
    d->begun_ns = d->last_ns = pod->now_ns;
    d->credit = 0;
    deep_reads_init(d);
    d->state = DEEP_CHECKPOINT;
    checkpoint_want(pod);
    if (locating)
        return;
    d->told = d->wanted;
    d->wanted = false;
    d->finding_count = 0;
    d->info.failed = false;
    d->info.why[0] = 0;
}

static void begin_if_due(struct deep *d)
{
    const struct pod *pod = d->pod;
    if (pod->failed || pod->state != POD_SERVING || collect_is_pressed(pod))
        return;
    if (!d->opened_ns)
        d->opened_ns = pod->now_ns;
    if (d->wanted || pod->now_ns >= due_ns(d))
        begin(d, false);
    else if (d->waiting_count && pod->now_ns >= d->retry_ns)
        begin(d, true);
}

/* It must not hold up an end, nor hosts that need the room. */
static void give_way(struct deep *d)
{
    const struct pod *pod = d->pod;
    if (d->request || d->state == DEEP_ENDING)
        return;
    if (pod->state != POD_SERVING)
        deep_fail(d, "the pod ends");
    else if (pod->failed)
        deep_fail(d, "%s", pod->failure);
    else if (collect_is_pressed(pod))
        deep_fail(d, "little room is free, and it would hold some: it gave way");
}

static uint64_t rate_of(const struct pod *pod)
{
    return pod->config.scrub_rate ? pod->config.scrub_rate : RATE_DEFAULT;
}

static bool is_quiet(const struct deep *d)
{
    const struct pod *pod = d->pod;
    return pod->state != POD_SERVING || pod->failed || pod->now_ns - d->busy_ns >= QUIET_NS;
}

static void pass_time(struct deep *d)
{
    const struct pod *pod = d->pod;
    const uint64_t requests = pod->stats.reads + pod->stats.writes + pod->stats.trims + pod->stats.batches;
    if (requests != d->requests) {
        d->requests = requests;
        d->busy_ns = pod->now_ns;
    }
    const uint64_t us = (pod->now_ns - d->last_ns) / 1000;
    d->last_ns += us * 1000;
    d->credit += (int64_t)((us < 1000000 ? us : 1000000) * rate_of(pod) / 1000000);
    if (d->credit > STEPS_BUSY * PAGE_BYTES)
        d->credit = STEPS_BUSY * PAGE_BYTES;
    if (is_quiet(d))
        d->credit = STEPS_QUIET * PAGE_BYTES;
}

void deep_turn(struct pod *pod)
{
    struct deep *d = pod->deep;
    if (d->state == DEEP_IDLE)
        begin_if_due(d);
    if (d->state == DEEP_IDLE)
        return;
    give_way(d);
    pass_time(d);
    if (d->meta && d->state != DEEP_ENDING)
        meta_shrink(d->meta);
    while (d->credit > 0 && d->state != DEEP_IDLE && step(d))
        d->credit -= PAGE_BYTES;
    if (d->state != DEEP_IDLE && d->credit <= 0 && is_quiet(d))
        pod->again = true;
    if (d->state != DEEP_IDLE && d->state != DEEP_ENDING && d->state != DEEP_CHECKPOINT)
        count_memory(d);
}

uint64_t deep_next_ns(const struct pod *pod)
{
    const struct deep *d = pod->deep;
    if (pod->state != POD_SERVING || pod->failed)
        return UINT64_MAX;
    if (d->state == DEEP_IDLE) {
        const uint64_t due = due_ns(d), retry = d->waiting_count ? d->retry_ns : UINT64_MAX;
        return collect_is_pressed(pod) ? UINT64_MAX : due < retry ? due : retry;
    }
    if (d->credit > 0)
        return UINT64_MAX; /* it waits for the device, or for a checkpoint */
    return pod->now_ns + (uint64_t)(1 - d->credit) * 1000000 / rate_of(pod) * 1000 + 1000;
}

void pod_check(struct pod *pod, struct pod_check_request *request)
{
    struct deep *d = pod->deep;
    assert(pod->state == POD_CHECKED && d->state == DEEP_IDLE);
    d->request = request;
    request->status = 0;
    request->why[0] = 0;
    request->records_read = request->record_bytes = 0;
    d->meta = pod->meta;
    d->images = pod->images;
    d->segments = pod->segments;
    d->unique_blocks = pod->unique_blocks;
    d->damaged_records = 0;
    deep_reads_init(d);
    if (request->records)
        begin_records(d);
    else
        begin_survey(d);
    pod->again = true;
}

bool pod_check_stop(struct pod *pod)
{
    struct deep *d = pod->deep;
    if (d->request) {
        d->request = NULL;
        d->locating = true; /* nobody wants to know */
        d->state = DEEP_ENDING;
        pod->again = true;
    }
    return d->state == DEEP_IDLE && list_empty(&pod->active_loads);
}
