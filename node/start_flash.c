/* From the bottom up: the catalog's file, the flash device, the reactor and the pod. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/large_memory_mmap.h"
#include "common/log.h"
#include "node/daemon.h"
#include "node/host/catalog_uv.h"
#include "node/host/flash_devices_uv.h"
#include "node/host/reactor_uv.h"
#include "node/pod/pod.h"

static void tell_early(struct node *node);

/* ---- catalog */

static int not_written(const struct node *node, int rc, struct ps_error *err)
{
    return ps_error_set(err, rc, "catalog %.100s can't be written: %s", node->catalog_path,
                        rc == PS_EFULL ? "its file system is full" : ps_status_text(rc));
}

/* An outdated view is no reason not to serve: what is told of this node is told again at the next start. */
static int outdated_or(const struct node *node, int rc, struct ps_error *err)
{
    if (rc == PS_EFULL && !node->as.rebuild_catalog) {
        log_warn("catalog", "the file system of the data directory is full: the catalog is not up to date",
                 LOG_S("catalog", node->catalog_path));
        return 0;
    }
    return rc ? not_written(node, rc, err) : 0;
}

static int record_settings(struct node *node)
{
    static const char *const sources[] = {"default", "file", "environment", "flag"};
    const char *rows[SETTINGS_MAX][3];
    for (size_t i = 0; i < PSTORAGED_COUNT; i++) {
        const struct setting_value *v = &node->settings.values[i];
        rows[i][0] = pstoraged_program.table[i].name;
        rows[i][1] = v->text;
        rows[i][2] = sources[v->source];
    }
    int rc = catalog_put_node(node->catalog, node->as.node_name, PS_VERSION, node->started_unix_ns);
    if (rc == 0)
        rc = catalog_put_settings(node->catalog, node->as.node_name, rows, PSTORAGED_COUNT);
    return rc;
}

int start_catalog(struct node *node, struct ps_error *err)
{
    (void)snprintf(node->catalog_path, sizeof node->catalog_path, "%s/catalog.db", node->as.data_dir);
    int rc = 0;
    if (node->as.rebuild_catalog) {
        rc = catalog_set_aside(node->catalog_path, err);
        if (rc == 0)
            log_info("main", "catalog is made anew, the old one is set aside",
                     LOG_S("old", node->catalog_path));
    }
    if (rc == 0)
        rc = catalog_open(node->catalog_path, &node->catalog, err);
    if (rc)
        return rc;
    struct pod_image_info first;
    node->knows_images = catalog_image_after(node->catalog, node_pod_name, "", &first) == 0;
    node->knows_pod = catalog_pod_id(node->catalog, node_pod_name, node->pod_id);
    rc = tokens_create(&node->tokens);
    if (rc == 0)
        rc = catalog_load_tokens(node->catalog, node->tokens);
    if (rc)
        (void)ps_error_set(err, rc, "catalog %.100s can't be read: %s", node->catalog_path,
                           ps_status_text(rc));
    else
        rc = outdated_or(node, record_settings(node), err);
    if (rc)
        stop_catalog(node);
    return rc;
}

void stop_catalog(struct node *node)
{
    /* Once started, the service owns and closes it. */
    if (node->catalog)
        catalog_close(node->catalog);
    node->catalog = NULL;
    if (node->tokens)
        tokens_destroy(node->tokens);
    node->tokens = NULL;
}

int start_catalog_service(struct node *node, struct ps_error *err)
{
    struct catalog *catalog = node->catalog;
    node->catalog = NULL;
    const int rc = catalog_service_start(&node->loop, catalog, node_pod_name, &node->catalog_service);
    if (rc)
        return ps_error_set(err, rc, "no management thread: %s", ps_status_text(rc));
    tell_early(node);
    return 0;
}

void stop_catalog_service(struct node *node)
{
    struct awaited end = {.node = node};
    catalog_service_stop(node->catalog_service, node_arrived_cb, &end);
    node_wait(&end);
    node->catalog_service = NULL;
}

/* ---- flash */

/* Events of devices come before the management thread that keeps them. */
enum {
    EARLY_NEWS = 16,
};
struct node_news {
    unsigned count;
    struct {
        char kind[32], text[256];
    } event[EARLY_NEWS];
};

static void tell_early(struct node *node)
{
    struct node_news *n = node->early;
    for (unsigned i = 0; n && i < n->count; i++)
        catalog_service_node_event(node->catalog_service, n->event[i].kind, n->event[i].text);
    free(n);
    node->early = NULL;
}

/* Of a check: what is told of devices belongs to what it found. */
static void print_event(void *user, const char *kind, const char *text)
{
    (void)user;
    (void)printf("%s: %s\n", kind, text);
}

static void device_event(void *user, const char *kind, const char *text)
{
    struct node *node = user;
    log_warn("flash", text, LOG_S("kind", kind));
    if (node->catalog_service) {
        catalog_service_node_event(node->catalog_service, kind, text);
        return;
    }
    if (!node->early)
        node->early = calloc(1, sizeof *node->early);
    struct node_news *n = node->early;
    if (!n || n->count == EARLY_NEWS)
        return;
    (void)snprintf(n->event[n->count].kind, sizeof n->event[0].kind, "%s", kind);
    (void)snprintf(n->event[n->count++].text, sizeof n->event[0].text, "%s", text);
}

static bool is_in_use(void *user, uint64_t offset, uint64_t length)
{
    const struct node *node = user;
    return !node->pod || pod_uses_flash(node->pod, offset, length);
}

/* ---- a pool's device that becomes larger or smaller; before there is a pool, its opening sees to it */

static void move_pool(void *user, struct blkdev *dev)
{
    struct node *node = user;
    node->flash = dev;
    if (node->pod)
        pod_move(node->pod, dev);
}

static int no_pool(struct ps_error *err)
{
    return ps_error_set(err, PS_EUNAVAILABLE, "the pool is not open");
}

static int grow_pool(void *user, void (*cb)(void *user, int status), void *cb_user, struct ps_error *err)
{
    const struct node *node = user;
    return node->pod ? pod_grow(node->pod, cb, cb_user, err) : no_pool(err);
}

static int vacate(void *user, bool (*leaves)(void *user, uint64_t offset, uint64_t length),
                  void (*cb)(void *user, int status), void *cb_user, struct ps_error *err)
{
    const struct node *node = user;
    return node->pod ? pod_vacate(node->pod, leaves, cb, cb_user, err) : no_pool(err);
}

static void vacate_stop(void *user)
{
    const struct node *node = user;
    if (node->pod)
        pod_vacate_stop(node->pod);
}

static uint64_t vacate_left(void *user)
{
    const struct node *node = user;
    return node->pod ? pod_vacate_left(node->pod) : 0;
}

/* ---- the devices */

struct put_device {
    struct node *node;
    int rc;
};

static void put_device(void *user, const struct blkdev *dev, enum blkdev_kind kind)
{
    static const char *const kinds[] = {"file", "block", "nvme", "sim"};
    struct put_device *put = user;
    if (put->rc == 0)
        put->rc = catalog_put_device(put->node->catalog, put->node->as.node_name, dev->name, kinds[kind],
                                     dev->geometry.size_bytes);
}

static void devices_opened(void *user, int status)
{
    node_arrived(user, status);
}

static int open_devices(struct node *node, bool read_only, struct ps_error *err)
{
    static const int parities[] = {FLASH_PARITY_AUTO, 0, 1, 2};
    struct flash_devices_config config = {
        .loop = &node->loop,
        .parity = parities[node->as.erasure_coding],
        .rebuild_rate = node->as.rebuild_rate,
        .read_only = read_only,
        .event = read_only ? print_event : device_event,
        .in_use = is_in_use,
        .move = move_pool,
        .grow = grow_pool,
        .vacate = vacate,
        .vacate_stop = vacate_stop,
        .vacate_left = vacate_left,
        .user = node,
    };
    struct awaited open = {.node = node};
    struct ps_error reason = {0};
    if (getrandom(config.seed, sizeof config.seed, 0) != sizeof config.seed)
        return ps_error_set(err, PS_EIO, "the system gives no random numbers");
    int rc =
        flash_devices_open(&config, node->as.flash_devices, devices_opened, &open, &reason, &node->devices);
    if (rc == 0) {
        node_wait(&open);
        rc = open.status;
    }
    /* A list of devices is long, and the reason is what counts. */
    if (rc && strlen(node->as.flash_devices) > 80)
        return ps_error_set(err, rc, "PSTORAGE_FLASH_DEVICES: %.220s",
                            reason.detail[0] ? reason.detail : ps_status_text(rc));
    if (rc)
        return node_setting_error(node, PSTORAGED_FLASH_DEVICES, rc, err,
                                  reason.detail[0] ? reason.detail : ps_status_text(rc));
    node->flash = flash_devices_whole(node->devices);
    return 0;
}

int start_flash(struct node *node, struct ps_error *err)
{
    int rc = open_devices(node, false, err);
    if (rc == 0) {
        struct put_device put = {.node = node};
        flash_devices_each(node->devices, put_device, &put);
        rc = outdated_or(node, put.rc, err);
    }
    if (rc)
        stop_flash(node);
    return rc;
}

int start_checked_flash(struct node *node, struct ps_error *err)
{
    const int rc = open_devices(node, true, err);
    if (rc)
        stop_flash(node);
    return rc;
}

void stop_flash(struct node *node)
{
    /* Handles close while the loop runs on, at the latest in stop_loop; the locks are the process's until
     * then. */
    struct awaited end = {.node = node};
    node->flash = NULL;
    free(node->early);
    node->early = NULL;
    if (!node->devices)
        return;
    flash_devices_close(node->devices, node_arrived_cb, &end);
    node_wait(&end);
    node->devices = NULL;
}

/* ---- reactor and pod */

int start_reactor(struct node *node, struct ps_error *err)
{
    return reactor_create(&node->loop, &node->reactor) ? ps_error_set(err, PS_ENOMEM, "out of memory") : 0;
}

void stop_reactor(struct node *node)
{
    struct awaited end = {.node = node};
    reactor_close(node->reactor, node_arrived_cb, &end);
    node_wait(&end);
}

static uint64_t turn_pod(void *user, uint64_t now_ns)
{
    return pod_turn(user, now_ns);
}

static void pod_opened(void *user, int status, struct pod *pod)
{
    struct awaited *open = user;
    struct node *node = open->node;
    node->pod = status == 0 ? pod : NULL;
    if (status)
        reactor_set_turn(node->reactor, NULL, NULL);
    node_arrived(open, status);
}

/* Where the catalog knows images, blank flash is not what they were on: a file system that is not mounted, a
 * file that was removed. An empty pool there would be served as if nothing had been lost. */
static int open_alone(struct node *node, const struct pod_config *config, struct ps_error *err)
{
    struct awaited open = {.node = node};
    struct pod *opening = NULL;
    int rc = pod_open(node->flash, config, node->knows_images ? POD_OPEN_ONLY : POD_FORMAT_BLANK, pod_opened,
                      &open, err, &opening);
    if (rc == 0) {
        reactor_set_turn(node->reactor, turn_pod, opening);
        node_wait(&open);
        rc = open.status;
    }
    if (rc && opening)
        pod_destroy(opening);
    return rc;
}

int start_pod(struct node *node, struct ps_error *err)
{
    struct pod_config config = {
        .name = node_pod_name,
        .memory_budget = node->as.memory_budget,
        .gc_threshold = (uint32_t)node->as.gc_threshold,
        .scrub_rate = node->as.scrub_rate,
        .scrub_interval_ns =
            node->as.scrub_hours ? (uint64_t)node->as.scrub_hours * 3600 * 1000000000 : UINT64_MAX,
        .survey_interval_ns =
            node->as.survey_minutes ? (uint64_t)node->as.survey_minutes * 60 * 1000000000 : UINT64_MAX,
        .cold_compress_rate = node->as.compression_enabled ? node->as.compression_cold_rate : 0,
        .wear_threshold = (uint32_t)node->as.wear_threshold,
        .dedupe = node->as.dedupe_enabled,
        .compression = node->as.compression_enabled,
        .overprovision_percent = (uint32_t)node->as.overprovision,
        .sha256 = node->as.dedupe_fingerprint == SETTING_FINGERPRINT_SHA256,
        /* A member must answer its peers in time: no burst of first touches may hold it up. */
        .memory = node->as.cluster_enabled ? &large_memory_filled : &large_memory_mmap,
        .zstd = node->as.compression_algorithm == SETTING_COMPRESSION_ZSTD,
        .uses = node->uses,
        .event = catalog_service_pod_event,
        .image_changed = catalog_service_image_changed,
        .user = node->catalog_service,
    };
    if (getrandom(config.seed, sizeof config.seed, 0) != sizeof config.seed)
        return ps_error_set(err, PS_EIO, "the system gives no random numbers");
    struct ps_error reason = {0};
    if (node->knows_images && node->knows_pod)
        config.only_pod = node->pod_id;
    const int rc =
        node->as.cluster_enabled ? start_member(node, &config, &reason) : open_alone(node, &config, &reason);
    if (rc == PS_ENOTFOUND && node->knows_images)
        return ps_error_set(
            err, rc,
            "%.160s; but the catalog knows volumes: is the right device there, its file system "
            "mounted? pstoraged --rebuild-catalog begins without them",
            reason.detail);
    if (rc && node->as.cluster_enabled)
        return ps_error_set(err, rc, "%s", reason.detail);
    if (rc)
        return node_setting_error(node, PSTORAGED_FLASH_DEVICES, rc, err,
                                  reason.detail[0] ? reason.detail : ps_status_text(rc));
    return 0;
}

void stop_pod(struct node *node)
{
    struct awaited end = {.node = node};
    if (node->member) {
        stop_member(node);
        return;
    }
    pod_close(node->pod, node_arrived_cb, &end);
    node_wait(&end);
    reactor_set_turn(node->reactor, NULL, NULL);
    pod_destroy(node->pod);
    node->pod = NULL;
}

static void compared(void *user, int status)
{
    node_arrived(user, status);
}

int start_comparison(struct node *node, struct ps_error *err)
{
    struct awaited end = {.node = node};
    catalog_service_attach(node->catalog_service, node->pod, compared, &end);
    node_wait(&end);
    /* An outdated view is no reason not to serve; the service tries again. */
    if (end.status == 0 || !node->as.rebuild_catalog)
        return 0;
    stop_comparison(node);
    return not_written(node, end.status, err);
}

void stop_comparison(struct node *node)
{
    catalog_service_detach(node->catalog_service);
}
