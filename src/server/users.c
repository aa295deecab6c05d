/* users.c -- from the configuration to users, once at start. */
#include "server/users.h"

#include "base/arena.h"
#include "base/memory.h"
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
    line->words = arena_alloc(&words_of_lines, count * sizeof(bytes));
    line->count = count;
    for (size_t i = 0; i < count; i++)
        line->words[i] = arena_dup(&words_of_lines, bytes_str(words[i]));
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

void users_write(struct buf *out)
{
    char password[CONFIG_TEXT_MAX];
    config_copy(SETTING_REQUIREPASS, password);
    if (!acl_file_path()[0] && !acl_is_plain(password))
        acl_describe_all(out);
    explicit_bzero(password, sizeof(password));
}
