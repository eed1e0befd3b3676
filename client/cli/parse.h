/* Command line → which command, with which values. Pure: the environment's
 * part is handed in. Strings are borrowed from argv. */
#ifndef PS_CLI_PARSE_H
#define PS_CLI_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/cli/command.h"
#include "common/status.h"

enum {
    CLI_ENDPOINTS_MAX = 16
};

struct cli_value {
    bool given;
    const char *text; /* as typed; NULL for a flag */
    uint64_t number;  /* CLI_SIZE: bytes; CLI_NUMBER; CLI_SECONDS: ms; CLI_SWITCH: 0 or 1 */
};

struct cli_invocation {
    const struct cli_command *command; /* NULL with help or version: the program as a whole */
    const char *noun;                  /* with help and no command: the noun that was named, or NULL */
    bool help, version, json;
    const char *operands[CLI_OPERANDS_MAX]; /* NULL where optional and not given */
    struct cli_value options[CLI_OPTIONS_MAX];
    const char *endpoints[CLI_ENDPOINTS_MAX]; /* only those of --endpoint */
    size_t nendpoints;
    const char *cluster_key_file; /* NULL: not given */
    uint64_t timeout_ms;          /* 0: not given */
};

/* Reads argv[1] to argv[argc - 1]. Errors are all PS_EINVAL, with one line
 * that names the word and, where one is near, what may have been meant.
 * `out->json` is right even when parsing fails, so that the error can be
 * printed as was asked. */
int cli_parse(int argc, char *const argv[], struct cli_invocation *out, struct ps_error *err);

/* The value of the command's option `name`, which the command has. */
const struct cli_value *cli_option_value(const struct cli_invocation *in, const char *name);
bool cli_flag(const struct cli_invocation *in, const char *name);
uint64_t cli_number(const struct cli_invocation *in, const char *name, uint64_t absent);

#endif
