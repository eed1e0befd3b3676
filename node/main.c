/* pstoraged: one node. Assembles the parts and takes them apart again.
 *
 * The main thread is the reactor: its loop owns pod, device and connections.
 * The management thread (SQLite) is the catalog service's. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/notify_socket.h"
#include "common/settings_start.h"
#include "node/daemon.h"
#include "node/host/catalog_uv.h"

const char node_pod_name[] = "default";

void node_wait(struct awaited *awaited)
{
    while (!awaited->done)
        (void)uv_run(&awaited->node->loop, UV_RUN_ONCE);
}

void node_arrived(struct awaited *awaited, int status)
{
    awaited->done = true;
    awaited->status = status;
    /* Keeps the present round from going to sleep. */
    uv_stop(&awaited->node->loop);
}

void node_arrived_cb(void *user)
{
    node_arrived(user, 0);
}

int node_setting_error(struct node *node, size_t setting, int status, struct ps_error *err,
                       const char *reason)
{
    char what[160];
    return ps_error_set(err, status, "%s: %s", settings_describe(&node->settings, setting, what, sizeof what),
                        reason);
}

/* ---- steps of its own */

/* Settings that are right in themselves, but ask for what this version has not. */
static int check_settings(struct node *node, struct ps_error *err)
{
    static const struct {
        enum pstoraged_setting setting;
        const char *what;
    } idle[] = {{PSTORAGED_NVME_LISTEN, "NVMe/TCP"}, {PSTORAGED_NVME_ADVERTISE, "NVMe/TCP"}};
    (void)err;
    for (size_t i = 0; i < sizeof idle / sizeof idle[0]; i++) {
        char what[160];
        const struct setting_value *v = &node->settings.values[idle[i].setting];
        if (v->source != SETTING_FROM_DEFAULT && v->text[0])
            log_warn("main", "setting has no effect in this version",
                     LOG_S("setting", settings_describe(&node->settings, idle[i].setting, what, sizeof what)),
                     LOG_S("missing", idle[i].what));
    }
    return 0;
}

static int start_data_dir(struct node *node, struct ps_error *err)
{
    struct ps_error reason;
    const int rc = data_dir_open(node->as.data_dir, &data_dir_of_node, &node->data_dir, &reason);
    return rc ? node_setting_error(node, PSTORAGED_DATA_DIR, rc, err, reason.detail) : 0;
}

static void stop_data_dir(struct node *node)
{
    data_dir_close(&node->data_dir);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct node *node = handle->data;
    if (node->stopping) {
        log_warn("main", "second signal: stopping at once", LOG_I("signal", number));
        _exit(1);
    }
    log_info("main", "stopping", LOG_S("signal", strsignal(number)));
    node->stopping = true;
}

static int start_loop(struct node *node, struct ps_error *err)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    if (uv_loop_init(&node->loop))
        return ps_error_set(err, PS_ENOMEM, "no event loop to be had");
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit of the file size is an error of the disk like any other */
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        (void)uv_signal_init(&node->loop, &node->signals[i]);
        node->signals[i].data = node;
        (void)uv_signal_start(&node->signals[i], on_signal, numbers[i]);
    }
    return 0;
}

static void stop_loop(struct node *node)
{
    for (size_t i = 0; i < sizeof node->signals / sizeof node->signals[0]; i++)
        uv_close((uv_handle_t *)&node->signals[i], NULL);
    (void)uv_run(&node->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&node->loop))
        log_error("main", "a handle was left open");
}

/* Order matters twice: a part is started after what it needs, and the reactor after
 * everything that sends from a prepare callback (reactor_uv.h). */
static const struct step steps[] = {
    {"settings", check_settings, NULL},
    {"cluster key", start_cluster_key, stop_cluster_key},
    {"data directory", start_data_dir, stop_data_dir},
    {"event loop", start_loop, stop_loop},
    {"catalog", start_catalog, stop_catalog},
    {"flash", start_flash, stop_flash},
    {"management thread", start_catalog_service, stop_catalog_service},
    {"RPC transport", start_transport, stop_transport},
    {"reactor", start_reactor, stop_reactor},
    {"counters", start_uses, stop_uses},
    {"pod", start_pod, stop_pod},
    {"catalog comparison", start_comparison, stop_comparison},
    /* Up to here without a way in: see steps_wanted. */
    {"analytics", start_analytics, stop_analytics},
    {"hosts' images", start_images, stop_images},
    {"drives", start_drives, stop_drives},
    {"RPC", start_rpc, stop_rpc},
    {"NBD", start_nbd, stop_nbd},
    {"REST", start_rest, stop_rest},
    {"heartbeats", start_heartbeat, stop_heartbeat},
};

/* --check: nothing is served, and nothing but the directory's lock is written. */
static const struct step check_steps[] = {
    {"data directory", start_data_dir, stop_data_dir},
    {"event loop", start_loop, stop_loop},
    {"flash", start_checked_flash, stop_flash},
    {"reactor", start_reactor, stop_reactor},
    {"check", check_pool, NULL},
};

enum {
    STEPS = sizeof steps / sizeof steps[0],
    CHECK_STEPS = sizeof check_steps / sizeof check_steps[0]
};

/* The comparison is what makes the catalog anew, and the last that --rebuild-catalog needs. */
static unsigned steps_wanted(const struct node *node)
{
    unsigned wanted = STEPS;
    while (node->as.rebuild_catalog && steps[wanted - 1].start != start_comparison)
        wanted--;
    return wanted;
}

static void stop_steps(struct node *node, const struct step *of, unsigned started)
{
    while (started-- > 0) {
        log_debug("main", "stop", LOG_S("step", of[started].name));
        if (of[started].stop)
            of[started].stop(node);
    }
}

static void serve(struct node *node)
{
    const uint64_t ms = (clock_unix_ns() - node->started_unix_ns) / NS_PER_MS;
    catalog_service_node_event(node->catalog_service, "node.started", "node started, version " PS_VERSION);
    log_info("main", "ready", LOG_S("node", node->as.node_name), LOG_S("version", PS_VERSION),
             LOG_S("data_dir", node->as.data_dir), LOG_S("rpc", node->as.rpc_listen),
             LOG_S("nbd", node->as.nbd_listen[0] ? node->as.nbd_listen : "off"),
             LOG_S("api", node->as.api_listen[0] ? node->as.api_listen : "off"),
             LOG_U("api_port", node->as.api_port), LOG_U("start_ms", ms));
    notify_socket_send(node->notify_socket, "READY=1");
    while (!node->stopping)
        (void)uv_run(&node->loop, UV_RUN_ONCE);
    notify_socket_send(node->notify_socket, "STOPPING=1");
    catalog_service_node_event(node->catalog_service, "node.stopped", "node stopped");
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
    static struct node node;
    int code = 0;
    if (settings_start(&node.settings, &pstoraged_program, argc, argv, envp, &code))
        return code;
    pstoraged_settings_get(&node.settings, &node.as);
    node.notify_socket = environment(envp, "NOTIFY_SOCKET");
    node.started_unix_ns = clock_unix_ns();
    log_set_level(node.as.debug ? LOG_DEBUG : LOG_INFO);
    for (unsigned i = 0; i < node.settings.nwarnings; i++)
        log_warn("main", node.settings.warnings[i]);

    const bool checking = node.as.check || node.as.check_records;
    const struct step *const of = checking ? check_steps : steps;
    const unsigned wanted = checking ? CHECK_STEPS : steps_wanted(&node);
    unsigned started = 0;
    struct ps_error err = {0};
    for (int rc = 0; started < wanted && !node.stopping; started++) {
        log_debug("main", "start", LOG_S("step", of[started].name));
        rc = of[started].start(&node, &err);
        if (rc) {
            log_error("main", "can't start", LOG_S("step", of[started].name), LOG_S("reason", err.detail));
            code = ps_status_exit_code(rc);
            break;
        }
    }
    if (checking)
        code = code ? code : node.damaged;
    else if (started == STEPS)
        serve(&node);
    else if (started == wanted)
        log_info("main", "catalog rebuilt", LOG_S("path", node.catalog_path));
    stop_steps(&node, of, started);
    if (code == 0 && !checking)
        log_info("main", "stopped");
    return code;
}
