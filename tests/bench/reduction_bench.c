/* What the reduction pipeline costs on one core, against LZ4 of 32 KiB +
 * XXH3-128 of 4 KiB alone on the same data.
 *
 *   reduction_bench FILE [MIB [ROUNDS]]
 *
 * The file's patterns and duplicates are taken out first: what is measured is
 * unique data. CPU time of the thread; the candidates alternate in each round and
 * the medians of the rounds are compared, so that neighbours disturb all alike. */
#include <assert.h>
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/xxh3.h"
#include "node/pod/block_cache.h"
#include "node/reduction/dedup_index.h"
#include "node/reduction/fingerprint.h"
#include "node/reduction/pattern.h"
#include "node/reduction/record.h"

enum {
    BLOCK = 4096,
    BLOCKS = RECORD_MAX_BLOCKS,
    GROUP = BLOCK * BLOCKS,
    MAX_ROUNDS = 15,
    BATCH = 1 << 20,
};

struct bench {
    uint8_t *data; /* whole groups of unique blocks */
    size_t bytes, ngroups;
    struct record_codec *codec;
    struct dedup_index *index;
    struct block_cache *cache;
    uint8_t *records; /* RECORD_MAX_BYTES a group: what a device would hold */
    uint32_t *lengths;
    uint8_t *batch; /* as the pod has it: records one behind the other, then from the start again */
    uint8_t *out;
    uint64_t stored, sink;
    enum fingerprint_algorithm fingerprint;
    enum record_algorithm algorithm;
    bool joint;
};

static double cpu_seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static const uint8_t *block_at(const struct bench *b, size_t group, unsigned slot)
{
    return b->data + group * GROUP + (size_t)slot * BLOCK;
}

/* Reads the file and keeps each block's first occurrence. */
static void load_unique(struct bench *b, const char *path, size_t limit)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    struct dedup_index *seen = dedup_index_create(64 << 20, NULL);
    b->data = malloc(limit + BLOCK);
    if (!seen || !b->data)
        exit(1);
    size_t patterns = 0, duplicates = 0;
    while (b->bytes < limit && fread(b->data + b->bytes, 1, BLOCK, f) == BLOCK) {
        uint8_t *const block = b->data + b->bytes;
        uint32_t pattern;
        struct fingerprint fp;
        uint64_t ids[DEDUP_INDEX_CANDIDATES];
        if (pattern_detect(block, &pattern)) {
            patterns++;
            continue;
        }
        fingerprint_block(FINGERPRINT_XXH3_128, block, &fp);
        if (dedup_index_lookup(seen, fingerprint_key(&fp), ids) > 0) {
            duplicates++;
            continue;
        }
        dedup_index_insert(seen, fingerprint_key(&fp), b->bytes / BLOCK);
        b->bytes += BLOCK;
    }
    (void)fclose(f);
    dedup_index_destroy(seen);
    b->ngroups = b->bytes / GROUP;
    b->bytes = b->ngroups * GROUP;
    printf("%s: %zu MiB of unique blocks; left out: %zu patterns, %zu duplicates\n", path, b->bytes >> 20,
           patterns, duplicates);
    if (b->ngroups == 0)
        exit(1);
}

static double reference(struct bench *b)
{
    const double start = cpu_seconds();
    uint64_t stored = 0;
    for (size_t g = 0; g < b->ngroups; g++) {
        for (unsigned i = 0; i < BLOCKS; i++)
            b->sink += XXH3_128bits(block_at(b, g, i), BLOCK).low64;
        stored += (uint64_t)LZ4_compress_default((const char *)block_at(b, g, 0), (char *)b->out, GROUP,
                                                 LZ4_COMPRESSBOUND(GROUP));
    }
    b->stored = stored;
    return cpu_seconds() - start;
}

/* Pattern, fingerprint and look-up of one group; ids of the first candidates. */
static unsigned probe(struct bench *b, size_t group, uint64_t keys[BLOCKS], uint64_t found[BLOCKS])
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        uint32_t pattern;
        struct fingerprint fp;
        b->sink += pattern_detect(block_at(b, group, i), &pattern);
        fingerprint_block(b->fingerprint, block_at(b, group, i), &fp);
        keys[i] = fingerprint_key(&fp);
        dedup_index_prefetch(b->index, keys[i]);
    }
    unsigned hits = 0;
    for (unsigned i = 0; i < BLOCKS; i++) {
        uint64_t ids[DEDUP_INDEX_CANDIDATES];
        found[i] = UINT64_MAX;
        if (dedup_index_lookup(b->index, keys[i], ids) > 0) {
            found[i] = ids[0];
            hits++;
        }
    }
    return hits;
}

/* What an earlier round inserted, so that the data is new again. */
static void forget(struct bench *b)
{
    for (size_t g = 0; g < b->ngroups; g++)
        for (unsigned i = 0; i < BLOCKS; i++) {
            struct fingerprint fp;
            fingerprint_block(b->fingerprint, block_at(b, g, i), &fp);
            (void)dedup_index_remove(b->index, fingerprint_key(&fp), record_block_id(g, i));
        }
}

/* The state of an index that has been in use: resident, and full of other blocks. */
static struct dedup_index *make_full_index(void)
{
    struct dedup_index *index = dedup_index_create(64 << 20, NULL);
    if (!index)
        exit(1);
    struct dedup_index_stats stats;
    dedup_index_stats(index, &stats);
    uint64_t key = 1;
    for (uint64_t i = 0; i < 3 * stats.capacity; i++) {
        key = (key + i) * 0xbf58476d1ce4e5b9ull;
        key ^= key >> 29;
        dedup_index_insert(index, key, (1ull << 40) + i);
    }
    return index;
}

static double unique_data(struct bench *b)
{
    forget(b);
    size_t at = 0;
    const double start = cpu_seconds();
    uint64_t stored = 0;
    for (size_t g = 0; g < b->ngroups; g++) {
        uint64_t keys[BLOCKS], found[BLOCKS];
        const void *blocks[BLOCKS];
        b->sink += probe(b, g, keys, found);
        for (unsigned i = 0; i < BLOCKS; i++)
            blocks[i] = block_at(b, g, i);
        if (at + RECORD_MAX_BYTES > BATCH)
            at = 0;
        const size_t length = record_encode(b->codec, b->algorithm, g, blocks, BLOCKS, b->joint,
                                            b->batch + at, RECORD_MAX_BYTES);
        at += length;
        for (unsigned i = 0; i < BLOCKS; i++)
            dedup_index_insert(b->index, keys[i], record_block_id(g, i));
        stored += length;
    }
    b->stored = stored;
    return cpu_seconds() - start;
}

static double duplicates_cached(struct bench *b)
{
    const double start = cpu_seconds();
    for (size_t g = 0; g < b->ngroups; g++) {
        uint64_t keys[BLOCKS], found[BLOCKS];
        const unsigned hits = probe(b, g, keys, found);
        assert(hits == BLOCKS);
        for (unsigned i = 0; i < BLOCKS; i++)
            block_cache_prefetch(b->cache, found[i]);
        for (unsigned i = 0; i < BLOCKS; i++) {
            const void *const candidate = block_cache_get(b->cache, found[i]);
            assert(candidate);
            b->sink += memcmp(candidate, block_at(b, g, i), BLOCK) == 0;
        }
        b->sink += hits;
    }
    return cpu_seconds() - start;
}

/* The device's part is not counted: verify, decode and compare are. */
static double duplicates_cold(struct bench *b)
{
    const double start = cpu_seconds();
    for (size_t g = 0; g < b->ngroups; g++) {
        uint64_t keys[BLOCKS], found[BLOCKS];
        void *out[BLOCKS];
        b->sink += probe(b, g, keys, found);
        const uint8_t *const record = b->records + g * RECORD_MAX_BYTES;
        int status = record_verify(record, b->lengths[g], g, NULL);
        for (unsigned i = 0; i < BLOCKS; i++)
            out[i] = b->out + (size_t)i * BLOCK;
        status |= record_decode_all(b->codec, record, b->lengths[g], out, NULL);
        status |= memcmp(b->out, block_at(b, g, 0), GROUP);
        assert(status == 0);
        b->sink += (unsigned)status;
    }
    return cpu_seconds() - start;
}

/* One block of each record, as a random read does. */
static double single_reads(struct bench *b)
{
    const double start = cpu_seconds();
    for (size_t g = 0; g < b->ngroups; g++) {
        const uint8_t *const record = b->records + g * RECORD_MAX_BYTES;
        int status = record_verify(record, b->lengths[g], g, NULL);
        status |=
            record_decode_block(b->codec, record, b->lengths[g], (unsigned)(g * 5 % BLOCKS), b->out, NULL);
        assert(status == 0);
    }
    return cpu_seconds() - start;
}

/* What a device would hold, for the rows that read it. */
static void store_records(struct bench *b)
{
    for (size_t g = 0; g < b->ngroups; g++) {
        const void *blocks[BLOCKS];
        for (unsigned i = 0; i < BLOCKS; i++)
            blocks[i] = block_at(b, g, i);
        b->lengths[g] = (uint32_t)record_encode(b->codec, b->algorithm, g, blocks, BLOCKS, b->joint,
                                                b->records + g * RECORD_MAX_BYTES, RECORD_MAX_BYTES);
    }
}

/* ---- parts, 256 KiB at a time so that the data is in the cache */

static double patterns_in(struct bench *b, const uint8_t *data, size_t blocks)
{
    double start = 0;
    for (unsigned again = 0; again < 101; again++) {
        if (again == 1) /* the first time brings the data into the cache */
            start = cpu_seconds();
        for (size_t i = 0; i < blocks; i++) {
            uint32_t pattern = 0;
            b->sink += pattern_detect(data + i * BLOCK, &pattern) + pattern;
        }
    }
    return (cpu_seconds() - start) / 100 / (double)blocks * 1e9;
}

static double fingerprints_of(struct bench *b, enum fingerprint_algorithm algorithm, size_t blocks)
{
    const double start = cpu_seconds();
    for (unsigned again = 0; again < 20; again++)
        for (size_t i = 0; i < blocks; i++) {
            struct fingerprint fp;
            fingerprint_block(algorithm, b->data + i * BLOCK, &fp);
            b->sink += fp.bytes[0];
        }
    return (cpu_seconds() - start) / 20 / (double)blocks * 1e9;
}

static void parts(struct bench *b)
{
    const size_t blocks = b->bytes / BLOCK < 64 ? b->bytes / BLOCK : 64;
    static uint8_t zeroes[64 * BLOCK];
    printf("ns per 4 KiB: pattern_detect %.1f on data, %.0f on zeroes; XXH3-128 %.0f; SHA-256 %.0f\n",
           patterns_in(b, b->data, blocks), patterns_in(b, zeroes, 64),
           fingerprints_of(b, FINGERPRINT_XXH3_128, blocks), fingerprints_of(b, FINGERPRINT_SHA256, blocks));
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof *v, by_value);
    return v[n / 2];
}

struct row {
    const char *name;
    double (*run)(struct bench *b);
    double seconds[MAX_ROUNDS];
    double target; /* of the reference's speed; 0: none */
    uint64_t stored;
};

static void run_rows(struct bench *b, const char *title, struct row *rows, unsigned nrows, unsigned rounds)
{
    store_records(b);
    for (unsigned r = 0; r < rounds; r++)
        for (unsigned i = 0; i < nrows; i++) {
            b->stored = 0;
            rows[i].seconds[r] = rows[i].run(b);
            rows[i].stored = b->stored;
        }
    printf("\n%-34s %10s %8s %10s %8s\n", title, "us/4KiB", "MiB/s", "x of ref.", "ratio");
    const double base = median(rows[0].seconds, rounds);
    /* The targets are about data that compresses; LZ4 skips over other data at the speed of memory. */
    const bool compressible = (double)b->bytes > 1.1 * (double)rows[0].stored;
    for (unsigned i = 0; i < nrows; i++) {
        const double s = median(rows[i].seconds, rounds);
        printf("%-34s %10.3f %8.0f %10.2f", rows[i].name, s * 1e6 / ((double)b->bytes / BLOCK),
               (double)b->bytes / s / 1048576, base / s);
        if (rows[i].stored)
            printf(" %8.3f", (double)b->bytes / (double)rows[i].stored);
        if (rows[i].target > 0 && compressible)
            printf("%*s target %.1f: %s", rows[i].stored ? 0 : 9, "", rows[i].target,
                   base / s >= rows[i].target ? "met" : "MISSED");
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "usage: reduction_bench FILE [MIB [ROUNDS]]\n");
        return 2;
    }
    const size_t mib = argc > 2 ? strtoul(argv[2], NULL, 10) : 64;
    unsigned rounds = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 5;
    rounds = rounds < 1 ? 1 : rounds > MAX_ROUNDS ? MAX_ROUNDS : rounds;
    static struct bench b = {.fingerprint = FINGERPRINT_XXH3_128, .algorithm = RECORD_LZ4, .joint = true};
    load_unique(&b, argv[1], mib << 20);
    const struct block_cache_config config = {.budget_bytes = b.bytes + b.bytes / 64 + BLOCK_CACHE_MIN_BYTES};
    b.codec = record_codec_create();
    b.index = make_full_index();
    b.cache = block_cache_create(&config);
    b.records = malloc(b.ngroups * RECORD_MAX_BYTES);
    b.lengths = calloc(b.ngroups, sizeof *b.lengths);
    b.batch = malloc(BATCH);
    b.out = malloc(LZ4_COMPRESSBOUND(GROUP));
    if (!b.codec || !b.cache || !b.records || !b.lengths || !b.batch || !b.out)
        return 1;
    for (size_t g = 0; g < b.ngroups; g++)
        for (unsigned i = 0; i < BLOCKS; i++)
            (void)block_cache_put(b.cache, record_block_id(g, i), block_at(&b, g, i));

    parts(&b);

    struct row rows[] = {{.name = "LZ4 32 KiB + XXH3-128 alone", .run = reference},
                         {.name = "pipeline, unique data", .run = unique_data, .target = 0.8},
                         {.name = "pipeline, duplicates, cached", .run = duplicates_cached, .target = 5},
                         {.name = "pipeline, duplicates, cold", .run = duplicates_cold, .target = 1},
                         {.name = "read one block of a group (/32 KiB)", .run = single_reads}};
    run_rows(&b, "consecutive, XXH3-128, LZ4", rows, 5, rounds);

    b.joint = false;
    struct row apart[] = {rows[0], rows[1], rows[3], rows[4]};
    apart[1].target = 0;
    run_rows(&b, "scattered, XXH3-128, LZ4", apart, 4, rounds);

    b.joint = true;
    b.fingerprint = FINGERPRINT_SHA256;
    struct row sha[] = {rows[0], rows[1]};
    sha[1].target = 0;
    run_rows(&b, "consecutive, SHA-256, LZ4", sha, 2, rounds);

    b.fingerprint = FINGERPRINT_XXH3_128;
    b.algorithm = RECORD_ZSTD;
    struct row zstd[] = {rows[0], rows[1], rows[3]};
    zstd[1].target = zstd[2].target = 0;
    run_rows(&b, "consecutive, XXH3-128, zstd-1", zstd, 3, rounds);
    return b.sink == 0;
}
