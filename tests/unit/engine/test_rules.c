/* test_rules.c -- the engine's rules R5, R6, R9, R12 and R13, each against the trap that it names.
 *
 * The other rules: tests/README.md. Method: as in test_rules_snapshot.c.
 *
 *   R5/6 records rewritten again and again at the same positions behind crash after crash, over recycled segments, also
 *        crashes inside recovery: none of a dead epoch shows. A group whose header says an older or a later epoch
 *        is the end of the log. What recovery has read from a page cache that a failed fsync left is on disk after.
 *   R9   eight workers change few keys: each key's events come in commit order; a rollback's do not come.
 *   R12  what shows that a key is gone waits for the change that took it, and a cut before that brings the key back; the positions
 *        that tell so move with a table that grows or shrinks, also in a rollback.
 *   R13  two workers whose clocks differ by 50 ms: a key that one of them saw expired is gone for both, and after a
 *        crash too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/rules.h"

#include "durable/log_private.h"
#include "engine/events.h"
#include "engine/strings.h"

/* --- R5, R6 ------------------------------------------------------------------------------ */

#define R6_TOKENS_MAX 100000u

/* One string of numbered tokens; each is rewritten with another tag when a crash took it. */
struct tokens { uint32_t tags[R6_TOKENS_MAX]; size_t acked, tried; uint32_t run; };

/* The index after the last token found; fails on a gap, or a tag of a run that did not write it last. */
static size_t tokens_found(const struct tokens *t, struct client *c, const char *when)
{
    const char *at = client_do(c, "GET tokens");
    size_t i = 0;
    if (at[1] == '-')
        return 0;
    for (at = strchr(at, '\n') + 1; *at != '\r'; i++) {
        unsigned long number, tag;
        char *end;
        number = strtoul(at, &end, 10);
        tag = strtoul(end + 1, &end, 10);
        at = end + 1;
        if (number != i || i >= t->tried || tag != t->tags[i])
            fail_msg("%s: token %zu is %lu of run %lu, not of run %u", when, i, number, tag, t->tags[i]);
    }
    return i;
}

static void tokens_append(struct tokens *t, struct look *look)
{
    hf_assert(t->tried < R6_TOKENS_MAX);
    t->tags[t->tried] = t->run;
    const char *reply = client_do(&look->client, "APPEND tokens %zu.%u,", t->tried, t->run);
    hf_assert(reply[0] == ':');
    t->tried++;
}

/* Opens, compares, and counts what is there as acknowledged: somebody has read it. */
static void tokens_open(struct tokens *t, struct look *look, const char *when)
{
    look_open(look, DURABILITY_COMMIT);
    size_t found = tokens_found(t, &look->client, when);
    if (found < t->acked)
        fail_msg("%s: %zu tokens, and %zu were acknowledged", when, found, t->acked);
    t->tried = t->acked = found;
    t->run++;
}

static _Atomic bool syncs_held;

static int fdatasync_held(int file)
{
    while (atomic_load(&syncs_held))
        usleep(200);
    return rec_fdatasync(file);
}

/* Recycled segments, tails that were never synced, and a second crash at the same place: inside the recovery. */
static void test_r6_crash_after_crash(void **state)
{
    static struct tokens t;
    struct look look;
    char when[64];
    (void)state;
    for (uint64_t seed = 1; seed <= 25; seed++) {
        uint64_t random = seed;
        memset(&t, 0, sizeof(t));
        rec_stop();
        rec_start();
        rec_os.fdatasync = fdatasync_held;
        config.segment_size = 16 << 10;
        tokens_open(&t, &look, "new");
        for (int round = 0; round < 6; round++) {
            snprintf(when, sizeof(when), "seed %llu, round %d", (unsigned long long)seed, round);
            for (uint64_t i = rec_next(&random) % 60; i > 0; i--) {
                tokens_append(&t, &look);
                if (rec_next(&random) % 4 == 0)
                    assert_int_equal(log_wait_durable(look.engine->log, look.client.lsn), HF_OK);
            }
            if (rec_next(&random) % 2) { /* trims, and so recycles */
                assert_int_equal(engine_snapshot_wait(look.engine), HF_OK);
                tokens_append(&t, &look);
            }
            assert_int_equal(log_wait_durable(look.engine->log, log_tail(look.engine->log)), HF_OK);
            t.acked = t.tried;
            atomic_store(&syncs_held, true); /* what follows is written at most */
            for (uint64_t i = 1 + rec_next(&random) % 5; i > 0; i--)
                tokens_append(&t, &look);
            usleep(2000);
            rec_arm(0, false, 1, rec_next(&random));
            rec_cut();
            atomic_store(&syncs_held, false);
            look_close(&look);
            rec_insert(rec.forks[0]);
            /* the second crash: at each of the first changes of the recovery, in turn */
            rec_arm(1 + rec_next(&random) % 12, false, 1, rec_next(&random));
            tokens_open(&t, &look, when);
            rec_cut(); /* if it has not come yet */
            look_close(&look);
            rec_insert(rec.forks[0]);
            t.acked = t.tried < t.acked ? t.tried : t.acked;
            rec_arm(0, false, 0, 0);
            tokens_open(&t, &look, when);
        }
        look_close(&look);
    }
}

/* The last segment of the directory. */
static struct rec_bytes *last_segment(void)
{
    struct rec_name *last = NULL;
    for (size_t i = 0; i < rec.disk->live.count; i++) {
        struct rec_name *n = &rec.disk->live.at[i];
        if (strstr(n->path, "/log-0") && (!last || strcmp(n->path, last->path) > 0))
            last = n;
    }
    assert_non_null(last);
    return &last->file->live;
}

/* A group of another epoch, its checksums in order, is not of this log's present: nothing of it is applied. */
static void test_r5_flipped_epochs(void **state)
{
    static struct tokens t;
    struct look look;
    (void)state;
    for (int change = -1; change <= 1; change++) {
        memset(&t, 0, sizeof(t));
        rec_stop();
        rec_start();
        rec_os.fdatasync = fdatasync_held;
        tokens_open(&t, &look, "new");
        rec_arm(0, false, 0, 0);
        look_close(&look);
        tokens_open(&t, &look, "opened again, so that there is an older epoch");
        for (int i = 0; i < 2000 && !atomic_load(&look.engine->log->files.spare_ready); i++)
            usleep(1000);
        for (int i = 0; i < 5; i++) { /* the first one moves to the prepared segment; no fsync is needed for a new one later */
            tokens_append(&t, &look);
            assert_int_equal(log_wait_durable(look.engine->log, log_tail(look.engine->log)), HF_OK);
        }
        size_t synced = t.tried;
        atomic_store(&syncs_held, true);
        tokens_append(&t, &look); /* is being synced for ever: nothing behind it says that it is durable */
        log_kick(look.engine->log);
        usleep(20000);
        rec_arm(0, true, 1, 1); /* a crash of the process: everything written is there */
        rec_cut();
        atomic_store(&syncs_held, false);
        look_close(&look);
        rec_insert(rec.forks[0]);

        struct rec_bytes *segment = last_segment();
        struct segment_scan scan = {.data = segment->data, .size = segment->size};
        assert_null(segment_header_decode(segment->data, segment->size, &scan.header));
        segment_scan_run(&scan, UINT64_MAX);
        assert_true(scan.count > 0);
        struct group_header *last = &scan.groups[scan.count - 1].header;
        assert_int_equal(last->records, 1);
        assert_int_equal(last->epoch, scan.header.epoch);
        last->epoch += (uint32_t)change;
        group_header_encode(last, segment->data + scan.groups[scan.count - 1].offset);
        segment_scan_release(&scan);

        t.acked = synced;
        tokens_open(&t, &look, "with a flipped epoch");
        assert_int_equal(t.tried, synced + (change == 0));
        look_close(&look);
    }
}

/* After a failed fsync the page cache says more than the disk. A process that dies then, and a recovery that reads the cache:
 * what it has served is on the disk, also when the power goes right after. */
static void test_r6_recovery_does_not_trust_the_page_cache(void **state)
{
    static struct tokens t;
    struct look look;
    (void)state;
    unsigned more = 0;
    for (uint64_t seed = 1; seed <= 20 || (!more && seed <= 400); seed++) { /* how often it says more hangs on the machine's speed */
        memset(&t, 0, sizeof(t));
        rec_stop();
        rec_start();
        rec_os.fdatasync = fdatasync_held;
        tokens_open(&t, &look, "new");
        for (int i = 0; i < 10; i++)
            tokens_append(&t, &look);
        assert_int_equal(log_wait_durable(look.engine->log, log_tail(look.engine->log)), HF_OK);
        t.acked = t.tried;
        atomic_store(&syncs_held, true);
        for (int i = 0; i < 3; i++)
            tokens_append(&t, &look);
        log_kick(look.engine->log);
        usleep(5000);
        rec_set_fault(REC_BIT(REC_FDATASYNC), NULL, 1, UINT64_MAX, -EIO); /* loses what it should have written, for ever */
        atomic_store(&syncs_held, false);
        for (int i = 0; i < 1000 && log_state(look.engine->log) == LOG_OK; i++)
            usleep(500);
        assert_int_equal(log_state(look.engine->log), LOG_BROKEN);
        rec_arm(0, true, 1, seed);
        rec_cut(); /* the process dies; the cache stays */
        rec_clear_fault();
        look_close(&look);
        rec_insert(rec.forks[0]);
        tokens_open(&t, &look, "from the page cache");
        more += t.tried > 10;
        rec_arm(0, false, 1, seed * 4); /* the power goes: the cache is dropped */
        rec_cut();
        look_close(&look);
        rec_insert(rec.forks[0]);
        tokens_open(&t, &look, "from the disk"); /* as many as were served before */
        look_close(&look);
    }
    assert_true(more > 0); /* the cache did say more than was acknowledged */
}

/* --- R9 ---------------------------------------------------------------------------------- */

#define R9_WORKERS 8
#define R9_KEYS 3
#define R9_ROUNDS 3000

struct delivered { char key; uint64_t lsn; int64_t count; };
static struct delivered deliveries[R9_WORKERS * R9_ROUNDS * 2];
static _Atomic size_t delivery_count;
static _Thread_local int64_t r9_result;

static void deliver(const struct event *e, uint64_t lsn)
{
    if (lsn / 8 % 4 == 0)
        sched_yield(); /* whoever waits for the lock would overtake us here, if it were free */
    size_t at = atomic_fetch_add(&delivery_count, 1);
    hf_assert(at < sizeof(deliveries) / sizeof(deliveries[0]) && strcmp(e->name, "incrby") == 0);
    deliveries[at] = (struct delivered){(char)e->key.data[0], lsn, r9_result};
}

struct adder { struct engine *engine; unsigned worker; uint64_t random; };

static void *add_often(void *context)
{
    struct adder *a = context;
    struct txn *t = txn_new(a->engine);
    t->heap = a->engine->heaps[a->worker];
    for (int i = 0; i < R9_ROUNDS; i++) {
        char name = (char)('a' + rec_next(&a->random) % R9_KEYS);
        struct key k;
        while (!log_credit_take(a->engine->log, 1024)) {
            log_kick(a->engine->log);
            sched_yield();
        }
        txn_reset(t, 1000);
        txn_locate(a->engine, 0, bytes_of(&name, 1), &k);
        txn_lock_add(t, k.stripe);
        txn_lock_all_wait(t);
        bool roll_back = rec_next(&a->random) % 5 == 0;
        t->undoing = roll_back;
        bool added = string_incr_by(t, &k, 1, &r9_result) == HF_OK;
        hf_assert(added);
        txn_event(t, &k, EVENT_STRING, "incrby");
        if (roll_back)
            txn_rollback_all(t);
        else
            txn_commit_lsn(t);
        log_credit_return(a->engine->log, 1024);
        if (i % 16 == 0)
            log_kick(a->engine->log);
    }
    txn_free(t);
    return NULL;
}

static void test_r9_events_in_commit_order(void **state)
{
    (void)state;
    pthread_t threads[R9_WORKERS];
    struct adder adders[R9_WORKERS];
    atomic_store(&delivery_count, 0);
    struct engine *e = open_engine(DURABILITY_INTERVAL, R9_WORKERS);
    engine_events_listen(e, EVENT_STRING, deliver);
    for (unsigned i = 0; i < R9_WORKERS; i++) {
        adders[i] = (struct adder){e, i, i};
        threads[i] = thread_start("adder", add_often, &adders[i]);
    }
    for (int i = 0; i < R9_WORKERS; i++)
        pthread_join(threads[i], NULL);
    struct delivered last[R9_KEYS] = {0};
    size_t count = atomic_load(&delivery_count);
    for (size_t i = 0; i < count; i++) {
        struct delivered *d = &deliveries[i], *before = &last[d->key - 'a'];
        assert_true(d->lsn > before->lsn);
        assert_int_equal(d->count, before->count + 1); /* none missing, none of a rollback */
        *before = *d;
    }
    assert_true(count > R9_WORKERS * R9_ROUNDS / 2);
    engine_close(e);
}

/* --- R12 --------------------------------------------------------------------------------- */

static const struct { const char *remove[3], *ask, *answer; } r12_cases[] = {
    {{"DEL k"}, "GET k", "$-1\r\n"},
    {{"DEL k"}, "EXISTS k", ":0\r\n"},
    {{"DEL k"}, "MGET other k", "*2\r\n$-1\r\n$-1\r\n"},
    {{"RENAME k away"}, "TTL k", ":-2\r\n"},
    {{"MOVE k 1"}, "TYPE k", "+none\r\n"},
    {{"FLUSHDB"}, "STRLEN k", ":0\r\n"},
    {{"FLUSHALL"}, "GET k", "$-1\r\n"},
    {{"SWAPDB 0 1"}, "GET k", "$-1\r\n"},
    {{"PEXPIREAT k 1"}, "OBJECT ENCODING k", "$-1\r\n"},
    {{"MULTI", "DEL k", "EXEC"}, "DBSIZE", ":0\r\n"},
    {{"DEL k"}, "KEYS *", "*0\r\n"},
    {{"DEL k"}, "SET k x NX", "+OK\r\n"}, /* a write that depends on the absence */
};

static void test_r12_absence_is_gated(void **state)
{
    (void)state;
    unsigned back = 0;
    for (size_t i = 0; i < sizeof(r12_cases) / sizeof(r12_cases[0]) * 4; i++) {
        size_t row = i / 4;
        rec_stop();
        rec_start();
        rec_os.fdatasync = fdatasync_held;
        struct engine *e = open_engine(DURABILITY_COMMIT, 2);
        struct exec *x[2] = {exec_new(e, 0), exec_new(e, 1)};
        struct client one, two;
        client_init(&one, x[0], DURABILITY_COMMIT);
        client_init(&two, x[1], DURABILITY_COMMIT);
        assert_true(client_ok(client_do(&one, "SET k v")));
        assert_int_equal(log_wait_durable(e->log, one.lsn), HF_OK);
        atomic_store(&syncs_held, true);
        for (int k = 0; k < 3 && r12_cases[row].remove[k]; k++)
            assert_true(client_do(&one, "%s", r12_cases[row].remove[k])[0] != '-');
        assert_string_equal(client_do(&two, "%s", r12_cases[row].ask), r12_cases[row].answer);
        if (two.lsn < one.lsn || one.lsn <= log_durable(e->log))
            fail_msg("%s after %s may be answered at %llu, and the removal is safe at %llu only", r12_cases[row].ask,
                     r12_cases[row].remove[0], (unsigned long long)two.lsn, (unsigned long long)one.lsn);
        rec_arm(0, false, 1, i);
        rec_cut();
        uint64_t durable = log_durable(e->log);
        atomic_store(&syncs_held, false);
        client_release(&one);
        client_release(&two);
        exec_free(x[0]);
        exec_free(x[1]);
        engine_close(e);
        rec_insert(rec.forks[0]);
        struct look look;
        look_open(&look, DURABILITY_COMMIT);
        bool is_back = strcmp(client_do(&look.client, "GET k"), "$1\r\nv\r\n") == 0;
        back += is_back;
        assert_true(!is_back || two.lsn > durable); /* nobody was told that it was gone */
        look_close(&look);
    }
    assert_true(back > 0); /* the trap is there */
}

/* One stripe's table grows and shrinks under changes and rollbacks, and its positions move with it: whoever reads a key waits for its
 * last change, or for longer. After a reopening most buckets have none, and must not hide those of others. */
static void test_r12_positions_move_with_a_growing_table(void **state)
{
    enum { KEYS = 1500, STEPS = 4000 };
    (void)state;
    static uint64_t changed_lsn[KEYS];
    memset(changed_lsn, 0, sizeof(changed_lsn));
    struct look look;
    struct client *c = &look.client;
    look_open(&look, DURABILITY_INTERVAL);
    c->session.durability = DURABILITY_INTERVAL; /* else its replies wait for nothing */
    uint64_t chance = 7, waited = 0;
    assert_true(client_ok(client_do(c, "SET {t}text x")));
    for (int i = 0; i < STEPS; i++) {
        bool rolled_back = rec_next(&chance) % 3 != 0, grows = i / 400 % 2 == 0;
        unsigned keys[4];
        if (i % 200 == 199) {
            look_close(&look);
            look_open(&look, DURABILITY_INTERVAL);
            c->session.durability = DURABILITY_INTERVAL;
            memset(changed_lsn, 0, sizeof(changed_lsn)); /* what is recovered is on disk */
        }
        if (rolled_back)
            assert_true(client_ok(client_do(c, "MULTI STRICT")));
        for (int k = 0; k < 4; k++) {
            keys[k] = (unsigned)(rec_next(&chance) % KEYS);
            bool sets = rec_next(&chance) % 8 ? grows : !grows;
            assert_true(client_do(c, sets ? "SET {t}%u v" : "DEL {t}%u", keys[k])[0] != '-');
            if (!rolled_back && c->lsn > changed_lsn[keys[k]])
                changed_lsn[keys[k]] = c->lsn; /* of a DEL that found none: what it waits for */
        }
        if (rolled_back) {
            client_do(c, "INCR {t}text");
            assert_int_equal(client_do(c, "EXEC")[0], '-');
        }
        for (unsigned asked = 0; asked < KEYS && i % 10 == 0; asked++) {
            client_do(c, "GET {t}%u", asked);
            waited += changed_lsn[asked] != 0;
            if (c->lsn < changed_lsn[asked])
                fail_msg("step %d: {t}%u may be read at %llu, and was changed at %llu", i, asked, (unsigned long long)c->lsn,
                         (unsigned long long)changed_lsn[asked]);
        }
    }
    assert_true(waited > STEPS);
    look_close(&look);
}

/* --- R13 --------------------------------------------------------------------------------- */

#define R13_START UINT64_C(1700000000000)

static _Atomic uint64_t r13_now;
static _Thread_local int64_t r13_offset;

static uint64_t wall_skewed(void) { return atomic_load(&r13_now) + (uint64_t)r13_offset; }

static const char *ask_at(struct client *c, int64_t offset, const char *words)
{
    r13_offset = offset;
    return client_do(c, "%s", words);
}

static void test_r13_two_clocks(void **state)
{
    (void)state;
    for (int durability = DURABILITY_NONE; durability <= DURABILITY_COMMIT; durability++) {
        rec_stop();
        rec_start();
        rec_os.wall_ms = wall_skewed;
        atomic_store(&r13_now, R13_START);
        struct engine *e = open_engine((enum durability)durability, 2);
        struct exec *x[2] = {exec_new(e, 0), exec_new(e, 1)};
        struct client slow, fast;
        client_init(&slow, x[0], durability);
        client_init(&fast, x[1], durability);
        for (int i = 0; i < 200; i++) {
            char key[64], get[64];
            snprintf(key, sizeof(key), "SET k%d v PXAT %llu", i, (unsigned long long)(atomic_load(&r13_now) + 200));
            snprintf(get, sizeof(get), "GET k%d", i);
            assert_true(client_ok(ask_at(&slow, 0, key)));
            atomic_fetch_add(&r13_now, 170); /* 30 ms before the deadline for the slow one, 20 ms behind it for the fast one */
            r13_offset = 0;
            assert_true(exec_batch_begin(x[0])); /* its clock is read here, and a batch may be long */
            slow.in_batch = true;
            assert_string_equal(ask_at(&slow, 0, get), "$1\r\nv\r\n");
            assert_string_equal(ask_at(&fast, 50, get), "$-1\r\n");
            uint64_t seen = fast.lsn;
            assert_string_equal(ask_at(&slow, 0, get), "$-1\r\n"); /* gone is gone */
            assert_true(slow.lsn >= seen);
            slow.in_batch = false;
            exec_batch_end(x[0]);
            assert_string_equal(ask_at(&slow, 0, get), "$-1\r\n");
            assert_string_equal(ask_at(&slow, -5000, get), "$-1\r\n"); /* the clock was set back */
        }
        /* Someone was told that it is gone; then a crash, and a clock that runs behind. */
        char last[64];
        snprintf(last, sizeof(last), "SET last v PXAT %llu", (unsigned long long)(atomic_load(&r13_now) + 200));
        assert_true(client_ok(ask_at(&slow, 0, last)));
        assert_true(client_ok(ask_at(&slow, 0, "SET stays v PX 100000")));
        atomic_fetch_add(&r13_now, 170);
        assert_string_equal(ask_at(&fast, 50, "GET last"), "$-1\r\n");
        if (durability == DURABILITY_COMMIT)
            assert_int_equal(log_wait_durable(e->log, fast.lsn), HF_OK); /* the answer has left */
        if (durability == DURABILITY_COMMIT) {
            rec_arm(0, false, 1, 7);
            rec_cut();
        }
        client_release(&slow);
        client_release(&fast);
        exec_free(x[0]);
        exec_free(x[1]);
        engine_close(e);
        if (durability != DURABILITY_COMMIT)
            continue;
        rec_insert(rec.forks[0]);
        atomic_fetch_sub(&r13_now, 155);
        r13_offset = 0;
        struct look look;
        look_open(&look, DURABILITY_COMMIT);
        assert_string_equal(client_do(&look.client, "GET last"), "$-1\r\n");
        assert_string_equal(client_do(&look.client, "GET stays"), "$1\r\nv\r\n");
        assert_true(look.exec && atomic_load(&look.engine->time_high) >= R13_START + 200 * 170 + 220);
        look_close(&look);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_r6_crash_after_crash, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r5_flipped_epochs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r6_recovery_does_not_trust_the_page_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r9_events_in_commit_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r12_absence_is_gated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r12_positions_move_with_a_growing_table, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r13_two_clocks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
