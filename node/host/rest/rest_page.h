/* Lists of images: filtered, sorted, and cut into pages whose cursors hold where images come and go. Pure. */
#ifndef PS_NODE_HOST_REST_REST_PAGE_H
#define PS_NODE_HOST_REST_REST_PAGE_H

#include "node/host/rest/rest_request.h"

/* Keeps of `items` what the request asks for, in its order, and describes the page that its cursor and limit
 * ask for. `items` is changed in place and holds what the page shows. 0, or -1 with a problem (a cursor that
 * is none of ours, or of another order). */
int rest_page_images(const struct rest_request *r, struct pstorage_info *items, size_t count,
                     struct rest_page *page, struct rest_problem *p);

#endif
