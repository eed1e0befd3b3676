/* Inside of the simulated flash. */
#ifndef PS_COMMON_NAND_NAND_IMPL_H
#define PS_COMMON_NAND_NAND_IMPL_H

#include "common/nand/nand.h"
#include "common/nand/nand_area.h"

struct block {
    struct nand_block_record r;
    uint64_t reads_saved;     /* r.reads as it is in the area: it is written down when something else is */
    uint32_t done, planned;   /* sectors programmed; and those queued for it */
    uint32_t page_programs;   /* of the page that `planned` is in */
    uint32_t programs, reads; /* under way */
    bool erasing;
    uint8_t fail_next; /* 1 << kind */
};

/* Operations of one die run one after the other; those of one kind and page on several planes run together.
 */
struct die {
    struct list_node ops; /* in the order in which they end */
    uint64_t free_ns;
    struct {
        enum nand_kind kind;
        uint32_t page, planes; /* planes: mask */
        uint64_t start_ns, end_ns, id;
    } last; /* the group that was queued last */
};

struct nand {
    struct nand_config config;
    uint8_t *area;
    struct nand_layout layout;
    struct nand_control_record control;
    uint32_t block_count, block_sectors, page_sectors;
    struct block *blocks;
    uint64_t now_ns, groups;
    struct die dies[NAND_DIES_MAX];
    uint64_t channel_free_ns[NAND_CHANNELS_MAX];
};

/* nand_time.c */
void nand_time_init(struct nand *n); /* nothing is under way */
void nand_time_plan(struct nand *n, struct nand_op *op);
/* Unlinks the next operation that ends by then, and moves the time on to its end; not for UINT64_MAX. */
struct nand_op *nand_time_take(struct nand *n, uint64_t now_ns);
/* The block's die is busy for so long before it goes on. */
void nand_time_delay(struct nand *n, uint32_t block, uint64_t ns);
/* Programs queued for one block go to another. */
void nand_time_redirect(struct nand *n, uint32_t from, uint32_t to);

#endif
