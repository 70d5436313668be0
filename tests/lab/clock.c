/* The clock of a program under test: it stands still until the lab moves it.
 *
 * Loaded before libc (LD_PRELOAD). The file that LAB_CLOCK names holds the monotonic clock's time in nanoseconds; while
 * that is zero the kernel's counts. Behind it stands by how many nanoseconds the clock on the wall is wrong. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *standing;

__attribute__((constructor)) static void open_clock(void) {
    const char *name = getenv("LAB_CLOCK");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *page = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED)
        standing = page;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int64_t now = clock == CLOCK_MONOTONIC && standing ? *standing : 0;
    if (now == 0) {
        int failed = (int)syscall(SYS_clock_gettime, clock, time);
        if (clock == CLOCK_REALTIME && standing && !failed)
            time->tv_sec += standing[1] / 1000000000;
        return failed;
    }
    time->tv_sec = now / 1000000000;
    time->tv_nsec = now % 1000000000;
    return 0;
}
