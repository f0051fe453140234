/* Configuration space: offsets and bits, by the names of the PCI Local Bus 3.0 and PCI Express Base 3.0
 * specifications.
 *
 * Example: `uint16_t command = pci_get16(function, PCI_COMMAND);`
 */
#ifndef DEV_PCI_REGS_H
#define DEV_PCI_REGS_H

#define PCI_CONFIG_SIZE 4096u

#define PCI_VENDOR_ID       0x00
#define PCI_DEVICE_ID       0x02
#define PCI_COMMAND         0x04
#define PCI_STATUS          0x06
#define PCI_REVISION        0x08
#define PCI_CLASS           0x09 /* interface, subclass, class */
#define PCI_CACHE_LINE_SIZE 0x0c
#define PCI_HEADER_TYPE     0x0e
#define PCI_BAR0            0x10
#define PCI_SUBSYSTEM_VENDOR 0x2c
#define PCI_SUBSYSTEM_ID    0x2e
#define PCI_ROM             0x30
#define PCI_CAPABILITIES    0x34
#define PCI_INTERRUPT_LINE  0x3c
#define PCI_INTERRUPT_PIN   0x3d

/* Type 1: bridges */
#define PCI_PRIMARY_BUS      0x18
#define PCI_SECONDARY_BUS    0x19
#define PCI_SUBORDINATE_BUS  0x1a
#define PCI_IO_BASE          0x1c
#define PCI_IO_LIMIT         0x1d
#define PCI_SECONDARY_STATUS 0x1e
#define PCI_MEMORY_BASE      0x20
#define PCI_MEMORY_LIMIT     0x22
#define PCI_PREF_BASE        0x24
#define PCI_PREF_LIMIT       0x26
#define PCI_PREF_BASE_HIGH   0x28
#define PCI_PREF_LIMIT_HIGH  0x2c
#define PCI_IO_BASE_HIGH     0x30
#define PCI_IO_LIMIT_HIGH    0x32
#define PCI_BRIDGE_ROM       0x38
#define PCI_BRIDGE_CONTROL   0x3e

#define PCI_BRIDGE_CONTROL_RESET 0x40u

#define PCI_HEADER_BRIDGE        0x01
#define PCI_HEADER_MULTIFUNCTION 0x80

#define PCI_COMMAND_IO           0x0001
#define PCI_COMMAND_MEMORY       0x0002
#define PCI_COMMAND_MASTER       0x0004
#define PCI_COMMAND_PARITY       0x0040
#define PCI_COMMAND_SERR         0x0100
#define PCI_COMMAND_INTX_DISABLE 0x0400

#define PCI_STATUS_INTERRUPT     0x0008
#define PCI_STATUS_CAPABILITIES  0x0010

#define PCI_BAR_IO_SPACE   0x1u
#define PCI_BAR_64BIT      0x4u
#define PCI_BAR_PREFETCH   0x8u
#define PCI_ROM_ENABLE     0x1u

/* PCI Express capability: offsets in it */
#define PCIE_FLAGS         0x02
#define PCIE_LINK_CAP      0x0c
#define PCIE_LINK_STATUS   0x12
#define PCIE_SLOT_CAP      0x14
#define PCIE_SLOT_CONTROL  0x18
#define PCIE_SLOT_STATUS   0x1a
#define PCIE_ROOT_CONTROL  0x1c
#define PCIE_ROOT_STATUS   0x20

#define PCIE_FLAGS_SLOT        0x0100u
#define PCIE_LINK_CAP_ACTIVE   0x00100000u /* link active reporting */
#define PCIE_LINK_STATUS_ACTIVE 0x2000u

#define PCIE_SLOT_CAP_BUTTON      0x00000001u
#define PCIE_SLOT_CAP_POWER       0x00000002u
#define PCIE_SLOT_CAP_ATTENTION   0x00000008u /* indicators */
#define PCIE_SLOT_CAP_POWER_LIGHT 0x00000010u
#define PCIE_SLOT_CAP_SURPRISE    0x00000020u
#define PCIE_SLOT_CAP_HOT_PLUG    0x00000040u
#define PCIE_SLOT_CAP_AT_ONCE     0x00040000u /* commands need no completion events */
#define PCIE_SLOT_CAP_NUMBER_SHIFT 19

/* Slot control; the first, third and fourth enable the interrupt of the same bits in slot status. */
#define PCIE_SLOT_BUTTON    0x0001u
#define PCIE_SLOT_PRESENCE  0x0008u
#define PCIE_SLOT_INTERRUPT 0x0020u
#define PCIE_SLOT_POWER_OFF 0x0400u
#define PCIE_SLOT_LIGHTS_OFF 0x03c0u /* both indicators; 01b of each is on */
#define PCIE_SLOT_POWER_LIGHT_ON 0x01c0u
#define PCIE_SLOT_CONTROL_LINK 0x1000u
#define PCIE_SLOT_CONTROL_BITS 0x17ffu

#define PCIE_SLOT_STATUS_PRESENT 0x0040u
#define PCIE_SLOT_STATUS_LINK    0x0100u
#define PCIE_SLOT_STATUS_EVENTS  0x011fu

#define PCI_CAP_MSI     0x05
#define PCI_CAP_VENDOR  0x09
#define PCI_CAP_EXPRESS 0x10
#define PCI_CAP_MSIX    0x11
#define PCI_CAP_SATA    0x12

#endif
