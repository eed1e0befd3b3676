/* The mediator's store in a SQLite file. Blocking; one thread.
 *
 * A transaction is on the disk when apply returns 0 (WAL, synchronous=FULL). An I/O error ends the store for
 * good: what the file holds is then known only to a new open, so the daemon ends and is started again. A full
 * disk or a locked file is no such error; the next apply may succeed. */
#ifndef PS_MEDIATOR_STORE_SQLITE_H
#define PS_MEDIATOR_STORE_SQLITE_H

#include "mediator/mediator_store.h"

enum {
    MEDIATOR_STORE_VERSION = 1
};

/* Makes the file, with a store id of its own, if there is none. Errors, with a detail that names the file:
 * PS_EDAMAGED, PS_EVERSION (made by a newer version), PS_EPERM, PS_EFULL, PS_EIO, PS_ENOMEM. */
int mediator_store_sqlite_open(const char *path, struct mediator_store **out, struct ps_error *err);
void mediator_store_sqlite_close(struct mediator_store *store);

/* An I/O error ended it. */
bool mediator_store_sqlite_failed(const struct mediator_store *store);

#endif
