/* SPDX-License-Identifier: MIT */
/*
 * line.h - hands every frame of one interface to another one, and the other way round, some time
 * later; on the way somebody may look at it. For delay-line and middlebox.
 *
 * Frames pass with their virtio header, so large unsegmented ones and those whose checksum is
 * still to be computed come out as they went in. SIGUSR1 cuts the line, so that neither end
 * knows; SIGUSR2 mends it. A failure ends the program with a message.
 */
#ifndef LAB_LINE_H
#define LAB_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A frame, its virtio header first. It may change it, and make it shorter. False: it is lost. */
typedef bool line_touch_fn(uint8_t *frame, size_t *len);

/* Prints "ready" when it works. touch: NULL for a plain line. */
_Noreturn void line_run(const char *interface1, const char *interface2, int64_t delay_ns,
			line_touch_fn *touch);

#endif
