/* Direct branches out of the canonical addresses: the fault is the branch's, when it is taken (SDM 2A CALL, JMP), with RIP at it. What
 * runs out of them without a branch faults there.
 *
 * QEMU's TCG (7.2) differs, wrongly: it reports all of them at the target.
 */
#include "guest.h"

const char guest_name[] = "targets";

#define LAST_PAGE 0x7ffffffff000ull

/* Code at the end of the lower half, entered in user mode; the vector, or where the fault was reported. */
static void direct(const char *name, volatile uint8_t *page, unsigned offset, const uint8_t *code, unsigned length, unsigned branch)
{
	for (unsigned i = 0; i < 4096; i++)
		page[i] = i - offset < length ? code[i - offset] : 0x90;
	for (unsigned turn = 0; turn < 3; turn++) {
		int vector = run_user((void (*)(uint64_t))(LAST_PAGE + offset - USER(0)), 0);

		if (vector != 13 || caught.error != 0 || caught.rip != LAST_PAGE + offset + branch)
			print("%s: vector %d, error %x, rip %x instead of %x\n", name, vector, caught.error, caught.rip, LAST_PAGE + offset + branch);
		CHECK(vector == 13 && caught.error == 0 && caught.rip == LAST_PAGE + offset + branch);
	}
}
#define DIRECT(name, offset, branch, ...)                                                                              \
	direct(name, page, offset, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), branch)

void guest_main(void)
{
	uint8_t *page = alloc_page();

	*pte_of(LAST_PAGE) = (uint64_t)page | PTE_P | PTE_U;
	invlpg(LAST_PAGE);
	DIRECT("jmp", 0, 0, 0xe9, 0, 0x20, 0, 0);
	DIRECT("jmp far ahead", 0x40, 0, 0xe9, 0xff, 0xff, 0xff, 0x7f);
	DIRECT("jz", 0x80, 2, 0x31, 0xc0, 0x0f, 0x84, 0, 0x10, 0, 0);
	DIRECT("call", 0xc0, 0, 0xe8, 0, 0x10, 0, 0);
	DIRECT("jrcxz", 0xff0, 2, 0x31, 0xc9, 0xe3, 0x10);
	DIRECT("loop", 0xff0, 5, 0xb9, 5, 0, 0, 0, 0xe2, 0x10);
	DIRECT("short jmp", 0xffe, 0, 0xeb, 0x10);
	/* Not taken, and on to the end. */
	DIRECT("jnz", 0xff0, 16, 0x31, 0xc0, 0x0f, 0x85, 0, 0x10, 0, 0);
}
