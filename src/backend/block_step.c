/* See block_step.h. */
#include "backend/block_step.h"
#include "base/errno.h"
#include "base/types.h"
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>

_Static_assert(sizeof(struct iobuf) == sizeof(struct iovec) &&
		       offsetof(struct iobuf, base) == offsetof(struct iovec, iov_base) &&
		       offsetof(struct iobuf, len) == offsetof(struct iovec, iov_len),
	       "an iobuf is an iovec");

#define ZERO_PIECE  65536u
#define ZERO_PIECES 64u /* in one write */

static const uint8_t zeroes[ZERO_PIECE];

/* What is kept of a request between steps, in request->backend_private. */
static uint64_t get_done(const struct block_request *request)
{
	return (uint64_t)(uintptr_t)request->backend_private[0];
}

static void set_done(struct block_request *request, uint64_t done)
{
	request->backend_private[0] = (void *)(uintptr_t)done;
}

/* Replaces the request's own vector; NULL only frees. */
static void set_iov(struct block_request *request, struct iovec *iov)
{
	free(request->backend_private[1]);
	request->backend_private[1] = iov;
}

static bool finish(struct block_request *request, int result, int *status)
{
	set_iov(request, NULL);
	*status = result;
	return false;
}

static void transfer_step(struct block_request *request, const struct iovec *iov, unsigned count,
			  struct block_step *step)
{
	*step = (struct block_step){
		.kind = request->op == BLOCK_READ ? STEP_READ : STEP_WRITE,
		.iov = iov,
		.count = count,
		.offset = request->offset + get_done(request),
	};
}

/* The rest of the buffers after a short transfer. */
static bool transfer_rest(struct block_request *request, struct block_step *step, int *status)
{
	struct iovec *iov = calloc(request->count, sizeof(*iov));
	uint64_t skip = get_done(request);
	unsigned count = 0;

	if (!iov)
		return finish(request, -ENOMEM, status);
	for (unsigned i = 0; i < request->count; i++) {
		const struct iobuf *buf = &request->bufs[i];

		if (skip >= buf->len) {
			skip -= buf->len;
			continue;
		}
		iov[count].iov_base = (uint8_t *)buf->base + skip;
		iov[count++].iov_len = buf->len - (size_t)skip;
		skip = 0;
	}
	set_iov(request, iov);
	transfer_step(request, iov, count, step);
	return true;
}

/* On block devices the same calls discard, or zero with or without discarding. */
static void allocate_step(const struct block_request *request, struct block_step *step)
{
	bool punch = request->op == BLOCK_DISCARD || request->unmap;

	*step = (struct block_step){
		.kind = STEP_ALLOCATE,
		.offset = request->offset,
		.length = request->length,
		.mode = FALLOC_FL_KEEP_SIZE | (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE),
	};
}

/* Where fallocate can't: write zeroes by hand. backend_private[1] says that this has begun. */
static bool zero_rest(struct block_request *request, struct block_step *step, int *status)
{
	uint64_t left = request->length - get_done(request);
	struct iovec *iov = calloc(ZERO_PIECES, sizeof(*iov));
	unsigned count = 0;

	if (!iov)
		return finish(request, -ENOMEM, status);
	for (; left > 0 && count < ZERO_PIECES; count++) {
		iov[count].iov_base = (void *)(uintptr_t)zeroes;
		iov[count].iov_len = left < ZERO_PIECE ? (size_t)left : ZERO_PIECE;
		left -= iov[count].iov_len;
	}
	set_iov(request, iov);
	transfer_step(request, iov, count, step);
	return true;
}

bool block_step_first(struct block_request *request, struct block_step *step, int *status)
{
	set_done(request, 0);
	request->backend_private[1] = NULL;
	switch (request->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		transfer_step(request, (const struct iovec *)(const void *)request->bufs, request->count, step);
		return request->length > 0 || finish(request, 0, status);
	case BLOCK_FLUSH:
		*step = (struct block_step){.kind = STEP_SYNC};
		return true;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		allocate_step(request, step);
		return request->length > 0 || finish(request, 0, status);
	}
	return finish(request, -EINVAL, status);
}

static bool next_transfer(struct block_request *request, int64_t result, struct block_step *step, int *status)
{
	if (result == 0)
		return finish(request, -EIO, status); /* somebody has cut the file short */
	set_done(request, get_done(request) + (uint64_t)result);
	if (get_done(request) >= request->length)
		return finish(request, 0, status);
	return request->op == BLOCK_WRITE_ZEROES ? zero_rest(request, step, status)
						 : transfer_rest(request, step, status);
}

bool block_step_next(struct block_request *request, int64_t result, struct block_step *step, int *status)
{
	if (result == -EINTR || result == -EAGAIN)
		return true; /* the same again */
	if (step->kind == STEP_READ || step->kind == STEP_WRITE)
		return result < 0 ? finish(request, (int)result, status)
				  : next_transfer(request, result, step, status);
	if (step->kind == STEP_ALLOCATE && result == -EOPNOTSUPP) {
		/* A discard is a hint; zeroes are a promise. */
		if (request->op == BLOCK_DISCARD)
			return finish(request, 0, status);
		return zero_rest(request, step, status);
	}
	return finish(request, (int)result, status);
}
