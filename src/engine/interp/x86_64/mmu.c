/* Linear memory of the interpreter's vcpu: the soft TLB and what happens on a miss.
 *
 * A TLB entry lets an access go straight to host memory. It is made only for RAM; the write tag only if nobody
 * has to know of writes: the page holds no decoded code and is not awaited by the dirty log. All else
 * comes here each time.
 */
#include "engine/interp/cas.h"
#include "engine/interp/x86_64/cpu.h"
#include "base/errno.h"
#include "base/string.h"
#include "core/debug.h"

/* One page's worth of an access, translated. */
struct span {
	gpa_t gpa;
	uint8_t *hva; /* NULL: a device */
	_Atomic uint32_t *word;
};

bool canonical(uint64_t address)
{
	return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

static unsigned tlb_slot(gva_t gva)
{
	return (unsigned)(gva >> PAGE_SHIFT) & (TLB_SIZE - 1);
}

/* ---- invalidation ---- */

static unsigned region_bit(uint64_t region)
{
	return (unsigned)((region * 0x9e3779b97f4a7c15ull) >> 52); /* 12 bits: 64 words of 64 */
}

static void region_add(struct cpu *cpu, uint64_t region)
{
	cpu->large_pages[region_bit(region) >> 6] |= 1ull << (region_bit(region) & 63);
}

static bool region_has(const struct cpu *cpu, uint64_t region)
{
	return cpu->large_pages[region_bit(region) >> 6] >> (region_bit(region) & 63) & 1;
}

/* The names under which fills from large pages are remembered; 1 GiB ones are kept apart by bit 63. */
static uint64_t region_2m(gva_t gva)
{
	return gva >> 21;
}

static uint64_t region_1g(gva_t gva)
{
	return gva >> 30 | 1ull << 63;
}

#define LOG_CODE (TLB_COUNT * TLB_SIZE) /* tlb_log: slots of code_tlb from here on */

/* A slot was empty and is filled now. */
static void log_fill(struct cpu *cpu, unsigned slot)
{
	if (cpu->tlb_log_left)
		cpu->tlb_log[TLB_LOG - cpu->tlb_log_left--] = (uint16_t)slot;
}

/* False if it stays filled. */
static bool flush_slot(struct cpu *cpu, unsigned slot, bool global_too)
{
	if (slot < LOG_CODE) {
		struct tlb_entry *entry = &cpu->tlb[slot / TLB_SIZE][slot % TLB_SIZE];

		if (!global_too && (entry->gpa_global & 1))
			return false;
		entry->read_tag = entry->write_tag = TLB_NONE;
		return true;
	}
	struct code_tlb_entry *entry = &cpu->code_tlb[(slot - LOG_CODE) / TLB_SIZE][slot % TLB_SIZE];

	if (!global_too && (entry->gpa_global & 1))
		return false;
	entry->tag = TLB_NONE;
	return true;
}

static void flush_logged(struct cpu *cpu, bool global_too)
{
	unsigned count = TLB_LOG - cpu->tlb_log_left, kept = 0;

	for (unsigned i = 0; i < count; i++) {
		if (!flush_slot(cpu, cpu->tlb_log[i], global_too))
			cpu->tlb_log[kept++] = cpu->tlb_log[i];
	}
	cpu->tlb_log_left = TLB_LOG - kept;
}

static void flush_every_slot(struct cpu *cpu, bool global_too)
{
	for (unsigned index = 0; index < TLB_COUNT; index++) {
		for (unsigned i = 0; i < TLB_SIZE; i++) {
			struct tlb_entry *entry = &cpu->tlb[index][i];

			if (global_too || !(entry->gpa_global & 1))
				entry->read_tag = entry->write_tag = TLB_NONE;
		}
	}
	for (unsigned user = 0; user < 2; user++) {
		for (unsigned i = 0; i < TLB_SIZE; i++) {
			struct code_tlb_entry *entry = &cpu->code_tlb[user][i];

			if (global_too || !(entry->gpa_global & 1))
				entry->tag = TLB_NONE;
		}
	}
	if (global_too)
		cpu->tlb_log_left = TLB_LOG;
}

static void tlb_flush(struct cpu *cpu, bool global_too)
{
	if (cpu->tlb_log_left)
		flush_logged(cpu, global_too);
	else
		/* Beside another engine this TLB is rarely used and often flushed: start the log anew. */
		flush_every_slot(cpu, global_too || cpu->mmu_hooks);
	if (global_too)
		memset(cpu->large_pages, 0, sizeof(cpu->large_pages));
	cpu->epoch++;
}

static void tlb_flush_page(struct cpu *cpu, gva_t gva)
{
	if (region_has(cpu, region_2m(gva)) || region_has(cpu, region_1g(gva))) {
		tlb_flush(cpu, true);
		return;
	}
	for (unsigned index = 0; index < TLB_COUNT; index++) {
		struct tlb_entry *entry = &cpu->tlb[index][tlb_slot(gva)];

		entry->read_tag = entry->write_tag = TLB_NONE;
	}
	for (unsigned user = 0; user < 2; user++)
		cpu->code_tlb[user][tlb_slot(gva)].tag = TLB_NONE;
	cpu->epoch++;
}

void tlb_flush_writes(struct cpu *cpu)
{
	for (unsigned index = 0; index < TLB_COUNT; index++) {
		for (unsigned i = 0; i < TLB_SIZE; i++) {
			cpu->tlb[index][i].write_tag = TLB_NONE;
			cpu->tlb[index][i].gpa_global &= ~(uint64_t)TLB_MAY_WRITE;
		}
	}
	if (cpu->mmu_hooks)
		cpu->mmu_hooks->flush_writes(cpu->mmu_hooks_ctx);
	atomic_fetch_add(&cpu->flushes, 1);
}

void cpu_flush(struct cpu *cpu)
{
	tlb_flush(cpu, true);
	if (cpu->mmu_hooks)
		cpu->mmu_hooks->flush(cpu->mmu_hooks_ctx);
}

void cpu_set_pkru(struct cpu *cpu, uint32_t value)
{
	if (cpu->s.pkru == value)
		return;
	cpu->s.pkru = value;
	cpu_flush(cpu); /* its rights are in the entries */
}

void cpu_flush_page(struct cpu *cpu, gva_t gva)
{
	tlb_flush_page(cpu, gva);
	if (cpu->mmu_hooks)
		cpu->mmu_hooks->flush_page(cpu->mmu_hooks_ctx, gva);
}

void cpu_set_cr3(struct cpu *cpu, uint64_t value)
{
	bool keep = (cpu->s.cr4 & X86_CR4_PCIDE) && (value & X86_CR3_NOFLUSH);
	uint64_t old = cpu->s.cr3;

	cpu->s.cr3 = value & ~X86_CR3_NOFLUSH;
	/* The TLB knows no PCIDs: another address space is another set of entries, kept or not. */
	if (!keep || cpu->s.cr3 != old)
		tlb_flush(cpu, false);
	if (cpu->mmu_hooks)
		cpu->mmu_hooks->write_cr3(cpu->mmu_hooks_ctx, cpu->s.cr3, keep);
}

void cpu_invpcid(struct cpu *cpu, unsigned type, unsigned pcid, gva_t gva)
{
	unsigned current = cpu->s.cr4 & X86_CR4_PCIDE ? cpu->s.cr3 & 0xfff : 0;

	/* Entries of other PCIDs are not kept in the TLB. */
	if (type == 0 && pcid == current)
		tlb_flush_page(cpu, gva);
	else if (type >= 2 || (type == 1 && pcid == current))
		tlb_flush(cpu, type == 2);
	if (cpu->mmu_hooks)
		cpu->mmu_hooks->invpcid(cpu->mmu_hooks_ctx, type, pcid, gva);
}

static void forget_writes_to(struct cpu *cpu, gpa_t page)
{
	for (unsigned index = 0; index < TLB_COUNT; index++) {
		for (unsigned i = 0; i < TLB_SIZE; i++) {
			if ((cpu->tlb[index][i].gpa_global & PAGE_MASK) == page)
				cpu->tlb[index][i].write_tag = TLB_NONE;
		}
	}
}

/* While we wait for others, they may wait for us: we are between instructions, so answer. */
static void answer_and_pause(struct cpu *cpu)
{
	if (vcpu_take_request(cpu->vcpu, VCPU_REQ_FLUSH))
		tlb_flush_writes(cpu);
	__builtin_ia32_pause();
}

/* By its handshake every other processor either forgets its write tags before it runs on, or is out of its engine and will
 * before it enters. */
static void forget_writes_of_others(struct cpu *cpu)
{
	for (unsigned i = 0; i < cpu->vm->vcpu_count; i++) {
		struct vcpu *other = cpu->vm->vcpus[i];
		struct cpu *other_cpu = other ? other->engine_vcpu : NULL;

		if (other == cpu->vcpu || !other_cpu)
			continue;
		uint32_t before = atomic_load(&other_cpu->flushes);

		vcpu_request(other, VCPU_REQ_FLUSH);
		while (atomic_load(&other->in_engine) && atomic_load(&other_cpu->flushes) == before)
			answer_and_pause(cpu);
	}
}

void code_page_mark(struct cpu *cpu, gpa_t gpa)
{
	_Atomic uint32_t *word = mem_page_word(&cpu->vm->mem, gpa);
	_Atomic uint32_t *marking = &cpu->shared->marking;

	if (!word)
		return;
	if (atomic_load(word) & 1) {
		/* Whoever marked it may still be waiting for others to forget their write tags. (It counted itself in
		 * before it set the bit: no count now means that it has finished.) */
		while (atomic_load(marking))
			answer_and_pause(cpu);
		if (atomic_load(word) & 1)
			return;
	}
	atomic_fetch_add(marking, 1);
	atomic_fetch_or(word, 1);
	if (cpu->mmu_hooks) {
		cpu->mmu_hooks->code_page_marked(cpu->mmu_hooks_ctx, gpa & PAGE_MASK);
	} else {
		forget_writes_to(cpu, gpa & PAGE_MASK);
		forget_writes_of_others(cpu);
	}
	atomic_fetch_sub(marking, 1);
}

/* Somebody must know: the page holds decoded code. Stale blocks find out by the generation; the page is plain
 * data again until code on it is decoded anew. */
static void code_page_written(struct cpu *cpu, const struct span *span, unsigned len)
{
	uint32_t old = atomic_load(span->word), keep = cpu->mmu_hooks ? 1 : 0;

	while ((old & 1) && !atomic_compare_exchange_weak(span->word, &old, (old & ~1u) + 2 + keep)) {
	}
	if (cpu->block && cpu->block->page_word == span->word)
		cpu->smc = true;
	if (cpu->mmu_hooks)
		cpu->mmu_hooks->code_page_written(cpu->mmu_hooks_ctx, span->gpa, len);
}

/* [span, span + len) in RAM was written. */
static void note_write(struct cpu *cpu, const struct span *span, unsigned len)
{
	if (!span->word)
		return;
	/* With hooks: whoever marks the page and does not see the bytes is seen here. */
	atomic_thread_fence(memory_order_seq_cst);
	if (unlikely(atomic_load(span->word) & 1))
		code_page_written(cpu, span, len);
}

/* ---- translation ---- */

static __attribute__((noreturn)) void page_fault(struct cpu *cpu, gva_t gva, uint32_t code)
{
	cpu->s.cr2 = gva;
	raise_error(cpu, X86_EXC_PF, code);
}

static unsigned walk_access(enum tlb_index index, bool write)
{
	return (write ? X86_WALK_WRITE : 0) | (index == TLB_USER ? X86_WALK_USER : 0) |
	       (index == TLB_SUPERVISOR_AC ? X86_WALK_SMAP_AC : 0);
}

static void remember_large(struct cpu *cpu, gva_t gva, uint64_t page_size)
{
	if (page_size > MIB(4))
		region_add(cpu, region_1g(gva));
	else if (page_size == MIB(4)) {
		region_add(cpu, region_2m(gva & ~(MIB(4) - 1)));
		region_add(cpu, region_2m(gva | MIB(2)));
	} else if (page_size == MIB(2))
		region_add(cpu, region_2m(gva));
}

static void log_dirty(struct mem_slot *slot, uint64_t page, bool write)
{
	if (write && slot->dirty)
		atomic_fetch_or(&slot->dirty[page >> 6], 1ull << (page & 63));
}

static struct span translate(struct cpu *cpu, gva_t gva, bool write, enum tlb_index index)
{
	struct tlb_entry *entry = &cpu->tlb[index][tlb_slot(gva)];
	gva_t page = gva & PAGE_MASK;
	struct span span = {0};
	struct x86_walk walk;

	bool may_write = entry->write_tag == page ||
			 (entry->read_tag == page && (entry->gpa_global & TLB_MAY_WRITE));

	if (write ? may_write : entry->read_tag == page) {
		span.hva = (uint8_t *)(gva + entry->addend);
		span.gpa = (entry->gpa_global & PAGE_MASK) | (gva & ~PAGE_MASK);
		if (write && cpu->mmu_hooks)
			span.word = mem_page_word(&cpu->vm->mem, span.gpa);
		return span;
	}
	if (x86_walk(&cpu->vm->mem, &cpu->s, cpu->cpuid->physical_bits, gva, walk_access(index, write), &walk) < 0)
		page_fault(cpu, gva, walk.error_code);
	remember_large(cpu, gva, walk.page_size);

	struct mem_slot *slot = mem_find(&cpu->vm->mem, walk.gpa);

	span.gpa = walk.gpa;
	if (!slot || (write && slot->read_only))
		return span;
	span.hva = slot->hva + (walk.gpa - slot->gpa);
	span.word = &slot->page_words[(walk.gpa - slot->gpa) >> PAGE_SHIFT];

	uint64_t gpa_page = walk.gpa & PAGE_MASK;
	uint64_t page_index = (walk.gpa - slot->gpa) >> PAGE_SHIFT;

	if (unlikely(cpu->watching) && debug_watches_page(cpu->debug, page)) {
		log_dirty(slot, page_index, write);
		return span;
	}
	if (entry->read_tag == TLB_NONE)
		log_fill(cpu, (unsigned)index * TLB_SIZE + tlb_slot(gva));
	if (entry->read_tag != page)
		entry->write_tag = TLB_NONE;
	entry->read_tag = page;
	entry->addend = (uintptr_t)span.hva - gva;
	entry->gpa_global = gpa_page | walk.global;
	if (write) {
		log_dirty(slot, page_index, write);
		if (cpu->mmu_hooks)
			entry->gpa_global |= TLB_MAY_WRITE;
		else if (!(atomic_load(span.word) & 1))
			entry->write_tag = page;
	}
	return span;
}

static void check_canonical(struct cpu *cpu, gva_t gva, unsigned len, unsigned seg)
{
	if (!cpu->long_mode)
		return;
	if (likely(canonical(gva) && canonical(gva + len - 1)))
		return;
	raise_error(cpu, seg == X86_SS ? X86_EXC_SS : X86_EXC_GP, 0);
}

/* SDM 3A table 6-7 (#AC): by an operand's size, at most 16 bytes; 8 for 80-bit numbers, 4 or 2 for x87 images. */
static unsigned required_alignment(unsigned len)
{
	unsigned lowest = len & -len;

	return len == 10 ? 8 : lowest > 16 ? 16 : lowest;
}

/* #AC comes before any page fault. */
static void check_alignment(struct cpu *cpu, gva_t gva, unsigned len)
{
	if ((cpu->s.cr0 & X86_CR0_AM) && (cpu->s.rflags & X86_FLAG_AC) && cpu->cpl == 3 &&
	    (gva & (required_alignment(len) - 1)))
		raise_error(cpu, X86_EXC_AC, 0);
}

/* #AC and data breakpoints (SDM 3A 17.2.4): only reached when one of them is on. */
static void check_access(struct cpu *cpu, gva_t gva, unsigned len, bool write)
{
	check_alignment(cpu, gva, len);
	for (unsigned i = 0; i < 4; i++) {
		static const uint8_t lengths[4] = {1, 2, 8, 4};
		unsigned type = cpu->s.dr7 >> (16 + 4 * i) & 3;
		unsigned size = lengths[cpu->s.dr7 >> (18 + 4 * i) & 3];
		uint64_t start = cpu->s.dr[i] & ~(uint64_t)(size - 1);

		if (!(cpu->s.dr7 >> (2 * i) & 3) || type == 0 || type == 2 || (type == 1 && !write))
			continue;
		if (gva < start + size && start < gva + len)
			cpu->db_pending |= 1ull << i;
	}
}

static gva_t next_page(const struct cpu *cpu, gva_t gva)
{
	gva_t next = (gva & PAGE_MASK) + PAGE_SIZE;

	return cpu->long_mode ? next : next & 0xffffffffull;
}

/* ---- copying between a buffer and a translated span ---- */

static void load_memory(struct cpu *cpu, const struct span *span, uint8_t *buf, unsigned len)
{
	if (span->hva) {
		switch (len) { /* whole words in one access, as the memory model asks */
		case 1:
			*buf = *(volatile uint8_t *)span->hva;
			return;
		case 2: {
			uint16_t value = *(volatile uint16_t *)span->hva;
			memcpy(buf, &value, 2);
			return;
		}
		case 4: {
			uint32_t value = *(volatile uint32_t *)span->hva;
			memcpy(buf, &value, 4);
			return;
		}
		case 8: {
			uint64_t value = *(volatile uint64_t *)span->hva;
			memcpy(buf, &value, 8);
			return;
		}
		default:
			memcpy(buf, span->hva, len);
			return;
		}
	}
	for (unsigned done = 0; done < len;) {
		unsigned size = len - done >= 8 ? 8 : len - done >= 4 ? 4 : len - done >= 2 ? 2 : 1;
		uint64_t value = cpu_phys_read(cpu, span->gpa + done, size);

		memcpy(buf + done, &value, size);
		done += size;
	}
}

static void load_span(struct cpu *cpu, const struct span *span, uint8_t *buf, unsigned len)
{
	/* A device is not to be read: the overlay leaves. */
	if (unlikely(cpu->overlay != NULL) && !span->hva)
		cpu->overlay->load(cpu, NULL, buf, len);
	load_memory(cpu, span, buf, len);
	if (unlikely(cpu->overlay != NULL))
		cpu->overlay->load(cpu, span->hva, buf, len);
}

static void store_span(struct cpu *cpu, const struct span *span, const uint8_t *buf, unsigned len)
{
	if (unlikely(cpu->overlay != NULL)) {
		cpu->overlay->store(cpu, span->hva, span->gpa, buf, len);
		return;
	}
	if (!span->hva) {
		for (unsigned done = 0; done < len;) {
			unsigned size = len - done >= 8 ? 8 : len - done >= 4 ? 4 : len - done >= 2 ? 2 : 1;
			uint64_t value = 0;

			memcpy(&value, buf + done, size);
			cpu_phys_write(cpu, span->gpa + done, size, value);
			done += size;
		}
		return;
	}
	switch (len) {
	case 1:
		*(volatile uint8_t *)span->hva = *buf;
		break;
	case 2: {
		uint16_t value;
		memcpy(&value, buf, 2);
		*(volatile uint16_t *)span->hva = value;
		break;
	}
	case 4: {
		uint32_t value;
		memcpy(&value, buf, 4);
		*(volatile uint32_t *)span->hva = value;
		break;
	}
	case 8: {
		uint64_t value;
		memcpy(&value, buf, 8);
		*(volatile uint64_t *)span->hva = value;
		break;
	}
	default:
		memcpy(span->hva, buf, len);
		break;
	}
	note_write(cpu, span, len);
}

static unsigned first_part(gva_t gva, unsigned len)
{
	unsigned room = PAGE_SIZE - (unsigned)(gva & ~PAGE_MASK);

	return len < room ? len : room;
}

void cpu_load_linear(struct cpu *cpu, gva_t gva, void *buf, unsigned len, enum tlb_index index, unsigned seg)
{
	unsigned part = first_part(gva, len);

	check_canonical(cpu, gva, len, seg);
	if (unlikely(cpu->data_tlb == TLB_CHECKED) && index == cpu->rights)
		check_access(cpu, gva, len, false);
	if (unlikely(cpu->watching))
		cpu_watch(cpu, gva, len, false, false);

	struct span first = translate(cpu, gva, false, index);

	if (part == len) {
		load_span(cpu, &first, buf, len);
		return;
	}
	struct span second = translate(cpu, next_page(cpu, gva), false, index);

	load_span(cpu, &first, buf, part);
	load_span(cpu, &second, (uint8_t *)buf + part, len - part);
}

void cpu_store_linear(struct cpu *cpu, gva_t gva, const void *buf, unsigned len, enum tlb_index index, unsigned seg)
{
	unsigned part = first_part(gva, len);

	check_canonical(cpu, gva, len, seg);
	if (unlikely(cpu->data_tlb == TLB_CHECKED) && index == cpu->rights)
		check_access(cpu, gva, len, true);
	if (unlikely(cpu->watching))
		cpu_watch(cpu, gva, len, true, false);

	struct span first = translate(cpu, gva, true, index);

	if (part == len) {
		store_span(cpu, &first, buf, len);
		return;
	}
	struct span second = translate(cpu, next_page(cpu, gva), true, index);

	/* A device may want the instruction to begin again: what it loads must not have been stored to by then. */
	if (!second.hva)
		store_span(cpu, &second, (const uint8_t *)buf + part, len - part);
	store_span(cpu, &first, buf, part);
	if (second.hva)
		store_span(cpu, &second, (const uint8_t *)buf + part, len - part);
}

void cpu_probe_linear(struct cpu *cpu, gva_t gva, unsigned len, enum tlb_index index, unsigned seg)
{
	check_canonical(cpu, gva, len, seg);
	if (unlikely(cpu->data_tlb == TLB_CHECKED) && index == cpu->rights)
		check_alignment(cpu, gva, len);
	if (unlikely(cpu->watching))
		cpu_watch(cpu, gva, len, true, true);
	translate(cpu, gva, true, index);
	if (first_part(gva, len) != len)
		translate(cpu, next_page(cpu, gva), true, index);
}

bool cpu_cas_slow(struct cpu *cpu, gva_t gva, unsigned size, void *expected, const void *desired, unsigned seg)
{
	unsigned part = first_part(gva, size);
	uint8_t current[16];
	struct span spans[2];
	bool equal;

	check_canonical(cpu, gva, size, seg);
	if (unlikely(cpu->data_tlb == TLB_CHECKED))
		check_access(cpu, gva, size, true);
	if (unlikely(cpu->watching)) {
		cpu_watch(cpu, gva, size, false, false);
		cpu_watch(cpu, gva, size, true, false);
	}
	spans[0] = translate(cpu, gva, true, cpu->rights);
	spans[1] = part < size ? translate(cpu, next_page(cpu, gva), true, cpu->rights) : (struct span){0};

	bool ram = spans[0].hva && (part == size || spans[1].hva);

	if (ram && part == size && !cpu->overlay) {
		equal = sem_cas_host(spans[0].hva, size, expected, desired);
		note_write(cpu, &spans[0], size);
		return equal;
	}

	/* A device may leave the engine from within its access: no lock then, and it is the device's to be atomic. */
	if (ram && !cpu->overlay)
		lock_take(&cpu->shared->split_lock);
	load_span(cpu, &spans[0], current, part);
	if (part < size)
		load_span(cpu, &spans[1], current + part, size - part);
	equal = !memcmp(current, expected, size);

	const uint8_t *value = equal ? desired : current;

	/* A device sees the write that hardware makes in either case; RAM need not, and another processor's plain store
	 * must not be undone. */
	if (equal || !ram) {
		store_span(cpu, &spans[0], value, part);
		if (part < size)
			store_span(cpu, &spans[1], value + part, size - part);
	}
	if (ram && !cpu->overlay)
		lock_release(&cpu->shared->split_lock);
	memcpy(expected, current, size);
	return equal;
}

uint64_t cpu_load_system(struct cpu *cpu, gva_t gva, unsigned size)
{
	uint64_t value = 0;

	if (!cpu->long_mode)
		gva &= 0xffffffffull;
	cpu_load_linear(cpu, gva, &value, size, TLB_SUPERVISOR, X86_DS);
	return value;
}

void cpu_store_system(struct cpu *cpu, gva_t gva, unsigned size, uint64_t value)
{
	if (!cpu->long_mode)
		gva &= 0xffffffffull;
	cpu_store_linear(cpu, gva, &value, size, TLB_SUPERVISOR, X86_DS);
}

/* ---- segments ---- */

static __attribute__((noreturn)) void segment_fault(struct cpu *cpu, unsigned seg)
{
	raise_error(cpu, seg == X86_SS ? X86_EXC_SS : X86_EXC_GP, 0);
}

gva_t cpu_linear(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned len, bool write)
{
	const struct x86_segment *segment = &cpu->s.seg[seg];
	uint32_t ar = segment->ar;

	if (cpu->mode == X86_MODE_64)
		return seg >= X86_FS ? segment->base + offset : offset;
	offset &= 0xffffffffull;
	if (ar & X86_AR_UNUSABLE)
		segment_fault(cpu, seg);
	if (ar & X86_AR_CODE) {
		/* In real mode CS may be written: its cached rights say code, yet only the type matters in protected
		 * mode (SDM 3A 20.1.2). */
		if ((write && (cpu->s.cr0 & X86_CR0_PE) && !(cpu->s.rflags & X86_FLAG_VM)) || !(ar & X86_AR_WRITABLE))
			segment_fault(cpu, seg);
	} else if (write && !(ar & X86_AR_WRITABLE)) {
		segment_fault(cpu, seg);
	}

	uint64_t last = offset + len - 1;

	if (!(ar & X86_AR_CODE) && (ar & X86_AR_DOWN)) {
		uint64_t top = ar & X86_AR_DB ? 0xffffffffull : 0xffff;

		if (offset <= segment->limit || last > top)
			segment_fault(cpu, seg);
	} else if (last > segment->limit) {
		segment_fault(cpu, seg);
	}
	return (segment->base + offset) & 0xffffffffull;
}

void *cpu_span(struct cpu *cpu, unsigned seg, uint64_t offset, uint64_t len, bool write, uint64_t *available)
{
	uint64_t room;
	gva_t gva;

	if (cpu->data_tlb == TLB_CHECKED)
		return NULL;
	gva = cpu_linear(cpu, seg, offset, 1, write);
	room = PAGE_SIZE - (gva & ~PAGE_MASK);
	if (len > room)
		len = room;
	if (cpu->mode != X86_MODE_64) {
		const struct x86_segment *segment = &cpu->s.seg[seg];

		/* Only plain expand-up segments; the rest goes element by element. */
		if ((!(segment->ar & X86_AR_CODE) && (segment->ar & X86_AR_DOWN)) ||
		    (offset & 0xffffffffull) + len - 1 > segment->limit)
			return NULL;
	} else {
		check_canonical(cpu, gva, 1, seg);
	}
	if (unlikely(cpu->watching) && debug_watches_page(cpu->debug, gva))
		return NULL;

	struct span span = translate(cpu, gva, write, cpu->rights);

	if (!span.hva || (write && span.word && (atomic_load(span.word) & 1)))
		return NULL;
	*available = len;
	return span.hva;
}

void cpu_span_written(struct cpu *cpu, unsigned seg, uint64_t offset, uint64_t len)
{
	struct span span;

	if (!cpu->mmu_hooks)
		return;
	/* It can't fault: the page is in the TLB since cpu_span(). */
	span = translate(cpu, cpu_linear(cpu, seg, offset, 1, true), true, cpu->rights);
	note_write(cpu, &span, (unsigned)len);
}

/* ---- code ---- */

gpa_t cpu_code_page(struct cpu *cpu, gva_t gva, uint8_t **hva)
{
	bool user = cpu->cpl == 3;
	struct code_tlb_entry *entry = &cpu->code_tlb[user][tlb_slot(gva)];
	gva_t page = gva & PAGE_MASK;

	if (likely(entry->tag == page)) {
		*hva = entry->hva;
		return entry->gpa_global & PAGE_MASK;
	}

	struct x86_walk walk;

	if (cpu->mode == X86_MODE_64 && !canonical(gva))
		raise_error(cpu, X86_EXC_GP, 0);
	if (x86_walk(&cpu->vm->mem, &cpu->s, cpu->cpuid->physical_bits, gva,
		     X86_WALK_FETCH | (user ? X86_WALK_USER : 0), &walk) < 0)
		page_fault(cpu, gva, walk.error_code);
	remember_large(cpu, gva, walk.page_size);
	if (entry->tag == TLB_NONE)
		log_fill(cpu, LOG_CODE + user * TLB_SIZE + tlb_slot(gva));
	entry->tag = page;
	entry->gpa_global = (walk.gpa & PAGE_MASK) | walk.global;
	entry->hva = mem_hva(&cpu->vm->mem, walk.gpa & PAGE_MASK, PAGE_SIZE);
	*hva = entry->hva;
	return walk.gpa & PAGE_MASK;
}
