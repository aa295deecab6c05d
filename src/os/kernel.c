/* kernel.c -- the production binding of the seam. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os/os.h"

#include "base/memory.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
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
    long put;
    do {
        if (count == 1) {
            put = syscall(SYS_sendto, socket, parts->iov_base, parts->iov_len, MSG_NOSIGNAL, NULL, 0);
        } else {
            struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
            put = syscall(SYS_sendmsg, socket, &message, MSG_NOSIGNAL);
        }
    } while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : put;
}

static int kernel_unsent(int socket)
{
    struct tcp_info info;
    int bytes_left = 0;
    socklen_t size = sizeof(info);
    if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 || info.tcpi_state == TCP_CLOSE || ioctl(socket, SIOCOUTQ, &bytes_left) < 0)
        return 0; /* no TCP; or it was reset, and what it has not taken counts for ever */
    return bytes_left;
}

/* The socket address of numbers; 0: they are none. */
static socklen_t numeric(const char *address, unsigned port, struct sockaddr_storage *out)
{
    struct sockaddr_in *four = (struct sockaddr_in *)out;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, address, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)port);
        return sizeof(*four);
    }
    if (inet_pton(AF_INET6, address, &six->sin6_addr) != 1)
        return 0;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons((uint16_t)port);
    return sizeof(*six);
}

static int kernel_connect(const char *address, unsigned port)
{
    struct sockaddr_storage to;
    socklen_t size = numeric(address, port, &to);
    int one = 1;
    if (!size)
        return -EINVAL;
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (struct sockaddr *)&to, size) == 0 || errno == EINPROGRESS)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

/* Of a name with addresses of both kinds that of version 4: it is what servers listen on unless told otherwise. */
static int kernel_resolve(const char *host, char *address, size_t size)
{
    static const int families[] = {AF_INET, AF_INET6};
    for (size_t i = 0; i < 2; i++) {
        struct addrinfo hints = {.ai_family = families[i], .ai_socktype = SOCK_STREAM}, *found;
        if (getaddrinfo(host, NULL, &hints, &found) != 0)
            continue;
        int failed = getnameinfo(found->ai_addr, found->ai_addrlen, address, (socklen_t)size, NULL, 0, NI_NUMERICHOST);
        freeaddrinfo(found);
        if (!failed)
            return 0;
    }
    return -EHOSTUNREACH;
}

static uint64_t kernel_wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t kernel_wall_ms(void) { return kernel_wall_us() / 1000; }

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
    .disk_free = kernel_disk_free, .recv = kernel_recv, .send = kernel_send, .unsent = kernel_unsent,
    .connect = kernel_connect, .resolve = kernel_resolve,
    .wall_ms = kernel_wall_ms, .wall_us = kernel_wall_us, .monotonic_us = kernel_monotonic_us, .random = kernel_random,
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
