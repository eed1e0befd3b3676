#include "common/loop_uv.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/container.h"
#include "common/status.h"

struct loop_thread {
    uv_loop_t loop;
    uv_thread_t thread;
    struct mailbox *mailbox;
    struct mailbox_msg stop;
    char name[16];
};

static void run(void *arg)
{
    struct loop_thread *t = arg;
    (void)pthread_setname_np(pthread_self(), t->name);
    (void)uv_run(&t->loop, UV_RUN_DEFAULT);
}

static void close_mailbox(struct mailbox_msg *msg)
{
    mailbox_close(container_of(msg, struct loop_thread, stop)->mailbox, NULL, NULL);
}

int loop_thread_start(const char *name, size_t capacity, struct loop_thread **out)
{
    struct loop_thread *t = calloc(1, sizeof *t);
    if (!t)
        return PS_ENOMEM;
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    if (uv_loop_init(&t->loop)) {
        free(t);
        return PS_ENOMEM;
    }
    int rc = mailbox_create(&t->loop, capacity, &t->mailbox);
    if (rc == 0 && uv_thread_create(&t->thread, run, t)) {
        mailbox_close(t->mailbox, NULL, NULL);
        (void)uv_run(&t->loop, UV_RUN_DEFAULT);
        mailbox_free(t->mailbox);
        rc = PS_ELIMIT;
    }
    if (rc) {
        (void)uv_loop_close(&t->loop);
        free(t);
        return rc;
    }
    *out = t;
    return 0;
}

int loop_thread_post(struct loop_thread *t, struct mailbox_msg *msg)
{
    return mailbox_post(t->mailbox, msg);
}

uv_loop_t *loop_thread_loop(struct loop_thread *t)
{
    return &t->loop;
}

void loop_thread_stop(struct loop_thread *t)
{
    t->stop.run = close_mailbox;
    while (mailbox_post(t->mailbox, &t->stop) == PS_ELIMIT)
        (void)sched_yield();
    (void)uv_thread_join(&t->thread);
    mailbox_free(t->mailbox);
    const int rc = uv_loop_close(&t->loop);
    assert(rc == 0 && "a handle was left open on the loop");
    (void)rc;
    free(t);
}
