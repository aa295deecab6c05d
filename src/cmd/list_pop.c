/* list_pop.c -- list commands that pop, move, and wait for something to pop.
 *
 * A command that may wait is run again from its first word when one of its keys changes (call_block), so
 * each looks like this: words, then the attempt, then call_block, then the reply of who goes without.
 * Woken, it looks only at the key that woke it: the others may hold anything by now.
 */
#include "base/arena.h"
#include "cmd/args.h"
#include "cmd/feed.h"
#include "cmd/handlers.h"
#include "engine/events.h"
#include "engine/lists.h"

static bool take_end(struct call *c, size_t index, enum list_end *end)
{
    if (bytes_is_word(c->argv[index], "LEFT"))
        *end = LIST_HEAD;
    else if (bytes_is_word(c->argv[index], "RIGHT"))
        *end = LIST_TAIL;
    else {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return false;
    }
    return true;
}

static bytes value_at_end(const struct list *list, enum list_end end)
{
    return list_at(list, end == LIST_HEAD ? 0 : list_count(list) - 1);
}

/* Removes from one end, tells, and removes the key of an emptied list. */
static void drop(struct call *c, struct object_ref *o, enum list_end end, uint64_t count)
{
    lists_cut(c->txn, o, end == LIST_HEAD ? count : 0, end == LIST_TAIL ? count : 0);
    txn_event(c->txn, o->key, EVENT_LIST, end == LIST_HEAD ? "lpop" : "rpop");
    if (object_close(c->txn, o))
        txn_event(c->txn, o->key, EVENT_GENERIC, "del");
}

static void pop_one(struct call *c, struct object_ref *o, enum list_end end)
{
    reply_bulk(c->reply, value_at_end(list_of(o), end));
    drop(c, o, end, 1);
}

/* Returns how many; 0: it ends here (call_goes_on). */
static uint64_t pop_many(struct call *c, struct object_ref *o, enum list_end end, uint64_t wanted)
{
    const struct list *list = list_of(o);
    struct list_cursor cursor;
    bytes value;
    uint64_t count = list_count(list);
    bool more = list_seek(list, end == LIST_HEAD ? 0 : count - 1, &cursor, &value);
    if (wanted < count)
        count = wanted;
    reply_array(c->reply, count);
    for (uint64_t i = 0; i < count && more; i++) {
        reply_bulk(c->reply, value);
        more = end == LIST_HEAD ? list_next(&cursor, &value) : list_previous(&cursor, &value);
        if (!call_goes_on(c, 1))
            return 0;
    }
    drop(c, o, end, count);
    return count;
}

/* ---- LPOP, RPOP ---- */

static void pop(struct call *c, enum list_end end)
{
    struct object_ref o;
    int64_t count = 1;
    bool counted = c->argc > 2;
    if (c->argc > 3) {
        arg_wrong_count(c);
        return;
    }
    if (counted && !arg_int_from(c, 2, 0, "ERR value is out of range, must be positive", &count))
        return;
    if (arg_refused(c, lists_find(c->txn, call_key(c, 0), &o)))
        return;
    if (!o.object && counted)
        reply_null_array(c->reply);
    else if (!o.object)
        reply_null(c->reply);
    else if (!counted)
        pop_one(c, &o, end);
    else if (count == 0)
        reply_array(c->reply, 0);
    else
        pop_many(c, &o, end, (uint64_t)count);
}

void cmd_lpop(struct call *c)
{
    pop(c, LIST_HEAD);
}

void cmd_rpop(struct call *c)
{
    pop(c, LIST_TAIL);
}

/* ---- LMOVE and its relatives ---- */

static const char *push_event(enum list_end end)
{
    return end == LIST_HEAD ? "lpush" : "rpush";
}

/* From one end of a list to an end of the same. */
static void rotate(struct call *c, struct object_ref *o, enum list_end from, enum list_end to)
{
    bytes value = arena_dup(txn_arena(c->txn), value_at_end(list_of(o), from));
    lists_cut(c->txn, o, from == LIST_HEAD, from == LIST_TAIL);
    status s = lists_push(c->txn, o, to, &value, 1);
    hf_assert(s == HF_OK); /* only a new key can be refused */
    txn_event(c->txn, o->key, EVENT_LIST, push_event(to));
    txn_event(c->txn, o->key, EVENT_LIST, from == LIST_HEAD ? "lpop" : "rpop");
    reply_bulk(c->reply, value);
}

/* False: the source is absent, and nothing was replied. */
static bool move(struct call *c, enum list_end from, enum list_end to)
{
    struct object_ref source, target;
    if (arg_refused(c, lists_find(c->txn, call_key(c, 0), &source)))
        return true;
    if (!source.object)
        return false;
    if (arg_refused(c, lists_find(c->txn, call_key(c, 1), &target)))
        return true;
    if (target.object == source.object) {
        rotate(c, &source, from, to);
        return true;
    }
    bytes value = value_at_end(list_of(&source), from);
    if (arg_refused(c, lists_push(c->txn, &target, to, &value, 1)))
        return true;
    txn_event(c->txn, target.key, EVENT_LIST, push_event(to));
    pop_one(c, &source, from);
    return true;
}

static void move_or_null(struct call *c, enum list_end from, enum list_end to)
{
    if (!move(c, from, to))
        reply_null(c->reply);
}

/* A move that may not wait ends with a null, one that waited in vain with a null array. Its target is locked with whoever waits, but a
 * push to it wakes nobody: others may wait longer for the source. */
static void move_or_wait(struct call *c, enum list_end from, enum list_end to, double timeout)
{
    bool is_turn = !c->woken_by || c->woken_by == call_key(c, 0) || os_bug(BUG_TARGET_TURN);
    if (call_is_over(c))
        reply_null_array(c->reply);
    else if (!(is_turn && move(c, from, to)) && !call_block(c, timeout))
        reply_null(c->reply);
}

void cmd_lmove(struct call *c)
{
    enum list_end from, to;
    if (take_end(c, 3, &from) && take_end(c, 4, &to))
        move_or_null(c, from, to);
}

void cmd_rpoplpush(struct call *c)
{
    move_or_null(c, LIST_TAIL, LIST_HEAD);
}

void cmd_blmove(struct call *c)
{
    enum list_end from, to;
    double timeout;
    if (take_end(c, 3, &from) && take_end(c, 4, &to) && arg_timeout(c, 5, &timeout))
        move_or_wait(c, from, to, timeout);
}

void cmd_brpoplpush(struct call *c)
{
    double timeout;
    if (arg_timeout(c, 3, &timeout))
        move_or_wait(c, LIST_TAIL, LIST_HEAD, timeout);
}

/* ---- the first list that has something ---- */

/* As LPOP or RPOP of that key; count 0: of one element. */
static void say_pop(struct call *c, const struct key *key, enum list_end end, uint64_t count)
{
    bytes words[] = {end == LIST_HEAD ? BYTES("LPOP") : BYTES("RPOP"), key->name, call_feed_number(c, count)};
    call_feed(c, words, count ? 3 : 2);
}

/* Replies the key's name with what was popped: one element, or an array of up to `count` when that is
 * not 0. False: all keys are absent, and nothing was replied. */
static bool pop_first(struct call *c, enum list_end end, uint64_t count)
{
    struct object_ref o;
    for (size_t i = 0; i < c->key_count; i++) {
        const struct key *key = call_key(c, i);
        if (c->woken_by && c->woken_by != key)
            continue;
        if (arg_refused(c, lists_find(c->txn, key, &o)))
            return true;
        if (!o.object)
            continue;
        reply_array(c->reply, 2);
        reply_bulk(c->reply, key->name);
        uint64_t popped = count ? pop_many(c, &o, end, count) : 0;
        if (!count)
            pop_one(c, &o, end);
        if (call_is_fed(c) && (popped || !count))
            say_pop(c, key, end, popped);
        return true;
    }
    return false;
}

static void pop_first_or_wait(struct call *c, enum list_end end, uint64_t count, double timeout)
{
    if (call_is_over(c) || (!pop_first(c, end, count) && !call_block(c, timeout)))
        reply_null_array(c->reply);
}

static void blocking_pop(struct call *c, enum list_end end)
{
    double timeout;
    if (arg_timeout(c, c->argc - 1, &timeout))
        pop_first_or_wait(c, end, 0, timeout);
}

void cmd_blpop(struct call *c)
{
    blocking_pop(c, LIST_HEAD);
}

void cmd_brpop(struct call *c)
{
    blocking_pop(c, LIST_TAIL);
}

struct mpop {
    enum list_end end;
    int64_t count;
};

/* The words from numkeys on. */
static bool take_mpop(struct call *c, size_t numkeys_at, struct mpop *m)
{
    int64_t keys;
    *m = (struct mpop){.count = 1};
    if (!arg_int_from(c, numkeys_at, 1, "ERR numkeys should be greater than 0", &keys))
        return false;
    if ((uint64_t)keys >= c->argc - numkeys_at - 1) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return false;
    }
    size_t where = numkeys_at + (size_t)keys + 1;
    if (!take_end(c, where, &m->end))
        return false;
    return arg_pop_count(c, where + 1, &m->count);
}

void cmd_lmpop(struct call *c)
{
    struct mpop m;
    if (take_mpop(c, 1, &m) && !pop_first(c, m.end, (uint64_t)m.count))
        reply_null_array(c->reply);
}

/* The timeout is looked at last, as Redis does. */
void cmd_blmpop(struct call *c)
{
    struct mpop m;
    double timeout;
    if (take_mpop(c, 2, &m) && arg_timeout(c, 1, &timeout))
        pop_first_or_wait(c, m.end, (uint64_t)m.count, timeout);
}
