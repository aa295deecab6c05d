/* command.c -- the table of all commands, and from words to a row.
 *
 * The rows come from the .def files: top-level commands in one array, the
 * subcommands of each container in their own. Once at start every row gets its
 * full name and its statistics; after that the table never changes, so any thread
 * reads it without a lock.
 *
 * Lookup: names of top-level commands are letters, '_' and '-', at most 24 of them (asserted
 * at start). For letters, case folding is "set bit 5", and only letters fold to letters;
 * so a name becomes three 64-bit words by loads and an OR, and the comparison of the words is
 * exact, but for '_' and '-', which are compared once more. The words hash into an open-addressed table.
 */
#include "cmd/command.h"

#include "base/memory.h"
#include "base/number.h"
#include "cmd/acl.h"
#include "cmd/args.h"
#include "cmd/feed.h"
#include "cmd/handlers.h"
#include "engine/engine.h"

#include <stdio.h>

const struct host *host;

#define COMMAND(word, function, ...) {.name = (word), .handler = (function), __VA_ARGS__},
#define CONTAINER(word, ...)         {.name = (word), __VA_ARGS__},
#define END_OF_ROWS                                                                                          \
    {                                                                                                        \
        .name = NULL                                                                                         \
    }

static struct command client_rows[] = {
#include "cmd/client.def"
    END_OF_ROWS};
static struct command acl_rows[] = {
#include "cmd/acl.def"
    END_OF_ROWS};
static struct command config_rows[] = {
#include "cmd/config.def"
    END_OF_ROWS};
static struct command command_rows[] = {
#include "cmd/introspect.def"
    END_OF_ROWS};
static struct command object_rows[] = {
#include "cmd/object.def"
    END_OF_ROWS};
static struct command pubsub_rows[] = {
#include "cmd/pubsub.def"
    END_OF_ROWS};
static struct command script_rows[] = {
#include "cmd/script.def"
    END_OF_ROWS};
static struct command function_rows[] = {
#include "cmd/function.def"
    END_OF_ROWS};
static struct command cluster_rows[] = {
#include "cmd/cluster.def"
    END_OF_ROWS};
static struct command slowlog_rows[] = {
#include "cmd/slowlog.def"
    END_OF_ROWS};
static struct command latency_rows[] = {
#include "cmd/latency.def"
    END_OF_ROWS};
static struct command xgroup_rows[] = {
#include "cmd/xgroup.def"
    END_OF_ROWS};
static struct command xinfo_rows[] = {
#include "cmd/xinfo.def"
    END_OF_ROWS};
static struct command memory_rows[] = {
#include "cmd/memory.def"
    END_OF_ROWS};
static struct command module_rows[] = {
#include "cmd/module.def"
    END_OF_ROWS};
static struct command debug_rows[] = {
#include "cmd/debug.def"
    END_OF_ROWS};

static struct command rows[] = {
#include "cmd/bitmap.def"
#include "cmd/connection.def"
#include "cmd/geo.def"
#include "cmd/hash.def"
#include "cmd/hyperloglog.def"
#include "cmd/keys.def"
#include "cmd/list.def"
#include "cmd/publish.def"
#include "cmd/scripting.def"
#include "cmd/server.def"
#include "cmd/set.def"
#include "cmd/stream.def"
#include "cmd/string.def"
#include "cmd/transaction.def"
#include "cmd/zset.def"
};

#define ROW_COUNT       (sizeof(rows) / sizeof(rows[0]))
#define SLOT_COUNT_LOG2 9
#define NAME_SLOTS      (1u << SLOT_COUNT_LOG2)
_Static_assert(ROW_COUNT * 2 <= NAME_SLOTS, "the name table stays at most half full");

#define NAME_MAX_SIZE 24u

struct folded {
    uint64_t low, middle, high;
};

static struct name_slot {
    struct folded name;
    size_t size;
    bool compare; /* has a '_' or '-' */
    const struct command *row;
} slots[NAME_SLOTS];

/* 1 to 24 bytes. Loads that may overlap: together with the size they hold every byte. */
static inline struct folded fold(bytes name)
{
    struct folded f = {0, 0, 0};
    if (name.size >= 8) {
        if (HF_UNLIKELY(name.size > 16)) {
            memcpy(&f.middle, name.data + 8, 8);
            f.middle |= UINT64_C(0x2020202020202020);
        }
        memcpy(&f.low, name.data, 8);
        memcpy(&f.high, name.data + name.size - 8, 8);
    } else if (name.size >= 4) {
        memcpy(&f.low, name.data, 4);
        memcpy(&f.high, name.data + name.size - 4, 4);
    } else {
        f.low = name.data[0];
        f.high = (uint64_t)name.data[name.size / 2] | (uint64_t)name.data[name.size - 1] << 8;
    }
    f.low |= UINT64_C(0x2020202020202020);
    f.high |= UINT64_C(0x2020202020202020);
    return f;
}

static inline size_t slot_of(struct folded f, size_t size)
{
    uint64_t mixed = (f.low ^ f.middle ^ (f.high + size) * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xd6e8feb86659fd93);
    return (size_t)(mixed >> (64 - SLOT_COUNT_LOG2));
}

const struct command *command_find(bytes name)
{
    if (name.size == 0 || name.size > NAME_MAX_SIZE)
        return NULL;
    struct folded f = fold(name);
    for (size_t i = slot_of(f, name.size);; i = (i + 1) & (NAME_SLOTS - 1)) {
        const struct name_slot *slot = &slots[i];
        if (!slot->row)
            return NULL;
        if (slot->name.low == f.low && slot->name.high == f.high && slot->size == name.size && slot->name.middle == f.middle &&
            (HF_LIKELY(!slot->compare) || bytes_is_word(name, slot->row->name)))
            return slot->row;
    }
}

/* "config|get" of CONFIG and GET; lives as long as the process. */
static const char *full_name_new(const char *parent, const char *name)
{
    size_t size = strlen(name) + (parent ? strlen(parent) + 1 : 0) + 1;
    char *full = mem_alloc(size);
    snprintf(full, size, "%s%s%s", parent ? parent : "", parent ? "|" : "", name);
    for (char *p = full; *p; p++) {
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 32);
    }
    return full;
}

uint16_t command_id_new(void)
{
    static uint16_t next_id;
    hf_assert(next_id < COMMAND_IDS_MAX);
    return next_id++;
}

static void complete_row(struct command *row, const char *parent)
{
    row->id = command_id_new();
    row->full_name = full_name_new(parent, row->name);
    row->stats = mem_zalloc(sizeof(*row->stats));
}

static void complete_sub(struct command *sub, const struct command *container)
{
    if (!(container->flags & CMD_WORDS)) {
        complete_row(sub, container->name);
        return;
    }
    sub->id = container->id;
    sub->full_name = container->full_name;
    sub->stats = container->stats;
}

static void place_name(const struct command *row)
{
    bytes name = bytes_str(row->name);
    hf_assert(name.size > 0 && name.size <= NAME_MAX_SIZE);
    for (size_t i = 0; i < name.size; i++)
        hf_assert((name.data[i] >= 'A' && name.data[i] <= 'Z') || name.data[i] == '_' || name.data[i] == '-');
    hf_assert(!command_find(name));
    struct folded f = fold(name);
    size_t i = slot_of(f, name.size);
    while (slots[i].row)
        i = (i + 1) & (NAME_SLOTS - 1);
    slots[i] = (struct name_slot){f, name.size, strpbrk(row->name, "_-") != NULL, row};
}

void command_table_init(void)
{
    if (rows[0].full_name)
        return;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        complete_row(&rows[i], NULL);
        place_name(&rows[i]);
        for (struct command *sub = (struct command *)rows[i].subcommands; sub && sub->name; sub++)
            complete_sub(sub, &rows[i]);
    }
    acl_init();
}

size_t command_count(void)
{
    return ROW_COUNT;
}

const struct command *command_at(size_t index)
{
    hf_assert(index < ROW_COUNT);
    return &rows[index];
}

bool command_next(struct command_walk *w)
{
    const struct command *next = !w->row ? NULL : w->row == w->top ? command_subs(w->top) : w->row + 1;
    if (!next || !next->name) {
        if (w->index == ROW_COUNT)
            return false;
        next = w->top = &rows[w->index++];
    }
    w->row = next;
    return true;
}

static void stats_zero(struct command_stats *s)
{
    if (!s)
        return;
    atomic_store(&s->failed, 0);
    atomic_store(&s->rejected, 0);
}

void command_stats_reset(void)
{
    for (struct command_walk w = {0}; command_next(&w);)
        stats_zero(w.row->stats);
}

const struct command *command_find_sub(const struct command *container, bytes name)
{
    for (const struct command *sub = container->subcommands; sub && sub->name; sub++) {
        if (bytes_is_word(name, sub->name))
            return sub;
    }
    return NULL;
}

const struct command *command_find_full(bytes name)
{
    const uint8_t *bar = name.size ? memchr(name.data, '|', name.size) : NULL;
    if (!bar)
        return command_find(name);
    size_t parent_size = (size_t)(bar - name.data);
    const struct command *container = command_find(bytes_of(name.data, parent_size));
    return container && command_subs(container) ? command_find_sub(container, bytes_of(bar + 1, name.size - parent_size - 1)) : NULL;
}

bool command_arity_fits(const struct command *row, size_t argc)
{
    return row->arity > 0 ? argc == (size_t)row->arity : argc >= (size_t)-row->arity;
}

/* Names the unknown word and the beginning of its arguments, 128 bytes of each. */
static void reply_unknown(const bytes *argv, size_t argc, struct reply *r)
{
    char line[512];
    size_t arguments = 0;
    size_t size = (size_t)snprintf(
        line, sizeof(line), "unknown command '" WORD_FORMAT "', with args beginning with: ", WORD(argv[0]));
    for (size_t i = 1; i < argc && arguments < 128; i++) {
        size_t room = 128 - arguments;
        int shown = snprintf(line + size, sizeof(line) - size, "'%.*s' ",
                             (int)(argv[i].size < room ? argv[i].size : room), (const char *)argv[i].data);
        size += (size_t)shown;
        arguments += (size_t)shown;
    }
    reply_errorf(r, "ERR %s", line);
}

const struct command *command_resolve(const bytes *argv, size_t argc, struct reply *r)
{
    const struct command *row = command_find(argv[0]);
    if (HF_UNLIKELY(!row)) {
        reply_unknown(argv, argc, r);
        return NULL;
    }
    if (HF_UNLIKELY(row->subcommands != NULL) && argc > 1) {
        const struct command *sub = command_find_sub(row, argv[1]);
        if (row->flags & CMD_WORDS && (!sub || !command_arity_fits(sub, argc)))
            return row; /* its own handler says so, to those who may ask */
        if (!sub) {
            reply_errorf(r, "ERR unknown subcommand '" WORD_FORMAT "'. Try %s HELP.", WORD(argv[1]),
                         row->name);
            return NULL;
        }
        row = sub;
    }
    if (HF_LIKELY(command_arity_fits(row, argc)))
        return row;
    reply_errorf(r, "ERR wrong number of arguments for '%s' command", row->full_name);
    return NULL;
}

/* Reads the word that counts keys. False: the command has no keys it could be run with. */
static bool take_key_count(const struct command *row, const bytes *argv, size_t argc, size_t *count)
{
    size_t at = (size_t)row->keys.counted;
    int64_t value, least = row->flags & CMD_KEYS_OPTIONAL ? 0 : 1;
    if (at >= argc || !number_parse_int(argv[at], &value) || value < least || (uint64_t)value > argc - at - 1)
        return false;
    *count = (size_t)value;
    return true;
}

static bool is_one_of(bytes word, const char *list)
{
    char one[32];
    for (size_t size; *list; list += size + (list[size] == ' ')) {
        size = strcspn(list, " ");
        snprintf(one, sizeof(one), "%.*s", (int)size, list);
        if (bytes_is_word(word, one))
            return true;
    }
    return false;
}

/* Where the list of XREAD's and XREADGROUP's streams begins; argc: nowhere. Values of options are not looked at. */
static size_t list_at(const struct key_range *range, const bytes *argv, size_t argc)
{
    static const struct { const char *word; size_t values; } options[] = {{"BLOCK", 1}, {"COUNT", 1}, {"GROUP", 2}, {"NOACK", 0}};
    for (size_t i = 1; i < argc; i++) {
        size_t n = 0, most = sizeof(options) / sizeof(options[0]);
        if (bytes_is_word(argv[i], range->behind))
            return i + 1;
        while (n < most && !bytes_is_word(argv[i], options[n].word))
            n++;
        if (n == most)
            return argc;
        i += options[n].values;
    }
    return argc;
}

/* Where the word stands that takes the place of the first key; argc: nowhere. Values of options are not looked at. */
static size_t rest_at(const struct key_range *range, const bytes *argv, size_t argc)
{
    for (size_t i = (size_t)range->first + 3; i < argc; i++) {
        if (bytes_is_word(argv[i], range->behind))
            return i;
        i += bytes_is_word(argv[i], "AUTH") ? 1 : bytes_is_word(argv[i], "AUTH2") ? 2 : 0;
    }
    return argc;
}

static size_t positions_of_rest(const struct key_range *range, const bytes *argv, size_t argc, uint32_t *positions)
{
    size_t first = rest_at(range, argv, argc) + 1, count = 0;
    if (first < argc && argv[range->first].size)
        return 0; /* the handler words the error */
    for (size_t i = first; i < argc; i++)
        positions[count++] = (uint32_t)i;
    if (!count)
        positions[count++] = (uint32_t)range->first;
    return count;
}

/* Of SORT's options. */
static size_t values_of(bytes option)
{
    return bytes_is_word(option, "LIMIT") ? 2 : bytes_is_word(option, "BY") || bytes_is_word(option, "GET");
}

/* Positions of the keys behind words; only_last: what COMMAND GETKEYS says of one word that is given twice. Locks are for all. */
static size_t positions_behind(const struct key_range *range, const bytes *argv, size_t argc, bool only_last, uint32_t *positions)
{
    size_t count = 0;
    if (range->half) {
        size_t first = list_at(range, argv, argc), words = argc - first;
        for (size_t n = 0; words % 2 == 0 && n < words / 2; n++)
            positions[count++] = (uint32_t)(first + n);
        return count;
    }
    for (size_t i = (size_t)range->from; i + 1 < argc; i++) {
        if (!is_one_of(argv[i], range->behind)) {
            i += only_last ? values_of(argv[i]) : 0;
            continue;
        }
        count = only_last ? 0 : count;
        positions[count++] = (uint32_t)i + 1; /* and on: it may have been the value of another option */
    }
    return count;
}

static size_t positions_of(const struct command *row, const bytes *argv, size_t argc, bool only_last, uint32_t *positions)
{
    const struct key_range *range = &row->keys;
    size_t count = 0, counted = 0;
    if (range->counted && !take_key_count(row, argv, argc, &counted))
        return 0;
    if (HF_UNLIKELY(range->rest))
        return positions_of_rest(range, argv, argc, positions);
    size_t last = range->last < 0 ? argc - (size_t)-range->last : (size_t)range->last;
    for (size_t i = (size_t)range->first; range->first && i <= last && i < argc; i += (size_t)range->step)
        positions[count++] = (uint32_t)i;
    for (size_t i = 1; i <= counted; i++)
        positions[count++] = (uint32_t)((size_t)range->counted + i);
    if (HF_UNLIKELY(range->behind != NULL))
        count += positions_behind(range, argv, argc, only_last, positions + count);
    return count;
}

size_t command_key_positions(const struct command *row, const bytes *argv, size_t argc, uint32_t *positions)
{
    return positions_of(row, argv, argc, row->keys.behind && !strchr(row->keys.behind, ' '), positions);
}

size_t command_locked_positions(const struct command *row, const bytes *argv, size_t argc, uint32_t *positions)
{
    return positions_of(row, argv, argc, false, positions);
}

bytes command_key_use(const struct command *row, const bytes *argv, size_t argc, size_t n)
{
    if (row->key_use_of)
        return bytes_str(row->key_use_of(argv, argc));
    if (!row->key_use)
        return row->flags & CMD_WRITE ? BYTES("RW access update") : BYTES("RO access");
    const char *text = row->key_use, *next;
    for (; n > 0 && (next = strchr(text, ';')); n--)
        text = next + 1;
    return bytes_of(text, strcspn(text, ";"));
}

unsigned key_use_rights(bytes use)
{
    static const struct { const char *word; unsigned right; } rights[] = {
        {"access", KEY_READ}, {"update", KEY_WRITE}, {"insert", KEY_WRITE}, {"delete", KEY_WRITE}};
    unsigned result = 0;
    char text[64];
    hf_assert(use.size < sizeof(text));
    snprintf(text, sizeof(text), "%.*s", (int)use.size, (const char *)use.data);
    for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++)
        result |= strstr(text, rights[i].word) ? rights[i].right : 0;
    return result;
}

/* The database that COPY's DB option or MOVE's word names; db when there is none. */
static uint32_t other_db(const struct engine *engine, uint32_t db, const struct command *row,
                         const bytes *argv, size_t argc)
{
    uint64_t other;
    size_t at = 0;
    if (row->handler == cmd_move) {
        at = 2;
    } else {
        for (size_t i = 3; i < argc; i++) {
            if (bytes_is_word(argv[i], "DB") && i + 1 < argc)
                at = ++i;
        }
    }
    if (at && number_parse_uint(argv[at], &other) && other < engine_databases(engine))
        return (uint32_t)other;
    return db;
}

size_t command_keys(const struct engine *engine, uint32_t db, const struct command *row, const bytes *argv,
                    size_t argc, struct key *keys)
{
    uint32_t few[64], *positions = few;
    if (row->flags & CMD_OTHER_DB) {
        size_t second = row->handler == cmd_move ? 1 : 2;
        txn_locate(engine, db, argv[1], &keys[0]);
        txn_locate(engine, other_db(engine, db, row, argv, argc), argv[second], &keys[1]);
        return 2;
    }
    if (argc > sizeof(few) / sizeof(few[0]))
        positions = mem_alloc(argc * sizeof(*positions));
    size_t count = positions_of(row, argv, argc, false, positions);
    for (size_t i = 0; i < count; i++)
        txn_locate(engine, db, argv[positions[i]], &keys[i]);
    if (positions != few)
        mem_free(positions);
    return count;
}

const struct key *call_key_named(const struct call *c, bytes name)
{
    for (size_t i = 0; i < c->key_count; i++) {
        if (bytes_equal(c->keys[i].name, name))
            return &c->keys[i];
    }
    hf_assert(!"the row says behind which words its keys stand");
    return NULL;
}
