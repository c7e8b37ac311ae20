#!/bin/sh
# Makes wasm32-unknown-unknown (core and alloc, no std needed) usable on this machine, and prints one line on
# standard output: the path of a `cargo-wasm`, which is called as cargo is, from the root of the workspace, and
# builds for that target without paths of this machine in what it builds.
#
#   sh xtask/toolchain/wasm-toolchain.sh            set up and print
#   sh xtask/toolchain/wasm-toolchain.sh --check    say whether it is ready, change nothing (exit 1: no)
#   sh xtask/toolchain/wasm-toolchain.sh --debian   skip rustup (to test the fallback)
#   sh xtask/toolchain/wasm-toolchain.sh --offline  use only what is installed or cached
#
# First `rustup target add`. Where rustup cannot download, Debian's rustc-web packages are fetched with apt-get
# (no root, nothing is installed) and unpacked into the user's cache; core and alloc are built once from
# rust-web-src and put into that compiler's sysroot, so that later builds need no unstable flag.
# That compiler is another release than the pinned one: its components decide alike but differ in bytes.
#
# FOREBAY_WASM_CACHE             default ${XDG_CACHE_HOME:-$HOME/.cache}/forebay-wasm
# FOREBAY_WASM_RUSTUP_TIMEOUT    seconds for rustup, default 120
set -eu

TARGET=wasm32-unknown-unknown
CACHE=${FOREBAY_WASM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/forebay-wasm}
MODE=auto
OFFLINE=no
for arg in "$@"; do
    case $arg in
        --check) MODE=check ;;
        --debian) MODE=debian ;;
        --offline) OFFLINE=yes ;;
        -h | --help) sed -n '2,18s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "wasm-toolchain: unknown option $arg" >&2; exit 2 ;;
    esac
done

say() { echo "wasm-toolchain: $*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

has_core() { # sysroot
    for lib in "$1/lib/rustlib/$TARGET/lib/"libcore-*.rlib; do
        [ -f "$lib" ] && return 0
    done
    return 1
}

write_wrapper() { # rustc
    mkdir -p "$CACHE/bin"
    new=$CACHE/bin/.cargo-wasm.$$
    cat >"$new" <<END
#!/bin/sh
# Written by wasm-toolchain.sh; safe to delete.
# Which compiler it is stands in the manifest of what it builds.
[ "\${1:-}" = --rustc-version ] && exec '$1' --version
# Panics name source files: without these the same source gives other bytes on another machine.
separator=\$(printf '\037')
flags="--remap-path-prefix=\$(pwd -P)=/forebay"
for registry in "\${CARGO_HOME:-\$HOME/.cargo}"/registry/src/*/; do
    [ -d "\$registry" ] && flags="\$flags\$separator--remap-path-prefix=\${registry%/}=/cargo"
done
CARGO_ENCODED_RUSTFLAGS=\$flags
RUSTC='$1'
CARGO_BUILD_TARGET=$TARGET
export CARGO_ENCODED_RUSTFLAGS RUSTC CARGO_BUILD_TARGET
exec cargo "\$@"
END
    chmod 755 "$new"
    mv -f "$new" "$CACHE/bin/cargo-wasm"
    say "ready: $("$1" --version)"
    echo "$CACHE/bin/cargo-wasm"
}

cached_debian() { # prints its rustc
    [ -f "$CACHE/debian/current" ] || return 1
    root=$CACHE/debian/$(cat "$CACHE/debian/current")
    has_core "$root/usr" && [ -x "$root/rustc" ] && echo "$root/rustc"
}

have cargo && have rustc || die "cargo and rustc are not on PATH: install rustup (https://rustup.rs)"
SYSROOT=$(rustc --print sysroot)

if [ "$MODE" = check ]; then
    if has_core "$SYSROOT" || cached_debian >/dev/null; then exit 0; fi
    die "not ready: run sh xtask/toolchain/wasm-toolchain.sh"
fi

if [ "$MODE" = auto ]; then
    if has_core "$SYSROOT"; then write_wrapper "$(command -v rustc)"; exit 0; fi
    if [ "$OFFLINE" = no ] && have rustup; then
        say "rustup target add $TARGET"
        limit=""
        have timeout && limit="timeout ${FOREBAY_WASM_RUSTUP_TIMEOUT:-120}"
        # shellcheck disable=SC2086 # the limit is two words or none
        if $limit rustup target add "$TARGET" >&2 && has_core "$SYSROOT"; then write_wrapper "$(command -v rustc)"; exit 0; fi
        say "rustup could not add the target; trying Debian's packages"
    fi
fi

if rustc=$(cached_debian); then write_wrapper "$rustc"; exit 0; fi
[ "$OFFLINE" = no ] || die "offline, and neither an installed nor a cached target"
for tool in apt-get apt-cache dpkg dpkg-deb; do
    have "$tool" || die "no rustup target and no $tool: install the $TARGET standard library for your rustc"
done
[ "$(dpkg --print-architecture)" = amd64 ] || die "the Debian fallback is for amd64 only"

candidate() { apt-cache policy "$1" | sed -n 's/^  Candidate: //p'; }
depends() { apt-cache depends "$1" 2>/dev/null | sed -n 's/^ *Depends: \([^<]*\)$/\1/p'; }
VERSION=$(candidate rustc-web)
[ -n "$VERSION" ] && [ "$VERSION" != "(none)" ] ||
    die "no package rustc-web: add Debian's security archive to the sources and run apt-get update"
STD=$(depends libstd-rust-web-dev | grep '^libstd-rust-web-[0-9]' | head -n 1)
LLVM=$(depends "$STD" | grep '^libllvm' | head -n 1)
[ -n "$STD" ] && [ -n "$LLVM" ] || die "the dependencies of rustc-web $VERSION cannot be resolved"

NAME=$(printf '%s' "$VERSION" | tr -c 'A-Za-z0-9.+~-' _)
ROOT=$CACHE/debian/$NAME
WORK=$CACHE/debian/.work.$$
trap 'rm -rf "$WORK"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$WORK/debs" "$WORK/probe/src"
say "downloading rustc-web $VERSION with its libraries and sources (about 140 MB)"
(cd "$WORK/debs" && apt-get -qq download rustc-web libstd-rust-web-dev "$STD" rust-web-src "$LLVM" >&2) ||
    die "apt-get download failed"
rm -rf "$ROOT"
mkdir -p "$ROOT"
for deb in "$WORK"/debs/*.deb; do dpkg-deb -x "$deb" "$ROOT"; done
cat >"$ROOT/rustc" <<END
#!/bin/sh
LD_LIBRARY_PATH='$ROOT/usr/lib/x86_64-linux-gnu'; export LD_LIBRARY_PATH
exec '$ROOT/usr/bin/rustc' "\$@"
END
chmod 755 "$ROOT/rustc"
"$ROOT/rustc" -vV >"$WORK/version" 2>&1 || die "the unpacked rustc does not start: $(cat "$WORK/version")"
COMMIT=$(sed -n 's/^commit-hash: //p' "$WORK/version")

# The linker goes where this rustc looks for it: rustup's rust-lld, or any wasm-ld.
TOOLS=$ROOT/usr/lib/rustlib/x86_64-unknown-linux-gnu/bin
if [ ! -e "$TOOLS/rust-lld" ]; then
    LLD=$SYSROOT/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld
    [ -x "$LLD" ] || LLD=$(command -v lld || command -v wasm-ld || true)
    [ -n "$LLD" ] || die "no rust-lld, lld or wasm-ld: install the package lld"
    mkdir -p "$TOOLS"
    ln -s "$LLD" "$TOOLS/rust-lld"
fi

say "building core and alloc for $TARGET (once)"
printf '[package]\nname = "probe"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n' >"$WORK/probe/Cargo.toml"
echo '#![no_std]' >"$WORK/probe/src/lib.rs"
SOURCES=$(cd "$ROOT/usr/lib/rustlib/src/rust" && pwd -P)
# With bitcode, so that `lto = "fat"` works; without paths of this machine, so that panics name none.
FLAGS=$(printf '%s\037%s\037%s' -Cembed-bitcode=yes "--remap-path-prefix=$SOURCES=/rustc/$COMMIT" \
    "--remap-path-prefix=$ROOT/usr/lib/rustlib/src/rust=/rustc/$COMMIT")
(cd "$WORK/probe" && RUSTC="$ROOT/rustc" RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$WORK/target" \
    CARGO_ENCODED_RUSTFLAGS="$FLAGS" \
    cargo build --quiet --release -Zbuild-std=core,alloc --target "$TARGET") >&2 || die "building core failed"
DEST=$ROOT/usr/lib/rustlib/$TARGET/lib
mkdir -p "$DEST"
for lib in core alloc compiler_builtins; do
    cp "$WORK/target/$TARGET/release/deps/lib$lib-"*.rlib "$DEST/" || die "no lib$lib was built"
done
# 300 MB that nothing needs any more.
rm -rf "$ROOT/usr/src" "$ROOT/usr/share"

echo '#![no_std]
#[panic_handler] fn panic(_: &core::panic::PanicInfo) -> ! { loop {} }
#[unsafe(no_mangle)] pub extern "C" fn f(n: u32) -> u32 { n }' >"$WORK/probe.rs"
"$ROOT/rustc" --edition 2021 --target "$TARGET" --crate-type cdylib -O -C lto=fat -o "$WORK/probe.wasm" \
    "$WORK/probe.rs" >&2 && [ -s "$WORK/probe.wasm" ] || die "the built target does not link"
echo "$NAME" >"$CACHE/debian/current"
write_wrapper "$ROOT/rustc"
