#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/settings_table.h"

static struct settings settings;
static struct ps_error error;

/* Lists end with NULL. */
static int load(const struct settings_program *program, const char *const *flags, const char *const *envp,
                const char *file)
{
    const char *argv[32] = {program->name};
    int argc = 1;
    for (; flags && flags[argc - 1]; argc++)
        argv[argc] = flags[argc - 1];
    const struct settings_input in = {.argc = argc,
                                      .argv = argv,
                                      .envp = envp,
                                      .host_name = "alpha",
                                      .file_name = file ? "test.conf" : NULL,
                                      .file_text = file,
                                      .file_length = file ? strlen(file) : 0};
    error = (struct ps_error){0};
    return settings_load(&settings, program, &in, &error);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct pstoraged_settings loaded(const char *const *flags, const char *const *envp, const char *file)
{
    if (load(&pstoraged_program, flags, envp, file))
        fail_msg("%s", error.detail);
    struct pstoraged_settings s;
    pstoraged_settings_get(&settings, &s);
    return s;
}

static void without_arguments_the_defaults_hold(void **state)
{
    (void)state;
    const struct pstoraged_settings s = loaded(NULL, NULL, NULL);
    assert_false(s.debug);
    assert_string_equal(s.data_dir, "/tmp/pstorage/data");
    assert_string_equal(s.node_name, "alpha");
    assert_string_equal(s.flash_devices, "file:/tmp/pstorage/data/flash0,size=16G");
    assert_string_equal(s.rpc_listen, "tcp://127.0.0.1:9500");
    assert_string_equal(s.api_listen, "127.0.0.1");
    assert_int_equal(s.api_port, 8000);
    assert_string_equal(s.nbd_listen, "127.0.0.1:10809");
    assert_string_equal(s.nvme_listen, "127.0.0.1:4420");
    assert_string_equal(s.nvme_advertise, "");
    assert_true(s.dedupe_enabled);
    assert_int_equal(s.dedupe_fingerprint, SETTING_FINGERPRINT_XXH3);
    assert_true(s.compression_enabled);
    assert_int_equal(s.compression_algorithm, SETTING_COMPRESSION_LZ4);
    assert_false(s.cluster_enabled);
    assert_int_equal(s.replication_mode, SETTING_REPLICATION_SYNC);
    assert_int_equal(s.gc_threshold, 75);
    assert_int_equal(s.wear_threshold, 1000);
    assert_true(s.memory_budget == 1ull << 30);
    assert_false(s.rebuild_catalog);
    assert_int_equal(settings.nwarnings, 0);
}

static void the_mediator_has_a_table_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(load(&mediator_program, LIST("--mediator-listen", "tcp://0.0.0.0:1"), NULL, NULL), 0);
    struct mediator_settings m;
    mediator_settings_get(&settings, &m);
    assert_string_equal(m.mediator_listen, "tcp://0.0.0.0:1");
    assert_int_equal(load(&mediator_program, LIST("--nbd-listen=x:1"), NULL, NULL), PS_EINVAL);
}

static void flags_go_before_environment_before_file_before_default(void **state)
{
    (void)state;
    const char *file = "PSTORAGE_API_PORT=1\nPSTORAGE_GC_THRESHOLD=11\nPSTORAGE_WEAR_THRESHOLD=111\n";
    const struct pstoraged_settings s = loaded(
        LIST("--api-port=3"), LIST("PSTORAGE_API_PORT=2", "PSTORAGE_GC_THRESHOLD=22", "HOME=/root"), file);
    assert_int_equal(s.api_port, 3);
    assert_int_equal(s.gc_threshold, 22);
    assert_int_equal(s.wear_threshold, 111);
    char d[200];
    assert_string_equal(settings_describe(&settings, PSTORAGED_API_PORT, d, sizeof d),
                        "PSTORAGE_API_PORT=3 (flag --api-port)");
    assert_string_equal(settings_describe(&settings, PSTORAGED_GC_THRESHOLD, d, sizeof d),
                        "PSTORAGE_GC_THRESHOLD=22 (environment)");
    assert_string_equal(settings_describe(&settings, PSTORAGED_WEAR_THRESHOLD, d, sizeof d),
                        "PSTORAGE_WEAR_THRESHOLD=111 (test.conf line 3)");
    assert_string_equal(settings_describe(&settings, PSTORAGED_API_LISTEN, d, sizeof d),
                        "PSTORAGE_API_LISTEN=127.0.0.1 (default)");
}

static void flags_take_a_value_behind_equals_or_as_the_next_argument(void **state)
{
    (void)state;
    const struct pstoraged_settings s =
        loaded(LIST("--data-dir", "/a", "--debug", "--dedupe-enabled=off", "--memory-budget=1792M",
                    "--api-port", "1", "--api-port", "2", "--dedupe-fingerprint=SHA256", "--nbd-listen="),
               NULL, NULL);
    assert_string_equal(s.data_dir, "/a");
    assert_true(s.debug);
    assert_false(s.dedupe_enabled);
    assert_true(s.memory_budget == 1792ull << 20);
    assert_int_equal(s.api_port, 2); /* the last one wins */
    assert_int_equal(s.dedupe_fingerprint, SETTING_FINGERPRINT_SHA256);
    assert_string_equal(s.nbd_listen, "");
}

static void an_empty_variable_counts_as_not_given_unless_empty_means_off(void **state)
{
    (void)state;
    const struct pstoraged_settings s =
        loaded(NULL, LIST("PSTORAGE_API_PORT=", "PSTORAGE_NBD_LISTEN=", "PSTORAGE_DATA_DIR="), NULL);
    assert_int_equal(s.api_port, 8000);
    assert_string_equal(s.nbd_listen, "");
    assert_string_equal(s.data_dir, "/tmp/pstorage/data");
}

static void the_flash_file_follows_the_data_directory(void **state)
{
    (void)state;
    assert_string_equal(loaded(LIST("--data-dir=/srv/x"), NULL, NULL).flash_devices,
                        "file:/srv/x/flash0,size=16G");
    assert_string_equal(
        loaded(LIST("--flash-devices=file:${DATA_DIR}/f,size=1G /dev/sdb"), NULL, NULL).flash_devices,
        "file:/tmp/pstorage/data/f,size=1G /dev/sdb");
    assert_int_equal(load(&pstoraged_program, LIST("--data-dir=/my data"), NULL, NULL), PS_EINVAL);
    assert_non_null(strstr(error.detail, "space or comma"));
    assert_int_equal(load(&pstoraged_program, LIST("--flash-devices=file:${HOME}/f,size=1G"), NULL, NULL),
                     PS_EINVAL);
    assert_non_null(strstr(error.detail, "${HOME} is unknown"));
}

static void a_file_has_comments_quotes_and_variables_of_other_programs(void **state)
{
    (void)state;
    const struct pstoraged_settings s =
        loaded(NULL, NULL,
               "# a comment\r\n\r\n  PSTORAGE_DATA_DIR = \"/quoted dir\"  \r\n"
               "PSTORAGE_FLASH_DEVICES='/dev/sdb'\n"
               "PSTORAGE_MEDIATOR_LISTEN=tcp://h:1\nPSTORAGE_ENDPOINT=x\n"
               "PSTORAGE_DEBUG=yes");
    assert_string_equal(s.data_dir, "/quoted dir");
    assert_string_equal(s.flash_devices, "/dev/sdb");
    assert_true(s.debug);
}

#define TEN "0123456789"

static void a_wrong_value_is_named_with_its_origin_and_what_would_be_right(void **state)
{
    (void)state;
    static const struct {
        const char *flag, *env, *file;
        const char *says[4];
    } wrong[] = {
        {"--api-port=80000", 0, 0, {"flag --api-port", "\"80000\"", "from 1 to 65535"}},
        {"--api-port=", 0, 0, {"flag --api-port", "\"\"", "from 1 to 65535"}},
        {"--api-port=18446744073709551617", 0, 0, {"from 1 to 65535"}},
        {0,
         "PSTORAGE_API_PORT=abc",
         0,
         {"environment variable PSTORAGE_API_PORT", "\"abc\"", "whole number"}},
        {0,
         0,
         "\n\nPSTORAGE_DEBUG=maybe",
         {"PSTORAGE_DEBUG in test.conf line 3", "\"maybe\"", "true or false"}},
        {"--dedupe-fingerprint=md5", 0, 0, {"\"md5\"", "xxh3 or sha256"}},
        {"--compression-algorithm=lz", 0, 0, {"\"lz\"", "lz4 or zstd"}},
        {"--memory-budget=1.5G", 0, 0, {"\"1.5G\"", "a size from 128M to 16T"}},
        {"--memory-budget=1M", 0, 0, {"\"1M\"", "128M"}},
        {"--memory-budget=1000T", 0, 0, {"\"1000T\"", "128M to 16T"}},
        {"--nbd-listen=localhost", 0, 0, {"\"localhost\"", "host:port"}},
        {"--nbd-listen=::1:10809", 0, 0, {"[IPv6]:port"}},
        {"--nbd-listen=host:0", 0, 0, {"host:port"}},
        {"--nbd-listen=host:65536", 0, 0, {"host:port"}},
        {"--nbd-listen=:10809", 0, 0, {"host:port"}},
        {"--nbd-listen=unix:", 0, 0, {"unix:PATH"}},
        {"--nbd-listen=  ", 0, 0, {"unix:PATH"}},
        {"--nbd-listen=127.0.0.1:10809 10.0.0.1", 0, 0, {"separated by spaces"}},
        {"--nbd-listen=unix:/" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "1234567", 0, 0, {"at most 107"}},
        {"--nvme-listen=unix:/x", 0, 0, {"host:port"}},
        {"--rpc-listen=127.0.0.1:9500", 0, 0, {"tcp://host:port or ipc://PATH"}},
        {"--rpc-listen=tcp://", 0, 0, {"tcp://host:port"}},
        {"--node-name=-x", 0, 0, {"letters, digits"}},
        {"--node-name=a/b", 0, 0, {"letters, digits"}},
        {"--peers=b", 0, 0, {"name=tcp://host:port"}},
        {"--peers=b=tcp://h:1 c=h:2", 0, 0, {"name=tcp://host:port"}},
        {"--flash-devices=file:/x", 0, 0, {"flag --flash-devices", "\"file:/x\"", "needs a size"}},
        {"--flash-devices=", 0, 0, {"flag --flash-devices", "no flash device"}},
        {"--gc-threshold=5", 0, 0, {"from 10 to 95"}},
        {"--cluster-enabled", 0, 0, {"PSTORAGE_CLUSTER_ENABLED=true needs PSTORAGE_PEERS"}},
        {"--cluster-enabled", "PSTORAGE_PEERS=b=tcp://h:1", 0, {"needs PSTORAGE_MEDIATOR"}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(load(&pstoraged_program, LIST(wrong[i].flag), LIST(wrong[i].env), wrong[i].file),
                         PS_EINVAL);
        for (int j = 0; j < 4 && wrong[i].says[j]; j++)
            if (!strstr(error.detail, wrong[i].says[j]))
                fail_msg("row %zu: \"%s\" does not say \"%s\"", i, error.detail, wrong[i].says[j]);
    }
}

static void good_addresses_are_taken(void **state)
{
    (void)state;
    (void)loaded(LIST("--nbd-listen=[::1]:10809"), NULL, NULL);
    (void)loaded(LIST("--nbd-listen=unix:/run/nbd.sock"), NULL, NULL);
    (void)loaded(
        LIST("--nbd-listen=127.0.0.1:10809 unix:/" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "123456 "), NULL,
        NULL);
    (void)loaded(LIST("--nvme-listen=my-host.example:4420"), NULL, NULL);
    (void)loaded(LIST("--rpc-listen=ipc:///run/p.sock", "--api-listen=::"), NULL, NULL);
    (void)loaded(LIST("--cluster-enabled", "--peers", "b=tcp://10.0.0.2:9500 c=tcp://[fd00::3]:9500",
                      "--mediator=tcp://m:9510"),
                 NULL, NULL);
}

static void unknown_names_are_errors_with_a_suggestion(void **state)
{
    (void)state;
    assert_int_equal(load(&pstoraged_program, LIST("--data-dri=/x"), NULL, NULL), PS_EINVAL);
    assert_non_null(strstr(error.detail, "\"--data-dri\": did you mean --data-dir?"));
    assert_int_equal(load(&pstoraged_program, LIST("--data_dir=/x"), NULL, NULL), PS_EINVAL);
    assert_non_null(strstr(error.detail, "did you mean --data-dir?"));
    assert_int_equal(load(&pstoraged_program, LIST("--zzzzzzzzzz"), NULL, NULL), PS_EINVAL);
    assert_null(strstr(error.detail, "did you mean"));
    assert_int_equal(load(&pstoraged_program, LIST("--"), NULL, NULL), PS_EINVAL);
    assert_int_equal(load(&pstoraged_program, LIST("stray"), NULL, NULL), PS_EINVAL);
    assert_non_null(strstr(error.detail, "\"stray\" is not expected"));
    assert_int_equal(load(&pstoraged_program, LIST("--data-dir"), NULL, NULL), PS_EINVAL);
    assert_non_null(strstr(error.detail, "needs a value"));
    assert_int_equal(load(&pstoraged_program, NULL, NULL, "PSTORAGE_API_PROT=1"), PS_EINVAL);
    assert_non_null(strstr(error.detail, "test.conf line 1"));
    assert_non_null(strstr(error.detail, "did you mean PSTORAGE_API_PORT?"));
    assert_int_equal(load(&pstoraged_program, NULL, NULL, "API_PORT=1"), PS_EINVAL);
    assert_non_null(strstr(error.detail, "did you mean PSTORAGE_API_PORT?"));
    assert_int_equal(load(&pstoraged_program, NULL, NULL, "hello"), PS_EINVAL);
    assert_int_equal(load(&pstoraged_program, NULL, NULL, "PSTORAGE_DEBUG=1\nPSTORAGE_DEBUG=0"), PS_EINVAL);
    assert_non_null(strstr(error.detail, "set in line 1 already"));
    assert_int_equal(load(&pstoraged_program, NULL, NULL, "PSTORAGE_REBUILD_CATALOG=1"), PS_EINVAL);
}

static void unknown_variables_only_warn(void **state)
{
    (void)state;
    (void)loaded(NULL,
                 LIST("PSTORAGE_DATADIR=/x", "PSTORAGE_QQQQQQQQ=1", "PSTORAGE_MEDIATOR_LISTEN=tcp://h:1",
                      "PSTORAGE_ENDPOINT=x", "PSTORAGE_REBUILD_CATALOG=1", "PATH=/bin"),
                 NULL);
    assert_int_equal(settings.nwarnings, 3);
    assert_non_null(strstr(settings.warnings[0], "PSTORAGE_DATADIR"));
    assert_non_null(strstr(settings.warnings[0], "did you mean PSTORAGE_DATA_DIR?"));
    assert_null(strstr(settings.warnings[1], "did you mean"));
    assert_non_null(strstr(settings.warnings[2], "PSTORAGE_REBUILD_CATALOG"));
}

static void the_file_is_named_by_flag_or_environment(void **state)
{
    (void)state;
    enum settings_action action;
    const char *name;
    struct settings_input in = {
        .argc = 3, .argv = LIST("pstoraged", "--config", "/f"), .envp = LIST("PSTORAGE_CONFIG=/e")};
    assert_int_equal(settings_find_file(&pstoraged_program, &in, &action, &name, NULL), 0);
    assert_string_equal(name, "/f");
    in.argc = 1;
    assert_int_equal(settings_find_file(&pstoraged_program, &in, &action, &name, NULL), 0);
    assert_string_equal(name, "/e");
    in.envp = NULL;
    assert_int_equal(settings_find_file(&pstoraged_program, &in, &action, &name, NULL), 0);
    assert_null(name);
    assert_int_equal(action, SETTINGS_RUN);
    in.argc = 2;
    in.argv = LIST("pstoraged", "--help");
    assert_int_equal(settings_find_file(&pstoraged_program, &in, &action, &name, NULL), 0);
    assert_int_equal(action, SETTINGS_HELP);
}

static void append(void *user, const char *text)
{
    char *out = user;
    assert_true(strlen(out) + strlen(text) < 32 * 1024);
    strcat(out, text);
}

static void a_secret_is_never_shown_and_never_a_flag(void **state)
{
    (void)state;
    char d[200];
    static char help[32 * 1024];
    assert_int_equal(load(&pstoraged_program, NULL, LIST("PSTORAGE_CLUSTER_KEY=hush-hush"), NULL), 0);
    assert_string_equal(settings.values[PSTORAGED_CLUSTER_KEY].text, "hush-hush");
    assert_string_equal(settings_shown(&settings, PSTORAGED_CLUSTER_KEY), "(set)");
    assert_string_equal(settings_describe(&settings, PSTORAGED_CLUSTER_KEY, d, sizeof d),
                        "PSTORAGE_CLUSTER_KEY=(set) (environment)");
    assert_int_equal(load(&pstoraged_program, NULL, NULL, NULL), 0);
    assert_string_equal(settings_shown(&settings, PSTORAGED_CLUSTER_KEY), "");
    assert_string_equal(settings_shown(&settings, PSTORAGED_CLUSTER_NAME), "pstorage");
    const char *const *const flags[] = {LIST("--cluster-key", "hush-hush"), LIST("--cluster-key=hush-hush")};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(load(&pstoraged_program, flags[i], NULL, NULL), PS_EINVAL);
        assert_non_null(strstr(error.detail, "--cluster-key is not to be given as a flag"));
        assert_non_null(strstr(error.detail, "PSTORAGE_CLUSTER_KEY,"));
        assert_null(strstr(error.detail, "hush"));
    }
    /* A line of a file that is none, too. */
    static const char *const lines[] = {"PSTORAGE_CLUSTER_KEY hush-hush", "PSTORAGE_CLUSTER_KEY: hush-hush"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(load(&pstoraged_program, NULL, NULL, lines[i]), PS_EINVAL);
        assert_non_null(strstr(error.detail, "\"PSTORAGE_CLUSTER_KEY\" is no setting"));
        assert_null(strstr(error.detail, "hush"));
    }
    help[0] = '\0';
    settings_print_help(&pstoraged_program, append, help);
    assert_null(strstr(help, "--cluster-key VALUE"));
    assert_non_null(strstr(help, "--cluster-key-file VALUE"));
}

static void a_file_without_bounds_is_refused(void **state)
{
    (void)state;
    static char large[SETTINGS_FILE_BYTES + 2];
    memset(large, '#', sizeof large - 1);
    assert_int_equal(load(&pstoraged_program, NULL, NULL, large), PS_EINVAL);
    static char deep[SETTINGS_TEXT_BYTES + 100] = "PSTORAGE_DATA_DIR=";
    memset(deep + strlen(deep), 'x', SETTINGS_TEXT_BYTES + 10);
    assert_int_equal(load(&pstoraged_program, NULL, NULL, deep), PS_EINVAL);
    assert_non_null(strstr(error.detail, "longer than"));
}

static void help_and_documentation_name_every_setting(void **state)
{
    (void)state;
    static char help[32 * 1024], doc[32 * 1024];
    help[0] = doc[0] = '\0';
    settings_print_help(&pstoraged_program, append, help);
    settings_print_doc(&pstoraged_program, append, doc);
    for (size_t i = 0; i < pstoraged_program.count; i++) {
        char name[80];
        const bool only = pstoraged_program.table[i].flags & SETTING_FLAG_ONLY;
        (void)snprintf(name, sizeof name, "PSTORAGE_%s", pstoraged_program.table[i].name);
        assert_true((strstr(help, name) != NULL) == !only);
        assert_true((strstr(doc, name) != NULL) == !only);
    }
    assert_non_null(strstr(help, "--rebuild-catalog"));
    assert_non_null(
        strstr(doc, "| PSTORAGE_API_PORT | `--api-port` | `8000` | a whole number from 1 to 65535 | Port"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_arguments_the_defaults_hold),
        cmocka_unit_test(the_mediator_has_a_table_of_its_own),
        cmocka_unit_test(flags_go_before_environment_before_file_before_default),
        cmocka_unit_test(flags_take_a_value_behind_equals_or_as_the_next_argument),
        cmocka_unit_test(an_empty_variable_counts_as_not_given_unless_empty_means_off),
        cmocka_unit_test(the_flash_file_follows_the_data_directory),
        cmocka_unit_test(a_file_has_comments_quotes_and_variables_of_other_programs),
        cmocka_unit_test(a_wrong_value_is_named_with_its_origin_and_what_would_be_right),
        cmocka_unit_test(good_addresses_are_taken),
        cmocka_unit_test(unknown_names_are_errors_with_a_suggestion),
        cmocka_unit_test(unknown_variables_only_warn),
        cmocka_unit_test(the_file_is_named_by_flag_or_environment),
        cmocka_unit_test(a_file_without_bounds_is_refused),
        cmocka_unit_test(help_and_documentation_name_every_setting),
        cmocka_unit_test(a_secret_is_never_shown_and_never_a_flag),
    };
    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
