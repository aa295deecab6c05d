/* test_inbox.c -- messages of one sender arrive in order, each once, and none is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "net/inbox.h"
#include "net/list.h"

#include <poll.h>
#include <unistd.h>

#define SENDERS 4
#define MESSAGES 20000

struct message { struct inbox_node node; int sender, number; };

static struct inbox in;
static struct message messages[SENDERS][MESSAGES];

static void *send_all(void *context)
{
    int sender = *(int *)context;
    for (int i = 0; i < MESSAGES; i++) {
        messages[sender][i] = (struct message){.sender = sender, .number = i};
        inbox_push(&in, &messages[sender][i].node);
    }
    return NULL;
}

static void senders_keep_their_order(void **state)
{
    pthread_t threads[SENDERS];
    int numbers[SENDERS], next[SENDERS] = {0}, total = 0;
    in.wakefd = wakefd_open();
    assert_true(in.wakefd >= 0);
    for (int i = 0; i < SENDERS; i++) {
        numbers[i] = i;
        threads[i] = thread_start("sender", send_all, &numbers[i]);
    }
    while (total < SENDERS * MESSAGES) {
        struct pollfd p = {in.wakefd, POLLIN, 0};
        assert_int_equal(poll(&p, 1, 5000), 1); /* a message without a wake-up would end here */
        wakefd_drain(in.wakefd);
        for (struct inbox_node *n = inbox_take(&in), *after; n; n = after) {
            after = n->next;
            struct message *m = LIST_OF(n, struct message, node);
            assert_int_equal(m->number, next[m->sender]++);
            total++;
        }
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_null(inbox_take(&in));
    close(in.wakefd);
}

static void lists_move_whole(void **state)
{
    struct link a, b, x = {0}, y = {0};
    list_init(&a);
    list_append(&a, &x);
    list_append(&a, &y);
    list_append(&a, &x); /* already a member: nothing */
    list_move(&a, &b);
    assert_true(list_empty(&a) && b.next == &x && x.next == &y && y.next == &b);
    list_remove(&x);
    list_remove(&x);
    assert_true(!list_has(&x) && b.next == &y && b.previous == &y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(senders_keep_their_order),
        cmocka_unit_test(lists_move_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
