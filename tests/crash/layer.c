/* The fault layer: counts, records and breaks every system call by which a process changes a folder.
 *
 * Owns: the numbering of the calls, the record of them, and the one fault that the environment asks for. Not: which faults
 * are tried and what must hold after them (`walk.rs`). Invariant: a call that changes something below the folder is
 * numbered, whoever makes it: Rust's standard library, rustix (which makes system calls without libc), stdio under
 * usearch's C++.
 *
 * Loaded with LD_PRELOAD. A seccomp filter turns the calls into SIGSYS, the handler makes them (or not) from one place that
 * the filter knows. Calls are made one at a time, so that the record has the order in which they happened. What could
 * write without a call, a shared writable map of a file or io_uring, is refused.
 *
 *   FAULT_FOLDER   the folder, an absolute path without links
 *   FAULT_LOG      the record: number, call, result, path, second path; separated by tabs
 *   FAULT_AT       number of the call that is hit, from 1; 0 for none
 *   FAULT_KIND     `kill`  the process is killed; in a write, after half of the bytes
 *                  `eio`   the call fails with EIO and does nothing
 *                  `full`  from this call on the disk is full: half of the bytes are written, then ENOSPC for everything
 *                          that needs room; removing, renaming and syncing go on
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define ARGUMENTS(c)                                                                                                   \
    {(c)->uc_mcontext.gregs[REG_RDI], (c)->uc_mcontext.gregs[REG_RSI], (c)->uc_mcontext.gregs[REG_RDX],                \
     (c)->uc_mcontext.gregs[REG_R10], (c)->uc_mcontext.gregs[REG_R8],  (c)->uc_mcontext.gregs[REG_R9]}
#define RESULT(c) ((c)->uc_mcontext.gregs[REG_RAX])
__asm__(".text\n.global fault_call\n.hidden fault_call\n.global fault_call_return\n.hidden fault_call_return\n"
        "fault_call:\n"
        "mov %rdi, %rax\nmov %rsi, %rdi\nmov %rdx, %rsi\nmov %rcx, %rdx\nmov %r8, %r10\nmov %r9, %r8\n"
        "mov 8(%rsp), %r9\nsyscall\n"
        "fault_call_return:\nret\n");
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#define ARGUMENTS(c)                                                                                                   \
    {(c)->uc_mcontext.regs[0], (c)->uc_mcontext.regs[1], (c)->uc_mcontext.regs[2],                                     \
     (c)->uc_mcontext.regs[3], (c)->uc_mcontext.regs[4], (c)->uc_mcontext.regs[5]}
#define RESULT(c) ((c)->uc_mcontext.regs[0])
__asm__(".text\n.global fault_call\n.hidden fault_call\n.global fault_call_return\n.hidden fault_call_return\n"
        "fault_call:\n"
        "mov x8, x0\nmov x0, x1\nmov x1, x2\nmov x2, x3\nmov x3, x4\nmov x4, x5\nmov x5, x6\nsvc #0\n"
        "fault_call_return:\nret\n");
#else
#error "the fault layer knows x86-64 and AArch64"
#endif

/* A system call from the place that the filter lets through; an error is a negative number. */
long fault_call(long number, long a, long b, long c, long d, long e, long f);
extern char fault_call_return[];

enum kind { KILL, EIO_ONCE, FULL };

static char folder[PATH_MAX];
static size_t folder_length;
static int log_file = -1;
static long fault_at;
static enum kind fault_kind;
static long calls;
static int busy;

/* How a call names what it changes: by file descriptor, by path, by folder and path, or by two of these. */
enum names { BY_FD, BY_PATH, BY_AT, BY_TWO_PATHS, BY_TWO_ATS, BY_PATH_AND_AT, BY_THIRD_FD, BY_OPEN };

static const struct call {
    int number;
    const char *name;
    enum names names;
    int needs_room;
} known[] = {
#ifdef SYS_open
    {SYS_open, "create", BY_OPEN, 1},
    {SYS_creat, "create", BY_OPEN, 1},
    {SYS_rename, "rename", BY_TWO_PATHS, 0},
    {SYS_unlink, "unlink", BY_PATH, 0},
    {SYS_rmdir, "rmdir", BY_PATH, 0},
    {SYS_mkdir, "mkdir", BY_PATH, 1},
    {SYS_link, "link", BY_TWO_PATHS, 1},
    {SYS_symlink, "symlink", BY_TWO_PATHS, 1},
    {SYS_chmod, "chmod", BY_PATH, 0},
#endif
#ifdef SYS_renameat
    {SYS_renameat, "rename", BY_TWO_ATS, 0},
#endif
    {SYS_openat, "create", BY_OPEN, 1},
    {SYS_renameat2, "rename", BY_TWO_ATS, 0},
    {SYS_unlinkat, "unlink", BY_AT, 0},
    {SYS_mkdirat, "mkdir", BY_AT, 1},
    {SYS_linkat, "link", BY_TWO_ATS, 1},
    {SYS_symlinkat, "symlink", BY_PATH_AND_AT, 1},
    {SYS_fchmodat, "chmod", BY_AT, 0},
    {SYS_fchmod, "chmod", BY_FD, 0},
    {SYS_write, "write", BY_FD, 1},
    {SYS_writev, "write", BY_FD, 1},
    {SYS_pwrite64, "write", BY_FD, 1},
    {SYS_pwritev, "write", BY_FD, 1},
    {SYS_pwritev2, "write", BY_FD, 1},
    {SYS_sendfile, "write", BY_FD, 1},
    {SYS_splice, "write", BY_THIRD_FD, 1},
    {SYS_copy_file_range, "write", BY_THIRD_FD, 1},
    {SYS_fallocate, "write", BY_FD, 1},
    {SYS_ftruncate, "truncate", BY_FD, 0},
    {SYS_truncate, "truncate", BY_PATH, 0},
    {SYS_fsync, "sync", BY_FD, 0},
    {SYS_fdatasync, "sync", BY_FD, 0},
    /* The layer cannot see what these write: refused. */
    {SYS_openat2, "openat2", BY_FD, 0},
    {SYS_io_uring_setup, "io_uring_setup", BY_FD, 0},
    {SYS_mmap, "mmap", BY_FD, 0},
};
#define KNOWN ((int)(sizeof known / sizeof *known))

static void say(const char *text) { fault_call(SYS_write, 2, (long)text, strlen(text), 0, 0, 0); }

static void end_process(void) {
    fault_call(SYS_kill, fault_call(SYS_getpid, 0, 0, 0, 0, 0, 0), SIGKILL, 0, 0, 0, 0);
    for (;;)
        ;
}

static void path_of_fd(long fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, fd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", (int)fd);
    long length = fault_call(SYS_readlinkat, AT_FDCWD, (long)link, (long)path, PATH_MAX - 1, 0, 0);
    path[length > 0 ? length : 0] = 0;
}

/* Joined and without `.` steps; `..` is never used below a store. */
static void path_at(long at, const char *name, char *path) {
    size_t length = 0;
    if (name[0] != '/') {
        path_of_fd((int)at, path);
        length = strlen(path);
    }
    for (const char *step = name; *step;) {
        size_t span = strcspn(step, "/");
        if (span > 0 && !(span == 1 && *step == '.') && length + span + 2 < PATH_MAX) {
            path[length++] = '/';
            memcpy(path + length, step, span);
            length += span;
        }
        step += span + (step[span] == '/');
    }
    path[length] = 0;
}

static int below(const char *path) {
    return strncmp(path, folder, folder_length) == 0 && (path[folder_length] == '/' || path[folder_length] == 0);
}

static void name_paths(const struct call *call, const long *a, char *first, char *second) {
    switch (call->names) {
    case BY_FD: path_of_fd((int)a[0], first); break;
    case BY_THIRD_FD: path_of_fd((int)a[2], first); break;
    case BY_PATH: path_at(AT_FDCWD, (const char *)a[0], first); break;
    case BY_AT: path_at(a[0], (const char *)a[1], first); break;
    case BY_TWO_PATHS:
        path_at(AT_FDCWD, (const char *)a[0], first);
        path_at(AT_FDCWD, (const char *)a[1], second);
        break;
    case BY_TWO_ATS:
        path_at(a[0], (const char *)a[1], first);
        path_at(a[2], (const char *)a[3], second);
        break;
    case BY_PATH_AND_AT: path_at(a[1], (const char *)a[2], first); break;
    case BY_OPEN:
        if (call->number == SYS_openat)
            path_at(a[0], (const char *)a[1], first);
        else
            path_at(AT_FDCWD, (const char *)a[0], first);
        break;
    }
}

/* What an open may change: 0 nothing, 1 the content, 2 the folder too. */
static int open_changes(const struct call *call, const long *a, const char *path) {
    long flags = call->number == SYS_openat ? a[2] : a[1];
#ifdef SYS_creat
    if (call->number == SYS_creat)
        flags = O_CREAT | O_WRONLY | O_TRUNC;
#endif
    int there = fault_call(SYS_faccessat, AT_FDCWD, (long)path, F_OK, 0, 0, 0) == 0;
    if ((flags & O_CREAT) && !there)
        return 2;
    return (flags & O_TRUNC) || (flags & O_ACCMODE) != O_RDONLY;
}

/* Half of a write; 0 where the call has no halves. */
static long half(const struct call *call, long *a) {
    switch (call->number) {
    case SYS_write:
    case SYS_pwrite64:
        if (a[2] < 2)
            return 0;
        a[2] /= 2;
        break;
    case SYS_writev:
    case SYS_pwritev: {
        const struct iovec *parts = (const struct iovec *)a[1];
        if (a[2] < 1 || parts[0].iov_len < 2)
            return 0;
        struct iovec part = {parts[0].iov_base, parts[0].iov_len / 2};
        return fault_call(call->number, a[0], (long)&part, 1, a[3], a[4], a[5]);
    }
    case SYS_sendfile:
        if (a[3] < 2)
            return 0;
        /* What is asked for is often far more than there is. */
        a[3] = a[3] > 8192 ? 4096 : a[3] / 2;
        break;
    case SYS_copy_file_range:
    case SYS_splice:
        if (a[4] < 2)
            return 0;
        a[4] = a[4] > 8192 ? 4096 : a[4] / 2;
        break;
    default: return 0;
    }
    return fault_call(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void record(long number, const char *name, const char *result, const char *first, const char *second) {
    char line[2 * PATH_MAX + 128];
    int length = snprintf(line, sizeof line, "%ld\t%s\t%s\t%s\t%s\n", number, name, result, first, second);
    fault_call(SYS_write, log_file, (long)line, length, 0, 0, 0);
}

static long faulted(const struct call *call, long *a, long number, const char *name, int needs_room,
                    const char *first, const char *second) {
    if (number == fault_at && fault_kind == KILL) {
        half(call, a);
        record(number, name, "killed", first, second);
        end_process();
    }
    if (number == fault_at && fault_kind == EIO_ONCE) {
        record(number, name, "EIO", first, second);
        return -EIO;
    }
    if (fault_at > 0 && number >= fault_at && fault_kind == FULL && needs_room) {
        long written = number == fault_at ? half(call, a) : 0;
        record(number, name, written > 0 ? "half" : "ENOSPC", first, second);
        return written > 0 ? written : -ENOSPC;
    }
    long result = fault_call(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    record(number, name, result < 0 ? "failed" : "ok", first, second);
    return result;
}

static long handle(int number, long *a) {
    const struct call *call = NULL;
    for (int i = 0; i < KNOWN && call == NULL; i++)
        if (known[i].number == number)
            call = &known[i];
    if (call == NULL)
        return fault_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (number == SYS_io_uring_setup || number == SYS_openat2)
        return -ENOSYS;
    char first[PATH_MAX] = "", second[PATH_MAX] = "";
    if (number == SYS_mmap) {
        path_of_fd((int)a[4], first);
        if (below(first)) {
            say("fault layer: a shared writable map of ");
            say(first);
            say(" would write without a call\n");
            end_process();
        }
        return fault_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    name_paths(call, a, first, second);
    int counts = below(first) || below(second);
    const char *name = call->name;
    int needs_room = call->needs_room;
    if (counts && call->names == BY_OPEN) {
        int changes = open_changes(call, a, first);
        counts = changes > 0;
        needs_room = changes == 2;
        name = changes == 2 ? "create" : "open";
    }
    if (!counts)
        return fault_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    return faulted(call, a, ++calls, name, needs_room, first, second);
}

static void on_call(int signal, siginfo_t *info, void *context) {
    (void)signal;
    ucontext_t *state = context;
    long arguments[6] = ARGUMENTS(state);
    while (__atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE))
        fault_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    long result = handle(info->si_syscall, arguments);
    __atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
    RESULT(state) = result;
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_AT(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(value), yes, no)
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, value)

static void install(void) {
    struct sock_filter filter[32 + 4 * KNOWN];
    int n = 0;
    unsigned long place = (unsigned long)fault_call_return;
    filter[n++] = (struct sock_filter)LOAD(arch);
    filter[n++] = (struct sock_filter)EQUAL(ARCHITECTURE, 1, 0);
    filter[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_KILL_PROCESS);
    /* Little endian: the low half comes first. */
    filter[n++] = (struct sock_filter)LOAD_AT(offsetof(struct seccomp_data, instruction_pointer));
    filter[n++] = (struct sock_filter)EQUAL(place & 0xffffffff, 0, 3);
    filter[n++] = (struct sock_filter)LOAD_AT(offsetof(struct seccomp_data, instruction_pointer) + 4);
    filter[n++] = (struct sock_filter)EQUAL(place >> 32, 0, 1);
    filter[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)LOAD(nr);
    for (int i = 0; i < KNOWN; i++) {
        if (known[i].number == SYS_mmap)
            continue;
        filter[n++] = (struct sock_filter)EQUAL(known[i].number, 0, 1);
        filter[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_TRAP);
    }
    /* Of maps only those that are writable, shared and of a file. */
    filter[n++] = (struct sock_filter)EQUAL(SYS_mmap, 1, 0);
    filter[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)LOAD_AT(offsetof(struct seccomp_data, args) + 2 * 8);
    filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_WRITE, 1, 0);
    filter[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)LOAD_AT(offsetof(struct seccomp_data, args) + 3 * 8);
    filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_SHARED, 1, 0);
    filter[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_ANONYMOUS, 0, 1);
    filter[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_TRAP);

    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = on_call;
    sigfillset(&action.sa_mask);
    struct sock_fprog program = {.len = n, .filter = filter};
    if (sigaction(SIGSYS, &action, NULL) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
        say("fault layer: this system has no seccomp filters\n");
        _exit(99);
    }
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FAULT_FOLDER"), *log = getenv("FAULT_LOG");
    const char *at = getenv("FAULT_AT"), *kind = getenv("FAULT_KIND");
    if (path == NULL || log == NULL)
        return;
    snprintf(folder, sizeof folder, "%s", path);
    folder_length = strlen(folder);
    fault_at = at ? atol(at) : 0;
    fault_kind = kind == NULL || strcmp(kind, "kill") == 0 ? KILL
                 : strcmp(kind, "eio") == 0              ? EIO_ONCE
                                                         : FULL;
    log_file = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (log_file < 0) {
        say("fault layer: cannot write FAULT_LOG\n");
        _exit(99);
    }
    install();
}
