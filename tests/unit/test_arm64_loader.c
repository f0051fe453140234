/* AArch64 kernels: what is recognised, what is refused, where things go; and gzip, against zlib. */
#include "base/errno.h"
#include "loader/arm64.h"
#include "loader/gunzip.h"
#include "mem/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <cmocka.h>

#define RAM      0x40000000u
#define RAM_SIZE MIB(32)

struct fixture {
	uint8_t image[300000]; /* the Image itself */
	uint8_t *file;
	struct image kernel, initrd;
	struct arm64_input input;
	struct arm64_plan plan;
	struct mem mem;
	uint8_t *ram;
	char why[300];
};

static int read_bytes(const struct image *image, uint64_t offset, void *buf, size_t len)
{
	assert_true(offset <= image->size && len <= image->size - offset);
	memcpy(buf, (const uint8_t *)image->ctx + offset, len);
	return 0;
}

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static void give(struct fixture *f, const void *bytes, size_t len)
{
	f->file = realloc(f->file, len);
	memcpy(f->file, bytes, len);
	f->kernel = (struct image){.name = "kernel", .size = len, .read = read_bytes, .ctx = f->file};
}

/* Something between text and noise. */
static void make_bytes(uint8_t *at, size_t len)
{
	uint32_t seed = 12345;

	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		at[i] = i > 5000 && (seed >> 28) < 13 ? at[i - 1 - (seed >> 16 & 0xfff)] : (uint8_t)(seed >> 24);
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	make_bytes(f->image, sizeof(f->image));
	put(f->image + 8, 0, 8);
	put(f->image + 16, MIB(1), 8);
	put(f->image + 24, 0xa, 8);
	memcpy(f->image + 56, "ARM\x64", 4);
	give(f, f->image, sizeof(f->image));
	f->ram = aligned_alloc(PAGE_SIZE, RAM_SIZE);
	memset(f->ram, 0, RAM_SIZE);
	assert_int_equal(mem_add_slot(&f->mem, RAM, RAM_SIZE, f->ram, false), 0);
	f->initrd = (struct image){.name = "initrd", .size = 100, .read = read_bytes, .ctx = f->image};
	f->input = (struct arm64_input){.kernel = &f->kernel, .initrd = &f->initrd, .ram = RAM, .ram_size = RAM_SIZE};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	mem_destroy(&f->mem);
	free(f->ram);
	free(f->file);
	free(f);
	return 0;
}

/* How the bytes were compressed does not matter. */
static size_t compress_with(int level, int strategy, const void *bytes, size_t len, uint8_t *out, size_t size)
{
	z_stream z = {.next_in = (void *)bytes, .avail_in = (uInt)len, .next_out = out, .avail_out = (uInt)size};

	assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, strategy), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return size - z.avail_out;
}

static void refused(struct fixture *f, int err, const char *text)
{
	f->why[0] = '\0';
	assert_int_equal(arm64_plan(&f->input, &f->plan, f->why, sizeof(f->why)), err);
	if (!strstr(f->why, text))
		fail_msg("'%s' is not in: %s", text, f->why);
	assert_null(strchr(f->why, '\n'));
}

static void loads(struct fixture *f, enum arm64_format format)
{
	if (arm64_plan(&f->input, &f->plan, f->why, sizeof(f->why)))
		fail_msg("%s", f->why);
	assert_int_equal(f->plan.format, format);
	assert_int_equal(f->plan.entry, RAM);
	assert_int_equal(f->plan.mem_size, MIB(1));
	assert_int_equal(f->plan.initrd, RAM + MIB(2));
	assert_int_equal(f->plan.initrd_size, 100);
	assert_int_equal(f->plan.fdt, RAM + MIB(4));
	if (arm64_load(&f->input, &f->plan, &f->mem, f->why, sizeof(f->why)))
		fail_msg("%s", f->why);
	assert_memory_equal(f->ram, f->image, sizeof(f->image));
	assert_memory_equal(f->ram + MIB(2), f->image, 100);
}

static void raw_image(void **state)
{
	struct fixture *f = *state;

	loads(f, ARM64_IMAGE);
	put(f->file + 8, 0x80000, 8); /* not at the start, and larger than it says */
	put(f->file + 16, 0x100, 8);
	f->input.initrd = NULL;
	assert_int_equal(arm64_plan(&f->input, &f->plan, f->why, sizeof(f->why)), 0);
	assert_int_equal(f->plan.entry, RAM + 0x80000);
	assert_int_equal(f->plan.mem_size, sizeof(f->image));
	assert_int_equal(f->plan.initrd, 0);
	assert_int_equal(f->plan.fdt, RAM + MIB(2));
	put(f->file + 16, 0, 8); /* an old one */
	assert_int_equal(arm64_plan(&f->input, &f->plan, f->why, sizeof(f->why)), 0);
	assert_int_equal(f->plan.entry, RAM + 0x80000);
}

static void gzip_image(void **state)
{
	struct fixture *f = *state;
	static uint8_t packed[400000];
	size_t len = compress_with(9, Z_DEFAULT_STRATEGY, f->image, sizeof(f->image), packed, sizeof(packed));

	give(f, packed, len);
	loads(f, ARM64_GZIP);
}

static void make_zboot(struct fixture *f, const char *compression)
{
	static uint8_t file[400000];
	size_t len = compress_with(6, Z_DEFAULT_STRATEGY, f->image, sizeof(f->image), file + 0x1000, sizeof(file) - 0x1000);

	memset(file, 0, 0x1000);
	memcpy(file, "MZ\0\0zimg", 8);
	put(file + 8, 0x1000, 4);
	put(file + 12, len, 4);
	memcpy(file + 24, compression, strlen(compression));
	give(f, file, 0x1000 + len + 77);
}

static void zboot(void **state)
{
	struct fixture *f = *state;

	make_zboot(f, "gzip");
	loads(f, ARM64_ZBOOT);
	put(f->file + 12, 0x7fffffff, 4);
	refused(f, -ENOEXEC, "cut short");
	put(f->file + 8, 0xffffffff, 4);
	refused(f, -ENOEXEC, "cut short");
	make_zboot(f, "zstd22");
	refused(f, -ENOEXEC, "CONFIG_KERNEL_GZIP");
}

static void not_kernels(void **state)
{
	struct fixture *f = *state;
	static uint8_t packed[400000];
	size_t len;

	put(f->file + 24, 1, 8);
	refused(f, -ENOEXEC, "big-endian");
	put(f->file + 24, 0, 8);
	f->file[56] = 'x';
	refused(f, -ENOEXEC, "no kernel for AArch64");
	give(f, "ARM", 3);
	refused(f, -ENOEXEC, "no kernel for AArch64");
	memset(f->image + 56, 0, 4);
	len = compress_with(9, Z_DEFAULT_STRATEGY, f->image, sizeof(f->image), packed, sizeof(packed));
	give(f, packed, len);
	refused(f, -ENOEXEC, "damaged");
	give(f, packed, 64);
	refused(f, -ENOEXEC, "damaged");
}

static void too_little_room(void **state)
{
	struct fixture *f = *state;

	put(f->file + 16, RAM_SIZE + 1, 8);
	refused(f, -ENOSPC, "--memory");
	put(f->file + 16, UINT64_MAX, 8);
	refused(f, -ENOSPC, "--memory");
	put(f->file + 16, RAM_SIZE, 8);
	refused(f, -ENOSPC, "initrd");
	put(f->file + 16, MIB(1), 8);
	put(f->file + 8, UINT64_MAX, 8);
	refused(f, -ENOSPC, "--memory");
	put(f->file + 8, 0, 8);
	f->initrd.size = UINT64_MAX;
	refused(f, -ENOSPC, "initrd");
	f->initrd.size = RAM_SIZE - MIB(2); /* no room for the device tree */
	refused(f, -ENOSPC, "34 MiB");
	f->initrd.size = 0;
	refused(f, -EINVAL, "empty");
}

/* Damaged behind its header: found when it is unpacked. */
static void damaged(void **state)
{
	struct fixture *f = *state;
	static uint8_t packed[400000];
	size_t len = compress_with(9, Z_DEFAULT_STRATEGY, f->image, sizeof(f->image), packed, sizeof(packed));

	give(f, packed, len - 100);
	assert_int_equal(arm64_plan(&f->input, &f->plan, f->why, sizeof(f->why)), 0);
	assert_int_equal(arm64_load(&f->input, &f->plan, &f->mem, f->why, sizeof(f->why)), -ENOEXEC);
	assert_non_null(strstr(f->why, "damaged"));
	/* More than it has said. */
	put(f->image + 16, 0x1000, 8);
	len = compress_with(9, Z_DEFAULT_STRATEGY, f->image, sizeof(f->image), packed, sizeof(packed));
	give(f, packed, len);
	memset(f->ram, 0, RAM_SIZE);
	assert_int_equal(arm64_plan(&f->input, &f->plan, f->why, sizeof(f->why)), 0);
	assert_int_equal(arm64_load(&f->input, &f->plan, &f->mem, f->why, sizeof(f->why)), -ENOEXEC);
	for (unsigned i = 0x1000; i < 0x3000; i++)
		assert_int_equal(f->ram[i], 0);
}

/* ---- gunzip ---- */

struct bytes {
	const uint8_t *at;
	size_t left, step;
};

static int64_t next_bytes(void *ctx, void *buf, size_t size)
{
	struct bytes *bytes = ctx;
	size_t len = bytes->left < bytes->step ? bytes->left : bytes->step;

	if (len > size)
		len = size;
	memcpy(buf, bytes->at, len);
	bytes->at += len;
	bytes->left -= len;
	return (int64_t)len;
}

static int unpack(const void *packed, size_t len, size_t step, void *out, size_t size, size_t *produced)
{
	struct bytes bytes = {packed, len, step};

	return gunzip(&(struct gzip_source){.read = next_bytes, .ctx = &bytes}, out, size, produced);
}

static void all_ways(void **state)
{
	static const int strategies[] = {Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED};
	static const size_t sizes[] = {0, 1, 2, 300, 65535, 65536, 300000};
	static uint8_t packed[500000], out[300000];
	struct fixture *f = *state;
	size_t produced;

	for (int level = 0; level <= 9; level += 3) {
		for (unsigned s = 0; s < ARRAY_SIZE(strategies); s++) {
			for (unsigned n = 0; n < ARRAY_SIZE(sizes); n++) {
				size_t len = compress_with(level, strategies[s], f->image, sizes[n], packed, sizeof(packed));

				assert_int_equal(unpack(packed, len, n % 2 ? 1 : 4096, out, sizes[n], &produced), 0);
				assert_int_equal(produced, sizes[n]);
				assert_memory_equal(out, f->image, sizes[n]);
				if (sizes[n] > 1) {
					assert_int_equal(unpack(packed, len, 4096, out, sizes[n] / 2, &produced), -ENOSPC);
					assert_int_equal(produced, sizes[n] / 2);
					assert_int_equal(unpack(packed, len - 1, 4096, out, sizes[n], &produced), -EINVAL);
				}
			}
		}
	}
	memset(f->image, 'a', sizeof(f->image)); /* one symbol */
	size_t len = compress_with(9, Z_DEFAULT_STRATEGY, f->image, sizeof(f->image), packed, sizeof(packed));
	assert_int_equal(unpack(packed, len, 4096, out, sizeof(out), &produced), 0);
	assert_memory_equal(out, f->image, sizeof(out));
}

/* A flipped bit behind the header is noticed, or makes no difference. */
static void flipped_bits(void **state)
{
	static uint8_t packed[3000], out[2000];
	struct fixture *f = *state;
	size_t produced, len = compress_with(9, Z_DEFAULT_STRATEGY, f->image, sizeof(out), packed, sizeof(packed));

	for (size_t bit = 80; bit < 8 * len; bit++) {
		packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (unpack(packed, len, 4096, out, sizeof(out), &produced) == 0)
			assert_memory_equal(out, f->image, sizeof(out));
		packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(unpack(packed, len, 4096, out, sizeof(out), &produced), 0);
}

static void optional_fields(void **state)
{
	static uint8_t packed[3000], file[4000], out[2000];
	struct fixture *f = *state;
	size_t produced, len = compress_with(9, Z_DEFAULT_STRATEGY, f->image, sizeof(out), packed, sizeof(packed));
	static const char fields[] = "\3\0abcname\0comment\0cc";

	memcpy(file, packed, 10);
	file[3] = 0x1e;
	memcpy(file + 10, fields, sizeof(fields) - 1);
	memcpy(file + 10 + sizeof(fields) - 1, packed + 10, len - 10);
	len += sizeof(fields) - 1;
	assert_int_equal(unpack(file, len, 4096, out, sizeof(out), &produced), 0);
	assert_memory_equal(out, f->image, sizeof(out));
	for (size_t cut = 0; cut < 30; cut++)
		assert_int_equal(unpack(file, cut, 4096, out, sizeof(out), &produced), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(raw_image, setup, teardown),
		cmocka_unit_test_setup_teardown(gzip_image, setup, teardown),
		cmocka_unit_test_setup_teardown(zboot, setup, teardown),
		cmocka_unit_test_setup_teardown(not_kernels, setup, teardown),
		cmocka_unit_test_setup_teardown(too_little_room, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(all_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(flipped_bits, setup, teardown),
		cmocka_unit_test_setup_teardown(optional_fields, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
