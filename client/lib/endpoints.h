/* Which endpoint to try next, when, and when to give up. Pure: time is passed in.
 *
 * A round tries each endpoint once, beginning with the one that worked last.
 * When a round has failed and the client's patience is over, what waits for a
 * connection fails; until then the next round follows after a pause that
 * doubles from 100 ms to 1 s. */
#ifndef PS_CLIENT_ENDPOINTS_H
#define PS_CLIENT_ENDPOINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum {
    ENDPOINTS_MAX = 16,
    ENDPOINT_URL_MAX = 255
};

struct endpoints {
    char urls[ENDPOINTS_MAX][ENDPOINT_URL_MAX + 1];
    size_t count, current;
    uint64_t patience_ns;
    /* Of the present search. */
    bool searching;
    size_t failed, refused; /* attempts in this round; those of them that the node refused */
    uint64_t since_ns, not_before_ns, pause_ns;
    /* Of the search for the primary. */
    size_t others;
    uint64_t others_since_ns, others_pause_ns;
};

/* Splits at blanks, checks the form of each. PS_EINVAL with a detail. */
int endpoints_parse(struct endpoints *e, const char *text, uint64_t patience_ns, struct ps_error *err);

/* Something wants a connection: the time from which the current endpoint may
 * be tried (at most `now_ns`: at once). */
uint64_t endpoints_wanted(struct endpoints *e, uint64_t now_ns);

const char *endpoints_url(const struct endpoints *e);

/* The current endpoint answered: the search is over. */
void endpoints_up(struct endpoints *e);

/* The current endpoint did not answer, or was lost: moves on to the next one.
 * True: give up, what waits fails now. A lost one is the first to be tried again.
 * `refused`: it is there and wants nothing to do with us, which no patience changes: a round of
 * nothing else is the last one. */
bool endpoints_failed(struct endpoints *e, uint64_t now_ns, bool refused);

/* The current endpoint's node answered that it is not the primary: moves on to the next one. True: give up;
 * all were asked, again and again, for as long as patience lasts, or there is only one. After a round follows
 * a pause. */
bool endpoints_elsewhere(struct endpoints *e, uint64_t now_ns);
/* The primary answered. */
void endpoints_primary(struct endpoints *e);

#endif
