/* See vnc.h.
 *
 * The picture is drawn only while a client waits for it, at most once in FRAME_NS, and compared with what was shown before, tile by
 * tile: the library learns of those that differ. It knows the size of no mode before a client asks.
 *
 * Example: `ruse run --board pc --firmware seabios --display vnc=unix:/tmp/vm.vnc ...` and `vncviewer /tmp/vm.vnc`
 */
#include "host/linux/vnc.h"
#include "core/platform.h"
#include "core/vm.h"
#include "dev/display/vga.h"
#include "host/linux/remover.h"
#include "host/linux/socket.h"
#include "host/linux/vnc_input.h"
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <rfb/rfb.h>
#include <rfb/rfbregion.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBRARY    "libvncserver.so.1"
#define PREFIX     "vnc=unix:"
#define CLIENTS    8u
#define FRAME_NS   40000000u
#define OFF_WIDTH  640u /* of the black picture of a screen that is off */
#define OFF_HEIGHT 480u
#define TILE_WIDTH  64u
#define TILE_HEIGHT 16u

#define VNC_FUNCTIONS(X) \
	X(rfbGetScreen) X(rfbInitServer) X(rfbNewFramebuffer) X(rfbMarkRectAsModified) X(rfbProcessEvents) X(rfbNewClient) \
	X(rfbShutdownServer) X(rfbScreenCleanup) X(rfbLogEnable) X(rfbGetClientIterator) X(rfbClientIteratorNext) \
	X(rfbReleaseClientIterator) X(sraRgnEmpty)

struct vnc {
	struct {
#define DECLARE(name) __typeof__(&name) name##_;
		VNC_FUNCTIONS(DECLARE)
#undef DECLARE
	} lib;
	char *path;
	struct remover remover;
	int listener, wake;
	struct vm *vm;
	int (*enter)(void *ctx);
	void *enter_ctx;
	pthread_t thread;
	bool started;
	atomic_bool stop;
	/* The thread's. */
	rfbScreenInfoPtr screen;
	uint32_t *shown, *next; /* 0x00BBGGRR: the library's order of bytes */
	unsigned width, height;
	uint64_t frame_ns; /* when the next one may be drawn */
};

/* ---- the picture ---- */

static void swap_red_and_blue(uint32_t *pixels, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const uint32_t rgb = pixels[i];

		pixels[i] = (rgb & 0xff00) | (rgb & 0xff) << 16 | (rgb >> 16 & 0xff);
	}
}

/* The next picture. False: not this time. */
static bool draw(struct vnc *vnc, uint32_t *pixels, unsigned width, unsigned height, bool on)
{
	if (!on)
		memset(pixels, 0, (size_t)width * height * sizeof(*pixels));
	else if (!vga_draw(vnc->vm->screen, pixels, width, height))
		return false;
	swap_red_and_blue(pixels, width * height);
	return true;
}

static void resize(struct vnc *vnc, unsigned width, unsigned height, bool on)
{
	const size_t size = (size_t)width * height * sizeof(*vnc->shown);
	uint32_t *shown = malloc(size), *next = malloc(size);

	if (!shown || !next || !draw(vnc, shown, width, height, on)) {
		free(shown);
		free(next);
		return;
	}
	vnc->lib.rfbNewFramebuffer_(vnc->screen, (char *)shown, (int)width, (int)height, 8, 3, 4);
	free(vnc->shown);
	free(vnc->next);
	vnc->shown = shown;
	vnc->next = next;
	vnc->width = width;
	vnc->height = height;
}

/* Is the tile another one than before? It is shown from now on. */
static bool take_tile(struct vnc *vnc, unsigned x, unsigned y, unsigned width, unsigned height)
{
	bool differs = false;

	for (unsigned line = y; line < y + height; line++) {
		const size_t at = (size_t)line * vnc->width + x;

		if (!memcmp(vnc->shown + at, vnc->next + at, width * sizeof(*vnc->shown)))
			continue;
		memcpy(vnc->shown + at, vnc->next + at, width * sizeof(*vnc->shown));
		differs = true;
	}
	return differs;
}

static void compare(struct vnc *vnc)
{
	for (unsigned y = 0; y < vnc->height; y += TILE_HEIGHT) {
		const unsigned height = vnc->height - y < TILE_HEIGHT ? vnc->height - y : TILE_HEIGHT;

		for (unsigned x = 0; x < vnc->width; x += TILE_WIDTH) {
			const unsigned width = vnc->width - x < TILE_WIDTH ? vnc->width - x : TILE_WIDTH;

			if (take_tile(vnc, x, y, width, height))
				vnc->lib.rfbMarkRectAsModified_(vnc->screen, (int)x, (int)y, (int)(x + width), (int)(y + height));
		}
	}
}

static void update(struct vnc *vnc)
{
	unsigned width, height;
	bool on;

	vga_size(vnc->vm->screen, &width, &height);
	on = width && height;
	if (!on) {
		width = OFF_WIDTH;
		height = OFF_HEIGHT;
	}
	if (width != vnc->width || height != vnc->height)
		resize(vnc, width, height, on);
	else if (draw(vnc, vnc->next, width, height, on))
		compare(vnc);
}

/* ---- clients; called by the library ---- */

static void on_key(rfbBool down, rfbKeySym keysym, rfbClientPtr client)
{
	vnc_input_key(client->clientData, keysym, down);
}

static void on_pointer(int buttons, int x, int y, rfbClientPtr client)
{
	const struct vnc *vnc = client->screen->screenData;

	vnc_input_pointer(client->clientData, (unsigned)buttons, x, y, vnc->width, vnc->height);
}

static void on_gone(rfbClientPtr client)
{
	if (client->clientData)
		vnc_input_release(client->clientData);
	free(client->clientData);
	client->clientData = NULL;
}

static enum rfbNewClientAction on_new(rfbClientPtr client)
{
	const struct vnc *vnc = client->screen->screenData;
	struct vnc_input *input = calloc(1, sizeof(*input));

	if (!input)
		return RFB_CLIENT_REFUSE;
	input->vm = vnc->vm;
	client->clientData = input;
	client->clientGoneHook = on_gone;
	return RFB_CLIENT_ACCEPT;
}

static void accept_client(struct vnc *vnc)
{
	int fd = accept4(vnc->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	/* The library's sets have no room for larger ones. It closes what it does not take. */
	if (fd >= FD_SETSIZE)
		close(fd);
	else
		vnc->lib.rfbNewClient_(vnc->screen, fd);
}

/* ---- the thread ---- */

/* Who is there, and does one of them wait for a picture? */
static unsigned look_at_clients(struct vnc *vnc, struct pollfd *polls, bool *wanted)
{
	rfbClientIteratorPtr iterator = vnc->lib.rfbGetClientIterator_(vnc->screen);
	unsigned count = 0;
	rfbClientPtr client;

	*wanted = false;
	while (iterator && count < CLIENTS && (client = vnc->lib.rfbClientIteratorNext_(iterator))) {
		polls[count++] = (struct pollfd){.fd = client->sock, .events = POLLIN};
		*wanted = *wanted || !vnc->lib.sraRgnEmpty_(client->requestedRegion);
	}
	if (iterator)
		vnc->lib.rfbReleaseClientIterator_(iterator);
	return count;
}

static int wait_time(const struct vnc *vnc, bool wanted)
{
	const uint64_t now = platform_clock_ns();

	if (!wanted)
		return -1;
	return now >= vnc->frame_ns ? 0 : (int)((vnc->frame_ns - now + 999999) / 1000000);
}

static void serve_once(struct vnc *vnc)
{
	struct pollfd polls[2 + CLIENTS] = {{.fd = vnc->wake, .events = POLLIN}};
	bool wanted;
	unsigned count = look_at_clients(vnc, polls + 2, &wanted);

	polls[1] = (struct pollfd){.fd = count < CLIENTS ? vnc->listener : -1, .events = POLLIN};
	if (poll(polls, 2 + count, wait_time(vnc, wanted)) < 0 && errno != EINTR)
		atomic_store(&vnc->stop, true);
	if (polls[1].revents)
		accept_client(vnc);
	/* What a client says may be that it wants the whole picture, and the library sends it at once. */
	for (unsigned i = 0; i < count; i++)
		wanted = wanted || polls[2 + i].revents;
	if (wanted && platform_clock_ns() >= vnc->frame_ns) {
		update(vnc);
		vnc->frame_ns = platform_clock_ns() + FRAME_NS;
	}
	vnc->lib.rfbProcessEvents_(vnc->screen, 0);
}

static void *serve(void *ctx)
{
	struct vnc *vnc = ctx;

	pthread_setname_np(pthread_self(), "ruse-vnc");
	if (vnc->enter(vnc->enter_ctx) < 0)
		return NULL;
	while (!atomic_load(&vnc->stop))
		serve_once(vnc);
	vnc->lib.rfbShutdownServer_(vnc->screen, TRUE);
	return NULL;
}

/* Signals are for the process's other threads, but for those that a thread causes itself. */
static int start_thread(struct vnc *vnc)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
	sigset_t all, before;
	int error;

	sigfillset(&all);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&vnc->thread, NULL, serve, vnc);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	vnc->started = error == 0;
	return -error;
}

/* ---- beginning and end ---- */

static int load(struct vnc *vnc, char *why, size_t why_size)
{
	/* It stays: handlers of its libraries may be about. */
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	bool whole = library != NULL;

#define NAME_OF(name) #name
#define FIND(name) whole = whole && (vnc->lib.name##_ = (__typeof__(vnc->lib.name##_))dlsym(library, NAME_OF(name)));
	VNC_FUNCTIONS(FIND)
#undef FIND
	if (whole)
		return 0;
	snprintf(why, why_size, "--display vnc needs the library %s: install the package libvncserver1", LIBRARY);
	return -ENOENT;
}

static int make_socket(struct vnc *vnc, char *why, size_t why_size)
{
	const mode_t before = umask(0177);
	int r = socket_listen_unix(vnc->path);

	umask(before);
	vnc->listener = r;
	if (r >= 0)
		r = remover_start(&vnc->remover, vnc->path);
	if (r < 0)
		snprintf(why, why_size, "cannot listen at '%s': %s; choose another path for --display", vnc->path, strerror(-r));
	return r;
}

int vnc_open(const char *address, struct vnc **out, char *why, size_t why_size)
{
	struct vnc *vnc = calloc(1, sizeof(*vnc));
	int r = -ENOMEM;

	snprintf(why, why_size, "out of memory for --display; free some on the host");
	if (!vnc)
		return r;
	vnc->listener = -1;
	vnc->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vnc->path = strdup(address + sizeof(PREFIX) - 1);
	if (vnc->wake >= 0 && vnc->path)
		r = load(vnc, why, why_size);
	if (!r)
		r = make_socket(vnc, why, why_size);
	if (!r) {
		*out = vnc;
		return 0;
	}
	vnc_close(vnc);
	return r;
}

static int make_screen(struct vnc *vnc, const char *name)
{
	rfbScreenInfoPtr screen;

	vnc->width = OFF_WIDTH;
	vnc->height = OFF_HEIGHT;
	vnc->shown = calloc((size_t)OFF_WIDTH * OFF_HEIGHT, sizeof(*vnc->shown));
	vnc->next = calloc((size_t)OFF_WIDTH * OFF_HEIGHT, sizeof(*vnc->next));
	vnc->lib.rfbLogEnable_(0);
	vnc->screen = screen = vnc->lib.rfbGetScreen_(NULL, NULL, OFF_WIDTH, OFF_HEIGHT, 8, 3, 4);
	if (!vnc->shown || !vnc->next || !screen)
		return -ENOMEM;
	screen->screenData = vnc;
	screen->frameBuffer = (char *)vnc->shown;
	screen->desktopName = name ? name : "ruse";
	screen->port = screen->ipv6port = 0;
	screen->autoPort = FALSE;
	screen->httpDir = NULL;
	screen->cursor = NULL; /* the guest draws its own */
	screen->alwaysShared = TRUE;
	screen->maxClientWait = VNC_WAIT_MS;
	screen->deferUpdateTime = 0;
	screen->permitFileTransfer = FALSE;
	screen->newClientHook = on_new;
	screen->kbdAddEvent = on_key;
	screen->ptrAddEvent = on_pointer;
	vnc->lib.rfbInitServer_(screen);
	return 0;
}

int vnc_start(struct vnc *vnc, struct vm *vm, const char *name, int (*enter)(void *ctx), void *enter_ctx, char *why,
	      size_t why_size)
{
	int r;

	if (!vm->screen) {
		snprintf(why, why_size, "this board has no screen for --display; choose --board pc");
		return -ENODEV;
	}
	vnc->vm = vm;
	vnc->enter = enter;
	vnc->enter_ctx = enter_ctx;
	r = make_screen(vnc, name);
	if (!r)
		r = start_thread(vnc);
	if (r)
		snprintf(why, why_size, "cannot start --display: %s", strerror(-r));
	return r;
}

void vnc_close(struct vnc *vnc)
{
	if (!vnc)
		return;
	atomic_store(&vnc->stop, true);
	if (vnc->started) {
		(void)eventfd_write(vnc->wake, 1);
		pthread_join(vnc->thread, NULL);
	}
	if (vnc->screen)
		vnc->lib.rfbScreenCleanup_(vnc->screen);
	free(vnc->shown);
	free(vnc->next);
	if (vnc->listener >= 0)
		close(vnc->listener);
	if (vnc->wake >= 0)
		close(vnc->wake);
	remover_end(&vnc->remover);
	free(vnc->path);
	free(vnc);
}
