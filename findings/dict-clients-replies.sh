#!/bin/bash
# SPDX-License-Identifier: MIT
# What a DICT server says by right, and clients do not read. The capabilities in its greeting are optional (RFC 2229,
# 3.1). A word in a reply is an atom or a string in double quotes (2.4.1), in which a backslash is there for the
# character behind it (2.2, as in RFC 822). Text behind a code is as the server likes, and may be missing (2.4.1). Two
# dots at the begin of a line of text the client has to make one (2.4.3). dico, and python3-dicoclient by the same
# author, take no server without capabilities. Net::Dict gives a definition without its dictionary's name where the word
# before that is an atom. dict, Net::Dict and dicoclient show the backslash, dico shows what is before it. dicoclient
# gives both dots, and raises ValueError at "250".
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch dict=1.13.0+dfsg-1 libmaa4=1.4.7-1 dico=2.11-2+b3 libdico2=2.11-2+b3 libnet-dict-perl=2.22-2 \
	python3-dicoclient=2.11-2 python3.11-minimal=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9 \
	libpython3.11-stdlib=3.11.2-6+deb12u9 perl-base=5.36.0-7+deb12u4 perl-modules-5.36=5.36.0-7+deb12u4 \
	libperl5.36=5.36.0-7+deb12u4 libgsasl18=2.2.0-1+deb12u2 libgssglue1=0.7-1.1 libntlm0=1.6-4 \
	libidn12=1.41-1 libreadline8=8.2-1.3 libtinfo6=6.4-4 libssl3=3.0.22-1~deb12u2 libffi8=3.4.4-1 \
	python3-six=1.16.0-4

export HOME=$WORK
perl=$ROOT/usr/share/perl5:$ROOT/usr/share/perl/5.36.0:$ROOT/usr/lib/x86_64-linux-gnu/perl/5.36
export PERL5LIB=$perl:$ROOT/usr/lib/x86_64-linux-gnu/perl-base
cat >"$WORK/define.pl" <<'EOT'
use Net::Dict;
my $server = Net::Dict->new("127.0.0.1", Port => $ARGV[0]) or die;
for (@{$server->define("word")}) {
	print $server->dbTitle($_->[0]), " [$_->[0]]\n$_->[1]";
}
EOT
cat >"$WORK/define.py" <<'EOT'
import sys
import dicoclient
server = dicoclient.DicoClient()
server.open("127.0.0.1", int(sys.argv[1]))
for found in server.define("*", "word")["definitions"]:
	print(found["db_fullname"], f"[{found['db']}]\n" + found["desc"])
EOT
cat >"$WORK/try.py" <<'EOT'
import os
import re
import socket
import subprocess
import sys
import threading

WORK, ROOT = sys.argv[1], os.environ["ROOT"]
SERVERS = ("as most do", "no capabilities", "words as atoms", "a backslash", "250 alone", "dots")
CLIENTS = {
	"dict": "usr/bin/dict -h 127.0.0.1 -p PORT word",
	"dico": "usr/bin/dico -q --noauth --nosasl --host 127.0.0.1 --port PORT word",
	"Net::Dict": f"usr/bin/perl {WORK}/define.pl PORT",
	"dicoclient": f"usr/bin/python3.11 {WORK}/define.py PORT",
}

def string(text, what):
	if what == "words as atoms" and " " not in text:
		return text
	return '"' + (text.replace("book", "b\\ook") if what == "a backslash" else text) + '"'

def converse(s, what):
	with s, s.makefile("r") as lines:
		def say(*replies):
			s.sendall("".join(reply + "\r\n" for reply in replies).encode())
		say("220 b.test " + ("" if what == "no capabilities" else "<auth.mime> ") + "<1@b.test>")
		for line in lines:
			command = line.upper().split()
			done = "250" if what == "250 alone" else "250 ok"
			if command[0] == "DEFINE":
				say("150 1 definitions", f"151 {string('word', what)} main {string('the book', what)}",
					"..text" if what == "dots" else "text", "the end", ".", done)
			elif command[0] == "SHOW":
				say("110 1 databases", f"main {string('the book', what)}", ".", done)
			else:
				say({"CLIENT": done, "QUIT": "221 bye"}.get(command[0], "500 unknown"))
			if command[0] == "QUIT":
				return

def serve(listener, what):
	while True:
		try:
			converse(listener.accept()[0], what)
		except OSError:
			pass  # it has gone

def run(name, what):
	listener = socket.create_server(("127.0.0.1", 0))
	threading.Thread(target=serve, args=(listener, what), daemon=True).start()
	words = CLIENTS[name].replace("PORT", str(listener.getsockname()[1])).split()
	words = [ROOT + "/" + word if word.startswith("usr/") else word for word in words]
	env = os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}
	if name == "dicoclient":
		env |= {"PYTHONHOME": ROOT + "/usr", "PYTHONPATH": ROOT + "/usr/lib/python3/dist-packages"}
	out = subprocess.run(words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
		timeout=30, check=False, text=True).stdout
	if "the end" not in out:
		return "nothing"
	wrong = []
	if not re.search(r"\bmain\b", out):
		wrong.append("no name")
	elif "the book" not in out:
		wrong.append("a title with the backslash" if "\\" in out else "not all of the title")
	if not re.search(r"^ *" + (r"\." if what == "dots" else "") + "text$", out, re.M):
		wrong.append("two dots")
	return ", ".join(wrong)

for what in SERVERS:
	said = [run(name, what) for name in CLIENTS]
	for wrong in sorted(set(said) - {""}):
		print(f"{what}: {wrong} by " + ", ".join(name for name, how in zip(CLIENTS, said) if how == wrong), flush=True)
	if not any(said):
		print(f"{what}: each all", flush=True)
os._exit(0)
EOT
seen=$(inside /usr/bin/python3 "$WORK/try.py" "$WORK")

verdict "each: each all" "as most do: each all
no capabilities: nothing by dico, dicoclient
words as atoms: no name by Net::Dict
a backslash: a title with the backslash by dict, Net::Dict, dicoclient
a backslash: not all of the title by dico
250 alone: nothing by dicoclient
dots: two dots by dicoclient" "$seen"
