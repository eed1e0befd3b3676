#include "node/host/image_event.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/sizes.h"

__attribute__((format(printf, 3, 4))) static bool tell(struct event *out, const char *kind,
                                                       const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)snprintf(out->kind, sizeof out->kind, "%s", kind);
    (void)vsnprintf(out->text, sizeof out->text, format, args);
    va_end(args);
    return true;
}

bool image_event_describe(const struct pod_image_info *before, const struct pod_image_info *after,
                          const char *origin, struct event *out)
{
    char size[SIZE_TEXT_MAX], old_size[SIZE_TEXT_MAX];
    const struct pod_image_info *image = after ? after : before;
    out->image_id = image->id;
    if (image->kind == POD_SNAPSHOT) {
        if (!before)
            return tell(out, "snapshot.created", "snapshot %s created", after->name);
        return !after && tell(out, "snapshot.deleted", "snapshot %s deleted", before->name);
    }
    if (!after)
        return tell(out, "volume.deleted", "volume %s deleted", before->name);
    if (!before && after->origin_id)
        return tell(out, "clone.created", "volume %s created as a clone of %s", after->name,
                    origin ? origin : "a snapshot");
    if (!before)
        return tell(out, "volume.created", "volume %s created, %s", after->name,
                    size_format_human(after->size_bytes, size));
    if (strcmp(before->name, after->name) != 0)
        return tell(out, "volume.renamed", "volume %s renamed to %s", before->name, after->name);
    if (before->size_bytes != after->size_bytes)
        return tell(out, "volume.resized", "volume %s resized from %s to %s", after->name,
                    size_format_human(before->size_bytes, old_size),
                    size_format_human(after->size_bytes, size));
    if (before->write_cache != after->write_cache)
        return tell(out, "volume.changed", "write cache of volume %s switched %s", after->name,
                    after->write_cache ? "on" : "off");
    return false;
}
