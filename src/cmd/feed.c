/* feed.c -- the stream of commands: notes become bytes with a place in it, and go to the workers of those who follow.
 *
 * One lock orders the stream. It is taken under the stripes of a commit, or under none, and nothing is taken under it but the
 * inboxes of workers. The bytes are made before; whether a SELECT stands first is known only under the lock, so room for one
 * is kept in front.
 */
#include "cmd/feed.h"

#include "base/memory.h"
#include "base/number.h"
#include "cmd/message.h"
#include "cmd/observe.h"
#include "cmd/replicas.h"
#include "engine/feed.h"
#include "os/os.h"

#include <stdio.h>
#include <string.h>

#define NO_DB UINT32_MAX
#define SELECT_MAX 48
#define MULTI_TEXT "*1\r\n$5\r\nMULTI\r\n"
#define EXEC_TEXT "*1\r\n$4\r\nEXEC\r\n"

_Atomic uint32_t feed_followers;
_Atomic bool feed_is_on;
struct feed_settings feed_settings = {1 << 20, 3600};

static struct {
    struct spin lock;
    _Atomic uint64_t offset;   /* changed under the lock, like all the others */
    uint32_t db;               /* the last SELECT in the stream; NO_DB: none that all followers have seen */
    uint32_t by_worker[WORKERS_MAX];
    struct engine *engine;
    uint8_t *kept;             /* a ring of the last bytes; NULL: off */
    uint64_t kept_size, kept_from; /* kept_from: the first offset in it */
    uint64_t lsn;              /* the highest position of what is in the stream */
    uint64_t alone_since_us;   /* nobody follows */
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

static void keep(bytes text, uint64_t offset)
{
    size_t skip = text.size > stream.kept_size ? text.size - (size_t)stream.kept_size : 0;
    for (size_t at = skip; at < text.size;) {
        size_t place = (size_t)((offset + at) % stream.kept_size), most = (size_t)stream.kept_size - place;
        size_t size = text.size - at < most ? text.size - at : most;
        memcpy(stream.kept + place, text.data + at, size);
        at += size;
    }
    if (offset + text.size - stream.kept_from > stream.kept_size)
        stream.kept_from = offset + text.size - stream.kept_size;
}

/* stream.lock is held. */
static void place(struct piece *p)
{
    p->offset = atomic_load_explicit(&stream.offset, memory_order_relaxed);
    atomic_store_explicit(&stream.offset, p->offset + p->text.size, memory_order_relaxed);
    keep(p->text, p->offset);
    if (p->message.lsn > stream.lsn)
        stream.lsn = p->message.lsn;
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
    if (stream.kept)
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
static void tell(struct feed_note *note, uint64_t lsn)
{
    char text[SELECT_MAX];
    uint32_t first_db = note->db, db = first_db;
    size_t select = select_text(text, first_db);
    struct piece *p = piece_new(room_for(note), lsn);
    uint8_t *begin = (uint8_t *)(p + 1) + select, *at = begin;
    memcpy(p + 1, text, select);
    while (note)
        at = put_unit(at, &note, &db);
    spin_lock(&stream.lock);
    if (stream.kept) {
        uint8_t *from = stream.db == first_db ? begin : begin - select;
        p->text = bytes_of(from, (size_t)(at - from));
        stream.db = db;
        place(p);
    }
    spin_unlock(&stream.lock);
    message_release(&p->message);
}

/* ---- on and off ---- */

static void switch_on(struct engine *e)
{
    stream.engine = e;
    stream.kept_size = atomic_load(&feed_settings.kept_bytes);
    stream.kept = mem_alloc((size_t)stream.kept_size);
    stream.kept_from = atomic_load(&stream.offset);
    engine_feed(e, tell);
    atomic_store(&feed_is_on, true);
    atomic_fetch_add(&observer_count, 1);
}

/* Changes are not said any more: the offset moves, so that nobody who has the stream up to here goes on behind the gap. */
static void switch_off(void)
{
    engine_feed(stream.engine, NULL);
    atomic_store(&feed_is_on, false);
    atomic_fetch_sub(&observer_count, 1);
    mem_free(stream.kept);
    stream.kept = NULL;
    atomic_fetch_add(&stream.offset, 1);
}

static void add_follower(unsigned worker)
{
    stream.by_worker[worker]++;
    atomic_fetch_add(&feed_followers, 1);
}

uint64_t feed_follow(struct engine *e, unsigned worker)
{
    spin_lock(&stream.lock);
    if (!stream.kept)
        switch_on(e);
    add_follower(worker);
    stream.db = NO_DB;
    uint64_t offset = atomic_load(&stream.offset);
    spin_unlock(&stream.lock);
    return offset;
}

bool feed_continue(unsigned worker, uint64_t *offset, struct buf *out, uint64_t *lsn)
{
    spin_lock(&stream.lock);
    uint64_t at = *offset, end = atomic_load(&stream.offset);
    bool kept = stream.kept && at >= stream.kept_from && at <= end;
    while (kept && at < end) {
        size_t place = (size_t)(at % stream.kept_size), most = (size_t)stream.kept_size - place;
        size_t size = end - at < most ? (size_t)(end - at) : most;
        buf_append(out, stream.kept + place, size);
        at += size;
    }
    if (kept) {
        add_follower(worker);
        *offset = end;
        *lsn = stream.lsn;
    }
    spin_unlock(&stream.lock);
    return kept;
}

void feed_unfollow(unsigned worker)
{
    spin_lock(&stream.lock);
    stream.by_worker[worker]--;
    if (atomic_fetch_sub(&feed_followers, 1) == 1)
        stream.alone_since_us = OS.monotonic_us();
    spin_unlock(&stream.lock);
}

void feed_tend(void)
{
    uint64_t kept_s = atomic_load(&feed_settings.kept_s);
    if (HF_LIKELY(!atomic_load_explicit(&feed_is_on, memory_order_relaxed)) || !kept_s)
        return;
    spin_lock(&stream.lock);
    if (stream.kept && atomic_load(&feed_followers) == 0 && (OS.monotonic_us() - stream.alone_since_us) / 1000000 >= kept_s)
        switch_off();
    spin_unlock(&stream.lock);
}

void feed_kept(struct feed_kept *out)
{
    spin_lock(&stream.lock);
    *out = (struct feed_kept){.size = stream.kept ? stream.kept_size : 0, .first = stream.kept ? stream.kept_from + 1 : 0,
                              .count = stream.kept ? atomic_load(&stream.offset) - stream.kept_from : 0};
    spin_unlock(&stream.lock);
}
