/* When what runs: the part of a loop that every transport shares.
 *
 * A task runs once for each time it was woken or its deadline passed, from
 * rpc_schedule_run and nowhere else. The transport calls that once after each
 * round of events; `poke` tells it that there is something new to run for. */
#ifndef PS_COMMON_RPC_SCHEDULE_H
#define PS_COMMON_RPC_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/container.h"

#define RPC_NEVER UINT64_MAX

struct rpc_schedule {
    struct list_node tasks, due;
    uint64_t earliest; /* no deadline lies before it; may be too early */
    void (*poke)(struct rpc_schedule *schedule);
};

struct rpc_task {
    struct list_node link, due;
    struct rpc_schedule *schedule;
    uint64_t deadline_ns;
    void (*run)(struct rpc_task *task, uint64_t now_ns);
};

void rpc_schedule_init(struct rpc_schedule *schedule, void (*poke)(struct rpc_schedule *schedule));
/* Runs what is due at `now_ns`; returns when it wants to run again: `now_ns`
 * if a task was woken meanwhile, RPC_NEVER without deadlines. */
uint64_t rpc_schedule_run(struct rpc_schedule *schedule, uint64_t now_ns);

void rpc_task_init(struct rpc_schedule *schedule, struct rpc_task *task,
                   void (*run)(struct rpc_task *task, uint64_t now_ns));
void rpc_task_wake(struct rpc_task *task);
/* Replaces the deadline. It is cleared (RPC_NEVER) before the task runs because of it. */
void rpc_task_at(struct rpc_task *task, uint64_t deadline_ns);
void rpc_task_stop(struct rpc_task *task);

#endif
