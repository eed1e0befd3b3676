/* What an image of pod_fake holds, in plain memory: blocks, their kinds and their sums; nothing of names,
 * handles and requests' ends. */
#ifndef PS_TESTS_SUPPORT_POD_FAKE_IMAGE_H
#define PS_TESTS_SUPPORT_POD_FAKE_IMAGE_H

#include "node/pod/pod.h"

struct gigabyte;

struct image {
    struct pod_image_info info;
    struct gigabyte **gigabytes;
    uint64_t ngigabytes;
    uint32_t handles;
    bool deleted; /* by force, while open; freed with the last handle */
};

/* Inside of the image; `buf` NULL: zeroes. */
void fake_image_read(struct image *image, uint64_t offset, uint64_t bytes, uint8_t *buf);
void fake_image_write(struct image *image, uint64_t offset, uint64_t bytes, const uint8_t *buf);
/* Whole blocks become holes; partial edges are zeroed, or left alone. */
void fake_image_discard(struct image *image, uint64_t offset, uint64_t bytes, bool zero_edges);
/* As a request for them asks. */
void fake_image_extents(struct image *image, struct pod_io *io);
/* Keeps info.size_bytes and info.space. */
void fake_image_resize(struct image *image, uint64_t size_bytes);
void fake_image_copy(struct image *to, const struct image *from);
void fake_image_free(struct image *image);

#endif
