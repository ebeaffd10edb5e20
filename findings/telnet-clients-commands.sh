#!/bin/bash
# SPDX-License-Identifier: MIT
# What a telnet server says by right, and clients misread. An option that a client does not know it has to refuse (RFC
# 1123, 3.2.1), also where the three bytes of the command come in three segments. "Go ahead" a server may say wherever
# it waits for input, as long as it has not agreed to suppress that (RFC 854). A Synch is IAC and a data mark, which is
# TCP urgent data (RFC 854; RFC 1123, 3.2.4): who leaves the urgent byte out of the stream has to know that the IAC
# before it has lost its other half. Of twelve clients five take the first letter of the text behind it for that, and do
# not show it; tf shows it twice, and Ruby's Net::Telnet and both nc show the IAC. With -t nc answers only a command
# that comes whole (it shows commands, too, which its manual page does not deny). Ruby's Net::Telnet refuses no option
# that it has no name for, and gives it, as "go ahead", to the program for text.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch inetutils-telnet=2:2.4-2+deb12u3 telnet-ssl=0.17.41+really0.17-3 busybox=1:1.35.0-4+deb12u1+b1 \
	putty-tools=0.78-2+deb12u2 libtelnet-utils=0.21-5+b1 libtelnet2=0.21-5+b1 kbtin=2.1-2 \
	tf5=5.0beta8-10+b1 netcat-openbsd=1.219-1 netcat-traditional=1.10-47 ruby-net-telnet=0.2.0-1 \
	libnet-telnet-perl=3.05-2 ruby3.1=3.1.7+really3.1.2-0+deb12u1 libruby3.1=3.1.7+really3.1.2-0+deb12u1 \
	python3.11-minimal=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9 \
	libpython3.11-stdlib=3.11.2-6+deb12u9 perl-base=5.36.0-7+deb12u4 perl-modules-5.36=5.36.0-7+deb12u4 \
	libperl5.36=5.36.0-7+deb12u4 libkrb5-3=1.20.1-2+deb12u5 libk5crypto3=1.20.1-2+deb12u5 \
	libkrb5support0=1.20.1-2+deb12u5 libkeyutils1=1.6.3-2 libbsd0=0.11.7-2 libmd0=1.0.4-2 \
	libssl3=3.0.22-1~deb12u2 libpcre3=2:8.39-15 libhyperscan5=5.4.0-2 libtinfo6=6.4-4 libffi8=3.4.4-1

export HOME=$WORK TERM=vt100
perl=$ROOT/usr/share/perl5:$ROOT/usr/share/perl/5.36.0:$ROOT/usr/lib/x86_64-linux-gnu/perl/5.36
export PERL5LIB=$perl:$ROOT/usr/lib/x86_64-linux-gnu/perl-base
export RUBYLIB=$ROOT/usr/lib/ruby/3.1.0:$ROOT/usr/lib/x86_64-linux-gnu/ruby/3.1.0
RUBYLIB+=:$ROOT/usr/share/rubygems-integration/all/gems/net-telnet-0.2.0/lib
cat >"$WORK/show.pl" <<'EOT'
use Net::Telnet;
$| = 1;
my $server = Net::Telnet->new(Host => "127.0.0.1", Port => $ARGV[0]);
while (defined(my $text = $server->get)) { print $text }
EOT
cat >"$WORK/show.rb" <<'EOT'
require "net/telnet"
$stdout.sync = true
server = Net::Telnet.new("Host" => "127.0.0.1", "Port" => ARGV[0].to_i)
server.waitfor(/the end/n) { |text| print text }
EOT
cat >"$WORK/show.py" <<'EOT'
import sys
import telnetlib
sys.stdout.buffer.write(telnetlib.Telnet("127.0.0.1", int(sys.argv[1])).read_all())
EOT
cat >"$WORK/try.py" <<'EOT'
import concurrent.futures
import os
import pty
import select
import socket
import subprocess
import sys
import threading
import time
import tty

WORK, ROOT = sys.argv[1], os.environ["ROOT"]
IAC, DO, WONT, GA, DM, OPTION = (bytes([number]) for number in (255, 253, 252, 249, 242, 200))
SERVERS = { # the segments between "first " and "second"
	"text": [],
	"an unknown option": [IAC + DO + OPTION],
	"the same in pieces": [IAC, DO, OPTION],
	"go ahead": [IAC + GA],
	"Synch": ["urgent"],
}
CLIENTS = {
	"inetutils": "usr/bin/inetutils-telnet 127.0.0.1 PORT",
	"telnet-ssl": "usr/bin/telnet-ssl -z nossl 127.0.0.1 PORT",
	"busybox": "bin/busybox telnet 127.0.0.1 PORT",
	"plink": "usr/bin/plink -telnet -P PORT 127.0.0.1",
	"libtelnet": "usr/bin/telnet-client 127.0.0.1 PORT",
	"KBtin": "usr/bin/KBtin -p -q",
	"tf": f"usr/bin/tf5 -n -v -l -f/dev/null -L{ROOT}/usr/share/tf5/tf-lib 127.0.0.1 PORT",
	"nc.openbsd": "bin/nc.openbsd -t 127.0.0.1 PORT",
	"nc.traditional": "bin/nc.traditional -t 127.0.0.1 PORT",
	"Net::Telnet": f"usr/bin/perl {WORK}/show.pl PORT",
	"Ruby": f"usr/bin/ruby3.1 {WORK}/show.rb PORT",
	"telnetlib": f"usr/bin/python3.11 {WORK}/show.py PORT",
}

def converse(listener, segments, heard, done):
	with listener.accept()[0] as s:
		s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
		time.sleep(0.5)
		for segment in b"first ", *segments, b"second", b" the end\r\n":
			if segment == "urgent":
				s.send(IAC + DM, socket.MSG_OOB)
			else:
				s.sendall(segment)
			time.sleep(0.25)
		s.shutdown(socket.SHUT_WR)
		try:
			while data := s.recv(1000):
				heard.append(data)
		except OSError:
			pass  # it has gone
	done.set()

def run(name, what):
	heard, done, shown = [], threading.Event(), b""
	listener = socket.create_server(("127.0.0.1", 0))
	threading.Thread(target=converse, args=(listener, SERVERS[what], heard, done), daemon=True).start()
	port = str(listener.getsockname()[1])
	words = CLIENTS[name].replace("PORT", port).split()
	env = os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}
	if name == "telnetlib":
		env["PYTHONHOME"] = ROOT + "/usr"
	mine, its = pty.openpty()
	tty.setraw(its)
	with subprocess.Popen([ROOT + "/" + words[0], *words[1:]], env=env, stdin=its, stdout=its, stderr=its,
			start_new_session=True) as client:
		os.close(its)
		if name == "KBtin":
			os.write(mine, f"#session a 127.0.0.1 {port}\n".encode())
		end = time.time() + 8
		while time.time() < end:
			if select.select([mine], [], [], 0.5)[0]:
				try:
					shown += os.read(mine, 10000)
				except OSError:
					break  # it has ended
			elif done.is_set() or b" the end" in shown:
				break
		client.kill()
	os.close(mine)
	done.wait(5)
	wrong = "" if b"second" in shown else "no \"second\" by "
	if not wrong and name[:2] != "nc" and b"\xff" in shown:
		wrong = "IAC shown by " if what == "Synch" else "shown by "
	elif not wrong and what == "Synch":
		wrong = "IAC shown by " if b"\xff" in shown else "\"ssecond\" by " if b"ssecond" in shown else ""
	if what in ("an unknown option", "the same in pieces") and IAC + WONT + OPTION not in b"".join(heard):
		wrong = wrong.replace("by ", "and ") + "not refused by "
	return wrong

with concurrent.futures.ThreadPoolExecutor(6) as pool:
	for what in SERVERS:
		said = list(pool.map(lambda name, what=what: run(name, what), CLIENTS))
		for wrong in sorted(set(said) - {""}):
			print(f"{what}: {wrong}" + ", ".join(name for name, how in zip(CLIENTS, said) if how == wrong), flush=True)
		if not any(said):
			print(f"{what}: each as it should", flush=True)
os._exit(0)
EOT
seen=$(inside /usr/bin/python3 "$WORK/try.py" "$WORK")

verdict "each: each as it should" "text: each as it should
an unknown option: shown and not refused by Ruby
the same in pieces: not refused by nc.openbsd, nc.traditional
the same in pieces: shown and not refused by Ruby
go ahead: shown by Ruby
Synch: \"ssecond\" by tf
Synch: IAC shown by nc.openbsd, nc.traditional, Ruby
Synch: no \"second\" by busybox, libtelnet, KBtin, Net::Telnet, telnetlib" "$seen"
