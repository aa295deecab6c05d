/* acl_user.c -- rules to a user, and a user to rules.
 *
 * The bits of a selector say what is allowed; its list of rules says how a person would write them. A new rule about a command
 * or category takes the place of older ones about the same, "+@all" and "-@all" of all of them.
 */
#include "cmd/acl_user.h"

#include "base/memory.h"
#include "cmd/category.h"
#include "cmd/digest.h"

#include <ctype.h>
#include <openssl/crypto.h>

/* ---- lists ---- */

static void list_add(struct arena *a, struct acl_list *l, bytes text, uint16_t tag)
{
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 4;
        struct acl_item *fresh = arena_alloc(a, capacity * sizeof(*fresh));
        if (l->count)
            memcpy(fresh, l->items, l->count * sizeof(*fresh));
        l->items = fresh;
        l->capacity = capacity;
    }
    l->items[l->count++] = (struct acl_item){arena_dup(a, text), tag};
}

static struct acl_item *list_find(const struct acl_list *l, bytes text)
{
    for (size_t i = 0; i < l->count; i++) {
        if (bytes_equal(l->items[i].text, text))
            return &l->items[i];
    }
    return NULL;
}

static void list_remove(struct acl_list *l, struct acl_item *item)
{
    size_t at = (size_t)(item - l->items);
    memmove(item, item + 1, (l->count - at - 1) * sizeof(*item));
    l->count--;
}

static void list_copy(struct arena *a, struct acl_list *to, const struct acl_list *from)
{
    *to = (struct acl_list){0};
    for (size_t i = 0; i < from->count; i++)
        list_add(a, to, from->items[i].text, from->items[i].tag);
}

/* ---- life ---- */

static void selector_init(struct acl_selector *s, bool all_channels)
{
    *s = (struct acl_selector){.all_channels = all_channels};
}

static void set_name(struct acl_user *u, bytes name)
{
    char *copy = arena_alloc(&u->arena, name.size + 1);
    if (name.size)
        memcpy(copy, name.data, name.size);
    copy[name.size] = 0;
    u->name = bytes_of(copy, name.size);
}

struct acl_user *acl_user_new(bytes name, bool all_channels)
{
    struct acl_user *u = mem_zalloc(sizeof(*u));
    atomic_init(&u->counts, 1);
    arena_init(&u->arena);
    set_name(u, name);
    selector_init(&u->first, all_channels);
    return u;
}

static void selector_copy(struct arena *a, struct acl_selector *to, const struct acl_selector *from)
{
    *to = *from;
    list_copy(a, &to->words, &from->words);
    list_copy(a, &to->keys, &from->keys);
    list_copy(a, &to->channels, &from->channels);
    list_copy(a, &to->rules, &from->rules);
    to->next = NULL;
    if (from->next) {
        to->next = arena_alloc(a, sizeof(*to->next));
        selector_copy(a, to->next, from->next);
    }
}

struct acl_user *acl_user_copy(const struct acl_user *u)
{
    struct acl_user *copy = acl_user_new(u->name, false);
    copy->identity = u->identity;
    copy->on = u->on;
    copy->nopass = u->nopass;
    copy->payload = u->payload;
    list_copy(&copy->arena, &copy->passwords, &u->passwords);
    selector_copy(&copy->arena, &copy->first, &u->first);
    return copy;
}

void acl_user_ref(const struct acl_user *u)
{
    atomic_fetch_add_explicit(&((struct acl_user *)(uintptr_t)u)->counts, 1, memory_order_relaxed);
}

void acl_user_unref(const struct acl_user *u)
{
    struct acl_user *owned = (struct acl_user *)(uintptr_t)u;
    if (!owned || atomic_fetch_sub(&owned->counts, 1) > 1)
        return;
    arena_release(&owned->arena);
    mem_free(owned);
}

/* ---- passwords ---- */

void acl_hash(bytes password, char out[ACL_HASH_TEXT + 1]) { digest_hex(EVP_sha256(), password, ACL_HASH_TEXT, out); }

bool acl_password_fits(const struct acl_user *u, bytes password)
{
    char given[ACL_HASH_TEXT + 1], none[ACL_HASH_TEXT] = {0};
    int fits = 0;
    acl_hash(password, given);
    for (size_t i = 0; u && i < u->passwords.count; i++)
        fits |= CRYPTO_memcmp(given, u->passwords.items[i].text.data, ACL_HASH_TEXT) == 0;
    if (!u)
        fits = CRYPTO_memcmp(given, none, ACL_HASH_TEXT) == 0;
    return u && fits;
}

static bool is_hash(bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (!isdigit(text.data[i]) && !(text.data[i] >= 'a' && text.data[i] <= 'f'))
            return false;
    }
    return text.size == ACL_HASH_TEXT;
}

/* ">pw" and "#hash" add, "<pw" and "!hash" remove. */
static enum acl_error apply_password(struct acl_user *u, bytes rule)
{
    char hash[ACL_HASH_TEXT + 1];
    uint8_t sign = rule.data[0];
    bytes text = bytes_of(rule.data + 1, rule.size - 1);
    if (sign == '>' || sign == '<') {
        acl_hash(text, hash);
        text = bytes_of(hash, ACL_HASH_TEXT);
    } else if (!is_hash(text)) {
        return ACL_BAD_HASH;
    }
    struct acl_item *known = list_find(&u->passwords, text);
    if (sign == '<' || sign == '!') {
        if (!known)
            return ACL_NO_PASSWORD;
        list_remove(&u->passwords, known);
        return ACL_OK;
    }
    if (!known)
        list_add(&u->arena, &u->passwords, text, 0);
    u->nopass = false;
    return ACL_OK;
}

/* ---- commands ---- */

static void set_bit(struct acl_selector *s, const struct command *row, bool allow)
{
    uint64_t bit = UINT64_C(1) << (row->id % 64);
    if (allow)
        s->commands[row->id / 64] |= bit;
    else
        s->commands[row->id / 64] &= ~bit;
}

static void forget_words(struct acl_selector *s, const struct command *row)
{
    for (size_t i = s->words.count; i-- > 0;) {
        if (s->words.items[i].tag == row->id)
            list_remove(&s->words, &s->words.items[i]);
    }
}

/* The command with its subcommands. */
static void set_command(struct acl_selector *s, const struct command *row, bool allow)
{
    set_bit(s, row, allow);
    forget_words(s, row);
    for (const struct command *sub = command_subs(row); sub && sub->name; sub++)
        set_command(s, sub, allow);
    s->all_commands &= allow;
}

static void set_all(struct acl_selector *s, bool allow)
{
    s->all_commands = s->starts_full = allow;
    s->words.count = s->rules.count = 0;
    memset(s->commands, allow ? 0xff : 0, sizeof(s->commands));
}

/* Rules about the same thing, or a part of it, are past; one that allows what is allowed already says nothing. */
static void note_rule(struct arena *a, struct acl_selector *s, bool allow, bytes what)
{
    if (allow && s->all_commands)
        return;
    for (size_t i = s->rules.count; i-- > 0;) {
        bytes old = s->rules.items[i].text;
        bool same = old.size > what.size && memcmp(old.data + 1, what.data, what.size) == 0 &&
                    (old.size == what.size + 1 || old.data[what.size + 1] == '|');
        if (same)
            list_remove(&s->rules, &s->rules.items[i]);
    }
    char *text = arena_alloc(a, what.size + 1);
    text[0] = allow ? '+' : '-';
    memcpy(text + 1, what.data, what.size);
    list_add(a, &s->rules, bytes_of(text, what.size + 1), 0);
    while (s->starts_full && s->rules.count && s->rules.items[0].text.data[0] == '+') /* what was forbidden before it is past */
        list_remove(&s->rules, &s->rules.items[0]);
}

static enum acl_error apply_category(struct arena *a, struct acl_selector *s, bool allow, bytes name)
{
    char text[40] = "@";
    if (bytes_is_word(name, "all")) {
        set_all(s, allow);
        return ACL_OK;
    }
    int number = category_find(name);
    if (number < 0)
        return ACL_UNKNOWN;
    for (struct command_walk w = {0}; command_next(&w);) {
        if (command_categories(w.row) >> number & 1)
            set_command(s, w.row, allow);
    }
    memcpy(text + 1, category_name((size_t)number), strlen(category_name((size_t)number)) + 1);
    note_rule(a, s, allow, bytes_str(text));
    return ACL_OK;
}

/* "+select|0": a command without subcommands, with this first argument only. */
static enum acl_error apply_word(struct arena *a, struct acl_selector *s, bytes name)
{
    size_t bar = name.size;
    while (bar > 0 && name.data[bar - 1] != '|')
        bar--;
    const struct command *row = bar ? command_find_full(bytes_of(name.data, bar - 1)) : NULL;
    bytes word = bytes_of(name.data + bar, name.size - bar);
    if (!row)
        return ACL_UNKNOWN;
    if (strchr(row->full_name, '|'))
        return ACL_WORD_OF_SUBCOMMAND;
    if (command_subs(row))
        return ACL_UNKNOWN;
    if (!word.size)
        return ACL_BAD_SYNTAX;
    for (size_t i = 0; i < word.size; i++) {
        if (isspace(word.data[i]) || word.data[i] == 0 || word.data[i] == ')')
            return ACL_BAD_SYNTAX;
    }
    struct buf rule;
    buf_init(&rule, SIZE_MAX);
    buf_printf(&rule, "%s|", row->full_name);
    buf_append_bytes(&rule, word);
    struct acl_item *known = list_find(&s->words, word);
    if (!known || known->tag != row->id)
        list_add(a, &s->words, word, row->id);
    note_rule(a, s, true, buf_view(&rule));
    buf_release(&rule);
    return ACL_OK;
}

static enum acl_error apply_command(struct arena *a, struct acl_selector *s, bool allow, bytes name)
{
    if (name.size && name.data[0] == '@')
        return apply_category(a, s, allow, bytes_of(name.data + 1, name.size - 1));
    const struct command *row = command_find_full(name);
    if (row) {
        set_command(s, row, allow);
        note_rule(a, s, allow, bytes_str(row->full_name));
        return ACL_OK;
    }
    return allow && name.size && memchr(name.data, '|', name.size) ? apply_word(a, s, name) : ACL_UNKNOWN;
}

/* ---- keys and channels ---- */

static bool has_space(bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (isspace(text.data[i]) || text.data[i] == 0)
            return true;
    }
    return false;
}

bool acl_name_fits(bytes name) { return name.size <= ACL_NAME_MAX && !has_space(name); }

/* "~a", "%R~a", "%RW~a". */
static enum acl_error apply_key(struct arena *a, struct acl_selector *s, bytes rule)
{
    unsigned rights = 0;
    size_t at = 1;
    if (s->all_keys)
        return ACL_AFTER_ALL_KEYS;
    if (rule.data[0] == '%') {
        for (; at < rule.size && rule.data[at] != '~'; at++) {
            unsigned right = toupper(rule.data[at]) == 'R' ? KEY_READ : toupper(rule.data[at]) == 'W' ? KEY_WRITE : 0;
            if (!right || rights & right)
                return ACL_BAD_SYNTAX;
            rights |= right;
        }
        if (!rights)
            return ACL_BAD_SYNTAX;
        at += at < rule.size;
    } else {
        rights = KEY_READ | KEY_WRITE;
    }
    bytes pattern = bytes_of(rule.data + at, rule.size - at);
    if (has_space(pattern))
        return ACL_BAD_SYNTAX;
    struct acl_item *known = list_find(&s->keys, pattern);
    if (known)
        known->tag = (uint16_t)(known->tag | rights);
    else
        list_add(a, &s->keys, pattern, (uint16_t)rights);
    return ACL_OK;
}

static enum acl_error apply_channel(struct arena *a, struct acl_selector *s, bytes rule)
{
    bytes pattern = bytes_of(rule.data + 1, rule.size - 1);
    if (s->all_channels)
        return ACL_AFTER_ALL_CHANNELS;
    if (has_space(pattern))
        return ACL_BAD_SYNTAX;
    if (!list_find(&s->channels, pattern))
        list_add(a, &s->channels, pattern, 0);
    return ACL_OK;
}

static void set_all_keys(struct acl_selector *s, bool all)
{
    s->all_keys = all;
    s->keys.count = 0;
}

static void set_all_channels(struct acl_selector *s, bool all)
{
    s->all_channels = all;
    s->channels.count = 0;
}

static enum acl_error apply_to_selector(struct arena *a, struct acl_selector *s, bytes rule)
{
    if (!rule.size)
        return ACL_OK;
    if (bytes_is_word(rule, "allkeys") || bytes_is_word(rule, "~*"))
        set_all_keys(s, true);
    else if (bytes_is_word(rule, "resetkeys"))
        set_all_keys(s, false);
    else if (bytes_is_word(rule, "allchannels") || bytes_is_word(rule, "&*"))
        set_all_channels(s, true);
    else if (bytes_is_word(rule, "resetchannels"))
        set_all_channels(s, false);
    else if (bytes_is_word(rule, "allcommands"))
        set_all(s, true);
    else if (bytes_is_word(rule, "nocommands"))
        set_all(s, false);
    else if (rule.data[0] == '~' || rule.data[0] == '%')
        return apply_key(a, s, rule);
    else if (rule.data[0] == '&')
        return apply_channel(a, s, rule);
    else if (rule.data[0] == '+' || rule.data[0] == '-')
        return apply_command(a, s, rule.data[0] == '+', bytes_of(rule.data + 1, rule.size - 1));
    else
        return ACL_BAD_SYNTAX;
    return ACL_OK;
}

/* "(rule rule ...)". A word that ends with ')' inside of it could not be read back: whoever joins words ends the selector there. */
static enum acl_error add_selector(struct acl_user *u, bytes rule, bool all_channels)
{
    struct acl_selector *s = arena_alloc(&u->arena, sizeof(*s)), **last = &u->first.next;
    selector_init(s, all_channels);
    for (size_t at = 1, end = rule.size - 1; at < end;) {
        size_t begin = at;
        while (at < end && !isspace(rule.data[at]))
            at++;
        if (at > begin && rule.data[at - 1] == ')')
            return ACL_BAD_SYNTAX;
        enum acl_error error = at > begin ? apply_to_selector(&u->arena, s, bytes_of(rule.data + begin, at - begin)) : ACL_OK;
        if (error != ACL_OK)
            return error;
        at += at == begin;
    }
    while (*last)
        last = &(*last)->next;
    *last = s;
    return ACL_OK;
}

/* ---- users ---- */

static void reset_user(struct acl_user *u, bool all_channels)
{
    u->on = u->nopass = false;
    u->payload = ACL_PAYLOAD_SANITIZE;
    u->passwords.count = 0;
    selector_init(&u->first, all_channels);
}

enum acl_error acl_user_apply(struct acl_user *u, bytes rule, bool all_channels)
{
    uint8_t sign = rule.size ? rule.data[0] : 0;
    if (bytes_is_word(rule, "on") || bytes_is_word(rule, "off"))
        u->on = bytes_is_word(rule, "on");
    else if (bytes_is_word(rule, "nopass") || bytes_is_word(rule, "resetpass")) {
        u->nopass = bytes_is_word(rule, "nopass");
        u->passwords.count = 0;
    } else if (bytes_is_word(rule, "sanitize-payload"))
        u->payload = ACL_PAYLOAD_SANITIZE;
    else if (bytes_is_word(rule, "skip-sanitize-payload"))
        u->payload = ACL_PAYLOAD_SKIP;
    else if (bytes_is_word(rule, "clearselectors"))
        u->first.next = NULL;
    else if (bytes_is_word(rule, "reset"))
        reset_user(u, all_channels);
    else if (sign == '>' || sign == '<' || sign == '#' || sign == '!')
        return apply_password(u, rule);
    else if (sign == '(' && rule.data[rule.size - 1] == ')' && rule.size > 1)
        return add_selector(u, rule, all_channels);
    else
        return apply_to_selector(&u->arena, &u->first, rule);
    return ACL_OK;
}

const char *acl_error_text(enum acl_error error)
{
    switch (error) {
    case ACL_UNKNOWN: return "Unknown command or category name in ACL";
    case ACL_AFTER_ALL_KEYS:
        return "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. "
               "Try 'resetkeys' to start with an empty list of patterns";
    case ACL_AFTER_ALL_CHANNELS:
        return "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. "
               "Try 'resetchannels' to start with an empty list of channels";
    case ACL_NO_PASSWORD: return "The password you are trying to remove from the user does not exist";
    case ACL_BAD_HASH: return "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters";
    case ACL_WORD_OF_SUBCOMMAND: return "Allowing first-arg of a subcommand is not supported";
    default: return "Syntax error";
    }
}

bool acl_user_is_unrestricted(const struct acl_user *u)
{
    for (const struct acl_selector *s = &u->first; s; s = s->next) {
        if (s->all_commands && s->all_keys && s->all_channels)
            return true;
    }
    return false;
}

/* ---- as text ---- */

void acl_describe_commands(const struct acl_selector *s, struct buf *out)
{
    buf_append_bytes(out, s->starts_full ? BYTES("+@all") : BYTES("-@all"));
    for (size_t i = 0; i < s->rules.count; i++) {
        buf_append_u8(out, ' ');
        buf_append_bytes(out, s->rules.items[i].text);
    }
}

/* The pattern * that was given as %RW~* is one among others; ~* would be all keys, and no pattern could be given after it. */
void acl_describe_keys(const struct acl_selector *s, struct buf *out)
{
    static const char *const signs[] = {[KEY_READ] = "%R~", [KEY_WRITE] = "%W~", [KEY_READ | KEY_WRITE] = "~"};
    if (s->all_keys)
        buf_append_bytes(out, BYTES("~*"));
    for (size_t i = 0; i < s->keys.count; i++) {
        const struct acl_item *item = &s->keys.items[i];
        bool is_spelled = item->tag == (KEY_READ | KEY_WRITE) && bytes_equal(item->text, BYTES("*"));
        buf_printf(out, "%s%s", i ? " " : "", is_spelled ? "%RW~" : signs[item->tag]);
        buf_append_bytes(out, s->keys.items[i].text);
    }
}

void acl_describe_channels(const struct acl_selector *s, struct buf *out)
{
    if (s->all_channels)
        buf_append_bytes(out, BYTES("&*"));
    for (size_t i = 0; i < s->channels.count; i++) {
        buf_printf(out, "%s&", i ? " " : "");
        buf_append_bytes(out, s->channels.items[i].text);
    }
}

static void describe_selector(const struct acl_selector *s, struct buf *out)
{
    size_t begin = out->size;
    acl_describe_keys(s, out);
    if (out->size > begin)
        buf_append_u8(out, ' ');
    if (!s->all_channels)
        buf_append_bytes(out, BYTES("resetchannels "));
    begin = out->size;
    acl_describe_channels(s, out);
    if (out->size > begin)
        buf_append_u8(out, ' ');
    acl_describe_commands(s, out);
}

void acl_user_describe(const struct acl_user *u, struct buf *out)
{
    static const char *const payload[] = {"", " sanitize-payload", " skip-sanitize-payload"};
    buf_printf(out, "%s%s%s ", u->on ? "on" : "off", u->nopass ? " nopass" : "", payload[u->payload]);
    for (size_t i = 0; i < u->passwords.count; i++) {
        buf_append_u8(out, '#');
        buf_append_bytes(out, u->passwords.items[i].text);
        buf_append_u8(out, ' ');
    }
    describe_selector(&u->first, out);
    for (const struct acl_selector *s = u->first.next; s; s = s->next) {
        buf_append_bytes(out, BYTES(" ("));
        describe_selector(s, out);
        buf_append_u8(out, ')');
    }
}
