/* test_stream.c -- goal: a stream holds the entries, groups and pending deliveries that its changes say, and nothing else.
 *
 * Method: random changes, through apply, against a naive twin (arrays searched from end to end); everything that can be read
 * is compared after each round; shares are compared later with what they were; encode and decode give the same
 * stream; hostile bytes, as values and as changes, are refused with nothing changed, or leave a sound stream.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "../support/random.h"

#include "base/buf.h"
#include "types/stream.h"

#define ENTRIES_MAX 2000
#define GROUPS 3
#define PEOPLE 3

struct twin_pending { struct stream_id id; int owner; uint64_t time, deliveries; };
struct twin_group {
    bool exists, people[PEOPLE];
    uint64_t seen[PEOPLE];
    int64_t active[PEOPLE];
    struct stream_id last;
    int64_t read;
    size_t count;
    struct twin_pending pending[ENTRIES_MAX];
};
struct twin {
    size_t count;
    struct stream_id ids[ENTRIES_MAX], last, deleted;
    uint64_t added;
    struct twin_group groups[GROUPS];
};

static bytes name_of(char kind, int number)
{
    static char names[16][24];
    static int at;
    char *name = names[at++ % 16];
    snprintf(name, sizeof(names[0]), "%c%d", kind, number);
    return bytes_str(name);
}

static void apply(void *s, struct buf *change)
{
    assert_int_equal(stream_ops.apply(s, bytes_of(change->data, change->size)), HF_OK);
    change->size = 0;
}

/* What an entry holds, by its id. Half of the entries have a field that nobody else has; the others share one of many lists of
 * fields, more than a stream keeps. */
static uint64_t pairs_of(struct stream_id id) { return id.ms / 8 % 2 ? 1 : 1 + id.ms / 16 % 3; }

static bytes field_of(const struct stream_id *id, uint64_t pair)
{
    static char text[2][32];
    char *name = text[pair % 2];
    if (id->ms / 8 % 2)
        return bytes_of(id, sizeof(*id));
    snprintf(name, sizeof(text[0]), "field %d %d", (int)(id->ms / 16 % 23), (int)pair);
    return bytes_str(name);
}

/* The first value says which entry it is, or is large. */
static void add(void *s, struct twin *t, struct buf *change)
{
    char value[600];
    struct stream_id id = {t->last.ms + next_random() % 3, next_random() % 5};
    if (stream_id_compare(id, t->last) <= 0)
        id = (struct stream_id){t->last.ms + 1, 0};
    if (t->count == ENTRIES_MAX)
        return;
    memset(value, 'x', sizeof(value));
    stream_change_add(change, s, id, pairs_of(id), 16);
    stream_change_pair(change, field_of(&id, 0), next_random() % 20 ? bytes_of(&id, sizeof(id)) : bytes_of(value, sizeof(value)));
    for (uint64_t i = 1; i < pairs_of(id); i++)
        stream_change_pair(change, field_of(&id, i), bytes_of(value, id.seq));
    apply(s, change);
    t->ids[t->count++] = t->last = id;
    t->added++;
}

static void delete(void *s, struct twin *t, struct buf *change)
{
    size_t from = t->count ? next_random() % t->count : 0, kept = 0, removed = 0;
    if (!t->count)
        return;
    stream_change_delete(change);
    for (size_t i = 0; i < t->count; i++) {
        if (i < from || removed >= 4 || (removed && next_random() % 2)) {
            t->ids[kept++] = t->ids[i];
            continue;
        }
        stream_change_id(change, t->ids[i]);
        if (stream_id_compare(t->ids[i], t->deleted) > 0)
            t->deleted = t->ids[i];
        removed++;
    }
    t->count = kept;
    apply(s, change);
}

static void trim(void *s, struct twin *t, struct buf *change)
{
    size_t count = t->count ? 1 + next_random() % t->count % 40 : 0;
    if (!count)
        return;
    stream_change_trim(change, count);
    apply(s, change);
    memmove(t->ids, t->ids + count, (t->count - count) * sizeof(t->ids[0]));
    t->count -= count;
}

static struct twin_pending *find_pending(struct twin_group *g, struct stream_id id)
{
    for (size_t i = 0; i < g->count; i++) {
        if (stream_id_compare(g->pending[i].id, id) == 0)
            return &g->pending[i];
    }
    return NULL;
}

static void drop_pending(struct twin_group *g, struct stream_id id)
{
    struct twin_pending *p = find_pending(g, id);
    size_t behind = g->count - (size_t)(p - g->pending) - 1;
    memmove(p, p + 1, behind * sizeof(*p));
    g->count--;
}

static void put_pending(struct twin_group *g, struct twin_pending fresh)
{
    struct twin_pending *p = find_pending(g, fresh.id);
    size_t at = 0;
    if (p) {
        *p = fresh;
        return;
    }
    if (g->count == ENTRIES_MAX)
        return;
    while (at < g->count && stream_id_compare(g->pending[at].id, fresh.id) < 0)
        at++;
    memmove(&g->pending[at + 1], &g->pending[at], (g->count - at) * sizeof(fresh));
    g->pending[at] = fresh;
    g->count++;
}

static void group(void *s, struct twin *t, struct buf *change)
{
    int n = (int)(next_random() % GROUPS);
    struct twin_group *g = &t->groups[n];
    if (g->exists && next_random() % 30 == 0) {
        stream_change_group_remove(change, name_of('g', n));
        *g = (struct twin_group){0};
    } else {
        g->exists = true;
        g->last = t->last;
        g->read = (int64_t)(next_random() % 3) - 1;
        stream_change_group(change, name_of('g', n), g->last, g->read);
    }
    apply(s, change);
}

static void person(void *s, struct twin *t, struct buf *change)
{
    int n = (int)(next_random() % GROUPS), who = (int)(next_random() % PEOPLE);
    struct twin_group *g = &t->groups[n];
    if (!g->exists)
        return;
    if (g->people[who] && next_random() % 10 == 0) {
        stream_change_consumer_remove(change, name_of('g', n), name_of('c', who));
        g->people[who] = false;
        for (size_t i = g->count; i-- > 0;) {
            if (g->pending[i].owner == who)
                drop_pending(g, g->pending[i].id);
        }
    } else {
        g->seen[who] = next_random() % 1000;
        g->active[who] = g->people[who] ? g->active[who] : STREAM_NEVER;
        g->people[who] = true;
        stream_change_consumer(change, name_of('g', n), name_of('c', who), g->seen[who]);
    }
    apply(s, change);
}

static void deliver(void *s, struct twin *t, struct buf *change)
{
    int n = (int)(next_random() % GROUPS), who = (int)(next_random() % PEOPLE);
    struct twin_group *g = &t->groups[n];
    if (!g->exists || !g->people[who] || !t->count || g->count + 10 > ENTRIES_MAX)
        return;
    size_t from = next_random() % t->count;
    g->seen[who] = next_random() % 1000;
    if (next_random() % 3) {
        stream_change_deliver(change, name_of('g', n), name_of('c', who), g->seen[who]);
        g->active[who] = (int64_t)g->seen[who];
    } else {
        stream_change_deliver_again(change, name_of('g', n), name_of('c', who), g->seen[who]);
        g->active[who] = g->active[who] == STREAM_NEVER ? (int64_t)g->seen[who] : g->active[who];
    }
    for (size_t i = from; i < t->count && i < from + 8; i++) {
        struct twin_pending p = {t->ids[i], who, next_random() % 1000, next_random() % 5};
        stream_change_delivery(change, p.id, p.time, p.deliveries);
        put_pending(g, p);
    }
    apply(s, change);
}

static void acknowledge(void *s, struct twin *t, struct buf *change)
{
    int n = (int)(next_random() % GROUPS);
    struct twin_group *g = &t->groups[n];
    if (!g->exists || !g->count)
        return;
    size_t from = next_random() % g->count, count = g->count - from < 5 ? g->count - from : 5;
    stream_change_ack(change, name_of('g', n));
    for (size_t i = 0; i < count; i++) {
        stream_change_id(change, g->pending[from].id);
        drop_pending(g, g->pending[from].id);
    }
    apply(s, change);
}

static void compare_group(const struct stream *s, struct twin_group *t, int n)
{
    struct stream_group g;
    assert_int_equal(stream_group_find(s, name_of('g', n), &g), t->exists);
    if (!t->exists)
        return;
    assert_int_equal(stream_id_compare(g.last, t->last), 0);
    assert_int_equal(g.read, t->read);
    assert_int_equal(stream_pending_count(s, g.number), t->count);
    size_t owned[PEOPLE] = {0};
    for (size_t i = 0; i < t->count; i++) {
        struct stream_pending p = stream_pending_at(s, g.number, i);
        struct stream_consumer c = stream_consumer_of(s, p.consumer);
        assert_int_equal(stream_id_compare(p.id, t->pending[i].id), 0);
        assert_true(bytes_equal(c.name, name_of('c', t->pending[i].owner)));
        assert_true(p.delivered_ms == t->pending[i].time && p.deliveries == t->pending[i].deliveries);
        assert_int_equal(stream_id_compare(stream_owned_at(s, p.consumer, owned[t->pending[i].owner]++), p.id), 0);
        assert_int_equal(stream_pending_position(s, g.number, p.id), i);
    }
    for (int who = 0; who < PEOPLE; who++) {
        struct stream_consumer c;
        assert_int_equal(stream_consumer_find(s, g.number, name_of('c', who), &c), t->people[who]);
        if (!t->people[who])
            continue;
        assert_int_equal(stream_owned_count(s, c.number), owned[who]);
        assert_int_equal(c.seen_ms, t->seen[who]);
        assert_int_equal(c.active_ms, t->active[who]);
    }
}

static void compare(const struct stream *s, struct twin *t)
{
    struct stream_cursor cursor;
    struct stream_entry e;
    const struct stream_state *state = stream_state(s);
    stream_ops.check(s);
    assert_int_equal(stream_count(s), t->count);
    assert_int_equal(state->added, t->added);
    assert_int_equal(stream_id_compare(state->last, t->last), 0);
    assert_int_equal(stream_id_compare(state->max_deleted, t->deleted), 0);
    size_t i = 0;
    for (bool more = stream_seek(s, 0, &cursor, &e); more; more = stream_next(&cursor, &e), i++) {
        bytes field, value;
        assert_true(i < t->count && stream_id_compare(e.id, t->ids[i]) == 0);
        assert_int_equal(e.pairs, pairs_of(e.id));
        for (uint64_t pair = 0; pair < e.pairs; pair++) {
            assert_true(stream_pair_next(&e.body, &field, &value) && bytes_equal(field, field_of(&e.id, pair)));
            assert_true(pair ? value.size == e.id.seq : value.size == 600 || bytes_equal(value, bytes_of(&e.id, sizeof(e.id))));
        }
        assert_false(stream_pair_next(&e.body, &field, &value));
        assert_int_equal(stream_position(s, e.id), i);
    }
    assert_int_equal(i, t->count);
    for (int n = 0; n < GROUPS; n++)
        compare_group(s, &t->groups[n], n);
}

static struct buf encoded(const void *s)
{
    struct buf out;
    buf_init(&out, SIZE_MAX);
    stream_ops.encode(s, &out);
    return out;
}

static void round_trip(const void *s, struct twin *t)
{
    void *copy;
    struct buf one = encoded(s);
    assert_int_equal(stream_ops.decode(bytes_of(one.data, one.size), &copy), HF_OK);
    compare(copy, t);
    struct buf other = encoded(copy);
    assert_true(bytes_equal(bytes_of(one.data, one.size), bytes_of(other.data, other.size)));
    stream_ops.free(copy);
    buf_release(&one);
    buf_release(&other);
}

typedef void step(void *s, struct twin *t, struct buf *change);
static step *const steps[] = {add, add, add, add, add, add, deliver, deliver, deliver, acknowledge, acknowledge, person, group, delete, trim};

static void random_steps(void *s, struct twin *t, size_t count)
{
    struct buf change;
    buf_init(&change, SIZE_MAX);
    for (size_t i = 0; i < count; i++) {
        steps[next_random() % (sizeof(steps) / sizeof(steps[0]))](s, t, &change);
        assert_int_equal(change.size, 0);
    }
    buf_release(&change);
}

static void test_against_the_twin(void **state)
{
    (void)state;
    struct twin *t = calloc(1, sizeof(*t));
    for (random_state = 1; random_state < 6; random_state++) {
        uint64_t seed = random_state;
        void *s = stream_ops.create();
        *t = (struct twin){0};
        stream_limits.node_entries_max = seed % 2 ? 100 : 7;
        for (int round = 0; round < 60; round++) {
            random_steps(s, t, 25);
            compare(s, t);
        }
        round_trip(s, t);
        stream_ops.free(s);
        random_state = seed;
    }
    free(t);
}

static void test_shares_stay_as_they_were(void **state)
{
    (void)state;
    struct twin *t = calloc(1, sizeof(*t));
    void *s = stream_ops.create(), *shares[8];
    struct buf were[8];
    random_state = 77;
    for (int i = 0; i < 8; i++) {
        random_steps(s, t, 120);
        shares[i] = stream_ops.share(s);
        were[i] = encoded(s);
    }
    random_steps(s, t, 300);
    compare(s, t);
    for (int i = 0; i < 8; i++) {
        struct buf now = encoded(shares[i]);
        stream_ops.check(shares[i]);
        assert_true(bytes_equal(bytes_of(now.data, now.size), bytes_of(were[i].data, were[i].size)));
        buf_release(&now);
        buf_release(&were[i]);
        for (size_t budget = 3; !stream_ops.free_some(shares[i], &budget); budget = 3) {
        }
    }
    compare(s, t);
    stream_ops.free(s);
    free(t);
}

static void check_times_of_before(const struct stream *s)
{
    for (uint64_t i = 0; i < stream_group_count(s); i++) {
        uint64_t group = stream_group_at(s, i).number;
        for (uint64_t k = 0; k < stream_consumer_count(s, group); k++) {
            struct stream_consumer c = stream_consumer_at(s, group, k);
            assert_int_equal(c.active_ms, c.seen_ms);
        }
    }
}

/* A change that is refused has changed nothing; one that is not leaves a sound stream. */
static void test_hostile_bytes(void **state)
{
    (void)state;
    struct twin *t = calloc(1, sizeof(*t));
    void *s = stream_ops.create(), *copy;
    random_state = 5;
    random_steps(s, t, 200);
    struct buf good = encoded(s);
    size_t sound = 0;
    for (size_t cut = 0; cut < good.size; cut++) {
        if (stream_ops.decode(bytes_of(good.data, cut), &copy) != HF_OK)
            continue;
        check_times_of_before(copy);
        stream_ops.free(copy);
        sound++;
    }
    assert_int_equal(sound, 1); /* the value as it was written before there were active times */
    for (int i = 0; i < 20000; i++) {
        size_t at = next_random() % good.size;
        uint8_t old = good.data[at];
        good.data[at] = (uint8_t)next_random();
        if (stream_ops.decode(bytes_of(good.data, good.size), &copy) == HF_OK) {
            stream_ops.check(copy);
            stream_ops.free(copy);
        }
        good.data[at] = old;
    }
    for (int i = 0; i < 20000; i++) {
        uint8_t change[24];
        for (size_t n = 0; n < sizeof(change); n++)
            change[n] = (uint8_t)(next_random() % 4 ? next_random() % 12 : next_random());
        void *victim = stream_ops.share(s);
        if (stream_ops.apply(victim, bytes_of(change, 1 + next_random() % sizeof(change))) != HF_OK) {
            struct buf now = encoded(victim);
            assert_true(bytes_equal(bytes_of(now.data, now.size), bytes_of(good.data, good.size)));
            buf_release(&now);
        }
        if (i % 16 == 0)
            stream_ops.check(victim);
        stream_ops.free(victim);
    }
    buf_release(&good);
    stream_ops.free(s);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_the_twin),
        cmocka_unit_test(test_shares_stay_as_they_were),
        cmocka_unit_test(test_hostile_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
