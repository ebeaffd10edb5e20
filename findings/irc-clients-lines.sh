#!/bin/bash
# SPDX-License-Identifier: MIT
# What an IRC server says by right, and clients misread. The colon before the last parameter is needed where that has
# spaces, and means nothing (RFC 2812, 2.3.1, note 1). Any line may have a prefix (2.3.1). A PING is to be answered to
# the server that its parameter names (3.7.2), which need not be the one of the prefix; a server ends the connection
# of who does not answer so. And a line may come in any number of segments. sic and ii show an empty text where there
# is no colon, and answer PING with no name, or "(null)"; Net::IRC does not answer where there is a prefix, and POE's
# client answers to the prefix; epic5 ends a connection on which a line comes in twenty pieces.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch sic=1.1-5+b1 ii=1.8-3+ds+b1 ircii=20210328-2+b1 epic5=2.1.6-1+b6 irssi=1.4.3-2 perl-base=5.36.0-7+deb12u4 \
	perl-modules-5.36=5.36.0-7+deb12u4 libperl5.36=5.36.0-7+deb12u4 libnet-irc-perl=0.79-4 libpoe-perl=2:1.3700-1 \
	libio-pipely-perl=0.006-1 	libpoe-component-irc-perl=6.93+dfsg-1 libpoe-component-syndicator-perl=0.06-1.1 \
	libpoe-filter-ircd-perl=2.44-2 libirc-utils-perl=0.12-1.1 libobject-pluggable-perl=1.29-2.1 \
	libsocket-getaddrinfo-perl=0.22-5 libsocket6-perl=0.29-3 libanyevent-perl=7.170-2+b3 \
	libanyevent-irc-perl=0.97-3 libcommon-sense-perl=3.75-3 libobject-event-perl=1.230-2 \
	libglib2.0-0=2.74.6-2+deb12u9 libpcre2-8-0=10.42-1+deb12u2 libruby3.1=3.1.7+really3.1.2-0+deb12u1 \
	libtcl8.6=8.6.13+dfsg-2 libssl3=3.0.22-1~deb12u2

perl=$ROOT/usr/share/perl5:$ROOT/usr/share/perl/5.36.0:$ROOT/usr/lib/x86_64-linux-gnu/perl5/5.36
export PERL5LIB=$perl:$ROOT/usr/lib/x86_64-linux-gnu/perl/5.36:$ROOT/usr/lib/x86_64-linux-gnu/perl-base
export HOME=$WORK TERM=vt100
mkdir "$WORK/irssi"
cat >"$WORK/irssi/config" <<EOT
settings = { "fe-common/core" = { autolog = "yes"; autolog_path = "$WORK/irssi/log"; }; };
EOT
cat >"$WORK/net.pl" <<'EOT'
use Net::IRC;
my $irc = Net::IRC->new;
my $server = $irc->newconn(Server => "127.0.0.1", Port => $ARGV[0], Nick => "me", Username => "me", Ircname => "me");
$| = 1;
$server->add_handler("public", sub { print "you: ", $_[1]->args, "\n" });
$irc->start;
EOT
cat >"$WORK/poe.pl" <<'EOT'
use POE qw(Component::IRC);
$| = 1;
my $irc = POE::Component::IRC->spawn(nick => "me", ircname => "me", username => "me", server => "127.0.0.1",
	port => $ARGV[0], Flood => 1);
POE::Session->create(inline_states => {
	_start => sub { $irc->yield(register => "all"); $irc->yield("connect", {}) },
	irc_public => sub { print "you: $_[ARG2]\n" },
});
POE::Kernel->run;
EOT
cat >"$WORK/any.pl" <<'EOT'
use AnyEvent;
use AnyEvent::IRC::Client;
$| = 1;
my $server = AnyEvent::IRC::Client->new;
$server->reg_cb(publicmsg => sub { print "you: $_[2]{params}[-1]\n" });
$server->connect("127.0.0.1", $ARGV[0], {nick => "me", user => "me", real => "me"});
AnyEvent->condvar->recv;
EOT
cat >"$WORK/try.py" <<'EOT'
import glob
import os
import pty
import re
import select
import socket
import subprocess
import sys
import threading
import time

WORK, ROOT = sys.argv[1], os.environ["ROOT"]
TEXTS = {
	"a text with a colon": ":you!u@h PRIVMSG #c :first",
	"a text without": ":you!u@h PRIVMSG #c second",
	"a text in twenty pieces": ":you!u@h PRIVMSG #c :" + "piece by piece " * 9 + "third",
}
PINGS = {
	"PING :1.test": "1.test",
	"PING 2.test": "2.test",
	":b.test PING :3.test": "3.test",
}
CLIENTS = {
	"sic": "usr/bin/sic -h 127.0.0.1 -p PORT -n me",
	"ii": f"usr/bin/ii -s 127.0.0.1 -p PORT -n me -i {WORK}/ii",
	"ircII": "usr/bin/ircII -d -p PORT me 127.0.0.1",
	"epic5": "usr/bin/epic5 -d -q me 127.0.0.1:PORT",
	"irssi": f"usr/bin/irssi --home={WORK}/irssi -c 127.0.0.1 -p PORT -n me",
	"Net::IRC": f"usr/bin/perl {WORK}/net.pl PORT",
	"POE": f"usr/bin/perl {WORK}/poe.pl PORT",
	"AnyEvent": f"usr/bin/perl {WORK}/any.pl PORT",
}

LOGS = {"ii": "/ii/*/#c/out", "irssi": "/irssi/log"}

def converse(s, heard):
	def say(line, pieces=1):
		data = line.encode() + b"\r\n"
		size = -(-len(data) // pieces)
		for i in range(0, len(data), size):
			s.sendall(data[i:i + size])
			time.sleep(0.05)
	with s, s.makefile("r") as lines:
		s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
		for line in lines:
			heard.append(line.strip())
			if line.startswith("CAP LS"):
				say(":b.test 421 * CAP :Unknown command")
			elif line.startswith("JOIN :"):
				say(":b.test 451 * JOIN :You have not registered")
			if {"NICK", "USER"} <= {other.split()[0] for other in heard}:
				break
		for line in (":b.test 001 me :Welcome", ":b.test 376 me :That is all", ":me!me@h JOIN :#c"):
			say(line)
		time.sleep(0.5)
		for what, line in (TEXTS | {ping: ping for ping in PINGS}).items():
			say(line, 20 if "pieces" in what else 1)
		say("PING :end")
		while heard[-1].split()[-1].lstrip(":") != "end" and (line := lines.readline()):
			heard.append(line.strip())

def serve(listener, heard, done):
	try:
		converse(listener.accept()[0], heard)
	except OSError:
		pass  # it has gone
	done.set()

def run(name):
	heard, done, shown = ["CAP"], threading.Event(), b""
	listener = socket.create_server(("127.0.0.1", 0))
	threading.Thread(target=serve, args=(listener, heard, done), daemon=True).start()
	words = CLIENTS[name].replace("PORT", str(listener.getsockname()[1])).split()
	mine, its = pty.openpty()
	env = os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}
	with subprocess.Popen([ROOT + "/" + words[0], *words[1:]], env=env, stdin=its, stdout=its, stderr=its,
			start_new_session=True) as client:
		os.close(its)
		end = time.time() + 20
		while time.time() < end:
			if select.select([mine], [], [], 0.5)[0]:
				try:
					shown += os.read(mine, 10000)
				except OSError:
					break  # it has ended
			elif done.is_set():
				break
		client.kill()
	for log in glob.glob(WORK + LOGS.get(name, "/none")):
		with open(log, "rb") as f:
			shown = f.read()
	shown = shown.decode(errors="replace")
	wrong = [what for what, line in TEXTS.items() if not re.search(r"you\b.*" + line[-5:], shown)]
	pongs = [line.split()[-1].lstrip(":") for line in heard if line.startswith("PONG")]
	for what, to in PINGS.items():
		if to not in pongs and pongs:
			wrong.append(what)
	odd = [line for line in heard if line.startswith("PONG") and not line.endswith(("test", "end")) or "b.test" in line]
	return ", ".join(wrong) + "".join(f", said {line}" for line in odd[:1]) + ("" if pongs else " and what follows")

for name in CLIENTS:
	wrong = run(name)
	print(f"{name}: not {wrong}" if wrong else f"{name}: each", flush=True)
os._exit(0)
EOT
seen=$(inside /usr/bin/python3 "$WORK/try.py" "$WORK")

verdict "each: each" "sic: not a text without, PING 2.test, said PONG
ii: not a text without, PING 2.test, said PONG (null)
ircII: each
epic5: not a text in twenty pieces and what follows
irssi: each
Net::IRC: not :b.test PING :3.test
POE: not :b.test PING :3.test, said PONG :b.test
AnyEvent: each" "$seen"
