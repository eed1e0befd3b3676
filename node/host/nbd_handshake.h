/* The handshake of one connection: from greeting to an open image.
 *
 * A step function: received bytes in, replies into the output, no I/O. It
 * asks the pod for names and opens the chosen image; the caller closes that.
 *
 * The empty (default) name opens nothing, even with a single volume: a script
 * that relies on it would break, or write to the wrong place, when a second
 * volume is made. The refusal says how to name one. */
#ifndef PS_NODE_HOST_NBD_HANDSHAKE_H
#define PS_NODE_HOST_NBD_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"
#include "node/host/nbd_output.h"
#include "node/host/primary_gate.h"
#include "node/pod/pod.h"

enum {
    NBD_OPTION_MAX = 32 * 1024, /* data of one option; more ends the connection */
    NBD_OPTIONS_MAX = 1024,     /* options on one connection */
};

enum nbd_handshake_state {
    NBD_HS_CLIENT_FLAGS,
    NBD_HS_OPTIONS,
    NBD_HS_LISTING, /* inside the answer to LIST, as far as the output has room */
    NBD_HS_DONE,    /* `image` is open; transmission follows */
    NBD_HS_ABORTED, /* the client said goodbye; the output holds the last reply */
    NBD_HS_FAILED,  /* `error` says why; disconnect */
};

struct nbd_handshake {
    struct pod *pod;
    const struct primary_gate *gate; /* set after nbd_handshake_init; NULL: this node always serves */
    enum nbd_handshake_state state;
    bool fixed_newstyle, no_zeroes;
    bool structured;
    bool allocation; /* base:allocation was selected, for the export `allocation_name` */
    uint32_t options;
    char allocation_name[POD_FULL_NAME_MAX + 1];
    char list_after[POD_FULL_NAME_MAX + 1];
    struct pod_image *image; /* in NBD_HS_DONE */
    struct pod_image_info info;
    struct ps_error error;
};

/* Queues the greeting. */
void nbd_handshake_init(struct nbd_handshake *hs, struct pod *pod, struct nbd_output *out);

/* Takes what it can of `in` and returns how many bytes that was. Less than all
 * without reaching DONE, ABORTED or FAILED means: call again with more input,
 * or when the output has more room. An option is taken whole, so the caller
 * can hold at least NBD_OPTION_BYTES + NBD_OPTION_MAX. */
size_t nbd_handshake_feed(struct nbd_handshake *hs, struct nbd_output *out, const uint8_t *in, size_t bytes);

/* What an export offers, as the protocol's transmission flags. */
uint16_t nbd_transmission_flags(const struct pod_image_info *info, bool structured);

#endif
