/* The socket behind an NNG stream, which NNG 1.5 does not tell. */
#ifndef PS_COMMON_RPC_SOCKET_NNG_H
#define PS_COMMON_RPC_SOCKET_NNG_H

#include <nng/nng.h>

/* A descriptor of its own (close-on-exec, the caller closes it) of the TCP socket of `stream`, found among
 * the process's by both addresses, which no other has. -1: not found, not TCP. */
int nng_stream_socket(nng_stream *stream);

#endif
