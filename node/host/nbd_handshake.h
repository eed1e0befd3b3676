/* The handshake of one connection: from greeting to an open image.
 *
 * A step function: received bytes in, replies into the output, no I/O. It
 * asks the pod for names and opens the chosen image; the caller closes that.
 * While another node leads the pod, it is that one's answer to the opening that an export is
 * described by, and the option waits for it; a list shows what is known here.
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
#include "node/host/host_image.h"
#include "node/host/nbd_output.h"

enum {
    NBD_OPTION_MAX = 32 * 1024, /* data of one option; more ends the connection */
    NBD_OPTIONS_MAX = 1024,     /* options on one connection */
};

enum nbd_handshake_state {
    NBD_HS_CLIENT_FLAGS,
    NBD_HS_OPTIONS,
    NBD_HS_LISTING, /* inside the answer to LIST, as far as the output has room */
    NBD_HS_OPENING, /* before the answer to an option that names an export, until `opened` */
    NBD_HS_DONE,    /* `image` is open; transmission follows */
    NBD_HS_ABORTED, /* the client said goodbye; the output holds the last reply */
    NBD_HS_FAILED,  /* `error` says why; disconnect */
};

struct nbd_handshake {
    struct pod *pod;
    /* Set after nbd_handshake_init. */
    struct host_images *images; /* NULL: the pod here or none */
    void (*opened)(void *user); /* with images: an opening has ended, feed again */
    void *user;
    enum nbd_handshake_state state;
    bool fixed_newstyle, no_zeroes;
    bool structured;
    bool allocation; /* base:allocation was selected, for the export `allocation_name` */
    uint32_t options;
    char allocation_name[POD_FULL_NAME_MAX + 1];
    char list_after[POD_FULL_NAME_MAX + 1];
    struct host_image *image;   /* in NBD_HS_DONE; else one that an option named while another node leads */
    struct pod_image_info info; /* of it */
    bool open_ended;            /* in NBD_HS_OPENING: `open_error` tells how */
    struct ps_error open_error;
    char open_name[POD_FULL_NAME_MAX + 1]; /* of `image`, or of the one that could not be opened */
    struct ps_error error;
};

/* Queues the greeting. */
void nbd_handshake_init(struct nbd_handshake *hs, struct pod *pod, struct nbd_output *out);
/* Closes the image, unless the transmission phase has taken it. */
void nbd_handshake_fini(struct nbd_handshake *hs);

/* Takes what it can of `in` and returns how many bytes that was. Less than all
 * without reaching DONE, ABORTED or FAILED means: call again with more input,
 * or when the output has more room. An option is taken whole, so the caller
 * can hold at least NBD_OPTION_BYTES + NBD_OPTION_MAX. */
size_t nbd_handshake_feed(struct nbd_handshake *hs, struct nbd_output *out, const uint8_t *in, size_t bytes);

#endif
