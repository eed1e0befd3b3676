/* Zones on a device that polices its caller: it takes a write at a zone's write pointer alone, one at a time,
 * of so many zones and no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/blkdev_zones.h"
#include "common/container.h"
#include "common/prng.h"

enum {
    ZONES = 24,
    PITCH = 4 << 20,    /* from one zone to the next */
    CAPACITY = 3 << 20, /* of which the owner sees 2 MiB */
    USABLE = 2 << 20,
    PIECE = 256 << 10,
    UNIT = 4096,
    QUEUE = 2048,
};

struct device {
    struct blkdev base;
    struct zone_control control;
    uint8_t *bytes;
    uint64_t written[ZONES]; /* write pointers */
    bool full[ZONES], writing[ZONES];
    struct blkdev_req *queue[QUEUE];
    size_t queued;
    struct zone_command *commands[2];
    size_t ncommands;
    uint32_t max_active, most_active;
    uint32_t resets, finishes, reads;
    bool fail_resets, fail_writes;
    enum zone_condition failed_condition; /* of a zone whose reset fails */
    bool destroyed;
    struct prng prng;
};

static struct device device;

static uint32_t active(void)
{
    uint32_t n = 0;
    for (size_t i = 0; i < ZONES; i++)
        n += device.written[i] > 0 && !device.full[i];
    return n;
}

static int raw_submit(struct blkdev *dev, struct blkdev_req *req)
{
    (void)dev;
    assert_true(device.queued < QUEUE);
    if (req->op == BLKDEV_WRITE) {
        const size_t zone = req->offset / PITCH;
        assert_true(req->length <= PIECE);
        assert_int_equal(req->offset % PITCH, device.written[zone]);
        assert_true(device.written[zone] + req->length <= CAPACITY);
        assert_false(device.writing[zone] || device.full[zone]);
        device.writing[zone] = true;
    }
    device.reads += req->op == BLKDEV_READ;
    device.queue[device.queued++] = req;
    return 0;
}

static void raw_health(const struct blkdev *dev, struct blkdev_health *out)
{
    (void)dev;
    *out = (struct blkdev_health){0};
}

static void raw_destroy(struct blkdev *dev)
{
    (void)dev;
    device.destroyed = true;
}

static const struct blkdev_ops raw_ops = {.submit = raw_submit, .health = raw_health, .destroy = raw_destroy};

static void control_submit(struct zone_control *control, struct zone_command *command)
{
    (void)control;
    assert_true(device.ncommands < 2);
    device.commands[device.ncommands++] = command;
}

static void control_destroy(struct zone_control *control)
{
    (void)control;
    assert_int_equal(device.ncommands, 0);
}

static void end_request(size_t i)
{
    struct blkdev_req *req = device.queue[i];
    device.queue[i] = device.queue[--device.queued];
    int status = 0;
    if (req->op == BLKDEV_WRITE) {
        const size_t zone = req->offset / PITCH;
        device.writing[zone] = false;
        status = device.fail_writes ? PS_EIO : 0;
        if (status == 0) {
            memcpy(device.bytes + req->offset, req->buf, req->length);
            device.written[zone] += req->length;
            device.full[zone] = device.written[zone] == CAPACITY;
        }
        device.most_active = active() > device.most_active ? active() : device.most_active;
        assert_true(device.max_active == 0 || active() <= device.max_active);
    } else if (req->op == BLKDEV_READ) {
        assert_true(req->offset % PITCH + req->length <= device.written[req->offset / PITCH]);
        memcpy(req->buf, device.bytes + req->offset, req->length);
    }
    req->cb(req, status);
}

static void end_command(size_t i)
{
    struct zone_command *c = device.commands[i];
    device.commands[i] = device.commands[--device.ncommands];
    const size_t zone = c->start / PITCH;
    int status = 0;
    if (c->op != ZONE_NOTHING)
        assert_false(device.writing[zone]);
    if (c->op == ZONE_RESET) {
        device.resets++;
        status = device.fail_resets ? PS_EIO : 0;
        c->condition = device.failed_condition;
        device.full[zone] |= status && c->condition != ZONE_BEGUN;
        if (status == 0) {
            device.written[zone] = 0;
            device.full[zone] = false;
            memset(device.bytes + c->start, 0xee, PITCH);
        }
    } else if (c->op == ZONE_FINISH) {
        device.finishes++;
        device.full[zone] = true;
    }
    c->done(c, status);
}

/* Ends something that is under way; false: nothing is. */
static bool step(void)
{
    const size_t n = device.queued + device.ncommands;
    if (n == 0)
        return false;
    const size_t i = prng_below(&device.prng, n);
    if (i < device.queued)
        end_request(i);
    else
        end_command(i - device.queued);
    return true;
}

static void run_out(void)
{
    while (step())
        ;
}

static struct blkdev *open_zones(const struct zone_report zones[ZONES])
{
    struct blkdev *dev;
    struct ps_error err;
    const struct blkdev_zones_config config = {.raw = &device.base,
                                               .control = &device.control,
                                               .zones = zones,
                                               .count = ZONES,
                                               .zone_bytes = PITCH,
                                               .max_active = device.max_active,
                                               .piece_bytes = PIECE};
    device.destroyed = false;
    assert_int_equal(blkdev_zones_create(&config, &dev, &err), 0);
    return dev;
}

static struct blkdev *open_device(void)
{
    struct zone_report zones[ZONES];
    for (size_t i = 0; i < ZONES; i++)
        zones[i] = (struct zone_report){.start = i * (uint64_t)PITCH,
                                        .capacity = CAPACITY,
                                        .written = device.written[i],
                                        .condition = device.full[i]      ? ZONE_FULL
                                                     : device.written[i] ? ZONE_BEGUN
                                                                         : ZONE_EMPTY};
    return open_zones(zones);
}

static int set_up(void **state)
{
    uint8_t *bytes = device.bytes;
    device = (struct device){.bytes = bytes ? bytes : malloc((size_t)ZONES * PITCH), .max_active = 12};
    memset(device.bytes, 0xee, (size_t)ZONES * PITCH);
    prng_seed(&device.prng, 1);
    device.base = (struct blkdev){.ops = &raw_ops,
                                  .geometry = {.size_bytes = (uint64_t)ZONES * PITCH,
                                               .read_unit = UNIT,
                                               .write_unit = UNIT,
                                               .max_io_bytes = 4 << 20}};
    device.control = (struct zone_control){.submit = control_submit, .destroy = control_destroy};
    *state = NULL;
    return 0;
}

struct waited {
    struct blkdev_req req;
    bool done;
    int status;
};

static void on_done(struct blkdev_req *req, int status)
{
    struct waited *w = container_of(req, struct waited, req);
    assert_false(w->done);
    w->done = true;
    w->status = status;
}

static void begin(struct blkdev *dev, struct waited *w, enum blkdev_op op, uint64_t offset, uint32_t length,
                  void *buf)
{
    *w = (struct waited){.req = {.op = op, .offset = offset, .length = length, .buf = buf}};
    assert_int_equal(blkdev_submit(dev, &w->req, on_done), 0);
    assert_false(w->done);
}

static int run(struct blkdev *dev, enum blkdev_op op, uint64_t offset, uint32_t length, void *buf)
{
    struct waited w;
    begin(dev, &w, op, offset, length, buf);
    run_out();
    assert_true(w.done);
    return w.status;
}

static _Alignas(4096) uint8_t data[1 << 20], back[1 << 20];

static void fill(uint8_t seed)
{
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i / 512 + i * 7 + seed);
}

static void close_device(struct blkdev *dev)
{
    blkdev_destroy(dev);
    run_out();
    assert_true(device.destroyed);
}

static void zones_are_seen_without_gaps_and_a_write_goes_on_in_the_next(void **state)
{
    (void)state;
    struct blkdev *dev = open_device();
    assert_int_equal(dev->geometry.erase_bytes, USABLE);
    assert_int_equal(dev->geometry.size_bytes, ZONES * (uint64_t)USABLE);
    fill(1);
    assert_int_equal(run(dev, BLKDEV_WRITE, 0, 1 << 20, data), 0);
    assert_int_equal(run(dev, BLKDEV_WRITE, 1 << 20, (1 << 20) - 8 * UNIT, data), 0);
    assert_int_equal(run(dev, BLKDEV_WRITE, USABLE - 8 * UNIT, 1 << 20, data), 0);
    assert_int_equal(device.written[0], USABLE);
    assert_int_equal(device.written[1], (1 << 20) - 8 * UNIT);
    assert_int_equal(run(dev, BLKDEV_READ, USABLE - 8 * UNIT, 1 << 20, back), 0);
    assert_memory_equal(back, data, 1 << 20);
    /* The device holds zone 0 for begun: it has room that the owner doesn't see. */
    assert_true(device.full[0]);
    assert_int_equal(device.finishes, 1);
    close_device(dev);
}

static void writes_of_a_zone_wait_for_each_other(void **state)
{
    (void)state;
    struct blkdev *dev = open_device();
    struct waited w[8];
    fill(2);
    for (uint32_t i = 0; i < 8; i++)
        begin(dev, &w[i], BLKDEV_WRITE, i * 64 * UNIT, 64 * UNIT, data + i * 64 * UNIT % sizeof data);
    assert_int_equal(device.queued, 1);
    run_out();
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(w[i].status, 0);
    close_device(dev);
}

static void behind_the_write_pointer_are_zeroes_and_the_device_is_not_asked(void **state)
{
    (void)state;
    struct blkdev *dev = open_device();
    fill(3);
    assert_int_equal(run(dev, BLKDEV_READ, 5 * USABLE, 1 << 20, back), 0);
    assert_int_equal(device.reads, 0);
    assert_int_equal(run(dev, BLKDEV_WRITE, 0, 4 * UNIT, data), 0);
    memset(back, 0xcc, sizeof back);
    assert_int_equal(run(dev, BLKDEV_READ, 0, 8 * UNIT, back), 0);
    assert_memory_equal(back, data, 4 * UNIT);
    for (size_t i = 4 * UNIT; i < 8 * UNIT; i++)
        assert_int_equal(back[i], 0);
    close_device(dev);
}

static void an_empty_zone_is_not_reset_and_a_written_one_is(void **state)
{
    (void)state;
    struct blkdev *dev = open_device();
    fill(4);
    assert_int_equal(run(dev, BLKDEV_ERASE, 0, 4 * USABLE, NULL), 0);
    assert_int_equal(device.resets, 0);
    assert_int_equal(run(dev, BLKDEV_WRITE, USABLE, UNIT, data), 0);
    assert_int_equal(run(dev, BLKDEV_ERASE, 0, 4 * USABLE, NULL), 0);
    assert_int_equal(device.resets, 1);
    assert_int_equal(run(dev, BLKDEV_WRITE, USABLE, UNIT, data), 0);
    close_device(dev);
}

static void a_zone_whose_reset_fails_is_retired(void **state)
{
    (void)state;
    struct blkdev *dev = open_device();
    struct blkdev_wear wear;
    fill(5);
    assert_int_equal(run(dev, BLKDEV_WRITE, 0, UNIT, data), 0);
    device.fail_resets = true;
    assert_int_equal(run(dev, BLKDEV_ERASE, 0, 2 * USABLE, NULL), PS_EIO);
    assert_true(blkdev_wear(dev, 0, &wear) && wear.retired && wear.uncounted);
    assert_true(blkdev_wear(dev, USABLE, &wear) && !wear.retired);
    assert_int_equal(run(dev, BLKDEV_WRITE, 0, UNIT, data), PS_EIO);
    assert_int_equal(run(dev, BLKDEV_READ, 0, UNIT, back), 0);
    assert_int_equal(back[0], 0);
    assert_int_equal(run(dev, BLKDEV_ERASE, 0, USABLE, NULL), PS_EIO);
    close_device(dev);
}

static void a_zone_that_is_not_reset_counts_as_active_as_long_as_the_device_calls_it_begun(void **state)
{
    (void)state;
    struct blkdev *dev = open_device();
    fill(8);
    for (uint64_t i = 0; i < 12; i++)
        assert_int_equal(run(dev, BLKDEV_WRITE, i * USABLE, UNIT, data), 0);
    device.fail_resets = true;
    device.failed_condition = ZONE_BEGUN;
    assert_int_equal(run(dev, BLKDEV_ERASE, 0, USABLE, NULL), PS_EIO);
    assert_int_equal(blkdev_zones_active(dev), 12);
    assert_int_equal(run(dev, BLKDEV_WRITE, 12 * USABLE, UNIT, data), PS_EIO);
    device.failed_condition = ZONE_OFFLINE;
    assert_int_equal(run(dev, BLKDEV_ERASE, USABLE, USABLE, NULL), PS_EIO);
    assert_int_equal(blkdev_zones_active(dev), 11);
    device.fail_resets = false;
    assert_int_equal(run(dev, BLKDEV_ERASE, 2 * USABLE, USABLE, NULL), 0);
    assert_int_equal(blkdev_zones_active(dev), 10);
    assert_int_equal(run(dev, BLKDEV_WRITE, 13 * USABLE, UNIT, data), 0);
    assert_int_equal(run(dev, BLKDEV_WRITE, 14 * USABLE, UNIT, data), 0);
    assert_int_equal(run(dev, BLKDEV_WRITE, 15 * USABLE, UNIT, data), PS_EIO);
    close_device(dev);
}

static void what_is_in_zones_that_only_read_is_read_and_offline_ones_are_empty(void **state)
{
    (void)state;
    fill(9);
    memcpy(device.bytes, data, 4 * UNIT);
    device.written[0] = CAPACITY;
    struct zone_report zones[ZONES];
    for (size_t i = 0; i < ZONES; i++)
        zones[i] = (struct zone_report){.start = i * (uint64_t)PITCH, .capacity = CAPACITY};
    zones[0].condition = ZONE_READ_ONLY;
    zones[0].written = CAPACITY;
    zones[1].condition = ZONE_OFFLINE;
    zones[1].capacity = 0;
    struct blkdev *dev = open_zones(zones);
    struct blkdev_wear wear;
    assert_int_equal(dev->geometry.erase_bytes, USABLE);
    assert_int_equal(blkdev_zones_active(dev), 0);
    assert_int_equal(run(dev, BLKDEV_READ, 0, 4 * UNIT, back), 0);
    assert_memory_equal(back, data, 4 * UNIT);
    assert_int_equal(run(dev, BLKDEV_READ, USABLE, UNIT, back), 0);
    assert_int_equal(back[0], 0);
    for (uint64_t i = 0; i < 2; i++) {
        assert_true(blkdev_wear(dev, i * USABLE, &wear) && wear.retired);
        assert_int_equal(run(dev, BLKDEV_WRITE, i * USABLE, UNIT, data), PS_EIO);
        assert_int_equal(run(dev, BLKDEV_ERASE, i * USABLE, USABLE, NULL), PS_EIO);
    }
    assert_int_equal(device.resets, 0);
    assert_int_equal(run(dev, BLKDEV_WRITE, 2 * USABLE, UNIT, data), 0);
    close_device(dev);
}

static void after_a_write_that_failed_a_zone_takes_none_before_it_is_erased(void **state)
{
    (void)state;
    struct blkdev *dev = open_device();
    struct waited w[2];
    fill(6);
    device.fail_writes = true;
    begin(dev, &w[0], BLKDEV_WRITE, 0, UNIT, data);
    begin(dev, &w[1], BLKDEV_WRITE, UNIT, UNIT, data);
    run_out();
    assert_int_equal(w[0].status, PS_EIO);
    assert_int_equal(w[1].status, PS_EIO);
    device.fail_writes = false;
    assert_int_equal(run(dev, BLKDEV_ERASE, 0, USABLE, NULL), 0);
    assert_int_equal(run(dev, BLKDEV_WRITE, 0, UNIT, data), 0);
    close_device(dev);
}

static void zones_that_are_found_begun_are_finished_where_the_device_counts_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < 12; i++)
        device.written[i] = UNIT;
    struct blkdev *dev = open_device();
    struct waited w;
    assert_int_equal(blkdev_zones_active(dev), 12);
    /* One more waits for the first that is finished. */
    begin(dev, &w, BLKDEV_WRITE, 20 * USABLE, UNIT, data);
    run_out();
    assert_int_equal(w.status, 0);
    assert_int_equal(device.finishes, 12);
    assert_int_equal(blkdev_zones_active(dev), 1);
    close_device(dev);
}

static void a_zone_too_many_fails_and_one_that_ends_makes_room(void **state)
{
    (void)state;
    struct blkdev *dev = open_device();
    struct waited w;
    for (uint64_t i = 0; i < 12; i++)
        assert_int_equal(run(dev, BLKDEV_WRITE, i * USABLE, UNIT, data), 0);
    assert_int_equal(run(dev, BLKDEV_WRITE, 12 * USABLE, UNIT, data), PS_EIO);
    assert_int_equal(run(dev, BLKDEV_ERASE, 12 * USABLE, USABLE, NULL), 0);
    blkdev_finish(dev, 3 * USABLE, 0);
    begin(dev, &w, BLKDEV_WRITE, 12 * USABLE, UNIT, data);
    assert_int_equal(device.queued, 0);
    run_out();
    assert_int_equal(w.status, 0);
    /* One that is to end further on is finished when it is written up to there. */
    blkdev_finish(dev, 4 * USABLE, 3 * UNIT);
    run_out();
    assert_int_equal(device.finishes, 1);
    assert_int_equal(run(dev, BLKDEV_WRITE, 4 * USABLE + UNIT, 2 * UNIT, data), 0);
    assert_int_equal(device.finishes, 2);
    close_device(dev);
}

static void a_device_of_no_use_is_refused(void **state)
{
    (void)state;
    struct zone_report zone = {.capacity = 512 << 10};
    struct blkdev_zones_config config = {.raw = &device.base,
                                         .control = &device.control,
                                         .zones = &zone,
                                         .count = 1,
                                         .zone_bytes = PITCH,
                                         .piece_bytes = PIECE};
    struct blkdev *dev = NULL;
    struct ps_error err;
    assert_int_equal(blkdev_zones_create(&config, &dev, &err), PS_EINVAL);
    zone.capacity = 1 << 20;
    for (config.max_active = 1; config.max_active < BLKDEV_ZONES_ACTIVE_MIN; config.max_active++) {
        assert_int_equal(blkdev_zones_create(&config, &dev, &err), PS_EINVAL);
        assert_non_null(strstr(err.detail, "zones be written to at a time; a pool needs 12"));
    }
    assert_null(dev);
    config.max_active = 0;
    assert_int_equal(blkdev_zones_create(&config, &dev, &err), 0);
    close_device(dev);
}

/* ---- an owner that does as blkdev.h says, with power cuts: what was answered is there */

struct owner {
    uint32_t next[ZONES], answered[ZONES]; /* in each zone */
    uint8_t seed[ZONES];
    bool open[ZONES], erasing[ZONES];
};

struct owned {
    struct waited w;
    uint32_t zone, end;
    bool used;
};

static void owner_runs(uint64_t seed, uint32_t max_active)
{
    enum {
        REQUESTS = 16,
        OPEN_MOST = 10
    };
    static struct owner o;
    static struct owned requests[REQUESTS];
    static _Alignas(4096) uint8_t buffers[REQUESTS][64 * UNIT];
    void *state = NULL;
    (void)set_up(&state);
    device.max_active = max_active;
    struct prng p;
    prng_seed(&p, seed);
    prng_seed(&device.prng, seed + 1);
    memset(&o, 0, sizeof o);
    struct blkdev *dev = open_device();
    for (unsigned turn = 0; turn < 4000; turn++) {
        struct owned *r = &requests[prng_below(&p, REQUESTS)];
        const uint32_t zone = (uint32_t)prng_below(&p, ZONES);
        uint32_t opened = 0;
        for (size_t i = 0; i < ZONES; i++)
            opened += o.open[i] || o.erasing[i];
        if (r->used && r->w.done) {
            assert_int_equal(r->w.status, 0);
            if (r->w.req.op == BLKDEV_WRITE) {
                o.answered[r->zone] = r->end;
            } else {
                o.next[r->zone] = o.answered[r->zone] = 0;
                o.erasing[r->zone] = false;
                o.open[r->zone] = true;
                o.seed[r->zone]++;
            }
            r->used = false;
        }
        if (!r->used && o.open[zone] && o.next[zone] < USABLE) {
            uint32_t n = (uint32_t)(1 + prng_below(&p, 64)) * UNIT;
            n = n < USABLE - o.next[zone] ? n : USABLE - o.next[zone];
            uint8_t *buf = buffers[r - requests];
            for (uint32_t i = 0; i < n; i += 512)
                memset(buf + i, (uint8_t)((o.next[zone] + i) / 512 + o.seed[zone] + zone), 512);
            r->used = true;
            r->zone = zone;
            r->end = o.next[zone] + n;
            begin(dev, &r->w, BLKDEV_WRITE, zone * (uint64_t)USABLE + o.next[zone], n, buf);
            o.next[zone] += n;
            o.open[zone] = o.next[zone] < USABLE;
        } else if (o.open[zone] && prng_below(&p, 10) == 0) {
            blkdev_finish(dev, zone * (uint64_t)USABLE, o.next[zone]);
            o.open[zone] = false;
        } else if (!r->used && !o.open[zone] && !o.erasing[zone] && o.next[zone] == o.answered[zone] &&
                   opened < OPEN_MOST) {
            bool writing = false;
            for (size_t i = 0; i < REQUESTS; i++)
                writing |= requests[i].used && requests[i].zone == zone;
            if (!writing) {
                r->used = true;
                r->zone = zone;
                o.erasing[zone] = true;
                o.answered[zone] = o.next[zone] = 0; /* it may not be asked for any more */
                begin(dev, &r->w, BLKDEV_ERASE, zone * (uint64_t)USABLE, USABLE, NULL);
            }
        }
        for (uint64_t i = prng_below(&p, 3); i > 0; i--)
            (void)step();
        if (prng_below(&p, 400) == 0) {
            /* The power fails: what the device has is what counts. */
            run_out();
            for (size_t i = 0; i < REQUESTS; i++) {
                if (requests[i].used && requests[i].w.req.op == BLKDEV_WRITE)
                    o.answered[requests[i].zone] = o.next[requests[i].zone];
                requests[i].used = false;
            }
            memset(o.open, 0, sizeof o.open);
            memset(o.erasing, 0, sizeof o.erasing);
            close_device(dev);
            dev = open_device();
        }
        const uint32_t from = (uint32_t)prng_below(&p, USABLE / UNIT) * UNIT;
        if (o.answered[zone] > from && turn % 8 == 0 && !o.erasing[zone]) {
            uint32_t n = o.answered[zone] - from < (1 << 20) ? o.answered[zone] - from : 1 << 20;
            struct waited read;
            begin(dev, &read, BLKDEV_READ, zone * (uint64_t)USABLE + from, n, back);
            while (!read.done)
                assert_true(step());
            for (uint32_t i = 0; i < n; i += 512)
                assert_int_equal(back[i], (uint8_t)((from + i) / 512 + o.seed[zone] + zone));
        }
    }
    run_out();
    for (size_t i = 0; i < REQUESTS; i++)
        requests[i].used = false;
    close_device(dev);
    assert_true(max_active == 0 || (device.most_active <= max_active && device.finishes > 0));
    assert_true(device.resets > 0);
}

static void what_an_owner_wrote_is_there_in_any_order_of_completions(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        owner_runs(seed, 12);
        owner_runs(seed, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(zones_are_seen_without_gaps_and_a_write_goes_on_in_the_next, set_up),
        cmocka_unit_test_setup(writes_of_a_zone_wait_for_each_other, set_up),
        cmocka_unit_test_setup(behind_the_write_pointer_are_zeroes_and_the_device_is_not_asked, set_up),
        cmocka_unit_test_setup(an_empty_zone_is_not_reset_and_a_written_one_is, set_up),
        cmocka_unit_test_setup(a_zone_whose_reset_fails_is_retired, set_up),
        cmocka_unit_test_setup(a_zone_that_is_not_reset_counts_as_active_as_long_as_the_device_calls_it_begun,
                               set_up),
        cmocka_unit_test_setup(what_is_in_zones_that_only_read_is_read_and_offline_ones_are_empty, set_up),
        cmocka_unit_test_setup(after_a_write_that_failed_a_zone_takes_none_before_it_is_erased, set_up),
        cmocka_unit_test_setup(zones_that_are_found_begun_are_finished_where_the_device_counts_them, set_up),
        cmocka_unit_test_setup(a_zone_too_many_fails_and_one_that_ends_makes_room, set_up),
        cmocka_unit_test_setup(a_device_of_no_use_is_refused, set_up),
        cmocka_unit_test_setup(what_an_owner_wrote_is_there_in_any_order_of_completions, set_up),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(device.bytes);
    return failed;
}
