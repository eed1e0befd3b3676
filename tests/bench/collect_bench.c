/* Write amplification and latency of a pod that is overwritten at random while most of it lives.
 *
 *   collect_bench [POOL_MIB [PERCENT [TIMES [SEGMENT_MIB]]]]      2048 77 3 8
 *
 * The device's time is virtual (tests/support/timed_load.h). A volume of unique blocks that do not compress
 * fills PERCENT of what hosts may fill (capacity less the reserve); then it is overwritten, 4 KiB at a time,
 * depth 64, TIMES its size to come to an equilibrium and half as much again to measure: uniformly, and with
 * nine writes of ten to a tenth of it. What the device allows is its bandwidth over all bytes read and
 * written for a byte of hosts.
 *
 * With the queue always full the mean latency says no more than the throughput does (depth = throughput x
 * latency). So latency is compared at a load that both an empty pool and one that is collected bear: writes
 * come one by one, at equal intervals, at three quarters of the throughput of the one that is collected.
 *
 * Compared with 1 / (1 - u), where utilisation = (u - 1) / ln u: what collecting the oldest, or the emptiest,
 * segment of many blocks comes to under uniformly random writes (Menon: A Performance Comparison of RAID-5
 * and Log-Structured Arrays, HPDC 1995; Desnoyers: Analytic Modeling of SSD Write Performance, SYSTOR 2012).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/row.h"
#include "tests/support/timed_load.h"

static double analytic_waf(double utilisation)
{
    double low = 1e-9, high = 1 - 1e-9;
    for (int i = 0; i < 100; i++) {
        const double u = (low + high) / 2;
        if ((u - 1) / log(u) < utilisation)
            low = u;
        else
            high = u;
    }
    return 1 / (1 - low);
}

struct outcome {
    double waf, log, of_device, moved, metadata, mean_in_use, of_records, us_50, us_99, us_max, mib_s;
    uint64_t collected, waits, checkpoints, batches;
};

static struct outcome measure(struct timed_load *b, bool hot, uint64_t times)
{
    struct pod_stats before, after;
    double in_use = 0;
    enum {
        PARTS = 50
    };
    b->hot = hot;
    timed_write(b, b->blocks * times);
    pod_stats(b->pod, &before);
    const uint64_t began = b->now_ns;
    memset(b->latency, 0, sizeof b->latency);
    for (int i = 0; i < PARTS; i++) {
        timed_write(b, b->blocks / 2 / PARTS);
        pod_stats(b->pod, &after);
        in_use += (double)after.stored_bytes /
                  (double)(after.capacity - after.free_bytes - after.open_bytes - after.metadata_bytes) /
                  PARTS;
    }
    const uint64_t moved_records = after.collect_moved - before.collect_moved;
    const double host = (double)(after.host_written - before.host_written);
    return (struct outcome){
        .waf = 1 + (double)(moved_records) / (double)(after.compress_out - before.compress_out),
        .moved = (double)(after.flash_written_moved - before.flash_written_moved) / host,
        .log = (double)(after.flash_written_data - before.flash_written_data) / host,
        .collected = after.collected - before.collected,
        .waits = after.collect_waits - before.collect_waits,
        .checkpoints = after.checkpoints - before.checkpoints,
        .batches = after.batches - before.batches,
        .metadata = (double)(after.flash_written_metadata - before.flash_written_metadata) / host,
        .mean_in_use = in_use,
        .of_records = in_use *
                      (double)(after.flash_written_data + after.flash_written_moved -
                               before.flash_written_data - before.flash_written_moved) /
                      (double)(after.compress_out - before.compress_out + moved_records),
        .us_50 = timed_latency_us(b, 0.5),
        .us_99 = timed_latency_us(b, 0.99),
        .us_max = timed_latency_us(b, 1),
        .mib_s = host / (1 << 20) / ((double)(b->now_ns - began) / 1e9),
        .of_device =
            (double)(after.flash_written_data - before.flash_written_data + after.flash_written_moved -
                     before.flash_written_moved + after.flash_written_metadata -
                     before.flash_written_metadata + after.collect_read - before.collect_read) /
            TIMED_BYTES_NS / (double)(b->now_ns - began),
    };
}

static void print(const char *what, const struct outcome *o)
{
    (void)printf("%s: WAF %.3f of records alone; a byte of hosts is %.3f of log, %.3f moved, %.3f of "
                 "metadata; %.3f of "
                 "the flash in use lives\n",
                 what, o->waf, o->log, o->moved, o->metadata, o->mean_in_use);
    (void)printf(
        "  %.0f MiB/s, %.3f of what the device allows; latency 50 %% %.0f us, 99 %% %.0f us, most %.0f us; "
        "%llu batches, %llu segments collected, %llu checkpoints, %llu waits\n",
        o->mib_s, o->of_device, o->us_50, o->us_99, o->us_max, (unsigned long long)o->batches,
        (unsigned long long)o->collected, (unsigned long long)o->checkpoints, (unsigned long long)o->waits);
}

/* At this pace; 0: with the queue always full. Returns the 99th percentile. */
static double latency(struct timed_load *t, const char *what, double mib_s, uint64_t count)
{
    timed_measure(t, mib_s, count);
    if (mib_s > 0)
        (void)printf("  %s at %.0f MiB/s", what, mib_s);
    else
        (void)printf("  %s, the queue always full", what);
    (void)printf(": latency 50 %% %.0f us, 99 %% %.0f us, most %.0f us\n", timed_latency_us(t, 0.5),
                 timed_latency_us(t, 0.99), timed_latency_us(t, 1));
    return timed_latency_us(t, 0.99);
}

int main(int argc, char **argv)
{
    static struct timed_load b, empty;
    uint64_t numbers[] = {2048, 77, 3, 8};
    for (int i = 1; i < argc && i <= 4; i++)
        numbers[i - 1] = strtoull(argv[i], NULL, 0);
    if (numbers[0] < 64 || numbers[1] < 1 || numbers[1] > 95) {
        (void)fprintf(stderr, "usage: collect_bench [POOL_MIB [PERCENT [TIMES [SEGMENT_MIB]]]]\n");
        return 2;
    }
    timed_start(&b, numbers[0] << 20, numbers[3] << 20, (unsigned)numbers[1], 1);
    timed_fill(&b);
    const struct outcome uniform = measure(&b, false, numbers[2]);
    print("uniform", &uniform);
    (void)printf("  analytic at that utilisation %.3f, ratio %.3f; headers, directories and padding left out "
                 "as well, at "
                 "%.3f: %.3f, ratio %.3f; at 0.800: %.3f\n",
                 analytic_waf(uniform.mean_in_use), uniform.waf / analytic_waf(uniform.mean_in_use),
                 uniform.of_records, analytic_waf(uniform.of_records),
                 uniform.waf / analytic_waf(uniform.of_records), analytic_waf(0.8));
    const double load = uniform.mib_s * 3 / 4;
    const double full_99 = latency(&b, "the same", load, b.blocks / 2);
    timed_start(&empty, numbers[0] << 20, numbers[3] << 20, (unsigned)numbers[1], 2);
    const double times_empty = full_99 / latency(&empty, "an empty pool", load, empty.blocks / 2);
    const double empty_99 = latency(&empty, "an empty pool", 0, empty.blocks / 4);
    const double queue_times_empty = uniform.us_99 / empty_99;
    timed_end(&empty);
    (void)printf("  99 %%: %.1f times that of an empty pool, %.1f times with the queue full\n", times_empty,
                 queue_times_empty);
    const struct outcome hot = measure(&b, true, 2 * numbers[2]);
    print("nine of ten to a tenth", &hot);
    (void)printf("  %.3f of uniform; 99 %%: %.1f times that of an empty pool with the queue full\n",
                 hot.waf / uniform.waf, hot.us_99 / empty_99);
    timed_end(&b);
    bench_row("collection: writes amplified, of the analytic value",
              uniform.waf / analytic_waf(uniform.of_records), "x", ROW_AT_MOST, 1.05);
    bench_row("  metadata for a byte of hosts", uniform.metadata, "", ROW_AT_MOST, 0.35);
    bench_row("  nine of ten to a tenth, of uniform", hot.waf / uniform.waf, "x", ROW_AT_MOST, 0.7);
    bench_row("  throughput, of what the device allows", uniform.of_device, "x", ROW_AT_LEAST, 0.9);
    bench_row("  99 % latency at 3/4 of it, of an empty pool's", times_empty, "x", ROW_AT_MOST, 5);
    bench_row("  99 % latency with a full queue, of an empty pool's", queue_times_empty, "x", ROW_AT_MOST, 5);
    return 0;
}
