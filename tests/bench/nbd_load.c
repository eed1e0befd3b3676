/* An NBD load that fio cannot make: real data, and a flush counted at the end.
 *
 *   nbd_load URI read|write random|sequential BLOCK DEPTH SPAN SECONDS SOURCE SALT
 *
 * SPAN      bytes of the export that are used, from its start
 * SECONDS   how long; 0: one pass over SPAN (sequential)
 * SOURCE    what is written: a file (its blocks in order, again and again), `random` (incompressible), or
 *           `half` (half of each 4 KiB random, the rest zeroes); `-` when reading
 * SALT      0 to 255. All bytes of a file are XORed with the salt plus the number of the pass: other data for
 * a deduplicator, the same for a compressor.
 *
 * Prints "OPERATIONS BYTES SECONDS"; a final flush is waited for and its time included. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libnbd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

enum {
    MAX_DEPTH = 256
};

struct load {
    struct nbd_handle *nbd;
    bool write, random;
    uint32_t block;
    uint64_t span, cursor, operations;
    double seconds;
    const uint8_t *source; /* NULL: generated */
    uint64_t source_blocks, source_next;
    bool half;
    uint8_t salt;
    uint64_t state[2]; /* xorshift128+ */
};

struct slot {
    struct load *load;
    uint8_t *buffer;
    bool busy;
};

static void die(const char *what, const char *why)
{
    (void)fprintf(stderr, "nbd_load: %s: %s\n", what, why);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t draw(struct load *load)
{
    uint64_t x = load->state[0];
    const uint64_t y = load->state[1];
    load->state[0] = y;
    x ^= x << 23;
    load->state[1] = x ^ y ^ (x >> 17) ^ (y >> 26);
    return load->state[1] + y;
}

/* What the next write carries. */
static void fill(struct load *load, uint8_t *buffer)
{
    uint64_t *words = (uint64_t *)(void *)buffer;
    const size_t count = load->block / 8;
    if (!load->source) {
        for (size_t i = 0; i < count; i++)
            words[i] = load->half && (i & 256) ? 0 : draw(load);
        return;
    }
    const uint64_t *from = (const uint64_t *)(const void *)(load->source + load->source_next * load->block);
    const uint64_t mask = load->salt * 0x0101010101010101ull;
    for (size_t i = 0; i < count; i++)
        words[i] = from[i] ^ mask;
    if (++load->source_next == load->source_blocks) {
        load->source_next = 0;
        load->salt++;
    }
}

static uint64_t next_offset(struct load *load)
{
    const uint64_t blocks = load->span / load->block;
    const uint64_t at = load->random ? draw(load) % blocks : load->cursor++ % blocks;
    return at * load->block;
}

static int done(void *user, int *error)
{
    struct slot *slot = user;
    if (*error)
        die("request", strerror(*error));
    slot->busy = false;
    slot->load->operations++;
    return 1;
}

static void submit(struct slot *slot)
{
    struct load *load = slot->load;
    const uint64_t offset = next_offset(load);
    const nbd_completion_callback cb = {.callback = done, .user_data = slot};
    int64_t cookie = 0;
    slot->busy = true;
    if (load->write) {
        fill(load, slot->buffer);
        cookie = nbd_aio_pwrite(load->nbd, slot->buffer, load->block, offset, cb, 0);
    } else {
        cookie = nbd_aio_pread(load->nbd, slot->buffer, load->block, offset, cb, 0);
    }
    if (cookie < 0)
        die("request", nbd_get_error());
}

static void run(struct load *load, unsigned depth)
{
    struct slot slots[MAX_DEPTH];
    for (unsigned i = 0; i < depth; i++) {
        slots[i] = (struct slot){.load = load, .buffer = aligned_alloc(4096, load->block)};
        if (!slots[i].buffer)
            die("memory", strerror(ENOMEM));
    }
    const uint64_t pass = load->span / load->block;
    const double begin = now();
    uint64_t sent = 0;
    unsigned inflight = depth;
    bool over = false;
    while (inflight > 0) {
        inflight = 0;
        for (unsigned i = 0; i < depth; i++) {
            if (!slots[i].busy && !over) {
                over = load->seconds > 0 ? now() - begin > load->seconds : sent == pass;
                if (!over) {
                    submit(&slots[i]);
                    sent++;
                }
            }
            inflight += slots[i].busy;
        }
        if (inflight > 0 && nbd_poll(load->nbd, -1) < 0)
            die("poll", nbd_get_error());
    }
    if (load->write && nbd_can_flush(load->nbd) > 0 && nbd_flush(load->nbd, 0) < 0)
        die("flush", nbd_get_error());
    (void)printf("%" PRIu64 " %" PRIu64 " %.6f\n", load->operations, load->operations * load->block,
                 now() - begin);
    for (unsigned i = 0; i < depth; i++)
        free(slots[i].buffer);
}

static void map_source(struct load *load, const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        die(path, strerror(errno));
    load->source_blocks = (uint64_t)st.st_size / load->block;
    if (load->source_blocks == 0)
        die(path, "smaller than a block");
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (map == MAP_FAILED)
        die(path, strerror(errno));
    load->source = map;
}

int main(int argc, char **argv)
{
    if (argc != 10)
        die("usage", "nbd_load URI read|write random|sequential BLOCK DEPTH SPAN SECONDS SOURCE SALT");
    struct load load = {
        .nbd = nbd_create(),
        .write = strcmp(argv[2], "write") == 0,
        .random = strcmp(argv[3], "random") == 0,
        .block = (uint32_t)strtoul(argv[4], NULL, 10),
        .span = strtoull(argv[6], NULL, 10),
        .seconds = strtod(argv[7], NULL),
        .half = strcmp(argv[8], "half") == 0,
        .salt = (uint8_t)strtoul(argv[9], NULL, 10),
    };
    const unsigned depth = (unsigned)strtoul(argv[5], NULL, 10);
    if (depth == 0 || depth > MAX_DEPTH || load.block < 4096 || load.block % 4096 != 0 ||
        load.span < load.block)
        die("usage", "DEPTH is 1 to 256, BLOCK a multiple of 4096, SPAN at least a block");
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    load.state[0] = (uint64_t)t.tv_nsec * 0x9e3779b97f4a7c15ull + 1;
    load.state[1] = (uint64_t)t.tv_sec * 0xbf58476d1ce4e5b9ull + load.salt + 1;
    if (load.write && !load.half && strcmp(argv[8], "random") != 0)
        map_source(&load, argv[8]);
    if (!load.nbd || nbd_connect_uri(load.nbd, argv[1]) < 0)
        die(argv[1], nbd_get_error());
    run(&load, depth);
    (void)nbd_shutdown(load.nbd, 0);
    nbd_close(load.nbd);
    return 0;
}
