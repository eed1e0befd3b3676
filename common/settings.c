#include "common/settings.h"

#include <stdio.h>
#include <string.h>

#include "common/settings_table.h"
#include "common/settings_value.h"

static const char prefix[] = "PSTORAGE_";
enum {
    PREFIX = sizeof prefix - 1,
    NAME_MAX_LEN = 64
};

/* Where a raw value was found, before it is checked. */
struct raw {
    const char *text; /* not terminated; NULL: not given */
    size_t length;
    unsigned line; /* in the file */
};

/* ---- names */

static char flag_char(char c)
{
    return c == '_' ? '-' : (c >= 'A' && c <= 'Z') ? (char)(c | 0x20) : c;
}

/* "--data-dir" for DATA_DIR. */
static void flag_of(const struct setting *s, char out[NAME_MAX_LEN + 3])
{
    size_t n = 2;
    out[0] = out[1] = '-';
    for (const char *c = s->name; *c && n < NAME_MAX_LEN + 2; c++)
        out[n++] = flag_char(*c);
    out[n] = '\0';
}

static const struct setting *by_name(const struct settings_program *p, const char *name, size_t length)
{
    for (size_t i = 0; i < p->count; i++)
        if (strlen(p->table[i].name) == length && memcmp(p->table[i].name, name, length) == 0)
            return &p->table[i];
    return NULL;
}

static const struct setting *by_flag(const struct settings_program *p, const char *flag, size_t length)
{
    for (size_t i = 0; i < p->count; i++) {
        char own[NAME_MAX_LEN + 3];
        flag_of(&p->table[i], own);
        if (strlen(own) == length && memcmp(own, flag, length) == 0)
            return &p->table[i];
    }
    return NULL;
}

/* Levenshtein's distance of `a` to `b`, letters without case, '-' as '_'; both at most NAME_MAX_LEN long. */
static size_t distance(const char *a, size_t na, const char *b, size_t nb)
{
    size_t row[NAME_MAX_LEN + 1];
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            const size_t change = diagonal + (flag_char(a[i - 1]) != flag_char(b[j - 1]));
            const size_t drop = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < drop ? change : drop;
        }
    }
    return row[nb];
}

/* The setting whose name is nearest, or NULL if none is near. `wrong` has no prefix or dashes. */
static const struct setting *nearest(const struct settings_program *p, const char *wrong, size_t length)
{
    const struct setting *best = NULL;
    size_t best_distance = length / 3 < 3 ? length / 3 + 1 : 4;
    for (size_t i = 0; length <= NAME_MAX_LEN && i < p->count; i++) {
        const size_t d = distance(wrong, length, p->table[i].name, strlen(p->table[i].name));
        if (d < best_distance) {
            best_distance = d;
            best = &p->table[i];
        }
    }
    return best;
}

/* ---- flags */

/* What one argument is. */
struct flag {
    const struct setting *setting; /* NULL: `action` */
    enum settings_action action;
    const char *value;
};

/* Reads the flag at `*at` and moves on; a value may be the next argument. */
static int next_flag(const struct settings_program *p, const struct settings_input *in, int *at,
                     struct flag *out, struct ps_error *err)
{
    static const struct {
        const char *flag;
        enum settings_action action;
    } actions[] = {{"--help", SETTINGS_HELP},
                   {"-h", SETTINGS_HELP},
                   {"--version", SETTINGS_VERSION},
                   {"-V", SETTINGS_VERSION},
                   {"--settings-doc", SETTINGS_DOC}};
    const char *arg = in->argv[(*at)++];
    *out = (struct flag){0};
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(arg, actions[i].flag) == 0) {
            out->action = actions[i].action;
            return 0;
        }
    }
    if (arg[0] != '-')
        return ps_error_set(err, PS_EINVAL,
                            "\"%.80s\" is not expected: settings are given as --name=value; see --help", arg);
    const size_t length = strcspn(arg, "=");
    out->setting = by_flag(p, arg, length);
    if (out->setting && (out->setting->flags & SETTING_SECRET))
        return ps_error_set(err, PS_EINVAL,
                            "%.*s is not to be given as a flag, which everybody on this machine can read: "
                            "set the variable %s%s, or name a file that holds it",
                            (int)length, arg, prefix, out->setting->name);
    if (!out->setting) {
        const size_t dashes = strspn(arg, "-");
        const struct setting *s = dashes <= length ? nearest(p, arg + dashes, length - dashes) : NULL;
        char like[NAME_MAX_LEN + 3];
        if (!s)
            return ps_error_set(err, PS_EINVAL, "unknown flag \"%.*s\"; see --help",
                                length > 60 ? 60 : (int)length, arg);
        flag_of(s, like);
        return ps_error_set(err, PS_EINVAL, "unknown flag \"%.*s\": did you mean %s?",
                            length > 60 ? 60 : (int)length, arg, like);
    }
    if (arg[length] == '=')
        out->value = arg + length + 1;
    else if (out->setting->type == SETTING_BOOL)
        out->value = "true";
    else if (*at < in->argc)
        out->value = in->argv[(*at)++];
    else
        return ps_error_set(err, PS_EINVAL, "%.60s needs a value", arg);
    return 0;
}

/* The first --help or --version wins over everything that follows it. */
static int read_flags(const struct settings_program *p, const struct settings_input *in, struct raw *flags,
                      enum settings_action *action, struct ps_error *err)
{
    *action = SETTINGS_RUN;
    for (int at = 1; at < in->argc;) {
        struct flag f;
        const int rc = next_flag(p, in, &at, &f, err);
        if (rc)
            return rc;
        if (!f.setting) {
            *action = f.action;
            return 0;
        }
        flags[f.setting - p->table] = (struct raw){f.value, strlen(f.value), 0};
    }
    return 0;
}

/* ---- environment */

static void warn_unknown(struct settings *s, const char *name, size_t length)
{
    const struct setting *like = nearest(s->program, name, length);
    if (s->nwarnings == SETTINGS_WARNINGS)
        return;
    char *out = s->warnings[s->nwarnings++];
    const int shown = length > 60 ? 60 : (int)length;
    if (like)
        (void)snprintf(out, sizeof s->warnings[0],
                       "%s%.*s is no setting and has no effect: did you mean %s%s?", prefix, shown, name,
                       prefix, like->name);
    else
        (void)snprintf(out, sizeof s->warnings[0], "%s%.*s is no setting and has no effect", prefix, shown,
                       name);
}

/* `warn` NULL: only looks values up. */
static void read_environment(const struct settings_program *p, const char *const *envp, struct raw *env,
                             struct settings *warn)
{
    for (; envp && *envp; envp++) {
        if (strncmp(*envp, prefix, PREFIX) != 0)
            continue;
        const char *name = *envp + PREFIX;
        const size_t length = strcspn(name, "=");
        if (name[length] != '=')
            continue;
        const struct setting *s = by_name(p, name, length);
        if (s && !(s->flags & SETTING_FLAG_ONLY))
            env[s - p->table] = (struct raw){name + length + 1, strlen(name + length + 1), 0};
        else if (warn && (s || !settings_known_anywhere(name, length)))
            warn_unknown(warn, name, length);
    }
}

/* ---- file */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void trim(const char **text, size_t *length)
{
    while (*length > 0 && is_space(**text)) {
        (*text)++;
        (*length)--;
    }
    while (*length > 0 && is_space((*text)[*length - 1]))
        (*length)--;
}

static int read_line(const struct settings *s, const char *line, size_t length, unsigned number,
                     struct raw *file, struct ps_error *err)
{
    const struct settings_program *p = s->program;
    trim(&line, &length);
    if (length == 0 || line[0] == '#')
        return 0;
    if (memchr(line, '\0', length))
        return ps_error_set(err, PS_EINVAL, "%s line %u: not text", s->file_name, number);
    const char *equals = memchr(line, '=', length);
    /* The first word alone: what follows may be a secret. */
    size_t shown = 0;
    while (shown < length && shown < 60 && !is_space(line[shown]) && line[shown] != ':')
        shown++;
    if (!equals)
        return ps_error_set(err, PS_EINVAL, "%s line %u: \"%.*s\" is no setting: write PSTORAGE_NAME=value",
                            s->file_name, number, (int)shown, line);
    const char *key = line, *value = equals + 1;
    size_t key_length = (size_t)(equals - line), value_length = length - key_length - 1;
    trim(&key, &key_length);
    trim(&value, &value_length);
    if (value_length >= 2 && (value[0] == '"' || value[0] == '\'') && value[value_length - 1] == value[0]) {
        value++;
        value_length -= 2;
    }
    const bool prefixed = key_length > PREFIX && memcmp(key, prefix, PREFIX) == 0;
    const char *name = prefixed ? key + PREFIX : key;
    const size_t name_length = prefixed ? key_length - PREFIX : key_length;
    const struct setting *known = prefixed ? by_name(p, name, name_length) : NULL;
    const int key_shown = key_length > 60 ? 60 : (int)key_length;
    if (!known) {
        /* One file may serve several programs. */
        if (prefixed && settings_known_anywhere(name, name_length))
            return 0;
        const struct setting *like = nearest(p, name, name_length);
        if (like)
            return ps_error_set(err, PS_EINVAL, "%s line %u: unknown setting \"%.*s\": did you mean %s%s?",
                                s->file_name, number, key_shown, key, prefix, like->name);
        return ps_error_set(err, PS_EINVAL, "%s line %u: unknown setting \"%.*s\"; see --help", s->file_name,
                            number, key_shown, key);
    }
    if (known->flags & (SETTING_FLAG_ONLY | SETTING_NOT_IN_FILE))
        return ps_error_set(err, PS_EINVAL, "%s line %u: %s%s can't be set in a file", s->file_name, number,
                            prefix, known->name);
    struct raw *slot = &file[known - p->table];
    if (slot->text)
        return ps_error_set(err, PS_EINVAL, "%s line %u: %s%s was set in line %u already", s->file_name,
                            number, prefix, known->name, slot->line);
    *slot = (struct raw){value, value_length, number};
    return 0;
}

static int read_file(const struct settings *s, const struct settings_input *in, struct raw *file,
                     struct ps_error *err)
{
    if (in->file_length > SETTINGS_FILE_BYTES)
        return ps_error_set(err, PS_EINVAL, "%s is larger than 64 KiB: no settings file", s->file_name);
    const char *p = in->file_text, *end = p + in->file_length;
    for (unsigned number = 1; p < end; number++) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        const char *stop = eol ? eol : end;
        const int rc = read_line(s, p, (size_t)(stop - p), number, file, err);
        if (rc)
            return rc;
        p = eol ? eol + 1 : end;
    }
    return 0;
}

/* ---- values */

static void describe_source(const struct settings *s, const struct setting *setting,
                            enum setting_source source, unsigned line, char *out, size_t room)
{
    char flag[NAME_MAX_LEN + 3];
    switch (source) {
    case SETTING_FROM_DEFAULT:
        (void)snprintf(out, room, "default of %s%s", prefix, setting->name);
        break;
    case SETTING_FROM_FILE:
        (void)snprintf(out, room, "%s%s in %.80s line %u", prefix, setting->name, s->file_name, line);
        break;
    case SETTING_FROM_ENVIRONMENT:
        (void)snprintf(out, room, "environment variable %s%s", prefix, setting->name);
        break;
    case SETTING_FROM_FLAG:
        flag_of(setting, flag);
        (void)snprintf(out, room, "flag %s", flag);
        break;
    }
}

/* Appends to the text that the settings own. */
static int keep(struct settings *s, const char *text, size_t length, struct ps_error *err)
{
    if (length > sizeof s->text - 1 - s->text_used)
        return ps_error_set(err, PS_EINVAL, "the settings together are longer than %zu bytes",
                            sizeof s->text);
    memcpy(s->text + s->text_used, text, length);
    s->text_used += length;
    return 0;
}

/* What ${NAME} stands for while the value of `index` is expanded; NULL: unknown. */
static const char *variable(const struct settings *s, const struct settings_input *in, size_t index,
                            const char *name, size_t length)
{
    if (length == 9 && memcmp(name, "HOST_NAME", 9) == 0)
        return in->host_name ? in->host_name : "localhost";
    const struct setting *other = by_name(s->program, name, length);
    /* Rows further up are loaded already; anything else would be a circle. */
    return other && (size_t)(other - s->program->table) < index ? s->values[other - s->program->table].text
                                                                : NULL;
}

static int expand(struct settings *s, const struct settings_input *in, size_t index, struct raw raw,
                  struct ps_error *err)
{
    const struct setting *setting = &s->program->table[index];
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < raw.length;) {
        const char *p = raw.text + at;
        const size_t left = raw.length - at;
        const char *close = (setting->flags & SETTING_EXPAND) && left > 2 && p[0] == '$' && p[1] == '{'
                                ? memchr(p, '}', left)
                                : NULL;
        if (!close) {
            rc = keep(s, p, 1, err);
            at++;
            continue;
        }
        const size_t length = (size_t)(close - p - 2);
        const char *value = variable(s, in, index, p + 2, length);
        if (!value)
            return ps_error_set(err, PS_EINVAL,
                                "%s%s: ${%.*s} is unknown; ${DATA_DIR} and ${HOST_NAME} are known", prefix,
                                setting->name, length > 40 ? 40 : (int)length, p + 2);
        if (setting->type == SETTING_DEVICES && strpbrk(value, " \t,"))
            return ps_error_set(
                err, PS_EINVAL,
                "%s%s: ${%.*s} is \"%.80s\", and a path with a space or comma can't stand in a list of "
                "devices; name the devices without it",
                prefix, setting->name, (int)length, p + 2, value);
        rc = keep(s, value, strlen(value), err);
        at += length + 3;
    }
    return rc ? rc : keep(s, "", 1, err);
}

static int load_value(struct settings *s, const struct settings_input *in, size_t index, struct raw raw,
                      enum setting_source source, struct ps_error *err)
{
    const struct setting *setting = &s->program->table[index];
    struct setting_value *value = &s->values[index];
    if (memchr(raw.text, '\0', raw.length))
        raw.length = strlen(raw.text);
    value->text = s->text + s->text_used;
    value->source = source;
    value->line = raw.line;
    int rc = expand(s, in, index, raw, err);
    if (rc)
        return rc;
    struct ps_error needs;
    rc = setting_value_parse(setting, value->text, &value->number, &needs);
    if (rc) {
        char where[180];
        describe_source(s, setting, source, raw.line, where, sizeof where);
        if (setting->type == SETTING_DEVICES)
            return ps_error_set(err, rc, "%s: %s", where, needs.detail);
        return ps_error_set(err, rc, "%s: \"%.60s\" is wrong: %s", where, settings_shown(s, index),
                            needs.detail);
    }
    return 0;
}

static bool given(const struct setting *s, const struct raw *raw)
{
    return raw->text && (raw->length > 0 || (s->flags & SETTING_MAY_BE_EMPTY));
}

int settings_find_file(const struct settings_program *program, const struct settings_input *input,
                       enum settings_action *action, const char **file_name, struct ps_error *err)
{
    struct raw flags[SETTINGS_MAX] = {0}, env[SETTINGS_MAX] = {0};
    const struct setting *config = by_name(program, "CONFIG", 6);
    enum settings_action wanted;
    const int rc = read_flags(program, input, flags, &wanted, err);
    if (rc)
        return rc;
    *action = wanted;
    *file_name = NULL;
    if (!config)
        return 0;
    read_environment(program, input->envp, env, NULL);
    const size_t at = (size_t)(config - program->table);
    const struct raw *found = flags[at].text ? &flags[at] : &env[at];
    if (found->text && found->length > 0)
        *file_name = found->text;
    return 0;
}

int settings_load(struct settings *s, const struct settings_program *program, const struct settings_input *in,
                  struct ps_error *err)
{
    struct raw flags[SETTINGS_MAX] = {0}, env[SETTINGS_MAX] = {0}, file[SETTINGS_MAX] = {0};
    s->program = program;
    s->nwarnings = 0;
    s->text_used = 0;
    (void)snprintf(s->file_name, sizeof s->file_name, "%s", in->file_name ? in->file_name : "");
    int rc = read_flags(program, in, flags, &s->action, err);
    if (rc || s->action != SETTINGS_RUN)
        return rc;
    read_environment(program, in->envp, env, s);
    if (in->file_text)
        rc = read_file(s, in, file, err);
    for (size_t i = 0; rc == 0 && i < program->count; i++) {
        const struct setting *setting = &program->table[i];
        const struct raw by_default = {setting->default_text, strlen(setting->default_text), 0};
        /* An empty flag is a value that somebody typed: it is checked, not skipped. */
        if (flags[i].text)
            rc = load_value(s, in, i, flags[i], SETTING_FROM_FLAG, err);
        else if (given(setting, &env[i]))
            rc = load_value(s, in, i, env[i], SETTING_FROM_ENVIRONMENT, err);
        else if (given(setting, &file[i]))
            rc = load_value(s, in, i, file[i], SETTING_FROM_FILE, err);
        else
            rc = load_value(s, in, i, by_default, SETTING_FROM_DEFAULT, err);
    }
    if (rc == 0 && program->check)
        rc = program->check(s, err);
    return rc;
}

const char *settings_shown(const struct settings *s, size_t index)
{
    const char *text = s->values[index].text;
    return text[0] && (s->program->table[index].flags & SETTING_SECRET) ? "(set)" : text;
}

const char *settings_describe(const struct settings *s, size_t index, char *out, size_t room)
{
    const char *shown = settings_shown(s, index);
    const struct setting *setting = &s->program->table[index];
    const struct setting_value *v = &s->values[index];
    char flag[NAME_MAX_LEN + 3];
    switch (v->source) {
    case SETTING_FROM_DEFAULT:
        (void)snprintf(out, room, "%s%s=%s (default)", prefix, setting->name, shown);
        break;
    case SETTING_FROM_FILE:
        (void)snprintf(out, room, "%s%s=%s (%s line %u)", prefix, setting->name, shown, s->file_name,
                       v->line);
        break;
    case SETTING_FROM_ENVIRONMENT:
        (void)snprintf(out, room, "%s%s=%s (environment)", prefix, setting->name, shown);
        break;
    case SETTING_FROM_FLAG:
        flag_of(setting, flag);
        (void)snprintf(out, room, "%s%s=%s (flag %s)", prefix, setting->name, shown, flag);
        break;
    }
    return out;
}

/* ---- help and documentation */

__attribute__((format(printf, 3, 4))) static void emit(settings_sink sink, void *user, const char *format,
                                                       ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    sink(user, text);
}

void settings_print_help(const struct settings_program *p, settings_sink sink, void *user)
{
    emit(sink, user, "Usage: %s [--NAME VALUE | --NAME=VALUE]...\n\n%s\n\nSettings:\n", p->name, p->summary);
    for (size_t i = 0; i < p->count; i++) {
        const struct setting *s = &p->table[i];
        char flag[NAME_MAX_LEN + 3], hint[128];
        flag_of(s, flag);
        const bool only = s->flags & SETTING_FLAG_ONLY;
        if (s->flags & SETTING_SECRET)
            emit(sink, user, "  (not a flag)\n      %s.\n", s->help);
        else
            emit(sink, user, "  %s%s\n      %s.\n", flag, s->type == SETTING_BOOL ? "" : " VALUE", s->help);
        emit(sink, user, "      %s; default: %s%s%s%s%s\n", setting_value_hint(s, hint, sizeof hint),
             s->default_text[0] ? s->default_text : "none", only ? "" : "  [", only ? "" : prefix,
             only ? "" : s->name, only ? "" : "]");
    }
    emit(sink, user,
         "  --help, -h\n      This text.\n  --version, -V\n      The version.\n\n"
         "Each setting can also be given as the environment variable in brackets or as a line of\n"
         "the file named by --config. Flags go before environment, environment before file.\n");
}

void settings_print_doc(const struct settings_program *p, settings_sink sink, void *user)
{
    emit(sink, user,
         "## %s\n\n%s\n\n| setting | flag | default | value | meaning |\n| --- | --- | --- | --- | --- |\n",
         p->name, p->summary);
    for (size_t i = 0; i < p->count; i++) {
        const struct setting *s = &p->table[i];
        char flag[NAME_MAX_LEN + 3], hint[128];
        flag_of(s, flag);
        const bool only = s->flags & SETTING_FLAG_ONLY;
        const bool secret = s->flags & SETTING_SECRET;
        emit(sink, user, "| %s%s | %s%s%s | %s%s%s | %s | %s |\n", only ? "" : prefix, only ? "" : s->name,
             secret ? "" : "`", secret ? "none" : flag, secret ? "" : "`", s->default_text[0] ? "`" : "",
             s->default_text, s->default_text[0] ? "`" : "", setting_value_hint(s, hint, sizeof hint),
             s->help);
    }
}
