/* hf-inspect-folder.c -- a whole data directory: its identity, the segments of its log in their order, its snapshots. */
#include "hf-inspect.h"

#include "base/memory.h"
#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct paths { char **items; size_t count; };

struct folder {
    const char *path;
    struct paths identity, log, snapshots;
};

static void keep(struct paths *p, const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    p->items = mem_realloc(p->items, (p->count + 1) * sizeof(*p->items));
    p->items[p->count] = mem_alloc(size);
    snprintf(p->items[p->count++], size, "%s/%s", folder, name);
}

/* begin, digits, end: what is being made (.new) and spare segments are no part of the data. */
static bool is_numbered(const char *name, const char *begin, const char *end)
{
    size_t size = strlen(begin);
    if (strncmp(name, begin, size) != 0)
        return false;
    size_t digits = strspn(name + size, "0123456789");
    return digits > 0 && strcmp(name + size + digits, end) == 0;
}

static void look_at(void *context, const char *name)
{
    struct folder *f = context;
    if (strcmp(name, "holdfast.id") == 0)
        keep(&f->identity, f->path, name);
    else if (is_numbered(name, "log-", ".seg"))
        keep(&f->log, f->path, name);
    else if (is_numbered(name, "snapshot-", ".hfs"))
        keep(&f->snapshots, f->path, name);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The worse of the results: everything is looked at, whatever was wrong before. */
static int inspect(struct paths *p, int (*run)(int count, char **paths), int worst)
{
    if (p->count) {
        qsort(p->items, p->count, sizeof(*p->items), by_name);
        int result = run((int)p->count, p->items);
        worst = result > worst ? result : worst;
    }
    for (size_t i = 0; i < p->count; i++)
        mem_free(p->items[i]);
    mem_free(p->items);
    return worst;
}

int folder_inspect(int argc, char **argv)
{
    int worst = 0;
    for (int i = 0; i < argc; i++) {
        struct folder f = {.path = argv[i]};
        int got = OS.list_dir(argv[i], look_at, &f);
        if (got < 0) {
            fprintf(stderr, "hf-inspect: %s: %s\n", argv[i], strerror(-got));
            worst = 2;
            continue;
        }
        printf("folder %s segments=%zu snapshots=%zu%s\n", argv[i], f.log.count, f.snapshots.count,
               f.identity.count + f.log.count + f.snapshots.count ? "" : "; it holds no data of holdfast");
        worst = inspect(&f.identity, identity_inspect, worst);
        worst = inspect(&f.log, log_inspect, worst);
        worst = inspect(&f.snapshots, snapshot_inspect, worst);
    }
    return worst;
}
