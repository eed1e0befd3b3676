/* The numbers and fixed layouts of the NBD protocol, big-endian on the wire.
 * Source: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md;
 * names follow it. Only what this server speaks or answers is listed. */
#ifndef PS_NODE_HOST_NBD_WIRE_H
#define PS_NODE_HOST_NBD_WIRE_H

#include <stdint.h>

#include "common/endian_codec.h"

/* ---- handshake ("fixed newstyle negotiation") */

#define NBD_MAGIC              0x4e42444d41474943ull /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC       0x49484156454f5054ull /* "IHAVEOPT" */
#define NBD_OPTION_REPLY_MAGIC 0x0003e889045565a9ull

enum {
    NBD_GREETING_BYTES = 18, /* magic 8, option magic 8, handshake flags 2 */
    NBD_CLIENT_FLAGS_BYTES = 4,
    NBD_OPTION_BYTES = 16,            /* magic 8, option 4, length 4 */
    NBD_OPTION_REPLY_BYTES = 20,      /* magic 8, option 4, type 4, length 4 */
    NBD_EXPORT_NAME_REPLY_BYTES = 10, /* size 8, transmission flags 2 */
    NBD_EXPORT_NAME_PADDING = 124,
    NBD_STRING_MAX = 4096,
};

enum { /* handshake flags and the client's answer: the same bits */
    NBD_FLAG_FIXED_NEWSTYLE = 1u << 0,
    NBD_FLAG_NO_ZEROES = 1u << 1,
};

enum nbd_option {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_STARTTLS = 5,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ACK          1u
#define NBD_REP_SERVER       2u
#define NBD_REP_INFO         3u
#define NBD_REP_META_CONTEXT 4u
#define NBD_REP_ERR_UNSUP    0x80000001u
#define NBD_REP_ERR_INVALID  0x80000003u
#define NBD_REP_ERR_UNKNOWN  0x80000006u
#define NBD_REP_ERR_SHUTDOWN 0x80000007u

enum {
    NBD_INFO_EXPORT = 0,
    NBD_INFO_NAME = 1,
    NBD_INFO_DESCRIPTION = 2,
    NBD_INFO_BLOCK_SIZE = 3
};

enum { /* transmission flags */
    NBD_FLAG_HAS_FLAGS = 1u << 0,
    NBD_FLAG_READ_ONLY = 1u << 1,
    NBD_FLAG_SEND_FLUSH = 1u << 2,
    NBD_FLAG_SEND_FUA = 1u << 3,
    NBD_FLAG_SEND_TRIM = 1u << 5,
    NBD_FLAG_SEND_WRITE_ZEROES = 1u << 6,
    NBD_FLAG_SEND_DF = 1u << 7,
    NBD_FLAG_CAN_MULTI_CONN = 1u << 8,
    NBD_FLAG_SEND_CACHE = 1u << 10,
    NBD_FLAG_SEND_FAST_ZERO = 1u << 11,
};

#define NBD_CONTEXT_ALLOCATION "base:allocation"
enum {
    NBD_CONTEXT_ALLOCATION_ID = 1
};

/* ---- transmission */

#define NBD_REQUEST_MAGIC          0x25609513u
#define NBD_SIMPLE_REPLY_MAGIC     0x67446698u
#define NBD_STRUCTURED_REPLY_MAGIC 0x668e33efu

enum nbd_command {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_CACHE = 5,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
};

enum {
    NBD_CMD_FLAG_FUA = 1u << 0,
    NBD_CMD_FLAG_NO_HOLE = 1u << 1,
    NBD_CMD_FLAG_DF = 1u << 2,
    NBD_CMD_FLAG_REQ_ONE = 1u << 3,
    NBD_CMD_FLAG_FAST_ZERO = 1u << 4,
};

enum {
    NBD_REPLY_FLAG_DONE = 1u << 0
};

enum {
    NBD_REPLY_TYPE_NONE = 0,
    NBD_REPLY_TYPE_OFFSET_DATA = 1,
    NBD_REPLY_TYPE_OFFSET_HOLE = 2,
    NBD_REPLY_TYPE_BLOCK_STATUS = 5,
    NBD_REPLY_TYPE_ERROR = 0x8001,
};

enum {
    NBD_STATE_HOLE = 1u << 0,
    NBD_STATE_ZERO = 1u << 1
};

/* The only error values the protocol allows; they equal Linux's. */
enum {
    NBD_EPERM = 1,
    NBD_EIO = 5,
    NBD_ENOMEM = 12,
    NBD_EINVAL = 22,
    NBD_ENOSPC = 28,
    NBD_EOVERFLOW = 75,
    NBD_ENOTSUP = 95,
    NBD_ESHUTDOWN = 108,
};

enum {
    NBD_REQUEST_BYTES = 28,
    NBD_SIMPLE_REPLY_BYTES = 16,
    NBD_CHUNK_BYTES = 20,                            /* header of a structured reply chunk */
    NBD_OFFSET_DATA_BYTES = NBD_CHUNK_BYTES + 8,     /* before the data */
    NBD_OFFSET_HOLE_BYTES = NBD_CHUNK_BYTES + 8 + 4, /* all of it */
    NBD_BLOCK_STATUS_BYTES = NBD_CHUNK_BYTES + 4,    /* before the descriptors */
    NBD_BLOCK_DESCRIPTOR_BYTES = 8,
    NBD_ERROR_CHUNK_BYTES = NBD_CHUNK_BYTES + 6, /* before the message */
};

struct nbd_request_header {
    uint16_t flags, command;
    uint64_t cookie, offset;
    uint32_t length;
};

/* `in` holds NBD_REQUEST_BYTES. False: the magic is wrong. */
static inline int nbd_get_request(const uint8_t *in, struct nbd_request_header *out)
{
    out->flags = get_be16(in + 4);
    out->command = get_be16(in + 6);
    out->cookie = get_be64(in + 8);
    out->offset = get_be64(in + 16);
    out->length = get_be32(in + 24);
    return get_be32(in) == NBD_REQUEST_MAGIC;
}

static inline void nbd_put_simple_reply(uint8_t *out, uint32_t error, uint64_t cookie)
{
    put_be32(out, NBD_SIMPLE_REPLY_MAGIC);
    put_be32(out + 4, error);
    put_be64(out + 8, cookie);
}

/* `length` is that of the payload that follows the 20 bytes. */
static inline void nbd_put_chunk(uint8_t *out, uint16_t flags, uint16_t type, uint64_t cookie,
                                 uint32_t length)
{
    put_be32(out, NBD_STRUCTURED_REPLY_MAGIC);
    put_be16(out + 4, flags);
    put_be16(out + 6, type);
    put_be64(out + 8, cookie);
    put_be32(out + 16, length);
}

static inline void nbd_put_option_reply(uint8_t *out, uint32_t option, uint32_t type, uint32_t length)
{
    put_be64(out, NBD_OPTION_REPLY_MAGIC);
    put_be32(out + 8, option);
    put_be32(out + 12, type);
    put_be32(out + 16, length);
}

#endif
