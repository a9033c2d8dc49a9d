/* host_facts.h - what the operating system says about this process and its CPU. */
#ifndef WORKER_HOST_FACTS_H
#define WORKER_HOST_FACTS_H
#include <stddef.h>
#include <stdint.h>

struct memory_use {
	uint64_t rss, vms; /* bytes; 0 when /proc does not say */
	uint64_t shared;   /* of rss, the part that lies in mapped files */
};
struct memory_use host_memory(void);
void host_cpu_name(char *out, size_t n_bytes); /* "unknown" when /proc does not say */
#endif
