/* A writer of ACPI machine language (ACPI 6.4 chapter 20) into a caller's buffer.
 *
 * Example:
 *     aml_device_begin(aml, "COM1");
 *     aml_name_eisaid(aml, "_HID", "PNP0501");
 *     aml_resources_begin(aml, "_CRS");
 *     aml_resource_io(aml, 0x3f8, 8);
 *     aml_resource_irq(aml, 4);
 *     aml_resources_end(aml);
 *     aml_end(aml);
 *
 * Running out of room, or nesting wrongly, sets `failed` and is reported once, by aml_finish().
 */
#ifndef LOADER_AML_H
#define LOADER_AML_H

#include "base/types.h"

#define AML_MAX_DEPTH 8

struct aml {
	uint8_t *buf;
	size_t size, len;
	size_t open[AML_MAX_DEPTH]; /* where the package length of each open construct goes */
	unsigned depth;
	size_t resources;           /* where the resource template's bytes begin */
	bool failed;
};

void aml_start(struct aml *aml, uint8_t *buf, size_t size);
/* The length, or -ENOSPC (no room, or something is still open). */
int aml_finish(struct aml *aml, size_t *len) must_check;

/* Constructs that hold others, until aml_end(). A path is "\\_SB", "PWRB" or "\\_SB.PWRB"; segments have at
 * most four characters and are padded. */
void aml_scope_begin(struct aml *aml, const char *path);
void aml_device_begin(struct aml *aml, const char *name);
void aml_method_begin(struct aml *aml, const char *name, unsigned arguments, bool serialized);
void aml_package_begin(struct aml *aml, uint8_t elements);
void aml_if_begin(struct aml *aml); /* the predicate follows, then the body */
void aml_end(struct aml *aml);

/* Name(name, value): the value follows. */
void aml_name(struct aml *aml, const char *name);
void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
void aml_eisaid(struct aml *aml, const char *id); /* "PNP0501" */
void aml_path(struct aml *aml, const char *path);

void aml_name_integer(struct aml *aml, const char *name, uint64_t value);
void aml_name_string(struct aml *aml, const char *name, const char *text);
void aml_name_eisaid(struct aml *aml, const char *name, const char *id);

/* A 32-bit field at the start of an I/O port region. */
void aml_io_field32(struct aml *aml, const char *region, uint16_t port, const char *field);
void aml_store_to_local(struct aml *aml, const char *field, unsigned local);
void aml_local_and(struct aml *aml, unsigned local, uint64_t mask); /* an expression: Local & mask */
/* CreateDWordField(Arg<argument>, offset, name); name &= mask; Return(Arg<argument>) */
void aml_argument_field32(struct aml *aml, unsigned argument, unsigned offset, const char *name);
void aml_field_and(struct aml *aml, const char *name, uint64_t mask);
void aml_return_argument(struct aml *aml, unsigned argument);
void aml_notify(struct aml *aml, const char *path, uint8_t value);

/* Registers of the device in whose scope this is, in PCI configuration space; one byte each. */
void aml_pci_region(struct aml *aml, const char *region, uint8_t offset, uint8_t size);
void aml_bytes_begin(struct aml *aml, const char *region); /* until aml_end() */
void aml_byte(struct aml *aml, const char *name);
void aml_bytes_skip(struct aml *aml, uint8_t bytes); /* fewer than 8 */
/* CreateDWordField(buffer, offset, name) */
void aml_buffer_field32(struct aml *aml, const char *buffer, unsigned offset, const char *name);
void aml_store(struct aml *aml, const char *from, const char *to);
void aml_store_argument(struct aml *aml, unsigned argument, const char *to);
/* to = from & mask, to = from | mask; to may be NULL: an expression only. */
void aml_and(struct aml *aml, const char *from, uint64_t mask, const char *to);
void aml_or(struct aml *aml, const char *from, uint64_t mask, const char *to);
void aml_return(struct aml *aml, const char *name);
void aml_return_integer(struct aml *aml, uint64_t value);

/* Name(name, ResourceTemplate(){...}) with the resources between begin and end. */
void aml_resources_begin(struct aml *aml, const char *name);
void aml_resource_io(struct aml *aml, uint16_t port, uint8_t count);
void aml_resource_irq(struct aml *aml, unsigned irq); /* ISA: edge, active high, exclusive */
void aml_resource_memory(struct aml *aml, uint32_t base, uint32_t size);
void aml_resource_interrupt(struct aml *aml, uint32_t gsi, bool level, bool shared); /* active high */
/* The choice of a device that is routed: level, active high, shared. */
void aml_resource_interrupts(struct aml *aml, const uint8_t *interrupts, uint8_t count);
/* What a PCI host bridge passes on, from first to last: bus numbers, I/O ports, memory below and above 4 GiB. */
void aml_resource_buses(struct aml *aml, uint8_t first, uint8_t last);
void aml_resource_io_window(struct aml *aml, uint16_t first, uint16_t last);
void aml_resource_memory_window(struct aml *aml, uint64_t first, uint64_t last);
void aml_resources_end(struct aml *aml);

#endif
