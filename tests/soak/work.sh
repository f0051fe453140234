#!/bin/sh
# One round of work for a processor and its memory: compilers, JITs, processes. Prints a line for each part with what it
# found; the same lines on every machine. Parts whose program is missing are left out.
#
# usage: work.sh DIRECTORY      an empty one, to work in
set -e
here=$(cd "$(dirname "$0")" && pwd)
cd "$1"

# Not in a pipeline: its status is what counts.
part() {
	name=$1
	shift
	"$@" >"$name.out" 2>&1 || { echo "$name: failed"; cat "$name.out"; exit 1; }
	echo "$name" $(cat "$name.out")
}

have() {
	command -v "$1" >/dev/null 2>&1
}

# Processes: forks, pipes, signals, files.
forks() {
	n=0 text=
	while [ $n -lt 60 ]; do
		text=$(echo "$text $n" | md5sum | cut -c 1-32)
		(exit $((n % 7))) || text="$text$?"
		n=$((n + 1))
	done
	echo "$text"
	seq 20000 | sort -r | awk '{ sum = (sum * 31 + $1) % 1000003 } END { print sum }'
	head -c 3000000 /dev/zero | tr '\0' 'x' | gzip -c | gunzip -c | md5sum
	# The shell may say so too.
	{
		sleep 1000 &
		kill $!
		wait $! || echo "killed: $?"
	} 2>/dev/null
}

compile() {
	gcc -O2 -ffreestanding -c -o file.o "$here/program.c"
	md5sum <file.o
}

tiny() {
	tcc -nostdlib -c -o tiny.o "$here/program.c"
	md5sum <tiny.o
}

part forks forks
have luajit && part luajit luajit "$here/work.lua"
have node && part node node "$here/work.js"
have gcc && part gcc compile
have tcc && part tcc tiny
exit 0
