/* Any bytes as an NBD client's part of the handshake (and of what follows if it
 * gets that far). The first byte chooses how they arrive in pieces. Replies to
 * options must be well formed, whatever was asked. */
#include <assert.h>
#include <string.h>

#include "node/host/nbd_session.h"
#include "node/host/nbd_wire.h"
#include "tests/support/pod_fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_ready(void *user)
{
    (void)user;
}

/* Option replies follow each other without gaps until transmission begins. */
static void check_replies(const uint8_t *at, size_t bytes)
{
    assert(bytes >= NBD_GREETING_BYTES && get_be64(at) == NBD_MAGIC);
    at += NBD_GREETING_BYTES;
    bytes -= NBD_GREETING_BYTES;
    while (bytes > 0) {
        assert(bytes >= NBD_OPTION_REPLY_BYTES && get_be64(at) == NBD_OPTION_REPLY_MAGIC);
        const uint32_t length = get_be32(at + 16);
        assert(length <= NBD_STRING_MAX && length <= bytes - NBD_OPTION_REPLY_BYTES);
        at += NBD_OPTION_REPLY_BYTES + length;
        bytes -= NBD_OPTION_REPLY_BYTES + length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const size_t piece = data[0] ? data[0] : SIZE_MAX;
    struct pod *pod = pod_fake_create();
    pod_fake_volume(pod, "vol", 1 << 20);
    pod_fake_snapshot(pod, "vol@snap");
    struct nbd_buffers buffers;
    struct nbd_transmit_stats stats = {0};
    nbd_buffers_init(&buffers, NBD_BUFFER_MAX);
    const struct nbd_session_config config = {
        .pod = pod, .buffers = &buffers, .stats = &stats, .ready = on_ready};
    struct nbd_session *session = nbd_session_create(&config);

    static uint8_t got[1 << 16];
    size_t replies = 0;
    for (size_t at = 1; !nbd_session_over(session);) {
        struct iovec spans[8];
        for (unsigned n; (n = nbd_session_gather(session, spans, 8)) > 0;) {
            size_t bytes = 0;
            for (unsigned i = 0; i < n; i++) {
                if (!nbd_session_transmitting(session) && replies + spans[i].iov_len <= sizeof got) {
                    memcpy(got + replies, spans[i].iov_base, spans[i].iov_len);
                    replies += spans[i].iov_len;
                }
                bytes += spans[i].iov_len;
            }
            nbd_session_sent(session, bytes);
            (void)nbd_session_resume(session);
        }
        (void)pod_turn(pod, 0);
        if (at == size || !nbd_session_wants_input(session)) {
            if (nbd_session_gather(session, spans, 8) > 0)
                continue;
            break;
        }
        void *buf;
        size_t step = nbd_session_room(session, &buf);
        step = step < piece ? step : piece;
        step = step < size - at ? step : size - at;
        memcpy(buf, data + at, step);
        nbd_session_received(session, step);
        at += step;
    }
    if (replies < sizeof got / 2)
        check_replies(got, replies);
    nbd_session_abandon(session);
    (void)pod_turn(pod, 0);
    nbd_session_destroy(session);
    nbd_buffers_fini(&buffers);
    pod_destroy(pod);
    return 0;
}
