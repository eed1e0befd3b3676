/* Settings of a program: one table gives environment variables, keys of the
 * configuration file, command-line flags, help text and documentation.
 *
 * A setting NAME is the variable PSTORAGE_NAME, the key PSTORAGE_NAME in the
 * file and the flag --name (lower case, dashes). Flags go before environment,
 * environment before file, file before default; an empty value counts as not
 * given, unless the setting may be empty.
 *
 * Pure: arguments, environment and file contents are passed in. Everything
 * loaded lives inside `struct settings`. The tables are in settings_table.h. */
#ifndef PS_COMMON_SETTINGS_H
#define PS_COMMON_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum setting_type {
    SETTING_STRING,
    SETTING_BOOL,
    SETTING_UINT,    /* min to max */
    SETTING_SIZE,    /* bytes, min to max; K, M, G, T */
    SETTING_ENUM,    /* one of `choices`, "a|b|c"; the number is its index */
    SETTING_NAME,    /* 1 to 63 of A-Z a-z 0-9 . _ -, the first a letter or digit */
    SETTING_PATH,    /* not empty */
    SETTING_HOST,    /* name or address, without port */
    SETTING_LISTEN,  /* host:port, [v6]:port or unix:PATH, separated by spaces */
    SETTING_ADDRESS, /* host:port or [v6]:port */
    SETTING_URL,     /* tcp://host:port or ipc://PATH */
    SETTING_PEERS,   /* name=tcp://host:port, separated by spaces */
    SETTING_DEVICES, /* flash devices, see blkdev_spec.h */
};

enum {
    SETTING_MAY_BE_EMPTY = 1u << 0,
    SETTING_FLAG_ONLY = 1u << 1, /* not from environment or file: what one start is asked to do */
    SETTING_NOT_IN_FILE = 1u << 2,
    SETTING_EXPAND = 1u << 3, /* ${DATA_DIR} and ${HOST_NAME} stand for their values */
    /* Never shown, only "(set)"; and not a flag, since everybody sees the arguments of a process. */
    SETTING_SECRET = 1u << 4,
};

struct setting {
    const char *name; /* "DATA_DIR" */
    enum setting_type type;
    unsigned flags;
    const char *default_text;
    uint64_t min, max;
    const char *choices; /* ENUM */
    const char *help;    /* one line; empty for what has no need of one */
};

struct settings;

struct settings_program {
    const char *name;    /* "pstoraged" */
    const char *summary; /* one line */
    const struct setting *table;
    size_t count;
    /* Checks what several settings say together; may be NULL. */
    int (*check)(const struct settings *settings, struct ps_error *err);
};

enum {
    SETTINGS_MAX = 48,
    SETTINGS_TEXT_BYTES = 32 * 1024, /* all values together */
    SETTINGS_FILE_BYTES = 64 * 1024,
    SETTINGS_WARNINGS = 8,
};

enum setting_source {
    SETTING_FROM_DEFAULT,
    SETTING_FROM_FILE,
    SETTING_FROM_ENVIRONMENT,
    SETTING_FROM_FLAG
};

struct setting_value {
    const char *text; /* expanded; never NULL */
    uint64_t number;  /* BOOL, UINT, SIZE, ENUM */
    enum setting_source source;
    unsigned line; /* of the file */
};

enum settings_action {
    SETTINGS_RUN,
    SETTINGS_HELP,
    SETTINGS_VERSION,
    SETTINGS_DOC
};

struct settings {
    const struct settings_program *program;
    enum settings_action action; /* what the flags ask for; values are loaded only for RUN */
    struct setting_value values[SETTINGS_MAX];
    char file_name[256];
    unsigned nwarnings;
    char warnings[SETTINGS_WARNINGS][256];
    size_t text_used;
    char text[SETTINGS_TEXT_BYTES];
};

struct settings_input {
    int argc; /* argv[0] is the program */
    const char *const *argv;
    const char *const *envp;
    const char *host_name;
    /* The configuration file's name and contents (not terminated); NULL: none. */
    const char *file_name, *file_text;
    size_t file_length;
};

/* First step: finds what to do and the configuration file to read, NULL if
 * none (borrowed from argv or envp). Checks flags as far as it must. */
int settings_find_file(const struct settings_program *program, const struct settings_input *input,
                       enum settings_action *action, const char **file_name, struct ps_error *err);

/* Second step: loads all values. PS_EINVAL with one message that names the
 * setting, where it came from, the value, and what would be right. Variables
 * PSTORAGE_… that no program knows end in `warnings`. */
int settings_load(struct settings *settings, const struct settings_program *program,
                  const struct settings_input *input, struct ps_error *err);

/* The value as people may see it: a secret one is "(set)", or empty. Whoever shows, logs or stores
 * values asks this, not `values`. */
const char *settings_shown(const struct settings *settings, size_t index);

/* "PSTORAGE_API_PORT=8000 (default)": for messages about a value that turned
 * out not to work, such as a port in use. Returns `out`. */
const char *settings_describe(const struct settings *settings, size_t index, char *out, size_t room);

typedef void (*settings_sink)(void *user, const char *text);
/* The --help text, and the table of the documentation in Markdown. */
void settings_print_help(const struct settings_program *program, settings_sink sink, void *user);
void settings_print_doc(const struct settings_program *program, settings_sink sink, void *user);

#endif
