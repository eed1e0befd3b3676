/* What storing blocks would take, found out the way a write's piece is reduced (write.c, batch_build.c),
 * without storing them. Nothing is changed: not the dedup index's order, not the caches, and nothing is read
 * from flash. So a block counts as stored already when the index says so and its id is not known to be gone;
 * bytes are not compared, which errs once in 75,000 lookups (dedup_index.h). */
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"
#include "node/reduction/pattern.h"

static bool is_stored(struct pod *pod, uint64_t key)
{
    uint64_t ids[DEDUP_INDEX_CANDIDATES];
    const unsigned n = dedup_index_peek(pod->dedup, key, ids);
    bool missing = false, live = false;
    for (unsigned i = 0; i < n && !live; i++)
        live = block_is_live(pod->view, ids[i], &missing);
    view_missing_clear(pod->view); /* nobody is to load it for this */
    return live || missing;
}

static void look_at(struct pod *pod, const uint8_t *data, uint32_t at, struct pod_measured *out)
{
    struct fingerprint fp;
    uint32_t pattern;
    struct pod_measured *m = &out[at];
    *m = (struct pod_measured){.kind = POD_MEASURED_NEW};
    if (pattern_detect(data + (size_t)at * POD_BLOCK_BYTES, &pattern)) {
        m->kind = POD_MEASURED_PATTERN;
        return;
    }
    fingerprint_block(pod->fingerprint, data + (size_t)at * POD_BLOCK_BYTES, &fp);
    m->key = fingerprint_key(&fp);
    if (!pod->config.dedupe)
        return;
    for (uint32_t i = 0; i < at; i++)
        if (out[i].kind != POD_MEASURED_PATTERN && out[i].key == m->key) {
            m->kind = out[i].kind == POD_MEASURED_STORED ? POD_MEASURED_STORED : POD_MEASURED_TWIN;
            return;
        }
    if (is_stored(pod, m->key))
        m->kind = POD_MEASURED_STORED;
}

/* Neighbours are compressed together, a lone block by itself. */
static unsigned units_of(struct pod *pod, const uint8_t *data, uint32_t blocks, uint8_t *room)
{
    const void *group[GROUP_BLOCKS] = {0};
    for (uint32_t i = 0; i < blocks; i++)
        group[i] = data + (size_t)i * POD_BLOCK_BYTES;
    if (blocks > 1)
        return record_stored_share(record_encode(pod->codec, pod->algorithm, 0, group, blocks, true, room,
                                                 record_bound(GROUP_BLOCKS)),
                                   blocks);
    struct record_scatter scatter;
    record_scatter_begin(&scatter, room);
    return record_stored_share(record_scatter_add(pod->codec, &scatter, pod->algorithm, data), 1);
}

int pod_measure(struct pod *pod, const void *data, uint32_t blocks, struct pod_measured *out)
{
    if (pod->state != POD_SERVING)
        return PS_EUNAVAILABLE;
    uint8_t *room = malloc(record_bound(GROUP_BLOCKS));
    if (!room)
        return PS_ENOMEM;
    for (uint32_t i = 0; i < blocks; i++)
        look_at(pod, data, i, out);
    for (uint32_t i = 0; i < blocks;) {
        uint32_t n = 0;
        while (n < GROUP_BLOCKS && i + n < blocks && out[i + n].kind == POD_MEASURED_NEW)
            n++;
        if (n == 0) {
            i++;
            continue;
        }
        const unsigned units = units_of(pod, (const uint8_t *)data + (size_t)i * POD_BLOCK_BYTES, n, room);
        for (uint32_t end = i + n; i < end; i++)
            out[i].units = units;
    }
    free(room);
    return 0;
}
