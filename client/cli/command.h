/* The command table: every noun and verb of `pstorage`, its operands and
 * options, in words. It is data alone, and the one source of parsing,
 * `--help`, bash completion and the man page, so none of them can disagree.
 *
 * A command's code is found by its id (main.c); the table links nothing. */
#ifndef PS_CLI_COMMAND_H
#define PS_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#define CLI_COMMANDS(X)                                                                                      \
    X(VOLUME_CREATE)                                                                                         \
    X(VOLUME_LIST)                                                                                           \
    X(VOLUME_SHOW)                                                                                           \
    X(VOLUME_RESIZE)                                                                                         \
    X(VOLUME_RENAME)                                                                                         \
    X(VOLUME_DELETE)                                                                                         \
    X(VOLUME_SET)                                                                                            \
    X(VOLUME_WRITE)                                                                                          \
    X(VOLUME_READ)                                                                                           \
    X(VOLUME_IMPORT)                                                                                         \
    X(VOLUME_EXPORT)                                                                                         \
    X(SNAPSHOT_CREATE)                                                                                       \
    X(SNAPSHOT_LIST)                                                                                         \
    X(SNAPSHOT_DELETE)                                                                                       \
    X(SNAPSHOT_RESTORE)                                                                                      \
    X(CLONE_CREATE)                                                                                          \
    X(POD_LIST)                                                                                              \
    X(POD_SHOW)                                                                                              \
    X(POD_SWITCHOVER)                                                                                        \
    X(POD_ADD_MEMBER)                                                                                        \
    X(POD_REMOVE_MEMBER)                                                                                     \
    X(POD_PROMOTE)                                                                                           \
    X(POD_SET)                                                                                               \
    X(POD_SNAPSHOT)                                                                                          \
    X(WHY)                                                                                                   \
    X(NODE_LIST)                                                                                             \
    X(NODE_SHOW)                                                                                             \
    X(KEY_CREATE)                                                                                            \
    X(TOKEN_CREATE)                                                                                          \
    X(TOKEN_LIST)                                                                                            \
    X(TOKEN_DELETE)                                                                                          \
    X(STATUS) X(METRICS) X(ANALYTICS_FORECAST) X(ANALYTICS_HEALTH) X(ANALYTICS_TIERING)                      \
        X(ANALYTICS_TEMPERATURE) X(ANALYTICS_VOLUME) X(ANALYTICS_PREDICT_REDUCTION) X(FLASH_LIST)            \
            X(FLASH_IDENTIFY) X(FLASH_SMART) X(FLASH_READ) X(FLASH_WRITE) X(FLASH_DEALLOCATE)                \
                X(FLASH_FORMAT) X(FLASH_ATTACH) X(FLASH_DETACH) X(SCRUB) X(GC) X(EVENTS) X(COMPLETION)       \
                    X(HELP)

enum cli_command_id {
#define X(name) CLI_##name,
    CLI_COMMANDS(X)
#undef X
    CLI_COMMAND_COUNT
};

/* What a value is: decides how it is checked and how the shell completes it. */
enum cli_kind {
    CLI_FLAG,     /* an option without a value */
    CLI_TEXT,     /* anything */
    CLI_SIZE,     /* bytes, with K, M, G, T */
    CLI_NUMBER,   /* 0 to 2^63 - 1 */
    CLI_SECONDS,  /* a number of seconds, fractions allowed; kept in ms */
    CLI_SWITCH,   /* on or off */
    CLI_STEP,     /* minute, hour or day: enum pstorage_history_step */
    CLI_FILE,     /* a path; "-" is standard input or output */
    CLI_VOLUME,   /* the name of a volume */
    CLI_SNAPSHOT, /* VOLUME@SNAP */
    CLI_IMAGE,    /* either of the two */
    CLI_NEW,      /* a name that does not exist yet */
    CLI_WORD,     /* a noun or verb of this program (help) */
    CLI_SHELL,    /* a shell that completion knows */
};

struct cli_option {
    const char *name; /* without the dashes */
    char letter;      /* one-letter form, or 0 */
    enum cli_kind kind;
    const char *metavar; /* NULL for a flag */
    const char *help;
    bool required, repeatable;
};

struct cli_operand {
    const char *metavar;
    enum cli_kind kind;
    const char *help;
    bool optional;
};

enum {
    CLI_OPERANDS_MAX = 2,
    CLI_OPTIONS_MAX = 6
};

struct cli_command {
    enum cli_command_id id;
    const char *noun, *verb;                       /* verb NULL: the noun is the whole command */
    const char *summary;                           /* one line, no full stop */
    const char *details;                           /* paragraphs parted by an empty line; may be NULL */
    const char *example;                           /* command lines, one a line; may be NULL */
    struct cli_operand operands[CLI_OPERANDS_MAX]; /* ends at metavar NULL */
    struct cli_option options[CLI_OPTIONS_MAX];    /* ends at name NULL */
};

/* In the order in which help shows them; commands of one noun stand together. */
extern const struct cli_command cli_commands[CLI_COMMAND_COUNT];

/* Options that every command takes; ends at name NULL. */
extern const struct cli_option cli_global_options[];

struct cli_noun {
    const char *name, *summary;
};
/* One line a noun; ends at name NULL. */
extern const struct cli_noun cli_nouns[];

struct cli_exit_code {
    int code;
    const char *meaning;
};
extern const struct cli_exit_code cli_exit_codes[]; /* ends at meaning NULL */

#define CLI_DEFAULT_ENDPOINT     "tcp://127.0.0.1:9500"
#define CLI_ENDPOINT_VARIABLE    "PSTORAGE_ENDPOINT"
#define CLI_DEFAULT_TIMEOUT_TEXT "30"

/* The row of a noun and verb (NULL for a command without verb); NULL if there is none. */
const struct cli_command *cli_command_find(const char *noun, const char *verb);
const struct cli_noun *cli_noun_find(const char *noun);

#endif
