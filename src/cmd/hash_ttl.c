/* hash_ttl.c -- deadlines of hash fields: HEXPIRE and its kin, HTTL and its kin, HPERSIST, HGETEX, HSETEX, HGETDEL.
 *
 * What is due is gone before a handler sees the hash (engine/objects.h), so an absent field and an expired one are the same here.
 * A deadline that lies in the past removes the field at once. Replies, texts and events are those of Redis 8.0's documentation.
 */
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/feed.h"
#include "cmd/handlers.h"
#include "engine/events.h"
#include "engine/hashes.h"
#include "types/field_times.h"

enum { NO_FIELD = -2, NO_DEADLINE = -1, REFUSED = 0, DONE = 1, REMOVED = 2 };
enum condition { ALWAYS, IF_NONE, IF_ANY, IF_LATER, IF_EARLIER };

/* "FIELDS numfields field ..." */
struct field_words {
    size_t first, count, stride; /* the first field's word; from a field to the next */
};

/* What a command did to its hash, to be told once at its end. */
struct outcome { size_t expire, persist, removed; };

/* ---- words ---- */

/* Word `at` is FIELDS; all words behind the count are its fields. */
static bool take_last_fields(struct call *c, size_t at, const char *count_error, struct field_words *f)
{
    int64_t count;
    if (!bytes_is_word(c->argv[at], "FIELDS")) {
        reply_errorf(c->reply, "ERR Mandatory argument FIELDS is missing or not at the right position");
        return false;
    }
    if (at + 1 >= c->argc || !number_parse_int(c->argv[at + 1], &count) || count < 1) {
        reply_error_line(c->reply, count_error);
        return false;
    }
    *f = (struct field_words){at + 2, (size_t)count, 1};
    if ((uint64_t)count == c->argc - at - 2)
        return true;
    reply_errorf(c->reply, "ERR The `numfields` parameter must match the number of arguments");
    return false;
}

/* A time as a word says it, in unix ms; one in the past is fine. */
static bool take_time(struct call *c, size_t at, enum expire_unit unit, uint64_t *deadline_ms)
{
    int64_t value, scale = unit == EXPIRE_EX || unit == EXPIRE_EXAT ? 1000 : 1;
    int64_t base = unit == EXPIRE_EX || unit == EXPIRE_PX ? (int64_t)txn_now_ms(c->txn) : 0;
    if (!arg_int(c, at, &value))
        return false;
    if (value < 0)
        reply_errorf(c->reply, "ERR invalid expire time, must be >= 0");
    else if (value > (int64_t)FIELD_TIME_MAX / scale || value * scale > (int64_t)FIELD_TIME_MAX - base)
        reply_errorf(c->reply, "ERR invalid expire time in '%s' command", c->command->full_name);
    else {
        *deadline_ms = (uint64_t)(value * scale + base);
        return true;
    }
    return false;
}

static bytes field_at(const struct call *c, const struct field_words *f, size_t i)
{
    return c->argv[f->first + i * f->stride];
}

static bool has_field(const struct object_ref *o, bytes field, bytes *value)
{
    return o->object && hash_get(o->object, field, value);
}

static bool find_hash(struct call *c, struct object_ref *o)
{
    return !arg_refused(c, hashes_find(c->txn, call_key(c, 0), o));
}

/* ---- changes ---- */

static void drop(struct call *c, struct object_ref *o, bytes field, struct outcome *done)
{
    hashes_drop_field(c->txn, o, field);
    if (call_is_fed(c))
        CALL_FEED(c, BYTES("HDEL"), o->key->name, field);
    done->removed++;
}

/* Gives a field that is there its deadline; in the past: removes it. */
static int expire_field(struct call *c, struct object_ref *o, bytes field, uint64_t deadline_ms, struct outcome *done)
{
    if (deadline_ms <= txn_now_ms(c->txn)) {
        drop(c, o, field, done);
        return REMOVED;
    }
    hashes_set_deadline(c->txn, o, field, deadline_ms);
    done->expire++;
    return DONE;
}

static void persist_field(struct call *c, struct object_ref *o, bytes field, struct outcome *done)
{
    if (!hash_field_deadline(o->object, field))
        return;
    hashes_set_deadline(c->txn, o, field, 0);
    done->persist++;
}

/* Tells what happened, and removes the key of an empty hash. */
static void finish(struct call *c, struct object_ref *o, const struct outcome *done)
{
    if (done->expire)
        txn_event(c->txn, o->key, EVENT_HASH, "hexpire");
    if (done->persist)
        txn_event(c->txn, o->key, EVENT_HASH, "hpersist");
    if (done->removed)
        txn_event(c->txn, o->key, EVENT_HASH, "hdel");
    if (done->removed && object_close(c->txn, o))
        txn_event(c->txn, o->key, EVENT_GENERIC, "del");
}

/* ---- HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT ---- */

static enum condition take_condition(bytes word)
{
    static const struct { const char *word; enum condition condition; } words[] = {{"NX", IF_NONE}, {"XX", IF_ANY}, {"GT", IF_LATER}, {"LT", IF_EARLIER}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (bytes_is_word(word, words[i].word))
            return words[i].condition;
    }
    return ALWAYS;
}

/* A field without a deadline lives for ever. */
static bool holds(enum condition condition, uint64_t old, uint64_t deadline_ms)
{
    switch (condition) {
    case IF_NONE:
        return old == 0;
    case IF_ANY:
        return old != 0;
    case IF_LATER:
        return old && deadline_ms > old;
    case IF_EARLIER:
        return !old || deadline_ms < old;
    default:
        return true;
    }
}

static void hexpire(struct call *c, enum expire_unit unit)
{
    struct object_ref o;
    struct field_words f;
    struct outcome done = {0};
    uint64_t deadline_ms;
    if (!take_time(c, 2, unit, &deadline_ms))
        return;
    enum condition condition = take_condition(c->argv[3]);
    if (!take_last_fields(c, condition == ALWAYS ? 3 : 4, "ERR Parameter `numFields` should be greater than 0", &f) || !find_hash(c, &o))
        return;
    reply_array(c->reply, f.count);
    for (size_t i = 0; i < f.count; i++) {
        bytes field = field_at(c, &f, i), value;
        int result = NO_FIELD;
        if (has_field(&o, field, &value))
            result = holds(condition, hash_field_deadline(o.object, field), deadline_ms) ? expire_field(c, &o, field, deadline_ms, &done) : REFUSED;
        reply_int(c->reply, result);
    }
    finish(c, &o, &done);
}

void cmd_hexpire(struct call *c) { hexpire(c, EXPIRE_EX); }
void cmd_hpexpire(struct call *c) { hexpire(c, EXPIRE_PX); }
void cmd_hexpireat(struct call *c) { hexpire(c, EXPIRE_EXAT); }
void cmd_hpexpireat(struct call *c) { hexpire(c, EXPIRE_PXAT); }

/* ---- HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME, HPERSIST ---- */

#define ANY_COUNT_ERROR "ERR Number of fields must be a positive integer"

static void httl(struct call *c, bool relative, uint64_t unit_ms)
{
    const struct hash *hash;
    struct field_words f;
    if (!take_last_fields(c, 2, ANY_COUNT_ERROR, &f) || arg_refused(c, hashes_view(c->txn, call_key(c, 0), &hash)))
        return;
    reply_array(c->reply, f.count);
    for (size_t i = 0; i < f.count; i++) {
        bytes field = field_at(c, &f, i), value;
        uint64_t deadline = hash ? hash_field_deadline(hash, field) : 0;
        if (!hash || !hash_get(hash, field, &value))
            reply_int(c->reply, NO_FIELD);
        else if (!deadline)
            reply_int(c->reply, NO_DEADLINE);
        else
            reply_int(c->reply, (int64_t)((deadline - (relative ? txn_now_ms(c->txn) : 0) + unit_ms - 1) / unit_ms));
    }
}

void cmd_httl(struct call *c) { httl(c, true, 1000); }
void cmd_hpttl(struct call *c) { httl(c, true, 1); }
void cmd_hexpiretime(struct call *c) { httl(c, false, 1000); }
void cmd_hpexpiretime(struct call *c) { httl(c, false, 1); }

void cmd_hpersist(struct call *c)
{
    struct object_ref o;
    struct field_words f;
    struct outcome done = {0};
    if (!take_last_fields(c, 2, ANY_COUNT_ERROR, &f) || !find_hash(c, &o))
        return;
    reply_array(c->reply, f.count);
    for (size_t i = 0; i < f.count; i++) {
        bytes field = field_at(c, &f, i), value;
        size_t before = done.persist;
        bool found = has_field(&o, field, &value);
        if (found)
            persist_field(c, &o, field, &done);
        reply_int(c->reply, !found ? NO_FIELD : done.persist == before ? NO_DEADLINE : DONE);
    }
    finish(c, &o, &done);
}

/* ---- HGETDEL, HGETEX, HSETEX ---- */

static void reply_value(struct call *c, bool found, bytes value)
{
    if (found)
        reply_bulk(c->reply, value);
    else
        reply_null(c->reply);
}

void cmd_hgetdel(struct call *c)
{
    struct object_ref o;
    struct field_words f;
    struct outcome done = {0};
    if (!take_last_fields(c, 2, ANY_COUNT_ERROR, &f) || !find_hash(c, &o))
        return;
    reply_array(c->reply, f.count);
    for (size_t i = 0; i < f.count; i++) {
        bytes field = field_at(c, &f, i), value = BYTES("");
        bool found = has_field(&o, field, &value);
        reply_value(c, found, value);
        if (found)
            drop(c, &o, field, &done);
    }
    finish(c, &o, &done);
}

/* The options of HGETEX and HSETEX, on either side of the fields. */
struct ex_options {
    struct field_words fields;
    enum expire_unit unit;
    uint64_t deadline_ms;
    bool persist, keep, if_none, if_all;
};

static enum expire_unit unit_of(bytes word)
{
    static const struct { const char *word; enum expire_unit unit; } words[] = {
        {"EX", EXPIRE_EX}, {"PX", EXPIRE_PX}, {"EXAT", EXPIRE_EXAT}, {"PXAT", EXPIRE_PXAT}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (bytes_is_word(word, words[i].word))
            return words[i].unit;
    }
    return EXPIRE_NONE;
}

static bool take_fields(struct call *c, size_t at, struct field_words *f)
{
    int64_t count;
    if (f->count)
        reply_errorf(c->reply, "ERR FIELDS argument can only be specified once");
    else if (at + 1 >= c->argc || !number_parse_int(c->argv[at + 1], &count) || count < 1 || count > INT32_MAX)
        reply_errorf(c->reply, "ERR invalid number of fields");
    else if ((uint64_t)count * f->stride > c->argc - at - 2)
        reply_errorf(c->reply, f->stride == 2 ? "ERR wrong number of arguments" : "ERR The `numfields` parameter must match the number of arguments");
    else {
        f->first = at + 2;
        f->count = (size_t)count;
        return true;
    }
    return false;
}

/* One option; 0: the error was replied, else how many words it takes. */
static size_t take_ex_option(struct call *c, size_t at, bool sets, struct ex_options *x)
{
    bytes word = c->argv[at];
    enum expire_unit unit = unit_of(word);
    bool keep = sets && bytes_is_word(word, "KEEPTTL"), persist = !sets && bytes_is_word(word, "PERSIST");
    if (bytes_is_word(word, "FIELDS"))
        return take_fields(c, at, &x->fields) ? 2 + x->fields.count * x->fields.stride : 0;
    if (sets && (bytes_is_word(word, "FNX") || bytes_is_word(word, "FXX"))) {
        bool none = bytes_is_word(word, "FNX");
        if (x->if_none || x->if_all) {
            reply_errorf(c->reply, "ERR Only one of FXX or FNX arguments can be specified");
            return 0;
        }
        *(none ? &x->if_none : &x->if_all) = true;
        return 1;
    }
    if (!unit && !keep && !persist) {
        reply_errorf(c->reply, "ERR unknown argument: " WORD_FORMAT, WORD(word));
        return 0;
    }
    if (x->unit || x->keep || x->persist) {
        reply_errorf(c->reply, "ERR Only one of EX, PX, EXAT, PXAT or %s arguments can be specified", sets ? "KEEPTTL" : "PERSIST");
        return 0;
    }
    x->keep = keep;
    x->persist = persist;
    x->unit = unit;
    if (!unit)
        return 1;
    if (at + 1 < c->argc)
        return take_time(c, at + 1, unit, &x->deadline_ms) ? 2 : 0;
    reply_status(c->reply, HF_ERR_SYNTAX);
    return 0;
}

static bool take_ex_options(struct call *c, bool sets, struct ex_options *x)
{
    *x = (struct ex_options){.fields.stride = sets ? 2 : 1};
    for (size_t at = 2, taken; at < c->argc; at += taken) {
        taken = take_ex_option(c, at, sets, x);
        if (!taken)
            return false;
    }
    if (!x->fields.count)
        reply_errorf(c->reply, "ERR missing FIELDS argument");
    return x->fields.count > 0;
}

void cmd_hgetex(struct call *c)
{
    struct object_ref o;
    struct ex_options x;
    struct outcome done = {0};
    if (!take_ex_options(c, false, &x) || !find_hash(c, &o))
        return;
    reply_array(c->reply, x.fields.count);
    for (size_t i = 0; i < x.fields.count; i++) {
        bytes field = field_at(c, &x.fields, i), value = BYTES("");
        bool found = has_field(&o, field, &value);
        reply_value(c, found, value);
        if (found && x.unit)
            expire_field(c, &o, field, x.deadline_ms, &done);
        else if (found && x.persist)
            persist_field(c, &o, field, &done);
    }
    finish(c, &o, &done);
}

static bool fields_allow(const struct call *c, const struct ex_options *x, const struct object_ref *o)
{
    for (size_t i = 0; i < x->fields.count; i++) {
        bytes value;
        bool found = has_field(o, field_at(c, &x->fields, i), &value);
        if ((x->if_none && found) || (x->if_all && !found))
            return false;
    }
    return true;
}

/* All that can be refused (memory for a new hash) is refused by the first field. */
static bool set_fields(struct call *c, const struct ex_options *x, struct object_ref *o)
{
    for (size_t i = 0; i < x->fields.count; i++) {
        bytes field = field_at(c, &x->fields, i), value = c->argv[x->fields.first + 2 * i + 1];
        if (arg_refused(c, hashes_set_field(c->txn, o, field, value, x->keep)))
            return false;
    }
    return true;
}

/* HSET, which replicas know; that of a field's deadline they do not. */
static void say_fields(struct call *c, const struct field_words *f)
{
    bytes *words = arena_alloc(txn_arena(c->txn), (2 + 2 * f->count) * sizeof(*words));
    words[0] = BYTES("HSET");
    words[1] = c->argv[1];
    memcpy(words + 2, c->argv + f->first, 2 * f->count * sizeof(*words));
    call_feed(c, words, 2 + 2 * f->count);
}

void cmd_hsetex(struct call *c)
{
    struct object_ref o;
    struct ex_options x;
    struct outcome done = {0};
    if (!take_ex_options(c, true, &x) || !find_hash(c, &o))
        return;
    if (!fields_allow(c, &x, &o)) {
        reply_int(c->reply, 0);
        return;
    }
    if (!set_fields(c, &x, &o))
        return;
    if (call_is_fed(c))
        say_fields(c, &x.fields);
    txn_event(c->txn, o.key, EVENT_HASH, "hset");
    for (size_t i = 0; x.unit && i < x.fields.count; i++) {
        bytes field = field_at(c, &x.fields, i), value;
        if (has_field(&o, field, &value)) /* named twice: it may be gone already */
            expire_field(c, &o, field, x.deadline_ms, &done);
    }
    finish(c, &o, &done);
    reply_int(c->reply, 1);
}
