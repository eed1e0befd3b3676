/* Messages from any thread into a libuv loop: a bounded queue behind a lock,
 * and one uv_async to wake the loop.
 *
 * Messages are embedded by their sender and run on the loop's thread, in the
 * order in which they were posted. A full mailbox refuses: back-pressure is the
 * sender's to handle, nothing is dropped silently. The lock is held for a few
 * instructions only, never while a message runs. */
#ifndef PS_COMMON_MAILBOX_UV_H
#define PS_COMMON_MAILBOX_UV_H

#include <stddef.h>
#include <uv.h>

struct mailbox;

struct mailbox_msg {
    void (*run)(struct mailbox_msg *msg); /* on the loop's thread; may free the message */
    struct mailbox_msg *next;             /* the mailbox's own */
};

/* On the loop's thread, or before the loop runs. PS_ENOMEM. An open mailbox keeps its loop alive. */
int mailbox_create(uv_loop_t *loop, size_t capacity, struct mailbox **out);

/* Any thread. 0: the message is the mailbox's until it runs. PS_ELIMIT: full.
 * PS_EUNAVAILABLE: closed. The caller keeps a refused message. */
int mailbox_post(struct mailbox *mailbox, struct mailbox_msg *msg);

/* On the loop's thread. New posts are refused from now on, those before run; then
 * `closed` (may be NULL). The memory stays until mailbox_free. */
void mailbox_close(struct mailbox *mailbox, void (*closed)(void *user), void *user);

/* After `closed`, when no thread posts any more. */
void mailbox_free(struct mailbox *mailbox);

#endif
