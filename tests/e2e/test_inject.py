#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Each system call that the shim makes fails, one at a time: the program gets the right bytes all
the same, and leaves nothing behind.

strace says which calls those are, by the stack that they are made on (-k): nobody has to remember a
new one. A call that libc makes for the program itself, by way of the shim, may fail the program, but
only as it fails it without the shim.

INJECT=all: with every errno that the call has, and with every way to wait.
"""
import collections
import os
import re
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

ALL = os.environ.get("INJECT") == "all"
PAGE_LENGTH = 300000
PAGE = f"http://{L.SERVER}/page"
FAULTY = 5125

# What each call may fail with (section 2 of the manual). The first is the one for make check; a
# call that is not here gets OTHERS.
ERRNOS = {
    "bind": "EADDRINUSE EACCES EINVAL EADDRNOTAVAIL ENOMEM",
    "close": "EIO EINTR EBADF ENOSPC EDQUOT",
    "connect": "ENETUNREACH ECONNREFUSED ETIMEDOUT EADDRNOTAVAIL EPERM EACCES EAGAIN EINTR EALREADY "
               "EISCONN EAFNOSUPPORT EHOSTUNREACH ENOBUFS ENOMEM",
    "dup3": "EBUSY EINTR EMFILE EBADF EINVAL EPERM",
    "epoll_ctl": "ENOMEM ENOSPC EEXIST ENOENT EPERM EINVAL EBADF",
    "epoll_pwait": "EINTR EFAULT EINVAL",
    "epoll_wait": "EINTR EFAULT EINVAL",
    "fcntl": "EPERM EBADF EINVAL EAGAIN EINTR ENOLCK EDEADLK",
    "fstat": "ENOMEM EBADF EOVERFLOW EACCES",
    "ftruncate": "EIO EFBIG EINTR EINVAL EPERM",
    "futex": "EINTR EAGAIN",
    "geteuid": "EPERM ENOSYS",
    "getpeername": "ENOTCONN ENOBUFS EBADF",
    "getpid": "EPERM ENOSYS",
    "getrandom": "ENOSYS EAGAIN EINTR EPERM",
    "getsockname": "ENOBUFS EBADF ENOTSOCK EPERM",
    "getsockopt": "EPERM ENOPROTOOPT EOPNOTSUPP ENOMEM EINVAL ENOSYS EBADF",
    "ioctl": "EPERM ENODEV ENOTTY EINVAL EBADF",
    "lseek": "ESPIPE EINVAL EBADF",
    "mkdirat": "EROFS EACCES ENOSPC ENOENT EEXIST EDQUOT",
    "mmap": "ENOMEM EAGAIN EPERM ENFILE",
    "munmap": "EINVAL ENOMEM",
    "nanosleep": "EINTR",
    "newfstatat": "ENOMEM EBADF EOVERFLOW EACCES",
    "openat": "EMFILE ENFILE EACCES ENOENT ENOMEM ELOOP ENOTDIR EINTR EROFS ETXTBSY EPERM ENOSYS",
    "poll": "EINTR EINVAL ENOMEM EFAULT",
    "ppoll": "EINTR EINVAL ENOMEM EFAULT",
    "pread64": "EIO EINTR EISDIR EAGAIN",
    "pselect6": "EINTR EINVAL ENOMEM EBADF",
    "pwrite64": "ENOSPC EIO EDQUOT EFBIG EINTR EPERM",
    "read": "EIO EINTR EAGAIN EISDIR",
    "recvfrom": "ENOMEM EINTR EAGAIN ECONNRESET ECONNREFUSED ETIMEDOUT EPERM ENOTCONN",
    "rt_sigaction": "EINVAL EPERM ENOSYS",
    "rt_sigpending": "EFAULT EPERM ENOSYS",
    "rt_sigprocmask": "EPERM EINVAL ENOSYS",
    "sendmsg": "EPERM EOPNOTSUPP ENOBUFS ENOMEM EINTR EAGAIN ECONNRESET EPIPE ENETUNREACH EACCES "
               "EINPROGRESS EMSGSIZE",
    "sendto": "EPERM ENOBUFS ENOMEM EINTR EAGAIN ECONNRESET EPIPE ENETUNREACH EACCES EOPNOTSUPP",
    "setsockopt": "EPERM ENOPROTOOPT ENOMEM EINVAL ENOBUFS EOPNOTSUPP",
    "shutdown": "ENOTCONN ENOBUFS EINVAL EPERM",
    "socket": "EMFILE ENFILE EPROTONOSUPPORT EAFNOSUPPORT EACCES ENOBUFS ENOMEM EPERM ENOSYS",
    "write": "ENOSPC EIO EPIPE EINTR EAGAIN EFBIG",
}
OTHERS = "EPERM ENOSYS ENOMEM EINTR EINVAL"

# What the program has called, made for it with other arguments: it fails as that would.
FOR_THE_PROGRAM = {("getsockopt", "twin_getsockopt"), ("epoll_ctl", "epset_ctl_swapped"),
                   ("connect", "end_connect")}

# Where the shim cannot go on: the program gets an errno. None of these happens in Linux, but by a
# seccomp filter that was put in place after the connect().
NO_WAY_ON = {
    ("connect", "note_disconnect"): "a socket that cannot be disconnected cannot go direct",
    ("fcntl", "end_by"): "may the connect() that falls back wait, or must it not?",
    ("epoll_ctl", "epset_modify"): "the registration of the socket that has taken the other's place is lost",
}

# What is not so: with these, the number, or what is registered for it, would be gone; or a connection
# that was never begun would be under way (connect(2): one that a signal interrupts goes on).
LIES = {("connect", "end_by", "EINTR"), ("connect", "end_connect", "EINTR"),
        ("getsockopt", "conn_is_of", "EBADF"), ("getsockopt", "conn_is_of", "ENOTSOCK"),
        ("epoll_ctl", "epset_modify", "EBADF"), ("epoll_ctl", "epset_modify", "ENOENT")}

# strace's injected close() and munmap() close and unmap nothing.
LEAKS_BY_ITSELF = {"close"}

LEAST = 60  # calls of the library's that fail in a test

Site = collections.namedtuple("Site", "name nth own where")


def setup(lab):
    servers.nginx(lab)
    lab.converter("--fastopen", "cookie")
    lab.converter("--fault", "error=64:01", port=FAULTY)


def fnv(data):
    value = 2166136261
    for byte in data:
        value = (value ^ byte) * 16777619 & 0xffffffff
    return value


def sites(trace):
    """The calls that have the shim on their stack. own: libc's syscall() was called, or a function
    that no program calls by itself; else it is the program's call that goes on to libc."""
    counts, found, call, frames = collections.Counter(), [], None, []

    def end():
        if call and any("libconvert-preload" in f for f in frames):
            names = [re.search(r"\((\w+)", f) for f in frames if "libconvert-preload" in f]
            names = [name[1] if name else "?" for name in names]
            # whoever asks kernel/sock.c, and not that
            where = next((name for name in names if not name.startswith("sock_")), names[0])
            own = "(syscall+" in frames[0] or not re.search(r"\(_*" + call, frames[0])
            found.append(Site(call, counts[call], own and (call, where) not in FOR_THE_PROGRAM,
                              where))

    for line in trace.splitlines():
        if line.startswith(" > "):
            frames.append(line)
            continue
        end()
        name = re.match(r"(\w+)\(", line)
        call, frames = name and name[1], []
        if call:
            counts[call] += 1
    end()
    return found


class Inject(L.TestCase):
    def setUp(self):
        super().setUp()
        self.need("strace")
        self.hash = fnv(servers.random_bytes(PAGE_LENGTH))

    def shim(self, fast_open, port):
        shim = self.lab.config(f"fast-open = {fast_open}\ninterface = c0",
                               "fallback = direct\ntimeout = 500ms", port=port)
        return shim | {"CONVERT_STATE": str(self.lab.file("state"))}

    def strace(self, options, argv, shim):
        out = self.lab.file("strace")
        environment = [f"-E{k}={v}" for k, v in ({"LD_PRELOAD": L.SHIM} | shim).items()]
        r = self.lab.run(["strace", "-qq", "-o", out] + options + environment + argv, timeout=30)
        return r, out.read_text(errors="replace") if out.exists() else ""

    def calls_of(self, argv, *settings):
        r, trace = self.strace(["-k"], argv, self.shim(*settings))
        self.assertEqual(r.code, 0, r)
        found = sites(trace)
        self.assertTrue(any(s.own for s in found), trace)
        return found

    def is_right(self, r, direct_failures):
        """Bytes; or a failure that a direct connection would have had."""
        if r.argv[-1] == PAGE:  # curl
            return fnv(r.out) == self.hash if r.code == 0 else bool(direct_failures)
        lines = r.out.decode().splitlines() or [""]
        if r.code == 0:
            return lines[0] == f"{PAGE_LENGTH} bytes, hash {self.hash:08x}"
        return r.code == 1 and lines[0] in direct_failures

    def longer(self):
        if not ALL:
            self.skipTest("INJECT=all only")

    def one(self, how, fast_open="no-cookie", port=L.PORT):
        argv = [L.TOOLS / "one", how, L.SERVER, 80, "/page"]
        self.each(argv, how, fast_open, port)

    def each(self, argv, how, fast_open="no-cookie", port=L.PORT):
        done = collections.Counter()
        bad = []
        for site in self.calls_of(argv, fast_open, port):
            errnos = ERRNOS.get(site.name, OTHERS).split()
            for name in errnos if ALL else errnos[:1]:
                if (site.name, site.where, name) in LIES:
                    continue
                inject = f"inject={site.name}:error={name}:when={site.nth}"
                shim = self.shim(fast_open, port)
                r, trace = self.strace(["-e", inject, "-e", f"trace={site.name}"], argv, shim)
                injected = trace.count("(INJECTED)")
                if not injected and not r.code:
                    done["not reached"] += 1
                    continue
                text = open(shim["LAB_LOG"]).read() if os.path.exists(shim["LAB_LOG"]) else ""
                done["converted" if " converted " in text else "direct"] += 1
                what = f"{site.name} no. {site.nth} ({site.where}) {name}"
                own = () if site.own else tuple(f"{at}: {name}" for at in
                                                ("socket", "connect", "wait", "SO_ERROR", "send",
                                                 "recv"))
                if (site.name, site.where) in NO_WAY_ON and r.code == 1:
                    done["failed"] += 1
                elif not self.is_right(r, own):
                    bad.append(f"{what}: exit {r.code} {r.out.decode()!r} {r.err!r}")
                elif argv[-1] != PAGE and site.name not in LEAKS_BY_ITSELF and not re.search(
                        r"descriptors: (\d+) \1\n", r.out.decode()):
                    bad.append(f"{what}: {r.out.decode()!r}")
        self.note(f"{how}, {fast_open}: {dict(done)}")
        self.assertEqual(bad, [])
        # a call that is not reached the second time is an accident, of which there are few
        reached = done["converted"] + done["direct"]
        self.assertGreaterEqual(reached, LEAST, done)
        self.assertGreater(reached, 9 * done["not reached"], done)

    def test_blocking(self):
        self.one("blocking")

    def test_poll(self):
        self.longer()
        self.one("poll")

    def test_epoll(self):
        self.one("epoll")

    def test_curl(self):
        self.longer()
        self.each(["curl", "-sS", PAGE], "curl")

    def test_fallback_blocking(self):
        self.longer()
        self.one("blocking", port=FAULTY)

    def test_fallback_epoll(self):
        self.one("epoll", port=FAULTY)


if __name__ == "__main__":
    L.TEST_LIMIT *= 5 if ALL else 1
    L.main(setup)
