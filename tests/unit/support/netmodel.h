/* netmodel.h -- random clients on a shared keyspace, and what their replies oblige the disk to hold.
 *
 * Each client owns some keys: only it writes them, everybody reads them. Its writes (one command or one MULTI
 * each) are numbered versions; the log keeps their order. Groups are written by all: MULTI, INCR g:n, SET g:l tag,
 * SET g:r tag, EXEC, where the reply of INCR is the place in the order. So every reply says that some versions of
 * some owners, and some number of some group, had happened:
 *   a write's own reply, its version; a read, the first version (not before what this client saw earlier)
 *   that looks like it; none that does is a wrong reply already (a half transaction, a stale read).
 * netmodel_check compares a reopened server with that: an owner's keys are exactly one
 * version; no reply received before the cut may show more than is there. `lossy` (a power cut
 * in interval mode): what survived may only depend on what survived, since the log is a prefix: if a client's write
 * is there, so is everything that it had seen before.
 */
#ifndef HF_TEST_NETMODEL_H
#define HF_TEST_NETMODEL_H

#include "netserver.h"
#include "recorder.h"

#define OWNERS 4
#define GROUPS 2
#define SLOTS 6        /* three strings, a counter, two fields of a hash */
#define SLOT_COUNTER 3
#define SLOT_HASH 4
#define TEXT_MAX 6000
#define COMMANDS_MAX 6
#define UNITS_MAX 4000
#define GROUP_MAX (OWNERS * UNITS_MAX + 1)

struct text { bool there; size_t size; char data[TEXT_MAX]; };
struct version { uint64_t slot[SLOTS]; }; /* digests; 0: absent */

enum expect_kind { EXPECT_OK, EXPECT_INT, EXPECT_SLOTS, EXPECT_KEYS, EXPECT_GROUP, EXPECT_PLACE };
struct expect {
    enum expect_kind kind;
    uint8_t owner, group, first, count; /* slots [first, first + count) */
    bool array;
    int64_t number, seen_number;        /* EXPECT_INT: must be; GROUP, PLACE: was */
    uint64_t seen[SLOTS];               /* digests; EXPECT_KEYS: 1 or 0 */
};

struct unit {
    uint32_t version;   /* of its client after it */
    bool wrote, multi, answered; /* answered: before the cut */
    int8_t group;       /* written; -1: none */
    uint64_t tag, place;
    uint8_t count;
    char error[200];    /* an error came instead */
    struct expect expect[COMMANDS_MAX];
};

struct netclient {
    struct netmodel *model;
    unsigned number;
    uint64_t random, serial;
    unsigned pipeline_max;
    struct client client;
    struct text now[SLOTS], before[SLOTS]; /* before: the unit last drawn */
    struct version *versions;
    struct unit *units;
    size_t unit_count, version_count;
    char wrong[400];
};

struct netmodel {
    struct netclient clients[OWNERS];
    uint64_t group_number[GROUPS];         /* as found at the last opening */
    uint64_t group_tags[GROUPS][GROUP_MAX]; /* by number behind that; 0: not known */
    char detail[512];
};

/* --- words ------------------------------------------------------------------------------ */

NETSERVER uint64_t digest(const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t h = 0xcbf29ce484222325u ^ size;
    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h ? h : 1;
}

NETSERVER const char *slot_key(char out[24], unsigned owner, unsigned slot)
{
    if (slot < SLOT_COUNTER)
        snprintf(out, 24, "o%u:s%u", owner, slot);
    else
        snprintf(out, 24, slot == SLOT_COUNTER ? "o%u:n" : "o%u:h", owner);
    return out;
}

NETSERVER const char *group_key(char out[24], unsigned group, char part)
{
    snprintf(out, 24, "g%u:%c", group, part);
    return out;
}

NETSERVER uint64_t roll(struct netclient *c, uint64_t below) { return rec_next(&c->random) % below; }

NETSERVER void wrongly(struct netclient *c, const char *what, uint64_t a, uint64_t b)
{
    if (!c->wrong[0])
        snprintf(c->wrong, sizeof(c->wrong), "client %u, unit %zu: %s (%llu, %llu)", c->number, c->unit_count, what,
                 (unsigned long long)a, (unsigned long long)b);
}

/* --- drawing units ------------------------------------------------------------------------ */

NETSERVER struct expect *expecting(struct unit *u, enum expect_kind kind, int64_t number)
{
    hf_assert(u->count < COMMANDS_MAX);
    struct expect *e = &u->expect[u->count++];
    *e = (struct expect){.kind = kind, .number = number};
    return e;
}

NETSERVER size_t draw_value(struct netclient *c, char out[TEXT_MAX])
{
    size_t size = (size_t)snprintf(out, TEXT_MAX, "%u.%llu;", c->number, (unsigned long long)++c->serial);
    size_t pad = roll(c, 40) == 0 ? 5000 : roll(c, 8) == 0 ? 200 : 0;
    memset(out + size, 'x', pad);
    return size + pad;
}

NETSERVER void text_set(struct text *t, const char *data, size_t size)
{
    t->there = true;
    t->size = size;
    memcpy(t->data, data, size);
}

NETSERVER void draw_set(struct netclient *c, struct unit *u, unsigned slot)
{
    char value[TEXT_MAX], key[24];
    size_t size = draw_value(c, value);
    slot_key(key, c->number, slot);
    client_begin(&c->client, 3);
    client_word(&c->client, "SET", 3);
    client_word(&c->client, key, strlen(key));
    client_word(&c->client, value, size);
    text_set(&c->now[slot], value, size);
    expecting(u, EXPECT_OK, 0);
}

NETSERVER void draw_append(struct netclient *c, struct unit *u, unsigned slot)
{
    char tail[32], key[24];
    struct text *t = &c->now[slot];
    if (t->there && t->size > 500) {
        draw_set(c, u, slot);
        return;
    }
    size_t size = (size_t)snprintf(tail, sizeof(tail), "+%llu", (unsigned long long)++c->serial);
    client_command(&c->client, 3, "APPEND", slot_key(key, c->number, slot), tail);
    t->size = t->there ? t->size : 0;
    t->there = true;
    memcpy(t->data + t->size, tail, size);
    t->size += size;
    expecting(u, EXPECT_INT, (int64_t)t->size);
}

NETSERVER void draw_delete(struct netclient *c, struct unit *u, unsigned slot)
{
    char key[24];
    bool there = c->now[slot].there || (slot >= SLOT_HASH && c->now[slot + 1].there);
    client_command(&c->client, 2, "DEL", slot_key(key, c->number, slot));
    c->now[slot].there = false;
    if (slot >= SLOT_HASH)
        c->now[slot + 1].there = false;
    expecting(u, EXPECT_INT, there);
}

NETSERVER void draw_incr(struct netclient *c, struct unit *u)
{
    char key[24];
    struct text *t = &c->now[SLOT_COUNTER];
    t->data[t->there ? t->size : 0] = 0;
    int64_t next = t->there ? strtoll(t->data, NULL, 10) + 1 : 1;
    t->there = true;
    t->size = (size_t)snprintf(t->data, sizeof(t->data), "%lld", (long long)next);
    client_command(&c->client, 2, "INCR", slot_key(key, c->number, SLOT_COUNTER));
    expecting(u, EXPECT_INT, next);
}

NETSERVER void draw_hset(struct netclient *c, struct unit *u)
{
    char key[24], value[32];
    unsigned field = (unsigned)roll(c, 2);
    struct text *t = &c->now[SLOT_HASH + field];
    bool fresh = !t->there;
    size_t size = (size_t)snprintf(value, sizeof(value), "%u.%llu", c->number, (unsigned long long)++c->serial);
    client_command(&c->client, 4, "HSET", slot_key(key, c->number, SLOT_HASH), field ? "f1" : "f0", value);
    text_set(t, value, size);
    expecting(u, EXPECT_INT, fresh);
}

NETSERVER void draw_mset(struct netclient *c, struct unit *u)
{
    char key[2][24], value[32];
    size_t size = (size_t)snprintf(value, sizeof(value), "%u.%llu", c->number, (unsigned long long)++c->serial);
    client_command(&c->client, 5, "MSET", slot_key(key[0], c->number, 0), value, slot_key(key[1], c->number, 1), value);
    text_set(&c->now[0], value, size);
    text_set(&c->now[1], value, size);
    expecting(u, EXPECT_OK, 0);
}

NETSERVER void draw_write(struct netclient *c, struct unit *u)
{
    static const unsigned deletable[] = {0, 1, 2, SLOT_COUNTER, SLOT_HASH};
    switch (roll(c, 8)) {
    case 0: case 1: draw_set(c, u, (unsigned)roll(c, 3)); break;
    case 2: case 3: draw_delete(c, u, deletable[roll(c, 5)]); break;
    case 4: draw_append(c, u, (unsigned)roll(c, 3)); break;
    case 5: draw_incr(c, u); break;
    case 6: draw_hset(c, u); break;
    default: draw_mset(c, u);
    }
}

/* Everybody's keys; of an owner several at once, so that halves would show. */
NETSERVER void draw_read(struct netclient *c, struct unit *u)
{
    char key[4][24];
    unsigned owner = (unsigned)roll(c, OWNERS), kind = (unsigned)roll(c, 8);
    struct expect *e = expecting(u, EXPECT_SLOTS, 0);
    e->owner = (uint8_t)owner;
    if (kind < 3) {
        e->first = (uint8_t)roll(c, 4);
        e->count = 1;
        client_command(&c->client, 2, "GET", slot_key(key[0], owner, e->first));
    } else if (kind < 5) {
        e->count = 4;
        e->array = true;
        client_command(&c->client, 5, "MGET", slot_key(key[0], owner, 0), slot_key(key[1], owner, 1), slot_key(key[2], owner, 2),
                       slot_key(key[3], owner, 3));
    } else if (kind == 5) {
        e->first = SLOT_HASH;
        e->count = 2;
        e->array = true;
        client_command(&c->client, 4, "HMGET", slot_key(key[0], owner, SLOT_HASH), "f0", "f1");
    } else if (kind == 6) {
        e->kind = EXPECT_KEYS;
        snprintf(key[0], sizeof(key[0]), "o%u:*", owner);
        client_command(&c->client, 2, "KEYS", key[0]);
    } else {
        e->kind = EXPECT_GROUP;
        e->group = (uint8_t)roll(c, GROUPS);
        client_command(&c->client, 4, "MGET", group_key(key[0], e->group, 'n'), group_key(key[1], e->group, 'l'),
                       group_key(key[2], e->group, 'r'));
    }
}

NETSERVER void draw_group_write(struct netclient *c, struct unit *u)
{
    char key[24], tag[32];
    unsigned group = (unsigned)roll(c, GROUPS);
    size_t size = (size_t)snprintf(tag, sizeof(tag), "%u.%llu", c->number, (unsigned long long)++c->serial);
    u->group = (int8_t)group;
    u->tag = digest(tag, size);
    client_command(&c->client, 2, "INCR", group_key(key, group, 'n'));
    expecting(u, EXPECT_PLACE, 0)->group = (uint8_t)group;
    client_command(&c->client, 3, "SET", group_key(key, group, 'l'), tag);
    expecting(u, EXPECT_OK, 0);
    client_command(&c->client, 3, "SET", group_key(key, group, 'r'), tag);
    expecting(u, EXPECT_OK, 0);
}

NETSERVER void version_push(struct netclient *c)
{
    struct version *v = &c->versions[c->version_count++];
    for (unsigned i = 0; i < SLOTS; i++)
        v->slot[i] = c->now[i].there ? digest(c->now[i].data, c->now[i].size) : 0;
}

NETSERVER struct unit *draw_unit(struct netclient *c)
{
    struct unit *u = &c->units[c->unit_count++];
    *u = (struct unit){.group = -1};
    memcpy(c->before, c->now, sizeof(c->now));
    unsigned kind = (unsigned)roll(c, 20);
    u->multi = kind < 4;
    if (u->multi)
        client_command(&c->client, 1, "MULTI");
    if (kind < 2) {
        draw_group_write(c, u);
    } else if (kind < 4) {
        for (uint64_t n = 2 + roll(c, 3); n > 0; n--) {
            draw_write(c, u);
            u->wrote = true;
        }
        if (roll(c, 2))
            draw_read(c, u);
    } else if (kind < 11) {
        draw_write(c, u);
        u->wrote = true;
    } else {
        draw_read(c, u);
    }
    if (u->multi)
        client_command(&c->client, 1, "EXEC");
    if (u->wrote)
        version_push(c);
    u->version = (uint32_t)c->version_count - 1;
    return u;
}

/* --- replies -------------------------------------------------------------------------------- */

NETSERVER void note_error(struct unit *u, const struct token *t)
{
    size_t size = t->size < sizeof(u->error) - 1 ? t->size : sizeof(u->error) - 1;
    if (!u->error[0])
        memcpy(u->error, t->data, size);
}

NETSERVER bool take_keys(struct netclient *c, struct expect *e, int64_t count)
{
    struct token t;
    for (; count > 0; count--) {
        if (!client_token(&c->client, &t))
            return false;
        for (unsigned slot = 0; slot < SLOTS; slot++) {
            char key[24];
            slot_key(key, e->owner, slot);
            if (t.size == strlen(key) && memcmp(t.data, key, t.size) == 0)
                e->seen[slot] = 1;
        }
    }
    return true;
}

/* One command's reply. False: the connection ended. */
NETSERVER bool take_reply(struct netclient *c, struct unit *u, struct expect *e)
{
    struct token t;
    if (!client_token(&c->client, &t))
        return false;
    if (t.type == '-') {
        note_error(u, &t);
        return true;
    }
    char type = e->kind == EXPECT_OK ? '+' : e->kind == EXPECT_INT || e->kind == EXPECT_PLACE ? ':'
              : e->kind == EXPECT_SLOTS && !e->array ? '$' : '*';
    if (t.type != type) {
        wrongly(c, "a reply of another type", (uint64_t)t.type, (uint64_t)type);
        return false;
    }
    e->seen_number = t.number;
    if (e->kind == EXPECT_INT && t.number != e->number)
        wrongly(c, "a write answered otherwise than the model", (uint64_t)t.number, (uint64_t)e->number);
    if (e->kind == EXPECT_KEYS)
        return take_keys(c, e, t.number);
    unsigned count = e->kind == EXPECT_SLOTS ? e->count : e->kind == EXPECT_GROUP ? 3 : 0;
    for (unsigned i = 0; i < count; i++) {
        if (t.type == '*' || i > 0) {
            if (!client_token(&c->client, &t))
                return false;
        }
        char number[24] = "0";
        if (e->kind == EXPECT_GROUP && i == 0 && t.number > 0 && t.size < sizeof(number))
            memcpy(number, t.data, t.size);
        if (e->kind == EXPECT_GROUP && i == 0)
            e->seen_number = strtoll(number, NULL, 10);
        e->seen[i] = t.number < 0 ? 0 : digest(t.data, t.size);
        t.type = '$';
    }
    return true;
}

NETSERVER bool take_unit(struct netclient *c, struct unit *u)
{
    struct token t;
    for (unsigned i = 0; u->multi && i < u->count + 2u; i++) { /* OK, QUEUED ..., the array */
        if (!client_token(&c->client, &t))
            return false;
        if (t.type == '-')
            note_error(u, &t);
        else if ((t.type == '*') != (i == u->count + 1u))
            wrongly(c, "not the reply of a MULTI", (uint64_t)t.type, i);
    }
    for (unsigned i = 0; i < u->count && !u->error[0]; i++) {
        if (!take_reply(c, u, &u->expect[i]))
            return false;
        if (u->expect[i].kind == EXPECT_PLACE)
            u->place = (uint64_t)u->expect[i].seen_number;
    }
    u->answered = !atomic_load(&rec.cut);
    return true;
}

/* Draws a pipeline, sends it, takes the replies. False: the connection ended. */
NETSERVER bool netclient_step(struct netclient *c, unsigned units)
{
    size_t first = c->unit_count;
    for (unsigned i = 0; i < units; i++)
        draw_unit(c);
    if (!client_send(&c->client))
        return false;
    for (size_t i = first; i < c->unit_count; i++) {
        if (!take_unit(c, &c->units[i]))
            return false;
    }
    return true;
}

/* The unit last drawn was refused: it never was. */
NETSERVER void netclient_forget_last(struct netclient *c)
{
    if (c->units[c->unit_count - 1].wrote)
        c->version_count--;
    c->unit_count--;
    memcpy(c->now, c->before, sizeof(c->now));
}

/* --- life ------------------------------------------------------------------------------------- */

NETSERVER struct netmodel *netmodel_new(uint64_t seed)
{
    struct netmodel *m = calloc(1, sizeof(*m));
    hf_assert(m);
    for (unsigned i = 0; i < OWNERS; i++) {
        struct netclient *c = &m->clients[i];
        c->model = m;
        c->number = i;
        c->random = seed * 1000 + i;
        c->versions = calloc(UNITS_MAX + 1, sizeof(*c->versions));
        c->units = calloc(UNITS_MAX, sizeof(*c->units));
        hf_assert(c->versions && c->units);
        version_push(c);
    }
    return m;
}

NETSERVER void netmodel_free(struct netmodel *m)
{
    for (unsigned i = 0; i < OWNERS; i++) {
        free(m->clients[i].versions);
        free(m->clients[i].units);
    }
    free(m);
}

/* --- what the replies oblige to ------------------------------------------------------------------ */

struct needs { uint64_t version[OWNERS], number[GROUPS]; };

NETSERVER bool looks_like(const struct version *v, const struct expect *e)
{
    for (unsigned i = 0; i < e->count; i++) {
        if (v->slot[e->first + i] != e->seen[i])
            return false;
    }
    return true;
}

NETSERVER bool key_looks_like(const struct version *v, const struct expect *e, unsigned slot)
{
    bool there = v->slot[slot] || (slot == SLOT_HASH && v->slot[slot + 1]);
    return there == (e->seen[slot] != 0);
}

/* The first version of the owner, from `from` on, that a read may have seen; UINT64_MAX: none. */
NETSERVER uint64_t first_seen(const struct netclient *owner, const struct expect *e, uint64_t from)
{
    if (e->kind == EXPECT_SLOTS) {
        for (uint64_t v = from; v < owner->version_count; v++) {
            if (looks_like(&owner->versions[v], e))
                return v;
        }
        return UINT64_MAX;
    }
    uint64_t last = from; /* KEYS: each key at its own moment */
    for (unsigned slot = 0; slot <= SLOT_HASH; slot++) {
        uint64_t v = from;
        while (v < owner->version_count && !key_looks_like(&owner->versions[v], e, slot))
            v++;
        if (v == owner->version_count)
            return UINT64_MAX;
        last = v > last ? v : last;
    }
    return last;
}

NETSERVER bool complain(struct netmodel *m, unsigned client, size_t unit, const char *what, uint64_t a, uint64_t b)
{
    snprintf(m->detail, sizeof(m->detail), "client %u, unit %zu: %s (%llu, %llu)", client, unit, what, (unsigned long long)a,
             (unsigned long long)b);
    return false;
}

/* A group's number n goes with one tag, for everybody. */
NETSERVER bool group_agrees(struct netmodel *m, unsigned group, uint64_t number, uint64_t tag)
{
    if (number < m->group_number[group] || number - m->group_number[group] >= GROUP_MAX)
        return false;
    uint64_t *known = &m->group_tags[group][number - m->group_number[group]];
    if (*known == 0)
        *known = tag;
    return *known == tag;
}

/* Adds what the answered unit shows. */
NETSERVER bool unit_needs(struct netmodel *m, const struct netclient *c, size_t at, struct needs *n)
{
    const struct unit *u = &c->units[at];
    for (unsigned i = 0; i < u->count; i++) {
        const struct expect *e = &u->expect[i];
        if (e->kind == EXPECT_SLOTS || e->kind == EXPECT_KEYS) {
            uint64_t v = e->owner == c->number ? u->version : n->version[e->owner];
            v = first_seen(&m->clients[e->owner], e, v);
            if (v == UINT64_MAX || (e->owner == c->number && v != u->version))
                return complain(m, c->number, at, "a read that no order of the writes explains; owner, last version", e->owner,
                                n->version[e->owner]);
            n->version[e->owner] = v;
        } else if (e->kind == EXPECT_GROUP) {
            if (e->seen[1] != e->seen[2] || !group_agrees(m, e->group, (uint64_t)e->seen_number, e->seen[1]) ||
                (uint64_t)e->seen_number < n->number[e->group])
                return complain(m, c->number, at, "half a transaction, or an old one, was seen; group, number", e->group,
                                (uint64_t)e->seen_number);
            n->number[e->group] = (uint64_t)e->seen_number;
        } else if (e->kind == EXPECT_PLACE) {
            if (!group_agrees(m, e->group, u->place, u->tag) || u->place <= n->number[e->group])
                return complain(m, c->number, at, "two transactions got one number; group, number", e->group, u->place);
            n->number[e->group] = u->place;
        }
    }
    if (u->wrote)
        n->version[c->number] = u->version;
    return true;
}

/* What was found: the owners' versions (several may look alike) and the groups' numbers. */
struct found { uint64_t least[OWNERS], most[OWNERS], number[GROUPS], tag[GROUPS]; struct text texts[OWNERS][SLOTS]; };

NETSERVER bool satisfied(struct netmodel *m, const struct needs *n, const struct found *f, unsigned client, size_t unit,
                         const char *what)
{
    for (unsigned i = 0; i < OWNERS; i++) {
        if (n->version[i] > f->most[i]) {
            char text[128];
            snprintf(text, sizeof(text), "%s: of owner %u version %llu, there is", what, i, (unsigned long long)n->version[i]);
            return complain(m, client, unit, text, f->least[i], f->most[i]);
        }
    }
    for (unsigned i = 0; i < GROUPS; i++) {
        if (n->number[i] > f->number[i]) {
            char text[128];
            snprintf(text, sizeof(text), "%s: of group %u number, there is", what, i);
            return complain(m, client, unit, text, n->number[i], f->number[i]);
        }
    }
    return true;
}

NETSERVER bool unit_survived(const struct unit *u, const struct found *f, unsigned client)
{
    if (u->group >= 0)
        return u->place ? u->place <= f->number[u->group] : u->tag == f->tag[u->group];
    return u->wrote && u->version <= f->least[client];
}

NETSERVER bool client_is_kept(struct netmodel *m, const struct netclient *c, const struct found *f, bool lossy)
{
    struct needs n = {0};
    memcpy(n.number, m->group_number, sizeof(n.number));
    for (size_t i = 0; i < c->unit_count; i++) {
        const struct unit *u = &c->units[i];
        if (u->answered && !unit_needs(m, c, i, &n))
            return false;
        if (!u->answered && u->wrote && unit_survived(u, f, c->number))
            n.version[c->number] = u->version;
        if (lossy ? unit_survived(u, f, c->number) && !satisfied(m, &n, f, c->number, i, "a write survived what it had seen")
                  : u->answered && !satisfied(m, &n, f, c->number, i, "a reply showed what the cut took back"))
            return false;
    }
    return true;
}

/* --- reading it back ------------------------------------------------------------------------------ */

NETSERVER bool take_text(struct client *c, struct text *out)
{
    struct token t;
    if (!client_token(c, &t) || t.type != '$' || t.number > TEXT_MAX)
        return false;
    out->there = t.number >= 0;
    out->size = t.size;
    if (out->there)
        memcpy(out->data, t.data, t.size);
    return true;
}

NETSERVER bool netmodel_read(struct netserver *s, struct found *f)
{
    static struct text parts[3];
    struct client c;
    char key[24];
    bool good = true;
    client_open(&c, s->port);
    for (unsigned o = 0; o < OWNERS; o++) {
        for (unsigned i = 0; i < SLOTS; i++) {
            if (i < SLOT_HASH)
                client_command(&c, 2, "GET", slot_key(key, o, i));
            else
                client_command(&c, 3, "HGET", slot_key(key, o, i), i > SLOT_HASH ? "f1" : "f0");
        }
    }
    for (unsigned g = 0; g < GROUPS; g++) {
        for (const char *part = "nlr"; *part; part++)
            client_command(&c, 2, "GET", group_key(key, g, *part));
    }
    good = client_send(&c);
    for (unsigned i = 0; i < OWNERS * SLOTS && good; i++)
        good = take_text(&c, &f->texts[i / SLOTS][i % SLOTS]);
    for (unsigned g = 0; g < GROUPS && good; g++) {
        for (int i = 0; i < 3; i++)
            good = good && take_text(&c, &parts[i]);
        parts[0].data[parts[0].there ? parts[0].size : 0] = 0;
        f->number[g] = strtoull(parts[0].data, NULL, 10);
        f->tag[g] = parts[1].there ? digest(parts[1].data, parts[1].size) : 0;
        uint64_t right = parts[2].there ? digest(parts[2].data, parts[2].size) : 0;
        if (f->tag[g] != right || parts[0].there != parts[1].there)
            f->number[g] = UINT64_MAX; /* half a transaction */
    }
    client_close(&c);
    return good;
}

/* Which of the owner's versions is it? */
NETSERVER bool find_version(struct netmodel *m, unsigned owner, struct found *f)
{
    struct expect e = {.count = SLOTS};
    const struct netclient *c = &m->clients[owner];
    bool any = false;
    for (unsigned i = 0; i < SLOTS; i++)
        e.seen[i] = f->texts[owner][i].there ? digest(f->texts[owner][i].data, f->texts[owner][i].size) : 0;
    for (uint64_t v = 0; v < c->version_count; v++) {
        if (!looks_like(&c->versions[v], &e))
            continue;
        f->least[owner] = any ? f->least[owner] : v;
        f->most[owner] = v;
        any = true;
    }
    return any || complain(m, owner, 0, "the owner's keys are none of its versions: half a transaction; last version",
                           c->version_count - 1, 0);
}

/* The open server against all replies. adopt: go on from what it holds. False: detail says why. */
NETSERVER bool netmodel_check(struct netmodel *m, struct netserver *s, bool lossy, bool adopt)
{
    static struct found f;
    memset(&f, 0, sizeof(f));
    if (!netmodel_read(s, &f))
        return complain(m, 0, 0, "the reopened server does not answer", 0, 0);
    for (unsigned g = 0; g < GROUPS; g++) {
        if (f.number[g] == UINT64_MAX)
            return complain(m, 0, 0, "half a transaction; group", g, 0);
    }
    for (unsigned i = 0; i < OWNERS; i++) {
        if (!find_version(m, i, &f))
            return false;
    }
    for (unsigned i = 0; i < OWNERS; i++) {
        if (!client_is_kept(m, &m->clients[i], &f, lossy))
            return false;
    }
    for (unsigned g = 0; g < GROUPS; g++) { /* the tag that it must have, if anybody knows */
        if (f.number[g] < m->group_number[g] || (f.number[g] && !group_agrees(m, g, f.number[g], f.tag[g])))
            return complain(m, 0, 0, "the group holds another transaction's values; group, number", g, f.number[g]);
    }
    for (unsigned i = 0; i < OWNERS && adopt; i++) {
        struct netclient *c = &m->clients[i];
        memcpy(c->now, f.texts[i], sizeof(c->now));
        c->unit_count = c->version_count = 0;
        version_push(c);
    }
    if (adopt) {
        memcpy(m->group_number, f.number, sizeof(f.number));
        memset(m->group_tags, 0, sizeof(m->group_tags));
    }
    return true;
}

#endif
