#!/bin/bash
# SPDX-License-Identifier: MIT
# unbuffer (of expect) runs a command behind a terminal, and says the command's exit status; but 0 where a signal
# ended the command: for want of memory, by a timeout, or by a fault of its own. `script -qec`, which does the same
# work, says 128 and the signal's number, as a shell does. It matters to a build or a test that is run so to see
# its output in time: that it was killed looks like success.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch expect=5.45.4-2+b1 tcl-expect=5.45.4-2+b1 libtcl8.6=8.6.13+dfsg-2 bsdutils=1:2.38.1-5+deb12u3

export TCL_LIBRARY=$ROOT/usr/share/tcltk/tcl8.6
# unbuffer's first line asks for a tclsh that is installed
cat >"$WORK/try" <<'EOF'
export LD_LIBRARY_PATH="$LIBS"
for command in "exit 0" "exit 3" 'kill -TERM $$' 'kill -KILL $$'; do
	"$ROOT/usr/bin/expect" "$ROOT/usr/bin/unbuffer" sh -c "$command"
	unbuffer=$?
	"$ROOT/usr/bin/script" -qec "$command" /dev/null </dev/null
	echo "$command: unbuffer $unbuffer, script $?"
done
EOF
seen=$(inside sh "$WORK/try" 2>/dev/null)

# shellcheck disable=SC2016 # the commands' $$
verdict 'exit 0: unbuffer 0, script 0
exit 3: unbuffer 3, script 3
kill -TERM $$: unbuffer 143, script 143
kill -KILL $$: unbuffer 137, script 137' 'exit 0: unbuffer 0, script 0
exit 3: unbuffer 3, script 3
kill -TERM $$: unbuffer 0, script 143
kill -KILL $$: unbuffer 0, script 137' "$seen"
