/* zset_range.c -- ranges of sorted sets by rank, score and member, in all their commands.
 *
 * Every range comes to an interval of ranks [first, first + count), a direction, and a limit; replying,
 * counting, storing and removing start from there.
 */
#include "base/number.h"
#include "cmd/args.h"
#include "cmd/handlers.h"
#include "cmd/zset.h"

#include <math.h>
#include <stdlib.h>

enum range_by { BY_RANK, BY_SCORE, BY_MEMBER };

/* What the words say. */
struct range {
    enum range_by by;
    bool reverse, with_scores, limited;
    int64_t offset, limit;          /* limit negative: none */
    int64_t start, stop;            /* ranks, from the direction's beginning */
    double low, high;
    bool low_open, high_open;       /* the end itself is out */
    bytes low_member, high_member;
    enum { MEMBER, FIRST, LAST } low_kind, high_kind;
};

/* ---- words ---- */

/* "(1.5", "-inf"; as strtod reads it, the whole of it. */
static bool take_score_end(bytes word, double *score, bool *open)
{
    char copy[512];
    *open = word.size > 0 && word.data[0] == '(';
    if (*open)
        word = bytes_of(word.data + 1, word.size - 1);
    if (word.size >= sizeof(copy))
        return false;
    if (word.size)
        memcpy(copy, word.data, word.size);
    copy[word.size] = 0;
    char *end;
    *score = strtod(copy, &end);
    return *end == 0 && !isnan(*score);
}

static bool take_scores(struct call *c, size_t low, size_t high, struct range *r)
{
    r->by = BY_SCORE;
    if (take_score_end(c->argv[low], &r->low, &r->low_open) && take_score_end(c->argv[high], &r->high, &r->high_open))
        return true;
    reply_errorf(c->reply, "ERR min or max is not a float");
    return false;
}

static bool take_member_end(bytes word, bytes *member, bool *open, int *kind)
{
    *open = word.size > 0 && word.data[0] == '(';
    *kind = MEMBER;
    if (word.size == 1 && (word.data[0] == '-' || word.data[0] == '+')) {
        *kind = word.data[0] == '-' ? FIRST : LAST;
        return true;
    }
    if (!*open && !(word.size > 0 && word.data[0] == '['))
        return false;
    *member = bytes_of(word.data + 1, word.size - 1);
    return true;
}

static bool take_members(struct call *c, size_t low, size_t high, struct range *r)
{
    int low_kind, high_kind;
    r->by = BY_MEMBER;
    if (!take_member_end(c->argv[low], &r->low_member, &r->low_open, &low_kind) ||
        !take_member_end(c->argv[high], &r->high_member, &r->high_open, &high_kind)) {
        reply_errorf(c->reply, "ERR min or max not valid string range item");
        return false;
    }
    r->low_kind = (unsigned)low_kind;
    r->high_kind = (unsigned)high_kind;
    return true;
}

static bool take_ends(struct call *c, size_t at, struct range *r)
{
    if (r->by == BY_RANK)
        return arg_int(c, at, &r->start) && arg_int(c, at + 1, &r->stop);
    size_t low = r->reverse ? at + 1 : at, high = r->reverse ? at : at + 1;
    return r->by == BY_SCORE ? take_scores(c, low, high, r) : take_members(c, low, high, r);
}

/* The words behind the ends. `any`: ZRANGE and ZRANGESTORE, whose words also say what the ends are. */
static bool take_options(struct call *c, size_t from, bool any, bool stores, struct range *r)
{
    for (size_t i = from; i < c->argc; i++) {
        bytes word = c->argv[i];
        if (!stores && bytes_is_word(word, "WITHSCORES")) {
            r->with_scores = true;
        } else if (bytes_is_word(word, "LIMIT") && i + 2 < c->argc) {
            if (!arg_int(c, i + 1, &r->offset) || !arg_int(c, i + 2, &r->limit))
                return false;
            r->limited = true;
            i += 2;
        } else if (any && !r->reverse && bytes_is_word(word, "REV")) {
            r->reverse = true;
        } else if (any && r->by == BY_RANK && bytes_is_word(word, "BYSCORE")) {
            r->by = BY_SCORE;
        } else if (any && r->by == BY_RANK && bytes_is_word(word, "BYLEX")) {
            r->by = BY_MEMBER;
        } else {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return false;
        }
    }
    bool limited = r->limited && r->limit != -1; /* without an end it may stand there, and does nothing to ranks */
    r->limited &= r->by != BY_RANK;
    if (limited && r->by == BY_RANK)
        reply_errorf(c->reply, "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
    else if (r->with_scores && r->by == BY_MEMBER)
        reply_errorf(c->reply, "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
    else
        return true;
    return false;
}

/* ---- to ranks ---- */

struct span { uint64_t first, count; }; /* ascending ranks */

static struct span span_of_ranks(const struct range *r, uint64_t size)
{
    int64_t count = (int64_t)size, start = r->start, stop = r->stop;
    if (start < 0)
        start = start < -count ? 0 : start + count;
    if (stop < 0)
        stop = stop < -count ? -1 : stop + count;
    if (start > stop || start >= count)
        return (struct span){0, 0};
    if (stop >= count)
        stop = count - 1;
    uint64_t length = (uint64_t)(stop - start) + 1;
    return (struct span){r->reverse ? size - (uint64_t)stop - 1 : (uint64_t)start, length};
}

static uint64_t member_end(const struct zset *z, bytes member, int kind, bool equal)
{
    return kind == FIRST ? 0 : kind == LAST ? zset_count(z) : zset_below_member(z, member, equal);
}

static bool is_above_low(const struct range *r, bytes member)
{
    return r->low_kind == FIRST || (r->low_kind == MEMBER && bytes_compare(member, r->low_member) >= (r->low_open ? 1 : 0));
}

static bool is_below_high(const struct range *r, bytes member)
{
    return r->high_kind == LAST || (r->high_kind == MEMBER && bytes_compare(member, r->high_member) <= (r->high_open ? -1 : 0));
}

/* Of members whose scores differ, a range by member is unspecified, and yet Redis has answers for a small set: none if the last
 * one is below the range or the first one above it; else from the first one that is not below it to the one before the next that is
 * above it, seen from the end where the range begins; `skip` are left out of those that begin there, in the range or not. */
static struct span span_by_steps(const struct range *r, const struct zset *z, uint64_t skip)
{
    struct zset_cursor cursor;
    struct scored one;
    uint64_t last = zset_count(z) - 1, begin, end;
    if (!is_above_low(r, zset_at(z, last).member) || !is_below_high(r, zset_at(z, 0).member))
        return (struct span){0, 0};
    if (r->reverse) {
        zset_seek(z, last, &cursor, &one);
        for (end = last + 1; !is_below_high(r, one.member); end--)
            zset_previous(&cursor, &one);
        bool more = is_above_low(r, one.member);
        for (; skip && more; skip--, end--)
            more = zset_previous(&cursor, &one);
        for (begin = end; more && is_above_low(r, one.member); begin--)
            more = zset_previous(&cursor, &one);
    } else {
        zset_seek(z, 0, &cursor, &one);
        for (begin = 0; !is_above_low(r, one.member); begin++)
            zset_next(&cursor, &one);
        bool more = is_below_high(r, one.member);
        for (; skip && more; skip--, begin++)
            more = zset_next(&cursor, &one);
        for (end = begin; more && is_below_high(r, one.member); end++)
            more = zset_next(&cursor, &one);
    }
    return (struct span){begin, end - begin};
}

static bool has_steps_by_member(const struct zset *z)
{
    struct zset_cursor cursor;
    struct scored first;
    return zset_seek(z, 0, &cursor, &first) && cursor.is_small && zset_at(z, zset_count(z) - 1).score != first.score;
}

static struct span span_of(const struct range *r, const struct zset *z)
{
    uint64_t first, end;
    if (r->by == BY_MEMBER && has_steps_by_member(z))
        return span_by_steps(r, z, 0);
    if (r->by == BY_RANK)
        return span_of_ranks(r, zset_count(z));
    if (r->by == BY_SCORE) {
        first = zset_below_score(z, r->low, r->low_open);
        end = zset_below_score(z, r->high, !r->high_open);
    } else {
        first = member_end(z, r->low_member, (int)r->low_kind, r->low_open);
        end = member_end(z, r->high_member, (int)r->high_kind, !r->high_open);
    }
    return (struct span){first, end > first ? end - first : 0};
}

/* The part that LIMIT leaves, in the direction of the range. */
static struct span limited(const struct range *r, const struct zset *z)
{
    if (!r->limited)
        return span_of(r, z);
    if (r->offset < 0)
        return (struct span){0, 0};
    uint64_t offset = (uint64_t)r->offset;
    struct span s;
    if (r->by == BY_MEMBER && has_steps_by_member(z)) {
        s = span_by_steps(r, z, offset);
    } else {
        s = span_of(r, z);
        if (offset >= s.count)
            return (struct span){0, 0};
        s.count -= offset;
        s.first += r->reverse ? 0 : offset;
    }
    uint64_t count = r->limit < 0 || (uint64_t)r->limit > s.count ? s.count : (uint64_t)r->limit;
    return (struct span){r->reverse ? s.first + s.count - count : s.first, count};
}

static void reply_span(struct call *c, const struct zset *z, const struct range *r, struct span s)
{
    struct zset_cursor cursor;
    struct scored one;
    reply_scored_array(c, s.count, r->with_scores);
    bool more = s.count && zset_seek(z, r->reverse ? s.first + s.count - 1 : s.first, &cursor, &one);
    for (uint64_t i = 0; i < s.count && more && call_goes_on(c, 2); i++) {
        reply_scored(c, one, r->with_scores);
        more = r->reverse ? zset_previous(&cursor, &one) : zset_next(&cursor, &one);
    }
}

static void reply_range(struct call *c, struct range *r, bool any)
{
    const struct zset *z;
    if (!take_options(c, 4, any, false, r) || !take_ends(c, 2, r) || !zset_view(c, 0, &z))
        return;
    if (z)
        reply_span(c, z, r, limited(r, z));
    else
        reply_array(c->reply, 0);
}

void cmd_zrange(struct call *c) { reply_range(c, &(struct range){.by = BY_RANK}, true); }
void cmd_zrevrange(struct call *c) { reply_range(c, &(struct range){.by = BY_RANK, .reverse = true}, false); }
void cmd_zrangebyscore(struct call *c) { reply_range(c, &(struct range){.by = BY_SCORE}, false); }
void cmd_zrevrangebyscore(struct call *c) { reply_range(c, &(struct range){.by = BY_SCORE, .reverse = true}, false); }
void cmd_zrangebylex(struct call *c) { reply_range(c, &(struct range){.by = BY_MEMBER}, false); }
void cmd_zrevrangebylex(struct call *c) { reply_range(c, &(struct range){.by = BY_MEMBER, .reverse = true}, false); }

void cmd_zrangestore(struct call *c)
{
    const struct zset *z;
    struct range r = {.by = BY_RANK};
    if (!take_options(c, 5, true, true, &r) || !take_ends(c, 3, &r) || !zset_view(c, 1, &z))
        return;
    struct zset *result = zset_new();
    struct span s = z ? limited(&r, z) : (struct span){0, 0};
    struct zset_cursor cursor;
    struct scored one;
    bool more = s.count && zset_seek(z, s.first, &cursor, &one);
    for (uint64_t i = 0; i < s.count && more; i++, more = zset_next(&cursor, &one)) {
        zset_set(result, one.member, one.score);
        if (!call_goes_on(c, 8)) {
            object_drop(c->txn, TYPE_ZSET, result);
            return;
        }
    }
    zset_store(c, 0, result, "zrangestore");
}

/* ---- counting and removing ---- */

static void reply_count(struct call *c, enum range_by by)
{
    const struct zset *z;
    struct range r = {.by = by};
    if (take_ends(c, 2, &r) && zset_view(c, 0, &z))
        reply_int(c->reply, z ? (int64_t)span_of(&r, z).count : 0);
}

void cmd_zcount(struct call *c) { reply_count(c, BY_SCORE); }
void cmd_zlexcount(struct call *c) { reply_count(c, BY_MEMBER); }

static void remove_range(struct call *c, enum range_by by, const char *event)
{
    struct object_ref o;
    struct range r = {.by = by};
    if (!take_ends(c, 2, &r) || !zset_open(c, 0, &o))
        return;
    struct span s = o.object ? span_of(&r, zset_of(&o)) : (struct span){0, 0};
    if (s.count)
        zset_remove_range(c, &o, s.first, s.count, event);
    reply_int(c->reply, (int64_t)s.count);
}

void cmd_zremrangebyrank(struct call *c) { remove_range(c, BY_RANK, "zremrangebyrank"); }
void cmd_zremrangebyscore(struct call *c) { remove_range(c, BY_SCORE, "zremrangebyscore"); }
void cmd_zremrangebylex(struct call *c) { remove_range(c, BY_MEMBER, "zremrangebylex"); }
