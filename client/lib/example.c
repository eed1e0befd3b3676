/* Writes to a volume, takes a snapshot, reads it back through that:
 *
 *   cc example.c $(pkg-config --cflags --libs pstorage) && ./a.out tcp://127.0.0.1:9500 VOLUME */
#include <pstorage.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what, const struct pstorage_error *err)
{
    fprintf(stderr, "%s: %s: %s\n", what, pstorage_status_text(err->status), err->detail);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s ENDPOINT VOLUME\n", argv[0]);
        return 2;
    }
    const struct pstorage_options options = {.endpoints =
                                                 argv[1]}; /* NULL: $PSTORAGE_ENDPOINT or this machine */
    const char *name = argv[2];
    char snapshot[256];
    snprintf(snapshot, sizeof snapshot, "%s@example", name);

    struct pstorage_client *client;
    struct pstorage_image *volume, *image;
    struct pstorage_error err;
    static char data[4096] = "Hello, flash!", back[4096];

    if (pstorage_client_create(&options, &client, &err))
        return fail("client", &err);
    if (pstorage_image_open(client, name, false, &volume, &err))
        return fail("open", &err);
    if (pstorage_write(volume, data, sizeof data, 0, &err) || pstorage_flush(volume, &err))
        return fail("write", &err);
    if (pstorage_snapshot_create(client, snapshot, NULL, &err))
        return fail("snapshot", &err);
    if (pstorage_image_open(client, snapshot, true, &image, &err))
        return fail("open", &err);
    if (pstorage_read(image, back, sizeof back, 0, &err))
        return fail("read", &err);
    puts(back);
    pstorage_image_close(image);
    if (pstorage_snapshot_delete(client, snapshot, &err))
        return fail("delete", &err);
    pstorage_image_close(volume);
    pstorage_client_destroy(client);
    return strcmp(back, data) != 0;
}
