/* test_tail.c -- the tail of a memory-only server's snapshot: noted whole, written whole, found damaged.
 *
 * Goal: what is noted between begin and seal comes out in order, once, with its positions; nothing before or after;
 * too much is said. In the file each flipped bit of header, tail, index and footer is found when it is loaded, and of the rest too; a cut
 * file is refused. Every type of effect comes back.
 * Method: the struct alone; then an engine on the simulated disk of support/recorder.h, whose snapshot is held up between
 * captures by a callback that writes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/rules.h"

#include "durable/effect.h"
#include "durable/tail.h"

static void test_noted_between_begin_and_seal(void **state)
{
    (void)state;
    struct tail t;
    struct buf out;
    bytes record, in;
    tail_init(&t);
    buf_init(&out, SIZE_MAX);
    tail_note(&t, BYTES("before"));
    assert_false(tail_is_noting(&t));
    assert_int_equal(tail_end(&t), 0);
    tail_begin(&t);
    assert_true(tail_is_noting(&t));
    tail_note(&t, BYTES("one"));
    tail_note(&t, BYTES("two"));
    assert_int_equal(tail_end(&t), 8);
    assert_true(tail_take(&t, &out));
    in = buf_view(&out);
    assert_true(take_bytes(&in, &record) && bytes_equal(record, BYTES("one")));
    assert_true(take_bytes(&in, &record) && bytes_equal(record, BYTES("two")));
    assert_int_equal(in.size, 0);
    tail_note(&t, BYTES("three"));
    tail_seal(&t);
    tail_note(&t, BYTES("after"));
    assert_false(tail_is_noting(&t));
    buf_reset(&out);
    assert_true(tail_take(&t, &out));
    in = buf_view(&out);
    assert_true(take_bytes(&in, &record) && bytes_equal(record, BYTES("three")));
    assert_int_equal(in.size, 0);
    assert_int_equal(tail_end(&t), 14);
    tail_begin(&t); /* the next snapshot */
    assert_int_equal(tail_end(&t), 0);
    buf_release(&out);
    tail_release(&t);
}

static void test_too_much_is_said(void **state)
{
    (void)state;
    struct tail t;
    struct buf out;
    size_t size = (size_t)TAIL_BYTES_MAX / 2 + 1000;
    uint8_t *large = calloc(1, size);
    assert_non_null(large);
    tail_init(&t);
    buf_init(&out, SIZE_MAX);
    tail_begin(&t);
    tail_note(&t, bytes_of(large, size));
    tail_note(&t, bytes_of(large, size));
    tail_note(&t, BYTES("more"));
    assert_false(tail_take(&t, &out));
    buf_reset(&out);
    tail_begin(&t);
    tail_note(&t, BYTES("again"));
    assert_true(tail_take(&t, &out));
    assert_int_equal(out.size, 6);
    buf_release(&out);
    tail_release(&t);
    free(large);
}

/* --- in the file ---------------------------------------------------------------------------- */

static struct client *intruder;
static int intrusions;

/* Between captures: effects of every kind, behind ranges that are captured already, and before others. */
static void intrude(void *context, const char *what, uint64_t done, uint64_t total)
{
    if (strcmp(what, "saving the snapshot") != 0 || intrusions == 60)
        return;
    int i = intrusions++;
    client_do(intruder, "MSET set%d v%d twin%d v%d", i, i, i, i);
    client_do(intruder, "APPEND appended %d,", i);
    client_do(intruder, "HSET hash f%d v%d", i, i);
    client_do(intruder, "SETRANGE ranged %d x", i);
    client_do(intruder, "PEXPIREAT set%d 4102444800000", i);
    client_do(intruder, i % 3 ? "RENAME twin%d renamed%d" : "DEL twin%d absent%d", i, i);
    if (i % 20 == 10)
        client_do(intruder, "SWAPDB 2 3");
}

static void check_loaded(struct client *c)
{
    char appended[400] = "", expected[600];
    for (int i = 0; i < 60; i++) {
        snprintf(appended + strlen(appended), sizeof(appended) - strlen(appended), "%d,", i);
        snprintf(expected, sizeof(expected), "$%d\r\nv%d\r\n", i < 10 ? 2 : 3, i);
        assert_string_equal(client_do(c, "GET set%d", i), expected);
        assert_string_equal(client_do(c, "PEXPIRETIME set%d", i), ":4102444800000\r\n");
        assert_string_equal(client_do(c, "GET renamed%d", i), i % 3 ? expected : "$-1\r\n");
        assert_string_equal(client_do(c, "HGET hash f%d", i), expected);
        assert_string_equal(client_do(c, "EXISTS twin%d", i), ":0\r\n");
    }
    snprintf(expected, sizeof(expected), "$%zu\r\n%s\r\n", strlen(appended), appended);
    assert_string_equal(client_do(c, "GET appended"), expected);
    assert_string_equal(client_do(c, "STRLEN ranged"), ":60\r\n");
    client_do(c, "SELECT 3");
    assert_string_equal(client_do(c, "GET in-2"), "$1\r\nx\r\n"); /* swapped three times */
    client_do(c, "SELECT 0");
}

static struct rec_bytes *make_file(void)
{
    struct client c;
    config.on_progress = intrude;
    intrusions = 0;
    struct engine *e = open_engine(DURABILITY_NONE, 2);
    struct exec *x = exec_new(e, 1);
    client_init(&c, x, DURABILITY_NONE);
    intruder = &c;
    client_do(&c, "SELECT 2");
    client_do(&c, "SET in-2 x");
    client_do(&c, "SELECT 0");
    assert_int_equal(engine_snapshot_wait(e), HF_OK);
    assert_int_equal(intrusions, 60);
    client_release(&c);
    exec_free(x);
    engine_close(e);
    config.on_progress = NULL;
    struct rec_name *name = rec_find(&rec.disk->live, DATA_DIR "/snapshot-0000000000000001.hfs");
    assert_non_null(name);
    return &name->file->live;
}

static void test_every_kind_of_effect_comes_back(void **state)
{
    (void)state;
    struct look look;
    make_file();
    look_open(&look, DURABILITY_NONE);
    check_loaded(&look.client);
    look_close(&look);
}

static void must_be_refused(const char *what, size_t at)
{
    struct engine *e = NULL;
    config.durability = DURABILITY_NONE;
    config.workers = 2;
    if (engine_open(&config, &e, detail, sizeof(detail)) == HF_OK)
        fail_msg("%s at %zu: loaded all the same", what, at);
    assert_true(detail[0]);
}

static void test_damage_is_found(void **state)
{
    (void)state;
    struct rec_bytes *file = make_file();
    size_t size = file->size;
    uint8_t *whole = malloc(size);
    assert_non_null(whole);
    memcpy(whole, file->data, size);
    for (size_t i = 0; i < size; i += i < 100 || i + 300 > size ? 1 : 7) {
        file->data[i] ^= (uint8_t)(1u << i % 8);
        must_be_refused("a flipped bit", i);
        file->data[i] = whole[i];
    }
    for (size_t cut = size - 1; cut > 0; cut -= cut > 200 ? cut / 8 : 1) {
        rec_resize(file, cut);
        must_be_refused("a cut", cut);
    }
    rec_resize(file, size);
    memcpy(file->data, whole, size);
    struct look look;
    look_open(&look, DURABILITY_NONE);
    check_loaded(&look.client);
    look_close(&look);
    free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_noted_between_begin_and_seal),
        cmocka_unit_test(test_too_much_is_said),
        cmocka_unit_test_setup_teardown(test_every_kind_of_effect_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_is_found, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
