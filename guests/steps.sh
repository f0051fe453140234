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
