/* Flash: reading, programming, erasing, the query table, wrong sequences, and what reaches the store.
 *
 * Example: `meson test -C build pflash`
 */
#include "core/vm.h"
#include "dev/misc/pflash.h"
#include "fake_platform.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define BASE 0xffc00000u
#define SIZE (2 * PFLASH_BLOCK)

static const struct engine_ops engine = {.name = "none"};

/* A store in memory that is done when submit() returns. */
static struct store {
	struct block_backend backend;
	uint8_t bytes[SIZE];
	unsigned writes, flushes;
	int status;
} store;

static void store_submit(struct block_backend *backend, struct block_request *request)
{
	if (request->op == BLOCK_WRITE) {
		assert_true(request->offset + request->length <= SIZE);
		memcpy(store.bytes + request->offset, request->bufs[0].base, request->length);
		store.writes++;
	} else {
		assert_int_equal(request->op, BLOCK_FLUSH);
		store.flushes++;
	}
	request->done(request, store.status);
}

static const struct block_backend_ops store_ops = {.submit = store_submit};

static int read_content(const struct image *image, uint64_t offset, void *buf, size_t len)
{
	memset(buf, 0xff, len);
	((uint8_t *)buf)[5] = 0x0f;
	return 0;
}

static struct image content = {.name = "content", .size = SIZE, .read = read_content};

static int setup(void **state)
{
	struct vm *vm;

	fake_reset();
	store = (struct store){.backend = {.ops = &store_ops, .size = SIZE}};
	vm = vm_create(&(struct vm_params){.engine = &engine, .cpus = 1});
	assert_int_equal(pflash_create(vm, &(struct pflash_params){.base = BASE, .content = &content, .store = &store.backend}), 0);
	devices_reset(vm);
	*state = vm;
	return 0;
}

static int teardown(void **state)
{
	if (*state)
		vm_destroy(*state);
	assert_int_equal(fake_alloc_live(), 0);
	return 0;
}

static uint8_t get(struct vm *vm, unsigned offset)
{
	return (uint8_t)bus_read(&vm->mmio, BASE + offset, 1);
}

static void put(struct vm *vm, unsigned offset, uint8_t byte)
{
	bus_write(&vm->mmio, BASE + offset, 1, byte);
}

static void reads_the_array(void **state)
{
	struct vm *vm = *state;

	assert_int_equal(get(vm, 5), 0x0f);
	assert_int_equal(bus_read(&vm->mmio, BASE, 8), 0xffff0fffffffffff);
	assert_int_equal(bus_read(&vm->mmio, BASE + SIZE - 4, 4), 0xffffffff);
}

static void programming_clears_bits(void **state)
{
	struct vm *vm = *state;

	put(vm, 5, 0x10);
	put(vm, 5, 0xf3);
	assert_int_equal(get(vm, 5), 0x80); /* the status, until the array is asked for */
	put(vm, 5, 0x50);
	put(vm, 5, 0x70);
	assert_int_equal(get(vm, 5), 0x00); /* what OVMF looks for */
	put(vm, 5, 0xff);
	assert_int_equal(get(vm, 5), 0x03);
	put(vm, 8, 0x40);
	bus_write(&vm->mmio, BASE + 8, 4, 0x11223344);
	put(vm, 0, 0xff);
	assert_int_equal(bus_read(&vm->mmio, BASE + 8, 4), 0x11223344);
}

static void erasing_sets_a_block(void **state)
{
	struct vm *vm = *state;

	put(vm, PFLASH_BLOCK, 0x40);
	put(vm, PFLASH_BLOCK, 0x00);
	put(vm, 100, 0x20);
	put(vm, 100, 0xd0);
	assert_int_equal(get(vm, 0), 0x80);
	put(vm, 0, 0xff);
	assert_int_equal(get(vm, 5), 0xff);
	assert_int_equal(get(vm, PFLASH_BLOCK), 0x00);
}

static void buffered_write(void **state)
{
	struct vm *vm = *state;

	put(vm, 64, 0xe8);
	put(vm, 64, 3); /* four bytes */
	put(vm, 65, 1);
	put(vm, 66, 2);
	bus_write(&vm->mmio, BASE + 68, 2, 0x0403);
	assert_int_equal(get(vm, 64), 0x80);
	put(vm, 64, 0xd0);
	put(vm, 64, 0xff);
	assert_int_equal(bus_read(&vm->mmio, BASE + 64, 8), 0xffff0403ff0201ff);
}

/* Each must set the status bits of a wrong sequence, change nothing, and end with the flash ready for a command. */
static void wrong_sequences(void **state)
{
	static const struct {
		unsigned count;
		struct {
			unsigned offset;
			uint8_t byte;
		} writes[5];
	} cases[] = {
		{1, {{0, 0x33}}},                                          /* no command */
		{2, {{0, 0x20}, {0, 0x10}}},                               /* an erase not confirmed */
		{2, {{0, 0x60}, {0, 0x33}}},                               /* neither lock nor unlock */
		{2, {{0, 0xe8}, {0, 0xff}}},                               /* more than the buffer holds */
		{4, {{0, 0xe8}, {0, 0}, {0, 0}, {0, 0xff}}},               /* a write not confirmed */
		{5, {{0, 0xe8}, {0, 1}, {0, 0}, {40, 0}, {0, 0xd0}}},      /* two lines */
	};
	struct vm *vm = *state;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (unsigned j = 0; j < cases[i].count; j++)
			put(vm, cases[i].writes[j].offset, cases[i].writes[j].byte);
		put(vm, 0, 0x70);
		assert_int_equal(get(vm, 0) & 0x7f, 0x30);
		put(vm, 0, 0x50);
		assert_int_equal(get(vm, 0), 0xff);
		assert_int_equal(get(vm, 40), 0xff);
	}
}

static void says_what_it_is(void **state)
{
	struct vm *vm = *state;

	put(vm, 0, 0x98);
	assert_int_equal(bus_read(&vm->mmio, BASE + 0x10, 2), 'Q' | 'R' << 8);
	assert_int_equal(get(vm, 0x13), 1);
	assert_int_equal(get(vm, 0x27), 13);
	assert_int_equal(bus_read(&vm->mmio, BASE + 0x2c, 1), 1);
	assert_int_equal(get(vm, 0x2d), 1);    /* two blocks */
	assert_int_equal(get(vm, 0x2f), 0x10); /* of 16 times 256 bytes */
	assert_int_equal(get(vm, 0x31), 'P');
	put(vm, 0, 0x90);
	assert_int_equal(bus_read(&vm->mmio, BASE, 2), 0x1889);
}

static void set_byte(struct vm *vm, unsigned offset, uint8_t byte)
{
	put(vm, offset, 0x40);
	put(vm, offset, byte);
}

static void changes_reach_the_store(void **state)
{
	struct vm *vm = *state;

	set_byte(vm, 7, 0x12);
	set_byte(vm, 9, 0x34);
	fake_run_work();
	assert_int_equal(store.bytes[7], 0x12);
	assert_int_equal(store.bytes[9], 0x34);
	assert_int_equal(store.bytes[5], 0x0f);
	assert_int_equal(store.writes, 1);
	assert_int_equal(store.flushes, 1);
	/* What is not changed is not written. */
	set_byte(vm, 7, 0x12);
	fake_run_work();
	assert_int_equal(store.writes, 1);
	store.status = -EIO;
	set_byte(vm, 7, 0x02);
	fake_run_work();
	assert_non_null(strstr(fake_log_text(), "variables can't be stored"));
}

static void the_rest_is_stored_at_the_end(void **state)
{
	struct vm *vm = *state;

	set_byte(vm, 7, 0x12);
	set_byte(vm, SIZE - 1, 0x34);
	vm_destroy(vm);
	*state = NULL;
	assert_int_equal(store.bytes[7], 0x12);
	assert_int_equal(store.bytes[SIZE - 1], 0x34);
	assert_int_equal(store.flushes, 1);
}

static void survives_a_reset(void **state)
{
	struct vm *vm = *state;

	set_byte(vm, 7, 0x12);
	put(vm, 0, 0x20);
	devices_reset(vm);
	put(vm, 0, 0xd0); /* no confirmation of what was before */
	put(vm, 0, 0x50);
	assert_int_equal(get(vm, 7), 0x12);
}

static void sizes_are_checked(void **state)
{
	struct vm *vm = *state;
	struct image odd = content;
	struct pflash_params params = {.base = BASE + SIZE, .content = &odd};

	odd.size = PFLASH_BLOCK + 1;
	assert_int_equal(pflash_create(vm, &params), -EINVAL);
	odd.size = PFLASH_MAX_SIZE + PFLASH_BLOCK;
	assert_int_equal(pflash_create(vm, &params), -EINVAL);
	odd.size = PFLASH_BLOCK;
	params.store = &store.backend; /* of two blocks */
	assert_int_equal(pflash_create(vm, &params), -EINVAL);
	params.store = NULL;
	assert_int_equal(pflash_create(vm, &params), 0);
}

/* Two chips of 16 bits: commands and answers are there twice. */
#define PAIR_SIZE (2 * PFLASH_PAIR_BLOCK)

static uint32_t get32(struct vm *vm, unsigned offset)
{
	return (uint32_t)bus_read(&vm->mmio, BASE + offset, 4);
}

static void put32(struct vm *vm, unsigned offset, uint32_t value)
{
	bus_write(&vm->mmio, BASE + offset, 4, value);
}

static void a_pair(void **state)
{
	struct vm *vm = vm_create(&(struct vm_params){.engine = &engine, .cpus = 1});
	const struct image large = {.name = "large", .size = PAIR_SIZE, .read = read_content};

	vm_destroy(*state);
	*state = vm;
	assert_int_equal(pflash_create(vm, &(struct pflash_params){.base = BASE, .content = &content, .pair = true}), -EINVAL);
	assert_int_equal(pflash_create(vm, &(struct pflash_params){.base = BASE, .content = &large, .pair = true}), 0);
	devices_reset(vm);
	put32(vm, 0, 0x980098);
	assert_int_equal(get32(vm, 4 * 0x10), 'Q' << 16 | 'Q');
	assert_int_equal(get32(vm, 4 * 0x12), 'Y' << 16 | 'Y');
	assert_int_equal(get32(vm, 4 * 0x27), 18 << 16 | 18);     /* 2^18 bytes a chip */
	assert_int_equal(get32(vm, 4 * 0x30), 0x20002);           /* 128 KiB a block */
	put32(vm, 0, 0x900090);
	assert_int_equal(get32(vm, 0), 0x890089);
	assert_int_equal(get32(vm, 8), 0);                        /* not locked */
	/* 32 words by the buffer. */
	put32(vm, 0, 0x500050);
	put32(vm, 0, 0xe800e8);
	assert_int_equal(get32(vm, 0), 0x800080);
	put32(vm, 0, 0x1f001f);
	for (unsigned i = 0; i < 32; i++)
		put32(vm, 0x80 + 4 * i, 0x01010101 * i);
	put32(vm, 0, 0xd000d0);
	assert_int_equal(get32(vm, 0), 0x800080);
	put32(vm, PFLASH_PAIR_BLOCK, 0x400040);
	put32(vm, PFLASH_PAIR_BLOCK, 0x12345678);
	put32(vm, 0, 0xff00ff);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(get32(vm, 0x80 + 4 * i), 0x01010101 * i);
	assert_int_equal(get32(vm, PFLASH_PAIR_BLOCK), 0x12345678);
	/* 33 are too many. */
	put32(vm, 0, 0xe800e8);
	put32(vm, 0, 0x200020);
	assert_int_equal(get32(vm, 0) & 0x300030, 0x300030);
	put32(vm, 0, 0x500050);
	put32(vm, 0x90, 0x200020);
	put32(vm, 0x90, 0xd000d0);
	put32(vm, 0, 0xff00ff);
	assert_int_equal(get32(vm, 0x84), 0xffffffff);
	assert_int_equal(get32(vm, PFLASH_PAIR_BLOCK), 0x12345678);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reads_the_array, setup, teardown),
		cmocka_unit_test_setup_teardown(programming_clears_bits, setup, teardown),
		cmocka_unit_test_setup_teardown(erasing_sets_a_block, setup, teardown),
		cmocka_unit_test_setup_teardown(buffered_write, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_sequences, setup, teardown),
		cmocka_unit_test_setup_teardown(says_what_it_is, setup, teardown),
		cmocka_unit_test_setup_teardown(changes_reach_the_store, setup, teardown),
		cmocka_unit_test_setup_teardown(the_rest_is_stored_at_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(survives_a_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(sizes_are_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pair, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
