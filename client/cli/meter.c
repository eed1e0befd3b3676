#include "client/cli/meter.h"

#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_NS 100000000ull

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

bool meter_interrupted(void)
{
    return interrupted != 0;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

void meter_start(struct meter *m, uint64_t total_bytes, bool wanted)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    *m = (struct meter){.visible = wanted && isatty(STDERR_FILENO)};
    progress_start(&m->progress, total_bytes, now_ns());
}

static size_t columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void meter_update(struct meter *m, uint64_t done_bytes)
{
    const uint64_t now = now_ns();
    progress_update(&m->progress, done_bytes, now);
    if (!m->visible || now - m->drawn_ns < REDRAW_NS)
        return;
    char line[512];
    /* One column less: a full line makes some terminals wrap. */
    progress_render(&m->progress, columns() - 1, line, sizeof line);
    (void)fprintf(stderr, "\r\033[K%s", line);
    (void)fflush(stderr);
    m->drawn_ns = now;
}

void meter_stop(struct meter *m)
{
    if (m->visible && m->drawn_ns) {
        (void)fputs("\r\033[K", stderr);
        (void)fflush(stderr);
    }
    m->visible = false;
}

double meter_seconds(const struct meter *m)
{
    return (double)(now_ns() - m->progress.start_ns) / 1e9;
}
