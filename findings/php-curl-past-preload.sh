#!/bin/bash
# SPDX-License-Identifier: MIT
# A library that is preloaded is to stand before libc for all of a program. PHP 8.2 loads its extensions with
# RTLD_DEEPBIND: each of them, and the libraries that it brings along, looks into its own libraries first, and libc is
# one of these. So a preloaded library sees the sockets of PHP itself, and none of curl's or of the extension "sockets"
# in the same process; nothing is said. libkeepalive switches keepalive on for each TCP socket that a program opens.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch php8.2-cli=8.2.36-1~deb12u1 php8.2-common=8.2.36-1~deb12u1 php8.2-curl=8.2.36-1~deb12u1 \
	libkeepalive0=0.3-2+b1 libcurl4=7.88.1-10+deb12u15 libargon2-1=0~20171227-0.3+deb12u1 \
	libsodium23=1.0.18-1+deb12u1 libedit2=3.1-20221030-2 libldap-2.5-0=2.5.13+dfsg-5 \
	libsasl2-2=2.1.28+dfsg-10+deb12u1 libbrotli1=1.0.9-2+deb12u1 \
	libicu72=72.1-3+deb12u1 libxml2=2.9.14+dfsg-1.3~deb12u6 libpcre2-8-0=10.42-1+deb12u2 \
	libnghttp2-14=1.52.0-1+deb12u3 libpsl5=0.21.2-1 librtmp1=2.4+20151223.gitfa8646d.1-2+b2 \
	libssh2-1=1.10.0-3+deb12u1 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2

cat >"$WORK/client.php" <<'EOT'
<?php
$port = (int)$argv[1];
$held = [];
echo PHP_VERSION, "\n";
$held[] = stream_socket_client("tcp://127.0.0.1:$port");
$held[] = $s = socket_create(AF_INET, SOCK_STREAM, SOL_TCP);
socket_connect($s, "127.0.0.1", $port);
$held[] = $c = curl_init("http://127.0.0.1:$port/");
curl_setopt($c, CURLOPT_CONNECT_ONLY, true);
curl_exec($c);
echo "up\n";
fgets(STDIN);
EOT
cat >"$WORK/watch.py" <<'EOT'
import os
import socket
import subprocess
import sys

work = sys.argv[1]
listener = socket.create_server(("127.0.0.1", 0))
port = str(listener.getsockname()[1])
php = [os.environ["ROOT"] + "/usr/bin/php8.2", "-n", "-d", "extension_dir=" + os.environ["ROOT"] + "/usr/lib/php/20220829",
	"-d", "extension=sockets", "-d", "extension=curl", work + "/client.php", port]
library = os.environ["ROOT"] + "/usr/lib/" + os.environ["KEEPALIVE"]
program = subprocess.Popen(php, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
	env={"LD_LIBRARY_PATH": os.environ["LIBS"], "LD_PRELOAD": library})
print("PHP", program.stdout.readline().strip())
program.stdout.readline()
for how in "stream_socket_client()", "extension sockets", "extension curl":
	peer = listener.accept()[1][1]
	line = subprocess.run(["ss", "-Htno", "sport", "=", f":{peer}"], capture_output=True, text=True, check=True).stdout
	print(how + ":", "keepalive" if "timer:(keepalive" in line else "no keepalive")
program.communicate("\n")
EOT
library=$(cd "$ROOT/usr/lib" && find . -name 'libkeepalive.so*' -type f | sed 's|^\./||' | head -n 1)
seen=$(KEEPALIVE=$library inside python3 "$WORK/watch.py" "$WORK")

verdict "PHP 8.2.36
stream_socket_client(): keepalive
extension sockets: keepalive
extension curl: keepalive" "PHP 8.2.36
stream_socket_client(): keepalive
extension sockets: no keepalive
extension curl: no keepalive" "$seen"
