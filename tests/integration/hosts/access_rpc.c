#include "tests/integration/hosts/access.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/lib/pstorage.h"
#include "common/container.h"
#include "tests/integration/hosts/content.h"

struct access_rpc {
    struct access access;
    struct pstorage_client *client;
    struct pstorage_image *image;
};

static void close_rpc(struct access *access)
{
    struct access_rpc *a = container_of(access, struct access_rpc, access);
    if (a->image)
        pstorage_image_close(a->image);
    pstorage_client_destroy(a->client);
    free(a);
}

static enum access_status meant(int status)
{
    switch (status) {
    case PSTORAGE_OK:
        return ACCESS_OK;
    case PSTORAGE_ENOTPRIMARY:
        return ACCESS_REFUSED;
    case PSTORAGE_EUNAVAILABLE:
    case PSTORAGE_EDEADLINE:
    case PSTORAGE_ECANCELLED:
        return ACCESS_LOST;
    default:
        return ACCESS_WRONG;
    }
}

static enum access_status transfer_rpc(struct access *access, bool write, void *bytes, uint64_t offset)
{
    struct access_rpc *a = container_of(access, struct access_rpc, access);
    struct pstorage_error err = {0};
    const int status = write ? pstorage_write(a->image, bytes, CONTENT_BYTES, offset, &err)
                             : pstorage_read(a->image, bytes, CONTENT_BYTES, offset, &err);
    (void)snprintf(access->why, sizeof access->why, "%s: %s", pstorage_status_name(status), err.detail);
    return meant(status);
}

struct access *access_open_rpc(const char *endpoints, const char *volume, unsigned limit_ms)
{
    static const struct access_kind kind = {close_rpc, transfer_rpc};
    const struct pstorage_options options = {
        .endpoints = endpoints, .name = "block_hosts", .timeout_ms = limit_ms};
    struct access_rpc *a = calloc(1, sizeof *a);
    struct pstorage_error err;
    assert(a);
    a->access.kind = &kind;
    if (pstorage_client_create(&options, &a->client, &err)) {
        (void)fprintf(stderr, "%s: %s\n", endpoints, err.detail);
        exit(2);
    }
    if (pstorage_image_open(a->client, volume, false, &a->image, &err)) {
        a->image = NULL;
        close_rpc(&a->access);
        return NULL;
    }
    return &a->access;
}
