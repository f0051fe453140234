#!/bin/sh
# The command line of ruse: what is refused and in which words, exit statuses, the JSON description, and that
# `--help`, docs/CLI.md and the man page know the same options.
#
# usage: cli.sh RUSE SOURCE_ROOT MAN_PAGE
set -u

ruse=$1 root=$2 man=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0 checked=0

# A multiboot kernel of load addresses: magic, flags, sum, header, load, load end, bss end, entry; mov al, 5; out 0xf4, al
kernel=$work/kernel
{
	printf '\002\260\255\033\000\000\001\000\376\117\121\344\000\000\020\000'
	printf '\000\000\020\000\000\000\000\000\000\000\000\000\040\000\020\000'
	printf '\260\005\346\364\364'
	head -c 475 /dev/zero
} >"$kernel"

complain() {
	echo "FAIL: $*"
	failed=1
}

# refused STATUS TEXT ARGUMENT...: ends with STATUS and one line on stderr that contains TEXT; nothing on stdout.
refused() {
	status=$1 text=$2
	shift 2
	checked=$((checked + 1))
	"$ruse" "$@" >"$work/out" 2>"$work/err" </dev/null
	got=$?
	[ $got = "$status" ] || complain "ruse $*: status $got instead of $status"
	[ "$(wc -l <"$work/err")" = 1 ] || complain "ruse $*: not one line: $(cat "$work/err")"
	grep -qF -- "$text" "$work/err" || complain "ruse $*: '$text' is not in: $(cat "$work/err")"
	[ -s "$work/out" ] && complain "ruse $*: there is something on stdout"
	return 0
}

# accepted STATUS ARGUMENT...: ends with STATUS and says nothing on stderr.
accepted() {
	status=$1
	shift
	checked=$((checked + 1))
	"$ruse" "$@" >"$work/out" 2>"$work/err" </dev/null
	got=$?
	[ $got = "$status" ] || complain "ruse $*: status $got instead of $status: $(cat "$work/err")"
	[ -s "$work/err" ] && complain "ruse $*: says $(cat "$work/err")"
	return 0
}

# ---- usage errors: 2 ----

refused 2 "'fly' is unknown" fly
refused 2 'nothing to start: give a disk image, or --kernel' run
refused 2 'option --fast is unknown' run --fast
refused 2 'option -x is unknown' run -x
refused 2 '--firmware-vars is for firmware' run --kernel k --firmware-vars v
refused 1 "vmlinuz doesn't exist" run vmlinuz
refused 2 '--kernel needs a value' run --kernel
refused 2 '--stats takes no value' run --stats=yes
refused 2 'nothing follows --' run --kernel k --
refused 2 '--cpus 0 is not a number from 1 to 64' run --cpus 0
refused 2 '--cpus 65 is' run --cpus 65
refused 2 '--cpus 4x is' run --cpus 4x
refused 2 "there is no model 'v9'; use v1, v2, v3 or host" run --cpu v9
refused 2 "there is no model ''" run --cpu ''
refused 2 "there is no model 'v'" run --cpu v,+aes
refused 2 'write --cpu host,-avx' run --cpu -avx
refused 2 "'aes' is neither +FEATURE nor -FEATURE" run --cpu v2,aes
refused 2 "'' is neither" run --cpu v2,
refused 2 "there is no feature 'avx3'; is it avx or avx2?" run --cpu v2,+avx3
refused 2 "there is no feature 'sse3'; is it pni?" run --cpu v2,-sse3
refused 2 "there is no feature 'lzcnt'; is it abm?" run --cpu v2,+lzcnt
refused 2 "there is no feature 'hyperdrive'; \`--cpu help\`" run --cpu v2,+hyperdrive
refused 2 "there is no feature ''" run --cpu v2,+
refused 2 "there is no feature '0123456789012345678901234567890123456789'" \
	run --cpu v2,+0123456789012345678901234567890123456789
refused 2 'no engine can give the guest vaes' run --cpu host,+vaes
refused 2 "sse2 can't be taken away" run --cpu host,-sse2
refused 2 '--memory 12Q is not a size' run --memory 12Q
refused 2 '--memory 0 is' run --memory 0
refused 2 '--memory 4097 is' run --memory 4097
refused 2 '--memory 99999999999G is' run --memory 99999999999G
refused 2 '--memory -1 is' run --memory -1
refused 2 '--board pc98 is unknown' run --board pc98
refused 2 '--engine warp is unknown' run --engine warp
refused 2 'write tb or tb=FILE' run --dump blocks
refused 2 'write tb or tb=FILE' run --dump tb=
refused 2 '--rng maybe' run --rng maybe
refused 2 '--input maybe' run --input maybe
refused 2 'if=virtio|scsi|ahci|cdrom' run --disk d,if=floppy
refused 2 'write SIZE[,max=SIZE]' run --memory 1G,max
refused 2 'write SIZE[,max=SIZE]' run --memory 1G,max=lots
refused 2 'make max larger' run --kernel k --memory 1G,max=512M
refused 2 'steps of 2 MiB' run --kernel k --memory 1G,max=1025M
refused 2 '--pmem ,ro names no file' run --pmem ,ro
refused 2 'use ro or shared' run --pmem f,rw
refused 2 'more than 4' run --pmem a --pmem b --pmem c --pmem d --pmem e
refused 2 '--balloon much is neither' run --balloon much
refused 2 '--balloon 100 is neither' run --balloon 100
refused 2 "can't take all" run --kernel k --memory 64M --balloon 64M
refused 2 '--fs home is not understood' run --fs home
refused 2 'needs the socket' run --fs tag=home
refused 2 'needs a tag' run --fs socket=/s
refused 2 'at most 36' run --fs "socket=/s,tag=$(printf '%037d' 0)"
refused 2 'more than 4 shared' run --fs socket=s,tag=a --fs socket=s,tag=b --fs socket=s,tag=c --fs socket=s,tag=d --fs socket=s,tag=e
refused 2 'needs the path of a socket' run --net vhost-user
refused 2 "needs an interface's name" run --net tap
refused 2 "needs an interface's name" run --net tap=a-name-too-long1
refused 2 "needs an interface's name" run --net tap=../eth0
refused 2 'names no directory' run --share ,ro
refused 2 "option 'rw' is unknown" run --share /d,rw
refused 2 'two shares have the tag x' run --share /d,tag=x --share /e,tag=x
refused 2 'a share has 1 to 32 characters' run --share "/d,tag=$(printf '%033d' 0)"
refused 2 'more than 4 shared' run --share a --share b --share c --share d --share e
refused 2 '--vsock guest is not understood' run --vsock guest
refused 2 'cid=3' run --vsock cid=2,uds=/s
refused 2 'cid=3' run --vsock cid=4294967295,uds=/s
refused 2 'uds=PATH' run --vsock cid=3
refused 2 'longer than 96' run --vsock "cid=3,uds=$(printf '%097d' 0)"
refused 2 '--gdb 1234 is not understood' run --gdb 1234
refused 2 '--gdb tcp= is not' run --gdb tcp=
refused 2 '--gdb tcp=:1 is not' run --gdb tcp=:1
refused 2 '--gdb tcp=65536 is not' run --gdb tcp=65536
refused 2 '--gdb tcp=0 is not' run --gdb tcp=0
refused 2 '--gdb unix= is not' run --gdb unix=
refused 2 '--display vnc=unix: is not understood' run --display vnc=unix:
refused 2 '--display sdl is not understood' run --display sdl
refused 2 '--serial tape is unknown' run --serial tape
refused 2 '--serial file= is unknown' run --serial file=
refused 2 '--console tape is unknown' run --console tape
refused 2 '--disk ,ro names no file' run --disk ,ro
refused 2 "'rw' is unknown" run --disk x,rw
refused 2 'queues=0 is not a number from 1 to 64' run --disk x,queues=0
refused 2 'queues=33 is not a number from 1 to 32' run --net user,queues=33
for rate in '' bytes: bytes:0 bytes:1/ bytes:1/0 ops:1x bits:5 ops:99999999999999999999; do
	refused 2 "rate=$rate is not understood; write rate=bytes:" run --disk "x,rate=$rate"
	refused 2 "rate=$rate is not understood; write rate=bytes:" run --net "user,rate=$rate"
done
refused 2 'queues and rate are for if=virtio' run --disk x,if=scsi,rate=ops:1
refused 2 'queues and rate are not for --net vhost-user' run --net vhost-user=x,queues=2
refused 2 "'ops:5' is unknown" run --disk x,ops:5
refused 2 'is longer than 20 characters' run --disk x,serial=123456789012345678901
refused 2 'the disk format vmdk is unknown' run --disk x,format=vmdk
refused 2 'the cache mode fast is unknown' run --disk x,cache=fast
refused 2 'is raw to us: let its server read the format qcow2' run --disk nbd://h/x,format=qcow2
refused 2 "are its server's affair" run --disk nbd://h/x,cache=none
refused 1 'no NBD export is to be had at nbd+unix:///x?socket=/nowhere/s' disk info 'nbd+unix:///x?socket=/nowhere/s'
refused 1 'write nbd://HOST:PORT/EXPORT' disk info nbds://h/x
refused 2 '--net slip is unknown' run --net slip
refused 2 "'mtu=9000' is unknown" run --net user,mtu=9000
refused 2 'mac=1:2 is not understood' run --net user,mac=1:2
refused 2 'is not understood; write mac=' run --net user,mac=00:00:00:00:00:00
refused 2 'first byte must be even' run --net user,mac=53:00:00:00:00:01
refused 2 'write stream=unix:PATH' run --net stream=tcp:1
refused 2 'write stream=unix:PATH' run --net stream
refused 2 'hostfwd is for' run --net passt=P,hostfwd=tcp:1:2
refused 2 'hostfwd=udp:1:2 is not understood' run --net user,hostfwd=udp:1:2
refused 2 'hostfwd=tcp:0:2 is not understood' run --net user,hostfwd=tcp:0:2
refused 2 'hostfwd=tcp:1:65536 is not' run --net user,hostfwd=tcp:1:65536
refused 2 "'weather' is unknown" run --trace exits,weather
refused 2 "can't both be stdio" run --kernel k --serial stdio --console stdio
refused 2 "can't be debugged" run --kernel k --gdb tcp=1 --check interp
refused 2 'a command needs an initrd' run --kernel k -- ls
refused 2 "does not know '--yaml'" engines --yaml
refused 2 "takes no 'x'" version x

# ---- files: 1 ----

: >"$work/empty"
echo 'just some text, longer than a boot sector is not needed' >"$work/text"
refused 1 "$work/nowhere" run --kernel "$work/nowhere" --dry-run
refused 1 "$work" run --kernel "$work" --dry-run
refused 1 "$work/empty" run --kernel "$work/empty" --dry-run
refused 1 'in no known format' run --kernel "$work/text" --dry-run
refused 1 "$work/nowhere" run --kernel "$kernel" --initrd "$work/nowhere" --dry-run
refused 1 "disk $work/nowhere can't be opened" run --kernel "$kernel" --disk "$work/nowhere" --dry-run
refused 1 'change --memory' run --kernel "$kernel" --memory 1M --dry-run
refused 1 'does not fit' run --kernel "$kernel" --memory 2M --initrd "$ruse" --dry-run
accepted 0 run --kernel "$kernel" --dry-run
refused 1 "cannot listen at '$work/nowhere/vnc'" run --kernel "$kernel" --display "vnc=unix:$work/nowhere/vnc"
refused 1 "this board has no screen for --display" run --kernel "$kernel" --display "vnc=unix:$work/vnc"
[ ! -e "$work/vnc" ] || complain 'a refused --display leaves its socket'
refused 1 "cannot listen at '$work/nowhere/gdb'" run --kernel "$kernel" --gdb "unix=$work/nowhere/gdb"

# ---- disk images ----

disk=$work/d.qcow2
accepted 0 disk create "$disk" 10M
accepted 0 disk info "$disk" --json
grep -q '"size": 10485760' "$work/out" || complain 'ruse disk info does not tell the size'
refused 1 'is there already' disk create "$disk" 10M
accepted 0 disk create "$disk" 1M --force --cluster-size 4K
accepted 0 disk resize "$disk" +1M
refused 1 'say --shrink' disk resize "$disk" 1M
accepted 0 disk resize "$disk" 1M --shrink
accepted 0 disk check "$disk"
refused 1 'there is nothing in it that could be checked' disk check "$kernel"
refused 1 'no backing file' disk commit "$disk"
refused 1 'is no qcow2 image' disk info "$kernel" --format qcow2
refused 1 "$work/no.qcow2 doesn't exist" disk info "$work/no.qcow2"
refused 2 'the disk format vdi is unknown' disk info "$disk" --format vdi
refused 2 'must be a power of two' disk create "$work/e.qcow2" 1M --cluster-size 3000
refused 2 'a raw image has no backing file' disk create "$work/e.img" --backing "$disk"
refused 2 'is no size' disk create "$work/e.qcow2" lots
refused 2 "does not know '--json'" disk commit "$disk" --json
refused 2 'needs a value' disk check "$disk" -r
refused 2 "disk does not know 'burn'" disk burn
[ ! -e "$work/e.qcow2" ] || complain 'a refused ruse disk create leaves a file'

# ---- JSON ----

accepted 0 run --print-config --kernel k --initrd i --append 'a "b" c' --cpus 3 --memory 1G,max=3G --disk 'd,ro,serial=s,if=scsi,format=qcow2,cache=none,backing=/b' \
	--disk e,queues=3,rate=bytes:10M/1M,ops:500 --net user,hostfwd=tcp:1:2,hostfwd=tcp:3:4,queues=2,rate=ops:7/9 \
	--net passt,mac=52:54:00:ab:cd:ef,hostfwd=tcp:5:6 --net passt=p --net stream=unix:/s --net vhost-user=/vh --net tap=tap7 --fs socket=/fs,tag=home --vsock cid=3,uds=/v --share /d,ro --share /e --rng off --input on --display vnc=unix:/v.vnc --balloon 64M --pmem p,ro --pmem q,shared --serial none --console pty --no-reboot \
	--name my-vm_1.0 --gdb tcp=[::1]:1234 --paused --cpu v2,+aes,-pcid --test-devices --stats --no-sandbox --trace io,exits --dump tb=t --perf-map --profile p --count-blocks c --check interp --engine interp -- sh -c "echo 'x'"
cp "$work/out" "$work/config.json"
accepted 0 run --config "$work/config.json" --print-config
cmp "$work/config.json" "$work/out" || complain 'the JSON changes when it is read and printed'
for text in '"kernel": "k"' '"queues": 3' '"queues": 2' '"bytes": 10485760' '"bytes_burst": 1048576' '"ops": 500' '"ops_burst": 9' '"append": "a \"b\" c"' '"cpu": "v2,+aes,-pcid"' '"cpus": 3' '"memory": "1024M"' '"memory_max": "3072M"' '"shared": true' '"serial": "s"' '"host": 3' \
	'"rng": false' '"input": true' '"display": "vnc=unix:/v.vnc"' '"interface": "scsi"' '"interface": "virtio"' '"balloon": "65536K"' '"directory": "/d"' '"tag": "share2"' '"cid": 3' '"path": "/v"' '"backend": "vhost-user"' '"tag": "home"' '"socket": "/fs"' '"interface": "tap7"' '"console": "pty"' '"no_sandbox": true' '"dump_tb": "t"' '"perf_map": true' '"profile": "p"' '"count_blocks": "c"' '"check": true' '"gdb": "tcp=[::1]:1234"' '"paused": true' '"name": "my-vm_1.0"' '"exits"' "\"echo 'x'\""; do
	grep -qF -- "$text" "$work/config.json" || complain "$text is not in the JSON"
done
bad_json() {
	printf '%s' "$1" >"$work/bad.json"
	refused 2 "$2" run --config "$work/bad.json" --print-config
}
bad_json '{' 'is not JSON: line 1'
bad_json '[]' 'must hold one object'
bad_json '{"kernal": "x"}' '"kernal" is unknown'
bad_json '{"kernel": 7}' '"kernel" must be a string'
bad_json '{"cpus": 65}' '"cpus" must be a number from 1 to 64'
bad_json '{"cpu": 3}' '"cpu" must be a string'
bad_json '{"cpu": "v9"}' "there is no model 'v9'"
bad_json '{"cpu": "help"}' "there is no model 'help'"
bad_json '{"cpu": "v1,+smepp"}' 'is it smep?'
bad_json '{"memory": "lots"}' '"memory" must be a size'
bad_json '{"memory": -4096}' '"memory" must be a size'
bad_json '{"memory_max": 100}' '"memory_max" must be a size in whole pages'
bad_json '{"pmems": ["x"]}' 'each of "pmems" must be an object'
bad_json '{"pmems": [{"path": "x", "size": 3}]}' 'a file as memory has no "size"'
bad_json '{"pmems": [{"shared": true}]}' 'one of "pmems" has no "path"'
bad_json '{"balloon": 4096}' '"balloon" must be true, false, or a size'
bad_json '{"balloon": "1"}' '"balloon" must be true, false, or a size'
bad_json '{"shares": [{"tag": "t"}]}' 'names no directory'
bad_json '{"shares": [{"directory": "t", "size": 1}]}' 'a share has no "size"'
bad_json '{"vsock": {"cid": 3}}' '"vsock" must be'
bad_json '{"vsock": {"cid": 2, "path": "p"}}' 'cid=3'
bad_json '{"rng": "on"}' '"rng" must be true or false'
bad_json '{"disks": [{}]}' 'a disk without "path"'
bad_json '{"disks": [{"path": "x", "interface": "floppy"}]}' '"interface" must be "virtio", "scsi", "ahci" or "cdrom"'
bad_json '{"disks": [{"path": "x", "colour": 1}]}' 'a disk has no "colour"'
bad_json '{"disks": [{"path": "x", "cache": "fast"}]}' 'the cache mode fast is unknown'
bad_json '{"disks": [{"path": "x", "queues": 65}]}' '"queues" must be a number from 1 to 64'
for rate in 7 '{"bytes": 0}' '{"bytes": "x"}' '{"bites": 1}' '{"ops_burst": 4}'; do
	bad_json "{\"disks\": [{\"path\": \"x\", \"rate\": $rate}]}" '"rate" must be an object of bytes'
	bad_json "{\"nets\": [{\"rate\": $rate}]}" '"rate" must be an object of bytes'
done
bad_json '{"disks": "x"}' '"disks" must be a list'
bad_json '{"nets": [{"backend": "ether"}]}' 'network "ether" is unknown'
bad_json '{"nets": [{"backend": "stream"}]}' 'needs the path of a socket'
bad_json '{"nets": [{"mac": "52-54-00-00-00-01"}]}' '"mac" must be an address'
bad_json '{"nets": [{"mac": "53:54:00:00:00:01"}]}' 'first byte must be even'
bad_json '{"nets": [{"forward": [{"host": 1}]}]}' '"forward" must be'
bad_json '{"nets": [{"backend": "vhost-user"}]}' 'needs the path of a socket'
bad_json '{"nets": [{"backend": "tap"}]}' "needs an interface's name"
bad_json '{"fs": [{"tag": "t"}]}' 'each of "fs" must be'
bad_json '{"fs": [{"socket": "s", "tag": ""}]}' 'needs a tag'
bad_json '{"fs": {}}' '"fs" must be a list'
bad_json '{"display": "vnc=tcp:1"}' '"display" must be'
bad_json '{"gdb": "serial"}' '"gdb" must be'
bad_json '{"name": "a b"}' 'is no name'
bad_json '{"paused": 1}' '"paused" must be true or false'
bad_json '{"engine": "warp"}' '"warp" is unknown'
bad_json '{"trace": ["weather"]}' "'weather' is unknown"
bad_json '{"command": []}' '"command" must be a list'
bad_json '{"cpus": 1, "cpus": 2}' 'is not JSON'
refused 2 "can't be read" run --config "$work/nowhere"

# ---- a run, from options and from JSON ----

accepted 11 run --kernel "$kernel" --test-devices --engine interp --serial none
accepted 11 run --kernel "$kernel" --test-devices --engine interp --serial none --cpu v1,+avx2
printf '{"kernel": "%s", "test_devices": true, "engine": "interp", "serial": "none"}' "$kernel" >"$work/run.json"
accepted 11 run --config "$work/run.json"
accepted 11 run --config "$work/run.json" --engine auto --cpus 4 --disk "$kernel,ro" --net user --console none
checked=$((checked + 1))
"$ruse" run --config "$work/run.json" --stats >"$work/out" 2>"$work/err"
for text in 'engine: interp' 'guest instructions: ' 'MIPS: ' 'exits io: 1' 'resident memory: ' 'time to first instruction: '; do
	grep -qF -- "$text" "$work/err" || complain "--stats does not say '$text'"
done

# An engine's own figures.
if "$ruse" engines | grep -A 1 '^dbt ' | grep -q 'works here'; then
	checked=$((checked + 1))
	"$ruse" run --kernel "$kernel" --test-devices --engine dbt --serial none --cpus 2 --stats >"$work/out" 2>"$work/err"
	for text in 'engine: dbt' 'translated blocks: 1' 'interpreted instructions: [0-9]*' 'faults: 0' 'exits io: 1 (writes 1)' \
		'time in interpreter: [0-9.]* ms ([0-9.]*%)'; do
		grep -qx -- "$text" "$work/err" || complain "--stats of dbt does not say '$text': $(cat "$work/err")"
	done
	grep -q 'MIPS\|guest instructions' "$work/err" && complain '--stats counts translated instructions'
fi

# ---- top ----

refused 2 "top does not know '--fast'" top --fast
refused 2 "top does not know '--count'" top --count
refused 2 "top does not know '-1'" top -1
export XDG_RUNTIME_DIR="$work"
refused 1 'no VM of yours is running' top
refused 1 "there is no VM 'fast'" top fast
# Ends by a signal of ours: out 0x80, al; jmp to it.
endless=$work/endless
{
	head -c 32 "$kernel"
	printf '\346\200\353\374'
	head -c 476 /dev/zero
} >"$endless"
run_endless() {
	"$ruse" run --kernel "$endless" --serial none "$@" </dev/null >/dev/null 2>"$work/err" &
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ -S "$work/ruse/$!.sock" ] && return
		sleep 0.1
	done
	complain "no socket in $(ls "$work" "$work/ruse")"
}
run_endless --engine interp
first=$!
accepted 0 top --count 1
grep -q "^VM $first, engine interp, 1 processor, running for" "$work/out" || complain "top says: $(cat "$work/out")"
grep -qE '^exits io +[1-9][0-9]* +[1-9][0-9]*$' "$work/out" || complain "top knows no exits: $(cat "$work/out")"
run_endless --cpus 2
second=$!
accepted 0 top
[ "$(sort "$work/out")" = "$(printf '%s\n' "$first $first" "$second $second" | sort)" ] || complain "top lists: $(cat "$work/out")"
accepted 0 top $second --count 2
if grep -q "^VM $second, engine dbt, 2 processors" "$work/out"; then
	grep -qE '^time in interpreter +[0-9.]*[1-9][0-9.]*% +[0-9.]+ ms$' "$work/out" || complain "top knows no times: $(cat "$work/out")"
fi
[ "$(grep -c "^VM $second" "$work/out")" = 2 ] || complain 'not two updates'
kill $first $second
wait $first $second
# What they left behind is found out, and removed.
refused 1 'no VM of yours is running' top
[ -z "$(ls "$work/ruse")" ] || complain "sockets of the dead: $(ls "$work/ruse")"
refused 1 "no VM $first answers" top $first
unset XDG_RUNTIME_DIR

# ---- processors ----

accepted 0 run --cpu help
for text in '  v3     x86-64-v3' ' avx2' ' sha_ni' ' lahf_lm'; do
	grep -qF -- "$text" "$work/out" || complain "--cpu help does not say '$text'"
done
grep -q vaes "$work/out" && complain '--cpu help lists what no engine has'

# ---- engines ----

accepted 0 engines
grep -q '^interp ' "$work/out" || complain 'engines does not name interp'
accepted 0 engines --json
grep -q '"instructions_per_second"' "$work/out" || complain 'engines --json has no speed'
# The guest that engines are measured with is memory of the kind that every engine can take.
grep -q 'cannot map guest memory' "$work/out" && complain 'an engine cannot take the calibration guest'
# auto: hardware if there is some, else translation if that is possible here, else interpretation.
best=$(awk '
	$1 == "\"name\":" { name = substr($2, 2, length($2) - 3) }
	$1 == "\"works\":" { works[name] = $2 ~ /true/ }
	$1 == "\"instructions_per_second\":" { speed[name] = $2 + 0 }
	END { print (works["kvm"] && speed["kvm"] > 1e9 ? "kvm" : works["dbt"] ? "dbt" : "interp") }' "$work/out")
checked=$((checked + 1))
"$ruse" run --kernel "$kernel" --test-devices --serial none --stats >"$work/out" 2>"$work/err"
grep -qx "engine: $best" "$work/err" || complain "auto does not take $best: $(grep engine: "$work/err")"

# ---- one set of options everywhere ----

"$ruse" run --help | sed -n 's/^  \(--[a-z-]*\).*/\1/p' | sort >"$work/help"
sed -n 's/^- `\(--[a-z-]*\).*/\1/p' "$root/docs/CLI.md" | sort >"$work/cli"
sed -n 's/^\\fB\\-\\-/--/p' "$man" | sed 's/\\fP.*//; s/ .*//; s/\\//g' | grep '^--[a-z]' | sort -u >"$work/man"
diff "$work/help" "$work/cli" || complain '--help and docs/CLI.md do not have the same options'
diff "$work/help" "$work/man" || complain '--help and ruse(1) do not have the same options'
[ -s "$work/help" ] || complain '--help names no options'

echo "$checked command lines checked"
exit $failed
