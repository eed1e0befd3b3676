/* Takes snapshots of a volume, with a write before each so that every one differs.
 *
 *   snapshots ENDPOINT VOLUME COUNT
 *
 * Prints the mean time of a snapshot in ms, the writes not counted. */
#include <pstorage.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void check(int status, const struct pstorage_error *err)
{
    if (status == 0)
        return;
    (void)fprintf(stderr, "snapshots: %s: %s\n", pstorage_status_text(status), err->detail);
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        (void)fprintf(stderr, "usage: snapshots ENDPOINT VOLUME COUNT\n");
        return 2;
    }
    struct pstorage_error err = {0};
    struct pstorage_client *client;
    struct pstorage_image *image;
    const struct pstorage_options options = {.endpoints = argv[1], .patience_ms = 5000};
    check(pstorage_client_create(&options, &client, &err), &err);
    check(pstorage_image_open(client, argv[2], false, &image, &err), &err);
    struct pstorage_info info;
    pstorage_image_describe(image, &info, NULL);
    const unsigned count = (unsigned)strtoul(argv[3], NULL, 10);
    double total = 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t block[512];
        for (unsigned j = 0; j < 512; j++)
            block[j] = (uint64_t)i << 32 | j;
        check(pstorage_write(image, block, sizeof block, (uint64_t)i * 7919 % (info.size_bytes / 4096) * 4096,
                             &err),
              &err);
        char name[192];
        (void)snprintf(name, sizeof name, "%s@bench%u", argv[2], i);
        const double begin = now_ms();
        check(pstorage_snapshot_create(client, name, NULL, &err), &err);
        total += now_ms() - begin;
    }
    (void)printf("%.4f\n", total / count);
    pstorage_image_close(image);
    pstorage_client_destroy(client);
    return 0;
}
