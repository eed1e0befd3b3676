/* What a path names: by its name first; digits alone may be an id too. When they are the name of one and the
 * id of another, nothing is guessed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/host/rest/rest_exchange.h"

enum {
    ANY_KIND = 0
};

/* The id that the text is; 0: it is none. */
static uint64_t id_of(const char *text)
{
    if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 19 || text[0] == '0')
        return 0;
    return strtoull(text, NULL, 10);
}

static const char *asked_for(const struct rest_exchange *x)
{
    return x->step == PSTORAGE_SNAPSHOT ? x->request.is.sid : x->request.is.id;
}

static void not_found(struct rest_exchange *x)
{
    const bool snapshot = x->step == PSTORAGE_SNAPSHOT;
    (void)rest_fail(&x->problem, PS_ENOTFOUND, snapshot ? "sid" : "id",
                    "no %s is named \"%s\" or has this id", snapshot ? "snapshot" : "volume", asked_for(x));
    rest_refuse(x);
}

static bool fits(const struct rest_exchange *x, const struct pstorage_info *info)
{
    return (x->step == ANY_KIND || info->kind == (enum pstorage_kind)x->step) &&
           (!x->of_volume || info->volume_id == x->of_volume);
}

static void on_id(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    const bool found = status == PSTORAGE_OK && fits(x, &x->q.manage.info);
    if (status && status != PSTORAGE_ENOTFOUND) {
        rest_refuse_request(x, q, status);
    } else if (found && x->by_name && x->q.manage.info.id != x->info.id) {
        (void)rest_fail_http(&x->problem, REST_PROBLEM_EAMBIGUOUS,
                             "\"%s\" is the name of one and the id of another (\"%s\"): use the id of the "
                             "one, or the name of the other",
                             asked_for(x), x->q.manage.info.name);
        rest_refuse(x);
    } else if (!found && !x->by_name) {
        not_found(x);
    } else {
        if (!x->by_name)
            x->info = x->q.manage.info;
        x->then(x);
    }
}

static void ask_by_id(struct rest_exchange *x, uint64_t id)
{
    x->q.manage = (struct pstorage_manage){.op = PSTORAGE_IMAGE_GET, .expect_id = id, .request.user = x};
    const int rc = pstorage_manage_submit(x->client, &x->q.manage, on_id);
    if (rc)
        rest_refuse_request(x, &x->q.manage.request, rc);
}

static void on_name(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    const uint64_t id = id_of(asked_for(x));
    if (status && status != PSTORAGE_ENOTFOUND) {
        rest_refuse_request(x, q, status);
        return;
    }
    x->by_name = status == PSTORAGE_OK && fits(x, &x->q.manage.info);
    if (x->by_name)
        x->info = x->q.manage.info;
    if (id && !(x->by_name && x->info.id == id))
        ask_by_id(x, id);
    else if (x->by_name)
        x->then(x);
    else
        not_found(x);
}

/* x->name, of the kind that x->step says. */
static void find(struct rest_exchange *x)
{
    x->by_name = false;
    x->q.manage = (struct pstorage_manage){.op = PSTORAGE_IMAGE_GET, .name = x->name, .request.user = x};
    const int rc = pstorage_manage_submit(x->client, &x->q.manage, on_name);
    if (rc)
        rest_refuse_request(x, &x->q.manage.request, rc);
}

void rest_find_volume(struct rest_exchange *x, bool or_snapshot, rest_step then)
{
    x->then = then;
    x->step = or_snapshot ? ANY_KIND : PSTORAGE_VOLUME;
    (void)snprintf(x->name, sizeof x->name, "%s", x->request.is.id);
    find(x);
}

/* The volume is known, or the path names the snapshot alone. */
static void find_snapshot(struct rest_exchange *x)
{
    const char *sid = x->request.is.sid;
    char name[2 * PSTORAGE_FULL_NAME_MAX + 2];
    if (x->of_volume && !strchr(sid, '@'))
        (void)snprintf(name, sizeof name, "%s@%s", x->info.name, sid);
    else
        (void)snprintf(name, sizeof name, "%s", sid);
    x->step = PSTORAGE_SNAPSHOT;
    if (strlen(name) >= sizeof x->name) {
        not_found(x);
        return;
    }
    memcpy(x->name, name, strlen(name) + 1);
    find(x);
}

static void on_volume_of_snapshot(struct rest_exchange *x)
{
    x->then = x->after;
    x->of_volume = x->info.id;
    find_snapshot(x);
}

void rest_find_snapshot(struct rest_exchange *x, rest_step then)
{
    if (!rest_given(&x->request, REST_BIT(id))) {
        x->then = then;
        find_snapshot(x);
        return;
    }
    x->after = then;
    rest_find_volume(x, false, on_volume_of_snapshot);
}

bool rest_check_match(struct rest_exchange *x)
{
    const struct rest_request *r = &x->request;
    if (!r->conditional || r->matches_any)
        return true;
    for (size_t i = 0; i < r->ntags; i++)
        if (r->tags[i] == x->info.tag)
            return true;
    char etag[REST_ETAG_MAX];
    (void)rest_fail(&x->problem, PS_ECHANGED, NULL, "\"%s\" was changed meanwhile: its ETag is %s",
                    x->info.name, rest_etag(x->info.tag, etag));
    rest_refuse(x);
    return false;
}
