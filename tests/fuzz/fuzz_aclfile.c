/* fuzz_aclfile.c -- any file of users is taken whole or not at all, and what is wrong is told with its line.
 *
 * A file that is taken is saved, loaded again and then the same, as text and as saved. One that is refused leaves the users as they
 * were; each sentence about it names the file and a line that it has.
 */
#include "base/assert.h"
#include "base/memory.h"
#include "cmd/acl.h"
#include "os/os.h"
#include "input_file.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NO_CHANGE "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"

static void write_file(bytes content)
{
    bool is_first = !input_path[0];
    const char *path = input_file(content);
    if (is_first) {
        command_table_init();
        acl_init();
        acl_file_set(path);
    }
}

static void all_users(struct buf *out)
{
    buf_init(out, SIZE_MAX);
    acl_describe_all(out);
}

static bytes find(bytes in, bytes what)
{
    for (size_t i = 0; i + what.size <= in.size; i++)
        if (bytes_starts_with(bytes_of(in.data + i, in.size - i), what))
            return bytes_of(in.data + i, in.size - i);
    return bytes_of(NULL, 0);
}

static uint64_t number_at(bytes text)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.size && text.data[i] >= '0' && text.data[i] <= '9' && number < UINT32_MAX; i++)
        number = number * 10 + text.data[i] - '0';
    return number;
}

/* It begins with a sentence that names a line, and ends with what was done about it. */
static void check_refusal(bytes error, size_t lines)
{
    static const char duplicate[] = "WARNING: Duplicate user '";
    bytes end = BYTES(NO_CHANGE);
    hf_assert(error.size > end.size && bytes_equal(bytes_of(error.data + error.size - end.size, end.size), end));
    uint64_t line;
    if (bytes_starts_with(error, bytes_str(duplicate))) {
        bytes at = find(error, BYTES("' found on line "));
        hf_assert(at.size);
        line = number_at(bytes_of(at.data + 16, at.size - 16));
    } else {
        size_t length = strlen(input_path);
        hf_assert(bytes_starts_with(error, bytes_str(input_path)) && error.data[length] == ':');
        line = number_at(bytes_of(error.data + length + 1, error.size - length - 1));
    }
    hf_assert(line >= 1 && line <= lines);
}

static size_t count_lines(bytes text)
{
    size_t lines = 1;
    for (size_t i = 0; i < text.size; i++)
        lines += text.data[i] == '\n';
    return lines;
}

static void check_saved(const struct buf *users)
{
    struct buf again, error;
    void *saved;
    size_t size;
    int result = acl_file_save();
    hf_assert(result == 0);
    result = os_read_file(input_path, SIZE_MAX, &saved, &size);
    hf_assert(result == 0 && bytes_equal(bytes_of(saved, size), buf_view(users)));
    mem_free(saved);
    buf_init(&error, SIZE_MAX);
    bool good = acl_file_load(&error);
    hf_assert(good && error.size == 0);
    all_users(&again);
    hf_assert(bytes_equal(buf_view(users), buf_view(&again)));
    buf_release(&again);
    buf_release(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf before, after, error;
    write_file(bytes_of(data, size));
    all_users(&before);
    buf_init(&error, SIZE_MAX);
    bool good = acl_file_load(&error);
    all_users(&after);
    if (good)
        check_saved(&after);
    else
        check_refusal(buf_view(&error), count_lines(bytes_of(data, size)));
    hf_assert(good ? error.size == 0 : bytes_equal(buf_view(&before), buf_view(&after)));
    buf_release(&before);
    buf_release(&after);
    buf_release(&error);
    return 0;
}
