#include "node/analytics/history_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/statements_sqlite.h"

enum {
    APPLICATION_ID = 0x50536869, /* "PShi" */
    PRUNE_EVERY = 60,            /* samples */
    TRIMS_MAX = 64
};

static const char schema[] =
    "CREATE TABLE points(tier INTEGER NOT NULL, kind INTEGER NOT NULL, id INTEGER NOT NULL, bucket INTEGER "
    "NOT "
    "NULL, data BLOB NOT NULL, PRIMARY KEY(tier, kind, id, bucket)) WITHOUT ROWID;"
    "CREATE TABLE subjects(kind INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY(kind, id)) WITHOUT ROWID;"
    "CREATE TABLE states(name TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;";

enum statement {
    BEGIN,
    COMMIT,
    ROLLBACK,
    POINT_GET,
    POINT_PUT,
    POINTS,
    SUBJECT_PUT,
    SUBJECTS,
    SUBJECTS_CLEAN,
    CUTOFF,
    PRUNE,
    TRIM_COUNT,
    TRIM_CUTOFF,
    STATE_PUT,
    STATE_GET,
    STATE_DROP,
    STATE_NEXT,
    COUNT,
    BYTES,
    STATEMENTS,
};

static const char *const statement_sql[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [POINT_GET] = "SELECT data FROM points WHERE tier = ?1 AND kind = ?2 AND id = ?3 AND bucket = ?4",
    [POINT_PUT] = "INSERT OR REPLACE INTO points(tier, kind, id, bucket, data) VALUES(?1, ?2, ?3, ?4, ?5)",
    [POINTS] = "SELECT bucket, data FROM points WHERE tier = ?1 AND kind = ?2 AND id = ?3 AND bucket >= ?4"
               " AND bucket < ?5 ORDER BY bucket",
    [SUBJECT_PUT] = "INSERT OR IGNORE INTO subjects(kind, id) VALUES(?1, ?2)",
    [SUBJECTS] = "SELECT kind, id FROM subjects WHERE (kind, id) > (?1, ?2) ORDER BY kind, id LIMIT 1",
    [SUBJECTS_CLEAN] = "DELETE FROM subjects WHERE NOT EXISTS (SELECT 1 FROM points WHERE tier = 2 AND "
                       "points.kind = subjects.kind AND points.id = subjects.id)",
    [CUTOFF] =
        "SELECT bucket FROM points WHERE tier = ?1 AND kind = 0 AND id = 0 ORDER BY bucket DESC LIMIT 1 "
        "OFFSET ?2",
    [PRUNE] = "DELETE FROM points WHERE tier = ?1 AND kind = ?2 AND id = ?3 AND bucket < ?4",
    [TRIM_COUNT] = "SELECT count(*) FROM points WHERE tier = ?1 AND kind = ?2",
    [TRIM_CUTOFF] =
        "SELECT bucket FROM points WHERE tier = ?1 AND kind = ?2 ORDER BY bucket LIMIT 1 OFFSET ?3",
    [STATE_PUT] = "INSERT OR REPLACE INTO states(name, data) VALUES(?1, ?2)",
    [STATE_GET] = "SELECT data FROM states WHERE name = ?1",
    [STATE_DROP] = "DELETE FROM states WHERE name = ?1",
    [STATE_NEXT] =
        "SELECT name FROM states WHERE name > ?1 AND substr(name, 1, length(?2)) = ?2 ORDER BY name "
        "LIMIT 1",
    [COUNT] = "SELECT count(*) FROM points WHERE tier = ?1",
    [BYTES] = "SELECT (p.page_count - f.freelist_count) * s.page_size FROM pragma_page_count p, "
              "pragma_freelist_count f, pragma_page_size s",
};

struct history {
    sqlite3 *db;
    uint64_t max_bytes;
    unsigned samples; /* since the last pruning */
    sqlite3_stmt *statements[STATEMENTS];
};

/* ---- statements */

static int failed(struct history *h, int rc)
{
    log_error("analytics", "history can't be used", LOG_S("error", sqlite3_errmsg(h->db)));
    return sqlite_status(rc);
}

static sqlite3_stmt *use(struct history *h, enum statement which)
{
    return sqlite_fresh(h->statements[which]);
}

static int run(struct history *h, sqlite3_stmt *s)
{
    const int rc = sqlite3_step(s);
    (void)sqlite3_reset(s);
    (void)sqlite3_clear_bindings(s);
    return rc == SQLITE_DONE ? 0 : failed(h, rc);
}

/* The first column of the first row; PS_ENOTFOUND. */
static int number(struct history *h, sqlite3_stmt *s, int64_t *out)
{
    const int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(s, 0);
    (void)sqlite3_reset(s);
    return rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? PS_ENOTFOUND : failed(h, rc);
}

static sqlite3_stmt *use_of(struct history *h, enum statement which, enum rollup_tier tier,
                            struct history_subject subject)
{
    sqlite3_stmt *s = use(h, which);
    (void)sqlite3_bind_int64(s, 1, tier);
    (void)sqlite3_bind_int64(s, 2, subject.kind);
    sqlite_bind_u64(s, 3, subject.id);
    return s;
}

/* ---- points */

static int get_point(struct history *h, enum rollup_tier tier, struct history_subject subject, int64_t bucket,
                     struct rollup_point *out)
{
    sqlite3_stmt *s = use_of(h, POINT_GET, tier, subject);
    (void)sqlite3_bind_int64(s, 4, bucket);
    const int rc = sqlite3_step(s);
    int status = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : failed(h, rc);
    *out = (struct rollup_point){0};
    if (rc == SQLITE_ROW &&
        rollup_decode(out, sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0))) {
        log_warn("analytics", "a point of history is damaged and begun anew", LOG_I("bucket", bucket));
        *out = (struct rollup_point){0};
    }
    (void)sqlite3_reset(s);
    return status;
}

int history_add(struct history *h, struct history_subject subject, int64_t time_s,
                const struct rollup_point *point)
{
    uint8_t data[ROLLUP_BYTES_MAX];
    int rc = 0;
    for (enum rollup_tier tier = 0; rc == 0 && tier < ROLLUP_TIERS; tier++) {
        struct rollup_point sum;
        const int64_t bucket = rollup_bucket(tier, time_s);
        rc = get_point(h, tier, subject, bucket, &sum);
        if (rc)
            return rc;
        rollup_add(&sum, point);
        sqlite3_stmt *s = use_of(h, POINT_PUT, tier, subject);
        (void)sqlite3_bind_int64(s, 4, bucket);
        (void)sqlite3_bind_blob(s, 5, data, (int)rollup_encode(&sum, data), SQLITE_STATIC);
        rc = run(h, s);
    }
    if (rc)
        return rc;
    sqlite3_stmt *s = use(h, SUBJECT_PUT);
    (void)sqlite3_bind_int64(s, 1, subject.kind);
    sqlite_bind_u64(s, 2, subject.id);
    return run(h, s);
}

int history_read(struct history *h, struct history_subject subject, enum rollup_tier tier, int64_t from_s,
                 int64_t to_s, history_row row, void *user)
{
    const int64_t seconds = rollup_tiers[tier].seconds;
    sqlite3_stmt *s = use_of(h, POINTS, tier, subject);
    (void)sqlite3_bind_int64(s, 4, rollup_bucket(tier, from_s + seconds - 1));
    (void)sqlite3_bind_int64(s, 5, rollup_bucket(tier, to_s + seconds - 1));
    int rc;
    bool more = true;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW && more) {
        struct rollup_point point;
        /* A damaged point is a gap. */
        if (rollup_decode(&point, sqlite3_column_blob(s, 1), (size_t)sqlite3_column_bytes(s, 1)) == 0)
            more = row(user, sqlite3_column_int64(s, 0) * seconds, &point);
    }
    (void)sqlite3_reset(s);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : failed(h, rc);
}

/* ---- states */

int history_put_state(struct history *h, const char *name, const void *data, size_t bytes)
{
    sqlite3_stmt *s = use(h, data ? STATE_PUT : STATE_DROP);
    sqlite_bind_text(s, 1, name);
    if (data)
        (void)sqlite3_bind_blob(s, 2, data, (int)bytes, SQLITE_STATIC);
    return run(h, s);
}

int history_get_state(struct history *h, const char *name, void *data, size_t bytes)
{
    sqlite3_stmt *s = use(h, STATE_GET);
    sqlite_bind_text(s, 1, name);
    const int rc = sqlite3_step(s);
    int status = rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? PS_ENOTFOUND : failed(h, rc);
    if (status == 0 && (size_t)sqlite3_column_bytes(s, 0) != bytes)
        status = PS_EDAMAGED;
    if (status == 0)
        memcpy(data, sqlite3_column_blob(s, 0), bytes);
    (void)sqlite3_reset(s);
    return status;
}

int history_next_state(struct history *h, const char *prefix, const char *after, char *out, size_t bytes)
{
    sqlite3_stmt *s = use(h, STATE_NEXT);
    sqlite_bind_text(s, 1, after);
    sqlite_bind_text(s, 2, prefix);
    const int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW)
        (void)snprintf(out, bytes, "%s", (const char *)sqlite3_column_text(s, 0));
    (void)sqlite3_reset(s);
    return rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? PS_ENOTFOUND : failed(h, rc);
}

/* ---- bounds */

static int bytes_used(struct history *h, int64_t *out)
{
    return number(h, use(h, BYTES), out);
}

/* Removes the points of one kind (or of all: HISTORY_KINDS) that lie before the bucket. */
static int remove_before(struct history *h, enum rollup_tier tier, enum history_kind kind, int64_t bucket)
{
    int64_t at_kind = -1, at_id = 0;
    int rc = 0;
    while (rc == 0) {
        sqlite3_stmt *s = use(h, SUBJECTS);
        (void)sqlite3_bind_int64(s, 1, at_kind);
        (void)sqlite3_bind_int64(s, 2, at_id);
        rc = sqlite3_step(s);
        at_kind = sqlite3_column_int64(s, 0);
        at_id = sqlite3_column_int64(s, 1);
        (void)sqlite3_reset(s);
        if (rc == SQLITE_DONE)
            return 0;
        if (rc != SQLITE_ROW)
            return failed(h, rc);
        rc = 0;
        if (kind != HISTORY_KINDS && at_kind != (int64_t)kind)
            continue;
        s = use_of(h, PRUNE, tier, (struct history_subject){(enum history_kind)at_kind, (uint64_t)at_id});
        (void)sqlite3_bind_int64(s, 4, bucket);
        rc = run(h, s);
    }
    return rc;
}

static int prune(struct history *h)
{
    int rc = 0;
    for (enum rollup_tier tier = 0; rc == 0 && tier < ROLLUP_TIERS; tier++) {
        int64_t oldest;
        sqlite3_stmt *s = use(h, CUTOFF);
        (void)sqlite3_bind_int64(s, 1, tier);
        (void)sqlite3_bind_int64(s, 2, rollup_tiers[tier].kept - 1);
        rc = number(h, s, &oldest);
        if (rc == 0)
            rc = remove_before(h, tier, HISTORY_KINDS, oldest);
        else if (rc == PS_ENOTFOUND)
            rc = 0;
    }
    return rc ? rc : run(h, use(h, SUBJECTS_CLEAN));
}

/* Removes the oldest quarter of what is to go first. PS_ENOTFOUND: there is nothing left. */
static int trim(struct history *h)
{
    static const struct {
        enum rollup_tier tier;
        enum history_kind kind;
    } order[] = {
        {ROLLUP_MINUTE, HISTORY_VOLUME}, {ROLLUP_HOUR, HISTORY_VOLUME}, {ROLLUP_MINUTE, HISTORY_DEVICE},
        {ROLLUP_MINUTE, HISTORY_POD},    {ROLLUP_DAY, HISTORY_VOLUME},  {ROLLUP_HOUR, HISTORY_DEVICE},
        {ROLLUP_HOUR, HISTORY_POD},      {ROLLUP_DAY, HISTORY_DEVICE},  {ROLLUP_DAY, HISTORY_POD}};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        int64_t count, cutoff;
        sqlite3_stmt *s = use(h, TRIM_COUNT);
        (void)sqlite3_bind_int64(s, 1, order[i].tier);
        (void)sqlite3_bind_int64(s, 2, order[i].kind);
        int rc = number(h, s, &count);
        if (rc)
            return rc;
        if (count == 0)
            continue;
        s = use(h, TRIM_CUTOFF);
        (void)sqlite3_bind_int64(s, 1, order[i].tier);
        (void)sqlite3_bind_int64(s, 2, order[i].kind);
        (void)sqlite3_bind_int64(s, 3, count / 4);
        rc = number(h, s, &cutoff);
        return rc ? rc : remove_before(h, order[i].tier, order[i].kind, cutoff + 1);
    }
    return PS_ENOTFOUND;
}

static int keep_bounds(struct history *h)
{
    int64_t bytes;
    int rc = bytes_used(h, &bytes);
    for (unsigned i = 0; rc == 0 && (uint64_t)bytes > h->max_bytes && i < TRIMS_MAX; i++) {
        rc = trim(h);
        if (rc == 0)
            rc = bytes_used(h, &bytes);
    }
    return rc == PS_ENOTFOUND ? 0 : rc;
}

/* ---- transactions */

int history_begin(struct history *h)
{
    return run(h, use(h, BEGIN));
}

int history_end(struct history *h, int status)
{
    if (status == 0 && ++h->samples >= PRUNE_EVERY) {
        h->samples = 0;
        status = prune(h);
    }
    if (status == 0)
        status = keep_bounds(h);
    if (status == 0)
        status = run(h, use(h, COMMIT));
    if (status && !sqlite3_get_autocommit(h->db))
        (void)run(h, use(h, ROLLBACK));
    return status;
}

int history_size(struct history *h, struct history_size *out)
{
    int64_t v = 0;
    int rc = bytes_used(h, &v);
    out->bytes = (uint64_t)v;
    for (enum rollup_tier tier = 0; rc == 0 && tier < ROLLUP_TIERS; tier++) {
        sqlite3_stmt *s = use(h, COUNT);
        (void)sqlite3_bind_int64(s, 1, tier);
        rc = number(h, s, &v);
        out->points[tier] = (uint64_t)v;
    }
    return rc;
}

/* ---- life */

static int open_file(struct history *h, const char *path)
{
    struct sqlite_about about;
    int rc = sqlite_open_own(path, &h->db);
    if (rc == SQLITE_OK)
        rc = sqlite_look(h->db, APPLICATION_ID, HISTORY_VERSION, "PRAGMA quick_check(1)", &about);
    if (rc == SQLITE_OK && !about.empty && !about.sound)
        rc = SQLITE_CORRUPT;
    if (rc == SQLITE_OK)
        rc = sqlite_set_up(h->db, about.empty ? schema : NULL, APPLICATION_ID, HISTORY_VERSION);
    return rc == SQLITE_OK ? sqlite_prepare_all(h->db, statement_sql, STATEMENTS, h->statements) : rc;
}

static void close_file(struct history *h)
{
    sqlite_finalize_all(STATEMENTS, h->statements);
    memset(h->statements, 0, sizeof h->statements);
    (void)sqlite3_close(h->db);
    h->db = NULL;
}

/* A journal without its database would be applied to the next one: it goes first. */
static int set_aside(const char *path)
{
    static const char *const parts[] = {"-shm", "-wal", ""};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char from[1200], to[1200];
        (void)snprintf(from, sizeof from, "%.1100s%s", path, parts[i]);
        (void)snprintf(to, sizeof to, "%.1100s.old%s", path, parts[i]);
        if (rename(from, to) == 0)
            continue;
        if (errno != ENOENT)
            return PS_EIO;
        (void)unlink(to);
    }
    return 0;
}

int history_open(const char *path, uint64_t max_bytes, struct history **out, struct ps_error *err)
{
    struct history *h = calloc(1, sizeof *h);
    if (!h)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    h->max_bytes = max_bytes > HISTORY_BYTES_MIN ? max_bytes : HISTORY_BYTES_MIN;
    int rc = open_file(h, path);
    /* SQLITE_ERROR: it lacks a table or column of ours. */
    if (sqlite_status(rc) == PS_EDAMAGED || rc == SQLITE_ERROR) {
        close_file(h);
        log_warn("analytics", "history is damaged or of another version: set aside, begun anew",
                 LOG_S("path", path));
        rc = set_aside(path) ? SQLITE_IOERR : open_file(h, path);
    }
    if (rc != SQLITE_OK) {
        rc = ps_error_set(err, sqlite_status(rc), "history %.100s can't be opened: %.60s", path,
                          h->db ? sqlite3_errmsg(h->db) : "it can't be set aside");
        history_close(h);
        return rc;
    }
    *out = h;
    return 0;
}

void history_close(struct history *h)
{
    close_file(h);
    free(h);
}
