/* How far a copy is, how fast it goes and when it will be done. Pure: time is
 * passed in, the line is returned as text. */
#ifndef PS_CLI_PROGRESS_H
#define PS_CLI_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

struct progress {
    uint64_t total_bytes; /* 0: unknown (a pipe) */
    uint64_t done_bytes;
    uint64_t start_ns, last_ns; /* last_ns: when the rate was last brought up to date */
    uint64_t last_bytes;
    double rate; /* bytes a second, smoothed; 0: not known yet */
};

void progress_start(struct progress *p, uint64_t total_bytes, uint64_t now_ns);

/* `done_bytes` never shrinks. The rate is a moving average that forgets with a
 * time constant of 3 s, so it follows the present speed without jumping. */
void progress_update(struct progress *p, uint64_t done_bytes, uint64_t now_ns);

/* Seconds until done at the present rate, rounded up; UINT64_MAX: not known. */
uint64_t progress_remaining_s(const struct progress *p);

/* Bytes a second from the start to `now_ns`. */
double progress_average(const struct progress *p, uint64_t now_ns);

/* "  42 % ▕█████▎      ▏ 1.2 GiB of 2.9 GiB  512 MiB/s  0:03 left" without line
 * break, at most `columns` wide: what does not fit is left out, the bar first. */
void progress_render(const struct progress *p, size_t columns, char *line, size_t size);

/* "0:07", "12:34", "3:05:00". Beyond 99 hours: "days". */
void progress_clock(uint64_t seconds, char *text, size_t size);

#endif
