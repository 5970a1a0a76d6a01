/* What a file system that machines share may do, and what differs between machines; preloaded into one process.

   FAKE_HOST=NAME      the machine's name
   FAKE_FLOCK=refused  the file system has no flock; =local: an flock of another machine is not seen
   FAKE_CLOCK=SECONDS  the machine's clock is fast by so much
   FAKE_LATE=SECONDS   files whose names end in .json are seen only so long after they were made */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int gethostname(char *name, size_t length) {
    const char *fake = getenv("FAKE_HOST");
    if (!fake) return REAL(gethostname)(name, length);
    strncpy(name, fake, length);
    return 0;
}

int uname(struct utsname *found) {
    const char *fake = getenv("FAKE_HOST");
    int code = REAL(uname)(found);
    if (fake) strncpy(found->nodename, fake, sizeof found->nodename - 1);
    return code;
}

int flock(int file, int operation) {
    const char *fake = getenv("FAKE_FLOCK");
    if (!fake) return REAL(flock)(file, operation);
    if (!strcmp(fake, "local")) return 0;
    errno = ENOLCK;
    return -1;
}

static time_t fast(void) {
    const char *fake = getenv("FAKE_CLOCK");
    return fake ? atol(fake) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int code = REAL(clock_gettime)(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += fast();
    return code;
}

time_t time(time_t *now) {
    time_t read = REAL(time)(NULL) + fast();
    if (now) *now = read;
    return read;
}

/* The time at which the file was made is that of its inode: each of imgrec's files is a new one. */
static int unseen(const char *path) {
    const char *late = getenv("FAKE_LATE"), *end = path ? strrchr(path, '.') : NULL;
    struct statx found;
    struct timespec now;
    if (!late || !end || strcmp(end, ".json") || statx(AT_FDCWD, path, 0, STATX_BTIME, &found)) return 0;
    REAL(clock_gettime)(CLOCK_REALTIME, &now);
    return now.tv_sec + now.tv_nsec / 1e9 < found.stx_btime.tv_sec + found.stx_btime.tv_nsec / 1e9 + atof(late);
}

#define SEEN(path) if (unseen(path)) { errno = ENOENT; return -1; }

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (!(flags & O_CREAT)) SEEN(path)
    return REAL(open64)(path, flags, mode);
}

int stat64(const char *path, struct stat64 *found) { SEEN(path) return REAL(stat64)(path, found); }

int lstat64(const char *path, struct stat64 *found) { SEEN(path) return REAL(lstat64)(path, found); }

int fstatat64(int folder, const char *path, struct stat64 *found, int flags) {
    if (folder == AT_FDCWD) SEEN(path)
    return REAL(fstatat64)(folder, path, found, flags);
}
