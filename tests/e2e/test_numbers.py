#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Case 2.8. System calls by their numbers: every number by which a byte of a connection can be read or written,
or its state asked, is libc's function to us, or known not to do that.

CLASSES has all numbers that the kernel has; one that it does not have yet is a failure, so that somebody looks
at it."""
import concurrent.futures
import re
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

ECHO, GREET = 7000, 7001
ONLY_LATE = ("aio-", "pidfd", "sendm", "exec", "close_range")


def setup(lab):
    lab.start("server", [L.TOOLS / "echo-server", ECHO]).wait_for_listeners(GREET)


class Ways(L.TestCase):
    """As direct, byte for byte."""
    SETTINGS = "fast-open = no-cookie"
    WHEN = ("now", "late")

    def run_way(self, way, when, shim=None):
        return self.lab.run([L.TOOLS / "numbers", way, when, L.SERVER, GREET], shim=shim)

    def check(self, *options):
        self.lab.converter(*options)
        shim = self.lab.config(self.SETTINGS, "mptcp = off\ntimeout = 10s")
        runs = [(way, when) for way in L.command([L.TOOLS / "numbers", "list"]).split()
                for when in self.WHEN if when == "late" or not way.startswith(ONLY_LATE)]
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            direct = list(pool.map(lambda run: self.run_way(*run), runs))
            converted = list(pool.map(lambda run: self.run_way(*run, shim), runs))
        for run, plain, other in zip(runs, direct, converted):
            with self.subTest(" ".join(run)):
                self.assertEqual(plain.code, 0, plain)
                self.assertEqual((plain.code, plain.out.decode()), (other.code, other.out.decode()),
                                 other)
        self.note(f"{len(runs)} ways")

    def test_at_once(self):
        self.check()

    def test_reply_late(self):
        self.check("--fault", "split=1,gap=2")


class Owed(Ways):
    """The Connect TLV waits to be sent, which nobody does while the program sleeps."""
    SETTINGS = ""
    WHEN = ("now",)

    def setUp(self):
        super().setUp()
        L.sysctl("client", net__ipv4__tcp_fastopen=0)

    def tearDown(self):
        L.sysctl("client", net__ipv4__tcp_fastopen=1)


class Unseen(L.TestCase):
    """A number that stood for something else, and comes back as a socket in a way that nobody sees."""
    CLIENT = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None)
socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
a, b = socket.socketpair()
tcp = os.dup(0) if sys.argv[1] == "socket" else libc.syscall(%d, 2, 1, 0)
other = socket.socket(socket.AF_UNIX).detach()
socket.send_fds(a, [b"f"], [tcp])
os.close(other) if sys.argv[2] == "close" else libc.syscall(%d, other)
got = libc.syscall(%d, 2, 1, 0) if sys.argv[1] == "socket" else socket.recv_fds(b, 1, 1)[1][0]
assert got == other, (got, other)
s = socket.socket(fileno=got)
s.connect((sys.argv[3], int(sys.argv[4])))
print(s.getpeername()[0])
"""

    def test_it_is_converted(self):
        self.lab.converter()
        names = L.command(["gcc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"])
        number = dict(re.findall(r"^#define __NR_(\w+) (\d+)$", names, re.M))
        program = self.CLIENT % tuple(int(number[name]) for name in ("socket", "close", "socket"))
        for made in "socket", "recvmsg":
            for closed in "close", "syscall":
                with self.subTest(made=made, closed=closed):
                    shim = self.lab.config("fast-open = no-cookie", "fallback = none\nmptcp = off")
                    r = self.lab.run([sys.executable, "-c", program, made, closed, L.SERVER, GREET], shim=shim)
                    self.assertEqual((r.code, r.out.decode()), (0, f"{L.SERVER}\n"), r)
                    self.assertEqual(r.log.count(": connected"), 1, r)


# All system calls that Linux has, by what they can do to a connection that is being converted. A new one that reads,
# writes, waits for, asks, duplicates or gives away a socket belongs to "ours", and into preload/calls/syscall.c.
CLASSES = """
ours:
read readv recvfrom recvmsg recvmmsg preadv2 write writev pwritev2 sendto sendmsg sendmmsg
listen accept accept4 sendfile splice io_submit pidfd_getfd execve execveat ppoll pselect6 poll select epoll_ctl
epoll_pwait epoll_pwait2 epoll_wait io_uring_setup dup dup2 dup3 fcntl ioctl close close_range bind shutdown
getsockname getpeername getsockopt setsockopt prctl seccomp recv send socketcall fcntl64 sendfile64
recvmmsg_time64 ppoll_time64 pselect6_time64

connect:
# direct, if it is not libc's function
connect

made:
# a number that they return is one of which nothing is known: by its socket cookie
socket socketpair open openat openat2 creat pipe pipe2 epoll_create epoll_create1
eventfd eventfd2 signalfd signalfd4 timerfd_create inotify_init inotify_init1 memfd_create
memfd_secret userfaultfd pidfd_open fanotify_init perf_event_open fsopen fsmount fspick open_tree
open_tree_attr landlock_create_ruleset mq_open io_setup open_by_handle_at bpf

ring:
# preload/kernel/proc.c: where a ring is, connect() does not return before the exchange is over
io_uring_enter io_uring_register

process:
# by pthread_atfork(), and getpid() where a record is at stake
fork vfork clone clone3 unshare

refused:
# by the kernel, of a socket: ESPIPE, EINVAL, EBADF, ENOTDIR ... whatever its state is
pread64 pwrite64 preadv pwritev tee vmsplice copy_file_range lseek _llseek getdents getdents64
ftruncate ftruncate64 fallocate fadvise64 fadvise64_64 readahead sync_file_range fsync fdatasync
mq_timedsend mq_timedreceive mq_notify mq_getsetattr mq_timedsend_time64 mq_timedreceive_time64
timerfd_settime timerfd_gettime timerfd_settime64 timerfd_gettime64 inotify_add_watch
inotify_rm_watch fanotify_mark finit_module kexec_file_load landlock_add_rule
landlock_restrict_self pidfd_send_signal setns fchdir fsconfig move_mount quotactl_fd
process_madvise process_mrelease cachestat

harmless:
# they take a descriptor, and neither byte nor state of a connection
fstat fstat64 newfstatat fstatat64 statx fchmod fchmodat fchmodat2 fchown fchown32 fchownat
fgetxattr fsetxattr flistxattr fremovexattr getxattrat setxattrat listxattrat removexattrat
file_getattr file_setattr flock fstatfs fstatfs64 syncfs utimensat utimensat_time64 futimesat kcmp
mmap mmap2 name_to_handle_at faccessat faccessat2 mkdirat mknodat unlinkat renameat
renameat2 linkat symlinkat readlinkat mount_setattr statmount listmount

none:
# no descriptor, or of something else: epoll, aio and message queues' own
_sysctl access acct add_key adjtimex afs_syscall alarm arch_prctl breakpoint brk cacheflush capget
capset chdir chmod chown chroot clock_adjtime clock_getres clock_gettime clock_nanosleep
clock_settime create_module delete_module epoll_ctl_old epoll_wait_old exit exit_group futex
futex_requeue futex_wait futex_waitv futex_wake get_kernel_syms get_mempolicy get_robust_list
get_thread_area get_tls getcpu getcwd getegid geteuid getgid getgroups getitimer getpgid getpgrp
getpid getpmsg getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid gettid
gettimeofday getuid getxattr init_module io_cancel io_destroy io_getevents io_pgetevents ioperm
iopl ioprio_get ioprio_set kexec_load keyctl kill lchown lgetxattr link listns listxattr
llistxattr lookup_dcookie lremovexattr lsetxattr lsm_get_self_attr lsm_list_modules
lsm_set_self_attr lstat madvise map_shadow_stack mbind membarrier migrate_pages mincore mkdir
mknod mlock mlock2 mlockall modify_ldt mount move_pages mprotect mq_unlink mremap mseal msgctl
msgget msgrcv msgsnd msync munlock munlockall munmap nanosleep nfsservctl pause personality
pivot_root pkey_alloc pkey_free pkey_mprotect prlimit64 process_vm_readv process_vm_writev
ptrace putpmsg query_module quotactl readlink reboot remap_file_pages removexattr rename
request_key restart_syscall rmdir rseq rseq_slice_yield rt_sigaction rt_sigpending rt_sigprocmask
rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield security semctl semget semop semtimedop set_mempolicy
set_mempolicy_home_node set_robust_list set_thread_area set_tid_address set_tls setdomainname
setfsgid setfsuid setgid setgroups sethostname setitimer setpgid setpriority setregid setresgid
setresuid setreuid setrlimit setsid settimeofday setuid setxattr shmat shmctl shmdt shmget
sigaltstack stat statfs swapoff swapon symlink sync sysfs sysinfo syslog tgkill time timer_create
timer_delete timer_getoverrun timer_gettime timer_settime times tkill truncate tuxcall umask
umount2 uname unlink uprobe uretprobe uselib usr26 usr32 ustat utime utimes vhangup vserver wait4
waitid
"""


class Numbers(L.TestCase):
    def listed(self):
        """{name: class}"""
        found, kind = {}, None
        for line in CLASSES.splitlines():
            line = line.partition("#")[0]
            if line.endswith(":"):
                kind = line[:-1]
            else:
                for name in line.split():
                    self.assertNotIn(name, found, "twice")
                    found[name] = kind
        return found

    def test_every_number_has_a_class(self):
        text = L.command(["gcc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"])
        kernel = set(re.findall(r"^#define __NR_(\w+) ", text, re.M))
        self.assertGreater(len(kernel), 250)
        self.assertFalse(kernel - set(self.listed()),
                         "new ones: which of them concern a connection (CLASSES)?")

    def test_those_that_concern_us_do(self):
        """The table is what is listed as ours."""
        source = (L.ROOT / "preload/calls/syscall.c").read_text().replace("X(OLD_SELECT,", "X(SYS_select,")
        table = re.findall(r"\bX\(SYS_(\w+),", source)
        ours = [name for name, kind in self.listed().items() if kind == "ours"]
        self.assertEqual(sorted(table), sorted(ours))
        self.assertNotIn("case SYS_", source)


if __name__ == "__main__":
    L.main(setup, delay_ms=(20, 20))
