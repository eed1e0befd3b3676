/* An anchor is written twice, to the same place in both halves of the ring.
 *
 * The first of a half, and the first that an opening writes, goes to its own half alone, and when it is
 * durable there to the other one: until then what is there may be all there is, and a zoned device erases a
 * half before it takes its first block. Later ones go to both at once: the anchor before them lies in other
 * places. */
#include <stdlib.h>

#include "node/pod/pod_impl.h"

static void write_done(struct blkdev_req *req, int status);

static int submit(struct anchor_put *p, bool copy)
{
    struct pod *pod = p->pod;
    const unsigned half = anchor_half(p->number) ^ copy;
    struct blkdev_req *req = &p->writes[copy].req;
    p->writes[copy].put = p;
    *req = (struct blkdev_req){
        .op = BLKDEV_WRITE,
        .flags = BLKDEV_FUA,
        .offset = segment_addr(pod, pod->label.pods[0].anchor_segments[half]) + anchor_offset(p->number),
        .length = ANCHOR_BYTES,
        .buf = p->buf,
    };
    pod->metadata_programmed += ANCHOR_BYTES;
    p->left++;
    const int rc = zones_write(pod, req, write_done);
    if (rc)
        p->left--;
    return rc;
}

static void write_done(struct blkdev_req *req, int status)
{
    struct anchor_put *p = container_of(req, struct anchor_write, req)->put;
    p->left--;
    p->status = p->status ? p->status : status;
    if (p->copy_waits && !p->status) {
        p->copy_waits = false;
        p->status = submit(p, true);
    }
    if (!p->left)
        p->cb(p, p->status);
}

int anchor_put(struct pod *pod, struct anchor_put *p, const struct pod_anchor *anchor, anchor_put_cb cb)
{
    p->pod = pod;
    p->number = anchor->number;
    p->cb = cb;
    p->left = 0;
    p->status = 0;
    p->copy_waits = anchor_offset(anchor->number) == 0;
    anchor_encode(anchor, p->buf);
    const int rc = submit(p, false);
    if (!rc && !p->copy_waits)
        p->status = submit(p, true); /* told when the first one ends */
    return rc;
}

void anchor_put_init(struct anchor_put *p)
{
    p->buf = aligned_alloc(BLKDEV_ALIGN, ANCHOR_BYTES);
    assert(p->buf && "out of memory at start");
}

void anchor_put_free(struct anchor_put *p)
{
    free(p->buf);
}
