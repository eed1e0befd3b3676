#include "mediator/mediator_store_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/container.h"
#include "common/statements_sqlite.h"

/* "PSme": says whose file this is. */
enum {
    APPLICATION_ID = 0x50536d65
};

/* Names compare byte by byte (BINARY), as the core orders them. `name` repeats what is in `configuration`,
 * for the constraint and for people who look. */
static const char schema[] =
    "CREATE TABLE store(id BLOB NOT NULL);"
    "CREATE TABLE pods(pod BLOB PRIMARY KEY, cluster TEXT NOT NULL, name TEXT NOT NULL,"
    " epoch INTEGER NOT NULL, configuration BLOB NOT NULL, request_id BLOB NOT NULL,"
    " reported_epoch INTEGER NOT NULL, decisions INTEGER NOT NULL, UNIQUE(cluster, name)) WITHOUT ROWID;"
    "CREATE TABLE decisions(pod BLOB NOT NULL, number INTEGER NOT NULL, time_unix_ns INTEGER NOT NULL,"
    " expected_epoch INTEGER NOT NULL, epoch INTEGER NOT NULL, requester BLOB NOT NULL,"
    " request_id BLOB NOT NULL, verdict INTEGER NOT NULL, text TEXT NOT NULL,"
    " PRIMARY KEY(pod, number)) WITHOUT ROWID;";

enum statement {
    BEGIN,
    COMMIT,
    ROLLBACK,
    POD_PUT,
    POD_DROP,
    PODS,
    DECISION_PUT,
    DECISIONS_PRUNE,
    DECISIONS_AFTER,
    STATEMENTS,
};

static const char *const statement_sql[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    /* Not INSERT OR REPLACE: that would drop another pod of the same name without a word. */
    [POD_PUT] =
        "INSERT INTO pods(pod, cluster, name, epoch, configuration, request_id, reported_epoch, decisions)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT(pod) DO UPDATE SET name = ?3, epoch = ?4,"
        " configuration = ?5, request_id = ?6, reported_epoch = ?7, decisions = ?8",
    [POD_DROP] = "DELETE FROM pods WHERE pod = ?1",
    [PODS] =
        "SELECT pod, cluster, name, epoch, configuration, request_id, reported_epoch, decisions FROM pods",
    [DECISION_PUT] =
        "INSERT OR REPLACE INTO decisions(pod, number, time_unix_ns, expected_epoch, epoch, requester,"
        " request_id, verdict, text) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [DECISIONS_PRUNE] = "DELETE FROM decisions WHERE pod = ?1 AND number <= ?2",
    [DECISIONS_AFTER] =
        "SELECT number, time_unix_ns, expected_epoch, epoch, requester, request_id, verdict, text"
        " FROM decisions WHERE pod = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
};

struct file_store {
    struct mediator_store store;
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
    bool failed;
    char path[1100];
};

static struct file_store *file_of(const struct mediator_store *store)
{
    return container_of(store, struct file_store, store);
}

/* ---- statements */

static int failed(struct file_store *f, int rc, struct ps_error *err)
{
    const int status = sqlite_status(rc);
    /* After a failed write or sync nobody knows what is on the disk; a later sync may even succeed over pages
     * that were lost. Only an open that reads the file again does. */
    f->failed = f->failed || status == PS_EIO || status == PS_EDAMAGED;
    return ps_error_set(err, status, "%.100s: %.100s", f->path, sqlite3_errmsg(f->db));
}

static sqlite3_stmt *use(struct file_store *f, enum statement which)
{
    return sqlite_fresh(f->statements[which]);
}

static void bind_uuid(sqlite3_stmt *s, int index, const struct uuid *id)
{
    (void)sqlite3_bind_blob(s, index, id->bytes, sizeof id->bytes, SQLITE_STATIC);
}

/* False: too long, or none. */
static bool column_text(sqlite3_stmt *s, int index, char *out, size_t room)
{
    const unsigned char *text = sqlite3_column_text(s, index);
    return text && snprintf(out, room, "%s", (const char *)text) < (int)room;
}

static bool column_uuid(sqlite3_stmt *s, int index, struct uuid *out)
{
    const void *blob = sqlite3_column_blob(s, index);
    if (!blob || sqlite3_column_bytes(s, index) != sizeof out->bytes)
        return false;
    memcpy(out->bytes, blob, sizeof out->bytes);
    return true;
}

/* Runs a statement that gives no rows. */
static int run(struct file_store *f, sqlite3_stmt *s, struct ps_error *err)
{
    const int rc = sqlite3_step(s);
    const int status = rc == SQLITE_DONE ? 0 : failed(f, rc, err);
    (void)sqlite3_reset(s);
    (void)sqlite3_clear_bindings(s);
    return status;
}

/* ---- the store's operations */

static int damaged(struct ps_error *err, const char *path, const char *what)
{
    return ps_error_set(err, PS_EDAMAGED,
                        "the mediator's records %.90s %s; with the file set aside a new mediator starts,"
                        " which the nodes adopt",
                        path, what);
}

static int read_pod(struct file_store *f, sqlite3_stmt *s, struct mediator_pod *out, struct ps_error *err)
{
    struct uuid id;
    char name[CONFIGURATION_NAME_MAX + 1];
    *out = (struct mediator_pod){.reported_epoch = sqlite_column_u64(s, 6),
                                 .decisions = sqlite_column_u64(s, 7)};
    const void *form = sqlite3_column_blob(s, 4);
    const int bytes = sqlite3_column_bytes(s, 4);
    const int rc = configuration_decode(form, form ? (size_t)bytes : 0, &out->configuration, err);
    if (rc == PS_EVERSION)
        return rc;
    if (rc || !column_uuid(s, 0, &id) || !column_text(s, 1, out->cluster, sizeof out->cluster) ||
        !column_text(s, 2, name, sizeof name) || !column_uuid(s, 5, &out->request_id) ||
        !uuid_equal(&id, &out->configuration.pod) || strcmp(name, out->configuration.pod_name) != 0 ||
        sqlite_column_u64(s, 3) != out->configuration.epoch)
        return damaged(err, f->path, "hold a damaged configuration");
    return 0;
}

static int load(struct mediator_store *store, int (*pod)(void *user, const struct mediator_pod *pod),
                void *user, struct ps_error *err)
{
    struct file_store *f = file_of(store);
    sqlite3_stmt *s = use(f, PODS);
    struct mediator_pod record;
    int rc, status = 0;
    while (status == 0 && (rc = sqlite3_step(s)) != SQLITE_DONE) {
        if (rc != SQLITE_ROW) {
            status = failed(f, rc, err);
        } else {
            status = read_pod(f, s, &record, err);
            if (status == 0)
                status = pod(user, &record);
        }
    }
    (void)sqlite3_reset(s);
    return status;
}

static int put_pod(struct file_store *f, const struct mediator_pod *pod, struct ps_error *err)
{
    uint8_t form[CONFIGURATION_BYTES_MAX];
    const size_t bytes = configuration_encode(&pod->configuration, form);
    sqlite3_stmt *s = use(f, POD_PUT);
    bind_uuid(s, 1, &pod->configuration.pod);
    sqlite_bind_text(s, 2, pod->cluster);
    sqlite_bind_text(s, 3, pod->configuration.pod_name);
    sqlite_bind_u64(s, 4, pod->configuration.epoch);
    (void)sqlite3_bind_blob(s, 5, form, (int)bytes, SQLITE_STATIC);
    bind_uuid(s, 6, &pod->request_id);
    sqlite_bind_u64(s, 7, pod->reported_epoch);
    sqlite_bind_u64(s, 8, pod->decisions);
    return run(f, s, err);
}

static int prune(struct file_store *f, const struct uuid *pod, uint64_t up_to, struct ps_error *err)
{
    sqlite3_stmt *s = use(f, DECISIONS_PRUNE);
    bind_uuid(s, 1, pod);
    sqlite_bind_u64(s, 2, up_to);
    return run(f, s, err);
}

static int put_decision(struct file_store *f, const struct uuid *pod, const struct mediator_decision *d,
                        struct ps_error *err)
{
    sqlite3_stmt *s = use(f, DECISION_PUT);
    bind_uuid(s, 1, pod);
    sqlite_bind_u64(s, 2, d->number);
    sqlite_bind_u64(s, 3, d->time_unix_ns);
    sqlite_bind_u64(s, 4, d->expected_epoch);
    sqlite_bind_u64(s, 5, d->epoch);
    bind_uuid(s, 6, &d->requester);
    bind_uuid(s, 7, &d->request_id);
    sqlite_bind_u64(s, 8, d->verdict);
    sqlite_bind_text(s, 9, d->text);
    const int rc = run(f, s, err);
    return rc == 0 && d->number > MEDIATOR_HISTORY_MAX ? prune(f, pod, d->number - MEDIATOR_HISTORY_MAX, err)
                                                       : rc;
}

static int drop_pod(struct file_store *f, const struct uuid *pod, struct ps_error *err)
{
    sqlite3_stmt *s = use(f, POD_DROP);
    bind_uuid(s, 1, pod);
    const int rc = run(f, s, err);
    return rc ? rc : prune(f, pod, INT64_MAX, err);
}

static int apply(struct mediator_store *store, const struct mediator_update *updates, size_t count,
                 struct ps_error *err)
{
    struct file_store *f = file_of(store);
    if (f->failed)
        return ps_error_set(err, PS_EIO, "%.100s can't be used after an I/O error", f->path);
    int rc = run(f, use(f, BEGIN), err);
    if (rc)
        return rc;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const struct mediator_update *u = &updates[i];
        const struct uuid *pod = &u->pod->configuration.pod;
        rc = u->forget ? drop_pod(f, pod, err) : put_pod(f, u->pod, err);
        if (rc == 0 && !u->forget && u->decision)
            rc = put_decision(f, pod, u->decision, err);
    }
    if (rc == 0)
        rc = run(f, use(f, COMMIT), err);
    if (rc && !sqlite3_get_autocommit(f->db))
        (void)run(f, use(f, ROLLBACK), NULL);
    return rc;
}

static int history(struct mediator_store *store, const struct uuid *pod, uint64_t after,
                   struct mediator_decision *out, size_t max, size_t *count, struct ps_error *err)
{
    struct file_store *f = file_of(store);
    sqlite3_stmt *s = use(f, DECISIONS_AFTER);
    size_t n = 0;
    int rc, status = 0;
    bind_uuid(s, 1, pod);
    sqlite_bind_u64(s, 2, after < INT64_MAX ? after : INT64_MAX);
    sqlite_bind_u64(s, 3, max);
    while (status == 0 && n < max && (rc = sqlite3_step(s)) != SQLITE_DONE) {
        struct mediator_decision *d = &out[n++];
        if (rc != SQLITE_ROW) {
            status = failed(f, rc, err);
            continue;
        }
        *d = (struct mediator_decision){.number = sqlite_column_u64(s, 0),
                                        .time_unix_ns = sqlite_column_u64(s, 1),
                                        .expected_epoch = sqlite_column_u64(s, 2),
                                        .epoch = sqlite_column_u64(s, 3)};
        const uint64_t verdict = sqlite_column_u64(s, 6);
        if (!column_uuid(s, 4, &d->requester) || !column_uuid(s, 5, &d->request_id) ||
            verdict < MEDIATOR_GRANTED || verdict > MEDIATOR_HELD_BACK ||
            !column_text(s, 7, d->text, sizeof d->text))
            status = damaged(err, f->path, "hold a damaged decision");
        else
            d->verdict = (enum mediator_verdict)verdict;
    }
    (void)sqlite3_reset(s);
    if (status == 0)
        *count = n;
    return status;
}

/* ---- life */

static int read_id(sqlite3 *db, struct uuid *out)
{
    sqlite3_stmt *s;
    int rc = sqlite3_prepare_v2(db, "SELECT id FROM store", -1, &s, NULL);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(s);
    if (rc == SQLITE_DONE || (rc == SQLITE_ROW && !column_uuid(s, 0, out)))
        rc = SQLITE_CORRUPT;
    (void)sqlite3_finalize(s);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int cannot(struct ps_error *err, struct file_store *f, int rc, const char *what)
{
    if (sqlite_status(rc) == PS_EDAMAGED)
        return damaged(err, f->path, "are damaged");
    return ps_error_set(err, sqlite_status(rc), "the mediator's records %.100s can't be %s: %.60s", f->path,
                        what, sqlite3_errmsg(f->db));
}

static int check_version(struct file_store *f, bool *fresh, struct ps_error *err)
{
    struct sqlite_about about;
    const int rc =
        sqlite_look(f->db, APPLICATION_ID, MEDIATOR_STORE_VERSION, "PRAGMA integrity_check(1)", &about);
    if (rc != SQLITE_OK)
        return cannot(err, f, rc, "opened");
    *fresh = about.empty;
    if (*fresh)
        return 0;
    if (about.application_id != APPLICATION_ID)
        return damaged(err, f->path, "are a database of another program");
    if (about.version > MEDIATOR_STORE_VERSION)
        return ps_error_set(
            err, PS_EVERSION,
            "the mediator's records %.100s were made by a newer version (%lld, this one knows %d)", f->path,
            (long long)about.version, MEDIATOR_STORE_VERSION);
    return !about.sound ? damaged(err, f->path, "are damaged") : 0;
}

/* One transaction: a crash leaves an empty file or a whole store with its id. */
static int make(struct file_store *f)
{
    char last[192];
    struct uuid id;
    char hex[2 * sizeof id.bytes + 1];
    if (getrandom(id.bytes, sizeof id.bytes, 0) != (ssize_t)sizeof id.bytes)
        return SQLITE_IOERR;
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x40); /* RFC 9562, version 4 */
    id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < sizeof id.bytes; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", id.bytes[i]);
    (void)snprintf(
        last, sizeof last,
        "INSERT INTO store(id) VALUES(x'%s'); PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT", hex,
        APPLICATION_ID, MEDIATOR_STORE_VERSION);
    int rc = sqlite3_exec(f->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(f->db, schema, NULL, NULL, NULL);
    return rc == SQLITE_OK ? sqlite3_exec(f->db, last, NULL, NULL, NULL) : rc;
}

static int set_up(struct file_store *f, bool fresh)
{
    int rc = sqlite3_exec(
        f->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=1048576", NULL,
        NULL, NULL);
    if (rc == SQLITE_OK && fresh)
        rc = make(f);
    /* A process that was killed between write and sync left changes that are read now and need not be on the
     * disk yet. Nobody may be told of them before they are: a checkpoint syncs both files. */
    if (rc == SQLITE_OK)
        rc = sqlite3_wal_checkpoint_v2(f->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = read_id(f->db, &f->store.id);
    return rc;
}

static int open_file(struct file_store *f, struct ps_error *err)
{
    bool fresh = false;
    int rc = sqlite_open_own(f->path, &f->db);
    if (rc != SQLITE_OK)
        return cannot(err, f, rc, "opened");
    const int status = check_version(f, &fresh, err);
    if (status)
        return status;
    rc = set_up(f, fresh);
    if (rc != SQLITE_OK)
        return cannot(err, f, rc, "set up");
    rc = sqlite_prepare_all(f->db, statement_sql, STATEMENTS, f->statements);
    return rc == SQLITE_OK ? 0 : damaged(err, f->path, "lack a table");
}

int mediator_store_sqlite_open(const char *path, struct mediator_store **out, struct ps_error *err)
{
    static const struct mediator_store_ops ops = {.load = load, .apply = apply, .history = history};
    struct file_store *f = calloc(1, sizeof *f);
    if (!f)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    f->store.ops = &ops;
    int rc = snprintf(f->path, sizeof f->path, "%s", path) < (int)sizeof f->path
                 ? open_file(f, err)
                 : ps_error_set(err, PS_EINVAL, "the path of the mediator's records is too long");
    if (rc) {
        mediator_store_sqlite_close(&f->store);
        return rc;
    }
    *out = &f->store;
    return 0;
}

void mediator_store_sqlite_close(struct mediator_store *store)
{
    struct file_store *f = file_of(store);
    sqlite_finalize_all(STATEMENTS, f->statements);
    (void)sqlite3_close(f->db);
    free(f);
}

bool mediator_store_sqlite_failed(const struct mediator_store *store)
{
    return file_of(store)->failed;
}
