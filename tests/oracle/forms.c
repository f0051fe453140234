/* Enumeration of instruction forms. See forms.h. */
#include "tests/oracle/forms.h"
#include "tests/oracle/encode.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prefixes change the operand size of vector and most x87 instructions to no effect. */
static bool opsize_matters(const struct x86_insn *insn)
{
	for (unsigned i = 0; i < insn->operand_count; i++) {
		switch (insn->operand[i].kind) {
		case X86_OPND_ST:
		case X86_OPND_MMX:
		case X86_OPND_XMM:
		case X86_OPND_YMM:
			return false;
		}
	}
	if ((insn->opcode & 0xf8) != 0xd8 || insn->operand_count == 0 ||
	    insn->prefixes & X86_PFX_VEX)
		return true;
	/* The environment has a 16- and a 32-bit form. */
	return insn->operand[0].kind != X86_OPND_MEM || insn->operand[0].size > 10;
}

void form_key_of(const struct x86_insn *insn, struct form_key *key)
{
	memset(key, 0, sizeof(*key));
	key->op = insn->op;
	key->opsize = opsize_matters(insn) ? insn->opsize : 0;
	key->vl = insn->vl;
	key->prefixes = (uint8_t)(insn->prefixes & X86_PFX_LOCK);
	switch (insn->op) {
	case X86_MOVS:
	case X86_STOS:
	case X86_LODS:
	case X86_CMPS:
	case X86_SCAS:
		key->prefixes |= (uint8_t)(insn->prefixes & (X86_PFX_REP | X86_PFX_REPNE));
	}
	key->count = insn->operand_count;
	for (unsigned i = 0; i < insn->operand_count && i < 4; i++) {
		key->operand[i].kind = insn->operand[i].kind;
		key->operand[i].size =
		    (uint8_t)(insn->operand[i].size > 255 ? 255 : insn->operand[i].size);
	}
}

bool form_key_equal(const struct form_key *a, const struct form_key *b)
{
	return !memcmp(a, b, sizeof(*a));
}

void form_name(const struct form_key *key, char *name, size_t size)
{
	static const char *const kinds[] = {
	    [X86_OPND_NONE] = "?",  [X86_OPND_GPR] = "r",    [X86_OPND_MEM] = "m",
	    [X86_OPND_IMM] = "imm", [X86_OPND_IMM2] = "imm", [X86_OPND_REL] = "rel",
	    [X86_OPND_FAR] = "far", [X86_OPND_SEG] = "seg",  [X86_OPND_CR] = "cr",
	    [X86_OPND_DR] = "dr",   [X86_OPND_ST] = "st",    [X86_OPND_MMX] = "mmx",
	    [X86_OPND_XMM] = "xmm", [X86_OPND_YMM] = "ymm",
	};
	size_t used = 0;

	name[0] = 0;
	used += (size_t)snprintf(
	    name + used, size - used, "%s%s%s%s.%u", key->prefixes & X86_PFX_LOCK ? "LOCK " : "",
	    key->prefixes & X86_PFX_REP ? "REP " : "",
	    key->prefixes & X86_PFX_REPNE ? "REPNE " : "", x86_op_name(key->op), key->opsize * 8);
	for (unsigned i = 0; i < key->count && used < size; i++)
		used += (size_t)snprintf(name + used, size - used, "%s%s%u", i ? "," : " ",
					 kinds[key->operand[i].kind], key->operand[i].size * 8);
}

/* ---- enumeration ---- */

struct table {
	struct forms *forms;
	unsigned room;
	unsigned *bucket; /* index + 1 */
};

#define BUCKETS 65536u

static unsigned hash_key(const struct form_key *key)
{
	const uint8_t *bytes = (const uint8_t *)key;
	unsigned hash = 2166136261u;

	for (size_t i = 0; i < sizeof(*key); i++)
		hash = (hash ^ bytes[i]) * 16777619u;
	return hash % BUCKETS;
}

static void *grow(void *old, size_t size)
{
	void *grown = realloc(old, size);

	if (!grown) {
		perror("oracle");
		exit(1);
	}
	return grown;
}

static struct form *find_or_add(struct table *table, const struct form_key *key)
{
	struct forms *forms = table->forms;
	unsigned slot = hash_key(key);

	while (table->bucket[slot]) {
		struct form *form = &forms->form[table->bucket[slot] - 1];

		if (form_key_equal(&form->key, key))
			return form;
		slot = (slot + 1) % BUCKETS;
	}
	if (forms->count == table->room) {
		table->room = table->room ? table->room * 2 : 1024;
		forms->form = grow(forms->form, table->room * sizeof(*forms->form));
	}
	forms->form[forms->count] = (struct form){.key = *key, .mode = forms->mode};
	table->bucket[slot] = ++forms->count;
	return &forms->form[forms->count - 1];
}

/* The same instruction with the same operands under other ModRM.reg and rm registers is one
 * encoding. */
static bool known_encoding(const struct form *form, const struct encoding *encoding)
{
	struct encoding last;

	if (!form->encoding_count)
		return false;
	last = form->encoding[form->encoding_count - 1];
	last.modrm = encoding->modrm;
	return !memcmp(&last, encoding, sizeof(last));
}

/* Of 64-bit operand size by VEX.W: in 32-bit code Intel ignores it, AMD doesn't. */
static bool ignores_w(unsigned op)
{
	return op == X86_VPEXTRD || op == X86_VPINSRD || op == X86_VPCMPESTRI ||
	       op == X86_VPCMPESTRM;
}

/* Encodings that AMD and Intel take differently; we are with Intel. An operand-size prefix before a
 * near branch in 64-bit code (AMD truncates), REP before LOOPE and LOOPNE (AMD makes it the
 * condition), MOVSXD to 16 bits (AMD reads 32), SYSRET in 32-bit code (Intel: #UD), PREFETCH of a
 * register (AMD: #UD), CVTPI2PS from memory (AMD leaves the x87 state alone). */
static bool differs_by_maker(const struct encoding *encoding, const struct x86_insn *insn)
{
	bool repeat =
	    encoding->prefix_count && encoding->prefix[encoding->prefix_count - 1] >= 0xf2;

	if ((insn->op == X86_LOOPE || insn->op == X86_LOOPNE) && repeat)
		return true;
	if (insn->op == X86_SYSRET && insn->mode != X86_MODE_64)
		return true;
	if (insn->mode != X86_MODE_64 && encoding->w && ignores_w(insn->op))
		return true;
	if (insn->op == X86_CVTPI2PS && insn->operand[1].kind == X86_OPND_MEM)
		return true;
	if (insn->op == X86_MOVSXD && insn->opsize == 2)
		return true;
	if (insn->op == X86_NOP && encoding->map == 1 && insn->opcode == 0x0d)
		return true;
	if (insn->mode != X86_MODE_64 || !(insn->prefixes & X86_PFX_OPSIZE))
		return false;
	switch (insn->op) {
	case X86_JMP:
	case X86_CALL:
	case X86_RET:
	case X86_JCC:
	case X86_JCXZ:
	case X86_LOOP:
	case X86_LOOPE:
	case X86_LOOPNE:
		return true;
	}
	return false;
}

/* Bytes of the one-byte map that start no instruction of their own. */
static bool is_prefix(const struct encoding *encoding, enum x86_mode mode)
{
	bool wide = mode == X86_MODE_64;

	if (encoding->vex || encoding->map)
		return false;
	switch (encoding->opcode) {
	case 0x0f:
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
	case 0x64:
	case 0x65:
	case 0x66:
	case 0x67:
	case 0xf0:
	case 0xf2:
	case 0xf3:
		return true;
	case 0x62: /* EVEX and VEX */
	case 0xc4:
	case 0xc5:
		return wide || encoding->modrm >= 0xc0;
	}
	return wide && (encoding->opcode & 0xf0) == 0x40;
}

static void try_encoding(struct table *table, const struct encoding *encoding)
{
	uint8_t bytes[16];
	struct x86_insn insn;
	struct form_key key;
	struct form *form;

	if (is_prefix(encoding, table->forms->mode))
		return;
	encode_plain(encoding, bytes);
	if (x86_decode(&insn, bytes, 15, table->forms->mode) <= 0 ||
	    differs_by_maker(encoding, &insn))
		return;
	form_key_of(&insn, &key);
	form = find_or_add(table, &key);
	form->feature = insn.feature;
	if (known_encoding(form, encoding))
		return;
	form->encoding = grow(form->encoding, (form->encoding_count + 1) * sizeof(*encoding));
	form->encoding[form->encoding_count++] = *encoding;
}

/* Where rm selects the operation, too. */
static bool whole_modrm(const struct encoding *encoding)
{
	if (encoding->map == 0)
		return (encoding->opcode & 0xf8) == 0xd8 || encoding->opcode == 0xc6 ||
		       encoding->opcode == 0xc7;
	return encoding->map == 1 && (encoding->opcode == 0x01 || encoding->opcode == 0xae ||
				      encoding->opcode == 0xc7 || encoding->opcode == 0x1e);
}

static void try_opcodes(struct table *table, struct encoding encoding)
{
	for (unsigned opcode = 0; opcode < 256; opcode++) {
		encoding.opcode = (uint8_t)opcode;
		for (unsigned reg = 0; reg < 8; reg++) {
			encoding.modrm = (uint8_t)(0x03 | reg << 3); /* [rbx] */
			try_encoding(table, &encoding);
			for (unsigned rm = 0; rm < (whole_modrm(&encoding) ? 8 : 1); rm++) {
				encoding.modrm = (uint8_t)(0xc0 | reg << 3 | rm);
				try_encoding(table, &encoding);
			}
		}
	}
}

static void try_legacy(struct table *table)
{
	static const struct {
		uint8_t count, prefix[3];
	} sets[] = {
	    {0, {0}},	       {1, {0x66}},	  {1, {0xf2}}, {1, {0xf3}},
	    {2, {0x66, 0xf2}}, {2, {0x66, 0xf3}}, {1, {0xf0}}, {2, {0x66, 0xf0}},
	};

	for (size_t set = 0; set < ARRAY_SIZE(sets); set++) {
		for (unsigned map = 0; map < 4; map++) {
			for (unsigned w = 0; w < (table->forms->mode == X86_MODE_64 ? 2 : 1); w++) {
				struct encoding encoding;

				memset(&encoding, 0, sizeof(encoding));
				encoding.prefix_count = sets[set].count;
				memcpy(encoding.prefix, sets[set].prefix, 3);
				encoding.map = (uint8_t)map;
				encoding.w = w;
				try_opcodes(table, encoding);
			}
		}
	}
}

static void try_vex(struct table *table)
{
	for (unsigned map = 1; map < 4; map++) {
		for (unsigned variant = 0; variant < 16; variant++) {
			struct encoding encoding;

			memset(&encoding, 0, sizeof(encoding));
			encoding.vex = true;
			encoding.map = (uint8_t)map;
			encoding.pp = variant & 3;
			encoding.l = variant >> 2 & 1;
			encoding.w = variant >> 3 & 1;
			try_opcodes(table, encoding);
		}
	}
}

void forms_enumerate(struct forms *forms, enum x86_mode mode)
{
	struct table table = {.forms = forms};

	memset(forms, 0, sizeof(*forms));
	forms->mode = mode;
	table.bucket = grow(NULL, BUCKETS * sizeof(*table.bucket));
	memset(table.bucket, 0, BUCKETS * sizeof(*table.bucket));
	try_legacy(&table);
	try_vex(&table);
	free(table.bucket);
}

void forms_free(struct forms *forms)
{
	for (unsigned i = 0; i < forms->count; i++)
		free(forms->form[i].encoding);
	free(forms->form);
}
