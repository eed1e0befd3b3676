#include "node/pod/log_index.h"

#include <assert.h>
#include <stdlib.h>

struct log_index {
    uint64_t first, end; /* known are [first, end) */
    uint32_t capacity;
    struct log_entry entries[];
};

struct log_index *log_index_create(uint32_t capacity)
{
    assert(capacity && (capacity & (capacity - 1)) == 0);
    struct log_index *index = calloc(1, sizeof *index + capacity * sizeof index->entries[0]);
    assert(index && "out of memory at start");
    index->capacity = capacity;
    index->first = index->end = 1;
    return index;
}

void log_index_destroy(struct log_index *index)
{
    free(index);
}

static struct log_entry *at(const struct log_index *index, uint64_t seq)
{
    return (struct log_entry *)(uintptr_t)&index->entries[seq & (index->capacity - 1)];
}

void log_index_put(struct log_index *index, uint64_t seq, const struct log_entry *entry)
{
    if (seq < index->first || seq > index->end)
        index->first = seq;
    index->end = seq + 1;
    if (index->end - index->first > index->capacity)
        index->first = index->end - index->capacity;
    *at(index, seq) = *entry;
}

const struct log_entry *log_index_get(const struct log_index *index, uint64_t seq)
{
    return seq >= index->first && seq < index->end ? at(index, seq) : NULL;
}

bool log_index_put_before(struct log_index *index, uint64_t seq, const struct log_entry *entry)
{
    if (index->first == index->end)
        index->first = index->end = seq + 1;
    assert(seq + 1 == index->first);
    if (index->end - seq > index->capacity)
        return false;
    index->first = seq;
    *at(index, seq) = *entry;
    return true;
}

void log_index_move(struct log_index *index, uint64_t seq, uint32_t segment, uint32_t offset)
{
    assert(log_index_get(index, seq));
    at(index, seq)->segment = segment;
    at(index, seq)->offset = offset;
}

uint64_t log_index_first(const struct log_index *index)
{
    return index->first < index->end ? index->first : 0;
}

void log_index_drop_through(struct log_index *index, uint64_t seq)
{
    if (index->first <= seq)
        index->first = seq + 1;
    if (index->end < index->first)
        index->end = index->first;
}

void log_index_drop_after(struct log_index *index, uint64_t seq)
{
    if (index->end > seq + 1)
        index->end = seq + 1;
    if (index->first > index->end)
        index->first = index->end;
}
