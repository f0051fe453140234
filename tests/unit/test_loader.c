/* loader/: hand-made kernels of every format, what they find at their entry, and the refusal of damaged ones.
 *
 * Example: `meson test -C build loader`
 */
#include "arch/x86_64/state.h"
#include "base/errno.h"
#include "fake_platform.h"
#include "loader/bzimage.h"
#include "loader/loader.h"
#include "mem/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define RAM_SIZE   MIB(32)
#define RSDP       0xe0000u
#define CMDLINE    "console=ttyS0 x=y"
#define FILE_SIZE  0x3000u

/* ---- a machine and a file in memory ---- */

struct fixture {
	struct mem mem;
	uint8_t *ram;
	uint8_t file[FILE_SIZE];
	uint8_t initrd_bytes[5000];
	struct image kernel, initrd;
	struct loader_input input;
	struct loader_plan plan;
	struct x86_state boot;
	char why[512];
};

static int read_bytes(const struct image *image, uint64_t offset, void *buf, size_t len)
{
	assert_true(offset <= image->size && len <= image->size - offset);
	memcpy(buf, (const uint8_t *)image->ctx + offset, len);
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_reset();
	f->ram = aligned_alloc(PAGE_SIZE, RAM_SIZE);
	memset(f->ram, 0xcc, RAM_SIZE); /* as after a machine reset: nothing is clean */
	assert_int_equal(mem_add_slot(&f->mem, 0, RAM_SIZE, f->ram, false), 0);
	for (size_t i = 0; i < sizeof(f->initrd_bytes); i++)
		f->initrd_bytes[i] = (uint8_t)(i * 7);
	f->kernel = (struct image){.name = "k", .size = FILE_SIZE, .read = read_bytes, .ctx = f->file};
	f->initrd = (struct image){
		.name = "rd", .size = sizeof(f->initrd_bytes), .read = read_bytes, .ctx = f->initrd_bytes};
	f->input = (struct loader_input){
		.kernel = &f->kernel,
		.initrd = &f->initrd,
		.cmdline = CMDLINE,
		.map = {{0, 0x9fc00, LOADER_RAM}, {0x9fc00, MIB(1) - 0x9fc00, LOADER_RESERVED}, {MIB(1), RAM_SIZE - MIB(1), LOADER_RAM}},
		.map_count = 3,
		.rsdp = RSDP,
	};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	mem_destroy(&f->mem);
	free(f->ram);
	free(f);
	return 0;
}

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)at[i] << (8 * i);
	return value;
}

static int plan(struct fixture *f)
{
	f->why[0] = '\0';
	return loader_plan(&f->input, &f->plan, f->why, sizeof(f->why));
}

static void load(struct fixture *f)
{
	assert_int_equal(plan(f), 0);
	assert_int_equal(loader_load(&f->input, &f->plan, &f->mem, &f->boot, f->why, sizeof(f->why)), 0);
}

/* One sentence that has the text in it, and names the kernel. */
static void refused(struct fixture *f, int err, const char *text)
{
	int r = plan(f);

	assert_int_equal(r, err);
	if (!strstr(f->why, text))
		fail_msg("'%s' is not in: %s", text, f->why);
	assert_null(strchr(f->why, '\n'));
}

/* ---- kernels ---- */

#define SETUP_SECTS 4
#define PAYLOAD_AT  ((SETUP_SECTS + 1) * 512)

static void make_bzimage(struct fixture *f)
{
	uint8_t *h = f->file;

	memset(h, 0, FILE_SIZE);
	h[BOOT_SETUP_SECTS] = SETUP_SECTS;
	put(h + BOOT_SYSSIZE, (FILE_SIZE - PAYLOAD_AT) / 16, 4);
	put(h + BOOT_FLAG, BOOT_FLAG_VALUE, 2);
	h[BOOT_JUMP + 1] = 0x6a;
	put(h + BOOT_HEADER_MAGIC, BOOT_MAGIC, 4);
	put(h + BOOT_VERSION, 0x020f, 2);
	put(h + BOOT_INITRD_MAX, 0x7fffffff, 4);
	h[BOOT_RELOCATABLE] = 1;
	put(h + BOOT_XLOADFLAGS, BOOT_KERNEL_64, 2);
	put(h + BOOT_CMDLINE_SIZE, 100, 4);
	put(h + BOOT_PREF_ADDRESS, MIB(16), 8);
	put(h + BOOT_INIT_SIZE, MIB(8), 4);
	memset(h + PAYLOAD_AT, 0x90, FILE_SIZE - PAYLOAD_AT);
}

#define ELF_TEXT_AT 0x1000u
#define ELF_VADDR   0xffffffff80200000ull
#define ELF_PADDR   0x200000u

/* One loadable segment of 0x100 bytes in the file and 0x2000 in memory, and one of notes. */
static void make_elf64(struct fixture *f, bool pvh)
{
	uint8_t *e = f->file;

	memset(e, 0, FILE_SIZE);
	memcpy(e, "\177ELF\2\1\1", 7);
	put(e + 16, 2, 2);
	put(e + 18, 62, 2);
	put(e + 24, ELF_VADDR + 0x10, 8);
	put(e + 32, 64, 8);
	put(e + 54, 56, 2);
	put(e + 56, 2, 2);
	uint8_t *ph = e + 64;
	put(ph, 1, 4);
	put(ph + 8, ELF_TEXT_AT, 8);
	put(ph + 16, ELF_VADDR, 8);
	put(ph + 24, ELF_PADDR, 8);
	put(ph + 32, 0x100, 8);
	put(ph + 40, 0x2000, 8);
	ph += 56;
	put(ph, 4, 4);
	put(ph + 8, 0x2000, 8);
	put(ph + 32, 60, 8);
	put(ph + 48, 4, 8);
	/* Another note stands first. */
	put(e + 0x2000, 4, 4);
	put(e + 0x2004, 5, 4);
	put(e + 0x2008, 3, 4);
	memcpy(e + 0x200c, "GNU", 4);
	put(e + 0x2018, 4, 4);
	put(e + 0x201c, 8, 4);
	put(e + 0x2020, pvh ? 18 : 17, 4);
	memcpy(e + 0x2024, "Xen", 4);
	put(e + 0x2028, ELF_PADDR + 0x40, 8);
	memset(e + ELF_TEXT_AT, 0x90, 0x100);
}

#define MULTIBOOT_AT 0x40u

static void put_multiboot_header(uint8_t *at, uint32_t flags)
{
	put(at, 0x1badb002, 4);
	put(at + 4, flags, 4);
	put(at + 8, 0u - (0x1badb002u + flags), 4);
}

static void make_elf32_multiboot(struct fixture *f, uint32_t flags)
{
	uint8_t *e = f->file;

	memset(e, 0, FILE_SIZE);
	memcpy(e, "\177ELF\1\1\1", 7);
	put(e + 16, 2, 2);
	put(e + 18, 3, 2);
	put(e + 24, ELF_PADDR + 0x20, 4);
	put(e + 28, 52, 4);
	put(e + 42, 32, 2);
	put(e + 44, 1, 2);
	uint8_t *ph = e + 52;
	put(ph, 1, 4);
	put(ph + 4, ELF_TEXT_AT, 4);
	put(ph + 8, ELF_PADDR, 4);
	put(ph + 12, ELF_PADDR, 4);
	put(ph + 16, 0x100, 4);
	put(ph + 20, 0x2000, 4);
	put_multiboot_header(e + ELF_TEXT_AT, flags);
}

/* ---- what they find ---- */

static void check_flat32(const struct x86_state *s)
{
	assert_int_equal(s->cr0 & (X86_CR0_PE | X86_CR0_PG), X86_CR0_PE);
	assert_int_equal(s->seg[X86_CS].limit, 0xffffffff);
	assert_int_equal(s->seg[X86_CS].ar & (X86_AR_DB | X86_AR_L | X86_AR_CODE), X86_AR_DB | X86_AR_CODE);
	assert_int_equal(s->seg[X86_DS].ar & (X86_AR_WRITABLE | X86_AR_CODE), X86_AR_WRITABLE);
	assert_int_equal(s->rflags & X86_FLAG_IF, 0);
	assert_int_equal(s->efer, 0);
}

/* Walks the page tables as the processor would. */
static uint64_t translate(struct fixture *f, uint64_t address)
{
	uint64_t table = f->boot.cr3;

	for (int level = 3; level >= 1; level--) {
		uint64_t entry = get(f->ram + table + ((address >> (12 + 9 * level)) & 511) * 8, 8);

		assert_true(entry & 1);
		if (entry & 0x80) {
			uint64_t mask = (1ull << (12 + 9 * level)) - 1;
			return (entry & 0x000ffffffffff000ull & ~mask) | (address & mask);
		}
		table = entry & 0x000ffffffffff000ull;
	}
	fail_msg("no large page");
	return 0;
}

static void check_long_mode(struct fixture *f)
{
	const struct x86_state *s = &f->boot;

	assert_true(s->cr0 & X86_CR0_PG && s->cr0 & X86_CR0_PE && s->cr4 & X86_CR4_PAE);
	assert_int_equal(s->efer, X86_EFER_LME | X86_EFER_LMA);
	assert_int_equal(s->seg[X86_CS].ar & (X86_AR_L | X86_AR_DB), X86_AR_L);
	assert_int_equal(s->seg[X86_CS].selector, 0x10);
	assert_int_equal(get(f->ram + s->gdtr.base + 0x10, 8), 0x00af9b000000ffffull);
	assert_int_equal(s->rflags, X86_FLAG_FIX);
	for (uint64_t a = 0; a < GIB(4); a += MIB(301))
		assert_int_equal(translate(f, a + 5), a + 5);
}

static void check_initrd(struct fixture *f, uint64_t at, uint64_t size)
{
	assert_int_equal(size, sizeof(f->initrd_bytes));
	assert_int_equal(at % PAGE_SIZE, 0);
	assert_true(at + size <= RAM_SIZE);
	assert_memory_equal(f->ram + at, f->initrd_bytes, size);
}

static void test_bzimage(void **state)
{
	struct fixture *f = *state;
	const uint8_t *page = f->ram + LOADER_ZERO_PAGE;

	make_bzimage(f);
	load(f);
	assert_int_equal(f->plan.format, LOADER_BZIMAGE);
	check_long_mode(f);
	assert_int_equal(f->boot.rip, MIB(16) + 0x200);
	assert_int_equal(f->boot.gpr[X86_RSI], LOADER_ZERO_PAGE);
	assert_memory_equal(f->ram + MIB(16), f->file + PAYLOAD_AT, FILE_SIZE - PAYLOAD_AT);
	/* Room to unpack in is not touched: it would cost time and memory. */
	assert_int_equal(f->ram[MIB(16) + FILE_SIZE - PAYLOAD_AT], 0xcc);
	assert_int_equal(get(page + BOOT_HEADER_MAGIC, 4), BOOT_MAGIC);
	assert_int_equal(page[BOOT_TYPE_OF_LOADER], 0xff);
	assert_int_equal(page[BOOT_LOADFLAGS] & 1, 1);
	assert_int_equal(get(page + BOOT_ACPI_RSDP, 8), RSDP);
	assert_string_equal((const char *)f->ram + get(page + BOOT_CMD_LINE_PTR, 4), CMDLINE);
	check_initrd(f, get(page + BOOT_RAMDISK_IMAGE, 4), get(page + BOOT_RAMDISK_SIZE, 4));
	/* Above where the kernel unpacks itself. */
	assert_true(get(page + BOOT_RAMDISK_IMAGE, 4) >= MIB(24));
	assert_int_equal(page[BOOT_E820_ENTRIES], 3);
	assert_int_equal(get(page + BOOT_E820_TABLE + 20, 8), 0x9fc00);
	assert_int_equal(get(page + BOOT_E820_TABLE + 36, 4), LOADER_RESERVED);
	assert_int_equal(get(page + BOOT_E820_TABLE + 48, 8), RAM_SIZE - MIB(1));
	/* Nothing of the file's boot sector in front of the header, and nothing behind it. */
	for (unsigned i = 0x1e9; i < BOOT_SETUP_SECTS; i++)
		assert_int_equal(page[i], 0);
}

static void test_bzimage_refused(void **state)
{
	struct fixture *f = *state;

	make_bzimage(f);
	put(f->file + BOOT_VERSION, 0x0207, 2);
	refused(f, -ENOEXEC, "64-bit entry");
	make_bzimage(f);
	put(f->file + BOOT_XLOADFLAGS, 0, 2);
	refused(f, -ENOEXEC, "64-bit entry");
	make_bzimage(f);
	f->kernel.size = FILE_SIZE - 17;
	refused(f, -ENOEXEC, "cut short");
	f->kernel.size = PAYLOAD_AT;
	refused(f, -ENOEXEC, "cut short");
	f->kernel.size = 0x210;
	refused(f, -ENOEXEC, "cut short");
	f->kernel.size = FILE_SIZE;
	put(f->file + BOOT_INIT_SIZE, MIB(64), 4);
	refused(f, -ENOSPC, "--memory 96M");
	put(f->file + BOOT_INIT_SIZE, 0xffffffff, 4);
	refused(f, -ENOEXEC, "damaged");
	make_bzimage(f);
	put(f->file + BOOT_PREF_ADDRESS, UINT64_MAX - 100, 8);
	refused(f, -ENOEXEC, "damaged");
	make_bzimage(f);
	put(f->file + BOOT_CMDLINE_SIZE, 5, 4);
	refused(f, -E2BIG, "at most 5 bytes");
	make_bzimage(f);
	f->initrd.size = MIB(9);
	refused(f, -ENOSPC, "initrd rd (9 MiB) does not fit");
	f->initrd.size = 0;
	refused(f, -EINVAL, "initrd rd is empty");
	/* The initrd has to stay below what the kernel says. */
	f->initrd.size = sizeof(f->initrd_bytes);
	put(f->file + BOOT_INITRD_MAX, MIB(26) - 1, 4);
	assert_int_equal(plan(f), 0);
	assert_true(f->plan.initrd >= MIB(24) && f->plan.initrd + f->initrd.size <= MIB(26));
	put(f->file + BOOT_INITRD_MAX, MIB(24) - 1, 4);
	refused(f, -ENOSPC, "does not fit");
}

static void test_elf64(void **state)
{
	struct fixture *f = *state;

	make_elf64(f, false);
	load(f);
	assert_int_equal(f->plan.format, LOADER_ELF64);
	check_long_mode(f);
	assert_int_equal(f->boot.rip, ELF_PADDR + 0x10);
	assert_int_equal(f->boot.gpr[X86_RDI], LOADER_INFO);
	assert_int_equal(f->boot.gpr[X86_RSI], LOADER_ZERO_PAGE);
	assert_int_equal(f->boot.gpr[X86_RSP], LOADER_STACK_TOP);
	assert_int_equal(get(f->ram + LOADER_INFO, 4), 0x336ec578);
	assert_int_equal(f->ram[ELF_PADDR], 0x90);
	/* What is behind the file's bytes is cleared. */
	for (unsigned i = 0x100; i < 0x2000; i++)
		assert_int_equal(f->ram[ELF_PADDR + i], 0);
	assert_int_equal(f->ram[ELF_PADDR + 0x2000], 0xcc);
	/* A physical entry point stays. */
	put(f->file + 24, ELF_PADDR + 0x30, 8);
	load(f);
	assert_int_equal(f->boot.rip, ELF_PADDR + 0x30);
}

static void test_pvh(void **state)
{
	struct fixture *f = *state;
	const uint8_t *info = f->ram + LOADER_INFO;

	make_elf64(f, true);
	load(f);
	assert_int_equal(f->plan.format, LOADER_PVH);
	check_flat32(&f->boot);
	assert_int_equal(f->boot.rip, ELF_PADDR + 0x40);
	assert_int_equal(f->boot.gpr[X86_RBX], LOADER_INFO);
	assert_int_equal(get(info, 4), 0x336ec578);
	assert_int_equal(get(info + 4, 4), 1);
	assert_int_equal(get(info + 12, 4), 1);
	assert_string_equal((const char *)f->ram + get(info + 24, 8), CMDLINE);
	assert_int_equal(get(info + 32, 8), RSDP);
	const uint8_t *map = f->ram + get(info + 40, 8), *module = f->ram + get(info + 16, 8);
	assert_int_equal(get(info + 48, 4), 3);
	assert_int_equal(get(map + 24, 8), 0x9fc00);
	assert_int_equal(get(map + 40, 4), LOADER_RESERVED);
	check_initrd(f, get(module, 8), get(module + 8, 8));
	/* Without an initrd there is no module. */
	f->input.initrd = NULL;
	load(f);
	assert_int_equal(get(info + 12, 4), 0);
}

static void test_elf_refused(void **state)
{
	struct fixture *f = *state;
	static const char damaged[] = "impossible sizes";

	make_elf64(f, false);
	f->kernel.size = 40;
	refused(f, -ENOEXEC, "cut short inside its ELF header");
	f->kernel.size = 100;
	refused(f, -ENOEXEC, "program headers lie behind its end");
	f->kernel.size = ELF_TEXT_AT + 0x80;
	refused(f, -ENOEXEC, "cut short");
	f->kernel.size = FILE_SIZE;
	put(f->file + 18, 183, 2);
	refused(f, -ENOEXEC, "another processor (machine 183)");
	make_elf64(f, false);
	put(f->file + 16, 1, 2);
	refused(f, -ENOEXEC, "not an executable");
	make_elf64(f, false);
	put(f->file + 56, 65, 2);
	refused(f, -ENOEXEC, "program header table");
	make_elf64(f, false);
	put(f->file + 54, 32, 2);
	refused(f, -ENOEXEC, "program header table");
	make_elf64(f, false);
	put(f->file + 32, UINT64_MAX - 8, 8);
	refused(f, -ENOEXEC, "behind its end");
	make_elf64(f, false);
	put(f->file + 64 + 32, 0x3000, 8);
	refused(f, -ENOEXEC, damaged);
	make_elf64(f, false);
	put(f->file + 64 + 24, UINT64_MAX - 0x100, 8);
	refused(f, -ENOEXEC, damaged);
	make_elf64(f, false);
	put(f->file + 64 + 8, UINT64_MAX - 4, 8);
	refused(f, -ENOEXEC, "cut short");
	make_elf64(f, false);
	put(f->file + 64 + 24, 0x7c00, 8);
	refused(f, -ENOEXEC, "kept for boot data");
	make_elf64(f, false);
	put(f->file + 64 + 24, 0x9f000, 8);
	refused(f, -ENOEXEC, "not RAM");
	make_elf64(f, false);
	put(f->file + 64 + 40, MIB(64), 8);
	refused(f, -ENOSPC, "--memory");
	make_elf64(f, false);
	put(f->file + 24, 0x1234, 8);
	refused(f, -ENOEXEC, "entry point 0x1234");
	/* The note says where; it is checked as well. */
	make_elf64(f, true);
	put(f->file + 0x2028, 0x7000, 8);
	refused(f, -ENOEXEC, "entry point 0x7000");
	/* Notes with sizes beyond their segment are no notes. */
	make_elf64(f, true);
	put(f->file + 0x2000, 0xfffffff0, 4);
	load(f);
	assert_int_equal(f->plan.format, LOADER_ELF64);
	/* A 32-bit ELF with nothing special about it. */
	make_elf32_multiboot(f, 0);
	memset(f->file + ELF_TEXT_AT, 0, 12);
	refused(f, -ENOEXEC, "32-bit ELF without");
}

static void test_multiboot(void **state)
{
	struct fixture *f = *state;
	const uint8_t *info = f->ram + LOADER_INFO;

	make_elf32_multiboot(f, 3);
	load(f);
	assert_int_equal(f->plan.format, LOADER_MULTIBOOT);
	check_flat32(&f->boot);
	assert_int_equal(f->boot.rip, ELF_PADDR + 0x20);
	assert_int_equal(f->boot.gpr[X86_RAX], 0x2badb002);
	assert_int_equal(f->boot.gpr[X86_RBX], LOADER_INFO);
	assert_int_equal(get(info, 4), 1u << 0 | 1u << 2 | 1u << 3 | 1u << 6 | 1u << 9);
	assert_int_equal(get(info + 4, 4), 639);
	assert_int_equal(get(info + 8, 4), (RAM_SIZE - MIB(1)) / 1024);
	assert_string_equal((const char *)f->ram + get(info + 16, 4), "k " CMDLINE);
	assert_int_equal(get(info + 20, 4), 1);
	const uint8_t *module = f->ram + get(info + 24, 4);
	check_initrd(f, get(module, 4), get(module + 4, 4) - get(module, 4));
	assert_string_equal((const char *)f->ram + get(module + 8, 4), "rd");
	assert_int_equal(get(info + 44, 4), 3 * 24);
	const uint8_t *map = f->ram + get(info + 48, 4);
	assert_int_equal(get(map, 4), 20);
	assert_int_equal(get(map + 24 + 4, 8), 0x9fc00);
	assert_int_equal(get(map + 24 + 20, 4), LOADER_RESERVED);
}

/* Load addresses instead of an ELF. */
static void make_flat_multiboot(struct fixture *f, uint32_t header, uint32_t load, uint32_t load_end, uint32_t bss_end,
				uint32_t entry)
{
	uint8_t *at = f->file + MULTIBOOT_AT;

	memset(f->file, 0x90, FILE_SIZE);
	put_multiboot_header(at, 1u << 16);
	put(at + 12, header, 4);
	put(at + 16, load, 4);
	put(at + 20, load_end, 4);
	put(at + 24, bss_end, 4);
	put(at + 28, entry, 4);
}

static void test_multiboot_addresses(void **state)
{
	struct fixture *f = *state;

	/* The header is 0x20 bytes into what is loaded, so loading starts at file offset 0x20. */
	make_flat_multiboot(f, 0x300020, 0x300000, 0x300100, 0x300800, 0x300050);
	load(f);
	assert_int_equal(f->plan.segments[0].offset, MULTIBOOT_AT - 0x20);
	assert_int_equal(f->boot.rip, 0x300050);
	assert_memory_equal(f->ram + 0x300000, f->file + MULTIBOOT_AT - 0x20, 0x100);
	assert_int_equal(f->ram[0x300100], 0);
	assert_int_equal(f->ram[0x3007ff], 0);
	assert_int_equal(f->ram[0x300800], 0xcc);
	/* No load end: the whole file. */
	make_flat_multiboot(f, 0x300020, 0x300000, 0, 0, 0x300050);
	load(f);
	assert_int_equal(f->plan.segments[0].file_size, FILE_SIZE - (MULTIBOOT_AT - 0x20));
}

static void test_multiboot_refused(void **state)
{
	struct fixture *f = *state;

	make_elf32_multiboot(f, 1u << 5);
	refused(f, -ENOEXEC, "features 0x20");
	make_flat_multiboot(f, 0x300020, 0x300030, 0, 0, 0x300050);
	refused(f, -ENOEXEC, "contradicting");
	make_flat_multiboot(f, 0x300041, 0x300000, 0, 0, 0x300050);
	refused(f, -ENOEXEC, "contradicting");
	make_flat_multiboot(f, 0x300020, 0x300000, 0x2fffff, 0, 0x300050);
	refused(f, -ENOEXEC, "contradicting");
	make_flat_multiboot(f, 0x300020, 0x300000, 0x300000 + FILE_SIZE, 0, 0x300050);
	refused(f, -ENOEXEC, "cut short");
	make_flat_multiboot(f, 0x300020, 0x300000, 0x300100, 0, 0x300100);
	refused(f, -ENOEXEC, "outside of what is loaded");
	make_flat_multiboot(f, 0xfffff020, 0xfffff000, 0, 0, 0xfffff050);
	refused(f, -ENOSPC, "--memory");
	/* The header alone, and the file ends. */
	make_flat_multiboot(f, 0x300020, 0x300000, 0, 0, 0x300050);
	f->kernel.size = MULTIBOOT_AT + 20;
	refused(f, -ENOEXEC, "cut short inside its multiboot header");
	f->kernel.size = FILE_SIZE;
	/* A wrong checksum, a header behind the first 8 KiB: none at all. */
	f->file[MULTIBOOT_AT + 8]++;
	refused(f, -ENOEXEC, "no known format");
	memset(f->file, 0, FILE_SIZE);
	put_multiboot_header(f->file + 8192, 0);
	refused(f, -ENOEXEC, "no known format");
	put_multiboot_header(f->file + 8192 - 12, 0);
	refused(f, -ENOEXEC, "is no ELF");
}

static int read_fails(const struct image *image, uint64_t offset, void *buf, size_t len)
{
	return -EIO;
}

static void test_others(void **state)
{
	struct fixture *f = *state;

	f->kernel.size = 0;
	refused(f, -ENOEXEC, "empty");
	f->kernel.size = 1;
	refused(f, -ENOEXEC, "no known format");
	f->kernel.size = FILE_SIZE;
	refused(f, -ENOEXEC, "no known format");
	make_bzimage(f);
	f->kernel.read = read_fails;
	refused(f, -EIO, "can't be read");
	/* The file breaks between plan and load. */
	f->kernel.read = read_bytes;
	assert_int_equal(plan(f), 0);
	f->kernel.read = read_fails;
	assert_int_equal(loader_load(&f->input, &f->plan, &f->mem, &f->boot, f->why, sizeof(f->why)), -EIO);
	assert_non_null(strstr(f->why, "has the file changed?"));
	f->kernel.read = read_bytes;
	f->initrd.read = read_fails;
	assert_int_equal(loader_load(&f->input, &f->plan, &f->mem, &f->boot, f->why, sizeof(f->why)), -EIO);
	assert_non_null(strstr(f->why, "initrd rd"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bzimage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bzimage_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_elf64, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pvh, setup, teardown),
		cmocka_unit_test_setup_teardown(test_elf_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_multiboot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_multiboot_addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_multiboot_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_others, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
