/* keyspace.c -- what INFO tells of the keys of each database and of those that commands wait for: one pass over the stripes.
 *
 * How long keys have to live is judged from samples: in each stripe the deadlines of one bucket.
 */
#include "base/memory.h"
#include "engine/engine.h"
#include "engine/internal.h"
#include "engine/wait.h"

#define KEYS_TOLD_APART 64u /* in one stripe; further links count as a key each */

struct ttl_samples { uint64_t now_ms, ttl_ms, count, stale; };

static void take_sample(void *context, struct entry *e, uint64_t hash)
{
    struct ttl_samples *s = context;
    uint64_t deadline = entry_deadline(e);
    (void)hash;
    s->count++;
    s->stale += deadline <= s->now_ms;
    s->ttl_ms += deadline > s->now_ms ? deadline - s->now_ms : 0;
}

static bool is_known(const uint64_t *hashes, size_t count, uint64_t hash)
{
    for (size_t i = 0; i < count; i++) {
        if (hashes[i] == hash)
            return true;
    }
    return false;
}

static void count_awaited(const struct wait_list *list, struct keyspace *out)
{
    uint64_t known[KEYS_TOLD_APART];
    size_t count = 0;
    for (const struct wait_link *link = list->first; link; link = link->next) {
        uint64_t hash = link->key.hash ^ link->key.db * UINT64_C(0x9e3779b97f4a7c15);
        if (is_known(known, count, hash))
            continue;
        if (count < KEYS_TOLD_APART)
            known[count++] = hash;
        out->awaited++;
        out->awaited_any += link->waiter->any;
    }
}

void engine_keyspace(struct engine *e, struct txn *t, uint64_t now_ms, struct keyspace *out)
{
    struct ttl_samples *samples = mem_zalloc(e->config.databases * sizeof(*samples));
    *out = (struct keyspace){.databases = mem_zalloc(e->config.databases * sizeof(*out->databases))};
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        struct stripe *s = &e->store->stripes[i];
        bool locked;
        if (!walk_enter(t, s, &locked))
            break;
        for (uint32_t db = 0; db < e->config.databases; db++) {
            struct table *table = stripe_table(s, e->db_ids[db]);
            if (!table)
                continue;
            samples[db].now_ms = now_ms;
            out->databases[db].keys += table->count;
            out->databases[db].with_deadline += table->deadline_count;
            if (table->deadline_count)
                table_sample_deadlines(table, now_ms * UINT64_C(0x9e3779b97f4a7c15) + i, false, take_sample, &samples[db]);
        }
        if (s->waiters)
            count_awaited(s->waiters, out);
        if (locked)
            stripe_unlock(s);
    }
    uint64_t seen = 0, stale = 0;
    for (uint32_t db = 0; db < e->config.databases; db++) {
        seen += samples[db].count;
        stale += samples[db].stale;
        out->databases[db].ttl_ms_avg = samples[db].count ? samples[db].ttl_ms / samples[db].count : 0;
    }
    mem_free(samples);
    out->stale_percent = seen ? (double)stale * 100 / (double)seen : 0;
}

void keyspace_release(struct keyspace *k) { mem_free(k->databases); }
