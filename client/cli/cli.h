/* What the commands' code shares: the invocation, the client, and the ways to
 * print and to fail. */
#ifndef PS_CLI_CLI_H
#define PS_CLI_CLI_H

#include <stdio.h>

#include <cjson/cJSON.h>

#include "client/cli/parse.h"
#include "client/lib/pstorage.h"

struct cli {
    const struct cli_invocation *in;
    struct pstorage_client *client; /* NULL for commands that need none */
    FILE *out;
    bool bold; /* `out` is a terminal that shows it */
    struct pstorage_error error;
};

typedef int (*cli_run)(struct cli *cli);

int cmd_volume_create(struct cli *cli);
int cmd_volume_list(struct cli *cli);
int cmd_volume_show(struct cli *cli);
int cmd_volume_resize(struct cli *cli);
int cmd_volume_rename(struct cli *cli);
int cmd_volume_delete(struct cli *cli);
int cmd_volume_set(struct cli *cli);
int cmd_volume_write(struct cli *cli);
int cmd_volume_read(struct cli *cli);
int cmd_volume_import(struct cli *cli);
int cmd_volume_export(struct cli *cli);
int cmd_snapshot_create(struct cli *cli);
int cmd_snapshot_list(struct cli *cli);
int cmd_snapshot_delete(struct cli *cli);
int cmd_snapshot_restore(struct cli *cli);
int cmd_clone_create(struct cli *cli);
int cmd_key_create(struct cli *cli);
int cmd_token_create(struct cli *cli);
int cmd_token_list(struct cli *cli);
int cmd_token_delete(struct cli *cli);
int cmd_pod_list(struct cli *cli);
int cmd_pod_show(struct cli *cli);
int cmd_pod_switchover(struct cli *cli);
int cmd_pod_add_member(struct cli *cli);
int cmd_pod_remove_member(struct cli *cli);
int cmd_pod_promote(struct cli *cli);
int cmd_pod_set(struct cli *cli);
int cmd_pod_snapshot(struct cli *cli);
int cmd_why(struct cli *cli);
int cmd_node_list(struct cli *cli);
int cmd_node_show(struct cli *cli);
int cmd_status(struct cli *cli);
int cmd_metrics(struct cli *cli);
int cmd_analytics_forecast(struct cli *cli);
int cmd_analytics_health(struct cli *cli);
int cmd_analytics_tiering(struct cli *cli);
int cmd_analytics_temperature(struct cli *cli);
int cmd_analytics_volume(struct cli *cli);
int cmd_analytics_predict_reduction(struct cli *cli);
int cmd_flash_list(struct cli *cli);
int cmd_flash_identify(struct cli *cli);
int cmd_flash_smart(struct cli *cli);
int cmd_flash_read(struct cli *cli);
int cmd_flash_write(struct cli *cli);
int cmd_flash_deallocate(struct cli *cli);
int cmd_flash_format(struct cli *cli);
int cmd_flash_attach(struct cli *cli);
int cmd_flash_detach(struct cli *cli);
int cmd_scrub(struct cli *cli);
int cmd_gc(struct cli *cli);
int cmd_events(struct cli *cli);

/* Says why: returns `status`, so that `return cli_fail(...)` reads well. */
__attribute__((format(printf, 3, 4))) int cli_fail(struct cli *cli, int status, const char *format, ...);
/* The same with what a request says. */
int cli_fail_request(struct cli *cli, const struct pstorage_request *request, int status);

/* Prints and frees. */
int cli_print_json(struct cli *cli, cJSON *json);

#endif
