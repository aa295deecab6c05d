/* stream.c -- streams: adding, reading by range; and what all stream commands share. */
#include "cmd/stream.h"
#include "cmd/stream_feed.h"
#include "cmd/stream_trim.h"

#include "base/number.h"
#include "cmd/handlers.h"
#include "engine/keys.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- ids ---- */

/* Decimal digits, leading zeros too; spaces and one plus may stand before them, as for strtoull. */
static bool parse_part(bytes text, uint64_t *value)
{
    uint64_t result = 0;
    while (text.size && isspace(text.data[0]))
        text = bytes_of(text.data + 1, text.size - 1);
    if (text.size && text.data[0] == '+')
        text = bytes_of(text.data + 1, text.size - 1);
    if (text.size == 0)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        uint64_t digit = (uint64_t)text.data[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(result, 10, &result) || __builtin_add_overflow(result, digit, &result))
            return false;
    }
    *value = result;
    return true;
}

static bool split(bytes word, bytes *ms, bytes *seq)
{
    const uint8_t *dash = word.size ? memchr(word.data, '-', word.size) : NULL;
    *ms = dash ? bytes_of(word.data, (size_t)(dash - word.data)) : word;
    *seq = dash ? bytes_of(dash + 1, word.size - ms->size - 1) : bytes_of(NULL, 0);
    return dash != NULL;
}

bool stream_id_parse(bytes word, uint64_t missing_seq, struct stream_id *id)
{
    bytes ms, seq;
    struct stream_id parsed = {0, missing_seq};
    bool both = split(word, &ms, &seq);
    if (word.size > 127 || !parse_part(ms, &parsed.ms) || (both && !parse_part(seq, &parsed.seq)))
        return false;
    *id = parsed;
    return true;
}

static bool bad_id(struct call *c)
{
    reply_errorf(c->reply, "ERR Invalid stream ID specified as stream command argument");
    return false;
}

bool arg_stream_id(struct call *c, size_t index, struct stream_id *id)
{
    return stream_id_parse(c->argv[index], 0, id) || bad_id(c);
}

static bool take_end(struct call *c, size_t index, bool is_start, struct stream_id *id)
{
    bytes word = c->argv[index];
    bool open = word.size > 1 && word.data[0] == '(';
    if (open)
        word = bytes_of(word.data + 1, word.size - 1);
    if (!open && word.size == 1 && word.data[0] == '-')
        *id = STREAM_ID_MIN;
    else if (!open && word.size == 1 && word.data[0] == '+')
        *id = STREAM_ID_MAX;
    else if (!stream_id_parse(word, is_start ? 0 : UINT64_MAX, id))
        return bad_id(c);
    if (!open || (is_start ? stream_id_next(id) : stream_id_previous(id)))
        return true;
    reply_errorf(c->reply, "ERR invalid %s ID for the interval", is_start ? "start" : "end");
    return false;
}

bool arg_stream_start(struct call *c, size_t index, struct stream_id *start) { return take_end(c, index, true, start); }

bool arg_stream_interval(struct call *c, size_t start_index, size_t end_index, struct stream_id *start, struct stream_id *end)
{
    return arg_stream_start(c, start_index, start) && take_end(c, end_index, false, end);
}

static int compare_ids(const void *a, const void *b)
{
    return stream_id_compare(*(const struct stream_id *)a, *(const struct stream_id *)b);
}

size_t sort_stream_ids(struct stream_id *ids, size_t count)
{
    size_t kept = 0;
    qsort(ids, count, sizeof(*ids), compare_ids);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare_ids(&ids[i], &ids[kept - 1]) != 0)
            ids[kept++] = ids[i];
    }
    return kept;
}

struct stream_id *arg_stream_ids(struct call *c, size_t from, size_t *count)
{
    size_t all = c->argc - from;
    struct stream_id *ids = arena_alloc(txn_arena(c->txn), all * sizeof(*ids));
    for (size_t i = 0; i < all; i++) {
        if (!arg_stream_id(c, from + i, &ids[i]))
            return NULL;
    }
    *count = sort_stream_ids(ids, all);
    return ids;
}

uint64_t stream_interval(const struct stream *s, struct stream_id start, struct stream_id end, uint64_t *count)
{
    uint64_t first = stream_position(s, start);
    uint64_t behind = stream_id_next(&end) ? stream_position(s, end) : stream_count(s);
    *count = behind > first ? behind - first : 0;
    return first;
}

/* ---- replies ---- */

size_t stream_id_text(char text[STREAM_ID_TEXT], struct stream_id id)
{
    size_t size = number_format_uint(text, id.ms);
    text[size++] = '-';
    return size + number_format_uint(text + size, id.seq);
}

void reply_stream_id(struct reply *r, struct stream_id id)
{
    char text[STREAM_ID_TEXT];
    reply_bulk(r, bytes_of(text, stream_id_text(text, id)));
}

void reply_stream_entry(struct reply *r, const struct stream_entry *e)
{
    struct stream_pairs body = e->body;
    bytes field, value;
    reply_array(r, 2);
    reply_stream_id(r, e->id);
    reply_array(r, e->pairs * 2);
    while (stream_pair_next(&body, &field, &value)) {
        reply_bulk(r, field);
        reply_bulk(r, value);
    }
}

void reply_stream_entries(struct call *c, const struct stream *s, uint64_t position, uint64_t count, bool backwards)
{
    struct stream_cursor cursor;
    struct stream_entry e;
    reply_array(c->reply, count);
    bool more = count && stream_seek(s, position, &cursor, &e);
    for (; count > 0 && more && call_goes_on(c, 2); count--) {
        reply_stream_entry(c->reply, &e);
        more = backwards ? stream_previous(&cursor, &e) : stream_next(&cursor, &e);
    }
}

/* ---- objects ---- */

bool view_stream(struct call *c, const struct key *k, const struct stream **s)
{
    const void *object = NULL;
    bool fine = !arg_refused(c, object_view(c->txn, k, TYPE_STREAM, &object));
    *s = object;
    return fine;
}

bool find_stream(struct call *c, const struct key *k, struct object_ref *o)
{
    return !arg_refused(c, object_find(c->txn, k, TYPE_STREAM, o));
}

bool read_stream(struct call *c, const struct key *k, struct object_ref *o)
{
    status s = object_find(c->txn, k, TYPE_STREAM, o);
    key_looked_up(c->txn, k, s != HF_OK || o->object);
    return !arg_refused(c, s);
}

bool change_stream(struct call *c, struct object_ref *o, struct buf *change)
{
    bool fine = !arg_refused(c, object_change(c->txn, o, bytes_of(change->data, change->size)));
    change->size = 0;
    return fine;
}

bool change_stream_unwatched(struct call *c, struct object_ref *o, struct buf *change)
{
    bool fine = !arg_refused(c, object_change_unwatched(c->txn, o, bytes_of(change->data, change->size)));
    change->size = 0;
    return fine;
}

struct stream_id stream_first_id(const struct stream *s)
{
    struct stream_cursor cursor;
    struct stream_entry e;
    return stream_seek(s, 0, &cursor, &e) ? e.id : STREAM_ID_MIN;
}

/* ---- XADD ---- */

struct add {
    struct stream_trim trim;
    bool no_create, any_id, any_seq;
    struct stream_id id;
    size_t id_at; /* the word of the id */
};

static bool take_new_id(struct call *c, size_t at, struct add *a)
{
    bytes ms, seq;
    a->id_at = at;
    if (split(c->argv[at], &ms, &seq) && seq.size == 1 && seq.data[0] == '*') {
        a->any_seq = true;
        a->id.seq = 0;
        return (c->argv[at].size <= 127 && parse_part(ms, &a->id.ms)) || bad_id(c);
    }
    return arg_stream_id(c, at, &a->id);
}

static bool take_options(struct call *c, struct add *a)
{
    for (size_t i = 2; i < c->argc && !a->id_at; i++) {
        bytes word = c->argv[i];
        if (word.size == 1 && word.data[0] == '*') {
            a->any_id = true;
            a->id_at = i;
        } else if (is_trim_option(c, i)) {
            if (!take_trim_option(c, &i, &a->trim))
                return false;
        } else if (bytes_is_word(word, "NOMKSTREAM")) {
            a->no_create = true;
        } else if (!take_new_id(c, i, a)) {
            return false;
        }
    }
    return check_trim(c, &a->trim, true);
}

/* The id of the entry to come. False: the error was replied. */
static bool choose_id(struct call *c, const struct add *a, const struct stream *s, struct stream_id *id)
{
    struct stream_id last = s ? stream_state(s)->last : STREAM_ID_MIN;
    bool fits = true;
    if (stream_id_compare(last, STREAM_ID_MAX) == 0) {
        reply_errorf(c->reply, "ERR The stream has exhausted the last possible ID, unable to add more items");
        return false;
    }
    if (a->any_id) {
        *id = (struct stream_id){txn_now_ms(c->txn), 0};
        if (stream_id_compare(*id, last) <= 0) {
            *id = last;
            fits = stream_id_next(id);
        }
    } else if (a->any_seq) {
        *id = (struct stream_id){a->id.ms, a->id.ms == last.ms ? last.seq + 1 : 0};
        fits = a->id.ms > last.ms || (a->id.ms == last.ms && last.seq < UINT64_MAX);
    } else {
        *id = a->id;
        fits = stream_id_compare(*id, last) > 0;
    }
    if (!fits)
        reply_errorf(c->reply, "ERR The ID specified in XADD is equal or smaller than the target stream top item");
    return fits;
}

static void add(struct call *c, const struct add *a, struct buf *change)
{
    struct object_ref o;
    struct stream_id id;
    uint64_t trimmed;
    if (!find_stream(c, call_key(c, 0), &o))
        return;
    if (!o.object && a->no_create) {
        reply_null(c->reply);
        return;
    }
    if (!choose_id(c, a, o.object, &id))
        return;
    size_t first = a->id_at + 1, size = 0;
    for (size_t i = first; i < c->argc; i++)
        size += c->argv[i].size;
    stream_change_add(change, o.object, id, (c->argc - first) / 2, size);
    for (size_t i = first; i < c->argc; i += 2)
        stream_change_pair(change, c->argv[i], c->argv[i + 1]);
    if (!change_stream(c, &o, change))
        return;
    txn_event(c->txn, call_key(c, 0), EVENT_STREAM, "xadd");
    if (!trim_stream(c, &o, &a->trim, change, &trimmed))
        return;
    reply_stream_id(c->reply, id);
    if (call_is_fed(c) && (a->trim.references == REFERENCES_KEEP || !trimmed))
        say_added(c, &o, id, a->id_at, &a->trim);
    else if (call_is_fed(c))
        feed_first_value(c);
}

void cmd_xadd(struct call *c)
{
    struct add a = {0};
    if (!take_options(c, &a))
        return;
    size_t words = a.id_at ? c->argc - a.id_at - 1 : 0;
    if (words < 2 || words % 2) {
        arg_wrong_count(c);
        return;
    }
    if (!a.any_id && !a.any_seq && a.id.ms == 0 && a.id.seq == 0) {
        reply_errorf(c->reply, "ERR The ID specified in XADD must be greater than 0-0");
        return;
    }
    struct buf change;
    buf_init(&change, SIZE_MAX);
    add(c, &a, &change);
    buf_release(&change);
}

/* ---- reading ---- */

void cmd_xlen(struct call *c)
{
    const struct stream *s;
    if (view_stream(c, call_key(c, 0), &s))
        reply_int(c->reply, s ? (int64_t)stream_count(s) : 0);
}

static void range(struct call *c, bool backwards)
{
    struct stream_id start, end;
    const struct stream *s;
    int64_t most = -1;
    if (!arg_stream_interval(c, backwards ? 3 : 2, backwards ? 2 : 3, &start, &end))
        return;
    for (size_t i = 4; i < c->argc; i += 2) {
        if (!bytes_is_word(c->argv[i], "COUNT") || i + 1 == c->argc) {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return;
        }
        if (!arg_int(c, i + 1, &most))
            return;
        most = most < 0 ? 0 : most;
    }
    if (!view_stream(c, call_key(c, 0), &s))
        return;
    if (!s) {
        reply_array(c->reply, 0);
    } else if (most == 0) {
        reply_null_array(c->reply);
    } else {
        uint64_t count, first = stream_interval(s, start, end, &count);
        uint64_t taken = most > 0 && count > (uint64_t)most ? (uint64_t)most : count;
        reply_stream_entries(c, s, backwards ? first + count - 1 : first, taken, backwards);
    }
}

void cmd_xrange(struct call *c) { range(c, false); }
void cmd_xrevrange(struct call *c) { range(c, true); }

/* ---- XSETID ---- */

static bool take_set_id(struct call *c, struct stream_id id, int64_t *added, struct stream_id *deleted)
{
    for (size_t i = 3; i < c->argc; i += 2) {
        bool more = i + 1 < c->argc;
        if (more && bytes_is_word(c->argv[i], "ENTRIESADDED")) {
            if (!arg_int(c, i + 1, added))
                return false;
            if (*added < 0) {
                reply_errorf(c->reply, "ERR entries_added must be positive");
                return false;
            }
        } else if (more && bytes_is_word(c->argv[i], "MAXDELETEDID")) {
            if (!arg_stream_id(c, i + 1, deleted))
                return false;
            if (stream_id_compare(id, *deleted) < 0) {
                reply_errorf(c->reply, "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id");
                return false;
            }
        } else {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

void cmd_xsetid(struct call *c)
{
    struct stream_id id, deleted = STREAM_ID_MIN;
    struct object_ref o;
    struct stream_cursor cursor;
    struct stream_entry newest;
    int64_t added = -1;
    if (!arg_stream_id(c, 2, &id) || !take_set_id(c, id, &added, &deleted) || !find_stream(c, call_key(c, 0), &o))
        return;
    if (!o.object) {
        reply_status(c->reply, HF_ERR_NO_SUCH_KEY);
        return;
    }
    const struct stream *s = o.object;
    uint64_t count = stream_count(s);
    if (count && stream_seek(s, count - 1, &cursor, &newest) && stream_id_compare(id, newest.id) < 0) {
        reply_errorf(c->reply, "ERR The ID specified in XSETID is smaller than the target stream top item");
        return;
    }
    if (added >= 0 && (uint64_t)added < count) {
        reply_errorf(c->reply, "ERR The entries_added specified in XSETID is smaller than the target stream length");
        return;
    }
    const struct stream_state *state = stream_state(s);
    struct buf change;
    buf_init(&change, SIZE_MAX);
    stream_change_set_id(&change, id, added >= 0 ? (uint64_t)added : state->added,
                         deleted.ms || deleted.seq ? deleted : state->max_deleted);
    bool fine = change_stream_unwatched(c, &o, &change);
    buf_release(&change);
    if (!fine)
        return;
    txn_event(c->txn, call_key(c, 0), EVENT_STREAM, "xsetid");
    reply_ok(c->reply);
}
