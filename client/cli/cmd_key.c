/* `pstorage key`: needs no node. */
#include <string.h>
#include <sys/random.h>

#include "client/cli/cli.h"

enum {
    KEY_BYTES = 32,
    KEY_TEXT = (KEY_BYTES * 8 + 5) / 6
};

int cmd_key_create(struct cli *cli)
{
    /* RFC 4648, section 5: no character that a shell, a file of settings or a cluster's name takes for
     * itself. */
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t bytes[KEY_BYTES + 1] = {
        0}; /* one more than is used, so that the last digit finds its second byte */
    char key[KEY_TEXT + 1] = "";
    if (getrandom(bytes, KEY_BYTES, 0) != KEY_BYTES)
        return cli_fail(cli, PSTORAGE_EIO, "the system gives no random numbers");
    for (size_t i = 0; i < KEY_TEXT; i++) {
        const size_t bit = 6 * i;
        const unsigned pair = (unsigned)bytes[bit / 8] << 8 | bytes[bit / 8 + 1];
        key[i] = digits[pair >> (10 - bit % 8) & 63];
    }
    int rc = PSTORAGE_OK;
    cJSON *json = cli->in->json ? cJSON_CreateObject() : NULL;
    if (json) {
        (void)cJSON_AddStringToObject(json, "key", key);
        rc = cli_print_json(cli, json);
    } else {
        (void)fprintf(cli->out, "%s\n", key);
    }
    explicit_bzero(bytes, sizeof bytes);
    explicit_bzero(key, sizeof key);
    return rc;
}
