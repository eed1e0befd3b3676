/* A cursor is "KEY:VALUE:NAME": the order, and the last entry of the page. The next page begins behind it,
 * whether or not that entry is still there. */
#include "node/host/rest/rest_page.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct order {
    char key[32]; /* as in `sort` */
    bool descending;
    uint64_t (*value)(const struct pstorage_info *info); /* NULL: by name alone */
};

struct entry_key {
    uint64_t value;
    const char *name;
};

static uint64_t by_size(const struct pstorage_info *i)
{
    return i->size_bytes;
}

static uint64_t by_creation(const struct pstorage_info *i)
{
    return i->created_unix_ns;
}

static uint64_t by_logical(const struct pstorage_info *i)
{
    return i->space.logical_bytes;
}

static uint64_t by_stored(const struct pstorage_info *i)
{
    return i->space.stored_bytes;
}

static struct order order_of(const struct rest_request *r)
{
    static const struct {
        const char *name;
        uint64_t (*value)(const struct pstorage_info *info);
    } keys[] = {{"size_bytes", by_size},
                {"created", by_creation},
                {"logical_bytes", by_logical},
                {"stored_bytes", by_stored}};
    struct order o = {.key = "name"};
    if (!rest_given(r, REST_BIT(sort)))
        return o;
    (void)snprintf(o.key, sizeof o.key, "%s", r->is.sort);
    o.descending = o.key[0] == '-';
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i].name, o.key + o.descending) == 0)
            o.value = keys[i].value;
    return o;
}

static struct entry_key key_of(const struct order *o, const struct pstorage_info *info)
{
    return (struct entry_key){o->value ? o->value(info) : 0, info->name};
}

/* Equal values stand in the order of names, in either direction. */
static int compare_keys(const struct order *o, struct entry_key a, struct entry_key b)
{
    int by = a.value < b.value ? -1 : a.value > b.value;
    if (by == 0)
        by = strcmp(a.name, b.name);
    return o->descending ? -by : by;
}

static int compare(const void *a, const void *b, void *order)
{
    return compare_keys(order, key_of(order, a), key_of(order, b));
}

static bool is_wanted(const struct rest_request *r, const struct pstorage_info *info)
{
    const struct rest_values *is = &r->is;
    return (!rest_given(r, REST_BIT(prefix)) || strncmp(info->name, is->prefix, strlen(is->prefix)) == 0) &&
           (!rest_given(r, REST_BIT(min_size_bytes)) || info->size_bytes >= is->min_size_bytes) &&
           (!rest_given(r, REST_BIT(max_size_bytes)) || info->size_bytes <= is->max_size_bytes);
}

/* The entry that the cursor names; false: it is none of ours. */
static bool read_cursor(const char *cursor, const struct order *o, struct entry_key *out)
{
    const size_t n = strlen(o->key);
    char *end;
    if (strncmp(cursor, o->key, n) != 0 || cursor[n] != ':' || cursor[n + 1] < '0' || cursor[n + 1] > '9')
        return false;
    out->value = strtoull(cursor + n + 1, &end, 10);
    if (*end != ':')
        return false;
    out->name = end + 1;
    return true;
}

int rest_page_images(const struct rest_request *r, struct pstorage_info *items, size_t count,
                     struct rest_page *page, struct rest_problem *p)
{
    struct order o = order_of(r);
    struct entry_key after;
    size_t kept = 0, first = 0;
    const bool has_cursor = rest_given(r, REST_BIT(cursor));
    if (has_cursor && !read_cursor(r->is.cursor, &o, &after))
        return rest_fail(p, PS_EINVAL, "cursor", "this is no cursor of a list in this order");
    for (size_t i = 0; i < count; i++) {
        if (!is_wanted(r, &items[i]))
            continue;
        if (kept != i)
            items[kept] = items[i];
        kept++;
    }
    if (kept && (o.value || o.descending)) /* by name they come */
        qsort_r(items, kept, sizeof *items, compare, &o);
    while (has_cursor && first < kept && compare_keys(&o, key_of(&o, &items[first]), after) <= 0)
        first++;
    const size_t limit = rest_given(r, REST_BIT(limit)) ? r->is.limit : REST_LIMIT_DEFAULT,
                 left = kept - first;
    *page = (struct rest_page){
        .items = items ? items + first : NULL, .count = left < limit ? left : limit, .total = kept};
    if (left > limit) {
        const struct entry_key last = key_of(&o, &items[first + limit - 1]);
        (void)snprintf(page->next_cursor, sizeof page->next_cursor, "%s:%" PRIu64 ":%s", o.key, last.value,
                       last.name);
    }
    return 0;
}
