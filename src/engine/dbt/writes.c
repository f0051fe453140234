/* Writes to guest code: which translations they end, in every vcpu.
 *
 * A page of translated code is out of the writable views (dbt_ram_protect), so translated code that writes to it faults and
 * is interpreted; the interpreter, and everybody else through mem.written, tells of each write. The page is data then:
 * given back to the writable views, its blocks suspended, in every vcpu. The writer's own blocks go at once, before its
 * next instruction; the others learn of it by the ring and a request that takes them out of translated code (as the
 * architecture has it: another processor's change of code is only sure to be seen after something that serializes). When a
 * block of the page is looked for, the page is watched again and the block compared with its bytes: what was not
 * changed is not translated again.
 *
 * A page that keeps being code and data in turn stays watched: then each write costs, but only blocks over its bytes go.
 */
#include "engine/dbt/dbt.h"
#include "base/lock.h"
#include <stdatomic.h>

static void post(struct dbt_vm *shared, gpa_t gpa, unsigned len, const struct vcpu *but)
{
	struct dbt_writes *writes = &shared->writes;
	uint32_t head;

	lock_take(&writes->lock);
	head = atomic_load(&writes->head);
	atomic_store(&writes->ring[head % DBT_WRITES], gpa << 12 | (len & 0xfff));
	atomic_store(&writes->head, head + 1);
	lock_release(&writes->lock);
	for (unsigned i = 0; i < shared->vm->vcpu_count; i++) {
		struct vcpu *other = shared->vm->vcpus[i];

		if (other && other != but)
			vcpu_request(other, VCPU_REQ_FLUSH);
	}
}

/* The page's bit goes first: whoever marks it from now on protects it again. */
static void page_becomes_data(struct dbt_vm *shared, gpa_t page)
{
	_Atomic uint32_t *word = mem_page_word(&shared->vm->mem, page);
	uint32_t old;

	if (!word)
		return;
	lock_take(&shared->marking);
	old = atomic_load(word);
	while ((old & 1) && !atomic_compare_exchange_weak(word, &old, (old & ~1u) + 2)) {
	}
	if (old & 1)
		dbt_ram_unprotect(shared->ram, page);
	lock_release(&shared->marking);
}

static void marked(void *ctx, gpa_t gpa)
{
	struct dbt *d = ctx;
	_Atomic uint32_t *word = mem_page_word(&d->shared->vm->mem, gpa);

	lock_take(&d->shared->marking);
	/* Once more: another vcpu may have given the page up in between. */
	atomic_fetch_or(word, 1);
	dbt_ram_protect(d->shared->ram, gpa);
	lock_release(&d->shared->marking);
}

static void written(void *ctx, gpa_t gpa, unsigned len)
{
	struct dbt *d = ctx;
	gpa_t page = gpa & PAGE_MASK;

	if (dbt_page_stays_code(d, page)) {
		dbt_page_drop_range(d, gpa, len);
	} else {
		dbt_page_suspend(d, page);
		page_becomes_data(d->shared, page);
		gpa = page;
		len = 0;
	}
	/* Alone, nobody has to be told. */
	if (d->shared->vm->vcpu_count > 1)
		post(d->shared, gpa, len, d->cpu.vcpu);
}

void dbt_memory_written(void *ctx, gpa_t gpa, uint64_t len)
{
	struct dbt_vm *shared = ctx;
	gpa_t end = gpa + len;

	for (gpa_t page = gpa & PAGE_MASK; page < end; page += PAGE_SIZE) {
		_Atomic uint32_t *word = mem_page_word(&shared->vm->mem, page);

		if (word && (atomic_load(word) & 1)) {
			page_becomes_data(shared, page);
			post(shared, page, 0, NULL);
		}
	}
}

void dbt_memory_discarded(void *ctx, gpa_t gpa, uint64_t len)
{
	struct dbt_vm *shared = ctx;

	dbt_ram_discarded(shared->ram, gpa, len);
}

void dbt_see_writes(struct dbt *d)
{
	struct dbt_writes *writes = &d->shared->writes;
	uint32_t head = atomic_load(&writes->head);

	while (d->writes_seen != head) {
		uint64_t write = atomic_load(&writes->ring[d->writes_seen % DBT_WRITES]);

		/* More than the ring holds, or overwritten while we looked. */
		if (atomic_load(&writes->head) - d->writes_seen > DBT_WRITES - 8) {
			dbt_code_flush(d);
			d->writes_seen = atomic_load(&writes->head);
			return;
		}
		if (write & 0xfff)
			dbt_page_drop_range(d, write >> 12, (unsigned)(write & 0xfff));
		else
			dbt_page_suspend(d, write >> 12);
		d->writes_seen++;
	}
}

/* ---- the interpreter's operations on linear memory ---- */

static struct dbt_mmu *mmu_of(void *ctx)
{
	return &((struct dbt *)ctx)->mmu;
}

static void write_cr3(void *ctx, uint64_t cr3, bool no_flush)
{
	dbt_mmu_write_cr3(mmu_of(ctx), cr3, no_flush);
}
static void flush(void *ctx)
{
	dbt_mmu_flush(mmu_of(ctx), true);
}
static void flush_page(void *ctx, gva_t gva)
{
	dbt_mmu_flush_page(mmu_of(ctx), gva);
}
static void invpcid(void *ctx, unsigned type, unsigned pcid, gva_t gva)
{
	dbt_mmu_invpcid(mmu_of(ctx), type, pcid, gva);
}
static void flush_writes(void *ctx)
{
	struct dbt *d = ctx;

	/* The same request tells of writes to code. */
	if (d->cpu.vm->mem.slots[0].dirty)
		dbt_mmu_flush_writes(&d->mmu);
}

const struct cpu_mmu_hooks dbt_mmu_hooks = {
	.write_cr3 = write_cr3,
	.flush = flush,
	.flush_page = flush_page,
	.invpcid = invpcid,
	.flush_writes = flush_writes,
	.code_page_marked = marked,
	.code_page_written = written,
};
