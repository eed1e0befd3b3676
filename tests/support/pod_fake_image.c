#include "tests/support/pod_fake_image.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* An image's blocks: a table of gigabytes, of 2 MiB, of blocks. NULL is a hole. */
enum {
    FANOUT = 512,
    BLOCKS_PER_GIB = FANOUT * FANOUT
};

static uint8_t zero_block[POD_BLOCK_BYTES]; /* stands for every allocated block of zeroes */

struct leaf {
    uint8_t *blocks[FANOUT];
};
struct gigabyte {
    struct leaf *leaves[FANOUT];
};

static uint8_t **slot(struct image *image, uint64_t block, bool create)
{
    assert(block / BLOCKS_PER_GIB < image->ngigabytes);
    struct gigabyte **gigabyte = &image->gigabytes[block / BLOCKS_PER_GIB];
    if (!*gigabyte) {
        if (!create)
            return NULL;
        *gigabyte = calloc(1, sizeof **gigabyte);
        assert(*gigabyte);
    }
    struct leaf **leaf = &(*gigabyte)->leaves[block / FANOUT % FANOUT];
    if (!*leaf) {
        if (!create)
            return NULL;
        *leaf = calloc(1, sizeof **leaf);
        assert(*leaf);
    }
    return &(*leaf)->blocks[block % FANOUT];
}

static const uint8_t *block_get(struct image *image, uint64_t block)
{
    uint8_t **at = slot(image, block, false);
    return at ? *at : NULL;
}

static void block_drop(struct image *image, uint64_t block)
{
    uint8_t **at = slot(image, block, false);
    if (!at || !*at)
        return;
    image->info.space.logical -= POD_BLOCK_BYTES;
    if (*at == zero_block) {
        image->info.space.pattern -= POD_BLOCK_BYTES;
    } else {
        image->info.space.unique -= POD_BLOCK_BYTES;
        image->info.space.stored -= POD_BLOCK_BYTES;
        free(*at);
    }
    *at = NULL;
}

static void block_set(struct image *image, uint64_t block, const uint8_t *data)
{
    uint8_t **at = slot(image, block, true);
    const bool zero = memcmp(data, zero_block, POD_BLOCK_BYTES) == 0;
    if (!zero && *at && *at != zero_block) {
        memcpy(*at, data, POD_BLOCK_BYTES);
        return;
    }
    block_drop(image, block);
    image->info.space.logical += POD_BLOCK_BYTES;
    if (zero) {
        image->info.space.pattern += POD_BLOCK_BYTES;
        *at = zero_block;
        return;
    }
    image->info.space.unique += POD_BLOCK_BYTES;
    image->info.space.stored += POD_BLOCK_BYTES;
    *at = malloc(POD_BLOCK_BYTES);
    assert(*at);
    memcpy(*at, data, POD_BLOCK_BYTES);
}

/* Visits the pieces of a byte range, one a block. */
#define for_each_piece(block, from, length, start, bytes)                                                    \
    for (uint64_t pos_ = (start), end_ = (start) + (bytes), block = 0, from = 0, length = 0;                 \
         pos_ < end_ &&                                                                                      \
         (block = pos_ / POD_BLOCK_BYTES, from = pos_ % POD_BLOCK_BYTES,                                     \
         length = end_ - pos_ < POD_BLOCK_BYTES - from ? end_ - pos_ : POD_BLOCK_BYTES - from, true);        \
         pos_ += length)

void fake_image_read(struct image *image, uint64_t offset, uint64_t bytes, uint8_t *buf)
{
    for_each_piece(block, from, length, offset, bytes)
    {
        const uint8_t *data = block_get(image, block);
        if (data)
            memcpy(buf, data + from, length);
        else
            memset(buf, 0, length);
        buf += length;
    }
}

void fake_image_write(struct image *image, uint64_t offset, uint64_t bytes, const uint8_t *buf)
{
    for_each_piece(block, from, length, offset, bytes)
    {
        uint8_t whole[POD_BLOCK_BYTES];
        const uint8_t *data = buf ? buf : zero_block;
        if (length < POD_BLOCK_BYTES) {
            const uint8_t *old = block_get(image, block);
            memcpy(whole, old ? old : zero_block, sizeof whole);
            memcpy(whole + from, data, length);
            block_set(image, block, whole);
        } else {
            block_set(image, block, data);
        }
        if (buf)
            buf += length;
    }
}

void fake_image_discard(struct image *image, uint64_t offset, uint64_t bytes, bool zero_edges)
{
    for_each_piece(block, from, length, offset, bytes)
    {
        if (length == POD_BLOCK_BYTES)
            block_drop(image, block);
        else if (zero_edges && block_get(image, block))
            fake_image_write(image, pos_, length, NULL);
    }
}

void fake_image_extents(struct image *image, struct pod_io *io)
{
    io->nextents = 0;
    for_each_piece(block, from, length, io->offset, io->length)
    {
        const uint8_t *data = block_get(image, block);
        const enum pod_extent_kind kind = !data                ? POD_EXTENT_HOLE
                                          : data == zero_block ? POD_EXTENT_ZERO
                                                               : POD_EXTENT_DATA;
        if (io->nextents > 0 && io->extents[io->nextents - 1].kind == kind) {
            io->extents[io->nextents - 1].length_bytes += length;
        } else {
            if (io->nextents == io->max_extents)
                return;
            io->extents[io->nextents++] = (struct pod_extent){.length_bytes = length, .kind = kind};
        }
    }
}

void fake_image_resize(struct image *image, uint64_t size_bytes)
{
    const uint64_t old_size = image->info.size_bytes;
    if (size_bytes < old_size) {
        /* What lies beyond must read as zeroes if the volume grows again. */
        const uint64_t whole = (old_size + POD_BLOCK_BYTES - 1) / POD_BLOCK_BYTES * POD_BLOCK_BYTES;
        fake_image_discard(image, size_bytes, whole - size_bytes, true);
    }
    const uint64_t need = (size_bytes + (1ull << 30) - 1) >> 30;
    if (need > image->ngigabytes) {
        image->gigabytes = reallocarray(image->gigabytes, need, sizeof *image->gigabytes);
        assert(image->gigabytes);
        memset(image->gigabytes + image->ngigabytes, 0,
               (need - image->ngigabytes) * sizeof *image->gigabytes);
        image->ngigabytes = need;
    }
    image->info.size_bytes = size_bytes;
}

static void clear(struct image *image)
{
    for (uint64_t g = 0; g < image->ngigabytes; g++) {
        if (!image->gigabytes[g])
            continue;
        for (uint64_t l = 0; l < FANOUT; l++) {
            if (!image->gigabytes[g]->leaves[l])
                continue;
            for (uint64_t b = 0; b < FANOUT; b++)
                block_drop(image, g * BLOCKS_PER_GIB + l * FANOUT + b);
            free(image->gigabytes[g]->leaves[l]);
        }
        free(image->gigabytes[g]);
    }
    free(image->gigabytes);
    image->gigabytes = NULL;
    image->ngigabytes = 0;
}

void fake_image_copy(struct image *to, const struct image *from)
{
    clear(to);
    to->info.size_bytes = 0;
    fake_image_resize(to, from->info.size_bytes);
    for (uint64_t g = 0; g < from->ngigabytes; g++)
        for (uint64_t l = 0; from->gigabytes[g] && l < FANOUT; l++)
            for (uint64_t b = 0; from->gigabytes[g]->leaves[l] && b < FANOUT; b++) {
                const uint8_t *data = from->gigabytes[g]->leaves[l]->blocks[b];
                if (data)
                    block_set(to, g * BLOCKS_PER_GIB + l * FANOUT + b, data);
            }
}

void fake_image_free(struct image *image)
{
    clear(image);
    free(image);
}
