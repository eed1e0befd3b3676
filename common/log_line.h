/* The pure half of the log: how a line looks, and which repetitions are held back. */
#ifndef PS_COMMON_LOG_LINE_H
#define PS_COMMON_LOG_LINE_H

#include "common/log.h"

/* Writes the line with its newline, at most LOG_LINE_MAX bytes (too long a one is cut
 * and ends in "…"); returns its length. Control characters, quotes and what is not
 * UTF-8 are escaped, so that no value can forge a line. */
size_t log_line_format(char out[LOG_LINE_MAX], uint64_t unix_ns, enum log_level level, const char *module,
                       const char *message, const struct log_field *fields, size_t count);

enum {
    LOG_LIMIT_SLOTS = 64
};

struct log_limit {
    struct log_limit_slot {
        uint64_t key, window_start_ns;
        uint32_t passed, held;
    } slots[LOG_LIMIT_SLOTS];
};

/* May this line pass at `now_ns`? If it is the first of a new window, `*held` is
 * how many of its kind were held back in the last. */
bool log_limit_pass(struct log_limit *limit, uint64_t now_ns, enum log_level level, const char *module,
                    const char *message, uint32_t *held);

#endif
