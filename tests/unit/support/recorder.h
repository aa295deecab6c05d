/* recorder.h -- a simulated disk behind struct os, for tests that cut the power or break the disk.
 *
 * Every file has two contents: live (what a read sees, the page cache) and hard (what is on
 * the platter), and between them the unsynced writes in order; names likewise. fdatasync
 * makes a file's writes hard, sync_dir the names of a directory, nothing else does. A
 * fork of the disk is what the next process finds after a power cut or a crash; the
 * process of before runs on, harmless, on the disk that was, until it is closed.
 *
 * fork: a power cut keeps, drops or tears each unsynced write (by 512-byte sectors) and keeps
 * or drops each unsynced name change, as the seed says. A failed fdatasync loses part of what
 * it should have written, and a later one does not bring it back (as Linux does).
 *
 * Header only, one recorder per program, any number of threads. Set `rec.cut_at` and the
 * like before the threads start. The sockets are the kernel's, and so is the clock, which
 * `speed` makes run faster (sleeps stay as long as they are).
 */
#ifndef HF_TEST_RECORDER_H
#define HF_TEST_RECORDER_H

#include "base/assert.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REC __attribute__((unused)) static
#define REC_ROOT "/disk"       /* stands always; data directories are made in it */
#define REC_PATH_MAX 128
#define REC_HANDLES 128
#define REC_FIRST_HANDLE 1000  /* no number of a real descriptor */
#define REC_SECTOR 512u
#define REC_FORKS_MAX 4

enum rec_call { REC_OPEN, REC_PREAD, REC_PWRITE, REC_FDATASYNC, REC_FTRUNCATE, REC_FILE_SIZE, REC_RENAME, REC_UNLINK,
                REC_MKDIR, REC_SYNC_DIR, REC_LIST_DIR, REC_LOCK, REC_CALLS };
#define REC_BIT(call) (1u << (call))
#define REC_CHANGES (REC_BIT(REC_OPEN) | REC_BIT(REC_PWRITE) | REC_BIT(REC_FDATASYNC) | REC_BIT(REC_FTRUNCATE) | \
                     REC_BIT(REC_RENAME) | REC_BIT(REC_UNLINK) | REC_BIT(REC_MKDIR) | REC_BIT(REC_SYNC_DIR))

struct rec_bytes { uint8_t *data; size_t size, capacity; };
struct rec_write { struct rec_write *next; uint64_t number, offset, size; bool truncate; uint8_t data[]; };
struct rec_file { struct rec_bytes live, hard; struct rec_write *first, **last; bool locked; };
struct rec_name { char path[REC_PATH_MAX]; struct rec_file *file; }; /* NULL: a directory */
struct rec_names { struct rec_name *at; size_t count, capacity; };

enum rec_change { REC_MADE, REC_MOVED, REC_GONE };
struct rec_pending { enum rec_change change; char path[REC_PATH_MAX], to[REC_PATH_MAX]; struct rec_file *file; };

struct rec_disk {
    struct rec_names live, hard;
    struct rec_pending *pending;
    size_t pending_count, pending_capacity;
    struct rec_file **files; /* all that ever were */
    size_t file_count, file_capacity;
};

struct rec_handle { struct rec_disk *disk; struct rec_file *file; bool locks; };

struct rec_fault {
    uint32_t calls;         /* REC_BIT of those that fail */
    const char *path;       /* NULL: any; else a part of the path (calls with a path) */
    uint64_t from, count;   /* the from-th such call (1 is the first) and count - 1 after it */
    int error;              /* -EIO, -ENOSPC */
    uint64_t seen, hits;
};

static struct recorder {
    pthread_mutex_t lock;
    struct rec_disk *disk;
    struct rec_handle handles[REC_HANDLES];
    uint64_t calls[REC_CALLS], changes, write_number, random;
    struct rec_fault fault;
    _Atomic bool fault_waits;         /* a call that is to fail does so when this has become false */
    bool lie_fdatasync, lie_sync_dir; /* answer 0, do nothing */
    unsigned speed;                   /* of the monotonic clock */
    unsigned sync_us;                 /* an fdatasync takes that long */
    uint64_t capacity;                /* bytes that all files together may have; 0: any */
    /* the cut: at the cut_at-th changing call, or by rec_cut() */
    uint64_t cut_at, cut_seeds[REC_FORKS_MAX];
    int cut_forks;
    bool cut_is_crash;                /* of the process only: every byte and name stays */
    struct rec_disk *forks[REC_FORKS_MAX];
    _Atomic bool cut;
} rec = {.lock = PTHREAD_MUTEX_INITIALIZER, .random = 88172645463325252u};

REC uint64_t rec_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* --- bytes, names ------------------------------------------------------------------- */

REC void rec_resize(struct rec_bytes *b, size_t size)
{
    if (size > b->capacity) {
        b->capacity = size > b->capacity * 2 ? size : b->capacity * 2;
        b->data = realloc(b->data, b->capacity);
        hf_assert(b->data);
    }
    if (size > b->size)
        memset(b->data + b->size, 0, size - b->size);
    b->size = size;
}

REC void rec_store(struct rec_bytes *b, uint64_t offset, const void *data, size_t size)
{
    if (size && offset + size > b->size)
        rec_resize(b, offset + size);
    if (size)
        memcpy(b->data + offset, data, size);
}

REC struct rec_name *rec_find(struct rec_names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->at[i].path, path) == 0)
            return &names->at[i];
    }
    return NULL;
}

REC void rec_copy_path(char out[REC_PATH_MAX], const char *path)
{
    size_t size = strlen(path) + 1;
    hf_assert(size <= REC_PATH_MAX);
    memcpy(out, path, size);
}

REC void rec_put(struct rec_names *names, const char *path, struct rec_file *file)
{
    struct rec_name *n = rec_find(names, path);
    if (!n) {
        if (names->count == names->capacity) {
            names->capacity = names->capacity ? names->capacity * 2 : 16;
            names->at = realloc(names->at, names->capacity * sizeof(*names->at));
            hf_assert(names->at);
        }
        n = &names->at[names->count++];
        rec_copy_path(n->path, path);
    }
    n->file = file;
}

REC void rec_take(struct rec_names *names, const char *path)
{
    struct rec_name *n = rec_find(names, path);
    if (n)
        *n = names->at[--names->count];
}

REC void rec_parent(char out[REC_PATH_MAX], const char *path)
{
    rec_copy_path(out, path);
    char *slash = strrchr(out, '/');
    hf_assert(slash);
    *slash = 0;
}

REC bool rec_is_in(const char *path, const char *dir)
{
    char parent[REC_PATH_MAX];
    rec_parent(parent, path);
    return strcmp(parent, dir) == 0;
}

REC bool rec_is_dir(struct rec_names *names, const char *path)
{
    struct rec_name *n = rec_find(names, path);
    return strcmp(path, REC_ROOT) == 0 || (n && !n->file);
}

REC void rec_apply_change(struct rec_names *names, const struct rec_pending *p)
{
    struct rec_name *n = rec_find(names, p->path);
    bool same = n && n->file == p->file;
    if (p->change == REC_MADE)
        rec_put(names, p->path, p->file);
    else if (same)
        rec_take(names, p->path);
    if (p->change == REC_MOVED)
        rec_put(names, p->to, p->file);
}

REC void rec_change(struct rec_disk *d, enum rec_change change, const char *path, const char *to, struct rec_file *file)
{
    if (d->pending_count == d->pending_capacity) {
        d->pending_capacity = d->pending_capacity ? d->pending_capacity * 2 : 16;
        d->pending = realloc(d->pending, d->pending_capacity * sizeof(*d->pending));
        hf_assert(d->pending);
    }
    struct rec_pending *p = &d->pending[d->pending_count++];
    *p = (struct rec_pending){.change = change, .file = file};
    rec_copy_path(p->path, path);
    rec_copy_path(p->to, to);
    rec_apply_change(&d->live, p);
}

/* --- files --------------------------------------------------------------------------- */

REC struct rec_file *rec_file_new(struct rec_disk *d)
{
    if (d->file_count == d->file_capacity) {
        d->file_capacity = d->file_capacity ? d->file_capacity * 2 : 16;
        d->files = realloc(d->files, d->file_capacity * sizeof(struct rec_file *));
        hf_assert(d->files);
    }
    struct rec_file *f = calloc(1, sizeof(*f));
    hf_assert(f);
    f->last = &f->first;
    d->files[d->file_count++] = f;
    return f;
}

REC void rec_write_add(struct rec_file *f, uint64_t offset, const void *data, size_t size, bool truncate)
{
    struct rec_write *w = malloc(sizeof(*w) + (truncate ? 0 : size));
    hf_assert(w);
    *w = (struct rec_write){.number = rec.write_number++, .offset = offset, .size = size, .truncate = truncate};
    if (truncate) {
        rec_resize(&f->live, size);
    } else {
        memcpy(w->data, data, size);
        rec_store(&f->live, offset, data, size);
    }
    *f->last = w;
    f->last = &w->next;
}

REC void rec_write_harden(struct rec_file *f, const struct rec_write *w)
{
    if (w->truncate)
        rec_resize(&f->hard, w->size);
    else
        rec_store(&f->hard, w->offset, w->data, w->size);
}

/* Some sectors of the write reach the platter; the file may have grown all the same. */
REC void rec_write_tear(struct rec_file *f, const struct rec_write *w, uint64_t *random)
{
    if (w->truncate)
        return;
    for (uint64_t at = w->offset; at < w->offset + w->size;) {
        uint64_t end = (at / REC_SECTOR + 1) * REC_SECTOR;
        end = end < w->offset + w->size ? end : w->offset + w->size;
        if (rec_next(random) % 2)
            rec_store(&f->hard, at, w->data + (at - w->offset), end - at);
        at = end;
    }
}

REC struct rec_write *rec_write_pop(struct rec_file *f)
{
    struct rec_write *w = f->first;
    f->first = w->next;
    if (!f->first)
        f->last = &f->first;
    return w;
}

/* --- disks ----------------------------------------------------------------------------- */

REC struct rec_disk *rec_disk_new(void)
{
    struct rec_disk *d = calloc(1, sizeof(*d));
    hf_assert(d);
    return d;
}

REC void rec_disk_free(struct rec_disk *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->file_count; i++) {
        while (d->files[i]->first)
            free(rec_write_pop(d->files[i]));
        free(d->files[i]->live.data);
        free(d->files[i]->hard.data);
        free(d->files[i]);
    }
    free(d->files);
    free(d->live.at);
    free(d->hard.at);
    free(d->pending);
    free(d);
}

REC struct rec_file *rec_twin(const struct rec_disk *from, const struct rec_disk *to, const struct rec_file *f)
{
    for (size_t i = 0; f && i < from->file_count; i++) {
        if (from->files[i] == f)
            return to->files[i];
    }
    return NULL;
}

/* A copy of everything, without the locks of the process. */
REC struct rec_disk *rec_disk_copy(struct rec_disk *from)
{
    struct rec_disk *to = rec_disk_new();
    for (size_t i = 0; i < from->file_count; i++) {
        const struct rec_file *f = from->files[i];
        struct rec_file *g = rec_file_new(to);
        rec_store(&g->live, 0, f->live.data, f->live.size);
        rec_store(&g->hard, 0, f->hard.data, f->hard.size);
        for (const struct rec_write *w = f->first; w; w = w->next) {
            size_t size = sizeof(*w) + (w->truncate ? 0 : w->size);
            struct rec_write *copy = malloc(size);
            hf_assert(copy);
            memcpy(copy, w, size);
            copy->next = NULL;
            *g->last = copy;
            g->last = &copy->next;
        }
    }
    for (size_t i = 0; i < from->live.count; i++)
        rec_put(&to->live, from->live.at[i].path, rec_twin(from, to, from->live.at[i].file));
    for (size_t i = 0; i < from->hard.count; i++)
        rec_put(&to->hard, from->hard.at[i].path, rec_twin(from, to, from->hard.at[i].file));
    to->pending = from->pending_count ? malloc(from->pending_count * sizeof(*to->pending)) : NULL;
    to->pending_count = to->pending_capacity = from->pending_count;
    for (size_t i = 0; i < from->pending_count; i++) {
        to->pending[i] = from->pending[i];
        to->pending[i].file = rec_twin(from, to, from->pending[i].file);
    }
    return to;
}

enum rec_fate { REC_KEEP, REC_DROP, REC_TEAR };

/* Flavours: 0 nothing unsynced survives, 1 all of it, 2 each by itself, 3 a prefix. */
REC enum rec_fate rec_fate(unsigned flavour, uint64_t *random, bool *ended)
{
    if (flavour == 0)
        return REC_DROP;
    if (flavour == 1)
        return REC_KEEP;
    if (flavour == 2)
        return (enum rec_fate)(rec_next(random) % 3);
    if (*ended)
        return REC_DROP;
    *ended = rec_next(random) % 4 == 0;
    return *ended ? REC_TEAR : REC_KEEP;
}

REC void rec_power_cut(struct rec_disk *d, uint64_t seed)
{
    uint64_t random = seed;
    unsigned names = rec_next(&random) % 4, writes = rec_next(&random) % 4;
    bool ended = false;
    for (size_t i = 0; i < d->pending_count; i++) {
        if (rec_fate(names, &random, &ended) == REC_KEEP)
            rec_apply_change(&d->hard, &d->pending[i]);
    }
    d->pending_count = 0;
    d->live.count = 0;
    for (size_t i = 0; i < d->hard.count; i++) { /* what is in a directory that is gone is gone */
        char parent[REC_PATH_MAX];
        rec_parent(parent, d->hard.at[i].path);
        if (rec_is_dir(&d->hard, parent))
            rec_put(&d->live, d->hard.at[i].path, d->hard.at[i].file);
    }
    d->hard.count = 0;
    for (size_t i = 0; i < d->live.count; i++)
        rec_put(&d->hard, d->live.at[i].path, d->live.at[i].file);
    for (size_t i = 0; i < d->file_count; i++) {
        struct rec_file *f = d->files[i];
        ended = false;
        while (f->first) {
            struct rec_write *w = rec_write_pop(f);
            enum rec_fate fate = rec_fate(writes, &random, &ended);
            if (fate == REC_KEEP)
                rec_write_harden(f, w);
            else if (fate == REC_TEAR)
                rec_write_tear(f, w, &random);
            free(w);
        }
        rec_resize(&f->live, 0);
        rec_store(&f->live, 0, f->hard.data, f->hard.size);
    }
}

REC void rec_cut_locked(void)
{
    if (atomic_load(&rec.cut))
        return;
    for (int i = 0; i < rec.cut_forks; i++) {
        rec.forks[i] = rec_disk_copy(rec.disk);
        if (!rec.cut_is_crash)
            rec_power_cut(rec.forks[i], rec.cut_seeds[i]);
    }
    atomic_store(&rec.cut, true);
}

/* Now, if it has not happened yet. */
REC void rec_cut(void)
{
    pthread_mutex_lock(&rec.lock);
    rec_cut_locked();
    pthread_mutex_unlock(&rec.lock);
}

/* A power cut (or a crash of the process) is to come at the cut_at-th change, or by rec_cut. */
REC void rec_arm(uint64_t cut_at, bool crash, int forks, uint64_t seed)
{
    pthread_mutex_lock(&rec.lock); /* threads of an engine that is closing may still write */
    rec.changes = 0;
    rec.cut_at = cut_at;
    rec.cut_is_crash = crash;
    rec.cut_forks = forks;
    for (int i = 0; i < forks; i++)
        rec.cut_seeds[i] = rec_next(&seed);
    memset(rec.forks, 0, sizeof(rec.forks));
    atomic_store(&rec.cut, false);
    pthread_mutex_unlock(&rec.lock);
}

/* The disk that the next process finds; the one before is freed. */
REC void rec_insert(struct rec_disk *d)
{
    pthread_mutex_lock(&rec.lock);
    for (int i = 0; i < REC_HANDLES; i++)
        hf_assert(!rec.handles[i].file); /* the process of before has not closed this */
    if (rec.disk != d)
        rec_disk_free(rec.disk);
    rec.disk = d;
    pthread_mutex_unlock(&rec.lock);
}

/* --- the calls -------------------------------------------------------------------------- */

/* Takes the lock. Negative: the call is to fail with this. */
REC int rec_begin(enum rec_call call, const char *path)
{
    pthread_mutex_lock(&rec.lock);
    struct rec_fault *f = &rec.fault;
    rec.calls[call]++;
    if (REC_BIT(call) & REC_CHANGES && ++rec.changes == rec.cut_at)
        rec_cut_locked();
    if (!(f->calls & REC_BIT(call)) || (f->path && (!path || !strstr(path, f->path))))
        return 0;
    uint64_t n = ++f->seen;
    if (n < f->from || n - f->from >= f->count)
        return 0;
    f->hits++;
    int error = f->error;
    while (atomic_load(&rec.fault_waits)) {
        pthread_mutex_unlock(&rec.lock);
        usleep(200);
        pthread_mutex_lock(&rec.lock);
    }
    return error;
}

REC int rec_end(int result)
{
    pthread_mutex_unlock(&rec.lock);
    return result;
}

REC struct rec_file *rec_file_of(int handle)
{
    hf_assert(handle >= REC_FIRST_HANDLE && handle < REC_FIRST_HANDLE + REC_HANDLES);
    struct rec_file *f = rec.handles[handle - REC_FIRST_HANDLE].file;
    hf_assert(f); /* used after it was closed */
    return f;
}

REC int rec_open(const char *path, int flags, int mode)
{
    char parent[REC_PATH_MAX];
    (void)mode;
    int error = rec_begin(REC_OPEN, path);
    if (error < 0)
        return rec_end(error);
    struct rec_disk *d = rec.disk;
    struct rec_name *n = rec_find(&d->live, path);
    rec_parent(parent, path);
    if (!rec_is_dir(&d->live, parent) || (!n && !(flags & O_CREAT)))
        return rec_end(-ENOENT);
    struct rec_file *f = n ? n->file : NULL;
    if (n && !f)
        return rec_end(-EISDIR);
    if (!f) {
        f = rec_file_new(d);
        rec_change(d, REC_MADE, path, "", f);
    } else if (flags & O_TRUNC) {
        rec_write_add(f, 0, NULL, 0, true);
    }
    for (int i = 0; i < REC_HANDLES; i++) {
        if (!rec.handles[i].file) {
            rec.handles[i] = (struct rec_handle){d, f, false};
            return rec_end(REC_FIRST_HANDLE + i);
        }
    }
    return rec_end(-EMFILE);
}

REC int rec_close(int handle)
{
    if (handle < REC_FIRST_HANDLE)
        return os_kernel.close(handle); /* a socket */
    pthread_mutex_lock(&rec.lock);
    struct rec_file *f = rec_file_of(handle);
    if (rec.handles[handle - REC_FIRST_HANDLE].locks)
        f->locked = false;
    rec.handles[handle - REC_FIRST_HANDLE] = (struct rec_handle){0};
    return rec_end(0);
}

REC int64_t rec_pread(int handle, void *data, size_t size, uint64_t offset)
{
    int error = rec_begin(REC_PREAD, NULL);
    if (error < 0)
        return rec_end(error);
    const struct rec_bytes *b = &rec_file_of(handle)->live;
    size_t left = offset < b->size ? b->size - offset : 0, got = size < left ? size : left;
    if (got)
        memcpy(data, b->data + offset, got);
    rec_end(0);
    return (int64_t)got;
}

REC uint64_t rec_used(void)
{
    uint64_t used = 0;
    for (size_t i = 0; i < rec.disk->live.count; i++)
        used += rec.disk->live.at[i].file ? rec.disk->live.at[i].file->live.size : 0;
    return used;
}

REC int64_t rec_pwrite(int handle, const void *data, size_t size, uint64_t offset)
{
    int error = rec_begin(REC_PWRITE, NULL);
    struct rec_file *f = rec_file_of(handle);
    uint64_t grows = offset + size > f->live.size ? offset + size - f->live.size : 0;
    if (error == 0 && rec.capacity && grows && rec_used() + grows > rec.capacity)
        return rec_end(-ENOSPC);
    size_t put = error < 0 ? rec_next(&rec.random) % (size + 1) : size; /* a failing write writes something */
    if (put)
        rec_write_add(f, offset, data, put, false);
    rec_end(0);
    return error < 0 ? error : (int64_t)size;
}

REC int rec_fdatasync(int handle)
{
    int error = rec_begin(REC_FDATASYNC, NULL);
    struct rec_file *f = rec_file_of(handle);
    uint64_t limit = rec.write_number; /* what is written while it runs is not its business */
    unsigned pause = rec.sync_us;
    rec_end(0);
    if (pause)
        usleep(pause);
    pthread_mutex_lock(&rec.lock);
    while (!rec.lie_fdatasync && f->first && f->first->number < limit) {
        struct rec_write *w = rec_write_pop(f);
        if (error == 0)
            rec_write_harden(f, w);
        else if (rec_next(&rec.random) % 2)
            rec_write_tear(f, w, &rec.random);
        free(w);
    }
    return rec_end(error);
}

REC int rec_ftruncate(int handle, uint64_t size)
{
    int error = rec_begin(REC_FTRUNCATE, NULL);
    if (error == 0)
        rec_write_add(rec_file_of(handle), 0, NULL, size, true);
    return rec_end(error);
}

REC int64_t rec_file_size(int handle)
{
    int error = rec_begin(REC_FILE_SIZE, NULL);
    int64_t size = error < 0 ? error : (int64_t)rec_file_of(handle)->live.size;
    rec_end(0);
    return size;
}

REC int rec_rename(const char *from, const char *to)
{
    int error = rec_begin(REC_RENAME, to);
    if (error < 0)
        return rec_end(error);
    struct rec_name *n = rec_find(&rec.disk->live, from);
    if (!n)
        return rec_end(-ENOENT);
    rec_change(rec.disk, REC_MOVED, from, to, n->file);
    return rec_end(0);
}

REC int rec_unlink(const char *path)
{
    int error = rec_begin(REC_UNLINK, path);
    if (error < 0)
        return rec_end(error);
    struct rec_name *n = rec_find(&rec.disk->live, path);
    if (!n)
        return rec_end(-ENOENT);
    rec_change(rec.disk, REC_GONE, path, "", n->file);
    return rec_end(0);
}

REC int rec_mkdir(const char *path, int mode)
{
    char parent[REC_PATH_MAX];
    (void)mode;
    int error = rec_begin(REC_MKDIR, path);
    if (error < 0)
        return rec_end(error);
    if (strcmp(path, REC_ROOT) == 0 || rec_find(&rec.disk->live, path))
        return rec_end(-EEXIST);
    rec_parent(parent, path);
    if (!rec_is_dir(&rec.disk->live, parent))
        return rec_end(-ENOENT);
    rec_change(rec.disk, REC_MADE, path, "", NULL);
    return rec_end(0);
}

REC int rec_sync_dir(const char *path)
{
    int error = rec_begin(REC_SYNC_DIR, path);
    if (error < 0)
        return rec_end(error);
    struct rec_disk *d = rec.disk;
    if (!rec_is_dir(&d->live, path))
        return rec_end(-ENOENT);
    size_t kept = 0;
    for (size_t i = 0; i < d->pending_count; i++) {
        struct rec_pending p = d->pending[i];
        if (!rec.lie_sync_dir && rec_is_in(p.path, path))
            rec_apply_change(&d->hard, &p);
        else
            d->pending[kept++] = p;
    }
    d->pending_count = kept;
    return rec_end(0);
}

/* The callback may do I/O of its own: names are collected first. */
REC int rec_list_dir(const char *path, void (*each)(void *, const char *), void *context)
{
    int error = rec_begin(REC_LIST_DIR, path);
    if (error < 0)
        return rec_end(error);
    if (!rec_is_dir(&rec.disk->live, path))
        return rec_end(-ENOENT);
    size_t count = 0;
    struct rec_name *found = calloc(rec.disk->live.count + 1, sizeof(*found));
    hf_assert(found);
    for (size_t i = 0; i < rec.disk->live.count; i++) {
        if (rec_is_in(rec.disk->live.at[i].path, path))
            found[count++] = rec.disk->live.at[i];
    }
    rec_end(0);
    for (size_t i = 0; i < count; i++)
        each(context, strrchr(found[i].path, '/') + 1);
    free(found);
    return 0;
}

REC int rec_lock_file(int handle)
{
    int error = rec_begin(REC_LOCK, NULL);
    if (error < 0)
        return rec_end(error);
    struct rec_file *f = rec_file_of(handle);
    if (f->locked)
        return rec_end(-EWOULDBLOCK);
    f->locked = rec.handles[handle - REC_FIRST_HANDLE].locks = true;
    return rec_end(0);
}

REC int64_t rec_disk_free_bytes(const char *path)
{
    (void)path;
    pthread_mutex_lock(&rec.lock);
    uint64_t used = rec.capacity ? rec_used() : 0;
    int64_t left = !rec.capacity ? INT64_C(1) << 40 : rec.capacity > used ? (int64_t)(rec.capacity - used) : 0;
    pthread_mutex_unlock(&rec.lock);
    return left;
}

REC uint64_t rec_monotonic_us(void)
{
    return os_kernel.monotonic_us() * rec.speed;
}

static struct os rec_os;

/* A fresh disk, no faults; from here on all I/O goes to the recorder. */
REC void rec_start(void)
{
    rec_os = os_kernel;
    rec_os.open = rec_open;
    rec_os.close = rec_close;
    rec_os.pread = rec_pread;
    rec_os.pwrite = rec_pwrite;
    rec_os.fdatasync = rec_fdatasync;
    rec_os.ftruncate = rec_ftruncate;
    rec_os.file_size = rec_file_size;
    rec_os.rename = rec_rename;
    rec_os.unlink = rec_unlink;
    rec_os.mkdir = rec_mkdir;
    rec_os.sync_dir = rec_sync_dir;
    rec_os.list_dir = rec_list_dir;
    rec_os.lock_file = rec_lock_file;
    rec_os.disk_free = rec_disk_free_bytes;
    rec_os.monotonic_us = rec_monotonic_us;
    rec.speed = 1;
    os_current = &rec_os;
    rec.fault = (struct rec_fault){0};
    atomic_store(&rec.fault_waits, false);
    rec.lie_fdatasync = rec.lie_sync_dir = false;
    rec.sync_us = 0;
    rec.capacity = 0;
    memset(rec.calls, 0, sizeof(rec.calls));
    rec_arm(0, false, 0, 0);
    rec_insert(rec_disk_new());
}

REC void rec_stop(void)
{
    bool in_use = false;
    for (int i = 0; i < REC_HANDLES; i++)
        in_use |= rec.handles[i].file != NULL;
    if (in_use) { /* a test has failed half-way: its engine runs on, and cmocka still wants to say why */
        rec.disk = NULL;
        return;
    }
    rec_insert(NULL);
    os_current = &os_kernel;
}

REC void rec_set_fault(uint32_t calls, const char *path, uint64_t from, uint64_t count, int error)
{
    pthread_mutex_lock(&rec.lock);
    rec.fault = (struct rec_fault){.calls = calls, .path = path, .from = from, .count = count, .error = error};
    pthread_mutex_unlock(&rec.lock);
}

/* All its calls have failed. */
REC bool rec_fault_is_spent(void)
{
    pthread_mutex_lock(&rec.lock);
    bool spent = rec.fault.hits == rec.fault.count;
    pthread_mutex_unlock(&rec.lock);
    return spent;
}

/* Ends the fault; returns how many calls it has failed. */
REC uint64_t rec_clear_fault(void)
{
    pthread_mutex_lock(&rec.lock);
    uint64_t hits = rec.fault.hits;
    rec.fault = (struct rec_fault){0};
    pthread_mutex_unlock(&rec.lock);
    return hits;
}

#endif
