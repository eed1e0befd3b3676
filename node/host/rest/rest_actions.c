#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/host/rest/rest_exchange.h"

/* ---- ends */

static void finish(struct rest_exchange *x)
{
    if (x->body.failed && !x->is_problem) {
        json_out_free(&x->body);
        (void)rest_fail(&x->problem, PS_ENOMEM, NULL, "out of memory");
        rest_refuse(x);
        return;
    }
    x->finished(x);
}

void rest_answer_body_as(struct rest_exchange *x, int http)
{
    x->http = http;
    finish(x);
}

void rest_answer_body(struct rest_exchange *x)
{
    rest_answer_body_as(x, x->request.route->success);
}

void rest_answer(struct rest_exchange *x, const void *object)
{
    if (x->request.route->answer && x->request.route->success != 204)
        rest_encode(&x->body, NULL, x->request.route->answer, object);
    rest_answer_body(x);
}

void rest_refuse(struct rest_exchange *x)
{
    x->is_problem = true;
    x->http = rest_problem_http(&x->problem);
    x->retry_later = x->http == 503 || x->http == 429;
    x->etag[0] = x->location[0] = '\0';
    finish(x);
}

void rest_refuse_request(struct rest_exchange *x, const struct pstorage_request *q, int status)
{
    const char *detail = q->error.detail[0] ? q->error.detail : pstorage_status_text(status);
    (void)rest_fail(&x->problem, status, NULL, "%s", detail);
    rest_refuse(x);
}

void rest_exchange_clear(struct rest_exchange *x)
{
    json_out_free(&x->body);
    pstorage_report_clear(&x->report);
    free(x->buffer);
    x->buffer = NULL;
}

/* ---- what answers by showing what the path names */

static void show_image(struct rest_exchange *x)
{
    (void)rest_etag(x->info.tag, x->etag);
    rest_answer(x, &x->info);
}

static void get_volume(struct rest_exchange *x)
{
    rest_find_volume(x, false, show_image);
}

static void get_snapshot(struct rest_exchange *x)
{
    rest_find_snapshot(x, show_image);
}

void rest_act(struct rest_exchange *x)
{
    static const rest_step actions[] = {
        [REST_LIST_VOLUMES] = rest_list_images,
        [REST_CREATE_VOLUME] = rest_create_volume,
        [REST_GET_VOLUME] = get_volume,
        [REST_CHANGE_VOLUME] = rest_change_volume,
        [REST_DELETE_VOLUME] = rest_delete_volume,
        [REST_WRITE_VOLUME] = rest_write_volume,
        [REST_READ_VOLUME] = rest_read_volume,
        [REST_LIST_SNAPSHOTS] = rest_list_images,
        [REST_CREATE_SNAPSHOT] = rest_create_snapshot,
        [REST_GET_SNAPSHOT] = get_snapshot,
        [REST_DELETE_SNAPSHOT] = rest_delete_snapshot,
        [REST_RESTORE_SNAPSHOT] = rest_restore_snapshot,
        [REST_CLONE_SNAPSHOT] = rest_clone_snapshot,
        [REST_LIST_PODS] = rest_show_pod,
        [REST_GET_POD] = rest_show_pod,
        [REST_CHANGE_POD] = rest_order_pod,
        [REST_SNAPSHOT_POD] = rest_snapshot_pod,
        [REST_WHY_POD] = rest_why_of_pod,
        [REST_SWITCH_OVER] = rest_order_pod,
        [REST_PROMOTE] = rest_order_pod,
        [REST_ADD_MEMBER] = rest_order_pod,
        [REST_REMOVE_MEMBER] = rest_order_pod,
        [REST_LIST_NODES] = rest_show_nodes,
        [REST_GET_NODE] = rest_show_nodes,
        [REST_GET_REPLICATION] = rest_show_pod,
        [REST_GET_METRICS] = rest_show_figures,
        [REST_GET_REDUCTION] = rest_show_figures,
        [REST_GET_FLASH] = rest_show_figures,
        [REST_LIST_EVENTS] = rest_list_events,
        [REST_GET_ANALYTICS] = rest_show_analytics,
        [REST_GET_FORECAST] = rest_show_forecast,
        [REST_GET_DRIVES] = rest_show_drives,
        [REST_LIST_ADVICE] = rest_list_advice,
        [REST_GET_TEMPERATURE] = rest_show_temperature,
        [REST_GET_ACCOUNT] = rest_show_account,
        [REST_READY] = rest_show_ready,
        [REST_PROMETHEUS] = rest_show_prometheus,
    };
    actions[x->request.route->op](x);
}
