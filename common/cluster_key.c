#include "common/cluster_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_SETTING "PSTORAGE_CLUSTER_KEY_FILE=%.100s: "

static int file_error(struct ps_error *err, const char *path, int error)
{
    const int status = error == ENOENT || error == ENOTDIR       ? PS_ENOTFOUND
                       : error == EACCES || error == EPERM       ? PS_EPERM
                       : error == ENAMETOOLONG || error == ELOOP ? PS_EINVAL
                                                                 : PS_EIO;
    return ps_error_set(err, status, FILE_SETTING "%s", path, strerror(error));
}

/* Asked of the open file, so that it is the one that is read. */
static int check_file(int fd, const char *path, struct ps_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return file_error(err, path, errno);
    if (!S_ISREG(st.st_mode))
        return ps_error_set(err, PS_EINVAL, FILE_SETTING "not a file", path);
    if (st.st_mode & (S_IRWXO | S_IWGRP))
        return ps_error_set(err, PS_EPERM,
                            FILE_SETTING
                            "others than its owner and group may read it, or others than its owner "
                            "write it (mode %04o): chmod 600, or 640",
                            path, (unsigned)(st.st_mode & 07777));
    return PS_OK;
}

static int parse_file(int fd, const char *path, char *text, struct rpc_keys *out, struct ps_error *err)
{
    size_t length = 0;
    for (ssize_t n = 1; n != 0 && length <= CLUSTER_KEY_FILE_BYTES;) {
        n = read(fd, text + length, CLUSTER_KEY_FILE_BYTES + 1 - length);
        if (n < 0 && errno != EINTR)
            return file_error(err, path, errno);
        length += n > 0 ? (size_t)n : 0;
    }
    struct ps_error why = {0};
    int rc = length > CLUSTER_KEY_FILE_BYTES
                 ? ps_error_set(&why, PS_EINVAL, "longer than %d bytes", CLUSTER_KEY_FILE_BYTES)
                 : rpc_keys_parse(out, text, length, &why);
    if (rc == PS_OK && out->count == 0)
        rc = ps_error_set(&why, PS_EINVAL, "holds no key; `pstorage key create` prints one");
    return rc ? ps_error_set(err, rc, FILE_SETTING "%s", path, why.detail) : PS_OK;
}

static int read_file(const char *path, struct rpc_keys *out, struct ps_error *err)
{
    /* Without O_NONBLOCK a pipe would hold up the start. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return file_error(err, path, errno);
    int rc = check_file(fd, path, err);
    char *text = rc ? NULL : malloc(CLUSTER_KEY_FILE_BYTES + 1);
    if (rc == PS_OK)
        rc = text ? parse_file(fd, path, text, out, err) : ps_error_set(err, PS_ENOMEM, "out of memory");
    if (text)
        explicit_bzero(text, CLUSTER_KEY_FILE_BYTES + 1);
    free(text);
    (void)close(fd);
    return rc;
}

int cluster_key_load(const char *key, const char *key_file, const char *cluster, struct rpc_keys *out,
                     struct ps_error *err)
{
    const bool direct = key && *key, file = key_file && *key_file;
    *out = (struct rpc_keys){0};
    if (direct && file)
        return ps_error_set(err, PS_EINVAL,
                            "PSTORAGE_CLUSTER_KEY and PSTORAGE_CLUSTER_KEY_FILE are both given: give one");
    if (!direct && !file)
        return PS_OK;
    struct ps_error why = {0};
    int rc = direct ? rpc_keys_add(out, "", key, strlen(key), &why) : read_file(key_file, out, err);
    if (rc && direct)
        (void)ps_error_set(err, rc, "PSTORAGE_CLUSTER_KEY: %s", why.detail);
    if (rc == PS_OK && cluster && !rpc_keys_find(out, cluster))
        rc = cluster[0]
                 ? ps_error_set(err, PS_EINVAL, FILE_SETTING "no line there is KEY or %s:KEY, for cluster %s",
                                key_file, cluster, cluster)
                 : ps_error_set(err, PS_EINVAL,
                                FILE_SETTING "keys of several clusters: name one by PSTORAGE_CLUSTER_NAME",
                                key_file);
    if (rc)
        rpc_keys_clear(out);
    return rc;
}
