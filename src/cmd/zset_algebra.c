/* zset_algebra.c -- ZUNION, ZINTER, ZDIFF, and what counts or stores their results.
 *
 * Inputs are sorted sets and plain sets, whose members count with score 1. Inputs are taken from the smallest to
 * the largest, so that sums come out as Redis adds them up.
 */
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "cmd/score_table.h"
#include "cmd/zset.h"
#include "types/set.h"

#include <math.h>
#include <stdlib.h>

enum operation { UNION, INTER, DIFF };
enum aggregate { SUM, MIN, MAX };

struct input {
    const struct zset *zset; /* one of both, or none: an absent key */
    const struct set *set;
    double weight;
    uint64_t count;
    size_t order;            /* as named */
};

struct algebra {
    struct call *c;
    enum operation operation;
    enum aggregate aggregate;
    struct arena *arena;
    struct input *inputs;
    size_t count;
    bool with_scores;
    int64_t limit;           /* ZINTERCARD; 0: none */
};

/* ---- inputs ---- */

struct input_cursor {
    struct zset_cursor zset;
    struct set_cursor set;
    bool started;
};

static bool input_next(const struct input *in, struct input_cursor *c, struct scored *one)
{
    if (in->zset) {
        bool more = c->started ? zset_next(&c->zset, one) : zset_seek(in->zset, 0, &c->zset, one);
        c->started = true;
        return more;
    }
    one->score = 1;
    return in->set && set_next(in->set, &c->set, &one->member);
}

static bool input_score(const struct input *in, bytes member, double *score)
{
    *score = 1;
    return in->zset ? zset_score(in->zset, member, score) : in->set && set_has(in->set, member);
}

static bool view_input(struct call *c, size_t key, struct input *in)
{
    static const enum type types[] = {TYPE_ZSET, TYPE_SET};
    const void *object;
    enum type type;
    *in = (struct input){.weight = 1, .order = key};
    if (arg_refused(c, object_view_any(c->txn, call_key(c, key), types, 2, &type, &object)))
        return false;
    if (type == TYPE_ZSET) {
        in->zset = object;
        in->count = object ? zset_count(object) : 0;
    } else {
        in->set = object;
        in->count = object ? set_count(object) : 0;
    }
    return true;
}

static int by_size(const void *a, const void *b)
{
    const struct input *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* ---- words ---- */

static bool take_weights(struct call *c, size_t from, struct algebra *a)
{
    for (size_t i = 0; i < a->count; i++) {
        if (!number_parse_double(c->argv[from + i], &a->inputs[i].weight)) {
            reply_errorf(c->reply, "ERR weight value is not a float");
            return false;
        }
    }
    return true;
}

static bool take_aggregate(bytes word, enum aggregate *out)
{
    static const char *const words[] = {"SUM", "MIN", "MAX"};
    for (int i = 0; i < 3; i++) {
        if (bytes_is_word(word, words[i])) {
            *out = (enum aggregate)i;
            return true;
        }
    }
    return false;
}

static bool take_options(struct call *c, size_t from, bool stores, bool counts, struct algebra *a)
{
    for (size_t i = from; i < c->argc; i++) {
        bool weighs = a->operation != DIFF && !counts;
        size_t left = c->argc - i - 1;
        if (weighs && left >= a->count && bytes_is_word(c->argv[i], "WEIGHTS")) {
            if (!take_weights(c, i + 1, a))
                return false;
            i += a->count;
        } else if (weighs && left >= 1 && bytes_is_word(c->argv[i], "AGGREGATE") &&
                   take_aggregate(c->argv[i + 1], &a->aggregate)) {
            i++;
        } else if (!stores && !counts && bytes_is_word(c->argv[i], "WITHSCORES")) {
            a->with_scores = true;
        } else if (counts && left >= 1 && bytes_is_word(c->argv[i], "LIMIT")) {
            if (!arg_int_from(c, ++i, 0, "ERR LIMIT can't be negative", &a->limit))
                return false;
        } else {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* numkeys_at: the word that counts the keys, which begin right behind it. */
static bool take_algebra(struct call *c, size_t numkeys_at, bool stores, bool counts, struct algebra *a)
{
    int64_t keys;
    if (!arg_int(c, numkeys_at, &keys))
        return false;
    if (keys < 1) {
        reply_errorf(c->reply, "ERR at least 1 input key is needed for '%s' command", c->command->full_name);
        return false;
    }
    if ((uint64_t)keys > c->argc - numkeys_at - 1) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return false;
    }
    a->count = (size_t)keys;
    a->arena = txn_arena(c->txn);
    a->inputs = arena_alloc(a->arena, a->count * sizeof(*a->inputs));
    for (size_t i = 0; i < a->count; i++) {
        if (!view_input(c, i + stores, &a->inputs[i]))
            return false;
    }
    return take_options(c, numkeys_at + 1 + a->count, stores, counts, a);
}

/* ---- the operations ---- */

static double weighted(const struct input *in, double score)
{
    double result = in->weight * score;
    return isnan(result) ? 0 : result;
}

static double aggregated(enum aggregate how, double a, double b)
{
    if (how == MIN)
        return b < a ? b : a;
    if (how == MAX)
        return b > a ? b : a;
    double sum = a + b;
    return isnan(sum) ? 0 : sum; /* inf and -inf */
}

/* These return false, and a part of the result, when it ends here (call_goes_on). */
static bool unite_input(const struct algebra *a, const struct input *in, struct score_table *table)
{
    struct input_cursor cursor = {0};
    struct scored one;
    while (input_next(in, &cursor, &one)) {
        bool is_new;
        double *score = score_table_at(table, one.member, &is_new), more = weighted(in, one.score);
        *score = is_new ? more : aggregated(a->aggregate, *score, more);
        if (!call_goes_on(a->c, 4))
            return false;
    }
    return true;
}

static bool unite(const struct algebra *a, struct zset *result)
{
    struct score_table table = {.arena = a->arena, .call = a->c};
    for (size_t i = 0; i < a->count; i++) {
        if (!unite_input(a, &a->inputs[i], &table))
            return false;
    }
    for (size_t i = 0; i < table.count; i++) {
        zset_set(result, table.items[i].member, table.items[i].score);
        if (!call_goes_on(a->c, 10))
            return false;
    }
    return true;
}

/* In all inputs? Then with this score. */
static bool is_common(const struct algebra *a, struct scored *one)
{
    double score = weighted(&a->inputs[0], one->score);
    for (size_t i = 1; i < a->count; i++) {
        double other;
        const struct input *in = &a->inputs[i];
        bool same = in->zset == a->inputs[0].zset && in->set == a->inputs[0].set;
        if (same)
            other = one->score;
        else if (!input_score(in, one->member, &other))
            return false;
        score = aggregated(a->aggregate, score, in->weight * other); /* 0 * inf comes out in the sum, as in Redis */
    }
    one->score = score;
    return true;
}

static bool intersect(const struct algebra *a, struct zset *result)
{
    struct input_cursor cursor = {0};
    struct scored one;
    while (input_next(&a->inputs[0], &cursor, &one)) {
        if (is_common(a, &one))
            zset_set(result, one.member, one.score);
        if (!call_goes_on(a->c, 10 + a->count * 4))
            return false;
    }
    return true;
}

static bool subtract(const struct algebra *a, struct zset *result)
{
    struct input_cursor cursor = {0};
    struct scored one;
    while (input_next(&a->inputs[0], &cursor, &one)) {
        bool elsewhere = false;
        double score;
        for (size_t i = 1; i < a->count && !elsewhere; i++)
            elsewhere = input_score(&a->inputs[i], one.member, &score);
        if (!elsewhere)
            zset_set(result, one.member, one.score);
        if (!call_goes_on(a->c, 10 + a->count * 4))
            return false;
    }
    return true;
}

/* NULL: it ends here. */
static struct zset *compute(struct algebra *a)
{
    struct zset *result = zset_new();
    if (a->operation != DIFF)
        qsort(a->inputs, a->count, sizeof(*a->inputs), by_size);
    bool done = a->operation == DIFF ? subtract(a, result) : a->operation == UNION ? unite(a, result) : intersect(a, result);
    if (done)
        return result;
    object_drop(a->c->txn, TYPE_ZSET, result);
    return NULL;
}

static void reply_result(struct call *c, enum operation operation)
{
    struct algebra a = {.c = c, .operation = operation};
    if (!take_algebra(c, 1, false, false, &a))
        return;
    struct zset *result = compute(&a);
    if (!result)
        return;
    struct zset_cursor cursor;
    struct scored one;
    reply_scored_array(c, zset_count(result), a.with_scores);
    for (bool more = zset_seek(result, 0, &cursor, &one); more && call_goes_on(c, 2); more = zset_next(&cursor, &one))
        reply_scored(c, one, a.with_scores);
    object_drop(c->txn, TYPE_ZSET, result);
}

static void store_result(struct call *c, enum operation operation, const char *event)
{
    struct algebra a = {.c = c, .operation = operation};
    struct zset *result = take_algebra(c, 2, true, false, &a) ? compute(&a) : NULL;
    if (result)
        zset_store(c, 0, result, event);
}

void cmd_zunion(struct call *c) { reply_result(c, UNION); }
void cmd_zinter(struct call *c) { reply_result(c, INTER); }
void cmd_zdiff(struct call *c) { reply_result(c, DIFF); }
void cmd_zunionstore(struct call *c) { store_result(c, UNION, "zunionstore"); }
void cmd_zinterstore(struct call *c) { store_result(c, INTER, "zinterstore"); }
void cmd_zdiffstore(struct call *c) { store_result(c, DIFF, "zdiffstore"); }

void cmd_zintercard(struct call *c)
{
    struct algebra a = {.operation = INTER};
    if (!take_algebra(c, 1, false, true, &a))
        return;
    struct input_cursor cursor = {0};
    struct scored one;
    int64_t count = 0;
    qsort(a.inputs, a.count, sizeof(*a.inputs), by_size);
    while ((a.limit == 0 || count < a.limit) && input_next(&a.inputs[0], &cursor, &one) && call_goes_on(c, a.count * 4))
        count += is_common(&a, &one);
    reply_int(c->reply, count);
}
