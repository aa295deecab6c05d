/* disk.c -- the simulated disk: the recorder, with latencies and faults from the seed.
 *
 * Each call may take time before it happens and after, so that others come between the
 * call, its effect and its return. An fdatasync covers what was written when it began: its time
 * passes after its effect as a rule. The power cut is the recorder's: it copies the disk as the
 * next process will find it; then the world ends, in the middle of the call.
 */
#include "sim.h"

#include "unit/support/recorder.h"

#define FAULT_ECHO (8000 * SIM_MS) /* healing backs off up to a second; a waiter of the log gives up after five */

static struct { uint64_t faulty_until; bool syncs_only; struct os os; } disk;

static void latency(uint64_t most)
{
    os_sched_point(SCHED_WAKE);
    if (most && sim_chance(DICE_DISK, 2))
        sim_sleep(sim_random(DICE_DISK, sim_chance(DICE_DISK, 8) ? most : most / 8 + 1));
}

static int64_t after(const char *call, const char *name, uint64_t at, int64_t result)
{
    sim_trace("disk: %s %s %llu => %lld%s", call, name, (unsigned long long)at, (long long)result, rec.cut ? ", cut" : "");
    if (rec.cut)
        sim_world_end();
    if (result == -EIO || result == -ENOSPC)
        disk.faulty_until = sim.now + FAULT_ECHO;
    return result;
}

static const char *name_of(int file)
{
    const struct rec_handle *h = &rec.handles[file - REC_FIRST_HANDLE];
    for (size_t i = 0; h->disk && i < h->disk->live.count; i++) {
        if (h->disk->live.at[i].file == h->file)
            return h->disk->live.at[i].path;
    }
    return "(no name)";
}

static int disk_open(const char *path, int flags, int mode)
{
    latency(0);
    return (int)after("open", path, 0, rec_open(path, flags, mode));
}

static int disk_close(int file)
{
    return wire_owns(file) ? wire_server_close(file) : rec_close(file);
}

static int64_t disk_pread(int file, void *data, size_t size, uint64_t offset)
{
    latency(sim.plan.write_ns);
    return after("pread", name_of(file), offset, rec_pread(file, data, size, offset));
}

static int64_t disk_pwrite(int file, const void *data, size_t size, uint64_t offset)
{
    latency(sim.plan.write_ns);
    int64_t result = after("pwrite", name_of(file), offset, rec_pwrite(file, data, size, offset));
    latency(0);
    return result;
}

static int disk_fdatasync(int file)
{
    latency(sim.plan.sync_ns / 8);
    int result = (int)after("fdatasync", name_of(file), 0, rec_fdatasync(file));
    latency(sim.plan.sync_ns);
    return result;
}

static int disk_ftruncate(int file, uint64_t size)
{
    latency(0);
    return (int)after("ftruncate", name_of(file), size, rec_ftruncate(file, size));
}

static int64_t disk_file_size(int file) { return after("size", name_of(file), 0, rec_file_size(file)); }

static int disk_rename(const char *from, const char *to)
{
    latency(0);
    if (sim.cut_behind_snapshot && strstr(to, "snapshot-") && !rec.cut)
        rec.cut_at = rec.changes + sim.cut_behind_snapshot;
    return (int)after("rename to", to, 0, rec_rename(from, to));
}

static int disk_unlink(const char *path)
{
    latency(0);
    return (int)after("unlink", path, 0, rec_unlink(path));
}

static int disk_mkdir(const char *path, int mode) { return (int)after("mkdir", path, 0, rec_mkdir(path, mode)); }

static int disk_sync_dir(const char *path)
{
    latency(sim.plan.sync_ns / 8);
    int result = (int)after("sync_dir", path, 0, rec_sync_dir(path));
    latency(sim.plan.sync_ns);
    return result;
}

static uint64_t wall_offset_ms = UINT64_C(1700000000000);

/* The wall clock steps now and then; the product's transaction time does not. */
static uint64_t wall_ms(void)
{
    if (sim.plan.clock_steps && sim_chance(DICE_DISK, 64))
        wall_offset_ms += sim_random(DICE_DISK, 41) - 20;
    return wall_offset_ms + sim.now / SIM_MS;
}

static uint64_t wall_us(void) { return wall_ms() * 1000 + sim.now % SIM_MS / 1000; }

static uint64_t monotonic_us(void) { return sim.now / 1000; }

static void random_bytes(void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)data)[i] = (uint8_t)sim_random(DICE_DISK, 256);
}

void disk_start(void)
{
    rec_start();
    disk.os = rec_os;
    disk.os.open = disk_open;
    disk.os.close = disk_close;
    disk.os.pread = disk_pread;
    disk.os.pwrite = disk_pwrite;
    disk.os.fdatasync = disk_fdatasync;
    disk.os.ftruncate = disk_ftruncate;
    disk.os.file_size = disk_file_size;
    disk.os.rename = disk_rename;
    disk.os.unlink = disk_unlink;
    disk.os.mkdir = disk_mkdir;
    disk.os.sync_dir = disk_sync_dir;
    disk.os.recv = wire_recv;
    disk.os.send = wire_server_send;
    disk.os.unsent = wire_server_unsent;
    disk.os.wall_ms = wall_ms;
    disk.os.wall_us = wall_us;
    disk.os.monotonic_us = monotonic_us;
    disk.os.random = random_bytes;
    os_current = &disk.os;
}

void disk_arm(uint64_t cut_at, bool crash, uint64_t seed)
{
    rec.random = seed ^ UINT64_C(0x5851f42d4c957f2d);
    rec_arm(cut_at, crash, 1, seed);
}

void disk_cut_now(void) { rec_cut(); }

void disk_swap(void)
{
    hf_assert(rec.cut);
    memset(rec.handles, 0, sizeof(rec.handles)); /* nobody lives to close them */
    rec_clear_fault();
    rec_insert(rec.forks[0]);
    disk.faulty_until = 0;
}

void disk_fault(uint64_t from, uint64_t count, int error, bool syncs_only)
{
    rec_set_fault(syncs_only ? REC_BIT(REC_FDATASYNC) : REC_BIT(REC_FDATASYNC) | REC_BIT(REC_PWRITE), NULL, from, count, error);
}

bool disk_faulty(void) { return sim.now < disk.faulty_until; }
