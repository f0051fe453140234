/* Reading images with every range checked; see image.h. */
#include "loader/image.h"

#include "base/errno.h"
#include "mem/mem.h"

#define PIECE MIB(4)

int image_read(const struct image *image, uint64_t offset, void *buf, size_t len)
{
	if (offset > image->size || len > image->size - offset)
		return -EINVAL;
	return len ? image->read(image, offset, buf, len) : 0;
}

int image_to_mem(const struct image *image, uint64_t offset, uint64_t len, struct mem *mem, gpa_t gpa)
{
	if (offset > image->size || len > image->size - offset)
		return -EINVAL;
	while (len) {
		struct mem_slot *slot = mem_find(mem, gpa);
		uint64_t piece = len < PIECE ? len : PIECE;
		int err;

		if (!slot)
			return -EFAULT;
		if (piece > slot->size - (gpa - slot->gpa))
			piece = slot->size - (gpa - slot->gpa);
		/* Straight into guest memory: the page cache is copied once. */
		void *hva = mem_hva(mem, gpa, piece);
		if (!hva)
			return -EFAULT;
		err = image->read(image, offset, hva, piece);
		if (err)
			return err;
		mem_mark_written(mem, gpa, piece);
		offset += piece;
		gpa += piece;
		len -= piece;
	}
	return 0;
}
