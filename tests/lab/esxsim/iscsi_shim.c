#include "iscsi_shim.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

/* The ISID is fixed for an initiator, as ESXi's is: a target that reinstates sessions ends the old one at a new login. */
struct iscsi_context *shim_open(const char *initiator, const char *target, uint32_t isid, const struct shim_chap *chap)
{
	struct iscsi_context *iscsi = iscsi_create_context(initiator);
	if (iscsi == NULL)
		return NULL;
	iscsi_set_isid_random(iscsi, isid & 0xffffff, 0);
	iscsi_set_noautoreconnect(iscsi, 1); /* libiscsi would hide a lost session for ever */
	if (chap->user[0] != 0 && (iscsi_set_initiator_username_pwd(iscsi, chap->user, chap->secret) != 0 ||
	    (chap->target_user[0] != 0 && iscsi_set_target_username_pwd(iscsi, chap->target_user, chap->target_secret) != 0))) {
		iscsi_destroy_context(iscsi);
		return NULL;
	}
	if (target[0] == 0) /* a discovery session (RFC 7143, 4.3) */
		return iscsi_set_session_type(iscsi, ISCSI_SESSION_DISCOVERY) == 0 ? iscsi : (iscsi_destroy_context(iscsi), NULL);
	if (iscsi_set_targetname(iscsi, target) != 0 || iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL) != 0 ||
	    iscsi_set_header_digest(iscsi, ISCSI_HEADER_DIGEST_NONE) != 0) {
		iscsi_destroy_context(iscsi);
		return NULL;
	}
	return iscsi;
}

static void login_done(struct iscsi_context *iscsi, int status, void *data, void *private_data)
{
	struct shim_login *login = private_data;
	(void)iscsi;
	(void)data;
	login->status = status;
	login->done = 1;
}

int shim_connect(struct iscsi_context *iscsi, const char *portal, int lun, struct shim_login *login)
{
	return iscsi_full_connect_async(iscsi, portal, lun, login_done, login);
}

int shim_logout(struct iscsi_context *iscsi, struct shim_login *logout)
{
	return iscsi_logout_async(iscsi, login_done, logout);
}

static void command_done(struct iscsi_context *iscsi, int status, void *data, void *private_data)
{
	struct shim_command *command = private_data;
	struct scsi_task *task = command->task;
	(void)iscsi;
	(void)data;
	command->status = status;
	if (task != NULL) {
		if (status == SCSI_STATUS_GOOD && task->datain.data != NULL && task->datain.size > 0 &&
		    command->operation != SHIM_WRITE && command->operation != SHIM_COMPARE_AND_WRITE) {
			uint32_t size = (uint32_t)task->datain.size;
			if (size > command->length)
				size = command->length;
			memcpy(command->data, task->datain.data, size);
			command->received = size;
		}
		command->sense_key = task->sense.key;
		command->sense_code = task->sense.ascq;
		scsi_free_scsi_task(task);
		command->task = NULL;
	}
	command->done = 1;
}

int shim_submit(struct iscsi_context *iscsi, int lun, struct shim_command *command)
{
	switch (command->operation) {
	case SHIM_READ:
		command->task = iscsi_read16_task(iscsi, lun, command->lba, command->length, 512, 0, 0, 0, 0, 0,
						  command_done, command);
		break;
	case SHIM_WRITE: /* with FUA */
		command->task = iscsi_write16_task(iscsi, lun, command->lba, command->data, command->length, 512, 0, 0, 1, 0, 0,
						   command_done, command);
		break;
	case SHIM_COMPARE_AND_WRITE: /* data: what must be there, then what shall be there; with FUA */
		command->task = iscsi_compareandwrite_task(iscsi, lun, command->lba, command->data, command->length, 512, 0, 0,
							   1, 0, 0, command_done, command);
		break;
	case SHIM_INQUIRY:
		command->task = iscsi_inquiry_task(iscsi, lun, command->evpd, command->page, (int)command->length, command_done,
						   command);
		break;
	case SHIM_CAPACITY:
		command->task = iscsi_readcapacity16_task(iscsi, lun, command_done, command);
		break;
	}
	return command->task == NULL ? -1 : 0;
}

/* Wait for the target or for a byte in wake, and do what is due. -1: the connection is gone. */
int shim_turn(struct iscsi_context *iscsi, int wake, int milliseconds)
{
	int was_in = iscsi_is_logged_in(iscsi);
	struct pollfd fds[2] = {
		{.fd = iscsi_get_fd(iscsi), .events = (short)iscsi_which_events(iscsi)},
		{.fd = wake, .events = POLLIN},
	};
	if (fds[0].fd < 0)
		return -1;
	if (poll(fds, 2, milliseconds) < 0)
		return errno == EINTR ? 0 : -1;
	if (fds[1].revents & POLLIN) {
		uint64_t count;
		ssize_t got = read(wake, &count, sizeof count);
		(void)got;
	}
	if (fds[0].revents == 0)
		return 0;
	if (was_in && (fds[0].revents & POLLIN)) {
		char byte;
		ssize_t got = recv(fds[0].fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
			return -1;
	} else if (was_in && (fds[0].revents & (POLLERR | POLLHUP | POLLNVAL))) {
		return -1;
	}
	if (iscsi_service(iscsi, fds[0].revents) < 0)
		return -1;
	if (was_in && !iscsi_is_logged_in(iscsi))
		return -1;
	return 0;
}
