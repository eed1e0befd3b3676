/* Any sequence of image records, roots and removals. An input is a list of: id, kind of step, length, record.
 * Whatever was applied, the table's counts and names are right. */
#include <assert.h>
#include <string.h>

#include "common/endian_codec.h"
#include "node/volume/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    STEPS = 24,
    IDS = 8
};

static void check(struct images *images)
{
    for (uint64_t id = 1; id < IDS; id++) {
        const struct image *image = images_get(images, id);
        uint32_t children = 0, snapshots = 0;
        for (uint64_t other = 1; image && other < IDS; other++) {
            const struct image *o = images_get(images, other);
            children += o && o->parent_id == id;
            snapshots += o && o->kind == IMAGE_SNAPSHOT && !o->deleted && o->volume_id == id;
        }
        if (!image)
            continue;
        assert(image->children == children && image->snapshots == snapshots);
        if (children == 1)
            assert(images_only_child(images, image)->parent_id == id);
        uint8_t record[IMAGE_RECORD_MAX];
        assert(image_encode(image, image->root, record) <= sizeof record);
        assert(!image->full_name[0] || images_find(images, image->full_name));
    }
    (void)images_releasable(images);
    struct images_counts counts;
    images_count(images, &counts);
    const char *after = "";
    for (const struct image *i; (i = images_after(images, after)); after = i->full_name)
        assert(strcmp(i->full_name, after) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct images *images = images_create();
    const uint8_t *const end = data + size;
    for (unsigned step = 0; step < STEPS && end - data >= 3; step++) {
        const uint64_t id = data[0] % IDS;
        const unsigned kind = data[1] % 8;
        size_t bytes = data[2];
        data += 3;
        if (bytes > (size_t)(end - data))
            bytes = (size_t)(end - data);
        if (kind == 0) {
            images_remove(images, id);
        } else if (kind == 1) {
            images_set_root(images, step, id, step);
        } else {
            uint8_t record[256];
            memcpy(record, data, bytes);
            /* Relations within the few ids that there are, so that they meet. */
            for (unsigned at = 32; at <= 40 && at + 8 <= bytes; at += 8)
                put_le64(record + at, get_le64(record + at) % IDS);
            const int rc = images_apply(images, step, id, kind % 2, record, bytes, NULL);
            assert(rc == 0 || rc == PS_EDAMAGED);
            data += bytes;
        }
    }
    check(images);
    images_destroy(images);
    return 0;
}
