/* string.c -- string commands: words to operations of engine/strings.h.
 *
 * Check order is Redis': words first, then the key's type, unless a comment says
 * otherwise. A handler that stops at a status half-way through several keys counts
 * on exec to undo the command.
 */
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "cmd/large_value.h"
#include "engine/events.h"
#include "engine/keys.h"
#include "engine/strings.h"

static inline void event(struct call *c, size_t key, enum event_class class, const char *name)
{
    txn_event(c->txn, call_key(c, key), class, name);
}

static inline void set_events(struct call *c, size_t key, const struct set_options *o)
{
    event(c, key, EVENT_STRING, "set");
    if (o->deadline_ms)
        event(c, key, EVENT_GENERIC, "expire");
}

static void reply_part(struct call *c, const struct text *text, size_t offset, size_t size)
{
    reply_rope(c->reply, &(struct rope_part){.rope = text->rope, .offset = offset, .size = size, .goes_on = call_piece_goes_on, .context = c});
}

/* False: it ends here (call_goes_on), and nothing may change any more. */
static inline bool reply_text_of(struct call *c, const struct text *text)
{
    if (HF_LIKELY(text->view.data != NULL)) {
        reply_bulk(c->reply, text->view);
    } else if (text->found) {
        reply_part(c, text, 0, text->view.size);
        return !call_gave_up(c);
    } else {
        reply_null(c->reply);
    }
    return true;
}

void cmd_get(struct call *c)
{
    struct text text;
    if (!arg_refused(c, string_look(c->txn, call_key(c, 0), &text)))
        reply_text_of(c, &text);
}

/* ---- SET and GETEX: the words after the value ---- */

struct lifetime_words {
    enum set_when when;
    bool get_old, keep, persist;
    enum expire_unit unit;
    size_t time_at; /* the word with the time */
};

static enum expire_unit unit_of(bytes word)
{
    if (bytes_is_word(word, "EX"))
        return EXPIRE_EX;
    if (bytes_is_word(word, "PX"))
        return EXPIRE_PX;
    if (bytes_is_word(word, "EXAT"))
        return EXPIRE_EXAT;
    return bytes_is_word(word, "PXAT") ? EXPIRE_PXAT : EXPIRE_NONE;
}

/* One option; false: unknown, or against an earlier one. The same one twice is fine, the last counts. */
static bool take_lifetime_word(struct call *c, size_t *index, bool of_set, struct lifetime_words *w)
{
    bytes word = c->argv[*index];
    enum expire_unit unit = unit_of(word);
    if (unit != EXPIRE_NONE) {
        if (*index + 1 >= c->argc || w->keep || w->persist || (w->unit != EXPIRE_NONE && w->unit != unit))
            return false;
        w->unit = unit;
        w->time_at = ++*index;
        return true;
    }
    if (!of_set)
        return bytes_is_word(word, "PERSIST") && w->unit == EXPIRE_NONE && (w->persist = true);
    if (bytes_is_word(word, "NX") && w->when != SET_IF_PRESENT)
        w->when = SET_IF_ABSENT;
    else if (bytes_is_word(word, "XX") && w->when != SET_IF_ABSENT)
        w->when = SET_IF_PRESENT;
    else if (bytes_is_word(word, "GET"))
        w->get_old = true;
    else if (bytes_is_word(word, "KEEPTTL") && w->unit == EXPIRE_NONE)
        w->keep = true;
    else
        return false;
    return true;
}

static bool take_lifetime_words(struct call *c, size_t from, bool of_set, struct lifetime_words *w)
{
    for (size_t i = from; i < c->argc; i++) {
        if (!take_lifetime_word(c, &i, of_set, w)) {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static void set_with(struct call *c, bytes value, const struct set_options *o)
{
    struct set_result result;
    if (!value_set(c, 0, value, o, &result))
        return;
    if (result.done)
        set_events(c, 0, o);
    if (o->get_old)
        reply_text_of(c, &result.old);
    else if (result.done)
        reply_ok(c->reply);
    else
        reply_null(c->reply);
}

void cmd_set(struct call *c)
{
    static const struct set_options plain = {0};
    if (HF_LIKELY(c->argc == 3)) {
        struct set_result result;
        if (!value_set(c, 0, c->argv[2], &plain, &result))
            return;
        set_events(c, 0, &plain);
        reply_ok(c->reply);
        return;
    }
    struct lifetime_words w = {0};
    if (!take_lifetime_words(c, 3, true, &w))
        return;
    struct set_options o = {.when = w.when, .keep_deadline = w.keep, .get_old = w.get_old};
    if (w.unit == EXPIRE_NONE || arg_deadline(c, w.unit, w.time_at, &o.deadline_ms))
        set_with(c, c->argv[2], &o);
}

void cmd_getset(struct call *c)
{
    set_with(c, c->argv[2], &(struct set_options){.get_old = true});
}

static void set_for(struct call *c, enum expire_unit unit)
{
    struct set_options o = {0};
    if (arg_deadline(c, unit, 2, &o.deadline_ms))
        set_with(c, c->argv[3], &o);
}

void cmd_setex(struct call *c)
{
    set_for(c, EXPIRE_EX);
}

void cmd_psetex(struct call *c)
{
    set_for(c, EXPIRE_PX);
}

void cmd_setnx(struct call *c)
{
    struct set_result result;
    if (!value_set(c, 0, c->argv[2], &(struct set_options){.when = SET_IF_ABSENT}, &result))
        return;
    if (result.done)
        event(c, 0, EVENT_STRING, "set");
    reply_int(c->reply, result.done);
}

void cmd_getdel(struct call *c)
{
    struct text text;
    if (arg_refused(c, string_look(c->txn, call_key(c, 0), &text)))
        return;
    bool goes_on = reply_text_of(c, &text); /* copied before the text goes */
    if (goes_on && text.found && key_remove(c->txn, call_key(c, 0)))
        event(c, 0, EVENT_GENERIC, "del");
}

/* The time is looked at only when the key is there: GETEX absent EX 0 replies null. */
void cmd_getex(struct call *c)
{
    struct lifetime_words w = {0};
    struct text text;
    uint64_t deadline_ms = 0;
    if (!take_lifetime_words(c, 2, false, &w) || arg_refused(c, string_look(c->txn, call_key(c, 0), &text)))
        return;
    if (text.found && w.unit != EXPIRE_NONE && !arg_deadline(c, w.unit, w.time_at, &deadline_ms))
        return;
    if (!reply_text_of(c, &text) || !text.found)
        return;
    if (deadline_ms && key_set_deadline(c->txn, call_key(c, 0), deadline_ms, 0))
        event(c, 0, EVENT_GENERIC, deadline_ms <= txn_now_ms(c->txn) ? "del" : "expire");
    else if (w.persist && key_persist(c->txn, call_key(c, 0)))
        event(c, 0, EVENT_GENERIC, "persist");
}

/* ---- several keys ---- */

void cmd_mget(struct call *c)
{
    reply_array(c->reply, c->key_count);
    for (size_t i = 0; i < c->key_count && call_goes_on(c, 2); i++) {
        struct text text;
        call_near(c, i);
        if (string_look(c->txn, call_key(c, i), &text) != HF_OK)
            reply_null(c->reply); /* another type counts as absent */
        else
            reply_text_of(c, &text);
    }
}

static bool set_pairs(struct call *c)
{
    static const struct set_options plain = {0};
    for (size_t i = 0; i < c->key_count; i++) {
        struct set_result result;
        call_near(c, i);
        if (!call_goes_on(c, 4) || !value_set(c, i, c->argv[2 * i + 2], &plain, &result))
            return false;
        set_events(c, i, &plain);
    }
    return true;
}

void cmd_mset(struct call *c)
{
    if (c->argc % 2 == 0)
        arg_wrong_count(c);
    else if (set_pairs(c))
        reply_ok(c->reply);
}

void cmd_msetnx(struct call *c)
{
    if (c->argc % 2 == 0) {
        arg_wrong_count(c);
        return;
    }
    for (size_t i = 0; i < c->key_count; i++) {
        if (!call_goes_on(c, 2))
            return;
        call_near(c, i);
        if (key_exists(c->txn, call_key(c, i))) {
            reply_int(c->reply, 0);
            return;
        }
    }
    if (set_pairs(c))
        reply_int(c->reply, 1);
}

/* ---- parts of a string ---- */

void cmd_append(struct call *c)
{
    size_t size;
    if (arg_refused(c, string_append(c->txn, call_key(c, 0), c->argv[2], &size)))
        return;
    event(c, 0, EVENT_STRING, "append");
    reply_int(c->reply, (int64_t)size);
}

void cmd_strlen(struct call *c)
{
    struct text text;
    if (!arg_refused(c, string_look(c->txn, call_key(c, 0), &text)))
        reply_int(c->reply, text.found ? (int64_t)text.view.size : 0);
}

void cmd_setrange(struct call *c)
{
    int64_t offset;
    size_t size;
    if (!arg_int(c, 2, &offset))
        return;
    if (offset < 0)
        reply_status(c->reply, HF_ERR_OFFSET);
    else if (!arg_refused(c, string_set_range(c->txn, call_key(c, 0), (uint64_t)offset, c->argv[3], &size))) {
        if (c->argv[3].size)
            event(c, 0, EVENT_STRING, "setrange");
        reply_int(c->reply, (int64_t)size);
    }
}

/* Negative offsets count from the end; both are then cut to the text. Returns how many bytes from *start on. */
static size_t clip(int64_t size, int64_t *from, int64_t end)
{
    int64_t start = *from;
    if (start < 0 && end < 0 && start > end)
        return 0;
    if (start < 0)
        start = start < -size ? 0 : start + size;
    if (end < 0)
        end = end < -size ? 0 : end + size;
    if (end >= size)
        end = size - 1;
    *from = start;
    return start > end || size == 0 ? 0 : (size_t)(end - start + 1);
}

void cmd_getrange(struct call *c)
{
    int64_t start, end;
    struct text text;
    if (!arg_int(c, 2, &start) || !arg_int(c, 3, &end) ||
        arg_refused(c, string_look(c->txn, call_key(c, 0), &text)))
        return;
    size_t size = clip((int64_t)text.view.size, &start, end);
    if (size == 0)
        reply_bulk(c->reply, BYTES(""));
    else if (text.view.data)
        reply_bulk(c->reply, bytes_of(text.view.data + start, size));
    else
        reply_part(c, &text, (size_t)start, size);
}

/* ---- numbers ---- */

static inline void incr_by(struct call *c, int64_t delta)
{
    int64_t result;
    if (arg_refused(c, string_incr_by(c->txn, call_key(c, 0), delta, &result)))
        return;
    event(c, 0, EVENT_STRING, "incrby");
    reply_int(c->reply, result);
}

void cmd_incr(struct call *c)
{
    incr_by(c, 1);
}

void cmd_decr(struct call *c)
{
    incr_by(c, -1);
}

void cmd_incrby(struct call *c)
{
    int64_t delta;
    if (arg_int(c, 2, &delta))
        incr_by(c, delta);
}

void cmd_decrby(struct call *c)
{
    int64_t delta;
    if (!arg_int(c, 2, &delta))
        return;
    if (delta == INT64_MIN)
        reply_status(c->reply, HF_ERR_DECR_OVERFLOW);
    else
        incr_by(c, -delta);
}

/* The key's type is refused before the increment is. */
void cmd_incrbyfloat(struct call *c)
{
    long double delta;
    bytes result;
    struct text text;
    if (!number_parse_float(c->argv[2], &delta)) {
        if (!arg_refused(c, string_peek(c->txn, call_key(c, 0), &text)))
            reply_status(c->reply, HF_ERR_NOT_FLOAT);
        return;
    }
    if (arg_refused(c, string_incr_float(c->txn, call_key(c, 0), delta, &result)))
        return;
    event(c, 0, EVENT_STRING, "incrbyfloat");
    reply_bulk(c->reply, result);
}

/* With GET it reads, too. */
const char *set_key_use(const bytes *argv, size_t argc)
{
    for (size_t i = 3; i < argc; i++) {
        if (bytes_is_word(argv[i], "GET"))
            return "RW access update";
    }
    return "OW update";
}
