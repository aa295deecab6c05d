/* feed_rewrite.c -- what replicas run instead of a command's own words, for rows of many groups.
 *
 * Times become points in time, floats become results, commands that look for something first become what they found. Each
 * runs behind its command, under the same locks, and looks at what the key holds now.
 */
#include "base/buf.h"
#include "cmd/args.h"
#include "cmd/feed.h"
#include "cmd/handlers.h"
#include "engine/internal.h"
#include "rdb/rdb.h"
#include "types/hash.h"

#define FIRST_KEY(c) call_key((c), 0)

/* As it stands, also past its deadline; NULL: none. */
static const struct entry *stored(const struct call *c, const struct key *k)
{
    const struct engine *e = txn_engine(c->txn);
    struct table *table = stripe_table(&e->store->stripes[k->stripe], e->db_ids[k->db]);
    struct place p;
    return table && table_find(table, k->name, k->hash, &p) ? p.entry : NULL;
}

static bytes value_of(const struct call *c, const struct entry *e)
{
    char digits[24];
    bytes text = string_flat(e, digits, txn_arena(c->txn));
    return entry_encoding(e) == ENC_INT ? arena_dup(txn_arena(c->txn), text) : text;
}

void feed_nothing(struct call *c) { (void)c; }

void feed_flushdb(struct call *c) { CALL_FEED(c, BYTES("FLUSHDB")); }

static void del(struct call *c, const struct key *k) { CALL_FEED(c, BYTES("DEL"), k->name); }

void feed_del_first(struct call *c) { del(c, FIRST_KEY(c)); }

void feed_gone(struct call *c)
{
    bytes *words = arena_alloc(txn_arena(c->txn), (1 + c->key_count) * sizeof(*words));
    size_t count = 0;
    words[count++] = BYTES("DEL");
    for (size_t i = 0; i < c->key_count; i++) {
        if (!stored(c, call_key(c, i)))
            words[count++] = call_key(c, i)->name;
    }
    call_feed(c, words, count);
}

/* ---- whole values ---- */

static void restore(struct call *c, const struct key *k, const struct entry *e)
{
    struct buf payload;
    buf_init(&payload, SIZE_MAX);
    rdb_dump_object_timeless(&payload, entry_type(e), entry_pointer(e));
    CALL_FEED(c, BYTES("RESTORE"), k->name, call_feed_number(c, entry_deadline(e)), buf_view(&payload), BYTES("REPLACE"), BYTES("ABSTTL"));
    buf_release(&payload);
}

static void say_value(struct call *c, const struct key *k)
{
    const struct entry *e = stored(c, k);
    if (!e)
        del(c, k);
    else if (entry_type(e) != TYPE_STRING)
        restore(c, k, e);
    else if (entry_deadline(e))
        CALL_FEED(c, BYTES("SET"), k->name, value_of(c, e), BYTES("PXAT"), call_feed_number(c, entry_deadline(e)));
    else
        CALL_FEED(c, BYTES("SET"), k->name, value_of(c, e));
}

void feed_values(struct call *c)
{
    for (size_t i = 0; i < c->key_count; i++)
        say_value(c, call_key(c, i));
}

void feed_first_value(struct call *c) { say_value(c, FIRST_KEY(c)); }
void feed_last_value(struct call *c) { say_value(c, call_key(c, c->key_count - 1)); }

/* ---- strings ---- */

static void set_until(struct call *c, bytes value)
{
    const struct entry *e = stored(c, FIRST_KEY(c));
    if (e && entry_deadline(e))
        CALL_FEED(c, BYTES("SET"), c->argv[1], value, BYTES("PXAT"), call_feed_number(c, entry_deadline(e)));
    else
        del(c, FIRST_KEY(c)); /* the time was over from the beginning */
}

static bool is_time(bytes word)
{
    return bytes_is_word(word, "EX") || bytes_is_word(word, "PX") || bytes_is_word(word, "EXAT") || bytes_is_word(word, "PXAT");
}

/* Without the words that ask for a reply. */
void feed_set(struct call *c)
{
    bytes *words = arena_alloc(txn_arena(c->txn), c->argc * sizeof(*words));
    size_t count = 0;
    for (size_t i = 0; i < c->argc; i++) {
        if (i > 2 && is_time(c->argv[i])) {
            set_until(c, c->argv[2]);
            return;
        }
        if (i <= 2 || !bytes_is_word(c->argv[i], "GET"))
            words[count++] = c->argv[i];
    }
    call_feed(c, words, count);
}

void feed_setex(struct call *c) { set_until(c, c->argv[3]); }

void feed_getset(struct call *c) { CALL_FEED(c, BYTES("SET"), c->argv[1], c->argv[2]); }

void feed_expire(struct call *c)
{
    const struct entry *e = stored(c, FIRST_KEY(c));
    if (e && entry_deadline(e))
        CALL_FEED(c, BYTES("PEXPIREAT"), c->argv[1], call_feed_number(c, entry_deadline(e)));
    else
        del(c, FIRST_KEY(c));
}

void feed_getex(struct call *c)
{
    const struct entry *e = stored(c, FIRST_KEY(c));
    if (e && !entry_deadline(e))
        CALL_FEED(c, BYTES("PERSIST"), c->argv[1]);
    else
        feed_expire(c);
}

void feed_incrbyfloat(struct call *c)
{
    const struct entry *e = stored(c, FIRST_KEY(c));
    CALL_FEED(c, BYTES("SET"), c->argv[1], value_of(c, e), BYTES("KEEPTTL"));
}

/* ---- others ---- */

void feed_hincrbyfloat(struct call *c)
{
    bytes value;
    bool found = hash_get(entry_pointer(stored(c, FIRST_KEY(c))), c->argv[2], &value);
    hf_assert(found);
    CALL_FEED(c, BYTES("HSET"), c->argv[1], c->argv[2], value);
}

/* The version stands before the checksum; deadlines of fields have one of their own. */
static bool needs_newer_reader(bytes payload)
{
    return payload.size >= 10 && (payload.data[payload.size - 10] | payload.data[payload.size - 9] << 8) > 10;
}

void feed_restore(struct call *c)
{
    const struct entry *e = stored(c, FIRST_KEY(c));
    bytes *words = arena_alloc(txn_arena(c->txn), (c->argc + 1) * sizeof(*words));
    bool absolute = false;
    if (!e || needs_newer_reader(c->argv[3])) {
        feed_first_value(c);
        return;
    }
    for (size_t i = 0; i < c->argc; i++) {
        words[i] = c->argv[i];
        absolute |= i > 3 && bytes_is_word(words[i], "ABSTTL");
    }
    words[0] = BYTES("RESTORE");
    if (entry_deadline(e) && !absolute) {
        words[2] = call_feed_number(c, entry_deadline(e));
        words[c->argc] = BYTES("ABSTTL");
    }
    call_feed(c, words, c->argc + (entry_deadline(e) && !absolute));
}

/* Those that wait for a source, and had one. */
void feed_lmove(struct call *c) { CALL_FEED(c, BYTES("LMOVE"), c->argv[1], c->argv[2], c->argv[3], c->argv[4]); }
void feed_rpoplpush(struct call *c) { CALL_FEED(c, BYTES("RPOPLPUSH"), c->argv[1], c->argv[2]); }
