// SPDX-License-Identifier: MIT
// Says whether the library is in this process.
#define _GNU_SOURCE 1
#include <err.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
	char line[4096];
	int fenced = 0;
	FILE *maps = fopen("/proc/self/maps", "re");

	if (!maps)
		err(1, "/proc/self/maps");
	while (fgets(line, sizeof line, maps))
		fenced |= strstr(line, "libportfence.so") != NULL;
	puts(fenced ? "fenced" : "unfenced");
	return 0;
}
