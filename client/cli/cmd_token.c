/* `pstorage token`: every node keeps a list of its own, so a change is made on each. */
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <openssl/sha.h>

#include "client/cli/show.h"
#include "client/cli/table.h"

enum {
    SECRET_BYTES = 32,
    TOKEN_TEXT_MAX = 64
};

static const char *const role_names[] = {NULL, "read-only", "operator", "admin"};

/* "pst_" and the bytes in hexadecimal digits: recognisable when it turns up where it should not. */
static bool draw(char token[TOKEN_TEXT_MAX + 8])
{
    uint8_t bytes[SECRET_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return false;
    memcpy(token, "pst_", 5);
    for (size_t i = 0; i < sizeof bytes; i++)
        (void)snprintf(token + 4 + 2 * i, 3, "%02x", bytes[i]);
    explicit_bzero(bytes, sizeof bytes);
    return true;
}

/* On one node: by its address, or, if it tells none, by the client that there is. */
static int change_on(struct cli *cli, const struct pstorage_node_view *node, struct pstorage_tokens *order)
{
    const struct pstorage_options options = {
        .endpoints = node->address,
        .name = "pstorage",
        .timeout_ms = (uint32_t)cli->in->timeout_ms,
        .cluster_key_file = cli->in->cluster_key_file,
    };
    struct pstorage_client *client = cli->client;
    int rc =
        node->address[0] ? pstorage_client_create(&options, &client, &order->request.error) : PSTORAGE_OK;
    if (rc)
        return rc;
    rc = pstorage_tokens_run(client, order);
    if (client != cli->client)
        pstorage_client_destroy(client);
    return rc;
}

/* On all nodes that the one that is asked knows; goes on after an error. Where there is nothing to delete any
 * more is as good as done, unless that is so everywhere. */
static int change_everywhere(struct cli *cli, struct pstorage_tokens *order, const char *undone)
{
    struct pstorage_nodes nodes = {.count = 0};
    const bool deletes = order->op == PSTORAGE_TOKEN_DELETE;
    size_t done = 0, absent = 0;
    int rc = pstorage_nodes_run(cli->client, &nodes), failure = PSTORAGE_OK;
    char detail[sizeof cli->error.detail] = "", who[sizeof nodes.items[0].name] = "";
    if (rc)
        return cli_fail_request(cli, &nodes.request, rc);
    for (size_t i = 0; i < nodes.count; i++) {
        rc = change_on(cli, &nodes.items[i], order);
        done += rc == PSTORAGE_OK;
        absent += deletes && rc == PSTORAGE_ENOTFOUND;
        if (rc == PSTORAGE_OK || (deletes && rc == PSTORAGE_ENOTFOUND) || failure)
            continue;
        failure = rc;
        (void)snprintf(who, sizeof who, "%s", nodes.items[i].name);
        (void)snprintf(detail, sizeof detail, "%s", order->request.error.detail);
    }
    if (failure && nodes.count > 1 && done + absent > 0)
        return cli_fail(cli, failure, "%s %s: %.150s", undone, who, detail);
    if (failure)
        return cli_fail(cli, failure, "%s", detail);
    return done ? PSTORAGE_OK
                : cli_fail(cli, PSTORAGE_ENOTFOUND, "no token is named '%s'", order->token.name);
}

int cmd_token_create(struct cli *cli)
{
    struct pstorage_tokens order = {.op = PSTORAGE_TOKEN_PUT};
    const char *name = cli->in->operands[0], *role = cli_option_value(cli->in, "role")->text;
    char token[TOKEN_TEXT_MAX + 8];
    struct timespec now;
    for (int i = 1; i <= PSTORAGE_TOKEN_ADMIN; i++)
        if (strcmp(role, role_names[i]) == 0)
            order.token.role = (enum pstorage_token_role)i;
    if (!order.token.role)
        return cli_fail(cli, PSTORAGE_EINVAL, "no role is \"%s\": read-only, operator or admin", role);
    if (strlen(name) > PSTORAGE_NAME_MAX)
        return cli_fail(cli, PSTORAGE_EINVAL, "a token's name is at most %d characters", PSTORAGE_NAME_MAX);
    if (!draw(token))
        return cli_fail(cli, PSTORAGE_EIO, "the system gives no random numbers");
    (void)snprintf(order.token.name, sizeof order.token.name, "%s", name);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    order.token.created_unix_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    (void)SHA256((const uint8_t *)token, strlen(token), order.token.hash);
    const int rc =
        change_everywhere(cli, &order, "delete the token and make it again: it is not known on node");
    if (rc)
        return rc;
    if (cli->in->json) {
        cJSON *json = cJSON_CreateObject();
        (void)cJSON_AddStringToObject(json, "name", name);
        (void)cJSON_AddStringToObject(json, "role", role);
        (void)cJSON_AddStringToObject(json, "token", token);
        return cli_print_json(cli, json);
    }
    (void)fprintf(cli->out, "%s\n", token);
    return PSTORAGE_OK;
}

int cmd_token_delete(struct cli *cli)
{
    struct pstorage_tokens order = {.op = PSTORAGE_TOKEN_DELETE};
    const char *name = cli->in->operands[0];
    if (strlen(name) > PSTORAGE_NAME_MAX)
        return cli_fail(cli, PSTORAGE_ENOTFOUND, "no token is named '%s'", name);
    (void)snprintf(order.token.name, sizeof order.token.name, "%s", name);
    const int rc = change_everywhere(cli, &order, "delete it again: the token still opens node");
    if (rc)
        return rc;
    if (!cli->in->json)
        (void)fprintf(cli->out, "%s deleted\n", name);
    return PSTORAGE_OK;
}

static cJSON *token_json(const struct pstorage_token *t)
{
    cJSON *o = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(o, "name", t->name);
    (void)cJSON_AddStringToObject(o, "role", role_names[t->role]);
    show_json_time(o, "created", t->created_unix_ns);
    return o;
}

static int print_list(struct cli *cli, const struct pstorage_tokens *order)
{
    if (cli->in->json) {
        cJSON *json = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(json, "tokens");
        for (size_t i = 0; i < order->count; i++)
            (void)cJSON_AddItemToArray(array, token_json(&order->items[i]));
        return cli_print_json(cli, json);
    }
    if (cli_flag(cli->in, "quiet")) {
        for (size_t i = 0; i < order->count; i++)
            (void)fprintf(cli->out, "%s\n", order->items[i].name);
        return PSTORAGE_OK;
    }
    static const struct table_column columns[] = {{"TOKEN", false}, {"ROLE", false}, {"CREATED", false}};
    struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
    char text[SHOW_TEXT_MAX];
    for (size_t i = 0; i < order->count; i++) {
        table_add(t, "%s", order->items[i].name);
        table_add(t, "%s", role_names[order->items[i].role]);
        table_add(t, "%s", show_time(order->items[i].created_unix_ns, text));
    }
    table_print(t, cli->out, cli->bold);
    table_destroy(t);
    return PSTORAGE_OK;
}

int cmd_token_list(struct cli *cli)
{
    struct pstorage_tokens order = {.op = PSTORAGE_TOKENS_LIST};
    int rc = pstorage_tokens_run(cli->client, &order);
    rc = rc ? cli_fail_request(cli, &order.request, rc) : print_list(cli, &order);
    pstorage_tokens_clear(&order);
    return rc;
}
