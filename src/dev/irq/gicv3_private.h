/* The GIC from inside: shared by gicv3.c (state, priorities), gicv3_regs.c (memory-mapped registers), gicv3_cpu.c (system
 * registers) and gicv3_lpi.c (what the ITS sends).
 *
 * All state is under gic->dev.lock, a leaf but for vcpu_request(). What a processor is signalled is kept beside it in an atomic of its
 * own, so that engines ask without the lock.
 */
#ifndef DEV_IRQ_GICV3_PRIVATE_H
#define DEV_IRQ_GICV3_PRIVATE_H

#include "arch/aarch64/names.h"
#include "core/device.h"
#include "core/vm.h"
#include "dev/irq/gicv3.h"

#define GIC_NONE           1023u /* no interrupt */
#define GIC_FIRST_SPI      32u
#define GIC_SPI_BANKS      (GICV3_MAX_SPIS / 32)
#define GIC_PRIORITY_MASK  0xf8u /* 5 bits are there */
#define GIC_IDLE           0x100u
#define GIC_NOBODY         0xffffu
#define GIC_FIRST_LPI      8192u
#define GIC_LPIS           57344u /* INTIDs have 16 bits */
#define GIC_ALL_LPIS       0u     /* gic_lpi_reload() */

enum gic_group { GIC_GROUP0, GIC_GROUP1 };

/* 32 interrupts: a bit each. */
struct gic_bank {
	uint32_t group;   /* 1: group 1 */
	uint32_t enabled;
	uint32_t latch;   /* pending by an edge, a message or software */
	uint32_t line;    /* as the device has it */
	uint32_t edge;    /* edge-triggered; others are pending while the line is up */
	uint32_t active;
	uint8_t priority[32];
};

struct gicv3;
struct gic_lpis;        /* gicv3_lpi.c */
struct gic_lpi_pending; /* the same */

struct gic_cpu {
	struct gicv3 *gic;
	struct vcpu *vcpu;
	/* redistributor */
	struct gic_bank local; /* SGIs, PPIs */
	bool asleep;           /* GICR_WAKER.ProcessorSleep */
	bool lpis_enabled;     /* GICR_CTLR.EnableLPIs */
	uint64_t prop_base, pend_base;
	struct gic_lpi_pending *lpi_pending; /* NULL: there are no LPIs */
	/* interface */
	uint8_t pmr, bpr[2];
	bool common_bpr, split_eoi; /* ICC_CTLR_EL1.CBPR, EOImode */
	bool enabled[2];            /* ICC_IGRPENn_EL1 */
	uint32_t active[2];         /* ICC_APnR0_EL1: a bit for each group priority */
	/* derived: the most urgent that is pending, whatever is masked or running */
	uint32_t best;
	unsigned best_priority;
	enum gic_group best_group;
	/* what is signalled: an INTID or -1 */
	_Atomic int32_t irq, fiq;
};

struct gicv3 {
	struct device dev;
	unsigned bank_count; /* of SPIs */
	bool enabled[2];     /* GICD_CTLR.EnableGrpn */
	bool awake;          /* processors are after a reset */
	struct gic_bank spis[GIC_SPI_BANKS];
	uint64_t router[GIC_SPI_BANKS * 32]; /* GICD_IROUTER */
	uint16_t target[GIC_SPI_BANKS * 32]; /* the processor that it names, or GIC_NOBODY */
	struct gic_lpis *lpis; /* NULL: there are none */
	struct gic_cpu cpus[VM_MAX_VCPUS];
};

static inline struct gic_cpu *gic_cpu_of(const struct vcpu *vcpu)
{
	return vcpu->intc;
}

static inline uint32_t gic_pending(const struct gic_bank *bank)
{
	return bank->latch | (bank->line & ~bank->edge);
}

/* ---- gicv3.c; the lock is held ---- */
/* Looks again at what the processor is signalled. tell: it is not the one that asks. */
void gic_update(struct gic_cpu *cpu, bool tell);
/* For those that the interrupts of `bits` of a bank of SPIs go to. */
void gic_update_spis(struct gicv3 *gic, unsigned bank, uint32_t bits);
void gic_update_all(struct gicv3 *gic);
/* The bank of an INTID that cpu sees, or NULL. */
struct gic_bank *gic_bank_of(struct gic_cpu *cpu, uint32_t intid);
/* The priority that runs, or GIC_IDLE. */
unsigned gic_running_priority(const struct gic_cpu *cpu);
/* Of a priority, what decides about preemption. */
unsigned gic_group_priority(const struct gic_cpu *cpu, enum gic_group group, unsigned priority);
/* The processor with this affinity (Aff3 in bits 39:32, Aff2 to Aff0 below 24), or GIC_NOBODY. */
unsigned gic_find_affinity(const struct gicv3 *gic, uint64_t affinity);

/* ---- gicv3_lpi.c ---- */
int gic_lpi_create(struct gicv3 *gic) must_check;
void gic_lpi_destroy(struct gicv3 *gic); /* also of what gic_lpi_create() did not finish */
/* With the lock held */
void gic_lpi_reset(struct gic_cpu *cpu);
void gic_lpi_enable(struct gic_cpu *cpu);
void gic_lpi_consider(struct gic_cpu *cpu); /* in gic_update() */
void gic_lpi_taken(struct gic_cpu *cpu, uint32_t intid);
/* GICR_PENDBASER, or GICR_PROPBASER; its upper or lower half */
uint32_t gic_lpi_read_base(const struct gic_cpu *cpu, bool pending, bool upper);
void gic_lpi_write_base(struct gic_cpu *cpu, bool pending, bool upper, uint32_t value);
/* For the ITS: these take the lock. target: the index of a processor; an INTID that is no LPI does nothing. */
void gic_lpi_pend(struct gicv3 *gic, unsigned target, uint32_t intid, bool pending);
void gic_lpi_move(struct gicv3 *gic, unsigned from, unsigned to, uint32_t intid);
void gic_lpi_move_all(struct gicv3 *gic, unsigned from, unsigned to);
/* The guest has changed the table of one, or of GIC_ALL_LPIS. */
void gic_lpi_reload(struct gicv3 *gic, unsigned target, uint32_t intid);

/* ---- gicv3_regs.c: region 0 the distributor, region 1 the redistributors ---- */
uint64_t gic_mmio_read(struct device *dev, unsigned region, uint64_t offset, unsigned size);
void gic_mmio_write(struct device *dev, unsigned region, uint64_t offset, unsigned size, uint64_t value);

/* ---- gicv3_cpu.c ---- */
int gic_cpu_register(struct vm *vm) must_check;
void gic_cpu_reset(struct gic_cpu *cpu);
/* What IAR of the group does. */
uint32_t gic_acknowledge(struct gic_cpu *cpu, enum gic_group group);

#endif
