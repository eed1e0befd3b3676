#include "common/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log_line.h"

static atomic_int max_level = LOG_INFO;
static atomic_int log_fd = 2;
/* Guards `limit`; never held while writing, so that a full pipe blocks only who logs. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_limit limit;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
}

void log_set_fd(int fd)
{
    atomic_store(&log_fd, fd);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

static void emit(enum log_level level, const char *module, const char *message,
                 const struct log_field *fields, size_t count)
{
    char line[LOG_LINE_MAX];
    const size_t length = log_line_format(line, clock_unix_ns(), level, module, message, fields, count);
    const int fd = atomic_load(&log_fd);
    ssize_t n;
    do
        n = write(fd, line, length);
    while (n < 0 && errno == EINTR);
    /* A log that can't be written must not stop the work: nobody is left to tell. */
}

void log_write(enum log_level level, const char *module, const char *message, const struct log_field *fields,
               size_t count)
{
    uint32_t held;
    (void)pthread_mutex_lock(&lock);
    const bool pass = log_limit_pass(&limit, clock_monotonic_ns(), level, module, message, &held);
    (void)pthread_mutex_unlock(&lock);
    if (held > 0) {
        const struct log_field told[] = {LOG_S("repeated", message), LOG_U("times", held)};
        emit(level, module, "held back", told, 2);
    }
    if (pass)
        emit(level, module, message, fields, count);
}
