/* os.h -- the seam: what holdfast asks of the world goes through here: files, bytes of connections, names, time, chance.
 * (Threads and waiting: thread.h. Sockets that listen and epoll are net/'s own; the process, its working directory and /proc server/'s.)
 *
 * os_current points at a table of calls. Production binds it to the kernel
 * (os_kernel, the default); tests bind it to a recorder that can fail the n-th
 * call or to a simulated disk and clock. Set it before any thread starts.
 * Calls follow the kernel's conventions, except that they return -errno on failure
 * and retry EINTR; pwrite and pread transfer everything or fail (pread: or stop at
 * end of file, returning the bytes read).
 */
#ifndef HF_OS_OS_H
#define HF_OS_OS_H

#include "base/assert.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct os {
    /* files: handles are small ints; paths are absolute or relative to the cwd */
    int (*open)(const char *path, int flags, int mode);
    int (*close)(int file);
    int64_t (*pread)(int file, void *data, size_t size, uint64_t offset);
    int64_t (*pwrite)(int file, const void *data, size_t size, uint64_t offset);
    int (*fdatasync)(int file);
    int (*ftruncate)(int file, uint64_t size);
    int64_t (*file_size)(int file);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, int mode);
    int (*sync_dir)(const char *path);              /* makes renames and creations in it durable */
    int (*list_dir)(const char *path, void (*each)(void *context, const char *name), void *context);
    int (*lock_file)(int file);                     /* exclusive, without waiting; -EWOULDBLOCK if taken */
    int64_t (*disk_free)(const char *path);         /* bytes an ordinary user may still write */
    /* sockets: non-blocking descriptors of the kernel */
    int64_t (*recv)(int socket, void *data, size_t size);
    int64_t (*send)(int socket, const struct iovec *parts, int count);
    int (*unsent)(int socket); /* bytes that the other machine has not taken yet; 0 after a reset, and for unix sockets, whose bytes a close leaves there */
    int (*connect)(const char *address, unsigned port); /* of numbers; begins, without waiting: send says -EAGAIN until it has */
    int (*resolve)(const char *host, char *address, size_t size); /* a name to numbers; may wait long; -EHOSTUNREACH: none */
    /* time and chance */
    uint64_t (*wall_ms)(void);      /* unix time in milliseconds; may step */
    uint64_t (*wall_us)(void);      /* the same, finer: for what is shown to people */
    uint64_t (*monotonic_us)(void); /* never steps back */
    void (*random)(void *data, size_t size);
};

extern const struct os os_kernel;
extern const struct os *os_current;

#define OS (*os_current)

/* Write, fsync, rename into place, fsync the directory: the one way to publish a
 * small file whole. Returns 0 or -errno; on failure the old file still stands. */
int os_publish_file(const char *dir, const char *name, const void *data, size_t size) HF_CHECK;
/* Reads a whole file into *data (mem_free it); -EFBIG above size_max. */
int os_read_file(const char *path, size_t size_max, void **data, size_t *size) HF_CHECK;

#endif
