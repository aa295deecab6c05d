/* test_exec_gate.c -- who runs alone, and who may go on while it waits.
 *
 * Goal: a command that waits to run alone shuts the gate for as long as a batch lasts that is over in a moment, and leaves it open while a
 * command takes long that was there before it; it still runs alone, and no later command puts it off. Whoever goes while it
 * waits leaves nothing behind.
 * Method: three workers' executors on one thread. The host's serve_aside runs what the others do in the middle of a long command.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cmd/exec_private.h"
#include "cmd/exec_script.h"
#include "cmd/host.h"

#include "../support/exec_client.h"
#include "../support/recorder.h"

#define WORKERS 3
#define LONG "LCS text text2 LEN"
#define LONG_REPLY ":2999\r\n"

static struct engine *engine;
static struct exec *workers[WORKERS], *asides[WORKERS];
static struct client clients[WORKERS], neighbour; /* of worker 0, too */
static void (*meanwhile)(unsigned step); /* what the others do; step: how often it was asked */
static unsigned steps;

static bool serve_aside(unsigned worker)
{
    exec_aside_begin(asides[worker], workers[worker]);
    if (meanwhile)
        meanwhile(steps++);
    exec_aside_end(asides[worker], workers[worker]);
    return true;
}

static void aside_over(unsigned worker) { exec_aside_over(asides[worker]); }

static const struct host stub = {.serve_aside = serve_aside, .aside_over = aside_over};

static enum exec_result attempt(struct client *c, const char *command)
{
    assert_true(exec_batch_begin(c->exec));
    enum exec_result result = client_try(c, c->exec, command);
    exec_batch_end(c->exec);
    return result;
}

static void parks(struct client *c, const char *command)
{
    assert_int_equal(attempt(c, command), EXEC_PARKED);
    assert_int_equal(c->out.size, 0);
}

static void is(struct client *c, const char *command, const char *reply)
{
    assert_int_equal(attempt(c, command), EXEC_DONE);
    buf_append_u8(&c->out, 0);
    assert_string_equal((const char *)c->out.data, reply);
}

static bool may_begin(unsigned worker)
{
    bool begun = exec_batch_begin(workers[worker]);
    if (begun)
        exec_batch_end(workers[worker]);
    return begun;
}

static void set_text(const char *key, const char *piece)
{
    char text[3001];
    for (size_t i = 0; i < 3000; i++)
        text[i] = piece[i % 3];
    bytes words[] = {BYTES("SET"), bytes_str(key), bytes_of(text, 3000)};
    assert_true(client_ok(client_run(&clients[0], words, 3)));
}

static int setup(void **state)
{
    (void)state;
    char detail[512];
    struct engine_config config = {.dir = REC_ROOT "/data", .workers = WORKERS, .durability = DURABILITY_NONE};
    command_table_init();
    rec_start();
    host = &stub;
    meanwhile = NULL;
    steps = 0;
    if (engine_open(&config, &engine, detail, sizeof(detail)) != HF_OK)
        fail_msg("%s", detail);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = exec_new(engine, i);
        asides[i] = exec_aside_new(workers[i]);
        client_init(&clients[i], workers[i], DURABILITY_NONE);
    }
    client_init(&neighbour, workers[0], DURABILITY_NONE);
    set_text("text", "abc");
    set_text("text2", "bca");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    client_release(&neighbour);
    for (unsigned i = 0; i < WORKERS; i++) {
        client_release(&clients[i]);
        exec_free(asides[i]);
        exec_free(workers[i]);
    }
    engine_close(engine);
    rec_stop();
    return 0;
}

/* A batch of another worker that lasts: long ago, or since now. */
static void others_batch(unsigned worker, bool lasts, uint64_t long_since)
{
    atomic_store(&engine->workers[worker].in_batch, lasts);
    atomic_store(&engine->workers[worker].long_since, long_since);
}

static void test_it_shuts_for_a_short_batch(void **state)
{
    (void)state;
    others_batch(2, true, 0);
    parks(&clients[1], "FLUSHALL");
    assert_true(exec_owns_gate(workers[1]));
    assert_false(may_begin(0));
    others_batch(2, false, 0);
    is(&clients[1], "FLUSHALL", "+OK\r\n");
    assert_true(may_begin(0));
    is(&clients[0], "DBSIZE", ":0\r\n");
}

static void ask_beside(unsigned step)
{
    if (step > 1)
        return;
    parks(&clients[1], "FLUSHALL");
    assert_true(may_begin(2));
    is(&clients[2], "PING", "+PONG\r\n");
    is(&clients[2], "SET other 1", "+OK\r\n");
    parks(&clients[2], "SWAPDB 0 1"); /* one at a time */
}

static void test_it_opens_for_a_long_command(void **state)
{
    (void)state;
    meanwhile = ask_beside;
    is(&clients[0], LONG, LONG_REPLY);
    assert_true(steps > 1);
    assert_false(may_begin(0)); /* shut again, with the end of what was waited for: another long one does not slip in */
    assert_false(may_begin(2));
    is(&clients[1], "FLUSHALL", "+OK\r\n");
    assert_true(may_begin(0));
    is(&clients[2], "SWAPDB 0 1", "+OK\r\n");
    is(&clients[2], "DBSIZE", ":0\r\n");
}

static void close_beside(unsigned step)
{
    if (step > 0)
        return;
    parks(&clients[1], "FLUSHALL");
    assert_true(exec_unpark(workers[1], &clients[1].node));
    parks(&clients[2], "SWAPDB 0 1");
    assert_true(exec_unpark(workers[2], &clients[2].node));
}

static void test_who_goes_leaves_the_gate(void **state)
{
    (void)state;
    meanwhile = close_beside;
    is(&clients[0], LONG, LONG_REPLY);
    assert_true(steps > 0);
    assert_int_equal(atomic_load(&engine->gate_owner), 0);
    is(&clients[0], "DBSIZE", ":2\r\n");
}

/* The others of the same worker run on while one of them owns the gate and waits. */
static void idle_go_in(unsigned step)
{
    (void)step;
    assert_true(may_begin(1));
}

static void test_it_opens_for_a_long_command_of_its_own_worker(void **state)
{
    (void)state;
    others_batch(2, true, 0);
    parks(&neighbour, "FLUSHALL");
    assert_false(may_begin(1));
    meanwhile = idle_go_in;
    is(&clients[0], LONG, LONG_REPLY);
    assert_true(steps > 1);
    assert_false(may_begin(1));
    others_batch(2, false, 0);
    is(&neighbour, "FLUSHALL", "+OK\r\n");
    assert_true(may_begin(1));
}

static void refused_beside(unsigned step)
{
    if (step == 0)
        atomic_store(&script_late, 1);
    else if (step == 1)
        assert_int_equal(client_try(&neighbour, asides[0], "FLUSHALL"), EXEC_DONE);
    if (step == 1)
        atomic_store(&script_late, 0);
}

static void test_who_is_refused_beside_a_long_command_leaves_the_gate(void **state)
{
    (void)state;
    others_batch(2, true, 0);
    parks(&neighbour, "FLUSHALL");
    others_batch(2, false, 0);
    meanwhile = refused_beside;
    is(&clients[0], LONG, LONG_REPLY);
    assert_true(steps > 1);
    assert_int_equal(strncmp((const char *)neighbour.out.data, "-BUSY ", 6), 0);
    assert_int_equal(atomic_load(&engine->gate_owner), 0);
    assert_true(may_begin(1));
    is(&clients[0], "DBSIZE", ":2\r\n");
}

static void test_a_script_beside_it_is_not_alone(void **state)
{
    (void)state;
    others_batch(2, true, 0);
    parks(&neighbour, "SWAPDB 1 2");
    parks(&clients[0], "EVAL return(redis.call('FLUSHALL')) 0");
    others_batch(2, false, 0);
    is(&neighbour, "SWAPDB 1 2", "+OK\r\n");
    is(&clients[0], "DBSIZE", ":2\r\n");
    is(&clients[0], "EVAL return(redis.call('FLUSHALL')) 0", "+OK\r\n");
    is(&clients[0], "DBSIZE", ":0\r\n");
}

static void the_older_one_ends(unsigned step)
{
    if (step > 0)
        return;
    others_batch(2, false, 0);
    assert_int_equal(attempt(&clients[1], "SWAPDB 1 2"), EXEC_PARKED);
    assert_true(exec_owns_gate(workers[1]));
}

/* What began while it waited for an older one. */
static void test_a_later_long_command_gives_way(void **state)
{
    (void)state;
    others_batch(2, true, 1);
    parks(&clients[1], "SWAPDB 1 2");
    meanwhile = the_older_one_ends;
    parks(&clients[0], LONG);
    is(&clients[1], "SWAPDB 1 2", "+OK\r\n");
    meanwhile = NULL;
    is(&clients[0], LONG, LONG_REPLY);
}

static void test_a_later_transaction_goes_to_its_end(void **state)
{
    (void)state;
    is(&clients[0], "MULTI", "+OK\r\n");
    is(&clients[0], LONG, "+QUEUED\r\n");
    is(&clients[0], "SET other 1", "+QUEUED\r\n");
    others_batch(2, true, 1);
    parks(&clients[1], "SWAPDB 1 2");
    meanwhile = the_older_one_ends;
    is(&clients[0], "EXEC", "*2\r\n" LONG_REPLY "+OK\r\n");
    assert_false(may_begin(0));
    is(&clients[1], "SWAPDB 1 2", "+OK\r\n");
}

static void take_large(unsigned step)
{
    if (step > 0)
        return;
    usleep(5000); /* the turn is over: what asks whether it goes on gives up */
    assert_int_equal(client_try(&neighbour, asides[0], "GETDEL large"), EXEC_PARKED);
    assert_int_equal(client_try(&clients[1], asides[0], "GETEX large PX 1"), EXEC_PARKED);
}

/* Its reply is a loop, and what it changes comes behind that. */
static void test_who_gives_up_changes_nothing(void **state)
{
    (void)state;
    is(&clients[0], "SETRANGE large 8000000 x", ":8000001\r\n");
    meanwhile = take_large;
    is(&clients[0], LONG, LONG_REPLY);
    assert_true(steps > 0);
    is(&clients[0], "PTTL large", ":-1\r\n");
    is(&clients[0], "STRLEN large", ":8000001\r\n");
    assert_int_equal(attempt(&neighbour, "GETDEL large"), EXEC_DONE);
    assert_int_equal(neighbour.out.size, strlen("$8000001\r\n\r\n") + 8000001);
    is(&clients[0], "EXISTS large", ":0\r\n");
}

static void neighbours_wait(unsigned step)
{
    if (step > 0)
        return;
    assert_false(may_begin(1));
    assert_int_equal(client_try(&neighbour, asides[0], "WATCH text"), EXEC_PARKED); /* allowed, but the key is held */
    assert_int_equal(client_try(&clients[1], asides[0], "SET other 1"), EXEC_PARKED);
}

static void test_who_is_alone_stays_alone(void **state)
{
    (void)state;
    is(&clients[0], "MULTI", "+OK\r\n");
    is(&clients[0], LONG, "+QUEUED\r\n");
    is(&clients[0], "DBSIZE", "+QUEUED\r\n");
    meanwhile = neighbours_wait;
    is(&clients[0], "EXEC", "*2\r\n" LONG_REPLY ":2\r\n");
    assert_true(steps > 0 && may_begin(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_it_shuts_for_a_short_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_it_opens_for_a_long_command, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_goes_leaves_the_gate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_it_opens_for_a_long_command_of_its_own_worker, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_is_refused_beside_a_long_command_leaves_the_gate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_script_beside_it_is_not_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_later_long_command_gives_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_later_transaction_goes_to_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_gives_up_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_is_alone_stays_alone, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
