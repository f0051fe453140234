/* The devices whose other half is elsewhere, against a backend that holds what it is given until the test says what became of
 * it: order, several chains at once, no room, resets with chains under way, and the backend's end. */
#include "core/backend.h"
#include "core/vhost.h"
#include "fake_platform.h"
#include "virtio_driver.h"
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define F_CSUM      (1ull << 0)
#define F_MTU       (1ull << 3)
#define F_MAC       (1ull << 5)
#define F_MRG_RXBUF (1ull << 15)
#define F_STATUS    (1ull << 16)
#define F_CTRL_VQ   (1ull << 17)
#define F_LOG_ALL   (1ull << 26)
#define F_PROTOCOL  (1ull << 30)

#define MAX_HELD 1024

struct far {
	struct vhost_backend backend;
	uint64_t chosen;
	unsigned starts, kicks[2], room;
	int start_result, submit_result;
	bool running[2];
	struct held {
		unsigned queue, token, out, in;
		gpa_t first;
		size_t first_len;
	} held[MAX_HELD];
	unsigned count;
};

static struct far *far_of(struct vhost_backend *backend)
{
	return container_of(backend, struct far, backend);
}

static int far_start(struct vhost_backend *backend, uint64_t features)
{
	far_of(backend)->chosen = features;
	far_of(backend)->starts++;
	return far_of(backend)->start_result;
}

static int far_start_queue(struct vhost_backend *backend, unsigned queue)
{
	assert_false(far_of(backend)->running[queue]);
	far_of(backend)->running[queue] = true;
	return 0;
}

static int far_submit(struct vhost_backend *backend, unsigned queue, unsigned token, const struct vhost_chain *chain)
{
	struct far *far = far_of(backend);

	assert_true(far->running[queue]);
	if (far->submit_result || far->room == 0)
		return far->submit_result;
	for (unsigned i = 0; i < far->count; i++)
		assert_false(far->held[i].queue == queue && far->held[i].token == token);
	far->room--;
	far->held[far->count++] = (struct held){queue, token, chain->out, chain->in, chain->gpas[0], chain->bufs[0].len};
	return 1;
}

static void far_kick(struct vhost_backend *backend, unsigned queue)
{
	far_of(backend)->kicks[queue]++;
}

static void far_stop_queue(struct vhost_backend *backend, unsigned queue)
{
	struct far *far = far_of(backend);
	unsigned kept = 0;

	assert_true(far->running[queue]);
	far->running[queue] = false;
	for (unsigned i = 0; i < far->count; i++)
		if (far->held[i].queue != queue)
			far->held[kept++] = far->held[i];
	far->count = kept;
}

static const struct vhost_backend_ops far_ops = {
	.start = far_start,
	.start_queue = far_start_queue,
	.submit = far_submit,
	.kick = far_kick,
	.stop_queue = far_stop_queue,
};

/* The backend is through with the chain at this place among those that it holds. */
static void finish_one(struct far *far, unsigned place, uint32_t written)
{
	struct held held = far->held[place];

	memmove(&far->held[place], &far->held[place + 1], (far->count - place - 1) * sizeof(held));
	far->count--;
	far->room++;
	far->backend.done(far->backend.ctx, held.queue, held.token, written);
}

struct fixture {
	struct driver driver;
	struct far far;
	struct virtio_device *vdev;
	gpa_t data;
};

static void plug(struct fixture *f)
{
	static const uint8_t mac[6] = {2, 4, 6, 8, 10, 12};

	memset(&f->far, 0, sizeof(f->far));
	f->far.backend.ops = &far_ops;
	f->far.backend.features = ~0ull;
	f->far.room = MAX_HELD;
	driver_machine(&f->driver);
	assert_int_equal(virtio_vhost_net_create(&f->driver.vm, &f->far.backend, mac, &f->vdev), 0);
	driver_plug(&f->driver, f->vdev, 0);
}

static void start(struct fixture *f, uint64_t features)
{
	plug(f);
	driver_init_device(&f->driver, features, 0);
	driver_take_interrupt(&f->driver);
	f->data = driver_alloc(&f->driver, 4096);
}

static void add(struct fixture *f, unsigned queue, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		driver_add(&f->driver, queue, 1, &(struct driver_buf){f->data + 16 * (i % 256), 16, queue == 0});
	driver_kick(&f->driver, queue);
}

static void *reset_on_a_vcpu(void *ctx)
{
	driver_set_reg(ctx, 0x070, 0);
	return NULL;
}

/* As a guest has it: the register's write returns when nothing is out any more, for which the I/O thread must work. */
static void reset(struct fixture *f)
{
	pthread_t thread;
	bool noted = false;

	assert_int_equal(pthread_create(&thread, NULL, reset_on_a_vcpu, &f->driver), 0);
	while (!noted) {
		lock_take(&f->vdev->lock);
		noted = f->vdev->status == 0;
		lock_release(&f->vdev->lock);
	}
	fake_run_work();
	pthread_join(thread, NULL);
}

static void features_and_configuration(void **state)
{
	struct fixture f;

	start(&f, UINT32_MAX);
	/* What concerns frames is the backend's to offer; what would need a hand of ours, and what is between it and us, isn't. */
	assert_int_equal(f.driver.features & 0xffffff & ~0xff87ull, F_MAC | F_STATUS);
	assert_int_equal(f.driver.features & (F_MTU | F_CTRL_VQ | F_LOG_ALL | F_PROTOCOL), 0);
	assert_true(f.driver.features & F_CSUM);
	assert_int_equal(driver_reg(&f.driver, 0x100), 0x08060402);
	assert_int_equal(driver_reg(&f.driver, 0x104), 0x00010c0a);
	add(&f, 1, 1);
	assert_int_equal(f.far.starts, 1);
	assert_int_equal(f.far.chosen & ~0xffffffull, 0);
	assert_int_equal(f.far.chosen, f.driver.features & 0xffffff);
	driver_stop(&f.driver);
	assert_false(f.far.running[0] || f.far.running[1]);

	/* A backend that can do nothing gets a device with no more than an address. */
	memset(&f.far, 0, sizeof(f.far));
	f.far.backend.ops = &far_ops;
	driver_machine(&f.driver);
	assert_int_equal(virtio_vhost_net_create(&f.driver.vm, &f.far.backend, (const uint8_t[6]){2}, &f.vdev), 0);
	driver_start(&f.driver, f.vdev, 0, UINT32_MAX);
	assert_int_equal(f.driver.features & 0xffffff, F_MAC | F_STATUS);
	driver_stop(&f.driver);
	assert_int_equal(fake_alloc_live(), 0);
}

static void file_system(void **state)
{
	static const char longest[] = "a-tag-of-thirty-six-bytes-0123456789";
	struct fixture f;

	memset(&f.far, 0, sizeof(f.far));
	f.far.backend.ops = &far_ops;
	driver_machine(&f.driver);
	assert_int_equal(virtio_fs_create(&f.driver.vm, &f.far.backend, longest, &f.vdev), 0);
	driver_start(&f.driver, f.vdev, 0, UINT32_MAX);
	assert_int_equal(driver_reg(&f.driver, 0x008), 26);
	for (unsigned i = 0; i < 9; i++) {
		uint32_t word = driver_reg(&f.driver, 0x100 + 4 * i);

		assert_memory_equal(&word, longest + 4 * i, 4);
	}
	assert_int_equal(driver_reg(&f.driver, 0x124), 1);
	assert_int_equal(driver_reg(&f.driver, 0x128), 0);
	driver_stop(&f.driver);
}

static void chains_go_and_come_back(void **state)
{
	struct fixture f;
	uint32_t head, len;
	uint16_t heads[3];

	start(&f, F_MRG_RXBUF);
	heads[0] = driver_add(&f.driver, 1, 2, (const struct driver_buf[]){{f.data, 12, false}, {f.data + 64, 100, false}});
	heads[1] = driver_add(&f.driver, 1, 1, &(struct driver_buf){f.data + 200, 60, false});
	heads[2] = driver_add(&f.driver, 1, 2, (const struct driver_buf[]){{f.data, 7, false}, {f.data + 512, 9, true}});
	driver_kick(&f.driver, 1);
	assert_int_equal(f.far.count, 3);
	assert_int_equal(f.far.kicks[1], 1);
	assert_int_equal(f.far.held[0].first, f.data);
	assert_int_equal(f.far.held[0].first_len, 12);
	assert_int_equal(f.far.held[0].out, 2);
	assert_int_equal(f.far.held[2].out, 1);
	assert_int_equal(f.far.held[2].in, 1);
	/* In another order; seen by the driver only when all of this time are there. */
	finish_one(&f.far, 2, 5);
	finish_one(&f.far, 0, 0);
	assert_false(driver_used(&f.driver, 1, NULL, NULL));
	assert_int_equal(driver_take_interrupt(&f.driver), 0);
	f.far.backend.finished(f.far.backend.ctx, 1);
	assert_int_equal(driver_take_interrupt(&f.driver), 1);
	assert_true(driver_used(&f.driver, 1, &head, &len));
	assert_int_equal(head, heads[2]);
	assert_int_equal(len, 5);
	assert_true(driver_used(&f.driver, 1, &head, &len));
	assert_int_equal(head, heads[0]);
	assert_int_equal(len, 0);
	assert_false(driver_used(&f.driver, 1, NULL, NULL));
	driver_stop(&f.driver);
}

static void no_room_at_the_backend(void **state)
{
	struct fixture f;

	start(&f, 0);
	f.far.room = 3;
	add(&f, 1, 10);
	assert_int_equal(f.far.count, 3);
	/* One more comes by itself for each that ends. */
	finish_one(&f.far, 0, 0);
	f.far.backend.finished(f.far.backend.ctx, 1);
	assert_int_equal(f.far.count, 3);
	assert_int_equal(f.far.kicks[1], 2);
	while (f.far.count) {
		finish_one(&f.far, 0, 0);
		f.far.backend.finished(f.far.backend.ctx, 1);
	}
	for (unsigned i = 0; i < 10; i++)
		assert_true(driver_used(&f.driver, 1, NULL, NULL));
	assert_false(driver_used(&f.driver, 1, NULL, NULL));
	/* Now kicks are wanted again. */
	assert_true(driver_must_kick(&f.driver, 1, 1));
	driver_stop(&f.driver);
}

static void a_whole_ring_under_way(void **state)
{
	struct fixture f;

	start(&f, 0);
	for (unsigned round = 0; round < 3; round++) {
		add(&f, 0, 256);
		assert_int_equal(f.far.count, 256);
		while (f.far.count)
			finish_one(&f.far, f.far.count / 2, 16);
		f.far.backend.finished(f.far.backend.ctx, 0);
		for (unsigned i = 0; i < 256; i++)
			assert_true(driver_used(&f.driver, 0, NULL, NULL));
	}
	driver_stop(&f.driver);
}

static void resets_with_chains_under_way(void **state)
{
	struct fixture f;

	start(&f, F_MRG_RXBUF);
	for (unsigned round = 0; round < 3; round++) {
		add(&f, 0, 20);
		add(&f, 1, 30);
		assert_int_equal(f.far.count, 50);
		reset(&f);
		assert_false(f.far.running[0] || f.far.running[1]);
		assert_int_equal(f.far.count, 0);
		/* The next driver may choose otherwise. */
		driver_init_device(&f.driver, round ? F_MRG_RXBUF : 0, 0);
		add(&f, 1, 1);
		assert_int_equal(f.far.starts, round + 2);
		assert_int_equal(f.far.chosen, round ? F_MRG_RXBUF : 0);
		assert_int_equal(f.far.count, 1);
		reset(&f);
		driver_init_device(&f.driver, F_MRG_RXBUF, 0);
		f.far.starts = round + 2;
	}
	driver_stop(&f.driver);
}

/* Nothing is out, so the reset doesn't wait: the queue must still be stopped before the next driver's is started. */
static void quick_resets(void **state)
{
	struct fixture f;

	start(&f, F_MRG_RXBUF);
	add(&f, 1, 1);
	finish_one(&f.far, 0, 0);
	f.far.backend.finished(f.far.backend.ctx, 1);
	assert_true(f.far.running[1]);
	driver_init_device(&f.driver, 0, 0);
	assert_int_equal(f.far.starts, 2);
	assert_int_equal(f.far.chosen, 0);
	add(&f, 1, 1);
	assert_int_equal(f.far.count, 1);
	driver_stop(&f.driver);
}

static void bad_buffers(void **state)
{
	struct fixture f;

	start(&f, 0);
	add(&f, 1, 1);
	f.far.submit_result = -EFAULT;
	add(&f, 1, 1);
	assert_true(driver_reg(&f.driver, 0x070) & 64);
	f.far.submit_result = 0;
	/* A reset mends it. */
	reset(&f);
	driver_init_device(&f.driver, 0, 0);
	add(&f, 1, 1);
	assert_int_equal(f.far.count, 1);
	driver_stop(&f.driver);
}

static void the_backend_ends(void **state)
{
	struct fixture f;

	start(&f, F_STATUS);
	add(&f, 0, 5);
	add(&f, 1, 5);
	f.far.running[0] = f.far.running[1] = false;
	f.far.count = 0;
	f.far.start_result = -EIO;
	f.far.backend.failed(f.far.backend.ctx);
	/* The link is down, and the driver hears of it. */
	assert_true(driver_reg(&f.driver, 0x070) & 64);
	assert_int_equal(driver_reg(&f.driver, 0x104) >> 16, 0);
	assert_int_equal(driver_take_interrupt(&f.driver) & 2, 2);
	add(&f, 1, 1);
	assert_int_equal(f.far.count, 0);
	/* A reset doesn't wait for what never comes; the device stays dead. */
	driver_init_device(&f.driver, F_STATUS, 0);
	assert_true(driver_reg(&f.driver, 0x070) & 64);
	add(&f, 1, 1);
	assert_int_equal(f.far.count, 0);
	driver_stop(&f.driver);
	assert_int_equal(fake_alloc_live(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(features_and_configuration),
		cmocka_unit_test(file_system),
		cmocka_unit_test(chains_go_and_come_back),
		cmocka_unit_test(no_room_at_the_backend),
		cmocka_unit_test(a_whole_ring_under_way),
		cmocka_unit_test(resets_with_chains_under_way),
		cmocka_unit_test(quick_resets),
		cmocka_unit_test(bad_buffers),
		cmocka_unit_test(the_backend_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
