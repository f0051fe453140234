#!/bin/sh
# Real programs, run by benchmarks/real.py in the tree of Debian's packages: natively by chroot, and in each guest. There
# are no coreutils, and no /dev and /proc in the tree.
#
# usage: work.sh SECONDS     how long each of openssl's tests takes
#
# What is printed: openssl's and 7-Zip's own figures, and for the rest "NAME TIME ns" by `suite --clock`, for the first run,
# which may read the disk, and for the others.
set -e
cd /tmp

for cipher in sha256 aes-128-gcm; do
	openssl speed -mr -elapsed -seconds "$1" -bytes 16384 -evp $cipher 2>/tmp/errors
done
openssl speed -mr -elapsed -seconds "$1" rsa2048 2>/tmp/errors
7zz b 1 -mmt1 -md12
clock() {
	/bench/suite --clock "$@"
}
clock python-start 6 -- python3 -c pass
clock python-loop 2 -- python3 /bench/loop.py
clock gcc 2 -- gcc -O2 -c -o /tmp/large.o /bench/large.c
clock sqlite 3 -- sqlite3 /tmp/inserts.db '.read /bench/inserts.sql'
