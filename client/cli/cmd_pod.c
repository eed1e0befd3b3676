/* pstorage pod list, show, switchover, add-member, remove-member, promote, set, snapshot; why; node list,
 * show */
#include "client/cli/show.h"

#include <inttypes.h>
#include <string.h>

#include "client/cli/table.h"
#include "client/cli/text.h"
#include "common/sizes.h"

enum {
    KIND_COLUMNS = 12
};

static const char *role_name(enum pstorage_role role)
{
    static const char *const names[] = {"", "alone", "primary", "sync", "behind", "async"};
    return names[role];
}

enum {
    EPOCH_TEXT_MAX = 24
};

/* "7", or "2.7": lineage 2, after people promoted members twice. */
static const char *epoch_text(uint64_t epoch, char text[EPOCH_TEXT_MAX])
{
    const uint32_t lineage = (uint32_t)(epoch >> 32), number = (uint32_t)epoch;
    if (lineage)
        (void)snprintf(text, EPOCH_TEXT_MAX, "%" PRIu32 ".%" PRIu32, lineage, number);
    else
        (void)snprintf(text, EPOCH_TEXT_MAX, "%" PRIu32, number);
    return text;
}

/* ---- pods */

static cJSON *member_json(const struct pstorage_member *m)
{
    cJSON *o = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(o, "node", m->node);
    (void)cJSON_AddStringToObject(o, "store", m->store);
    (void)cJSON_AddStringToObject(o, "role", role_name(m->role));
    (void)cJSON_AddStringToObject(o, "state", m->state);
    (void)cJSON_AddBoolToObject(o, "self", m->self);
    if (!m->known)
        return o;
    show_json_number(o, "log_end", m->log_end);
    show_json_number(o, "lag_batches", m->lag_batches);
    show_json_number(o, "lag_bytes", m->lag_bytes);
    show_json_number(o, "lag_ms", m->lag_ms);
    show_json_number(o, "heard_ms_ago", m->heard_ms_ago);
    show_json_number(o, "lease_left_ms", m->lease_left_ms);
    return o;
}

cJSON *show_json_pod(const struct pstorage_pod_view *v)
{
    cJSON *o = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(o, "name", v->name);
    (void)cJSON_AddStringToObject(o, "id", v->id);
    show_json_number(o, "epoch", v->epoch);
    (void)cJSON_AddStringToObject(o, "role", v->role);
    (void)cJSON_AddBoolToObject(o, "serving", v->serving);
    (void)cJSON_AddStringToObject(o, "waits_for", v->waits_for);
    (void)cJSON_AddStringToObject(o, "primary", v->primary);
    (void)cJSON_AddStringToObject(o, "primary_address", v->primary_address);
    (void)cJSON_AddStringToObject(o, "preferred", v->preferred);
    show_json_number(o, "applied", v->applied);
    show_json_number(o, "log_end", v->log_end);
    show_json_number(o, "committed", v->committed);
    (void)cJSON_AddBoolToObject(o, "lease_held", v->lease_held);
    (void)cJSON_AddBoolToObject(o, "changing", v->changing);
    show_json_number(o, "slowed_permille", v->slowed_permille);
    (void)cJSON_AddStringToObject(o, "cluster", v->cluster);
    (void)cJSON_AddStringToObject(o, "mediator", v->mediator);
    (void)cJSON_AddBoolToObject(o, "mediator_ok", v->mediator_ok);
    cJSON *members = cJSON_AddArrayToObject(o, "members");
    for (uint32_t i = 0; i < v->nmembers; i++)
        (void)cJSON_AddItemToArray(members, member_json(&v->members[i]));
    return o;
}

/* Bytes and time: the primary's view, of those that lack something. */
static void add_lag(struct table *t, const struct pstorage_member *m)
{
    char size[SIZE_TEXT_MAX], text[SHOW_TEXT_MAX];
    if (m->lag_batches) {
        table_add(t, "%s", size_format_human(m->lag_bytes, size));
        table_add(t, "%s", show_duration(m->lag_ms * 1000000, text));
    } else {
        table_add(t, "-");
        table_add(t, "-");
    }
}

static void print_members(struct cli *cli, const struct pstorage_pod_view *v)
{
    static const struct table_column columns[] = {{"NODE", false}, {"ROLE", false}, {"STATE", false},
                                                  {"BATCH", true}, {"LAG", true},   {"BYTES", true},
                                                  {"SINCE", true}, {"HEARD", true}, {"STORE", false}};
    struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < v->nmembers; i++) {
        const struct pstorage_member *m = &v->members[i];
        table_add(t, "%s%s", m->node, m->self ? " *" : "");
        table_add(t, "%s", role_name(m->role));
        table_add(t, "%s", m->state);
        if (m->known) {
            table_add(t, "%" PRIu64, m->log_end);
            table_add(t, "%" PRIu64, m->lag_batches);
        } else {
            table_add(t, "-");
            table_add(t, "-");
        }
        add_lag(t, m);
        if (m->known && !m->self)
            table_add(t, "%" PRIu64 " ms", m->heard_ms_ago);
        else
            table_add(t, "-");
        table_add(t, "%.8s", m->store);
    }
    table_print(t, cli->out, cli->bold);
    table_destroy(t);
}

void show_pod_lines(struct cli *cli, const struct pstorage_pod_view *v)
{
    char epoch[EPOCH_TEXT_MAX];
    if (v->cluster[0])
        (void)fprintf(cli->out, "Cluster %s, mediator %s %s\n", v->cluster, v->mediator,
                      v->mediator_ok ? "answers" : "does not answer");
    if (v->cluster[0] && !v->epoch)
        (void)fprintf(cli->out, "Pod %s is not formed yet\n", v->name);
    else if (v->cluster[0])
        (void)fprintf(cli->out, "Pod %s, epoch %s: primary %s%s%s; this node is %s%s\n", v->name,
                      epoch_text(v->epoch, epoch), v->primary, v->primary_address[0] ? " at " : "",
                      v->primary_address, v->role, v->serving ? " and serves hosts" : "");
    else
        (void)fprintf(cli->out, "Pod %s is not replicated\n", v->name);
    if (v->waits_for[0]) {
        (void)fputs("Waits for ", cli->out);
        /* Some sentences begin so already. */
        text_put(cli->out, strncmp(v->waits_for, "waits for ", 10) == 0 ? v->waits_for + 10 : v->waits_for);
        (void)fputc('\n', cli->out);
    }
}

static int print_pod(struct cli *cli, const struct pstorage_pod_view *v)
{
    if (cli->in->json)
        return cli_print_json(cli, show_json_pod(v));
    show_pod_lines(cli, v);
    if (v->nmembers) {
        (void)fputc('\n', cli->out);
        print_members(cli, v);
    }
    return PSTORAGE_OK;
}

static int run_order(struct cli *cli, struct pstorage_pod_order *order)
{
    const int rc = pstorage_pod_order_run(cli->client, order);
    return rc ? cli_fail_request(cli, &order->request, rc) : print_pod(cli, &order->view);
}

int cmd_pod_list(struct cli *cli)
{
    struct pstorage_pod_order order = {.op = PSTORAGE_POD_GET};
    const int rc = pstorage_pod_order_run(cli->client, &order);
    const struct pstorage_pod_view *v = &order.view;
    if (rc)
        return cli_fail_request(cli, &order.request, rc);
    if (cli->in->json) {
        cJSON *json = cJSON_CreateObject(), *pods = cJSON_AddArrayToObject(json, "pods");
        (void)cJSON_AddItemToArray(pods, show_json_pod(v));
        return cli_print_json(cli, json);
    }
    static const struct table_column columns[] = {{"POD", false},      {"PRIMARY", false}, {"EPOCH", true},
                                                  {"MEMBERS", true},   {"IN SYNC", true},  {"HERE", false},
                                                  {"WAITS FOR", false}};
    struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
    uint32_t in_sync = 0;
    char epoch[EPOCH_TEXT_MAX];
    for (uint32_t i = 0; i < v->nmembers; i++)
        in_sync += v->members[i].role <= PSTORAGE_ROLE_SYNC;
    table_add(t, "%s", v->name);
    table_add(t, "%s", v->primary[0] ? v->primary : "-");
    table_add(t, "%s", epoch_text(v->epoch, epoch));
    table_add(t, "%" PRIu32, v->nmembers);
    table_add(t, "%" PRIu32, in_sync);
    table_add(t, "%s", v->role);
    table_add(t, "%s", v->waits_for[0] ? v->waits_for : "-");
    table_print(t, cli->out, cli->bold);
    table_destroy(t);
    return PSTORAGE_OK;
}

int cmd_pod_show(struct cli *cli)
{
    struct pstorage_pod_order order = {.op = PSTORAGE_POD_GET, .pod = cli->in->operands[0]};
    return run_order(cli, &order);
}

int cmd_pod_switchover(struct cli *cli)
{
    struct pstorage_pod_order order = {
        .op = PSTORAGE_POD_SWITCH_OVER, .pod = cli->in->operands[0], .node = cli->in->operands[1]};
    return run_order(cli, &order);
}

int cmd_pod_add_member(struct cli *cli)
{
    struct pstorage_pod_order order = {.op = PSTORAGE_POD_ADD_MEMBER,
                                       .pod = cli->in->operands[0],
                                       .node = cli->in->operands[1],
                                       .async = cli_flag(cli->in, "async")};
    return run_order(cli, &order);
}

int cmd_pod_promote(struct cli *cli)
{
    struct pstorage_pod_order order = {.op = PSTORAGE_POD_PROMOTE,
                                       .pod = cli->in->operands[0],
                                       .node = cli->in->operands[1],
                                       .accept_data_loss = cli_flag(cli->in, "accept-data-loss"),
                                       .old_primary_is_off = cli_flag(cli->in, "old-primary-is-off")};
    if (!order.accept_data_loss)
        return cli_fail(
            cli, PSTORAGE_EINVAL,
            "what other members hold beyond this one's log is lost by that: say --accept-data-loss");
    return run_order(cli, &order);
}

int cmd_pod_set(struct cli *cli)
{
    const struct cli_value *preferred = cli_option_value(cli->in, "preferred");
    if (preferred->given == cli_flag(cli->in, "no-preferred"))
        return cli_fail(cli, PSTORAGE_EINVAL, "say either --preferred NODE or --no-preferred");
    struct pstorage_pod_order order = {.op = PSTORAGE_POD_PREFER,
                                       .pod = cli->in->operands[0],
                                       .node = preferred->given ? preferred->text : NULL};
    return run_order(cli, &order);
}

int cmd_pod_remove_member(struct cli *cli)
{
    struct pstorage_pod_order order = {
        .op = PSTORAGE_POD_REMOVE_MEMBER, .pod = cli->in->operands[0], .node = cli->in->operands[1]};
    return run_order(cli, &order);
}

int cmd_pod_snapshot(struct cli *cli)
{
    char pod[PSTORAGE_NAME_MAX + 1];
    const char *operand = cli->in->operands[0], *sign = strchr(operand, '@');
    if (!sign || sign == operand || !sign[1] || (size_t)(sign - operand) >= sizeof pod)
        return cli_fail(cli, PSTORAGE_EINVAL, "'%s' is not POD@NAME", operand);
    memcpy(pod, operand, (size_t)(sign - operand));
    pod[sign - operand] = '\0';
    struct pstorage_manage m = {.op = PSTORAGE_SNAPSHOT_ALL, .pod = pod, .name = sign + 1};
    const int rc = pstorage_manage_run(cli->client, &m);
    if (rc)
        return cli_fail_request(cli, &m.request, rc);
    if (cli->in->json) {
        cJSON *json = cJSON_CreateObject();
        (void)cJSON_AddStringToObject(json, "name", m.name);
        show_json_number(json, "count", m.count);
        return cli_print_json(cli, json);
    }
    (void)fprintf(cli->out, "Snapshots %s of %" PRIu32 " volumes created\n", m.name, m.count);
    return PSTORAGE_OK;
}

/* ---- why */

static void print_decision(struct cli *cli, const struct pstorage_decision *d)
{
    char when[SHOW_TEXT_MAX], epoch[EPOCH_TEXT_MAX];
    (void)fprintf(cli->out, "%s.%03u  epoch %-3s ", show_time(d->time_unix_ns, when),
                  (unsigned)(d->time_unix_ns / 1000000 % 1000), epoch_text(d->epoch, epoch));
    text_put_left(cli->out, d->kind, KIND_COLUMNS);
    (void)fputs("  ", cli->out);
    text_put(cli->out, d->text);
    (void)fputc('\n', cli->out);
}

int cmd_why(struct cli *cli)
{
    struct pstorage_why why = {.pod = cli->in->operands[0]};
    int rc = pstorage_why_run(cli->client, &why);
    if (rc) {
        rc = cli_fail_request(cli, &why.request, rc);
    } else if (cli->in->json) {
        cJSON *json = cJSON_CreateObject();
        (void)cJSON_AddStringToObject(json, "node", why.node);
        cJSON *array = cJSON_AddArrayToObject(json, "decisions");
        for (size_t i = 0; i < why.count; i++) {
            cJSON *o = cJSON_CreateObject();
            show_json_number(o, "number", why.items[i].number);
            show_json_time(o, "time", why.items[i].time_unix_ns);
            show_json_number(o, "epoch", why.items[i].epoch);
            (void)cJSON_AddStringToObject(o, "kind", why.items[i].kind);
            (void)cJSON_AddStringToObject(o, "text", why.items[i].text);
            (void)cJSON_AddItemToArray(array, o);
        }
        rc = cli_print_json(cli, json);
    } else {
        for (size_t i = 0; i < why.count; i++)
            print_decision(cli, &why.items[i]);
        if (!why.count)
            (void)fprintf(cli->out, "Node %s decided nothing about the pod since it started\n", why.node);
    }
    pstorage_why_clear(&why);
    return rc;
}

/* ---- nodes */

static cJSON *node_json(const struct pstorage_node_view *n)
{
    cJSON *o = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(o, "name", n->name);
    (void)cJSON_AddStringToObject(o, "address", n->address);
    (void)cJSON_AddBoolToObject(o, "self", n->self);
    (void)cJSON_AddBoolToObject(o, "connected", n->connected);
    (void)cJSON_AddStringToObject(o, "state", n->state);
    (void)cJSON_AddStringToObject(o, "software", n->software);
    (void)cJSON_AddStringToObject(o, "store", n->store);
    show_json_number(o, "run", n->run);
    show_json_number(o, "log_end", n->log_end);
    return o;
}

int cmd_node_list(struct cli *cli)
{
    struct pstorage_nodes nodes = {.count = 0};
    const int rc = pstorage_nodes_run(cli->client, &nodes);
    if (rc)
        return cli_fail_request(cli, &nodes.request, rc);
    if (cli->in->json) {
        cJSON *json = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(json, "nodes");
        for (size_t i = 0; i < nodes.count; i++)
            (void)cJSON_AddItemToArray(array, node_json(&nodes.items[i]));
        return cli_print_json(cli, json);
    }
    static const struct table_column columns[] = {
        {"NODE", false}, {"ADDRESS", false}, {"STATE", false}, {"VERSION", false}, {"STORE", false}};
    struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < nodes.count; i++) {
        const struct pstorage_node_view *n = &nodes.items[i];
        table_add(t, "%s%s", n->name, n->self ? " *" : "");
        table_add(t, "%s", n->address[0] ? n->address : "-");
        table_add(t, "%s", n->state);
        table_add(t, "%s", n->software[0] ? n->software : "-");
        table_add(t, "%.8s", n->store[0] ? n->store : "-");
    }
    table_print(t, cli->out, cli->bold);
    table_destroy(t);
    return PSTORAGE_OK;
}

int cmd_node_show(struct cli *cli)
{
    struct pstorage_nodes nodes = {.count = 0};
    const int rc = pstorage_nodes_run(cli->client, &nodes);
    if (rc)
        return cli_fail_request(cli, &nodes.request, rc);
    for (size_t i = 0; i < nodes.count; i++) {
        const struct pstorage_node_view *n = &nodes.items[i];
        if (strcmp(n->name, cli->in->operands[0]) != 0)
            continue;
        if (cli->in->json)
            return cli_print_json(cli, node_json(n));
        (void)fprintf(cli->out,
                      "Node %s%s%s: %s\nVersion %s, store %s, start %" PRIu64 ", last batch %" PRIu64 "\n",
                      n->name, n->address[0] ? " at " : "", n->address, n->state,
                      n->software[0] ? n->software : "-", n->store[0] ? n->store : "-", n->run, n->log_end);
        return PSTORAGE_OK;
    }
    return cli_fail(cli, PSTORAGE_ENOTFOUND, "no node is named '%s' where it was asked",
                    cli->in->operands[0]);
}
