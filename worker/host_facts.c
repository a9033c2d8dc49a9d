/* host_facts.c - from /proc. */
#include "worker/host_facts.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct memory_use host_memory(void)
{
	unsigned long long vms = 0, rss = 0;
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	FILE *f = fopen("/proc/self/statm", "re");
	if (f && fscanf(f, "%llu %llu", &vms, &rss) != 2)
		vms = rss = 0;
	if (f)
		fclose(f);
	return (struct memory_use) { rss * page, vms * page };
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
