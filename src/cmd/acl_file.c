/* acl_file.c -- users as lines of a file: "user NAME rule rule ...".
 *
 * A file is taken whole or not at all. It is written beside and renamed, so a crash leaves the old one.
 */
#include "base/memory.h"
#include "cmd/acl.h"
#include "os/os.h"
#include "os/thread.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#define FILE_SIZE_MAX (64u << 20)

static char file_path[4096];
static struct os_mutex saving; /* all write the same file beside it */

void acl_file_set(const char *path)
{
    os_mutex_init(&saving);
    snprintf(file_path, sizeof(file_path), "%s", path);
}

const char *acl_file_path(void) { return file_path; }

/* What is no command may be shown; anything else may be a password, and is told once. */
static void tell(struct buf *error, const char *place, bytes rule, enum acl_error e, bool first)
{
    if (e == ACL_UNKNOWN)
        buf_printf(error, "%s: Error in applying operation '%.*s': %s. ", place, (int)rule.size, (const char *)rule.data, acl_error_text(e));
    else if (first)
        buf_printf(error, "%s: %s. ", place, acl_error_text(e));
}

bool acl_file_add(struct acl_set *set, bytes name, const bytes *words, size_t count, const char *place, struct buf *error)
{
    struct arena arena;
    bytes bad;
    struct acl_user *u = acl_name_fits(name) ? acl_set_add(set, name) : NULL;
    if (!u) {
        const char *line = strrchr(place, ':');
        if (acl_name_fits(name))
            buf_printf(error, "WARNING: Duplicate user '%.*s' found on line %s. ", (int)name.size, (const char *)name.data,
                       line ? line + 1 : place);
        else
            buf_printf(error, "%s: the username holds a space or is too long. ", place);
        return false;
    }
    arena_init(&arena);
    bytes *rules = arena_alloc(&arena, (count + 1) * sizeof(*rules));
    bool good = acl_join_selectors(&arena, words, count, rules, &count, &bad);
    if (!good) {
        buf_printf(error, "%s: Unmatched parenthesis in selector definition.", place);
        count = 0;
    }
    bool told = false;
    for (size_t i = 0; i < count; i++) {
        enum acl_error e = acl_user_apply(u, rules[i], acl_gives_all_channels());
        if (e == ACL_OK)
            continue;
        good = false;
        tell(error, place, rules[i], e, !told);
        told |= e != ACL_UNKNOWN;
    }
    arena_release(&arena);
    return good;
}

/* Words of a line; returns how many. */
static size_t split(bytes line, bytes *words)
{
    size_t count = 0;
    for (size_t at = 0; at < line.size;) {
        size_t begin = at;
        while (at < line.size && !isspace(line.data[at]))
            at++;
        if (at > begin)
            words[count++] = bytes_of(line.data + begin, at - begin);
        at += at == begin;
    }
    return count;
}

static bool read_line(struct acl_set *set, size_t number, bytes line, struct buf *error)
{
    struct arena arena;
    arena_init(&arena);
    bytes *words = arena_alloc(&arena, (line.size / 2 + 2) * sizeof(*words));
    size_t count = split(line, words);
    bool good = true;
    if (count && !(words[0].data[0] == '#')) {
        char place[sizeof(file_path) + 24];
        snprintf(place, sizeof(place), "%s:%zu", file_path, number);
        good = count > 1 && bytes_equal(words[0], BYTES("user"));
        if (!good)
            buf_printf(error, "%s should start with user keyword followed by the username. ", place);
        else
            good = acl_file_add(set, words[1], words + 2, count - 2, place, error);
    }
    arena_release(&arena);
    return good;
}

static bool read_all(struct acl_set *set, bytes text, struct buf *error)
{
    bool good = true;
    size_t number = 1;
    for (size_t at = 0; at < text.size; number++) {
        const uint8_t *start = text.data + at, *end = memchr(start, '\n', text.size - at);
        size_t size = end ? (size_t)(end - start) : text.size - at;
        good &= read_line(set, number, bytes_of(start, size), error);
        at += size + 1;
    }
    return good;
}

bool acl_file_load(struct buf *error)
{
    struct acl_set set = {0};
    void *data = NULL;
    size_t size = 0;
    int result = os_read_file(file_path, FILE_SIZE_MAX, &data, &size);
    if (result < 0) {
        buf_printf(error, "Error loading ACLs, opening file '%s': %s", file_path, strerror(-result));
        return false;
    }
    bool good = read_all(&set, bytes_of(data, size), error);
    if (good)
        acl_set_publish(&set, false);
    else
        buf_printf(error, "WARNING: ACL errors detected, no change to the previously active ACL rules was performed");
    acl_set_release(&set);
    mem_free(data);
    return good;
}

int acl_file_save(void)
{
    char dir[sizeof(file_path)] = ".";
    const char *slash = strrchr(file_path, '/');
    struct buf text;
    if (slash)
        snprintf(dir, sizeof(dir), "%.*s", slash > file_path ? (int)(slash - file_path) : 1, file_path);
    os_mutex_lock(&saving);
    buf_init(&text, SIZE_MAX);
    acl_describe_all(&text);
    int result = text.size > FILE_SIZE_MAX ? -EFBIG : os_publish_file(dir, slash ? slash + 1 : file_path, text.data, text.size);
    buf_release(&text);
    os_mutex_unlock(&saving);
    return result;
}
