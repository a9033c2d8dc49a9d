#include "worker/model/artifact.h"
#include "worker/model/artifact_format.h"
#include "worker/model/artifact_store.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

static char folder[] = "/tmp/tandem-artifact-XXXXXX";
static char inner[sizeof folder + 16];
static struct artifact_store store;

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(folder));
	snprintf(inner, sizeof inner, "%s/a/weights", folder);
	artifact_store_init(&store, inner, 0);
	cr_assert(artifact_store_prepare(&store));
}

static void tear_down(void)
{
	artifact_store_clear(&store);
	rmdir(inner);
	*strrchr(inner, '/') = '\0';
	rmdir(inner);
	rmdir(folder);
	artifact_store_release(&store);
}

TestSuite(artifact, .init = set_up, .fini = tear_down, .timeout = 60);

static struct artifact_id id_of(const char *word)
{
	return artifact_id_of(word, strlen(word));
}

static struct artifact_claim claim(const char *key)
{
	struct artifact_id id = id_of(key);
	struct artifact_claim c;

	cr_assert_eq(artifact_store_claim(&store, &id, NULL, NULL, &c), 0);
	return c;
}

static void add(struct artifact_claim *c, const char *name, char fill, size_t n)
{
	struct artifact_id id = id_of(name);
	char *room = artifact_add(c->writer, &id, n);

	cr_assert_not_null(room);
	memset(room, fill, n);
}

/* Two parts under the key; the artifact's path. */
static char *pack(const char *key)
{
	struct artifact_claim c = claim(key);
	struct artifact_id id = id_of(key);
	char name[ARTIFACT_HEX_SIZE];
	struct fault f = { 0 };

	cr_assert_not_null(c.writer);
	add(&c, "one", 'x', 100000);
	add(&c, "two", 'y', 7);
	cr_assert_eq(artifact_store_keep(&store, &c, "a model", &f), 0, "%s", f.text);
	artifact_claim_release(&store, &c);
	artifact_id_print(&id, name);
	return artifact_store_path(&store, name, "pack");
}

static const char *part(struct artifact *a, const char *name, size_t n)
{
	struct artifact_id id = id_of(name);
	bool damaged;
	const char *at = artifact_part(a, &id, n, &damaged);

	return damaged ? "damaged" : at;
}

Test(artifact, what_one_load_packed_the_next_one_maps)
{
	free(pack("k"));
	struct artifact_claim c = claim("k");

	cr_assert_not_null(c.artifact);
	cr_assert_null(c.writer);
	cr_assert_eq(artifact_n_parts(c.artifact), 2);
	cr_assert_str_eq(artifact_label(c.artifact), "a model");
	const char *one = part(c.artifact, "one", 100000), *two = part(c.artifact, "two", 7);
	cr_assert(one && one[0] == 'x' && one[99999] == 'x');
	cr_assert(two && memcmp(two, "yyyyyyy", 7) == 0);
	cr_assert_null(part(c.artifact, "two", 8));
	cr_assert_null(part(c.artifact, "three", 7));
	artifact_claim_release(&store, &c);
}

Test(artifact, parts_stay_where_they_were_made_once_they_are_kept)
{
	struct artifact_claim c = claim("k");
	struct artifact_id id = id_of("part");
	struct fault f = { 0 };
	char *room = artifact_add(c.writer, &id, 5);

	memcpy(room, "hello", 5);
	cr_assert_eq(artifact_store_keep(&store, &c, "", &f), 0, "%s", f.text);
	cr_assert_eq(memcmp(room, "hello", 5), 0);
	artifact_claim_release(&store, &c);
}

Test(artifact, a_load_given_up_leaves_nothing)
{
	struct artifact_claim c = claim("k");
	size_t n;

	add(&c, "one", 'x', 10);
	artifact_claim_release(&store, &c);
	free(artifact_store_list(&store, &n));
	cr_assert_eq(n, 0);
	cr_assert_eq(rmdir(inner), 0, "something lies in the folder");
}

static bool flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	char c;
	bool done = pread(fd, &c, 1, at) == 1;

	c ^= 4;
	done = done && pwrite(fd, &c, 1, at) == 1;
	close(fd);
	return done;
}

Test(artifact, any_flipped_bit_of_header_or_index_is_noticed_at_once)
{
	char *path = pack("k");
	struct artifact_id key = id_of("k");
	struct stat st;

	cr_assert_eq(stat(path, &st), 0);
	for (off_t at = 0; at < st.st_size; at += at == 127 ? st.st_size - 80 - 127 : 1) {
		struct artifact *a = NULL;
		struct fault f = { 0 };
		cr_assert(flip(path, at));
		cr_expect_eq(
			artifact_open(path, &key, &a, &f), ERR_MODEL_LOAD, "byte %ld", (long)at);
		cr_expect(strstr(f.text, path), "%s", f.text);
		cr_assert(flip(path, at));
	}
	free(path);
}

Test(artifact, a_file_cut_short_or_grown_is_refused)
{
	char *path = pack("k");
	struct artifact *a = NULL;
	struct stat st;

	cr_assert_eq(stat(path, &st), 0);
	const off_t sizes[] = { st.st_size + 1, st.st_size - 1, st.st_size - 40, 65536, 128, 127, 1,
		0 };
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		cr_assert_eq(truncate(path, sizes[i]), 0);
		cr_expect_eq(
			artifact_open(path, NULL, &a, NULL), ERR_MODEL_LOAD, "%ld", (long)sizes[i]);
	}
	free(path);
}

/* A header that fits its checksum and lies all the same. */
static void lie(
	const char *path, void (*change)(struct artifact_header *h, struct artifact_entry *index))
{
	struct artifact_header h;
	struct artifact_entry index[2];
	struct artifact *a = NULL;
	int fd = open(path, O_RDWR);

	cr_assert_eq(pread(fd, &h, sizeof h, 0), (ssize_t)sizeof h);
	cr_assert_eq(pread(fd, index, sizeof index, (off_t)h.index_at), (ssize_t)sizeof index);
	const off_t at = (off_t)h.index_at;
	change(&h, index);
	h.index_sum = XXH3_64bits(index, sizeof index);
	h.sum = XXH3_64bits(&h, offsetof(struct artifact_header, sum));
	cr_assert_eq(pwrite(fd, index, sizeof index, at), (ssize_t)sizeof index);
	cr_assert_eq(pwrite(fd, &h, sizeof h, 0), (ssize_t)sizeof h);
	close(fd);
	cr_expect_eq(artifact_open(path, NULL, &a, NULL), ERR_MODEL_LOAD);
	cr_expect_null(a);
}

static void far_index(struct artifact_header *h, struct artifact_entry *i)
{
	(void)i;
	h->index_at = UINT64_MAX - 7;
}

static void many_parts(struct artifact_header *h, struct artifact_entry *i)
{
	(void)i;
	h->n_parts = UINT32_MAX;
}

static void part_behind_the_end(struct artifact_header *h, struct artifact_entry *i)
{
	(void)h;
	i[1].n_bytes = UINT64_MAX - 65535;
}

static void part_in_the_header(struct artifact_header *h, struct artifact_entry *i)
{
	(void)h;
	i[0].at = 0;
}

static void crooked_part(struct artifact_header *h, struct artifact_entry *i)
{
	(void)h;
	i[0].at += 8;
}

static void same_id_twice(struct artifact_header *h, struct artifact_entry *i)
{
	(void)h;
	i[1].id = i[0].id;
}

static void endless_label(struct artifact_header *h, struct artifact_entry *i)
{
	(void)i;
	memset(h->label, 'a', sizeof h->label);
}

static void control_label(struct artifact_header *h, struct artifact_entry *i)
{
	(void)i;
	h->label[0] = '\033';
}

static void later_version(struct artifact_header *h, struct artifact_entry *i)
{
	(void)i;
	h->version++;
}

Test(artifact, lies_with_fitting_checksums_are_refused)
{
	void (*const lies[])(struct artifact_header *, struct artifact_entry *) = { far_index,
		many_parts, part_behind_the_end, part_in_the_header, crooked_part, same_id_twice,
		endless_label, control_label, later_version };

	for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
		char *path = pack("k");
		lie(path, lies[i]);
		free(path);
		artifact_store_clear(&store);
	}
}

Test(artifact, another_models_file_under_our_name_is_refused)
{
	char *path = pack("k");
	struct artifact_id other = id_of("other");
	struct artifact *a = NULL;
	struct fault f = { 0 };

	cr_assert_eq(artifact_open(path, &other, &a, &f), ERR_MODEL_LOAD);
	cr_assert(strstr(f.text, "another model"), "%s", f.text);
	free(path);
}

Test(artifact, a_damaged_part_is_found_when_it_is_asked_for_and_only_that_one)
{
	char *path = pack("k");
	struct artifact *a = NULL;
	struct fault f = { 0 };

	cr_assert(flip(path, ARTIFACT_ALIGN + 5000));
	cr_assert_eq(artifact_open(path, NULL, &a, &f), 0, "%s", f.text);
	cr_assert_str_eq(part(a, "one", 100000), "damaged");
	cr_assert_eq(part(a, "two", 7)[6], 'y');
	cr_assert_eq(artifact_verify(a, &f), ERR_MODEL_LOAD);
	cr_assert(strstr(f.text, "damaged") && strstr(f.text, "100000"), "%s", f.text);
	artifact_close(a);
	free(path);
}

Test(artifact, a_damaged_file_is_made_again_by_the_next_claim)
{
	char *path = pack("k");

	cr_assert(flip(path, 20));
	struct artifact_claim c = claim("k");
	cr_assert(c.writer && !c.artifact);
	artifact_claim_release(&store, &c);
	free(pack("k"));
	c = claim("k");
	cr_assert_not_null(c.artifact);
	artifact_claim_release(&store, &c);
	free(path);
}

/* Content put back as it was would hide nothing from a stamp that looks at the time of change. */
Test(artifact, is_verified_once_until_it_changes)
{
	char *path = pack("k");
	struct artifact_claim c = claim("k");

	/* What is trusted is not read again: damage that leaves the stamp as it is goes unseen. */
	struct stat st;
	cr_assert_eq(stat(path, &st), 0);
	artifact_claim_release(&store, &c);
	cr_assert(flip(path, ARTIFACT_ALIGN));
	const struct timespec then[2] = { { .tv_nsec = UTIME_OMIT }, st.st_mtim };
	cr_assert_eq(utimensat(AT_FDCWD, path, then, 0), 0);
	c = claim("k");
	cr_assert_str_neq(part(c.artifact, "one", 100000), "damaged");
	artifact_claim_release(&store, &c);
	/* A change that shows is looked into. */
	const struct timespec now[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };
	cr_assert_eq(utimensat(AT_FDCWD, path, now, 0), 0);
	c = claim("k");
	cr_assert_str_eq(part(c.artifact, "one", 100000), "damaged");
	artifact_claim_release(&store, &c);
	free(path);
}

Test(artifact, two_processes_make_one_file)
{
	struct artifact_claim mine = claim("k");
	int told[2];
	char c;

	cr_assert_not_null(mine.writer);
	cr_assert_eq(pipe(told), 0);
	pid_t child = fork();
	if (child == 0) {
		struct artifact_claim theirs = claim("k"); /* waits for ours */
		c = theirs.artifact && !theirs.writer ? 'r' : 'w';
		_exit(write(told[1], &c, 1) == 1 ? 0 : 1);
	}
	struct fault f = { 0 };
	add(&mine, "one", 'x', 10);
	cr_assert_eq(artifact_store_keep(&store, &mine, "", &f), 0, "%s", f.text);
	cr_assert_eq(read(told[0], &c, 1), 1);
	cr_assert_eq(c, 'r');
	waitpid(child, NULL, 0);
	artifact_claim_release(&store, &mine);
}

static bool never(void *arg)
{
	return ++*(int *)arg < 3;
}

Test(artifact, who_waits_for_another_can_be_called_off)
{
	struct artifact_claim mine = claim("k"), other;
	struct artifact_id key = id_of("k");
	int n_asked = 0;

	cr_assert_eq(artifact_store_claim(&store, &key, never, &n_asked, &other), ERR_CANCELLED);
	cr_assert(n_asked == 3 && !other.artifact && !other.writer);
	artifact_claim_release(&store, &mine);
}

Test(artifact, what_a_dead_process_left_half_made_is_taken_over)
{
	pid_t child = fork();

	if (child == 0) {
		struct artifact_claim c = claim("k");
		add(&c, "one", 'x', 10);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	free(pack("k"));
	struct artifact_claim c = claim("k");
	cr_assert_not_null(c.artifact);
	artifact_claim_release(&store, &c);
}

Test(artifact, a_link_in_the_place_of_the_file_to_be_written_is_not_followed)
{
	char *path = pack("other"), *victim = pack("victim"), *tmp;
	struct artifact_id key = id_of("k");
	char name[ARTIFACT_HEX_SIZE];
	struct stat before, after;

	artifact_id_print(&key, name);
	tmp = artifact_store_path(&store, name, "tmp");
	cr_assert_eq(symlink(victim, tmp), 0);
	cr_assert_eq(stat(victim, &before), 0);
	struct artifact_claim c = claim("k");
	cr_assert(!c.writer && !c.artifact);
	cr_assert_eq(stat(victim, &after), 0);
	cr_assert_eq(before.st_size, after.st_size);
	artifact_claim_release(&store, &c);
	unlink(tmp);
	free(tmp);
	free(path);
	free(victim);
}

static void used_at(const char *path, time_t t)
{
	const struct timespec times[2] = { { .tv_sec = t }, { .tv_nsec = UTIME_OMIT } };

	cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

Test(artifact, the_least_recently_used_go_first_and_strangers_files_stay)
{
	char *old = pack("old"), *newer = pack("newer"), *stranger;
	struct stat st;

	cr_assert_eq(stat(old, &st), 0);
	stranger = artifact_store_path(&store, "notes", "pack");
	close(open(stranger, O_CREAT | O_WRONLY, 0600));
	used_at(old, 2000);
	used_at(newer, 1000); /* made later, used earlier */
	store.max_bytes = (size_t)st.st_size * 2;
	char *third = pack("third");
	cr_assert_eq(access(third, F_OK), 0);
	cr_assert_eq(access(old, F_OK), 0);
	cr_assert_eq(access(newer, F_OK), -1);
	cr_assert_eq(access(stranger, F_OK), 0);
	unlink(stranger);
	free(old);
	free(newer);
	free(third);
	free(stranger);
}

Test(artifact, clearing_spares_what_is_being_made_and_strangers_files)
{
	free(pack("k"));
	struct artifact_claim c = claim("other");
	char *stranger = artifact_store_path(&store, "notes", "ok");
	struct fault f = { 0 };
	size_t n;

	close(open(stranger, O_CREAT | O_WRONLY, 0600));
	add(&c, "one", 'x', 10);
	artifact_store_clear(&store);
	cr_assert_eq(access(stranger, F_OK), 0);
	cr_assert_eq(artifact_store_keep(&store, &c, "", &f), 0, "%s", f.text);
	artifact_claim_release(&store, &c);
	free(artifact_store_list(&store, &n));
	cr_assert_eq(n, 1);
	unlink(stranger);
	free(stranger);
}

Test(artifact, using_one_makes_it_recent)
{
	char *path = pack("k");
	size_t n;

	used_at(path, 1000);
	struct artifact_claim c = claim("k");
	artifact_claim_release(&store, &c);
	struct artifact_listed *list = artifact_store_list(&store, &n);
	cr_assert(n == 1 && list[0].used.tv_sec > 1000);
	free(list);
	free(path);
}

Test(artifact, a_folder_that_cannot_be_made_only_costs_the_keeping)
{
	struct artifact_store nowhere;

	artifact_store_init(&nowhere, "/proc/nowhere/weights", 0);
	cr_assert_not(artifact_store_prepare(&nowhere));
	artifact_store_release(&nowhere);
}
