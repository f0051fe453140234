/* An NBD export for `ruse disk`, which waits for each answer; see nbd_client.h. Machines have backend/block_nbd.c.
 *
 * Example: `r = nbd_file_open("nbd://localhost/", &file, why, sizeof(why));`
 */
#include "disk/nbd_client.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct nbd_file {
	struct disk_file file;
	struct nbd_client client;
};

static int64_t nbd_file_readv(struct disk_file *file, uint64_t offset, const struct iovec *iov, unsigned count)
{
	struct nbd_file *nbd = container_of(file, struct nbd_file, file);
	const uint64_t left = offset < file->size ? file->size - offset : 0;
	size_t len = count ? iov[0].iov_len : 0;

	/* The first buffer, or a part of it: the caller asks again. */
	if (len > left)
		len = (size_t)left;
	if (len > nbd->client.transfer_max)
		len = nbd->client.transfer_max;
	if (len && nbd->client.lib.pread(nbd->client.handle, iov[0].iov_base, len, offset, 0) < 0)
		return nbd->client.lib.get_errno() ? -nbd->client.lib.get_errno() : -EIO;
	return (int64_t)len;
}

static int64_t nbd_file_writev(struct disk_file *file, uint64_t offset, const struct iovec *iov, unsigned count)
{
	return -EROFS;
}

static int nbd_file_sync(struct disk_file *file)
{
	return 0;
}

static int nbd_file_zero(struct disk_file *file, uint64_t offset, uint64_t len, bool punch)
{
	return -EROFS;
}

static int nbd_file_resize(struct disk_file *file, uint64_t size)
{
	return -EROFS;
}

static void nbd_file_close(struct disk_file *file)
{
	struct nbd_file *nbd = container_of(file, struct nbd_file, file);

	(void)nbd->client.lib.aio_disconnect(nbd->client.handle, 0);
	nbd_client_close(&nbd->client);
	free(nbd);
}

static const struct disk_file_ops nbd_file_ops = {
	.readv = nbd_file_readv,
	.writev = nbd_file_writev,
	.sync = nbd_file_sync,
	.zero = nbd_file_zero,
	.resize = nbd_file_resize,
	.close = nbd_file_close,
};

int nbd_file_open(const char *uri, struct disk_file **file, char *why, size_t why_size)
{
	struct nbd_file *nbd = calloc(1, sizeof(*nbd));
	int r;

	if (!nbd) {
		snprintf(why, why_size, "no memory is left for %s: free some", uri);
		return -ENOMEM;
	}
	r = nbd_client_connect(&nbd->client, uri, why, why_size);
	if (r < 0) {
		free(nbd);
		return r;
	}
	nbd->file.ops = &nbd_file_ops;
	nbd->file.size = nbd->client.size;
	*file = &nbd->file;
	return 0;
}
