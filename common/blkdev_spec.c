#include "common/blkdev_spec.h"

#include <stdlib.h>
#include <string.h>

#include "common/sizes.h"

static int set_path(const char *whole, int whole_len, const char *path, size_t length,
                    struct blkdev_spec *out, struct ps_error *err)
{
    if (length == 0)
        return ps_error_set(err, PS_EINVAL, "\"%.*s\" names no path", whole_len, whole);
    if (length > BLKDEV_PATH_MAX)
        return ps_error_set(err, PS_EINVAL, "\"%.40s…\": the path is longer than %d bytes", whole,
                            BLKDEV_PATH_MAX);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)path[i] <= ' ' || path[i] == 0x7f)
            return ps_error_set(err, PS_EINVAL, "\"%.*s\": a space or control character in the path",
                                whole_len, whole);
    memcpy(out->path, path, length);
    out->path[length] = '\0';
    return 0;
}

static bool has_prefix(const char *text, size_t length, const char *prefix)
{
    const size_t n = strlen(prefix);
    return length >= n && memcmp(text, prefix, n) == 0;
}

static int set_size(const char *text, struct blkdev_spec *out, struct ps_error *err)
{
    const int rc = size_parse(text + 5, &out->size_bytes, err);
    if (rc)
        return rc;
    if (out->size_bytes < BLKDEV_FILE_MIN || out->size_bytes % 4096 != 0 || out->size_bytes > INT64_MAX)
        return ps_error_set(err, PS_EINVAL, "\"%s\": the size must be a multiple of 4K, and at least 64M",
                            text);
    return 0;
}

static int set_file_option(const char *text, struct blkdev_spec *out, struct ps_error *err)
{
    if (strcmp(text, "punch=on") == 0 || strcmp(text, "punch=off") == 0) {
        out->punch = text[7] == 'n';
        return 0;
    }
    return ps_error_set(err, PS_EINVAL, "\"%s\" is no option of a flash file: size=N and punch=on|off are",
                        text);
}

static int set_sim_option(const char *text, struct blkdev_spec *out, struct ps_error *err)
{
    struct blkdev_sim_spec *sim = &out->sim;
    const struct {
        const char *name;
        uint32_t *value, least, most;
    } numbers[] = {
        {"channels=", &sim->channels, 1, 32},   {"dies=", &sim->dies, 1, 64},
        {"planes=", &sim->planes, 1, 8},        {"endurance=", &sim->endurance, 1, 1000000},
        {"spare=", &sim->spare_percent, 0, 50}, {"bad=", &sim->bad_ppm, 0, 100000},
        {"seed=", &sim->seed, 0, 1000000000},
    };
    if (strcmp(text, "latency=on") == 0 || strcmp(text, "latency=off") == 0) {
        sim->instant = text[9] == 'f';
        return 0;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const char *name = numbers[i].name, *value = text + strlen(name);
        if (!has_prefix(text, strlen(text), name))
            continue;
        const size_t digits = strspn(value, "0123456789");
        const unsigned long long v =
            digits && digits < 11 && !value[digits] ? strtoull(value, NULL, 10) : ~0ull;
        if (v < numbers[i].least || v > numbers[i].most)
            return ps_error_set(err, PS_EINVAL, "\"%s\" needs a whole number from %u to %u", text,
                                numbers[i].least, numbers[i].most);
        *numbers[i].value = (uint32_t)v;
        return 0;
    }
    return ps_error_set(
        err, PS_EINVAL,
        "\"%s\" is no option of simulated flash: size=N, channels=, dies=, planes=, endurance=, "
        "spare=, bad=, seed= and latency=on|off are",
        text);
}

static int set_option(const char *option, size_t length, struct blkdev_spec *out, struct ps_error *err)
{
    char text[64];
    if (length >= sizeof text)
        return ps_error_set(err, PS_EINVAL, "option \"%.40s…\" is too long", option);
    memcpy(text, option, length);
    text[length] = '\0';
    if (strncmp(text, "size=", 5) == 0)
        return set_size(text, out, err);
    return out->kind == BLKDEV_KIND_SIM ? set_sim_option(text, out, err) : set_file_option(text, out, err);
}

static int check_sim(const struct blkdev_sim_spec *sim, const char *whole, int shown, struct ps_error *err)
{
    const uint32_t lanes = sim->channels * sim->dies * sim->planes;
    if (lanes > BLKDEV_SIM_LANES_MAX || (lanes & (lanes - 1)))
        return ps_error_set(
            err, PS_EINVAL,
            "\"%.*s\": channels x dies x planes is %u, and must be a power of two, at most %d", shown, whole,
            lanes, BLKDEV_SIM_LANES_MAX);
    return 0;
}

/* "file:" or "sim:", a path, options. */
static int parse_file(const char *text, size_t length, size_t skip, struct blkdev_spec *spec,
                      struct ps_error *err)
{
    const int shown = length > 80 ? 80 : (int)length;
    const char *comma = memchr(text, ',', length);
    const size_t head = comma ? (size_t)(comma - text) : length;
    int rc = set_path(text, shown, text + skip, head - skip, spec, err);
    for (const char *p = comma; rc == 0 && p;) {
        const char *start = p + 1, *end = text + length;
        p = memchr(start, ',', (size_t)(end - start));
        rc = set_option(start, (size_t)((p ? p : end) - start), spec, err);
    }
    if (rc == 0 && spec->size_bytes == 0)
        rc = ps_error_set(err, PS_EINVAL, "\"%.*s\" needs a size, as in %.*sPATH,size=16G", shown, text,
                          (int)skip, text);
    if (rc == 0 && spec->kind == BLKDEV_KIND_SIM)
        rc = check_sim(&spec->sim, text, shown, err);
    return rc;
}

int blkdev_spec_parse(const char *text, size_t length, struct blkdev_spec *out, struct ps_error *err)
{
    struct blkdev_spec spec = {0};
    const int shown = length > 80 ? 80 : (int)length;
    const char *comma = memchr(text, ',', length);
    int rc;
    if (has_prefix(text, length, "file:")) {
        spec.kind = BLKDEV_KIND_FILE;
        rc = parse_file(text, length, 5, &spec, err);
    } else if (has_prefix(text, length, "sim:")) {
        spec.kind = BLKDEV_KIND_SIM;
        spec.sim = (struct blkdev_sim_spec){.channels = 4,
                                            .dies = 2,
                                            .planes = 2,
                                            .endurance = 3000,
                                            .spare_percent = 7,
                                            .bad_ppm = 2000,
                                            .seed = 1};
        rc = parse_file(text, length, 4, &spec, err);
    } else if (has_prefix(text, length, "nvme:") || has_prefix(text, length, "/")) {
        const size_t skip = text[0] == '/' ? 0 : 5;
        spec.kind = skip ? BLKDEV_KIND_NVME : BLKDEV_KIND_BLOCK;
        if (comma)
            rc = ps_error_set(err, PS_EINVAL, "\"%.*s\": a block device takes no options", shown, text);
        else if (skip && !has_prefix(text + skip, length - skip, "/"))
            rc = ps_error_set(err, PS_EINVAL,
                              "\"%.*s\" must be a device's full path, as in nvme:/dev/nvme0n1", shown, text);
        else
            rc = set_path(text, shown, text + skip, length - skip, &spec, err);
    } else {
        rc = ps_error_set(err, PS_EINVAL,
                          "\"%.*s\" names no flash device: file:PATH,size=16G, nvme:/dev/nvme0n1, /dev/sdb "
                          "or sim:PATH,size=4G would",
                          shown, text);
    }
    if (rc == 0)
        *out = spec;
    return rc;
}

int blkdev_spec_list_parse(const char *text, struct blkdev_spec *out, size_t max, size_t *count,
                           struct ps_error *err)
{
    const char *starts[BLKDEV_SPECS_MAX];
    size_t path_lengths[BLKDEV_SPECS_MAX], n = 0;
    uint64_t size = 0;
    for (const char *p = text + strspn(text, " \t"); *p; p += strspn(p, " \t")) {
        const size_t length = strcspn(p, " \t");
        struct blkdev_spec spec;
        if (n == max || n == BLKDEV_SPECS_MAX)
            return ps_error_set(err, PS_EINVAL, "more than %zu flash devices", n);
        const int rc = blkdev_spec_parse(p, length, &spec, err);
        if (rc)
            return rc;
        starts[n] = p + (*p == '/' ? 0 : strcspn(p, ":") + 1);
        path_lengths[n] = strlen(spec.path);
        for (size_t i = 0; i < n; i++)
            if (path_lengths[i] == path_lengths[n] && memcmp(starts[i], starts[n], path_lengths[n]) == 0)
                return ps_error_set(err, PS_EINVAL, "\"%.80s\" is named twice", spec.path);
        if (out)
            out[n] = spec;
        size = spec.size_bytes;
        n++;
        p += length;
    }
    if (n == 0)
        return ps_error_set(err, PS_EINVAL, "no flash device is named; file:PATH,size=16G would be one");
    if (n == 1 && size && size < BLKDEV_ALONE_MIN)
        return ps_error_set(err, PS_EINVAL,
                            "\"%.80s\" is too small: a pool on one device takes at least 128M", starts[0]);
    *count = n;
    return 0;
}
