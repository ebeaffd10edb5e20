#!/bin/bash
# SPDX-License-Identifier: MIT
# Messages of syslog that go by TCP end with a line's end (RFC 6587, 3.4.2). Those of Python's handler for SOCK_STREAM
# end with a NUL, as on local sockets, and those of Perl's Sys::Syslog with both. rsyslog goes by the line's end: what a
# Python program says is one message, which comes when the program ends, and with Perl the NUL is the first byte of each
# message after the first. So its priority is not read: what was user.err is user.notice, by a program "#000<11>Nov".
# To syslog-ng either is an end, and what util-linux's logger sends both read.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch rsyslog=8.2302.0-1+deb12u2 libestr0=0.1.11-1 libfastjson4=1.2304.0-1 syslog-ng-core=3.38.1-5+deb12u1 \
	libivykis0=0.42.4-1 libnet1=1.1.6+dfsg-3.2 python3.11-minimal=3.11.2-6+deb12u9 \
	libpython3.11-minimal=3.11.2-6+deb12u9 libpython3.11-stdlib=3.11.2-6+deb12u9 perl-base=5.36.0-7+deb12u4 \
	perl-modules-5.36=5.36.0-7+deb12u4 libperl5.36=5.36.0-7+deb12u4 bsdutils=1:2.38.1-5+deb12u3 \
	libsystemd0=252.39-1~deb12u2 libssl3=3.0.22-1~deb12u2 libuuid1=2.38.1-5+deb12u3 \
	libgcrypt20=1.10.1-3+deb12u1 libgpg-error0=1.46-1 liblz4-1=1.9.4-1 libpcre2-8-0=10.42-1+deb12u2 \
	libcap2=1:2.66-4+deb12u3+b1 libpcre3=2:8.39-15 libglib2.0-0=2.74.6-2+deb12u9 libjson-c5=0.16-2 libwrap0=7.6.q-32 \
	libexpat1=2.5.0-1+deb12u5 liblognorm5=2.0.6-4

cat >"$WORK/rsyslog.conf" <<EOF
module(load="imtcp")
input(type="imtcp" port="3010" address="127.0.0.1")
template(name="t" type="string" string="%pri-text% from %hostname% by %programname%: %msg%\n")
*.* action(type="omfile" file="$WORK/rsyslog.log" template="t")
EOF
cat >"$WORK/syslog-ng.conf" <<EOF
@version: 3.38
source s { network(ip(127.0.0.1) port(3011) transport("tcp")); };
destination d { file("$WORK/syslog-ng.log" template("\$FACILITY.\$LEVEL from \$HOST by \$PROGRAM: \$MSG\n")); };
log { source(s); destination(d); };
EOF
perl=$ROOT/usr/share/perl/5.36.0:$ROOT/usr/lib/x86_64-linux-gnu/perl/5.36
export PERL5LIB=$perl:$ROOT/usr/lib/x86_64-linux-gnu/perl-base
cat >"$WORK/say.pl" <<'EOF'
use Sys::Syslog qw(:standard :macros);
Sys::Syslog::setlogsock({type => "tcp", host => "127.0.0.1", port => $ARGV[0], timeout => 1});
openlog("door", "ndelay", LOG_USER);
syslog(LOG_ERR, "one");
syslog(LOG_ERR, "two");
EOF
cat >"$WORK/say.py" <<'EOF'
import logging.handlers
import socket
import sys
log = logging.getLogger()
handler = logging.handlers.SysLogHandler(("127.0.0.1", int(sys.argv[1])), socktype=socket.SOCK_STREAM)
handler.ident = "door: "
log.addHandler(handler)
log.error("one")
log.error("two")
EOF
cat >"$WORK/try.py" <<'EOF'
import os
import re
import socket
import subprocess
import sys
import time

WORK, ROOT, LIBS = sys.argv[1], os.environ["ROOT"], os.environ["LIBS"]
SERVERS = {
	"rsyslog": (3010, f"usr/sbin/rsyslogd -n -i NONE -f {WORK}/rsyslog.conf -M {LIBS.split(':')[0]}/rsyslog"),
	"syslog-ng": (3011, f"usr/sbin/syslog-ng -F --no-caps -f {WORK}/syslog-ng.conf -R {WORK}/persist"
		f" --module-path {ROOT}/usr/lib/syslog-ng/3.38 -p {WORK}/pid -c {WORK}/ctl"),
}
LOGGER = ROOT + "/usr/bin/logger --rfc3164 -T -n 127.0.0.1 -P {} -p user.err -t door "
PROGRAMS = {
	"logger": "for m in one two; do " + LOGGER + "$m; done",
	"Perl": f"{ROOT}/usr/bin/perl {WORK}/say.pl {{}}",
	"Python": f"PYTHONHOME={ROOT}/usr {ROOT}/usr/bin/python3.11 {WORK}/say.py {{}}",
}

def wait_for(condition):
	for _ in range(100):
		try:
			if condition():
				return
		except OSError:
			pass
		time.sleep(0.1)

def log(name):
	with open(f"{WORK}/{name}.log", encoding="latin-1") as f:
		return f.read()

for name, (port, command) in SERVERS.items():
	words = command.split()
	subprocess.Popen([ROOT + "/" + words[0], *words[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
		env={"LD_LIBRARY_PATH": LIBS + ":" + ROOT + "/usr/lib/syslog-ng"})
	wait_for(lambda: socket.create_connection(("127.0.0.1", port)).close() or True)
	before = 0
	for program, line in PROGRAMS.items():
		subprocess.run(["sh", "-c", line.format(port)], env=os.environ | {"LD_LIBRARY_PATH": LIBS}, timeout=9, check=False)
		wait_for(lambda: "two" in log(name)[before:])
		time.sleep(1)  # what comes behind it
		said = log(name)[before:]
		before += len(said)
		for message in said.splitlines():
			message = re.sub(r"from (vm|localhost|127.0.0.1|%s) " % re.escape(socket.gethostname()), "from here ", message)
			message = re.sub(r"[A-Z][a-z][a-z]: +\d+ [\d:]{8}", "MONTH: DAY TIME", message.rstrip())
			print(f"{program} to {name}: {message}", flush=True)
os._exit(0)
EOF
seen=$(inside /usr/bin/python3 "$WORK/try.py" "$WORK")

verdict "each: user.err from here by door: one, and two" "logger to rsyslog: user.err from here by door:  one
logger to rsyslog: user.err from here by door:  two
Perl to rsyslog: user.err from here by door:  one
Perl to rsyslog: user.notice from here by #000<11>MONTH: DAY TIME door: two
Perl to rsyslog: user.notice from here by :
Python to rsyslog: user.err from here by door:  one#000<11>door: two
logger to syslog-ng: user.err from here by door: one
logger to syslog-ng: user.err from here by door: two
Perl to syslog-ng: user.err from here by door: one
Perl to syslog-ng: user.err from here by door: two
Python to syslog-ng: user.err from here by door: one
Python to syslog-ng: user.err from here by door: two" "$seen"
