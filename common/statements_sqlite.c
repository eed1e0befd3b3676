#include "common/statements_sqlite.h"

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
