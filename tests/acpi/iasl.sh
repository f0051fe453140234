#!/bin/sh
# The boards' ACPI tables as ACPICA sees them: each disassembles, and compiles again, without an error or a warning
# that is ours, and says what the board has.
#
# usage: iasl.sh DUMP_TABLES
set -eu

command -v iasl >/dev/null || { echo "SKIP: iasl (acpica-tools) is not installed"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for machine in 'microvm 1 1' 'microvm 4 6' 'microvm 64 26' 'pc 2 0' 'pc 64 0' 'firmware 3 0'; do
	board=${machine%% *}
	rm -f "$work"/*
	# shellcheck disable=SC2086
	"$1" $machine "$work"
	cd "$work"
	for table in DSDT FACP APIC SPCR XSDT $([ "$board" = microvm ] || echo MCFG HPET); do
		[ -s $table.dat ] || { echo "$machine: no $table"; exit 1; }
		iasl -d $table.dat >log 2>&1 || { cat log; echo "$machine: $table does not disassemble"; exit 1; }
		# What the disassembler could not make sense of it says in comments.
		if grep -iE 'error|invalid|truncated|unknown' $table.dsl; then
			echo "$machine: $table has a field that iasl does not like"
			exit 1
		fi
		iasl -oa -p again-$table $table.dsl >log 2>&1 || { cat log; echo "$machine: $table does not compile"; exit 1; }
		grep -q '\<0 Errors, 0 Warnings' log || grep -q 'Table Input' log || { cat log; exit 1; }
	done
	# As many devices as were asked for, and the way to switch off.
	virtio=$(grep -c LNRO0005 DSDT.dsl || true)
	cpus=$(grep -c 'Local Apic ID' APIC.dsl)
	[ "$board $cpus $virtio" = "$machine" ] || { echo "$machine: the tables have $cpus processors, $virtio devices"; exit 1; }
	grep -q 'Name (.*_S5, Package (0x04)' DSDT.dsl || { echo "$machine: there is no _S5"; exit 1; }
	if [ "$board" = microvm ]; then
		grep -q 'Hardware Reduced (V5) : 1' FACP.dsl || { echo "$machine: the hardware is not reduced"; exit 1; }
	else
		grep -q 'Hardware Reduced (V5) : 0' FACP.dsl || { echo "$machine: the hardware is reduced"; exit 1; }
		grep -q 'SCI Interrupt : 0009' FACP.dsl || { echo "$machine: no SCI"; exit 1; }
		# Four pins of 32 slots, and the windows of the host bridge.
		routes=$(grep -c '^ *0x[0-9A-F]*FFFF, *$' DSDT.dsl)
		[ "$routes" -ge 128 ] || { echo "$machine: $routes interrupts are routed"; exit 1; }
		# The same for an OS without IOAPIC, by links.
		[ "$(grep -c '^ *ISA.LNK[A-H], *$' DSDT.dsl)" = 128 ] || { echo "$machine: not all pins have a link"; exit 1; }
		[ "$(grep -c '^ *Device (LNK[A-H])' DSDT.dsl)" = 8 ] || { echo "$machine: there are not 8 links"; exit 1; }
		grep -q 'PNP0103' DSDT.dsl || { echo "$machine: the HPET is no device"; exit 1; }
		grep -q 'QWordMemory' DSDT.dsl || { echo "$machine: no window above 4 GiB"; exit 1; }
	fi
	# The definition block means the same after a round trip (its header's compiler, length and sum differ).
	iasl -d again-DSDT.aml >log 2>&1 || { cat log; exit 1; }
	sed '1,/^DefinitionBlock/d' DSDT.dsl >before
	sed '1,/^DefinitionBlock/d' again-DSDT.dsl >after
	diff before after || { echo "$machine: the DSDT changes when it is compiled again"; exit 1; }
	cd - >/dev/null
done
