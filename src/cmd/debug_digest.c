/* debug_digest.c -- DEBUG DIGEST and DIGEST-VALUE: the digest that Redis gives for the same data.
 *
 * Two ways to join: what has an order (elements of a list, a field and its value) is mixed in, what has none (members, keys) is
 * added, so that the order of a walk does not matter.
 */
#include "base/assert.h"
#include "cmd/handlers.h"
#include "engine/engine.h"
#include "engine/keys.h"
#include "engine/objects.h"
#include "engine/strings.h"
#include "engine/values.h"
#include "types/hash.h"
#include "types/list.h"
#include "types/set.h"
#include "types/stream.h"
#include "types/zset.h"

#include <openssl/evp.h>
#include <stdio.h>

struct digest { uint8_t bytes[20]; };

static struct digest hash_of(bytes text)
{
    struct digest d;
    unsigned size;
    int made = EVP_Digest(text.data, text.size, d.bytes, &size, EVP_sha1(), NULL);
    hf_assert(made && size == sizeof(d.bytes));
    return d;
}

static void add(struct digest *to, bytes text)
{
    struct digest d = hash_of(text);
    for (size_t i = 0; i < sizeof(d.bytes); i++)
        to->bytes[i] ^= d.bytes[i];
}

static void mix(struct digest *to, bytes text)
{
    add(to, text);
    *to = hash_of(bytes_of(to->bytes, sizeof(to->bytes)));
}

static void add_pair(struct digest *to, bytes first, bytes second)
{
    struct digest pair = {{0}};
    mix(&pair, first);
    mix(&pair, second);
    add(to, bytes_of(pair.bytes, sizeof(pair.bytes)));
}

static void mix_number(struct digest *to, uint32_t value)
{
    uint8_t big_endian[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    mix(to, bytes_of(big_endian, sizeof(big_endian)));
}

/* ---- values ---- */

static void mix_list(struct digest *d, const struct list *l)
{
    struct list_cursor cursor;
    bytes value;
    for (bool more = list_seek(l, 0, &cursor, &value); more; more = list_next(&cursor, &value))
        mix(d, value);
}

static void add_set(struct digest *d, const struct set *s)
{
    struct set_cursor cursor = {0};
    bytes member;
    while (set_next(s, &cursor, &member))
        add(d, member);
}

static void add_zset(struct digest *d, const struct zset *z)
{
    struct zset_cursor cursor;
    struct scored one;
    char score[64];
    for (bool more = zset_seek(z, 0, &cursor, &one); more; more = zset_next(&cursor, &one))
        add_pair(d, one.member, bytes_of(score, (size_t)snprintf(score, sizeof(score), "%.17g", one.score)));
}

static void add_hash(struct digest *d, const struct hash *h)
{
    uint64_t position = 0;
    bytes field, value;
    while (hash_next(h, &position, &field, &value))
        add_pair(d, field, value);
}

static void mix_stream(struct digest *d, const struct stream *s)
{
    struct stream_cursor cursor;
    struct stream_entry e;
    char id[64];
    for (bool more = stream_seek(s, 0, &cursor, &e); more; more = stream_next(&cursor, &e)) {
        struct stream_pairs body = e.body;
        bytes field, value;
        mix(d, bytes_of(id, (size_t)snprintf(id, sizeof(id), "%llu.%llu", (unsigned long long)e.id.ms,
                                             (unsigned long long)e.id.seq)));
        while (stream_pair_next(&body, &field, &value)) {
            mix(d, field);
            mix(d, value);
        }
    }
}

static void mix_value(struct digest *d, const struct value_view *v)
{
    static const uint32_t numbers[TYPE_COUNT] = {[TYPE_LIST] = 1, [TYPE_SET] = 2, [TYPE_ZSET] = 3, [TYPE_HASH] = 4, [TYPE_STREAM] = 6};
    mix_number(d, numbers[v->type]);
    switch (v->type) {
    case TYPE_STRING: mix(d, v->text); break;
    case TYPE_LIST: mix_list(d, v->object); break;
    case TYPE_SET: add_set(d, v->object); break;
    case TYPE_ZSET: add_zset(d, v->object); break;
    case TYPE_HASH: add_hash(d, v->object); break;
    case TYPE_STREAM: mix_stream(d, v->object); break;
    default: hf_assert(false);
    }
    if (v->deadline_ms)
        add(d, BYTES("!!expire!!"));
}

static void reply_digest(struct reply *r, const struct digest *d)
{
    char text[2 * sizeof(d->bytes) + 1];
    for (size_t i = 0; i < sizeof(d->bytes); i++)
        snprintf(text + 2 * i, 3, "%02x", d->bytes[i]);
    reply_simple(r, text);
}

/* ---- DIGEST ---- */

struct whole { struct digest sum; uint32_t db; bool any; };

static void add_key(void *context, const struct value_view *v)
{
    struct whole *w = context;
    struct digest one = {{0}};
    if (!w->any)
        mix_number(&w->sum, w->db);
    w->any = true;
    mix(&one, v->key);
    mix_value(&one, v);
    add(&w->sum, bytes_of(one.bytes, sizeof(one.bytes)));
}

void cmd_debug_digest(struct call *c)
{
    struct whole w = {.any = false};
    for (w.db = 0; w.db < engine_databases(txn_engine(c->txn)); w.db++) {
        w.any = false;
        values_walk(c->txn, w.db, add_key, &w);
    }
    reply_digest(c->reply, &w.sum);
}

/* False: there is no such key. */
static bool view_key(struct call *c, const struct key *k, struct text *text, struct value_view *v)
{
    struct key_info info;
    key_info(c->txn, k, &info);
    if (!info.found)
        return false;
    *v = (struct value_view){.key = k->name, .type = (enum type)info.type, .deadline_ms = info.deadline_ms};
    if (v->type != TYPE_STRING)
        return object_view(c->txn, k, v->type, &v->object) == HF_OK && v->object;
    if (string_get(c->txn, k, text) != HF_OK)
        return false;
    v->text = text->view;
    return text->found;
}

void cmd_debug_digest_value(struct call *c)
{
    reply_array(c->reply, c->key_count);
    for (size_t i = 0; i < c->key_count; i++) {
        struct digest d = {{0}};
        struct text text;
        struct value_view v;
        if (view_key(c, call_key(c, i), &text, &v))
            mix_value(&d, &v);
        reply_digest(c->reply, &d);
    }
}
