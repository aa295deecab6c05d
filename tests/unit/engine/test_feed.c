/* test_feed.c -- what a transaction tells those who follow: notes in order, with a commit only, and of what goes by itself.
 *
 * Method: transactions in a memory-only engine; a listener writes down each note as text, with its unit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../support/recorder.h"

#include "engine/feed.h"
#include "engine/hashes.h"
#include "engine/keys.h"
#include "engine/strings.h"

#define DATA_DIR REC_ROOT "/data"

static struct engine *engine;
static struct txn *txn;
static struct buf heard; /* "unit/db:words;" of each note, units counted from the transaction's first */

static void tell(struct feed_note *first, uint64_t lsn)
{
    assert_int_equal(lsn, 0);
    for (struct feed_note *note = first; note; note = feed_note_next(note)) {
        buf_printf(&heard, "%u/%u:%.*s;", note->unit - first->unit, note->db, (int)note->text.size, (const char *)note->text.data);
        note->told = true;
    }
}

static void expect(const char *text)
{
    bytes found = buf_view(&heard);
    if (!bytes_equal(found, bytes_str(text)))
        fail_msg("heard %.*s instead of %s", (int)found.size, (const char *)found.data, text);
    buf_reset(&heard);
}

static void begin(struct key *k, uint32_t db, const char *name, uint64_t now_ms)
{
    txn_reset(txn, now_ms);
    txn_locate(engine, db, bytes_str(name), k);
    txn_lock_add(txn, k->stripe);
    txn_lock_all_wait(txn);
}

static void set(struct key *k, const char *value, uint64_t deadline_ms)
{
    struct set_result result;
    struct set_options o = {.deadline_ms = deadline_ms};
    assert_int_equal(string_set(txn, k, bytes_str(value), &o, &result), HF_OK);
}

static void say(const char *word, uint32_t db)
{
    bytes words[] = {bytes_str(word), BYTES("")};
    txn_feed(txn, db, words, 2);
}

static void notes_come_in_order_and_units(void **state)
{
    (void)state;
    struct key k;
    begin(&k, 0, "k", 1000);
    say("A", 0);
    say("B", 3);
    txn_feed_unit(txn);
    say("C", 0);
    txn_commit_lsn(txn);
    expect("0/0:*2\r\n$1\r\nA\r\n$0\r\n\r\n;0/3:*2\r\n$1\r\nB\r\n$0\r\n\r\n;1/0:*2\r\n$1\r\nC\r\n$0\r\n\r\n;");
}

static void what_is_undone_is_not_said(void **state)
{
    (void)state;
    struct key k;
    struct txn_point point;
    begin(&k, 0, "k", 1000);
    say("A", 0);
    txn_point_set(txn, &point);
    say("B", 0);
    txn_point_undo(txn, &point);
    txn_commit_lsn(txn);
    expect("0/0:*2\r\n$1\r\nA\r\n$0\r\n\r\n;");
    begin(&k, 0, "k", 1000);
    say("A", 0);
    txn_rollback_all(txn);
    expect("");
}

static void a_key_past_its_deadline_is_deleted_elsewhere_too(void **state)
{
    (void)state;
    struct key k;
    begin(&k, 2, "short", 1000);
    set(&k, "v", 2000);
    assert_int_equal(txn_own_changes(txn), 1);
    txn_commit_lsn(txn);
    begin(&k, 2, "short", 2000);
    assert_false(key_exists(txn, &k));
    assert_int_equal(txn_own_changes(txn), 0); /* not by who met it */
    set(&k, "w", 0);
    assert_int_equal(txn_own_changes(txn), 1);
    txn_commit_lsn(txn);
    expect("0/2:*2\r\n$3\r\nDEL\r\n$5\r\nshort\r\n;");
}

static void fields_that_are_due_are_named(void **state)
{
    (void)state;
    struct key k;
    struct object_ref o;
    bool is_new;
    begin(&k, 0, "h", 1000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(hashes_set(txn, &k, bytes_of(&"fgh"[i], 1), BYTES("v"), &is_new), HF_OK);
    assert_int_equal(hashes_find(txn, &k, &o), HF_OK);
    hashes_set_deadline(txn, &o, BYTES("g"), 2000);
    hashes_set_deadline(txn, &o, BYTES("f"), 1500);
    txn_commit_lsn(txn);
    begin(&k, 0, "h", 2000);
    assert_true(key_exists(txn, &k));
    txn_commit_lsn(txn);
    expect("0/0:*4\r\n$4\r\nHDEL\r\n$1\r\nh\r\n$1\r\nf\r\n$1\r\ng\r\n;");
    begin(&k, 0, "h", 2000);
    assert_int_equal(hashes_find(txn, &k, &o), HF_OK);
    hashes_set_deadline(txn, &o, BYTES("h"), 2500);
    txn_commit_lsn(txn);
    begin(&k, 0, "h", 2500);
    assert_false(key_exists(txn, &k));
    txn_commit_lsn(txn);
    expect("0/0:*2\r\n$3\r\nDEL\r\n$1\r\nh\r\n;");
}

static void nobody_follows_any_more(void **state)
{
    (void)state;
    struct key k;
    begin(&k, 0, "short", 1000);
    set(&k, "v", 2000);
    say("A", 0);
    engine_feed(engine, NULL); /* the last one goes while a transaction is open */
    txn_commit_lsn(txn);
    begin(&k, 0, "short", 3000);
    assert_false(key_exists(txn, &k));
    txn_commit_lsn(txn);
    expect("");
}

static int setup(void **state)
{
    char detail[512] = "";
    struct engine_config config = {.dir = DATA_DIR, .databases = 16, .workers = 1, .durability = DURABILITY_NONE};
    (void)state;
    rec_start();
    if (engine_open(&config, &engine, detail, sizeof(detail)) != HF_OK)
        fail_msg("%s", detail);
    engine_feed(engine, tell);
    txn = txn_new(engine);
    buf_init(&heard, SIZE_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_release(&heard);
    txn_free(txn);
    engine_close(engine);
    rec_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(notes_come_in_order_and_units, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_undone_is_not_said, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_past_its_deadline_is_deleted_elsewhere_too, setup, teardown),
        cmocka_unit_test_setup_teardown(fields_that_are_due_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_follows_any_more, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
