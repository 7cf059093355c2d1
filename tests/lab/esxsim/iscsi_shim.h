/* A thin layer between Go and libiscsi: one context, commands that finish in place, no callback into Go. */
#ifndef ESXSIM_ISCSI_SHIM_H
#define ESXSIM_ISCSI_SHIM_H

#include <stdint.h>

struct iscsi_context;
struct scsi_task;

enum shim_operation { SHIM_READ, SHIM_WRITE, SHIM_COMPARE_AND_WRITE, SHIM_INQUIRY, SHIM_CAPACITY };

struct shim_command {
	int operation;
	uint64_t lba;
	int evpd, page;
	uint32_t length;     /* bytes to read or write */
	unsigned char *data; /* owned by the caller, at least length bytes, valid until done */

	struct scsi_task *task;
	int done;
	int status; /* SCSI status, or libiscsi's own above 0x0f000000 */
	int sense_key, sense_code;
	uint32_t received;
};

struct shim_login {
	int done;
	int status;
};

/* One-way and mutual CHAP; empty user: none. */
struct shim_chap {
	const char *user, *secret, *target_user, *target_secret;
};

struct iscsi_context *shim_open(const char *initiator, const char *target, uint32_t isid, const struct shim_chap *chap);
int shim_connect(struct iscsi_context *iscsi, const char *portal, int lun, struct shim_login *login);
int shim_submit(struct iscsi_context *iscsi, int lun, struct shim_command *command);
int shim_turn(struct iscsi_context *iscsi, int wake, int milliseconds);
int shim_logout(struct iscsi_context *iscsi, struct shim_login *logout);

#endif
