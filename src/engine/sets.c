/* sets.c -- operations on set keys: the members of one command are one change.
 *
 * The change begins at the first member that makes a difference, so a command that changes nothing logs
 * nothing; those behind it are passed over by the change itself when they make none.
 */
#include "engine/sets.h"

#include "engine/internal.h"
#include "engine/objects.h"

status sets_view(struct txn *t, const struct key *k, const struct set **out)
{
    const void *object;
    status s = object_view(t, k, TYPE_SET, &object);
    if (s == HF_OK)
        *out = object;
    return s;
}

static uint64_t count_of(const struct object_ref *o)
{
    return o->object ? set_count(o->object) : 0;
}

static bool has(const struct object_ref *o, bytes member)
{
    return o->object && set_has(o->object, member);
}

static status change(struct txn *t, struct object_ref *o, void (*begin)(struct buf *out), const bytes *members,
                     size_t count)
{
    struct buf text;
    buf_init(&text, SIZE_MAX);
    begin(&text);
    for (size_t i = 0; i < count; i++)
        set_change_member(&text, members[i]);
    status s = object_change(t, o, buf_view(&text));
    buf_release(&text);
    return s;
}

status sets_add(struct txn *t, const struct key *k, const bytes *members, size_t count, uint64_t *added)
{
    struct object_ref o;
    size_t first = 0;
    status s = object_find(t, k, TYPE_SET, &o);
    if (s != HF_OK)
        return s;
    while (first < count && has(&o, members[first]))
        first++;
    *added = 0;
    if (first == count)
        return HF_OK;
    uint64_t before = count_of(&o);
    s = change(t, &o, set_change_add, members + first, count - first);
    if (s == HF_OK)
        *added = count_of(&o) - before;
    return s;
}

status sets_remove(struct txn *t, const struct key *k, const bytes *members, size_t count, uint64_t *removed,
                   bool *emptied)
{
    struct object_ref o;
    size_t first = 0;
    status s = object_find(t, k, TYPE_SET, &o);
    if (s != HF_OK)
        return s;
    while (first < count && !has(&o, members[first]))
        first++;
    *removed = 0;
    *emptied = false;
    if (first == count)
        return HF_OK;
    uint64_t before = count_of(&o);
    s = change(t, &o, set_change_remove, members + first, count - first);
    if (s != HF_OK)
        return s;
    *removed = before - count_of(&o);
    *emptied = object_close(t, &o);
    return HF_OK;
}

status sets_store(struct txn *t, const struct key *k, struct set *s, bool *removed)
{
    return object_store(t, k, TYPE_SET, s, removed);
}
