/* config_rewrite.c -- CONFIG REWRITE: the file as it is, with today's values.
 *
 * Comments, blank lines and includes stay. The first line of a setting gets the current
 * value, later lines of the same setting go (their values are merged into the first).
 * What differs from its default and stands nowhere is added at the end. The file
 * is published whole: written beside, synced, renamed.
 */
#include "base/buf.h"
#include "base/memory.h"
#include "os/os.h"
#include "server/config_private.h"
#include "server/users.h"
#include "base/words.h"

#include <ctype.h>
#include <stdio.h>

#define FILE_SIZE_MAX (4u << 20)
#define ADDED "# Added by CONFIG REWRITE"

static void append_setting(struct buf *out, enum setting id)
{
    char value[CONFIG_TEXT_MAX];
    config_copy(id, value);
    buf_printf(out, "%s ", setting_rows[id].name);
    if (setting_rows[id].kind == LIST && value[0])
        buf_append_bytes(out, bytes_str(value));
    else
        word_quote(value, out);
    buf_append_u8(out, '\n');
}

static bytes first_word(bytes line)
{
    size_t start = 0;
    while (start < line.size && isspace(line.data[start]))
        start++;
    size_t end = start;
    while (end < line.size && !isspace(line.data[end]))
        end++;
    return bytes_of(line.data + start, end - start);
}

/* The setting that a line sets, or -1. */
static int line_setting(bytes line)
{
    bytes word = first_word(line);
    return word.size ? config_find(word) : -1;
}

static bool can_be_added(enum setting id)
{
    return !(setting_rows[id].flags & ALIAS) && id != SETTING_APPENDFSYNC;
}

static bool differs_from_default(enum setting id)
{
    return config_source(id) != SOURCE_DEFAULT && can_be_added(id);
}

static void add_users(struct buf *out, bool announced)
{
    struct buf users;
    buf_init(&users, SIZE_MAX);
    users_write(&users);
    if (users.size && !announced)
        buf_printf(out, "%s\n", ADDED);
    buf_append_bytes(out, buf_view(&users));
    buf_release(&users);
}

static void rewrite_lines(bytes old, bool all, struct buf *out)
{
    bool written[SETTING_COUNT] = {false}, announced = false, users_written = false;
    for (size_t at = 0; at < old.size;) {
        const uint8_t *start = old.data + at, *end = memchr(start, '\n', old.size - at);
        size_t length = end ? (size_t)(end - start) : old.size - at;
        bytes line = bytes_of(start, length);
        int id = line_setting(line);
        if (id == SETTING_APPENDFSYNC) /* what it said is the value of durability */
            id = SETTING_DURABILITY;
        if (line.size == sizeof(ADDED) - 1 && memcmp(line.data, ADDED, line.size) == 0)
            announced = true;
        if (bytes_is_word(first_word(line), "user")) {
            if (!users_written)
                users_write(out);
            users_written = true;
        } else if (id < 0) {
            buf_append_bytes(out, line);
            buf_append_u8(out, '\n');
        } else if (!written[id]) {
            append_setting(out, (enum setting)id);
            written[id] = true;
        }
        at += length + 1;
    }
    for (int id = 0; id < SETTING_COUNT; id++) {
        if (written[id] || !(all ? can_be_added((enum setting)id) : differs_from_default((enum setting)id)))
            continue;
        if (!announced)
            buf_printf(out, "%s\n", ADDED);
        announced = true;
        append_setting(out, (enum setting)id);
    }
    if (!users_written)
        add_users(out, announced);
}

status config_rewrite(bool all, char *error, size_t error_size)
{
    const char *path = config_file(), *slash = strrchr(path, '/');
    if (!path[0]) {
        snprintf(error, error_size, "The server is running without a config file");
        return HF_ERR_INVALID;
    }
    char dir[CONFIG_TEXT_MAX];
    snprintf(dir, sizeof(dir), "%.*s", slash > path ? (int)(slash - path) : 1, path);
    void *data = NULL;
    size_t size = 0;
    int result = os_read_file(path, FILE_SIZE_MAX, &data, &size);
    if (result == 0) {
        struct buf out;
        buf_init(&out, FILE_SIZE_MAX * 2);
        rewrite_lines(bytes_of(data, size), all, &out);
        result = os_publish_file(dir, slash + 1, out.data, out.size);
        buf_release(&out);
        mem_free(data);
    }
    if (result < 0) {
        snprintf(error, error_size, "Rewriting config file: %s", strerror(-result));
        return HF_ERR_IO;
    }
    return HF_OK;
}
