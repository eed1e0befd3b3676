/* What became of a device that was to be attached or taken out. */
#ifndef PS_NODE_HOST_DEVICE_CHANGE_H
#define PS_NODE_HOST_DEVICE_CHANGE_H

enum device_outcome {
    DEVICE_REBUILDING = 1, /* attached in the place of one that was out; it is being rebuilt */
    DEVICE_ADDED,          /* attached, and the pool is larger by it */
    DEVICE_LEAVING,        /* what lies on it is being moved to the others; after that it is taken out */
    DEVICE_TAKEN_OUT,
};

/* The outcome counts when the status is 0. */
typedef void (*device_change_cb)(void *user, int status, enum device_outcome outcome);

#endif
