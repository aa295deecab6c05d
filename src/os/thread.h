/* thread.h -- the locks, wake-ups and threads of holdfast.
 *
 * struct spin is one word; holders do quick memory work only. os_sched_point marks
 * where another thread may come between: a simulator (built with -DHF_SIM, tests/sim)
 * decides there who runs next; in the product it is nothing. All that can make a thread
 * wait stands in this file, so that the simulator can run threads as coroutines: mutexes
 * and conditions are pthread's behind inline words in the product, its own in a simulation.
 */
#ifndef HF_OS_THREAD_H
#define HF_OS_THREAD_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum sched_point { SCHED_LOCK, SCHED_UNLOCK, SCHED_RESERVE, SCHED_PUBLISH, SCHED_WAKE, SCHED_GATE, SCHED_CAPTURE,
                   SCHED_ATOMIC, SCHED_SPIN }; /* the last two: simulation only */

/* Faults that are sown to prove that the tests find them: by a simulation (tests/sim/README.md), or by
 * HOLDFAST_BUG in a build with -Dbugs=true (bug.c has the names, script/bugs the tests). */
enum os_bug { BUG_NONE, BUG_STRIPE_LOCK, BUG_PUBLISH_FIRST, BUG_NO_STAMP, BUG_GATE_ALONE, BUG_MANIFEST_EARLY,
              BUG_ACK_EARLY, BUG_WAKE_LOST, BUG_ACK_UNWRITTEN, BUG_READ_UNGATED, BUG_ABSENT_UNGATED, BUG_NO_FSYNC,
              BUG_FSYNC_ERROR, BUG_HALF_REPLAY, BUG_RECORD_CRC, BUG_GROUP_CRC, BUG_BLOCK_CRC, BUG_IDENTITY_CRC,
              BUG_WAITER_LOST, BUG_WAITER_ORDER, BUG_UNDO_WRITE, BUG_UNDO_TTL, BUG_WATCH_MISSED, BUG_EVENT_LOST,
              BUG_WATCH_KEPT, BUG_WATCH_EXPIRED, BUG_TTL_KEPT, BUG_WAITER_KEYS, BUG_CHAIN_LOST, BUG_PENDING_LOST, BUG_GROUP_AGAIN,
              BUG_ACK_LOST, BUG_SCRIPT_LOCK, BUG_TARGET_TURN,
              BUG_LAST };

#ifdef HF_SIM
void os_sched_point(enum sched_point point);
bool os_bug(enum os_bug bug);
void thread_yield(void);
#else
static inline void os_sched_point(enum sched_point point) { (void)point; }
static inline void thread_yield(void) { sched_yield(); }
#ifdef HF_BUGS
bool os_bug(enum os_bug bug);
#else
#define os_bug(bug) false
#endif
#endif
void os_bug_pause(void); /* gives a sown race the time to happen */

static inline void cpu_relax(void)
{
    os_sched_point(SCHED_SPIN);
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("" ::: "memory");
#endif
}

struct spin { _Atomic uint32_t word; };

#ifdef HF_SIM
void os_spin_note(struct spin *s, bool taken); /* a task that a power cut ends leaves none taken */
#else
static inline void os_spin_note(struct spin *s, bool taken) { (void)s, (void)taken; }
#endif

static inline bool spin_try_lock(struct spin *s)
{
    if (atomic_load_explicit(&s->word, memory_order_relaxed) != 0 || atomic_exchange_explicit(&s->word, 1, memory_order_acquire) != 0)
        return false;
    os_spin_note(s, true);
    return true;
}

static inline void spin_lock(struct spin *s)
{
    for (unsigned tries = 0; !spin_try_lock(s); tries++) {
        if (tries > 1000)
            thread_yield();
        cpu_relax();
    }
}

static inline void spin_unlock(struct spin *s)
{
    atomic_store_explicit(&s->word, 0, memory_order_release);
    os_spin_note(s, false);
}

/* A wake-up by file descriptor (eventfd), for event loops. */
int wakefd_open(void);            /* -errno on failure */
void wakefd_signal(int fd);
void wakefd_drain(int fd);

/* A sleeping place for one thread: signals are never lost. */
struct parking { _Atomic uint32_t word; };
void parking_wake(struct parking *p);
void parking_sleep(struct parking *p, uint32_t timeout_us); /* returns at a wake, or after the time */

#ifdef HF_SIM

typedef struct sim_task *os_thread;
struct os_mutex { struct sim_task *holder; };
struct os_cond { char place; };

void os_mutex_init(struct os_mutex *m);
void os_mutex_release(struct os_mutex *m);
void os_mutex_lock(struct os_mutex *m);
bool os_mutex_try_lock(struct os_mutex *m);
void os_mutex_unlock(struct os_mutex *m);
void os_cond_init(struct os_cond *c);
void os_cond_release(struct os_cond *c);
void os_cond_wait(struct os_cond *c, struct os_mutex *m);
void os_cond_wait_us(struct os_cond *c, struct os_mutex *m, uint32_t timeout_us);
void os_cond_broadcast(struct os_cond *c);
void thread_join(os_thread thread);
void thread_detach(os_thread thread);

#else

typedef pthread_t os_thread;
struct os_mutex { pthread_mutex_t mutex; };
struct os_cond { pthread_cond_t cond; };

static inline void os_mutex_init(struct os_mutex *m) { pthread_mutex_init(&m->mutex, NULL); }
static inline void os_mutex_release(struct os_mutex *m) { pthread_mutex_destroy(&m->mutex); }
static inline void os_mutex_lock(struct os_mutex *m) { pthread_mutex_lock(&m->mutex); }
static inline bool os_mutex_try_lock(struct os_mutex *m) { return pthread_mutex_trylock(&m->mutex) == 0; }
static inline void os_mutex_unlock(struct os_mutex *m) { pthread_mutex_unlock(&m->mutex); }
void os_cond_init(struct os_cond *c);
static inline void os_cond_release(struct os_cond *c) { pthread_cond_destroy(&c->cond); }
static inline void os_cond_wait(struct os_cond *c, struct os_mutex *m) { pthread_cond_wait(&c->cond, &m->mutex); }
void os_cond_wait_us(struct os_cond *c, struct os_mutex *m, uint32_t timeout_us); /* at a broadcast, or after the time */
static inline void os_cond_broadcast(struct os_cond *c) { pthread_cond_broadcast(&c->cond); }
/* What a thread has for its life: handed to `leave` when it ends. */
struct thread_own { pthread_key_t key; };
void thread_own_init(struct thread_own *own, void (*leave)(void *thing));
void thread_own_set(struct thread_own *own, void *thing); /* NULL: nothing any more */

static inline void thread_join(os_thread thread) { pthread_join(thread, NULL); }
static inline void thread_detach(os_thread thread) { pthread_detach(thread); }

#endif

/* Starts a named thread; asserts that the kernel gives one. */
os_thread thread_start(const char *name, void *(*run)(void *), void *context);

#endif
