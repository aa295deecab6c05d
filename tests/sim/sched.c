/* sched.c -- coroutines instead of threads; the seed says who runs.
 *
 * Every scheduling point counts down; at zero another coroutine is drawn, and sometimes the one
 * that was running is paused for a while (a thread that lost its processor). Time is a number:
 * it creeps at each point, and leaps to the next timeout when nobody can run. Nobody can run
 * and nobody has a timeout: a deadlock, which is a failure.
 *
 * Waiting is one mechanism: sim_block(place) until sim_wake(place) or the timeout. The futex of
 * struct parking, mutexes, conditions, joins, pollers and clients are all made of it.
 *
 * A switch is _setjmp and _longjmp (no system call); ucontext only starts a coroutine on its stack.
 */
#include "sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif
#ifdef SIM_ASAN
void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *save, const void **bottom, size_t *size);
void __asan_unpoison_memory_region(const volatile void *start, size_t size);
#endif

#define STACK_SIZE ((size_t)256 << 10)
#define STACK_GUARD ((size_t)4096)
#define TASKS_MAX 4096
#define SWITCHES_MAX 60000000u
#define POINT_NS 3u
#define SWITCH_NS 15u
#define SPIN_NS 60u
#define WEIGHT_MAX 16u

enum task_state { TASK_READY, TASK_WAITING, TASK_GONE };

struct sim_task {
    char name[24];
    unsigned number, world, weight;
    enum task_state state;
    bool started, woken, finished;
    bool forgotten; /* joined, detached or of a dead world: may be used again when it is gone */
    const void *place;
    uint64_t until;
    void *(*run)(void *);
    void *context;
    jmp_buf at;
    ucontext_t first;
    char *stack;
    size_t stack_size;
    void *fake_stack;
    size_t ready_at;
    struct task_note note;
};

struct sim sim;

static struct {
    struct sim_task *all[TASKS_MAX], *ready[TASKS_MAX], *current, *left;
    size_t count, ready_count;
    uint64_t next_timeout, switches;
    uint64_t left_named, left_atomic;
    uint64_t dice[DICE_COUNT];
    bool running;
    bool undivided;          /* nobody else gets a turn */
} sched;

/* ---- chance ---- */

uint64_t sim_random(enum dice dice, uint64_t below)
{
    uint64_t z = (sched.dice[dice] += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return below ? (z ^ (z >> 31)) % below : 0;
}

static uint64_t gap(uint64_t mean)
{
    return 1 + sim_random(DICE_SCHED, 2 * mean - 1);
}

/* ---- news ---- */

const char *sim_task_name(void) { return sched.current ? sched.current->name : "nobody"; }
struct task_note *sim_note(void) { return &sched.current->note; }

void sim_trace(const char *format, ...)
{
    va_list args;
    if (!sim.trace)
        return;
    fprintf(stderr, "%12.6f ms  %-16s ", (double)sim.now / 1e6, sim_task_name());
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static void say_who_waits(void)
{
    for (size_t i = 0; i < sched.count; i++) {
        const struct sim_task *t = sched.all[i];
        if (t->state != TASK_GONE)
            fprintf(stderr, "    %-16s %s\n", t->name, t->state == TASK_READY ? "can run" :
                    t->until == UINT64_MAX ? "waits without a timeout" : "waits with a timeout");
    }
}

void sim_fail(const char *format, ...)
{
    va_list args;
    fprintf(stderr, "seed %llu, world %u, at %.3f ms, in %s: ", (unsigned long long)sim.seed, sim.world,
            (double)sim.now / 1e6, sim_task_name());
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    fflush(NULL);
    _exit(1);
}

/* ---- switching ---- */

static void make_ready(struct sim_task *t)
{
    t->state = TASK_READY;
    t->ready_at = sched.ready_count;
    sched.ready[sched.ready_count++] = t;
}

static void leave_ready(struct sim_task *t)
{
    struct sim_task *last = sched.ready[--sched.ready_count];
    sched.ready[t->ready_at] = last;
    last->ready_at = t->ready_at;
}

static void wake_due(void)
{
    uint64_t next = UINT64_MAX;
    if (sim.now < sched.next_timeout)
        return;
    for (size_t i = 0; i < sched.count; i++) {
        struct sim_task *t = sched.all[i];
        if (t->state != TASK_WAITING)
            continue;
        if (t->until <= sim.now)
            make_ready(t);
        else if (t->until < next)
            next = t->until;
    }
    sched.next_timeout = next;
}

static struct sim_task *draw(void)
{
    for (;;) {
        struct sim_task *t = sched.ready[sim_random(DICE_SCHED, sched.ready_count)];
        if (t->weight == WEIGHT_MAX || sim_random(DICE_SCHED, WEIGHT_MAX) < t->weight)
            return t;
    }
}

static void arrived(void)
{
#ifdef SIM_ASAN
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(sched.current->fake_stack, &bottom, &size);
    if (!sched.left->stack) { /* the first coroutine runs on the stack of the process */
        sched.left->stack = (char *)(uintptr_t)bottom;
        sched.left->stack_size = size;
    }
#endif
}

static void first_step(void)
{
    struct sim_task *t = sched.current;
    arrived();
    t->run(t->context);
    t->finished = true;
    t->state = TASK_GONE;
    leave_ready(t);
    sim_wake(t, UINT32_MAX);
    sim_yield();
    abort();
}

static void jump(struct sim_task *from, struct sim_task *to)
{
    sched.left = from;
    sched.current = to;
#ifdef SIM_ASAN
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->stack_size);
#endif
    if (_setjmp(from->at) == 0) {
        if (to->started)
            _longjmp(to->at, 1);
        to->started = true;
        setcontext(&to->first);
    }
    arrived();
}

/* Somebody runs now; the caller has said in its state whether it may be the one. */
static void pass_on(void)
{
    struct sim_task *from = sched.current;
    sim.now += SWITCH_NS;
    if (++sched.switches > SWITCHES_MAX) {
        say_who_waits();
        sim_fail("this does not come to an end");
    }
    wake_due();
    while (sched.ready_count == 0) {
        if (sched.next_timeout == UINT64_MAX) {
            say_who_waits();
            sim_fail("deadlock: everybody waits, and nobody has a timeout");
        }
        sim.now = sched.next_timeout;
        wake_due();
    }
    struct sim_task *to = draw();
    sim.digest = (sim.digest ^ to->number ^ sim.now << 8) * UINT64_C(0x100000001b3);
    if (to != from)
        jump(from, to);
}

void sim_yield(void)
{
    if (sched.running)
        pass_on();
}

bool sim_block(const void *place, uint64_t timeout)
{
    struct sim_task *t = sched.current;
    t->place = place;
    t->woken = false;
    t->until = timeout < UINT64_MAX - sim.now ? sim.now + timeout : UINT64_MAX;
    t->state = TASK_WAITING;
    leave_ready(t);
    if (t->until < sched.next_timeout)
        sched.next_timeout = t->until;
    pass_on();
    return t->woken;
}

void sim_wake(const void *place, unsigned count)
{
    size_t start = sim_random(DICE_SCHED, sched.count);
    for (size_t i = 0; i < sched.count && count > 0; i++) {
        struct sim_task *t = sched.all[(start + i) % sched.count];
        if (t->state != TASK_WAITING || t->place != place)
            continue;
        t->woken = true;
        make_ready(t);
        count--;
    }
}

void sim_sleep(uint64_t time)
{
    if (time && sched.running)
        sim_block(&sched, time);
}

/* ---- life and death ---- */

static struct sim_task *task_room(void)
{
    for (size_t i = 0; i < sched.count; i++) {
        if (sched.all[i]->state == TASK_GONE && sched.all[i]->forgotten)
            return sched.all[i];
    }
    hf_assert(sched.count < TASKS_MAX);
    struct sim_task *t = calloc(1, sizeof(*t));
    hf_assert(t);
    t->number = (unsigned)sched.count;
    sched.all[sched.count++] = t;
    return t;
}

/* A used one keeps its stack. */
static struct sim_task *task_new(const char *name)
{
    struct sim_task *t = task_room();
    *t = (struct sim_task){.number = t->number, .stack = t->stack, .stack_size = t->stack_size, .world = sim.world, .weight = WEIGHT_MAX};
    snprintf(t->name, sizeof(t->name), "%s", name);
    make_ready(t);
    return t;
}

static void stack_new(struct sim_task *t)
{
    size_t size = STACK_SIZE + STACK_GUARD;
    char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    hf_assert(stack != MAP_FAILED && mprotect(stack, STACK_GUARD, PROT_NONE) == 0);
    t->stack = stack + STACK_GUARD;
    t->stack_size = STACK_SIZE;
}

void sched_start(void)
{
    memset(&sched, 0, sizeof(sched));
    for (unsigned i = 0; i < DICE_COUNT; i++)
        sched.dice[i] = sim.seed * UINT64_C(0x9e3779b97f4a7c15) + i * UINT64_C(0xd1342543de82ef95);
    sched.next_timeout = UINT64_MAX;
    sched.left_named = sched.left_atomic = 1;
    sim.now = SIM_MS;
    sched.current = task_new("main");
    sched.current->started = true;
    sched.running = true;
}

os_thread sim_spawn(const char *name, void *(*run)(void *), void *context)
{
    struct sim_task *t = task_new(name);
    if (!t->stack)
        stack_new(t);
#ifdef SIM_ASAN
    __asan_unpoison_memory_region(t->stack, STACK_SIZE); /* a dead coroutine had its stack here */
#endif
    t->run = run;
    t->context = context;
    t->weight = sim_chance(DICE_SCHED, 4) ? 1 + (unsigned)sim_random(DICE_SCHED, WEIGHT_MAX) : WEIGHT_MAX; /* some are slow */
    getcontext(&t->first);
    t->first.uc_stack.ss_sp = t->stack;
    t->first.uc_stack.ss_size = STACK_SIZE;
    t->first.uc_link = NULL;
    makecontext(&t->first, first_step, 0);
    return t;
}

/* ---- spins, some of which are static and outlive their world ---- */

#define SPINS_MAX 256

static struct { struct spin *items[SPINS_MAX]; size_t count; } taken;

void os_spin_note(struct spin *s, bool is_taken)
{
    if (is_taken) {
        hf_assert(taken.count < SPINS_MAX);
        taken.items[taken.count++] = s;
        return;
    }
    size_t i = taken.count;
    while (i-- > 0 && taken.items[i] != s) {
    }
    if (i < taken.count) /* else its holder was killed */
        taken.items[i] = taken.items[--taken.count];
}

static void give_back_spins(void)
{
    for (size_t i = 0; i < taken.count; i++)
        taken.items[i]->word = 0;
    taken.count = 0;
}

/* ---- worlds ---- */

static char world_place;

void sim_world_begin(void) { sim.world++; }

void sim_world_kill(void)
{
    for (size_t i = 0; i < sched.count; i++) {
        struct sim_task *t = sched.all[i];
        if (t->world == 0)
            continue;
        t->forgotten = true;
        if (t->state == TASK_GONE)
            continue;
        if (t->state == TASK_READY)
            leave_ready(t);
        t->state = TASK_GONE;
    }
    give_back_spins();
}

void sim_world_end(void)
{
    sim_world_kill();
    sim_wake(&world_place, UINT32_MAX);
    pass_on();
    abort();
}

void sim_world_wait(void)
{
    sim_block(&world_place, UINT64_MAX);
}

/* ---- os/thread.h ---- */

static bool counts_down(uint64_t *left, uint64_t mean)
{
    if (--*left > 0)
        return false;
    *left = gap(mean);
    return true;
}

void sim_undivided(bool on) { sched.undivided = on; }

void os_sched_point(enum sched_point point)
{
    if (!sched.running || sched.undivided || sched.current->world == 0)
        return;
    sim.now += point == SCHED_SPIN ? SPIN_NS : POINT_NS;
    if ((int)point == sim.plan.slow_point && sim_chance(DICE_SCHED, sim.plan.slow_one_in)) {
        sim_sleep(sim_random(DICE_SCHED, sim.plan.slow_ns));
        return;
    }
    bool atomic = point == SCHED_ATOMIC;
    if (point != SCHED_SPIN && !counts_down(atomic ? &sched.left_atomic : &sched.left_named,
                                            atomic ? sim.plan.gap_atomic : sim.plan.gap_named))
        return;
    if (sim.plan.stall_ns && sim_chance(DICE_SCHED, sim.plan.stall_one_in))
        sim_sleep(sim_random(DICE_SCHED, sim.plan.stall_ns));
    else
        pass_on();
}

void thread_yield(void)
{
    sim.now += SPIN_NS;
    sim_yield();
}

bool os_bug(enum os_bug bug)
{
    return sim.bug == bug && sched.running && (bug == BUG_GATE_ALONE || sim_chance(DICE_SCHED, 4));
}

void sim_futex_wait(_Atomic uint32_t *word, uint32_t value, uint32_t timeout_us);
void sim_futex_wake(_Atomic uint32_t *word);

void sim_futex_wait(_Atomic uint32_t *word, uint32_t value, uint32_t timeout_us)
{
    os_sched_point(SCHED_WAKE);
    if (atomic_load(word) == value)
        sim_block(word, (uint64_t)timeout_us * 1000);
}

void sim_futex_wake(_Atomic uint32_t *word)
{
    sim_wake(word, 1);
    os_sched_point(SCHED_WAKE);
}

void os_mutex_init(struct os_mutex *m) { m->holder = NULL; }
void os_mutex_release(struct os_mutex *m) { hf_assert(!m->holder); }

bool os_mutex_try_lock(struct os_mutex *m)
{
    os_sched_point(SCHED_LOCK);
    if (m->holder)
        return false;
    m->holder = sched.current;
    return true;
}

void os_mutex_lock(struct os_mutex *m)
{
    hf_assert(m->holder != sched.current);
    while (!os_mutex_try_lock(m))
        sim_block(m, UINT64_MAX);
}

void os_mutex_unlock(struct os_mutex *m)
{
    hf_assert(m->holder == sched.current);
    m->holder = NULL;
    sim_wake(m, 1);
    os_sched_point(SCHED_UNLOCK);
}

void os_cond_init(struct os_cond *c) { c->place = 0; }
void os_cond_release(struct os_cond *c) { (void)c; }

static void cond_wait(struct os_cond *c, struct os_mutex *m, uint64_t timeout)
{
    hf_assert(m->holder == sched.current);
    m->holder = NULL;
    sim_wake(m, 1);
    sim_block(c, timeout); /* nothing came between the release and this */
    os_mutex_lock(m);
}

void os_cond_wait(struct os_cond *c, struct os_mutex *m) { cond_wait(c, m, UINT64_MAX); }
void os_cond_wait_us(struct os_cond *c, struct os_mutex *m, uint32_t timeout_us) { cond_wait(c, m, (uint64_t)timeout_us * 1000); }

void os_cond_broadcast(struct os_cond *c)
{
    os_sched_point(SCHED_WAKE);
    sim_wake(c, UINT32_MAX);
}

os_thread thread_start(const char *name, void *(*run)(void *), void *context)
{
    os_thread t = sim_spawn(name, run, context);
    os_sched_point(SCHED_WAKE);
    return t;
}

void thread_join(os_thread t)
{
    while (!t->finished)
        sim_block(t, UINT64_MAX);
    t->forgotten = true;
}

void thread_detach(os_thread t) { t->forgotten = true; }
