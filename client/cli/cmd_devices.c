/* pstorage flash attach, detach: devices of a node's pool that come and go. */
#include "client/cli/show.h"
#include "client/cli/target.h"

static int change(struct cli *cli, bool attach)
{
    static const char *const what[] = {
        [0] = "is attached or taken out",
        [PSTORAGE_DEVICE_TAKES_PLACE] =
            "is attached and being rebuilt; 'pstorage status' tells how far it is. Name it in the node's "
            "PSTORAGE_FLASH_DEVICES in place of the other one",
        [PSTORAGE_DEVICE_ADDED] =
            "is attached, and the pool is larger by it. Name it in the node's PSTORAGE_FLASH_DEVICES beside "
            "the others: without it the node does not start",
        [PSTORAGE_DEVICE_EMPTIED] =
            "is being emptied; 'pstorage status' tells how far it is, and the event device.detached when it "
            "is out. The node's PSTORAGE_FLASH_DEVICES must name it until then, and need not after that",
        [PSTORAGE_DEVICE_TAKEN_OUT] = "is taken out",
    };
    struct target target;
    int rc = target_find(cli, &target);
    if (rc)
        return rc;
    struct pstorage_device_change c = {.attach = attach, .device = cli->in->operands[0], .node = target.node};
    rc = pstorage_device_change_run(target.client, &c);
    if (rc)
        rc = cli_fail_request(cli, &c.request, rc);
    else if (!cli->in->json)
        (void)fprintf(cli->out, "%s %s\n", c.device, what[c.outcome]);
    target_let_go(&target);
    return rc;
}

int cmd_flash_attach(struct cli *cli)
{
    return change(cli, true);
}

int cmd_flash_detach(struct cli *cli)
{
    return change(cli, false);
}
