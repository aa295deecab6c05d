/* library.c -- include/holdfast.h over the engine's transactions.
 *
 * A library transaction always keeps undo, because its user may roll back at any
 * point. It takes log credit for a large record at the start; a transaction whose
 * record outgrows that is still one record, because large records are referenced from
 * the ring. Threads that are no workers share one heap, so a library transaction holds
 * the library's mutex from begin to end: they run one after the other.
 */
#include "../include/holdfast.h"

#include "base/memory.h"
#include "engine/hashes.h"
#include "engine/internal.h"
#include "engine/keys.h"
#include "engine/strings.h"
#include "os/os.h"

#include <stdlib.h>

#define CREDIT (RECORD_DIRECT_MAX + 1024u)
#define CREDIT_WAIT_US 1000u

struct hf_db {
    struct engine *engine;
    struct os_mutex lock; /* held by the open transaction */
    struct txn *txn;
};

struct hf_txn {
    struct hf_db *db;
    struct txn *txn;
    size_t count;
    uint64_t hashes[]; /* of the keys that hf_begin named, ascending */
};

const hf_status HF_INVALID_STATUS = HF_ERR_INVALID;

hf_status hf_open(const hf_options *options, hf_db **out, char *detail, size_t detail_size)
{
    struct engine_config config = {.dir = options->dir, .databases = 16, .workers = 1, .maxmemory = options->maxmemory,
                                   .durability = (enum durability)options->durability, .auto_snapshot = true};
    struct engine *engine;
    status s = engine_open(&config, &engine, detail, detail_size);
    if (s != HF_OK)
        return (hf_status)s;
    hf_db *db = mem_zalloc(sizeof(*db));
    db->engine = engine;
    db->txn = txn_new(engine);
    os_mutex_init(&db->lock);
    *out = db;
    return HF_OK;
}

void hf_close(hf_db *db)
{
    txn_free(db->txn);
    os_mutex_release(&db->lock);
    engine_close(db->engine);
    mem_free(db);
}

hf_status hf_snapshot(hf_db *db)
{
    return (hf_status)engine_snapshot_wait(db->engine);
}

const char *hf_strerror(hf_status s)
{
    return s >= 0 && s < HF_STATUS_COUNT ? status_text((status)s) : "no such status";
}

static bytes view(hf_slice s)
{
    return bytes_of(s.data, s.size);
}

static status take_credit(struct engine *e)
{
    while (e->log && !log_credit_take(e->log, CREDIT)) {
        if (log_state(e->log) == LOG_FULL)
            return HF_ERR_DISK_FULL;
        if (log_state(e->log) == LOG_BROKEN)
            return HF_ERR_LOG_BROKEN;
        log_kick(e->log);
        struct parking pause = {0};
        parking_sleep(&pause, CREDIT_WAIT_US);
    }
    return HF_OK;
}

static int hash_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

hf_status hf_begin(hf_db *db, const hf_slice *keys, size_t count, hf_txn **out)
{
    struct engine *e = db->engine;
    os_mutex_lock(&db->lock);
    status s = take_credit(e);
    if (s != HF_OK) {
        os_mutex_unlock(&db->lock);
        return (hf_status)s;
    }
    uint64_t now = OS.wall_ms(), high = atomic_load(&e->time_high);
    now = now > high ? now : high;
    atomic_store(&e->time_high, now);
    txn_reset(db->txn, now);
    db->txn->undoing = true;
    hf_txn *t = mem_alloc(sizeof(*t) + count * sizeof(t->hashes[0]));
    t->db = db;
    t->txn = db->txn;
    t->count = count;
    for (size_t i = 0; i < count; i++) {
        struct key k;
        txn_locate(e, 0, view(keys[i]), &k);
        txn_lock_add(db->txn, k.stripe);
        t->hashes[i] = k.hash;
    }
    qsort(t->hashes, count, sizeof(t->hashes[0]), hash_compare);
    txn_lock_all_wait(db->txn);
    *out = t;
    return HF_OK;
}

static void finish(hf_txn *t)
{
    if (t->db->engine->log)
        log_credit_return(t->db->engine->log, CREDIT);
    os_mutex_unlock(&t->db->lock);
    mem_free(t);
}

hf_status hf_commit(hf_txn *t)
{
    struct engine *e = t->db->engine;
    status s = HF_OK;
    uint64_t lsn = txn_commit_lsn(t->txn);
    while (databases_free_slice(e, e->spare_heap)) {
    }
    finish(t);
    if (!e->log)
        return HF_OK;
    log_kick(e->log);
    s = e->config.durability == DURABILITY_COMMIT ? log_wait_durable(e->log, lsn) : log_wait_written(e->log, lsn);
    return (hf_status)s;
}

void hf_rollback(hf_txn *t)
{
    txn_rollback_all(t->txn);
    finish(t);
}

static status locate(hf_txn *t, hf_slice name, struct key *k)
{
    txn_locate(t->db->engine, 0, view(name), k);
    if (!bsearch(&k->hash, t->hashes, t->count, sizeof(t->hashes[0]), hash_compare))
        return HF_ERR_INVALID;
    for (size_t i = 0; i < t->txn->locked_count; i++) {
        if (t->txn->locked[i] == k->stripe)
            return HF_OK;
    }
    return HF_ERR_INVALID;
}

static void give(hf_txn *t, bytes value, hf_slice *out)
{
    bytes copy = arena_dup(&t->txn->arena, value);
    *out = (hf_slice){copy.data, copy.size};
}

hf_status hf_get(hf_txn *t, hf_slice key, hf_slice *value, int *found)
{
    struct key k;
    struct text text;
    status s = locate(t, key, &k);
    if (s == HF_OK)
        s = string_get(t->txn, &k, &text);
    if (s != HF_OK)
        return (hf_status)s;
    *found = text.found;
    if (text.found)
        give(t, text.view, value);
    return HF_OK;
}

hf_status hf_set(hf_txn *t, hf_slice key, hf_slice value, uint64_t deadline_ms)
{
    struct key k;
    struct set_options options = {.deadline_ms = deadline_ms};
    struct set_result result;
    status s = locate(t, key, &k);
    return (hf_status)(s == HF_OK ? string_set(t->txn, &k, view(value), &options, &result) : s);
}

hf_status hf_append(hf_txn *t, hf_slice key, hf_slice tail)
{
    struct key k;
    size_t size;
    status s = locate(t, key, &k);
    return (hf_status)(s == HF_OK ? string_append(t->txn, &k, view(tail), &size) : s);
}

hf_status hf_incr_by(hf_txn *t, hf_slice key, int64_t delta, int64_t *result)
{
    struct key k;
    status s = locate(t, key, &k);
    return (hf_status)(s == HF_OK ? string_incr_by(t->txn, &k, delta, result) : s);
}

hf_status hf_remove(hf_txn *t, hf_slice key, int *removed)
{
    struct key k;
    status s = locate(t, key, &k);
    if (s == HF_OK)
        *removed = key_remove(t->txn, &k);
    return (hf_status)s;
}

hf_status hf_expire_at(hf_txn *t, hf_slice key, uint64_t deadline_ms, int *set)
{
    struct key k;
    status s = locate(t, key, &k);
    if (s == HF_OK)
        *set = deadline_ms ? key_set_deadline(t->txn, &k, deadline_ms, 0) : key_persist(t->txn, &k);
    return (hf_status)s;
}

hf_status hf_hash_set(hf_txn *t, hf_slice key, hf_slice field, hf_slice value)
{
    struct key k;
    bool is_new;
    status s = locate(t, key, &k);
    return (hf_status)(s == HF_OK ? hashes_set(t->txn, &k, view(field), view(value), &is_new) : s);
}

hf_status hf_hash_get(hf_txn *t, hf_slice key, hf_slice field, hf_slice *value, int *found)
{
    struct key k;
    const struct hash *h;
    bytes old;
    status s = locate(t, key, &k);
    if (s == HF_OK)
        s = hashes_view(t->txn, &k, &h);
    if (s != HF_OK)
        return (hf_status)s;
    *found = h && hash_get(h, view(field), &old);
    if (*found)
        give(t, old, value);
    return HF_OK;
}

hf_status hf_hash_remove(hf_txn *t, hf_slice key, hf_slice field, int *removed)
{
    struct key k;
    bool was_there = false;
    status s = locate(t, key, &k);
    if (s == HF_OK)
        s = hashes_remove(t->txn, &k, view(field), &was_there);
    if (s == HF_OK)
        *removed = was_there;
    return (hf_status)s;
}
