/* Which node a command on flash devices is for: --node, or the one that answers. */
#ifndef PS_CLI_TARGET_H
#define PS_CLI_TARGET_H

#include "client/cli/cli.h"

/* Whom all requests of a command are for: a client that has lost its connection must not go on with another
 * node's device of the same name. */
struct target {
    struct pstorage_client *client;
    struct pstorage_client *own; /* of a node that --endpoint does not lead to; NULL: the command's */
    char node[64];
};

/* Fails as commands do. */
int target_find(struct cli *cli, struct target *t);
void target_let_go(struct target *t);

#endif
