/* Garbage collection's policy: when it runs, how fast, and what it takes.
 *
 * Room is counted in segments: those that are free, those that the next checkpoint frees, and log that is
 * kept for members that lag, which gives way. How fast it runs goes by fractions of them, too: a segment more
 * or less would be a step where few are left. Pure. */
#ifndef PS_NODE_FLASH_COLLECT_H
#define PS_NODE_FLASH_COLLECT_H

#include <stdbool.h>
#include <stdint.h>

struct collect_levels {
    uint32_t start;   /* room at or below which it runs, on victims that are at most half live */
    uint32_t low;     /* room at or below which it takes the best there is */
    uint32_t reserve; /* room that hosts' new data leaves */
};

/* For a pool of `usable` segments. Collection starts when `threshold` percent of them are in use; little is
 * free below 6 %, or half more than the reserve if that is more. */
struct collect_levels collect_levels_for(uint32_t usable, uint32_t reserve, uint32_t threshold);

enum {
    COLLECT_MOST = 32 * 1000, /* of collect_ratio */
    COLLECT_LEAST_GAIN = 16,  /* a victim has a dead byte in so many, or it is not worth moving the rest */
};

/* Bytes that may be read and moved for 1,000 bytes of log: 0 above `start`, growing as the room shrinks,
 * without a step, to COLLECT_MOST at the reserve. At equilibrium victims with live part u need 1000 (1 + u) /
 * (1 - u). */
uint32_t collect_ratio(const struct collect_levels *levels, double room);
/* And in each millisecond, whether anything is written or not. */
uint32_t collect_rate(const struct collect_levels *levels, double room);

/* What a victim is worth; 0: leave it. Cost-benefit, (1 - u) age / (1 + u): space gained and for how long,
 * against one reading and u of writing (Rosenblum, Ousterhout: The Design and Implementation of a
 * Log-Structured File System, ACM TOCS 10/1, 1992, section 3.6). `little`: room is low. */
double collect_score(bool little, uint32_t segment_bytes, uint32_t live, uint32_t age);

#endif
