#!/bin/bash
# SPDX-License-Identifier: MIT
# What an SMTP server says by right, and clients do not take. The reply is its code: any text has to do, even none
# (RFC 5321, 4.2, which asks servers for some), and the last line of a greeting may be "220" alone (its grammar
# there). A code that a client does not know it has to read by its first digit (4.2); 251 is a good answer to RCPT
# (4.3.2). The names of extensions are not case sensitive (2.4). Of sixteen clients twelve fail at one of them. For
# eight, mail that is taken with "259" has not been sent: who tries again sends it twice. Where the server writes
# "auth", curl, tcllib and sendEmail pass over the name and password that they were given, send the mail without, and
# say that all is well.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch msmtp=1.8.23-1 swaks=20201014.0-2 nullmailer=1:2.2-4 esmtp=1.2-18+b1 ssmtp=2.64-11 sendemail=1.56-5.1 \
	s-nail=14.9.24-2 curl=7.88.1-10+deb12u15 python3-aiosmtplib=2.0.0-1 tcl8.6=8.6.13+dfsg-2 tcllib=1.21+dfsg-1 \
	lua5.1=5.1.5-9 lua-socket=3.1.0-1+b1 php8.2-cli=8.2.36-1~deb12u1 php-net-smtp=1.10.1-1 php-net-socket=1.2.2-2 \
	php-pear=1:1.10.13+submodules+notgz+2022032202-2 libphp-phpmailer=6.6.3-1 \
	ruby3.1=3.1.7+really3.1.2-0+deb12u1 libruby3.1=3.1.7+really3.1.2-0+deb12u1 \
	python3.11-minimal=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9 \
	libpython3.11-stdlib=3.11.2-6+deb12u9 perl-base=5.36.0-7+deb12u4 perl-modules-5.36=5.36.0-7+deb12u4 \
	libperl5.36=5.36.0-7+deb12u4 libauthen-sasl-perl=2.1600-3 libio-socket-inet6-perl=2.73-1 \
	libsocket6-perl=0.29-3 libargon2-1=0~20171227-0.3+deb12u1 libbrotli1=1.0.9-2+deb12u1 \
	libcurl4=7.88.1-10+deb12u15 libesmtp6=1.1.0-3.1~deb12u1 libexpat1=2.5.0-1+deb12u5 libffi8=3.4.4-1 \
	libglib2.0-0=2.74.6-2+deb12u9 libgnutls-openssl27=3.7.9-2+deb12u7 libgsasl18=2.2.0-1+deb12u2 \
	libgssglue1=0.7-1.1 libicu72=72.1-3+deb12u1 libidn12=1.41-1 libldap-2.5-0=2.5.13+dfsg-5 \
	libnghttp2-14=1.52.0-1+deb12u3 libntlm0=1.6-4 libpcre2-8-0=10.42-1+deb12u2 libpsl5=0.21.2-1 \
	libreadline8=8.2-1.3 librtmp1=2.4+20151223.gitfa8646d.1-2+b2 libsasl2-2=2.1.28+dfsg-10+deb12u1 \
	libsecret-1-0=0.20.5-3 libsodium23=1.0.18-1+deb12u1 libssh2-1=1.10.0-3+deb12u1 libssl3=3.0.22-1~deb12u2 \
	libtcl8.6=8.6.13+dfsg-2 libuuid1=2.38.1-5+deb12u3 libxml2=2.9.14+dfsg-1.3~deb12u6

export TCL_LIBRARY=$ROOT/usr/share/tcltk/tcl8.6 TCLLIBPATH=$ROOT/usr/share/tcltk/tcllib1.21 HOME=$WORK HELOHOST=a.test
export "LUA_PATH=$ROOT/usr/share/lua/5.1/?.lua" "LUA_CPATH=$ROOT/usr/lib/x86_64-linux-gnu/lua/5.1/?.so"
perl=$ROOT/usr/share/perl5:$ROOT/usr/share/perl/5.36.0:$ROOT/usr/lib/x86_64-linux-gnu/perl5/5.36
export PERL5LIB=$perl:$ROOT/usr/lib/x86_64-linux-gnu/perl/5.36:$ROOT/usr/lib/x86_64-linux-gnu/perl-base
export RUBYLIB=$ROOT/usr/lib/ruby/3.1.0:$ROOT/usr/lib/x86_64-linux-gnu/ruby/3.1.0
RUBYLIB+=:$ROOT/usr/lib/ruby/gems/3.1.0/gems/net-smtp-0.3.1/lib
printf 'To: you@b.test\nSubject: s\n\nthe mail\n' >"$WORK/mail"
printf 'me@a.test\nyou@b.test\n\n' | cat - "$WORK/mail" >"$WORK/envelope"
cat >"$WORK/send.lua" <<'EOT'
local smtp = require("socket.smtp")
smtp.TIMEOUT = 3
local mail = smtp.message({headers = {subject = "s"}, body = "the mail\r\n"})
assert(smtp.send({server = "127.0.0.1", port = tonumber(arg[1]), user = "me", password = "secret",
	from = "<me@a.test>", rcpt = "<you@b.test>", source = mail}))
EOT
cat >"$WORK/send.tcl" <<'EOT'
package require mime
package require smtp
smtp::sendmessage [mime::initialize -canonical text/plain -string "the mail\n"] -servers 127.0.0.1 \
	-ports [lindex $argv 0] -username me -password secret -originator me@a.test -recipients you@b.test
EOT
cat >"$WORK/send.pl" <<'EOT'
use Net::SMTP;
my $server = Net::SMTP->new("127.0.0.1", Port => $ARGV[0], Timeout => 8) or die;
$server->auth("me", "secret") && $server->mail("me\@a.test") && $server->to("you\@b.test")
	&& $server->data("Subject: s\n\nthe mail\n") && $server->quit or die;
EOT
cat >"$WORK/send.py" <<'EOT'
import smtplib
import sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1])) as server:
	server.login("me", "secret")
	server.sendmail("me@a.test", ["you@b.test"], "Subject: s\n\nthe mail\n")
EOT
cat >"$WORK/aio.py" <<'EOT'
import asyncio
import sys
import aiosmtplib
asyncio.run(aiosmtplib.send("Subject: s\n\nthe mail\n", sender="me@a.test", recipients=["you@b.test"],
	hostname="127.0.0.1", port=int(sys.argv[1]), username="me", password="secret"))
EOT
cat >"$WORK/send.rb" <<'EOT'
require "net/smtp"
Net::SMTP.start("127.0.0.1", ARGV[0].to_i, user: "me", secret: "secret", authtype: :plain) do |server|
	server.send_message("Subject: s\n\nthe mail\n", "me@a.test", "you@b.test")
end
EOT
cat >"$WORK/pear.php" <<'EOT'
<?php
require "Net/SMTP.php";
$server = new Net_SMTP("127.0.0.1", (int) $argv[1], "a.test");
foreach ([["connect", 5], ["auth", "me", "secret"], ["mailFrom", "me@a.test"], ["rcptTo", "you@b.test"],
		["data", "Subject: s\r\n\r\nthe mail\r\n"], ["disconnect"]] as $step) {
	if (is_a(call_user_func_array([$server, array_shift($step)], $step), "PEAR_Error")) {
		exit(1);
	}
}
EOT
cat >"$WORK/mailer.php" <<'EOT'
<?php
require "libphp-phpmailer/autoload.php";
$mail = new PHPMailer\PHPMailer\PHPMailer(true);
$mail->isSMTP();
[$mail->Host, $mail->Port, $mail->SMTPAuth, $mail->Username, $mail->Password] =
	["127.0.0.1", (int) $argv[1], true, "me", "secret"];
$mail->setFrom("me@a.test");
$mail->addAddress("you@b.test");
$mail->Body = "the mail";
$mail->send();
EOT
cat >"$WORK/try.py" <<'EOT'
import concurrent.futures
import os
import socket
import subprocess
import sys
import threading

WORK, ROOT = sys.argv[1], os.environ["ROOT"]
SERVERS = ("as most do", "a greeting that ends with 220 alone", "codes alone", "251 to RCPT", "259 to the mail", "auth")
PHP = f"usr/bin/php8.2 -n -d include_path={ROOT}/usr/share/php"
CLIENTS = {
	"msmtp": "usr/bin/msmtp --host=127.0.0.1 --port=PORT --tls=off --auth=plain --user=me --passwordeval=cat\t"
		f"{WORK}/secret --from=me@a.test you@b.test",
	"swaks": "usr/bin/perl usr/bin/swaks --server 127.0.0.1 --port PORT --from me@a.test --to you@b.test"
		f" --body {WORK}/mail --timeout 3 --auth --auth-user me --auth-password secret",
	"nullmailer": f"usr/lib/nullmailer/smtp 3<{WORK}/envelope",
	"esmtp": "usr/bin/esmtp -C CONF -f me@a.test you@b.test",
	"ssmtp": "usr/sbin/ssmtp -C CONF -f me@a.test you@b.test",
	"sendEmail": "usr/bin/perl usr/bin/sendEmail -s 127.0.0.1:PORT -f me@a.test -t you@b.test -u s -m the\tmail"
		" -o tls=no -xu me -xp secret",
	"s-nail": "usr/bin/s-nail -:/ -Sv15-compat -Smta=smtp://me:secret@127.0.0.1:PORT -Sfrom=me@a.test -s s you@b.test",
	"curl": f"usr/bin/curl smtp://me:secret@127.0.0.1:PORT --mail-from me@a.test --mail-rcpt you@b.test -T {WORK}/mail",
	"smtplib": f"usr/bin/python3.11 {WORK}/send.py PORT",
	"aiosmtplib": f"usr/bin/python3.11 {WORK}/aio.py PORT",
	"Net::SMTP": f"usr/bin/perl {WORK}/send.pl PORT",
	"Ruby": f"usr/bin/ruby3.1 {WORK}/send.rb PORT",
	"tcllib": f"usr/bin/tclsh8.6 {WORK}/send.tcl PORT",
	"LuaSocket": f"usr/bin/lua5.1 {WORK}/send.lua PORT",
	"Net_SMTP": f"{PHP} {WORK}/pear.php PORT",
	"PHPMailer": f"{PHP} {WORK}/mailer.php PORT",
}

def converse(s, what, got):
	with s, s.makefile("rb") as lines:
		def say(*replies):
			s.sendall("".join(reply + "\r\n" for reply in replies).encode())
		text = "" if what == "codes alone" else " as you like"
		say(*["220-b.test", "220"] if what == SERVERS[1] else ["220 b.test"])
		for line in lines:
			command = line[:4].upper()
			if command == b"EHLO":
				say("250-b.test", ("250-auth" if what == "auth" else "250-AUTH") + " PLAIN LOGIN", "250 8BITMIME")
			elif command == b"AUTH":
				if line.split()[1:] == [b"PLAIN"]:
					say("334 ")
					lines.readline()
				elif line.split()[1] == b"LOGIN":
					for question in ("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6")[len(line.split()) - 2:]:
						say(question)
						lines.readline()
				say("235" + text)
				got.append("login")
			elif command == b"RCPT" and what == "251 to RCPT":
				say("251 not here, I take it on to <you@c.test>")
			elif command == b"DATA":
				say("354" + text)
				if b"the mail" in b"".join(iter(lines.readline, b".\r\n")):
					got.append("mail")
				say("259 as you like" if what == "259 to the mail" else "250" + text)
			else:
				say({b"HELO": "250 b.test", b"QUIT": "221 b.test"}.get(command, "250" + text))

def serve(listener, what, got):
	while True:
		try:
			converse(listener.accept()[0], what, got)
		except OSError:
			pass  # it has gone

def run(name, what):
	got = []
	listener = socket.create_server(("127.0.0.1", 0))
	threading.Thread(target=serve, args=(listener, what, got), daemon=True).start()
	port = str(listener.getsockname()[1])
	settings = {"esmtp": f"hostname=127.0.0.1:{port}\n",
		"nullmailer": f"host=127.0.0.1\nport={port}\nuser=me\npass=secret\n\n",
		"ssmtp": f"mailhub=127.0.0.1:{port}\nhostname=a.test\nFromLineOverride=YES\nAuthUser=me\nAuthPass=secret\n"}
	with open(f"{WORK}/{name}.{port}", "w") as f:
		f.write(settings.get(name, ""))
	words = CLIENTS[name].replace("PORT", port).replace("CONF", f.name).split(" ")
	words = [(ROOT + "/" if word.startswith("usr/") else "") + word.replace("\t", " ") for word in words]
	if name == "nullmailer":
		words = ["sh", "-c", "exec " + " ".join(words)]
	env = os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}
	if "python3.11" in words[0]:
		env |= {"PYTHONHOME": ROOT + "/usr", "PYTHONPATH": ROOT + "/usr/lib/python3/dist-packages"}
	with open(f.name if name == "nullmailer" else WORK + "/mail") as f:
		try:
			status = subprocess.run(words, env=env, cwd=WORK, stdin=f, stdout=subprocess.DEVNULL,
				stderr=subprocess.DEVNULL, timeout=25, check=False).returncode
		except subprocess.TimeoutExpired:
			status = None
	if "mail" not in got:
		return "sent by" if status == 0 else "not sent by"
	return "sent, and not so said, by" if status else "" if "login" in got or name == "esmtp" else "sent without login by"

with open(WORK + "/secret", "w") as f:
	f.write("secret\n")
with concurrent.futures.ThreadPoolExecutor(4) as pool:
	for what in SERVERS:
		said = list(pool.map(lambda name, what=what: run(name, what), CLIENTS))
		for wrong in sorted(set(said) - {""}):
			names = ", ".join(name for name, how in zip(CLIENTS, said) if how == wrong)
			print(f"{what}: {wrong} {names}", flush=True)
		if not any(said):
			print(f"{what}: sent", flush=True)
os._exit(0)
EOT
seen=$(inside /usr/bin/python3 "$WORK/try.py" "$WORK")

verdict "each: sent" "as most do: sent
a greeting that ends with 220 alone: not sent by msmtp, swaks, esmtp, s-nail, LuaSocket
codes alone: not sent by msmtp, swaks, esmtp, s-nail
251 to RCPT: not sent by swaks
259 to the mail: sent, and not so said, by msmtp, swaks, curl, smtplib, aiosmtplib, tcllib, Net_SMTP, PHPMailer
auth: not sent by swaks, LuaSocket, Net_SMTP, PHPMailer
auth: sent without login by sendEmail, curl, tcllib" "$seen"
