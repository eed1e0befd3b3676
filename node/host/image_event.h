/* What people are told when an image changes: an event's kind and text, from
 * the image before and after. Pure. */
#ifndef PS_NODE_HOST_IMAGE_EVENT_H
#define PS_NODE_HOST_IMAGE_EVENT_H

#include <stdbool.h>

#include "node/host/event_source.h"

/* `before` NULL: it was not there; `after` NULL: it is gone; not both. `origin` is the name of the
 * snapshot that a clone started from, or NULL. Fills kind, image and text; false: nothing worth
 * telling (a snapshot that was renamed with its volume, counts). */
bool image_event_describe(const struct pod_image_info *before, const struct pod_image_info *after,
                          const char *origin, struct event *out);

#endif
