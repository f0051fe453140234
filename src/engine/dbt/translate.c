/* One translation: from a guest address to the end of a block, instruction after instruction.
 *
 * A block goes on behind conditional branches not taken and behind calls, up to the end of the page, an unconditional
 * branch, or an instruction that the interpreter has to execute. What leaves it is collected and written behind it.
 */
#include "engine/dbt/translate.h"
#include "engine/dbt/counts.h"
#include "base/string.h"

/* Instructions that a block has before it gives way to one that begins where it has come to. */
#define JOIN_AFTER 4

static bool is_x87(const struct x86_insn *insn)
{
	if (insn->prefixes & X86_PFX_VEX)
		return false;
	if (insn->map == 0 && ((insn->opcode >= 0xd8 && insn->opcode <= 0xdf) || insn->op == X86_FWAIT))
		return true;
	if (insn->op == X86_EMMS)
		return true;
	for (unsigned i = 0; i < insn->operand_count; i++) {
		if (insn->operand[i].kind == X86_OPND_MMX)
			return true;
	}
	return false;
}

static bool is_vector(const struct x86_insn *insn)
{
	if ((insn->prefixes & X86_PFX_VEX) || insn->op == X86_LDMXCSR || insn->op == X86_STMXCSR)
		return true;
	for (unsigned i = 0; i < insn->operand_count; i++) {
		if (insn->operand[i].kind == X86_OPND_XMM || insn->operand[i].kind == X86_OPND_YMM)
			return true;
	}
	return false;
}

/* Control bits that make floating-point instructions fault: they are interpreted then. */
static bool vectors_work(const struct cpu *cpu, bool avx)
{
	const struct x86_state *s = &cpu->s;

	if ((s->cr0 & (X86_CR0_EM | X86_CR0_TS)) || !(s->cr4 & X86_CR4_OSFXSR))
		return false;
	return !avx || ((s->cr4 & X86_CR4_OSXSAVE) && (s->xcr0 & 6) == 6);
}

static bool x87_works(const struct cpu *cpu)
{
	return !(cpu->s.cr0 & (X86_CR0_EM | X86_CR0_TS));
}

/* VEX integer instructions on general registers need no vector state enabled. */
static bool has_vector_operand(const struct x86_insn *insn)
{
	for (unsigned i = 0; i < insn->operand_count; i++) {
		if (insn->operand[i].kind == X86_OPND_XMM || insn->operand[i].kind == X86_OPND_YMM)
			return true;
	}
	return insn->op == X86_VZEROALL || insn->op == X86_VZEROUPPER || insn->op == X86_VLDMXCSR ||
	       insn->op == X86_VSTMXCSR || insn->op == X86_LDMXCSR || insn->op == X86_STMXCSR;
}

/* May the guest execute this here, without a fault that only the interpreter raises? */
static bool allowed(struct tr *tr)
{
	const struct x86_insn *insn = &tr->insn;

	if (tr->narrow && !tr_narrow_possible(tr))
		return false;
	if (!tr->cpu->cpuid->features[insn->feature])
		return false;
	/* What is entered with RF must not leave before it has begun, but for C to execute it. */
	if (is_x87(insn) && (!x87_works(tr->cpu) || tr->d->rf))
		return false;
	if (is_vector(insn) && has_vector_operand(insn) &&
	    !vectors_work(tr->cpu, insn->prefixes & X86_PFX_VEX))
		return false;
	return true;
}

/* The x87 state must be in the host's registers; it is brought there when a block first needs it. */
static void need_x87(struct tr *tr)
{
	struct emitter *e = &tr->e;
	uint8_t *loaded;

	if (tr->uses_x87)
		return;
	tr->uses_x87 = true;
	emit_load(e, HOST_T, mem_gs(DBT_OFFSET(x87_unloaded)), 8);
	loaded = emit_jrcxz(e);
	emit_mov_meaning(e, HOST_U, tr->at, EMIT_ADDRESS);
	emit_jmp_stub(e, tr->d->exit_x87);
	emit_patch_short(e, loaded);
	tr_forget_u(tr);
}

/* Where kernels and their modules lie, whose addresses fit into 32 bits, sign-extended (System V ABI, kernel code model). Loaded
 * elsewhere (KASLR) they have other numbers in their code wherever these are addresses; a number that only looks like one does
 * no harm. What lies at the very beginning are numbers that mean the range itself. */
static const struct image_range {
	uint64_t begin, end;
} image_ranges[] = {{0xffffffff80001000ull, 0xffffffffc0000000ull}, {0xffffffffc0000000ull, 0xffffffffff000000ull}};

static bool same_image(uint64_t a, uint64_t b)
{
	for (unsigned i = 0; i < ARRAY_SIZE(image_ranges); i++) {
		const struct image_range *range = &image_ranges[i];

		if (a >= range->begin && a < range->end && b >= range->begin && b < range->end)
			return true;
	}
	return false;
}

static void note_field(struct tr *tr, unsigned offset, bool constant, bool *is)
{
	struct emit_notes *notes = tr->e.notes;
	int32_t number;

	memcpy(&number, tr->bytes + offset, sizeof(number));
	if (notes->field_count == EMIT_FIELDS_MAX || (!constant && !same_image(tr->rip, (uint64_t)(int64_t)number)))
		return;
	notes->fields[notes->field_count++] = (struct emit_field){.at = (uint16_t)(tr->at - tr->rip + offset), .constant = constant};
	*is = true;
}

/* Which numbers of the instruction are others where it lies elsewhere. */
static void note_fields(struct tr *tr)
{
	const struct x86_insn *insn = &tr->insn;

	/* Relative to RIP and to a segment: that is of the segment, as of a processor's own data. */
	if (insn_has_disp32(insn, tr->bytes) && insn->mem.base == X86_REG_RIP)
		note_field(tr, insn->imm_offset - 4u, true, &tr->constant_disp);
	else if (insn_has_disp32(insn, tr->bytes))
		note_field(tr, insn->imm_offset - 4u, false, &tr->image_disp);
	if (insn_has_imm32(insn))
		note_field(tr, insn->imm_offset, false, &tr->image_imm);
}

/* Reads and decodes the next instruction; false: it goes on into the next page, or is none. */
static bool fetch(struct tr *tr)
{
	unsigned offset = (unsigned)(tr->at & ~PAGE_MASK);
	size_t available = PAGE_SIZE - offset;
	int length;

	if (available > 15)
		available = 15;
	/* A copy: another processor may be writing the page. */
	memset(tr->bytes, 0, sizeof(tr->bytes));
	memcpy(tr->bytes, tr->page + offset, available);
	if (tr->second) {
		memcpy(tr->bytes + available, tr->second, 15 - available);
		available = 15;
	}
	tr->image_disp = tr->image_imm = tr->constant_disp = false;
	length = x86_decode(&tr->insn, tr->bytes, available, tr->cpu->mode);
	if (length <= 0) {
		tr->insn.op = X86_INVALID;
		return false;
	}
	tr->next = tr->at + (unsigned)length;
	if (unlikely(tr->e.notes != NULL))
		note_fields(tr);
	memcpy(tr->guest + (tr->at - tr->rip), tr->bytes, (size_t)length);
	if (tr->narrow)
		tr_narrow_encoding(tr);
	return true;
}

static void one_instruction(struct tr *tr)
{
	struct emitter before = tr->e;
	uint8_t u_base = tr->u_base;
	int32_t u_disp = tr->u_disp;
	struct tr_addend addends[16];
	unsigned exits = tr->exit_count, notes = before.notes ? before.notes->count : 0;
	enum dbt_site site = tr->sites ? dbt_site_kind(tr->d, (tr->gpa & PAGE_MASK) | (tr->at & ~PAGE_MASK)) : SITE_PLAIN;
	bool helped;

	memcpy(addends, tr->addends, sizeof(addends));
	tr->failed = false;
	tr->check_crossing = site == SITE_CROSSES;
	tr->absent = site == SITE_ABSENT && !tr->d->rf && dbt_looks_first(&tr->insn) ? dbt_site_absent(tr->d, (tr->gpa & PAGE_MASK) | (tr->at & ~PAGE_MASK)) : NULL;
	tr->wraps = site == SITE_WRAPS;
	tr->fresh = site >= SITE_FRESH;
	if (tr->fresh)
		tr_forget_u(tr);
	if (site != SITE_STEP && allowed(tr)) {
		if (is_x87(&tr->insn) && tr_copyable(&tr->insn))
			need_x87(tr);
		if (tr_copyable(&tr->insn)) {
			tr_copy(tr);
			if (!tr->failed)
				return;
		} else if (tr_how(tr->insn.op) != TR_INTERPRET && tr_lower(tr) && !tr->failed) {
			return;
		}
	}
	/* An access to a device, or more registers than there are for it. */
	helped = allowed(tr);
	tr->e = before;
	if (before.notes)
		before.notes->count = notes;
	tr->exit_count = exits;
	tr->u_base = u_base;
	tr->u_disp = u_disp;
	memcpy(tr->addends, addends, sizeof(addends));
	tr->info->flags = 0;
	tr->ended = tr->shadow = false;
	if (!helped || !tr_help(tr))
		tr_step(tr);
}

static void patch_rel32(struct tr *tr, uint8_t *displacement, const uint8_t *target_write)
{
	int32_t relative = (int32_t)(target_write - (displacement + 4));

	if (!tr->e.overflow)
		memcpy(displacement, &relative, sizeof(relative));
}

/* u = where to, t = number (of a link or what is to be done), then the stub: at the other end of the cache, apart from what
 * is executed more than once. Its address in the writable alias. */
static uint8_t *way_out(struct tr *tr, const struct tr_exit *out, uint32_t number, const uint8_t *stub)
{
	struct emitter e = dbt_cold_emitter(tr->d);
	uint8_t *start = e.at;

	emit_mov_imm(&e, HOST_U, out->target);
	if (number != ~0u)
		emit_mov_imm(&e, HOST_T, number);
	emit_jmp(&e, stub);
	return start;
}

static uint32_t offset_of(const struct tr *tr, const uint8_t *write)
{
	return (uint32_t)(write - tr->d->code_write);
}

/* To another page: directly where the context has the pair of pages that the link was made for. */
static void far_exit(struct tr *tr, const struct tr_exit *out, struct dbt_link *link, uint8_t *cold)
{
	struct emitter *e = &tr->e;
	uint8_t *missing;

	patch_rel32(tr, out->jump, e->at);
	emit_load(e, HOST_T, mem_gs(DBT_OFFSET(slots_now)), 8);
	emit_op_mem(e, 0x0fb6, HOST_T, mem_base(HOST_T, DBT_PAIR_DISP(DBT_PAIR_NONE)), 4); /* MOVZX */
	link->check = offset_of(tr, e->at - 4);
	missing = emit_jrcxz(e);
	emit_jmp(e, cold + e->run_delta);
	link->jump = offset_of(tr, e->at - 4);
	emit_patch_short(e, missing);
	emit_jmp(e, cold + e->run_delta);
}

/* Where a jump out of the block arrives. */
static bool finish_exit(struct tr *tr, const struct tr_exit *out)
{
	struct dbt *d = tr->d;
	struct dbt_link *link;
	uint32_t number;
	uint8_t *cold;

	if (out->help || out->step) {
		patch_rel32(tr, out->jump, out->help ? way_out(tr, out, out->help - 1, d->exit_help)
						     : way_out(tr, out, ~0u, d->exit_step));
		return true;
	}
	number = dbt_link_new(d, out->target);
	if (number == ~0u)
		return false;
	link = &d->links[number];
	cold = way_out(tr, out, number, d->exit_link);
	if (out->target >> PAGE_SHIFT != tr->rip >> PAGE_SHIFT) {
		far_exit(tr, out, link, cold);
	} else {
		patch_rel32(tr, out->jump, cold);
		link->jump = offset_of(tr, out->jump);
	}
	return true;
}

static void end_with_jump(struct tr *tr, uint64_t target)
{
	struct tr_exit *out = &tr->exits[tr->exit_count++];

	emit_u8(&tr->e, 0xe9);
	*out = (struct tr_exit){.jump = tr->e.at, .target = target};
	emit_u32(&tr->e, 0);
}

static struct tb *make_tb(struct tr *tr)
{
	struct dbt *d = tr->d;
	struct tb *tb = dbt_meta_alloc(d, sizeof(*tb));
	struct tb_insn *insns = dbt_meta_alloc(d, sizeof(*insns) * tr->count);
	unsigned length = (unsigned)(tr->at - tr->rip);
	uint8_t *bytes = dbt_meta_alloc(d, length);

	if (!tb || !insns || !bytes)
		return NULL;
	memcpy(bytes, tr->guest, length);
	memcpy(insns, tr->insns, sizeof(*insns) * tr->count);
	*tb = (struct tb){
		.rip = tr->rip,
		.gpa = tr->gpa,
		.key = dbt_key(d),
		.length = (uint16_t)length,
		.count = (uint16_t)tr->count,
		.host = (uint32_t)(tr->start - d->code_write),
		.host_size = (uint32_t)(tr->e.at - tr->start),
		.insns = insns,
		.bytes = bytes,
	};
	return tb;
}

void tr_begin(struct tr *tr, struct dbt *d, uint64_t rip, gpa_t gpa, const uint8_t *page)
{
	tr->d = d;
	tr->cpu = &d->cpu;
	tr->start = d->code_write + d->code_used;
	tr->e = (struct emitter){.at = tr->start,
				 .end = d->code_write + d->code_size - d->cold_used - TB_MAX_EXITS * DBT_COLD,
				 .run_delta = d->code_run - d->code_write};
	tr->rip = tr->at = rip;
	tr->gpa = gpa;
	tr->page = page;
	tr->second = NULL;
	tr->sites = dbt_site_any(d, gpa);
	tr->kind = dbt_kind_now(d);
	tr->user = tr->kind == DBT_USER || tr->kind == DBT_USER32;
	tr->narrow = tr->kind == DBT_USER32 || tr->kind == DBT_KERNEL32;
	tr->word = tr->narrow ? 4 : 8;
	tr->count = tr->exit_count = 0;
	tr->ended = tr->failed = tr->uses_x87 = tr->shadow = false;
	tr->u_disp = 0;
	tr_forget_addends(tr);
	tr->run_count = 0;
	tr->run_ended = true;
}

/* Does the block end before the next instruction? */
static bool ends_here(const struct tr *tr, unsigned limit)
{
	uint64_t length = tr->at - tr->rip;

	if (!tr->count)
		return false;
	if (unlikely(tr->cpu->debug != NULL) && debug_break_at(tr->cpu->debug, tr->at))
		return true;
	/* The block's one page is what its code depends on. */
	if (tr->d->rf || tr->at >> PAGE_SHIFT != tr->rip >> PAGE_SHIFT || tr->count == TB_MAX_INSNS - 1 ||
	    tr->exit_count > TB_MAX_EXITS - 4 || tr->e.at - tr->start > TB_MAX_HOST / 2 || length >= limit)
		return true;
	/* What is translated already need not be again. */
	return limit == TR_NO_LIMIT && tr->count >= JOIN_AFTER && !tr->shadow && dbt_tb_exists(tr->d, tr->at, tr->gpa + length, dbt_key(tr->d));
}

/* With --count-blocks: what comes next is counted, if it does not follow what came before in any case. */
static void count_run(struct tr *tr)
{
	tr->run_at = tr->e.at;
	if (unlikely(tr->d->runs != NULL) && tr->run_ended)
		dbt_counts_emit(tr);
}

static void uncount_run(struct tr *tr)
{
	if (tr->e.at != tr->run_at)
		dbt_counts_take_back(tr, tr->run_at);
}

void tr_walk(struct tr *tr, unsigned limit)
{
	while (!tr->ended) {
		if (ends_here(tr, limit)) {
			end_with_jump(tr, tr->at);
			break;
		}
		count_run(tr);
		tr->info = &tr->insns[tr->count++];
		*tr->info = (struct tb_insn){.host = (uint16_t)(tr->e.at - tr->start), .guest = (uint16_t)(tr->at - tr->rip)};
		tr->info->commit = tr->info->host;
		tr->shadowed = tr->shadow;
		tr->shadow = false;
		if (!fetch(tr) && tr->count > 1 && !tr->shadowed) {
			/* A block of its own, which may have another page. */
			tr->count--;
			uncount_run(tr);
			end_with_jump(tr, tr->at);
			break;
		} else if (!tr->insn.op) {
			tr->next = tr->at + 1;
			tr->guest[tr->at - tr->rip] = tr->bytes[0];
			tr_step(tr);
		} else {
			one_instruction(tr);
		}
		if (tr->shadowed)
			tr->info->flags |= TB_INSN_SHADOW;
		tr->at = tr->next;
		tr->run_ended = dbt_counts_ends_run(&tr->insn);
	}
	/* Room for the jump that replaces a stale block. */
	while (tr->e.at - tr->start < TB_REDIRECT && !tr->e.overflow)
		emit_u8(&tr->e, 0xcc);
}

struct tb *tr_finish(struct tr *tr)
{
	struct dbt *d = tr->d;
	struct tb *tb;

	for (unsigned i = 0; i < tr->exit_count; i++) {
		if (!finish_exit(tr, &tr->exits[i]))
			return NULL;
	}
	if (tr->e.overflow)
		return NULL;
	tb = make_tb(tr);
	if (tb && unlikely(d->runs != NULL))
		dbt_counts_keep(tr, tb);
	if (tb)
		d->code_used = (size_t)(tr->e.at - d->code_write + 15) & ~(size_t)15;
	return tb;
}

struct tb *dbt_translate(struct dbt *d, uint64_t rip, gpa_t gpa, const uint8_t *page, gpa_t second_gpa,
			 const uint8_t *second)
{
	bool keep = !second && !dbt_narrow(d) && !d->cpu.vm->debug && !d->runs && dbt_moved_again(d, rip, gpa);
	struct emit_notes notes; /* large, as tr is: only what is read first is set */
	struct tr tr;
	struct tb *tb;

	tr_begin(&tr, d, rip, gpa, page);
	tr.second = second;
	if (keep) {
		emit_notes_begin(&notes);
		tr.e.notes = &notes;
	}
	tr_walk(&tr, TR_NO_LIMIT);
	if (keep && !tr.e.overflow)
		dbt_moved_keep(d, &tr);
	tb = tr_finish(&tr);
	if (!tb)
		return NULL;
	if (second)
		tb->second = second_gpa;
	d->stats.translations++;
	d->stats.translated_insns += tr.count;
	d->stats.guest_bytes += tb->length;
	d->stats.host_bytes += tb->host_size;
	return tb;
}
