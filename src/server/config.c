/* config.c -- the table of values, and the checks that every source shares.
 *
 * A value is a number, a text, or both: numbers are atomics that any thread reads; texts
 * are owned strings under one lock. CONFIG SET checks all pairs first, then listens where it is to
 * listen, and stores last, so it does all or nothing.
 */
#include "server/config_private.h"

#include "base/glob.h"
#include "base/memory.h"
#include "base/number.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

const struct setting_row setting_rows[SETTING_COUNT] = {
#define SETTING(id, name, kind, initial, min, max, flags, words, help) \
    [SETTING_##id] = {name, kind, initial, min, max, flags, words, help},
#include "server/config.def"
#undef SETTING
};

struct value {
    _Atomic int64_t number; /* TEXT and LIST: the length */
    char *text;             /* TEXT and LIST; else NULL */
    enum setting_source source;
    bool in_file;
    char *initial; /* as CONFIG GET words it */
};

static struct value values[SETTING_COUNT];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t set_lock = PTHREAD_MUTEX_INITIALIZER; /* outside `lock`: one CONFIG SET at a time stores */
static char file_path[CONFIG_TEXT_MAX];
static void (*on_change)(enum setting id);
static bool (*on_listen)(const struct config_wanted *wanted);
static bool (*on_tls)(const struct config_wanted *wanted);
static void (*on_tls_back)(void);

static const char *const durability_words[] = {"none", "interval", "commit"};

/* -- names -- */

static int setting_by_id_name(const char *id_name)
{
    static const char *const ids[SETTING_COUNT] = {
#define SETTING(id, ...) [SETTING_##id] = #id,
#include "server/config.def"
#undef SETTING
    };
    for (int id = 0; id < SETTING_COUNT; id++)
        if (strcmp(ids[id], id_name) == 0)
            return id;
    return -1;
}

static int resolve(int id)
{
    return setting_rows[id].flags & ALIAS ? setting_by_id_name(setting_rows[id].help) : id;
}

static int find_row(bytes name)
{
    for (int id = 0; id < SETTING_COUNT; id++)
        if (bytes_is_word(name, setting_rows[id].name))
            return id;
    return -1;
}

int config_find(bytes name)
{
    int id = find_row(name);
    return id < 0 ? id : resolve(id);
}

#define DISTANCE_NAME_MAX 48

/* Levenshtein's distance with two rows; names beyond the maximum are far from everything. */
static size_t distance(const char *a, const char *b)
{
    size_t a_size = strlen(a), b_size = strlen(b);
    if (a_size > DISTANCE_NAME_MAX || b_size > DISTANCE_NAME_MAX)
        return SIZE_MAX;
    size_t row[DISTANCE_NAME_MAX + 1];
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < best ? change : best;
        }
    }
    return row[b_size];
}

const char *config_nearest(const char *name, size_t within)
{
    const char *nearest = NULL;
    size_t best = within;
    for (int id = 0; id < SETTING_COUNT; id++) {
        size_t away = distance(name, setting_rows[id].name);
        if (away < best) {
            best = away;
            nearest = setting_rows[id].name;
        }
    }
    return nearest;
}

/* -- values -- */

static int word_index(const struct setting_row *row, const char *value, size_t size)
{
    int index = 0;
    for (const char *word = row->words; word; index++) {
        const char *end = strchr(word, '|');
        size_t word_size = end ? (size_t)(end - word) : strlen(word);
        char text[64];
        snprintf(text, sizeof(text), "%.*s", (int)word_size, word);
        if (size == word_size && bytes_is_word(bytes_of(value, size), text))
            return index;
        word = end ? end + 1 : NULL;
    }
    return -1;
}

static bool say_words(const struct setting_row *row, char *reason, size_t size)
{
    size_t used = (size_t)snprintf(reason, size, "argument(s) must be one of the following: ");
    for (const char *c = row->words; *c && used + 3 < size; c++) {
        if (*c == '|')
            reason[used++] = ',';
        reason[used++] = *c == '|' ? ' ' : *c;
    }
    reason[used] = 0;
    return false;
}

static bool say_range(const struct setting_row *row, char *reason, size_t size)
{
    snprintf(reason, size, "argument must be between %lld and %lld inclusive", (long long)row->min, (long long)row->max);
    return false;
}

/* The bits of FLAGS: the first word of the row has none, it is what stands when there are none. */
static bool parse_flags(const struct setting_row *row, const char *value, int64_t *number)
{
    *number = 0;
    for (const char *at = value; at; at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL) {
        int index = word_index(row, at, strcspn(at, " "));
        if (index < 0)
            return false;
        *number |= index ? INT64_C(1) << (index - 1) : 0;
    }
    return true;
}

/* "5%": kept as -5 by settings that take a share. */
static bool is_percent(const char *value, int64_t *number)
{
    size_t size = strlen(value);
    return size > 1 && value[size - 1] == '%' && number_parse_int(bytes_of(value, size - 1), number) && *number >= 0;
}

/* "kb": none of them, as in Redis. */
static bool is_unit(const char *value)
{
    char none[4];
    uint64_t number;
    bool begins_with_digit = value[0] >= '0' && value[0] <= '9';
    return !begins_with_digit && snprintf(none, sizeof(none), "0%s", value) < (int)sizeof(none) &&
           number_parse_memory(bytes_str(none), &number);
}

static bool parse_number(const struct setting_row *row, const char *value, int64_t *number, char *reason, size_t size)
{
    if (row->kind == MEMORY && row->min < 0 && is_percent(value, number)) {
        *number = -*number;
        if (*number < row->min)
            return config_say(reason, size, "percentage argument must be less or equal to 100");
        return true;
    } else if (row->kind == MEMORY) {
        uint64_t wanted = 0; /* of no word at all, as in Redis */
        const char *digits = value + strspn(value, "0");
        if (digits > value && !(*digits >= '1' && *digits <= '9'))
            digits--; /* the one that counts */
        size_t count = strspn(digits, "0123456789");
        if (count >= 20 && !digits[count])
            wanted = UINT64_MAX; /* or near it: above every range, and Redis says that */
        else if (value[0] && !is_unit(value) && !number_parse_memory(bytes_str(digits), &wanted))
            return config_say(reason, size, row->min < 0 ? "argument must be a memory or percent value" : "argument must be a memory value");
        if (wanted > INT64_MAX)
            return say_range(row, reason, size);
        *number = (int64_t)wanted;
    } else if (row->kind == OCTAL) {
        char *end;
        *number = strtol(value, &end, 8);
        if (!*value || *end)
            return config_say(reason, size, "argument couldn't be parsed as an octal number");
    } else if (!number_parse_int(bytes_str(value), number)) {
        return config_say(reason, size, "argument couldn't be parsed into an integer");
    }
    return (*number >= row->min && *number <= row->max) || say_range(row, reason, size);
}

static bool parse(enum setting id, const char *value, struct parsed *p, char *reason, size_t size)
{
    const struct setting_row *row = &setting_rows[id];
    p->text[0] = 0;
    if (strlen(value) >= CONFIG_TEXT_MAX)
        return config_say(reason, size, "argument is too long");
    switch (row->kind) {
    case BOOL:
        p->number = bytes_is_word(bytes_str(value), "yes");
        if (!p->number && !bytes_is_word(bytes_str(value), "no"))
            return config_say(reason, size, "argument must be 'yes' or 'no'");
        break;
    case ENUM:
        p->number = word_index(row, value, strlen(value));
        if (p->number < 0)
            return say_words(row, reason, size);
        break;
    case FLAGS:
        if (!parse_flags(row, value, &p->number))
            return say_words(row, reason, size);
        break;
    case TEXT:
    case LIST:
        snprintf(p->text, sizeof(p->text), "%s", value);
        break;
    default:
        if (!parse_number(row, value, &p->number, reason, size))
            return false;
    }
    if (!config_check(id, values[id].text, p, reason, size))
        return false;
    if (row->kind == TEXT || row->kind == LIST)
        p->number = (int64_t)strlen(p->text);
    return true;
}

static void store(enum setting id, const struct parsed *p, enum setting_source source)
{
    struct value *v = &values[id];
    if (setting_rows[id].kind == TEXT || setting_rows[id].kind == LIST) {
        mem_free(v->text);
        v->text = mem_strdup(p->text);
    }
    atomic_store(&v->number, p->number);
    v->source = source;
    v->in_file |= source == SOURCE_FILE;
    bool memory_only = source == SOURCE_RUNTIME && config_number(SETTING_DURABILITY) == 0; /* it has no effect then, as in Redis */
    if (id == SETTING_APPENDFSYNC && source != SOURCE_DEFAULT && !memory_only) { /* always: commit; no, everysec: interval */
        atomic_store(&values[SETTING_DURABILITY].number, p->number == 1 ? 2 : 1);
        values[SETTING_DURABILITY].source = source;
    }
}

void config_defaults(void)
{
    char reason[CONFIG_ERROR_SIZE], text[CONFIG_TEXT_MAX];
    struct parsed p;
    for (int id = 0; id < SETTING_COUNT; id++) {
        bool good = parse((enum setting)id, setting_rows[id].initial, &p, reason, sizeof(reason));
        hf_assert(good);
        hf_assert(!(setting_rows[id].flags & ALIAS) || resolve(id) >= 0);
        store((enum setting)id, &p, SOURCE_DEFAULT);
        values[id].in_file = false;
    }
    for (int id = 0; id < SETTING_COUNT; id++) {
        config_copy((enum setting)id, text);
        mem_free(values[id].initial);
        values[id].initial = mem_strdup(text);
    }
}

static bool saves_begin; /* no "save" line of the file that is read has come */

bool config_assign(enum setting id, char *const *words, size_t count, enum setting_source source, char *reason,
                   size_t reason_size)
{
    char joined[CONFIG_TEXT_MAX];
    size_t used = 0;
    joined[0] = 0;
    if (count != 1 && setting_rows[id].kind != LIST && setting_rows[id].kind != FLAGS)
        return config_say(reason, reason_size, count ? "takes one value" : "needs a value");
    for (size_t i = 0; i < count && used < sizeof(joined); i++)
        used += (size_t)snprintf(joined + used, sizeof(joined) - used, "%s%s", i && words[i - 1][0] ? " " : "", words[i]);
    /* Several "save" lines of a file add up; as other settings they replace what another file says, which includes it or is included. */
    if (id == SETTING_SAVE && source == SOURCE_FILE && !saves_begin && values[id].source == SOURCE_FILE && joined[0] && values[id].text[0]) {
        char both[CONFIG_TEXT_MAX];
        used = (size_t)snprintf(both, sizeof(both), "%s %s", values[id].text, joined);
        memcpy(joined, both, sizeof(joined));
    }
    if (used >= sizeof(joined))
        return config_say(reason, reason_size, "the value is too long");
    struct parsed p;
    if (!parse(id, joined, &p, reason, reason_size))
        return false;
    store(id, &p, source);
    saves_begin = saves_begin && id != SETTING_SAVE;
    return true;
}

void config_other_file(void) { saves_begin = true; }

enum setting_source config_source(enum setting id)
{
    return values[id].source;
}

bool config_is_default(enum setting id)
{
    char text[CONFIG_TEXT_MAX];
    config_copy(id, text);
    return strcmp(text, values[id].initial) == 0;
}

bool config_was_included(enum setting id) { return values[id].in_file && values[id].source != SOURCE_FILE; }

void config_set_file(const char *path)
{
    snprintf(file_path, sizeof(file_path), "%s", path);
}

void config_replace_text(enum setting id, const char *text)
{
    mem_free(values[id].text);
    values[id].text = mem_strdup(text);
    atomic_store(&values[id].number, (int64_t)strlen(text));
}

/* -- reading -- */

int64_t config_number(enum setting id)
{
    return atomic_load_explicit(&values[id].number, memory_order_relaxed);
}

const char *config_text(enum setting id)
{
    hf_assert(values[id].text && !(setting_rows[id].flags & LIVE));
    return values[id].text;
}

const char *config_file(void)
{
    return file_path;
}

static void enum_word(enum setting id, int64_t index, char *out, size_t size)
{
    const char *word = setting_rows[id].words;
    while (index-- > 0)
        word = strchr(word, '|') + 1;
    snprintf(out, size, "%.*s", (int)strcspn(word, "|"), word);
}

static size_t flag_words(enum setting id, int64_t flags, char out[CONFIG_TEXT_MAX])
{
    size_t used = 0;
    if (!flags) {
        enum_word(id, 0, out, CONFIG_TEXT_MAX);
        return strlen(out);
    }
    for (int bit = 0; flags >> bit; bit++) {
        char word[64];
        if (!(flags >> bit & 1))
            continue;
        enum_word(id, bit + 1, word, sizeof(word));
        used += (size_t)snprintf(out + used, CONFIG_TEXT_MAX - used, "%s%s", used ? " " : "", word);
    }
    return used;
}

static size_t copy_locked(enum setting id, char out[CONFIG_TEXT_MAX])
{
    int64_t number = config_number(id), durability = config_number(SETTING_DURABILITY);
    if (id == SETTING_APPENDFSYNC && (durability || values[id].source != SOURCE_RUNTIME))
        number = (durability + 2) % 3; /* none is no, interval everysec, commit always */
    if (id == SETTING_APPENDONLY)
        number = durability != 0;
    switch (setting_rows[id].kind) {
    case BOOL: return (size_t)snprintf(out, CONFIG_TEXT_MAX, "%s", number ? "yes" : "no");
    case ENUM: enum_word(id, number, out, CONFIG_TEXT_MAX); return strlen(out);
    case FLAGS: return flag_words(id, number, out);
    case OCTAL: return (size_t)snprintf(out, CONFIG_TEXT_MAX, "%llo", (unsigned long long)number);
    case TEXT:
    case LIST: return (size_t)snprintf(out, CONFIG_TEXT_MAX, "%s", values[id].text);
    case MEMORY:
        if (number < 0)
            return (size_t)snprintf(out, CONFIG_TEXT_MAX, "%lld%%", -(long long)number);
        return (size_t)snprintf(out, CONFIG_TEXT_MAX, "%lld", (long long)number);
    default: return (size_t)snprintf(out, CONFIG_TEXT_MAX, "%lld", (long long)number);
    }
}

size_t config_copy(enum setting id, char out[CONFIG_TEXT_MAX])
{
    pthread_mutex_lock(&lock);
    size_t size = copy_locked((enum setting)resolve((int)id), out);
    pthread_mutex_unlock(&lock);
    return size;
}

const char *config_word(enum setting id)
{
    if (id == SETTING_DURABILITY)
        return durability_words[config_number(id)];
    static _Thread_local char word[64];
    enum_word(id, config_number(id), word, sizeof(word));
    return word;
}

struct output_limit config_output_limit(const char *class_name)
{
    struct output_limit limits[3] = {{0}};
    char text[CONFIG_TEXT_MAX];
    config_copy(SETTING_OUTPUT_LIMIT, text);
    int class = limits_class(class_name);
    bool good = limits_parse(text, limits) == NULL;
    hf_assert(good && class >= 0);
    return limits[class];
}

size_t config_inert_given(char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    pthread_mutex_lock(&lock);
    for (int id = 0; id < SETTING_COUNT; id++)
        if (setting_rows[id].flags & INERT && values[id].source != SOURCE_DEFAULT && used < size)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", setting_rows[id].name);
    pthread_mutex_unlock(&lock);
    return used;
}

/* -- CONFIG GET and SET -- */

void config_on_change(void (*changed)(enum setting id))
{
    on_change = changed;
}

void config_on_listen(bool (*listens)(const struct config_wanted *wanted))
{
    on_listen = listens;
}

void config_on_tls(bool (*takes)(const struct config_wanted *wanted), void (*give_back)(void))
{
    on_tls = takes;
    on_tls_back = give_back;
}

void config_with_all(void (*each)(void *context), void *context)
{
    pthread_mutex_lock(&set_lock);
    each(context);
    pthread_mutex_unlock(&set_lock);
}

static bool is_pattern(bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (strchr("*?[", text.data[i]))
            return true;
    }
    return false;
}

/* As Redis: a name without a wild card comes back as it was written. */
void config_get_matching(bytes pattern, void (*each)(void *context, bytes name, bytes value), void *context)
{
    bool wild = is_pattern(pattern);
    for (int id = 0; id < SETTING_COUNT; id++) {
        const char *name = setting_rows[id].name;
        if (wild ? setting_rows[id].flags & HIDDEN || !glob_match(pattern, bytes_str(name), true) : !bytes_is_word(pattern, name))
            continue;
        char text[CONFIG_TEXT_MAX];
        size_t size = config_copy((enum setting)id, text);
        each(context, wild ? bytes_str(name) : pattern, bytes_of(text, size));
    }
}

#define SET_PAIRS_MAX (SETTING_COUNT + 1)

struct change { enum setting id; struct parsed parsed; };

static bool refuse(char *error, size_t size, bytes name, const char *reason)
{
    snprintf(error, size, "CONFIG SET failed (possibly related to argument '%.*s') - %s",
             (int)(name.size < 200 ? name.size : 200), (const char *)name.data, reason);
    return false;
}

/* Whether these names may be set at once; refusals show a name as it was asked for. */
static bool check_names(const bytes *names, size_t count, struct change *changes, char *error, size_t error_size)
{
    for (size_t i = 0; i < count; i++) {
        int id = find_row(names[i]);
        if (id < 0) {
            snprintf(error, error_size, "Unknown option or number of arguments for CONFIG SET - '%.*s'",
                     (int)(names[i].size < 200 ? names[i].size : 200), (const char *)names[i].data);
            return false;
        }
        changes[i].id = (enum setting)id;
        unsigned flags = setting_rows[resolve(id)].flags;
        if (flags & PROTECTED)
            return refuse(error, error_size, names[i], "can't set protected config");
        if (!(flags & (LIVE | OWN)))
            return refuse(error, error_size, names[i], "can't set immutable config");
        for (size_t j = 0; j < i; j++)
            if (changes[j].id == changes[i].id)
                return refuse(error, error_size, names[i], "duplicate parameter");
    }
    return true;
}

/* Of a name that may be set; refusals show it as its row has it. */
static bool check_value(bytes value, struct change *c, char *error, size_t error_size)
{
    char reason[CONFIG_ERROR_SIZE / 2], text[CONFIG_TEXT_MAX];
    bytes name = bytes_str(setting_rows[c->id].name);
    c->id = (enum setting)resolve((int)c->id);
    if (value.size >= sizeof(text) || memchr(value.data, 0, value.size))
        return refuse(error, error_size, name, "argument is too long or holds a NUL byte");
    memcpy(text, value.data, value.size);
    text[value.size] = 0;
    if (!parse(c->id, text, &c->parsed, reason, sizeof(reason)))
        return refuse(error, error_size, name, reason);
    if (!(setting_rows[c->id].flags & LIVE) && c->parsed.number != config_number(c->id))
        return refuse(error, error_size, name, "can't set immutable config");
    if (!config_check_live(c->id, &c->parsed, reason, sizeof(reason)))
        return refuse(error, error_size, name, reason);
    return true;
}

/* All names first, as in Redis. */
static bool check_all(const bytes *names, const bytes *new_values, size_t count, struct change *changes, char *error,
                      size_t error_size)
{
    bool good = check_names(names, count, changes, error, error_size);
    for (size_t i = 0; good && i < count; i++)
        good = check_value(new_values[i], &changes[i], error, error_size);
    return good;
}

struct config_wanted { const struct change *changes; size_t count; };

static const struct parsed *find_wanted(const struct config_wanted *w, enum setting id)
{
    for (size_t i = 0; w && i < w->count; i++)
        if (w->changes[i].id == id)
            return &w->changes[i].parsed;
    return NULL;
}

const char *config_wanted_text(const struct config_wanted *w, enum setting id)
{
    const struct parsed *p = find_wanted(w, id);
    return p ? p->text : values[id].text;
}

int64_t config_wanted_number(const struct config_wanted *w, enum setting id)
{
    const struct parsed *p = find_wanted(w, id);
    return p ? p->number : config_number(id);
}

/* As in Redis bind counts also when it is the same. */
static bool says_where(const struct change *c)
{
    bool port = c->id == SETTING_PORT || c->id == SETTING_TLS_PORT;
    return c->id == SETTING_BIND || (port && c->parsed.number != config_number(c->id));
}

static bool says_tls(const struct change *c) { return setting_rows[c->id].flags & TLS; }

static const struct change *find_first(const struct config_wanted *w, bool (*says)(const struct change *c))
{
    for (size_t i = 0; i < w->count; i++)
        if (says(&w->changes[i]))
            return &w->changes[i];
    return NULL;
}

/* TLS first: a port of it needs a certificate. */
static bool takes_effect(const struct config_wanted *w, char *error, size_t error_size)
{
    const struct change *tls = on_tls ? find_first(w, says_tls) : NULL, *where = on_listen ? find_first(w, says_where) : NULL;
    if (tls && !on_tls(w))
        return refuse(error, error_size, bytes_str(setting_rows[tls->id].name), "Unable to update TLS configuration. Check server logs.");
    if (!where || on_listen(w))
        return true;
    if (tls)
        on_tls_back();
    return refuse(error, error_size, bytes_str(setting_rows[where->id].name),
                  where->id == SETTING_BIND ? "Failed to bind to specified addresses."
                                            : "Unable to listen on this port. Check server logs.");
}

bool config_set_all(const bytes *names, const bytes *new_values, size_t count, char *error, size_t error_size)
{
    if (count > SET_PAIRS_MAX)
        count = SET_PAIRS_MAX;  /* one of these is unknown, or there twice */
    struct change *changes = mem_alloc(count * sizeof(*changes));
    pthread_mutex_lock(&set_lock);
    bool good = check_all(names, new_values, count, changes, error, error_size) &&
                takes_effect(&(struct config_wanted){changes, count}, error, error_size);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; good && i < count; i++) {
        if (setting_rows[changes[i].id].flags & LIVE)
            store(changes[i].id, &changes[i].parsed, SOURCE_RUNTIME);
    }
    pthread_mutex_unlock(&lock);
    pthread_mutex_unlock(&set_lock);
    for (size_t i = 0; good && on_change && i < count; i++)
        on_change(changes[i].id);
    mem_free(changes);
    return good;
}
