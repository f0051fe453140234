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

#define PCI_CAP_MSI     0x05
#define PCI_CAP_VENDOR  0x09
#define PCI_CAP_EXPRESS 0x10
#define PCI_CAP_MSIX    0x11
#define PCI_CAP_SATA    0x12

#endif
