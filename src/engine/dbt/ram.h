/* Guest RAM as translated code sees it: views of each page in which its neighbours cannot be touched.
 *
 * An access of translated code that runs over the end of a guest page must not reach whatever lies behind it in host
 * memory. So RAM is mapped twice for writing and twice for reading (mremap of the same shared memory): one view
 * has the even pages, the other the odd ones; the pages between are guards (MADV_GUARD_INSTALL, which costs no
 * mapping). Every access that starts on a page of a view and leaves it faults, by the hardware, whatever its size up to
 * a page. Code relies on it twice: no check for page-crossing accesses, and an addend that was looked up for one
 * displacement serves others up to a page away.
 *
 * What the guest itself maps in pieces of 2 MiB is had in such pieces (dbt_ram_region), with guards at their ends only.
 *
 * A page that holds translated code is taken out of its writable view (dbt_ram_protect): stale table entries
 * then fault, in every thread, from the moment the call returns.
 *
 * Example:
 *     uint8_t *hva = dbt_ram_view(ram, gpa, true);
 *     if (hva) table[page] = (uintptr_t)hva - gva;
 */
#ifndef ENGINE_DBT_RAM_H
#define ENGINE_DBT_RAM_H

#include "mem/mem.h"

struct dbt_ram;

/* Does this kernel have what views need? 0, or -ENOSYS (no guards in shared memory) or -ENOMEM with one sentence in why. */
int dbt_ram_probe(char *why, size_t why_size) must_check;

/* For all slots of mem, whose hva must be shared mappings (MAP_SHARED). -ENOMEM, -EINVAL (not shared), -ENOSYS (no guards
 * on this kernel) with one sentence in why. */
int dbt_ram_create(struct mem *mem, struct dbt_ram **out, char *why, size_t why_size) must_check;
void dbt_ram_destroy(struct dbt_ram *ram);

/* The view of gpa's page: page-aligned host address, NULL outside RAM, for writing also NULL in ROM and on a protected
 * page. Guards are in place when it returns. Any thread, also from a signal handler that interrupted translated code. */
uint8_t *dbt_ram_view(struct dbt_ram *ram, gpa_t gpa, bool writable);

/* The same for pages that can be had at no cost: NULL too while the page's guards are not in place. It makes no system call and
 * takes no lock. What fills entries of a page's neighbours asks this, hundreds of times a fault. */
uint8_t *dbt_ram_view_ready(struct dbt_ram *ram, gpa_t gpa, bool writable);

/* The 2 MiB at gpa (a multiple of that) in one piece, for what the guest maps by one large page: accesses may go from page to
 * page within it, and fault at its ends. Writable, protected pages in it fault. NULL: not all of it is RAM that can be
 * had so, or too much is; the pages' views will do. Any thread, also from a signal handler as above. */
uint8_t *dbt_ram_region(struct dbt_ram *ram, gpa_t gpa, bool writable);

/* Is gpa's page protected? */
bool dbt_ram_protected(struct dbt_ram *ram, gpa_t gpa);

/* gpa's page can no longer be reached through its writable view, by any thread; and it can again. Nothing for pages
 * outside RAM. Any thread. */
void dbt_ram_protect(struct dbt_ram *ram, gpa_t gpa);
void dbt_ram_unprotect(struct dbt_ram *ram, gpa_t gpa);

/* The memory of whole pages [gpa, gpa+len) was taken away below the views (mem.discarded): what lies there is a guard again where it has to be.
 * (Linux drops guards in page tables of memory that is touched while it is taken away.) Any thread. */
void dbt_ram_discarded(struct dbt_ram *ram, gpa_t gpa, uint64_t len);

/* Where invalid table entries point: the middle one of 3 pages that are PROT_NONE for ever. */
uint8_t *dbt_ram_nowhere(struct dbt_ram *ram);

/* What was done so far: parts of 2 MiB used for the first time, by way of access; regions mapped; pages taken out of the writable views. Any
 * thread. */
struct dbt_ram_counts {
	uint64_t read_parts, write_parts, regions, protections;
};
struct dbt_ram_counts dbt_ram_counts(const struct dbt_ram *ram);

/* All that can be read lies from here on, nowhere before it; all that can be written from there on, what can only be read before it. */
uintptr_t dbt_ram_begin(struct dbt_ram *ram, bool writable);

#endif
