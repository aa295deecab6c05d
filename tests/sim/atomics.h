/* atomics.h -- every atomic operation of the product becomes a scheduling point.
 *
 * Force-included (-include) when the product is compiled for simulation, so that the product's
 * text stays as it is. One thread runs all coroutines, hence every operation is sequentially
 * consistent here: what the simulator finds are orders of steps, not weak memory (that is
 * ThreadSanitizer's part).
 */
#ifndef HF_SIM_ATOMICS_H
#define HF_SIM_ATOMICS_H

#include "os/thread.h"

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_exchange
#undef atomic_exchange_explicit
#undef atomic_fetch_add
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub
#undef atomic_fetch_sub_explicit
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak
#undef atomic_compare_exchange_weak_explicit

#ifdef __clang__
#define SIM_LOAD(p) __c11_atomic_load(p, __ATOMIC_SEQ_CST)
#define SIM_STORE(p, v) __c11_atomic_store(p, v, __ATOMIC_SEQ_CST)
#define SIM_SWAP(p, v) __c11_atomic_exchange(p, v, __ATOMIC_SEQ_CST)
#define SIM_ADD(p, v) __c11_atomic_fetch_add(p, v, __ATOMIC_SEQ_CST)
#define SIM_SUB(p, v) __c11_atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST)
#define SIM_CAS(p, e, v) __c11_atomic_compare_exchange_strong(p, e, v, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#else
#define SIM_LOAD(p) __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define SIM_STORE(p, v) __atomic_store_n(p, v, __ATOMIC_SEQ_CST)
#define SIM_SWAP(p, v) __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define SIM_ADD(p, v) __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST)
#define SIM_SUB(p, v) __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST)
#define SIM_CAS(p, e, v) __atomic_compare_exchange_n(p, e, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#endif

#define SIM_POINT os_sched_point(SCHED_ATOMIC)
#define atomic_load(p) (SIM_POINT, SIM_LOAD(p))
#define atomic_load_explicit(p, order) atomic_load(p)
#define atomic_store(p, v) (SIM_POINT, SIM_STORE(p, v))
#define atomic_store_explicit(p, v, order) atomic_store(p, v)
#define atomic_exchange(p, v) (SIM_POINT, SIM_SWAP(p, v))
#define atomic_exchange_explicit(p, v, order) atomic_exchange(p, v)
#define atomic_fetch_add(p, v) (SIM_POINT, SIM_ADD(p, v))
#define atomic_fetch_add_explicit(p, v, order) atomic_fetch_add(p, v)
#define atomic_fetch_sub(p, v) (SIM_POINT, SIM_SUB(p, v))
#define atomic_fetch_sub_explicit(p, v, order) atomic_fetch_sub(p, v)
#define atomic_compare_exchange_strong(p, e, v) (SIM_POINT, SIM_CAS(p, e, v))
#define atomic_compare_exchange_strong_explicit(p, e, v, yes, no) atomic_compare_exchange_strong(p, e, v)
#define atomic_compare_exchange_weak(p, e, v) atomic_compare_exchange_strong(p, e, v)
#define atomic_compare_exchange_weak_explicit(p, e, v, yes, no) atomic_compare_exchange_strong(p, e, v)

#endif
