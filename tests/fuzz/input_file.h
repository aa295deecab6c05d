/* input_file.h -- the input of a fuzz target as a file: one per process, in memory where there is room, gone at its end. */
#ifndef HF_FUZZ_INPUT_FILE_H
#define HF_FUZZ_INPUT_FILE_H

#include "base/assert.h"
#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char input_path[64];

static void input_file_remove(void) { unlink(input_path); }

/* Its path, the same each time; what stood there is overwritten. */
static const char *input_file(bytes content)
{
    if (!input_path[0]) {
        snprintf(input_path, sizeof(input_path), "%s/hf-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        int file = mkstemp(input_path);
        hf_assert(file >= 0);
        close(file);
        atexit(input_file_remove);
    }
    FILE *file = fopen(input_path, "w");
    hf_assert(file && fwrite(content.data, 1, content.size, file) == content.size);
    fclose(file);
    return input_path;
}

#endif
