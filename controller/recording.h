/* recording.h - a record (record.h) read back. */
#ifndef CONTROLLER_RECORDING_H
#define CONTROLLER_RECORDING_H
#include "controller/record.h"
#include "protocol/json_scan.h"

struct recorded {
	enum record_dir dir;
	struct json_span
		text; /* the frame as it was; no more than bytes, for one that was no JSON */
	bool is_json;
	char *owned; /* of a frame that was kept as text or hex */
};

struct recording {
	char *bytes;    /* of the file */
	char **options; /* owned, NULL-terminated; [0] is "tandem" */
	size_t n_options;
	struct recorded *frames;
	size_t n_frames;
	uint64_t n_lost;
	bool is_whole; /* it has its end */
};

/* 0, or the fault: no file, no record, a line that is none. A last line cut short, as a kill -9
 * leaves it, is left out. */
int recording_open(struct recording *r, const char *path, struct fault *f);
void recording_release(struct recording *r);
#endif
