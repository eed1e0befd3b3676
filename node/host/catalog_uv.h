/* The catalog as the reactor sees it: news go to the management thread as
 * messages, questions come back answered, and no write ever waits for SQLite.
 *
 * Everything here is called on the thread of `loop`, the reactor's. If news
 * can't be taken (the management thread is behind) or written (disk full), images are
 * compared afresh as soon as possible; events are lost, and the log says how many. */
#ifndef PS_NODE_HOST_CATALOG_UV_H
#define PS_NODE_HOST_CATALOG_UV_H

#include <uv.h>

#include "node/host/catalog_sqlite.h"
#include "node/host/token_change.h"

struct catalog_service;
struct loop_thread;

/* Takes `catalog`, which is used on the management thread from now on, also
 * after an error (then it is closed). PS_ENOMEM, PS_ELIMIT. */
int catalog_service_start(uv_loop_t *loop, struct catalog *catalog, const char *pod_name,
                          struct catalog_service **out);

/* The functions of struct pod_config; `user` is the service. */
void catalog_service_pod_event(void *user, const char *kind, uint64_t image_id, const char *text);
void catalog_service_image_changed(void *user, uint64_t log_seq, uint64_t image_id,
                                   const struct pod_image_info *info);
/* Something that happened to the node itself. */
void catalog_service_node_event(struct catalog_service *service, const char *kind, const char *text);

/* The thread that SQLite is used on, for others that use it, until the service is stopped. */
struct loop_thread *catalog_service_management(struct catalog_service *service);

/* Compares the catalog with the pod and brings it up to date, a piece at a time; `done` (may be NULL)
 * when it is, or with the error that stopped it (it is tried again later). The pod
 * stays until catalog_service_detach. */
void catalog_service_attach(struct catalog_service *service, struct pod *pod,
                            void (*done)(void *user, int status), void *user);
void catalog_service_detach(struct catalog_service *service);

/* The events, for who asks and who follows: answered from the management
 * thread, in the order of the questions. Valid until the service is stopped. */
struct event_source *catalog_service_events(struct catalog_service *service);

/* Keeps the change for good: token_change.h. */
int catalog_service_token(struct catalog_service *service, struct token_change *change);

/* Detached. What was told before is written, questions are answered, new ones are refused
 * (PS_EUNAVAILABLE); then the catalog is closed
 * and `stopped` runs, from the loop. */
void catalog_service_stop(struct catalog_service *service, void (*stopped)(void *user), void *user);

#endif
