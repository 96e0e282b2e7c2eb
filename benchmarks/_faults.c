/* Makes one system call on the files below a folder fail, or ends the process in its place.
 *
 *   cc -shared -fPIC -O1 -o faults.so _faults.c -ldl;  LD_PRELOAD=./faults.so python …
 *
 * hardening_arm(folder, n, error): the n-th call from now (1 is the first) that writes below the
 * folder fails with that errno; with 0 the process is killed before the call, with -1 none fails and
 * calls are only counted. hardening_count(): calls so far. hardening_clock(seconds): moves the clock
 * of the day, which anybody can set, and not the one that only counts.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static char folder[PATH_MAX];
static long target, seen;
static int failure;
static volatile long offset;

void hardening_arm(const char *path, long n, int error) {
    strncpy(folder, path, sizeof folder - 1);
    target = n, failure = error, seen = 0;
}
long hardening_count(void) { return seen; }
void hardening_clock(long seconds) { offset = seconds; }

static void full(int dir, const char *path, char *out) {
    char link[64], base[PATH_MAX];
    ssize_t n = 0;
    out[0] = 0;
    if (path && path[0] == '/') { strncpy(out, path, PATH_MAX - 1); return; }
    if (dir == AT_FDCWD) { if (!getcwd(base, sizeof base)) return; n = strlen(base); }
    else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        n = readlink(link, base, sizeof base - 1);
        if (n < 0) return;
        base[n] = 0;
    }
    snprintf(out, PATH_MAX, "%s%s%s", base, path ? "/" : "", path ? path : "");
}

/* Whether the call that is about to be made is the one that fails. */
static int hit(int dir, const char *path) {
    char where[PATH_MAX];
    if (!folder[0]) return 0;
    full(dir, path, where);
    if (strncmp(where, folder, strlen(folder))) return 0;
    if (++seen != target || failure < 0) return 0;
    if (!failure) kill(getpid(), SIGKILL);
    errno = failure;
    return 1;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define AT(d, p) if (hit(d, p)) return -1
#define WRITES(f) ((f) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))
#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list l; va_start(l, flags); mode = va_arg(l, mode_t); va_end(l); }

int open(const char *p, int flags, ...) { REAL(open); MODE if (WRITES(flags)) AT(AT_FDCWD, p); return real(p, flags, mode); }
int open64(const char *p, int flags, ...) { REAL(open64); MODE if (WRITES(flags)) AT(AT_FDCWD, p); return real(p, flags, mode); }
int openat(int d, const char *p, int flags, ...) { REAL(openat); MODE if (WRITES(flags)) AT(d, p); return real(d, p, flags, mode); }
int openat64(int d, const char *p, int flags, ...) { REAL(openat64); MODE if (WRITES(flags)) AT(d, p); return real(d, p, flags, mode); }
int mkdir(const char *p, mode_t m) { REAL(mkdir); AT(AT_FDCWD, p); return real(p, m); }
int mkdirat(int d, const char *p, mode_t m) { REAL(mkdirat); AT(d, p); return real(d, p, m); }
int rename(const char *a, const char *b) { REAL(rename); AT(AT_FDCWD, a); return real(a, b); }
int renameat(int d, const char *a, int e, const char *b) { REAL(renameat); AT(d, a); return real(d, a, e, b); }
int link(const char *a, const char *b) { REAL(link); AT(AT_FDCWD, b); return real(a, b); }
int linkat(int d, const char *a, int e, const char *b, int f) { REAL(linkat); AT(e, b); return real(d, a, e, b, f); }
int unlink(const char *p) { REAL(unlink); AT(AT_FDCWD, p); return real(p); }
int unlinkat(int d, const char *p, int f) { REAL(unlinkat); AT(d, p); return real(d, p, f); }
int rmdir(const char *p) { REAL(rmdir); AT(AT_FDCWD, p); return real(p); }
int chmod(const char *p, mode_t m) { REAL(chmod); AT(AT_FDCWD, p); return real(p, m); }
int fchmod(int d, mode_t m) { REAL(fchmod); AT(d, NULL); return real(d, m); }
int fchmodat(int d, const char *p, mode_t m, int f) { REAL(fchmodat); AT(d, p); return real(d, p, m, f); }
int fsync(int d) { REAL(fsync); AT(d, NULL); return real(d); }
int ftruncate(int d, off_t n) { REAL(ftruncate); AT(d, NULL); return real(d, n); }
int ftruncate64(int d, off64_t n) { REAL(ftruncate64); AT(d, NULL); return real(d, n); }
ssize_t write(int d, const void *b, size_t n) { REAL(write); if (d > 2) AT(d, NULL); return real(d, b, n); }
ssize_t pwrite64(int d, const void *b, size_t n, off64_t o) { REAL(pwrite64); AT(d, NULL); return real(d, b, n, o); }
ssize_t writev(int d, const struct iovec *v, int n) { REAL(writev); if (d > 2) AT(d, NULL); return real(d, v, n); }

int clock_gettime(clockid_t c, struct timespec *t) {
    REAL(clock_gettime);
    int code = real(c, t);
    if (!code && c == CLOCK_REALTIME) t->tv_sec += offset;
    return code;
}
time_t time(time_t *t) {
    REAL(time);
    time_t now = real(NULL) + offset;
    if (t) *t = now;
    return now;
}
int gettimeofday(struct timeval *t, void *z) {
    REAL(gettimeofday);
    int code = real(t, z);
    if (!code) t->tv_sec += offset;
    return code;
}
