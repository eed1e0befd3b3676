# The nodes lose each other, and both reach the mediator: one of them goes on, whichever; the other one serves nobody.
. "$HERE/partition.sh"

scene
strike "$(cut_command "$P" "$S" "$S" "$P")"
one_goes_on
repaired=$(now_ms)
mend
mended "$repaired"
finish
