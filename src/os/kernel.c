/* kernel.c -- the production binding of the seam. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os/os.h"

#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int checked(int result)
{
    return result < 0 ? -errno : result;
}

static int kernel_open(const char *path, int flags, int mode)
{
    int file;
    do
        file = open(path, flags | O_CLOEXEC, mode);
    while (file < 0 && errno == EINTR);
    return checked(file);
}

static int kernel_close(int file) { return checked(close(file)); }

static int64_t kernel_pread(int file, void *data, size_t size, uint64_t offset)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = pread(file, (char *)data + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (int64_t)done;
}

static int64_t kernel_pwrite(int file, const void *data, size_t size, uint64_t offset)
{
    size_t done = 0;
    while (done < size) {
        ssize_t put = pwrite(file, (const char *)data + done, size - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        done += (size_t)put;
    }
    return (int64_t)done;
}

static int kernel_fdatasync(int file) { return checked(fdatasync(file)); }
static int kernel_ftruncate(int file, uint64_t size) { return checked(ftruncate(file, (off_t)size)); }
static int kernel_rename(const char *from, const char *to) { return checked(rename(from, to)); }
static int kernel_unlink(const char *path) { return checked(unlink(path)); }
static int kernel_mkdir(const char *path, int mode) { return checked(mkdir(path, (mode_t)mode)); }
static int kernel_lock_file(int file) { return checked(flock(file, LOCK_EX | LOCK_NB)); }

static int64_t kernel_file_size(int file)
{
    struct stat s;
    return fstat(file, &s) < 0 ? -errno : (int64_t)s.st_size;
}

static int kernel_sync_dir(const char *path)
{
    int dir = kernel_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (dir < 0)
        return dir;
    int result = checked(fsync(dir));
    close(dir);
    return result;
}

static int kernel_list_dir(const char *path, void (*each)(void *, const char *), void *context)
{
    DIR *dir = opendir(path);
    if (!dir)
        return -errno;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            each(context, entry->d_name);
    }
    closedir(dir);
    return 0;
}

static int64_t kernel_disk_free(const char *path)
{
    struct statvfs s;
    return statvfs(path, &s) < 0 ? -errno : (int64_t)(s.f_bavail * s.f_frsize);
}

/* Of small commands these two are most of the cost, so they go past libc, which makes them points of cancellation (no thread here is
 * ever cancelled), and one part is sent without the description that several need. */
static int64_t kernel_recv(int socket, void *data, size_t size)
{
    long got;
    do
        got = syscall(SYS_recvfrom, socket, data, size, 0, NULL, NULL);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

static int64_t kernel_send(int socket, const struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
    long put;
    do
        put = count == 1 ? syscall(SYS_sendto, socket, parts->iov_base, parts->iov_len, MSG_NOSIGNAL, NULL, 0)
                         : syscall(SYS_sendmsg, socket, &message, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : put;
}

static uint64_t kernel_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t kernel_monotonic_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void kernel_random(void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = getrandom((char *)data + done, size - done, 0);
        hf_assert(got > 0 || errno == EINTR);
        done += got > 0 ? (size_t)got : 0;
    }
}

const struct os os_kernel = {
    .open = kernel_open, .close = kernel_close, .pread = kernel_pread, .pwrite = kernel_pwrite,
    .fdatasync = kernel_fdatasync, .ftruncate = kernel_ftruncate, .file_size = kernel_file_size,
    .rename = kernel_rename, .unlink = kernel_unlink, .mkdir = kernel_mkdir,
    .sync_dir = kernel_sync_dir, .list_dir = kernel_list_dir, .lock_file = kernel_lock_file,
    .disk_free = kernel_disk_free, .recv = kernel_recv, .send = kernel_send,
    .wall_ms = kernel_wall_ms, .monotonic_us = kernel_monotonic_us, .random = kernel_random,
};

const struct os *os_current = &os_kernel;

int os_publish_file(const char *dir, const char *name, const void *data, size_t size)
{
    char path[4096], fresh[4096];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    snprintf(fresh, sizeof(fresh), "%s/%s.new", dir, name);
    int file = OS.open(fresh, O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (file < 0)
        return file;
    int64_t written = OS.pwrite(file, data, size, 0);
    int result = written < 0 ? (int)written : OS.fdatasync(file);
    OS.close(file);
    if (result == 0)
        result = OS.rename(fresh, path);
    return result == 0 ? OS.sync_dir(dir) : result;
}

int os_read_file(const char *path, size_t size_max, void **data, size_t *size)
{
    int file = OS.open(path, O_RDONLY, 0);
    if (file < 0)
        return file;
    int64_t length = OS.file_size(file);
    if (length >= 0 && (uint64_t)length > size_max)
        length = -EFBIG;
    if (length < 0) {
        OS.close(file);
        return (int)length;
    }
    void *content = mem_alloc((size_t)length + 1);
    int64_t got = OS.pread(file, content, (size_t)length, 0);
    OS.close(file);
    if (got < 0) {
        mem_free(content);
        return (int)got;
    }
    *data = content;
    *size = (size_t)got;
    return 0;
}
