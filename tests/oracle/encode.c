/* Instances of an encoding. See encode.h. */
#include "tests/oracle/encode.h"
#include <string.h>

struct writer {
	uint8_t *bytes;
	unsigned at;
};

static void put(struct writer *writer, unsigned byte)
{
	if (writer->at < 16)
		writer->bytes[writer->at++] = (uint8_t)byte;
}

/* REX or VEX bits, the inverted way VEX has them not yet applied. */
struct extension {
	bool r, x, b, force;
	unsigned vvvv;
};

static void put_vex(struct writer *writer, const struct encoding *encoding,
		    const struct extension *e)
{
	unsigned last = (~e->vvvv & 15u) << 3 | encoding->l << 2 | encoding->pp;

	if (encoding->map == 1 && !encoding->w && !e->x && !e->b && !e->force) {
		put(writer, 0xc5);
		put(writer, (e->r ? 0 : 0x80) | last);
		return;
	}
	put(writer, 0xc4);
	put(writer,
	    (e->r ? 0u : 0x80u) | (e->x ? 0u : 0x40u) | (e->b ? 0u : 0x20u) | encoding->map);
	put(writer, (encoding->w ? 0x80u : 0u) | last);
}

static void put_opcode(struct writer *writer, const struct encoding *encoding,
		       const struct extension *e)
{
	if (encoding->vex) {
		put_vex(writer, encoding, e);
	} else {
		if (encoding->w || e->r || e->x || e->b || e->force)
			put(writer, 0x40u | (unsigned)encoding->w << 3 | (unsigned)e->r << 2 |
					(unsigned)e->x << 1 | e->b);
		if (encoding->map)
			put(writer, 0x0f);
		if (encoding->map >= 2)
			put(writer, encoding->map == 2 ? 0x38 : 0x3a);
	}
	put(writer, encoding->opcode);
}

void encode_plain(const struct encoding *encoding, uint8_t *bytes)
{
	struct writer writer = {.bytes = bytes};
	struct extension none = {0};

	memset(bytes, 0, 16);
	for (unsigned i = 0; i < encoding->prefix_count; i++)
		put(&writer, encoding->prefix[i]);
	put_opcode(&writer, encoding, &none);
	put(&writer, encoding->modrm);
}

/* Prefixes that change nothing, or the segment, or the address size. */
static void put_optional_prefixes(struct writer *writer, enum x86_mode mode, struct random *random)
{
	static const uint8_t segments[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x65, 0x65};

	bool wide = mode == X86_MODE_64;

	/* 16-bit addresses reach no mapped page. */
	if (random_chance(random, wide ? 12 : 100)) {
		put(writer, 0x67);
		wide = false; /* FS with a truncated offset could reach this program's own memory */
	}
	if (random_chance(random, 12))
		put(writer, segments[random_below(random, wide ? 8 : 4)]);
}

static void put_modrm(struct instance *instance, struct writer *writer, unsigned modrm,
		      struct random *random)
{
	unsigned mod = modrm >> 6, rm = modrm & 7, sib;

	instance->disp_size = mod == 1 ? 1 : mod == 2 ? 4 : 0;
	put(writer, modrm);
	if (mod != 3 && rm == 4) {
		sib = random_next(random) & 0xff;
		put(writer, sib);
		if (mod == 0 && (sib & 7) == 5)
			instance->disp_size = 4;
	}
	if (mod == 0 && rm == 5)
		instance->disp_size = 4;
	instance->disp = writer->at;
}

static bool decode_as(struct instance *instance, const struct form_key *key)
{
	struct form_key got;

	if (x86_decode(&instance->insn, instance->bytes, 15, instance->mode) <= 0)
		return false;
	form_key_of(&instance->insn, &got);
	return form_key_equal(&got, key);
}

/* effort 0: everything random; 1: ModRM.reg, rm and REX.R as in the encoding; 2: all of them. */
static bool attempt(const struct encoding *encoding, const struct form *form, struct random *random,
		    unsigned effort, struct instance *instance)
{
	struct writer writer = {.bytes = instance->bytes};
	struct extension e = {.vvvv = 0};
	unsigned modrm = encoding->modrm, noise = (unsigned)random_next(random);
	enum x86_mode mode = form->mode;

	memset(instance, 0, sizeof(*instance));
	instance->mode = mode;
	for (unsigned i = 0; i < 16; i++)
		instance->bytes[i] = (uint8_t)random_next(random);
	if (effort < 2) {
		put_optional_prefixes(&writer, mode, random);
		e = (struct extension){.x = noise & 1,
				       .b = noise & 2,
				       .r = noise & 4 && effort == 0,
				       .force = (noise & 0x30) == 0,
				       .vvvv = noise >> 8 & 15};
		if (effort == 1 && noise & 0x40)
			e.vvvv = 0;
	}
	if (mode != X86_MODE_64)
		e = (struct extension){.vvvv = e.vvvv & 7};
	for (unsigned i = 0; i < encoding->prefix_count; i++)
		put(&writer, encoding->prefix[i]);
	if (effort == 0)
		modrm = (modrm & 0xc0) | (noise >> 16 & 0x3f);
	else if (effort == 1 && modrm < 0xc0)
		modrm = (modrm & 0x38) | (noise >> 16 & 7);
	if (modrm < 0xc0 && effort < 2)
		modrm = (modrm & 0x3f) | (noise >> 24) % 3 << 6;
	put_opcode(&writer, encoding, &e);
	instance->tail = writer.at;
	put_modrm(instance, &writer, modrm, random);
	return decode_as(instance, &form->key);
}

void encode_random(const struct form *form, struct random *random, struct instance *instance)
{
	const struct encoding *encoding =
	    &form->encoding[random_below(random, form->encoding_count)];

	for (unsigned i = 0; i < 6; i++)
		if (attempt(encoding, form, random, 0, instance))
			return;
	for (unsigned i = 0; i < 6; i++)
		if (attempt(encoding, form, random, 1, instance))
			return;
	for (unsigned i = 0; i < 6; i++)
		if (attempt(encoding, form, random, 2, instance))
			return;
	memset(instance, 0, sizeof(*instance));
	instance->mode = form->mode;
	encode_plain(encoding, instance->bytes);
	(void)x86_decode(&instance->insn, instance->bytes, 15, instance->mode);
}

static void again(struct instance *instance)
{
	(void)x86_decode(&instance->insn, instance->bytes, 15, instance->mode);
}

void encode_set_disp(struct instance *instance, int32_t disp)
{
	memcpy(instance->bytes + instance->disp, &disp, instance->disp_size);
	again(instance);
}

void encode_set_last(struct instance *instance, unsigned size, uint64_t value)
{
	memcpy(instance->bytes + instance->insn.length - size, &value, size);
	again(instance);
}

void encode_set_moffs(struct instance *instance, uint64_t address)
{
	memcpy(instance->bytes + instance->tail, &address, instance->insn.addrsize);
	again(instance);
}
