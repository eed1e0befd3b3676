#include "mediator_rig.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct uuid rig_id(unsigned n)
{
    struct uuid id;
    memset(id.bytes, (int)n, sizeof id.bytes);
    return id;
}

struct configuration rig_configuration(unsigned pod, uint64_t epoch, unsigned primary, const char *in_sync)
{
    struct configuration c = {.pod = rig_id(pod), .epoch = epoch, .primary = rig_id(primary), .count = 2};
    (void)snprintf(c.pod_name, sizeof c.pod_name, "p%x", pod);
    for (unsigned n = 1; n <= 2; n++) {
        struct member *m = &c.members[n - 1];
        *m = (struct member){
            .store = rig_id(n), .mode = MEMBER_SYNC, .in_sync = strchr(in_sync, '0' + (int)n)};
        (void)snprintf(m->node, sizeof m->node, "node%u", n);
    }
    return c;
}

void rig_start(struct rig *rig)
{
    const int rc = mediator_core_create(rig->store, &rig->core, &rig->err);
    if (rc)
        (void)fprintf(stderr, "%s\n", rig->err.detail);
    assert(rc == 0);
}

void rig_stop(struct rig *rig)
{
    mediator_core_destroy(rig->core);
    rig->core = NULL;
}

void rig_restart(struct rig *rig)
{
    rig_stop(rig);
    rig_start(rig);
}

int rig_change(struct rig *rig, unsigned requester, unsigned request, uint64_t expected,
               const struct configuration *next)
{
    const struct mediator_change_pod pod = {.expected_epoch = expected, .next = *next};
    const struct mediator_change change = {.cluster = "c",
                                           .mediator = rig->store->id,
                                           .request_id = rig_id(request),
                                           .requester = rig_id(requester),
                                           .count = 1,
                                           .pods = &pod};
    const int rc = mediator_change(rig->core, &change, ++rig->now_unix_ns, &rig->reply, &rig->err);
    if (rc)
        return rc;
    assert(rig->reply.granted == mediator_verdict_grants(rig->reply.pods[0].verdict));
    return (int)rig->reply.pods[0].verdict;
}

void rig_register(struct rig *rig, unsigned pod)
{
    const struct configuration first = rig_configuration(pod, 1, 1, "12");
    const int verdict = rig_change(rig, 1, 0xf0, 0, &first);
    assert(verdict == MEDIATOR_GRANTED);
}

uint64_t rig_epoch(const struct rig *rig, unsigned pod)
{
    const struct uuid id = rig_id(pod);
    const struct mediator_pod *record = mediator_get(rig->core, "c", &id, NULL);
    return record ? record->configuration.epoch : 0;
}

const char *rig_history(struct rig *rig, unsigned pod)
{
    static char out[1024];
    struct mediator_decision d[16];
    const struct uuid id = rig_id(pod);
    size_t n = 0;
    out[0] = '\0';
    const int rc = mediator_history(rig->core, "c", &id, 0, d, 16, &n, &rig->err);
    assert(rc == 0);
    for (size_t i = 0; i < n; i++)
        (void)snprintf(out + strlen(out), sizeof out - strlen(out), "%s%u %s", i ? ", " : "",
                       (unsigned)d[i].number, mediator_verdict_name(d[i].verdict));
    return out;
}
