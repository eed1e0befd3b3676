/* Pages of NVMe devices, byte by byte: offsets are the specification's, written here a second time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/endian_codec.h"
#include "common/nvme.h"

static uint8_t page[NVME_IDENTIFY_BYTES];

static void put_text(size_t at, size_t length, const char *text)
{
    memset(page + at, ' ', length);
    memcpy(page + at, text, strlen(text));
}

static void make_controller(void)
{
    memset(page, 0, sizeof page);
    put_le16(page + 0, 0x144d);
    put_le16(page + 2, 0x144e);
    put_text(4, 20, "S4EVNX0N123456");
    put_text(24, 40, "Model X 1TB");
    put_text(64, 8, "2B2QEXM7");
    page[77] = 9;
    put_le16(page + 78, 4);
    put_le32(page + 80, 0x00010400);
    put_le16(page + 256, 0x0017);
    page[262] = 63;
    put_le16(page + 266, 358);
    put_le16(page + 268, 362);
    put_le64(page + 280, 1000204886016);
    put_le64(page + 296, 4096);
    page[512] = 0x66;
    put_le32(page + 516, 1);
    put_le16(page + 520, 0x005f);
    page[524] = 5;
    page[525] = 1;
    (void)strcpy((char *)page + 768, "nqn.1994-11.com.example:nvme:S4EVNX0N");
}

static void a_controller_is_read_as_the_specification_lays_it_out(void **state)
{
    (void)state;
    struct nvme_controller c;
    make_controller();
    assert_int_equal(nvme_decode_controller(page, &c, NULL), 0);
    assert_string_equal(c.serial, "S4EVNX0N123456");
    assert_string_equal(c.model, "Model X 1TB");
    assert_string_equal(c.firmware, "2B2QEXM7");
    assert_string_equal(c.nqn, "nqn.1994-11.com.example:nvme:S4EVNX0N");
    assert_int_equal(c.vendor, 0x144d);
    assert_int_equal(c.subsystem_vendor, 0x144e);
    assert_int_equal(c.id, 4);
    assert_int_equal(c.version, 0x10400);
    assert_int_equal(c.max_transfer_pages, 512);
    assert_int_equal(c.namespaces, 1);
    assert_int_equal(c.error_log_entries, 64);
    assert_int_equal(c.warning_kelvin, 358);
    assert_int_equal(c.critical_kelvin, 362);
    assert_int_equal(c.capacity_bytes, 1000204886016);
    assert_int_equal(c.unallocated_bytes, 4096);
    assert_true(c.can_format && c.can_deallocate && c.can_write_zeroes && c.volatile_write_cache);
    assert_true(c.format_all && c.crypto_erase);
    assert_false(c.erase_all);
}

static void text_that_is_not_printable_is_not_passed_on(void **state)
{
    (void)state;
    struct nvme_controller c;
    make_controller();
    memcpy(page + 4, "\x1b[2Jabc\xff", 8);
    memset(page + 12, 0, 12);
    assert_int_equal(nvme_decode_controller(page, &c, NULL), 0);
    assert_string_equal(c.serial, "?[2Jabc?");
    memset(page + 24, 'x', 40); /* no blank, no end */
    assert_int_equal(nvme_decode_controller(page, &c, NULL), 0);
    assert_int_equal(strlen(c.model), 40);
}

static void a_page_that_is_no_controllers_is_refused(void **state)
{
    (void)state;
    struct nvme_controller c = {.id = 77};
    struct ps_error err;
    memset(page, 0, sizeof page);
    assert_int_equal(nvme_decode_controller(page, &c, &err), PS_EDAMAGED);
    assert_int_equal(c.id, 77);
}

static void counters_beyond_64_bits_are_the_largest_number(void **state)
{
    (void)state;
    struct nvme_controller c;
    make_controller();
    page[288] = 1;
    assert_int_equal(nvme_decode_controller(page, &c, NULL), 0);
    assert_true(c.capacity_bytes == UINT64_MAX);
}

static void make_namespace(void)
{
    memset(page, 0, sizeof page);
    put_le64(page + 0, 1000);
    put_le64(page + 8, 900);
    put_le64(page + 16, 800);
    page[24] = 1;
    page[25] = 17;   /* 18 formats */
    page[26] = 0x21; /* lower bits 1, upper bits 1: number 17 */
    page[33] = 0x09;
    memset(page + 104, 0xab, 16);
    put_le32(page + 128 + 4, 9u << 16 | 8 | 2u << 24);
    put_le32(page + 128 + 17 * 4, 12u << 16);
}

static void a_namespace_is_read_with_its_formats(void **state)
{
    (void)state;
    struct nvme_namespace n;
    make_namespace();
    assert_int_equal(nvme_decode_namespace(page, &n, NULL), 0);
    assert_int_equal(n.size_blocks, 1000);
    assert_int_equal(n.capacity_blocks, 900);
    assert_int_equal(n.used_blocks, 800);
    assert_int_equal(n.nformats, 18);
    assert_int_equal(n.format, 17);
    assert_int_equal(n.block_bytes, 4096);
    assert_int_equal(n.formats[0].block_bytes, 0);
    assert_int_equal(n.formats[1].block_bytes, 512);
    assert_int_equal(n.formats[1].metadata_bytes, 8);
    assert_int_equal(n.formats[1].performance, 2);
    assert_true(n.thin && n.reads_zeroes);
    assert_false(n.protection);
    assert_int_equal(n.nguid[15], 0xab);
    assert_int_equal(n.eui64[0], 0);
}

static void a_namespace_that_contradicts_itself_is_refused(void **state)
{
    (void)state;
    struct nvme_namespace n;
    struct ps_error err;
    make_namespace();
    put_le64(page, 0);
    assert_int_equal(nvme_decode_namespace(page, &n, &err), PS_EDAMAGED);
    make_namespace();
    page[26] = 0x62; /* number 50 of 18 */
    assert_int_equal(nvme_decode_namespace(page, &n, &err), PS_EDAMAGED);
    make_namespace();
    page[26] = 0x02; /* a format that is not available */
    assert_int_equal(nvme_decode_namespace(page, &n, &err), PS_EDAMAGED);
    make_namespace();
    page[25] = 64;
    assert_int_equal(nvme_decode_namespace(page, &n, &err), PS_EDAMAGED);
    make_namespace();
    put_le64(page + 16, 1001);
    assert_int_equal(nvme_decode_namespace(page, &n, &err), PS_EDAMAGED);
    make_namespace();
    put_le64(page, UINT64_MAX);
    assert_int_equal(nvme_decode_namespace(page, &n, &err), PS_EDAMAGED);
}

static void limits_of_a_zoned_namespace_count_from_zero(void **state)
{
    (void)state;
    struct nvme_zoned z;
    struct ps_error err;
    memset(page, 0, sizeof page);
    put_le32(page + 4, 13);
    put_le32(page + 8, UINT32_MAX);
    put_le64(page + 2816 + 16 * 3, 4096);
    assert_int_equal(nvme_decode_zoned(page, 3, &z, NULL), 0);
    assert_int_equal(z.max_active, 14);
    assert_int_equal(z.max_open, UINT32_MAX);
    assert_int_equal(z.zone_blocks, 4096);
    assert_int_equal(nvme_decode_zoned(page, 0, &z, &err), PS_EDAMAGED);
    assert_int_equal(nvme_decode_zoned(page, 64, &z, &err), PS_EDAMAGED);
}

static void a_smart_log_is_read_as_the_specification_lays_it_out(void **state)
{
    (void)state;
    uint8_t log[NVME_SMART_BYTES] = {0};
    struct nvme_smart s;
    log[0] = 0x05;
    put_le16(log + 1, 311); /* not aligned */
    log[3] = 97;
    log[4] = 10;
    log[5] = 101;
    for (uint64_t i = 0; i < 10; i++)
        put_le64(log + 32 + 16 * i, 1000 + i);
    put_le32(log + 192, 7);
    put_le32(log + 196, 3);
    put_le16(log + 200, 312);
    put_le16(log + 214, 313);
    nvme_decode_smart(log, &s);
    assert_int_equal(s.critical_warning, 5);
    assert_int_equal(s.kelvin, 311);
    assert_int_equal(s.spare_percent, 97);
    assert_int_equal(s.spare_threshold_percent, 10);
    assert_int_equal(s.used_percent, 101);
    const uint64_t counters[] = {s.read_units,   s.written_units,    s.read_commands,  s.write_commands,
                                 s.busy_minutes, s.power_cycles,     s.power_on_hours, s.unsafe_shutdowns,
                                 s.media_errors, s.error_log_entries};
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(counters[i], 1000 + i);
    assert_int_equal(s.warning_minutes, 7);
    assert_int_equal(s.critical_minutes, 3);
    assert_int_equal(s.sensor_kelvin[0], 312);
    assert_int_equal(s.sensor_kelvin[7], 313);
    log[40] = 1;
    nvme_decode_smart(log, &s);
    assert_true(s.read_units == UINT64_MAX);
}

static void an_entry_of_the_error_log_is_read_and_an_empty_one_is_none(void **state)
{
    (void)state;
    uint8_t entry[NVME_ERROR_BYTES] = {0};
    struct nvme_error e;
    char text[NVME_STATUS_TEXT_MAX];
    put_le16(entry + 12, 0x4502);
    assert_false(nvme_decode_error(entry, &e));
    put_le64(entry, 12);
    put_le16(entry + 8, 3);
    put_le16(entry + 10, 0x1234);
    put_le16(entry + 12, 0x281 << 1 | 1);
    put_le64(entry + 16, 0x123456789);
    put_le32(entry + 24, 1);
    assert_true(nvme_decode_error(entry, &e));
    assert_int_equal(e.number, 12);
    assert_int_equal(e.queue, 3);
    assert_int_equal(e.command, 0x1234);
    assert_int_equal(e.status, 0x281);
    assert_int_equal(e.lba, 0x123456789);
    assert_int_equal(e.namespace_id, 1);
    assert_string_equal(nvme_status_text(e.status, text), "unrecovered read error");
    assert_string_equal(nvme_status_text(0x4000 | 0x1bc, text), "not at the zone's write pointer");
    assert_string_equal(nvme_status_text(0x7ff, text), "status type 7, code 0xff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_controller_is_read_as_the_specification_lays_it_out),
        cmocka_unit_test(text_that_is_not_printable_is_not_passed_on),
        cmocka_unit_test(a_page_that_is_no_controllers_is_refused),
        cmocka_unit_test(counters_beyond_64_bits_are_the_largest_number),
        cmocka_unit_test(a_namespace_is_read_with_its_formats),
        cmocka_unit_test(a_namespace_that_contradicts_itself_is_refused),
        cmocka_unit_test(limits_of_a_zoned_namespace_count_from_zero),
        cmocka_unit_test(a_smart_log_is_read_as_the_specification_lays_it_out),
        cmocka_unit_test(an_entry_of_the_error_log_is_read_and_an_empty_one_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
