/* test_lists.c -- list operations under transactions: committed they stay, rolled back they have not been.
 *
 * Goal: cut and remove_equal take exactly what they say, an emptied list takes its key along, and memory, log
 * and snapshot agree on it.
 * Method: random transactions of several operations on two lists against naive twins, half of them rolled back;
 * the lists are compared after each, and after reopening the directory, on the simulated disk of support/recorder.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/random.h"
#include "../support/recorder.h"

#include "engine/internal.h"
#include "engine/lists.h"

#define DATA_DIR REC_ROOT "/data"
#define CREDIT   (RECORD_DIRECT_MAX + 1024u)
#define TWIN_MAX 4096
#define VALUES   5 /* few, so that many elements are equal */

struct twin {
    size_t count;
    uint8_t values[TWIN_MAX];
};

static const char *const names[2] = {"one", "other"};

static size_t below(size_t n)
{
    return (size_t)(next_random() % n);
}

static bytes value_of(uint8_t number)
{
    static uint8_t body[VALUES][400];
    memset(body[number], 'a' + number, sizeof(body[number]));
    return bytes_of(body[number], number == 4 ? 400 : number);
}

/* ---- the engine ---- */

static struct engine *open_engine(enum durability durability)
{
    char detail[512] = "";
    struct engine *e = NULL;
    struct engine_config config = {.dir = DATA_DIR, .databases = 16, .workers = 1, .durability = durability,
                                   .segment_size = 1 << 20, .ring_size = 512 << 10, .interval_ms = 5};
    if (engine_open(&config, &e, detail, sizeof(detail)) != HF_OK)
        fail_msg("%s", detail);
    return e;
}

static void begin(struct engine *e, struct txn *t, struct key keys[2])
{
    while (e->log && !log_credit_take(e->log, CREDIT))
        usleep(1000);
    txn_reset(t, OS.wall_ms());
    t->undoing = true;
    for (int i = 0; i < 2; i++) {
        txn_locate(e, 0, bytes_str(names[i]), &keys[i]);
        txn_lock_add(t, keys[i].stripe);
    }
    txn_lock_all_wait(t);
}

static void end(struct engine *e, struct txn *t, bool commit)
{
    uint64_t lsn = 0;
    if (commit)
        lsn = txn_commit_lsn(t);
    else
        txn_rollback_all(t);
    if (!e->log)
        return;
    log_credit_return(e->log, CREDIT);
    log_kick(e->log);
    assert_int_equal(log_wait_written(e->log, lsn), HF_OK);
}

/* ---- one operation on both ---- */

static void twin_remove(struct twin *w, size_t at, size_t count)
{
    memmove(w->values + at, w->values + at + count, w->count - at - count);
    w->count -= count;
}

static void twin_insert(struct twin *w, size_t at, uint8_t number)
{
    assert_true(w->count < TWIN_MAX);
    memmove(w->values + at + 1, w->values + at, w->count - at);
    w->values[at] = number;
    w->count++;
}

static uint64_t twin_remove_equal(struct twin *w, uint8_t number, enum list_end from, uint64_t most)
{
    uint64_t removed = 0;
    for (size_t step = 0, seen = 0, count = w->count; step < count && removed < most; step++) {
        size_t at = from == LIST_HEAD ? seen : count - 1 - step;
        if (w->values[at] == number) {
            twin_remove(w, at, 1);
            removed++;
        } else {
            seen++;
        }
    }
    return removed;
}

static void push(struct txn *t, struct object_ref *o, struct twin *w)
{
    bytes values[40];
    size_t count = 1 + below(40);
    enum list_end end_of = below(2) ? LIST_HEAD : LIST_TAIL;
    for (size_t i = 0; i < count; i++) {
        uint8_t number = (uint8_t)below(VALUES);
        values[i] = value_of(number);
        twin_insert(w, end_of == LIST_HEAD ? 0 : w->count, number);
    }
    assert_int_equal(lists_push(t, o, end_of, values, count), HF_OK);
}

static void operate(struct txn *t, const struct key *k, struct twin *w)
{
    struct object_ref o;
    uint8_t number = (uint8_t)below(VALUES);
    assert_int_equal(lists_find(t, k, &o), HF_OK);
    assert_int_equal(o.object != NULL, w->count > 0);
    if (!o.object || (w->count < TWIN_MAX - 100 && below(3) == 0)) {
        push(t, &o, w);
        return;
    }
    size_t at = below(w->count), tail = below(below(20) == 0 ? w->count - at + 1 : 1 + (w->count - at) / 8);
    switch (below(5)) {
    case 0:
        lists_insert(t, &o, at, value_of(number));
        twin_insert(w, at, number);
        break;
    case 1:
        lists_set(t, &o, at, value_of(number));
        w->values[at] = number;
        break;
    case 2:
        at /= 8;
        lists_cut(t, &o, at, tail);
        twin_remove(w, w->count - tail, tail);
        twin_remove(w, 0, at);
        break;
    default: {
        enum list_end from = below(2) ? LIST_HEAD : LIST_TAIL;
        uint64_t most = below(8) == 0 ? UINT64_MAX : 1 + below(10);
        uint64_t expected = twin_remove_equal(w, number, from, most);
        assert_int_equal(lists_remove_equal(t, &o, value_of(number), from, most, (struct list_patience){NULL, NULL}), expected);
    }
    }
    assert_int_equal(object_close(t, &o), w->count == 0);
}

static void compare(struct engine *e, struct txn *t, const struct twin twins[2])
{
    struct key keys[2];
    begin(e, t, keys);
    for (int i = 0; i < 2; i++) {
        const struct list *l;
        struct list_cursor c;
        bytes value;
        size_t at = 0;
        assert_int_equal(lists_view(t, &keys[i], &l), HF_OK);
        assert_int_equal(l ? list_count(l) : 0, twins[i].count);
        for (bool more = l && list_seek(l, 0, &c, &value); more; more = list_next(&c, &value))
            assert_true(bytes_equal(value, value_of(twins[i].values[at++])));
        assert_int_equal(at, twins[i].count);
        if (l)
            list_ops.check(l);
    }
    end(e, t, true);
}

static void run(enum durability durability, uint64_t seed, int steps)
{
    struct twin twins[2] = {0}, before[2];
    struct engine *e = open_engine(durability);
    struct txn *t = txn_new(e);
    random_state = seed;
    for (int step = 0; step < steps; step++) {
        struct key keys[2];
        bool commit = below(2);
        memcpy(before, twins, sizeof(twins));
        begin(e, t, keys);
        for (size_t left = 1 + below(5); left > 0; left--) {
            size_t which = below(2);
            operate(t, &keys[which], &twins[which]);
        }
        end(e, t, commit);
        if (!commit)
            memcpy(twins, before, sizeof(twins));
        compare(e, t, twins);
        if (durability == DURABILITY_NONE || step % 50 != 49)
            continue;
        if (step % 100 == 99)
            assert_int_equal(engine_snapshot_wait(e), HF_OK);
        txn_free(t);
        engine_close(e);
        e = open_engine(durability);
        t = txn_new(e);
        compare(e, t, twins);
    }
    txn_free(t);
    engine_close(e);
}

static void lists_in_memory(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++)
        run(DURABILITY_NONE, seed, 400);
}

static void lists_come_back_from_the_log(void **state)
{
    (void)state;
    for (uint64_t seed = 11; seed <= 13; seed++) {
        run(DURABILITY_INTERVAL, seed, 300);
        rec_insert(rec_disk_new());
    }
}

static int setup(void **state)
{
    (void)state;
    rec_start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rec_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lists_in_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_come_back_from_the_log, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
