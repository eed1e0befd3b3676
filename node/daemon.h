/* What the steps of the daemon's start share. Only main.c and start_*.c see
 * this: each part below knows nothing of the others.
 *
 * A step starts one thing and stops it again; main.c runs them in order and, at
 * the end or after a failure, stops in reverse what had been started. A step may wait
 * for the loop with node_wait. */
#ifndef PS_NODE_DAEMON_H
#define PS_NODE_DAEMON_H

#include <stdbool.h>
#include <uv.h>

#include "common/blkdev_spec.h"
#include "common/data_dir.h"
#include "common/rpc/keys.h"
#include "common/settings_table.h"
#include "common/status.h"
#include "node/host/primary_gate.h"

struct node {
    struct settings settings;
    struct pstoraged_settings as; /* typed; points into settings */
    const char *notify_socket;
    uint64_t started_unix_ns;
    struct rpc_keys keys; /* for every server and client of RPC here */

    uv_loop_t loop; /* the reactor's: main thread */
    uv_signal_t signals[3];
    bool stopping; /* a signal asked for it */
    bool damaged;  /* --check found something */

    struct data_dir data_dir;
    char catalog_path[1100];
    struct catalog *catalog; /* until the service takes it */
    struct catalog_service *catalog_service;
    bool knows_images; /* the catalog had some at the start */
    bool knows_pod;
    uint8_t pod_id[16]; /* of the pod that they were in */
    struct image_uses *uses; /* counted by the pod */
    struct analytics_service *analytics;
    struct flash_devices *devices;
    struct blkdev *flash;    /* the one that they make */
    struct node_news *early; /* events from before there was who keeps them */
    struct drives *drives;   /* of this machine, in the pool or not */
    struct drives_watch *drives_watch;
    struct reactor *reactor;
    struct pod *pod;
    struct cluster *cluster; /* NULL: the node stands alone, as is the member's pod then */
    struct member_pod *member;
    struct heartbeat_uv *heartbeat; /* NULL: no thread for heartbeats */
    struct primary_gate gate;
    struct host_images *images; /* in a cluster */
    struct rpc_transport *transport;
    struct rpc_server *rpc;
    struct services *services;
    struct pods_service *pods;
    struct devices_service *devices_service;
    struct flash_service *flash_service;
    struct tokens *tokens; /* of the REST API */
    struct tokens_service *tokens_service;
    struct nbd_server *nbd;
    struct rest_server *rest;
};

struct step {
    const char *name;
    int (*start)(struct node *node, struct ps_error *err);
    void (*stop)(struct node *node); /* may be NULL */
};

/* The default pod; a node has one in this version. */
extern const char node_pod_name[];

/* Something that a step waits for while the loop runs. */
struct awaited {
    struct node *node;
    bool done;
    int status;
};
void node_wait(struct awaited *awaited);
/* Whoever ends the wait calls this: from a prepare callback too, after which the loop would sleep. */
void node_arrived(struct awaited *awaited, int status);
/* The same as a callback; `user` is the struct awaited. */
void node_arrived_cb(void *user);

/* Fails with the setting that a person would change, and the reason. */
int node_setting_error(struct node *node, size_t setting, int status, struct ps_error *err,
                       const char *reason);

/* start_flash.c: the catalog's file, devices, and the pod on them. */
int start_catalog(struct node *node, struct ps_error *err);
void stop_catalog(struct node *node);
int start_flash(struct node *node, struct ps_error *err);
void stop_flash(struct node *node);
int start_reactor(struct node *node, struct ps_error *err);
void stop_reactor(struct node *node);
int start_catalog_service(struct node *node, struct ps_error *err);
void stop_catalog_service(struct node *node);
int start_pod(struct node *node, struct ps_error *err);
void stop_pod(struct node *node);
int start_comparison(struct node *node, struct ps_error *err);
void stop_comparison(struct node *node);

struct blkdev_spec;

/* Instead of start_flash: nothing is written. */
int start_checked_flash(struct node *node, struct ps_error *err);
/* start_check.c: a pool checked, instead of served. */
int check_pool(struct node *node, struct ps_error *err);

/* start_analytics.c: samples and history. */
int start_uses(struct node *node, struct ps_error *err);
void stop_uses(struct node *node);
int start_analytics(struct node *node, struct ps_error *err);
void stop_analytics(struct node *node);

/* start_drives.c: flash devices as people ask about them. */
int start_drives(struct node *node, struct ps_error *err);
void stop_drives(struct node *node);

/* start_cluster.c: the pod as a member, and the connections to the others; in place of a pod alone. */
struct pod_config;
int start_member(struct node *node, const struct pod_config *config, struct ps_error *err);
void stop_member(struct node *node);
int start_heartbeat(struct node *node, struct ps_error *err);
void stop_heartbeat(struct node *node);

/* start_host.c: the ways in for hosts and people. */
int start_cluster_key(struct node *node, struct ps_error *err);
void stop_cluster_key(struct node *node);
int start_transport(struct node *node, struct ps_error *err);
void stop_transport(struct node *node);
int start_images(struct node *node, struct ps_error *err);
void stop_images(struct node *node);
int start_rpc(struct node *node, struct ps_error *err);
void stop_rpc(struct node *node);
int start_nbd(struct node *node, struct ps_error *err);
void stop_nbd(struct node *node);

/* start_rest.c: the REST API. */
int start_rest(struct node *node, struct ps_error *err);
void stop_rest(struct node *node);

#endif
