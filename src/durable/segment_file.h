/* segment_file.h -- the files of one log directory: made, prepared, recycled, trimmed.
 *
 * A segment is born as log-next.new (from the spare when there is one), and gets its
 * name only after its header is on disk. One spare of segment_size written bytes is kept.
 * Threads: create and note_size by the holder of the log's writer lock; fill by the
 * helper thread; trim by anybody. `lock` guards the list and the spare.
 */
#ifndef HF_DURABLE_SEGMENT_FILE_H
#define HF_DURABLE_SEGMENT_FILE_H

#include "durable/segment.h"
#include "os/thread.h"

#define SEGMENT_PATH_MAX 4096

struct segment_entry { uint64_t number, first_lsn, size; bool poisoned; };

struct segment_files {
    char *dir;
    uint64_t segment_size;
    struct os_mutex lock;
    struct segment_entry *entries; /* ascending; the last one is active */
    size_t count, capacity;
    _Atomic bool spare_ready;
    _Atomic bool fill_refused; /* the disk had no room for a spare, when last tried */
    _Atomic uint64_t disk_bytes;
    int fill_file; /* helper only; -1: none */
    uint64_t fill_size;
};

struct segment_new { int file; bool prepared; struct segment_header header; };

void segment_path(char out[SEGMENT_PATH_MAX], const char *dir, uint64_t number);
/* The numbers of the directory's segments in ascending order (mem_free them), or -errno. */
int segment_numbers(const char *dir, uint64_t **numbers, size_t *count) HF_CHECK;

/* segment_size 0: only to make one segment; the spare is left alone. */
int segment_files_init(struct segment_files *files, const char *dir, uint64_t log_id,
                       uint64_t segment_size) HF_CHECK;
void segment_files_release(struct segment_files *files);

/* log-next.new with its header written; `header` chosen by the caller. Then bytes may be
 * written; commit makes it durable and names it, abort leaves nothing. */
int segment_new_begin(struct segment_files *files, const struct segment_header *header,
                      struct segment_new *fresh) HF_CHECK;
int segment_new_commit(struct segment_files *files, struct segment_new *fresh) HF_CHECK;
void segment_new_abort(struct segment_files *files, struct segment_new *fresh);

void segment_note_size(struct segment_files *files, uint64_t size); /* the active one has grown */
void segment_poison(struct segment_files *files); /* the active one failed: it is never written again */
/* One piece of background work: 1 there is more to do, 0 the spare is ready, -errno. */
int segment_fill_step(struct segment_files *files);
void segment_trim(struct segment_files *files, uint64_t below_lsn);

#endif
