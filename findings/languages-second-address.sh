#!/bin/bash
# SPDX-License-Identifier: MIT
# A name may have several addresses, and an application should try them until one serves (RFC 1123, 2.3), as bash, Tcl
# and gawk do. The languages whose call takes the name itself decide that for their programs, and of twenty eleven try
# one address: where it refuses, the server is down. It matters where a server leaves one of its addresses, or is on
# IPv4 alone and its name has IPv6 too. LuaSocket means to go on, but with the socket that was refused, which Linux
# then says ECONNABORTED of; with an address of the other kind it takes a new socket, and is served.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch bash=5.2.15-2+b13 ksh93u+m=1.0.4-3 zsh=5.9-4+b15 yash=2.52-2 gawk=1:5.2.1-2 tcl8.6=8.6.13+dfsg-2 \
	libtcl8.6=8.6.13+dfsg-2 jimsh=0.81+dfsg0-2 libjim0.81=0.81+dfsg0-2 lua5.1=5.1.5-9 lua-socket=3.1.0-1+b1 \
	perl-base=5.36.0-7+deb12u4 slsh=2.3.3-3 libslang2=2.3.3-3 libslang2-modules=2.3.3-3 newlisp=10.7.5-2+b2 \
	libffi8=3.4.4-1 picolisp=23.2-1 clisp=1:2.49.20210628.gitde01f0f-3 libffcall1b=2.4-2 \
	libsigsegv2=2.14-1 chicken-bin=5.3.0-1 libchicken11=5.3.0-1 gambc=4.9.3-1.2+b1 libgambit4=4.9.3-1.2+b1 \
	guile-3.0=3.0.8-2 guile-3.0-libs=3.0.8-2 libgc1=1:8.2.2-3 mit-scheme=12.1-3 pike8.0-core=8.0.1738-1+b2 \
	swi-prolog-core=9.0.4+dfsg-2 swi-prolog-core-packages=9.0.4+dfsg-2 swi-prolog-nox=9.0.4+dfsg-2 \
	libtcmalloc-minimal4=2.10-1 gprolog=1.4.5.0-3 libmpfr6=4.2.0-1 libreadline8=8.2-1.3 libssl3=3.0.22-1~deb12u2

lib=$ROOT/usr/lib/x86_64-linux-gnu
export HOME=$WORK PATH=$ROOT/usr/lib/gprolog/bin:$PATH TCL_LIBRARY=$ROOT/usr/share/tcltk/tcl8.6
export "LUA_PATH=$ROOT/usr/share/lua/5.1/?.lua" "LUA_CPATH=$lib/lua/5.1/?.so" PERL5LIB=$lib/perl-base
export SLSH_PATH=$ROOT/usr/share/slsh SLANG_MODULE_PATH=$lib/slang/v2/modules
export PIKE_MODULE_PATH=$ROOT/usr/lib/pike8.0/modules
export CHICKEN_REPOSITORY_PATH=$ROOT/var/lib/chicken/11:$lib/chicken/11
export GUILE_LOAD_PATH=$ROOT/usr/share/guile/3.0 GUILE_LOAD_COMPILED_PATH=$lib/guile/3.0/ccache
# what each prints is one line of the server's
write() {
	cat >"$WORK/$1"
}
write a.sh <<'EOT'
exec 3<>/dev/tcp/$1/7000; read -r line <&3; echo "$line"
EOT
write a.zsh <<'EOT'
module_path=($ROOT/usr/lib/x86_64-linux-gnu/zsh/5.9)
zmodload zsh/net/tcp; ztcp $1 7000; read -r line <&$REPLY; print $line
EOT
write a.awk <<'EOT'
BEGIN { server = "/inet/tcp/0/" ARGV[1] "/7000"; server |& getline line; print line }
EOT
write a.tcl <<'EOT'
puts [gets [socket [lindex $argv 0] 7000]]
EOT
write a.jim <<'EOT'
puts [gets [socket stream [lindex $argv 0]:7000]]
EOT
write a.lua <<'EOT'
print(assert(require("socket").connect(arg[1], 7000)):receive())
EOT
write a.pl <<'EOT'
use IO::Socket::IP;
print IO::Socket::IP->new("$ARGV[0]:7000")->getline;
EOT
write a.sl <<'EOT'
import("socket");
define slsh_main() {
	variable s = socket(PF_INET, SOCK_STREAM, 0), line;
	connect(s, __argv[1], 7000); () = read(s, &line, 100); () = printf("%s\n", line);
}
EOT
write a.lsp <<'EOT'
(net-receive (net-connect (main-args 2) 7000) line 100) (println line) (exit)
EOT
write a.l <<'EOT'
(let S (connect (opt) 7000) (in S (prinl (line T)))) (bye)
EOT
write a.clisp <<'EOT'
(princ (read-line (socket:socket-connect 7000 (car ext:*args*))))
EOT
write a.csi <<'EOT'
(import (chicken tcp) (chicken io) (chicken process-context))
(let-values (((in out) (tcp-connect (car (command-line-arguments)) 7000))) (print (read-line in)))
EOT
write a.gsi <<'EOT'
(display (read-line (open-tcp-client (list server-address: (cadddr (command-line)) port-number: 7000))))
EOT
write a.guile <<'EOT'
(use-modules (web client) (ice-9 rdelim))
(display (read-line (open-socket-for-uri (string-append "http://" (cadr (command-line)) ":7000"))))
EOT
write a.mit <<'EOT'
(display (read-line (open-tcp-stream-socket (car (command-line-arguments)) 7000))) (exit)
EOT
write a.pike <<'EOT'
int main(int words, array word) { object s = Stdio.FILE(); s->connect(word[1], 7000); write(s->gets()); return 0; }
EOT
write a.swi <<'EOT'
:- use_module(library(socket)).
:- use_module(library(readutil)).
main :-
	current_prolog_flag(argv, [_, Name]),
	tcp_connect(Name:7000, S, []), read_line_to_string(S, Line), writeln(Line).
EOT
write a.pro <<'EOT'
:- initialization(main).
main :- argument_value(1, Name), socket('AF_INET', S), socket_connect(S, 'AF_INET'(Name, 7000), In, _), copy(In).
copy(In) :- get_char(In, C), (C == '\n' -> nl, halt ; write(C), copy(In)).
EOT
write hosts <<'EOT'
192.0.2.128 one.test
192.0.2.3 two.test
192.0.2.128 two.test
2001:db8::3 six.test
192.0.2.128 six.test
EOT
write try.py <<'EOT'
import concurrent.futures
import os
import socket
import subprocess
import sys
import threading

WORK, ROOT = sys.argv[1], os.environ["ROOT"]
PIKE, SWI, CLISP = ROOT + "/usr/lib/pike8.0", ROOT + "/usr/lib/swi-prolog", ROOT + "/usr/lib/clisp-2.49.93+/base"
LANGUAGES = {
	"bash": "bin/bash a.sh",
	"ksh": "bin/ksh93 a.sh",
	"zsh": "bin/zsh -f a.zsh",
	"yash": "usr/bin/yash a.sh",
	"gawk": "usr/bin/gawk -f a.awk",
	"Tcl": "usr/bin/tclsh8.6 a.tcl",
	"Jim": "usr/bin/jimsh a.jim",
	"LuaSocket": "usr/bin/lua5.1 a.lua",
	"IO::Socket::IP": "usr/bin/perl a.pl",
	"S-Lang": "usr/bin/slsh a.sl",
	"newLISP": "usr/bin/newlisp a.lsp",
	"PicoLisp": f"usr/bin/picolisp {ROOT}/usr/lib/picolisp/lib.l {ROOT}/usr/lib/picolisp/lib/net.l a.l",
	"CLISP": f"usr/lib/clisp-2.49.93+/base/lisp.run -M {CLISP}/lispinit.mem -q -norc a.clisp",
	"CHICKEN": "usr/bin/csi -s a.csi",
	"Gambit": "usr/bin/gsi a.gsi -",
	"Guile's web client": "usr/bin/guile-3.0 --no-auto-compile a.guile",
	"MIT Scheme": f"usr/bin/mit-scheme-x86-64 --library {ROOT}/usr/lib/x86_64-linux-gnu/mit-scheme --quiet --load a.mit"
		" --args",
	"Pike": f"usr/bin/pike8.0 -m{PIKE}/master.pike -I{PIKE}/include a.pike",
	"SWI-Prolog": f"usr/lib/swi-prolog/bin/x86_64-linux/swipl --home={SWI} -g main -t halt a.swi --",
	"GNU Prolog": "usr/lib/gprolog/bin/gprolog --consult-file a.pro --",
}

def serve(listener):
	while True:
		listener.accept()[0].sendall(b"served\n")

def ask(language, name):
	words = [*LANGUAGES[language].split(), name]
	return b"served" in subprocess.run([ROOT + "/" + words[0], *words[1:]], cwd=WORK, stdin=subprocess.DEVNULL,
		env=os.environ | {"LD_LIBRARY_PATH": os.environ["LIBS"]}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
		timeout=25, check=False).stdout

listener = socket.create_server(("192.0.2.128", 7000))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
with concurrent.futures.ThreadPoolExecutor(3) as pool:
	for name in "one.test", "two.test", "six.test":
		print(*dict.fromkeys(a[4][0] for a in socket.getaddrinfo(name, 7000)), end=": ", flush=True)
		served = list(pool.map(lambda language, name=name: ask(language, name), LANGUAGES))
		down = [language for language, good in zip(LANGUAGES, served) if not good]
		print("down for " + ", ".join(down) if down else "served", flush=True)
os._exit(0)
EOT
write try <<'EOT'
mount --bind hosts /etc/hosts
ip link add v0 type veth peer name v1
ip address add 192.0.2.3/24 dev v0
ip address add 192.0.2.128/24 dev v0
ip address add 2001:db8::3/64 dev v0 nodad
ip link set v1 up
ip link set v0 up
/usr/bin/python3 try.py "$PWD"
EOT
cd "$WORK" || exit 2
seen=$(inside unshare --mount sh "$WORK/try")

verdict "each: served" "192.0.2.128: served
192.0.2.3 192.0.2.128: down for yash, Jim, LuaSocket, newLISP, CLISP, CHICKEN, Gambit, MIT Scheme, Pike, SWI-Prolog, \
GNU Prolog
2001:db8::3 192.0.2.128: down for yash, Pike" "$seen"
