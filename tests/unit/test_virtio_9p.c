/* The 9P device: messages in order, answers in any time, more of them than it has room for, and what a reset means. */
#include "base/errno.h"
#include "core/backend.h"
#include "fake_platform.h"
#include "virtio_driver.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct share {
	struct share_backend backend;
	struct share_request *waiting[300];
	unsigned count, ends, drained;
};

struct fixture {
	struct driver driver;
	struct share share;
	struct virtio_device *vdev;
	gpa_t message, answers;
};

static void share_submit(struct share_backend *backend, struct share_request *request)
{
	struct share *share = container_of(backend, struct share, backend);

	if (request->out_count == 0) {
		share->ends++;
		request->done(request, 0);
		return;
	}
	assert_true(share->count < ARRAY_SIZE(share->waiting));
	share->waiting[share->count++] = request;
}

/* Answers the first one: its own bytes, and a length. */
static void answer(struct share *share)
{
	struct share_request *request = share->waiting[0];
	uint32_t len = 0;

	memmove(share->waiting, share->waiting + 1, --share->count * sizeof(share->waiting[0]));
	if (request->in_count > 0) {
		len = (uint32_t)request->in[0].len;
		memcpy(request->in[0].base, request->out[0].base, len);
	}
	request->done(request, len);
}

static void share_drain(struct share_backend *backend)
{
	struct share *share = container_of(backend, struct share, backend);

	share->drained++;
	while (share->count > 0)
		answer(share);
}

static const struct share_backend_ops share_ops = {.submit = share_submit, .drain = share_drain};

static void start(struct fixture *f, const char *tag)
{
	memset(f, 0, sizeof(*f));
	f->share.backend.ops = &share_ops;
	driver_machine(&f->driver);
	assert_int_equal(virtio_9p_create(&f->driver.vm, tag, &f->share.backend, &f->vdev), 0);
	driver_start(&f->driver, f->vdev, 0, 1 | VIRTIO_F_EVENT_IDX);
	f->message = driver_alloc(&f->driver, 64);
	f->answers = driver_alloc(&f->driver, 64 * 300);
	f->share.ends = 0;
}

static void add(struct fixture *f, unsigned number)
{
	driver_add(&f->driver, 0, 2,
		   (const struct driver_buf[]){{f->message, 16, false}, {f->answers + 64 * number, 8, true}});
}

static void configuration(void **state)
{
	char tag[VIRTIO_9P_TAG_MAX + 4] = {0};
	struct fixture f;

	start(&f, "work");
	assert_int_equal(driver_reg(&f.driver, 0x008), 9);
	assert_true(f.driver.features & 1);
	assert_int_equal(driver_reg(&f.driver, 0x100), 4 | 'w' << 16 | 'o' << 24);
	assert_int_equal(driver_reg(&f.driver, 0x104) & 0xffff, 0);
	driver_stop(&f.driver);
	/* No longer than there is room. */
	memset(tag, 't', sizeof(tag) - 1);
	start(&f, tag);
	assert_int_equal(driver_reg(&f.driver, 0x100) & 0xffff, VIRTIO_9P_TAG_MAX);
	driver_stop(&f.driver);
}

static void messages_and_answers(void **state)
{
	struct fixture f;
	uint32_t head, len;

	start(&f, "t");
	memcpy(driver_ptr(&f.driver, f.message), "a message for it", 16);
	add(&f, 0);
	add(&f, 1);
	driver_kick(&f.driver, 0);
	assert_int_equal(f.share.count, 2);
	assert_false(driver_used(&f.driver, 0, NULL, NULL));
	driver_take_interrupt(&f.driver);
	answer(&f.share);
	assert_int_equal(driver_take_interrupt(&f.driver), 1);
	assert_true(driver_used(&f.driver, 0, &head, &len));
	assert_int_equal(len, 8);
	assert_memory_equal(driver_ptr(&f.driver, f.answers), "a messag", 8);
	answer(&f.share);
	assert_true(driver_used(&f.driver, 0, NULL, NULL));
	/* Room and no message: given back, and not taken for the end of the session. */
	driver_add(&f.driver, 0, 1, &(struct driver_buf){f.answers, 8, true});
	driver_kick(&f.driver, 0);
	assert_int_equal(f.share.count, 0);
	assert_int_equal(f.share.ends, 0);
	assert_true(driver_used(&f.driver, 0, NULL, &len));
	assert_int_equal(len, 0);
	/* A message and no room. */
	driver_add(&f.driver, 0, 1, &(struct driver_buf){f.message, 8, false});
	driver_kick(&f.driver, 0);
	answer(&f.share);
	assert_true(driver_used(&f.driver, 0, NULL, &len));
	assert_int_equal(len, 0);
	driver_stop(&f.driver);
}

static void many_at_once(void **state)
{
	unsigned answered = 0;
	struct fixture f;

	start(&f, "t");
	f.driver.indirect = true;
	driver_init_device(&f.driver, 1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX, 0);
	for (unsigned i = 0; i < 128; i++)
		add(&f, i);
	driver_kick(&f.driver, 0);
	assert_int_equal(f.share.count, 128);
	while (f.share.count > 0) {
		answer(&f.share);
		fake_run_work();
		assert_true(driver_used(&f.driver, 0, NULL, NULL));
		/* A place is free again: another one. */
		if (answered++ < 50) {
			add(&f, answered);
			driver_kick(&f.driver, 0);
		}
	}
	assert_int_equal(answered, 178);
	driver_stop(&f.driver);
}

static void resets(void **state)
{
	struct fixture f;

	start(&f, "t");
	add(&f, 0);
	driver_kick(&f.driver, 0);
	assert_int_equal(f.share.count, 1);
	/* The machine's: what is under way is finished first, then the session is over. */
	devices_reset(&f.driver.vm);
	assert_int_equal(f.share.drained, 1);
	fake_run_work();
	assert_int_equal(f.share.ends, 1);
	driver_init_device(&f.driver, 1, 0);
	/* (that begins with a reset, too) */
	assert_int_equal(f.share.ends, 2);
	add(&f, 0);
	driver_kick(&f.driver, 0);
	answer(&f.share);
	assert_true(driver_used(&f.driver, 0, NULL, NULL));
	driver_set_reg(&f.driver, 0x070, 0);
	fake_run_work();
	assert_int_equal(f.share.ends, 3);
	driver_stop(&f.driver);
}

static void without_memory(void **state)
{
	struct virtio_device *vdev;
	struct fixture f;

	start(&f, "t");
	for (unsigned i = 0; i < 3; i++) {
		fake_alloc_limit(i);
		assert_int_equal(virtio_9p_create(&f.driver.vm, "t", &f.share.backend, &vdev), -ENOMEM);
	}
	fake_alloc_limit(UINT32_MAX);
	driver_stop(&f.driver);
	assert_int_equal(fake_alloc_live(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configuration),
		cmocka_unit_test(messages_and_answers),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(resets),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
