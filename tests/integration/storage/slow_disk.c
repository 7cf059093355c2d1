/* Preloaded into tgtd: while the file $SLOW_DISK exists, a write to the backing store does not come back. This is a disk
 * that hangs, as seen by the back end's threads. Everything else is tgtd itself. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
	static ssize_t (*real)(int, const void *, size_t, off64_t);
	const char *gate = getenv("SLOW_DISK");

	if (!real)
		real = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
	while (gate && !access(gate, F_OK))
		usleep(10000);
	return real(fd, data, length, offset);
}
