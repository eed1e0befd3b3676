#include "common/status.h"

#include <stdio.h>

struct row {
    int status, rpc, err, exit_code, http;
    const char *name, *text;
};

static const struct row rows[] = {
#define X(name, value, rpc, err, exit_code, http, text) {-(value), rpc, err, exit_code, http, #name, text},
    PS_STATUS_MAP(X)
#undef X
};

#define ROWS (sizeof rows / sizeof rows[0])

static const struct row *row_of(int status)
{
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].status == status)
            return &rows[i];
    return row_of(PS_EINTERNAL);
}

const char *ps_status_name(int status)
{
    return row_of(status)->name;
}

const char *ps_status_text(int status)
{
    return row_of(status)->text;
}

int ps_status_errno(int status)
{
    return row_of(status)->err;
}

int ps_status_exit_code(int status)
{
    return row_of(status)->exit_code;
}

int ps_status_http(int status)
{
    return row_of(status)->http;
}

int ps_status_to_rpc(int status)
{
    return row_of(status)->rpc;
}

int ps_status_from_rpc(int rpc_code)
{
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].rpc == rpc_code)
            return rows[i].status;
    return PS_EINTERNAL;
}

int ps_error_set(struct ps_error *err, int status, const char *format, ...)
{
    if (!err)
        return status;
    va_list args;
    va_start(args, format);
    err->status = status;
    (void)vsnprintf(err->detail, sizeof err->detail, format, args);
    va_end(args);
    return status;
}
