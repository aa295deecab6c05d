/* table.c -- find, insert, remove; growth in hash order; deadlines by bucket.
 *
 * Growing: `next` is the index at its new size; homes of `now` below `frontier` have
 * been moved. A run [frontier, end) is moved at a time, end chosen so that no key from
 * before it is stored at or after it; therefore after a run every key whose home is
 * below the frontier stands in next, and no other.
 * Load is kept between 0.50 and 0.80; growth is by a quarter, so that the index stays
 * near 9 bytes a key (a doubling index would average 11.5).
 */
#include "store/table.h"

#include "base/memory.h"
#include "os/thread.h"
#include "store/chunks.h"
#include "store/wheel.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define LOAD_GROW_PERCENT 80
#define LOAD_SHRINK_PERCENT 45
#define SPILL_STASH 15u
#define DISTANCE_MAX 14u
#define MOVE_BUCKETS 4u
#define RENEW_BUCKETS_MAX 16384u /* 0.1 ms */
#define META_ENROLLED (1u << 25)

static uint32_t home_of(const struct index *x, uint64_t hash)
{
    return (uint32_t)((hash >> 32) * x->home_count >> 32);
}

static uint8_t tag_of(uint64_t hash)
{
    uint8_t tag = (uint8_t)hash;
    return tag ? tag : 1;
}

static struct bucket *bucket_at(const struct index *x, uint32_t number)
{
    return &x->chunks[number / CHUNK_BUCKETS][number % CHUNK_BUCKETS];
}

static uint32_t spill_of(const struct bucket *b) { return b->meta >> 26 & 15; }
static void set_spill(struct bucket *b, uint32_t spill) { b->meta = (b->meta & ~(15u << 26)) | spill << 26; }

HF_INLINE uint64_t ref_number(const uint8_t ref[5])
{
    uint32_t low;
    memcpy(&low, ref, 4);
    return low | (uint64_t)ref[4] << 32;
}

static struct entry *ref_entry(const struct table *t, const uint8_t ref[5])
{
    return (struct entry *)(t->base + ref_number(ref) * 8);
}

static void set_ref(const struct table *t, struct bucket *b, unsigned at, uint8_t tag, const struct entry *e)
{
    uint64_t number = (uint64_t)((const uint8_t *)e - t->base) / 8;
    memcpy(b->ref[at], &number, 5);
    b->tag[at] = tag;
}

HF_INLINE unsigned match_tag(const struct bucket *b, uint8_t tag)
{
#if defined(__SSE2__)
    __m128i line = _mm_load_si128((const __m128i *)(const void *)b);
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(line, _mm_set1_epi8((char)tag))) & 0x3ff;
#else
    unsigned mask = 0;
    for (unsigned i = 0; i < BUCKET_ENTRIES; i++)
        mask |= (unsigned)(b->tag[i] == tag) << i;
    return mask;
#endif
}

static void index_init(struct index *x, struct chunks *source, uint64_t homes)
{
    uint32_t tail = homes < 128 ? 2 : 15;
    uint64_t buckets = (homes + tail + CHUNK_BUCKETS - 1) / CHUNK_BUCKETS * CHUNK_BUCKETS;
    hf_assert(buckets < UINT32_MAX);
    *x = (struct index){.source = source, .bucket_count = (uint32_t)buckets, .home_count = (uint32_t)homes};
    x->chunks = mem_zalloc(buckets / CHUNK_BUCKETS * sizeof(*x->chunks));
}

static void index_ensure(struct index *x, uint32_t number)
{
    struct bucket **chunk = &x->chunks[number / CHUNK_BUCKETS];
    if (!*chunk)
        *chunk = chunks_take(x->source);
}

static void index_release(struct index *x)
{
    for (uint32_t i = 0; x->chunks && i < x->bucket_count / CHUNK_BUCKETS; i++)
        chunks_give(x->source, x->chunks[i]);
    mem_free(x->chunks);
    mem_free(x->stash);
    *x = (struct index){0};
}

struct table *table_new(uint64_t (*hash_of)(const void *, bytes), const void *context, uint8_t *slab_base,
                        struct chunks *chunks, uint32_t db_id, uint32_t stripe)
{
    static const uint16_t stagger[8] = {320, 329, 338, 348, 358, 368, 378, 389};
    struct table *t = mem_zalloc(sizeof(*t));
    t->hash_of = hash_of;
    t->context = context;
    t->base = slab_base;
    t->db_id = db_id;
    t->stagger = stagger[stripe % 8];
    index_init(&t->now, chunks, 14);
    index_ensure(&t->now, 0);
    return t;
}

/* All homes exist: finds need no test. */
static void index_ensure_homes(struct index *x)
{
    for (uint32_t n = 0; n < x->home_count; n += CHUNK_BUCKETS)
        index_ensure(x, n);
    index_ensure(x, x->home_count - 1);
}

void table_reserve(struct table *t, uint64_t count)
{
    hf_assert(t->count == 0);
    uint64_t load_percent = 64 + (uint64_t)(t->stagger - 320) / 5; /* 64 to 77 */
    uint64_t homes = count * 100 / load_percent / BUCKET_ENTRIES + 1;
    if (t->growing || homes <= t->now.home_count)
        return;
    struct chunks *source = t->now.source;
    index_release(&t->now);
    index_init(&t->now, source, homes);
    index_ensure_homes(&t->now);
}

void table_free(struct table *t)
{
    index_release(&t->now);
    index_release(&t->next);
    wheel_free(t->wheel);
    mem_free(t);
}

/* The index that holds a hash at this moment of the growth. */
static struct index *index_for(struct table *t, uint64_t hash)
{
    return t->growing && home_of(&t->now, hash) < t->frontier ? &t->next : &t->now;
}

static inline void prefetch_line(const void *line, bool change)
{
    if (change)
        __builtin_prefetch(line, 1);
    else
        __builtin_prefetch(line, 0);
}

const struct bucket *table_prefetch(const struct table *t, uint64_t hash, bool change)
{
    const struct index *x = index_for((struct table *)t, hash);
    const struct bucket *b = bucket_at(x, home_of(x, hash));
    prefetch_line(b, change);
    return b;
}

HF_RACES_BY_DESIGN void bucket_prefetch_entry(const struct bucket *b, const uint8_t *slab_base, uint64_t hash, bool change)
{
    unsigned matches = match_tag(b, tag_of(hash));
    if (matches) {
        const uint8_t *e = slab_base + ref_number(b->ref[__builtin_ctz(matches)]) * 8;
        prefetch_line(e, change);
        prefetch_line(e + 64, change);
    }
}

static bool match_key(const struct table *t, const struct bucket *b, uint8_t tag, bytes key, unsigned *at,
                      struct entry **found)
{
    for (unsigned matches = match_tag(b, tag); matches; matches &= matches - 1) {
        unsigned candidate = (unsigned)__builtin_ctz(matches);
        struct entry *e = ref_entry(t, b->ref[candidate]);
        if (bytes_equal(entry_key(e), key)) {
            *at = candidate;
            *found = e;
            return true;
        }
    }
    return false;
}

bool table_find(struct table *t, bytes key, uint64_t hash, struct place *p)
{
    struct index *x = index_for(t, hash);
    uint32_t home = home_of(x, hash);
    struct bucket *b = bucket_at(x, home);
    uint8_t tag = tag_of(hash);
    *p = (struct place){.index = x, .bucket = b, .number = home};
    if (HF_LIKELY(match_key(t, b, tag, key, &p->at, &p->entry)))
        return true;
    uint32_t spill = spill_of(b);
    for (uint32_t d = 1; d <= spill && d <= DISTANCE_MAX && home + d < x->bucket_count; d++) {
        if (!x->chunks[(home + d) / CHUNK_BUCKETS])
            break;
        struct bucket *other = bucket_at(x, home + d);
        if (match_key(t, other, tag, key, &p->at, &p->entry)) {
            p->bucket = other;
            p->number = home + d;
            return true;
        }
    }
    for (uint32_t i = 0; spill == SPILL_STASH && i < x->stash_count; i++) {
        struct entry *e = (struct entry *)(t->base + x->stash[i] * 8);
        if (bytes_equal(entry_key(e), key)) {
            *p = (struct place){.entry = e, .index = x, .number = i};
            return true;
        }
    }
    p->entry = NULL;
    return false;
}

/* 0: nothing to wait for. */
static void enrol(struct table *t, const struct index *x, uint32_t number, uint64_t deadline_ms)
{
    if (!deadline_ms)
        return;
    struct bucket *b = bucket_at(x, number);
    if (!t->wheel)
        t->wheel = wheel_new(0);
    unsigned slot = wheel_slot_for(t->wheel, deadline_ms);
    if (b->meta & META_ENROLLED &&
        wheel_slot_time(t->wheel, b->meta >> 16 & 511) <= wheel_slot_time(t->wheel, slot))
        return;
    b->meta = (b->meta & ~(511u << 16)) | slot << 16 | META_ENROLLED;
    wheel_add(t->wheel, slot, number << 1 | (x == &t->next));
}

/* Places an entry of an absent key; returns nothing because it always finds room. */
static void index_put(struct table *t, struct index *x, uint64_t hash, struct entry *e)
{
    uint32_t home = home_of(x, hash);
    index_ensure(x, home);
    struct bucket *first = bucket_at(x, home);
    for (uint32_t d = 0; d <= DISTANCE_MAX && home + d < x->bucket_count; d++) {
        index_ensure(x, home + d);
        struct bucket *b = bucket_at(x, home + d);
        unsigned empty = match_tag(b, 0);
        if (!empty)
            continue;
        set_ref(t, b, (unsigned)__builtin_ctz(empty), tag_of(hash), e);
        if (d > spill_of(first))
            set_spill(first, d);
        if (e->fields & (FIELD_DEADLINE | FIELD_PARTS))
            enrol(t, x, home + d, entry_wake(e));
        return;
    }
    if (x->stash_count == x->stash_capacity) {
        x->stash_capacity = x->stash_capacity ? x->stash_capacity * 2 : 4;
        x->stash = mem_realloc(x->stash, x->stash_capacity * sizeof(*x->stash));
    }
    x->stash[x->stash_count++] = (uint64_t)((uint8_t *)e - t->base) / 8;
    set_spill(first, SPILL_STASH);
    if (e->fields & (FIELD_DEADLINE | FIELD_PARTS)) /* the wheel knows it by its home */
        enrol(t, x, home, entry_wake(e));
}

static uint64_t capacity_of(const struct index *x)
{
    return (uint64_t)x->home_count * BUCKET_ENTRIES;
}

static void growth_begin(struct table *t, uint64_t homes)
{
    index_init(&t->next, t->now.source, homes);
    t->growing = true;
    t->frontier = 0;
}

static void stamp_later(struct bucket *b, uint32_t page, uint64_t tail, bool first)
{
    uint16_t now = (uint16_t)(tail >> 12);
    uint16_t age = (uint16_t)(now - (uint16_t)page), present = (uint16_t)(now - (uint16_t)b->meta);
    if (first || age < present)
        b->meta = (b->meta & ~0xffffu) | (page & 0xffff);
}

/* Copies the stamp of home bucket `o` of now to the buckets of next that cover its hashes. */
static void copy_stamp(struct table *t, uint32_t o, uint64_t tail)
{
    uint64_t low = (uint64_t)o * t->next.home_count / t->now.home_count;
    uint64_t high = ((uint64_t)(o + 1) * t->next.home_count + t->now.home_count - 1) / t->now.home_count;
    bool shared = (uint64_t)o * t->next.home_count % t->now.home_count != 0;
    for (uint64_t n = low; n < high && n < t->next.home_count; n++) {
        index_ensure(&t->next, (uint32_t)n);
        stamp_later(bucket_at(&t->next, (uint32_t)n), bucket_at(&t->now, o)->meta, tail, !(n == low && shared));
    }
}

static void move_entry(struct table *t, struct entry *e)
{
    index_put(t, &t->next, t->hash_of(t->context, entry_key(e)), e);
}

/* Growth has enrolled every bucket anew; forgets the items that named the old index, which would otherwise
 * stay until their time comes. One slice, so tables that a slice cannot walk keep them. */
static void wheel_renew(struct table *t)
{
    const struct index *x = &t->now;
    if (!t->wheel || x->bucket_count > RENEW_BUCKETS_MAX)
        return;
    wheel_clear(t->wheel);
    for (uint32_t n = 0; n < x->bucket_count; n++) {
        uint32_t meta = x->chunks[n / CHUNK_BUCKETS] ? bucket_at(x, n)->meta : 0;
        if (meta & META_ENROLLED)
            wheel_add(t->wheel, meta >> 16 & 511, n << 1);
    }
}

/* Moves one run; finishes the growth after the last. */
static void growth_step(struct table *t, uint64_t tail)
{
    struct index *x = &t->now;
    uint32_t start = t->frontier, end = start, reach = start;
    while (end <= reach && end < x->home_count) {
        uint32_t spill = spill_of(bucket_at(x, end));
        if (spill == SPILL_STASH)
            spill = DISTANCE_MAX;
        if (end + spill > reach)
            reach = end + spill;
        end++;
        if (end > reach && end - start < MOVE_BUCKETS)
            reach = end;
    }
    uint32_t stop = end == x->home_count ? x->bucket_count : end;
    for (uint32_t n = start; n < stop; n++) {
        if (!x->chunks[n / CHUNK_BUCKETS])
            continue;
        struct bucket *b = bucket_at(x, n);
        if (n < x->home_count)
            copy_stamp(t, n, tail);
        for (unsigned i = 0; i < BUCKET_ENTRIES; i++) {
            if (b->tag[i])
                __builtin_prefetch(ref_entry(t, b->ref[i]));
        }
        for (unsigned i = 0; i < BUCKET_ENTRIES; i++) {
            if (b->tag[i]) {
                b->tag[i] = 0;
                move_entry(t, ref_entry(t, b->ref[i]));
            }
        }
    }
    for (uint32_t i = 0; i < x->stash_count;) {
        struct entry *e = (struct entry *)(t->base + x->stash[i] * 8);
        if (home_of(x, t->hash_of(t->context, entry_key(e))) < end) {
            x->stash[i] = x->stash[--x->stash_count];
            move_entry(t, e);
        } else {
            i++;
        }
    }
    for (uint32_t chunk = start / CHUNK_BUCKETS; chunk < stop / CHUNK_BUCKETS; chunk++) {
        chunks_give(x->source, x->chunks[chunk]);
        x->chunks[chunk] = NULL;
    }
    t->frontier = end;
    if (end == x->home_count) {
        index_ensure_homes(&t->next);
        index_release(x);
        t->now = t->next;
        t->next = (struct index){0};
        t->growing = false;
        t->frontier = 0;
        wheel_renew(t);
    }
}

/* Shrinking begins at removals only: a table with room reserved is not too large. */
static void growth_advance(struct table *t, uint64_t tail, bool removed)
{
    if (t->growing) {
        growth_step(t, tail);
    } else if (t->count * 100 > capacity_of(&t->now) * LOAD_GROW_PERCENT) {
        uint64_t homes = t->now.home_count;
        growth_begin(t, homes < 64 ? homes * t->stagger / 256 + 1 : homes + homes / 4);
    } else if (removed && t->now.home_count > 64 && t->count * 100 < capacity_of(&t->now) * LOAD_SHRINK_PERCENT) {
        growth_begin(t, t->count * 100 / 70 / BUCKET_ENTRIES + 14);
    }
}

void table_insert(struct table *t, uint64_t hash, struct entry *e, uint64_t tail)
{
    growth_advance(t, tail, false);
    index_put(t, index_for(t, hash), hash, e);
    t->count++;
    t->deadline_count += (e->fields & FIELD_DEADLINE) != 0;
}

void table_replace(struct table *t, const struct place *p, struct entry *e)
{
    t->deadline_count += (uint64_t)((e->fields & FIELD_DEADLINE) != 0) - (uint64_t)((p->entry->fields & FIELD_DEADLINE) != 0);
    if (!p->bucket) {
        p->index->stash[p->number] = (uint64_t)((uint8_t *)e - t->base) / 8;
        if (e->fields & (FIELD_DEADLINE | FIELD_PARTS))
            enrol(t, p->index, home_of(p->index, t->hash_of(t->context, entry_key(e))), entry_wake(e));
        return;
    }
    set_ref(t, p->bucket, p->at, p->bucket->tag[p->at], e);
    if (e->fields & (FIELD_DEADLINE | FIELD_PARTS))
        enrol(t, p->index, p->number, entry_wake(e));
}

/* Recomputes how far the keys of one home have spilled. */
static void respill(struct table *t, struct index *x, uint32_t home)
{
    struct bucket *first = bucket_at(x, home);
    uint32_t spill = 0, old = spill_of(first);
    if (old == SPILL_STASH)
        return;
    for (uint32_t d = 1; d <= old && home + d < x->bucket_count; d++) {
        struct bucket *b = bucket_at(x, home + d);
        for (unsigned i = 0; i < BUCKET_ENTRIES; i++) {
            if (b->tag[i] && home_of(x, t->hash_of(t->context, entry_key(ref_entry(t, b->ref[i])))) == home)
                spill = d;
        }
    }
    set_spill(first, spill);
}

void table_remove(struct table *t, const struct place *p, uint64_t hash, uint64_t tail)
{
    t->count--;
    t->deadline_count -= (p->entry->fields & FIELD_DEADLINE) != 0;
    if (p->bucket) {
        p->bucket->tag[p->at] = 0;
        uint32_t home = home_of(p->index, hash);
        if (p->number != home)
            respill(t, p->index, home);
    } else {
        p->index->stash[p->number] = p->index->stash[--p->index->stash_count];
    }
    growth_advance(t, tail, true);
}

void table_enrol(struct table *t, bytes key, uint64_t hash, uint64_t deadline_ms)
{
    struct place p;
    if (table_find(t, key, hash, &p))
        enrol(t, p.index, p.bucket ? p.number : home_of(p.index, hash), deadline_ms);
}

void table_stamp(struct table *t, uint64_t hash, uint64_t lsn)
{
    struct index *x = index_for(t, hash);
    struct bucket *b = bucket_at(x, home_of(x, hash));
    b->meta = (b->meta & ~0xffffu) | (lsn >> 12 & 0xffff);
}

void table_stamp_all(struct table *t, uint64_t lsn)
{
    for (uint32_t n = 0; n < t->now.home_count; n++)
        bucket_at(&t->now, n)->meta |= lsn >> 12 & 0xffff;
}

uint64_t table_stamp_lsn(const struct table *t, uint64_t hash, uint64_t tail)
{
    const struct index *x = index_for((struct table *)t, hash);
    uint64_t page = tail >> 12;
    uint16_t age = (uint16_t)((uint16_t)page - (uint16_t)bucket_at(x, home_of(x, hash))->meta);
    if (age > page)
        return 0;
    uint64_t lsn = (page - age) << 12 | 4095;
    return lsn < tail ? lsn : tail;
}

uint64_t table_next_deadline(const struct table *t)
{
    return t->wheel ? wheel_next(t->wheel) : UINT64_MAX;
}

struct firing { uint64_t now_ms, earliest; struct entry **due; unsigned *count; };

static void fire_entry(struct firing *f, struct entry *e)
{
    uint64_t deadline = entry_wake(e);
    if (!deadline)
        return;
    if (deadline <= f->now_ms && *f->count < BUCKET_ENTRIES)
        f->due[(*f->count)++] = e;
    else if (deadline < f->earliest)
        f->earliest = deadline;
}

bool table_due(struct table *t, uint64_t now_ms, struct entry *due[BUCKET_ENTRIES], unsigned *count)
{
    uint32_t item;
    unsigned slot;
    *count = 0;
    if (!t->wheel || !wheel_take(t->wheel, now_ms, &item, &slot))
        return false;
    /* The parity says which index it was made for; an index that has become `now` since
     * keeps odd items, so both are looked at: a wrong guess only costs a scan. */
    for (int which = 0; which < 2; which++) {
        struct index *x = which ? &t->next : &t->now;
        uint32_t number = item >> 1;
        if (!x->chunks || number >= x->bucket_count || !x->chunks[number / CHUNK_BUCKETS])
            continue;
        struct bucket *b = bucket_at(x, number);
        if (!(b->meta & META_ENROLLED) || (b->meta >> 16 & 511) != slot)
            continue;
        b->meta &= ~META_ENROLLED;
        struct firing f = {.now_ms = now_ms, .earliest = UINT64_MAX, .due = due, .count = count};
        for (unsigned i = 0; i < BUCKET_ENTRIES; i++) {
            if (b->tag[i])
                fire_entry(&f, ref_entry(t, b->ref[i]));
        }
        for (uint32_t i = 0; spill_of(b) == SPILL_STASH && i < x->stash_count; i++) {
            struct entry *e = (struct entry *)(t->base + x->stash[i] * 8);
            if (home_of(x, t->hash_of(t->context, entry_key(e))) == number)
                fire_entry(&f, e);
        }
        if (f.earliest != UINT64_MAX)
            enrol(t, x, number, f.earliest);
    }
    return true;
}

bool table_sample_deadlines(struct table *t, uint64_t random, bool first, void (*each)(void *, struct entry *, uint64_t), void *context)
{
    uint32_t item;
    if (!t->wheel || !wheel_pick(t->wheel, random, first, &item))
        return false;
    struct index *both[2] = {&t->now, &t->next};
    for (int which = 0; which < 2; which++) {
        struct index *x = both[which];
        uint32_t number = item >> 1;
        if (!x->chunks || number >= x->bucket_count || !x->chunks[number / CHUNK_BUCKETS])
            continue;
        const struct bucket *b = bucket_at(x, number);
        for (unsigned i = 0; i < BUCKET_ENTRIES; i++) {
            struct entry *e = b->tag[i] ? ref_entry(t, b->ref[i]) : NULL;
            if (e && e->fields & FIELD_DEADLINE)
                each(context, e, t->hash_of(t->context, entry_key(e)));
        }
        for (uint32_t i = 0; spill_of(b) == SPILL_STASH && i < x->stash_count; i++) {
            struct entry *e = (struct entry *)(t->base + x->stash[i] * 8);
            if (e->fields & FIELD_DEADLINE)
                each(context, e, t->hash_of(t->context, entry_key(e)));
        }
    }
    return true;
}

struct walk { uint64_t from, to; };

static void walk_bucket(struct table *t, struct index *x, uint32_t number, const struct walk *range,
                        void (*each)(void *, struct entry *, uint64_t), void *context)
{
    struct bucket *b = bucket_at(x, number);
    for (unsigned i = 0; i < BUCKET_ENTRIES; i++) {
        if (!b->tag[i])
            continue;
        struct entry *e = ref_entry(t, b->ref[i]);
        uint64_t hash = t->hash_of(t->context, entry_key(e));
        if (hash >> 32 >= range->from && hash >> 32 < range->to)
            each(context, e, hash);
    }
}

/* The misses of a bucket's entries overlap, and with the work on the bucket before it. */
static void prefetch_entries(const struct table *t, const struct index *x, uint32_t number)
{
    if (number >= x->bucket_count || !x->chunks[number / CHUNK_BUCKETS])
        return;
    const struct bucket *b = bucket_at(x, number);
    for (unsigned i = 0; i < BUCKET_ENTRIES; i++) {
        if (b->tag[i])
            __builtin_prefetch(ref_entry(t, b->ref[i]));
    }
}

/* First high hash half whose home is `home`. */
static uint64_t home_begins(const struct index *x, uint32_t home)
{
    return (((uint64_t)home << 32) + x->home_count - 1) / x->home_count;
}

static void walk_range(struct table *t, struct index *x, const struct walk *range,
                       void (*each)(void *, struct entry *, uint64_t), void *context)
{
    uint32_t first = home_of(x, range->from << 32), last = home_of(x, (range->to - 1) << 32);
    uint32_t reach = last;
    bool stash = false;
    for (uint32_t n = first; n <= last; n++) {
        uint32_t spill = spill_of(bucket_at(x, n));
        stash |= spill == SPILL_STASH;
        spill = spill == SPILL_STASH ? DISTANCE_MAX : spill;
        reach = n + spill > reach ? n + spill : reach;
    }
    prefetch_entries(t, x, first);
    for (uint32_t n = first; n <= reach && n < x->bucket_count; n++) {
        if (n < reach)
            prefetch_entries(t, x, n + 1);
        if (x->chunks[n / CHUNK_BUCKETS])
            walk_bucket(t, x, n, range, each, context);
    }
    for (uint32_t i = 0; stash && i < x->stash_count; i++) {
        struct entry *e = (struct entry *)(t->base + x->stash[i] * 8);
        uint64_t hash = t->hash_of(t->context, entry_key(e));
        if (hash >> 32 >= range->from && hash >> 32 < range->to)
            each(context, e, hash);
    }
}

uint64_t table_walk(struct table *t, uint64_t from, size_t at_least,
                    void (*each)(void *, struct entry *, uint64_t), void *context)
{
    uint64_t end = UINT64_C(1) << 32;
    hf_assert(from < end);
    struct index *x = index_for(t, from << 32);
    size_t asked = at_least / 8 + 1;
    uint32_t buckets = asked < x->home_count ? (uint32_t)asked : x->home_count, home = home_of(x, from << 32);
    uint32_t limit = x == &t->now || !t->growing ? x->home_count : 0;
    uint64_t to;
    if (limit == 0) { /* in next: up to where now takes over */
        to = home + buckets < x->home_count ? home_begins(x, home + buckets) : end;
        uint64_t border = t->frontier < t->now.home_count ? home_begins(&t->now, t->frontier) : end;
        to = to < border ? to : border;
    } else {
        to = home + buckets < limit ? home_begins(x, home + buckets) : end;
    }
    struct walk range = {from, to};
    walk_range(t, x, &range, each, context);
    return to;
}

struct pick { uint64_t left; struct entry *entry; };

static void pick_each(void *context, struct entry *e, uint64_t hash)
{
    struct pick *pick = context;
    (void)hash;
    if (!pick->entry || pick->left-- > 0)
        pick->entry = e;
}

struct entry *table_random(struct table *t, uint64_t random)
{
    struct pick pick = {.left = random >> 32 & 7};
    if (t->count == 0)
        return NULL;
    uint64_t at = random & 0xffffffff, end = UINT64_C(1) << 32;
    for (uint64_t from = at; from < end && !pick.entry;)
        from = table_walk(t, from, 1, pick_each, &pick);
    for (uint64_t from = 0; from < end && !pick.entry;)
        from = table_walk(t, from, 1, pick_each, &pick);
    return pick.entry;
}

static size_t take_bucket(struct table *t, struct index *x, uint64_t number, struct entry **out)
{
    size_t count = 0;
    if (!x->chunks || !x->chunks[number / CHUNK_BUCKETS])
        return 0;
    struct bucket *b = bucket_at(x, (uint32_t)number);
    for (unsigned i = 0; i < BUCKET_ENTRIES; i++) {
        if (b->tag[i]) {
            b->tag[i] = 0;
            out[count++] = ref_entry(t, b->ref[i]);
        }
    }
    return count;
}

size_t table_take_some(struct table *t, struct entry **out, size_t max)
{
    size_t count = 0;
    struct index *both[2] = {&t->now, &t->next};
    for (int i = 0; i < 2; i++) {
        while (both[i]->stash_count && count < max)
            out[count++] = (struct entry *)(t->base + both[i]->stash[--both[i]->stash_count] * 8);
    }
    uint64_t total = (uint64_t)t->now.bucket_count + t->next.bucket_count;
    for (; t->taken < total && count + BUCKET_ENTRIES <= max; t->taken++) {
        bool first = t->taken < t->now.bucket_count;
        count += take_bucket(t, first ? &t->now : &t->next, first ? t->taken : t->taken - t->now.bucket_count, out + count);
    }
    return count;
}

uint64_t table_wheel_memory(const struct table *t) { return wheel_memory(t->wheel); }

uint64_t table_index_memory(const struct table *t)
{
    uint64_t chunks = (t->now.bucket_count - t->frontier) / CHUNK_BUCKETS;
    if (t->growing) /* as far as it has come */
        chunks += (uint64_t)t->frontier * t->next.home_count / t->now.home_count / CHUNK_BUCKETS;
    return sizeof(*t) + chunks * (CHUNK_BUCKETS * sizeof(struct bucket) + sizeof(void *)) + wheel_memory(t->wheel);
}

struct check { struct table *table; uint64_t seen, deadlines; };

static void check_each(void *context, struct entry *e, uint64_t hash)
{
    struct check *check = context;
    struct place p;
    bool found = table_find(check->table, entry_key(e), hash, &p);
    hf_assert(found && p.entry == e);
    check->seen++;
    check->deadlines += (e->fields & FIELD_DEADLINE) != 0;
}

void table_check(struct table *t)
{
    struct check check = {.table = t};
    for (uint64_t from = 0; from < UINT64_C(1) << 32;)
        from = table_walk(t, from, 64, check_each, &check);
    hf_assert(check.seen == t->count);
    hf_assert(check.deadlines == t->deadline_count);
}
