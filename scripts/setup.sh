#!/usr/bin/env bash
# Installs what a fresh Debian 12 lacks to build and run Tidemart. Does nothing where all is there.
# Usage: setup.sh [audit|oldest]   (audit: the tools of `make audit` too; oldest: Debian's own servers)
set -euo pipefail

say() { printf 'setup: %s\n' "$*" >&2; }

if ! command -v cargo >/dev/null; then
    say "cargo is missing: install Rust from https://rustup.rs, then try again"
    exit 1
fi

# A package and how to see that it is not needed: a command, or a library.
packages=()
need() { # package, check...
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || packages+=("$package")
}
# Not grep -q, which leaves before ldconfig has told all, and that is an error of its.
library() { { ldconfig -p || /sbin/ldconfig -p; } | grep "$1" >/dev/null; }
java_17() { # the one that Kafka is run with
    local java=java
    [ -n "${JAVA_HOME:-}" ] && [ -x "$JAVA_HOME/bin/java" ] && java=$JAVA_HOME/bin/java
    [ "$("$java" -version 2>&1 | sed -nE 's/.*version "([0-9]+).*/\1/p')" -ge 17 ]
}

system_python() { # the one that environments are made with
    if [ -x /usr/bin/python3 ]; then /usr/bin/python3 "$@"; else python3 "$@"; fi
}
python3_11() { system_python -c "import sys; sys.exit(sys.version_info < (3, 11))"; }

protoc_types() { # what files for protoc import; in Debian they come by another package than protoc
    test -e /usr/include/google/protobuf/any.proto || protoc -o /dev/null google/protobuf/any.proto
}

node_18() { # the one that JupyterHub's proxy is run with
    [ "$(node --version | sed -nE 's/^v([0-9]+).*/\1/p')" -ge 18 ]
}

need openjdk-17-jre-headless java_17
need maven command -v mvn
need gcc command -v cc
need g++ command -v c++
need make command -v make
need cmake command -v cmake
need pkg-config command -v pkg-config
need protobuf-compiler command -v protoc
need libprotobuf-dev protoc_types
need zlib1g-dev test -e /usr/include/zlib.h
need libssl-dev test -e /usr/include/openssl/ssl.h
need libaio1 library libaio.so.1
need libnuma1 library libnuma.so.1
need python3 python3_11
need python3-venv system_python -c "import ensurepip"
need xz-utils command -v xz
need unzip command -v unzip
need procps command -v pgrep
need bubblewrap command -v bwrap
need nodejs node_18
need npm command -v npm
need chromium command -v chromium
need util-linux command -v setpriv
if [ "${1:-}" = oldest ]; then
    need postgresql-15 test -x /usr/lib/postgresql/15/bin/postgres
    need mariadb-server-core test -x /usr/bin/mariadb-install-db
    need mariadb-client test -x /usr/bin/my_print_defaults
fi

if [ ${#packages[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        say "missing, by the names that Debian has for them: ${packages[*]}. Install them, then try again"
        exit 1
    fi
    install="apt-get install --yes --no-install-recommends ${packages[*]}"
    if [ "$(id -u)" = 0 ]; then
        as_root=()
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        say "missing: ${packages[*]}. Run as root: apt-get update && $install"
        exit 1
    fi
    say "installing ${packages[*]}"
    if ! { "${as_root[@]}" apt-get update -q && DEBIAN_FRONTEND=noninteractive "${as_root[@]}" $install -q; } >/dev/null; then
        say "apt-get failed. Run as root: apt-get update && $install"
        exit 1
    fi
fi

if command -v rustup >/dev/null; then
    for component in rustfmt clippy; do
        cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component"
    done
fi

if [ "${1:-}" = audit ]; then
    for tool in cargo-deny cargo-machete; do
        command -v "$tool" >/dev/null || { say "building $tool"; cargo install --locked "$tool"; }
    done
fi
