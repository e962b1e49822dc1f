-- A catalog as kladml-backends-local wrote it when its tables had version 0001 (`sqlite3.Connection.iterdump`).
BEGIN TRANSACTION;
CREATE TABLE kladml_catalog_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT kladml_catalog_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "kladml_catalog_version" VALUES('0001');
CREATE TABLE kladml_experiments (
	id INTEGER NOT NULL,
	family_id INTEGER NOT NULL,
	name VARCHAR(100) NOT NULL,
	created_at DATETIME NOT NULL,
	last_number INTEGER NOT NULL,
	CONSTRAINT pk_kladml_experiments PRIMARY KEY (id),
	CONSTRAINT uq_kladml_experiments_family_id UNIQUE (family_id, name),
	CONSTRAINT fk_kladml_experiments_family_id FOREIGN KEY(family_id) REFERENCES kladml_families (id)
);
INSERT INTO "kladml_experiments" VALUES(1,1,'digits','2026-11-23 15:31:42.765340',2);
INSERT INTO "kladml_experiments" VALUES(2,2,'transformer','2026-11-23 15:31:42.832292',1);
CREATE TABLE kladml_families (
	id INTEGER NOT NULL,
	project_id INTEGER NOT NULL,
	name VARCHAR(100) NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_kladml_families PRIMARY KEY (id),
	CONSTRAINT uq_kladml_families_project_id UNIQUE (project_id, name),
	CONSTRAINT fk_kladml_families_project_id FOREIGN KEY(project_id) REFERENCES kladml_projects (id)
);
INSERT INTO "kladml_families" VALUES(1,1,'default','2026-11-23 15:31:42.762668');
INSERT INTO "kladml_families" VALUES(2,2,'DeepLearning','2026-11-23 15:31:42.831747');
CREATE TABLE kladml_projects (
	id INTEGER NOT NULL,
	name VARCHAR(100) NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_kladml_projects PRIMARY KEY (id),
	CONSTRAINT uq_kladml_projects_name UNIQUE (name)
);
INSERT INTO "kladml_projects" VALUES(1,'default','2026-11-23 15:31:42.757884');
INSERT INTO "kladml_projects" VALUES(2,'CustomerChurn','2026-11-23 15:31:42.826518');
CREATE TABLE kladml_runs (
	id INTEGER NOT NULL,
	experiment_id INTEGER NOT NULL,
	number INTEGER NOT NULL,
	run_id VARCHAR(250) NOT NULL,
	status VARCHAR(20) NOT NULL,
	started_at DATETIME NOT NULL,
	ended_at DATETIME,
	metrics TEXT NOT NULL,
	backends TEXT NOT NULL,
	CONSTRAINT pk_kladml_runs PRIMARY KEY (id),
	CONSTRAINT uq_kladml_runs_experiment_id UNIQUE (experiment_id, number),
	CONSTRAINT fk_kladml_runs_experiment_id FOREIGN KEY(experiment_id) REFERENCES kladml_experiments (id)
);
INSERT INTO "kladml_runs" VALUES(1,1,1,'0f3c9b7a','FINISHED','2026-11-23 15:31:42.769051','2026-11-23 15:31:42.774350','{"val_accuracy": 0.9}','{"storage": "local", "tracker": "local"}');
INSERT INTO "kladml_runs" VALUES(2,1,2,'1a2b3c4d','FAILED','2026-11-23 15:31:42.781955','2026-11-23 15:31:42.803409','{"loss": "nan"}','{"storage": "local"}');
INSERT INTO "kladml_runs" VALUES(3,2,1,'5e6f7a8b','RUNNING','2026-11-23 15:31:42.832998',NULL,'{}','{}');
COMMIT;
