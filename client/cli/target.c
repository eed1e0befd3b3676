#include "client/cli/target.h"

#include <string.h>

static int connect_to(struct cli *cli, const struct pstorage_node_view *n, struct target *t)
{
    const struct pstorage_options options = {
        .endpoints = n->address,
        .name = "pstorage",
        .timeout_ms = (uint32_t)cli->in->timeout_ms,
        .cluster_key_file = cli->in->cluster_key_file,
    };
    if (!n->address[0])
        return cli_fail(cli, PSTORAGE_EUNAVAILABLE, "nobody here knows the address of node %s", n->name);
    const int rc = pstorage_client_create(&options, &t->own, &cli->error);
    if (rc == 0)
        t->client = t->own;
    return rc;
}

int target_find(struct cli *cli, struct target *t)
{
    const char *wanted = cli_option_value(cli->in, "node")->text;
    struct pstorage_nodes nodes = {.count = 0};
    *t = (struct target){.client = cli->client};
    const int rc = pstorage_nodes_run(cli->client, &nodes);
    if (rc)
        return cli_fail_request(cli, &nodes.request, rc);
    for (size_t i = 0; i < nodes.count; i++) {
        const struct pstorage_node_view *n = &nodes.items[i];
        if (wanted ? strcmp(n->name, wanted) != 0 : !n->self)
            continue;
        (void)snprintf(t->node, sizeof t->node, "%s", n->name);
        return n->self ? PSTORAGE_OK : connect_to(cli, n, t);
    }
    return cli_fail(cli, PSTORAGE_ENOTFOUND, "no node is named '%s' where it was asked",
                    wanted ? wanted : "");
}

void target_let_go(struct target *t)
{
    if (t->own)
        pstorage_client_destroy(t->own);
}
