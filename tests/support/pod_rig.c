#include "tests/support/pod_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "node/pod/pod_impl.h"
#include "tests/support/pod_check.h"
#include "tests/support/rig_array.h"

enum {
    SURVEY_ROOM = 16 /* segments */
};

static void rig_init(struct rig *rig, uint64_t seed)
{
    *rig = (struct rig){0};
    prng_seed(&rig->prng, seed);
    rig->config = (struct pod_config){
        .name = "default",
        .memory_budget = POD_MEMORY_MIN,
        .dedupe = true,
        .compression = true,
        .cold_compress_rate = 1ull << 40,
        .segment_bytes = 2 << 20,
        .scrub_interval_ns = UINT64_MAX,
        .seed = {seed + 1, 2},
    };
    rig->surveyed = getenv("PS_RIG_SURVEY") != NULL;
    if (rig->surveyed)
        rig->config.scrub_rate = 1ull << 36; /* they are not slower than what they look at */
}

void rig_flash_config(struct nand_config *out)
{
    nand_config_default(out);
    out->geometry = (struct nand_geometry){
        .channels = 2, .dies = 1, .planes = 2, .pages = 32, .page_bytes = 4 * NAND_SECTOR_BYTES};
    out->factory_bad_ppm = 0;
    out->program_fail_ppb = 0;
}

void rig_create_on_flash(struct rig *rig, uint64_t device_bytes, uint64_t seed,
                         const struct nand_config *flash)
{
    struct nand_config config;
    struct nand *nand;
    rig_init(rig, seed);
    if (flash)
        config = *flash;
    else
        rig_flash_config(&config);
    config.seed = seed;
    assert_int_equal(nand_drive_plan(device_bytes, 3, &config, NULL), 0);
    rig->area_bytes = nand_area_bytes(&config);
    /* Much larger than what is written to it. */
    rig->area = mmap(NULL, rig->area_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(rig->area, MAP_FAILED);
    nand_format(&config, rig->area);
    assert_int_equal(nand_open(rig->area, rig->area_bytes, &nand, NULL), 0);
    assert_int_equal(nand_drive_create(nand, "flash", &rig->mem, NULL), 0);
    rig->dev = rig->mem;
}

void rig_create(struct rig *rig, uint64_t device_bytes, uint64_t seed)
{
    const struct blkdev_mem_options options = {.size_bytes = device_bytes, .max_io_bytes = 1 << 20};
    const char *device = getenv("PS_RIG_DEVICE");
    if (device && strcmp(device, "flash") == 0) {
        rig_create_on_flash(rig, device_bytes, seed, NULL);
        return;
    }
    rig_init(rig, seed);
    if (device && strcmp(device, "array") == 0) {
        rig->several = rig_array_create(device_bytes, (uint32_t)rig->config.segment_bytes);
        rig->mem = rig->dev = rig_array_open(rig->several, &rig->prng);
        return;
    }
    rig->mem = rig->dev = blkdev_mem_create(&options);
    assert_non_null(rig->mem);
}

size_t rig_pending(const struct rig *rig)
{
    if (rig->several)
        return rig_array_pending(rig->several);
    return rig->area ? nand_drive_pending(rig->mem) : blkdev_mem_pending(rig->mem);
}

static void complete_one(struct rig *rig)
{
    if (rig->several)
        rig_array_step(rig->several, &rig->prng, rig->random);
    else if (rig->area)
        (void)nand_drive_step(rig->mem);
    else if (rig->random)
        (void)blkdev_mem_step_random(rig->mem, &rig->prng);
    else
        (void)blkdev_mem_step(rig->mem);
}

void rig_destroy(struct rig *rig)
{
    if (rig->surveyed)
        print_message("%u deep checks found nothing\n", rig->surveys);
    if (rig->pod)
        pod_destroy(rig->pod);
    if (rig->dev != rig->mem)
        blkdev_destroy(rig->dev);
    if (rig->several)
        rig_array_destroy(rig->several);
    else
        blkdev_destroy(rig->mem);
    if (rig->area)
        (void)munmap(rig->area, rig->area_bytes);
}

static void squeeze(struct rig *rig)
{
    struct segments *s = rig->pod->segments;
    /* Deep checks give way when little is left. */
    const uint32_t leave = rig->leave_segments + (rig->surveyed ? SURVEY_ROOM : 0);
    if (!rig->leave_segments || !s || rig->pod->state != POD_SERVING)
        return;
    for (uint32_t i = rig->squeezed_count; i-- > 0;) {
        const uint32_t segment = rig->squeezed[i];
        if (!segments_is_barred(s, segment))
            continue;
        segments_untake(s, segment); /* it is to be taken away */
        rig->squeezed[i] = rig->squeezed[--rig->squeezed_count];
    }
    while (segments_free(s) < leave && rig->squeezed_count)
        segments_untake(s, rig->squeezed[--rig->squeezed_count]);
    while (segments_free(s) > leave) {
        assert_true(rig->squeezed_count < sizeof rig->squeezed / sizeof rig->squeezed[0]);
        rig->squeezed[rig->squeezed_count++] = segments_take(s, SEGMENT_COLD);
    }
}

/* One deep check after the other. */
static void survey(struct rig *rig)
{
    struct pod_deep_info info;
    struct pod_finding f;
    if (!rig->surveyed || rig->pod->state != POD_SERVING || rig->pod->failed)
        return;
    pod_deep_look(rig->pod, &info);
    if (info.running)
        return;
    if (pod_deep_finding(rig->pod, 0, &f) == 0)
        fail_msg("the deep check: %s", f.text);
    rig->surveys += rig->surveying && info.runs && !info.failed;
    rig->surveying = !rig->settling;
    if (rig->surveying)
        pod_deep(rig->pod);
}

bool rig_step(struct rig *rig)
{
    if (rig->dead)
        return false;
    if (rig->beside)
        rig->beside(rig->beside_user);
    squeeze(rig);
    rig->now_ns += 1000;
    (void)pod_turn(rig->pod, rig->now_ns);
    survey(rig);
    if (rig_pending(rig) == 0)
        return true;
    if (rig->cut_after && rig->steps + 1 >= rig->cut_after) {
        rig->dead = true;
        return false;
    }
    rig->steps++;
    complete_one(rig);
    return true;
}

static bool wait_for(struct rig *rig, const bool *flag)
{
    for (uint64_t n = 0; !*flag; n++) {
        if (!rig_step(rig))
            return false;
        assert_true(n < 3000000); /* a hang is a failure */
    }
    return true;
}

static void on_open(void *user, int status, struct pod *pod)
{
    struct rig *rig = user;
    (void)pod;
    rig->open_status = status;
    rig->opened = true;
}

int rig_open(struct rig *rig)
{
    rig->opened = rig->dead = false;
    rig->squeezed_count = 0;
    rig->error = (struct ps_error){0};
    const int rc = pod_open(rig->dev, &rig->config, POD_FORMAT_BLANK, on_open, rig, &rig->error, &rig->pod);
    if (rc)
        return rc;
    if (!wait_for(rig, &rig->opened))
        return PS_EUNAVAILABLE;
    return rig->open_status;
}

void rig_crash(struct rig *rig, enum blkdev_mem_cut mode)
{
    /* On flash another mode is another moment. */
    for (int i = 0; rig->area && i < (int)mode; i++)
        (void)prng_next(&rig->prng);
    if (rig->several)
        rig_array_cut(rig->several, &rig->prng, mode);
    else if (rig->area)
        nand_drive_power_cut(rig->mem, &rig->prng);
    else
        blkdev_mem_power_cut(rig->mem, &rig->prng, mode);
    if (rig->pod)
        pod_destroy(rig->pod);
    rig->pod = NULL;
    rig->dead = false;
    if (!rig->several)
        return;
    rig_array_drop(rig->several);
    rig->mem = rig->dev = rig_array_open(rig->several, &rig->prng);
}

static void on_flag(void *user)
{
    *(bool *)user = true;
}

void rig_close(struct rig *rig)
{
    bool closed = false;
    pod_close(rig->pod, on_flag, &closed);
    assert_true(wait_for(rig, &closed));
    pod_destroy(rig->pod);
    rig->pod = NULL;
}

static void on_manage(struct pod_manage *req, int status)
{
    (void)status;
    *(bool *)req->user = true;
}

int rig_manage(struct rig *rig, struct pod_manage *req)
{
    bool done = false;
    req->user = &done;
    const int rc = pod_manage(rig->pod, req, on_manage);
    if (rc)
        return rc;
    return wait_for(rig, &done) ? req->error.status : PS_EUNAVAILABLE;
}

static void on_io(struct pod_io *io, int status)
{
    (void)status;
    *(bool *)io->user = true;
}

int rig_io(struct rig *rig, struct pod_io *io)
{
    bool done = false;
    io->user = &done;
    const int rc = pod_submit(rig->pod, io, on_io);
    if (rc)
        return rc;
    return wait_for(rig, &done) ? io->status : PS_EUNAVAILABLE;
}

int rig_named(struct rig *rig, enum pod_manage_op op, const char *name, const char *new_name, uint64_t size)
{
    struct pod_manage req = {.op = op, .size_bytes = size, .now_unix_ns = rig->now_ns, .allow_shrink = true};
    (void)snprintf(req.name, sizeof req.name, "%s", name);
    (void)snprintf(req.new_name, sizeof req.new_name, "%s", new_name ? new_name : "");
    return rig_manage(rig, &req);
}

int rig_create_volume(struct rig *rig, const char *name, uint64_t size)
{
    return rig_named(rig, POD_VOLUME_CREATE, name, NULL, size);
}

static int with_image(struct rig *rig, const char *name, struct pod_io *io)
{
    const int rc = pod_image_open(rig->pod, name, &io->image, NULL);
    if (rc)
        return rc;
    const int status = rig_io(rig, io);
    if (!rig->dead)
        pod_image_close(io->image);
    else
        free(io->image);
    return status;
}

int rig_write(struct rig *rig, const char *name, uint64_t offset, const void *data, uint64_t length)
{
    struct pod_io io = {.op = POD_WRITE, .offset = offset, .length = length, .buf = (void *)(uintptr_t)data};
    return with_image(rig, name, &io);
}

void rig_write_noise(struct rig *rig, const char *name, uint64_t lba, unsigned count, uint64_t seed)
{
    static uint8_t data[32 * POD_BLOCK_BYTES];
    struct prng p;
    assert_true(count * (size_t)POD_BLOCK_BYTES <= sizeof data);
    prng_seed(&p, seed);
    prng_fill(&p, data, (size_t)count * POD_BLOCK_BYTES);
    assert_int_equal(rig_write(rig, name, lba * POD_BLOCK_BYTES, data, (uint64_t)count * POD_BLOCK_BYTES), 0);
}

int rig_read(struct rig *rig, const char *name, uint64_t offset, void *data, uint64_t length)
{
    struct pod_io io = {.op = POD_READ, .offset = offset, .length = length, .buf = data};
    return with_image(rig, name, &io);
}

int rig_range(struct rig *rig, enum pod_io_op op, const char *name, uint64_t offset, uint64_t length)
{
    struct pod_io io = {.op = op, .offset = offset, .length = length};
    return with_image(rig, name, &io);
}

void rig_settle(struct rig *rig)
{
    rig->settling = true;
    for (uint64_t n = 0; rig_step(rig); n++) {
        assert_true(n < 3000000);
        if (rig_pending(rig) == 0 && pod_check_is_quiet(rig->pod) &&
            (!rig->surveyed || deep_is_quiet(rig->pod)))
            break;
    }
    rig->settling = false;
}

static bool step_for_check(void *user)
{
    return rig_step(user);
}

void rig_rot(struct rig *rig, struct place place, unsigned copies)
{
    const uint64_t in = place_addr(place) % rig->pod->segment_bytes + place_len(place) / 2;
    const uint32_t segments[] = {place_segment(rig->pod, place),
                                 segments_twin(rig->pod->segments, place_segment(rig->pod, place))};
    for (unsigned i = 0; i < 2; i++) {
        const uint64_t addr = segment_addr(rig->pod, segments[i]) + in;
        uint8_t byte;
        if (!(copies >> i & 1) || !segments[i])
            continue;
        blkdev_mem_peek(rig->mem, addr, &byte, 1, false);
        byte ^= 0x40;
        blkdev_mem_poke(rig->mem, addr, &byte, 1);
    }
}

void rig_check(struct rig *rig)
{
    char why[200];
    rig_settle(rig);
    if (!rig->dead && !pod_check_counts(rig->pod, step_for_check, rig, why, sizeof why))
        fail_msg("%s", why);
}
