/* mem/: slots, accessors over slot borders, read-only memory, code words, the dirty log.
 *
 * Example: `meson test -C build unit-mem`
 */
#include "base/errno.h"
#include "fake_platform.h"
#include "mem/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define PAGES 4

static uint8_t low[PAGES * PAGE_SIZE], high[PAGES * PAGE_SIZE], rom[PAGE_SIZE];

/* low and high adjacent at 0x10000, ROM right after them, nothing elsewhere. */
static void setup_mem(struct mem *mem)
{
	*mem = (struct mem){0};
	memset(low, 0, sizeof(low));
	memset(high, 0, sizeof(high));
	memset(rom, 0x5a, sizeof(rom));
	assert_int_equal(mem_add_slot(mem, 0x14000, sizeof(high), high, false), 0);
	assert_int_equal(mem_add_slot(mem, 0x18000, sizeof(rom), rom, true), 0);
	assert_int_equal(mem_add_slot(mem, 0x10000, sizeof(low), low, false), 0);
}

static void test_slots_are_checked(void **state)
{
	struct mem mem;

	setup_mem(&mem);
	assert_int_equal(mem.slots[0].gpa, 0x10000);
	assert_int_equal(mem.slots[2].gpa, 0x18000);
	assert_int_equal(mem_size(&mem), sizeof(low) + sizeof(high));
	assert_int_equal(mem_told_size(&mem), sizeof(low) + sizeof(high));
	mem.slots[1].apart = mem.slots[2].apart = true;
	assert_int_equal(mem_size(&mem), sizeof(low) + sizeof(high));
	assert_int_equal(mem_told_size(&mem), sizeof(low));
	assert_int_equal(mem_add_slot(&mem, 0x13000, PAGE_SIZE, low, false), -EINVAL);
	assert_int_equal(mem_add_slot(&mem, 0xf000, 0x20000, low, false), -EINVAL);
	assert_int_equal(mem_add_slot(&mem, 0x20001, PAGE_SIZE, low, false), -EINVAL);
	assert_int_equal(mem_add_slot(&mem, 0x20000, 100, low, false), -EINVAL);
	assert_int_equal(mem_add_slot(&mem, 0x20000, 0, low, false), -EINVAL);
	assert_int_equal(mem_add_slot(&mem, PAGE_MASK, 2 * PAGE_SIZE, low, false), -EINVAL);
	assert_int_equal(mem_add_slot(&mem, 0x20000, PAGE_SIZE, NULL, false), -EINVAL);
	for (unsigned i = mem.count; i < MEM_MAX_SLOTS; i++)
		assert_int_equal(mem_add_slot(&mem, 0x100000 + i * 0x10000, PAGE_SIZE, low, false), 0);
	assert_int_equal(mem_add_slot(&mem, 0x900000, PAGE_SIZE, low, false), -ENOSPC);
	mem_destroy(&mem);
	fake_alloc_limit(0);
	assert_int_equal(mem_add_slot(&mem, 0x900000, PAGE_SIZE, low, false), -ENOMEM);
	fake_reset();
	assert_int_equal(fake_alloc_live(), 0);
}

static void test_last_page_of_the_address_space(void **state)
{
	struct mem mem = {0};
	uint8_t buf[2];

	assert_int_equal(mem_add_slot(&mem, PAGE_MASK, PAGE_SIZE, low, false), 0);
	assert_int_equal(mem_read(&mem, UINT64_MAX, buf, 1), 0);
	assert_int_equal(mem_read(&mem, UINT64_MAX, buf, 2), -EFAULT);
	assert_null(mem_hva(&mem, UINT64_MAX, 2));
	assert_null(mem_hva(&mem, PAGE_MASK, UINT64_MAX));
	mem_destroy(&mem);
}

static void test_accessors(void **state)
{
	static const uint8_t pattern[] = {1, 2, 3, 4, 5, 6, 7, 8};
	struct mem mem;
	uint8_t buf[8];

	setup_mem(&mem);
	/* Across the border of low and high. */
	assert_int_equal(mem_write(&mem, 0x13ffd, pattern, 8), 0);
	assert_memory_equal(low + sizeof(low) - 3, pattern, 3);
	assert_memory_equal(high, pattern + 3, 5);
	assert_int_equal(mem_read(&mem, 0x13ffd, buf, 8), 0);
	assert_memory_equal(buf, pattern, 8);
	assert_null(mem_hva(&mem, 0x13ffd, 8));
	assert_ptr_equal(mem_hva(&mem, 0x13ffd, 3), low + sizeof(low) - 3);
	/* As a whole or not at all. */
	assert_int_equal(mem_write(&mem, 0xffff, pattern, 2), -EFAULT);
	assert_int_equal(low[0], 0);
	assert_int_equal(mem_write(&mem, 0x17ffe, pattern, 4), -EFAULT);
	assert_int_equal(high[sizeof(high) - 2], 0);
	assert_int_equal(mem_read(&mem, 0x18ffe, buf, 4), -EFAULT);
	assert_int_equal(mem_read(&mem, 0, buf, 0), 0);
	/* ROM reads, and does not write. */
	assert_int_equal(mem_read(&mem, 0x18000, buf, 4), 0);
	assert_int_equal(buf[0], 0x5a);
	assert_int_equal(mem_write(&mem, 0x18000, pattern, 1), -EFAULT);
	assert_non_null(mem_hva(&mem, 0x18000, 1));
	assert_null(mem_hva_writable(&mem, 0x18000, 1));
	assert_int_equal(mem_fill(&mem, 0x13ff0, 0xee, 0x20), 0);
	assert_int_equal(low[sizeof(low) - 1], 0xee);
	assert_int_equal(high[15], 0xee);
	assert_int_equal(high[16], 0);
	assert_int_equal(mem_fill(&mem, 0x10000, 0xee, UINT64_MAX), -EFAULT);
	mem_destroy(&mem);
}

struct written {
	unsigned calls;
	gpa_t gpa;
	uint64_t len;
};

static void record_written(void *ctx, gpa_t gpa, uint64_t len)
{
	struct written *written = ctx;

	written->calls++;
	written->gpa = gpa;
	written->len = len;
}

static void test_writes_reach_translated_code(void **state)
{
	struct written written = {0};
	_Atomic uint32_t *last_low, *first_high;
	struct mem mem;

	setup_mem(&mem);
	mem.written = record_written;
	mem.written_ctx = &written;
	last_low = mem_page_word(&mem, 0x13000);
	first_high = mem_page_word(&mem, 0x14fff);
	assert_null(mem_page_word(&mem, 0x19000));
	*last_low = 1;
	assert_int_equal(mem_write(&mem, 0x13ffe, "abcd", 4), 0);
	assert_int_equal(*last_low, 3);   /* generation 1, still marked */
	assert_int_equal(*first_high, 0); /* no code there */
	assert_int_equal(written.calls, 1);
	assert_int_equal(written.gpa, 0x13ffe);
	assert_int_equal(written.len, 4);
	*last_low = UINT32_MAX; /* the generation wraps and leaves the mark alone */
	mem_mark_written(&mem, 0x13000, 1);
	assert_int_equal(*last_low, 1);
	mem_mark_written(&mem, 0x13000, 0);
	assert_int_equal(written.calls, 2);
	mem_destroy(&mem);
}

static void test_dirty_log(void **state)
{
	uint64_t bits = 0;
	struct mem mem;

	setup_mem(&mem);
	assert_int_equal(mem_dirty_start(&mem), 0);
	assert_int_equal(mem_write(&mem, 0x11fff, "ab", 2), 0);
	mem_dirty_collect(&mem, 0, &bits);
	assert_int_equal(bits, 6);
	mem_dirty_collect(&mem, 0, &bits);
	assert_int_equal(bits, 0);
	mem_dirty_stop(&mem);
	assert_null((void *)mem.slots[0].dirty);
	fake_alloc_limit(1);
	assert_int_equal(mem_dirty_start(&mem), -ENOMEM);
	assert_null((void *)mem.slots[0].dirty);
	fake_reset();
	mem_destroy(&mem);
	assert_int_equal(fake_alloc_live(), 0);
}

static void test_discard(void **state)
{
	struct written written = {0};
	struct mem mem;

	fake_reset();
	setup_mem(&mem);
	mem.written = record_written;
	mem.discarded = record_written;
	mem.written_ctx = &written;
	memset(low, 1, sizeof(low));
	memset(high, 2, sizeof(high));
	/* Over the border of two slots: both halves, once each to the engine as taken away and as written. */
	assert_int_equal(mem_discard(&mem, 0x13000, 2 * PAGE_SIZE), 0);
	assert_int_equal(fake_discarded(), 2 * PAGE_SIZE);
	assert_int_equal(written.calls, 2);
	assert_int_equal(low[3 * PAGE_SIZE - 1], 1);
	assert_int_equal(low[3 * PAGE_SIZE], 0);
	assert_int_equal(high[PAGE_SIZE - 1], 0);
	assert_int_equal(high[PAGE_SIZE], 2);
	/* Nothing else is taken: parts of pages, ROM, what isn't there, what is a file's. */
	assert_int_equal(mem_discard(&mem, 0x10800, PAGE_SIZE), -EINVAL);
	assert_int_equal(mem_discard(&mem, 0x10000, 100), -EINVAL);
	assert_int_equal(mem_discard(&mem, 0x17000, 2 * PAGE_SIZE), -EFAULT);
	assert_int_equal(mem_discard(&mem, 0xf000, 2 * PAGE_SIZE), -EFAULT);
	assert_int_equal(mem_discard(&mem, UINT64_MAX & PAGE_MASK, 2 * PAGE_SIZE), -EFAULT);
	mem.slots[1].lasting = true;
	assert_int_equal(mem_discard(&mem, 0x13000, 2 * PAGE_SIZE), -EFAULT);
	assert_int_equal(low[0], 1);
	assert_int_equal(fake_discarded(), 2 * PAGE_SIZE);
	mem_destroy(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slots_are_checked),
		cmocka_unit_test(test_last_page_of_the_address_space),
		cmocka_unit_test(test_accessors),
		cmocka_unit_test(test_writes_reach_translated_code),
		cmocka_unit_test(test_dirty_log),
		cmocka_unit_test(test_discard),
	};

	return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
