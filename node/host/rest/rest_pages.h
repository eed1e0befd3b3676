/* /docs and /redoc: pages for browsers, as files that are built in. What they may load is said in their
 * policy: from this node alone. Pure, and constant. */
#ifndef PS_NODE_HOST_REST_REST_PAGES_H
#define PS_NODE_HOST_REST_REST_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rest_page_file {
    const char *path, *type; /* "/docs/docs.js", "text/javascript" */
    const char *etag;        /* quoted */
    const uint8_t *begin, *end;
    bool packed; /* with gzip */
};

extern const struct rest_page_file rest_page_files[]; /* made by pages.cmake */
extern const size_t rest_page_file_count;

/* Of the path, which ends where the query begins; NULL: there is none. */
const struct rest_page_file *rest_page_find(const char *path, size_t length);

/* Content-Security-Policy of all of them. */
extern const char rest_page_policy[];

/* Does the sender take gzip? `accept` is Accept-Encoding, NULL if it came without: then it takes anything
 * (RFC 9110, 12.5.3). */
bool rest_page_takes_gzip(const char *accept);
/* Is the tag one of those in If-None-Match (weak ones too), or is that "*"? NULL: no. */
bool rest_page_is_known(const char *etag, const char *if_none_match);

#endif
