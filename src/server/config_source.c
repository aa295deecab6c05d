/* config_source.c -- where values come from: file, environment, command line, in this order. */
#include "base/memory.h"
#include "os/os.h"
#include "server/config_private.h"
#include "server/users.h"
#include "base/words.h"

#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define INCLUDE_DEPTH_MAX 10

extern char **environ;

/* Directives of Redis that would be dangerous to pass over in silence. */
static const struct { const char *name, *reason; } refused[] = {
    {"rename-command", "commands cannot be renamed"},
    {"loadmodule", "there are no modules"},
};

/* `place` is "file:line", "HOLDFAST_X" or "--x". */
static bool unknown(const char *place, const char *name, char *error)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (bytes_is_word(bytes_str(name), refused[i].name)) {
            snprintf(error, CONFIG_ERROR_SIZE, "%s: '%s' is not offered: %s", place, name, refused[i].reason);
            return false;
        }
    }
    const char *nearest = config_nearest(name, strlen(name) / 3 + 2);
    snprintf(error, CONFIG_ERROR_SIZE, "%s: unknown setting '%.200s'%s%s%s", place, name,
             nearest ? "; did you mean '" : "", nearest ? nearest : "; see holdfast --help", nearest ? "'?" : "");
    return false;
}

static bool assign(const char *place, const char *name, char *const *words, size_t count, enum setting_source source,
                   char *error)
{
    int id = config_find(bytes_str(name));
    if (id < 0 && bytes_is_word(bytes_str(name), "user"))
        return users_note(place, words, count, error, CONFIG_ERROR_SIZE);
    if (id < 0)
        return unknown(place, name, error);
    char reason[CONFIG_ERROR_SIZE / 2];
    if (config_assign((enum setting)id, words, count, source, reason, sizeof(reason)))
        return true;
    bool hidden = setting_rows[id].flags & SECRET;
    snprintf(error, CONFIG_ERROR_SIZE, "%s: %s%s%.100s%s: %s", place, name, count ? " '" : "",
             count ? hidden ? "..." : words[0] : "", count ? "'" : "", reason);
    return false;
}

/* -- file -- */

static bool read_file(const char *path, int depth, char *error);

static bool read_include(const char *place, const char *from, const struct words *w, int depth, char *error)
{
    char path[CONFIG_TEXT_MAX];
    const char *slash = strrchr(from, '/');
    if (w->count != 2) {
        snprintf(error, CONFIG_ERROR_SIZE, "%s: include takes one path", place);
        return false;
    }
    if (w->items[1][0] == '/' || !slash)
        snprintf(path, sizeof(path), "%s", w->items[1]);
    else
        snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - from), from, w->items[1]);
    if (!path[strcspn(path, "*?[")])
        return read_file(path, depth + 1, error);
    /* Of a pattern all files, by name; that there is none is no mistake. */
    glob_t found;
    bool good = true;
    if (glob(path, 0, NULL, &found) != 0)
        return true;
    for (size_t i = 0; i < found.gl_pathc && good; i++)
        good = read_file(found.gl_pathv[i], depth + 1, error);
    globfree(&found);
    return good;
}

static bool read_line(const char *path, size_t number, bytes line, int depth, char *error)
{
    char place[CONFIG_ERROR_SIZE / 2];
    struct words w;
    while (line.size && isspace(line.data[0]))
        line = bytes_of(line.data + 1, line.size - 1);
    if (line.size == 0 || line.data[0] == '#')
        return true;
    snprintf(place, sizeof(place), "%.400s:%zu", path, number);
    if (!words_split(&w, line)) {
        snprintf(error, CONFIG_ERROR_SIZE, "%s: unbalanced quotes or too many words", place);
        return false;
    }
    if (w.count == 0)
        return true;
    bool good = bytes_is_word(bytes_str(w.items[0]), "include")
                    ? read_include(place, path, &w, depth, error)
                    : assign(place, w.items[0], w.items + 1, w.count - 1, SOURCE_FILE, error);
    words_release(&w);
    return good;
}

static bool read_file(const char *path, int depth, char *error)
{
    void *data;
    size_t size;
    if (depth > INCLUDE_DEPTH_MAX) {
        snprintf(error, CONFIG_ERROR_SIZE, "%.400s: included from itself", path);
        return false;
    }
    int result = os_read_file(path, CONFIG_FILE_MAX, &data, &size);
    if (result < 0) {
        snprintf(error, CONFIG_ERROR_SIZE, "cannot read the configuration file %.400s: %s", path, strerror(-result));
        return false;
    }
    bool good = true;
    size_t number = 1;
    config_other_file();
    for (size_t at = 0; good && at < size; number++) {
        const uint8_t *start = (const uint8_t *)data + at, *end = memchr(start, '\n', size - at);
        size_t length = end ? (size_t)(end - start) : size - at;
        good = read_line(path, number, bytes_of(start, length), depth, error);
        at += length + 1;
    }
    mem_free(data);
    config_other_file();
    return good;
}

/* -- environment: HOLDFAST_HASH_MAX_LISTPACK_ENTRIES=128 -- */

#define PREFIX "HOLDFAST_"

static bool read_environment(char *error)
{
    for (char **variable = environ; *variable; variable++) {
        const char *equal = strchr(*variable, '=');
        if (!equal || strncmp(*variable, PREFIX, sizeof(PREFIX) - 1) != 0)
            continue;
        char place[128], name[128];
        snprintf(place, sizeof(place), "%.*s", (int)(equal - *variable), *variable);
        snprintf(name, sizeof(name), "%s", place + sizeof(PREFIX) - 1);
        for (char *c = name; *c; c++)
            *c = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
        /* Kubernetes sets HOLDFAST_PORT=tcp://... and others beside a service of this name: what is like no setting is none. */
        if (strncmp(equal + 1, "tcp://", 6) == 0)
            continue;
        if (config_find(bytes_str(name)) < 0 && config_nearest(name, strlen(name) / 6 + 2))
            return unknown(place, name, error);
        if (config_find(bytes_str(name)) < 0)
            continue;
        struct words w;
        int id = config_find(bytes_str(name));
        char *whole = (char *)(uintptr_t)(equal + 1);
        bool is_list = setting_rows[id].kind == LIST;
        if (is_list && !words_split(&w, bytes_str(equal + 1))) {
            snprintf(error, CONFIG_ERROR_SIZE, "%s: unbalanced quotes or too many words", place);
            return false;
        }
        bool good = is_list ? assign(place, name, w.items, w.count, SOURCE_ENVIRONMENT, error)
                            : assign(place, name, &whole, 1, SOURCE_ENVIRONMENT, error);
        if (is_list)
            words_release(&w);
        if (!good)
            return false;
    }
    return true;
}

/* -- command line: [file] --name value... -- */

static bool is_flag(const char *argument)
{
    return argument[0] == '-' && argument[1] == '-' && argument[2] != 0;
}

static bool read_flag(char **argv, int count, char *error)
{
    char name[128], place[136];
    const char *start = argv[0] + 2, *equal = strchr(start, '=');
    snprintf(name, sizeof(name), "%.*s", (int)(equal ? (size_t)(equal - start) : strlen(start)), start);
    snprintf(place, sizeof(place), "--%s", name);
    char *whole = equal ? (char *)(uintptr_t)(equal + 1) : NULL, yes[] = "yes", *bare = yes;
    if (whole && count > 1) {
        snprintf(error, CONFIG_ERROR_SIZE, "%s: has a value already, and then comes '%.100s'", place, argv[1]);
        return false;
    }
    if (whole)
        return assign(place, name, &whole, 1, SOURCE_FLAG, error);
    int id = config_find(bytes_str(name));
    if (count == 1 && id >= 0 && setting_rows[id].kind == BOOL)
        return assign(place, name, &bare, 1, SOURCE_FLAG, error);
    if (count == 1 && id >= 0) {
        snprintf(error, CONFIG_ERROR_SIZE, "%s: needs a value", place);
        return false;
    }
    return assign(place, name, argv + 1, (size_t)count - 1, SOURCE_FLAG, error);
}

/* The words that ask for something else than a server. The file may follow --check-config. */
static bool take_request(const char *argument, enum config_run *run)
{
    static const struct { const char *word; enum config_run run; } requests[] = {
        {"--help", CONFIG_RUN_HELP},       {"-h", CONFIG_RUN_HELP},
        {"--version", CONFIG_RUN_VERSION}, {"-v", CONFIG_RUN_VERSION},
        {"--check-config", CONFIG_RUN_CHECK},
    };
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        if (strcmp(argument, requests[i].word) == 0) {
            *run = requests[i].run;
            return true;
        }
    }
    return false;
}

static int value_count(int argc, char **argv, int at)
{
    int count = 1;
    while (at + count < argc && !is_flag(argv[at + count]))
        count++;
    return count;
}

static bool read_flags(int argc, char **argv, char *error)
{
    for (int i = 1, count; i < argc; i += count) {
        enum config_run ignored;
        count = 1;
        if (take_request(argv[i], &ignored))
            continue;
        if (!is_flag(argv[i])) {
            if (argv[i][0] != '-' && (i == 1 || take_request(argv[i - 1], &ignored)))
                continue; /* the file */
            snprintf(error, CONFIG_ERROR_SIZE, "'%.200s': expected --name value; see holdfast --help", argv[i]);
            return false;
        }
        count = value_count(argc, argv, i);
        if (!read_flag(argv + i, count, error))
            return false;
    }
    return true;
}

static const char *find_file(int argc, char **argv)
{
    enum config_run ignored;
    for (int i = 1; i < argc; i++)
        if (!is_flag(argv[i]) && argv[i][0] != '-' && (i == 1 || take_request(argv[i - 1], &ignored)))
            return argv[i];
    return NULL;
}

/* A relative data directory means one thing, whatever changes the working directory later. */
static void make_dir_absolute(void)
{
    char cwd[CONFIG_TEXT_MAX / 2], path[CONFIG_TEXT_MAX];
    const char *dir = config_text(SETTING_DIR);
    if (dir[0] == '/' || !getcwd(cwd, sizeof(cwd)))
        return;
    while (strncmp(dir, "./", 2) == 0)
        dir += 2;
    bool here = strcmp(dir, ".") == 0 || !*dir;
    snprintf(path, sizeof(path), "%s%s%.1900s", cwd, here ? "" : "/", here ? "" : dir);
    config_replace_text(SETTING_DIR, path);
}

static bool read_named_file(const char *path, char *error)
{
    char absolute[CONFIG_TEXT_MAX], cwd[CONFIG_TEXT_MAX / 2];
    if (!read_file(path, 0, error))
        return false;
    if (path[0] != '/' && getcwd(cwd, sizeof(cwd)))
        snprintf(absolute, sizeof(absolute), "%s/%.1900s", cwd, path);
    else
        snprintf(absolute, sizeof(absolute), "%.4000s", path);
    config_set_file(absolute);
    return true;
}

bool config_read(int argc, char **argv, enum config_run *run, char error[CONFIG_ERROR_SIZE])
{
    *run = CONFIG_RUN_SERVER;
    config_defaults();
    for (int i = 1; i < argc; i++)
        if (take_request(argv[i], run)) {
            if (*run == CONFIG_RUN_HELP && i + 1 < argc && strcmp(argv[i + 1], "all") == 0)
                *run = CONFIG_RUN_HELP_ALL;
            break;
        }
    if (*run == CONFIG_RUN_HELP_ALL || *run == CONFIG_RUN_HELP || *run == CONFIG_RUN_VERSION)
        return true;
    const char *file = find_file(argc, argv);
    if ((file && !read_named_file(file, error)) || !read_environment(error) || !read_flags(argc, argv, error))
        return false;
    make_dir_absolute();
    return true;
}

/* -- help -- */

void config_help(bool all)
{
    printf("holdfast " HF_VERSION ": a durable multi-core key-value database for Redis clients\n\n"
           "usage: holdfast [FILE] [--name value]...     FILE: settings in the syntax of redis.conf\n"
           "       holdfast --check-config [FILE] [--name value]... | --help [all] | --version\n"
           "Later wins: FILE, then the environment (HOLDFAST_MAXCLIENTS=100), then --name.\n\n");
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting_row *row = &setting_rows[id];
        if (row->flags & (INERT | ALIAS) || id == SETTING_APPENDFSYNC || !(all || row->flags & FIRST))
            continue;
        char initial[12];
        snprintf(initial, sizeof(initial), "%s", strlen(row->initial) < sizeof(initial) ? row->initial : "...");
        printf("  --%-*s %-11s %s\n", all ? 26 : 18, row->name, row->initial[0] ? initial : "-", row->help);
    }
    if (!all)
        printf("\nholdfast --help all: every setting.");
    printf("\nSettings of Redis that mean nothing here are accepted; docs/ops/configuration.md lists them.\n");
}
