/* Second copies of metadata: what a checkpoint writes into a segment it writes at the same offset of its twin
 * (segments_take_twin), before the same flush and anchor. Whoever finds a record bad reads it there, uses it
 * and has it written anew: a page is merged by the next checkpoint, for a run that is a full one.
 *
 * There is no second copy of what was written when few segments were free, or by a program that knew of none:
 * that gets one when it is merged, some of it with each checkpoint. */
#include <stdio.h>

#include "node/pod/pod_impl.h"

enum {
    TOLD_NS = 1000000000,
    SMALL_POOL = 512, /* segments */
};

/* In a small pool a pair is worth as much as collection has to live on: there a cut that finds little room
 * writes once. Free segments and those that come free count, before the first turn of collection as well. */
bool twin_fits(const struct pod *pod, uint32_t needed)
{
    const uint32_t reserve = pod->reserve_segments;
    const bool small = pod->segment_count < SMALL_POOL;
    const uint32_t room = small ? segments_room(pod->segments, pod->applied_seq) : UINT32_MAX;
    return segments_free(pod->segments) > needed + reserve && room > 2 * reserve;
}

bool twin_try(struct pod *pod, struct blkdev_req *req, uint32_t segment, uint32_t twin, uint16_t *way,
              blkdev_cb cb)
{
    const uint32_t copies = twin ? 2 : 1, ways = copies * (pod->dev->geometry.ways + 1u);
    while (++*way < ways) {
        const uint32_t from = *way % copies ? twin : segment;
        req->offset = segment_addr(pod, from) + req->offset % pod->segment_bytes;
        req->flags = *way / copies ? blkdev_way(*way / copies) : 0;
        if (blkdev_submit(pod->dev, req, cb) == 0)
            return true;
    }
    return false;
}

void twin_tell(struct pod *pod, const char *what, uint64_t bad, uint64_t good, const char *trouble)
{
    char others[64] = "", how[80];
    pod->stats.repaired_metadata++;
    if (pod->twin_told_ns && pod->now_ns - pod->twin_told_ns < TOLD_NS) {
        pod->twin_untold++;
        return;
    }
    if (pod->twin_untold)
        (void)snprintf(others, sizeof others, "; %llu others since the last one told of",
                       (unsigned long long)pod->twin_untold);
    pod->twin_told_ns = pod->now_ns;
    pod->twin_untold = 0;
    if (good == 0)
        (void)snprintf(how, sizeof how, "what is in memory");
    else if (good == bad)
        (void)snprintf(how, sizeof how, "what the other devices hold");
    else
        (void)snprintf(how, sizeof how, "its other copy, at %llu", (unsigned long long)good);
    pod_event(pod, "pod.repaired", 0, "%s at %llu: %s; written anew from %s%s", what, (unsigned long long)bad,
              trouble, how, others);
}

void twin_name(char *out, size_t size, struct meta_key page, uint64_t run, uint32_t chunk)
{
    if (page.v)
        (void)snprintf(out, size, "metadata page %#llx", (unsigned long long)page.v);
    else
        (void)snprintf(out, size, "chunk %u of checkpoint run %llu", chunk, (unsigned long long)run);
}

/* Where the request found it good, though at `place` it was not. */
static void helped(struct pod *pod, const char *what, struct place place, const struct blkdev_req *req,
                   const char *trouble)
{
    const uint64_t segment = req->offset / pod->segment_bytes * pod->segment_bytes;
    twin_tell(pod, what, place_addr(place), segment + place_addr(place) % pod->segment_bytes, trouble);
}

void twin_helped_page(struct pod *pod, struct meta_key page, struct place place, const struct blkdev_req *req,
                      const char *trouble)
{
    char what[64];
    twin_name(what, sizeof what, page, 0, 0);
    meta_set_rotten(pod->meta, page, place, true);
    helped(pod, what, place, req, trouble);
}

void twin_helped_chunk(struct pod *pod, uint64_t run, uint32_t chunk, struct place place,
                       const struct blkdev_req *req, const char *trouble)
{
    char what[64];
    twin_name(what, sizeof what, (struct meta_key){0}, run, chunk);
    pod->rotten_run = true;
    helped(pod, what, place, req, trouble);
}
