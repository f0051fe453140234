/* Parallel NOR flash with Intel's command set (JEDEC's Common Flash Interface, command set 0001): where UEFI firmware keeps its variables. Of
 * 8 bits, or a pair of chips of 16 bits side by side, which get each command and give each answer twice in a word of 32 bits.
 *
 * Example:
 *     r = pflash_create(vm, &(struct pflash_params){.base = 0xffc00000, .content = vars, .store = backend}, &device);
 *
 * What the guest writes reaches `store` in blocks of PFLASH_BLOCK, followed by a flush, some time after the guest wrote it; without
 * a store it lives as long as the VM. A machine reset keeps it.
 */
#ifndef DEV_MISC_PFLASH_H
#define DEV_MISC_PFLASH_H

#include "core/backend.h"
#include "core/vm.h"
#include "loader/image.h"

#define PFLASH_BLOCK      4096u    /* bytes that are erased together */
#define PFLASH_PAIR_BLOCK KIB(256) /* of a pair */
#define PFLASH_MAX_SIZE   MIB(64)

struct pflash_params {
	gpa_t base;                   /* a multiple of PFLASH_BLOCK */
	const struct image *content;  /* read once; its size, a multiple of PFLASH_BLOCK up to PFLASH_MAX_SIZE, is the flash's */
	bool pair;                    /* two chips of 16 bits; size and base are multiples of PFLASH_PAIR_BLOCK then */
	struct block_backend *store;  /* the same bytes, for writing; or NULL. Outlives the device */
};

/* -EINVAL: sizes; -ENOMEM; what reading said. */
int pflash_create(struct vm *vm, const struct pflash_params *params) must_check;

#endif
