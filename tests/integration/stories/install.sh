# cmake --install puts everything in place, and a program builds against the installed library.

prefix=$TMP/prefix
cmake --install "$BUILD" --prefix "$prefix" >install.log
for file in bin/pstoraged bin/pstorage include/pstorage.h; do
    [ -s "$prefix/$file" ] || fail "$file is not installed"
done
for file in pstoraged.service pstorage.pc; do
    [ -n "$(find "$prefix" -name "$file")" ] || fail "$file is not installed"
done
find "$prefix" -type f | sed "s|$prefix/||" | sort

say "== a program of one's own"
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name pstorage.pc)")
export PKG_CONFIG_PATH
cat >own.c <<'PROGRAM'
#include <pstorage.h>
int main(void) { return 0; }
PROGRAM
# shellcheck disable=SC2046
cc -std=c11 -Wall -Werror $(pkg-config --cflags pstorage) own.c $(pkg-config --libs pstorage) -o own
LD_LIBRARY_PATH=$(pkg-config --variable=libdir pstorage) ./own
example=$ROOT/client/lib/example.c
if [ -f "$example" ]; then
    # shellcheck disable=SC2046
    cc -std=c17 -D_GNU_SOURCE -Wall $(pkg-config --cflags pstorage) "$example" \
        $(pkg-config --libs pstorage) -o example
fi

say "== the installed programs run without the build tree"
# shellcheck disable=SC2123 # nothing of the build tree may be found
PATH=$prefix/bin:/usr/sbin:/usr/bin:/sbin:/bin
hash -r
node_start
pstorage volume create vol --size 16M
[ ! -x example ] || LD_LIBRARY_PATH=$(pkg-config --variable=libdir pstorage) ./example "$PSTORAGE_ENDPOINT" vol
node_stop

say "== the unit file is one that systemd accepts"
unit=$(find "$prefix" -name pstoraged.service)
if command -v systemd-analyze >/dev/null; then
    systemd-analyze verify "$unit" 2>verify.log || true
    ! grep -E "pstoraged.service:[0-9]+:" verify.log || fail "systemd finds fault with the unit"
fi
