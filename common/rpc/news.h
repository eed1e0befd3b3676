/* Which lines about connections are news: each distinct one once a minute, and at most
 * RPC_NEWS_MAX of them a minute, since a stranger may word them. Pure. */
#ifndef PS_COMMON_RPC_NEWS_H
#define PS_COMMON_RPC_NEWS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    RPC_NEWS_MAX = 32
};
#define RPC_NEWS_NS (60ull * 1000000000)

/* Zero it. */
struct rpc_news {
    struct {
        uint64_t sum, until_ns;
    } told[RPC_NEWS_MAX];
    unsigned held_back; /* since the last one that was news */
};

/* True: tell it, and `*held_back` says how many lines were not told since. */
bool rpc_news_is(struct rpc_news *news, const char *line, uint64_t now_ns, unsigned *held_back);

#endif
