/* A change of the tokens on its way into the catalog. One at a time: whoever keeps it says PS_ELIMIT while
 * another is under way, PS_EUNAVAILABLE when it is stopping; else `done` runs once, with 0 when it is on
 * disk, PS_ENOTFOUND when there was nothing to make gone. */
#ifndef PS_NODE_HOST_TOKEN_CHANGE_H
#define PS_NODE_HOST_TOKEN_CHANGE_H

#include "node/host/tokens_shared.h"

struct token_change {
    struct token token; /* when it is gone, its name */
    bool gone;
    void (*done)(struct token_change *change, int status);
};

#endif
