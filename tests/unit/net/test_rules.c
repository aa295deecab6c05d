/* test_rules.c -- the rules that a connection sees: R1, R7, R8 and R15, each against the trap that it names.
 *
 * The other rules: tests/README.md. Method: a whole server in this process (support/served.h) over the simulated disk
 * of support/recorder.h, whose fsyncs are slow, whose room ends, or which fails when the test says so.
 *
 *   R1   one connection pipelines without pause: its first reply comes after two fsyncs at most.
 *   R7   64 writers against a ring of 1 MiB, slow fsyncs, a tiny disk: no worker ever waits for the disk; when it is
 *        full writes are refused and nothing of them has happened; with room again they go on.
 *   R8   a stripe is held for a second and 50 connections want it: the others' PING p99 stays under 10 ms.
 *   R15  one EIO while 50 connections write: no OK for what is lost, reads go on, it heals. A disk that stays broken: held
 *        replies become -IOERR, one each.
 * Times are compared where right and wrong lie a factor of ten apart, and R8 may try again: the machine may be busy.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/recorder.h"
#include "../support/served.h"

#include "base/crc.h"
#include "durable/log.h"

#define DATA_DIR REC_ROOT "/data"

static uint64_t now_us(void) { return os_kernel.monotonic_us(); }

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

static struct engine_config commit_config(void)
{
    return (struct engine_config){.dir = DATA_DIR, .durability = DURABILITY_COMMIT, .workers = 2, .segment_size = 1 << 20,
                                  .ring_size = 1 << 20};
}

static void set_sync_us(unsigned us)
{
    pthread_mutex_lock(&rec.lock);
    rec.sync_us = us;
    pthread_mutex_unlock(&rec.lock);
}

static uint64_t fsyncs(const struct served *s)
{
    struct log_stats stats;
    log_stats(s->engine->log, &stats);
    return stats.fsyncs;
}

/* --- R1 ------------------------------------------------------------------------------- */

/* So fast that something is always on its way, and so slow that neither the ring nor the held replies (1 MiB) end the flood: else
 * it pauses, and one position per connection would do. */
#define R1_PAUSE_US 1000

struct flood { struct caller *caller; _Atomic bool stop; };

static void *flood_on(void *context)
{
    struct flood *f = context;
    char text[64 * 32];
    size_t size = 0;
    for (int i = 0; i < 64; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "SET key:%d value\r\n", i);
    while (!atomic_load(&f->stop) && caller_send(f->caller, text, size))
        usleep(R1_PAUSE_US);
    return NULL;
}

static void test_r1_first_reply_of_a_flood(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        struct served s;
        struct caller c;
        struct flood f = {.caller = &c};
        char line[SERVED_LINE];
        struct engine_config config = commit_config();
        config.ring_size = 16 << 20;
        rec_stop();
        rec_start();
        served_start(&s, &config);
        caller_open(&c, &s);
        assert_string_equal(caller_ask(&c, "PING"), "+PONG");
        usleep(50000); /* the spare is made */
        set_sync_us(250000); /* long against the time that this thread may be kept waiting */
        uint64_t before = fsyncs(&s);
        pthread_t flooder = thread_start("flooder", flood_on, &f);
        assert_true(caller_line(&c, line));
        uint64_t first = fsyncs(&s) - before;
        assert_string_equal(line, "+OK");
        set_sync_us(1000);
        for (int i = 0; i < 2000; i++)
            assert_true(caller_line(&c, line)); /* and it goes on */
        uint64_t later = fsyncs(&s) - before;
        print_message("first reply after %llu fsyncs, 2001 after %llu\n", (unsigned long long)first, (unsigned long long)later);
        assert_true(first >= 1 && first <= 2);
        atomic_store(&f.stop, true);
        shutdown(c.fd, SHUT_RDWR);
        pthread_join(flooder, NULL);
        caller_close(&c);
        set_sync_us(0);
        served_stop(&s);
    }
}

/* --- R7 ------------------------------------------------------------------------------- */

#define R7_WRITERS 64
#define R7_VALUE 8000
#define R7_PIPELINE 4
#define R7_SYNC_US 600000 /* a worker that waits for it is seen even where a crowded machine stops it for long */

struct filler { const struct served *served; unsigned number; _Atomic uint64_t written, refused; _Atomic bool *stop; bool wrong; };

/* Sets w<number>:0, w<number>:1, ...; a refused one is tried again under the next number. */
static void *fill(void *context)
{
    struct filler *f = context;
    static const char value[R7_VALUE];
    struct caller *c = malloc(sizeof(*c));
    char *text = malloc(R7_VALUE + 200), line[SERVED_LINE];
    hf_assert(c && text);
    caller_open(c, f->served);
    for (unsigned next = 0; !atomic_load(f->stop) && !f->wrong;) {
        for (unsigned i = 0; i < R7_PIPELINE; i++) {
            char name[32];
            int name_size = snprintf(name, sizeof(name), "w%u:%u", f->number, next + i);
            int head = snprintf(text, 200, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n", name_size, name, R7_VALUE);
            memcpy(text + head, value, R7_VALUE);
            memcpy(text + head + R7_VALUE, "\r\n", 2);
            hf_assert(caller_send(c, text, (size_t)head + R7_VALUE + 2));
        }
        for (unsigned i = 0; i < R7_PIPELINE; i++, next++) {
            if (!caller_line(c, line)) {
                f->wrong = true;
                break;
            }
            if (strcmp(line, "+OK") == 0) {
                atomic_fetch_add(&f->written, 1);
                continue;
            }
            f->wrong = strncmp(line, "-MISCONF ", 9) != 0;
            atomic_fetch_add(&f->refused, 1);
            usleep(1000);
        }
    }
    caller_close(c);
    free(c);
    free(text);
    return NULL;
}

static uint64_t sum(struct filler *fillers, bool written)
{
    uint64_t total = 0;
    for (int i = 0; i < R7_WRITERS; i++)
        total += written ? atomic_load(&fillers[i].written) : atomic_load(&fillers[i].refused);
    return total;
}

static void wait_for(struct filler *fillers, bool written, uint64_t more)
{
    uint64_t end = sum(fillers, written) + more;
    for (int i = 0; i < 4000 && sum(fillers, written) < end; i++)
        usleep(5000);
    assert_true(sum(fillers, written) >= end);
}

static uint64_t keys_now(const struct served *s)
{
    struct keyspace all;
    engine_keyspace(s->engine, NULL, OS.wall_ms(), &all);
    uint64_t keys = all.databases[0].keys;
    keyspace_release(&all);
    return keys;
}

static void nobody_waits_for_the_disk(uint64_t segment_size)
{
    struct served s;
    static struct filler fillers[R7_WRITERS];
    pthread_t threads[R7_WRITERS];
    _Atomic bool stop = false;
    struct net_stats net;
    struct log_stats log;
    struct engine_config config = commit_config();
    config.segment_size = segment_size;
    rec.capacity = 8 << 20;
    served_start(&s, &config);
    usleep(100000);
    set_sync_us(R7_SYNC_US);
    for (unsigned i = 0; i < R7_WRITERS; i++) {
        fillers[i] = (struct filler){.served = &s, .number = i, .stop = &stop};
        threads[i] = thread_start("filler", fill, &fillers[i]);
    }
    wait_for(fillers, false, 200); /* the disk is full */
    net_stats(&net);
    assert_true(net.parks > 0 || segment_size > rec.capacity); /* somebody has waited for credit, before */
    print_message("%llu written, longest step %llu us, fsyncs take %u us, %llu parks\n",
                  (unsigned long long)sum(fillers, true), (unsigned long long)net.step_us_max, R7_SYNC_US,
                  (unsigned long long)net.parks);
    assert_true(net.step_us_max < R7_SYNC_US / 2);
    log_stats(s.engine->log, &log);
    assert_int_equal(log.io_errors, 0); /* no write has met the end of the disk */
    assert_int_equal(log_state(s.engine->log), LOG_FULL);
    set_sync_us(1000);
    usleep(400000);
    assert_true(keys_now(&s) <= sum(fillers, true) + R7_WRITERS * R7_PIPELINE);

    pthread_mutex_lock(&rec.lock); /* somebody makes room */
    rec.capacity = 40 << 20;
    pthread_mutex_unlock(&rec.lock);
    uint64_t begun = now_us();
    wait_for(fillers, true, 200);
    print_message("goes on %llu ms after\n", (unsigned long long)(now_us() - begun) / 1000);
    atomic_store(&stop, true);
    for (int i = 0; i < R7_WRITERS; i++) {
        pthread_join(threads[i], NULL);
        assert_false(fillers[i].wrong);
    }
    assert_int_equal(keys_now(&s), sum(fillers, true)); /* refused ones have not happened, the others have */
    rec_arm(0, false, 1, 3);
    rec_cut();
    uint64_t written = sum(fillers, true);
    served_stop(&s);
    rec_insert(rec.forks[0]);
    rec.capacity = 0;
    served_start(&s, &config);
    assert_int_equal(keys_now(&s), written);
    served_stop(&s);
}

static void test_r7_nobody_waits_for_the_disk(void **state)
{
    (void)state;
    nobody_waits_for_the_disk(1 << 20);
    rec_stop();
    rec_start();
    nobody_waits_for_the_disk(64 << 20); /* the disk cannot hold a whole segment, and is used all the same */
}

/* --- R8 ------------------------------------------------------------------------------- */

#define R8_WAITING 50
#define R8_OTHERS 4
#define R8_HOLD_US 1000000

static uint32_t stripe_of(const char *name)
{
    return key_slot(bytes_str(name)) >> STRIPE_SHIFT;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Holds the stripe of "x" for a second; the p99 of what others ask meanwhile, in microseconds. */
static uint64_t hold_and_ask(struct served *s, struct caller *waiting, struct caller *others)
{
    static uint64_t took[20000];
    size_t asked = 0;
    struct stripe *stripe = &s->engine->store->stripes[stripe_of("x")];
    stripe_lock_wait(stripe);
    uint64_t begun = now_us();
    for (int i = 0; i < R8_WAITING; i++)
        assert_true(caller_send(&waiting[i], "SET x 1\r\n", 9));
    while (now_us() - begun < R8_HOLD_US && asked < sizeof(took) / sizeof(took[0])) {
        uint64_t at = now_us();
        assert_string_equal(caller_ask(&others[asked % R8_OTHERS], asked % 8 < 4 ? "PING" : "SET y 1"),
                            asked % 8 < 4 ? "+PONG" : "+OK");
        took[asked++] = now_us() - at;
        usleep(200);
    }
    for (int i = 0; i < R8_WAITING; i++)
        assert_false(caller_waits(&waiting[i], 0)); /* nobody got in */
    stripe_unlock(stripe);
    for (int i = 0; i < R8_WAITING; i++) {
        char line[SERVED_LINE];
        assert_true(caller_line(&waiting[i], line));
        assert_string_equal(line, "+OK");
    }
    qsort(took, asked, sizeof(took[0]), by_value);
    print_message("%zu asked, p50 %llu us, p99 %llu us\n", asked, (unsigned long long)took[asked / 2],
                  (unsigned long long)took[asked * 99 / 100]);
    return took[asked * 99 / 100];
}

static void test_r8_a_held_stripe_holds_nobody_else(void **state)
{
    (void)state;
    struct served s;
    struct caller *waiting = calloc(R8_WAITING, sizeof(*waiting)), *others = calloc(R8_OTHERS, sizeof(*others));
    struct engine_config config = commit_config();
    config.durability = DURABILITY_NONE;
    assert_true(waiting && others && stripe_of("x") != stripe_of("y"));
    served_start(&s, &config);
    for (int i = 0; i < R8_WAITING; i++)
        caller_open(&waiting[i], &s);
    for (int i = 0; i < R8_OTHERS; i++)
        caller_open(&others[i], &s);
    uint64_t p99 = UINT64_MAX;
    for (int tries = 0; tries < 8 && p99 >= 10000; tries++)
        p99 = hold_and_ask(&s, waiting, others);
    assert_true(p99 < 10000);
    for (int i = 0; i < R8_WAITING; i++)
        caller_close(&waiting[i]);
    for (int i = 0; i < R8_OTHERS; i++)
        caller_close(&others[i]);
    free(waiting);
    free(others);
    served_stop(&s);
}

/* --- R15 ------------------------------------------------------------------------------ */

#define R15_WRITERS 50

struct writer { const struct served *served; unsigned number; _Atomic uint64_t tried, acked; _Atomic bool *stop; _Atomic bool wrong; };

/* SET v<number> to 1, 2, 3 ...; counts what was answered with OK before the power went. */
static void *write_on(void *context)
{
    struct writer *w = context;
    struct caller *c = malloc(sizeof(*c));
    hf_assert(c);
    caller_open(c, w->served);
    for (uint64_t n = 1; !atomic_load(w->stop); n++) {
        char command[64];
        snprintf(command, sizeof(command), "SET v%u %llu", w->number, (unsigned long long)n);
        atomic_store(&w->tried, n);
        const char *reply = caller_ask(c, command);
        if (strcmp(reply, "+OK") == 0 && !atomic_load(&rec.cut))
            atomic_store(&w->acked, n);
        else if (strncmp(reply, "-MISCONF ", 9) == 0)
            usleep(2000);
        else if (strcmp(reply, "+OK") != 0 && strncmp(reply, "-IOERR ", 7) != 0)
            atomic_store(&w->wrong, true);
    }
    caller_close(c);
    free(c);
    return NULL;
}

static bool rec_fault_is_over(void)
{
    pthread_mutex_lock(&rec.lock);
    bool over = rec.fault.hits >= rec.fault.count;
    pthread_mutex_unlock(&rec.lock);
    if (over)
        usleep(20000); /* the log notes its error after the call */
    return over;
}

static void one_eio(uint64_t seed)
{
    static struct writer writers[R15_WRITERS];
    pthread_t threads[R15_WRITERS];
    struct served s;
    struct caller reader;
    _Atomic bool stop = false;
    struct log_stats log;
    struct engine_config config = commit_config();
    served_start(&s, &config);
    caller_open(&reader, &s);
    assert_string_equal(caller_ask(&reader, "SET old value"), "+OK");
    for (unsigned i = 0; i < R15_WRITERS; i++) {
        writers[i] = (struct writer){.served = &s, .number = i, .stop = &stop};
        threads[i] = thread_start("writer", write_on, &writers[i]);
    }
    usleep(50000);
    rec_arm(0, false, 2, seed);
    rec_set_fault(REC_BIT(REC_FDATASYNC), NULL, 1, 1, -EIO);
    uint64_t begun = now_us(), healed = 0, cut_after = (seed % 6) * 40000, slowest = 0;
    while (!healed || now_us() - begun < 400000) {
        uint64_t at = now_us();
        assert_string_equal(caller_ask(&reader, "GET old"), "value"); /* reads of older keys go on */
        slowest = now_us() - at > slowest ? now_us() - at : slowest;
        if (seed % 2 && now_us() - begun > cut_after)
            rec_cut();
        log_stats(s.engine->log, &log);
        if (!log.io_errors && rec_fault_is_over()) {
            log_stats(s.engine->log, &log);
            if (!log.io_errors) /* it has met the spare's preparation: once more */
                rec_set_fault(REC_BIT(REC_FDATASYNC), NULL, 1, 1, -EIO);
        }
        if (log.io_errors && log_state(s.engine->log) == LOG_OK && !healed)
            healed = now_us() - begun;
        assert_true(now_us() - begun < 10000000);
    }
    print_message("healed after %llu ms, slowest read %llu us\n", (unsigned long long)healed / 1000, (unsigned long long)slowest);
    uint64_t before[R15_WRITERS];
    for (int i = 0; i < R15_WRITERS; i++)
        before[i] = atomic_load(&writers[i].tried);
    usleep(100000);
    for (int i = 0; i < R15_WRITERS; i++) {
        for (int k = 0; k < 1000 && atomic_load(&writers[i].tried) < before[i] + 2; k++)
            usleep(5000);
        assert_true(atomic_load(&writers[i].tried) >= before[i] + 2); /* everybody goes on, without a restart */
    }
    rec_cut();
    atomic_store(&stop, true);
    for (int i = 0; i < R15_WRITERS; i++) {
        pthread_join(threads[i], NULL);
        assert_false(writers[i].wrong);
    }
    caller_close(&reader);
    served_stop(&s);
    for (int fork = 0; fork < 2; fork++) {
        rec_insert(rec.forks[fork]);
        served_start(&s, &config);
        caller_open(&reader, &s);
        for (unsigned i = 0; i < R15_WRITERS; i++) {
            char command[32];
            snprintf(command, sizeof(command), "GET v%u", i);
            const char *reply = caller_ask(&reader, command);
            uint64_t found = strcmp(reply, "$-1") == 0 ? 0 : strtoull(reply, NULL, 10);
            if (found < writers[i].acked || found > writers[i].tried)
                fail_msg("seed %llu: v%u is %llu, %llu was acknowledged", (unsigned long long)seed, i, (unsigned long long)found,
                         (unsigned long long)writers[i].acked);
        }
        caller_close(&reader);
        served_stop(&s);
    }
}

static void test_r15_one_eio(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        rec_stop();
        rec_start();
        one_eio(seed);
    }
}

/* The log cannot heal: what is held is answered in the end, one error for each reply, and the connection goes on. */
static void test_r15_outcome_unknown(void **state)
{
    (void)state;
    struct served s;
    struct caller c, other;
    char line[SERVED_LINE];
    struct engine_config config = commit_config();
    static const char pipeline[] = "GET old\r\nSET a 1\r\nSET a2 1\r\nINCR a2\r\nGET old\r\nPING\r\nMULTI\r\nSET b 1\r\nEXEC\r\n";
    static const char *const expected[] = {"value", "-IOERR", "-IOERR", "-IOERR", "value", "+PONG", "+OK", "+QUEUED", "-IOERR"};
    served_start(&s, &config);
    caller_open(&c, &s);
    caller_open(&other, &s);
    assert_string_equal(caller_ask(&c, "SET old value"), "+OK");
    assert_string_equal(caller_ask(&c, "SET due value PX 900"), "+OK");
    for (int i = 0; i < 200; i++) /* stamps know positions to 4 KiB */
        assert_string_equal(caller_ask(&c, "SET between xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), "+OK");
    set_sync_us(100000); /* time for the whole pipeline to be run before the failure is known */
    rec_set_fault(REC_BIT(REC_FDATASYNC), NULL, 1, UINT64_MAX, -EIO);
    assert_true(caller_send(&c, pipeline, sizeof(pipeline) - 1));
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_true(caller_line(&c, line));
        if (strncmp(line, expected[i], strlen(expected[i])) != 0)
            fail_msg("reply %zu is %s", i, line);
    }
    assert_string_equal(caller_ask(&c, "PING"), "+PONG");
    assert_string_equal(caller_ask(&other, "GET old"), "value");
    for (int i = 0; i < 4000 && strcmp(caller_ask(&other, "GET due"), "value") == 0; i++)
        usleep(5000);
    assert_string_equal(caller_ask(&other, "GET due"), "$-1"); /* R13: absent; its removal, which would be unsafe, waits */
    assert_int_equal(strncmp(caller_ask(&other, "SET old 2"), "-MISCONF ", 9), 0);
    assert_int_equal(strncmp(caller_ask(&other, "GET a"), "-IOERR ", 7), 0); /* seen, but not safe */
    rec_clear_fault();
    set_sync_us(0);
    const char *reply = "";
    for (int i = 0; i < 2000 && strcmp(reply, "+OK") != 0; i++) {
        usleep(5000);
        reply = caller_ask(&other, "SET c 1");
    }
    assert_string_equal(reply, "+OK");
    assert_string_equal(caller_ask(&other, "GET a"), "1"); /* unknown was the word: it has happened */
    caller_close(&c);
    caller_close(&other);
    served_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_r1_first_reply_of_a_flood, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r7_nobody_waits_for_the_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r8_a_held_stripe_holds_nobody_else, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r15_one_eio, setup, teardown),
        cmocka_unit_test_setup_teardown(test_r15_outcome_unknown, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
