/* Changes under a condition: of the image that their sender looked at, if nobody has changed it since. */
#include <inttypes.h>
#include <string.h>

#include "common/endian_codec.h"
#include "common/xxh3.h"
#include "node/pod/pod.h"

uint64_t pod_image_tag(const struct pod_image_info *info)
{
    uint8_t state[21 + POD_FULL_NAME_MAX];
    const size_t name = strlen(info->name);
    put_le64(state, info->id);
    put_le64(state + 8, info->size_bytes);
    put_le32(state + 16, info->snapshots);
    state[20] = info->write_cache;
    memcpy(state + 21, info->name, name);
    const uint64_t tag = XXH3_64bits(state, 21 + name);
    return tag ? tag : 1;
}

int pod_check_expected(struct pod *pod, struct pod_manage *req)
{
    struct pod_image_info info;
    if ((!req->expect_id && !req->expect_tag) || pod_image_by_name(pod, req->name, &info))
        return 0;
    if (req->expect_id && info.id != req->expect_id)
        return ps_error_set(&req->error, PS_ECHANGED, "\"%s\" is another image by now, its id is %" PRIu64,
                            req->name, info.id);
    if (req->expect_tag && pod_image_tag(&info) != req->expect_tag)
        return ps_error_set(&req->error, PS_ECHANGED, "\"%s\" was changed meanwhile", req->name);
    return 0;
}
