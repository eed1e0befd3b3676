#include "common/statements_sqlite.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/status.h"

int sqlite_status(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return 0;
    case SQLITE_FULL:
        return PS_EFULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
        return PS_EDAMAGED;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        return PS_EPERM;
    case SQLITE_NOMEM:
        return PS_ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return PS_EPRECONDITION;
    default:
        return PS_EIO;
    }
}

int sqlite_open_own(const char *path, sqlite3 **out)
{
    const int rc =
        sqlite3_open_v2(path, out, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return rc;
    (void)chmod(path, 0600);
    (void)sqlite3_busy_timeout(*out, 1000);
    return SQLITE_OK;
}

/* The first row of a statement without values; every one that is asked here has a row. */
static int first_row(sqlite3 *db, const char *sql, sqlite3_stmt **out)
{
    int rc = sqlite3_prepare_v2(db, sql, -1, out, NULL);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(*out);
    return rc == SQLITE_ROW ? SQLITE_OK : rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
}

static int number(sqlite3 *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *s;
    const int rc = first_row(db, sql, &s);
    if (rc == SQLITE_OK)
        *out = sqlite3_column_int64(s, 0);
    (void)sqlite3_finalize(s);
    return rc;
}

int sqlite_look(sqlite3 *db, int application_id, int version, const char *check, struct sqlite_about *out)
{
    int64_t tables = 0;
    sqlite3_stmt *s;
    *out = (struct sqlite_about){0};
    int rc = number(db, "PRAGMA application_id", &out->application_id);
    if (rc == SQLITE_OK)
        rc = number(db, "PRAGMA user_version", &out->version);
    if (rc == SQLITE_OK)
        rc = number(db, "SELECT count(*) FROM sqlite_schema", &tables);
    out->empty = rc == SQLITE_OK && tables == 0;
    if (rc != SQLITE_OK || out->empty || out->application_id != application_id || out->version < 1 ||
        out->version > version)
        return rc;
    rc = first_row(db, check, &s);
    out->sound = rc == SQLITE_OK && strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0;
    (void)sqlite3_finalize(s);
    return rc;
}

int sqlite_set_up(sqlite3 *db, const char *schema, int application_id, int version)
{
    char last[128];
    int rc = sqlite3_exec(
        db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=4194304", NULL,
        NULL, NULL);
    if (rc != SQLITE_OK || !schema)
        return rc;
    (void)snprintf(last, sizeof last, "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
                   application_id, version);
    rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, schema, NULL, NULL, NULL);
    return rc == SQLITE_OK ? sqlite3_exec(db, last, NULL, NULL, NULL) : rc;
}

int sqlite_prepare_all(sqlite3 *db, const char *const sql[], size_t count, sqlite3_stmt *statements[])
{
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < count; i++)
        rc = sqlite3_prepare_v3(db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &statements[i], NULL);
    return rc;
}

void sqlite_finalize_all(size_t count, sqlite3_stmt *statements[])
{
    for (size_t i = 0; i < count; i++)
        (void)sqlite3_finalize(statements[i]);
}

sqlite3_stmt *sqlite_fresh(sqlite3_stmt *statement)
{
    (void)sqlite3_reset(statement);
    (void)sqlite3_clear_bindings(statement);
    return statement;
}

void sqlite_bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    (void)sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
}

void sqlite_bind_u64(sqlite3_stmt *statement, int index, uint64_t v)
{
    (void)sqlite3_bind_int64(statement, index, (sqlite3_int64)v);
}

uint64_t sqlite_column_u64(sqlite3_stmt *statement, int index)
{
    return (uint64_t)sqlite3_column_int64(statement, index);
}
