#!/bin/bash
# SPDX-License-Identifier: MIT
# Every libc has inet_pton() and inet_ntop(), and one would take them for alike by now. klibc's inet_pton() reads
# none of these IPv6 addresses, though one is of the form that its inet_ntop() writes, which has no "::". dietlibc
# refuses an IPv4 address in the last third where no "::" goes before it (RFC 4291, 2.2, form 3), and its inet_ntop()
# shortens the first zeros that it meets, be it a single one (against RFC 5952, 4.2.2 and 4.2.3). musl writes
# ::1.2.3.4 as ::102:304. It matters to whoever configures a static program by address, or compares logs as text.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
gcc --version | head -n 1
fetch dietlibc-dev=0.34~cvs20160606-14 libklibc-dev=2.0.12-1 musl-dev=1.2.3-1

cat >"$WORK/addresses.c" <<'EOT'
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

static const char *const texts[] = { "1.2.3.4", "::", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4" };
static const unsigned char addresses[][16] = {
	{ [15] = 1 },
	{ [10] = 255, 255, 1, 2, 3, 4 },
	{ [12] = 1, 2, 3, 4 },
	{ 0, 1, 0, 0, 0, 0, 0, 2, [15] = 3 },
	{ 0, 1, 0, 0, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7 },
};

int main(void)
{
	unsigned char room[16];
	char text[64];
	unsigned int i;

	printf("does not read");
	for (i = 0; i < 5; i++)
		if (inet_pton(i ? AF_INET6 : AF_INET, texts[i], room) != 1)
			printf(" %s", texts[i]);
	printf("\nwrites");
	for (i = 0; i < 5; i++)
		printf(" %s", inet_ntop(AF_INET6, addresses[i], text, sizeof(text)));
	printf("\n");
	return 0;
}
EOT

# by the libc that is there, and by each of the others alone
build() {
	gcc -O1 -fno-stack-protector -U_FORTIFY_SOURCE -no-pie -fno-pie -static "$@" -lgcc 2>"$WORK/warnings" || {
		cat "$WORK/warnings" >&2
		exit 2
	}
}
cd "$WORK" || exit
own="-nostdinc -nostdlib -isystem $(gcc -print-file-name=include)"
kernel="-idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu"
diet=$ROOT/usr/lib/x86_64-linux-gnu/diet/lib-x86_64
musl=$ROOT/usr/lib/x86_64-linux-musl
klibc=$ROOT/usr/lib/klibc
build -o glibc addresses.c
# shellcheck disable=SC2086 # words
{
	build $own -isystem "$ROOT/usr/include/diet" -o dietlibc addresses.c "$diet/start.o" "$diet/libc.a" -lgcc \
		"$diet/libc.a"
	build $own -isystem "$klibc/include/arch/x86_64" -isystem "$klibc/include/bits64" -isystem "$klibc/include" \
		$kernel -D__KLIBC__=2 -D_BITSIZE=64 -o klibc addresses.c "$klibc/lib/crt0.o" "$klibc/lib/libc.a" -lgcc \
		"$klibc/lib/libc.a"
	build $own -isystem "$ROOT/usr/include/x86_64-linux-musl" -o musl addresses.c "$musl/crt1.o" "$musl/crti.o" \
		"$musl/libc.a" "$musl/crtn.o"
}
seen=$(for libc in glibc musl dietlibc klibc; do ./$libc | sed "s/^/$libc /"; done)

all="writes ::1 ::ffff:1.2.3.4 ::1.2.3.4 1:0:0:2::3 1:0:2:3:4:5:6:7"
verdict "$(for libc in glibc musl dietlibc klibc; do printf '%s does not read\n%s %s\n' $libc $libc "$all"; done)" \
	"glibc does not read
glibc $all
musl does not read
musl writes ::1 ::ffff:1.2.3.4 ::102:304 1:0:0:2::3 1:0:2:3:4:5:6:7
dietlibc does not read 1:2:3:4:5:6:1.2.3.4
dietlibc writes ::1 ::ffff:1.2.3.4 ::102:304 1::2:0:0:0:3 1::2:3:4:5:6:7
klibc does not read :: 1:2:3:4:5:6:7:8 ::ffff:1.2.3.4 1:2:3:4:5:6:1.2.3.4
klibc writes 0:0:0:0:0:0:0:1 0:0:0:0:0:ffff:102:304 0:0:0:0:0:0:102:304 1:0:0:2:0:0:0:3 1:0:2:3:4:5:6:7" "$seen"
