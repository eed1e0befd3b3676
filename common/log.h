/* Structured log: one line an event on standard error,
 *
 *     2026-11-22T10:31:32.123Z level module message key=value key="a b"
 *
 *     log_info("nbd", "client connected", LOG_S("peer", peer), LOG_U("export_bytes", size));
 *
 * An edge (descriptor, clock, lock); any thread may log. A line goes out with
 * one write, so that lines never mix. An error is logged once, where it is
 * handled. A line (level, module, message) that repeats more than LOG_BURST times
 * within ten seconds is held back and counted; the count is told afterwards. */
#ifndef PS_COMMON_LOG_H
#define PS_COMMON_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level {
    LOG_ERROR,
    LOG_WARN,
    LOG_INFO,
    LOG_DEBUG
};

enum {
    LOG_BURST = 20,
    LOG_LINE_MAX = 2048
};

struct log_field {
    const char *key;
    enum {
        LOG_FIELD_STRING,
        LOG_FIELD_UNSIGNED,
        LOG_FIELD_SIGNED,
        LOG_FIELD_HEX,
        LOG_FIELD_BOOL
    } type;
    union {
        const char *s; /* NULL is shown as - */
        uint64_t u;
        int64_t i;
    };
};

#define LOG_S(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_STRING, .s = (v)})
#define LOG_U(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_UNSIGNED, .u = (uint64_t)(v)})
#define LOG_I(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_SIGNED, .i = (int64_t)(v)})
#define LOG_X(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_HEX, .u = (uint64_t)(v)})
#define LOG_B(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_BOOL, .u = (v)})

/* Lines above this level are dropped; LOG_INFO at start. */
void log_set_level(enum log_level level);
/* Where lines go; 2 at start. Not while other threads log. */
void log_set_fd(int fd);
bool log_enabled(enum log_level level);

void log_write(enum log_level level, const char *module, const char *message, const struct log_field *fields,
               size_t count);

#define LOG_AT(level, module, message, ...)                                                                  \
    do {                                                                                                     \
        if (log_enabled(level)) {                                                                            \
            const struct log_field log_fields_[] = {{0}, ##__VA_ARGS__};                                     \
            log_write(level, module, message, log_fields_ + 1,                                               \
                      sizeof log_fields_ / sizeof log_fields_[0] - 1);                                       \
        }                                                                                                    \
    } while (0)
#define log_error(module, message, ...) LOG_AT(LOG_ERROR, module, message, ##__VA_ARGS__)
#define log_warn(module, message, ...)  LOG_AT(LOG_WARN, module, message, ##__VA_ARGS__)
#define log_info(module, message, ...)  LOG_AT(LOG_INFO, module, message, ##__VA_ARGS__)
#define log_debug(module, message, ...) LOG_AT(LOG_DEBUG, module, message, ##__VA_ARGS__)

#endif
