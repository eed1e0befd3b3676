/* Keeps 32 reads of 4 KiB in flight for a second: the asynchronous functions.
 *
 *   cc example_async.c $(pkg-config --cflags --libs pstorage) && ./a.out ENDPOINT VOLUME */
#include <pstorage.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <threads.h>
#include <time.h>

enum {
    DEPTH = 32,
    BLOCK = 4096
};

static struct pstorage_image *image;
static uint64_t blocks;
static atomic_uint in_flight;
static atomic_bool stop;
static atomic_ulong done;

/* On the client's thread: count, and send the same request to another place. */
static void on_read(struct pstorage_request *request, int status)
{
    struct pstorage_io *io = (struct pstorage_io *)request;
    if (status)
        fprintf(stderr, "read: %s\n", request->error.detail);
    else
        done++;
    io->offset = (io->offset / BLOCK * 2862933555777941757u + 3037000493u) % blocks * BLOCK;
    if (status || stop || pstorage_io_submit(image, io, on_read))
        in_flight--;
}

int main(int argc, char **argv)
{
    static struct pstorage_io ios[DEPTH];
    struct pstorage_client *client;
    struct pstorage_error err;
    struct pstorage_info info;
    if (argc != 3) {
        fprintf(stderr, "usage: %s ENDPOINT VOLUME\n", argv[0]);
        return 2;
    }
    const struct pstorage_options options = {.endpoints = argv[1]};
    if (pstorage_client_create(&options, &client, &err) ||
        pstorage_image_open(client, argv[2], true, &image, &err)) {
        fprintf(stderr, "%s\n", err.detail);
        return 1;
    }
    pstorage_image_describe(image, &info, NULL);
    blocks = info.size_bytes / BLOCK;
    in_flight = DEPTH;
    for (unsigned i = 0; i < DEPTH; i++) {
        ios[i] = (struct pstorage_io){.op = PSTORAGE_READ, .length = BLOCK, .buffer = malloc(BLOCK)};
        ios[i].offset = i * (blocks / DEPTH) * BLOCK;
        if (pstorage_io_submit(image, &ios[i], on_read))
            in_flight--;
    }
    thrd_sleep(&(struct timespec){.tv_sec = 1}, NULL);
    stop = true;
    while (in_flight)
        thrd_sleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    printf("%lu reads a second\n", done);
    pstorage_image_close(image);
    pstorage_client_destroy(client);
    for (unsigned i = 0; i < DEPTH; i++)
        free(ios[i].buffer);
    return 0;
}
