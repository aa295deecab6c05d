/* test_command.c -- the rows are sane, names are found, refusals read like Redis'.
 *
 * Goal: what every later layer takes for granted of the table. Method: walk all rows
 * (test_usage.c reads their `usage`); look names up in every case and in
 * near misses; run handlers that refuse before they touch the engine, with a reply
 * that records its events as text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/command.h"
#include "cmd/handlers.h"

#include <stdio.h>

/* ---- a reply that writes its events down ---- */

static struct buf events;

static void on_simple(struct reply *r, bytes text)
{
    buf_printf(&events, "+%.*s;", (int)text.size, (const char *)text.data);
}
static void on_error(struct reply *r, bytes line)
{
    buf_printf(&events, "-%.*s;", (int)line.size, (const char *)line.data);
}
static void on_integer(struct reply *r, int64_t value)
{
    buf_printf(&events, ":%lld;", (long long)value);
}
static void on_bulk(struct reply *r, bytes value)
{
    buf_printf(&events, "$%.*s;", (int)value.size, (const char *)value.data);
}
static void on_verbatim(struct reply *r, const char *format, bytes text)
{
    on_bulk(r, text);
}
static void on_double(struct reply *r, double value)
{
    buf_printf(&events, ",%g;", value);
}
static void on_boolean(struct reply *r, bool value)
{
    buf_printf(&events, "#%d;", value);
}
static void on_null(struct reply *r)
{
    buf_printf(&events, "_;");
}
static void on_array(struct reply *r, size_t count)
{
    buf_printf(&events, "*%zu;", count);
}
static void on_map(struct reply *r, size_t pairs)
{
    buf_printf(&events, "%%%zu;", pairs);
}
static void on_set(struct reply *r, size_t count)
{
    buf_printf(&events, "~%zu;", count);
}

static const struct reply_ops recorder = {on_simple,  on_error, on_integer, on_bulk,  on_verbatim, on_double,
                                          on_boolean, on_null,  on_null,    on_array, on_map,      on_set};

static struct session session;
static struct buf unused_output;

static int set_up(void **state)
{
    static const struct host stub = {0};
    host = &stub;
    buf_init(&events, 1 << 20);
    buf_init(&unused_output, 1 << 20);
    command_table_init();
    session_init(&session, 7, &recorder, &unused_output);
    return 0;
}

static int tear_down(void **state)
{
    session_release(&session);
    buf_release(&events);
    buf_release(&unused_output);
    return 0;
}

/* ---- words ---- */

#define WORDS_MAX 16

/* Cuts a line at its spaces; '' is an empty word. */
static size_t cut(const char *line, bytes *argv)
{
    size_t argc = 0;
    for (line += strspn(line, " "); *line; line += strspn(line, " ")) {
        size_t size = strcspn(line, " ");
        assert_true(argc < WORDS_MAX);
        argv[argc++] = size == 2 && memcmp(line, "''", 2) == 0 ? BYTES("") : bytes_of(line, size);
        line += size;
    }
    return argc;
}

/* What the line replies, for commands that need no engine or stop before it. */
static const char *said(const char *line)
{
    bytes argv[WORDS_MAX];
    size_t argc = cut(line, argv);
    buf_reset(&events);
    const struct command *row = command_resolve(argv, argc, &session.reply);
    if (row) {
        struct call c = {
            .command = row, .session = &session, .reply = &session.reply, .argv = argv, .argc = argc};
        row->handler(&c);
    }
    buf_append_u8(&events, 0);
    return (const char *)events.data;
}

/* ---- rows ---- */

static void check_row(const struct command *row)
{
    const char *texts[] = {row->group, row->cost, row->usage, row->summary, row->full_name};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (!texts[i] || (!texts[i][0] && texts[i] != row->usage))
            fail_msg("%s lacks a text", row->full_name);
    }
    if ((row->handler == NULL) && !row->subcommands)
        fail_msg("%s does nothing", row->full_name);
    if (row->flags & (CMD_GROWS | CMD_COPIES) || (row->flags & CMD_GATE && !strstr(row->full_name, "sync"))) /* SYNC and PSYNC read one cut */
        assert_true(row->flags & CMD_WRITE);
    if (row->flags & CMD_WRITE && row->since && strcmp(row->since, "7.1") > 0 && !row->feed)
        fail_msg("%s is unknown to replicas of Redis 7.0: its row says no .feed", row->full_name);
    assert_false((row->flags & CMD_WRITE) && (row->flags & CMD_READ));
    assert_non_null(row->stats);
}

static void check_keys(const struct command *row)
{
    const struct key_range *k = &row->keys;
    int least = row->arity < 0 ? -row->arity : row->arity;
    assert_false(row->flags & CMD_NO_TXN && command_first_key(row));
    if (k->counted)
        assert_true(k->counted > k->first && k->counted < least);
    if (k->first == 0) {
        assert_int_equal(k->last, 0);
        assert_true(k->counted || k->behind || !row->key_use);
        return;
    }
    assert_true(k->first > 0 && k->first < least);
    assert_true(k->step >= 1);
    assert_true(k->last == -1 || k->last == -2 || (k->last >= k->first && k->last < least));
}

static void every_row_is_sane(void **state)
{
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *row = command_at(i);
        check_row(row);
        check_keys(row);
        if (!row->subcommands)
            continue;
        assert_non_null(command_find_sub(row, BYTES("help")));
        for (const struct command *sub = row->subcommands; sub->name; sub++) {
            check_row(sub);
            check_keys(sub);
            assert_ptr_equal(command_find_sub(row, bytes_str(sub->name)), sub);
        }
    }
}

/* ---- lookup ---- */

static void a_walk_meets_every_row_once(void **state)
{
    struct command_walk w = {0};
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *row = command_at(i);
        assert_true(command_next(&w));
        assert_ptr_equal(w.row, row);
        for (const struct command *sub = command_subs(row); sub && sub->name; sub++) {
            assert_true(command_next(&w));
            assert_ptr_equal(w.row, sub);
        }
    }
    assert_false(command_next(&w));
    assert_false(command_next(&w));
}

static void names_are_found_in_any_case(void **state)
{
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *row = command_at(i);
        char name[32];
        size_t size = strlen(row->name);
        for (unsigned pattern = 0; pattern < 4; pattern++) {
            for (size_t j = 0; j < size; j++)
                name[j] = (char)(row->name[j] | (row->name[j] != '_' && (pattern >> (j & 1)) & 1 ? 32 : 0));
            assert_ptr_equal(command_find(bytes_of(name, size)), row);
        }
    }
}

static void near_misses_are_not_found(void **state)
{
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *row = command_at(i);
        char name[32];
        size_t size = strlen(row->name);
        for (size_t j = 0; j < size; j++) {
            for (int bit = 0; bit < 8; bit++) {
                memcpy(name, row->name, size);
                name[j] = (char)(name[j] ^ (1 << bit));
                assert_true(bit == 5 || command_find(bytes_of(name, size)) != row);
            }
        }
        memcpy(name, row->name, size);
        name[size] = ' ';
        assert_null(command_find(bytes_of(name, size + 1)));
        name[size] = 0;
        assert_null(command_find(bytes_of(name, size + 1)));
    }
    assert_null(command_find(BYTES("")));
    assert_null(command_find(BYTES("G")));
    assert_null(command_find(BYTES("GE")));
    assert_null(command_find(BYTES("HGETALLHGETALLHGETALL")));
}

static void key_positions_follow_the_row(void **state)
{
    static const struct {
        const char *line;
        size_t count;
        uint32_t first, last;
    } cases[] = {
        {"GET k", 1, 1, 1},      {"MGET a b c", 3, 1, 3},        {"MSET a 1 b 2", 2, 1, 3},
        {"MSET a 1 b", 2, 1, 3}, {"RENAME a b", 2, 1, 2},        {"COPY a b DB 3", 2, 1, 2},
        {"MOVE a 3", 1, 1, 1},   {"OBJECT ENCODING k", 1, 2, 2}, {"PING", 0, 0, 0},
        {"DEL a b", 2, 1, 2},    {"HSET k f v", 1, 1, 1},        {"MEMORY USAGE k", 1, 2, 2},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bytes argv[WORDS_MAX];
        uint32_t positions[WORDS_MAX];
        size_t argc = cut(cases[i].line, argv);
        const struct command *row = command_resolve(argv, argc, &session.reply);
        assert_non_null(row);
        assert_int_equal(command_key_positions(row, argv, argc, positions), cases[i].count);
        if (cases[i].count) {
            assert_int_equal(positions[0], cases[i].first);
            assert_int_equal(positions[cases[i].count - 1], cases[i].last);
        }
    }
}

/* Rows of their own: what ZUNIONSTORE, LMPOP and EVAL ask for. */
static void counted_keys_follow_their_count(void **state)
{
    static const struct command store = {.keys = KEY_AND_KEYS_COUNTED_AT(1, 2)};
    static const struct command pop = {.keys = KEYS_COUNTED_AT(1)};
    static const struct command eval = {.keys = KEYS_COUNTED_AT(2), .flags = CMD_KEYS_OPTIONAL};
    static const struct command blocking = {.keys = KEYS_FROM_BUT_LAST(1)};
    static const struct {
        const struct command *row;
        const char *line;
        size_t count;
        uint32_t first, last;
    } cases[] = {
        {&store, "S d 2 a b WEIGHTS 1 2", 3, 1, 4},
        {&store, "S d 2 a", 0, 0, 0},
        {&store, "S d x a", 0, 0, 0},
        {&store, "S d", 0, 0, 0},
        {&pop, "P 1 a LEFT", 1, 2, 2},
        {&pop, "P 3 a b LEFT", 3, 2, 4},
        {&pop, "P 4 a b LEFT", 0, 0, 0},
        {&pop, "P 0 a LEFT", 0, 0, 0},
        {&pop, "P -1 a LEFT", 0, 0, 0},
        {&pop, "P 9223372036854775807 a LEFT", 0, 0, 0},
        {&pop, "P 1", 0, 0, 0},
        {&eval, "E s 0 a", 0, 0, 0},
        {&eval, "E s 2 a b c", 2, 3, 4},
        {&blocking, "B a b 0", 2, 1, 2},
        {&blocking, "B a 0", 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bytes argv[WORDS_MAX];
        uint32_t positions[WORDS_MAX];
        size_t argc = cut(cases[i].line, argv);
        size_t count = command_key_positions(cases[i].row, argv, argc, positions);
        assert_int_equal(count, cases[i].count);
        if (count) {
            assert_int_equal(positions[0], cases[i].first);
            assert_int_equal(positions[count - 1], cases[i].last);
        }
    }
    assert_int_equal(command_first_key(&store), 1);
    assert_int_equal(command_first_key(&eval), 3);
}

/* ---- replies ---- */

static void refusals_read_like_redis(void **state)
{
    static const struct {
        const char *line, *reply;
    } cases[] = {
        {"foo a b", "-ERR unknown command 'foo', with args beginning with: 'a' 'b' ;"},
        {"foo", "-ERR unknown command 'foo', with args beginning with: ;"},
        {"''", "-ERR unknown command '', with args beginning with: ;"},
        {"CONFIG|GET x", "-ERR unknown command 'CONFIG|GET', with args beginning with: 'x' ;"},
        {"GET", "-ERR wrong number of arguments for 'get' command;"},
        {"get a b", "-ERR wrong number of arguments for 'get' command;"},
        {"config", "-ERR wrong number of arguments for 'config' command;"},
        {"CONFIG GET", "-ERR wrong number of arguments for 'config|get' command;"},
        {"config xyz", "-ERR unknown subcommand 'xyz'. Try CONFIG HELP.;"},
        {"PING a b", "-ERR wrong number of arguments for 'ping' command;"},
        {"MSET a b c", "-ERR wrong number of arguments for 'mset' command;"},
        {"HSET h a b c", "-ERR wrong number of arguments for 'hset' command;"},
        {"SET a 1 EX", "-ERR syntax error;"},
        {"SET a 1 NX XX", "-ERR syntax error;"},
        {"SET a 1 EX 1 PX 1", "-ERR syntax error;"},
        {"SET a 1 KEEPTTL EX 1", "-ERR syntax error;"},
        {"SET a 1 PERSIST", "-ERR syntax error;"},
        {"GETEX a EX 10 PERSIST", "-ERR syntax error;"},
        {"GETEX a KEEPTTL", "-ERR syntax error;"},
        {"DECRBY a -9223372036854775808", "-ERR decrement would overflow;"},
        {"INCRBY a 01", "-ERR value is not an integer or out of range;"},
        {"SETRANGE a -1 b", "-ERR offset is out of range;"},
        {"EXPIRE a 1 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible;"},
        {"EXPIRE a 1 GT LT", "-ERR GT and LT options at the same time are not compatible;"},
        {"EXPIRE a x FOO", "-ERR Unsupported option FOO;"},
        {"EXPIREAT a 9223372036854775807", "-ERR invalid expire time in 'expireat' command;"},
        {"SCAN x", "-ERR invalid cursor;"},
        {"SCAN 0 COUNT 0", "-ERR syntax error;"},
        {"SCAN 0 COUNT x", "-ERR value is not an integer or out of range;"},
        {"HINCRBYFLOAT h f inf", "-ERR value is NaN or Infinity;"},
        {"HRANDFIELD h -9223372036854775808",
         "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807;"},
        {"HRANDFIELD h 4611686018427387904 WITHVALUES", "-ERR value is out of range;"},
        {"FLUSHALL ASYNC SYNC", "-ERR syntax error;"},
        {"WAIT 0 x", "-ERR timeout is not an integer or out of range;"},
        {"HELLO 4", "-NOPROTO unsupported protocol version;"},
        {"HELLO x", "-ERR Protocol version is not an integer or out of range;"},
        {"HELLO 2 AUTH a", "-ERR Syntax error in HELLO option 'AUTH';"},
        {"AUTH a b", "-WRONGPASS invalid username-password pair or user is disabled.;"},
        {"CLIENT SETNAME a\tb", "-ERR Client names cannot contain spaces, newlines or special characters.;"},
        {"CLIENT KILL ID 0", "-ERR client-id should be greater than 0;"},
        {"CLIENT PAUSE x foo", "-ERR CLIENT PAUSE mode must be WRITE or ALL;"},
        {"COMMAND GETKEYS foo a", "-ERR Invalid command specified;"},
        {"COMMAND GETKEYS ping a", "-ERR The command has no key arguments;"},
        {"LPOP l 1 2", "-ERR wrong number of arguments for 'lpop' command;"},
        {"LPOP l -1", "-ERR value is out of range, must be positive;"},
        {"RPOP l x", "-ERR value is out of range, must be positive;"},
        {"LRANGE l x 1", "-ERR value is not an integer or out of range;"},
        {"LINSERT l BESIDE a b", "-ERR syntax error;"},
        {"LPOS l x RANK 0", "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use "
                            "negative to start from the end of the list;"},
        {"LPOS l x RANK -9223372036854775808",
         "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807;"},
        {"LPOS l x COUNT -1", "-ERR COUNT can't be negative;"},
        {"LPOS l x MAXLEN y", "-ERR MAXLEN can't be negative;"},
        {"LPOS l x MAXLEN", "-ERR syntax error;"},
        {"LMOVE a b LEFT UP", "-ERR syntax error;"},
        {"BLMOVE a b LEFT UP x", "-ERR syntax error;"},
        {"BLMOVE a b LEFT RIGHT x", "-ERR timeout is not a float or out of range;"},
        {"BRPOPLPUSH a b -1", "-ERR timeout is negative;"},
        {"BLPOP l 1e400", "-ERR timeout is negative;"},
        {"LMPOP 0 l LEFT", "-ERR numkeys should be greater than 0;"},
        {"LMPOP x l LEFT", "-ERR numkeys should be greater than 0;"},
        {"LMPOP 2 l LEFT", "-ERR syntax error;"},
        {"LMPOP 9223372036854775807 l LEFT", "-ERR syntax error;"},
        {"LMPOP 1 l UP", "-ERR syntax error;"},
        {"LMPOP 1 l LEFT COUNT 0 x", "-ERR count should be greater than 0;"},
        {"LMPOP 1 l LEFT COUNT 1 COUNT 1", "-ERR syntax error;"},
        {"LMPOP 1 l LEFT COUNT", "-ERR syntax error;"},
        {"BLMPOP x 1 l LEFT COUNT 0", "-ERR count should be greater than 0;"},
        {"BLMPOP x 1 l LEFT", "-ERR timeout is not a float or out of range;"},
        {"COMMAND GETKEYS lmpop 4 a b left", "-ERR Invalid arguments specified for command;"},
        {"SHUTDOWN SAVE NOSAVE", "-ERR syntax error;"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(said(cases[i].line), cases[i].reply);
}

static void answers_without_the_engine(void **state)
{
    assert_string_equal(said("PING"), "+PONG;");
    assert_string_equal(said("ping hi"), "$hi;");
    assert_string_equal(said("ROLE"), "*3;$master;:0;*0;");
    assert_string_equal(said("AUTH default any"), "+OK;");
    assert_string_equal(said("CLIENT ID"), ":7;");
    assert_string_equal(said("CLIENT GETNAME"), "_;");
    assert_string_equal(said("CLIENT SETNAME bob"), "+OK;");
    assert_string_equal(said("CLIENT GETNAME"), "$bob;");
    assert_string_equal(said("CLIENT REPLY OFF"), "");
    assert_string_equal(said("COMMAND GETKEYS mset a 1 b 2"), "*2;$a;$b;");
    assert_string_equal(said("COMMAND GETKEYS blmpop 0 2 a b left"), "*2;$a;$b;");
    assert_string_equal(said("COMMAND GETKEYS blpop a b 0"), "*2;$a;$b;");
    assert_string_equal(said("COMMAND GETKEYSANDFLAGS rename a b"),
                        "*2;*2;$a;~3;+RW;+access;+delete;*2;$b;~2;+OW;+update;");
    assert_string_equal(said("COMMAND INFO get nosuch"),
                        "*2;*10;$get;:2;~2;+readonly;+fast;:1;:1;:1;~3;+@read;+@string;+@fast;~0;"
                        "~1;%3;$flags;~2;+RO;+access;$begin_search;%2;$type;$index;$spec;%1;$index;:1;"
                        "$find_keys;%2;$type;$range;$spec;%3;$lastkey;:0;$keystep;:1;$limit;:0;~0;_;");
}

/* HELLO and RESET change the session, and only when they succeed. */
static void hello_and_reset_change_the_session(void **state)
{
    assert_string_equal(said("HELLO 3 SETNAME bob"), "%7;$server;$redis;$version;$7.2.4;$proto;:3;$id;:7;"
                                                     "$mode;$standalone;$role;$master;$modules;*0;");
    assert_int_equal(session.reply.version, 3);
    said("HELLO 2 SETNAME new AUTH nobody x");
    assert_int_equal(session.reply.version, 3);
    assert_string_equal(session.name, "bob");
    session.db = 5;
    assert_string_equal(said("RESET"), "+RESET;");
    assert_int_equal(session.reply.version, 2);
    assert_int_equal(session.db, 0);
    assert_string_equal(session.name, "");
    assert_string_equal(said("QUIT"), "+OK;");
    assert_true(session.close_after_reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_row_is_sane, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_walk_meets_every_row_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_are_found_in_any_case, set_up, tear_down),
        cmocka_unit_test_setup_teardown(near_misses_are_not_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(key_positions_follow_the_row, set_up, tear_down),
        cmocka_unit_test_setup_teardown(counted_keys_follow_their_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refusals_read_like_redis, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_without_the_engine, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hello_and_reset_change_the_session, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
