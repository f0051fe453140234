# Debian's packages as a source of guests: fetched and unpacked, never installed. To be sourced after steps.sh; $work is a directory
# for what is only needed meanwhile.
#
# Example: unpack_package "$(kernel_package linux-image-cloud-amd64)" "$work/kernel" ./lib ./boot

apt_options=()

# packages_of ARCH DIRECTORY: from now on packages of another architecture than this system's. The lists of them are kept in the
# directory; the system is not told of the architecture, and root is not needed.
packages_of() {
	mkdir -p "$2/lists/partial" "$2/cache/archives/partial"
	: >"$2/status"
	apt_options=(-o "APT::Architecture=$1" -o "APT::Architectures=$1" -o "Dir::State::lists=$2/lists" -o "Dir::State::status=$2/status"
		-o "Dir::Cache=$2/cache" -o APT::Sandbox::User= -o Acquire::Languages=none)
}

update_package_lists() {
	if [ ${#apt_options[@]} -gt 0 ]; then
		step "fetching the lists of packages" apt-get "${apt_options[@]}" update
	else
		step "updating the package lists" as_root apt-get update
	fi
}

# fetch_package PACKAGE DIRECTORY: its file, in there.
fetch_package() {
	# Lists that are old name files that are gone.
	if ! (cd "$2" && apt-get "${apt_options[@]}" download "$1") >/dev/null 2>&1; then
		update_package_lists
		step "fetching $1 again" env -C "$2" apt-get "${apt_options[@]}" download "$1"
	fi
}

# unpack_package PACKAGE DIRECTORY [PATH...]: all of it, or what is below the paths.
unpack_package() {
	local package=$1 into=$2 dir
	shift 2
	dir=$(mktemp -d "$work/deb.XXXXXX")
	fetch_package "$package" "$dir"
	mkdir -p "$into"
	dpkg-deb --fsys-tarfile "$dir"/*.deb | tar -x -C "$into" "$@"
	rm -rf "$dir"
}

first_dependency() {
	apt-cache "${apt_options[@]}" depends --no-recommends --no-suggests "$1" 2>/dev/null | sed -n "s/^ *Depends: \\($2.*\\)/\\1/p" | head -n 1
}

# kernel_package NAME: linux-image-amd64 and the like hold nothing; they depend on the image of the day.
kernel_package() {
	local image
	image=$(first_dependency "$1" 'linux-image-[0-9]')
	if [ -z "$image" ]; then
		update_package_lists
		image=$(first_dependency "$1" 'linux-image-[0-9]')
	fi
	[ -n "$image" ] || die "$1 is not among the packages: check /etc/apt/sources.list"
	echo "$image"
}
