/* ranking.c -- small sorted sets: tables of bits, members one after the other (the layout: ranking.h).
 *
 * A field of a table is read by the eight bytes that end with its last one: what stands before the first table is the header, so
 * this never leaves the block. Fields have up to 57 bits, which any eight such bytes hold, or all 64, which begin at a byte.
 */
#include "types/ranking.h"

#include "base/assert.h"
#include "data/small.h"
#include "types/score.h"

#include <math.h>

struct ranking {
    uint16_t count, used; /* used: bytes of members */
    uint8_t size_base, size_bits, score_bits;
    uint8_t shape; /* low 4 bits: form, high 4 bits: bytes of the base */
    uint8_t data[];
};
_Static_assert(offsetof(struct ranking, data) == 8, "a field is read with up to 8 bytes before it");

/* 0 to 3: decimal places. */
enum { FORM_BITS = 4 };

#define FIELD_BITS_MAX 57u
#define NUMBER_MAX 9007199254740992.0 /* 2^53: up to here each whole number is a double */

static const double powers[] = {1, 10, 100, 1000};

/* ---- fields ---- */

static uint64_t mask_of(unsigned bits) { return bits ? ~UINT64_C(0) >> (64 - bits) : 0; }

static inline uint64_t field_in(const uint8_t *table, unsigned bit, unsigned bits, uint64_t mask)
{
    uint64_t eight;
    unsigned end = (bit + bits + 7) / 8;
    memcpy(&eight, table + end - 8, sizeof(eight));
    return eight >> ((bit - 8 * end) & 63) & mask;
}

static uint64_t field_at(const uint8_t *table, unsigned bit, unsigned bits) { return field_in(table, bit, bits, mask_of(bits)); }

static unsigned bits_for(uint64_t value) { return value ? 64 - (unsigned)__builtin_clzll(value) : 0; }
static unsigned table_size(unsigned count, unsigned bits) { return (count * bits + 7) / 8; }

/* A table being written. */
struct writer { uint8_t *at; uint64_t pending; unsigned count; };

static inline void write_some(struct writer *w, uint64_t value, unsigned bits) /* at most 32 */
{
    w->pending |= value << w->count;
    w->count += bits;
    if (w->count >= 32) {
        memcpy(w->at, &w->pending, 4);
        w->at += 4;
        w->pending >>= 32;
        w->count -= 32;
    }
}

static inline void write_field(struct writer *w, uint64_t value, unsigned bits)
{
    write_some(w, value & UINT32_MAX, bits < 32 ? bits : 32);
    if (bits > 32)
        write_some(w, value >> 32, bits - 32);
}

static void write_bits_of(struct writer *w, const uint8_t *table, unsigned from, unsigned end)
{
    for (; end - from > 32; from += 32)
        write_some(w, field_at(table, from, 32), 32);
    write_some(w, field_at(table, from, end - from), end - from);
}

static void write_end(struct writer *w) { memcpy(w->at, &w->pending, (w->count + 7) / 8); }

/* ---- scores as numbers of a form ---- */

/* Of the same order as the scores. False: the form does not have this score. */
static bool number_of(double score, unsigned form, int64_t *number)
{
    if (form == FORM_BITS) {
        *number = (int64_t)(score_order(score) ^ SCORE_SIGN);
        return true;
    }
    double scaled = score * powers[form];
    if (!(fabs(scaled) <= NUMBER_MAX))
        return false;
    *number = form ? llrint(scaled) : (int64_t)scaled;
    return (double)*number / powers[form] == score;
}

static inline double score_from(int64_t number, unsigned form)
{
    if (form == FORM_BITS)
        return score_of_order((uint64_t)number ^ SCORE_SIGN);
    return form ? (double)number / powers[form] : (double)number;
}

/* ---- reading ---- */

static size_t size_of(const struct ranking *r)
{
    return sizeof(*r) + (r->shape >> 4) + table_size(r->count, r->size_bits) + table_size(r->count, r->score_bits) + r->used;
}

static struct ranking_view view_of(const struct ranking *r)
{
    struct ranking_view v = {0};
    if (!r)
        return v;
    unsigned base_size = r->shape >> 4;
    if (base_size) {
        uint64_t base;
        memcpy(&base, r->data + base_size - 8, sizeof(base)); /* its bytes on top, to take the sign from there */
        v.base = (int64_t)base >> (64 - 8 * base_size);
    }
    v.count = r->count;
    v.used = r->used;
    v.size_base = r->size_base;
    v.size_bits = r->size_bits;
    v.score_bits = r->score_bits;
    v.form = r->shape & 15;
    v.size_mask = mask_of(v.size_bits);
    v.score_mask = mask_of(v.score_bits);
    v.sizes = r->data + base_size;
    v.scores = v.sizes + table_size(v.count, v.size_bits);
    v.members = v.scores + table_size(v.count, v.score_bits);
    return v;
}

static inline unsigned size_at(const struct ranking_view *v, unsigned i)
{
    return v->size_base + (unsigned)field_in(v->sizes, i * v->size_bits, v->size_bits, v->size_mask);
}

static inline int64_t number_at(const struct ranking_view *v, unsigned i)
{
    return (int64_t)((uint64_t)v->base + field_in(v->scores, i * v->score_bits, v->score_bits, v->score_mask));
}

static inline double score_at(const struct ranking_view *v, unsigned i) { return score_from(number_at(v, i), v->form); }

static unsigned lesser(unsigned a, unsigned b) { return a < b ? a : b; }

/* Of members [i, end): as many fields at once as one word has. */
static unsigned sizes_of(const struct ranking_view *v, unsigned i, unsigned end)
{
    unsigned sum = (end - i) * v->size_base, bits = v->size_bits, mask = (unsigned)v->size_mask, at_once = bits ? 56 / bits : 0;
    for (unsigned more; bits && i < end; i += more) {
        more = lesser(at_once, end - i);
        for (uint64_t fields = field_at(v->sizes, i * bits, more * bits); fields; fields >>= bits)
            sum += (unsigned)fields & mask;
    }
    return sum;
}

/* Of a member, counted from the nearer end; i == count: behind the last. */
static unsigned start_of(const struct ranking_view *v, unsigned i)
{
    return i <= v->count / 2 ? sizes_of(v, 0, i) : v->used - sizes_of(v, i, v->count);
}

unsigned ranking_count(const struct ranking *r) { return r ? r->count : 0; }
size_t ranking_memory(const struct ranking *r) { return r ? small_class_size(size_of(r)) : 0; }
void ranking_free(struct ranking *r) { small_free(r); }

struct ranking *ranking_dup(const struct ranking *r)
{
    return r ? memcpy(small_alloc(size_of(r)), r, size_of(r)) : NULL;
}

/* Members of one size mostly begin alike: the last byte tells them apart. */
static bool is_member(const uint8_t *at, bytes member)
{
    size_t size = member.size;
    return size == 0 || (at[size - 1] == member.data[size - 1] && memcmp(at, member.data, size) == 0);
}

bool ranking_find(const struct ranking *r, bytes member, struct ranking_place *place, double *score)
{
    struct ranking_view v = view_of(r);
    for (unsigned i = 0, start = 0, size; i < v.count; i++, start += size) {
        size = size_at(&v, i);
        if (size != member.size || !is_member(v.members + start, member))
            continue;
        *place = (struct ranking_place){i, start, size};
        *score = score_at(&v, i);
        return true;
    }
    return false;
}

static struct scored scored_at(const struct ranking_cursor *c)
{
    return (struct scored){bytes_of(c->view.members + c->place.start, c->place.size), score_at(&c->view, c->place.index)};
}

bool ranking_seek(const struct ranking *r, uint64_t index, struct ranking_cursor *c, struct scored *out)
{
    if (index >= ranking_count(r))
        return false;
    unsigned i = (unsigned)index;
    c->view = view_of(r);
    c->place = (struct ranking_place){i, start_of(&c->view, i), size_at(&c->view, i)};
    *out = scored_at(c);
    return true;
}

bool ranking_next(struct ranking_cursor *c, struct scored *out)
{
    struct ranking_place *p = &c->place;
    if (p->index + 1 >= c->view.count)
        return false;
    *p = (struct ranking_place){p->index + 1, p->start + p->size, size_at(&c->view, p->index + 1)};
    *out = scored_at(c);
    return true;
}

bool ranking_previous(struct ranking_cursor *c, struct scored *out)
{
    struct ranking_place *p = &c->place;
    if (p->index == 0)
        return false;
    unsigned size = size_at(&c->view, p->index - 1);
    *p = (struct ranking_place){p->index - 1, p->start - size, size};
    *out = scored_at(c);
    return true;
}

static unsigned below(const struct ranking_view *v, double score, bool equal)
{
    unsigned low = 0, high = v->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        double there = score_at(v, middle);
        if (there < score || (equal && there == score))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

unsigned ranking_below_score(const struct ranking *r, double score, bool equal)
{
    struct ranking_view v = view_of(r);
    return below(&v, score, equal);
}

/* ---- frames ---- */

/* All that a block says of its fields. */
struct frame {
    int64_t base;
    unsigned size_base, size_bits, score_bits, form;
};

/* What a block becomes: members [cut, cut_end) go, `one` comes to stand before member `at`. */
struct change {
    const struct scored *one; /* NULL: nobody comes */
    unsigned at, cut, cut_end;
};

static struct frame frame_of(const struct ranking_view *v)
{
    return (struct frame){v->base, v->size_base, v->size_bits, v->score_bits, v->form};
}

static bool holds_number(const struct frame *f, int64_t number)
{
    return f->score_bits == 64 || (number >= f->base && bits_for((uint64_t)number - (uint64_t)f->base) <= f->score_bits);
}

/* down: the lowest one is new, so lower ones may follow: the room that the bits give lies below. */
static void span_scores(struct frame *f, int64_t low, int64_t high, bool down)
{
    uint64_t distance = (uint64_t)high - (uint64_t)low;
    f->score_bits = bits_for(distance);
    f->base = low;
    if (f->score_bits > FIELD_BITS_MAX) {
        f->score_bits = 64;
        f->base = 0;
        return;
    }
    uint64_t room = (UINT64_C(1) << f->score_bits) - 1 - distance;
    if ((uint64_t)low <= room)
        f->base = 0; /* not below 0, and 0 takes no bytes */
    else if (down && (low >= 0 || (uint64_t)low - (uint64_t)INT64_MIN >= room))
        f->base = low - (int64_t)room;
}

static void span_sizes(struct frame *f, size_t low, size_t high)
{
    f->size_base = low < 255 ? (unsigned)low : 255;
    f->size_bits = bits_for(high - f->size_base);
}

static bool stays(const struct change *c, unsigned i) { return i < c->cut || i >= c->cut_end; }

/* False: some score is not of this form. */
static bool span_in_form(const struct ranking_view *v, const struct change *c, unsigned form, struct frame *f)
{
    int64_t low = INT64_MAX, high = INT64_MIN, number;
    for (unsigned i = 0; i <= v->count; i++) {
        if (i == v->count ? !c->one : !stays(c, i))
            continue;
        if (!number_of(i == v->count ? c->one->score : score_at(v, i), form, &number))
            return false;
        low = number < low ? number : low;
        high = number > high ? number : high;
    }
    f->form = form;
    span_scores(f, low, high, false);
    return true;
}

static void span_all_sizes(const struct ranking_view *v, const struct change *c, struct frame *f)
{
    size_t low = c->one ? c->one->member.size : SIZE_MAX, high = c->one ? low : 0;
    for (unsigned i = 0; i < v->count; i++) {
        size_t size = size_at(v, i);
        if (!stays(c, i))
            continue;
        low = size < low ? size : low;
        high = size > high ? size : high;
    }
    span_sizes(f, low, high);
}

/* The tightest. */
static struct frame frame_anew(const struct ranking_view *v, const struct change *c)
{
    struct frame f = {0};
    while (!span_in_form(v, c, f.form, &f))
        f.form++;
    span_all_sizes(v, c, &f);
    return f;
}

/* That of the block, widened if need be. */
static struct frame frame_with(const struct ranking_view *v, const struct change *c)
{
    struct frame f = frame_of(v);
    int64_t number, low, high;
    if (v->count == 0)
        return frame_anew(v, c);
    if (!number_of(c->one->score, f.form, &number)) {
        do
            f.form++;
        while (!span_in_form(v, c, f.form, &f));
    } else if (!holds_number(&f, number)) {
        low = number_at(v, 0);
        high = number_at(v, v->count - 1);
        span_scores(&f, number < low ? number : low, number > high ? number : high, number < low);
    }
    size_t size = c->one->member.size;
    if (size < f.size_base || bits_for(size - f.size_base) > f.size_bits)
        span_all_sizes(v, c, &f);
    return f;
}

/* ---- changing ---- */

struct building {
    const struct ranking_view *from;
    const struct frame *frame;
    struct writer sizes, scores;
    uint8_t *members;
    bool same_sizes, same_scores; /* as in the block before: bits can be copied */
};

static void put_one(struct building *b, bytes member, double score)
{
    const struct frame *f = b->frame;
    int64_t number = 0;
    bool fits = number_of(score, f->form, &number);
    hf_assert(fits);
    write_field(&b->sizes, member.size - f->size_base, f->size_bits);
    write_field(&b->scores, (uint64_t)number - (uint64_t)f->base, f->score_bits);
    if (member.size)
        memcpy(b->members, member.data, member.size);
    b->members += member.size;
}

static void put_numbers(struct building *b, unsigned i, unsigned end)
{
    const struct ranking_view *v = b->from;
    const struct frame *f = b->frame;
    for (; i < end; i++) {
        int64_t number = number_at(v, i);
        bool fits = f->form == v->form || number_of(score_from(number, v->form), f->form, &number);
        hf_assert(fits);
        write_field(&b->scores, (uint64_t)number - (uint64_t)f->base, f->score_bits);
    }
}

/* Members [i, end) as they are. */
static void put_run(struct building *b, unsigned i, unsigned end, unsigned start, unsigned behind)
{
    const struct ranking_view *v = b->from;
    memcpy(b->members, v->members + start, behind - start);
    b->members += behind - start;
    if (b->same_scores)
        write_bits_of(&b->scores, v->scores, i * v->score_bits, end * v->score_bits);
    else
        put_numbers(b, i, end);
    if (b->same_sizes)
        write_bits_of(&b->sizes, v->sizes, i * v->size_bits, end * v->size_bits);
    else
        for (; i < end; i++)
            write_field(&b->sizes, size_at(v, i) - b->frame->size_base, b->frame->size_bits);
}

static void put_all(struct building *b, const struct change *c)
{
    const struct ranking_view *v = b->from;
    unsigned i = 0, start = 0, at = c->one ? c->at : v->count + 1;
    while (i < v->count || at <= v->count) {
        if (i == at) {
            put_one(b, c->one->member, c->one->score);
            at = v->count + 1;
        } else if (i == c->cut && c->cut < c->cut_end) {
            i = c->cut_end; /* where it goes is not in between */
            start = start_of(v, i);
        } else {
            unsigned end = lesser(at, v->count);
            if (i < c->cut)
                end = lesser(end, c->cut);
            unsigned behind = end == v->count ? v->used : start_of(v, end);
            put_run(b, i, end, start, behind);
            i = end;
            start = behind;
        }
    }
}

/* Bytes of a base, whose sign is that of the highest. */
static unsigned base_size_of(int64_t base)
{
    return base ? bits_for((uint64_t)(base < 0 ? ~base : base)) / 8 + 1 : 0;
}

/* A block after a change, in a frame that fits. NULL: too large. */
static struct ranking *build(const struct ranking_view *v, const struct change *c, const struct frame *f)
{
    unsigned base_size = base_size_of(f->base), count = v->count - (c->cut_end - c->cut) + (c->one != NULL);
    size_t used = v->used - (start_of(v, c->cut_end) - start_of(v, c->cut)) + (c->one ? c->one->member.size : 0);
    size_t size = sizeof(struct ranking) + base_size + used;
    if (size <= RANKING_SIZE_MAX)
        size += table_size(count, f->size_bits) + table_size(count, f->score_bits);
    if (size > RANKING_SIZE_MAX)
        return NULL;
    struct ranking *r = small_alloc(size);
    *r = (struct ranking){(uint16_t)count, (uint16_t)used, (uint8_t)f->size_base, (uint8_t)f->size_bits, (uint8_t)f->score_bits,
                          (uint8_t)(f->form | base_size << 4)};
    memcpy(r->data, &f->base, base_size);
    struct building b = {.from = v, .frame = f, .sizes.at = r->data + base_size};
    b.scores.at = b.sizes.at + table_size(count, f->size_bits);
    b.members = b.scores.at + table_size(count, f->score_bits);
    b.same_sizes = f->size_bits == v->size_bits && f->size_base == v->size_base;
    b.same_scores = f->score_bits == v->score_bits && f->base == v->base && f->form == v->form;
    put_all(&b, c);
    write_end(&b.sizes);
    write_end(&b.scores);
    return r;
}

/* Before which member a new one comes to stand. */
static unsigned place_for(const struct ranking_view *v, const struct scored *one)
{
    unsigned i = below(v, one->score, false);
    if (i == v->count || score_at(v, i) != one->score)
        return i;
    for (unsigned start = start_of(v, i), size; i < v->count && score_at(v, i) == one->score; i++, start += size) { /* by member */
        size = size_at(v, i);
        if (bytes_compare(bytes_of(v->members + start, size), one->member) > 0)
            break;
    }
    return i;
}

static struct ranking *changed(struct ranking *r, const struct ranking_view *v, const struct change *c, const struct frame *f)
{
    struct ranking *fresh = build(v, c, f);
    if (fresh)
        small_free(r);
    return fresh;
}

struct ranking *ranking_try_add(struct ranking *r, struct scored one)
{
    if (one.member.size > RANKING_SIZE_MAX || ranking_count(r) >= UINT16_MAX)
        return NULL;
    struct ranking_view v = view_of(r);
    struct change c = {.one = &one, .at = place_for(&v, &one)};
    struct frame f = frame_with(&v, &c);
    return changed(r, &v, &c, &f);
}

struct ranking *ranking_try_move(struct ranking *r, struct ranking_place from, struct scored one)
{
    struct ranking_view v = view_of(r);
    struct change c = {.one = &one, .at = place_for(&v, &one), .cut = from.index, .cut_end = from.index + 1};
    struct frame f = frame_with(&v, &c);
    return changed(r, &v, &c, &f);
}

struct ranking *ranking_remove(struct ranking *r, unsigned first, unsigned count)
{
    struct ranking_view v = view_of(r);
    struct change c = {.cut = first, .cut_end = first + count};
    unsigned left = v.count - count;
    if (left == 0) {
        small_free(r);
        return NULL;
    }
    bool tighten = count > 1 || (left & (left - 1)) == 0; /* now and then: nothing may remain of what was wide */
    struct frame f = tighten ? frame_anew(&v, &c) : frame_of(&v);
    struct ranking *fresh = changed(r, &v, &c, &f);
    hf_assert(fresh);
    return fresh;
}

void ranking_check(const struct ranking *r)
{
    struct ranking_cursor c;
    struct scored one, before;
    unsigned count = 0;
    size_t used = 0;
    if (!r)
        return;
    hf_assert(r->count > 0 && (r->shape & 15) <= FORM_BITS && r->shape >> 4 <= 8 && r->size_bits <= 16);
    hf_assert(r->score_bits <= FIELD_BITS_MAX || r->score_bits == 64);
    for (bool more = ranking_seek(r, 0, &c, &one); more; before = one, more = ranking_next(&c, &one), count++) {
        struct ranking_place found;
        double score;
        hf_assert(count == 0 || before.score < one.score || (before.score == one.score && bytes_compare(before.member, one.member) < 0));
        bool is_there = ranking_find(r, one.member, &found, &score);
        hf_assert(is_there && found.index == count && found.start == used && score == one.score);
        hf_assert(start_of(&c.view, count) == used);
        used += one.member.size;
    }
    hf_assert(count == r->count && used == r->used && size_of(r) <= RANKING_SIZE_MAX);
}
