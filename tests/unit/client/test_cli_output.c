/* What people and scripts see: text, tables, progress, JSON, help. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/help.h"
#include "client/cli/progress.h"
#include "client/cli/show.h"
#include "client/cli/table.h"
#include "client/cli/text.h"

#define SECOND 1000000000ull

/* What `...` wrote to `out`; to be freed. */
#define CAPTURED(result, ...)                                                                                \
    char *result = NULL;                                                                                     \
    do {                                                                                                     \
        size_t size_;                                                                                        \
        FILE *out = open_memstream(&result, &size_);                                                         \
        __VA_ARGS__;                                                                                         \
        (void)fclose(out);                                                                                   \
    } while (0)

static void width_counts_columns_and_not_bytes(void **state)
{
    (void)state;
    assert_int_equal(text_width("abc"), 3);
    assert_int_equal(text_width("größe"), 5);
    assert_int_equal(text_width("日本"), 4);
    assert_int_equal(text_width("e\xcc\x81"), 1); /* a combining accent */
    assert_int_equal(text_width("\xff\xc0\x80"), 3);
    assert_int_equal(text_width(""), 0);
}

static void what_could_steer_the_terminal_is_shown_as_a_question_mark(void **state)
{
    (void)state;
    CAPTURED(text, text_put(out, "a\033[2Jb\nc\x7f"
                                 "d\xc2\x9b"
                                 "e\xe2\x80\xae"
                                 "f\xff"
                                 "g\xed\xa0\x80h?"));
    assert_string_equal(text, "a?[2Jb?c?d?e?f?g???h?");
    assert_int_equal(text_width("a\033\xe2\x80\xae"), 3);
    free(text);
}

static void text_wraps_at_blanks(void **state)
{
    (void)state;
    CAPTURED(text, text_wrap(out, "aa bb cc ddd\n\neeeeeeeeeeee f", 2, 8));
    assert_string_equal(text, "aa bb\n  cc ddd\n\n  eeeeeeeeeeee\n  f\n");
    free(text);
}

static void columns_align_and_no_line_ends_in_blanks(void **state)
{
    (void)state;
    static const struct table_column columns[] = {{"NAME", false}, {"SIZE", true}, {"STATE", false}};
    struct table *t = table_create(columns, 3);
    table_add(t, "größe");
    table_add(t, "%d", 5);
    table_add(t, "on");
    table_add(t, "x");
    table_add(t, "%d", 12345);
    table_add(t, "%s", "");
    CAPTURED(text, table_print(t, out, false));
    assert_string_equal(text, "NAME    SIZE  STATE\n"
                              "größe      5  on\n"
                              "x      12345\n");
    free(text);
    CAPTURED(bold, table_print(t, out, true));
    assert_true(strncmp(bold, "\033[1mNAME", 8) == 0);
    free(bold);
    table_destroy(t);
}

static void the_rate_follows_the_present_speed_without_jumping(void **state)
{
    (void)state;
    struct progress p;
    progress_start(&p, 1000 << 20, 0);
    assert_true(progress_remaining_s(&p) == UINT64_MAX);
    for (unsigned i = 1; i <= 40; i++) /* 10 MiB a second for 10 s */
        progress_update(&p, (uint64_t)i * (10 << 20) / 4, i * SECOND / 4);
    assert_true(p.rate > 10.4e6 && p.rate < 10.6e6);
    assert_int_equal(progress_remaining_s(&p), 90);
    progress_update(&p, 110ull << 20, 11 * SECOND); /* one second at the same speed */
    const double before = p.rate;
    progress_update(&p, 111ull << 20, 12 * SECOND); /* and one at a tenth */
    assert_true(p.rate < before && p.rate > before / 2);
    for (unsigned i = 1; i <= 100; i++)
        progress_update(&p, (111ull + i) << 20, (12 + i) * SECOND);
    assert_true(p.rate > 1.04e6 && p.rate < 1.06e6);
    assert_true(progress_average(&p, 112 * SECOND) > 1.9e6 && progress_average(&p, 112 * SECOND) < 2.1e6);
}

static void updates_in_quick_succession_do_not_make_the_rate_jump(void **state)
{
    (void)state;
    struct progress p;
    progress_start(&p, 0, 0);
    progress_update(&p, 1 << 20, 1000); /* "a petabyte a second" */
    assert_true(p.rate == 0);
    progress_update(&p, 2 << 20, SECOND);
    assert_true(p.rate > 2.0e6 && p.rate < 2.2e6);
}

static void the_progress_line_fits_whatever_the_width(void **state)
{
    (void)state;
    struct progress p;
    char line[512];
    progress_start(&p, 4ull << 30, 0);
    progress_update(&p, 1ull << 30, 2 * SECOND);
    progress_render(&p, 79, line, sizeof line);
    assert_non_null(strstr(line, " 25 %"));
    assert_non_null(strstr(line, "1.0 GiB of 4.0 GiB  512.0 MiB/s  0:06 left"));
    assert_non_null(strstr(line, "█"));
    assert_true(text_width(line) <= 79);
    for (size_t width = 1; width < 200; width++) {
        progress_render(&p, width, line, sizeof line);
        assert_true(text_width(line) <= (width < 5 ? 5 : width));
    }
    progress_update(&p, 4ull << 30, 4 * SECOND);
    progress_render(&p, 79, line, sizeof line);
    assert_non_null(strstr(line, "100 %"));
    progress_start(&p, 0, 0); /* a pipe: nobody knows the total */
    progress_update(&p, 1ull << 30, 2 * SECOND);
    progress_render(&p, 79, line, sizeof line);
    assert_string_equal(line, "1.0 GiB  512.0 MiB/s");
}

static void remaining_time_reads_like_a_clock(void **state)
{
    (void)state;
    char text[32];
    progress_clock(7, text, sizeof text);
    assert_string_equal(text, "0:07");
    progress_clock(754, text, sizeof text);
    assert_string_equal(text, "12:34");
    progress_clock(3 * 3600 + 300, text, sizeof text);
    assert_string_equal(text, "3:05:00");
    progress_clock(UINT64_MAX / 2, text, sizeof text);
    assert_string_equal(text, "days");
}

static void json_keeps_large_numbers_and_times_exact(void **state)
{
    (void)state;
    const struct pstorage_info info = {
        .id = UINT64_MAX,
        .kind = PSTORAGE_VOLUME,
        .name = "a\"b",
        .size_bytes = (1ull << 60) + 1,
        .created_unix_ns = 1700000000123456789ull,
    };
    cJSON *json = show_json_image(&info);
    char *text = cJSON_PrintUnformatted(json);
    assert_non_null(strstr(text, "\"id\":18446744073709551615,"));
    assert_non_null(strstr(text, "\"size_bytes\":1152921504606846977,"));
    assert_non_null(strstr(text, "\"created\":\"2023-11-14T22:13:20.123456789Z\""));
    assert_non_null(strstr(text, "\"name\":\"a\\\"b\""));
    cJSON *again = cJSON_Parse(text);
    assert_non_null(again);
    cJSON_Delete(again);
    cJSON_free(text);
    cJSON_Delete(json);
}

static void values_for_people_say_when_there_is_nothing(void **state)
{
    (void)state;
    char text[SHOW_TEXT_MAX];
    assert_string_equal(show_ratio(0, 0, text), "-");
    assert_string_equal(show_ratio(64, 20, text), "3.2 : 1");
    assert_string_equal(show_percent(1, 0, text), "-");
    assert_string_equal(show_percent(1, 8, text), "12.5 %");
    assert_string_equal(show_time(0, text), "-");
    assert_string_equal(show_duration(59 * SECOND, text), "59 s");
    assert_string_equal(show_duration(3661 * SECOND, text), "1 h 1 min");
    assert_string_equal(show_duration(90000 * SECOND, text), "1 d 1 h");
}

/* The shapes of help, man page and completion are looked at by people; here:
 * nothing of the table is left out of any. */
static void help_man_and_completion_hold_every_command_and_option(void **state)
{
    (void)state;
    CAPTURED(program, help_program(out));
    CAPTURED(man, man_write(out, "1.2.3"));
    CAPTURED(bash, completion_write_bash(out));
    for (size_t i = 0; i < CLI_COMMAND_COUNT; i++) {
        const struct cli_command *c = &cli_commands[i];
        CAPTURED(help, help_command(out, c));
        char words[64];
        (void)snprintf(words, sizeof words, "%s%s%s", c->noun, c->verb ? " " : "", c->verb ? c->verb : "");
        char in_man[2 * sizeof words], *to = in_man;
        for (const char *at = words; *at; *to++ = *at++) /* a hyphen there is \- */
            if (*at == '-')
                *to++ = '\\';
        *to = '\0';
        assert_non_null(strstr(program, words));
        assert_non_null(strstr(man, in_man));
        assert_non_null(strstr(bash, words));
        for (size_t k = 0; k < CLI_OPTIONS_MAX && c->options[k].name; k++) {
            assert_non_null(strstr(help, c->options[k].name));
            assert_non_null(strstr(help, "  "));
            (void)snprintf(words, sizeof words, "--%s", c->options[k].name);
            assert_non_null(strstr(bash, words));
        }
        for (const char *line = help; *line; line += strcspn(line, "\n"), line += *line == '\n')
            assert_true(strcspn(line, "\n") <= 120);
        free(help);
    }
    assert_non_null(strstr(man, "1.2.3"));
    free(program);
    free(man);
    free(bash);
}

int main(void)
{
    (void)setenv("TZ", "UTC", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(width_counts_columns_and_not_bytes),
        cmocka_unit_test(what_could_steer_the_terminal_is_shown_as_a_question_mark),
        cmocka_unit_test(text_wraps_at_blanks),
        cmocka_unit_test(columns_align_and_no_line_ends_in_blanks),
        cmocka_unit_test(the_rate_follows_the_present_speed_without_jumping),
        cmocka_unit_test(updates_in_quick_succession_do_not_make_the_rate_jump),
        cmocka_unit_test(the_progress_line_fits_whatever_the_width),
        cmocka_unit_test(remaining_time_reads_like_a_clock),
        cmocka_unit_test(json_keeps_large_numbers_and_times_exact),
        cmocka_unit_test(values_for_people_say_when_there_is_nothing),
        cmocka_unit_test(help_man_and_completion_hold_every_command_and_option),
    };
    return cmocka_run_group_tests_name("cli output", tests, NULL, NULL);
}
