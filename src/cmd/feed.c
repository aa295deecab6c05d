/* feed.c -- the stream of commands: notes become bytes with a place in it, and go to the workers of those who follow.
 *
 * One lock orders the stream. It is taken under the stripes of a commit, or under none, and nothing is taken under it but the
 * inboxes of workers. The bytes are made before; whether a SELECT stands first is known only under the lock, so room for one
 * is kept in front.
 */
#include "cmd/feed.h"

#include "base/number.h"
#include "cmd/message.h"
#include "cmd/observe.h"
#include "cmd/replicas.h"
#include "engine/feed.h"

#include <stdio.h>
#include <string.h>

#define NO_DB UINT32_MAX
#define SELECT_MAX 48
#define MULTI_TEXT "*1\r\n$5\r\nMULTI\r\n"
#define EXEC_TEXT "*1\r\n$4\r\nEXEC\r\n"

_Atomic uint32_t feed_followers;

static struct {
    struct spin lock;
    _Atomic uint64_t offset;   /* changed under the lock, like all the others */
    uint32_t db;               /* the last SELECT in the stream; NO_DB: none that all followers have seen */
    uint32_t by_worker[WORKERS_MAX];
    struct engine *engine;
} stream = {.db = NO_DB};

/* ---- what a call says ---- */

uint64_t feed_before(const struct call *c) { return c->txn ? txn_own_changes(c->txn) : 0; }

void feed_after(struct call *c, uint64_t before)
{
    if (!call_is_fed(c) || c->fed || txn_own_changes(c->txn) == before)
        return;
    if (c->command->feed)
        c->command->feed(c);
    else
        call_feed(c, c->argv, c->argc);
}

void call_feed(struct call *c, const bytes *words, size_t count)
{
    c->fed = true;
    txn_feed(c->txn, c->session->db, words, count);
}

bytes call_feed_number(const struct call *c, uint64_t number)
{
    char digits[NUMBER_TEXT_MAX];
    return arena_dup(txn_arena(c->txn), bytes_of(digits, number_format_uint(digits, number)));
}

/* ---- bytes with a place ---- */

struct piece {
    struct message message;
    uint64_t offset; /* of its first byte in the stream */
    bytes text;
};

static void arrive(const struct message *m, unsigned worker, message_pushed *pushed)
{
    const struct piece *p = (const struct piece *)m; /* its first member */
    replicas_take(worker, p->offset, p->text, m->lsn, pushed);
}

static struct piece *piece_new(size_t room, uint64_t lsn)
{
    struct piece *p = message_new(sizeof(*p) + room, lsn, arrive);
    p->text = bytes_of(p + 1, 0);
    return p;
}

/* stream.lock is held. */
static void place(struct piece *p)
{
    p->offset = atomic_load_explicit(&stream.offset, memory_order_relaxed);
    atomic_store_explicit(&stream.offset, p->offset + p->text.size, memory_order_relaxed);
    for (unsigned w = 0; w < WORKERS_MAX; w++) {
        if (stream.by_worker[w])
            message_post(&p->message, w);
    }
}

void feed_say(bytes text)
{
    struct piece *p = piece_new(text.size, 0);
    memcpy(p + 1, text.data, text.size);
    p->text.size = text.size;
    spin_lock(&stream.lock);
    if (atomic_load(&feed_followers))
        place(p);
    spin_unlock(&stream.lock);
    message_release(&p->message);
}

uint64_t feed_offset(void) { return atomic_load(&stream.offset); }

/* ---- notes ---- */

static uint8_t *put(uint8_t *at, bytes text)
{
    memcpy(at, text.data, text.size);
    return at + text.size;
}

static size_t select_text(char text[SELECT_MAX], uint32_t db)
{
    char digits[NUMBER_TEXT_MAX];
    size_t size = number_format_uint(digits, db);
    return (size_t)snprintf(text, SELECT_MAX, "*2\r\n$6\r\nSELECT\r\n$%zu\r\n%.*s\r\n", size, (int)size, digits);
}

/* One unit from *note on; *note is then the next one's first. */
static uint8_t *put_unit(uint8_t *at, struct feed_note **note, uint32_t *db)
{
    uint32_t unit = (*note)->unit;
    const struct feed_note *second = feed_note_next(*note);
    bool several = second && second->unit == unit;
    for (bool first = true; *note && (*note)->unit == unit; *note = feed_note_next(*note), first = false) {
        char text[SELECT_MAX];
        if ((*note)->db != *db)
            at = put(at, bytes_of(text, select_text(text, *db = (*note)->db)));
        if (several && first)
            at = put(at, BYTES(MULTI_TEXT));
        at = put(at, (*note)->text);
        (*note)->told = true;
    }
    return several ? put(at, BYTES(EXEC_TEXT)) : at;
}

static size_t room_for(const struct feed_note *note)
{
    size_t room = SELECT_MAX;
    for (; note; note = feed_note_next(note))
        room += note->text.size + SELECT_MAX + sizeof(MULTI_TEXT) + sizeof(EXEC_TEXT);
    return room;
}

/* All notes of a transaction; its first one is the one that is told. */
static void tell(struct txn *t, struct feed_note *note, uint64_t lsn)
{
    char text[SELECT_MAX];
    uint32_t first_db = note->db, db = first_db;
    size_t select = select_text(text, first_db);
    struct piece *p = piece_new(room_for(note), lsn);
    uint8_t *begin = (uint8_t *)(p + 1) + select, *at = begin;
    (void)t;
    memcpy(p + 1, text, select);
    while (note)
        at = put_unit(at, &note, &db);
    spin_lock(&stream.lock);
    if (atomic_load(&feed_followers)) {
        uint8_t *from = stream.db == first_db ? begin : begin - select;
        p->text = bytes_of(from, (size_t)(at - from));
        stream.db = db;
        place(p);
    }
    spin_unlock(&stream.lock);
    message_release(&p->message);
}

/* ---- on and off ---- */

uint64_t feed_follow(struct engine *e, unsigned worker)
{
    spin_lock(&stream.lock);
    stream.by_worker[worker]++;
    stream.db = NO_DB;
    stream.engine = e;
    if (atomic_fetch_add(&feed_followers, 1) == 0) {
        engine_feed(e, tell);
        atomic_fetch_add(&observer_count, 1);
    }
    uint64_t offset = atomic_load(&stream.offset);
    spin_unlock(&stream.lock);
    return offset;
}

void feed_unfollow(unsigned worker)
{
    spin_lock(&stream.lock);
    stream.by_worker[worker]--;
    if (atomic_fetch_sub(&feed_followers, 1) == 1) {
        engine_feed(stream.engine, NULL);
        atomic_fetch_sub(&observer_count, 1);
    }
    spin_unlock(&stream.lock);
}
