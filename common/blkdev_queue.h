/* Requests of a device that wait their turn: first in, first out, linked through `next`. */
#ifndef PS_COMMON_BLKDEV_QUEUE_H
#define PS_COMMON_BLKDEV_QUEUE_H

#include "common/blkdev.h"

/* It may not be moved while it is empty. */
struct blkdev_queue {
    struct blkdev_req *head, **tail;
};

static inline void blkdev_queue_init(struct blkdev_queue *q)
{
    q->head = NULL;
    q->tail = &q->head;
}

static inline void blkdev_queue_push(struct blkdev_queue *q, struct blkdev_req *req)
{
    req->next = NULL;
    *q->tail = req;
    q->tail = &req->next;
}

/* NULL: there is none. */
static inline struct blkdev_req *blkdev_queue_pop(struct blkdev_queue *q)
{
    struct blkdev_req *req = q->head;
    if (req) {
        q->head = req->next;
        if (!q->head)
            q->tail = &q->head;
    }
    return req;
}

#endif
