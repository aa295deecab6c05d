/* stream_delete.c -- XDEL, XDELEX, XACKDEL, and who still needs an entry.
 *
 * An entry may go while groups have it pending. How that is taken XDELEX, XACKDEL and trimming may say: KEEPREF leaves it
 * pending, DELREF makes all groups forget it, ACKED lets only entries go that every group has read and acknowledged.
 */
#include "base/number.h"
#include "cmd/handlers.h"
#include "cmd/stream.h"

/* ---- references ---- */

bool is_references_word(bytes word, enum stream_references *how)
{
    static const char *const words[] = {[REFERENCES_KEEP] = "KEEPREF", [REFERENCES_DROP] = "DELREF", [REFERENCES_NONE] = "ACKED"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (bytes_is_word(word, words[i])) {
            *how = (enum stream_references)i;
            return true;
        }
    }
    return false;
}

bool stream_is_referenced(const struct stream *s, struct stream_id id)
{
    struct stream_pending p;
    for (uint64_t i = 0; i < stream_group_count(s); i++) {
        struct stream_group g = stream_group_at(s, i);
        if (stream_id_compare(id, g.last) > 0 || stream_pending_find(s, g.number, id, &p))
            return true;
    }
    return false;
}

int64_t acknowledge(struct call *c, struct object_ref *o, const struct stream_group *g, const struct stream_id *ids, size_t count)
{
    struct buf change;
    struct stream_pending p;
    int64_t found = 0;
    buf_init(&change, SIZE_MAX);
    stream_change_ack(&change, g->name);
    for (size_t i = 0; i < count; i++) {
        if (!stream_pending_find(stream_of(o), g->number, ids[i], &p))
            continue;
        stream_change_id(&change, ids[i]);
        found++;
    }
    if (found && !os_bug(BUG_ACK_LOST) && !change_stream_unwatched(c, o, &change))
        found = -1;
    buf_release(&change);
    return found;
}

bool drop_references(struct call *c, struct object_ref *o, const struct stream_id *ids, size_t count)
{
    for (uint64_t i = 0; i < stream_group_count(stream_of(o)); i++) {
        struct stream_group g = stream_group_at(stream_of(o), i);
        if (acknowledge(c, o, &g, ids, count) < 0)
            return false;
    }
    return true;
}

#define FORGOTTEN_AT_ONCE 1000

/* Those of a group from position *at on; *at moves over what stays. Returns how many ids it found. */
static size_t pending_entries(const struct stream *s, const struct stream_group *g, struct stream_id last, uint64_t *at,
                              struct stream_id ids[FORGOTTEN_AT_ONCE])
{
    size_t count = 0;
    for (uint64_t i = *at, all = stream_pending_count(s, g->number); i < all && count < FORGOTTEN_AT_ONCE; i++) {
        struct stream_id id = stream_pending_at(s, g->number, i).id;
        if (stream_id_compare(id, last) > 0)
            break;
        if (stream_has(s, id))
            ids[count++] = id;
        else
            ++*at;
    }
    return count;
}

bool drop_references_to(struct call *c, struct object_ref *o, struct stream_id last)
{
    struct stream_id *ids = arena_alloc(txn_arena(c->txn), FORGOTTEN_AT_ONCE * sizeof(*ids));
    for (uint64_t i = 0; i < stream_group_count(stream_of(o)); i++) {
        uint64_t at = 0;
        for (;;) {
            struct stream_group g = stream_group_at(stream_of(o), i);
            size_t count = pending_entries(stream_of(o), &g, last, &at, ids);
            if (count == 0)
                break;
            if (acknowledge(c, o, &g, ids, count) < 0)
                return false;
        }
    }
    return true;
}

/* ---- XDEL ---- */

/* Of ids that ascend, none twice, those that are there. Returns how many, or a negative number: the error was replied. */
static int64_t delete_entries(struct call *c, struct object_ref *o, const struct stream_id *ids, size_t count)
{
    struct buf change;
    int64_t found = 0;
    buf_init(&change, SIZE_MAX);
    stream_change_delete(&change);
    for (size_t i = 0; i < count; i++) {
        if (!stream_has(stream_of(o), ids[i]))
            continue;
        stream_change_id(&change, ids[i]);
        found++;
    }
    bool fine = found == 0 || change_stream(c, o, &change);
    buf_release(&change);
    if (fine && found)
        txn_event(c->txn, call_key(c, 0), EVENT_STREAM, "xdel");
    return fine ? found : -1;
}

void cmd_xdel(struct call *c)
{
    struct object_ref o;
    size_t count;
    if (!find_stream(c, call_key(c, 0), &o))
        return;
    if (!o.object) {
        reply_int(c->reply, 0);
        return;
    }
    const struct stream_id *ids = arg_stream_ids(c, 2, &count);
    if (!ids)
        return;
    int64_t found = delete_entries(c, &o, ids, count);
    if (found >= 0)
        reply_int(c->reply, found);
}

/* ---- XDELEX, XACKDEL ---- */

enum fate { FATE_ABSENT = -1, FATE_DELETED = 1, FATE_NEEDED = 2 }; /* as replied */

struct removal {
    struct object_ref object;
    struct stream_group group;          /* of XACKDEL */
    bool acknowledges, chosen;
    enum stream_references references;
    size_t ids_at, ids_count;           /* words; 0: none yet */
    struct stream_id *ids, *sorted;     /* as given; ascending, none twice */
    size_t sorted_count;
    enum fate *fates;                   /* of the sorted ones */
};

static bool wrong_ids_count(struct call *c)
{
    reply_errorf(c->reply, "ERR The `numids` parameter must match the number of arguments");
    return false;
}

/* IDS at word *i; leaves *i on the last id. */
static bool take_ids(struct call *c, size_t *i, struct removal *r)
{
    int64_t count;
    if (!number_parse_int(c->argv[*i + 1], &count) || count <= 0) {
        reply_errorf(c->reply, "ERR Number of IDs must be a positive integer");
        return false;
    }
    if ((uint64_t)count > c->argc - *i - 2)
        return wrong_ids_count(c);
    r->ids_at = *i + 2;
    r->ids_count = (size_t)count;
    r->ids = arena_alloc(txn_arena(c->txn), r->ids_count * sizeof(*r->ids));
    for (size_t n = 0; n < r->ids_count; n++) {
        if (!arg_stream_id(c, r->ids_at + n, &r->ids[n]))
            return false;
    }
    *i = r->ids_at + r->ids_count - 1;
    return true;
}

static bool take_removal(struct call *c, size_t from, struct removal *r)
{
    struct stream_id id;
    for (size_t i = from; i < c->argc; i++) {
        if (!r->chosen && is_references_word(c->argv[i], &r->references)) {
            r->chosen = true;
        } else if (!r->ids_at && i + 1 < c->argc && bytes_is_word(c->argv[i], "IDS")) {
            if (!take_ids(c, &i, r))
                return false;
        } else if (r->ids_at && stream_id_parse(c->argv[i], 0, &id)) {
            return wrong_ids_count(c);
        } else {
            reply_status(c->reply, HF_ERR_SYNTAX);
            return false;
        }
    }
    if (!r->ids_at)
        reply_status(c->reply, HF_ERR_SYNTAX);
    return r->ids_at != 0;
}

static void sort_removal(struct call *c, struct removal *r)
{
    struct arena *arena = txn_arena(c->txn);
    r->sorted = arena_alloc(arena, r->ids_count * sizeof(*r->sorted));
    memcpy(r->sorted, r->ids, r->ids_count * sizeof(*r->sorted));
    r->sorted_count = sort_stream_ids(r->sorted, r->ids_count);
    r->fates = arena_alloc(arena, r->sorted_count * sizeof(*r->fates));
    for (size_t i = 0; i < r->sorted_count; i++)
        r->fates[i] = FATE_ABSENT;
}

/* Whose part it is to go: what the stream has; of XACKDEL, what the group had pending, be the entry still there or not. */
static bool choose_fates(struct call *c, struct removal *r)
{
    struct stream_pending p;
    for (size_t i = 0; i < r->sorted_count; i++) {
        bool there = r->acknowledges ? stream_pending_find(stream_of(&r->object), r->group.number, r->sorted[i], &p)
                                     : stream_has(stream_of(&r->object), r->sorted[i]);
        r->fates[i] = there ? FATE_DELETED : FATE_ABSENT;
    }
    if (r->acknowledges && acknowledge(c, &r->object, &r->group, r->sorted, r->sorted_count) < 0)
        return false;
    for (size_t i = 0; i < r->sorted_count && r->references == REFERENCES_NONE; i++) {
        if (r->fates[i] == FATE_DELETED && stream_is_referenced(stream_of(&r->object), r->sorted[i]))
            r->fates[i] = FATE_NEEDED;
    }
    return true;
}

/* DELREF also drops references to entries that had gone before. */
static bool drop_removed(struct call *c, struct removal *r)
{
    struct stream_id *ids = arena_alloc(txn_arena(c->txn), r->sorted_count * sizeof(*ids));
    size_t count = 0;
    for (size_t i = 0; i < r->sorted_count; i++) {
        if (r->fates[i] == FATE_DELETED || !stream_has(stream_of(&r->object), r->sorted[i]))
            ids[count++] = r->sorted[i];
    }
    return drop_references(c, &r->object, ids, count);
}

static bool remove_chosen(struct call *c, struct removal *r)
{
    struct stream_id *ids = arena_alloc(txn_arena(c->txn), r->sorted_count * sizeof(*ids));
    size_t count = 0;
    if (!choose_fates(c, r) || (r->references == REFERENCES_DROP && !drop_removed(c, r)))
        return false;
    for (size_t i = 0; i < r->sorted_count; i++) {
        if (r->fates[i] == FATE_DELETED)
            ids[count++] = r->sorted[i];
    }
    return delete_entries(c, &r->object, ids, count) >= 0;
}

/* An id that comes twice is absent the second time: deleted, or no longer pending. */
static void reply_fates(struct call *c, struct removal *r)
{
    reply_array(c->reply, r->ids_count);
    for (size_t n = 0; n < r->ids_count; n++) {
        size_t low = 0, high = r->sorted_count - 1;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (stream_id_compare(r->sorted[middle], r->ids[n]) < 0)
                low = middle + 1;
            else
                high = middle;
        }
        reply_int(c->reply, r->fates[low]);
        if (r->fates[low] == FATE_DELETED || r->acknowledges)
            r->fates[low] = FATE_ABSENT;
    }
}

static void remove_entries(struct call *c, struct removal *r)
{
    if (!take_removal(c, r->acknowledges ? 3 : 2, r) || !find_stream(c, call_key(c, 0), &r->object))
        return;
    sort_removal(c, r);
    bool there = r->object.object && (!r->acknowledges || stream_group_find(r->object.object, c->argv[2], &r->group));
    r->group.name = c->argv[2]; /* a word, not a view that ends with the next change */
    if (!there || remove_chosen(c, r))
        reply_fates(c, r);
}

void cmd_xdelex(struct call *c)
{
    struct removal r = {.acknowledges = false};
    remove_entries(c, &r);
}

void cmd_xackdel(struct call *c)
{
    struct removal r = {.acknowledges = true};
    remove_entries(c, &r);
}
