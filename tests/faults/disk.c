/* Preloaded into a proxy: its disk fails and its clock is wrong, as a small shared file says at every moment.
 * Only files whose name contains ".redb" fail. The file: two native 32-bit integers, what the disk does, and how many
 * seconds the clock is ahead. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { DISK_WELL, DISK_FULL, DISK_SYNC_FAILS, DISK_SYNC_HANGS };

static volatile int32_t *control;

__attribute__((constructor)) static void map_control(void) {
    const char *path = getenv("FAULTS_CONTROL");
    int fd = path ? open(path, O_RDONLY) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED) control = mapped;
    close(fd);
}

static int disk_of(int fd) {
    char link[64], name[4096];
    if (!control || control[0] == DISK_WELL) return DISK_WELL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) return DISK_WELL;
    name[length] = 0;
    return strstr(name, ".redb") ? control[0] : DISK_WELL;
}

static int fails(int error) {
    errno = error;
    return -1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
    return disk_of(fd) == DISK_FULL ? fails(ENOSPC) : real(fd, bytes, length, at);
}

int ftruncate64(int fd, off64_t length) {
    static int (*real)(int, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "ftruncate64");
    return disk_of(fd) == DISK_FULL ? fails(ENOSPC) : real(fd, length);
}

static int before_sync(int fd) {
    int disk = disk_of(fd);
    while (disk == DISK_SYNC_HANGS && control[0] == DISK_SYNC_HANGS) usleep(10000);
    return disk == DISK_SYNC_FAILS;
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fsync");
    return before_sync(fd) ? fails(EIO) : real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
    return before_sync(fd) ? fails(EIO) : real(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (result == 0 && control && clock == CLOCK_REALTIME) now->tv_sec += control[1];
    return result;
}
