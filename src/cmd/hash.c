/* hash.c -- hash commands: words to operations of engine/hashes.h. */
#include "base/arena.h"
#include "base/number.h"
#include "base/random.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "cmd/scan.h"
#include "engine/events.h"
#include "engine/hashes.h"
#include "engine/keys.h"
#include "engine/objects.h"
#include "os/os.h"

#include <math.h>

/* A negative count of HRANDFIELD asks for repetition; beyond this it asks for harm. */
#define HRANDFIELD_REPEATED_MAX (1 << 24)
/* Up to so many distinct fields are drawn one by one; more are picked in one walk. */
#define HRANDFIELD_DRAWN_MAX 32

static bool view_hash(struct call *c, const struct hash **hash)
{
    return !arg_refused(c, hashes_view(c->txn, call_key(c, 0), hash));
}

static void event(struct call *c, const char *name)
{
    txn_event(c->txn, call_key(c, 0), EVENT_HASH, name);
}

static bool find_field(const struct hash *hash, bytes field, bytes *value)
{
    return hash && hash_get(hash, field, value);
}

/* ---- writing ---- */

static bool set_fields(struct call *c, int64_t *new_fields)
{
    *new_fields = 0;
    if (c->argc % 2 != 0) {
        arg_wrong_count(c);
        return false;
    }
    for (size_t i = 2; i < c->argc; i += 2) {
        bool is_new;
        if (!call_goes_on(c, 8) || arg_refused(c, hashes_set(c->txn, call_key(c, 0), c->argv[i], c->argv[i + 1], &is_new)))
            return false;
        *new_fields += is_new;
    }
    event(c, "hset");
    return true;
}

void cmd_hset(struct call *c)
{
    int64_t new_fields;
    if (set_fields(c, &new_fields))
        reply_int(c->reply, new_fields);
}

void cmd_hmset(struct call *c)
{
    int64_t new_fields;
    if (set_fields(c, &new_fields))
        reply_ok(c->reply);
}

void cmd_hsetnx(struct call *c)
{
    struct object_ref hash; /* as it is found for a change: not counted as a read */
    bytes old;
    bool is_new;
    if (arg_refused(c, object_find(c->txn, call_key(c, 0), TYPE_HASH, &hash)))
        return;
    if (find_field(hash.object, c->argv[2], &old))
        reply_int(c->reply, 0);
    else if (!arg_refused(c, hashes_set(c->txn, call_key(c, 0), c->argv[2], c->argv[3], &is_new))) {
        event(c, "hset");
        reply_int(c->reply, 1);
    }
}

void cmd_hdel(struct call *c)
{
    int64_t count = 0;
    for (size_t i = 2; i < c->argc; i++) {
        bool removed;
        if (!call_goes_on(c, 8) || arg_refused(c, hashes_remove(c->txn, call_key(c, 0), c->argv[i], &removed)))
            return;
        count += removed;
    }
    if (count) {
        event(c, "hdel");
        if (!key_exists(c->txn, call_key(c, 0)))
            txn_event(c->txn, call_key(c, 0), EVENT_GENERIC, "del");
    }
    reply_int(c->reply, count);
}

void cmd_hincrby(struct call *c)
{
    int64_t delta, result;
    if (arg_int(c, 3, &delta) &&
        !arg_refused(c, hashes_incr_by(c->txn, call_key(c, 0), c->argv[2], delta, &result))) {
        event(c, "hincrby");
        reply_int(c->reply, result);
    }
}

void cmd_hincrbyfloat(struct call *c)
{
    long double delta;
    bytes result;
    if (!number_parse_float(c->argv[3], &delta))
        reply_status(c->reply, HF_ERR_NOT_FLOAT);
    else if (isinf(delta))
        reply_errorf(c->reply, "ERR value is NaN or Infinity");
    else if (!arg_refused(c, hashes_incr_float(c->txn, call_key(c, 0), c->argv[2], delta, &result))) {
        event(c, "hincrbyfloat");
        reply_bulk(c->reply, result);
    }
}

/* ---- reading ---- */

static void reply_field(struct call *c, const struct hash *hash, bytes field)
{
    bytes value;
    if (find_field(hash, field, &value))
        reply_bulk(c->reply, value);
    else
        reply_null(c->reply);
}

void cmd_hget(struct call *c)
{
    const struct hash *hash;
    if (view_hash(c, &hash))
        reply_field(c, hash, c->argv[2]);
}

void cmd_hmget(struct call *c)
{
    const struct hash *hash;
    if (!view_hash(c, &hash))
        return;
    reply_array(c->reply, c->argc - 2);
    for (size_t i = 2; i < c->argc; i++)
        reply_field(c, hash, c->argv[i]);
}

void cmd_hlen(struct call *c)
{
    const struct hash *hash;
    if (view_hash(c, &hash))
        reply_int(c->reply, hash ? (int64_t)hash_count(hash) : 0);
}

void cmd_hexists(struct call *c)
{
    const struct hash *hash;
    bytes value;
    if (view_hash(c, &hash))
        reply_int(c->reply, find_field(hash, c->argv[2], &value));
}

void cmd_hstrlen(struct call *c)
{
    const struct hash *hash;
    bytes value;
    if (view_hash(c, &hash))
        reply_int(c->reply, find_field(hash, c->argv[2], &value) ? (int64_t)value.size : 0);
}

enum { WITH_FIELDS = 1, WITH_VALUES = 2 };

static void reply_fields(struct call *c, const struct hash *hash, int what)
{
    uint64_t position = 0;
    bytes field, value;
    while (hash && hash_next(hash, &position, &field, &value) && call_goes_on(c, 2)) {
        if (what & WITH_FIELDS)
            reply_bulk(c->reply, field);
        if (what & WITH_VALUES)
            reply_bulk(c->reply, value);
    }
}

void cmd_hgetall(struct call *c)
{
    const struct hash *hash;
    if (!view_hash(c, &hash))
        return;
    reply_map(c->reply, hash ? hash_count(hash) : 0);
    reply_fields(c, hash, WITH_FIELDS | WITH_VALUES);
}

static void reply_half(struct call *c, int what)
{
    const struct hash *hash;
    if (!view_hash(c, &hash))
        return;
    reply_array(c->reply, hash ? hash_count(hash) : 0);
    reply_fields(c, hash, what);
}

void cmd_hkeys(struct call *c)
{
    reply_half(c, WITH_FIELDS);
}

void cmd_hvals(struct call *c)
{
    reply_half(c, WITH_VALUES);
}

/* ---- HSCAN ---- */

struct hscan {
    struct scan_options *options;
    struct word_list found;
};

static void hscan_field(void *context, bytes field, bytes value)
{
    struct hscan *scan = context;
    if (!scan_matches(scan->options, field))
        return;
    word_list_add(&scan->found, field);
    if (!scan->options->no_values)
        word_list_add(&scan->found, value);
}

/* The key is looked at between the cursor and the options, as Redis does. */
void cmd_hscan(struct call *c)
{
    const struct hash *hash;
    uint64_t cursor;
    struct scan_options options;
    if (!scan_take_cursor(c, 2, &cursor) || !view_hash(c, &hash))
        return;
    if (!hash) {
        scan_reply(c, 0, NULL);
        return;
    }
    if (!scan_take_options(c, 3, SCAN_FIELDS, &options))
        return;
    struct hscan scan = {&options, {.arena = txn_arena(c->txn)}};
    size_t step;
    do
        cursor = hash_scan(hash, cursor, step = scan_step(&options), hscan_field, &scan);
    while (scan_goes_on(c, &options, cursor, step));
    scan_reply(c, cursor, &scan.found);
}

/* ---- HRANDFIELD ---- */

/* In RESP3 a field and its value are a pair of their own. */
static void reply_picked(struct call *c, bytes field, bytes value, bool with_values)
{
    if (with_values && c->reply->version == 3)
        reply_array(c->reply, 2);
    reply_bulk(c->reply, field);
    if (with_values)
        reply_bulk(c->reply, value);
}

static void reply_repeated(struct call *c, const struct hash *hash, uint64_t count, bool with_values,
                           uint64_t *chance)
{
    bytes field, value;
    while (count-- && hash_random(hash, random_next(chance), &field, &value) && call_goes_on(c, 4))
        reply_picked(c, field, value, with_values);
}

/* Selection sampling: each field is taken with the probability wanted / left, which
 * picks exactly `count`, each subset equally often, and all when that is all. */
static void reply_sampled(struct call *c, const struct hash *hash, uint64_t count, bool with_values,
                          uint64_t *chance)
{
    uint64_t position = 0, left = hash_count(hash);
    bytes field, value;
    while (count && hash_next(hash, &position, &field, &value) && call_goes_on(c, 2)) {
        if (random_next(chance) % left-- < count) {
            reply_picked(c, field, value, with_values);
            count--;
        }
    }
}

/* Draws until distinct; only for few out of many, so a draw is rarely repeated. */
static void reply_drawn(struct call *c, const struct hash *hash, uint64_t count, bool with_values,
                        uint64_t *chance)
{
    bytes seen[HRANDFIELD_DRAWN_MAX];
    hf_assert(count <= HRANDFIELD_DRAWN_MAX);
    for (uint64_t drawn = 0; drawn < count;) {
        bytes field, value;
        bool found = hash_random(hash, random_next(chance), &field, &value), repeated = false;
        hf_assert(found);
        for (uint64_t i = 0; i < drawn && !repeated; i++)
            repeated = bytes_equal(seen[i], field);
        if (repeated)
            continue;
        seen[drawn++] = field;
        reply_picked(c, field, value, with_values);
    }
}

static void reply_random_fields(struct call *c, const struct hash *hash, int64_t wanted, bool with_values)
{
    uint64_t size = hash ? hash_count(hash) : 0, chance;
    bool repeated = wanted < 0;
    uint64_t count = repeated ? (uint64_t)-wanted : (uint64_t)wanted;
    if (size && wanted < -HRANDFIELD_REPEATED_MAX) {
        reply_errorf(c->reply, "ERR value is out of range");
        return;
    }
    if (size == 0 || (!repeated && count > size))
        count = size;
    reply_array(c->reply, with_values && c->reply->version == 2 ? count * 2 : count);
    if (count == 0)
        return;
    OS.random(&chance, sizeof(chance));
    if (repeated)
        reply_repeated(c, hash, count, with_values, &chance);
    else if (count <= HRANDFIELD_DRAWN_MAX && count * 4 < size)
        reply_drawn(c, hash, count, with_values, &chance);
    else
        reply_sampled(c, hash, count, with_values, &chance);
}

static bool take_random_count(struct call *c, int64_t *count, bool *with_values)
{
    if (!arg_int_within(c, 2, INT64_MAX, count))
        return false;
    *with_values = c->argc == 4 && bytes_is_word(c->argv[3], "WITHVALUES");
    if (c->argc > 4 || (c->argc == 4 && !*with_values)) {
        reply_status(c->reply, HF_ERR_SYNTAX);
        return false;
    }
    if (*with_values && (*count > INT64_MAX / 2 || *count < -(INT64_MAX / 2))) {
        reply_errorf(c->reply, "ERR value is out of range");
        return false;
    }
    return true;
}

void cmd_hrandfield(struct call *c)
{
    const struct hash *hash;
    int64_t count = 1;
    bool with_values = false;
    if (c->argc > 2) {
        if (take_random_count(c, &count, &with_values) && view_hash(c, &hash))
            reply_random_fields(c, hash, count, with_values);
        return;
    }
    if (!view_hash(c, &hash))
        return;
    bytes field, value;
    uint64_t chance;
    OS.random(&chance, sizeof(chance));
    if (hash && hash_random(hash, chance, &field, &value))
        reply_bulk(c->reply, field);
    else
        reply_null(c->reply);
}
