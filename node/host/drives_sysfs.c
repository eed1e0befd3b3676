#include "node/host/drives_sysfs.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum {
    PATH_ROOM = 384,
    LINE_ROOM = 2048,
};

bool drives_sysfs_is_namespace(const char *name)
{
    if (strncmp(name, "nvme", 4) != 0)
        return false;
    const size_t controller = strspn(name + 4, "0123456789");
    const char *n = name + 4 + controller;
    const size_t digits = *n == 'n' ? strspn(n + 1, "0123456789") : 0;
    return controller && digits && n[1 + digits] == '\0' && strlen(name) < 32;
}

/* The attribute's first line without its end and trailing blanks; "" if there is none. */
static void read_text(const char *name, const char *attribute, char *out, size_t size)
{
    char path[PATH_ROOM];
    (void)snprintf(path, sizeof path, "/sys/block/%s/%s", name, attribute);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, size - 1);
    if (fd >= 0)
        (void)close(fd);
    n = n < 0 ? 0 : n;
    out[n] = '\0';
    size_t length = strcspn(out, "\n");
    while (length && out[length - 1] == ' ')
        length--;
    out[length] = '\0';
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || (unsigned char)*p > 0x7e)
            *p = '?';
}

static uint64_t read_number(const char *name, const char *attribute)
{
    char text[32];
    read_text(name, attribute, text, sizeof text);
    return strtoull(text, NULL, 10);
}

/* The first entry of a directory of links; "" if there is none. */
static void first_entry(const char *path, char *out, size_t size)
{
    DIR *dir = opendir(path);
    out[0] = '\0';
    for (const struct dirent *e; dir && !out[0] && (e = readdir(dir));)
        if (e->d_name[0] != '.')
            (void)snprintf(out, size, "%.60s", e->d_name);
    if (dir)
        (void)closedir(dir);
}

static bool has_number(const char *path, const char *numbers)
{
    char text[32];
    struct stat st;
    if (stat(path, &st) || !S_ISBLK(st.st_mode))
        return false;
    (void)snprintf(text, sizeof text, "%u:%u", major(st.st_rdev), minor(st.st_rdev));
    return strcmp(text, numbers) == 0;
}

/* Whether a device, by "major:minor", is swapped to. */
static bool is_swap(const char *numbers)
{
    char line[LINE_ROOM], path[LINE_ROOM];
    FILE *swaps = fopen("/proc/swaps", "re");
    bool found = false;
    while (swaps && !found && fgets(line, sizeof line, swaps))
        found = sscanf(line, "%2047s partition", path) == 1 && has_number(path, numbers);
    if (swaps)
        (void)fclose(swaps);
    return found;
}

/* Where a device is mounted; "" if it is not. */
static void find_mount(const char *numbers, char *out, size_t size)
{
    char line[LINE_ROOM], at[LINE_ROOM], dev[32];
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    out[0] = '\0';
    while (mounts && !out[0] && fgets(line, sizeof line, mounts))
        if (sscanf(line, "%*d %*d %31s %*s %2047s", dev, at) == 2 && strcmp(dev, numbers) == 0)
            (void)snprintf(out, size, "mounted at %.80s", at);
    if (mounts)
        (void)fclose(mounts);
}

/* `part` is "" for the whole device, or "/nvme0n1p1". */
static void look_for_use(const char *name, const char *part, char *out, size_t size)
{
    char path[PATH_ROOM], attribute[PATH_ROOM], held[64], numbers[32];
    (void)snprintf(path, sizeof path, "/sys/block/%s%s/holders", name, part);
    first_entry(path, held, sizeof held);
    (void)snprintf(attribute, sizeof attribute, "%s%sdev", part[0] ? part + 1 : "", part[0] ? "/" : "");
    read_text(name, attribute, numbers, sizeof numbers);
    if (held[0])
        (void)snprintf(out, size, "held by %s", held);
    else if (numbers[0] && is_swap(numbers))
        (void)snprintf(out, size, "swapped to");
    else if (numbers[0])
        find_mount(numbers, out, size);
}

/* By itself or a partition. */
static void find_use(const char *name, char *out, size_t size)
{
    char path[PATH_ROOM];
    out[0] = '\0';
    look_for_use(name, "", out, size);
    (void)snprintf(path, sizeof path, "/sys/block/%s", name);
    DIR *dir = opendir(path);
    for (const struct dirent *e; dir && !out[0] && (e = readdir(dir));) {
        char part[300];
        if (strncmp(e->d_name, name, strlen(name)) != 0)
            continue;
        (void)snprintf(part, sizeof part, "/%s", e->d_name);
        look_for_use(name, part, out, size);
    }
    if (dir)
        (void)closedir(dir);
}

static int by_number(const void *a, const void *b)
{
    return strverscmp(a, b);
}

size_t drives_sysfs_list(char names[][32], size_t max)
{
    size_t n = 0;
    DIR *dir = opendir("/sys/block");
    for (const struct dirent *e; dir && n < max && (e = readdir(dir));)
        if (drives_sysfs_is_namespace(e->d_name))
            (void)snprintf(names[n++], sizeof names[0], "%.31s", e->d_name);
    if (dir)
        (void)closedir(dir);
    qsort(names, n, sizeof names[0], by_number);
    return n;
}

bool drives_sysfs_has_partition(const char *name, dev_t number)
{
    char path[PATH_ROOM], real[PATH_MAX];
    (void)snprintf(path, sizeof path, "/sys/dev/block/%u:%u", major(number), minor(number));
    if (!realpath(path, real))
        return false;
    /* …/nvme0n1/nvme0n1p1 */
    *strrchr(real, '/') = '\0';
    const char *parent = strrchr(real, '/');
    return parent && strcmp(parent + 1, name) == 0;
}

bool drives_sysfs_look(const char *name, struct drive *out)
{
    char zoned[32];
    struct drive d = {.what = {.kind = BLKDEV_KIND_NVME}};
    (void)snprintf(d.what.name, sizeof d.what.name, "/dev/%.31s", name);
    d.what.size_bytes = read_number(name, "size") * 512;
    d.what.block_bytes = (uint32_t)read_number(name, "queue/logical_block_size");
    if (d.what.block_bytes == 0)
        return false;
    read_text(name, "queue/zoned", zoned, sizeof zoned);
    d.what.zoned = strncmp(zoned, "host-", 5) == 0;
    if (d.what.zoned) {
        d.zone_bytes = read_number(name, "queue/chunk_sectors") * 512;
        d.zones = read_number(name, "queue/nr_zones");
        d.max_open = (uint32_t)read_number(name, "queue/max_open_zones");
        d.max_active = (uint32_t)read_number(name, "queue/max_active_zones");
    }
    /* The controller, or with native multipathing its subsystem. */
    read_text(name, "device/model", d.model, sizeof d.model);
    read_text(name, "device/serial", d.serial, sizeof d.serial);
    read_text(name, "device/firmware_rev", d.firmware, sizeof d.firmware);
    find_use(name, d.used_by, sizeof d.used_by);
    *out = d;
    return true;
}
