/* A node that does as it is told, for tests of libpstorage: the real RPC
 * server on a thread of its own, one volume "vol" of 4 MiB in memory, and a
 * script for what happens to the next call of a method. What it holds outlives
 * a stop and start, as a node's volumes outlive its process. */
#ifndef PS_TESTS_CLIENT_FAKE_NODE_H
#define PS_TESTS_CLIENT_FAKE_NODE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    FAKE_VOLUME_BYTES = 4 << 20,
    FAKE_IO_BYTES = 256 << 10
};

enum fake_act {
    FAKE_NORMAL,
    FAKE_HOLD,  /* carried out, never answered */
    FAKE_FAIL,  /* answered with the status and "as told" */
    FAKE_SHORT, /* Read: answered with half of the data; Extents: with more than the range */
};

struct fake_node;

struct fake_node *fake_node_create(void);
/* Listens at ipc://PATH. */
void fake_node_start(struct fake_node *node, const char *endpoint);
/* From the next start on: its cluster key; NULL: none. */
void fake_node_set_key(struct fake_node *node, const char *key);
/* Ends every connection; what is held is never answered. */
void fake_node_stop(struct fake_node *node);
/* Stopped. */
void fake_node_destroy(struct fake_node *node);

/* What the next call of the method ("Write") meets. */
void fake_node_next(struct fake_node *node, const char *method, enum fake_act act, int status);
/* Calls of the method so far; and wait until there were that many. */
unsigned fake_node_calls(struct fake_node *node, const char *method);
void fake_node_await(struct fake_node *node, const char *method, unsigned count);

/* Changes what the node holds. Also while it runs. */
void fake_node_set_volume(struct fake_node *node, uint64_t id, bool write_cache);
void fake_node_set_listed(struct fake_node *node, unsigned volumes, unsigned page_max);
void fake_node_add_event(struct fake_node *node, const char *kind);
/* Operation ids that Create was given and had not seen before. */
unsigned fake_node_created(struct fake_node *node);
unsigned char *fake_node_data(struct fake_node *node);

#endif
