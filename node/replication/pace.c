#include "node/replication/pace.h"

enum {
    SLOW_LOOKS = 60, /* that the gap may take to close */
    FAST_LOOKS = 15,
};

uint32_t pace_look(struct pace *pace, uint64_t now_ns, uint64_t gap)
{
    if (gap == 0) {
        *pace = (struct pace){0};
        return 0;
    }
    if (pace->at_ns && now_ns - pace->at_ns < PACE_EVERY_NS)
        return pace->permille;
    if (pace->at_ns) {
        const uint64_t closed = gap < pace->gap ? pace->gap - gap : 0;
        if (closed < gap / SLOW_LOOKS + 1)
            pace->permille = pace->permille + PACE_STEP < PACE_MOST ? pace->permille + PACE_STEP : PACE_MOST;
        else if (closed > gap / FAST_LOOKS)
            pace->permille = pace->permille > PACE_STEP ? pace->permille - PACE_STEP : 0;
    }
    pace->gap = gap;
    pace->at_ns = now_ns;
    return pace->permille;
}
