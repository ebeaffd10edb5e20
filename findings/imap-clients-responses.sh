#!/bin/bash
# SPDX-License-Identifier: MIT
# What an IMAP server says by right, and clients do not read. Letters of a response are of no case: "ok" is "OK" (RFC
# 3501, 9, note 1). And a client has to take any response at any time (7), with what it has not asked for (5.2): that
# somebody else has read another message, say, before the message that was asked for. Of eleven clients that fetch
# mail nine get none from a server that writes in lower case (Mail::IMAPClient finds the mailbox empty, and no fault),
# and six not both messages where the other's flags come before each; fetchmail and Net::IMAP::Client not even where
# an "OK" does, and mbsync not where its size comes with a message. PHP's extension, which is the old c-client, reads
# all. imaplib and Ruby's Net::IMAP are used as the examples of their documentation do, which take the first answer
# for the one that was asked for.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch curl=7.88.1-10+deb12u15 fetchmail=6.4.37-1 getmail6=6.18.11-2 isync=1.4.4-5 tcl8.6=8.6.13+dfsg-2 \
	tcllib=1.21+dfsg-1 php8.2-cli=8.2.36-1~deb12u1 php8.2-imap=8.2.36-1~deb12u1 \
	ruby3.1=3.1.7+really3.1.2-0+deb12u1 libruby3.1=3.1.7+really3.1.2-0+deb12u1 \
	python3.11-minimal=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9 \
	libpython3.11-stdlib=3.11.2-6+deb12u9 perl-base=5.36.0-7+deb12u4 perl-modules-5.36=5.36.0-7+deb12u4 \
	libperl5.36=5.36.0-7+deb12u4 libmail-imapclient-perl=3.43-1 libparse-recdescent-perl=1.967015+dfsg-4 \
	libnet-imap-simple-perl=1.2211-1 libnet-imap-client-perl=0.9507-1 \
	liblist-moreutils-perl=0.430-2 liblist-moreutils-xs-perl=0.430-3+b1 libexporter-tiny-perl=1.006000-1 \
	liburi-perl=5.17-1 	libio-socket-ssl-perl=2.081-2 libnet-ssleay-perl=1.92-2+b1 libargon2-1=0~20171227-0.3+deb12u1 \
	libbrotli1=1.0.9-2+deb12u1 libc-client2007e=8:2007f~dfsg-7+b2 libcurl4=7.88.1-10+deb12u15 \
	libexpat1=2.5.0-1+deb12u5 libffi8=3.4.4-1 libicu72=72.1-3+deb12u1 libldap-2.5-0=2.5.13+dfsg-5 \
	libnghttp2-14=1.52.0-1+deb12u3 libpcre2-8-0=10.42-1+deb12u2 libpsl5=0.21.2-1 \
	librtmp1=2.4+20151223.gitfa8646d.1-2+b2 libsasl2-2=2.1.28+dfsg-10+deb12u1 \
	libsodium23=1.0.18-1+deb12u1 libssh2-1=1.10.0-3+deb12u1 libssl3=3.0.22-1~deb12u2 \
	libtcl8.6=8.6.13+dfsg-2 libuuid1=2.38.1-5+deb12u3 libxml2=2.9.14+dfsg-1.3~deb12u6

export TCL_LIBRARY=$ROOT/usr/share/tcltk/tcl8.6 TCLLIBPATH=$ROOT/usr/share/tcltk/tcllib1.21 HOME=$WORK
perl=$ROOT/usr/share/perl5:$ROOT/usr/share/perl/5.36.0:$ROOT/usr/lib/x86_64-linux-gnu/perl5/5.36
export PERL5LIB=$perl:$ROOT/usr/lib/x86_64-linux-gnu/perl/5.36:$ROOT/usr/lib/x86_64-linux-gnu/perl-base
export RUBYLIB=$ROOT/usr/lib/ruby/3.1.0:$ROOT/usr/lib/x86_64-linux-gnu/ruby/3.1.0
RUBYLIB+=:$ROOT/usr/lib/ruby/gems/3.1.0/gems/net-imap-0.2.3/lib
cat >"$WORK/get.py" <<'EOT'
import imaplib
import sys
server = imaplib.IMAP4("127.0.0.1", int(sys.argv[1]))
server.login("me", "secret")
server.select()
for number in server.search(None, "ALL")[1][0].split():
	print(server.fetch(number, "(RFC822)")[1][0][1].decode())
EOT
cat >"$WORK/get.rb" <<'EOT'
require "net/imap"
server = Net::IMAP.new("127.0.0.1", port: ARGV[0].to_i)
server.login("me", "secret")
server.select("INBOX")
server.search(["ALL"]).each { |number| print server.fetch(number, "RFC822")[0].attr["RFC822"] }
EOT
cat >"$WORK/client.pl" <<'EOT'
use Mail::IMAPClient;
my $server = Mail::IMAPClient->new(Server => "127.0.0.1", Port => $ARGV[0], User => "me", Password => "secret",
	Timeout => 6) or die;
$server->select("INBOX") or die;
my $numbers = $server->messages or die;
print $server->message_string($_) // die for @$numbers;
EOT
cat >"$WORK/simple.pl" <<'EOT'
use Net::IMAP::Simple;
my $server = Net::IMAP::Simple->new("127.0.0.1:$ARGV[0]", timeout => 6) or die;
$server->login("me", "secret") or die;
my $number = $server->select("INBOX") // die;
print $server->get($_) // die for 1 .. $number;
EOT
cat >"$WORK/net.pl" <<'EOT'
use Net::IMAP::Client;
my $server = Net::IMAP::Client->new(server => "127.0.0.1", port => $ARGV[0], user => "me", pass => "secret", ssl => 0)
	or die;
$server->login or die;
$server->select("INBOX") or die;
my $numbers = $server->search("ALL") or die;
print ${$server->get_rfc822_body($_) // die} for @$numbers;
EOT
cat >"$WORK/get.tcl" <<'EOT'
package require imap4
set server [imap4::open 127.0.0.1 [lindex $argv 0]]
if {[imap4::login $server me secret] || [imap4::select $server INBOX]} {exit 1}
foreach number {1 2} {puts [imap4::fetch $server $number -inline TEXT]}
EOT
cat >"$WORK/get.php" <<'EOT'
<?php
$server = imap_open("{127.0.0.1:{$argv[1]}/imap/notls}INBOX", "me", "secret") or exit(1);
for ($number = 1; $number <= imap_num_msg($server); $number++) {
	echo imap_fetchbody($server, $number, "");
}
EOT
cat >"$WORK/try.py" <<'EOT'
import concurrent.futures
import glob
import os
import socket
import subprocess
import sys
import threading

WORK, ROOT = sys.argv[1], os.environ["ROOT"]
SERVERS = ("as most do", "lower case", "another's flags first", "OK first", "the size too")
HEADER = "From: me@a.test\r\nSubject: s\r\nMessage-ID: <{}@a.test>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n"
CLIENTS = {
	"curl": "usr/bin/curl -m 8 imap://me:secret@127.0.0.1:PORT/INBOX;UID=[11-12]",
	"fetchmail": "usr/bin/fetchmail -f CONF --pidfile OUT/pid -k -a --nosyslog --nodetach -d0 -N",
	"getmail": "usr/bin/python3.11 usr/bin/getmail -g OUT -r CONF",
	"mbsync": "usr/bin/mbsync -c CONF -a",
	"imaplib": f"usr/bin/python3.11 {WORK}/get.py PORT",
	"Ruby": f"usr/bin/ruby3.1 {WORK}/get.rb PORT",
	"Mail::IMAPClient": f"usr/bin/perl {WORK}/client.pl PORT",
	"Net::IMAP::Simple": f"usr/bin/perl {WORK}/simple.pl PORT",
	"Net::IMAP::Client": f"usr/bin/perl {WORK}/net.pl PORT",
	"tcllib": f"usr/bin/tclsh8.6 {WORK}/get.tcl PORT",
	"PHP": f"usr/bin/php8.2 -n -d extension_dir={ROOT}/usr/lib/php/20220829 -d extension=imap.so {WORK}/get.php PORT",
}
SETTINGS = {
	"fetchmail": 'poll 127.0.0.1 port PORT proto imap timeout 5 user me password secret sslproto "" mda "cat >>OUT/mail"',
	"getmail": "[retriever]\ntype=SimpleIMAPRetriever\nserver=127.0.0.1\nport=PORT\nusername=me\npassword=secret\n"
		"[destination]\ntype=MDA_external\npath=/usr/bin/tee\narguments=('-a', 'OUT/mail')\nallow_root_commands=true\n",
	"mbsync": "IMAPStore far\nHost 127.0.0.1\nPort PORT\nUser me\nPass secret\nSSLType None\nAuthMechs LOGIN\n\n"
		"MaildirStore near\nPath OUT/\nInbox OUT/INBOX\n\n"
		"Channel all\nFar :far:\nNear :near:\nCreate Near\nSync Pull\nSyncState *\n",
}

def item(name, number):
	name = name.replace(".PEEK", "")
	header, text = HEADER.format(number), f"mail {number}\r\n"
	value = {"UID": 10 + number, "FLAGS": "()", "RFC822.SIZE": len(header + text)}.get(name)
	if value is None:
		part = header if "HEADER" in name else text if "TEXT" in name else header + text
		value = f"{{{len(part)}}}\r\n{part}"
	return name, value

def converse(s, what):
	with s, s.makefile("r") as lines:
		cased = str.lower if what == "lower case" else str
		def say(tag, text, value=""):
			s.sendall(f"{tag} {cased(text)}{value}\r\n".encode())
		say("*", "OK b.test")
		for line in lines:
			tag, command, *words = line.replace("(", " ").replace(")", " ").split()
			uid = command == "UID"
			if uid:
				command = words.pop(0)
			if command == "CAPABILITY":
				say("*", "CAPABILITY IMAP4rev1")
			elif command in ("SELECT", "EXAMINE"):
				for text in "FLAGS (\\Seen \\Deleted)", "2 EXISTS", "0 RECENT", "OK [UIDVALIDITY 7] so", "OK [UIDNEXT 13] so":
					say("*", text)
			elif command == "LIST":
				say("*", 'LIST () "/" INBOX')
			elif command == "SEARCH":
				say("*", "SEARCH 11 12" if uid else "SEARCH 1 2")
			elif command == "FETCH":
				first, _, last = words.pop(0).partition(":")
				names = words if not uid or "UID" in words else ["UID", *words]
				mail = names[-1].endswith("]") or names[-1].startswith("RFC822") and names[-1] != "RFC822.SIZE"
				if mail and what == "the size too":
					names.insert(-1, "RFC822.SIZE")
				for number in range(1, 3):
					if int(first) <= number + 10 * uid <= int(last or first):
						if mail and what == "another's flags first":
							say("*", f"{3 - number} FETCH (UID {13 - number} FLAGS (\\Seen))")
						elif mail and what == "OK first":
							say("*", "OK still here")
						items = " ".join(f"{cased(name)} {value}" for name, value in (item(name, number) for name in names))
						say("*", f"{number} FETCH (", items + ")")
			elif command == "LOGOUT":
				say("*", "BYE")
			say(tag, "OK done")
			if command == "LOGOUT":
				return

def converse_on(s, what):
	try:
		converse(s, what)
	except OSError:
		pass  # it has gone

def serve(listener, what):
	while True:
		threading.Thread(target=converse_on, args=(listener.accept()[0], what), daemon=True).start()

def run(name, what):
	listener = socket.create_server(("127.0.0.1", 0))
	threading.Thread(target=serve, args=(listener, what), daemon=True).start()
	port = str(listener.getsockname()[1])
	out = f"{WORK}/{port}"
	os.mkdir(out)
	with open(out + ".conf", "w") as f:
		f.write(SETTINGS.get(name, "").replace("PORT", port).replace("OUT", out))
	os.chmod(f.name, 0o600)
	words = CLIENTS[name].replace("PORT", port).replace("OUT", out).replace("CONF", f.name).split()
	words = [ROOT + "/" + word if word.startswith("usr/") else word for word in words]
	env = os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}
	if "python3.11" in words[0]:
		env |= {"PYTHONHOME": ROOT + "/usr", "PYTHONPATH": ROOT + "/usr/lib/python3/dist-packages"}
	with open(out + "/printed", "w") as f:
		status = subprocess.run(words, env=env, cwd=out, stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.DEVNULL,
			timeout=40, check=False).returncode
	mail = ""
	for path in glob.glob(out + "/**", recursive=True):
		if os.path.isfile(path):
			with open(path, errors="replace") as f:
				mail += f.read()
	return "" if "mail 1\n" in mail and "mail 2\n" in mail else "error" if status else "no error"

with concurrent.futures.ThreadPoolExecutor(3) as pool:
	for what in SERVERS:
		said = list(pool.map(lambda name, what=what: run(name, what), CLIENTS))
		for wrong in "error", "no error":
			names = ", ".join(name for name, how in zip(CLIENTS, said) if how == wrong)
			if names:
				print(f"{what}: no mail, and {wrong}, by {names}", flush=True)
		if not any(said):
			print(f"{what}: the mail", flush=True)
os._exit(0)
EOT
seen=$(inside /usr/bin/python3 "$WORK/try.py" "$WORK")

verdict "each: the mail" "as most do: the mail
lower case: no mail, and error, by curl, fetchmail, getmail, mbsync, imaplib, Net::IMAP::Simple, Net::IMAP::Client, tcllib
lower case: no mail, and no error, by Mail::IMAPClient
another's flags first: no mail, and error, by curl, fetchmail, getmail, imaplib, Net::IMAP::Client
another's flags first: no mail, and no error, by Ruby
OK first: no mail, and error, by fetchmail, Net::IMAP::Client
the size too: no mail, and error, by mbsync" "$seen"
