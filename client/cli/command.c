#include "client/cli/command.h"

#include <string.h>

#define OPT_SIZE_NEW(text)                                                                                   \
    {                                                                                                        \
        .name = "size", .letter = 's', .kind = CLI_SIZE, .metavar = "SIZE", .help = text, .required = true   \
    }
#define OPERAND(name_, kind_, help_)                                                                         \
    {                                                                                                        \
        .metavar = name_, .kind = kind_, .help = help_                                                       \
    }
#define OPT_NODE                                                                                             \
    {                                                                                                        \
        .name = "node", .kind = CLI_TEXT, .metavar = "NODE",                                                 \
        .help = "Node whose device it is; default: the one that answers"                                     \
    }
#define OPERAND_DEVICE OPERAND("DEVICE", CLI_TEXT, "Device as flash list names it, or another path to it")
#define OPT_NAMES                                                                                            \
    {                                                                                                        \
        .name = "quiet", .letter = 'q', .kind = CLI_FLAG, .help = "Print names only, one a line"             \
    }

const struct cli_command cli_commands[CLI_COMMAND_COUNT] = {
    {
        .id = CLI_VOLUME_CREATE,
        .noun = "volume",
        .verb = "create",
        .summary = "Create an empty volume",
        .details =
            "The volume is thin: it takes space only for what is written to it, after deduplication and "
            "compression. It can be used at once, by this program and over NBD under the same name.",
        .example = "pstorage volume create vm1 --size 100G\n"
                   "pstorage volume create scratch --size 20G --write-cache",
        .operands = {OPERAND("NAME", CLI_NEW,
                             "Name of the new volume: letters, digits, '.', '_' and '-', at most 63")},
        .options = {OPT_SIZE_NEW("Size, such as 512M or 2T"),
                    {.name = "pod", .kind = CLI_TEXT, .metavar = "POD", .help = "Pod to put it in"},
                    {.name = "write-cache",
                     .kind = CLI_FLAG,
                     .help = "Answer writes from memory; they become durable at the next flush"}},
    },
    {
        .id = CLI_VOLUME_LIST,
        .noun = "volume",
        .verb = "list",
        .summary = "List the volumes",
        .details = "USED counts the blocks that hold data, as the volume's hosts see it. STORED is what the "
                   "blocks stored for this volume take up in flash; blocks found stored already and repeated "
                   "patterns take none.",
        .options = {OPT_NAMES},
    },
    {
        .id = CLI_VOLUME_SHOW,
        .noun = "volume",
        .verb = "show",
        .summary = "Show everything about one volume or snapshot",
        .operands = {OPERAND("NAME", CLI_IMAGE, "Volume, or VOLUME@SNAP")},
    },
    {
        .id = CLI_VOLUME_RESIZE,
        .noun = "volume",
        .verb = "resize",
        .summary = "Grow or shrink a volume",
        .details =
            "Growing is safe at any time. Shrinking discards what lies beyond the new end and is refused "
            "unless --allow-shrink is given; snapshots keep their size and data.",
        .example = "pstorage volume resize vm1 --size 200G",
        .operands = {OPERAND("NAME", CLI_VOLUME, "Volume to resize")},
        .options = {OPT_SIZE_NEW("New size"),
                    {.name = "allow-shrink",
                     .kind = CLI_FLAG,
                     .help = "Discard the data beyond the new end"}},
    },
    {
        .id = CLI_VOLUME_RENAME,
        .noun = "volume",
        .verb = "rename",
        .summary = "Rename a volume; its snapshots go along",
        .operands = {OPERAND("NAME", CLI_VOLUME, "Present name"), OPERAND("NEW", CLI_NEW, "New name")},
    },
    {
        .id = CLI_VOLUME_DELETE,
        .noun = "volume",
        .verb = "delete",
        .summary = "Delete a volume and its data",
        .details = "Asks nothing. Refuses while the volume has snapshots or is in use.",
        .example = "pstorage volume delete scratch\n"
                   "pstorage volume delete vm1 --with-snapshots",
        .operands = {OPERAND("NAME", CLI_VOLUME, "Volume to delete")},
        .options = {{.name = "with-snapshots", .kind = CLI_FLAG, .help = "Delete its snapshots too"},
                    {.name = "force",
                     .kind = CLI_FLAG,
                     .help = "Delete it although it is in use; its hosts then get errors"}},
    },
    {
        .id = CLI_VOLUME_SET,
        .noun = "volume",
        .verb = "set",
        .summary = "Change a volume's settings",
        .details = "With the write cache on, a write is answered from memory and becomes durable at the next "
                   "flush, in order; hosts that flush, as file systems and databases do, lose nothing by it. "
                   "Off, which is the default, a write is answered when it is durable.",
        .operands = {OPERAND("NAME", CLI_VOLUME, "Volume to change")},
        .options = {{.name = "write-cache",
                     .kind = CLI_SWITCH,
                     .metavar = "on|off",
                     .help = "Answer writes from memory, or when durable",
                     .required = true}},
    },
    {
        .id = CLI_VOLUME_WRITE,
        .noun = "volume",
        .verb = "write",
        .summary = "Write standard input to a volume",
        .details =
            "Everything is durable when the command returns. Offset and length are in bytes, multiples "
            "of 512; a shorter last sector is refused unless --pad fills it with zeroes.",
        .example = "printf %-512s hello | pstorage volume write vm1 --offset 1M",
        .operands = {OPERAND("NAME", CLI_VOLUME, "Volume to write to")},
        .options = {{.name = "offset",
                     .letter = 'o',
                     .kind = CLI_SIZE,
                     .metavar = "N",
                     .help = "Where to start; default 0"},
                    {.name = "pad", .kind = CLI_FLAG, .help = "Fill the last sector up with zeroes"}},
    },
    {
        .id = CLI_VOLUME_READ,
        .noun = "volume",
        .verb = "read",
        .summary = "Read from a volume or snapshot to standard output",
        .example = "pstorage volume read vm1 --offset 1M --length 512 | xxd",
        .operands = {OPERAND("NAME", CLI_IMAGE, "Volume, or VOLUME@SNAP")},
        .options = {{.name = "offset",
                     .letter = 'o',
                     .kind = CLI_SIZE,
                     .metavar = "N",
                     .help = "Where to start; default 0"},
                    {.name = "length",
                     .letter = 'l',
                     .kind = CLI_SIZE,
                     .metavar = "N",
                     .help = "How many bytes; default: up to the end"}},
    },
    {
        .id = CLI_VOLUME_IMPORT,
        .noun = "volume",
        .verb = "import",
        .summary = "Copy a file or block device into a volume",
        .details =
            "Creates the volume, as large as the file, if there is none of this name. Holes and zeroes in "
            "the "
            "file become holes in the volume, so a sparse image stays sparse. A volume that holds data "
            "already "
            "is left alone unless --overwrite is given. Everything is durable when the command returns.\n\n"
            "FILE may be - for standard input; the volume must then exist or --size be given. Raw images "
            "only: "
            "convert others first (qemu-img convert -O raw).",
        .example = "pstorage volume import debian-12.raw vm1\n"
                   "pstorage volume import /dev/sdb1 data --size 500G",
        .operands = {OPERAND("FILE", CLI_FILE, "File or block device to read, or -"),
                     OPERAND("NAME", CLI_VOLUME, "Volume to write to")},
        .options = {{.name = "size",
                     .letter = 's',
                     .kind = CLI_SIZE,
                     .metavar = "SIZE",
                     .help = "Size of a volume made by this import; default: the file's"},
                    {.name = "pod",
                     .kind = CLI_TEXT,
                     .metavar = "POD",
                     .help = "Pod for a volume made by this import"},
                    {.name = "write-cache",
                     .kind = CLI_FLAG,
                     .help = "Set the write cache of a volume made by this import"},
                    {.name = "overwrite",
                     .kind = CLI_FLAG,
                     .help = "Write to a volume that holds data already"}},
    },
    {
        .id = CLI_VOLUME_EXPORT,
        .noun = "volume",
        .verb = "export",
        .summary = "Copy a volume or snapshot into a file or block device",
        .details =
            "Holes and zeroes of the volume become holes in the file. A file appears under its name only "
            "when it is complete and on disk; until then the copy is FILE.partial. Export a snapshot "
            "when the volume is in use: the copy is then of one instant.",
        .example = "pstorage snapshot create vm1@backup\n"
                   "pstorage volume export vm1@backup vm1.raw",
        .operands = {OPERAND("NAME", CLI_IMAGE, "Volume, or VOLUME@SNAP"),
                     OPERAND("FILE", CLI_FILE, "File or block device to write, or - for standard output")},
        .options = {{.name = "overwrite",
                     .kind = CLI_FLAG,
                     .help = "Replace a file that exists; needed for a block device too"}},
    },
    {
        .id = CLI_SNAPSHOT_CREATE,
        .noun = "snapshot",
        .verb = "create",
        .summary = "Take a snapshot: the volume as it is at this instant",
        .details =
            "Takes no time and no space, whatever the volume's size; later writes to the volume leave it "
            "as it is.",
        .example = "pstorage snapshot create vm1@before-upgrade",
        .operands = {OPERAND("VOLUME@SNAP", CLI_SNAPSHOT, "Volume and name of the snapshot")},
    },
    {
        .id = CLI_SNAPSHOT_LIST,
        .noun = "snapshot",
        .verb = "list",
        .summary = "List the snapshots, of all volumes or of one",
        .operands = {{"VOLUME", CLI_VOLUME, "Only this volume's snapshots", .optional = true}},
        .options = {OPT_NAMES},
    },
    {
        .id = CLI_SNAPSHOT_DELETE,
        .noun = "snapshot",
        .verb = "delete",
        .summary = "Delete a snapshot",
        .details =
            "Clones made from it stay. Space that only this snapshot held is given back in the background.",
        .operands = {OPERAND("VOLUME@SNAP", CLI_SNAPSHOT, "Snapshot to delete")},
        .options = {{.name = "force",
                     .kind = CLI_FLAG,
                     .help = "Delete it although it is in use; its hosts then get errors"}},
    },
    {
        .id = CLI_SNAPSHOT_RESTORE,
        .noun = "snapshot",
        .verb = "restore",
        .summary = "Make a volume what one of its snapshots holds",
        .details =
            "What the volume holds now is lost, unless a snapshot keeps it. Stop using the volume first.",
        .example = "pstorage snapshot create vm1@broken\n"
                   "pstorage snapshot restore vm1@before-upgrade",
        .operands = {OPERAND("VOLUME@SNAP", CLI_SNAPSHOT, "Snapshot to go back to")},
    },
    {
        .id = CLI_CLONE_CREATE,
        .noun = "clone",
        .verb = "create",
        .summary = "Create a volume that starts as a snapshot",
        .details = "Takes no time and no space; what differs later is stored once.",
        .example = "pstorage clone create vm1@golden vm2",
        .operands = {OPERAND("VOLUME@SNAP", CLI_SNAPSHOT, "Snapshot to start from"),
                     OPERAND("NEW", CLI_NEW, "Name of the new volume")},
    },
    {
        .id = CLI_POD_LIST,
        .noun = "pod",
        .verb = "list",
        .summary = "List the pods, their primaries and how many members are in sync",
    },
    {
        .id = CLI_POD_SHOW,
        .noun = "pod",
        .verb = "show",
        .summary = "Show a pod's members, their states and how far behind they are",
        .details =
            "As the node that answers sees it (marked *): the primary knows most. BATCH is the last batch "
            "of the log that a member has, LAG how many it lacks and their bytes, SINCE for how long it has "
            "not had all, "
            "HEARD how long ago it was heard.",
        .operands = {{"POD", CLI_TEXT, "Pod; the default one if none is named", .optional = true}},
    },
    {
        .id = CLI_POD_SWITCHOVER,
        .noun = "pod",
        .verb = "switchover",
        .summary = "Make another member the primary, without losing a request",
        .details =
            "New requests wait until all that was accepted is on every member in sync, then the other one "
            "leads. Hosts are disconnected and find it at its own address.",
        .example = "pstorage pod switchover default node2",
        .operands = {OPERAND("POD", CLI_TEXT, "Pod"),
                     {"NODE", CLI_TEXT, "Who is to lead; the preferred, or the only other one in sync",
                      .optional = true}},
    },
    {
        .id = CLI_POD_ADD_MEMBER,
        .noun = "pod",
        .verb = "add-member",
        .summary = "Have a node keep a copy of the pod",
        .details =
            "The node is one of the primary's PSTORAGE_PEERS, and has no data of its own. It catches up by "
            "itself; pod show tells how far it is.",
        .operands = {OPERAND("POD", CLI_TEXT, "Pod"), OPERAND("NODE", CLI_TEXT, "Node to add")},
        .options = {{.name = "async",
                     .kind = CLI_FLAG,
                     .help = "It may lag: writes don't wait for it, and it never leads by itself"}},
    },
    {
        .id = CLI_POD_REMOVE_MEMBER,
        .noun = "pod",
        .verb = "remove-member",
        .summary = "Take a node's copy out of the pod; not the primary's",
        .details = "Its data stays on its flash devices, but is not kept up to date any more.",
        .operands = {OPERAND("POD", CLI_TEXT, "Pod"), OPERAND("NODE", CLI_TEXT, "Node to remove")},
    },
    {
        .id = CLI_POD_PROMOTE,
        .noun = "pod",
        .verb = "promote",
        .summary = "Go on with what one node has, when the others are gone for good",
        .details = "For an asynchronous member whose primary is lost, or one that gave the right to go on to "
                   "a node that "
                   "will not come back. Asked of that node itself. What others hold beyond its log is given "
                   "up: when they "
                   "come back they are filled anew, and nothing of it is kept. It serves when the former "
                   "primary has said "
                   "that it has stopped.",
        .example = "pstorage --endpoint tcp://10.0.0.2:9500 pod promote default node2 --accept-data-loss",
        .operands = {OPERAND("POD", CLI_TEXT, "Pod"),
                     {"NODE", CLI_TEXT, "Node that is asked, to be sure", .optional = true}},
        .options =
            {{.name = "accept-data-loss",
              .kind = CLI_FLAG,
              .help = "You accept that what this node lacks is lost"},
             {.name = "old-primary-is-off",
              .kind = CLI_FLAG,
              .help =
                  "You know that the former primary does not run, and will not be started cut off from the "
                  "others: it is not waited for"}},
    },
    {
        .id = CLI_POD_SET,
        .noun = "pod",
        .verb = "set",
        .summary = "Say which node shall lead a pod",
        .details =
            "The pod moves to it by a switchover as soon as it is in sync, and whenever it comes back.",
        .example = "pstorage pod set default --preferred node1",
        .operands = {OPERAND("POD", CLI_TEXT, "Pod")},
        .options =
            {{.name = "preferred", .kind = CLI_TEXT, .metavar = "NODE", .help = "Node that shall lead"},
             {.name = "no-preferred", .kind = CLI_FLAG, .help = "Whoever leads goes on"}},
    },
    {
        .id = CLI_POD_SNAPSHOT,
        .noun = "pod",
        .verb = "snapshot",
        .summary = "Take a snapshot of each volume of a pod, all of the same instant",
        .details = "Each is an ordinary snapshot, VOLUME@NAME. All are taken or none.",
        .example = "pstorage pod snapshot default@before-upgrade",
        .operands = {OPERAND("POD@NAME", CLI_TEXT, "Pod and name of the snapshots")},
    },
    {
        .id = CLI_WHY,
        .noun = "why",
        .summary = "Tell what was decided about a pod, when, and why",
        .details =
            "The decisions of the node that answers since it started, oldest first: who leads, who was "
            "removed or joined, what the mediator was asked and what it said.",
        .example = "pstorage why default",
        .operands = {{"POD", CLI_TEXT, "Pod; the default one if none is named", .optional = true}},
    },
    {
        .id = CLI_NODE_LIST,
        .noun = "node",
        .verb = "list",
        .summary = "List the node that answers (*) and its peers",
    },
    {
        .id = CLI_NODE_SHOW,
        .noun = "node",
        .verb = "show",
        .summary = "Show one node as the one that answers knows it",
        .operands = {OPERAND("NODE", CLI_TEXT, "Name of the node")},
    },
    {
        .id = CLI_KEY_CREATE,
        .noun = "key",
        .verb = "create",
        .summary = "Print a fresh random cluster key",
        .details =
            "Nodes, mediator and clients of a cluster share one key, by which they prove themselves to each "
            "other. Put it into a file that only they can read and name that by PSTORAGE_CLUSTER_KEY_FILE "
            "on all of them. Talks to no node.",
        .example = "(umask 077; pstorage key create >cluster.key)",
    },
    {
        .id = CLI_TOKEN_CREATE,
        .noun = "token",
        .verb = "create",
        .summary = "Make a token for the REST API and print it",
        .details =
            "The token is drawn here and printed once; nodes keep its SHA-256 alone, all that are in the "
            "cluster. Whoever has it may do what its role allows: read-only, operator (data, volumes and "
            "snapshots too) or admin (pods and their members too).",
        .example = "(umask 077; pstorage token create backup --role operator >backup.token)\n"
                   "curl -H \"Authorization: Bearer $(cat backup.token)\" "
                   "http://127.0.0.1:8000/api/v1/volumes",
        .operands = {OPERAND("NAME", CLI_NEW, "What the token is called, to find it again")},
        .options = {{.name = "role",
                     .kind = CLI_TEXT,
                     .metavar = "ROLE",
                     .help = "read-only, operator or admin",
                     .required = true}},
    },
    {
        .id = CLI_TOKEN_LIST,
        .noun = "token",
        .verb = "list",
        .summary = "List the tokens that the answering node knows",
        .options = {OPT_NAMES},
    },
    {
        .id = CLI_TOKEN_DELETE,
        .noun = "token",
        .verb = "delete",
        .summary = "Delete a token on all nodes; from then on it opens nothing",
        .example = "pstorage token delete backup",
        .operands = {OPERAND("NAME", CLI_TEXT, "Name of the token")},
    },
    {
        .id = CLI_STATUS,
        .noun = "status",
        .summary = "Show health, space and what data reduction saves",
    },
    {
        .id = CLI_METRICS,
        .noun = "metrics",
        .summary = "Print all counters",
        .details = "One counter a line, name and value.",
    },
    {
        .id = CLI_ANALYTICS_FORECAST,
        .noun = "analytics",
        .verb = "forecast",
        .summary = "Tell where used space is going, and when it will be short",
        .details =
            "Made of the history of the node that answers. An interval holds the truth in 90 of 100 cases; "
            "no "
            "farther is predicted than the history is long.\n\n"
            "With --plan and --plan-per-day it tells what would be if so much came in addition, as flash "
            "occupied after reduction.",
        .example = "pstorage analytics forecast\npstorage analytics forecast --plan 200G --plan-per-day 1G",
        .options = {{.name = "days",
                     .kind = CLI_NUMBER,
                     .metavar = "N",
                     .help = "Predict N days ahead; default 7, 30 and 90"},
                    {.name = "plan",
                     .kind = CLI_SIZE,
                     .metavar = "SIZE",
                     .help = "What if so much came at once"},
                    {.name = "plan-per-day",
                     .kind = CLI_SIZE,
                     .metavar = "SIZE",
                     .help = "What if so much more came each day"}},
    },
    {
        .id = CLI_ANALYTICS_HEALTH,
        .noun = "analytics",
        .verb = "health",
        .summary = "Tell how well the drives are, why, and how long they will last",
        .details = "From 100, as new, to 0, failed: by wear, retired blocks, errors, and difference from "
                   "other drives.",
    },
    {
        .id = CLI_ANALYTICS_TIERING,
        .noun = "analytics",
        .verb = "tiering",
        .summary = "Tell which volumes would be as well off on cheaper media",
        .details =
            "By accesses an hour and GiB stored, and the prices in PSTORAGE_TIER_PRICES. Nothing is moved.",
    },
    {
        .id = CLI_ANALYTICS_TEMPERATURE,
        .noun = "analytics",
        .verb = "temperature",
        .summary = "Tell how hot a volume is, and where",
        .details = "Accesses lose half of their weight in a day. Hot: each GiB is accessed once a second; "
                   "warm: once a "
                   "minute; cold: once a day.",
        .operands = {OPERAND("VOLUME", CLI_VOLUME, "Volume")},
    },
    {
        .id = CLI_ANALYTICS_VOLUME,
        .noun = "analytics",
        .verb = "volume",
        .summary = "Tell a volume's history, growth, reduction and latency",
        .details =
            "As the node that leads has sampled it. Kept are minutes of two days, hours of 90 days and days "
            "of "
            "five years, oldest first here. A stretch that is missing was idle, or nobody sampled; sizes are "
            "means, the rest sums.",
        .example =
            "pstorage analytics volume db\npstorage analytics volume db --step day --points 365 --json",
        .operands = {OPERAND("VOLUME", CLI_VOLUME, "Volume")},
        .options = {{.name = "step",
                     .kind = CLI_STEP,
                     .metavar = "STEP",
                     .help = "minute, hour or day; default hour"},
                    {.name = "points",
                     .kind = CLI_NUMBER,
                     .metavar = "N",
                     .help = "The newest N, 1 to 2880; default 24"}},
    },
    {
        .id = CLI_ANALYTICS_PREDICT_REDUCTION,
        .noun = "analytics",
        .verb = "predict-reduction",
        .summary = "Tell what a file or block device would occupy if it were imported",
        .details =
            "The node that answers reduces what is sent to it as it would a write, with its settings and "
            "against "
            "what its pod has stored, and keeps nothing. A file of up to --sample is looked at whole, and "
            "the "
            "result is exact as of now; of a larger one pieces of 32 KiB are drawn at random, and the result "
            "comes with an interval that holds the truth in 95 of 100 cases. Above all it is duplicates "
            "within the "
            "file that a small sample says little about: unless --sample is given, it is doubled, up to "
            "64G, until the interval reaches 5 points to each side at most.",
        .example = "pstorage analytics predict-reduction disk.raw\n"
                   "pstorage analytics predict-reduction /dev/sdb --sample 8G --json",
        .operands = {OPERAND("FILE", CLI_FILE, "File or block device to read")},
        .options =
            {{.name = "sample",
              .kind = CLI_SIZE,
              .metavar =
                  "SIZE",
              .help = "How much to look at, 1M to 64G; default 1G, and more if need be"},
             {.name = "within",
              .kind = CLI_NUMBER,
              .metavar =
                  "POINTS",
              .help = "Double the sample until the interval reaches at most so far to each side; 0: never. "
                      "Default 5; 0 with --sample"}},
    },
    {
        .id = CLI_FLASH_LIST,
        .noun = "flash",
        .verb = "list",
        .summary = "List a node's flash devices, in the pool or not",
        .details = "Those in the pool, and all NVMe namespaces of the machine. USE tells what a device "
                   "outside the pool is "
                   "mounted at or held by; RAW, whether PSTORAGE_FLASH_RAW_DEVICES lets clients drive it "
                   "past the pool.",
        .options = {OPT_NODE},
    },
    {
        .id = CLI_FLASH_IDENTIFY,
        .noun = "flash",
        .verb = "identify",
        .summary = "Show what an NVMe device says it is and can do",
        .example = "pstorage flash identify /dev/nvme0n1",
        .operands = {OPERAND_DEVICE},
        .options = {OPT_NODE},
    },
    {
        .id = CLI_FLASH_SMART,
        .noun = "flash",
        .verb = "smart",
        .summary = "Show a device's health and error log",
        .operands = {OPERAND_DEVICE},
        .options = {OPT_NODE,
                    {.name = "errors",
                     .kind = CLI_NUMBER,
                     .metavar = "N",
                     .help = "Entries of the error log, at most 64; default 8"}},
    },
    {
        .id = CLI_FLASH_READ,
        .noun = "flash",
        .verb = "read",
        .summary = "Read from an NVMe device past the pool, to standard output",
        .details =
            "For devices in the pool, and those in the node's PSTORAGE_FLASH_RAW_DEVICES that nothing uses.",
        .example = "pstorage flash read /dev/nvme1n1 --offset 0 --length 4K | xxd",
        .operands = {OPERAND_DEVICE},
        .options = {OPT_NODE,
                    {.name = "offset",
                     .letter = 'o',
                     .kind = CLI_SIZE,
                     .metavar = "N",
                     .help = "Where to start; default 0"},
                    {.name = "length",
                     .letter = 'l',
                     .kind = CLI_SIZE,
                     .metavar = "N",
                     .help = "How many bytes",
                     .required = true}},
    },
    {
        .id = CLI_FLASH_WRITE,
        .noun = "flash",
        .verb = "write",
        .summary = "Write standard input to an NVMe device that is not in the pool",
        .details = "What the device held there is lost. Only devices in the node's "
                   "PSTORAGE_FLASH_RAW_DEVICES that nothing uses are written "
                   "to. The input must be a multiple of the device's blocks. On a zoned device --offset is a "
                   "zone's write pointer. Durable when "
                   "the command returns.",
        .operands = {OPERAND_DEVICE},
        .options = {OPT_NODE,
                    {.name = "offset",
                     .letter = 'o',
                     .kind = CLI_SIZE,
                     .metavar = "N",
                     .help = "Where to start",
                     .required = true}},
    },
    {
        .id = CLI_FLASH_DEALLOCATE,
        .noun = "flash",
        .verb = "deallocate",
        .summary = "Give blocks of an NVMe device that is not in the pool back to it",
        .details = "What the device held there is lost. Of a zoned device whole zones are reset.",
        .operands = {OPERAND_DEVICE},
        .options = {OPT_NODE,
                    {.name = "offset",
                     .letter = 'o',
                     .kind = CLI_SIZE,
                     .metavar = "N",
                     .help = "Where to start",
                     .required = true},
                    {.name = "length",
                     .letter = 'l',
                     .kind = CLI_SIZE,
                     .metavar = "N",
                     .help = "How many bytes",
                     .required = true}},
    },
    {
        .id = CLI_FLASH_FORMAT,
        .noun = "flash",
        .verb = "format",
        .summary = "Format an NVMe device that is not in the pool: all that is on it is lost",
        .details = "Only devices in the node's PSTORAGE_FLASH_RAW_DEVICES that nothing uses. The serial "
                   "number says which one is "
                   "meant: another one that is at this path by now is left alone. It may take minutes; an "
                   "interrupt does not stop the device.",
        .example = "pstorage flash format /dev/nvme1n1 --serial S4EVNX0N --block-bytes 4096",
        .operands = {OPERAND_DEVICE},
        .options = {OPT_NODE,
                    {.name = "serial",
                     .kind = CLI_TEXT,
                     .metavar = "SERIAL",
                     .help = "Its serial number, as flash list shows it",
                     .required = true},
                    {.name = "block-bytes",
                     .kind = CLI_NUMBER,
                     .metavar = "N",
                     .help = "Bytes a block from now on; default: as it is"},
                    {.name = "erase",
                     .kind = CLI_TEXT,
                     .metavar = "HOW",
                     .help = "user-data: erase every cell; crypto: forget the key"}},
    },
    {
        .id = CLI_FLASH_ATTACH,
        .noun = "flash",
        .verb = "attach",
        .summary = "Make the pool larger by a device, or replace one that it has lost",
        .details =
            "The device must be blank (its first MiB zeroes) or a former one of the pool. A pool on one "
            "device, or on several without parity, is larger by it at once. With parity "
            "(PSTORAGE_ERASURE_CODING) it takes the place of one that is lost or taken out, and is rebuilt "
            "while the pool is in use; such a pool becomes larger when each of its devices has been replaced "
            "by a larger one.",
        .example = "pstorage flash attach nvme:/dev/nvme3n1",
        .operands = {OPERAND("SPEC", CLI_TEXT, "Device as in PSTORAGE_FLASH_DEVICES")},
        .options = {OPT_NODE},
    },
    {
        .id = CLI_FLASH_DETACH,
        .noun = "flash",
        .verb = "detach",
        .summary = "Take a device out of the pool",
        .details =
            "With parity it is out at once; refused when parity does not make up for it: then another one is "
            "to be attached first. Without parity what lies on it is moved to the others while the pool is "
            "in "
            "use (status tells how far that is, the event device.detached when it is out; if the node is "
            "stopped before, ask again); refused when they have no room for it, and for the device on which "
            "the pool begins.",
        .operands = {OPERAND("DEVICE", CLI_TEXT, "Device as status names it")},
        .options = {OPT_NODE},
    },
    {
        .id = CLI_SCRUB,
        .noun = "scrub",
        .summary = "Verify all that a node has stored",
        .details =
            "The node reads what lives in its flash, without a pause while no host is served, else "
            "at PSTORAGE_SCRUB_RATE. What is damaged is repaired from another member, or told by events. "
            "Goes "
            "on in the background. With --deep it compares all maps with reference counts and places "
            "instead: no data is read, and what each image holds is known afterwards.",
        .example = "pstorage --endpoint tcp://10.0.0.1:9500 scrub --deep --status",
        .options = {{.name = "deep",
                     .kind = CLI_FLAG,
                     .help = "Compare maps, counts and places; read no data"},
                    {.name = "status", .kind = CLI_FLAG, .help = "Tell how far it is; begin nothing"}},
    },
    {
        .id = CLI_GC,
        .noun = "gc",
        .summary = "Collect all garbage that a node's flash holds now",
        .details =
            "A node collects by itself when three quarters of its flash are in use (PSTORAGE_GC_THRESHOLD), "
            "and then what pays best. This takes all that is a sixteenth dead at least: "
            "it writes what lives there once more, so it is for a node that is about to be measured or "
            "moved, "
            "not for every day. "
            "Goes on in the background; the event gc.done tells the end.",
        .example = "pstorage gc --status",
        .options = {{.name = "status", .kind = CLI_FLAG, .help = "Tell how far it is; begin nothing"}},
    },
    {
        .id = CLI_EVENTS,
        .noun = "events",
        .summary = "Show what happened: starts, changes, failures",
        .example = "pstorage events --follow --json",
        .options = {{.name = "follow",
                     .letter = 'f',
                     .kind = CLI_FLAG,
                     .help = "Wait for new events and print them as they come"},
                    {.name = "limit",
                     .letter = 'n',
                     .kind = CLI_NUMBER,
                     .metavar = "N",
                     .help = "Start with the last N events; default 100"}},
    },
    {
        .id = CLI_COMPLETION,
        .noun = "completion",
        .summary = "Print the shell completion script",
        .example = "source <(pstorage completion bash)",
        .operands = {OPERAND("SHELL", CLI_SHELL, "The shell: bash")},
    },
    {
        .id = CLI_HELP,
        .noun = "help",
        .summary = "Explain a command",
        .operands = {{"NOUN", CLI_WORD, "A command, such as volume", .optional = true},
                     {"VERB", CLI_WORD, "What to do with it, such as create", .optional = true}},
    },
};

const struct cli_option cli_global_options[] = {
    {.name = "endpoint",
     .letter = 'e',
     .kind = CLI_TEXT,
     .metavar = "URL",
     .help = "Node to talk to: tcp://HOST:PORT or ipc://PATH. Give several and the next is tried when one is "
             "unavailable. Default: $" CLI_ENDPOINT_VARIABLE ", or " CLI_DEFAULT_ENDPOINT,
     .repeatable = true},
    {.name = "cluster-key-file",
     .kind = CLI_FILE,
     .metavar = "FILE",
     .help =
         "File that holds the cluster's key; no other user may read it. Default: $PSTORAGE_CLUSTER_KEY_FILE, "
         "or the key itself in $PSTORAGE_CLUSTER_KEY"},
    {.name = "json", .letter = 'j', .kind = CLI_FLAG, .help = "Print JSON instead of tables, errors too"},
    {.name = "timeout",
     .kind = CLI_SECONDS,
     .metavar = "SECONDS",
     .help = "How long one request may take; default " CLI_DEFAULT_TIMEOUT_TEXT},
    {.name = "help", .letter = 'h', .kind = CLI_FLAG, .help = "Explain the command"},
    {.name = "version", .letter = 'V', .kind = CLI_FLAG, .help = "Print the version"},
    {.name = NULL},
};

const struct cli_noun cli_nouns[] = {
    {"volume", "Thin block devices: create, list, change, copy in and out"},
    {"snapshot", "Images of a volume at one instant"},
    {"clone", "Volumes that start as a snapshot"},
    {"pod", "Replicated pods: members, who leads, switchover"},
    {"why", "What was decided about a pod, and why"},
    {"node", "The nodes of the cluster"},
    {"key", "The key that nodes and clients of a cluster share"},
    {"token", "Tokens of the REST API"},
    {"status", "Health, space and what data reduction saves"},
    {"metrics", "All counters"},
    {"analytics",
     "Forecast of space, health of drives, temperature and history of volumes, reduction of files"},
    {"flash", "Flash devices of a node: what they are, how they are, raw access"},
    {"scrub", "Verifying what is stored"},
    {"gc", "Collecting garbage"},
    {"events", "What happened"},
    {"completion", "Shell completion"},
    {"help", "Explain a command"},
    {NULL, NULL},
};

const struct cli_exit_code cli_exit_codes[] = {
    {0, "done"},
    {1, "failed"},
    {2, "wrong usage: unknown command or option, value that makes no sense"},
    {3, "what was named does not exist"},
    {4, "no endpoint is available, or the answer took too long"},
    {0, NULL},
};

const struct cli_command *cli_command_find(const char *noun, const char *verb)
{
    for (size_t i = 0; i < CLI_COMMAND_COUNT; i++) {
        const struct cli_command *c = &cli_commands[i];
        if (strcmp(c->noun, noun) != 0)
            continue;
        if ((!c->verb && !verb) || (c->verb && verb && strcmp(c->verb, verb) == 0))
            return c;
    }
    return NULL;
}

const struct cli_noun *cli_noun_find(const char *noun)
{
    for (const struct cli_noun *n = cli_nouns; n->name; n++)
        if (strcmp(n->name, noun) == 0)
            return n;
    return NULL;
}
