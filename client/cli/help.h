/* Help, the man page and shell completion, each written from the command table
 * alone. */
#ifndef PS_CLI_HELP_H
#define PS_CLI_HELP_H

#include <stdio.h>

#include "client/cli/command.h"

/* `--help` of the program, of a noun, of a command. */
void help_program(FILE *out);
void help_noun(FILE *out, const char *noun);
void help_command(FILE *out, const struct cli_command *command);

/* pstorage(1) for man. */
void man_write(FILE *out, const char *version);

/* A bash script that completes nouns, verbs, options and files from the table,
 * and volumes and snapshots by asking `pstorage volume list`. */
void completion_write_bash(FILE *out);

#endif
