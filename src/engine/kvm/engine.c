/* engine_ops over /dev/kvm. See kvm.h.
 *
 * The vcpu runs in KVM_RUN; a kick is a signal to its thread (blocked outside KVM_RUN by the kernel's own mask)
 * together with run->immediate_exit, so that no request is lost between the check and the entry.
 */
#include "engine/kvm/kvm.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "base/string.h"
#include "core/platform.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define KICK_SIGNAL SIGUSR1

static int open_kvm(char *why, size_t why_size)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), version;

	if (fd < 0) {
		int error = errno;

		if (error == ENOENT)
			fmt_print(why, why_size,
				  "there is no /dev/kvm: load the kernel's kvm_intel or kvm_amd module, or use a host with hardware virtualization");
		else if (error == EACCES || error == EPERM)
			fmt_print(why, why_size, "no permission for /dev/kvm: add yourself to its group (kvm)");
		else
			fmt_print(why, why_size, "/dev/kvm does not open (error %d): check the kernel's log", error);
		return -error;
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		fmt_print(why, why_size, "/dev/kvm speaks API version %d, not %d: use a Linux kernel since 2.6.22",
			  version, KVM_API_VERSION);
		close(fd);
		return -ENODEV;
	}
	return fd;
}

static const struct {
	int capability;
	const char *name;
} needed[] = {
	{KVM_CAP_USER_MEMORY, "user memory"}, {KVM_CAP_IRQCHIP, "in-kernel interrupt controllers"},
	{KVM_CAP_IRQFD, "irqfd"},	      {KVM_CAP_IOEVENTFD, "ioeventfd"},
	{KVM_CAP_IMMEDIATE_EXIT, "immediate exit"},
};

static int check_capabilities(int fd, char *why, size_t why_size)
{
	for (unsigned i = 0; i < ARRAY_SIZE(needed); i++) {
		if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].capability) <= 0) {
			fmt_print(why, why_size, "/dev/kvm lacks %s: use a newer host kernel", needed[i].name);
			return -ENODEV;
		}
	}
	return 0;
}

static int kvm_probe(char *why, size_t why_size)
{
	int fd = open_kvm(why, why_size), r;

	if (fd < 0)
		return fd;
	r = check_capabilities(fd, why, why_size);
	close(fd);
	return r;
}

static int add_memory(struct vm *vm, char *why, size_t why_size)
{
	const struct kvm_vm *kvm = vm->engine_vm;

	for (unsigned i = 0; i < vm->mem.count; i++) {
		const struct mem_slot *slot = &vm->mem.slots[i];
		struct kvm_userspace_memory_region region = {
			.slot = i,
			.flags = slot->read_only ? KVM_MEM_READONLY : 0,
			.guest_phys_addr = slot->gpa,
			.memory_size = slot->size,
			.userspace_addr = (uintptr_t)slot->hva,
		};

		if (ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0) {
			fmt_print(why, why_size, "KVM refused %lu MiB of guest memory at 0x%lx (error %d): use less --memory",
				  (unsigned long)(slot->size >> 20), (unsigned long)slot->gpa, errno);
			return -errno;
		}
	}
	return 0;
}

static int add_irqfds(struct kvm_vm *kvm)
{
	for (unsigned gsi = KVM_FIRST_IRQFD_GSI; gsi < KVM_GSI_COUNT; gsi++) {
		struct kvm_irqfd irqfd = {.gsi = gsi};
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

		if (fd < 0)
			return -errno;
		kvm->irqfd[gsi] = fd;
		irqfd.fd = (uint32_t)fd;
		if (ioctl(kvm->vm_fd, KVM_IRQFD, &irqfd) < 0)
			return -errno;
	}
	return 0;
}

static void kvm_vm_destroy(struct vm *vm)
{
	struct kvm_vm *kvm = vm->engine_vm;

	if (!kvm)
		return;
	for (unsigned i = 0; i < kvm->doorbell_count; i++) {
		loop_unwatch(vm->platform, &kvm->doorbells[i].watch);
		close(kvm->doorbells[i].watch.fd);
	}
	for (unsigned gsi = 0; gsi < KVM_GSI_COUNT; gsi++) {
		if (kvm->irqfd[gsi] >= 0)
			close(kvm->irqfd[gsi]);
	}
	if (kvm->vm_fd >= 0)
		close(kvm->vm_fd);
	if (kvm->kvm_fd >= 0)
		close(kvm->kvm_fd);
	platform_free(kvm->supported);
	platform_free(kvm->power_on);
	platform_free(kvm);
	vm->engine_vm = NULL;
}

static void on_kick(int signal)
{
}

static int kvm_vm_init(struct vm *vm, char *why, size_t why_size)
{
	struct sigaction action = {.sa_handler = on_kick};
	struct kvm_vm *kvm = platform_alloc(sizeof(*kvm));
	int r;

	if (!kvm) {
		fmt_print(why, why_size, "no host memory for KVM's bookkeeping: free some");
		return -ENOMEM;
	}
	vm->engine_vm = kvm;
	kvm->kvm_fd = kvm->vm_fd = -1;
	for (unsigned gsi = 0; gsi < KVM_GSI_COUNT; gsi++)
		kvm->irqfd[gsi] = -1;
	r = open_kvm(why, why_size);
	if (r < 0)
		goto fail;
	kvm->kvm_fd = r;
	r = check_capabilities(kvm->kvm_fd, why, why_size);
	if (r < 0)
		goto fail;
	kvm->vm_fd = ioctl(kvm->kvm_fd, KVM_CREATE_VM, 0);
	if (kvm->vm_fd < 0) {
		r = -errno;
		fmt_print(why, why_size, "KVM does not create a VM (error %d): check the kernel's log", -r);
		goto fail;
	}
	kvm->guest_debug = ioctl(kvm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2);
	kvm->run_size = (size_t)ioctl(kvm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	r = kvm_arch_vm_init(vm, why, why_size);
	if (r < 0)
		goto fail;
	r = kvm_arch_save_power_on(vm);
	if (r < 0) {
		fmt_print(why, why_size, "KVM does not tell its controllers' state (error %d): use a newer host kernel", -r);
		goto fail;
	}
	r = add_memory(vm, why, why_size);
	if (r < 0)
		goto fail;
	r = add_irqfds(kvm);
	if (r < 0) {
		fmt_print(why, why_size, "KVM does not take an irqfd (error %d): raise the limit of open files", -r);
		goto fail;
	}
	sigaction(KICK_SIGNAL, &action, NULL);
	return 0;
fail:
	kvm_vm_destroy(vm);
	return r;
}

static void kvm_vcpu_destroy(struct vcpu *vcpu)
{
	const struct kvm_vm *kvm = vcpu->vm->engine_vm;
	struct kvm_vcpu *kv = vcpu->engine_vcpu;

	if (!kv)
		return;
	if (kv->run)
		munmap(kv->run, kvm->run_size);
	if (kv->fd >= 0)
		close(kv->fd);
	platform_free(kv->power_on_lapic);
	platform_free(kv);
	vcpu->engine_vcpu = NULL;
}

static int kvm_vcpu_init(struct vcpu *vcpu, char *why, size_t why_size)
{
	const struct kvm_vm *kvm = vcpu->vm->engine_vm;
	struct kvm_vcpu *kv = platform_alloc(sizeof(*kv));
	sigset_t kick;
	void *run;
	int r;

	if (!kv) {
		fmt_print(why, why_size, "no host memory for processor %u: free some", vcpu->index);
		return -ENOMEM;
	}
	kv->fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, vcpu->index);
	if (kv->fd < 0) {
		r = -errno;
		fmt_print(why, why_size, "KVM does not create processor %u (error %d): use fewer --cpus", vcpu->index, -r);
		platform_free(kv);
		return r;
	}
	vcpu->engine_vcpu = kv;
	run = mmap(NULL, kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, kv->fd, 0);
	if (run == MAP_FAILED) {
		r = -errno;
		fmt_print(why, why_size, "KVM's run area of processor %u does not map (error %d)", vcpu->index, -r);
		goto fail;
	}
	kv->run = run;
	kv->thread = pthread_self();
	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	r = kvm_arch_vcpu_init(vcpu, why, why_size);
	if (r < 0)
		goto fail;
	r = kvm_arch_save_vcpu_power_on(vcpu);
	if (r < 0) {
		fmt_print(why, why_size, "KVM does not tell processor %u's local APIC (error %d)", vcpu->index, -r);
		goto fail;
	}
	return 0;
fail:
	kvm_vcpu_destroy(vcpu);
	return r;
}

static void kvm_kick(struct vcpu *vcpu)
{
	struct kvm_vcpu *kv = vcpu->engine_vcpu;

	if (!kv || !kv->run)
		return;
	__atomic_store_n(&kv->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(kv->thread, KICK_SIGNAL);
}

/* ---- running ---- */

static uint8_t *io_data(struct kvm_vcpu *kv)
{
	return (uint8_t *)kv->run + kv->run->io.data_offset + (size_t)kv->io_done * kv->run->io.size;
}

/* Hands out the next element of a port access (INS and OUTS come as many at once). */
static void fill_io(struct kvm_vcpu *kv, struct vm_exit *exit)
{
	*exit = (struct vm_exit){.kind = VM_EXIT_IO,
				 .io = {.port = kv->run->io.port,
					.size = kv->run->io.size,
					.write = kv->run->io.direction == KVM_EXIT_IO_OUT}};
	if (exit->io.write)
		memcpy(&exit->io.value, io_data(kv), exit->io.size);
	kv->io_pending = true;
}

/* KVM's MMIO may be any length up to 8: the exit's sizes are powers of two. */
static unsigned mmio_piece(const struct kvm_vcpu *kv)
{
	unsigned left = kv->run->mmio.len - kv->io_done;

	return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

static void fill_mmio(struct kvm_vcpu *kv, struct vm_exit *exit)
{
	*exit = (struct vm_exit){.kind = VM_EXIT_MMIO,
				 .mmio = {.gpa = kv->run->mmio.phys_addr + kv->io_done,
					  .size = (uint8_t)mmio_piece(kv),
					  .write = kv->run->mmio.is_write}};
	if (exit->mmio.write)
		memcpy(&exit->mmio.value, kv->run->mmio.data + kv->io_done, exit->mmio.size);
	kv->io_pending = true;
}

/* Takes the result of the exit handed out last; true if the same KVM exit has more to hand out. */
static bool take_result(struct kvm_vcpu *kv, struct vm_exit *exit)
{
	if (!kv->io_pending)
		return false;
	kv->io_pending = false;
	switch (exit->kind) {
	case VM_EXIT_IO:
		if (!exit->io.write)
			memcpy(io_data(kv), &exit->io.value, exit->io.size);
		kv->io_done++;
		if (kv->io_done < kv->run->io.count) {
			fill_io(kv, exit);
			return true;
		}
		return false;
	case VM_EXIT_MMIO:
		if (!exit->mmio.write)
			memcpy(kv->run->mmio.data + kv->io_done, &exit->mmio.value, exit->mmio.size);
		kv->io_done += exit->mmio.size;
		if (kv->io_done < kv->run->mmio.len) {
			fill_mmio(kv, exit);
			return true;
		}
		return false;
	case VM_EXIT_HYPERCALL:
		kv->run->hypercall.ret = exit->hypercall.result;
		return false;
	default:
		return false;
	}
}

static void fail(struct kvm_vcpu *kv, struct vm_exit *exit, const char *what, uint64_t detail)
{
	fmt_print(kv->reason, sizeof(kv->reason), "KVM: %s (0x%lx)", what, (unsigned long)detail);
	*exit = (struct vm_exit){.kind = VM_EXIT_FAIL, .reason = kv->reason};
}

static int convert_exit(struct vcpu *vcpu, struct vm_exit *exit)
{
	struct kvm_vcpu *kv = vcpu->engine_vcpu;
	const struct kvm_run *run = kv->run;

	kv->io_done = 0;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		fill_io(kv, exit);
		break;
	case KVM_EXIT_MMIO:
		fill_mmio(kv, exit);
		break;
	case KVM_EXIT_HYPERCALL:
		*exit = (struct vm_exit){.kind = VM_EXIT_HYPERCALL,
					 .hypercall = {.number = run->hypercall.nr}};
		memcpy(exit->hypercall.args, run->hypercall.args, sizeof(exit->hypercall.args));
		kv->io_pending = true;
		break;
	case KVM_EXIT_HLT:
		exit->kind = VM_EXIT_HALT;
		break;
	case KVM_EXIT_SHUTDOWN:
		*exit = (struct vm_exit){.kind = VM_EXIT_SHUTDOWN, .reason = "triple fault"};
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		*exit = (struct vm_exit){.kind = VM_EXIT_SHUTDOWN, .reason = "system event"};
		break;
	case KVM_EXIT_DEBUG:
		if (!kvm_arch_debug_exit(vcpu, exit))
			exit->kind = VM_EXIT_INTERRUPTED;
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		exit->kind = VM_EXIT_INTERRUPTED;
		break;
	case KVM_EXIT_FAIL_ENTRY:
		fail(kv, exit, "the processor refused the guest's state", run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		fail(kv, exit, "internal error, an instruction that it can't emulate", run->internal.suberror);
		break;
	default:
		fail(kv, exit, "unknown exit reason", run->exit_reason);
		break;
	}
	return 0;
}

static int kvm_run(struct vcpu *vcpu, struct vm_exit *exit)
{
	struct kvm_vcpu *kv = vcpu->engine_vcpu;
	int r;

	if (take_result(kv, exit))
		return 0;
	/* A bit set before this line has set immediate_exit or finds in_engine and kicks. IRQ, NMI, FLUSH and TIMER
	 * mean nothing to an engine with its own controllers. */
	vcpu_take_request(vcpu, VCPU_REQ_IRQ | VCPU_REQ_NMI | VCPU_REQ_FLUSH | VCPU_REQ_TIMER);
	if (atomic_load(&vcpu->request))
		__atomic_store_n(&kv->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	r = ioctl(kv->fd, KVM_RUN, 0);
	__atomic_store_n(&kv->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	if (r < 0) {
		if (errno == EINTR || errno == EAGAIN) {
			exit->kind = VM_EXIT_INTERRUPTED;
			return 0;
		}
		return -errno;
	}
	return convert_exit(vcpu, exit);
}

/* ---- interrupts and doorbells ---- */

static void kvm_irq_set(struct vm *vm, unsigned gsi, int level)
{
	const struct kvm_vm *kvm = vm->engine_vm;
	struct kvm_irq_level request = {.irq = gsi, .level = (uint32_t)level};

	if (gsi < KVM_GSI_COUNT && kvm->irqfd[gsi] >= 0) {
		/* An irqfd is an edge: up and down at once. */
		if (level)
			eventfd_write(kvm->irqfd[gsi], 1);
		return;
	}
	ioctl(kvm->vm_fd, KVM_IRQ_LINE, &request);
}

static void kvm_msi_send(struct vm *vm, uint64_t address, uint32_t data)
{
	const struct kvm_vm *kvm = vm->engine_vm;
	struct kvm_msi msi = {
		.address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32), .data = data};

	ioctl(kvm->vm_fd, KVM_SIGNAL_MSI, &msi);
}

static void doorbell_ready(void *ctx, uint32_t events)
{
	const struct kvm_doorbell *bell = ctx;
	eventfd_t count;

	if (eventfd_read(bell->watch.fd, &count) == 0)
		bell->doorbell->ring(bell->doorbell->ctx);
}

static int kvm_doorbell_attach(struct vm *vm, struct doorbell *doorbell)
{
	struct kvm_vm *kvm = vm->engine_vm;
	struct kvm_ioeventfd request = {.addr = doorbell->gpa, .len = doorbell->size};
	struct kvm_doorbell *bell;
	int fd, r;

	if (kvm->doorbell_count == KVM_MAX_DOORBELLS)
		return -ENOSPC;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	bell = &kvm->doorbells[kvm->doorbell_count];
	bell->doorbell = doorbell;
	watch_init(&bell->watch, fd, doorbell_ready, bell);
	r = loop_watch(vm->platform, &bell->watch, EPOLLIN);
	if (r < 0)
		goto fail;
	request.fd = fd;
	if (doorbell->match) {
		request.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
		request.datamatch = doorbell->value;
	}
	if (ioctl(kvm->vm_fd, KVM_IOEVENTFD, &request) < 0) {
		r = -errno;
		loop_unwatch(vm->platform, &bell->watch);
		goto fail;
	}
	kvm->doorbell_count++;
	return 0;
fail:
	close(fd);
	return r;
}

static void invalidate_nothing(struct vm *vm, gpa_t gpa, uint64_t len)
{
}

const struct engine_ops kvm_engine = {
	.name = "kvm",
	.about = "Linux's /dev/kvm: hardware virtualization",
	.probe = kvm_probe,
	.vm_init = kvm_vm_init,
	.vm_destroy = kvm_vm_destroy,
	.vcpu_init = kvm_vcpu_init,
	.vcpu_destroy = kvm_vcpu_destroy,
	.run = kvm_run,
	.get_state = kvm_arch_get_state,
	.set_state = kvm_arch_set_state,
	.vm_reset = kvm_arch_vm_reset,
	.vcpu_reset = kvm_arch_vcpu_reset,
	.kick = kvm_kick,
	.invalidate = invalidate_nothing,
	.irq_set = kvm_irq_set,
	.msi_send = kvm_msi_send,
	.doorbell_attach = kvm_doorbell_attach,
	.cpuid_filter = kvm_arch_cpuid_filter,
	.tsc_hz = kvm_arch_tsc_hz,
	.debug = kvm_arch_debug,
	.debug_check = kvm_arch_debug_check,
};
