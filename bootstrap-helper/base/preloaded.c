// SPDX-License-Identifier: MIT
#include "base.h"

#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file.h"

#define PRELOAD_FILE "/etc/ld.so.preload"
#define LIBRARY	     "libconvert-preload.so"
#define SIZE_MOST    (1 << 16)

/* Entries are separated by white space or colons, # begins a comment (ld.so(8)). */
static bool find(char *text, char *name, size_t size)
{
	char *line, *word;

	while ((line = strsep(&text, "\n"))) {
		line[strcspn(line, "#")] = '\0';
		while ((word = strsep(&line, " \t\r:")))
			if (strstr(word, LIBRARY)) {
				snprintf(name, size, "%s", word);
				return true;
			}
	}
	return false;
}

bool preloaded_name(char *name, size_t size)
{
	struct file_bytes f;
	bool found;

	*name = '\0';
	if (file_read(&f, PRELOAD_FILE, SIZE_MOST) < 0)
		return false;
	f.bytes[f.len] = '\0';
	found = find(f.bytes, name, size);
	file_free(&f);
	return found;
}

static int is_it(struct dl_phdr_info *object, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	return strstr(object->dlpi_name, LIBRARY) != NULL;
}

/* Where a name without a folder is, or one with $LIB, the loader knows: it has loaded it into us, too. */
int preloaded_error(const char *name)
{
	if (*name == '/' && !strchr(name, '$'))
		return access(name, R_OK) < 0 ? errno : 0;
	return dl_iterate_phdr(is_it, NULL) ? 0 : ENOENT;
}
