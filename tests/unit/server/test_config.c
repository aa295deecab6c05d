/* test_config.c -- goal: later sources win, refusals name place and remedy, CONFIG SET is all or nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void rewrite_keeps_comments_and_reads_back(void **state)
{
    (void)state;
    char refusal[CONFIG_ERROR_SIZE], text[512] = "";
    assert_true(READ(file_of("# mine\nhz 20\nsave 900 1\nsave 60 5\n"), "--requirepass", "a b"));
    assert_string_equal(shown(SETTING_SAVE), "900 1 60 5");
    assert_int_equal(config_rewrite(false, refusal, sizeof(refusal)), HF_OK);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
    fclose(file);
    assert_non_null(strstr(text, "# mine\nhz 20\nsave 900 1\nsave 60 5\n"));
    assert_non_null(strstr(text, "requirepass \"a b\"\n"));
    assert_true(READ(path));
    assert_string_equal(shown(SETTING_REQUIREPASS), "a b");
    unlink(path);
    config_rewrite(false, refusal, sizeof(refusal)); /* gone: an error, not a crash */
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
