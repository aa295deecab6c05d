/* segment_file.c -- see segment_file.h.
 *
 * Recycling renames a trimmed segment to the spare and fsyncs the directory before the
 * spare may be used: otherwise a crash could show an overwritten file under its old name.
 * The other way round, a power cut may keep the last name that a spare was given and lose that it was taken: then one file
 * has two names, and writing to the "spare" would damage a segment. Its header tells (spare_load).
 */
#include "durable/segment_file.h"

#include "base/memory.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FILL_CHUNK (1u << 20)

static void path_of(char out[SEGMENT_PATH_MAX], const char *dir, const char *name)
{
    int length = snprintf(out, SEGMENT_PATH_MAX, "%s/%s", dir, name);
    hf_assert(length > 0 && length < SEGMENT_PATH_MAX);
}

void segment_path(char out[SEGMENT_PATH_MAX], const char *dir, uint64_t number)
{
    char name[40];
    snprintf(name, sizeof(name), "log-%016" PRIu64 ".seg", number);
    path_of(out, dir, name);
}

struct numbers { uint64_t *at; size_t count, capacity; };

static void number_add(void *context, const char *name)
{
    struct numbers *found = context;
    if (strncmp(name, "log-", 4) != 0 || name[4] < '0' || name[4] > '9')
        return;
    char *end, again[40];
    errno = 0;
    uint64_t number = strtoull(name + 4, &end, 10);
    snprintf(again, sizeof(again), "log-%016" PRIu64 ".seg", number);
    if (errno || strcmp(name, again) != 0)
        return;
    if (found->count == found->capacity) {
        found->capacity = found->capacity ? found->capacity * 2 : 16;
        found->at = mem_realloc(found->at, found->capacity * sizeof(*found->at));
    }
    found->at[found->count++] = number;
}

static int number_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int segment_numbers(const char *dir, uint64_t **numbers, size_t *count)
{
    struct numbers found = {0};
    int result = OS.list_dir(dir, number_add, &found);
    if (result < 0) {
        mem_free(found.at);
        return result;
    }
    if (found.count)
        qsort(found.at, found.count, sizeof(*found.at), number_compare);
    *numbers = found.at;
    *count = found.count;
    return 0;
}

static void entry_add(struct segment_files *files, struct segment_entry entry)
{
    if (files->count == files->capacity) {
        files->capacity = files->capacity ? files->capacity * 2 : 16;
        files->entries = mem_realloc(files->entries, files->capacity * sizeof(*files->entries));
    }
    files->entries[files->count++] = entry;
    atomic_fetch_add(&files->disk_bytes, entry.size);
}

/* 0 and the header's number and first lsn; 1: no header of this log is there; or -errno. */
static int header_look(int file, uint64_t log_id, struct segment_header *h)
{
    uint8_t block[SEGMENT_BLOCK];
    int64_t got = OS.pread(file, block, sizeof(block), 0);
    if (got < 0)
        return (int)got;
    return segment_header_decode(block, (size_t)got, h) || h->log_id != log_id;
}

/* Segments that recovery has left for a later trim; files of another log are not ours. */
static int entries_load(struct segment_files *files, uint64_t log_id)
{
    uint64_t *numbers = NULL;
    size_t count = 0;
    int result = segment_numbers(files->dir, &numbers, &count);
    for (size_t i = 0; result == 0 && i < count; i++) {
        char path[SEGMENT_PATH_MAX];
        struct segment_header h;
        segment_path(path, files->dir, numbers[i]);
        int file = OS.open(path, O_RDONLY, 0);
        if (file < 0) {
            result = file;
            break;
        }
        int64_t size = OS.file_size(file);
        bool ours = header_look(file, log_id, &h) == 0;
        OS.close(file);
        if (ours && size >= 0 && h.number == numbers[i])
            entry_add(files, (struct segment_entry){h.number, h.first_lsn, (uint64_t)size, false});
    }
    mem_free(numbers);
    return result;
}

/* Whether the file is a segment, too: it has the number of one. In doubt it is. */
static bool has_a_segments_number(const struct segment_files *files, int file, uint64_t log_id)
{
    struct segment_header h;
    int result = header_look(file, log_id, &h);
    for (size_t i = 0; result == 0 && i < files->count; i++) {
        if (files->entries[i].number == h.number)
            return true;
    }
    return result < 0;
}

static void spare_load(struct segment_files *files, uint64_t log_id)
{
    char path[SEGMENT_PATH_MAX];
    path_of(path, files->dir, "log-spare.seg");
    int file = OS.open(path, O_RDONLY, 0);
    if (file < 0)
        return;
    int64_t size = OS.file_size(file);
    bool named_twice = has_a_segments_number(files, file, log_id);
    OS.close(file);
    if (size == (int64_t)files->segment_size && !named_twice) {
        atomic_store(&files->spare_ready, true);
        atomic_fetch_add(&files->disk_bytes, files->segment_size);
    } else {
        OS.unlink(path);
    }
}

int segment_files_init(struct segment_files *files, const char *dir, uint64_t log_id,
                       uint64_t segment_size)
{
    char path[SEGMENT_PATH_MAX];
    *files = (struct segment_files){
        .dir = mem_strdup(dir), .segment_size = segment_size, .fill_file = -1};
    os_mutex_init(&files->lock);
    path_of(path, dir, "log-fill.new");
    OS.unlink(path);
    path_of(path, dir, "log-next.new");
    OS.unlink(path);
    int result = entries_load(files, log_id);
    if (result < 0)
        segment_files_release(files);
    else if (segment_size)
        spare_load(files, log_id);
    return result;
}

void segment_files_release(struct segment_files *files)
{
    if (files->fill_file >= 0) {
        char path[SEGMENT_PATH_MAX];
        path_of(path, files->dir, "log-fill.new");
        OS.close(files->fill_file);
        OS.unlink(path);
    }
    os_mutex_release(&files->lock);
    mem_free(files->entries);
    mem_free(files->dir);
}

/* The spare under the name log-next.new, or -ENOENT. */
static int spare_take(struct segment_files *files, const char *path)
{
    char spare[SEGMENT_PATH_MAX];
    path_of(spare, files->dir, "log-spare.seg");
    os_mutex_lock(&files->lock);
    int file = -ENOENT;
    if (atomic_load(&files->spare_ready)) {
        atomic_store(&files->spare_ready, false);
        atomic_fetch_sub(&files->disk_bytes, files->segment_size);
        int moved = OS.rename(spare, path);
        file = moved < 0 ? moved : OS.open(path, O_RDWR, 0);
    }
    os_mutex_unlock(&files->lock);
    return file;
}

int segment_new_begin(struct segment_files *files, const struct segment_header *header,
                      struct segment_new *fresh)
{
    char path[SEGMENT_PATH_MAX];
    uint8_t block[SEGMENT_BLOCK];
    path_of(path, files->dir, "log-next.new");
    *fresh = (struct segment_new){.header = *header};
    fresh->file = spare_take(files, path);
    fresh->prepared = fresh->file >= 0;
    if (fresh->file < 0)
        fresh->file = OS.open(path, O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (fresh->file < 0)
        return fresh->file;
    segment_header_encode(&fresh->header, block);
    int64_t put = OS.pwrite(fresh->file, block, sizeof(block), 0);
    if (put >= 0)
        return 0;
    segment_new_abort(files, fresh);
    return (int)put;
}

int segment_new_commit(struct segment_files *files, struct segment_new *fresh)
{
    char from[SEGMENT_PATH_MAX], to[SEGMENT_PATH_MAX];
    path_of(from, files->dir, "log-next.new");
    segment_path(to, files->dir, fresh->header.number);
    int result = OS.fdatasync(fresh->file);
    if (result == 0)
        result = OS.rename(from, to);
    if (result == 0)
        result = OS.sync_dir(files->dir);
    int64_t size = OS.file_size(fresh->file);
    if (result < 0) {
        OS.unlink(to); /* a later number takes its place; what it holds would do no harm */
        segment_new_abort(files, fresh);
        return result;
    }
    os_mutex_lock(&files->lock);
    entry_add(files, (struct segment_entry){fresh->header.number, fresh->header.first_lsn,
                                            size < 0 ? 0 : (uint64_t)size, false});
    os_mutex_unlock(&files->lock);
    return 0;
}

void segment_new_abort(struct segment_files *files, struct segment_new *fresh)
{
    char path[SEGMENT_PATH_MAX];
    path_of(path, files->dir, "log-next.new");
    OS.close(fresh->file);
    OS.unlink(path);
    fresh->file = -1;
}

void segment_note_size(struct segment_files *files, uint64_t size)
{
    os_mutex_lock(&files->lock);
    struct segment_entry *active = &files->entries[files->count - 1];
    if (size > active->size) {
        atomic_fetch_add(&files->disk_bytes, size - active->size);
        active->size = size;
    }
    os_mutex_unlock(&files->lock);
}

void segment_poison(struct segment_files *files)
{
    os_mutex_lock(&files->lock);
    files->entries[files->count - 1].poisoned = true;
    os_mutex_unlock(&files->lock);
}

static int fill_finish(struct segment_files *files, const char *path)
{
    char spare[SEGMENT_PATH_MAX];
    path_of(spare, files->dir, "log-spare.seg");
    int result = OS.fdatasync(files->fill_file);
    OS.close(files->fill_file);
    files->fill_file = -1;
    os_mutex_lock(&files->lock);
    if (result == 0 && !atomic_load(&files->spare_ready)) {
        result = OS.rename(path, spare);
        if (result == 0) {
            atomic_fetch_add(&files->disk_bytes, files->segment_size);
            atomic_store(&files->spare_ready, true);
            atomic_store(&files->fill_refused, false);
        }
    } else {
        OS.unlink(path);
    }
    os_mutex_unlock(&files->lock);
    return result;
}

int segment_fill_step(struct segment_files *files)
{
    static const uint8_t zeros[FILL_CHUNK];
    char path[SEGMENT_PATH_MAX];
    path_of(path, files->dir, "log-fill.new");
    if (files->fill_file < 0) {
        if (atomic_load(&files->spare_ready))
            return 0;
        int64_t left = OS.disk_free(files->dir);
        if (left >= 0 && (uint64_t)left < files->segment_size) {
            atomic_store(&files->fill_refused, true);
            return -ENOSPC;
        }
        atomic_store(&files->fill_refused, false);
        files->fill_size = 0;
        files->fill_file = OS.open(path, O_RDWR | O_CREAT | O_TRUNC, 0640);
        if (files->fill_file < 0)
            return files->fill_file;
    }
    uint64_t left = files->segment_size - files->fill_size;
    if (left == 0)
        return fill_finish(files, path);
    size_t chunk = left < FILL_CHUNK ? (size_t)left : FILL_CHUNK;
    int64_t put = OS.pwrite(files->fill_file, zeros, chunk, files->fill_size);
    files->fill_size += chunk;
    /* Small fsyncs: one of 64 MiB would hold up the commits beside it. */
    if (put >= 0 && files->fill_size % (4 * FILL_CHUNK) == 0)
        put = OS.fdatasync(files->fill_file);
    if (put >= 0)
        return 1;
    atomic_store(&files->fill_refused, put == -ENOSPC || put == -EDQUOT);
    OS.close(files->fill_file);
    OS.unlink(path);
    files->fill_file = -1;
    return (int)put;
}

/* Becomes the spare if one is missing and the size is right. Caller holds the lock. */
static void retire_locked(struct segment_files *files, const struct segment_entry *e)
{
    char path[SEGMENT_PATH_MAX], spare[SEGMENT_PATH_MAX];
    segment_path(path, files->dir, e->number);
    path_of(spare, files->dir, "log-spare.seg");
    if (!atomic_load(&files->spare_ready) && e->size == files->segment_size && !e->poisoned &&
        OS.rename(path, spare) == 0) {
        if (OS.sync_dir(files->dir) == 0) {
            atomic_store(&files->spare_ready, true);
            atomic_store(&files->fill_refused, false);
            return;
        }
        OS.unlink(spare);
    } else {
        OS.unlink(path);
    }
    atomic_fetch_sub(&files->disk_bytes, e->size);
}

void segment_trim(struct segment_files *files, uint64_t below_lsn)
{
    os_mutex_lock(&files->lock);
    size_t gone = 0;
    while (gone + 1 < files->count && files->entries[gone + 1].first_lsn <= below_lsn)
        retire_locked(files, &files->entries[gone++]);
    files->count -= gone;
    memmove(files->entries, files->entries + gone, files->count * sizeof(*files->entries));
    os_mutex_unlock(&files->lock);
}
