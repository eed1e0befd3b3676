#include "common/rpc/schedule.h"

void rpc_schedule_init(struct rpc_schedule *schedule, void (*poke)(struct rpc_schedule *schedule))
{
    list_init(&schedule->tasks);
    list_init(&schedule->due);
    schedule->earliest = RPC_NEVER;
    schedule->poke = poke;
}

uint64_t rpc_schedule_run(struct rpc_schedule *schedule, uint64_t now_ns)
{
    if (now_ns >= schedule->earliest) {
        uint64_t earliest = RPC_NEVER;
        list_for_each(node, &schedule->tasks)
        {
            struct rpc_task *task = container_of(node, struct rpc_task, link);
            if (task->deadline_ns <= now_ns) {
                task->deadline_ns = RPC_NEVER;
                if (list_empty(&task->due))
                    list_push_back(&schedule->due, &task->due);
            } else if (task->deadline_ns < earliest) {
                earliest = task->deadline_ns;
            }
        }
        schedule->earliest = earliest;
    }
    /* Only those due now: tasks that wake each other must not keep the loop from its I/O. */
    struct list_node batch;
    list_init(&batch);
    list_splice_back(&batch, &schedule->due);
    for (struct list_node *node; (node = list_pop_front(&batch));) {
        struct rpc_task *task = container_of(node, struct rpc_task, due);
        task->run(task, now_ns);
    }
    return list_empty(&schedule->due) ? schedule->earliest : now_ns;
}

void rpc_task_init(struct rpc_schedule *schedule, struct rpc_task *task,
                   void (*run)(struct rpc_task *task, uint64_t now_ns))
{
    task->schedule = schedule;
    task->deadline_ns = RPC_NEVER;
    task->run = run;
    list_init(&task->due);
    list_push_back(&schedule->tasks, &task->link);
}

void rpc_task_wake(struct rpc_task *task)
{
    if (!list_empty(&task->due))
        return;
    const bool first = list_empty(&task->schedule->due);
    list_push_back(&task->schedule->due, &task->due);
    if (first)
        task->schedule->poke(task->schedule);
}

void rpc_task_at(struct rpc_task *task, uint64_t deadline_ns)
{
    task->deadline_ns = deadline_ns;
    if (deadline_ns < task->schedule->earliest) {
        task->schedule->earliest = deadline_ns;
        task->schedule->poke(task->schedule);
    }
}

void rpc_task_stop(struct rpc_task *task)
{
    list_remove(&task->due);
    list_remove(&task->link);
}
