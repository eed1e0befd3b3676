/* What the files share that turn requests into messages and answers into results. Nothing that a node sends
 * is believed before it fits. */
#ifndef PS_CLIENT_ANSWERS_H
#define PS_CLIENT_ANSWERS_H

#include <string.h>

#include "client/lib/client.h"

static inline struct ps_error *error_of(struct call *call)
{
    return (struct ps_error *)(void *)&call->request->error;
}

static inline int nonsense(struct call *call, const char *what)
{
    return ps_error_set(error_of(call), PS_EPROTOCOL, "the node's answer makes no sense: %s", what);
}

static inline int no_memory(struct call *call)
{
    return ps_error_set(error_of(call), PS_ENOMEM, "out of memory");
}

/* Copies text that must fit whole. */
static inline bool copy(char *to, size_t size, const char *from)
{
    const size_t length = strlen(from);
    if (length >= size)
        return false;
    memcpy(to, from, length + 1);
    return true;
}
#define COPY(to, from) copy(to, sizeof(to), from)

/* For a message, which does not change it. */
static inline char *text(const char *s)
{
    return (char *)(uintptr_t)(s ? s : "");
}

#endif
