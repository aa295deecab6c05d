/* shebang.c -- one line, split into words; the first names the engine, which is always Lua. */
#include "script/shebang.h"

#include "base/memory.h"
#include "base/words.h"

#include <stddef.h>
#include <stdio.h>
#include <strings.h>

/* The line without its end as words, "#!" taken off the first. False: no line, or quotes without their twin. */
static bool split(bytes source, struct words *w, bytes *code)
{
    const uint8_t *newline = memchr(source.data, '\n', source.size);
    if (!newline)
        return false;
    size_t size = (size_t)(newline - source.data);
    *code = bytes_of(newline, source.size - size);
    return words_split(w, bytes_of(source.data, size));
}

static const char *engine_of(const struct words *w)
{
    return w->items[0] + 2;
}

static bool take_flag(struct shebang *s, const char *flag)
{
    static const struct { const char *name; size_t offset; } flags[] = {
        {"no-writes", offsetof(struct shebang, no_writes)},
        {"allow-oom", offsetof(struct shebang, allow_oom)},
        {"allow-stale", offsetof(struct shebang, allow_stale)},
        {"no-cluster", offsetof(struct shebang, no_cluster)},
        {"allow-cross-slot-keys", offsetof(struct shebang, allow_cross_slot)},
    };
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (strcmp(flag, flags[i].name) == 0) {
            *(bool *)((char *)s + flags[i].offset) = true;
            return true;
        }
    }
    return false;
}

/* Cuts the list at its commas. */
static bool take_flags(struct shebang *s, char *list, char error[256])
{
    for (char *flag = list, *comma; *list && flag; flag = comma) {
        comma = strchr(flag, ',');
        if (comma)
            *comma++ = 0;
        if (!take_flag(s, flag))
            return snprintf(error, 256, "Unexpected flag in script shebang: %s", flag), false;
    }
    return true;
}

static bool take_options(struct shebang *s, struct words *w, char error[256])
{
    if (strcmp(engine_of(w), "lua") != 0)
        return snprintf(error, 256, "Unexpected engine in script shebang: %s", w->items[0]), false;
    for (size_t i = 1; i < w->count; i++) {
        char *word = w->items[i];
        if (strncmp(word, "flags=", 6) != 0)
            return snprintf(error, 256, "Unknown lua shebang option: %s", word), false;
        if (!take_flags(s, word + 6, error))
            return false;
    }
    return true;
}

bool shebang_parse(bytes source, struct shebang *out, bytes *code, char error[256])
{
    struct words w;
    *out = (struct shebang){0};
    *code = source;
    if (source.size < 2 || memcmp(source.data, "#!", 2) != 0)
        return true;
    if (!memchr(source.data, '\n', source.size))
        return snprintf(error, 256, "Invalid script shebang"), false;
    if (!split(source, &w, code))
        return snprintf(error, 256, "Invalid engine in script shebang"), false;
    out->present = true;
    bool good = take_options(out, &w, error);
    words_release(&w);
    return good;
}

/* The word behind name=; NULL: error says why. */
static const char *name_of(const struct words *w, char error[256])
{
    const char *name = NULL;
    for (size_t i = 1; i < w->count; i++) {
        const char *word = w->items[i];
        if (strncasecmp(word, "name=", 5) != 0)
            return snprintf(error, 256, "Invalid metadata value given: %s", word), NULL;
        if (name)
            return snprintf(error, 256, "Invalid metadata value, name argument was given multiple times"), NULL;
        name = word + 5;
    }
    if (!name)
        snprintf(error, 256, "Library name was not given");
    return name;
}

bool shebang_parse_library(bytes source, char **name, bytes *code, char error[256])
{
    struct words w;
    if (source.size < 2 || memcmp(source.data, "#!", 2) != 0)
        return snprintf(error, 256, "Missing library metadata"), false;
    if (!split(source, &w, code))
        return snprintf(error, 256, "Invalid library metadata"), false;
    const char *word = name_of(&w, error);
    bool known = word && strcasecmp(engine_of(&w), "lua") == 0;
    if (word && !known)
        snprintf(error, 256, "Engine '%s' not found", engine_of(&w));
    if (known)
        *name = mem_strdup(word);
    words_release(&w);
    return known;
}
