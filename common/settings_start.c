#include "common/settings_start.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void to_stdout(void *user, const char *text)
{
    (void)user;
    (void)fputs(text, stdout);
}

static int read_file(const char *name, char *out, size_t room, size_t *length, struct ps_error *err)
{
    FILE *f = fopen(name, "re");
    if (!f)
        return ps_error_set(err, PS_EINVAL, "settings file %s: %s", name, strerror(errno));
    *length = fread(out, 1, room, f);
    const bool failed = ferror(f);
    const int error = errno;
    (void)fclose(f);
    if (failed)
        return ps_error_set(err, PS_EINVAL, "settings file %s: %s", name, strerror(error));
    return 0;
}

static int answer(const struct settings_program *program, enum settings_action action)
{
    switch (action) {
    case SETTINGS_HELP:
        settings_print_help(program, to_stdout, NULL);
        break;
    case SETTINGS_DOC:
        settings_print_doc(program, to_stdout, NULL);
        break;
    case SETTINGS_VERSION:
        (void)printf("%s %s\n", program->name, PS_VERSION);
        break;
    case SETTINGS_RUN:
        return 0;
    }
    return fflush(stdout) ? 1 : 0;
}

int settings_start(struct settings *settings, const struct settings_program *program, int argc, char **argv,
                   char **envp, int *exit_code)
{
    /* One byte more than is allowed, so that too long a file is seen as such. */
    static char text[SETTINGS_FILE_BYTES + 1];
    char host[256] = "";
    (void)gethostname(host, sizeof host - 1);
    struct settings_input in = {.argc = argc,
                                .argv = (const char *const *)argv,
                                .envp = (const char *const *)envp,
                                .host_name = host[0] ? host : "localhost"};
    enum settings_action action = SETTINGS_RUN;
    struct ps_error err;
    int rc = settings_find_file(program, &in, &action, &in.file_name, &err);
    if (rc == 0 && action != SETTINGS_RUN) {
        *exit_code = answer(program, action);
        return 1;
    }
    if (rc == 0 && in.file_name) {
        in.file_text = text;
        rc = read_file(in.file_name, text, sizeof text, &in.file_length, &err);
    }
    if (rc == 0)
        rc = settings_load(settings, program, &in, &err);
    if (rc) {
        (void)fprintf(stderr, "%s: %s\n", program->name, err.detail);
        *exit_code = ps_status_exit_code(PS_EINVAL);
        return rc;
    }
    return 0;
}
