#include "node/host/catalog_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/statements_sqlite.h"

/* "PSct": says whose file this is. */
enum {
    APPLICATION_ID = 0x50536374,
    PRUNE_EVERY = 1000
};

/* Version 2 added it; some of version 1 have it all the same. */
#define TOKENS_TABLE                                                                                         \
    "CREATE TABLE IF NOT EXISTS tokens(name TEXT PRIMARY KEY, role INTEGER NOT NULL, "                       \
    "created_unix_ns INTEGER NOT NULL, hash BLOB NOT NULL) WITHOUT ROWID;"

/* Version 3 added it. */
#define POD_IDS_TABLE                                                                                        \
    "CREATE TABLE IF NOT EXISTS pod_ids(name TEXT PRIMARY KEY, id BLOB NOT NULL) WITHOUT ROWID;"

/* Names compare byte by byte (BINARY), as pod_image_after orders them. */
static const char schema[] =
    "CREATE TABLE images(pod TEXT NOT NULL, id INTEGER NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL,"
    " size_bytes INTEGER NOT NULL, created_unix_ns INTEGER NOT NULL, volume_id INTEGER NOT NULL,"
    " origin_id INTEGER NOT NULL, write_cache INTEGER NOT NULL, PRIMARY KEY(pod, id)) WITHOUT ROWID;"
    "CREATE INDEX images_by_name ON images(pod, name);"
    "CREATE VIEW volumes AS SELECT pod, id, name, size_bytes, created_unix_ns, origin_id, write_cache"
    " FROM images WHERE kind = 0;"
    "CREATE VIEW snapshots AS SELECT pod, id, name, size_bytes, created_unix_ns, volume_id FROM images WHERE "
    "kind = 1;"
    "CREATE TABLE pods(name TEXT PRIMARY KEY, complete_log_seq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE nodes(name TEXT PRIMARY KEY, version TEXT NOT NULL, started_unix_ns INTEGER NOT NULL) "
    "WITHOUT ROWID;"
    "CREATE TABLE devices(node TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, size_bytes INTEGER NOT "
    "NULL,"
    " PRIMARY KEY(node, name)) WITHOUT ROWID;"
    "CREATE TABLE settings(node TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, source TEXT NOT NULL,"
    " PRIMARY KEY(node, name)) WITHOUT ROWID;"
    "CREATE TABLE events(seq INTEGER PRIMARY KEY AUTOINCREMENT, time_unix_ns INTEGER NOT NULL, pod TEXT NOT "
    "NULL,"
    " kind TEXT NOT NULL, image_id INTEGER NOT NULL, text TEXT NOT NULL);" TOKENS_TABLE POD_IDS_TABLE;

/* What a catalog of each earlier version lacks. */
static const char *const upgrades[CATALOG_VERSION] = {
    [0] = schema, [1] = TOKENS_TABLE POD_IDS_TABLE, [2] = POD_IDS_TABLE};

enum statement {
    BEGIN,
    COMMIT,
    ROLLBACK,
    IMAGE_PUT,
    IMAGE_DROP,
    IMAGES_BETWEEN,
    IMAGE_AFTER,
    IMAGE_BY_ID,
    STAMP_SET,
    STAMP_GET,
    POD_ID_SET,
    POD_ID_GET,
    EVENT_ADD,
    EVENT_PRUNE,
    EVENTS_AFTER,
    EVENT_LAST,
    NODE_PUT,
    DEVICE_PUT,
    SETTINGS_CLEAR,
    SETTING_PUT,
    TOKEN_PUT,
    TOKEN_DROP,
    TOKENS_ALL,
    STATEMENTS,
};

static const char *const statement_sql[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [IMAGE_PUT] = "INSERT OR REPLACE INTO images(pod, id, kind, name, size_bytes, created_unix_ns, "
                  "volume_id, origin_id,"
                  " write_cache) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [IMAGE_DROP] = "DELETE FROM images WHERE pod = ?1 AND id = ?2",
    [IMAGES_BETWEEN] = "SELECT id FROM images WHERE pod = ?1 AND name > ?2 AND (?3 IS NULL OR name <= ?3)",
    [IMAGE_AFTER] =
        "SELECT id, kind, name, size_bytes, created_unix_ns, volume_id, origin_id, write_cache FROM images"
        " WHERE pod = ?1 AND name > ?2 ORDER BY name LIMIT 1",
    [IMAGE_BY_ID] =
        "SELECT id, kind, name, size_bytes, created_unix_ns, volume_id, origin_id, write_cache FROM images"
        " WHERE pod = ?1 AND id = ?2",
    [STAMP_SET] = "INSERT OR REPLACE INTO pods(name, complete_log_seq) VALUES(?1, ?2)",
    [STAMP_GET] = "SELECT complete_log_seq FROM pods WHERE name = ?1",
    [POD_ID_SET] = "INSERT OR REPLACE INTO pod_ids(name, id) VALUES(?1, ?2)",
    [POD_ID_GET] = "SELECT id FROM pod_ids WHERE name = ?1 AND length(id) = 16",
    [EVENT_ADD] = "INSERT INTO events(time_unix_ns, pod, kind, image_id, text) VALUES(?1, ?2, ?3, ?4, ?5)",
    [EVENT_PRUNE] = "DELETE FROM events WHERE seq <= ?1",
    [EVENTS_AFTER] =
        "SELECT seq, time_unix_ns, pod, kind, image_id, text FROM events WHERE seq > ?1 ORDER BY seq"
        " LIMIT ?2",
    [EVENT_LAST] = "SELECT seq FROM sqlite_sequence WHERE name = 'events'",
    [NODE_PUT] = "INSERT OR REPLACE INTO nodes(name, version, started_unix_ns) VALUES(?1, ?2, ?3)",
    [DEVICE_PUT] = "INSERT OR REPLACE INTO devices(node, name, kind, size_bytes) VALUES(?1, ?2, ?3, ?4)",
    [SETTINGS_CLEAR] = "DELETE FROM settings WHERE node = ?1",
    [SETTING_PUT] = "INSERT OR REPLACE INTO settings(node, name, value, source) VALUES(?1, ?2, ?3, ?4)",
    [TOKEN_PUT] = "INSERT OR REPLACE INTO tokens(name, role, created_unix_ns, hash) VALUES(?1, ?2, ?3, ?4)",
    [TOKEN_DROP] = "DELETE FROM tokens WHERE name = ?1",
    [TOKENS_ALL] = "SELECT name, role, created_unix_ns, hash FROM tokens ORDER BY name",
};

struct catalog {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
};

/* ---- statements */

static int failed(struct catalog *c, int rc)
{
    log_error("catalog", "catalog can't be used", LOG_S("error", sqlite3_errmsg(c->db)));
    return sqlite_status(rc);
}

static sqlite3_stmt *use(struct catalog *c, enum statement which)
{
    return sqlite_fresh(c->statements[which]);
}

static void column_text(sqlite3_stmt *s, int index, char *out, size_t room)
{
    const unsigned char *text = sqlite3_column_text(s, index);
    (void)snprintf(out, room, "%s", text ? (const char *)text : "");
}

/* Runs a statement that gives no rows. */
static int run(struct catalog *c, sqlite3_stmt *s)
{
    const int rc = sqlite3_step(s);
    (void)sqlite3_reset(s);
    (void)sqlite3_clear_bindings(s);
    return rc == SQLITE_DONE ? 0 : failed(c, rc);
}

/* Ends what BEGIN began: all of it or nothing. */
static int end(struct catalog *c, int rc)
{
    if (rc == 0)
        rc = run(c, use(c, COMMIT));
    if (rc && !sqlite3_get_autocommit(c->db))
        (void)run(c, use(c, ROLLBACK));
    return rc;
}

/* ---- life */

static int say(struct ps_error *err, int status, const char *path, const char *what)
{
    return ps_error_set(err, status,
                        "catalog %.100s %s; pstoraged --rebuild-catalog makes a new one from the pool", path,
                        what);
}

/* Into *version: 0 when the file is empty. */
static int check_version(sqlite3 *db, const char *path, int64_t *version, struct ps_error *err)
{
    struct sqlite_about about;
    const int rc = sqlite_look(db, APPLICATION_ID, CATALOG_VERSION, "PRAGMA quick_check(1)", &about);
    if (sqlite_status(rc) == PS_EDAMAGED)
        return say(err, PS_EDAMAGED, path, "is damaged");
    if (rc != SQLITE_OK)
        return ps_error_set(err, sqlite_status(rc), "catalog %.100s can't be opened: %.60s", path,
                            sqlite3_errmsg(db));
    *version = about.empty ? 0 : about.version;
    if (about.empty)
        return 0;
    if (about.application_id != APPLICATION_ID)
        return say(err, PS_EDAMAGED, path, "is a database of another program");
    if (about.version > CATALOG_VERSION)
        return say(err, PS_EVERSION, path, "was made by a newer version");
    if (!about.sound)
        return say(err, PS_EDAMAGED, path, "is damaged");
    return 0;
}

int catalog_open(const char *path, struct catalog **out, struct ps_error *err)
{
    struct catalog *c = calloc(1, sizeof *c);
    if (!c)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    int rc = sqlite_open_own(path, &c->db);
    int64_t version = 0;
    if (rc != SQLITE_OK) {
        rc = ps_error_set(err, sqlite_status(rc), "catalog %.100s can't be opened: %.60s", path,
                          c->db ? sqlite3_errmsg(c->db) : "out of memory");
    } else {
        rc = check_version(c->db, path, &version, err);
        if (rc == 0) {
            const int made = sqlite_set_up(c->db, version < CATALOG_VERSION ? upgrades[version] : NULL,
                                           APPLICATION_ID, CATALOG_VERSION);
            if (made != SQLITE_OK)
                rc = ps_error_set(err, sqlite_status(made), "catalog %.100s can't be set up: %.60s", path,
                                  sqlite3_errmsg(c->db));
        }
    }
    if (rc == 0 && sqlite_prepare_all(c->db, statement_sql, STATEMENTS, c->statements) != SQLITE_OK)
        rc = say(err, PS_EDAMAGED, path, "lacks a table of ours");
    if (rc) {
        catalog_close(c);
        return rc;
    }
    *out = c;
    return 0;
}

void catalog_close(struct catalog *c)
{
    sqlite_finalize_all(STATEMENTS, c->statements);
    (void)sqlite3_close(c->db);
    free(c);
}

int catalog_set_aside(const char *path, struct ps_error *err)
{
    /* The journal goes first: a database without its journal is an older state of itself, a
     * journal without its database would be applied to the next one. */
    static const char *const parts[] = {"-shm", "-wal", ""};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char from[1200], to[1200];
        (void)snprintf(from, sizeof from, "%.1100s%s", path, parts[i]);
        (void)snprintf(to, sizeof to, "%.1100s.old%s", path, parts[i]);
        if (rename(from, to) == 0)
            continue;
        if (errno != ENOENT)
            return ps_error_set(err, errno == EACCES || errno == EPERM || errno == EROFS ? PS_EPERM : PS_EIO,
                                "catalog %.100s can't be set aside: %s", from, strerror(errno));
        (void)unlink(to);
    }
    return 0;
}

/* ---- images */

static int put_image(struct catalog *c, const char *pod, const struct pod_image_info *info)
{
    sqlite3_stmt *s = use(c, IMAGE_PUT);
    sqlite_bind_text(s, 1, pod);
    sqlite_bind_u64(s, 2, info->id);
    sqlite_bind_u64(s, 3, info->kind == POD_SNAPSHOT);
    sqlite_bind_text(s, 4, info->name);
    sqlite_bind_u64(s, 5, info->size_bytes);
    sqlite_bind_u64(s, 6, info->created_unix_ns);
    sqlite_bind_u64(s, 7, info->volume_id);
    sqlite_bind_u64(s, 8, info->origin_id);
    sqlite_bind_u64(s, 9, info->write_cache);
    return run(c, s);
}

static int drop_image(struct catalog *c, const char *pod, uint64_t id)
{
    sqlite3_stmt *s = use(c, IMAGE_DROP);
    sqlite_bind_text(s, 1, pod);
    sqlite_bind_u64(s, 2, id);
    return run(c, s);
}

int catalog_set_stamp(struct catalog *c, const char *pod, uint64_t log_seq)
{
    sqlite3_stmt *s = use(c, STAMP_SET);
    sqlite_bind_text(s, 1, pod);
    sqlite_bind_u64(s, 2, log_seq);
    return run(c, s);
}

uint64_t catalog_stamp(struct catalog *c, const char *pod)
{
    sqlite3_stmt *s = use(c, STAMP_GET);
    sqlite_bind_text(s, 1, pod);
    const uint64_t seq = sqlite3_step(s) == SQLITE_ROW ? sqlite_column_u64(s, 0) : 0;
    (void)sqlite3_reset(s);
    return seq;
}

int catalog_set_pod_id(struct catalog *c, const char *pod, const uint8_t id[16])
{
    sqlite3_stmt *s = use(c, POD_ID_SET);
    sqlite_bind_text(s, 1, pod);
    (void)sqlite3_bind_blob(s, 2, id, 16, SQLITE_TRANSIENT);
    return run(c, s);
}

int catalog_forget_pod_id(struct catalog *c, const char *pod)
{
    sqlite3_stmt *s = use(c, POD_ID_SET);
    sqlite_bind_text(s, 1, pod);
    (void)sqlite3_bind_zeroblob(s, 2, 0);
    return run(c, s);
}

bool catalog_pod_id(struct catalog *c, const char *pod, uint8_t id[16])
{
    sqlite3_stmt *s = use(c, POD_ID_GET);
    sqlite_bind_text(s, 1, pod);
    const bool known = sqlite3_step(s) == SQLITE_ROW;
    if (known)
        memcpy(id, sqlite3_column_blob(s, 0), 16);
    (void)sqlite3_reset(s);
    return known;
}

int catalog_put_image(struct catalog *c, const char *pod, uint64_t log_seq, uint64_t id,
                      const struct pod_image_info *info)
{
    int rc = run(c, use(c, BEGIN));
    if (rc)
        return rc;
    rc = info ? put_image(c, pod, info) : drop_image(c, pod, id);
    if (rc == 0 && log_seq > 0)
        rc = catalog_set_stamp(c, pod, log_seq);
    return end(c, rc);
}

/* Collects the ids that the catalog has in the range and the pod has not. */
static int find_surplus(struct catalog *c, const char *pod, const char *after, const char *last_name,
                        const struct pod_image_info *infos, size_t count, uint64_t *out, size_t room,
                        size_t *found)
{
    sqlite3_stmt *s = use(c, IMAGES_BETWEEN);
    sqlite_bind_text(s, 1, pod);
    sqlite_bind_text(s, 2, after);
    if (last_name)
        sqlite_bind_text(s, 3, last_name);
    int rc;
    *found = 0;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW && *found < room) {
        const uint64_t id = sqlite_column_u64(s, 0);
        bool known = false;
        for (size_t i = 0; i < count && !known; i++)
            known = infos[i].id == id;
        if (!known)
            out[(*found)++] = id;
    }
    (void)sqlite3_reset(s);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : failed(c, rc);
}

int catalog_match_images(struct catalog *c, const char *pod, const char *after, const char *last_name,
                         const struct pod_image_info *infos, size_t count)
{
    uint64_t surplus[256];
    size_t found;
    int rc = run(c, use(c, BEGIN));
    if (rc)
        return rc;
    do {
        rc = find_surplus(c, pod, after, last_name, infos, count, surplus, sizeof surplus / sizeof surplus[0],
                          &found);
        for (size_t i = 0; rc == 0 && i < found; i++)
            rc = drop_image(c, pod, surplus[i]);
    } while (rc == 0 && found == sizeof surplus / sizeof surplus[0]);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = put_image(c, pod, &infos[i]);
    return end(c, rc);
}

/* Runs a statement that selects one image. */
static int select_image(struct catalog *c, sqlite3_stmt *s, struct pod_image_info *out)
{
    const int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        *out = (struct pod_image_info){.id = sqlite_column_u64(s, 0),
                                       .kind = sqlite_column_u64(s, 1) ? POD_SNAPSHOT : POD_VOLUME,
                                       .size_bytes = sqlite_column_u64(s, 3),
                                       .created_unix_ns = sqlite_column_u64(s, 4),
                                       .volume_id = sqlite_column_u64(s, 5),
                                       .origin_id = sqlite_column_u64(s, 6),
                                       .write_cache = sqlite_column_u64(s, 7)};
        column_text(s, 2, out->name, sizeof out->name);
    }
    (void)sqlite3_reset(s);
    return rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? PS_ENOTFOUND : failed(c, rc);
}

int catalog_image_by_id(struct catalog *c, const char *pod, uint64_t id, struct pod_image_info *out)
{
    sqlite3_stmt *s = use(c, IMAGE_BY_ID);
    sqlite_bind_text(s, 1, pod);
    sqlite_bind_u64(s, 2, id);
    return select_image(c, s, out);
}

int catalog_image_after(struct catalog *c, const char *pod, const char *after, struct pod_image_info *out)
{
    sqlite3_stmt *s = use(c, IMAGE_AFTER);
    sqlite_bind_text(s, 1, pod);
    sqlite_bind_text(s, 2, after);
    return select_image(c, s, out);
}

/* ---- events */

int catalog_add_event(struct catalog *c, struct event *e)
{
    sqlite3_stmt *s = use(c, EVENT_ADD);
    sqlite_bind_u64(s, 1, e->time_unix_ns);
    sqlite_bind_text(s, 2, e->pod);
    sqlite_bind_text(s, 3, e->kind);
    sqlite_bind_u64(s, 4, e->image_id);
    sqlite_bind_text(s, 5, e->text);
    int rc = run(c, s);
    if (rc)
        return rc;
    e->cursor = (uint64_t)sqlite3_last_insert_rowid(c->db);
    if (e->cursor % PRUNE_EVERY != 0 || e->cursor <= CATALOG_EVENTS_KEPT)
        return 0;
    s = use(c, EVENT_PRUNE);
    sqlite_bind_u64(s, 1, e->cursor - CATALOG_EVENTS_KEPT);
    return run(c, s);
}

int catalog_list_events(struct catalog *c, uint64_t after_cursor, struct event *out, size_t max,
                        size_t *count, uint64_t *last_cursor)
{
    sqlite3_stmt *s = use(c, EVENTS_AFTER);
    size_t n = 0;
    int rc = SQLITE_DONE;
    sqlite_bind_u64(s, 1, after_cursor > INT64_MAX ? INT64_MAX : after_cursor);
    sqlite_bind_u64(s, 2, max);
    while (n < max && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct event *e = &out[n++];
        e->cursor = sqlite_column_u64(s, 0);
        e->time_unix_ns = sqlite_column_u64(s, 1);
        e->image_id = sqlite_column_u64(s, 4);
        column_text(s, 2, e->pod, sizeof e->pod);
        column_text(s, 3, e->kind, sizeof e->kind);
        column_text(s, 5, e->text, sizeof e->text);
    }
    (void)sqlite3_reset(s);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        return failed(c, rc);
    s = use(c, EVENT_LAST);
    *last_cursor = sqlite3_step(s) == SQLITE_ROW ? sqlite_column_u64(s, 0) : 0;
    (void)sqlite3_reset(s);
    *count = n;
    return 0;
}

/* ---- the node */

int catalog_put_node(struct catalog *c, const char *name, const char *version, uint64_t started_unix_ns)
{
    sqlite3_stmt *s = use(c, NODE_PUT);
    sqlite_bind_text(s, 1, name);
    sqlite_bind_text(s, 2, version);
    sqlite_bind_u64(s, 3, started_unix_ns);
    return run(c, s);
}

int catalog_put_device(struct catalog *c, const char *node, const char *name, const char *kind,
                       uint64_t size_bytes)
{
    sqlite3_stmt *s = use(c, DEVICE_PUT);
    sqlite_bind_text(s, 1, node);
    sqlite_bind_text(s, 2, name);
    sqlite_bind_text(s, 3, kind);
    sqlite_bind_u64(s, 4, size_bytes);
    return run(c, s);
}

int catalog_put_settings(struct catalog *c, const char *node, const char *(*rows)[3], size_t count)
{
    int rc = run(c, use(c, BEGIN));
    if (rc)
        return rc;
    sqlite3_stmt *s = use(c, SETTINGS_CLEAR);
    sqlite_bind_text(s, 1, node);
    rc = run(c, s);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        s = use(c, SETTING_PUT);
        sqlite_bind_text(s, 1, node);
        for (int column = 0; column < 3; column++)
            sqlite_bind_text(s, 2 + column, rows[i][column]);
        rc = run(c, s);
    }
    return end(c, rc);
}

/* ---- tokens of the REST API */

int catalog_put_token(struct catalog *c, const struct token *token)
{
    sqlite3_stmt *s = use(c, TOKEN_PUT);
    sqlite_bind_text(s, 1, token->name);
    sqlite_bind_u64(s, 2, token->role);
    sqlite_bind_u64(s, 3, token->created_unix_ns);
    (void)sqlite3_bind_blob(s, 4, token->hash, sizeof token->hash, SQLITE_TRANSIENT);
    return run(c, s);
}

int catalog_drop_token(struct catalog *c, const char *name)
{
    sqlite3_stmt *s = use(c, TOKEN_DROP);
    sqlite_bind_text(s, 1, name);
    const int rc = run(c, s);
    return rc == 0 && sqlite3_changes(c->db) == 0 ? PS_ENOTFOUND : rc;
}

int catalog_load_tokens(struct catalog *c, struct tokens *out)
{
    sqlite3_stmt *s = use(c, TOKENS_ALL);
    int rc, put = 0;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW && put == 0) {
        struct token token = {.role = (uint32_t)sqlite_column_u64(s, 1),
                              .created_unix_ns = sqlite_column_u64(s, 2)};
        column_text(s, 0, token.name, sizeof token.name);
        const void *hash = sqlite3_column_blob(s, 3);
        if (sqlite3_column_bytes(s, 3) != sizeof token.hash || token.role < 1 || token.role > TOKEN_ROLES)
            continue; /* made by nobody here: opens nothing */
        memcpy(token.hash, hash, sizeof token.hash);
        put = tokens_put(out, &token, false);
    }
    (void)sqlite3_reset(s);
    return put ? put : rc == SQLITE_DONE ? 0 : failed(c, rc);
}
