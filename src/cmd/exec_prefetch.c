/* exec_prefetch.c -- what commands that run next will touch is asked for from memory, all of it before the first of them runs.
 *
 * Two passes, since where an entry stands is read from its bucket. A stripe that is busy is passed over: nothing here waits, and
 * nothing depends on it. The second pass takes no locks: a bucket stays readable memory whatever becomes of its table.
 */
#include "cmd/exec_private.h"

#include "os/ticks.h"

/* The bucket, which is on its way; NULL: there is none, or its stripe is busy. */
static const struct bucket *prefetch_bucket(struct exec *x, const struct session *s, const struct key *k, bool change)
{
    struct engine *e = x->engine;
    struct stripe *stripe = &e->store->stripes[k->stripe];
    bool shared = e->config.workers > 1;
    if (shared && !stripe_try_lock_once(stripe))
        return NULL;
    const struct table *table = stripe_table(stripe, e->db_ids[s->db]);
    const struct bucket *bucket = table ? table_prefetch(table, k->hash, change) : NULL;
    if (shared)
        stripe_unlock(stripe);
    return bucket;
}

static inline void locate_key(struct exec *x, const struct session *s, bytes name, struct key *k)
{
    txn_locate(x->engine, s->db, name, k);
    __builtin_prefetch(&x->engine->store->stripes[k->stripe], 1);
}

/* Whether this is the very word that exec_expect has located: the same bytes, not only equal ones. */
static inline bool is_expected(const struct session *s, bytes name)
{
    return name.size && s->expected.name.data == name.data && s->expected.name.size == name.size;
}

static inline void locate(struct exec *x, const struct session *s, struct parsed_command *p, const struct command *row)
{
    size_t first = row ? (size_t)command_first_key(row) : 0;
    p->command = row;
    p->located = first > 0 && first < p->argc;
    if (!p->located)
        return;
    if (is_expected(s, p->argv[first]))
        p->key0 = s->expected;
    else
        locate_key(x, s, p->argv[first], &p->key0);
}

static bool changes(const struct parsed_command *p) { return !(p->command->flags & CMD_READ); }

static void prefetch_located(struct exec *x, struct session *s, struct parsed_command *p, size_t count)
{
    if (count < 2)
        return;
    for (size_t i = 0; i < count; i++)
        p[i].bucket = p[i].located ? prefetch_bucket(x, s, &p[i].key0, changes(&p[i])) : NULL;
    const uint8_t *base = slab_base(x->engine->store->slab);
    for (size_t i = 0; i < count; i++) {
        if (p[i].bucket)
            bucket_prefetch_entry(p[i].bucket, base, p[i].key0.hash, changes(&p[i]));
    }
}

void exec_prefetch(struct exec *x, struct session *s, struct parsed_command *p, size_t count)
{
    for (size_t i = 0; i < count; i++)
        locate(x, s, &p[i], p[i].argc ? command_find(p[i].argv[0]) : NULL);
    prefetch_located(x, s, p, count);
    x->ticks = ticks_now();
}

void exec_prefetch_rows(struct exec *x, struct session *s, struct parsed_command *p, size_t count)
{
    for (size_t i = 0; i < count; i++)
        locate(x, s, &p[i], p[i].command);
    prefetch_located(x, s, p, count);
    x->ticks = ticks_now();
}

void exec_prefetch_keys(const struct call *c, size_t from)
{
    const struct engine *e = txn_engine(c->txn);
    const struct bucket *buckets[CALL_KEYS_AHEAD];
    size_t count = c->key_count - from < CALL_KEYS_AHEAD ? c->key_count - from : CALL_KEYS_AHEAD;
    const struct key *keys = &c->keys[from];
    bool change = !(c->command->flags & CMD_READ);
    for (size_t i = 0; i < count; i++) {
        const struct table *table = stripe_table(&e->store->stripes[keys[i].stripe], e->db_ids[keys[i].db]);
        buckets[i] = table ? table_prefetch(table, keys[i].hash, change) : NULL;
    }
    const uint8_t *base = slab_base(e->store->slab);
    for (size_t i = 0; i < count; i++) {
        if (buckets[i])
            bucket_prefetch_entry(buckets[i], base, keys[i].hash, change);
    }
}

void exec_expect(struct exec *x, struct session *const *s, const bytes *names, size_t count)
{
    const struct bucket *buckets[EXPECT_MAX];
    hf_assert(count <= EXPECT_MAX);
    for (size_t i = 0; i < count; i++)
        locate_key(x, s[i], names[i], &s[i]->expected);
    for (size_t i = 0; i < count; i++)
        buckets[i] = prefetch_bucket(x, s[i], &s[i]->expected, false);
    const uint8_t *base = slab_base(x->engine->store->slab);
    for (size_t i = 0; i < count; i++) {
        if (buckets[i])
            bucket_prefetch_entry(buckets[i], base, s[i]->expected.hash, false);
    }
}
