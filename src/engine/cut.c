/* cut.c -- ranges, who hands them over, and the walk over those that nobody has changed.
 *
 *   struct cut -> by stripe, from its first look on: its tables of then, each with a bit for every range
 *
 * A range is a part of the hashes of a table, chosen so that it holds about RANGE_ENTRIES when the cut begins; a table that grows
 * has more in it, all but those made after the cut, which came with a look at their range.
 */
#include "engine/cut.h"

#include "base/memory.h"
#include "data/small.h"
#include "os/os.h"
#include "types/type.h"

#include <stddef.h>

#define RANGE_ENTRIES 8u
#define HOLD_ENTRIES 256u
#define HOLD_BYTES (64u << 10)
#define HASH_END (UINT64_C(1) << 32)
#define LOOK_US 1000u

struct taken { /* one entry */
    uint32_t db;
    enum type type;
    uint64_t deadline_ms;
    size_t name_at, name_size, text_size; /* in bytes; a small string stands behind its name */
    struct rope *rope;
    void *object;
};

struct part { /* what was taken under one hold */
    struct part *next;
    struct taken *items;
    size_t count, capacity;
    struct buf bytes;
};

struct kept { /* a table that is out of its stripe, its database has been emptied; under the stripe's lock */
    struct table *table;
    uint32_t holders; /* the cuts that have not walked over it */
};

struct cut_table {
    uint32_t db_id, db;
    unsigned shift;       /* range = high half of the hash >> shift */
    uint64_t *done;       /* bits; NULL: all of them */
    struct kept *kept;
};

struct cut_stripe { /* under the stripe's lock */
    bool seen;
    uint32_t count;
    struct cut_table *tables;
};

struct cut {
    struct cut *_Atomic next;
    struct engine *engine;
    uint64_t lsn;
    uint32_t count, *ids;    /* database numbers to ids, as they were */
    struct cut_stripe *stripes;
    _Atomic bool given_up;
    struct spin lock;        /* guards: */
    struct part *waiting;
    uint64_t waiting_bytes;
    /* of the thread that walks */
    uint32_t db, stripe;
    uint64_t from;
};

/* ---- parts ---- */

static struct part *part_new(void)
{
    struct part *p = mem_zalloc(sizeof(*p));
    buf_init(&p->bytes, SIZE_MAX);
    return p;
}

static void taken_release(struct taken *t)
{
    if (t->rope)
        rope_unref(t->rope);
    if (t->object)
        type_ops_of((int)t->type)->free(t->object);
}

static void part_free(struct part *p)
{
    for (size_t i = 0; i < p->count; i++)
        taken_release(&p->items[i]);
    mem_free(p->items);
    buf_release(&p->bytes);
    mem_free(p);
    small_tell(); /* the thread of a transfer frees what workers have counted as in use */
    mem_tell();
}

static void take_value(struct part *p, struct taken *t, const struct entry *e)
{
    char digits[24];
    if (entry_encoding(e) == ENC_OBJECT) {
        t->object = type_ops_of((int)t->type)->share(entry_pointer(e));
        return;
    }
    if (entry_encoding(e) == ENC_ROPE) {
        t->rope = rope_ref(entry_pointer(e));
        return;
    }
    bytes text = string_flat(e, digits, NULL); /* small: in one run */
    t->text_size = text.size;
    buf_append_bytes(&p->bytes, text);
}

static void take(struct part *p, uint32_t db, const struct entry *e)
{
    bytes name = entry_key(e);
    if (p->count == p->capacity) {
        p->capacity = p->capacity ? p->capacity * 2 : 2 * RANGE_ENTRIES;
        p->items = mem_realloc(p->items, p->capacity * sizeof(*p->items));
    }
    struct taken *t = &p->items[p->count++];
    *t = (struct taken){.db = db, .type = entry_type(e), .deadline_ms = entry_deadline(e), .name_at = p->bytes.size, .name_size = name.size};
    buf_append_bytes(&p->bytes, name);
    take_value(p, t, e);
}

/* ---- ranges; the stripe is locked ---- */

static struct cut_table *table_of(struct cut_stripe *s, uint32_t db_id)
{
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->tables[i].db_id == db_id)
            return &s->tables[i];
    }
    return NULL;
}

static void note_table(const struct cut *c, struct cut_stripe *s, const struct table *t)
{
    uint32_t db = 0;
    unsigned bits = 0;
    while (db < c->count && c->ids[db] != t->db_id)
        db++;
    if (db == c->count) /* of functions, or on its way out */
        return;
    while (bits < 32 && t->count >> bits > RANGE_ENTRIES)
        bits++;
    s->tables = mem_realloc(s->tables, (s->count + 1) * sizeof(*s->tables));
    s->tables[s->count++] = (struct cut_table){t->db_id, db, 32 - bits, mem_zalloc(((UINT64_C(1) << bits) + 63) / 64 * 8), NULL};
}

/* Its tables, before anything in it changes. */
static struct cut_stripe *look(const struct cut *c, const struct stripe *s)
{
    struct cut_stripe *found = &c->stripes[s->number];
    if (found->seen)
        return found;
    found->seen = true;
    if (s->table)
        note_table(c, found, s->table);
    for (uint32_t i = 0; i < s->other_count; i++)
        note_table(c, found, s->others[i]);
    return found;
}

struct range { struct part *part; uint32_t db; uint64_t end; };

static void take_inside(void *context, struct entry *e, uint64_t hash)
{
    struct range *r = context;
    if (hash >> 32 < r->end)
        take(r->part, r->db, e);
}

static bool is_done(const struct cut_table *ct, uint64_t number) { return !ct->done || ct->done[number / 64] >> number % 64 & 1; }

static void take_range(struct cut_table *ct, struct table *t, uint64_t number, struct part *part)
{
    struct range r = {part, ct->db, (number + 1) << ct->shift};
    ct->done[number / 64] |= UINT64_C(1) << number % 64;
    for (uint64_t from = number << ct->shift; t && from < r.end;)
        from = table_walk(t, from, 1, take_inside, &r);
}

/* ---- changes ---- */

static void hand_over(struct cut *c, struct part *p)
{
    uint64_t size = sizeof(*p) + p->capacity * sizeof(*p->items) + p->bytes.capacity;
    spin_lock(&c->lock);
    p->next = c->waiting;
    c->waiting = p;
    c->waiting_bytes += size;
    if (c->waiting_bytes > CUT_WAITING_MAX)
        atomic_store(&c->given_up, true);
    spin_unlock(&c->lock);
}

static void before(struct cut *c, struct stripe *s, uint32_t db_id, uint64_t hash)
{
    struct cut_table *ct = table_of(look(c, s), db_id);
    uint64_t number = ct ? hash >> 32 >> ct->shift : 0;
    if (!ct || is_done(ct, number))
        return;
    struct part *p = part_new();
    take_range(ct, stripe_table(s, db_id), number, p);
    if (p->count)
        hand_over(c, p);
    else
        part_free(p);
}

void cuts_before(struct engine *e, struct stripe *s, uint32_t db_id, uint64_t hash)
{
    for (struct cut *c = atomic_load(&e->cuts); c; c = atomic_load(&c->next)) {
        if (!atomic_load_explicit(&c->given_up, memory_order_relaxed))
            before(c, s, db_id, hash);
    }
}

bool cuts_keep(struct engine *e, const struct stripe *s, struct table *t)
{
    struct kept *kept = NULL;
    for (struct cut *c = atomic_load(&e->cuts); c; c = atomic_load(&c->next)) {
        struct cut_table *ct = table_of(look(c, s), t->db_id);
        if (!ct || !ct->done)
            continue;
        if (!kept) {
            kept = mem_alloc(sizeof(*kept));
            *kept = (struct kept){t, 0};
        }
        kept->holders++;
        ct->kept = kept;
    }
    return kept != NULL;
}

/* ---- the walk ---- */

static void table_over(struct cut *c, struct cut_table *ct)
{
    mem_free(ct->done);
    ct->done = NULL;
    if (ct->kept && --ct->kept->holders == 0) {
        databases_drop(c->engine, ct->kept->table);
        mem_free(ct->kept);
    }
    ct->kept = NULL;
}

/* What one hold takes of the table at which the walk stands. True: the walk is through with it. */
static bool take_some(struct cut *c, struct stripe *s, struct part *p)
{
    struct cut_table *ct = table_of(look(c, s), c->ids[c->db]);
    if (!ct)
        return true;
    struct table *t = ct->kept ? ct->kept->table : stripe_table(s, ct->db_id);
    while (c->from < HASH_END >> ct->shift && p->count < HOLD_ENTRIES && p->bytes.size < HOLD_BYTES) {
        if (!is_done(ct, c->from))
            take_range(ct, t, c->from, p);
        c->from++;
    }
    bool over = c->from == HASH_END >> ct->shift;
    if (over)
        table_over(c, ct);
    return over;
}

static void walk_on(struct cut *c)
{
    c->from = 0;
    if (++c->stripe == STRIPE_COUNT) {
        c->stripe = 0;
        c->db++;
    }
}

static struct part *walk(struct cut *c)
{
    struct part *p = part_new();
    while (c->db < c->count && p->count == 0) {
        struct stripe *s = &c->engine->store->stripes[c->stripe];
        stripe_lock_wait(s);
        bool over = take_some(c, s, p);
        stripe_unlock(s);
        if (over)
            walk_on(c);
    }
    return p;
}

static struct part *take_waiting(struct cut *c)
{
    spin_lock(&c->lock);
    struct part *p = c->waiting;
    c->waiting = NULL;
    c->waiting_bytes = 0;
    spin_unlock(&c->lock);
    return p;
}

/* Of a string; a large one is put together in room. */
static bytes text_of(const struct taken *t, const uint8_t *name, struct buf *room)
{
    if (!t->rope)
        return bytes_of(name + t->name_size, t->text_size);
    room->size = 0;
    put_rope(room, t->rope);
    return buf_view(room);
}

static void tell(struct part *p, void (*each)(void *context, const struct cut_key *k), void *context)
{
    struct buf room;
    buf_init(&room, SIZE_MAX);
    for (size_t i = 0; i < p->count; i++) {
        const struct taken *t = &p->items[i];
        const uint8_t *name = (p->bytes.data ? p->bytes.data : (const uint8_t *)"") + t->name_at;
        each(context, &(struct cut_key){t->db, bytes_of(name, t->name_size), t->deadline_ms, t->type,
                                        text_of(t, name, &room), t->object});
    }
    buf_release(&room);
}

status cut_next(struct cut *c, void (*each)(void *context, const struct cut_key *k), void *context, bool *more)
{
    if (atomic_load(&c->given_up))
        return HF_ERR_NO_MEMORY;
    *more = c->db < c->count;
    struct part *p = walk(c), *next; /* a change hands over before it unlocks: what it marked as done waits by now */
    p->next = take_waiting(c);
    for (; p; p = next) {
        next = p->next;
        tell(p, each, context);
        part_free(p);
    }
    return HF_OK;
}

/* ---- life ---- */

struct cut *cut_begin(struct engine *e)
{
    struct cut *c = mem_zalloc(sizeof(*c));
    c->engine = e;
    c->lsn = e->log ? log_tail(e->log) : 0;
    c->count = e->config.databases;
    c->ids = mem_alloc(c->count * sizeof(*c->ids));
    c->stripes = mem_zalloc(STRIPE_COUNT * sizeof(*c->stripes));
    memcpy(c->ids, e->db_ids, c->count * sizeof(*c->ids));
    spin_lock(&e->cuts_lock);
    atomic_store(&c->next, atomic_load(&e->cuts));
    atomic_store(&e->cuts, c);
    spin_unlock(&e->cuts_lock);
    return c;
}

uint64_t cut_lsn(const struct cut *c) { return c->lsn; }

static void unlink_cut(struct cut *c)
{
    struct engine *e = c->engine;
    spin_lock(&e->cuts_lock);
    struct cut *_Atomic *at = &e->cuts;
    while (atomic_load(at) != c)
        at = &atomic_load(at)->next;
    atomic_store(at, atomic_load(&c->next));
    spin_unlock(&e->cuts_lock);
}

/* Whoever has found it in the list holds a stripe: a turn through all of them waits for the last one. */
void cut_end(struct cut *c)
{
    struct engine *e = c->engine;
    atomic_fetch_add(&e->cuts_ending, 1);
    unlink_cut(c);
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        struct stripe *s = &e->store->stripes[i];
        stripe_lock_wait(s);
        for (uint32_t k = 0; k < c->stripes[i].count; k++)
            table_over(c, &c->stripes[i].tables[k]);
        stripe_unlock(s);
        mem_free(c->stripes[i].tables);
    }
    for (struct part *p = take_waiting(c), *next; p; p = next) {
        next = p->next;
        part_free(p);
    }
    mem_free(c->stripes);
    mem_free(c->ids);
    mem_free(c);
    atomic_fetch_sub(&e->cuts_ending, 1);
}

void cuts_wait(struct engine *e)
{
    struct parking p = {0};
    while (atomic_load(&e->cuts) || atomic_load(&e->cuts_ending))
        parking_sleep(&p, LOOK_US);
}
