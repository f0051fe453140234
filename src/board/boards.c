/* All boards of this build, the default first.
 *
 * Example: `const struct board_ops *board = board_find("microvm");`
 */
#include "board/board.h"
#include "board/aarch64/virt.h"
#include "board/x86_64/microvm.h"
#include "board/x86_64/pc.h"

const struct board_ops *const boards[] = {
	&board_microvm,
	&board_pc,
	&board_virt,
	NULL,
};

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

const struct board_ops *board_find(const char *name)
{
	for (unsigned i = 0; boards[i]; i++)
		if (same(boards[i]->name, name))
			return boards[i];
	return NULL;
}
