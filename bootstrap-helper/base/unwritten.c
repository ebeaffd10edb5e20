// SPDX-License-Identifier: MIT
#include "unwritten.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state_place.h"
#include "state_slot.h"

bool unwritten_is_strange(int fd)
{
	static const uint8_t none[STATE_HEADER_LEN];
	uint8_t ours[STATE_HEADER_LEN], header[STATE_HEADER_LEN] = { 0 };
	struct stat st;

	state_header(ours);
	if (pread(fd, header, sizeof(header), 0) < 0)
		return true;
	if (memcmp(header, ours, sizeof(ours)) == 0)
		return false;
	return memcmp(header, none, sizeof(none)) != 0 || fstat(fd, &st) < 0 ||
	       st.st_size > STATE_FILE_MAX;
}

/* Once more as a program opens it, which says most; what can be opened and cannot be written has no room. */
void unwritten_complain(int err)
{
	int fd = state_place_make();
	const char *why = fd < 0		   ? strerror(-fd) :
			  err == -EAGAIN	   ? "another process has it locked" :
			  unwritten_is_strange(fd) ? "no state file of this version" :
			  !err || err == -EBADF || err == -ENOSPC ? "expected room for it" :
								    strerror(-err);

	if (fd >= 0)
		close(fd);
	fprintf(stderr, "%s: cannot be written: %s\n", state_path(), why);
}
