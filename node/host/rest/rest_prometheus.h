/* Figures in Prometheus' text exposition format, version 0.0.4: names by its conventions (base units,
 * _total, histograms), one HELP and TYPE a name. Pure. */
#ifndef PS_NODE_HOST_REST_REST_PROMETHEUS_H
#define PS_NODE_HOST_REST_REST_PROMETHEUS_H

#include "client/lib/pstorage.h"
#include "node/host/rest/json_write.h"

/* What the server itself counts. */
struct rest_counts {
    uint64_t requests[6]; /* by the first digit of the status; 0: connections that ended without an answer */
    uint64_t open_connections;
};

struct rest_figures {
    const struct pstorage_report *report;
    const struct pstorage_pod_view *view; /* NULL: not known */
    const struct pstorage_info *volumes;
    size_t nvolumes;
    const struct pstorage_volume_latency *latencies; /* as this node counted them */
    size_t nlatencies;
    const struct pstorage_health *health; /* of this node's drives; NULL: not known */
    const struct rest_counts *counts;
};

enum {
    REST_PROMETHEUS_VOLUMES_MAX = 10000 /* shown one by one */
};

void rest_prometheus(struct json_out *out, const struct rest_figures *f);

#endif
