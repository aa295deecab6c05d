/* test_acl_file.c -- goal: a file of users is saved whole, also by many at once, and what is too large is refused; errors name the line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "cmd/acl.h"
#include "os/os.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define THREADS 4
#define SAVES 100

static char path[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof(path), "/tmp/holdfast-acl-XXXXXX");
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    command_table_init();
    acl_init();
    acl_file_set(path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_file(const struct buf *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text->data, 1, text->size, file), text->size);
    fclose(file);
}

static void *save_often(void *failed)
{
    for (int i = 0; i < SAVES; i++)
        if (acl_file_save() != 0)
            atomic_fetch_add((_Atomic int *)failed, 1);
    return NULL;
}

static void many_may_save_at_once(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    _Atomic int failed = 0;
    struct buf users;
    void *saved;
    size_t size;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, save_often, &failed), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(failed, 0);
    buf_init(&users, SIZE_MAX);
    acl_describe_all(&users);
    assert_int_equal(os_read_file(path, 1 << 20, &saved, &size), 0);
    assert_int_equal(size, users.size);
    assert_memory_equal(saved, users.data, size);
    mem_free(saved);
    buf_release(&users);
}

static void a_huge_line_is_named(void **state)
{
    (void)state;
    struct buf text, error;
    buf_init(&text, SIZE_MAX);
    buf_init(&error, SIZE_MAX);
    buf_printf(&text, "user ann on\r\n\r\nuser bob on");
    for (int i = 0; i < 200000; i++)
        buf_printf(&text, " ~%d", i);
    buf_printf(&text, " +nosuch\nuser ann off\n");
    write_file(&text);
    assert_false(acl_file_load(&error));
    buf_append_u8(&error, 0);
    assert_non_null(strstr((char *)error.data, ":3: Error in applying operation '+nosuch': "));
    assert_non_null(strstr((char *)error.data, "Duplicate user 'ann' found on line 4. "));
    assert_null(acl_find(BYTES("ann")));
    buf_release(&text);
    buf_release(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_may_save_at_once),
        cmocka_unit_test(a_huge_line_is_named),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
