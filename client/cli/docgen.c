/* Writes what is installed beside the program: docgen man|bash */
#include <string.h>

#include "client/cli/help.h"

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "man") == 0) {
        man_write(stdout, PS_VERSION);
    } else if (argc == 2 && strcmp(argv[1], "bash") == 0) {
        completion_write_bash(stdout);
    } else {
        (void)fputs("usage: docgen man|bash\n", stderr);
        return 2;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
