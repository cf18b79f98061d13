/* Loaded before libc (LD_PRELOAD): counts, records, fails or ends at the calls that change files below one folder. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum kind { CREATE = 1, WRITE = 2, CUT = 4, SYNC = 8, RENAME = 16, UNLINK = 32, MKDIR = 64, NOTE = 128 };
enum mode { OFF, COUNT, FAIL, FAIL_SHORT, KILL };

static char root[PATH_MAX];
static enum mode mode = OFF;
static int mask, failure, log_fd = -1;
static long count, target;

void shim_start(const char *folder, int what, int kinds, long at, int error, int log)
{
    strncpy(root, folder, sizeof root - 1);
    mask = kinds, target = at, failure = error, log_fd = log, count = 0, mode = what;
}

long shim_stop(void)
{
    mode = OFF, log_fd = -1;
    return count;
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

static void put(const void *data, size_t size)
{
    while (size > 0) {
        ssize_t done = REAL(ssize_t, "write", int, const void *, size_t)(log_fd, data, size);
        if (done <= 0) _exit(99);
        data = (const char *)data + done, size -= done;
    }
}

static void record(int kind, const char *path, const char *second, uint64_t offset, const void *data, uint64_t size)
{
    if (log_fd < 0) return;
    int saved = errno;
    uint64_t head[5] = {(uint64_t)kind, strlen(path), strlen(second), offset, size};
    put(head, sizeof head), put(path, head[1]), put(second, head[2]);
    if (data) put(data, size);
    errno = saved;
}

void shim_note(const char *text) { record(NOTE, text, "", 0, NULL, 0); }

static int ours(const char *path)
{
    size_t length = strlen(path);
    if (mode == OFF || strncmp(path, root, strlen(root)) != 0) return 0;
    return !(length > 4 && strcmp(path + length - 4, "-shm") == 0); /* memory of the processes, never read back */
}

static int path_of(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return ours(path);
}

static int path_at(int folder, const char *name, char *path)
{
    if (name[0] == '/' || folder == AT_FDCWD) {
        snprintf(path, PATH_MAX, "%s", name);
        return ours(path);
    }
    path_of(folder, path);
    size_t length = strlen(path);
    snprintf(path + length, PATH_MAX - length, "/%s", name);
    return ours(path);
}

/* 0: go on; 1: the call fails with errno set; 2: it writes one half. Ends the process at the moment asked for. */
static int trip(int kind)
{
    if (!(mask & kind)) return 0;
    count++;
    if (mode == KILL && count == target) kill(getpid(), SIGKILL);
    if ((mode != FAIL && mode != FAIL_SHORT) || count < target) return 0;
    if (mode == FAIL_SHORT && count == target && kind == WRITE) return 2;
    errno = failure;
    return 1;
}

static int opened(const char *name, int folder, const char *path, int flags, mode_t access_mode)
{
    int (*real)(int, const char *, int, ...) = REAL(int, name, int, const char *, int, ...);
    char full[PATH_MAX];
    struct stat status;
    if (!(flags & (O_CREAT | O_TRUNC)) || !path_at(folder, path, full)) return real(folder, path, flags, access_mode);
    int existed = stat(full, &status) == 0;
    if ((!existed || flags & O_TRUNC) && trip(existed ? CUT : CREATE)) return -1;
    int fd = real(folder, path, flags, access_mode);
    if (fd >= 0 && !existed) record(CREATE, full, "", 0, NULL, 0);
    if (fd >= 0 && existed && flags & O_TRUNC) record(CUT, full, "", 0, NULL, 0);
    return fd;
}

#define ACCESS_MODE                                                                                                    \
    mode_t access_mode = 0;                                                                                            \
    if (flags & O_CREAT) {                                                                                             \
        va_list more;                                                                                                  \
        va_start(more, flags), access_mode = va_arg(more, mode_t), va_end(more);                                       \
    }

int open(const char *path, int flags, ...) { ACCESS_MODE return opened("openat", AT_FDCWD, path, flags, access_mode); }
int open64(const char *path, int flags, ...)
{
    ACCESS_MODE return opened("openat64", AT_FDCWD, path, flags, access_mode);
}
int openat(int folder, const char *path, int flags, ...)
{
    ACCESS_MODE return opened("openat", folder, path, flags, access_mode);
}
int openat64(int folder, const char *path, int flags, ...)
{
    ACCESS_MODE return opened("openat64", folder, path, flags, access_mode);
}

ssize_t write(int fd, const void *data, size_t size)
{
    ssize_t (*real)(int, const void *, size_t) = REAL(ssize_t, "write", int, const void *, size_t);
    char path[PATH_MAX];
    if (mode == OFF || !path_of(fd, path)) return real(fd, data, size);
    int tripped = trip(WRITE);
    if (tripped == 1) return -1;
    struct stat status;
    fstat(fd, &status);
    off_t offset = fcntl(fd, F_GETFL) & O_APPEND ? status.st_size : lseek(fd, 0, SEEK_CUR);
    ssize_t done = real(fd, data, tripped == 2 ? (size + 1) / 2 : size);
    if (done > 0) record(WRITE, path, "", offset, data, done);
    return done;
}

static ssize_t written_at(const char *name, int fd, const void *data, size_t size, off64_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off64_t) = REAL(ssize_t, name, int, const void *, size_t, off64_t);
    char path[PATH_MAX];
    if (mode == OFF || !path_of(fd, path)) return real(fd, data, size, offset);
    int tripped = trip(WRITE);
    if (tripped == 1) return -1;
    ssize_t done = real(fd, data, tripped == 2 ? (size + 1) / 2 : size, offset);
    if (done > 0) record(WRITE, path, "", offset, data, done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return written_at("pwrite", fd, data, size, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return written_at("pwrite64", fd, data, size, offset);
}

static int cut(const char *name, int fd, off64_t size)
{
    int (*real)(int, off64_t) = REAL(int, name, int, off64_t);
    char path[PATH_MAX];
    if (mode == OFF || !path_of(fd, path)) return real(fd, size);
    if (trip(CUT)) return -1;
    int done = real(fd, size);
    if (done == 0) record(CUT, path, "", size, NULL, 0);
    return done;
}

int ftruncate(int fd, off_t size) { return cut("ftruncate", fd, size); }
int ftruncate64(int fd, off64_t size) { return cut("ftruncate64", fd, size); }

static int synced(const char *name, int fd)
{
    int (*real)(int) = REAL(int, name, int);
    char path[PATH_MAX];
    if (mode == OFF || !path_of(fd, path)) return real(fd);
    if (trip(SYNC)) return -1;
    int done = real(fd);
    if (done == 0) record(SYNC, path, "", 0, NULL, 0);
    return done;
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }

int renameat(int old_folder, const char *old, int new_folder, const char *new)
{
    int (*real)(int, const char *, int, const char *) = REAL(int, "renameat", int, const char *, int, const char *);
    char from[PATH_MAX], to[PATH_MAX];
    if (!path_at(new_folder, new, to)) return real(old_folder, old, new_folder, new);
    path_at(old_folder, old, from);
    if (trip(RENAME)) return -1;
    int done = real(old_folder, old, new_folder, new);
    if (done == 0) record(RENAME, from, to, 0, NULL, 0);
    return done;
}
int rename(const char *old, const char *new) { return renameat(AT_FDCWD, old, AT_FDCWD, new); }

int unlinkat(int folder, const char *name, int flags)
{
    int (*real)(int, const char *, int) = REAL(int, "unlinkat", int, const char *, int);
    char path[PATH_MAX];
    if (!path_at(folder, name, path)) return real(folder, name, flags);
    if (trip(UNLINK)) return -1;
    int done = real(folder, name, flags);
    if (done == 0) record(UNLINK, path, "", 0, NULL, 0);
    return done;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int folder, const char *name, mode_t access_mode)
{
    int (*real)(int, const char *, mode_t) = REAL(int, "mkdirat", int, const char *, mode_t);
    char path[PATH_MAX];
    if (!path_at(folder, name, path)) return real(folder, name, access_mode);
    if (trip(MKDIR)) return -1;
    int done = real(folder, name, access_mode);
    if (done == 0) record(MKDIR, path, "", 0, NULL, 0);
    return done;
}
int mkdir(const char *path, mode_t access_mode) { return mkdirat(AT_FDCWD, path, access_mode); }
