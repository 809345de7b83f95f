// SPDX-License-Identifier: MIT
/*
 * register.c - share memory that the application made itself: a sealed memfd.
 *
 * Shows what amux_register() asks of it, a source-only region from a read-only descriptor,
 * and the operations besides copying: fill, compare, CRC-32C.
 */
#include <accelmux/accelmux.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES	(1u << 20)
#define PATTERN 0x0123456789abcdefull

/* A memfd that cannot shrink: the broker must never find its mapping cut short. */
static int make_memfd(void)
{
	int fd = memfd_create("example", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, BYTES) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)) {
		int err = errno;

		close(fd);
		return -err;
	}
	return fd;
}

static int finish(struct amux_queue *q, struct amux_cqe *cqe)
{
	int n = amux_submit(q);

	if (n >= 0)
		n = amux_wait(q, cqe, 1, 1, NULL);
	return n < 0 ? n : cqe->status;
}

static int run(struct amux *a, struct amux_queue *q, char *mine, const char *input)
{
	struct amux_sqe *sqe;
	struct amux_cqe cqe;
	int err;

	sqe = amux_get_sqe(q);
	err = amux_prep_fill(a, sqe, mine, PATTERN, BYTES);
	if (!err)
		err = finish(q, &cqe);
	for (size_t i = 0; !err && i < BYTES; i += 8) {
		const uint64_t want = PATTERN;

		if (memcmp(mine + i, &want, 8))
			err = -EIO;
	}
	if (err)
		return err;

	sqe = amux_get_sqe(q);
	err = amux_prep_copy_crc(a, sqe, mine, input, 0, 9);
	if (!err)
		err = finish(q, &cqe);
	if (err)
		return err;
	if (cqe.result != 0xe3069283u || memcmp(mine, "123456789", 9)) {
		fprintf(stderr, "register: CRC %#llx, expected 0xe3069283\n",
			(unsigned long long)cqe.result);
		return -EIO;
	}

	sqe = amux_get_sqe(q);
	err = amux_prep_compare(a, sqe, mine, input, BYTES);
	if (!err)
		err = finish(q, &cqe);
	if (!err && cqe.result != 9) {
		fprintf(stderr, "register: first difference at %llu, expected 9\n",
			(unsigned long long)cqe.result);
		err = -EIO;
	}
	if (err)
		return err;

	/* The input's descriptor is read-only: nobody can be made to write there. */
	sqe = amux_get_sqe(q);
	err = amux_prep_copy(a, sqe, (char *)input, mine, BYTES);
	if (!err)
		err = finish(q, &cqe);
	return err == -EACCES ? 0 : -EIO;
}

int main(void)
{
	void *mine = MAP_FAILED, *input = MAP_FAILED;
	int fd = -1, in = -1, ro = -1, err;
	struct amux_queue *q;
	struct amux *a;
	char path[64];

	err = amux_connect(&a, NULL);
	if (err == -ENOENT || err == -ECONNREFUSED) {
		fprintf(stderr, "register: skipped: %s\n", amux_error());
		return 77;
	}
	if (err) {
		fprintf(stderr, "register: amux_connect: %s (%s)\n", strerror(-err),
			amux_error());
		return 1;
	}
	err = -EIO;
	fd = make_memfd();
	in = make_memfd();
	if (fd < 0 || in < 0 || pwrite(in, "123456789", 9, 0) != 9)
		goto out;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", in);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	mine = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	input = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, ro, 0);
	if (ro < 0 || mine == MAP_FAILED || input == MAP_FAILED)
		goto out;

	err = amux_register(a, fd, mine, BYTES);
	if (!err)
		err = amux_register(a, ro, input, BYTES);
	if (!err)
		err = amux_queue_create(a, 2, &q);
	if (!err)
		err = run(a, q, mine, input);
	/* The mappings stay the application's: unregister before unmapping. */
	if (!err)
		err = amux_unregister(a, mine);
	if (!err)
		err = amux_unregister(a, input);
out:
	if (err)
		fprintf(stderr, "register: %s (%s)\n", strerror(-err), amux_error());
	else
		printf("register: fill, copy with CRC, compare and read-only verified\n");
	amux_close(a);
	if (mine != MAP_FAILED)
		munmap(mine, BYTES);
	if (input != MAP_FAILED)
		munmap(input, BYTES);
	if (ro >= 0)
		close(ro);
	if (in >= 0)
		close(in);
	if (fd >= 0)
		close(fd);
	return err != 0;
}
