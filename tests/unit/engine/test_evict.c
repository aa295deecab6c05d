/* test_evict.c -- each eviction policy takes what it should, memory stays within its limit, what is removed is logged.
 *
 * Method: a memory-only engine (a logged one where the log is the subject) and one executor. Keys get their ages and
 * counts directly; then the limit is lowered below what is in use, and one key after the other goes. Sampling is by
 * chance, so a policy is judged by how many of the right keys are left, with a wide margin.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/one_exec.h"
#include "engine/keys.h"
#include "cmd/exec_private.h"
#include "engine/memory.h"

#define KEYS 2000

static int setup(void **state)
{
    (void)state;
    command_table_init();
    rec_start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rec_stop();
    return 0;
}

static void set_clock(const char *name, uint64_t idle_s, int uses)
{
    struct txn *t = txn_new(engine);
    struct key k;
    txn_locate(engine, 0, bytes_str(name), &k);
    txn_reset(t, OS.wall_ms());
    txn_lock_add(t, k.stripe);
    txn_lock_all_wait(t);
    if (uses >= 0)
        key_set_frequency(t, &k, (uint8_t)uses);
    key_set_idle(t, &k, idle_s);
    txn_commit_lsn(t);
    txn_free(t);
}

/* KEYS keys old:N, and as many new:N; what makes one old is the caller's. */
static void fill(const char *options)
{
    for (int i = 0; i < KEYS; i++) {
        assert_true(client_ok(client_do(&client, "SET old:%d %0100d%s", i, i, options)));
        assert_true(client_ok(client_do(&client, "SET new:%d %0100d%s", i, i, options)));
    }
}

static void make_old(uint64_t idle_s, int uses_old, int uses_new)
{
    char name[32];
    for (int i = 0; i < KEYS; i++) {
        snprintf(name, sizeof(name), "old:%d", i);
        set_clock(name, idle_s + 50, uses_old);
        snprintf(name, sizeof(name), "new:%d", i);
        set_clock(name, 50, uses_new);
    }
}

static int left(const char *prefix)
{
    int count = 0;
    for (int i = 0; i < KEYS; i++)
        count += strcmp(client_do(&client, "EXISTS %s:%d", prefix, i), ":1\r\n") == 0;
    return count;
}

/* Takes about `keys` keys' worth away and makes the server keep to it. */
static void squeeze(uint32_t policy, int keys)
{
    client_do(&client, "PING"); /* takes what a first command takes */
    uint64_t used = memory_used(engine, executor->txn->heap);
    engine_set_eviction(engine, policy, 5, 10, 1);
    engine_set_maxmemory(engine, used - (uint64_t)keys * 128);
    for (int i = 0; i < 10000 && memory_is_over(engine, executor->txn->heap); i++)
        client_do(&client, "PING");
    assert_false(memory_is_over(engine, executor->txn->heap));
    engine_set_maxmemory(engine, 0);
}

/* Half as many keys go as there are of each kind, and they are of the old kind. Leaves the engine open. */
static void squeeze_the_old(uint32_t policy, uint64_t idle_s, int old_uses, int new_uses)
{
    open_it(DURABILITY_NONE);
    fill("");
    make_old(idle_s, old_uses, new_uses);
    squeeze(policy | EVICT_ALL_KEYS, KEYS / 2);
    assert_true(left("new") > KEYS * 99 / 100);
}

static void the_longest_unused_go(void **state)
{
    (void)state;
    squeeze_the_old(EVICT_LRU, 1000, 9, 9);
    assert_in_range(left("old"), KEYS / 4, KEYS * 3 / 4);
    close_it();
}

/* What was written once and never used goes before what was used, at the same age. */
static void what_a_scan_brought_goes_first(void **state)
{
    (void)state;
    squeeze_the_old(EVICT_LRU, 0, CLOCK_USES_NEW, CLOCK_USES_NEW + 1);
    close_it();
}

static void the_least_used_go(void **state)
{
    (void)state;
    squeeze_the_old(EVICT_LFU, 0, 10, 60);
    close_it();
}

/* Only those with a deadline may go, though they are few and in other respects the better ones. */
static void only_volatile_keys_go(void **state)
{
    static const uint32_t policies[] = {EVICT_LRU, EVICT_LFU, EVICT_RANDOM, EVICT_TTL};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        open_it(DURABILITY_NONE);
        fill("");
        make_old(1000, 5, 100);
        for (int k = 0; k < KEYS / 10; k++) /* one in twenty keys */
            assert_string_equal(client_do(&client, "EXPIRE new:%d 100000", k * 10), ":1\r\n");
        squeeze(policies[i], KEYS / 20);
        assert_int_equal(left("old"), KEYS);
        assert_in_range(left("new"), KEYS - KEYS / 10, KEYS - 1);
        engine_set_eviction(engine, policies[i], 5, 10, 1);
        engine_set_maxmemory(engine, 1); /* and when they are gone, nothing more */
        for (int k = 0; k < 100; k++)
            client_do(&client, "PING");
        assert_string_equal(client_do(&client, "SET more x"), "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
        assert_int_equal(left("old") + left("new"), 2 * KEYS - KEYS / 10);
        close_it();
    }
}

static void the_nearest_deadlines_go(void **state)
{
    (void)state;
    open_it(DURABILITY_NONE);
    fill("");
    for (int i = 0; i < KEYS; i++) {
        client_do(&client, "EXPIRE old:%d %d", i, 1000 + i % 100);
        client_do(&client, "EXPIRE new:%d %d", i, 900000 + i);
    }
    squeeze(EVICT_TTL, KEYS / 2);
    assert_true(left("new") > KEYS * 99 / 100);
    close_it();
}

/* With a handful of keys in a thousand stripes a sample has to come from many of them. */
static void few_keys_are_judged_together(void **state)
{
    (void)state;
    int wrong = 0;
    for (int round = 0; round < 20; round++) {
        open_it(DURABILITY_NONE);
        for (int i = 0; i < 8; i++) {
            char name[32];
            snprintf(name, sizeof(name), "key:%d", i);
            client_do(&client, "SET %s x", name);
            set_clock(name, (uint64_t)i * 100 + 5, 9);
        }
        engine_set_eviction(engine, EVICT_LRU | EVICT_ALL_KEYS, 10, 10, 1);
        engine_set_maxmemory(engine, memory_used(engine, executor->txn->heap) - 1);
        assert_int_equal(evict_one(executor->evictor, executor->housekeeping_txn, OS.wall_ms()), EVICTED_ONE);
        wrong += strcmp(client_do(&client, "EXISTS key:7"), ":0\r\n") != 0;
        close_it();
    }
    assert_true(wrong <= 6); /* by chance one in eight would be right */
}

static void a_limit_counts_for_the_next_command(void **state)
{
    (void)state;
    open_it(DURABILITY_NONE);
    assert_true(client_ok(client_do(&client, "SET a 1")));
    engine_set_maxmemory(engine, 1);
    assert_string_equal(client_do(&client, "SET a 2"), "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    assert_string_equal(client_do(&client, "GET a"), "$1\r\n1\r\n");
    assert_true(client_ok(client_do(&client, "MULTI")));
    assert_string_equal(client_do(&client, "GET a"), "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    assert_string_equal(client_do(&client, "EXEC"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
    engine_set_maxmemory(engine, 0);
    assert_true(client_ok(client_do(&client, "SET a 2")));
    close_it();
}

/* Who makes room looks again before each key: no limit any more is room enough, however much was asked for. */
static void a_limit_lifted_meanwhile_takes_nothing(void **state)
{
    (void)state;
    open_it(DURABILITY_NONE);
    fill("");
    engine_set_eviction(engine, EVICT_LRU | EVICT_ALL_KEYS, 5, 10, 1);
    engine_set_maxmemory(engine, 0);
    int before = left("old") + left("new");
    enum room room = memory_make_room(engine, executor->evictor, executor->housekeeping_txn, OS.wall_ms(), MEMORY_ALL, 1000);
    assert_int_equal(room, ROOM_IS_THERE);
    assert_int_equal(left("old") + left("new"), before);
    close_it();
}

/* A writer stays at the limit, for values in blocks, outside of them, and collections. */
static void writers_stay_at_the_limit(void **state)
{
    (void)state;
    open_it(DURABILITY_NONE);
    engine_set_eviction(engine, EVICT_LRU | EVICT_ALL_KEYS, 5, 10, 1);
    uint64_t limit = memory_used(engine, executor->txn->heap) + (8 << 20);
    engine_set_maxmemory(engine, limit);
    for (int i = 0; i < 20000; i++) {
        const char *reply;
        if (i % 3 == 0)
            reply = client_do(&client, "SETRANGE s:%d %d x", i, i % 3000 * 10);
        else if (i % 3 == 1)
            reply = client_do(&client, "SET t:%d %0500d", i, i);
        else
            reply = client_do(&client, "RPUSH l:%d %0200d %0200d %0200d", i % 100, i, i, i);
        if (*reply == '-')
            fail_msg("%s", reply);
        assert_true(memory_used(engine, executor->txn->heap) < limit + (64 << 10));
    }
    struct engine_counts counts;
    engine_counts(engine, &counts);
    assert_true(counts.evicted > 1000);
    close_it();
}

/* Eviction is a logged removal: what was evicted stays away after a recovery, what was not is there. */
static void evicted_keys_do_not_come_back(void **state)
{
    (void)state;
    bool there[KEYS];
    open_it(DURABILITY_INTERVAL);
    fill("");
    squeeze(EVICT_RANDOM | EVICT_ALL_KEYS, KEYS);
    int count = 0;
    for (int i = 0; i < KEYS; i++) {
        there[i] = strcmp(client_do(&client, "EXISTS old:%d", i), ":1\r\n") == 0;
        count += there[i];
    }
    assert_in_range(count, KEYS / 4, KEYS * 3 / 4);
    close_it();
    open_it(DURABILITY_INTERVAL);
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(strcmp(client_do(&client, "EXISTS old:%d", i), ":1\r\n") == 0, there[i]);
    close_it();
}

/* What waits for the disk ends by itself: no key has to go for it. */
static void copies_of_large_records_evict_nothing(void **state)
{
    (void)state;
    struct engine_counts counts;
    static char value[200 << 10];
    memset(value, 'v', sizeof(value));
    bytes set[] = {BYTES("SET"), BYTES("large"), bytes_of(value, sizeof(value))};
    open_it(DURABILITY_COMMIT);
    assert_true(client_ok(client_do(&client, "FLUSHALL")));
    fill("");
    assert_true(client_ok(client_run(&client, set, 3)));
    assert_int_equal(log_wait_durable(engine->log, log_tail(engine->log)), HF_OK);
    pthread_mutex_lock(&rec.lock);
    rec.sync_us = 3000000;
    pthread_mutex_unlock(&rec.lock);
    engine_set_eviction(engine, EVICT_RANDOM | EVICT_ALL_KEYS, 5, 10, 1);
    engine_set_maxmemory(engine, memory_used(engine, executor->txn->heap) + (2 << 20));
    for (int i = 0; i < 40; i++)
        assert_true(client_ok(client_run(&client, set, 3)));
    assert_true(log_copies(engine->log) > 20 * sizeof(value)); /* the disk is slow */
    engine_counts(engine, &counts);
    assert_int_equal(counts.evicted, 0);
    pthread_mutex_lock(&rec.lock);
    rec.sync_us = 0;
    pthread_mutex_unlock(&rec.lock);
    engine_set_maxmemory(engine, 0);
    close_it();
}

/* All keys go, and with them the tables that held them; absence is still gated on the last removal. */
static void an_emptied_table_is_given_up_and_leaves_its_position(void **state)
{
    (void)state;
    open_it(DURABILITY_INTERVAL);
    assert_true(client_ok(client_do(&client, "FLUSHALL"))); /* what tests before have left */
    for (int i = 0; i < 200; i++)
        client_do(&client, "SET key:%d x", i);
    uint64_t full = memory_used(engine, executor->txn->heap), made = log_tail(engine->log);
    engine_set_eviction(engine, EVICT_RANDOM | EVICT_ALL_KEYS, 5, 10, 1);
    engine_set_maxmemory(engine, 1);
    for (int i = 0; i < 1000 && strcmp(client_do(&client, "DBSIZE"), ":0\r\n") != 0; i++) {
    }
    engine_set_maxmemory(engine, 0);
    assert_string_equal(client_do(&client, "DBSIZE"), ":0\r\n");
    assert_true(memory_used(engine, executor->txn->heap) + 200 * 1024 < full + 64 * 1024);
    struct txn *t = executor->txn;
    uint64_t tail = log_tail(engine->log);
    for (int i = 0; i < 200; i += 7) {
        client_do(&client, "GET key:%d", i);
        assert_true(t->observed_lsn > made && t->observed_lsn <= tail); /* that of its removal */
        client_do(&client, "SET {key:%d}other x", i); /* a new table: it knows the position, too */
        client_do(&client, "GET key:%d", i);
        assert_true(t->observed_lsn > made);
    }
    close_it();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_unused_go),
        cmocka_unit_test(what_a_scan_brought_goes_first),
        cmocka_unit_test(the_least_used_go),
        cmocka_unit_test(only_volatile_keys_go),
        cmocka_unit_test(the_nearest_deadlines_go),
        cmocka_unit_test(few_keys_are_judged_together),
        cmocka_unit_test(a_limit_counts_for_the_next_command),
        cmocka_unit_test(a_limit_lifted_meanwhile_takes_nothing),
        cmocka_unit_test(writers_stay_at_the_limit),
        cmocka_unit_test(evicted_keys_do_not_come_back),
        cmocka_unit_test(copies_of_large_records_evict_nothing),
        cmocka_unit_test(an_emptied_table_is_given_up_and_leaves_its_position),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
