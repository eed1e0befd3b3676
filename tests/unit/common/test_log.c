#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log_line.h"

#define AT 1795343492123000000ull /* 2026-11-22T10:31:32.123Z */

static const char *formatted(const char *message, const struct log_field *fields, size_t count)
{
    static char line[LOG_LINE_MAX + 1];
    const size_t n = log_line_format(line, AT, LOG_WARN, "test", message, fields, count);
    assert_true(n <= LOG_LINE_MAX && line[n - 1] == '\n');
    line[n] = '\0';
    return line;
}

static void a_line_has_time_level_module_message_and_fields(void **state)
{
    (void)state;
    const struct log_field f[] = {LOG_S("name", "vol1"), LOG_U("bytes", 42), LOG_I("rc", -5),
                                  LOG_X("id", 255),      LOG_B("on", true),  LOG_S("none", NULL)};
    assert_string_equal(formatted("it happened", f, 6), "2026-11-22T10:31:32.123Z warn test it happened "
                                                        "name=vol1 bytes=42 rc=-5 id=0xff on=true none=-\n");
}

static void values_that_could_be_misread_are_quoted_and_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *value, *shown;
    } rows[] = {
        {"", "v=\"\"\n"},
        {"a b", "v=\"a b\"\n"},
        {"a=b", "v=\"a=b\"\n"},
        {"say \"hi\"\\", "v=\"say \\\"hi\\\"\\\\\"\n"},
        {"two\nlines\r", "v=\"two\\nlines\\x0d\"\n"},
        {"\x1b[31m", "v=\"\\x1b[31m\"\n"},
        {"gr\xc3\xbc\xc3\x9f", "v=\"gr\xc3\xbc\xc3\x9f\"\n"},
        {"\xc2\x9b", "v=\"\\xc2\\x9b\"\n"},          /* CSI in one character */
        {"\xff\xc0\xaf", "v=\"\\xff\\xc0\\xaf\"\n"}, /* not UTF-8, overlong */
        {"\xed\xa0\x80", "v=\"\\xed\\xa0\\x80\"\n"}, /* surrogate */
        {"cut \xe2\x82", "v=\"cut \\xe2\\x82\"\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct log_field f = LOG_S("v", rows[i].value);
        const char *line = formatted("m", &f, 1);
        assert_string_equal(strstr(line, "v="), rows[i].shown);
    }
}

static void a_message_can_not_forge_a_second_line(void **state)
{
    (void)state;
    const char *line = formatted("evil\n2026 error x y", NULL, 0);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void too_long_a_line_is_cut_and_marked(void **state)
{
    (void)state;
    char value[LOG_LINE_MAX * 2];
    memset(value, 'v', sizeof value);
    value[sizeof value - 1] = '\0';
    const struct log_field f[] = {LOG_S("v", value), LOG_U("after", 1)};
    const char *line = formatted("m", f, 2);
    assert_true(strlen(line) <= LOG_LINE_MAX);
    assert_string_equal(line + strlen(line) - 4, "…\n");
    assert_null(strstr(line, "after"));
}

static void repetitions_are_held_back_and_counted(void **state)
{
    (void)state;
    static struct log_limit limit;
    uint32_t held, passed = 0;
    for (int i = 0; i < 100; i++)
        passed += log_limit_pass(&limit, NS_PER_S, LOG_WARN, "m", "again", &held);
    assert_int_equal(passed, LOG_BURST);
    assert_true(log_limit_pass(&limit, NS_PER_S, LOG_WARN, "m", "something else", &held));
    assert_true(log_limit_pass(&limit, NS_PER_S, LOG_ERROR, "m", "again", &held));
    assert_true(log_limit_pass(&limit, 11 * NS_PER_S, LOG_WARN, "m", "again", &held));
    assert_int_equal(held, 80);
    assert_true(log_limit_pass(&limit, 22 * NS_PER_S, LOG_WARN, "m", "again", &held));
    assert_int_equal(held, 0);
}

enum {
    THREADS = 4,
    LINES = 25
};

static void *chatter(void *arg)
{
    /* A message a thread and line pair, so that nothing is held back. */
    char message[32];
    for (int i = 0; i < LINES; i++) {
        (void)snprintf(message, sizeof message, "t%d-%d", *(int *)arg, i);
        log_info("chat", message, LOG_U("line", i), LOG_S("text", "some words to write"));
    }
    return NULL;
}

static void lines_of_many_threads_never_mix(void **state)
{
    (void)state;
    int pipe_fd[2];
    assert_int_equal(pipe(pipe_fd), 0);
    log_set_fd(pipe_fd[1]);
    pthread_t threads[THREADS];
    int ids[THREADS];
    for (int i = 0; i < THREADS; i++) {
        ids[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, chatter, &ids[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    log_set_fd(2);
    (void)close(pipe_fd[1]);
    FILE *in = fdopen(pipe_fd[0], "r");
    char line[LOG_LINE_MAX];
    int lines = 0, next[THREADS] = {0};
    while (fgets(line, sizeof line, in)) {
        int t, n, m;
        assert_int_equal(
            sscanf(line, "%*s info chat t%d-%d line=%d text=\"some words to write\"\n", &t, &n, &m), 3);
        assert_int_equal(n, m);
        assert_int_equal(n, next[t]++);
        lines++;
    }
    assert_int_equal(lines, THREADS * LINES);
    (void)fclose(in);
}

static void levels_above_the_limit_are_dropped_unformatted(void **state)
{
    (void)state;
    int evaluated = 0;
    log_set_level(LOG_INFO);
    log_debug("m", "not now", LOG_I("n", evaluated++));
    assert_int_equal(evaluated, 0);
    assert_true(log_enabled(LOG_INFO));
    assert_false(log_enabled(LOG_DEBUG));
}

static void the_clocks_run_forward(void **state)
{
    (void)state;
    const uint64_t a = clock_monotonic_ns(), b = clock_monotonic_ns();
    assert_true(b >= a);
    assert_true(clock_unix_ns() > 1700000000ull * NS_PER_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_module_message_and_fields),
        cmocka_unit_test(values_that_could_be_misread_are_quoted_and_escaped),
        cmocka_unit_test(a_message_can_not_forge_a_second_line),
        cmocka_unit_test(too_long_a_line_is_cut_and_marked),
        cmocka_unit_test(repetitions_are_held_back_and_counted),
        cmocka_unit_test(lines_of_many_threads_never_mix),
        cmocka_unit_test(levels_above_the_limit_are_dropped_unformatted),
        cmocka_unit_test(the_clocks_run_forward),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
