/* Events as they happen, as Server-Sent Events (WHATWG HTML, 9.2) on one connection.
 *
 * Two threads: libpstorage's puts events in, the HTTP server's takes them out; a lock of the stream's own
 * lies between. Where a reader is slow, following stops when the buffer is full and goes on behind the last
 * event in it when there is room again. */
#ifndef PS_NODE_HOST_REST_REST_STREAM_MHD_H
#define PS_NODE_HOST_REST_REST_STREAM_MHD_H

#include <stdint.h>

#include "client/lib/pstorage.h"

struct MHD_Connection;
struct MHD_Response;
struct rest_stream;

struct rest_stream_config {
    struct pstorage_client *client;
    struct MHD_Connection *connection;
    uint64_t after_cursor;
    bool from_now;    /* in place of the cursor */
    const char *kind; /* as the parameter; NULL: all. Copied */
    /* The stream is over, and freed soon; on the HTTP server's thread. */
    void (*closed)(void *user);
    void *user;
    /* Has the HTTP server's thread look; any thread. */
    void (*wake)(void *user);
    void *wake_user;
};

/* Starts to follow; `*response` delivers the events and frees the stream with itself. PS_ENOMEM. */
int rest_stream_start(const struct rest_stream_config *config, struct rest_stream **out,
                      struct MHD_Response **response);

/* On the HTTP server's thread: something is sent now, if there is nothing else, to see whether somebody is
 * still there. */
void rest_stream_beat(struct rest_stream *stream);
/* The same thread: no request to the node begins any more. */
void rest_stream_finish(struct rest_stream *stream);

#endif
