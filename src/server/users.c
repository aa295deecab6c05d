/* users.c -- from the configuration to users, once at start. */
#include "server/users.h"

#include "base/arena.h"
#include "base/memory.h"
#include "base/words.h"
#include "cmd/acl.h"
#include "server/config.h"

#include <stdio.h>

struct line { char *place; bytes *words; size_t count; };

static struct line *lines;
static size_t line_count;
static struct arena words_of_lines;

bool users_note(const char *place, char *const *words, size_t count, char *error, size_t size)
{
    if (!count) {
        snprintf(error, size, "%s: user takes a name and rules", place);
        return false;
    }
    lines = mem_realloc(lines, (line_count + 1) * sizeof(*lines));
    struct line *line = &lines[line_count++];
    line->place = mem_strdup(place);
    line->words = arena_alloc(&words_of_lines, (count + 1) * sizeof(bytes));
    line->count = 0;
    for (size_t i = 0; i < count; i++) {
        line->words[line->count++] = arena_dup(&words_of_lines, bytes_str(words[i]));
        if (i == 0 && strcmp(words[0], "default") == 0)
            line->words[line->count++] = BYTES("reset"); /* it is there already in Redis, which shows: reset says sanitize-payload */
    }
    return true;
}

static bool take_lines(struct buf *error)
{
    struct acl_set set = {0};
    bool good = true;
    for (size_t i = 0; i < line_count && good; i++) {
        const struct line *line = &lines[i];
        buf_reset(error);
        good = acl_file_add(&set, line->words[0], line->words + 1, line->count - 1, line->place, error);
    }
    if (good && line_count)
        acl_set_publish(&set, true);
    acl_set_release(&set);
    return good;
}

/* A relative path is one in the data directory, as in Redis, which works there. */
static void find_file(void)
{
    char path[CONFIG_TEXT_MAX * 2];
    const char *name = config_text(SETTING_ACLFILE);
    snprintf(path, sizeof(path), "%s%s%s", *name && *name != '/' ? config_text(SETTING_DIR) : "", *name && *name != '/' ? "/" : "", name);
    acl_file_set(path);
}

static bool start(struct buf *error)
{
    char password[CONFIG_TEXT_MAX];
    size_t size = config_copy(SETTING_REQUIREPASS, password);
    acl_set_all_channels(config_number(SETTING_ACL_PUBSUB) == 0);
    if (size)
        acl_set_default_password(bytes_of(password, size));
    explicit_bzero(password, sizeof(password));
    find_file();
    if (!acl_file_path()[0])
        return take_lines(error);
    if (!line_count)
        return acl_file_load(error);
    buf_printf(error, "%s: users stand in the configuration or in the aclfile, not in both", lines[0].place);
    return false;
}

bool users_start(char *error, size_t size)
{
    struct buf text;
    buf_init(&text, SIZE_MAX);
    bool good = start(&text);
    if (!good)
        snprintf(error, size, "%.*s", (int)(text.size < size ? text.size : size - 1), (const char *)text.data);
    buf_release(&text);
    return good;
}

/* A word with a quote in it is written in quotes: else it opens one. (Redis writes it as it is, and refuses it at the next start.) */
static void write_word(bytes word, struct buf *out)
{
    if (!memchr(word.data, '"', word.size) && !memchr(word.data, '\'', word.size)) {
        buf_append_bytes(out, word);
        return;
    }
    char *text = mem_alloc(word.size + 1);
    memcpy(text, word.data, word.size);
    text[word.size] = 0;
    word_quote(text, out);
    mem_free(text);
}

static void write_all(struct buf *out)
{
    struct buf plain;
    buf_init(&plain, SIZE_MAX);
    acl_describe_all(&plain);
    for (size_t at = 0; at < plain.size;) {
        size_t size = 0;
        while (plain.data[at + size] != ' ' && plain.data[at + size] != '\n')
            size++;
        write_word(bytes_of(plain.data + at, size), out);
        buf_append_u8(out, plain.data[at + size]);
        at += size + 1;
    }
    buf_release(&plain);
}

bool users_write(struct buf *out)
{
    char password[CONFIG_TEXT_MAX];
    config_copy(SETTING_REQUIREPASS, password);
    if (!acl_file_path()[0])
        write_all(out);
    bool needed = !acl_is_plain(password);
    explicit_bzero(password, sizeof(password));
    return needed;
}
