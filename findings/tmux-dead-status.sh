#!/bin/bash
# SPDX-License-Identifier: MIT
# With remain-on-exit a pane of tmux stays when its command has ended, and says how: a program that
# drives tmux (a test, say) waits for pane_dead_status or pane_dead_signal. It may wait for ever:
# the pane is dead, and its command a zombie that tmux never asks for. When a pane's terminal is
# closed, libutempter runs a helper and has SIGCHLD at its default meanwhile; of what ends just then
# tmux is not told. (It looks of itself after the helper of a pane's beginning, not of its end.)
# A plain command is caught now and then, more often on a busy machine. The one here closes its
# terminal and ends when it sees the helper. Any later SIGCHLD makes tmux look, so a kill does.
# shellcheck source=/dev/null
. "$(dirname "$0")/lib.sh"
machine
fetch tmux=3.3a-3 libutempter0=1.2.1-3 libevent-core-2.1-7=2.1.12-stable-8 libtinfo6=6.4-4

seen=$(inside unshare --mount-proc python3 - "$WORK" <<'PY'
import os
import signal
import subprocess
import sys
import time

COMMAND = """
sleep 0.3
read -r before <%(children)s
exec <&- >&- 2>&-
while read -r now <%(children)s; [ "$now" = "$before" ]; do :; done
exit 3
"""
ENV = {"LD_LIBRARY_PATH": os.environ["LIBS"], "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8",
	"TERM": "screen", "SHELL": "/bin/sh"}

def tmux(*words):
	return subprocess.run([os.environ["ROOT"] + "/usr/bin/tmux", "-S", sys.argv[1] + "/socket",
		"-f", "/dev/null", *words], env=ENV, capture_output=True, text=True, check=True).stdout.strip()

def told(pane, seconds):
	"""What tmux says of the pane, once it says how its command has ended, or at last."""
	end = time.monotonic() + seconds
	while True:
		dead, status, by = tmux("display", "-p", "-t", pane,
			"#{pane_dead}/#{pane_dead_status}/#{pane_dead_signal}").split("/")
		if status or by or time.monotonic() > end:
			break
		time.sleep(0.05)
	return (("dead" if dead == "1" else "alive") + (", status " + status if status else "")
		+ (", signal " + by if by else ""))

tmux("new-session", "-d", "sleep 1000")
tmux("set", "-g", "remain-on-exit", "on")
server = int(tmux("display", "-p", "#{pid}"))
command = COMMAND % {"children": "/proc/%d/task/%d/children" % (server, server)}
limit = time.monotonic() + 30
tries = 0
while True:
	tries += 1
	pane = tmux("new-window", "-d", "-P", "-F", "#{pane_id}", command)
	said = told(pane, 3)
	if said == "dead" or time.monotonic() > limit:
		break
print("seen at try", tries, file=sys.stderr)
print("after 3 s:", said)
os.kill(server, signal.SIGCHLD)
print("and after a SIGCHLD:", told(pane, 3))
tmux("kill-server")
PY
)

verdict "after 3 s: dead, status 3
and after a SIGCHLD: dead, status 3" "after 3 s: dead
and after a SIGCHLD: dead, status 3" "$seen"
