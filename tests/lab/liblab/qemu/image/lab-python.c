/* lab-python [FILE [ARGUMENT...]]: the guests' Python for Ansible. It runs the file, or standard input, as python3 does, but in a fork of
 * lab-pythond, whose standard library is loaded. Where that does not answer, or is asked for anything else (-c, -m), it becomes python3. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PYTHON "/usr/bin/python3"
#define SOCKET "/run/lab-python.sock"

extern char **environ;
static char text[128 << 10];
static size_t used;

/* One more string of the message, with its zero byte. */
static int add(const char *word)
{
    size_t length = strlen(word) + 1;
    if (length > sizeof(text) - used)
        return 0;
    memcpy(text + used, word, length);
    used += length;
    return 1;
}

/* What the fork needs: working folder, number of arguments, arguments, environment; and standard input, output and error. */
static int ask(int server, int argc, char **argv)
{
    char folder[4096], count[16], control[CMSG_SPACE(3 * sizeof(int))] = {0};
    int streams[] = {0, 1, 2};
    snprintf(count, sizeof(count), "%d", argc - 1);
    if (!getcwd(folder, sizeof(folder)) || !add(folder) || !add(count))
        return 0;
    for (int i = 1; i < argc; i++)
        if (!add(argv[i]))
            return 0;
    for (char **word = environ; *word; word++)
        if (!add(*word))
            return 0;
    struct iovec part = {text, used};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(streams));
    memcpy(CMSG_DATA(header), streams, sizeof(streams));
    return sendmsg(server, &message, MSG_NOSIGNAL) == (ssize_t)used;
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SOCKET};
    int server = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if ((argc < 2 || argv[1][0] != '-') && connect(server, (struct sockaddr *)&address, sizeof(address)) == 0 && ask(server, argc, argv)) {
        unsigned char status;
        return recv(server, &status, 1, 0) == 1 ? status : 255; /* nothing: it was killed */
    }
    argv[0] = PYTHON;
    execv(PYTHON, argv);
    perror(PYTHON);
    return 127;
}
