/* Checks that look inside: one writer an epoch, one content for the name of a batch, and what was committed
 * at a place of the log stays there. */
#include "tests/sim/world.h"

enum {
    LINEAGES = 16,
    EPOCHS = 4096,
};

struct checks {
    struct uuid leads[LINEAGES][EPOCHS]; /* by epoch: the store that served in it */
    struct log_id *applied;              /* by sequence, of whoever applied it first; seq 0: nobody yet */
    uint64_t *names; /* by sequence: hash of the first batch with the epoch and run below */
    uint64_t *epochs, *runs;
    size_t room;
};

struct checks *checks_create(void)
{
    struct checks *c = calloc(1, sizeof *c);
    assert(c);
    return c;
}

void checks_free(struct checks *c)
{
    free(c->applied);
    free(c->names);
    free(c->epochs);
    free(c->runs);
    free(c);
}

static void make_room(struct checks *c, uint64_t seq)
{
    const size_t room = (size_t)(seq + 1) * 2;
    if (seq < c->room)
        return;
    c->applied = realloc(c->applied, room * sizeof c->applied[0]);
    c->names = realloc(c->names, room * sizeof c->names[0]);
    c->epochs = realloc(c->epochs, room * sizeof c->epochs[0]);
    c->runs = realloc(c->runs, room * sizeof c->runs[0]);
    assert(c->applied && c->names && c->epochs && c->runs);
    memset(c->applied + c->room, 0, (room - c->room) * sizeof c->applied[0]);
    memset(c->names + c->room, 0, (room - c->room) * sizeof c->names[0]);
    memset(c->epochs + c->room, 0, (room - c->room) * sizeof c->epochs[0]);
    memset(c->runs + c->room, 0, (room - c->room) * sizeof c->runs[0]);
    c->room = room;
}

void check_leads(struct world *w, const struct node *n, uint64_t epoch)
{
    if (epoch_lineage(epoch) >= LINEAGES || epoch_in_lineage(epoch) >= EPOCHS) {
        fail(w, SIM_WRITER, "%s serves in epoch %llu, which is beyond those that are checked", n->name,
             (unsigned long long)epoch);
        return;
    }
    struct uuid *who = &w->checks->leads[epoch_lineage(epoch)][epoch_in_lineage(epoch)];
    if (!uuid_is_none(who) && !uuid_equal(who, &n->store)) {
        const struct node *other = node_of(w, who);
        fail(w, SIM_WRITER, "%s serves in epoch %llu, in which %s served", n->name, (unsigned long long)epoch,
             other ? other->name : "a disk that is gone");
    }
    *who = n->store;
}

void check_sealed(struct world *w, const struct node *n, const struct replica_append_msg *msg)
{
    struct checks *c = w->checks;
    const struct log_id *id = &msg->id;
    make_room(c, id->seq);
    if (c->epochs[id->seq] == id->epoch && c->runs[id->seq] == id->run && c->names[id->seq] != id->hash)
        fail(w, SIM_WRITER, "%s sends another batch %llu of epoch %llu, run %llu than was sent before",
             n->name, (unsigned long long)id->seq, (unsigned long long)id->epoch,
             (unsigned long long)id->run);
    c->epochs[id->seq] = id->epoch;
    c->runs[id->seq] = id->run;
    c->names[id->seq] = id->hash;
}

void check_applied(struct world *w, struct node *n)
{
    struct checks *c = w->checks;
    struct log_id id;
    pod_log_ends(member_pod(n->member), &id, NULL);
    if (!id.seq)
        return;
    make_room(c, id.seq);
    if (!c->applied[id.seq].seq)
        c->applied[id.seq] = id;
    else if (!log_id_equal(&c->applied[id.seq], &id))
        fail(w, SIM_COMMITTED,
             "%s has applied batch %llu of epoch %llu; there was another one, of epoch %llu", n->name,
             (unsigned long long)id.seq, (unsigned long long)id.epoch,
             (unsigned long long)c->applied[id.seq].epoch);
}
