/* How a program starts with its settings: reads the file, answers --help and
 * --version, tells what is wrong. The edge around settings.h. */
#ifndef PS_COMMON_SETTINGS_START_H
#define PS_COMMON_SETTINGS_START_H

#include "common/settings.h"

/* 0: run. Otherwise *exit_code is how to end: help, version and documentation went to
 * standard output (0), or one message to standard error (2). Warnings are left in `settings`. */
int settings_start(struct settings *settings, const struct settings_program *program, int argc, char **argv,
                   char **envp, int *exit_code);

#endif
