/* test_snapshot.c -- snapshots: what is written is what is loaded, and nothing else is.
 *
 * Goal: a store written while another thread changes it loads as a set of keys that are each exact at the
 * lsn of their range; every flip and every cut of a file is refused by name; no failing call
 * of the disk harms the snapshot before. The log is a fake of two counters, so that lsns
 * are known here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/crc.h"
#include "base/memory.h"
#include "durable/effect.h"
#include "durable/snapshot_file.h"
#include "os/os.h"
#include "os/thread.h"
#include "store/entry_make.h"
#include "types/hash.h"
#include "../support/stride.h"
#include "support/snapshot_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void put_text(struct world *w, uint32_t db, const char *key, bytes value)
{
    struct entry_image image = {.type = TYPE_STRING, .encoding = ENC_BYTES, .key = bytes_str(key), .value = value};
    put(w, w->heaps[0], db, &image, NULL, NULL);
}

/* Anything an entry can be. Number i of database db, so that keys are distinct. */
static void put_random(struct world *w, uint32_t db, unsigned i, bool big)
{
    char key[400];
    uint8_t number[8];
    int size = snprintf(key, sizeof(key), "key-%u-%u", db, i);
    if (roll() % 50 == 0) { /* a wide key */
        memset(key + size, 'k', 300);
        size += 300;
    }
    struct entry_image image = {.type = TYPE_STRING, .encoding = ENC_BYTES, .key = bytes_of(key, (size_t)size)};
    void *object = NULL;
    uint8_t *value = NULL;
    uint64_t kind = roll() % 20;
    if (roll() % 3 == 0)
        image.deadline_ms = 1 + roll() % (UINT64_C(1) << 47);
    if (roll() % 4 == 0) {
        image.has_version = true;
        image.version = roll();
    }
    if (roll() % 4 == 0) {
        image.has_flags = true;
        image.flags = (uint32_t)roll();
    }
    if (kind < 4) {
        put_u64(number, roll());
        image.encoding = ENC_INT;
        image.value = bytes_of(number, 8);
    } else if (kind < 6) {
        struct hash *h = hash_new();
        for (uint64_t n = 1 + roll() % (big ? 300 : 5); n; n--) {
            char field[32];
            snprintf(field, sizeof(field), "field-%llu", (unsigned long long)roll() % 1000);
            hash_set(h, bytes_str(field), BYTES("a value of a field"));
        }
        image.type = TYPE_HASH;
        image.encoding = ENC_OBJECT;
        object = h;
    } else {
        size_t length = roll() % 100;
        if (big && kind == 6)
            length = roll() % (2 * ENTRY_INLINE_MAX);
        if (big && roll() % 100 == 0)
            length = 100000 + roll() % 100000;
        value = mem_alloc(length);
        uint64_t step = roll() % 2;
        for (size_t n = 0; n < length; n++)
            value[n] = step ? (uint8_t)(n % 11) : (uint8_t)roll();
        image.value = bytes_of(value, length);
    }
    put(w, w->heaps[0], db, &image, object, NULL);
    mem_free(value);
}

/* Two hashes may list their fields in different orders. */
static void compare_hashes(const struct hash *a, const struct hash *b)
{
    uint64_t position = 0;
    bytes field, value, other;
    assert_int_equal(hash_count(a), hash_count(b));
    while (hash_next(a, &position, &field, &value)) {
        assert_true(hash_get(b, field, &other));
        assert_true(bytes_equal(value, other));
    }
}

struct compare { struct store *other; uint32_t db_id; uint64_t count; };

static void compare_entry(void *context, struct entry *e, uint64_t hash)
{
    struct compare *c = context;
    struct key k;
    struct place p;
    struct buf a, b;
    store_locate(c->other, entry_key(e), &k);
    assert_int_equal(k.hash, hash);
    struct table *t = stripe_table(&c->other->stripes[k.stripe], c->db_id);
    assert_non_null(t);
    assert_true(table_find(t, k.name, k.hash, &p));
    assert_int_equal(entry_encoding(e), entry_encoding(p.entry));
    buf_init(&a, SIZE_MAX);
    buf_init(&b, SIZE_MAX);
    entry_encode(e, &a);
    entry_encode(p.entry, &b);
    if (entry_encoding(e) == ENC_OBJECT)
        compare_hashes(entry_pointer(e), entry_pointer(p.entry));
    else
        assert_true(bytes_equal(buf_view(&a), buf_view(&b)));
    assert_int_equal(entry_deadline(e), entry_deadline(p.entry));
    buf_release(&a);
    buf_release(&b);
    c->count++;
}

static uint64_t compare_table(struct table *t, struct store *other)
{
    struct compare c = {.other = other, .db_id = t->db_id};
    table_check(t);
    for (uint64_t from = 0; from < UINT64_C(1) << 32;)
        from = table_walk(t, from, 100, compare_entry, &c);
    return c.count;
}

/* Everything of a stands in b. */
static uint64_t compare_stores(struct store *a, struct store *b)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        struct stripe *s = &a->stripes[i];
        count += s->table ? compare_table(s->table, b) : 0;
        for (uint32_t k = 0; k < s->other_count; k++)
            count += compare_table(s->others[k], b);
    }
    return count;
}

/* -- writing and loading -- */

static void read_map(void *context, struct snapshot_map *map)
{
    (void)context;
    map->next_id = 9;
    map->count = 3;
    map->ids[0] = 7;
    map->ids[1] = 1;
    map->ids[2] = 8;
    map->lsn = 5;
}

static status write_number(struct world *w, uint64_t number, struct log *log, char detail[256])
{
    struct snapshot_write how = {.dir = dir, .log_id = LOG_ID, .number = number, .store = w->store, .log = log,
                                 .read_map = read_map};
    return snapshot_write(&how, detail, 256);
}

static status load_into(struct world *w, struct snapshot_load *l, int threads, char detail[256])
{
    *l = (struct snapshot_load){.dir = dir, .log_id = LOG_ID, .store = w->store, .threads = threads, .heaps = w->heaps};
    return snapshot_load(l, detail, 256);
}

static void what_is_written_is_loaded(void **state)
{
    char detail[256] = "";
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        struct world a = world_new(SECRET), b = world_new(SECRET);
        struct snapshot_load l;
        uint64_t secret = 0;
        bool found = false;
        for (unsigned i = 0; i < 20000; i++)
            put_random(&a, i % 7 ? 1 : i % 4 + 1, i, true);
        assert_int_equal(write_number(&a, (uint64_t)threads, NULL, detail), HF_OK);
        assert_int_equal(snapshot_peek(dir, LOG_ID, &found, &secret, detail, sizeof(detail)), HF_OK);
        assert_true(found && secret == SECRET);
        status s = load_into(&b, &l, threads, detail);
        assert_string_equal(detail, "");
        assert_int_equal(s, HF_OK);
        assert_true(l.found && l.number == (uint64_t)threads);
        assert_int_equal(l.map.count, 3);
        assert_int_equal(l.map.ids[2], 8);
        assert_int_equal(compare_stores(a.store, b.store), l.keys);
        assert_int_equal(compare_stores(b.store, a.store), 20000);
        for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
            uint64_t next = atomic_load(&b.store->stripes[i].deadline_next);
            stripe_deadline_update(&b.store->stripes[i]);
            assert_int_equal(next, atomic_load(&b.store->stripes[i].deadline_next));
        }
        snapshot_ranges_free(l.ranges);
        world_free(&a);
        world_free(&b);
    }
    assert_int_equal(file_count(), 4);
    snapshot_clean(dir, 4);
    assert_int_equal(file_count(), 1);
}

static void an_empty_store_and_an_empty_directory(void **state)
{
    char detail[256] = "";
    struct world a = world_new(SECRET);
    struct snapshot_load l;
    bool found = true;
    uint64_t secret;
    (void)state;
    assert_int_equal(snapshot_peek(dir, LOG_ID, &found, &secret, detail, sizeof(detail)), HF_OK);
    assert_false(found);
    assert_int_equal(load_into(&a, &l, 2, detail), HF_OK);
    assert_false(l.found);
    assert_int_equal(write_number(&a, 1, NULL, detail), HF_OK);
    assert_int_equal(load_into(&a, &l, 2, detail), HF_OK);
    assert_true(l.found);
    assert_int_equal(l.keys, 0);
    snapshot_ranges_free(l.ranges);
    assert_int_equal(snapshot_peek(dir, LOG_ID + 1, &found, &secret, detail, sizeof(detail)), HF_OK);
    assert_false(found);
    world_free(&a);
}

static void an_expired_entry_keeps_its_deadline(void **state)
{
    char detail[256] = "";
    struct world a = world_new(SECRET), b = world_new(SECRET);
    struct snapshot_load l;
    struct key k;
    struct place p;
    (void)state;
    struct entry_image image = {.type = TYPE_STRING, .encoding = ENC_BYTES, .key = BYTES("old"), .value = BYTES("v"),
                                .deadline_ms = 12};
    put(&a, a.heaps[0], 1, &image, NULL, NULL);
    assert_int_equal(write_number(&a, 1, NULL, detail), HF_OK);
    assert_int_equal(load_into(&b, &l, 2, detail), HF_OK);
    store_locate(b.store, BYTES("old"), &k);
    assert_true(table_find(stripe_table(&b.store->stripes[k.stripe], 1), k.name, k.hash, &p));
    assert_int_equal(entry_deadline(p.entry), 12);
    assert_true(atomic_load(&b.store->stripes[k.stripe].deadline_next) <= 12);
    snapshot_ranges_free(l.ranges);
    world_free(&a);
    world_free(&b);
}

/* -- while the store changes -- */

/* Method: the writer thread gives each key the value "lsn of its last change" (the tail under the same
 * lock hold), in several databases, and drops and makes tables. Afterwards, for each loaded key the
 * value must be below the capture lsn of its range, and no change of the key may lie between: the
 * journal of all changes says so. */

#define CHURN_KEYS 3000u
#define CHURN_DATABASES 3u

struct change { uint32_t db, key; uint64_t lsn; bool gone; };

struct churn {
    struct world *world;
    struct log *log;
    _Atomic bool stop, started;
    struct change *journal;
    size_t count, capacity;
};

static void churn_once(struct churn *c, uint32_t db, uint32_t number)
{
    char name[32];
    uint8_t *value = mem_alloc(20000);
    snprintf(name, sizeof(name), "churn-%u", number);
    struct key k;
    struct place p;
    store_locate(c->world->store, bytes_str(name), &k);
    struct stripe *s = &c->world->store->stripes[k.stripe];
    struct change change = {.db = db, .key = number, .gone = roll() % 4 == 0};
    struct slab_heap *heap = c->world->heaps[1];
    stripe_lock_wait(s);
    change.lsn = atomic_fetch_add(&c->log->tail, 8);
    struct table *t = stripe_table_make(c->world->store, s, db);
    bool there = table_find(t, k.name, k.hash, &p);
    if (change.gone) {
        if (there) {
            table_remove(t, &p, k.hash, 0);
            entry_free(heap, p.entry);
        }
    } else {
        memset(value, 'v', 20000);
        put_u64(value, change.lsn);
        struct entry_image image = {.type = TYPE_STRING, .encoding = ENC_BYTES, .key = k.name,
                                    .value = bytes_of(value, roll() % 16 == 0 ? 20000 : 8 + roll() % 50)};
        struct entry *e = entry_from_image(heap, &image, NULL);
        assert_non_null(e);
        if (there) {
            struct entry *old = p.entry;
            table_replace(t, &p, e);
            entry_free(heap, old);
        } else {
            table_insert(t, k.hash, e, 0);
        }
    }
    stripe_unlock(s);
    if (c->count == c->capacity) {
        c->capacity = c->capacity ? c->capacity * 2 : 1024;
        c->journal = mem_realloc(c->journal, c->capacity * sizeof(*c->journal));
    }
    c->journal[c->count++] = change;
    mem_free(value);
}

static void free_table(struct world *w, struct table *t)
{
    struct entry *taken[256];
    for (size_t count; (count = table_take_some(t, taken, 256));) {
        for (size_t i = 0; i < count; i++)
            entry_free(w->heaps[1], taken[i]);
    }
    table_free(t);
}

/* A database that comes and goes: only that nothing breaks. */
static void churn_tables(struct churn *c)
{
    struct stripe *s = &c->world->store->stripes[roll() % STRIPE_COUNT];
    stripe_lock_wait(s);
    struct table *t = stripe_table_detach(s, 99);
    if (!t)
        stripe_table_make(c->world->store, s, 99);
    stripe_unlock(s);
    if (t)
        free_table(c->world, t);
}

static void *churn_run(void *context)
{
    struct churn *c = context;
    while (!atomic_load(&c->stop)) {
        churn_once(c, (uint32_t)(roll() % CHURN_DATABASES), (uint32_t)(roll() % CHURN_KEYS));
        churn_tables(c);
        atomic_store(&c->started, true);
    }
    return NULL;
}

struct churn_check {
    struct churn *churn;
    struct snapshot_ranges *ranges;
    struct world *loaded;
};

static void check_key(struct churn_check *check, uint32_t db, uint32_t number)
{
    char name[32];
    struct key k;
    struct place p = {0};
    struct store *store = check->loaded->store;
    snprintf(name, sizeof(name), "churn-%u", number);
    store_locate(store, bytes_str(name), &k);
    uint64_t capture = snapshot_capture_lsn(check->ranges, k.stripe, db, k.hash);
    const struct change *last = NULL;
    for (size_t i = 0; i < check->churn->count; i++) {
        const struct change *c = &check->churn->journal[i];
        if (c->db == db && c->key == number && c->lsn < capture)
            last = c;
    }
    struct table *t = stripe_table(&store->stripes[k.stripe], db);
    bool there = t && table_find(t, k.name, k.hash, &p);
    assert_int_equal(there, last && !last->gone);
    if (there) {
        const uint8_t *data = entry_encoding(p.entry) == ENC_ROPE ? rope_run(entry_pointer(p.entry), 0, 8).data
                                                                 : entry_inline(p.entry).data;
        assert_int_equal(get_u64(data), last->lsn);
    }
}

static void each_key_is_exact_at_the_lsn_of_its_range(void **state)
{
    char detail[256] = "";
    (void)state;
    for (int round = 0; round < 3; round++) {
        struct world a = world_new(SECRET), b = world_new(SECRET);
        struct log log = {.tail = 1000};
        struct churn churn = {.world = &a, .log = &log};
        struct snapshot_load l;
        for (uint32_t i = 0; i < CHURN_KEYS; i++)
            churn_once(&churn, i % CHURN_DATABASES, i);
        pthread_t thread = thread_start("churn", churn_run, &churn);
        while (!atomic_load(&churn.started))
            sched_yield();
        assert_int_equal(write_number(&a, 1, &log, detail), HF_OK);
        atomic_store(&churn.stop, true);
        pthread_join(thread, NULL);
        assert_true(atomic_load(&log.waited) > 1000);
        assert_int_equal(load_into(&b, &l, 2, detail), HF_OK);
        assert_int_equal(l.from_lsn, 5); /* that of the map */
        struct churn_check check = {.churn = &churn, .ranges = l.ranges, .loaded = &b};
        for (uint32_t db = 0; db < CHURN_DATABASES; db++) {
            for (uint32_t i = 0; i < CHURN_KEYS; i++)
                check_key(&check, db, i);
        }
        snapshot_ranges_free(l.ranges);
        mem_free(churn.journal);
        world_free(&a);
        world_free(&b);
    }
}

/* A big table in one stripe, growing between the holds: many ranges, and keys that stay are there once. */
static struct world *growing;
static unsigned grown;

static bool grow_a_little(void *context)
{
    struct log *log = context;
    for (unsigned i = 0; i < 200 && grown < 40000; i++) {
        char key[32];
        snprintf(key, sizeof(key), "{one}new-%u", grown++);
        struct entry_image image = {.type = TYPE_STRING, .encoding = ENC_BYTES, .key = bytes_str(key)};
        put(growing, growing->heaps[0], 1, &image, NULL, log);
    }
    return false;
}

static void a_table_may_grow_between_the_holds(void **state)
{
    char detail[256] = "";
    struct world a = world_new(SECRET), b = world_new(SECRET);
    struct log log = {.tail = 10};
    struct snapshot_load l;
    (void)state;
    growing = &a;
    grown = 0;
    for (unsigned i = 0; i < 20000; i++) {
        char key[32];
        snprintf(key, sizeof(key), "{one}old-%u", i);
        put_text(&a, 1, key, BYTES("value"));
    }
    struct snapshot_write how = {.dir = dir, .log_id = LOG_ID, .number = 3, .store = a.store, .log = &log,
                                 .cancelled = grow_a_little, .context = &log};
    assert_int_equal(snapshot_write(&how, detail, sizeof(detail)), HF_OK);
    assert_int_equal(how.trim_lsn, 10);
    assert_int_equal(load_into(&b, &l, 2, detail), HF_OK);
    assert_int_equal(l.from_lsn, 10);
    for (unsigned i = 0; i < 20000; i++) {
        char key[32];
        struct key k;
        struct place p;
        snprintf(key, sizeof(key), "{one}old-%u", i);
        store_locate(b.store, bytes_str(key), &k);
        assert_true(table_find(stripe_table(&b.store->stripes[k.stripe], 1), k.name, k.hash, &p));
        uint64_t lsn = snapshot_capture_lsn(l.ranges, k.stripe, 1, k.hash);
        assert_true(lsn >= 10 && lsn <= atomic_load(&log.waited));
    }
    for (uint32_t i = 0; i < STRIPE_COUNT; i++) {
        if (b.store->stripes[i].table)
            table_check(b.store->stripes[i].table);
    }
    snapshot_ranges_free(l.ranges);
    world_free(&a);
    world_free(&b);
}

/* A table dropped half way: the rest of it counts as empty from then on. */
static struct { struct world *world; struct log *log; int holds; uint32_t stripe; } dropping;

static bool drop_half_way(void *context)
{
    (void)context;
    struct stripe *s = &dropping.world->store->stripes[dropping.stripe];
    if (dropping.holds++ == (int)dropping.stripe + 5) { /* stripes before it take one hold each */
        atomic_fetch_add(&dropping.log->tail, 1000);
        stripe_lock_wait(s);
        struct table *t = stripe_table_detach(s, 1);
        stripe_unlock(s);
        assert_non_null(t);
        free_table(dropping.world, t);
    }
    return false;
}

static void a_table_may_be_dropped_half_way(void **state)
{
    char detail[256] = "";
    struct world a = world_new(SECRET), b = world_new(SECRET);
    struct log log = {.tail = 10};
    struct snapshot_load l;
    struct key k;
    (void)state;
    store_locate(a.store, BYTES("{one}"), &k);
    dropping.world = &a;
    dropping.log = &log;
    dropping.holds = 0;
    dropping.stripe = k.stripe;
    for (unsigned i = 0; i < 5000; i++) {
        char key[32];
        snprintf(key, sizeof(key), "{one}old-%u", i);
        put_text(&a, 1, key, BYTES("value"));
        put_text(&a, 2, key, BYTES("other"));
    }
    struct snapshot_write how = {.dir = dir, .log_id = LOG_ID, .number = 3, .store = a.store, .log = &log,
                                 .cancelled = drop_half_way};
    assert_int_equal(snapshot_write(&how, detail, sizeof(detail)), HF_OK);
    assert_int_equal(load_into(&b, &l, 2, detail), HF_OK);
    assert_in_range(l.keys, 5001, 9999);
    assert_int_equal(snapshot_capture_lsn(l.ranges, k.stripe, 1, 0), 10);
    assert_int_equal(snapshot_capture_lsn(l.ranges, k.stripe, 1, UINT64_MAX), 1010);
    assert_int_equal(snapshot_capture_lsn(l.ranges, k.stripe, 2, UINT64_MAX), 1010);
    assert_int_equal(snapshot_capture_lsn(l.ranges, k.stripe, 3, 0), 1010);
    assert_int_equal(snapshot_capture_lsn(l.ranges, 0, 1, 0), 10);
    snapshot_ranges_free(l.ranges);
    world_free(&a);
    world_free(&b);
}

/* -- damage -- */

static void *whole;
static size_t whole_size;

static void write_raw(const char *path, const void *data, size_t size)
{
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(file >= 0);
    assert_int_equal(write(file, data, size), size);
    close(file);
}

static void small_snapshot(char path[SNAPSHOT_PATH_MAX])
{
    char detail[256] = "";
    struct world a = world_new(SECRET);
    for (unsigned i = 0; i < 40; i++)
        put_random(&a, i % 2, i, false);
    assert_int_equal(write_number(&a, 1, NULL, detail), HF_OK);
    world_free(&a);
    snapshot_path(path, dir, 1, false);
    assert_int_equal(os_read_file(path, 1 << 20, &whole, &whole_size), 0);
}

static void must_be_refused(const char *path, size_t at)
{
    char detail[256] = "";
    struct world b = world_new(SECRET);
    struct snapshot_load l;
    status s = load_into(&b, &l, 1, detail);
    if (s != HF_ERR_CORRUPT || !strstr(detail, path) || !strstr(detail, "offset"))
        fail_msg("damage at %zu: status %d, detail '%s'", at, s, detail);
    assert_false(l.found);
    world_free(&b);
}

static void every_flipped_bit_is_found(void **state)
{
    char path[SNAPSHOT_PATH_MAX];
    (void)state;
    small_snapshot(path);
    int file = open(path, O_RDWR);
    for (size_t bit = 0; bit < whole_size * 8; bit += stride()) {
        uint8_t *byte = (uint8_t *)whole + bit / 8, was = *byte;
        /* All bits of the frame, and one bit of every byte of payloads. */
        if (bit / 8 > 400 && bit / 8 + 400 < whole_size && bit % 8 != bit / 8 % 8)
            continue;
        *byte ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(pwrite(file, byte, 1, (off_t)(bit / 8)), 1);
        must_be_refused(path, bit);
        *byte = was;
        assert_int_equal(pwrite(file, byte, 1, (off_t)(bit / 8)), 1);
    }
    close(file);
    struct world b = world_new(SECRET);
    struct snapshot_load l;
    char detail[256] = "";
    assert_int_equal(load_into(&b, &l, 1, detail), HF_OK);
    assert_int_equal(l.keys, 40);
    snapshot_ranges_free(l.ranges);
    world_free(&b);
    mem_free(whole);
}

static void every_cut_and_a_longer_file_are_found(void **state)
{
    char path[SNAPSHOT_PATH_MAX];
    (void)state;
    small_snapshot(path);
    for (size_t size = 0; size < whole_size; size += 64) {
        write_raw(path, whole, size);
        must_be_refused(path, size);
    }
    write_raw(path, whole, whole_size - 1);
    must_be_refused(path, whole_size - 1);
    uint8_t *longer = mem_zalloc(whole_size + 64);
    memcpy(longer, whole, whole_size);
    write_raw(path, longer, whole_size + 64);
    must_be_refused(path, whole_size + 64);
    mem_free(longer);
    mem_free(whole);
}

static void an_older_snapshot_never_stands_in_for_a_damaged_one(void **state)
{
    char path[SNAPSHOT_PATH_MAX], newer[SNAPSHOT_PATH_MAX];
    (void)state;
    small_snapshot(path);
    snapshot_path(newer, dir, 2, false);
    write_raw(newer, whole, whole_size); /* the name says 2, the header 1 */
    must_be_refused(newer, 0);
    mem_free(whole);
}

static void a_later_version_is_left_alone(void **state)
{
    char path[SNAPSHOT_PATH_MAX], detail[256] = "";
    uint64_t secret;
    bool found;
    (void)state;
    small_snapshot(path);
    uint8_t *header = whole;
    put_u32(header + 8, SNAPSHOT_VERSION_TAIL + 1);
    put_u32(header + 12, crc32c(crc32c(0, header, 12), header + 16, get_u32(header + 16) - 16));
    write_raw(path, whole, whole_size);
    assert_int_equal(snapshot_peek(dir, LOG_ID, &found, &secret, detail, sizeof(detail)), HF_ERR_INVALID);
    assert_non_null(strstr(detail, "version 3"));
    mem_free(whole);
}

/* -- a failing disk -- */

static struct os failing;
static int calls_left; /* the call that finds 0 fails */

static bool fails_now(void) { return calls_left-- == 0; }

static int failing_open(const char *path, int flags, int mode)
{
    return fails_now() ? -EMFILE : os_kernel.open(path, flags, mode);
}

static int64_t failing_pwrite(int file, const void *data, size_t size, uint64_t offset)
{
    return fails_now() ? -ENOSPC : os_kernel.pwrite(file, data, size, offset);
}

static int failing_fdatasync(int file) { return fails_now() ? -EIO : os_kernel.fdatasync(file); }
static int failing_rename(const char *from, const char *to) { return fails_now() ? -EIO : os_kernel.rename(from, to); }

static void each_failing_call_leaves_the_snapshot_before(void **state)
{
    struct world a = world_new(SECRET);
    int failures = 0;
    (void)state;
    for (unsigned i = 0; i < 3000; i++)
        put_random(&a, 1, i, true);
    char detail[256] = "";
    assert_int_equal(write_number(&a, 1, NULL, detail), HF_OK);
    put_text(&a, 1, "more", BYTES("value"));
    failing = os_kernel;
    failing.open = failing_open;
    failing.pwrite = failing_pwrite;
    failing.fdatasync = failing_fdatasync;
    failing.rename = failing_rename;
    for (int n = 0;; n++) {
        calls_left = n;
        os_current = &failing;
        status s = write_number(&a, 2, NULL, detail);
        os_current = &os_kernel;
        if (s == HF_OK)
            break;
        failures++;
        assert_int_equal(s, HF_ERR_IO);
        assert_non_null(strstr(detail, "snapshot-0000000000000002.hfs"));
        assert_int_equal(file_count(), 1);
        struct world b = world_new(SECRET);
        struct snapshot_load l;
        assert_int_equal(load_into(&b, &l, 2, detail), HF_OK);
        assert_true(l.number == 1 && l.keys == 3000);
        snapshot_ranges_free(l.ranges);
        world_free(&b);
    }
    assert_true(failures > 5);
    assert_int_equal(file_count(), 2);
    world_free(&a);
}

static bool cancelled_late(void *context)
{
    return ++*(int *)context == 500;
}

static void a_broken_log_or_a_cancel_publishes_nothing(void **state)
{
    struct world a = world_new(SECRET);
    struct log log = {.tail = 77, .answer = HF_ERR_LOG_BROKEN};
    char detail[256] = "";
    (void)state;
    put_text(&a, 1, "key", BYTES("value"));
    assert_int_equal(write_number(&a, 1, &log, detail), HF_ERR_LOG_BROKEN);
    assert_int_equal(atomic_load(&log.waited), 77);
    assert_int_equal(file_count(), 0);
    int asked = 0;
    struct snapshot_write how = {.dir = dir, .log_id = LOG_ID, .number = 2, .store = a.store,
                                 .cancelled = cancelled_late, .context = &asked};
    assert_int_equal(snapshot_write(&how, detail, sizeof(detail)), HF_ERR_IO);
    assert_non_null(strstr(detail, "cancelled"));
    assert_int_equal(file_count(), 0);
    world_free(&a);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_loaded),
        TEST(an_empty_store_and_an_empty_directory),
        TEST(an_expired_entry_keeps_its_deadline),
        TEST(each_key_is_exact_at_the_lsn_of_its_range),
        TEST(a_table_may_grow_between_the_holds),
        TEST(a_table_may_be_dropped_half_way),
        TEST(every_flipped_bit_is_found),
        TEST(every_cut_and_a_longer_file_are_found),
        TEST(an_older_snapshot_never_stands_in_for_a_damaged_one),
        TEST(a_later_version_is_left_alone),
        TEST(each_failing_call_leaves_the_snapshot_before),
        TEST(a_broken_log_or_a_cancel_publishes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
