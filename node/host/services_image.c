#include <stdlib.h>
#include <string.h>

#include "node/host/services_impl.h"

void image_row_fill(struct image_row *row, const struct services *s, const struct pod_image_info *info)
{
    row->info = *info;
    pstorage__v1__image_space__init(&row->space);
    row->space.logical_bytes = info->space.logical;
    row->space.pattern_bytes = info->space.pattern;
    row->space.duplicate_bytes = info->space.duplicate;
    row->space.unique_bytes = info->space.unique;
    row->space.stored_bytes = info->space.stored;

    pstorage__v1__image_activity__init(&row->activity);
    row->activity.reads = info->activity.reads;
    row->activity.read_bytes = info->activity.read_bytes;
    row->activity.writes = info->activity.writes;
    row->activity.written_bytes = info->activity.written_bytes;
    row->activity.trims = info->activity.trims;
    row->activity.flushes = info->activity.flushes;

    pstorage__v1__image_held__init(&row->held);
    row->held.computed_unix_ns = s->config.now_unix_ns(s->config.user) - info->held.ns_ago;
    row->held.referenced_blocks = info->held.referenced_blocks;
    row->held.referenced_bytes = info->held.referenced_bytes;
    row->held.exclusive_blocks = info->held.exclusive_blocks;
    row->held.exclusive_bytes = info->held.exclusive_bytes;
    row->held.reclaimable_blocks = info->held.reclaimable_blocks;
    row->held.reclaimable_bytes = info->held.reclaimable_bytes;

    Pstorage__V1__Image *image = &row->image;
    pstorage__v1__image__init(image);
    image->id = info->id;
    image->kind = info->kind == POD_SNAPSHOT ? PSTORAGE__V1__IMAGE_KIND__IMAGE_KIND_SNAPSHOT
                                             : PSTORAGE__V1__IMAGE_KIND__IMAGE_KIND_VOLUME;
    image->name = row->info.name;
    image->pod = (char *)(uintptr_t)s->config.pod_name; /* only read when it is packed */
    image->size_bytes = info->size_bytes;
    image->created_unix_ns = info->created_unix_ns;
    image->volume_id = info->volume_id;
    image->origin_id = info->origin_id;
    image->write_cache = info->write_cache;
    image->open_count = info->open_count;
    image->snapshot_count = info->snapshots;
    image->space = &row->space;
    image->activity = &row->activity;
    image->held = info->held.known ? &row->held : NULL;
    image->tag = pod_image_tag(info);
}

bool image_page_open(struct image_page *page, struct rpc_call *call, uint32_t page_size, const char *token)
{
    *page = (struct image_page){.room = page_size ? page_size : SERVICES_PAGE_DEFAULT};
    if (page->room > SERVICES_PAGE_MAX)
        page->room = SERVICES_PAGE_MAX;
    if (strlen(token) > POD_FULL_NAME_MAX) {
        rpc_call_fail(call, PS_EINVAL, "the page token is not one of this service");
        return false;
    }
    page->rows = calloc(page->room, sizeof *page->rows);
    page->images = calloc(page->room, sizeof *page->images);
    if (page->rows && page->images)
        return true;
    image_page_free(page);
    rpc_call_fail(call, PS_ENOMEM, NULL);
    return false;
}

bool image_page_add(struct image_page *page, const struct services *s, const struct pod_image_info *info)
{
    if (page->count == page->room) {
        memcpy(page->next, page->rows[page->count - 1].info.name, sizeof page->next);
        return false;
    }
    struct image_row *row = &page->rows[page->count];
    image_row_fill(row, s, info);
    page->images[page->count++] = &row->image;
    return true;
}

void image_page_free(struct image_page *page)
{
    free(page->rows);
    free(page->images);
}
