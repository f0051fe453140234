/* Virtual memory of the interpreter's AArch64 vcpu: the soft TLB and what happens on a miss.
 *
 * A TLB entry lets an access go straight to host memory. It is made only for RAM that is Normal memory; the write tag only if a store to
 * the page was allowed before, so that access flag, dirty state and dirty log have seen one. All else comes here each time.
 */
#include "base/lock.h"
#include "base/string.h"
#include "engine/interp/aarch64/cpu.h"

/* One page's worth of an access, translated. */
struct span {
	uint64_t gpa;
	uint8_t *hva; /* NULL: a device */
};

static unsigned slot_of(uint64_t address)
{
	return (unsigned)(address >> PAGE_SHIFT) & (A64_TLB_SIZE - 1);
}

/* ---- invalidation ---- */

static unsigned region_bit(uint64_t address, unsigned shift)
{
	/* The top byte may be a tag: it is not looked at. */
	return (unsigned)(((address << 8 >> 8 >> shift | (uint64_t)shift << 58) * 0x9e3779b97f4a7c15ull) >> 52);
}

static void remember_large(struct a64_cpu *cpu, uint64_t address, unsigned shift)
{
	const unsigned bit = region_bit(address, shift);

	if (shift <= PAGE_SHIFT)
		return;
	cpu->large_shifts |= 1ull << shift;
	cpu->large_pages[bit >> 6] |= 1ull << (bit & 63);
}

static bool may_be_large(const struct a64_cpu *cpu, uint64_t address)
{
	for (uint64_t shifts = cpu->large_shifts; shifts; shifts &= shifts - 1) {
		const unsigned bit = region_bit(address, (unsigned)__builtin_ctzll(shifts));

		if (cpu->large_pages[bit >> 6] >> (bit & 63) & 1)
			return true;
	}
	return false;
}

static void forget(struct a64_tlb_entry *entry)
{
	entry->read_tag = entry->write_tag = A64_TLB_NONE;
}

static void flush_all(struct a64_cpu *cpu)
{
	for (unsigned index = 0; index < A64_TLB_COUNT; index++) {
		for (unsigned i = 0; i < A64_TLB_SIZE; i++)
			forget(&cpu->tlb[index][i]);
	}
	for (unsigned el = 0; el < 2; el++) {
		for (unsigned i = 0; i < A64_TLB_SIZE; i++)
			cpu->code_tlb[el][i].tag = A64_TLB_NONE;
	}
	cpu->large_shifts = 0;
	memset(cpu->large_pages, 0, sizeof(cpu->large_pages));
}

/* What is noted as private may have become global since: no harm. */
static void flush_private(struct a64_cpu *cpu)
{
	for (unsigned index = 0; index < A64_TLB_COUNT + 2; index++) {
		for (unsigned word = 0; word < A64_TLB_SIZE / 64; word++) {
			for (uint64_t left = cpu->tlb_private[index][word]; left; left &= left - 1) {
				const unsigned slot = word * 64 + (unsigned)__builtin_ctzll(left);

				if (index < A64_TLB_COUNT)
					forget(&cpu->tlb[index][slot]);
				else
					cpu->code_tlb[index - A64_TLB_COUNT][slot].tag = A64_TLB_NONE;
			}
		}
	}
}

static void flush(struct a64_cpu *cpu, bool global_too)
{
	cpu->counts.tlb_flushes++;
	if (global_too)
		flush_all(cpu);
	else
		flush_private(cpu);
	memset(cpu->tlb_private, 0, sizeof(cpu->tlb_private));
	cpu->tlb_used = false;
}

static void note_private(struct a64_cpu *cpu, unsigned index, uint64_t address)
{
	const unsigned slot = slot_of(address);

	cpu->tlb_private[index][slot / 64] |= 1ull << (slot & 63);
	cpu->tlb_used = true;
}

void a64_tlb_flush(struct a64_cpu *cpu, bool global_too)
{
	if (global_too || cpu->tlb_used)
		flush(cpu, global_too);
	if (global_too)
		a64_epochs_end(cpu);
	else
		a64_epochs_end_private(cpu);
}

void a64_tlb_switch(struct a64_cpu *cpu)
{
	if (cpu->tlb_used)
		flush(cpu, false);
	a64_epochs_switch(cpu);
}

void a64_tlb_flush_page(struct a64_cpu *cpu, uint64_t address)
{
	const unsigned slot = slot_of(address);

	if (may_be_large(cpu, address)) {
		a64_tlb_flush(cpu, true);
		return;
	}
	for (unsigned index = 0; index < A64_TLB_COUNT; index++)
		forget(&cpu->tlb[index][slot]);
	cpu->code_tlb[0][slot].tag = cpu->code_tlb[1][slot].tag = A64_TLB_NONE;
	a64_epochs_end_page(cpu, address);
}

void a64_tlb_flush_writes(struct a64_cpu *cpu)
{
	for (unsigned index = 0; index < A64_TLB_COUNT; index++) {
		for (unsigned i = 0; i < A64_TLB_SIZE; i++)
			cpu->tlb[index][i].write_tag = A64_TLB_NONE;
	}
	a64_tlb_catch_up(cpu);
}

void a64_tlb_catch_up(struct a64_cpu *cpu)
{
	const uint64_t ticket = atomic_load(&cpu->shared->tlb_ticket);

	if (atomic_load_explicit(&cpu->tlb_seen, memory_order_relaxed) != ticket) {
		a64_tlb_flush(cpu, true);
		atomic_store(&cpu->tlb_seen, ticket);
	}
}

/* By its word: each other processor either flushes before it runs on, or is out of run() and will as it enters. While we wait for
 * others they may wait for us: we are between two instructions' accesses, so we answer. */
void a64_tlb_broadcast(struct a64_cpu *cpu)
{
	uint64_t ticket = atomic_fetch_add(&cpu->shared->tlb_ticket, 1);

	/* What it broadcasts it has done itself. */
	if (atomic_load(&cpu->tlb_seen) == ticket)
		atomic_store(&cpu->tlb_seen, ticket + 1);
	ticket++;
	for (unsigned i = 0; i < cpu->vm->vcpu_count; i++) {
		struct vcpu *other = cpu->vm->vcpus[i];
		struct a64_cpu *other_cpu = other ? other->engine_vcpu : NULL;

		if (other == cpu->vcpu || !other_cpu)
			continue;
		if (atomic_load(&other_cpu->running))
			vcpu_request(other, VCPU_REQ_FLUSH);
		while (atomic_load(&other_cpu->running) && atomic_load(&other_cpu->tlb_seen) < ticket) {
			a64_tlb_catch_up(cpu);
			lock_relax();
		}
	}
	a64_tlb_catch_up(cpu);
}

/* ---- aborts ---- */

static __attribute__((noreturn)) void data_abort(struct a64_cpu *cpu, uint64_t address, unsigned fault, bool write)
{
	const unsigned class = A64_EC_DATA_LOWER + (cpu->el ? 1 : 0);

	a64_raise_far(cpu, class, (write ? 1u << 6 : 0) | fault, address);
}

static unsigned access_of(enum a64_tlb_index rights, bool write)
{
	return (write ? A64_WALK_WRITE : 0) | (rights == A64_TLB_USER ? A64_WALK_USER : 0) | (rights == A64_TLB_EL1_PAN ? A64_WALK_PAN : 0);
}

/* ---- translation ---- */

static void log_dirty(struct mem_slot *slot, uint64_t page)
{
	if (slot->dirty)
		atomic_fetch_or(&slot->dirty[page >> 6], 1ull << (page & 63));
}

/* The word of a page of code is bumped only by maintenance: stores leave it alone (cpu.h). */
static struct span translate(struct a64_cpu *cpu, uint64_t address, unsigned size, bool write, enum a64_tlb_index rights)
{
	struct a64_tlb_entry *entry = &cpu->tlb[rights][slot_of(address)];
	const uint64_t page = address & PAGE_MASK;
	struct a64_walk walk;

	if ((write ? entry->write_tag : entry->read_tag) == page)
		return (struct span){.gpa = (entry->gpa & PAGE_MASK) | (address & ~PAGE_MASK), .hva = (uint8_t *)(address + entry->addend)};
	if (a64_walk(&cpu->vm->mem, &cpu->s, address, access_of(rights, write), &walk) < 0)
		data_abort(cpu, address, walk.fault, write);
	if (walk.device && (address & (size - 1)))
		data_abort(cpu, address, A64_FAULT_ALIGNMENT, write);

	struct mem_slot *slot = mem_find(&cpu->vm->mem, walk.gpa);

	if (!slot || (write && slot->read_only))
		return (struct span){.gpa = walk.gpa};

	const uint64_t offset = walk.gpa - slot->gpa;
	struct span span = {.gpa = walk.gpa, .hva = slot->hva + offset};

	if (write)
		log_dirty(slot, offset >> PAGE_SHIFT);
	if (walk.device)
		return span;
	remember_large(cpu, address, walk.size_shift);
	if (!walk.global)
		note_private(cpu, rights, address);
	if (entry->read_tag != page)
		entry->write_tag = A64_TLB_NONE;
	entry->read_tag = page;
	entry->addend = (uintptr_t)span.hva - address;
	entry->gpa = (walk.gpa & PAGE_MASK) | walk.global;
	if (write)
		entry->write_tag = page;
	return span;
}

uint64_t a64_code_page(struct a64_cpu *cpu, uint64_t address, uint8_t **hva)
{
	struct a64_code_entry *entry = &cpu->code_tlb[cpu->el][slot_of(address)];
	const uint64_t page = address & PAGE_MASK;
	struct a64_walk walk;

	if (entry->tag == page) {
		*hva = entry->hva;
		return entry->gpa & PAGE_MASK;
	}
	if (a64_walk(&cpu->vm->mem, &cpu->s, address, A64_WALK_FETCH | (cpu->el ? 0 : A64_WALK_USER), &walk) < 0)
		a64_raise_far(cpu, A64_EC_FETCH_LOWER + (cpu->el ? 1 : 0), walk.fault, address);
	*hva = mem_hva(&cpu->vm->mem, walk.gpa & PAGE_MASK, PAGE_SIZE);
	if (*hva) {
		remember_large(cpu, address, walk.size_shift);
		if (!walk.global)
			note_private(cpu, A64_TLB_COUNT + cpu->el, address);
		a64_epochs_fill(cpu, address, walk.global);
		*entry = (struct a64_code_entry){.tag = page, .gpa = (walk.gpa & PAGE_MASK) | walk.global, .hva = *hva};
	}
	return walk.gpa & PAGE_MASK;
}

/* ---- the slow ways of accesses ---- */

static unsigned first_part(uint64_t address, unsigned size)
{
	const unsigned room = PAGE_SIZE - (unsigned)(address & ~PAGE_MASK);

	return size < room ? size : room;
}

static uint64_t next_page(uint64_t address)
{
	return (address & PAGE_MASK) + PAGE_SIZE;
}

static void check_alignment(struct a64_cpu *cpu, uint64_t address, unsigned size, bool write)
{
	if ((address & (size - 1)) && (cpu->s.sys[A64_SYS_SCTLR_EL1] & A64_SCTLR_A))
		data_abort(cpu, address, A64_FAULT_ALIGNMENT, write);
}

static uint64_t load_host(const uint8_t *hva, unsigned size)
{
	uint64_t value = 0;

	/* Whole words in one access, as the memory model asks. */
	switch (size) {
	case 1:
		return *(const volatile uint8_t *)hva;
	case 2:
		return *(const volatile uint16_t *)hva;
	case 4:
		return *(const volatile uint32_t *)hva;
	case 8:
		return *(const volatile uint64_t *)hva;
	default:
		memcpy(&value, hva, size);
		return value;
	}
}

static void store_host(uint8_t *hva, unsigned size, uint64_t value)
{
	switch (size) {
	case 1:
		*(volatile uint8_t *)hva = (uint8_t)value;
		break;
	case 2:
		*(volatile uint16_t *)hva = (uint16_t)value;
		break;
	case 4:
		*(volatile uint32_t *)hva = (uint32_t)value;
		break;
	case 8:
		*(volatile uint64_t *)hva = value;
		break;
	default:
		memcpy(hva, &value, size);
		break;
	}
}

/* Part of an access: any count of bytes up to 8. Devices are accessed by powers of two. */
static uint64_t load_part(struct a64_cpu *cpu, const struct span *span, unsigned size)
{
	uint64_t value = 0;

	if (span->hva)
		return load_host(span->hva, size);
	for (unsigned done = 0; done < size;) {
		const unsigned left = size - done, part = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;

		value |= a64_device_read(cpu, span->gpa + done, part) << 8 * done;
		done += part;
	}
	return value;
}

static void store_part(struct a64_cpu *cpu, const struct span *span, unsigned size, uint64_t value)
{
	if (span->hva) {
		store_host(span->hva, size, value);
		return;
	}
	for (unsigned done = 0; done < size;) {
		const unsigned left = size - done, part = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
		const uint64_t mask = part == 8 ? ~0ull : (1ull << 8 * part) - 1;

		a64_device_write(cpu, span->gpa + done, part, value >> 8 * done & mask);
		done += part;
	}
}

static uint64_t load_slow(struct a64_cpu *cpu, uint64_t address, unsigned size, enum a64_tlb_index rights)
{
	const unsigned part = first_part(address, size);

	check_alignment(cpu, address, size, false);

	const struct span first = translate(cpu, address, size, false, rights);

	if (part == size)
		return load_part(cpu, &first, size);

	const struct span second = translate(cpu, next_page(address), 1, false, rights);
	const uint64_t low = load_part(cpu, &first, part);

	return low | load_part(cpu, &second, size - part) << 8 * part;
}

static void store_slow(struct a64_cpu *cpu, uint64_t address, unsigned size, uint64_t value, enum a64_tlb_index rights)
{
	const unsigned part = first_part(address, size);

	check_alignment(cpu, address, size, true);

	const struct span first = translate(cpu, address, size, true, rights);

	if (part == size) {
		store_part(cpu, &first, size, value);
		return;
	}

	const struct span second = translate(cpu, next_page(address), 1, true, rights);

	store_part(cpu, &first, part, value & ((1ull << 8 * part) - 1));
	store_part(cpu, &second, size - part, value >> 8 * part);
}

/* ---- accesses ---- */

static bool on_one_page(uint64_t address, unsigned size)
{
	return (address & ~PAGE_MASK) <= PAGE_SIZE - size;
}

uint64_t a64_load(struct a64_cpu *cpu, uint64_t address, unsigned size)
{
	const struct a64_tlb_entry *entry = &cpu->tlb[cpu->data][slot_of(address)];

	if (likely(entry->read_tag == (address & PAGE_MASK) && on_one_page(address, size)))
		return load_host((const uint8_t *)(address + entry->addend), size);
	return load_slow(cpu, address, size, cpu->rights);
}

void a64_store(struct a64_cpu *cpu, uint64_t address, unsigned size, uint64_t value)
{
	const struct a64_tlb_entry *entry = &cpu->tlb[cpu->data][slot_of(address)];

	if (likely(entry->write_tag == (address & PAGE_MASK) && on_one_page(address, size)))
		store_host((uint8_t *)(address + entry->addend), size, value);
	else
		store_slow(cpu, address, size, value, cpu->rights);
}

uint8_t *a64_ram_at(struct a64_cpu *cpu, uint64_t address, unsigned size, bool write)
{
	const struct a64_tlb_entry *entry = &cpu->tlb[cpu->data][slot_of(address)];

	if ((write ? entry->write_tag : entry->read_tag) != (address & PAGE_MASK) || !on_one_page(address, size))
		return NULL;
	return (uint8_t *)(address + entry->addend);
}

uint64_t a64_load_as(struct a64_cpu *cpu, uint64_t address, unsigned size, enum a64_tlb_index rights)
{
	return load_slow(cpu, address, size, rights);
}

void a64_store_as(struct a64_cpu *cpu, uint64_t address, unsigned size, uint64_t value, enum a64_tlb_index rights)
{
	store_slow(cpu, address, size, value, rights);
}

void a64_load16(struct a64_cpu *cpu, uint64_t address, union a64_vreg *value)
{
	const struct a64_tlb_entry *entry = &cpu->tlb[cpu->data][slot_of(address)];

	if (likely(entry->read_tag == (address & PAGE_MASK) && on_one_page(address, 16))) {
		memcpy(value, (const uint8_t *)(address + entry->addend), 16);
		return;
	}
	if ((address & 15) && (cpu->s.sys[A64_SYS_SCTLR_EL1] & A64_SCTLR_A))
		data_abort(cpu, address, A64_FAULT_ALIGNMENT, false);

	const uint64_t low = a64_load(cpu, address, 8);

	value->d[1] = a64_load(cpu, address + 8, 8);
	value->d[0] = low;
}

void a64_store_pair(struct a64_cpu *cpu, uint64_t address, uint64_t first, uint64_t second)
{
	const struct a64_tlb_entry *entry = &cpu->tlb[cpu->data][slot_of(address)];

	if (likely(entry->write_tag == (address & PAGE_MASK) && on_one_page(address, 16))) {
		uint8_t *hva = (uint8_t *)(address + entry->addend);

		store_host(hva, 8, first);
		store_host(hva + 8, 8, second);
		return;
	}
	/* Nothing is stored if the second half faults. */
	if (!on_one_page(address, 16))
		(void)translate(cpu, next_page(address), 1, true, cpu->rights);
	a64_store(cpu, address, 8, first);
	a64_store(cpu, address + 8, 8, second);
}

void a64_store16(struct a64_cpu *cpu, uint64_t address, const union a64_vreg *value)
{
	const struct a64_tlb_entry *entry = &cpu->tlb[cpu->data][slot_of(address)];

	if (likely(entry->write_tag == (address & PAGE_MASK) && on_one_page(address, 16))) {
		memcpy((uint8_t *)(address + entry->addend), value, 16);
		return;
	}
	if ((address & 15) && (cpu->s.sys[A64_SYS_SCTLR_EL1] & A64_SCTLR_A))
		data_abort(cpu, address, A64_FAULT_ALIGNMENT, true);
	a64_store_pair(cpu, address, value->d[0], value->d[1]);
}

uint64_t a64_base(struct a64_cpu *cpu, unsigned n)
{
	const uint64_t address = a64_xsp(&cpu->s, n);

	if (unlikely(n == 31 && (address & 15)) && (cpu->s.sys[A64_SYS_SCTLR_EL1] & (cpu->el ? A64_SCTLR_SA : A64_SCTLR_SA0)))
		a64_raise(cpu, A64_EC_SP_ALIGNMENT, 0);
	return address;
}

void *a64_atomic_at(struct a64_cpu *cpu, uint64_t address, unsigned size, bool write, uint64_t *gpa)
{
	struct span span;

	if (address & (size - 1))
		data_abort(cpu, address, A64_FAULT_ALIGNMENT, write);
	span = translate(cpu, address, size, write, cpu->rights);
	if (!span.hva)
		data_abort(cpu, address, A64_FAULT_UNSUPPORTED_ATOMIC, write);
	if (gpa)
		*gpa = span.gpa;
	return span.hva;
}

/* ---- maintenance ---- */

/* Whoever decoded code of the page finds out by its generation. */
static void bump(_Atomic uint32_t *word)
{
	uint32_t old = atomic_load(word);

	while ((old & 1) && !atomic_compare_exchange_weak(word, &old, (old & ~1u) + 2)) {
	}
}

static void cache_abort(struct a64_cpu *cpu, uint64_t address, unsigned fault)
{
	/* CM, and as of a write (D19.2.37, ISS of data aborts). */
	a64_raise_far(cpu, A64_EC_DATA_LOWER + (cpu->el ? 1 : 0), 1u << 8 | 1u << 6 | fault, address);
}

void a64_check_maintenance(struct a64_cpu *cpu, uint64_t address)
{
	struct a64_walk walk;

	if (a64_walk(&cpu->vm->mem, &cpu->s, address, access_of(cpu->rights, false), &walk) < 0)
		cache_abort(cpu, address, walk.fault);
}

void a64_ic_invalidate(struct a64_cpu *cpu, uint64_t address)
{
	struct a64_walk walk;
	_Atomic uint32_t *word;

	if (a64_walk(&cpu->vm->mem, &cpu->s, address, access_of(cpu->rights, false), &walk) < 0)
		cache_abort(cpu, address, walk.fault);
	word = mem_page_word(&cpu->vm->mem, walk.gpa);
	if (word)
		bump(word);
}

void a64_ic_invalidate_all(struct a64_cpu *cpu)
{
	atomic_fetch_add(&cpu->shared->ic_epoch, 1);
	for (unsigned i = 0; i < cpu->vm->vcpu_count; i++)
		if (cpu->vm->vcpus[i] && cpu->vm->vcpus[i] != cpu->vcpu)
			vcpu_request(cpu->vm->vcpus[i], VCPU_REQ_FLUSH);
}

uint64_t a64_translate_address(struct a64_cpu *cpu, uint64_t address, unsigned access)
{
	struct a64_walk walk;

	/* PAR_EL1 (D19.2.110): a fault, or the address with attributes. */
	if (a64_walk(&cpu->vm->mem, &cpu->s, address, access | A64_WALK_LOOK, &walk) < 0)
		return 1u | 1u << 11 | (uint64_t)walk.fault << 1;
	return (walk.gpa & 0xfffffffff000ull) | (uint64_t)walk.attributes << 56 | 1u << 11 | (uint64_t)walk.shareability << 7;
}

void a64_zero_block(struct a64_cpu *cpu, uint64_t address)
{
	const uint64_t block = address & ~63ull;
	struct span span;

	/* A fault names the address as given. */
	if (cpu->tlb[cpu->rights][slot_of(address)].write_tag != (address & PAGE_MASK)) {
		struct a64_walk walk;

		if (a64_walk(&cpu->vm->mem, &cpu->s, address, access_of(cpu->rights, true), &walk) < 0)
			data_abort(cpu, address, walk.fault, true);
		if (walk.device)
			data_abort(cpu, address, A64_FAULT_ALIGNMENT, true);
	}
	span = translate(cpu, block, 64, true, cpu->rights);
	if (span.hva) {
		memset(span.hva, 0, 64);
		return;
	}
	for (unsigned i = 0; i < 64; i += 8)
		a64_device_write(cpu, span.gpa + i, 8, 0);
}
