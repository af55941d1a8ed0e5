# shellcheck shell=bash
# Sourced by demo and test. Gives them $root, $python and the functions below; changes no folder.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What Qt needs to draw a window with OpenGL on Debian and Ubuntu.
qt_packages=(
    libegl1 libgl1 libdbus-1-3 libfontconfig1 libglib2.0-0
    libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxkbcommon-x11-0
)

find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "napari-so3 needs Python 3.11 or newer, and none is on the PATH: install one (Debian 12, Ubuntu 24.04 or newer: 'apt-get install python3') and run this again." >&2
    return 1
}

is_installed() {
    # Since 2024 some libraries have 't64' after their old name, which apt-get still understands.
    grep -qx installed <<<"$(dpkg-query --show --showformat '${db:Status-Status}\n' "$1" "$1t64" 2>/dev/null)"
}

# install_packages NAME...: the Debian packages that are missing, or one line saying how to get them.
install_packages() {
    local package missing=() as_root=()
    if ! command -v dpkg-query >/dev/null; then
        echo "This is not Debian or Ubuntu, so no system library was installed: Qt needs your system's OpenGL, EGL, fontconfig, D-Bus, GLib, xcb-util-cursor, -wm, -keysyms and xkbcommon-x11 libraries, and the tests need Xvfb." >&2
        return
    fi
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        set -- "$@" "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    fi
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0

    if [[ $EUID -ne 0 ]]; then
        if ! sudo -n true 2>/dev/null; then
            echo "Some Debian packages are missing. Run this once as an administrator, then start again:" >&2
            echo "  sudo sh -c 'apt-get update; apt-get install -y --no-install-recommends ${missing[*]}'" >&2
            return 1
        fi
        as_root=(sudo -n)
    fi
    echo "Installing Debian packages: ${missing[*]}"
    as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    "${as_root[@]}" update </dev/null || true  # one source that does not answer need not matter
    "${as_root[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}

# make_venv FOLDER: a virtual environment with pip, unless a working one is there.
make_venv() {
    "$1/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$1"
}

python=$(find_python)
