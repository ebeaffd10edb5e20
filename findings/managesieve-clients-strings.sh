#!/bin/bash
# SPDX-License-Identifier: MIT
# What a ManageSieve server says by right, and clients do not read. Its words are to be taken in any case: "ok" is "OK"
# (RFC 5804, 4). A string is quoted or a literal, as the server likes, be it a script's name, a script (of one line,
# say), a capability, or the text that may follow OK (4). Of six clients each fails at something. sieveshell, of Cyrus,
# takes no text behind OK. Of names that are literals sieve-connect, Net::Sieve and Net_Sieve list none, and give the
# second name for the script that is asked for next. Net_Sieve gives a quoted script with its quotation marks, and the
# OK behind it; sievelib gives the text behind OK for the script's first line; Net::ManageSieve sees no script active
# where that is said by "active".
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch sieve-connect=0.90-1.1 cyrus-admin=3.6.1-4+deb12u5 libcyrus-imap-perl=3.6.1-4+deb12u5 \
	libnet-managesieve-perl=0.13-3 libnet-sieve-perl=0.12-2 php-net-sieve=1.4.6-1 php-net-socket=1.2.2-2 \
	php-pear=1:1.10.13+submodules+notgz+2022032202-2 php8.2-cli=8.2.36-1~deb12u1 python3-sievelib=1.2.1-1 \
	python3-pkg-resources=66.1.1-1+deb12u2 python3.11-minimal=3.11.2-6+deb12u9 \
	libpython3.11-minimal=3.11.2-6+deb12u9 libpython3.11-stdlib=3.11.2-6+deb12u9 perl-base=5.36.0-7+deb12u4 \
	perl-modules-5.36=5.36.0-7+deb12u4 libperl5.36=5.36.0-7+deb12u4 libauthen-sasl-perl=2.1600-3 \
	libio-socket-inet6-perl=2.73-1 libio-socket-ssl-perl=2.081-2 libsocket6-perl=0.29-3 \
	libnet-ssleay-perl=1.92-2+b1 libterm-readkey-perl=2.38-2+b1 libnet-dns-perl=1.36-1+deb12u1 \
	libsasl2-2=2.1.28+dfsg-10+deb12u1 libsasl2-modules=2.1.28+dfsg-10+deb12u1 libsqlite3-0=3.40.1-2+deb12u2 \
	libpq5=15.20-0+deb12u1 libpcre3=2:8.39-15 libssl3=3.0.22-1~deb12u2 libldap-2.5-0=2.5.13+dfsg-5 \
	libkrb5-3=1.20.1-2+deb12u5 libk5crypto3=1.20.1-2+deb12u5 libkrb5support0=1.20.1-2+deb12u5 \
	libkeyutils1=1.6.3-2 libffi8=3.4.4-1 libargon2-1=0~20171227-0.3+deb12u1 libsodium23=1.0.18-1+deb12u1 \
	libxml2=2.9.14+dfsg-1.3~deb12u6 libicu72=72.1-3+deb12u1 libpcre2-8-0=10.42-1+deb12u2

export HOME=$WORK SASL_PATH=$ROOT/usr/lib/x86_64-linux-gnu/sasl2
perl=$ROOT/usr/share/perl5:$ROOT/usr/share/perl/5.36.0:$ROOT/usr/lib/x86_64-linux-gnu/perl5/5.36
export PERL5LIB=$perl:$ROOT/usr/lib/x86_64-linux-gnu/perl/5.36:$ROOT/usr/lib/x86_64-linux-gnu/perl-base
cat >"$WORK/manage.pl" <<'EOT'
use Net::ManageSieve;
my $server = Net::ManageSieve->new("127.0.0.1", Port => $ARGV[0], Timeout => 5) or die;
$server->login("me", "secret") or die;
my @names = @{$server->listscripts};
my $active = pop @names;
print "$_\n" for @names;
print "active $active\nscript:\n", $server->getscript("main");
EOT
cat >"$WORK/sieve.pl" <<'EOT'
use Net::Sieve;
my $server = Net::Sieve->new(server => "127.0.0.1", port => $ARGV[0], user => "me", password => "secret",
	notssl_verify => 1);
print $_->{name}, $_->{status} ? "\nactive $_->{name}\n" : "\n" for $server->list;
print "script:\n", $server->get("main");
EOT
cat >"$WORK/sieve.php" <<'EOT'
<?php
require "Net/Sieve.php";
$server = new Net_Sieve("me", "secret", "127.0.0.1", (int) $argv[1], "", "", false, false);
echo implode("\n", $server->listScripts($active)), "\nactive $active\nscript:\n", $server->getScript("main");
EOT
cat >"$WORK/sieve.py" <<'EOT'
import sys
import sievelib.managesieve
server = sievelib.managesieve.Client("127.0.0.1", int(sys.argv[1]))
server.connect("me", "secret", authmech="PLAIN")
active, others = server.listscripts()
print("\n".join([str(active), *others]) + f"\nactive {active}\nscript:\n" + server.getscript("main"))
EOT
cat >"$WORK/try.py" <<'EOT'
import concurrent.futures
import os
import re
import socket
import subprocess
import sys
import threading

WORK, ROOT = sys.argv[1], os.environ["ROOT"]
SCRIPT = 'fileinto "a"; keep;'
SERVERS = ("OK alone", "text behind OK", "a literal behind OK", "lower case", "names as literals", "a quoted script",
	"capabilities as literals")
CLIENTS = {
	"sieve-connect": "usr/bin/perl usr/bin/sieve-connect -s 127.0.0.1 -p PORT -u me --passwordfd 0 --nosrv --notlsverify"
		" --clearchan -e COMMANDS",
	"sieveshell": "usr/bin/perl usr/lib/cyrus/bin/sieveshell -u me -a me -p secret -f COMMANDS 127.0.0.1:PORT",
	"Net::ManageSieve": f"usr/bin/perl {WORK}/manage.pl PORT",
	"Net::Sieve": f"usr/bin/perl {WORK}/sieve.pl PORT",
	"Net_Sieve": f"usr/bin/php8.2 -n -d include_path={ROOT}/usr/share/php {WORK}/sieve.php PORT",
	"sievelib": f"usr/bin/python3.11 {WORK}/sieve.py PORT",
}

def literal(text):
	return f"{{{len(text)}}}\r\n{text}"

def quoted(text):
	return '"' + text.replace('"', '\\"') + '"'

def converse(s, what):
	cased = str.lower if what == "lower case" else str
	done = cased("OK") + {"text behind OK": ' "as so"', "a literal behind OK": " " + literal("as so")}.get(what, "")
	with s, s.makefile("r", newline="\r\n") as lines:
		def say(*what_to):
			s.sendall("".join(line + "\r\n" for line in what_to).encode())
		def capabilities():
			string = literal if what == "capabilities as literals" else quoted
			say(*(string(name) + " " + string(value) for name, value in
				(("IMPLEMENTATION", "x"), ("VERSION", "1.0"), ("SASL", "PLAIN"), ("SIEVE", "fileinto"))), done)
		capabilities()
		for line in lines:
			if line.endswith("+}\r\n"):
				line += lines.read(int(line[line.rindex("{") + 1:-4])) + lines.readline()
			command = line.split()[0].upper()
			string = literal if what == "names as literals" else quoted
			if command == "CAPABILITY":
				capabilities()
			elif command == "LISTSCRIPTS":
				say(string("main") + " " + cased("ACTIVE"), string("other"), done)
			elif command == "GETSCRIPT":
				say((quoted if what == "a quoted script" else literal)(SCRIPT), done)
			else:
				say(done)
			if command == "LOGOUT":
				return

def serve(listener, what, client):
	while True:
		with listener.accept()[0] as s:
			s.settimeout(7)
			try:
				converse(s.dup(), what)
			except TimeoutError:
				client[0].kill()  # it waits for "OK"
			except OSError:
				pass  # it has gone

def run(name, what):
	listener = socket.create_server(("127.0.0.1", 0))
	client = []
	threading.Thread(target=serve, args=(listener, what, client), daemon=True).start()
	port = str(listener.getsockname()[1])
	with open(f"{WORK}/commands.{port}", "w") as f:
		f.write(f"list\nget main {WORK}/got.{port}\n")
	words = [ROOT + "/" + word if word.startswith("usr/") else word
		for word in CLIENTS[name].replace("PORT", port).replace("COMMANDS", f.name).split()]
	env = os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}
	if name == "sievelib":
		env |= {"PYTHONHOME": ROOT + "/usr", "PYTHONPATH": ROOT + "/usr/lib/python3/dist-packages"}
	with subprocess.Popen(words, env=env, cwd=WORK, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
			stderr=subprocess.DEVNULL, text=True) as p:
		client.append(p)
		out = p.communicate("secret\n")[0]
	if os.path.exists(f"{WORK}/got.{port}"):
		with open(f"{WORK}/got.{port}") as f:
			out += "script:\n" + f.read()
	listed, _, script = out.partition("script:\n")
	lines = [re.match('"?([^"]*)', line).group(1).strip() for line in listed.splitlines()]
	active = {"sieve-connect": '"main" ACTIVE', "sieveshell": "main  <- active"}.get(name, "active main")
	wrong = ["names"] if not {"main", "other"} <= {re.split(" +<", line)[0] for line in lines} else []
	if active not in listed:
		wrong.append("active one")
	if script.rstrip() != SCRIPT:
		wrong.append("script")
	return "nothing" if len(wrong) == 3 else ", ".join("no " + what for what in wrong)

with concurrent.futures.ThreadPoolExecutor(4) as pool:
	for what in SERVERS:
		said = list(pool.map(lambda name, what=what: run(name, what), CLIENTS))
		for wrong in sorted(set(said) - {""}):
			print(f"{what}: {wrong} by " + ", ".join(name for name, how in zip(CLIENTS, said) if how == wrong), flush=True)
		if not any(said):
			print(f"{what}: each all", flush=True)
os._exit(0)
EOT
seen=$(inside /usr/bin/python3 "$WORK/try.py" "$WORK")

verdict "each: each all" "OK alone: each all
text behind OK: nothing by sieveshell
a literal behind OK: no script by sieve-connect, Net::Sieve, sievelib
a literal behind OK: nothing by sieveshell
lower case: no active one by Net::ManageSieve
lower case: nothing by sieve-connect, Net::Sieve, sievelib
names as literals: no names, no active one by sievelib
names as literals: nothing by sieve-connect, Net::Sieve, Net_Sieve
a quoted script: no script by sieve-connect, Net::Sieve, Net_Sieve, sievelib
capabilities as literals: nothing by sieve-connect, Net::Sieve, Net_Sieve, sievelib" "$seen"
