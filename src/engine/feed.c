/* feed.c -- notes of commands for those who follow, collected by a transaction. */
#include "engine/feed.h"

#include "base/number.h"
#include "types/hash.h"

static void deliver(struct txn *t, struct delivery *d, uint64_t lsn)
{
    void (*tell)(struct feed_note *note, uint64_t lsn) = atomic_load(&t->engine->on_feed);
    struct feed_note *note = (struct feed_note *)d; /* its first member */
    if (tell && !note->told)
        tell(note, lsn);
}

static uint8_t *put(uint8_t *at, const void *data, size_t size)
{
    if (size)
        memcpy(at, data, size);
    return at + size;
}

static uint8_t *put_count(uint8_t *at, char sign, size_t count)
{
    char digits[NUMBER_TEXT_MAX];
    *at++ = (uint8_t)sign;
    at = put(at, digits, number_format_uint(digits, count));
    return put(at, "\r\n", 2);
}

/* In the transaction's arena. */
static bytes encode(struct txn *t, const bytes *words, size_t count)
{
    size_t size = NUMBER_TEXT_MAX + 3;
    for (size_t i = 0; i < count; i++)
        size += words[i].size + NUMBER_TEXT_MAX + 5;
    uint8_t *text = arena_alloc(&t->arena, size), *at = put_count(text, '*', count);
    for (size_t i = 0; i < count; i++) {
        at = put_count(at, '$', words[i].size);
        at = put(at, words[i].data, words[i].size);
        at = put(at, "\r\n", 2);
    }
    return bytes_of(text, (size_t)(at - text));
}

void txn_feed(struct txn *t, uint32_t db, const bytes *words, size_t count)
{
    struct feed_note *note = arena_alloc(&t->arena, sizeof(*note));
    *note = (struct feed_note){.delivery.deliver = deliver, .unit = t->feed_unit, .db = db, .text = encode(t, words, count)};
    txn_deliver(t, &note->delivery);
}

void txn_feed_unit(struct txn *t) { t->feed_unit++; }

struct feed_note *feed_note_next(const struct feed_note *note)
{
    struct delivery *d = note->delivery.next;
    while (d && d->deliver != deliver)
        d = d->next;
    return (struct feed_note *)d;
}

void txn_feed_gone(struct txn *t, const struct key *k)
{
    t->changes_by_time++;
    if (!engine_is_fed(t->engine) || k->db >= DATABASES_MAX)
        return;
    bytes words[] = {BYTES("DEL"), k->name};
    txn_feed(t, k->db, words, 2);
}

void txn_observe(struct txn *t, uint64_t lsn)
{
    if (lsn > t->observed_lsn)
        t->observed_lsn = lsn;
}

struct fields { struct txn *txn; bytes *words; size_t count; };

static void add_field(void *context, bytes field)
{
    struct fields *f = context;
    f->words[f->count++] = arena_dup(&f->txn->arena, field);
}

void txn_feed_fields_due(struct txn *t, const struct key *k, const void *hash)
{
    t->changes_by_time++;
    if (!engine_is_fed(t->engine) || k->db >= DATABASES_MAX)
        return;
    struct fields f = {t, arena_alloc(&t->arena, (2 + hash_due_count(hash, t->now_ms)) * sizeof(bytes)), 2};
    f.words[0] = BYTES("HDEL");
    f.words[1] = k->name;
    hash_due_each(hash, t->now_ms, add_field, &f);
    txn_feed(t, k->db, f.words, f.count);
}

void engine_feed(struct engine *e, void (*tell)(struct feed_note *note, uint64_t lsn))
{
    atomic_store(&e->on_feed, tell);
}
