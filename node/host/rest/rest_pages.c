#include "node/host/rest/rest_pages.h"

#include <string.h>
#include <strings.h>

/* Swagger UI and ReDoc write styles into the page; scripts come as files alone. */
const char rest_page_policy[] = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
                                "img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
                                "form-action 'none'; frame-ancestors 'none'";

const struct rest_page_file *rest_page_find(const char *path, size_t length)
{
    for (size_t i = 0; i < rest_page_file_count; i++)
        if (strlen(rest_page_files[i].path) == length && memcmp(rest_page_files[i].path, path, length) == 0)
            return &rest_page_files[i];
    return NULL;
}

/* "q=0", "q=0.0" and the like. */
static bool is_refusal(const char *parameters, size_t length)
{
    const char *end = parameters + length;
    for (const char *p = parameters; p + 2 < end; p++)
        if ((p[0] == 'q' || p[0] == 'Q') && p[1] == '=')
            return strspn(p + 2, "0.") >= (size_t)(end - p - 2);
    return false;
}

bool rest_page_takes_gzip(const char *accept)
{
    if (!accept)
        return true;
    bool any = false;
    for (const char *p = accept; *p;) {
        p += strspn(p, " \t,");
        const size_t n = strcspn(p, ",");
        const char *end = p + n;
        while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        const size_t name = strcspn(p, ";, \t");
        const bool refused = is_refusal(p + name, (size_t)(end - p) > name ? (size_t)(end - p) - name : 0);
        if (name == 4 && strncasecmp(p, "gzip", 4) == 0)
            return !refused;
        if (name == 1 && *p == '*')
            any = !refused;
        p += n;
    }
    return any;
}

bool rest_page_is_known(const char *etag, const char *if_none_match)
{
    const char *found = if_none_match ? strstr(if_none_match, etag) : NULL;
    return found || (if_none_match && strcmp(if_none_match, "*") == 0);
}
