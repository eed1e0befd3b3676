/* A libuv loop in a thread of its own, with a mailbox for work from outside.
 *
 * The thread runs until it was asked to stop and every handle on the loop is
 * closed. Whoever puts handles on the loop closes them in a message, before
 * loop_thread_stop. */
#ifndef PS_COMMON_LOOP_UV_H
#define PS_COMMON_LOOP_UV_H

#include "common/mailbox_uv.h"

struct loop_thread;

/* `name` is the thread's, at most 15 characters. PS_ENOMEM, PS_ELIMIT (no thread to be had). */
int loop_thread_start(const char *name, size_t capacity, struct loop_thread **out);

/* Any thread; as mailbox_post. */
int loop_thread_post(struct loop_thread *thread, struct mailbox_msg *msg);

/* For use on the loop's own thread, or before anything was posted. */
uv_loop_t *loop_thread_loop(struct loop_thread *thread);

/* From another thread: refuses new messages, runs those posted before, waits for the end and frees all. */
void loop_thread_stop(struct loop_thread *thread);

#endif
