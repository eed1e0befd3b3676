# The nodes lose each other in one direction alone, then in the other one: one of them goes on.
. "$HERE/partition.sh"

scene
say "== from the primary to the other one"
strike "$(cut_command "$P" "$S")"
one_goes_on
repaired=$(now_ms)
mend
mended "$repaired"

say "== from the other one to the primary"
strike "$(cut_command "$S" "$P")"
one_goes_on
repaired=$(now_ms)
mend
mended "$repaired"
finish
