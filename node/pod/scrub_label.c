/* The end of a scrub: the pool's label and the newest anchor, which everything else is found by. Both lie
 * twice; what is not good of them is written anew. */
#include <stdio.h>
#include <stdlib.h>

#include "node/pod/pod_impl.h"

struct label_read {
    struct scrub_labels *all;
    bool anchor;
    unsigned side;   /* 0, 1: of two places */
    uint64_t number; /* that is to be there */
    uint64_t addr[2];
    uint32_t skip;
    uint8_t *buf;
    struct blkdev_req req;
};

struct scrub_labels {
    struct pod *pod;
    unsigned reading;
    struct label_read reads[4];
};

void scrub_labels_free(struct pod *pod)
{
    struct scrub_labels *s = pod->scrub.labels;
    for (int i = 0; s && i < 4; i++)
        free(s->reads[i].buf);
    free(s);
    pod->scrub.labels = NULL;
}

bool scrub_labels_are_quiet(const struct pod *pod)
{
    return !pod->scrub.labels || pod->scrub.labels->reading == 0;
}

/* It was written meanwhile, or is being. */
static bool is_outdated(const struct pod *pod, const struct label_read *r)
{
    return r->anchor ? r->number != pod->anchor.number
                     : r->number != pod->label.number || anchor_writer_labels(pod);
}

static int verify(const struct label_read *r, struct ps_error *err)
{
    struct pool_label label = {0};
    struct pod_anchor anchor = {0};
    const uint8_t *block = r->buf + r->skip;
    const int rc = r->anchor ? anchor_decode(block, &anchor, err) : label_decode(block, &label, err);
    const uint64_t number = r->anchor ? anchor.number : label.number;
    if (rc == PS_ENOTFOUND)
        return ps_error_set(err, rc, "it is not there");
    if (rc == 0 && number != r->number)
        return ps_error_set(err, PS_EDAMAGED, "number %llu is there, it should be %llu",
                            (unsigned long long)number, (unsigned long long)r->number);
    return rc;
}

static void read_done(struct blkdev_req *req, int status)
{
    struct label_read *r = container_of(req, struct label_read, req);
    struct pod *pod = r->all->pod;
    struct ps_error err = {0};
    r->all->reading--;
    pod->again = true;
    if (status)
        (void)ps_error_set(&err, status, "reading it failed: %s", ps_status_text(status));
    else
        status = verify(r, &err);
    if (!status || is_outdated(pod, r) || pod->failed || pod->state != POD_SERVING)
        return;
    pod->scrub.damaged++;
    pod->stats.checksum_errors++;
    twin_tell(pod, r->anchor ? "the newest anchor" : "the pool's label", r->addr[r->side], r->addr[!r->side],
              err.detail);
    anchor_writer_mend(pod, r->anchor, r->side);
}

static void submit(struct scrub_labels *s, struct label_read *r)
{
    struct pod *pod = s->pod;
    const uint32_t unit = pod->dev->geometry.read_unit;
    const uint64_t at = r->addr[r->side], from = at / unit * unit;
    r->all = s;
    r->skip = (uint32_t)(at - from);
    r->buf = aligned_alloc(BLKDEV_ALIGN, ANCHOR_BYTES + 2 * BLKDEV_ALIGN);
    assert(r->buf && "out of memory");
    r->req = (struct blkdev_req){.op = BLKDEV_READ,
                                 .offset = from,
                                 .length = (uint32_t)((at + ANCHOR_BYTES + unit - 1) / unit * unit - from),
                                 .buf = r->buf};
    pod->scrub.read_bytes += r->req.length;
    s->reading++;
    if (blkdev_submit(pod->dev, &r->req, read_done))
        s->reading--;
}

void scrub_labels_begin(struct pod *pod)
{
    struct scrub_labels *s = calloc(1, sizeof *s);
    const uint64_t number = pod->anchor.number;
    assert(s && !pod->scrub.labels);
    s->pod = pod;
    pod->scrub.labels = s;
    pod->again = true;
    for (unsigned i = 0; i < 4; i++) {
        struct label_read *r = &s->reads[i];
        r->anchor = i >= 2;
        r->side = i % 2;
        r->number = r->anchor ? number : pod->label.number;
        for (unsigned side = 0; side < 2; side++)
            r->addr[side] =
                r->anchor
                    ? segment_addr(pod, pod->label.pods[0].anchor_segments[anchor_half(number) ^ side]) +
                          anchor_offset(number)
                    : segment_addr(pod, side);
        submit(s, r);
    }
}
