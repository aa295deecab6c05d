/* snapshot_file.h -- the files of snapshots: their names, and reading one verified.
 *
 * A published file is snapshot-%016llu.hfs; one being written ends in .hfs.tmp. Opening
 * reads and checks header, footer and index; blocks are checked as they are read.
 * Threads: an open file is immutable; each reading thread has its own scratch.
 */
#ifndef HF_DURABLE_SNAPSHOT_FILE_H
#define HF_DURABLE_SNAPSHOT_FILE_H

#include "durable/snapshot_format.h"

#define SNAPSHOT_PATH_MAX 4096

struct snapshot_file {
    int file;
    char path[SNAPSHOT_PATH_MAX];
    struct snapshot_header header;
    struct snapshot_footer footer;
    uint8_t *index;     /* the block headers */
    uint64_t *offsets;  /* of the blocks */
    uint64_t size;
};

struct snapshot_scratch { uint8_t *stored, *raw; size_t stored_capacity, raw_capacity; };

void snapshot_path(char out[SNAPSHOT_PATH_MAX], const char *dir, uint64_t number, bool temporary);
/* Which number a file name has; false: no snapshot's name. */
bool snapshot_name_parse(const char *name, uint64_t *number, bool *temporary);

/* Writes detail, returns s. */
status snapshot_fail(status s, char *detail, size_t detail_size, const char *format, ...) HF_PRINTF(4, 5);

/* Opens the newest published snapshot of this log; *found false: none, and nothing is open. */
status snapshot_file_newest(struct snapshot_file *f, const char *dir, uint64_t log_id, bool *found, char *detail,
                            size_t detail_size) HF_CHECK;
status snapshot_file_open(struct snapshot_file *f, const char *path, char *detail, size_t detail_size) HF_CHECK;
void snapshot_file_close(struct snapshot_file *f);

struct snapshot_block snapshot_file_block(const struct snapshot_file *f, uint64_t i);
/* The payload of block i, verified and decompressed; a view into the scratch. */
status snapshot_file_read(const struct snapshot_file *f, uint64_t i, struct snapshot_scratch *scratch, bytes *payload,
                          char *detail, size_t detail_size) HF_CHECK;
void snapshot_scratch_release(struct snapshot_scratch *scratch);

#endif
