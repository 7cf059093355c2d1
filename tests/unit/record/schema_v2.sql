BEGIN TRANSACTION;
CREATE TABLE ha_alarms (
	"key" TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	text TEXT NOT NULL, 
	data TEXT NOT NULL, 
	since_boot TEXT NOT NULL, 
	since_seconds FLOAT NOT NULL, 
	since_wall TEXT NOT NULL, 
	journaled_boot TEXT NOT NULL, 
	journaled_seconds FLOAT NOT NULL, 
	journaled_wall TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "ha_alarms" VALUES('overdue:vm1','vm1','vm1 is down','{"severity": "critical"}','boot-1',1013.0,'2026-11-01T00:16:53.000+00:00','boot-1',1013.0,'2026-11-01T00:16:53.000+00:00');
CREATE TABLE ha_hosts (
	name TEXT NOT NULL, 
	verdict TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	fenced BOOLEAN NOT NULL, 
	detail TEXT NOT NULL, 
	updated_boot TEXT NOT NULL, 
	updated_seconds FLOAT NOT NULL, 
	updated_wall TEXT NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE ha_journal (
	seq BIGINT NOT NULL, 
	token BIGINT NOT NULL, 
	holder TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	text TEXT NOT NULL, 
	data TEXT NOT NULL, 
	at_boot TEXT NOT NULL, 
	at_seconds FLOAT NOT NULL, 
	at_wall TEXT NOT NULL, 
	PRIMARY KEY (seq)
);
INSERT INTO "ha_journal" VALUES(1,1,'run-1','lease','run-1','','taken by run-1 with token 1 for 60 s','{}','boot-1',1000.0,'2026-11-01T00:16:40.000+00:00');
INSERT INTO "ha_journal" VALUES(2,1,'run-1','step','u:vm1/vm1.vmx','','vm1: planned','{}','boot-1',1001.0,'2026-11-01T00:16:41.000+00:00');
INSERT INTO "ha_journal" VALUES(3,1,'run-1','step','u:vm1/vm1.vmx','','vm1: failed','{}','boot-1',1002.0,'2026-11-01T00:16:42.000+00:00');
INSERT INTO "ha_journal" VALUES(4,1,'run-1','step','u:vm2/vm2.vmx','','vm2: planned','{}','boot-1',1003.0,'2026-11-01T00:16:43.000+00:00');
INSERT INTO "ha_journal" VALUES(5,1,'run-1','step','u:vm2/vm2.vmx','','vm2: verified','{}','boot-1',1004.0,'2026-11-01T00:16:44.000+00:00');
INSERT INTO "ha_journal" VALUES(6,1,'run-1','step','u:vm3/vm3.vmx','','vm3: planned','{}','boot-1',1005.0,'2026-11-01T00:16:45.000+00:00');
INSERT INTO "ha_journal" VALUES(7,1,'run-1','step','u:vm3/vm3.vmx','','vm3: blocked','{}','boot-1',1006.0,'2026-11-01T00:16:46.000+00:00');
INSERT INTO "ha_journal" VALUES(8,1,'run-1','step','u:vm4/vm4.vmx','','vm4: planned','{}','boot-1',1007.0,'2026-11-01T00:16:47.000+00:00');
INSERT INTO "ha_journal" VALUES(9,1,'run-1','step','u:vm4/vm4.vmx','','vm4: failed','{}','boot-1',1008.0,'2026-11-01T00:16:48.000+00:00');
INSERT INTO "ha_journal" VALUES(10,1,'run-1','step','u:vm5/vm5.vmx','','vm5: planned','{}','boot-1',1009.0,'2026-11-01T00:16:49.000+00:00');
INSERT INTO "ha_journal" VALUES(11,1,'run-1','step','u:vm5/vm5.vmx','','vm5: registered','{}','boot-1',1010.0,'2026-11-01T00:16:50.000+00:00');
INSERT INTO "ha_journal" VALUES(12,1,'run-1','step','u:vm6/vm6.vmx','','vm6: planned','{}','boot-1',1011.0,'2026-11-01T00:16:51.000+00:00');
INSERT INTO "ha_journal" VALUES(13,1,'run-1','power','u:vm7/vm7.vmx','','reset of vm7 on esx3','{"act": "reset", "host": "esx3", "phase": "before", "vm": "u:vm7/vm7.vmx"}','boot-1',1012.0,'2026-11-01T00:16:52.000+00:00');
INSERT INTO "ha_journal" VALUES(14,1,'run-1','power','u:vm7/vm7.vmx','','reset of vm7 on esx3','{"act": "reset", "host": "esx3", "ok": false, "phase": "after", "reason": "the host did not answer", "vm": "u:vm7/vm7.vmx"}','boot-1',1013.0,'2026-11-01T00:16:53.000+00:00');
INSERT INTO "ha_journal" VALUES(15,1,'run-1','alarm','vm1','overdue:vm1','vm1 is down','{"alarm": "raised", "severity": "critical", "since": {"boot_id": "boot-1", "seconds": 1013.0, "wall": "2026-11-01T00:16:53.000+00:00"}}','boot-1',1013.0,'2026-11-01T00:16:53.000+00:00');
INSERT INTO "ha_journal" VALUES(16,1,'run-1','lease','run-1','','released by run-1','{}','boot-1',1013.0,'2026-11-01T00:16:53.000+00:00');
CREATE TABLE ha_lease (
	id INTEGER NOT NULL CHECK (id = 1), 
	holder TEXT, 
	token BIGINT NOT NULL, 
	seconds FLOAT NOT NULL, 
	renewals BIGINT NOT NULL, 
	granted_boot TEXT NOT NULL, 
	granted_seconds FLOAT NOT NULL, 
	granted_wall TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "ha_lease" VALUES(1,NULL,1,60.0,2,'boot-1',1000.0,'2026-11-01T00:16:40.000+00:00');
CREATE TABLE ha_memory (
	id INTEGER NOT NULL CHECK (id = 1), 
	version BIGINT NOT NULL, 
	document TEXT NOT NULL, 
	token BIGINT NOT NULL, 
	saved_boot TEXT NOT NULL, 
	saved_seconds FLOAT NOT NULL, 
	saved_wall TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "ha_memory" VALUES(1,1,'{"run_id": "run-1", "version": 1, "vms": [{"host": "esx1", "id": "u:vm1/vm1.vmx", "name": "vm1", "path": "vm1/vm1.vmx", "power": "off", "tries": {"failed": ["esx2"], "last_key": "000000000001/0000000001002.000/t1"}}]}',1,'boot-1',1013.0,'2026-11-01T00:16:53.000+00:00');
CREATE TABLE ha_schema (
	id INTEGER NOT NULL CHECK (id = 1), 
	version INTEGER NOT NULL, 
	changed_boot TEXT NOT NULL, 
	changed_seconds FLOAT NOT NULL, 
	changed_wall TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "ha_schema" VALUES(1,2,'boot-1',1000.0,'2026-11-01T00:16:40.000+00:00');
CREATE TABLE ha_transactions (
	id TEXT NOT NULL, 
	vm_id TEXT NOT NULL, 
	vm_name TEXT NOT NULL, 
	path TEXT NOT NULL, 
	source TEXT NOT NULL, 
	destination TEXT NOT NULL, 
	step TEXT NOT NULL, 
	power_on BOOLEAN NOT NULL, 
	attempts INTEGER NOT NULL, 
	token BIGINT NOT NULL, 
	reasons TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	closed BOOLEAN NOT NULL, 
	outcome TEXT NOT NULL, 
	opened_seq BIGINT NOT NULL, 
	updated_seq BIGINT NOT NULL, 
	opened_boot TEXT NOT NULL, 
	opened_seconds FLOAT NOT NULL, 
	opened_wall TEXT NOT NULL, 
	updated_boot TEXT NOT NULL, 
	updated_seconds FLOAT NOT NULL, 
	updated_wall TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "ha_transactions" VALUES('t1','u:vm1/vm1.vmx','vm1','vm1/vm1.vmx','esx1','esx2','failed',1,0,1,'["it did not come up"]','{"start_asked": true}',1,'failed',1,2,'boot-1',1001.0,'2026-11-01T00:16:41.000+00:00','boot-1',1002.0,'2026-11-01T00:16:42.000+00:00');
INSERT INTO "ha_transactions" VALUES('t2','u:vm2/vm2.vmx','vm2','vm2/vm2.vmx','esx1','esx2','verified',1,0,1,'[]','{}',1,'verified',3,4,'boot-1',1003.0,'2026-11-01T00:16:43.000+00:00','boot-1',1004.0,'2026-11-01T00:16:44.000+00:00');
INSERT INTO "ha_transactions" VALUES('t3','u:vm3/vm3.vmx','vm3','vm3/vm3.vmx','esx1','esx3','blocked',1,0,1,'["a question is asked"]','{"start_asked": true}',1,'blocked',5,6,'boot-1',1005.0,'2026-11-01T00:16:45.000+00:00','boot-1',1006.0,'2026-11-01T00:16:46.000+00:00');
INSERT INTO "ha_transactions" VALUES('t4','u:vm4/vm4.vmx','vm4','vm4/vm4.vmx','esx1','esx3','failed',1,0,1,'["the host is lost"]','{"start_asked": false}',1,'failed',7,8,'boot-1',1007.0,'2026-11-01T00:16:47.000+00:00','boot-1',1008.0,'2026-11-01T00:16:48.000+00:00');
INSERT INTO "ha_transactions" VALUES('t5','u:vm5/vm5.vmx','vm5','vm5/vm5.vmx','esx1','esx3','registered',0,0,1,'[]','{}',1,'registered',9,10,'boot-1',1009.0,'2026-11-01T00:16:49.000+00:00','boot-1',1010.0,'2026-11-01T00:16:50.000+00:00');
INSERT INTO "ha_transactions" VALUES('t6','u:vm6/vm6.vmx','vm6','vm6/vm6.vmx','esx1','esx2','planned',1,0,1,'[]','{}',0,'',11,11,'boot-1',1011.0,'2026-11-01T00:16:51.000+00:00','boot-1',1011.0,'2026-11-01T00:16:51.000+00:00');
CREATE TABLE ha_vms (
	vm_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	path TEXT NOT NULL, 
	host TEXT NOT NULL, 
	desired TEXT NOT NULL, 
	power TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	updated_boot TEXT NOT NULL, 
	updated_seconds FLOAT NOT NULL, 
	updated_wall TEXT NOT NULL, 
	PRIMARY KEY (vm_id)
);
CREATE INDEX ix_ha_vms_host ON ha_vms (host);
CREATE UNIQUE INDEX ha_transactions_open_vm ON ha_transactions (vm_id) WHERE closed = 0;
CREATE INDEX ha_transactions_updated ON ha_transactions (updated_seq);
CREATE INDEX ix_ha_journal_subject ON ha_journal (subject);
CREATE INDEX ix_ha_journal_kind ON ha_journal (kind);
COMMIT;
