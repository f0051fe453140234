/* See guest.h. */
#include "guest.h"
#include <stdarg.h>

extern volatile uint64_t catch_rsp;
extern char catch_resume[], vector_stubs[], ap_start[], ap_start_end[];
extern uint64_t gdt[], pml4[];
uint64_t catch_call(void (*fn)(uint64_t), uint64_t arg);

volatile struct caught caught;

static unsigned checks, failures;

/* ---- output ---- */

static void put_char(char c)
{
	while (!(inb(0x3fd) & 0x20)) {
	}
	outb(0x3f8, (uint8_t)c);
}

static void put_number(uint64_t value, unsigned base)
{
	char digits[24];
	unsigned n = 0;

	do
		digits[n++] = "0123456789abcdef"[value % base];
	while (value /= base);
	while (n)
		put_char(digits[--n]);
}

void print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	for (; *format; format++) {
		if (*format != '%') {
			put_char(*format);
			continue;
		}
		switch (*++format) {
		case 's':
			for (const char *s = va_arg(args, const char *); *s; s++)
				put_char(*s);
			break;
		case 'x':
			put_number(va_arg(args, uint64_t), 16);
			break;
		case 'd':
		case 'u':
			put_number(va_arg(args, uint64_t), 10);
			break;
		default:
			put_char(*format);
			break;
		}
	}
	va_end(args);
}

void check(bool ok, const char *what, int line)
{
	checks++;
	if (ok)
		return;
	failures++;
	print("%s:%u: %s\n", guest_name, (uint64_t)line, what);
}

void check_equal(uint64_t got, uint64_t want, const char *what, int line)
{
	checks++;
	if (got == want)
		return;
	failures++;
	print("%s:%u: %s is %x, not %x\n", guest_name, (uint64_t)line, what, got, want);
}

void guest_exit(unsigned code)
{
	outl(0xf4, code);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* ---- exceptions ---- */

static struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
} idt[256] __attribute__((aligned(16)));

static struct tss {
	uint32_t reserved;
	uint64_t rsp[3], reserved2, ist[7];
	uint8_t rest[10 + 0];
	uint16_t io_map;
} __attribute__((packed)) tss __attribute__((aligned(16)));

static uint8_t rsp0_stack[16384] __attribute__((aligned(16)));
static void (*handlers[256])(struct frame *frame);

void handle_vector(struct frame *frame)
{
	void (*handler)(struct frame *) = handlers[frame->vector & 255];

	if (handler) {
		handler(frame);
		return;
	}
	caught.vector = frame->vector;
	caught.error = frame->error;
	caught.cr2 = READ_CR(2);
	caught.rip = frame->rip;
	caught.rflags = frame->rflags;
	caught.rsp = frame->rsp;
	caught.cs = frame->cs;
	if (!catch_rsp) {
		print("%s: unexpected vector %u error %x at %x cr2 %x\n", guest_name, frame->vector, frame->error,
		      frame->rip, caught.cr2);
		guest_exit(2);
	}
	frame->rip = (uint64_t)catch_resume;
	frame->cs = 8;
	frame->ss = 0;
	frame->rsp = catch_rsp;
	frame->rflags = 2;
	catch_rsp = 0;
}

void set_gate(unsigned vector, void (*entry)(void), unsigned type_dpl, unsigned ist)
{
	uint64_t offset = (uint64_t)entry;

	idt[vector] = (struct gate){.offset_low = (uint16_t)offset,
				    .selector = 8,
				    .ist = (uint8_t)ist,
				    .type = (uint8_t)type_dpl,
				    .offset_middle = (uint16_t)(offset >> 16),
				    .offset_high = (uint32_t)(offset >> 32)};
}

void set_stack(unsigned index, uint64_t top)
{
	if (index == 0)
		tss.rsp[0] = top;
	else
		tss.ist[index - 1] = top;
}

int fault_of(void (*fn)(uint64_t), uint64_t arg)
{
	return catch_call(fn, arg) ? (int)caught.vector : -1;
}

void on_vector(unsigned vector, void (*handler)(struct frame *frame))
{
	handlers[vector] = handler;
}

static void load_tables(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = {sizeof(idt) - 1, (uint64_t)idt};

	__asm__ volatile("lidt %0" ::"m"(pointer));
}

static void setup_exceptions(void)
{
	uint64_t base = (uint64_t)&tss;

	for (unsigned i = 0; i < 256; i++)
		set_gate(i, (void (*)(void))(vector_stubs + 16 * i), 0x8e, 0);
	set_gate(0x80, (void (*)(void))(vector_stubs + 16 * 0x80), 0xee, 0);
	set_gate(3, (void (*)(void))(vector_stubs + 16 * 3), 0xee, 0);
	load_tables();
	tss.io_map = sizeof(tss);
	tss.rsp[0] = (uint64_t)(rsp0_stack + sizeof(rsp0_stack));
	gdt[8] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	gdt[9] = base >> 32;
	__asm__ volatile("ltr %w0" ::"r"(0x40));
}

/* ---- user mode ---- */

static uint8_t user_stack[16384] __attribute__((aligned(4096)));

static void enter_user(uint64_t arg)
{
	uint64_t *call = (uint64_t *)arg;
	uint64_t *top = (uint64_t *)(user_stack + sizeof(user_stack)) - 8;

	/* The function returns to `int $0x80`. */
	__asm__ volatile("leaq 1f(%%rip), %%rax; jmp 2f; 1: int $0x80; 2:" : "=a"(*top));
	*top += USER(0);
	__asm__ volatile("pushq $0x33; pushq %0; pushq $0x202; pushq $0x3b; pushq %1; movq %2, %%rdi; iretq" ::"r"(USER(top)),
			 "r"(USER(call[0])), "r"(call[1])
			 : "rdi", "memory");
}

int run_user(void (*fn)(uint64_t), uint64_t arg)
{
	uint64_t call[2] = {(uint64_t)fn, arg};

	return fault_of(enter_user, (uint64_t)call);
}

/* ---- memory ---- */

static uint8_t pool[256][4096] __attribute__((aligned(4096)));
static unsigned pool_used;

void *alloc_page(void)
{
	if (pool_used == 256) {
		print("%s: out of pages\n", guest_name);
		guest_exit(2);
	}
	return pool[pool_used++];
}

volatile uint64_t *pte_of(uint64_t address)
{
	volatile uint64_t *table = pml4;

	for (unsigned level = 4; level > 1; level--) {
		volatile uint64_t *entry = &table[address >> (12 + 9 * (level - 1)) & 511];

		if (!(*entry & PTE_P)) {
			*entry = (uint64_t)alloc_page() | PTE_P | PTE_W | PTE_U;
		} else if (*entry & PTE_PS) {
			uint64_t *split = alloc_page();
			uint64_t base = *entry & 0x000fffffffe00000ull;

			for (unsigned i = 0; i < 512; i++)
				split[i] = (base + (uint64_t)i * 4096) | (*entry & 0x67);
			*entry = (uint64_t)split | PTE_P | PTE_W | PTE_U;
			WRITE_CR(3, READ_CR(3));
		}
		table = (volatile uint64_t *)(*entry & 0x000ffffffffff000ull);
	}
	return &table[address >> 12 & 511];
}

/* ---- local APIC ---- */

void apic_enable(void)
{
	*apic(0xf0) = 0x1ff; /* software enable, spurious vector 255 */
	*apic(0x80) = 0;
}

static void wait_sent(void)
{
	while (*apic(0x300) & 0x1000) {
	}
}

void start_others(void)
{
	uint8_t *to = (uint8_t *)0x8000;

	for (char *from = ap_start; from < ap_start_end; from++)
		*to++ = (uint8_t)*from;
	*apic(0x300) = 0xc4500; /* INIT to all but self */
	wait_sent();
	for (volatile int i = 0; i < 100000; i++) {
	}
	*apic(0x300) = 0xc4608; /* SIPI at 0x8000 */
	wait_sent();
}

/* ---- start ---- */

__attribute__((weak)) void guest_ap_main(void)
{
}

void guest_ap_start(void)
{
	load_tables();
	guest_ap_main();
}

void guest_start(void)
{
	outb(0x21, 0xff); /* the 8259s are not used, but for a test's own sake */
	outb(0xa1, 0xff);
	setup_exceptions();
	guest_main();
	print("%s: %u checks, %u failed\n", guest_name, (uint64_t)checks, (uint64_t)failures);
	guest_exit(failures != 0);
}

/* The compiler may call these. */
void *memset(void *to, int byte, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((volatile uint8_t *)to)[i] = (uint8_t)byte;
	return to;
}
void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
	return to;
}
