/* SPDX-License-Identifier: MIT */
/*
 * standard.h - the numbers 0, 1 and 2, which whoever has started us may have closed.
 */
#ifndef CVT_STANDARD_H
#define CVT_STANDARD_H

/* First of all: what is opened next would have such a number, and what is said on standard error would be written
 * there. It is taken by what fails to be read and written as before, and is closed for a program that we become. */
void standard_take(void);

#endif
