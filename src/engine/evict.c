/* evict.c -- choosing the key that goes, and removing it.
 *
 * Sampling, as in Redis, with more samples and a better score (docs/adr/0013 has the measurements):
 *   lru     longest without use; one that was never used again since it was written counts as four times as long unused,
 *           so what a scan brings in goes before what is in use
 *   lfu     least used; among those whose count has faded to 0, the longest without use
 *   ttl     nearest deadline, of a sample and of the buckets that the wheel looks at next
 *   random  any
 * Stripes hold different numbers of keys (a {tag} may hold most of them), so they are chosen by how many: a table of counts,
 * renewed now and then. A sample takes keys from as many stripes as it needs; they are locked one after the other, and
 * the chosen key's stripe again, in a transaction whose effect is logged like any removal.
 */
#include "engine/events.h"
#include "engine/feed.h"
#include "engine/items.h"
#include "engine/memory.h"

#include "base/memory.h"
#include "base/random.h"
#include "os/os.h"

#define SAMPLE_FACTOR 3        /* entries looked at for each of maxmemory-samples: a bucket's worth costs little more than one */
#define SAMPLE_MAX 1024u
#define RENEW_AFTER_MS 100
#define TRIES 64               /* stripes asked for one sample */
#define WALKED_MAX 512u        /* entries met in search of some with a deadline */
#define SPARSE 16              /* one in so many keys has a deadline: the wheel is asked instead */

struct evictor {
    struct engine *engine;
    uint64_t chance;
    uint64_t sums[STRIPE_COUNT]; /* of what may go, up to and including each stripe */
    uint64_t renewed_ms, left;   /* evictions until the next renewal */
    uint32_t policy;             /* that the sums were made for */
    bool partly;                 /* some stripe was busy */
    struct buf name;             /* of the best candidate */
};

struct evictor *evictor_new(struct engine *e)
{
    struct evictor *v = mem_zalloc(sizeof(*v));
    v->engine = e;
    OS.random(&v->chance, sizeof(v->chance));
    buf_init(&v->name, SIZE_MAX);
    v->renewed_ms = UINT64_MAX;
    return v;
}

void evictor_free(struct evictor *v)
{
    if (v)
        buf_release(&v->name);
    mem_free(v);
}

/* ---- which stripe ---- */

static struct table *table_at(const struct stripe *s, uint32_t i) { return i ? s->others[i - 1] : s->table; }

static uint32_t table_count(const struct stripe *s) { return s->table ? s->other_count + 1 : 0; }

/* Of a table: how many of its keys may go. Those of functions and of emptied databases never. */
static uint64_t may_go(const struct engine *e, const struct table *t, uint32_t policy)
{
    uint64_t keys = policy & EVICT_ALL_KEYS ? t->count : t->deadline_count;
    return keys && db_number(e, t->db_id) < DATABASES_MAX ? keys : 0;
}

static void renew_sums(struct evictor *v, uint64_t now_ms)
{
    struct engine *e = v->engine;
    uint64_t sum = 0;
    v->policy = atomic_load_explicit(&e->eviction.policy, memory_order_relaxed);
    v->partly = false;
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        struct stripe *s = &e->store->stripes[i];
        if (stripe_try_lock(s)) {
            for (uint32_t k = 0; k < table_count(s); k++)
                sum += may_go(e, table_at(s, k), v->policy);
            stripe_unlock(s);
        } else {
            v->partly = true;
        }
        v->sums[i] = sum;
    }
    v->renewed_ms = now_ms;
    v->left = sum / 16 + 16;
}

static bool is_stale(const struct evictor *v, uint64_t now_ms)
{
    return v->left == 0 || now_ms - v->renewed_ms > RENEW_AFTER_MS ||
           v->policy != atomic_load_explicit(&v->engine->eviction.policy, memory_order_relaxed);
}

/* The stripe that holds the n-th key. */
static uint32_t stripe_of(const struct evictor *v, uint64_t n)
{
    uint32_t low = 0, high = STRIPE_COUNT - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (v->sums[middle] > n)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* ---- which key ---- */

struct sample {
    struct evictor *evictor;
    uint64_t now_ms;
    uint32_t decay_min;
    bool needs_deadline;
    uint32_t met, seen, skip; /* met: all; seen: those that may go; skip: so many first (random) */
    /* the best so far */
    bool found;
    uint64_t score;
    uint32_t db;
};

/* Greater: goes first. */
static uint64_t score_of(const struct sample *s, const struct entry *e)
{
    uint32_t policy = s->evictor->policy;
    uint64_t idle = clock_idle_s(e->clock, s->now_ms);
    if (policy & EVICT_LRU)
        return (2 * idle + 1) * (e->clock >> 24 <= CLOCK_USES_NEW ? 4 : 1);
    if (policy & EVICT_LFU) {
        uint64_t uses = clock_uses(e->clock, s->now_ms, s->decay_min);
        return (CLOCK_USES_MAX - uses) << 24 | (uses ? 0 : idle);
    }
    if (policy & EVICT_TTL)
        return UINT64_MAX - entry_deadline(e);
    return 1;
}

static void look_at(void *context, struct entry *e, uint64_t hash)
{
    struct sample *s = context;
    (void)hash;
    s->met++;
    if (s->needs_deadline && !(e->fields & FIELD_DEADLINE))
        return;
    s->seen++;
    if (s->skip > 0 && s->found) {
        s->skip--;
    } else if (s->skip == 0 && s->found && score_of(s, e) <= s->score) {
        return;
    }
    bytes name = entry_key(e);
    s->found = true;
    s->score = score_of(s, e);
    buf_reset(&s->evictor->name);
    buf_append(&s->evictor->name, name.data, name.size);
}

/* Looks at about `wanted` keys of a table from a random place on. */
static void sample_table(struct sample *s, struct table *t, uint32_t wanted)
{
    struct evictor *v = s->evictor;
    const uint64_t end = UINT64_C(1) << 32;
    uint32_t seen_end = s->seen + wanted, met_end = s->met + WALKED_MAX;
    s->skip = v->policy & EVICT_RANDOM ? (uint32_t)(random_next(&v->chance) & 7) : 0;
    if (v->policy & EVICT_TTL)
        table_sample_deadlines(t, random_next(&v->chance), true, look_at, s);
    if (s->needs_deadline && t->deadline_count * SPARSE < t->count) {
        for (uint32_t i = 0; i < wanted && s->seen < seen_end; i++)
            table_sample_deadlines(t, random_next(&v->chance), false, look_at, s);
        return;
    }
    uint64_t from = random_next(&v->chance) >> 32, left = end + from;
    while (s->seen < seen_end && s->met < met_end && left > 0) { /* once around at most */
        uint64_t next = table_walk(t, from, seen_end - s->seen, look_at, s), passed = next - from;
        left = passed < left ? left - passed : 0;
        from = next < end ? next : 0;
    }
}

/* The n-th table's worth of keys of a locked stripe. */
static void sample_stripe(struct sample *s, struct stripe *stripe, uint32_t wanted)
{
    struct engine *e = s->evictor->engine;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < table_count(stripe); i++)
        sum += may_go(e, table_at(stripe, i), s->evictor->policy);
    uint64_t n = sum ? random_below(&s->evictor->chance, sum) : 0;
    for (uint32_t i = 0; sum && i < table_count(stripe); i++) {
        struct table *t = table_at(stripe, i);
        uint64_t keys = may_go(e, t, s->evictor->policy), score = s->score;
        bool found = s->found;
        if (n >= keys) {
            n -= keys;
            continue;
        }
        sample_table(s, t, wanted);
        if (s->found && (!found || s->score != score))
            s->db = db_number(e, t->db_id);
        return;
    }
}

/* ---- removing it ---- */

/* An empty table takes as much as some keys. Not while a snapshot is being written, which tells by the tables what it holds of
 * the log. Reads of keys that were in it wait for its last position (txn_find). */
static void give_up_table(struct engine *e, struct stripe *s, uint32_t db_id)
{
    if (!stripe_try_lock(s))
        return;
    struct table *t = stripe_table(s, db_id);
    if (t && t->count == 0 && !atomic_load(&e->snapshot_running)) {
        stripe_table_detach(s, db_id);
        stripe_deadline_update(s);
        if (e->log)
            e->emptied_lsn[s->number] = log_tail(e->log);
        table_free(t);
    }
    stripe_unlock(s);
}

static bool remove_key(struct evictor *v, struct txn *t, const struct sample *s)
{
    struct engine *e = v->engine;
    struct key k;
    struct spot spot;
    store_locate(e->store, buf_view(&v->name), &k);
    k.db = s->db;
    txn_reset(t, s->now_ms);
    txn_lock_add(t, k.stripe);
    if (txn_lock_all(t) >= 0)
        return false;
    struct entry *found = txn_find(t, &k, &spot); /* one that is due has gone with this, as expired */
    if (found && (!s->needs_deadline || found->fields & FIELD_DEADLINE)) {
        if (HF_UNLIKELY(atomic_load_explicit(&e->on_item_evicted, memory_order_relaxed) != NULL))
            item_evicted(t, &k, found);
        txn_remove(t, &k, &spot, true, false);
        txn_feed_gone(t, &k);
        txn_event(t, &k, EVENT_EVICTED, "evicted");
        counter_add(&t->slot_stats->evicted, 1);
    }
    bool empty = spot.table && spot.table->count == 0;
    txn_commit_lsn(t);
    if (HF_UNLIKELY(empty))
        give_up_table(e, spot.stripe, spot.db_id);
    v->left -= v->left > 0;
    return true;
}

static enum evicted choose_and_remove(struct evictor *v, struct txn *t, uint64_t now_ms)
{
    const struct eviction_settings *how = &v->engine->eviction;
    if (is_stale(v, now_ms))
        renew_sums(v, now_ms);
    uint64_t total = v->sums[STRIPE_COUNT - 1];
    if (total == 0) {
        v->left = 0; /* look again next time: there may be one by then */
        return v->partly ? EVICTED_BUSY : EVICTED_NOTHING;
    }
    struct sample s = {.evictor = v, .now_ms = now_ms, .needs_deadline = !(v->policy & EVICT_ALL_KEYS),
                       .decay_min = atomic_load_explicit(&how->lfu_decay_min, memory_order_relaxed)};
    uint64_t samples = (uint64_t)atomic_load_explicit(&how->samples, memory_order_relaxed) * SAMPLE_FACTOR;
    uint32_t wanted = v->policy & EVICT_RANDOM ? 1 : samples < SAMPLE_MAX ? (uint32_t)samples : SAMPLE_MAX;
    for (unsigned tries = 0; s.seen < wanted && tries < TRIES && (tries < wanted || !s.found); tries++) {
        struct stripe *stripe = &v->engine->store->stripes[stripe_of(v, random_below(&v->chance, total))];
        if (!stripe_try_lock(stripe))
            continue;
        sample_stripe(&s, stripe, wanted - s.seen);
        stripe_unlock(stripe);
    }
    if (!s.found) {
        v->left = 0; /* the sums may tell of keys that have gone */
        return EVICTED_BUSY;
    }
    return remove_key(v, t, &s) ? EVICTED_ONE : EVICTED_BUSY;
}

enum evicted evict_one(struct evictor *v, struct txn *t, uint64_t now_ms)
{
    struct log *log = v->engine->log;
    size_t bound = RECORD_DIRECT_MAX + 1024;
    if (atomic_load_explicit(&v->engine->eviction.policy, memory_order_relaxed) == 0)
        return EVICTED_NOTHING;
    if (log && !log_credit_take(log, bound))
        return EVICTED_BUSY;
    enum evicted result = choose_and_remove(v, t, now_ms);
    if (log)
        log_credit_return(log, bound);
    return result;
}
