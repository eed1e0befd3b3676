/* What every user of SQLite here does: status codes, files of its own, prepared statements, values. On one
 * thread. */
#ifndef PS_COMMON_STATEMENTS_SQLITE_H
#define PS_COMMON_STATEMENTS_SQLITE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of a result code, extended or not: 0 for success, rows included; PS_EIO for what has no better word. */
int sqlite_status(int rc);

/* Opens or makes the file, readable by its owner alone; a locked one is waited for up to a second. Result
 * code; *out is to be closed whatever it is. */
int sqlite_open_own(const char *path, sqlite3 **out);

struct sqlite_about {
    int64_t application_id, version;
    bool empty; /* it has no tables yet */
    bool
        sound; /* it has tables, is this program's, of this version or an earlier one, and passed the check */
};
/* What a file says of itself. `check`: the pragma that looks at all of it, asked only when the rest is as
 * wanted. Result code. */
int sqlite_look(sqlite3 *db, int application_id, int version, const char *check, struct sqlite_about *out);

/* WAL and synchronous=NORMAL: a power cut may cost the last transactions, and nothing else. `schema`, or what
 * an earlier version lacks, if not NULL, is made in one transaction with id and version: a crash leaves what
 * was there or a whole one. Result code. */
int sqlite_set_up(sqlite3 *db, const char *schema, int application_id, int version);

/* Prepares `count` statements that live as long as the database. Result code. */
int sqlite_prepare_all(sqlite3 *db, const char *const sql[], size_t count, sqlite3_stmt *statements[]);
/* Of those, as many as were prepared. */
void sqlite_finalize_all(size_t count, sqlite3_stmt *statements[]);
/* The statement, ready for values. */
sqlite3_stmt *sqlite_fresh(sqlite3_stmt *statement);

/* Texts stay the caller's until the statement is run again. */
void sqlite_bind_text(sqlite3_stmt *statement, int index, const char *text);
void sqlite_bind_u64(sqlite3_stmt *statement, int index, uint64_t v);
uint64_t sqlite_column_u64(sqlite3_stmt *statement, int index);

#endif
