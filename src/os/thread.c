/* thread.c -- eventfd, futex and pthread behind thread.h.
 *
 * A simulation (HF_SIM) keeps the protocol of struct parking and brings a futex of its own;
 * everything else of this file is the simulator's there.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os/thread.h"

#include "base/assert.h"
#include "base/memory.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef HF_SIM
void sim_futex_wait(_Atomic uint32_t *word, uint32_t value, uint32_t timeout_us);
void sim_futex_wake(_Atomic uint32_t *word);
#define futex_wait sim_futex_wait
#define futex_wake sim_futex_wake
#else
static void futex_wait(_Atomic uint32_t *word, uint32_t value, uint32_t timeout_us)
{
    struct timespec limit = {.tv_sec = timeout_us / 1000000, .tv_nsec = (long)(timeout_us % 1000000) * 1000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &limit, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
#endif

/* word: 0 awake or idle, 1 a wake is pending, 2 asleep. */
void parking_wake(struct parking *p)
{
    os_sched_point(SCHED_WAKE);
    if (os_bug(BUG_WAKE_LOST))
        return;
    if (atomic_exchange(&p->word, 1) == 2)
        futex_wake(&p->word);
}

void parking_sleep(struct parking *p, uint32_t timeout_us)
{
    uint32_t idle = 0;
    if (atomic_compare_exchange_strong(&p->word, &idle, 2))
        futex_wait(&p->word, 2, timeout_us);
    atomic_store(&p->word, 0);
}

#ifndef HF_SIM

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

/* Timed waits are measured by the clock that never steps. */
void os_cond_init(struct os_cond *c)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&c->cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

void os_cond_wait_us(struct os_cond *c, struct os_mutex *m, uint32_t timeout_us)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + (uint64_t)timeout_us * 1000;
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_cond_timedwait(&c->cond, &m->mutex, &until);
}

void thread_own_init(struct thread_own *own, void (*leave)(void *thing))
{
    int result = pthread_key_create(&own->key, leave);
    hf_assert(result == 0);
}

void thread_own_set(struct thread_own *own, void *thing)
{
    int result = pthread_setspecific(own->key, thing);
    hf_assert(result == 0);
}

struct start { void *(*run)(void *); void *context; };

static void *run_thread(void *argument)
{
    struct start start = *(struct start *)argument;
    mem_free(argument);
    void *result = start.run(start.context);
    mem_tell();
    return result;
}

os_thread thread_start(const char *name, void *(*run)(void *), void *context)
{
    pthread_t thread;
    struct start *start = mem_alloc(sizeof(*start));
    *start = (struct start){run, context};
    mem_tell(); /* who starts threads mostly sleeps then */
    int result = pthread_create(&thread, NULL, run_thread, start);
    hf_assert(result == 0);
    pthread_setname_np(thread, name);
    return thread;
}

#endif
