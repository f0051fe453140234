/* MSI-X; see msix.h. */
#include "dev/pci/msix.h"
#include "base/errno.h"

#define PBA_OFFSET   0x800u
#define ENTRY_SIZE   16u
#define ENTRY_MASKED 1u

#define CONTROL_ENABLE 0x8000u
#define CONTROL_MASK   0x4000u

_Static_assert(MSIX_MAX_VECTORS * ENTRY_SIZE <= PBA_OFFSET, "the table ends before the pending bits");

struct entry {
	uint64_t address;
	uint32_t data, control;
};

struct msix {
	struct pci_function *function;
	unsigned capability;
	unsigned count;
	struct lock lock; /* of all below: a leaf but for the interrupt controllers' */
	bool enabled, masked;
	uint64_t pending[MSIX_MAX_VECTORS / 64];
	struct entry entries[MSIX_MAX_VECTORS];
};

int msix_create(struct pci_function *function, unsigned bar, unsigned vectors, struct msix **out)
{
	struct msix *msix = platform_alloc(sizeof(*msix));
	unsigned at;

	if (!msix)
		return -ENOMEM;
	BUG_ON(!vectors || vectors > MSIX_MAX_VECTORS);
	pci_add_bar(function, bar, PCI_BAR_MEM32, MSIX_BAR_SIZE, 4, 4);
	at = pci_add_capability(function, PCI_CAP_MSIX, 12);
	pci_put16(function, at + 2, (uint16_t)(vectors - 1));
	pci_writable16(function, at + 2, CONTROL_ENABLE | CONTROL_MASK);
	pci_put32(function, at + 4, bar);
	pci_put32(function, at + 8, PBA_OFFSET | bar);
	msix->function = function;
	msix->capability = at;
	msix->count = vectors;
	for (unsigned i = 0; i < vectors; i++)
		msix->entries[i].control = ENTRY_MASKED;
	function->msix = msix;
	*out = msix;
	return 0;
}

void msix_destroy(struct msix *msix)
{
	platform_free(msix);
}

void msix_reset(struct msix *msix)
{
	lock_take(&msix->lock);
	msix->enabled = msix->masked = false;
	for (unsigned i = 0; i < ARRAY_SIZE(msix->pending); i++)
		msix->pending[i] = 0;
	for (unsigned i = 0; i < msix->count; i++)
		msix->entries[i] = (struct entry){.control = ENTRY_MASKED};
	lock_release(&msix->lock);
}

/* Lock held. */
static bool open_for(const struct msix *msix, unsigned vector)
{
	return msix->enabled && !msix->masked && !(msix->entries[vector].control & ENTRY_MASKED);
}

/* Lock held: so messages of one vector go out in order. */
static void send(struct msix *msix, unsigned vector)
{
	msix->pending[vector / 64] &= ~(UINT64_C(1) << vector % 64);
	pci_send_message(msix->function, msix->entries[vector].address, msix->entries[vector].data);
}

/* Lock held: what was masked and no longer is. */
static void send_pending(struct msix *msix)
{
	for (unsigned i = 0; i < msix->count; i++)
		if ((msix->pending[i / 64] >> i % 64 & 1) && open_for(msix, i))
			send(msix, i);
}

void msix_config_written(struct msix *msix)
{
	uint16_t control = pci_get16(msix->function, msix->capability + 2);

	lock_take(&msix->lock);
	msix->enabled = control & CONTROL_ENABLE;
	msix->masked = control & CONTROL_MASK;
	send_pending(msix);
	lock_release(&msix->lock);
}

unsigned msix_vectors(const struct msix *msix)
{
	return msix->count;
}

bool msix_enabled(struct msix *msix)
{
	bool enabled;

	lock_take(&msix->lock);
	enabled = msix->enabled;
	lock_release(&msix->lock);
	return enabled;
}

void msix_signal(struct msix *msix, unsigned vector)
{
	if (vector >= msix->count)
		return;
	lock_take(&msix->lock);
	if (open_for(msix, vector))
		send(msix, vector);
	else if (msix->enabled)
		msix->pending[vector / 64] |= UINT64_C(1) << vector % 64;
	lock_release(&msix->lock);
}

uint32_t msix_read(struct msix *msix, uint64_t offset)
{
	unsigned vector = (unsigned)(offset / ENTRY_SIZE);
	uint32_t value = 0;

	lock_take(&msix->lock);
	if (offset >= PBA_OFFSET && offset < PBA_OFFSET + sizeof(msix->pending))
		value = (uint32_t)(msix->pending[(offset - PBA_OFFSET) / 8] >> (8 * (offset & 4)));
	else if (vector < msix->count) {
		const struct entry *entry = &msix->entries[vector];

		switch (offset % ENTRY_SIZE) {
		case 0:
			value = (uint32_t)entry->address;
			break;
		case 4:
			value = (uint32_t)(entry->address >> 32);
			break;
		case 8:
			value = entry->data;
			break;
		default:
			value = entry->control;
			break;
		}
	}
	lock_release(&msix->lock);
	return value;
}

void msix_write(struct msix *msix, uint64_t offset, uint32_t value)
{
	unsigned vector = (unsigned)(offset / ENTRY_SIZE);
	struct entry *entry;

	if (vector >= msix->count)
		return;
	entry = &msix->entries[vector];
	lock_take(&msix->lock);
	switch (offset % ENTRY_SIZE) {
	case 0:
		entry->address = (entry->address & ~0xffffffffull) | (value & ~3u);
		break;
	case 4:
		entry->address = (uint32_t)entry->address | (uint64_t)value << 32;
		break;
	case 8:
		entry->data = value;
		break;
	default:
		entry->control = value & ENTRY_MASKED;
		send_pending(msix);
		break;
	}
	lock_release(&msix->lock);
}
