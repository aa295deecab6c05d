/* thread.c -- eventfd, futex and pthread behind thread.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os/thread.h"

#include "base/assert.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int wakefd_open(void)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

void wakefd_signal(int fd)
{
    uint64_t one = 1;
    ssize_t ignored = write(fd, &one, sizeof(one));
    (void)ignored;
}

void wakefd_drain(int fd)
{
    uint64_t count;
    ssize_t ignored = read(fd, &count, sizeof(count));
    (void)ignored;
}

/* word: 0 awake or idle, 1 a wake is pending, 2 asleep. */
void parking_wake(struct parking *p)
{
    if (atomic_exchange(&p->word, 1) == 2)
        syscall(SYS_futex, &p->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void parking_sleep(struct parking *p, uint32_t timeout_us)
{
    uint32_t idle = 0;
    if (atomic_compare_exchange_strong(&p->word, &idle, 2)) {
        struct timespec limit = {.tv_sec = timeout_us / 1000000,
                                 .tv_nsec = (long)(timeout_us % 1000000) * 1000};
        syscall(SYS_futex, &p->word, FUTEX_WAIT_PRIVATE, 2, &limit, NULL, 0);
    }
    atomic_store(&p->word, 0);
}

pthread_t thread_start(const char *name, void *(*run)(void *), void *context)
{
    pthread_t thread;
    int result = pthread_create(&thread, NULL, run, context);
    hf_assert(result == 0);
    pthread_setname_np(thread, name);
    return thread;
}
