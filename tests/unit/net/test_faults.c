/* test_faults.c -- a failing disk below the real server: no false OK, no exit, nothing lost, healed by itself.
 *
 * Goal: whichever write, fsync, open, rename or directory call fails, once, for a while or until
 * further notice: a reply that says OK is true; a refusal changes nothing and says why; a
 * held reply becomes "outcome unknown" after a bounded time; reads go on; when the disk is well, writes
 * succeed within a second without a restart; and after a power cut everything acknowledged is there.
 * Method: workers and engine on the simulated disk (support/recorder.h), one client with a fixed number of random
 * units (support/netmodel.h), small segments, with snapshots and without (a snapshot would hide what the log lost). The n-th call of one kind fails, for n = 1, 2,
 * 3 ... without a gap, until runs meet no fault any more: every call of the workload has failed once. The
 * clock runs faster, so that healing does not take real time. The client's model follows what was refused;
 * after healing every key is compared, then the power is cut and the reopened server is compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/stats.h"

#include "../support/netmodel.h"
#include "proto/memcached/memcached.h"
#include "../support/stride.h"

#define DATA_DIR REC_ROOT "/data"
#define UNITS 30
#define SPEED 20
#define HEAL_MS 2500  /* the promise is a second; sanitizers and busy machines take longer */
#define WITHOUT_MAX 3 /* so many runs in a row without a fault end a series */

struct world {
    struct netserver server;
    struct netmodel *model;
    const char *what;
    uint64_t n, refused, unknown;
};

static uint64_t now_ms(void) { return os_kernel.monotonic_us() / 1000; }

static struct netclient *writer(struct world *w) { return &w->model->clients[0]; }

static void world_open(struct world *w, enum durability durability, uint64_t seed, unsigned speed)
{
    static char detail[512];
    rec_start();
    rec.speed = speed;
    rec.random = seed;
    rec_arm(0, false, 1, seed);
    w->server.config = (struct engine_config){.dir = DATA_DIR, .durability = durability, .databases = 4, .segment_size = 16 << 10,
                                              .ring_size = 256 << 10, .interval_ms = 5};
    w->model = netmodel_new(seed);
    if (!netserver_open(&w->server, detail, sizeof(detail)))
        fail_msg("%s", detail);
    client_open(&writer(w)->client, w->server.port);
}

static void check_well(struct world *w)
{
    if (writer(w)->wrong[0])
        fail_msg("%s, call %llu: %s", w->what, (unsigned long long)w->n, writer(w)->wrong);
}

/* One unit; true: it was answered without an error. A refused one never was; an unknown one is in
 * memory, and its effect will be seen. */
static bool step(struct world *w)
{
    struct netclient *c = writer(w);
    if (!netclient_step(c, 1))
        fail_msg("%s, call %llu: the server has gone, or does not answer", w->what, (unsigned long long)w->n);
    check_well(w);
    struct unit *u = &c->units[c->unit_count - 1];
    if (!u->error[0])
        return true;
    u->answered = false;
    if (strncmp(u->error, "IOERR ", 6) == 0) {
        assert_non_null(strstr(u->error, "unknown"));
        w->unknown++;
    } else if (strncmp(u->error, "MISCONF ", 8) == 0 || strncmp(u->error, "EXECABORT ", 10) == 0) {
        w->refused++;
        netclient_forget_last(c);
    } else {
        fail_msg("%s, call %llu: an error of another kind: %s", w->what, (unsigned long long)w->n, u->error);
    }
    return false;
}

/* Until a write succeeds; how long it took. */
static uint64_t wait_for_health(struct world *w)
{
    uint64_t begun = now_ms();
    const struct netclient *c = writer(w);
    for (;;) {
        bool good = step(w);
        if ((good && c->unit_count && c->units[c->unit_count - 1].wrote) || now_ms() - begun > 4 * HEAL_MS)
            return now_ms() - begun;
        if (!good)
            usleep(2000);
    }
}

/* Memory holds what was not refused, whatever the disk did. */
static void compare_memory(struct world *w)
{
    static struct found f;
    memset(&f, 0, sizeof(f));
    assert_true(netmodel_read(&w->server, &f));
    const struct netclient *c = writer(w);
    for (unsigned i = 0; i < SLOTS; i++) {
        const struct text *a = &f.texts[0][i], *b = &c->now[i];
        if (a->there != b->there || (a->there && (a->size != b->size || memcmp(a->data, b->data, a->size) != 0)))
            fail_msg("%s, call %llu: in memory slot %u is not what the replies say", w->what, (unsigned long long)w->n, i);
    }
}

static void cut_and_compare(struct world *w, bool lossy)
{
    static char detail[512];
    rec_cut();
    client_close(&writer(w)->client);
    netserver_close(&w->server);
    rec.speed = 1;
    rec_insert(rec.forks[0]);
    if (!netserver_open(&w->server, detail, sizeof(detail)))
        fail_msg("%s, call %llu: not to be opened after the cut: %s", w->what, (unsigned long long)w->n, detail);
    if (!netmodel_check(w->model, &w->server, lossy, false))
        fail_msg("%s, call %llu: %s", w->what, (unsigned long long)w->n, w->model->detail);
    netserver_close(&w->server);
    netmodel_free(w->model);
    rec_stop();
}

/* Wakes the log all the time: with a fast clock it heals at once. */
struct prodder { struct log *log; _Atomic bool stop; pthread_t thread; };

static void *prod(void *context)
{
    struct prodder *p = context;
    while (!atomic_load(&p->stop)) {
        log_sync_now(p->log);
        usleep(500);
    }
    return NULL;
}

static void prod_start(struct prodder *p, struct world *w)
{
    *p = (struct prodder){.log = engine_log(w->server.engine)};
    p->thread = thread_start("prodder", prod, p);
}

static void prod_stop(struct prodder *p)
{
    atomic_store(&p->stop, true);
    pthread_join(p->thread, NULL);
}

struct series { const char *what; uint32_t calls; uint64_t count; int error; enum durability durability; };

/* Returns how many calls failed. snapshots: half way and at the end; what they hold, the log need not hold any more. */
static uint64_t run(const struct series *s, uint64_t n, bool snapshots, uint64_t *refused, uint64_t *unknown)
{
    struct world w = {.what = s->what, .n = n};
    struct prodder prodder;
    world_open(&w, s->durability, n * 31 + s->calls, SPEED);
    atomic_store(&w.server.limits.failed_hold_ms, n % 2 ? 1 : 1000); /* given up at once; or held until it has healed */
    prod_start(&prodder, &w);
    assert_true(step(&w));
    rec_set_fault(s->calls, NULL, n, s->count, s->error);
    for (int i = 0; i < UNITS; i++) {
        step(&w);
        if (i == UNITS / 2 && snapshots)
            (void)engine_snapshot_wait(w.server.engine); /* may fail; harms nothing */
    }
    uint64_t hits = rec_clear_fault(), took = wait_for_health(&w);
    if (took > HEAL_MS)
        fail_msg("%s, call %llu: no write for %llu ms after the fault", s->what, (unsigned long long)n, (unsigned long long)took);
    if (snapshots)
        assert_int_equal(engine_snapshot_wait(w.server.engine), HF_OK);
    while (!step(&w) || !writer(&w)->units[writer(&w)->unit_count - 1].wrote) {
    }
    compare_memory(&w);
    prod_stop(&prodder);
    cut_and_compare(&w, s->durability == DURABILITY_INTERVAL);
    *refused += w.refused;
    *unknown += w.unknown;
    return hits;
}

static void each_in_turn(struct series s, bool snapshots)
{
    uint64_t refused = 0, unknown = 0, most = 0;
    for (uint64_t n = 1; n <= most + WITHOUT_MAX * stride(); n += stride())
        most = run(&s, n, snapshots, &refused, &unknown) ? n : most;
    print_message("%s%s: calls 1 to %llu each failed; %llu units refused, %llu unknown\n", s.what,
                  snapshots ? ", with snapshots" : "", (unsigned long long)most, (unsigned long long)refused,
                  (unsigned long long)unknown);
    assert_true(most > 0);
}

static void both_in_turn(struct series s)
{
    each_in_turn(s, false);
    each_in_turn(s, true);
}

static void test_every_write_fails_in_turn(void **state)
{
    (void)state;
    both_in_turn((struct series){"write, EIO once", REC_BIT(REC_PWRITE), 1, -EIO, DURABILITY_COMMIT});
    both_in_turn((struct series){"write, ENOSPC for 5 calls", REC_BIT(REC_PWRITE), 5, -ENOSPC, DURABILITY_COMMIT});
    both_in_turn((struct series){"write, EIO once, interval", REC_BIT(REC_PWRITE), 1, -EIO, DURABILITY_INTERVAL});
}

static void test_every_fsync_fails_in_turn(void **state)
{
    (void)state;
    both_in_turn((struct series){"fsync, EIO once", REC_BIT(REC_FDATASYNC), 1, -EIO, DURABILITY_COMMIT});
    both_in_turn((struct series){"fsync, EIO for 3 calls", REC_BIT(REC_FDATASYNC), 3, -EIO, DURABILITY_COMMIT});
    both_in_turn((struct series){"fsync, EIO once, interval", REC_BIT(REC_FDATASYNC), 1, -EIO, DURABILITY_INTERVAL});
}

static void test_every_name_call_fails_in_turn(void **state)
{
    (void)state;
    both_in_turn((struct series){"open, EIO once", REC_BIT(REC_OPEN), 1, -EIO, DURABILITY_COMMIT});
    both_in_turn((struct series){"open, ENOSPC for 3 calls", REC_BIT(REC_OPEN), 3, -ENOSPC, DURABILITY_COMMIT});
    each_in_turn((struct series){"rename, EIO once", REC_BIT(REC_RENAME), 1, -EIO, DURABILITY_COMMIT}, true);
    both_in_turn((struct series){"directory sync, EIO once", REC_BIT(REC_SYNC_DIR), 1, -EIO, DURABILITY_COMMIT});
    both_in_turn((struct series){"directory sync, EIO for 3 calls", REC_BIT(REC_SYNC_DIR), 3, -EIO, DURABILITY_COMMIT});
    each_in_turn((struct series){"unlink, EIO once", REC_BIT(REC_UNLINK), 1, -EIO, DURABILITY_COMMIT}, true);
    both_in_turn((struct series){"every change, EIO for 4 calls", REC_CHANGES, 4, -EIO, DURABILITY_COMMIT});
}

/* --- a disk that stays dead: what is held, refused, served --------------------------------------- */

static void expect_token(struct client *c, char type, const char *begins)
{
    struct token t;
    assert_true(client_token(c, &t));
    if (t.type != type || strncmp(t.data, begins, strlen(begins)) != 0)
        fail_msg("%c%.*s instead of %c%s", t.type, (int)(t.size < 200 ? t.size : 200), t.data ? t.data : "", type, begins);
}

static void expect_bulk(struct client *c, const char *value)
{
    struct token t;
    assert_true(client_token(c, &t));
    assert_int_equal(t.type, '$');
    assert_int_equal(t.size, strlen(value));
    assert_memory_equal(t.data, value, t.size);
}

static void heal_and_wait(struct world *w, struct client *c)
{
    struct token t;
    uint64_t begun = now_ms();
    rec_clear_fault();
    do {
        usleep(5000);
        client_command(c, 3, "SET", "healed", "yes");
        assert_true(client_send(c) && client_token(c, &t));
    } while (t.type == '-' && now_ms() - begun < 4 * HEAL_MS);
    assert_int_equal(t.type, '+');
    assert_true(now_ms() - begun <= HEAL_MS);
    (void)w;
}

static uint64_t commands_run(void)
{
    struct net_stats stats;
    net_stats(&stats);
    return stats.commands;
}

/* One pipeline has run and is not yet on disk when the disk begins to fail: every held reply becomes one error, in its
 * place, after failed_hold_ms and not before; replies that wait for nothing stay as they are. */
static void held_replies(enum durability durability, int error, uint32_t calls)
{
    const char *word = error == -ENOSPC ? "IOERR The disk that holds the log is full" : "IOERR The disk failed before this reply";
    struct world w = {.what = "a disk that stays dead"};
    struct client one, two;
    world_open(&w, durability, 5, 1);
    atomic_store(&w.server.limits.failed_hold_ms, 1000);
    client_open(&one, w.server.port);
    client_open(&two, w.server.port);
    static char filler[9001]; /* stamps of buckets are pages of 4 KiB of log: "old" must be on an earlier one */
    memset(filler, 'f', sizeof(filler) - 1);
    client_command(&one, 3, "SET", "old", "o");
    client_command(&one, 3, "SET", "n", "1");
    client_command(&one, 3, "SET", "filler", filler);
    assert_true(client_send(&one));
    for (int i = 0; i < 3; i++)
        expect_token(&one, '+', "OK");
    while (log_durable(engine_log(w.server.engine)) < log_tail(engine_log(w.server.engine)))
        usleep(1000);
    uint64_t begun = now_ms(), before = commands_run();
    atomic_store(&rec.fault_waits, true);
    rec_set_fault(calls, NULL, 1, UINT64_MAX, error);
    client_command(&one, 2, "GET", "old");
    client_command(&one, 2, "INCR", "n");
    client_command(&one, 1, "MULTI");
    client_command(&one, 3, "SET", "a", "1");
    client_command(&one, 4, "HSET", "h", "f", "v");
    client_command(&one, 1, "EXEC");
    client_command(&one, 2, "GET", "n");
    client_command(&one, 1, "PING");
    client_command(&one, 1, "NOSUCH");
    assert_true(client_send(&one));
    while (commands_run() < before + 9 && now_ms() - begun < 10000)
        usleep(200);
    atomic_store(&rec.fault_waits, false);
    begun = now_ms();
    expect_bulk(&one, "o");
    expect_token(&one, '-', word);      /* INCR */
    uint64_t took = now_ms() - begun;
    expect_token(&one, '+', "OK");      /* MULTI */
    expect_token(&one, '+', "QUEUED");
    expect_token(&one, '+', "QUEUED");
    expect_token(&one, '-', word);      /* EXEC */
    expect_token(&one, '-', word);      /* a read of what may be lost */
    expect_token(&one, '+', "PONG");
    expect_token(&one, '-', "ERR unknown command");
    assert_true(took >= 900 && took < 10000);
    begun = now_ms();
    client_command(&two, 2, "GET", "old"); /* reads go on, writes are refused, what may be lost is not shown */
    client_command(&two, 3, "SET", "b", "1");
    client_command(&two, 2, "GET", "n");
    client_command(&two, 2, "GET", "old");
    assert_true(client_send(&two));
    expect_bulk(&two, "o");
    expect_token(&two, '-', "MISCONF ");
    expect_token(&two, '-', word);
    expect_bulk(&two, "o");
    assert_true(now_ms() - begun < 800); /* at once: it has failed for long already */
    heal_and_wait(&w, &two);
    client_command(&two, 2, "GET", "n"); /* never undone: now it is durable */
    client_command(&two, 3, "HGET", "h", "f");
    client_command(&two, 2, "EXISTS", "b");
    assert_true(client_send(&two));
    expect_bulk(&two, "2");
    expect_bulk(&two, "v");
    expect_token(&two, ':', "0");
    client_close(&one);
    client_close(&two);
    cut_and_compare(&w, false);
}

static void test_held_replies_become_errors(void **state)
{
    (void)state;
    held_replies(DURABILITY_COMMIT, -EIO, REC_BIT(REC_FDATASYNC));
    held_replies(DURABILITY_COMMIT, -EIO, REC_CHANGES);
    held_replies(DURABILITY_COMMIT, -ENOSPC, REC_BIT(REC_PWRITE) | REC_BIT(REC_OPEN));
    held_replies(DURABILITY_INTERVAL, -EIO, REC_BIT(REC_PWRITE));
}

/* Healing that comes within failed_hold_ms is not noticed by any client. */
static void test_a_short_failure_is_not_noticed(void **state)
{
    (void)state;
    struct world w = {.what = "a short failure"};
    struct client one;
    world_open(&w, DURABILITY_COMMIT, 6, 1);
    client_open(&one, w.server.port);
    for (int i = 0; i < 3; i++) {
        rec_set_fault(REC_BIT(REC_FDATASYNC), NULL, 1, 1, -EIO);
        uint64_t begun = now_ms();
        for (int k = 0; k < 20; k++)
            client_command(&one, 2, "INCR", "n");
        assert_true(client_send(&one));
        for (int k = 0; k < 20; k++)
            expect_token(&one, ':', "");
        assert_true(now_ms() - begun < 5000);
        assert_int_equal(rec_clear_fault(), 1);
    }
    client_close(&one);
    cut_and_compare(&w, false);
}

/* --- the same, for a protocol that has no words for it ------------------------------------------------ */

/* Exactly these bytes; NULL: the end of the connection, and nothing before it. */
static void expect_bytes(struct client *c, const char *wanted)
{
    char found[512];
    size_t size = wanted ? strlen(wanted) : 1, have = 0;
    assert_true(size < sizeof(found));
    while (have < size) {
        ssize_t got = recv(c->fd, found + have, size - have, 0);
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    found[have] = 0;
    if (!wanted ? have != 0 : have != size || memcmp(found, wanted, size) != 0)
        fail_msg("\"%s\" instead of \"%s\"", found, wanted ? wanted : "the end");
}

static void ask(struct client *c, const char *lines, const char *wanted)
{
    client_write(c, lines, strlen(lines));
    assert_true(client_send(c));
    expect_bytes(c, wanted);
}

#define REFUSED "SERVER_ERROR MISCONF "

/* memcached's clients: a reply that is held for too long ends the connection, since neither STORED nor an error would be true. */
static void test_memcached_gets_no_false_word(void **state)
{
    struct world w = {.what = "memcached"};
    struct client one, two, redis;
    (void)state;
    w.server.other = &memcached_protocol;
    world_open(&w, DURABILITY_COMMIT, 9, 1);
    atomic_store(&w.server.limits.failed_hold_ms, 300);
    client_open(&redis, w.server.port);
    client_open(&one, w.server.other_port);
    client_open(&two, w.server.other_port);
    ask(&one, "set old 7 0 1\r\no\r\n", "STORED\r\n");
    ask(&one, "set n 0 0 1\r\n5\r\n", "STORED\r\n");
    static char filler[9100]; /* "old" must be on an earlier page of log */
    snprintf(filler, sizeof(filler), "set filler 0 0 9000\r\n%09000d\r\n", 7);
    ask(&one, filler, "STORED\r\n");
    while (log_durable(engine_log(w.server.engine)) < log_tail(engine_log(w.server.engine)))
        usleep(1000);
    rec_set_fault(REC_BIT(REC_FDATASYNC), NULL, 1, UINT64_MAX, -EIO);
    ask(&one, "incr n 1\r\n", NULL);
    ask(&two, "get old\r\n", "VALUE old 7 1\r\no\r\nEND\r\n");
    ask(&two, "set b 0 0 1\r\nx\r\n", REFUSED);
    client_close(&two);
    client_open(&two, w.server.other_port);
    ask(&two, "set b 0 0 1 noreply\r\nx\r\nset old 0 0 1 noreply\r\nx\r\nflush_all noreply\r\nget b old\r\n", "VALUE old 7 1\r\no\r\nEND\r\n");
    ask(&two, "get n\r\n", NULL); /* what may be lost is not shown */
    heal_and_wait(&w, &redis);
    client_close(&two);
    client_open(&two, w.server.other_port);
    ask(&two, "get old b n\r\n", "VALUE old 7 1\r\no\r\nVALUE n 0 1\r\n6\r\nEND\r\n");
    ask(&two, "incr n 1\r\n", "7\r\n");
    client_close(&one);
    client_close(&two);
    client_close(&redis);
    cut_and_compare(&w, false);
}

int main(void)
{
    command_table_init();
    memcached_init(0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memcached_gets_no_false_word),
        cmocka_unit_test(test_held_replies_become_errors),
        cmocka_unit_test(test_a_short_failure_is_not_noticed),
        cmocka_unit_test(test_every_write_fails_in_turn),
        cmocka_unit_test(test_every_fsync_fails_in_turn),
        cmocka_unit_test(test_every_name_call_fails_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
