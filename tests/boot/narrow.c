/* A program without a library, for 32-bit and 64-bit Linux on x86: sorts, computes with SSE and the x87, calls through a
 * table, and forks. What it prints does not depend on which of the two it is.
 *
 * cc -m32 -O2 -static -nostdlib -ffreestanding -fno-pic -no-pie -msse2 -mfpmath=sse narrow.c -o narrow
 */
typedef unsigned u32;
typedef unsigned long long u64;

#ifdef __x86_64__
enum { SYS_write = 1, SYS_fork = 57, SYS_exit = 60, SYS_wait4 = 61 };
__asm__(".globl _start\n_start: xor %ebp,%ebp\nand $-16,%rsp\ncall program\n");

static long system(long number, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long r;

	__asm__ volatile("syscall" : "=a"(r) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return r;
}
#else
enum { SYS_exit = 1, SYS_fork = 2, SYS_write = 4, SYS_wait4 = 114 };
__asm__(".globl _start\n_start: xor %ebp,%ebp\nand $-16,%esp\ncall program\n");

static long system(long number, long a, long b, long c, long d)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
	return r;
}
#endif

void *memset(void *to, int value, unsigned long size)
{
	for (unsigned long i = 0; i < size; i++)
		((volatile char *)to)[i] = (char)value;
	return to;
}

void *memcpy(void *to, const void *from, unsigned long size)
{
	for (unsigned long i = 0; i < size; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}

static void say(const char *what, u64 value)
{
	char line[64], *at = line;

	while (*what)
		*at++ = *what++;
	*at++ = ' ';
	for (int shift = 60; shift >= 0; shift -= 4)
		*at++ = "0123456789abcdef"[value >> shift & 15];
	*at++ = '\n';
	system(SYS_write, 1, (long)line, at - line, 0);
}

static u32 seed = 1;

static u32 random(void)
{
	return (seed = seed * 1103515245u + 12345u) >> 8;
}

#define COUNT 50000
static u32 numbers[COUNT];

static void sort(u32 *low, u32 *high)
{
	while (low < high) {
		u32 pivot = low[(high - low) / 2], *i = low, *j = high;

		while (i <= j) {
			for (; *i < pivot; i++) {
			}
			for (; *j > pivot; j--) {
			}
			if (i <= j) {
				u32 t = *i;

				*i++ = *j;
				*j-- = t;
			}
		}
		sort(low, j);
		low = i;
	}
}

static u64 integers(void)
{
	u64 sum = 0;

	for (int i = 0; i < COUNT; i++)
		numbers[i] = random();
	sort(numbers, numbers + COUNT - 1);
	for (int i = 1; i < COUNT; i++)
		sum = sum * 31 + (numbers[i] >= numbers[i - 1] ? numbers[i] : ~0ull);
	return sum;
}

static u64 bits(double value)
{
	u64 result;

	memcpy(&result, &value, sizeof(result));
	return result;
}

static u64 sse(void)
{
	double sum = 0, x = 1;

	for (int i = 1; i < 200000; i++) {
		x = x * 1.0000001 + 1.0 / i;
		sum += x / (i + 0.5);
	}
	return bits(sum);
}

static u64 x87(void)
{
	volatile long double sum = 0, x = 3;

	for (int i = 1; i < 100000; i++) {
		x = x - (x * x - 2) / (2 * x) + 1.0L / i;
		sum = sum + x;
	}
	return bits((double)sum);
}

static u32 twice(u32 x) { return x * 2; }
static u32 next(u32 x) { return x + 1; }
static u32 swap(u32 x) { return x << 16 | x >> 16; }
static u32 (*volatile const table[4])(u32) = {twice, next, swap, next};

static u64 calls(void)
{
	u32 x = 7;

	for (int i = 0; i < 1000000; i++)
		x = table[(x ^ (u32)i) & 3](x);
	return x;
}

static u64 forks(void)
{
	u64 sum = 0;

	for (int i = 0; i < 30; i++) {
		int status = -1;
		long child = system(SYS_fork, 0, 0, 0, 0);

		if (child == 0) {
			numbers[i]++;
			system(SYS_exit, (long)(integers() & 0x7f), 0, 0, 0);
		}
		if (child < 0 || system(SYS_wait4, child, (long)&status, 0, 0) != child)
			return ~0ull;
		sum = sum * 131 + (u32)status;
		random();
	}
	return sum;
}

void program(void)
{
	say("integers", integers());
	say("sse", sse());
	say("x87", x87());
	say("calls", calls());
	say("forks", forks());
	system(SYS_exit, 0, 0, 0, 0);
}
