/* test_exec.c -- what the executor promises around a handler.
 *
 * Goal: a command of several steps whose later step is refused memory leaves nothing of the earlier
 * ones, alone and inside EXEC, whose other commands count; in memory and after a reopening. A refusal inside EXEC undoes
 * exactly its own command, also when commands before it had steps on the same keys. Nobody waits for a stripe that is held for
 * long: watches are left behind, walks park. Groups mark no watch; a target wakes nobody. Who goes while it waits for the gate leaves nothing behind.
 * Method: RLIMIT_AS a little above what is in use, and a value that does not fit below it. Not under sanitizers, whose
 * allocators end the process instead. The busy stripe is locked by the test itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cmd/exec_private.h"
#include "durable/log_private.h"
#include "engine/events.h"

#include "../support/one_exec.h"

#include <malloc.h>
#include <sys/resource.h>

#define LARGE ((size_t)96 << 20)
#define SLACK ((size_t)8 << 20)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static char *large;

static int setup(void **state)
{
    (void)state;
    command_table_init();
    rec_start();
    mallopt(M_MMAP_THRESHOLD, 32 << 10); /* what a refused value had of its 64 KiB chunks goes back at once */
    large = malloc(LARGE);
    assert_non_null(large);
    memset(large, 'x', LARGE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rec_stop();
    free(large);
    return 0;
}

/* The log's spare segment is written beside the commands, and takes memory of the recorder: it has to be there first. */
static void wait_for_spare(void)
{
    if (!engine->log)
        return;
    for (int i = 0; i < 20000 && !atomic_load(&engine->log->files.spare_ready); i++)
        usleep(1000);
    assert_true(atomic_load(&engine->log->files.spare_ready));
}

/* Leaves SLACK of address space; SIZE_MAX: as much as before. */
static void limit_memory(size_t slack)
{
    if (slack != SIZE_MAX)
        wait_for_spare();
    static rlim_t before;
    struct rlimit limit;
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_true(file && fscanf(file, "%llu", &pages) == 1);
    fclose(file);
    assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
    if (slack != SIZE_MAX) {
        before = limit.rlim_cur;
        limit.rlim_cur = (rlim_t)pages * 4096 + slack;
    } else {
        limit.rlim_cur = before;
    }
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
}

static const char *mset(const char *name, const char *first, const char *middle, const char *last)
{
    bytes words[] = {bytes_str(name), BYTES("a"), bytes_str(first), bytes_str(middle), bytes_of(large, LARGE),
                     BYTES("c"), bytes_str(last)};
    return client_run(&client, words, 7);
}

static void is(const char *words, const char *reply)
{
    assert_string_equal(client_do(&client, "%s", words), reply);
}

static void is_refused(const char *reply) { assert_int_equal(strncmp(reply, "-OOM ", 5), 0); }

static void test_refused_half_way(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    for (int durability = DURABILITY_NONE; durability <= DURABILITY_COMMIT; durability++) {
        rec_stop();
        rec_start();
        open_it((enum durability)durability);
        is("SET a old PXAT 4102444800000", "+OK\r\n");
        limit_memory(SLACK);
        is_refused(mset("MSET", "new", "b", "new"));
        is("DEL d", ":0\r\n");
        limit_memory(SIZE_MAX);
        for (int again = 0; again < 2; again++) {
            is("GET a", "$3\r\nold\r\n");
            is("PEXPIRETIME a", ":4102444800000\r\n");
            is("EXISTS b c", ":0\r\n");
            is("DBSIZE", ":1\r\n");
            if (durability == DURABILITY_NONE)
                break;
            close_it();
            open_it((enum durability)durability);
        }
        is("DEL a", ":1\r\n");
        limit_memory(SLACK);
        is_refused(mset("MSETNX", "new", "b", "new"));
        limit_memory(SIZE_MAX);
        is("DBSIZE", ":0\r\n");
        is("MSET a 1 b 2 c 3", "+OK\r\n");
        is("MGET a b c", "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n");
        close_it();
    }
}

static char told[64]; /* the keys of events, one byte each */

static void note_event(const struct event *e, uint64_t lsn)
{
    (void)lsn;
    size_t at = strlen(told);
    hf_assert(e->key.size == 1 && at + 1 < sizeof(told));
    told[at] = (char)e->key.data[0];
}

static void test_refused_inside_exec(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    for (int durability = DURABILITY_NONE; durability <= DURABILITY_COMMIT; durability++) {
        rec_stop();
        rec_start();
        open_it((enum durability)durability);
        is("SET a old", "+OK\r\n");
        is("MULTI", "+OK\r\n");
        is("SET x before", "+QUEUED\r\n");
        is("MSET a kept e kept", "+QUEUED\r\n");
        assert_string_equal(mset("MSET", "lost", "b", "lost"), "+QUEUED\r\n");
        is("APPEND a !", "+QUEUED\r\n");
        is("SET y after", "+QUEUED\r\n");
        memset(told, 0, sizeof(told));
        engine_events_listen(engine, EVENT_STRING, note_event);
        limit_memory(SLACK);
        const char *reply = client_do(&client, "EXEC");
        limit_memory(SIZE_MAX);
        engine_events_listen(engine, 0, note_event);
        assert_string_equal(told, "xaeay"); /* R9: of what was undone nobody hears */
        assert_int_equal(strncmp(reply, "*5\r\n+OK\r\n+OK\r\n-OOM ", 19), 0);
        assert_non_null(strstr(reply, ":5\r\n+OK\r\n"));
        for (int again = 0; again < 2; again++) {
            is("MGET a e x y b c", "*6\r\n$5\r\nkept!\r\n$4\r\nkept\r\n$6\r\nbefore\r\n$5\r\nafter\r\n$-1\r\n$-1\r\n");
            is("DBSIZE", ":4\r\n");
            if (durability == DURABILITY_NONE)
                break;
            close_it();
            open_it((enum durability)durability);
        }
        close_it();
    }
}

static struct stripe *stripe_of(const char *name)
{
    struct key k;
    txn_locate(engine, 0, bytes_str(name), &k);
    return &engine->store->stripes[k.stripe];
}

/* The stripe is held for long, as by a script: whoever watches a key of it lets go at once, and nothing stays behind in the end. */
static void test_letting_go_of_a_busy_watch(void **state)
{
    static const char *const ways[] = {"UNWATCH", "DISCARD", "RESET", "EXEC", "close"};
    (void)state;
    open_it(DURABILITY_NONE);
    struct stripe *busy = stripe_of("a");
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        bool multi = strcmp(ways[i], "DISCARD") == 0 || strcmp(ways[i], "EXEC") == 0;
        is("WATCH a b", "+OK\r\n");
        if (multi)
            is("MULTI", "+OK\r\n");
        if (strcmp(ways[i], "EXEC") == 0)
            assert_int_equal(client_do(&client, "NONSENSE")[0], '-');
        stripe_lock_wait(busy);
        if (strcmp(ways[i], "close") == 0) {
            client_release(&client);
            client_init(&client, executor, DURABILITY_NONE);
        } else {
            client_do(&client, "%s", ways[i]);
        }
        client.session.authenticated = true; /* RESET */
        is("WATCH b", "+OK\r\n");
        exec_housekeeping(executor);
        assert_non_null(busy->watches);
        stripe_unlock(busy);
        exec_housekeeping(executor);
        assert_null(busy->watches);
        is("SET a changed", "+OK\r\n");
        is("MULTI", "+OK\r\n");
        is("EXEC", "*0\r\n");
    }
    close_it();
}

/* As in Redis: what groups do is no change to whoever watches the stream; an entry that comes or goes is one. */
static void test_groups_mark_no_watch(void **state)
{
    static const struct { const char *words; bool marks; } rows[] = {
        {"XGROUP CREATE s g2 0", false},         {"XREADGROUP GROUP g c COUNT 1 STREAMS s >", false},
        {"XACK s g 1-1", false},                 {"XREADGROUP GROUP g c NOACK COUNT 1 STREAMS s >", false},
        {"XCLAIM s g other 0 2-1", false},       {"XREADGROUP GROUP g new STREAMS s 0", false},
        {"XAUTOCLAIM s g third 0 0", false},     {"XGROUP SETID s g 0", false},
        {"XGROUP DELCONSUMER s g third", false}, {"XGROUP CREATECONSUMER s g fourth", false},
        {"XSETID s 99-0", false},                {"XGROUP DESTROY s g2", false},
        {"XDEL s 1-1", true},                    {"XTRIM s MAXLEN 1", true},
        {"XADD s 100-1 f v", true},              {"XGROUP CREATE absent g 0 MKSTREAM", true},
    };
    (void)state;
    open_it(DURABILITY_NONE);
    for (int i = 1; i <= 4; i++)
        client_do(&client, "XADD s %d-1 f v", i);
    is("XGROUP CREATE s g 0", "+OK\r\n");
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        is("WATCH s absent", "+OK\r\n");
        assert_int_not_equal(client_do(&client, "%s", rows[i].words)[0], '-');
        is("MULTI", "+OK\r\n");
        is("EXEC", rows[i].marks ? "*-1\r\n" : "*0\r\n");
    }
    close_it();
}

static void note_served(struct waiter *w) { (void)w; }

/* words: ended by NULL. */
static void starts_to_wait(struct client *c, const char *const *words)
{
    bytes argv[8];
    struct parsed_command p = {.argv = argv};
    for (; words[p.argc]; p.argc++)
        argv[p.argc] = bytes_str(words[p.argc]);
    client_init(c, executor, DURABILITY_NONE);
    assert_true(exec_batch_begin(executor));
    exec_prefetch(executor, &c->session, &p, 1);
    assert_int_equal(exec_run(executor, &c->session, &p, &c->node, &c->lsn), EXEC_WAITING);
    exec_batch_end(executor);
}

/* A push to the target of a BLMOVE that waits is no turn of it: somebody has waited longer for the source. */
static void test_a_target_wakes_nobody(void **state)
{
    static const char *const pop[] = {"BLPOP", "source", "0", NULL}, *const move[] = {"BLMOVE", "source", "target", "LEFT", "RIGHT", "0", NULL};
    struct client first, second;
    (void)state;
    open_it(DURABILITY_NONE);
    exec_on_served = note_served;
    starts_to_wait(&first, pop);
    starts_to_wait(&second, move);
    is("MULTI", "+OK\r\n");
    is("RPUSH target x", "+QUEUED\r\n");
    is("RPUSH source y", "+QUEUED\r\n");
    is("EXEC", "*2\r\n:1\r\n:1\r\n");
    assert_int_equal(atomic_load(&first.session.waiter->state), WAIT_SERVED);
    assert_int_equal(atomic_load(&second.session.waiter->state), WAIT_WAITING);
    is("RPUSH source z", ":1\r\n");
    assert_int_equal(atomic_load(&second.session.waiter->state), WAIT_SERVED);
    is("LRANGE target 0 -1", "*2\r\n$1\r\nx\r\n$1\r\nz\r\n");
    exec_wait_end(executor, &first.session);
    exec_wait_end(executor, &second.session);
    client_release(&first);
    client_release(&second);
    close_it();
}

static void *unlock_later(void *stripe)
{
    usleep(20000);
    stripe_unlock(stripe);
    return NULL;
}

/* At the end a snapshot may still hold the stripe for a moment: that is waited for. */
static void test_the_end_waits_for_what_was_left_behind(void **state)
{
    (void)state;
    open_it(DURABILITY_NONE);
    struct stripe *busy = stripe_of("a");
    is("WATCH a", "+OK\r\n");
    stripe_lock_wait(busy);
    client_release(&client);
    assert_non_null(busy->watches);
    os_thread holder = thread_start("holder", unlock_later, busy);
    exec_free(executor);
    assert_null(busy->watches);
    thread_join(holder);
    engine_close(engine);
}

static void parks(const char *command)
{
    assert_true(exec_batch_begin(executor));
    assert_int_equal(client_try(&client, executor, command), EXEC_PARKED);
    exec_batch_end(executor);
    assert_int_equal(client.out.size, 0);
}

static void test_a_walk_parks_at_a_busy_stripe(void **state)
{
    static const struct { const char *words, *reply; } walks[] = {
        {"DBSIZE", ":1\r\n"}, {"KEYS *", "*1\r\n$1\r\na\r\n"}, {"RANDOMKEY", "$1\r\na\r\n"}, {"SCAN 0 COUNT 10000", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n"},
    };
    (void)state;
    open_it(DURABILITY_NONE);
    is("SET a value", "+OK\r\n");
    struct stripe *busy = stripe_of("a");
    for (size_t i = 0; i < sizeof(walks) / sizeof(*walks); i++) {
        stripe_lock_wait(busy);
        parks(walks[i].words);
        assert_false(atomic_load(&client.woken));
        stripe_unlock(busy);
        assert_true(atomic_exchange(&client.woken, false));
        is(walks[i].words, walks[i].reply);
    }
    close_it();
}

/* R11: EXEC holds what it watches while it looks and writes; else two could each find nothing changed, and write what the other watches. */
static void test_exec_waits_for_what_it_watches(void **state)
{
    (void)state;
    open_it(DURABILITY_NONE);
    struct stripe *busy = stripe_of("a");
    assert_ptr_not_equal(busy, stripe_of("b"));
    is("WATCH a", "+OK\r\n");
    is("MULTI", "+OK\r\n");
    is("SET b 1", "+QUEUED\r\n");
    stripe_lock_wait(busy);
    parks("EXEC");
    assert_false(atomic_load(&client.woken));
    stripe_unlock(busy);
    assert_true(atomic_exchange(&client.woken, false));
    is("EXEC", "*1\r\n+OK\r\n");
    is("GET b", "$1\r\n1\r\n");
    close_it();
}

/* A script that meets a busy stripe in each attempt runs alone in the end; its client goes before the others have left. */
static void test_a_script_that_waits_for_the_gate_can_go(void **state)
{
    static const char script[] = "EVAL return(redis.call('SET','a','1')and(redis.call('SET','b','2'))and(redis.call('SET','c','3'))) 0";
    (void)state;
    open_it(DURABILITY_NONE);
    struct stripe *busy[] = {stripe_of("a"), stripe_of("b"), stripe_of("c")};
    for (size_t i = 0; i < 3; i++) {
        stripe_lock_wait(busy[i]);
        if (i == 2) /* the other worker */
            atomic_store(&engine->workers[1].in_batch, true);
        parks(script);
        if (i < 2)
            stripe_unlock(busy[i]);
        assert_true(atomic_exchange(&client.woken, false));
    }
    assert_true(exec_owns_gate(executor));
    stripe_unlock(busy[2]);
    assert_false(exec_unpark(executor, &client.node)); /* it has been woken */
    assert_false(exec_owns_gate(executor));
    atomic_store(&engine->workers[1].in_batch, false);
    is("EXISTS a b c", ":0\r\n");
    close_it();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refused_half_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_inside_exec, setup, teardown),
        cmocka_unit_test_setup_teardown(test_letting_go_of_a_busy_watch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_groups_mark_no_watch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_target_wakes_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_end_waits_for_what_was_left_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_walk_parks_at_a_busy_stripe, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exec_waits_for_what_it_watches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_script_that_waits_for_the_gate_can_go, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
