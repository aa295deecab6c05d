/* sort.c -- SORT and SORT_RO.
 *
 * The keys of BY and GET patterns depend on the elements, so they are locked while the command runs, as a script's are
 * (call_lock_stripes): first all of BY, then, of the elements that are replied, all of GET. A stripe that is busy makes the command
 * run again, holding from the start whatever it touched.
 *
 * Order: by the weight, then, of numbers, by the element's bytes; what is still equal keeps the place it had. ALPHA compares
 * C strings by their bytes (Redis: strcoll in the C locale), with STORE the whole of them.
 */
#include "base/memory.h"
#include "base/number.h"
#include "cmd/acl_user.h"
#include "cmd/args.h"
#include "cmd/cluster.h"
#include "cmd/exec_script.h"
#include "cmd/handlers.h"
#include "engine/events.h"
#include "engine/hashes.h"
#include "engine/lists.h"
#include "engine/objects.h"
#include "engine/sets.h"
#include "engine/strings.h"
#include "types/zset.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define STORE_CHUNK 1024u /* elements of one change */

/* "weight_*", "object_*->field", "#" */
struct pattern {
    bool is_element;     /* "#" */
    bool has_star;       /* without one it names nothing */
    bool has_field;
    bytes prefix, postfix, field;
};

struct item {
    bytes element, weight;
    double score;
    size_t place;
    bool has_weight;
};

struct sort {
    struct call *c;
    bool descending, alpha, unsorted, by_pattern, store;
    int64_t offset, limit; /* limit negative: none */
    const struct key *destination;
    struct pattern by, *gets;
    size_t get_count;
    const void *object;
    enum type type;
    struct item *items, **order; /* sorted are pointers: items are not moved */
    size_t count, first, end;    /* [first, end) of the order is replied */
    struct buf scratch;       /* a key's name */
    bool over;                /* it ends here (call_goes_on) */
};

/* ---- words ---- */

static size_t text_size(bytes b)
{
    const uint8_t *nul = b.size ? memchr(b.data, 0, b.size) : NULL;
    return nul ? (size_t)(nul - b.data) : b.size;
}

static struct pattern parse_pattern(bytes word)
{
    struct pattern p = {.is_element = bytes_equal(word, BYTES("#"))};
    size_t readable = text_size(word);
    const uint8_t *star = readable ? memchr(word.data, '*', readable) : NULL;
    if (!star)
        return p;
    size_t at = (size_t)(star - word.data);
    p.has_star = true;
    p.prefix = bytes_of(word.data, at);
    p.postfix = bytes_of(star + 1, word.size - at - 1);
    for (size_t i = at + 1; i + 2 < readable; i++) {
        if (word.data[i] == '-' && word.data[i + 1] == '>') {
            p.has_field = true;
            p.postfix = bytes_of(star + 1, i - at - 1);
            p.field = bytes_of(word.data + i + 2, word.size - i - 2);
            break;
        }
    }
    return p;
}

static bool take_limit(struct sort *s, size_t at)
{
    return arg_int(s->c, at, &s->offset) && arg_int(s->c, at + 1, &s->limit);
}

/* Of keys that depend on the elements nobody knows before which they are. */
static bool may_look_up(const struct sort *s, const char *option)
{
    const struct call *c = s->c;
    if (HF_UNLIKELY(cluster_on)) {
        reply_errorf(c->reply, "ERR %s option of SORT denied in Cluster mode.", option);
        return false;
    }
    if (HF_LIKELY(c->session->acl_pass != 0) || !c->session->user || acl_user_reads_all(c->session->user, c->command, c->argv, c->argc))
        return true;
    reply_errorf(c->reply, "ERR %s option of SORT denied due to insufficient ACL permissions.", option);
    return false;
}

/* One option; 0: the error was replied, else how many words it takes. */
static size_t take_option(struct sort *s, size_t at)
{
    bytes word = s->c->argv[at];
    size_t left = s->c->argc - at - 1;
    if (bytes_is_word(word, "ASC") || bytes_is_word(word, "DESC")) {
        s->descending = bytes_is_word(word, "DESC");
        return 1;
    }
    if (bytes_is_word(word, "ALPHA")) {
        s->alpha = true;
        return 1;
    }
    if (bytes_is_word(word, "LIMIT") && left >= 2)
        return take_limit(s, at + 1) ? 3 : 0;
    if (bytes_is_word(word, "STORE") && left >= 1 && s->c->command->flags & CMD_WRITE) {
        s->destination = call_key_named(s->c, s->c->argv[at + 1]);
        s->store = true;
        return 2;
    }
    if (bytes_is_word(word, "BY") && left >= 1) {
        s->by = parse_pattern(s->c->argv[at + 1]);
        s->by_pattern = s->by.has_star;
        s->unsorted |= !s->by.has_star; /* one constant pattern is enough, as in Redis */
        return s->by.has_star && !may_look_up(s, "BY") ? 0 : 2;
    }
    if (bytes_is_word(word, "GET") && left >= 1) {
        s->gets[s->get_count++] = parse_pattern(s->c->argv[at + 1]);
        return may_look_up(s, "GET") ? 2 : 0;
    }
    reply_status(s->c->reply, HF_ERR_SYNTAX);
    return 0;
}

static bool take_options(struct sort *s)
{
    s->gets = arena_alloc(txn_arena(s->c->txn), (s->c->argc / 2 + 1) * sizeof(*s->gets));
    for (size_t at = 2, taken; at < s->c->argc; at += taken) {
        taken = take_option(s, at);
        if (!taken)
            return false;
    }
    return true;
}

/* ---- elements ---- */

/* A list, a set, a sorted set, or nothing. */
static bool view_source(struct sort *s)
{
    static const enum type types[] = {TYPE_LIST, TYPE_SET, TYPE_ZSET};
    return !arg_refused(s->c, object_view_any(s->c->txn, call_key(s->c, 0), types, sizeof(types) / sizeof(types[0]), &s->type, &s->object));
}

static size_t source_count(const struct sort *s)
{
    return !s->object ? 0 : s->type == TYPE_LIST ? list_count(s->object) : s->type == TYPE_SET ? set_count(s->object)
                                                                                                : zset_count(s->object);
}

static void limit_range(struct sort *s, size_t all)
{
    size_t offset = s->offset < 0 ? 0 : (uint64_t)s->offset > all ? all : (size_t)s->offset;
    size_t left = all - offset;
    s->first = offset;
    s->end = offset + (s->limit < 0 || (uint64_t)s->limit > left ? left : (size_t)s->limit);
}

static void add_item(struct sort *s, bytes element)
{
    s->items[s->count] = (struct item){.element = element, .place = s->count};
    s->order[s->count] = &s->items[s->count];
    s->count++;
}

/* These return false when it ends here (call_goes_on). */
static bool load_set(struct sort *s)
{
    struct set_cursor cursor = {0};
    bytes member;
    while (set_next(s->object, &cursor, &member)) {
        add_item(s, member.size < NUMBER_TEXT_MAX ? arena_dup(txn_arena(s->c->txn), member) : member);
        if (!call_goes_on(s->c, 1))
            return false;
    }
    return true;
}

/* `count` elements from this place on, counted in the direction of the walk. */
static bool load_list(struct sort *s, size_t from, size_t count, bool backward)
{
    struct list_cursor cursor;
    bytes value;
    bool more = count && list_seek(s->object, backward ? list_count(s->object) - 1 - from : from, &cursor, &value);
    while (more && s->count < count) {
        add_item(s, value);
        more = backward ? list_previous(&cursor, &value) : list_next(&cursor, &value);
        if (!call_goes_on(s->c, 1))
            return false;
    }
    return true;
}

static bool load_zset(struct sort *s, size_t from, size_t count, bool backward)
{
    struct zset_cursor cursor;
    struct scored one;
    bool more = count && zset_seek(s->object, backward ? zset_count(s->object) - 1 - from : from, &cursor, &one);
    while (more && s->count < count) {
        add_item(s, one.member);
        more = backward ? zset_previous(&cursor, &one) : zset_next(&cursor, &one);
        if (!call_goes_on(s->c, 1))
            return false;
    }
    return true;
}

/* What is not sorted keeps the order of a list or a sorted set, which DESC turns round, and is read no further than the limit says. */
static bool load_items(struct sort *s)
{
    size_t all = source_count(s), from = 0, count = all;
    bool backward = s->unsorted && s->descending;
    limit_range(s, all);
    if (s->unsorted && s->type != TYPE_SET) {
        from = s->first;
        count = s->end - s->first;
        s->first = 0;
        s->end = count;
    }
    s->items = arena_alloc(txn_arena(s->c->txn), (count + 1) * sizeof(*s->items));
    s->order = arena_alloc(txn_arena(s->c->txn), (count + 1) * sizeof(*s->order));
    if (!s->object)
        return true;
    if (s->type == TYPE_SET)
        return load_set(s);
    return s->type == TYPE_LIST ? load_list(s, from, count, backward) : load_zset(s, from, count, backward);
}

/* ---- keys of patterns ---- */

static void locate(struct sort *s, const struct pattern *p, bytes element, struct key *key)
{
    buf_reset(&s->scratch);
    buf_append_bytes(&s->scratch, p->prefix);
    buf_append_bytes(&s->scratch, element);
    buf_append_bytes(&s->scratch, p->postfix);
    txn_locate(txn_engine(s->c->txn), s->c->session->db, buf_view(&s->scratch), key);
}

/* Locks every key that these patterns make of the items [first, end). */
static bool touch_patterns(struct sort *s, const struct pattern *patterns, size_t count, size_t first, size_t end)
{
    uint16_t stripes[STRIPE_COUNT];
    uint64_t seen[STRIPE_COUNT / 64] = {0};
    size_t stripe_count = 0;
    struct key key;
    for (size_t p = 0; p < count; p++) {
        for (size_t i = first; patterns[p].has_star && i < end && stripe_count < STRIPE_COUNT; i++) {
            locate(s, &patterns[p], s->order[i]->element, &key);
            uint64_t bit = UINT64_C(1) << key.stripe % 64;
            if (!(seen[key.stripe / 64] & bit))
                stripes[stripe_count++] = key.stripe;
            seen[key.stripe / 64] |= bit;
        }
    }
    return call_lock_stripes(s->c, stripes, stripe_count) == SCRIPT_DONE;
}

/* False: there is no such key, it holds another type, or the hash lacks the field. */
static bool look_up(struct sort *s, const struct pattern *p, bytes element, bytes *value)
{
    struct key key;
    struct text text;
    const struct hash *hash;
    if (p->is_element) {
        *value = element;
        return true;
    }
    if (!p->has_star)
        return false;
    locate(s, p, element, &key);
    if (p->has_field)
        return hashes_view(s->c->txn, &key, &hash) == HF_OK && hash && hash_get(hash, p->field, value);
    if (string_get(s->c->txn, &key, &text) != HF_OK || !text.found)
        return false;
    *value = text.view.data == (const uint8_t *)text.digits ? arena_dup(txn_arena(s->c->txn), text.view) : text.view;
    return true;
}

/* ---- weights and order ---- */

/* As strtod reads it: leading spaces and hexadecimal are fine, what does not fit a double is not. */
static bool read_score(struct sort *s, bytes text, double *score)
{
    int64_t integer;
    char *end;
    if (number_parse_int(text, &integer)) {
        *score = (double)integer;
        return true;
    }
    buf_reset(&s->scratch);
    buf_append_bytes(&s->scratch, text);
    buf_append_u8(&s->scratch, 0);
    errno = 0;
    *score = strtod((const char *)s->scratch.data, &end);
    return *end == 0 && errno != ERANGE && !isnan(*score);
}

static bool weigh(struct sort *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct item *item = &s->items[i];
        item->weight = item->element;
        item->has_weight = s->by_pattern ? look_up(s, &s->by, item->element, &item->weight) : true;
        if (!s->alpha && item->has_weight && !read_score(s, item->weight, &item->score)) {
            reply_errorf(s->c->reply, "ERR One or more scores can't be converted into double");
            return false;
        }
        if (!call_goes_on(s->c, 1))
            return false;
    }
    return true;
}

static int compare_text(const struct sort *s, const struct item *a, const struct item *b)
{
    if (!a->has_weight || !b->has_weight)
        return a->has_weight - b->has_weight;
    if (s->store)
        return bytes_compare(a->weight, b->weight);
    return bytes_compare(bytes_of(a->weight.data, text_size(a->weight)), bytes_of(b->weight.data, text_size(b->weight)));
}

/* Others are served between two comparisons; beside another command all are equal once it has given up. */
static int compare_items(const void *left, const void *right, void *context)
{
    struct sort *s = context;
    const struct item *a = *(struct item *const *)left, *b = *(struct item *const *)right;
    if (HF_UNLIKELY(s->over || !call_goes_on(s->c, 1))) {
        s->over = true;
        return 0;
    }
    int order = s->alpha ? compare_text(s, a, b) : a->score != b->score ? (a->score > b->score ? 1 : -1)
                                                                        : bytes_compare(a->element, b->element);
    if (order)
        return s->descending ? -order : order;
    return a->place > b->place ? 1 : -1;
}

/* ---- results ---- */

typedef void take_value(void *context, bytes value, bool found);

static bool each_value(struct sort *s, take_value *take, void *context)
{
    for (size_t i = s->first; i < s->end; i++) {
        if (!call_goes_on(s->c, 1 + s->get_count * 4))
            return false;
        if (!s->get_count)
            take(context, s->order[i]->element, true);
        for (size_t g = 0; g < s->get_count; g++) {
            bytes value = BYTES("");
            bool found = look_up(s, &s->gets[g], s->order[i]->element, &value);
            take(context, value, found);
        }
    }
    return true;
}

static void reply_value(void *context, bytes value, bool found)
{
    if (found)
        reply_bulk(context, value);
    else
        reply_null(context);
}

struct storing {
    void *list;
    bytes values[STORE_CHUNK];
    size_t count;
};

static void flush_values(struct storing *storing)
{
    struct buf change;
    if (!storing->count)
        return;
    buf_init(&change, SIZE_MAX);
    list_change_push(&change, LIST_TAIL, storing->values, storing->count);
    status s = list_ops.apply(storing->list, buf_view(&change));
    hf_assert(s == HF_OK);
    buf_release(&change);
    storing->count = 0;
}

static void store_value(void *context, bytes value, bool found)
{
    struct storing *storing = context;
    storing->values[storing->count++] = found ? value : BYTES("");
    if (storing->count == STORE_CHUNK)
        flush_values(storing);
}

static void store_values(struct sort *s, size_t count)
{
    struct storing *storing = arena_alloc(txn_arena(s->c->txn), sizeof(*storing));
    const struct key *key = s->destination;
    bool removed;
    storing->count = 0;
    storing->list = list_ops.create();
    if (!each_value(s, store_value, storing)) {
        object_drop(s->c->txn, TYPE_LIST, storing->list);
        return;
    }
    flush_values(storing);
    if (arg_refused(s->c, object_store(s->c->txn, key, TYPE_LIST, storing->list, &removed)))
        return;
    if (count)
        txn_event(s->c->txn, key, EVENT_LIST, "sortstore");
    else if (removed)
        txn_event(s->c->txn, key, EVENT_GENERIC, "del");
    reply_int(s->c->reply, (int64_t)count);
}

static void reply_values(struct sort *s)
{
    size_t count = (s->end - s->first) * (s->get_count ? s->get_count : 1);
    if (s->store) {
        store_values(s, count);
        return;
    }
    reply_array(s->c->reply, count);
    if (!each_value(s, reply_value, s->c->reply))
        return;
}

static void sort(struct sort *s)
{
    if (!load_items(s))
        return;
    if (!s->unsorted) {
        if (s->by_pattern && !touch_patterns(s, &s->by, 1, 0, s->count))
            return;
        if (!weigh(s))
            return;
        qsort_r(s->order, s->count, sizeof(*s->order), compare_items, s);
        if (s->over)
            return;
    }
    if (touch_patterns(s, s->gets, s->get_count, s->first, s->end))
        reply_values(s);
}

void cmd_sort(struct call *c)
{
    struct sort s = {.c = c, .limit = -1};
    if (!take_options(&s) || !view_source(&s))
        return;
    /* what is stored, or seen by a script, is never in the order of a hash */
    if (s.unsorted && s.type == TYPE_SET && (s.store || call_in_script(c))) {
        s.unsorted = s.by_pattern = false;
        s.alpha = true;
    }
    buf_init(&s.scratch, SIZE_MAX);
    sort(&s);
    buf_release(&s.scratch);
}
