/* thread.h -- the locks, wake-ups and threads of holdfast.
 *
 * struct spin is one word; holders do quick memory work only. os_sched_point marks
 * where another thread may come between: a simulator (built with -DHF_SIM) decides
 * there who runs next; in the product it is nothing.
 */
#ifndef HF_OS_THREAD_H
#define HF_OS_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum sched_point { SCHED_LOCK, SCHED_UNLOCK, SCHED_RESERVE, SCHED_PUBLISH, SCHED_WAKE, SCHED_GATE };

#ifdef HF_SIM
void os_sched_point(enum sched_point point);
#else
static inline void os_sched_point(enum sched_point point) { (void)point; }
#endif

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("" ::: "memory");
#endif
}

struct spin { _Atomic uint32_t word; };

static inline bool spin_try_lock(struct spin *s)
{
    return atomic_load_explicit(&s->word, memory_order_relaxed) == 0 &&
           atomic_exchange_explicit(&s->word, 1, memory_order_acquire) == 0;
}

static inline void spin_lock(struct spin *s)
{
    for (unsigned tries = 0; !spin_try_lock(s); tries++) {
        if (tries > 1000)
            sched_yield();
        cpu_relax();
    }
}

static inline void spin_unlock(struct spin *s)
{
    atomic_store_explicit(&s->word, 0, memory_order_release);
}

/* A wake-up by file descriptor (eventfd), for event loops. */
int wakefd_open(void);            /* -errno on failure */
void wakefd_signal(int fd);
void wakefd_drain(int fd);

/* A sleeping place for one thread: signals are never lost. */
struct parking { _Atomic uint32_t word; };
void parking_wake(struct parking *p);
void parking_sleep(struct parking *p, uint32_t timeout_us); /* returns at a wake, or after the time */

/* Starts a named thread; asserts that the kernel gives one. */
pthread_t thread_start(const char *name, void *(*run)(void *), void *context);

#endif
