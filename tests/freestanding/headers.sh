#!/bin/sh
# Every header compiles alone, whatever was included before it; those of the freestanding rooms also
# without a hosted C library. A header is exempt only by what it is: an X-macro list is named .def.
#
# usage: headers.sh COMPILER SOURCE_ROOT BUILD_ROOT
set -eu

cc=$1 root=$2 build=$3 failed=0 count=0
cd "$root"
for header in $(find src include -name '*.h' | LC_ALL=C sort); do
	case $header in
	src/base/* | src/core/* | src/mem/* | src/arch/* | src/dev/* | src/pv/* | src/loader/* | src/board/*)
		mode=-ffreestanding ;;
	*) mode= ;;
	esac
	count=$((count + 1))
	if ! printf '#include "%s"\n#include "%s"\n' "${header#*/}" "${header#*/}" |
		$cc -std=gnu17 -Wall -Wextra -Wno-unused-parameter -Werror -D_GNU_SOURCE $mode -fsyntax-only \
			-Isrc -Iinclude -I"$build/src" -x c -; then
		echo "$header does not compile alone"
		failed=1
	fi
done
[ "$count" -gt 0 ] || { echo "no headers found"; exit 1; }

# And they include only what a compiler brings along (base/errno.h takes the C library's numbers if there is one).
rooms="src/base src/core src/mem src/arch src/dev src/pv src/loader src/board"
if grep -rn '^#[[:space:]]*include <' $rooms --include='*.[ch]' | grep -v '^src/base/errno.h:' |
	grep -Ev '<(stdarg|stdatomic|stdbool|stddef|stdint|stdalign|limits|float|[a-z]+intrin)\.h>'; then
	echo "a freestanding room includes a hosted header"
	failed=1
fi
exit $failed
