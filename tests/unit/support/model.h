/* model.h -- random transactions on the library, and a naive model that knows what they should have left.
 *
 * One model per thread, on keys of its own. After every transaction the digests of all its
 * keys go to `history`; `tried` is the last entry, `acked` the last one whose
 * hf_commit returned 0 (which also vouches for those before: the log is a prefix). What a
 * reopened store holds must be one whole row of the history, between the last acked and
 * the last tried. A row that matches in part is half a transaction.
 *
 * Include after holdfast.h (or small_library.h).
 */
#ifndef HF_TEST_MODEL_H
#define HF_TEST_MODEL_H

#include "base/assert.h"
#include "base/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MODEL __attribute__((unused)) static
#define MODEL_KEYS 10
#define MODEL_FIELDS 3
#define MODEL_VALUE_MAX (300u << 10)

enum model_kind { MODEL_NONE, MODEL_STRING, MODEL_HASH };
struct model_field { bool there; size_t size; char data[48]; };
struct model_key { enum model_kind kind; bool deadline; char *data; size_t size; struct model_field fields[MODEL_FIELDS]; };

struct model {
    unsigned number;
    uint64_t random;
    bool large;                     /* some values above 64 KiB */
    struct model_key keys[MODEL_KEYS];
    uint64_t (*history)[MODEL_KEYS];
    size_t acked, tried, capacity;
    const char *wrong;              /* an operation answered otherwise than the model */
    char detail[256];
};

enum model_outcome { MODEL_COMMITTED, MODEL_ROLLED_BACK, MODEL_REFUSED, MODEL_UNKNOWN };

MODEL uint64_t model_random(struct model *m, uint64_t below)
{
    uint64_t z = (m->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % below;
}

MODEL uint64_t model_mix(uint64_t h, const void *data, size_t size)
{
    const uint8_t *p = data;
    h = (h ^ size) * 0x100000001b3u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

MODEL uint64_t model_digest(const struct model_key *k)
{
    uint64_t h = 0xcbf29ce484222325u + (uint64_t)k->kind * 2 + k->deadline;
    if (k->kind == MODEL_NONE)
        return 0;
    if (k->kind == MODEL_STRING)
        return model_mix(h, k->data, k->size);
    for (unsigned i = 0; i < MODEL_FIELDS; i++) {
        h = model_mix(h, &i, sizeof(i));
        if (k->fields[i].there)
            h = model_mix(h, k->fields[i].data, k->fields[i].size);
    }
    return h;
}

MODEL void model_key_clear(struct model_key *k)
{
    free(k->data);
    *k = (struct model_key){0};
}

MODEL void model_key_set(struct model_key *k, const void *data, size_t size)
{
    k->data = realloc(k->data, size + 1);
    hf_assert(k->data);
    if (size)
        memcpy(k->data, data, size);
    k->data[k->size = size] = 0;
    k->kind = MODEL_STRING;
}

MODEL struct model_key model_key_copy(const struct model_key *k)
{
    struct model_key copy = *k;
    copy.data = NULL;
    if (k->kind == MODEL_STRING)
        model_key_set(&copy, k->data, k->size);
    return copy;
}

MODEL void model_note(struct model *m)
{
    if (m->tried + 2 > m->capacity) {
        m->capacity = m->capacity ? m->capacity * 2 : 64;
        m->history = realloc(m->history, m->capacity * sizeof(*m->history));
        hf_assert(m->history);
    }
    for (unsigned i = 0; i < MODEL_KEYS; i++)
        m->history[m->tried][i] = model_digest(&m->keys[i]);
}

MODEL void model_init(struct model *m, unsigned number, uint64_t seed)
{
    *m = (struct model){.number = number, .random = seed * 1000003 + number};
    model_note(m);
}

MODEL void model_free(struct model *m)
{
    for (unsigned i = 0; i < MODEL_KEYS; i++)
        model_key_clear(&m->keys[i]);
    free(m->history);
    m->history = NULL;
}

struct model_name { char text[32]; };

MODEL hf_slice model_slice(const void *data, size_t size) { return (hf_slice){data, size}; }
MODEL hf_slice model_text(const char *text) { return model_slice(text, strlen(text)); }

MODEL struct model_name model_name(const struct model *m, unsigned key)
{
    struct model_name n;
    snprintf(n.text, sizeof(n.text), "thread:%u:key:%u", m->number, key);
    return n;
}

MODEL hf_slice model_field(unsigned field)
{
    static const char *const names[MODEL_FIELDS] = {"first", "2", "a field with a longer name"};
    return model_text(names[field]);
}

MODEL void model_wrong(struct model *m, const char *what, unsigned key, hf_status s)
{
    if (m->wrong)
        return;
    m->wrong = what;
    snprintf(m->detail, sizeof(m->detail), "%s on key %u of thread %u: status %d (%s)", what, key, m->number, s, hf_strerror(s));
}

/* --- what the store holds ------------------------------------------------------------- */

MODEL void model_read_key(struct model *m, hf_txn *t, unsigned i, struct model_key *out)
{
    struct model_name name = model_name(m, i);
    hf_slice key = model_text(name.text), value;
    int found = 0, had = 0;
    *out = (struct model_key){0};
    hf_status s = hf_get(t, key, &value, &found);
    if (s == 0 && found)
        model_key_set(out, value.data, value.size);
    if (s == HF_ERR_WRONGTYPE) {
        out->kind = MODEL_HASH;
        for (unsigned f = 0; f < MODEL_FIELDS; f++) {
            s = hf_hash_get(t, key, model_field(f), &value, &found);
            if (s != 0 || (found && value.size > sizeof(out->fields[f].data)))
                model_wrong(m, "hf_hash_get", i, s);
            else if (found)
                memcpy(out->fields[f].data, value.data, out->fields[f].size = value.size);
            out->fields[f].there = found;
        }
    } else if (s != 0) {
        model_wrong(m, "hf_get", i, s);
    }
    s = hf_expire_at(t, key, 0, &had); /* undone by the rollback of whoever reads */
    if (s != 0)
        model_wrong(m, "hf_expire_at", i, s);
    out->deadline = out->kind != MODEL_NONE && had;
}

/* Reads all keys of the thread; false: the store did not let us. */
MODEL bool model_read(struct model *m, hf_db *db, struct model_key out[MODEL_KEYS])
{
    struct model_name names[MODEL_KEYS];
    hf_slice keys[MODEL_KEYS];
    hf_txn *t;
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        names[i] = model_name(m, i);
        keys[i] = model_text(names[i].text);
        out[i] = (struct model_key){0};
    }
    hf_status s = hf_begin(db, keys, MODEL_KEYS, &t);
    if (s != 0) {
        model_wrong(m, "hf_begin", 0, s);
        return false;
    }
    for (unsigned i = 0; i < MODEL_KEYS; i++)
        model_read_key(m, t, i, &out[i]);
    hf_rollback(t);
    return true;
}

/* Is what the store holds a row of the history not below `lowest`? On true *row says which. */
MODEL bool model_matches(struct model *m, const struct model_key now[MODEL_KEYS], size_t lowest, size_t *row)
{
    size_t best = 0, best_same = 0;
    for (size_t r = m->tried + 1; r-- > 0;) {
        size_t same = 0;
        for (unsigned i = 0; i < MODEL_KEYS; i++)
            same += model_digest(&now[i]) == m->history[r][i];
        if (same == MODEL_KEYS && r >= lowest) {
            *row = r;
            return true;
        }
        if (same > best_same) {
            best_same = same;
            best = r;
        }
    }
    m->wrong = "lost or torn";
    snprintf(m->detail, sizeof(m->detail), "thread %u: acked %zu, tried %zu, lowest allowed %zu; nearest is row %zu with %zu of %d keys",
             m->number, m->acked, m->tried, lowest, best, best_same, MODEL_KEYS);
    return false;
}

/* Compares; with `adopt` goes on from what the store holds. */
MODEL bool model_check(struct model *m, hf_db *db, size_t lowest, bool adopt)
{
    struct model_key now[MODEL_KEYS];
    size_t row = 0;
    bool good = model_read(m, db, now) && !m->wrong && model_matches(m, now, lowest, &row);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        if (good && adopt) {
            model_key_clear(&m->keys[i]);
            m->keys[i] = now[i];
        } else {
            model_key_clear(&now[i]);
        }
    }
    if (good && adopt) {
        m->acked = m->tried = 0;
        model_note(m);
    }
    return good;
}

/* --- operations -------------------------------------------------------------------------- */

MODEL bool model_integer(const struct model_key *k, int64_t *value)
{
    char again[32];
    if (k->kind == MODEL_NONE)
        return *value = 0, true;
    if (k->kind != MODEL_STRING || k->size == 0 || k->size > 18)
        return false;
    *value = strtoll(k->data, NULL, 10);
    snprintf(again, sizeof(again), "%" PRId64, *value);
    return strlen(again) == k->size && memcmp(again, k->data, k->size) == 0;
}

MODEL size_t model_some_bytes(struct model *m, char **data)
{
    uint64_t kind = model_random(m, 100);
    size_t size = kind < 70 ? model_random(m, 60) : kind < 98 ? model_random(m, 3000) : 0;
    if (kind >= 98)
        size = m->large ? (60u << 10) + model_random(m, 100u << 10) : model_random(m, 9000);
    *data = malloc(size + 1);
    hf_assert(*data);
    memset(*data, 'a' + (int)model_random(m, 26), size);
    for (size_t i = 0; i < size && i < 64; i++)
        (*data)[i] = (char)('a' + model_random(m, 26));
    return size;
}

MODEL uint64_t model_far(struct model *m)
{
    return ((uint64_t)time(NULL) + 86400 + model_random(m, 86400)) * 1000;
}

/* A failing operation must have changed nothing: the model stays too. */
MODEL void model_op_string(struct model *m, hf_txn *t, hf_slice key, unsigned i, struct model_key *k)
{
    char *data;
    size_t size = model_some_bytes(m, &data);
    bool tail = model_random(m, 3) == 0 && k->size + size < MODEL_VALUE_MAX;
    bool deadline = !tail && model_random(m, 5) == 0;
    hf_status s = tail ? hf_append(t, key, model_slice(data, size))
                       : hf_set(t, key, model_slice(data, size), deadline ? model_far(m) : 0);
    if ((s == 0) != !(tail && k->kind == MODEL_HASH)) {
        model_wrong(m, tail ? "hf_append" : "hf_set", i, s);
    } else if (s == 0 && tail) {
        size_t before = k->kind == MODEL_STRING ? k->size : 0;
        char *both = malloc(before + size + 1);
        hf_assert(both);
        if (before)
            memcpy(both, k->data, before);
        if (size)
            memcpy(both + before, data, size);
        model_key_set(k, both, before + size);
        free(both);
    } else if (s == 0) {
        model_key_clear(k);
        model_key_set(k, data, size);
        k->deadline = deadline;
    }
    free(data);
}

MODEL void model_op_number(struct model *m, hf_txn *t, hf_slice key, unsigned i, struct model_key *k)
{
    int64_t value = 0, delta = (int64_t)model_random(m, 2000) - 1000, result = 0;
    bool good = model_integer(k, &value);
    hf_status s = hf_incr_by(t, key, delta, &result);
    if ((s == 0) != good || (good && result != value + delta)) {
        model_wrong(m, "hf_incr_by", i, s);
    } else if (good) {
        char text[32];
        model_key_set(k, text, (size_t)snprintf(text, sizeof(text), "%" PRId64, result));
    }
}

MODEL void model_op_hash(struct model *m, hf_txn *t, hf_slice key, unsigned i, struct model_key *k)
{
    unsigned f = (unsigned)model_random(m, MODEL_FIELDS);
    struct model_field *field = &k->fields[f];
    if (model_random(m, 3)) {
        char data[48];
        size_t size = model_random(m, sizeof(data) + 1);
        memset(data, 'A' + (int)model_random(m, 26), size);
        hf_status s = hf_hash_set(t, key, model_field(f), model_slice(data, size));
        if ((s == 0) != (k->kind != MODEL_STRING)) {
            model_wrong(m, "hf_hash_set", i, s);
        } else if (s == 0) {
            k->kind = MODEL_HASH;
            field->there = true;
            memcpy(field->data, data, field->size = size);
        }
        return;
    }
    int removed = 0;
    hf_status s = hf_hash_remove(t, key, model_field(f), &removed);
    if ((s == 0) != (k->kind != MODEL_STRING) || (s == 0 && removed != field->there))
        model_wrong(m, "hf_hash_remove", i, s);
    *field = (struct model_field){0};
    bool any = false;
    for (f = 0; f < MODEL_FIELDS; f++)
        any |= k->fields[f].there;
    if (k->kind == MODEL_HASH && !any)
        model_key_clear(k);
}

MODEL void model_op_key(struct model *m, hf_txn *t, hf_slice key, unsigned i, struct model_key *k)
{
    int done = 0;
    if (model_random(m, 2)) {
        hf_status s = hf_remove(t, key, &done);
        if (s != 0 || done != (k->kind != MODEL_NONE))
            model_wrong(m, "hf_remove", i, s);
        model_key_clear(k);
        return;
    }
    bool far = model_random(m, 3);
    hf_status s = hf_expire_at(t, key, far ? model_far(m) : 0, &done);
    if (s != 0 || done != (far ? k->kind != MODEL_NONE : k->deadline))
        model_wrong(m, "hf_expire_at", i, s);
    k->deadline = far && k->kind != MODEL_NONE;
}

MODEL void model_op(struct model *m, hf_txn *t, unsigned i, struct model_key *k)
{
    struct model_name name = model_name(m, i);
    hf_slice key = model_text(name.text);
    uint64_t what = model_random(m, 100);
    if (what < 35)
        model_op_string(m, t, key, i, k);
    else if (what < 50)
        model_op_number(m, t, key, i, k);
    else if (what < 80)
        model_op_hash(m, t, key, i, k);
    else
        model_op_key(m, t, key, i, k);
    if (k->kind != MODEL_HASH) {
        hf_slice value;
        int found = 0;
        hf_status s = hf_get(t, key, &value, &found);
        if (s != 0 || found != (k->kind == MODEL_STRING) ||
            (found && (value.size != k->size || memcmp(value.data, k->data, k->size) != 0)))
            model_wrong(m, "reading one's own change", i, s);
    }
}

/* One transaction of 1 to 5 operations on 1 to 3 keys. percent: of rollbacks. */
MODEL enum model_outcome model_step(struct model *m, hf_db *db, unsigned rollback_percent)
{
    unsigned chosen[3], count = 1 + (unsigned)model_random(m, 3), ops = 1 + (unsigned)model_random(m, 5);
    struct model_name names[3];
    hf_slice keys[3];
    struct model_key after[MODEL_KEYS];
    hf_txn *t;
    for (unsigned i = 0; i < count; i++) {
        chosen[i] = (unsigned)model_random(m, MODEL_KEYS);
        names[i] = model_name(m, chosen[i]);
        keys[i] = model_text(names[i].text);
    }
    hf_status s = hf_begin(db, keys, count, &t);
    if (s != 0)
        return MODEL_REFUSED;
    for (unsigned i = 0; i < MODEL_KEYS; i++)
        after[i] = model_key_copy(&m->keys[i]);
    for (unsigned i = 0; i < ops; i++) {
        unsigned k = chosen[model_random(m, count)];
        model_op(m, t, k, &after[k]);
    }
    bool back = model_random(m, 100) < rollback_percent;
    if (back)
        hf_rollback(t);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        model_key_clear(back ? &after[i] : &m->keys[i]);
        if (!back)
            m->keys[i] = after[i];
    }
    if (back)
        return MODEL_ROLLED_BACK;
    m->tried++;
    model_note(m);
    return hf_commit(t) == 0 ? MODEL_COMMITTED : MODEL_UNKNOWN;
}

#endif
