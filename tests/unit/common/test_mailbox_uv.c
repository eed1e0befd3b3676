#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "common/container.h"
#include "common/loop_uv.h"
#include "common/status.h"

struct letter {
    struct mailbox_msg msg;
    int sender, number;
};

enum {
    SENDERS = 4,
    LETTERS = 5000,
    CAPACITY = 16
};

static struct {
    int next[SENDERS]; /* the loop's thread alone writes here; read after the join */
    int total, out_of_order;
} seen;

static void read_letter(struct mailbox_msg *msg)
{
    struct letter *l = container_of(msg, struct letter, msg);
    seen.out_of_order += seen.next[l->sender] != l->number;
    seen.next[l->sender] = l->number + 1;
    seen.total++;
    free(l);
}

struct sender {
    struct loop_thread *loop;
    int id;
    long refused;
};

static void send_letters(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < LETTERS; i++) {
        struct letter *l = malloc(sizeof *l);
        *l = (struct letter){.msg.run = read_letter, .sender = s->id, .number = i};
        while (loop_thread_post(s->loop, &l->msg) == PS_ELIMIT) {
            s->refused++;
            (void)sched_yield();
        }
    }
}

static void many_senders_each_keep_their_order_and_lose_nothing(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    struct loop_thread *loop;
    assert_int_equal(loop_thread_start("test", CAPACITY, &loop), 0);
    uv_thread_t threads[SENDERS];
    struct sender senders[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){loop, i, 0};
        assert_int_equal(uv_thread_create(&threads[i], send_letters, &senders[i]), 0);
    }
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(uv_thread_join(&threads[i]), 0);
    loop_thread_stop(loop); /* runs what was posted before */
    assert_int_equal(seen.total, SENDERS * LETTERS);
    assert_int_equal(seen.out_of_order, 0);
}

static int runs;

static void count_run(struct mailbox_msg *msg)
{
    (void)msg;
    runs++;
}

static void note_closed(void *user)
{
    *(int *)user += 1;
}

static void a_full_mailbox_refuses_and_takes_again_once_read(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct mailbox *m;
    int closed = 0;
    runs = 0;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(mailbox_create(&loop, 2, &m), 0);
    struct mailbox_msg a = {.run = count_run}, b = a, c = a;
    assert_int_equal(mailbox_post(m, &a), 0);
    assert_int_equal(mailbox_post(m, &b), 0);
    assert_int_equal(mailbox_post(m, &c), PS_ELIMIT);
    assert_int_equal(runs, 0); /* never inside post */
    (void)uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(runs, 2);
    assert_int_equal(mailbox_post(m, &c), 0);
    mailbox_close(m, note_closed, &closed);
    assert_int_equal(mailbox_post(m, &a), PS_EUNAVAILABLE);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(runs, 3);
    assert_int_equal(closed, 1);
    mailbox_free(m);
    assert_int_equal(uv_loop_close(&loop), 0);
}

struct closer {
    struct mailbox_msg first, second;
    struct mailbox *mailbox;
};

static void post_then_close(struct mailbox_msg *msg)
{
    struct closer *c = container_of(msg, struct closer, first);
    assert_int_equal(mailbox_post(c->mailbox, &c->second), 0);
    mailbox_close(c->mailbox, NULL, NULL);
}

static void what_a_message_posts_before_it_closes_the_mailbox_still_runs(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct closer c = {.first.run = post_then_close, .second.run = count_run};
    runs = 0;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(mailbox_create(&loop, 8, &c.mailbox), 0);
    assert_int_equal(mailbox_post(c.mailbox, &c.first), 0);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(runs, 1);
    mailbox_free(c.mailbox);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_senders_each_keep_their_order_and_lose_nothing),
        cmocka_unit_test(a_full_mailbox_refuses_and_takes_again_once_read),
        cmocka_unit_test(what_a_message_posts_before_it_closes_the_mailbox_still_runs),
    };
    return cmocka_run_group_tests_name("mailbox", tests, NULL, NULL);
}
