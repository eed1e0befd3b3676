#include "node/host/nbd_handshake.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/host/nbd_wire.h"

/* Largest answer to one option but LIST; LIST goes on as long as this much is free. */
enum {
    ANSWER_ROOM = 2048
};

struct option {
    uint32_t code, length;
    const uint8_t *data;
};

/* What an export offers. */
static uint16_t transmission_flags(const struct pod_image_info *info, bool structured)
{
    unsigned flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_CAN_MULTI_CONN |
                     NBD_FLAG_SEND_CACHE;
    if (structured)
        flags |= NBD_FLAG_SEND_DF;
    if (info->kind == POD_SNAPSHOT)
        flags |= NBD_FLAG_READ_ONLY;
    else
        flags |= NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
    return (uint16_t)flags;
}

void nbd_handshake_init(struct nbd_handshake *hs, struct pod *pod, struct nbd_output *out)
{
    *hs = (struct nbd_handshake){.pod = pod, .state = NBD_HS_CLIENT_FLAGS};
    uint8_t greeting[NBD_GREETING_BYTES];
    put_be64(greeting, NBD_MAGIC);
    put_be64(greeting + 8, NBD_OPTION_MAGIC);
    put_be16(greeting + 16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    nbd_output_copy(out, greeting, sizeof greeting);
}

static void drop_image(struct nbd_handshake *hs)
{
    if (hs->image)
        host_image_close(hs->image);
    hs->image = NULL;
    hs->open_name[0] = 0;
}

void nbd_handshake_fini(struct nbd_handshake *hs)
{
    if (hs->state != NBD_HS_DONE)
        drop_image(hs);
}

static void fail(struct nbd_handshake *hs, int status, const char *detail)
{
    hs->state = NBD_HS_FAILED;
    (void)ps_error_set(&hs->error, status, "%s", detail);
}

/* ---- replies */

static void reply(struct nbd_output *out, const struct option *option, uint32_t type, const void *data,
                  uint32_t bytes)
{
    uint8_t header[NBD_OPTION_REPLY_BYTES];
    nbd_put_option_reply(header, option->code, type, bytes);
    nbd_output_copy(out, header, sizeof header);
    nbd_output_copy(out, data, bytes);
}

static void reply_ack(struct nbd_output *out, const struct option *option)
{
    reply(out, option, NBD_REP_ACK, "", 0);
}

static void reply_error(struct nbd_output *out, const struct option *option, uint32_t type,
                        const char *message)
{
    reply(out, option, type, message, (uint32_t)strlen(message));
}

/* Without a primary the export may well be there: whoever waits for it should go on waiting. */
static void reply_no_export(struct nbd_output *out, const struct option *option, const struct ps_error *err)
{
    reply_error(out, option, err->status == PS_ENOTPRIMARY ? NBD_REP_ERR_SHUTDOWN : NBD_REP_ERR_UNKNOWN,
                err->detail);
}

static void describe(const struct pod_image_info *info, char *text, size_t size)
{
    (void)snprintf(text, size, "%s, %" PRIu64 " bytes",
                   info->kind == POD_SNAPSHOT ? "snapshot, read-only" : "volume", info->size_bytes);
}

static void reply_server(struct nbd_output *out, const struct option *option,
                         const struct pod_image_info *info)
{
    char description[64];
    describe(info, description, sizeof description);
    uint8_t data[4 + POD_FULL_NAME_MAX + sizeof description];
    const uint32_t name = (uint32_t)strlen(info->name), text = (uint32_t)strlen(description);
    put_be32(data, name);
    memcpy(data + 4, info->name, name);
    memcpy(data + 4 + name, description, text);
    reply(out, option, NBD_REP_SERVER, data, 4 + name + text);
}

/* ---- names */

enum {
    LATER = 1 /* the primary is asked: nothing was answered, the option comes again */
};

static int take_name(const uint8_t *name, uint32_t length, char text[POD_FULL_NAME_MAX + 1],
                     struct ps_error *err)
{
    if (length == 0)
        return ps_error_set(
            err, PS_ENOTFOUND,
            "there is no default export: add the name of a volume or volume@snapshot to the URI "
            "(`nbdinfo --list` shows them)");
    if (length > POD_FULL_NAME_MAX || memchr(name, 0, length))
        return ps_error_set(err, PS_ENOTFOUND, "no volume or snapshot can have a name like that (%u bytes)",
                            length);
    memcpy(text, name, length);
    text[length] = 0;
    return 0;
}

static void on_opened(void *user, int status, const char *detail)
{
    struct nbd_handshake *hs = user;
    hs->open_ended = true;
    hs->open_error = (struct ps_error){0};
    if (status) {
        host_image_close(hs->image);
        hs->image = NULL;
        (void)ps_error_set(&hs->open_error, status, "%s", detail);
    }
    hs->opened(hs->user);
}

/* The image that was opened, or could not be, is the one of this name: what came of it. */
static int opened_before(struct nbd_handshake *hs, struct pod_image_info *info, struct ps_error *err)
{
    if (hs->image)
        return host_image_info(hs->image, info);
    *err = hs->open_error;
    hs->open_name[0] = 0; /* the next option may have more luck */
    return err->status;
}

/* Opens the export, for options that only ask, too: what another node leads is known there. */
static int open_named(struct nbd_handshake *hs, const char *name, struct pod_image_info *info,
                      struct ps_error *err)
{
    if (hs->open_name[0] && strcmp(hs->open_name, name) == 0)
        return opened_before(hs, info, err);
    drop_image(hs);
    hs->open_ended = false;
    const int status = host_image_open(hs->images, hs->pod, name, false, &hs->image, on_opened, hs, err);
    if (status < 0)
        return status;
    memcpy(hs->open_name, name, strlen(name) + 1);
    if (status == 0)
        return host_image_info(hs->image, info);
    hs->state = NBD_HS_OPENING;
    return LATER;
}

/* Finds the export: 0; LATER; or a status with a message for the client. */
static int find_export(struct nbd_handshake *hs, const uint8_t *name, uint32_t length, bool open,
                       struct pod_image_info *info, struct ps_error *err)
{
    char text[POD_FULL_NAME_MAX + 1];
    *err = (struct ps_error){0};
    int status = take_name(name, length, text, err);
    if (status)
        return status;
    if (open || hs->images)
        status = open_named(hs, text, info, err);
    else
        status = pod_image_by_name(hs->pod, text, info);
    if (status == PS_ENOTFOUND)
        return ps_error_set(err, PS_ENOTFOUND, "no volume or snapshot is named '%s'", text);
    if (status < 0 && !err->detail[0])
        (void)ps_error_set(err, status, "%s", ps_status_text(status));
    return status;
}

/* The image is open: ends the handshake. */
static void finish(struct nbd_handshake *hs, const struct pod_image_info *info)
{
    hs->info = *info;
    /* A context selected for another export doesn't count. */
    hs->allocation = hs->allocation && strcmp(hs->allocation_name, info->name) == 0;
    hs->state = NBD_HS_DONE;
}

/* ---- options, one function each; `out` has ANSWER_ROOM */

static void on_export_name(struct nbd_handshake *hs, struct nbd_output *out, const struct option *option)
{
    struct pod_image_info info;
    struct ps_error err;
    const int status = find_export(hs, option->data, option->length, true, &info, &err);
    if (status == LATER)
        return;
    if (status) { /* this option has no error reply */
        fail(hs, status, err.detail);
        return;
    }
    finish(hs, &info);
    uint8_t data[NBD_EXPORT_NAME_REPLY_BYTES + NBD_EXPORT_NAME_PADDING] = {0};
    put_be64(data, info.size_bytes);
    put_be16(data + 8, transmission_flags(&info, hs->structured));
    nbd_output_copy(out, data, hs->no_zeroes ? NBD_EXPORT_NAME_REPLY_BYTES : sizeof data);
}

static void go_on_listing(struct nbd_handshake *hs, struct nbd_output *out)
{
    const struct option option = {.code = NBD_OPT_LIST};
    struct pod_image_info info;
    while (nbd_output_room(out) >= ANSWER_ROOM) {
        if (pod_image_after(hs->pod, hs->list_after, &info) != 0) {
            reply_ack(out, &option);
            hs->state = NBD_HS_OPTIONS;
            return;
        }
        reply_server(out, &option, &info);
        memcpy(hs->list_after, info.name, sizeof hs->list_after);
    }
}

static void reply_info(struct nbd_output *out, const struct option *option, uint16_t type, const void *data,
                       size_t bytes)
{
    uint8_t buf[2 + POD_FULL_NAME_MAX];
    assert(bytes <= sizeof buf - 2);
    put_be16(buf, type);
    memcpy(buf + 2, data, bytes);
    reply(out, option, NBD_REP_INFO, buf, (uint32_t)(2 + bytes));
}

/* INFO and GO: name length 4, name, number of requests 2, requests 2 each. */
static void on_info_or_go(struct nbd_handshake *hs, struct nbd_output *out, const struct option *option)
{
    const uint8_t *data = option->data;
    const uint32_t name = option->length >= 6 ? get_be32(data) : 0;
    if (option->length < 6 || name > option->length - 6 ||
        option->length != 6 + name + 2u * get_be16(data + 4 + name)) {
        reply_error(out, option, NBD_REP_ERR_INVALID, "the lengths inside this option don't add up");
        return;
    }
    struct pod_image_info info;
    struct ps_error err;
    const int status = find_export(hs, data + 4, name, option->code == NBD_OPT_GO, &info, &err);
    if (status == LATER)
        return;
    if (status) {
        reply_no_export(out, option, &err);
        return;
    }
    if (option->code == NBD_OPT_GO)
        finish(hs, &info);
    uint8_t export[10];
    put_be64(export, info.size_bytes);
    put_be16(export + 8, transmission_flags(&info, hs->structured));
    reply_info(out, option, NBD_INFO_EXPORT, export, sizeof export);

    bool want_name = false, want_description = false;
    for (uint32_t i = 0; i < get_be16(data + 4 + name); i++) {
        const uint16_t want = get_be16(data + 6 + name + 2u * i);
        want_name = want_name || want == NBD_INFO_NAME;
        want_description = want_description || want == NBD_INFO_DESCRIPTION;
    }
    if (want_name)
        reply_info(out, option, NBD_INFO_NAME, info.name, strlen(info.name));
    if (want_description) {
        char description[64];
        describe(&info, description, sizeof description);
        reply_info(out, option, NBD_INFO_DESCRIPTION, description, strlen(description));
    }
    /* Asked for or not: whoever ignores it learns from EINVAL. */
    uint8_t sizes[12];
    put_be32(sizes, POD_SECTOR_BYTES);
    put_be32(sizes + 4, POD_BLOCK_BYTES);
    put_be32(sizes + 8, POD_MAX_IO_BYTES);
    reply_info(out, option, NBD_INFO_BLOCK_SIZE, sizes, sizeof sizes);
    reply_ack(out, option);
}

/* Whether a query selects base:allocation. In LIST the namespace alone lists all of it. */
static bool selects_allocation(const struct option *option, const uint8_t *query, uint32_t length)
{
    const size_t full = strlen(NBD_CONTEXT_ALLOCATION), space = strlen("base:");
    if (length == full && memcmp(query, NBD_CONTEXT_ALLOCATION, full) == 0)
        return true;
    return option->code == NBD_OPT_LIST_META_CONTEXT && length == space && memcmp(query, "base:", space) == 0;
}

/* LIST and SET_META_CONTEXT: name length 4, name, number of queries 4, then each: length 4, query. */
static void on_meta_context(struct nbd_handshake *hs, struct nbd_output *out, const struct option *option)
{
    const bool set = option->code == NBD_OPT_SET_META_CONTEXT;
    if (set)
        hs->allocation = false; /* whatever comes of it, the old selection is gone */
    if (!hs->structured) {
        reply_error(out, option, NBD_REP_ERR_INVALID, "structured replies must be negotiated first");
        return;
    }
    const uint8_t *data = option->data;
    uint32_t left = option->length;
    const uint32_t name = left >= 8 ? get_be32(data) : 0;
    bool good = left >= 8 && name <= left - 8, selected = false;
    if (good) {
        const uint32_t queries = get_be32(data + 4 + name);
        const uint8_t *at = data + 8 + name;
        left -= 8 + name;
        selected = !set && queries == 0;
        for (uint32_t i = 0; i < queries && good; i++) {
            const uint32_t length = left >= 4 ? get_be32(at) : 0;
            good = left >= 4 && length <= left - 4;
            if (good) {
                selected = selects_allocation(option, at + 4, length) || selected;
                at += 4 + length;
                left -= 4 + length;
            }
        }
        good = good && left == 0;
    }
    if (!good) {
        reply_error(out, option, NBD_REP_ERR_INVALID, "the lengths inside this option don't add up");
        return;
    }
    struct pod_image_info info;
    struct ps_error err;
    const int status = find_export(hs, data + 4, name, false, &info, &err);
    if (status == LATER)
        return;
    if (status) {
        reply_no_export(out, option, &err);
        return;
    }
    if (selected) {
        uint8_t context[4 + sizeof NBD_CONTEXT_ALLOCATION - 1];
        put_be32(context, set ? NBD_CONTEXT_ALLOCATION_ID : 0);
        memcpy(context + 4, NBD_CONTEXT_ALLOCATION, sizeof context - 4);
        reply(out, option, NBD_REP_META_CONTEXT, context, sizeof context);
    }
    if (set && selected) {
        hs->allocation = true;
        memcpy(hs->allocation_name, info.name, sizeof hs->allocation_name);
    }
    reply_ack(out, option);
}

static void on_option(struct nbd_handshake *hs, struct nbd_output *out, const struct option *option)
{
    const bool empty_only = option->code == NBD_OPT_LIST || option->code == NBD_OPT_STARTTLS ||
                            option->code == NBD_OPT_STRUCTURED_REPLY;
    if (empty_only && option->length > 0) {
        reply_error(out, option, NBD_REP_ERR_INVALID, "this option has no data");
        return;
    }
    switch (option->code) {
    case NBD_OPT_EXPORT_NAME:
        on_export_name(hs, out, option);
        break;
    case NBD_OPT_ABORT:
        reply_ack(out, option);
        hs->state = NBD_HS_ABORTED;
        break;
    case NBD_OPT_LIST:
        hs->state = NBD_HS_LISTING;
        hs->list_after[0] = 0;
        break;
    case NBD_OPT_STARTTLS:
        reply_error(out, option, NBD_REP_ERR_UNSUP, "this server does not offer TLS");
        break;
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
        on_info_or_go(hs, out, option);
        break;
    case NBD_OPT_STRUCTURED_REPLY:
        hs->structured = true;
        reply_ack(out, option);
        break;
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT:
        on_meta_context(hs, out, option);
        break;
    default:
        reply_error(out, option, NBD_REP_ERR_UNSUP, "option not known to this server");
    }
}

/* ---- the stream */

static size_t feed_flags(struct nbd_handshake *hs, const uint8_t *in, size_t bytes)
{
    if (bytes < NBD_CLIENT_FLAGS_BYTES)
        return 0;
    const uint32_t flags = get_be32(in);
    if (flags & ~(uint32_t)(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) {
        fail(hs, PS_EPROTOCOL, "the client's handshake flags are not known");
        return 0;
    }
    hs->fixed_newstyle = (flags & NBD_FLAG_FIXED_NEWSTYLE) != 0;
    hs->no_zeroes = (flags & NBD_FLAG_NO_ZEROES) != 0;
    hs->state = NBD_HS_OPTIONS;
    return NBD_CLIENT_FLAGS_BYTES;
}

static size_t feed_option(struct nbd_handshake *hs, struct nbd_output *out, const uint8_t *in, size_t bytes)
{
    if (bytes < NBD_OPTION_BYTES)
        return 0;
    const struct option option = {
        .code = get_be32(in + 8), .length = get_be32(in + 12), .data = in + NBD_OPTION_BYTES};
    if (get_be64(in) != NBD_OPTION_MAGIC)
        fail(hs, PS_EPROTOCOL, "an option begins with a wrong magic number");
    else if (option.length > NBD_OPTION_MAX)
        fail(hs, PS_EPROTOCOL, "an option is longer than 32 KiB");
    else if (!hs->fixed_newstyle && option.code != NBD_OPT_EXPORT_NAME)
        fail(hs, PS_EPROTOCOL, "an option other than EXPORT_NAME from a client without fixed newstyle");
    else if (hs->options == NBD_OPTIONS_MAX)
        fail(hs, PS_ELIMIT, "more than 1024 options");
    if (hs->state == NBD_HS_FAILED || bytes - NBD_OPTION_BYTES < option.length)
        return 0;
    on_option(hs, out, &option);
    if (hs->state == NBD_HS_OPENING)
        return 0;
    hs->options++;
    return NBD_OPTION_BYTES + option.length;
}

size_t nbd_handshake_feed(struct nbd_handshake *hs, struct nbd_output *out, const uint8_t *in, size_t bytes)
{
    size_t taken = 0;
    for (;;) {
        if (nbd_output_room(out) < ANSWER_ROOM)
            return taken;
        if (hs->state == NBD_HS_LISTING) {
            go_on_listing(hs, out);
            if (hs->state == NBD_HS_LISTING)
                return taken;
        }
        if (hs->state == NBD_HS_OPENING) {
            if (!hs->open_ended)
                return taken;
            hs->state = NBD_HS_OPTIONS;
        }
        size_t step = 0;
        if (hs->state == NBD_HS_CLIENT_FLAGS)
            step = feed_flags(hs, in + taken, bytes - taken);
        else if (hs->state == NBD_HS_OPTIONS)
            step = feed_option(hs, out, in + taken, bytes - taken);
        taken += step;
        if (step == 0)
            return taken;
    }
}
