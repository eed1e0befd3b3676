/* Configurations as messages, and back, checked. Pure; for whoever speaks of them in RPC. */
#ifndef PS_COMMON_CONFIGURATION_PROTO_H
#define PS_COMMON_CONFIGURATION_PROTO_H

#include "common/configuration.h"
#include "pstorage/v1/configuration.pb-c.h"

/* A message with all it points to. It points into itself, and its texts and ids into the configuration that
 * it was made from: don't copy it, and keep that one. */
struct configuration_message {
    Pstorage__V1__Configuration message;
    Pstorage__V1__Member members[CONFIGURATION_MEMBERS_MAX];
    Pstorage__V1__Member *pointers[CONFIGURATION_MEMBERS_MAX];
};
void configuration_to_message(const struct configuration *c, struct configuration_message *out);

/* Everything is checked, configuration_check included; `message` may be NULL (a missing one). PS_EINVAL. */
int configuration_from_message(const Pstorage__V1__Configuration *message, struct configuration *out,
                               struct ps_error *err);

/* An id in a message; borrowed. None is empty. */
ProtobufCBinaryData uuid_to_message(const struct uuid *id);
/* PS_EINVAL unless it has 16 bytes or, if that is allowed, none; `what` names it in the detail. */
enum uuid_wanted {
    UUID_REQUIRED,
    UUID_OR_NONE
};
int uuid_from_message(ProtobufCBinaryData data, enum uuid_wanted wanted, const char *what, struct uuid *out,
                      struct ps_error *err);

#endif
