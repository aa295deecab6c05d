/* test_table.c -- the index and its deadlines against naive twins.
 *
 * Goal: after any mix of inserts, replacements, removals and clock steps, with growth and
 * shrinking at any point of their way, a table holds exactly what a plain array says; a walk
 * shows each entry that stays exactly once; a deadline fires once it has passed, at
 * every wake-up that table_next_deadline asks for, and never before. Hashes come
 * from a function that can crowd them, so that spilling and the stash are used too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/memory.h"
#include "data/slab.h"
#include "store/chunks.h"
#include "store/entry_make.h"
#include "store/table.h"

#include <stdio.h>
#include <stdlib.h>

#define KEYS 6000u

static uint64_t random_state = 7;

static uint64_t roll(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * UINT64_C(0x2545F4914F6CDD1D);
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ x >> 33;
}

/* Keys are u32 numbers. *context: how many of the high bits stay zero. */
static uint64_t hash_of(const void *context, bytes key)
{
    uint64_t crowded = *(const unsigned *)context;
    return mix(get_u32(key.data) + 1) >> crowded;
}

struct model {
    struct slab *slab;
    struct slab_heap *heap;
    struct chunks *chunks;
    struct table *table;
    unsigned crowded;
    uint32_t keys;
    struct entry *entries[KEYS]; /* NULL: absent */
    uint64_t deadlines[KEYS];
    uint64_t count;
};

static struct model *model_new(uint32_t keys, unsigned crowded, uint32_t stripe)
{
    struct model *m = mem_zalloc(sizeof(*m));
    m->slab = slab_new();
    m->heap = slab_heap_new(m->slab);
    m->chunks = chunks_new();
    m->crowded = crowded;
    m->keys = keys;
    m->table = table_new(hash_of, &m->crowded, slab_base(m->slab), m->chunks, 1, stripe);
    return m;
}

static void model_free(struct model *m)
{
    table_free(m->table);
    assert_int_equal(chunks_memory(m->chunks), 0); /* each chunk came back */
    chunks_free(m->chunks);
    slab_free(m->slab);
    mem_free(m);
}

static struct entry *entry_for(struct model *m, uint32_t number, uint64_t deadline)
{
    uint8_t key[4], value[40] = {0};
    put_u32(key, number);
    struct entry_image image = {.encoding = ENC_BYTES, .key = bytes_of(key, 4), .value = bytes_of(value, roll() % 40),
                                .deadline_ms = deadline};
    struct entry *e = entry_from_image(m->heap, &image, NULL);
    assert_non_null(e);
    return e;
}

static bool find(struct model *m, uint32_t number, struct place *p, uint64_t *hash)
{
    uint8_t key[4];
    put_u32(key, number);
    *hash = hash_of(&m->crowded, bytes_of(key, 4));
    return table_find(m->table, bytes_of(key, 4), *hash, p);
}

static void model_put(struct model *m, uint32_t number, uint64_t deadline)
{
    struct place p;
    uint64_t hash;
    struct entry *e = entry_for(m, number, deadline);
    if (find(m, number, &p, &hash)) {
        assert_ptr_equal(p.entry, m->entries[number]);
        table_replace(m->table, &p, e);
        slab_release(m->heap, m->entries[number]);
    } else {
        assert_null(m->entries[number]);
        table_insert(m->table, hash, e, 0);
        m->count++;
    }
    m->entries[number] = e;
    m->deadlines[number] = deadline;
}

static void model_remove(struct model *m, uint32_t number)
{
    struct place p;
    uint64_t hash;
    bool there = find(m, number, &p, &hash);
    assert_int_equal(there, m->entries[number] != NULL);
    if (!there)
        return;
    table_remove(m->table, &p, hash, 0);
    slab_release(m->heap, m->entries[number]);
    m->entries[number] = NULL;
    m->deadlines[number] = 0;
    m->count--;
}

static void model_check(struct model *m)
{
    struct place p;
    uint64_t hash;
    table_check(m->table);
    assert_int_equal(m->table->count, m->count);
    for (uint32_t i = 0; i < m->keys; i++) {
        bool there = find(m, i, &p, &hash);
        assert_int_equal(there, m->entries[i] != NULL);
        if (there)
            assert_ptr_equal(p.entry, m->entries[i]);
    }
}

/* Phases of mostly inserting and mostly removing drive the size up and down. */
static void run_model(unsigned crowded, uint32_t keys, unsigned steps, unsigned check_each)
{
    struct model *m = model_new(keys, crowded, (uint32_t)roll() % 8);
    unsigned percent = 70;
    uint64_t homes_most = 0;
    for (unsigned i = 0; i < steps; i++) {
        uint32_t number = (uint32_t)(roll() % keys);
        if (roll() % (keys * 2) == 0)
            percent = percent == 70 ? 10 : 70;
        if (roll() % 100 < percent)
            model_put(m, number, roll() % 3 ? 0 : 1 + roll() % 1000000);
        else
            model_remove(m, number);
        if (m->table->now.home_count > homes_most)
            homes_most = m->table->now.home_count;
        if (i % check_each == 0)
            model_check(m);
    }
    model_check(m);
    if (keys > 2000) {
        for (uint32_t i = 0; i < keys; i++)
            model_remove(m, i);
        assert_true(homes_most > 150);
        assert_true(m->table->now.home_count < homes_most / 2);
        assert_int_equal(m->table->count, 0);
        assert_int_equal(m->table->deadline_count, 0);
    }
    model_check(m);
    model_free(m);
}

static void random_changes_match_an_array(void **state)
{
    (void)state;
    run_model(0, KEYS, 100000, 3000);
    for (int i = 0; i < 20; i++)
        run_model(0, 300, 3000, 50);
}

static void crowded_hashes_use_the_stash(void **state)
{
    (void)state;
    run_model(2, 2500, 30000, 500); /* homes crowd at the lowest quarter of the range */
    run_model(4, 400, 20000, 200);
    run_model(6, 400, 20000, 200);
    run_model(40, 300, 10000, 200); /* one home for all */
}

/* -- walks -- */

struct walk_check { uint8_t seen[KEYS]; uint64_t from, to_least; uint64_t visits; };

static void see(void *context, struct entry *e, uint64_t hash)
{
    struct walk_check *w = context;
    assert_true(hash >> 32 >= w->from);
    w->seen[get_u32(entry_key(e).data)]++;
    w->visits++;
}

/* Half of the keys stay; the others come and go between the steps of the walk. */
static void what_stays_is_walked_exactly_once(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        struct model *m = model_new(KEYS, round % 3 == 2 ? (round % 2 ? 5 : 38) : 0, round);
        struct walk_check w = {0};
        uint32_t keys = m->crowded ? 300 : KEYS;
        uint32_t low = keys / 3;
        for (uint32_t i = 0; i < low; i++)
            model_put(m, i, 0);
        if (round % 2) {
            for (uint32_t i = low; i < keys; i++)
                model_put(m, i, 0);
        }
        uint32_t next = low;
        uint64_t end = UINT64_C(1) << 32;
        size_t at_least = round % 4 ? 1 + roll() % 64 : 1 + roll() % 2000;
        for (w.from = 0; w.from < end;) {
            uint64_t to = table_walk(m->table, w.from, at_least, see, &w);
            assert_true(to > w.from && to <= end);
            w.from = to;
            for (unsigned i = 0; i < 150 && next < keys; i++, next++) { /* growing, or shrinking */
                if (round % 2)
                    model_remove(m, next);
                else
                    model_put(m, next, 0);
            }
        }
        for (uint32_t i = 0; i < low; i++)
            assert_int_equal(w.seen[i], 1);
        for (uint32_t i = low; i < keys; i++)
            assert_true(w.seen[i] <= 1);
        model_free(m);
    }
}

static void a_dropped_table_hands_each_entry_out_once(void **state)
{
    (void)state;
    for (uint32_t keys = 1; keys < KEYS; keys = keys * 3 / 2 + 1) {
        struct model *m = model_new(KEYS, keys % 2 && keys < 500 ? 6 : 0, keys);
        struct entry *taken[256];
        uint8_t *seen = mem_zalloc(KEYS);
        uint64_t total = 0;
        for (uint32_t i = 0; i < keys; i++)
            model_put(m, i, roll() % 2 ? 5 : 0);
        for (size_t count; (count = table_take_some(m->table, taken, 256)); total += count) {
            for (size_t i = 0; i < count; i++) {
                uint32_t number = get_u32(entry_key(taken[i]).data);
                assert_int_equal(seen[number]++, 0);
                slab_release(m->heap, taken[i]);
            }
        }
        assert_int_equal(total, keys);
        mem_free(seen);
        model_free(m);
    }
}

static void reserved_room_is_kept_and_filled_in_hash_order(void **state)
{
    (void)state;
    struct model *m = model_new(KEYS, 0, 3);
    table_reserve(m->table, KEYS);
    uint32_t homes = m->table->now.home_count;
    for (uint32_t i = 0; i < KEYS; i++)
        model_put(m, i, 0);
    assert_int_equal(m->table->now.home_count, homes);
    assert_false(m->table->growing);
    model_check(m);
    model_free(m);
}

static void a_table_keeps_its_load_over_all_sizes(void **state)
{
    (void)state;
    /* Mean bytes of index for a key over the eight staggers stay near nine at any size. */
    for (uint32_t keys = 1500; keys <= KEYS; keys += 500) {
        uint64_t memory = 0;
        for (uint32_t stripe = 0; stripe < 8; stripe++) {
            struct model *m = model_new(KEYS, 0, stripe);
            for (uint32_t i = 0; i < keys; i++)
                model_put(m, i, 0);
            memory += table_index_memory(m->table);
            model_free(m);
        }
        assert_in_range(memory * 10 / 8 / keys, 75, 108);
    }
}

/* -- deadlines -- */

/* Takes everything due at now: each entry must have passed; afterwards none that has may be left. */
static void expire(struct model *m, uint64_t now)
{
    struct entry *due[BUCKET_ENTRIES];
    unsigned count;
    while (table_due(m->table, now, due, &count)) {
        assert_true(count <= BUCKET_ENTRIES);
        uint32_t numbers[BUCKET_ENTRIES];
        for (unsigned i = 0; i < count; i++) {
            numbers[i] = get_u32(entry_key(due[i]).data);
            assert_ptr_equal(due[i], m->entries[numbers[i]]);
            assert_true(m->deadlines[numbers[i]] > 0 && m->deadlines[numbers[i]] <= now);
        }
        for (unsigned i = 0; i < count; i++)
            model_remove(m, numbers[i]);
    }
    uint64_t earliest = UINT64_MAX;
    for (uint32_t i = 0; i < m->keys; i++) {
        if (!m->deadlines[i])
            continue;
        if (m->deadlines[i] <= now)
            fail_msg("deadline %llu missed at %llu", (unsigned long long)m->deadlines[i], (unsigned long long)now);
        earliest = m->deadlines[i] < earliest ? m->deadlines[i] : earliest;
    }
    uint64_t next = table_next_deadline(m->table);
    assert_true(next <= earliest && next > now);
}

static uint64_t random_span(void)
{
    return roll() >> (63 - roll() % 40);
}

static void run_deadlines(uint32_t keys, unsigned crowded, unsigned steps)
{
    struct model *m = model_new(keys, crowded, (uint32_t)roll() % 8);
    uint64_t now = roll() % 2 ? UINT64_C(1700000000000) + roll() % 1000000 : roll() % 1000;
    for (unsigned i = 0; i < steps; i++) {
        for (uint64_t n = roll() % 40; n; n--) {
            uint32_t number = (uint32_t)(roll() % keys);
            switch (roll() % 6) {
            case 0:
                model_put(m, number, 0);
                break;
            case 1:
                model_remove(m, number);
                break;
            case 2: /* moved in place, later or earlier */
                if (m->deadlines[number]) {
                    uint8_t key[4];
                    put_u32(key, number);
                    m->deadlines[number] = now + 1 + random_span();
                    entry_set_deadline(m->entries[number], m->deadlines[number]);
                    table_enrol(m->table, bytes_of(key, 4), hash_of(&m->crowded, bytes_of(key, 4)), m->deadlines[number]);
                }
                break;
            default: /* some have passed already */
                model_put(m, number, roll() % 20 ? now + 1 + random_span() : 1 + roll() % (now + 1));
            }
        }
        uint64_t next = table_next_deadline(m->table);
        switch (roll() % 4) {
        case 0: /* sleep as long as the table says */
            if (next != UINT64_MAX && next > now && next - now < UINT64_C(1) << 40)
                now = next;
            break;
        case 1:
            now += roll() % 3;
            break;
        case 2:
            now += random_span();
            break;
        default: /* a clock that steps back fires nothing early */
            expire(m, now);
            struct entry *due[BUCKET_ENTRIES];
            unsigned count = 0;
            assert_false(table_due(m->table, now / 2, due, &count));
        }
        expire(m, now);
    }
    table_check(m->table);
    model_free(m);
}

static void deadlines_fire_neither_early_nor_never(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++)
        run_deadlines(200, 0, 2500);
    for (int i = 0; i < 3; i++)
        run_deadlines(3000, 0, 1500);
}

static void deadlines_in_the_stash_fire_too(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        run_deadlines(300, 5, 1500);
        run_deadlines(300, 40, 500);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_match_an_array),
        cmocka_unit_test(crowded_hashes_use_the_stash),
        cmocka_unit_test(what_stays_is_walked_exactly_once),
        cmocka_unit_test(a_dropped_table_hands_each_entry_out_once),
        cmocka_unit_test(reserved_room_is_kept_and_filled_in_hash_order),
        cmocka_unit_test(a_table_keeps_its_load_over_all_sizes),
        cmocka_unit_test(deadlines_fire_neither_early_nor_never),
        cmocka_unit_test(deadlines_in_the_stash_fire_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
