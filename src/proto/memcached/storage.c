/* storage.c -- store, delta, deadlines over the engine's items. */
#include "proto/memcached/storage.h"

#include "base/number.h"
#include "engine/engine.h"
#include "engine/events.h"
#include "engine/keys.h"
#include "engine/strings.h"
#include "os/thread.h"
#include "proto/memcached/memcached.h"
#include "proto/memcached/numbers.h"
#include "proto/memcached/watch.h"

#define RELATIVE_MAX_S (60 * 60 * 24 * 30) /* more is unix time */

uint64_t memcached_deadline(uint64_t now_ms, int64_t exptime)
{
    if (exptime == 0)
        return 0;
    if (exptime < 0)
        return 1;
    return exptime <= RELATIVE_MAX_S ? now_ms + (uint64_t)exptime * 1000 : (uint64_t)exptime * 1000;
}

uint64_t memcached_ttl(uint64_t now_ms, uint64_t deadline_ms)
{
    return deadline_ms > now_ms ? (deadline_ms - now_ms + 999) / 1000 : 0;
}

static const struct key *key_of(const struct call *c) { return call_key(c, 0); }

static inline status looked(struct call *c, const struct key *k, const struct item *item, status s)
{
    if (HF_UNLIKELY(s == HF_OK && item->expired))
        memcached_count(&memcached_counts(c)->get_expired);
    if (memcached_observes(WATCH_FETCHERS) && s == HF_OK)
        watch_item_get(c, k->name, item);
    return s;
}

status memcached_find(struct call *c, const struct key *k, struct item *item) { return looked(c, k, item, item_get(c->txn, k, item)); }
status memcached_use(struct call *c, const struct key *k, struct item *item) { return looked(c, k, item, item_use(c->txn, k, item)); }

static void tell_stored(struct call *c, const char *what, uint64_t deadline_ms)
{
    if (deadline_ms && deadline_ms <= txn_now_ms(c->txn)) {
        txn_event(c->txn, key_of(c), EVENT_GENERIC, "del");
        return;
    }
    txn_event(c->txn, key_of(c), EVENT_STRING, what);
    if (deadline_ms)
        txn_event(c->txn, key_of(c), EVENT_GENERIC, "expire");
}

static status put(struct call *c, const struct storing *s, const struct item_fields *given, uint64_t *version)
{
    struct item_fields fields = *given;
    fields.version = s->new_version;
    fields.versioned = s->wants_version;
    status result = item_put(c->txn, key_of(c), s->value, &fields, version);
    if (result != HF_OK)
        return result;
    memcached_count(&memcached_counts(c)->total_items);
    tell_stored(c, "set", fields.deadline_ms);
    return HF_OK;
}

/* Joined, the value would be no item any more: not stored, as memcached has it. */
static status join(struct call *c, const struct storing *s, const struct item *old, enum store_result *result, uint64_t *version)
{
    struct txn *t = c->txn;
    size_t total = old->value.size + s->value.size;
    if (!memcached_item_fits(key_of(c)->name.size, total, old->flags))
        return HF_OK;
    if (s->mode == STORE_APPEND) {
        bool versioned = s->wants_version || s->new_version || old->version;
        status joined = string_append(t, key_of(c), s->value, &total);
        *version = s->new_version ? s->new_version : item_version_next(txn_engine(t));
        if (joined == HF_OK && versioned)
            joined = item_mark(t, key_of(c), *version, 0);
        if (joined != HF_OK)
            return joined;
        memcached_count(&memcached_counts(c)->total_items);
        txn_event(t, key_of(c), EVENT_STRING, "append");
    } else {
        uint8_t *text = arena_alloc(txn_arena(t), total + 1);
        memcpy(text, s->value.data, s->value.size);
        memcpy(text + s->value.size, old->value.data, old->value.size);
        struct storing whole = *s;
        whole.value = bytes_of(text, total);
        status joined = put(c, &whole, &(struct item_fields){.flags = old->flags, .deadline_ms = old->deadline_ms}, version);
        if (joined != HF_OK)
            return joined;
    }
    *result = STORED;
    return HF_OK;
}

static status compare_and_set(struct call *c, const struct storing *s, const struct item *old, enum store_result *result, uint64_t *version)
{
    struct memcached_counts *counts = memcached_counts(c);
    struct item_fields fields = {.flags = s->flags, .deadline_ms = memcached_deadline(txn_now_ms(c->txn), s->exptime)};
    struct storing versioned = *s;
    versioned.wants_version = true; /* it is compared again soon */
    if (!old->found) {
        memcached_count(&counts->cas_misses);
        *result = MISSING;
        return HF_OK;
    }
    bool same = s->cas && old->version == s->cas, older = s->takes_older && s->cas && item_is_younger(txn_engine(c->txn), old, s->cas);
    if (!same && !older) {
        memcached_count(&counts->cas_badval);
        *result = EXISTS;
        return HF_OK;
    }
    if (!same) {
        fields.deadline_ms = old->deadline_ms;
        fields.marks = ITEM_STALE | (old->marks & ITEM_CLAIMED);
    }
    memcached_count(&counts->cas_hits);
    *result = STORED;
    return put(c, &versioned, &fields, version);
}

static status store(struct call *c, const struct storing *s, enum store_result *result, uint64_t *version)
{
    struct item old = {0};
    struct item_fields fields = {.flags = s->flags, .deadline_ms = memcached_deadline(txn_now_ms(c->txn), s->exptime)};
    *result = NOT_STORED;
    *version = 0;
    memcached_count(&memcached_counts(c)->cmd_set);
    if (s->mode == STORE_SET && !memcached_observes(WATCH_FETCHERS)) {
        *result = STORED;
        return put(c, s, &fields, version);
    }
    status found = memcached_find(c, key_of(c), &old);
    if (found != HF_OK)
        return found;
    switch (s->mode) {
    case STORE_ADD:
        if (old.found)
            return HF_OK;
        break;
    case STORE_REPLACE:
        if (!old.found)
            return HF_OK;
        break;
    case STORE_SET:
        break;
    case STORE_CAS:
        return compare_and_set(c, s, &old, result, version);
    default:
        if (old.found && s->cas && s->cas != old.version)
            *result = EXISTS;
        return !old.found || *result == EXISTS ? HF_OK : join(c, s, &old, result, version);
    }
    *result = STORED;
    return put(c, s, &fields, version);
}

static void tell_of_store(struct call *c, const char *word, enum store_mode mode, size_t size, uint64_t deadline_ms)
{
    static const char *const names[] = {[STORE_SET] = "set", [STORE_ADD] = "add", [STORE_REPLACE] = "replace",
                                        [STORE_APPEND] = "append", [STORE_PREPEND] = "prepend", [STORE_CAS] = "cas"};
    watch_item_store(c, key_of(c)->name, &(struct watched_store){word, names[mode], memcached_ttl(txn_now_ms(c->txn), deadline_ms), size, true});
}

status memcached_store(struct call *c, const struct storing *s, enum store_result *result, uint64_t *version)
{
    static const char *const words[] = {[STORED] = "stored", [NOT_STORED] = "not_stored", [EXISTS] = "exists", [MISSING] = "not_found"};
    status done = store(c, s, result, version);
    if (!memcached_observes(WATCH_MUTATIONS) || done != HF_OK)
        return done;
    struct item item = {0};
    uint64_t deadline_ms = memcached_deadline(txn_now_ms(c->txn), s->exptime);
    bool joined = *result == STORED && (s->mode == STORE_APPEND || s->mode == STORE_PREPEND);
    if (joined && item_get(c->txn, key_of(c), &item) == HF_OK && item.found)
        tell_of_store(c, words[*result], s->mode, item.value.size, item.deadline_ms);
    else
        tell_of_store(c, words[*result], s->mode, s->value.size, deadline_ms);
    return done;
}

status memcached_refuse_large(struct call *c, const char *command)
{
    struct item item;
    memcached_count(&memcached_counts(c)->store_too_large);
    if (memcached_observes(WATCH_MUTATIONS))
        watch_item_store(c, key_of(c)->name, &(struct watched_store){"too_large", command, 0, 0, false});
    if (!bytes_equal(bytes_str(command), BYTES("set")))
        return HF_OK;
    status found = memcached_find(c, key_of(c), &item);
    if (found == HF_OK)
        memcached_remove(c, key_of(c));
    return found;
}

status memcached_begin_number(struct call *c, uint64_t value, const struct item_fields *fields, uint64_t *version)
{
    char text[NUMBER_TEXT_MAX];
    struct item item;
    size_t size = number_format_uint(text, value);
    if (memcached_observes(WATCH_FETCHERS)) { /* as an add looks first */
        status found = memcached_find(c, key_of(c), &item);
        if (found != HF_OK)
            return found;
    }
    status s = item_put(c->txn, key_of(c), bytes_of(text, size), fields, version);
    if (s == HF_OK)
        memcached_count(&memcached_counts(c)->total_items);
    if (memcached_observes(WATCH_MUTATIONS) && s == HF_OK)
        tell_of_store(c, "stored", STORE_ADD, size, fields->deadline_ms);
    return s;
}

/* Digits that are fewer than before leave spaces behind them, as they do in memcached. */
static bytes digits_of(struct call *c, uint64_t value, size_t width)
{
    char *text = arena_alloc(txn_arena(c->txn), width > NUMBER_TEXT_MAX ? width : NUMBER_TEXT_MAX);
    size_t size = number_format_uint(text, value);
    if (size < width)
        memset(text + size, ' ', width - size);
    return bytes_of(text, size < width ? width : size);
}

status memcached_delta(struct call *c, const struct delta *d, enum delta_result *result, uint64_t *value, uint64_t *version)
{
    struct item old = {0};
    uint64_t number;
    struct memcached_counts *counts = memcached_counts(c);
    status s = memcached_find(c, key_of(c), &old);
    if (s != HF_OK)
        return s;
    *version = 0;
    if (!old.found) {
        if (!d->begins)
            memcached_count(d->down ? &counts->decr_misses : &counts->incr_misses);
        *result = DELTA_MISSING;
        return HF_OK;
    }
    if (old.value.size && d->cas && d->cas != old.version) {
        *result = DELTA_EXISTS;
        return HF_OK;
    }
    if (!memcached_u64(old.value, &number)) {
        *result = DELTA_NOT_NUMBER;
        return HF_OK;
    }
    memcached_count(d->down ? &counts->decr_hits : &counts->incr_hits);
    *value = !d->down ? number + d->amount : d->amount > number ? 0 : number - d->amount;
    bytes digits = digits_of(c, *value, old.value.size);
    bool same_place = digits.size == old.value.size;
    if (!same_place)
        memcached_count(&counts->total_items);
    struct item_fields fields = {.flags = old.flags, .deadline_ms = old.deadline_ms, .version = d->new_version,
                                 .versioned = d->wants_version, .marks = same_place ? old.marks : 0,
                                 .fetched = same_place && old.fetched};
    s = item_put(c->txn, key_of(c), digits, &fields, version);
    if (s != HF_OK)
        return s;
    *result = DELTA_OK;
    txn_event(c->txn, key_of(c), EVENT_STRING, d->down ? "decrby" : "incrby");
    return HF_OK;
}

void memcached_set_deadline(struct call *c, const struct key *k, uint64_t deadline_ms)
{
    bool changed = deadline_ms ? key_set_deadline(c->txn, k, deadline_ms, 0) : key_persist(c->txn, k);
    if (!changed)
        return;
    txn_event(c->txn, k, EVENT_GENERIC, !deadline_ms ? "persist" : deadline_ms <= txn_now_ms(c->txn) ? "del" : "expire");
}

void memcached_remove(struct call *c, const struct key *k)
{
    if (key_remove(c->txn, k))
        txn_event(c->txn, k, EVENT_GENERIC, "del");
}

/* ---- counts ---- */

static struct memcached_counts all[WORKERS_MAX];
static struct spin zero_lock;
static struct memcached_counts zero; /* guarded by zero_lock */

struct memcached_counts *memcached_counts(const struct call *c) { return &all[c->session->worker]; }
void memcached_count_no_memory(const struct session *s) { memcached_count(&all[s->worker].store_no_memory); }

#define COUNTERS (sizeof(struct memcached_counts) / sizeof(uint64_t))

static void sum(uint64_t out[COUNTERS])
{
    memset(out, 0, COUNTERS * sizeof(*out));
    for (unsigned w = 0; w < WORKERS_MAX; w++) {
        const _Atomic uint64_t *counters = &all[w].cmd_get;
        for (size_t i = 0; i < COUNTERS; i++)
            out[i] += atomic_load_explicit(&counters[i], memory_order_relaxed);
    }
}

void memcached_counts_sum(struct memcached_counts *out)
{
    uint64_t now[COUNTERS];
    sum(now);
    spin_lock(&zero_lock);
    _Atomic uint64_t *to = &out->cmd_get;
    const _Atomic uint64_t *before = &zero.cmd_get;
    for (size_t i = 0; i < COUNTERS; i++)
        atomic_init(&to[i], now[i] - atomic_load_explicit(&before[i], memory_order_relaxed));
    spin_unlock(&zero_lock);
}

void memcached_counts_reset(void)
{
    uint64_t now[COUNTERS];
    sum(now);
    spin_lock(&zero_lock);
    _Atomic uint64_t *before = &zero.cmd_get;
    for (size_t i = 0; i < COUNTERS; i++)
        atomic_store_explicit(&before[i], now[i], memory_order_relaxed);
    spin_unlock(&zero_lock);
}
