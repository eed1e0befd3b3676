# cmake --install puts everything in place, and a program builds against the installed library.

prefix=$TMP/prefix
cmake --install "$BUILD" --prefix "$prefix" >install.log
for file in bin/pstoraged bin/pstorage bin/pstorage-mediator include/pstorage.h share/man/man1/pstorage.1 \
    share/man/man8/pstoraged.8 share/man/man8/pstorage-mediator.8 share/bash-completion/completions/pstorage lib/systemd/system/pstoraged.service \
    lib/systemd/system/pstorage-mediator.service; do
    [ -s "$prefix/$file" ] || fail "$file is not installed"
done
find "$prefix" -type f -printf '%P\n' | sort

say "== man pages"
if command -v man >/dev/null; then
    for page in "$prefix"/share/man/man?/*; do
        man --warnings -E UTF-8 -l -Tutf8 "$page" >page.txt 2>page.err
        [ ! -s page.err ] || fail "$page: $(cat page.err)"
    done
    man -l "$prefix/share/man/man8/pstoraged.8" | col -b >page.txt
    pstoraged --help | grep -oE '^  --[a-z-]+' | while read -r flag; do
        grep -q -- "$flag" page.txt || fail "pstoraged(8) does not have $flag"
    done
fi

say "== a program of one's own"
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name pstorage.pc)")
export PKG_CONFIG_PATH
# The prefix chosen at installation need not be the configured one.
pc() { pkg-config --define-variable=prefix="$prefix" "$@" pstorage; }
LD_LIBRARY_PATH=$(pc --variable=libdir)
export LD_LIBRARY_PATH
for example in "$ROOT"/client/lib/example*.c; do
    # shellcheck disable=SC2046
    cc -std=c17 -pedantic -Wall -Werror "$example" $(pc --cflags) $(pc --libs) -o "$(basename "$example" .c)"
done

say "== the installed programs run without the build tree"
PATH=$prefix/bin:/usr/sbin:/usr/bin:/sbin:/bin
hash -r
node_start
pstorage volume create vol --size 16M
./example "$PSTORAGE_ENDPOINT" vol
node_stop

say "== the unit files are such that systemd accepts"
if command -v systemd-analyze >/dev/null; then
    for unit in pstoraged pstorage-mediator; do
        sed "s|^ExecStart=|&$prefix/bin/|" "$prefix/lib/systemd/system/$unit.service" >"$unit.service"
        systemd-analyze verify "$TMP/$unit.service" 2>verify.log || true
        if grep -E "$unit.service:[0-9]+:" verify.log; then fail "systemd finds fault with $unit.service"; fi
    done
fi
