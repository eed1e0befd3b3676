#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/blkdev_spec.h"

static void each_kind_of_device_is_understood(void **state)
{
    (void)state;
    struct blkdev_spec s[4];
    size_t n;
    assert_int_equal(
        blkdev_spec_list_parse(
            "  file:/a/b=c,size=16G nvme:/dev/nvme0n1\t/dev/sdb file:rel,punch=on,size=64M ", s, 4, &n, NULL),
        0);
    assert_int_equal(n, 4);
    assert_int_equal(s[0].kind, BLKDEV_KIND_FILE);
    assert_string_equal(s[0].path, "/a/b=c");
    assert_true(s[0].size_bytes == 16ull << 30);
    assert_false(s[0].punch);
    assert_int_equal(s[1].kind, BLKDEV_KIND_NVME);
    assert_string_equal(s[1].path, "/dev/nvme0n1");
    assert_int_equal(s[2].kind, BLKDEV_KIND_BLOCK);
    assert_string_equal(s[2].path, "/dev/sdb");
    assert_true(s[3].punch);
}

static void simulated_flash_has_options_of_its_own(void **state)
{
    (void)state;
    struct blkdev_spec s[2];
    size_t n;
    assert_int_equal(
        blkdev_spec_list_parse("sim:/a,size=4G sim:/b,size=128M,channels=2,dies=1,planes=4,endurance=50,"
                               "spare=12,bad=0,seed=9,latency=off",
                               s, 2, &n, NULL),
        0);
    assert_int_equal(n, 2);
    assert_int_equal(s[0].kind, BLKDEV_KIND_SIM);
    assert_string_equal(s[0].path, "/a");
    assert_true(s[0].size_bytes == 4ull << 30 && !s[0].sim.instant && s[0].sim.endurance == 3000);
    assert_int_equal(s[0].sim.channels * s[0].sim.dies * s[0].sim.planes, 16);
    const struct blkdev_sim_spec *sim = &s[1].sim;
    assert_true(sim->channels == 2 && sim->dies == 1 && sim->planes == 4 && sim->endurance == 50);
    assert_true(sim->spare_percent == 12 && sim->bad_ppm == 0 && sim->seed == 9 && sim->instant);
}

static void a_wrong_device_is_refused_with_its_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *reason;
        int status;
    } wrong[] = {
        {"", "no flash device", PS_EINVAL},
        {"file:/a,size=127M", "\"/a,size=127M\" is too small", PS_EINVAL},
        {"   ", "no flash device", PS_EINVAL},
        {"flash0", "names no flash device", PS_EINVAL},
        {"file:", "names no path", PS_EINVAL},
        {"file:,size=1G", "names no path", PS_EINVAL},
        {"file:/a", "needs a size", PS_EINVAL},
        {"file:/a,", "\"\" is no option", PS_EINVAL},
        {"file:/a,size=", "no size", PS_EINVAL},
        {"file:/a,size=0", "at least 64M", PS_EINVAL},
        {"file:/a,size=63M", "at least 64M", PS_EINVAL},
        {"file:/a,size=1000", "multiple of 4K", PS_EINVAL},
        {"file:/a,size=1G,fast=on", "\"fast=on\" is no option", PS_EINVAL},
        {"file:/a,size=1G,punch=maybe", "is no option", PS_EINVAL},
        {"nvme:nvme0", "full path", PS_EINVAL},
        {"nvme:/dev/nvme0n1,size=1G", "takes no options", PS_EINVAL},
        {"/dev/sdb,size=1G", "takes no options", PS_EINVAL},
        {"sim:/x", "needs a size, as in sim:PATH", PS_EINVAL},
        {"sim:,size=1G", "names no path", PS_EINVAL},
        {"sim:/x,size=1G,punch=on", "no option of simulated flash", PS_EINVAL},
        {"file:/x,size=1G,channels=2", "no option of a flash file", PS_EINVAL},
        {"sim:/x,size=1G,channels=0", "from 1 to 32", PS_EINVAL},
        {"sim:/x,size=1G,endurance=", "from 1 to 1000000", PS_EINVAL},
        {"sim:/x,size=1G,endurance=-5", "from 1 to 1000000", PS_EINVAL},
        {"sim:/x,size=1G,endurance=18446744073709551617", "from 1 to 1000000", PS_EINVAL},
        {"sim:/x,size=1G,spare=7%", "from 0 to 50", PS_EINVAL},
        {"sim:/x,size=1G,channels=3", "power of two", PS_EINVAL},
        {"sim:/x,size=1G,channels=32,dies=64", "at most 128", PS_EINVAL},
        {"sim:/x,size=1G,latency=maybe", "latency=on|off", PS_EINVAL},
        {"sim:/x,size=1G file:/x,size=1G", "named twice", PS_EINVAL},
        {"/dev/sdb nvme:/dev/sdb", "named twice", PS_EINVAL},
        {"/dev/a /dev/b /dev/c", "more than 2", PS_EINVAL},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct blkdev_spec s[2];
        size_t n = 9;
        struct ps_error err = {0};
        assert_int_equal(blkdev_spec_list_parse(wrong[i].text, s, 2, &n, &err), wrong[i].status);
        if (!strstr(err.detail, wrong[i].reason))
            fail_msg("\"%s\": \"%s\" does not say \"%s\"", wrong[i].text, err.detail, wrong[i].reason);
        assert_int_equal(n, 9);
    }
}

static void a_path_that_is_too_long_is_refused(void **state)
{
    (void)state;
    char text[2000];
    (void)snprintf(text, sizeof text, "file:/%01500d,size=1G", 0);
    struct ps_error err;
    size_t n;
    assert_int_equal(blkdev_spec_list_parse(text, NULL, 4, &n, &err), PS_EINVAL);
    assert_non_null(strstr(err.detail, "longer"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_device_is_understood),
        cmocka_unit_test(simulated_flash_has_options_of_its_own),
        cmocka_unit_test(a_wrong_device_is_refused_with_its_reason),
        cmocka_unit_test(a_path_that_is_too_long_is_refused),
    };
    return cmocka_run_group_tests_name("blkdev_spec", tests, NULL, NULL);
}
