#include "common/rpc/news.h"

#include <stddef.h>
#include <string.h>

#include "common/xxh3.h"

bool rpc_news_is(struct rpc_news *news, const char *line, uint64_t now_ns, unsigned *held_back)
{
    const uint64_t sum = XXH3_64bits(line, strlen(line));
    size_t slot = RPC_NEWS_MAX;
    for (size_t i = 0; i < RPC_NEWS_MAX; i++) {
        if (news->told[i].until_ns <= now_ns) {
            slot = i;
        } else if (news->told[i].sum == sum) {
            slot = RPC_NEWS_MAX;
            break;
        }
    }
    if (slot == RPC_NEWS_MAX) {
        news->held_back++;
        return false;
    }
    news->told[slot].sum = sum;
    news->told[slot].until_ns = now_ns + RPC_NEWS_NS;
    *held_back = news->held_back;
    news->held_back = 0;
    return true;
}
