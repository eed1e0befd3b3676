#include "nbd_peer.h"

#include <stdio.h>

enum {
    FLAGS = NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES
};
static const uint16_t volume_flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
                                     NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |
                                     NBD_FLAG_CAN_MULTI_CONN | NBD_FLAG_SEND_CACHE | NBD_FLAG_SEND_FAST_ZERO;

static int setup(void **state)
{
    *state = peer_create(NBD_BUFFER_MAX);
    return 0;
}

static int teardown(void **state)
{
    peer_destroy(*state);
    return 0;
}

static void expect_broken(struct peer *peer, const char *why)
{
    peer_run(peer);
    assert_true(nbd_session_over(peer->session));
    assert_int_not_equal(nbd_session_error(peer->session)->status, 0);
    assert_non_null(strstr(nbd_session_error(peer->session)->detail, why));
}

/* ---- the beginning */

static void an_unknown_client_flag_ends_the_connection(void **state)
{
    peer_greet(*state, FLAGS | 4);
    expect_broken(*state, "flags");
}

static void a_wrong_option_magic_ends_the_connection(void **state)
{
    peer_greet(*state, FLAGS);
    peer_send(*state, "IHAVEOPZ\0\0\0\3\0\0\0\0", 16);
    expect_broken(*state, "magic");
}

static void an_option_is_understood_in_any_pieces(void **state)
{
    struct peer *peer = *state;
    peer->piece = 1;
    peer_greet(peer, FLAGS);
    peer_go(peer, "vol");
}

static void too_long_an_option_ends_the_connection(void **state)
{
    struct peer *peer = *state;
    peer_greet(peer, FLAGS);
    uint8_t header[16] = "IHAVEOPT";
    put_be32(header + 8, 77);
    put_be32(header + 12, NBD_OPTION_MAX + 1);
    peer_send(peer, header, sizeof header);
    expect_broken(peer, "longer");
}

static void an_unknown_option_of_any_legal_length_is_refused_and_skipped(void **state)
{
    struct peer *peer = *state;
    static uint8_t data[NBD_OPTION_MAX];
    peer_greet(peer, FLAGS);
    peer_option(peer, 77, data, sizeof data);
    (void)peer_option_reply(peer, 77, NBD_REP_ERR_UNSUP, NULL);
    peer_go(peer, "vol");
}

static void options_without_end_end_the_connection(void **state)
{
    struct peer *peer = *state;
    peer_greet(peer, FLAGS);
    for (int i = 0; i < NBD_OPTIONS_MAX; i++) {
        peer_option(peer, 77, "", 0);
        (void)peer_option_reply(peer, 77, NBD_REP_ERR_UNSUP, NULL);
    }
    peer_option(peer, 77, "", 0);
    expect_broken(peer, "more than");
}

static void a_plain_newstyle_client_may_only_name_its_export(void **state)
{
    struct peer *peer = *state;
    peer_greet(peer, 0);
    peer_option(peer, NBD_OPT_LIST, "", 0);
    expect_broken(peer, "EXPORT_NAME");
}

/* ---- EXPORT_NAME */

static void export_name_answers_with_size_flags_and_padding(void **state)
{
    struct peer *peer = *state;
    peer_greet(peer, 0);
    peer_option(peer, NBD_OPT_EXPORT_NAME, "vol", 3);
    const uint8_t *reply = peer_take(peer, NBD_EXPORT_NAME_REPLY_BYTES + NBD_EXPORT_NAME_PADDING);
    assert_int_equal(get_be64(reply), PEER_VOLUME);
    assert_int_equal(get_be16(reply + 8), volume_flags);
    for (int i = 0; i < NBD_EXPORT_NAME_PADDING; i++)
        assert_int_equal(reply[10 + i], 0);
    assert_true(nbd_session_transmitting(peer->session));
    peer_expect_silence(peer);
}

static void no_zeroes_leaves_the_padding_out(void **state)
{
    struct peer *peer = *state;
    peer_greet(peer, FLAGS);
    peer_option(peer, NBD_OPT_EXPORT_NAME, "vol", 3);
    (void)peer_take(peer, NBD_EXPORT_NAME_REPLY_BYTES);
    peer_expect_silence(peer);
}

static void requests_may_follow_export_name_at_once(void **state)
{
    struct peer *peer = *state;
    peer_greet(peer, FLAGS);
    uint8_t bytes[16 + 3 + NBD_REQUEST_BYTES] = "IHAVEOPT\0\0\0\1\0\0\0\3vol";
    peer_header(bytes + 19, NBD_CMD_FLUSH, 0, 9, 0, 0);
    peer_send(peer, bytes, sizeof bytes);
    peer_run(peer);
    (void)peer_take(peer, NBD_EXPORT_NAME_REPLY_BYTES);
    assert_int_equal(peer_simple(peer, 9), 0);
}

static void export_name_of_nothing_ends_the_connection(void **state)
{
    struct peer *peer = *state;
    peer_greet(peer, FLAGS);
    peer_option(peer, NBD_OPT_EXPORT_NAME, "nothing", 7);
    expect_broken(peer, "'nothing'");
    peer_expect_silence(peer);
}

/* ---- LIST */

static void list_names_volumes_and_snapshots(void **state)
{
    struct peer *peer = *state;
    char data[5000];
    peer_greet(peer, FLAGS);
    peer_option(peer, NBD_OPT_LIST, "", 0);
    const char *names[] = {"other", "vol", "vol@snap"};
    for (int i = 0; i < 3; i++) {
        (void)peer_option_reply(peer, NBD_OPT_LIST, NBD_REP_SERVER, data);
        const uint32_t length = get_be32(data);
        assert_int_equal(length, strlen(names[i]));
        assert_memory_equal(data + 4, names[i], length);
        assert_non_null(strstr(data + 4 + length, i == 2 ? "snapshot, read-only" : "volume"));
    }
    (void)peer_option_reply(peer, NBD_OPT_LIST, NBD_REP_ACK, NULL);
    peer_expect_silence(peer);
}

static void a_list_longer_than_the_output_comes_in_parts_and_whole(void **state)
{
    struct peer *peer = *state;
    enum {
        MANY = 3000
    };
    char name[64], data[5000];
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "v%04d", i);
        pod_fake_volume(peer->pod, name, 4096);
    }
    peer_greet(peer, FLAGS);
    peer->deaf = true;
    peer_option(peer, NBD_OPT_LIST, "", 0);
    assert_false(
        nbd_session_wants_input(peer->session)); /* the next option waits for the answer to be taken */
    peer->deaf = false;
    peer_run(peer);
    for (int i = 0; i < MANY + 3; i++)
        (void)peer_option_reply(peer, NBD_OPT_LIST, NBD_REP_SERVER, data);
    (void)peer_option_reply(peer, NBD_OPT_LIST, NBD_REP_ACK, NULL);
    peer_go(peer, "v2999");
}

static void list_with_data_is_invalid(void **state)
{
    struct peer *peer = *state;
    peer_greet(peer, FLAGS);
    peer_option(peer, NBD_OPT_LIST, "x", 1);
    (void)peer_option_reply(peer, NBD_OPT_LIST, NBD_REP_ERR_INVALID, NULL);
    peer_go(peer, "vol");
}

/* ---- INFO and GO */

static void expect_info(struct peer *peer, uint32_t option, uint16_t type, const void *data, size_t bytes)
{
    char got[5000];
    assert_int_equal(peer_option_reply(peer, option, NBD_REP_INFO, got), 2 + bytes);
    assert_int_equal(get_be16(got), type);
    assert_memory_equal(got + 2, data, bytes);
}

static void info_tells_everything_asked_for_and_goes_nowhere(void **state)
{
    struct peer *peer = *state;
    peer_greet(peer, FLAGS);
    uint8_t data[64], export[10], sizes[12];
    const uint16_t wants[] = {NBD_INFO_NAME, NBD_INFO_DESCRIPTION, NBD_INFO_BLOCK_SIZE, 999};
    peer_option(peer, NBD_OPT_INFO, data, peer_info_data(data, "vol", 4, wants));
    put_be64(export, PEER_VOLUME);
    put_be16(export + 8, volume_flags);
    expect_info(peer, NBD_OPT_INFO, NBD_INFO_EXPORT, export, sizeof export);
    expect_info(peer, NBD_OPT_INFO, NBD_INFO_NAME, "vol", 3);
    expect_info(peer, NBD_OPT_INFO, NBD_INFO_DESCRIPTION, "volume, 8388608 bytes", 21);
    put_be32(sizes, 512);
    put_be32(sizes + 4, 4096);
    put_be32(sizes + 8, 32 << 20);
    expect_info(peer, NBD_OPT_INFO, NBD_INFO_BLOCK_SIZE, sizes, sizeof sizes);
    (void)peer_option_reply(peer, NBD_OPT_INFO, NBD_REP_ACK, NULL);
    assert_false(nbd_session_transmitting(peer->session));
    peer_go(peer, "vol");
}

static void a_snapshot_is_a_read_only_export(void **state)
{
    struct peer *peer = *state;
    peer_greet(peer, FLAGS);
    uint8_t data[64];
    char got[5000];
    peer_option(peer, NBD_OPT_GO, data, peer_info_data(data, "vol@snap", 0, NULL));
    (void)peer_option_reply(peer, NBD_OPT_GO, NBD_REP_INFO, got);
    const uint16_t flags = get_be16(got + 10);
    assert_true(flags & NBD_FLAG_READ_ONLY);
    assert_false(flags & (NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO));
    assert_true(nbd_session_transmitting(peer->session));
    assert_string_equal(nbd_session_export(peer->session), "vol@snap");
}

static void df_is_offered_with_structured_replies_only(void **state)
{
    struct peer *peer = *state;
    uint8_t data[64];
    char got[5000];
    peer_greet(peer, FLAGS);
    peer_option(peer, NBD_OPT_STRUCTURED_REPLY, "", 0);
    (void)peer_option_reply(peer, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK, NULL);
    peer_option(peer, NBD_OPT_GO, data, peer_info_data(data, "vol", 0, NULL));
    (void)peer_option_reply(peer, NBD_OPT_GO, NBD_REP_INFO, got);
    assert_int_equal(get_be16(got + 10), volume_flags | NBD_FLAG_SEND_DF);
}

static void an_unknown_export_is_refused_by_name_and_the_handshake_goes_on(void **state)
{
    struct peer *peer = *state;
    uint8_t data[300];
    char message[5000];
    peer_greet(peer, FLAGS);
    peer_option(peer, NBD_OPT_GO, data, peer_info_data(data, "wrong", 0, NULL));
    (void)peer_option_reply(peer, NBD_OPT_GO, NBD_REP_ERR_UNKNOWN, message);
    assert_non_null(strstr(message, "'wrong'"));
    peer_option(peer, NBD_OPT_INFO, data, peer_info_data(data, "vol@wrong", 0, NULL));
    (void)peer_option_reply(peer, NBD_OPT_INFO, NBD_REP_ERR_UNKNOWN, message);
    assert_non_null(strstr(message, "'vol@wrong'"));
    char name[200];
    memset(name, 'v', sizeof name);
    name[199] = 0;
    peer_option(peer, NBD_OPT_GO, data, peer_info_data(data, name, 0, NULL));
    (void)peer_option_reply(peer, NBD_OPT_GO, NBD_REP_ERR_UNKNOWN, message);
    memset(data, 0, sizeof data);
    put_be32(data, 4);
    memcpy(data + 4, "vol\0", 4); /* a name with a NUL is no name */
    peer_option(peer, NBD_OPT_GO, data, 10);
    (void)peer_option_reply(peer, NBD_OPT_GO, NBD_REP_ERR_UNKNOWN, message);
    peer_go(peer, "vol");
}

static void the_default_export_is_refused_with_advice(void **state)
{
    struct peer *peer = *state;
    uint8_t data[64];
    char message[5000];
    peer_greet(peer, FLAGS);
    peer_option(peer, NBD_OPT_GO, data, peer_info_data(data, "", 0, NULL));
    (void)peer_option_reply(peer, NBD_OPT_GO, NBD_REP_ERR_UNKNOWN, message);
    assert_non_null(strstr(message, "add the name of a volume"));
}

static void lengths_that_do_not_add_up_are_invalid(void **state)
{
    struct peer *peer = *state;
    static const struct {
        uint32_t name, wants, total;
    } wrong[] = {{3, 0, 0},  {3, 0, 3},           {3, 0, 5},  {3, 0, 8},  {3, 1, 9},
                 {3, 0, 10}, {0xffffffff, 0, 12}, {99, 0, 9}, {3, 7, 11}, {0xfffffffc, 0, 9}};
    peer_greet(peer, FLAGS);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint8_t data[64] = {0};
        put_be32(data, wrong[i].name);
        memcpy(data + 4, "vol", 3);
        put_be16(data + 7, (uint16_t)wrong[i].wants);
        peer_option(peer, NBD_OPT_INFO, data, wrong[i].total);
        (void)peer_option_reply(peer, NBD_OPT_INFO, NBD_REP_ERR_INVALID, NULL);
        peer_option(peer, NBD_OPT_GO, data, wrong[i].total);
        (void)peer_option_reply(peer, NBD_OPT_GO, NBD_REP_ERR_INVALID, NULL);
    }
    peer_go(peer, "vol");
}

/* ---- the others */

static void abort_is_acknowledged_before_the_end(void **state)
{
    struct peer *peer = *state;
    peer_greet(peer, FLAGS);
    peer_option(peer, NBD_OPT_ABORT, "", 0);
    (void)peer_option_reply(peer, NBD_OPT_ABORT, NBD_REP_ACK, NULL);
    assert_true(nbd_session_over(peer->session));
    assert_int_equal(nbd_session_error(peer->session)->status, 0);
}

static void tls_is_unsupported_and_its_absence_no_end(void **state)
{
    struct peer *peer = *state;
    char message[5000];
    peer_greet(peer, FLAGS);
    peer_option(peer, NBD_OPT_STARTTLS, "", 0);
    (void)peer_option_reply(peer, NBD_OPT_STARTTLS, NBD_REP_ERR_UNSUP, message);
    assert_non_null(strstr(message, "TLS"));
    peer_go(peer, "vol");
}

static void metadata_contexts_need_structured_replies(void **state)
{
    struct peer *peer = *state;
    uint8_t data[64];
    peer_greet(peer, FLAGS);
    peer_option(peer, NBD_OPT_LIST_META_CONTEXT, data, peer_context_data(data, "vol", 0, NULL));
    (void)peer_option_reply(peer, NBD_OPT_LIST_META_CONTEXT, NBD_REP_ERR_INVALID, NULL);
}

static void go_structured(struct peer *peer)
{
    peer_greet(peer, FLAGS);
    peer_option(peer, NBD_OPT_STRUCTURED_REPLY, "", 0);
    (void)peer_option_reply(peer, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK, NULL);
}

/* Asks, and returns whether base:allocation was in the answer. */
static bool offered(struct peer *peer, uint32_t option, const char *name, const char *query)
{
    uint8_t data[300];
    char got[5000];
    const char *queries[] = {"x-unknown:thing", query};
    peer_option(peer, option, data, peer_context_data(data, name, query ? 2 : 0, queries));
    bool any = peer->in_bytes - peer->in_at > NBD_OPTION_REPLY_BYTES;
    if (any) {
        assert_int_equal(peer_option_reply(peer, option, NBD_REP_META_CONTEXT, got), 19);
        assert_int_equal(get_be32(got), option == NBD_OPT_SET_META_CONTEXT ? 1 : 0);
        assert_string_equal(got + 4, "base:allocation");
    }
    (void)peer_option_reply(peer, option, NBD_REP_ACK, NULL);
    return any;
}

static void contexts_are_listed_and_selected_by_query(void **state)
{
    struct peer *peer = *state;
    go_structured(peer);
    assert_true(offered(peer, NBD_OPT_LIST_META_CONTEXT, "vol", NULL));
    assert_true(offered(peer, NBD_OPT_LIST_META_CONTEXT, "vol", "base:"));
    assert_true(offered(peer, NBD_OPT_LIST_META_CONTEXT, "vol", "base:allocation"));
    assert_false(offered(peer, NBD_OPT_LIST_META_CONTEXT, "vol", "base:other"));
    assert_false(offered(peer, NBD_OPT_SET_META_CONTEXT, "vol", NULL));
    assert_false(offered(peer, NBD_OPT_SET_META_CONTEXT, "vol", "base:"));
    assert_true(offered(peer, NBD_OPT_SET_META_CONTEXT, "vol", "base:allocation"));
}

/* Whether BLOCK_STATUS works on "vol" now. */
static bool has_status(struct peer *peer)
{
    peer_go(peer, "vol");
    peer_request(peer, NBD_CMD_BLOCK_STATUS, 0, 1, 0, 4096);
    peer_run(peer);
    return peer_chunk(peer).type == NBD_REPLY_TYPE_BLOCK_STATUS;
}

static void a_selected_context_serves_block_status(void **state)
{
    go_structured(*state);
    assert_true(offered(*state, NBD_OPT_SET_META_CONTEXT, "vol", "base:allocation"));
    assert_true(has_status(*state));
}

static void a_later_selection_replaces_an_earlier_one(void **state)
{
    go_structured(*state);
    assert_true(offered(*state, NBD_OPT_SET_META_CONTEXT, "vol", "base:allocation"));
    assert_false(offered(*state, NBD_OPT_SET_META_CONTEXT, "vol", "base:other"));
    assert_false(has_status(*state));
}

static void a_context_selected_for_another_export_does_not_count(void **state)
{
    go_structured(*state);
    assert_true(offered(*state, NBD_OPT_SET_META_CONTEXT, "other", "base:allocation"));
    assert_false(has_status(*state));
}

static void malformed_context_options_are_invalid(void **state)
{
    struct peer *peer = *state;
    go_structured(peer);
    uint8_t data[300];
    const char *queries[] = {"base:allocation"};
    const uint32_t whole = peer_context_data(data, "vol", 1, queries);
    for (uint32_t cut = 0; cut < whole; cut++) {
        peer_option(peer, NBD_OPT_SET_META_CONTEXT, data, cut);
        (void)peer_option_reply(peer, NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_INVALID, NULL);
    }
    peer_option(peer, NBD_OPT_SET_META_CONTEXT, data, whole + 1);
    (void)peer_option_reply(peer, NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_INVALID, NULL);
    put_be32(data + 7, 0xffffffff); /* queries */
    peer_option(peer, NBD_OPT_LIST_META_CONTEXT, data, whole);
    (void)peer_option_reply(peer, NBD_OPT_LIST_META_CONTEXT, NBD_REP_ERR_INVALID, NULL);
    char message[5000];
    peer_option(peer, NBD_OPT_LIST_META_CONTEXT, data, peer_context_data(data, "none", 0, NULL));
    (void)peer_option_reply(peer, NBD_OPT_LIST_META_CONTEXT, NBD_REP_ERR_UNKNOWN, message);
    assert_non_null(strstr(message, "'none'"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
/* ---- a node of a cluster */

static void while_nobody_leads_exports_are_listed_and_an_opening_is_refused_after_a_while(void **state)
{
    struct peer *peer = *state;
    uint8_t data[300];
    char text[5000];
    peer_gate(peer);
    peer_lead(peer, false);
    peer_reconnect(peer);
    peer_greet(peer, FLAGS);
    peer_option(peer, NBD_OPT_LIST, NULL, 0);
    for (int i = 0; i < 3; i++)
        (void)peer_option_reply(peer, NBD_OPT_LIST, NBD_REP_SERVER, NULL);
    (void)peer_option_reply(peer, NBD_OPT_LIST, NBD_REP_ACK, NULL);
    const uint32_t bytes = peer_info_data(data, "vol", 0, NULL);
    peer_option(peer, NBD_OPT_GO, data, bytes);
    peer_wait(peer, 2400);
    peer_expect_silence(peer);
    assert_false(nbd_session_wants_input(peer->session));
    peer_wait(peer, 200);
    (void)peer_option_reply(peer, NBD_OPT_GO, NBD_REP_ERR_SHUTDOWN, text);
    assert_non_null(strstr(text, "not primary: n2 at tcp://b:1"));
    /* It takes over while the client waits. */
    peer_option(peer, NBD_OPT_GO, data, bytes);
    peer_wait(peer, 100);
    peer_expect_silence(peer);
    peer_lead(peer, true);
    peer_wait(peer, 20);
    (void)peer_option_reply(peer, NBD_OPT_GO, NBD_REP_INFO, NULL);
    (void)peer_option_reply(peer, NBD_OPT_GO, NBD_REP_INFO, NULL);
    (void)peer_option_reply(peer, NBD_OPT_GO, NBD_REP_ACK, NULL);
    assert_true(nbd_session_transmitting(peer->session));
}

static void while_nobody_leads_no_contexts_are_told_and_the_export_is_not_called_unknown(void **state)
{
    static const uint32_t options[] = {NBD_OPT_LIST_META_CONTEXT, NBD_OPT_SET_META_CONTEXT};
    struct peer *peer = *state;
    const char *queries[] = {"base:allocation"};
    uint8_t data[300];
    char text[5000];
    peer_gate(peer);
    peer_lead(peer, false);
    peer_reconnect(peer);
    go_structured(peer);
    for (size_t i = 0; i < 2; i++) {
        peer_option(peer, options[i], data, peer_context_data(data, "vol", 1, queries));
        peer_wait(peer, 2600);
        (void)peer_option_reply(peer, options[i], NBD_REP_ERR_SHUTDOWN, text);
        assert_non_null(strstr(text, "not primary: n2 at tcp://b:1"));
    }
}

static void the_old_option_ends_the_connection_when_nobody_leads(void **state)
{
    struct peer *peer = *state;
    peer_gate(peer);
    peer_lead(peer, false);
    peer_reconnect(peer);
    peer_greet(peer, FLAGS);
    peer_option(peer, NBD_OPT_EXPORT_NAME, "vol", 3);
    peer_wait(peer, 2600);
    expect_broken(peer, "not primary");
}

static void a_client_may_go_while_it_waits_for_a_primary(void **state)
{
    struct peer *peer = *state;
    uint8_t data[300];
    peer_gate(peer);
    peer_lead(peer, false);
    peer_reconnect(peer);
    peer_greet(peer, FLAGS);
    peer_option(peer, NBD_OPT_GO, data, peer_info_data(data, "vol", 0, NULL));
    peer_wait(peer, 100);
    peer_reconnect(peer);
    peer_lead(peer, true);
    peer_wait(peer, 100);
    peer_greet(peer, FLAGS);
    peer_go(peer, "vol");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_unknown_client_flag_ends_the_connection),
        T(a_wrong_option_magic_ends_the_connection),
        T(an_option_is_understood_in_any_pieces),
        T(too_long_an_option_ends_the_connection),
        T(an_unknown_option_of_any_legal_length_is_refused_and_skipped),
        T(options_without_end_end_the_connection),
        T(a_plain_newstyle_client_may_only_name_its_export),
        T(export_name_answers_with_size_flags_and_padding),
        T(no_zeroes_leaves_the_padding_out),
        T(requests_may_follow_export_name_at_once),
        T(export_name_of_nothing_ends_the_connection),
        T(list_names_volumes_and_snapshots),
        T(a_list_longer_than_the_output_comes_in_parts_and_whole),
        T(list_with_data_is_invalid),
        T(info_tells_everything_asked_for_and_goes_nowhere),
        T(a_snapshot_is_a_read_only_export),
        T(df_is_offered_with_structured_replies_only),
        T(an_unknown_export_is_refused_by_name_and_the_handshake_goes_on),
        T(the_default_export_is_refused_with_advice),
        T(lengths_that_do_not_add_up_are_invalid),
        T(abort_is_acknowledged_before_the_end),
        T(tls_is_unsupported_and_its_absence_no_end),
        T(metadata_contexts_need_structured_replies),
        T(contexts_are_listed_and_selected_by_query),
        T(a_selected_context_serves_block_status),
        T(a_later_selection_replaces_an_earlier_one),
        T(a_context_selected_for_another_export_does_not_count),
        T(malformed_context_options_are_invalid),
        T(while_nobody_leads_exports_are_listed_and_an_opening_is_refused_after_a_while),
        T(while_nobody_leads_no_contexts_are_told_and_the_export_is_not_called_unknown),
        T(the_old_option_ends_the_connection_when_nobody_leads),
        T(a_client_may_go_while_it_waits_for_a_primary),
    };
    return cmocka_run_group_tests_name("nbd_handshake", tests, NULL, NULL);
}
