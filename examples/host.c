/* host.c - a complete host in C and json-c: load, tokenize, stream a text, cancel another.
 * cc -D_GNU_SOURCE -I/usr/include/json-c examples/host.c -ljson-c && ./a.out build/tandem */
#include <fcntl.h>
#include <json.h>
#include <json_pointer.h>
#include <stdio.h>
#include <unistd.h>
static FILE *to, *from; /* tandem's stdin and stdout */

/* Send; print each chunk's text up to the message that has `member`, then that. */
static void ask(const char *method, const char *params, const char *member)
{
	char line[1 << 16];
	fprintf(to, "{\"id\":\"%s\",\"method\":\"%s\",\"params\":%s}\n", method, method, params);
	for (int more = !fflush(to); more && fgets(line, sizeof line, from);) {
		struct json_object *v, *m = json_tokener_parse(line);
		for (int i = 0; !json_pointer_getf(m, &v, "/params/tokens/%d/token", i); i++)
			printf("%s", json_object_get_string(v));
		if (!json_pointer_get(m, "/params/token", &v))
			printf("%s", json_object_get_string(v));
		if (!(more = json_pointer_get(m, member, &v)))
			printf("\n%s: %s\n", method, json_object_get_string(v));
		json_object_put(m);
	}
}
int main(int argc, char **argv)
{
	int in[2], out[2]; /* pipes to tandem and from it */
	if (argc < 2 || pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		return 1;
	if (!fork())
		return dup2(in[0], 0), dup2(out[1], 1), execv(argv[1], argv + 1);
	to = fdopen(in[1], "w");
	from = fdopen(out[0], "r");
	ask("load_model", "[\"m\",\"models/novel-7m\"]", "/result/state");
	ask("tokenize", "[\"m\",\"It was a cold evening\"]", "/result/tokens");
	ask("generate", "[\"m\",\"It was a cold evening\"]", "/params/finish_reason");
	ask("generate", "[\"m\",\"Once upon a time\"]", "/result/stream_id");
	ask("cancel", "{\"id\":\"generate\"}", "/params/finish_reason");
}
