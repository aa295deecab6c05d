/* lcs.c -- LCS: the longest common subsequence of two strings.
 *
 * The textbook table: cell (i, j) is the size for the first i and j bytes; then a walk back from the far corner. Of several
 * longest subsequences the walk finds the one that Redis finds: it leaves the first string's byte out only when that
 * alone keeps more. The table is bounded, as in Redis, by the largest value a client may send.
 */
#include "base/buf.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "engine/strings.h"

#define RELEASED_AT_ONCE ((size_t)8 << 20)

struct options {
    bool size_only, ranges, with_sizes;
    int64_t size_least;
};

struct match { size_t a, b, size; }; /* where it begins in either string */

struct table {
    bytes a, b;
    uint32_t *cells; /* (a.size + 1) rows of b.size + 1 */
};

struct result {
    uint8_t *text; /* of size bytes, filled from the end; NULL: not asked for */
    size_t size;
    struct match *matches; /* from the last to the first */
    size_t match_count, match_capacity;
    struct arena *arena;
};

static bool take_options(struct call *c, struct options *o)
{
    *o = (struct options){false, false, false, 0};
    for (size_t i = 3; i < c->argc; i++) {
        if (bytes_is_word(c->argv[i], "IDX")) {
            o->ranges = true;
        } else if (bytes_is_word(c->argv[i], "LEN")) {
            o->size_only = true;
        } else if (bytes_is_word(c->argv[i], "WITHMATCHLEN")) {
            o->with_sizes = true;
        } else if (bytes_is_word(c->argv[i], "MINMATCHLEN") && i + 1 < c->argc) {
            if (!arg_int(c, ++i, &o->size_least))
                return false;
        } else {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return false;
        }
    }
    if (o->ranges && o->size_only) {
        reply_errorf(c->reply, "ERR If you want both the length and indexes, please just use IDX.");
        return false;
    }
    return true;
}

static bool get_strings(struct call *c, struct text *a, struct text *b)
{
    if (string_get(c->txn, call_key(c, 0), a) == HF_OK && string_get(c->txn, call_key(c, 1), b) == HF_OK)
        return true;
    reply_errorf(c->reply, "ERR The specified keys must contain string values");
    return false;
}

static uint32_t *row_of(const struct table *t, size_t i)
{
    return t->cells + i * (t->b.size + 1);
}

#define CELLS 4096u /* between two looks at the clock */

/* False: it ends here (call_goes_on). */
static bool fill(struct call *c, struct table *t)
{
    memset(t->cells, 0, (t->b.size + 1) * sizeof(*t->cells));
    for (size_t i = 1; i <= t->a.size; i++) {
        const uint32_t *above = row_of(t, i - 1);
        uint32_t *row = row_of(t, i);
        row[0] = 0;
        for (size_t j = 1, end; j <= t->b.size; j = end) {
            end = t->b.size + 1 - j < CELLS ? t->b.size + 1 : j + CELLS;
            for (size_t k = j; k < end; k++) {
                uint32_t most = above[k] > row[k - 1] ? above[k] : row[k - 1];
                row[k] = t->a.data[i - 1] == t->b.data[k - 1] ? above[k - 1] + 1 : most;
            }
            if (!call_goes_on(c, (end - j) / 64 + 1))
                return false;
        }
    }
    return true;
}

static void note_match(struct result *r, size_t a, size_t b)
{
    struct match *last = r->match_count ? &r->matches[r->match_count - 1] : NULL;
    if (last && last->a == a + 1 && last->b == b + 1) {
        *last = (struct match){a, b, last->size + 1};
        return;
    }
    if (r->match_count == r->match_capacity) {
        size_t capacity = r->match_capacity ? r->match_capacity * 2 : 16;
        struct match *matches = arena_alloc(r->arena, capacity * sizeof(*matches));
        if (r->match_count)
            memcpy(matches, r->matches, r->match_count * sizeof(*matches));
        r->matches = matches;
        r->match_capacity = capacity;
    }
    r->matches[r->match_count++] = (struct match){a, b, 1};
}

static void walk_back(const struct table *t, struct result *r)
{
    size_t i = t->a.size, j = t->b.size, left = r->size;
    while (i > 0 && j > 0) {
        if (t->a.data[i - 1] == t->b.data[j - 1]) {
            i--;
            j--;
            r->text[--left] = t->a.data[i];
            note_match(r, i, j);
        } else if (row_of(t, i - 1)[j] > row_of(t, i)[j - 1]) {
            i--;
        } else {
            j--;
        }
    }
    hf_assert(left == 0);
}

static void reply_range(struct call *c, size_t begin, size_t size)
{
    reply_array(c->reply, 2);
    reply_int(c->reply, (int64_t)begin);
    reply_int(c->reply, (int64_t)(begin + size - 1));
}

static void reply_ranges(struct call *c, const struct options *o, const struct result *r)
{
    size_t shown = 0;
    for (size_t i = 0; i < r->match_count; i++)
        shown += (int64_t)r->matches[i].size >= o->size_least;
    reply_map(c->reply, 2);
    reply_text(c->reply, "matches");
    reply_array(c->reply, shown);
    for (size_t i = 0; i < r->match_count; i++) {
        const struct match *m = &r->matches[i];
        if ((int64_t)m->size < o->size_least)
            continue;
        reply_array(c->reply, o->with_sizes ? 3 : 2);
        reply_range(c, m->a, m->size);
        reply_range(c, m->b, m->size);
        if (o->with_sizes)
            reply_int(c->reply, (int64_t)m->size);
    }
    reply_text(c->reply, "len");
    reply_int(c->reply, (int64_t)r->size);
}

static void reply_lcs(struct call *c, const struct options *o, struct table *t)
{
    if (!fill(c, t))
        return;
    struct result r = {.size = row_of(t, t->a.size)[t->b.size], .arena = txn_arena(c->txn)};
    if (o->size_only) {
        reply_int(c->reply, (int64_t)r.size);
        return;
    }
    r.text = arena_alloc(r.arena, r.size + 1);
    walk_back(t, &r);
    if (o->ranges)
        reply_ranges(c, o, &r);
    else
        reply_bulk(c->reply, bytes_of(r.text, r.size));
}

/* In pieces: a table may be half a gigabyte. */
static void release(struct call *c, struct buf *cells)
{
    cells->size = cells->capacity;
    while (cells->size > RELEASED_AT_ONCE && buf_drop(cells, RELEASED_AT_ONCE) && call_goes_on(c, CALL_WORK_MAX)) {
    }
    buf_release(cells);
}

void cmd_lcs(struct call *c)
{
    struct options options;
    struct text a, b;
    if (!get_strings(c, &a, &b) || !take_options(c, &options))
        return;
    struct table table = {a.view, b.view, NULL};
    uint64_t size = (a.view.size + UINT64_C(1)) * (b.view.size + UINT64_C(1)) * sizeof(*table.cells);
    if (size > string_may_grow_to()) {
        reply_errorf(c->reply, "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
        return;
    }
    struct buf cells;
    buf_init(&cells, SIZE_MAX);
    if (!buf_try_fit(&cells, (size_t)size)) {
        reply_errorf(c->reply, "ERR Insufficient memory, failed allocating transient memory for LCS");
        return;
    }
    table.cells = (uint32_t *)(void *)cells.data;
    reply_lcs(c, &options, &table);
    release(c, &cells);
}
