/* What only looks: pods, nodes, figures, events, readiness. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container.h"
#include "node/host/rest/rest_exchange.h"

enum {
    READY_TIMEOUT_MS = 2000
};

/* ---- pods */

static void on_pod(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    const struct rest_page page = {.items = &x->order.view, .count = 1, .total = 1};
    if (status)
        rest_refuse_request(x, q, status);
    else
        rest_answer(x, x->request.route->answer == &rest_pod ? (const void *)&x->order.view : &page);
}

static void order(struct rest_exchange *x, enum pstorage_pod_op op, pstorage_cb cb)
{
    const struct rest_values *is = &x->request.is;
    x->order = (struct pstorage_pod_order){.op = op,
                                           .pod = is->id,
                                           .node = op == PSTORAGE_POD_PREFER ? is->preferred : is->node,
                                           .async = is->async,
                                           .accept_data_loss = is->accept_data_loss,
                                           .old_primary_is_off = is->old_primary_is_off,
                                           .request.user = x};
    const int rc = pstorage_pod_order_submit(x->client, &x->order, cb);
    if (rc)
        rest_refuse_request(x, &x->order.request, rc);
}

void rest_show_pod(struct rest_exchange *x)
{
    order(x, PSTORAGE_POD_GET, on_pod);
}

void rest_order_pod(struct rest_exchange *x)
{
    static const enum pstorage_pod_op ops[] = {
        [REST_CHANGE_POD] = PSTORAGE_POD_PREFER,
        [REST_SWITCH_OVER] = PSTORAGE_POD_SWITCH_OVER,
        [REST_PROMOTE] = PSTORAGE_POD_PROMOTE,
        [REST_ADD_MEMBER] = PSTORAGE_POD_ADD_MEMBER,
        [REST_REMOVE_MEMBER] = PSTORAGE_POD_REMOVE_MEMBER,
    };
    order(x, ops[x->request.route->op], on_pod);
}

static void on_why(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (status) {
        pstorage_why_clear(&x->q.why);
        rest_refuse_request(x, q, status);
        return;
    }
    rest_encode(&x->body, NULL, x->request.route->answer, &x->q.why);
    pstorage_why_clear(&x->q.why);
    rest_answer_body(x);
}

void rest_why_of_pod(struct rest_exchange *x)
{
    x->q.why = (struct pstorage_why){
        .pod = x->request.is.id, .after_number = x->request.is.after, .request.user = x};
    const int rc = pstorage_why_submit(x->client, &x->q.why, on_why);
    if (rc)
        rest_refuse_request(x, &x->q.why.request, rc);
}

/* ---- nodes */

static void on_nodes(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    const struct pstorage_nodes *nodes = container_of(q, struct pstorage_nodes, request);
    if (status) {
        rest_refuse_request(x, q, status);
        return;
    }
    if (x->request.route->op == REST_LIST_NODES) {
        const struct rest_page page = {.items = nodes->items, .count = nodes->count};
        rest_answer(x, &page);
        return;
    }
    for (size_t i = 0; i < nodes->count; i++)
        if (strcmp(nodes->items[i].name, x->request.is.id) == 0) {
            rest_answer(x, &nodes->items[i]);
            return;
        }
    (void)rest_fail(&x->problem, PS_ENOTFOUND, "id", "no node is named \"%s\"", x->request.is.id);
    rest_refuse(x);
}

void rest_show_nodes(struct rest_exchange *x)
{
    /* Not in the exchange, which every request would have to zero. */
    struct pstorage_nodes *nodes = calloc(1, sizeof *nodes);
    if (!nodes) {
        (void)rest_fail(&x->problem, PS_ENOMEM, NULL, "out of memory");
        rest_refuse(x);
        return;
    }
    x->buffer = (uint8_t *)nodes;
    nodes->request.user = x;
    const int rc = pstorage_nodes_submit(x->client, nodes, on_nodes);
    if (rc)
        rest_refuse_request(x, &nodes->request, rc);
}

/* ---- figures */

static double ratio(uint64_t before, uint64_t after)
{
    return after ? (double)before / (double)after : 0;
}

static void answer_reduction(struct rest_exchange *x)
{
    const struct pstorage_report *r = &x->report;
    struct rest_reduction *rows = calloc(r->npods + 1, sizeof *rows);
    for (size_t i = 0; rows && i < r->npods; i++) {
        const struct pstorage_pod *p = &r->pods[i];
        rows[i] = (struct rest_reduction){
            .host_written_bytes = p->host_written_bytes,
            .pattern_removed_bytes = p->pattern_removed_bytes,
            .dedup_removed_bytes = p->dedup_removed_bytes,
            .compress_in_bytes = p->compress_in_bytes,
            .compress_out_bytes = p->compress_out_bytes,
            .logical_bytes = p->logical_bytes,
            .stored_bytes = p->stored_bytes,
            .total_ratio = ratio(p->logical_bytes, p->stored_bytes),
            .dedup_ratio = ratio(p->dedup_removed_bytes + p->compress_in_bytes, p->compress_in_bytes),
            .compression_ratio = ratio(p->compress_in_bytes, p->compress_out_bytes),
        };
        memcpy(rows[i].pod, p->name, sizeof rows[i].pod);
    }
    const struct rest_page page = {.items = rows, .count = rows ? r->npods : 0};
    rest_encode(&x->body, NULL, x->request.route->answer, &page);
    x->body.failed |= !rows;
    free(rows);
    rest_answer_body(x);
}

static void on_report(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (status)
        rest_refuse_request(x, q, status);
    else if (x->request.route->op == REST_GET_REDUCTION)
        answer_reduction(x);
    else if (x->request.route->op == REST_GET_FLASH)
        rest_show_flash(x);
    else
        rest_answer(x, &x->report);
}

static void report(struct rest_exchange *x, pstorage_cb cb)
{
    x->report = (struct pstorage_report){.request.user = x};
    const int rc = pstorage_report_submit(x->client, &x->report, cb);
    if (rc)
        rest_refuse_request(x, &x->report.request, rc);
}

void rest_show_figures(struct rest_exchange *x)
{
    report(x, on_report);
}

/* ---- Prometheus: report, then the pod, then its volumes, then what this node counted of them, then how its
 * drives are. Without a primary the node's own figures are told all the same. */

void rest_answer_prometheus(struct rest_exchange *x, const struct pstorage_health *health)
{
    const struct rest_figures figures = {
        .report = &x->report,
        .view = x->step ? &x->order.view : NULL,
        .volumes = x->q.list.items,
        .nvolumes = x->q.list.count,
        .latencies = x->latency.items,
        .nlatencies = x->latency.count,
        .health = health,
        .counts = &x->counts,
    };
    rest_prometheus(&x->body, &figures);
    pstorage_list_clear(&x->q.list);
    pstorage_latency_clear(&x->latency);
    rest_answer_body(x);
}

static void on_prometheus_latency(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (status)
        pstorage_latency_clear(&x->latency);
    rest_ask_own_drives(x);
}

static void on_prometheus_list(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (status)
        pstorage_list_clear(&x->q.list);
    x->latency = (struct pstorage_latency){.request.user = x};
    const int rc = pstorage_latency_submit(x->client, &x->latency, on_prometheus_latency);
    if (rc == PSTORAGE_OK)
        return;
    pstorage_list_clear(&x->q.list);
    rest_refuse_request(x, &x->latency.request, rc);
}

static void on_prometheus_pod(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    x->step = status == PSTORAGE_OK;
    x->q.list = (struct pstorage_list){.kind = PSTORAGE_VOLUME, .request.user = x};
    const int rc = pstorage_list_submit(x->client, &x->q.list, on_prometheus_list);
    if (rc)
        rest_refuse_request(x, &x->q.list.request, rc);
}

static void on_prometheus_report(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (status)
        rest_refuse_request(x, q, status);
    else
        order(x, PSTORAGE_POD_GET, on_prometheus_pod);
}

void rest_show_prometheus(struct rest_exchange *x)
{
    report(x, on_prometheus_report);
}

/* ---- readiness */

static void on_ready(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    const struct pstorage_pod_view *v = &x->order.view;
    const bool ready = status == PSTORAGE_OK && v->serving;
    struct rest_ready answer = {0};
    (void)snprintf(answer.status, sizeof answer.status, "%s", ready ? "ready" : "waiting");
    if (status == PSTORAGE_OK)
        memcpy(answer.node, v->primary, sizeof answer.node);
    if (!ready)
        (void)snprintf(answer.reason, sizeof answer.reason, "%s",
                       status            ? q->error.detail
                       : v->waits_for[0] ? v->waits_for
                                         : "no primary serves");
    rest_encode(&x->body, NULL, x->request.route->answer, &answer);
    rest_answer_body_as(x, ready ? 200 : 503);
}

void rest_show_ready(struct rest_exchange *x)
{
    x->order = (struct pstorage_pod_order){.op = PSTORAGE_POD_GET,
                                           .request = {.user = x, .timeout_ms = READY_TIMEOUT_MS}};
    const int rc = pstorage_pod_order_submit(x->client, &x->order, on_ready);
    if (rc)
        rest_refuse_request(x, &x->order.request, rc);
}

/* ---- events */

/* "volume." means all that begin so. */
static bool is_wanted(const struct rest_exchange *x, const struct pstorage_event *e)
{
    const char *kind = x->request.is.kind;
    if (!kind)
        return true;
    const size_t n = strlen(kind);
    return kind[n - 1] == '.' ? strncmp(e->kind, kind, n) == 0 : strcmp(e->kind, kind) == 0;
}

static void ask_events(struct rest_exchange *x);

static void answer_events(struct rest_exchange *x, uint64_t behind, uint64_t last)
{
    struct rest_page page = {.items = x->buffer, .count = x->at, .total = last};
    if (behind < last)
        (void)snprintf(page.next_cursor, sizeof page.next_cursor, "%" PRIu64, behind);
    rest_answer(x, &page);
}

static void on_events(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    struct pstorage_events *e = &x->q.events;
    struct pstorage_event *kept = (struct pstorage_event *)(void *)x->buffer;
    if (status) {
        pstorage_events_clear(e);
        rest_refuse_request(x, q, status);
        return;
    }
    const uint64_t last = e->last_cursor;
    size_t i = 0;
    for (; i < e->count && x->at < x->to; i++) {
        x->from = e->items[i].cursor;
        if (is_wanted(x, &e->items[i]))
            kept[x->at++] = e->items[i];
    }
    const bool more = e->count > 0 && x->at < x->to && x->from < last;
    pstorage_events_clear(e);
    if (more)
        ask_events(x);
    else
        answer_events(x, x->from, last);
}

/* x->from: the cursor, x->to: how many are wanted, x->at: how many there are. */
static void ask_events(struct rest_exchange *x)
{
    x->q.events = (struct pstorage_events){
        .after_cursor = x->from,
        .limit = x->request.is.kind ? REST_LIMIT_MAX : (uint32_t)x->to,
        .request.user = x,
    };
    const int rc = pstorage_events_submit(x->client, &x->q.events, on_events);
    if (rc)
        rest_refuse_request(x, &x->q.events.request, rc);
}

void rest_list_events(struct rest_exchange *x)
{
    const struct rest_values *is = &x->request.is;
    x->at = 0;
    x->to = rest_given(&x->request, REST_BIT(limit)) ? is->limit : REST_LIMIT_DEFAULT;
    x->from = is->cursor ? strtoull(is->cursor, NULL, 10) : 0;
    x->buffer = calloc(x->to, sizeof(struct pstorage_event));
    if (x->buffer) {
        ask_events(x);
        return;
    }
    (void)rest_fail(&x->problem, PS_ENOMEM, NULL, "out of memory");
    rest_refuse(x);
}
