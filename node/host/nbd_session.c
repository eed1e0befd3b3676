#include "node/host/nbd_session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/host/nbd_wire.h"

/* After a large WRITE another one is likely: so little is received at first
 * that most of its payload can go straight to its buffer. */
enum {
    INPUT_AFTER_LARGE = 512
};

struct nbd_session {
    struct nbd_session_config config;
    bool ending;    /* no more input is taken */
    bool abandoned; /* no more output is made */
    bool after_large;
    struct ps_error error;
    struct nbd_handshake handshake;
    struct nbd_transmit *transmit; /* NULL before transmission */
    uint32_t begin, end;           /* input received and not yet taken */
    struct nbd_output output;
    uint8_t input[NBD_SESSION_INPUT];
};

static void fail(struct nbd_session *session, const struct ps_error *error)
{
    session->error = *error;
    session->ending = true;
}

static void on_completed(void *user)
{
    struct nbd_session *session = user;
    if (session->transmit && session->transmit->state == NBD_TX_VIOLATED && !session->ending)
        fail(session, &session->transmit->error);
    session->config.ready(session->config.user);
}

static void on_opened(void *user)
{
    struct nbd_session *session = user;
    session->config.ready(session->config.user);
}

struct nbd_session *nbd_session_create(const struct nbd_session_config *config)
{
    struct nbd_session *session = malloc(sizeof *session);
    if (!session)
        return NULL;
    memset(session, 0, offsetof(struct nbd_session, output)); /* the rest stays unbacked until used */
    session->config = *config;
    nbd_output_init(&session->output);
    nbd_handshake_init(&session->handshake, config->pod, &session->output);
    session->handshake.images = config->images;
    session->handshake.opened = on_opened;
    session->handshake.user = session;
    return session;
}

void nbd_session_destroy(struct nbd_session *session)
{
    assert(nbd_session_idle(session));
    if (session->transmit)
        nbd_transmit_destroy(session->transmit);
    nbd_handshake_fini(&session->handshake);
    free(session);
}

static size_t take_handshake(struct nbd_session *session, const uint8_t *in, size_t bytes)
{
    struct nbd_handshake *hs = &session->handshake;
    const size_t taken = nbd_handshake_feed(hs, &session->output, in, bytes);
    switch (hs->state) {
    case NBD_HS_DONE:
        session->transmit = nbd_transmit_create(hs, session->config.buffers, &session->output,
                                                session->config.stats, on_completed, session);
        if (!session->transmit) {
            host_image_close(hs->image);
            fail(session, &(struct ps_error){PS_ENOMEM, "no memory for a connection's requests"});
        }
        break;
    case NBD_HS_ABORTED:
        session->ending = true;
        break;
    case NBD_HS_FAILED:
        fail(session, &hs->error);
        break;
    default:
        break;
    }
    return taken;
}

static size_t take_requests(struct nbd_session *session, const uint8_t *in, size_t bytes)
{
    struct nbd_transmit *tx = session->transmit;
    const size_t taken = nbd_transmit_feed(tx, in, bytes);
    if (tx->state == NBD_TX_ENDED)
        session->ending = true;
    else if (tx->state == NBD_TX_VIOLATED)
        fail(session, &tx->error);
    return taken;
}

/* Takes as much of the input as is possible now; whether that was anything. */
static bool take_input(struct nbd_session *session)
{
    bool any = false;
    while (!session->ending) {
        const uint8_t *in = session->input + session->begin;
        const size_t bytes = session->end - session->begin;
        const bool transmitting = session->transmit != NULL;
        const size_t taken =
            transmitting ? take_requests(session, in, bytes) : take_handshake(session, in, bytes);
        session->begin += (uint32_t)taken;
        any = any || taken > 0;
        if (taken == 0 || session->begin == session->end)
            break;
    }
    if (session->begin == session->end)
        session->begin = session->end = 0;
    return any;
}

bool nbd_session_wants_input(const struct nbd_session *session)
{
    if (session->ending || session->abandoned)
        return false;
    if (session->transmit)
        return session->transmit->state == NBD_TX_RUNNING;
    /* While an answer is longer than the output, the client's next option can wait. */
    return session->handshake.state != NBD_HS_LISTING && session->handshake.state != NBD_HS_OPENING &&
           session->end - session->begin < NBD_SESSION_INPUT;
}

bool nbd_session_gathers(const struct nbd_session *session)
{
    return session->transmit && nbd_transmit_gathers(session->transmit);
}

size_t nbd_session_room(struct nbd_session *session, void **buf)
{
    assert(nbd_session_wants_input(session));
    if (session->transmit && session->begin == session->end) {
        const size_t direct = nbd_transmit_direct(session->transmit, buf);
        if (direct > 0)
            return direct;
    }
    if (session->begin > 0) { /* at most a header, or a small part of an option */
        memmove(session->input, session->input + session->begin, session->end - session->begin);
        session->end -= session->begin;
        session->begin = 0;
    }
    *buf = session->input + session->end;
    const size_t room = NBD_SESSION_INPUT - session->end;
    return session->after_large && room > INPUT_AFTER_LARGE ? INPUT_AFTER_LARGE : room;
}

void nbd_session_received(struct nbd_session *session, size_t bytes)
{
    void *direct;
    if (session->transmit && session->begin == session->end &&
        nbd_transmit_direct(session->transmit, &direct) > 0) {
        session->after_large = true;
        nbd_transmit_direct_received(session->transmit, bytes);
        return;
    }
    session->end += (uint32_t)bytes;
    assert(session->end <= NBD_SESSION_INPUT);
    session->after_large = false;
    const bool handshake = !session->transmit;
    (void)take_input(session);
    if (session->ending || handshake)
        session->config.ready(session->config.user);
}

/* The primary is asked, and has not answered yet. */
static bool is_opening(const struct nbd_session *session)
{
    return session->handshake.state == NBD_HS_OPENING && !session->handshake.open_ended;
}

bool nbd_session_resume(struct nbd_session *session)
{
    if (session->ending || session->abandoned)
        return false;
    const bool waiting = session->transmit ? session->transmit->state == NBD_TX_STALLED
                                           : session->handshake.state == NBD_HS_LISTING ||
                                                 (session->begin < session->end && !is_opening(session));
    return waiting && take_input(session);
}

unsigned nbd_session_gather(const struct nbd_session *session, struct iovec *spans, unsigned max)
{
    return nbd_output_gather(&session->output, spans, max);
}

void nbd_session_sent(struct nbd_session *session, size_t bytes)
{
    struct list_node finished;
    list_init(&finished);
    nbd_output_sent(&session->output, bytes, &finished);
    if (session->transmit)
        nbd_transmit_release(&finished);
}

void nbd_session_end(struct nbd_session *session)
{
    session->ending = true;
    if (session->transmit)
        nbd_transmit_end(session->transmit);
    session->config.ready(session->config.user);
}

void nbd_session_abandon(struct nbd_session *session)
{
    session->ending = session->abandoned = true;
    if (session->transmit) {
        nbd_transmit_mute(session->transmit);
    } else {
        struct list_node none;
        list_init(&none);
        nbd_output_drop(&session->output, &none);
    }
}

bool nbd_session_ending(const struct nbd_session *session)
{
    return session->ending;
}

bool nbd_session_at_pod(const struct nbd_session *session)
{
    return session->transmit && session->transmit->in_flight > 0;
}

bool nbd_session_passes_on(const struct nbd_session *session)
{
    const struct nbd_transmit *tx = session->transmit;
    return tx && tx->in_flight > 0 && tx->image->images && !tx->image->local;
}

bool nbd_session_over(const struct nbd_session *session)
{
    return session->ending && nbd_output_empty(&session->output) &&
           (!session->transmit || session->transmit->in_flight == 0);
}

bool nbd_session_idle(const struct nbd_session *session)
{
    return !session->transmit || session->transmit->busy == 0;
}

bool nbd_session_transmitting(const struct nbd_session *session)
{
    return session->transmit != NULL;
}

uint32_t nbd_session_options(const struct nbd_session *session)
{
    return session->handshake.options;
}

bool nbd_session_waits(const struct nbd_session *session)
{
    return session->transmit && !list_empty(&session->transmit->waiter);
}

uint64_t nbd_session_payload_bytes(const struct nbd_session *session)
{
    return session->transmit ? session->transmit->payload_bytes : 0;
}

const char *nbd_session_export(const struct nbd_session *session)
{
    return session->transmit ? session->handshake.info.name : "";
}

const struct ps_error *nbd_session_error(const struct nbd_session *session)
{
    return &session->error;
}

struct nbd_session *nbd_session_of_waiter(struct list_node *waiter)
{
    return container_of(waiter, struct nbd_transmit, waiter)->user;
}

void *nbd_session_user(const struct nbd_session *session)
{
    return session->config.user;
}
