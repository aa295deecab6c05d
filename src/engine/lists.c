/* lists.c -- operations on list keys: each is one change, whatever it moves. */
#include "engine/lists.h"

status lists_view(struct txn *t, const struct key *k, const struct list **out)
{
    const void *object;
    status s = object_view(t, k, TYPE_LIST, &object);
    if (s == HF_OK)
        *out = object;
    return s;
}

status lists_find(struct txn *t, const struct key *k, struct object_ref *o)
{
    return object_find(t, k, TYPE_LIST, o);
}

/* Makes the change and frees its bytes. */
static status make(struct txn *t, struct object_ref *o, struct buf *change)
{
    status s = object_change(t, o, buf_view(change));
    buf_release(change);
    return s;
}

/* A change of an object that is there, and that was checked to fit. */
static void make_fitting(struct txn *t, struct object_ref *o, struct buf *change)
{
    hf_assert(o->object);
    status s = make(t, o, change);
    hf_assert(s == HF_OK);
}

status lists_push(struct txn *t, struct object_ref *o, enum list_end end, const bytes *values, size_t count)
{
    struct buf change;
    buf_init(&change, SIZE_MAX);
    list_change_push(&change, end, values, count);
    return make(t, o, &change);
}

void lists_insert(struct txn *t, struct object_ref *o, uint64_t position, bytes value)
{
    struct buf change;
    buf_init(&change, SIZE_MAX);
    list_change_insert(&change, position, value);
    make_fitting(t, o, &change);
}

void lists_set(struct txn *t, struct object_ref *o, uint64_t position, bytes value)
{
    struct buf change;
    buf_init(&change, SIZE_MAX);
    list_change_set(&change, position, value);
    make_fitting(t, o, &change);
}

void lists_cut(struct txn *t, struct object_ref *o, uint64_t head, uint64_t tail)
{
    uint64_t end = 0, count = list_count(list_of(o));
    struct buf change;
    hf_assert(head <= count && tail <= count - head);
    if (head == 0 && tail == 0)
        return;
    buf_init(&change, SIZE_MAX);
    list_change_remove_begin(&change);
    if (head)
        list_change_remove_run(&change, &end, 0, head);
    if (tail)
        list_change_remove_run(&change, &end, count - tail, tail);
    make_fitting(t, o, &change);
}

static bool goes_on(struct list_patience p) { return !p.goes_on || p.goes_on(p.context); }

/* The position of the match number `most` seen from the tail, or of the last there is; the count when there is none, or it ends. */
static uint64_t find_from_tail(const struct list *l, bytes value, uint64_t most, struct list_patience p)
{
    struct list_cursor c;
    bytes element;
    uint64_t at = list_count(l), found = at;
    for (bool more = list_seek(l, at - 1, &c, &element); more && most > 0; more = list_previous(&c, &element)) {
        at--;
        if (bytes_equal(element, value)) {
            found = at;
            most--;
        }
        if (!goes_on(p))
            return list_count(l);
    }
    return found;
}

/* Appends a run for each stretch of matches from a position on. 0: there are none, or it ends. */
static uint64_t add_runs(struct buf *change, const struct list *l, uint64_t from, bytes value, uint64_t most, struct list_patience p)
{
    struct list_cursor c;
    bytes element;
    uint64_t end = 0, matches = 0, stretch = 0, at = from;
    for (bool more = list_seek(l, from, &c, &element); more && matches < most; more = list_next(&c, &element)) {
        if (bytes_equal(element, value)) {
            matches++;
            stretch++;
        } else if (stretch) {
            list_change_remove_run(change, &end, at - stretch, stretch);
            stretch = 0;
        }
        at++;
        if (!goes_on(p))
            return 0;
    }
    if (stretch)
        list_change_remove_run(change, &end, at - stretch, stretch);
    return matches;
}

uint64_t lists_remove_equal(struct txn *t, struct object_ref *o, bytes value, enum list_end from, uint64_t most, struct list_patience p)
{
    const struct list *l = list_of(o);
    struct buf change;
    uint64_t start = from == LIST_TAIL ? find_from_tail(l, value, most, p) : 0;
    buf_init(&change, SIZE_MAX);
    list_change_remove_begin(&change);
    uint64_t matches = add_runs(&change, l, start, value, most, p);
    if (matches)
        make_fitting(t, o, &change);
    else
        buf_release(&change);
    return matches;
}
