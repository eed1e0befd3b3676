/* Several hosts that read and write the same few blocks through several nodes, whatever happens to these, and
 * a record of what each did and saw: deeds.h says what is demanded of it.
 *
 *   block_hosts VOLUME BYTES WAY...
 *
 * A WAY is NODE=nbd://HOST:PORT/EXPORT, or NODE=ENDPOINT of the RPC interface; NODE 0 with several endpoints,
 * separated by blanks, leaves the choice to the library. Each way has HOSTS_A_WAY hosts; each has one request
 * at a time, gives it up after LIMIT_MS, and comes back with a new connection.
 *
 * It is told on standard input what to do, a line each, and answers each with a line:
 *
 *   mark            something is being done to the nodes now
 *   resumed MS      waits until a write that began after the mark is answered: how many ms after the mark
 *   more N NODE MS  waits until N more requests were answered by that node (0: any)
 *   fence NODE      what was asked of that node (0: any) so far and was not answered takes effect no more
 *   settle NODE     the same, of what it was asked before the mark
 *   lurk NODE       more hosts connect to that node, and keep quiet
 *   pounce          each of them makes one request, now
 *   stop            the hosts end what they do, and disconnect
 *   sweep WAY       reads all blocks by that way (the first is 0)
 *   verdict FILE    judges, and ends: with status 0 if nothing is wrong, else with the record in FILE
 *
 * Answers begin with "ok" or "failed".
 *
 * Lurkers are for a node that was primary: those who wait for an answer since before it was replaced may as
 * well get an old one, those who ask afterwards may not, and no node takes in hosts when it does not serve.
 */
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/integration/hosts/access.h"
#include "tests/integration/hosts/content.h"
#include "tests/integration/hosts/deeds.h"

enum {
    BLOCKS = 96,
    HOSTS_A_WAY = 3,
    WAYS_MAX = 8,
    NODES = 8,
    LURKERS_A_WAY = 8,
    LURKERS_MAX = 64,
    LIMIT_MS = 10000,
    AGAIN_NS = 20000000,     /* after a refusal or a lost connection */
    THINK_MAX_NS = 10000000, /* between two requests */
};

struct way {
    unsigned node;
    const char *url;
};

struct host {
    struct hosts *all;
    const struct way *way;
    uint64_t random;
    pthread_t thread;
};

/* Its thread runs from `pounce` on. */
struct lurker {
    struct hosts *all;
    const struct way *way;
    struct access *access;
    uint32_t block;
    bool write;
    pthread_t thread;
};

struct hosts {
    const char *volume;
    uint64_t run, stride, start;
    struct way ways[WAYS_MAX];
    unsigned nways, nhosts;
    struct host host[WAYS_MAX * HOSTS_A_WAY];
    struct lurker lurker[LURKERS_MAX];
    unsigned nlurkers, npounced; /* those behind `npounced` keep quiet */
    atomic_bool stopping;
    bool stopped, judged, good;

    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t answered;
    struct deeds *deeds;
    uint64_t next_value[BLOCKS];
    uint64_t answers[NODES], all_answers;
    uint64_t first_mark, mark, resumed; /* 0: not yet */
    char wrong[300];                    /* the first answer that no host should get */
};

static uint64_t now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Since the start: what deeds and marks count in. */
static uint64_t elapsed(const struct hosts *all)
{
    return now() - all->start;
}

static void pause_for(uint64_t ns)
{
    const struct timespec t = {.tv_nsec = (long)ns};
    (void)nanosleep(&t, NULL);
}

/* xorshift64: Marsaglia, Xorshift RNGs, J. Stat. Soft. 8 (2003). */
static uint64_t drawn(struct host *host)
{
    host->random ^= host->random << 13;
    host->random ^= host->random >> 7;
    return host->random ^= host->random << 17;
}

static struct access *open_way(struct hosts *all, const struct way *way)
{
    if (!strncmp(way->url, "nbd:", 4))
        return access_open_nbd(way->url, LIMIT_MS);
    return access_open_rpc(way->url, all->volume, LIMIT_MS);
}

static uint64_t offset_of(const struct hosts *all, uint32_t block)
{
    return block * all->stride;
}

static void note_wrong(struct hosts *all, const struct way *way, const char *what)
{
    if (!all->wrong[0])
        (void)snprintf(all->wrong, sizeof all->wrong, "%s: a host was told: %s", way->url, what);
}

/* Keeps what came of a request. */
static void note(struct hosts *all, const struct way *way, struct deed *deed, enum access_status status,
                 const char *why, const char *nonsense)
{
    static const enum deed_outcome outcomes[] = {DEED_ANSWERED, DEED_REFUSED, DEED_UNKNOWN, DEED_UNKNOWN};
    deed->outcome = outcomes[status];
    (void)pthread_mutex_lock(&all->lock);
    if (status == ACCESS_WRONG)
        note_wrong(all, way, why);
    if (nonsense)
        deeds_nonsense(all->deeds, deed->block, nonsense);
    else if (deed->write || status == ACCESS_OK)
        deeds_add(all->deeds, deed);
    if (status == ACCESS_OK) {
        all->answers[way->node]++;
        all->all_answers++;
        if (deed->write && !all->resumed && deed->begin > all->mark)
            all->resumed = deed->end;
        (void)pthread_cond_signal(&all->answered);
    }
    (void)pthread_mutex_unlock(&all->lock);
}

static enum access_status request(struct hosts *all, const struct way *way, struct access *access, bool write,
                                  uint32_t block)
{
    uint8_t bytes[CONTENT_BYTES];
    struct deed deed = {.write = write, .node = way->node, .block = block};
    if (write) {
        (void)pthread_mutex_lock(&all->lock);
        deed.value = ++all->next_value[block];
        (void)pthread_mutex_unlock(&all->lock);
        content_make(bytes, all->run, block, deed.value);
    }
    deed.begin = elapsed(all);
    const enum access_status status = access_transfer(access, write, bytes, offset_of(all, block));
    deed.end = elapsed(all);
    const char *nonsense = NULL;
    if (!write && status == ACCESS_OK)
        nonsense = content_read(bytes, all->run, block, &deed.value);
    note(all, way, &deed, status, access->why, nonsense);
    return status;
}

static void *host_main(void *arg)
{
    struct host *host = arg;
    struct hosts *all = host->all;
    struct access *access = NULL;
    while (!atomic_load(&all->stopping)) {
        if (!access && !(access = open_way(all, host->way))) {
            pause_for(AGAIN_NS);
            continue;
        }
        const bool write = drawn(host) >> 63;
        const uint32_t block = (uint32_t)((drawn(host) >> 32) % BLOCKS);
        const enum access_status status = request(all, host->way, access, write, block);
        if (status == ACCESS_LOST || status == ACCESS_WRONG) {
            access_close(access);
            access = NULL;
        }
        pause_for(status == ACCESS_OK ? drawn(host) % THINK_MAX_NS : AGAIN_NS);
    }
    if (access)
        access_close(access);
    return NULL;
}

static void *lurker_main(void *arg)
{
    struct lurker *lurker = arg;
    (void)request(lurker->all, lurker->way, lurker->access, lurker->write, lurker->block);
    access_close(lurker->access);
    return NULL;
}

static void run_thread(pthread_t *thread, void *(*thread_main)(void *), void *arg)
{
    if (pthread_create(thread, NULL, thread_main, arg)) {
        (void)fprintf(stderr, "block_hosts: no threads to be had\n");
        exit(2);
    }
}

/* ---- what it is told */

/* Waits, with the lock held, until answered or `until`; false: time is up. */
static bool wait_answer(struct hosts *all, uint64_t until)
{
    const struct timespec t = {.tv_sec = (time_t)(until / 1000000000), .tv_nsec = (long)(until % 1000000000)};
    return pthread_cond_timedwait(&all->answered, &all->lock, &t) == 0;
}

static void say(const char *answer)
{
    (void)puts(answer);
    (void)fflush(stdout);
}

static void do_mark(struct hosts *all)
{
    (void)pthread_mutex_lock(&all->lock);
    all->mark = elapsed(all);
    if (!all->first_mark)
        all->first_mark = all->mark;
    all->resumed = 0;
    (void)pthread_mutex_unlock(&all->lock);
    say("ok");
}

static void do_resumed(struct hosts *all, unsigned ms)
{
    char answer[64] = "failed: no write was answered";
    (void)pthread_mutex_lock(&all->lock);
    const uint64_t until = now() + ms * UINT64_C(1000000);
    while (!all->resumed && wait_answer(all, until))
        ;
    if (all->resumed)
        (void)snprintf(answer, sizeof answer, "ok %" PRIu64, (all->resumed - all->mark) / 1000000);
    (void)pthread_mutex_unlock(&all->lock);
    say(answer);
}

static void do_more(struct hosts *all, unsigned n, unsigned node, unsigned ms)
{
    (void)pthread_mutex_lock(&all->lock);
    const uint64_t *answers = node ? &all->answers[node] : &all->all_answers;
    const uint64_t before = *answers, until = now() + ms * UINT64_C(1000000);
    while (*answers < before + n && wait_answer(all, until))
        ;
    const uint64_t got = *answers - before;
    (void)pthread_mutex_unlock(&all->lock);
    char answer[64];
    (void)snprintf(answer, sizeof answer, "%s: %" PRIu64 " answers", got >= n ? "ok" : "failed", got);
    say(answer);
}

static void do_fence(struct hosts *all, unsigned node, bool marked)
{
    (void)pthread_mutex_lock(&all->lock);
    const uint64_t at = elapsed(all);
    deeds_fence(all->deeds, node, marked ? all->mark : at, at);
    (void)pthread_mutex_unlock(&all->lock);
    say("ok");
}

static void do_lurk(struct hosts *all, unsigned node)
{
    const unsigned before = all->nlurkers;
    for (unsigned i = 0; i < all->nways * LURKERS_A_WAY && all->nlurkers < LURKERS_MAX; i++) {
        const struct way *way = &all->ways[i % all->nways];
        struct access *access = way->node == node ? open_way(all, way) : NULL;
        if (access) {
            const unsigned n = all->nlurkers++;
            all->lurker[n] = (struct lurker){
                .all = all, .way = way, .access = access, .block = n % BLOCKS, .write = n % 4 == 0};
        }
    }
    char answer[64];
    (void)snprintf(answer, sizeof answer, "%s %u",
                   all->nlurkers > before ? "ok" : "failed:", all->nlurkers - before);
    say(answer);
}

static void do_pounce(struct hosts *all)
{
    for (; all->npounced < all->nlurkers; all->npounced++)
        run_thread(&all->lurker[all->npounced].thread, lurker_main, &all->lurker[all->npounced]);
    say("ok");
}

static void stop(struct hosts *all)
{
    if (all->stopped)
        return;
    atomic_store(&all->stopping, true);
    for (unsigned i = 0; i < all->nhosts; i++)
        (void)pthread_join(all->host[i].thread, NULL);
    for (unsigned i = 0; i < all->npounced; i++)
        (void)pthread_join(all->lurker[i].thread, NULL);
    for (unsigned i = all->npounced; i < all->nlurkers; i++)
        access_close(all->lurker[i].access);
    all->stopped = true;
}

static void do_sweep(struct hosts *all, unsigned number)
{
    const struct way *way = &all->ways[number];
    struct access *access = number < all->nways ? open_way(all, way) : NULL;
    if (!access) {
        say("failed: no connection");
        return;
    }
    enum access_status status = ACCESS_OK;
    for (uint32_t block = 0; block < BLOCKS && status == ACCESS_OK; block++)
        status = request(all, way, access, false, block);
    char answer[300] = "ok";
    if (status != ACCESS_OK)
        (void)snprintf(answer, sizeof answer, "failed: %s", access->why);
    access_close(access);
    say(answer);
}

static void print_deeds(struct hosts *all, const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file) {
        perror(path);
        return;
    }
    deeds_print(all->deeds, file);
    (void)fclose(file);
}

static void do_verdict(struct hosts *all, const char *path)
{
    char why[300];
    stop(all);
    all->judged = true;
    all->good = !all->wrong[0] && deeds_judge(all->deeds, why, sizeof why);
    if (!all->good) {
        print_deeds(all, path);
        (void)printf("failed: %s\n", all->wrong[0] ? all->wrong : why);
    } else {
        const struct deeds_sums sums = deeds_count(all->deeds);
        (void)printf("ok: %" PRIu64 " writes and %" PRIu64 " reads of %u blocks are one disk's; %" PRIu64
                     " writes were refused, %" PRIu64 " stayed without an answer (%" PRIu64
                     " of them were seen); at most %" PRIu64 " ms without a write\n",
                     sums.writes, sums.reads, (unsigned)BLOCKS, sums.refused, sums.unknown, sums.unknown_seen,
                     deeds_longest_pause(all->deeds, all->first_mark) / 1000000);
    }
    (void)fflush(stdout);
}

static void obey(struct hosts *all, const char *line)
{
    unsigned a, b, c;
    char path[400];
    if (!strcmp(line, "mark\n")) {
        do_mark(all);
    } else if (sscanf(line, "resumed %u", &a) == 1) {
        do_resumed(all, a);
    } else if (sscanf(line, "more %u %u %u", &a, &b, &c) == 3 && b < NODES) {
        do_more(all, a, b, c);
    } else if (sscanf(line, "fence %u", &a) == 1 && a < NODES) {
        do_fence(all, a, false);
    } else if (sscanf(line, "settle %u", &a) == 1 && a < NODES) {
        do_fence(all, a, true);
    } else if (sscanf(line, "lurk %u", &a) == 1) {
        do_lurk(all, a);
    } else if (!strcmp(line, "pounce\n")) {
        do_pounce(all);
    } else if (!strcmp(line, "stop\n")) {
        stop(all);
        say("ok");
    } else if (sscanf(line, "sweep %u", &a) == 1) {
        do_sweep(all, a);
    } else if (sscanf(line, "verdict %399s", path) == 1) {
        do_verdict(all, path);
    } else {
        say("failed: what?");
    }
}

/* ---- assembly */

static bool take_way(struct hosts *all, const char *argument)
{
    const char *equals = strchr(argument, '=');
    char *end;
    const unsigned long node = strtoul(argument, &end, 10);
    if (end != equals || node >= NODES || all->nways == WAYS_MAX)
        return false;
    all->ways[all->nways++] = (struct way){(unsigned)node, equals + 1};
    return true;
}

static void start(struct hosts *all)
{
    for (unsigned i = 0; i < all->nways * HOSTS_A_WAY; i++) {
        struct host *host = &all->host[i];
        *host = (struct host){.all = all, .way = &all->ways[i % all->nways], .random = all->run + i};
        run_thread(&host->thread, host_main, host);
        all->nhosts++;
    }
}

int main(int argc, char **argv)
{
    static struct hosts all = {.lock = PTHREAD_MUTEX_INITIALIZER};
    bool understood = argc > 3;
    for (int i = 3; i < argc; i++)
        understood = understood && take_way(&all, argv[i]);
    const uint64_t bytes = understood ? strtoull(argv[2], NULL, 10) : 0;
    all.stride = bytes / BLOCKS / CONTENT_BYTES * CONTENT_BYTES;
    if (!understood || !all.stride) {
        (void)fprintf(stderr, "usage: block_hosts VOLUME BYTES NODE=URL...\n");
        return 2;
    }
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&all.answered, &attributes);
    all.volume = argv[1];
    all.start = all.run = now();
    all.deeds = deeds_create(BLOCKS);
    start(&all);

    char line[500];
    while (!all.judged && fgets(line, sizeof line, stdin))
        obey(&all, line);
    stop(&all);
    deeds_destroy(all.deeds);
    return all.good ? 0 : 1;
}
