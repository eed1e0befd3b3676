/* Durable state, little-endian: 0 magic u32, 4 version u16, 6 reason of the open ask u8, 7 zero, 8 mediator's
 * store id, 24 highest epoch u64, 32 request id, 48 expected epoch u64, 56 length of the configuration u16,
 * 58 length of the asked one u16, 60 zero u32; since version 2: 64 whom it is bound to, 80 epoch u64, 88
 * nonce u64, 96 the nonce of its own authority u64, 104 number of the mediator u64; since version 3: 112 who
 * has to have stopped; then both (common/configuration.c). Its checksum is the anchor's. */
#include "common/endian_codec.h"
#include "node/replication/replica_impl.h"

enum {
    MAGIC = 0x53525350, /* "PSRS" */
    VERSION = 3,
    HEADER = 128,
    HEADER_2 = 112, /* of version 2, which knew no promotion by a person */
    HEADER_1 = 64,  /* of version 1, which knew no pre-election */
};
_Static_assert((int)HEADER + 2 * (int)CONFIGURATION_BYTES_MAX <= (int)REPLICA_STATE_BYTES_MAX,
               "the state fits");

size_t durable_encode(const struct durable *state, void *out)
{
    uint8_t *p = out;
    memset(p, 0, HEADER);
    size_t a = 0, b = 0;
    if (state->configuration.epoch)
        a = configuration_encode(&state->configuration, p + HEADER);
    if (state->ask.reason != ASK_NONE)
        b = configuration_encode(&state->ask.next, p + HEADER + a);
    put_le32(p, MAGIC);
    put_le16(p + 4, VERSION);
    p[6] = (uint8_t)state->ask.reason;
    memcpy(p + 8, state->mediator.bytes, 16);
    put_le64(p + 24, state->highest_epoch);
    memcpy(p + 32, state->ask.request.bytes, 16);
    put_le64(p + 48, state->ask.expected_epoch);
    put_le16(p + 56, (uint16_t)a);
    put_le16(p + 58, (uint16_t)b);
    memcpy(p + 64, state->bound.heir.bytes, 16);
    put_le64(p + 80, state->bound.epoch);
    put_le64(p + 88, state->bound.nonce);
    put_le64(p + 96, state->self);
    put_le64(p + 104, state->mediator_number);
    memcpy(p + 112, state->fence.bytes, 16);
    return HEADER + a + b;
}

int durable_decode(const void *data, size_t bytes, struct durable *out, struct ps_error *err)
{
    const uint8_t *p = data;
    struct durable state = {0};
    if (bytes < HEADER_1 || get_le32(p) != MAGIC)
        return ps_error_set(err, PS_EDAMAGED, "the replication state is none");
    const unsigned version = get_le16(p + 4);
    if (version < 1 || version > VERSION)
        return ps_error_set(err, PS_EVERSION,
                            "the replication state has version %u, this program reads 1 to %d", version,
                            VERSION);
    const size_t header = version == 1 ? HEADER_1 : version == 2 ? HEADER_2 : HEADER;
    const size_t a = get_le16(p + 56), b = get_le16(p + 58);
    if (bytes != header + a + b || p[6] >= ASK_REASONS || p[7] || get_le32(p + 60) ||
        (p[6] == ASK_NONE) != (b == 0))
        return ps_error_set(err, PS_EDAMAGED, "the replication state has impossible lengths");
    state.ask.reason = p[6];
    memcpy(state.mediator.bytes, p + 8, 16);
    state.highest_epoch = get_le64(p + 24);
    memcpy(state.ask.request.bytes, p + 32, 16);
    state.ask.expected_epoch = get_le64(p + 48);
    if (version > 1) {
        memcpy(state.bound.heir.bytes, p + 64, 16);
        state.bound.epoch = get_le64(p + 80);
        state.bound.nonce = get_le64(p + 88);
        state.self = get_le64(p + 96);
        state.mediator_number = get_le64(p + 104);
    }
    if (version > 2)
        memcpy(state.fence.bytes, p + 112, 16);
    int rc = a ? configuration_decode(p + header, a, &state.configuration, err) : 0;
    if (rc == 0 && b)
        rc = configuration_decode(p + header + a, b, &state.ask.next, err);
    if (rc == 0)
        *out = state;
    return rc;
}
