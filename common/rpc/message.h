/* Messages at the edge: decoded within a memory limit, then checked for what
 * protobuf-c lets through (unknown enum values, invalid UTF-8). */
#ifndef PS_COMMON_RPC_MESSAGE_H
#define PS_COMMON_RPC_MESSAGE_H

#include <stdbool.h>

#include "common/rpc/arena.h"
#include "common/rpc/rpc.h"

/* Decodes and checks a body. The result lives until the arena is reset. NULL: `err` is
 * PS_EINVAL (malformed, not UTF-8, unknown enum value, too much memory). */
const ProtobufCMessage *rpc_message_unpack(struct rpc_arena *arena, const ProtobufCMessageDescriptor *type,
                                           const uint8_t *body, size_t length, struct ps_error *err);

/* Name of a method on the wire: XXH3-64 of "package.Service/Method"; never 0. */
uint64_t rpc_method_id(const ProtobufCServiceDescriptor *service, const char *method);

bool rpc_utf8_valid(const char *text);
/* Puts '?' in the place of every byte that is not part of a character: what is
 * sent must be valid, and a text that was cut or a path may not be. */
void rpc_utf8_repair(char *text);

#endif
