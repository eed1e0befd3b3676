/* The ways in: NBD for hosts. */
#include "common/log.h"
#include "node/daemon.h"
#include "node/host/nbd_uv.h"
#include "node/host/reactor_uv.h"

static void nbd_log(void *user, enum nbd_log_level level, const char *text)
{
    (void)user;
    static const enum log_level levels[] = {LOG_DEBUG, LOG_INFO, LOG_WARN};
    LOG_AT(levels[level], "nbd", text);
}

static void nbd_turn(void *server)
{
    nbd_server_turn(server);
}

int start_nbd(struct node *node, struct ps_error *err)
{
    if (node->as.nbd_listen[0] == '\0')
        return 0;
    const struct nbd_server_config config = {.pod = node->pod, .listen = node->as.nbd_listen, .log = nbd_log};
    struct ps_error reason;
    const int rc = nbd_server_start(&node->loop, &config, &node->nbd, &reason);
    if (rc)
        return node_setting_error(node, PSTORAGED_NBD_LISTEN, rc, err, reason.detail);
    reactor_follow(node->reactor, nbd_turn, node->nbd);
    return 0;
}

/* Called when the server is gone: it must have no turn after that. */
static void nbd_stopped(void *user)
{
    struct awaited *end = user;
    reactor_unfollow(end->node->reactor, nbd_turn, end->node->nbd);
    end->node->nbd = NULL;
    node_arrived(end, 0);
}

void stop_nbd(struct node *node)
{
    struct awaited end = {.node = node};
    if (!node->nbd)
        return;
    nbd_server_stop(node->nbd, nbd_stopped, &end);
    node_wait(&end);
}
