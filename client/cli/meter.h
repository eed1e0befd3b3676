/* The progress line on a terminal, and the interrupt that ends a copy early. */
#ifndef PS_CLI_METER_H
#define PS_CLI_METER_H

#include <stdbool.h>

#include "client/cli/progress.h"

struct meter {
    struct progress progress;
    bool visible; /* standard error is a terminal */
    uint64_t drawn_ns;
};

/* From here on SIGINT and SIGTERM only make meter_interrupted true; a second one kills. */
void meter_start(struct meter *m, uint64_t total_bytes, bool wanted);
void meter_update(struct meter *m, uint64_t done_bytes);
/* Wipes the line. */
void meter_stop(struct meter *m);
bool meter_interrupted(void);
/* Seconds since the start. */
double meter_seconds(const struct meter *m);

#endif
