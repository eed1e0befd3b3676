/* pstorage flash attach, detach: devices of a node's pool that come and go. */
#include "client/cli/show.h"

static int change(struct cli *cli, bool attach, const char *done)
{
    struct pstorage_device_change c = {.attach = attach, .device = cli->in->operands[0]};
    const int rc = pstorage_device_change_run(cli->client, &c);
    if (rc)
        return cli_fail_request(cli, &c.request, rc);
    if (!cli->in->json)
        (void)fprintf(cli->out, "%s %s\n", c.device, done);
    return PSTORAGE_OK;
}

int cmd_flash_attach(struct cli *cli)
{
    return change(
        cli, true,
        "is attached and being rebuilt; 'pstorage status' tells how far it is. Name it in the node's "
        "PSTORAGE_FLASH_DEVICES in place of the other one");
}

int cmd_flash_detach(struct cli *cli)
{
    return change(cli, false, "is taken out");
}
