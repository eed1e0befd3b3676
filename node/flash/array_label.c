/* Blocks of 4,096 bytes: 0 magic u32, 4 version u16, 6 zero u16, 8 number u64, 16 array's id, from 32 on the
 * fields, little-endian, the rest zero; the last 8 bytes are XXH3-64 of the block with them 0. */
#include "node/flash/array_label.h"

#include <string.h>

#include "common/endian_codec.h"
#include "node/meta/checksum.h"

enum {
    LABEL_MAGIC = 0x4c415350,     /* "PSAL" */
    UNSETTLED_MAGIC = 0x55415350, /* "PSAU" */
    STAGE_MAGIC = 0x53415350,     /* "PSAS" */
    VERSION = 1,
    VERSION_PLACES = 2, /* of a label whose members have places of their own, or none */
    BEHIND = 1,
    BARE = 2,
    CHECKSUM_AT = ARRAY_BLOCK_BYTES - 8,
    BODY = 32,
    MEMBER_AT = 64,
    MEMBER_BYTES = 32 + ARRAY_NAME_BYTES,
    ENTRIES_AT = 64,
    ENTRY_BYTES = 12,
    HASHES_AT = 128,
};
_Static_assert(MEMBER_AT + ARRAY_MEMBERS_MAX * MEMBER_BYTES <= CHECKSUM_AT, "a label fits");
_Static_assert(ENTRIES_AT + ARRAY_UNSETTLED_MAX * ENTRY_BYTES <= CHECKSUM_AT, "a list fits");

static uint8_t *begin(void *out, uint32_t magic, uint16_t version, uint64_t number, const uint8_t array[16])
{
    uint8_t *p = out;
    memset(p, 0, ARRAY_BLOCK_BYTES);
    put_le32(p, magic);
    put_le16(p + 4, version);
    put_le64(p + 8, number);
    memcpy(p + 16, array, 16);
    return p;
}

static void end(uint8_t *p)
{
    put_le64(p + CHECKSUM_AT, checksum_record(p, ARRAY_BLOCK_BYTES, CHECKSUM_AT));
}

static int open_block(const uint8_t *p, uint32_t magic, uint16_t newest, const char *what,
                      struct ps_error *err)
{
    if (get_le32(p) != magic)
        return ps_error_set(err, PS_ENOTFOUND, "no %s", what);
    if (get_le64(p + CHECKSUM_AT) != checksum_record(p, ARRAY_BLOCK_BYTES, CHECKSUM_AT))
        return ps_error_set(err, PS_EDAMAGED, "a %s has a wrong checksum", what);
    if (get_le16(p + 4) < VERSION || get_le16(p + 4) > newest)
        return ps_error_set(err, PS_EVERSION, "the %s has format version %u, this program knows up to %u",
                            what, get_le16(p + 4), newest);
    return 0;
}

/* ---- labels */

uint32_t array_label_segments(const struct array_label *l)
{
    uint64_t at = 0;
    unsigned left = 0;
    for (unsigned i = 0; i < l->members; i++) {
        at += l->member[i].behind ? 0 : l->member[i].segments;
        left += l->member[i].behind;
    }
    for (unsigned found = 1; left && found; left -= found) {
        found = 0;
        for (unsigned i = 0; i < l->members && !found; i++)
            if (l->member[i].behind && l->member[i].first == at) {
                at += l->member[i].segments;
                found = 1;
            }
    }
    return left || at > UINT32_MAX / 2 ? 0 : (uint32_t)at;
}

/* As older programs know it. */
static bool is_plain(const struct array_label *l)
{
    for (unsigned i = 0; i < l->members && !l->parity; i++)
        if (l->member[i].behind || l->member[i].state == ARRAY_FREE ||
            l->member[i].held != l->member[i].segments)
            return false;
    return true;
}

void array_label_encode(const struct array_label *label, void *out)
{
    const bool plain = is_plain(label);
    uint8_t *p = begin(out, LABEL_MAGIC, plain ? VERSION : VERSION_PLACES, label->number, label->array);
    put_le32(p + BODY, label->segment_bytes);
    put_le32(p + BODY + 4, label->unit_bytes);
    p[BODY + 8] = label->members;
    p[BODY + 9] = label->parity;
    p[BODY + 10] = label->self;
    for (unsigned i = 0; i < label->members; i++) {
        uint8_t *m = p + MEMBER_AT + i * MEMBER_BYTES;
        memcpy(m, label->member[i].id, 16);
        put_le32(m + 16, label->member[i].segments);
        put_le32(m + 20, plain ? label->member[i].rebuilt : label->member[i].held);
        m[24] = label->member[i].state;
        m[25] = (uint8_t)((label->member[i].behind ? BEHIND : 0) | (label->member[i].bare ? BARE : 0));
        put_le32(m + 28, label->member[i].first);
        memcpy(m + 32, label->member[i].name, ARRAY_NAME_BYTES);
    }
    end(p);
}

static bool places_are_sound(const struct array_label *l)
{
    for (unsigned i = 0; i < l->members; i++) {
        const struct array_member_label *m = &l->member[i];
        if (m->bare ? !m->behind || m->first : !m->behind && m->first)
            return false;
        if (m->state == ARRAY_REBUILDING || (m->state == ARRAY_FREE ? m->held != 0 : m->held < 4) ||
            m->held > m->segments)
            return false;
    }
    return array_label_segments(l) != 0;
}

static bool label_is_sound(const struct array_label *l)
{
    const uint32_t s = l->segment_bytes, u = l->unit_bytes;
    if (l->members < 2 || l->members > ARRAY_MEMBERS_MAX || l->parity > 2 || l->parity >= l->members ||
        l->self >= l->members || s < (1u << 20) || s > (1u << 30) || (s & (s - 1)) || (u & (u - 1)) ||
        u < ARRAY_UNIT_MIN || u > ARRAY_UNIT_MAX)
        return false;
    for (unsigned i = 0; i < l->members; i++)
        if (l->member[i].state > ARRAY_FREE || l->member[i].segments < 4 ||
            l->member[i].rebuilt > l->member[i].segments || (l->parity && l->member[i].state == ARRAY_FREE))
            return false;
    return l->parity || places_are_sound(l);
}

int array_label_decode(const void *block, struct array_label *out, struct ps_error *err)
{
    const uint8_t *p = block;
    const int rc = open_block(p, LABEL_MAGIC, VERSION_PLACES, "array label", err);
    if (rc)
        return rc;
    const bool places = get_le16(p + 4) == VERSION_PLACES;
    struct array_label l = {.number = get_le64(p + 8),
                            .segment_bytes = get_le32(p + BODY),
                            .unit_bytes = get_le32(p + BODY + 4),
                            .members = p[BODY + 8],
                            .parity = p[BODY + 9],
                            .self = p[BODY + 10]};
    memcpy(l.array, p + 16, 16);
    for (unsigned i = 0; i < l.members && i < ARRAY_MEMBERS_MAX; i++) {
        const uint8_t *m = p + MEMBER_AT + i * MEMBER_BYTES;
        memcpy(l.member[i].id, m, 16);
        l.member[i].segments = get_le32(m + 16);
        l.member[i].rebuilt = places ? 0 : get_le32(m + 20);
        l.member[i].state = m[24];
        l.member[i].behind = places && m[25] & BEHIND;
        l.member[i].bare = places && m[25] & BARE;
        l.member[i].first = places ? get_le32(m + 28) : 0;
        l.member[i].held = l.parity ? 0 : get_le32(m + (places ? 20 : 16));
        memcpy(l.member[i].name, m + 32, ARRAY_NAME_BYTES);
        l.member[i].name[ARRAY_NAME_BYTES - 1] = '\0';
    }
    if (!label_is_sound(&l) || (places && l.parity))
        return ps_error_set(err, PS_EDAMAGED, "an array label says what cannot be");
    *out = l;
    return 0;
}

void array_unsettled_encode(const struct array_unsettled *list, void *out)
{
    uint8_t *p = begin(out, UNSETTLED_MAGIC, VERSION, list->number, list->array);
    put_le32(p + BODY, list->count);
    for (uint32_t i = 0; i < list->count; i++) {
        put_le32(p + ENTRIES_AT + i * ENTRY_BYTES, list->entry[i].segment);
        put_le64(p + ENTRIES_AT + i * ENTRY_BYTES + 4, list->entry[i].life);
    }
    end(p);
}

int array_unsettled_decode(const void *block, struct array_unsettled *out, struct ps_error *err)
{
    const uint8_t *p = block;
    const int rc = open_block(p, UNSETTLED_MAGIC, VERSION, "list of unsettled segments", err);
    if (rc)
        return rc;
    struct array_unsettled list = {.number = get_le64(p + 8), .count = get_le32(p + BODY)};
    if (list.count > ARRAY_UNSETTLED_MAX)
        return ps_error_set(err, PS_EDAMAGED, "a list of unsettled segments is too long");
    memcpy(list.array, p + 16, 16);
    for (uint32_t i = 0; i < list.count; i++) {
        list.entry[i].segment = get_le32(p + ENTRIES_AT + i * ENTRY_BYTES);
        list.entry[i].life = get_le64(p + ENTRIES_AT + i * ENTRY_BYTES + 4);
    }
    *out = list;
    return 0;
}

void array_stage_encode(const struct array_stage *s, void *out)
{
    uint8_t *p = begin(out, STAGE_MAGIC, VERSION, s->number, s->array);
    put_le64(p + BODY, s->life);
    put_le32(p + BODY + 8, s->segment);
    put_le32(p + BODY + 12, s->row);
    put_le32(p + BODY + 16, s->fill);
    put_le32(p + BODY + 20, s->bytes);
    p[BODY + 24] = s->data;
    p[BODY + 25] = s->parity;
    p[BODY + 26] = s->which;
    put_le64(p + BODY + 32, checksum_bytes(p + ARRAY_BLOCK_BYTES, s->bytes));
    for (unsigned i = 0; i < s->data; i++)
        put_le64(p + HASHES_AT + 8 * i, s->hash[i]);
    end(p);
}

int array_stage_decode(const void *block, struct array_stage *out, struct ps_error *err)
{
    const uint8_t *p = block;
    const int rc = open_block(p, STAGE_MAGIC, VERSION, "record of a row", err);
    if (rc)
        return rc;
    struct array_stage s = {.number = get_le64(p + 8),
                            .life = get_le64(p + BODY),
                            .segment = get_le32(p + BODY + 8),
                            .row = get_le32(p + BODY + 12),
                            .fill = get_le32(p + BODY + 16),
                            .bytes = get_le32(p + BODY + 20),
                            .data = p[BODY + 24],
                            .parity = p[BODY + 25],
                            .which = p[BODY + 26]};
    memcpy(s.array, p + 16, 16);
    if (s.data == 0 || s.data >= ARRAY_MEMBERS_MAX || s.parity == 0 || s.parity > 2 || s.which >= s.parity ||
        s.bytes == 0 || s.bytes > ARRAY_UNIT_MAX || s.bytes % ARRAY_BLOCK_BYTES || s.fill == 0 ||
        s.fill > s.data * (uint32_t)ARRAY_UNIT_MAX)
        return ps_error_set(err, PS_EDAMAGED, "a record of a row says what cannot be");
    if (get_le64(p + BODY + 32) != checksum_bytes(p + ARRAY_BLOCK_BYTES, s.bytes))
        return ps_error_set(err, PS_EDAMAGED, "the parity of a row has a wrong checksum");
    for (unsigned i = 0; i < s.data; i++)
        s.hash[i] = get_le64(p + HASHES_AT + 8 * i);
    *out = s;
    return 0;
}
