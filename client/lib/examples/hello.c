/* Creates a volume, writes to it, reads it back through a snapshot:
 *
 *   cc hello.c $(pkg-config --cflags --libs pstorage) && ./a.out hello */
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
    const char *name = argc > 1 ? argv[1] : "hello";
    char snapshot[256];
    snprintf(snapshot, sizeof snapshot, "%s@first", name);

    struct pstorage_client *client;
    struct pstorage_image *volume, *image;
    struct pstorage_error err;
    static char data[4096] = "Hello, flash!", back[4096];

    if (pstorage_client_create(NULL, &client, &err)) /* $PSTORAGE_ENDPOINT, or this machine */
        return fail("client", &err);
    if (pstorage_volume_create(client, name, 1ull << 30, NULL, &err))
        return fail("create", &err);
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
    pstorage_image_close(volume);
    pstorage_client_destroy(client);
    return strcmp(back, data) != 0;
}
