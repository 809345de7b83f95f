// SPDX-License-Identifier: MIT
/*
 * test_region.c - which file descriptors become regions, with which rights and sizes.
 */
#include <errno.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "../../broker/fault_fixup.h"
#include "../../broker/region.h"
#include "core_util.h"

#define SIZE (64u << 10)

static char err[160];

static int try_map(int fd, uint64_t size, bool readonly, struct region **out)
{
	*out = NULL;
	snprintf(err, sizeof(err), "unset");
	return region_map(out, fd, size, readonly, err, sizeof(err));
}

static void expect_refusal(int fd, uint64_t size, int error, const char *text)
{
	struct region *r;

	ck_assert_int_eq(try_map(fd, size, false, &r), error);
	ck_assert_ptr_null(r);
	ck_assert_msg(strstr(err, text) != NULL, "'%s' lacks '%s'", err, text);
	ck_assert_ptr_null(strchr(err, '\n'));
}

START_TEST(writes_through)
{
	int fd = sealed_memfd(SIZE, F_SEAL_SHRINK);
	struct region *r;
	struct stat st;
	char byte;

	ck_assert_int_eq(try_map(fd, SIZE, false, &r), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(r->size, SIZE);
	ck_assert_uint_eq(r->mapped, SIZE);
	ck_assert_uint_eq(r->ino, st.st_ino);
	ck_assert_uint_eq(r->dev, st.st_dev);
	ck_assert(!r->readonly);
	ck_assert_uint_eq(r->refs, 0);
	r->addr[SIZE - 1] = 'x';
	ck_assert_int_eq(pread(fd, &byte, 1, SIZE - 1), 1);
	ck_assert_int_eq(byte, 'x');
	close(fd); /* the mapping outlives it */
	ck_assert_int_eq(r->addr[SIZE - 1], 'x');
	region_unmap(r, NULL);
}
END_TEST

START_TEST(part_of_a_file)
{
	int fd = sealed_memfd(SIZE, F_SEAL_SHRINK);
	struct region *r;

	ck_assert_int_eq(try_map(fd, 100, false, &r), 0);
	ck_assert_uint_eq(r->size, 100); /* what offsets are judged by */
	ck_assert_uint_eq(r->mapped, SIZE);
	region_unmap(r, NULL);
	close(fd);
}
END_TEST

START_TEST(sizes)
{
	int fd = sealed_memfd(SIZE, F_SEAL_SHRINK), empty = sealed_memfd(0, F_SEAL_SHRINK);

	expect_refusal(fd, 0, -ERANGE, "size = 0: expected 1 to 65536");
	expect_refusal(fd, SIZE + 1, -ERANGE, "size = 65537: expected 1 to 65536");
	expect_refusal(fd, UINT64_MAX, -ERANGE, "size = 18446744073709551615");
	expect_refusal(empty, 1, -ERANGE, "size = 1");
	close(fd);
	close(empty);
}
END_TEST

START_TEST(seals)
{
	static const int lacking[] = { 0, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_WRITE };

	for (size_t i = 0; i < sizeof(lacking) / sizeof(lacking[0]); i++) {
		int fd = sealed_memfd(SIZE, lacking[i]);

		expect_refusal(fd, SIZE, -EINVAL, "expected F_SEAL_SHRINK");
		close(fd);
	}
}
END_TEST

START_TEST(kinds)
{
	FILE *file = tmpfile();
	int pipes[2], efd = eventfd(0, 0), dir = open("/", O_RDONLY | O_DIRECTORY);

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(ftruncate(fileno(file), SIZE), 0);
	expect_refusal(pipes[0], SIZE, -EINVAL, "expected a shmem or hugetlb memfd");
	expect_refusal(efd, SIZE, -EINVAL, "expected a shmem or hugetlb memfd");
	expect_refusal(dir, SIZE, -EINVAL, "expected a shmem or hugetlb memfd");
	expect_refusal(-1, SIZE, -EINVAL, "expected a shmem or hugetlb memfd");
	/* tmpfs files know seals, too, but theirs forbid sealing, so SHRINK is never set */
	expect_refusal(fileno(file), SIZE, -EINVAL, "expected");
	fclose(file);
	close(pipes[0]);
	close(pipes[1]);
	close(efd);
	close(dir);
}
END_TEST

/* The kernel itself must refuse a write: soundness cannot rest on our own checks alone. */
static void expect_readonly(struct region *r)
{
	ck_assert(r->readonly);
	ck_assert_int_eq(mprotect(r->addr, SIZE, PROT_READ | PROT_WRITE), -1);
	ck_assert_int_eq(r->addr[5], 'y');
}

START_TEST(readonly)
{
	int fd = sealed_memfd(SIZE, F_SEAL_SHRINK), ro, wo;
	struct region *r;
	char path[64];

	ck_assert_int_eq(pwrite(fd, "y", 1, 5), 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY);
	wo = open(path, O_WRONLY);
	ck_assert_int_ge(ro, 0);
	ck_assert_int_ge(wo, 0);

	ck_assert_int_eq(try_map(ro, SIZE, false, &r), 0);
	expect_readonly(r);
	region_unmap(r, NULL);
	expect_refusal(wo, SIZE, -EACCES, "open for reading");
	/* asked for */
	ck_assert_int_eq(try_map(fd, SIZE, true, &r), 0);
	ck_assert(r->readonly);
	region_unmap(r, NULL);
	/* sealed against writes that are yet to come */
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	ck_assert_int_eq(try_map(fd, SIZE, false, &r), 0);
	expect_readonly(r);
	region_unmap(r, NULL);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	ck_assert_int_eq(try_map(fd, SIZE, false, &r), 0);
	expect_readonly(r);
	region_unmap(r, NULL);
	close(fd);
	close(ro);
	close(wo);
}
END_TEST

START_TEST(hugetlb)
{
	int fd = memfd_create("huge", MFD_HUGETLB | MFD_HUGE_2MB | MFD_ALLOW_SEALING);
	struct region *r;

	if (fd < 0)
		return; /* a kernel without hugetlb */
	ck_assert_int_eq(ftruncate(fd, 2 << 20), 0);
	expect_refusal(fd, 2 << 20, -EINVAL, "expected F_SEAL_SHRINK");
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	/* Pages are reserved by the mapping: without any on this host it is a clean refusal. */
	if (try_map(fd, 2 << 20, false, &r)) {
		ck_assert_ptr_nonnull(strstr(err, "the broker cannot map it"));
	} else {
		ck_assert_uint_eq(r->mapped, 2 << 20);
		region_unmap(r, NULL);
	}
	close(fd);
}
END_TEST

START_TEST(outgrown_and_unmapped_null)
{
	int fd = sealed_memfd(SIZE, F_SEAL_SHRINK);
	struct region *r;

	ck_assert_int_eq(try_map(fd, SIZE, false, &r), 0);
	ck_assert_int_eq(ftruncate(fd, 2 * SIZE), 0); /* growing is the client's right */
	ck_assert_uint_eq(r->mapped, SIZE);
	ck_assert_uint_eq(r->size, SIZE);
	/* and so are holes: what is behind them is there again when touched */
	ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE), 0);
	ck_assert_int_eq(fixup_init(), 0);
	ck_assert_int_eq(fixup_touch(r->addr, true), 0);
	region_unmap(r, NULL);
	region_unmap(NULL, NULL);
	close(fd);
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("region");

	tcase_add_test(t, writes_through);
	tcase_add_test(t, part_of_a_file);
	tcase_add_test(t, sizes);
	tcase_add_test(t, seals);
	tcase_add_test(t, kinds);
	tcase_add_test(t, readonly);
	tcase_add_test(t, hugetlb);
	tcase_add_test(t, outgrown_and_unmapped_null);
	return run_case(t, "region", 10);
}
