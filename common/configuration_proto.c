#include "common/configuration_proto.h"

#include <string.h>

_Static_assert((int)MEMBER_SYNC == (int)PSTORAGE__V1__MEMBER_MODE__MEMBER_MODE_SYNC &&
                   (int)MEMBER_ASYNC == (int)PSTORAGE__V1__MEMBER_MODE__MEMBER_MODE_ASYNC,
               "modes have the same numbers in memory and in messages");

ProtobufCBinaryData uuid_to_message(const struct uuid *id)
{
    return uuid_is_none(id) ? (ProtobufCBinaryData){0}
                            : (ProtobufCBinaryData){.len = sizeof id->bytes, .data = (uint8_t *)id->bytes};
}

int uuid_from_message(ProtobufCBinaryData data, enum uuid_wanted wanted, const char *what, struct uuid *out,
                      struct ps_error *err)
{
    struct uuid id = {0};
    if (data.len != 0 && data.len != sizeof id.bytes)
        return ps_error_set(err, PS_EINVAL, "%s has %zu bytes; an id has %zu", what, data.len,
                            sizeof id.bytes);
    if (data.len)
        memcpy(id.bytes, data.data, sizeof id.bytes);
    if (wanted == UUID_REQUIRED && uuid_is_none(&id))
        return ps_error_set(err, PS_EINVAL, "%s is missing", what);
    *out = id;
    return 0;
}

void configuration_to_message(const struct configuration *c, struct configuration_message *out)
{
    pstorage__v1__configuration__init(&out->message);
    out->message.pod = uuid_to_message(&c->pod);
    out->message.pod_name = (char *)c->pod_name;
    out->message.epoch = c->epoch;
    out->message.primary = uuid_to_message(&c->primary);
    out->message.preferred = uuid_to_message(&c->preferred);
    out->message.n_members = c->count;
    out->message.members = out->pointers;
    for (uint32_t i = 0; i < c->count; i++) {
        Pstorage__V1__Member *m = &out->members[i];
        pstorage__v1__member__init(m);
        m->store = uuid_to_message(&c->members[i].store);
        m->node = (char *)c->members[i].node;
        m->mode = (Pstorage__V1__MemberMode)c->members[i].mode;
        m->in_sync = c->members[i].in_sync;
        out->pointers[i] = m;
    }
}

static int copy_name(const char *text, const char *what, char out[CONFIGURATION_NAME_MAX + 1],
                     struct ps_error *err)
{
    const size_t length = text ? strlen(text) : 0;
    if (length > CONFIGURATION_NAME_MAX)
        return ps_error_set(err, PS_EINVAL, "%s is longer than %d characters", what, CONFIGURATION_NAME_MAX);
    memcpy(out, text ? text : "", length + 1);
    return 0;
}

static int from_member(const Pstorage__V1__Member *m, struct member *out, struct ps_error *err)
{
    int rc = uuid_from_message(m->store, UUID_REQUIRED, "a member's store", &out->store, err);
    if (rc == 0)
        rc = copy_name(m->node, "a node's name", out->node, err);
    out->mode = (enum member_mode)m->mode; /* configuration_check knows which there are */
    out->in_sync = m->in_sync != 0;
    return rc;
}

int configuration_from_message(const Pstorage__V1__Configuration *message, struct configuration *out,
                               struct ps_error *err)
{
    if (!message)
        return ps_error_set(err, PS_EINVAL, "a configuration is missing");
    if (message->n_members > CONFIGURATION_MEMBERS_MAX)
        return ps_error_set(err, PS_EINVAL, "a configuration has %zu members; 1 to %d are possible",
                            message->n_members, CONFIGURATION_MEMBERS_MAX);
    struct configuration c = {.epoch = message->epoch, .count = (uint32_t)message->n_members};
    int rc = uuid_from_message(message->pod, UUID_REQUIRED, "the pod", &c.pod, err);
    if (rc == 0)
        rc = uuid_from_message(message->primary, UUID_REQUIRED, "the primary", &c.primary, err);
    if (rc == 0)
        rc = uuid_from_message(message->preferred, UUID_OR_NONE, "the preferred store", &c.preferred, err);
    if (rc == 0)
        rc = copy_name(message->pod_name, "a pod's name", c.pod_name, err);
    for (uint32_t i = 0; rc == 0 && i < c.count; i++)
        rc = from_member(message->members[i], &c.members[i], err);
    if (rc == 0)
        rc = configuration_check(&c, err);
    if (rc == 0)
        *out = c;
    return rc;
}
