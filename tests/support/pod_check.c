#include "tests/support/pod_check.h"

#include <stdarg.h>
#include <stdio.h>

#include "node/pod/pod_impl.h"
#include "node/pod/survey.h"

bool pod_check_is_quiet(const struct pod *pod)
{
    return !(pod->role != POD_STANDBY && images_releasable(pod->images)) && !pod->release_in_flight &&
           !checkpoint_busy(pod) && !pod->in_flight_count && !pod->open && !pod->again;
}

struct checking {
    struct pod *pod;
    char *why;
    size_t size;
    bool wrong;
};

static void wrong(struct checking *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void wrong(struct checking *c, const char *format, ...)
{
    va_list args;
    if (c->wrong)
        return; /* the first one counts */
    c->wrong = true;
    va_start(args, format);
    (void)vsnprintf(c->why, c->size, format, args);
    va_end(args);
}

static void on_finding(void *user, const struct survey_finding *f)
{
    wrong(user, "%s", f->text);
}

static void add_exclusive(void *user, const struct survey_space *space)
{
    *(uint64_t *)user += space->exclusive.stored_bytes;
}

/* What the survey shared out is all that is stored, to the byte. */
static void check_shares(struct checking *c, const struct survey *survey)
{
    struct survey_totals t;
    uint64_t exclusive = 0;
    struct pod_stats s;
    survey_totals(survey, &t);
    pod_stats(c->pod, &s);
    survey_each_space(survey, add_exclusive, &exclusive);
    if (t.stored.stored_bytes != s.stored_bytes || t.stored.blocks != s.unique_blocks)
        wrong(c, "a survey found %llu bytes in %llu blocks, %llu in %llu are counted",
              (unsigned long long)t.stored.stored_bytes, (unsigned long long)t.stored.blocks,
              (unsigned long long)s.stored_bytes, (unsigned long long)s.unique_blocks);
    if (exclusive + t.shared.stored_bytes + t.releasing.stored_bytes + t.leaked.stored_bytes !=
        t.stored.stored_bytes)
        wrong(c, "%llu stored bytes are not %llu exclusive, %llu shared, %llu releasing",
              (unsigned long long)t.stored.stored_bytes, (unsigned long long)exclusive,
              (unsigned long long)t.shared.stored_bytes, (unsigned long long)t.releasing.stored_bytes);
}

static void check_space(struct checking *c)
{
    struct pod_stats s;
    pod_stats(c->pod, &s);
    if (s.capacity != s.free_bytes + s.stored_bytes + s.metadata_bytes + s.garbage_bytes + s.open_bytes)
        wrong(c, "%llu bytes are not %llu free, %llu stored, %llu metadata, %llu garbage, %llu open",
              (unsigned long long)s.capacity, (unsigned long long)s.free_bytes,
              (unsigned long long)s.stored_bytes, (unsigned long long)s.metadata_bytes,
              (unsigned long long)s.garbage_bytes, (unsigned long long)s.open_bytes);
    if (s.garbage_bytes > s.capacity)
        wrong(c, "garbage is below nothing");
}

struct counting {
    const struct pod *pod;
    uint64_t *live; /* by segment */
};

static void count_base(void *user, struct meta_key page)
{
    struct counting *n = user;
    const struct place base = meta_base(n->pod->meta, page);
    if (!place_is_none(base))
        n->live[place_segment(n->pod, base)] += place_len(base);
}

/* Segments of metadata know what lives in them, and twins are alike. */
static void check_metadata(struct checking *c)
{
    const struct pod *pod = c->pod;
    struct counting n = {pod, calloc(pod->segment_count, sizeof n.live[0])};
    for (enum meta_kind kind = META_MAP; kind <= META_REF; kind++)
        meta_each_page(pod->meta, kind, count_base, &n);
    for (size_t i = 0; i < pod->run_count; i++)
        for (size_t k = 0; k < pod->runs[i].count; k++)
            n.live[place_segment(pod, pod->runs[i].chunks[k])] += place_len(pod->runs[i].chunks[k]);
    for (uint32_t i = SYSTEM_SEGMENTS; i < pod->segment_count; i++) {
        const uint32_t twin = segments_twin(pod->segments, i);
        const uint64_t live = n.live[i] + (twin ? n.live[twin] : 0);
        if (segments_state(pod->segments, i) != SEGMENT_META ? live > 0
                                                             : live != segments_live(pod->segments, i))
            wrong(c, "segment %u has %u bytes of metadata, %llu are referred to", i,
                  segments_live(pod->segments, i), (unsigned long long)live);
        if (twin && (segments_twin(pod->segments, twin) != i ||
                     segments_state(pod->segments, i) != segments_state(pod->segments, twin) ||
                     segments_open(pod->segments, i) != segments_open(pod->segments, twin)))
            wrong(c, "segments %u and %u are no twins", i, twin);
    }
    free(n.live);
}

/* False: a step said that it can't go on. */
static bool load(struct survey *survey, struct pod *pod, bool (*step)(void *user), void *user)
{
    struct meta_key keys[MAP_WALK_AHEAD];
    const size_t n = survey_missing(survey, keys);
    if (page_is_bad(pod, keys[0])) {
        survey_give_up(survey, "it is damaged");
        return true;
    }
    for (size_t i = 0; i < n; i++)
        if (!page_is_bad(pod, keys[i]))
            (void)load_page(pod, keys[i]);
    return step(user);
}

struct survey *pod_check_survey(struct pod *pod, const struct survey_config *with, bool (*step)(void *user),
                                void *user)
{
    struct survey_config config = *with;
    config.meta = pod->meta;
    config.images = pod->images;
    config.segments = pod->segments;
    config.segment_bytes = pod->segment_bytes;
    config.segment_count = pod->segment_count;
    config.system_segments = SYSTEM_SEGMENTS;
    config.unique_blocks = pod->unique_blocks;
    struct survey *survey = survey_create(&config);
    enum survey_state state;
    while ((state = survey_step(survey)) != SURVEY_DONE)
        if (state == SURVEY_MISSING && !load(survey, pod, step, user)) {
            survey_destroy(survey);
            return NULL;
        }
    return survey;
}

bool pod_check_counts(struct pod *pod, bool (*step)(void *user), void *user, char *why, size_t size)
{
    struct checking c = {.pod = pod, .why = why, .size = size};
    const struct survey_config config = {
        .memory_bytes = SURVEY_MEMORY_MIN, /* pools that are not tiny take several passes */
        .found = on_finding,
        .user = &c,
    };
    struct survey *survey = pod_check_survey(pod, &config, step, user);
    if (survey) {
        check_space(&c);
        check_metadata(&c);
        check_shares(&c, survey);
        survey_destroy(survey);
    }
    return !c.wrong;
}
