/* set.c -- commands on one set, and SMOVE: words to operations of engine/sets.h. */
#include "cmd/args.h"
#include "cmd/feed.h"
#include "cmd/chance.h"
#include "cmd/handlers.h"
#include "cmd/scan.h"
#include "engine/events.h"
#include "engine/keys.h"
#include "engine/objects.h"
#include "engine/sets.h"

/* A negative count of SRANDMEMBER asks for repetition; beyond this it asks for harm. */
#define REPEATED_MAX (1 << 24)
#define CHANGED_AT_ONCE 256u

static bool view_set(struct call *c, size_t key, const struct set **set)
{
    return !arg_refused(c, sets_view(c->txn, call_key(c, key), set));
}

/* For a command that writes: not counted as a read. */
static bool peek_set(struct call *c, size_t key, const struct set **set)
{
    struct object_ref o = {.object = NULL};
    bool fine = !arg_refused(c, object_find(c->txn, call_key(c, key), TYPE_SET, &o));
    *set = o.object;
    return fine;
}

static void tell_of_set(struct call *c, size_t key, const char *name)
{
    txn_event(c->txn, call_key(c, key), EVENT_SET, name);
}

static void tell_removed(struct call *c, size_t key, const char *name, bool emptied)
{
    tell_of_set(c, key, name);
    if (emptied)
        txn_event(c->txn, call_key(c, key), EVENT_GENERIC, "del");
}

/* ---- members by name ---- */

/* The next words of many, from the i-th on: others are served between (call_goes_on). 0: it ends here. */
static size_t next_members(struct call *c, size_t i)
{
    size_t count = c->argc - i < CHANGED_AT_ONCE ? c->argc - i : CHANGED_AT_ONCE;
    return call_goes_on(c, count * 2) ? count : 0;
}

void cmd_sadd(struct call *c)
{
    uint64_t added = 0, more;
    for (size_t i = 2, count; i < c->argc; i += count, added += more) {
        count = next_members(c, i);
        if (!count || arg_refused(c, sets_add(c->txn, call_key(c, 0), c->argv + i, count, &more)))
            return;
    }
    if (added)
        tell_of_set(c, 0, "sadd");
    reply_int(c->reply, (int64_t)added);
}

void cmd_srem(struct call *c)
{
    uint64_t removed = 0, more;
    bool emptied = false;
    for (size_t i = 2, count; i < c->argc && !emptied; i += count, removed += more) {
        count = next_members(c, i);
        if (!count || arg_refused(c, sets_remove(c->txn, call_key(c, 0), c->argv + i, count, &more, &emptied)))
            return;
    }
    if (removed)
        tell_removed(c, 0, "srem", emptied);
    reply_int(c->reply, (int64_t)removed);
}

void cmd_sismember(struct call *c)
{
    const struct set *set;
    if (view_set(c, 0, &set))
        reply_int(c->reply, set && set_has(set, c->argv[2]));
}

void cmd_smismember(struct call *c)
{
    const struct set *set;
    if (!view_set(c, 0, &set))
        return;
    reply_array(c->reply, c->argc - 2);
    for (size_t i = 2; i < c->argc; i++)
        reply_int(c->reply, set && set_has(set, c->argv[i]));
}

void cmd_scard(struct call *c)
{
    const struct set *set;
    if (view_set(c, 0, &set))
        reply_int(c->reply, set ? (int64_t)set_count(set) : 0);
}

/* An absent source is 0 before the destination's type is looked at; a set moved onto itself stays as it is. */
void cmd_smove(struct call *c)
{
    const struct set *from, *to;
    uint64_t count;
    bool emptied;
    if (!peek_set(c, 0, &from))
        return;
    if (!from) {
        reply_int(c->reply, 0);
        return;
    }
    if (!peek_set(c, 1, &to))
        return;
    bool is_there = set_has(from, c->argv[3]);
    if (!is_there || from == to) {
        reply_int(c->reply, is_there);
        return;
    }
    if (arg_refused(c, sets_remove(c->txn, call_key(c, 0), &c->argv[3], 1, &count, &emptied)))
        return;
    tell_removed(c, 0, "srem", emptied);
    if (arg_refused(c, sets_add(c->txn, call_key(c, 1), &c->argv[3], 1, &count)))
        return;
    if (count)
        tell_of_set(c, 1, "sadd");
    reply_int(c->reply, 1);
}

/* ---- all members ---- */

/* False: it ends here (call_goes_on). */
static bool reply_members(struct call *c, const struct set *set)
{
    struct set_cursor cursor = {0};
    bytes member;
    while (set_next(set, &cursor, &member)) {
        reply_bulk(c->reply, member);
        if (!call_goes_on(c, 1))
            return false;
    }
    return true;
}

void cmd_smembers(struct call *c)
{
    const struct set *set;
    if (!view_set(c, 0, &set))
        return;
    reply_set(c->reply, set ? set_count(set) : 0);
    if (set && !reply_members(c, set))
        return;
}

struct sscan {
    struct scan_options *options;
    struct word_list found;
};

static void sscan_member(void *context, bytes member)
{
    struct sscan *scan = context;
    if (scan_matches(scan->options, member))
        word_list_add(&scan->found, member);
}

/* The key is looked at between the cursor and the options, as Redis does. */
void cmd_sscan(struct call *c)
{
    const struct set *set;
    uint64_t cursor;
    struct scan_options options;
    if (!scan_take_cursor(c, 2, &cursor) || !view_set(c, 0, &set))
        return;
    if (!set) {
        scan_reply(c, 0, NULL);
        return;
    }
    if (!scan_take_options(c, 3, SCAN_MEMBERS, &options))
        return;
    struct sscan scan = {&options, {.arena = txn_arena(c->txn)}};
    size_t step;
    do
        cursor = set_scan(set, cursor, step = scan_step(&options), sscan_member, &scan);
    while (scan_goes_on(c, &options, cursor, step));
    scan_reply(c, cursor, &scan.found);
}

/* ---- members by chance ---- */

/* `count` different members picked by chance; keep: copies, else views that end with the next change of the set. NULL: it ends here (call_goes_on). */
static bytes *pick_members(struct call *c, const struct set *set, uint64_t count, bool keep)
{
    struct arena *arena = txn_arena(c->txn);
    struct chance chance = chance_make();
    uint64_t *positions = chance_positions(&chance, c, arena, set_count(set), count);
    if (!positions)
        return NULL;
    bytes *members = arena_alloc(arena, (count + 1) * sizeof(*members));
    for (uint64_t i = 0; i < count; i++) {
        char digits[NUMBER_TEXT_MAX];
        members[i] = set_at(set, positions[i], digits);
        if (keep || members[i].data == (const uint8_t *)digits)
            members[i] = arena_dup(arena, members[i]);
        if (!call_goes_on(c, 2))
            return NULL;
    }
    return members;
}

/* As SREM, in pieces that a replica takes without a pause. */
static void say_removed(struct call *c, const bytes *members, uint64_t count)
{
    enum { PIECE = 512 };
    bytes words[2 + PIECE] = {BYTES("SREM"), c->argv[1]};
    while (count > 0) {
        size_t some = count < PIECE ? count : PIECE;
        memcpy(words + 2, members, some * sizeof(*members));
        call_feed(c, words, 2 + some);
        members += some;
        count -= some;
    }
}

/* As SREM; others are served meanwhile when they are many. True: the set is gone. */
static bool remove_members(struct call *c, const bytes *members, uint64_t count)
{
    uint64_t removed;
    bool emptied = false;
    for (uint64_t at = 0, some; at < count; at += some) {
        some = count - at < CHANGED_AT_ONCE ? count - at : CHANGED_AT_ONCE;
        if (!call_goes_on(c, some == CHANGED_AT_ONCE ? CALL_WORK_MAX : 1))
            break;
        status s = sets_remove(c->txn, call_key(c, 0), members + at, some, &removed, &emptied);
        hf_assert(s == HF_OK && removed == some);
    }
    return emptied;
}

/* Replies first: removing ends the views. */
static void pop_members(struct call *c, const struct set *set, uint64_t count)
{
    bytes *members = pick_members(c, set, count, count > CHANGED_AT_ONCE);
    if (!members)
        return;
    for (uint64_t i = 0; i < count; i++)
        reply_bulk(c->reply, members[i]);
    if (call_is_fed(c))
        say_removed(c, members, count);
    tell_removed(c, 0, "spop", remove_members(c, members, count));
}

static void pop_all(struct call *c, const struct set *set)
{
    reply_set(c->reply, set_count(set));
    if (!reply_members(c, set))
        return;
    key_remove(c->txn, call_key(c, 0));
    if (call_is_fed(c))
        feed_del_first(c);
    tell_removed(c, 0, "spop", true);
}

void cmd_spop(struct call *c)
{
    const struct set *set;
    int64_t count = 1;
    bool has_count = c->argc == 3;
    if (c->argc > 3) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return;
    }
    if (has_count && !arg_int_from(c, 2, 0, "ERR value is out of range, must be positive", &count))
        return;
    if (!view_set(c, 0, &set))
        return;
    if (!has_count && !set) {
        reply_null(c->reply);
    } else if (!set || count == 0) {
        reply_set(c->reply, 0);
    } else if (!has_count) {
        pop_members(c, set, 1);
    } else if ((uint64_t)count >= set_count(set)) {
        pop_all(c, set);
    } else {
        reply_set(c->reply, (size_t)count);
        pop_members(c, set, (uint64_t)count);
    }
}

static void reply_repeated(struct call *c, const struct set *set, uint64_t count)
{
    struct chance chance = chance_make();
    uint64_t size = set_count(set);
    char digits[NUMBER_TEXT_MAX];
    reply_array(c->reply, count);
    while (count-- && call_goes_on(c, 3))
        reply_bulk(c->reply, set_at(set, chance_below(&chance, size), digits));
}

static void reply_random_members(struct call *c, const struct set *set, int64_t count)
{
    if (!set || count == 0) {
        reply_array(c->reply, 0);
    } else if (count < -REPEATED_MAX) {
        reply_errorf(c->reply, "ERR value is out of range");
    } else if (count < 0) {
        reply_repeated(c, set, (uint64_t)-count);
    } else if ((uint64_t)count >= set_count(set)) {
        reply_array(c->reply, set_count(set));
        if (!reply_members(c, set))
            return;
    } else {
        bytes *members = pick_members(c, set, (uint64_t)count, false);
        reply_array(c->reply, (size_t)count);
        for (int64_t i = 0; members && i < count && call_goes_on(c, 1); i++)
            reply_bulk(c->reply, members[i]);
    }
}

static bool take_random_count(struct call *c, int64_t *count)
{
    if (c->argc > 3) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return false;
    }
    return arg_int_within(c, 2, INT64_MAX, count);
}

void cmd_srandmember(struct call *c)
{
    const struct set *set;
    int64_t count;
    char digits[NUMBER_TEXT_MAX];
    if (c->argc > 2) {
        if (take_random_count(c, &count) && view_set(c, 0, &set))
            reply_random_members(c, set, count);
        return;
    }
    if (!view_set(c, 0, &set))
        return;
    if (!set) {
        reply_null(c->reply);
        return;
    }
    struct chance chance = chance_make();
    reply_bulk(c->reply, set_at(set, chance_below(&chance, set_count(set)), digits));
}
