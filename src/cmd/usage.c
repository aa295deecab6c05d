/* usage.c -- a recursive reader of the grammar in usage.h.
 *
 * One function per kind of piece; each takes what it knows and leaves `at` behind it. Depth is that of the rows' own
 * texts, which no client writes.
 */
#include "cmd/usage.h"

#include "base/number.h"

#include <string.h>

static const struct {
    const char *name, *arguments; /* the type, and what is usually of it */
} types[USAGE_TYPES] = {
    [USAGE_STRING] = {"string", NULL},
    [USAGE_INTEGER] = {"integer",
                       " bit bits client-id cluster_bus_port config-epoch count cursor db decrement destination-db end end-slot "
                       "entries_added entries_read frequency increment index index1 index2 len limit maxage milliseconds ms "
                       "num-matches numfields numids numkeys numlocal numreplicas offset port protover rank seconds slot "
                       "start start-slot stop ttl version weight "},
    [USAGE_DOUBLE] = {"double", " height latitude longitude radius score timeout width "},
    [USAGE_KEY] = {"key", " destination destkey dst key key1 key2 newkey source sourcekey src "},
    [USAGE_PATTERN] = {"pattern", " pattern "},
    [USAGE_UNIX_TIME] = {"unix-time", " unix-time-milliseconds unix-time-seconds "},
    [USAGE_TOKEN] = {"pure-token", NULL},
    [USAGE_ONE_OF] = {"oneof", NULL},
    [USAGE_BLOCK] = {"block", NULL},
};

const char *usage_type_name(enum usage_type type) { return types[type].name; }

struct reader {
    const char *at;
    struct arena *arena;
    int keys; /* arguments of type key so far */
    bool bad;
};

/* Pieces in a row. `repeats`: "..." ended it. */
struct row {
    struct usage *first, *last;
    size_t count;
    bool repeats;
};

static struct row read_row(struct reader *r);

static struct usage *piece_new(struct reader *r, enum usage_type type, bytes name)
{
    struct usage *u = arena_alloc(r->arena, sizeof(*u));
    *u = (struct usage){.name = name, .type = type, .key_spec = type == USAGE_KEY ? r->keys++ : -1};
    return u;
}

static void row_add(struct row *row, struct usage *piece)
{
    if (row->last)
        row->last->next = piece;
    else
        row->first = piece;
    row->last = piece;
    row->count++;
}

static void skip_spaces(struct reader *r) { r->at += strspn(r->at, " "); }

static bool take(struct reader *r, char c)
{
    bool is = *r->at == c;
    r->at += is;
    return is;
}

static void expect(struct reader *r, char c) { r->bad |= !take(r, c); }

static size_t word_size(const char *at) { return strcspn(at, " []<>(){}|"); }

static bool is_token(bytes word)
{
    for (size_t i = 0; i < word.size; i++) {
        if (word.data[i] >= 'a' && word.data[i] <= 'z')
            return false;
    }
    return word.size > 0;
}

/* ---- names, types and notes ---- */

static bytes name_in_lower_case(struct reader *r, bytes token)
{
    char *name = arena_alloc(r->arena, token.size + 1);
    for (size_t i = 0; i < token.size; i++)
        name[i] = (char)(token.data[i] | (token.data[i] >= 'A' && token.data[i] <= 'Z' ? 32 : 0));
    return bytes_of(name, token.size);
}

static bytes name_of_parts(struct reader *r, const struct usage *parts)
{
    size_t size = 0;
    for (const struct usage *p = parts; p; p = p->next)
        size += p->name.size + 1;
    char *name = arena_alloc(r->arena, size + 1), *end = name;
    for (const struct usage *p = parts; p; p = p->next) {
        if (p != parts)
            *end++ = '_';
        memcpy(end, p->name.data, p->name.size);
        end += p->name.size;
    }
    return bytes_of(name, (size_t)(end - name));
}

static bool lists(const char *words, bytes word)
{
    for (; words && *words; words += strcspn(words, " ")) {
        words += strspn(words, " ");
        if (strcspn(words, " ") == word.size && memcmp(words, word.data, word.size) == 0 && word.size)
            return true;
    }
    return false;
}

static enum usage_type usual_type(bytes name)
{
    for (enum usage_type type = 0; type < USAGE_TYPES; type++) {
        if (lists(types[type].arguments, name))
            return type;
    }
    return USAGE_STRING;
}

static void set_type(struct reader *r, struct usage *piece, bytes name)
{
    enum usage_type type = 0;
    while (type < USAGE_TYPES && !bytes_equal(name, bytes_str(types[type].name)))
        type++;
    r->bad |= type == USAGE_TYPES || piece->type > USAGE_UNIX_TIME;
    if (piece->type == USAGE_KEY) { /* it took a number that is not its own */
        r->keys--;
        piece->key_spec = -1;
    }
    piece->type = type;
    if (type == USAGE_KEY)
        piece->key_spec = r->keys++;
}

static void set_key_spec(struct reader *r, struct usage *piece, bytes digits)
{
    int64_t number = -1;
    r->bad |= !number_parse_int(digits, &number) || number < 0 || number > 9;
    piece->key_spec = (int)number;
}

static void note(struct reader *r, struct usage *piece, bytes word)
{
    bytes rest = bytes_of(word.data + 1, word.size - 1);
    switch (word.data[0]) {
    case '@': piece->since = rest; break;
    case '-': piece->deprecated_since = rest; break;
    case '#': set_key_spec(r, piece, rest); break;
    case ':': set_type(r, piece, rest); break;
    default: piece->name = word;
    }
}

static void read_notes(struct reader *r, struct usage *piece)
{
    if (!take(r, '{'))
        return;
    for (skip_spaces(r); word_size(r->at); skip_spaces(r)) {
        size_t size = word_size(r->at);
        note(r, piece, bytes_of(r->at, size));
        r->at += size;
    }
    expect(r, '}');
}

/* ---- pieces ---- */

static struct usage *group_new(struct reader *r, enum usage_type type, struct usage *parts)
{
    struct usage *group = piece_new(r, type, name_of_parts(r, parts));
    group->parts = parts;
    return group;
}

static void repeat(struct usage *piece)
{
    piece->multiple = true;
    piece->multiple_token = piece->token.data && piece->type != USAGE_TOKEN;
}

/* A row as one piece. */
static struct usage *joined(struct reader *r, const struct row *row)
{
    if (row->count == 0) {
        r->bad = true;
        return piece_new(r, USAGE_BLOCK, BYTES(""));
    }
    if (row->repeats)
        repeat(row->last);
    return row->count == 1 ? row->first : group_new(r, USAGE_BLOCK, row->first);
}

/* What follows the first row behind '<' or '[': further ones make it a choice. */
static struct usage *read_choice(struct reader *r, const struct row *first)
{
    struct row choices = {0};
    row_add(&choices, joined(r, first));
    while (take(r, '|')) {
        struct row row = read_row(r);
        row_add(&choices, joined(r, &row));
    }
    return choices.count == 1 ? choices.first : group_new(r, USAGE_ONE_OF, choices.first);
}

static struct usage *read_word(struct reader *r)
{
    bytes word = bytes_of(r->at, word_size(r->at));
    r->at += word.size;
    if (!is_token(word))
        return piece_new(r, usual_type(word), word);
    struct usage *token = piece_new(r, USAGE_TOKEN, name_in_lower_case(r, word));
    token->token = bytes_equal(word, BYTES("\"\"")) ? bytes_of(word.data, 0) : word;
    return token;
}

static struct usage *read_piece(struct reader *r)
{
    struct usage *piece;
    if (take(r, '<')) {
        struct row row = read_row(r);
        piece = read_choice(r, &row);
        expect(r, '>');
    } else if (take(r, '(')) {
        struct row row = read_row(r);
        r->bad |= row.count == 0;
        if (row.repeats)
            repeat(row.last);
        piece = group_new(r, USAGE_BLOCK, row.first);
        expect(r, ')');
    } else {
        piece = read_word(r);
    }
    read_notes(r, piece);
    return piece;
}

/* A token takes the argument or group behind it, unless something was noted about it alone. */
static bool takes_next(const struct reader *r, const struct usage *piece)
{
    if (piece->type != USAGE_TOKEN || r->at[0] != ' ' || r->at[-1] == '}')
        return false;
    const char *next = r->at + 1;
    size_t size = word_size(next);
    return *next == '<' || *next == '(' || (size && *next != '.' && !is_token(bytes_of(next, size)));
}

static struct usage *read_piece_with_token(struct reader *r)
{
    struct usage *piece = read_piece(r);
    if (!takes_next(r, piece))
        return piece;
    skip_spaces(r);
    struct usage *taker = read_piece(r);
    taker->token = piece->token;
    return taker;
}

/* ---- brackets ---- */

static bool same(const struct usage *a, const struct usage *b);

static bool same_parts(const struct usage *a, const struct usage *b)
{
    while (a && b && same(a, b)) {
        a = a->next;
        b = b->next;
    }
    return !a && !b;
}

/* What repeats need not note what was noted before. */
static bool same(const struct usage *a, const struct usage *b)
{
    return a->parts ? same_parts(a->parts, b->parts) : !b->parts && bytes_equal(a->name, b->name);
}

static bool same_token(const struct usage *a, const struct usage *b)
{
    return a->token.data ? b->token.data && bytes_equal(a->token, b->token) : !b->token.data;
}

/* "X [X ...]": the brackets repeat the end of the row before them. */
static bool repeat_end(struct reader *r, struct row *row, const struct row *inner)
{
    if (!inner->repeats || inner->count == 0 || inner->count > row->count)
        return false;
    struct usage **end = &row->first;
    for (size_t i = 0; i < row->count - inner->count; i++)
        end = &(*end)->next;
    if (!same_parts(*end, inner->first) || (inner->first->token.data && !same_token(*end, inner->first)))
        return false;
    if (inner->count > 1) {
        *end = group_new(r, USAGE_BLOCK, *end);
        row->last = *end;
        row->count -= inner->count - 1;
    }
    row->last->multiple = true;
    row->last->multiple_token = inner->count == 1 && inner->first->token.data != NULL;
    return true;
}

static void read_brackets(struct reader *r, struct row *row)
{
    int keys = r->keys;
    struct row inner = read_row(r);
    if (*r->at == ']' && repeat_end(r, row, &inner)) {
        r->keys = keys;
        expect(r, ']');
        read_notes(r, row->last);
        return;
    }
    struct usage *piece = read_choice(r, &inner);
    piece->optional = true;
    expect(r, ']');
    read_notes(r, piece);
    row_add(row, piece);
}

/* Up to what closes it. */
static struct row read_row(struct reader *r)
{
    struct row row = {0};
    for (skip_spaces(r); *r->at && !strchr("|])>", *r->at) && !r->bad; skip_spaces(r)) {
        if (row.repeats) { /* "..." within the row: of the piece before it */
            repeat(row.last);
            row.repeats = false;
        }
        if (strncmp(r->at, "...", 3) == 0) {
            r->bad |= row.count == 0;
            row.repeats = row.count > 0;
            r->at += 3;
        } else if (take(r, '[')) {
            read_brackets(r, &row);
        } else if (word_size(r->at) || *r->at == '<' || *r->at == '(') {
            row_add(&row, read_piece_with_token(r));
        } else {
            r->bad = true;
        }
    }
    return row;
}

bool usage_read(const char *text, struct arena *arena, struct usage **first)
{
    struct reader r = {.at = text, .arena = arena};
    struct row row = read_row(&r);
    if (r.bad || *r.at)
        return false;
    if (row.repeats)
        repeat(row.last);
    *first = row.first;
    return true;
}

void usage_show(const char *text, struct buf *out)
{
    for (; *text; text++) {
        if (*text == '{')
            text += strcspn(text, "}");
        else if (*text != '(' && *text != ')')
            buf_append_u8(out, (uint8_t)*text);
    }
}
