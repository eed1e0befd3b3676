#include "client/cli/cli.h"

#include <stdarg.h>
#include <string.h>

int cli_fail(struct cli *cli, int status, const char *format, ...)
{
    char detail[sizeof cli->error.detail];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    cli->error.status = status;
    memcpy(cli->error.detail, detail, sizeof detail);
    return status;
}

int cli_fail_request(struct cli *cli, const struct pstorage_request *request, int status)
{
    cli->error = request->error;
    cli->error.status = status;
    return status;
}

int cli_print_json(struct cli *cli, cJSON *json)
{
    char *text = cJSON_Print(json);
    cJSON_Delete(json);
    if (!text)
        return cli_fail(cli, PSTORAGE_ENOMEM, "out of memory");
    (void)fprintf(cli->out, "%s\n", text);
    cJSON_free(text);
    return PSTORAGE_OK;
}
