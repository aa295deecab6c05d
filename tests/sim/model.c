/* model.c -- the naive database: arrays, no threads, no disk.
 *
 * A key whose deadline has passed at now_ms is absent; when the operation writes, it is removed
 * first, as the product does. An operation that would change something calls `writes`, which refuses
 * in a read (may_write false): the check uses that to catch a command that changed something
 * without a log record.
 */
#include "sim.h"

#include "base/number.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct run { struct model *m; unsigned db; const bytes *argv; size_t argc; struct buf *out; };

/* ---- values ---- */

static void text_set(struct text *t, const void *data, size_t size)
{
    char *copy = malloc(size + 1);
    hf_assert(copy);
    if (size)
        memcpy(copy, data, size);
    free(t->data);
    *t = (struct text){copy, size};
}

static void text_clear(struct text *t)
{
    free(t->data);
    *t = (struct text){0};
}

static void value_clear(struct value *v)
{
    text_clear(&v->string);
    for (unsigned i = 0; i < SIM_FIELDS; i++)
        text_clear(&v->fields[i]);
    *v = (struct value){0};
}

static void value_copy(struct value *to, const struct value *from)
{
    value_clear(to);
    to->kind = from->kind;
    to->deadline_ms = from->deadline_ms;
    if (from->string.data)
        text_set(&to->string, from->string.data, from->string.size);
    for (unsigned i = 0; i < SIM_FIELDS; i++) {
        if (from->fields[i].data)
            text_set(&to->fields[i], from->fields[i].data, from->fields[i].size);
    }
}

void model_copy(struct model *to, const struct model *from)
{
    struct value values[SIM_DBS_MAX][SIM_KEYS_MAX];
    memcpy(values, to->values, sizeof(values));
    *to = *from;
    memcpy(to->values, values, sizeof(values));
    for (unsigned d = 0; d < SIM_DBS_MAX; d++) {
        for (unsigned k = 0; k < SIM_KEYS_MAX; k++)
            value_copy(&to->values[d][k], &from->values[d][k]);
    }
}

void model_release(struct model *m)
{
    for (unsigned d = 0; d < SIM_DBS_MAX; d++) {
        for (unsigned k = 0; k < SIM_KEYS_MAX; k++)
            value_clear(&m->values[d][k]);
    }
}

int model_key(bytes name)
{
    for (int i = 0; i < SIM_KEYS_MAX; i++) {
        if (bytes_equal(name, bytes_str(sim_keys[i])))
            return i;
    }
    return -1;
}

static int field_of(bytes name)
{
    for (int i = 0; i < SIM_FIELDS; i++) {
        if (bytes_equal(name, bytes_str(sim_fields[i])))
            return i;
    }
    return -1;
}

/* May this operation change something? Says so, too. */
static bool writes(struct model *m)
{
    m->wrote = true;
    return m->may_write;
}

bool model_is_expired(const struct model *m, unsigned db, unsigned key)
{
    const struct value *v = &m->values[db][key];
    return v->kind != VALUE_NONE && v->deadline_ms && v->deadline_ms <= m->now_ms;
}

static bool is_alive(const struct model *m, unsigned db, unsigned key)
{
    return m->values[db][key].kind != VALUE_NONE && !model_is_expired(m, db, key);
}

void model_remove(struct model *m, unsigned db, unsigned key)
{
    value_clear(&m->values[db][key]);
    m->touched[db][key] = m->index;
}

void model_sees(struct model *m, unsigned db, unsigned key)
{
    uint64_t touched = m->touched[db][key], mapped = m->mapped[db], last = touched > mapped ? touched : mapped;
    m->seen = last > m->seen ? last : m->seen;
}

/* The value as the operation sees it; one that has expired is gone. */
static struct value *look(struct model *m, unsigned db, unsigned key)
{
    static struct value nothing;
    struct value *v = &m->values[db][key];
    model_sees(m, db, key);
    if (model_is_expired(m, db, key)) {
        if (!m->may_write)
            return &nothing;
        model_remove(m, db, key);
    }
    return v;
}

static struct value *at(struct run *r, size_t word)
{
    return look(r->m, r->db, (unsigned)model_key(r->argv[word]));
}

static void touch(struct run *r, unsigned db, size_t word)
{
    r->m->touched[db][model_key(r->argv[word])] = r->m->index;
}

/* ---- replies ---- */

static void say(struct run *r, const char *text)
{
    buf_append(r->out, text, strlen(text));
    buf_append(r->out, "\r\n", 2);
}

static void say_number(struct run *r, char mark, int64_t n)
{
    char line[32];
    snprintf(line, sizeof(line), "%c%" PRId64, mark, n);
    say(r, line);
}

static void say_text(struct run *r, const struct text *t)
{
    if (!t->data) {
        say(r, "$-1");
        return;
    }
    say_number(r, '$', (int64_t)t->size);
    buf_append(r->out, t->data, t->size);
    buf_append(r->out, "\r\n", 2);
}

static bool wrong_type(struct run *r, const struct value *v, enum value_kind kind)
{
    if (v->kind == VALUE_NONE || v->kind == kind)
        return false;
    say(r, "-WRONGTYPE Operation against a key holding the wrong kind of value");
    return true;
}

/* ---- strings ---- */

static void put_string(struct run *r, size_t word, bytes value, uint64_t deadline_ms)
{
    struct value *v = at(r, word);
    value_clear(v);
    v->kind = VALUE_STRING;
    v->deadline_ms = deadline_ms;
    text_set(&v->string, value.data, value.size);
    touch(r, r->db, word);
}

static void run_get(struct run *r)
{
    struct value *v = at(r, 1);
    if (!wrong_type(r, v, VALUE_STRING))
        say_text(r, &v->string);
}

static int64_t number_of(bytes word)
{
    char line[32];
    snprintf(line, sizeof(line), "%.*s", (int)word.size, (const char *)word.data);
    return strtoll(line, NULL, 10);
}

static void run_set(struct run *r)
{
    uint64_t deadline = 0;
    bool nx = false, xx = false, exists = at(r, 1)->kind != VALUE_NONE;
    for (size_t i = 3; i < r->argc; i++) {
        nx |= bytes_is_word(r->argv[i], "NX");
        xx |= bytes_is_word(r->argv[i], "XX");
        if (bytes_is_word(r->argv[i], "PX"))
            deadline = r->m->now_ms + (uint64_t)number_of(r->argv[++i]);
    }
    if ((nx && exists) || (xx && !exists)) {
        say(r, "$-1");
        return;
    }
    if (!writes(r->m))
        return;
    put_string(r, 1, r->argv[2], deadline);
    say(r, "+OK");
}

static void run_mget(struct run *r)
{
    static const struct text nothing;
    say_number(r, '*', (int64_t)r->argc - 1);
    for (size_t i = 1; i < r->argc; i++) {
        struct value *v = at(r, i);
        say_text(r, v->kind == VALUE_STRING ? &v->string : &nothing);
    }
}

static void run_mset(struct run *r)
{
    if (!writes(r->m))
        return;
    for (size_t i = 1; i + 1 < r->argc; i += 2)
        put_string(r, i, r->argv[i + 1], 0);
    say(r, "+OK");
}

static void run_append(struct run *r)
{
    struct value *v = at(r, 1);
    if (wrong_type(r, v, VALUE_STRING))
        return;
    if (!writes(r->m))
        return;
    size_t size = v->string.size;
    char *joined = malloc(size + r->argv[2].size + 1);
    hf_assert(joined);
    if (size)
        memcpy(joined, v->string.data, size);
    memcpy(joined + size, r->argv[2].data, r->argv[2].size);
    free(v->string.data);
    v->kind = VALUE_STRING;
    v->string = (struct text){joined, size + r->argv[2].size};
    touch(r, r->db, 1);
    say_number(r, ':', (int64_t)v->string.size);
}

static void run_incr(struct run *r)
{
    struct value *v = at(r, 1);
    int64_t n = 0;
    if (wrong_type(r, v, VALUE_STRING))
        return;
    if (v->kind && !number_parse_int(bytes_of(v->string.data, v->string.size), &n)) {
        say(r, "-ERR value is not an integer or out of range");
        return;
    }
    if (!writes(r->m))
        return;
    char line[32];
    text_set(&v->string, line, (size_t)snprintf(line, sizeof(line), "%" PRId64, n + 1));
    v->kind = VALUE_STRING;
    touch(r, r->db, 1);
    say_number(r, ':', n + 1);
}

static void run_getdel(struct run *r)
{
    struct value *v = at(r, 1);
    if (wrong_type(r, v, VALUE_STRING))
        return;
    if (v->kind && !writes(r->m))
        return;
    say_text(r, &v->string);
    if (v->kind)
        model_remove(r->m, r->db, (unsigned)model_key(r->argv[1]));
}

/* ---- hashes ---- */

static void run_hset(struct run *r)
{
    struct value *v = at(r, 1);
    int64_t fresh = 0;
    if (wrong_type(r, v, VALUE_HASH))
        return;
    if (!writes(r->m))
        return;
    for (size_t i = 2; i + 1 < r->argc; i += 2) {
        struct text *f = &v->fields[field_of(r->argv[i])];
        fresh += !f->data;
        text_set(f, r->argv[i + 1].data, r->argv[i + 1].size);
    }
    v->kind = VALUE_HASH;
    touch(r, r->db, 1);
    say_number(r, ':', fresh);
}

static void run_hdel(struct run *r)
{
    struct value *v = at(r, 1);
    int64_t gone = 0, left = 0;
    if (wrong_type(r, v, VALUE_HASH))
        return;
    for (size_t i = 2; i < r->argc; i++)
        gone += v->fields[field_of(r->argv[i])].data != NULL;
    if (gone && !writes(r->m))
        return;
    gone = 0;
    for (size_t i = 2; i < r->argc; i++) {
        struct text *f = &v->fields[field_of(r->argv[i])];
        gone += f->data != NULL;
        text_clear(f);
    }
    for (unsigned i = 0; i < SIM_FIELDS; i++)
        left += v->fields[i].data != NULL;
    if (gone)
        touch(r, r->db, 1);
    if (gone && !left)
        value_clear(v);
    say_number(r, ':', gone);
}

static void run_hmget(struct run *r)
{
    struct value *v = at(r, 1);
    if (wrong_type(r, v, VALUE_HASH))
        return;
    say_number(r, '*', (int64_t)r->argc - 2);
    for (size_t i = 2; i < r->argc; i++)
        say_text(r, &v->fields[field_of(r->argv[i])]);
}

/* ---- keys ---- */

static void run_del(struct run *r)
{
    int64_t gone = 0;
    for (size_t i = 1; i < r->argc; i++) {
        if (at(r, i)->kind == VALUE_NONE)
            continue;
        if (!writes(r->m))
            return;
        model_remove(r->m, r->db, (unsigned)model_key(r->argv[i]));
        gone++;
    }
    say_number(r, ':', gone);
}

static void run_exists(struct run *r)
{
    int64_t there = 0;
    for (size_t i = 1; i < r->argc; i++)
        there += at(r, i)->kind != VALUE_NONE;
    say_number(r, ':', there);
}

static void run_pexpire(struct run *r)
{
    struct value *v = at(r, 1);
    if (v->kind == VALUE_NONE) {
        say(r, ":0");
        return;
    }
    if (!writes(r->m))
        return;
    int64_t ms = number_of(r->argv[2]);
    touch(r, r->db, 1);
    if (ms <= 0)
        value_clear(v);
    else
        v->deadline_ms = r->m->now_ms + (uint64_t)ms;
    say(r, ":1");
}

static void run_persist(struct run *r)
{
    struct value *v = at(r, 1);
    if (v->kind == VALUE_NONE || !v->deadline_ms) {
        say(r, ":0");
        return;
    }
    if (!writes(r->m))
        return;
    v->deadline_ms = 0;
    touch(r, r->db, 1);
    say(r, ":1");
}

static void run_pexpiretime(struct run *r)
{
    struct value *v = at(r, 1);
    say_number(r, ':', v->kind == VALUE_NONE ? -2 : v->deadline_ms ? (int64_t)v->deadline_ms : -1);
}

/* The value moves or is copied to another place; what was there is gone. */
static void place_value(struct run *r, struct value *from, unsigned db, unsigned key)
{
    struct value copy = {0};
    value_copy(&copy, from);
    model_remove(r->m, db, key);
    r->m->values[db][key] = copy;
}

static void run_rename(struct run *r)
{
    struct value *v = at(r, 1);
    unsigned from = (unsigned)model_key(r->argv[1]), to = (unsigned)model_key(r->argv[2]);
    if (v->kind == VALUE_NONE) {
        say(r, "-ERR no such key");
        return;
    }
    if (from != to) {
        if (!writes(r->m))
            return;
        place_value(r, v, r->db, to);
        model_remove(r->m, r->db, from);
    }
    say(r, "+OK");
}

static void run_move(struct run *r)
{
    unsigned key = (unsigned)model_key(r->argv[1]), db = (unsigned)number_of(r->argv[2]);
    if (db == r->db) {
        say(r, "-ERR source and destination objects are the same");
        return;
    }
    bool taken = look(r->m, db, key)->kind != VALUE_NONE;
    struct value *v = taken ? NULL : at(r, 1);
    if (taken || v->kind == VALUE_NONE) {
        say(r, ":0");
        return;
    }
    if (!writes(r->m))
        return;
    place_value(r, v, db, key);
    model_remove(r->m, r->db, key);
    say(r, ":1");
}

/* ---- databases ---- */

static void run_flushdb(struct run *r)
{
    struct model *m = r->m;
    if (!writes(m))
        return;
    for (unsigned k = 0; k < SIM_KEYS_MAX; k++) {
        if (m->values[r->db][k].kind != VALUE_NONE)
            model_remove(m, r->db, k);
    }
    m->mapped[r->db] = m->index;
    say(r, "+OK");
}

static void run_swapdb(struct run *r)
{
    struct model *m = r->m;
    unsigned a = (unsigned)number_of(r->argv[1]), b = (unsigned)number_of(r->argv[2]);
    if (a != b && !writes(m))
        return;
    for (unsigned k = 0; k < SIM_KEYS_MAX && a != b; k++) {
        struct value *x = &m->values[a][k], *y = &m->values[b][k], swap = *x;
        bool there = x->kind != VALUE_NONE || y->kind != VALUE_NONE;
        if (is_alive(m, a, k) || is_alive(m, b, k))
            m->touched[a][k] = m->touched[b][k] = m->index;
        else if (there || m->touched[a][k] == m->index || m->touched[b][k] == m->index)
            m->perhaps[a][k] = m->perhaps[b][k] = m->index;
        *x = *y;
        *y = swap;
    }
    if (a != b)
        m->mapped[a] = m->mapped[b] = m->index;
    say(r, "+OK");
}

static void run_watch(struct run *r)
{
    for (size_t i = 1; i < r->argc; i++)
        (void)at(r, i); /* an expired one goes */
    say(r, "+OK");
}

/* ---- the door ---- */

static const struct { const char *name; void (*run)(struct run *r); } rows[] = {
    {"GET", run_get}, {"SET", run_set}, {"MGET", run_mget}, {"MSET", run_mset},
    {"APPEND", run_append}, {"INCR", run_incr}, {"GETDEL", run_getdel},
    {"HSET", run_hset}, {"HDEL", run_hdel}, {"HMGET", run_hmget},
    {"DEL", run_del}, {"EXISTS", run_exists}, {"PEXPIRE", run_pexpire},
    {"PERSIST", run_persist}, {"PEXPIRETIME", run_pexpiretime}, {"RENAME", run_rename},
    {"MOVE", run_move}, {"FLUSHDB", run_flushdb}, {"SWAPDB", run_swapdb},
    {"WATCH", run_watch},
};

static int row_of(bytes name)
{
    for (int i = 0; i < (int)(sizeof(rows) / sizeof(rows[0])); i++) {
        if (bytes_is_word(name, rows[i].name))
            return i;
    }
    return -1;
}

bool model_run(struct model *m, unsigned db, const bytes *argv, size_t argc, struct buf *reply)
{
    struct run r = {m, db, argv, argc, reply};
    int row = row_of(argv[0]);
    if (row < 0)
        return false;
    rows[row].run(&r);
    return true;
}
