/* pstorage: from the command line to the command, and from its status to the
 * exit code. */
#include "client/cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/help.h"
#include "client/cli/text.h"

static const cli_run commands[CLI_COMMAND_COUNT] = {
    [CLI_VOLUME_CREATE] = cmd_volume_create,
    [CLI_VOLUME_LIST] = cmd_volume_list,
    [CLI_VOLUME_SHOW] = cmd_volume_show,
    [CLI_VOLUME_RESIZE] = cmd_volume_resize,
    [CLI_VOLUME_RENAME] = cmd_volume_rename,
    [CLI_VOLUME_DELETE] = cmd_volume_delete,
    [CLI_VOLUME_SET] = cmd_volume_set,
    [CLI_VOLUME_WRITE] = cmd_volume_write,
    [CLI_VOLUME_READ] = cmd_volume_read,
    [CLI_VOLUME_IMPORT] = cmd_volume_import,
    [CLI_VOLUME_EXPORT] = cmd_volume_export,
    [CLI_SNAPSHOT_CREATE] = cmd_snapshot_create,
    [CLI_SNAPSHOT_LIST] = cmd_snapshot_list,
    [CLI_SNAPSHOT_DELETE] = cmd_snapshot_delete,
    [CLI_SNAPSHOT_RESTORE] = cmd_snapshot_restore,
    [CLI_CLONE_CREATE] = cmd_clone_create,
    [CLI_POD_LIST] = cmd_pod_list,
    [CLI_POD_SHOW] = cmd_pod_show,
    [CLI_POD_SWITCHOVER] = cmd_pod_switchover,
    [CLI_POD_ADD_MEMBER] = cmd_pod_add_member,
    [CLI_POD_REMOVE_MEMBER] = cmd_pod_remove_member,
    [CLI_POD_PROMOTE] = cmd_pod_promote,
    [CLI_POD_SET] = cmd_pod_set,
    [CLI_POD_SNAPSHOT] = cmd_pod_snapshot,
    [CLI_WHY] = cmd_why,
    [CLI_NODE_LIST] = cmd_node_list,
    [CLI_NODE_SHOW] = cmd_node_show,
    [CLI_KEY_CREATE] = cmd_key_create,
    [CLI_TOKEN_CREATE] = cmd_token_create,
    [CLI_TOKEN_LIST] = cmd_token_list,
    [CLI_TOKEN_DELETE] = cmd_token_delete,
    [CLI_STATUS] = cmd_status,
    [CLI_METRICS] = cmd_metrics,
    [CLI_ANALYTICS_FORECAST] = cmd_analytics_forecast,
    [CLI_ANALYTICS_HEALTH] = cmd_analytics_health,
    [CLI_ANALYTICS_TIERING] = cmd_analytics_tiering,
    [CLI_ANALYTICS_TEMPERATURE] = cmd_analytics_temperature,
    [CLI_ANALYTICS_VOLUME] = cmd_analytics_volume,
    [CLI_ANALYTICS_PREDICT_REDUCTION] = cmd_analytics_predict_reduction,
    [CLI_FLASH_LIST] = cmd_flash_list,
    [CLI_FLASH_IDENTIFY] = cmd_flash_identify,
    [CLI_FLASH_SMART] = cmd_flash_smart,
    [CLI_FLASH_READ] = cmd_flash_read,
    [CLI_FLASH_WRITE] = cmd_flash_write,
    [CLI_FLASH_DEALLOCATE] = cmd_flash_deallocate,
    [CLI_FLASH_FORMAT] = cmd_flash_format,
    [CLI_FLASH_ATTACH] = cmd_flash_attach,
    [CLI_FLASH_DETACH] = cmd_flash_detach,
    [CLI_SCRUB] = cmd_scrub,
    [CLI_GC] = cmd_gc,
    [CLI_EVENTS] = cmd_events,
};

static int print_error(bool json, int status, const char *detail)
{
    const int exit_code = ps_status_exit_code(status);
    const char *message = *detail ? detail : pstorage_status_text(status);
    if (json) {
        cJSON *object = cJSON_CreateObject(), *error = cJSON_AddObjectToObject(object, "error");
        (void)cJSON_AddStringToObject(error, "status", pstorage_status_name(status));
        (void)cJSON_AddStringToObject(error, "message", message);
        (void)cJSON_AddNumberToObject(error, "exit_code", exit_code);
        char *text = cJSON_PrintUnformatted(object);
        (void)fprintf(stderr, "%s\n", text ? text : "{}");
        cJSON_free(text);
        cJSON_Delete(object);
    } else {
        (void)fputs("pstorage: ", stderr);
        text_put(stderr, message);
        (void)fputc('\n', stderr);
    }
    return exit_code;
}

static int connect_and_run(struct cli *cli)
{
    char endpoints[CLI_ENDPOINTS_MAX * 256] = "";
    for (size_t i = 0, used = 0; i < cli->in->nendpoints; i++) {
        const size_t length = strlen(cli->in->endpoints[i]);
        if (used + length + 2 > sizeof endpoints)
            return cli_fail(cli, PSTORAGE_EINVAL, "the endpoints are too long");
        used += (size_t)snprintf(endpoints + used, sizeof endpoints - used, "%s%s", used ? " " : "",
                                 cli->in->endpoints[i]);
    }
    const struct pstorage_options options = {
        .endpoints = cli->in->nendpoints ? endpoints : NULL,
        .name = "pstorage",
        .timeout_ms = (uint32_t)cli->in->timeout_ms,
        .cluster_key_file = cli->in->cluster_key_file,
    };
    int rc = pstorage_client_create(&options, &cli->client, &cli->error);
    if (rc)
        return rc;
    rc = commands[cli->in->command->id](cli);
    pstorage_client_destroy(cli->client);
    return rc;
}

static bool run_without_client(const struct cli_invocation *in, FILE *out)
{
    if (in->version)
        (void)fprintf(out, "pstorage %s\n", pstorage_version());
    else if (in->help && in->command)
        help_command(out, in->command);
    else if (in->help && in->noun)
        help_noun(out, in->noun);
    else if (in->help)
        help_program(out);
    else if (in->command->id == CLI_COMPLETION)
        completion_write_bash(out);
    else
        return false;
    return true;
}

static bool shows_bold(void)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0 && !(no_color && *no_color);
}

int main(int argc, char **argv)
{
    struct cli_invocation in;
    struct ps_error usage;
    if (cli_parse(argc, argv, &in, &usage))
        return print_error(in.json, PSTORAGE_EINVAL, usage.detail);

    struct cli cli = {.in = &in, .out = stdout, .bold = shows_bold()};
    int status = PSTORAGE_OK;
    if (!run_without_client(&in, stdout))
        status = in.command->id == CLI_KEY_CREATE ? cmd_key_create(&cli) : connect_and_run(&cli);
    if (status)
        return print_error(in.json, status, cli.error.detail);
    if (fflush(stdout) != 0 || ferror(stdout))
        return print_error(in.json, PSTORAGE_EIO, "cannot write to standard output");
    return 0;
}
