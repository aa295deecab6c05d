/* geo_search.c -- GEOSEARCH, GEOSEARCHSTORE and the GEORADIUS family.
 *
 * A search reads the score ranges of the cells that cover its shape (geo_cover), each member's place is then measured. With
 * COUNT ANY it stops at the first members that are inside. The options are read and refused one by one, from
 * left to right, as Redis does; the centre's member is looked up on the way.
 */
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/geo.h"
#include "cmd/handlers.h"

#include <stdlib.h>

enum { SEARCH = 1, BY_MEMBER = 2, MAY_STORE = 4, STORES = 8 };
enum order { UNSORTED, NEAREST, FARTHEST };

struct match {
    bytes member;
    double score, distance; /* metres */
    size_t place;
};

struct search {
    struct call *c;
    unsigned kind;
    size_t source;          /* its key */
    const struct key *destination;
    const struct zset *z;   /* NULL: absent */
    struct geo_shape shape;
    bool has_centre, from_member, from_place, by_radius, by_box;
    bool with_place, with_distance, with_hash, any, store, store_distance;
    int64_t limit;          /* 0: none */
    enum order order;
    struct match *matches;
    size_t count, capacity;
};

/* ---- words ---- */

/* False: the error was replied. The member of a key that is absent is not asked for. */
static bool take_member(struct search *s, size_t at)
{
    s->from_member = true;
    if (!s->z || geo_place(s->z, s->c->argv[at], &s->shape.centre))
        return true;
    reply_errorf(s->c->reply, "ERR could not decode requested zset member");
    return false;
}

static bool take_place(struct search *s, size_t at)
{
    s->from_place = true;
    return arg_place(s->c, at, &s->shape.centre);
}

static bool take_length(struct search *s, size_t at, const char *name, double *length)
{
    if (number_parse_double(s->c->argv[at], length))
        return true;
    reply_errorf(s->c->reply, "ERR need numeric %s", name);
    return false;
}

static bool take_radius(struct search *s, size_t at)
{
    s->by_radius = true;
    if (!take_length(s, at, "radius", &s->shape.radius))
        return false;
    if (s->shape.radius < 0) {
        reply_errorf(s->c->reply, "ERR radius cannot be negative");
        return false;
    }
    return arg_unit(s->c, at + 1, &s->shape.unit);
}

static bool take_box(struct search *s, size_t at)
{
    s->by_box = s->shape.is_box = true;
    if (!take_length(s, at, "width", &s->shape.width) || !take_length(s, at + 1, "height", &s->shape.height))
        return false;
    if (s->shape.width < 0 || s->shape.height < 0) {
        reply_errorf(s->c->reply, "ERR height or width cannot be negative");
        return false;
    }
    return arg_unit(s->c, at + 2, &s->shape.unit);
}

static bool take_count(struct search *s, size_t at)
{
    if (!arg_int(s->c, at, &s->limit))
        return false;
    if (s->limit > 0)
        return true;
    reply_errorf(s->c->reply, "ERR COUNT must be > 0");
    return false;
}

/* A word that stands alone. */
static bool take_flag(struct search *s, bytes word)
{
    const struct { const char *name; bool *flag; } flags[] = {
        {"WITHDIST", &s->with_distance}, {"WITHHASH", &s->with_hash}, {"WITHCOORD", &s->with_place}, {"ANY", &s->any}};
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (bytes_is_word(word, flags[i].name))
            return *flags[i].flag = true;
    }
    if (bytes_is_word(word, "STOREDIST") && s->kind & SEARCH && s->kind & STORES)
        return s->store_distance = true;
    if (!bytes_is_word(word, "ASC") && !bytes_is_word(word, "DESC"))
        return false;
    s->order = bytes_is_word(word, "ASC") ? NEAREST : FARTHEST;
    return true;
}

/* One option; 0: the error was replied, else how many words it takes. */
static size_t take_option(struct search *s, size_t at)
{
    bytes word = s->c->argv[at];
    size_t left = s->c->argc - at - 1;
    bool search = s->kind & SEARCH;
    if (take_flag(s, word))
        return 1;
    if (bytes_is_word(word, "COUNT") && left >= 1)
        return take_count(s, at + 1) ? 2 : 0;
    if (!search && s->kind & MAY_STORE && left >= 1 && (bytes_is_word(word, "STORE") || bytes_is_word(word, "STOREDIST"))) {
        s->store = true;
        s->destination = call_key_named(s->c, s->c->argv[at + 1]);
        s->store_distance = bytes_is_word(word, "STOREDIST");
        return 2;
    }
    if (search && bytes_is_word(word, "FROMMEMBER") && left >= 1 && !s->from_place)
        return take_member(s, at + 1) ? 2 : 0;
    if (search && bytes_is_word(word, "FROMLONLAT") && left >= 2 && !s->from_member)
        return take_place(s, at + 1) ? 3 : 0;
    if (search && bytes_is_word(word, "BYRADIUS") && left >= 2 && !s->by_box)
        return take_radius(s, at + 1) ? 3 : 0;
    if (search && bytes_is_word(word, "BYBOX") && left >= 3 && !s->by_radius)
        return take_box(s, at + 1) ? 4 : 0;
    reply_status(s->c->reply, HF_ERR_SYNTAX);
    return 0;
}

static bool is_consistent(const struct search *s)
{
    bytes name = s->c->argv[0];
    if (s->store && (s->with_distance || s->with_hash || s->with_place))
        reply_errorf(s->c->reply, "ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
                     s->kind & SEARCH ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS");
    else if (s->kind & SEARCH && !s->from_member && !s->from_place)
        reply_errorf(s->c->reply, "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for " WORD_FORMAT, WORD_WHOLE(name));
    else if (s->kind & SEARCH && !s->by_radius && !s->by_box)
        reply_errorf(s->c->reply, "ERR exactly one of BYRADIUS and BYBOX can be specified for " WORD_FORMAT, WORD_WHOLE(name));
    else if (s->any && !s->limit)
        reply_errorf(s->c->reply, "ERR the ANY argument requires COUNT argument");
    else
        return true;
    return false;
}

static bool take_words(struct search *s)
{
    size_t at = s->source + 2;
    if (!zset_view(s->c, s->source, &s->z))
        return false;
    if (!(s->kind & SEARCH)) {
        if (s->kind & BY_MEMBER ? !take_member(s, at) : !take_place(s, at))
            return false;
        at += s->kind & BY_MEMBER ? 1 : 2;
        bool is_read = s->z || !(s->kind & BY_MEMBER); /* around a member of nothing the radius is not even looked at */
        if (is_read && !take_radius(s, at))
            return false;
        at += 2;
    }
    for (size_t taken; at < s->c->argc; at += taken) {
        taken = take_option(s, at);
        if (!taken)
            return false;
    }
    if (s->limit && s->order == UNSORTED && !s->any)
        s->order = NEAREST;
    return is_consistent(s);
}

/* ---- matches ---- */

static void add_match(struct search *s, struct scored one, double distance)
{
    if (s->count == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 64;
        struct match *matches = arena_alloc(txn_arena(s->c->txn), capacity * sizeof(*matches));
        if (s->count)
            memcpy(matches, s->matches, s->count * sizeof(*matches));
        s->matches = matches;
        s->capacity = capacity;
    }
    s->matches[s->count] = (struct match){one.member, one.score, distance, s->count};
    s->count++;
}

static bool has_enough(const struct search *s)
{
    return s->any && s->count >= (size_t)s->limit;
}

static void search_cell(struct search *s, struct geo_cell cell)
{
    struct zset_cursor cursor;
    struct scored one;
    double first, end, distance;
    geo_cell_scores(cell, &first, &end);
    bool more = zset_seek(s->z, zset_below_score(s->z, first, false), &cursor, &one);
    for (; more && one.score < end && !has_enough(s); more = zset_next(&cursor, &one)) {
        if (geo_contains(&s->shape, geo_of_score(one.score), &distance))
            add_match(s, one, distance);
    }
}

static int compare_matches(const void *left, const void *right, void *context)
{
    const struct match *a = left, *b = right;
    const struct search *s = context;
    if (a->distance != b->distance)
        return (a->distance > b->distance) == (s->order == NEAREST) ? 1 : -1;
    return a->place > b->place ? 1 : -1;
}

static void find_matches(struct search *s)
{
    struct geo_cell cells[GEO_COVER_MAX];
    unsigned count = geo_cover(&s->shape, cells);
    for (unsigned i = 0; i < count && !has_enough(s); i++)
        search_cell(s, cells[i]);
    if (s->order != UNSORTED && s->count > 1)
        qsort_r(s->matches, s->count, sizeof(*s->matches), compare_matches, s);
    if (s->limit && s->count > (uint64_t)s->limit)
        s->count = (size_t)s->limit;
}

/* ---- results ---- */

static void reply_matches(struct search *s)
{
    size_t extras = (size_t)s->with_distance + s->with_hash + s->with_place;
    reply_array(s->c->reply, s->count);
    for (size_t i = 0; i < s->count; i++) {
        const struct match *m = &s->matches[i];
        if (extras)
            reply_array(s->c->reply, extras + 1);
        reply_bulk(s->c->reply, m->member);
        if (s->with_distance)
            reply_distance(s->c, m->distance / s->shape.unit);
        if (s->with_hash)
            reply_int(s->c->reply, (int64_t)m->score);
        if (s->with_place)
            reply_place(s->c, geo_of_score(m->score));
    }
}

static void store_matches(struct search *s)
{
    struct zset *z = zset_new();
    for (size_t i = 0; i < s->count; i++)
        zset_set(z, s->matches[i].member, s->store_distance ? s->matches[i].distance / s->shape.unit : s->matches[i].score);
    zset_store(s->c, s->kind & SEARCH ? 0 : (size_t)(s->destination - s->c->keys), z, s->kind & SEARCH ? "geosearchstore" : "georadiusstore");
}

static void run_search(struct call *c, unsigned kind)
{
    struct search s = {.c = c, .kind = kind, .source = kind & SEARCH && kind & STORES, .store = kind & STORES};
    if (!take_words(&s))
        return;
    if (s.z)
        find_matches(&s);
    if (s.store)
        store_matches(&s);
    else
        reply_matches(&s);
}

void cmd_geosearch(struct call *c) { run_search(c, SEARCH); }
void cmd_geosearchstore(struct call *c) { run_search(c, SEARCH | STORES); }
void cmd_georadius(struct call *c) { run_search(c, MAY_STORE); }
void cmd_georadius_ro(struct call *c) { run_search(c, 0); }
void cmd_georadiusbymember(struct call *c) { run_search(c, MAY_STORE | BY_MEMBER); }
void cmd_georadiusbymember_ro(struct call *c) { run_search(c, BY_MEMBER); }
