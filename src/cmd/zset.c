/* zset.c -- sorted sets, member by member: ZADD, ZREM, ZSCORE, ZRANK, pops and random choices.
 *
 * Ranges are in zset_range.c, unions and the like in zset_algebra.c.
 */
#include "cmd/zset.h"

#include "base/number.h"
#include "cmd/args.h"
#include "cmd/feed.h"
#include "cmd/chance.h"
#include "cmd/handlers.h"
#include "cmd/scan.h"
#include "engine/events.h"

#include <math.h>

#define REPEATED_MAX (1 << 24)

bool zset_view(struct call *c, size_t key, const struct zset **z)
{
    const void *object;
    if (arg_refused(c, object_view(c->txn, call_key(c, key), TYPE_ZSET, &object)))
        return false;
    *z = object;
    return true;
}

bool zset_open(struct call *c, size_t key, struct object_ref *o)
{
    return !arg_refused(c, object_find(c->txn, call_key(c, key), TYPE_ZSET, o));
}

void reply_score(struct call *c, double score)
{
    c->reply->ops->dbl(c->reply, score);
}

void reply_scored_array(struct call *c, size_t count, bool with_scores)
{
    reply_array(c->reply, with_scores && c->reply->version == 2 ? count * 2 : count);
}

void reply_scored(struct call *c, struct scored one, bool with_score)
{
    if (with_score && c->reply->version == 3)
        reply_array(c->reply, 2);
    reply_bulk(c->reply, one.member);
    if (with_score)
        reply_score(c, one.score);
}

bool arg_score(struct call *c, size_t index, double *score)
{
    if (number_parse_double(c->argv[index], score))
        return true;
    reply_status(c->reply, HF_ERR_NOT_FLOAT);
    return false;
}

static void close_object(struct call *c, struct object_ref *o)
{
    if (object_close(c->txn, o))
        txn_event(c->txn, o->key, EVENT_GENERIC, "del");
}

static void apply(struct call *c, struct object_ref *o, struct buf *change)
{
    status s = object_change(c->txn, o, buf_view(change));
    hf_assert(s == HF_OK);
    buf_release(change);
}

#define REMOVED_AT_ONCE 256u /* of a long range: others are served between (call_goes_on) */

void zset_remove_range(struct call *c, struct object_ref *o, uint64_t first, uint64_t count, const char *event)
{
    struct buf change;
    buf_init(&change, SIZE_MAX);
    for (uint64_t piece; count > 0; count -= piece) {
        piece = count < REMOVED_AT_ONCE ? count : REMOVED_AT_ONCE;
        if (!call_goes_on(c, piece == REMOVED_AT_ONCE ? CALL_WORK_MAX : 1))
            break;
        zset_change_remove_ranks(&change, first, piece);
        apply(c, o, &change);
    }
    txn_event(c->txn, o->key, EVENT_ZSET, event);
    close_object(c, o);
}

void zset_store(struct call *c, size_t key, struct zset *z, const char *event)
{
    const struct key *k = call_key(c, key);
    uint64_t count = zset_count(z);
    bool removed;
    if (arg_refused(c, object_store(c->txn, k, TYPE_ZSET, z, &removed)))
        return;
    if (count)
        txn_event(c->txn, k, EVENT_ZSET, event);
    else if (removed)
        txn_event(c->txn, k, EVENT_GENERIC, "del");
    reply_int(c->reply, (int64_t)count);
}

/* ---- ZADD ---- */

struct zadd {
    bool nx, xx, gt, lt, ch, incr;
    size_t first; /* word of the first score */
    size_t stride; /* from it to the next; the word before that is the member */
};

static bool take_zadd(struct call *c, struct zadd *a)
{
    *a = (struct zadd){.first = 2, .stride = 2};
    for (;; a->first++) {
        bytes word = a->first < c->argc ? c->argv[a->first] : BYTES("");
        if (bytes_is_word(word, "NX"))
            a->nx = true;
        else if (bytes_is_word(word, "XX"))
            a->xx = true;
        else if (bytes_is_word(word, "GT"))
            a->gt = true;
        else if (bytes_is_word(word, "LT"))
            a->lt = true;
        else if (bytes_is_word(word, "CH"))
            a->ch = true;
        else if (bytes_is_word(word, "INCR"))
            a->incr = true;
        else
            break;
    }
    size_t words = c->argc - a->first;
    if (words == 0 || words % 2)
        reply_status(c->reply, HF_ERR_SYNTAX);
    else if (a->nx && a->xx)
        reply_errorf(c->reply, "ERR XX and NX options at the same time are not compatible");
    else if ((a->gt && a->nx) || (a->lt && a->nx) || (a->gt && a->lt))
        reply_errorf(c->reply, "ERR GT, LT, and/or NX options at the same time are not compatible");
    else if (a->incr && words > 2)
        reply_errorf(c->reply, "ERR INCR option supports a single increment-element pair");
    else
        return true;
    return false;
}

enum { NOTHING, ADDED, UPDATED, IS_NAN, SAME /* an increment of 0 */ };

/* What adding the pair to the set comes to; *score: the new one. */
static int judge(const struct zadd *a, const struct zset *z, bytes member, double *score)
{
    double old;
    if (!z || !zset_score(z, member, &old))
        return a->xx ? NOTHING : ADDED;
    if (a->nx)
        return NOTHING;
    if (a->incr)
        *score += old;
    if (isnan(*score))
        return IS_NAN;
    if ((a->gt && *score <= old) || (a->lt && *score >= old))
        return NOTHING;
    return *score != old ? UPDATED : a->incr ? SAME : NOTHING;
}

/* Adds the pairs one after the other: a member may come twice. False: the error was replied, or it ends here (call_goes_on). */
static bool add_pairs(struct call *c, struct object_ref *o, const struct zadd *a, const double *scores, size_t count,
                      int64_t counts[4], double *result, bool *done)
{
    for (size_t i = 0; i < count; i++) {
        if (!call_goes_on(c, 8))
            return false;
        bytes member = c->argv[a->first + a->stride * (i + 1) - 1];
        double score = scores[i];
        int what = judge(a, o->object, member, &score);
        if (what == IS_NAN) {
            reply_errorf(c->reply, "ERR resulting score is not a number (NaN)");
            return false;
        }
        *result = score;
        *done = what != NOTHING;
        if (what != ADDED && what != UPDATED)
            continue;
        struct buf change;
        buf_init(&change, SIZE_MAX);
        zset_change_set(&change);
        zset_change_scored(&change, member, score);
        status s = object_change(c->txn, o, buf_view(&change));
        buf_release(&change);
        if (arg_refused(c, s))
            return false;
        counts[what]++;
    }
    return true;
}

static void zadd(struct call *c, const struct zadd *a, const double *scores, size_t count)
{
    struct object_ref o;
    int64_t counts[4] = {0};
    double result = 0;
    bool done = false;
    if (!zset_open(c, 0, &o) || !add_pairs(c, &o, a, scores, count, counts, &result, &done))
        return;
    if (counts[ADDED] + counts[UPDATED])
        txn_event(c->txn, o.key, EVENT_ZSET, a->incr ? "zincr" : "zadd");
    if (a->incr && done)
        reply_score(c, result);
    else if (a->incr)
        reply_null(c->reply);
    else
        reply_int(c->reply, a->ch ? counts[ADDED] + counts[UPDATED] : counts[ADDED]);
}

void cmd_zadd(struct call *c)
{
    struct zadd a;
    if (!take_zadd(c, &a))
        return;
    size_t count = (c->argc - a.first) / 2;
    double *scores = arena_alloc(txn_arena(c->txn), count * sizeof(*scores));
    for (size_t i = 0; i < count; i++) {
        if (!arg_score(c, a.first + 2 * i, &scores[i]))
            return;
    }
    zadd(c, &a, scores, count);
}

void zset_add_places(struct call *c, size_t first, bool nx, bool xx, bool ch, const double *scores, size_t count)
{
    struct zadd a = {.nx = nx, .xx = xx, .ch = ch, .first = first, .stride = 3};
    zadd(c, &a, scores, count);
}

void cmd_zincrby(struct call *c)
{
    double delta;
    struct zadd a;
    if (!take_zadd(c, &a)) /* it has no options, but an option's name is a wrong one */
        return;
    a.incr = true;
    if (arg_score(c, 2, &delta))
        zadd(c, &a, &delta, 1);
}

void cmd_zrem(struct call *c)
{
    struct object_ref o;
    int64_t removed = 0;
    if (!zset_open(c, 0, &o))
        return;
    for (size_t i = 2; i < c->argc && o.object && call_goes_on(c, 8); i++) {
        double score;
        struct buf change;
        if (!zset_score(zset_of(&o), c->argv[i], &score))
            continue;
        buf_init(&change, SIZE_MAX);
        zset_change_remove(&change);
        zset_change_member(&change, c->argv[i]);
        apply(c, &o, &change);
        removed++;
    }
    if (removed) {
        txn_event(c->txn, o.key, EVENT_ZSET, "zrem");
        close_object(c, &o);
    }
    reply_int(c->reply, removed);
}

/* ---- reading ---- */

void cmd_zcard(struct call *c)
{
    const struct zset *z;
    if (zset_view(c, 0, &z))
        reply_int(c->reply, z ? (int64_t)zset_count(z) : 0);
}

static void reply_score_of(struct call *c, const struct zset *z, bytes member)
{
    double score;
    if (z && zset_score(z, member, &score))
        reply_score(c, score);
    else
        reply_null(c->reply);
}

void cmd_zscore(struct call *c)
{
    const struct zset *z;
    if (zset_view(c, 0, &z))
        reply_score_of(c, z, c->argv[2]);
}

void cmd_zmscore(struct call *c)
{
    const struct zset *z;
    if (!zset_view(c, 0, &z))
        return;
    reply_array(c->reply, c->argc - 2);
    for (size_t i = 2; i < c->argc; i++)
        reply_score_of(c, z, c->argv[i]);
}

static void reply_rank(struct call *c, bool reverse)
{
    const struct zset *z;
    uint64_t rank;
    double score;
    bool with_score = c->argc > 3;
    if (c->argc > 4) {
        arg_wrong_count(c);
        return;
    }
    if (with_score && !bytes_is_word(c->argv[3], "WITHSCORE")) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return;
    }
    if (!zset_view(c, 0, &z))
        return;
    if (!z || !zset_rank(z, c->argv[2], &rank, &score)) {
        if (with_score)
            reply_null_array(c->reply);
        else
            reply_null(c->reply);
        return;
    }
    if (reverse)
        rank = zset_count(z) - 1 - rank;
    if (with_score)
        reply_array(c->reply, 2);
    reply_int(c->reply, (int64_t)rank);
    if (with_score)
        reply_score(c, score);
}

void cmd_zrank(struct call *c) { reply_rank(c, false); }
void cmd_zrevrank(struct call *c) { reply_rank(c, true); }

struct zscan {
    struct scan_options *options;
    struct word_list found;
};

static void zscan_member(void *context, struct scored one)
{
    struct zscan *scan = context;
    char text[NUMBER_DOUBLE_MAX];
    if (!scan_matches(scan->options, one.member))
        return;
    word_list_add(&scan->found, one.member);
    word_list_add(&scan->found, bytes_of(text, number_format_double(text, one.score)));
}

void cmd_zscan(struct call *c)
{
    const struct zset *z;
    uint64_t cursor;
    struct scan_options options;
    if (!scan_take_cursor(c, 2, &cursor) || !zset_view(c, 0, &z))
        return;
    if (!z) {
        scan_reply(c, 0, NULL);
        return;
    }
    if (!scan_take_options(c, 3, SCAN_MEMBERS, &options))
        return;
    struct zscan scan = {&options, {.arena = txn_arena(c->txn)}};
    size_t step;
    do
        cursor = zset_scan(z, cursor, step = scan_step(&options), zscan_member, &scan);
    while (scan_goes_on(c, &options, cursor, step));
    scan_reply(c, cursor, &scan.found);
}

/* ---- pops ---- */

/* Replies `count` members from one end, nested in pairs if asked, and removes them. */
static void pop_members(struct call *c, struct object_ref *o, bool from_max, uint64_t count, bool nested)
{
    const struct zset *z = zset_of(o);
    struct zset_cursor cursor;
    struct scored one;
    uint64_t size = zset_count(z);
    bool more = zset_seek(z, from_max ? size - 1 : 0, &cursor, &one);
    for (uint64_t i = 0; i < count && more; i++) {
        if (nested)
            reply_array(c->reply, 2);
        reply_bulk(c->reply, one.member);
        reply_score(c, one.score);
        more = from_max ? zset_previous(&cursor, &one) : zset_next(&cursor, &one);
        if (!call_goes_on(c, 2))
            return;
    }
    zset_remove_range(c, o, from_max ? size - count : 0, count, from_max ? "zpopmax" : "zpopmin");
}

static void zpop(struct call *c, bool from_max)
{
    struct object_ref o;
    int64_t count = 1;
    bool counted = c->argc == 3;
    if (c->argc > 3) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return;
    }
    if (counted && !arg_int_from(c, 2, 0, "ERR value is out of range, must be positive", &count))
        return;
    if (!zset_open(c, 0, &o))
        return;
    if (!o.object || count == 0) {
        reply_array(c->reply, 0);
        return;
    }
    uint64_t size = zset_count(zset_of(&o)), taken = (uint64_t)count < size ? (uint64_t)count : size;
    bool nested = counted && c->reply->version == 3;
    reply_array(c->reply, nested ? taken : taken * 2);
    pop_members(c, &o, from_max, taken, nested);
}

void cmd_zpopmin(struct call *c) { zpop(c, false); }
void cmd_zpopmax(struct call *c) { zpop(c, true); }

/* As ZPOPMIN or ZPOPMAX of that key; count 0: of one member. */
static void say_pop(struct call *c, const struct key *key, bool from_max, uint64_t count)
{
    bytes words[] = {from_max ? BYTES("ZPOPMAX") : BYTES("ZPOPMIN"), key->name, call_feed_number(c, count)};
    call_feed(c, words, count ? 3 : 2);
}

/* The first key that has something: [key, member, score], or with a count [key, [[member, score] ...]]. False: none. */
static bool pop_first(struct call *c, bool from_max, uint64_t count)
{
    struct object_ref o;
    for (size_t i = 0; i < c->key_count; i++) {
        if (c->woken_by && c->woken_by != call_key(c, i))
            continue;
        if (!zset_open(c, i, &o))
            return true;
        if (!o.object)
            continue;
        uint64_t size = zset_count(zset_of(&o)), taken = count < size ? count : size;
        reply_array(c->reply, count ? 2 : 3);
        reply_bulk(c->reply, call_key(c, i)->name);
        if (count)
            reply_array(c->reply, taken);
        pop_members(c, &o, from_max, count ? taken : 1, count > 0);
        if (call_is_fed(c))
            say_pop(c, call_key(c, i), from_max, count ? taken : 0);
        return true;
    }
    return false;
}

static void pop_first_or_wait(struct call *c, bool from_max, uint64_t count, double timeout)
{
    if (call_is_over(c) || (!pop_first(c, from_max, count) && !call_block(c, timeout)))
        reply_null_array(c->reply);
}

static void blocking_pop(struct call *c, bool from_max)
{
    double timeout;
    if (arg_timeout(c, c->argc - 1, &timeout))
        pop_first_or_wait(c, from_max, 0, timeout);
}

void cmd_bzpopmin(struct call *c) { blocking_pop(c, false); }
void cmd_bzpopmax(struct call *c) { blocking_pop(c, true); }

struct mpop { bool from_max; int64_t count; };

static bool take_mpop(struct call *c, size_t numkeys_at, struct mpop *m)
{
    int64_t keys;
    *m = (struct mpop){.count = 1};
    if (!arg_int_from(c, numkeys_at, 1, "ERR numkeys should be greater than 0", &keys))
        return false;
    size_t where = numkeys_at + 1 + (size_t)keys;
    if ((uint64_t)keys >= c->argc - numkeys_at - 1 ||
        !(bytes_is_word(c->argv[where], "MIN") || (m->from_max = bytes_is_word(c->argv[where], "MAX")))) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return false;
    }
    return arg_pop_count(c, where + 1, &m->count);
}

void cmd_zmpop(struct call *c)
{
    struct mpop m;
    if (take_mpop(c, 1, &m) && !pop_first(c, m.from_max, (uint64_t)m.count))
        reply_null_array(c->reply);
}

void cmd_bzmpop(struct call *c)
{
    struct mpop m;
    double timeout;
    if (take_mpop(c, 2, &m) && arg_timeout(c, 1, &timeout))
        pop_first_or_wait(c, m.from_max, (uint64_t)m.count, timeout);
}

/* ---- ZRANDMEMBER ---- */

static void reply_random(struct call *c, const struct zset *z, int64_t wanted, bool with_scores)
{
    struct chance chance = chance_make();
    uint64_t size = z ? zset_count(z) : 0;
    uint64_t count = wanted < 0 ? (uint64_t)-wanted : (uint64_t)wanted;
    if (size == 0 || (wanted > 0 && count > size))
        count = size;
    reply_scored_array(c, count, with_scores);
    if (count == 0)
        return;
    uint64_t *positions = wanted > 0 ? chance_positions(&chance, c, txn_arena(c->txn), size, count) : NULL;
    if (wanted > 0 && !positions)
        return;
    for (uint64_t i = 0; i < count && call_goes_on(c, 3); i++)
        reply_scored(c, zset_at(z, positions ? positions[i] : chance_below(&chance, size)), with_scores);
}

void cmd_zrandmember(struct call *c)
{
    const struct zset *z;
    int64_t count;
    bool with_scores = c->argc == 4 && bytes_is_word(c->argv[3], "WITHSCORES");
    if (c->argc == 2) {
        if (!zset_view(c, 0, &z))
            return;
        struct chance chance = chance_make();
        if (z)
            reply_bulk(c->reply, zset_at(z, chance_below(&chance, zset_count(z))).member);
        else
            reply_null(c->reply);
        return;
    }
    if (!arg_int_within(c, 2, INT64_MAX, &count))
        return;
    if (c->argc > 4 || (c->argc == 4 && !with_scores))
        reply_status(c->reply, HF_ERR_SYNTAX);
    else if (with_scores && (count > INT64_MAX / 2 || count < -(INT64_MAX / 2)))
        reply_errorf(c->reply, "ERR value is out of range");
    else if (zset_view(c, 0, &z)) {
        if (z && count < -REPEATED_MAX)
            reply_errorf(c->reply, "ERR value is out of range");
        else
            reply_random(c, z, count, with_scores);
    }
}
