/* test_snapshot_shares.c -- a snapshot of large values holds no lock for them.
 *
 * Goal: what is encoded or copied under one hold of a stripe's lock is bounded, however large the values are; and a
 * value that changes while its share is encoded is saved as it was when it was taken. What goes with a share is counted as free.
 * Method: values of every type far beyond a block, in stores of their own; a thread that goes on changing
 * them under the lock; the bytes that the writer counts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/memory.h"
#include "data/small.h"
#include "os/thread.h"
#include "support/snapshot_world.h"
#include "types/hash.h"
#include "types/list.h"
#include "types/set.h"
#include "types/zset.h"

#include <sched.h>

#define MEMBERS 100000u
/* A look at the size of a hold comes after at most 16 + 10 entries, of at most 16 KiB each. */
#define HOLD_BOUND ((64u << 10) + 32 * (ENTRY_INLINE_MAX + 64))

static void apply(enum type type, void *object, struct buf *change)
{
    status s = type_ops_of((int)type)->apply(object, buf_view(change));
    assert_int_equal(s, HF_OK);
    buf_reset(change);
}

static bytes name_of(char out[32], unsigned number)
{
    int size = snprintf(out, 32, "member-%u", number);
    return bytes_of(out, (size_t)size);
}

/* One more part, its number in it. */
static void grow(enum type type, void *object, unsigned number, struct buf *change)
{
    char text[32];
    bytes name = name_of(text, number);
    switch (type) {
    case TYPE_LIST: list_change_push(change, LIST_TAIL, &name, 1); break;
    case TYPE_HASH: hash_change_set(change, name, name); break;
    case TYPE_ZSET:
        zset_change_set(change);
        zset_change_scored(change, name, number);
        break;
    default:
        set_change_add(change);
        set_change_member(change, name);
    }
    apply(type, object, change);
}

static const enum type types[] = {TYPE_LIST, TYPE_SET, TYPE_ZSET, TYPE_HASH};
#define TYPES (sizeof(types) / sizeof(types[0]))

static void *make_large(enum type type, unsigned count)
{
    struct buf change;
    void *object = type_ops_of((int)type)->create();
    buf_init(&change, SIZE_MAX);
    for (unsigned i = 0; i < count; i++)
        grow(type, object, i, &change);
    buf_release(&change);
    return object;
}

static bytes large_key(char out[32], enum type type)
{
    int size = snprintf(out, 32, "{same}large-%d", (int)type);
    return bytes_of(out, (size_t)size);
}

/* All large values stand in one stripe, with small ones between them. */
static void fill(struct world *w)
{
    char text[32];
    uint8_t *value = mem_zalloc(20u << 20);
    struct entry_image string = {.type = TYPE_STRING, .encoding = ENC_BYTES, .key = BYTES("{same}string"),
                                 .value = bytes_of(value, 20u << 20)};
    put(w, w->heaps[0], 1, &string, NULL, NULL);
    for (size_t i = 0; i < TYPES; i++) {
        struct entry_image image = {.type = types[i], .encoding = ENC_OBJECT, .key = large_key(text, types[i]), .deadline_ms = 77 + i};
        put(w, w->heaps[0], 1, &image, make_large(types[i], MEMBERS), NULL);
    }
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(text, sizeof(text), "{same}small-%u", i);
        struct entry_image image = {.type = TYPE_STRING, .encoding = ENC_BYTES, .key = bytes_str(text),
                                    .value = bytes_of(value, i % 5 ? 30 : ENTRY_INLINE_MAX)};
        put(w, w->heaps[0], 1, &image, NULL, NULL);
    }
    mem_free(value);
}

static struct entry *find(struct world *w, bytes name, struct stripe **stripe)
{
    struct key k;
    struct place p;
    store_locate(w->store, name, &k);
    *stripe = &w->store->stripes[k.stripe];
    bool found = table_find(stripe_table(*stripe, 1), k.name, k.hash, &p);
    assert_true(found);
    return p.entry;
}

/* -- a thread that goes on changing the large values -- */

struct changer { struct world *world; _Atomic bool stop; _Atomic unsigned number; };

static void *change_on(void *context)
{
    struct changer *c = context;
    struct buf change;
    buf_init(&change, SIZE_MAX);
    for (unsigned number = MEMBERS; !atomic_load(&c->stop); number++) {
        for (size_t i = 0; i < TYPES; i++) {
            char text[32];
            struct stripe *s;
            bytes key = large_key(text, types[i]);
            struct key k;
            store_locate(c->world->store, key, &k);
            stripe_lock_wait(&c->world->store->stripes[k.stripe]);
            struct entry *e = find(c->world, key, &s);
            grow(types[i], entry_pointer(e), number, &change);
            stripe_unlock(s);
        }
        atomic_store(&c->number, number);
        sched_yield();
    }
    buf_release(&change);
    return NULL;
}

/* Sound, with what it had, and with a beginning of what came later: `number` n only with all below n. */
static void check_large(enum type type, const void *object, unsigned last)
{
    type_ops_of((int)type)->check(object);
    uint64_t count = type == TYPE_LIST ? list_count(object) : type == TYPE_HASH ? hash_count(object)
                     : type == TYPE_ZSET ? zset_count(object) : set_count(object);
    assert_in_range(count, MEMBERS, last + 1);
    for (unsigned i = 0; i < count; i++) {
        char text[32];
        bytes name = name_of(text, i), value;
        double score;
        switch (type) {
        case TYPE_LIST: assert_true(i % 100 || bytes_equal(list_at(object, i), name)); break;
        case TYPE_HASH: assert_true(hash_get(object, name, &value) && bytes_equal(value, name)); break;
        case TYPE_ZSET: assert_true(zset_score(object, name, &score) && score == i); break;
        default: assert_true(set_has(object, name));
        }
    }
}

static void holds_are_bounded_and_shares_are_what_was_taken(void **state)
{
    char detail[256] = "", text[32];
    struct world a = world_new(SECRET), b = world_new(SECRET);
    struct changer changer = {.world = &a};
    struct stripe *s;
    (void)state;
    fill(&a);
    os_thread thread = thread_start("changer", change_on, &changer);
    while (atomic_load(&changer.number) == 0)
        sched_yield();
    struct snapshot_write how = {.dir = dir, .log_id = LOG_ID, .number = 1, .store = a.store};
    assert_int_equal(snapshot_write(&how, detail, sizeof(detail)), HF_OK);
    atomic_store(&changer.stop, true);
    thread_join(thread);
    assert_in_range(how.hold_bytes_max, 1, HOLD_BOUND);
    struct snapshot_load l = {.dir = dir, .log_id = LOG_ID, .store = b.store, .threads = 1, .heaps = b.heaps};
    assert_int_equal(snapshot_load(&l, detail, sizeof(detail)), HF_OK);
    assert_int_equal(l.keys, 2000 + TYPES + 1);
    for (size_t i = 0; i < TYPES; i++) {
        struct entry *e = find(&b, large_key(text, types[i]), &s);
        assert_int_equal(entry_type(e), types[i]);
        assert_int_equal(entry_deadline(e), 77 + i);
        check_large(types[i], entry_pointer(e), atomic_load(&changer.number));
        check_large(types[i], entry_pointer(find(&a, large_key(text, types[i]), &s)), atomic_load(&changer.number));
    }
    const struct rope *string = entry_pointer(find(&b, BYTES("{same}string"), &s));
    assert_int_equal(string->size, 20u << 20);
    snapshot_ranges_free(l.ranges);
    world_free(&a);
    world_free(&b);
}

/* -- memory that the writer frees, because nobody else has the value any more -- */

#define UNTOLD_MAX (256 << 10)

static struct world *let_go; /* NULL: done */
static int64_t freed_untold;

/* A block goes to the disk: meanwhile all large values are replaced, of which the writer has shares. */
static int64_t pwrite_letting_go(int file, const void *data, size_t size, uint64_t offset)
{
    if (let_go && size >= 16u << 10) {
        char text[32];
        for (size_t i = 0; i <= TYPES; i++) {
            struct entry_image image = {.type = TYPE_STRING, .encoding = ENC_BYTES, .value = BYTES("small"),
                                        .key = i < TYPES ? large_key(text, types[i]) : BYTES("{same}string")};
            put(let_go, let_go->heaps[0], 1, &image, NULL, NULL);
        }
        let_go = NULL;
    }
    return os_kernel.pwrite(file, data, size, offset);
}

static void look_at_untold(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    (void)done;
    (void)total;
    freed_untold = -mem_untold() > freed_untold ? -mem_untold() : freed_untold;
    freed_untold = -small_untold() > freed_untold ? -small_untold() : freed_untold;
}

/* Untold, it would seem to be in use to the snapshot's end, and keys would be evicted for it. */
static void what_the_writer_frees_is_told_at_once(void **state)
{
    char detail[256] = "";
    struct world w = world_new(SECRET);
    struct os letting_go = os_kernel;
    (void)state;
    fill(&w);
    mem_tell();
    size_t before = mem_in_use();
    let_go = &w;
    freed_untold = 0;
    letting_go.pwrite = pwrite_letting_go;
    os_current = &letting_go;
    struct snapshot_write how = {.dir = dir, .log_id = LOG_ID, .number = 1, .store = w.store, .progress = look_at_untold};
    assert_int_equal(snapshot_write(&how, detail, sizeof(detail)), HF_OK);
    assert_null(let_go);
    assert_true(before - mem_in_use() > 20u << 20);
    assert_true(freed_untold < UNTOLD_MAX);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(holds_are_bounded_and_shares_are_what_was_taken, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(what_the_writer_frees_is_told_at_once, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
