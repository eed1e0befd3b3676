/* Histories of used space whose making is known, so that their future can be made, too. What a kind adds is
 * independent of the forecast's own notion of trend, season and shift as far as its name says. */
#ifndef PS_TESTS_SYNTHETIC_HISTORY_H
#define PS_TESTS_SYNTHETIC_HISTORY_H

#include "common/prng.h"
#include "node/analytics/forecast.h"

enum synthetic_kind {
    SYNTHETIC_LINE,   /* steady growth, and noise of each day's own */
    SYNTHETIC_WALK,   /* each day adds its own amount: a random walk with drift */
    SYNTHETIC_WEEK,   /* growth, noise, and less at weekends */
    SYNTHETIC_SHIFTS, /* a walk, and volumes that are deleted or brought in now and then */
    SYNTHETIC_TURNS,  /* growth whose pace changes slowly */
    SYNTHETIC_BURSTS, /* a walk whose days are mostly small and sometimes large */
    SYNTHETIC_SWINGS, /* steady growth, with deviations that last for days */
    SYNTHETIC_KNOWN,  /* those up to here were looked at when the forecast's constants were chosen */
    SYNTHETIC_COMPOUND = SYNTHETIC_KNOWN, /* a share of itself each day */
    SYNTHETIC_MONTHS,                     /* growth, and what is cleared away every 30 days */
    SYNTHETIC_TAILS,                      /* a walk whose days have Student's t distribution with 3 degrees */
    SYNTHETIC_PACES,                      /* growth at a pace that leaps to another one now and then */
    SYNTHETIC_YEARS,                      /* growth, up and down with the year */
    SYNTHETIC_VOLUMES,                    /* hardly anything but volumes that come and go */
    SYNTHETIC_SLOWING,                    /* growth that ends within a thousand days */
    SYNTHETIC_KINDS,
};
extern const char *const synthetic_names[SYNTHETIC_KINDS];

enum {
    SYNTHETIC_DAYS_MAX = 2000
};

/* Used bytes at the end of each of `days` days, of a capacity of 1e12. */
void synthetic_make(enum synthetic_kind kind, struct prng *prng, size_t days, double *out);
/* Normal with variance 1. */
double synthetic_normal(struct prng *prng);

#endif
