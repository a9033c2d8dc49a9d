/* host_facts.c - from /proc. */
#include "worker/host_facts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct memory_use host_memory(void)
{
	char line[128] = "", *at = line;
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	FILE *f = fopen("/proc/self/statm", "re");
	if (f && !fgets(line, sizeof line, f))
		line[0] = '\0';
	if (f)
		fclose(f);
	const uint64_t vms = strtoull(at, &at, 10), rss = strtoull(at, &at, 10);
	const uint64_t shared = strtoull(at, NULL, 10);
	return (struct memory_use) { rss * page, vms * page, shared * page };
}

void host_cpu_name(char *out, size_t n_bytes)
{
	static const char key[] = "model name";
	char line[256];
	FILE *f = fopen("/proc/cpuinfo", "re");
	snprintf(out, n_bytes, "unknown");
	while (f && fgets(line, sizeof line, f)) {
		const char *colon = strchr(line, ':');
		if (strncmp(line, key, sizeof key - 1) != 0 || !colon)
			continue;
		colon += strspn(colon, ": \t");
		snprintf(out, n_bytes, "%.*s", (int)strcspn(colon, "\n"), colon);
		break;
	}
	if (f)
		fclose(f);
}
