#include "common/rpc/message.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

/* Length of the character at `p` that is well-formed UTF-8 (Unicode 15, table 3-7: shortest
 * form, no surrogates, up to U+10FFFF), or 0. Never looks beyond the terminating zero. */
static size_t utf8_length(const uint8_t *p)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t length;
    if (*p < 0x80) {
        return 1;
    } else if (*p >= 0xc2 && *p <= 0xdf) {
        length = 2;
    } else if (*p >= 0xe0 && *p <= 0xef) {
        length = 3;
        low = *p == 0xe0 ? 0xa0 : 0x80;
        high = *p == 0xed ? 0x9f : 0xbf;
    } else if (*p >= 0xf0 && *p <= 0xf4) {
        length = 4;
        low = *p == 0xf0 ? 0x90 : 0x80;
        high = *p == 0xf4 ? 0x8f : 0xbf;
    } else {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if (p[i] < low || p[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

bool rpc_utf8_valid(const char *text)
{
    for (const uint8_t *p = (const uint8_t *)text; *p;) {
        const size_t length = utf8_length(p);
        if (length == 0)
            return false;
        p += length;
    }
    return true;
}

void rpc_utf8_repair(char *text)
{
    for (uint8_t *p = (uint8_t *)text; *p;) {
        const size_t length = utf8_length(p);
        if (length == 0)
            *p = '?';
        p += length ? length : 1;
    }
}

static int check(const ProtobufCMessage *message, struct ps_error *err);

static int check_value(const ProtobufCFieldDescriptor *field, const void *value, struct ps_error *err)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(const char *const *)value;
        return !text || rpc_utf8_valid(text)
                   ? PS_OK
                   : ps_error_set(err, PS_EINVAL, "%s is not valid UTF-8", field->name);
    }
    case PROTOBUF_C_TYPE_ENUM: {
        const int number = *(const int *)value;
        return protobuf_c_enum_descriptor_get_value(field->descriptor, number)
                   ? PS_OK
                   : ps_error_set(err, PS_EINVAL, "%s has the unknown value %d", field->name, number);
    }
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *inner = *(ProtobufCMessage *const *)value;
        return inner ? check(inner, err) : PS_OK;
    }
    default:
        return PS_OK;
    }
}

/* Recursion is bounded by the depth of our own types: none contains itself. */
static int check(const ProtobufCMessage *message, struct ps_error *err)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const uint8_t *member = (const uint8_t *)message + field->offset;
        size_t count = 1, stride = 0;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            count = *(const size_t *)((const uint8_t *)message + field->quantifier_offset);
            member = *(const uint8_t *const *)member;
            stride = field->type == PROTOBUF_C_TYPE_ENUM ? sizeof(int) : sizeof(void *);
        }
        if (field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_ENUM &&
            field->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
            *(const uint32_t *)((const uint8_t *)message + field->quantifier_offset) != field->id)
            continue; /* the union holds another member */
        for (size_t n = 0; n < count; n++) {
            const int status = check_value(field, member + n * stride, err);
            if (status)
                return status;
        }
    }
    return PS_OK;
}

const ProtobufCMessage *rpc_message_unpack(struct rpc_arena *arena, const ProtobufCMessageDescriptor *type,
                                           const uint8_t *body, size_t length, struct ps_error *err)
{
    assert(length <= RPC_BODY_MAX);
    const ProtobufCMessage *message = protobuf_c_message_unpack(type, &arena->allocator, length, body);
    if (!message) {
        (void)ps_error_set(err, PS_EINVAL, "not a valid %s", type->name);
        return NULL;
    }
    return check(message, err) == PS_OK ? message : NULL;
}

uint64_t rpc_method_id(const ProtobufCServiceDescriptor *service, const char *method)
{
    char name[256];
    const size_t service_length = strlen(service->name), method_length = strlen(method);
    assert(service_length + 1 + method_length <= sizeof name);
    memcpy(name, service->name, service_length);
    name[service_length] = '/';
    memcpy(name + service_length + 1, method, method_length);
    const uint64_t id = XXH3_64bits(name, service_length + 1 + method_length);
    assert(id != 0);
    return id;
}
