/* The settings of the programs: one row each, nowhere else.
 *
 * A row becomes a field of the program's typed struct, a row of its
 * settings_program and an index (PSTORAGED_…, MEDIATOR_…). To add a setting,
 * add a row; `--help`, the documentation and the parsers follow. */
#ifndef PS_COMMON_SETTINGS_TABLE_H
#define PS_COMMON_SETTINGS_TABLE_H

#include "common/settings.h"

/* In the order of the choices below. */
enum setting_fingerprint {
    SETTING_FINGERPRINT_XXH3,
    SETTING_FINGERPRINT_SHA256
};
enum setting_compression {
    SETTING_COMPRESSION_LZ4,
    SETTING_COMPRESSION_ZSTD
};
enum setting_erasure_coding {
    SETTING_ERASURE_CODING_AUTO,
    SETTING_ERASURE_CODING_OFF,
    SETTING_ERASURE_CODING_1,
    SETTING_ERASURE_CODING_2
};
enum setting_replication {
    SETTING_REPLICATION_SYNC,
    SETTING_REPLICATION_ASYNC
};

/* clang-format off */
/*    NAME, field, type, flags, default, min, max, choices, help */
#define PSTORAGED_SETTINGS(X)                                                                                        \
    X(DEBUG, debug, BOOL, 0, "false", 0, 0, NULL,                                                                    \
      "Log debugging detail")                                                                                        \
    X(DATA_DIR, data_dir, PATH, 0, "/tmp/pstorage/data", 0, 0, NULL,                                                 \
      "Directory of the catalog and, by default, of the flash file")                                                 \
    X(NODE_NAME, node_name, NAME, SETTING_EXPAND, "${HOST_NAME}", 0, 0, NULL,                                        \
      "Name of this node; the host name by default")                                                                 \
    X(FLASH_DEVICES, flash_devices, DEVICES, SETTING_EXPAND, "file:${DATA_DIR}/flash0,size=16G", 0, 0, NULL,         \
      "Flash devices separated by spaces: file:PATH,size=N, nvme:/dev/nvme0n1, /dev/sdb or sim:PATH,size=N (simulated NAND flash, for tests); blank ones are formatted, and a larger N, or a block device that has become larger, makes the pool larger at the next start") \
    X(FLASH_RAW_DEVICES, flash_raw_devices, STRING, SETTING_MAY_BE_EMPTY, "", 0, 0, NULL,                             \
      "NVMe namespaces that clients may read, write, deallocate and format past the pool, /dev/nvme1n1 or /dev/disk/by-id/…, separated by spaces") \
    X(ERASURE_CODING, erasure_coding, ENUM, 0, "auto", 0, 0, "auto|off|1|2",                                         \
      "How many of several flash devices may be lost; auto: none of two, one of three to five, two of more. Fixed when the pool is made") \
    X(REBUILD_RATE, rebuild_rate, SIZE, 0, "64M", 1ull << 20, 1ull << 40, NULL,                                      \
      "Bytes a second that are written to a flash device which takes the place of a lost one")                       \
    X(RPC_LISTEN, rpc_listen, URL, 0, "tcp://127.0.0.1:9500", 0, 0, NULL,                                            \
      "Where RPC is served: tcp://host:port or ipc://PATH")                                                          \
    X(API_LISTEN, api_listen, HOST, SETTING_MAY_BE_EMPTY, "127.0.0.1", 0, 0, NULL,                                   \
      "Address of the REST API and metrics; empty: off")                                                             \
    X(API_PORT, api_port, UINT, 0, "8000", 1, 65535, NULL,                                                           \
      "Port of the REST API and metrics")                                                                            \
    X(API_TLS_CERT_FILE, api_tls_cert_file, PATH, SETTING_MAY_BE_EMPTY, "", 0, 0, NULL,                              \
      "Certificate of the REST API, and those that lead to its root, in PEM; empty: no TLS")                         \
    X(API_TLS_KEY_FILE, api_tls_key_file, PATH, SETTING_MAY_BE_EMPTY, "", 0, 0, NULL,                                \
      "Key of that certificate, in PEM, which others may not read")                                                  \
    X(NBD_LISTEN, nbd_listen, LISTEN, SETTING_MAY_BE_EMPTY, "127.0.0.1:10809", 0, 0, NULL,                           \
      "Where NBD is served: host:port or unix:PATH, several separated by spaces; empty: off")                                                     \
    X(NVME_LISTEN, nvme_listen, ADDRESS, SETTING_MAY_BE_EMPTY, "127.0.0.1:4420", 0, 0, NULL,                         \
      "Where NVMe/TCP is served: host:port; empty: off")                                                             \
    X(NVME_ADVERTISE, nvme_advertise, ADDRESS, SETTING_MAY_BE_EMPTY, "", 0, 0, NULL,                                 \
      "Address in the NVMe discovery log; as listened by default")                                                   \
    X(DEDUPE_ENABLED, dedupe_enabled, BOOL, 0, "true", 0, 0, NULL,                                                   \
      "Store equal blocks once")                                                                                     \
    X(DEDUPE_FINGERPRINT, dedupe_fingerprint, ENUM, 0, "xxh3", 0, 0, "xxh3|sha256",                                  \
      "How equal blocks are found; a match is compared byte by byte in either case")                                 \
    X(COMPRESSION_ENABLED, compression_enabled, BOOL, 0, "true", 0, 0, NULL,                                         \
      "Compress what is stored")                                                                                     \
    X(COMPRESSION_ALGORITHM, compression_algorithm, ENUM, 0, "lz4", 0, 0, "lz4|zstd",                                \
      "Compression of new data")                                                                                     \
    X(COMPRESSION_COLD_RATE, compression_cold_rate, SIZE, 0, "32M", 0, 1ull << 40, NULL,                             \
      "Bytes a second that are compressed again, with zstd, when LZ4's are moved for the second time; 0: none")     \
    X(CLUSTER_ENABLED, cluster_enabled, BOOL, 0, "false", 0, 0, NULL,                                                \
      "Form a cluster with the peers; needs PSTORAGE_PEERS and PSTORAGE_MEDIATOR")                                   \
    X(CLUSTER_NAME, cluster_name, NAME, 0, "pstorage", 0, 0, NULL,                                                   \
      "Name of the cluster: the same on all of its nodes")                                                           \
    X(CLUSTER_KEY, cluster_key, STRING, SETTING_MAY_BE_EMPTY | SETTING_SECRET, "", 0, 0, NULL,                       \
      "Shared key of the cluster, 16 to 1024 printable characters; better in a file: PSTORAGE_CLUSTER_KEY_FILE")     \
    X(CLUSTER_KEY_FILE, cluster_key_file, PATH, SETTING_MAY_BE_EMPTY, "", 0, 0, NULL,                                \
      "File that holds the cluster's key; without a key only this machine may connect by RPC") \
    X(FAST_FAILOVER, fast_failover, BOOL, 0, "true", 0, 0, NULL,                                                     \
      "Take a peer whose address suddenly refuses connections for ended, and don't wait for its lease to end")       \
    X(HEARTBEAT_PORT, heartbeat_port, UINT, 0, "0", 0, 65535, NULL,                                                  \
      "Port for the peers' heartbeats, at the host of PSTORAGE_RPC_LISTEN; 0: any free one")                         \
    X(PEERS, peers, PEERS, SETTING_MAY_BE_EMPTY, "", 0, 0, NULL,                                                     \
      "The other nodes, separated by spaces: name=tcp://host:9500")                                                  \
    X(MEDIATOR, mediator, URL, SETTING_MAY_BE_EMPTY, "", 0, 0, NULL,                                                 \
      "The mediator: tcp://host:9510")                                                                               \
    X(REPLICATION_MODE, replication_mode, ENUM, 0, "sync", 0, 0, "sync|async",                                       \
      "Mode of the default pod's members")                                                                           \
    X(GC_THRESHOLD, gc_threshold, UINT, 0, "75", 10, 95, NULL,                                                       \
      "Percent of segments in use at which background garbage collection starts")                                    \
    X(SURVEY_MINUTES, survey_minutes, UINT, 0, "10", 0, 100000, NULL,                                                \
      "Minutes, at least, from one walk of all maps to the next, which checks them and tells what each image holds; 0: on demand alone") \
    X(WEAR_THRESHOLD, wear_threshold, UINT, 0, "1000", 1, 1000000, NULL,                                             \
      "Spread of P/E cycles at which cold data is moved")                                                            \
    X(SCRUB_RATE, scrub_rate, SIZE, 0, "16M", 1ull << 20, 1ull << 40, NULL,                                           \
      "Bytes a second that verifying what is stored may read while hosts are served")                                \
    X(SCRUB_HOURS, scrub_hours, UINT, 0, "168", 0, 100000, NULL,                                                     \
      "Hours from one verification of all that is stored to the next; 0: on demand alone")                           \
    X(OVERPROVISION, overprovision, UINT, 0, "3", 3, 50, NULL,                                                       \
      "Percent of the pool that hosts can't fill, for collection to work in; at least 8 segments are kept")         \
    X(MEMORY_BUDGET, memory_budget, SIZE, 0, "1G", 128ull << 20, 16ull << 40, NULL,                                    \
      "Memory of all caches, maps and the dedup index together")                                                     \
    X(ANALYTICS_INTERVAL, analytics_interval, UINT, 0, "60", 1, 3600, NULL,                                           \
      "Seconds between samples of the history that forecasts are made of")                                           \
    X(ANALYTICS_HISTORY_SIZE, analytics_history_size, SIZE, 0, "128M", 1ull << 20, 1ull << 40, NULL,                  \
      "Size of the history at most; the oldest minutes go first")                                                    \
    X(TIER_PRICES, tier_prices, STRING, SETTING_MAY_BE_EMPTY, "nvme=0.08 ssd=0.05 hdd=0.015 archive=0.002", 0, 0, NULL, \
      "A GiB's price a month by medium, spaces between, for advice; the defaults are placeholders, not prices")      \
    X(FLASH_RATED_CYCLES, flash_rated_cycles, UINT, 0, "3000", 1, 1000000, NULL,                                      \
      "P/E cycles that the flash is rated for, where it tells its wear")                                             \
    X(CONFIG, config, PATH, SETTING_NOT_IN_FILE | SETTING_MAY_BE_EMPTY, "", 0, 0, NULL,                              \
      "File with settings, PSTORAGE_NAME=value a line")                                                              \
    X(REBUILD_CATALOG, rebuild_catalog, BOOL, SETTING_FLAG_ONLY, "false", 0, 0, NULL,                                \
      "Set the catalog aside, make a new one from the flash devices, and end; event history and API tokens start anew") \
    X(CHECK, check, BOOL, SETTING_FLAG_ONLY, "false", 0, 0, NULL,                                                    \
      "Compare all maps on the flash devices with each other, writing nothing, print what is wrong, and end: 0 if nothing is, else 1") \
    X(CHECK_RECORDS, check_records, BOOL, SETTING_FLAG_ONLY, "false", 0, 0, NULL,                                    \
      "As --check, and read and verify every stored record")

#define MEDIATOR_SETTINGS(X)                                                                                         \
    X(DEBUG, debug, BOOL, 0, "false", 0, 0, NULL,                                                                    \
      "Log debugging detail")                                                                                        \
    X(MEDIATOR_LISTEN, mediator_listen, URL, 0, "tcp://127.0.0.1:9510", 0, 0, NULL,                                  \
      "Where the mediator is served: tcp://host:port or ipc://PATH")                                                 \
    X(DATA_DIR, data_dir, PATH, 0, "/tmp/pstorage/mediator", 0, 0, NULL,                                             \
      "Directory of the mediator's records")                                                                         \
    X(CLUSTER_KEY, cluster_key, STRING, SETTING_MAY_BE_EMPTY | SETTING_SECRET, "", 0, 0, NULL,                       \
      "Shared key of the cluster, 16 to 1024 printable characters; better in a file: PSTORAGE_CLUSTER_KEY_FILE")     \
    X(CLUSTER_KEY_FILE, cluster_key_file, PATH, SETTING_MAY_BE_EMPTY, "", 0, 0, NULL,                                \
      "File that holds the key, or a line CLUSTER:KEY for each cluster; without a key only this machine may connect") \
    X(CONFIG, config, PATH, SETTING_NOT_IN_FILE | SETTING_MAY_BE_EMPTY, "", 0, 0, NULL,                              \
      "File with settings, PSTORAGE_NAME=value a line")

/* Variables that other programs of ours read (the command line tool): no warning about them. */
#define OTHER_VARIABLES(X) X(ENDPOINT)
/* clang-format on */

#define SETTING_C_STRING  const char *
#define SETTING_C_NAME    const char *
#define SETTING_C_PATH    const char *
#define SETTING_C_HOST    const char *
#define SETTING_C_LISTEN  const char *
#define SETTING_C_ADDRESS const char *
#define SETTING_C_URL     const char *
#define SETTING_C_PEERS   const char *
#define SETTING_C_DEVICES const char *
#define SETTING_C_BOOL    bool
#define SETTING_C_UINT    uint64_t
#define SETTING_C_SIZE    uint64_t
#define SETTING_C_ENUM    unsigned

#define X(NAME, field, TYPE, flags, text, min, max, choices, help) PSTORAGED_##NAME,
enum pstoraged_setting {
    PSTORAGED_SETTINGS(X) PSTORAGED_COUNT
};
#undef X
#define X(NAME, field, TYPE, flags, text, min, max, choices, help) MEDIATOR_##NAME,
enum mediator_setting {
    MEDIATOR_SETTINGS(X) MEDIATOR_COUNT
};
#undef X

/* Strings point into the `struct settings` that they came from. */
#define X(NAME, field, TYPE, flags, text, min, max, choices, help) SETTING_C_##TYPE field;
struct pstoraged_settings {
    PSTORAGED_SETTINGS(X)
};
struct mediator_settings {
    MEDIATOR_SETTINGS(X)
};
#undef X

extern const struct settings_program pstoraged_program, mediator_program;

void pstoraged_settings_get(const struct settings *settings, struct pstoraged_settings *out);
void mediator_settings_get(const struct settings *settings, struct mediator_settings *out);

/* Is NAME (without PSTORAGE_) a setting of any of our programs? */
bool settings_known_anywhere(const char *name, size_t length);

#endif
