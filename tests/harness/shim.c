/* Stands between a gateway under test and the C library: moves its wall clock, and lets single calls fail. What is said
   in the file that WEIR_SHIM names, four 64-bit numbers, holds at once. Nothing of it is in the gateway itself. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

struct orders {
    int64_t wall_ns; /* added to the wall clock */
    int64_t fail_clock; /* so often a request's look at the wall clock fails */
    int64_t fail_sync; /* fdatasync of a journal's file fails */
    int64_t stuck; /* the first core goes round in circles while this is so */
};

static volatile struct orders nothing;
static volatile struct orders *orders = &nothing;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("WEIR_SHIM");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *map = mmap(NULL, sizeof(struct orders), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map != MAP_FAILED) orders = map;
    close(file);
}

/* A core looks at the wall clock with each tick, a tenth of a second after the one before or later; what looks in between
   is a request. Too near to either nobody can tell: those go on. */
static int is_request(int64_t now_ns) {
    const int64_t ms = 1000 * 1000;
    static __thread int64_t tick_ns;
    char name[16] = "";
    prctl(PR_GET_NAME, name);
    int64_t since = now_ns - tick_ns;
    if (since >= 99 * ms) tick_ns = now_ns;
    return strncmp(name, "weir-core", 9) == 0 && since >= 5 * ms && since <= 90 * ms;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, at);
    if (result != 0 || clock != CLOCK_REALTIME) return result;
    int64_t ns = (int64_t)at->tv_sec * 1000000000 + at->tv_nsec;
    struct timespec steady;
    real(CLOCK_MONOTONIC, &steady);
    if (is_request((int64_t)steady.tv_sec * 1000000000 + steady.tv_nsec) && orders->fail_clock > 0) {
        __atomic_sub_fetch(&orders->fail_clock, 1, __ATOMIC_SEQ_CST);
        errno = EINVAL;
        return -1;
    }
    if (orders->stuck) {
        char name[16] = "";
        prctl(PR_GET_NAME, name);
        while (orders->stuck && strcmp(name, "weir-core-0") == 0) {
        }
    }
    ns += orders->wall_ns;
    at->tv_sec = ns / 1000000000;
    at->tv_nsec = ns % 1000000000;
    return 0;
}

int fdatasync(int file) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    char name[16] = "";
    prctl(PR_GET_NAME, name);
    if (orders->fail_sync && strncmp(name, "weir-journal", 12) == 0) {
        errno = EIO;
        return -1;
    }
    return real(file);
}
