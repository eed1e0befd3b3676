/* The cluster key as people give it: setting, file, both, and what is wrong with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cluster_key.h"

#define KEY "a secret of more than 16 bytes"

static char folder[] = "/tmp/pstorage-key-XXXXXX", file[64];
static struct rpc_keys keys;
static struct ps_error error;

static void write_file(const char *text, mode_t mode)
{
    (void)unlink(file);
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(file, mode), 0);
}

static void refused(int rc, int status, const char *sentence)
{
    assert_int_equal(rc, status);
    assert_int_equal(keys.count, 0);
    assert_null(keys.list);
    if (!strstr(error.detail, sentence))
        fail_msg("says: %s", error.detail);
    assert_null(strstr(error.detail, "secret"));
}

static void loaded(int rc, const char *cluster)
{
    if (rc)
        fail_msg("refused: %s", error.detail);
    assert_string_equal(rpc_keys_find(&keys, cluster)->secret, KEY);
    rpc_keys_clear(&keys);
}

static void without_either_there_is_no_key(void **state)
{
    (void)state;
    assert_int_equal(cluster_key_load(NULL, NULL, "blue", &keys, &error), 0);
    assert_int_equal(keys.count, 0);
    assert_int_equal(cluster_key_load("", "", "", &keys, &error), 0);
    assert_false(rpc_keys_exist(&keys));
}

static void the_setting_is_the_key_whole(void **state)
{
    (void)state;
    loaded(cluster_key_load(KEY, "", "blue", &keys, &error), "blue");
    /* No name of a cluster is taken off it. */
    assert_int_equal(cluster_key_load("blue:" KEY, "", "red", &keys, &error), 0);
    assert_string_equal(rpc_keys_find(&keys, "red")->secret, "blue:" KEY);
    rpc_keys_clear(&keys);
    refused(cluster_key_load("secret", NULL, "blue", &keys, &error), PS_EINVAL,
            "PSTORAGE_CLUSTER_KEY: a cluster key has 16 to 1024 bytes, this one 6");
}

static void a_newline_at_the_end_of_the_file_is_no_part_of_the_key(void **state)
{
    (void)state;
    static const char *const texts[] = {KEY, KEY "\n", KEY "\r\n", "\n" KEY "\n\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        write_file(texts[i], 0600);
        loaded(cluster_key_load(NULL, file, "blue", &keys, &error), "blue");
    }
}

static void a_file_that_others_may_use_is_refused(void **state)
{
    (void)state;
    static const mode_t open_to_others[] = {0644, 0604, 0602, 0601, 0620, 0666},
                        good[] = {0600, 0400, 0640, 0440};
    char sentence[64];
    for (size_t i = 0; i < sizeof open_to_others / sizeof open_to_others[0]; i++) {
        write_file(KEY, open_to_others[i]);
        (void)snprintf(sentence, sizeof sentence, "(mode %04o): chmod 600, or 640", open_to_others[i]);
        refused(cluster_key_load(NULL, file, "blue", &keys, &error), PS_EPERM, sentence);
        assert_non_null(strstr(error.detail, "PSTORAGE_CLUSTER_KEY_FILE=/tmp/pstorage-key-"));
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        write_file(KEY, good[i]);
        loaded(cluster_key_load(NULL, file, "blue", &keys, &error), "blue");
    }
}

static void both_at_once_are_refused(void **state)
{
    (void)state;
    write_file(KEY, 0600);
    refused(cluster_key_load(KEY, file, "blue", &keys, &error), PS_EINVAL,
            "PSTORAGE_CLUSTER_KEY and PSTORAGE_CLUSTER_KEY_FILE are both given: give one");
}

static void a_file_may_hold_keys_of_many_clusters(void **state)
{
    (void)state;
    write_file("blue:" KEY "\nred:quite another key than that\n", 0600);
    loaded(cluster_key_load(NULL, file, "blue", &keys, &error), "blue");
    assert_int_equal(cluster_key_load(NULL, file, NULL, &keys, &error), 0);
    assert_int_equal(keys.count, 2);
    rpc_keys_clear(&keys);
    refused(cluster_key_load(NULL, file, "green", &keys, &error), PS_EINVAL,
            "no line there is KEY or green:KEY, for cluster green");
    refused(cluster_key_load(NULL, file, "", &keys, &error), PS_EINVAL,
            "keys of several clusters: name one by PSTORAGE_CLUSTER_NAME");
}

static void what_is_no_file_with_a_key_is_told_with_its_name(void **state)
{
    (void)state;
    refused(cluster_key_load(NULL, "/nowhere/at/all", "blue", &keys, &error), PS_ENOTFOUND,
            "PSTORAGE_CLUSTER_KEY_FILE=/nowhere/at/all: No such file or directory");
    refused(cluster_key_load(NULL, folder, "blue", &keys, &error), PS_EINVAL, "not a file");
    write_file("\n# nothing but this\n", 0600);
    refused(cluster_key_load(NULL, file, "blue", &keys, &error), PS_EINVAL,
            "holds no key; `pstorage key create` prints one");
    write_file("blue:" KEY "\nsecret\n", 0600);
    refused(cluster_key_load(NULL, file, "blue", &keys, &error), PS_EINVAL, "line 2: a cluster key has 16");
    (void)unlink(file);
    assert_int_equal(mkfifo(file, 0600), 0);
    refused(cluster_key_load(NULL, file, "blue", &keys, &error), PS_EINVAL, "not a file");
    write_file("", 0600);
    assert_int_equal(truncate(file, CLUSTER_KEY_FILE_BYTES + 1), 0);
    refused(cluster_key_load(NULL, file, "blue", &keys, &error), PS_EINVAL, "longer than 524288 bytes");
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    (void)snprintf(file, sizeof file, "%s/key", folder);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_either_there_is_no_key),
        cmocka_unit_test(the_setting_is_the_key_whole),
        cmocka_unit_test(a_newline_at_the_end_of_the_file_is_no_part_of_the_key),
        cmocka_unit_test(a_file_that_others_may_use_is_refused),
        cmocka_unit_test(both_at_once_are_refused),
        cmocka_unit_test(a_file_may_hold_keys_of_many_clusters),
        cmocka_unit_test(what_is_no_file_with_a_key_is_told_with_its_name),
    };
    const int failed = cmocka_run_group_tests_name("cluster key", tests, NULL, NULL);
    (void)unlink(file);
    (void)rmdir(folder);
    return failed;
}
