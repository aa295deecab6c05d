/* sort.c -- SORT and SORT_RO: the elements of a list, set or sorted set in the order of numbers or texts.
 *
 * A row per element: the element, and what it is compared by (itself, or the value of a key that BY names).
 * Keys of BY and GET are not declared: they are locked as they are met (exec_script.h), so every function that
 * looks one up may ask for a restart, and everything lives in the transaction's arena until then.
 */
#include "cmd/args.h"
#include "cmd/exec_script.h"
#include "cmd/handlers.h"
#include "engine/events.h"
#include "engine/keys.h"
#include "engine/objects.h"
#include "engine/strings.h"
#include "types/hash.h"
#include "types/list.h"
#include "types/set.h"
#include "types/zset.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

struct sort_row {
    bytes element;
    bytes by; /* alpha only */
    bool by_absent;
    double score;
};

struct sort {
    struct call *call;
    bool descending, alpha, dont_sort, limited, has_by, stores, read_only;
    bytes by;
    const bytes *gets[64];
    const bytes **more_gets; /* == gets while they fit */
    size_t get_count;
    int64_t offset, count;
    const struct key *destination;
    bytes destination_name;
    struct sort_row *rows;
    size_t row_count;
    bool restart, not_number;
};

/* ---- words ---- */

static void add_get(struct sort *s, const bytes *pattern)
{
    if (s->get_count == sizeof(s->gets) / sizeof(s->gets[0]) && s->more_gets == s->gets) {
        s->more_gets = arena_alloc(txn_arena(s->call->txn), s->call->argc * sizeof(*s->more_gets));
        memcpy(s->more_gets, s->gets, sizeof(s->gets));
    }
    s->more_gets[s->get_count++] = pattern;
}

static bool take_words(struct sort *s)
{
    struct call *c = s->call;
    for (size_t i = 2; i < c->argc; i++) {
        bytes word = c->argv[i];
        size_t left = c->argc - i - 1;
        if (bytes_is_word(word, "ASC")) {
            s->descending = false;
        } else if (bytes_is_word(word, "DESC")) {
            s->descending = true;
        } else if (bytes_is_word(word, "ALPHA")) {
            s->alpha = true;
        } else if (bytes_is_word(word, "LIMIT") && left >= 2) {
            if (!arg_int(c, i + 1, &s->offset) || !arg_int(c, i + 2, &s->count))
                return false;
            s->limited = true;
            i += 2;
        } else if (!s->read_only && bytes_is_word(word, "STORE") && left >= 1) {
            s->stores = true;
            s->destination_name = c->argv[++i];
        } else if (bytes_is_word(word, "BY") && left >= 1) {
            s->has_by = true;
            s->by = c->argv[++i];
            s->dont_sort |= !memchr(s->by.data, '*', s->by.size);
        } else if (bytes_is_word(word, "GET") && left >= 1) {
            add_get(s, &c->argv[++i]);
        } else {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return false;
        }
    }
    for (size_t i = 1; s->stores && i < c->key_count; i++) {
        if (bytes_equal(c->keys[i].name, s->destination_name))
            s->destination = &c->keys[i];
    }
    hf_assert(!s->stores || s->destination);
    return true;
}

/* ---- keys of patterns ---- */

/* "weight_*->field" with an element in the star's place. False: no star. */
static bool substitute(struct sort *s, bytes pattern, bytes element, bytes *key, bytes *field)
{
    const uint8_t *star = pattern.size ? memchr(pattern.data, '*', pattern.size) : NULL;
    if (!star)
        return false;
    size_t before = (size_t)(star - pattern.data), after = pattern.size - before - 1;
    *field = bytes_of(NULL, 0);
    for (size_t i = 0; i + 2 < after; i++) { /* the field has at least one byte */
        if (star[1 + i] == '-' && star[2 + i] == '>') {
            *field = bytes_of(star + i + 3, after - i - 2);
            after = i;
            break;
        }
    }
    uint8_t *name = arena_alloc(txn_arena(s->call->txn), before + element.size + after + 1);
    memcpy(name, pattern.data, before);
    if (element.size)
        memcpy(name + before, element.data, element.size);
    memcpy(name + before + element.size, star + 1, after);
    *key = bytes_of(name, before + element.size + after);
    return true;
}

/* What a pattern names for an element. False: nothing there, or s->restart. The value lives until the next change. */
static bool look_up(struct sort *s, bytes pattern, bytes element, bytes *value)
{
    struct call *c = s->call;
    struct key key;
    bytes name, field;
    if (pattern.size == 1 && pattern.data[0] == '#') {
        *value = element;
        return true;
    }
    if (!substitute(s, pattern, element, &name, &field))
        return false;
    txn_locate(txn_engine(c->txn), c->session->db, name, &key);
    if (call_lock_key(c, &key) == SCRIPT_RESTART) {
        s->restart = true;
        return false;
    }
    if (field.size) {
        const void *hash;
        return object_view(c->txn, &key, TYPE_HASH, &hash) == HF_OK && hash && hash_get(hash, field, value);
    }
    struct text text;
    if (string_get(c->txn, &key, &text) != HF_OK || !text.found)
        return false;
    *value = (const char *)text.view.data == text.digits ? arena_dup(txn_arena(c->txn), text.view) : text.view;
    return true;
}

/* ---- rows ---- */

static void add_row(struct sort *s, bytes element)
{
    s->rows[s->row_count++] = (struct sort_row){.element = element};
}

static void rows_of_list(struct sort *s, const struct list *l)
{
    struct list_cursor cursor;
    bytes value;
    bool backwards = s->dont_sort && s->descending;
    uint64_t count = list_count(l);
    for (bool more = count && list_seek(l, backwards ? count - 1 : 0, &cursor, &value); more;
         more = backwards ? list_previous(&cursor, &value) : list_next(&cursor, &value))
        add_row(s, value);
}

static void rows_of_set(struct sort *s, const struct set *set)
{
    struct set_cursor cursor = {0};
    bytes member;
    while (set_next(set, &cursor, &member)) {
        bool digits = (const char *)member.data >= cursor.digits && (const char *)member.data < cursor.digits + sizeof(cursor.digits);
        add_row(s, digits ? arena_dup(txn_arena(s->call->txn), member) : member);
    }
}

static void rows_of_zset(struct sort *s, const struct zset *z)
{
    struct zset_cursor cursor;
    struct scored one;
    bool backwards = s->dont_sort && s->descending;
    uint64_t count = zset_count(z);
    for (bool more = count && zset_seek(z, backwards ? count - 1 : 0, &cursor, &one); more;
         more = backwards ? zset_previous(&cursor, &one) : zset_next(&cursor, &one))
        add_row(s, one.member);
}

/* False: the error was replied. */
static bool take_rows(struct sort *s)
{
    struct call *c = s->call;
    struct arena *arena = txn_arena(c->txn);
    struct key_info info;
    const void *object;
    key_info(c->txn, &c->keys[0], &info);
    if (!info.found)
        return true;
    if (info.type != TYPE_LIST && info.type != TYPE_SET && info.type != TYPE_ZSET) {
        reply_status(c->reply, HF_ERR_WRONGTYPE);
        return false;
    }
    if (arg_refused(c, object_view(c->txn, &c->keys[0], (enum type)info.type, &object)))
        return false;
    if (info.type == TYPE_LIST) {
        s->rows = arena_alloc(arena, (list_count(object) + 1) * sizeof(*s->rows));
        rows_of_list(s, object);
    } else if (info.type == TYPE_SET) {
        /* what is stored or seen by a script does not hang on the order of a set */
        if (s->dont_sort && (s->stores || call_in_script(c)))
            s->dont_sort = s->has_by = false, s->alpha = true;
        s->rows = arena_alloc(arena, (set_count(object) + 1) * sizeof(*s->rows));
        rows_of_set(s, object);
    } else {
        s->rows = arena_alloc(arena, (zset_count(object) + 1) * sizeof(*s->rows));
        rows_of_zset(s, object);
    }
    return true;
}

static bool read_score(bytes text, double *score)
{
    char copy[512];
    if (text.size >= sizeof(copy))
        return false;
    if (text.size)
        memcpy(copy, text.data, text.size);
    copy[text.size] = 0;
    char *end;
    errno = 0;
    *score = strtod(copy, &end);
    return *end == 0 && errno != ERANGE && !isnan(*score);
}

static void weigh(struct sort *s)
{
    for (size_t i = 0; i < s->row_count && !s->restart; i++) {
        struct sort_row *row = &s->rows[i];
        bytes value = row->element;
        row->by_absent = s->has_by && !look_up(s, s->by, row->element, &value);
        if (row->by_absent)
            continue;
        row->by = value;
        if (!s->alpha && !read_score(value, &row->score))
            s->not_number = true;
    }
}

static int compare_rows(const void *a, const void *b)
{
    const struct sort_row *one = a, *other = b;
    if (one->score != other->score)
        return one->score < other->score ? -1 : 1;
    return bytes_compare(one->element, other->element);
}

static int compare_texts(const void *a, const void *b)
{
    const struct sort_row *one = a, *other = b;
    if (one->by_absent || other->by_absent)
        return (int)other->by_absent - (int)one->by_absent;
    return bytes_compare(one->by, other->by);
}

static int compare_rows_down(const void *a, const void *b) { return compare_rows(b, a); }
static int compare_texts_down(const void *a, const void *b) { return compare_texts(b, a); }

static void order_rows(struct sort *s)
{
    if (s->row_count < 2)
        return;
    if (s->alpha)
        qsort(s->rows, s->row_count, sizeof(*s->rows), s->descending ? compare_texts_down : compare_texts);
    else
        qsort(s->rows, s->row_count, sizeof(*s->rows), s->descending ? compare_rows_down : compare_rows);
}

static void cut(struct sort *s)
{
    if (!s->limited)
        return;
    size_t first = s->offset < 0 ? 0 : (uint64_t)s->offset < s->row_count ? (size_t)s->offset : s->row_count;
    size_t left = s->row_count - first;
    s->rows += first;
    s->row_count = s->count < 0 || (uint64_t)s->count > left ? left : (size_t)s->count;
}

/* ---- results ---- */

static void reply_rows(struct sort *s)
{
    struct reply *r = s->call->reply;
    reply_array(r, s->row_count * (s->get_count ? s->get_count : 1));
    for (size_t i = 0; i < s->row_count; i++) {
        if (!s->get_count)
            reply_bulk(r, s->rows[i].element);
        for (size_t k = 0; k < s->get_count; k++) {
            bytes value;
            bool found = look_up(s, *s->more_gets[k], s->rows[i].element, &value);
            if (s->restart)
                return;
            if (found)
                reply_bulk(r, value);
            else
                reply_null(r);
        }
    }
}

/* NULL: restart. */
static void *list_of_rows(struct sort *s)
{
    void *list = list_ops.create();
    struct buf change;
    buf_init(&change, SIZE_MAX);
    size_t per_row = s->get_count ? s->get_count : 1;
    bytes *values = arena_alloc(txn_arena(s->call->txn), per_row * sizeof(*values));
    for (size_t i = 0; i < s->row_count && !s->restart; i++) {
        values[0] = s->rows[i].element;
        for (size_t k = 0; k < s->get_count && !s->restart; k++) {
            if (!look_up(s, *s->more_gets[k], s->rows[i].element, &values[k]))
                values[k] = BYTES("");
        }
        change.size = 0;
        list_change_push(&change, LIST_TAIL, values, per_row);
        status applied = list_ops.apply(list, bytes_of(change.data, change.size));
        hf_assert(applied == HF_OK);
    }
    buf_release(&change);
    if (s->restart) {
        list_ops.free(list);
        return NULL;
    }
    return list;
}

static void store_rows(struct sort *s)
{
    struct call *c = s->call;
    bool removed;
    size_t count = s->row_count * (s->get_count ? s->get_count : 1);
    void *list = list_of_rows(s);
    if (!list || arg_refused(c, object_store(c->txn, s->destination, TYPE_LIST, list, &removed)))
        return;
    if (count)
        txn_event(c->txn, s->destination, EVENT_LIST, "sortstore");
    else if (removed)
        txn_event(c->txn, s->destination, EVENT_GENERIC, "del");
    reply_int(c->reply, (int64_t)count);
}

static void sort(struct call *c, bool read_only)
{
    struct sort s = {.call = c, .read_only = read_only, .count = -1};
    s.more_gets = s.gets;
    if (!take_words(&s) || !take_rows(&s))
        return;
    if (!s.dont_sort) {
        weigh(&s);
        if (s.restart)
            return;
        if (s.not_number) {
            reply_errorf(c->reply, "ERR One or more scores can't be converted into double");
            return;
        }
        order_rows(&s);
    }
    cut(&s);
    if (s.stores)
        store_rows(&s);
    else
        reply_rows(&s);
}

void cmd_sort(struct call *c) { sort(c, false); }
void cmd_sort_ro(struct call *c) { sort(c, true); }
