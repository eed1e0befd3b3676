/* pstorage-mediator: the witness. Assembles the parts and takes them apart again.
 *
 * One thread: the loop's. A change's commit blocks it, which is all that it has to do at that time. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "common/clock.h"
#include "common/cluster_key.h"
#include "common/data_dir.h"
#include "common/log.h"
#include "common/notify_socket.h"
#include "common/rpc/server.h"
#include "common/rpc/transport_nng.h"
#include "common/settings_start.h"
#include "common/settings_table.h"
#include "mediator/mediator_core.h"
#include "mediator/mediator_service.h"
#include "mediator/mediator_store_sqlite.h"

struct daemon {
    struct settings settings;
    struct mediator_settings as; /* typed; points into settings */
    const char *notify_socket;
    uint64_t started_unix_ns;

    uv_loop_t loop;
    uv_signal_t signals[3];
    bool stopping;
    int code; /* exit code, once something failed while serving */

    struct data_dir data_dir;
    struct rpc_keys keys;
    struct mediator_store *store;
    struct mediator_core *core;
    struct rpc_transport *transport;
    struct rpc_server *rpc;
    struct mediator_service *service;
};

struct step {
    const char *name;
    int (*start)(struct daemon *d, struct ps_error *err);
    void (*stop)(struct daemon *d);
};

static int setting_error(struct daemon *d, size_t setting, int status, struct ps_error *err,
                         const char *reason)
{
    char what[160];
    return ps_error_set(err, status, "%s: %s", settings_describe(&d->settings, setting, what, sizeof what),
                        reason);
}

static void set(void *user)
{
    *(bool *)user = true;
}

static void wait_for(struct daemon *d, const bool *done)
{
    while (!*done)
        (void)uv_run(&d->loop, UV_RUN_ONCE);
}

/* ---- data */

static int start_data_dir(struct daemon *d, struct ps_error *err)
{
    struct ps_error reason;
    const int rc = data_dir_open(d->as.data_dir, &data_dir_of_mediator, &d->data_dir, &reason);
    return rc ? setting_error(d, MEDIATOR_DATA_DIR, rc, err, reason.detail) : 0;
}

static void stop_data_dir(struct daemon *d)
{
    data_dir_close(&d->data_dir);
}

static int start_store(struct daemon *d, struct ps_error *err)
{
    char path[1100];
    (void)snprintf(path, sizeof path, "%.1000s/mediator.db", d->as.data_dir);
    return mediator_store_sqlite_open(path, &d->store, err);
}

static void stop_store(struct daemon *d)
{
    mediator_store_sqlite_close(d->store);
}

static int start_core(struct daemon *d, struct ps_error *err)
{
    return mediator_core_create(d->store, &d->core, err);
}

static void stop_core(struct daemon *d)
{
    mediator_core_destroy(d->core);
}

/* ---- loop */

static void on_signal(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;
    if (d->stopping) {
        log_warn("main", "second signal: stopping at once", LOG_I("signal", number));
        _exit(1);
    }
    log_info("main", "stopping", LOG_S("signal", strsignal(number)));
    d->stopping = true;
}

static int start_loop(struct daemon *d, struct ps_error *err)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    if (uv_loop_init(&d->loop))
        return ps_error_set(err, PS_ENOMEM, "no event loop to be had");
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit of the file size is an error of the disk like any other */
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        (void)uv_signal_init(&d->loop, &d->signals[i]);
        d->signals[i].data = d;
        (void)uv_signal_start(&d->signals[i], on_signal, numbers[i]);
    }
    return 0;
}

static void stop_loop(struct daemon *d)
{
    for (size_t i = 0; i < sizeof d->signals / sizeof d->signals[0]; i++)
        uv_close((uv_handle_t *)&d->signals[i], NULL);
    (void)uv_run(&d->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&d->loop))
        log_error("main", "a handle was left open");
}

/* ---- RPC */

static int start_transport(struct daemon *d, struct ps_error *err)
{
    const int rc = rpc_transport_nng_create(&d->loop, &d->transport);
    return rc ? ps_error_set(err, rc, "no RPC transport: %s", ps_status_text(rc)) : 0;
}

static void stop_transport(struct daemon *d)
{
    bool closed = false;
    rpc_transport_nng_close(d->transport, set, &closed);
    wait_for(d, &closed);
    rpc_transport_nng_finish();
}

static void rpc_line(void *user, const char *line)
{
    (void)user;
    log_info("rpc", line);
}

static uint64_t now_unix_ns(void *user)
{
    (void)user;
    return clock_unix_ns();
}

static void on_decided(void *user, const struct mediator_news *news)
{
    char requester[UUID_TEXT_BYTES];
    (void)user;
    uuid_format(news->requester, requester);
    LOG_AT(mediator_verdict_grants(news->verdict) ? LOG_INFO : LOG_WARN, "mediator",
           mediator_verdict_name(news->verdict), LOG_S("cluster", news->cluster),
           LOG_S("pod", news->pod_name), LOG_U("expected_epoch", news->expected_epoch),
           LOG_U("epoch", news->epoch), LOG_S("why", news->text), LOG_S("requester", requester),
           LOG_S("node", news->peer->name), LOG_S("peer", news->peer->address));
}

static void on_forgotten(void *user, const struct rpc_peer *peer, const char *cluster, const char *pod_name)
{
    (void)user;
    log_warn("mediator", "pod forgotten", LOG_S("cluster", cluster), LOG_S("pod", pod_name),
             LOG_S("client", peer->name), LOG_S("peer", peer->address));
}

/* A store that an I/O error ended is only good again after an open: the service manager starts us anew. */
static void on_store_failed(void *user, const char *detail)
{
    struct daemon *d = user;
    log_error("mediator", "a request was not carried out", LOG_S("reason", detail));
    if (mediator_store_sqlite_failed(d->store) && !d->stopping) {
        log_error("main", "stopping: the records can't be used any more");
        d->stopping = true;
        d->code = ps_status_exit_code(PS_EIO);
        uv_stop(&d->loop);
    }
}

static void stop_rpc(struct daemon *d)
{
    bool closed = false;
    rpc_server_close(d->rpc, set, &closed);
    wait_for(d, &closed);
    if (d->service)
        mediator_service_destroy(d->service);
}

static int start_rpc(struct daemon *d, struct ps_error *err)
{
    const struct rpc_server_config server = {
        .identity = {.name = "mediator", .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_MEDIATOR},
        .keys = &d->keys,
        .log = rpc_line,
    };
    const struct mediator_service_config config = {
        .core = d->core,
        .now_unix_ns = now_unix_ns,
        .decided = on_decided,
        .forgotten = on_forgotten,
        .store_failed = on_store_failed,
        .user = d,
    };
    struct ps_error reason;
    int rc = rpc_server_create(d->transport, &server, &d->rpc);
    if (rc)
        return ps_error_set(err, rc, "no RPC server: %s", ps_status_text(rc));
    rc = mediator_service_create(d->rpc, &config, &d->service);
    if (rc)
        (void)ps_error_set(err, rc, "no RPC service: %s", ps_status_text(rc));
    if (rc == 0) {
        rc = rpc_server_listen(d->rpc, d->as.mediator_listen, &reason);
        if (rc)
            (void)setting_error(d, MEDIATOR_MEDIATOR_LISTEN, rc, err, reason.detail);
    }
    if (rc)
        stop_rpc(d);
    return rc;
}

static int start_cluster_key(struct daemon *d, struct ps_error *err)
{
    struct ps_error reason;
    int rc = cluster_key_load(d->as.cluster_key, d->as.cluster_key_file, NULL, &d->keys, err);
    if (rc)
        return rc;
    rc = rpc_keys_check_listen(&d->keys, d->as.mediator_listen, &reason);
    return rc ? setting_error(d, MEDIATOR_MEDIATOR_LISTEN, rc, err, reason.detail) : 0;
}

static void stop_cluster_key(struct daemon *d)
{
    rpc_keys_clear(&d->keys);
}

/* ---- assembly */

/* The way in comes last: nobody is answered before all records are read. */
static const struct step steps[] = {
    {"cluster key", start_cluster_key, stop_cluster_key},
    {"data directory", start_data_dir, stop_data_dir},
    {"records", start_store, stop_store},
    {"core", start_core, stop_core},
    {"event loop", start_loop, stop_loop},
    {"RPC transport", start_transport, stop_transport},
    {"RPC", start_rpc, stop_rpc},
};

enum {
    STEPS = sizeof steps / sizeof steps[0]
};

static void serve(struct daemon *d)
{
    struct mediator_description about;
    char id[UUID_TEXT_BYTES];
    mediator_describe(d->core, &about);
    uuid_format(&about.store, id);
    log_info("main", "ready", LOG_S("store", id), LOG_S("version", PS_VERSION), LOG_U("pods", about.pods),
             LOG_S("data_dir", d->as.data_dir), LOG_S("listen", rpc_server_address(d->rpc, 0)),
             LOG_U("start_ms", (clock_unix_ns() - d->started_unix_ns) / NS_PER_MS));
    notify_socket_send(d->notify_socket, "READY=1");
    while (!d->stopping)
        (void)uv_run(&d->loop, UV_RUN_ONCE);
    notify_socket_send(d->notify_socket, "STOPPING=1");
}

static const char *environment(char **envp, const char *name)
{
    const size_t n = strlen(name);
    for (; *envp; envp++)
        if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
            return *envp + n + 1;
    return NULL;
}

int main(int argc, char **argv, char **envp)
{
    static struct daemon d;
    if (settings_start(&d.settings, &mediator_program, argc, argv, envp, &d.code))
        return d.code;
    mediator_settings_get(&d.settings, &d.as);
    d.notify_socket = environment(envp, "NOTIFY_SOCKET");
    d.started_unix_ns = clock_unix_ns();
    log_set_level(d.as.debug ? LOG_DEBUG : LOG_INFO);
    for (unsigned i = 0; i < d.settings.nwarnings; i++)
        log_warn("main", d.settings.warnings[i]);

    unsigned started = 0;
    struct ps_error err = {0};
    for (; started < STEPS && !d.stopping; started++) {
        log_debug("main", "start", LOG_S("step", steps[started].name));
        const int rc = steps[started].start(&d, &err);
        if (rc) {
            log_error("main", "can't start", LOG_S("step", steps[started].name), LOG_S("reason", err.detail));
            d.code = ps_status_exit_code(rc);
            break;
        }
    }
    if (started == STEPS)
        serve(&d);
    while (started-- > 0) {
        log_debug("main", "stop", LOG_S("step", steps[started].name));
        steps[started].stop(&d);
    }
    if (d.code == 0)
        log_info("main", "stopped");
    return d.code;
}
