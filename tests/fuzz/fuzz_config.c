/* fuzz_config.c -- a configuration file, flags, and the words of a line.
 *
 * Input: 'f' and a file, 'a' and flags with a NUL between, 'w' and a line. What is refused is refused with a reason; what is
 * accepted can be said again by CONFIG GET; a word that was read is quoted so that it is read as the same one.
 */
#include "base/assert.h"
#include "os/os.h"
#include "server/config.h"
#include "base/words.h"
#include "input_file.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARGUMENTS_MAX 32

static void see(void *context, bytes name, bytes value)
{
    hf_assert(name.size && value.size < CONFIG_TEXT_MAX);
    ++*(size_t *)context;
}

static void read_all(int argc, char **argv)
{
    static char error[CONFIG_ERROR_SIZE];
    enum config_run run;
    size_t seen = 0;
    error[0] = 0;
    if (!config_read(argc, argv, &run, error)) {
        hf_assert(error[0] && memchr(error, 0, sizeof(error)));
        return;
    }
    config_get_matching(BYTES("*"), see, &seen);
    hf_assert(seen > 10);
}

static bool has_word(bytes in, const char *word) /* in any case */
{
    size_t size = strlen(word);
    for (size_t i = 0; i + size <= in.size; i++) {
        if (strncasecmp((const char *)in.data + i, word, size) == 0)
            return true;
    }
    return false;
}

static void read_flags(bytes in)
{
    static char text[4096];
    char *argv[ARGUMENTS_MAX + 1] = {(char *)(uintptr_t)"holdfast"};
    int argc = 1;
    size_t size = in.size < sizeof(text) - 1 ? in.size : sizeof(text) - 1;
    memcpy(text, in.data, size);
    text[size] = 0;
    for (size_t at = 0; at < size && argc < ARGUMENTS_MAX; at += strlen(text + at) + 1) {
        if (argc > 1 || text[at] == '-') /* no file of the system's */
            argv[argc++] = text + at;
        if (strcmp(argv[argc - 1], "--check-config") == 0)
            return;
    }
    read_all(argc, argv);
}

static void split(bytes line)
{
    struct words w, again;
    struct buf quoted;
    if (!words_split(&w, line))
        return;
    hf_assert(w.count <= WORDS_MAX);
    buf_init(&quoted, SIZE_MAX);
    for (size_t i = 0; i < w.count; i++) {
        buf_reset(&quoted);
        word_quote(w.items[i], &quoted);
        bool good = words_split(&again, buf_view(&quoted));
        hf_assert(good && again.count == 1 && strcmp(again.items[0], w.items[i]) == 0);
        words_release(&again);
    }
    words_release(&w);
    buf_release(&quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    bytes in = bytes_of(data + 1, size - 1);
    if (data[0] == 'w') {
        split(in);
    } else if (data[0] == 'a') {
        read_flags(in);
    } else if (data[0] == 'f' && !has_word(in, "include")) {
        char name[] = "holdfast", file[sizeof(input_path)];
        snprintf(file, sizeof(file), "%s", input_file(in));
        char *argv[] = {name, file, NULL};
        read_all(2, argv);
    }
    return 0;
}
