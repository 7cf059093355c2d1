/* The guests' initial file system: load the modules that /modules names, in that order, mount the root disk, and become its init.
 * initramfs-tools does the same with some hundred processes, which take an emulated machine longer than the rest of the kernel's start. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fail(const char *what)
{
    printf("(initramfs) %s: %s\n", what, strerror(errno)); /* the lab looks for "(initramfs)" */
    fflush(stdout);
    return pause();
}

int main(void)
{
    char path[256];
    if (mount("dev", "/dev", "devtmpfs", 0, "") != 0)
        return fail("/dev");
    for (int stream = 0, console = open("/dev/console", O_RDWR); stream < 3; stream++)
        dup2(console, stream);
    FILE *modules = fopen("/modules", "r");
    if (!modules)
        return fail("/modules");
    while (fscanf(modules, "%255s", path) == 1) {
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0 || (syscall(SYS_finit_module, file, "", 0) != 0 && errno != EEXIST && errno != ENODEV)) /* a CPU without crc32c */
            return fail(path);
        close(file);
    }
    fclose(modules);
    if (mount("/dev/vda", "/root", "ext4", MS_NOATIME, "") != 0)
        return fail("/dev/vda");
    if (mount("/dev", "/root/dev", NULL, MS_MOVE, NULL) != 0 || chdir("/root") != 0 || mount(".", "/", NULL, MS_MOVE, NULL) != 0 ||
        chroot(".") != 0)
        return fail("/root");
    execl("/sbin/init", "/sbin/init", (char *)NULL);
    return fail("/sbin/init");
}
