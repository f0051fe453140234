# How ./run and guests/fetch.sh show what they do, and become root where they must. To be sourced.
#
# Example: step "updating the package lists" as_root apt-get update

say() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
	say "$*"
	exit 1
}

# Runs a command quietly, and shows what it said only if it fails.
step() {
	local text=$1 log
	shift
	say "$text ..."
	log=$(mktemp)
	if ! "$@" >"$log" 2>&1 </dev/null; then
		cat "$log" >&2
		rm -f "$log"
		die "failed: $*"
	fi
	rm -f "$log"
}

# Root, or a user with sudo; asks for the password here, not behind a progress line.
can_be_root() {
	[ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -v; }
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		DEBIAN_FRONTEND=noninteractive "$@"
	elif command -v sudo >/dev/null; then
		sudo DEBIAN_FRONTEND=noninteractive "$@"
	else
		echo "this needs root, and there is no sudo: run as root once: $*"
		return 1
	fi
}

# The packages that LIST (packages.txt) names and this system lacks; with PART=run those before its line "# tests".
missing_packages() {
	local list=$1 part=$2 name
	sed -E "$([ "$part" = run ] && echo '/^# tests/,$d;') s/#.*//; s/[[:space:]]//g; /^\$/d" "$list" | while read -r name; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
	done
}

# Installs them. PART: run (to build and run) or all (to test too).
install_packages() {
	local missing
	command -v dpkg-query >/dev/null || die "this is not a Debian system: install what packages.txt names, then meson setup build && ninja -C build"
	mapfile -t missing < <(missing_packages "$1" "$2")
	[ ${#missing[@]} -gt 0 ] || return 0
	if ! can_be_root; then
		say "not installed, and there is no sudo to install it: ${missing[*]}; trying without"
		return 0
	fi
	step "updating the package lists" as_root apt-get update
	step "installing ${missing[*]}" as_root apt-get install -y --no-install-recommends "${missing[@]}"
}
