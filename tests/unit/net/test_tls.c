/* test_tls.c -- TLS of a connection, call by call: a client of OpenSSL on a socket that is played (support/tls_pair.h).
 *
 * Goal:   however the stream is cut, in both versions, what the client wrote is what is heard, in order, and nothing else ever is; what a
 *         peer can make holdfast keep is bounded at each step, also in a handshake that never ends.
 * Method: each check runs on TLS 1.2 and 1.3. OpenSSL's memory is counted by its own allocation hooks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../support/tls_pair.h"

#include "../support/random.h"

static struct tls_pair_files files;
static struct tls_context *context;         /* asks for certificates, takes none, too */
static SSL_CTX *clients[2];
static const int versions[2] = {TLS1_2_VERSION, TLS1_3_VERSION};

#define EACH_VERSION(v) for (int v = 0; v < 2; v++)
#define KILO 1024
#define LIVE_STALLED (100 * KILO) /* of OpenSSL and tls, in a handshake that has stopped anywhere */

static uint32_t roll(uint32_t below) { return (uint32_t)(next_random() % below); }

static void fill(uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)roll(256);
}

static void ready_pair(struct tls_pair *p, int v)
{
    tls_pair_open(p, context, clients[v]);
    assert_true(tls_pair_shake(p, SIZE_MAX));
    assert_int_equal(SSL_version(p->client), versions[v]);
}

static void assert_heard(const struct tls_pair *p, const void *data, size_t size)
{
    assert_int_equal(p->heard.size, size);
    assert_memory_equal(p->heard.data, data, size);
}

/* -- the handshake -- */

static void a_handshake_in_single_bytes(void **state)
{
    EACH_VERSION(v) {
        struct tls_pair p;
        char answer[16];
        tls_pair_open(&p, context, clients[v]);
        assert_true(tls_pair_shake(&p, 1));
        tls_pair_client_writes(&p, "hello", 5);
        while (tls_pair_undelivered(&p))
            tls_pair_deliver(&p, 1, 1);
        assert_heard(&p, "hello", 5);
        assert_int_equal(tls_send(p.server, "and you", 7), 7);
        assert_int_equal(tls_pair_client_reads(&p, answer, sizeof(answer)), 7);
        assert_memory_equal(answer, "and you", 7);
        tls_pair_close(&p);
    }
}

/* Whatever has arrived of it: memory is bounded, nothing is heard, and it goes when the connection goes. */
static void a_handshake_that_stops_costs_little(void **state)
{
    EACH_VERSION(v) {
        size_t size = 1;
        for (size_t stop = 0; stop < size; stop += 1 + stop / 8) {
            struct tls_pair p;
            tls_pair_open(&p, context, clients[v]);
            int64_t before = tls_pair_live;
            SSL_do_handshake(p.client);
            int64_t of_client = tls_pair_live - before;
            size = tls_pair_speak(&p);
            before = tls_pair_live;
            tls_pair_deliver(&p, stop, 4096);
            assert_int_equal(p.end, -EAGAIN);
            assert_int_equal(p.heard.size, 0);
            assert_false(p.server->ready || p.server->broken || tls_holds(p.server));
            assert_true(of_client > 0 && tls_pair_live - before <= LIVE_STALLED - (int64_t)sizeof(struct tls));
            assert_true((int64_t)tls_memory(p.server) + 4 * KILO >= tls_pair_live - before); /* and is told about right */
            tls_pair_close(&p);
        }
    }
}

static int64_t live_after(struct tls_pair *p, const uint8_t *data, size_t size, size_t piece)
{
    int64_t before = tls_pair_live, most = 0;
    buf_append(&p->wire, data, size);
    while (tls_pair_undelivered(p)) {
        tls_pair_deliver(p, piece, 4096);
        most = tls_pair_live - before > most ? tls_pair_live - before : most;
    }
    return most;
}

#define HELLO_OF(size) 1, (size) >> 16, ((size) >> 8) & 255, (size) & 255

/* A few bytes that announce much do not get it, however they are laid out. */
static void a_huge_handshake_is_refused(void **state)
{
    static const struct { uint8_t begin[40]; size_t size; bool broken; const char *why; } hellos[] = {
        {{22, 3, 1, 0, 200, HELLO_OF(131071)}, 9, true, "its handshake is too large"},
        {{22, 3, 1, 0, 200, HELLO_OF(16385)}, 9, true, "its handshake is too large"},
        {{22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 2, 0, 64, 22, 3, 1, 0, 1, 1}, 19, true, "its handshake is too large"}, /* a record for each byte or two */
        {{22, 3, 1, 0, 200, HELLO_OF(16384)}, 9, false, ""},
        {{22, 3, 1, 0, 8, HELLO_OF(100), 3, 3, 1, 2, 22, 3, 1, 0, 100, HELLO_OF(131071)}, 22, false, ""}, /* which is within the message */
        {{'P', 'I', 'N', 'G', '\r', '\n'}, 6, true, "it does not speak TLS, and this port speaks nothing else"},
    };
    for (size_t i = 0; i < sizeof(hellos) / sizeof(hellos[0]); i++)
        for (size_t piece = 1; piece <= 9; piece += 4) {
            struct tls_pair p;
            tls_pair_open(&p, context, clients[0]);
            assert_true(live_after(&p, hellos[i].begin, hellos[i].size, piece) < LIVE_STALLED);
            assert_int_equal(p.server->broken, hellos[i].broken);
            assert_string_equal(p.server->why, hellos[i].why);
            uint8_t data[10];
            assert_int_equal(tls_receive(p.server, data, sizeof(data)), hellos[i].broken ? -EPROTO : -EAGAIN);
            tls_pair_close(&p);
        }
}

/* TLS 1.3 asks a client for a second ClientHello when the first has no key that it takes: that one may not be huge, either. */
static void a_second_hello_is_small_too(void **state)
{
    static const uint8_t huge[] = {20, 3, 3, 0, 1, 1, 22, 3, 3, 0, 100, HELLO_OF(131071), 3, 3};
    for (int asked = 0; asked < 2; asked++) {
        struct tls_pair p;
        struct tls_context *narrow = tls_pair_context(&files, TLS_AUTH_NO);
        assert_int_equal(SSL_CTX_set1_groups_list(tls_context_of(narrow), "P-384"), 1); /* clients begin with X25519 */
        tls_pair_open(&p, narrow, clients[1]);
        if (asked) {
            SSL_do_handshake(p.client);
            tls_pair_speak(&p);
            tls_pair_deliver(&p, SIZE_MAX, 4096);
            assert_true(p.end == -EAGAIN && !p.server->broken);
            assert_true(live_after(&p, huge, sizeof(huge), 1) < LIVE_STALLED);
            assert_string_equal(p.server->why, "its handshake is too large");
        } else {
            assert_true(tls_pair_shake(&p, 1));
        }
        tls_pair_close(&p);
        tls_context_unref(narrow);
    }
}

static void a_long_handshake_is_refused(void **state)
{
    struct tls_pair p; /* it says hello, and then more than any handshake has */
    tls_pair_open(&p, context, clients[1]);
    static uint8_t record[5 + 16384] = {22, 3, 3, 64, 0, 11, 0, 63, 252};
    SSL_do_handshake(p.client);
    tls_pair_speak(&p);
    tls_pair_deliver(&p, SIZE_MAX, 4096);
    for (int i = 0; i < 100 && !p.server->broken; i++)
        assert_true(live_after(&p, record, sizeof(record), 3000) < 2 * LIVE_STALLED);
    assert_true(p.server->broken && p.server->shaken < 300 * KILO);
    tls_pair_close(&p);
}

/* Bytes that were changed, in the handshake or behind it: an end, and nothing of theirs is heard. */
static void what_was_changed_is_not_heard(void **state)
{
    EACH_VERSION(v) {
        size_t size = 1;
        for (size_t at = 0; at < size; at += at < 6 ? 1 : 5) {
            struct tls_pair p;
            ready_pair(&p, v);
            tls_pair_client_writes(&p, "first", 5);
            tls_pair_deliver(&p, SIZE_MAX, 4096);
            size_t begin = p.wire.size;
            tls_pair_client_writes(&p, "second", 6);
            size = p.wire.size - begin;
            p.wire.data[begin + at] ^= (uint8_t)(1 + roll(255));
            p.wire_ends = true;
            tls_pair_deliver(&p, SIZE_MAX, 4096);
            assert_heard(&p, "first", 5);
            assert_true(p.end <= 0 && p.end != -EAGAIN); /* a length that has grown waits for bytes that never come */
            tls_pair_close(&p);
        }
        for (int round = 0; round < 30; round++) {
            struct tls_pair p;
            tls_pair_open(&p, context, clients[v]);
            SSL_do_handshake(p.client);
            size = tls_pair_speak(&p);
            p.wire.data[roll((uint32_t)size)] ^= (uint8_t)(1 + roll(255));
            tls_pair_deliver(&p, SIZE_MAX, 4096);
            SSL_do_handshake(p.client);
            tls_pair_speak(&p);
            tls_pair_deliver(&p, SIZE_MAX, 4096);
            assert_false(p.server->ready && p.wire.size == 0);
            assert_int_equal(p.heard.size, 0);
            tls_pair_close(&p);
        }
    }
}

/* -- data -- */

static void data_cut_anywhere(void **state)
{
    EACH_VERSION(v)
        for (int round = 0; round < 20; round++) {
            struct tls_pair p;
            static uint8_t sent[200 * KILO];
            size_t size = 1 + roll(sizeof(sent));
            fill(sent, size);
            ready_pair(&p, v);
            for (size_t at = 0; at < size;) {
                size_t most = size - at, part = 1 + roll(round % 2 ? 40000 : 300);
                part = part < most ? part : most;
                tls_pair_client_writes(&p, sent + at, part);
                at += part;
                while (tls_pair_undelivered(&p) && roll(8))
                    tls_pair_deliver(&p, 1 + roll(round % 3 ? 20000 : 50), 1 + roll(round % 4 ? 65536 : 3));
            }
            tls_pair_deliver(&p, SIZE_MAX, 65536);
            assert_heard(&p, sent, size);
            assert_true(p.end > 0 || p.end == -EAGAIN);
            tls_pair_close(&p);
        }
}

/* close_notify, and bytes behind it: these belong to nobody. What was asked before is still answered; then holdfast says the same. */
static void close_notify_in_the_middle(void **state)
{
    EACH_VERSION(v)
        for (int behind = 0; behind < 3; behind++) {
            struct tls_pair p;
            char answer[16];
            ready_pair(&p, v);
            tls_pair_client_writes(&p, "a question", 10);
            assert_int_equal(SSL_shutdown(p.client), 0);
            tls_pair_speak(&p);
            if (behind)
                buf_append(&p.wire, behind == 1 ? "nonsense" : (char *)p.wire.data + p.delivered, behind == 1 ? 8 : 20);
            tls_pair_deliver(&p, roll(2) ? SIZE_MAX : 7, 4096);
            while (tls_pair_undelivered(&p))
                tls_pair_deliver(&p, 7, 4096);
            assert_heard(&p, "a question", 10);
            assert_int_equal(p.end, 0);
            assert_int_equal(tls_receive(p.server, answer, sizeof(answer)), 0);
            assert_int_equal(tls_send(p.server, "its answer", 10), 10);
            assert_int_equal(tls_pair_client_reads(&p, answer, sizeof(answer)), 10);
            assert_false(SSL_get_shutdown(p.client) & SSL_RECEIVED_SHUTDOWN);
            tls_end(p.server);
            tls_end(p.server); /* once */
            assert_int_equal(tls_send(p.server, NULL, 0), 0);
            assert_int_equal(tls_pair_client_reads(&p, answer, sizeof(answer)), 0);
            assert_true(SSL_get_shutdown(p.client) & SSL_RECEIVED_SHUTDOWN);
            tls_pair_close(&p);
        }
}

/* The stream ends, or breaks, without close_notify; also in the middle of a record, whose bytes are then nobody's. */
static void the_stream_ends(void **state)
{
    EACH_VERSION(v)
        for (int cut = 0; cut < 3; cut++)
            for (int broken = 0; broken < 2; broken++) {
                struct tls_pair p;
                ready_pair(&p, v);
                tls_pair_client_writes(&p, "whole", 5);
                size_t whole = p.wire.size;
                tls_pair_client_writes(&p, "half", 4);
                p.wire.size = cut == 0 ? p.wire.size : cut == 1 ? p.wire.size - 1 : whole + 3;
                p.wire_error = broken ? -ECONNRESET : 0;
                p.wire_ends = true;
                tls_pair_deliver(&p, SIZE_MAX, 4096);
                assert_heard(&p, "wholehalf", cut == 0 ? 9 : 5);
                assert_int_equal(p.end, broken ? -ECONNRESET : 0);
                if (!broken)
                    assert_int_equal(tls_send(p.server, "half closed", 11), 11);
                tls_pair_close(&p);
            }
}

/* -- what a client may ask of TLS itself -- */

static void renegotiation_is_refused(void **state)
{
    struct tls_pair p;
    ready_pair(&p, 0);
    SSL_renegotiate(p.client);
    SSL_do_handshake(p.client);
    tls_pair_speak(&p);
    tls_pair_deliver(&p, SIZE_MAX, 4096);
    assert_true(p.server->ready && !p.server->broken);
    assert_int_equal(p.end, -EAGAIN);
    int result = SSL_do_handshake(p.client);
    assert_int_equal(SSL_get_error(p.client, result), SSL_ERROR_SSL);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    ERR_clear_error();
    tls_pair_close(&p);
}

static void keys_are_updated(void **state)
{
    struct tls_pair p;
    char answer[64];
    ready_pair(&p, 1);
    for (int i = 0; i < 300; i++) {
        size_t before = p.heard.size;
        assert_int_equal(SSL_key_update(p.client, i % 3 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        tls_pair_client_writes(&p, "data", 4);
        while (tls_pair_undelivered(&p))
            tls_pair_deliver(&p, 1 + roll(30), 4096);
        assert_int_equal(p.heard.size, before + 4);
        assert_int_equal(tls_send(p.server, "answer", 6), 6);
        assert_int_equal(tls_pair_client_reads(&p, answer, sizeof(answer)), 6);
    }
    tls_pair_close(&p);
}

/* Records without data: a call reads 64 KiB of them and says that there is more. */
static void records_without_data_hold_nobody_up(void **state)
{
    struct tls_pair p;
    uint8_t data[100];
    ready_pair(&p, 1);
    for (int i = 0; i < 6000; i++) {
        assert_int_equal(SSL_key_update(p.client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(p.client), 1);
        tls_pair_speak(&p);
    }
    assert_true(p.wire.size > 128 * KILO);
    p.delivered = p.wire.size;
    size_t calls = 0, before = p.at;
    while (tls_receive(p.server, data, sizeof(data)) == -EAGAIN && tls_holds(p.server)) {
        assert_true(p.at - before <= 64 * KILO);
        before = p.at;
        calls++;
    }
    assert_true(p.at == p.wire.size && calls >= p.wire.size / (64 * KILO) && !p.server->broken);
    assert_false(tls_holds(p.server));
    tls_pair_close(&p);
}

/* -- one who does not read -- */

static void a_socket_that_takes_little(void **state)
{
    static uint8_t sent[300 * KILO], seen[300 * KILO];
    EACH_VERSION(v) {
        struct tls_pair p;
        size_t put = 0, got = 0;
        ready_pair(&p, v);
        fill(sent, sizeof(sent));
        p.room = 0;
        while (got < sizeof(sent)) {
            int64_t taken = tls_send(p.server, sent + put, sizeof(sent) - put);
            assert_true(taken >= 0);
            put += (size_t)taken;
            assert_true(tls_unsent(p.server) <= 17 * KILO && p.server->out.capacity <= 32 * KILO);
            assert_true(put == sizeof(sent) || p.server->full);
            p.room = roll(3) ? roll(9000) : roll(20);
            got += tls_pair_client_reads(&p, seen + got, sizeof(seen) - got);
        }
        assert_int_equal(put, sizeof(sent));
        assert_memory_equal(seen, sent, sizeof(sent));
        tls_pair_close(&p);
    }
}

/* Who never reads: nothing more is encrypted; the rest stays the caller's, where it is limited like that of plain connections. */
static void a_socket_that_takes_nothing(void **state)
{
    static const uint8_t much[4u << 20];
    EACH_VERSION(v) {
        struct tls_pair p;
        ready_pair(&p, v);
        p.room = 0;
        assert_int_equal(tls_send(p.server, much, sizeof(much)), 16 * KILO);
        for (int i = 0; i < 100; i++)
            assert_int_equal(tls_send(p.server, much, sizeof(much)), 0);
        assert_true(tls_unsent(p.server) <= 17 * KILO);
        tls_pair_client_writes(&p, "heard, too", 10); /* reading goes on */
        tls_pair_deliver(&p, SIZE_MAX, 4096);
        assert_heard(&p, "heard, too", 10);
        p.room = SIZE_MAX;
        assert_int_equal(tls_send(p.server, much, sizeof(much)), 1 << 20); /* enough for one time */
        tls_pair_close(&p);
    }
}

/* Asks for an answer to each of its key updates, and reads none. */
static void answers_that_nobody_reads_are_bounded(void **state)
{
    struct tls_pair p;
    ready_pair(&p, 1);
    p.room = 0;
    assert_int_equal(p.server->out.size_max, 1 << 20);
    buf_release(&p.server->out);
    buf_init(&p.server->out, 64 * KILO); /* which takes less time */
    int64_t live = tls_pair_live;
    for (int i = 0; i < 20000 && !p.server->broken; i++) {
        assert_int_equal(SSL_key_update(p.client, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(p.client), 1);
        tls_pair_speak(&p);
        tls_pair_deliver(&p, SIZE_MAX, 4096);
        buf_reset(&p.wire);
        p.at = p.delivered = 0;
        assert_true(p.server->out.capacity <= 64 * KILO);
    }
    assert_true(p.server->broken && p.end < 0 && tls_pair_live - live < 64 * KILO);
    assert_string_equal(p.server->why, "it does not read what TLS has to tell it");
    tls_pair_close(&p);
}

static void a_broken_socket_is_told(void **state)
{
    struct tls_pair p;
    ready_pair(&p, 1);
    p.room = 0;
    assert_int_equal(tls_send(p.server, "kept", 4), 4);
    p.wire_error = -ECONNRESET;
    tls_pair_deliver(&p, 0, 4096);
    assert_int_equal(p.end, -ECONNRESET);
    tls_pair_close(&p);
}

/* -- memory -- */

static void an_idle_one_keeps_little(void **state)
{
    EACH_VERSION(v) {
        struct tls_pair p;
        static uint8_t data[100 * KILO];
        tls_pair_open(&p, context, clients[v]);
        SSL *client = p.client; /* is not to be counted */
        int64_t before = tls_pair_live;
        SSL_free(client);
        int64_t of_client = before - tls_pair_live;
        p.client = NULL;
        tls_pair_close(&p);
        assert_true(of_client > 0);
        ready_pair(&p, v);
        tls_pair_client_writes(&p, data, sizeof(data));
        tls_pair_deliver(&p, SIZE_MAX, 4096);
        assert_int_equal(tls_send(p.server, data, sizeof(data)), sizeof(data));
        tls_shrink(p.server);
        before = tls_pair_live;
        size_t told = tls_memory(p.server);
        tls_free(p.server);
        assert_true(before - tls_pair_live <= (int64_t)told && told <= 28 * KILO);
        p.server = tls_new(context, 77);
        tls_pair_close(&p);
    }
}

static int begin(void **state)
{
    tls_pair_write_files(&files);
    context = tls_pair_context(&files, TLS_AUTH_OPTIONAL);
    EACH_VERSION(v) {
        clients[v] = tls_pair_client_context(&files, versions[v]);
        struct tls_pair p; /* what OpenSSL makes once is not counted later */
        ready_pair(&p, v);
        tls_pair_close(&p);
    }
    return 0;
}

static int end(void **state)
{
    tls_context_unref(context);
    EACH_VERSION(v)
        SSL_CTX_free(clients[v]);
    tls_pair_remove_files(&files);
    return 0;
}

int main(void)
{
    tls_pair_count();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handshake_in_single_bytes),
        cmocka_unit_test(a_handshake_that_stops_costs_little),
        cmocka_unit_test(a_huge_handshake_is_refused),
        cmocka_unit_test(a_second_hello_is_small_too),
        cmocka_unit_test(a_long_handshake_is_refused),
        cmocka_unit_test(what_was_changed_is_not_heard),
        cmocka_unit_test(data_cut_anywhere),
        cmocka_unit_test(close_notify_in_the_middle),
        cmocka_unit_test(the_stream_ends),
        cmocka_unit_test(renegotiation_is_refused),
        cmocka_unit_test(keys_are_updated),
        cmocka_unit_test(records_without_data_hold_nobody_up),
        cmocka_unit_test(a_socket_that_takes_little),
        cmocka_unit_test(a_socket_that_takes_nothing),
        cmocka_unit_test(answers_that_nobody_reads_are_bounded),
        cmocka_unit_test(a_broken_socket_is_told),
        cmocka_unit_test(an_idle_one_keeps_little),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
