/* test_config.c -- goal: later sources win, refusals name place and remedy, CONFIG SET is all or nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/config.h"

static char error[CONFIG_ERROR_SIZE];

static bool read_args(const char *const *words)
{
    char *argv[16] = {"holdfast"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
    enum config_run run;
    error[0] = 0;
    return config_read(argc, argv, &run, error);
}

#define READ(...) read_args((const char *const[]){__VA_ARGS__, NULL})

static const char *shown(enum setting id)
{
    static char text[CONFIG_TEXT_MAX];
    config_copy(id, text);
    return text;
}

static char path[64];

static const char *file_of(const char *text)
{
    snprintf(path, sizeof(path), "/tmp/holdfast-config-XXXXXX");
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), (ssize_t)strlen(text));
    close(file);
    return path;
}

static void later_sources_win(void **state)
{
    (void)state;
    setenv("HOLDFAST_TIMEOUT", "20", 1);
    setenv("HOLDFAST_MAXCLIENTS", "200", 1);
    setenv("HOLDFAST_PORT", "tcp://10.0.0.1:6379", 1); /* Kubernetes' link, not ours */
    assert_true(READ(file_of("timeout 10\nmaxclients 100\nhz 50\nport 7001\n"), "--maxclients", "300"));
    assert_int_equal(config_number(SETTING_HZ), 50);
    assert_int_equal(config_number(SETTING_TIMEOUT), 20);
    assert_int_equal(config_number(SETTING_MAXCLIENTS), 300);
    assert_int_equal(config_number(SETTING_PORT), 7001);
    unsetenv("HOLDFAST_TIMEOUT");
    unsetenv("HOLDFAST_MAXCLIENTS");
    unsetenv("HOLDFAST_PORT");
    unlink(path);
}

static void refusals_name_place_and_remedy(void **state)
{
    (void)state;
    assert_false(READ(file_of("# x\nmaxmemroy 5\n")));
    assert_non_null(strstr(error, ":2:"));
    assert_non_null(strstr(error, "'maxmemory'"));
    unlink(path);
    assert_false(READ("--prot", "5"));
    assert_non_null(strstr(error, "'port'"));
    assert_false(READ("--port"));
    assert_false(READ("--port", "70000"));
    assert_non_null(strstr(error, "65535"));
    assert_false(READ("--durability", "sometimes"));
    assert_non_null(strstr(error, "none, interval, commit"));
    assert_false(READ("--replicaof", "host", "1"));
    assert_false(READ("--requirepass", "secret", "words"));
    assert_null(strstr(error, "secret"));
}

static void appendfsync_is_another_word_for_durability(void **state)
{
    (void)state;
    assert_true(READ("--appendfsync", "everysec"));
    assert_string_equal(config_word(SETTING_DURABILITY), "interval");
    assert_true(READ("--appendfsync", "always"));
    assert_string_equal(shown(SETTING_DURABILITY), "commit");
    assert_true(READ("--durability", "none"));
    assert_string_equal(shown(SETTING_APPENDONLY), "no");
    assert_string_equal(shown(SETTING_APPENDFSYNC), "no");
}

static void config_set_is_all_or_nothing(void **state)
{
    (void)state;
    char refusal[CONFIG_ERROR_SIZE];
    assert_true(READ("--timeout", "5"));
    bytes names[] = {BYTES("timeout"), BYTES("hz")}, values[] = {BYTES("9"), BYTES("none")};
    assert_false(config_set_all(names, values, 2, refusal, sizeof(refusal)));
    assert_string_equal(refusal, "CONFIG SET failed (possibly related to argument 'hz') - argument couldn't be parsed "
                                 "into an integer");
    assert_int_equal(config_number(SETTING_TIMEOUT), 5);
    values[1] = BYTES("7");
    assert_true(config_set_all(names, values, 2, refusal, sizeof(refusal)));
    assert_int_equal(config_number(SETTING_TIMEOUT), 9);
    names[1] = BYTES("tcp-backlog");
    assert_false(config_set_all(names, values, 2, refusal, sizeof(refusal)));
    values[0] = BYTES("none"); /* names come first */
    names[1] = BYTES("nosuch");
    assert_false(config_set_all(names, values, 2, refusal, sizeof(refusal)));
    assert_string_equal(refusal, "Unknown option or number of arguments for CONFIG SET - 'nosuch'");
    names[1] = BYTES("TIMEOUT");
    assert_false(config_set_all(names, values, 2, refusal, sizeof(refusal)));
    assert_string_equal(refusal, "CONFIG SET failed (possibly related to argument 'TIMEOUT') - duplicate parameter");
    bytes more[SETTING_COUNT + 2];
    for (size_t i = 0; i < SETTING_COUNT + 2; i++)
        more[i] = BYTES("timeout");
    assert_false(config_set_all(more, more, SETTING_COUNT + 2, refusal, sizeof(refusal)));
    assert_string_equal(refusal, "CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter");
}

static bool nowhere(const struct config_wanted *wanted)
{
    assert_int_equal(config_wanted_number(wanted, SETTING_PORT), 7002);
    assert_int_equal(config_wanted_number(wanted, SETTING_TLS_PORT), 0);
    assert_string_equal(config_wanted_text(wanted, SETTING_BIND), "127.0.0.1 -::1");
    return false;
}

static void nothing_is_stored_when_it_cannot_listen(void **state)
{
    (void)state;
    char refusal[CONFIG_ERROR_SIZE];
    assert_true(READ("--timeout", "5", "--port", "7001"));
    bytes names[] = {BYTES("timeout"), BYTES("PORT")}, values[] = {BYTES("9"), BYTES("7002")};
    config_on_listen(nowhere);
    assert_false(config_set_all(names, values, 2, refusal, sizeof(refusal)));
    assert_string_equal(refusal, "CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. "
                                 "Check server logs.");
    assert_int_equal(config_number(SETTING_TIMEOUT), 5);
    assert_int_equal(config_number(SETTING_PORT), 7001);
    config_on_listen(NULL);
}

static unsigned taken, given_back;
static bool tls_refused;

static bool take_tls(const struct config_wanted *wanted)
{
    assert_string_equal(config_wanted_text(wanted, SETTING_TLS_CERT), "b.crt");
    assert_string_equal(config_wanted_text(wanted, SETTING_TLS_KEY), "a.key");
    taken++;
    return !tls_refused;
}

static void give_back_tls(void) { given_back++; }

static void tls_is_taken_before_it_is_stored(void **state)
{
    (void)state;
    char refusal[CONFIG_ERROR_SIZE];
    assert_true(READ("--tls-cert-file", "a.crt", "--tls-key-file", "a.key", "--port", "7001"));
    bytes names[] = {BYTES("tls-cert-file"), BYTES("port")}, values[] = {BYTES("b.crt"), BYTES("7002")};
    config_on_tls(take_tls, give_back_tls);
    tls_refused = true;
    assert_false(config_set_all(names, values, 1, refusal, sizeof(refusal)));
    assert_string_equal(refusal, "CONFIG SET failed (possibly related to argument 'tls-cert-file') - Unable to update TLS "
                                 "configuration. Check server logs.");
    tls_refused = false;
    config_on_listen(nowhere);
    assert_false(config_set_all(names, values, 2, refusal, sizeof(refusal))); /* taken, and then it cannot listen */
    config_on_listen(NULL);
    assert_int_equal(taken, 2);
    assert_int_equal(given_back, 1);
    assert_string_equal(shown(SETTING_TLS_CERT), "a.crt");
    assert_true(config_set_all(names, values, 1, refusal, sizeof(refusal)));
    assert_string_equal(shown(SETTING_TLS_CERT), "b.crt");
    config_on_tls(NULL, NULL);
}

static void output_limits_merge_by_class(void **state)
{
    (void)state;
    assert_true(READ("--client-output-buffer-limit", "normal", "1mb", "512kb", "30"));
    assert_int_equal(config_output_limit("normal").hard, 1048576);
    assert_int_equal(config_output_limit("pubsub").hard, 33554432);
    assert_false(READ("--client-output-buffer-limit", "normal", "1mb"));
}

static const char *rewritten(void)
{
    static char text[2048];
    char refusal[CONFIG_ERROR_SIZE];
    assert_int_equal(config_rewrite(false, refusal, sizeof(refusal)), HF_OK);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = 0;
    fclose(file);
    return text;
}

static void rewrite_keeps_comments_and_reads_back(void **state)
{
    (void)state;
    assert_true(READ(file_of("# mine\nhz 20\nsave 900 1\nsave 60 5\n"), "--requirepass", "a b"));
    assert_string_equal(shown(SETTING_SAVE), "900 1 60 5");
    const char *text = rewritten();
    assert_non_null(strstr(text, "# mine\nhz 20\nsave 900 1\nsave 60 5\n\n# Generated by CONFIG REWRITE\n"));
    assert_non_null(strstr(text, "requirepass \"a b\"\n"));
    assert_true(READ(path));
    assert_string_equal(shown(SETTING_REQUIREPASS), "a b");
    unlink(path);
    text = rewritten(); /* gone: it is made anew */
    assert_non_null(strstr(text, "requirepass \"a b\"\n"));
    assert_non_null(strstr(text, "hz 20\n"));
    assert_null(strstr(text, "maxmemory"));
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    char refusal[CONFIG_ERROR_SIZE];
    assert_int_equal(config_rewrite(false, refusal, sizeof(refusal)), HF_ERR_IO);
    assert_non_null(strstr(refusal, "Rewriting config file: "));
    rmdir(path);
}

static void set(const char *name, const char *value)
{
    bytes names[1] = {bytes_str(name)}, values[1] = {bytes_str(value)};
    char refusal[CONFIG_ERROR_SIZE];
    assert_true(config_set_all(names, values, 1, refusal, sizeof(refusal)));
}

/* What a value is when the file is read again, whatever an included file says. */
static void rewrite_outdoes_what_is_included(void **state)
{
    (void)state;
    char other[64], text[128];
    snprintf(other, sizeof(other), "%s", file_of("maxmemory 100mb\nmasteruser me\nhz 10\n"));
    snprintf(text, sizeof(text), "include %s\nmaxclients 50\n", other);
    assert_true(READ(file_of(text)));
    set("maxmemory", "0");
    set("masteruser", "");
    set("maxclients", "60");
    set("maxclients", "10000");
    const char *is = rewritten();
    assert_non_null(strstr(is, "maxmemory 0\n"));
    assert_non_null(strstr(is, "masteruser \"\"\n"));
    assert_non_null(strstr(is, "maxclients 10000\n"));
    assert_null(strstr(is, "hz"));
    assert_true(READ(path));
    assert_string_equal(shown(SETTING_MAXMEMORY), "0");
    assert_string_equal(shown(SETTING_MASTERUSER), "");
    unlink(path);
    unlink(other);
}

static void write_file(const char *directory, const char *name, const char *text)
{
    char at[128];
    snprintf(at, sizeof(at), "%s/%s", directory, name);
    FILE *file = fopen(at, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void a_pattern_includes_all_files_by_name(void **state)
{
    (void)state;
    char directory[] = "/tmp/holdfast-include-XXXXXX", command[64], main_file[64];
    assert_non_null(mkdtemp(directory));
    write_file(directory, "b.conf", "hz 30\nmaxclients 30\n");
    write_file(directory, "a.conf", "hz 20\ntimeout 20\n");
    write_file(directory, "main", "include [ab].conf\ninclude *.none\n");
    snprintf(main_file, sizeof(main_file), "%s/main", directory);
    assert_true(READ(main_file));
    assert_string_equal(shown(SETTING_HZ), "30");
    assert_string_equal(shown(SETTING_MAXCLIENTS), "30");
    assert_string_equal(shown(SETTING_TIMEOUT), "20");
    write_file(directory, "c.conf", "hz x\n");
    write_file(directory, "main", "include *.conf\n");
    assert_false(READ(main_file));
    assert_non_null(strstr(error, "c.conf:1"));
    snprintf(command, sizeof(command), "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

#define THREADS 4

static void *rewrite_often(void *failed)
{
    char refusal[CONFIG_ERROR_SIZE], value[16];
    for (int i = 0; i < 100; i++) {
        snprintf(value, sizeof(value), "%d", 100 + i);
        bytes names[1] = {BYTES("maxclients")}, values[1] = {bytes_str(value)};
        if (!config_set_all(names, values, 1, refusal, sizeof(refusal)) || config_rewrite(false, refusal, sizeof(refusal)) != HF_OK)
            atomic_fetch_add((_Atomic int *)failed, 1);
    }
    return NULL;
}

static void many_may_rewrite_at_once(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    _Atomic int failed = 0;
    assert_true(READ(file_of("# mine\nmaxclients 5\n")));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, rewrite_often, &failed), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(failed, 0);
    assert_non_null(strstr(rewritten(), "# mine\nmaxclients 199\n"));
    unlink(path);
}

/* A line about durability keeps the name under which it was written, unless appendfsync cannot say it. */
static void rewrite_knows_both_names_of_durability(void **state)
{
    (void)state;
    assert_true(READ(file_of("appendfsync everysec\n")));
    assert_non_null(strstr(rewritten(), "appendfsync everysec\n"));
    assert_null(strstr(rewritten(), "durability"));
    set("appendfsync", "always");
    assert_non_null(strstr(rewritten(), "appendfsync always\n"));
    assert_true(READ(path, "--durability", "none"));
    assert_non_null(strstr(rewritten(), "durability none\n"));
    assert_null(strstr(rewritten(), "appendfsync"));
    assert_true(READ(path));
    assert_int_equal(config_number(SETTING_DURABILITY), 0);
    unlink(path);
    assert_true(READ(file_of("durability commit\n")));
    set("appendfsync", "everysec");
    assert_non_null(strstr(rewritten(), "durability interval\n"));
    assert_null(strstr(rewritten(), "appendfsync"));
    unlink(path);
    assert_true(READ(file_of("")));
    set("appendfsync", "everysec");
    assert_non_null(strstr(rewritten(), "appendfsync everysec\n"));
    assert_true(READ(path));
    assert_int_equal(config_number(SETTING_DURABILITY), 1);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_sources_win),
        cmocka_unit_test(refusals_name_place_and_remedy),
        cmocka_unit_test(appendfsync_is_another_word_for_durability),
        cmocka_unit_test(config_set_is_all_or_nothing),
        cmocka_unit_test(nothing_is_stored_when_it_cannot_listen),
        cmocka_unit_test(tls_is_taken_before_it_is_stored),
        cmocka_unit_test(output_limits_merge_by_class),
        cmocka_unit_test(rewrite_keeps_comments_and_reads_back),
        cmocka_unit_test(rewrite_outdoes_what_is_included),
        cmocka_unit_test(many_may_rewrite_at_once),
        cmocka_unit_test(a_pattern_includes_all_files_by_name),
        cmocka_unit_test(rewrite_knows_both_names_of_durability),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
